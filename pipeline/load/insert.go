package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/sinks"
)

// insert makes one try to insert a committed plan. Its error is a test's crash; a failed try is postponed.
func (l *Loader) insert(ctx context.Context, p *partition) error {
	if p.plan.inserted {
		return nil
	}
	rows := p.planned()
	if err := l.decode(rows); err != nil {
		l.postpone(p, fmt.Errorf("decode %s/%d: %w", p.topic, p.number, err))
		return nil
	}
	if len(rows) > 0 { // of a repeated plan compaction or retention may have left none
		try, cancel := l.o.Clock.WithTimeout(ctx, l.o.InsertTimeout)
		defer cancel()
		started := l.o.Clock.Now()
		err := l.o.Writer.Insert(try, sinks.Range{
			Topic: p.topic, TopicID: p.topicID, Partition: p.number, From: p.plan.from, To: p.plan.to, Replay: p.replay,
		}, rows)
		var refused *sinks.RowError
		switch {
		case errors.As(err, &refused) && holds(rows, refused.Offset):
			return l.refuse(ctx, p, rows, refused)
		case err != nil:
			l.postpone(p, fmt.Errorf("insert %s/%d offsets %d-%d: %w", p.topic, p.number, p.plan.from, p.plan.to, err))
			return nil
		}
		l.metrics.inserted(p.topic, rows, l.o.Clock.Now().Sub(started))
	}
	p.plan.inserted = true
	release(rows)
	return l.crash("after insert")
}

// release lets go of what stored rows hold, which is several times their bytes. Until their offset is committed, only that
// they are there is of use.
func release(rows []sinks.Row) {
	for i := range rows {
		rows[i].Key, rows[i].Value, rows[i].Record = nil, nil, nil
	}
}

// decode fills in the records. A registry that is away is waited for; what cannot be decoded goes on as bytes.
func (l *Loader) decode(rows []sinks.Row) error {
	for i := range rows {
		if rows[i].Record != nil {
			continue
		}
		rec, err := l.o.Codec.Decode(rows[i].Value)
		if errors.Is(err, codec.ErrUnavailable) {
			return fmt.Errorf("offset %d: %w", rows[i].Offset, err)
		}
		if err == nil {
			rows[i].Record = rec
		}
	}
	return nil
}

func holds(rows []sinks.Row, offset int64) bool {
	for _, r := range rows {
		if r.Offset == offset {
			return true
		}
	}
	return false
}

// refuse makes a dead letter of one row and drops the plan: the rest is cut anew, and the new plans, being other ranges,
// have other tokens. Nothing of the old one was stored.
func (l *Loader) refuse(ctx context.Context, p *partition, rows []sinks.Row, refused *sinks.RowError) error {
	var row sinks.Row
	for _, r := range rows {
		if r.Offset == refused.Offset {
			row = r
		}
	}
	log := l.o.Log.Error().Err(refused.Err).Str("topic", p.topic).Int32("partition", p.number).Int64("offset", row.Offset)
	if p.topic == schemas.TopicDeadLetters {
		// A dead letter about a dead letter would meet the same refusal. The record itself stays on its topic.
		log.Msg("a dead letter is refused by the writer and missing in the reports; read it on its topic")
	} else {
		letter := l.letter(p, row, refused.Err)
		ctx, cancel := l.o.Clock.WithTimeout(ctx, commitTimeout)
		defer cancel()
		if err := l.o.DeadLetters(ctx, letter); err != nil {
			l.postpone(p, fmt.Errorf("publish the dead letter of %s: %w", letter.ID, err))
			return nil
		}
		log.Msg("the writer refuses a row; it is a dead letter now")
	}
	l.metrics.rowErrors.WithLabelValues(p.topic).Inc()
	p.refuse(row.Offset)
	p.tries, p.err, p.retryAt = 0, nil, time.Time{}
	p.since = time.Time{} // the rest has waited long enough
	return l.crash("after dead letter")
}

func (l *Loader) letter(p *partition, row sinks.Row, why error) schemas.DeadLetter {
	d := schemas.DeadLetter{
		ID:    fmt.Sprintf("%s-%d-%d", p.topic, p.number, row.Offset),
		Stage: l.o.Stage, Cause: schemas.CauseUnwritable,
		Reason: fmt.Sprintf("the row of %s/%d offset %d cannot be stored: %v", p.topic, p.number, row.Offset, why),
		Remedy: "correct the value at its source and send it again; the reports lack this row until then",
		Topic:  p.topic, Partition: int64(p.number), Offset: row.Offset, Key: row.Key, Value: row.Value, At: l.o.Clock.Now(),
	}
	switch rec := row.Record.(type) {
	case *schemas.OrderEvent:
		d.EventID, d.RootKey, d.ContactKey = rec.EventID, rec.Key(), schemas.ContactKey(rec.Environment, rec.Payer)
	case *schemas.Transition:
		d.EventID, d.RootKey, d.ContactKey = rec.Event.EventID, rec.RootKey, rec.ContactKey
	case *schemas.Command:
		d.EventID, d.RootKey, d.ContactKey, d.Destination, d.ConfigVersion = rec.EventID, rec.RootKey, rec.ContactKey, rec.Destination, rec.ConfigVersion
	case *schemas.Delivery:
		d.EventID, d.RootKey, d.ContactKey, d.Destination, d.ConfigVersion = rec.EventID, rec.RootKey, rec.ContactKey, rec.Destination, rec.ConfigVersion
	case *schemas.ConfigVersion:
		d.ConfigVersion = rec.Version
	}
	return d
}

// postpone notes a failed try. Offsets are held; the next try comes after a growing pause with full jitter, or when the
// writer says.
func (l *Loader) postpone(p *partition, err error) {
	p.tries++
	pause := l.backoff(p.tries)
	var asked interface{ RetryAfter() time.Duration }
	if errors.As(err, &asked) {
		pause = max(pause, asked.RetryAfter())
	}
	p.err, p.retryAt = err, l.o.Clock.Now().Add(pause)
	l.metrics.retries.WithLabelValues(p.topic).Inc()
	l.show()
	l.o.Log.Warn().Err(err).Str("topic", p.topic).Int32("partition", p.number).Int("tries", p.tries).Dur("pause", pause).Msg("cannot store yet; offsets are held")
}

// backoff grows with the tries, with full jitter, so that members do not come back all at once.
func (l *Loader) backoff(tries int) time.Duration {
	return retryMin/2 + l.jitter(min(retryMax, retryMin<<min(tries-1, 10)))
}
