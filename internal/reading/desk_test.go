package reading

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// shelf is a store that holds what a test puts there.
type shelf struct {
	Store
	mu      sync.Mutex
	event   chsink.EventWhole
	rows    chsink.EventRows
	trace   chsink.Trace
	result  chsink.Result
	day     chsink.Day
	issues  []chsink.Issue
	asked   int
	erased  []chsink.Erasure
	release chan struct{}
	err     error
}

func (s *shelf) SearchEvents(context.Context, chsink.EventFilter) (chsink.EventRows, error) {
	return s.rows, s.err
}

func (s *shelf) Event(context.Context, string) (chsink.EventWhole, error) { return s.event, s.err }

func (s *shelf) TraceOf(context.Context, string, string) (chsink.Trace, error) { return s.trace, s.err }

func (s *shelf) Report(context.Context, chsink.Report, chsink.ReportFilter) (chsink.Result, error) {
	return s.result, s.err
}

func (s *shelf) Query(context.Context, string, chsink.Limits) (chsink.Result, error) {
	return s.result, s.err
}

func (s *shelf) Today(context.Context, schemas.Environment, time.Time) (chsink.Day, error) {
	s.asked++
	return s.day, s.err
}

func (s *shelf) Issues(context.Context, chsink.PastFilter) ([]chsink.Issue, error) {
	return s.issues, s.err
}
func (s *shelf) Receipts(context.Context, int) ([]chsink.Receipt, error) { return nil, s.err }

func (s *shelf) Erase(_ context.Context, e chsink.Erasure) (chsink.Receipt, error) {
	s.mu.Lock()
	s.erased = append(s.erased, e)
	s.mu.Unlock()
	if e.DryRun {
		return chsink.Receipt{By: e.By, DryRun: true, Orders: 2, Tables: map[string]uint64{"events": 3}}, nil
	}
	<-s.release
	return chsink.Receipt{ErasureID: "r1", Subject: "hash", By: e.By, Orders: 2}, s.err
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func desk(s *shelf) *Desk { return &Desk{Store: s, Now: func() time.Time { return noon }} }

const canary = "Canaryname"

func wholeEvent() chsink.EventWhole {
	row := chsink.EventRow{
		Environment: "live", Connection: "eu", RootID: "O1", EventID: "W1", ContactKey: "live/canary@example.com", Name: canary, Problem: "of canary@example.com",
		Currency: "EUR", Coordinates: chsink.Coordinates{Topic: "paypal.events", Partition: 3, Offset: 7},
	}
	sum := decimal.RequireFromString("12.3")
	row.Amount = &sum
	return chsink.EventWhole{
		EventRow: row, Email: "canary@example.com", GivenName: canary, Surname: canary, Phone: "+49 170 5550123", PayerID: canary, Line1: canary, City: canary, PostalCode: "12345",
		Fields: map[string]string{"note": canary}, Headers: map[string]string{"x": canary}, Body: canary, Records: []chsink.EventRow{row}, Relations: []string{"ORDER"}, Links: []string{"O1"},
	}
}

// Nothing of a person is in an answer that did not ask for it, wherever it stood; with it, all is there.
func TestAnEventIsMaskedUnlessAskedFor(t *testing.T) {
	s := &shelf{event: wholeEvent()}
	for personal, want := range map[bool]bool{false: false, true: true} {
		v, err := desk(s).Event(context.Background(), "W1", personal)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{canary, "canary@", "5550123"} {
			if got := strings.Contains(string(text), name); got != want {
				t.Errorf("personal data %v: %q is in it: %v, want %v: %s", personal, name, got, want, text)
			}
		}
		if v.Amount.Amount != "12.30" || v.OrderKey != "live/eu/O1" || v.Record != "paypal.events-3-7" || v.Links[0].Name != "ORDER" {
			t.Errorf("got %+v", v)
		}
	}
}

func aTrace() chsink.Trace {
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	return chsink.Trace{ID: "O1", As: "order", RootKeys: []string{"live/eu/O1"}, ContactKeys: []string{"live/canary@example.com"}, Hops: []chsink.Hop{
		{At: at(0), Kind: chsink.HopReceived, Title: "Received PAYMENT", Detail: []chsink.Pair{{Name: "event", Value: "W1"}, {Name: "status", Value: "PAID"}, {Name: "contact", Value: "live/canary@example.com"}, {Name: "origin", Value: "WEBHOOK"}}},
		{At: at(1), Kind: chsink.HopTransition, Title: "Status APPROVED to PAID", Detail: []chsink.Pair{{Name: "disposition", Value: "CHANGED"}, {Name: "from", Value: "APPROVED"}, {Name: "to", Value: "PAID"}, {Name: "legal", Value: "yes"}}},
		{At: at(2), Kind: chsink.HopRun, Title: "Workflow w: wait opened at step pay", Detail: []chsink.Pair{{Name: "run", Value: "R1"}, {Name: "detail", Value: "for canary@example.com"}}},
		{At: at(3), Kind: chsink.HopCommand, Title: "Desired contact version 2 for crm", Detail: []chsink.Pair{{Name: "command", Value: "C1"}, {Name: "rule", Value: "mappings/m#1"}, {Name: "field name", Value: canary}, {Name: "first name", Value: canary}}},
		{At: at(5), Kind: chsink.HopDelivery, Title: "RETRYABLE at crm", Detail: []chsink.Pair{
			{Name: "command", Value: "C1"},
			{Name: "attempt", Value: "2"},
			{Name: "error", Value: "429 for canary@example.com"},
			{Name: "remedy", Value: "wait"},
			{Name: "request 1", Value: "POST https://crm.example/contacts"},
			{Name: "request 1 body", Value: canary},
			{Name: "answer 1", Value: "429 in 31 ms"},
			{Name: "answer 1 body", Value: canary},
			{Name: "request 2", Value: "GET https://crm.example/c"},
			{Name: "answer 2", Value: "no answer"},
			{Name: "error 2", Value: "timeout"},
		}},
		{At: at(6), Kind: chsink.HopDeadLetter, Title: "Dead letter REFUSED", Detail: []chsink.Pair{{Name: "reason", Value: "of canary@example.com"}, {Name: "stage", Value: "deliver"}}},
	}}
}

func TestATimelineTellsWhatWentInAndWhatCameOut(t *testing.T) {
	d := desk(&shelf{trace: aTrace()})
	line, err := d.Timeline(context.Background(), api.TimelineQuery{Kind: api.TimelineOrders, ID: "O1"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(line)
	if err != nil || strings.Contains(string(text), canary) || strings.Contains(string(text), "canary@") {
		t.Errorf("names a person (%v): %s", err, text)
	}
	type short struct {
		Stage, Outcome string
		Good           bool
		After          int64
		In, Out        int
	}
	var got []short
	for _, h := range line.Hops {
		got = append(got, short{h.Stage, h.Outcome, h.Good, h.AfterMillis, len(h.Input), len(h.Output)})
	}
	want := []short{
		{"receipt", "ACCEPTED", true, 0, 1, 2},
		{"orders", "CHANGED", true, 1000, 1, 3},
		{"workflow", "WAIT_OPENED", true, 1000, 0, 1},
		{"command", "CONTACT", true, 1000, 1, 2},
		{"crm", "RETRYABLE", false, 2000, 0, 1},
		{"deadletter", "REFUSED", false, 1000, 1, 1},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	crm := line.Hops[4]
	if crm.Attempt != 2 || crm.Destination != "crm" || crm.Remedy != "wait" || len(crm.Exchanges) != 2 || crm.Exchanges[0].Status != 429 || crm.Exchanges[0].Millis != 31 ||
		crm.Exchanges[0].RequestBody != hidden || crm.Exchanges[1].Status != 0 || crm.Exchanges[1].Error != "timeout" {
		t.Errorf("got %+v", crm)
	}
	line, err = d.Timeline(context.Background(), api.TimelineQuery{Kind: api.TimelineOrders, ID: "O1", PersonalData: true})
	if err != nil || line.Hops[4].Exchanges[0].RequestBody != canary || line.Contacts[0] != "live/canary@example.com" {
		t.Errorf("with personal data: %+v, %v", line.Hops[4], err)
	}
	for _, q := range []api.TimelineQuery{{Kind: "nonsense", ID: "O1"}, {Kind: api.TimelineOrders, ID: " "}} {
		var refusal *connections.Refusal
		if _, err := d.Timeline(context.Background(), q); !errors.As(err, &refusal) {
			t.Errorf("%+v: got %v, want a refusal", q, err)
		}
	}
}

func TestAReportOpensWhatIsBehindItsRows(t *testing.T) {
	month := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	s := &shelf{result: chsink.Result{
		Columns: []chsink.Column{{Name: "month", Type: "Date"}, {Name: "store", Type: "LowCardinality(String)"}, {Name: "currency", Type: "String"}, {Name: "gross", Type: "Decimal(38, 9)"}, {Name: "captures", Type: "UInt64"}},
		Rows:    [][]any{{month, "=eu&x", "EUR", decimal.RequireFromString("-5.000000000"), uint64(7)}},
	}}
	a, err := desk(s).Report(context.Background(), api.ReportQuery{Name: "revenue", Since: month.AddDate(0, 0, 9)})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a.Rows, [][]any{{"2026-10-01", "=eu&x", "EUR", "-5.00", uint64(7)}}); diff != "" {
		t.Errorf("rows (-got +want):\n%s", diff)
	}
	want := "/events?currency=EUR&environment=live&since=2026-10-10T00%3A00%3A00Z&store=%3Deu%26x&time=provider&until=2026-11-01T00%3A00%3A00Z"
	if a.Opens[0] != want {
		t.Errorf("opens %s, want %s", a.Opens[0], want)
	}
	types := []api.ReportColumn{{Name: "month", Type: "day"}, {Name: "store", Type: "text"}, {Name: "currency", Type: "text"}, {Name: "gross", Type: "money", Unit: "currency"}, {Name: "captures", Type: "number", Unit: "count"}}
	if diff := cmp.Diff(a.Columns, types); diff != "" {
		t.Errorf("columns (-got +want):\n%s", diff)
	}
	for _, q := range []api.ReportQuery{{Name: "nonsense"}, {Name: "revenue", Environment: "both"}, {Name: "revenue", Since: noon, Until: noon}, {Name: "revenue", Store: strings.Repeat("x", 300)}} {
		var refusal *connections.Refusal
		if _, err := desk(s).Report(context.Background(), q); !errors.As(err, &refusal) {
			t.Errorf("%+v: got %v, want a refusal", q, err)
		}
	}
}

func TestEveryReportKnowsWhereItsRowsLead(t *testing.T) {
	list, err := desk(&shelf{}).Reports(context.Background())
	if err != nil || len(list.Items) < 20 {
		t.Fatalf("%d reports, %v", len(list.Items), err)
	}
	var without []string
	for _, r := range list.Items {
		columns := []api.ReportColumn{{Name: "workflow"}, {Name: "rule"}, {Name: "cause"}}
		if opens(r.Name, api.ReportQuery{Environment: schemas.Live}, columns, []any{"w", "mappings/m", "C"}) == "" {
			without = append(without, r.Name)
		}
	}
	// Tags, cohorts and triggers are about people over time, whose events no filter gathers.
	if diff := cmp.Diff(without, []string{"revenue-by-tag", "revenue-by-order-tag", "cohorts", "triggers"}); diff != "" {
		t.Errorf("lead nowhere (-got +want):\n%s", diff)
	}
}

func TestTheOverviewSaysHowFarEverythingIs(t *testing.T) {
	s := &shelf{
		day:    chsink.Day{Events: chsink.DayStep{Count: 10, LastAt: noon}, Dead: chsink.DayStep{Count: 1}},
		issues: []chsink.Issue{{Key: "i1", Cause: "REFUSED", Place: "crm", Open: 3, Pattern: "of canary@example.com"}, {Key: "i2"}},
		result: chsink.Result{
			Columns: []chsink.Column{{Name: "currency"}, {Name: "gross"}, {Name: "refunds"}, {Name: "captures"}},
			Rows: [][]any{
				{"EUR", decimal.RequireFromString("10.5"), decimal.RequireFromString("0.5"), uint64(2)},
				{"EUR", decimal.RequireFromString("1"), decimal.Zero, uint64(1)},
				{"BRL", decimal.RequireFromString("7"), decimal.Zero, uint64(1)},
			},
		},
	}
	now, refusals := noon, int64(4)
	d := &Desk{
		Store: s, Now: func() time.Time { return now }, Refused: func() int64 { return refusals },
		Progress: func(context.Context) (Progress, error) {
			return Progress{At: noon, Steps: map[string]GroupProgress{api.StepRecorded: {Waiting: 5, Oldest: noon.Add(-3 * time.Second)}, api.StepTransitions: {}}}, nil
		},
	}
	o, err := d.Overview(context.Background(), schemas.Live)
	if err != nil {
		t.Fatal(err)
	}
	if !o.CompleteUpTo.Equal(noon.Add(-3*time.Second)) || o.CompleteNote == "" || o.Steps[0].Count != 14 || o.Steps[1].Count != 10 || *o.Steps[2].LagSeconds != 3 || *o.Steps[3].LagSeconds != 0 || o.Steps[4].LagSeconds != nil {
		t.Errorf("got %+v", o)
	}
	if diff := cmp.Diff(o.Money, []api.OverviewMoney{
		{Currency: "BRL", Gross: "7.00", Refunds: "0.00", Net: "7.00", Payments: 1, Link: "/events?currency=BRL&environment=live&since=2026-11-22T00:00:00Z&time=provider"},
		{Currency: "EUR", Gross: "11.50", Refunds: "0.50", Net: "11.00", Payments: 3, Link: "/events?currency=EUR&environment=live&since=2026-11-22T00:00:00Z&time=provider"},
	}); diff != "" {
		t.Errorf("money (-got +want):\n%s", diff)
	}
	if len(o.Attention) != 1 || o.Attention[0].Link != "/issues/i1" || o.Attention[0].Count != 3 || strings.Contains(o.Attention[0].Detail, "canary@") {
		t.Errorf("attention: got %+v", o.Attention)
	}
	// Who asks a moment later gets the same, and changes nothing of it.
	o.Attention[0].What = "changed"
	if again, err := d.Overview(context.Background(), schemas.Live); err != nil || s.asked != 1 || again.Attention[0].What == "changed" {
		t.Errorf("asked %d times, got %+v, %v", s.asked, again.Attention, err)
	}
	now, refusals = noon.Add(24*time.Hour), 6 // the counter of yesterday is none of today's
	if o, err = d.Overview(context.Background(), schemas.Live); err != nil || o.Steps[0].Count != 10 || s.asked != 2 {
		t.Errorf("the next day: got %d, %v", o.Steps[0].Count, err)
	}
}

func TestAnErasureGoesOnAfterItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{release: make(chan struct{})}
		d := desk(s)
		for name, q := range map[string]api.ErasureRequest{
			"not sure": {Email: "a@b.c", By: "ann"}, "nobody asks": {Email: "a@b.c", Sure: true}, "both": {Email: "a@b.c", DryRun: true, Lift: true}, "two lines": {Email: "a@b.c", Sure: true, By: "a\nb"},
		} {
			var refusal *connections.Refusal
			if _, err := d.Erase(context.Background(), q); !errors.As(err, &refusal) || len(s.erased) > 0 {
				t.Errorf("%s: got %v", name, err)
			}
		}
		if e, err := d.Erase(context.Background(), api.ErasureRequest{Email: "a@b.c", DryRun: true}); err != nil || e.State != api.ErasureDone || e.ID != "" || e.Orders != 2 {
			t.Errorf("dry run: got %+v, %v", e, err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		e, err := d.Erase(ctx, api.ErasureRequest{Email: "a@b.c", Sure: true, By: "ann"})
		cancel() // the request is over
		if err != nil || e.State != api.ErasureRunning || e.ID == "" {
			t.Fatalf("got %+v, %v", e, err)
		}
		for range erasuresRunningMax - 1 {
			if _, err := d.Erase(context.Background(), api.ErasureRequest{Email: "a@b.c", Sure: true, By: "ann"}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := d.Erase(context.Background(), api.ErasureRequest{Email: "a@b.c", Sure: true, By: "ann"}); err == nil {
			t.Error("one more than may run is begun")
		}
		close(s.release)
		synctest.Wait()
		done, err := d.Erasure(context.Background(), e.ID)
		if err != nil || done.State != api.ErasureDone || done.Subject != "hash" || s.erased[len(s.erased)-1].Settle != chsink.SettleDefault {
			t.Errorf("got %+v, %v", done, err)
		}
		s.err = errors.New("clickhouse is away")
		e, err = d.Erase(context.Background(), api.ErasureRequest{Email: "a@b.c", Sure: true, By: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.err = nil
		if failed, err := d.Erasure(context.Background(), e.ID); err != nil || failed.State != api.ErasureFailed || !strings.Contains(failed.Problem, "away") {
			t.Errorf("got %+v, %v", failed, err)
		}
		if _, err := d.Erasure(context.Background(), "none"); err == nil {
			t.Error("there is one that never was")
		}
	})
}

func TestValuesAreWhatJSONCanHold(t *testing.T) {
	for _, c := range []struct{ in, want any }{
		{uint64(1) << 60, "1152921504606846976"},
		{int64(-5), int64(-5)},
		{decimal.RequireFromString("1.230000000"), "1.23"},
		{decimal.RequireFromString("1.234500000"), "1.2345"},
		{[]string{"a", "\xff"}, []any{"a", "base64:/w=="}},
		{map[string]uint64{"a": 1}, map[string]any{"a": uint64(1)}},
		{nil, nil},
		{noon, "2026-11-22T12:00:00Z"},
	} {
		if diff := cmp.Diff(valueOf(c.in, false), c.want); diff != "" {
			t.Errorf("%v (-got +want):\n%s", c.in, diff)
		}
	}
}
