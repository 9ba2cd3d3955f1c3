package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
		_ = l.cond.Wait(nil, l.p) //nolint:staticcheck // only its holder ends the wait
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

// Begin implements kafka.Session.
func (s *Session) Begin() error {
	s.p.Check()
	switch {
	case s.fatal != nil:
		return s.fatal
	case s.inTxn:
		return errors.New("a transaction is open")
	}
	s.inTxn, s.touched = true, false
	return nil
}

// Produce implements kafka.Session: records leave with Flush.
func (s *Session) Produce(_ context.Context, rec *kgo.Record, promise func(*kgo.Record, error)) {
	s.p.Check()
	s.buffer = append(s.buffer, produced{rec, promise})
}

// Flush implements kafka.Session. All partitions are written side by side; each in order.
func (s *Session) Flush(ctx context.Context) error {
	both := s.both(ctx)
	batch := s.buffer
	s.buffer = nil
	if len(batch) == 0 {
		return nil
	}
	settle := func(err error) {
		for _, p := range batch {
			p.promise(p.rec, err)
		}
	}
	if err := s.ensureEpoch(both); err != nil {
		settle(err)
		return ctx.Err()
	}
	var keys []kafka.TopicPartition
	parts := map[kafka.TopicPartition][]produced{}
	for _, p := range batch {
		k := kafka.TopicPartition{Topic: p.rec.Topic, Partition: p.rec.Partition}
		if parts[k] == nil {
			keys = append(keys, k)
		}
		parts[k] = append(parts[k], p)
	}
	left, back := len(keys), s.b.s.NewCond()
	for _, k := range keys {
		s.p.Go(func() {
			s.send(both, k, parts[k])
			left--
			back.Broadcast()
		})
	}
	for left > 0 {
		_ = back.Wait(nil, s.p) //nolint:staticcheck // each of them ends with ctx
	}
	return ctx.Err()
}

// send writes the records of one partition.
func (s *Session) send(ctx context.Context, k kafka.TopicPartition, batch []produced) {
	epoch, wrote, again := s.epoch, false, false
	records := make([]*kgo.Record, len(batch))
	for i, p := range batch {
		copied := *p.rec
		records[i] = &copied
	}
	var err error
	for {
		asked := s.b.ask(ctx, s.p, "produce", func() {
			if again = wrote; wrote {
				return // the broker knows the sequence numbers
			}
			if err = s.b.produce(s, epoch, k.Topic, k.Partition, records); err == nil {
				wrote = true
			}
		})
		s.touched = true
		if errors.Is(err, kerr.ConcurrentTransactions) && asked == nil {
			if asked = s.p.Sleep(ctx, pause/5); asked == nil {
				err = nil
				continue
			}
		}
		if err = errors.Join(asked, err); asked != nil {
			s.reload = true
		}
		break
	}
	if errors.Is(err, kerr.InvalidProducerEpoch) {
		s.reload = true
	}
	lostOffset := again && s.b.r.IntN(8) == 0
	for i, p := range batch {
		if err == nil {
			p.rec.Offset, p.rec.Timestamp = records[i].Offset, records[i].Timestamp
			if lostOffset {
				p.rec.Offset = -1
			}
		}
		p.promise(p.rec, err)
	}
}

// InitProducer implements kafka.Session.
func (s *Session) InitProducer(ctx context.Context) error { return s.ensureEpoch(s.both(ctx)) }

func (s *Session) ensureEpoch(ctx context.Context) error {
	if s.fatal != nil {
		return s.fatal
	}
	if !s.fresh && !s.reload {
		return nil
	}
	for {
		var epoch int
		var err error
		asked := s.b.ask(ctx, s.p, "init-producer", func() { epoch, err = s.b.init(s, s.fresh) })
		switch {
		case asked != nil:
			return fmt.Errorf("init the producer id: %w", asked)
		case err == nil:
			s.epoch, s.fresh, s.reload = epoch, false, false
			return nil
		case errors.Is(err, kerr.ProducerFenced):
			s.fatal = err
			return err
		}
		if err := s.p.Sleep(ctx, pause/5); err != nil {
			return fmt.Errorf("init the producer id: %w", err)
		}
	}
}

// Abort implements kafka.Session.
func (s *Session) Abort(ctx context.Context) error {
	for _, p := range s.buffer {
		p.promise(p.rec, kgo.ErrAborting)
	}
	s.buffer = nil
	s.fail.take()
	defer s.ended()
	return s.abort(s.both(ctx))
}

// ended ends what Abort and Commit do under the lock.
func (s *Session) ended() {
	s.revoked, s.lost = false, false
	s.fail.give()
}

// abort ends the transaction at the broker, and goes back to what was committed.
func (s *Session) abort(ctx context.Context) error {
	defer s.goBack()
	s.inTxn = false
	if !s.touched {
		return nil
	}
	if s.reload {
		return s.ensureEpoch(ctx)
	}
	_, err := s.finish(ctx, false)
	return err
}

func (s *Session) goBack() {
	for _, c := range s.cursors {
		c.at = c.committed
	}
}

// finish sends EndTxn until it is answered. known says that the broker answered what was asked for.
func (s *Session) finish(ctx context.Context, commit bool) (known bool, err error) {
	name := "end-abort"
	if commit {
		name = "end-commit"
	}
	for try := 0; ; try++ {
		var epoch int
		f, asked := s.b.call(ctx, s.p, name, func() { epoch, err = s.b.end(s, s.epoch, commit) })
		switch {
		case f.Refuse && asked == nil:
			// UNKNOWN_SERVER_ERROR: the session asks for a new epoch, which aborts what is still open, and then says "not
			// committed" without an error, whatever happened.
			s.reload = true
			if err := s.ensureEpoch(ctx); err != nil {
				return false, err
			}
			return false, nil
		case errors.Is(asked, errLost) && !f.Final && try < 20:
			if err := s.p.Sleep(ctx, 2*pause); err != nil {
				s.reload = true
				return false, err
			}
			continue
		case asked != nil:
			s.reload = true
			return false, fmt.Errorf("end the transaction: %w", asked)
		case errors.Is(err, kerr.ConcurrentTransactions):
			if err := s.p.Sleep(ctx, pause/5); err != nil {
				s.reload = true
				return false, err
			}
			continue
		case err != nil:
			s.reload = true
			return false, err
		}
		s.epoch = epoch
		return true, nil
	}
}

var errNoGeneration = errors.New("not a member of the group: offsets would not be checked against its generation")

// Commit implements kafka.Session.
func (s *Session) Commit(ctx context.Context, offsets []kafka.Offset) (bool, error) {
	both := s.both(ctx)
	if err := s.Flush(ctx); err != nil {
		return false, err
	}
	committed, err := s.addOffsets(both, offsets)
	s.fail.take()
	defer s.ended()
	if !committed || s.revoked || s.lost {
		if aborted := s.abort(both); err == nil {
			err = aborted
		}
		return false, err
	}
	s.inTxn = false
	known, err := s.finish(both, true)
	if !known || err != nil {
		s.goBack()
		return false, err
	}
	for _, c := range s.cursors {
		c.committed = c.at
	}
	return true, nil
}

// addOffsets puts the offsets into the transaction, and makes sure that the group still counts on this member.
func (s *Session) addOffsets(ctx context.Context, offsets []kafka.Offset) (ok bool, err error) {
	if s.revoked || s.lost {
		return false, nil
	}
	if len(offsets) == 0 {
		return true, nil
	}
	if s.gen <= 0 || s.member == "" {
		return false, errNoGeneration
	}
	if err := s.ensureEpoch(ctx); err != nil {
		return false, err
	}
	named := slices.Clone(offsets)
	for i := range named {
		if named[i].Metadata == "" {
			named[i].Metadata = s.member
		}
	}
	member, gen, epoch := s.member, s.gen, s.epoch
	added := false
	asked := s.b.ask(ctx, s.p, "txn-offset-commit", func() {
		if !added {
			err = s.b.addOffsets(s, epoch, named, member, gen)
			added = err == nil
		}
	})
	s.touched = true
	switch {
	case asked != nil:
		return false, asked
	case errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.RebalanceInProgress), errors.Is(err, kerr.ConcurrentTransactions):
		return false, nil
	case err != nil:
		s.reload = errors.Is(err, kerr.InvalidProducerEpoch)
		return false, err
	}
	if s.b.o.Loose.Generation {
		return true, nil
	}
	asked = s.b.ask(ctx, s.p, "heartbeat", func() { err = s.b.group(s.m.Group).heartbeat(member, gen) })
	return asked == nil && (err == nil || errors.Is(err, kerr.RebalanceInProgress)), nil
}

// CommitOffsets implements kafka.Session.
func (s *Session) CommitOffsets(ctx context.Context, offsets []kafka.Offset) map[kafka.TopicPartition]error {
	failed := map[kafka.TopicPartition]error{}
	member, gen := s.member, s.gen
	var err error
	if gen <= 0 || member == "" {
		err = errNoGeneration
	} else if asked := s.b.ask(s.both(ctx), s.p, "offset-commit", func() {
		g := s.b.group(s.m.Group)
		by := g.asker(s, member, gen)
		if err = g.check(member, gen); err == nil {
			g.set(offsets, by)
		}
	}); asked != nil {
		err = asked
	}
	for _, o := range offsets {
		if err != nil {
			failed[kafka.TopicPartition{Topic: o.Topic, Partition: o.Partition}] = err
		}
	}
	return failed
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
		_ = s.gone.Wait(nil, s.p) //nolint:staticcheck // the membership ends with s.ctx
	}
	s.b.pollers = slices.DeleteFunc(s.b.pollers, func(o *Session) bool { return o == s })
}

func sortedTopics(m map[string][]int32) []string { return slices.Sorted(maps.Keys(m)) }
