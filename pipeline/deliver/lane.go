package deliver

import (
	"container/heap"
	"container/list"
	"slices"
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// lane is the work of one destination. Deliverer.mu guards it.
type lane struct {
	name    string
	writer  sinks.Writer
	queues  map[string]*queue
	ready   line             // may have something to do
	waiting waiting          // have something to do later
	flying  int              // contacts with a request in flight
	slots   int              // requests, as far as they are limited: many contacts in one count once
	bulk    sinks.BulkWriter // nil: it takes one at a time
	// withheld are queues of which a person holds back something.
	withheld int
	intents  int // that are in the outbox or in a transaction under way
	seen     *versions
	asked    *list.List // of *entry: questions, in the order of their deadlines

	failures int       // in a row, of any command
	hold     time.Time // nothing is sent before
	reason   string    // of the hold; "" where the lane runs
	detail   string    // what the destination answered last that holds it, without secrets and addresses
	remedy   string    // what a person does about it
	pauses   int       // in a row, for the back-off
	probing  bool      // one at a time until something succeeds
}

func newLane(name string, w sinks.Writer) *lane {
	return &lane{name: name, writer: w, bulk: bulkWriter(w), queues: map[string]*queue{}, seen: newVersions(contactsRememberedMax), asked: list.New()}
}

// queue is what is unfinished for one contact, in the order of offsets.
type queue struct {
	lane    *lane
	key     string
	entries []*entry
	flying  bool
	queued  bool    // in lane.ready
	parked  *window // waits for it to catch up; nil: it does not
	held    bool    // counted in lane.withheld
	index   int     // in lane.waiting; -1: not there
	wake    time.Time
}

// takeOff notes that e is sent. slot: its flight counts.
func (q *queue) takeOff(e *entry, slot bool) {
	q.flying, e.flying, e.slot = true, true, slot
	q.lane.flying++
	if slot {
		q.lane.slots++
	}
}

// withhold counts q among those of which a person holds back something, or not.
func (q *queue) withhold(held bool) {
	if q.held != held {
		q.held = held
		if held {
			q.lane.withheld++
		} else {
			q.lane.withheld--
		}
	}
}

// add puts e into its contact's queue.
func (l *lane) add(key string, e *entry) *queue {
	q := l.queues[key]
	if q == nil {
		q = &queue{lane: l, key: key, index: -1}
		l.queues[key] = q
	}
	if e.cmd.Kind == schemas.CommandContact {
		// A newer state does not jump the back-off of an older one: it would meet the same trouble.
		for _, o := range q.entries {
			if o.cmd.Kind == schemas.CommandContact && o.nextTry.After(e.nextTry) {
				e.nextTry = o.nextTry
			}
		}
	}
	// What waited for the registry has its place before what came after it.
	at := len(q.entries)
	for at > 0 && q.entries[at-1].win == e.win && q.entries[at-1].offset > e.offset {
		at--
	}
	q.entries = slices.Insert(q.entries, at, e)
	l.touch(q)
	return q
}

// touch makes the lane look at q again.
func (l *lane) touch(q *queue) {
	if q.index >= 0 {
		heap.Remove(&l.waiting, q.index)
	}
	if !q.queued {
		q.queued = true
		l.ready.push(q)
	}
}

// touchFirst makes the lane look at q before all others: its intent is committed, and no further ones are to be made
// before its request has left.
func (l *lane) touchFirst(q *queue) {
	if q.queued {
		l.ready.leave(q)
		q.queued = false
	}
	if q.index >= 0 {
		heap.Remove(&l.waiting, q.index)
	}
	q.queued = true
	l.ready.pushFirst(q)
}

// due moves queues whose time has come to ready.
func (l *lane) due(now time.Time) {
	for len(l.waiting) > 0 && !l.waiting[0].wake.After(now) {
		l.touch(l.waiting[0])
	}
}

// remove takes finished entries out, and forgets an empty queue.
func (q *queue) remove() {
	q.entries = slices.DeleteFunc(q.entries, func(e *entry) bool { return e.done || e.win.dropped })
	if len(q.entries) == 0 && !q.flying {
		q.withhold(false)
		if q.index >= 0 {
			heap.Remove(&q.lane.waiting, q.index)
		}
		if q.lane.queues[q.key] == q {
			delete(q.lane.queues, q.key)
		}
	}
}

// hasContact reports whether a desired state is unfinished.
func (q *queue) hasContact() bool {
	if q == nil {
		return false
	}
	return slices.ContainsFunc(q.entries, func(e *entry) bool {
		return !e.done && !e.win.dropped && e.cmd.Kind == schemas.CommandContact
	})
}

// step is what a queue wants.
type step struct {
	send   *entry
	intend *entry
	park   *window // must catch up first
	// withheld: a person holds back something of it.
	withheld bool
	wake     time.Time // zero: nothing to wait for by the clock
}

// next decides. Effects and questions older than every unfinished desired state come first, in order: one that waits holds the later
// ones. Then the newest desired state, which stands for all older ones; it waits for no effect's next try. A request in
// flight, or an intent on its way, makes the contact wait. Effects that a person holds back are passed over by other
// effects, but not by questions, and no state is sent where the newest is held back.
func (q *queue) next(now time.Time, heldBack func(connection string) bool) step {
	var s step
	if q.flying {
		return s
	}
	var newest *entry
	oldestContact := int64(-1)
	for _, e := range q.entries {
		if e.done || e.win.dropped || e.cmd.Kind != schemas.CommandContact {
			continue
		}
		if oldestContact < 0 {
			oldestContact = e.offset
		}
		if newest == nil || e.cmd.Version >= newest.cmd.Version {
			newest = e
		}
	}
	if newest != nil && heldBack(newest.connection) {
		// It may have been sent before it was held back: an older one must not follow it.
		s.withheld, newest = true, nil
	}
	later := func(e *entry) bool {
		if !e.nextTry.After(now) {
			return false
		}
		if s.wake.IsZero() || e.nextTry.Before(s.wake) {
			s.wake = e.nextTry
		}
		return true
	}
	for _, e := range q.entries {
		if e.done || e.win.dropped || e.cmd.Kind == schemas.CommandContact {
			continue
		}
		if oldestContact >= 0 && e.offset > oldestContact {
			break
		}
		if e.intent != intentQueued && (heldBack(e.connection) || s.withheld && e.isQuestion()) {
			s.withheld = true // a question must not be answered as if this had been
			continue
		}
		if e.intent == noIntent && !e.isQuestion() {
			s.intend = e
			return s
		}
		if e.intent == intentQueued {
			return step{}
		}
		if !later(e) {
			s.send = e
			return s
		}
		break
	}
	if newest != nil && !newest.win.mayState(q.lane) {
		s.park = newest.win
	} else if newest != nil && !later(newest) {
		s.send = newest
	}
	return s
}

// versions remembers, for the contacts last seen, the newest state that was sent and whether it was refused.
type versions struct {
	max   int
	order *list.List
	byKey map[string]*list.Element
}

type version struct {
	key     string
	sent    int64
	refused bool
}

func newVersions(max int) *versions {
	return &versions{max: max, order: list.New(), byKey: map[string]*list.Element{}}
}

func (v *versions) get(key string) (version, bool) {
	if e := v.byKey[key]; e != nil {
		return *e.Value.(*version), true
	}
	return version{}, false
}

func (v *versions) set(key string, sent int64, refused bool) {
	if e := v.byKey[key]; e != nil {
		v.order.MoveToFront(e)
		*e.Value.(*version) = version{key, sent, refused}
		return
	}
	v.byKey[key] = v.order.PushFront(&version{key, sent, refused})
	if v.order.Len() > v.max {
		last := v.order.Back()
		v.order.Remove(last)
		delete(v.byKey, last.Value.(*version).key)
	}
}

// waiting is a heap of queues by time.
type waiting []*queue

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, j int) bool { return w[i].wake.Before(w[j].wake) }
func (w waiting) Swap(i, j int)      { w[i], w[j] = w[j], w[i]; w[i].index, w[j].index = i, j }

// Push implements heap.Interface.
func (w *waiting) Push(x any) {
	q := x.(*queue)
	q.index = len(*w)
	*w = append(*w, q)
}

// Pop implements heap.Interface.
func (w *waiting) Pop() any {
	old := *w
	q := old[len(old)-1]
	*w = old[:len(old)-1]
	q.index = -1
	return q
}

func (l *lane) wait(q *queue, until time.Time) {
	q.wake = until
	heap.Push(&l.waiting, q)
}
