package woocommerce

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

var testTime = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

// receiver is a connection with these webhook secrets.
func receiver(t testing.TB, secrets ...string) *source {
	t.Helper()
	c := &Config{StoreURL: "https://shop.example.com", ConsumerKey: schemas.NewSecret("ck"), ConsumerSecret: schemas.NewSecret("cs")}
	for _, s := range secrets {
		c.WebhookSecrets = append(c.WebhookSecrets, schemas.NewSecret(s))
	}
	s, err := open(c, connectors.Env{
		Connection: "shop", Environment: schemas.Live, Now: func() time.Time { return testTime }, Log: zerolog.Nop(), HTTP: http.DefaultClient,
		PublicURL: "https://hooks.example.com/webhooks/shop/t0ken",
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func signature(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// webhookRequest is what a store sends.
func webhookRequest(topic, mac, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/webhooks/shop/t0ken", strings.NewReader(body))
	r.Header = http.Header{
		"Content-Type": {"application/json"}, "User-Agent": {"WooCommerce/9.4.2 Hookshot (WordPress/6.7.1)"},
		"X-Wc-Webhook-Source": {"https://shop.example.com/"}, "X-Wc-Webhook-Topic": {topic}, "X-Wc-Webhook-Resource": {"order"},
		"X-Wc-Webhook-Event": {"updated"}, "X-Wc-Webhook-Signature": {mac}, "X-Wc-Webhook-Id": {"142"},
		"X-Wc-Webhook-Delivery-Id": {"9c5b94b1f7a24f0db2d3a1c07f0e6b11"},
	}
	return r
}

// TestVectors: signatures computed elsewhere, one over a body with escaped slashes and letters.
func TestVectors(t *testing.T) {
	s := receiver(t, "my-secret")
	for body, mac := range map[string]string{
		`{"id":727}`: "wqP4L1aRL9Sz2gGZV74g9Lk9jigFNaMnCOLFRU9DlT4=",
		`{"id":727,"status":"processing","total":"29.35","billing":{"city":"\u0141\u00f3d\u017a"},"u":"https:\/\/x.test\/"}`: "STmtjRguOXH+6ZnD39WWD+ena/fDC3jBbe61U4lpduw=",
	} {
		d, v := s.Verify(t.Context(), webhookRequest(topicUpdated, mac, body), []byte(body))
		if v.Kind != connectors.Genuine || string(d.Body) != body || d.Headers[headerTopic] != topicUpdated || d.Origin != schemas.OriginWebhook {
			t.Errorf("%s: got %+v, %+v", body, v, d)
		}
		other := strings.ReplaceAll(body, `\/`, `/`) + " "
		if _, v := s.Verify(t.Context(), webhookRequest(topicUpdated, mac, other), []byte(other)); v.Kind != connectors.Forged {
			t.Errorf("%s: got %+v, want the bytes as they were sent to count", other, v)
		}
	}
}

// TestVerify: what is wrong with a request, in words for the log.
func TestVerify(t *testing.T) {
	const secret, former, body = "a-secret-of-more-than-24-bytes", "the-former-of-more-than-24-bytes", `{"id":727}`
	good := signature(secret, body)
	for _, c := range []struct {
		name   string
		alter  func(*http.Request)
		body   string
		kind   connectors.VerdictKind
		reason string
	}{
		{"as sent", func(*http.Request) {}, body, connectors.Genuine, ""},
		{"under the former secret", func(r *http.Request) { r.Header.Set(headerSignature, signature(former, body)) }, body, connectors.Genuine, ""},
		{"under another", func(r *http.Request) { r.Header.Set(headerSignature, signature("other", body)) }, body, connectors.Forged, "does not match"},
		{"under none", func(r *http.Request) { r.Header.Set(headerSignature, signature("", body)) }, body, connectors.Forged, "does not match"},
		{"no signature", func(r *http.Request) { r.Header.Del(headerSignature) }, body, connectors.Forged, "is missing"},
		{"two signatures", func(r *http.Request) { r.Header.Add(headerSignature, good) }, body, connectors.Forged, "is repeated"},
		{"signature too long", func(r *http.Request) { r.Header.Set(headerSignature, strings.Repeat("A", 300)) }, body, connectors.Forged, "is too long"},
		{"signature cut", func(r *http.Request) { r.Header.Set(headerSignature, good[:20]) }, body, connectors.Forged, "malformed"},
		{"signature no base64", func(r *http.Request) { r.Header.Set(headerSignature, "!"+good[1:]) }, body, connectors.Forged, "malformed"},
		{"signature with a line end", func(r *http.Request) { r.Header[headerSignature] = []string{good[:4] + "\n" + good[4:]} }, body, connectors.Forged, "malformed"},
		{"no topic", func(r *http.Request) { r.Header.Del(headerTopic) }, body, connectors.Forged, "is missing"},
		{"topic is none", func(r *http.Request) { r.Header.Set(headerTopic, "order updated") }, body, connectors.Forged, "malformed"},
		{"no body", func(r *http.Request) { r.Header.Set(headerSignature, signature(secret, "")) }, "", connectors.Forged, "empty body"},
		{"no delivery id", func(r *http.Request) { r.Header.Del(headerDelivery) }, body, connectors.Genuine, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := webhookRequest(topicDeleted, good, c.body)
			c.alter(r)
			_, v := receiver(t, secret, former).Verify(t.Context(), r, []byte(c.body))
			if v.Kind != c.kind || !strings.Contains(v.Reason, c.reason) {
				t.Errorf("got %+v, want kind %v, %q", v, c.kind, c.reason)
			}
		})
	}
	if _, v := receiver(t).Verify(t.Context(), webhookRequest(topicUpdated, signature("", body), body), []byte(body)); v.Kind != connectors.Forged {
		t.Errorf("without any secret: got %+v", v)
	}
}

// TestPing: the ping of a new webhook is not signed; it is answered and means nothing. Nothing else passes as one.
func TestPing(t *testing.T) {
	for _, c := range []struct {
		name, kind, body string
		header           http.Header
		want             connectors.VerdictKind
	}{
		{"as sent", "application/x-www-form-urlencoded", "webhook_id=142", nil, connectors.Ping},
		{"with a character set", "application/x-www-form-urlencoded; charset=utf-8", "webhook_id=142", nil, connectors.Ping},
		{"as JSON", "application/json", "webhook_id=142", nil, connectors.Forged},
		{"with more", "application/x-www-form-urlencoded", "webhook_id=142&a=1", nil, connectors.Forged},
		{"without a number", "application/x-www-form-urlencoded", "webhook_id=", nil, connectors.Forged},
		{"with a topic", "application/x-www-form-urlencoded", "webhook_id=142", http.Header{headerTopic: {topicUpdated}}, connectors.Forged},
		{"with a signature", "application/x-www-form-urlencoded", "webhook_id=142", http.Header{headerSignature: {"x"}}, connectors.Forged},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(c.body))
			if c.header != nil {
				r.Header = c.header
			}
			r.Header.Set("Content-Type", c.kind)
			if d, v := receiver(t, "a-secret-of-more-than-24-bytes").Verify(t.Context(), r, []byte(c.body)); v.Kind != c.want || d.Body != nil {
				t.Errorf("got %+v, want %v", v, c.want)
			}
		})
	}
}

// TestDeliveryID: two orders that one webhook sends within a second have one id at WooCommerce, and two here.
func TestDeliveryID(t *testing.T) {
	const secret = "a-secret-of-more-than-24-bytes"
	s, ids := receiver(t, secret), map[string]bool{}
	for _, body := range []string{`{"id":727}`, `{"id":728}`} {
		d, _ := s.Verify(t.Context(), webhookRequest(topicDeleted, signature(secret, body), body), []byte(body))
		ids[d.ID] = true
	}
	if len(ids) != 2 || ids[""] {
		t.Errorf("got ids %v, want two", ids)
	}
}

// TestValidate: each mistake in a configuration, at its place.
func TestValidate(t *testing.T) {
	const long = "0123456789abcdef01234567"
	good := func() *Config {
		return &Config{
			StoreURL: "https://shop.example.com/blog", ConsumerKey: schemas.NewSecret("ck_1"), ConsumerSecret: schemas.NewSecret("cs_1"),
			WebhookSecrets: []schemas.Secret{schemas.NewSecret(long)}, Statuses: map[string]schemas.PaymentStatus{"pre-ordered": schemas.StatusPending},
		}
	}
	for _, c := range []struct {
		name  string
		alter func(*Config)
		field string
	}{
		{"good", func(*Config) {}, ""},
		{"this machine without TLS", func(c *Config) { c.StoreURL = "http://127.0.0.1:8080" }, ""},
		{"no address", func(c *Config) { c.StoreURL = "" }, "store_url"},
		{"address without a scheme", func(c *Config) { c.StoreURL = "shop.example.com" }, "store_url"},
		{"another machine without TLS", func(c *Config) { c.StoreURL = "http://shop.example.com" }, "store_url"},
		{"address of the API", func(c *Config) { c.StoreURL = "https://shop.example.com/wp-json/wc/v3" }, "store_url"},
		{"address with a user", func(c *Config) { c.StoreURL = "https://u:p@shop.example.com" }, "store_url"},
		{"address with a query", func(c *Config) { c.StoreURL = "https://shop.example.com/?a=1" }, "store_url"},
		{"no key", func(c *Config) { c.ConsumerKey = schemas.Secret{} }, "consumer_key"},
		{"no secret", func(c *Config) { c.ConsumerSecret = schemas.Secret{} }, "consumer_secret"},
		{"no webhook secret", func(c *Config) { c.WebhookSecrets = nil }, "webhook_secrets"},
		{"empty webhook secret", func(c *Config) { c.WebhookSecrets = append(c.WebhookSecrets, schemas.Secret{}) }, "webhook_secrets[1]"},
		{"short webhook secret", func(c *Config) { c.WebhookSecrets[0] = schemas.NewSecret(long[1:]) }, "webhook_secrets[0]"},
		{"webhook secret that WordPress decodes", func(c *Config) { c.WebhookSecrets[0] = schemas.NewSecret(long + "&amp;") }, "webhook_secrets[0]"},
		{"endless webhook secret", func(c *Config) { c.WebhookSecrets[0] = schemas.NewSecret(strings.Repeat(long, 10)) }, "webhook_secrets[0]"},
		{"WooCommerce's own status", func(c *Config) { c.Statuses["wc-on-hold"] = schemas.StatusPaid }, "statuses.wc-on-hold"},
		{"the trash", func(c *Config) { c.Statuses["trash"] = schemas.StatusCancelled }, "statuses.trash"},
		{"a meaning that is none", func(c *Config) { c.Statuses["x"] = "paid" }, "statuses.x"},
		{"a meaning of subscriptions", func(c *Config) { c.Statuses["x"] = schemas.StatusActive }, "statuses.x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := good()
			c.alter(cfg)
			got := cfg.Validate()
			if c.field == "" && len(got) > 0 || c.field != "" && (len(got) != 1 || got[0].Field != c.field || got[0].Hint == "" || got[0].Level != connectors.Bad) {
				t.Errorf("got %+v, want %q", got, c.field)
			}
		})
	}
}

// TestOpen: what cannot be connected is said.
func TestOpen(t *testing.T) {
	env := connectors.Env{Connection: "shop", Now: time.Now, HTTP: http.DefaultClient}
	if _, err := Connector.Open(t.Context(), "text", env); err == nil {
		t.Error("a configuration of another type: got no error")
	}
	if _, err := Connector.Open(t.Context(), &Config{}, connectors.Env{Connection: "shop"}); err == nil {
		t.Error("no client: got no error")
	}
	env.Resources = []string{"products"}
	if _, err := Connector.Open(t.Context(), &Config{}, env); err == nil {
		t.Error("an unknown resource: got no error")
	}
}
