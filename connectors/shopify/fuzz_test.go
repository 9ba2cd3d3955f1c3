package shopify

import (
	"encoding/base64"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tillstream/tillstream/connectors"
)

// FuzzNormalize: no body panics; what is understood has an id, a root, valid money and bounded fields.
func FuzzNormalize(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, file := range files {
		d := golden(f, file)
		f.Add(d.Headers[headerTopic], d.Body)
	}
	f.Add(topicUpdated, []byte(`{"id":"gid://shopify/Order/1","displayFinancialStatus":"PARTIALLY_PAID","updatedAt":"2026-03-01T12:00:00Z","transactions":[{"id":"gid://shopify/OrderTransaction/2","kind":"SALE","status":"SUCCESS","amountSet":{"shopMoney":{"amount":"1.0","currencyCode":"EUR"}}}]}`))
	f.Fuzz(func(t *testing.T, topic string, body []byte) {
		events, err := normalize(delivery(topic, string(body)))
		if err != nil {
			return
		}
		if len(events) == 0 || len(events) > 1+transactionsMax {
			t.Fatalf("got %d records", len(events))
		}
		for _, e := range events {
			if e.EventID == "" || e.RootID == "" || e.Kind == "" || e.Status == "" || e.ProviderTime.IsZero() {
				t.Fatalf("incomplete: %+v", e)
			}
			size := 0
			for k, v := range e.Fields {
				size += len(k) + len(v)
			}
			if len(e.Fields) > connectors.FieldsMax || size > connectors.FieldsBytesTotal+2*connectors.FieldBytesMax {
				t.Fatalf("got %d fields of %d bytes", len(e.Fields), size)
			}
			if e.Amount != nil {
				if _, err := e.Amount.Money(); err != nil {
					t.Fatal(err)
				}
			}
		}
		again, err := normalize(delivery(topic, string(body)))
		if err != nil || !reflect.DeepEqual(again, events) {
			t.Fatalf("a second time: %v %v, want %v", again, err, events)
		}
	})
}

// FuzzVerify: whatever the headers, only the right signature over these bytes is genuine.
func FuzzVerify(f *testing.F) {
	s := opened(f, &Config{Shop: shop, ClientSecret: secretOf(sdkSecret)}, nil)
	f.Add("orders/paid", sdkMAC, shop, "2026-07", "b1", `{"foo": "bar"}`)
	f.Add("orders/paid", "B23tXN681gZ0qIWNRrgtzBE9XSDo5yaUu6wfmhu3a7h=", shop, "2026-07", "b1", `{"foo": "bar"}`)
	f.Add("", "", "", "", "", "")
	f.Fuzz(func(t *testing.T, topic, mac, domain, version, id, body string) {
		r := &http.Request{Header: http.Header{
			"X-Shopify-Topic": {topic}, "X-Shopify-Hmac-Sha256": {mac}, "X-Shopify-Shop-Domain": {domain}, "X-Shopify-Api-Version": {version}, "X-Shopify-Webhook-Id": {id},
		}}
		d, v := s.Verify(t.Context(), r, []byte(body))
		if v.Kind != connectors.Genuine {
			return
		}
		sent, err := base64.StdEncoding.DecodeString(strings.TrimSpace(mac))
		if err != nil || !connectors.SignedBy(s.keys, sent, []byte(body)) || body == "" || d.ID == "" {
			t.Fatalf("got genuine for %q under %q", body, mac)
		}
	})
}
