package deliver

import "time"

// A desired state may be sent twice, but no older one after a newer one. An earlier owner may have sent whatever the log
// held when the partition went, and has said nothing of what it did since its last transaction. So a new owner reads up
// to where the log ended at its assignment before it sends a state; whatever it then sends for a contact is the newest
// of what an earlier owner can have sent, or newer. Effects need not wait: each of them is asked about by itself.
//
// Where a destination's share is full before that, it holds all that an earlier owner can have sent (see share), and its
// states may be sent. Only where the progress itself has no room for more, or this process less memory than the one
// before, the promise is kept for each contact by no more than what its owner remembers itself.

// catchUpPatience is how long nothing may come below where the log ended, before what is missing is taken for a
// transaction that nobody ends: earlier owners can't have read past it either. It is longer than any transaction of
// ours may last.
const catchUpPatience = 2 * time.Minute

// catchUp decides, for each partition taken over, whether its states may be sent by now. Deliverer.mu is held.
func (d *Deliverer) catchUp() {
	for _, w := range d.byPartition() {
		if w.caughtUp || w.dropped || !w.proven {
			continue
		}
		if w.next > w.readTo {
			w.readTo, w.readAt = w.next, d.now
		}
		read := w.next >= w.mark && !d.unknownBelow(w, w.mark)
		late := !read && d.now.Sub(w.readAt) >= d.opts.catchUp
		if late {
			d.opts.Log.Warn().Int32("partition", w.partition).Int64("read", w.next).Int64("end", w.mark).Dur("waited", d.opts.catchUp).
				Msg("commands below the end of the log at the takeover did not come: an open transaction, or a schema registry that does not answer; contact states are sent without them")
		}
		w.caughtUp = read || late
		w.states = w.caughtUp || w.stuck()
		if w.states {
			w.unpark()
		}
	}
}

// unknownBelow reports whether a command of w before an offset is not decoded yet. Deliverer.mu is held.
func (d *Deliverer) unknownBelow(w *window, offset int64) bool {
	for _, e := range d.undecoded {
		if e.win == w && e.offset < offset {
			return true
		}
	}
	return false
}

// park keeps a queue, which wants to send a state, until that is allowed.
func (w *window) park(q *queue) {
	if q.parked != w {
		q.parked = w
		w.parked = append(w.parked, q)
	}
}

// unpark has the parked queues looked at again.
func (w *window) unpark() {
	for _, q := range w.parked {
		if q.parked == w {
			q.parked = nil
			q.lane.touch(q)
		}
	}
	w.parked = nil
}
