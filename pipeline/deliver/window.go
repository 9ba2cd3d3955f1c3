package deliver

import (
	"container/list"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/schemas"
)

// entry is one unfinished command.
type entry struct {
	win    *window
	offset int64
	prev   int64 // offset of the record before it, to see which gaps hold no record
	key    []byte
	value  []byte
	cmd    *schemas.Command // nil: not decoded yet
	// refusedID: its schema is known to nobody but the registry, which could not be asked
	refusedID bool
	at        time.Time // when the command was made
	trace     string    // of the webhook that caused it, as the record's header says; empty: tracing is off

	done     bool // its final delivery is in the outbox or committed
	flying   bool
	intent   intentState
	unsure   bool // an effect that may have been sent: ask before sending
	attempts int64
	failures int // that were the command's own
	nextTry  time.Time
	deadline time.Time     // of a question: when it is answered in any case
	last     *result       // of a question: its last try
	asked    *list.Element // of a question: its place in lane.asked
}

type intentState int

const (
	noIntent intentState = iota
	intentQueued
	intentCommitted
)

func (e *entry) stand() stand {
	switch {
	case e.done:
		return finished
	case e.intent != noIntent:
		return intended
	}
	return open
}

// window is what is unfinished in one partition. Deliverer.mu guards it.
type window struct {
	topic     string
	partition int32
	owner     uint64
	seq       uint64 // of the last committed transaction
	low       int64  // offset at which the window began; -1: none yet
	next      int64  // first offset that was not admitted; -1: none yet
	last      int64  // offset of the last record seen
	tail      []run  // what an earlier owner said about the offsets from next on
	entries   []*entry
	open      int   // entries that are not done
	bytes     int64 // of their values
	paused    bool
	spill     []*kgo.Record // fetched, and without room so far
	before    string        // what the broker has, as planRow.stamp writes it
	floor     int64         // the offset of it; -1: none

	topicID   [16]byte // of the topic that the offsets are of; zero: not known
	proven    bool     // the offsets were found to mean what they say
	held      bool     // nothing is admitted before they are found so (again)
	inspectAt time.Time
	suspect   time.Time // since when the log seems to end too early; zero: it does not
	stalled   *stall
	dirty     bool

	mark     int64     // where the log ended at the assignment; -1: it held nothing
	readTo   int64     // how far it was read
	readAt   time.Time // when that last changed
	caughtUp bool      // it was read up to mark
	states   bool      // desired states may be sent
	parked   []*queue  // have one to send

	ctx     context.Context
	cancel  context.CancelFunc
	flying  int          // requests
	landed  clock.Signal // flying came to zero
	dropped bool
}

// newWindow starts at the committed offset (below zero: none) with what its metadata says.
func newWindow(ctx context.Context, topic string, partition int32, owner uint64, offset int64, p progress) *window {
	w := &window{topic: topic, partition: partition, owner: owner, low: offset, floor: offset, next: offset, last: offset - 1, tail: slices.Clone(p.runs), topicID: p.topicID}
	if offset < 0 {
		w.low, w.next, w.last, w.tail = -1, -1, -1, nil
	}
	w.ctx, w.cancel = context.WithCancel(ctx)
	return w
}

// admit takes the record at offset. It returns nil where an earlier owner finished it, or where it was admitted before.
func (w *window) admit(offset int64) *entry {
	if w.next >= 0 && offset < w.next {
		return nil
	}
	s := open
	if w.next >= 0 {
		s = w.skip(offset - w.next)
	}
	if w.low < 0 {
		w.low = offset
	}
	prev := w.last
	w.next, w.last = offset+1, offset
	if s == finished {
		return nil
	}
	e := &entry{win: w, offset: offset, prev: prev}
	if s == intended {
		e.intent, e.unsure = intentCommitted, true
	}
	w.entries = append(w.entries, e)
	w.open++
	return e
}

// pass takes the record at offset, which holds no command.
func (w *window) pass(offset int64) {
	if w.next >= 0 {
		if offset < w.next {
			return
		}
		w.skip(offset - w.next)
	}
	if w.low < 0 {
		w.low = offset
	}
	w.next = offset + 1
}

// skip passes over n offsets of the tail and returns the stand of the one after them, which it takes away too.
func (w *window) skip(n int64) stand {
	for len(w.tail) > 0 && w.tail[0].n <= n {
		n -= w.tail[0].n
		w.tail = w.tail[1:]
	}
	if len(w.tail) == 0 {
		return open
	}
	w.tail[0].n -= n + 1
	s := w.tail[0].stand
	if w.tail[0].n == 0 {
		w.tail = w.tail[1:]
	}
	return s
}

// finish says that e's final delivery is on its way into a transaction.
func (w *window) finish(e *entry) {
	e.done = true
	w.open--
	w.bytes -= int64(len(e.value))
	w.dirty = true
}

// progress returns the oldest unfinished offset and what lies beyond it; ok is false where there is nothing to commit.
func (w *window) progress() (low int64, p progress, ok bool) {
	if w.next < 0 {
		return 0, progress{}, false
	}
	w.entries = slices.DeleteFunc(w.entries, func(e *entry) bool { return e.done })
	p = progress{topicID: w.topicID, owner: w.owner, seq: w.seq + 1}
	low = w.next
	if len(w.entries) > 0 {
		low = w.entries[0].offset
	}
	at := low
	var lastStand stand
	var lastOffset int64 = -1
	for _, e := range w.entries {
		if gap := e.offset - at; gap > 0 {
			// A gap that holds no record (a transaction's marker) must cost no run of its own.
			s := finished
			if e.prev == lastOffset {
				s = lastStand
			}
			p.runs = appendRun(p.runs, s, gap)
		}
		p.runs = appendRun(p.runs, e.stand(), 1)
		at, lastStand, lastOffset = e.offset+1, e.stand(), e.offset
	}
	if len(w.entries) > 0 {
		p.runs = appendRun(p.runs, finished, w.next-at)
	}
	for _, r := range w.tail {
		p.runs = appendRun(p.runs, r.stand, r.n)
	}
	if len(w.entries) == 0 && len(p.runs) > 0 && p.runs[0].stand == finished {
		low += p.runs[0].n
		p.runs = p.runs[1:]
	}
	return low, p, true
}

// room reports whether one more record at offset can be held, in memory and in the metadata.
func (w *window) room(offset int64, size int, entriesMax int) bool {
	if w.open == 0 {
		return true
	}
	oldest := w.next
	for _, e := range w.entries {
		if !e.done {
			oldest = e.offset
			break
		}
	}
	end := max(offset, w.next) + 1
	runs := 0
	for _, r := range w.tail {
		end += r.n
		runs++
	}
	return w.open < entriesMax && w.bytes+int64(size) <= windowBytesMax && fits(w.open+1+runs, end-oldest)
}

// full reports whether nothing more is read before a command ends.
func (w *window) full(entriesMax int) bool {
	return len(w.spill) > 0 || !w.room(w.next, 0, entriesMax)
}

// undecoded counts the commands that wait for the schema registry.
func (w *window) undecoded() (n int) {
	for _, e := range w.entries {
		if !e.done && e.cmd == nil && e.refusedID {
			n++
		}
	}
	return n
}

// reach is the offset that the log must have come to: everything below it was read by somebody. -1: not known.
func (w *window) reach() int64 {
	if w.next < 0 {
		return -1
	}
	at := w.next
	for _, r := range w.tail {
		at += r.n
	}
	return at
}

func (w *window) String() string { return fmt.Sprintf("%s-%d", w.topic, w.partition) }
