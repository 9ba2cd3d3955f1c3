package woocommerce

import (
	"net/http"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/connectorstest"
	"github.com/tillstream/tillstream/schemas"
)

// FuzzNormalize: no body panics; what is understood has an id, a root, valid money, bounded fields, and is the same again.
func FuzzNormalize(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, file := range files {
		list := goldens(f, file)
		for _, d := range list {
			f.Add(d.Headers[headerTopic], d.Body)
		}
	}
	f.Add(topicUpdated, []byte(order("refunds", `[{"total":"-1"},{"amount":2}]`, "payment_method", `"cod"`, "date_paid_gmt", "null")))
	f.Add("", []byte(order("status", `"trash"`, "id", `"9007199254740993"`)))
	f.Fuzz(func(t *testing.T, topic string, body []byte) {
		d := delivery(topic, string(body))
		events, err := Connector.Normalize(d)
		if err != nil {
			return
		}
		if len(events) != 1 {
			t.Fatalf("got %d events, want 1", len(events))
		}
		e := events[0]
		if e.EventID == "" || e.RootID == "" || e.Kind == "" || e.Status == "" || e.ProviderTime.IsZero() || e.Fields == nil {
			t.Fatalf("incomplete: %+v", e)
		}
		if e.Deleted && e.Status != schemas.StatusUnknown {
			t.Fatalf("a removal claims %s", e.Status)
		}
		connectorstest.Bounded(t, &e, connectors.FieldsMax)
		again, err := Connector.Normalize(delivery(topic, string(body)))
		if err != nil || !reflect.DeepEqual(again, events) {
			t.Fatalf("a second time: %v %v, want %v", again, err, events)
		}
	})
}

// FuzzVerify: no request panics, and none is genuine but one signed under the secret.
func FuzzVerify(f *testing.F) {
	const secret = "a-secret-of-more-than-24-bytes"
	f.Add(topicUpdated, signature(secret, `{"id":727}`), "application/json", []byte(`{"id":727}`))
	f.Add(topicUpdated, "wqP4L1aRL9Sz2gGZV74g9Lk9jigFNaMnCOLFRU9DlT4=", "application/json", []byte(`{"id":727}`))
	f.Add("", "", "application/x-www-form-urlencoded", []byte("webhook_id=142"))
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, file := range files {
		list := goldens(f, file)
		for _, d := range list {
			f.Add(d.Headers[headerTopic], signature(secret, string(d.Body)), "application/json", d.Body)
		}
	}
	s := receiver(f, secret)
	f.Fuzz(func(t *testing.T, topic, mac, kind string, body []byte) {
		r := webhookRequest(topic, mac, "")
		r.Header["Content-Type"] = []string{kind}
		if topic == "" && mac == "" {
			r.Header = http.Header{"Content-Type": {kind}}
		}
		d, v := s.Verify(t.Context(), r, body)
		switch v.Kind {
		case connectors.Genuine:
			if mac != signature(secret, string(body)) || d.ID == "" || string(d.Body) != string(body) {
				t.Fatalf("genuine under %q: %+v", mac, d)
			}
		case connectors.Ping:
			if !pingForm.Match(body) || mac != "" {
				t.Fatalf("a ping: %q", body)
			}
		case connectors.Forged:
			if v.Reason == "" || d.Body != nil {
				t.Fatalf("got %+v, %+v", v, d)
			}
		default:
			t.Fatalf("got %+v", v)
		}
	})
}
