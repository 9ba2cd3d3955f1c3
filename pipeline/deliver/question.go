package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// A question changes nothing, so it needs no intent and may be asked again. It is always answered, and once: where the
// destination does not say in time, with StandingUnknown and why. The answer, the delivery and the progress go into one
// transaction. It has its place among its contact's commands, so that it sees what was sent before it, and it holds up
// what comes after it for no longer than its deadline.

// Bounds of questions.
const (
	// DefaultAnswerFor is how long an answer is waited for.
	DefaultAnswerFor = 10 * time.Minute
	// DefaultAnswerAge is how long an answer is reused.
	DefaultAnswerAge = 60 * time.Second

	questionRetryMax = 30 * time.Second // of its back-off
)

var errNobody = errors.New("the contact has no e-mail address")

// standings are what a destination may say.
var standings = map[schemas.Standing]bool{
	schemas.StandingActive: true, schemas.StandingUnconfirmed: true, schemas.StandingUnsubscribed: true,
	schemas.StandingBounced: true, schemas.StandingAbsent: true,
}

func (e *entry) isQuestion() bool { return e.cmd.Kind == schemas.CommandQuestion }

// deadlined notes from when on a question is not asked any more. Deliverer.mu is held.
func (d *Deliverer) deadlined(l *lane, e *entry) {
	e.deadline = d.now.Add(d.opts.AnswerFor)
	e.asked = l.asked.PushBack(e)
}

// overdue answers the questions whose deadline passed. One that is just being asked is judged when it comes back, which
// its own deadline sees to. Deliverer.mu is held.
func (d *Deliverer) overdue(l *lane) {
	for el := l.asked.Front(); el != nil; el = l.asked.Front() {
		e := el.Value.(*entry)
		if !e.win.dropped && e.deadline.After(d.now) {
			return
		}
		l.asked.Remove(el)
		if e.win.dropped || e.flying {
			continue
		}
		if e.aside {
			e.share.deferred--
			e.share.aside--
			e.aside, e.share = false, nil
		}
		d.unanswered(e, e.last)
		if q := l.queues[contactKey(e)]; q != nil {
			l.touch(q)
		}
	}
}

// known answers a question from what was answered a moment ago. Deliverer.mu is held.
func (d *Deliverer) known(l *lane, e *entry) bool {
	a, ok := d.answers.get(d.account(l.name), e.cmd.Contact.Email, e.cmd.Effect, d.now, d.opts.AnswerAge)
	if ok {
		d.answer(e, result{entry: e, started: d.now}, a.standing, a.asOf)
	}
	return ok
}

// account is whose contacts a destination has.
func (d *Deliverer) account(destination string) string {
	if a := d.opts.Accounts[destination]; a != "" {
		return a
	}
	return destination
}

// ask asks, no longer than the question's deadline allows.
func (d *Deliverer) ask(ctx context.Context, w sinks.Writer, e *entry) result {
	r := result{entry: e, started: d.clock.Now()}
	if !d.leased(r.started) {
		return result{entry: e, unsent: true}
	}
	ctx, span := follow(ctx, e)
	defer span.End()
	ctx, cancel := d.clock.WithTimeout(ctx, max(time.Millisecond, e.deadline.Sub(r.started)))
	defer cancel()
	reader, can := w.(sinks.ListReader)
	switch eff := e.cmd.Effect; {
	case eff == nil || eff.Type != schemas.QuestionOnList:
		r.outcome = sinks.Outcome{Kind: sinks.Rejected, Err: errors.New("the question is of a type that nobody answers"), Remedy: "run the version that wrote it"}
	case schemas.NormalizeEmail(e.cmd.Contact.Email) == "":
		r.outcome = sinks.Outcome{Kind: sinks.Rejected, Err: errNobody, Remedy: "map an e-mail address"}
	case !can:
		r.outcome = sinks.Outcome{
			Kind: sinks.Rejected, Err: fmt.Errorf("destination %s cannot be asked who is on a list", e.cmd.Destination),
			Remedy: "ask a destination that has lists, or leave the condition out",
		}
	default:
		r.outcome = guard(func() []sinks.Outcome {
			var o sinks.Outcome
			r.standing, o = reader.Standing(ctx, e.cmd.Contact.Email, eff.Name)
			return []sinks.Outcome{o}
		}, []*entry{e}, sinks.Retryable)[0]
	}
	return r
}

// judgeQuestion turns what came back into an answer, or into another try. Deliverer.mu is held.
func (d *Deliverer) judgeQuestion(r result, l *lane) {
	e, o := r.entry, r.outcome
	switch {
	case o.Account:
		d.holdAccount(l, o, d.now)
	case o.Kind == sinks.Delivered && standings[r.standing]:
		d.recovered(l)
		d.answers.set(d.account(l.name), e.cmd.Contact.Email, e.cmd.Effect.Name, remembered{r.standing, r.started})
		d.answer(e, r, r.standing, r.started)
		return
	case o.Kind == sinks.Delivered:
		d.recovered(l)
		r.outcome.Err, r.outcome.Remedy = errors.New("the destination answered without saying what the contact is to the list"), "look at the contact in the CRM"
		d.unanswered(e, &r)
		return
	case o.Kind == sinks.Rejected:
		d.recovered(l)
		d.unanswered(e, &r)
		return
	default:
		e.failures++
		d.stumbled(l)
		e.nextTry = d.now.Add(max(o.RetryAfter, d.jitter(d.opts.RetryBase, min(d.opts.RetryMax, questionRetryMax), e.failures-1)))
	}
	e.last = &r
	if !e.deadline.After(d.now) {
		d.unanswered(e, &r)
		return
	}
	d.retryNote(e, r)
}

// unanswered ends a question that the destination did not answer, last being the last try; nil: there was none.
func (d *Deliverer) unanswered(e *entry, last *result) {
	r := result{entry: e, started: d.now}
	if last != nil {
		r.outcome, r.started = last.outcome, last.started
	}
	if r.outcome.Err == nil {
		r.outcome.Err = fmt.Errorf("destination %s could not be asked within %s: it is paused, or earlier commands of the contact wait", e.cmd.Destination, d.opts.AnswerFor)
	}
	if r.outcome.Remedy == "" {
		r.outcome.Remedy = "look at the state of the destination and at the contact's earlier commands"
	}
	d.answer(e, r, schemas.StandingUnknown, time.Time{})
}

// answer puts the answer and the delivery into the outbox: nobody sees one without the other.
func (d *Deliverer) answer(e *entry, r result, s schemas.Standing, asOf time.Time) {
	c := e.cmd
	if e.asked != nil {
		d.lane(c.Destination).asked.Remove(e.asked)
	}
	a := &schemas.ListAnswer{CommandID: c.CommandID, ContactKey: c.ContactKey, Destination: c.Destination, Standing: s, AsOf: asOf, At: d.now}
	if c.Effect != nil {
		a.List = c.Effect.Name
	}
	if s == schemas.StandingUnknown && r.outcome.Err != nil {
		a.Error = r.outcome.Err.Error() + "; " + r.outcome.Remedy
	}
	d.put(e, schemas.TopicAutomationInbox, []byte(c.ContactKey), a, false)
	if n := len(d.outbox); n > 0 && e.trace != "" && d.outbox[n-1].record.Topic == schemas.TopicAutomationInbox {
		d.outbox[n-1].record.Headers = []kgo.RecordHeader{{Key: pipeline.HeaderTrace, Value: []byte(e.trace)}}
	}
	d.metrics.answers.WithLabelValues(c.Destination, string(s)).Inc()
	d.final(e, schemas.OutcomeDelivered, r)
}
