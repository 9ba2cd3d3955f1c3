package broker

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/sim/sched"
	"github.com/tillstream/tillstream/pipeline/kafka"
)

// Session is a client of one process that is a member of a group.
type Session struct {
	c    *Client
	b    *Broker
	p    *sched.Proc
	m    kafka.Member
	ctx  context.Context
	end  context.CancelFunc
	mctx context.Context // of the membership: ends with Leave too
	mend context.CancelFunc
	news *sched.Cond // something can be read
	kick *sched.Cond // of the coroutine that holds the membership
	gone *sched.Cond // that coroutine ended
	over bool

	member  string
	gen     int32
	owned   map[string][]int32
	loading map[string][]int32 // owned, and their offsets not fetched yet
	cursors []*cursor
	paused  map[kafka.TopicPartition]bool
	leaving bool

	// hold: with HoldRebalance, between a Poll and AllowRebalance. calling: callbacks run.
	hold, calling bool
	wanting       int // callbacks that wait for AllowRebalance
	held          *sched.Cond

	// fail is the lock of a transactional session: no revocation is told while a transaction is being ended.
	fail    *lock
	revoked bool
	lost    bool

	epoch   int
	fresh   bool // no epoch yet
	reload  bool // an outcome is unknown: the next use asks for a new epoch
	fatal   error
	inTxn   bool
	touched bool // the transaction may be known to the coordinator
	buffer  []produced
}

type produced struct {
	rec     *kgo.Record
	promise func(*kgo.Record, error)
}

// cursor is where the session reads a partition.
type cursor struct {
	kafka.TopicPartition
	topic     *Topic
	ready     bool
	at        int64
	committed int64 // where an aborted transaction goes back to
}

var _ kafka.Session = (*Session)(nil)

// Join implements kafka.Log.
func (c *Client) Join(m kafka.Member) (kafka.Session, error) {
	c.p.Check()
	life := m.Life
	if life == nil {
		life = context.Background()
	}
	s := &Session{c: c, b: c.b, p: c.p, m: m, fresh: true, owned: map[string][]int32{}, paused: map[kafka.TopicPartition]bool{}}
	s.ctx, s.end = context.WithCancel(life)
	s.mctx, s.mend = context.WithCancel(s.ctx)
	s.news, s.kick, s.gone, s.held = c.b.s.NewCond(), c.b.s.NewCond(), c.b.s.NewCond(), c.b.s.NewCond()
	s.fail = &lock{p: c.p, cond: c.b.s.NewCond()}
	c.b.pollers = append(slices.DeleteFunc(c.b.pollers, func(o *Session) bool { return o.p.Dead() }), s)
	c.p.Go(s.manage)
	return s, nil
}

// either ends with the first of two contexts.
type either struct {
	context.Context
	other context.Context
}

func (e either) Err() error { return cmp.Or(e.Context.Err(), e.other.Err()) }

func (s *Session) both(ctx context.Context) context.Context { return either{ctx, s.ctx} }

// lock is a mutex between coroutines.
type lock struct {
	p    *sched.Proc
	held bool
	cond *sched.Cond
}

func (l *lock) take() {
	for l.held {
		_ = l.cond.Wait(context.Background(), l.p) // only its holder ends the wait
	}
	l.held = true
}

func (l *lock) give() {
	l.held = false
	l.cond.Broadcast()
}

func (s *Session) reads(topic string, n int32) bool {
	for _, c := range s.cursors {
		if c.ready && c.Topic == topic && c.Partition == n {
			return true
		}
	}
	return false
}

func (s *Session) cursor(topic string, n int32) *cursor {
	for _, c := range s.cursors {
		if c.Topic == topic && c.Partition == n {
			return c
		}
	}
	return nil
}

// Poll implements kafka.Session.
func (s *Session) Poll(ctx context.Context, max int, wait bool) kgo.Fetches {
	s.p.Check()
	if s.over || s.ctx.Err() != nil {
		return kgo.NewErrFetch(kgo.ErrClientClosed)
	}
	both := s.both(ctx)
	if wait {
		_ = s.p.Sleep(both, time.Duration(s.b.r.IntN(2000))*time.Microsecond)
	}
	for {
		s.addPoller()
		if s.ctx.Err() != nil {
			return kgo.NewErrFetch(kgo.ErrClientClosed)
		}
		if f := s.fill(max); len(f) > 0 {
			return f
		}
		if !wait {
			s.AllowRebalance()
			return nil
		}
		if err := both.Err(); err != nil {
			return kgo.NewErrFetch(err) // it holds rebalances back all the same
		}
		s.AllowRebalance()
		_ = s.news.Wait(both, s.p)
	}
}

// addPoller holds rebalances back, after those that came before.
func (s *Session) addPoller() {
	if !s.m.HoldRebalance {
		return
	}
	for !s.hold && (s.calling || s.wanting > 0) && s.ctx.Err() == nil {
		_ = s.held.Wait(s.ctx, s.p)
	}
	s.hold = true
}

// fill takes what is there, from one partition after the other, beginning with any.
func (s *Session) fill(limit int) kgo.Fetches {
	if len(s.cursors) == 0 || !s.b.reachable(s.p) {
		return nil
	}
	f := kgo.Fetch{}
	first := s.b.r.IntN(len(s.cursors))
	for i := range s.cursors {
		c := s.cursors[(first+i)%len(s.cursors)]
		if !c.ready || s.paused[c.TopicPartition] || limit <= 0 {
			continue
		}
		fp, ok := s.fetch(c, limit)
		if !ok {
			continue
		}
		limit -= len(fp.Records)
		f.Topics = append(f.Topics, kgo.FetchTopic{Topic: c.Topic, TopicID: c.topic.ID, Partitions: []kgo.FetchPartition{fp}})
	}
	if len(f.Topics) == 0 {
		return nil
	}
	return kgo.Fetches{f}
}

func (s *Session) fetch(c *cursor, limit int) (fp kgo.FetchPartition, ok bool) {
	p := s.b.part(c.Topic, c.Partition)
	switch {
	case p == nil:
		return kgo.FetchPartition{Partition: c.Partition, Err: kerr.UnknownTopicOrPartition}, true
	case p.Topic != c.topic:
		c.topic, c.at = p.Topic, p.start
		return kgo.FetchPartition{Partition: c.Partition, Err: kerr.UnknownTopicID}, true
	case c.at < p.start:
		c.at = p.start
	case c.at > p.next:
		was := c.at
		c.at = p.start
		return kgo.FetchPartition{Partition: c.Partition, Err: &kgo.ErrDataLoss{Topic: c.Topic, Partition: c.Partition, ConsumedTo: was, ResetTo: p.start}}, true
	}
	records, next := p.read(c.at, min(limit, 1+s.b.r.IntN(s.b.o.FetchMax)), s.m.ControlRecords)
	c.at = next
	return kgo.FetchPartition{
		Partition: c.Partition, HighWatermark: p.next, LastStableOffset: p.Stable(), LogStartOffset: p.start, Records: records,
	}, len(records) > 0
}

// Buffered implements kafka.Session. Nothing is fetched ahead.
func (s *Session) Buffered() int64 { return 0 }

// AllowRebalance implements kafka.Session.
func (s *Session) AllowRebalance() {
	s.p.Check()
	s.hold = false
	s.held.Broadcast()
}

// SetOffsets implements kafka.Session.
func (s *Session) SetOffsets(offsets []kafka.Offset) {
	s.p.Check()
	for _, o := range offsets {
		if c := s.cursor(o.Topic, o.Partition); c != nil {
			c.at, c.committed = o.At, o.At
		}
	}
	s.news.Broadcast()
}

// Pause implements kafka.Session.
func (s *Session) Pause(partitions map[string][]int32) { s.setPaused(partitions, true) }

// Resume implements kafka.Session.
func (s *Session) Resume(partitions map[string][]int32) { s.setPaused(partitions, false) }

func (s *Session) setPaused(partitions map[string][]int32, paused bool) {
	s.p.Check()
	for topic, ns := range partitions {
		for _, n := range ns {
			k := kafka.TopicPartition{Topic: topic, Partition: n}
			if paused {
				s.paused[k] = true
			} else {
				delete(s.paused, k)
			}
		}
	}
	s.news.Broadcast()
}

// Leave implements kafka.Session.
func (s *Session) Leave(ctx context.Context) error {
	s.p.Check()
	s.leaving = true
	s.mend()
	for !s.over {
		if err := s.gone.Wait(s.both(ctx), s.p); err != nil && !s.over {
			return err
		}
	}
	member := s.member
	if member == "" {
		return nil
	}
	return s.b.ask(s.both(ctx), s.p, "leave", func() { s.b.group(s.m.Group).leave(member) })
}

// Close implements kafka.Session.
func (s *Session) Close() {
	s.p.Check()
	s.hold = false
	s.leaving = true
	s.end()
	s.held.Broadcast()
	s.kick.Broadcast()
	for !s.over {
		_ = s.gone.Wait(context.Background(), s.p) // the membership ends with s.ctx
	}
	s.b.pollers = slices.DeleteFunc(s.b.pollers, func(o *Session) bool { return o == s })
}

func sortedTopics(m map[string][]int32) []string { return slices.Sorted(maps.Keys(m)) }
