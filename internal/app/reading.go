package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/reading"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// startReading has the management port tell what happened, where ClickHouse is known, and what comes in.
func (p *process) startReading(ctx context.Context) error {
	s := p.Config.Settings
	hub := reading.NewHub(&TailLog{Kafka: s.Kafka, Decode: p.codec.Decode}, p.Now)
	p.atEnd(hub.Close)
	context.AfterFunc(ctx, hub.Close) // a stream that is open must not hold up the stop
	p.board.SetTail(hub)
	options := p.ClickHouse
	if options == nil {
		if s.ClickHouse.Address == "" {
			return nil
		}
		options = ClickHouseOptions(s.ClickHouse)
	}
	store, err := chsink.Open(ctx, chsink.Options{Client: options, Cluster: s.ClickHouse.Cluster, Now: p.Now, Log: p.Log.With().Str("role", "api").Logger()})
	if err != nil {
		return err
	}
	p.atEnd(func() { _ = store.Close() })
	progress, err := OpenProgress(s.Kafka, p.Now)
	if err != nil {
		return err
	}
	p.atEnd(progress.Close)
	p.board.SetReading(&reading.Desk{Store: store, Now: p.Now, Progress: progress.Look, Refused: func() int64 { return refusedWebhooks(p.metrics) }, Background: ctx})
	return nil
}

// refusedWebhooks is how many webhooks this process refused for good since it started.
func refusedWebhooks(g prometheus.Gatherer) (n int64) {
	families, err := g.Gather()
	if err != nil {
		return 0
	}
	for _, f := range families {
		if f.GetName() != "tillstream_ingest_answered_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				switch l.GetValue() {
				case "forged", "oversize", "encoded", "unknown_endpoint", "method":
					if l.GetName() == "outcome" {
						n += int64(m.GetCounter().GetValue())
					}
				}
			}
		}
	}
	return n
}

// TailLog reads the end of the topics that a live stream holds.
type TailLog struct {
	Kafka  kafka.Options
	Decode func([]byte) (schemas.Record, error)
}

// tailTopics are the topics of a live stream.
var tailTopics = []string{
	schemas.TopicPayPalEvents, schemas.TopicStoreOrders, schemas.TopicTransitions, schemas.TopicRuns, schemas.TopicCommands, schemas.TopicDeliveries, schemas.TopicDeadLetters,
}

// tailBytesMax bounds what one request to Kafka brings for a live stream.
const tailBytesMax = 4 << 20

// Follow implements reading.Log.
func (t *TailLog) Follow(ctx context.Context, see func(time.Time, api.RecordPlace, schemas.Record)) error {
	cl, err := t.Kafka.Client(kgo.ConsumeTopics(tailTopics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxBytes(tailBytesMax), kgo.MaxConcurrentFetches(1))
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var failed error
		fetches.EachError(func(topic string, partition int32, err error) {
			if kafka.Classify(err) == kafka.Fatal {
				failed = errors.Join(failed, fmt.Errorf("read %s/%d: %w", topic, partition, err))
			}
		})
		if failed != nil {
			return failed
		}
		fetches.EachRecord(func(r *kgo.Record) {
			rec, err := t.Decode(r.Value)
			if err != nil {
				return // the stage whose input it is makes a dead letter of it, which is seen
			}
			see(r.Timestamp, api.RecordPlace{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}, rec)
		})
	}
}

// Progress asks Kafka how far the consumer groups are.
type Progress struct {
	kafka  kafka.Options
	client *kgo.Client
	admin  *kadm.Client
	now    func() time.Time

	mu   sync.Mutex
	last reading.Progress
}

// progressGroups are the groups by the step of the overview that they do.
var progressGroups = map[string]string{
	api.StepRecorded: "tillstream-load", api.StepTransitions: "tillstream-orders", api.StepEffects: automationGroup, api.StepDelivered: "tillstream-deliver",
}

const (
	progressAge     = 5 * time.Second
	progressTimeout = 4 * time.Second
	// progressBytesMax is enough for the first record that waits in a partition.
	progressBytesMax = 64 << 10
)

// OpenProgress returns a Progress of that Kafka.
func OpenProgress(k kafka.Options, now func() time.Time) (*Progress, error) {
	cl, err := k.Client()
	if err != nil {
		return nil, err
	}
	return &Progress{kafka: k, client: cl, admin: kadm.NewClient(cl), now: now}, nil
}

// Close ends what OpenProgress opened.
func (p *Progress) Close() { p.client.Close() }

// Look tells how far the groups are, as it was at most progressAge ago.
func (p *Progress) Look(ctx context.Context) (reading.Progress, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if !p.last.At.IsZero() && now.Sub(p.last.At) < progressAge && !now.Before(p.last.At) {
		return p.last, nil
	}
	ctx, cancel := context.WithTimeout(ctx, progressTimeout)
	defer cancel()
	names := make([]string, 0, len(progressGroups))
	for _, name := range progressGroups {
		names = append(names, name)
	}
	lags, err := p.admin.Lag(ctx, names...)
	if err != nil {
		return reading.Progress{}, err
	}
	got := reading.Progress{At: now, Steps: map[string]reading.GroupProgress{}}
	for step, name := range progressGroups {
		lag := lags[name]
		if err := lag.Error(); err != nil && !errors.Is(err, kerr.GroupIDNotFound) || len(lag.Lag) == 0 {
			continue // a group that nobody was ever in has no progress
		}
		if got.Steps[step], err = p.waiting(ctx, lag.Lag); err != nil {
			return reading.Progress{}, fmt.Errorf("read what waits for %s: %w", name, err)
		}
	}
	p.last = got
	return got, nil
}

// behindOf is where a group is in a partition, and where that ends.
type behindOf struct{ next, end int64 }

// waiting finds out what a group has not taken. The offsets between where it is and the end may all be those of markers of
// transactions, which nobody takes: so the first record is looked for.
func (p *Progress) waiting(ctx context.Context, lag kadm.GroupLag) (reading.GroupProgress, error) {
	var g reading.GroupProgress
	open, from := map[kafka.TopicPartition]behindOf{}, map[string]map[int32]kgo.Offset{}
	for topic, partitions := range lag {
		for number, l := range partitions {
			if l.Err != nil {
				return g, l.Err
			}
			if l.Lag <= 0 {
				continue
			}
			next := max(l.Commit.At, l.Start.Offset)
			open[kafka.TopicPartition{Topic: topic, Partition: number}] = behindOf{next, l.End.Offset}
			if from[topic] == nil {
				from[topic] = map[int32]kgo.Offset{}
			}
			from[topic][number] = kgo.NewOffset().At(next)
		}
	}
	if len(open) == 0 {
		return g, nil
	}
	cl, err := p.kafka.Client(kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.FetchMaxPartitionBytes(progressBytesMax), kgo.FetchMaxWait(200*time.Millisecond))
	if err != nil {
		return g, err
	}
	defer cl.Close()
	for len(open) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return g, err
		}
		if err := fetches.Err0(); err != nil {
			return g, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			at := kafka.TopicPartition{Topic: r.Topic, Partition: r.Partition}
			b, ok := open[at]
			switch {
			case !ok:
			case r.Offset >= b.end:
				delete(open, at)
			case !r.Attrs.IsControl():
				delete(open, at)
				g.Waiting += b.end - r.Offset
				if g.Oldest.IsZero() || r.Timestamp.Before(g.Oldest) {
					g.Oldest = r.Timestamp
				}
			case r.Offset >= b.end-1:
				delete(open, at)
			}
		})
	}
	return g, nil
}

// OpenTail reaches the schema registry, for a command that follows what comes in.
func OpenTail(ctx context.Context, k kafka.Options, r config.Registry) (*TailLog, error) {
	ctx, cancel := context.WithTimeout(ctx, decisionsTimeout)
	defer cancel()
	c, err := openCodec(ctx, r)
	if err != nil {
		return nil, err
	}
	return &TailLog{Kafka: k, Decode: c.Decode}, nil
}
