// Package activecampaign is a twin of an ActiveCampaign account: its API v3 as far as contacts, fields, tags, lists,
// automations, event tracking and the orders of shops go, with its paging, its rate limit, its several error shapes, and faults on demand.
//
// What the provider's documentation leaves open is decided here and said beside it. State lives in memory.
package activecampaign

import (
	"context"
	"errors"
	"fmt"
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
	eventNameCharsMax    = 32
	eventDataCharsMax    = 250
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
	rand    *rand.Rand
	window  window
	stats   Stats
	account account
}

// Stats counts what came in.
type Stats struct {
	Requests int64 `json:"requests"` // to the API, refused ones included
	Events   int64 `json:"events"`   // to the tracking endpoint
	TooMany  int64 `json:"too_many"` // answered 429 because of the limit
	Faults   int64 `json:"faults"`   // answered by a fault on demand
	// MaxPerSecond is the largest number of API requests within any second.
	MaxPerSecond int       `json:"max_per_second"`
	Contacts     int       `json:"contacts"`
	FirstContact time.Time `json:"first_contact"` // zero: none yet
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
	s := &Server{opts: o, faults: o.Faults, rand: rand.New(rand.NewPCG(o.Seed, 0x5eed))}
	s.window.limit = int(o.RatePerSecond)
	s.account.init(o, o.Now())
	s.routes()
	return s
}

// Handler serves the API below /api/3, the tracking endpoint at /event, and the control routes below /_simulator.
func (s *Server) Handler() http.Handler { return s.mux }

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	out.MaxPerSecond = s.window.max
	out.Contacts = len(s.account.contacts)
	return out
}

// SetFaults replaces the faults from now on.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
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

// window counts requests over one sliding second.
type window struct {
	limit    int         // 0: none
	accepted []time.Time // of the last second
	arrived  []time.Time // of the last second, refused ones included
	max      int
}

// take counts a request; ok is false where it is one too many, and wait then says when the next may come.
func (w *window) take(now time.Time) (left int, wait time.Duration, ok bool) {
	w.arrived = append(after(w.arrived, now.Add(-time.Second)), now)
	w.max = max(w.max, len(w.arrived))
	if w.limit <= 0 {
		return 0, 0, true
	}
	w.accepted = after(w.accepted, now.Add(-time.Second))
	if len(w.accepted) >= w.limit {
		return 0, w.accepted[0].Add(time.Second).Sub(now), false
	}
	w.accepted = append(w.accepted, now)
	return w.limit - len(w.accepted), 0, true
}

// after drops what is not later than t from the head of list.
func after(list []time.Time, t time.Time) []time.Time {
	i := 0
	for i < len(list) && !list[i].After(t) {
		i++
	}
	return append(list[:0], list[i:]...)
}
