package pipeline

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/store"
)

// recovered is what a recovery hands to its lane.
type recovered struct {
	p     *partition
	err   error
	ends  map[string]int64
	ahead map[string]bool // inputs whose state is ahead of the group's offset
}

// startRecoveries begins the recovery of every partition that needs one now.
func (l *lane) startRecoveries(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.owned() {
		due := p.state == stateStalled && !p.stalled.final && !now.Before(p.retryAt)
		if p.state != stateAssigned && !due {
			continue
		}
		p.state = stateRecovering
		l.beside.Go(func() {
			r := recovery{l: l, p: p, started: l.e.o.Clock.Now()}
			got := r.run(p.ctx)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.finished = append(l.finished, got)
			l.wake()
		})
	}
}

// finishRecoveries lets recovered partitions run from where their state stands, never from the client's own idea.
func (l *lane) finishRecoveries(now time.Time) {
	l.mu.Lock()
	done := l.finished
	l.finished = nil
	l.mu.Unlock()
	for _, r := range done {
		p := r.p
		if p.ctx.Err() != nil {
			continue
		}
		if r.err != nil {
			l.stop(p, r.err)
			continue
		}
		var offsets []kafka.Offset
		p.queues = map[string]*queue{}
		for _, topic := range l.e.o.Topology.Inputs {
			next := p.meta.Inputs[topic].Next
			p.queues[topic] = &queue{expect: next, end: r.ends[topic], skipping: r.ahead[topic]}
			offsets = append(offsets, kafka.Offset{Topic: topic, Partition: p.number, At: next})
		}
		p.cache, p.slots, p.flight, p.rebuild = newCache(), map[string]*slot{}, nil, false
		p.lastInput, p.lastTick, p.lastMark = now, now, time.Time{}
		if len(p.queues) > 1 {
			p.holdUntil = now.Add(holdAfterRecover)
		}
		l.sess.SetOffsets(offsets)
		l.sess.Resume(l.e.inputs(p.number))
		l.mu.Lock()
		p.state, p.stalled = stateRunning, nil
		l.mu.Unlock()
	}
}

// recovery brings the store's copy of one partition to the changelog, and finds where to go on. The numbers in the
// comments are the steps of DESIGN.md.
type recovery struct {
	l       *lane
	p       *partition
	started time.Time

	chg        kafka.TopicInfo
	start, end int64 // of the changelog
	claim      store.Claim
	fence      store.Fence
	next       int64  // up to which the changelog was read
	meta       []byte // the newest meta record seen
	kind       string
}

func (r *recovery) run(ctx context.Context) recovered {
	out := recovered{p: r.p}
	group, err := r.offsets(ctx) // 2
	if err == nil {
		err = r.bound(ctx) // 3
	}
	if err == nil {
		err = r.take(ctx) // 4
	}
	if err == nil {
		err = r.restore(ctx) // 5, 6, 7
	}
	if err == nil {
		out.ends, out.ahead, err = r.resume(ctx, group) // 8
	}
	if err == nil {
		r.p.fence, r.p.window = r.fence, newWindow(timerWindow)
		if err = r.p.window.refill(ctx, r.p.part, r.fence, nil); err != nil {
			err = storeStall(err)
		}
	}
	if err != nil {
		out.err = r.explain(err)
		return out
	}
	seconds := r.l.e.o.Clock.Now().Sub(r.started).Seconds()
	r.l.e.m.recoveries.WithLabelValues(r.kind).Inc()
	r.l.e.m.recoverySeconds.Observe(seconds)
	r.l.log.Info().Int32("partition", r.p.number).Str("kind", r.kind).Float64("seconds", seconds).Int64("applied", r.fence.Applied).Msg("partition recovered")
	return out
}

// offsets asks for the group's offsets; it waits while a predecessor's transaction that commits one is undecided.
func (r *recovery) offsets(ctx context.Context) (map[string]int64, error) {
	ctx, cancel := r.l.e.o.Clock.WithTimeout(ctx, recoverPatience)
	defer cancel()
	t := r.l.e.o.Topology
	offsets, err := r.l.e.log.Offsets(ctx, t.Group, t.Inputs, []int32{r.p.number})
	if err != nil {
		return nil, err
	}
	at := map[string]int64{}
	for _, o := range offsets {
		at[o.Topic] = o.At
	}
	return at, nil
}

// bound takes the high watermark of the changelog, after the offsets: the group's commit marker may be visible
// before the changelog's, and the last stable offset would hide committed images behind any open transaction.
func (r *recovery) bound(ctx context.Context) (err error) {
	topic := r.l.e.o.Topology.Changelog
	if r.chg, err = r.l.e.log.Describe(ctx, topic); err != nil {
		return err
	}
	if r.p.number >= r.chg.Count {
		return &stall{
			reason: ReasonPartitionsChanged, final: true, err: fmt.Errorf("partition %d of the inputs has no partner in %s, which has %d", r.p.number, topic, r.chg.Count),
			remedy: "partitions of inputs are fixed: recreate the inputs with their former number",
		}
	}
	r.start, r.end, err = r.l.e.log.Bounds(ctx, topic, r.p.number)
	return err
}

// take claims the store's copy. The last claim wins.
func (r *recovery) take(ctx context.Context) (err error) {
	var id [12]byte
	if _, err := io.ReadFull(r.l.e.o.Random, id[:]); err != nil {
		return fmt.Errorf("make an owner id: %w", err)
	}
	owner := fmt.Sprintf("%s/%d/%s", r.l.e.o.Instance, r.l.number, hex.EncodeToString(id[:]))
	if r.claim, err = r.p.part.Claim(ctx, owner); err != nil {
		return storeStall(err)
	}
	r.fence, r.meta = r.claim.Fence, r.claim.Meta
	return nil
}

// restore catches the copy up, or rebuilds it where catching up could miss something: images of another changelog,
// an offset that the changelog never reached, nothing applied yet, or tombstones that may be gone.
func (r *recovery) restore(ctx context.Context) error {
	id := hex.EncodeToString(r.chg.ID[:])
	why := ""
	switch {
	case r.p.rebuild:
		why = "asked for"
	case r.claim.Changelog != id:
		why = "the images are of another changelog"
	case r.claim.Applied > r.end:
		why = "the images are ahead of the changelog"
	case r.claim.Meta == nil:
		why = "nothing was applied yet"
	case r.gap() && r.stale(r.claim.At, kafka.TombstoneRetention/2):
		why = "tombstones may be gone"
	}
	if why == "" {
		r.kind = "tail"
		was := r.claim.Applied
		err := r.read(ctx)
		switch {
		case errors.Is(err, kafka.ErrTrimmed), errors.Is(err, store.ErrCorrupt):
			why = "the tail cannot be read"
		case err != nil:
			return err
		case r.end-was > 1 && r.stale(r.claim.At, kafka.TombstoneRetention*3/4): // 7
			why = "tombstones may have gone meanwhile"
		default:
			return r.seal(ctx)
		}
	}
	return r.rebuild(ctx, id, why)
}

// unsealed is how far before the bound a tail ends until it is sealed: more than a marker, so that gap sees it.
const unsealed = 2

// seal moves the copy to the end of a tail that was read in time. Until then a claim finds it behind and as old as it was,
// and judges it as this recovery did.
func (r *recovery) seal(ctx context.Context) (err error) {
	if r.next <= r.fence.Applied {
		return nil
	}
	if r.fence, err = r.p.part.Apply(ctx, r.fence, store.Batch{To: r.next, At: r.l.e.o.Clock.Now(), Meta: r.meta}); err != nil {
		return storeStall(err)
	}
	return nil
}

// gap reports whether more than a transaction marker lies between the copy and the end.
func (r *recovery) gap() bool { return r.end-r.claim.Applied > 1 }

func (r *recovery) stale(at time.Time, age time.Duration) bool {
	return r.l.e.o.Clock.Now().Sub(at) > age
}

func (r *recovery) rebuild(ctx context.Context, id, why string) error {
	r.l.log.Info().Int32("partition", r.p.number).Str("why", why).Int64("records", r.end-r.start).Msg("rebuilding the state from the changelog")
	r.kind = "rebuild"
	began := r.l.e.o.Clock.Now()
	var err error
	if r.fence, err = r.p.part.Rebuild(ctx, r.fence, id, r.start); err != nil {
		return storeStall(err)
	}
	r.meta = nil
	if err := r.read(ctx); err != nil {
		return err
	}
	if r.stale(began, kafka.TombstoneRetention/2) { // 7
		return &stall{
			reason: ReasonStoreUnavailable, err: errors.New("the rebuild took so long that tombstones may have gone meanwhile"),
			remedy: "give the store or Kafka more room; the rebuild starts again", rebuild: true,
		}
	}
	if r.fence, err = r.p.part.Switch(ctx, r.fence); err != nil {
		return storeStall(err)
	}
	return nil
}

// read applies what lies between the copy and the bound.
func (r *recovery) read(ctx context.Context) error {
	tail := kafka.Range{
		Topic: r.l.e.o.Topology.Changelog, Partition: r.p.number, From: r.fence.Applied, To: r.end, Patience: recoverPatience,
	}
	r.p.target.Store(r.end)
	r.p.origin.Store(r.fence.Applied)
	r.p.position.Store(r.fence.Applied)
	return r.l.e.log.Read(ctx, tail, func(records []*kgo.Record, next int64) error {
		images, ends, meta, err := imagesOf(records)
		if err != nil {
			return err
		}
		if err := r.apply(ctx, images, ends, meta, next); err != nil {
			return storeStall(err)
		}
		r.p.position.Store(next)
		return nil
	})
}

// apply writes images in bounded batches; ends[i] is the offset after images[i], next the one after everything.
func (r *recovery) apply(ctx context.Context, images []store.Image, ends []int64, meta []byte, next int64) error {
	at, to, done := r.l.e.o.Clock.Now(), next, 0
	if !r.fence.Building {
		// The tail is as old as before until all of it was read in time: a crash must not make its tombstones look young.
		at, to = r.claim.At, max(r.fence.Applied, min(next, r.end-unsealed))
	}
	cuts := store.Cut(images)
	if len(cuts) == 0 {
		cuts = []int{0}
	}
	for i, cut := range cuts {
		b := store.Batch{Images: store.Newest(images[done:cut]), At: at, To: to}
		if i < len(cuts)-1 {
			b.To = min(ends[cut-1], to)
		} else {
			b.Meta = meta
		}
		var err error
		if r.fence, err = r.p.part.Apply(ctx, r.fence, b); err != nil {
			return err
		}
		done = cut
	}
	if r.next = next; meta != nil {
		r.meta = meta
	}
	return nil
}

func imagesOf(records []*kgo.Record) (images []store.Image, ends []int64, meta []byte, err error) {
	for _, rec := range records {
		key := string(rec.Key)
		if key == metaKey {
			meta = rec.Value
			continue
		}
		if len(key) < len(stateKeyPrefix) || key[:len(stateKeyPrefix)] != stateKeyPrefix {
			continue
		}
		im := store.Image{Key: key[len(stateKeyPrefix):], Value: rec.Value}
		if rec.Value != nil {
			env, err := decodeEnvelope(rec.Value)
			if err != nil {
				return nil, nil, nil, &stall{
					reason: ReasonStateUnreadable, final: true, err: fmt.Errorf("%s/%d offset %d: %w", rec.Topic, rec.Partition, rec.Offset, err),
					remedy: "run the version that wrote it, then resume the partition",
				}
			}
			im.Deadline = env.deadline
		}
		images, ends = append(images, im), append(ends, rec.Offset+1)
	}
	return images, ends, meta, nil
}

// explain turns an error of a recovery into a stall.
func (r *recovery) explain(err error) error {
	var s *stall
	switch {
	case errors.As(err, &s):
		return err
	case errors.Is(err, kafka.ErrTruncated):
		return &stall{
			reason: ReasonChangelogTruncated, err: err, final: true,
			remedy: "the changelog lost committed records (unclean election, lost disks): restore it, or resume to go on with what is left: CHANGELOG_LOST follows where the loss matters",
		}
	case errors.Is(err, kafka.ErrHanging):
		return &stall{reason: ReasonTransactionHangs, err: err, remedy: "find and abort the hanging transaction (kafka-transactions.sh find-hanging); the partition goes on by itself then"}
	}
	return &stall{reason: ReasonKafkaUnavailable, err: err, remedy: "check the Kafka brokers; the partition goes on by itself when they answer"}
}
