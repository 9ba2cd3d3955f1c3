// Package load stores the records of topics in a RowWriter (ClickHouse), each once, whatever crashes, moves or is away.
//
// For each partition, a range of offsets is first written down as a plan: an offset commit of the range's first offset
// with its last one as metadata, fenced by the group's generation. Then exactly that range is inserted, under a token made
// of it. Then the offset after it is committed. Whoever owns the partition next finds an unfinished plan beside the
// offset and repeats that very range before anything else, so that the writer sees the same range under the same token
// and stores it once. Ranges may therefore be cut by time and size as is best; no cut is ever guessed again.
package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// Codec decodes the values of records. codec.ErrUnavailable makes the loader wait; any other error makes the row one
// without a record.
type Codec interface {
	Decode([]byte) (schemas.Record, error)
}

// Options of a loader. Zero values mean the defaults beside them.
type Options struct {
	Kafka  kafka.Options
	Codec  Codec
	Writer sinks.RowWriter
	Topics []string
	// Group is the consumer group, default GroupDefault. Its offsets hold the plans: do not rewind it by hand (rows that
	// were inserted stay so); a wanted repetition needs a new replay generation.
	Group string
	// Stage names the loader in dead letters and logs, default "clickhouse".
	Stage         string
	FlushInterval time.Duration // age of the oldest row at which a range is inserted, default 1 s
	FlushRows     int           // rows of a range, default 50,000
	FlushBytes    int           // bytes of keys and values of a range, default 32 MiB
	// BufferBytesMax bounds what is held over all partitions, default 128 MiB. Beyond it fetching pauses.
	BufferBytesMax int
	// InsertTimeout bounds one try of an insert, default 30 s. It must stay below the group's rebalance timeout, because a
	// partition is given up only between tries.
	InsertTimeout time.Duration
	Now           func() time.Time
	Log           zerolog.Logger
	Registerer    prometheus.Registerer // nil: no metrics
	// DeadLetters publishes what the writer refuses for good, and returns when it is safe.
	DeadLetters func(context.Context, schemas.DeadLetter) error
}

// The defaults and bounds.
const (
	GroupDefault          = "tillstream.clickhouse"
	flushIntervalDefault  = time.Second
	flushRowsDefault      = 50_000
	flushRowsMax          = 500_000 // one block of ClickHouse must hold a range
	flushBytesDefault     = 32 << 20
	bufferBytesMaxDefault = 128 << 20
	insertTimeoutDefault  = 30 * time.Second
	rebalanceTimeout      = 60 * time.Second
	sessionTimeout        = 15 * time.Second
	commitTimeout         = 10 * time.Second
	metadataTimeout       = 10 * time.Second
	prepareTimeout        = 60 * time.Second
	// passMax bounds one pass of inserts, so that a rebalance does not wait for many partitions of a slow writer.
	passMax = 10 * time.Second
	// farewellMax bounds the last pass when the loader is told to end.
	farewellMax   = 5 * time.Second
	pollRowsMax   = 10_000
	fetchBytesMax = 16 << 20
	pollMax       = time.Second
	pollMin       = time.Millisecond
	retryMin      = 200 * time.Millisecond
	retryMax      = 30 * time.Second
)

func (o *Options) setDefaults() error {
	set(&o.Group, GroupDefault)
	set(&o.Stage, "clickhouse")
	set(&o.FlushInterval, flushIntervalDefault)
	set(&o.FlushRows, flushRowsDefault)
	set(&o.FlushBytes, flushBytesDefault)
	set(&o.BufferBytesMax, bufferBytesMaxDefault)
	set(&o.InsertTimeout, insertTimeoutDefault)
	switch {
	case o.Codec == nil, o.Writer == nil, o.DeadLetters == nil, o.Now == nil:
		return errors.New("load: codec, writer, dead letters and clock must be given")
	case len(o.Topics) == 0:
		return errors.New("load: no topics given")
	case o.FlushRows < 1 || o.FlushRows > flushRowsMax:
		return fmt.Errorf("load: flush rows %d: use 1 to %d", o.FlushRows, flushRowsMax)
	case o.FlushInterval < 0 || o.FlushBytes < 1 || o.BufferBytesMax < o.FlushBytes:
		return errors.New("load: flush interval and bytes must be positive, and the buffer at least as large as one flush")
	case o.InsertTimeout >= rebalanceTimeout:
		return fmt.Errorf("load: insert timeout %s: use less than %s", o.InsertTimeout, rebalanceTimeout)
	}
	return nil
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Loader is one member of the group. Several may run, in one process or many.
type Loader struct {
	o       Options
	client  *kgo.Client
	admin   *kadm.Client
	metrics *metrics
	// hurry says that a rebalance waits for the running pass.
	hurry atomic.Bool
	ran   atomic.Bool

	// mu is held by a pass and by the group's callbacks: a partition leaves only between passes.
	mu         sync.Mutex
	partitions map[key]*partition
	topicIDs   map[string]string
	joined     bool
	fetchErr   error
	// view is what Status and Ready tell: they must not wait for an insert.
	view atomic.Pointer[view]

	// crash, set by tests, is called between the steps; its error ends Run on the spot, as a crash would.
	crash func(step string) error
}

type key struct {
	topic     string
	partition int32
}

// New makes a loader. It joins its group in the background; Run does the work and leaves it, Close is for a loader that
// is never run.
func New(o Options) (*Loader, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	l := &Loader{o: o, partitions: map[key]*partition{}, topicIDs: map[string]string{}, crash: func(string) error { return nil }}
	var err error
	if l.metrics, err = newMetrics(o.Registerer); err != nil {
		return nil, fmt.Errorf("load: register metrics: %w", err)
	}
	l.client, err = o.Kafka.Client(
		kgo.ConsumerGroup(o.Group), kgo.ConsumeTopics(o.Topics...), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// Control records are read so that the committed offset passes them: the group then stands at the very end at rest.
		kgo.KeepControlRecords(),
		// One fetch overshoots the buffer by no more than this.
		kgo.FetchMaxBytes(fetchBytesMax),
		kgo.SessionTimeout(sessionTimeout), kgo.RebalanceTimeout(rebalanceTimeout),
		// No partition is taken away between a poll and the end of the pass that follows it.
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsCallbackBlocked(func(context.Context, *kgo.Client) { l.hurry.Store(true) }),
		kgo.OnOffsetsFetched(l.fetched),
		kgo.OnPartitionsRevoked(l.gone), kgo.OnPartitionsLost(l.gone),
		kgo.WithLogger(kafka.Logger(o.Log)),
	)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	l.admin = kadm.NewClient(l.client)
	l.view.Store(&view{})
	return l, nil
}

// Run loads until ctx ends, then inserts what is at hand if that can be done quickly, and leaves the group. It returns nil
// after ctx ended. It may be called once.
func (l *Loader) Run(ctx context.Context) error {
	if l.ran.Swap(true) {
		return errors.New("load: Run was called twice")
	}
	defer l.Close()
	l.prepare(ctx)
	for ctx.Err() == nil {
		l.hurry.Store(false)
		l.poll(ctx)
		err := l.pass(ctx, false)
		l.client.AllowRebalance()
		if err != nil {
			return err
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellMax)
	defer cancel()
	return l.pass(last, true)
}

// Close leaves the group and ends the client. Calling it again does nothing.
func (l *Loader) Close() { l.client.CloseAllowingRebalance() }

// prepare has the writer make its tables, again and again until it can: a database that is down at start delays the
// reports and stops nothing else.
func (l *Loader) prepare(ctx context.Context) {
	for tries := 1; ctx.Err() == nil; tries++ {
		try, cancel := context.WithTimeout(ctx, prepareTimeout)
		err := l.o.Writer.Prepare(try)
		cancel()
		if err == nil {
			return
		}
		pause := backoff(tries)
		l.o.Log.Warn().Err(err).Int("tries", tries).Dur("pause", pause).Msg("cannot prepare the writer yet; nothing is read")
		l.mu.Lock()
		l.fetchErr = fmt.Errorf("prepare the writer: %w", err)
		l.show()
		l.mu.Unlock()
		_ = kafka.Sleep(ctx, pause) // ends early only with ctx
	}
}

// poll waits for records until the next partition is due, and adds them to the buffers.
func (l *Loader) poll(ctx context.Context) {
	l.mu.Lock()
	wait := l.patience()
	l.mu.Unlock()
	pollCtx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	fetches := l.client.PollRecords(pollCtx, pollRowsMax)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.o.Now()
	l.fetchErr = nil
	fetches.EachError(func(topic string, number int32, err error) {
		if pollCtx.Err() != nil && errors.Is(err, pollCtx.Err()) || errors.Is(err, kgo.ErrClientClosed) {
			return
		}
		l.fetchErr = fmt.Errorf("fetch %s/%d: %w", topic, number, err)
		l.o.Log.Error().Err(err).Str("topic", topic).Int32("partition", number).Msg("cannot fetch")
	})
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		p := l.partitions[key{f.Topic, f.Partition}]
		if p == nil {
			return // an error of a partition that is not ours
		}
		if f.Err == nil {
			p.end = f.LastStableOffset
			if p.next >= 0 && f.LogStartOffset > p.seen+1 {
				l.o.Log.Error().Str("topic", f.Topic).Int32("partition", f.Partition).Int64("from", p.seen+1).Int64("to", f.LogStartOffset-1).
					Msg("records were deleted from the topic before they were stored: lengthen its retention")
			}
		}
		for _, r := range f.Records {
			p.add(r, now)
		}
	})
}

// patience is how long nothing has to be done unless records come.
func (l *Loader) patience() time.Duration {
	wait, now := pollMax, l.o.Now()
	for _, p := range l.partitions {
		if at, ok := p.dueAt(&l.o); ok {
			wait = min(wait, at.Sub(now))
		}
	}
	return max(wait, pollMin)
}

// pass plans, inserts and commits what is due; all of it when everything is asked for.
func (l *Loader) pass(ctx context.Context, everything bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.show()
	due := l.due(everything)
	if len(due) == 0 {
		l.throttle()
		return nil
	}
	if err := l.learnTopicIDs(ctx, due); err != nil {
		for _, p := range due {
			l.postpone(p, err)
		}
		return nil
	}
	for _, p := range due {
		if p.plan == nil {
			p.makePlan(&l.o)
		}
	}
	if err := l.commitPlans(ctx, due); err != nil {
		return err
	}
	started := l.o.Now()
	for _, p := range due {
		if !p.plan.committed {
			continue
		}
		if l.hurry.Load() && p != due[0] || l.o.Now().Sub(started) > passMax {
			break
		}
		if err := l.insert(ctx, p); err != nil {
			return err
		}
	}
	err := l.commitDone(ctx, due)
	l.throttle()
	return err
}

// due lists the partitions with something to do, the oldest rows first.
func (l *Loader) due(everything bool) []*partition {
	now, buffered := l.o.Now(), 0
	for _, p := range l.partitions {
		buffered += p.bytes
	}
	var due []*partition
	for _, p := range l.partitions {
		at, ok := p.dueAt(&l.o)
		if !ok {
			continue
		}
		if everything || !at.After(now) || buffered >= l.o.BufferBytesMax && !p.retryAt.After(now) {
			due = append(due, p)
		}
	}
	slices.SortFunc(due, func(a, b *partition) int { return a.since.Compare(b.since) })
	return due
}

// throttle pauses the fetch of partitions whose buffers are full, which happens only while the writer does not take them,
// and resumes the others. A range that must be repeated is always fetched to its end: it had fitted once.
func (l *Loader) throttle() {
	buffered := 0
	for _, p := range l.partitions {
		buffered += p.bytes
	}
	pause, resume := map[string][]int32{}, map[string][]int32{}
	for k, p := range l.partitions {
		full := p.full(&l.o) || buffered >= l.o.BufferBytesMax
		if p.plan != nil && !p.filled() {
			full = false
		}
		switch {
		case full && !p.paused:
			pause[k.topic] = append(pause[k.topic], k.partition)
		case !full && p.paused:
			resume[k.topic] = append(resume[k.topic], k.partition)
		}
		p.paused = full
	}
	if len(pause) > 0 {
		l.client.PauseFetchPartitions(pause)
	}
	if len(resume) > 0 {
		l.client.ResumeFetchPartitions(resume)
	}
}

// learnTopicIDs asks for the ids of topics, which are part of the tokens: a recreated topic's offsets are other records.
func (l *Loader) learnTopicIDs(ctx context.Context, due []*partition) error {
	var unknown []string
	for _, p := range due {
		if l.topicIDs[p.topic] == "" && !slices.Contains(unknown, p.topic) {
			unknown = append(unknown, p.topic)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	details, err := l.admin.ListTopics(ctx, unknown...)
	if err == nil {
		err = details.Error()
	}
	if err != nil {
		return fmt.Errorf("look up the ids of %v: %w", unknown, err)
	}
	for _, d := range details {
		l.topicIDs[d.Topic] = d.ID.String()
	}
	return nil
}
