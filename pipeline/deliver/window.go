package deliver

import (
	"container/list"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/schemas"
)

// entry is one unfinished command that is held in memory.
type entry struct {
	win    *window
	offset int64
	key    []byte
	value  []byte
	size   int64            // of value, for as long as it counts
	cmd    *schemas.Command // nil: not decoded yet
	lean   bool             // cmd is without what only its sending needs: that is decoded once more then
	bulk   bool             // may be written with others
	share  *share           // counts it; nil: not decoded yet
	// refusedID: its schema is known to nobody but the registry, which could not be asked
	refusedID  bool
	at         time.Time // when the command was made
	trace      string    // of the webhook that caused it, as the record's header says; empty: tracing is off
	connection string    // whose event caused it; empty: not known

	done     bool // its final delivery is in the outbox or committed
	flying   bool
	slot     bool // its flight is counted by it
	intent   intentState
	unsure   bool // an effect that may have been sent: ask before sending
	recalled bool // its writer knows what others made for its contact; of its flight, not of Deliverer.mu
	aside    bool // a question whose turn has not come: only its deadline counts
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

// window is what is unfinished in one partition. Deliverer.mu guards it.
type window struct {
	topic     string
	partition int32
	owner     uint64
	seq       uint64 // of the last committed transaction
	next      int64  // first offset that was not admitted; -1: none yet
	low       int64  // all before it is finished
	// marks are of all offsets from the oldest unfinished one on, also of those that an earlier owner spoke of and that
	// were not read yet. pointer says where they are to be read; nil: they are known.
	marks   marks
	pointer *progress
	// payloadMax is how long the marks may become when they are written, payload how long they are at most; stale: they may
	// have become shorter.
	payloadMax, payload int
	stale               bool

	entries     map[int64]*entry // unfinished and in memory, by offset
	unread      int              // of them, not decoded yet; unreadMax at most
	unreadMax   int
	unreadBytes int64
	shares      map[*lane]*share
	ended       []*entry      // finished in the next transaction
	spill       []*kgo.Record // fetched, and without room so far
	paused      bool          // its fetching
	reading     *reading      // deferred commands are read again; nil: they are not
	before      string        // what the broker has, as planRow.stamp writes it
	floor       int64         // the offset of it; -1: none

	topicID   [16]byte // of the topic that the offsets are of; zero: not known
	proven    bool     // the offsets were found to mean what they say
	held      bool     // nothing is admitted before they are found so (again)
	inspectAt time.Time
	suspect   time.Time // since when the log seems to end too early; zero: it does not
	stalled   *stall

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
	w := &window{
		topic: topic, partition: partition, owner: owner, floor: offset, next: max(-1, offset), low: max(0, offset), topicID: p.topicID,
		payloadMax: payloadBytesMax, unreadMax: unreadMax, entries: map[int64]*entry{}, shares: map[*lane]*share{},
	}
	switch {
	case offset < 0:
	case p.recorded:
		w.pointer = &p
	default:
		w.know(p.marks)
	}
	w.ctx, w.cancel = context.WithCancel(ctx)
	return w
}

// know takes the marks of an earlier owner, which begin at the committed offset.
func (w *window) know(m marks) {
	w.pointer, w.marks = nil, m
	w.marks.move(w.floor)
	w.recount()
}

// admit takes the record at offset. It returns nil where an earlier owner finished it, or where it was admitted before.
func (w *window) admit(offset int64) *entry {
	switch {
	case w.next >= 0 && offset < w.next:
		return nil
	case offset < w.low:
		w.next = offset + 1
		return nil
	}
	w.skip(offset)
	if offset >= w.marks.end() {
		w.extend(offset, 1, open)
	}
	w.next = offset + 1
	if w.marks.get(offset) == finished {
		return nil
	}
	return w.hold(offset)
}

// hold makes an entry of an unfinished command.
func (w *window) hold(offset int64) *entry {
	e := &entry{win: w, offset: offset}
	if w.marks.get(offset) == intended {
		e.intent, e.unsure = intentCommitted, true
	}
	w.entries[offset] = e
	return e
}

// pass takes the record at offset, which holds no command.
func (w *window) pass(offset int64) {
	if w.next >= 0 && offset < w.next {
		return
	}
	w.skip(offset + 1)
	w.next = offset + 1
}

// skip says that no command is between what was admitted and offset.
func (w *window) skip(offset int64) {
	from := max(w.next, w.low)
	if w.next < 0 {
		from = offset
	}
	w.marks.fill(from, offset, void)
	if end := max(w.marks.end(), from); end < offset {
		w.extend(end, offset-end, void)
	}
}

func (w *window) extend(at, n int64, s stand) {
	if s != void && (at == 0 || w.marks.get(at-1) != s) {
		w.payload += longest(at + n)
	}
	w.marks.add(at, n, s)
}

// longest is how many bytes a run within span offsets needs at most.
func longest(span int64) int {
	return len(binary.AppendUvarint(nil, uint64(max(0, span))<<bitsPerOffset|uint64(intended)))
}

// intend says that the intent of e is on its way into a transaction.
func (w *window) intend(e *entry) {
	e.intent = intentQueued
	w.marks.set(e.offset, intended)
}

// finish says that e's final delivery is on its way into a transaction.
func (w *window) finish(e *entry) {
	e.done = true
	if e.cmd == nil {
		w.decoded(e)
	}
	delete(w.entries, e.offset)
	w.marks.set(e.offset, finished)
	w.payload += longest(w.span()) + 1
	w.stale = true
	e.value, e.key = nil, nil
	w.ended = append(w.ended, e)
}

// decoded says that e waits for the schema registry no longer.
func (w *window) decoded(e *entry) {
	w.unread--
	w.unreadBytes -= int64(len(e.value))
}

// progress returns the oldest unfinished offset and what lies beyond it; ok is false where there is nothing to commit.
func (w *window) progress() (low int64, p progress, ok bool) {
	if w.next < 0 {
		return 0, progress{}, false
	}
	w.recount()
	return w.low, progress{topicID: w.topicID, owner: w.owner, seq: w.seq + 1, marks: w.marks}, true
}

// recount finds out what is unfinished and how long the marks are.
func (w *window) recount() {
	w.low = max(w.low, w.marks.trim())
	if len(w.marks.segs) == 0 {
		w.low = max(w.low, w.next)
	}
	w.payload, w.stale = 0, false
	for r := range w.marks.runs {
		w.payload += longest(r.n)
	}
}

// span is how many offsets the marks are of.
func (w *window) span() int64 {
	from, _ := w.marks.from()
	return w.marks.end() - from
}

// fits reports whether every progress that what is held, and one more command at offset, can ever come to is no longer
// than max: finishing one splits a run, or joins some.
func (w *window) fits(offset int64, max int) bool {
	for {
		span := w.span()
		if over := offset + 1 - w.marks.end(); over > 0 {
			span += over
		}
		if (span+3)/4 <= int64(max) {
			return true
		}
		if each := longest(span) + 1; w.payload+(len(w.entries)+2)*each <= max {
			return true
		}
		if !w.stale {
			return false
		}
		w.recount()
	}
}

// room reports whether one more record at offset can be held until it is known whose it is.
func (w *window) room(offset int64, size int) bool {
	if len(w.marks.segs) == 0 || len(w.entries) == 0 && !w.deferring() {
		return true
	}
	if w.unread > 0 && (w.unread >= w.unreadMax || w.unreadBytes+int64(size) > unreadBytesMax) {
		return false
	}
	return w.fits(offset, w.readMax())
}

// readMax is how long the marks may become by reading on: what is deferred needs room when its turn comes.
func (w *window) readMax() int {
	if w.payloadMax > payloadBytesMax {
		return w.payloadMax - w.payloadMax/4
	}
	return w.payloadMax
}

// stuck reports whether nothing more can be known of the partition before a command ends, or the registry answers.
func (w *window) stuck() bool {
	return len(w.entries) > 0 && (w.undecoded() >= w.unreadMax || !w.fits(w.next, w.readMax()))
}

// full reports whether nothing more is read before a command ends.
func (w *window) full() bool { return len(w.spill) > 0 || !w.room(w.next, 0) }

// undecoded counts the commands that wait for the schema registry.
func (w *window) undecoded() (n int) {
	if w.unread == 0 {
		return 0
	}
	for _, e := range w.entries {
		if e.cmd == nil && e.refusedID {
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
	return max(w.next, w.low, w.marks.end())
}

// inOrder are the entries in the order of their offsets.
func (w *window) inOrder() []*entry {
	out := make([]*entry, 0, len(w.entries))
	for _, o := range slices.Sorted(maps.Keys(w.entries)) {
		out = append(out, w.entries[o])
	}
	return out
}

func (w *window) String() string { return fmt.Sprintf("%s-%d", w.topic, w.partition) }
