package shopify

import (
	"bytes"
	"container/heap"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// subscription is one registered webhook. Server.mu guards it.
type subscription struct {
	id                 int64
	topic, url, format string // topic in the API's spelling
	admin              bool   // made in the shop's admin: another key, and never deleted
}

// sending is one event on its way to one subscription: everything in it is settled when it happens, so that a retry is
// what the first try was.
type sending struct {
	hook    *subscription
	url     string
	header  http.Header
	body    []byte
	due     time.Time
	seq     int64
	attempt int
}

// emit makes the sendings of an event of its own. s.mu is held.
func (s *Server) emit(topic, enum string, order int64, body []byte, at time.Time) []sending {
	return s.emitAs(s.uuid(), topic, enum, order, body, at)
}

// emitAs makes the sendings of one event under a topic, as the faults will have it. s.mu is held.
func (s *Server) emitAs(event, topic, enum string, order int64, body []byte, at time.Time) []sending {
	if s.o.Faults.Debounce {
		key := topic + strconv.FormatInt(order, 10)
		if s.lastBody[key] == string(body) {
			return nil
		}
		s.lastBody[key] = string(body)
	}
	var list []sending
	for _, h := range s.hooks {
		if h.topic != enum {
			continue
		}
		if s.withheld > 0 {
			s.withheld--
			s.sends.lose()
			continue
		}
		d := s.sending(h, event, topic, order, body, at, false)
		f, now := s.o.Faults, time.Now()
		switch p := s.random.Float64(); {
		case p < f.LateRate:
			d.due = now.Add(time.Duration(s.random.Float64() * float64(f.LateDelay)))
		case p < f.LateRate+f.DisorderRate:
			d.due = now.Add(time.Duration(s.random.Float64() * float64(f.DisorderDelay)))
		}
		list = append(list, d)
		if s.random.Float64() < f.DuplicateRate {
			again := d
			again.due = d.due.Add(time.Duration(s.random.Float64() * float64(f.DisorderDelay)))
			list = append(list, again)
		}
	}
	return list
}

// sending signs one delivery. s.mu is held.
func (s *Server) sending(h *subscription, event, topic string, order int64, body []byte, at time.Time, test bool) sending {
	secret := s.secret
	if h.admin {
		secret = s.o.AdminSecret
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	values := map[string]string{
		"Topic": topic, "Hmac-Sha256": base64.StdEncoding.EncodeToString(mac.Sum(nil)), "Shop-Domain": s.o.Shop,
		"Api-Version": Versions[len(Versions)-2], "Webhook-Id": s.uuid(), "Event-Id": event, "Triggered-At": at.Format(time.RFC3339Nano),
	}
	header := http.Header{"Content-Type": {"application/json"}, "User-Agent": {"Shopify-Captain-Hook"}}
	for name, v := range values {
		if s.o.Headers != Events {
			header.Set("X-Shopify-"+name, v)
		}
		if s.o.Headers != Classic {
			header.Set("Shopify-"+name, v)
		}
	}
	if s.o.Headers != Events {
		header.Set("X-Shopify-Test", strconv.FormatBool(test))
		header.Set("X-Shopify-Order-Id", strconv.FormatInt(order, 10))
	}
	return sending{hook: h, url: h.url, header: header, body: body, due: time.Now()}
}

// uuid is an id of a delivery or event. s.mu is held.
func (s *Server) uuid() string {
	a, b := s.random.Uint64(), s.random.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0x3fff|0x8000, b&0xffffffffffff)
}

func (s *Server) send(ctx context.Context, list []sending) error {
	for i := range list {
		if err := s.sends.add(ctx, &list[i]); err != nil {
			return err
		}
	}
	return nil
}

// Withhold implements simulators.Shop.
func (s *Server) Withhold(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.withheld += n
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

// Sent implements simulators.Shop.
func (s *Server) Sent() (accepted, lost int) {
	d := s.sends
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.accepted, d.lost
}

// giveUp deletes the subscription of a delivery whose retries all failed. One made in the admin stays.
func (s *Server) giveUp(h *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range s.hooks {
		if x == h && !h.admin {
			s.hooks = append(s.hooks[:i:i], s.hooks[i+1:]...)
			s.o.Log.Info().Str("topic", h.topic).Msg("subscription deleted after failed deliveries")
			return
		}
	}
}

// dispatcher holds sendings until they are due and lets a bounded number of workers send them.
type dispatcher struct {
	s      *Server
	slots  chan struct{} // one for each outstanding delivery
	wake   chan struct{}
	work   chan *sending
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu             sync.Mutex
	queue          dueHeap
	seq            int64
	outstanding    int
	accepted, lost int
	idle           chan struct{} // closed when nothing is outstanding
}

func startDispatcher(s *Server) *dispatcher {
	ctx, cancel := context.WithCancel(context.Background())
	d := &dispatcher{s: s, slots: make(chan struct{}, OutstandingMax), wake: make(chan struct{}, 1), work: make(chan *sending), cancel: cancel}
	d.wg.Go(func() { d.schedule(ctx) })
	for range s.o.Parallel {
		d.wg.Go(func() {
			for {
				select {
				case one := <-d.work:
					d.try(ctx, one)
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

func (d *dispatcher) add(ctx context.Context, one *sending) error {
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

func (d *dispatcher) push(one *sending) {
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
		var one *sending
		wait := time.Hour
		d.mu.Lock()
		if len(d.queue) > 0 {
			if wait = time.Until(d.queue[0].due); wait <= 0 {
				one = heap.Pop(&d.queue).(*sending)
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

// try makes one try. Success is any 2xx and nothing else: a redirect is a failure.
func (d *dispatcher) try(ctx context.Context, one *sending) {
	code, err := d.post(ctx, one)
	if ctx.Err() != nil {
		return
	}
	ok := err == nil && code >= 200 && code < 300
	if !ok && one.attempt < len(d.s.o.RetrySchedule) {
		one.due = time.Now().Add(d.s.o.RetrySchedule[one.attempt])
		one.attempt++
		d.push(one)
		return
	}
	if !ok {
		d.s.o.Log.Debug().Str("topic", one.hook.topic).Int("status", code).Err(err).Msg("delivery was given up")
		d.s.giveUp(one.hook)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if ok {
		d.accepted++
	} else {
		d.lost++
	}
	d.outstanding--
	<-d.slots
	if d.outstanding == 0 {
		close(d.idle)
	}
}

func (d *dispatcher) post(ctx context.Context, one *sending) (code int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, one.url, bytes.NewReader(one.body))
	if err != nil {
		return 0, err
	}
	req.Header = one.header.Clone()
	resp, err := d.s.o.Client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err = io.CopyN(io.Discard, resp.Body, RequestBytesMax); errors.Is(err, io.EOF) {
		err = nil
	}
	return resp.StatusCode, err
}

// dueHeap is ordered by due time, then by order of arrival.
type dueHeap []*sending

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	if h[i].due.Equal(h[j].due) {
		return h[i].seq < h[j].seq
	}
	return h[i].due.Before(h[j].due)
}
func (h dueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) { *h = append(*h, x.(*sending)) }

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return x
}
