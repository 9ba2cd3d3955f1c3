package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/sim/sched"
	"github.com/tillstream/tillstream/pipeline/kafka"
)

const (
	pause = 50 * time.Millisecond
	// truncationPatience is how long a log may seem to end too early before a reader says so.
	truncationPatience = 10 * time.Second
)

// Client is the cluster as one process reaches it.
type Client struct {
	b *Broker
	p *sched.Proc
}

var _ kafka.Log = (*Client)(nil)

// Client returns the cluster for a process.
func (b *Broker) Client(p *sched.Proc) *Client { return &Client{b, p} }

// Describe implements kafka.Log.
func (c *Client) Describe(ctx context.Context, topic string) (info kafka.TopicInfo, err error) {
	asked := c.b.ask(ctx, c.p, "describe", func() {
		t := c.b.topics[topic]
		if t == nil {
			err = fmt.Errorf("describe topic %s: %w", topic, kerr.UnknownTopicOrPartition)
			return
		}
		info, err = kafka.TopicInfo{ID: t.ID, Count: int32(len(t.Parts)), Leaders: map[int32]int32{}, Replicas: 3}, nil
		for n := range t.Parts {
			info.Leaders[int32(n)] = 0
		}
	})
	return info, errors.Join(asked, err)
}

// Bounds implements kafka.Log. The two ends are two requests.
func (c *Client) Bounds(ctx context.Context, topic string, partition int32) (start, end int64, err error) {
	for _, into := range []*int64{&start, &end} {
		asked := c.b.ask(ctx, c.p, "list-offsets", func() {
			p := c.b.part(topic, partition)
			if p == nil {
				err = fmt.Errorf("list offsets of %s/%d: %w", topic, partition, kerr.UnknownTopicOrPartition)
				return
			}
			if *into = p.start; into == &end {
				*into = p.next
			}
		})
		if err = errors.Join(asked, err); err != nil {
			return 0, 0, err
		}
	}
	return start, end, nil
}

// OffsetAt implements kafka.Log.
func (c *Client) OffsetAt(ctx context.Context, topic string, partition int32, t time.Time) (at int64, err error) {
	asked := c.b.ask(ctx, c.p, "list-offsets", func() {
		p := c.b.part(topic, partition)
		if p == nil {
			err = fmt.Errorf("list offsets of %s/%d: %w", topic, partition, kerr.UnknownTopicOrPartition)
			return
		}
		at = p.next
		for _, rec := range p.log {
			if !rec.Record.Timestamp.Before(t) {
				at = min(at, rec.Record.Offset)
			}
		}
	})
	return at, errors.Join(asked, err)
}

// Offsets implements kafka.Log.
func (c *Client) Offsets(ctx context.Context, group string, topics []string, partitions []int32) (offsets []kafka.Offset, err error) {
	var keys []kafka.TopicPartition
	for _, t := range topics {
		for _, n := range partitions {
			keys = append(keys, kafka.TopicPartition{Topic: t, Partition: n})
		}
	}
	return c.stable(ctx, group, keys)
}

func (c *Client) stable(ctx context.Context, group string, keys []kafka.TopicPartition) (offsets []kafka.Offset, err error) {
	for {
		asked := c.b.ask(ctx, c.p, "offset-fetch", func() { offsets, err = c.b.group(group).fetch(keys) })
		if err = errors.Join(asked, err); !errors.Is(err, kerr.UnstableOffsetCommit) {
			return offsets, err
		}
		if c.p.Sleep(ctx, pause) != nil {
			return nil, err
		}
		err = nil
	}
}

// Read implements kafka.Log.
func (c *Client) Read(ctx context.Context, r kafka.Range, apply func(records []*kgo.Record, next int64) error) error {
	moved, next := c.b.s.Elapsed(), r.From
	for next < r.To {
		var (
			records        []*kgo.Record
			after, end, to int64
			err            error
		)
		asked := c.b.ask(ctx, c.p, "fetch", func() {
			p := c.b.part(r.Topic, r.Partition)
			switch {
			case p == nil:
				err = kerr.UnknownTopicOrPartition
			case next < p.start:
				err = fmt.Errorf("%w: %w", kafka.ErrTrimmed, kerr.OffsetOutOfRange)
			case next > p.next:
				err = fmt.Errorf("%w: %w", kafka.ErrTrimmed, kerr.OffsetOutOfRange)
			default:
				records, after = p.read(next, 1+c.b.r.IntN(c.b.o.FetchMax), false)
				end, to = p.next, p.Stable()
			}
		})
		if err = errors.Join(asked, err); err != nil {
			return fmt.Errorf("read %s/%d at %d: %w", r.Topic, r.Partition, next, err)
		}
		if after > next {
			moved, next = c.b.s.Elapsed(), after
			if err := apply(records, next); err != nil {
				return err
			}
			continue
		}
		still := c.b.s.Elapsed() - moved
		switch {
		case end < r.To && still > min(truncationPatience, r.Patience):
			return fmt.Errorf("%s/%d ends at %d, before %d: %w", r.Topic, r.Partition, end, r.To, kafka.ErrTruncated)
		case end >= r.To && still > r.Patience:
			return fmt.Errorf("%s/%d stands at %d of %d, stable to %d: %w", r.Topic, r.Partition, next, r.To, to, kafka.ErrHanging)
		}
		if err := c.p.Sleep(ctx, 2*pause); err != nil {
			return err
		}
	}
	return nil
}

// Append implements kafka.Log: promise is called on the process, later.
func (c *Client) Append(ctx context.Context, rec *kgo.Record, promise func(*kgo.Record, error)) {
	c.p.Check()
	c.p.Go(func() { promise(rec, c.Produce(ctx, rec)) })
}

// Produce writes a record outside of any transaction, and waits. An error leaves open whether it is there.
func (c *Client) Produce(ctx context.Context, rec *kgo.Record) (err error) {
	wrote := false
	asked := c.b.ask(ctx, c.p, "produce-plain", func() {
		p := c.b.part(rec.Topic, rec.Partition)
		if p == nil {
			err = kerr.UnknownTopicOrPartition
			return
		}
		if !wrote { // a repeated request is known to the broker: the producer is idempotent
			copied := *rec
			*rec = *p.append(&copied, nil, false, c.p.Name).Record
			wrote = true
		}
	})
	return errors.Join(asked, err)
}

// Close implements kafka.Log.
func (c *Client) Close() {}
