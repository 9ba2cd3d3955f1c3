package trial

import (
	"bytes"
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
)

// Lane runs one stage over the states of all keys.
type Lane[S any] struct {
	stage   processors.Stage[S]
	o       Options
	forgets bool
	sink    Sink
	config  string

	time   int64 // stream time, Unix milliseconds
	limit  int64 // deadlines from here on are held: receivers were not there; 0: none is
	cells  map[string]*cell[S]
	timers timers[S]
	hot    []*cell[S] // oldest first, those taken are nil
	cold   int        // of hot, taken
	past   int        // fires in the past since the last input
	buried int
}

var _ Stepper = (*Lane[struct{}])(nil)

// cell is the state of one key.
type cell[S any] struct {
	key     string
	state   S
	image   []byte // in place of state; nil where state holds
	used    bool   // since it came into hot
	gone    bool
	due     int64 // deadline of the first timer; 0: none
	queued  int64 // deadline under which it stands in timers; 0: it does not
	stopped []processors.Timer
}

// NewLane returns a lane without states. Its outputs go to s, unless a Line takes them.
func NewLane[S any](stage processors.Stage[S], o Options, s Sink) *Lane[S] {
	if o.HotMax <= 0 {
		o.HotMax = hotMaxDefault
	}
	var zero S
	_, forgets := any(&zero).(processors.Forgetter)
	return &Lane[S]{stage: stage, o: o, forgets: forgets, sink: s, cells: map[string]*cell[S]{}}
}

// Clone is a second lane that stands where l stands. The two share nothing that changes: they may run side by side.
func (l *Lane[S]) Clone() *Lane[S] {
	n := NewLane(l.stage, l.o, nil)
	n.config, n.time, n.limit, n.past, n.buried = l.config, l.time, l.limit, l.past, l.buried
	twins := make(map[*cell[S]]*cell[S], len(l.cells))
	for key, c := range l.cells {
		twin := *c
		twin.used, twin.stopped = false, slices.Clip(c.stopped)
		n.cells[key], twins[c] = &twin, &twin
	}
	for _, c := range l.hot[l.cold:] {
		if twin := twins[c]; twin != nil {
			twin.used = true
			n.hot = append(n.hot, twin)
		}
	}
	for _, e := range l.timers {
		if twin := twins[e.cell]; twin != nil {
			n.timers = append(n.timers, entry[S]{e.at, twin})
		}
	}
	heap.Init(&n.timers)
	return n
}

// Now is the stream time.
func (l *Lane[S]) Now() time.Time { return fromMillis(l.time) }

// Step implements Stepper.
func (l *Lane[S]) Step(in processors.Input) error {
	if err := l.advance(max(l.time, in.At.UnixMilli())); err != nil {
		return err
	}
	return l.apply(in)
}

// Advance implements Stepper.
func (l *Lane[S]) Advance(to time.Time) error { return l.advance(to.UnixMilli()) }

func (l *Lane[S]) advance(to int64) error {
	for {
		at, ok := l.next()
		if !ok || at > to {
			l.reach(to)
			return nil
		}
		if err := l.fire(); err != nil {
			return err
		}
	}
}

// Keys lists the keys that have a state, sorted.
func (l *Lane[S]) Keys() []string { return slices.Sorted(maps.Keys(l.cells)) }

// State is the state of a key; false where there is none.
func (l *Lane[S]) State(key string) (s S, ok bool, err error) {
	c := l.cells[key]
	if c == nil {
		return s, false, nil
	}
	s, err = l.read(c)
	return s, true, err
}

// Image is the state of a key as bytes; nil where there is none.
func (l *Lane[S]) Image(key string) ([]byte, error) {
	c := l.cells[key]
	switch {
	case c == nil:
		return nil, nil
	case c.image != nil:
		return c.image, nil
	}
	return l.stage.Encode(c.state)
}

func (l *Lane[S]) attach(s Sink)   { l.sink = s }
func (l *Lane[S]) hold(from int64) { l.limit = from }
func (l *Lane[S]) reach(at int64)  { l.time = max(l.time, at) }

// apply gives one record to the stage, now.
func (l *Lane[S]) apply(in processors.Input) error {
	in.At, l.past = l.Now(), 0
	switch r := in.Record.(type) {
	case *schemas.Tick:
		if !r.Watermark.IsZero() {
			l.limit = max(l.limit, min(r.Watermark.UnixMilli(), l.time)+watermarkLease.Milliseconds())
		}
		return nil
	case *schemas.ConfigActivation:
		l.config = r.Version
		return nil
	}
	in.Config = l.config
	key, ok := l.stage.Key(in)
	if !ok {
		return nil
	}
	c := l.cells[key]
	if c == nil {
		c = &cell[S]{key: key, gone: true}
	}
	_, err := l.step(c, in)
	return err
}

// next is when the first timer fires.
func (l *Lane[S]) next() (int64, bool) {
	for len(l.timers) > 0 {
		e := l.timers[0]
		switch c := e.cell; {
		case c.gone || c.queued != e.at: // it went, or stands further in front
			heap.Pop(&l.timers)
		case c.due != e.at: // it was put off
			heap.Pop(&l.timers)
			c.queued = 0
			l.queue(c)
		case l.limit != 0 && e.at >= l.limit: // and so are all behind it
			return 0, false
		default:
			return max(e.at+1, l.time), true
		}
	}
	return 0, false
}

// fire lets the first timer fire.
func (l *Lane[S]) fire() error {
	at, ok := l.next()
	if !ok {
		return nil
	}
	c := l.timers[0].cell
	l.time = at
	s, err := l.read(c)
	if err != nil {
		return err
	}
	list := l.armed(s, c)
	if len(list) == 0 { // the state's bytes know less than it did
		l.rearm(c, s)
		return nil
	}
	t := list[0]
	in := processors.Input{At: l.Now(), Key: c.key, Timer: &t, Config: l.config}
	if t.At.UnixMilli()+1 < at {
		if l.past++; l.past > pastFiresMax {
			return l.mute(c, in, fmt.Errorf("more than %d timers in the past fired between two inputs", pastFiresMax))
		}
	}
	done, err := l.step(c, in)
	if err != nil || c.gone {
		return err
	}
	if !done {
		c.stopped = append(c.stopped, t)
		l.rearm(c, s)
		return nil
	}
	if s, err = l.read(c); err != nil {
		return err
	}
	if slices.Contains(l.armed(s, c), t) {
		return l.mute(c, in, errors.New("the timer is still in the state after it fired"))
	}
	return nil
}

// mute stops a timer for good, with a dead letter that says why.
func (l *Lane[S]) mute(c *cell[S], in processors.Input, why error) error {
	if l.o.Check {
		return fmt.Errorf("stage %s: timer %s of %s at %s: %w", l.stage.Name(), in.Timer.ID, c.key, in.Timer.At.Format(time.RFC3339Nano), why)
	}
	c.stopped = append(c.stopped, *in.Timer)
	if err := l.bury(in, why); err != nil {
		return err
	}
	s, err := l.read(c)
	if err != nil {
		return err
	}
	l.rearm(c, s)
	return nil
}

// armed are the timers of a state that may fire, in firing order.
func (l *Lane[S]) armed(s S, c *cell[S]) []processors.Timer {
	list := l.stage.Timers(s)
	if len(list) == 0 || len(list) == 1 && len(c.stopped) == 0 {
		return list
	}
	list = slices.DeleteFunc(slices.Clone(list), func(t processors.Timer) bool {
		return slices.ContainsFunc(c.stopped, func(o processors.Timer) bool { return o.ID == t.ID && o.At.Equal(t.At) })
	})
	slices.SortFunc(list, func(a, b processors.Timer) int {
		return cmp.Or(cmp.Compare(deadline(a), deadline(b)), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// deadline is when a timer is due, cut to the millisecond. One before 1970 counts as 1970: 0 stands for none.
func deadline(t processors.Timer) int64 { return max(1, t.At.UnixMilli()) }

func (l *Lane[S]) rearm(c *cell[S], s S) {
	c.due = 0
	if list := l.armed(s, c); len(list) > 0 {
		c.due = deadline(list[0])
	}
	l.queue(c)
}

// queue puts c where its deadline belongs. One that is put off stays where it is until its turn: most deadlines are put
// off by every input.
func (l *Lane[S]) queue(c *cell[S]) {
	if c.due != 0 && (c.queued == 0 || c.due < c.queued) {
		c.queued = c.due
		heap.Push(&l.timers, entry[S]{c.due, c})
	}
}

func (l *Lane[S]) read(c *cell[S]) (s S, err error) {
	if c.image == nil {
		return c.state, nil
	}
	if s, err = l.stage.Decode(c.image); err != nil {
		return s, fmt.Errorf("stage %s: state of %s: %w", l.stage.Name(), c.key, err)
	}
	return s, nil
}

// step applies one input to one state. It reports false where the stage refused it, which has become a dead letter.
func (l *Lane[S]) step(c *cell[S], in processors.Input) (bool, error) {
	s, err := l.read(c)
	if err != nil {
		return false, err
	}
	var before []byte
	if l.o.Check {
		if before, err = l.stage.Encode(s); err != nil {
			return false, err
		}
	}
	next, outs, err := l.call(s, in)
	if err != nil {
		return false, l.bury(in, err)
	}
	if l.o.Check {
		if err := l.unchanged(c.key, s, before); err != nil {
			return false, err
		}
	}
	if err := l.keep(c, next); err != nil {
		return false, err
	}
	for _, o := range outs {
		if err := l.sink.Output(in.At, o); err != nil {
			return false, err
		}
	}
	return true, nil
}

// call makes a panic of the stage an error.
func (l *Lane[S]) call(s S, in processors.Input) (next S, outs []processors.Output, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the stage panicked: %v", v)
		}
	}()
	return l.stage.Apply(s, in)
}

func (l *Lane[S]) unchanged(key string, s S, before []byte) error {
	after, err := l.stage.Encode(s)
	if err != nil {
		return err
	}
	if !bytes.Equal(before, after) {
		return fmt.Errorf("stage %s changed a state in place at %s: from %q to %q", l.stage.Name(), key, before, after)
	}
	return nil
}

// keep makes next the state of c's key.
func (l *Lane[S]) keep(c *cell[S], next S) error {
	c.state, c.image = next, nil
	if l.forgets && any(&c.state).(processors.Forgetter).Forget() {
		delete(l.cells, c.key)
		c.gone = true
		return nil
	}
	if c.gone {
		c.gone = false
		l.cells[c.key] = c
	}
	l.rearm(c, next)
	if l.o.Check {
		return l.freeze(c)
	}
	if c.used {
		return nil
	}
	c.used = true
	l.hot = append(l.hot, c)
	return l.cool()
}

// cool turns the states that were not used for longest into bytes: a decoded state keeps the texts of its inputs alive.
func (l *Lane[S]) cool() error {
	for len(l.hot)-l.cold > l.o.HotMax {
		c := l.hot[l.cold]
		l.hot[l.cold] = nil
		l.cold++
		c.used = false
		if !c.gone {
			if err := l.freeze(c); err != nil {
				return err
			}
		}
		if l.cold > len(l.hot)/2 {
			l.hot = append(l.hot[:0], l.hot[l.cold:]...)
			l.cold = 0
		}
	}
	return nil
}

func (l *Lane[S]) freeze(c *cell[S]) error {
	image, err := l.stage.Encode(c.state)
	if err != nil {
		return fmt.Errorf("stage %s: state of %s: %w", l.stage.Name(), c.key, err)
	}
	var zero S
	if c.state, c.image = zero, image; c.image == nil {
		c.image = []byte{}
	}
	if !l.o.Check {
		return nil
	}
	s, err := l.read(c)
	if err != nil {
		return err
	}
	again, err := l.stage.Encode(s)
	if err == nil && !bytes.Equal(image, again) {
		err = fmt.Errorf("stage %s: the state of %s is other bytes once it was read: %q, then %q", l.stage.Name(), c.key, image, again)
	}
	return err
}

// bury makes a dead letter of what the stage refused.
func (l *Lane[S]) bury(in processors.Input, err error) error {
	d := schemas.DeadLetter{
		ID: fmt.Sprintf("%s-%d", l.stage.Name(), l.buried), Stage: l.stage.Name(), Topic: in.Topic, Key: []byte(in.Key), At: in.At,
		ConfigVersion: in.Config, Cause: schemas.CauseStageFailed, Reason: err.Error(), Remedy: "repair the stage, then replay the record",
	}
	var p *processors.Poison
	switch known := errors.As(err, &p); {
	case known:
		d.Cause, d.Reason, d.Remedy = p.Cause, p.Reason, p.Remedy
	case l.o.Check:
		return fmt.Errorf("stage %s: an error that is no Poison: %w", l.stage.Name(), err)
	}
	l.buried++
	switch rec := in.Record.(type) {
	case *schemas.OrderEvent:
		d.EventID, d.RootKey = rec.EventID, rec.Key()
	case *schemas.Transition:
		d.EventID, d.RootKey, d.ContactKey = rec.Event.EventID, rec.RootKey, rec.ContactKey
	}
	return l.sink.DeadLetter(d)
}

// timers is a heap by (deadline, key).
type timers[S any] []entry[S]

type entry[S any] struct {
	at   int64
	cell *cell[S]
}

func (h timers[S]) Len() int { return len(h) }
func (h timers[S]) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].cell.key < h[j].cell.key
}
func (h timers[S]) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *timers[S]) Push(x any)   { *h = append(*h, x.(entry[S])) }
func (h *timers[S]) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = entry[S]{}
	*h = old[:len(old)-1]
	return last
}
