package sim

import (
	"context"
	"errors"
	"io"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/internal/sim/sched"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
)

// role is what the processes of a world do that is no stage.
type role interface {
	// topics makes them.
	topics()
	// begin plans the work that comes in over span.
	begin(span int64)
	// run is one process's life, until env.ctx ends.
	run(env roleEnv) error
	// behind tells what is left to do; empty: nothing.
	behind() string
	// calm is told when the faults end.
	calm()
	check()
	groups() []string
}

// roleEnv is what a process is given.
type roleEnv struct {
	s       *slot
	p       *sched.Proc
	ctx     context.Context
	cluster kafka.Log
	clock   clock.Clock
	random  io.Reader
	log     zerolog.Logger
}

func newRole(w *world) role {
	switch w.cfg.Kind {
	case kindLoad:
		return newLoading(w)
	case kindDeliver:
		return newDelivering(w)
	case kindIngest:
		return newReceiving(w)
	case kindJobs:
		return newRetrying(w)
	}
	return nil
}

var errNoAnswer = errors.New("no answer")

// remote is one request of a process to something that is neither Kafka nor the store. effect runs there, unless the
// request is lost; the error is about the way. sent says that the request may have had its effect.
func (w *world) remote(ctx context.Context, p *sched.Proc, name string, effect func()) (sent bool, err error) {
	p.Check()
	if err := ctx.Err(); err != nil {
		return false, err
	}
	f := w.nemesis.Fate(p, name)
	done, back := false, w.s.NewCond()
	w.s.After(f.Request, func() {
		if !f.LoseRequest {
			effect()
			w.nemesis.Effect(p, name)
		}
		w.s.After(f.Answer, func() {
			done = true
			back.Broadcast()
		})
	})
	for !done {
		if err := back.Wait(ctx, p); err != nil && !done {
			return true, err
		}
	}
	if f.LoseAnswer || f.LoseRequest {
		return true, errNoAnswer
	}
	return true, nil
}
