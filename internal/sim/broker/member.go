package broker

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tillstream/tillstream/pipeline/kafka"
)

// manage holds the membership: it joins, tells what comes and goes, and joins again when the group says so.
func (s *Session) manage() {
	defer func() {
		s.over = true
		s.gone.Broadcast()
	}()
	for s.living() {
		added, lost, err := s.join()
		if err != nil {
			if errors.Is(err, kerr.UnknownMemberID) {
				s.member = ""
			}
			if !errors.Is(err, kerr.RebalanceInProgress) {
				s.drop(errors.Is(err, kerr.UnknownMemberID))
				_ = s.p.Sleep(s.mctx, 5*pause)
			}
			continue
		}
		setup := s.begin(added, lost)
		err = s.beat(setup, len(lost) > 0)
		setup.stop()
		setup.wait(s)
		switch {
		case !s.living():
		case err == nil, errors.Is(err, kerr.RebalanceInProgress):
			s.tellRevoked(map[string][]int32{}, false)
		default:
			s.drop(true)
			if errors.Is(err, kerr.UnknownMemberID) {
				s.member = ""
			}
			s.gen = 0
		}
	}
	if s.leaving && len(s.owned) > 0 {
		s.tellRevoked(s.owned, false)
	}
	s.cursors, s.owned = nil, map[string][]int32{}
}

func (s *Session) living() bool { return !s.leaving && s.mctx.Err() == nil }

// drop loses everything: the group went on without this member.
func (s *Session) drop(all bool) {
	if !all || len(s.owned) == 0 {
		return
	}
	was := s.owned
	s.cursors, s.owned, s.loading = nil, map[string][]int32{}, nil
	s.tellRevoked(was, true)
}

// join joins the group and learns what is assigned.
func (s *Session) join() (added, lost map[string][]int32, err error) {
	g := s.b.group(s.m.Group)
	owned, gen := s.owned, s.gen
	patience := cmp.Or(s.m.RebalanceTimeout, time.Minute) + 10*time.Second
	ctx, cancel := s.p.WithTimeout(s.mctx, patience)
	defer cancel()
	id := s.member
	if asked := s.b.ask(ctx, s.p, "join", func() {
		var got string
		if got, err = g.join(s, id, owned, gen); err == nil {
			id = got
		}
	}); asked != nil {
		return nil, nil, asked
	}
	if err != nil {
		return nil, nil, err
	}
	s.member = id
	for {
		m := g.member(id)
		if m == nil {
			return nil, nil, kerr.UnknownMemberID
		}
		if !m.joined && s.b.reachable(s.p) {
			break
		}
		if err := g.cond.Wait(ctx, s.p); err != nil {
			return nil, nil, err
		}
	}
	s.heard()
	generation := g.gen
	return s.sync(ctx, g, generation)
}

func (s *Session) sync(ctx context.Context, g *group, generation int32) (added, lost map[string][]int32, err error) {
	for {
		var ready bool
		var m *member
		if asked := s.b.ask(ctx, s.p, "sync", func() { ready, m, err = g.sync(s.member, generation) }); asked != nil {
			return nil, nil, asked
		}
		if err != nil {
			return nil, nil, err
		}
		if !ready {
			if err := g.cond.Wait(ctx, s.p); err != nil {
				return nil, nil, err
			}
			continue
		}
		s.heard()
		plan := m.plan
		if s.m.CoPartition {
			if plan, err = kafka.CoPartition(s.m.Synced).ParseSyncAssignment(m.raw); err != nil {
				return nil, nil, err
			}
		}
		s.gen = generation
		added, lost = diff(s.owned, plan)
		s.owned = plan
		return added, lost, nil
	}
}

func (s *Session) heard() {
	if s.m.Heard != nil {
		s.m.Heard()
	}
}

func diff(was, is map[string][]int32) (added, lost map[string][]int32) {
	added, lost = map[string][]int32{}, map[string][]int32{}
	for _, side := range []struct{ from, to, into map[string][]int32 }{{is, was, added}, {was, is, lost}} {
		for topic, ns := range side.from {
			for _, n := range ns {
				if !slices.Contains(side.to[topic], n) {
					side.into[topic] = append(side.into[topic], n)
				}
			}
			slices.Sort(side.into[topic])
		}
	}
	return added, lost
}

// setup is what a new generation brings: revocations, assignments, offsets. Heartbeats go on beside it.
type setup struct {
	ctx  context.Context
	stop context.CancelFunc
	done bool
	cond interface{ Broadcast() }
	wait func(*Session)
}

func (s *Session) begin(added, lost map[string][]int32) *setup {
	ctx, stop := context.WithCancel(s.mctx)
	cond := s.b.s.NewCond()
	u := &setup{ctx: ctx, stop: stop, cond: cond}
	u.wait = func(s *Session) {
		for !u.done {
			_ = cond.Wait(context.Background(), s.p) // it ends with its own context
		}
	}
	s.p.Go(func() {
		defer func() {
			u.done = true
			cond.Broadcast()
			s.kick.Broadcast()
		}()
		if len(lost) > 0 {
			s.removeCursors(lost)
			s.tellRevoked(lost, false)
		}
		s.loading, _ = diff(lost, s.loading)
		for topic, ns := range added {
			s.loading[topic] = append(s.loading[topic], ns...)
		}
		s.tellAssigned(added)
		s.load(ctx)
	})
	return u
}

func (s *Session) removeCursors(lost map[string][]int32) {
	s.cursors = slices.DeleteFunc(s.cursors, func(c *cursor) bool { return slices.Contains(lost[c.Topic], c.Partition) })
}

// load fetches the offsets of what came, and lets it be read. What a rebalance cuts short is loaded after it.
func (s *Session) load(ctx context.Context) {
	var keys []kafka.TopicPartition
	for _, topic := range sortedTopics(s.loading) {
		for _, n := range s.loading[topic] {
			k := kafka.TopicPartition{Topic: topic, Partition: n}
			keys = append(keys, k)
			s.removeCursors(map[string][]int32{topic: {n}})
			s.cursors = append(s.cursors, &cursor{TopicPartition: k})
		}
	}
	for len(keys) > 0 && ctx.Err() == nil {
		offsets, err := s.c.stable(ctx, s.m.Group, keys)
		if err == nil && s.m.Fetched != nil {
			s.enter()
			if err = ctx.Err(); err == nil {
				err = s.m.Fetched(offsets)
			}
			s.leave()
		}
		if err != nil || ctx.Err() != nil {
			_ = s.p.Sleep(ctx, 5*pause)
			continue
		}
		for _, o := range offsets {
			s.start(o)
		}
		clear(s.loading)
		s.news.Broadcast()
		return
	}
}

func (s *Session) start(o kafka.Offset) {
	c, p := s.cursor(o.Topic, o.Partition), s.b.part(o.Topic, o.Partition)
	if c == nil || p == nil {
		return
	}
	if o.At < 0 {
		o.At = p.start
	}
	c.topic, c.at, c.committed, c.ready = p.Topic, o.At, o.At, true
}

// enter waits until callbacks may run: not between a Poll and AllowRebalance.
func (s *Session) enter() {
	if s.m.HoldRebalance {
		told := false
		s.wanting++
		defer func() { s.wanting-- }()
		for s.hold || s.calling {
			if s.hold && !told && s.m.Held != nil {
				s.m.Held()
			}
			told = true
			_ = s.held.Wait(context.Background(), s.p) // AllowRebalance and Close end the wait
		}
	}
	s.calling = true
}

func (s *Session) leave() {
	s.calling = false
	s.held.Broadcast()
}

func (s *Session) tellAssigned(added map[string][]int32) {
	s.enter()
	defer s.leave()
	if s.m.Assigned != nil {
		s.m.Assigned(s, added)
	}
}

// tellRevoked tells what goes, as a transactional session does: with CoPartition, a revocation that follows another one
// before the end of a transaction is not told (Synced tells it).
func (s *Session) tellRevoked(gone map[string][]int32, lost bool) {
	s.enter()
	defer s.leave()
	if s.m.TransactionalID == "" {
		if s.m.Revoked != nil && len(gone) > 0 {
			s.m.Revoked(s, gone)
		}
		return
	}
	s.fail.take()
	defer s.fail.give()
	flag := &s.revoked
	if lost {
		flag = &s.lost
	}
	if *flag && s.m.CoPartition {
		return
	}
	*flag = *flag || lost || len(gone) > 0
	if s.m.Revoked != nil && (s.m.CoPartition || len(gone) > 0) {
		s.m.Revoked(s, gone)
	}
}

// beat sends heartbeats until the group wants the member to join again. again: it wants to by itself, once it is set up.
func (s *Session) beat(u *setup, again bool) error {
	g := s.b.group(s.m.Group)
	interval := cmp.Or(s.m.HeartbeatInterval, 3*time.Second)
	last := s.b.s.Elapsed()
	for s.living() {
		if again && u.done {
			return nil
		}
		if left := interval - (s.b.s.Elapsed() - last); left > 0 {
			ctx, cancel := s.p.WithTimeout(s.mctx, left)
			_ = s.kick.Wait(ctx, s.p)
			cancel()
			continue
		}
		var err error
		ctx, cancel := s.p.WithTimeout(s.mctx, cmp.Or(s.m.SessionTimeout, 45*time.Second))
		asked := s.b.ask(ctx, s.p, "heartbeat", func() { err = g.heartbeat(s.member, s.gen) })
		cancel()
		if asked != nil {
			return asked
		}
		if err != nil {
			return err
		}
		s.heard()
		last = s.b.s.Elapsed()
	}
	return nil
}
