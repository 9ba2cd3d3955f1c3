package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/jobs"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// Work is the kind of job that compares contacts: schemas.JobVerify.
type Work struct {
	Log    Log
	Decode func([]byte) (schemas.Record, error)
	Encode func(schemas.Record) ([]byte, error)
	Clock  clock.Clock // default clock.System
	// Open returns who reads a destination's contacts back, through the account's limit. An error that wraps
	// jobs.ErrImpossible says that nobody can.
	Open func(ctx context.Context, destination string) (sinks.Verifier, error)
}

var _ jobs.Work = Work{}

// Source implements jobs.Work.
func (w Work) Source(jobs.Filter) (topic string, passes int) { return schemas.TopicCommands, 1 }

// Begin implements jobs.Work.
func (w Work) Begin(ctx context.Context, j jobs.Job, _ jobs.Log) (jobs.Worker, error) {
	f := j.Filter
	known := jobs.Filter{Destination: f.Destination, Contact: f.Contact, Since: f.Since, Repair: f.Repair}
	switch {
	case f.Destination == "":
		return nil, fmt.Errorf("%w: say of which destination", jobs.ErrImpossible)
	case f != known:
		return nil, fmt.Errorf("%w: contacts are chosen by destination, contact and since", jobs.ErrImpossible)
	}
	v, err := w.Open(ctx, f.Destination)
	if err != nil {
		return nil, err
	}
	b, err := Open(ctx, w.Log, w.Decode, Asked{Destination: f.Destination, Contact: f.Contact, Since: f.Since, Seed: j.JobID})
	if err != nil {
		return nil, err
	}
	if w.Clock == nil {
		w.Clock = clock.System()
	}
	why := "other than meant at " + f.Destination + ", job " + j.JobID
	return &worker{w, v, b, f.Repair, why}, nil
}

type worker struct {
	w      Work
	v      sinks.Verifier
	book   *Book
	repair bool
	why    string
}

// Item implements jobs.Worker.
func (w *worker) Item(_ int, r *kgo.Record, _ schemas.Record) (jobs.Item, bool) {
	c, ok := w.book.Command(r)
	if !ok {
		return jobs.Item{}, false
	}
	return jobs.Item{ID: c.ContactKey, Destination: c.Destination, ContactKey: c.ContactKey, Value: c}, true
}

// doFor leaves a comparison that has begun time to end.
const doFor = jobs.DoPatience - 2*time.Second

// Do implements jobs.Worker.
func (w *worker) Do(ctx context.Context, items []jobs.Item) (out []jobs.Done, err error) {
	until := w.w.Clock.Now().Add(doFor)
	for _, it := range items {
		if len(out) > 0 && !w.w.Clock.Now().Before(until) {
			break
		}
		c := it.Value.(*schemas.Command)
		r, err := Compare(ctx, w.book, w.v, w.w.Clock, c, jobTries)
		if err != nil {
			if len(out) > 0 {
				return out, nil // what is done counts; the others are given again
			}
			return nil, err
		}
		done := jobs.Done{Result: r.Result, Detail: r.Detail}
		if r.Mends() && w.repair {
			value, err := w.w.Encode(Touch(c, w.why, w.w.Clock.Now()))
			if err != nil {
				return nil, err
			}
			done.Detail += "; its desired state is sent again"
			done.Send = []*kgo.Record{{Topic: schemas.TopicAutomationInbox, Partition: -1, Key: []byte(c.ContactKey), Value: value}}
		}
		out = append(out, done)
	}
	return out, nil
}
