package jobs

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
)

// Log is the log as workers read it.
type Log interface {
	// Partitions is how many the topic has.
	Partitions(ctx context.Context, topic string) (int32, error)
	// Scan hands the committed records of a partition to f, from its begin to before until, or, where that is negative, to
	// where it ends now. An error of f ends it.
	Scan(ctx context.Context, topic string, partition int32, until int64, f func(*kgo.Record) error) error
	// At returns the record at an offset; nil: it is not there any more.
	At(ctx context.Context, topic string, partition int32, offset int64) (*kgo.Record, error)
	// TopicID is Kafka's id of the topic.
	TopicID(ctx context.Context, topic string) ([16]byte, error)
}

type reading struct{ kafka.Log }

// Partitions implements Log.
func (l reading) Partitions(ctx context.Context, topic string) (int32, error) {
	info, err := l.Describe(ctx, topic)
	if err == nil && info.Count <= 0 {
		err = fmt.Errorf("topic %s has no partitions", topic)
	}
	return info.Count, err
}

// TopicID implements Log.
func (l reading) TopicID(ctx context.Context, topic string) ([16]byte, error) {
	info, err := l.Describe(ctx, topic)
	return info.ID, err
}

// Scan implements Log.
func (l reading) Scan(ctx context.Context, topic string, partition int32, until int64, f func(*kgo.Record) error) error {
	start, end, err := l.Bounds(ctx, topic, partition)
	if err != nil {
		return err
	}
	if until >= 0 {
		end = min(end, until)
	}
	return l.scan(ctx, topic, partition, start, end, f)
}

// scan reads from start to end; what retention removed meanwhile is left out.
func (l reading) scan(ctx context.Context, topic string, partition int32, start, end int64, f func(*kgo.Record) error) error {
	for {
		at := start
		err := l.Read(ctx, kafka.Range{Topic: topic, Partition: partition, From: start, To: end, Patience: readPatience}, func(records []*kgo.Record, next int64) error {
			for _, rec := range records {
				if rec.Offset >= end {
					break
				}
				if err := f(rec); err != nil {
					return err
				}
			}
			at = next
			return nil
		})
		if !errors.Is(err, kafka.ErrTrimmed) {
			return err
		}
		first, _, err := l.Bounds(ctx, topic, partition)
		if err != nil {
			return err
		}
		if start = max(at, first); start >= end {
			return nil
		}
	}
}

// errEnough ends a reading that has what it wants.
var errEnough = errors.New("enough")

// At implements Log.
func (l reading) At(ctx context.Context, topic string, partition int32, offset int64) (found *kgo.Record, err error) {
	start, end, err := l.Bounds(ctx, topic, partition)
	if err != nil || offset < start || offset >= end {
		return nil, err
	}
	err = l.scan(ctx, topic, partition, offset, offset+1, func(rec *kgo.Record) error {
		if rec.Offset == offset {
			found = rec
		}
		return nil
	})
	return found, err
}

// chunk is what was read ahead of one partition.
type chunk struct {
	records []*kgo.Record
	next    int64 // the offset up to which they reach
}

// chunk reads what comes next of a range, some of it at least.
func (l reading) chunk(ctx context.Context, topic string, p schemas.JobPosition) (c chunk, err error) {
	c.next = p.Offset
	bytes := 0
	err = l.Read(ctx, kafka.Range{Topic: topic, Partition: int32(p.Partition), From: p.Offset, To: p.Until, Patience: readPatience}, func(records []*kgo.Record, next int64) error {
		for _, rec := range records {
			if rec.Offset < p.Until {
				c.records = append(c.records, rec)
				bytes += len(rec.Value)
			}
		}
		if c.next = min(next, p.Until); bytes >= chunkBytesMax || len(c.records) >= scanRecordsMax {
			return errEnough
		}
		return nil
	})
	switch {
	case errors.Is(err, kafka.ErrTrimmed) && len(c.records) == 0:
		first, _, err := l.Bounds(ctx, topic, int32(p.Partition))
		c.next = min(max(first, p.Offset), p.Until)
		return c, err
	case errors.Is(err, errEnough), errors.Is(err, kafka.ErrTrimmed):
		return c, nil
	}
	return c, err
}
