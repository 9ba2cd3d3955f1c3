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

func (b *Board) pauseRoutes(t *table) {
	part := served[Pauses]{
		of: func() (Pauses, bool) {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.pauses, b.pauses != nil
		},
		missing: "this process has not reached Kafka yet, where pauses are kept",
	}
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/pauses", Role: Viewer, CLI: "tillstream pauses", Answer: PauseList{},
		Summary: "What is paused, by whom, since when, why, and how much waits",
	}, func(p Pauses, r *http.Request, _ *query) (any, error) {
		list, err := p.Pauses(r.Context())
		return PauseList{list}, err
	})
	set := func(subject schemas.PauseSubject, paused bool, route Route) {
		route.Method, route.Role, route.Once, route.Body, route.Answer = "POST", Operator, true, PauseRequest{}, PauseView{}
		part.route(t, route, func(p Pauses, r *http.Request, _ *query) (any, error) {
			var body PauseRequest
			if err := decodeBody(r, &body); err != nil {
				return nil, err
			}
			return p.Set(r.Context(), schemas.Pause{Subject: subject, Name: r.PathValue("name"), Paused: paused, Why: body.Why, By: body.By})
		})
	}
	set(schemas.PauseDestination, true, Route{Path: "/api/v1/destinations/{name}/pause", CLI: "tillstream pause destination", Summary: "Send nothing there until it is resumed; saying it again changes nothing"})
	set(schemas.PauseDestination, false, Route{Path: "/api/v1/destinations/{name}/resume", CLI: "tillstream resume destination", Summary: "Let a paused destination go on"})
	set(schemas.PauseConnection, true, Route{Path: "/api/v1/connections/{name}/pause", CLI: "tillstream pause connection", Summary: "Send nothing anywhere because of this connection's events"})
	set(schemas.PauseConnection, false, Route{Path: "/api/v1/connections/{name}/resume", CLI: "tillstream resume connection", Summary: "Let go on what a paused connection's events caused"})
}
