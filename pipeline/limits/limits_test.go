package limits

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/tillstream/tillstream/outbound"
)

// Three processes with several requests each, whose ways there are uneven: no second holds more than five, and the rate is
// made use of.
func TestAllProcessesTogetherKeepTheRate(t *testing.T) {
	bubble(t, func(t *testing.T, m *miniredis.Miniredis) {
		const spent = 2 * time.Minute
		ctx, cancel := context.WithTimeout(t.Context(), spent)
		defer cancel()
		p := &provider{}
		workers(9, func(i int) {
			l := process(t, m, name(i/3)).Use("crm", "destination a", crm)
			way := time.Duration(rand.New(rand.NewPCG(1, uint64(i))).IntN(55)) * time.Millisecond
			p.work(ctx, t, l, "a", way, 300*time.Millisecond)
		}).Wait()
		if got := p.most(time.Second); got > 5 {
			t.Errorf("got %d within a second, want at most 5", got)
		}
		if got, want := p.count("a"), int(0.9*5*spent.Seconds()); got < want {
			t.Errorf("got %d requests in %s, want at least %d: 90 %% of the rate", got, spent, want)
		}
		t.Logf("%d requests, %.1f %% of the rate", p.count("a"), float64(p.count("a"))/spent.Seconds()/5*100)
	})
}

// The three kinds of limits that GetResponse has, at once.
func TestEveryWindowHolds(t *testing.T) {
	bubble(t, func(t *testing.T, m *miniredis.Miniredis) {
		shop := outbound.Limits{Windows: []outbound.Window{{Requests: 20, Per: time.Second}, {Requests: 150, Per: 12 * time.Second}}, Parallel: 4}
		const spent = 36 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), spent)
		defer cancel()
		p := &provider{}
		books := []*Book{process(t, m, "a"), process(t, m, "b"), process(t, m, "c")}
		workers(9, func(i int) {
			p.work(ctx, t, books[i%3].Use("shop", "destination shop", shop), "shop", 5*time.Millisecond, 160*time.Millisecond)
		}).Wait()
		if got := p.most(time.Second); got > 20 {
			t.Errorf("got %d within a second, want at most 20", got)
		}
		if got := p.most(12 * time.Second); got > 150 || got < 145 {
			t.Errorf("got %d within 12 s, want at most 150, and nearly that", got)
		}
		if p.top > 4 {
			t.Errorf("got %d at a time, want at most 4", p.top)
		}
		if got := p.count("shop"); got < 405 {
			t.Errorf("got %d in three windows, want 90 %% of 450", got)
		}
		t.Logf("%d requests, at most %d a second, %d in 12 s, %d at a time", p.count("shop"), p.most(time.Second), p.most(12*time.Second), p.top)
	})
}

// A use with a backlog starves none; what one leaves goes to the others.
func TestUsesShareEvenly(t *testing.T) {
	for _, tt := range []struct {
		name    string
		workers map[string]int // waiting at a time
		want    map[string]float64
	}{
		{"a backlog beside little work at a time", map[string]int{"big": 50, "small": 1}, map[string]float64{"big": 0.5, "small": 0.5}},
		{"three", map[string]int{"big": 50, "middle": 5, "small": 2}, map[string]float64{"big": 1. / 3, "middle": 1. / 3, "small": 1. / 3}},
		{"alone", map[string]int{"big": 20}, map[string]float64{"big": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, m *miniredis.Miniredis) {
				const spent = 2 * time.Minute
				ctx, cancel := context.WithTimeout(t.Context(), spent)
				defer cancel()
				p := &provider{}
				var waits []func()
				for use, n := range tt.workers {
					l := process(t, m, use).Use("crm", use, crm) // each in a process of its own
					waits = append(waits, workers(n, func(int) { p.work(ctx, t, l, use, 0, 100*time.Millisecond) }).Wait)
				}
				for _, wait := range waits {
					wait()
				}
				all := float64(len(p.arrived))
				if all < 0.9*5*spent.Seconds() {
					t.Errorf("got %v requests, want 90 %% of the rate", all)
				}
				for use, want := range tt.want {
					if got := float64(p.count(use)) / all; got < 0.9*want || got > 1.1*want {
						t.Errorf("%s got a share of %.3f, want %.3f within 10 %%", use, got, want)
					}
				}
			})
		})
	}
}

// A process that is gone with its turn due keeps the others waiting once, and no longer.
func TestADeadProcessKeepsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, m *miniredis.Miniredis) {
		parallel := outbound.Limits{Windows: crm.Windows, Parallel: 2}
		gone := process(t, m, "gone").Use("crm", "gone", parallel)
		ctx, cancel := context.WithCancel(t.Context())
		for range 2 {
			if _, err := gone.Acquire(ctx); err != nil { // and never ended
				t.Fatal(err)
			}
		}
		a := gone.(*use).account
		a.mu.Lock()
		clear(a.leases) // it beats no longer
		a.mu.Unlock()
		go func() { _, _ = gone.Acquire(ctx) }()
		time.Sleep(time.Second)
		cancel()
		l := process(t, m, "alive").Use("crm", "alive", parallel)
		began := time.Now()
		turn, err := l.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		turn.Done(outbound.Feedback{Status: 200})
		if took := time.Since(began); took > leaseFor {
			t.Errorf("a dead process's requests count for %s, want %s at most", took, leaseFor)
		}
		time.Sleep(requestMax) // the beat ends
	})
}

// A request that takes long keeps its lease.
func TestALongRequestCountsToItsEnd(t *testing.T) {
	bubble(t, func(t *testing.T, m *miniredis.Miniredis) {
		one := outbound.Limits{Parallel: 1}
		long, err := process(t, m, "a").Use("crm", "a", one).Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		time.AfterFunc(40*time.Second, func() { long.Done(outbound.Feedback{Status: 200}) })
		next, err := process(t, m, "b").Use("crm", "b", one).Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		next.Done(outbound.Feedback{})
		if took := time.Since(began); took < 40*time.Second || took > 41*time.Second {
			t.Errorf("the second request went after %s, want it when the first ended, after 40 s", took)
		}
		time.Sleep(time.Second)
	})
}

func TestHoldIsSharedAndNeverShortened(t *testing.T) {
	for _, l := range []outbound.Limits{crm, {}} {
		bubble(t, func(t *testing.T, m *miniredis.Miniredis) {
			a, b := process(t, m, "a").Use("crm", "x", l), process(t, m, "b").Use("crm", "y", l)
			other := process(t, m, "b").Use("another", "x", l)
			for _, l := range []outbound.Limiter{a, b, other} {
				if _, err := l.Acquire(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			for _, d := range []time.Duration{time.Minute, 30 * time.Second} {
				(&turnOf{a}).hold(d)
			}
			time.Sleep(2 * sharedHoldFor)
			_, _ = b.Acquire(canceled(t)) // an unlimited use looks beside its requests
			time.Sleep(time.Second)
			if _, err := other.Acquire(t.Context()); err != nil || time.Since(began) > 10*time.Second {
				t.Errorf("another account: %v after %s", err, time.Since(began))
			}
			if _, err := b.Acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took < time.Minute || took > 61*time.Second {
				t.Errorf("limits %v: another process went after %s, want the longest hold, a minute", l, took)
			}
			time.Sleep(requestMax)
		})
	}
}

// turnOf makes answers of an account.
type turnOf struct{ l outbound.Limiter }

func (o *turnOf) hold(d time.Duration) {
	f := outbound.Feedback{Status: 429, Hold: d}
	switch l := o.l.(type) {
	case *use:
		(&turn{use: l}).Done(f)
	case *free:
		(&freeTurn{free: l}).Done(f)
	}
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// A bucket's requests count in the account's windows too, and hold up only themselves.
func TestBuckets(t *testing.T) {
	bubble(t, func(t *testing.T, m *miniredis.Miniredis) {
		l := outbound.Limits{Windows: crm.Windows, Buckets: []outbound.Bucket{{Name: "bulk", Windows: []outbound.Window{{Requests: 20, Per: time.Minute}}}}}
		u := process(t, m, "a").Use("crm", "a", l)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		p := &provider{}
		bulk := &provider{}
		plain := workers(3, func(int) { p.work(ctx, t, u, "plain", 0, 10*time.Millisecond) })
		both := workers(3, func(int) {
			bulk.work(outbound.InBucket(ctx, "bulk"), t, u, "bulk", 0, 10*time.Millisecond)
		})
		plain.Wait()
		both.Wait()
		if got := bulk.most(time.Minute); got > 20 || got < 19 {
			t.Errorf("got %d of the bucket in a minute, want 20", got)
		}
		all := &provider{arrived: append(p.arrived, bulk.arrived...)}
		if got := all.most(time.Second); got > 5 {
			t.Errorf("got %d in a second with those of the bucket, want 5", got)
		}
		if got, want := len(all.arrived), int(0.9*5*120); got < want {
			t.Errorf("got %d requests, want %d: who waits for the bucket holds up nobody", got, want)
		}
	})
}

func TestRedisAway(t *testing.T) {
	bubble(t, func(t *testing.T, m *miniredis.Miniredis) {
		l := process(t, m, "a").Use("crm", "a", crm)
		if _, err := l.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.SetError("LOADING Redis is loading the dataset in memory")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := l.Acquire(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "redis does not answer") {
			t.Errorf("got %v, want a wait to the end, and why", err)
		}
		free := process(t, m, "b").Use("open", "a", outbound.Limits{})
		for range 3 {
			if _, err := free.Acquire(t.Context()); err != nil {
				t.Errorf("an account without limits: %v", err)
			}
		}
		m.SetError("")
		if _, err := l.Acquire(t.Context()); err != nil {
			t.Errorf("redis is back: %v", err)
		}
	})
}
