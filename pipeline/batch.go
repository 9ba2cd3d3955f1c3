package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/codes"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/store"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// entry is the state of one key in memory. It never changes; a new state is a new entry.
type entry struct {
	key    string
	image  []byte // envelope; nil: absent
	env    envelope
	state  State
	timers []processors.Timer // not muted, in firing order
}

func (e *entry) deadline() int64 { return e.env.deadline }

// batch is one partition's share of a transaction: computed on a copy-on-write overlay, outside of the transaction,
// and given up without a trace where anything fails.
type batch struct {
	l       *lane
	p       *partition
	meta    meta
	loaded  map[string]*entry // read from the store
	touched map[string]*entry
	order   []string // touched keys in the order of their first touch
	before  map[string]*entry
	outs    []*kgo.Record
	taken   map[string]int
	started time.Time
	stampMs int64

	records, timers, letters, past int
	bytes                          int // of outputs and images
	// torn: a state changed whose dead letter could not be written. Such a batch must not be committed.
	torn bool
}

func (l *lane) newBatch(p *partition) *batch {
	now := l.e.o.Clock.Now()
	b := &batch{
		l: l, p: p, meta: p.meta.clone(), started: now, stampMs: now.UnixMilli(),
		loaded: map[string]*entry{}, touched: map[string]*entry{}, before: map[string]*entry{}, taken: map[string]int{},
	}
	b.meta.Owner, b.meta.Rules = p.fence.Owner, l.e.o.RulesHash
	return b
}

// compute fills the batch with what is queued. An error means that nothing can be done now; the batch may still hold
// records before it, which are worth committing.
func (b *batch) compute(ctx context.Context) error {
	if err := b.readAhead(ctx); err != nil {
		return err
	}
	b.started = b.l.e.o.Clock.Now()
	for b.records < b.l.e.o.BatchRecordsMax && !b.full() {
		topic, q := b.p.head(b.l.e.o.Topology.Inputs, b.taken)
		if q == nil {
			return nil
		}
		done, err := b.record(ctx, topic, q)
		if err != nil || !done {
			return err
		}
	}
	return nil
}

// readAhead decodes what the batch may hold and reads the states that it needs in one round trip.
func (b *batch) readAhead(ctx context.Context) error {
	var keys []string
	left := b.l.e.o.BatchRecordsMax
	for _, topic := range b.l.e.o.Topology.Inputs {
		items := b.p.queues[topic].items
		for i := range items[:min(left, len(items))] {
			b.decode(&items[i])
			if key, ok, err := b.keyOf(topic, &items[i]); err == nil && ok {
				keys = append(keys, key)
			}
		}
	}
	return b.load(ctx, keys)
}

func (b *batch) decode(q *queued) {
	if q.decoded {
		return
	}
	q.rec, q.err = b.l.e.o.Codec.Decode(q.r.Value)
	q.decoded = !errors.Is(q.err, codec.ErrUnavailable)
}

func (b *batch) keyOf(topic string, q *queued) (string, bool, error) {
	if q.err != nil || q.rec == nil {
		return "", false, q.err
	}
	if _, tick := q.rec.(*schemas.Tick); tick {
		return "", false, nil
	}
	return b.l.e.o.Topology.Stage.Key(b.input(topic, q))
}

func (b *batch) input(topic string, q *queued) processors.Input {
	return processors.Input{At: time.UnixMilli(b.meta.StreamTime).UTC(), Key: string(q.r.Key), Topic: topic, Record: q.rec}
}

// load reads the keys that are neither in the overlay nor in the cache.
func (b *batch) load(ctx context.Context, keys []string) error {
	var missing []string
	seen := map[string]bool{}
	for _, k := range keys {
		if !seen[k] && b.find(k) == nil {
			seen[k] = true
			missing = append(missing, k)
		}
	}
	for chunk := range slices.Chunk(missing, store.MaxKeys) {
		started := b.l.e.o.Clock.Now()
		values, err := b.p.part.Read(ctx, b.p.fence, chunk)
		b.l.e.m.storeSeconds.WithLabelValues("read").Observe(b.l.e.o.Clock.Now().Sub(started).Seconds())
		if err != nil {
			return storeStall(err)
		}
		for i, k := range chunk {
			e, err := b.open(k, values[i])
			if err != nil {
				return err
			}
			b.loaded[k] = e
		}
	}
	return nil
}

func (b *batch) find(key string) *entry {
	if e := b.touched[key]; e != nil {
		return e
	}
	if e := b.p.cache.get(key); e != nil {
		return e
	}
	return b.loaded[key]
}

func (b *batch) open(key string, image []byte) (*entry, error) {
	e := &entry{key: key, image: image}
	unreadable := func(err error) error {
		return &stall{
			reason: ReasonStateUnreadable, err: fmt.Errorf("the state of key %q cannot be read: %w", outbound.Redact(key), err), final: true,
			remedy: "run the version that wrote it, or repair the stage's Decode, then resume the partition",
		}
	}
	var state []byte
	if image != nil {
		env, err := decodeEnvelope(image)
		if err != nil {
			return nil, unreadable(err)
		}
		e.env, state = env, env.state
		if state == nil {
			state = []byte{}
		}
	}
	st, err := b.l.e.o.Topology.Stage.Open(state)
	if err != nil {
		return nil, unreadable(err)
	}
	e.state = st
	timers, err := st.Timers()
	if err != nil {
		return nil, unreadable(err)
	}
	e.timers = armed(timers, e.env.muted)
	return e, nil
}

// entry returns the state of key, from memory or the store.
func (b *batch) entry(ctx context.Context, key string) (*entry, error) {
	if e := b.find(key); e != nil {
		return e, nil
	}
	if err := b.load(ctx, []string{key}); err != nil {
		return nil, err
	}
	return b.loaded[key], nil
}

// record takes one record: first the timers that are due before it, then the record. It reports false where the
// transaction must be cut before the record.
func (b *batch) record(ctx context.Context, topic string, q *queued) (bool, error) {
	b.decode(q)
	if errors.Is(q.err, codec.ErrUnavailable) {
		return false, registryStall(q.err)
	}
	at := max(b.meta.StreamTime, stamp(q.r))
	done, err := b.drain(ctx, at, topic, q.r)
	if err != nil || !done {
		return false, err
	}
	was := b.meta.StreamTime
	b.meta.StreamTime = at
	if err := b.apply(ctx, topic, q); err != nil {
		b.meta.StreamTime = was
		return false, err
	}
	pos := b.meta.Inputs[topic]
	pos.Next = q.r.Offset + 1
	b.meta.Inputs[topic] = pos
	b.meta.Past = 0
	b.meta.Counts.Inputs++
	b.taken[topic]++
	b.records++
	return true, nil
}

// apply gives the record to the stage. Findings about the record become dead letters; an error says that it could
// not be judged now.
func (b *batch) apply(ctx context.Context, topic string, q *queued) error {
	if q.err != nil {
		return b.deadLetter(ctx, letterOf(q.r, q.rec, schemas.CauseUndecodable, q.err))
	}
	if _, tick := q.rec.(*schemas.Tick); tick {
		b.meta.Counts.Ticks++
		return nil
	}
	key, ok, err := b.keyOf(topic, q)
	if err != nil {
		return b.deadLetter(ctx, letterOf(q.r, q.rec, schemas.CauseStageFailed, err))
	}
	if !ok {
		b.meta.Counts.Skipped++
		return nil
	}
	e, err := b.entry(ctx, key)
	if err != nil {
		return err
	}
	ctx, span := b.l.e.trace(ctx, q.r)
	defer span.End()
	finding, err := b.step(ctx, e, b.input(topic, q), q.r)
	if err != nil {
		return err
	}
	if finding != nil {
		span.SetStatus(codes.Error, "dead letter")
		return b.deadLetter(ctx, letterOf(q.r, q.rec, schemas.CauseStageFailed, finding))
	}
	return nil
}

// step applies one input to one state and accepts what comes out, all or nothing. A finding is the stage's own error.
func (b *batch) step(ctx context.Context, e *entry, in processors.Input, cause *kgo.Record) (finding, err error) {
	next, outs, finding := e.state.Apply(in)
	if finding != nil {
		return finding, nil
	}
	made, finding, err := b.outputs(ctx, outs, cause)
	if finding != nil || err != nil {
		return finding, err
	}
	n, past, finding := b.settle(e, next, in)
	if finding != nil {
		return finding, nil
	}
	b.accept(e, n)
	b.meta.Past += past
	b.outs = append(b.outs, made...)
	for _, r := range made {
		b.meta.Counts.Outputs[r.Topic]++
		b.bytes += len(r.Value)
	}
	return nil, nil
}

// accept makes n the state of its key in the overlay.
func (b *batch) accept(was, n *entry) {
	if _, ok := b.touched[n.key]; !ok {
		b.order = append(b.order, n.key)
		b.before[n.key] = was
	}
	b.touched[n.key] = n
	b.bytes += len(n.image)
	if was.deadline() != n.deadline() {
		b.p.window.set(n.key, was.deadline(), n.deadline())
	}
}

// outputs turns a stage's outputs into records. A finding is about the output: it can never be written.
func (b *batch) outputs(ctx context.Context, outs []processors.Output, cause *kgo.Record) (made []*kgo.Record, finding, err error) {
	for _, o := range outs {
		value, err := b.l.e.o.Codec.Encode(o.Record)
		switch {
		case errors.Is(err, codec.ErrUnavailable):
			return nil, nil, registryStall(err)
		case err != nil:
			return nil, fmt.Errorf("encode an output for %s: %w", o.Topic, err), nil
		case len(value) > valueBytesMax:
			return nil, fmt.Errorf("an output for %s has %d bytes, more than %d", o.Topic, len(value), valueBytesMax), nil
		}
		by := o.PartitionKey
		if by == "" {
			by = o.Key
		}
		count, err := b.l.e.partitions(ctx, o.Topic)
		if err != nil {
			return nil, nil, outputStall(o.Topic, err)
		}
		r := &kgo.Record{Topic: o.Topic, Partition: kafka.Partition([]byte(by), count), Key: []byte(o.Key), Value: value}
		b.stampRecord(r, cause)
		made = append(made, r)
	}
	return made, nil, nil
}

func (b *batch) stampRecord(r *kgo.Record, cause *kgo.Record) {
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: HeaderStamp, Value: strconv.AppendInt(nil, b.stampMs, 10)})
	if cause == nil {
		return
	}
	if trace := header(cause, HeaderTrace); trace != "" {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: HeaderTrace, Value: []byte(trace)})
	}
}

// images are the after-images of the keys that ended up different, in the order of their first touch.
func (b *batch) images() []store.Image {
	var images []store.Image
	for _, key := range b.order {
		e := b.touched[key]
		if was := b.before[key].image; (was == nil) == (e.image == nil) && bytes.Equal(was, e.image) {
			continue
		}
		images = append(images, store.Image{Key: key, Value: e.image, Deadline: e.deadline()})
	}
	return images
}

func (b *batch) empty() bool { return b.records == 0 && b.timers == 0 }

// full reports whether the batch has used up its time or its bytes. A store so slow that nothing fits into that time
// must not stop the partition, so an empty batch is never full.
func (b *batch) full() bool {
	return !b.empty() && (b.bytes >= batchBytesMax || b.l.e.o.Clock.Now().Sub(b.started) >= computeMax)
}

func storeStall(err error) *stall {
	switch {
	case errors.Is(err, store.ErrCorrupt):
		return &stall{reason: ReasonStoreCorrupt, err: err, rebuild: true, remedy: "the state is rebuilt beside it; if this repeats, move the foreign key away"}
	default:
		return &stall{reason: ReasonStoreUnavailable, err: err, remedy: "check Redis; the partition goes on by itself when it answers"}
	}
}

func registryStall(err error) *stall {
	return &stall{reason: ReasonRegistry, err: err, remedy: "check the schema registry; the partition goes on by itself when it answers"}
}

func outputStall(topic string, err error) *stall {
	return &stall{reason: ReasonOutputRefused, err: fmt.Errorf("output topic %s: %w", topic, err), remedy: "create the topic or give the right to write it"}
}
