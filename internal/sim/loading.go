package sim

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/sim/broker"
	"github.com/tillstream/tillstream/internal/sim/sched"
	"github.com/tillstream/tillstream/pipeline/load"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

const groupLoad = "sim-load"

// loading is a world of loaders and one ClickHouse.
type loading struct {
	w  *world
	ch *clickhouse
}

func newLoading(w *world) *loading {
	return &loading{w: w, ch: &clickhouse{w: w, rows: map[place]int{}, tokens: map[string]bool{}}}
}

// place is where a row came from.
type place struct {
	topic     string
	partition int32
	offset    int64
}

// clickhouse is a table with a window of tokens: a block under a token that it knows is dropped, whatever it holds.
type clickhouse struct {
	w      *world
	rows   map[place]int
	tokens map[string]bool
	order  []string
	down   time.Duration // until then
	// token makes the token of a block.
	token func(r sinks.Range, rows []sinks.Row) string
}

// windowBlocks is non_replicated_deduplication_window.
const windowBlocks = 10_000

func tokenOf(r sinks.Range, _ []sinks.Row) string {
	return fmt.Sprintf("%s/%s/%d/%d/%d/%d", r.Topic, r.TopicID, r.Partition, r.From, r.To, r.Replay)
}

func noToken(sinks.Range, []sinks.Row) string { return "" }

func reusedToken(r sinks.Range, _ []sinks.Row) string {
	return fmt.Sprintf("%s/%d", r.Topic, r.Partition)
}

func contentToken(_ sinks.Range, rows []sinks.Row) string {
	h := fnv.New64a()
	for _, r := range rows {
		_, _ = h.Write(r.Key)
		_, _ = h.Write(r.Value)
	}
	return fmt.Sprint(h.Sum64())
}

// insert is what the server does with one block.
func (c *clickhouse) insert(r sinks.Range, rows []sinks.Row) error {
	for _, row := range rows {
		if string(row.Key) == poison {
			return &sinks.RowError{Offset: row.Offset, Err: errors.New("a value is out of range")}
		}
	}
	token := c.token(r, rows)
	c.w.note(r.Topic, token)
	c.w.trace("insert %s/%d %d-%d, %d rows, token known %v", r.Topic, r.Partition, r.From, r.To, len(rows), c.tokens[token])
	if token != "" {
		if c.tokens[token] {
			return nil
		}
		c.tokens[token] = true
		if c.order = append(c.order, token); len(c.order) > windowBlocks {
			delete(c.tokens, c.order[0])
			c.order = c.order[1:]
		}
	}
	for _, row := range rows {
		at := place{r.Topic, r.Partition, row.Offset}
		if c.rows[at]++; c.rows[at] > 1 {
			c.w.violate(12, "the row of %s/%d@%d is stored %d times", at.topic, at.partition, at.offset, c.rows[at])
		}
	}
	return nil
}

// poison is the key of a record that the destination refuses.
const poison = "poison"

// rowWriter is the ClickHouse as one process reaches it.
type rowWriter struct {
	c *clickhouse
	p *sched.Proc
}

var _ sinks.RowWriter = rowWriter{}

func (r rowWriter) Prepare(ctx context.Context) error {
	return r.ask(ctx, "rows-prepare", func() error { return nil })
}

func (r rowWriter) Insert(ctx context.Context, rg sinks.Range, rows []sinks.Row) error {
	rows = slices.Clone(rows)
	return r.ask(ctx, "rows-insert", func() error { return r.c.insert(rg, rows) })
}

func (r rowWriter) Close() error { return nil }

func (r rowWriter) ask(ctx context.Context, name string, effect func() error) (err error) {
	w := r.c.w
	full := w.nemesis.chance("rows-full")
	garbage := !full && w.nemesis.chance("rows-garbage")
	_, lost := w.remote(ctx, r.p, name, func() {
		switch {
		case w.s.Elapsed() < r.c.down:
			err = errors.New("connection refused")
		case full:
			w.hit(DiskFull, PartClickHouse)
			err = errors.New("NOT_ENOUGH_SPACE")
		default:
			err = effect()
		}
		if garbage {
			w.hit(Garbage, PartClickHouse)
			err = errors.New("the answer is none of the protocol")
		}
	})
	return errors.Join(lost, err)
}

func (l *loading) groups() []string { return []string{groupLoad} }

func (l *loading) topics() {
	l.w.b.Create(schemas.TopicTransitions, int32(l.w.cfg.Partitions), false)
	l.ch.token = tokenOf
	if m := l.w.mutant; m != nil && m.token != nil {
		l.ch.token = m.token
	}
}

func (l *loading) begin(span int64) {
	for range l.w.cfg.Events {
		l.w.s.After(time.Duration(l.w.work.r.Int64N(span)), l.send)
	}
}

// send writes one record, or a transaction of some, which may abort.
func (l *loading) send() {
	w, r := l.w, l.w.work.r
	n := int32(r.IntN(w.cfg.Partitions))
	var records []*kgo.Record
	for range 1 + r.IntN(3)*r.IntN(2) {
		w.events++
		key := fmt.Sprint("k", r.IntN(3))
		if r.IntN(25) == 0 {
			w.hit(Garbage, PartLog)
			key = poison
		}
		value := []byte("no record") // stored as bytes
		if r.IntN(12) > 0 {
			var err error
			if value, err = shared.Encode(&schemas.Transition{RootKey: key, Number: int64(r.IntN(3))}); err != nil {
				panic(err)
			}
		}
		records = append(records, &kgo.Record{Key: []byte(key), Value: value})
	}
	if r.IntN(3) > 0 {
		for _, rec := range records {
			w.b.Put(schemas.TopicTransitions, n, rec)
		}
		return
	}
	w.b.PutTransaction(schemas.TopicTransitions, n, records, r.IntN(4) > 0, time.Duration(r.IntN(1500))*time.Millisecond)
}

func (l *loading) run(env roleEnv) error {
	w := l.w
	loader, err := load.New(load.Options{
		Cluster: env.cluster, Clock: env.clock, Random: env.random, Codec: &procCodec{w: w, p: env.p}, Writer: rowWriter{l.ch, env.p},
		Topics: []string{schemas.TopicTransitions}, Group: groupLoad, Log: env.log,
		FlushInterval: 20 * w.cfg.CommitInterval, FlushRows: w.cfg.BatchRecords,
		DeadLetters: func(ctx context.Context, d schemas.DeadLetter) error {
			value, err := shared.Encode(&d)
			if err != nil {
				return err
			}
			return w.b.Client(env.p).Produce(ctx, &kgo.Record{Topic: schemas.TopicDeadLetters, Key: []byte(d.ID), Value: value})
		},
	})
	if err != nil {
		return err
	}
	env.s.ready = loader.Ready
	return loader.Run(env.ctx)
}

func (l *loading) calm() { l.ch.down = 0 }

// missing is the first committed record that is neither stored nor refused.
func (l *loading) missing() string {
	for _, p := range l.w.b.Topic(schemas.TopicTransitions).Parts {
		for _, e := range p.All {
			if e.Marker || e.Txn != nil && e.Txn.State != broker.Committed {
				continue
			}
			r := e.Record
			if string(r.Key) != poison && l.ch.rows[place{r.Topic, r.Partition, r.Offset}] == 0 {
				return fmt.Sprintf("%s/%d@%d is not stored", r.Topic, r.Partition, r.Offset)
			}
		}
		// The group stands at the very end, markers included.
		if at := l.w.b.Offset(groupLoad, schemas.TopicTransitions, p.N); p.End() > 0 && at.At < p.End() {
			return fmt.Sprintf("the group stands at %d of %d in partition %d", at.At, p.End(), p.N)
		}
	}
	return ""
}

func (l *loading) behind() string { return l.missing() }

// check is invariant 12, and 13 for what was refused.
func (l *loading) check() {
	if text := l.missing(); text != "" {
		l.w.violate(12, "%s", text)
	}
	want := map[string]bool{}
	known := map[place]bool{}
	for _, p := range l.w.b.Topic(schemas.TopicTransitions).Parts {
		for _, r := range p.Committed() {
			if string(r.Key) == poison {
				want[fmt.Sprintf("%s-%d-%d", r.Topic, r.Partition, r.Offset)] = true
			} else {
				known[place{r.Topic, r.Partition, r.Offset}] = true
			}
		}
	}
	for at := range l.ch.rows {
		if !known[at] {
			l.w.violate(12, "a row of %s/%d@%d is stored, which nobody committed", at.topic, at.partition, at.offset)
			return
		}
	}
	got := map[string]bool{}
	for _, d := range l.w.deadLetters("clickhouse") {
		if !want[d.ID] {
			l.w.violate(13, "dead letter %s is about a row that is in order", d.ID)
		}
		got[d.ID] = true
	}
	if len(got) != len(want) {
		l.w.violate(13, "%d rows have dead letters, want %d", len(got), len(want))
	}
}
