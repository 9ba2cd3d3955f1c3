// Package enrich asks the provider for what events do not say: the order of a refund that names only its payment, the
// customer of a capture that came alone.
//
// It follows the source topics and order.transitions. What is missing there for longer than a grace, in which the
// event that has it usually arrives, is fetched, and enters through the log like everything else: as one more event of
// the connection, with Origin POLL. Asking twice does no harm, so that a crash or a second owner needs no care beyond
// offsets that are committed only up to the oldest thing missing.
package enrich

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
)

// Defaults and bounds.
const (
	// DefaultGrace is how long the event that says what is missing may take.
	DefaultGrace = 30 * time.Second
	// LacksMax is how many things may be missing at a time; what is more is not asked for, and counted.
	LacksMax = 10_000
	// TriesMax is how often one thing is asked for.
	TriesMax = 8

	spacing       = time.Second // between two requests of one connection: a backlog must not take the whole budget
	retryFirst    = 30 * time.Second
	retryMax      = 15 * time.Minute
	fetchTimeout  = 60 * time.Second
	pollWait      = time.Second
	pollRecords   = 2000
	commitEvery   = 5 * time.Second
	resultsBuffer = 64
	// leaveTimeout is what a stop waits for Kafka; sessionTimeout is how long the others wait for a member that died.
	leaveTimeout   = 2 * time.Second
	sessionTimeout = 10 * time.Second
	// lookBack is where a group without offsets begins: what is older has gone on without, flagged as orphan.
	lookBack = time.Hour
)

// Connection is one that can be asked.
type Connection struct {
	Name        string
	Environment schemas.Environment
	Connector   connectors.Connector
	Fetcher     connectors.Fetcher
}

// Options of an Enricher.
type Options struct {
	Kafka  kafka.Options
	Decode func([]byte) (schemas.Record, error)
	Keeper ingest.Keeper
	Group  string
	// Grace: zero means DefaultGrace.
	Grace      time.Duration
	Clock      clock.Clock
	Log        zerolog.Logger
	Registerer prometheus.Registerer // nil: not registered
}

// Enricher is one member of the group that asks.
type Enricher struct {
	o       Options
	fetches *prometheus.CounterVec
	missing prometheus.Gauge

	mu          sync.RWMutex
	connections map[string]Connection // by SourceKey
	err         error

	// Owned by Run.
	book    *book
	next    map[kafka.TopicPartition]int64
	ready   map[string]time.Time // when a connection may be asked again
	results chan result

	gone struct {
		sync.Mutex
		list []kafka.TopicPartition
	}
}

type result struct {
	lack *lack
	err  error
}

// New checks the options.
func New(o Options) (*Enricher, error) {
	if o.Decode == nil || o.Group == "" {
		return nil, errors.New("enrich needs Decode and Group")
	}
	if o.Grace <= 0 {
		o.Grace = DefaultGrace
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	e := &Enricher{
		o: o, connections: map[string]Connection{}, next: map[kafka.TopicPartition]int64{}, ready: map[string]time.Time{}, results: make(chan result, resultsBuffer),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "tillstream", Subsystem: "enrich", Name: "fetches_total", Help: "Objects asked for at the provider because an event did not say what is needed, by outcome.",
		}, []string{"connection", "outcome"}),
		missing: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "tillstream", Subsystem: "enrich", Name: "missing", Help: "Orders and customers that events lack and that are waited for or asked for.",
		}),
	}
	e.book = newBook(o.Grace, LacksMax, func(env schemas.Environment, connection string) bool {
		_, ok := e.connection(env, connection)
		return ok
	})
	if o.Registerer != nil {
		if err := errors.Join(o.Registerer.Register(e.fetches), o.Registerer.Register(e.missing)); err != nil {
			return nil, fmt.Errorf("register enrich metrics: %w", err)
		}
	}
	return e, nil
}

// Set replaces the connections that can be asked, also while running.
func (e *Enricher) Set(list []Connection) {
	connections := make(map[string]Connection, len(list))
	for _, c := range list {
		connections[schemas.SourceKey(c.Environment, c.Name)] = c
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.connections = connections
}

func (e *Enricher) connection(env schemas.Environment, name string) (Connection, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	c, ok := e.connections[schemas.SourceKey(env, name)]
	return c, ok
}

// Ready says why nothing is read at present; nil: it is.
func (e *Enricher) Ready() error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.err
}

func (e *Enricher) tell(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil && e.err == nil {
		e.o.Log.Warn().Err(err).Msg("events that lack an order or a customer are not looked for")
	}
	e.err = err
}

// Run follows the topics until ctx ends.
func (e *Enricher) Run(ctx context.Context) error {
	// A member that is joining hangs until the group is complete, and so would its leaving: it ends with its context.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	cl, err := e.o.Kafka.Client(
		kgo.WithContext(life), kgo.SessionTimeout(sessionTimeout), kgo.ConsumerGroup(e.o.Group), kgo.ConsumeTopics(schemas.TopicPayPalEvents, schemas.TopicStoreOrders, schemas.TopicTransitions),
		kgo.ConsumeResetOffset(kgo.NewOffset().AfterMilli(e.o.Clock.Now().Add(-lookBack).UnixMilli())), kgo.DisableAutoCommit(), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.OnPartitionsRevoked(e.revoked), kgo.OnPartitionsLost(e.revoked), kgo.BlockRebalanceOnPoll(),
	)
	if err != nil {
		return err
	}
	group := e.o.Clock.NewGroup()
	defer func() {
		group.Wait()
		leaving, cancel := e.o.Clock.WithTimeout(life, leaveTimeout)
		defer cancel()
		e.commit(leaving, cl)
		_ = cl.LeaveGroupContext(leaving) // else the others wait for the session's end
		end()
		cl.CloseAllowingRebalance()
	}()
	committed := e.o.Clock.Now()
	for ctx.Err() == nil {
		e.poll(ctx, cl)
		now := e.o.Clock.Now()
		e.take(now)
		e.ask(ctx, group, now)
		e.missing.Set(float64(len(e.book.lacks)))
		if now.Sub(committed) >= commitEvery {
			e.commit(ctx, cl)
			committed = now
		}
		cl.AllowRebalance()
	}
	return ctx.Err()
}

// revoked notes partitions that go to somebody else; Run forgets what it read of them.
func (e *Enricher) revoked(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	e.gone.Lock()
	defer e.gone.Unlock()
	for topic, partitions := range lost {
		for _, p := range partitions {
			e.gone.list = append(e.gone.list, kafka.TopicPartition{Topic: topic, Partition: p})
		}
	}
}

func (e *Enricher) poll(ctx context.Context, cl *kgo.Client) {
	wait, cancel := e.o.Clock.WithTimeout(ctx, pollWait)
	defer cancel()
	fetches := cl.PollRecords(wait, pollRecords)
	e.gone.Lock()
	for _, tp := range e.gone.list {
		e.book.forget(func(topic string, partition int32) bool { return topic == tp.Topic && partition == tp.Partition })
		delete(e.next, tp)
	}
	e.gone.list = nil
	e.gone.Unlock()
	var failed error
	fetches.EachError(func(topic string, partition int32, err error) {
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			failed = fmt.Errorf("read %s/%d: %w", topic, partition, err)
		}
	})
	e.tell(failed)
	now := e.o.Clock.Now()
	fetches.EachRecord(func(rec *kgo.Record) {
		e.next[kafka.TopicPartition{Topic: rec.Topic, Partition: rec.Partition}] = rec.Offset + 1
		// What cannot be decoded is the orders stage's to put among the dead letters.
		if r, err := e.o.Decode(rec.Value); err == nil {
			e.book.see(r, position{rec.Topic, rec.Partition, rec.Offset}, now)
		}
	})
}

// ask starts at most one request of each connection.
func (e *Enricher) ask(ctx context.Context, group clock.Group, now time.Time) {
	for _, l := range e.book.due(now) {
		c, ok := e.connection(l.event.Environment, l.event.Connection)
		if !ok {
			e.book.settle(l, now) // it was disconnected
			continue
		}
		key := schemas.SourceKey(c.Environment, c.Name)
		if e.ready[key].After(now) {
			continue
		}
		e.ready[key] = now.Add(fetchTimeout + spacing) // until its result says otherwise
		l.fetching = true
		l.tries++
		group.Go(func() {
			select {
			case e.results <- result{l, e.fetch(ctx, c, &l.event)}:
			case <-ctx.Done(): // nobody listens any more
			}
		})
	}
}

func (e *Enricher) fetch(ctx context.Context, c Connection, event *schemas.OrderEvent) error {
	ctx, cancel := e.o.Clock.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	d, err := c.Fetcher.Fetch(ctx, event)
	if err != nil {
		return err
	}
	d.Connection, d.Environment, d.Origin, d.ReceivedAt = c.Name, c.Environment, schemas.OriginPoll, e.o.Clock.Now()
	_, err = e.o.Keeper.Keep(ctx, c.Connector, d)
	return err
}

// take books what was answered.
func (e *Enricher) take(now time.Time) {
	for {
		var r result
		select {
		case r = <-e.results:
		default:
			return
		}
		name := r.lack.event.Connection
		e.ready[schemas.SourceKey(r.lack.event.Environment, name)] = now.Add(spacing)
		r.lack.fetching = false
		outcome := "found"
		switch {
		case r.err == nil:
			e.book.settle(r.lack, now)
		case errors.Is(r.err, connectors.ErrNotThere):
			outcome = "not_there"
			e.book.settle(r.lack, now)
		case r.lack.tries >= TriesMax:
			outcome = "gave_up"
			e.book.settle(r.lack, now)
			e.o.Log.Warn().Err(r.err).Str("connection", name).Str("event", r.lack.event.EventID).Int("tries", r.lack.tries).
				Msg("what an event lacks could not be had from the provider; it goes on without, flagged")
		default:
			outcome = "failed"
			r.lack.due = now.Add(min(retryFirst<<(r.lack.tries-1), retryMax))
		}
		e.fetches.WithLabelValues(name, outcome).Inc()
	}
}

// commit lets the group go on behind everything that is no longer missing.
func (e *Enricher) commit(ctx context.Context, cl *kgo.Client) {
	offsets := map[string]map[int32]kgo.EpochOffset{}
	for tp, next := range e.next {
		if offsets[tp.Topic] == nil {
			offsets[tp.Topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[tp.Topic][tp.Partition] = kgo.EpochOffset{Epoch: -1, Offset: e.book.safe(tp.Topic, tp.Partition, next)}
	}
	if len(offsets) == 0 {
		return
	}
	ctx, cancel := e.o.Clock.WithTimeout(ctx, commitEvery)
	defer cancel()
	// A commit that fails costs some requests after a restart, and nothing else.
	cl.CommitOffsetsSync(ctx, offsets, nil)
}
