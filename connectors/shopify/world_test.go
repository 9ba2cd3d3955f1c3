package shopify_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/shopify"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/processors/processorstest"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators"
	twin "github.com/tillstream/tillstream/simulators/shopify"
)

const (
	appSecret   = "shpss_0123456789abcdef0123456789abcdef"
	accessToken = "shpat_0123456789abcdef0123456789abcdef"
)

// clock is the time of twin and connection; it moves only when told.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// world is a twin, a connection to it, and an endpoint that keeps what is genuine.
type world struct {
	t      *testing.T
	sim    *twin.Server
	src    connectors.Source
	config *shopify.Config
	env    connectors.Env
	clock  *clock
	hook   string

	mu       sync.Mutex
	refuse   bool // the endpoint answers 503
	got      []connectors.Delivery
	forged   []string
	requests int // of the API
}

func newWorld(t *testing.T, change func(*twin.Options, *shopify.Config, *connectors.Env)) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{at: time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)}}
	receiver := httptest.NewServer(http.HandlerFunc(w.receive))
	t.Cleanup(receiver.Close)
	w.hook = receiver.URL + "/webhooks/shop"
	client, err := outbound.NewClient(outbound.Options{AllowPrivate: true, Now: w.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	o := twin.Options{
		AccessToken: accessToken, ClientSecret: appSecret, Seed: 1, LocalWebhooks: true, Now: w.clock.now, Log: zerolog.Nop(),
		RetrySchedule: []time.Duration{time.Millisecond, time.Millisecond},
	}
	w.config = &shopify.Config{
		Shop: "twin.myshopify.com", AccessToken: schemas.NewSecret(accessToken), ClientSecret: schemas.NewSecret(appSecret),
		API: shopify.APIGraphQL, APIVersion: "2026-07", Webhooks: shopify.WebhooksManaged,
	}
	w.env = connectors.Env{Connection: "shop", Environment: schemas.Sandbox, Now: w.clock.now, Log: zerolog.Nop(), HTTP: client, PublicURL: w.hook}
	if change != nil {
		change(&o, w.config, &w.env)
	}
	if w.sim, err = twin.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.sim.Close)
	inner := w.sim.Handler()
	api := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.requests++
		w.mu.Unlock()
		inner.ServeHTTP(rw, r)
	}))
	t.Cleanup(api.Close)
	w.sim.SetPublicURL(api.URL)
	w.config.BaseURL = api.URL
	w.open()
	return w
}

func (w *world) open() {
	w.t.Helper()
	src, err := shopify.Connector.Open(w.t.Context(), w.config, w.env)
	if err != nil {
		w.t.Fatal(err)
	}
	w.src = src
}

func (w *world) receive(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	d, v := w.src.(connectors.Webhooker).Verify(r.Context(), r, body)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.refuse:
		rw.WriteHeader(http.StatusServiceUnavailable)
	case v.Kind != connectors.Genuine:
		w.forged = append(w.forged, v.Reason)
		rw.WriteHeader(http.StatusUnauthorized)
	default:
		w.got = append(w.got, d)
	}
}

func (w *world) setRefuse(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse = on
}

func (w *world) deliveries() []connectors.Delivery {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.got)
}

func (w *world) register() connectors.Registration {
	w.t.Helper()
	reg, err := w.src.(connectors.Registrar).Register(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return reg
}

func (w *world) wait() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	if err := w.sim.Wait(ctx); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) place(total string) string {
	w.t.Helper()
	id, err := w.sim.Place(w.t.Context(), simulators.Order{
		Email: "ana@example.com", GivenName: "Ana", Surname: "Lima", Phone: "+4930901820", Total: total, Currency: "EUR", Product: "Lamp & <shade>",
	})
	w.must(err)
	return id
}

// poll reads every page of a window.
func (w *world) poll(from, to time.Time, full bool) []connectors.Delivery {
	w.t.Helper()
	var out []connectors.Delivery
	q := connectors.Query{Feed: "orders", From: from, To: to, Full: full}
	for range 1000 {
		page, err := w.src.(connectors.Poller).Poll(w.t.Context(), q)
		w.must(err)
		for _, f := range page.Found {
			out = append(out, f.Delivery)
		}
		if page.Next == "" {
			return out
		}
		q.Cursor = page.Next
	}
	w.t.Fatal("the list has no end")
	return nil
}

func (w *world) normalize(list []connectors.Delivery) []*schemas.OrderEvent {
	w.t.Helper()
	var out []*schemas.OrderEvent
	for _, d := range list {
		events, err := shopify.Connector.Normalize(d)
		if err != nil {
			w.t.Fatalf("%s: %v", d.Body, err)
		}
		for i := range events {
			out = append(out, &events[i])
		}
	}
	return out
}

// facts applies events in their order and returns what each order adds up to, by its id.
func facts(t *testing.T, events []*schemas.OrderEvent) map[string]orders.Facts {
	t.Helper()
	r := processorstest.NewRunner(orders.New(orders.Options{}), automation.New(automation.Rules{}), time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC))
	for _, e := range events {
		if err := r.Feed(e); err != nil {
			t.Fatal(err)
		}
	}
	if dead := r.DeadLetters(); len(dead) > 0 {
		t.Fatalf("got %d dead letters, the first: %s", len(dead), dead[0].Reason)
	}
	states, err := r.Orders()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]orders.Facts{}
	for key, s := range states {
		if f, ok := s.Facts(); ok {
			_, _, id, _ := schemas.SplitRootKey(key)
			out[id] = f
		}
	}
	return out
}

func bad(findings []connectors.Finding) []string {
	var out []string
	for _, f := range findings {
		if f.Level == connectors.Bad {
			out = append(out, f.Field+": "+f.Message)
		}
	}
	return out
}
