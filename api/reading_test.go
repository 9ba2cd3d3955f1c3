package api

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tillstream/tillstream/schemas"
)

// librarian notes what it is asked.
type librarian struct {
	Reading
	events   EventsQuery
	event    []any
	timeline TimelineQuery
	report   ReportAnswer
	asked    ReportQuery
	sql      QueryRequest
	erase    ErasureRequest
}

func (l *librarian) Events(_ context.Context, q EventsQuery) (EventPage, error) {
	l.events = q
	return EventPage{Items: []EventSummary{}}, nil
}

func (l *librarian) Event(_ context.Context, id string, personal bool) (EventView, error) {
	l.event = []any{id, personal}
	return EventView{}, nil
}

func (l *librarian) Timeline(_ context.Context, q TimelineQuery) (Timeline, error) {
	l.timeline = q
	return Timeline{}, nil
}

func (l *librarian) Overview(_ context.Context, e schemas.Environment) (Overview, error) {
	return Overview{Environment: string(e), Attention: []Attention{{Kind: "issue", Severity: SeverityWarning, What: "w"}}}, nil
}

func (l *librarian) Report(_ context.Context, q ReportQuery) (ReportAnswer, error) {
	l.asked = q
	return l.report, nil
}

func (l *librarian) Query(_ context.Context, q QueryRequest) (QueryAnswer, error) {
	l.sql = q
	return QueryAnswer{}, nil
}

func (l *librarian) Erase(_ context.Context, q ErasureRequest) (Erasure, error) {
	l.erase = q
	return Erasure{State: ErasureRunning}, nil
}

func library(t *testing.T) (*Board, *librarian, *httptest.Server) {
	t.Helper()
	b, l := NewBoard(nil), &librarian{}
	b.SetReading(l)
	srv := httptest.NewServer(b.Handler(prometheus.NewRegistry()))
	t.Cleanup(srv.Close)
	return b, l, srv
}

func TestWhatThePageReadsIsAskedAsTheAddressSays(t *testing.T) {
	_, l, srv := library(t)
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		method, path, body string
		code               int
		got                func() any
		want               any
	}{
		{
			"GET", "/api/v1/events?q=a%27b&store=eu&order=O1&email=ann%40example.com&status=paid&kind=payment&type=T&currency=eur&environment=live&problem=true&since=2026-11-01T12:00:00Z&time=provider&limit=7&after=c&personal_data=true", "",
			200, func() any { return l.events },
			EventsQuery{Text: "a'b", Store: "eu", Order: "O1", Email: "ann@example.com", Status: "PAID", Kind: "PAYMENT", Type: "T", Currency: "EUR", Environment: "live", Problem: true, Since: at, ProviderTime: true, Limit: 7, After: "c", PersonalData: true},
		},
		{"GET", "/api/v1/events/W%2F1", "", 200, func() any { return l.event }, []any{"W/1", false}},
		{"GET", "/api/v1/timeline/orders/live/eu/O1?personal_data=true", "", 200, func() any { return l.timeline }, TimelineQuery{Kind: "orders", ID: "live/eu/O1", PersonalData: true}},
		{"GET", "/api/v1/timeline/contacts/ann%40example.com", "", 200, func() any { return l.timeline }, TimelineQuery{Kind: "contacts", ID: "ann@example.com"}},
		{"GET", "/api/v1/reports/revenue?until=2026-11-01T12:00:00Z&store=eu&environment=sandbox", "", 200, func() any { return l.asked }, ReportQuery{Name: "revenue", Until: at, Store: "eu", Environment: "sandbox"}},
		{"POST", "/api/v1/query", `{"sql":"SELECT 1","rows":5}`, 200, func() any { return l.sql }, QueryRequest{SQL: "SELECT 1", Rows: 5}},
		{"POST", "/api/v1/erasures", `{"email":"a@b.c","by":"ann","confirm":true}`, 202, func() any { return l.erase }, ErasureRequest{Email: "a@b.c", By: "ann", Sure: true}},
		{"GET", "/api/v1/events?kind=nonsense", "", 400, nil, nil},
		{"GET", "/api/v1/events?environment=both", "", 400, nil, nil},
		{"GET", "/api/v1/events?time=never", "", 400, nil, nil},
		{"GET", "/api/v1/events?since=yesterday", "", 400, nil, nil},
		{"GET", "/api/v1/events?nonsense=1", "", 400, nil, nil},
		{"GET", "/api/v1/timeline/nonsense/O1", "", 404, nil, nil},
		{"GET", "/api/v1/reports/revenue?format=xml", "", 400, nil, nil},
		{"POST", "/api/v1/query", `{"sql":" "}`, 400, nil, nil},
		{"POST", "/api/v1/query", `{"sql":"SELECT 1","write":true}`, 400, nil, nil},
	} {
		code, body := asking(t, srv, c.method, c.path, c.body, nil)
		if code != c.code || !json.Valid([]byte(body)) {
			t.Errorf("%s %s: got %d %s, want %d", c.method, c.path, code, body, c.code)
		}
		if c.got != nil {
			if diff := cmp.Diff(c.got(), c.want); diff != "" {
				t.Errorf("%s %s (-got +want):\n%s", c.method, c.path, diff)
			}
		}
	}
}

func TestTheOverviewListsPartsThatAreNotReadyFirst(t *testing.T) {
	b, _, srv := library(t)
	b.Add(Part{Name: "load", Ready: func() error { return errors.New("ClickHouse is away") }})
	_, body := asking(t, srv, "GET", "/api/v1/overview", "", nil)
	var o Overview
	if err := json.Unmarshal([]byte(body), &o); err != nil {
		t.Fatal(err)
	}
	if o.Environment != "live" || len(o.Attention) != 2 || o.Attention[0].Kind != "part" || o.Attention[0].Detail != "ClickHouse is away" {
		t.Errorf("got %s", body)
	}
}

// What a shop wrote is never run by a spreadsheet; numbers stay numbers.
func TestCSVHoldsNoFormula(t *testing.T) {
	_, l, srv := library(t)
	l.report = ReportAnswer{
		ReportInfo: ReportInfo{Name: "revenue"}, AsOf: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC),
		Columns: []ReportColumn{{Name: "store", Type: "text"}, {Name: "net", Type: "money"}, {Name: "note", Type: "text"}},
		Rows:    [][]any{{"=cmd|' /C calc'!A0", "-5.00", nil}, {"+1", "1.00", "a,\"b\"\nc"}, {"-1", nil, "@SUM(1)"}, {"\t=1", "2.00", "fine=1"}, {"\r=1", "0.00", "\n=1"}},
	}
	resp, err := http.Get(srv.URL + "/api/v1/reports/revenue?format=csv")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := csv.NewReader(resp.Body).ReadAll()
	if err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/csv") || !strings.Contains(resp.Header.Get("Content-Disposition"), "revenue-as-of-20261101T120000Z.csv") {
		t.Fatalf("%v, %v", resp.Header, err)
	}
	want := [][]string{
		{"store", "net", "note"}, {"'=cmd|' /C calc'!A0", "-5.00", ""}, {"'+1", "1.00", "a,\"b\"\nc"}, {"'-1", "", "'@SUM(1)"}, {"'\t=1", "2.00", "fine=1"}, {"'\r=1", "0.00", "'\n=1"},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// reel is a tail of fixed messages.
type reel struct {
	q        LiveQuery
	messages []LiveMessage
	err      error
	closed   chan struct{}
}

func (r *reel) Follow(q LiveQuery) (LiveStream, error) {
	r.q = q
	return r, r.err
}

func (r *reel) Next(ctx context.Context) (LiveMessage, bool) {
	if len(r.messages) == 0 {
		<-ctx.Done()
		return LiveMessage{}, false
	}
	m := r.messages[0]
	r.messages = r.messages[1:]
	return m, true
}
func (r *reel) Close() { close(r.closed) }

func TestALiveStreamIsServerSentEvents(t *testing.T) {
	b, _, srv := library(t)
	if code, _ := asking(t, srv, "GET", "/api/v1/events/live", "", nil); code != http.StatusNotFound {
		t.Errorf("before Kafka was reached: got %d, want 404", code)
	}
	r := &reel{closed: make(chan struct{}), messages: []LiveMessage{
		{Event: LiveRecordEvent, ID: "e-1", Data: LiveRecord{Kind: "event", What: "a\nb</script>"}}, {Event: LiveLeftEvent, Data: LiveLeftOut{LeftOut: 3}},
	}}
	b.SetTail(r)
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/api/v1/events/live?kinds=event,run&store=eu&bad=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Last-Event-ID", "e-0")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/event-stream") {
		t.Errorf("content type %q", got)
	}
	var lines []string
	for in := bufio.NewScanner(resp.Body); len(lines) < 8 && in.Scan(); {
		lines = append(lines, in.Text())
	}
	want := []string{"retry: 2000", "", "id: e-1", "event: record"}
	if diff := cmp.Diff(lines[:4], want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if !strings.HasPrefix(lines[4], "data: {") || strings.Contains(lines[4], "</script>") || lines[5] != "" || lines[6] != "event: left_out" || !strings.Contains(lines[7], `"left_out":3`) {
		t.Errorf("got %q", lines[4:])
	}
	if diff := cmp.Diff(r.q, LiveQuery{Kinds: []string{"event", "run"}, Store: "eu", Bad: true, After: "e-0"}); diff != "" {
		t.Errorf("asked (-got +want):\n%s", diff)
	}
	cancel() // the reader leaves
	<-r.closed
	b.SetTail(&reel{err: ErrTooManyStreams})
	if code, _ := asking(t, srv, "GET", "/api/v1/events/live", "", nil); code != http.StatusTooManyRequests {
		t.Errorf("too many: got %d, want 429", code)
	}
}
