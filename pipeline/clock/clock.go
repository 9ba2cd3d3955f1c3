// Package clock is time, and what runs beside its caller, as the pipeline uses them.
//
// The engine, delivery and the loader wait, start work beside them and ask for the time through a Clock only. In a
// process that is the machine's clock and goroutines; in the simulator it is one seeded scheduler, which decides what
// runs next at every one of these calls and so repeats a history exactly.
package clock

import (
	"context"
	"sync"
	"time"
)

// Clock is time, and work beside.
type Clock interface {
	Now() time.Time
	// Sleep waits for d or for the end of ctx, whose error it returns.
	Sleep(ctx context.Context, d time.Duration) error
	// WithTimeout returns a copy of ctx that ends after d. The cancel function must be called, as in package context.
	WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
	// AfterFunc runs f beside the caller once ctx has ended, unless stop was called before.
	AfterFunc(ctx context.Context, f func()) (stop func())
	NewGroup() Group
	NewSignal() Signal
}

// Group is work that runs beside its starter. Several may start and wait.
type Group interface {
	Go(f func())
	// Wait returns when all of it has ended.
	Wait()
}

// Signal wakes whoever waits for it: after a Notify the present Wait, or the next one, returns. It does not count.
type Signal interface {
	Notify()
	// Wait returns nil after a Notify, else the error of ctx.
	Wait(ctx context.Context) error
}

// System returns the machine's clock, with goroutines.
func System() Clock { return system{} }

type system struct{}

func (system) Now() time.Time { return time.Now() }

func (system) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (system) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}

func (system) AfterFunc(ctx context.Context, f func()) (stop func()) {
	s := context.AfterFunc(ctx, f)
	return func() { s() }
}

func (system) NewGroup() Group   { return new(sync.WaitGroup) }
func (system) NewSignal() Signal { return make(signal, 1) }

type signal chan struct{}

func (s signal) Notify() {
	select {
	case s <- struct{}{}:
	default:
	}
}

func (s signal) Wait(ctx context.Context) error {
	select {
	case <-s:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
