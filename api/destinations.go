package api

import (
	"context"
	"net/http"
	"path/filepath"
	"time"

	"github.com/tillstream/tillstream/pipeline/destinations"
	"github.com/tillstream/tillstream/sinks"
)

// Destinations answers about the accounts that contacts are written to, and changes them. An error that is a
// *connections.Refusal is the asker's; every other is ours.
type Destinations interface {
	Sinks() []destinations.SinkView
	List() ([]destinations.View, error)
	Show(name string) (destinations.View, error)
	Check(ctx context.Context, name string) (destinations.Trial, error)
	Connect(ctx context.Context, d destinations.Draft) (*destinations.Result, error)
	Reconnect(ctx context.Context, name string, c destinations.Change) (*destinations.Result, error)
	Disconnect(ctx context.Context, name string, forget bool) (*destinations.Result, error)
	// Catalogue tells what the account has, as it was kept; refresh: as it is now. kind "": of all kinds.
	Catalogue(ctx context.Context, name string, kind sinks.EntryKind, refresh bool) (CatalogueList, error)
	// Verify asks for a job that compares contacts with what they are meant to be.
	Verify(ctx context.Context, name string, v VerifyRequest) (JobAsked, error)
}

// DestinationList is the answer of GET /api/v1/destinations.
type DestinationList struct {
	Folder       string              `json:"folder"` // of the configuration, as this process sees it
	Destinations []destinations.View `json:"destinations"`
}

// SinkList is the answer of GET /api/v1/sinks.
type SinkList struct {
	Sinks []destinations.SinkView `json:"sinks"`
}

// CatalogueList is the answer of GET /api/v1/destinations/{name}/catalogue.
type CatalogueList struct {
	Destination string                  `json:"destination"`
	Catalogue   []destinations.Snapshot `json:"catalogue"` // a kind that the account has not is left out
	// Problem is why it is not as new as was asked for.
	Problem string `json:"problem,omitempty"`
}

// VerifyRequest is the body of POST /api/v1/destinations/{name}/verify.
type VerifyRequest struct {
	JobID     string    `json:"job_id"`            // drawn by who asks: the same one twice is one job
	Contact   string    `json:"contact,omitempty"` // an e-mail address, or a contact key
	Since     time.Time `json:"since,omitzero"`    // whose newest state was made since then
	Repair    bool      `json:"repair,omitempty"`
	PerMinute int64     `json:"per_minute,omitempty"`
	Why       string    `json:"why,omitempty"`
	By        string    `json:"by"` // must be said
}

// JobAsked is the answer to a request for a job.
type JobAsked struct {
	JobID string `json:"job_id"`
}

// SetDestinations has the handler answer about destinations through d; dir is the folder of the configuration.
func (b *Board) SetDestinations(d Destinations, dir string) {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.destinations, b.destinationsDir = d, dir
}

// destinationRoutes are about the accounts that are written to. A secret is taken and never told.
func (b *Board) destinationRoutes(t *table) {
	part := served[Destinations]{of: b.destinationsOf, missing: "this process does not follow a folder of destinations, or has not begun to"}
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/sinks", Role: Viewer, CLI: "tillstream connect", Answer: SinkList{}, Summary: "What can be written to, with settings and effects",
	}, func(d Destinations, _ *http.Request, _ *query) (any, error) { return SinkList{d.Sinks()}, nil })
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/destinations", Role: Viewer, CLI: "tillstream destinations", Answer: DestinationList{}, Summary: "Every destination, with its account and its alarms",
	}, func(d Destinations, _ *http.Request, _ *query) (any, error) {
		list, err := d.List()
		b.mu.Lock()
		defer b.mu.Unlock()
		return DestinationList{b.destinationsDir, list}, err
	})
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/destinations/{name}", Role: Viewer, CLI: "tillstream destinations show", Answer: destinations.View{}, Summary: "One destination",
	}, func(d Destinations, r *http.Request, _ *query) (any, error) { return d.Show(r.PathValue("name")) })
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/destinations", Once: true, Role: Operator, CLI: "tillstream connect", Body: destinations.Draft{}, Answer: &destinations.Result{}, Code: http.StatusCreated,
		Summary: "Connect an account that is written to",
	}, func(d Destinations, r *http.Request, _ *query) (any, error) {
		var draft destinations.Draft
		if err := decodeBody(r, &draft); err != nil {
			return nil, err
		}
		return d.Connect(r.Context(), draft)
	})
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/destinations/{name}/check", Role: Operator, CLI: "tillstream destinations check", Answer: destinations.Trial{}, Summary: "Try a destination's key and permissions",
	}, func(d Destinations, r *http.Request, _ *query) (any, error) {
		return d.Check(r.Context(), r.PathValue("name"))
	})
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/destinations/{name}/reconnect", Once: true, Role: Operator, CLI: "tillstream connect --reconnect", Body: destinations.Change{}, Answer: &destinations.Result{},
		Summary: "Give a destination a new key, or connect it again",
	}, func(d Destinations, r *http.Request, _ *query) (any, error) {
		var change destinations.Change
		if r.ContentLength != 0 {
			if err := decodeBody(r, &change); err != nil {
				return nil, err
			}
		}
		return d.Reconnect(r.Context(), r.PathValue("name"), change)
	})
	part.route(t, Route{
		Method: "DELETE", Path: "/api/v1/destinations/{name}", Role: Operator, CLI: "tillstream disconnect", Params: []Param{forgetParam}, Answer: &destinations.Result{},
		Summary: "Disconnect a destination",
	}, func(d Destinations, r *http.Request, q *query) (any, error) {
		forget := q.flag("forget")
		if q.err != nil {
			return nil, q.err
		}
		return d.Disconnect(r.Context(), r.PathValue("name"), forget)
	})
	b.catalogueRoutes(t, part)
}

var forgetParam = Param{"forget", "true: its file and secrets are deleted, too"}

func (b *Board) catalogueRoutes(t *table, part served[Destinations]) {
	catalogue := func(refresh bool) func(Destinations, *http.Request, *query) (any, error) {
		return func(d Destinations, r *http.Request, q *query) (any, error) {
			got, err := d.Catalogue(r.Context(), r.PathValue("name"), sinks.EntryKind(q.text("kind")), refresh)
			for i, s := range got.Catalogue {
				got.Catalogue[i].Entries = destinations.Search(s.Entries, q.text("search"))
			}
			return got, err
		}
	}
	params := []Param{{"kind", "only entries of this kind: field, tag, list, ..."}, {"search", "words of the name"}}
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/destinations/{name}/catalogue", Role: Viewer, CLI: "tillstream catalogue", Params: params, Answer: CatalogueList{},
		Summary: "What the account has: fields, tags, lists and their like, as it was read last",
	}, catalogue(false))
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/destinations/{name}/catalogue", Role: Operator, CLI: "tillstream catalogue --refresh", Params: params, Answer: CatalogueList{},
		Summary: "Read anew what the account has",
	}, catalogue(true))
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/destinations/{name}/verify", Once: true, Role: Operator, CLI: "tillstream verify", Body: VerifyRequest{}, Answer: JobAsked{}, Code: http.StatusAccepted,
		Summary: "Compare contacts with what they are meant to be, as a job",
	}, func(d Destinations, r *http.Request, _ *query) (any, error) {
		var body VerifyRequest
		if err := decodeBody(r, &body); err != nil {
			return nil, err
		}
		if body.JobID == "" || body.By == "" || body.PerMinute < 0 {
			return nil, badBody("say job_id (drawn by you) and by (who asks); per_minute is a number from 0")
		}
		return d.Verify(r.Context(), r.PathValue("name"), body)
	})
}

func (b *Board) destinationsOf() (Destinations, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.destinations, b.destinations != nil
}
