package limits

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tillstream/tillstream/outbound"
)

// sharedHold is what an account without limits knows of the hold that other processes set.
type sharedHold struct {
	until  atomic.Int64 // in time of the book, nanoseconds
	looked atomic.Int64
	busy   sync.Mutex
}

// free is a use of an account that has no limits: only holds are kept. It asks Redis beside the requests, at most once in
// sharedHoldFor, and does not wait for it: there is no rate that could be exceeded.
type free struct {
	account *account
	use     *use
}

// Acquire implements outbound.Limiter.
func (f *free) Acquire(ctx context.Context) (outbound.Turn, error) {
	a := f.account
	for {
		now := a.book.span()
		if now-time.Duration(a.shared.looked.Load()) > sharedHoldFor || a.shared.looked.Load() == 0 {
			a.look(now)
		}
		wait := max(a.heldFor(), time.Duration(a.shared.until.Load())-now)
		if wait <= 0 {
			f.use.counts.turns.Add(1)
			return &freeTurn{free: f}, nil
		}
		f.use.counts.waiting.Add(1)
		err := sleep(ctx, min(wait, waitMax), nil)
		f.use.counts.waiting.Add(-1)
		f.use.counts.waited.Add(int64(a.book.span() - now))
		if err != nil {
			return nil, fmt.Errorf("rate limit of %s: waiting for the silence that the provider asked for: %w", a.name, err)
		}
	}
}

// look reads the hold in the background, once at a time.
func (a *account) look(now time.Duration) {
	if !a.shared.busy.TryLock() {
		return
	}
	a.shared.looked.Store(max(int64(now), 1))
	go func() {
		defer a.shared.busy.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), redisTimeout)
		defer cancel()
		var clock *redis.TimeCmd
		var hold *redis.StringCmd
		_, err := a.book.o.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			clock, hold = p.Time(ctx), p.HGet(ctx, a.keys[0], "hold")
			return nil
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			return // what this process knows itself goes on to count
		}
		var left time.Duration
		if at, err := hold.Int64(); err == nil {
			left = time.UnixMicro(at).Sub(clock.Val())
		}
		a.shared.until.Store(int64(a.book.span() + max(left, 0)))
	}()
}

type freeTurn struct {
	free *free
	done atomic.Bool
}

var _ outbound.Timeless = (*freeTurn)(nil)

// Timeless implements outbound.Timeless.
func (t *freeTurn) Timeless() {}

// Renew implements outbound.Turn.
func (t *freeTurn) Renew(context.Context, bool) error { return nil }

// Done implements outbound.Turn.
func (t *freeTurn) Done(f outbound.Feedback) {
	if t.done.Swap(true) || f.Hold <= 0 {
		return
	}
	t.free.account.holdFor(f.Hold)
	told := turn{use: t.free.use}
	ctx, cancel := context.WithTimeout(context.Background(), redisTimeout)
	defer cancel()
	_ = told.learn(ctx, f) // this process keeps the silence whatever others hear of it
}
