package getresponse_test

import (
	"context"
	"fmt"
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
	"github.com/tillstream/tillstream/connectors/getresponse"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators"
	twin "github.com/tillstream/tillstream/simulators/getresponse"
)

const apiKey = "kfj29dkd02kdls92kd92kd9s"

// world is a twin behind real HTTP and a connection to it, with a clock of their own.
type world struct {
	sim *twin.Server
	api *httptest.Server
	src connectors.Source

	mu  sync.Mutex
	now time.Time
}

func newWorld(t *testing.T, o twin.Options) *world {
	t.Helper()
	w := &world{now: time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)}
	o.APIKey, o.Now, o.Log = apiKey, w.clock, zerolog.Nop()
	if o.SecondMax == 0 {
		o.SecondMax = 1_000_000 // the clock stands still
	}
	sim, err := twin.New(o)
	must(t, err)
	w.sim, w.api = sim, httptest.NewServer(sim.Handler())
	t.Cleanup(w.api.Close)
	w.src = w.connect(t, config())
	return w
}

func config() *getresponse.Config {
	return &getresponse.Config{APIKey: schemas.NewSecret(apiKey), ShopID: "pf3"}
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// pass lets time pass and returns what it is then.
func (w *world) pass(d time.Duration) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
	return w.now
}

func (w *world) connect(t *testing.T, c *getresponse.Config) connectors.Source {
	t.Helper()
	if c.BaseURL == "" {
		c.BaseURL = w.api.URL + "/v3"
	}
	src, err := getresponse.Connector.Open(t.Context(), c, connectors.Env{
		Connection: "shop", Environment: schemas.Live, Now: w.clock, Log: zerolog.Nop(), HTTP: w.api.Client(),
	})
	must(t, err)
	return src
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (w *world) place(t *testing.T, n int, total string) string {
	t.Helper()
	id, err := w.sim.Place(t.Context(), simulators.Order{
		Email: fmt.Sprintf("jo%d@example.com", n), GivenName: "Jo", Surname: "Roe", Phone: "+48585550143", Total: total, Currency: "PLN", Product: "Cap",
	})
	must(t, err)
	return id
}

// poll reads all pages of a window; between is called after each page but the last.
func poll(t *testing.T, src connectors.Source, q connectors.Query, between func()) []schemas.OrderEvent {
	t.Helper()
	var out []schemas.OrderEvent
	for range 200 {
		page, err := src.(connectors.Poller).Poll(deadline(t), q)
		must(t, err)
		for _, f := range page.Found {
			events, err := getresponse.Connector.Normalize(f.Delivery)
			must(t, err)
			out = append(out, events...)
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return out
		}
		if between != nil {
			between()
		}
	}
	t.Fatal("the pages do not end")
	return nil
}

func ids(events []schemas.OrderEvent) []string {
	var out []string
	for _, e := range events {
		out = append(out, e.RootID)
	}
	slices.Sort(out)
	return out
}

func levels(list []connectors.Finding) string {
	text := ""
	for _, f := range list {
		text += fmt.Sprintf("%s %s: %s (%s)\n", f.Level, f.Field, f.Message, f.Hint)
	}
	return text
}

// TestCheck: each thing that can be wrong is told apart, with what to do.
func TestCheck(t *testing.T) {
	w, max := newWorld(t, twin.Options{}), newWorld(t, twin.Options{Domain: "example.com"})
	w.place(t, 1, "10")
	for _, c := range []struct {
		name   string
		w      *world
		change func(*getresponse.Config)
		level  connectors.Level
		want   []string
	}{
		{"works", w, func(*getresponse.Config) {}, connectors.OK, []string{"accepts the key", "the shop Monster market has 1 orders"}},
		{"wrong key", w, func(c *getresponse.Config) { c.APIKey = schemas.NewSecret("nobodysnobodys") }, connectors.Bad, []string{"api_key", "status 401", "copy it again"}},
		{"wrong shop", w, func(c *getresponse.Config) { c.ShopID = "zzz" }, connectors.Bad, []string{"shop_id", `no shop "zzz"`, "one of: pf3 (Monster market)"}},
		{"MAX without its domain", max, func(*getresponse.Config) {}, connectors.Bad, []string{"domain", "MAX accounts"}},
		{"MAX with another domain", max, func(c *getresponse.Config) { c.Domain = "example.org" }, connectors.Bad, []string{"domain", "status 404", "MAX accounts"}},
		{"MAX", max, func(c *getresponse.Config) { c.Domain = "example.com" }, connectors.OK, []string{"the shop Monster market has 0 orders"}},
		{"a wrong address", w, func(c *getresponse.Config) { c.BaseURL = w.api.URL + "/v2" }, connectors.Bad, []string{"status 404"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config()
			c.change(cfg)
			list := c.w.connect(t, cfg).Check(deadline(t))
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
	w.sim.Break(twin.Failure{Path: "/shops/pf3/orders", Status: 403, Code: 1023})
	if text := levels(w.src.Check(deadline(t))); !strings.Contains(text, "may not read shops and contacts") {
		t.Errorf("without the permission: got\n%s", text)
	}
}

// TestPollTellsNews: an order is told when it is new and when it changed, with its contact, until the next question shows
// that the answer was kept; a failed question is asked again and loses nothing.
func TestPollTellsNews(t *testing.T) {
	w := newWorld(t, twin.Options{Plugin: twin.WooCommerce})
	from := w.clock()
	window := func() connectors.Query {
		q := connectors.Query{Feed: getresponse.FeedRecent, From: from, To: w.pass(time.Minute)}
		return q
	}
	kept := func(q connectors.Query) { from = q.To }
	first, second := w.place(t, 1, "10"), w.place(t, 2, "20")
	q := window()
	got := poll(t, w.src, q, nil)
	if diff := slices.Compare(ids(got), slices.Sorted(slices.Values([]string{first, second}))); diff != 0 {
		t.Fatalf("got %v, want both", ids(got))
	}
	for _, e := range got {
		if e.Payer == nil || !strings.HasSuffix(e.Payer.Email, "@example.com") || e.Status != schemas.StatusPending || e.Payer.Address.Country != "PL" {
			t.Errorf("got %+v of %+v", e.Status, e.Payer)
		}
	}
	if again := poll(t, w.src, window(), nil); len(again) != 2 || again[0].EventID != got[0].EventID {
		t.Errorf("not kept: got %d events again, want the same 2", len(again))
	}
	q = window()
	poll(t, w.src, q, nil)
	kept(q)
	w.sim.Score("jo1@example.com", 7)
	if quiet := poll(t, w.src, window(), nil); len(quiet) != 0 {
		t.Errorf("kept, and a contact's score changed: got %v, want nothing", ids(quiet))
	}
	must(t, w.sim.Pay(t.Context(), first))
	w.sim.Break(twin.Failure{Path: "/shops/pf3/orders", Status: 401, Code: 1014})
	if _, err := w.src.(connectors.Poller).Poll(deadline(t), window()); err == nil || !strings.Contains(err.Error(), "copy it again") {
		t.Errorf("refused: got %v", err)
	}
	if text := levels(w.src.(connectors.Watcher).Watch()); !strings.Contains(text, "bad api_key") {
		t.Errorf("got %q, want the refusal watched", text)
	}
	q = window()
	if news := poll(t, w.src, q, nil); len(news) != 1 || news[0].RootID != first || news[0].Status != schemas.StatusPaid || !news[0].ProviderTime.Equal(w.clock()) {
		t.Errorf("paid: got %+v, want it once, at the time of reading", news)
	}
	if text := levels(w.src.(connectors.Watcher).Watch()); text != "" {
		t.Errorf("got %q, want it over", text)
	}
	kept(q)
	if b := w.src.(connectors.Watcher).Budget(); b.Limit != twin.WindowMax || b.Left <= 0 || b.Left >= b.Limit || b.Requests == 0 {
		t.Errorf("got %+v, want the window's numbers", b)
	}
	restarted := w.connect(t, config())
	after := poll(t, restarted, window(), nil)
	if len(after) != 2 || !slices.ContainsFunc(after, func(e schemas.OrderEvent) bool { return e.Status == schemas.StatusPaid }) {
		t.Errorf("after a restart: got %v, want both as they are", ids(after))
	}
}

// TestPollWhileOrdersMove: whatever is made or deleted between two pages, none that stays is missing.
func TestPollWhileOrdersMove(t *testing.T) {
	for _, feed := range []string{getresponse.FeedAll, getresponse.FeedRecent} {
		w := newWorld(t, twin.Options{})
		var all []string
		for n := range 450 {
			all = append(all, w.place(t, n%7, "1"))
		}
		stays := all[60:380]
		old, fresh := all[:60], all[380:]
		between := func() {
			if len(old) > 15 { // what was read already goes away, from both ends
				for range 15 {
					w.sim.Delete(old[0])
					w.sim.Delete(fresh[len(fresh)-1])
					old, fresh = old[1:], fresh[:len(fresh)-1]
				}
			}
			w.place(t, 8, "2")
		}
		got := ids(poll(t, w.src, connectors.Query{Feed: feed, From: w.clock(), To: w.pass(time.Minute)}, between))
		missing := 0
		for _, id := range stays {
			if _, ok := slices.BinarySearch(got, id); !ok {
				missing++
			}
		}
		if missing > 0 {
			t.Errorf("%s: %d of %d orders were missed", feed, missing, len(stays))
		}
	}
}

// TestRecentAndAll: the newest are read each minute, and what changed further back is found with all.
func TestRecentAndAll(t *testing.T) {
	w := newWorld(t, twin.Options{WithoutProcessedAt: true})
	cfg := config()
	cfg.RecentOrders = 100
	src := w.connect(t, cfg)
	oldest := w.place(t, 1, "1")
	for n := range 150 {
		w.place(t, n%5, "1")
	}
	q := connectors.Query{Feed: getresponse.FeedRecent, From: w.clock(), To: w.pass(time.Minute)}
	if got := ids(poll(t, src, q, nil)); len(got) != 100 || slices.Contains(got, oldest) {
		t.Errorf("recent: got %d, want the 100 newest", len(got))
	}
	q.Feed = getresponse.FeedAll
	if got := ids(poll(t, src, q, nil)); len(got) != 151 || !slices.Contains(got, oldest) {
		t.Errorf("all: got %d, want 151", len(got))
	}
	q.Full = true
	if got := poll(t, src, q, nil); len(got) != 151 {
		t.Errorf("history of orders without a time: got %d, want 151", len(got))
	}
}

// TestHistory: a backfill takes the orders made within its window, however often it asks.
func TestHistory(t *testing.T) {
	w := newWorld(t, twin.Options{})
	start := w.clock()
	var made []string
	for n := range 5 {
		made = append(made, w.place(t, n, "1"))
		w.pass(24 * time.Hour)
	}
	q := connectors.Query{Feed: getresponse.FeedAll, From: start.Add(24 * time.Hour), To: start.Add(72 * time.Hour), Full: true}
	for range 2 {
		if got, want := ids(poll(t, w.src, q, nil)), slices.Sorted(slices.Values(made[1:3])); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

// TestContactGone: an order whose contact was deleted is told without it; one whose contact cannot be read now is not
// told yet.
func TestContactGone(t *testing.T) {
	w := newWorld(t, twin.Options{})
	w.place(t, 1, "1")
	q := connectors.Query{Feed: getresponse.FeedRecent, From: w.clock(), To: w.pass(time.Minute)}
	w.sim.Break(twin.Failure{Path: "/contacts", Status: 403, Code: 1016})
	if _, err := w.src.(connectors.Poller).Poll(deadline(t), q); err == nil || !strings.Contains(err.Error(), "read the contact of an order") {
		t.Errorf("got %v, want the page refused", err)
	}
	w.sim.RemoveContact("jo1@example.com")
	if got := poll(t, w.src, q, nil); len(got) != 1 || got[0].Payer.Email != "" || got[0].Fields["contact.id"] == "" || got[0].Payer.FullName != "Jo Roe" {
		t.Errorf("got %+v, want the order with what it says itself", got)
	}
}

// TestContactsAreRemembered: many orders of one contact ask once.
func TestContactsAreRemembered(t *testing.T) {
	w := newWorld(t, twin.Options{})
	for range 50 {
		w.place(t, 1, "1")
	}
	poll(t, w.src, connectors.Query{Feed: getresponse.FeedRecent, From: w.clock(), To: w.pass(time.Minute)}, nil)
	if n := w.sim.Status().Requests; n != 2 {
		t.Errorf("got %d requests, want a page and a contact", n)
	}
}

// TestLimits: over the window's limit the provider's own pause is told, so that nobody knocks before.
func TestLimits(t *testing.T) {
	w := newWorld(t, twin.Options{WindowMax: 1})
	q := connectors.Query{Feed: getresponse.FeedAll, From: w.clock(), To: w.pass(time.Minute)}
	poll(t, w.src, q, nil)
	_, err := w.src.(connectors.Poller).Poll(deadline(t), q)
	if err == nil || !strings.Contains(err.Error(), "asked to wait 9m") && !strings.Contains(err.Error(), "asked to wait 10m") {
		t.Errorf("got %v, want the pause of X-RateLimit-Reset", err)
	}
	if text := levels(w.src.(connectors.Watcher).Watch()); !strings.Contains(text, "warn api_key") || !strings.Contains(text, "used up") {
		t.Errorf("got %q, want a warning", text)
	}
	if b := w.src.(connectors.Watcher).Budget(); b.Refused != 1 || b.HoldUntil.Before(w.clock().Add(8*time.Minute)) {
		t.Errorf("got %+v, want one refusal and the hold", b)
	}
}

// TestOpenAndPollRefuse: what is no feed, no cursor, no resource.
func TestOpenAndPollRefuse(t *testing.T) {
	w := newWorld(t, twin.Options{})
	for _, q := range []connectors.Query{{Feed: "events"}, {Feed: getresponse.FeedAll, Cursor: "x"}} {
		if _, err := w.src.(connectors.Poller).Poll(deadline(t), q); err == nil {
			t.Errorf("%+v: no error", q)
		}
	}
	for _, env := range []connectors.Env{
		{Connection: "shop", Environment: "test", Now: w.clock, HTTP: w.api.Client()},
		{Connection: "shop", Environment: schemas.Live, Now: w.clock},
		{Connection: "shop", Environment: schemas.Live, Now: w.clock, HTTP: w.api.Client(), Resources: []string{"carts"}},
	} {
		if _, err := getresponse.Connector.Open(t.Context(), config(), env); err == nil {
			t.Errorf("%+v: no error", env)
		}
	}
}

// TestValidate: each mistake is named by its field.
func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name, field string
		change      func(*getresponse.Config)
	}{
		{"good", "", func(*getresponse.Config) {}},
		{"statuses", "", func(c *getresponse.Config) {
			c.Statuses = map[string]string{"W realizacji": "paid", "x": "Partially refunded"}
		}},
		{"no key", "api_key", func(c *getresponse.Config) { c.APIKey = schemas.Secret{} }},
		{"the words before the key", "api_key", func(c *getresponse.Config) { c.APIKey = schemas.NewSecret("api-key " + apiKey) }},
		{"no shop", "shop_id", func(c *getresponse.Config) { c.ShopID = "" }},
		{"a path for a shop", "shop_id", func(c *getresponse.Config) { c.ShopID = "../contacts" }},
		{"a status that is none", "statuses.x", func(c *getresponse.Config) { c.Statuses = map[string]string{"x": "SHIPPED"} }},
		{"a status of subscriptions", "statuses.x", func(c *getresponse.Config) { c.Statuses = map[string]string{"x": "ACTIVE"} }},
		{"an empty word", "statuses", func(c *getresponse.Config) { c.Statuses = map[string]string{" ": "PAID"} }},
		{"the default of recent orders", "", func(c *getresponse.Config) { c.RecentOrders = 0 }},
		{"fewer than none", "recent_orders", func(c *getresponse.Config) { c.RecentOrders = -1 }},
		{"too many", "recent_orders", func(c *getresponse.Config) { c.RecentOrders = 1 << 20 }},
		{"a domain with www", "domain", func(c *getresponse.Config) { c.Domain = "www.example.com" }},
		{"a domain with a scheme", "domain", func(c *getresponse.Config) { c.Domain = "https://example.com" }},
		{"plain http to elsewhere", "base_url", func(c *getresponse.Config) { c.BaseURL = "http://example.com/v3" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config()
			c.change(cfg)
			list := cfg.Validate()
			if c.field == "" && len(list) > 0 || c.field != "" && (len(list) != 1 || list[0].Field != c.field || list[0].Hint == "") {
				t.Errorf("got %+v, want one finding at %q", list, c.field)
			}
			if strings.Contains(fmt.Sprint(list), apiKey) {
				t.Errorf("the key stands in %v", list)
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

// TestConformance: the contracts of every connector.
func TestConformance(t *testing.T) {
	w := newWorld(t, twin.Options{})
	var placed []string
	for n := range 250 {
		placed = append(placed, w.place(t, n%3, "1"))
	}
	at := w.clock()
	var samples []connectors.Delivery
	for _, body := range connectorstest.GoldenBodies(t) {
		samples = append(samples, connectors.Delivery{
			Connection: "shop", Environment: schemas.Live, ID: "o", Body: body, ReceivedAt: at, Origin: schemas.OriginPoll,
		})
	}
	cfg := config()
	cfg.BaseURL = "https://api.example.com/v3"
	outside := handlerTransport{w.sim.Handler()}
	connectorstest.Run(t, getresponse.Connector, connectorstest.Options{
		Config: cfg, Secrets: []string{apiKey}, Environment: schemas.Live, Now: w.clock, Outside: outside, Samples: samples, ContentIDs: true,
		Poll: &connectorstest.Polling{
			Outside: outside, From: at.Add(-time.Hour), To: at.Add(time.Hour),
			Want: map[string][]string{getresponse.FeedAll: placed, getresponse.FeedRecent: placed},
		},
	})
}
