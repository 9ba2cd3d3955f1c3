package paypal

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/connectorstest"
	"github.com/tillstream/tillstream/schemas"
)

func delivery(body string) connectors.Delivery {
	return connectors.Delivery{
		Connection: "shop", Environment: schemas.Sandbox, ID: "69cd13f0-d67a-11e5-baa3-778b53f4ae55", Body: []byte(body),
		ReceivedAt: time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC), Origin: schemas.OriginWebhook,
	}
}

// TestGolden: each real payload of PayPal's gives the records beside it, or the error.
func TestGolden(t *testing.T) {
	connectorstest.Golden(t, 20, func(t *testing.T, file string) (any, error) {
		d := delivery(string(connectorstest.GoldenBody(t, file)))
		d.Test = strings.Contains(file, "mock")
		events, err := Connector.Normalize(d)
		return filledRecords(t, events), err
	})
}

// filledRecords leaves the body out, which stands in the same file, and whatever is empty.
func filledRecords(t *testing.T, events []schemas.OrderEvent) []map[string]any {
	t.Helper()
	var list []map[string]any
	for _, e := range events {
		if len(e.Body) == 0 {
			t.Error("record holds no body")
		}
		e.Body = nil
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		list = append(list, filled(m))
	}
	return list
}

func filled(m map[string]any) map[string]any {
	for k, v := range m {
		switch v := v.(type) {
		case map[string]any:
			if len(filled(v)) == 0 {
				delete(m, k)
			}
		case []any:
			if len(v) == 0 {
				delete(m, k)
			}
		case nil, string, bool, float64:
			if v == nil || v == "" || v == false || v == 0.0 {
				delete(m, k)
			}
		}
	}
	return m
}
