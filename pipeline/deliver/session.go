package deliver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
)

// session is one membership in the group, from joining to leaving.
func (d *Deliverer) session(ctx context.Context) error {
	var id [8]byte
	if _, err := io.ReadFull(d.opts.Random, id[:]); err != nil {
		return fmt.Errorf("owner id: %w", err)
	}
	d.mu.Lock()
	d.broken = nil
	d.notAsked = map[string]time.Time{}
	d.misplaced, d.awaited = false, map[int32]bool{}
	d.owner, d.closing, d.joined = binary.BigEndian.Uint64(id[:])>>1, false, false
	d.mu.Unlock()
	// Requests outlive ctx for as long as the drain allows.
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	client, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	defer d.clock.AfterFunc(ctx, func() {
		d.noteStop()
		if d.clock.Sleep(client, stopTimeout) == nil {
			abandon()
		}
	})()
	if err := d.describe(ctx); err != nil {
		return err
	}
	s, err := d.open(client, work)
	if err != nil {
		return err
	}
	defer func() {
		d.dropAll()
		d.close(s, client, abandon)
	}()
	// A new epoch ends what an earlier session of this instance left open. Without it the group's offsets stay unstable,
	// and nothing is delivered, until the broker's patience with that transaction ends.
	init, cancel := d.clock.WithTimeout(client, endTimeout)
	defer cancel()
	if err := s.InitProducer(init); err != nil {
		return fmt.Errorf("end what an earlier session left open: %w", err)
	}
	defer d.turned.Store(0)
	for ctx.Err() == nil {
		if err := d.turn(ctx, s); err != nil {
			return err
		}
	}
	return d.wind(ctx, s)
}

// describe learns how many partitions the topics have that are written to.
func (d *Deliverer) describe(ctx context.Context) error {
	ctx, cancel := d.clock.WithTimeout(ctx, endTimeout)
	defer cancel()
	counts := map[string]int32{}
	for _, topic := range []string{schemas.TopicDeliveries, schemas.TopicDeadLetters, schemas.TopicAutomationInbox, schemas.TopicProgress} {
		info, err := d.cluster.Describe(ctx, topic)
		if topic == schemas.TopicProgress && errors.Is(err, kerr.UnknownTopicOrPartition) {
			d.opts.Log.Warn().Str("topic", topic).Msg("the topic is missing: only what fits beside an offset can be unfinished")
			continue
		}
		if err != nil {
			return err
		}
		if info.Count <= 0 {
			return fmt.Errorf("topic %s has no partitions", topic)
		}
		counts[topic] = info.Count
	}
	d.mu.Lock()
	d.counts = counts
	d.mu.Unlock()
	return nil
}

// open joins the group. Between a poll and the end of its admission no partition goes: a record of an old assignment is
// never taken for one of a new.
func (d *Deliverer) open(client, work context.Context) (kafka.Session, error) {
	s, err := d.cluster.Join(kafka.Member{
		Group: d.opts.Group, Topics: []string{schemas.TopicCommands}, TransactionalID: "tillstream-deliver-" + d.opts.Instance,
		HoldRebalance: true, ControlRecords: true, TransactionTimeout: transactionTimeout,
		SessionTimeout: d.opts.session, HeartbeatInterval: d.opts.session / 5,
		Revoked: func(s kafka.Session, parts map[string][]int32) {
			d.drop(parts[schemas.TopicCommands])
			s.Resume(parts) // a pause would outlive the assignment
		},
		Assigned: func(_ kafka.Session, parts map[string][]int32) { d.assigned(parts) },
		Fetched: func(offsets []kafka.Offset) error {
			d.assign(work, offsets)
			return nil
		},
		Heard: d.hear, Life: client, Log: d.opts.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("deliver: %w", err)
	}
	return s, nil
}

// close leaves the group. The client waits for an answer to its farewell for as long as its life lasts.
func (d *Deliverer) close(s kafka.Session, client context.Context, abandon func()) {
	closing, closed := context.WithCancel(client)
	watch := d.clock.NewGroup()
	watch.Go(func() {
		if d.clock.Sleep(closing, closeTimeout) == nil {
			abandon()
		}
	})
	s.Close()
	closed()
	watch.Wait()
}

// assigned notes that the group counts on this member, whether for a partition or not.
func (d *Deliverer) assigned(parts map[string][]int32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range parts[schemas.TopicCommands] {
		if d.windows[p] == nil {
			d.awaited[p] = true
		}
	}
	d.serving()
}

// serving forgets the trouble of a former session as soon as this one has what it was given. Deliverer.mu is held.
func (d *Deliverer) serving() {
	d.joined = true
	if len(d.awaited) == 0 {
		d.trouble = nil
	}
}

// assign opens a window for each partition whose offset was fetched. It admits nothing before its place is proven.
func (d *Deliverer) assign(work context.Context, offsets []kafka.Offset) {
	d.lock()
	stopPoll := d.stopPoll
	// Another owner may have sent what changes them.
	d.answers = newAnswers(answersRememberedMax)
	for _, o := range offsets {
		var known progress
		var err error
		if o.Metadata != "" {
			if known, err = decodeProgress(o.Metadata); err != nil {
				known = progress{}
			}
		}
		w := newWindow(work, schemas.TopicCommands, o.Partition, d.owner, o.At, known)
		if old := d.windows[o.Partition]; old != nil { // lost and come back without a word: its work is another's by now
			d.leave(old)
			old.cancel()
			d.forget()
		}
		w.landed, w.before, w.held = d.clock.NewSignal(), stampOf(o), true
		w.unreadMax = min(unreadMax, d.opts.WindowMax)
		if d.counts[schemas.TopicProgress] > 0 {
			w.payloadMax = recordPayloadMax
		}
		d.windows[o.Partition] = w
		delete(d.awaited, o.Partition)
		switch r := d.refusals[o.Partition]; {
		case errors.Is(err, errNewer):
			d.stall(w, stall{
				reason: ReasonProgressUnreadable, err: fmt.Errorf("offset %d: %w", o.At, err), final: true,
				remedy: "run the version that wrote it",
			})
		case err != nil:
			d.opts.Log.Error().Err(err).Int32("partition", o.Partition).
				Msg("offset was committed by something else: commands from it on are delivered again")
		case r.stall.final && r.before == w.before:
			d.stall(w, r.stall)
		}
	}
	d.serving()
	d.mu.Unlock()
	if stopPoll != nil {
		stopPoll()
	}
}

// byPartition are the windows in the order of their partitions. Deliverer.mu is held.
func (d *Deliverer) byPartition() []*window {
	out := make([]*window, 0, len(d.windows))
	for _, p := range slices.Sorted(maps.Keys(d.windows)) {
		out = append(out, d.windows[p])
	}
	return out
}

// turn is one round: take results, start work, commit, read on.
func (d *Deliverer) turn(ctx context.Context, s kafka.Session) error {
	d.turned.Store(d.clock.Now().UnixNano())
	d.inspect(ctx)
	d.lock()
	d.collect()
	for _, w := range d.byPartition() {
		d.drain(w)
	}
	d.mu.Unlock()
	d.decodeWaiting()
	d.readmit(ctx)
	d.lock()
	d.watchPauses()
	d.catchUp()
	d.dispatch()
	d.readDeferred()
	pending, broken := len(d.outbox) > 0 && !d.now.Before(d.commitAt), d.broken
	d.measure()
	d.mu.Unlock()
	d.launch()
	if broken != nil {
		return broken
	}
	if pending {
		return d.commit(ctx, s)
	}
	return d.poll(ctx, s)
}

// poll reads commands, for as long as nothing else is to be done.
func (d *Deliverer) poll(ctx context.Context, s kafka.Session) error {
	d.throttle(s)
	d.lock()
	wait := d.untilDue()
	d.mu.Unlock()
	pollCtx, stop := d.clock.WithTimeout(ctx, wait)
	defer stop()
	d.mu.Lock()
	if len(d.results) > 0 || d.came() {
		d.mu.Unlock()
		return nil
	}
	d.stopPoll = stop
	d.mu.Unlock()

	fetches := s.Poll(pollCtx, pollMax, true)
	d.lock()
	d.stopPoll = nil
	d.admit(fetches)
	places := d.places()
	d.mu.Unlock()
	if len(places) > 0 {
		s.SetOffsets(places)
	}
	s.AllowRebalance()
	if fetches.IsClientClosed() {
		return kgo.ErrClientClosed
	}
	return d.fetchErrors(ctx, fetches)
}

// untilDue is how long to wait for records: until something is due that time alone makes so. Results and new partitions
// end a poll by themselves. Deliverer.mu is held.
func (d *Deliverer) untilDue() time.Duration {
	wait := pollWaitMax
	at := func(t time.Time) { wait = min(wait, max(pollWaitMin, t.Sub(d.now))) }
	leased := d.leased(d.now)
	if !leased {
		at(d.now.Add(leasePause))
	}
	if len(d.outbox) > 0 {
		at(d.commitAt)
	}
	for _, l := range d.lanes {
		if first := l.asked.Front(); leased && first != nil {
			at(first.Value.(*entry).deadline)
		}
		switch { // what is due already waits for something else than time
		case !leased:
		case len(l.queues) > 0 && (l.withheld > 0 || d.pausedAt(l.name)):
			at(d.now.Add(pausePatience))
		case l.hold.After(d.now):
			at(l.hold)
		case len(l.waiting) > 0 && l.waiting[0].wake.After(d.now):
			at(l.waiting[0].wake)
		}
	}
	for _, w := range d.windows {
		if w.dropped {
			continue
		}
		at(w.inspectAt)
		for _, s := range w.shares {
			if s.retryAt.After(d.now) {
				at(s.retryAt)
			}
		}
	}
	if len(d.undecoded) > 0 {
		for _, t := range d.notAsked {
			at(t)
		}
	}
	return wait
}

// throttle pauses the fetching of full windows, and resumes the others.
func (d *Deliverer) throttle(s kafka.Session) {
	var changed []*window
	d.mu.Lock()
	for _, w := range d.byPartition() {
		if full := w.held || w.dropped || w.full(); full != w.paused {
			w.paused = full
			changed = append(changed, w)
		}
	}
	d.mu.Unlock()
	for _, w := range changed {
		part := map[string][]int32{w.topic: {w.partition}}
		if w.paused {
			s.Pause(part)
		}
		d.mu.Lock()
		gone := d.windows[w.partition] != w
		d.mu.Unlock()
		if !w.paused || gone { // a partition that went meanwhile must not stay paused for its return
			s.Resume(part)
		}
	}
}

// admit takes fetched records into their windows. What has no room is kept aside: at most one poll's worth, because the
// partition is paused until it is used up.
func (d *Deliverer) admit(fetches kgo.Fetches) {
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		w := d.windows[f.Partition]
		if w == nil || w.dropped || f.Topic != schemas.TopicCommands {
			return
		}
		for _, r := range f.Records {
			if r.Offset < min(w.floor, w.next) && !d.misplaced {
				d.rewound(w, r.Offset)
				return
			}
			// After a transaction that nobody vouches for, the client reads again what it read before.
			if n := len(w.spill); n == 0 || r.Offset > w.spill[n-1].Offset {
				w.spill = append(w.spill, r)
			}
		}
		d.drain(w)
	})
}

// places are where the client is to go on after it went back to what it knows to be committed: it knows less than the
// broker where a transaction happened that it did not vouch for. Only between a poll and AllowRebalance do they hold
// good: the place of a window that went would skip what its next owner left. Deliverer.mu is held.
func (d *Deliverer) places() (out []kafka.Offset) {
	if !d.misplaced {
		return nil
	}
	d.misplaced = false
	for _, w := range d.byPartition() {
		at := w.next
		if n := len(w.spill); n > 0 {
			at = max(at, w.spill[n-1].Offset+1)
		}
		if at >= 0 && !w.dropped {
			out = append(out, kafka.Offset{Topic: w.topic, TopicID: w.topicID, Partition: w.partition, At: at})
		}
	}
	return out
}

// drain admits what was kept aside, as far as there is room.
func (d *Deliverer) drain(w *window) {
	if w.held || w.dropped {
		return
	}
	for len(w.spill) > 0 {
		r := w.spill[0]
		if r.Attrs.IsControl() {
			w.spill = w.spill[1:]
			w.pass(r.Offset)
			continue
		}
		if r.Offset >= w.next && !w.room(r.Offset, len(r.Value)) {
			return
		}
		w.spill = w.spill[1:]
		if e := w.admit(r.Offset); e != nil {
			e.take(r)
			w.unread++
			w.unreadBytes += int64(len(e.value))
			d.undecoded = append(d.undecoded, e)
		}
	}
	w.spill = nil
}
