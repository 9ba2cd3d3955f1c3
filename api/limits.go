package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/tillstream/tillstream/pipeline/limits"
)

// Limits says how the accounts at providers stand.
type Limits interface {
	Look(ctx context.Context) ([]limits.View, error)
}

// LimitList is the answer of GET /api/v1/limits.
type LimitList struct {
	Accounts []limits.View `json:"accounts"`
}

// SetLimits has the handler answer about limits through l.
func (b *Board) SetLimits(l Limits) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limits = l
}

func (b *Board) limitRoutes(t *table) {
	part := served[Limits]{
		of: func() (Limits, bool) {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.limits, b.limits != nil
		},
		missing: "this process knows no accounts",
	}
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/limits", Role: Viewer, CLI: "tillstream limits", Answer: LimitList{},
		Summary: "Each account: its windows with used, left and reset, the silence that it asked for, and who waits",
	}, func(l Limits, r *http.Request, _ *query) (any, error) {
		list, err := l.Look(r.Context())
		if err != nil {
			return nil, fmt.Errorf("redis does not say how the accounts stand: %v", err) // a time-out is its own, not a provider's
		}
		return LimitList{list}, nil
	})
}
