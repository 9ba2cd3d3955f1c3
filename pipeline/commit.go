package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/store"
)

// share is a batch as written: its changelog records in the order of their offsets, the meta record last.
type share struct {
	*batch
	images []store.Image
	log    []*kgo.Record
}

// commit writes the batches as one transaction and, once it is known to be committed, applies them to the store. An
// error means that the session must end.
func (l *lane) commit(ctx context.Context, batches []*batch) error {
	var shares []*share
	for _, b := range batches {
		if b.p.ctx.Err() == nil {
			shares = append(shares, &share{batch: b, images: b.images()})
		}
	}
	if len(shares) == 0 {
		return nil
	}
	ctx, cancel := l.endContext(ctx)
	defer cancel()
	started := l.e.o.Clock.Now()
	if err := l.sess.Begin(); err != nil {
		return fmt.Errorf("begin a transaction: %w: %w", errRenew, err)
	}
	refused, produced := l.produce(ctx, shares)
	committed, err := l.end(ctx, shares, produced)
	l.e.m.transactionSeconds.Observe(l.e.o.Clock.Now().Sub(started).Seconds())
	if !committed {
		// Not "aborted": unknown. The brokers know, and the recovery asks them.
		l.unknown(errors.Join(produced, err))
		if refused != nil && kafka.Classify(produced) == kafka.Fatal {
			l.stop(refused.p, &stall{
				reason: ReasonOutputRefused, err: produced,
				remedy: "create the topic, give the right to write it, or raise its max.message.bytes; the partition tries again by itself",
			})
		}
		if err != nil {
			return fmt.Errorf("end a transaction: %w: %w", errRenew, err)
		}
		return nil
	}
	l.e.m.transactions.Inc()
	group := l.e.o.Clock.NewGroup()
	for _, s := range shares {
		group.Go(func() { l.committed(s) })
	}
	group.Wait()
	return nil
}

// endContext bounds a transaction. A stop leaves it a while to end: cut off, its outcome would be open until the next
// start of this instance.
func (l *lane) endContext(run context.Context) (context.Context, context.CancelFunc) {
	c := l.e.o.Clock
	ctx, cancel := c.WithTimeout(context.WithoutCancel(run), endTimeout)
	stop := c.AfterFunc(run, func() {
		_ = c.Sleep(ctx, stopTimeout)
		cancel()
	})
	return ctx, func() {
		stop()
		cancel()
	}
}

// produce writes everything and waits for the acknowledgements. Where that fails, refused is the share whose record
// failed first; the errors after it may be its consequence.
func (l *lane) produce(ctx context.Context, shares []*share) (refused *share, err error) {
	var (
		mu    sync.Mutex
		first error
	)
	changelog := l.e.o.Topology.Changelog
	for _, s := range shares {
		promise := func(r *kgo.Record, err error) {
			if err == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if first == nil {
				refused, first = s, fmt.Errorf("produce to %s/%d: %w", r.Topic, r.Partition, err)
			}
		}
		for _, r := range s.outs {
			l.sess.Produce(ctx, r, promise)
		}
		for _, c := range s.written {
			s.meta.Counts.Outputs[c.topic] += c.n
		}
		s.log = make([]*kgo.Record, 0, len(s.images)+1)
		logged := func(prefix, key string, value []byte) {
			r := s.memory.record()
			r.Topic, r.Partition, r.Key, r.Value = changelog, s.p.number, s.memory.copy(prefix, key), value
			s.log = append(s.log, r)
		}
		for _, im := range s.images {
			logged(stateKeyPrefix, im.Key, im.Value)
		}
		logged(metaKey, "", s.meta.encode())
		for _, r := range s.log {
			l.sess.Produce(ctx, r, promise)
		}
	}
	if err := l.sess.Flush(ctx); err != nil {
		return nil, fmt.Errorf("flush: %w", err)
	}
	mu.Lock()
	defer mu.Unlock()
	return refused, first
}

// end ends the transaction; only true says that it was committed.
func (l *lane) end(ctx context.Context, shares []*share, produced error) (committed bool, err error) {
	if produced != nil {
		return false, l.sess.Abort(ctx)
	}
	return l.sess.Commit(ctx, l.offsets(shares))
}

// offsets names the offset of each input of each partition written, changed or not: so every transaction passes the
// group's check of the generation.
func (l *lane) offsets(shares []*share) []kafka.Offset {
	var out []kafka.Offset
	for _, topic := range l.e.o.Topology.Inputs {
		for _, s := range shares {
			out = append(out, kafka.Offset{Topic: topic, TopicID: s.p.inputIDs[topic], Partition: s.p.number, At: s.meta.Inputs[topic].Next})
		}
	}
	return out
}

// unknown drops every overlay of the lane: the client went back to offsets of its own for all of its partitions.
func (l *lane) unknown(cause error) {
	l.e.m.unknown.Inc()
	l.log.Warn().AnErr("cause", cause).Msg("the outcome of a transaction is not known; recovering")
	for _, p := range l.running() {
		l.restart(p, "unknown_outcome")
	}
}

// committed brings the store and the memory up to a transaction that is known to be committed.
func (l *lane) committed(s *share) {
	p := s.p
	l.count(s)
	for _, q := range p.queues {
		q.drop()
	}
	p.meta = s.meta
	if err := l.takeOff(p, s); err != nil {
		if p.ctx.Err() == nil {
			l.stop(p, storeStall(err))
		}
		return
	}
	s.keep()
	p.cache.trim(l.e.o.CacheImagesMax, l.e.cacheShare())
	if p.poisoned(l.e.o.Clock.Now(), s.records, s.letters) {
		p.letters = nil
		l.stop(p, &stall{
			reason: ReasonPoison, final: true, err: fmt.Errorf("more than %d records, and more than 1 in %d, became dead letters within a minute", poisonLetters, poisonShare),
			remedy: "this is a fault of the configuration or the stage, not of the records: repair it, then resume the partition",
		})
	}
}

// flight is an apply on its way to the store, beside the next batch. There is one at a time: whoever needs the store,
// or its fence, waits until it has landed.
type flight struct {
	landed clock.Signal
	done   atomic.Bool
	fence  store.Fence
	err    error
}

// takeOff begins to apply a committed share, after the one before it.
func (l *lane) takeOff(p *partition, s *share) error {
	if err := p.land(); err != nil {
		return err
	}
	at := p.fence.Applied - 1
	for _, r := range s.log {
		// A duplicate that the broker remembers may be acknowledged without its offset.
		if r.Offset <= at {
			return fmt.Errorf("%w: changelog offset %d after %d", store.ErrRolledBack, r.Offset, at)
		}
		at = r.Offset
	}
	f := &flight{landed: l.e.o.Clock.NewSignal(), fence: p.fence}
	p.flight = f
	l.beside.Go(func() {
		started := l.e.o.Clock.Now()
		f.fence, f.err = l.applyShare(p, s, f.fence)
		l.e.m.apply.Observe(l.e.o.Clock.Now().Sub(started).Seconds())
		f.done.Store(true)
		f.landed.Notify()
		if f.err != nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.wake()
		}
	})
	return nil
}

// landDone stops partitions whose apply failed, also where nothing new comes that would notice.
func (l *lane) landDone() {
	for _, p := range l.running() {
		if p.flight == nil || !p.flight.done.Load() {
			continue
		}
		if err := p.land(); err != nil && p.ctx.Err() == nil {
			l.stop(p, storeStall(err))
		}
	}
}

// land waits for the apply on its way, and moves the fence to where it left the store. Its error is the store's, or the
// end of the partition.
func (p *partition) land() error {
	f := p.flight
	if f == nil {
		return nil
	}
	if err := f.landed.Wait(p.ctx); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	p.flight = nil
	if f.err != nil {
		return f.err
	}
	p.fence, p.failures = f.fence, 0
	return nil
}

// landAll waits, for a bounded time, until the store has all that was committed: the next owner finds nothing to do then.
func (l *lane) landAll() {
	ctx, cancel := l.e.o.Clock.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	for _, p := range l.running() {
		if p.flight != nil {
			_ = p.flight.landed.Wait(ctx)
		}
	}
}

// applyShare applies the after-images in bounded batches: a prefix of a transaction is a valid place to stand.
func (l *lane) applyShare(p *partition, s *share, fence store.Fence) (store.Fence, error) {
	done, now := 0, l.e.o.Clock.Now()
	cuts := store.Cut(s.images)
	if len(cuts) == 0 {
		cuts = []int{0}
	}
	for i, cut := range cuts {
		b := store.Batch{Images: s.images[done:cut], At: now}
		if i < len(cuts)-1 {
			b.To = s.log[cut-1].Offset + 1
		} else {
			last := s.log[len(s.log)-1]
			b.To, b.Meta = last.Offset+1, last.Value
		}
		var err error
		if fence, err = p.part.Apply(p.ctx, fence, b); err != nil {
			return fence, err
		}
		done = cut
	}
	return fence, nil
}
