package shopify

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/connectorstest"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators"
	twin "github.com/tillstream/tillstream/simulators/shopify"
)

func working() *Config {
	c := Connector.Config().(*Config)
	c.Shop, c.ClientSecret, c.AccessToken = shop, secretOf("shpss_0123456789abcdef"), secretOf("shpat_0123456789abcdef")
	return c
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		field  string // empty: valid
	}{
		{"an app with a lasting token", func(*Config) {}, ""},
		{"an app of the Dev Dashboard", func(c *Config) { c.ClientID, c.AccessToken = "id", schemas.Secret{} }, ""},
		{"webhooks of the admin alone", func(c *Config) {
			c.Webhooks, c.AccessToken, c.ClientSecret = WebhooksManual, schemas.Secret{}, schemas.Secret{}
			c.MoreSecrets = []schemas.Secret{secretOf("k")}
		}, ""},
		{"rest", func(c *Config) { c.API = APIREST }, ""},
		{"the domain that customers see", func(c *Config) { c.Shop = "shop.example.com" }, "shop"},
		{"an address", func(c *Config) { c.Shop = "https://twin.myshopify.com/" }, "shop"},
		{"capitals", func(c *Config) { c.Shop = "Twin.myshopify.com" }, "shop"},
		{"another host in front", func(c *Config) { c.Shop = "evil.example/twin.myshopify.com" }, "shop"},
		{"no secret", func(c *Config) { c.ClientSecret = schemas.Secret{} }, "client_secret"},
		{"an empty further secret", func(c *Config) { c.MoreSecrets = []schemas.Secret{{}} }, "more_secrets[0]"},
		{"too many secrets", func(c *Config) {
			for range secretsMax + 1 {
				c.MoreSecrets = append(c.MoreSecrets, secretOf("k"))
			}
		}, "more_secrets"},
		{"no token", func(c *Config) { c.AccessToken = schemas.Secret{} }, "access_token"},
		{"two ways to a token", func(c *Config) { c.ClientID = "id" }, "access_token"},
		{"client id without its secret", func(c *Config) {
			c.ClientID, c.AccessToken, c.ClientSecret, c.Webhooks = "id", schemas.Secret{}, schemas.Secret{}, WebhooksManual
			c.MoreSecrets = []schemas.Secret{secretOf("k")}
		}, "client_secret"},
		{"another api", func(c *Config) { c.API = "soap" }, "api"},
		{"another way of webhooks", func(c *Config) { c.Webhooks = "never" }, "webhooks"},
		{"no version", func(c *Config) { c.APIVersion = "latest" }, "api_version"},
		{"no month of a version", func(c *Config) { c.APIVersion = "2026-02" }, "api_version"},
		{"an ended version", func(c *Config) { c.APIVersion = "2024-04" }, "api_version"},
		{"a twin on this machine", func(c *Config) { c.BaseURL = "http://127.0.0.1:8080" }, ""},
		{"a plain address elsewhere", func(c *Config) { c.BaseURL = "http://shop.example.com" }, "base_url"},
		{"no address", func(c *Config) { c.BaseURL = "shop" }, "base_url"},
	} {
		cfg := working()
		c.change(cfg)
		got := cfg.Validate()
		switch {
		case c.field == "" && len(got) > 0:
			t.Errorf("%s: got %+v, want it valid", c.name, got)
		case c.field != "" && (len(got) != 1 || got[0].Field != c.field || got[0].Hint == "" || got[0].Level != connectors.Bad):
			t.Errorf("%s: got %+v, want one finding of %s with a hint", c.name, got, c.field)
		}
	}
}

func TestWantedTopics(t *testing.T) {
	for _, c := range []struct {
		chosen []string
		want   string
	}{
		{nil, "APP_UNINSTALLED ORDERS_CANCELLED ORDERS_CREATE ORDERS_DELETE ORDERS_PAID ORDERS_UPDATED ORDER_TRANSACTIONS_CREATE REFUNDS_CREATE"},
		{[]string{"payments"}, "APP_UNINSTALLED ORDER_TRANSACTIONS_CREATE"},
		{[]string{"disputes", "payments"}, "APP_UNINSTALLED DISPUTES_CREATE DISPUTES_UPDATE ORDER_TRANSACTIONS_CREATE"},
	} {
		got, err := wantedTopics(c.chosen)
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%v: got %v, %v, want %s", c.chosen, got, err, c.want)
		}
	}
	if got, err := wantedTopics([]string{"baskets"}); err == nil {
		t.Errorf("an unknown resource: got %v, want an error", got)
	}
}

// calm is a Shopify where all is well and nothing is registered.
type calm struct{}

// RoundTrip implements http.RoundTripper.
func (calm) RoundTrip(r *http.Request) (*http.Response, error) {
	asked, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	data := `{"webhookSubscriptions":{"nodes":[],"pageInfo":{"hasNextPage":false}}}`
	switch {
	case bytes.Contains(asked, []byte("query Check")):
		data = `{"shop":{"myshopifyDomain":"` + shop + `","plan":{"partnerDevelopment":true}},"currentAppInstallation":{"accessScopes":[{"handle":"read_orders"},{"handle":"read_all_orders"}]}}`
	case bytes.Contains(asked, []byte("mutation Create")):
		data = `{"webhookSubscriptionCreate":{"webhookSubscription":{"id":"gid://shopify/WebhookSubscription/1"},"userErrors":[]}}`
	}
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"data":` + data + `}`)), Request: r}, nil
}

// served answers from a twin's handler, without a network.
type served struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (s served) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	s.handler.ServeHTTP(w, r)
	return w.Result(), nil
}

// stocked is a twin with orders that fill several pages, and their ids.
func stocked(t *testing.T, cfg *Config, now func() time.Time) (http.RoundTripper, []string) {
	t.Helper()
	sim, err := twin.New(twin.Options{
		Shop: cfg.Shop, AccessToken: cfg.AccessToken.Reveal(), ClientSecret: cfg.ClientSecret.Reveal(), Now: now,
		GraphQL: twin.Bucket{Size: 1e6}, REST: twin.Bucket{Size: 1e4},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	var ids []string
	for range 60 {
		id, err := sim.Place(t.Context(), simulators.Order{Email: "ana@example.com", Total: "1.00", Currency: "EUR", Product: "Lamp"})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return served{sim.Handler()}, ids
}

func TestConformance(t *testing.T) {
	cfg := working()
	cfg.MoreSecrets = []schemas.Secret{secretOf("shpss_former_0123456789"), secretOf("0123456789abcdef0123456789abcdef")}
	keys := append(cfg.keys(), secretOf("shpss_of_somebody_else_0123"))
	var samples []connectors.Delivery
	for _, name := range []string{
		"order-paid", "order-partially-refunded", "order-voided", "refund", "transaction-capture", "dispute", "app-uninstalled", "customers-redact",
		"node-partially-paid",
	} {
		d := golden(t, "testdata/"+name+".txtar")
		samples = append(samples, d)
	}
	removal := golden(t, "testdata/order-deleted.txtar")
	doubled := golden(t, "testdata/order-pending.txtar")
	doubled.Headers[headerTopic] = topicUpdated
	samples = append(samples, doubled)
	body := []byte(order(`"financial_status":"paid"`))
	for _, api := range []string{APIGraphQL, APIREST} {
		t.Run(api, func(t *testing.T) {
			by := *cfg
			by.API = api
			now := func() time.Time { return received }
			list, ids := stocked(t, &by, now)
			samples := samples
			if api == APIREST {
				samples = samples[3:7:7] // what is normalised does not depend on how it is listed: one of each will do
				samples = append(samples, doubled)
			}
			connectorstest.Run(t, Connector, connectorstest.Options{
				Config: &by, Environment: schemas.Sandbox, Now: now, Outside: calm{}, Samples: samples,
				Secrets: []string{cfg.ClientSecret.Reveal(), cfg.AccessToken.Reveal(), cfg.MoreSecrets[0].Reveal(), cfg.MoreSecrets[1].Reveal()},
				Signed:  func() (*http.Request, []byte) { return signed(keys[0].Reveal(), "X-Shopify-", body, nil), body },
				Sign: func(s connectorstest.Signing) *http.Request {
					return signed(keys[(s.Secret+len(keys))%len(keys)].Reveal(), "Shopify-", s.Body, nil)
				},
				ActiveSecrets: 3, ContentIDs: true, Tombstones: []connectors.Delivery{removal},
				Listed: func(d connectors.Delivery) (connectors.Delivery, bool) {
					if d.Headers[headerTopic] != topicUpdated {
						return d, false
					}
					d.ID, d.Origin, d.Headers = "", schemas.OriginPoll, map[string]string{headerTopic: topicUpdated, headerVersion: by.APIVersion}
					return d, true
				},
				Poll: &connectorstest.Polling{Outside: list, From: received.Add(-time.Minute), To: received.Add(time.Second), Want: map[string][]string{feedOrders: ids}},
			})
		})
	}
}
