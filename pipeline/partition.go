package pipeline

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/store"
	"github.com/tillstream/tillstream/schemas"
)

type partitionState int

const (
	stateAssigned partitionState = iota // ours, to be recovered
	stateRecovering
	stateRunning
	stateStalled
)

// Reason says why a partition does not go on. The words are labels of the metric tillstream_partitions_stalled.
type Reason string

// The reasons.
const (
	ReasonStoreUnavailable   Reason = "STORE_UNAVAILABLE"
	ReasonStoreCorrupt       Reason = "STORE_CORRUPT"
	ReasonKafkaUnavailable   Reason = "KAFKA_UNAVAILABLE"
	ReasonRegistry           Reason = "SCHEMA_REGISTRY_UNAVAILABLE"
	ReasonChangelogLost      Reason = "CHANGELOG_LOST"
	ReasonChangelogTruncated Reason = "CHANGELOG_TRUNCATED"
	ReasonTransactionHangs   Reason = "TRANSACTION_HANGS"
	ReasonInputRecreated     Reason = "INPUT_RECREATED"
	ReasonInputTruncated     Reason = "INPUT_TRUNCATED"
	ReasonPartitionsChanged  Reason = "PARTITIONS_CHANGED"
	ReasonStateUnreadable    Reason = "STATE_UNREADABLE"
	ReasonOutputRefused      Reason = "OUTPUT_REFUSED"
	ReasonPoison             Reason = "POISON"
	ReasonConfigUnavailable  Reason = "CONFIG_UNAVAILABLE"
)

// stall is why a partition stops. It is an error so that it can pass through the layers.
type stall struct {
	reason Reason
	remedy string
	err    error
	// final: the cause does not pass by itself; only Engine.Resume tries again.
	final bool
	// rebuild: what the store holds is of no use.
	rebuild bool
}

func (s *stall) Error() string { return fmt.Sprintf("%s: %v: %s", s.reason, s.err, s.remedy) }
func (s *stall) Unwrap() error { return s.err }

// partition is one partition of a stage at its owner. Fields below mu belong to lane.mu; the others to the lane's
// goroutine, or to the recovery while that runs.
type partition struct {
	number int32
	ctx    context.Context // ends when the partition is no longer ours
	cancel context.CancelFunc
	part   store.Partition

	fence    store.Fence
	flight   *flight // the last apply, until it has landed
	meta     meta
	queues   map[string]*queue
	cache    *cache
	slots    map[string]*slot // of the batch at hand, by key
	window   *window
	inputIDs map[string][16]byte

	lastInput, lastTick time.Time
	lastMark            time.Time // when a tick carried the watermark
	holdUntil           time.Time
	letters             []minuteCount
	rebuild             bool // the next recovery starts from nothing
	failures            int
	failedAt            time.Time

	// mu
	state   partitionState
	stalled *stall
	retryAt time.Time
	shown   PartitionStatus

	origin, position, target atomic.Int64 // of a restore, in the changelog
}

// queue holds what was polled of one input and not yet committed.
type queue struct {
	items  []queued
	taken  int   // of items, by the batch at hand
	bytes  int   // of items
	expect int64 // next offset to be polled
	// skipping: offsets below expect may come once after a recovery, where the group's offset lags behind the state.
	skipping bool
	end      int64 // high watermark last seen
}

// queued is one record, decoded once.
type queued struct {
	r        *kgo.Record
	rec      schemas.Record
	err      error  // a finding about the record
	cause    string // of err
	key      string // of the state, where forStage; shares memory with the record
	slot     *slot  // nil: not looked up, or none
	looked   bool
	forStage bool
}

type minuteCount struct {
	at               time.Time
	records, letters int
}

// add queues a polled record.
func (q *queue) add(r *kgo.Record) {
	q.items = append(q.items, queued{r: r})
	q.bytes += len(r.Key) + len(r.Value)
	q.expect = r.Offset + 1
}

// begin makes the queue ready for a batch: what an earlier one looked at and left has no slot in this one.
func (q *queue) begin() {
	q.taken = 0
	for i := range q.items {
		q.items[i].slot = nil
	}
}

// drop takes the records of a committed batch off the queue.
func (q *queue) drop() {
	for _, it := range q.items[:q.taken] {
		q.bytes -= len(it.r.Key) + len(it.r.Value)
	}
	left := copy(q.items, q.items[q.taken:])
	clear(q.items[left:])
	q.items, q.taken = q.items[:left], 0
}

func (p *partition) queued() (n int) {
	for _, q := range p.queues {
		n += len(q.items)
	}
	return n
}

func (p *partition) queuedBytes() (n int) {
	for _, q := range p.queues {
		n += q.bytes
	}
	return n
}

// head is the queue whose first record is the oldest, so that several inputs are read in the order of their time as
// far as they were polled. Ties go by topic name.
func (p *partition) head(inputs []string) (string, *queued) {
	topic, best := "", (*queued)(nil)
	for _, t := range inputs {
		q := p.queues[t]
		if q.taken < len(q.items) {
			if c := &q.items[q.taken]; best == nil || c.r.Timestamp.Before(best.r.Timestamp) {
				topic, best = t, c
			}
		}
	}
	return topic, best
}

// held reports whether to wait a moment longer after a recovery, because one input was not polled yet although it
// has records: its records may be older than those at hand.
func (p *partition) held(now time.Time) bool {
	if !now.Before(p.holdUntil) {
		return false
	}
	for _, q := range p.queues {
		if len(q.items) == 0 && q.end > q.expect {
			return true
		}
	}
	return false
}

// stamp is when r happened, in Unix milliseconds: the broker's time, but no more than stampSlack ahead of the time
// that its producer stamped. Both clocks must be wrong together to spoil the stream time.
func stamp(r *kgo.Record) int64 {
	at := r.Timestamp.UnixMilli()
	if text := header(r, HeaderStamp); text != "" {
		if ms, err := strconv.ParseInt(text, 10, 64); err == nil && ms > 0 {
			at = min(at, ms+stampSlack.Milliseconds())
		}
	}
	return at
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}
