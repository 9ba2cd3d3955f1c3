// Package getresponse is a twin of GetResponse's API v3: shops and their orders; lists, contacts, custom fields, tags,
// custom events and newsletters, with creation through a queue, and faults on demand; behind the original's key, limits
// and errors. Workflows that wait for a changed payment status run in it.
// It sends no webhooks about orders, as the original does not. What the provider's documentation leaves open is decided
// here and said beside it.
//
// Below /_simulator other processes look inside (stats, contacts with the history of what was written, messages, mails,
// triggered, placed-orders, workflow-runs) and act: faults (rates), plan (rates by the clock), failures (the next requests of
// a path), panel (what people do: Action), workflows, drafts.
//
// It keeps every order and every change of a billing status: Orders and Changes are the truth for an audit, Contacts,
// Triggered, Messages and WorkflowRuns that of what clients did.
package getresponse

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/simulators"
)

// Bounds, as GetResponse's.
const (
	WindowMax   = 30_000
	Window      = 10 * time.Minute
	SecondMax   = 80
	ParallelMax = 10
	PerPageMax  = 1000

	perPageDefault  = 100
	requestBytesMax = 1 << 20
	unlimited       = 1 << 40
)

// Plugin is whose words are written into an order's two statuses.
type Plugin string

// The plugins. The official ones write the shop's own status into both; Canonical writes upper-case payment words.
const (
	Canonical   Plugin = ""
	WooCommerce Plugin = "woocommerce"
	Magento     Plugin = "magento"
)

// Options of a server. APIKey is required.
type Options struct {
	APIKey string
	// Domain makes it a MAX account: X-Domain has to be this.
	Domain string
	// ShopID and ShopName are of the shop that the story's orders go to; default: pf3, "Monster market".
	ShopID, ShopName string
	Currency         string // of the shop; default EUR
	Plugin           Plugin
	// WithoutProcessedAt leaves out when an order was made, as shops may.
	WithoutProcessedAt bool
	// WindowMax, SecondMax and ParallelMax replace the limits; zero: GetResponse's.
	WindowMax, SecondMax, ParallelMax int
	// Unlimited lifts all limits; they are still counted.
	Unlimited bool
	// WithoutTransactional: the account has not paid for transactional e-mail.
	WithoutTransactional bool
	// Tags and Lists are how many of each the account has beside its own, made by people.
	Tags, Lists int
	// Fields is the number of custom fields; default 137. The fields of a payment stand behind the first page of 100.
	Fields int
	// CreateDelay is how long a created contact waits in the queue before the API shows it.
	CreateDelay time.Duration
	Faults      Faults
	Seed        int64 // of ids
	Now         func() time.Time
	Log         zerolog.Logger
}

// Server is the twin. Its methods may be called from several goroutines.
type Server struct {
	o Options

	mu       sync.Mutex
	random   *rand.Rand
	shops    []*shop // in order of making
	contacts map[string]*contact
	changes  []Change
	failures []*Failure
	taken    map[string]bool // ids in use
	limits   usage
	truth    []*order // of the story

	lists       []*list
	fields      []*field
	tags        []*tag
	tagsByKey   map[string]*tag // by id, and by lower-case name behind a slash
	newsletters []*newsletter
	messages    []Message
	workflows   []*workflow
	runs        []WorkflowRun
	events      []*customEvent
	triggered   []Triggered
	byEmail     map[string][]*contact // by lower-case address, removed ones too
	faults      Faults
	chance      *rand.Rand // of faults
	stats       Stats
	arrived     arrivals
	batches     arrivals // of contacts/batch
	atWork      int      // requests
	plan        []phase
	blocked     int // the code of an account that is blocked; 0: it is not
	templates   []*template
	mails       []*mail
}

var _ simulators.Shop = (*Server)(nil)

// New returns a server with one shop.
func New(o Options) (*Server, error) {
	if o.APIKey == "" {
		return nil, errors.New("getresponse simulator: no API key is configured")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.ShopID == "" {
		o.ShopID, o.ShopName = "pf3", "Monster market"
	}
	if o.Currency == "" {
		o.Currency = "EUR"
	}
	if o.Unlimited {
		o.WindowMax, o.SecondMax, o.ParallelMax = unlimited, unlimited, unlimited
	}
	for of, def := range map[*int]int{&o.WindowMax: WindowMax, &o.SecondMax: SecondMax, &o.ParallelMax: ParallelMax} {
		if *of <= 0 {
			*of = def
		}
	}
	s := &Server{o: o, contacts: map[string]*contact{}, taken: map[string]bool{o.ShopID: true}, random: rand.New(rand.NewPCG(uint64(o.Seed), 0x9e3779b97f4a7c15))}
	s.byEmail, s.faults = map[string][]*contact{}, o.Faults
	s.chance = rand.New(rand.NewPCG(uint64(o.Seed), 0x5eed))
	s.initCRM()
	s.shops = []*shop{{id: o.ShopID, name: o.ShopName, currency: o.Currency, created: o.Now()}}
	return s, nil
}

// Close ends the server. Nothing runs in it between requests.
func (s *Server) Close() {}

// ListenAndServe serves HTTP on addr until ctx ends. ready is called once with the address reached; the API is below
// /v3 there.
func (s *Server) ListenAndServe(ctx context.Context, addr string, ready func(url string)) error {
	return simulators.Serve(ctx, "getresponse", addr, s.Handler(), simulators.Localhost, ready)
}

// Run is a whole simulator: made, served on addr and closed when ctx ends.
func Run(ctx context.Context, o Options, addr string, ready func(url string)) error {
	return simulators.Run(ctx, New, o, addr, ready)
}

const idLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// id returns a new short opaque id, as GetResponse's are. s.mu is held.
func (s *Server) id() string {
	for {
		b := make([]byte, 6)
		for i := range b {
			b[i] = idLetters[s.random.IntN(len(idLetters))]
		}
		if id := string(b); !s.taken[id] {
			s.taken[id] = true
			return id
		}
	}
}

// stamp is a time as GetResponse writes it: no colon in the offset, no fraction.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05-0700") }
