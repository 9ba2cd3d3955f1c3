package stripe_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/connectorstest"
	"github.com/tillstream/tillstream/connectors/stripe"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators"
	twin "github.com/tillstream/tillstream/simulators/stripe"
)

const (
	fullKey    = "rk_test_51FullFullFullFull"
	secret     = "whsec_ofTheEndpoint"
	hookPath   = "/webhooks/shop"
	eventsOnly = "rk_test_51EventsEventsEvents"
	hooksOnly  = "rk_test_51HooksHooksHooks"
)

// world is a twin, a receiver that verifies and normalises what it is sent, and a connection between them.
type world struct {
	sim      *twin.Server
	api      *httptest.Server
	receiver *httptest.Server
	src      connectors.Source

	mu     sync.Mutex
	status int // answer in place of 200; 0: none
	events []schemas.OrderEvent
	forged int
}

func newWorld(t *testing.T, o twin.Options) *world {
	t.Helper()
	w := &world{}
	w.receiver = httptest.NewServer(http.HandlerFunc(w.receive))
	t.Cleanup(w.receiver.Close)
	if o.Keys == nil {
		o.Keys = []twin.Key{{Text: fullKey}, {Text: eventsOnly, Permissions: []string{twin.PermissionEvents}}, {Text: hooksOnly, Permissions: []string{twin.PermissionWebhooks}}}
	}
	if o.WebhookSecret == "" {
		o.WebhookURL, o.WebhookSecret = w.receiver.URL+hookPath, secret
	}
	if o.RetrySchedule == nil {
		o.RetrySchedule = []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond}
	}
	o.Log = zerolog.Nop()
	sim, err := twin.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	w.sim, w.api = sim, httptest.NewServer(sim.Handler())
	t.Cleanup(w.api.Close)
	w.src = w.connect(t, fullKey, schemas.Sandbox)
	return w
}

func (w *world) connect(t *testing.T, key string, env schemas.Environment) connectors.Source {
	t.Helper()
	src, err := stripe.Connector.Open(t.Context(), &stripe.Config{
		SigningSecrets: []schemas.Secret{schemas.NewSecret(secret)}, APIKey: schemas.NewSecret(key), BaseURL: w.api.URL,
	}, connectors.Env{
		Connection: "shop", Environment: env, Now: time.Now, Log: zerolog.Nop(), HTTP: w.api.Client(), PublicURL: w.receiver.URL + hookPath,
	})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func (w *world) receive(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		rw.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status != 0 {
		rw.WriteHeader(w.status)
		return
	}
	d, v := w.src.(connectors.Webhooker).Verify(r.Context(), r, body)
	if v.Kind != connectors.Genuine {
		w.forged++
		rw.WriteHeader(http.StatusUnauthorized)
		return
	}
	events, err := stripe.Connector.Normalize(d)
	if err != nil {
		rw.WriteHeader(http.StatusTeapot)
		return
	}
	w.events = append(w.events, events...)
}

func (w *world) answer(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status = status
}

// received are the events that came, each once by id.
func (w *world) received() map[string]schemas.OrderEvent {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]schemas.OrderEvent{}
	for _, e := range w.events {
		out[e.EventID] = e
	}
	return out
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func order(n int, total string) simulators.Order {
	return simulators.Order{
		Email: fmt.Sprintf("jenny%d@example.com", n), GivenName: "Jenny", Surname: "Rosen", Phone: "+49301234567", Total: total, Currency: "EUR", Product: "Belt",
	}
}

// polled reads all pages of a window.
func polled(t *testing.T, src connectors.Source, from, to time.Time) []connectors.Found {
	t.Helper()
	var out []connectors.Found
	q := connectors.Query{Feed: stripe.FeedEvents, From: from, To: to}
	for range 100 {
		page, err := src.(connectors.Poller).Poll(deadline(t), q)
		must(t, err)
		out = append(out, page.Found...)
		if q.Cursor = page.Next; q.Cursor == "" {
			return out
		}
	}
	t.Fatal("the pages do not end")
	return nil
}

// levels are what a check found, a line each.
func levels(list []connectors.Finding) string {
	text := ""
	for _, f := range list {
		text += fmt.Sprintf("%s %s: %s (%s)\n", f.Level, f.Field, f.Message, f.Hint)
	}
	return text
}

// TestCheck: each thing that can be wrong is told apart, with what to do.
func TestCheck(t *testing.T) {
	w := newWorld(t, twin.Options{})
	ctx := deadline(t)
	for _, c := range []struct {
		name, key string
		env       schemas.Environment
		level     connectors.Level
		want      []string
	}{
		{"works", fullKey, schemas.Sandbox, connectors.OK, []string{"accepts the key", "switched on and complete"}},
		{"no key", "", schemas.Sandbox, connectors.Warn, []string{"no api_key is set", "Events: read"}},
		{"wrong key", "rk_test_51NobodysKey", schemas.Sandbox, connectors.Bad, []string{"status 401", "copy it again"}},
		{"a key of test mode in live", fullKey, schemas.Live, connectors.Bad, []string{"key of test mode", "live environment"}},
		{"a key of live mode in the sandbox", "sk_live_51LiveLiveLive", schemas.Sandbox, connectors.Bad, []string{"key of live mode", "sandbox environment"}},
		{"may not read events", hooksOnly, schemas.Sandbox, connectors.Bad, []string{"status 403", "give it Events: read"}},
		{"may not see endpoints", eventsOnly, schemas.Sandbox, connectors.Warn, []string{"accepts the key", "give it Webhook Endpoints: write"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			list := w.connect(t, c.key, c.env).Check(ctx)
			text := levels(list)
			for _, part := range c.want {
				if !strings.Contains(text, part) {
					t.Errorf("got\n%swant it to say %q", text, part)
				}
			}
			if got := list[len(list)-1].Level; got != c.level {
				t.Errorf("got level %s of\n%s, want %s", got, text, c.level)
			}
		})
	}
	t.Run("the mode of a key that does not say it is that of its events", func(t *testing.T) {
		live := newWorld(t, twin.Options{Live: true, Keys: []twin.Key{{Text: "rk_org_51Orgkey"}}})
		if _, err := live.sim.Place(ctx, order(1, "1.00")); err != nil {
			t.Fatal(err)
		}
		if text := levels(live.connect(t, "rk_org_51Orgkey", schemas.Sandbox).Check(ctx)); !strings.Contains(text, "not of the mode that belongs to the sandbox environment") {
			t.Errorf("got\n%s", text)
		}
	})
	t.Run("endpoint off and incomplete", func(t *testing.T) {
		w.sim.Disable(w.receiver.URL + hookPath)
		w.sim.Trim(w.receiver.URL+hookPath, "charge.succeeded")
		if text := levels(w.src.Check(ctx)); !strings.Contains(text, "is disabled") || !strings.Contains(text, "is not sent charge.captured, ") {
			t.Errorf("got\n%s", text)
		}
	})
	t.Run("no endpoint", func(t *testing.T) {
		w.sim.Remove(w.receiver.URL + hookPath)
		if text := levels(w.src.Check(ctx)); !strings.Contains(text, "no webhook endpoint at Stripe has this connection's address") || !strings.Contains(text, "put its signing secret") {
			t.Errorf("got\n%s", text)
		}
	})
	t.Run("Stripe is down", func(t *testing.T) {
		w.sim.Break(twin.Failure{Path: "/v1/events", Status: 500, RetryAfter: "3600"})
		if text := levels(w.src.Check(ctx)); !strings.Contains(text, "did not answer as expected") {
			t.Errorf("got\n%s", text)
		}
	})
}

// TestRegister: the endpoint is looked after, and none is made.
func TestRegister(t *testing.T) {
	ctx := deadline(t)
	w := newWorld(t, twin.Options{})
	hook := w.receiver.URL + hookPath
	r := w.src.(connectors.Registrar)
	register := func(changed string) {
		t.Helper()
		reg, err := r.Register(ctx)
		must(t, err)
		if !strings.HasPrefix(reg.Changed, changed) || changed == "" && reg.Changed != "" || reg.ID == "" || reg.Used != 1 || reg.Limit != 16 {
			t.Errorf("got %+v, want %q changed", reg, changed)
		}
	}
	register("")
	w.sim.Disable(hook)
	register("switched on again")
	register("")
	w.sim.Trim(hook, "customer.created")
	register("events added: charge.captured")
	register("")
	id, err := w.sim.Place(ctx, order(1, "10.00"))
	must(t, err)
	must(t, w.sim.Pay(ctx, id))
	must(t, w.sim.Wait(ctx))
	if n := len(w.received()); n != 4 {
		t.Errorf("got %d events after the endpoint was mended, want 4", n)
	}
	must(t, r.Unregister(ctx))
	register("")

	readOnly := w.connect(t, eventsOnly, schemas.Sandbox).(connectors.Registrar)
	if _, err := readOnly.Register(ctx); err == nil || !strings.Contains(err.Error(), "Webhook Endpoints: write") {
		t.Errorf("without the permission: got %v", err)
	}
	if reg, err := w.connect(t, "", schemas.Sandbox).(connectors.Registrar).Register(ctx); err != nil || reg.ID != "" {
		t.Errorf("without a key: got %+v %v, want nothing done", reg, err)
	}
	w.sim.Remove(hook)
	if _, err := r.Register(ctx); err == nil || !strings.Contains(err.Error(), "put its signing secret") {
		t.Errorf("without an endpoint: got %v, want to be told how to add it", err)
	}
	if text := levels(w.src.(connectors.Watcher).Watch()); !strings.Contains(text, "bad signing_secrets: no webhook endpoint") {
		t.Errorf("got %q, want the missing endpoint watched", text)
	}
	if b := w.src.(connectors.Watcher).Budget(); b.Requests == 0 || b.Refused != 0 {
		t.Errorf("got %+v, want requests counted", b)
	}
}

// TestRolledSecret: while a secret is rolled, the old one's deliveries hold; afterwards they do not.
func TestRolledSecret(t *testing.T) {
	ctx := deadline(t)
	w := newWorld(t, twin.Options{RetrySchedule: []time.Duration{}})
	w.sim.Roll(w.receiver.URL+hookPath, true)
	_, err := w.sim.Place(ctx, order(1, "1.00"))
	must(t, err)
	must(t, w.sim.Wait(ctx))
	if n := len(w.received()); n != 1 {
		t.Errorf("while both sign: got %d events, want 1", n)
	}
	w.sim.Roll(w.receiver.URL+hookPath, false)
	_, err = w.sim.Place(ctx, order(2, "1.00"))
	must(t, err)
	must(t, w.sim.Wait(ctx))
	if n := len(w.received()); n != 1 || w.forged != 1 {
		t.Errorf("after the roll: got %d events and %d forged, want 1 and 1", n, w.forged)
	}
}

// TestPoll: what no webhook brought is in the list, with the cause that Stripe knows, and is the event that would have
// come; pages do not shift while new events come.
func TestPoll(t *testing.T) {
	ctx := deadline(t)
	w := newWorld(t, twin.Options{RetrySchedule: []time.Duration{}})
	from := time.Now().Add(-time.Second)
	for n := range 80 {
		switch n {
		case 20:
			w.sim.Withhold(30)
		case 60:
			must(t, w.sim.Wait(ctx))
			w.answer(http.StatusServiceUnavailable)
		}
		id, err := w.sim.Place(ctx, order(n, "10.00"))
		must(t, err)
		must(t, w.sim.Pay(ctx, id))
	}
	must(t, w.sim.Wait(ctx))
	came := w.received()
	to := time.Now().Add(time.Second)
	q := connectors.Query{Feed: stripe.FeedEvents, From: from, To: to}
	seen, missed, explained := map[string]bool{}, 0, 0
	for pages := 0; ; pages++ {
		page, err := w.src.(connectors.Poller).Poll(ctx, q)
		must(t, err)
		for _, f := range page.Found {
			events, err := stripe.Connector.Normalize(f.Delivery)
			must(t, err)
			e := events[0]
			seen[e.EventID] = true
			if f.Origin != schemas.OriginPoll || e.Origin != schemas.OriginPoll {
				t.Errorf("%s: got origin %s", e.EventID, e.Origin)
			}
			if had, ok := came[e.EventID]; ok {
				if had.Fingerprint != e.Fingerprint || f.Cause != "" {
					t.Errorf("%s: another fingerprint than its webhook's, or a cause %q", e.EventID, f.Cause)
				}
				continue
			}
			missed++
			if f.Cause != "" {
				explained++
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			if pages < 3 {
				t.Errorf("got %d pages of 320 events, want at least 4", pages+1)
			}
			break
		}
		if _, err := w.sim.Place(ctx, order(1000+pages, "1.00")); err != nil { // between two pages
			t.Fatal(err)
		}
	}
	if len(seen) < 320 || missed != 320-len(came) || missed < 100 || explained != missed {
		t.Errorf("got %d events, %d without a webhook, %d of them explained; %d came", len(seen), missed, explained, len(came))
	}
}

// TestPollWindow: [From, To) by the second, oldest first, and only what is subscribed to.
func TestPollWindow(t *testing.T) {
	ctx := deadline(t)
	var mu sync.Mutex
	now := time.Now().Truncate(time.Second)
	start := now
	w := newWorld(t, twin.Options{Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }})
	for n := range 5 {
		_, err := w.sim.Place(ctx, order(n, "1.00"))
		must(t, err)
		mu.Lock()
		now = now.Add(time.Second)
		mu.Unlock()
	}
	var times []string
	for _, f := range polled(t, w.src, start.Add(time.Second), start.Add(3*time.Second)) {
		events, err := stripe.Connector.Normalize(f.Delivery)
		must(t, err)
		times = append(times, fmt.Sprint(events[0].ProviderTime.Sub(start.UTC())))
	}
	if want := []string{"1s", "2s"}; !slices.Equal(times, want) {
		t.Errorf("got %v, want %v", times, want)
	}
	if n := len(polled(t, w.src, start, start.Add(1500*time.Millisecond))); n != 2 {
		t.Errorf("a window that ends within a second: got %d events, want 2", n)
	}
	if n := len(polled(t, w.connectFor(t, stripe.ResourceSubscriptions), start, start.Add(time.Hour))); n != 0 {
		t.Errorf("got %d events of types that were not chosen, want none", n)
	}
	for _, q := range []connectors.Query{{Feed: "orders"}, {Feed: stripe.FeedEvents, Cursor: "a b"}} {
		if _, err := w.src.(connectors.Poller).Poll(ctx, q); err == nil {
			t.Errorf("%+v: no error", q)
		}
	}
	if feeds := w.connect(t, "", schemas.Sandbox).(connectors.Poller).Feeds(); len(feeds) != 0 {
		t.Errorf("without a key: got feeds %v, want none", feeds)
	}
}

func (w *world) connectFor(t *testing.T, resource string) connectors.Source {
	t.Helper()
	src, err := stripe.Connector.Open(t.Context(), &stripe.Config{
		SigningSecrets: []schemas.Secret{schemas.NewSecret(secret)}, APIKey: schemas.NewSecret(fullKey), BaseURL: w.api.URL,
	}, connectors.Env{
		Connection: "shop", Environment: schemas.Sandbox, Resources: []string{resource}, Now: time.Now, Log: zerolog.Nop(), HTTP: w.api.Client(),
	})
	must(t, err)
	return src
}

// TestValidate: each mistake is named by its field.
func TestValidate(t *testing.T) {
	good := func() *stripe.Config {
		return &stripe.Config{SigningSecrets: []schemas.Secret{schemas.NewSecret(secret)}, APIKey: schemas.NewSecret(fullKey)}
	}
	for _, c := range []struct {
		name, field string
		change      func(*stripe.Config)
	}{
		{"good", "", func(*stripe.Config) {}},
		{"without a key", "", func(c *stripe.Config) { c.APIKey = schemas.Secret{} }},
		{"a twin on this machine", "", func(c *stripe.Config) { c.BaseURL = "http://127.0.0.1:12111" }},
		{"no secret", "signing_secrets", func(c *stripe.Config) { c.SigningSecrets = nil }},
		{"an empty secret", "signing_secrets[1]", func(c *stripe.Config) { c.SigningSecrets = append(c.SigningSecrets, schemas.Secret{}) }},
		{"unlike a secret: an API key", "signing_secrets[0]", func(c *stripe.Config) { c.SigningSecrets[0] = schemas.NewSecret("sk_test_x") }},
		{"unlike a secret: the prefix alone", "signing_secrets[0]", func(c *stripe.Config) { c.SigningSecrets[0] = schemas.NewSecret("whsec_") }},
		{"unlike a secret: a line feed", "signing_secrets[0]", func(c *stripe.Config) { c.SigningSecrets[0] = schemas.NewSecret(secret + "\n") }},
		{"too many secrets", "signing_secrets", func(c *stripe.Config) { c.SigningSecrets = slices.Repeat(c.SigningSecrets, 9) }},
		{"a publishable key", "api_key", func(c *stripe.Config) { c.APIKey = schemas.NewSecret("pk_test_1") }},
		{"unlike a key: some text", "api_key", func(c *stripe.Config) { c.APIKey = schemas.NewSecret("hunter2") }},
		{"a key with a line feed", "api_key", func(c *stripe.Config) { c.APIKey = schemas.NewSecret(fullKey + "\n") }},
		{"plain http to elsewhere", "base_url", func(c *stripe.Config) { c.BaseURL = "http://stripe.example.com" }},
		{"no address", "base_url", func(c *stripe.Config) { c.BaseURL = "stripe" }},
		{"an empty metadata key", "order_metadata[0]", func(c *stripe.Config) { c.OrderMetadata = []string{""} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := good()
			c.change(cfg)
			list := cfg.Validate()
			if c.field == "" && len(list) > 0 || c.field != "" && (len(list) != 1 || list[0].Field != c.field || list[0].Hint == "") {
				t.Errorf("got %+v, want one finding at %q", list, c.field)
			}
			if unlike := strings.HasPrefix(c.name, "unlike"); len(list) == 1 && (list[0].Level == connectors.Warn) != unlike {
				t.Errorf("got %+v, want a warning %t", list, unlike)
			}
			if text := fmt.Sprint(list); strings.Contains(text, secret) || strings.Contains(text, "hunter2") {
				t.Errorf("a secret stands in %s", text)
			}
		})
	}
}

// handlerTransport answers requests by a handler, without a network.
type handlerTransport struct{ h http.Handler }

func (t handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	rec := httptest.NewRecorder()
	asked := r.Clone(r.Context())
	if asked.Body == nil {
		asked.Body = http.NoBody // as a server has it
	}
	t.h.ServeHTTP(rec, asked)
	res := rec.Result()
	res.Request = r
	return res, nil
}

// samples are all payloads under testdata that are events.
func samples(t *testing.T, at time.Time) []connectors.Delivery {
	t.Helper()
	var out []connectors.Delivery
	for _, file := range connectorstest.GoldenFiles(t, 1) {
		out = append(out, connectors.Delivery{
			Connection: "shop", Environment: schemas.Sandbox, ID: file, Body: connectorstest.GoldenBody(t, file), ReceivedAt: at, Origin: schemas.OriginWebhook,
		})
	}
	return out
}

// TestConformance: the contracts of every connector.
func TestConformance(t *testing.T) {
	ctx := deadline(t)
	at := time.Unix(1700000000, 0).UTC()
	const older = "whsec_ofTheEndpointBefore"
	sim, err := twin.New(twin.Options{
		Keys: []twin.Key{{Text: fullKey}}, WebhookURL: "https://hooks.example.com/webhooks/shop", WebhookSecret: secret, Now: func() time.Time { return at },
		Client: &http.Client{Transport: handlerTransport{http.NotFoundHandler()}}, RetrySchedule: []time.Duration{}, NoSessions: true, Log: zerolog.Nop(),
	})
	must(t, err)
	defer sim.Close()
	var placed []string
	for n := range 150 {
		id, err := sim.Place(ctx, order(n, "1.00"))
		must(t, err)
		placed = append(placed, id)
	}
	all := samples(t, at)
	signed := func(s connectorstest.Signing) *http.Request {
		with := "whsec_somebodyElses"
		if s.Secret >= 0 {
			with = []string{secret, older}[s.Secret]
		}
		r := httptest.NewRequest(http.MethodPost, "/webhooks/shop", nil)
		r.Header.Set("Stripe-Signature", twin.Sign([]string{with}, s.At, s.Body))
		return r
	}
	body := all[slices.IndexFunc(all, func(d connectors.Delivery) bool { return strings.Contains(d.ID, "dispute") })].Body
	connectorstest.Run(t, stripe.Connector, connectorstest.Options{
		Config: &stripe.Config{
			SigningSecrets: []schemas.Secret{schemas.NewSecret(secret), schemas.NewSecret(older)}, APIKey: schemas.NewSecret(fullKey),
		},
		Secrets: []string{secret, older, fullKey}, Environment: schemas.Sandbox, Now: func() time.Time { return at },
		Outside: handlerTransport{sim.Handler()},
		Signed: func() (*http.Request, []byte) {
			return signed(connectorstest.Signing{Body: body, At: at}), body
		},
		Samples: all, Sign: signed, ActiveSecrets: 2, AgeMax: 300 * time.Second, SkewMax: 24 * time.Hour,
		Listed: func(d connectors.Delivery) (connectors.Delivery, bool) {
			listed := bytes.Replace(d.Body, []byte(`"pending_webhooks": 2`), []byte(`"pending_webhooks": 0`), 1)
			changed := !bytes.Equal(listed, d.Body)
			d.Body, d.Origin = listed, schemas.OriginPoll
			return d, changed
		},
		Poll: &connectorstest.Polling{
			Outside: handlerTransport{sim.Handler()}, From: at.Add(-time.Hour), To: at.Add(time.Hour), Want: map[string][]string{stripe.FeedEvents: placed},
		},
	})
}
