package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
)

// poll waits for records until the next partition is due, takes in what the group's callbacks told meanwhile, and adds the
// records to the buffers.
func (l *Loader) poll(ctx context.Context, s kafka.Session) {
	pollCtx, cancel := l.o.Clock.WithTimeout(ctx, l.patience())
	defer cancel()
	l.mu.Lock()
	l.wake = cancel
	if len(l.events) > 0 {
		cancel()
	}
	l.mu.Unlock()
	fetches := s.Poll(pollCtx, pollRowsMax, true)
	l.listen()
	l.troubleErr = nil
	now := l.o.Clock.Now()
	for _, f := range fetches {
		for _, t := range f.Topics {
			for i := range t.Partitions {
				l.take(pollCtx, t.Topic, &t.Partitions[i], now)
			}
		}
	}
}

// take adds what was fetched of one partition to its buffer.
func (l *Loader) take(pollCtx context.Context, topic string, f *kgo.FetchPartition, now time.Time) {
	p := l.partitions[key{topic, f.Partition}]
	if err := f.Err; err != nil {
		if pollCtx.Err() != nil && errors.Is(err, pollCtx.Err()) || errors.Is(err, kgo.ErrClientClosed) {
			return
		}
		l.troubleErr = fmt.Errorf("fetch %s/%d: %w", topic, f.Partition, err)
		l.o.Log.Error().Err(err).Str("topic", topic).Int32("partition", f.Partition).Msg("cannot fetch")
		if p != nil {
			p.suspect(err)
		}
	}
	if p == nil || p.unchecked || p.stalled != nil {
		return // not ours, or to be fetched again after its check, or never
	}
	if f.Err == nil {
		p.end = f.LastStableOffset
		if p.next >= 0 && f.LogStartOffset > p.seen+1 {
			l.o.Log.Error().Str("topic", topic).Int32("partition", f.Partition).Int64("from", p.seen+1).Int64("to", f.LogStartOffset-1).
				Msg("records were deleted from the topic before they were stored: lengthen its retention")
		}
	}
	for _, r := range f.Records {
		p.add(r, now)
	}
	if len(f.Records) > 0 && f.HighWatermark <= p.seen {
		p.suspect(nil)
	}
}

// patience is how long nothing has to be done unless records come.
func (l *Loader) patience() time.Duration {
	wait, now := pollMax, l.o.Clock.Now()
	for _, p := range l.partitions {
		if at, ok := p.dueAt(&l.o); ok {
			wait = min(wait, at.Sub(now))
		}
		if at, ok := p.inspectAt(); ok {
			wait = min(wait, at.Sub(now))
		}
	}
	return max(wait, pollMin)
}

// pass plans, inserts and commits what is due; all of it when everything is asked for.
func (l *Loader) pass(ctx context.Context, s kafka.Session, everything bool) error {
	defer l.show()
	due := l.due(everything)
	if len(due) == 0 {
		l.throttle(s)
		return nil
	}
	due = l.sameTopics(ctx, s, due)
	for _, p := range due {
		if p.plan == nil {
			p.makePlan(&l.o)
			p.plan.id = l.planID()
		}
	}
	if err := l.commitPlans(ctx, s, due); err != nil {
		return err
	}
	started := l.o.Clock.Now()
	for i, p := range due {
		if !p.plan.committed {
			continue
		}
		if l.hurry.Load() && i > 0 || l.o.Clock.Now().Sub(started) > passMax {
			break
		}
		if err := l.insert(ctx, p); err != nil {
			return err
		}
	}
	err := l.commitDone(ctx, s, due)
	l.throttle(s)
	return err
}

// due lists the partitions with something to do, the oldest rows first.
func (l *Loader) due(everything bool) []*partition {
	now, buffered := l.o.Clock.Now(), l.buffered()
	var due []*partition
	for _, p := range l.sorted() {
		at, ok := p.dueAt(&l.o)
		if !ok {
			continue
		}
		if everything || !at.After(now) || buffered >= l.o.BufferBytesMax && !p.retryAt.After(now) {
			due = append(due, p)
		}
	}
	slices.SortStableFunc(due, func(a, b *partition) int { return a.since.Compare(b.since) })
	return due
}

// sorted lists the partitions by topic and number.
func (l *Loader) sorted() []*partition {
	return slices.SortedFunc(maps.Values(l.partitions), func(a, b *partition) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.number, b.number))
	})
}

func (l *Loader) buffered() (bytes int) {
	for _, p := range l.partitions {
		bytes += p.bytes
	}
	return bytes
}

// throttle pauses the fetch of partitions whose buffers are full, which happens only while the writer does not take them,
// and resumes the others. A range that must be repeated is always fetched to its end: it had fitted once.
func (l *Loader) throttle(s kafka.Session) {
	buffered := l.buffered()
	pause, resume := map[string][]int32{}, map[string][]int32{}
	for _, p := range l.sorted() {
		if p.unchecked || p.stalled != nil {
			continue // paused for that
		}
		full := p.full(&l.o) || buffered >= l.o.BufferBytesMax
		if p.plan != nil && !p.filled() {
			full = false
		}
		switch {
		case full && !p.paused:
			pause[p.topic] = append(pause[p.topic], p.number)
		case !full && p.paused:
			resume[p.topic] = append(resume[p.topic], p.number)
		}
		p.paused = full
	}
	if len(pause) > 0 {
		s.Pause(pause)
	}
	if len(resume) > 0 {
		s.Resume(resume)
	}
}
