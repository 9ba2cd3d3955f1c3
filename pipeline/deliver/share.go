package deliver

import (
	"bytes"
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// Of each destination a partition's window holds so much and no more, so that one that is slow, paused or away fills
// nobody else's memory: what it has no room for is deferred. Deferred commands are only marks in the progress. They are
// read again from the log, in their order, when there is room; until all of them were, whatever comes for the
// destination is deferred too.
//
// What ended counts until it is committed. So what an owner held of a destination, and can have sent without a word in
// the log, is no more than the first commands that its next owner holds too, before it sends a state.

// Bounds of memory.
const (
	shareBytesMax = 32 << 20 // values of one destination in one partition
	// heldMax and heldBytesMax are for all partitions of the process together. Beyond them a destination is left
	// shareMin and shareBytesMin.
	heldMax       = 100_000
	heldBytesMax  = 128 << 20
	shareMin      = 1000
	shareBytesMin = 1 << 20
	// unreadMax and unreadBytesMax bound, for each partition, what waits for the schema registry.
	unreadMax      = 10_000
	unreadBytesMax = 32 << 20
	// asideMax is how many questions that are deferred keep their deadlines, of one destination in one partition.
	asideMax = 10_000
)

// share is what one window has of one destination.
type share struct {
	lane  *lane
	held  int // in memory, or ended and not committed
	bytes int64

	from     int64 // the first deferred offset; -1: nothing is deferred
	last     int64
	deferred int // commands
	aside    int // questions among them, in memory for their deadlines
	oldest   time.Time
	retryAt  time.Time // reading them again went wrong
}

// share returns w's share for a destination.
func (w *window) share(l *lane) *share {
	s := w.shares[l]
	if s == nil {
		s = &share{lane: l, from: -1}
		w.shares[l] = s
	}
	return s
}

// deferring reports whether anything in w is deferred.
func (w *window) deferring() bool {
	for _, s := range w.shares {
		if s.from >= 0 {
			return true
		}
	}
	return false
}

// mayState reports whether desired states may be sent to a destination: its share holds all that an earlier owner can
// have sent.
func (w *window) mayState(l *lane) bool {
	if w.states {
		return true
	}
	s := w.shares[l]
	return s != nil && s.from >= 0
}

// shareMax is how much of one destination a window may hold. Deliverer.mu is held.
func (d *Deliverer) shareMax() (commands int, size int64) {
	if d.held >= heldMax || d.heldBytes >= heldBytesMax {
		return min(d.opts.WindowMax, shareMin), shareBytesMin
	}
	return d.opts.WindowMax, shareBytesMax
}

// roomFor reports whether one more command can be held. Deliverer.mu is held.
func (d *Deliverer) roomFor(s *share, size int64) bool {
	most, mostBytes := d.shareMax()
	return s.held == 0 || s.held < most && s.bytes+size <= mostBytes
}

// place puts a decoded command into its lane, or defers it. Deliverer.mu is held.
func (d *Deliverer) place(e *entry) {
	l := d.lane(e.cmd.Destination)
	s := e.win.share(l)
	e.size = int64(len(e.value))
	if s.from >= 0 && e.offset >= s.from || !d.roomFor(s, e.size) {
		d.deferral(s, e)
		return
	}
	d.seat(s, e)
}

// seat counts e and gives it its turn. Deliverer.mu is held.
func (d *Deliverer) seat(s *share, e *entry) {
	e.share = s
	s.held++
	s.bytes += e.size
	d.held++
	d.heldBytes += e.size
	e.connection = connectionOf(e.cmd)
	e.bulk = s.lane.bulk != nil && e.cmd.Kind == schemas.CommandContact && s.lane.bulk.Bulk(*e.cmd)
	d.enqueue(e)
	if !e.done {
		e.slim()
	}
}

// deferral leaves e to be read again. A question keeps its deadline. Deliverer.mu is held.
func (d *Deliverer) deferral(s *share, e *entry) {
	w := e.win
	if s.from < 0 {
		s.from, s.oldest = e.offset, e.at
		w.unpark() // its states may be sent
	}
	s.from = min(s.from, e.offset) // the registry may have kept it
	s.last = max(s.last, e.offset)
	s.deferred++
	if e.isQuestion() && s.aside < asideMax {
		s.aside++
		e.share, e.aside, e.size = s, true, 0
		e.slim()
		d.deadlined(s.lane, e)
		return
	}
	delete(w.entries, e.offset)
}

// released counts what is committed, or gone with its partition. Deliverer.mu is held.
func (d *Deliverer) released(e *entry) {
	if s := e.share; s != nil && !e.aside {
		s.held--
		s.bytes -= e.size
		d.held--
		d.heldBytes -= e.size
	}
}

// leave takes w's commands off the process's count; what it is doing may end. Deliverer.mu is held.
func (d *Deliverer) leave(w *window) {
	if w.dropped {
		return
	}
	w.dropped, w.spill = true, nil
	for _, s := range w.shares {
		d.held -= s.held
		d.heldBytes -= s.bytes
	}
	if w.reading != nil {
		w.reading.cancel()
	}
}

// slim leaves of the decoded command what waiting, judging and receipts need. Its texts must not keep the bytes that
// they were decoded from.
func (e *entry) slim() {
	if e.value == nil || e.lean {
		return
	}
	c := e.cmd
	l := &schemas.Command{
		Kind: c.Kind, Destination: c.Destination, Version: c.Version, Origin: c.Origin, Test: c.Test, At: c.At,
	}
	parts := []struct {
		to   *string
		text string
	}{
		{&l.CommandID, c.CommandID},
		{&l.ContactKey, c.ContactKey},
		{&l.ConfigVersion, c.ConfigVersion},
		{&l.RootKey, c.RootKey},
		{&l.EventID, c.EventID},
		{&l.Contact.Email, c.Contact.Email},
	}
	if c.Effect != nil {
		l.Effect = &schemas.Effect{Type: strings.Clone(c.Effect.Type), Name: strings.Clone(c.Effect.Name)}
	}
	var b strings.Builder
	n := 0
	for _, p := range parts {
		n += len(p.text)
	}
	b.Grow(n)
	for _, p := range parts {
		b.WriteString(p.text)
	}
	all, at := b.String(), 0
	for _, p := range parts {
		*p.to = all[at : at+len(p.text)]
		at += len(p.text)
	}
	l.Destination, l.Kind, l.Origin = e.share.lane.name, kindOf(c.Kind), schemas.Origin(strings.Clone(string(c.Origin)))
	e.cmd, e.lean = l, true
	if e.connection != "" {
		e.connection = connectionOf(l)
	}
	if bytes.Equal(e.key, []byte(l.ContactKey)) {
		e.key = nil
	}
}

// kindOf is the kind without the memory that it was read into.
func kindOf(k schemas.CommandKind) schemas.CommandKind {
	for _, known := range []schemas.CommandKind{schemas.CommandContact, schemas.CommandEffect, schemas.CommandQuestion} {
		if k == known {
			return known
		}
	}
	return schemas.CommandKind(strings.Clone(string(k)))
}

// connectionOf is the connection whose event caused a command; empty: it is not known.
func connectionOf(c *schemas.Command) string {
	if _, connection, _, ok := schemas.SplitRootKey(c.RootKey); ok {
		return connection
	}
	return ""
}

// recordKey is the key that e has on the log.
func (e *entry) recordKey() []byte {
	if e.key == nil && e.lean {
		return []byte(e.cmd.ContactKey)
	}
	return e.key
}

// whole is the command with everything in it. It is called without Deliverer.mu.
func (d *Deliverer) whole(e *entry) (*schemas.Command, error) {
	if !e.lean {
		return e.cmd, nil
	}
	rec, err := d.opts.Codec.Decode(e.value)
	if err != nil {
		return nil, err
	}
	cmd, ok := rec.(*schemas.Command)
	if !ok {
		return nil, errNoCommand
	}
	return cmd, nil
}

// bulkWriter is w as one that takes many at a time; nil: it does not.
func bulkWriter(w sinks.Writer) sinks.BulkWriter {
	b, _ := w.(sinks.BulkWriter)
	return b
}
