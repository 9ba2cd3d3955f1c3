//go:build synctests

package deliver

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

var drainContacts = flag.Int("drain-contacts", 2500, "contacts of TestDrainAtTheRateOfAnAccount; 20000 is a backlog of 100,000 changes")

const (
	spacing        = 200 * time.Millisecond // of requests: ActiveCampaign's five a second
	requestTakes   = 150 * time.Millisecond
	changesOfEach  = 5
	drainRatioMost = 1.1
)

// At five requests a second a backlog costs the requests that the contacts' newest states need, and no more; nor do
// changes that come while it drains, beyond those of a contact whose request was due before.
func TestDrainAtTheRateOfAnAccount(t *testing.T) {
	contacts := *drainContacts
	t.Run("all there at the start", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var all []change
			for i := range contacts * changesOfEach {
				all = append(all, change{0, i % contacts})
			}
			drainSpaced(t, contacts, all)
		})
	})
	t.Run("while it drains", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			dice := rand.New(rand.NewPCG(7, 3))
			var all []change
			for i := range contacts * changesOfEach {
				// Five times what the account takes.
				all = append(all, change{time.Duration(i) * spacing / changesOfEach, dice.IntN(contacts)})
			}
			drainSpaced(t, contacts, all)
		})
	})
}

// change is a new state of a contact.
type change struct {
	at  time.Duration
	who int
}

// leastRequests is what the changes cost where nothing but the rate is in the way: with each turn the contact that waits
// longest is sent its newest state. A contact that changes after its turn needs another.
func leastRequests(changes []change) (n int) {
	var waiting []int
	waits := map[int]bool{}
	for turn := time.Duration(0); len(changes) > 0 || len(waiting) > 0; turn += spacing {
		for len(changes) > 0 && changes[0].at <= turn {
			if who := changes[0].who; !waits[who] {
				waits[who] = true
				waiting = append(waiting, who)
			}
			changes = changes[1:]
		}
		if len(waiting) == 0 {
			continue
		}
		delete(waits, waiting[0])
		waiting = waiting[1:]
		n++
	}
	return n
}

func TestLeastRequests(t *testing.T) {
	for _, c := range []struct {
		changes []change
		want    int
	}{
		{nil, 0},
		{[]change{{0, 1}, {0, 1}, {0, 2}}, 2},
		{[]change{{0, 1}, {spacing / 2, 1}}, 2},                     // its turn was before
		{[]change{{0, 1}, {0, 2}, {spacing / 2, 2}}, 2},             // not yet
		{[]change{{0, 1}, {10 * spacing, 1}, {20 * spacing, 1}}, 3}, // nothing to merge
	} {
		if got := leastRequests(c.changes); got != c.want {
			t.Errorf("%v: got %d, want %d", c.changes, got, c.want)
		}
	}
}

func drainSpaced(t *testing.T, contacts int, changes []change) {
	r, s := virtualRig(t), &spaced{sent: map[string]int64{}}
	o := r.options("one", s)
	o.session, o.inspect = time.Minute, time.Minute
	o.Kafka.Extra = append(o.Kafka.Extra, kgo.DisableClientMetrics())
	least := leastRequests(changes)
	newest := map[string]int64{}
	var p *running
	began := time.Now()
	for i := 0; i < len(changes); {
		at := changes[i].at
		if at > 0 && p == nil {
			p = r.start(o)
		}
		time.Sleep(time.Until(began.Add(at)))
		var cmds []schemas.Command
		for ; i < len(changes) && changes[i].at < at+time.Second; i++ { // a second's worth at a time
			c := r.contact(fmt.Sprintf("c%d@x.example", changes[i].who), int64(i+1))
			newest[c.ContactKey] = c.Version
			cmds = append(cmds, c)
		}
		r.produce(cmds...)
	}
	if p == nil {
		p = r.start(o)
	}
	time.Sleep(time.Duration(least)*spacing - time.Since(began))
	for limit := time.Now().Add(time.Hour); p.window(0).Next < int64(len(changes)) || p.window(0).Unfinished > 0; {
		if time.Now().After(limit) {
			t.Fatalf("not drained %v after it began: %+v", time.Since(began), p.window(0))
		}
		time.Sleep(10 * time.Second)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ratio := float64(s.requests) / float64(least)
	t.Logf("%d changes of %d contacts: %d requests, at least %d: %.4f; in %v", len(changes), contacts, s.requests, least, ratio, time.Since(began))
	if ratio > drainRatioMost {
		t.Errorf("%.3f times the requests that are needed, want %v at most", ratio, drainRatioMost)
	}
	for who, want := range newest {
		if got := s.sent[who]; got != want {
			t.Errorf("%s has version %d, want %d", who, got, want)
		}
	}
}

// spaced is an account that takes a request each so often, as its limiter has it.
type spaced struct {
	mu       sync.Mutex
	next     time.Time
	requests int
	sent     map[string]int64
}

func (s *spaced) Write(ctx context.Context, batch []schemas.Command) (out []sinks.Outcome) {
	for _, c := range batch {
		s.mu.Lock()
		turn := s.next
		if now := time.Now(); turn.Before(now) {
			turn = now
		}
		s.next = turn.Add(spacing)
		s.mu.Unlock()
		o := sinks.Outcome{Kind: sinks.Delivered}
		if !sleep(ctx, time.Until(turn)+requestTakes) {
			o = sinks.Outcome{Kind: sinks.Retryable, Err: ctx.Err()}
		}
		s.mu.Lock()
		s.requests++
		s.sent[c.ContactKey] = c.Version
		s.mu.Unlock()
		out = append(out, o)
	}
	return out
}

func (s *spaced) Reconcile(context.Context, schemas.Command) sinks.Outcome {
	return sinks.Outcome{Kind: sinks.NotHappened}
}
func (s *spaced) Check(context.Context) []sinks.Finding { return nil }
func (s *spaced) Close() error                          { return nil }
