// Package processorstest runs stages in memory, in one goroutine, and holds what their tests share: a twin of the
// engine, a naive fold to compare with, and a check of determinism.
package processorstest

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/schemas"
)

// partitionsOf is the number of partitions of each topic of a Runner.
const partitionsOf = 4

// Runner runs both stages as the engine would: partitioned topics, states as bytes, timers by stream time, errors as
// dead letters. It is deterministic and not safe for concurrent use.
type Runner struct {
	// Pick chooses which of n partitions with unread records goes next. Nil means the first.
	Pick func(n int) int

	orders     *lane[orders.State]
	automation *lane[automation.State]
	now        time.Time
	outputs    []processors.Output
	dead       []schemas.DeadLetter
}

// NewRunner returns a runner whose stream time starts at start.
func NewRunner(o *orders.Stage, a *automation.Stage, start time.Time) *Runner {
	return &Runner{orders: newLane[orders.State](o), automation: newLane[automation.State](a), now: start.UTC()}
}

// Feed appends e to its source topic and runs until nothing is unread. An error is a bug of a stage, never a finding
// about e: those are in DeadLetters.
func (r *Runner) Feed(e *schemas.OrderEvent) error {
	r.Append(e)
	return r.Drain()
}

// Append puts e on its source topic, unread.
func (r *Runner) Append(e *schemas.OrderEvent) {
	topic := schemas.TopicStoreOrders
	if e.Provider == "paypal" {
		topic = schemas.TopicPayPalEvents
	}
	r.orders.append(processors.Input{Topic: topic, Key: e.Key(), Record: e})
}

// Drain applies all unread records, and those that they make.
func (r *Runner) Drain() error {
	for {
		ready := append(r.orders.ready(), r.automation.ready()...)
		if len(ready) == 0 {
			return nil
		}
		i := 0
		if r.Pick != nil {
			i = r.Pick(len(ready))
		}
		if err := ready[i](r); err != nil {
			return err
		}
	}
}

// Advance lets stream time pass on every partition, as ticks do, and fires the timers that it passes.
func (r *Runner) Advance(to time.Time) error {
	if to.Before(r.now) {
		return fmt.Errorf("stream time never goes back: from %s to %s", r.now, to)
	}
	r.now = to.UTC()
	for p := range partitionsOf {
		if err := r.orders.fire(r, p); err != nil {
			return err
		}
		if err := r.automation.fire(r, p); err != nil {
			return err
		}
	}
	return r.Drain()
}

// Now is the stream time.
func (r *Runner) Now() time.Time { return r.now }

// Outputs are all records written so far, internal ones too, in order.
func (r *Runner) Outputs() []processors.Output { return slices.Clone(r.outputs) }

// DeadLetters are the records that a stage refused.
func (r *Runner) DeadLetters() []schemas.DeadLetter { return slices.Clone(r.dead) }

// Transitions are the records of order.transitions.
func (r *Runner) Transitions() []*schemas.Transition {
	return records[*schemas.Transition](r.outputs, schemas.TopicTransitions)
}

// Commands are the records of crm.commands.
func (r *Runner) Commands() []*schemas.Command {
	return records[*schemas.Command](r.outputs, schemas.TopicCommands)
}

// Orders decodes the states of the orders stage, by key.
func (r *Runner) Orders() (map[string]orders.State, error) { return r.orders.decoded() }

// Contacts decodes the states of the automation stage, by key.
func (r *Runner) Contacts() (map[string]automation.State, error) { return r.automation.decoded() }

func records[R schemas.Record](outputs []processors.Output, topic string) []R {
	var list []R
	for _, o := range outputs {
		if rec, ok := o.Record.(R); ok && o.Topic == topic {
			list = append(list, rec)
		}
	}
	return list
}

// lane is one stage with its partitions.
type lane[S any] struct {
	stage  processors.Stage[S]
	unread [partitionsOf][]processors.Input
	images [partitionsOf]map[string][]byte
	timers [partitionsOf]map[string][]processors.Timer
}

func newLane[S any](s processors.Stage[S]) *lane[S] {
	l := &lane[S]{stage: s}
	for p := range partitionsOf {
		l.images[p], l.timers[p] = map[string][]byte{}, map[string][]processors.Timer{}
	}
	return l
}

func partition(key string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return int(h.Sum32() % partitionsOf)
}

func (l *lane[S]) append(in processors.Input) {
	p := partition(in.Key)
	l.unread[p] = append(l.unread[p], in)
}

// ready lists one step for each partition with unread records.
func (l *lane[S]) ready() []func(*Runner) error {
	var steps []func(*Runner) error
	for p := range partitionsOf {
		if len(l.unread[p]) > 0 {
			steps = append(steps, func(r *Runner) error { return l.step(r, p) })
		}
	}
	return steps
}

func (l *lane[S]) step(r *Runner, p int) error {
	in := l.unread[p][0]
	l.unread[p] = l.unread[p][1:]
	in.At = r.now
	if err := l.fire(r, p); err != nil {
		return err
	}
	key, ok := l.stage.Key(in)
	if !ok {
		return nil
	}
	return l.apply(r, p, key, in)
}

// fire applies the timers of a partition that stream time has passed, in the order (At, key, ID).
func (l *lane[S]) fire(r *Runner, p int) error {
	type due struct {
		key string
		t   processors.Timer
	}
	for range 10_000 { // firesMax: a timer that sets itself again in the past would never end
		var next *due
		for key, timers := range l.timers[p] {
			for _, t := range timers {
				if t.At.Before(r.now) && (next == nil || t.At.Before(next.t.At) || t.At.Equal(next.t.At) && (key < next.key || key == next.key && t.ID < next.t.ID)) {
					next = &due{key, t}
				}
			}
		}
		if next == nil {
			return nil
		}
		if err := l.apply(r, p, next.key, processors.Input{At: r.now, Key: next.key, Timer: &next.t}); err != nil {
			return err
		}
	}
	return fmt.Errorf("stage %s: timers of partition %d never end", l.stage.Name(), p)
}

// apply runs the stage on bytes, as the engine does, and checks that it changed nothing of the old state in place.
func (l *lane[S]) apply(r *Runner, p int, key string, in processors.Input) error {
	var old S
	image, found := l.images[p][key]
	if found {
		var err error
		if old, err = l.stage.Decode(image); err != nil {
			return fmt.Errorf("state %s: %w", key, err)
		}
	}
	before, err := l.stage.Encode(old)
	if err != nil {
		return err
	}
	next, out, err := l.stage.Apply(old, in)
	if err != nil {
		return r.bury(l.stage.Name(), in, err)
	}
	after, err := l.stage.Encode(old)
	if err != nil {
		return err
	}
	if !bytes.Equal(before, after) {
		return fmt.Errorf("stage %s changed a state in place at %s: from %s to %s", l.stage.Name(), key, before, after)
	}
	if f, ok := any(next).(processors.Forgetter); ok && f.Forget() {
		delete(l.images[p], key)
		delete(l.timers[p], key)
	} else {
		if l.images[p][key], err = l.stage.Encode(next); err != nil {
			return err
		}
		if l.timers[p][key] = l.stage.Timers(next); len(l.timers[p][key]) == 0 {
			delete(l.timers[p], key)
		}
	}
	for _, o := range out {
		r.write(o)
	}
	return nil
}

func (r *Runner) write(o processors.Output) {
	r.outputs = append(r.outputs, o)
	in := processors.Input{Topic: o.Topic, Key: o.Key, Record: o.Record}
	switch o.Topic {
	case schemas.TopicOrdersInbox:
		r.orders.append(in)
	case schemas.TopicAutomationInbox:
		r.automation.append(in)
	}
}

func (r *Runner) bury(stage string, in processors.Input, err error) error {
	var p *processors.Poison
	if !errors.As(err, &p) {
		return fmt.Errorf("stage %s: an error that is no Poison: %w", stage, err)
	}
	d := schemas.DeadLetter{
		ID: fmt.Sprintf("%s-%d", stage, len(r.dead)), Stage: stage, Cause: p.Cause, Reason: p.Reason,
		Remedy: p.Remedy, Topic: in.Topic, Key: []byte(in.Key), At: r.now,
	}
	switch rec := in.Record.(type) {
	case *schemas.OrderEvent:
		d.EventID, d.RootKey = rec.EventID, rec.Key()
	case *schemas.Transition:
		d.EventID, d.RootKey, d.ContactKey = rec.Event.EventID, rec.RootKey, rec.ContactKey
	}
	r.dead = append(r.dead, d)
	return nil
}

func (l *lane[S]) decoded() (map[string]S, error) {
	all := map[string]S{}
	for p := range partitionsOf {
		for key, image := range l.images[p] {
			s, err := l.stage.Decode(image)
			if err != nil {
				return nil, fmt.Errorf("state %s: %w", key, err)
			}
			all[key] = s
		}
	}
	return all, nil
}

// Images lists every state as "stage key bytes", sorted: equal for equal histories.
func (r *Runner) Images() []string {
	var list []string
	add := func(stage string, images [partitionsOf]map[string][]byte) {
		for p := range partitionsOf {
			for key := range maps.Keys(images[p]) {
				list = append(list, strings.Join([]string{stage, key, string(images[p][key])}, " "))
			}
		}
	}
	add("orders", r.orders.images)
	add("automation", r.automation.images)
	slices.Sort(list)
	return list
}
