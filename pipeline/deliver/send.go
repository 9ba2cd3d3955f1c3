package deliver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// lane returns the destination's lane, with a writer that always waits where the configuration has none.
func (d *Deliverer) lane(destination string) *lane {
	l := d.lanes[destination]
	if l == nil {
		l = newLane(destination, missing{destination})
		d.lanes[destination] = l
	}
	return l
}

// contactKey is what one request at a time is kept for.
func contactKey(e *entry) string {
	if e.cmd.ContactKey != "" {
		return e.cmd.ContactKey
	}
	if email := schemas.NormalizeEmail(e.cmd.Contact.Email); email != "" {
		return "email:" + email
	}
	return "command:" + e.cmd.CommandID
}

// enqueue puts a decoded entry into its lane, unless it is already clear what becomes of it.
func (d *Deliverer) enqueue(e *entry) {
	l, key := d.lane(e.cmd.Destination), contactKey(e)
	v, known := l.seen.get(key)
	switch {
	case e.cmd.Kind == schemas.CommandContact && known && e.cmd.Version < v.sent:
		// A newer state was sent before: this one must not overwrite it.
		d.final(e, schemas.OutcomeSuperseded, result{entry: e, started: d.now})
		return
	case e.cmd.Kind == schemas.CommandContact && known && v.refused:
		l.seen.set(key, v.sent, false)
	case e.isQuestion():
		if e.asked == nil {
			d.deadlined(l, e)
		}
	case e.cmd.Kind != schemas.CommandContact && known && v.refused && e.intent == noIntent && !l.queues[key].hasContact():
		d.refuseEffect(e)
		return
	}
	if e.unsure && e.nextTry.IsZero() {
		// An earlier owner may have sent it a moment ago.
		e.nextTry = d.now.Add(d.opts.Settle)
	}
	d.merge(l.add(key, e), e)
}

// dispatch decides what may start: intents go into the outbox, requests into starts, for launch. Deliverer.mu is held.
func (d *Deliverer) dispatch() {
	if d.closing {
		return
	}
	now := d.now
	if !d.leased(now) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(d.lanes)) {
		d.dispatchLane(d.lanes[name], now)
	}
}

func (d *Deliverer) dispatchLane(l *lane, now time.Time) {
	l.due(now)
	d.overdue(l)
	if l.hold.After(now) || d.pausedAt(l.name) {
		return
	}
	if l.reason == "asked" {
		d.recovered(l)
	}
	heldBack := d.heldBack
	parallel := d.opts.Parallel
	if l.probing {
		parallel = 1
	}
	var batch []*entry
	send := func() {
		if len(batch) > 0 {
			d.start(l, batch, false)
			batch = nil
		}
	}
	// Intents are ahead of requests, but only so far that a crash leaves few to be asked about.
	for l.ready.len() > 0 && l.slots+l.intents < parallel {
		if !l.probing && d.dispatchBulk(l, now) {
			continue
		}
		q := l.ready.pop()
		q.queued = false
		q.remove()
		s := q.next(now, heldBack)
		q.withhold(s.withheld)
		if s.park != nil {
			s.park.park(q)
		}
		switch {
		case s.send != nil && s.send.isQuestion() && d.known(l, s.send):
			l.touch(q)
		case s.send != nil:
			q.takeOff(s.send, true)
			if s.send.unsure || s.send.isQuestion() {
				d.start(l, []*entry{s.send}, false)
				break
			}
			if batch = append(batch, s.send); len(batch) >= d.opts.BatchMax {
				send()
			}
		case s.intend != nil:
			l.intents++
			s.intend.win.intend(s.intend)
			d.emit(s.intend, schemas.OutcomeIntent, result{entry: s.intend, started: now})
		case !s.wake.IsZero():
			l.wait(q, s.wake)
		}
	}
	send()
}

// flight is one call of a writer.
type flight struct {
	lane   *lane
	batch  []*entry
	unsure bool
	bulk   bool
}

// calls are what the writer gets in one call each. Before each the lease is looked at: the process may have been paused.
func (f flight) calls() (parts [][]*entry) {
	if f.bulk {
		return [][]*entry{f.batch}
	}
	for i := range f.batch {
		parts = append(parts, f.batch[i:i+1])
	}
	return parts
}

// start makes a flight of a batch. Its windows wait for it before they go, from now on. Deliverer.mu is held.
func (d *Deliverer) start(l *lane, batch []*entry, bulk bool) {
	for _, e := range batch {
		e.win.flying++
		if !e.isQuestion() {
			d.answers.forget(d.account(l.name), e.cmd.Contact.Email, d.now)
		}
	}
	d.metrics.inFlight.WithLabelValues(l.name).Add(float64(len(batch)))
	d.starts = append(d.starts, flight{l, batch, batch[0].unsure, bulk})
}

// launch lets the flights go that were decided upon.
func (d *Deliverer) launch() {
	for _, f := range d.leaving() {
		d.flights.Go(func() { d.fly(f) })
	}
}

// leaving takes the flights that were decided upon, and lets the readings go.
func (d *Deliverer) leaving() []flight {
	d.mu.Lock()
	starts, rereads := d.starts, d.rereads
	d.starts, d.rereads = nil, nil
	d.mu.Unlock()
	for _, read := range rereads {
		d.flights.Go(read)
	}
	return starts
}

// fly calls the writer, and goes on with what may start when that is done: a stack that has grown to what a request
// takes serves the next one too.
func (d *Deliverer) fly(f flight) {
	for {
		d.flyOne(f)
		starts := d.leaving()
		if len(starts) == 0 {
			return
		}
		f = starts[0]
		for _, other := range starts[1:] {
			d.flights.Go(func() { d.fly(other) })
		}
	}
}

// flyOne calls the writer and hands in its results.
func (d *Deliverer) flyOne(f flight) {
	// Batches hold entries of one partition as a rule; a cut of any one of them cuts the batch.
	ctx, cancel := context.WithCancel(f.batch[0].win.ctx)
	var stops []func()
	for _, e := range f.batch[1:] {
		if e.win != f.batch[0].win {
			stops = append(stops, d.clock.AfterFunc(e.win.ctx, cancel))
		}
	}
	var results []result
	for _, part := range f.calls() {
		results = append(results, d.write(ctx, f.lane.writer, part, f.unsure)...)
	}
	for _, stop := range stops {
		stop()
	}
	cancel()
	d.metrics.inFlight.WithLabelValues(f.lane.name).Sub(float64(len(f.batch)))
	d.lock()
	d.results = append(d.results, results...)
	if d.broken == nil {
		// The place is taken at once: while a transaction commits, no round comes by that would do it.
		d.collect()
		d.dispatch()
	}
	var landed []*window
	for _, e := range f.batch {
		if e.win.flying--; e.win.flying == 0 {
			landed = append(landed, e.win)
		}
	}
	stopPoll := d.stopPoll
	d.mu.Unlock()
	if stopPoll != nil {
		stopPoll()
	}
	for _, w := range landed {
		w.landed.Notify()
	}
}

// write asks first where an effect may have been sent, and sends where that did not happen. A process may have been
// paused since it was decided upon, so the lease is looked at once more before each request.
func (d *Deliverer) write(ctx context.Context, w sinks.Writer, batch []*entry, unsure bool) []result {
	if batch[0].isQuestion() {
		return []result{d.ask(ctx, w, batch[0])}
	}
	cmds, err := d.wholes(batch)
	started := d.clock.Now()
	if err != nil || !d.leased(started) {
		return unsent(batch, err)
	}
	ctx, span := follow(ctx, batch[0])
	defer span.End()
	var before []schemas.Exchange
	if unsure {
		if err := d.recall(ctx, w, batch[0], &cmds[0]); err != nil {
			return unsent(batch, err)
		}
		o := guard(func() []sinks.Outcome { return []sinks.Outcome{w.Reconcile(ctx, cmds[0])} }, batch[:1], sinks.Retryable)[0]
		if o.Kind != sinks.NotHappened {
			return []result{{entry: batch[0], outcome: o, started: started, reconciled: true}}
		}
		before = o.Exchanges
		if !d.leased(d.clock.Now()) {
			return unsent(batch, nil)
		}
	}
	outcomes := guard(func() []sinks.Outcome { return w.Write(ctx, cmds) }, batch, sinks.Unknown)
	out := make([]result, len(batch))
	for i, e := range batch {
		outcomes[i].Exchanges = append(before, outcomes[i].Exchanges...)
		out[i] = result{entry: e, outcome: outcomes[i], started: started}
	}
	return out
}

// wholes are the commands of a batch as they were made.
func (d *Deliverer) wholes(batch []*entry) ([]schemas.Command, error) {
	cmds := make([]schemas.Command, len(batch))
	for i, e := range batch {
		cmd, err := d.whole(e)
		if err != nil {
			return nil, fmt.Errorf("decode a command once more: %w", err)
		}
		cmds[i] = *cmd
	}
	return cmds, nil
}

// unsent are the results of what did not leave: the lease had run out, or, with an error, it could not be read.
func unsent(batch []*entry, err error) (out []result) {
	for _, e := range batch {
		out = append(out, result{entry: e, unsent: true, outcome: sinks.Outcome{Err: err}})
	}
	return out
}

// guard calls a writer and makes one outcome per command of whatever comes back, a panic included.
func guard(call func() []sinks.Outcome, batch []*entry, without sinks.OutcomeKind) (out []sinks.Outcome) {
	defer func() {
		if p := recover(); p != nil {
			out = nil
			for range batch {
				out = append(out, sinks.Outcome{Kind: without, Err: fmt.Errorf("writer panicked: %T", p), Remedy: "report this as a bug"})
			}
		}
	}()
	out = call()
	for i := range out {
		if out[i].Kind == 0 {
			out[i].Kind = without
		}
	}
	for len(out) < len(batch) {
		out = append(out, sinks.Outcome{Kind: without, Err: errors.New("writer gave no outcome"), Remedy: "report this as a bug"})
	}
	return out
}

// collect judges what came back since the last time. Deliverer.mu is held.
func (d *Deliverer) collect() {
	results := d.results
	d.results = nil
	for _, r := range results {
		l := d.lane(r.entry.cmd.Destination)
		l.flying--
		if r.entry.slot {
			r.entry.slot = false
			l.slots--
		}
		q := l.queues[contactKey(r.entry)]
		if q != nil {
			q.flying = false
		}
		if r.unsent {
			r.entry.flying = false
			if r.outcome.Err != nil {
				r.entry.nextTry = d.now.Add(d.opts.RetryBase)
			}
		} else if !r.entry.win.dropped {
			if r.entry.unsure && !r.reconciled {
				// It was asked, had not happened, and was sent.
				r.entry.unsure = false
			}
			d.judge(r)
		}
		if q != nil {
			q.remove()
			if len(q.entries) > 0 {
				l.touch(q)
			}
		}
	}
}

// missing stands in for a writer that the configuration does not have (any more, or yet).
type missing struct{ name string }

func (m missing) Write(_ context.Context, batch []schemas.Command) []sinks.Outcome {
	out := make([]sinks.Outcome, len(batch))
	for i := range out {
		out[i] = m.outcome()
	}
	return out
}

// Standing implements sinks.ListReader: the destination may come yet.
func (m missing) Standing(context.Context, string, string) (schemas.Standing, sinks.Outcome) {
	return schemas.StandingUnknown, m.outcome()
}

// Reconcile implements sinks.Writer.
func (m missing) Reconcile(context.Context, schemas.Command) sinks.Outcome { return m.outcome() }

func (m missing) outcome() sinks.Outcome {
	return sinks.Outcome{
		Kind: sinks.Retryable, RetryAfter: missingWriterPause, Err: fmt.Errorf("destination %s is not in the configuration", m.name),
		Remedy: "add the destination to the configuration, or discard its commands",
	}
}

func (m missing) Check(context.Context) []sinks.Finding { return nil }
func (m missing) Close() error                          { return nil }
