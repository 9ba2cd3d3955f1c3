package paypal

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// FuzzNormalize: no body panics; what is understood has an id, a root, valid money and bounded fields.
func FuzzNormalize(f *testing.F) {
	files, _ := filepath.Glob("testdata/signed/*/body.json")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"id":"WH-1","event_type":"CHECKOUT.ORDER.COMPLETED","create_time":"2022-08-30T12:53:22Z","resource":{"id":"O","status":"COMPLETED","purchase_units":[{"amount":{"currency_code":"EUR","value":"1"},"payments":{"captures":[{"id":"C","status":"COMPLETED","amount":{"currency_code":"EUR","value":".5"}}]}}]}}`))
	f.Add([]byte(`{"id":"WH-1","event_type":"PAYMENT.CAPTURE.REFUNDED","create_time":"2022-08-30T12:53:22Z","resource":{"id":"R","links":[{"rel":"up","href":"https://x/v2/payments/captures/C"}],"amount":{"total":"-1","currency":"eur"}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := normalize(delivery(string(body)))
		if err != nil {
			return
		}
		if len(events) != 1 {
			t.Fatalf("got %d events, want 1", len(events))
		}
		e := events[0]
		if e.EventID == "" || e.RootID == "" || e.Kind == "" || e.Status == "" || e.ProviderTime.IsZero() {
			t.Fatalf("incomplete: %+v", e)
		}
		size := 0
		for k, v := range e.Fields {
			size += len(k) + len(v)
		}
		if len(e.Fields) > fieldsMax || size > fieldsBytesTotal {
			t.Fatalf("got %d fields of %d bytes", len(e.Fields), size)
		}
		if e.Amount != nil {
			if _, err := e.Amount.Money(); err != nil {
				t.Fatal(err)
			}
		}
		again, err := normalize(delivery(string(body)))
		if err != nil || !reflect.DeepEqual(again, events) {
			t.Fatalf("a second time: %v %v, want %v", again, err, events)
		}
	})
}
