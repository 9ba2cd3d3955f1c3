package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// Automation answers about workflows: their runs, their waits, and why an order or a contact stands as it does. An error
// that is a *connections.Refusal is the asker's; every other is ours.
type Automation interface {
	Waits(ctx context.Context, q WaitsQuery) (any, error)
	Wait(ctx context.Context, id string, personalData bool) (any, error)
	// Decide ends an open wait as a person says. It takes effect when the stage reads it.
	Decide(ctx context.Context, id string, d Decision) (any, error)
	// Explain tells of an order or a contact.
	Explain(ctx context.Context, as, id string, personalData bool) (any, error)
	Runs(ctx context.Context, q RunsQuery) (any, error)
}

// WaitsQuery says which waits are meant. Empty parts mean any.
type WaitsQuery struct {
	Workflow, Contact, Order string
	State                    string // open, met, not_met, corrected or stopped
	DueBefore                time.Time
	After                    string // cursor of the page before
	Limit                    int    // 0: the default
	PersonalData             bool   // addresses unmasked
}

// RunsQuery says which runs are counted. Empty parts mean any; Environment: live.
type RunsQuery struct {
	Workflow, Store string
	Environment     schemas.Environment
	Since, Until    time.Time
}

// Decision is the body of POST /api/v1/waits/{id}/decision.
type Decision struct {
	Met    *bool  `json:"met"` // must be said
	By     string `json:"by"`  // must be said
	Reason string `json:"reason,omitempty"`
}

// Decided is the answer to it.
type Decided struct {
	WaitID string `json:"wait"`
	Met    bool   `json:"met"`
	Then   string `json:"then"` // what the run does next
}

// SetAutomation has the handler answer about workflows through a.
func (b *Board) SetAutomation(a Automation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.automation = a
}

// automationRoutes serves
//
//	GET  /api/v1/waits                 waits, due first: workflow, contact, order, state, due_before (RFC 3339), limit, after
//	GET  /api/v1/waits/{id}            one of them, with what would end it
//	POST /api/v1/waits/{id}/decision   ends an open one: a Decision; needs ActionHeader
//	GET  /api/v1/explain/orders/{id}   why an order stands as it does
//	GET  /api/v1/explain/contacts/{id} why a contact does; id is an e-mail address or a contact key
//	GET  /api/v1/runs                  runs by workflow, with the counts on each branch: workflow, store, environment, since, until
//
// Addresses are masked unless personal_data=true is asked for. Each answer of an error is a RefusedRequest.
func (b *Board) automationRoutes(mux *http.ServeMux) {
	read := func(pattern string, keys []string, f func(Automation, *http.Request, *query) (any, error)) {
		mux.HandleFunc(pattern, b.automated(ownHost, http.StatusOK, keys, f))
	}
	read("GET /api/v1/waits", []string{"workflow", "contact", "order", "state", "due_before", "limit", "after", "personal_data"}, listWaits)
	read("GET /api/v1/waits/{id}", []string{"personal_data"}, func(a Automation, r *http.Request, q *query) (any, error) {
		personal, err := q.flag("personal_data"), q.err
		if err != nil {
			return nil, err
		}
		return a.Wait(r.Context(), r.PathValue("id"), personal)
	})
	mux.HandleFunc("POST /api/v1/waits/{id}/decision", b.automated(asked, http.StatusAccepted, nil, func(a Automation, r *http.Request, _ *query) (any, error) {
		var d Decision
		if err := decodeBody(r, &d); err != nil {
			return nil, err
		}
		if d.Met == nil || d.By == "" {
			return nil, badBody("say met (true or false) and by (who decides)")
		}
		return a.Decide(r.Context(), r.PathValue("id"), d)
	}))
	for path, as := range map[string]string{"orders": "order", "contacts": "contact"} {
		read("GET /api/v1/explain/"+path+"/{id...}", []string{"personal_data"}, func(a Automation, r *http.Request, q *query) (any, error) {
			personal := q.flag("personal_data")
			id := r.PathValue("id")
			if id == "" {
				q.fail("say which: /api/v1/explain/%s/ID", path)
			}
			if q.err != nil {
				return nil, q.err
			}
			return a.Explain(r.Context(), as, id, personal)
		})
	}
	read("GET /api/v1/runs", []string{"workflow", "store", "environment", "since", "until"}, func(a Automation, r *http.Request, q *query) (any, error) {
		run := RunsQuery{
			Workflow: q.text("workflow"), Store: q.text("store"), Environment: schemas.Environment(q.text("environment")),
			Since: q.time("since"), Until: q.time("until"),
		}
		if e := run.Environment; e != "" && e != schemas.Live && e != schemas.Sandbox {
			q.fail("environment %q: use live or sandbox", e)
		}
		if q.err != nil {
			return nil, q.err
		}
		return a.Runs(r.Context(), run)
	})
}

func listWaits(a Automation, r *http.Request, q *query) (any, error) {
	w := WaitsQuery{
		Workflow: q.text("workflow"), Contact: q.text("contact"), Order: q.text("order"), State: strings.ToUpper(q.text("state")),
		DueBefore: q.time("due_before"), After: q.text("after"), Limit: q.number("limit"), PersonalData: q.flag("personal_data"),
	}
	if q.err != nil {
		return nil, q.err
	}
	return a.Waits(r.Context(), w)
}

// query reads the parameters of an address; the first that is wrong is err.
type query struct {
	values url.Values
	err    error
}

func (q *query) fail(format string, args ...any) {
	if q.err == nil {
		q.err = badBody(fmt.Sprintf(format, args...))
	}
}

func (q *query) text(key string) string { return q.values.Get(key) }

func (q *query) time(key string) time.Time {
	text := q.values.Get(key)
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		q.fail("%s: write it like 2026-11-01T12:00:00Z", key)
	}
	return at
}

func (q *query) number(key string) int {
	text := q.values.Get(key)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		q.fail("%s: write a number from 1", key)
	}
	return n
}

func (q *query) flag(key string) bool {
	text := q.values.Get(key)
	if text != "" && text != "true" && text != "false" {
		q.fail("%s is true or false", key)
	}
	return text == "true"
}

// automated answers with what f says.
func (b *Board) automated(admit func(*http.Request) error, code int, keys []string, f func(Automation, *http.Request, *query) (any, error)) http.HandlerFunc {
	return served[Automation]{
		of: func() (Automation, bool) {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.automation, b.automation != nil
		},
		missing: "this process knows no ClickHouse, where runs and waits are looked up, or has not begun to: set clickhouse.address",
		admit:   admit, code: code, keys: keys, f: f,
	}.ServeHTTP
}
