package paypal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators"
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

// event is one emitted event. Server.tries guards what counts and lists its tries.
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
	due       time.Time // the first try
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
		if err := s.queue(ctx, d); err != nil {
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
func (s *Server) Wait(ctx context.Context) error { return s.sends.Wait(ctx) }

// Sent returns every event emitted so far in order, with its receptions.
func (s *Server) Sent() []Sent {
	s.mu.Lock()
	list := s.sent[:len(s.sent):len(s.sent)]
	s.mu.Unlock()
	s.tries.Lock()
	defer s.tries.Unlock()
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
	n := s.sends.Counts()
	return Status{Queued: n.Queued, Outstanding: n.Outstanding, Delivered: n.Accepted, Failed: n.Lost, Events: events}
}

// queue hands d to the dispatcher. It waits for room, or for ctx's end.
func (s *Server) queue(ctx context.Context, d *delivery) error {
	s.tries.Lock()
	d.event.pending++
	s.tries.Unlock()
	err := s.sends.Add(ctx, d, d.due)
	if err != nil {
		s.tries.Lock()
		d.event.pending--
		s.tries.Unlock()
	}
	return err
}

// send makes one try. Success is any 2xx and nothing else.
func (s *Server) send(ctx context.Context, one *delivery) (simulators.Verdict, time.Duration) {
	if s.ahead(one.event) {
		return simulators.Held, aheadWait
	}
	code, err := s.post(ctx, one)
	if ctx.Err() != nil {
		return simulators.Lost, 0
	}
	verdict, wait := s.judge(one, s.o.Now(), code, err == nil && code >= 200 && code < 300)
	if verdict != simulators.Accepted {
		s.log.Debug().Str("event", one.event.id).Int("status", code).Int("attempt", one.attempt).Bool("again", verdict == simulators.Again).
			Err(err).Msg("delivery was not accepted")
	}
	return verdict, wait
}

// judge notes at its event what came of a try.
func (s *Server) judge(one *delivery, now time.Time, code int, ok bool) (verdict simulators.Verdict, wait time.Duration) {
	s.tries.Lock()
	defer s.tries.Unlock()
	e := one.event
	e.attempts++
	one.attempt++
	record := transmissionRecord{url: one.url, id: one.first.Get("Paypal-Transmission-Id"), status: "PENDING", code: code, at: one.firstTime}
	switch {
	case ok:
		e.accepted = append(e.accepted, now)
		verdict, record.status = simulators.Accepted, "SUCCESS"
	case one.attempt <= len(s.o.RetrySchedule):
		verdict, wait = simulators.Again, s.o.RetrySchedule[one.attempt-1]
	default:
		verdict, record.status = simulators.Lost, "FAILED"
	}
	e.note(record)
	if verdict != simulators.Again {
		e.pending--
	}
	return verdict, wait
}

// ahead reports whether e has to wait: which of two bodies under one id came first must not be left to chance.
func (s *Server) ahead(e *event) bool {
	s.tries.Lock()
	defer s.tries.Unlock()
	return e.earlier != nil && e.earlier.pending > 0 && len(e.earlier.accepted) == 0
}

// note keeps the latest record of a transmission. Server.tries is held.
func (e *event) note(r transmissionRecord) {
	for i := range e.transmissions {
		if e.transmissions[i].id == r.id && e.transmissions[i].url == r.url {
			e.transmissions[i] = r
			return
		}
	}
	e.transmissions = append(e.transmissions, r)
}

func (s *Server) post(ctx context.Context, one *delivery) (code int, err error) {
	if one.first.Get("Paypal-Transmission-Sig") == "" {
		s.mu.Lock()
		if one.first == nil {
			one.prepare(s)
		}
		s.mu.Unlock()
		one.first, err = s.sign(one.env, Good, one.hookID, one.first.Get("Paypal-Transmission-Id"),
			one.firstTime.Format(time.RFC3339), one.first.Get("Correlation-Id"), one.event.body)
		if err != nil {
			return 0, err
		}
	}
	return simulators.Post(ctx, s.o.Client, one.url, one.first.Clone(), one.event.body)
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
