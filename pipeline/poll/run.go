package poll

import (
	"context"
	"slices"
	"strings"
)

// Run polls until ctx ends.
func (r *Runner) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

type worker struct{}

// Status tells how every connection stands, in the order of their names.
func (r *Runner) Status() []Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Status, 0, len(r.wanted))
	for _, c := range r.wanted {
		out = append(out, Status{Connection: c.Name, Environment: c.Environment})
	}
	slices.SortFunc(out, func(a, b Status) int { return strings.Compare(a.Connection, b.Connection) })
	return out
}
