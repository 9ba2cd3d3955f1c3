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

const stablePause = 50 * time.Millisecond

// stableOffsets is Log.Offsets.
func stableOffsets(ctx context.Context, cl *kgo.Client, c clock.Clock, group string, topics []string, partitions []int32) ([]Offset, error) {
	for {
		offsets, err := stableOffsetsOnce(ctx, cl, group, topics, partitions)
		if err == nil || !kerr.IsRetriable(err) {
			return offsets, err
		}
		if c.Sleep(ctx, stablePause) != nil {
			return nil, err
		}
	}
}

func stableOffsetsOnce(ctx context.Context, cl *kgo.Client, group string, topics []string, partitions []int32) ([]Offset, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group, req.RequireStable = group, true
	for _, topic := range topics {
		t := kmsg.NewOffsetFetchRequestTopic()
		t.Topic, t.Partitions = topic, partitions
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return nil, fmt.Errorf("fetch offsets of group %s: %w", group, err)
	}
	got := map[TopicPartition]Offset{}
	take := func(topic string, partition int32, at int64, metadata *string, code int16) error {
		if err := kerr.ErrorForCode(code); err != nil {
			return fmt.Errorf("fetch offset of group %s in %s/%d: %w", group, topic, partition, err)
		}
		o := Offset{Topic: topic, Partition: partition, At: at}
		if metadata != nil {
			o.Metadata = *metadata
		}
		got[TopicPartition{topic, partition}] = o
		return nil
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := take(t.Topic, p.Partition, p.Offset, p.Metadata, p.ErrorCode); err != nil {
				return nil, err
			}
		}
	}
	for _, g := range resp.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			return nil, fmt.Errorf("fetch offsets of group %s: %w", group, err)
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if err := take(t.Topic, p.Partition, p.Offset, p.Metadata, p.ErrorCode); err != nil {
					return nil, err
				}
			}
		}
	}
	var offsets []Offset
	for _, topic := range topics {
		for _, n := range partitions {
			o, ok := got[TopicPartition{topic, n}]
			if !ok {
				return nil, fmt.Errorf("fetch offsets of group %s: no answer for %s/%d", group, topic, n)
			}
			offsets = append(offsets, o)
		}
	}
	return offsets, nil
}

// Bounds returns the first offset of a partition and its high watermark: the end that includes what is undecided.
func Bounds(ctx context.Context, cl *kgo.Client, topic string, partition int32) (start, end int64, err error) {
	if start, err = listOffset(ctx, cl, topic, partition, -2); err != nil {
		return 0, 0, err
	}
	end, err = listOffset(ctx, cl, topic, partition, -1)
	return start, end, err
}

func listOffset(ctx context.Context, cl *kgo.Client, topic string, partition int32, at int64) (int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.IsolationLevel = -1, 0 // 0: read uncommitted
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = partition, at
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return 0, fmt.Errorf("list offsets of %s/%d: %w", topic, partition, err)
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return 0, fmt.Errorf("list offsets of %s/%d: %w", topic, partition, errors.New("no answer"))
	}
	got := resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return 0, fmt.Errorf("list offsets of %s/%d: %w", topic, partition, err)
	}
	return got.Offset, nil
}
