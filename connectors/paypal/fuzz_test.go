package paypal

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/connectorstest"
	"github.com/tillstream/tillstream/schemas"
)

// FuzzNormalize: no body panics, delivered, polled or of a subscription's payments; what is understood has an id, a root,
// valid money and bounded fields, and a webhook never brings a bare object.
func FuzzNormalize(f *testing.F) {
	for _, pattern := range []string{"testdata/signed/*/body.json", "testdata/api/*.json"} {
		files, _ := filepath.Glob(pattern)
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, byte(0))
			f.Add(b, byte(1))
			var list struct {
				Details      []json.RawMessage `json:"transaction_details"`
				Transactions []json.RawMessage `json:"transactions"`
			}
			_ = json.Unmarshal(b, &list) // most are no lists
			for _, one := range append(list.Details, list.Transactions...) {
				f.Add([]byte(one), byte(2))
			}
		}
	}
	for _, body := range connectorstest.GoldenBodies(f) {
		f.Add(body, byte(0))
		var envelope struct {
			Resource json.RawMessage `json:"resource"`
		}
		if err := json.Unmarshal(body, &envelope); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(envelope.Resource), byte(1))
	}
	f.Add([]byte(`{"id":"WH-1","event_type":"CHECKOUT.ORDER.COMPLETED","create_time":"2022-08-30T12:53:22Z","resource":{"id":"O","status":"COMPLETED","purchase_units":[{"amount":{"currency_code":"EUR","value":"1"},"payments":{"captures":[{"id":"C","status":"COMPLETED","amount":{"currency_code":"EUR","value":".5"}}]}}]}}`), byte(0))
	f.Add([]byte(`{"id":"WH-1","event_type":"PAYMENT.CAPTURE.REFUNDED","create_time":"2022-08-30T12:53:22Z","resource":{"id":"R","links":[{"rel":"up","href":"https://x/v2/payments/captures/C"}],"amount":{"total":"-1","currency":"eur"}}}`), byte(0))
	f.Fuzz(func(t *testing.T, body []byte, way byte) {
		d := delivery(string(body))
		if way%3 > 0 {
			d.Origin, d.ID = schemas.OriginPoll, ""
		}
		if way%3 == 2 {
			d.Headers = map[string]string{headerSubscription: "I-1"}
		}
		events, err := normalize(d)
		if err != nil {
			return
		}
		if len(events) != 1 {
			t.Fatalf("got %d events, want 1", len(events))
		}
		judge(t, d, events[0])
		again, err := normalize(d)
		if err != nil || !reflect.DeepEqual(again, events) {
			t.Fatalf("a second time: %v %v, want %v", again, err, events)
		}
	})
}

func judge(t *testing.T, d connectors.Delivery, e schemas.OrderEvent) {
	t.Helper()
	if e.EventID == "" || e.RootID == "" || e.Kind == "" || e.Status == "" || e.EventType == "" && e.Kind != schemas.KindOther || e.ProviderTime.IsZero() || e.Fingerprint == "" {
		t.Fatalf("incomplete: %+v", e)
	}
	if d.Origin == schemas.OriginWebhook && !bytes.Contains(d.Body, []byte("event_type")) && !bytes.Contains(d.Body, []byte(`\u`)) {
		t.Fatalf("a webhook brought %+v", e)
	}
	connectorstest.Bounded(t, &e, connectors.FieldsMax)
	for _, l := range e.Links {
		if l.Relation == linkRefund || checkID("", l.ID) != nil {
			t.Fatalf("got link %+v", l)
		}
	}
}

// FuzzPoll: whatever a list answers, it gives pages or an error, and what was found passes Normalize without a panic.
func FuzzPoll(f *testing.F) {
	for _, name := range []string{"GET_v1_notifications_webhooks-events", "GET_v1_reporting_transactions", "GET_v1_billing_subscriptions_ID"} {
		b, err := os.ReadFile(filepath.Join("testdata/api", name+".json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"events":[{"id":"WH-1","event_type":"PAYMENT.SALE.COMPLETED","transmissions":[null,{"http_status":1e9}]}],"links":[{"rel":"next","href":"x?y"}]}`))
	f.Add([]byte(`{"subscriptions":[{"id":"I-1","plan_id":"P"},null,1],"links":[{"rel":"next"}]}`))
	f.Add([]byte(`{"name":"RESULTSET_TOO_LARGE"}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		a := newAccount()
		a.override = answers(map[string]string{eventsPath: string(answer), subscriptionsPath: string(answer), transactionsPath: string(answer)}).override
		s := opened(t, &Config{}, schemas.Sandbox, &clock{t: start}, &web{serve: a.RoundTrip})
		for _, feed := range s.Feeds() {
			q := connectors.Query{Feed: feed.Name, From: start.Add(-time.Hour), To: start}
			page, err := s.Poll(t.Context(), q)
			if err != nil {
				continue
			}
			if page.Next == q.Cursor && page.Next != "" {
				t.Fatalf("%s: the page names itself", feed.Name)
			}
			for _, found := range page.Found {
				if events, err := normalize(found.Delivery); err == nil {
					judge(t, found.Delivery, events[0])
				}
			}
		}
	})
}
