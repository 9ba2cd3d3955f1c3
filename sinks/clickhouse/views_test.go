package clickhouse_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/clickhouse"
)

// step is a transition of an order, with the running totals that the orders stage keeps.
func step(env schemas.Environment, root string, number int64, day int, d schemas.Disposition, from, to schemas.PaymentStatus, paid, refunded string) *schemas.Transition {
	at := epoch.AddDate(0, 0, day).Add(time.Duration(number) * time.Minute)
	return &schemas.Transition{
		RootKey: schemas.RootKey(env, "shop", root), RootKind: schemas.KindOrder, Number: number, Disposition: d, From: from, To: to, Legal: true,
		Why:   "because",
		Event: schemas.OrderEvent{EventID: fmt.Sprint("E-", root, "-", number), Environment: env, Connection: "shop", Provider: "paypal", RootID: root, EntityID: "CAP-" + root, EventType: "T", ProviderTime: at, ReceivedAt: at, DeliveryIDs: []string{fmt.Sprint("D-", root, "-", number)}},
		Paid:  paid, Refunded: refunded, Currency: "EUR", ContactKey: string(env) + "/ann@example.com", Payer: &schemas.Payer{Email: "ann@example.com"}, At: at,
	}
}

// story is what the views are asked about.
func story() (transitions []*schemas.Transition) {
	const live, sandbox = schemas.Live, schemas.Sandbox
	test := step(live, "T", 1, 0, schemas.Changed, "", schemas.StatusPaid, "1000", "0")
	test.Event.Test = true
	yen := step(live, "Y", 1, 1, schemas.Changed, "", schemas.StatusPaid, "500", "0")
	yen.Currency = "JPY"
	return []*schemas.Transition{
		// approved, paid in two parts, refunded in part on the next day; a duplicate and a late event in between
		step(live, "A", 1, 0, schemas.Changed, "", schemas.StatusApproved, "0", "0"),
		step(live, "A", 2, 0, schemas.Changed, schemas.StatusApproved, schemas.StatusPartiallyPaid, "30.10", "0"),
		step(live, "A", 3, 0, schemas.Duplicate, schemas.StatusPartiallyPaid, schemas.StatusPartiallyPaid, "30.10", "0"),
		step(live, "A", 4, 0, schemas.Changed, schemas.StatusPartiallyPaid, schemas.StatusPaid, "50.20", "0"),
		step(live, "A", 5, 0, schemas.Late, schemas.StatusPaid, schemas.StatusPaid, "50.20", "0"),
		step(live, "A", 6, 1, schemas.Changed, schemas.StatusPaid, schemas.StatusPartiallyRefunded, "50.20", "20.10"),
		// approved and never captured
		step(live, "B", 1, 0, schemas.Changed, "", schemas.StatusApproved, "0", "0"),
		step(live, "B", 2, 0, schemas.Changed, schemas.StatusApproved, schemas.StatusCancelled, "0", "0"),
		// another currency, another world, a test
		yen,
		step(sandbox, "S", 1, 0, schemas.Changed, "", schemas.StatusPaid, "7", "0"),
		test,
	}
}

// insertStory writes everything twice under the same tokens, again in overlapping ranges under others, and again after a
// replay: the views must not notice.
func insertStory(t *testing.T, store *clickhouse.Store, conn driver.Conn) {
	t.Helper()
	for _, table := range []string{"events", "transitions", "commands", "deliveries", "dead_letters"} {
		exec(t, conn, "SYSTEM STOP MERGES "+table)
	}
	var events []*schemas.OrderEvent
	transitions := story()
	for _, tr := range transitions {
		e := tr.Event
		e.Body, e.BodyHash, e.Payer = []byte("{}"), "h", tr.Payer
		events = append(events, &e)
	}
	events = append(events, events[0]) // the same event came a second time
	commands := []*schemas.Command{
		{CommandID: "C1", Kind: schemas.CommandContact, Destination: "crm", ContactKey: "live/ann@example.com", Version: 1, RootKey: "live/shop/A", EventID: "E-A-1", ConfigVersion: "cfg1", At: epoch.Add(2 * time.Minute), Contact: schemas.Contact{Email: "ann@example.com", Fields: map[string]string{"TOTAL": "50.20"}, Tags: []string{"paypal-integration"}}},
		{CommandID: "C2", Kind: schemas.CommandEffect, Destination: "crm", ContactKey: "live/ann@example.com", RootKey: "live/shop/A", EventID: "E-A-4", ConfigVersion: "cfg1", At: epoch.Add(5 * time.Minute), Effect: &schemas.Effect{Type: schemas.EffectTrackEvent, Name: "paid"}},
	}
	deliveries := []*schemas.Delivery{
		{CommandID: "C1", Destination: "crm", ContactKey: "live/ann@example.com", Outcome: schemas.OutcomeRetryable, Attempt: 1, RootKey: "live/shop/A", EventID: "E-A-1", At: epoch.Add(3 * time.Minute), Error: "429", Requests: []schemas.Exchange{{Method: "POST", URL: "https://crm/api/3/contact/sync", Status: 429, At: epoch, Millis: 12}}},
		{CommandID: "C1", Destination: "crm", ContactKey: "live/ann@example.com", Outcome: schemas.OutcomeDelivered, Attempt: 2, RootKey: "live/shop/A", EventID: "E-A-1", At: epoch.Add(4 * time.Minute), Requests: []schemas.Exchange{{Method: "POST", URL: "https://crm/api/3/contact/sync", Status: 200, At: epoch, Millis: 30}}},
	}
	letters := []*schemas.DeadLetter{
		{ID: "paypal.events-0-99", Cause: schemas.CauseQuarantined, Reason: "other content", EventID: "E-B-9", RootKey: "live/shop/B", At: epoch.Add(time.Hour)},
		{ID: "paypal.events-0-99", Cause: schemas.CauseQuarantined, Reason: "other content", EventID: "E-B-9", RootKey: "live/shop/B", At: epoch.Add(time.Hour)},
	}
	for topic, rows := range map[string][]sinks.Row{
		schemas.TopicPayPalEvents: rowsOf(0, events...), schemas.TopicTransitions: rowsOf(0, transitions...),
		schemas.TopicCommands: rowsOf(0, commands...), schemas.TopicDeliveries: rowsOf(0, deliveries...), schemas.TopicDeadLetters: rowsOf(0, letters...),
	} {
		n := len(rows)
		for _, cut := range [][2]int{{0, n}, {0, n}, {0, n/2 + 1}, {n / 2, n}} { // overlapping, twice
			part := rows[cut[0]:cut[1]]
			insert(t, store, rangeOf(topic, part), part)
			insert(t, store, rangeOf(topic, part), part)
		}
		again := rangeOf(topic, rows)
		again.Replay = 1
		insert(t, store, again, rows)
	}
	if got := count(t, conn, "SELECT toUInt64(count() - uniqExact(_offset)) FROM transitions"); got == 0 {
		t.Fatal("no row is stored twice: the test tests nothing")
	}
}

func table(t *testing.T, store *clickhouse.Store, sql string) []string {
	t.Helper()
	res, err := store.Query(context.Background(), sql, clickhouse.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, row := range res.Rows {
		line := ""
		for i, v := range row {
			if i > 0 {
				line += " "
			}
			if at, ok := v.(time.Time); ok {
				v = at.Format(time.DateOnly)
			}
			line += fmt.Sprint(v)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestViewsAreRightWhateverIsInsertedAgain(t *testing.T) {
	store, conn := prepared(t)
	insertStory(t, store, conn)
	for _, c := range []struct {
		sql  string
		want []string
	}{
		{"SELECT root_key, status, transitions, paid, refunded, currency, payer_email FROM v_orders WHERE NOT test ORDER BY root_key", []string{
			"live/shop/A PARTIALLY_REFUNDED 6 50.2 20.1 EUR ann@example.com",
			"live/shop/B CANCELLED 2 0 0 EUR ann@example.com",
			"live/shop/Y PAID 1 500 0 JPY ann@example.com",
			"sandbox/shop/S PAID 1 7 0 EUR ann@example.com",
		}},
		{"SELECT day, environment, connection, currency, captured, refunded, net, captures, refunds FROM v_revenue_daily ORDER BY ALL", []string{
			"2026-03-01 live shop EUR 50.2 0 50.2 2 0",
			"2026-03-01 sandbox shop EUR 7 0 7 1 0",
			"2026-03-02 live shop EUR 0 20.1 -20.1 0 1",
			"2026-03-02 live shop JPY 500 0 500 1 0",
		}},
		{"SELECT * FROM v_order_funnel ORDER BY ALL", []string{
			"2026-03-01 live shop 2 2 1 1 0 1 60",
			"2026-03-01 sandbox shop 1 1 1 0 0 0 NaN",
			"2026-03-02 live shop 1 1 1 0 0 0 NaN",
		}},
		{"SELECT measure, detail, value FROM v_counts ORDER BY measure, detail", []string{
			"changed  9", "commands  2", "config_versions  0", "dead_letters  1", "dead_letters_by_cause QUARANTINED 1", "deliveries  2",
			"deliveries_by_outcome DELIVERED 1", "deliveries_by_outcome RETRYABLE 1", "distinct_commands  2", "distinct_events  11",
			"duplicates  1", "ignored  0", "illegal  0", "late  1", "orders  5", "orphans  0", "received  12", "recorded  0", "run_steps  0", "transitions  11", "undecodable  0",
		}},
	} {
		if diff := cmp.Diff(c.want, table(t, store, c.sql)); diff != "" {
			t.Errorf("%s\n(-want +got):\n%s", c.sql, diff)
		}
	}
}

func TestViewsOfNothingAreEmpty(t *testing.T) {
	store, _ := prepared(t)
	for _, v := range []string{"v_orders", "v_revenue_daily", "v_order_funnel"} {
		if got := table(t, store, "SELECT * FROM "+v); len(got) != 0 {
			t.Errorf("%s of no records holds %q", v, got)
		}
	}
	if got := table(t, store, "SELECT value FROM v_counts WHERE measure = 'received'"); len(got) != 1 || got[0] != "0" {
		t.Errorf("received is %q, want 0", got)
	}
}

func TestTraceTellsTheWholeStory(t *testing.T) {
	store, conn := prepared(t)
	insertStory(t, store, conn)
	for _, c := range []struct {
		id, as string
		want   []string
	}{
		{"A", "order", wayOfA},
		{"live/shop/A", "order", wayOfA},
		{"CAP-A", "order", wayOfA},
		{"E-A-1", "event", []string{"received E-A-1", "received E-A-1", "transition 1", "command C1", "delivery RETRYABLE at crm", "delivery DELIVERED at crm"}},
		{"D-A-4", "event", []string{"received E-A-4", "transition 4", "command C2"}},
		{"paypal.events-0-99", "event", []string{"dead letter QUARANTINED", "dead letter QUARANTINED"}},
		{"B", "order", []string{"received E-B-1", "transition 1", "received E-B-2", "transition 2", "dead letter QUARANTINED", "dead letter QUARANTINED"}},
		{"nowhere", "", nil},
		{"x' OR '1'='1", "", nil},
		{"nobody@example.com", "", nil},
	} {
		trace, err := store.Trace(context.Background(), c.id)
		if err != nil {
			t.Errorf("%s: %v", c.id, err)
			continue
		}
		if trace.As != c.as {
			t.Errorf("%s was taken for %q, want %q", c.id, trace.As, c.as)
		}
		if diff := cmp.Diff(c.want, outline(trace)); diff != "" {
			t.Errorf("trace of %s (-want +got):\n%s", c.id, diff)
		}
	}
}

var wayOfA = []string{
	"received E-A-1", "received E-A-1", "transition 1", "received E-A-2", "transition 2", "command C1", "received E-A-3", "transition 3",
	"delivery RETRYABLE at crm", "received E-A-4", "transition 4", "delivery DELIVERED at crm", "received E-A-5", "transition 5", "command C2",
	"received E-A-6", "transition 6",
}

// outline is the kind of each hop and what tells it from the others.
func outline(trace clickhouse.Trace) []string {
	var lines []string
	for _, h := range trace.Hops {
		switch h.Kind {
		case clickhouse.HopReceived:
			lines = append(lines, "received "+h.Get("event"))
		case clickhouse.HopTransition:
			lines = append(lines, "transition "+h.Get("number"))
		case clickhouse.HopCommand:
			lines = append(lines, "command "+h.Get("command"))
		case clickhouse.HopDelivery:
			lines = append(lines, "delivery "+h.Title)
		default:
			lines = append(lines, "dead letter "+h.Title[len("Dead letter "):])
		}
	}
	return lines
}

func TestTraceOfAPersonFindsAllOrdersOfOneWorldOrBoth(t *testing.T) {
	store, conn := prepared(t)
	insertStory(t, store, conn)
	for id, roots := range map[string]int{" Ann@Example.COM ": 5, "live/ann@example.com": 4, "sandbox/ann@example.com": 1} {
		trace, err := store.Trace(context.Background(), id)
		if err != nil || trace.As != "contact" || len(trace.RootKeys) != roots {
			t.Errorf("%q: got %q with roots %v (%v), want a contact with %d", id, trace.As, trace.RootKeys, err, roots)
		}
	}
}

func TestTraceShowsRequestsAndAnswers(t *testing.T) {
	store, conn := prepared(t)
	insertStory(t, store, conn)
	trace, err := store.Trace(context.Background(), "E-A-1")
	if err != nil {
		t.Fatal(err)
	}
	last := trace.Hops[len(trace.Hops)-1]
	for name, want := range map[string]string{"request 1": "POST https://crm/api/3/contact/sync", "answer 1": "200 in 30 ms", "attempt": "2", "command": "C1"} {
		if got := last.Get(name); got != want {
			t.Errorf("got %s %q, want %q", name, got, want)
		}
	}
	if want := (clickhouse.Coordinates{Topic: schemas.TopicDeliveries, TopicID: "id-of-" + schemas.TopicDeliveries, Partition: 3, Offset: 1}); last.Coordinates != want {
		t.Errorf("got coordinates %+v, want %+v", last.Coordinates, want)
	}
	var command clickhouse.Hop
	for _, h := range trace.Hops {
		if h.Kind == clickhouse.HopCommand {
			command = h
		}
	}
	for name, want := range map[string]string{"config version": "cfg1", "field TOTAL": "50.20", "tags": "paypal-integration"} {
		if got := command.Get(name); got != want {
			t.Errorf("got %s %q, want %q", name, got, want)
		}
	}
}
