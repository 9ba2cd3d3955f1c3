package deliver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/sinks"
)

// errUnsettled ends a session whose transaction left the broker in a state that is neither before nor after it.
var errUnsettled = errors.New("the outcome of a transaction could not be settled")

// session is one membership in the group, from joining to leaving.
func (d *Deliverer) session(ctx context.Context) error {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return fmt.Errorf("owner id: %w", err)
	}
	d.mu.Lock()
	d.broken = nil
	d.owner, d.closing, d.joined = binary.BigEndian.Uint64(id[:])>>1, false, false
	d.mu.Unlock()
	// Requests outlive ctx for as long as the drain allows.
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	client, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	defer context.AfterFunc(ctx, func() {
		d.mu.Lock()
		d.noteStop()
		d.mu.Unlock()
		time.AfterFunc(stopTimeout, abandon)
	})()
	s, err := d.open(client, work)
	if err != nil {
		return err
	}
	defer func() {
		d.dropAll()
		// The client waits for an answer to its farewell for as long as its context lasts.
		t := time.AfterFunc(closeTimeout, abandon)
		defer t.Stop()
		s.CloseAllowingRebalance()
	}()
	// A new epoch ends what an earlier session of this instance left open. Without it the group's offsets stay unstable,
	// and nothing is delivered, until the broker's patience with that transaction ends.
	init, cancel := context.WithTimeout(client, endTimeout)
	defer cancel()
	if _, _, err := s.Client().ProducerID(init); err != nil {
		return fmt.Errorf("end what an earlier session left open: %w", err)
	}
	for ctx.Err() == nil {
		if err := d.turn(ctx, s); err != nil {
			return err
		}
	}
	return d.wind(ctx, s)
}

func (d *Deliverer) open(client, work context.Context) (*kgo.GroupTransactSession, error) {
	gone := func(_ context.Context, cl *kgo.Client, parts map[string][]int32) {
		d.drop(parts[schemas.TopicCommands])
		cl.ResumeFetchPartitions(parts) // a pause would outlive the assignment
	}
	opts, err := d.opts.Kafka.Opts(
		kgo.WithContext(client),
		kgo.ConsumerGroup(d.opts.Group),
		kgo.ConsumeTopics(schemas.TopicCommands),
		kgo.TransactionalID("tillstream-deliver-"+d.opts.Instance),
		kgo.TransactionTimeout(transactionTimeout),
		kgo.SessionTimeout(d.opts.session),
		kgo.HeartbeatInterval(d.opts.session/5),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		// Between a poll and the end of its admission no partition goes: a record of an old assignment is never taken
		// for one of a new.
		kgo.BlockRebalanceOnPoll(),
		kgo.WithHooks(leaseHook{d}),
		kgo.OnPartitionsRevoked(gone),
		kgo.OnPartitionsLost(gone),
		kgo.OnOffsetsFetched(func(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
			d.assign(work, resp)
			return nil
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("deliver: %w", err)
	}
	s, err := kgo.NewGroupTransactSession(opts...)
	if err != nil {
		return nil, fmt.Errorf("deliver: join group %s: %w", d.opts.Group, err)
	}
	return s, nil
}

// assign opens a window for each partition whose offset was fetched.
func (d *Deliverer) assign(work context.Context, resp *kmsg.OffsetFetchResponse) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 {
					continue
				}
				var known progress
				if p.Metadata != nil && *p.Metadata != "" {
					var err error
					if known, err = decodeProgress(*p.Metadata); err != nil {
						d.opts.Log.Error().Err(err).Int32("partition", p.Partition).
							Msg("offset was committed by something else: commands from it on are delivered again")
						known = progress{}
					}
				}
				w := newWindow(work, schemas.TopicCommands, p.Partition, d.owner, p.Offset, known)
				w.before = fmt.Sprint(p.Offset, "/", text(p.Metadata))
				d.windows[p.Partition] = w
			}
		}
	}
	d.joined, d.trouble = true, nil
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// drop forgets partitions that go to another owner. What is in flight gets a moment to end, because the next owner asks
// about effects: it must not ask before they are through.
func (d *Deliverer) drop(parts []int32) {
	d.mu.Lock()
	var gone []*window
	for _, p := range parts {
		if w := d.windows[p]; w != nil {
			w.dropped = true
			gone = append(gone, w)
			delete(d.windows, p)
		}
	}
	d.forget()
	deadline := d.drainUntil()
	d.mu.Unlock()
	for _, w := range gone {
		w.drop(time.Until(deadline))
	}
}

// noteStop notes when the process was told to end. Deliverer.mu is held.
func (d *Deliverer) noteStop() {
	if d.stopping.IsZero() {
		d.stopping = time.Now()
	}
}

// drainUntil is when requests in flight are cut, for all partitions together. Deliverer.mu is held.
func (d *Deliverer) drainUntil() time.Time {
	if d.stopping.IsZero() {
		return time.Now().Add(drainTimeout)
	}
	return d.stopping.Add(stopDrainTimeout)
}

func (d *Deliverer) dropAll() {
	d.mu.Lock()
	var all []int32
	for p := range d.windows {
		all = append(all, p)
	}
	d.mu.Unlock()
	d.drop(all)
	d.mu.Lock()
	d.collect()
	d.outbox = nil
	for _, l := range d.lanes {
		l.intents = 0
	}
	d.mu.Unlock()
}

// forget takes what belongs to dropped windows out of every list. Deliverer.mu is held.
func (d *Deliverer) forget() {
	kept := d.outbox[:0]
	for _, o := range d.outbox {
		if !o.win.dropped {
			kept = append(kept, o)
		} else if o.intent {
			d.lane(o.entry.cmd.Destination).intents--
		}
	}
	d.outbox = kept
	var undecoded []*entry
	for _, e := range d.undecoded {
		if !e.win.dropped {
			undecoded = append(undecoded, e)
		}
	}
	d.undecoded = undecoded
	for _, l := range d.lanes {
		for _, q := range l.queues {
			q.remove()
		}
	}
}

// turn is one round: take results, start work, commit, read on.
func (d *Deliverer) turn(ctx context.Context, s *kgo.GroupTransactSession) error {
	d.mu.Lock()
	d.collect()
	d.decodeAgain()
	for _, w := range d.windows {
		d.drain(w)
	}
	d.dispatch()
	pending, broken := len(d.outbox) > 0, d.broken
	d.measure()
	d.mu.Unlock()
	if broken != nil {
		return broken
	}
	if pending {
		return d.commit(ctx, s)
	}
	return d.poll(ctx, s)
}

// poll reads commands, for as long as nothing else is to be done.
func (d *Deliverer) poll(ctx context.Context, s *kgo.GroupTransactSession) error {
	d.mu.Lock()
	wait := idlePoll
	if d.busy() {
		wait = busyPoll
	}
	pollCtx, stop := context.WithTimeout(ctx, wait)
	defer stop()
	if len(d.results) > 0 {
		d.mu.Unlock()
		return nil
	}
	d.stopPoll = stop
	d.throttle(s.Client())
	d.mu.Unlock()

	fetches := s.PollRecords(pollCtx, pollMax)
	d.mu.Lock()
	d.stopPoll = nil
	d.admit(fetches)
	d.mu.Unlock()
	s.AllowRebalance()
	if fetches.IsClientClosed() {
		return kgo.ErrClientClosed
	}
	var fatal error
	fetches.EachError(func(topic string, p int32, err error) {
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return
		}
		fatal = fmt.Errorf("read %s-%d: %w", topic, p, err)
	})
	return fatal
}

// busy reports whether anything waits that time alone can make due.
func (d *Deliverer) busy() bool {
	for _, w := range d.windows {
		if w.open > 0 {
			return true
		}
	}
	return false
}

// throttle pauses the fetching of full windows, and resumes the others.
func (d *Deliverer) throttle(cl *kgo.Client) {
	for p, w := range d.windows {
		full := len(w.spill) > 0 || !w.room(w.next, 0, d.opts.WindowMax)
		if full == w.paused {
			continue
		}
		w.paused = full
		part := map[string][]int32{schemas.TopicCommands: {p}}
		if full {
			cl.PauseFetchPartitions(part)
		} else {
			cl.ResumeFetchPartitions(part)
		}
	}
}

// admit takes fetched records into their windows. What has no room is kept aside: at most one poll's worth, because the
// partition is paused until it is used up.
func (d *Deliverer) admit(fetches kgo.Fetches) {
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		w := d.windows[f.Partition]
		if w == nil || f.Topic != schemas.TopicCommands {
			return
		}
		for _, r := range f.Records {
			// After an aborted transaction the client reads again what it read before.
			if n := len(w.spill); n == 0 || r.Offset > w.spill[n-1].Offset {
				w.spill = append(w.spill, r)
			}
		}
		d.drain(w)
	})
}

// drain admits what was kept aside, as far as there is room.
func (d *Deliverer) drain(w *window) {
	for len(w.spill) > 0 {
		r := w.spill[0]
		if r.Offset >= w.next && !w.room(r.Offset, len(r.Value), d.opts.WindowMax) {
			return
		}
		w.spill = w.spill[1:]
		if e := w.admit(r.Offset); e != nil {
			e.key, e.value, e.at, e.trace = r.Key, r.Value, r.Timestamp, traceOf(r)
			w.bytes += int64(len(r.Value))
			d.decode(e)
		}
	}
	w.spill = nil
}

// decode reads an entry's command. What is none goes to the dead letters; without the registry it is tried again.
func (d *Deliverer) decode(e *entry) {
	rec, err := d.opts.Codec.Decode(e.value)
	if errors.Is(err, codec.ErrUnavailable) {
		e.nextTry = d.opts.Now().Add(d.opts.RetryBase)
		d.undecoded = append(d.undecoded, e)
		return
	}
	cmd, ok := rec.(*schemas.Command)
	if err == nil && !ok {
		err = fmt.Errorf("the record is a %T, not a Command", rec)
	}
	if err != nil {
		d.deadLetter(e, schemas.CauseUndecodable, result{entry: e, outcome: sinks.Outcome{
			Err: fmt.Errorf("command cannot be read: %w", err), Remedy: "see which program wrote it; replay it from a version that knows its schema",
		}})
		return
	}
	e.cmd = cmd
	if !cmd.At.IsZero() {
		e.at = cmd.At
	}
	d.enqueue(e)
}

func (d *Deliverer) decodeAgain() {
	now := d.opts.Now()
	list := d.undecoded
	d.undecoded = nil
	for _, e := range list {
		if e.nextTry.After(now) {
			d.undecoded = append(d.undecoded, e)
			continue
		}
		d.decode(e)
	}
}

// wind ends a session in order: nothing new starts, what is in flight may end, and its receipts are committed.
func (d *Deliverer) wind(ended context.Context, s *kgo.GroupTransactSession) error {
	d.mu.Lock()
	d.closing = true
	var all []*window
	for _, w := range d.windows {
		all = append(all, w)
	}
	d.noteStop()
	deadline := d.drainUntil()
	d.mu.Unlock()
	for _, w := range all {
		w.drop(time.Until(deadline))
	}
	d.mu.Lock()
	d.collect()
	pending, broken := len(d.outbox) > 0, d.broken
	d.mu.Unlock()
	if !pending || broken != nil {
		return broken
	}
	return d.commit(ended, s)
}

// commit writes the outbox and the progress of every partition in one transaction.
func (d *Deliverer) commit(ctx context.Context, s *kgo.GroupTransactSession) error {
	d.mu.Lock()
	batch, plan, err := d.plan()
	d.mu.Unlock()
	if err != nil || len(batch) == 0 {
		return err
	}
	if err := s.Begin(); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	// The end of a transaction is not cut short by the end of the process: its outcome would be unknown.
	endCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	first := kgo.AbortingFirstErrPromise(s.Client())
	for _, o := range batch {
		r := *o.record
		s.Produce(endCtx, &r, first.Promise())
	}
	produceErr := first.Err()
	committed, err := s.End(kgo.PreTxnCommitFnContext(endCtx, plan.request), kgo.TransactionEndTry(produceErr == nil))
	if err != nil {
		return errors.Join(fmt.Errorf("end transaction: %w", err), produceErr)
	}
	if !committed {
		if committed, err = d.settle(endCtx, s, plan); err != nil {
			return errors.Join(err, produceErr)
		}
		d.metrics.aborts.Inc()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if committed {
		d.trouble = nil
		d.applied(batch, plan)
		return nil
	}
	// Nothing was written: the same goes into the next transaction.
	d.outbox = append(batch, d.outbox...)
	d.forget()
	return produceErr
}

// settle asks the broker what became of a transaction that the client does not vouch for.
func (d *Deliverer) settle(ctx context.Context, s *kgo.GroupTransactSession, plan *plan) (committed bool, err error) {
	adm := kadm.NewClient(s.Client())
	for ctx.Err() == nil {
		resp, err := adm.FetchOffsetsForTopics(kadm.RequireStable(ctx), d.opts.Group, schemas.TopicCommands)
		if err != nil {
			return false, fmt.Errorf("%w: %w", errUnsettled, err)
		}
		before, after, unstable := 0, 0, false
		for _, row := range plan.rows {
			d.mu.Lock()
			gone := row.win.dropped
			d.mu.Unlock()
			if gone {
				continue
			}
			o, ok := resp.Lookup(schemas.TopicCommands, row.win.partition)
			if ok && errors.Is(o.Err, kerr.UnstableOffsetCommit) {
				unstable = true
				continue
			}
			switch stamp := fmt.Sprint(o.At, "/", o.Metadata); {
			case !ok || o.Err != nil:
				return false, fmt.Errorf("%w: partition %d: %w", errUnsettled, row.win.partition, o.Err)
			case stamp == row.stamp():
				after++
			case stamp == row.win.before:
				before++
			default:
				return false, fmt.Errorf("%w: partition %d was committed by another owner", errUnsettled, row.win.partition)
			}
		}
		if unstable {
			select {
			case <-ctx.Done():
			case <-time.After(busyPoll):
			}
			continue
		}
		if before > 0 && after > 0 {
			return false, errUnsettled
		}
		return after > 0, nil
	}
	return false, fmt.Errorf("%w: %w", errUnsettled, ctx.Err())
}
