package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// Managed is what a process lends to who manages its configuration. What is not there yet, its functions say.
type Managed struct {
	Versions   func(ctx context.Context) (*Versions, error)
	Runs       func(ctx context.Context, q api.RunsQuery) ([]chsink.WorkflowRuns, error)
	Background func(f func(ctx context.Context))
	Append     func(ctx context.Context, topic string, e *schemas.OrderEvent) error
}

var (
	errNoVersions = errors.New("kafka, where the versions of the configuration are kept, is not reached yet")
	errNoRuns     = errors.New("no ClickHouse is known, where runs are counted, or it is not reached yet")
	errNoGate     = errors.New("this process appends no events, or does not yet")
)

// showManaging has the management port answer about the configuration.
func (p *process) showManaging(ctx context.Context) {
	if p.Manage == nil {
		return
	}
	p.board.SetManaging(p.Manage(Managed{
		Versions: func(context.Context) (*Versions, error) {
			if v := p.managed.versions.Load(); v != nil {
				return v, nil
			}
			return nil, errNoVersions
		},
		Runs: func(ctx context.Context, q api.RunsQuery) ([]chsink.WorkflowRuns, error) {
			s := p.managed.runs.Load()
			if s == nil {
				return nil, errNoRuns
			}
			return s.Runs(ctx, chsink.RunsFilter{Workflow: q.Workflow, Store: q.Store, Environment: q.Environment, Since: q.Since, Until: q.Until})
		},
		Background: func(f func(ctx context.Context)) { go f(ctx) },
		Append: func(ctx context.Context, topic string, e *schemas.OrderEvent) error {
			if p.gate.open.Load() == nil {
				return errNoGate
			}
			value, err := p.gate.encode(e)
			if err != nil {
				return fmt.Errorf("encode the event: %w", err)
			}
			return p.gate.Append(ctx, topic, e.Key(), value)
		},
	}))
}
