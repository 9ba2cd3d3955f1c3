package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/tillstream/tillstream/internal/e2e/parts"
)

// TestWhatAnEventDoesNotSayIsAskedForAtPayPal: of one order only the capture is delivered, which names no customer; of
// another only the refund, which names its capture alone. Both customers come to the CRM all the same.
func TestWhatAnEventDoesNotSayIsAskedForAtPayPal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	settings := filepath.Join(w.config, "tillstream.yaml")
	text, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("ingest:\n"), []byte("ingest:\n  enrich_after: 1s\n"), 1)
	if err := os.WriteFile(settings, text, 0o600); err != nil {
		t.Fatal(err)
	}
	w.dev(t)
	w.awaitReady(t)
	bearer := w.bearer(t, "paypal-eu-client")

	w.order(t, bearer, "capture.alone@example.com", 1)
	_, capture := w.order(t, bearer, "refund.alone@example.com", 2)
	w.paypalAPI(t, bearer, "POST", "/v2/payments/captures/"+capture+"/refund", "{}", nil)
	w.awaitAccepted(t)

	w.await(t, "both customers are in the CRM", func() error {
		n, err := w.contacts(t.Context())
		if err == nil && n < 2 {
			err = fmt.Errorf("%d contacts", n)
		}
		return err
	})
	db := w.database(t)
	w.await(t, "the statuses are what PayPal says, with orders and customers", func() error {
		paid := count(t, db, "SELECT count() FROM v_orders WHERE status = 'PAID' AND payer_email = 'capture.alone@example.com'")
		refunded := count(t, db, "SELECT count() FROM v_orders WHERE status = 'REFUNDED' AND payer_email = 'refund.alone@example.com'")
		if paid != 1 || refunded != 1 {
			return fmt.Errorf("%d paid, %d refunded", paid, refunded)
		}
		return nil
	})
	// The topics are loaded side by side: the events may come after the transitions that they made.
	w.await(t, "two objects were asked for: one order, one capture or order", func() error {
		if n := count(t, db, "SELECT uniqExact(event_id) FROM events WHERE origin = 'POLL'"); n != 2 {
			return fmt.Errorf("%d events of such", n)
		}
		return nil
	})
	parts.Eventually(t, settleLimit, "nothing is missing any more", func() error {
		if n := w.metric(t, "tillstream_enrich_missing"); n != 0 {
			return fmt.Errorf("%v are missing", n)
		}
		return nil
	})
}

// order has a customer buy something, with the first events withheld from us.
func (w *world) order(t *testing.T, bearer func(*http.Request), email string, withheld int) (order, capture string) {
	t.Helper()
	if err := w.post(t.Context(), w.paypalURL+"/_simulator/withhold", []byte(fmt.Sprintf(`{"count":%d}`, withheld))); err != nil {
		t.Fatal(err)
	}
	var made struct {
		ID string `json:"id"`
	}
	w.paypalAPI(t, bearer, "POST", "/v2/checkout/orders", `{"intent":"CAPTURE","purchase_units":[{"amount":{"currency_code":"EUR","value":"12.50"}}]}`, &made)
	payer := fmt.Sprintf(`{"account":"paypal-eu","payer":{"email_address":%q,"name":{"given_name":"Ann","surname":"Doe"},"payer_id":"QYR5Z8XDVJNXQ"}}`, email)
	if err := w.post(t.Context(), w.paypalURL+"/_simulator/orders/"+made.ID+"/approve", []byte(payer)); err != nil {
		t.Fatal(err)
	}
	var captured struct {
		Units []struct {
			Payments struct {
				Captures []struct {
					ID string `json:"id"`
				} `json:"captures"`
			} `json:"payments"`
		} `json:"purchase_units"`
	}
	w.paypalAPI(t, bearer, "POST", "/v2/checkout/orders/"+made.ID+"/capture", "{}", &captured)
	if len(captured.Units) != 1 || len(captured.Units[0].Payments.Captures) != 1 {
		t.Fatalf("captured %+v, want one capture", captured)
	}
	return made.ID, captured.Units[0].Payments.Captures[0].ID
}

// bearer signs requests in at the simulated PayPal.
func (w *world) bearer(t *testing.T, client string) func(*http.Request) {
	t.Helper()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	w.ask(t, "POST", "/v1/oauth2/token", "grant_type=client_credentials", func(r *http.Request) {
		r.SetBasicAuth(client, "made-up")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}, &token)
	return func(r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+token.AccessToken)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Prefer", "return=representation")
	}
}

// paypalAPI calls the simulated PayPal; into may be nil.
func (w *world) paypalAPI(t *testing.T, with func(*http.Request), method, path, body string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.paypalURL+path, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	with(req)
	resp, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode > 299 {
		t.Fatalf("%s %s: %s %v: %s", method, path, resp.Status, err, text)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}
