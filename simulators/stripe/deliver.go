package stripe

import (
	"bytes"
	"container/heap"
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// endpoint is a webhook endpoint. Server.mu guards it.
type endpoint struct {
	id, url string
	secrets []string // the newest first; a rolled one stays until it expires
	enabled []string
	on      bool
	created int64
	inRow   int // failures in a row
}

func (e *endpoint) wants(typ string) bool {
	for _, t := range e.enabled {
		if t == "*" || t == typ {
			return true
		}
	}
	return false
}

// delivery is one event on its way to one endpoint.
type delivery struct {
	event   *event
	to      *endpoint
	due     time.Time
	seq     int64
	attempt int
}

// plan returns the deliveries of new events, as the faults will have it. s.mu is held.
func (s *Server) plan(events []*event) []*delivery {
	f, now := s.o.Faults, time.Now()
	var list []*delivery
	for _, e := range events {
		for _, to := range s.endpoints {
			if !to.on || !to.wants(e.typ) {
				continue
			}
			e.pending[to] = true
			if s.withhold > 0 {
				s.withhold--
				e.failed = true
				s.sends.lose()
				continue
			}
			d := &delivery{event: e, to: to, due: now}
			if s.random.Float64() < f.DisorderRate {
				d.due = now.Add(time.Duration(s.random.Float64() * float64(f.DisorderDelay)))
			}
			list = append(list, d)
			if s.random.Float64() < f.DuplicateRate {
				again := *d
				list = append(list, &again)
			}
		}
	}
	return list
}

// Status counts deliveries.
type Status struct {
	Outstanding int `json:"outstanding"`
	Accepted    int `json:"accepted"`
	Lost        int `json:"lost"` // given up or withheld
	Events      int `json:"events"`
	Payments    int `json:"payments"`
}

// Status returns the counts of now.
func (s *Server) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.sends
	d.mu.Lock()
	defer d.mu.Unlock()
	return Status{Outstanding: d.outstanding, Accepted: d.accepted, Lost: d.lost, Events: len(s.events), Payments: len(s.order)}
}

// Sent implements simulators.Shop.
func (s *Server) Sent() (accepted, lost int) {
	st := s.Status()
	return st.Accepted, st.Lost
}

// Wait implements simulators.Shop.
func (s *Server) Wait(ctx context.Context) error {
	for {
		idle := s.sends.idleSignal()
		if idle == nil {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// dispatcher holds deliveries until they are due and lets a bounded number of workers send them.
type dispatcher struct {
	s      *Server
	slots  chan struct{} // one for each outstanding delivery
	wake   chan struct{}
	work   chan *delivery
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu                          sync.Mutex
	queue                       deliveries
	seq                         int64
	outstanding, accepted, lost int
	idle                        chan struct{} // closed when nothing is outstanding
}

func startDispatcher(s *Server) *dispatcher {
	ctx, cancel := context.WithCancel(context.Background())
	d := &dispatcher{s: s, slots: make(chan struct{}, OutstandingMax), wake: make(chan struct{}, 1), work: make(chan *delivery), cancel: cancel}
	d.wg.Go(func() { d.schedule(ctx) })
	for range s.o.Parallel {
		d.wg.Go(func() {
			for {
				select {
				case one := <-d.work:
					d.send(ctx, one)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	return d
}

func (d *dispatcher) stop() { d.cancel(); d.wg.Wait() }

func (d *dispatcher) lose() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost++
}

// add queues a new delivery; it waits for room, or for ctx's end.
func (d *dispatcher) add(ctx context.Context, one *delivery) error {
	select {
	case d.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	d.mu.Lock()
	if d.outstanding == 0 {
		d.idle = make(chan struct{})
	}
	d.outstanding++
	d.mu.Unlock()
	d.push(one)
	return nil
}

func (d *dispatcher) push(one *delivery) {
	d.mu.Lock()
	d.seq++
	one.seq = d.seq
	heap.Push(&d.queue, one)
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *dispatcher) idleSignal() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.outstanding == 0 {
		return nil
	}
	return d.idle
}

// schedule hands out what is due, earliest first.
func (d *dispatcher) schedule(ctx context.Context) {
	for {
		var one *delivery
		wait := time.Hour
		d.mu.Lock()
		if len(d.queue) > 0 {
			if wait = time.Until(d.queue[0].due); wait <= 0 {
				one = heap.Pop(&d.queue).(*delivery)
			}
		}
		d.mu.Unlock()
		if one != nil {
			select {
			case d.work <- one:
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

// send makes one try. Success is any 2xx; each try is signed anew, with the secrets of now.
func (d *dispatcher) send(ctx context.Context, one *delivery) {
	s := d.s
	s.mu.Lock()
	body, url, on := one.event.render(), one.to.url, one.to.on
	signature := Sign(one.to.secrets, s.o.Now(), body)
	s.mu.Unlock()
	ok := on && d.post(ctx, url, signature, body)
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	switch {
	case ok:
		one.to.inRow = 0
		delete(one.event.pending, one.to)
	case on:
		if one.to.inRow++; s.o.DisableAfter > 0 && one.to.inRow >= s.o.DisableAfter {
			one.to.on = false
		}
	}
	over := !ok && (!one.to.on || one.attempt >= len(s.o.RetrySchedule))
	if over {
		one.event.failed = true
	}
	s.mu.Unlock()
	if !ok && !over {
		one.due = time.Now().Add(s.o.RetrySchedule[one.attempt])
		one.attempt++
		d.push(one)
		return
	}
	d.finish(ok)
}

func (d *dispatcher) post(ctx context.Context, url, signature string, body []byte) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
	req.Header.Set("Stripe-Signature", signature)
	res, err := d.s.o.Client.Do(req)
	if err != nil {
		d.s.o.Log.Debug().Err(err).Msg("delivery failed")
		return false
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, requestBytesMax))
	return err == nil && res.StatusCode >= 200 && res.StatusCode < 300
}

func (d *dispatcher) finish(ok bool) {
	d.mu.Lock()
	if ok {
		d.accepted++
	} else {
		d.lost++
	}
	if d.outstanding--; d.outstanding == 0 {
		close(d.idle)
	}
	d.mu.Unlock()
	<-d.slots
}

// deliveries is a heap by due time.
type deliveries []*delivery

func (h deliveries) Len() int { return len(h) }
func (h deliveries) Less(i, j int) bool {
	if !h[i].due.Equal(h[j].due) {
		return h[i].due.Before(h[j].due)
	}
	return h[i].seq < h[j].seq
}
func (h deliveries) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *deliveries) Push(x any) { *h = append(*h, x.(*delivery)) }

// Pop implements heap.Interface.
func (h *deliveries) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return x
}
