package simulators

import (
	"bytes"
	"container/heap"
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// answerBytesMax is how much of a receiver's answer is read, so that the connection serves again.
const answerBytesMax = 1 << 20

// Verdict is what came of a delivery that was due.
type Verdict int

// The verdicts. Accepted, Lost and Uncounted end a delivery; the others bring it back after a wait.
const (
	Accepted  Verdict = iota
	Lost              // given up
	Uncounted         // over, and neither accepted nor lost: it mattered to nobody
	Again             // tried, and due again
	Held              // not tried yet: its time has not come
)

// Counts are those of one dispatcher. Queued deliveries have not been tried yet; Outstanding includes them. Lost ones
// were given up, or never sent.
type Counts struct {
	Queued, Outstanding, Accepted, Lost int
}

// Dispatcher holds deliveries until they are due, the earliest first and those of one time in order of arrival, and lets
// a bounded number of workers try them. It goes by the machine's clock. Its methods may be called from several
// goroutines. No lock that try takes may be held at Add, Wait and Stop, which wait for tries; the others wait for none.
type Dispatcher[T any] struct {
	try    func(ctx context.Context, one T) (v Verdict, wait time.Duration)
	slots  chan struct{} // one for each outstanding delivery
	wake   chan struct{}
	work   chan *due[T]
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	queue  dueHeap[T]
	seq    int64
	counts Counts
	idle   chan struct{} // closed when nothing is outstanding
}

// due is a delivery that waits for its time.
type due[T any] struct {
	one   T
	at    time.Time
	seq   int64
	tried bool
}

// NewDispatcher starts a dispatcher that calls try for what is due, parallel at a time. What try says once its context
// has ended is not counted. At most outstandingMax deliveries are held.
func NewDispatcher[T any](outstandingMax, parallel int, try func(ctx context.Context, one T) (v Verdict, wait time.Duration)) *Dispatcher[T] {
	ctx, cancel := context.WithCancel(context.Background())
	d := &Dispatcher[T]{
		try: try, slots: make(chan struct{}, outstandingMax), wake: make(chan struct{}, 1), work: make(chan *due[T]), cancel: cancel,
	}
	d.wg.Go(func() { d.schedule(ctx) })
	for range parallel {
		d.wg.Go(func() {
			for {
				select {
				case next := <-d.work:
					d.settle(ctx, next)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	return d
}

// Stop ends the tries that are on their way and drops what is outstanding. It returns when no worker runs any more.
func (d *Dispatcher[T]) Stop() { d.cancel(); d.wg.Wait() }

// Add queues one delivery for its time. It waits for room, or for ctx's end.
func (d *Dispatcher[T]) Add(ctx context.Context, one T, at time.Time) error {
	select {
	case d.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	d.open(one, at)
	return nil
}

// TryAdd is Add without the wait: where there is no room, the delivery is left out.
func (d *Dispatcher[T]) TryAdd(one T, at time.Time) {
	select {
	case d.slots <- struct{}{}:
		d.open(one, at)
	default:
	}
}

// open counts and queues a delivery that has its slot.
func (d *Dispatcher[T]) open(one T, at time.Time) {
	d.mu.Lock()
	if d.counts.Outstanding == 0 {
		d.idle = make(chan struct{})
	}
	d.counts.Outstanding++
	d.counts.Queued++
	d.mu.Unlock()
	d.push(&due[T]{one: one, at: at})
}

// Lose counts a delivery as lost that was never added.
func (d *Dispatcher[T]) Lose() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts.Lost++
}

// Counts are those of now.
func (d *Dispatcher[T]) Counts() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts
}

// Wait returns when no delivery is outstanding, or with ctx's error.
func (d *Dispatcher[T]) Wait(ctx context.Context) error {
	for {
		d.mu.Lock()
		idle, outstanding := d.idle, d.counts.Outstanding
		d.mu.Unlock()
		if outstanding == 0 {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *Dispatcher[T]) push(next *due[T]) {
	d.mu.Lock()
	d.seq++
	next.seq = d.seq
	heap.Push(&d.queue, next)
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// schedule hands out what is due, earliest first.
func (d *Dispatcher[T]) schedule(ctx context.Context) {
	for {
		next, wait := d.pop()
		if next != nil {
			select {
			case d.work <- next:
			case <-ctx.Done():
				return
			}
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-d.wake:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// pop takes what is due; nil with the time to wait where nothing is.
func (d *Dispatcher[T]) pop() (*due[T], time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) == 0 {
		return nil, time.Hour
	}
	if wait := time.Until(d.queue[0].at); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&d.queue).(*due[T]), 0
}

// settle tries one delivery and counts what came of it.
func (d *Dispatcher[T]) settle(ctx context.Context, next *due[T]) {
	verdict, wait := d.try(ctx, next.one)
	if ctx.Err() != nil {
		return
	}
	d.mu.Lock()
	if verdict != Held && !next.tried {
		next.tried = true
		d.counts.Queued--
	}
	if verdict == Again || verdict == Held {
		d.mu.Unlock()
		next.at = time.Now().Add(wait)
		d.push(next)
		return
	}
	defer d.mu.Unlock()
	switch verdict {
	case Accepted:
		d.counts.Accepted++
	case Lost:
		d.counts.Lost++
	}
	<-d.slots
	if d.counts.Outstanding--; d.counts.Outstanding == 0 {
		close(d.idle)
	}
}

// dueHeap is ordered by due time, then by order of arrival.
type dueHeap[T any] []*due[T]

func (h dueHeap[T]) Len() int { return len(h) }
func (h dueHeap[T]) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].seq < h[j].seq
	}
	return h[i].at.Before(h[j].at)
}
func (h dueHeap[T]) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *dueHeap[T]) Push(x any) { *h = append(*h, x.(*due[T])) }

// Pop implements heap.Interface.
func (h *dueHeap[T]) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return x
}

// Post sends one webhook and reads the answer to its end, up to 1 MiB. The header is the request's from then on.
func Post(ctx context.Context, client *http.Client, url string, header http.Header, body []byte) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header = header
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, answerBytesMax))
	return resp.StatusCode, err
}
