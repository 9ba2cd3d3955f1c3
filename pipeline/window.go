package pipeline

import (
	"cmp"
	"container/heap"
	"context"
	"math"
	"strings"

	"github.com/tillstream/tillstream/pipeline/store"
)

// window holds the earliest deadlines of a partition, one per key, in the order in which they fire. It is complete
// up to its horizon; what lies beyond is in the store only. It includes what the transaction at hand changed.
type window struct {
	heap    deadlineHeap
	current map[string]int64 // deadline of each key inside the window; older entries of the heap are void
	horizon store.Deadline
	limit   int
	armed   int64 // keys with a deadline, in the store or since
}

func newWindow(limit int) *window {
	return &window{current: map[string]int64{}, limit: limit}
}

// set records that a key's earliest deadline became at; 0: it has none any more.
func (w *window) set(key string, was, at int64) {
	switch {
	case was == 0 && at != 0:
		w.armed++
	case was != 0 && at == 0:
		w.armed--
	}
	delete(w.current, key)
	if at == 0 || before(w.horizon, store.Deadline{Key: key, At: at}) {
		return
	}
	key = strings.Clone(key) // the batch's memory goes with the batch
	w.current[key] = at
	heap.Push(&w.heap, store.Deadline{Key: key, At: at})
	if len(w.heap) > 8*w.limit {
		w.forget()
	}
}

// forget empties the window; the next look refills it.
func (w *window) forget() {
	w.heap, w.horizon = nil, store.Deadline{}
	clear(w.current)
}

// first returns the earliest deadline inside the window.
func (w *window) first() (store.Deadline, bool) {
	for len(w.heap) > 0 {
		if d := w.heap[0]; w.current[d.Key] == d.At {
			return d, true
		}
		heap.Pop(&w.heap)
	}
	return store.Deadline{}, false
}

// complete reports whether every deadline before at is inside the window.
func (w *window) complete(at int64) bool { return w.horizon.At >= at }

// refill loads the earliest deadlines from the store, where w has none left below its horizon. touched are the
// deadlines that the transaction at hand changed: of these keys the store knows the past.
func (w *window) refill(ctx context.Context, part store.Partition, f store.Fence, touched map[string]int64) error {
	w.forget()
	limit := w.limit + len(touched)
	due, armed, err := part.Deadlines(ctx, f, 0, math.MaxInt64, limit)
	if err != nil {
		return err
	}
	if len(touched) == 0 {
		w.armed = armed
	}
	w.horizon = store.Deadline{At: math.MaxInt64}
	if len(due) == limit {
		w.horizon = due[len(due)-1]
	}
	add := func(d store.Deadline) {
		w.current[d.Key] = d.At
		heap.Push(&w.heap, d)
	}
	for _, d := range due {
		if _, ours := touched[d.Key]; !ours {
			add(d)
		}
	}
	for key, at := range touched {
		if d := (store.Deadline{Key: strings.Clone(key), At: at}); at != 0 && !before(w.horizon, d) {
			add(d)
		}
	}
	return nil
}

// next lists the keys of the window's first n deadlines before at: what is worth reading ahead. It takes them off the heap
// and puts them back, which costs less than finding them in it.
func (w *window) next(at int64, n int) []string {
	var due []store.Deadline
	for len(due) < n {
		d, ok := w.first()
		if !ok || d.At >= at {
			break
		}
		heap.Pop(&w.heap)
		due = append(due, d)
	}
	keys := make([]string, len(due))
	for i, d := range due {
		heap.Push(&w.heap, d)
		keys[i] = d.Key
	}
	return keys
}

// before is the order of firing between keys.
func before(a, b store.Deadline) bool {
	return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Key, b.Key)) < 0
}

type deadlineHeap []store.Deadline

func (h deadlineHeap) Len() int           { return len(h) }
func (h deadlineHeap) Less(i, j int) bool { return before(h[i], h[j]) }
func (h deadlineHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *deadlineHeap) Push(x any) { *h = append(*h, x.(store.Deadline)) }

// Pop implements heap.Interface.
func (h *deadlineHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
