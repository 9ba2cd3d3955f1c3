package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tillstream/tillstream/pipeline/clock"
)

// Errors of reading a partition to a given offset.
var (
	// ErrTruncated: the partition ends before an offset that it had reached: committed data was lost.
	ErrTruncated = errors.New("the log was truncated")
	// ErrHanging: a transaction stays open, and hides what lies behind it.
	ErrHanging = errors.New("a transaction hangs")
	// ErrTrimmed: the offset lies before the start of the log.
	ErrTrimmed = errors.New("the offset is no longer in the log")
)

const (
	fetchWait     = 500 * time.Millisecond
	fetchBytesMax = 4 << 20
	// holeProofs is how many empty answers prove that nothing is left below the last stable offset.
	holeProofs     = 3
	readTriesMax   = 20
	readRetryPause = 100 * time.Millisecond
	// truncationPatience is how long a log may seem to end too early: a new leader learns the high watermark only
	// from its followers' next fetches.
	truncationPatience = 10 * time.Second
)

// Reader reads one partition, committed records only, and always knows the next offset: also where aborted data,
// markers or holes left by compaction are all that is there. It is not safe for concurrent use.
type Reader struct {
	cl        *kgo.Client
	topic     string
	partition int32
	next      int64

	leader int32
	id     [16]byte
	known  bool
	empty  int
}

// NewReader starts at offset next.
func NewReader(cl *kgo.Client, topic string, partition int32, next int64) *Reader {
	return &Reader{cl: cl, topic: topic, partition: partition, next: next}
}

// ReadTo hands committed records to apply until everything below end was read; next is the offset up to which the
// records reach. Progress that stops for patience is ErrHanging.
func (r *Reader) ReadTo(ctx context.Context, end int64, patience time.Duration, now func() time.Time, apply func(records []*kgo.Record, next int64) error) error {
	moved := now()
	for r.next < end {
		before := r.next
		fp, err := r.fetch(ctx)
		if err != nil {
			return err
		}
		if r.next == before && fp.HighWatermark < end && now().Sub(moved) > min(truncationPatience, patience) {
			return fmt.Errorf("%s/%d ends at %d, before %d: %w", r.topic, r.partition, fp.HighWatermark, end, ErrTruncated)
		}
		if r.next == before && fp.LastStableOffset >= end && fp.HighWatermark >= end {
			if r.empty++; r.empty == holeProofs {
				r.next = end
			}
		}
		if r.next > before {
			moved, r.empty = now(), 0
			if err := apply(fp.Records, r.next); err != nil {
				return err
			}
			continue
		}
		if fp.HighWatermark < end {
			if err := clock.System().Sleep(ctx, readRetryPause); err != nil {
				return err
			}
			continue
		}
		if now().Sub(moved) > patience {
			return fmt.Errorf("%s/%d stands at %d of %d, stable to %d: %w", r.topic, r.partition, r.next, end, fp.LastStableOffset, ErrHanging)
		}
	}
	return nil
}

// fetch reads what follows next, and moves it on.
func (r *Reader) fetch(ctx context.Context) (kgo.FetchPartition, error) {
	for try := 1; ; try++ {
		fp, err := r.fetchOnce(ctx)
		switch {
		case err == nil:
			return fp, nil
		case errors.Is(err, kerr.OffsetOutOfRange):
			return fp, fmt.Errorf("read %s/%d at %d: %w: %w", r.topic, r.partition, r.next, ErrTrimmed, err)
		case ctx.Err() != nil || try == readTriesMax:
			return fp, fmt.Errorf("read %s/%d at %d: %w", r.topic, r.partition, r.next, err)
		}
		r.known = false // leader and id may have changed
		if err := clock.System().Sleep(ctx, readRetryPause); err != nil {
			return fp, err
		}
	}
}

func (r *Reader) fetchOnce(ctx context.Context) (kgo.FetchPartition, error) {
	if !r.known {
		if err := r.locate(ctx); err != nil {
			return kgo.FetchPartition{}, err
		}
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel = int32(fetchWait.Milliseconds()), 1, fetchBytesMax, 1
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = r.partition, r.next, fetchBytesMax
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID, topic.Partitions = r.topic, r.id, []kmsg.FetchRequestTopicPartition{part}
	req.Topics = append(req.Topics, topic)
	raw, err := r.cl.Broker(int(r.leader)).Request(ctx, req)
	if err != nil {
		return kgo.FetchPartition{}, err
	}
	resp := raw.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return kgo.FetchPartition{}, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return kgo.FetchPartition{}, errors.New("the broker answered for another partition")
	}
	answer := &resp.Topics[0].Partitions[0]
	fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: r.next, IsolationLevel: kgo.ReadCommitted(), Topic: r.topic, Partition: r.partition,
	}, answer, kgo.DefaultDecompressor(), nil)
	if fp.Err != nil {
		return fp, fp.Err
	}
	r.next = next
	return fp, nil
}

func (r *Reader) locate(ctx context.Context) error {
	info, err := DescribeTopic(ctx, r.cl, r.topic)
	if err != nil {
		return err
	}
	leader, ok := info.Leaders[r.partition]
	if !ok {
		return fmt.Errorf("%s/%d has no leader: %w", r.topic, r.partition, kerr.LeaderNotAvailable)
	}
	r.leader, r.id, r.known = leader, info.ID, true
	return nil
}

// TopicInfo is what recovery needs to know of a topic.
type TopicInfo struct {
	ID      [16]byte
	Leaders map[int32]int32 // by partition; one without a leader is missing
	Count   int32
	// Replicas is the least number of any partition.
	Replicas int
}

// DescribeTopic asks the brokers, not the client's cache.
func DescribeTopic(ctx context.Context, cl *kgo.Client, topic string) (TopicInfo, error) {
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return TopicInfo{}, fmt.Errorf("describe topic %s: %w", topic, err)
	}
	if len(resp.Topics) != 1 {
		return TopicInfo{}, fmt.Errorf("describe topic %s: %d answers", topic, len(resp.Topics))
	}
	got := resp.Topics[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return TopicInfo{}, fmt.Errorf("describe topic %s: %w", topic, err)
	}
	info := TopicInfo{ID: got.TopicID, Leaders: map[int32]int32{}, Count: int32(len(got.Partitions))}
	for i, p := range got.Partitions {
		if i == 0 || len(p.Replicas) < info.Replicas {
			info.Replicas = len(p.Replicas)
		}
		if p.Leader >= 0 {
			info.Leaders[p.Partition] = p.Leader
		}
	}
	return info, nil
}
