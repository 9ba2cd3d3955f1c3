package stripe

import (
	"context"
	"net/http"
	"time"

	"github.com/tillstream/tillstream/simulators"
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
	due     time.Time // the first try
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
				s.sends.Lose()
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
	n := s.sends.Counts()
	return Status{Outstanding: n.Outstanding, Accepted: n.Accepted, Lost: n.Lost, Events: len(s.events), Payments: len(s.order)}
}

// Sent implements simulators.Shop.
func (s *Server) Sent() (accepted, lost int) {
	st := s.Status()
	return st.Accepted, st.Lost
}

// Wait implements simulators.Shop.
func (s *Server) Wait(ctx context.Context) error { return s.sends.Wait(ctx) }

// send makes one try. Success is any 2xx; each try is signed anew, with the secrets of now.
func (s *Server) send(ctx context.Context, one *delivery) (simulators.Verdict, time.Duration) {
	s.mu.Lock()
	body, url, on := one.event.render(), one.to.url, one.to.on
	signature := Sign(one.to.secrets, s.o.Now(), body)
	s.mu.Unlock()
	ok := on && s.post(ctx, url, signature, body)
	if ctx.Err() != nil {
		return simulators.Lost, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case ok:
		one.to.inRow = 0
		delete(one.event.pending, one.to)
		return simulators.Accepted, 0
	case on:
		if one.to.inRow++; s.o.DisableAfter > 0 && one.to.inRow >= s.o.DisableAfter {
			one.to.on = false
		}
	}
	if !one.to.on || one.attempt >= len(s.o.RetrySchedule) {
		one.event.failed = true
		return simulators.Lost, 0
	}
	one.attempt++
	return simulators.Again, s.o.RetrySchedule[one.attempt-1]
}

func (s *Server) post(ctx context.Context, url, signature string, body []byte) bool {
	status, err := simulators.Post(ctx, s.o.Client, url, http.Header{
		"Content-Type": {"application/json; charset=utf-8"}, "User-Agent": {"Stripe/1.0 (+https://stripe.com/docs/webhooks)"},
		"Stripe-Signature": {signature},
	}, body)
	if err != nil {
		s.o.Log.Debug().Err(err).Msg("delivery failed")
	}
	return err == nil && status >= 200 && status < 300
}
