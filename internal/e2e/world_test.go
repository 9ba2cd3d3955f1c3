package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/audit"
	"github.com/tillstream/tillstream/internal/e2e/parts"
	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/simulators/paypal"
	"github.com/tillstream/tillstream/simulators/story"
)

// Limits of a test's waits. Each is many times what is needed, for a machine that does other things too.
const (
	startLimit   = 60 * time.Second
	deliverLimit = 90 * time.Second
	settleLimit  = 90 * time.Second
)

// world is one set-up: simulators as processes of their own, the parts, and the program, each of which can be taken
// away while the others go on.
type world struct {
	dir        string
	config     string
	kafka      string // addresses
	redis      string
	registry   string
	clickhouse string
	ingest     string
	management string
	paypalURL  string
	crmURL     string
	env        []string
	program    string       // what dev starts; empty: the built program
	client     *http.Client // trusts the simulated PayPal

	crm      *parts.Process
	till     *parts.Process
	port     map[string]int
	promises []audit.Promise // of the workflows in the configuration
	odd      []string        // orders that the last comparison found in another status than they should be
}

// newWorld starts the simulators and writes the configuration; faults are flags of the PayPal simulator.
func newWorld(t *testing.T, faults ...string) *world {
	t.Helper()
	w := &world{promises: audit.TemplatePromises, dir: t.TempDir(), port: map[string]int{}, env: []string{needClickHouse(t)}}
	for _, name := range []string{"kafka", "registry", "redis", "clickhouse", "ingest", "management", "paypal", "crm"} {
		w.port[name] = parts.Port(t)
	}
	local := func(name string) string { return fmt.Sprintf("127.0.0.1:%d", w.port[name]) }
	w.kafka, w.redis, w.ingest, w.management = local("kafka"), local("redis"), local("ingest"), local("management")
	w.registry, w.clickhouse, w.crmURL = "http://"+local("registry"), "http://"+local("clickhouse"), "http://"+local("crm")
	w.paypalURL = fmt.Sprintf("https://localhost:%d", w.port["paypal"])
	roots := filepath.Join(w.dir, "simulator-ca.pem")
	parts.Start(t, parts.Command{Name: "paypal", Path: binary, Args: append([]string{
		"simulator", "paypal", "--listen", local("paypal"),
		"--roots", roots, "--client-secret", "made-up",
	}, faults...)})
	w.crm = parts.Start(t, parts.Command{Name: "crm", Path: binary, Args: []string{"simulator", "activecampaign", "--listen", local("crm"), "--rate", "0"}})
	parts.Eventually(t, startLimit, "the simulators answer", func() error {
		var err error
		if w.client, err = outbound.NewClient(outbound.Options{AllowPrivate: true, RootCAs: roots, BodyBytesMax: 1 << 30}); err != nil {
			return err
		}
		if _, err = w.paypal(t.Context()); err != nil {
			return err
		}
		return audit.GetJSON(t.Context(), http.DefaultClient, w.crmURL+"/_simulator/stats", &struct{}{})
	})
	w.writeConfig(t)
	return w
}

// writeConfig takes the configuration that 'tillstream dev' starts with, and names the world's variables in it.
func (w *world) writeConfig(t *testing.T) {
	t.Helper()
	w.config = filepath.Join(w.dir, "config")
	if err := os.CopyFS(w.config, os.DirFS("../local/template")); err != nil {
		t.Fatal(err)
	}
	// The simulated shops run inside the demo and dev; these worlds have PayPal alone.
	shops := []string{filepath.Join(w.config, "mappings/shop-orders.yaml")} // workflows name no connection, and stay
	for _, kind := range local.ShopKinds() {
		shops = append(shops, filepath.Join(w.config, "connections", kind.Name+".yaml"))
	}
	for _, file := range shops {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	err := filepath.WalkDir(w.config, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, bytes.ReplaceAll(text, []byte("TILLSTREAM_DEV_"), []byte("E2E_")), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	// On a busy machine a restart takes as long as an outage of the receivers, after which deadlines stand still.
	w.edit(t, "tillstream.yaml", "telemetry:", "stages:\n  outage_grace: 5s\ntelemetry:")
}

// variables are what the configuration names.
func (w *world) variables() []string {
	env := append([]string(nil), w.env...)
	for name, value := range map[string]string{
		"INSTANCE": "e2e", "DIR": w.dir, "KAFKA": w.kafka, "REGISTRY": w.registry, "REDIS": w.redis, "CLICKHOUSE": w.clickhouse,
		"INGEST": w.ingest, "MANAGEMENT": w.management, "PAYPAL": w.paypalURL, "PAYPAL_HOST": strings.TrimPrefix(w.paypalURL, "https://"),
		"PAYPAL_SECRET": "made-up", "CRM": w.crmURL, "CRM_KEY": "simulator-key",
	} {
		env = append(env, "E2E_"+name+"="+value)
	}
	return env
}

// dev starts the program with its embedded parts, on the same data each time.
func (w *world) dev(t *testing.T) {
	t.Helper()
	args := []string{"dev", "--no-simulators", "--config", w.config, "--data", filepath.Join(w.dir, "data")}
	for _, name := range []string{"kafka", "registry", "redis", "clickhouse", "ingest", "management"} {
		args = append(args, fmt.Sprintf("--%s-port=%d", name, w.port[name]))
	}
	w.till = parts.Start(t, parts.Command{Name: "tillstream dev", Path: cmp.Or(w.program, binary), Args: args, Env: w.variables(), Dir: w.dir})
	w.statusOfFailure(t)
}

// run starts the program on the parts that the configuration names.
func (w *world) run(t *testing.T) {
	t.Helper()
	w.till = parts.Start(t, parts.Command{Name: "tillstream run", Path: binary, Args: []string{"run", "--config", w.config}, Env: w.variables(), Dir: w.dir})
	w.statusOfFailure(t)
}

// statusOfFailure shows, where the test fails, what the program that still runs says of itself.
func (w *world) statusOfFailure(t *testing.T) {
	p := w.till
	t.Cleanup(func() {
		if !t.Failed() || p.Ended() {
			return
		}
		resp, err := http.Get("http://" + w.management + "/status")
		if err != nil {
			t.Logf("status: %v", err)
			return
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
		t.Logf("status (%v): %s", err, text)
		for _, id := range w.odd[:min(2, len(w.odd))] {
			trace, err := exec.Command(binary, "trace", id, "--clickhouse", w.clickhouse).CombinedOutput()
			t.Logf("trace of %s (%v): %.20000s", id, err, trace)
		}
	})
}

// serve starts one embedded part in a process of its own, on the same data each time.
func (w *world) serve(t *testing.T, part string) *parts.Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := parts.Start(t, parts.Command{Name: part, Path: self, Env: append(w.env,
		fmt.Sprintf("%s=%s|%s|%d", serveEnv, part, filepath.Join(w.dir, part), w.port[part]))})
	url := w.registry + "/subjects"
	if part == "clickhouse" {
		url = w.clickhouse + "/ping"
	}
	parts.Eventually(t, startLimit, part+" answers", func() error {
		if p.Ended() {
			t.Fatalf("%s ended: %s", part, p.Tail())
		}
		resp, err := http.Get(url)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, resp.Status)
		}
		return nil
	})
	return p
}

// part is one line of readiness.
type part struct {
	Name   string `json:"name"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason"`
}

// readiness asks the program how it is.
func (w *world) readiness() (ready bool, list []part, err error) {
	resp, err := http.Get("http://" + w.management + "/readyz")
	if err != nil {
		return false, nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Ready bool   `json:"ready"`
		Parts []part `json:"parts"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return false, nil, err
	}
	if answer.Ready != (resp.StatusCode == http.StatusOK) {
		return false, nil, fmt.Errorf("ready is %v with status %s", answer.Ready, resp.Status)
	}
	return answer.Ready, answer.Parts, nil
}

// awaitReady waits until every part of the program does its work.
func (w *world) awaitReady(t *testing.T) {
	t.Helper()
	w.await(t, "the program is ready", func() error {
		ready, list, err := w.readiness()
		if err == nil && !ready {
			err = fmt.Errorf("not ready: %+v", list)
		}
		return err
	})
}

// awaitReason waits until a part is not ready and says one of the words.
func (w *world) awaitReason(t *testing.T, words ...string) {
	t.Helper()
	w.await(t, fmt.Sprintf("readiness names one of %q", words), func() error {
		_, list, err := w.readiness()
		if err != nil {
			return err
		}
		for _, p := range list {
			for _, word := range words {
				if !p.Ready && strings.Contains(strings.ToLower(p.Name+": "+p.Reason), word) {
					t.Logf("not ready: %s: %.200s", p.Name, p.Reason)
					return nil
				}
			}
		}
		return fmt.Errorf("parts: %+v", list)
	})
}

// await is Eventually for a program that must not end meanwhile.
func (w *world) await(t *testing.T, what string, ok func() error) {
	t.Helper()
	parts.Eventually(t, startLimit, what, func() error {
		if w.till.Ended() {
			t.Fatalf("%s ended while a test waited that %s: %s\n%s", w.till.Name, what, w.till.State(), w.till.Tail())
		}
		return ok()
	})
}

// tell makes up a story that lies in the past to its end, renewals included: a time in the future would be taken for a
// clock that runs ahead.
func tell(seed int64, orders int) []story.Event {
	return story.New(story.Options{Seed: seed, Orders: orders, Accounts: []string{"paypal-eu", "paypal-us"}, Start: time.Now().AddDate(-1, -2, 0)}).Events()
}

// emit has PayPal send the events.
func (w *world) emit(ctx context.Context, events []story.Event) error {
	for _, e := range events {
		body, err := json.Marshal(struct {
			Account string `json:"account"`
			paypal.Event
		}{e.Account, paypal.Event{ID: e.ID, Type: e.Type, Body: e.Body, CreateTime: e.Time}})
		if err != nil {
			return err
		}
		if err := w.post(ctx, w.paypalURL+"/_simulator/emit", body); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) post(ctx context.Context, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("%s: %s: %s", url, resp.Status, text)
	}
	return nil
}

// paypal is what the simulated PayPal's deliveries have come to.
func (w *world) paypal(ctx context.Context) (s paypal.Status, err error) {
	err = audit.GetJSON(ctx, w.client, w.paypalURL+"/_simulator/status", &s)
	return s, err
}

// contacts is how many contacts the simulated CRM holds.
func (w *world) contacts(ctx context.Context) (int, error) {
	var s struct {
		Contacts int `json:"contacts"`
	}
	err := audit.GetJSON(ctx, http.DefaultClient, w.crmURL+"/_simulator/stats", &s)
	return s.Contacts, err
}

// awaitAccepted waits until every delivery of PayPal's got its 2xx.
func (w *world) awaitAccepted(t *testing.T) {
	t.Helper()
	parts.Eventually(t, deliverLimit, "every delivery is accepted", func() error {
		s, err := w.paypal(t.Context())
		if err == nil && s.Outstanding > 0 {
			err = fmt.Errorf("%d of %d deliveries are outstanding", s.Outstanding, s.Outstanding+s.Delivered)
		}
		if err == nil && s.Failed > 0 {
			t.Fatalf("%d deliveries were given up", s.Failed)
		}
		return err
	})
}

// awaitAgreement waits until the counts of every step agree, and fails with what does not.
func (w *world) awaitAgreement(t *testing.T, events []story.Event) audit.Report {
	t.Helper()
	o := app.ClickHouseOptions(config.ClickHouse{Address: w.clickhouse, Database: "tillstream"})
	db, err := clickhouse.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var r audit.Report
	parts.Eventually(t, settleLimit, "nothing is lost", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), settleLimit)
		defer cancel()
		out, err := audit.ReadOutside(ctx, w.client, w.paypalURL, w.crmURL)
		if err != nil {
			return err
		}
		out.Promises = w.promises
		records, err := audit.Records(ctx, kafka.Options{Brokers: []string{w.kafka}})
		if err != nil {
			return err
		}
		in, err := audit.Read(ctx, db, records)
		if err != nil {
			return err
		}
		if len(out.Sent) != len(events) {
			t.Fatalf("PayPal sent %d events, the story has %d", len(out.Sent), len(events))
		}
		r = audit.Compare(out, in)
		w.odd = nil
		for _, f := range r.Findings {
			if key, ok := strings.CutPrefix(f, "lost: order "); ok {
				key, _, _ = strings.Cut(key, ":")
				w.odd = append(w.odd, key[strings.LastIndexByte(key, '/')+1:])
			}
		}
		switch ends := r.Applied + r.Duplicates + r.Ignored + r.DeadLetters; {
		case r.Lost > 0:
			return fmt.Errorf("%d lost (%+v; tables: %+v):\n%s", r.Lost, r.Counts, in.Tables, strings.Join(r.Findings[:min(10, len(r.Findings))], "\n"))
		case ends != r.Published:
			return fmt.Errorf("%d records and %d ends", r.Published, ends)
		case r.Deliveries != r.Commands:
			return fmt.Errorf("%d commands and %d deliveries", r.Commands, r.Deliveries)
		case r.Published < r.Received:
			return errors.New("fewer records than acknowledged deliveries")
		}
		return nil
	})
	if r.Doubled > 0 {
		t.Errorf("%d doubled:\n%s", r.Doubled, strings.Join(r.Findings, "\n"))
	}
	if r.Contacts != r.Expected || r.Contacts == 0 {
		t.Errorf("%d contacts at the CRM, %d expected", r.Contacts, r.Expected)
	}
	bad := 0
	for _, e := range events {
		if e.Bad != "" {
			bad++
		}
	}
	if bad == 0 || r.DeadLetters < bad {
		t.Errorf("%d dead letters, and the story holds %d bad events", r.DeadLetters, bad)
	}
	t.Logf("%+v", r.Counts)
	return r
}
