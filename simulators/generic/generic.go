// Package generic is a twin of a small shop that posts its orders to a webhook: signed as Standard Webhooks 1.0.0 says, as
// plain JSON or as CloudEvents, sent again by the schedule that Standard Webhooks advises, faster by a factor.
//
// It keeps its own truth (Orders, Sent) and shares no code with the connector: it is the check on it.
package generic

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/simulators"
)

// Envelope is the form in which events travel.
type Envelope string

// The envelopes.
const (
	Plain      Envelope = "plain"      // {"type", "timestamp", "data"}
	Structured Envelope = "structured" // application/cloudevents+json
	Batch      Envelope = "batch"      // application/cloudevents-batch+json
	Binary     Envelope = "binary"     // ce-* headers, the data as body
)

// Bounds and defaults.
const (
	// OutstandingMax is how many messages may wait for their 2xx; an order's step waits for room.
	OutstandingMax = 20_000
	// ScaleDefault runs the three days of retries in about 70 seconds.
	ScaleDefault = 4000

	parallelDefault     = 8
	batchEventsDefault  = 3
	batchWait           = 20 * time.Millisecond
	deliveryTimeout     = 15 * time.Second
	disorderDelay       = 200 * time.Millisecond
	retryAfterSecondMax = 3600
	requestBytesMax     = 64 << 10
)

// schedule is the one that Standard Webhooks advises: the waits before each attempt.
var schedule = []time.Duration{
	0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// Faults are the bad habits, as rates from 0 to 1.
type Faults struct {
	DuplicateRate float64 // a message is sent twice at once
	DisorderRate  float64 // a message is held back by up to 200 ms
}

// Options of a shop.
type Options struct {
	// WebhookURL is where it posts; empty: nothing is sent until SetWebhook.
	WebhookURL string
	// Secrets sign (whsec_...), all of them: a shop that replaces its secret signs with both for a while.
	Secrets []string
	// PrivateKey signs, too (v1a).
	PrivateKey ed25519.PrivateKey
	Envelope   Envelope // empty: Plain
	// OwnWords writes a German shop's own JSON and words in place of the form that Tillstream proposes.
	OwnWords bool
	// Handshake asks by OPTIONS before the first event.
	Handshake bool
	// BatchEvents is how many events a batch holds at most; zero: 3.
	BatchEvents int
	// Scale is how many times faster than advised messages are sent again; zero: ScaleDefault.
	Scale    float64
	Parallel int // messages at a time; zero: 8
	Faults   Faults
	// Now dates orders and attempts; nil: time.Now. Attempts are scheduled by the machine's clock in any case.
	Now  func() time.Time
	Seed int64
	// Client delivers; nil: a client that follows no redirect and gives up after 15 s.
	Client *http.Client
	Log    zerolog.Logger
}

// Server is the shop. Its methods may be called from several goroutines.
type Server struct {
	o    Options
	keys [][]byte
	stop context.CancelFunc
	done sync.WaitGroup
	wake chan struct{} // says to one worker that there may be something to do
	room chan struct{} // one for each message that is outstanding

	mu       sync.Mutex
	random   *rand.Rand
	orders   []*order
	byID     map[string]*order
	waiting  []*message // in no order: few
	pending  []event    // of a batch that is not full
	flush    *time.Timer
	open     int           // messages outstanding, those of a batch included
	idle     chan struct{} // closed when open falls to 0
	url      string
	allowed  bool      // by the handshake
	disabled bool      // answered 410
	notUntil time.Time // the receiver asked to slow down
	withhold int
	accepted int
	lost     int
	attempts int
}

var _ simulators.Shop = (*Server)(nil)

// New returns a shop whose deliveries start at once; Close stops them.
func New(o Options) (*Server, error) {
	if o.Envelope == "" {
		o.Envelope = Plain
	}
	switch o.Envelope {
	case Plain, Structured, Batch, Binary:
	default:
		return nil, fmt.Errorf("shop simulator: there is no envelope %q", o.Envelope)
	}
	if len(o.Secrets) == 0 && o.PrivateKey == nil {
		return nil, errors.New("shop simulator: it needs a secret or a private key to sign with")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Scale <= 0 {
		o.Scale = ScaleDefault
	}
	if o.Parallel <= 0 {
		o.Parallel = parallelDefault
	}
	if o.BatchEvents <= 0 {
		o.BatchEvents = batchEventsDefault
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: deliveryTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: o.Parallel, IdleConnTimeout: time.Minute}}
	}
	client := *o.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	o.Client = &client
	s := &Server{
		o: o, url: o.WebhookURL, byID: map[string]*order{}, wake: make(chan struct{}, 1), room: make(chan struct{}, OutstandingMax),
		random: rand.New(rand.NewPCG(uint64(o.Seed), 0x2545f4914f6cdd1d)),
	}
	for i, text := range o.Secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_"))
		if err != nil {
			return nil, fmt.Errorf("shop simulator: secret %d is no base64", i+1)
		}
		s.keys = append(s.keys, key)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	for range o.Parallel {
		s.done.Go(func() { s.work(ctx) })
	}
	return s, nil
}

// Close stops deliveries; what is outstanding is dropped.
func (s *Server) Close() {
	s.stop()
	s.done.Wait()
	s.mu.Lock()
	if s.flush != nil {
		s.flush.Stop()
	}
	s.mu.Unlock()
	s.o.Client.CloseIdleConnections()
}

// SetWebhook says where to post from now on, and switches on again what a 410 had switched off.
func (s *Server) SetWebhook(url string) {
	s.mu.Lock()
	s.url, s.disabled, s.allowed, s.notUntil = url, false, false, time.Time{}
	s.mu.Unlock()
	s.nudge()
}

// ListenAndServe serves HTTP on addr until ctx ends. ready is called once with the address reached.
func (s *Server) ListenAndServe(ctx context.Context, addr string, ready func(url string)) error {
	return simulators.Serve(ctx, "shop", addr, s.Handler(), func(at *net.TCPAddr) string { return "http://" + at.String() }, ready)
}

// Run is a whole simulator: made, served on addr and closed when ctx ends.
func Run(ctx context.Context, o Options, addr string, ready func(url string)) error {
	return simulators.Run(ctx, New, o, addr, ready)
}
