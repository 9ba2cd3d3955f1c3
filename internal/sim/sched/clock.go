package sched

import (
	"context"
	"slices"
	"time"

	"github.com/tillstream/tillstream/pipeline/clock"
)

var _ clock.Clock = (*Proc)(nil)

// Now is the time as the process sees it.
func (p *Proc) Now() time.Time { return p.s.base.Add(p.s.now + p.skew) }

// Sleep implements clock.Clock.
func (p *Proc) Sleep(ctx context.Context, d time.Duration) error {
	p.Check()
	if err := ctx.Err(); err != nil {
		return err
	}
	c, done := p.s.cur, false
	t := p.s.timer(d, func() {
		done = true
		p.s.wake(c)
	})
	for !done && ctx.Err() == nil {
		p.wait(ctx)
	}
	t.f = nil
	if done {
		return nil
	}
	return ctx.Err()
}

// Yield lets others run.
func (p *Proc) Yield() {
	p.Check()
	s := p.s
	c := s.cur
	c.isReady = true
	s.ready = append(s.ready, c)
	if !c.yield(struct{}{}) {
		panic(killed{})
	}
	p.Check()
}

// timeout is a context that ends by virtual time. Contexts made of it end with Canceled: package context lets no other
// error through without a goroutine of its own.
type timeout struct {
	context.Context
	expired *bool
}

func (t timeout) Err() error {
	err := t.Context.Err()
	if err != nil && *t.expired {
		return context.DeadlineExceeded
	}
	return err
}

// Deadline implements context.Context. It is left out: the standard library would compare it with the machine's clock.
func (t timeout) Deadline() (time.Time, bool) { return time.Time{}, false }

// WithTimeout implements clock.Clock.
func (p *Proc) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	p.Check()
	inner, cancel := context.WithCancel(ctx)
	t := timeout{Context: inner, expired: new(bool)}
	if d <= 0 {
		*t.expired = true
		cancel()
		return t, cancel
	}
	tm := p.s.timer(d, func() {
		if inner.Err() == nil {
			*t.expired = true
			cancel()
		}
	})
	return t, func() {
		tm.f = nil
		cancel()
	}
}

type afterFunc struct {
	p   *Proc
	ctx context.Context
	f   func()
}

// AfterFunc implements clock.Clock.
func (p *Proc) AfterFunc(ctx context.Context, f func()) (stop func()) {
	p.Check()
	a := &afterFunc{p, ctx, f}
	p.s.after = append(p.s.after, a)
	return func() {
		if i := slices.Index(p.s.after, a); i >= 0 {
			p.s.after = slices.Delete(p.s.after, i, i+1)
		}
	}
}

// NewGroup implements clock.Clock.
func (p *Proc) NewGroup() clock.Group { return &group{p: p, cond: p.s.NewCond()} }

type group struct {
	p    *Proc
	n    int
	cond *Cond
}

func (g *group) Go(f func()) {
	g.n++
	g.p.Go(func() {
		defer func() {
			if g.n--; g.n == 0 {
				g.cond.Broadcast()
			}
		}()
		f()
	})
}

func (g *group) Wait() {
	g.p.Check()
	for g.n > 0 {
		_ = g.cond.Wait(context.Background(), g.p) // nothing but the end of the work ends the wait
	}
}

// NewSignal implements clock.Clock.
func (p *Proc) NewSignal() clock.Signal { return &signal{p: p, cond: p.s.NewCond()} }

type signal struct {
	p    *Proc
	set  bool
	cond *Cond
}

func (s *signal) Notify() {
	s.set = true
	s.cond.Broadcast()
}

func (s *signal) Wait(ctx context.Context) error {
	s.p.Check()
	for !s.set {
		if err := s.cond.Wait(ctx, s.p); err != nil && !s.set {
			return err
		}
	}
	s.set = false
	return nil
}
