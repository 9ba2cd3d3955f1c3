// Package poll asks providers what no webhook brought. A Runner reads each connection's feeds at intervals, compares
// what they list with the log, appends what is missing, and says up to when the log is complete and whether a
// connection has fallen silent. Reconcile does the same once for a span of time, and Backfill loads history.
//
// The processes that run a Runner are members of one consumer group over source.progress; who has a connection's
// partition polls it. How far a feed was read is the newest SourceProgress of the connection's key: the log is the
// truth, and a process keeps nothing else. A process that was replaced and does not know it yet does no harm: it
// appends an event only after it did not find it on the log, so that at worst one is there twice, which the orders stage
// takes as a duplicate; and the progress that it writes is true whoever writes it, since a feed counts as read only after
// all that it listed was on the log. Written late, it makes the new owner's successor read a span again, no more.
package poll

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// Connection is one account or store to poll.
type Connection struct {
	Name        string
	Environment schemas.Environment
	Connector   connectors.Connector
	Poller      connectors.Poller // nil: its webhooks are counted, so that silence is noticed
	Every       time.Duration     // between two readings of a feed; zero: the feed's own
}

func (c Connection) key() string { return schemas.SourceKey(c.Environment, c.Name) }

// hooked reports whether events come by webhook too, so that an event found is one that was missed.
func (c Connection) hooked() bool {
	_, ok := c.Poller.(connectors.Webhooker)
	return ok
}

// same reports whether a worker of c may go on for d.
func (c Connection) same(d Connection) bool {
	if c.key() != d.key() || c.Every != d.Every || c.Connector.Type != d.Connector.Type || c.Connector.Topic != d.Connector.Topic {
		return false
	}
	t := reflect.TypeOf(c.Poller)
	return t == reflect.TypeOf(d.Poller) && (t == nil || t.Comparable() && c.Poller == d.Poller)
}

// Options of a Runner.
type Options struct {
	Kafka      kafka.Options
	Codec      *codec.Codec
	Keeper     ingest.Keeper // appends what was found, and the progress
	Group      string        // consumer group of all processes that poll
	Instance   string        // name of this process, for the log
	Clock      clock.Clock   // default clock.System
	Log        zerolog.Logger
	Registerer prometheus.Registerer // nil: not registered
}

// Status is how one connection stands, as this process knows it.
type Status struct {
	Connection  string              `json:"connection"`
	Environment schemas.Environment `json:"environment"`
	// Owned: this process polls it. The rest is known only then.
	Owned bool         `json:"owned"`
	Feeds []FeedStatus `json:"feeds"`
	// CompleteUpTo: what changed at the provider before, and since the connection began, is on the log, but for gaps that
	// Feeds name. Zero: no feed is read.
	CompleteUpTo time.Time `json:"complete_up_to"`
	LastEventAt  time.Time `json:"last_event_at"` // of the last webhook; zero: none came yet
	Silent       *Silence  `json:"silent,omitempty"`
	// LastError is why the log could not be read or written; empty: it works.
	LastError string `json:"last_error,omitempty"`
}

// FeedStatus is how one feed stands.
type FeedStatus struct {
	Name      string    `json:"name"`
	Through   time.Time `json:"through"` // what changed before it was read
	Repairs   int64     `json:"repairs"` // events found that no webhook had brought
	LastError string    `json:"last_error,omitempty"`
	NextAt    time.Time `json:"next_at"` // when it is read next
	// Gap is a span that the provider no longer lists and that was not read in time; nil: none was met since the process
	// started. A backfill of another feed may close it.
	Gap *Span `json:"gap,omitempty"`
}

// Span is a span of time, To not included.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Runner polls the connections whose partitions this process has.
type Runner struct {
	o       Options
	metrics *metrics
	changed clock.Signal // connections or partitions came or went

	mu      sync.Mutex
	wanted  map[string]Connection // by key
	owned   map[int32]bool
	count   int32 // partitions of source.progress; 0: not known yet
	workers map[string]*worker
	trouble error // why Run cannot poll at all
}

// New checks the options. It talks to nobody.
func New(o Options) (*Runner, error) {
	if o.Codec == nil || o.Keeper.Appender == nil || o.Keeper.Encode == nil || o.Group == "" {
		return nil, errors.New("polling needs a codec, a keeper and a group")
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	return &Runner{
		o: o, metrics: m, changed: o.Clock.NewSignal(), wanted: map[string]Connection{}, owned: map[int32]bool{}, workers: map[string]*worker{},
		trouble: errors.New("the polling group was not joined yet"),
	}, nil
}

// Set replaces the connections. One that did not change goes on where it is.
func (r *Runner) Set(list []Connection) {
	r.mu.Lock()
	r.wanted = make(map[string]Connection, len(list))
	for _, c := range list {
		r.wanted[c.key()] = c
	}
	r.mu.Unlock()
	r.changed.Notify()
}

// Ready says why nothing can be polled here: the group cannot be joined or the log not be reached. A provider's
// failure is in Status.
func (r *Runner) Ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trouble != nil {
		return fmt.Errorf("polling: %w", r.trouble)
	}
	return nil
}
