package pipeline

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/store"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
)

// timerReadAhead is how many states of due timers are read in one round trip.
const timerReadAhead = store.MaxKeys - 1

// deadlineOf is when a timer fires, cut to the millisecond, the unit of the broker's stamps. A timer before 1970
// counts as 1970: 0 stands for no timer.
func deadlineOf(t processors.Timer) int64 { return max(1, t.At.UnixMilli()) }

// armed are the timers that may fire, in firing order.
func armed(timers []processors.Timer, muted []mark) []processors.Timer {
	if len(timers) == 0 || len(timers) == 1 && len(muted) == 0 {
		return timers
	}
	out := make([]processors.Timer, 0, len(timers))
	for _, t := range timers {
		if !slices.Contains(muted, markOf(t)) {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b processors.Timer) int {
		return cmp.Or(cmp.Compare(deadlineOf(a), deadlineOf(b)), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// drain fires every timer with a deadline before the clock at at, the stamp of the record cause. It reports false where
// the budget of the transaction ended first: the rest fires in the next one, before the same record.
func (b *batch) drain(ctx context.Context, at int64, topic string, cause *kgo.Record) (bool, error) {
	for {
		clock := b.meta.clock(at)
		d, ok, err := b.due(ctx, clock)
		if err != nil || !ok {
			return err == nil, err
		}
		if b.timers >= b.l.e.o.BatchTimersMax || b.full() {
			return false, nil
		}
		s := b.slot(d.Key)
		if !s.known {
			ahead := []*slot{s}
			for _, key := range b.p.window.next(clock, timerReadAhead) {
				ahead = append(ahead, b.slot(key))
			}
			if err := b.load(ctx, ahead); err != nil {
				return false, err
			}
		}
		if err := b.fire(ctx, s, at, topic, cause); err != nil {
			return false, err
		}
	}
}

// due is the earliest timer before the clock.
func (b *batch) due(ctx context.Context, clock int64) (d store.Deadline, ok bool, err error) {
	if d, ok = b.p.window.first(); !ok && !b.p.window.complete(clock) {
		touched := make(map[string]int64, len(b.changed))
		for _, s := range b.changed {
			touched[s.key] = s.entry.deadline()
		}
		if err := b.p.refill(ctx, touched); err != nil {
			return d, false, storeStall(err)
		}
		d, ok = b.p.window.first()
	}
	return d, ok && d.At < clock, nil
}

// fire lets the earliest timer of key fire. A stage that fails on it, or leaves it in the state, does not get it
// again: it is muted, and a dead letter says so.
func (b *batch) fire(ctx context.Context, s *slot, at int64, topic string, cause *kgo.Record) error {
	e, err := b.open(ctx, s)
	if err != nil {
		return err
	}
	if len(e.timers) == 0 || deadlineOf(e.timers[0]) >= b.meta.clock(at) {
		n := *e
		n.seal()
		if n.deadline() != e.deadline() { // the image was sealed under rules that derived other timers
			b.accept(s, &n)
			b.timers++
			return nil
		}
		return &stall{
			reason: ReasonStateUnreadable, rebuild: true, err: fmt.Errorf("the state of key %q has no timer at its deadline", outbound.Redact(s.key)),
			remedy: "the state is rebuilt from the changelog; if this repeats, report it",
		}
	}
	t := e.timers[0]
	in := processors.Input{At: time.UnixMilli(at).UTC(), Key: s.key, Topic: topic, Timer: &t, Config: b.meta.Config}
	finding, err := b.step(ctx, s, in, cause)
	if err != nil {
		return err
	}
	b.timers++
	if finding == nil {
		b.meta.Counts.Timers++
		if !slices.Contains(s.entry.env.muted, markOf(t)) {
			return nil
		}
		finding = errors.New("the timer is still in the state after it fired")
	} else {
		b.accept(s, b.mute(e, t))
	}
	letter := letterOf(cause, nil, schemas.CauseStageFailed, fmt.Errorf("timer %q of %s: %w", t.ID, t.At.UTC().Format(time.RFC3339Nano), finding))
	hash := sha256.Sum256([]byte(s.key)) // ids are logged, and keys can be e-mail addresses
	letter.ID = fmt.Sprintf("%s-timer-%x-%s-%d", letter.ID, hash[:8], t.ID, t.At.UnixNano())
	letter.Key, letter.Value = []byte(s.key), nil
	letter.Remedy = "repair the stage; the timer does not fire again for this state"
	err = b.deadLetter(ctx, letter)
	b.torn = b.torn || err != nil
	return err
}

// mute is e without timer t.
func (b *batch) mute(e *entry, t processors.Timer) *entry {
	n := *e
	n.env.muted = append(slices.Clip(e.env.muted), markOf(t))
	n.timers = slices.DeleteFunc(slices.Clone(e.timers), func(o processors.Timer) bool { return markOf(o) == markOf(t) })
	n.seal()
	return &n
}

// settle makes an entry of the state that follows that of s. It counts timers set into the past, and mutes those beyond the
// bound and the fired one where it is still there.
func (b *batch) settle(s *slot, next State, in processors.Input) (n *entry, past int, finding error) {
	e := s.entry
	image, err := next.Image()
	if err != nil {
		return nil, 0, err
	}
	n = &entry{state: next}
	if image == nil {
		if n.state, err = b.l.e.o.Topology.Stage.Open(nil); err != nil {
			return nil, 0, err
		}
		return n, 0, nil
	}
	if len(image) > valueBytesMax {
		return nil, 0, fmt.Errorf("the state of key %q has %d bytes, more than %d", outbound.Redact(s.key), len(image), valueBytesMax)
	}
	timers, err := next.Timers()
	if err != nil {
		return nil, 0, err
	}
	n.env.state = image
	for _, t := range timers {
		m := markOf(t)
		known := slices.ContainsFunc(e.timers, func(o processors.Timer) bool { return markOf(o) == m })
		switch {
		case slices.Contains(e.env.muted, m), in.Timer != nil && m == markOf(*in.Timer):
			n.env.muted = append(n.env.muted, m)
		case !known && deadlineOf(t) < b.meta.clock(in.At.UnixMilli()): // it would fire at this very record
			if past++; b.meta.Past+past > pastTimersMax {
				n.env.muted = append(n.env.muted, m)
			}
		}
	}
	n.timers = armed(timers, n.env.muted)
	n.seal()
	b.past += past
	return n, past, nil
}

// seal computes the deadline and the image of a state that stays.
func (e *entry) seal() {
	e.env.deadline = 0
	if len(e.timers) > 0 {
		e.env.deadline = deadlineOf(e.timers[0])
	}
	e.image = e.env.encode()
}

// refill loads the earliest deadlines from the store, once that has all that was committed.
func (p *partition) refill(ctx context.Context, touched map[string]int64) error {
	if err := p.land(); err != nil {
		return err
	}
	return p.window.refill(ctx, p.part, p.fence, touched)
}

// overdue reports whether a timer of p fires at a record stamped at.
func (l *lane) overdue(ctx context.Context, p *partition, at int64) (bool, error) {
	if _, ok := p.window.first(); !ok && !p.window.complete(math.MaxInt64) {
		if err := p.refill(ctx, nil); err != nil {
			return false, storeStall(err)
		}
	}
	d, ok := p.window.first()
	return ok && d.At < at, nil
}
