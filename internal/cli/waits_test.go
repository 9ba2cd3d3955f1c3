package cli_test

import (
	"context"
	"encoding/json"
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

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/embedded"
	"github.com/tillstream/tillstream/internal/cli"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/schemas/registry"
	"github.com/tillstream/tillstream/sinks"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

const waitingFile = `destination: crm
start:
  - {on: payment-status-changed, status: [FAILED]}
steps:
  - id: pay
    wait_for: {status: [PAID], not_met_after: 1d}
    met:
      - {id: thanks, send_message: thanks}
    not_met:
      - {id: sorry, send_message: sorry}
`

// waiting fills the tables with three runs that wait and one whose wait is over.
func waiting(t *testing.T, store *chsink.Store) {
	t.Helper()
	var steps, transitions []sinks.Row
	for i := range 4 {
		contact, root := fmt.Sprintf("live/wait%d@example.com", i), fmt.Sprintf("live/shop/W%d", i)
		at := reportDay.Add(-time.Duration(i+1) * time.Hour)
		step := func(number int64, kind schemas.StepWord, id, detail string) *schemas.RunStep {
			s := &schemas.RunStep{
				RunID: fmt.Sprint("RUN", i), Workflow: "recovery", WorkflowVersion: "elsewhere", ConfigVersion: "cfgW", ContactKey: contact, RootKey: root,
				Number: number, Step: id, Kind: kind, Detail: detail, Origin: schemas.OriginWebhook, At: at,
			}
			steps = append(steps, sinks.Row{Offset: int64(len(steps)), At: at, Record: s})
			return s
		}
		step(1, schemas.StepStarted, "", "").EventID = fmt.Sprint("EW", i)
		opened := step(2, schemas.StepWaitOpened, "pay", "")
		opened.WaitID, opened.Deadline = fmt.Sprint("RUN", i, ".1"), at.Add(24*time.Hour)
		if i == 3 {
			step(3, schemas.StepWaitMet, "pay", "closed by ann").WaitID = "RUN3.1"
			step(4, schemas.StepHeld, "thanks", "send_message "+escape+": the contact unsubscribed from the list News")
			step(5, schemas.StepEnded, "", "")
		}
		e := schemas.OrderEvent{EventID: fmt.Sprint("EW", i), Environment: schemas.Live, Connection: "shop", RootID: fmt.Sprint("W", i), EventType: "PAYMENT.CAPTURE.DENIED", ProviderTime: at, ReceivedAt: at}
		transitions = append(transitions, sinks.Row{Offset: int64(i), At: at, Record: &schemas.Transition{
			RootKey: root, RootKind: schemas.KindOrder, Number: 1, Disposition: schemas.Changed,
			To: schemas.StatusFailed, Legal: true, Event: e, Paid: "0", Refunded: "0", Currency: "EUR", ContactKey: contact, At: at,
		}})
	}
	config := []sinks.Row{{At: reportDay, Record: &schemas.ConfigVersion{Version: "cfgW", Files: map[string]string{"workflows/recovery.yaml": waitingFile}, At: reportDay}}}
	for topic, rows := range map[string][]sinks.Row{schemas.TopicRuns: steps, schemas.TopicTransitions: transitions, schemas.TopicConfig: config} {
		r := sinks.Range{Topic: topic, TopicID: "waits", Partition: 98, From: 0, To: rows[len(rows)-1].Offset}
		if err := store.Insert(context.Background(), r, rows); err != nil {
			t.Fatal(err)
		}
	}
}

func waitsAreListedAndShown(t *testing.T, address string) {
	at := func(args ...string) (int, string, string) {
		return tillstream(t, append(args, "--clickhouse", address)...)
	}
	for _, c := range []struct {
		args []string
		code int
		want []string // all of it, in stdout and stderr
		none string   // must not be there
	}{
		{[]string{"waits"}, 0, []string{"RUN2.1", "RUN1.1", "RUN0.1", "in 23 h", "live/w***@example.com", "live/shop/W0"}, "RUN3.1"},
		{[]string{"waits", "--state", "all", "--order", "W3"}, 0, []string{"RUN3.1", "met (person)"}, "RUN0"},
		{[]string{"waits", "--contact", "wait1@example.com", "--show-personal-data"}, 0, []string{"RUN1.1", "live/wait1@example.com"}, "RUN0"},
		{[]string{"waits", "--due-before", "21h30m"}, 0, []string{"RUN2.1"}, "RUN1"},
		{[]string{"waits", "--rows", "1"}, 0, []string{"RUN2.1", "--after "}, "RUN1"},
		{[]string{"waits", "--workflow", "x' OR 1=1"}, 0, []string{"no such wait"}, "RUN"},
		{[]string{"waits", "--state", "shut"}, 2, []string{"use open"}, "RUN"},
		{[]string{"waits", "--contact", "nobody"}, 2, []string{"no e-mail address"}, "RUN"},
		{[]string{"waits", "--after", "%%"}, 2, []string{"cursor"}, "RUN"},
		{[]string{"waits", "--due-before", "soon"}, 2, []string{"--due-before"}, "RUN"},
		{[]string{"waits", "shut"}, 2, []string{"unknown command"}, "RUN"},
		{[]string{"waits", "show", "RUN0.1"}, 0, []string{"wait RUN0.1: open", "live/w***@example.com", "in 23 h"}, "wait0@"},
		{[]string{"waits", "show", "RUN3.1"}, 0, []string{"wait RUN3.1: met", "closed by ann"}, "wait3@"},
		{[]string{"waits", "show", "' OR '1'='1"}, 1, []string{"there is no wait"}, "RUN"},
		{[]string{"waits", "close", "RUN0.1"}, 2, []string{"--met and --not-met"}, "RUN0.1"},
		{[]string{"waits", "close", "RUN0.1", "--met", "--not-met"}, 2, []string{"--met and --not-met"}, "RUN0.1"},
		{[]string{"waits", "close", "--met"}, 2, []string{"which wait"}, "RUN"},
		{[]string{"waits", "close", "RUN0.1", "--met", "--workflow", "recovery"}, 2, []string{"name one wait"}, "RUN"},
		{[]string{"waits", "close", "RUN0.1", "--met"}, 2, []string{"It will end as met", "nothing is changed", "--yes"}, "wait0@"},
		{[]string{"waits", "close", "RUN3.1", "--met", "--yes"}, 1, []string{"RUN3.1 is not open", "closed by ann", "2026-04-10 08:00:00 UTC"}, "will end"},
		{[]string{"waits", "close", "RUN9.1", "--met", "--yes"}, 1, []string{"there is no wait"}, "will end"},
		{[]string{"waits", "close", "RUN0.1", "--met", "--yes", "--reason", "a\nb"}, 2, []string{"one line"}, "will end"},
		{[]string{"waits", "close", "RUN0.1", "--met", "--yes"}, 2, []string{"does not say where Kafka is"}, "wait0@"},
		{[]string{"runs"}, 0, []string{"recovery", "pay: met"}, "only watched"},
		{[]string{"runs", "--environment", "sandbox"}, 0, []string{"no run"}, "recovery"},
		{[]string{"runs", "--since", "1h30m"}, 0, []string{"recovery  1"}, "pay: met"},
		{[]string{"runs", "--environment", "moon"}, 2, []string{"use live or sandbox"}, "recovery"},
		{[]string{"explain", "W0"}, 0, []string{"W0 (order)", "PAYMENT.CAPTURE.DENIED", "waits at step pay", "in 23 h", "live/w***@example.com"}, "wait0@"},
		{[]string{"explain", "wait3@example.com"}, 0, []string{"(contact)", "held back, nothing was sent", "closed by ann"}, "\x1b"},
		{[]string{"explain", "live/wait3@example.com", "--show-personal-data"}, 0, []string{"live/wait3@example.com (contact)"}, "\x1b"},
		{[]string{"explain", "RUN0.1"}, 0, []string{"(run)", "waits at step pay"}, "wait0@"},
		{[]string{"explain", "x' OR '1'='1"}, 1, []string{"nothing is known"}, "PAYMENT"},
		{[]string{"explain", " "}, 2, []string{"give an order"}, "PAYMENT"},
		{[]string{"trace", "W0"}, 0, []string{"RUN         Workflow recovery: wait opened at step pay", "RUN0.1"}, "RUN1"},
	} {
		code, out, errs := at(c.args...)
		if code != c.code {
			t.Errorf("%q: got code %d, want %d; %s%s", c.args, code, c.code, out, errs)
		}
		for _, want := range c.want {
			if !strings.Contains(out+errs, want) {
				t.Errorf("%q does not say %q:\n%s%s", c.args, want, out, errs)
			}
		}
		if strings.Contains(out+errs, c.none) {
			t.Errorf("%q says %q:\n%s%s", c.args, c.none, out, errs)
		}
	}
	code, out, _ := at("waits", "--json", "--state", "all")
	var page chsink.WaitPage
	if err := json.Unmarshal([]byte(out), &page); code != 0 || err != nil || len(page.Waits) != 4 || strings.Contains(out, "wait0@") {
		t.Errorf("as JSON: code %d, %v, %s", code, err, out)
	}
	code, out, _ = at("explain", "W0", "--json")
	var e api.Explanation
	if err := json.Unmarshal([]byte(out), &e); code != 0 || err != nil || e.As != "order" || len(e.Sections) < 4 || strings.Contains(out, "wait0@") {
		t.Errorf("as JSON: code %d, %v, %s", code, err, out)
	}
}

// waitsAreClosed closes one wait, and then all that are due, on a Kafka that keeps what was decided.
func waitsAreClosed(t *testing.T, address string) {
	services, err := embedded.Start(t.Context(), embedded.Options{Dir: t.TempDir(), Without: []string{embedded.Redis, embedded.ClickHouse}, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = services.Close() })
	k := kafka.Options{Brokers: services.Brokers}
	if err := kafka.EnsureTopics(t.Context(), k, kafka.Topics(k)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	settings := fmt.Sprintf("kafka: {brokers: [%q]}\nregistry: {url: %q, cache_file: %q}\nredis: {address: \"127.0.0.1:1\"}\nclickhouse: {address: %q}\n",
		services.Brokers[0], services.RegistryURL, filepath.Join(dir, "cache.json"), address)
	if err := os.WriteFile(filepath.Join(dir, "tillstream.yaml"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"waits", "close", "RUN0.1", "--met", "--by", "ann", "--reason", "called the bank"},
		{"waits", "close", "--workflow", "recovery", "--due-before", "22h30m", "--not-met", "--by", "bob"},
		{"waits", "close", "--workflow", "none", "--not-met", "--by", "bob"},
	} {
		if code, out, errs := tillstream(t, append(args, "--yes", "--config", dir)...); code != cli.ExitOK {
			t.Fatalf("%q: code %d: %s%s", args, code, out, errs)
		}
	}
	want := []schemas.WaitDecision{
		{WaitID: "RUN0.1", ContactKey: "live/wait0@example.com", Met: true, By: "ann: called the bank", At: reportDay},
		{WaitID: "RUN1.1", ContactKey: "live/wait1@example.com", By: "bob", At: reportDay},
		{WaitID: "RUN2.1", ContactKey: "live/wait2@example.com", By: "bob", At: reportDay},
	}
	if diff := cmp.Diff(decided(t, services, k), want); diff != "" {
		t.Errorf("decisions (-got +want):\n%s", diff)
	}
}

// decided reads the decisions on the inbox, in the order of their waits, and checks that each came by its contact's key.
func decided(t *testing.T, services *embedded.Services, k kafka.Options) []schemas.WaitDecision {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	reg := registry.New(registry.Options{URL: services.RegistryURL, HTTP: http.DefaultClient})
	if err := reg.Register(ctx); err != nil {
		t.Fatal(err)
	}
	c, err := codec.New(reg)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := k.Client(kgo.ConsumeTopics(schemas.TopicAutomationInbox), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, schemas.TopicAutomationInbox)
	if err != nil {
		t.Fatal(err)
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	byWait := map[string]schemas.WaitDecision{}
	for left > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			left--
			rec, err := c.Decode(r.Value)
			d, ok := rec.(*schemas.WaitDecision)
			if err != nil || !ok || string(r.Key) != d.ContactKey || r.Partition != kafka.PartitionOf(&kgo.Record{Key: r.Key}, 8) {
				t.Errorf("record %+v with key %q in partition %d: %v", rec, r.Key, r.Partition, err)
				return
			}
			byWait[d.WaitID] = *d
		})
	}
	var out []schemas.WaitDecision
	for _, id := range []string{"RUN0.1", "RUN1.1", "RUN2.1", "RUN3.1"} {
		if d, ok := byWait[id]; ok {
			out = append(out, d)
		}
	}
	return out
}
