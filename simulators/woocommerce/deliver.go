package woocommerce

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/simulators"
)

const userAgent = "WooCommerce/9.4.2 Hookshot (WordPress/6.7.1)"

// job is one delivery that waits. Its body is made when it is sent.
type job struct {
	hook  int64
	topic string
	order *order
	ping  string // the address of a ping; empty: a delivery
}

// queued identifies what is not queued a second time while it waits.
type queued struct {
	hook, order int64
}

// fire queues one delivery for each active webhook of the topics. One that waits already is not queued again: it will
// show what is new as well.
func (s *Server) fire(ctx context.Context, topic string, o *order, more ...string) error {
	s.mu.Lock()
	var jobs []job
	for _, t := range append([]string{topic}, more...) {
		for _, h := range s.hooks {
			if h.status != "active" || h.topic != t {
				continue
			}
			jobs = append(jobs, job{hook: h.id, topic: t, order: o})
			if s.random.Float64() < s.o.Faults.DuplicateRate {
				jobs = append(jobs, job{hook: h.id, topic: t, order: o})
			}
		}
	}
	delays := make([]time.Duration, len(jobs))
	for i := range delays {
		if s.random.Float64() < s.o.Faults.DisorderRate {
			delays[i] = time.Duration(s.random.Float64() * float64(s.o.Faults.DisorderDelay))
		}
	}
	s.mu.Unlock()
	for i, j := range jobs {
		again := i > 0 && jobs[i-1] == j
		if err := s.queue(ctx, j, delays[i], again); err != nil {
			return err
		}
	}
	return nil
}

// queue hands j to the dispatcher after the delay, unless its like waits already; again is one that is meant to be there twice.
func (s *Server) queue(ctx context.Context, j job, delay time.Duration, again bool) error {
	id := queued{j.hook, j.order.id}
	s.mu.Lock()
	if s.waiting[id] && !again {
		s.mu.Unlock()
		return nil
	}
	s.waiting[id] = true
	s.mu.Unlock()
	err := s.sends.Add(ctx, j, time.Now().Add(delay))
	if err != nil {
		s.mu.Lock()
		delete(s.waiting, id)
		s.mu.Unlock()
	}
	return err
}

// ping tries the address of a new webhook; nobody waits for the answer. Without room it is left out.
func (s *Server) ping(h *webhook) { s.sends.TryAdd(job{hook: h.id, ping: h.url}, time.Now()) }

// Withhold implements simulators.Shop.
func (s *Server) Withhold(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.withhold += n
}

// Sent implements simulators.Shop. Pings are not counted.
func (s *Server) Sent() (accepted, lost int) {
	n := s.sends.Counts()
	return n.Accepted, n.Lost
}

// Wait implements simulators.Shop.
func (s *Server) Wait(ctx context.Context) error { return s.sends.Wait(ctx) }

// send makes the only try.
func (s *Server) send(ctx context.Context, j job) (simulators.Verdict, time.Duration) {
	if j.ping != "" {
		header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		if _, err := simulators.Post(ctx, s.o.Client, j.ping, header, fmt.Appendf(nil, "webhook_id=%d", j.hook)); err != nil {
			s.log.Debug().Int64("webhook", j.hook).Err(err).Msg("ping was not answered")
		}
		return simulators.Uncounted, 0
	}
	s.mu.Lock()
	delete(s.waiting, queued{j.hook, j.order.id})
	held := s.withhold > 0
	if held {
		s.withhold--
	}
	s.mu.Unlock()
	if held || !s.deliver(ctx, j) {
		return simulators.Lost, 0
	}
	return simulators.Accepted, 0
}

// deliver sends one webhook as its order stands now, and never again. From 200 to 302 counts as accepted.
func (s *Server) deliver(ctx context.Context, j job) bool {
	s.mu.Lock()
	h := s.findHook(strconv.FormatInt(j.hook, 10))
	if h == nil || h.status == "disabled" {
		s.mu.Unlock()
		return false
	}
	target, header, body := h.url, http.Header{}, s.payload(j)
	resource, event, _ := strings.Cut(j.topic, ".")
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": userAgent, "X-WC-Webhook-Source": s.publicURL + "/", "X-WC-Webhook-Topic": j.topic,
		"X-WC-Webhook-Resource": resource, "X-WC-Webhook-Event": event, "X-WC-Webhook-Signature": sign(h.secret, body),
		"X-WC-Webhook-ID": strconv.FormatInt(h.id, 10), "X-WC-Webhook-Delivery-ID": deliveryID(h.id, s.now()),
	} {
		header.Set(name, value)
	}
	s.mu.Unlock()
	status, err := simulators.Post(ctx, s.o.Client, target, header, body)
	ok := err == nil && status >= 200 && status <= 302
	if ctx.Err() != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case ok:
		h.failures = 0
	case h.failures >= FailuresMax:
		h.status = "disabled"
	default:
		h.failures++
	}
	if !ok {
		s.log.Debug().Int64("webhook", j.hook).Int64("order", j.order.id).Int("status", status).Err(err).Msg("delivery was not accepted")
	}
	return ok
}

// payload is the body of a delivery. s.mu is held.
func (s *Server) payload(j job) []byte {
	switch {
	case s.o.Faults.Unreadable:
		return encode(object{"code": "woocommerce_rest_cannot_view", "message": "Sorry, you cannot view this resource.", "data": object{"status": 401}})
	case j.topic == deleted:
		return fmt.Appendf(nil, `{"id":%d}`, j.order.id)
	}
	return s.render(j.order)
}

// entities are what WordPress decodes in a secret before it signs with it.
var entities = strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">", "&quot;", `"`, "&#039;", "'")

func sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(entities.Replace(secret)))
	mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// deliveryID is the same for all deliveries of a webhook within one second.
func deliveryID(hook int64, now time.Time) string {
	mac := hmac.New(md5.New, []byte("salt of the site"))
	fmt.Fprintf(mac, "%d%d", hook, now.Unix())
	return hex.EncodeToString(mac.Sum(nil))
}

// Status counts orders and deliveries.
type Status struct {
	Orders      int    `json:"orders"`
	Outstanding int    `json:"outstanding"`
	Accepted    int    `json:"accepted"`
	Lost        int    `json:"lost"`
	Webhooks    []Hook `json:"webhooks"`
}

// Status returns the counts of now.
func (s *Server) Status() Status {
	hooks := s.Hooks()
	s.mu.Lock()
	orders := len(s.orders)
	s.mu.Unlock()
	n := s.sends.Counts()
	return Status{orders, n.Outstanding, n.Accepted, n.Lost, slices.Clip(hooks)}
}
