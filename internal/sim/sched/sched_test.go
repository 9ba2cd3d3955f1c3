package sched

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func seeded(seed uint64) *Sched { return New(rand.New(rand.NewPCG(seed, 1)), start) }

// history runs three processes that sleep, wait and talk, and returns what happened in which order.
func history(t *testing.T, seed uint64) string {
	t.Helper()
	s := seeded(seed)
	var b strings.Builder
	running := 3
	for i := range 3 {
		p := s.NewProc(fmt.Sprint("p", i), 0)
		p.Go(func() {
			g := p.NewGroup()
			for k := range 3 {
				g.Go(func() {
					_ = p.Sleep(context.Background(), time.Duration(k)*time.Second)
					fmt.Fprintf(&b, "%s/%d@%v ", p.Name, k, p.Now().Sub(start))
				})
			}
			g.Wait()
			running--
		})
	}
	if err := s.Run(1000, func() bool { return running == 0 }); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSameSeedSameHistory(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(20) {
		a, b := history(t, seed), history(t, seed)
		if a != b {
			t.Fatalf("seed %d: %q, then %q", seed, a, b)
		}
		seen[a] = true
	}
	if len(seen) < 10 {
		t.Errorf("20 seeds gave only %d histories", len(seen))
	}
}

func TestTimeMovesOnlyWhenNothingRuns(t *testing.T) {
	s := seeded(1)
	p := s.NewProc("p", time.Hour)
	var at []time.Duration
	done := false
	p.Go(func() {
		for range 3 {
			p.Yield()
			at = append(at, s.Elapsed())
		}
		_ = p.Sleep(context.Background(), 5*time.Second)
		at = append(at, s.Elapsed())
		if got, want := p.Now(), start.Add(time.Hour+5*time.Second); !got.Equal(want) {
			t.Errorf("the clock of the process says %v, want %v", got, want)
		}
		done = true
	})
	if err := s.Run(100, func() bool { return done }); err != nil {
		t.Fatal(err)
	}
	if want := []time.Duration{0, 0, 0, 5 * time.Second}; !slices.Equal(at, want) {
		t.Errorf("moments %v, want %v", at, want)
	}
}

// TestKillUnwinds: a killed process runs its deferred calls, none of which has an effect, and leaves no goroutine.
func TestKillUnwinds(t *testing.T) {
	before := runtime.NumGoroutine()
	for seed := range uint64(50) {
		s := seeded(seed)
		p := s.NewProc("p", 0)
		effects, unwound := 0, 0
		for range 5 {
			p.Go(func() {
				defer func() { unwound++ }()
				defer func() {
					_ = p.Sleep(context.Background(), time.Second)
					effects++
				}()
				g := p.NewGroup()
				g.Go(func() { _ = p.NewSignal().Wait(context.Background()) })
				g.Wait()
				effects++
			})
		}
		s.After(time.Second, p.Kill)
		killed := false
		s.After(2*time.Second, func() { killed = true })
		if err := s.Run(1000, func() bool { return killed }); err != nil {
			t.Fatal(err)
		}
		if effects != 0 || unwound != 5 || s.Live() != 0 {
			t.Fatalf("effects %d, unwound %d, live %d; want 0, 5, 0", effects, unwound, s.Live())
		}
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}

// TestKillItself: the coroutine that kills its own process goes no further than its next call.
func TestKillItself(t *testing.T) {
	s := seeded(1)
	p := s.NewProc("p", 0)
	past := false
	p.Go(func() {
		p.Kill()
		p.Yield()
		past = true
	})
	steps := 0
	if err := s.Run(100, func() bool { steps++; return steps > 10 || s.Live() == 0 }); err != nil {
		t.Fatal(err)
	}
	if past || s.Live() != 0 {
		t.Errorf("past %v, live %d", past, s.Live())
	}
}

func TestPauseWakesLate(t *testing.T) {
	s := seeded(1)
	p := s.NewProc("p", 0)
	var woke time.Duration
	var err error
	p.Go(func() {
		ctx, cancel := p.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		err = p.NewSignal().Wait(ctx)
		woke = s.Elapsed()
	})
	s.After(time.Second, func() { p.Pause(10 * time.Second) })
	if e := s.Run(100, func() bool { return woke > 0 }); e != nil {
		t.Fatal(e)
	}
	if woke != 11*time.Second || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("woke at %v with %v, want 11s with a deadline", woke, err)
	}
}

func TestContexts(t *testing.T) {
	s := seeded(1)
	p := s.NewProc("p", 0)
	ran, done := false, false
	p.Go(func() {
		ctx, cancel := context.WithCancel(context.Background())
		p.AfterFunc(ctx, func() { ran = true })
		stopped := p.AfterFunc(ctx, func() { t.Error("a stopped function ran") })
		stopped()
		g := p.NewGroup()
		g.Go(func() {
			child, stop := p.WithTimeout(ctx, time.Hour)
			defer stop()
			if err := p.Sleep(child, time.Minute); !errors.Is(err, context.Canceled) {
				t.Errorf("Sleep: %v", err)
			}
		})
		_ = p.Sleep(ctx, time.Second)
		cancel()
		g.Wait()
		p.Yield()
		p.Yield()
		done = true
	})
	if err := s.Run(100, func() bool { return done && ran }); err != nil {
		t.Fatal(err)
	}
	if s.Elapsed() != time.Second {
		t.Errorf("ended after %v, want 1s", s.Elapsed())
	}
}

func TestFindings(t *testing.T) {
	s := seeded(1)
	p := s.NewProc("stuck", 0)
	p.Go(func() { _ = p.NewSignal().Wait(context.Background()) })
	var dead *DeadlockError
	if err := s.Run(100, func() bool { return false }); !errors.As(err, &dead) || !slices.Equal(dead.Waiting, []string{"stuck"}) {
		t.Errorf("got %v, want a deadlock of stuck", err)
	}
	s.End(p)
	s = seeded(1)
	q := s.NewProc("q", 0)
	q.Go(func() {
		for {
			q.Yield()
		}
	})
	var steps *StepsError
	if err := s.Run(100, func() bool { return false }); !errors.As(err, &steps) {
		t.Errorf("got %v, want too many steps", err)
	}
	s.End(q)
	s = seeded(1)
	r := s.NewProc("r", 0)
	r.Go(func() { panic("boom") })
	if err := s.Run(100, func() bool { return false }); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("got %v, want the panic", err)
	}
}

func BenchmarkSwitch(b *testing.B) {
	s := seeded(1)
	p := s.NewProc("p", 0)
	n := 0
	for range 10 {
		p.Go(func() {
			for n < b.N {
				n++
				_ = p.Sleep(context.Background(), time.Millisecond)
			}
		})
	}
	if err := s.Run(1<<40, func() bool { return s.Live() == 0 }); err != nil {
		b.Fatal(err)
	}
}
