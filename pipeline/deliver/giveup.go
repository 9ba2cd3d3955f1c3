package deliver

import (
	"slices"
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// A contact that meets nothing but trouble, while newer states of it keep coming, always has a young state to be sent.
// So the older ones, for which it stands, have their own time: each failure counts for all of them.

// statesShare is the part of a window, one in so many, that the states of one contact may take before those that others
// replace are let go of.
const statesShare = 10

func (d *Deliverer) statesMax() int { return max(2, d.opts.WindowMax/statesShare) }

// expired reports whether e has been tried for long enough.
func (d *Deliverer) expired(e *entry, now time.Time) bool {
	return e.failures >= failuresBeforeGiveUp && !d.heldBack(e.connection) && now.Sub(d.since(e)) > d.opts.RetryFor
}

// failedFor counts a failure of e for the states that it stands for. Those whose time is over are given up; where too
// many wait, the oldest that no effect is to follow are superseded by those after them.
func (d *Deliverer) failedFor(e *entry, l *lane, r result, now time.Time) {
	q := l.queues[contactKey(e)]
	if e.cmd.Kind != schemas.CommandContact || q == nil {
		return
	}
	older := make([]*entry, 0, len(q.entries))
	for _, o := range q.entries {
		if o != e && !o.done && !o.win.dropped && o.cmd.Kind == schemas.CommandContact && o.cmd.Version <= e.cmd.Version {
			o.failures++
			older = append(older, o)
		}
	}
	waiting := len(older) + 1
	for _, o := range older {
		if !o.done && d.expired(o, now) {
			d.deadLetter(o, schemas.CauseGaveUp, result{entry: o, started: r.started, outcome: sinks.Outcome{Err: r.outcome.Err, Remedy: r.outcome.Remedy}})
			d.refused(o, r)
		}
		if o.done {
			waiting--
		}
	}
	if waiting > d.statesMax() {
		d.thin(q, waiting-d.statesMax())
	}
}

// thin supersedes up to n states of q by the one right after each, which is then as old as the one it replaces: it must
// not be young for ever. Where an effect follows it, it keeps its own time, which is the effect's too.
func (d *Deliverer) thin(q *queue, n int) {
	open := make([]*entry, 0, len(q.entries))
	for _, e := range q.entries {
		if !e.done && !e.win.dropped {
			open = append(open, e)
		}
	}
	isState := func(i int) bool { return i >= len(open) || open[i].cmd.Kind == schemas.CommandContact }
	for i := 0; i+1 < len(open) && n > 0; i++ {
		o, next := open[i], open[i+1]
		if !isState(i) || !isState(i+1) || o.flying || o.cmd.Version > next.cmd.Version {
			continue
		}
		d.replace(o, next, isState(i+2))
		n--
	}
}

// merge supersedes the state right before e, which has just come, if e is a state too: however many changes wait for
// one contact, they are one. What a person holds back takes nothing with it that he does not.
func (d *Deliverer) merge(q *queue, e *entry) {
	at := slices.Index(q.entries, e)
	if e.cmd.Kind != schemas.CommandContact {
		return
	}
	for at--; at >= 0 && (q.entries[at].done || q.entries[at].win.dropped); at-- {
	}
	if at < 0 {
		return
	}
	o := q.entries[at]
	if o.cmd.Kind != schemas.CommandContact || o.flying || o.cmd.Version > e.cmd.Version || d.heldBack(e.connection) && !d.heldBack(o.connection) {
		return
	}
	d.replace(o, e, true)
	q.entries = slices.Delete(q.entries, at, at+1)
}

// replace ends a state by a newer one. ages: the newer one is as old as it from now on.
func (d *Deliverer) replace(o, next *entry, ages bool) {
	if ages && o.at.Before(next.at) {
		next.at, next.failures = o.at, max(next.failures, o.failures)
	}
	d.final(o, schemas.OutcomeSuperseded, result{entry: o, started: d.now})
}
