package poll

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
)

var (
	stormSeed  = flag.Uint64("storm-seed", 0, "play the storm of this seed only")
	stormSeeds = flag.Uint64("storm-seeds", 12, "play the storms of so many seeds")
)

// TestStorm: whatever is withheld and listed late, however the provider and the log fail, and however processes crash,
// hand over, or go on without knowing that they were replaced: once the lists were read to the end, every change since
// the connection began is on the log, and complete_up_to never said so too early. Where no two processes polled at a
// time nothing is there twice, also not what was appended although the answer was lost.
func TestStorm(t *testing.T) {
	seeds := []uint64{*stormSeed}
	if *stormSeed == 0 {
		seeds = seeds[:0]
		for s := range *stormSeeds {
			seeds = append(seeds, s+1)
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { storm(t, seed) })
		})
	}
}

type stormy struct {
	*world
	calm    atomic.Bool
	unknown bool // appends may be carried out and reported as failed
	zombies bool

	mu  sync.Mutex
	rnd *rand.Rand

	begun   time.Time
	n       int
	crashed int
	running []func()
}

// chance is a number below n.
func (s *stormy) chance(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rnd.IntN(n)
}

func storm(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 7))
	feeds := []connectors.Feed{
		{Name: "events", Every: 5 * time.Minute, WindowMax: time.Hour, Reach: 30 * 24 * time.Hour, Match: connectors.MatchEvent},
		{Name: "transactions", Every: 20 * time.Minute, Late: 3 * time.Hour, Match: connectors.MatchVersion},
	}
	s := &stormy{world: newWorld(t, feeds[:1+rnd.IntN(2)]...), rnd: rnd, unknown: rnd.IntN(2) == 0, zombies: rnd.IntN(2) == 0}
	s.provider.page = 1 + rnd.IntN(8)
	s.provider.refuse = s.refuse
	s.log.lose = func(topic string) error {
		if s.unknown && !s.calm.Load() && topic == shop.Topic && s.chance(15) == 0 {
			return errors.New("no answer in time")
		}
		return nil
	}
	s.log.fail = func(topic, _ string) error {
		if !s.calm.Load() && topic == shop.Topic && s.chance(15) == 0 {
			return errors.New("not enough replicas")
		}
		return nil
	}
	s.log.unread = func(topic string) error {
		if !s.calm.Load() && topic == shop.Topic && s.chance(20) == 0 {
			return errors.New("not the leader")
		}
		return nil
	}
	c := s.connection()
	s.begin(t, c)
	for s.begun.IsZero() {
		pass(time.Second)
		if p, err := readProgress(t.Context(), s.log, s.log, c.key()); err == nil && p != nil {
			s.begun = p.CompleteUpTo
		}
	}
	for i := range 150 {
		s.step(t, c)
		if i%10 == 0 {
			s.checkComplete(t, c)
		}
	}
	s.calm.Store(true)
	if len(s.running) == 0 {
		s.begin(t, c)
	}
	pass(8 * time.Hour)
	s.checkComplete(t, c)
	for _, stop := range s.running {
		stop()
	}
	s.checkAll(t)
}

func (s *stormy) refuse(connectors.Query) error {
	if s.calm.Load() {
		return nil
	}
	switch s.chance(12) {
	case 0:
		return &outbound.StatusError{Provider: "shop", Status: 429, RetryAfter: time.Duration(s.chance(600)) * time.Second}
	case 1:
		return &outbound.StatusError{Provider: "shop", Status: 503}
	case 2:
		return context.DeadlineExceeded
	}
	return nil
}

func (s *stormy) begin(t *testing.T, c Connection) {
	c.Poller = poller{s.provider, s}
	_, stop := s.start(t, c)
	s.running = append(s.running, stop)
}

// poller may be killed in the middle of a question, and be slow.
type poller struct {
	*provider
	s *stormy
}

func (p poller) Poll(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	if !p.s.calm.Load() && p.s.chance(4) == 0 {
		time.Sleep(time.Duration(p.s.chance(240)) * time.Second)
	}
	return p.provider.Poll(ctx, q)
}

func (s *stormy) step(t *testing.T, c Connection) {
	switch s.chance(12) {
	case 0: // a crash, perhaps with a successor at once
		if len(s.running) > 0 {
			s.running[0]()
			s.running = s.running[1:]
			s.crashed++
		}
		if s.chance(2) == 0 && len(s.running) == 0 {
			s.begin(t, c)
		}
	case 1:
		if len(s.running) == 0 || s.zombies && len(s.running) < 3 {
			s.begin(t, c)
		}
	case 2:
		pass(time.Duration(s.chance(6)) * time.Hour)
	default:
		for range s.chance(6) {
			s.happen(t)
		}
		pass(time.Duration(s.chance(20)) * time.Minute)
	}
}

// happen lets a change come about: its webhook comes at once, or never; it is listed at once, or late.
func (s *stormy) happen(t *testing.T) {
	s.n++
	ch := order(s.n, s.clock.Now().Truncate(time.Millisecond))
	if len(s.provider.feeds) > 1 && s.chance(2) == 0 {
		ch.listed = ch.At.Add(time.Duration(s.chance(175)) * time.Minute)
	}
	s.provider.happen(ch)
	if s.chance(3) > 0 {
		s.log.mu.Lock()
		fail, lose := s.log.fail, s.log.lose
		s.log.fail, s.log.lose = nil, nil
		s.log.mu.Unlock()
		s.webhook(t, ch)
		s.log.mu.Lock()
		s.log.fail, s.log.lose = fail, lose
		s.log.mu.Unlock()
	}
	pass(time.Duration(s.chance(30)) * time.Second)
}

// checkComplete: what the progress says is on the log, is.
func (s *stormy) checkComplete(t *testing.T, c Connection) {
	t.Helper()
	p, err := readProgress(t.Context(), s.log, s.log, c.key())
	if err != nil || p == nil {
		t.Fatalf("got progress %v, %v", p, err)
	}
	s.checkUpTo(t, p.CompleteUpTo)
}

func (s *stormy) checkUpTo(t *testing.T, complete time.Time) {
	t.Helper()
	got := s.log.events(shop.Topic)
	for _, ch := range s.provider.changes {
		if !ch.At.Before(s.begun) && ch.At.Before(complete) && got[ch.ID] == 0 {
			t.Fatalf("%s of %v is not on the log, which is complete up to %v; it was listed at %v", ch.ID, ch.At, complete, ch.listed)
		}
	}
}

func (s *stormy) checkAll(t *testing.T) {
	t.Helper()
	s.checkUpTo(t, s.clock.Now())
	if s.zombies {
		return
	}
	hooks := 0
	for id, origins := range s.log.origins(shop.Topic) {
		if len(origins) > 1 {
			t.Errorf("%s is there %d times, %q", id, len(origins), origins)
		}
		if origins[0] == schemas.OriginWebhook {
			hooks++
		}
	}
	p, err := readProgress(t.Context(), s.log, s.log, s.connection().key())
	if err != nil {
		t.Fatal(err)
	}
	counted := 0
	for _, h := range p.Hours {
		counted += int(h.Events)
	}
	if counted != hooks {
		t.Errorf("counted %d webhooks over %d crashes, want %d, each once", counted, s.crashed, hooks)
	}
}
