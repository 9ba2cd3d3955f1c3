package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// reads are the parts of the process that tell what happened.
type reads struct {
	reading Reading
	tail    Tail
}

// SetReading has the handler answer about what happened.
func (b *Board) SetReading(r Reading) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads.reading = r
}

// SetTail has the handler serve live streams.
func (b *Board) SetTail(t Tail) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads.tail = t
}

var (
	environmentParam = Param{"environment", "live or sandbox"}
	afterParam       = Param{"after", "cursor that the page before gave as next"}
	storeParam       = Param{"store", "configured name of a connection"}
	sinceParam       = Param{"since", "begin, such as 2026-11-01T12:00:00Z"}
	untilParam       = Param{"until", "end, not part of it"}
	currencyParam    = Param{"currency", "such as EUR"}
	orderParam       = Param{"order", "an order's or subscription's id, or its key such as live/shop/O1"}
	emailParam       = Param{"email", "an address, or a contact key such as live/ann@example.com"}
	statusParam      = Param{"status", "canonical payment status, such as PAID"}
	kindParam        = Param{"kind", "ORDER, SUBSCRIPTION, PAYMENT, REFUND, DISPUTE or OTHER"}
	textParam        = Param{"q", "an id or address, or a part of one, of a name, of an event type"}
)

func (b *Board) reader() served[Reading] {
	return served[Reading]{
		of: func() (Reading, bool) {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.reads.reading, b.reads.reading != nil
		},
		missing: "this process knows no ClickHouse, where what happened is looked up, or has not begun to: set clickhouse.address",
	}
}

func (b *Board) readingRoutes(t *table) {
	part := b.reader()
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/events", Role: Viewer, CLI: "tillstream events", Answer: EventPage{},
		Summary: "Search events, the newest first",
		Params: []Param{
			textParam, storeParam, orderParam, emailParam, statusParam, kindParam,
			{"type", "the provider's own event type"},
			currencyParam, environmentParam,
			{"problem", "true: only those that could not be read"},
			sinceParam, untilParam,
			{"time", "provider: since and until are about the provider's time, not that of receipt"},
			limitParam, afterParam, personalParam,
		},
	}, searchEvents)
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/events/{id}", Role: Viewer, CLI: "tillstream events", Answer: EventView{},
		Summary: "One event whole, by the provider's id of it or by its record, such as paypal.events-3-1042", Params: []Param{personalParam},
	}, func(d Reading, r *http.Request, q *query) (any, error) {
		personal, err := personalData(r, q)
		if err != nil {
			return nil, err
		}
		return d.Event(r.Context(), r.PathValue("id"), personal)
	})
	for _, kind := range []string{TimelineEvents, TimelineOrders, TimelineContacts, TimelinePayments, TimelineSubscriptions} {
		part.route(t, Route{
			Method: "GET", Path: "/api/v1/timeline/" + kind + "/{id...}", Role: Viewer, CLI: "tillstream trace", Answer: Timeline{},
			Summary: "Every hop of one of the " + kind + ", from the receipt to the CRM's answer", Params: []Param{personalParam},
		}, func(d Reading, r *http.Request, q *query) (any, error) {
			personal, err := personalData(r, q)
			if err != nil {
				return nil, err
			}
			return d.Timeline(r.Context(), TimelineQuery{Kind: kind, ID: r.PathValue("id"), PersonalData: personal})
		})
	}
	b.figureRoutes(t, part)
	b.erasureRoutes(t, part)
	b.liveRoutes(t)
}

// personalData reads the parameter of that name.
func personalData(r *http.Request, q *query) (bool, error) {
	asked := q.flag("personal_data")
	if q.err != nil {
		return false, q.err
	}
	if asked {
		return true, maySeePersons(r)
	}
	return false, nil
}

func searchEvents(d Reading, r *http.Request, q *query) (any, error) {
	personal, err := personalData(r, q)
	if err != nil {
		return nil, err
	}
	e := EventsQuery{
		Text: q.text("q"), Store: q.text("store"), Order: q.text("order"), Email: q.text("email"), Status: schemas.PaymentStatus(strings.ToUpper(q.text("status"))),
		Kind: schemas.EventKind(strings.ToUpper(q.text("kind"))), Type: q.text("type"), Currency: strings.ToUpper(q.text("currency")), Environment: environment(q),
		Problem: q.flag("problem"), Since: q.time("since"), Until: q.time("until"), Limit: q.number("limit"), After: q.text("after"), PersonalData: personal,
	}
	switch q.text("time") {
	case "", "received":
	case "provider":
		e.ProviderTime = true
	default:
		q.fail("time is received or provider")
	}
	if kinds := []schemas.EventKind{"", schemas.KindOrder, schemas.KindSubscription, schemas.KindPayment, schemas.KindRefund, schemas.KindDispute, schemas.KindOther}; !slices.Contains(kinds, e.Kind) {
		q.fail("kind %.40q: use order, subscription, payment, refund, dispute or other", q.text("kind"))
	}
	if q.err != nil {
		return nil, q.err
	}
	return d.Events(r.Context(), e)
}

func environment(q *query) schemas.Environment {
	e := schemas.Environment(q.text("environment"))
	if e != "" && e != schemas.Live && e != schemas.Sandbox {
		q.fail("environment %.40q: use live or sandbox", e)
	}
	return e
}

func (b *Board) figureRoutes(t *table, part served[Reading]) {
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/overview", Role: Viewer, CLI: "tillstream overview", Answer: Overview{},
		Summary: "The pipeline's steps today with their lag, today's money, and what needs attention", Params: []Param{environmentParam},
	}, func(d Reading, r *http.Request, q *query) (any, error) {
		e := environment(q)
		if q.err != nil {
			return nil, q.err
		}
		if e == "" {
			e = schemas.Live
		}
		o, err := d.Overview(r.Context(), e)
		if err != nil {
			return nil, err
		}
		b.attention(r.Context(), &o)
		return o, nil
	})
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/reports", Role: Viewer, CLI: "tillstream report --list", Answer: ReportList{},
		Summary: "The reports, with what each counts",
	}, func(d Reading, r *http.Request, _ *query) (any, error) { return d.Reports(r.Context()) })
	part.stream(t, Route{
		Method: "GET", Path: "/api/v1/reports/{name}", Role: Viewer, CLI: "tillstream report", Answer: ReportAnswer{},
		Summary: "What a report says, as JSON with a page for each row, or as CSV",
		Params:  []Param{sinceParam, untilParam, storeParam, currencyParam, environmentParam, limitParam, {"format", "json or csv"}},
	}, report)
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/query", Role: Operator, CLI: "tillstream query", Body: QueryRequest{}, Answer: QueryAnswer{},
		Summary: "Run one statement that only reads, in ClickHouse's read-only mode; personal data is not masked",
	}, func(d Reading, r *http.Request, _ *query) (any, error) {
		var body QueryRequest
		if err := decodeBody(r, &body); err != nil {
			return nil, err
		}
		if strings.TrimSpace(body.SQL) == "" || body.Rows < 0 {
			return nil, badBody("say sql, one statement that only reads, and rows from 1 or not at all")
		}
		return d.Query(r.Context(), body)
	})
}

func report(d Reading, w http.ResponseWriter, r *http.Request, q *query) (any, error) {
	f := ReportQuery{
		Name: r.PathValue("name"), Since: q.time("since"), Until: q.time("until"), Store: q.text("store"), Currency: q.text("currency"),
		Environment: environment(q), Limit: q.number("limit"),
	}
	format := q.text("format")
	if format != "" && format != "json" && format != "csv" {
		q.fail("format is json or csv")
	}
	if q.err != nil {
		return nil, q.err
	}
	a, err := d.Report(r.Context(), f)
	if err != nil || format != "csv" {
		return a, err
	}
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", a.Name+"-as-of-"+a.AsOf.Format("20060102T150405Z")+".csv"))
	h.Set("X-Tillstream-As-Of", a.AsOf.Format(time.RFC3339))
	header := make([]string, len(a.Columns))
	for i, c := range a.Columns {
		header[i] = c.Name
	}
	// What is written cannot be taken back: an error here is a reader who left.
	_ = WriteCSV(w, header, len(a.Rows), func(row, column int) (string, bool) {
		return csvValue(a.Rows[row][column]), a.Columns[column].Type == "text"
	})
	return nil, nil
}

func (b *Board) erasureRoutes(t *table, part served[Reading]) {
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/erasures", Once: true, Role: Admin, CLI: "tillstream erase", Body: ErasureRequest{}, Answer: Erasure{}, Code: http.StatusAccepted,
		Summary: "Take a person out of ClickHouse for good, or only count; it goes on after the answer",
	}, func(d Reading, r *http.Request, _ *query) (any, error) {
		var body ErasureRequest
		if err := decodeBody(r, &body); err != nil {
			return nil, err
		}
		if who := signedIn(r); who != "" {
			body.By = who
		}
		return d.Erase(r.Context(), body)
	})
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/erasures", Role: Admin, CLI: "tillstream erase --list", Answer: ErasureList{}, Summary: "Erasures and their receipts, the newest first",
	}, func(d Reading, r *http.Request, _ *query) (any, error) { return d.Erasures(r.Context()) })
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/erasures/{id}", Role: Admin, CLI: "tillstream erase --list", Answer: Erasure{}, Summary: "How an erasure stands",
	}, func(d Reading, r *http.Request, _ *query) (any, error) {
		return d.Erasure(r.Context(), r.PathValue("id"))
	})
}
