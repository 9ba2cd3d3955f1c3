package jobs

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/sinks"
)

// lettersWork lets dead letters be tried again, or closes them; the same for effects that are uncertain. Effects come in a
// second pass, after the states of the contacts that they follow.
type lettersWork struct{ r *Runner }

// Source implements Work.
func (w *lettersWork) Source(f Filter) (string, int) {
	if f.Uncertain {
		return schemas.TopicDeliveries, 1
	}
	return schemas.TopicDeadLetters, 2
}

// Begin implements Work.
func (w *lettersWork) Begin(ctx context.Context, j Job, log Log) (Worker, error) {
	l := letters{r: w.r, job: j, log: log, touched: map[string]bool{}, barrier: barrier{r: w.r, log: log}}
	switch {
	case j.Kind == schemas.JobSettle && !j.Filter.Uncertain:
		return nil, fmt.Errorf("%w: only effects that are uncertain are settled", ErrImpossible)
	case j.Kind == schemas.JobDismiss && j.Filter.Uncertain:
		return nil, fmt.Errorf("%w: an uncertain effect is retried or settled, it cannot be dismissed", ErrImpossible)
	case !j.Filter.Uncertain:
		return &l, nil
	}
	u := &uncertain{letters: l, open: map[string]place{}}
	return u, u.find(ctx)
}

type letters struct {
	r       *Runner
	job     Job
	log     Log
	touched map[string]bool
	barrier barrier
}

// due reports whether an item is still to be worked on: it was not sent again or closed since then.
func (l *letters) due(item string, since time.Time) (ok bool) {
	at, closed := l.r.ledger.closed(item)
	return !closed || at.Before(since)
}

// Item implements Worker.
func (l *letters) Item(pass int, _ *kgo.Record, got schemas.Record) (Item, bool) {
	d, ok := got.(*schemas.DeadLetter)
	if !ok {
		return Item{}, false
	}
	c := l.command(d)
	effect := ""
	if c != nil && c.Kind == schemas.CommandEffect && c.Effect != nil {
		effect = c.Effect.Type
	}
	if (effect != "") != (pass == 1) || !l.job.Filter.Letter(d, effect) || !l.due(ItemOf(d), time.Time{}) {
		return Item{}, false
	}
	if f := l.job.Filter; d.Cause == schemas.CauseQuarantined && l.job.Kind == schemas.JobRetry && f.Cause == "" && f.Item == "" {
		return Item{}, false // only a person who names them lets them through
	}
	return Item{ID: ItemOf(d), Destination: d.Destination, ContactKey: d.ContactKey, Value: d}, true
}

// command is what a letter of delivery is about, where it holds it.
func (l *letters) command(d *schemas.DeadLetter) *schemas.Command {
	if d.Topic != schemas.TopicCommands || d.Stage == StageLoader || len(d.Value) == 0 {
		return nil
	}
	got, err := l.r.o.Codec.Decode(d.Value)
	c, ok := got.(*schemas.Command)
	if err != nil || !ok {
		return nil
	}
	return c
}

// Do implements Worker.
func (l *letters) Do(ctx context.Context, items []Item) ([]Done, error) {
	var done []Done
	until, bytes := l.r.clock.Now().Add(DoPatience), 0
	for _, it := range items {
		d, err := l.one(ctx, it)
		switch {
		case err != nil && len(done) > 0: // what was done so far need not wait
			return done, nil
		case err != nil:
			return nil, err
		}
		done = append(done, d)
		if bytes += size(d); bytes > sendBytesMax || l.r.clock.Now().After(until) {
			break
		}
	}
	return done, nil
}

func (l *letters) one(ctx context.Context, it Item) (Done, error) {
	if _, closed := l.r.ledger.closed(it.ID); closed {
		return Done{Result: schemas.ItemSkipped, Detail: "another job sent it again or closed it"}, nil
	}
	if l.job.Kind == schemas.JobDismiss {
		return Done{Result: schemas.ItemDismissed, Detail: "closed: it is not to be tried again"}, nil
	}
	return l.retry(ctx, it.Value.(*schemas.DeadLetter))
}

func failed(format string, args ...any) (Done, error) {
	return Done{Result: schemas.ItemFailed, Detail: outbound.Redact(fmt.Sprintf(format, args...))}, nil
}

func sent(detail string, records ...*kgo.Record) (Done, error) {
	return Done{Result: schemas.ItemSent, Detail: detail, Send: records}, nil
}

// inputs are the topics whose records their readers take again.
var inputs = []string{
	schemas.TopicPayPalEvents, schemas.TopicStoreOrders, schemas.TopicOrdersInbox, schemas.TopicAutomationInbox, schemas.TopicCommands,
}

// retry sends again what a letter is about.
func (l *letters) retry(ctx context.Context, d *schemas.DeadLetter) (Done, error) {
	switch {
	case strings.Contains(d.ID, "-timer-"):
		return failed("a timer that failed does not fire again, and its record may not be taken twice: send a newer event of the order, or dismiss the letter")
	case !slices.Contains(inputs, d.Topic) && d.Stage != StageLoader:
		return failed("nothing reads topic %s that could take the record again: dismiss the letter", d.Topic)
	}
	value, found, err := l.original(ctx, d)
	switch {
	case err != nil:
		return Done{}, err
	case !found:
		return failed("its record is no longer on topic %s, and the letter holds a part of it only: have its source send it again, then dismiss the letter", d.Topic)
	case d.Stage == StageLoader:
		return l.row(ctx, d, value)
	}
	got, err := l.r.o.Codec.Decode(value)
	if errors.Is(err, codec.ErrUnavailable) {
		return Done{}, err
	}
	switch rec := got.(type) {
	case *schemas.Command:
		return l.resend(ctx, d, rec)
	case *schemas.OrderEvent:
		switch {
		case d.Cause == schemas.CauseQuarantined:
			return l.release(d, rec)
		case d.Cause == schemas.CauseUnparseable && len(rec.Body) > 0:
			return l.mend(d, rec)
		}
	}
	return sent("its record is sent again to "+d.Topic, &kgo.Record{Topic: d.Topic, Partition: int32(d.Partition), Key: d.Key, Value: value})
}

// original are the bytes of the record that a letter is about. What a letter does not hold whole is read on the log.
func (l *letters) original(ctx context.Context, d *schemas.DeadLetter) (value []byte, found bool, err error) {
	if len(d.Value) > 0 && !strings.Contains(d.Reason, "(value cut to ") {
		return d.Value, true, nil
	}
	rec, err := l.log.At(ctx, d.Topic, int32(d.Partition), d.Offset)
	if err != nil || rec == nil {
		return nil, false, err
	}
	return rec.Value, true, nil
}

// resend sends a command again: an effect as it is, a contact's newest state through the automation stage. A state of old is
// never put on the log again.
func (l *letters) resend(ctx context.Context, d *schemas.DeadLetter, c *schemas.Command) (Done, error) {
	switch c.Kind {
	case schemas.CommandContact:
		at := ContactItem(c.Destination, c.ContactKey)
		if l.touched[at] {
			return sent("the contact's newest state is sent again because of a letter before")
		}
		l.touched[at] = true
		return l.r.touch(c.Destination, c.ContactKey, "retry by job "+l.job.JobID)
	case schemas.CommandEffect:
		if err := l.barrier.wait(ctx); err != nil {
			return Done{}, err
		}
		c.At = l.r.clock.Now().UTC() // its time for retries begins anew
		rec, err := l.r.record(schemas.TopicCommands, string(d.Key), c)
		if err != nil {
			return Done{}, err
		}
		rec.Partition = int32(d.Partition)
		return sent("the effect is sent again", rec)
	}
	return failed("a question is not asked again: the run that asked went on without an answer; dismiss the letter")
}

// mend normalises the bytes of a delivery with the connector of today.
func (l *letters) mend(d *schemas.DeadLetter, e *schemas.OrderEvent) (Done, error) {
	events, topic, why := l.normalize(e)
	if why != "" {
		return failed("%s", why)
	}
	return l.events(topic, events, "understood now, and sent as an event")
}

// release lets an event through whose id, or whose delivery's id, stands for another content: under an id of its own.
func (l *letters) release(d *schemas.DeadLetter, e *schemas.OrderEvent) (Done, error) {
	events, topic := []schemas.OrderEvent{*e}, d.Topic
	if e.Problem != "" {
		var why string
		if events, topic, why = l.normalize(e); why != "" {
			return failed("%s", why)
		}
	}
	for i := range events {
		events[i].EventID += "~" + d.ID
		events[i].DeliveryIDs = []string{}
	}
	return l.events(topic, events, "let through under an event id of its own")
}

func (l *letters) events(topic string, events []schemas.OrderEvent, detail string) (Done, error) {
	var records []*kgo.Record
	for i := range events {
		rec, err := l.r.record(topic, events[i].Key(), &events[i])
		if errors.Is(err, codec.ErrUnavailable) {
			return Done{}, err
		}
		if err != nil {
			return failed("what came of it cannot be encoded: %v", err)
		}
		records = append(records, rec)
	}
	return sent(detail, records...)
}

// row stores a row that ClickHouse refused. The generation makes it another range than the one that failed, and the same
// one when this job tries it again after a crash.
func (l *letters) row(ctx context.Context, d *schemas.DeadLetter, value []byte) (Done, error) {
	if l.r.o.Rows == nil {
		return failed("this process knows no ClickHouse to store the row in: set clickhouse.address where jobs run")
	}
	id, err := l.log.TopicID(ctx, d.Topic)
	if err != nil {
		return Done{}, err
	}
	row := sinks.Row{Offset: d.Offset, At: d.At, Key: d.Key, Value: value}
	rec, err := l.log.At(ctx, d.Topic, int32(d.Partition), d.Offset)
	if err != nil {
		return Done{}, err
	}
	if rec != nil {
		row.At, row.Key = rec.Timestamp, rec.Key
	}
	row.Record, err = l.r.o.Codec.Decode(value)
	if errors.Is(err, codec.ErrUnavailable) {
		return Done{}, err
	}
	if err != nil {
		row.Record = nil
	}
	rg := sinks.Range{
		Topic: d.Topic, TopicID: base64.StdEncoding.EncodeToString(id[:]), Partition: int32(d.Partition), From: d.Offset, To: d.Offset, Replay: l.job.AskedAt.UnixMilli(),
	}
	store, cancel := l.r.clock.WithTimeout(ctx, rowTimeout)
	defer cancel()
	err = l.r.o.Rows.Insert(store, rg, []sinks.Row{row})
	var refused *sinks.RowError
	switch {
	case errors.As(err, &refused):
		return failed("clickhouse refuses the row again: %v", refused.Err)
	case err != nil:
		return Done{}, fmt.Errorf("store the row of %s/%d offset %d: %w", d.Topic, d.Partition, d.Offset, err)
	}
	return sent("the row is stored")
}

// rowTimeout bounds one insert of a row.
const rowTimeout = 30 * time.Second

// toDestination has a command go to the partition of its destination.
func (r *Runner) toDestination(ctx context.Context, rec *kgo.Record, destination string) error {
	n, err := r.partitions(ctx, rec.Topic)
	if err == nil {
		rec.Partition = kafka.Partition([]byte(destination), n)
	}
	return err
}
