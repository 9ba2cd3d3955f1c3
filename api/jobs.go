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
	Issues(ctx context.Context, q PastQuery) (any, error)
	Letters(ctx context.Context, q PastQuery) (any, error)
	Deliveries(ctx context.Context, q PastQuery) (any, error)
	Delivery(ctx context.Context, command string, personalData bool) (any, error)
	Jobs(ctx context.Context, limit int, personalData bool) (any, error)
	Job(ctx context.Context, id string, q ItemsQuery) (any, error)
	// Ask starts a job, or only says what it would be about. The same id twice is one job.
	Ask(ctx context.Context, r AskRequest) (any, error)
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

func past(q *query) PastQuery {
	p := PastQuery{Filter: map[string]string{}, State: q.text("state"), Limit: q.number("limit"), PersonalData: q.flag("personal_data")}
	for _, key := range pastKeys {
		if text := q.text(key); text != "" {
			p.Filter[key] = text
		}
	}
	return p
}

// jobRoutes serves
//
//	GET  /api/v1/issues                dead letters grouped by cause: state, limit, and the parts of a filter (see package jobs)
//	GET  /api/v1/dead-letters          the letters themselves, newest first
//	GET  /api/v1/deliveries            commands by what became of them: state is an outcome
//	GET  /api/v1/deliveries/{command}  one of them with its requests and answers
//	GET  /api/v1/jobs                  jobs, newest first
//	GET  /api/v1/jobs/{id}             one of them with its items: result, after, limit
//	POST /api/v1/jobs                  asks for one: an AskRequest; needs ActionHeader
//	POST /api/v1/jobs/{id}/cancel      ends one: a CancelRequest; needs ActionHeader
//
// Personal data is masked unless personal_data=true is asked for. Each answer of an error is a RefusedRequest.
func (b *Board) jobRoutes(mux *http.ServeMux) {
	route := func(pattern string, admit func(*http.Request) error, code int, keys []string, f func(Recovery, *http.Request, *query) (any, error)) {
		mux.Handle(pattern, served[Recovery]{
			of: func() (Recovery, bool) {
				b.mu.Lock()
				defer b.mu.Unlock()
				return b.recovery, b.recovery != nil
			},
			missing: "this process knows no ClickHouse, where dead letters and deliveries are looked up, or has not begun to: set clickhouse.address",
			admit:   admit, code: code, keys: keys, f: f,
		})
	}
	list := func(pattern string, f func(Recovery, context.Context, PastQuery) (any, error)) {
		keys := append([]string{"state", "limit", "personal_data"}, pastKeys...)
		route(pattern, ownHost, http.StatusOK, keys, func(a Recovery, r *http.Request, q *query) (any, error) {
			p := past(q)
			if q.err != nil {
				return nil, q.err
			}
			return f(a, r.Context(), p)
		})
	}
	list("GET /api/v1/issues", Recovery.Issues)
	list("GET /api/v1/dead-letters", Recovery.Letters)
	list("GET /api/v1/deliveries", Recovery.Deliveries)
	route("GET /api/v1/deliveries/{command}", ownHost, http.StatusOK, []string{"personal_data"}, func(a Recovery, r *http.Request, q *query) (any, error) {
		personal := q.flag("personal_data")
		if q.err != nil {
			return nil, q.err
		}
		return a.Delivery(r.Context(), r.PathValue("command"), personal)
	})
	route("GET /api/v1/jobs", ownHost, http.StatusOK, []string{"limit", "personal_data"}, func(a Recovery, r *http.Request, q *query) (any, error) {
		limit, personal := q.number("limit"), q.flag("personal_data")
		if q.err != nil {
			return nil, q.err
		}
		return a.Jobs(r.Context(), limit, personal)
	})
	route("GET /api/v1/jobs/{id}", ownHost, http.StatusOK, []string{"result", "after", "limit", "personal_data"}, func(a Recovery, r *http.Request, q *query) (any, error) {
		i := ItemsQuery{Result: q.text("result"), After: int64(q.number("after")), Limit: q.number("limit"), PersonalData: q.flag("personal_data")}
		if q.err != nil {
			return nil, q.err
		}
		return a.Job(r.Context(), r.PathValue("id"), i)
	})
	route("POST /api/v1/jobs", asked, http.StatusAccepted, nil, func(a Recovery, r *http.Request, _ *query) (any, error) {
		var body AskRequest
		if err := decodeBody(r, &body); err != nil {
			return nil, err
		}
		return a.Ask(r.Context(), body)
	})
	route("POST /api/v1/jobs/{id}/cancel", asked, http.StatusAccepted, nil, func(a Recovery, r *http.Request, _ *query) (any, error) {
		var body CancelRequest
		if err := decodeBody(r, &body); err != nil {
			return nil, err
		}
		return a.Cancel(r.Context(), r.PathValue("id"), body)
	})
}
