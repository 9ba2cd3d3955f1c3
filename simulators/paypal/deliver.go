package paypal

import (
	"bytes"
	"container/heap"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// Event is what PayPal would send. ID, Type and CreateTime are read from Body where they are empty.
type Event struct {
	ID         string    `json:"id"`
	Type       string    `json:"type"`
	Body       []byte    `json:"body"` // base64 in JSON
	CreateTime time.Time `json:"create_time"`
}

// Sent is what became of one emitted event: its bytes, and when a receiver said 2xx.
type Sent struct {
	Account       string      `json:"account"`
	EventID       string      `json:"event_id"`
	EventType     string      `json:"event_type"`
	Body          []byte      `json:"body"`           // base64 in JSON
	FirstAccepted time.Time   `json:"first_accepted"` // zero: never
	AcceptedTimes []time.Time `json:"accepted_times"`
	Attempts      int         `json:"attempts"`
}

// Status counts deliveries. Queued have not been tried yet; Outstanding includes them.
type Status struct {
	Queued      int `json:"queued"`
	Outstanding int `json:"outstanding"`
	Delivered   int `json:"delivered"`
	Failed      int `json:"failed"`
	Events      int `json:"events"`
}

// event is one emitted event. The dispatcher's lock guards what follows body.
type event struct {
	account       *account
	id, typ       string
	body          []byte
	created       time.Time // as the event says; order of the list
	stored        time.Time // when it was emitted; EventLag counts from here
	accepted      []time.Time
	attempts      int
	transmissions []transmissionRecord
	pending       int    // deliveries of it on their way
	earlier       *event // another body under the same id; it is sent first
}

// aheadWait is how long a body under a known id waits before it looks again whether the first one has arrived.
const aheadWait = 20 * time.Millisecond

type transmissionRecord struct {
	url, id, status string
	code            int
	at              time.Time
}

// delivery is one event on its way to one webhook.
type delivery struct {
	event     *event
	hookID    string // what is signed with
	url       string
	env       schemas.Environment
	due       time.Time
	seq       int64
	attempt   int
	first     http.Header // headers of the first try, for every other
	firstTime time.Time
}

// Emit queues ev for every webhook of that account that wants its type. It waits for room, or for ctx's end.
func (s *Server) Emit(ctx context.Context, accountName string, ev Event) error {
	var head struct {
		ID         string `json:"id"`
		Type       string `json:"event_type"`
		CreateTime string `json:"create_time"`
	}
	if ev.ID == "" || ev.Type == "" || ev.CreateTime.IsZero() {
		// A body that is no JSON is emitted as it is, if its id and type are given.
		_ = json.Unmarshal(ev.Body, &head)
	}
	ev.ID, ev.Type = orElse(ev.ID, head.ID), orElse(ev.Type, head.Type)
	if ev.ID == "" || ev.Type == "" {
		return errors.New("paypal simulator: an event needs an id and a type")
	}
	if ev.CreateTime.IsZero() {
		if t, err := time.Parse(time.RFC3339, head.CreateTime); err == nil {
			ev.CreateTime = t
		} else {
			ev.CreateTime = s.o.Now()
		}
	}
	s.mu.Lock()
	a := s.accounts[accountName]
	if a == nil {
		s.mu.Unlock()
		return fmt.Errorf("paypal simulator: there is no account %q", accountName)
	}
	e := &event{account: a, id: ev.ID, typ: ev.Type, body: bytes.Clone(ev.Body), created: ev.CreateTime, stored: s.o.Now()}
	if first := a.byID[e.id]; first != nil {
		e.earlier = first
	} else {
		a.byID[e.id] = e
		a.learn(e.typ, e.body)
	}
	s.sent = append(s.sent, e)
	a.events = append(a.events, e)
	var list []*delivery
	kept := s.withheld()
	for _, h := range a.webhooks {
		if !kept && h.wants(e.typ) {
			list = append(list, s.plan(e, h)...)
		}
	}
	s.mu.Unlock()
	for _, d := range list {
		if err := s.sends.add(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// withheld reports whether an event is sent to nobody: the events API shows it without a transmission. s.mu is held.
func (s *Server) withheld() bool {
	if s.withhold > 0 {
		s.withhold--
		return true
	}
	return s.o.Faults.WithholdRate > 0 && s.random.Float64() < s.o.Faults.WithholdRate
}

// Withhold keeps the next n events from every webhook. What PayPal's APIs show of them stays as it is.
func (s *Server) Withhold(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.withhold = n
}

// plan returns the deliveries of e to h, as the faults will have it. s.mu is held.
func (s *Server) plan(e *event, h *webhook) []*delivery {
	f := s.o.Faults
	now := time.Now()
	d := &delivery{event: e, hookID: h.id, url: h.url, env: e.account.Environment, due: now}
	switch p := s.random.Float64(); {
	case p < f.LateRate:
		d.due = now.Add(time.Duration(s.random.Float64() * float64(f.LateDelay)))
	case p < f.LateRate+f.DisorderRate:
		d.due = now.Add(time.Duration(s.random.Float64() * float64(f.DisorderDelay)))
	}
	list := []*delivery{d}
	if s.random.Float64() < f.DuplicateRate {
		again := *d
		again.due = d.due.Add(time.Duration(s.random.Float64() * float64(f.DisorderDelay)))
		if s.random.IntN(2) == 0 {
			// The same transmission, byte for byte; seen 70 ms apart.
			d.prepare(s)
			again.first, again.firstTime = d.first, d.firstTime
		}
		list = append(list, &again)
	}
	return list
}

// prepare gives d its transmission. s.mu is held.
func (d *delivery) prepare(s *Server) {
	d.firstTime = s.o.Now().UTC()
	d.first = http.Header{"Paypal-Transmission-Id": {s.transmission()}, "Correlation-Id": {s.hex(13)}}
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Wait returns when no delivery is outstanding, or with ctx's error.
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

// Sent returns every event emitted so far in order, with its receptions.
func (s *Server) Sent() []Sent {
	s.mu.Lock()
	list := s.sent[:len(s.sent):len(s.sent)]
	s.mu.Unlock()
	s.sends.mu.Lock()
	defer s.sends.mu.Unlock()
	out := make([]Sent, len(list))
	for i, e := range list {
		out[i] = Sent{
			Account: e.account.Name, EventID: e.id, EventType: e.typ, Body: e.body, Attempts: e.attempts,
			AcceptedTimes: append([]time.Time{}, e.accepted...),
		}
		if len(e.accepted) > 0 {
			out[i].FirstAccepted = e.accepted[0]
		}
	}
	return out
}

// Status returns the counts of now.
func (s *Server) Status() Status {
	s.mu.Lock()
	events := len(s.sent)
	s.mu.Unlock()
	d := s.sends
	d.mu.Lock()
	defer d.mu.Unlock()
	return Status{Queued: d.outstanding - d.tried, Outstanding: d.outstanding, Delivered: d.delivered, Failed: d.failed, Events: events}
}

// dispatcher holds deliveries until they are due and lets a bounded number of workers send them.
type dispatcher struct {
	s      *Server
	slots  chan struct{} // one for each outstanding delivery
	wake   chan struct{}
	work   chan *delivery
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu          sync.Mutex
	queue       deliveryHeap
	seq         int64
	outstanding int
	tried       int // of the outstanding, how many failed once
	delivered   int
	failed      int
	idle        chan struct{} // closed when nothing is outstanding; nil while nothing is
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
	one.event.pending++
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

// send makes one try. Success is any 2xx and nothing else.
func (d *dispatcher) send(ctx context.Context, one *delivery) {
	if d.ahead(one.event) {
		one.due = time.Now().Add(aheadWait)
		d.push(one)
		return
	}
	code, err := d.post(ctx, one)
	if ctx.Err() != nil {
		return
	}
	now := d.s.o.Now()
	ok := err == nil && code >= 200 && code < 300
	d.mu.Lock()
	one.event.attempts++
	record := transmissionRecord{url: one.url, id: one.first.Get("Paypal-Transmission-Id"), status: "PENDING", code: code, at: one.firstTime}
	first := one.attempt == 0
	one.attempt++
	again := !ok && one.attempt <= len(d.s.o.RetrySchedule)
	switch {
	case ok:
		one.event.accepted = append(one.event.accepted, now)
		d.delivered++
		record.status = "SUCCESS"
	case again:
		if first {
			d.tried++
		}
	default:
		d.failed++
		record.status = "FAILED"
	}
	one.event.note(record)
	if !again {
		if !first {
			d.tried--
		}
		d.outstanding--
		one.event.pending--
		<-d.slots
		if d.outstanding == 0 {
			close(d.idle)
		}
	}
	d.mu.Unlock()
	if again {
		one.due = time.Now().Add(d.s.o.RetrySchedule[one.attempt-1])
		d.push(one)
	}
	if !ok {
		d.s.log.Debug().Str("event", one.event.id).Int("status", code).Int("attempt", one.attempt).Bool("again", again).
			Err(err).Msg("delivery was not accepted")
	}
}

// ahead reports whether e has to wait: which of two bodies under one id came first must not be left to chance.
func (d *dispatcher) ahead(e *event) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return e.earlier != nil && e.earlier.pending > 0 && len(e.earlier.accepted) == 0
}

// note keeps the latest record of a transmission. The dispatcher's lock is held.
func (e *event) note(r transmissionRecord) {
	for i := range e.transmissions {
		if e.transmissions[i].id == r.id && e.transmissions[i].url == r.url {
			e.transmissions[i] = r
			return
		}
	}
	e.transmissions = append(e.transmissions, r)
}

func (d *dispatcher) post(ctx context.Context, one *delivery) (code int, err error) {
	if one.first.Get("Paypal-Transmission-Sig") == "" {
		d.s.mu.Lock()
		if one.first == nil {
			one.prepare(d.s)
		}
		d.s.mu.Unlock()
		one.first, err = d.s.sign(one.env, Good, one.hookID, one.first.Get("Paypal-Transmission-Id"),
			one.firstTime.Format(time.RFC3339), one.first.Get("Correlation-Id"), one.event.body)
		if err != nil {
			return 0, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, one.url, bytes.NewReader(one.event.body))
	if err != nil {
		return 0, err
	}
	req.Header = one.first.Clone()
	resp, err := d.s.o.Client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.CopyN(io.Discard, resp.Body, RequestBytesMax)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return resp.StatusCode, err
}

// deliveryHeap is ordered by due time, then by order of arrival.
type deliveryHeap []*delivery

func (h deliveryHeap) Len() int { return len(h) }
func (h deliveryHeap) Less(i, j int) bool {
	if h[i].due.Equal(h[j].due) {
		return h[i].seq < h[j].seq
	}
	return h[i].due.Before(h[j].due)
}
func (h deliveryHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *deliveryHeap) Push(x any) { *h = append(*h, x.(*delivery)) }

// Pop implements heap.Interface.
func (h *deliveryHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return x
}

// wants reports whether h subscribes to that type.
func (h *webhook) wants(typ string) bool {
	if h.disabled[typ] {
		return false
	}
	for _, t := range h.types {
		if t == "*" || strings.EqualFold(t, typ) {
			return true
		}
	}
	return false
}
