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
	"github.com/tillstream/tillstream/schemas/past"
)

// Automation answers about workflows: their runs, their waits, and why an order or a contact stands as it does. An error
// that is a *connections.Refusal is the asker's; every other is ours.
type Automation interface {
	Waits(ctx context.Context, q WaitsQuery) (past.WaitPage, error)
	Wait(ctx context.Context, id string, personalData bool) (WaitView, error)
	// Decide ends an open wait as a person says. It takes effect when the stage reads it.
	Decide(ctx context.Context, id string, d Decision) (Decided, error)
	// Explain tells of an order or a contact.
	Explain(ctx context.Context, as, id string, personalData bool) (Explanation, error)
	Runs(ctx context.Context, q RunsQuery) (RunList, error)
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

func (b *Board) automationOf() (Automation, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.automation, b.automation != nil
}

// automationRoutes are about workflows. Addresses are masked unless personal data is asked for.
func (b *Board) automationRoutes(t *table) {
	part := served[Automation]{of: b.automationOf, missing: "this process knows no ClickHouse, where runs and waits are looked up, or has not begun to: set clickhouse.address"}
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/waits", Role: Viewer, Answer: past.WaitPage{}, CLI: "tillstream waits", Summary: "Waits, due first",
		Params: []Param{
			{"workflow", "name of a workflow"},
			{"contact", "e-mail address or contact key"},
			{"order", "order"},
			{"state", "open, met, not_met, corrected or stopped"},
			{"due_before", "RFC 3339"},
			limitParam,
			{"after", "cursor of the page before"},
			personalParam,
		},
	}, listWaits)
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/waits/{id}", Role: Viewer, Answer: WaitView{}, CLI: "tillstream waits show", Params: []Param{personalParam}, Summary: "One wait, with what would end it",
	}, func(a Automation, r *http.Request, q *query) (any, error) {
		personal, err := q.flag("personal_data"), q.err
		if err != nil {
			return nil, err
		}
		return a.Wait(r.Context(), r.PathValue("id"), personal)
	})
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/waits/{id}/decision", Once: true, Role: Operator, CLI: "tillstream waits close", Body: Decision{}, Answer: Decided{}, Code: http.StatusAccepted,
		Summary: "End an open wait as a person says",
	}, func(a Automation, r *http.Request, _ *query) (any, error) {
		var d Decision
		if err := decodeBody(r, &d); err != nil {
			return nil, err
		}
		if d.Met == nil || d.By == "" {
			return nil, badBody("say met (true or false) and by (who decides)")
		}
		return a.Decide(r.Context(), r.PathValue("id"), d)
	})
	explain := func(path, as, summary string) {
		part.route(t, Route{
			Method: "GET", Path: "/api/v1/explain/" + path + "/{id...}", Role: Viewer, CLI: "tillstream explain", Answer: Explanation{}, Params: []Param{personalParam}, Summary: summary,
		}, func(a Automation, r *http.Request, q *query) (any, error) {
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
	explain("orders", "order", "Why an order stands as it does")
	explain("contacts", "contact", "Why a contact stands as it does; the id is an e-mail address or a contact key")
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/runs", Role: Viewer, Answer: RunList{}, CLI: "tillstream runs", Summary: "Runs by workflow, with the counts on each branch",
		Params: []Param{{"workflow", "name of a workflow"}, {"store", "store"}, {"environment", "live or sandbox"}, {"since", "RFC 3339"}, {"until", "RFC 3339"}},
	}, listRuns)
}

func listRuns(a Automation, r *http.Request, q *query) (any, error) {
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
