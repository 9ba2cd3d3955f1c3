package deliver

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/tillstream/tillstream/pipeline/kafka"
)

// drop forgets partitions that go to another owner. What is in flight gets a moment to end, because the next owner asks
// about effects: it must not ask before they are through.
func (d *Deliverer) drop(parts []int32) {
	d.lock()
	now := d.now
	var gone []*window
	for _, p := range parts {
		delete(d.awaited, p)
		if w := d.windows[p]; w != nil {
			d.leave(w)
			delete(d.windows, p)
			d.metrics.forgetWindow(p)
			d.landing = append(d.landing, w)
		}
	}
	// A revocation may come while the end of the session drops the same partitions: the group gives them to another as
	// soon as it returns, so it too waits for what is in flight.
	for _, w := range d.landing {
		if slices.Contains(parts, w.partition) {
			gone = append(gone, w)
		}
	}
	d.forget()
	deadline := d.drainUntil(now)
	d.mu.Unlock()
	d.land(gone, deadline.Sub(now))
	d.mu.Lock()
	d.landing = slices.DeleteFunc(d.landing, func(w *window) bool { return slices.Contains(gone, w) })
	d.mu.Unlock()
}

// land ends windows: requests get a time to end by themselves, then they are cut. Nothing new must be able to start.
// It must not be called with Deliverer.mu held.
func (d *Deliverer) land(windows []*window, patience time.Duration) {
	ctx, cancel := d.clock.WithTimeout(context.Background(), max(0, patience))
	defer cancel()
	for _, w := range windows {
		_ = d.awaitLanding(ctx, w)
		w.cancel()
	}
	for _, w := range windows {
		_ = d.awaitLanding(context.Background(), w)
	}
}

// awaitLanding waits until no request of w is in flight, or for the end of ctx, whose error it returns.
func (d *Deliverer) awaitLanding(ctx context.Context, w *window) error {
	for {
		d.mu.Lock()
		flying := w.flying
		d.mu.Unlock()
		if flying == 0 {
			w.landed.Notify() // a revocation and the end of the session may both wait
			return nil
		}
		if err := w.landed.Wait(ctx); err != nil {
			return err
		}
	}
}

// noteStop notes when the process was told to end.
func (d *Deliverer) noteStop() {
	d.lock()
	defer d.mu.Unlock()
	if d.stopping.IsZero() {
		d.stopping = d.now
	}
}

// drainUntil is when requests in flight are cut, for all partitions together. Deliverer.mu is held.
func (d *Deliverer) drainUntil(now time.Time) time.Time {
	if d.stopping.IsZero() {
		return now.Add(drainTimeout)
	}
	return d.stopping.Add(stopDrainTimeout)
}

func (d *Deliverer) dropAll() {
	d.mu.Lock()
	all := slices.Sorted(maps.Keys(d.windows))
	d.mu.Unlock()
	d.drop(all)
	d.lock()
	d.collect()
	d.outbox, d.rereads = nil, nil
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
		for _, key := range slices.Sorted(maps.Keys(l.queues)) {
			l.queues[key].remove()
		}
	}
}

// wind ends a session in order: nothing new starts, what is in flight may end, and its receipts are committed.
func (d *Deliverer) wind(ended context.Context, s kafka.Session) error {
	d.noteStop()
	d.lock()
	now := d.now
	d.closing = true
	all, deadline := d.byPartition(), d.drainUntil(now)
	d.mu.Unlock()
	d.land(all, deadline.Sub(now))
	d.lock()
	d.collect()
	pending, broken := len(d.outbox) > 0, d.broken
	d.mu.Unlock()
	if !pending || broken != nil {
		return broken
	}
	return d.commit(ended, s)
}
