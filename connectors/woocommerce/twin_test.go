package woocommerce

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/connectorstest"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators"
	twin "github.com/tillstream/tillstream/simulators/woocommerce"
)

// clock is set by hand.
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

// shop is a connection to a twin over HTTP, and what it received.
type shop struct {
	*source
	clock *clock
	twin  *twin.Server
	store *httptest.Server
	hooks *httptest.Server

	mu       sync.Mutex
	refuse   int // answer of the endpoint in place of the usual one
	received []connectors.Delivery
	verdicts map[connectors.VerdictKind]int
}

const webhookSecret = "webhook-secret-0123456789abcdef"

func newShop(t *testing.T, o twin.Options, alter func(*Config, *connectors.Env)) *shop {
	t.Helper()
	s := &shop{clock: &clock{at: testTime}, verdicts: map[connectors.VerdictKind]int{}}
	o.Keys = append(o.Keys, twin.Key{ConsumerKey: "ck_all", ConsumerSecret: "cs_all"}, twin.Key{ConsumerKey: "ck_read", ConsumerSecret: "cs_read", Permissions: "read"})
	o.Now, o.Log = s.clock.now, zerolog.Nop()
	var err error
	if s.twin, err = twin.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.twin.Close)
	s.store = httptest.NewServer(s.twin.Handler())
	t.Cleanup(s.store.Close)
	s.twin.SetPublicURL(s.store.URL)
	s.hooks = httptest.NewServer(http.HandlerFunc(s.receive))
	t.Cleanup(s.hooks.Close)
	client, err := outbound.NewClient(outbound.Options{AllowPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	c := &Config{
		StoreURL: s.store.URL + "/", ConsumerKey: schemas.NewSecret("ck_all"), ConsumerSecret: schemas.NewSecret("cs_all"),
		WebhookSecrets: []schemas.Secret{schemas.NewSecret(webhookSecret)},
	}
	env := connectors.Env{
		Connection: "shop", Environment: schemas.Live, Now: s.clock.now, Log: zerolog.Nop(), HTTP: client, PublicURL: s.hooks.URL + "/webhooks/shop/t0ken",
	}
	if alter != nil {
		alter(c, &env)
	}
	if found := c.Validate(); len(found) > 0 {
		t.Fatalf("configuration: %+v", found)
	}
	if s.source, err = open(c, env); err != nil {
		t.Fatal(err)
	}
	return s
}

// receive is the endpoint: it verifies, keeps, and answers as ingest does.
func (s *shop) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	d, v := s.Verify(r.Context(), r, body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verdicts[v.Kind]++
	switch {
	case v.Kind == connectors.Forged:
		w.WriteHeader(http.StatusUnauthorized)
	case v.Kind == connectors.Ping:
	case s.refuse != 0:
		w.WriteHeader(s.refuse)
	default:
		s.received = append(s.received, d)
	}
}

func (s *shop) answer(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = status
}

// events are the records of what was received, in the order of arrival.
func (s *shop) events(t *testing.T) []schemas.OrderEvent {
	t.Helper()
	if err := s.twin.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []schemas.OrderEvent
	for _, d := range s.received {
		out = append(out, read(t, d))
	}
	return out
}

func (s *shop) register(t *testing.T) connectors.Registration {
	t.Helper()
	reg, err := s.Register(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

// must is for what a story does: it cannot fail.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func (s *shop) place(t *testing.T, total string) string {
	t.Helper()
	id, err := s.twin.Place(t.Context(), simulators.Order{
		Email: "zoë@example.com", GivenName: "Zoë", Surname: "Żak", Phone: "+48 1", Total: total, Currency: "EUR", Product: "Tee / \"Łódź\" 🫖",
	})
	must(t, err)
	return id
}

// list reads a whole window of a feed.
func (s *shop) list(t *testing.T, feed string, from, to time.Time) []schemas.OrderEvent {
	t.Helper()
	var out []schemas.OrderEvent
	q := connectors.Query{Feed: feed, From: from, To: to}
	for range 1000 {
		p, err := s.Poll(t.Context(), q)
		must(t, err)
		for _, f := range p.Found {
			out = append(out, read(t, f.Delivery))
		}
		if p.Next == "" {
			return out
		}
		q.Cursor = p.Next
	}
	t.Fatal("a thousand pages and no end")
	return nil
}

func ids(events []schemas.OrderEvent) []string {
	out := map[string]bool{}
	for _, e := range events {
		out[e.EventID] = true
	}
	return slices.Sorted(maps.Keys(out))
}

// TestConformance holds the connector to what every connector must do.
func TestConformance(t *testing.T) {
	const key, secret = "ck_canary0123456789", "cs_canary0123456789"
	sim, err := twin.New(twin.Options{Keys: []twin.Key{{ConsumerKey: key, ConsumerSecret: secret}}, Now: func() time.Time { return testTime }, Log: zerolog.Nop(), Seed: 7})
	must(t, err)
	defer sim.Close()
	var want, trash []string
	for range 230 {
		id, err := sim.Place(t.Context(), simulators.Order{Email: "a@example.com", Total: "5.00", Currency: "EUR"})
		must(t, err)
		want = append(want, id)
	}
	for _, id := range want[:3] {
		must(t, sim.Trash(t.Context(), id))
	}
	want, trash = want[3:], want[:3]
	var samples []connectors.Delivery
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, file := range files {
		list := goldens(t, file)
		samples = append(samples, list...)
	}
	const body = `{"id":727}`
	connectorstest.Run(t, Connector, connectorstest.Options{
		Config: &Config{
			StoreURL: "https://shop.example.com", ConsumerKey: schemas.NewSecret(key), ConsumerSecret: schemas.NewSecret(secret),
			WebhookSecrets: []schemas.Secret{schemas.NewSecret(webhookSecret), schemas.NewSecret(webhookSecret + "-2")},
			Statuses:       map[string]schemas.PaymentStatus{"pre-ordered": schemas.StatusPending},
		},
		Secrets: []string{key, secret, webhookSecret}, Environment: schemas.Live, Now: func() time.Time { return testTime },
		Outside: direct{sim.Handler()},
		Signed: func() (*http.Request, []byte) {
			return webhookRequest(topicDeleted, signature(webhookSecret, body), body), []byte(body)
		},
		Samples: samples, ActiveSecrets: 2, ContentIDs: true,
		Sign: func(s connectorstest.Signing) *http.Request {
			secret := map[int]string{0: webhookSecret, 1: webhookSecret + "-2", connectorstest.WrongSecret: "wrong"}[s.Secret]
			return webhookRequest(topicUpdated, signature(secret, string(s.Body)), string(s.Body))
		},
		Listed: func(d connectors.Delivery) (connectors.Delivery, bool) {
			listed := d
			listed.ID, listed.Origin = "", schemas.OriginPoll
			return listed, d.Headers[headerTopic] == topicUpdated
		},
		Tombstones: []connectors.Delivery{delivery(topicDeleted, body), delivery(topicDeleted, order("status", `"trash"`))},
		Poll: &connectorstest.Polling{
			Outside: direct{sim.Handler()}, From: testTime.Add(-time.Hour), To: testTime.Add(time.Hour),
			Want: map[string][]string{feedOrders: want, feedTrash: trash},
		},
	})
}

// direct calls a handler without a network.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	d.ServeHTTP(w, in)
	return w.Result(), nil
}

// TestRegister: made once, found again, given a new secret, switched on again, made anew, and removed; what a person
// made or paused stays.
func TestRegister(t *testing.T) {
	s := newShop(t, twin.Options{}, nil)
	byHand, err := s.twin.AddHook(topicUpdated, s.hooks.URL+"/elsewhere", "somebody's")
	must(t, err)
	status := func(topic string) (id int64, status string) {
		for _, h := range s.twin.Hooks() {
			if h.Topic == topic && h.ID != byHand {
				return h.ID, h.Status
			}
		}
		return 0, "gone"
	}
	expect := func(what, changed string, hooks int) {
		t.Helper()
		reg := s.register(t)
		if !strings.Contains(reg.Changed, changed) || changed == "" && reg.Changed != "" || len(s.twin.Hooks()) != hooks || reg.Used != hooks || reg.ID == "" {
			t.Errorf("%s: got %+v with %d webhooks, want %q with %d", what, reg, len(s.twin.Hooks()), changed, hooks)
		}
	}
	expect("first", "order.created made; order.updated made; order.deleted made; order.restored made", 5)
	expect("again", "", 5)
	must(t, s.twin.Wait(t.Context()))
	if s.verdicts[connectors.Ping] != 5 || len(s.verdicts) != 1 {
		t.Errorf("got verdicts %v, want a ping for each webhook", s.verdicts)
	}

	id, _ := status(topicUpdated)
	must(t, s.twin.SetHook(id, "disabled"))
	expect("switched off by the store", "order.updated switched on again", 5)
	if again, now := status(topicUpdated); again != id || now != "active" {
		t.Errorf("got webhook %d %s, want %d active", again, now, id)
	}
	must(t, s.twin.SetHook(id, "paused"))
	expect("paused by a person", "", 5)
	if watch := fmt.Sprint(s.Watch()); !strings.Contains(watch, "order.updated is paused") {
		t.Errorf("got %s, want it to say that a webhook is paused", watch)
	}
	must(t, s.twin.SetHook(id, ""))
	expect("deleted", "order.updated made", 5)
	if len(s.Watch()) != 0 {
		t.Errorf("got %v, want nothing to watch", s.Watch())
	}
	_, err = s.twin.AddHook(topicCreated, s.hooks.URL+"/webhooks/shop/t0ken", "another")
	must(t, err)
	expect("doubled", "order.created removed, which was registered twice", 5)

	if w, did, err := s.mend(t.Context(), topicDeleted, []webhook{{ID: "1", Name: "former", Topic: topicDeleted}}); err != nil || w.ID == "1" || !did.made {
		t.Errorf("deleted since it was listed: got %+v, %+v, %v", w, did, err)
	}
	expect("doubled by it", "order.deleted removed", 5)

	s.cfg.WebhookSecrets = append([]schemas.Secret{schemas.NewSecret(webhookSecret + "-new")}, s.cfg.WebhookSecrets...)
	expect("new secret", "order.updated given the present secret", 5)
	s.cfg.WebhookSecrets = s.cfg.WebhookSecrets[:1]
	s.place(t, "1.00")
	if got := s.events(t); len(got) != 2 || s.verdicts[connectors.Forged] != 1 { // the webhook of somebody else's
		t.Errorf("got %d events and verdicts %v under the new secret", len(got), s.verdicts)
	}
	must(t, s.Unregister(t.Context()))
	if left := s.twin.Hooks(); len(left) != 1 || left[0].ID != byHand {
		t.Errorf("got %v left, want what was made by hand", left)
	}
}

// TestRegisterAmongMany: a store with more webhooks than fit on a page.
func TestRegisterAmongMany(t *testing.T) {
	s := newShop(t, twin.Options{}, nil)
	for range 3 * hooksPerPage / 2 {
		_, err := s.twin.AddHook("coupon.updated", s.hooks.URL+"/elsewhere", "somebody's")
		must(t, err)
	}
	first := s.register(t)
	if again := s.register(t); again.Changed != "" || again.ID != first.ID || again.Used != 3*hooksPerPage/2+4 {
		t.Errorf("got %+v, then %+v", first, again)
	}
	must(t, s.twin.Wait(t.Context()))
}

// TestManual: webhooks made by hand are not touched, and a key that may only read is enough.
func TestManual(t *testing.T) {
	s := newShop(t, twin.Options{}, func(c *Config, _ *connectors.Env) {
		c.ManualWebhooks, c.ConsumerKey, c.ConsumerSecret = true, schemas.NewSecret("ck_read"), schemas.NewSecret("cs_read")
	})
	s.register(t)
	must(t, s.Unregister(t.Context()))
	for _, f := range s.Check(t.Context()) {
		if f.Level != connectors.OK {
			t.Errorf("check: %+v", f)
		}
	}
	if got := s.twin.Hooks(); len(got) != 0 {
		t.Errorf("got webhooks %v", got)
	}
}

// TestLostWebhooks: a store never sends again. It switches its webhooks off after failures, or somebody deletes them;
// registering mends that, and the list tells what was lost.
func TestLostWebhooks(t *testing.T) {
	s := newShop(t, twin.Options{Parallel: 1}, nil)
	from := s.clock.now()
	s.register(t)
	first := s.place(t, "10.00")
	must(t, s.twin.Wait(t.Context()))
	s.answer(503)
	for range 7 {
		s.clock.pass(time.Second)
		must(t, s.twin.Touch(t.Context(), first), s.twin.Wait(t.Context()))
	}
	s.clock.pass(time.Second)
	must(t, s.twin.Pay(t.Context(), first))
	s.answer(0)
	if got := s.events(t); len(got) != 2 {
		t.Fatalf("got %d events, want those before the trouble", len(got))
	}
	if reg := s.register(t); reg.Changed != "order.updated switched on again, which the store had switched off after failed deliveries" {
		t.Errorf("got %+v", reg)
	}
	s.twin.Withhold(3)
	second := s.place(t, "20.00") // created and updated
	must(t, s.twin.Wait(t.Context()))
	s.clock.pass(time.Second)
	must(t, s.twin.Cancel(t.Context(), second), s.twin.Wait(t.Context()))
	s.clock.pass(time.Second)
	third := s.place(t, "30.00")
	s.clock.pass(time.Minute)
	received := s.events(t)
	listed := s.list(t, feedOrders, from, s.clock.now())
	want := map[string]schemas.PaymentStatus{first: schemas.StatusPaid, second: schemas.StatusCancelled, third: schemas.StatusPending}
	got := map[string]schemas.PaymentStatus{}
	for _, e := range listed {
		got[e.RootID] = e.Status
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("listed: -got +want:\n%s", diff)
	}
	// The third one's webhook and its row in the list are one event.
	if id := listed[len(listed)-1].EventID; !slices.Contains(ids(received), id) {
		t.Errorf("listed %s, received %v", id, ids(received))
	}
	if accepted, lost := s.twin.Sent(); accepted != len(received) || lost != 10 {
		t.Errorf("the twin says %d accepted and %d lost, received %d", accepted, lost, len(received))
	}
}

// TestCheck: each way in which a connection can be wrong, with its reason and what to do.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name    string
		options twin.Options
		alter   func(*Config, *connectors.Env)
		trouble *twin.Failure
		level   connectors.Level
		field   string
		says    string
	}{
		{"unknown key", twin.Options{}, func(c *Config, _ *connectors.Env) { c.ConsumerKey = schemas.NewSecret("ck_other") }, nil, connectors.Bad, "consumer_key", "Consumer key is invalid"},
		{"wrong secret", twin.Options{}, func(c *Config, _ *connectors.Env) { c.ConsumerSecret = schemas.NewSecret("cs_other") }, nil, connectors.Bad, "consumer_key", "Consumer secret is invalid"},
		{"read only", twin.Options{}, func(c *Config, _ *connectors.Env) {
			c.ConsumerKey, c.ConsumerSecret = schemas.NewSecret("ck_read"), schemas.NewSecret("cs_read")
		}, nil, connectors.Bad, "consumer_key", "may read but not write"},
		{"write only", twin.Options{Keys: []twin.Key{{ConsumerKey: "ck_w", ConsumerSecret: "cs_w", Permissions: "write"}}}, func(c *Config, _ *connectors.Env) {
			c.ConsumerKey, c.ConsumerSecret = schemas.NewSecret("ck_w"), schemas.NewSecret("cs_w")
		}, nil, connectors.Bad, "consumer_key", "read permissions"},
		{"header dropped", twin.Options{Faults: twin.Faults{DropAuthorization: true}}, nil, nil, connectors.Bad, "query_auth", "drops the Authorization header"},
		{"no TLS to the store", twin.Options{Faults: twin.Faults{TLSOnly: true}}, nil, nil, connectors.Bad, "consumer_secret", "cannot list resources"},
		{"no shop at the address", twin.Options{}, func(c *Config, _ *connectors.Env) { c.StoreURL += "blog" }, nil, connectors.Bad, "store_url", "404"},
		{"no WooCommerce", twin.Options{}, nil, &twin.Failure{Path: "/wp-json/wc", Status: 404}, connectors.Bad, "store_url", "404"},
		{"moved", twin.Options{}, nil, &twin.Failure{Path: "/wp-json/wc", Status: 301, Location: "https://www.example.com/wp-json/?consumer_secret=cs_all"}, connectors.Bad, "store_url", "https://www.example.com"},
		{"firewall", twin.Options{}, nil, &twin.Failure{Path: "/wp-json/wc", Status: 403}, connectors.Bad, "store_url", "403"},
		{"a page in place of JSON", twin.Options{}, nil, &twin.Failure{Path: "/wp-json/wc", Status: 200}, connectors.Bad, "store_url", "no JSON"},
		{"cut", twin.Options{}, nil, &twin.Failure{Path: "/wp-json/wc", Cut: true, Count: 9}, connectors.Bad, "store_url", "EOF"},
		{"no public address", twin.Options{}, func(_ *Config, e *connectors.Env) { e.PublicURL = "" }, nil, connectors.Bad, "", "no public address"},
		{"clock", twin.Options{}, func(_ *Config, e *connectors.Env) {
			e.Now = func() time.Time { return testTime.Add(-3 * time.Minute) }
		}, nil, connectors.Warn, "store_url", "differ by 3m0s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShop(t, c.options, c.alter)
			if c.trouble != nil {
				s.twin.Trouble(*c.trouble)
			}
			found := s.Check(t.Context())
			if !slices.ContainsFunc(found, func(f connectors.Finding) bool {
				return f.Level == c.level && f.Field == c.field && strings.Contains(f.Message+" "+f.Hint, c.says) && f.Hint != ""
			}) {
				t.Errorf("got %+v, want %s at %q with %q", found, c.level, c.field, c.says)
			}
			if text := fmt.Sprint(found); strings.Contains(text, "cs_all") {
				t.Errorf("a secret comes out: %s", text)
			}
		})
	}
	s := newShop(t, twin.Options{Faults: twin.Faults{DropAuthorization: true}}, func(c *Config, _ *connectors.Env) { c.QueryAuth = true })
	s.register(t)
	for _, f := range s.Check(t.Context()) {
		if f.Level != connectors.OK {
			t.Errorf("key in the query: %+v", f)
		}
	}
	if b := s.Budget(); b.Requests == 0 {
		t.Errorf("got %+v", b)
	}
}

// TestFetch: an order as it is now, in the trash too; one that is not there is said so.
func TestFetch(t *testing.T) {
	s := newShop(t, twin.Options{}, nil)
	id := s.place(t, "10.00")
	ask := func(root string) (connectors.Delivery, error) {
		return s.Fetch(t.Context(), &schemas.OrderEvent{Kind: schemas.KindOrder, RootID: root})
	}
	d, err := ask(id)
	must(t, err)
	if e := read(t, d); e.RootID != id || e.Payer.Email != "zoë@example.com" {
		t.Errorf("got %+v", e)
	}
	must(t, s.twin.Trash(t.Context(), id))
	d, err = ask(id)
	must(t, err)
	if e := read(t, d); !e.Deleted {
		t.Errorf("in the trash: got %+v", e)
	}
	for _, root := range []string{"1", "order:7", "../webhooks"} {
		if _, err := ask(root); !errors.Is(err, connectors.ErrNotThere) {
			t.Errorf("%s: got %v, want that it is not there", root, err)
		}
	}
	if len(s.Watch()) != 0 {
		t.Errorf("got %v, want an order that is not there to be no trouble", s.Watch())
	}
	bare, _ := shelf(t, func(w http.ResponseWriter, _ url.Values) {
		w.WriteHeader(404)
		fmt.Fprint(w, `{"code":"rest_no_route","message":"No route was found","data":{"status":404}}`)
	})
	if _, err := bare.Fetch(t.Context(), &schemas.OrderEvent{Kind: schemas.KindOrder, RootID: "7"}); err == nil || errors.Is(err, connectors.ErrNotThere) {
		t.Errorf("WordPress without WooCommerce: got %v, want an error that is no answer about the order", err)
	}
	s.twin.Trouble(twin.Failure{Path: "/wp-json/wc", Status: 404})
	if _, err := ask(id); err == nil || errors.Is(err, connectors.ErrNotThere) {
		t.Errorf("no API at all: got %v, want an error that is no answer about the order", err)
	}
	if len(s.Watch()) != 1 {
		t.Errorf("got %v, want it to say that the store refused", s.Watch())
	}
}
