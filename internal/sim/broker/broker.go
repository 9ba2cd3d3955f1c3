// Package broker is a model of Kafka behind pipeline/kafka's interfaces: logs with transactions whose markers come
// later and in any order, high watermark and last stable offset, producer epochs, a group with generations and
// cooperative assignment, offsets that are committed in transactions and stay undecided until the group's marker,
// compaction, retention, recreation and truncation. Every request takes virtual time, and may be lost on either way.
package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/sim/sched"
	"github.com/tillstream/tillstream/pipeline/kafka"
)

// Fate is what becomes of one request.
type Fate struct {
	Request, Answer time.Duration
	// LoseRequest: it never reaches the broker. LoseAnswer: it has its effect, and the client does not learn of it.
	LoseRequest, LoseAnswer bool
	// Refuse: the broker answers UNKNOWN_SERVER_ERROR, without the effect unless LoseAnswer is set too.
	Refuse bool
	// Final: the client does not get through by trying again.
	Final bool
}

// Nemesis decides what goes wrong.
type Nemesis interface {
	// Fate of a request that p sends.
	Fate(p *sched.Proc, call string) Fate
	// Effect is told when a request of p had its effect, before the answer is on its way.
	Effect(p *sched.Proc, call string)
	// Marker is how long a marker of a decided transaction is on its way to one partition or group.
	Marker() time.Duration
}

// Watch is told what is decided. Fields may be nil.
type Watch struct {
	// Decided is told of each transaction's outcome, and of the offsets that it commits.
	Decided func(t *Txn)
	// OffsetsSet is told when a group's offsets change, with the member and generation that asked.
	OffsetsSet func(group string, offsets []kafka.Offset, by Asker)
	// Appended is told of each record, committed or not.
	Appended func(e *Entry)
}

// Asker is who committed offsets, and what the group thought of it at that time.
type Asker struct {
	Process          string
	Member           string
	Generation       int32
	GroupGeneration  int32
	Known            bool
	InTransaction    bool
	TransactionalID  string
	TransactionState string
}

// Loose leaves out checks for which a faulty client would not ask.
type Loose struct {
	// Generation: offsets in transactions are not checked against the group.
	Generation bool
}

// Options of a Broker.
type Options struct {
	Sched   *sched.Sched
	Random  *rand.Rand
	Nemesis Nemesis
	Watch   Watch
	Loose   Loose
	// FetchMax bounds the records of one partition in one fetch.
	FetchMax int
	// TombstoneRetention is delete.retention.ms.
	TombstoneRetention time.Duration
}

// Broker is the cluster.
type Broker struct {
	o       Options
	s       *sched.Sched
	r       *rand.Rand
	topics  map[string]*Topic
	groups  map[string]*group
	coords  map[string]*coordinator
	pollers []*Session
	reach   *sched.Cond
	down    bool
	cut     map[*sched.Proc]bool
	clock   time.Duration // how far the leaders' clock is off
	nextPID int64
	nextID  uint64
	nextMem int
	nextTxn int
}

// New starts a cluster without topics.
func New(o Options) *Broker {
	if o.FetchMax == 0 {
		o.FetchMax = 100
	}
	return &Broker{
		o: o, s: o.Sched, r: o.Random, topics: map[string]*Topic{}, groups: map[string]*group{}, coords: map[string]*coordinator{},
		reach: o.Sched.NewCond(), cut: map[*sched.Proc]bool{},
	}
}

// Topic is one life of a topic: deleted and created again, it is another one.
type Topic struct {
	Name      string
	ID        [16]byte
	Compacted bool
	Parts     []*Part
}

// Part is one partition's log.
type Part struct {
	b     *Broker
	Topic *Topic
	N     int32
	log   []*Entry
	// All is everything that was ever appended, in order: what the checks read.
	All         []*Entry
	start, next int64
	open        []*openTxn
}

// openTxn is a transaction that wrote here and whose marker did not come yet.
type openTxn struct {
	t     *Txn
	first int64
}

// Entry is one record, or a marker.
type Entry struct {
	Record  *kgo.Record
	Txn     *Txn // nil: outside of any transaction
	Marker  bool
	At      time.Duration // true time of the append
	By      string        // process that sent it
	horizon time.Time     // after which compaction may remove a tombstone; zero: not set yet
}

// Create makes a topic, or, where there is one, a new one instead of it.
func (b *Broker) Create(name string, partitions int32, compacted bool) *Topic {
	b.nextID++
	t := &Topic{Name: name, Compacted: compacted}
	binary.BigEndian.PutUint64(t.ID[8:], b.nextID)
	for n := range partitions {
		t.Parts = append(t.Parts, &Part{b: b, Topic: t, N: n})
	}
	b.topics[name] = t
	return t
}

// Topic returns a topic by name, or nil.
func (b *Broker) Topic(name string) *Topic { return b.topics[name] }

func (b *Broker) part(topic string, n int32) *Part {
	if t := b.topics[topic]; t != nil && n >= 0 && int(n) < len(t.Parts) {
		return t.Parts[n]
	}
	return nil
}

// Now is the time by the leaders' clock.
func (b *Broker) Now() time.Time { return b.s.Now().Add(b.clock).Truncate(time.Millisecond) }

// StepClock moves the leaders' clock, as a change of leader does.
func (b *Broker) StepClock(to time.Duration) { b.clock = to }

// SetDown takes all brokers away from everybody, or brings them back.
func (b *Broker) SetDown(down bool) {
	b.down = down
	b.reach.Broadcast()
	b.wakeAll()
}

// Cut parts a process from the brokers, or joins it to them again.
func (b *Broker) Cut(p *sched.Proc, cut bool) {
	if cut {
		b.cut[p] = true
	} else {
		delete(b.cut, p)
	}
	b.reach.Broadcast()
	b.wakeAll()
}

func (b *Broker) reachable(p *sched.Proc) bool { return !b.down && !b.cut[p] }

func (b *Broker) wakeAll() {
	for _, s := range b.pollers {
		s.news.Broadcast()
	}
}

// End is the high watermark.
func (p *Part) End() int64 { return p.next }

// Start is the first offset.
func (p *Part) Start() int64 { return p.start }

// Stable is the last stable offset: below it everything is decided.
func (p *Part) Stable() int64 {
	at := p.next
	for _, o := range p.open {
		at = min(at, o.first)
	}
	return at
}

// append writes a record and tells who waits for it.
func (p *Part) append(rec *kgo.Record, t *Txn, marker bool, by string) *Entry {
	rec.Offset, rec.Topic, rec.Partition = p.next, p.Topic.Name, p.N
	rec.Timestamp = p.b.Now()
	e := &Entry{Record: rec, Txn: t, Marker: marker, At: p.b.s.Elapsed(), By: by}
	p.next++
	p.log = append(p.log, e)
	p.All = append(p.All, e)
	if t != nil && !marker && !slices.ContainsFunc(p.open, func(o *openTxn) bool { return o.t == t }) {
		p.open = append(p.open, &openTxn{t, rec.Offset})
		t.parts = append(t.parts, p)
	}
	if p.b.o.Watch.Appended != nil {
		p.b.o.Watch.Appended(e)
	}
	if t == nil || marker {
		p.tell()
	}
	return e
}

func (p *Part) tell() {
	for _, s := range p.b.pollers {
		if s.reads(p.Topic.Name, p.N) {
			s.news.Broadcast()
		}
	}
}

// Put appends a record outside of any transaction, for the world's own use.
func (b *Broker) Put(topic string, partition int32, rec *kgo.Record) *Entry {
	return b.part(topic, partition).append(rec, nil, false, "")
}

// index is the place in the log of the first entry at or after offset.
func (p *Part) index(offset int64) int {
	i, _ := slices.BinarySearchFunc(p.log, offset, func(e *Entry, at int64) int { return int(e.Record.Offset - at) })
	return i
}

// read returns at most limit records that a reader of committed data sees from offset on, markers too where they are
// asked for, and the offset to go on from.
func (p *Part) read(from int64, limit int, markers bool) (records []*kgo.Record, next int64) {
	stable := p.Stable()
	next = from
	for _, e := range p.log[p.index(from):] {
		if e.Record.Offset >= stable {
			break
		}
		if len(records) == limit {
			return records, next
		}
		next = e.Record.Offset + 1
		if e.Marker {
			if markers {
				r := *e.Record
				records = append(records, &r)
			}
			continue
		}
		if e.Txn != nil && e.Txn.State != Committed {
			continue
		}
		r := *e.Record
		records = append(records, &r)
	}
	return records, max(next, stable)
}

// Committed returns all records that were ever committed, whatever compaction and retention did to them since.
func (p *Part) Committed() (records []*kgo.Record) {
	for _, e := range p.All {
		if !e.Marker && (e.Txn == nil || e.Txn.State == Committed) {
			records = append(records, e.Record)
		}
	}
	return records
}

// Log returns the committed records that are still there.
func (p *Part) Log() (records []*kgo.Record) {
	for _, e := range p.log {
		if !e.Marker && (e.Txn == nil || e.Txn.State == Committed) {
			records = append(records, e.Record)
		}
	}
	return records
}

// Has reports whether an entry is still in the log.
func (p *Part) Has(e *Entry) bool {
	i := p.index(e.Record.Offset)
	return i < len(p.log) && p.log[i] == e
}

// Compact keeps the newest committed record of each key below the last stable offset, and removes tombstones whose
// time to be seen has passed; that time begins with the first pass that meets them.
func (p *Part) Compact() (tombstones int) {
	stable, last := p.Stable(), map[string]int64{}
	for _, e := range p.log {
		if e.Record.Offset < stable && !e.Marker && (e.Txn == nil || e.Txn.State == Committed) {
			last[string(e.Record.Key)] = e.Record.Offset
		}
	}
	now := p.b.Now()
	p.log = slices.DeleteFunc(slices.Clone(p.log), func(e *Entry) bool {
		switch {
		case e.Record.Offset >= stable:
			return false
		case e.Marker:
			// A marker goes when all that it decides is gone; the end of the log keeps its offset.
			return e.Record.Offset < stable-1
		case e.Txn != nil && e.Txn.State != Committed:
			return true
		case last[string(e.Record.Key)] != e.Record.Offset:
			return true
		case e.Record.Value != nil:
			return false
		case e.horizon.IsZero():
			e.horizon = now.Add(p.b.o.TombstoneRetention)
			return false
		}
		if now.After(e.horizon) {
			tombstones++
			return true
		}
		return false
	})
	return tombstones
}

// Trim removes what lies before offset, as retention does.
func (p *Part) Trim(offset int64) {
	offset = min(offset, p.Stable())
	p.start = max(p.start, offset)
	p.log = slices.DeleteFunc(slices.Clone(p.log), func(e *Entry) bool { return e.Record.Offset < offset })
}

// Truncate loses the records from offset on, as an unclean election does.
func (p *Part) Truncate(offset int64) {
	p.log = slices.DeleteFunc(slices.Clone(p.log), func(e *Entry) bool { return e.Record.Offset >= offset })
	p.All = slices.DeleteFunc(slices.Clone(p.All), func(e *Entry) bool { return e.Record.Offset >= offset })
	p.next = min(p.next, max(offset, p.start))
	p.open = slices.DeleteFunc(p.open, func(o *openTxn) bool { return o.first >= offset })
}

var (
	errLost        = errors.New("the connection was cut")
	errUnreachable = errors.New("no broker can be reached")
)

// retryFor is how long a client tries to reach a broker.
const retryFor = 30 * time.Second

// call sends a request of p once. effect runs at the broker, unless the request is lost, whatever becomes of p
// meanwhile. The error is about the way, not about the effect.
func (b *Broker) call(ctx context.Context, p *sched.Proc, name string, effect func()) (Fate, error) {
	p.Check()
	began := b.s.Elapsed()
	for !b.reachable(p) {
		w, cancel := p.WithTimeout(ctx, retryFor-(b.s.Elapsed()-began))
		err := b.reach.Wait(w, p)
		cancel()
		if ctx.Err() != nil {
			return Fate{}, ctx.Err()
		}
		if err != nil || b.s.Elapsed()-began >= retryFor {
			return Fate{}, errUnreachable
		}
	}
	if err := ctx.Err(); err != nil {
		return Fate{}, err
	}
	f := b.o.Nemesis.Fate(p, name)
	done := false
	back := b.s.NewCond()
	b.s.After(f.Request, func() {
		if !f.LoseRequest && !b.down {
			if !f.Refuse || f.LoseAnswer {
				effect()
			}
			b.o.Nemesis.Effect(p, name)
		} else {
			f.LoseRequest = true
		}
		b.answer(p, f, func() {
			done = true
			back.Broadcast()
		})
	})
	for !done {
		if err := back.Wait(ctx, p); err != nil && !done {
			return f, err
		}
	}
	if (f.LoseRequest || f.LoseAnswer) && !f.Refuse {
		return f, errLost
	}
	return f, nil
}

// answer brings an answer home; one to a process that is cut off waits until it is not.
func (b *Broker) answer(p *sched.Proc, f Fate, home func()) {
	deliver := home
	if !b.reachable(p) && !p.Dead() {
		f.Answer = max(f.Answer, 500*time.Millisecond)
		deliver = func() { b.answer(p, Fate{}, home) }
	}
	if f.Answer == 0 {
		deliver()
		return
	}
	b.s.After(f.Answer, deliver)
}

// ask is call, repeated as a client does until the answer comes.
func (b *Broker) ask(ctx context.Context, p *sched.Proc, name string, effect func()) error {
	for try := 0; ; try++ {
		f, err := b.call(ctx, p, name, effect)
		if f.Refuse && err == nil {
			err = errLost
		}
		if err == nil || !errors.Is(err, errLost) || f.Final || try == 20 {
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		}
		if e := p.Sleep(ctx, 100*time.Millisecond); e != nil {
			return fmt.Errorf("%s: %w", name, e)
		}
	}
}
