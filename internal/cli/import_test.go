package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	connectorsall "github.com/tillstream/tillstream/connectors/all"
	"github.com/tillstream/tillstream/embedded"
	"github.com/tillstream/tillstream/internal/cli"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/schemas/registry"
	sinksall "github.com/tillstream/tillstream/sinks/all"
)

// shelf is a Kafka with a registry, and a configuration that names both.
type shelf struct {
	t        *testing.T
	services *embedded.Services
	dir      string
	config   string
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	services, err := embedded.Start(t.Context(), embedded.Options{
		Dir: t.TempDir(), Without: []string{embedded.Redis, embedded.ClickHouse}, Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = services.Close() })
	s := &shelf{t, services, t.TempDir(), ""}
	s.config = filepath.Join(s.dir, "config")
	s.write("config/tillstream.yaml", fmt.Sprintf("kafka: {brokers: [%q]}\nregistry: {url: %q, cache_file: %q}\nredis: {address: \"127.0.0.1:1\"}\n",
		services.Brokers[0], services.RegistryURL, filepath.Join(s.dir, "cache.json")))
	s.write("config/connections/shop.yaml", "connector: generic\nenvironment: live\nsettings:\n  secrets: [\"${env:SHOP_SECRET}\"]\n  statuses: {bezahlt: PAID}\n")
	return s
}

func (s *shelf) write(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// run is one command, as a shell would run it.
func (s *shelf) run(stdin string, args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	var out, err bytes.Buffer
	code = cli.Main(s.t.Context(), cli.Process{
		Args: append(args, "--config", s.config), Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &err, Now: time.Now,
		Connectors: connectorsall.Connectors(), Sinks: sinksall.Sinks(),
		Getenv: func(string) (string, bool) { return "whsec_bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctbmV3LW5ldw==", true },
	})
	return code, out.String(), err.String()
}

// events are those of stores.
func (s *shelf) events() []*schemas.OrderEvent {
	s.t.Helper()
	return s.eventsOn(schemas.TopicStoreOrders)
}

// eventsOn are those on a topic; of one order in the order in which they were appended.
func (s *shelf) eventsOn(topic string) []*schemas.OrderEvent {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	reg := registry.New(registry.Options{URL: s.services.RegistryURL, HTTP: http.DefaultClient})
	if err := reg.Register(ctx); err != nil {
		s.t.Fatal(err)
	}
	c, err := codec.New(reg)
	if err != nil {
		s.t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.services.Brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		s.t.Fatal(err)
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err != nil {
		s.t.Fatal(err)
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	var out []*schemas.OrderEvent
	for left > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			s.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			left--
			rec, err := c.Decode(r.Value)
			if err != nil {
				s.t.Fatal(err)
			}
			e := rec.(*schemas.OrderEvent)
			if string(r.Key) != e.Key() {
				s.t.Errorf("got key %s of %s", r.Key, e.EventID)
			}
			out = append(out, e)
		})
	}
	return out
}

// byID are the events by their ids; the same id twice must be the same event.
func byID(t *testing.T, events []*schemas.OrderEvent) map[string]*schemas.OrderEvent {
	t.Helper()
	out := map[string]*schemas.OrderEvent{}
	for _, e := range events {
		if old := out[e.EventID]; old != nil && old.Fingerprint != e.Fingerprint {
			t.Errorf("%s: two contents", e.EventID)
		}
		out[e.EventID] = e
	}
	return out
}

// TestImport: good rows land as history, bad ones in a file that can be mended and imported, and a second import makes no
// further event.
func TestImport(t *testing.T) {
	s := newShelf(t)
	var text strings.Builder
	text.WriteString("order_id,status,occurred_at,amount,currency,customer.email,VIP\n")
	for i := range 300 {
		amount := "5.00"
		if i%100 == 7 {
			amount = `"5,00"`
		}
		fmt.Fprintf(&text, "%d,Bezahlt,2025-11-02T10:00:00Z,%s,EUR,c%d@example.com,yes\n", i, amount, i)
	}
	file := s.write("history.csv", text.String())
	code, stdout, stderr := s.run("", "import", "shop", file)
	if code != cli.ExitFailed || !strings.Contains(stdout, "300 records, 297 good, 3 wrong") || !strings.Contains(stdout, "297 records are kept as history") ||
		!strings.Contains(stderr, "3 records are wrong and were left out; mend them in "+s.dir+"/history.rejected.csv") {
		t.Fatalf("got code %d\n%s\n%s", code, stdout, stderr)
	}
	first := byID(t, s.events())
	if len(first) != 297 {
		t.Errorf("got %d events, want 297", len(first))
	}
	for id, e := range first {
		if e.Origin != schemas.OriginBackfill || e.Status != schemas.StatusPaid || e.Amount.Value != "5.00" || e.Fields["data.metadata.VIP"] != "yes" || e.Problem != "" || len(e.Body) == 0 {
			t.Fatalf("%s: got %+v", id, e)
		}
	}
	rejects := filepath.Join(s.dir, "history.rejected.csv")
	got, err := os.ReadFile(rejects)
	if err != nil {
		t.Fatal(err)
	}
	want := "order_id,status,occurred_at,amount,currency,customer.email,VIP,tillstream_line,tillstream_reason\n"
	for _, i := range []int{7, 107, 207} {
		want += fmt.Sprintf(`%d,Bezahlt,2025-11-02T10:00:00Z,"5,00",EUR,c%d@example.com,yes,%d,"amount: amount ""5,00"": not a decimal amount"`+"\n", i, i, i+2)
	}
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("rejected: -got +want:\n%s", diff)
	}

	// A second time the file of rejected rows is another one: the first may have been mended meanwhile.
	if code, _, stderr = s.run("", "import", "shop", file); code != cli.ExitFailed || !strings.Contains(stderr, "mend them in "+s.dir+"/history.rejected-2.csv") {
		t.Errorf("the same again: got code %d\n%s", code, stderr)
	}
	if code, _, stderr = s.run("", "import", "shop", file, "--rejects", file); code != cli.ExitFailed || !strings.Contains(stderr, "nothing was sent: file for rejected records: ") {
		t.Errorf("rejects into the file itself: got code %d\n%s", code, stderr)
	}

	// Mended, they land; they and the whole file again make no event that was not there.
	s.write("mended.csv", strings.ReplaceAll(want, `,"5,00",`, ",5.00,"))
	if code, stdout, stderr = s.run("", "import", "shop", filepath.Join(s.dir, "mended.csv")); code != cli.ExitOK || !strings.Contains(stdout, "3 records are kept") {
		t.Fatalf("mended: got code %d\n%s\n%s", code, stdout, stderr)
	}
	whole := s.write("whole.csv", strings.ReplaceAll(text.String(), `"5,00"`, "5.00"))
	if code, stdout, stderr = s.run("", "import", "shop", whole, "--live"); code != cli.ExitOK || !strings.Contains(stdout, "300 records are kept as happening now") {
		t.Fatalf("again: got code %d\n%s\n%s", code, stdout, stderr)
	}
	all := s.events()
	if ids := byID(t, all); len(all) != 897 || len(ids) != 300 {
		t.Errorf("got %d records of %d events, want 897 of 300", len(all), len(ids))
	}
}

// TestImportOfLines: the reasons stand before the lines, and the file can be read again.
func TestImportOfLines(t *testing.T) {
	s := newShelf(t)
	file := s.write("history.ndjson", `{"order_id":"1","status":"PAID","occurred_at":"2025-11-02T10:00:00Z"}
{"order_id":"2","occurred_at":"2025-11-02T10:00:00Z"}
{"order_id":"3","status":"PAID","occurred_at":"2025-11-02T10:00:00Z","note":"4111 1111 1111 1111"}
`)
	code, stdout, stderr := s.run("", "import", "shop", file)
	if code != cli.ExitFailed || !strings.Contains(stdout, "1 records are kept as history") {
		t.Fatalf("got code %d\n%s\n%s", code, stdout, stderr)
	}
	got, err := os.ReadFile(filepath.Join(s.dir, "history.rejected.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(got), `{"tillstream_line":2,"tillstream_reason":"status: missing"}`+"\n"+`{"order_id":"2","occurred_at":"2025-11-02T10:00:00Z"}`+"\n"+`{"tillstream_line":3,`) {
		t.Errorf("got %s", got)
	}
	s.write("mended.ndjson", strings.ReplaceAll(string(got), `"order_id":"2"`, `"order_id":"2","status":"PAID"`))
	if _, stdout, stderr = s.run("", "import", "shop", filepath.Join(s.dir, "mended.ndjson"), "--dry-run"); !strings.Contains(stdout, "2 records, 2 good, 0 wrong") {
		t.Errorf("mended: got\n%s\n%s", stdout, stderr)
	}
}

// TestPublish: what is kept is told line by line; what is wrong keeps everything back.
func TestPublish(t *testing.T) {
	s := newShelf(t)
	lines := `{"order_id":"1","status":"bezahlt","occurred_at":"2026-11-02T10:00:00Z"}
{"type":"subscription.paused","timestamp":"2026-11-02T10:00:00Z","data":{"order_id":"S1","status":"suspended"}}
{"type":"order.deleted","timestamp":"2026-11-02T10:00:00Z","data":{"order_id":"1"}}
`
	code, stdout, stderr := s.run(lines+"{}\n", "publish", "shop")
	if code != cli.ExitFailed || stdout != "" || !strings.Contains(stderr, "line 4: order_id: missing") || !strings.Contains(stderr, "nothing was sent: 1 of 4 records are wrong") {
		t.Fatalf("got code %d\n%s\n%s", code, stdout, stderr)
	}
	code, stdout, stderr = s.run(lines, "publish", "shop", "-")
	want := "line 1: order 1 PAID kept\nline 2: subscription S1 SUSPENDED kept\nline 3: order 1 deleted kept\n"
	if code != cli.ExitOK || stdout != want || stderr != "" {
		t.Fatalf("got code %d\n%s\n%s", code, stdout, stderr)
	}
	if code, _, stderr = s.run("", "publish", "shop", s.write("again.json", "["+strings.ReplaceAll(strings.TrimSpace(lines), "\n", ",")+"]"), "--backfill"); code != cli.ExitOK {
		t.Fatalf("again: got code %d\n%s", code, stderr)
	}
	all := s.events()
	if ids := byID(t, all); len(all) != 6 || len(ids) != 3 {
		t.Errorf("got %d records of %d events, want 6 of 3", len(all), len(ids))
	}
	origins := map[schemas.Origin]int{}
	for _, e := range all {
		origins[e.Origin]++
	}
	if origins[schemas.OriginWebhook] != 3 || origins[schemas.OriginBackfill] != 3 {
		t.Errorf("got origins %v", origins)
	}
	// A card number is set aside, with its digits masked, and that is no success.
	code, stdout, stderr = s.run(`{"order_id":"9","status":"paid","occurred_at":"2026-11-02T10:00:00Z","note":"4111 1111 1111 1111"}`, "publish", "shop")
	if code != cli.ExitFailed || stdout != "" || !strings.Contains(stderr, "card number") || !strings.Contains(stderr, "0 of 1 records are kept, 1 were set aside and have no effect") {
		t.Errorf("got code %d\n%s\n%s", code, stdout, stderr)
	}
}
