package shopify_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/shopify"
	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/shopify"
)

// TestTroubles: what is wrong with a connection is said with its reason and remedy.
func TestTroubles(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*twin.Options, *shopify.Config, *connectors.Env)
		field  string
		want   string
		level  connectors.Level
	}{
		{"wrong token", func(_ *twin.Options, c *shopify.Config, _ *connectors.Env) {
			c.AccessToken = schemas.NewSecret("shpat_wrong")
		}, "access_token", "refuses the access token", connectors.Bad},
		{"another shop", func(_ *twin.Options, c *shopify.Config, _ *connectors.Env) { c.Shop = "other.myshopify.com" }, "shop", "permanent address is twin.myshopify.com", connectors.Bad},
		{"no permission for orders", func(o *twin.Options, _ *shopify.Config, _ *connectors.Env) { o.Scopes = []string{"read_products"} }, "access_token", "read_orders", connectors.Bad},
		{"sixty days only", func(o *twin.Options, _ *shopify.Config, _ *connectors.Env) { o.Scopes = []string{"read_orders"} }, "access_token", "read_all_orders", connectors.Warn},
		{"no permission for customers", func(o *twin.Options, _ *shopify.Config, _ *connectors.Env) {
			o.Scopes = []string{"read_orders", "read_all_orders"}
		}, "access_token", "read_customers", connectors.Warn},
		{"no permission for disputes", func(_ *twin.Options, _ *shopify.Config, e *connectors.Env) {
			e.Resources = []string{"orders", "disputes"}
		}, "access_token", "read_shopify_payments_disputes", connectors.Bad},
		{"real money in a sandbox", func(o *twin.Options, _ *shopify.Config, _ *connectors.Env) { o.RealMoney = true }, "shop", "takes real money", connectors.Bad},
		{"development shop as a live one", func(_ *twin.Options, _ *shopify.Config, e *connectors.Env) { e.Environment = schemas.Live }, "shop", "development shop", connectors.Warn},
		{"no such version", func(_ *twin.Options, c *shopify.Config, _ *connectors.Env) { c.APIVersion = "2031-01" }, "shop", "API version 2031-01", connectors.Bad},
		{"no public address", func(_ *twin.Options, _ *shopify.Config, e *connectors.Env) { e.PublicURL = "" }, "", "no public address", connectors.Bad},
		{"wrong client", func(o *twin.Options, c *shopify.Config, _ *connectors.Env) {
			o.ClientID = "right"
			c.ClientID, c.AccessToken = "wrong", schemas.Secret{}
		}, "client_id", "no token for this client id", connectors.Bad},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.change)
			found := w.src.Check(t.Context())
			i := slices.IndexFunc(found, func(f connectors.Finding) bool {
				return f.Level == c.level && f.Field == c.field && strings.Contains(f.Message, c.want) && f.Hint != ""
			})
			if i < 0 {
				t.Errorf("got %+v, want %s of %q with %q and a hint", found, c.level, c.field, c.want)
			}
		})
	}
	t.Run("customers are left out of lists", func(t *testing.T) {
		w := newWorld(t, func(o *twin.Options, _ *shopify.Config, _ *connectors.Env) { o.Scopes = []string{"read_orders"} })
		w.place("1.00")
		listed := w.normalize(w.poll(w.clock.now(), w.clock.now().Add(time.Second), false))
		if len(listed) != 1 || listed[0].Payer == nil || listed[0].Payer.Email != "ana@example.com" || listed[0].Payer.PayerID != "" {
			t.Fatalf("got %+v, want the order without the customer's account", listed)
		}
		got := w.src.(connectors.Watcher).Watch()
		if len(got) != 1 || got[0].Level != connectors.Warn || !strings.Contains(got[0].Message, "read_customers") {
			t.Errorf("got %+v, want a warning with Shopify's reason", got)
		}
	})
	t.Run("frozen shop", func(t *testing.T) {
		w := newWorld(t, nil)
		w.sim.Trouble(twin.Failure{Path: "/admin/api", Status: 402})
		if got := bad(w.src.Check(t.Context())); len(got) != 1 || !strings.Contains(got[0], "frozen") {
			t.Errorf("got %v, want the shop said to be frozen", got)
		}
		if got := w.src.(connectors.Watcher).Watch(); len(bad(got)) != 1 {
			t.Errorf("got %+v, want an alarm", got)
		}
	})
	t.Run("old version falls forward", func(t *testing.T) {
		w := newWorld(t, func(_ *twin.Options, c *shopify.Config, _ *connectors.Env) { c.APIVersion = "2025-07" })
		w.src.Check(t.Context())
		if got := w.src.(connectors.Watcher).Watch(); len(got) != 1 || !strings.Contains(got[0].Message, "answers with 2025-10") {
			t.Errorf("got %+v, want a warning with the version served", got)
		}
	})
	t.Run("app removed", func(t *testing.T) {
		w := newWorld(t, nil)
		w.register()
		w.clock.pass(time.Second)
		w.must(w.sim.Uninstall(t.Context()))
		w.wait()
		if got := bad(w.src.(connectors.Watcher).Watch()); len(got) != 1 || !strings.Contains(got[0], "removed") {
			t.Errorf("got %v, want the app said to be removed", got)
		}
		if _, err := w.src.(connectors.Registrar).Register(t.Context()); err == nil {
			t.Error("registering works without the app")
		}
		w.sim.Install()
		w.clock.pass(time.Second)
		w.register()
		if got := bad(w.src.(connectors.Watcher).Watch()); len(got) != 0 {
			t.Errorf("installed again: got %v, want no alarm", got)
		}
	})
}

// TestGrantedToken: an app of the Dev Dashboard gets its tokens by itself, again when they end.
func TestGrantedToken(t *testing.T) {
	w := newWorld(t, func(o *twin.Options, c *shopify.Config, _ *connectors.Env) {
		o.ClientID, o.AccessToken = "client", ""
		c.ClientID, c.AccessToken = "client", schemas.Secret{}
	})
	check := func(when string) {
		t.Helper()
		if got := bad(w.src.Check(t.Context())); len(got) > 0 {
			t.Errorf("%s: got %v, want none", when, got)
		}
	}
	check("at first")
	before := w.requests
	check("with the token")
	if w.requests != before+1 {
		t.Errorf("got %d requests for a second check, want one: the token is kept", w.requests-before)
	}
	w.clock.pass(25 * time.Hour)
	check("after a day")
	w.sim.ExpireTokens()
	check("after the tokens were revoked")
}

// TestSecretsRotate: while the app's secret is replaced nothing is refused, and the admin's key is another one.
func TestSecretsRotate(t *testing.T) {
	const next, admin = "shpss_next_0123456789abcdef", "0123456789abcdef0123456789abcdef0123"
	w := newWorld(t, func(_ *twin.Options, c *shopify.Config, _ *connectors.Env) {
		c.MoreSecrets = []schemas.Secret{schemas.NewSecret(next)}
	})
	w.register()
	w.place("1.00")
	w.sim.RotateSecret(next)
	w.place("2.00")
	w.wait()
	if got := len(w.deliveries()); got != 2 || len(w.forged) > 0 {
		t.Errorf("got %d genuine, refused %v, want both orders", got, w.forged)
	}

	m := newWorld(t, nil)
	m.config.Webhooks, m.config.AccessToken, m.config.ClientSecret = shopify.WebhooksManual, schemas.Secret{}, schemas.Secret{}
	m.config.MoreSecrets = []schemas.Secret{schemas.NewSecret(admin)}
	if got := m.config.Validate(); len(got) > 0 {
		t.Fatalf("webhooks of the admin alone: got %+v, want a valid configuration", got)
	}
	m.open()
	shop, err := twin.New(twin.Options{ClientSecret: appSecret, AdminSecret: admin, AdminURL: m.hook, Now: m.clock.now, RetrySchedule: []time.Duration{}})
	m.must(err)
	t.Cleanup(shop.Close)
	m.must(shop.TestNotification(t.Context(), "orders/create"))
	m.must(shop.Wait(t.Context()))
	got := m.deliveries()
	if len(got) != 1 || !got[0].Test {
		t.Fatalf("got %d deliveries, refused %v, want the test notification marked as a test", len(got), m.forged)
	}
	if e := m.normalize(got)[0]; e.RootID != fmt.Sprint(twin.TestOrderID) || !e.Test {
		t.Errorf("got root %s, test %t, want the id's digits", e.RootID, e.Test)
	}
	if reg := m.register(); reg != (connectors.Registration{}) {
		t.Errorf("got %+v, want nothing registered for webhooks made by hand", reg)
	}
	if feeds := m.src.(connectors.Poller).Feeds(); len(feeds) != 0 || m.src.Check(t.Context())[0].Level != connectors.Warn {
		t.Errorf("without an API: got feeds %v", feeds)
	}
}

// TestLimits: an empty bucket is waited for as Shopify says, in both APIs, and the budget shows it. The connection waits by
// the machine's clock, so that the twin's buckets fill by it, too.
func TestLimits(t *testing.T) {
	for _, api := range []string{shopify.APIGraphQL, shopify.APIREST} {
		t.Run(api, func(t *testing.T) {
			w := newWorld(t, func(o *twin.Options, c *shopify.Config, e *connectors.Env) {
				c.API = api
				o.Now, e.Now = time.Now, time.Now
				o.REST, o.GraphQL = twin.Bucket{Size: 40, PerSecond: 100}, twin.Bucket{Size: 1000, PerSecond: 20_000}
			})
			w.place("1.00")
			from := time.Now().Add(-time.Minute)
			if got := w.poll(from, time.Now().Add(time.Second), false); len(got) != 1 {
				t.Fatalf("got %d orders, want one", len(got))
			}
			budget := w.src.(connectors.Watcher).Budget()
			if budget.Limit == 0 || budget.Left >= budget.Limit || budget.Requests == 0 {
				t.Errorf("got %+v, want the bucket that Shopify names", budget)
			}
			w.sim.Drain(0, 0)
			if got := w.poll(from, time.Now().Add(time.Second), false); len(got) != 1 {
				t.Fatalf("throttled: got %d orders, want one", len(got))
			}
			after := w.src.(connectors.Watcher).Budget()
			if after.Requests < budget.Requests+2 || after.HoldUntil.IsZero() {
				t.Errorf("got %+v after %+v, want a refused request and a pause", after, budget)
			}
		})
	}
}

// TestFetch: what an event does not say is in its order.
func TestFetch(t *testing.T) {
	for _, api := range []string{shopify.APIGraphQL, shopify.APIREST} {
		t.Run(api, func(t *testing.T) {
			w := newWorld(t, func(_ *twin.Options, c *shopify.Config, _ *connectors.Env) { c.API = api })
			w.register()
			id := w.place("10.00")
			w.must(w.sim.Pay(t.Context(), id))
			w.wait()
			for _, e := range w.normalize(w.deliveries()) {
				d, err := w.src.(connectors.Fetcher).Fetch(t.Context(), e)
				w.must(err)
				if o := w.normalize([]connectors.Delivery{d})[0]; o.RootID != id || o.Kind != schemas.KindOrder || o.Payer == nil || o.Status != schemas.StatusPaid {
					t.Errorf("%s: got %s %s %s, want the order", e.EventType, o.Kind, o.RootID, o.Status)
				}
			}
			gone := &schemas.OrderEvent{EventID: "x", Kind: schemas.KindOrder, RootID: "999999999"}
			if _, err := w.src.(connectors.Fetcher).Fetch(t.Context(), gone); err == nil || !strings.Contains(err.Error(), connectors.ErrNotThere.Error()) {
				t.Errorf("got %v, want %v", err, connectors.ErrNotThere)
			}
			other := &schemas.OrderEvent{EventID: "x", Kind: schemas.KindOther, RootID: "app/uninstalled::1:2"}
			if _, err := w.src.(connectors.Fetcher).Fetch(t.Context(), other); err == nil || !strings.Contains(err.Error(), connectors.ErrNotThere.Error()) {
				t.Errorf("got %v, want %v", err, connectors.ErrNotThere)
			}
		})
	}
}

// TestBodyIsKept: a listed order's body is a slice of the answer, byte for byte.
func TestBodyIsKept(t *testing.T) {
	w := newWorld(t, func(_ *twin.Options, c *shopify.Config, _ *connectors.Env) { c.API = shopify.APIREST })
	id := w.place("10.00")
	listed := w.poll(w.clock.now(), w.clock.now().Add(time.Second), false)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.config.BaseURL+"/admin/api/2026-07/orders/"+id+".json", nil)
	w.must(err)
	req.Header.Set("X-Shopify-Access-Token", accessToken)
	res, err := http.DefaultClient.Do(req)
	w.must(err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	w.must(err)
	if len(listed) != 1 || !bytes.Contains(raw, listed[0].Body) || !bytes.Contains(listed[0].Body, []byte("Lamp & <shade>")) || !json.Valid(listed[0].Body) {
		t.Errorf("got %d listed orders, want one with the bytes of %s", len(listed), raw)
	}
}
