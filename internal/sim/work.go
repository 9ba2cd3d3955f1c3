package sim

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/sim/sched"
	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// work is what comes in: the records of a seed, with repetitions, forgeries, garbage and wrong stamps.
type work struct {
	w    *world
	r    *rand.Rand
	sent []sentRecord
	n    int
	// touched: each inbox got its last record.
	touched bool
}

type sentRecord struct {
	key   string
	event schemas.OrderEvent
}

func newWork(w *world, r *rand.Rand) *work { return &work{w: w, r: r} }

func (k *work) begin() {
	span := int64(k.w.cfg.Safety) * 8 / 10
	if k.w.role != nil {
		k.w.role.begin(span)
		return
	}
	if k.w.others != nil {
		k.w.others.begin(time.Duration(span))
	}
	switch k.w.cfg.Kind {
	case kindFlows:
		k.transitions(span)
		return
	case kindOrders, kindInputs:
		k.orders(span)
		return
	}
	for range k.w.cfg.Events {
		k.w.s.After(time.Duration(k.r.Int64N(span)), k.ledger)
	}
}

// ledger sends one event to the ledger.
func (k *work) ledger() {
	key := fmt.Sprint("k", k.r.IntN(k.w.cfg.Keys))
	k.n++
	ev := schemas.OrderEvent{EventID: fmt.Sprint("e", k.n), EventType: "add", BodyHash: fmt.Sprint("h", k.n), RootID: key}
	switch x := k.r.IntN(100); {
	case x < 56:
	case x < 68 && len(k.sent) > 0: // the sender tries again
		k.w.hit(Duplicate, PartIngest)
		old := k.sent[k.r.IntN(len(k.sent))]
		key, ev = old.key, old.event
	case x < 71 && len(k.sent) > 0:
		k.w.hit(Garbage, PartIngest)
		old := k.sent[k.r.IntN(len(k.sent))]
		key, ev = old.key, old.event
		ev.BodyHash += "x"
	case x < 84:
		ev.EventType = fmt.Sprint("arm ", k.r.IntN(15_000))
	case x < 86:
		ev.EventType = "cancel"
	case x < 95:
		ev.EventType = "forget"
	case x < 96:
		ev.EventType = "panic"
	case x < 97:
		ev.EventType = "fail"
	case x < 98:
		ev.EventType = "skip"
	default:
		k.w.hit(Garbage, PartLog)
		k.put(topicIn, key, []byte("garbage"))
		return
	}
	k.sent = append(k.sent, sentRecord{key, ev})
	k.send(topicIn, key, &ev)
}

func (k *work) send(topic, key string, rec schemas.Record) {
	value, err := shared.Encode(rec)
	if err != nil {
		panic(err)
	}
	k.put(topic, key, value)
}

// put appends a record as a receiver does whose clock may be wrong.
func (k *work) put(topic, key string, value []byte) {
	r := &kgo.Record{Key: []byte(key), Value: value}
	if k.w.cfg.Stamped {
		at := k.w.s.Now().Add(time.Duration(k.r.IntN(4000)-2000) * time.Millisecond)
		switch k.r.IntN(40) {
		case 0:
			k.w.hit(Clock, PartIngest)
			at = at.AddDate(1, 0, 0)
		case 1:
			k.w.hit(Clock, PartIngest)
			at = at.Add(-20 * time.Minute)
		}
		r.Headers = []kgo.RecordHeader{{Key: pipeline.HeaderStamp, Value: strconv.AppendInt(nil, at.UnixMilli(), 10)}}
	}
	k.w.events++
	k.w.b.Put(topic, partitionOf(key, k.w.cfg.Partitions), r)
	if k.w.events%7 == 0 {
		k.w.store.snapshot()
	}
}

// touch appends a tick to every inbox.
func (k *work) touch() {
	k.touched = true
	for _, u := range k.w.stages {
		for n := range int32(k.w.cfg.Partitions) {
			value, err := shared.Encode(&schemas.Tick{Owner: "world", At: k.w.s.Now()})
			if err != nil {
				panic(err)
			}
			stamp := strconv.AppendInt(nil, k.w.s.Now().UnixMilli(), 10)
			k.w.b.Put(u.topology.Inbox, n, &kgo.Record{Value: value, Headers: []kgo.RecordHeader{{Key: pipeline.HeaderStamp, Value: stamp}}})
		}
	}
}

// procCodec is the codec of one process, whose registry may be away.
type procCodec struct {
	w     *world
	p     *sched.Proc
	until time.Duration
}

func (c *procCodec) away() error {
	if c.w.nemesis.chance("codec-fail") {
		c.w.hit([]Fault{Crash, Partition}[c.w.nemesis.r.IntN(2)], PartRegistry)
		c.until = c.w.s.Elapsed() + c.w.nemesis.between(0, 5*time.Second)
	}
	if c.w.s.Elapsed() < c.until && !c.w.calm {
		return fmt.Errorf("%w: no answer", codec.ErrUnavailable)
	}
	return nil
}

func (c *procCodec) Encode(rec schemas.Record) ([]byte, error) {
	if err := c.away(); err != nil {
		return nil, err
	}
	return shared.Encode(rec)
}

func (c *procCodec) Decode(b []byte) (schemas.Record, error) {
	if err := c.away(); err != nil {
		return nil, err
	}
	rec, err := shared.Decode(b)
	if m := c.w.mutant; err == nil && m != nil && m.decode != nil {
		rec = m.decode(rec)
	}
	return rec, err
}

// orders plans the events of a few orders, subscriptions and payments, out of order.
func (k *work) orders(span int64) {
	events := k.orderEvents()
	for i := range events {
		k.w.s.After(time.Duration(k.r.Int64N(span)), func() {
			k.send(k.w.stages[0].topology.Inputs[0], events[i].Key(), &events[i])
		})
	}
}
