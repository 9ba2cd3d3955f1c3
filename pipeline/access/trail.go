package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// Outcomes of what an entry of the audit log is about.
const (
	Done    = "done"
	Refused = "refused" // the asker's fault, or not allowed
	Failed  = "failed"
)

// Bounds of the audit log.
const (
	TrailPageDefault = 100
	TrailPageMax     = 1_000
	// TrailScanMax is how many entries one question looks at; its answer says where to go on.
	TrailScanMax = 20_000

	trailChunk      = 1_000
	trailAckWait    = 2 * time.Second
	trailPendingMax = 100
)

// ErrTrailFull is returned while entries wait for Kafka: nothing should be changed whose record may be lost.
var ErrTrailFull = errors.New("the audit log cannot be written: too many entries wait for Kafka")

// Trail is the audit log on the topic audit.log. It is safe for concurrent use.
type Trail struct {
	o       Options
	pending atomic.Int64
	trouble atomic.Pointer[error] // of the last entry, until one gets through
}

// NewTrail returns the audit log.
func NewTrail(o Options) *Trail {
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	return &Trail{o: o}
}

// Ready is nil while entries get through.
func (t *Trail) Ready() error {
	if t.pending.Load() >= trailPendingMax {
		return ErrTrailFull
	}
	if e := t.trouble.Load(); e != nil && t.pending.Load() > 0 {
		return fmt.Errorf("the audit log cannot be written: %w", *e)
	}
	return nil
}

// Reachable asks Kafka whether the log is there: what must leave a record is not begun without it.
func (t *Trail) Reachable(ctx context.Context) error {
	if err := t.Ready(); err != nil {
		return err
	}
	if _, _, err := t.o.Log.Bounds(ctx, schemas.TopicAudit, 0); err != nil {
		return fmt.Errorf("the audit log cannot be reached: %w", err)
	}
	return nil
}

// Write appends an entry, and waits for Kafka's word a moment. Kafka's client goes on trying after that; what it gives up is
// on the process's own log, so that no change leaves no trace.
func (t *Trail) Write(ctx context.Context, e schemas.AuditEntry) {
	value, err := t.o.Encode(&e)
	if err != nil {
		t.lost(e, err)
		return
	}
	t.pending.Add(1)
	done := make(chan struct{})
	// The asker may go away: what was done is recorded all the same.
	go t.o.Log.Append(context.WithoutCancel(ctx), &kgo.Record{Topic: schemas.TopicAudit, Partition: 0, Key: []byte(e.ID), Value: value}, func(_ *kgo.Record, err error) {
		t.pending.Add(-1)
		if err != nil {
			t.trouble.Store(&err)
			t.lost(e, err)
		} else {
			t.trouble.Store(nil)
		}
		close(done)
	})
	wait, cancel := t.o.Clock.WithTimeout(ctx, trailAckWait)
	defer cancel()
	select {
	case <-done:
	case <-wait.Done():
	}
}

func (t *Trail) lost(e schemas.AuditEntry, err error) {
	t.o.Lines.Error().Err(err).Str("id", e.ID).Str("who", e.Who).Str("action", e.Action).Str("subject", e.Subject).Str("outcome", e.Outcome).
		Msg("an entry of the audit log could not be written; this line stands for it")
}

// TrailQuery says which entries are meant. Empty parts mean any.
type TrailQuery struct {
	Who, Outcome string // in full
	Action, Text string // part of the action; part of the subject, before or after; whatever the case
	Since, Until time.Time
	After        int64 // go on before the entry of this offset; 0: from the newest
	Limit        int   // 0: TrailPageDefault
}

func (q TrailQuery) meets(e *schemas.AuditEntry) bool {
	has := func(text, part string) bool { return strings.Contains(strings.ToLower(text), strings.ToLower(part)) }
	return (q.Who == "" || q.Who == e.Who) && (q.Outcome == "" || q.Outcome == e.Outcome) && has(e.Action, q.Action) &&
		(has(e.Subject, q.Text) || has(e.Before, q.Text) || has(e.After, q.Text)) &&
		!e.At.Before(q.Since) && (q.Until.IsZero() || e.At.Before(q.Until))
}

// Find lists entries, the newest first. next is the After of the page behind it; 0: there is none.
func (t *Trail) Find(ctx context.Context, q TrailQuery) (found []schemas.AuditEntry, next int64, err error) {
	start, end, err := t.o.Log.Bounds(ctx, schemas.TopicAudit, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("read the audit log: %w", err)
	}
	if q.Limit <= 0 {
		q.Limit = TrailPageDefault
	}
	q.Limit = min(q.Limit, TrailPageMax)
	if q.After > 0 {
		end = min(end, q.After)
	}
	found = []schemas.AuditEntry{}
	for scanned := int64(0); end > start && scanned < TrailScanMax; {
		from := max(start, end-trailChunk)
		chunk, err := t.chunk(ctx, from, end)
		if err != nil {
			return nil, 0, fmt.Errorf("read the audit log: %w", err)
		}
		slices.Reverse(chunk)
		for _, one := range chunk {
			if !q.meets(&one.entry) {
				continue
			}
			if found = append(found, one.entry); len(found) == q.Limit {
				if one.offset > start {
					next = one.offset
				}
				return found, next, nil
			}
		}
		scanned, end = scanned+end-from, from
	}
	if end > start {
		next = end
	}
	return found, next, nil
}

type placed struct {
	offset int64
	entry  schemas.AuditEntry
}

func (t *Trail) chunk(ctx context.Context, from, to int64) (out []placed, err error) {
	r := kafka.Range{Topic: schemas.TopicAudit, From: from, To: to, Patience: readPatience}
	err = t.o.Log.Read(ctx, r, func(records []*kgo.Record, _ int64) error {
		for _, rec := range records {
			v, err := t.o.Decode(rec.Value)
			if errors.Is(err, codec.ErrUnavailable) {
				return err
			}
			if e, ok := v.(*schemas.AuditEntry); err == nil && ok {
				out = append(out, placed{rec.Offset, *e})
			}
		}
		return nil
	})
	return out, err
}
