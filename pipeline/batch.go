package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/codes"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/store"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// entry is the state of one key inside a batch. It never changes; a new state is a new entry.
type entry struct {
	image  []byte // envelope; nil: absent
	env    envelope
	state  State
	timers []processors.Timer // not muted, in firing order
}

func (e *entry) deadline() int64 { return e.env.deadline }

// batch is one partition's share of a transaction: computed on a copy-on-write overlay, the entries of the slots, outside
// of the transaction, and given up without a trace where anything fails: the partition then recovers with an empty cache.
type batch struct {
	l       *lane
	p       *partition
	meta    meta
	changed []*slot // in the order of their first change
	outs    []*kgo.Record
	started time.Time
	memory  arena
	headers []kgo.RecordHeader // of every output without a trace
	written []topicCount

	records, timers, letters, past int
	refusals                       int // activations of a configuration that cannot be followed
	bytes                          int // of outputs and images
	// torn: a state changed whose dead letter could not be written. Such a batch must not be committed.
	torn bool
}

// topicCount is how many records go to a topic.
type topicCount struct {
	topic string
	n     int64
}

func (l *lane) newBatch(p *partition) *batch {
	now := l.e.o.Clock.Now()
	b := &batch{l: l, p: p, meta: p.meta.clone(), started: now}
	b.headers = []kgo.RecordHeader{{Key: HeaderStamp, Value: strconv.AppendInt(nil, now.UnixMilli(), 10)}}
	b.meta.Owner, b.meta.Rules = p.fence.Owner, l.e.o.RulesHash
	for _, q := range p.queues {
		q.begin()
	}
	clear(p.slots)
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
		topic, q := b.p.head(b.l.e.o.Topology.Inputs)
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
	var missing []*slot
	left := b.l.e.o.BatchRecordsMax
	for _, topic := range b.l.e.o.Topology.Inputs {
		items := b.p.queues[topic].items
		for i := range items[:min(left, len(items))] {
			b.look(topic, &items[i])
			if s := items[i].slot; s != nil && !s.known {
				missing = append(missing, s)
			}
		}
	}
	return b.load(ctx, missing)
}

// look decodes a record and finds the slot of the state that it concerns, once.
func (b *batch) look(topic string, q *queued) {
	if !q.looked {
		q.rec, q.err = b.l.e.o.Codec.Decode(q.r.Value)
		q.looked = !errors.Is(q.err, codec.ErrUnavailable)
		q.cause = schemas.CauseUndecodable
		if q.err == nil {
			q.key, q.forStage, q.err = b.keyOf(topic, q)
			q.cause = schemas.CauseStageFailed
		}
	}
	if q.forStage && q.slot == nil {
		q.slot = b.slot(q.key)
	}
}

func (b *batch) keyOf(topic string, q *queued) (key string, ok bool, err error) {
	switch q.rec.(type) {
	case nil, *schemas.Tick, *schemas.ConfigActivation: // the engine's own
		return "", false, nil
	}
	return b.l.e.o.Topology.Stage.Key(b.input(topic, q))
}

func (b *batch) input(topic string, q *queued) processors.Input {
	return processors.Input{At: time.UnixMilli(b.meta.StreamTime).UTC(), Key: text(q.r.Key), Topic: topic, Record: q.rec, Config: b.meta.Config}
}

// text is b as a string that shares its memory: of records, which never change.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// load reads the images of slots that are not known, some of which may be named twice.
func (b *batch) load(ctx context.Context, missing []*slot) error {
	for chunk := range slices.Chunk(missing, store.MaxKeys) {
		keys := make([]string, 0, len(chunk))
		asked := chunk[:0:0]
		for _, s := range chunk {
			if !s.known {
				s.known = true // asked for
				keys, asked = append(keys, s.key), append(asked, s)
			}
		}
		images, err := b.read(ctx, keys)
		if err != nil {
			for _, s := range asked {
				s.known = false
			}
			return storeStall(err)
		}
		for i, s := range asked {
			s.image = images[i]
			b.p.cache.put(s.key, s.image)
		}
	}
	return nil
}

func (b *batch) read(ctx context.Context, keys []string) ([][]byte, error) {
	if err := b.p.land(); err != nil {
		return nil, err
	}
	started := b.l.e.o.Clock.Now()
	images, err := b.p.part.Read(ctx, b.p.fence, keys)
	b.l.e.m.read.Observe(b.l.e.o.Clock.Now().Sub(started).Seconds())
	return images, err
}

// open makes the entry of a slot for this batch.
func (b *batch) open(ctx context.Context, s *slot) (*entry, error) {
	if s.entry != nil {
		return s.entry, nil
	}
	if !s.known {
		if err := b.load(ctx, []*slot{s}); err != nil {
			return nil, err
		}
	}
	e := &entry{image: s.image}
	unreadable := func(err error) error {
		return &stall{
			reason: ReasonStateUnreadable, err: fmt.Errorf("the state of key %q cannot be read: %w", outbound.Redact(s.key), err), final: true,
			remedy: "run the version that wrote it, or repair the stage's Decode, then resume the partition",
		}
	}
	var state []byte
	if s.image != nil {
		env, err := decodeEnvelope(s.image)
		if err != nil {
			return nil, unreadable(err)
		}
		e.env, state = env, env.state
		if state == nil {
			state = []byte{}
		}
	}
	var err error
	if e.state, err = b.l.e.o.Topology.Stage.Open(state); err != nil {
		return nil, unreadable(err)
	}
	timers, err := e.state.Timers()
	if err != nil {
		return nil, unreadable(err)
	}
	e.timers = armed(timers, e.env.muted)
	s.entry = e
	return e, nil
}

// record takes one record: first the timers that are due before it, then the record. It reports false where the
// transaction must be cut before the record.
func (b *batch) record(ctx context.Context, topic string, q *queued) (bool, error) {
	b.look(topic, q)
	if !q.looked {
		return false, registryStall(q.err)
	}
	at := max(b.meta.StreamTime, stamp(q.r))
	if tick, ok := q.rec.(*schemas.Tick); ok {
		b.meta.see(tick, at)
	}
	done, err := b.drain(ctx, at, topic, q.r)
	if err != nil {
		return false, err
	}
	was := b.meta.StreamTime
	if !done {
		// Timers have fired for the record's time: an older record of another input that comes meanwhile is late.
		b.meta.StreamTime = at
		return false, nil
	}
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
	b.p.queues[topic].taken++
	b.records++
	return true, nil
}

// apply gives the record to the stage. Findings about the record become dead letters; an error says that it could
// not be judged now.
func (b *batch) apply(ctx context.Context, topic string, q *queued) error {
	if q.err != nil {
		return b.deadLetter(ctx, letterOf(q.r, q.rec, q.cause, q.err))
	}
	switch rec := q.rec.(type) {
	case *schemas.Tick:
		b.meta.Counts.Ticks++
		return nil
	case *schemas.ConfigActivation:
		return b.activate(ctx, q.r.Offset, rec)
	}
	if q.slot == nil {
		b.meta.Counts.Skipped++
		return nil
	}
	ctx, span := b.l.e.trace(ctx, q.r)
	defer span.End()
	finding, err := b.step(ctx, q.slot, b.input(topic, q), q.r)
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
func (b *batch) step(ctx context.Context, s *slot, in processors.Input, cause *kgo.Record) (finding, err error) {
	e, err := b.open(ctx, s)
	if err != nil {
		return nil, err
	}
	next, outs, finding := e.state.Apply(in)
	if finding != nil {
		return finding, nil
	}
	made, finding, err := b.outputs(ctx, outs, cause)
	if finding != nil || err != nil {
		return finding, err
	}
	n, past, finding := b.settle(s, next, in)
	if finding != nil {
		return finding, nil
	}
	b.accept(s, n)
	b.meta.Past += past
	for _, r := range made {
		b.write(r)
	}
	return nil, nil
}

// accept makes n the state of its key in the overlay.
func (b *batch) accept(s *slot, n *entry) {
	was := s.entry.deadline()
	if !s.changed {
		s.changed = true
		b.changed = append(b.changed, s)
	}
	s.entry = n
	b.bytes += len(n.image)
	if was != n.deadline() {
		b.p.window.set(s.key, was, n.deadline())
	}
}

// write makes r part of the transaction.
func (b *batch) write(r *kgo.Record) {
	b.outs = append(b.outs, r)
	b.bytes += len(r.Value)
	i := slices.IndexFunc(b.written, func(c topicCount) bool { return c.topic == r.Topic })
	if i < 0 {
		i, b.written = len(b.written), append(b.written, topicCount{topic: r.Topic})
	}
	b.written[i].n++
}

// outputs turns a stage's outputs into records. A finding is about the output: it can never be written.
func (b *batch) outputs(ctx context.Context, outs []processors.Output, cause *kgo.Record) (made []*kgo.Record, finding, err error) {
	made = b.memory.made[:0]
	for _, o := range outs {
		value, err := b.memory.encode(b.l.e.o.Codec, o.Record)
		switch {
		case errors.Is(err, codec.ErrUnavailable):
			return nil, nil, registryStall(err)
		case err != nil:
			return nil, fmt.Errorf("encode an output for %s: %w", o.Topic, err), nil
		case len(value) > valueBytesMax:
			return nil, fmt.Errorf("an output for %s has %d bytes, more than %d", o.Topic, len(value), valueBytesMax), nil
		}
		r := b.memory.record()
		r.Topic, r.Key, r.Value = o.Topic, b.memory.copy("", o.Key), value
		count, err := b.l.e.partitions(ctx, o.Topic)
		if err != nil {
			return nil, nil, outputStall(o.Topic, err)
		}
		if o.PartitionKey == "" {
			r.Partition = kafka.PartitionOf(r, count)
		} else {
			r.Partition = kafka.Partition([]byte(o.PartitionKey), count)
		}
		b.stampRecord(r, cause)
		made = append(made, r)
	}
	b.memory.made = made
	return made, nil, nil
}

func (b *batch) stampRecord(r *kgo.Record, cause *kgo.Record) {
	r.Headers = b.headers
	if cause == nil {
		return
	}
	if trace := header(cause, HeaderTrace); trace != "" {
		r.Headers = append(slices.Clip(b.headers), kgo.RecordHeader{Key: HeaderTrace, Value: []byte(trace)})
	}
}

// images are the after-images of the keys that ended up different, in the order of their first change.
func (b *batch) images() []store.Image {
	images := make([]store.Image, 0, len(b.changed))
	for _, s := range b.changed {
		e := s.entry
		if (s.image == nil) == (e.image == nil) && bytes.Equal(s.image, e.image) {
			continue
		}
		images = append(images, store.Image{Key: s.key, Value: e.image, Deadline: e.deadline(), Same: s.deadline() == e.deadline()})
	}
	return images
}

// keep puts the states at the end of the batch into the cache: it was committed.
func (b *batch) keep() {
	for _, s := range b.changed {
		b.p.cache.put(s.key, s.entry.image)
	}
}

func (b *batch) empty() bool { return b.records == 0 && b.timers == 0 }

// full reports whether the batch has used up its time or its bytes. A store so slow that nothing fits into that time
// must not stop the partition, so an empty batch is never full.
func (b *batch) full() bool {
	if b.empty() {
		return false
	}
	if b.bytes >= batchBytesMax {
		return true
	}
	const look = 64 // at the clock after so many
	return (b.records+b.timers)%look == 0 && b.l.e.o.Clock.Now().Sub(b.started) >= computeMax
}

func storeStall(err error) *stall {
	switch {
	case errors.Is(err, store.ErrCorrupt):
		return &stall{reason: ReasonStoreCorrupt, err: err, rebuild: true, remedy: "the state is rebuilt beside it; if this repeats, move the foreign key away"}
	default:
		return &stall{reason: ReasonStoreUnavailable, err: err, remedy: "check Redis: that it answers, is a primary, has memory (maxmemory with noeviction) and disk; the partition goes on by itself then"}
	}
}

func registryStall(err error) *stall {
	return &stall{reason: ReasonRegistry, err: err, remedy: "check the schema registry; the partition goes on by itself when it answers"}
}

func outputStall(topic string, err error) *stall {
	return &stall{reason: ReasonOutputRefused, err: fmt.Errorf("output topic %s: %w", topic, err), remedy: "create the topic or give the right to write it"}
}
