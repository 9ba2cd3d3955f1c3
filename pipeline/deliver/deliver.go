// Package deliver takes commands from Kafka to their destinations, each exactly once as far as the destination permits.
//
// Progress is kept in the offset commit itself: the offset is the oldest unfinished command, and the metadata beside it
// says what is finished or intended beyond; where that is too long, the metadata names a record of crm.progress that the
// same transaction wrote. So a command that fails holds up no other. Receipts, dead letters and offsets are committed in
// one transaction.
//
// Of each destination so much is held in memory. What is beyond is deferred: a mark in the progress, read again from the
// log when its turn comes. So no destination that is slow, paused or away stops another on its partition. Desired states
// that wait for one contact are one, the newest.
//
// People pause destinations and connections (Pauses). What is paused waits, and its time to be tried begins anew after.
//
// A desired state may be sent again; an effect may not. Its intent is committed before its request leaves, so that
// after a crash the destination is asked first whether it happened. A question changes nothing and is answered on the
// inbox of the automation.
//
// Outcomes that concern the account (Outcome.Account) hold the whole destination and are never a command's fault: with
// a RetryAfter for that long, without one until a probe succeeds, with an alarm.
package deliver

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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

// Defaults and bounds.
const (
	DefaultParallel  = 8
	DefaultRetryFor  = 72 * time.Hour
	DefaultSettle    = 30 * time.Second
	DefaultWindowMax = 25_000

	contactsRememberedMax = 10_000 // per destination
	deadValueBytesMax     = 512 << 10
	pollMax               = 500
	sessionTimeout        = 15 * time.Second
	transactionTimeout    = 10 * time.Second
	endTimeout            = 15 * time.Second        // to end a transaction, with its retries
	stopDrainTimeout      = 5 * time.Second         // the same when the process ends
	stopTimeout           = 8500 * time.Millisecond // for all of the end; then Kafka is left alone, which loses nothing
	closeTimeout          = 1500 * time.Millisecond // to leave the group; without an answer it notices by itself
	drainTimeout          = 8 * time.Second         // for requests in flight when a partition goes
	pollWaitMin           = time.Millisecond
	pollWaitMax           = 5 * time.Second // the gauges are refreshed once in a poll
	leasePause            = 100 * time.Millisecond
	restartPause          = time.Second
	failuresBeforeGiveUp  = 3 // of the command's own, however old it is
	missingWriterPause    = 30 * time.Second
)

// Codec turns records into bytes and back. An error of Decode that wraps codec.ErrUnavailable is tried again.
type Codec interface {
	Encode(schemas.Record) ([]byte, error)
	Decode([]byte) (schemas.Record, error)
}

// Options of a Deliverer.
type Options struct {
	// Kafka is how to reach the brokers, where Cluster is nil.
	Kafka kafka.Options
	// Cluster is the Kafka to work on; default: one that New opens with the options above and Run closes.
	Cluster kafka.Log
	// Clock is time, and what runs beside; default: the machine's.
	Clock clock.Clock
	// Random draws owner ids and back-off; default: the system's.
	Random io.Reader
	Codec  Codec
	// Group is the consumer group; Instance makes the transactional id and must be unique and stable per process.
	Group, Instance string
	// Writers by destination. A command to any other waits until RetryFor has passed.
	Writers map[string]sinks.Writer
	// Parallel is how many contacts of one destination are written at a time; default 8.
	Parallel int
	// BatchMax is how many commands are written one after the other before the next are chosen; default 1. How many a
	// sinks.BulkWriter gets at a time, it says itself.
	BatchMax int
	// RetryFor is how long after its making a command is tried; default 72 h.
	RetryFor time.Duration
	// Settle is how long an effect whose outcome is unknown rests before the destination is asked; default 30 s. It must
	// be longer than a request can be on its way.
	Settle time.Duration
	// WindowMax bounds the commands of one destination that are held in memory, for each partition; default 25,000. What
	// is beyond it is read again when its turn comes. It should not become smaller while deliverers with another one run.
	WindowMax int
	// Pauses are what people hold back; nil: nothing.
	Pauses Pauses
	// RetryBase and RetryMax shape the back-off with full jitter; default 1 s and 10 min.
	RetryBase, RetryMax time.Duration
	// AnswerFor is how long a question is asked before it is answered with StandingUnknown; default 10 min.
	AnswerFor time.Duration
	// AnswerAge is up to what age an answer serves further questions; default 60 s.
	AnswerAge time.Duration
	// Accounts say which destinations are one account: what is sent to one changes what was said by the other. A
	// destination without an entry is an account of its own.
	Accounts map[string]string

	Log        zerolog.Logger
	Registerer prometheus.Registerer

	session   time.Duration // how long the group waits for a dead member; tests shorten it
	inspect   time.Duration // how often Kafka is asked whether a partition is what it was; tests shorten it
	catchUp   time.Duration // how long a takeover waits for what does not come; tests shorten it
	truncated time.Duration // how long a log may seem to end too early; tests shorten it
}

// Deliverer runs writers over the commands.
type Deliverer struct {
	opts    Options
	metrics *metrics
	owner   uint64
	clock   clock.Clock
	cluster kafka.Log
	owned   bool        // cluster is ours to close
	flights clock.Group // calls of writers

	counts map[string]int32 // partitions of the topics written to; the session's own

	heard     atomic.Int64 // when the group's coordinator last answered, in Unix nanoseconds
	mu        sync.Mutex   // guards all below
	now       time.Time    // when mu was last taken by lock
	windows   map[int32]*window
	landing   []*window         // dropped, with requests that are still in flight
	refusals  map[int32]refusal // partitions whose stall no inspection would find again
	lanes     map[string]*lane
	answers   *answers
	undecoded []*entry
	outbox    []output
	results   []result
	starts    []flight // dispatched, to be started once mu is free
	rereads   []func() // the same for reading deferred commands
	held      int      // commands in memory, or ended and not committed; of all partitions
	heldBytes int64    // their values

	pauses     map[pauseKey]pauseState // that were asked for
	pausesSeen <-chan struct{}         // Pauses.Changed as of then
	commitAt   time.Time               // not before, but for the end: long progress is not written all the time
	stopPoll   context.CancelFunc
	closing    bool
	trouble    error
	broken     error // a record that could not be encoded; ends the session
	misplaced  bool  // the client went back to what it knows to be committed
	joined     bool
	awaited    map[int32]bool // assigned, and the group's offset of them not known yet; the session's own
	stopping   time.Time      // when the process was told to end; zero: it was not
	rand       *rand.Rand
	measured   time.Time

	notAsked map[string]time.Time // by schema id: until when the registry is not asked again; the session's own
	turned   atomic.Int64         // when the loop last turned, in Unix nanoseconds; 0: no session
}

// lock takes mu and notes the time for what is done under it: no call of the clock falls under mu.
func (d *Deliverer) lock() {
	now := d.clock.Now()
	d.mu.Lock()
	d.now = now
}

// Beat is when the loop last turned; zero while there is no session with Kafka.
func (d *Deliverer) Beat() time.Time {
	if n := d.turned.Load(); n > 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

// New checks o and makes a deliverer, which Run must end. It talks to nobody yet.
func New(o Options) (*Deliverer, error) {
	var errs []error
	if o.Codec == nil {
		errs = append(errs, errors.New("deliver: no codec"))
	}
	if o.Group == "" || o.Instance == "" {
		errs = append(errs, errors.New("deliver: group and instance are needed"))
	}
	for name, w := range o.Writers {
		if w == nil {
			errs = append(errs, fmt.Errorf("deliver: destination %s has no writer", name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	setDefault(&o.Parallel, DefaultParallel)
	setDefault(&o.BatchMax, 1)
	setDefault(&o.RetryFor, DefaultRetryFor)
	setDefault(&o.session, sessionTimeout)
	setDefault(&o.inspect, inspectEvery)
	setDefault(&o.catchUp, catchUpPatience)
	setDefault(&o.truncated, truncationPatience)
	setDefault(&o.Settle, DefaultSettle)
	setDefault(&o.WindowMax, DefaultWindowMax)
	setDefault(&o.AnswerFor, DefaultAnswerFor)
	setDefault(&o.AnswerAge, DefaultAnswerAge)
	setDefault(&o.RetryBase, time.Second)
	setDefault(&o.RetryMax, 10*time.Minute)
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Random == nil {
		o.Random = crand.Reader
	}
	d := &Deliverer{opts: o, windows: map[int32]*window{}, awaited: map[int32]bool{}, pauses: map[pauseKey]pauseState{}, refusals: map[int32]refusal{}, lanes: map[string]*lane{}, answers: newAnswers(answersRememberedMax), clock: o.Clock, flights: o.Clock.NewGroup()}
	var err error
	if d.rand, err = seeded(o.Random); err != nil {
		return nil, err
	}
	if d.metrics, err = newMetrics(o.Registerer); err != nil {
		return nil, err
	}
	if d.cluster = o.Cluster; d.cluster == nil {
		if d.cluster, err = kafka.NewCluster(o.Kafka, o.Clock, o.Log); err != nil {
			d.metrics.unregister(o.Registerer)
			return nil, fmt.Errorf("deliver: %w", err)
		}
		d.owned = true
	}
	for name, w := range o.Writers {
		d.lanes[name] = newLane(name, w)
	}
	return d, nil
}

func seeded(random io.Reader) (*rand.Rand, error) {
	var seed [16]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return nil, fmt.Errorf("deliver: random seed: %w", err)
	}
	return rand.New(rand.NewPCG(binary.BigEndian.Uint64(seed[:8]), binary.BigEndian.Uint64(seed[8:]))), nil
}

func setDefault[T int | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

var errNotJoined = errors.New("deliver: not joined to the consumer group yet")

// Ready returns nil when the deliverer is a member of its group, its last transaction went well, and no partition of its
// is stalled. A member for which no partition is left stands by, and is ready.
func (d *Deliverer) Ready() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.trouble != nil:
		return d.trouble
	case !d.joined:
		return errNotJoined
	case len(d.awaited) > 0:
		return fmt.Errorf("deliver: the group's offsets of %d assigned partitions are not known yet", len(d.awaited))
	}
	return d.stalls()
}

// Run delivers until ctx ends. It returns nil then, after what was in flight has been committed or given up; trouble
// with Kafka is logged, shown by Ready, and tried again.
func (d *Deliverer) Run(ctx context.Context) error {
	defer d.metrics.unregister(d.opts.Registerer)
	if d.owned {
		defer d.cluster.Close()
	}
	for {
		err := d.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		d.mu.Lock()
		d.trouble = fmt.Errorf("deliver: session with kafka ended: %w", err)
		d.mu.Unlock()
		d.opts.Log.Error().Err(err).Msg("delivery starts a new session with kafka")
		if d.clock.Sleep(ctx, restartPause) != nil {
			return nil
		}
	}
}
