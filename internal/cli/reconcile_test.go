package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/connectors"
	connectorsall "github.com/tillstream/tillstream/connectors/all"
	"github.com/tillstream/tillstream/connectors/paypal"
	"github.com/tillstream/tillstream/embedded"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/poll"
	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/paypal"
	sinksall "github.com/tillstream/tillstream/sinks/all"
)

func TestParseWhen(t *testing.T) {
	now := time.Date(2026, 11, 22, 13, 30, 0, 0, time.UTC)
	for _, c := range []struct {
		text     string
		want     time.Time
		relative bool
		bad      bool
	}{
		{text: "24h", want: now.Add(-24 * time.Hour), relative: true},
		{text: "90m", want: now.Add(-90 * time.Minute), relative: true},
		{text: "30d", want: now.Add(-30 * 24 * time.Hour), relative: true},
		{text: "2026-11-01", want: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)},
		{text: "2026-11-01T12:00:00+01:00", want: time.Date(2026, 11, 1, 11, 0, 0, 0, time.UTC)},
		{text: "", bad: true},
		{text: "d", bad: true},
		{text: "-3d", bad: true},
		{text: "-24h", bad: true},
		{text: "0h", bad: true},
		{text: "999999999d", bad: true},
		{text: "9999999h", bad: true},
		{text: "2026-13-01", bad: true},
		{text: "yesterday", bad: true},
	} {
		got, relative, err := parseWhen(c.text, now)
		if (err != nil) != c.bad || !c.bad && (!got.Equal(c.want) || relative != c.relative) {
			t.Errorf("%q: got %v, %t, %v, want %v, %t, bad %t", c.text, got, relative, err, c.want, c.relative, c.bad)
		}
	}
}

func TestSpan(t *testing.T) {
	now := time.Date(2026, 11, 22, 13, 30, 0, 0, time.UTC)
	for _, c := range []struct {
		a    asking
		day  bool
		want string // begin; empty: refused
	}{
		{asking{since: "30d"}, true, "2026-10-23T00:00:00Z"},
		{asking{since: "30d"}, false, "2026-10-23T13:30:00Z"},
		{asking{since: "2026-10-01T10:00:00Z", until: "24h"}, true, "2026-10-01T10:00:00Z"},
		{asking{}, true, ""},
		{asking{since: "2026-12-01"}, false, ""},
		{asking{since: "24h", until: "2d"}, false, ""},
	} {
		got, err := c.a.span(now, c.day)
		coded := (*codedError)(nil)
		switch {
		case c.want == "" && (!errors.As(err, &coded) || coded.code != ExitUsage):
			t.Errorf("%+v: got %v, want a usage error", c.a, err)
		case c.want != "" && (err != nil || got.From.Format(time.RFC3339) != c.want):
			t.Errorf("%+v: got %v, %v, want from %s", c.a, got, err, c.want)
		}
	}
}

func TestPrintReport(t *testing.T) {
	at := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
	r := poll.Report{
		Connection: "eu", Environment: schemas.Live, Span: poll.Span{From: at, To: at.Add(2 * time.Hour)},
		Feeds: []poll.FeedReport{
			{Feed: "events", Counts: poll.Counts{Listed: 120, Received: 118, Missing: 2, Repaired: 1}},
			{Feed: "transactions", Beyond: &poll.Span{From: at, To: at.Add(time.Hour)}, Error: "status 503"},
		},
		Hours: []poll.HourReport{
			{From: at, Counts: poll.Counts{Listed: 100, Received: 99, Missing: 1, Repaired: 1}},
			{From: at.Add(time.Hour), Counts: poll.Counts{Listed: 20, Received: 19, Missing: 1}},
		},
		Total: poll.Counts{Listed: 120, Received: 118, Missing: 2, Repaired: 1},
		Gaps: []poll.Gap{
			{EventID: "WH-1", Type: "PAYMENT.CAPTURE.COMPLETED", Entity: "3C6", At: at.Add(time.Minute), Cause: "the endpoint answered 503", Repaired: true},
			{EventID: "WH-2", Type: "PAYMENT.SALE.COMPLETED", Entity: "80F", At: at.Add(61 * time.Minute)},
		},
	}
	var got bytes.Buffer
	if err := printReport(&got, r, false); err != nil {
		t.Fatal(err)
	}
	const want = `eu (live), 2026-11-22 13:00 to 2026-11-22 15:00 UTC

        hour (UTC)  listed  received  missing  repaired
  2026-11-22 13:00     100        99        1         1
  2026-11-22 14:00      20        19        1         0
             total     120       118        2         1
         of events     120       118        2         1
   of transactions       0         0        0         0
transactions: the provider lists nothing before 2026-11-22 14:00.
transactions: not read to the end: status 503

Missing:
  2026-11-22 13:01:00  repaired  WH-1  PAYMENT.CAPTURE.COMPLETED  3C6  the endpoint answered 503
  2026-11-22 14:01:00  missing   WH-2  PAYMENT.SALE.COMPLETED     80F  
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &got, want)
	}
}

// shop is a PayPal twin, Kafka with a registry, a receiver, and a configuration folder that names them.
type shop struct {
	sim     *twin.Server
	sources *app.Sources
	dir     string
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{dir: t.TempDir()}
	services, err := embedded.Start(t.Context(), embedded.Options{
		Dir: filepath.Join(s.dir, "data"), Without: []string{embedded.Redis, embedded.ClickHouse}, Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = services.Close() })
	s.sim, err = twin.New(twin.Options{
		Accounts: []twin.Account{{Name: "eu", ClientID: "id", ClientSecret: "secret", MerchantID: "M"}}, Seed: 1, LocalWebhooks: true, Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.sim.Close)
	tls, err := s.sim.TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewUnstartedServer(s.sim.Handler())
	api.TLS = tls
	api.StartTLS()
	t.Cleanup(api.Close)
	s.sim.SetPublicURL(api.URL)
	trust := filepath.Join(s.dir, "trust.pem")
	write(t, trust, string(s.sim.TrustPEM()))
	write(t, filepath.Join(s.dir, "config", config.SettingsFile), fmt.Sprintf(
		"kafka: {brokers: [%q], partitions: 2}\nregistry: {url: %q, cache_file: %q}\nredis: {address: \"127.0.0.1:1\"}\n",
		services.Brokers[0], services.RegistryURL, filepath.Join(s.dir, "registry.json")))
	write(t, filepath.Join(s.dir, "config", "connections", "eu.yaml"), fmt.Sprintf(
		"connector: paypal\nenvironment: sandbox\nallow_private_address: true\ntls_roots: %q\nsettings:\n"+
			"  client_id: id\n  client_secret: ${env:PAYPAL_SECRET}\n  base_url: %q\n  certificate_hosts: [%q]\n  trust_file: %q\n",
		trust, api.URL, api.Listener.Addr().String(), trust))
	s.receive(t)
	return s
}

// receive registers a webhook and keeps what comes, as a running process does.
func (s *shop) receive(t *testing.T) {
	t.Helper()
	cfg, err := s.process(nil, nil).loadConfig(filepath.Join(s.dir, "config"), s.getenv)
	if err != nil {
		t.Fatal(err)
	}
	if s.sources, err = app.OpenSources(t.Context(), cfg, time.Now, zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.sources.Close)
	c := cfg.Connections[0]
	var h http.Handler
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	t.Cleanup(receiver.Close)
	endpoint := ingest.Endpoint{Connection: c.Name, Connector: c.Connector, Environment: c.Environment}
	client := &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	roots, err := s.sim.TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	client.Transport.(*http.Transport).TLSClientConfig = roots
	client.Transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify = true // the twin's own port; its signatures are what is checked
	source, err := paypal.Connector.Open(t.Context(), c.Settings, connectors.Env{
		Connection: c.Name, Environment: c.Environment, Resources: c.Resources, Now: time.Now, Log: zerolog.Nop(), HTTP: client,
		PublicURL: receiver.URL + endpoint.Path(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() })
	endpoint.Webhook = source.(connectors.Webhooker)
	if h, err = ingest.New(ingest.Options{
		Endpoints: []ingest.Endpoint{endpoint}, Appender: s.sources.Keeper.Appender, Encode: s.sources.Keeper.Encode, Log: zerolog.Nop(),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := source.(connectors.Registrar).Register(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (s *shop) getenv(name string) (string, bool) { return "secret", name == "PAYPAL_SECRET" }

func (s *shop) process(out *bytes.Buffer, errs *bytes.Buffer, args ...string) Process {
	return Process{
		Args: args, Getenv: s.getenv, Stdin: strings.NewReader(""), Stdout: out, Stderr: errs,
		Connectors: connectorsall.Connectors(), Sinks: sinksall.Sinks(), Now: time.Now,
	}
}

// run runs a command on the shop and returns its output.
func (s *shop) run(t *testing.T, code int, args ...string) []byte {
	t.Helper()
	var out, errs bytes.Buffer
	if got := Main(t.Context(), s.process(&out, &errs, append(args, "--config", filepath.Join(s.dir, "config"))...)); got != code {
		t.Fatalf("%v: exit code %d, want %d:\n%s%s", args, got, code, &out, &errs)
	}
	return out.Bytes()
}

// bodies makes n events, in turns an approved order and its capture, spread over the past hours.
func bodies(t *testing.T, n int) (out [][]byte, ids []string) {
	t.Helper()
	var templates []map[string]any
	for _, name := range []string{"CHECKOUT.ORDER.APPROVED--sandbox-2024", "PAYMENT.CAPTURE.COMPLETED"} {
		archive, err := txtar.ParseFile("../../connectors/paypal/testdata/" + name + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		var body map[string]any
		if err := json.Unmarshal(archive.Files[0].Data, &body); err != nil {
			t.Fatal(err)
		}
		templates = append(templates, body)
	}
	begin := time.Now().UTC().Add(-20 * time.Hour).Truncate(time.Second)
	for i := range n {
		body := templates[i%2]
		id, at := fmt.Sprintf("WH-%017d-%017d", i, i), begin.Add(time.Duration(i)*19*time.Hour/time.Duration(n)).Format(time.RFC3339)
		body["id"], body["create_time"] = id, at
		resource := body["resource"].(map[string]any)
		resource["create_time"], resource["update_time"] = at, at
		if resource["id"] = fmt.Sprintf("%017d", i); i%2 == 1 {
			resource["supplementary_data"] = map[string]any{"related_ids": map[string]any{"order_id": fmt.Sprintf("%017d", i-1)}}
		}
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		out, ids = append(out, b), append(ids, id)
	}
	return out, ids
}

// events are the origins of each event's copies on the log.
func (s *shop) events(t *testing.T) map[string][]schemas.Origin {
	t.Helper()
	out := map[string][]schemas.Origin{}
	for n := range int32(2) {
		_, end, err := s.sources.Log.Bounds(t.Context(), schemas.TopicPayPalEvents, n)
		if err != nil {
			t.Fatal(err)
		}
		r := kafka.Range{Topic: schemas.TopicPayPalEvents, Partition: n, To: end, Patience: time.Minute}
		if err := s.sources.Log.Read(t.Context(), r, func(records []*kgo.Record, _ int64) error {
			for _, rec := range records {
				v, err := s.sources.Codec.Decode(rec.Value)
				if err != nil {
					return err
				}
				e := v.(*schemas.OrderEvent)
				if e.Problem != "" {
					t.Errorf("%s: %s", e.EventID, e.Problem)
				}
				out[e.EventID] = append(out[e.EventID], e.Origin)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestReconcileMendsWhatTheTwinWithheld: PayPal's twin keeps a twentieth of its events from the webhook. reconcile finds
// exactly these, appends each once, and then finds the log whole. TILLSTREAM_RECONCILE_EVENTS sets how many events.
func TestReconcileMendsWhatTheTwinWithheld(t *testing.T) {
	n := 600
	if v := os.Getenv("TILLSTREAM_RECONCILE_EVENTS"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil || n < 40 {
			t.Fatalf("TILLSTREAM_RECONCILE_EVENTS %q: want 40 or more", v)
		}
	}
	s := newShop(t)
	list, ids := bodies(t, n)
	withheld := map[string]bool{}
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(n)[:n/20] {
		withheld[ids[i]] = true
	}
	for i, body := range list {
		if withheld[ids[i]] {
			s.sim.Withhold(1)
		}
		if err := s.sim.Emit(t.Context(), "eu", twin.Event{Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.sim.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	received := s.events(t)
	if len(received) != n-len(withheld) {
		t.Fatalf("the webhook brought %d events, want %d", len(received), n-len(withheld))
	}
	var r poll.Report
	reconcile := func(code int, args ...string) {
		t.Helper()
		if err := json.Unmarshal(s.run(t, code, append([]string{"reconcile", "eu", "--since", "24h", "--json"}, args...)...), &r); err != nil {
			t.Fatal(err)
		}
	}
	reconcile(ExitGaps, "--dry-run")
	if got := s.events(t); len(got) != len(received) || r.Total.Missing != int64(len(withheld)) {
		t.Errorf("a dry run: %+v, and %d events on the log, want %d missing and %d", r.Total, len(got), len(withheld), len(received))
	}
	began := time.Now()
	reconcile(ExitOK)
	took, feeds := time.Since(began), r.Feeds
	if r.Total.Missing != int64(len(withheld)) || r.Total.Repaired != int64(len(withheld)) {
		t.Errorf("got %+v, want %d missing and repaired", r.Total, len(withheld))
	}
	for _, g := range r.Gaps {
		if !withheld[g.EventID] || !g.Repaired {
			t.Errorf("got gap %+v, which was not withheld or is not repaired", g)
		}
	}
	got := s.events(t)
	for _, id := range ids {
		want := schemas.OriginWebhook
		if withheld[id] {
			want = schemas.OriginPoll
		}
		if o := got[id]; len(o) == 0 || withheld[id] && len(o) > 1 || o[0] != want || o[len(o)-1] != want {
			t.Errorf("%s: got %q, want %s", id, o, want)
		}
	}
	if len(got) != n {
		t.Errorf("got %d events on the log, want %d", len(got), n)
	}
	reconcile(ExitOK)
	if r.Total.Missing != 0 {
		t.Errorf("a second time: got %+v, want nothing missing", r.Total)
	}
	t.Logf("%d of %d events withheld, all found and repaired in %v, none doubled; %+v", len(withheld), n, took.Round(time.Millisecond), feeds)
}

// TestBackfillLoadsWhatTheTwinKnows: history that never came by webhook comes in as backfill, once.
func TestBackfillLoadsWhatTheTwinKnows(t *testing.T) {
	s := newShop(t)
	const n = 60
	s.sim.Withhold(n)
	list, _ := bodies(t, n)
	for _, body := range list {
		if err := s.sim.Emit(t.Context(), "eu", twin.Event{Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	var r poll.BackfillReport
	backfill := func(args ...string) poll.BackfillFeed {
		t.Helper()
		if err := json.Unmarshal(s.run(t, ExitOK, append([]string{"backfill", "eu", "--since", "3d", "--json"}, args...)...), &r); err != nil {
			t.Fatal(err)
		}
		for _, f := range r.Feeds {
			if f.Feed == "transactions" {
				return f
			}
		}
		t.Fatalf("got %+v, want the feed of transactions", r)
		return poll.BackfillFeed{}
	}
	if f := backfill("--dry-run"); f.Listed != n/2 || len(s.events(t)) != 0 {
		t.Errorf("dry run: got %+v, want the %d captures counted", f, n/2)
	}
	if f := backfill(); f.Appended != n/2 {
		t.Errorf("got %+v, want the %d captures", f, n/2)
	}
	if f := backfill(); f.Appended != 0 || f.OnLog != n/2 {
		t.Errorf("again: got %+v, want all on the log", f)
	}
	for id, o := range s.events(t) {
		if len(o) != 1 || o[0] != schemas.OriginBackfill {
			t.Errorf("%s: got origins %q, want one %s", id, o, schemas.OriginBackfill)
		}
	}
	s.run(t, ExitUsage, "backfill", "paypal", "--since", "3d")
	s.run(t, ExitUsage, "backfill", "eu")
	s.run(t, ExitUsage, "reconcile", "nosuch")
}
