// Package pipeline runs stages exactly once over Kafka and a store of state.
//
// The protocol, and where each of its steps lives, is in DESIGN.md. In short: inputs, outputs, the after-images of
// the state and the offsets are one Kafka transaction; the store is a copy of the changelog that may be lost, rolled
// back or written by a zombie at any moment, and is brought up to the changelog before a partition runs.
package pipeline

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/store"
	"github.com/tillstream/tillstream/schemas"
)

// Codec turns records into bytes and back. Decode answers codec.ErrUnavailable (wrapped) where it may succeed later;
// every other error is a finding about the bytes.
type Codec interface {
	Encode(rec schemas.Record) ([]byte, error)
	Decode(b []byte) (schemas.Record, error)
}

// Topology says where a stage reads and writes.
type Topology struct {
	Stage BoundStage
	// Inputs are partitioned alike, and like Changelog.
	Inputs []string
	// Inbox is the one of Inputs that ticks go to.
	Inbox     string
	Changelog string
	Group     string
}

// EngineOptions configure an Engine. Zero values mean the defaults named beside them.
type EngineOptions struct {
	Kafka    kafka.Options
	Store    store.Store
	Codec    Codec
	Topology Topology
	// Instance tells this process from others of the group and stays the same over its restarts: the transactional
	// ids hold it, so that a restarted process ends the transactions of its former life.
	Instance string
	// Lanes is how many clients, and transactions at a time, the process has; default 1. One or two a core are useful.
	Lanes int
	// RulesHash names the rules of the stage; it is kept with each transaction for whoever asks later.
	RulesHash string
	// ConfigVersion is what a partition follows that has followed none yet. Empty: none, until one is activated.
	ConfigVersion string
	// Config waits, in bounded time, until a version of the configuration can be followed. An error stalls the partition,
	// which asks again; ErrConfigRefused says that it never can. Nil: every version can.
	Config func(ctx context.Context, version string) error
	// Watermark is up to when receivers were there to take events. Timers fire 30 s past what the ticks have told of it at
	// the most. Nil, or zero: not known; then ticks say nothing of it.
	Watermark func() time.Time
	// CommitInterval is the time between two transactions of a lane while little comes; default 10 ms. Where records
	// wait, or transactions take long, it grows up to CommitIntervalMax, default 100 ms: longer gathers more.
	CommitInterval, CommitIntervalMax time.Duration
	// BatchRecordsMax bounds the records of a partition in one transaction; default 5,000.
	BatchRecordsMax int
	// BatchTimersMax bounds the timers of a partition that fire in one transaction; default 5,000.
	BatchTimersMax int
	// CacheImagesMax bounds the images kept in memory for each partition; default 1,000,000.
	CacheImagesMax int
	// CacheBytesMax bounds the images kept in memory for all partitions together; default 48 MiB.
	CacheBytesMax int
	// TickIdle is how long a partition must be idle before its owner appends a tick for a due timer; default 1 s.
	TickIdle time.Duration

	Clock clock.Clock // default clock.System
	// Cluster is Kafka; default the one that Kafka names.
	Cluster kafka.Log
	// Random makes owner ids; default crypto/rand.
	Random     io.Reader
	Log        zerolog.Logger
	Registerer prometheus.Registerer // nil: metrics are counted and shown nowhere
}

const (
	sessionTimeout = 15 * time.Second // Go has no long pauses, so a silent member is a dead one
	// heartbeatInterval after a member was evicted, the others know: it is part of the time that a takeover takes.
	heartbeatInterval = time.Second
	// txnTimeout and the 10 s between two of the broker's looks at timed-out transactions are within the session: what a dead
	// owner left open is aborted by the time that its partitions are given away.
	txnTimeout       = 5 * time.Second
	rebalanceTimeout = 30 * time.Second
	endTimeout       = 15 * time.Second
	stopTimeout      = 4 * time.Second // for the transaction at hand when the engine is told to stop
	leaveTimeout     = 3 * time.Second
	closeTimeout     = time.Second
	computeMax       = 2 * time.Second // of one batch; with the produce and the end it stays under 5 s
	recoverPatience  = 3 * time.Minute
	retryFirst       = 200 * time.Millisecond
	retryMax         = 10 * time.Second
	forgiveAfter     = time.Minute // without a failure, the next one is the first again
	pollWaitMax      = 500 * time.Millisecond
	holdAfterRecover = 500 * time.Millisecond

	// valueBytesMax bounds one output or image; the brokers take kafka.RecordBytesMax.
	valueBytesMax = 4 << 20
	// batchBytesMax ends a partition's share of a transaction: its outputs and images, one record's beyond it.
	batchBytesMax = 16 << 20
	// laneRecordsMax bounds the records queued in a lane: one transaction's.
	laneRecordsMax = 10_000
	// queueBytesMax of polled records make a lane poll no more; what one poll brings, the client's buffer, may exceed it.
	queueBytesMax = 32 << 20
	// fetchBytesMax bounds one fetch of a lane: a client holds about two, decompressed, beside what is queued.
	fetchBytesMax = 8 << 20
	// pastTimersMax bounds the timers that one record may cause to be set into the past and fire.
	pastTimersMax = 1000
	// stampSlack is how far the broker's clock may run ahead of the clock of the process that stamped a record.
	stampSlack = 5 * time.Minute

	poisonWindow  = time.Minute
	poisonLetters = 100
	poisonShare   = 20 // one in so many
)

// Headers of records.
const (
	// HeaderStamp is the wall clock of the process that produced the record, milliseconds in decimal.
	HeaderStamp = "stamp"
	// HeaderTrace is the W3C trace context; an output carries that of its input.
	HeaderTrace = "traceparent"
)

func (o *EngineOptions) fill() error {
	if o.Lanes == 0 {
		o.Lanes = 1
	}
	if o.CommitInterval == 0 {
		o.CommitInterval = 10 * time.Millisecond
	}
	if o.CommitIntervalMax == 0 {
		o.CommitIntervalMax = max(o.CommitInterval, 100*time.Millisecond)
	}
	if o.BatchRecordsMax == 0 {
		o.BatchRecordsMax = 5000
	}
	if o.BatchTimersMax == 0 {
		o.BatchTimersMax = 5000
	}
	if o.CacheImagesMax == 0 {
		o.CacheImagesMax = 1_000_000
	}
	if o.CacheBytesMax == 0 {
		o.CacheBytesMax = 48 << 20
	}
	if o.TickIdle == 0 {
		o.TickIdle = time.Second
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	t := o.Topology
	switch {
	case o.Store == nil || o.Codec == nil || t.Stage == nil:
		return errors.New("engine: store, codec and stage must be given")
	case o.Instance == "" || t.Group == "" || t.Changelog == "" || len(t.Inputs) == 0:
		return errors.New("engine: instance, group, changelog and inputs must be named")
	case !slices.Contains(t.Inputs, t.Inbox):
		return fmt.Errorf("engine: inbox %q is none of the inputs %v", t.Inbox, t.Inputs)
	case slices.Contains(t.Inputs, t.Changelog):
		return fmt.Errorf("engine: changelog %q cannot be an input", t.Changelog)
	}
	return nil
}
