package paypal

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

func captureOf(i int, at time.Time) Event {
	return Event{Body: fmt.Appendf(nil, `{"id":"WH-%d","event_type":"PAYMENT.CAPTURE.COMPLETED","resource_type":"capture","create_time":%q,
		"resource":{"id":"C%d","status":"COMPLETED","amount":{"currency_code":"EUR","value":"1.00"},"update_time":%q}}`,
		i, at.Format(time.RFC3339), i, at.Format(time.RFC3339))}
}

// TestWithhold: a withheld event reaches nobody, and the events API shows it without a transmission. The next one is sent.
func TestWithhold(t *testing.T) {
	w := newTwin(t, nil)
	r := newReceiver(t)
	w.subscribe(r, "PAYMENT.CAPTURE.COMPLETED")
	w.want(204, "", "POST", "/_simulator/withhold", `{"count":2}`)
	for i := range 3 {
		w.emit(captureOf(i, time.Now()))
	}
	w.wait()
	var attempts []int
	for _, s := range w.s.Sent() {
		attempts = append(attempts, s.Attempts)
	}
	if fmt.Sprint(attempts) != "[0 0 1]" {
		t.Errorf("got attempts %v, want [0 0 1]", attempts)
	}
	for id, want := range map[string]int{"WH-0": 0, "WH-2": 1} {
		o := w.want(200, "", "GET", "/v1/notifications/webhooks-events/"+id, "")
		if list, ok := o["transmissions"].([]any); !ok || len(list) != want {
			t.Errorf("%s: got transmissions %v, want %d", id, o["transmissions"], want)
		}
	}
	if o := w.want(200, "", "GET", "/v1/notifications/webhooks-events", ""); fmt.Sprint(o["count"]) != "3" {
		t.Errorf("got %v events listed, want 3", o["count"])
	}
}

// TestWithholdRate: about that part of the events reaches nobody.
func TestWithholdRate(t *testing.T) {
	w := newTwin(t, func(o *Options) { o.Faults.WithholdRate = .3 })
	r := newReceiver(t)
	w.subscribe(r, "PAYMENT.CAPTURE.COMPLETED")
	for i := range 200 {
		w.emit(captureOf(i, time.Now()))
	}
	w.wait()
	withheld := 0
	for _, s := range w.s.Sent() {
		if s.Attempts == 0 {
			withheld++
		}
	}
	if withheld < 25 || withheld > 95 {
		t.Errorf("got %d of 200 withheld, want about 60", withheld)
	}
}

// TestScopes: a call without its permission is 403 in REST's shape; the token says what there is.
func TestScopes(t *testing.T) {
	paths := []string{
		"/v1/notifications/webhooks", "", "/v1/payments/sale/X", "/v1/billing/plans", "/v1/reporting/transactions",
	}
	for i, missing := range AllScopes()[:5] {
		w := newTwin(t, func(o *Options) {
			for _, s := range AllScopes() {
				if s != missing {
					o.Accounts[0].Scopes = append(o.Accounts[0].Scopes, s)
				}
			}
		})
		for j, path := range paths {
			method, body := "GET", ""
			if path == "" {
				method, path, body = "POST", "/v1/notifications/verify-webhook-signature", `{}`
			}
			code, o := w.call(method, path, body)
			if denied := code == 403 && o["name"] == "NOT_AUTHORIZED"; denied != (i == j) {
				t.Errorf("without %s: %s gives %d %v", missing, path, code, o["name"])
			}
		}
	}
	none := newTwin(t, func(o *Options) { o.Accounts[0].Scopes = []string{} })
	none.want(403, "NOT_AUTHORIZED", "GET", "/v2/checkout/orders/X", "")
}

// TestDisabledTypes: a type that was switched off is listed as such and not sent, until the types are subscribed to anew.
func TestDisabledTypes(t *testing.T) {
	w := newTwin(t, nil)
	r := newReceiver(t)
	id := w.subscribe(r, "PAYMENT.CAPTURE.COMPLETED", "PAYMENT.SALE.COMPLETED")
	w.s.DisableTypes("shop", "PAYMENT.CAPTURE.COMPLETED")
	w.s.DisableTypes("nobody", "PAYMENT.CAPTURE.COMPLETED")
	statuses := func() (out string) {
		o := w.want(200, "", "GET", "/v1/notifications/webhooks/"+id, "")
		for _, x := range o["event_types"].([]any) {
			out += fmt.Sprint(x.(object)["status"], " ")
		}
		return out
	}
	if got := statuses(); got != "DISABLED ENABLED " {
		t.Errorf("got %s", got)
	}
	w.emit(captureOf(1, time.Now()))
	w.wait()
	w.want(200, "", "PATCH", "/v1/notifications/webhooks/"+id, `[{"op":"replace","path":"/event_types","value":[{"name":"PAYMENT.CAPTURE.COMPLETED"}]}]`)
	if got := statuses(); got != "ENABLED " {
		t.Errorf("got %s", got)
	}
	w.emit(captureOf(2, time.Now()))
	w.wait()
	if sent := w.s.Sent(); sent[0].Attempts != 0 || sent[1].Attempts != 1 {
		t.Errorf("got attempts %d and %d, want 0 and 1", sent[0].Attempts, sent[1].Attempts)
	}
}

// TestTransactionSearchLimits: what is too much is refused with both numbers, and what is too new is not there yet.
func TestTransactionSearchLimits(t *testing.T) {
	c := newClock()
	w := newTwin(t, func(o *Options) {
		o.Now, o.ReportItemsMax, o.Faults.ReportLag = c.now, 3, 3*time.Hour
	})
	for i := range 5 {
		w.emit(captureOf(i, c.now().Add(-time.Duration(i)*time.Hour)))
	}
	search := func(from, to time.Duration) string {
		return "/v1/reporting/transactions?" + url.Values{
			"start_date": {c.now().Add(from).Format(reportTime)}, "end_date": {c.now().Add(to).Format(reportTime)},
		}.Encode()
	}
	o := w.want(200, "", "GET", search(-10*time.Hour, 0), "")
	if n := len(o["transaction_details"].([]any)); n != 2 || !strings.HasPrefix(fmt.Sprint(o["last_refreshed_datetime"]), "2026-05-01T09:00:00") {
		t.Errorf("got %d transactions up to %v, want 2 up to three hours ago", n, o["last_refreshed_datetime"])
	}
	w.want(400, "INVALID_REQUEST", "GET", search(-time.Hour, 0), "")
	c.add(5 * time.Hour)
	o = w.want(400, "RESULTSET_TOO_LARGE", "GET", search(-10*time.Hour, 0), "")
	if detail := fmt.Sprint(o["details"]); !strings.Contains(detail, "maximum_items:3") || !strings.Contains(detail, "total_items:5") {
		t.Errorf("got %s", detail)
	}
}
