package activecampaign

import "time"

// window counts requests over one sliding second.
type window struct {
	limit    int // 0: none
	accepted recent
	arrived  recent // refused ones included
	max      int
}

// take counts a request; ok is false where it is one too many, and wait then says when the next may come.
func (w *window) take(now time.Time) (left int, wait time.Duration, ok bool) {
	w.max = max(w.max, w.arrived.add(now))
	if w.limit <= 0 {
		return 0, 0, true
	}
	if n := w.accepted.drop(now); n >= w.limit {
		return 0, time.Duration(w.accepted.oldest() + int64(time.Second) - now.UnixNano()), false
	}
	return w.limit - w.accepted.add(now), 0, true
}

// recent is a ring of times of the last second, in nanoseconds.
type recent struct {
	ring       []int64
	head, size int
}

// drop forgets what is a second old and returns how many are left.
func (r *recent) drop(now time.Time) int {
	for until := now.Add(-time.Second).UnixNano(); r.size > 0 && r.ring[r.head] <= until; r.size-- {
		r.head = (r.head + 1) % len(r.ring)
	}
	return r.size
}

// add counts one more and returns how many there are.
func (r *recent) add(now time.Time) int {
	r.drop(now)
	if r.size == len(r.ring) {
		grown := make([]int64, max(16, 2*r.size))
		for i := range r.size {
			grown[i] = r.ring[(r.head+i)%len(r.ring)]
		}
		r.ring, r.head = grown, 0
	}
	r.ring[(r.head+r.size)%len(r.ring)] = now.UnixNano()
	r.size++
	return r.size
}

func (r *recent) oldest() int64 { return r.ring[r.head] }
