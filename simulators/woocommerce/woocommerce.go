// Package woocommerce is a twin of a WooCommerce store: orders, REST API v3 with its zone traps and page drift, and
// webhooks as WordPress sends them: built when they are sent, never sent twice, switched off after failures.
//
// It keeps every order as it is and counts what was delivered: Orders and Sent are the truth for an audit.
package woocommerce

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/simulators"
)

// Bounds and defaults.
const (
	// OutstandingMax is how many deliveries may wait; what fires them waits for room.
	OutstandingMax = 20_000
	// RequestBytesMax bounds the body of an API request.
	RequestBytesMax = 1 << 20
	// FailuresMax is the number of failures in a row that are counted: one more switches a webhook off.
	FailuresMax = 6

	parallelDefault = 4
	deliveryTimeout = 60 * time.Second // WordPress's own
	disorderDefault = 200 * time.Millisecond
	firstID         = 700
)

var _ simulators.Shop = (*Server)(nil)

// Key is one REST API key.
type Key struct {
	ConsumerKey, ConsumerSecret string
	// Permissions: read, write or read_write; empty: read_write.
	Permissions string
}

// Faults are the bad habits, as rates from 0 to 1 and delays at most.
type Faults struct {
	DuplicateRate float64 // a second delivery of the same change, with an equal body if nothing changed in between
	DisorderRate  float64 // held back by up to DisorderDelay
	DisorderDelay time.Duration
	// DraftNoise: an order is announced as order.updated while the shopper still fills in the checkout.
	DraftNoise bool
	// DropAuthorization: the web server does not pass on the Authorization header.
	DropAuthorization bool
	// TLSOnly refuses API keys over plain HTTP, as WordPress does where no proxy before it ends TLS.
	TLSOnly bool
	// Unreadable: bodies are errors, as they are when the webhook's owner may no longer read orders.
	Unreadable bool
}

// Options of a server. Keys are required.
type Options struct {
	Keys []Key
	Seed int64 // of ids and faults
	// Now dates what is made, to the second; nil: time.Now.
	Now func() time.Time
	// PublicURL is where this store is reached, without a final slash; Run fills it in.
	PublicURL string
	// Zone is the site's own; nil: three hours behind UTC.
	Zone *time.Location
	// PaymentMethod of the orders placed: stripe, ppcp-gateway, bacs or cod; empty: stripe.
	PaymentMethod string
	Parallel      int // deliveries at a time; zero: 4
	Faults        Faults
	// Client delivers; nil: one with WordPress's limit of 60 s. It follows no redirect.
	Client *http.Client
	Log    zerolog.Logger
}

// Server is the twin. Its methods may be called from several goroutines.
type Server struct {
	o     Options
	log   zerolog.Logger
	sends *simulators.Dispatcher[job]

	mu        sync.Mutex
	random    *rand.Rand
	publicURL string
	lastID    int64
	orders    []*order // in the order of their making
	byID      map[string]*order
	hooks     []*webhook
	waiting   map[queued]bool
	withhold  int // so many of the next deliveries are never sent
	failures  []*Failure
}

// New returns a server whose deliveries start at once; Close stops them.
func New(o Options) (*Server, error) {
	if len(o.Keys) == 0 {
		return nil, errors.New("woocommerce simulator: no API key is configured")
	}
	for _, k := range o.Keys {
		if k.ConsumerKey == "" || k.ConsumerSecret == "" {
			return nil, errors.New("woocommerce simulator: an API key needs a consumer key and a consumer secret")
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Zone == nil {
		o.Zone = time.FixedZone("", -3*3600)
	}
	if o.PaymentMethod == "" {
		o.PaymentMethod = "stripe"
	}
	if o.Parallel <= 0 {
		o.Parallel = parallelDefault
	}
	if o.Faults.DisorderDelay == 0 {
		o.Faults.DisorderDelay = disorderDefault
	}
	client := http.Client{Timeout: deliveryTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: o.Parallel, IdleConnTimeout: time.Minute}}
	if o.Client != nil {
		client = *o.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	o.Client = &client
	s := &Server{
		o: o, log: o.Log, publicURL: o.PublicURL, lastID: firstID, byID: map[string]*order{}, waiting: map[queued]bool{},
		random: rand.New(rand.NewPCG(uint64(o.Seed), 0x6a09e667f3bcc908)),
	}
	s.sends = simulators.NewDispatcher(OutstandingMax, s.o.Parallel, s.send)
	return s, nil
}

// Close stops deliveries; what is outstanding is dropped.
func (s *Server) Close() {
	s.sends.Stop()
	s.o.Client.CloseIdleConnections()
}

// SetPublicURL says where the store is reached, for its links and the source that it names.
func (s *Server) SetPublicURL(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publicURL = url
}

// URL returns where the store is reached.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.publicURL
}

// now is the store's clock: whole seconds.
func (s *Server) now() time.Time { return s.o.Now().UTC().Truncate(time.Second) }

// nextID numbers orders, refunds and webhooks, which share one sequence with gaps. s.mu is held.
func (s *Server) nextID() int64 {
	s.lastID += 1 + int64(s.random.IntN(3))
	return s.lastID
}

// ListenAndServe serves plain HTTP on addr until ctx ends, as behind a proxy that ends TLS. ready is called once with
// the address reached; a PublicURL of the options stays.
func (s *Server) ListenAndServe(ctx context.Context, addr string, ready func(url string)) error {
	return simulators.Serve(ctx, "woocommerce", addr, s.Handler(), simulators.Public(s, "http://127.0.0.1:%d"), ready)
}

// Run is a whole simulator: made, served on addr and closed when ctx ends.
func Run(ctx context.Context, o Options, addr string, ready func(url string)) error {
	return simulators.Run(ctx, New, o, addr, ready)
}
