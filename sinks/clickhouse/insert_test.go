package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

func anEvent(id string) *schemas.OrderEvent {
	return &schemas.OrderEvent{
		EventID: id, Kind: schemas.KindPayment, Provider: "paypal", Environment: schemas.Live, Connection: "shop", Resource: "orders",
		RootID: "5O1", EntityID: "CAP1", Links: []schemas.Link{{Relation: schemas.LinkOrder, ID: "5O1"}}, EventType: "PAYMENT.CAPTURE.COMPLETED",
		ProviderStatus: "COMPLETED", Status: schemas.StatusPaid, ProviderTime: epoch, Sequence: 1, ReceivedAt: epoch.Add(time.Second),
		DeliveryIDs: []string{"D-" + id}, Origin: schemas.OriginWebhook, Amount: &schemas.Amount{Value: "49.99", Currency: "EUR"},
		RefundedTotal: &schemas.Amount{Value: "0.000000001", Currency: "EUR"},
		Payer: &schemas.Payer{
			Email: "Ann@Example.com", GivenName: "Ann", Surname: "Öz", FullName: "Ann Öz", Phone: "+4912", PayerID: "P1",
			Address: schemas.Address{Line1: "1", Line2: "2", City: "C", State: "S", PostalCode: "Z", Country: "DE"},
		},
		CustomID: "custom", InvoiceID: "inv", Fields: map[string]string{"a": "1"}, Body: []byte("{\"raw\":\n\x00\xff}"), BodyHash: "hash", Fingerprint: "fp",
	}
}

func TestEveryRecordTypeFindsItsTable(t *testing.T) {
	store, conn := prepared(t)
	for _, c := range []struct {
		topic, table string
		records      []schemas.Record
	}{
		{schemas.TopicPayPalEvents, "events", []schemas.Record{anEvent("E1"), &schemas.OrderEvent{}}},
		{schemas.TopicStoreOrders, "events", []schemas.Record{anEvent("E2")}},
		{schemas.TopicTransitions, "transitions", []schemas.Record{&schemas.Transition{RootKey: "live/shop/5O1", Number: 1, Paid: "1.5", Refunded: "0", Currency: "EUR", Event: *anEvent("E1")}, &schemas.Transition{}}},
		{schemas.TopicRuns, "run_steps", []schemas.Record{&schemas.RunStep{RunID: "R", Workflow: "w", Number: 1, Kind: schemas.StepWaitOpened, Deadline: epoch, At: epoch}, &schemas.RunStep{}}},
		{schemas.TopicCommands, "commands", []schemas.Record{&schemas.Command{CommandID: "C", Rule: "workflows/w#1", RunID: "R", Reasons: []string{"because"}, Effect: &schemas.Effect{Type: "TRACK_EVENT", Arguments: map[string]string{"a": "b"}}, Contact: schemas.Contact{Fields: map[string]string{"f": "v"}, Tags: []string{"t"}}}, &schemas.Command{}}},
		{schemas.TopicDeliveries, "deliveries", []schemas.Record{&schemas.Delivery{CommandID: "C", Requests: []schemas.Exchange{{Method: "POST", Status: 201, At: epoch}, {Method: "GET"}}}, &schemas.Delivery{}}},
		{schemas.TopicDeadLetters, "dead_letters", []schemas.Record{&schemas.DeadLetter{ID: "x", At: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}}},
		{schemas.TopicJobs, "jobs", []schemas.Record{&schemas.Job{JobID: "j", Kind: schemas.JobRetry, Filter: map[string]string{"cause": "REJECTED"}, State: schemas.JobRunning}}},
		{schemas.TopicJobItems, "job_items", []schemas.Record{&schemas.JobItem{JobID: "j", Item: "crm.commands-0-1", Number: 1, Result: schemas.ItemSent}}},
		{schemas.TopicConfig, "config_versions", []schemas.Record{&schemas.ConfigVersion{Version: "v", Files: map[string]string{"a.yaml": "x: 1\n"}}}},
	} {
		t.Run(c.topic, func(t *testing.T) {
			rows := rowsOf(100, c.records...)
			rows = append(rows,
				sinks.Row{Offset: 200, At: epoch, Record: &schemas.Tick{}}, sinks.Row{Offset: 201, At: epoch, Record: &schemas.OrderLink{}},
				sinks.Row{Offset: 202, At: epoch, Key: []byte("k"), Value: []byte("no avro")})
			insert(t, store, rangeOf(c.topic, rows), rows)
			if got, want := count(t, conn, fmt.Sprintf("SELECT count() FROM %s WHERE _topic = '%s'", c.table, c.topic)), uint64(len(c.records)); got != want {
				t.Errorf("got %d rows in %s, want %d", got, c.table, want)
			}
			if got := count(t, conn, fmt.Sprintf("SELECT count() FROM undecodable WHERE _topic = '%s' AND value = 'no avro' AND _offset = 202", c.topic)); got != 1 {
				t.Errorf("got %d undecodable rows, want 1", got)
			}
		})
	}
}

func TestAnEventIsStoredToTheLastBit(t *testing.T) {
	store, conn := prepared(t)
	e := anEvent("E1")
	rows := rowsOf(7, e)
	insert(t, store, rangeOf(schemas.TopicPayPalEvents, rows), rows)
	var amount, refunded decimal.Decimal
	var providerTime, at time.Time
	var body, contact string
	var links []string
	var fields map[string]string
	err := conn.QueryRow(context.Background(), "SELECT assumeNotNull(amount), assumeNotNull(refunded_total), provider_time, _at, body, contact_key, link_ids, fields FROM events").
		Scan(&amount, &refunded, &providerTime, &at, &body, &contact, &links, &fields)
	if err != nil {
		t.Fatal(err)
	}
	got := []any{amount.String(), refunded.String(), providerTime.UTC(), at.UTC(), body, contact, links, fields}
	want := []any{"49.99", "0.000000001", epoch, epoch.Add(7 * time.Second), string(e.Body), "live/ann@example.com", []string{"5O1"}, map[string]string{"a": "1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stored event differs (-want +got):\n%s", diff)
	}
}

func TestTheSameRangeAgainInsertsNothing(t *testing.T) {
	store, conn := prepared(t)
	exec(t, conn, "SYSTEM STOP MERGES events")
	rows := rowsOf(0, anEvent("E1"), anEvent("E2"))
	rows = append(rows, sinks.Row{Offset: 2, At: epoch.AddDate(0, 2, 0), Value: []byte("x")}) // another month, another table
	r := rangeOf(schemas.TopicPayPalEvents, rows)
	for range 3 {
		insert(t, store, r, rows)
	}
	if got := count(t, conn, "SELECT count() FROM events"); got != 2 {
		t.Errorf("got %d rows without FINAL, want 2", got)
	}
	if got := count(t, conn, "SELECT count() FROM undecodable"); got != 1 {
		t.Errorf("got %d undecodable rows without FINAL, want 1", got)
	}
	r.Replay = 1
	insert(t, store, r, rows)
	if got := count(t, conn, "SELECT count() FROM events"); got != 4 {
		t.Errorf("a new replay generation gave %d rows, want 4 before a merge", got)
	}
	if got := count(t, conn, "SELECT count() FROM events FINAL"); got != 2 {
		t.Errorf("got %d rows with FINAL, want 2", got)
	}
}

// Memory goes from one insert to the next: no byte of the former may be seen in the latter.
func TestInsertsThatShareMemoryShareNoContent(t *testing.T) {
	store, conn := prepared(t)
	var offset int64
	want := map[string]string{}
	for i, c := range []struct{ rows, size int }{{200, 2000}, {3, 5}, {250, 3000}, {1, 0}, {100, 2000}} {
		var records []*schemas.OrderEvent
		for j := range c.rows {
			e := anEvent(fmt.Sprint("E", i, "-", j))
			e.Body = []byte(strings.Repeat(fmt.Sprint(i, j, ";"), c.size)[:c.size])
			want[e.EventID] = string(e.Body)
			records = append(records, e)
		}
		rows := rowsOf(offset, records...)
		offset += int64(len(rows))
		if i == 2 { // one that fails in between gives nothing back
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if err := store.Insert(ctx, rangeOf(schemas.TopicPayPalEvents, rows), rows); err == nil {
				t.Fatal("an insert without time succeeded")
			}
		}
		insert(t, store, rangeOf(schemas.TopicPayPalEvents, rows), rows)
	}
	found, err := conn.Query(context.Background(), "SELECT event_id, body FROM events")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = found.Close() }()
	got := map[string]string{}
	for found.Next() {
		var id, body string
		if err := found.Scan(&id, &body); err != nil {
			t.Fatal(err)
		}
		got[id] = body
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bodies differ (-want +got):\n%.2000s", diff)
	}
}

// Equal content at other offsets is another record, not a repetition.
func TestEqualRecordsAreAllKept(t *testing.T) {
	store, conn := prepared(t)
	for offset := range int64(5) {
		rows := rowsOf(offset, anEvent("E1"))
		rows[0].At = epoch
		insert(t, store, rangeOf(schemas.TopicPayPalEvents, rows), rows)
	}
	exec(t, conn, "OPTIMIZE TABLE events FINAL")
	if got := count(t, conn, "SELECT count() FROM events"); got != 5 {
		t.Errorf("got %d rows, want 5: rows vanish by merging", got)
	}
}

func TestWhatAColumnCannotHoldIsARowError(t *testing.T) {
	change := func(f func(*schemas.OrderEvent)) *schemas.OrderEvent { e := anEvent("bad"); f(e); return e }
	for _, c := range []struct {
		name, want string
		bad        *schemas.OrderEvent
	}{
		{"no number", "amount", change(func(e *schemas.OrderEvent) { e.Amount.Value = "12,50" })},
		{"empty amount", "amount", change(func(e *schemas.OrderEvent) { e.Amount.Value = "" })},
		{"exponent", "amount", change(func(e *schemas.OrderEvent) { e.Amount.Value = "1e3" })},
		{"too many decimals", "more than 9 decimals", change(func(e *schemas.OrderEvent) { e.Amount.Value = "0.0000000001" })},
		{"too many digits", "digits before the point", change(func(e *schemas.OrderEvent) { e.Amount.Value = "100000000000000000000000000000" })},
		{"no currency", "currency", change(func(e *schemas.OrderEvent) { e.Amount.Currency = "EURO" })},
		{"year 9999", "provider_time", change(func(e *schemas.OrderEvent) { e.ProviderTime = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) })},
		{"year 3", "received_at", change(func(e *schemas.OrderEvent) { e.ReceivedAt = time.Date(3, 1, 1, 0, 0, 0, 0, time.UTC) })},
	} {
		t.Run(c.name, func(t *testing.T) {
			store, conn := prepared(t)
			rows := rowsOf(10, anEvent("E1"), c.bad, anEvent("E2"))
			err := store.Insert(context.Background(), rangeOf(schemas.TopicPayPalEvents, rows), rows)
			var refused *sinks.RowError
			if !errors.As(err, &refused) || refused.Offset != 11 || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want a RowError of offset 11 about %q", err, c.want)
			}
			if got := count(t, conn, "SELECT count() FROM events"); got != 0 {
				t.Errorf("%d rows of the refused range were stored", got)
			}
		})
	}
}

func TestTheLargestDecimalFits(t *testing.T) {
	store, conn := prepared(t)
	e := anEvent("E1")
	e.Amount.Value = "-" + strings.Repeat("9", 29) + "." + strings.Repeat("9", 9)
	rows := rowsOf(0, e)
	insert(t, store, rangeOf(schemas.TopicPayPalEvents, rows), rows)
	var got string
	if err := conn.QueryRow(context.Background(), "SELECT toString(assumeNotNull(amount)) FROM events").Scan(&got); err != nil || got != e.Amount.Value {
		t.Errorf("got %s (%v), want %s", got, err, e.Amount.Value)
	}
}

// A constraint is the operator's; the server names no row, so the store looks for it.
func TestARowThatTheServerRefusesIsFound(t *testing.T) {
	store, conn := prepared(t)
	exec(t, conn, "ALTER TABLE events ADD CONSTRAINT no_secret CHECK event_id != 'secret-ann@example.com'")
	var records []*schemas.OrderEvent
	for i := range 40 {
		records = append(records, anEvent(fmt.Sprint("E", i)))
	}
	records[23].EventID = "secret-ann@example.com"
	rows := rowsOf(1000, records...)
	err := store.Insert(context.Background(), rangeOf(schemas.TopicPayPalEvents, rows), rows)
	var refused *sinks.RowError
	if !errors.As(err, &refused) || refused.Offset != 1023 {
		t.Fatalf("got %v, want a RowError of offset 1023", err)
	}
	if strings.Contains(err.Error(), "Column values") {
		t.Errorf("the error quotes values of the row: %v", err)
	}
	if got := count(t, conn, "SELECT count() FROM events"); got != 0 {
		t.Errorf("%d rows of the refused range were stored", got)
	}
	if got := count(t, conn, "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name LIKE '%probe%'"); got != 0 {
		t.Errorf("%d probe tables were left behind", got)
	}
}

func TestATableThatIsNotOursIsNamedWithARemedy(t *testing.T) {
	for _, c := range []struct{ name, change, want string }{
		{"dropped table", "DROP TABLE events", "migrations run"},
		{"dropped column", "ALTER TABLE events DROP COLUMN problem", "migrations"},
	} {
		t.Run(c.name, func(t *testing.T) {
			store, conn := prepared(t)
			exec(t, conn, c.change)
			rows := rowsOf(0, anEvent("E1"))
			err := store.Insert(context.Background(), rangeOf(schemas.TopicPayPalEvents, rows), rows)
			var refused *sinks.RowError
			if err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want a retryable error that says %q", err, c.want)
			}
		})
	}
}

func TestAnInternalTopicHasNoTable(t *testing.T) {
	store := openStore(t, newDatabase())
	rows := rowsOf(0, anEvent("E1"))
	if err := store.Insert(context.Background(), rangeOf(schemas.TopicOrdersInbox, rows), rows); err == nil {
		t.Error("records sent on internally were accepted: they would double the events")
	}
}

func BenchmarkInsert50kOrderEvents(b *testing.B) {
	store, _ := prepared(b)
	const n = 50_000
	records := make([]*schemas.OrderEvent, n)
	body := []byte(strings.Repeat(`{"id":"WH-1","amount":{"value":"49.99"}}`, 40))
	for i := range records {
		records[i] = anEvent(fmt.Sprint("E", i))
		records[i].RootID = fmt.Sprint("O", i/4)
		records[i].Body = body
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		rows := rowsOf(int64(i*n), records...)
		insert(b, store, rangeOf(schemas.TopicPayPalEvents, rows), rows)
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "rows/s")
}
