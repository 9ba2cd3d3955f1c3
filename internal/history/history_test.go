package history

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/rs/zerolog"

	connectorsall "github.com/tillstream/tillstream/connectors/all"
	"github.com/tillstream/tillstream/embedded/chdb"
	"github.com/tillstream/tillstream/embedded/chserver"
	"github.com/tillstream/tillstream/internal/scenarios"
	"github.com/tillstream/tillstream/schemas"
	sinksall "github.com/tillstream/tillstream/sinks/all"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

var end = time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)

func options(t testing.TB, seed int64, events int) Options {
	t.Helper()
	files, err := Files()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Seed: seed, Events: events, Start: end.AddDate(0, -6, 0), End: end}
	if err := o.Follow(&scenarios.Loader{Connectors: connectorsall.Connectors(), Sinks: sinksall.Sinks()}, "", files); err != nil {
		t.Fatal(err)
	}
	return o
}

func made(t testing.TB, o Options) []Record {
	t.Helper()
	records, err := Make(o)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// Each event of each delivery ends in one transition or dead letter, each command has a final word or the past ends
// before it, and nothing speaks of what is not there.
func TestAPastIsConsistent(t *testing.T) {
	records := made(t, options(t, 1, 4000))
	events, ends, commands, answered, steps, refused := 0, 0, map[string]bool{}, map[string]bool{}, 0, 0
	stores := map[string]bool{}
	for _, r := range records {
		if r.At.Before(end.AddDate(0, -6, 0)) || r.At.After(end) {
			t.Errorf("%s at %v: outside of the span", r.Topic, r.At)
		}
		switch rec := r.Rec.(type) {
		case *schemas.OrderEvent:
			events++
			stores[rec.Connection] = true
		case *schemas.Transition:
			ends++
		case *schemas.Command:
			commands[rec.CommandID] = true
		case *schemas.RunStep:
			steps++
		case *schemas.DeadLetter:
			switch {
			case rec.Cause == schemas.CauseRejected:
				refused++
			case rec.Topic == schemas.TopicPayPalEvents:
				ends++
			}
		}
	}
	for _, r := range records {
		if d, ok := r.Rec.(*schemas.Delivery); ok {
			if !commands[d.CommandID] {
				t.Errorf("a delivery of command %s, which there is not", d.CommandID)
			}
			if d.Outcome != schemas.OutcomeRetryable {
				if answered[d.CommandID] {
					t.Errorf("command %s has two final words", d.CommandID)
				}
				answered[d.CommandID] = true
			}
		}
	}
	// What still waits for its order at the end of the past has no end yet.
	if events < 4000 || ends > events || ends < events-events/100 {
		t.Errorf("%d events have %d ends", events, ends)
	}
	if len(answered) < len(commands)*99/100 || len(commands) < 1000 || steps < 1000 || refused == 0 || len(stores) != 3 {
		t.Errorf("%d commands, %d answered, %d refused, %d steps of runs, stores %v", len(commands), len(answered), refused, steps, stores)
	}
}

func TestTheSameSeedMakesTheSamePast(t *testing.T) {
	a, b := made(t, options(t, 2, 800)), made(t, options(t, 2, 800))
	if len(a) != len(b) {
		t.Fatalf("%d records, then %d", len(a), len(b))
	}
	for i := range a {
		if !reflect.DeepEqual(a[i].Rec, b[i].Rec) || !a[i].At.Equal(b[i].At) {
			t.Fatalf("record %d differs: %+v, then %+v", i, a[i].Rec, b[i].Rec)
		}
	}
	if c := made(t, options(t, 3, 800)); reflect.DeepEqual(a[10].Rec, c[10].Rec) {
		t.Error("two seeds made the same")
	}
}

// A past that is copied answers every question in proportion, and a second filling changes nothing.
func TestCopiesInClickHouseAreConsistentAndRepeatable(t *testing.T) {
	ctx := context.Background()
	lib, err := chdb.Open(chdb.Options{Dir: filepath.Join(t.TempDir(), "data"), Connections: 2})
	if err != nil {
		if strings.Contains(os.Getenv("TILLSTREAM_REQUIRE"), "chdb") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	defer lib.Close()
	engine, err := chserver.New(lib, chserver.Options{Database: "tillstream"})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	store, err := chsink.Open(ctx, chsink.Options{Client: engine.Options(""), Log: zerolog.Nop(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	client := engine.Options("")
	client.Auth.Database = "tillstream"
	conn, err := ch.Open(client)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const copies = 3
	placed := Place(made(t, options(t, 1, 2000)))
	rows := 0
	for range 2 {
		if err := placed.Insert(ctx, store, 1, func(n int) { rows += n }); err != nil {
			t.Fatal(err)
		}
		if err := placed.Copy(ctx, conn, 1, copies, func(n int) { rows += n }); err != nil {
			t.Fatal(err)
		}
	}
	number := func(sql string) (n uint64) {
		t.Helper()
		if err := conn.QueryRow(ctx, sql).Scan(&n); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return n
	}
	for topic, of := range placed {
		n := 0
		for _, rows := range of {
			n += len(rows)
		}
		if topic == schemas.TopicConfig {
			continue
		}
		table := map[string]string{
			schemas.TopicPayPalEvents: "events", schemas.TopicTransitions: "transitions", schemas.TopicRuns: "run_steps",
			schemas.TopicCommands: "commands", schemas.TopicDeliveries: "deliveries", schemas.TopicDeadLetters: "dead_letters",
		}[topic]
		if got := number("SELECT uniqExact((_topic, _topic_id, _partition, _offset)) FROM " + table); got != uint64(n*(copies+1)) {
			t.Errorf("%s: %d records, want %d of %d copies", table, got, n*(copies+1), copies+1)
		}
	}
	for what, sql := range map[string]string{
		"transitions of an event that is not there":  "SELECT count() FROM transitions WHERE (connection, event_id) NOT IN (SELECT connection, event_id FROM events)",
		"commands of an order that is not there":     "SELECT count() FROM commands WHERE root_key != '' AND root_key NOT IN (SELECT root_key FROM transitions)",
		"deliveries of no command":                   "SELECT count() FROM deliveries WHERE command_id NOT IN (SELECT command_id FROM commands)",
		"steps of a contact that is not there":       "SELECT count() FROM run_steps WHERE contact_key NOT IN (SELECT contact_key FROM transitions)",
		"dead letters about no event and no command": "SELECT count() FROM dead_letters WHERE (_topic_id, topic, partition, offset) NOT IN (SELECT _topic_id, _topic, toInt64(_partition), _offset FROM events UNION ALL SELECT _topic_id, _topic, toInt64(_partition), _offset FROM commands)",
		"bodies whose hash is another":               "SELECT count() FROM events WHERE body_hash != lower(hex(SHA256(body)))",
		"bodies that do not name their event":        "SELECT count() FROM events WHERE problem = '' AND position(body, event_id) = 0",
	} {
		if n := number(sql); n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
	if n := number("SELECT uniqExact(contact_key) FROM transitions"); n%(copies+1) > 1 {
		t.Errorf("%d contacts: not %d times as many", n, copies+1)
	}
	if n, err := Strangers(ctx, conn); n != 0 || err != nil {
		t.Errorf("%d rows of others, %v", n, err)
	}
}

// BenchmarkMake tells how fast a past is made up, before it goes anywhere.
func BenchmarkMake(b *testing.B) {
	o := options(b, 1, 20_000)
	for b.Loop() {
		made(b, o)
	}
	b.ReportMetric(float64(o.Events*b.N)/b.Elapsed().Seconds(), "events/s")
}
