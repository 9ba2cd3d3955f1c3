package main

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/schemas"
)

// topics are all that a run reads, inputs first.
var topics = []string{
	schemas.TopicPayPalEvents, schemas.TopicStoreOrders, schemas.TopicOrdersInbox, schemas.TopicTransitions, schemas.TopicAutomationInbox,
	schemas.TopicRuns, schemas.TopicCommands, schemas.TopicDeliveries, schemas.TopicDeadLetters, schemas.TopicReceiverBeats,
	schemas.TopicOrdersChangelog, schemas.TopicAutomationLog,
}

// reads say which group reads what.
var reads = map[string][]string{
	"tillstream-orders":     {schemas.TopicPayPalEvents, schemas.TopicStoreOrders, schemas.TopicOrdersInbox},
	"tillstream-automation": {schemas.TopicAutomationInbox},
	"tillstream-deliver":    {schemas.TopicCommands},
}

// spot is one partition of a topic.
type spot struct {
	topic     string
	partition int32
}

func (s spot) String() string { return fmt.Sprintf("%s/%d", s.topic, s.partition) }

// history is every committed record of every topic, as far as it was read.
type history struct {
	client  *kgo.Client
	admin   *kadm.Client
	records map[spot][]*kgo.Record // in the order of their offsets
	next    map[spot]int64         // offset up to which everything was read, markers included
	ends    map[spot]int64         // of the last look
}

func newHistory(brokers []string) (*history, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond), kgo.RetryTimeout(requestPatience),
	)
	if err != nil {
		return nil, err
	}
	return &history{client: client, admin: kadm.NewClient(client), records: map[spot][]*kgo.Record{}, next: map[spot]int64{}, ends: map[spot]int64{}}, nil
}

func (h *history) close() { h.client.Close() }

// restless reports a record that also comes while nothing happens: a tick, what is committed with one, or a beat.
func restless(topic string, key []byte) bool {
	switch topic {
	case schemas.TopicReceiverBeats, schemas.TopicOrdersChangelog, schemas.TopicAutomationLog:
		return true
	}
	return len(key) == 0
}

// catchUp reads up to the present ends. fresh is how many records came of those that mean that something happens.
func (h *history) catchUp(ctx context.Context) (fresh int, err error) {
	ends, err := h.admin.ListCommittedOffsets(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("ends of the topics: %w", err)
	}
	ends.Each(func(l kadm.ListedOffset) { h.ends[spot{l.Topic, l.Partition}] = l.Offset })
	for {
		behind := ""
		for s, end := range h.ends {
			if h.next[s] < end {
				behind = fmt.Sprintf("%s stands at %d of %d", s, h.next[s], end)
			}
		}
		if behind == "" {
			return fresh, nil
		}
		fetches := h.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return fresh, fmt.Errorf("read the topics: %s: %w", behind, ctx.Err())
		}
		fetches.EachRecord(func(r *kgo.Record) {
			s := spot{r.Topic, r.Partition}
			h.next[s] = max(h.next[s], r.Offset+1)
			if !r.Attrs.IsControl() {
				h.records[s] = append(h.records[s], r)
				if !restless(r.Topic, r.Key) {
					fresh++
				}
			}
		})
	}
}

// last is the offset after the last record of s, markers not counted.
func (h *history) last(s spot) int64 {
	list := h.records[s]
	if len(list) == 0 {
		return 0
	}
	return list[len(list)-1].Offset + 1
}

// of are the records of a topic, partition by partition.
func (h *history) of(topic string) (list []*kgo.Record) {
	for p := range h.partitions(topic) {
		list = append(list, h.records[spot{topic, p}]...)
	}
	return list
}

// partitions are the numbers of a topic's partitions.
func (h *history) partitions(topic string) iter.Seq[int32] {
	return func(yield func(int32) bool) {
		for p := int32(0); ; p++ {
			if _, ok := h.ends[spot{topic, p}]; !ok || !yield(p) {
				return
			}
		}
	}
}

// count is how many records were read in all.
func (h *history) count() (n int) {
	for _, list := range h.records {
		n += len(list)
	}
	return n
}

// lag is how many records each group still has before it, and where; a group without offset has everything before it.
func (h *history) lag(ctx context.Context) (total int, where string, err error) {
	var b strings.Builder
	for group, inputs := range reads {
		offsets, err := h.admin.FetchOffsets(ctx, group)
		if err != nil {
			return 0, "", fmt.Errorf("offsets of group %s: %w", group, err)
		}
		for _, topic := range inputs {
			for s := range h.ends {
				if s.topic != topic {
					continue
				}
				at := int64(0)
				if o, ok := offsets.Lookup(topic, s.partition); ok {
					at = o.At
				}
				n := 0
				for i := len(h.records[s]) - 1; i >= 0 && h.records[s][i].Offset >= at; i-- {
					if !restless(topic, h.records[s][i].Key) {
						n++
					}
				}
				if n > 0 {
					total += n
					fmt.Fprintf(&b, " %s %s: %d records from %d on;", group, s, n, at)
				}
			}
		}
	}
	return total, b.String(), nil
}
