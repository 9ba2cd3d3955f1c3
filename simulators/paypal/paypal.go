// Package paypal is a twin of PayPal's REST APIs and webhooks: OAuth, webhook management, the events API, orders,
// payments, subscriptions and reporting, with deliveries that are signed under a certificate authority of its own and
// repeated, doubled, disordered and late as PayPal's are.
//
// It keeps every event that it was given: Sent is the truth for an audit.
package paypal

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators"
)

// Bounds and defaults.
const (
	// OutstandingMax is how many deliveries may wait for their 2xx; Emit waits for room.
	OutstandingMax = 20_000
	// RequestBytesMax bounds the body of an API request.
	RequestBytesMax = 1 << 20
	// WebhooksMax is PayPal's limit of webhook URLs in an app.
	WebhooksMax = 10
	// TokenSeconds is how long a token lives: about nine hours, as PayPal's do today.
	TokenSeconds = 32400
	// RetriesMax is how often PayPal repeats a delivery within three days.
	RetriesMax = 25

	parallelDefault    = 16
	reportItemsDefault = 10_000
	deliveryTimeout    = 30 * time.Second
)

// Account is one REST app of one PayPal account.
type Account struct {
	Name         string
	ClientID     string
	ClientSecret string
	MerchantID   string
	Environment  schemas.Environment // empty: sandbox
	// Scopes are the permissions that the app has, as a token names them; nil: all of AllScopes. A call without its own is
	// answered 403.
	Scopes []string
}

// Faults are the bad habits, as rates from 0 to 1 and delays at most.
type Faults struct {
	DuplicateRate float64 // a second delivery, half of them under a new transmission id
	DisorderRate  float64 // held back by up to DisorderDelay
	LateRate      float64 // held back by up to LateDelay
	DisorderDelay time.Duration
	LateDelay     time.Duration
	// WithholdRate: events that are sent to nobody, although they can be read through the events API; see also Withhold.
	WithholdRate float64
	// EventLag is how long an event is delivered already but not yet readable through the events API.
	EventLag time.Duration
	// ReportLag is how long a transaction takes to appear in the transaction search (PayPal: up to three hours).
	ReportLag time.Duration
}

// Options of a server. Accounts are required.
type Options struct {
	Accounts []Account
	Seed     int64 // of ids and faults
	// Now dates what is made; nil: time.Now. Deliveries are scheduled by the machine's clock in any case.
	Now func() time.Time
	// PublicURL is where this server is reached, without a final slash; Run fills it in.
	PublicURL string
	// RetrySchedule are the waits before each repetition; nil: 25 of them within two minutes in place of three days.
	RetrySchedule []time.Duration
	Parallel      int // deliveries at a time; zero: 16
	// ReportItemsMax is how many transactions one search may find, else RESULTSET_TOO_LARGE; zero: 10,000.
	ReportItemsMax int
	Faults         Faults
	// LocalWebhooks permits webhook URLs with http or another port on loopback hosts and on names without a dot.
	LocalWebhooks bool
	// Client delivers; nil: a client that follows no redirect and gives up after 30 s.
	Client *http.Client
	Log    zerolog.Logger
}

// Server is the twin. Its methods may be called from several goroutines.
type Server struct {
	o     Options
	log   zerolog.Logger
	ca    *authority
	sends *simulators.Dispatcher[*delivery]
	tries sync.Mutex // guards what events know of their deliveries

	mu        sync.Mutex
	random    *rand.Rand
	publicURL string
	accounts  map[string]*account // by name
	tokens    map[string]token
	failures  []*Failure
	withhold  int // so many of the next events are sent to nobody
	sent      []*event
	lastUUID  int64 // time of the latest transmission id, so that none repeats
}

// New returns a server whose deliveries start at once; Close stops them.
func New(o Options) (*Server, error) {
	if len(o.Accounts) == 0 {
		return nil, errors.New("paypal simulator: no account is configured")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Parallel <= 0 {
		o.Parallel = parallelDefault
	}
	if o.ReportItemsMax <= 0 {
		o.ReportItemsMax = reportItemsDefault
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
	if o.Client == nil {
		o.Client = &http.Client{Timeout: deliveryTimeout, Transport: &http.Transport{
			MaxIdleConnsPerHost: o.Parallel, MaxConnsPerHost: o.Parallel, IdleConnTimeout: time.Minute,
		}}
	}
	client := *o.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	o.Client = &client
	ca, err := newAuthority(o.Now)
	if err != nil {
		return nil, err
	}
	s := &Server{
		o: o, log: o.Log, ca: ca, publicURL: o.PublicURL, tokens: map[string]token{}, accounts: map[string]*account{},
		random: rand.New(rand.NewPCG(uint64(o.Seed), 0x9e3779b97f4a7c15)),
	}
	for _, a := range o.Accounts {
		if a.Environment == "" {
			a.Environment = schemas.Sandbox
		}
		if a.Name == "" || a.ClientID == "" || s.accounts[a.Name] != nil {
			return nil, fmt.Errorf("paypal simulator: account %q needs a name of its own and a client id", a.Name)
		}
		s.accounts[a.Name] = newAccount(a)
	}
	s.sends = simulators.NewDispatcher(OutstandingMax, s.o.Parallel, s.send)
	return s, nil
}

// scaledSchedule grows by a fifth from a quarter of a second: RetriesMax waits, 118 s together.
func scaledSchedule() []time.Duration {
	out := make([]time.Duration, RetriesMax)
	d := 250 * time.Millisecond
	for i := range out {
		out[i] = d
		d = d * 6 / 5
	}
	return out
}

// Close stops deliveries; what is outstanding is dropped.
func (s *Server) Close() {
	s.sends.Stop()
	s.o.Client.CloseIdleConnections()
}

// SetPublicURL says where the server is reached, for links and certificate URLs.
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

// TrustPEM returns the root and the intermediate certificate: what a receiver has to trust, for the connection as for
// the signatures.
func (s *Server) TrustPEM() []byte { return s.ca.trustPEM() }

// TLSConfig serves localhost and 127.0.0.1 under the server's own authority.
func (s *Server) TLSConfig() (*tls.Config, error) {
	cert, err := s.ca.tlsLeaf()
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}, nil
}

// ListenAndServe serves HTTPS on addr until ctx ends. ready is called once with the address reached; a PublicURL of
// the options stays.
func (s *Server) ListenAndServe(ctx context.Context, addr string, ready func(url string)) error {
	config, err := s.TLSConfig()
	if err != nil {
		return err
	}
	return simulators.ServeTLS(ctx, "paypal", addr, s.Handler(), config, simulators.Public(s, "https://localhost:%d"), ready)
}

// Run is a whole simulator: made, served on addr and closed when ctx ends.
func Run(ctx context.Context, o Options, addr string, ready func(url string)) error {
	return simulators.Run(ctx, New, o, addr, ready)
}
