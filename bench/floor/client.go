package main

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/bench/workload"
)

// pollRecordsMax bounds the records of one poll.
const pollRecordsMax = 10_000

// client is one transactional session and the partitions that it has.
type client struct {
	o       options
	sess    *kgo.GroupTransactSession
	redis   *redisConn
	left    *atomic.Int64
	held    atomic.Int32
	started atomic.Bool
	parts   map[int32]*part
	writes  chan []*part // images to write to Redis, where that goes on beside
	failed  atomic.Pointer[error]
}

// part is one partition: its orders and its open waits.
type part struct {
	number  int32
	now     int64 // stream time
	orders  map[string]workload.State
	open    deadlines
	changed map[string]workload.State // by the transaction at hand
}

func newClient(o options, n int, left *atomic.Int64, cancel context.CancelCauseFunc) (*client, error) {
	c := &client{o: o, left: left, parts: map[int32]*part{}}
	moved := func(_ context.Context, _ *kgo.Client, m map[string][]int32) {
		c.held.Add(-int32(len(m[o.input])))
		if c.started.Load() && left.Load() > 0 {
			cancel(errors.New("a partition moved away with its state"))
		}
	}
	var err error
	c.sess, err = kgo.NewGroupTransactSession(
		kgo.SeedBrokers(o.brokers), kgo.ConsumerGroup(o.group), kgo.ConsumeTopics(o.input),
		kgo.TransactionalID(fmt.Sprintf("%s-%d", o.group, n)), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.ProducerBatchMaxBytes(1<<20), kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedRecords(1<<20),
		// A batch that meets the markers of the transaction before is tried again after new metadata, by default 5 s old.
		kgo.MetadataMinAge(50*time.Millisecond),
		kgo.FetchMaxBytes(int32(o.fetchBytes)), kgo.FetchMaxPartitionBytes(int32(o.fetchPartitionBytes)),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { c.held.Add(int32(len(m[o.input]))) }),
		kgo.OnPartitionsRevoked(moved), kgo.OnPartitionsLost(moved),
	)
	if err == nil && o.redis != "" {
		c.redis, err = dialRedis(o.redis)
	}
	return c, err
}

// prime gets the producer id, and ends the session's first transaction: after a revocation, such as at the start where
// another client joins, a session commits nothing once.
func (c *client) prime(ctx context.Context) error {
	err := c.sess.Begin()
	if err == nil {
		_, err = c.sess.End(ctx, kgo.TryAbort)
	}
	if err != nil {
		return fmt.Errorf("the first transaction: %w", err)
	}
	return nil
}

// run works until every record of the input is committed by somebody.
func (c *client) run(ctx context.Context) error {
	var written chan struct{}
	if c.redis != nil && c.o.async {
		c.writes, written = make(chan []*part, 1), make(chan struct{})
		go func() {
			defer close(written)
			for parts := range c.writes {
				if err := c.redis.write(parts); err != nil {
					c.failed.CompareAndSwap(nil, &err)
				}
			}
		}()
	}
	var err error
	for err == nil && c.left.Load() > 0 && ctx.Err() == nil {
		err = c.transaction(ctx)
	}
	if c.writes != nil {
		close(c.writes)
		<-written
	}
	if failed := c.failed.Load(); failed != nil {
		err = errors.Join(err, *failed)
	}
	return err
}

func (c *client) transaction(ctx context.Context) error {
	if err := c.sess.Begin(); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	records, began := 0, time.Now()
	for records == 0 || time.Since(began) < c.o.commit {
		// The end of the input, where other clients finish, must not be waited for long.
		wait, cancel := context.WithTimeout(ctx, max(c.o.commit-time.Since(began), 10*time.Millisecond))
		fetches := c.sess.PollRecords(wait, pollRecordsMax)
		cancel()
		var failed error
		fetches.EachError(func(_ string, _ int32, err error) {
			if !errors.Is(err, context.DeadlineExceeded) {
				failed = err
			}
		})
		if failed != nil {
			return fmt.Errorf("fetch: %w", failed)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if err := c.record(ctx, r); err != nil && failed == nil {
				failed = err
			}
		})
		if failed != nil {
			return failed
		}
		records += fetches.NumRecords()
		if records == 0 && (c.left.Load() == 0 || ctx.Err() != nil) {
			break
		}
	}
	return c.commit(ctx, records)
}

func (c *client) commit(ctx context.Context, records int) error {
	var parts []*part
	for _, p := range c.parts {
		if len(p.changed) == 0 {
			continue
		}
		for key, s := range p.changed {
			c.produce(ctx, c.o.changelog, p.number, []byte(key), s.Encode())
		}
		parts = append(parts, &part{number: p.number, changed: p.changed})
		p.changed = make(map[string]workload.State, len(p.changed))
	}
	if committed, err := c.sess.End(ctx, kgo.TryCommit); err != nil || !committed {
		return fmt.Errorf("the transaction was not committed: %v", err)
	}
	if failed := c.failed.Load(); failed != nil {
		return *failed
	}
	switch {
	case len(parts) == 0 || c.redis == nil:
	case c.writes != nil:
		c.writes <- parts
	default:
		if err := c.redis.write(parts); err != nil {
			return err
		}
	}
	c.left.Add(-int64(records))
	return nil
}

func (c *client) produce(ctx context.Context, topic string, partition int32, key, value []byte) {
	c.sess.Produce(ctx, &kgo.Record{Topic: topic, Partition: partition, Key: key, Value: value}, func(_ *kgo.Record, err error) {
		if err != nil {
			c.failed.CompareAndSwap(nil, &err)
		}
	})
}

// record applies one record. The output's partition is the input's: their keys and their number are the same.
func (c *client) record(ctx context.Context, r *kgo.Record) error {
	p := c.parts[r.Partition]
	if p == nil {
		p = &part{number: r.Partition, orders: map[string]workload.State{}, changed: map[string]workload.State{}}
		c.parts[r.Partition] = p
	}
	p.now = max(p.now, r.Timestamp.UnixMilli())
	for len(p.open) > 0 && p.open[0].at < p.now {
		d := heap.Pop(&p.open).(deadline)
		if s := p.orders[d.key]; s.Deadline == d.at {
			t := s.TimeOutOf(d.key)
			c.produce(ctx, c.o.output, p.number, []byte(d.key), workload.AppendTransition(nil, &t))
			p.keep(d.key, s.TimeOut())
		}
	}
	var e workload.Event
	if err := workload.DecodeEvent(r.Value, &e); err != nil {
		return fmt.Errorf("%s/%d@%d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	was := p.orders[string(r.Key)]
	next, changed := was.Apply(&e, p.now)
	if next == was {
		return nil
	}
	key := string(r.Key)
	if changed {
		t := workload.Transition{Key: key, From: was.Status, To: next.Status, EventID: e.ID, Time: e.Time}
		c.produce(ctx, c.o.output, p.number, r.Key, workload.AppendTransition(make([]byte, 0, 128), &t))
	}
	if next.Deadline != 0 && was.Deadline == 0 {
		heap.Push(&p.open, deadline{next.Deadline, key})
	}
	p.keep(key, next)
	return nil
}

func (p *part) keep(key string, s workload.State) { p.orders[key], p.changed[key] = s, s }

type deadline struct {
	at  int64
	key string
}

type deadlines []deadline

func (h deadlines) Len() int           { return len(h) }
func (h deadlines) Less(i, j int) bool { return h[i].at < h[j].at }
func (h deadlines) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *deadlines) Push(x any) { *h = append(*h, x.(deadline)) }

// Pop implements heap.Interface.
func (h *deadlines) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
