// Package stripe is a twin of Stripe's API and webhooks, as far as payments need them: webhook endpoints with their
// secrets, the list of events, payment intents with their charges, refunds, disputes and Checkout sessions. Deliveries
// are signed as Stripe signs, and repeated, doubled and disordered as Stripe's are.
//
// It keeps every payment and every event: Orders, Sent and Events are the truth for an audit.
package stripe

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/simulators"
)

// Bounds and defaults.
const (
	// OutstandingMax is how many deliveries may wait for their 2xx; what moves a payment waits for room.
	OutstandingMax = 20_000
	// EndpointsMax is Stripe's bound of webhook endpoints.
	EndpointsMax = 16
	// SandboxRetries is how often a delivery is repeated in test mode; LiveRetries is about what three days of growing
	// pauses come to.
	SandboxRetries, LiveRetries = 3, 16
	// RateSandbox and RateLive are Stripe's bounds of requests in a second.
	RateSandbox, RateLive = 25, 100

	requestBytesMax = 1 << 20
	parallelDefault = 8
	deliveryTimeout = 30 * time.Second
	reach           = 30 * 24 * time.Hour
)

// Permissions of a restricted key.
const (
	PermissionEvents   = "rak_event_read"
	PermissionWebhooks = "rak_webhook_write"
	PermissionPayments = "rak_payment_intent_read"
)

// Key is an API key. Permissions nil: it may do everything.
type Key struct {
	Text        string
	Permissions []string
}

// Faults are the bad habits, as rates from 0 to 1 and delays at most.
type Faults struct {
	DuplicateRate float64
	DisorderRate  float64 // held back by up to DisorderDelay
	DisorderDelay time.Duration
}

// Options of a server.
type Options struct {
	Keys []Key
	Live bool // livemode of everything
	// WebhookURL and WebhookSecret are an endpoint that was made by hand, for all events; empty: none.
	WebhookURL, WebhookSecret string
	Seed                      int64 // of ids and faults
	// Now dates what is made and signed; nil: time.Now. Deliveries are scheduled by the machine's clock in any case.
	Now func() time.Time
	// RetrySchedule are the waits before each repetition; nil: those of the mode, scaled from days to seconds.
	RetrySchedule []time.Duration
	// DisableAfter is the number of failures in a row after which an endpoint is disabled; zero: never.
	DisableAfter int
	// RateMax is the number of API requests in one second of Now; zero: no bound.
	RateMax  int
	Parallel int // deliveries at a time; zero: 8
	Faults   Faults
	// CaptureManually holds the money of Pay until Capture.
	CaptureManually bool
	// NoSessions leaves out Checkout: payments are made by payment intents alone.
	NoSessions bool
	// CustomersOnly: events name the shopper by customer id, without an address; what is read expands it.
	CustomersOnly bool
	// Client delivers; nil: a client that follows no redirect and gives up after 30 s.
	Client *http.Client
	Log    zerolog.Logger
}

// Server is the twin. Its methods may be called from several goroutines.
type Server struct {
	o     Options
	sends *simulators.Dispatcher[*delivery]

	mu        sync.Mutex
	random    *rand.Rand
	endpoints []*endpoint
	events    []*event // oldest first
	payments  map[string]*payment
	order     []*payment
	withhold  int
	failures  []*Failure
	second    int64 // of the newest request, and how many came in it
	inSecond  int
}

var _ simulators.Shop = (*Server)(nil)

// New returns a server whose deliveries start at once; Close stops them.
func New(o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Parallel <= 0 {
		o.Parallel = parallelDefault
	}
	if o.RetrySchedule == nil {
		o.RetrySchedule = scaledSchedule(map[bool]int{false: SandboxRetries, true: LiveRetries}[o.Live])
	}
	if o.Faults.DisorderDelay == 0 {
		o.Faults.DisorderDelay = 300 * time.Millisecond
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: deliveryTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: o.Parallel, IdleConnTimeout: time.Minute}}
	}
	client := *o.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	o.Client = &client
	for _, k := range o.Keys {
		if k.Text == "" {
			return nil, errors.New("stripe simulator: a key is empty")
		}
	}
	s := &Server{o: o, payments: map[string]*payment{}, random: rand.New(rand.NewPCG(uint64(o.Seed), 0x9e3779b97f4a7c15))}
	if o.WebhookURL != "" {
		if o.WebhookSecret == "" {
			return nil, errors.New("stripe simulator: the webhook endpoint has no secret")
		}
		s.endpoints = append(s.endpoints, &endpoint{id: s.id("we_", 24), url: o.WebhookURL, secrets: []string{o.WebhookSecret}, enabled: []string{"*"}, on: true, created: o.Now().Unix()})
	}
	s.sends = simulators.NewDispatcher(OutstandingMax, s.o.Parallel, s.send)
	return s, nil
}

// scaledSchedule grows by half from a fifth of a second, to 5 s at most.
func scaledSchedule(n int) []time.Duration {
	out := make([]time.Duration, n)
	d := 200 * time.Millisecond
	for i := range out {
		out[i] = d
		d = min(d*3/2, 5*time.Second)
	}
	return out
}

// Close stops deliveries; what is outstanding is dropped.
func (s *Server) Close() {
	s.sends.Stop()
	s.o.Client.CloseIdleConnections()
}

// ListenAndServe serves HTTP on addr until ctx ends. ready is called once with the address reached.
func (s *Server) ListenAndServe(ctx context.Context, addr string, ready func(url string)) error {
	return simulators.Serve(ctx, "stripe", addr, s.Handler(), simulators.Localhost, ready)
}

// Run is a whole simulator: made, served on addr and closed when ctx ends.
func Run(ctx context.Context, o Options, addr string, ready func(url string)) error {
	return simulators.Run(ctx, New, o, addr, ready)
}

const idLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// id returns prefix and n letters. s.mu is held, or nobody else knows s yet.
func (s *Server) id(prefix string, n int) string {
	b := []byte(prefix)
	for range n {
		b = append(b, idLetters[s.random.IntN(len(idLetters))])
	}
	return string(b)
}

// Sign is the Stripe-Signature of body at a time, one v1 for each secret, and the v0 that test mode adds.
func Sign(secrets []string, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	items := []string{"t=" + t}
	for _, secret := range secrets {
		h := hmac.New(sha256.New, []byte(secret))
		h.Write([]byte(t + "."))
		h.Write(body)
		items = append(items, "v1="+hex.EncodeToString(h.Sum(nil)))
	}
	return strings.Join(append(items, "v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"), ",")
}

// Failure is trouble on demand: the next Count requests whose path starts with Path get it in place of an answer.
type Failure struct {
	Path       string `json:"path"`
	Status     int    `json:"status"`
	RetryAfter string `json:"retry_after"` // header, as it is; empty: none
	Count      int    `json:"count"`       // zero: once
}

// Break asks for trouble; failures are used up in order.
func (s *Server) Break(f Failure) {
	f.Count = max(f.Count, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, &f)
}

// Withhold implements simulators.Shop.
func (s *Server) Withhold(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.withhold += n
}
