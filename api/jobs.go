package api

import (
	"context"
	"net/http"

	"github.com/tillstream/tillstream/pipeline/jobs"
	"github.com/tillstream/tillstream/schemas"
)

// Recovery answers about what went wrong, and asks for jobs that mend it. An error that is a *connections.Refusal is the
// asker's; every other is ours.
type Recovery interface {
	Issues(ctx context.Context, q PastQuery) (IssueList, error)
	Letters(ctx context.Context, q PastQuery) (LetterList, error)
	Deliveries(ctx context.Context, q PastQuery) (DeliveryList, error)
	Delivery(ctx context.Context, command string, personalData bool) (DeliveryView, error)
	Jobs(ctx context.Context, limit int, personalData bool) (JobList, error)
	Job(ctx context.Context, id string, q ItemsQuery) (JobView, error)
	// Ask starts a job, or only says what it would be about. The same id twice is one job.
	Ask(ctx context.Context, r AskRequest) (JobPreview, error)
	// Cancel ends a job; what was done stays.
	Cancel(ctx context.Context, id string, r CancelRequest) (JobAsked, error)
}

// PastQuery says which dead letters or deliveries are meant. Filter has the names of package jobs.
type PastQuery struct {
	Filter       map[string]string
	State        string // open, reopened, retried, dismissed; or an outcome
	Limit        int    // 0: the default
	PersonalData bool   // addresses unmasked
}

// ItemsQuery says which items of a job are told.
type ItemsQuery struct {
	Result       string
	After        int64 // the number of the last item of the page before
	Limit        int
	PersonalData bool
}

// AskRequest is the body of POST /api/v1/jobs.
type AskRequest struct {
	JobID     string            `json:"job_id"` // drawn by who asks
	Kind      schemas.JobKind   `json:"kind"`   // RETRY, DISMISS, SETTLE or REPLAY; verify has a route of its own
	Filter    map[string]string `json:"filter"`
	All       bool              `json:"all,omitempty"` // must be said where the filter leaves nothing out
	PerMinute int64             `json:"per_minute,omitempty"`
	Why       string            `json:"why,omitempty"`
	By        string            `json:"by"`                // must be said
	DryRun    bool              `json:"dry_run,omitempty"` // only what it would be about
}

// CancelRequest is the body of POST /api/v1/jobs/{id}/cancel.
type CancelRequest struct {
	By string `json:"by"` // must be said
}

// SetRecovery has the handler answer about what went wrong through r.
func (b *Board) SetRecovery(r Recovery) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recovery = r
}

// pastKeys are the parts of a filter that are parameters.
var pastKeys = []string{
	jobs.FilterIssue, jobs.FilterCause, jobs.FilterStage, jobs.FilterDestination, jobs.FilterConnection, jobs.FilterEnvironment, jobs.FilterContact,
	jobs.FilterOrder, jobs.FilterItem, jobs.FilterSince, jobs.FilterUntil, jobs.FilterEffect, jobs.FilterText,
}

func pastQuery(q *query) PastQuery {
	p := PastQuery{Filter: map[string]string{}, State: q.text("state"), Limit: q.number("limit"), PersonalData: q.flag("personal_data")}
	for _, key := range pastKeys {
		if text := q.text(key); text != "" {
			p.Filter[key] = text
		}
	}
	return p
}

// Documents of the parameters that several routes have.
var (
	personalParam = Param{"personal_data", "true: addresses unmasked; it leaves a record in the audit log"}
	limitParam    = Param{"limit", "rows at the most"}
	pastParams    = []Param{
		{jobs.FilterIssue, "key of an issue"},
		{jobs.FilterCause, "code of a cause"},
		{jobs.FilterStage, "name of a stage"},
		{jobs.FilterDestination, "name of a destination"},
		{jobs.FilterConnection, "name of a connection"},
		{jobs.FilterEnvironment, "live or sandbox"},
		{jobs.FilterContact, "e-mail address or contact key"},
		{jobs.FilterOrder, "order"},
		{jobs.FilterItem, "id of a letter or a command"},
		{jobs.FilterSince, "RFC 3339"},
		{jobs.FilterUntil, "RFC 3339"},
		{jobs.FilterEffect, "kind of effect"},
		{jobs.FilterText, "words of the reason"},
	}
)

func (b *Board) recoveryOf() (Recovery, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.recovery, b.recovery != nil
}

// jobRoutes are about what went wrong and the jobs that mend it. Personal data is masked unless it is asked for.
func (b *Board) jobRoutes(t *table) {
	part := served[Recovery]{of: b.recoveryOf, missing: "this process knows no ClickHouse, where dead letters and deliveries are looked up, or has not begun to: set clickhouse.address"}
	list := func(path, cli, summary, state string, shape any, f func(Recovery, context.Context, PastQuery) (any, error)) {
		params := append([]Param{{"state", state}, limitParam, personalParam}, pastParams...)
		part.route(t, Route{Method: "GET", Path: path, Role: Viewer, CLI: cli, Summary: summary, Params: params, Answer: shape}, func(a Recovery, r *http.Request, q *query) (any, error) {
			p := pastQuery(q)
			if q.err != nil {
				return nil, q.err
			}
			return f(a, r.Context(), p)
		})
	}
	list("/api/v1/issues", "tillstream issues list", "Dead letters grouped by cause", "open, reopened, retried or dismissed", IssueList{},
		func(a Recovery, ctx context.Context, p PastQuery) (any, error) { return a.Issues(ctx, p) })
	list("/api/v1/dead-letters", "tillstream issues show", "Dead letters, the newest first", "open, reopened, retried or dismissed", LetterList{},
		func(a Recovery, ctx context.Context, p PastQuery) (any, error) { return a.Letters(ctx, p) })
	list("/api/v1/deliveries", "tillstream deliveries", "Commands by what became of them", "an outcome", DeliveryList{},
		func(a Recovery, ctx context.Context, p PastQuery) (any, error) { return a.Deliveries(ctx, p) })
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/deliveries/{command}", Role: Viewer, Answer: DeliveryView{}, CLI: "tillstream deliveries show", Params: []Param{personalParam},
		Summary: "One command with its requests and answers",
	}, func(a Recovery, r *http.Request, q *query) (any, error) {
		personal := q.flag("personal_data")
		if q.err != nil {
			return nil, q.err
		}
		return a.Delivery(r.Context(), r.PathValue("command"), personal)
	})
	b.jobsOf(t, part)
}

func (b *Board) jobsOf(t *table, part served[Recovery]) {
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/jobs", Role: Viewer, Answer: JobList{}, CLI: "tillstream jobs list", Params: []Param{limitParam, personalParam},
		Summary: "Jobs, the newest first",
	}, func(a Recovery, r *http.Request, q *query) (any, error) {
		limit, personal := q.number("limit"), q.flag("personal_data")
		if q.err != nil {
			return nil, q.err
		}
		return a.Jobs(r.Context(), limit, personal)
	})
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/jobs/{id}", Role: Viewer, Answer: JobView{}, CLI: "tillstream jobs show", Summary: "One job with its items",
		Params: []Param{{"result", "only items with this result"}, {"after", "go on after the item of this number"}, limitParam, personalParam},
	}, func(a Recovery, r *http.Request, q *query) (any, error) {
		i := ItemsQuery{Result: q.text("result"), After: int64(q.number("after")), Limit: q.number("limit"), PersonalData: q.flag("personal_data")}
		if q.err != nil {
			return nil, q.err
		}
		return a.Job(r.Context(), r.PathValue("id"), i)
	})
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/jobs", Once: true, Role: Operator, CLI: "tillstream retry", Body: AskRequest{}, Answer: JobPreview{}, Code: http.StatusAccepted,
		Summary: "Start a job that retries, dismisses, settles or replays, or only count what it would be about",
	}, func(a Recovery, r *http.Request, _ *query) (any, error) {
		var body AskRequest
		if err := decodeBody(r, &body); err != nil {
			return nil, err
		}
		return a.Ask(r.Context(), body)
	})
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/jobs/{id}/cancel", Once: true, Role: Operator, CLI: "tillstream jobs cancel", Body: CancelRequest{}, Answer: JobAsked{}, Code: http.StatusAccepted,
		Summary: "End a job between two items; what was done stays",
	}, func(a Recovery, r *http.Request, _ *query) (any, error) {
		var body CancelRequest
		if err := decodeBody(r, &body); err != nil {
			return nil, err
		}
		return a.Cancel(r.Context(), r.PathValue("id"), body)
	})
}
