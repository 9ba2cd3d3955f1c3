package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/clickhouse"
)

// history makes the records of a small made-up past, root by root.
type history struct {
	events      []*schemas.OrderEvent
	transitions []*schemas.Transition
	numbers     map[string]int64
	last        map[string]*schemas.Transition
}

// happened is one event of a root and what it made of it. Empty parts are as before.
type happened struct {
	root           string // environment/store/id
	at             string // "03-01 10:00", in 2026
	kind           schemas.EventKind
	typ            string
	said           schemas.PaymentStatus // by the event
	to             schemas.PaymentStatus // of the root; empty: unchanged
	amount         string
	paid, refunded string // new totals
	reason         string // why it failed, or is in dispute
	item           string // what was sold
	entity         string
	late, test     bool
	illegal        bool
}

func moment(text string) time.Time {
	at, err := time.Parse("2006-01-02 15:04", "2026-"+text)
	if err != nil {
		panic(err)
	}
	return at
}

// who buys: the last letter of a root's id names the person.
var who = map[byte]string{'a': "ann@example.com", 'b': "bob@example.com", 'c': "cara@example.com", 'd': "dan@example.com", 'e': "eve@example.com", 'f': "fay@example.com"}

// the mall sells in dollars, the shop in euros.
func currencyAt(store string) string {
	if store == "mall" {
		return "USD"
	}
	return "EUR"
}

func (h *history) add(f happened) {
	env, store, id, _ := schemas.SplitRootKey(f.root)
	before, kind := h.last[f.root], schemas.KindOrder
	if id[0] == 'S' {
		kind = schemas.KindSubscription
	}
	t := &schemas.Transition{RootKey: f.root, RootKind: kind, Disposition: schemas.Changed, Legal: !f.illegal, Why: "because", Paid: "0", Refunded: "0", Currency: currencyAt(store)}
	if before != nil {
		t.From, t.To, t.Paid, t.Refunded = before.To, before.To, before.Paid, before.Refunded
	}
	switch {
	case f.late:
		t.Disposition = schemas.Late
	case f.to == "":
		t.Disposition = schemas.Recorded
	default:
		t.To = f.to
	}
	if f.paid != "" {
		t.Paid = f.paid
	}
	if f.refunded != "" {
		t.Refunded = f.refunded
	}
	h.numbers[f.root]++
	t.Number = h.numbers[f.root]
	t.Payer = &schemas.Payer{Email: who[id[len(id)-1]]}
	t.ContactKey = schemas.ContactKey(env, t.Payer)
	at := moment(f.at)
	e := schemas.OrderEvent{
		EventID: fmt.Sprintf("E-%s-%d", id, t.Number), Kind: f.kind, Provider: "paypal", Environment: env, Connection: store, RootID: id, EntityID: f.entity,
		EventType: f.typ, ProviderStatus: string(f.said), Status: f.said, ProviderTime: at, ReceivedAt: at.Add(2 * time.Second), Origin: schemas.OriginWebhook, Test: f.test,
	}
	if f.amount != "" {
		e.Amount = &schemas.Amount{Value: f.amount, Currency: currencyAt(store)}
	}
	switch {
	case f.reason != "" && f.kind == schemas.KindDispute:
		e.Fields = map[string]string{"dispute.reason": f.reason}
	case f.reason != "":
		e.Fields = map[string]string{"payment.reason": f.reason}
	case f.item != "":
		e.Fields = map[string]string{"order.items.1.name": f.item, "order.items.1.sku": "1"}
	}
	t.Event, t.At = e, e.ReceivedAt
	raw := e
	raw.Body, raw.BodyHash = []byte("{}"), "h"
	h.events, h.transitions, h.last[f.root] = append(h.events, &raw), append(h.transitions, t), t
}

// past is what the reports are asked about: every figure that the tests want was worked out by hand from these lines.
func past() *history {
	const order, sub, pay, refund, dispute = schemas.KindOrder, schemas.KindSubscription, schemas.KindPayment, schemas.KindRefund, schemas.KindDispute
	const approved, paid, failed = schemas.StatusApproved, schemas.StatusPaid, schemas.StatusFailed
	h := &history{numbers: map[string]int64{}, last: map[string]*schemas.Transition{}}
	for _, f := range []happened{
		// an order that goes well, is refunded in part a month later, disputed and lost
		{root: "live/shop/O1a", at: "03-01 10:00", kind: order, typ: "ORDER", said: approved, to: approved, item: "Leather belt"},
		{root: "live/shop/O1a", at: "03-01 10:10", kind: pay, typ: "CAPTURE", said: paid, to: paid, amount: "100.10", paid: "100.10"},
		{root: "live/shop/O1a", at: "03-01 10:05", kind: order, typ: "ORDER", said: approved, late: true},
		{root: "live/shop/O1a", at: "04-05 10:00", kind: refund, typ: "REFUND", said: schemas.StatusRefunded, to: schemas.StatusPartiallyRefunded, amount: "30", refunded: "30"},
		{root: "live/shop/O1a", at: "04-07 10:00", kind: dispute, typ: "DISPUTE", said: schemas.StatusDisputed, to: schemas.StatusDisputed, amount: "70", reason: "UNAUTHORIZED", entity: "D1"},
		{root: "live/shop/O1a", at: "04-20 10:00", kind: dispute, typ: "DISPUTE", said: schemas.StatusChargedBack, to: schemas.StatusChargedBack, amount: "70", entity: "D1"},
		// approved, never captured
		{root: "live/shop/O2b", at: "03-02 10:00", kind: order, typ: "ORDER", said: approved, to: approved},
		{root: "live/shop/O2b", at: "03-04 10:00", kind: order, typ: "ORDER", said: schemas.StatusVoided, to: schemas.StatusVoided},
		// two payments fail, the third comes 12 hours after the first failure
		{root: "live/shop/O3c", at: "03-03 10:01", kind: pay, typ: "CAPTURE", said: failed, to: failed, amount: "50", reason: "DECLINED"},
		{root: "live/shop/O3c", at: "03-03 11:01", kind: pay, typ: "CAPTURE", said: failed, amount: "50", reason: "DECLINED"},
		{root: "live/shop/O3c", at: "03-03 22:01", kind: pay, typ: "CAPTURE", said: paid, to: paid, amount: "50", paid: "50", illegal: true},
		// another store, another currency; a dispute that is open
		{root: "live/mall/O4a", at: "03-10 10:00", kind: order, typ: "ORDER", said: approved, to: approved},
		{root: "live/mall/O4a", at: "03-10 10:30", kind: pay, typ: "CAPTURE", said: paid, to: paid, amount: "20", paid: "20"},
		{root: "live/mall/O4a", at: "03-12 10:00", kind: dispute, typ: "DISPUTE", said: schemas.StatusDisputed, to: schemas.StatusDisputed, amount: "20", entity: "D2"},
		// approved, may still be captured
		{root: "live/shop/O5f", at: "03-11 10:00", kind: order, typ: "ORDER", said: approved, to: approved},
		// a subscription whose payment fails and comes 96 hours later
		{root: "live/shop/S1d", at: "03-01 12:00", kind: sub, typ: "SUB", said: schemas.StatusActive, to: schemas.StatusActive},
		{root: "live/shop/S1d", at: "03-01 12:01", kind: pay, typ: "SALE", said: paid, amount: "10", paid: "10"},
		{root: "live/shop/S1d", at: "04-01 12:00", kind: sub, typ: "BILLING.SUBSCRIPTION.PAYMENT.FAILED", said: schemas.StatusActive, amount: "10"},
		{root: "live/shop/S1d", at: "04-05 12:00", kind: pay, typ: "SALE", said: paid, amount: "10", paid: "20"},
		// one whose payment fails and comes nine days later: not recovered; it churns in April
		{root: "live/shop/S2e", at: "03-05 12:00", kind: sub, typ: "SUB", said: schemas.StatusActive, to: schemas.StatusActive},
		{root: "live/shop/S2e", at: "04-02 12:00", kind: sub, typ: "BILLING.SUBSCRIPTION.PAYMENT.FAILED", said: schemas.StatusActive, amount: "10"},
		{root: "live/shop/S2e", at: "04-11 12:00", kind: pay, typ: "SALE", said: paid, amount: "10", paid: "10"},
		{root: "live/shop/S2e", at: "04-12 12:00", kind: sub, typ: "SUB", said: schemas.StatusCancelled, to: schemas.StatusCancelled},
		// one that comes and goes in June, so that May has no change at all
		{root: "live/shop/S3f", at: "06-03 12:00", kind: sub, typ: "SUB", said: schemas.StatusActive, to: schemas.StatusActive},
		{root: "live/shop/S3f", at: "06-20 12:00", kind: sub, typ: "SUB", said: schemas.StatusExpired, to: schemas.StatusExpired},
		// another world, and a test
		{root: "sandbox/shop/O8a", at: "03-01 10:00", kind: order, typ: "ORDER", said: approved, to: approved},
		{root: "sandbox/shop/O8a", at: "03-01 10:01", kind: pay, typ: "CAPTURE", said: paid, to: paid, amount: "7", paid: "7"},
		{root: "live/shop/O9a", at: "03-01 10:00", kind: pay, typ: "CAPTURE", said: paid, to: paid, amount: "1000", paid: "1000", test: true},
	} {
		h.add(f)
	}
	again := *h.transitions[1] // the capture of O1a is sent a second time, an hour later
	h.numbers[again.RootKey]++
	again.Number, again.Disposition, again.From = h.numbers[again.RootKey], schemas.Duplicate, again.To
	again.Event.ReceivedAt = again.Event.ReceivedAt.Add(time.Hour)
	repeat := *h.events[1]
	repeat.ReceivedAt = again.Event.ReceivedAt
	h.events, h.transitions = append(h.events, &repeat), append(h.transitions, &again)
	return h
}

func contactCommand(id, key string, version int64, tags ...string) *schemas.Command {
	return &schemas.Command{CommandID: id, Kind: schemas.CommandContact, Destination: "crm", ContactKey: key, Version: version, Contact: schemas.Contact{Tags: tags}, At: moment("03-01 10:10")}
}

func effectCommand(id, root, key, trigger, at string) *schemas.Command {
	return &schemas.Command{CommandID: id, Kind: schemas.CommandEffect, Destination: "crm", ContactKey: key, RootKey: root, Trigger: trigger, Rule: "mappings/orders", Effect: &schemas.Effect{Type: schemas.EffectTrackEvent}, At: moment(at)}
}

// tried is a delivery that ended seconds after the receipt of its event.
func tried(id, root string, number int, attempt int64, after time.Duration, outcome schemas.OutcomeWord, answers ...[2]int64) *schemas.Delivery {
	_, _, rootID, _ := schemas.SplitRootKey(root)
	at := moment("03-01 10:10").Add(2*time.Second + after)
	d := &schemas.Delivery{CommandID: id, Destination: "crm", RootKey: root, EventID: fmt.Sprintf("E-%s-%d", rootID, number), Attempt: attempt, Outcome: outcome, StartedAt: at, At: at}
	for _, a := range answers {
		d.Requests = append(d.Requests, schemas.Exchange{Method: "POST", Status: a[0], Millis: a[1], At: at})
	}
	return d
}

// insertPast inserts every record twice under its token, in overlapping ranges under others, and after a replay.
func insertPast(t *testing.T, store *clickhouse.Store, conn driver.Conn) {
	t.Helper()
	h := past()
	commands := []*schemas.Command{
		contactCommand("C1", "live/ann@example.com", 1, "first"), contactCommand("C2", "live/ann@example.com", 2, "buyer", "vip"),
		contactCommand("C3", "live/cara@example.com", 1, "buyer"), contactCommand("C4", "sandbox/ann@example.com", 9, "sand"),
		effectCommand("T1", "live/shop/O1a", "live/ann@example.com", "welcome", "03-01 10:10"),
		effectCommand("T2", "live/shop/O3c", "live/cara@example.com", "welcome", "03-03 22:01"),
		effectCommand("T3", "live/mall/O4a", "live/ann@example.com", "big", "03-10 10:30"),
		effectCommand("T4", "sandbox/shop/O8a", "sandbox/ann@example.com", "welcome", "03-01 10:10"),
	}
	commands[1].RootKey, commands[2].RootKey, commands[3].RootKey = "live/shop/O1a", "live/shop/O3c", "sandbox/shop/O8a"
	configs := []*schemas.ConfigVersion{
		{Version: "old", Files: map[string]string{"mappings/gone.yaml": ""}, At: moment("02-01 10:00")},
		{Version: "new", Files: map[string]string{"tillstream.yaml": "", "mappings/orders.yaml": "", "mappings/quiet.yaml": "", "workflows/recover.yml": "", "workflows/pause.yaml": "", "destinations/crm.yaml": ""}, At: moment("02-02 10:00")},
	}
	deliveries := []*schemas.Delivery{
		tried("C2", "live/shop/O1a", 2, 1, 0, schemas.OutcomeIntent),
		tried("C2", "live/shop/O1a", 2, 1, time.Second, schemas.OutcomeRetryable, [2]int64{200, 10}, [2]int64{429, 10}),
		tried("C2", "live/shop/O1a", 2, 2, 5*time.Second, schemas.OutcomeDelivered, [2]int64{200, 40}),
		tried("T1", "live/shop/O1a", 2, 1, 9*time.Second, schemas.OutcomeDelivered, [2]int64{200, 60}),
		tried("C1", "live/shop/O1a", 1, 1, time.Second, schemas.OutcomeSuperseded),
		tried("T4", "sandbox/shop/O8a", 2, 1, time.Second, schemas.OutcomeRejected, [2]int64{422, 5}),
	}
	letters := []*schemas.DeadLetter{
		{ID: "paypal.events-0-1", Stage: "orders", Cause: schemas.CauseUnparseable, Remedy: "old", At: moment("03-01 10:00")},
		{ID: "paypal.events-0-2", Stage: "orders", Cause: schemas.CauseUnparseable, Remedy: "new", RootKey: "live/shop/O1a", At: moment("03-02 10:00")},
		{ID: "crm.commands-0-2", Stage: "crm", Cause: schemas.CauseRejected, ContactKey: "sandbox/ann@example.com", At: moment("03-02 10:00")},
	}
	for topic, rows := range map[string][]sinks.Row{
		schemas.TopicPayPalEvents: rowsOf(0, h.events...), schemas.TopicTransitions: rowsOf(0, h.transitions...),
		schemas.TopicCommands: rowsOf(0, commands...), schemas.TopicDeliveries: rowsOf(0, deliveries...), schemas.TopicDeadLetters: rowsOf(0, letters...),
		schemas.TopicRuns: rowsOf(0, pastRuns()...), schemas.TopicConfig: rowsOf(0, configs...),
	} {
		n := len(rows)
		for _, cut := range [][2]int{{0, n}, {0, n/2 + 1}, {n / 2, n}} {
			part := rows[cut[0]:cut[1]]
			insert(t, store, rangeOf(topic, part), part)
			insert(t, store, rangeOf(topic, part), part)
		}
		again := rangeOf(topic, rows)
		again.Replay = 1
		insert(t, store, again, rows)
	}
	for _, table := range []string{"events", "transitions", "run_steps", "commands", "deliveries", "dead_letters"} {
		if count(t, conn, "SELECT toUInt64(count() - uniqExact(_offset)) FROM "+table) == 0 {
			t.Fatalf("no row of %s is stored twice: the test tests nothing", table)
		}
	}
}

func report(t *testing.T, store *clickhouse.Store, name string, f clickhouse.ReportFilter) []string {
	t.Helper()
	list, err := clickhouse.Reports()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		if r.Name != name {
			continue
		}
		res, err := store.Report(context.Background(), r, f)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, row := range res.Rows {
			var cells []string
			for i, v := range row {
				switch at := v.(type) {
				case nil:
					v = "-"
				case time.Time:
					layout := time.DateOnly
					if !strings.HasPrefix(res.Columns[i].Type, "Date") || strings.HasPrefix(res.Columns[i].Type, "DateTime") {
						layout = "2006-01-02T15:04"
					}
					v = at.Format(layout)
				}
				cells = append(cells, fmt.Sprint(v))
			}
			lines = append(lines, strings.Join(cells, " "))
		}
		return lines
	}
	t.Fatalf("there is no report %s", name)
	return nil
}

// withoutMerges keeps every repetition in the tables until the end of the test.
func withoutMerges(t *testing.T, conn driver.Conn) {
	for _, table := range []string{"events", "transitions", "run_steps", "commands", "deliveries", "dead_letters"} {
		exec(t, conn, "SYSTEM STOP MERGES "+table)
	}
}

func TestReportsOfASmallPastWhateverIsInsertedAgain(t *testing.T) {
	store, conn := prepared(t)
	withoutMerges(t, conn)
	insertPast(t, store, conn)
	seen := map[string]bool{}
	for _, c := range []struct {
		name   string
		filter clickhouse.ReportFilter
		want   []string
	}{
		{name: "revenue", want: []string{ // gross, refunds, net, captures, refunds
			"2026-03-01 mall ORDER USD 20 0 20 1 0",
			"2026-03-01 shop ORDER EUR 150.1 0 150.1 2 0", // 100.10 + 50
			"2026-03-01 shop SUBSCRIPTION EUR 10 0 10 1 0",
			"2026-04-01 shop ORDER EUR 0 30 -30 0 1",
			"2026-04-01 shop SUBSCRIPTION EUR 20 0 20 2 0",
		}},
		{name: "revenue", filter: clickhouse.ReportFilter{Environment: schemas.Sandbox}, want: []string{"2026-03-01 shop ORDER EUR 7 0 7 1 0"}},
		{name: "revenue", filter: clickhouse.ReportFilter{Currency: "USD"}, want: []string{"2026-03-01 mall ORDER USD 20 0 20 1 0"}},
		{name: "revenue-days", filter: clickhouse.ReportFilter{Store: "shop", Since: moment("03-02 00:00"), Until: moment("04-05 12:00")}, want: []string{
			"2026-03-03 shop EUR 50 0 50", "2026-04-05 shop EUR 0 30 -30", // the sale at 12:00 is at the end, which is not part of it
		}},
		{name: "revenue-by-tag", want: []string{ // contacts, orders, gross, refunds, net; ann is buyer and vip now, first no more
			"buyer EUR 2 2 150.1 30 120.1", "vip EUR 1 1 100.1 30 70.1", "buyer USD 1 1 20 0 20", "vip USD 1 1 20 0 20",
		}},
		{name: "revenue-by-order-tag", want: []string{ // orders, gross, refunds, net
			"buyer EUR 2 150.1 30 120.1", "vip EUR 1 100.1 30 70.1",
		}},
		{name: "mrr", want: []string{ // at start, new, expansion, contraction, lost, at end, began, ended; S2e paid in the month of its end only
			"2026-03-01 shop EUR 0 10 0 0 0 10 1 0", "2026-04-01 shop EUR 10 0 0 0 0 10 0 0",
		}},
		{name: "disputes-by-product", want: []string{"Leather belt shop EUR 1 0 0 1 70", "not said mall USD 1 1 0 0 20"}},
		{name: "rules", want: []string{ // effects, runs, contacts, silent, last
			"mappings/quiet 0 0 0 1 -", "workflows/recover 0 9 8 0 2026-03-02T10:00", "mappings/orders 3 0 2 0 2026-03-10T10:30", "workflows/pause 0 1 1 0 2026-03-01T10:00",
		}},
		{name: "recovery", want: []string{ // failures, tries, recovered, open, rate, saved, hours
			"2026-03-01 shop EUR 1 2 1 0 1 50 12",
			"2026-04-01 shop EUR 2 2 1 0 0.5 10 96", // nine days are too late
		}},
		{name: "failures", want: []string{
			"2026-03-01 shop DECLINED EUR 2 100", "2026-04-01 shop ACTIVE EUR 2 20", // the subscription's own word is all that it says
		}},
		{name: "disputes", want: []string{ // disputes, open, won, lost, amount, lost amount
			"2026-03-01 mall not said USD 1 1 0 0 20 0", "2026-04-01 shop UNAUTHORIZED EUR 1 0 0 1 70 70",
		}},
		{name: "capture-time", want: []string{ // approved, captured, never, open, p50, p90, p99
			"2026-03-01 mall 1 1 0 0 1800 1800 1800", "2026-03-01 shop 3 1 1 1 600 600 600",
		}},
		{name: "funnel", want: []string{
			"mall 1 created 1 1", "mall 2 approved 1 1", "mall 3 captured 1 1", "mall 4 refunded 0 0",
			"shop 1 created 4 1", "shop 2 approved 4 1", "shop 3 captured 2 0.5", "shop 4 refunded 1 0.25",
		}},
		{name: "churn", want: []string{ // at start, started, churned, brief, at end, churn
			"2026-03-01 shop 0 2 0 0 2 -", "2026-04-01 shop 2 0 1 0 1 0.5", "2026-05-01 shop 1 0 0 0 1 0", "2026-06-01 shop 1 1 0 1 1 0",
		}},
		{name: "churn", filter: clickhouse.ReportFilter{Since: moment("04-15 00:00"), Until: moment("05-01 00:00")}, want: []string{"2026-04-01 shop 2 0 1 0 1 0.5"}},
		{name: "cohorts", want: []string{ // months, size, buyers, share, net, net per buyer
			"2026-03-01 EUR 0 3 3 1 160.1 53.37", // ann 100.10, cara 50, dan 10
			"2026-03-01 EUR 1 3 1 0.3333 -20 -6.67",
			"2026-03-01 USD 0 1 1 1 20 20",
			"2026-04-01 EUR 0 1 1 1 10 10", // eve
		}},
		{name: "delivery", want: []string{ // tries, delivered, retried, rejected, uncertain, superseded, requests, limited, share, p50, p95
			"2026-03-01T10:00 crm 4 2 1 0 0 1 4 1 0.25 40 60",
		}},
		{name: "delivery", filter: clickhouse.ReportFilter{Environment: schemas.Sandbox}, want: []string{"2026-03-01T10:00 crm 1 0 0 1 0 0 1 0 0 5 5"}},
		{name: "crm-delay", want: []string{"2026-03-01 shop crm 1 5 5 5"}},
		{name: "event-quality", filter: clickhouse.ReportFilter{Store: "shop"}, want: []string{ // records, events, repeats, late, illegal, p50, p99
			"shop BILLING.SUBSCRIPTION.PAYMENT.FAILED 2 2 0 0 0 2 2", "shop CAPTURE 5 4 1 0 1 2 2", "shop DISPUTE 2 2 0 0 0 2 2",
			"shop ORDER 5 5 0 1 0 2 2", "shop REFUND 1 1 0 0 0 2 2", "shop SALE 3 3 0 0 0 2 2", "shop SUB 5 5 0 0 0 2 2",
		}},
		{name: "triggers", want: []string{
			"welcome crm 2 2 2026-03-01T10:10 2026-03-03T22:01", "big crm 1 1 2026-03-10T10:30 2026-03-10T10:30",
		}},
		{name: "waits", want: []string{ // waits, met, not met, corrected, passed, open, overdue, stopped, share, p50, p90
			"2026-03-01 shop pause 1 false 1 0 0 0 1 0 0 0 - - -",
			"2026-03-01 shop recover pay false 5 2 1 1 0 0 0 1 0.5 20 20",
			"2026-03-01 shop recover pay true 1 0 1 0 0 0 0 0 1 - -",
			"2026-03-02 shop recover pay false 2 0 0 0 0 2 1 0 - - -",
		}},
		{name: "waits", filter: clickhouse.ReportFilter{Store: "mall"}, want: nil},
		{name: "runs", want: []string{ // runs, open, ended, stopped, not started, contacts, first, last
			"pause shop false 1 0 1 0 0 1 2026-03-01T10:00 2026-03-01T10:00",
			"recover shop false 8 2 5 1 1 7 2026-03-01T10:00 2026-03-02T10:00",
			"recover shop true 1 0 1 0 0 1 2026-03-01T10:00 2026-03-01T10:00",
		}},
		{name: "branches", want: []string{ // times, runs, contacts, first, last
			"pause 1 met false 1 1 1 2026-03-01T11:00 2026-03-01T11:00",
			"recover big else false 1 1 1 2026-03-01T10:00 2026-03-01T10:00",
			"recover big then false 1 1 1 2026-03-01T10:00 2026-03-01T10:00",
			"recover pay corrected false 1 1 1 2026-03-02T11:00 2026-03-02T11:00",
			"recover pay met false 2 2 2 2026-03-01T12:00 2026-03-02T06:00",
			"recover pay not_met false 2 2 2 2026-03-02T10:00 2026-03-02T10:00",
			"recover pay not_met true 1 1 1 2026-03-02T10:00 2026-03-02T10:00",
		}},
		{name: "held", want: []string{
			"recover  NOT_STARTED  1 1 2026-03-01T10:00 2026-03-01T10:00",
			"recover  STOPPED  1 1 2026-03-01T13:00 2026-03-01T13:00",
			"recover mail HELD crm 1 1 2026-03-02T10:00 2026-03-02T10:00",
		}},
		{name: "given-up", want: []string{"orders UNPARSEABLE 2 2026-03-01T10:00 2026-03-02T10:00 new"}},
	} {
		seen[c.name] = true
		if diff := cmp.Diff(report(t, store, c.name, c.filter), c.want); diff != "" {
			t.Errorf("%s %+v (-got +want):\n%s", c.name, c.filter, diff)
		}
	}
	list, err := clickhouse.Reports()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		if !seen[r.Name] {
			t.Errorf("report %s has no expected figures here", r.Name)
		}
		res, err := store.Report(context.Background(), r, clickhouse.ReportFilter{})
		if err != nil {
			t.Fatal(err)
		}
		columns := map[string]bool{}
		for _, c := range res.Columns {
			columns[c.Name] = true
			if strings.HasPrefix(c.Type, "Decimal") && !r.Money() {
				t.Errorf("%s has money in %s and does not tell currencies apart", r.Name, c.Name)
			}
		}
		for _, name := range append([]string{r.X, r.Y}, r.Series...) {
			if !columns[name] {
				t.Errorf("%s is drawn by column %s, which it has not", r.Name, name)
			}
		}
	}
}

// What a user types into a filter stays a value.
func TestReportFiltersAreValues(t *testing.T) {
	store, conn := prepared(t)
	insertPast(t, store, conn)
	for _, text := range []string{`'`, `\`, `\'`, `x' OR 1=1 --`, `'); DROP TABLE events; --`, "a\x00b", "${1}", "?", "{store:String}", "日本"} {
		for _, f := range []clickhouse.ReportFilter{{Store: text}, {Environment: schemas.Environment(text)}, {Currency: text}} {
			if got := report(t, store, "revenue", f); len(got) != 0 {
				t.Errorf("%+v: got %v, want nothing", f, got)
			}
		}
	}
	if count(t, conn, "SELECT count() FROM events") == 0 {
		t.Error("the events are gone")
	}
}

func TestEveryReportIsDefinedOnceAndRunsOnEmptyTables(t *testing.T) {
	store, conn := prepared(t)
	list, err := clickhouse.Reports()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		var comment string
		if err := conn.QueryRow(context.Background(), "SELECT comment FROM system.tables WHERE database = currentDatabase() AND name = ?", r.View).Scan(&comment); err != nil || comment != r.Definition {
			t.Errorf("%s: the view's comment is %q (%v), want %q", r.Name, comment, err, r.Definition)
		}
		res, err := store.Report(context.Background(), r, clickhouse.ReportFilter{})
		if err != nil || len(res.Rows) != 0 {
			t.Errorf("%s on empty tables: %d rows, %v", r.Name, len(res.Rows), err)
		}
	}
}

func TestAReportOfADatabaseWithoutItsViewSaysWhatToDo(t *testing.T) {
	store, conn := prepared(t)
	exec(t, conn, "DROP VIEW v_revenue")
	list, err := clickhouse.Reports()
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.Report(context.Background(), list[0], clickhouse.ReportFilter{})
	var server *clickhouse.ServerError
	if !errors.As(err, &server) || !strings.Contains(err.Error(), "the database has no view v_revenue") {
		t.Errorf("got %v", err)
	}
}
