package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/bench/workload"
	"github.com/tillstream/tillstream/schemas"
)

// createTopics makes topics for one run. compacted ones are changelogs.
func (h *harness) createTopics(ctx context.Context, compacted bool, names ...string) error {
	cl, err := h.kafkaClient()
	if err != nil {
		return err
	}
	defer cl.Close()
	made, err := kadm.NewClient(cl).CreateTopics(ctx, workload.Partitions, 1, workload.TopicConfig(compacted), names...)
	if err == nil {
		err = made.Error()
	}
	if err != nil {
		return fmt.Errorf("create topics %v: %w", names, err)
	}
	return until(ctx, startLimit, "the topics are known", func(ctx context.Context) error {
		listed, err := kadm.NewClient(cl).ListEndOffsets(ctx, names...)
		if err == nil {
			err = listed.Error()
		}
		return err
	})
}

// deleteTopics frees the disk; what is left of a failed run goes with the folder.
func (h *harness) deleteTopics(ctx context.Context, names ...string) {
	cl, err := h.kafkaClient()
	if err != nil {
		return
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).DeleteTopics(ctx, names...); err != nil {
		h.say("could not delete topics %v: %v", names, err)
	}
}

func (h *harness) kafkaClient(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(h.brokers), kgo.ClientID("bench-harness")}, opts...)...)
}

// loader appends messages to a topic.
type loader struct {
	cl     *kgo.Client
	topic  string
	failed chan error
	count  int
}

func (h *harness) newLoader(topic string, opts ...kgo.Opt) (*loader, error) {
	cl, err := h.kafkaClient(append([]kgo.Opt{
		kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.ProducerLinger(50 * time.Millisecond), kgo.MaxBufferedRecords(100_000),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
	}, opts...)...)
	if err != nil {
		return nil, err
	}
	return &loader{cl: cl, topic: topic, failed: make(chan error, 1)}, nil
}

func (l *loader) add(ctx context.Context, m workload.Message) {
	l.count++
	l.cl.Produce(ctx, &kgo.Record{Topic: l.topic, Key: m.Key, Value: m.Value, Timestamp: m.Time}, func(_ *kgo.Record, err error) {
		if err != nil {
			select {
			case l.failed <- err:
			default:
			}
		}
	})
}

// close waits until everything is appended.
func (l *loader) close(ctx context.Context) error {
	defer l.cl.Close()
	if err := l.cl.Flush(ctx); err != nil {
		return fmt.Errorf("load topic %s: %w", l.topic, err)
	}
	select {
	case err := <-l.failed:
		return fmt.Errorf("load topic %s: %w", l.topic, err)
	default:
		return nil
	}
}

const (
	decidedLimit = 30 * time.Second // for transactions that a killed program left open
	silenceLimit = time.Minute
)

// readCommitted calls visit for each committed record of a topic, up to its end now.
func (h *harness) readCommitted(ctx context.Context, topic string, visit func(*kgo.Record)) error {
	cl, err := h.kafkaClient(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		return err
	}
	defer cl.Close()
	left := map[int32]int64{}
	err = until(ctx, decidedLimit, "every transaction is decided", func(ctx context.Context) error {
		ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return err
		}
		stable, err := kadm.NewClient(cl).ListCommittedOffsets(ctx, topic)
		if err != nil {
			return err
		}
		ends.Each(func(e kadm.ListedOffset) {
			s, _ := stable.Lookup(topic, e.Partition)
			if s.Offset != e.Offset {
				err = errors.New("a transaction is open")
			}
			if e.Offset > 0 {
				left[e.Partition] = e.Offset
			}
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("read topic %s: %w", topic, err)
	}
	for len(left) > 0 {
		silence, cancel := context.WithTimeout(ctx, silenceLimit)
		fetches := cl.PollFetches(silence)
		cancel()
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read topic %s: %w", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				visit(r)
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return nil
}

// committed is the sum of a group's offsets in topic.
func (h *harness) committed(ctx context.Context, group, topic string) (int64, error) {
	cl, err := h.kafkaClient()
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	offsets, err := kadm.NewClient(cl).FetchOffsets(ctx, group)
	if err != nil {
		return 0, err
	}
	var sum int64
	offsets.Each(func(o kadm.OffsetResponse) {
		if o.Topic == topic {
			sum += max(0, o.At)
		}
	})
	return sum, nil
}

// check compares an output with what is expected of it. No dead letter may have been written either.
func (h *harness) check(ctx context.Context, output string, want *workload.Expected) error {
	c := workload.NewChecker(want)
	if err := h.readCommitted(ctx, output, func(r *kgo.Record) { c.Add(r.Key, r.Value) }); err != nil {
		return err
	}
	letters := 0
	if err := h.readCommitted(ctx, schemas.TopicDeadLetters, func(*kgo.Record) { letters++ }); err != nil {
		return err
	}
	if letters > 0 {
		return fmt.Errorf("%d records became dead letters", letters)
	}
	return c.Result()
}
