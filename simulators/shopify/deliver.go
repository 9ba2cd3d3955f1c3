package shopify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/tillstream/tillstream/simulators"
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
	due     time.Time // the first try
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
			s.sends.Lose()
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
		if err := s.sends.Add(ctx, &list[i], list[i].due); err != nil {
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
func (s *Server) Wait(ctx context.Context) error { return s.sends.Wait(ctx) }

// Sent implements simulators.Shop.
func (s *Server) Sent() (accepted, lost int) {
	n := s.sends.Counts()
	return n.Accepted, n.Lost
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

// try makes one try. Success is any 2xx and nothing else: a redirect is a failure.
func (s *Server) try(ctx context.Context, one *sending) (simulators.Verdict, time.Duration) {
	code, err := simulators.Post(ctx, s.o.Client, one.url, one.header.Clone(), one.body)
	switch {
	case ctx.Err() != nil:
		return simulators.Lost, 0
	case err == nil && code >= 200 && code < 300:
		return simulators.Accepted, 0
	case one.attempt < len(s.o.RetrySchedule):
		one.attempt++
		return simulators.Again, s.o.RetrySchedule[one.attempt-1]
	}
	s.o.Log.Debug().Str("topic", one.hook.topic).Int("status", code).Err(err).Msg("delivery was given up")
	s.giveUp(one.hook)
	return simulators.Lost, 0
}
