package deliver

import (
	"slices"
	"time"
)

// Bounds of writing many desired states at once.
const (
	bulkMin = 10 // fewer are written one by one
	// bulkLookMax is how many queues are looked at for each one that a flight may take.
	bulkLookMax = 4
)

// dispatchBulk starts one flight of many desired states, where enough of them are ready. Deliverer.mu is held.
func (d *Deliverer) dispatchBulk(l *lane, now time.Time) bool {
	if l.bulk == nil || l.ready.len() < bulkMin {
		return false
	}
	most := l.bulk.BulkMax()
	if most < bulkMin || !l.bulkable(now, d.heldBack) {
		return false
	}
	var batch []*entry
	ready := l.ready.all()
	var kept []*queue
	for i, q := range ready {
		if len(batch) >= most || i >= bulkLookMax*most {
			kept = append(kept, ready[i:]...)
			break
		}
		q.remove()
		if s := q.next(now, d.heldBack); s.send != nil && s.send.bulk {
			q.queued = false
			q.takeOff(s.send, len(batch) == 0)
			batch = append(batch, s.send)
			continue
		}
		kept = append(kept, q)
	}
	l.ready = line{list: kept}
	d.start(l, batch, true)
	return true
}

// bulkable reports whether enough queues want to send what may be written with others.
func (l *lane) bulkable(now time.Time, heldBack func(string) bool) bool {
	n := 0
	for i, q := range l.ready.all() {
		if i >= bulkLookMax*bulkMin {
			return false
		}
		if !slices.ContainsFunc(q.entries, func(e *entry) bool { return e.bulk }) {
			continue
		}
		if s := q.next(now, heldBack); s.send != nil && s.send.bulk {
			if n++; n >= bulkMin {
				return true
			}
		}
	}
	return false
}
