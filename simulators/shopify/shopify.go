// Package shopify is a twin of one Shopify shop: its webhooks, its REST and GraphQL Admin APIs as far as orders and
// subscriptions go, their buckets and their bad habits. Deliveries are signed, repeated, doubled, disordered and late as
// Shopify's are; a retry carries the body of its first try, and a subscription whose delivery was given up is deleted.
//
// It keeps every order as it stands: Orders is the truth for an audit.
package shopify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/simulators"
)

// Bounds and defaults.
const (
	// OutstandingMax is how many deliveries may wait for their 2xx; what makes another waits for room.
	OutstandingMax = 20_000
	// RequestBytesMax bounds the body of an API request.
	RequestBytesMax = 1 << 20
	// RetriesMax is how often Shopify repeats a delivery, within four hours.
	RetriesMax = 8
	// TokenSeconds is how long a token of the client credentials grant lives.
	TokenSeconds = 86_399
	// AgeMax is how far back orders are listed without the scope read_all_orders.
	AgeMax = 60 * 24 * time.Hour

	parallelDefault = 8
	deliveryTimeout = 5 * time.Second
)

// Versions that are served, oldest first; an older one that was asked for is answered with the first.
var Versions = []string{"2025-10", "2026-01", "2026-04", "2026-07", "2026-10"}

// Families of headers.
const (
	Classic = "classic" // X-Shopify-*
	Events  = "events"  // Shopify-*
	Both    = "both"
)

// Faults are the bad habits, as rates from 0 to 1 and delays at most.
type Faults struct {
	DuplicateRate float64 // a second sending under the same webhook id
	DisorderRate  float64 // held back by up to DisorderDelay
	LateRate      float64 // held back by up to LateDelay
	DisorderDelay time.Duration
	LateDelay     time.Duration
	// Debounce leaves out a sending whose body equals the one before of the same topic and order.
	Debounce bool
}

// Bucket is a limit: it holds Size and gets PerSecond back.
type Bucket struct{ Size, PerSecond float64 }

// Options of a server. The zero value is a development shop with an app that may read all its orders.
type Options struct {
	Shop string // default: twin.myshopify.com
	// AccessToken of an app that was given a lasting one; default: none is valid but those granted.
	AccessToken string
	// ClientID and ClientSecret of the app; the secret signs its webhooks.
	ClientID, ClientSecret string
	// AdminSecret signs the webhooks that were made in the shop's admin, which go to AdminURL; no URL: there are none.
	AdminSecret, AdminURL string
	Scopes                []string // nil: read_orders, read_all_orders, read_customers
	RealMoney             bool     // no development shop
	Headers               string   // Classic (default), Events or Both
	Seed                  int64    // of ids and faults
	// Now dates what is made; nil: time.Now. Deliveries are scheduled by the machine's clock in any case.
	Now func() time.Time
	// PublicURL is where this server is reached, without a final slash; Run fills it in.
	PublicURL string
	// RetrySchedule are the waits before each repetition; nil: 8 of them within a few seconds in place of four hours.
	RetrySchedule []time.Duration
	Parallel      int // deliveries at a time; zero: 8
	Faults        Faults
	// LocalWebhooks permits subscriptions with plain http.
	LocalWebhooks bool
	REST, GraphQL Bucket       // zero: Shopify's standard, 40 and 2 a second, 2000 and 100 a second
	Client        *http.Client // delivers; nil: a client that follows no redirect and gives up after 5 s
	Log           zerolog.Logger
}

// Server is the twin. Its methods may be called from several goroutines.
type Server struct {
	o     Options
	sends *simulators.Dispatcher[*sending]

	mu        sync.Mutex
	random    *rand.Rand
	publicURL string
	secret    string // signs
	tokens    map[string]time.Time
	hooks     []*subscription
	orders    []*order
	byID      map[int64]*order
	lastID    int64
	rest      level
	graphql   level
	failures  []*Failure
	withheld  int
	lastBody  map[string]string // by topic and order, for debouncing
	uninstall bool
}

var _ simulators.Shop = (*Server)(nil)

// New returns a server whose deliveries start at once; Close stops them.
func New(o Options) (*Server, error) {
	if o.ClientSecret == "" {
		return nil, errors.New("shopify simulator: the app needs a client secret")
	}
	if o.Shop == "" {
		o.Shop = "twin.myshopify.com"
	}
	if o.Scopes == nil {
		o.Scopes = []string{"read_orders", "read_all_orders", "read_customers"}
	}
	if o.Headers == "" {
		o.Headers = Classic
	}
	if !slices.Contains([]string{Classic, Events, Both}, o.Headers) {
		return nil, fmt.Errorf("shopify simulator: headers %q are none of %s, %s, %s", o.Headers, Classic, Events, Both)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Parallel <= 0 {
		o.Parallel = parallelDefault
	}
	if o.RetrySchedule == nil {
		o.RetrySchedule = scaledSchedule()
	}
	if o.Faults.DisorderDelay == 0 {
		o.Faults.DisorderDelay = 300 * time.Millisecond
	}
	if o.Faults.LateDelay == 0 {
		o.Faults.LateDelay = 5 * time.Second
	}
	if o.REST == (Bucket{}) {
		o.REST = Bucket{40, 2}
	}
	if o.GraphQL == (Bucket{}) {
		o.GraphQL = Bucket{2000, 100}
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: deliveryTimeout, Transport: &http.Transport{
			MaxIdleConnsPerHost: o.Parallel, MaxConnsPerHost: o.Parallel, IdleConnTimeout: time.Minute,
		}}
	}
	client := *o.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	o.Client = &client
	s := &Server{
		o: o, publicURL: o.PublicURL, secret: o.ClientSecret, tokens: map[string]time.Time{}, byID: map[int64]*order{},
		random: rand.New(rand.NewPCG(uint64(o.Seed), 0x5851f42d4c957f2d)), lastID: 450_789_469 + o.Seed%1_000_000*1000, lastBody: map[string]string{},
		rest: level{bucket: o.REST}, graphql: level{bucket: o.GraphQL},
	}
	if o.AdminURL != "" {
		for _, topic := range adminTopics {
			s.hooks = append(s.hooks, &subscription{id: s.nextID(), topic: topic, url: o.AdminURL, format: "JSON", admin: true})
		}
	}
	s.sends = simulators.NewDispatcher(OutstandingMax, s.o.Parallel, s.try)
	return s, nil
}

// adminTopics are those that a merchant makes by hand.
var adminTopics = []string{"ORDERS_CREATE", "ORDERS_UPDATED", "ORDERS_PAID", "ORDERS_CANCELLED", "REFUNDS_CREATE"}

// scaledSchedule doubles from a twentieth of a second: RetriesMax waits, 12.75 s together.
func scaledSchedule() []time.Duration {
	out := make([]time.Duration, RetriesMax)
	d := 50 * time.Millisecond
	for i := range out {
		out[i] = d
		d *= 2
	}
	return out
}

// nextID is an id of any object: they share one sequence here. s.mu is held, or nobody else knows s yet.
func (s *Server) nextID() int64 {
	s.lastID += 1 + s.random.Int64N(9)
	return s.lastID
}

// Close stops deliveries; what is outstanding is dropped.
func (s *Server) Close() {
	s.sends.Stop()
	s.o.Client.CloseIdleConnections()
}

// SetPublicURL says where the server is reached, for links.
func (s *Server) SetPublicURL(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publicURL = url
}

// URL returns where the server is reached.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.publicURL
}

// RotateSecret makes the app sign with another secret. Deliveries that were signed before keep their signature.
func (s *Server) RotateSecret(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secret = secret
}

// Uninstall takes the app out of the shop: it is told so, its tokens end, its subscriptions are gone.
func (s *Server) Uninstall(ctx context.Context) error {
	s.mu.Lock()
	now := s.o.Now().UTC().Truncate(time.Second)
	list := s.emit("app/uninstalled", "APP_UNINSTALLED", s.lastID, encode(object{
		"id": 548380009, "name": s.o.Shop, "domain": s.o.Shop, "myshopify_domain": s.o.Shop, "updated_at": stamp(now),
	}), now)
	s.hooks = slices.DeleteFunc(s.hooks, func(h *subscription) bool { return !h.admin })
	s.uninstall = true
	clear(s.tokens)
	s.mu.Unlock()
	return s.send(ctx, list)
}

// Install puts the app back.
func (s *Server) Install() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uninstall = false
}

// ListenAndServe serves HTTP on addr until ctx ends. ready is called once with the address reached.
func (s *Server) ListenAndServe(ctx context.Context, addr string, ready func(url string)) error {
	return simulators.Serve(ctx, "shopify", addr, s.Handler(), simulators.Public(s, "http://127.0.0.1:%d"), ready)
}

// Run is a whole simulator: made, served on addr and closed when ctx ends.
func Run(ctx context.Context, o Options, addr string, ready func(url string)) error {
	return simulators.Run(ctx, New, o, addr, ready)
}
