package deliver

import (
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// Back-off of a whole destination.
const (
	pauseBase       = time.Second
	pauseMax        = 5 * time.Minute
	attemptsVisible = 10 // besides the first, each so many retries leave a delivery
)

// result is what a writer said about one command.
type result struct {
	entry      *entry
	outcome    sinks.Outcome
	started    time.Time
	reconciled bool             // the outcome is Reconcile's
	standing   schemas.Standing // that a question was answered with
	unsent     bool             // the lease had run out: nothing left, and there is no outcome
}

// output is one record of the next transaction.
type output struct {
	win    *window
	entry  *entry
	record *kgo.Record
	intent bool
}

// judge turns a result into a final delivery, or into another try. Deliverer.mu is held.
func (d *Deliverer) judge(r result) {
	e, l := r.entry, d.lane(r.entry.cmd.Destination)
	e.flying = false
	e.attempts++
	now := d.now
	d.metrics.outcomes.WithLabelValues(l.name, kindName(r)).Inc()
	if e.isQuestion() {
		d.judgeQuestion(r, l)
		return
	}
	d.answers.forget(d.account(l.name), e.cmd.Contact.Email, now)
	if r.outcome.Account {
		d.holdAccount(l, r.outcome, now)
		if r.outcome.Kind != sinks.Unknown {
			d.retryNote(e, r)
			return
		}
	}
	switch r.outcome.Kind {
	case sinks.Delivered:
		d.recovered(l)
		d.final(e, schemas.OutcomeDelivered, r)
		d.superseded(e, false)
	case sinks.Rejected:
		d.recovered(l)
		if r.reconciled {
			d.uncertain(e, r)
			return
		}
		d.deadLetter(e, schemas.CauseRejected, r)
		d.refused(e, r)
	case sinks.Unknown:
		d.unknown(e, r, now)
	default:
		d.failed(e, l, r, now)
	}
}

// unknown: a desired state is simply sent again. An effect rests, then the destination is asked; where the destination
// cannot tell, a person must.
func (d *Deliverer) unknown(e *entry, r result, now time.Time) {
	switch {
	case e.cmd.Kind != schemas.CommandEffect:
		d.failed(e, d.lane(e.cmd.Destination), r, now)
	case r.reconciled:
		d.uncertain(e, r)
	default:
		e.unsure = true
		e.nextTry = now.Add(d.opts.Settle)
		d.retryNote(e, r)
	}
}

func (d *Deliverer) uncertain(e *entry, r result) {
	if r.outcome.Err == nil {
		r.outcome.Err = fmt.Errorf("the destination cannot tell whether it happened")
	}
	if r.outcome.Remedy == "" {
		r.outcome.Remedy = "look at the contact in the CRM; replay the command if it did not happen"
	}
	d.final(e, schemas.OutcomeUncertain, r)
}

// failed is one more try that did not work out.
func (d *Deliverer) failed(e *entry, l *lane, r result, now time.Time) {
	e.failures++
	l.blame(r.outcome)
	d.stumbled(l)
	if d.expired(e, now) {
		if e.unsure {
			d.uncertain(e, r)
			return
		}
		d.deadLetter(e, schemas.CauseGaveUp, r)
		d.refused(e, r)
		return
	}
	d.failedFor(e, l, r, now)
	e.nextTry = now.Add(max(r.outcome.RetryAfter, d.jitter(d.opts.RetryBase, d.opts.RetryMax, e.failures-1)))
	d.retryNote(e, r)
}

// stumbled counts a failure of any command, and pauses a destination that has nothing but failures.
func (d *Deliverer) stumbled(l *lane) {
	l.failures++
	if l.failures >= 2*d.opts.Parallel {
		d.pause(l, "failing", d.jitter(pauseBase, time.Minute, l.pauses), d.now)
	}
}

// jitter is a random time up to base doubled n times, at most limit.
func (d *Deliverer) jitter(base, limit time.Duration, n int) time.Duration {
	span := base << min(n, 30)
	if span <= 0 || span > limit {
		span = limit
	}
	return 1 + time.Duration(d.rand.Int64N(int64(span)))
}

// holdAccount stops a destination. Its commands are not to blame and wait, however long.
func (d *Deliverer) holdAccount(l *lane, o sinks.Outcome, now time.Time) {
	l.blame(o)
	if o.RetryAfter > 0 {
		until := now.Add(o.RetryAfter)
		if until.After(l.hold) {
			l.hold = until
		}
		if l.reason == "" {
			l.reason = "asked"
			d.metrics.paused.WithLabelValues(l.name, l.reason).Set(1)
		}
		return
	}
	if l.reason != "refused" {
		d.opts.Log.Error().Str("destination", l.name).AnErr("cause", o.Err).Str("remedy", o.Remedy).
			Msg("destination refuses the account: paused, nothing is lost")
	}
	d.pause(l, "refused", pauseMax/10+d.jitter(pauseBase, pauseMax, l.pauses+3), now)
}

// blame keeps why the destination holds things up, for people.
func (l *lane) blame(o sinks.Outcome) {
	if o.Err != nil {
		l.detail, l.remedy = outbound.Redact(o.Err.Error()), o.Remedy
	}
}

// pause holds a destination and lets one request at a time probe it afterwards.
func (d *Deliverer) pause(l *lane, reason string, span time.Duration, now time.Time) {
	if until := now.Add(span); until.After(l.hold) {
		l.hold = until
		l.pauses++
	}
	if l.reason != "refused" {
		l.reason = reason
	}
	l.probing = true
	d.metrics.paused.WithLabelValues(l.name, reason).Set(1)
}

// recovered says that the destination answered as it should.
func (d *Deliverer) recovered(l *lane) {
	if l.reason != "" {
		d.metrics.paused.DeletePartialMatch(map[string]string{"destination": l.name})
	}
	l.failures, l.pauses, l.probing, l.reason, l.detail, l.remedy = 0, 0, false, "", "", ""
}

// superseded finishes the older desired states for which e stood. refused says that e itself was refused: older ones
// are not sent after it all the same, because a part of it may have been applied.
func (d *Deliverer) superseded(e *entry, refused bool) (oldest int64) {
	oldest = e.offset
	if e.cmd.Kind != schemas.CommandContact {
		return oldest
	}
	l := d.lane(e.cmd.Destination)
	l.seen.set(contactKey(e), e.cmd.Version, refused)
	q := l.queues[contactKey(e)]
	if q == nil {
		return oldest
	}
	for _, o := range q.entries {
		if o == e || o.done || o.win.dropped || o.cmd.Kind != schemas.CommandContact || o.cmd.Version > e.cmd.Version {
			continue
		}
		oldest = min(oldest, o.offset)
		d.final(o, schemas.OutcomeSuperseded, result{entry: o, started: d.now})
	}
	return oldest
}

// refused ends what depended on a desired state that will never be there: effects that were to follow it.
func (d *Deliverer) refused(e *entry, r result) {
	oldest := d.superseded(e, true)
	if e.cmd.Kind != schemas.CommandContact {
		return
	}
	q := d.lane(e.cmd.Destination).queues[contactKey(e)]
	if q == nil {
		return
	}
	for _, o := range q.entries {
		switch {
		case o.done || o.win.dropped:
		case o.cmd.Kind == schemas.CommandContact:
			if o.offset > e.offset {
				return // what follows depends on this one
			}
		case o.isQuestion():
			// What he is to a list does not depend on it.
		case o.offset > oldest && o.intent == noIntent:
			d.refuseEffect(o)
		}
	}
}

func (d *Deliverer) refuseEffect(e *entry) {
	d.deadLetter(e, schemas.CauseRejected, result{entry: e, started: d.now, outcome: sinks.Outcome{
		Err:    fmt.Errorf("the contact's state that this effect was to follow was refused"),
		Remedy: "correct what its contact command was refused for, then replay both",
	}})
}

// final puts the last delivery of a command into the outbox.
func (d *Deliverer) final(e *entry, word schemas.OutcomeWord, r result) {
	d.emit(e, word, r)
	e.win.finish(e)
	d.metrics.commands.WithLabelValues(e.cmd.Destination, string(word)).Inc()
}

// retryNote makes the first and each tenth retry visible.
func (d *Deliverer) retryNote(e *entry, r result) {
	if e.attempts == 1 || e.attempts%attemptsVisible == 0 {
		d.emit(e, schemas.OutcomeRetryable, r)
	}
}

func (d *Deliverer) emit(e *entry, word schemas.OutcomeWord, r result) {
	del := &schemas.Delivery{
		CommandID: e.cmd.CommandID, Kind: e.cmd.Kind, Destination: e.cmd.Destination, ContactKey: e.cmd.ContactKey,
		Version: e.cmd.Version, Outcome: word, Attempt: e.attempts, Requests: r.outcome.Exchanges, Remedy: r.outcome.Remedy,
		ConfigVersion: e.cmd.ConfigVersion, RootKey: e.cmd.RootKey, EventID: e.cmd.EventID, Origin: e.cmd.Origin,
		Test: e.cmd.Test, StartedAt: r.started, At: d.now,
	}
	if del.StartedAt.IsZero() {
		del.StartedAt = del.At
	}
	if r.outcome.Err != nil {
		del.Error = r.outcome.Err.Error()
	}
	d.put(e, schemas.TopicDeliveries, []byte(e.cmd.ContactKey), del, word == schemas.OutcomeIntent)
}

// deadLetter ends a command that cannot be delivered: its bytes go to the dead letters, and a decoded command gets its
// final delivery too.
func (d *Deliverer) deadLetter(e *entry, cause string, r result) {
	now := d.now
	dl := &schemas.DeadLetter{
		ID: fmt.Sprintf("%s-%d-%d", e.win.topic, e.win.partition, e.offset), Stage: "deliver", Cause: cause,
		Remedy: r.outcome.Remedy, Topic: e.win.topic, Partition: int64(e.win.partition), Offset: e.offset,
		Key: e.recordKey(), Value: e.value, At: now,
	}
	if r.outcome.Err != nil {
		dl.Reason = r.outcome.Err.Error()
	}
	if cause == schemas.CauseGaveUp {
		dl.Reason = fmt.Sprintf("gave up %s after the command was made: %s", now.Sub(e.at).Round(time.Second), dl.Reason)
	}
	if len(dl.Value) > deadValueBytesMax {
		dl.Value = nil
		dl.Reason += fmt.Sprintf(" (its %d bytes are too many to repeat: read them at the offset)", len(e.value))
	}
	if c := e.cmd; c != nil {
		dl.EventID, dl.RootKey, dl.Destination, dl.ContactKey, dl.ConfigVersion =
			c.EventID, c.RootKey, c.Destination, c.ContactKey, c.ConfigVersion
	}
	d.put(e, schemas.TopicDeadLetters, []byte(dl.ID), dl, false)
	d.metrics.deadLetters.WithLabelValues(cause).Inc()
	if e.cmd == nil {
		e.win.finish(e)
		return
	}
	d.final(e, schemas.OutcomeRejected, r)
}

// put encodes a record into the outbox.
func (d *Deliverer) put(e *entry, topic string, key []byte, rec schemas.Record, intent bool) {
	value, err := d.opts.Codec.Encode(rec)
	if del, ok := rec.(*schemas.Delivery); ok && err != nil {
		// Whatever an answer contained, the receipt itself must be written.
		del.Requests = nil
		del.Error = strings.ToValidUTF8(del.Error, "?")
		value, err = d.opts.Codec.Encode(del)
	}
	if err != nil {
		d.broken = fmt.Errorf("encode %s: %w", rec.RecordName(), err)
		return
	}
	d.outbox = append(d.outbox, output{
		win: e.win, entry: e, intent: intent,
		record: &kgo.Record{Topic: topic, Key: key, Value: value},
	})
}

func kindName(r result) string {
	name := map[sinks.OutcomeKind]string{
		sinks.Delivered: "delivered", sinks.Rejected: "rejected", sinks.Retryable: "retryable", sinks.Unknown: "unknown",
		sinks.NotHappened: "not_happened",
	}[r.outcome.Kind]
	if r.reconciled {
		return "reconcile_" + name
	}
	return name
}
