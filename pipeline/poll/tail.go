package poll

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// Log is Kafka as polling reads it. *kafka.Cluster is one.
type Log interface {
	Describe(ctx context.Context, topic string) (kafka.TopicInfo, error)
	Bounds(ctx context.Context, topic string, partition int32) (start, end int64, err error)
	// OffsetAt is the offset of the first record appended at t or later, or the end.
	OffsetAt(ctx context.Context, topic string, partition int32, t time.Time) (int64, error)
	Read(ctx context.Context, r kafka.Range, apply func(records []*kgo.Record, next int64) error) error
}

var _ Log = (*kafka.Cluster)(nil)

// A Decoder turns a value of the log into its record. *codec.Codec is one.
type Decoder interface {
	Decode(b []byte) (schemas.Record, error)
}

const (
	// readPatience bounds the wait for a transaction that hides records: what writes to a source topic uses none.
	readPatience = time.Minute
	// readersMax is how many partitions are read at a time; each may hold a fetch of 4 MiB.
	readersMax = 4
	// joinGapMax is how many records a new book may be behind the others when it is read up to them while they wait.
	joinGapMax    = 1000
	joinPassesMax = 10
)

// tail reads one topic for all connections of this process whose events are there, each record once.
type tail struct {
	log    Log
	topic  string
	decode Decoder
	lines  zerolog.Logger

	mu    sync.Mutex         // held while books are read on
	next  map[int32]int64    // by partition; nil: nobody reads
	books map[string][]*book // by SourceKey

	turn    chan struct{} // held by who lets books join
	queue   sync.Mutex    // guards waiting
	waiting []*joining
}

func newTail(l Log, topic string, d Decoder, lines zerolog.Logger) *tail {
	return &tail{log: l, topic: topic, decode: d, lines: lines, books: map[string][]*book{}, turn: make(chan struct{}, 1)}
}

// ends are the bounds of the topic's partitions.
func (t *tail) ends(ctx context.Context) (starts, ends map[int32]int64, err error) {
	info, err := t.log.Describe(ctx, t.topic)
	if err != nil {
		return nil, nil, err
	}
	starts, ends = map[int32]int64{}, map[int32]int64{}
	for n := range info.Count {
		start, end, err := t.log.Bounds(ctx, t.topic, n)
		if err != nil {
			return nil, nil, err
		}
		starts[n], ends[n] = start, end
	}
	return starts, ends, nil
}

// since are the offsets from which everything appended at or after at is read.
func (t *tail) since(ctx context.Context, at time.Time) (map[int32]int64, error) {
	info, err := t.log.Describe(ctx, t.topic)
	if err != nil {
		return nil, err
	}
	out := map[int32]int64{}
	for n := range info.Count {
		if out[n], err = t.log.OffsetAt(ctx, t.topic, n, at); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// joining is a book that waits to be read up to where the others are.
type joining struct {
	book *book
	from map[int32]int64
	done bool
	gone bool // nobody waits for it any more
	err  error
}

// join reads b from the given offsets up to where the others are, and on with them from then. The others go on reading
// meanwhile; books that come at the same time, as they do when a process starts, are read up together.
func (t *tail) join(ctx context.Context, b *book, from map[int32]int64) error {
	me := &joining{book: b, from: from}
	t.queue.Lock()
	t.waiting = append(t.waiting, me)
	t.queue.Unlock()
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		t.queue.Lock()
		me.gone = true
		t.waiting = slices.DeleteFunc(t.waiting, func(j *joining) bool { return j == me })
		t.queue.Unlock()
		t.leave(b) // it may have been taken along just now
		return ctx.Err()
	}
	if me.done { // whoever had the turn took this one along
		return me.err
	}
	t.queue.Lock()
	together := t.waiting
	t.waiting = nil
	t.queue.Unlock()
	err := t.joinAll(ctx, together)
	for _, j := range together {
		j.done, j.err = true, err
	}
	return err
}

func (t *tail) joinAll(ctx context.Context, together []*joining) error {
	at, books := maps.Clone(together[0].from), map[string][]*book{}
	for _, j := range together {
		books[j.book.key] = append(books[j.book.key], j.book)
		for n, from := range j.from {
			at[n] = min(at[n], from)
		}
	}
	for pass := 0; ; pass++ {
		_, ends, err := t.ends(ctx)
		if err != nil {
			return err
		}
		if err := t.read(ctx, at, ends, books); err != nil {
			return err
		}
		if joined, err := t.let(ctx, together, at, ends, books, pass == joinPassesMax); joined || err != nil {
			return err
		}
	}
}

// let lets those join that were read up to at, unless the others are too far ahead by now.
func (t *tail) let(ctx context.Context, together []*joining, at, ends map[int32]int64, books map[string][]*book, anyway bool) (joined bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == nil || len(t.books) == 0 {
		t.next = maps.Clone(ends)
	}
	var behind int64
	for n, next := range t.next {
		behind += max(next-at[n], 0)
	}
	if behind > joinGapMax && !anyway {
		return false, nil
	}
	if err := t.read(ctx, at, t.next, books); err != nil {
		return false, err
	}
	t.queue.Lock()
	defer t.queue.Unlock()
	for _, j := range together {
		if !j.gone {
			t.books[j.book.key] = append(t.books[j.book.key], j.book)
		}
	}
	return true, nil
}

// leave takes b out.
func (t *tail) leave(b *book) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.books[b.key] = slices.DeleteFunc(t.books[b.key], func(x *book) bool { return x == b })
	if len(t.books[b.key]) == 0 {
		delete(t.books, b.key)
	}
}

// catchUp reads every book up to the end of the log.
func (t *tail) catchUp(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	starts, ends, err := t.ends(ctx)
	if err != nil {
		return err
	}
	for n, next := range t.next {
		if end, ok := ends[n]; ok && (next < starts[n] || next > end) {
			t.lines.Warn().Str("topic", t.topic).Int32("partition", n).Int64("offset", next).Int64("start", starts[n]).Int64("end", end).
				Msg("the log no longer has the offset that polling had read to: it goes on with what is there")
			if next > end {
				for _, list := range t.books {
					for _, b := range list {
						b.rewind(n, starts[n])
					}
				}
			}
			t.next[n] = starts[n]
		}
	}
	return t.read(ctx, t.next, ends, t.books)
}

// read reads every partition from at to ends, hands its records to the books, and moves at on.
func (t *tail) read(ctx context.Context, at, ends map[int32]int64, books map[string][]*book) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readersMax)
	var mu sync.Mutex // guards at
	for n, end := range ends {
		mu.Lock()
		from := at[n]
		mu.Unlock()
		if from >= end {
			continue
		}
		g.Go(func() error {
			r := kafka.Range{Topic: t.topic, Partition: n, From: from, To: end, Patience: readPatience}
			return t.log.Read(ctx, r, func(records []*kgo.Record, next int64) error {
				if err := t.hand(n, records, next, books); err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				at[n] = next
				return nil
			})
		})
	}
	return g.Wait()
}

// hand gives records to the books that they are of.
func (t *tail) hand(partition int32, records []*kgo.Record, next int64, books map[string][]*book) error {
	for _, rec := range records {
		env, connection, _, ok := schemas.SplitRootKey(string(rec.Key))
		if !ok {
			continue
		}
		list := books[schemas.SourceKey(env, connection)]
		if len(list) == 0 {
			continue
		}
		v, err := t.decode.Decode(rec.Value)
		switch {
		case errors.Is(err, codec.ErrUnavailable):
			return fmt.Errorf("read %s/%d at %d: %w", t.topic, partition, rec.Offset, err)
		case err != nil:
			continue // no event of ours; the stage that reads it makes it a dead letter
		}
		if e, ok := v.(*schemas.OrderEvent); ok {
			for _, b := range list {
				b.take(partition, rec.Offset, rec.Timestamp, e)
			}
		}
	}
	for _, list := range books {
		for _, b := range list {
			b.passed(partition, next)
		}
	}
	return nil
}
