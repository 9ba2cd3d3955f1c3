package limits

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/tillstream/tillstream/outbound"
)

// Redis is emptied every few seconds, or set back to what it was. The second holds whatever happens, and with it most of
// the long window, which processes restore.
func TestRedisLosesItsMemory(t *testing.T) {
	for _, lose := range []struct {
		name string
		do   func(m *miniredis.Miniredis, saved map[string]map[string]string)
	}{
		{"emptied", func(m *miniredis.Miniredis, _ map[string]map[string]string) { m.FlushAll() }},
		{"set back", func(m *miniredis.Miniredis, saved map[string]map[string]string) {
			m.FlushAll()
			for key, fields := range saved {
				for field, value := range fields {
					m.HSet(key, field, value)
				}
			}
		}},
	} {
		t.Run(lose.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, m *miniredis.Miniredis) {
				const spent = 2 * time.Minute
				l := outbound.Limits{Windows: []outbound.Window{{Requests: 5, Per: time.Second}, {Requests: 60, Per: time.Minute}}, Parallel: 3}
				ctx, cancel := context.WithTimeout(t.Context(), spent)
				defer cancel()
				p := &provider{}
				books := []*Book{process(t, m, "a"), process(t, m, "b"), process(t, m, "c")}
				done := workers(6, func(i int) {
					p.work(ctx, t, books[i%3].Use("crm", "use", l), "use", time.Duration(i)*9*time.Millisecond, 700*time.Millisecond)
				})
				time.Sleep(3 * time.Second)
				a := books[0].list()[0]
				saved := map[string]map[string]string{}
				for _, key := range a.keys[:2] {
					saved[key] = map[string]string{}
					fields, _ := m.HKeys(key)
					for _, f := range fields {
						saved[key][f] = m.HGet(key, f)
					}
				}
				for ctx.Err() == nil {
					time.Sleep(7300 * time.Millisecond)
					lose.do(m, saved)
				}
				done.Wait()
				if got := p.most(time.Second); got > 5 {
					t.Errorf("got %d within a second, want at most 5", got)
				}
				if got := p.most(time.Minute); got > 60 {
					t.Errorf("got %d within a minute, want at most 60", got)
				}
				if p.top > 3 {
					t.Errorf("got %d at a time, want at most 3", p.top)
				}
				if got := p.count("use"); got < 100 {
					t.Errorf("got %d requests, want nearly 120: what is lost costs a second each time", got)
				}
				if a.counts.restored < 10 {
					t.Errorf("restored %d times, want each time", a.counts.restored)
				}
				time.Sleep(time.Second)
			})
		})
	}
}

// Processes stop for up to three seconds between their turn and its use, as one that the machine suspends does. What is
// noticed before the request is written is not used.
func TestATurnThatCameTooLateIsNotUsed(t *testing.T) {
	bubble(t, func(t *testing.T, m *miniredis.Miniredis) {
		const spent = 90 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), spent)
		defer cancel()
		p := &provider{}
		var stops atomic.Int64
		workers(6, func(i int) {
			random := rand.New(rand.NewPCG(3, uint64(i)))
			l := process(t, m, name(i%3)).Use("crm", "use", crm)
			for {
				turn, err := l.Acquire(ctx)
				if err != nil {
					return
				}
				if random.IntN(10) == 0 {
					stops.Add(1)
					time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
				}
				if turn.Renew(ctx, false) != nil {
					return
				}
				time.Sleep(time.Duration(random.IntN(15)) * time.Millisecond)
				p.arrive("use")
				p.leave()
				turn.Done(outbound.Feedback{Status: 200, Latency: 20 * time.Millisecond})
			}
		}).Wait()
		if got := p.most(time.Second); got > 5 {
			t.Errorf("got %d within a second, want at most 5", got)
		}
		if got, want := p.count("use"), int(0.75*5*spent.Seconds()); got < want {
			t.Errorf("got %d requests, want %d: a tenth of the turns were lost", got, want)
		}
		t.Logf("%d requests, %d stops", p.count("use"), stops.Load())
	})
}

// share is what is made use of the configured rate.
func share(t *testing.T, b *Book) float64 {
	t.Helper()
	list, err := b.Look(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("got %v, %v", list, err)
	}
	return list[0].Share
}

// A provider that allows less than it says is met with less, by refusals alone; when it allows more again, so is that.
func TestTheRateLearnsFromRefusals(t *testing.T) {
	bubble(t, func(t *testing.T, m *miniredis.Miniredis) {
		b := process(t, m, "a")
		l := b.Use("crm", "use", crm)
		var arrived []time.Time
		refused, sent := 0, 0
		work := func(spent time.Duration, allowed int) {
			refused, sent = 0, 0
			for end := time.Now().Add(spent); time.Now().Before(end); {
				turn, err := l.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				now := time.Now()
				for len(arrived) > 0 && now.Sub(arrived[0]) >= time.Second {
					arrived = arrived[1:]
				}
				f := outbound.Feedback{Status: 200, Latency: 50 * time.Millisecond}
				sent++
				if len(arrived) >= allowed {
					f = outbound.Feedback{Status: 429, Latency: 50 * time.Millisecond, Hold: time.Second}
					refused++
				} else {
					arrived = append(arrived, now)
				}
				time.Sleep(50 * time.Millisecond)
				turn.Done(f)
			}
		}
		work(time.Minute, 5)
		if got := share(t, b); got != 1 || refused > 0 {
			t.Errorf("with all allowed: share %.2f and %d refused, want all of it", got, refused)
		}
		work(5*time.Minute, 2)
		if got := share(t, b); got < shareMin || got > 0.75 {
			t.Errorf("with 2 a second allowed: share %.2f", got)
		}
		if part := float64(refused) / float64(sent); part > 0.12 {
			t.Errorf("%d of %d requests were refused, %.0f %%: want few", refused, sent, part*100)
		}
		if rate := float64(sent-refused) / 300; rate < 1 {
			t.Errorf("got %.2f requests a second through, want 1 of 2 at the least", rate)
		}
		t.Logf("2 a second allowed: %d sent, %d refused, share %.2f", sent, refused, share(t, b))
		work(time.Minute, 5)
		if got := share(t, b); got != 1 {
			t.Errorf("with all allowed again: share %.2f, want all of it within a minute", got)
		}
	})
}

// However much is refused, the rate goes no lower than its floor.
func TestTheRateHasAFloor(t *testing.T) {
	bubble(t, func(t *testing.T, m *miniredis.Miniredis) {
		b := process(t, m, "a")
		l := b.Use("crm", "use", crm)
		for range 60 {
			turn, err := l.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			turn.Done(outbound.Feedback{Status: 429, Hold: time.Second})
		}
		if got := share(t, b); got != shareMin {
			t.Errorf("got %.2f, want %.2f", got, shareMin)
		}
	})
}

// Answers that take many times what is usual slow the account down; the usual ones let it go on.
func TestTheRateLearnsFromSlowness(t *testing.T) {
	bubble(t, func(t *testing.T, m *miniredis.Miniredis) {
		b := process(t, m, "a")
		l := b.Use("crm", "use", crm)
		work := func(n int, latency time.Duration) {
			for range n {
				turn, err := l.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(latency)
				turn.Done(outbound.Feedback{Status: 200, Latency: latency})
			}
		}
		work(100, 100*time.Millisecond)
		if got := share(t, b); got != 1 {
			t.Errorf("at the usual: share %.2f, want 1", got)
		}
		work(10, 8*time.Second)
		if got := share(t, b); got >= 0.9 || got < shareMin {
			t.Errorf("at eighty times the usual: share %.2f", got)
		}
		work(300, 100*time.Millisecond)
		if got := share(t, b); got != 1 {
			t.Errorf("at the usual again: share %.2f, want 1", got)
		}
	})
}

// Another program on the account shows in the provider's count: we leave it its room, and take that back.
func TestOtherProgramsAreLeftTheirRoom(t *testing.T) {
	bubble(t, func(t *testing.T, m *miniredis.Miniredis) {
		b := process(t, m, "a")
		l := b.Use("crm", "use", crm)
		var own []time.Time
		work := func(spent time.Duration, others int64, latency time.Duration) {
			for end := time.Now().Add(spent); time.Now().Before(end); {
				turn, err := l.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				now := time.Now()
				own = append(own, now)
				for len(own) > 0 && now.Sub(own[0]) >= time.Second {
					own = own[1:]
				}
				left := 5 - others - int64(len(own))
				time.Sleep(latency)
				f := outbound.Feedback{Status: 200, Latency: latency, Told: outbound.Told{Limit: 5, Left: max(left, 0)}}
				if left < 0 {
					own = own[:len(own)-1]
					f.Status, f.Hold = 429, time.Second
				}
				turn.Done(f)
			}
		}
		for _, latency := range []time.Duration{30 * time.Millisecond, 400 * time.Millisecond, 1300 * time.Millisecond} {
			work(30*time.Second, 0, latency)
			if got := share(t, b); got != 1 {
				t.Errorf("alone, answers after %s: share %.2f, want all of it", latency, got)
			}
		}
		work(time.Minute, 2, 30*time.Millisecond)
		if got := share(t, b); got < 0.55 || got > 0.85 {
			t.Errorf("beside 2 a second of others: share %.2f, want 0.6 to 0.8", got)
		}
		work(30*time.Second, 0, 30*time.Millisecond)
		if got := share(t, b); got != 1 {
			t.Errorf("alone again: share %.2f, want all of it", got)
		}
	})
}

// The provider's own count of the long window closes it before ours does, until its reset.
func TestTheProvidersCountCloses(t *testing.T) {
	bubble(t, func(t *testing.T, m *miniredis.Miniredis) {
		shop := outbound.Limits{Windows: []outbound.Window{{Requests: 80, Per: time.Second}, {Requests: 30_000, Per: 10 * time.Minute}}, Parallel: 10}
		b := process(t, m, "a")
		l := b.Use("shop", "use", shop)
		turn, err := l.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		turn.Done(outbound.Feedback{Status: 200, Told: outbound.Told{Limit: 30_000, Left: 3, Reset: 267 * time.Second}})
		began := time.Now()
		for i := range 4 {
			turn, err := l.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); i < 3 && took > time.Second || i == 3 && (took < 267*time.Second || took > 268*time.Second) {
				t.Errorf("request %d after %s: want three at once, and the fourth at the reset", i+1, took)
			}
			turn.Done(outbound.Feedback{Status: 200})
			if i == 2 {
				list, err := b.Look(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if w := list[0].Windows[1]; w.Left != 0 || w.Reset.Sub(began).Round(time.Second) != 267*time.Second {
					t.Errorf("shown %+v, want nothing left, and the provider's reset", w)
				}
			}
		}
		time.Sleep(time.Second)
	})
}

// A bucket that was refused holds up itself, not the account.
func TestARefusedBucketHoldsItself(t *testing.T) {
	bubble(t, func(t *testing.T, m *miniredis.Miniredis) {
		l := outbound.Limits{Windows: crm.Windows, Buckets: []outbound.Bucket{{Name: "bulk", Windows: []outbound.Window{{Requests: 100, Per: time.Minute}}}}}
		u := process(t, m, "a").Use("crm", "a", l)
		bulk := outbound.InBucket(t.Context(), "bulk")
		turn, err := u.Acquire(bulk)
		if err != nil {
			t.Fatal(err)
		}
		turn.Done(outbound.Feedback{Status: 429, Hold: 30 * time.Second})
		began := time.Now()
		if _, err := u.Acquire(t.Context()); err != nil || time.Since(began) > 2*time.Second {
			t.Errorf("the account goes on after %s (%v), want a second at most", time.Since(began), err)
		}
		if _, err := u.Acquire(bulk); err != nil || time.Since(began) < 30*time.Second {
			t.Errorf("the bucket goes on after %s (%v), want 30 s", time.Since(began), err)
		}
	})
}
