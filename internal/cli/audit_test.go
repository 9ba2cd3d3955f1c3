package cli_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/cli"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// auditKafka is a Kafka with the topics, and their ids.
func auditKafka(t *testing.T) (brokers []string, ids map[string]string) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, chsink.Topics()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	topics, err := kadm.NewClient(cl).ListTopics(t.Context(), chsink.Topics()...)
	if err != nil {
		t.Fatal(err)
	}
	ids = map[string]string{}
	for _, topic := range topics {
		ids[topic.Topic] = base64.StdEncoding.EncodeToString(topic.ID[:])
	}
	return cluster.ListenAddrs(), ids
}

// transact appends n records to partition 0 of a topic in one transaction, which is committed or not.
func transact(t *testing.T, brokers []string, topic string, n int, at time.Time, commit bool) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.TransactionalID(fmt.Sprintf("%s-%d-%v", topic, at.UnixNano(), commit)),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxProduceRequestsInflightPerBroker(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: fmt.Append(nil, i), Timestamp: at}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := cl.EndTransaction(context.Background(), kgo.TransactionEndTry(commit)); err != nil {
		t.Fatal(err)
	}
}

// auditedEvent is an event of an order, and the transition that it made.
func auditedEvent(id string, d schemas.Disposition, number int64, at time.Time) (*schemas.OrderEvent, *schemas.Transition) {
	e := schemas.OrderEvent{EventID: id, Kind: schemas.KindOrder, Environment: schemas.Sandbox, Connection: "shop", RootID: "A", ReceivedAt: at, ProviderTime: at}
	return &e, &schemas.Transition{RootKey: e.Key(), RootKind: schemas.KindOrder, Number: number, Disposition: d, Legal: true, Event: e, At: at}
}

// auditFindsGaps audits a small past that agrees, and then one thing after the other that does not.
func auditFindsGaps(t *testing.T, address string, store *chsink.Store) {
	brokers, ids := auditKafka(t)
	old := reportDay.Add(-5 * time.Hour)
	put := func(topic string, offset int64, rec schemas.Record, at time.Time) {
		t.Helper()
		r := sinks.Range{Topic: topic, TopicID: ids[topic], From: offset, To: offset}
		if err := store.Insert(context.Background(), r, []sinks.Row{{Offset: offset, At: at, Record: rec}}); err != nil {
			t.Fatal(err)
		}
	}
	audit := func() (int, map[string]any, map[string]any) {
		t.Helper()
		code, stdout, stderr := tillstream(t, "audit", "--since", "1d", "--clickhouse", address, "--kafka", strings.Join(brokers, ","), "--json")
		var said map[string]any
		if err := json.Unmarshal([]byte(stdout), &said); err != nil {
			t.Fatalf("%v: exit code %d: %s", err, code, stderr)
		}
		for _, p := range said["partitions"].([]any) {
			if part := p.(map[string]any); part["topic"] == schemas.TopicPayPalEvents && part["partition"] == 0.0 {
				return code, said, part
			}
		}
		t.Fatal("the partition is not in the result")
		return 0, nil, nil
	}
	want := func(step string, wantCode int, fields, wantFields map[string]any) {
		t.Helper()
		for name, value := range wantFields {
			if diff := cmp.Diff(fields[name], value); diff != "" {
				t.Errorf("%s: %s (-got +want):\n%s", step, name, diff)
			}
		}
	}
	if code, said, _ := audit(); code != cli.ExitOK || said["agrees"] != true {
		t.Fatalf("nothing anywhere: got %d %v", code, said)
	}

	// offsets 0-2 committed, marker at 3; 4-5 aborted, marker at 6; 7 committed and young, marker at 8
	transact(t, brokers, schemas.TopicPayPalEvents, 3, old, true)
	transact(t, brokers, schemas.TopicPayPalEvents, 2, old, false)
	transact(t, brokers, schemas.TopicPayPalEvents, 1, reportDay, true)
	transact(t, brokers, schemas.TopicTransitions, 3, old, true)
	var transitions []*schemas.Transition
	for i, d := range []schemas.Disposition{schemas.Changed, schemas.Duplicate, schemas.Late} {
		e, tr := auditedEvent([]string{"E1", "E1", "E2"}[i], d, int64(i+1), old)
		if i != 1 {
			put(schemas.TopicPayPalEvents, int64(i), e, old)
		}
		transitions = append(transitions, tr)
	}
	put(schemas.TopicTransitions, 0, transitions[0], old)
	put(schemas.TopicTransitions, 1, transitions[1], old)
	put(schemas.TopicTransitions, 2, transitions[2], old)

	code, said, part := audit()
	if code != cli.ExitDisagree {
		t.Errorf("a record without a row: exit code %d", code)
	}
	run := func(from, to float64) []any { return []any{map[string]any{"from": from, "to": to}} }
	want("a record without a row", code, part, map[string]any{"records": 4.0, "rows": 2.0, "missing": run(1, 1), "foreign": nil, "on_the_way": 1.0, "until": 9.0})
	want("a record without a row", code, said["conservation"].(map[string]any), map[string]any{"received": 2.0, "applied": 1.0, "duplicates": 1.0, "late": 1.0, "doubled": 1.0})

	repeat, _ := auditedEvent("E1", schemas.Duplicate, 2, old)
	put(schemas.TopicPayPalEvents, 1, repeat, old)
	code, said, part = audit()
	if code != cli.ExitOK {
		t.Errorf("all there: exit code %d, %v", code, said)
	}
	want("all there", code, part, map[string]any{"records": 4.0, "rows": 3.0, "missing": nil, "on_the_way": 1.0})
	want("all there", code, said["conservation"].(map[string]any), map[string]any{"received": 3.0, "lost": 0.0, "doubled": 0.0, "waiting": 0.0})

	// ClickHouse refused a row, and the dead letter says so; another event has no end, and is old
	transact(t, brokers, schemas.TopicPayPalEvents, 2, old, true) // offsets 9, 10
	put(schemas.TopicDeadLetters, 0, &schemas.DeadLetter{ID: "x", Stage: "clickhouse", Cause: schemas.CauseUnwritable, Topic: schemas.TopicPayPalEvents, Offset: 9, At: old}, old)
	transact(t, brokers, schemas.TopicDeadLetters, 1, old, true)
	lost, _ := auditedEvent("E3", "", 0, old)
	put(schemas.TopicPayPalEvents, 10, lost, old)
	code, said, part = audit()
	if code != cli.ExitDisagree {
		t.Errorf("an event without an end: exit code %d", code)
	}
	want("refused and lost", code, part, map[string]any{"refused": 1.0, "missing": nil, "rows": 4.0})
	want("refused and lost", code, said["conservation"].(map[string]any), map[string]any{"lost": 1.0, "examples": []any{"lost: event E3 of sandbox/shop: 1 records, 0 ends"}})

	// an event may wait for its order for a while
	code, stdout, stderr := tillstream(t, "audit", "--since", "1d", "--wait", "6h", "--clickhouse", address, "--kafka", strings.Join(brokers, ","))
	if code != cli.ExitOK || !strings.Contains(stdout, "waiting 1 + lost 0") {
		t.Errorf("--wait 6h: exit code %d\n%s%s", code, stdout, stderr)
	}

	// a row of an aborted record
	foreign, tr := auditedEvent("E4", schemas.Changed, 4, old)
	put(schemas.TopicPayPalEvents, 4, foreign, old)
	put(schemas.TopicTransitions, 3, tr, old)
	code, stdout, stderr = tillstream(t, "audit", "--since", "1d", "--wait", "6h", "--clickhouse", address, "--kafka", strings.Join(brokers, ","))
	if code != cli.ExitDisagree || !strings.Contains(stdout, "row without a committed record: paypal.events/0 offsets 4 to 4") || !strings.Contains(stderr, "2 rows without a record") {
		t.Errorf("a foreign row: exit code %d\n%s%s", code, stdout, stderr)
	}
	// What the retention of the table has deleted is no finding.
	transact(t, brokers, schemas.TopicStoreOrders, 1, reportDay.AddDate(-11, 0, 0), true)
	ofStores := func() (missing, shortened any) {
		t.Helper()
		_, stdout, _ := tillstream(t, "audit", "--since", reportDay.AddDate(-12, 0, 0).Format(time.DateOnly), "--clickhouse", address, "--kafka", strings.Join(brokers, ","), "--json")
		var said struct {
			Partitions []struct {
				Topic   string
				Missing []sinks.Range
			}
			Shortened map[string]time.Time
		}
		if err := json.Unmarshal([]byte(stdout), &said); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, p := range said.Partitions {
			if p.Topic == schemas.TopicStoreOrders {
				n += len(p.Missing)
			}
		}
		at, ok := said.Shortened[schemas.TopicStoreOrders]
		return n, ok && at.Before(reportDay.AddDate(-9, 0, 0))
	}
	if missing, shortened := ofStores(); missing != 1 || shortened != false {
		t.Errorf("an old record without a row: %v are missing, shortened %v; want 1 and false", missing, shortened)
	}
	retention(t, address)
	if missing, shortened := ofStores(); missing != 0 || shortened != true {
		t.Errorf("rows are kept for ten years: %v are missing, shortened %v; want 0 and true", missing, shortened)
	}
}

// retention has the events of ten years kept.
func retention(t *testing.T, address string) {
	t.Helper()
	options, err := clickhouse.ParseDSN(address)
	if err != nil {
		t.Fatal(err)
	}
	options.Auth.Database = chsink.DatabaseDefault
	conn, err := clickhouse.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec(t.Context(), "ALTER TABLE events MODIFY TTL toDateTime(_at) + INTERVAL 3650 DAY"); err != nil {
		t.Fatal(err)
	}
}
