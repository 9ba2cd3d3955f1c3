// Package trial runs stages in memory under virtual time: what the engine does over Kafka, without Kafka. Scenarios,
// backtests and tests run on it.
//
// It gives time the meaning that the engine gives it with ticks that never come late: a timer fires one millisecond
// after its deadline, the unit of the log's stamps, so that an input stamped exactly at the deadline is applied first.
// Partitions do not show: a state sees the inputs of its own key only, and those keep their order.
//
// Everything here runs in the caller's goroutine. Two lanes share nothing, so that a caller may run them side by side.
package trial

import (
	"slices"
	"time"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
)

// Sink takes what stages make, in the order of time. An error ends the trial.
type Sink interface {
	Output(at time.Time, o processors.Output) error
	DeadLetter(d schemas.DeadLetter) error
}

// watermarkLease is how far timers may fire past the watermark that a tick brought, as in the engine.
const watermarkLease = 30 * time.Second

// Options of a lane. The zero value is for speed.
type Options struct {
	// Check runs the stage as a crash between any two inputs would: every state goes through bytes. A stage that changes a
	// state in place, that does not read its own bytes, that fails without a processors.Poison, panics, or leaves a timer
	// that fired, is an error of the trial then, and no dead letter.
	Check bool
	// HotMax is how many states are kept decoded; the others are bytes. Default 65,536.
	HotMax int
}

const hotMaxDefault = 1 << 16

// pastFiresMax bounds the timers in the past that fire between two inputs: one that sets itself again would never end.
const pastFiresMax = 10_000

// Stepper is a lane without its state's type, as a Line holds it.
type Stepper interface {
	// Step lets time pass to in.At, then applies in. A time before Now counts as Now.
	Step(in processors.Input) error
	// Advance lets time pass, and fires what becomes due.
	Advance(to time.Time) error
	Now() time.Time

	next() (at int64, ok bool)
	fire() error
	apply(in processors.Input) error
	reach(at int64)
	hold(from int64)
	attach(s Sink)
}

// Line is a chain of lanes: what one writes to a topic of another is an input of that one, at once. It is itself
// deterministic: the same inputs give the same outputs in the same order.
type Line struct {
	parts   []Part
	sink    Sink
	now     int64
	pending []processors.Input
	taken   int // of pending
}

// Part is one lane of a Line and the topics that it reads, which no other lane reads.
type Part struct {
	Lane   Stepper
	Topics []string
}

// NewLine joins lanes. All outputs go to s, those between lanes too. Time starts at start.
func NewLine(s Sink, start time.Time, parts ...Part) *Line {
	l := &Line{parts: parts, sink: s, now: start.UnixMilli()}
	for _, p := range parts {
		p.Lane.attach(l)
		p.Lane.reach(l.now)
	}
	return l
}

// Now is the time that everything before was applied.
func (l *Line) Now() time.Time { return fromMillis(l.now) }

// Put appends one record to its topic at in.At, and applies it and all that follows from it. A time before Now counts as
// Now. A topic that no lane reads is no error: the record has no effect.
func (l *Line) Put(in processors.Input) error {
	if err := l.advance(max(l.now, in.At.UnixMilli())); err != nil {
		return err
	}
	l.pending = append(l.pending, in)
	if err := l.drain(); err != nil {
		return err
	}
	return l.advance(l.now) // what it set into the past, or what a tick let go
}

// Advance lets time pass on all lanes and fires the timers in between, each at its time.
func (l *Line) Advance(to time.Time) error { return l.advance(to.UnixMilli()) }

// Hold keeps timers with deadlines after now from firing, as the engine does while no receiver is there to take events;
// Release lets them fire, at the time of the release.
func (l *Line) Hold() {
	for _, p := range l.parts {
		p.Lane.hold(l.now + 1)
	}
}

// Release undoes Hold.
func (l *Line) Release() error {
	for _, p := range l.parts {
		p.Lane.hold(0)
	}
	return l.advance(l.now)
}

func (l *Line) advance(to int64) error {
	for {
		var first Stepper
		var at int64
		for _, p := range l.parts {
			if t, ok := p.Lane.next(); ok && t <= to && (first == nil || t < at) {
				first, at = p.Lane, t
			}
		}
		if first == nil {
			break
		}
		l.now = max(l.now, at)
		first.reach(l.now)
		if err := first.fire(); err != nil {
			return err
		}
		if err := l.drain(); err != nil {
			return err
		}
	}
	l.now = max(l.now, to)
	return nil
}

// drain applies what was written, and what that writes.
func (l *Line) drain() error {
	for l.taken < len(l.pending) {
		in := l.pending[l.taken]
		lane := l.reader(in.Topic)
		if lane == nil {
			l.taken++
			continue
		}
		lane.reach(l.now)
		if at, ok := lane.next(); ok && at <= l.now { // it was set into the past meanwhile
			if err := lane.fire(); err != nil {
				return err
			}
			continue
		}
		l.taken++
		if err := lane.apply(in); err != nil {
			return err
		}
	}
	clear(l.pending)
	l.pending, l.taken = l.pending[:0], 0
	return nil
}

// reader is the lane that reads topic; nil: none does.
func (l *Line) reader(topic string) Stepper {
	for _, p := range l.parts {
		if slices.Contains(p.Topics, topic) {
			return p.Lane
		}
	}
	return nil
}

// Output implements Sink for the lanes.
func (l *Line) Output(at time.Time, o processors.Output) error {
	if l.reader(o.Topic) != nil {
		l.pending = append(l.pending, processors.Input{Topic: o.Topic, Key: o.Key, Record: o.Record})
	}
	return l.sink.Output(at, o)
}

// DeadLetter implements Sink for the lanes.
func (l *Line) DeadLetter(d schemas.DeadLetter) error { return l.sink.DeadLetter(d) }

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
