package woocommerce

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	userAgent      = "WooCommerce/9.4.2 Hookshot (WordPress/6.7.1)"
	answerBytesMax = 1 << 20
)

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

// dispatcher lets a bounded number of workers send what waits, at most once each.
type dispatcher struct {
	s      *Server
	slots  chan struct{} // one for each that is outstanding
	work   chan job      // holds as many as there are slots
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu          sync.Mutex
	waiting     map[queued]bool
	outstanding int
	idle        chan struct{} // closed when nothing is outstanding
	withhold    int
	accepted    int
	lost        int
}

func startDispatcher(s *Server) *dispatcher {
	ctx, cancel := context.WithCancel(context.Background())
	d := &dispatcher{
		s: s, slots: make(chan struct{}, OutstandingMax), work: make(chan job, OutstandingMax), cancel: cancel, waiting: map[queued]bool{},
	}
	for range s.o.Parallel {
		d.wg.Go(func() {
			for {
				select {
				case j := <-d.work:
					d.send(ctx, j)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	return d
}

func (d *dispatcher) stop() { d.cancel(); d.wg.Wait() }

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
		if err := s.sends.add(ctx, j, delays[i], again); err != nil {
			return err
		}
	}
	return nil
}

func (d *dispatcher) add(ctx context.Context, j job, delay time.Duration, again bool) error {
	id := queued{j.hook, j.order.id}
	d.mu.Lock()
	waits := d.waiting[id]
	d.mu.Unlock()
	if waits && !again {
		return nil
	}
	select {
	case d.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	d.mu.Lock()
	d.waiting[id] = true
	d.open()
	d.mu.Unlock()
	if delay == 0 {
		d.work <- j
		return nil
	}
	time.AfterFunc(delay, func() { d.work <- j }) // never blocks: there is a place for every slot
	return nil
}

// open counts one more outstanding. d.mu is held.
func (d *dispatcher) open() {
	if d.outstanding == 0 {
		d.idle = make(chan struct{})
	}
	d.outstanding++
}

// ping tries the address of a new webhook; nobody waits for the answer. Without a free slot it is left out.
func (d *dispatcher) ping(target string, id int64) {
	select {
	case d.slots <- struct{}{}:
	default:
		return
	}
	d.mu.Lock()
	d.open()
	d.mu.Unlock()
	d.work <- job{hook: id, ping: target}
}

// Withhold implements simulators.Shop.
func (s *Server) Withhold(n int) {
	s.sends.mu.Lock()
	defer s.sends.mu.Unlock()
	s.sends.withhold += n
}

// Sent implements simulators.Shop. Pings are not counted.
func (s *Server) Sent() (accepted, lost int) {
	s.sends.mu.Lock()
	defer s.sends.mu.Unlock()
	return s.sends.accepted, s.sends.lost
}

// Wait implements simulators.Shop.
func (s *Server) Wait(ctx context.Context) error {
	for {
		s.sends.mu.Lock()
		idle, outstanding := s.sends.idle, s.sends.outstanding
		s.sends.mu.Unlock()
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

func (d *dispatcher) send(ctx context.Context, j job) {
	d.mu.Lock()
	held := false
	if j.ping == "" {
		delete(d.waiting, queued{j.hook, j.order.id})
		if held = d.withhold > 0; held {
			d.withhold--
		}
	}
	d.mu.Unlock()
	var ok bool
	switch {
	case j.ping != "":
		d.s.post(ctx, j.ping, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, fmt.Appendf(nil, "webhook_id=%d", j.hook))
	case !held:
		ok = d.deliver(ctx, j)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case j.ping != "":
	case ok:
		d.accepted++
	default:
		d.lost++
	}
	<-d.slots
	if d.outstanding--; d.outstanding == 0 {
		close(d.idle)
	}
}

// deliver sends one webhook as its order stands now, and never again. From 200 to 302 counts as accepted.
func (d *dispatcher) deliver(ctx context.Context, j job) bool {
	s := d.s
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
	status, err := s.post(ctx, target, header, body)
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

func (s *Server) post(ctx context.Context, target string, header http.Header, body []byte) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header = header
	resp, err := s.o.Client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, answerBytesMax))
	return resp.StatusCode, err
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
	d := s.sends
	d.mu.Lock()
	defer d.mu.Unlock()
	return Status{orders, d.outstanding, d.accepted, d.lost, slices.Clip(hooks)}
}
