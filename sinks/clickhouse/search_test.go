package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks/clickhouse"
)

// aShop is a small history: orders of two customers in two stores, one event sent twice, one that cannot be read.
func aShop(t testing.TB, store *clickhouse.Store) {
	t.Helper()
	event := func(id, connection, root string, kind schemas.EventKind, status schemas.PaymentStatus, payer *schemas.Payer) *schemas.OrderEvent {
		return &schemas.OrderEvent{
			EventID: id, Kind: kind, Provider: "paypal", Environment: schemas.Live, Connection: connection, RootID: root, EntityID: root + "-E", EventType: "PAYMENT.CAPTURE." + string(status),
			ProviderStatus: "COMPLETED", Status: status, ProviderTime: epoch.Add(-time.Hour), ReceivedAt: epoch, DeliveryIDs: []string{"D-" + id}, Origin: schemas.OriginWebhook,
			Amount: &schemas.Amount{Value: "12.30", Currency: "EUR"}, Payer: payer, InvoiceID: "INV-" + root, Fields: map[string]string{"note": "x"}, Body: []byte(`{"id":"` + id + `"}`),
		}
	}
	ann := &schemas.Payer{Email: "ann@example.com", FullName: "Ann Österreicher", GivenName: "Ann", Surname: "Österreicher", PayerID: "P1"}
	bob := &schemas.Payer{Email: "bob@example.com", FullName: "Bob Kowalski"}
	bad := &schemas.OrderEvent{Provider: "paypal", Environment: schemas.Live, Connection: "eu", ReceivedAt: epoch, Body: []byte("{"), Problem: "the body is not JSON"}
	sandbox := event("W6", "eu", "O9", schemas.KindOrder, schemas.StatusPaid, ann)
	sandbox.Environment = schemas.Sandbox
	rows := rowsOf(100, event("W1", "eu", "O1", schemas.KindOrder, schemas.StatusApproved, ann), event("W2", "eu", "O1", schemas.KindPayment, schemas.StatusPaid, ann),
		event("W2", "eu", "O1", schemas.KindPayment, schemas.StatusPaid, ann), event("W3", "us", "O2", schemas.KindPayment, schemas.StatusPaid, bob), bad, sandbox)
	insert(t, store, rangeOf(schemas.TopicPayPalEvents, rows), rows)
}

// found are the ids of a page, the newest first; an event without an id by its record.
func found(t testing.TB, store *clickhouse.Store, f clickhouse.EventFilter) []string {
	t.Helper()
	page, err := store.SearchEvents(context.Background(), f)
	if err != nil {
		t.Fatalf("%+v: %v", f, err)
	}
	ids := []string{}
	for _, r := range page.Rows {
		if r.EventID == "" {
			r.EventID = r.Record()
		}
		ids = append(ids, r.EventID)
	}
	return ids
}

func TestEventsAreFoundByWhatTheyAre(t *testing.T) {
	store, conn := prepared(t)
	aShop(t, store)
	rows := rowsOf[schemas.Record](0, &schemas.Transition{
		RootKey: "live/us/O2", RootKind: schemas.KindOrder, Number: 1, To: schemas.StatusPaid, At: epoch,
		Event: schemas.OrderEvent{EventID: "W1", Environment: schemas.Live, Connection: "us", RootID: "O2"},
	})
	insert(t, store, rangeOf(schemas.TopicTransitions, rows), rows)
	const bad = "paypal.events-3-104"
	for name, c := range map[string]struct {
		filter clickhouse.EventFilter
		want   []string
	}{
		"all":                           {clickhouse.EventFilter{}, []string{"W6", bad, "W3", "W2", "W2", "W1"}},
		"the live world":                {clickhouse.EventFilter{Environment: schemas.Live}, []string{bad, "W3", "W2", "W2", "W1"}},
		"a store":                       {clickhouse.EventFilter{Store: "us"}, []string{"W3"}},
		"a status":                      {clickhouse.EventFilter{Status: schemas.StatusApproved}, []string{"W1"}},
		"a kind":                        {clickhouse.EventFilter{Kind: schemas.KindPayment}, []string{"W3", "W2", "W2"}},
		"a type":                        {clickhouse.EventFilter{Type: "PAYMENT.CAPTURE.APPROVED"}, []string{"W1"}},
		"a currency":                    {clickhouse.EventFilter{Currency: "USD"}, []string{}},
		"what cannot be read":           {clickhouse.EventFilter{Problem: true}, []string{bad}},
		"an order":                      {clickhouse.EventFilter{Order: "O1"}, []string{"W2", "W2", "W1"}},
		"an order's key":                {clickhouse.EventFilter{Order: "live/eu/O1"}, []string{"W2", "W2", "W1"}},
		"a transition's order":          {clickhouse.EventFilter{Order: "O2"}, []string{"W3", "W1"}},
		"of another store":              {clickhouse.EventFilter{Order: "live/us/O1"}, []string{}},
		"an address":                    {clickhouse.EventFilter{Contact: " Bob@Example.com "}, []string{"W3"}},
		"an address's key":              {clickhouse.EventFilter{Contact: "sandbox/ann@example.com"}, []string{"W6"}},
		"an order of a person":          {clickhouse.EventFilter{Order: "O1", Text: "ann@example.com"}, []string{"W2", "W2", "W1"}},
		"an order of nobody":            {clickhouse.EventFilter{Order: "O1", Text: "bob@example.com"}, []string{}},
		"an event":                      {clickhouse.EventFilter{Text: "W3"}, []string{"W3"}},
		"a delivery":                    {clickhouse.EventFilter{Text: "D-W3"}, []string{"W3"}},
		"an entity":                     {clickhouse.EventFilter{Text: "O2-E"}, []string{"W3"}},
		"a person's text":               {clickhouse.EventFilter{Text: "bob@example.com"}, []string{"W3"}},
		"an invoice":                    {clickhouse.EventFilter{Text: "inv-o2"}, []string{"W3"}},
		"a name":                        {clickhouse.EventFilter{Text: "ÖSTERREICHER ann"}, []string{"W6", "W2", "W2", "W1"}},
		"a part of a name":              {clickhouse.EventFilter{Text: "sterreich"}, []string{"W6", "W2", "W2", "W1"}},
		"a part of another":             {clickhouse.EventFilter{Text: "kowal"}, []string{"W3"}},
		"a text of nobody":              {clickhouse.EventFilter{Text: "zzz"}, []string{}},
		"a text of a store":             {clickhouse.EventFilter{Text: "ann", Store: "us"}, []string{}},
		"nothing but signs":             {clickhouse.EventFilter{Text: "%_'\""}, []string{}},
		"since":                         {clickhouse.EventFilter{Since: epoch.Add(103 * time.Second)}, []string{"W6", bad, "W3"}},
		"until":                         {clickhouse.EventFilter{Until: epoch.Add(102 * time.Second)}, []string{"W2", "W1"}},
		"by the provider's time":        {clickhouse.EventFilter{ProviderTime: true, Until: epoch, Since: epoch.Add(-time.Hour), Environment: schemas.Sandbox}, []string{"W6"}},
		"by the provider's, after them": {clickhouse.EventFilter{ProviderTime: true, Since: epoch}, []string{}},
	} {
		if diff := cmp.Diff(found(t, store, c.filter), c.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", name, diff)
		}
	}
	if n := count(t, conn, "SELECT count() FROM events"); n != 6 {
		t.Errorf("%d rows after the searches, want 6", n)
	}
}

// Whatever a filter holds is a value: it finds nothing, or is refused, and nothing else happens.
func TestHostileFiltersAreValues(t *testing.T) {
	store, conn := prepared(t)
	aShop(t, store)
	for _, text := range []string{
		"' OR 1=1 --", `\' OR 1=1 --`, "') UNION ALL SELECT 1,2,3,4,5 --", "@text", "{text:String}", "%", "_", "\x00", "\xff\xfe", "'; DROP TABLE events; --", "$$", "`", "a\nb", "?", "🜁",
		strings.Repeat("x", 1024), strings.Repeat("a ", 500),
	} {
		for name, f := range map[string]clickhouse.EventFilter{
			"text": {Text: text}, "store": {Store: text}, "order": {Order: text}, "type": {Type: text}, "status": {Status: schemas.PaymentStatus(text)},
			"kind": {Kind: schemas.EventKind(text)}, "currency": {Currency: text}, "environment": {Environment: schemas.Environment(text)}, "contact": {Contact: text + "@x"},
		} {
			page, err := store.SearchEvents(context.Background(), f)
			if err != nil && !errors.Is(err, clickhouse.ErrFilter) {
				t.Errorf("%s %.30q: %v", name, text, err)
			}
			// A part of an address may be an underscore or the like in no event here.
			if len(page.Rows) > 0 {
				t.Errorf("%s %.30q finds %d events, want none", name, text, len(page.Rows))
			}
		}
		if _, err := store.SearchEvents(context.Background(), clickhouse.EventFilter{After: text}); !errors.Is(err, clickhouse.ErrFilter) {
			t.Errorf("cursor %.30q: got %v, want ErrFilter", text, err)
		}
		if _, err := store.Event(context.Background(), text); !errors.Is(err, clickhouse.ErrNoEvent) && !errors.Is(err, clickhouse.ErrFilter) {
			t.Errorf("event %.30q: got %v, want none", text, err)
		}
	}
	if n := count(t, conn, "SELECT count() FROM events"); n != 6 {
		t.Errorf("%d rows after the searches, want 6", n)
	}
}

// Pages of any size, one after another, hold every event once, in one order, whatever the search, and though records came
// at the same moment or were stored twice.
func TestPagesHoldEveryEventOnce(t *testing.T) {
	store, conn := prepared(t)
	exec(t, conn, `INSERT INTO events (environment, connection, root_id, event_id, kind, entity_id, contact_key, payer_full_name, _topic, _topic_id, _partition, _offset, _at)
		SELECT 'live', ['eu', 'us'][1 + number % 2], concat('O', toString(number % 7)), concat('W', toString(number)), 'PAYMENT', 'X', 'live/ann@example.com', 'Ann Smith', ['paypal.events', 'store.orders'][1 + number % 2], 'x',
			number % 3, number, toDateTime64('2026-03-01 10:00:00', 3, 'UTC') - toIntervalHour(intDiv(number, 5) * 40) FROM numbers(60)`)
	exec(t, conn, "INSERT INTO events SELECT * FROM events WHERE _offset % 4 = 0")
	for n, f := range []clickhouse.EventFilter{
		{},
		{Store: "eu"},
		{Text: "smith"},
		{Text: "smit"},
		{Text: "X"},
		{Order: "O3"},
		{Contact: "ann@example.com"},
		{Contact: "ann@example.com", Text: "mith"},
		{Since: epoch.Add(-200 * time.Hour)},
		{Until: epoch.Add(-200 * time.Hour)},
		{ProviderTime: true, Until: epoch},
	} {
		f.Limit = clickhouse.EventsPageMax
		whole, err := store.SearchEvents(context.Background(), f)
		if err != nil || whole.Next != "" || len(whole.Rows) == 0 {
			t.Fatalf("the whole of %+v: %d rows, next %q, %v", f, len(whole.Rows), whole.Next, err)
		}
		if !slices.IsSortedFunc(whole.Rows, func(a, b clickhouse.EventRow) int { return b.At.Compare(a.At) }) {
			t.Errorf("%+v: not the newest first", f)
		}
		var pages, want []string
		for more := true; more && len(pages) <= len(whole.Rows); {
			f.Limit = 7 + (n+len(pages))%9 // pages of many sizes, so that they end everywhere
			page, err := store.SearchEvents(context.Background(), f)
			if err != nil {
				t.Fatalf("a page of %+v: %v", f, err)
			}
			for _, r := range page.Rows {
				pages = append(pages, r.Record())
			}
			f.After, more = page.Next, page.Next != ""
		}
		for _, r := range whole.Rows {
			want = append(want, r.Record())
		}
		if diff := cmp.Diff(pages, want); diff != "" {
			t.Fatalf("pages of %+v (-got +want):\n%s", f, diff)
		}
	}
}

func TestOneEventIsToldWhole(t *testing.T) {
	store, _ := prepared(t)
	aShop(t, store)
	e, err := store.Event(context.Background(), "W2")
	if err != nil {
		t.Fatal(err)
	}
	if e.Email != "ann@example.com" || e.Body != `{"id":"W2"}` || e.InvoiceID != "INV-O1" || len(e.Records) != 2 || e.Record() != "paypal.events-3-101" || e.Fields["note"] != "x" {
		t.Errorf("got %+v", e)
	}
	e, err = store.Event(context.Background(), "paypal.events-3-104")
	if err != nil || e.Problem == "" || len(e.Records) != 1 {
		t.Errorf("by its record: got %+v, %v", e, err)
	}
	for _, id := range []string{"W0", "paypal.events-3-999", "paypal.events-3-", "-", "a-b-c"} {
		if _, err := store.Event(context.Background(), id); !errors.Is(err, clickhouse.ErrNoEvent) {
			t.Errorf("%s: got %v, want ErrNoEvent", id, err)
		}
	}
}

func TestTodayCountsRecordsOfOneWorld(t *testing.T) {
	store, conn := prepared(t)
	aShop(t, store)
	exec(t, conn, "INSERT INTO events SELECT * FROM events WHERE _offset = 100") // a repetition is no record
	d, err := store.Today(context.Background(), schemas.Live, epoch)
	if err != nil || d.Events.Count != 5 || d.Problems != 1 || !d.Events.LastAt.Equal(epoch.Add(104*time.Second)) || d.Commands.Count != 0 {
		t.Errorf("got %+v, %v", d, err)
	}
	if d, err = store.Today(context.Background(), schemas.Live, epoch.Add(time.Hour)); err != nil || d.Events.Count != 0 || !d.Events.LastAt.IsZero() {
		t.Errorf("later: got %+v, %v", d, err)
	}
	for at, want := range map[time.Duration]uint64{102 * time.Second: 3, 101 * time.Second: 4} {
		if d, err = store.Today(context.Background(), schemas.Live, epoch.Add(at)); err != nil || d.Events.Count != want {
			t.Errorf("since %s: got %d, %v, want %d", at, d.Events.Count, err, want)
		}
	}
}

// The index of words is asked with the very expression that it was made of; else it would be of no use, and nobody would see.
func TestWordsAreFoundByTheIndex(t *testing.T) {
	store, conn := prepared(t)
	searchable(t, conn, 200_000)
	page, err := store.SearchEvents(context.Background(), clickhouse.EventFilter{Text: "INV-2000042"})
	if err != nil || len(page.Rows) != 4 {
		t.Fatalf("%d rows, %v", len(page.Rows), err)
	}
	rows, err := conn.Query(context.Background(), "EXPLAIN indexes = 1 SELECT _offset FROM events WHERE hasToken("+clickhouse.WordsOf+", '2000042')")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&plan, line)
	}
	if !strings.Contains(plan.String(), "Name: by_words") {
		t.Errorf("the plan does not use the index:\n%s", plan.String())
	}
}
