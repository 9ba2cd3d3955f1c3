package api

import (
	"context"
	"net/http"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// Pauses answers about what is paused, and pauses and resumes. An error that is a *connections.Refusal is the asker's;
// every other is ours.
type Pauses interface {
	Pauses(ctx context.Context) ([]PauseView, error)
	// Set pauses or resumes. Its return says that Kafka has it: it holds in every process within seconds.
	Set(ctx context.Context, p schemas.Pause) (PauseView, error)
}

// PauseView is a pause as people and programs see it.
type PauseView struct {
	Subject schemas.PauseSubject `json:"subject"`
	Name    string               `json:"name"`
	Paused  bool                 `json:"paused"`
	Why     string               `json:"why,omitempty"`
	By      string               `json:"by"`
	At      time.Time            `json:"at"`
	// Waiting is how many commands it holds back, of the partitions that who answers has; nil: not known there.
	Waiting *int64 `json:"waiting,omitempty"`
}

// PauseList is the answer of GET /api/v1/pauses.
type PauseList struct {
	Pauses []PauseView `json:"pauses"`
}

// PauseRequest is the body of a pause or a resume.
type PauseRequest struct {
	Why string `json:"why"` // must be said to pause
	By  string `json:"by"`  // must be said
}

// SetPauses has the handler answer about pauses through p.
func (b *Board) SetPauses(p Pauses) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pauses = p
}

// pauseRoutes serves
//
//	GET  /api/v1/pauses                       what is paused, by whom, since when, why, and how much waits
//	POST /api/v1/destinations/{name}/pause    nothing is sent there any more: a PauseRequest
//	POST /api/v1/destinations/{name}/resume   it goes on: a PauseRequest
//	POST /api/v1/connections/{name}/pause     nothing is sent anywhere because of its events
//	POST /api/v1/connections/{name}/resume
//
// All but GET need ActionHeader. Saying it again changes nothing. Each answer of an error is a RefusedRequest.
func (b *Board) pauseRoutes(mux *http.ServeMux) {
	route := func(pattern string, admit func(*http.Request) error, f func(Pauses, *http.Request, *query) (any, error)) {
		mux.Handle(pattern, served[Pauses]{
			of: func() (Pauses, bool) {
				b.mu.Lock()
				defer b.mu.Unlock()
				return b.pauses, b.pauses != nil
			},
			missing: "this process has not reached Kafka yet, where pauses are kept", admit: admit, code: http.StatusOK, f: f,
		})
	}
	route("GET /api/v1/pauses", ownHost, func(p Pauses, r *http.Request, _ *query) (any, error) {
		list, err := p.Pauses(r.Context())
		return PauseList{list}, err
	})
	for subject, folder := range map[schemas.PauseSubject]string{schemas.PauseDestination: "destinations", schemas.PauseConnection: "connections"} {
		for verb, paused := range map[string]bool{"pause": true, "resume": false} {
			route("POST /api/v1/"+folder+"/{name}/"+verb, asked, func(p Pauses, r *http.Request, _ *query) (any, error) {
				var body PauseRequest
				if err := decodeBody(r, &body); err != nil {
					return nil, err
				}
				return p.Set(r.Context(), schemas.Pause{Subject: subject, Name: r.PathValue("name"), Paused: paused, Why: body.Why, By: body.By})
			})
		}
	}
}
