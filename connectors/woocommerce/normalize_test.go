package woocommerce

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/connectorstest"
	"github.com/tillstream/tillstream/schemas"
)

// delivery is a webhook as Verify gives it.
func delivery(topic, body string) connectors.Delivery {
	d := connectors.Delivery{
		Connection: "shop", Environment: schemas.Live, ID: "of the content", Body: []byte(body), Headers: map[string]string{headerTopic: topic},
		ReceivedAt: time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC), Origin: schemas.OriginWebhook,
	}
	if topic == topicDeleted {
		d.Headers[headerDelivery] = "9c5b94b1f7a24f0db2d3a1c07f0e6b11"
	}
	return d
}

// goldens are the files of testdata as deliveries: the topic stands before the two hyphens of the name; what was
// listed is read item by item, as the poller does.
func goldens(t testing.TB, file string) []connectors.Delivery {
	t.Helper()
	body := connectorstest.GoldenBody(t, file)
	topic, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".txtar"), "--")
	if topic != "listed" {
		return []connectors.Delivery{delivery(topic, string(body))}
	}
	var items []json.RawMessage
	if err := json.Unmarshal(body, &items); err != nil {
		t.Fatal(err)
	}
	var out []connectors.Delivery
	for _, item := range items {
		d := delivery(topicUpdated, string(item))
		d.ID, d.Origin = "", schemas.OriginPoll
		out = append(out, d)
	}
	return out
}

// TestGolden: each real payload of WooCommerce's gives the records beside it, or the error.
func TestGolden(t *testing.T) {
	connectorstest.Golden(t, 14, func(t *testing.T, file string) (any, error) {
		var events []schemas.OrderEvent
		var errs []error
		for _, d := range goldens(t, file) {
			some, err := Connector.Normalize(d)
			events, errs = append(events, some...), append(errs, err)
		}
		return connectorstest.WithoutBodies(t, events), errors.Join(errs...)
	})
}
