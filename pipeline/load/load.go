// Package load stores the records of topics in a RowWriter (ClickHouse), each once, whatever crashes, moves or is away.
//
// For each partition, a range of offsets is first written down as a plan: an offset commit of the range's first offset
// with its last one as metadata, fenced by the group's generation. Then exactly that range is inserted, under a token made
// of it. Then the offset after it is committed. Whoever owns the partition next finds an unfinished plan beside the
// offset and repeats that very range before anything else, so that the writer sees the same range under the same token
// and stores it once. Ranges may therefore be cut by time and size as is best; no cut is ever guessed again.
//
// A commit whose fate is unknown may still be carried out after later ones, and bring back a plan of old: the loader then
// joins the group anew, which keeps it out. The topic's id goes into the token and stands beside the offset; a partition
// whose topic was recreated, or ends before what was read of it, is stalled.
package load

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/pipeline/clock"
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
	Kafka kafka.Options
	// Cluster is Kafka; default the one that Kafka names, opened by New and closed at the end.
	Cluster kafka.Log
	Clock   clock.Clock // default clock.System
	// Random makes the ids of plans and the jitter of pauses; default crypto/rand.
	Random io.Reader

	Codec  Codec
	Writer sinks.RowWriter
	Topics []string
	// Group is the consumer group, default GroupDefault. Its offsets hold the plans. An offset that another tool sets begins
	// a new replay generation: what follows it is stored again, and the rows of before are duplicates until ClickHouse
	// merges them.
	Group string
	// Stage names the loader in dead letters and logs, default "clickhouse".
	Stage         string
	FlushInterval time.Duration // age of the oldest row at which a range is inserted, default 1 s
	FlushRows     int           // rows of a range, default 50,000
	FlushBytes    int           // bytes of keys and values of a range, default 16 MiB: decoded and as columns they take several times that
	// BufferBytesMax bounds what is held over all partitions, default 64 MiB. Beyond it fetching pauses.
	BufferBytesMax int
	// InsertTimeout bounds one try of an insert, default 30 s. It must stay below the group's rebalance timeout, because a
	// partition is given up only between tries.
	InsertTimeout time.Duration
	// SessionTimeout is how long the group waits for a member that is silent before its partitions go to another, default
	// 15 s.
	SessionTimeout time.Duration
	Log            zerolog.Logger
	Registerer     prometheus.Registerer // nil: no metrics
	// Count tells how many records of a partition are rows, from an offset to before another; nil: nobody asks. Every ten
	// minutes what was acknowledged is held against it.
	Count func(ctx context.Context, topic, topicID string, partition int32, from, until int64) (int64, error)
	// DeadLetters publishes what the writer refuses for good, and returns when it is safe.
	DeadLetters func(context.Context, schemas.DeadLetter) error
}

// The defaults and bounds.
const (
	GroupDefault          = "tillstream.clickhouse"
	flushIntervalDefault  = time.Second
	flushRowsDefault      = 50_000
	flushRowsMax          = 500_000 // one block of ClickHouse must hold a range
	flushBytesDefault     = 16 << 20
	bufferBytesMaxDefault = 64 << 20
	insertTimeoutDefault  = 30 * time.Second
	rebalanceTimeout      = 60 * time.Second
	sessionTimeoutDefault = 15 * time.Second
	heartbeats            = 5 // in a session timeout
	commitTimeout         = 10 * time.Second
	// inspectTimeout bounds what is asked of Kafka about partitions between a poll and the pass after it.
	inspectTimeout = 10 * time.Second
	// inspectInterval is how often a partition that gives no cause for it is compared with its topic.
	inspectInterval = 30 * time.Second
	// inspectMax bounds the partitions compared in one turn without cause.
	inspectMax     = 8
	prepareTimeout = 60 * time.Second
	// passMax bounds one pass of inserts, so that a rebalance does not wait for many partitions of a slow writer.
	passMax = 10 * time.Second
	// farewellMax bounds the last pass when the loader is told to end, leaveMax the farewell to the group after it.
	farewellMax = 5 * time.Second
	leaveMax    = 3 * time.Second
	// cutAfter is when calls of Kafka that hang are cut after the loader was told to end.
	cutAfter      = farewellMax + time.Second
	pollRowsMax   = 10_000
	fetchBytesMax = 8 << 20
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
	set(&o.SessionTimeout, sessionTimeoutDefault)
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	switch {
	case o.Codec == nil, o.Writer == nil, o.DeadLetters == nil:
		return errors.New("load: codec, writer and dead letters must be given")
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
	metrics *metrics
	own     bool // Cluster was opened here
	ran     atomic.Bool
	// hurry says that a rebalance waits for the running pass.
	hurry atomic.Bool

	// The next ones belong to Run.
	partitions map[key]*partition
	joined     bool
	troubleErr error // of preparing, joining or fetching
	renewals   int   // sessions given up since the last commit

	// mu guards what the group's callbacks leave for Run. It is never held over I/O.
	mu     sync.Mutex
	events []event
	wake   context.CancelFunc // ends the running poll

	// view is what Status and Ready tell: they must not wait for an insert.
	view atomic.Pointer[view]

	// crash, set by tests, is called between the steps; its error ends Run on the spot, as a crash would.
	crash func(step string) error
}

type key kafka.TopicPartition

// New makes a loader. It talks to nobody: Run does the work.
func New(o Options) (*Loader, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	l := &Loader{o: o, partitions: map[key]*partition{}, crash: func(string) error { return nil }}
	var err error
	if l.metrics, err = newMetrics(o.Registerer); err != nil {
		return nil, fmt.Errorf("load: register metrics: %w", err)
	}
	if o.Cluster == nil {
		if l.o.Cluster, err = kafka.NewCluster(o.Kafka, o.Clock, o.Log); err != nil {
			return nil, fmt.Errorf("load: %w", err)
		}
		l.own = true
	}
	l.view.Store(&view{})
	return l, nil
}

// Close ends a loader that is never run. Calling it again, or after Run, does nothing.
func (l *Loader) Close() {
	if l.own {
		l.o.Cluster.Close()
	}
}

// errRenew ends a session and has another one begin.
var errRenew = errors.New("load: the session is to be renewed")

// Run joins the group and loads until ctx ends, then inserts what is at hand if that can be done quickly, and leaves the
// group, all within 10 s. It returns nil after ctx ended. It may be called once.
func (l *Loader) Run(ctx context.Context) error {
	if l.ran.Swap(true) {
		return errors.New("load: Run was called twice")
	}
	defer l.Close()
	l.prepare(ctx)
	for ctx.Err() == nil {
		if err := l.session(ctx); !errors.Is(err, errRenew) {
			return err
		}
		l.renewals++
		pause := l.backoff(l.renewals)
		l.o.Log.Warn().Dur("pause", pause).Msg("the fate of an offset commit is unknown: joining the group anew, so that it cannot come late")
		_ = l.o.Clock.Sleep(ctx, pause) // ends early only with ctx
	}
	return nil
}

// session is one membership in the group, from joining to leaving.
func (l *Loader) session(ctx context.Context) error {
	clear(l.partitions)
	l.joined = false
	l.mu.Lock()
	l.events = nil
	l.mu.Unlock()
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	s, err := l.o.Cluster.Join(l.member(life))
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	defer l.leave(s, end)
	// The client may take its time over a request although its context has ended.
	stop := l.o.Clock.AfterFunc(ctx, func() {
		if l.o.Clock.Sleep(life, cutAfter) == nil {
			end()
			l.Close()
		}
	})
	defer stop()
	for {
		l.hurry.Store(false)
		l.poll(ctx, s)
		work, cancel := ctx, context.CancelFunc(func() {})
		ending := ctx.Err() != nil
		if ending {
			work, cancel = l.o.Clock.WithTimeout(context.WithoutCancel(ctx), farewellMax)
		}
		l.inspect(work, s)
		err := l.pass(work, s, ending)
		if !ending && err == nil && !l.hurry.Load() {
			l.audit(work)
		}
		cancel()
		s.AllowRebalance()
		switch {
		case ending && errors.Is(err, errRenew):
			return nil // the next owner finds the plan, or nothing
		case ending || err != nil:
			return err
		}
	}
}

// leave says farewell to the group. A Kafka that does not answer is left without.
func (l *Loader) leave(s kafka.Session, end context.CancelFunc) {
	for k := range l.partitions {
		l.metrics.forget(k.Topic, k.Partition)
	}
	patience, cancel := l.o.Clock.WithTimeout(context.Background(), leaveMax)
	defer cancel()
	stop := l.o.Clock.AfterFunc(patience, end)
	defer stop()
	s.Close()
}

// prepare has the writer make its tables, again and again until it can: a database that is down at start delays the
// reports and stops nothing else.
func (l *Loader) prepare(ctx context.Context) {
	for tries := 1; ctx.Err() == nil; tries++ {
		try, cancel := l.o.Clock.WithTimeout(ctx, prepareTimeout)
		err := l.o.Writer.Prepare(try)
		cancel()
		if err == nil {
			l.troubleErr = nil
			return
		}
		pause := l.backoff(tries)
		l.o.Log.Warn().Err(err).Int("tries", tries).Dur("pause", pause).Msg("cannot prepare the writer yet; nothing is read")
		l.troubleErr = fmt.Errorf("prepare the writer: %w", err)
		l.show()
		_ = l.o.Clock.Sleep(ctx, pause) // ends early only with ctx
	}
}
