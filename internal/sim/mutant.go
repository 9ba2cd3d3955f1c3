package sim

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/sim/broker"
	"github.com/tillstream/tillstream/internal/sim/sched"
	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/store"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// Mutant is one wrong step, put around a seam of the product: the code that runs in production has no such switch. A
// simulator that does not find a mutant would not find the mistake either.
type Mutant struct {
	Name string
	// About says what the step does wrongly, and how.
	About string
	// Kinds of worlds in which the step happens; the first is used.
	Kind string

	log   func(s *slot, l kafka.Log) kafka.Log
	part  func(h *procPart, inner store.Partition) store.Partition
	clock func(s *slot, p *sched.Proc) clock.Clock
	stage func(b pipeline.BoundStage) pipeline.BoundStage
	// decode spoils what a process reads.
	decode func(schemas.Record) schemas.Record
	// brokers loosens a check of the model that the client's request would not ask for.
	brokers broker.Loose
	// token makes the tokens of blocks.
	token func(r sinks.Range, rows []sinks.Row) string
	// deaf: a writer keeps to itself what a 429 asked for. hasty: "done" is said before it is.
	deaf, hasty bool
}

// Mutants lists them in the order of design/testing.md.
func Mutants() []Mutant { return slices.Clone(mutants) }

func mutantNamed(name string) *Mutant {
	for i := range mutants {
		if mutants[i].Name == name {
			return &mutants[i]
		}
	}
	return nil
}

var mutants = append(engineMutants, flowMutants...)

var engineMutants = []Mutant{
	{
		Name: "lso-bound", About: "a recovery reads the changelog to its last stable offset instead of its high watermark", Kind: kindLedger,
		log: func(s *slot, l kafka.Log) kafka.Log { return lsoLog{l, s.w} },
	},
	{
		Name: "no-cas", About: "the store takes a batch from anybody, wherever it stands", Kind: kindLedger,
		part: func(h *procPart, inner store.Partition) store.Partition { return loosePart{inner, h, true} },
	},
	{
		Name: "epoch-only", About: "the store checks the owner of a batch, not where it stands", Kind: kindLedger,
		part: func(h *procPart, inner store.Partition) store.Partition { return loosePart{inner, h, false} },
	},
	{
		Name: "unchecked-read", About: "images are read without asking where the store stands", Kind: kindLedger,
		part: func(h *procPart, inner store.Partition) store.Partition { return blindPart{inner, h} },
	},
	{
		Name: "tombstone-horizon-off", About: "however old a copy is, only its tail is read", Kind: kindLedger,
		part: func(h *procPart, inner store.Partition) store.Partition { return youngPart{inner, h} },
	},
	{
		Name: "tombstone-horizon-once", About: "the age of a copy is looked at before the tail is read, and not after it", Kind: kindLedger,
		log:   func(s *slot, l kafka.Log) kafka.Log { return frozenLog{l, s} },
		clock: func(s *slot, p *sched.Proc) clock.Clock { return frozenClock{p, s} },
	},
	{
		Name: "ungated-transaction", About: "transactions commit offsets without the group's generation", Kind: kindLedger,
		brokers: broker.Loose{Generation: true},
	},
	{
		Name: "trusting-false-nil", About: "a commit that the client does not vouch for is taken for done", Kind: kindLedger,
		log: func(_ *slot, l kafka.Log) kafka.Log {
			return sessionLog{l, func(in kafka.Session) kafka.Session { return trusting{in} }}
		},
	},
	{
		Name: "offsets-outside", About: "offsets are committed after the transaction, not in it", Kind: kindLedger,
		log: func(_ *slot, l kafka.Log) kafka.Log {
			return sessionLog{l, func(in kafka.Session) kafka.Session { return outside{in} }}
		},
	},
	{
		Name: "wall-clock-timers", About: "the owner's clock, not the broker's stamp, moves stream time", Kind: kindLedger,
		log: func(s *slot, l kafka.Log) kafka.Log {
			return sessionLog{l, func(in kafka.Session) kafka.Session { return wallClock{in, s} }}
		},
	},
	{
		Name: "no-body-hash", About: "an id seen before is a duplicate, whatever its body", Kind: kindLedger,
		stage: func(pipeline.BoundStage) pipeline.BoundStage { return pipeline.Bind(trustingLedger{}) },
	},
	{
		Name: "ack-before-produce", About: "a webhook is acknowledged before its record is in the log", Kind: kindIngest, hasty: true,
	},
	{
		Name: "token-missing", About: "blocks are inserted without a token", Kind: kindLoad, token: noToken,
	},
	{
		Name: "token-reused", About: "all blocks of a partition have one token", Kind: kindLoad, token: reusedToken,
	},
	{
		Name: "token-of-content", About: "the token is a hash of what is inserted", Kind: kindLoad, token: contentToken,
	},
	{
		Name: "429-ignored", About: "a destination that asks for silence is asked again", Kind: kindDeliver, deaf: true,
	},
	{
		Name: "older-overwrites", About: "requests for one contact overtake each other", Kind: kindDeliver, hasty: true,
	},
}

// lsoLog bounds recoveries by the last stable offset.
type lsoLog struct {
	kafka.Log
	w *world
}

func (l lsoLog) Bounds(ctx context.Context, topic string, n int32) (start, end int64, err error) {
	start, end, err = l.Log.Bounds(ctx, topic, n)
	if err == nil && l.w.stageOf(topic) != nil {
		end = min(end, l.w.b.Topic(topic).Parts[n].Stable())
	}
	return start, end, err
}

// loosePart lets a batch in where the store stands elsewhere; anyone: from whomever it comes.
type loosePart struct {
	store.Partition
	h      *procPart
	anyone bool
}

func (l loosePart) Apply(ctx context.Context, f store.Fence, b store.Batch) (store.Fence, error) {
	next, err := l.Partition.Apply(ctx, f, b)
	if !errors.Is(err, store.ErrRolledBack) && (!l.anyone || !errors.Is(err, store.ErrFenced)) || f.Building {
		return next, err
	}
	stands, err := l.Partition.Claim(ctx, f.Owner)
	if err != nil {
		return f, err
	}
	was := f
	f = stands.Fence
	if f.Changelog == "" { // wiped: what a script without the check would write to
		return was, nil
	}
	if _, err = l.Partition.Apply(ctx, f, b); err != nil {
		return was, err
	}
	was.Applied = b.To
	return was, nil
}

// blindPart reads whatever is there.
type blindPart struct {
	store.Partition
	h *procPart
}

func (b blindPart) Read(ctx context.Context, f store.Fence, keys []string) ([][]byte, error) {
	values, err := b.Partition.Read(ctx, f, keys)
	if !errors.Is(err, store.ErrRolledBack) && !errors.Is(err, store.ErrFenced) {
		return values, err
	}
	images := b.h.s.mem.Images(b.h.id)
	values = nil
	for _, k := range keys {
		values = append(values, images[k])
	}
	return values, nil
}

// youngPart says of every copy that it is fresh.
type youngPart struct {
	store.Partition
	h *procPart
}

func (y youngPart) Claim(ctx context.Context, owner string) (store.Claim, error) {
	c, err := y.Partition.Claim(ctx, owner)
	c.At = y.h.p.Now()
	return c, err
}

// frozenLog and frozenClock let no time pass for whoever read a changelog, until the next question.
type frozenLog struct {
	kafka.Log
	s *slot
}

func (l frozenLog) Read(ctx context.Context, r kafka.Range, apply func([]*kgo.Record, int64) error) error {
	began := l.s.proc.Now()
	s := l.s
	err := l.Log.Read(ctx, r, apply)
	if err == nil {
		s.frozenAt = began
	}
	return err
}

func (l frozenLog) Describe(ctx context.Context, topic string) (kafka.TopicInfo, error) {
	l.s.frozenAt = time.Time{}
	return l.Log.Describe(ctx, topic)
}

func (l frozenLog) Offsets(ctx context.Context, group string, topics []string, partitions []int32) ([]kafka.Offset, error) {
	l.s.frozenAt = time.Time{}
	return l.Log.Offsets(ctx, group, topics, partitions)
}

type frozenClock struct {
	*sched.Proc
	s *slot
}

func (c frozenClock) Now() time.Time {
	if !c.s.frozenAt.IsZero() {
		return c.s.frozenAt
	}
	return c.Proc.Now()
}

// sessionLog wraps each session.
type sessionLog struct {
	kafka.Log
	wrap func(kafka.Session) kafka.Session
}

func (l sessionLog) Join(m kafka.Member) (kafka.Session, error) {
	s, err := l.Log.Join(m)
	if err != nil {
		return nil, err
	}
	return l.wrap(s), nil
}

type trusting struct{ kafka.Session }

func (t trusting) Commit(ctx context.Context, offsets []kafka.Offset) (bool, error) {
	ok, err := t.Session.Commit(ctx, offsets)
	return ok || err == nil, err
}

type outside struct{ kafka.Session }

func (o outside) Commit(ctx context.Context, offsets []kafka.Offset) (bool, error) {
	ok, err := o.Session.Commit(ctx, nil)
	if ok && len(o.CommitOffsets(ctx, offsets)) > 0 {
		return false, errors.New("the offsets could not be committed")
	}
	return ok, err
}

// wallClock stamps what is read with the clock of the reader.
type wallClock struct {
	kafka.Session
	s *slot
}

func (c wallClock) Poll(ctx context.Context, max int, wait bool) kgo.Fetches {
	f := c.Session.Poll(ctx, max, wait)
	f.EachRecord(func(r *kgo.Record) {
		r.Timestamp = c.s.proc.Now().Truncate(time.Millisecond)
		r.Headers = nil
	})
	return f
}

// trustingLedger takes the body that it knows for the one that came.
type trustingLedger struct{ ledger }

func (t trustingLedger) Apply(s ledgerState, in processors.Input) (ledgerState, []processors.Output, error) {
	if ev, ok := in.Record.(*schemas.OrderEvent); ok {
		for _, e := range s.Seen {
			if e.ID == ev.EventID {
				copied := *ev
				copied.BodyHash = e.Body
				in.Record = &copied
			}
		}
	}
	return t.ledger.Apply(s, in)
}
