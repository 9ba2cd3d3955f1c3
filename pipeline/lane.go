package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/store"
)

// lane is one client with one transactional id, and the partitions that the group gave to it. One goroutine polls,
// computes and commits; recoveries run beside it and hand their result to it.
type lane struct {
	e      *Engine
	number int
	log    zerolog.Logger
	sess   kafka.Session

	mu       sync.Mutex
	parts    map[int32]*partition
	assigned map[int32]map[string]bool // inputs assigned, by partition
	finished []recovered
	cancel   context.CancelFunc // of the poll that runs
	woken    bool
	open     bool
	joined   bool // the group gave us an assignment, be it empty

	beside     clock.Group  // recoveries and applies
	turned     atomic.Int64 // when the loop last turned, Unix nanoseconds
	lastCommit time.Time
	pace       pace
	barren     bool            // the last round had records and could use none
	gauged     map[string]bool // partitions with gauges
}

// errRenew ends a session: the client is closed, and another one with the same transactional id settles what is open.
var errRenew = errors.New("the client must be renewed")

func newLane(e *Engine, number int) *lane {
	return &lane{
		e: e, number: number, log: e.o.Log.With().Int("lane", number).Logger(),
		parts: map[int32]*partition{}, assigned: map[int32]map[string]bool{}, beside: e.o.Clock.NewGroup(),
	}
}

// run keeps a session open until ctx ends.
func (l *lane) run(ctx context.Context) {
	wait := retryFirst
	for ctx.Err() == nil {
		l.beat()
		started := l.e.o.Clock.Now()
		err := l.session(ctx)
		if ctx.Err() != nil {
			return
		}
		l.e.m.renewals.Inc()
		l.log.Warn().Err(err).Str("kind", kafka.Classify(err).String()).Msg("the kafka session of the lane ended; opening another")
		if l.e.o.Clock.Now().Sub(started) > retryMax {
			wait = retryFirst
		}
		_ = l.e.o.Clock.Sleep(ctx, wait)
		wait = min(2*wait, retryMax)
	}
}

func (l *lane) session(ctx context.Context) error {
	// Told to stop, the client may hang in a rebalance that waits for a dead member. Its own context ends that.
	life, end := context.WithCancel(context.Background())
	defer end()
	c := l.e.o.Clock
	defer c.AfterFunc(ctx, func() {
		_ = c.Sleep(life, stopTimeout+leaveTimeout)
		end()
	})()
	if err := l.connect(life); err != nil {
		return err
	}
	defer l.disconnect(end)
	// Step 1 of the recovery: the former life of this transactional id ends before anything is read.
	initCtx, cancel := c.WithTimeout(ctx, endTimeout)
	err := l.sess.InitProducer(initCtx)
	cancel()
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.open = true
	l.mu.Unlock()
	for ctx.Err() == nil {
		if err := l.round(ctx); err != nil {
			return err
		}
	}
	l.landAll()
	return nil
}

func (l *lane) connect(life context.Context) (err error) {
	t := l.e.o.Topology
	l.sess, err = l.e.log.Join(kafka.Member{
		Group: t.Group, Topics: t.Inputs, CoPartition: true,
		TransactionalID: fmt.Sprintf("tillstream-%s-%s-%d", t.Group, l.e.o.Instance, l.number), TransactionTimeout: txnTimeout,
		SessionTimeout: sessionTimeout, HeartbeatInterval: heartbeatInterval, RebalanceTimeout: rebalanceTimeout,
		FetchBytesMax: fetchBytesMax, Synced: l.onSync, Assigned: l.onAssigned, Revoked: l.onRevoked,
		Life: life, Log: l.log,
	})
	return err
}

// disconnect leaves the group, forgets every partition, and ends the client, in bounded time.
func (l *lane) disconnect(end context.CancelFunc) {
	l.mu.Lock()
	l.open, l.joined = false, false
	for n := range l.parts {
		l.drop(n)
	}
	clear(l.assigned)
	l.finished = nil
	l.mu.Unlock()
	l.beside.Wait()
	c := l.e.o.Clock
	ctx, cancel := c.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	if err := l.sess.Leave(ctx); err != nil {
		l.log.Warn().Err(err).Msg("could not leave the group; its partitions are given away after the session timeout")
	}
	closing, closed := c.WithTimeout(context.Background(), closeTimeout)
	stop := c.AfterFunc(closing, end)
	l.sess.Close()
	stop()
	closed()
	l.mu.Lock()
	for n := range l.parts {
		l.drop(n)
	}
	clear(l.assigned)
	l.joined = false
	l.mu.Unlock()
}

// beat notes that the lane's loop turns.
func (l *lane) beat() { l.turned.Store(l.e.o.Clock.Now().UnixNano()) }

// round polls once, and commits what can be computed. Its error ends the session.
func (l *lane) round(ctx context.Context) error {
	l.beat()
	now := l.e.o.Clock.Now()
	l.startRecoveries(now)
	l.finishRecoveries(now)
	if err := l.gather(ctx); err != nil {
		return err
	}
	l.finishRecoveries(l.e.o.Clock.Now())
	batches := l.compute(ctx)
	if len(batches) > 0 && ctx.Err() == nil {
		l.lastCommit = l.e.o.Clock.Now()
		err := l.commit(ctx, batches)
		took := 0
		for _, b := range batches {
			took += b.records
		}
		l.pace.ended(&l.e.o, l.e.o.Clock.Now().Sub(l.lastCommit), l.sess.Buffered()+int64(l.queued()) > int64(took))
		if err != nil {
			return err
		}
	}
	l.landDone()
	l.tick(ctx)
	l.show()
	return nil
}

// running returns the partitions that may be computed, by number.
func (l *lane) running() []*partition {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(l.owned(), func(p *partition) bool { return p.state != stateRunning })
}

// owned returns all partitions by number. l.mu is held.
func (l *lane) owned() []*partition {
	return slices.SortedFunc(maps.Values(l.parts), func(a, b *partition) int { return cmp.Compare(a.number, b.number) })
}

// gather polls until there is something for a transaction: what came first waits for more until the commit interval
// since the last transaction has passed. Work other than records ends it.
func (l *lane) gather(ctx context.Context) error {
	for ctx.Err() == nil {
		room, queued := l.room(), l.queued()
		now := l.e.o.Clock.Now()
		left := l.lastCommit.Add(l.pace.interval(&l.e.o)).Sub(now)
		switch {
		case room <= 0:
			if l.barren {
				_ = l.e.o.Clock.Sleep(ctx, l.e.o.CommitInterval)
			}
			return nil
		case queued == 0:
			left = l.wait(now)
		case l.barren:
			left = min(l.wait(now), l.e.o.CommitInterval)
		}
		interrupted, err := l.poll(ctx, room, left)
		switch {
		case err != nil:
			return err
		case interrupted, l.barren, l.queued() == 0, l.e.o.Clock.Now().Sub(l.lastCommit) >= l.pace.interval(&l.e.o):
			return nil
		}
	}
	return nil
}

func (l *lane) queued() (n int) {
	for _, p := range l.running() {
		n += p.queued()
	}
	return n
}

// room is how many more records may be queued.
func (l *lane) room() int {
	queued, bytes, running := 0, 0, l.running()
	for _, p := range running {
		queued += p.queued()
		bytes += p.queuedBytes()
	}
	if bytes >= queueBytesMax {
		return 0
	}
	return min(laneRecordsMax, l.e.o.BatchRecordsMax*max(1, len(running))) - queued
}

// poll takes up to room records, waiting up to wait for the first. It reports whether a wake cut the waiting short.
func (l *lane) poll(ctx context.Context, room int, wait time.Duration) (interrupted bool, err error) {
	var fetches kgo.Fetches
	if wait <= 0 {
		fetches = l.sess.Poll(ctx, room, false)
	} else {
		pollCtx, cancel := l.e.o.Clock.WithTimeout(ctx, wait)
		l.arm(cancel)
		fetches = l.sess.Poll(pollCtx, room, true)
		interrupted = l.disarm()
		cancel()
	}
	if fetches.IsClientClosed() {
		return false, fmt.Errorf("poll: %w", kgo.ErrClientClosed)
	}
	fetches.EachError(func(topic string, p int32, err error) {
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return
		}
		l.e.m.fetchErrors.Inc()
		l.log.Warn().Err(err).Str("topic", topic).Int32("partition", p).Msg("fetch")
		l.unreadable(topic, p, err)
	})
	l.take(fetches)
	return interrupted, nil
}

// unreadable stops a partition of which an input cannot be fetched; a number below 0 means all. What the client
// reports does not pass within its own tries: the topic is gone, was created anew, lost records, or may not be read.
// The recovery finds out which.
func (l *lane) unreadable(topic string, number int32, err error) {
	if !slices.Contains(l.e.o.Topology.Inputs, topic) {
		return
	}
	for _, p := range l.running() {
		if number < 0 || p.number == number {
			l.stop(p, &stall{
				reason: ReasonKafkaUnavailable, err: fmt.Errorf("fetch %s/%d: %w", topic, p.number, err),
				remedy: "check the Kafka brokers, and that the topic is there and may be read; the partition goes on by itself then",
			})
		}
	}
}

// wait is how long a poll may wait for records.
func (l *lane) wait(now time.Time) time.Duration {
	wait := pollWaitMax
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.parts {
		if p.state == stateStalled && !p.stalled.final {
			wait = min(wait, p.retryAt.Sub(now))
		}
	}
	return max(wait, time.Millisecond)
}

// arm makes cancel end the poll that is about to run; a wake that came before ends it at once.
func (l *lane) arm(cancel context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancel = cancel
	if l.woken {
		cancel()
	}
}

// disarm is for when the poll has ended. It reports whether a wake came.
func (l *lane) disarm() (woken bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	woken, l.woken, l.cancel = l.woken, false, nil
	return woken
}

// wake ends the poll that runs, or the next one. l.mu is held.
func (l *lane) wake() {
	l.woken = true
	if l.cancel != nil {
		l.cancel()
	}
}

// take queues polled records. One whose offset is not the expected or a later one shows that the client stands
// elsewhere than the state: the partition recovers.
func (l *lane) take(fetches kgo.Fetches) {
	now := l.e.o.Clock.Now()
	parts := map[int32]*partition{}
	for _, p := range l.running() {
		parts[p.number] = p
	}
	fetches.EachPartition(func(ftp kgo.FetchTopicPartition) {
		p := parts[ftp.Partition]
		if p == nil || p.queues[ftp.Topic] == nil {
			return
		}
		q := p.queues[ftp.Topic]
		q.end = max(q.end, ftp.HighWatermark)
		for _, r := range ftp.Records {
			if r.Offset < q.expect {
				if q.skipping {
					continue
				}
				l.log.Warn().Str("topic", r.Topic).Int32("partition", r.Partition).Int64("offset", r.Offset).Int64("expected", q.expect).Msg("the client went back")
				delete(parts, p.number)
				l.restart(p, "position")
				return
			}
			if r.Offset > q.expect && ftp.LogStartOffset > q.expect {
				l.deletedUnread(r.Topic, r.Partition, q.expect, ftp.LogStartOffset)
			}
			q.skipping = false
			q.add(r)
			p.lastInput = now
		}
	})
}

// deletedUnread tells that the start of an input passed by a partition that runs: the client goes on from the start,
// and only here does it show.
func (l *lane) deletedUnread(topic string, number int32, next, start int64) {
	l.e.m.offsetAlarms.WithLabelValues(topic).Inc()
	l.log.Error().Str("topic", topic).Int32("partition", number).Int64("state", next).Int64("start", start).
		Msg("records between the state and the start of the input were deleted before they were read")
}

// compute lets every running partition prepare its share of a transaction, side by side.
func (l *lane) compute(ctx context.Context) []*batch {
	now := l.e.o.Clock.Now()
	l.barren = false
	var (
		group   = l.e.o.Clock.NewGroup()
		mu      sync.Mutex
		batches []*batch
	)
	for _, p := range l.running() {
		if p.queued() == 0 {
			continue
		}
		if p.held(now) {
			l.barren = true
			continue
		}
		group.Go(func() {
			b := l.newBatch(p)
			err := b.compute(ctx)
			if err != nil && (b.empty() || b.torn || ctx.Err() != nil) {
				if p.ctx.Err() == nil && ctx.Err() == nil {
					l.stop(p, err)
				}
				return
			}
			if b.empty() {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			batches = append(batches, b)
		})
	}
	group.Wait()
	slices.SortFunc(batches, func(a, b *batch) int { return cmp.Compare(a.p.number, b.p.number) })
	return batches
}

// restart makes a partition recover at once.
func (l *lane) restart(p *partition, kind string) {
	l.e.m.recoveries.WithLabelValues(kind).Inc()
	l.pause(p)
	p.clearQueues()
	l.mu.Lock()
	defer l.mu.Unlock()
	p.state, p.stalled = stateAssigned, nil
}

func (p *partition) clearQueues() {
	for _, q := range p.queues {
		q.items, q.bytes, q.taken = nil, 0, 0
	}
}

// stop stalls a partition until its cause may have passed. That the store fenced it or went back is no cause: what
// is to be done then is to recover, at once the first time.
func (l *lane) stop(p *partition, err error) {
	var s *stall
	if !errors.As(err, &s) {
		s = &stall{reason: ReasonKafkaUnavailable, err: err, remedy: "check the Kafka brokers; the partition goes on by itself when they answer"}
	}
	l.pause(p)
	p.clearQueues()
	p.rebuild = p.rebuild || s.rebuild
	lostStore := errors.Is(err, store.ErrFenced) || errors.Is(err, store.ErrRolledBack) || errors.Is(err, store.ErrCorrupt)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.e.o.Clock.Now()
	if now.Sub(p.failedAt) > forgiveAfter {
		p.failures = 0
	}
	p.failures, p.failedAt = p.failures+1, now
	if lostStore && p.failures <= 3 {
		l.e.m.recoveries.WithLabelValues("store").Inc()
		l.log.Warn().Err(err).Int32("partition", p.number).Msg("the store stands elsewhere; recovering")
		p.state, p.stalled = stateAssigned, nil
		l.wake()
		return
	}
	wait := min(retryFirst<<min(p.failures, 10), retryMax)
	p.state, p.stalled, p.retryAt = stateStalled, s, now.Add(wait)
	e := l.log.Warn()
	if s.final {
		e = l.log.Error()
	}
	e.Str("error", outbound.Redact(s.err.Error())).Str("reason", string(s.reason)).Str("remedy", s.remedy).Bool("retried", !s.final).Int32("partition", p.number).Msg("partition stalled")
	l.wake()
}

func (l *lane) pause(p *partition) {
	l.sess.Pause(l.e.inputs(p.number))
}
