package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const stablePause = 50 * time.Millisecond

// StableOffsets returns the group's next offset of one partition of each topic, -1 where it has none. It waits while
// a transaction that commits one of them is undecided (KIP-447), for as long as ctx allows.
func StableOffsets(ctx context.Context, cl *kgo.Client, group string, topics []string, partition int32) (map[string]int64, error) {
	for {
		offsets, err := stableOffsetsOnce(ctx, cl, group, topics, partition)
		if err == nil || !kerr.IsRetriable(err) {
			return offsets, err
		}
		if Sleep(ctx, stablePause) != nil {
			return nil, err
		}
	}
}

func stableOffsetsOnce(ctx context.Context, cl *kgo.Client, group string, topics []string, partition int32) (map[string]int64, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group, req.RequireStable = group, true
	for _, topic := range topics {
		t := kmsg.NewOffsetFetchRequestTopic()
		t.Topic, t.Partitions = topic, []int32{partition}
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return nil, fmt.Errorf("fetch offsets of group %s: %w", group, err)
	}
	out := map[string]int64{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, fmt.Errorf("fetch offset of group %s in %s/%d: %w", group, t.Topic, p.Partition, err)
			}
			out[t.Topic] = p.Offset
		}
	}
	for _, g := range resp.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			return nil, fmt.Errorf("fetch offsets of group %s: %w", group, err)
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, fmt.Errorf("fetch offset of group %s in %s/%d: %w", group, t.Topic, p.Partition, err)
				}
				out[t.Topic] = p.Offset
			}
		}
	}
	if len(out) != len(topics) {
		return nil, fmt.Errorf("fetch offsets of group %s: %d answers for %d topics", group, len(out), len(topics))
	}
	return out, nil
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
