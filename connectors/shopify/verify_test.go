package shopify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// The vector of Shopify's own library.
const (
	sdkSecret = "test_secret_key"
	sdkMAC    = "B23tXN681gZ0qIWNRrgtzBE9XSDo5yaUu6wfmhu3a7g="
	sdkBody   = `{"foo": "bar"}`
	shop      = "twin.myshopify.com"
)

func secretOf(text string) schemas.Secret { return schemas.NewSecret(text) }

func opened(t testing.TB, c *Config, resources []string) *source {
	t.Helper()
	s, err := open(c, connectors.Env{
		Connection: "shop", Environment: schemas.Sandbox, Resources: resources, Log: zerolog.Nop(), HTTP: &http.Client{},
		Now: func() time.Time { return received }, PublicURL: "https://hooks.example.com/webhooks/shop",
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func signed(secret, prefix string, body []byte, change func(http.Header)) *http.Request {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	r, _ := http.NewRequestWithContext(context.Background(), http.MethodPost, "https://hooks.example.com/", bytes.NewReader(body))
	for name, v := range map[string]string{
		"Hmac-Sha256": base64.StdEncoding.EncodeToString(mac.Sum(nil)), "Topic": "orders/paid", "Shop-Domain": shop, "Api-Version": "2026-07",
		"Webhook-Id": "b1", "Event-Id": "e1", "Triggered-At": "2026-03-01T12:00:00.123Z",
	} {
		r.Header.Set(prefix+name, v)
	}
	if change != nil {
		change(r.Header)
	}
	return r
}

// TestSignatureVector: the raw bytes of Shopify's own test, and no others.
func TestSignatureVector(t *testing.T) {
	s := opened(t, &Config{Shop: shop, ClientSecret: secretOf(sdkSecret)}, nil)
	r := signed(sdkSecret, "X-Shopify-", []byte(sdkBody), nil)
	if got := r.Header.Get("X-Shopify-Hmac-Sha256"); got != sdkMAC {
		t.Fatalf("got %s, want %s", got, sdkMAC)
	}
	if _, v := s.Verify(t.Context(), r, []byte(sdkBody)); v.Kind != connectors.Genuine {
		t.Errorf("got %+v, want genuine", v)
	}
	if _, v := s.Verify(t.Context(), r, []byte(`{"foo":"bar"}`)); v.Kind != connectors.Forged {
		t.Errorf("the same JSON in other bytes: got %+v, want forged", v)
	}
}

func TestVerify(t *testing.T) {
	const secret, old, admin = "shpss_current_0123456789", "shpss_former_0123456789", "0123456789abcdef0123456789abcdef"
	s := opened(t, &Config{Shop: shop, ClientSecret: secretOf(secret), MoreSecrets: []schemas.Secret{secretOf(old), secretOf(admin)}}, nil)
	body := []byte(`{"id":1,"financial_status":"paid"}`)
	both := func(h http.Header) {
		for name, v := range signed(secret, "Shopify-", body, nil).Header {
			h[name] = v
		}
		h.Set("Shopify-Topic", "orders/cancelled")
	}
	for _, c := range []struct {
		name, secret, prefix string
		change               func(http.Header)
		want                 connectors.VerdictKind
		id                   string
	}{
		{"app's secret", secret, "X-Shopify-", nil, connectors.Genuine, "orders/paid:b1"},
		{"former secret while it is replaced", old, "X-Shopify-", nil, connectors.Genuine, "orders/paid:b1"},
		{"key of webhooks made in the admin", admin, "X-Shopify-", nil, connectors.Genuine, "orders/paid:b1"},
		{"another secret", "shpss_other_0123456789", "X-Shopify-", nil, connectors.Forged, ""},
		{"newer family of headers", secret, "Shopify-", nil, connectors.Genuine, "orders/paid:b1"},
		{"both families: the newer one counts", secret, "X-Shopify-", both, connectors.Genuine, "orders/cancelled:b1"},
		{"both families, the newer one forged", secret, "X-Shopify-", func(h http.Header) { both(h); h.Set("Shopify-Hmac-Sha256", sdkMAC) }, connectors.Forged, ""},
		{"newer family without its event id", secret, "Shopify-", func(h http.Header) { h.Del("Shopify-Event-Id") }, connectors.Forged, ""},
		{"classic family without an event id", secret, "X-Shopify-", func(h http.Header) { h.Del("X-Shopify-Event-Id") }, connectors.Genuine, "orders/paid:b1"},
		{"no topic", secret, "X-Shopify-", func(h http.Header) { h.Del("X-Shopify-Topic") }, connectors.Forged, ""},
		{"no version", secret, "X-Shopify-", func(h http.Header) { h.Del("X-Shopify-Api-Version") }, connectors.Forged, ""},
		{"no webhook id", secret, "X-Shopify-", func(h http.Header) { h.Del("X-Shopify-Webhook-Id") }, connectors.Forged, ""},
		{"no shop", secret, "X-Shopify-", func(h http.Header) { h.Del("X-Shopify-Shop-Domain") }, connectors.Forged, ""},
		{"no signature", secret, "X-Shopify-", func(h http.Header) { h.Del("X-Shopify-Hmac-Sha256") }, connectors.Forged, ""},
		{"another shop of the same app", secret, "X-Shopify-", func(h http.Header) { h.Set("X-Shopify-Shop-Domain", "other.myshopify.com") }, connectors.Forged, ""},
		{"the shop in capitals", secret, "X-Shopify-", func(h http.Header) { h.Set("X-Shopify-Shop-Domain", "Twin.MyShopify.com") }, connectors.Genuine, "orders/paid:b1"},
		{"a repeated header", secret, "X-Shopify-", func(h http.Header) { h.Add("X-Shopify-Topic", "orders/delete") }, connectors.Forged, ""},
		{"a topic that is none", secret, "X-Shopify-", func(h http.Header) { h.Set("X-Shopify-Topic", "orders/paid\x01") }, connectors.Forged, ""},
		{"an endless header", secret, "X-Shopify-", func(h http.Header) { h.Set("X-Shopify-Webhook-Id", strings.Repeat("b", 2000)) }, connectors.Forged, ""},
		{"space around the signature", secret, "X-Shopify-", func(h http.Header) { h.Set("X-Shopify-Hmac-Sha256", " "+h.Get("X-Shopify-Hmac-Sha256")+" ") }, connectors.Genuine, "orders/paid:b1"},
		{"no base64", secret, "X-Shopify-", func(h http.Header) { h.Set("X-Shopify-Hmac-Sha256", "%%%") }, connectors.Forged, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, v := s.Verify(t.Context(), signed(c.secret, c.prefix, body, c.change), body)
			if v.Kind != c.want || d.ID != c.id {
				t.Errorf("got %+v with delivery %q, want %d with %q", v, d.ID, c.want, c.id)
			}
			for _, s := range []string{secret, old, admin} {
				if strings.Contains(v.Reason, s) {
					t.Errorf("the reason holds a secret: %s", v.Reason)
				}
			}
		})
	}
	if _, v := s.Verify(t.Context(), signed(secret, "X-Shopify-", nil, nil), nil); v.Kind != connectors.Forged {
		t.Errorf("an empty body that is signed: got %+v, want forged", v)
	}
	d, _ := s.Verify(t.Context(), signed(secret, "Shopify-", body, func(h http.Header) { h.Set("Shopify-Test", "true") }), body)
	if !d.Test || d.Headers[headerTopic] != "orders/paid" || d.Headers[headerTriggered] == "" || d.Headers[headerVersion] != "2026-07" {
		t.Errorf("got test %t, headers %v, want what Normalize needs under its names", d.Test, d.Headers)
	}
}

// TestUninstalled: only the shop's own body raises the alarm, and an answer of the API ends it.
func TestUninstalled(t *testing.T) {
	s := opened(t, &Config{Shop: shop, ClientSecret: secretOf(sdkSecret)}, nil)
	tell := func(body string) {
		t.Helper()
		r := signed(sdkSecret, "X-Shopify-", []byte(body), func(h http.Header) { h.Set("X-Shopify-Topic", topicUninstalled) })
		if _, v := s.Verify(t.Context(), r, []byte(body)); v.Kind != connectors.Genuine {
			t.Fatalf("got %+v, want genuine", v)
		}
	}
	tell(`{"id":1,"financial_status":"paid"}`)
	if got := s.Watch(); len(got) != 0 {
		t.Fatalf("an order's body under another topic: got %+v, want nothing", got)
	}
	tell(`{"id":1,"myshopify_domain":"twin.myshopify.com"}`)
	if got := s.Watch(); len(got) != 1 || got[0].Level != connectors.Bad || got[0].Hint == "" {
		t.Fatalf("got %+v, want an alarm with its remedy", got)
	}
	s.answered(http.StatusOK, nil)
	if got := s.Watch(); len(got) != 0 {
		t.Errorf("after the API answered again: got %+v, want nothing", got)
	}
	tell(`{"id":1,"myshopify_domain":"twin.myshopify.com"}`)
	if got := s.Watch(); len(got) != 0 {
		t.Errorf("a retry from before that: got %+v, want nothing", got)
	}
}
