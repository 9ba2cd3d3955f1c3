package broker

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
)

// TxnState is how far a transaction is. Between the decision and the last marker it is decided, and not complete.
type TxnState int

// The states.
const (
	Ongoing TxnState = iota
	Committed
	Aborted
)

// Txn is one transaction.
type Txn struct {
	Number  int
	ID      string // transactional id
	Process string
	State   TxnState
	// Offsets is what it commits, by group; Asker who asked for it.
	Offsets []TxnOffsets
	Records []*Entry
	// DecidedAt is the true time of the decision.
	DecidedAt time.Duration

	parts    []*Part
	markers  int // still on their way
	complete bool
	stop     func()
}

// TxnOffsets are a group's offsets in a transaction.
type TxnOffsets struct {
	Group   string
	Offsets []kafka.Offset
	By      Asker
}

// coordinator knows one transactional id.
type coordinator struct {
	id    string
	pid   int64
	epoch int
	owner *Session // whose InitProducer came last
	cur   *Txn
	last  *Txn // the one ended last, for a repeated EndTxn
	ended int  // the epoch that it had
}

func (b *Broker) coordinator(id string) *coordinator {
	c := b.coords[id]
	if c == nil {
		b.nextPID++
		c = &coordinator{id: id, pid: b.nextPID}
		b.coords[id] = c
	}
	return c
}

// init gives s a new epoch. It is refused while an earlier transaction is not complete, which it aborts first.
func (b *Broker) init(s *Session, fresh bool) (epoch int, err error) {
	c := b.coordinator(s.m.TransactionalID)
	if !fresh && c.owner != s {
		return 0, kerr.ProducerFenced
	}
	if t := c.cur; t != nil {
		if t.State == Ongoing {
			c.epoch++
			b.decide(c, false)
		}
		if c.cur != nil {
			return 0, kerr.ConcurrentTransactions
		}
	}
	c.epoch++
	c.owner = s
	return c.epoch, nil
}

// produce appends records of a transaction to one partition.
func (b *Broker) produce(s *Session, epoch int, topic string, n int32, records []*kgo.Record) error {
	c := b.coordinator(s.m.TransactionalID)
	part := b.part(topic, n)
	switch {
	case part == nil:
		return kerr.UnknownTopicOrPartition
	case c.epoch != epoch:
		return kerr.InvalidProducerEpoch
	case c.cur != nil && c.cur.State != Ongoing:
		return kerr.ConcurrentTransactions
	}
	t := b.ongoing(c, s)
	for _, r := range records {
		t.Records = append(t.Records, part.append(r, t, false, s.p.Name))
	}
	return nil
}

// ongoing begins a transaction where none is.
func (b *Broker) ongoing(c *coordinator, s *Session) *Txn {
	if c.cur != nil {
		return c.cur
	}
	b.nextTxn++
	t := &Txn{Number: b.nextTxn, ID: c.id, Process: s.p.Name}
	c.cur = t
	patience := s.m.TransactionTimeout
	if patience == 0 {
		patience = 40 * time.Second
	}
	t.stop = b.s.After(patience, func() {
		if t.State == Ongoing {
			c.epoch++
			b.decide(c, false)
		}
	})
	return t
}

// addOffsets puts a group's offsets into the transaction, checked against the generation.
func (b *Broker) addOffsets(s *Session, epoch int, offsets []kafka.Offset, member string, generation int32) error {
	c := b.coordinator(s.m.TransactionalID)
	switch {
	case c.epoch != epoch:
		return kerr.InvalidProducerEpoch
	case c.cur != nil && c.cur.State != Ongoing:
		return kerr.ConcurrentTransactions
	}
	g := b.group(s.m.Group)
	by := g.asker(s, member, generation)
	by.InTransaction, by.TransactionalID = true, c.id
	if err := g.check(member, generation); err != nil && !b.o.Loose.Generation {
		return err
	}
	t := b.ongoing(c, s)
	t.Offsets = append(t.Offsets, TxnOffsets{g.name, slices.Clone(offsets), by})
	g.pending = append(g.pending, t)
	return nil
}

// end decides the session's transaction.
func (b *Broker) end(s *Session, epoch int, commit bool) (newEpoch int, err error) {
	c := b.coordinator(s.m.TransactionalID)
	if c.epoch != epoch {
		// A repeated request of the client that the first one ended already.
		if c.last != nil && c.ended == epoch && c.epoch == epoch+1 && c.owner == s && (c.last.State == Committed) == commit {
			return c.epoch, nil
		}
		return 0, kerr.InvalidProducerEpoch
	}
	if c.cur == nil {
		if commit {
			return 0, kerr.InvalidTxnState
		}
		c.epoch++
		return c.epoch, nil
	}
	if c.cur.State != Ongoing {
		return 0, kerr.ConcurrentTransactions
	}
	c.ended = epoch
	c.epoch++
	c.last = c.cur
	b.decide(c, commit)
	return c.epoch, nil
}

// decide ends the coordinator's transaction; its markers are on their way from now on, each by itself.
func (b *Broker) decide(c *coordinator, commit bool) {
	t := c.cur
	t.State, t.DecidedAt = Aborted, b.s.Elapsed()
	if commit {
		t.State = Committed
	}
	t.stop()
	if b.o.Watch.Decided != nil {
		b.o.Watch.Decided(t)
	}
	t.markers = len(t.parts)
	through := func() {
		if t.markers--; t.markers == 0 {
			t.complete = true
			c.cur = nil
		}
	}
	groups := map[string]bool{}
	var names []string
	for _, o := range t.Offsets {
		if !groups[o.Group] {
			groups[o.Group] = true
			names = append(names, o.Group)
		}
	}
	t.markers += len(names)
	if t.markers == 0 {
		c.cur = nil
		return
	}
	for _, p := range t.parts {
		b.marker(func() {
			p.open = slices.DeleteFunc(p.open, func(o *openTxn) bool { return o.t == t })
			p.append(&kgo.Record{Key: []byte{0, 0, 0, byte(t.State % 2)}, Attrs: controlAttrs}, t, true, "")
			through()
		})
	}
	for _, name := range names {
		b.marker(func() {
			b.group(name).decided(t)
			through()
		})
	}
}

// marker runs f when the marker arrives, which it does not while the brokers are down.
func (b *Broker) marker(f func()) {
	b.s.After(b.o.Nemesis.Marker(), func() {
		if b.down {
			b.marker(f)
			return
		}
		f()
	})
}

// String names the transaction in findings.
func (t *Txn) String() string {
	return fmt.Sprintf("transaction %d of %s (%s)", t.Number, t.ID, [...]string{"ongoing", "committed", "aborted"}[t.State])
}

// PutTransaction writes records to one partition in a transaction of the world's own, and decides it after a while.
func (b *Broker) PutTransaction(topic string, partition int32, records []*kgo.Record, commit bool, after time.Duration) {
	b.nextTxn++
	t := &Txn{Number: b.nextTxn, ID: "world", Process: "world", stop: func() {}}
	for _, r := range records {
		t.Records = append(t.Records, b.part(topic, partition).append(r, t, false, "world"))
	}
	b.s.After(after, func() { b.decide(&coordinator{cur: t}, commit) })
}
