package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/clock"
)

// concurrentPause is how soon a batch is produced again that the brokers refused because the markers of the transaction
// before were not all written (CONCURRENT_TRANSACTIONS). The client tries again only with new metadata, which it asks for
// every 5 s at most unless told otherwise.
const concurrentPause = 50 * time.Millisecond

// Cluster is Kafka itself.
type Cluster struct {
	o      Options
	client *kgo.Client // outside of any group and transaction
	clock  clock.Clock
}

var _ Log = (*Cluster)(nil)

// NewCluster opens the client for what is asked outside of groups. It talks to nobody yet.
func NewCluster(o Options, c clock.Clock, log zerolog.Logger) (*Cluster, error) {
	client, err := o.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.WithLogger(Logger(log)))
	if err != nil {
		return nil, err
	}
	return &Cluster{o: o, client: client, clock: c}, nil
}

// Describe implements Log.
func (c *Cluster) Describe(ctx context.Context, topic string) (TopicInfo, error) {
	return DescribeTopic(ctx, c.client, topic)
}

// Bounds implements Log.
func (c *Cluster) Bounds(ctx context.Context, topic string, partition int32) (start, end int64, err error) {
	return Bounds(ctx, c.client, topic, partition)
}

// Offsets implements Log.
func (c *Cluster) Offsets(ctx context.Context, group string, topics []string, partitions []int32) ([]Offset, error) {
	return stableOffsets(ctx, c.client, c.clock, group, topics, partitions)
}

// Read implements Log.
func (c *Cluster) Read(ctx context.Context, r Range, apply func(records []*kgo.Record, next int64) error) error {
	return NewReader(c.client, r.Topic, r.Partition, r.From).ReadTo(ctx, r.To, r.Patience, c.clock.Now, apply)
}

// Append implements Log.
func (c *Cluster) Append(ctx context.Context, rec *kgo.Record, promise func(*kgo.Record, error)) {
	c.client.TryProduce(ctx, rec, promise)
}

// Close implements Log.
func (c *Cluster) Close() { c.client.Close() }

// Join implements Log.
func (c *Cluster) Join(m Member) (Session, error) {
	s := &session{}
	role := []kgo.Opt{
		kgo.ConsumerGroup(m.Group), kgo.ConsumeTopics(m.Topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(RecordBytesMax - 1024),
		// A transaction's records are flushed as soon as the last one is there: until then batches may fill.
		kgo.ProducerLinger(time.Second),
		kgo.WithLogger(Logger(m.Log)),
	}
	role = append(role, m.timeouts()...)
	role = append(role, m.callbacks()...)
	if m.Life != nil {
		role = append(role, kgo.WithContext(m.Life))
	}
	if m.FetchBytesMax > 0 {
		role = append(role, kgo.FetchMaxBytes(m.FetchBytesMax))
	}
	if m.ControlRecords {
		role = append(role, kgo.KeepControlRecords())
	}
	if m.HoldRebalance {
		role = append(role, kgo.BlockRebalanceOnPoll())
	}
	// A partition that is resumed is fetched only once the fetch under way, of the others, has waited its time. Options'
	// Extra may say otherwise.
	o := c.o
	o.Extra = append([]kgo.Opt{kgo.FetchMaxWait(fetchWait)}, o.Extra...)
	opts, err := o.Opts(role...)
	if err != nil {
		return nil, err
	}
	if m.TransactionalID == "" {
		s.client, err = kgo.NewClient(append(opts, kgo.DisableAutoCommit())...)
	} else if s.txn, err = kgo.NewGroupTransactSession(append(opts, kgo.TransactionalID(m.TransactionalID))...); err == nil {
		s.client = s.txn.Client()
	}
	if err != nil {
		return nil, fmt.Errorf("join group %s: %w", m.Group, err)
	}
	return s, nil
}

func (m Member) timeouts() (opts []kgo.Opt) {
	for _, t := range []struct {
		d   time.Duration
		opt func(time.Duration) kgo.GroupOpt
	}{{m.SessionTimeout, kgo.SessionTimeout}, {m.HeartbeatInterval, kgo.HeartbeatInterval}, {m.RebalanceTimeout, kgo.RebalanceTimeout}} {
		if t.d > 0 {
			opts = append(opts, t.opt(t.d))
		}
	}
	if m.TransactionTimeout > 0 {
		opts = append(opts, kgo.TransactionTimeout(m.TransactionTimeout), kgo.RecordDeliveryTimeout(m.TransactionTimeout),
			kgo.MetadataMinAge(concurrentPause))
	}
	return opts
}
