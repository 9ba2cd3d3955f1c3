package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
)

// Records counts the committed records of each audited topic. Offsets alone would count the transactions' markers too.
func Records(ctx context.Context, o kafka.Options) (map[string]int, error) {
	var topics []string
	for _, list := range Tables {
		topics = append(topics, list...)
	}
	cl, err := o.Client(kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListCommittedOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("ends of the topics: %w", err)
	}
	if err := ends.Error(); err != nil {
		return nil, fmt.Errorf("ends of the topics: %w", err)
	}
	open := map[string]map[int32]int64{}
	ends.Each(func(l kadm.ListedOffset) {
		if l.Offset > 0 {
			if open[l.Topic] == nil {
				open[l.Topic] = map[int32]int64{}
			}
			open[l.Topic][l.Partition] = l.Offset
		}
	})
	counts := map[string]int{}
	for left(open) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("count records: %w", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				counts[r.Topic]++
			}
			if end, ok := open[r.Topic][r.Partition]; ok && r.Offset+1 >= end {
				delete(open[r.Topic], r.Partition)
			}
		})
	}
	return counts, nil
}

func left(open map[string]map[int32]int64) (n int) {
	for _, partitions := range open {
		n += len(partitions)
	}
	return n
}
