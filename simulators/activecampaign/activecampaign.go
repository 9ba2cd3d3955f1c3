// Package activecampaign is a twin of an ActiveCampaign account: its API v3 as far as contacts, fields, tags, lists,
// automations, event tracking and the orders of shops go, with its paging, its rate limit, its several error shapes, and faults on demand.
//
// What the provider's documentation leaves open is decided here and said beside it. State lives in memory.
package activecampaign

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Defaults and bounds.
const (
	DefaultFields        = 137
	DefaultRatePerSecond = 5
	pageDefault          = 20
	pageMax              = 100
	bodyBytesMax         = 1 << 20
	versionsMax          = 50 // remembered versions of one contact
	versionsFew          = 5  // the same, once versionsAllMax are kept
	versionsAllMax       = 500_000
	rowsOfContactMax     = 10_000    // events and starts of one contact: the oldest go
	rowsMax              = 1_000_000 // of tracked events, messages, starts: the oldest go
	eventNameCharsMax    = 32
	eventDataCharsMax    = 250
	defaultTagCharsMax   = 250
	defaultValueCharsMax = 10_000
	readHeaderTimeout    = 10 * time.Second
	shutdownTimeout      = 3 * time.Second
)

// Options of a simulated account. The zero value is an account without a limit.
type Options struct {
	Account string // shown in links and, as actid, asked of the tracking endpoint; default "1000"
	Key     string // what Api-Token must hold; default "simulator-key"
	// EventKey is the key of the tracking endpoint; default: Key.
	EventKey string
	// Fields is the number of custom fields; default 137. The fields of a payment stand behind the third page of 20.
	Fields int
	// Lists and Automations are how many there are; at least the account's own two and four. Further ones are named
	// "List 3" and "Automation 5" and so on.
	Lists, Automations int
	// ListNames and MessageNames are further lists, and further active automations that each send a message of their name.
	ListNames, MessageNames []string
	// Triggers are further active automations, by name, and what starts a contact on them: "tag:NAME", "field:TAG",
	// "event:NAME", "order:STATUS", "recurring:STATUS".
	Triggers map[string]string
	// Denied are areas that the key's user may not use: contacts, tags, fields, lists, automations, deep_data, imports,
	// tracking.
	Denied []string
	// TagCharsMax and ValueCharsMax bound names of tags and values of fields, whose real bounds are not documented;
	// default: 250 and 10,000.
	TagCharsMax, ValueCharsMax int
	// ImportAfter is how long a bulk import waits before it is done. ImportStatus is how it ends; default: completed.
	ImportAfter  time.Duration
	ImportStatus string
	// OrderCopyAfter is how long the copy of a written order takes to show.
	OrderCopyAfter time.Duration
	// RatePerSecond is the account's limit; 0 lifts it, a negative one means the documented 5.
	RatePerSecond float64
	// SyncUpdateStatus is what contact/sync answers for a contact that existed: 200 (default) or 201.
	SyncUpdateStatus int
	Faults           Faults
	Seed             uint64
	Now              func() time.Time
	Log              zerolog.Logger
}

// Server is one account.
type Server struct {
	opts Options
	mux  *http.ServeMux

	mu      sync.Mutex // guards all below
	faults  Faults
	since   time.Time // when faults were set
	state   State
	rand    *rand.Rand
	window  window
	stats   Stats
	account account

	importsOne, importsMany []time.Time // of the last minute
}

// Stats counts what came in.
type Stats struct {
	Requests int64 `json:"requests"` // to the API, refused ones included
	Events   int64 `json:"events"`   // to the tracking endpoint
	TooMany  int64 `json:"too_many"` // answered 429 because of the limit
	Faults   int64 `json:"faults"`   // answered by a fault on demand
	// MaxPerSecond is the largest number of API requests within any second.
	MaxPerSecond int `json:"max_per_second"`
	Contacts     int `json:"contacts"`
	// Writes counts the requests that were applied, by route.
	Writes       map[string]int64 `json:"writes"`
	FirstContact time.Time        `json:"first_contact"` // zero: none yet
}

// New makes an account.
func New(o Options) *Server {
	if o.Account == "" {
		o.Account = "1000"
	}
	if o.Key == "" {
		o.Key = "simulator-key"
	}
	if o.EventKey == "" {
		o.EventKey = o.Key
	}
	if o.Fields <= 0 {
		o.Fields = DefaultFields
	}
	if o.RatePerSecond < 0 {
		o.RatePerSecond = DefaultRatePerSecond
	}
	if o.SyncUpdateStatus == 0 {
		o.SyncUpdateStatus = http.StatusOK
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.TagCharsMax <= 0 {
		o.TagCharsMax = defaultTagCharsMax
	}
	if o.ValueCharsMax <= 0 {
		o.ValueCharsMax = defaultValueCharsMax
	}
	if o.ImportStatus == "" {
		o.ImportStatus = "completed"
	}
	s := &Server{opts: o, faults: o.Faults, since: o.Now(), state: State{Denied: o.Denied}, rand: rand.New(rand.NewPCG(o.Seed, 0x5eed))}
	s.window.limit = int(o.RatePerSecond)
	s.stats.Writes = map[string]int64{}
	s.account.init(o, o.Now())
	s.account.refused = func(email string) bool { return s.inForce().rejected(email) }
	s.routes()
	return s
}

// Handler serves the API below /api/3, the tracking endpoint at /event, and the control routes below /_simulator.
func (s *Server) Handler() http.Handler { return s.mux }

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account.settle(s.opts.Now())
	out := s.stats
	out.MaxPerSecond = s.window.max
	out.Contacts = len(s.account.contacts)
	out.Writes = maps.Clone(s.stats.Writes)
	return out
}

// SetFaults replaces the faults from now on.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.since = f, s.opts.Now()
}

// Run serves an account on addr until ctx ends. ready is told the base URL ("http://host:port") once it answers.
func Run(ctx context.Context, o Options, addr string, ready func(url string)) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("simulated activecampaign cannot listen on %s: %w; choose another address", addr, err)
	}
	srv := &http.Server{
		Handler: New(o).Handler(), ReadHeaderTimeout: readHeaderTimeout,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	if ready != nil {
		ready("http://" + ln.Addr().String())
	}
	select {
	case err := <-done:
		return fmt.Errorf("simulated activecampaign on %s: %w", addr, err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		// A request that hangs on purpose does not end by itself.
		_ = srv.Close()
	}
	if err := <-done; err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("simulated activecampaign on %s: %w", addr, err)
	}
	return nil
}
