// Package processorstest holds what the tests of stages share: a runner that mixes the order of partitions, a naive fold
// to compare with, and a check of determinism.
package processorstest

import (
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/processors/trial"
	"github.com/tillstream/tillstream/schemas"
)

// partitionsOf is the number of partitions of each topic of a Runner.
const partitionsOf = 4

// Runner runs both stages in the checking mode of package trial, over partitioned topics whose records may be taken in
// any order that keeps each partition's. It is deterministic and not safe for concurrent use.
type Runner struct {
	// Pick chooses which of n partitions with unread records goes next. Nil means the first.
	Pick func(n int) int

	orders     *trial.Lane[orders.State]
	automation *trial.Lane[automation.State]
	unread     [2][partitionsOf][]processors.Input // of orders, of automation
	now        time.Time
	outputs    []processors.Output
	dead       []schemas.DeadLetter
}

// NewRunner returns a runner whose stream time starts at start.
func NewRunner(o *orders.Stage, a *automation.Stage, start time.Time) *Runner {
	r := &Runner{now: start.UTC()}
	checked := trial.Options{Check: true}
	r.orders = trial.NewLane[orders.State](o, checked, collector{r})
	r.automation = trial.NewLane[automation.State](a, checked, collector{r})
	return r
}

// collector takes what the stages make.
type collector struct{ r *Runner }

// Output implements trial.Sink.
func (c collector) Output(_ time.Time, o processors.Output) error {
	c.r.outputs = append(c.r.outputs, o)
	in := processors.Input{Topic: o.Topic, Key: o.Key, Record: o.Record}
	switch o.Topic {
	case schemas.TopicOrdersInbox:
		c.r.append(0, in)
	case schemas.TopicAutomationInbox:
		c.r.append(1, in)
	}
	return nil
}

// DeadLetter implements trial.Sink.
func (c collector) DeadLetter(d schemas.DeadLetter) error {
	c.r.dead = append(c.r.dead, d)
	return nil
}

func (r *Runner) append(lane int, in processors.Input) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(in.Key))
	p := h.Sum32() % partitionsOf
	r.unread[lane][p] = append(r.unread[lane][p], in)
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
	r.append(0, processors.Input{Topic: topic, Key: e.Key(), Record: e})
}

// Drain applies all unread records, and those that they make.
func (r *Runner) Drain() error {
	for {
		var ready [][2]int
		for lane := range r.unread {
			for p := range r.unread[lane] {
				if len(r.unread[lane][p]) > 0 {
					ready = append(ready, [2]int{lane, p})
				}
			}
		}
		if len(ready) == 0 {
			return nil
		}
		i := 0
		if r.Pick != nil {
			i = r.Pick(len(ready))
		}
		queue := &r.unread[ready[i][0]][ready[i][1]]
		in := (*queue)[0]
		*queue = (*queue)[1:]
		in.At = r.now
		var err error
		if ready[i][0] == 0 {
			err = r.orders.Step(in)
		} else {
			err = r.automation.Step(in)
		}
		if err != nil {
			return err
		}
	}
}

// Advance lets stream time pass, and fires the timers that it passes, each at its time. What they write is applied
// afterwards: the other stage is that much behind.
func (r *Runner) Advance(to time.Time) error {
	if to.Before(r.now) {
		return fmt.Errorf("stream time never goes back: from %s to %s", r.now, to)
	}
	r.now = to.UTC()
	if err := r.orders.Advance(r.now); err != nil {
		return err
	}
	if err := r.automation.Advance(r.now); err != nil {
		return err
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
func (r *Runner) Orders() (map[string]orders.State, error) { return states(r.orders) }

// Contacts decodes the states of the automation stage, by key.
func (r *Runner) Contacts() (map[string]automation.State, error) { return states(r.automation) }

func records[R schemas.Record](outputs []processors.Output, topic string) []R {
	var list []R
	for _, o := range outputs {
		if rec, ok := o.Record.(R); ok && o.Topic == topic {
			list = append(list, rec)
		}
	}
	return list
}

func states[S any](l *trial.Lane[S]) (map[string]S, error) {
	all := map[string]S{}
	for _, key := range l.Keys() {
		s, _, err := l.State(key)
		if err != nil {
			return nil, err
		}
		all[key] = s
	}
	return all, nil
}

// Images lists every state as "stage key bytes", sorted: equal for equal histories.
func (r *Runner) Images() []string {
	return append(images("automation", r.automation), images("orders", r.orders)...)
}

func images[S any](stage string, l *trial.Lane[S]) (list []string) {
	for _, key := range l.Keys() {
		image, err := l.Image(key)
		if err != nil {
			image = []byte(err.Error()) // equal to no other run's bytes
		}
		list = append(list, stage+" "+key+" "+string(image))
	}
	return list
}
