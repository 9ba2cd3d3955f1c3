package generic

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// message is what is sent, again and again under one id until it is accepted.
type message struct {
	id       string
	body     []byte
	header   http.Header
	due      time.Time
	attempts int
	events   int
}

// tell sends e, or puts it into the batch that is being filled. Its place in s.room is taken. s.mu is held.
func (s *Server) tell(e event) {
	s.open++
	if s.o.Envelope != Batch {
		s.send([]event{e})
		return
	}
	s.pending = append(s.pending, e)
	if len(s.pending) >= s.o.BatchEvents {
		s.sendBatch()
		return
	}
	if len(s.pending) == 1 {
		s.flush = time.AfterFunc(batchWait, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.sendBatch()
		})
	}
}

// sendBatch sends what waits for a fuller batch. s.mu is held.
func (s *Server) sendBatch() {
	if len(s.pending) > 0 {
		events := s.pending
		s.pending = nil
		s.flush.Stop()
		s.send(events)
	}
}

// send makes a message, and a second one of the same id where the faults will have it. s.mu is held.
func (s *Server) send(events []event) {
	body, header, err := s.seal(events)
	if err != nil {
		s.o.Log.Error().Err(err).Msg("event not written")
		s.end(len(events), true)
		return
	}
	if s.withhold > 0 {
		s.withhold--
		s.end(len(events), true)
		return
	}
	m := &message{id: "msg_" + s.letters(27), body: body, header: header, events: len(events), due: time.Now()}
	if s.random.Float64() < s.o.Faults.DisorderRate {
		m.due = m.due.Add(time.Duration(s.random.Float64() * float64(disorderDelay)))
	}
	s.waiting = append(s.waiting, m)
	if s.random.Float64() < s.o.Faults.DuplicateRate {
		again := *m
		again.events = 0 // the first one's place is enough
		s.open++
		s.waiting = append(s.waiting, &again)
	}
	s.nudge()
}

// end frees the places of a message's events. s.mu is held.
func (s *Server) end(events int, lost bool) {
	if lost {
		s.lost++
	} else {
		s.accepted++
	}
	for range events {
		<-s.room
	}
	if s.open -= max(events, 1); s.open == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

func (s *Server) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// pollWait is how long a worker rests where nothing is due.
const pollWait = time.Minute

// next takes the message that is due first; nil with the time to wait where none is.
func (s *Server) next() (m *message, url string, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.disabled {
		for _, m := range s.waiting {
			s.end(m.events, true)
		}
		s.waiting = nil
	}
	if len(s.waiting) == 0 || s.url == "" {
		return nil, "", pollWait
	}
	first := slices.MinFunc(s.waiting, func(a, b *message) int { return a.due.Compare(b.due) })
	due := first.due
	if due.Before(s.notUntil) {
		due = s.notUntil
	}
	if wait := time.Until(due); wait > 0 {
		return nil, "", wait
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(m *message) bool { return m == first })
	first.attempts++
	s.attempts++
	return first, s.url, 0
}

// work sends what is due until ctx ends.
func (s *Server) work(ctx context.Context) {
	for {
		m, url, wait := s.next()
		if m == nil {
			rest := time.NewTimer(wait)
			select {
			case <-ctx.Done():
				rest.Stop()
				return
			case <-s.wake:
			case <-rest.C:
			}
			rest.Stop()
			continue
		}
		s.nudge() // another worker may have something to do at the same time
		status, after := s.attempt(ctx, url, m)
		if ctx.Err() != nil {
			return
		}
		s.settle(m, status, after)
	}
}

// settle does what Standard Webhooks says about the answer; status 0: there was none.
func (s *Server) settle(m *message, status int, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case status >= 200 && status < 300:
		s.end(m.events, false)
		return
	case status == http.StatusGone:
		s.disabled = true
		s.end(m.events, true)
		s.nudge()
		return
	case m.attempts >= len(schedule):
		s.end(m.events, true)
		return
	case status == http.StatusTooManyRequests || status == http.StatusBadGateway || status == http.StatusGatewayTimeout:
		s.notUntil = time.Now().Add(s.scaled(max(after, schedule[1])))
	}
	wait := s.scaled(schedule[m.attempts])
	m.due = time.Now().Add(wait + time.Duration(s.random.Float64()*float64(wait)/10))
	s.waiting = append(s.waiting, m)
	s.nudge()
}

func (s *Server) scaled(d time.Duration) time.Duration { return time.Duration(float64(d) / s.o.Scale) }

// attempt posts m once. after is what the receiver asks to wait.
func (s *Server) attempt(ctx context.Context, url string, m *message) (status int, after time.Duration) {
	if s.o.Handshake && !s.shakeHands(ctx, url) {
		return 0, 0
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(m.body))
	if err != nil {
		s.o.Log.Error().Err(err).Msg("webhook address")
		return 0, 0
	}
	req.Header = m.header.Clone()
	s.sign(req.Header, m.id, s.o.Now(), m.body)
	return s.do(req)
}

func (s *Server) do(req *http.Request) (status int, after time.Duration) {
	resp, err := s.o.Client.Do(req)
	if err != nil {
		s.o.Log.Debug().Err(err).Msg("not delivered")
		return 0, 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, requestBytesMax)) // so that the connection serves again
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		after = time.Duration(min(n, retryAfterSecondMax)) * time.Second
	}
	return resp.StatusCode, after
}

const origin = "shop.example.com"

// shakeHands asks once whether the receiver wants events at all.
func (s *Server) shakeHands(ctx context.Context, url string) bool {
	s.mu.Lock()
	allowed := s.allowed
	s.mu.Unlock()
	if allowed {
		return true
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodOptions, url, nil)
	if err != nil {
		return false
	}
	req.Header.Set("WebHook-Request-Origin", origin)
	req.Header.Set("WebHook-Request-Rate", "600")
	resp, err := s.o.Client.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	if got := resp.Header.Get("WebHook-Allowed-Origin"); resp.StatusCode/100 != 2 || got != "*" && got != origin || resp.Header.Get("WebHook-Allowed-Rate") == "" {
		return false
	}
	s.mu.Lock()
	s.allowed = true
	s.mu.Unlock()
	return true
}

// Withhold implements simulators.Shop.
func (s *Server) Withhold(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.withhold = n
}

// Wait implements simulators.Shop.
func (s *Server) Wait(ctx context.Context) error {
	s.mu.Lock()
	s.sendBatch()
	if s.open == 0 {
		s.mu.Unlock()
		return nil
	}
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	idle := s.idle
	s.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Sent implements simulators.Shop. It counts messages: a batch is one.
func (s *Server) Sent() (accepted, lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted, s.lost
}
