package paypal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tillstream/tillstream/simulators/story"
)

// clock is a Now that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time      { c.mu.Lock(); defer c.mu.Unlock(); return c.at }
func (c *clock) add(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.at = c.at.Add(d) }

func newClock() *clock { return &clock{at: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)} }

// like fails unless got has every member of the sample, of the same kind, but for those left out on purpose.
func like(t *testing.T, sample string, got any, without ...string) {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + sample)
	if err != nil {
		t.Fatal(err)
	}
	var want any
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	var plain any
	if err := json.Unmarshal(encode(got), &plain); err != nil {
		t.Fatal(err)
	}
	compare(t, sample, "", want, plain, " "+strings.Join(without, " ")+" ")
}

func compare(t *testing.T, sample, path string, want, got any, without string) {
	t.Helper()
	if reflect.TypeOf(want) != reflect.TypeOf(got) {
		t.Errorf("%s: %s is %T, want %T", sample, path, got, want)
		return
	}
	switch want := want.(type) {
	case map[string]any:
		for k, v := range want {
			if strings.Contains(without, " "+k+" ") {
				continue
			}
			x, ok := got.(map[string]any)[k]
			if !ok {
				t.Errorf("%s: %s.%s is missing", sample, path, k)
				continue
			}
			compare(t, sample, path+"."+k, v, x, without)
		}
	case []any:
		if list := got.([]any); len(want) > 0 && len(list) > 0 {
			compare(t, sample, path+"[0]", want[0], list[0], without)
		} else if len(want) > 0 {
			t.Errorf("%s: %s is empty", sample, path)
		}
	}
}

func TestTokens(t *testing.T) {
	c := newClock()
	w := newTwin(t, func(o *Options) { o.Now = c.now })
	req, _ := http.NewRequest("POST", w.url+"/v1/oauth2/token", strings.NewReader("grant_type=client_credentials"))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("id1", "s1")
	resp, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var o object
	if err := json.NewDecoder(resp.Body).Decode(&o); err != nil {
		t.Fatal(err)
	}
	like(t, "POST_v1_oauth2_token.json", o)
	oauth := []string{"Authorization", "Basic x", "Content-Type", "application/x-www-form-urlencoded"}
	if code, o := w.call("POST", "/v1/oauth2/token", "grant_type=client_credentials", oauth...); code != 401 || o["error"] != "invalid_client" {
		t.Errorf("wrong client: %d %v", code, o)
	}
	w.want(200, "", "GET", "/v1/notifications/webhooks", "")
	w.want(401, "AUTHENTICATION_FAILURE", "GET", "/v1/notifications/webhooks", "", "Authorization", "")
	c.add((TokenSeconds + 1) * time.Second)
	if code, o := w.call("GET", "/v1/notifications/webhooks", ""); code != 401 || o["error"] != "invalid_token" {
		t.Errorf("expired token: %d %v", code, o)
	}
	w.token = w.login("id1", "s1")
	w.want(200, "", "GET", "/v1/notifications/webhooks", "")
	w.s.ExpireTokens()
	w.want(401, "", "GET", "/v1/notifications/webhooks", "")
}

func TestWebhookManagement(t *testing.T) {
	w := newTwin(t, nil)
	const path = "/v1/notifications/webhooks"
	create := func(url string) string {
		return `{"url":"` + url + `","event_types":[{"name":"PAYMENT.CAPTURE.COMPLETED"},{"name":"PAYMENT.SALE.COMPLETED"}]}`
	}
	first := w.want(201, "", "POST", path, create("https://shop.example.com/hook"))
	id := text(first, "id")
	if len(id) != 17 {
		t.Errorf("id %q", id)
	}
	like(t, "GET_v1_notifications_webhooks.json", w.want(200, "", "GET", path, ""))
	w.want(400, "WEBHOOK_URL_ALREADY_EXISTS", "POST", path, create("https://shop.example.com/hook"))
	for _, bad := range []string{
		"http://shop.example.com/x", "https://shop.example.com:8443/x", "ftp://shop.example.com/", "https://", "nonsense",
		"https://user@shop.example.com/", "https://shop.example.com/" + strings.Repeat("x", 2050),
	} {
		o := w.want(400, "VALIDATION_ERROR", "POST", path, create(bad))
		if o["message"] != "Invalid data provided" {
			t.Errorf("%s: %v", bad, o)
		}
	}
	w.want(400, "VALIDATION_ERROR", "POST", path, `{"url":"https://a.example.com/","event_types":[{"name":"NO.SUCH.TYPE"}]}`)
	w.want(400, "INVALID_REQUEST", "POST", path, `{"url":`)
	w.want(415, "UNSUPPORTED_MEDIA_TYPE", "POST", path, `x`, "Content-Type", "text/plain")
	for i := 1; i < WebhooksMax; i++ {
		w.want(201, "", "POST", path, create(fmt.Sprintf("http://127.0.0.1:%d/hook", 9000+i)))
	}
	w.want(400, "WEBHOOK_NUMBER_LIMIT_EXCEEDED", "POST", path, create("https://shop.example.com/eleventh"))
	o := w.want(200, "", "PATCH", path+"/"+id, `[{"op":"replace","path":"/event_types","value":[{"name":"*"}]},{"op":"replace","path":"/url","value":"https://shop.example.com/new"}]`)
	if o["url"] != "https://shop.example.com/new" || len(o["event_types"].([]any)) != 1 {
		t.Errorf("patched: %v", o)
	}
	w.want(400, "VALIDATION_ERROR", "PATCH", path+"/"+id, `[{"op":"add","path":"/url","value":"https://shop.example.com/x"}]`)
	w.want(400, "WEBHOOK_URL_ALREADY_EXISTS", "PATCH", path+"/"+id, `[{"op":"replace","path":"/url","value":"http://127.0.0.1:9001/hook"}]`)
	w.want(200, "", "GET", path+"/"+id+"/event-types", "")
	w.want(204, "", "DELETE", path+"/"+id, "")
	w.want(404, "INVALID_RESOURCE_ID", "GET", path+"/"+id, "")
	like(t, "GET_v1_notifications_webhooks-event-types.json", w.want(200, "", "GET", "/v1/notifications/webhooks-event-types", ""), "service", "owner", "contact")
	w.token = w.login("id2", "s2")
	if o := w.want(200, "", "GET", path, ""); len(o["webhooks"].([]any)) != 0 {
		t.Errorf("another app sees the webhooks: %v", o)
	}
	strict := newTwin(t, func(o *Options) { o.LocalWebhooks = false })
	strict.want(400, "VALIDATION_ERROR", "POST", path, create("http://127.0.0.1:9001/hook"))
}

func TestEventsAreListedInPages(t *testing.T) {
	w := newTwin(t, nil)
	at := time.Now().UTC().Add(-time.Hour)
	for i := range 7 {
		e := sample(t, fmt.Sprintf("WH-%d", i))
		e.CreateTime = at.Add(time.Duration(i) * time.Minute)
		w.emit(e)
	}
	var seen []string
	path := "/v1/notifications/webhooks-events?page_size=3&start_time=" + at.Format("2006-01-02T15:04:05Z")
	for pages := 0; path != "" && pages < 10; pages++ {
		o := w.want(200, "", "GET", path, "")
		if pages == 0 {
			like(t, "GET_v1_notifications_webhooks-events.json", o, "resource")
		}
		for _, e := range o["events"].([]any) {
			seen = append(seen, text(e.(object), "id"))
			if e.(object)["status"] != "PENDING" {
				t.Errorf("event: %v", e)
			}
		}
		path = ""
		links, _ := o["links"].([]any)
		for _, l := range links {
			if l := l.(object); l["rel"] == "next" {
				path = strings.TrimPrefix(text(l, "href"), w.url)
			}
		}
	}
	if got, want := strings.Join(seen, " "), "WH-6 WH-5 WH-4 WH-3 WH-2 WH-1 WH-0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	w.want(400, "VALIDATION_ERROR", "GET", "/v1/notifications/webhooks-events?start_time=2001-01-01T00:00:00Z", "")
	w.want(400, "VALIDATION_ERROR", "GET", "/v1/notifications/webhooks-events?page_size=0", "")
	if o := w.want(200, "", "GET", "/v1/notifications/webhooks-events?event_type=NO.SUCH", ""); o["count"] != json.Number("0") || o["links"] != nil {
		t.Errorf("nothing found: %v", o)
	}
}

func TestSimulatedEventsAndPostback(t *testing.T) {
	w := newTwin(t, nil)
	r := newReceiver(t)
	id := w.subscribe(r, "*")
	w.want(202, "", "POST", "/v1/notifications/simulate-event", `{"webhook_id":"`+id+`","event_type":"BILLING.SUBSCRIPTION.ACTIVATED"}`)
	w.wait()
	w.emit(sample(t, "WH-REAL"))
	w.wait()
	if len(r.got) != 2 {
		t.Fatalf("got %d deliveries", len(r.got))
	}
	if err := w.verify(r.got[0].header, "WEBHOOK_ID", r.got[0].body, liveName); err != nil {
		t.Errorf("mock: %v", err)
	}
	if !bytes.Contains(r.got[0].body, []byte("2018-19-12T22:20:32.000Z")) {
		t.Error("the mock has a possible date")
	}
	w.want(404, "INVALID_RESOURCE_ID", "GET", "/v1/notifications/webhooks-events/WH-77687562XN25889J8-8Y6T55435R66168T6", "")
	w.want(400, "VALIDATION_ERROR", "POST", "/v1/notifications/simulate-event", `{"webhook_id":"`+id+`","event_type":"../../x"}`)
	post := func(g reception, hook string, body []byte) any {
		h := g.header
		in := fmt.Sprintf(`{"auth_algo":%q,"cert_url":%q,"transmission_id":%q,"transmission_sig":%q,"transmission_time":%q,"webhook_id":%q,"webhook_event":%s}`,
			h.Get("Paypal-Auth-Algo"), h.Get("Paypal-Cert-Url"), h.Get("Paypal-Transmission-Id"), h.Get("Paypal-Transmission-Sig"),
			h.Get("Paypal-Transmission-Time"), hook, body)
		return w.want(200, "", "POST", "/v1/notifications/verify-webhook-signature", in)["verification_status"]
	}
	if post(r.got[1], id, r.got[1].body) != "SUCCESS" {
		t.Error("a genuine event is not verified")
	}
	if post(r.got[0], id, r.got[0].body) != "FAILURE" || post(r.got[1], id, []byte(`{"id":"WH-REAL"}`)) != "FAILURE" {
		t.Error("a mock or a changed event is verified")
	}
	w.want(400, "VALIDATION_ERROR", "POST", "/v1/notifications/verify-webhook-signature", `{"webhook_id":"x"}`)
}

func TestOrderCaptureAndRefund(t *testing.T) {
	c := newClock()
	w := newTwin(t, func(o *Options) { o.Now = c.now })
	r := newReceiver(t)
	w.subscribe(r, "*")
	const orders = "/v2/checkout/orders"
	create := `{"intent":"CAPTURE","purchase_units":[{"amount":{"currency_code":"USD","value":"10.99"},"custom_id":"17"}]}`
	o := w.want(201, "", "POST", orders, create, "PayPal-Request-Id", "r1")
	id := text(o, "id")
	if again := w.want(200, "", "POST", orders, create, "PayPal-Request-Id", "r1"); text(again, "id") != id {
		t.Error("one request id made two orders")
	}
	w.want(422, "UNPROCESSABLE_ENTITY", "POST", orders, `{"intent":"CAPTURE","purchase_units":[{"amount":{"currency_code":"JPY","value":"10.50"}}]}`)
	w.want(400, "INVALID_REQUEST", "POST", orders, `{"intent":"CAPTURE","purchase_units":[{"amount":{"currency_code":"USD","value":"ten"}}]}`)
	issue := func(o object) any { return o["details"].([]any)[0].(object)["issue"] }
	if o := w.want(422, "UNPROCESSABLE_ENTITY", "POST", orders+"/"+id+"/capture", ""); issue(o) != "ORDER_NOT_APPROVED" {
		t.Errorf("capture too early: %v", o)
	}
	payer := `{"account":"shop","payer":{"email_address":"jane@example.com","payer_id":"QYR5Z8XDVJNXQ","name":{"given_name":"Jane","surname":"Doe"}}}`
	w.want(204, "", "POST", "/_simulator/orders/"+id+"/approve", payer)
	captured := w.want(201, "", "POST", orders+"/"+id+"/capture", "")
	like(t, "POST_v2_checkout_orders_ID_capture.json", captured, "shipping")
	if o := w.want(422, "UNPROCESSABLE_ENTITY", "POST", orders+"/"+id+"/capture", ""); issue(o) != "ORDER_ALREADY_CAPTURED" {
		t.Errorf("captured twice: %v", o)
	}
	unit := captured["purchase_units"].([]any)[0].(object)
	capture := text(nested(unit, "payments")["captures"].([]any)[0].(object), "id")
	refunds := "/v2/payments/captures/" + capture + "/refund"
	part := w.want(201, "", "POST", refunds, `{"amount":{"currency_code":"USD","value":"4.00"},"note_to_payer":"Defective product","invoice_id":"INVOICE-123"}`)
	like(t, "GET_v2_payments_refunds_ID.json", w.want(200, "", "GET", "/v2/payments/refunds/"+text(part, "id"), ""))
	if o := w.want(200, "", "GET", "/v2/payments/captures/"+capture, ""); o["status"] != "PARTIALLY_REFUNDED" {
		t.Errorf("capture: %v", o["status"])
	}
	if o := w.want(422, "", "POST", refunds, `{"amount":{"currency_code":"USD","value":"7.00"}}`); issue(o) != "REFUND_AMOUNT_EXCEEDED" {
		t.Errorf("too much: %v", o)
	}
	rest := w.want(201, "", "POST", refunds, "")
	if o := w.want(200, "", "GET", "/v2/payments/refunds/"+text(rest, "id"), ""); text(o, "amount", "value") != "6.99" ||
		text(o, "seller_payable_breakdown", "total_refunded_amount", "value") != "10.99" {
		t.Errorf("the rest: %v", o)
	}
	if o := w.want(422, "", "POST", refunds, ""); issue(o) != "CAPTURE_FULLY_REFUNDED" {
		t.Errorf("once more: %v", o)
	}
	final := w.want(200, "", "GET", orders+"/"+id, "")
	unit = final["purchase_units"].([]any)[0].(object)
	if got := nested(unit, "payments")["captures"].([]any)[0].(object)["status"]; got != "REFUNDED" || final["status"] != "COMPLETED" {
		t.Errorf("order: %v, its capture %v", final["status"], got)
	}
	w.wait()
	var types []string
	for _, s := range w.s.Sent() {
		types = append(types, s.EventType)
	}
	if got, want := strings.Join(types, " "), "CHECKOUT.ORDER.APPROVED PAYMENT.CAPTURE.COMPLETED PAYMENT.CAPTURE.REFUNDED PAYMENT.CAPTURE.REFUNDED"; got != want {
		t.Errorf("sent %s", got)
	}
	c.add(time.Hour)
	report := w.want(200, "", "GET", "/v1/reporting/transactions?fields=all&start_date=2026-04-20T00:00:00-0700&end_date=2026-05-02T00:00:00Z", "")
	like(t, "GET_v1_reporting_transactions.json", report, "paypal_account_id", "insurance_amount", "shipping_amount", "shipping_discount_amount",
		"transaction_subject", "transaction_note", "protection_eligibility", "invoice_id", "address_status", "country_code", "shipping_info", "cart_info")
	if report["total_items"] != json.Number("3") {
		t.Errorf("report: %v items, want 3", report["total_items"])
	}
	w.want(400, "INVALID_REQUEST", "GET", "/v1/reporting/transactions?start_date=2026-03-01T00:00:00Z&end_date=2026-04-30T00:00:00Z", "")
	w.want(400, "INVALID_REQUEST", "GET", "/v1/reporting/transactions?start_date=2021-03-01T00:00:00Z&end_date=2021-03-02T00:00:00Z", "")
	o = w.want(201, "", "POST", orders, create)
	c.add(approveWithin + time.Second)
	w.token = w.login("id1", "s1")
	w.want(404, "RESOURCE_NOT_FOUND", "GET", orders+"/"+text(o, "id"), "")
}

func TestSubscriptions(t *testing.T) {
	w := newTwin(t, nil)
	const path = "/v1/billing/subscriptions"
	plan := text(w.want(201, "", "POST", "/v1/billing/plans", `{"product_id":"PROD-1","name":"Club","billing_cycles":[],"payment_preferences":{}}`), "id")
	w.want(404, "RESOURCE_NOT_FOUND", "POST", path, `{"plan_id":"P-NONE"}`)
	id := text(w.want(201, "", "POST", path, `{"plan_id":"`+plan+`","custom_id":"17"}`), "id")
	act := func(status int, action string) {
		t.Helper()
		w.want(status, "", "POST", path+"/"+id+"/"+action, `{"reason":"tired of it"}`)
	}
	act(422, "suspend")
	w.want(204, "", "POST", "/_simulator/subscriptions/"+id+"/activate", `{"account":"shop","subscriber":{"email_address":"jane@example.com"}}`)
	act(422, "activate")
	act(204, "suspend")
	act(422, "suspend")
	act(204, "activate")
	act(204, "cancel")
	act(422, "activate")
	act(422, "cancel")
	w.want(400, "INVALID_REQUEST", "POST", path+"/"+id+"/cancel", `{}`)
	o := w.want(200, "", "GET", path+"/"+id+"?fields=plan", "")
	if o["status"] != "CANCELLED" || o["status_change_note"] != "tired of it" || text(o, "plan", "name") != "Club" {
		t.Errorf("subscription: %v", o)
	}
	if o := w.want(200, "", "GET", path+"?statuses=ACTIVE", ""); len(o["subscriptions"].([]any)) != 0 {
		t.Errorf("active ones: %v", o)
	}
	w.want(400, "INVALID_REQUEST", "GET", path+"?page_size=21", "")
	w.want(400, "INVALID_REQUEST", "GET", path+"/"+id+"/transactions", "")
}

// TestStoryIsToldAndCanBeRead plays a whole story and reads its objects through the APIs.
func TestStoryIsToldAndCanBeRead(t *testing.T) {
	at := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	w := newTwin(t, func(o *Options) {
		o.Faults = Faults{DuplicateRate: 0.1, LateRate: 0.2, LateDelay: 30 * time.Millisecond}
		o.Now = func() time.Time { return at.AddDate(0, 0, 25) }
	})
	r := newReceiver(t)
	w.subscribe(r, "*")
	events := story.New(story.Options{Seed: 4, Orders: 60, Accounts: []string{"shop"}, Start: at}).Events()
	sub := ""
	for _, e := range events {
		w.emit(Event{ID: e.ID, Type: e.Type, Body: e.Body, CreateTime: e.Time})
		if e.Type == "PAYMENT.SALE.COMPLETED" && sub == "" {
			sub = e.Root
		}
	}
	w.wait()
	first := map[string][]byte{}
	for _, g := range r.got {
		o, err := decode(g.body)
		if err != nil {
			t.Fatal(err)
		}
		if first[text(o, "id")] == nil {
			first[text(o, "id")] = g.body
		}
	}
	for _, s := range w.s.Sent() {
		if s.FirstAccepted.IsZero() {
			t.Errorf("%s was not accepted", s.EventID)
		}
	}
	for _, e := range events {
		if arrived := bytes.Equal(first[e.ID], e.Body); arrived != (e.Bad != story.BadChanged) {
			t.Errorf("%s %s (%s): its body came first: %t", e.Type, e.ID, e.Bad, arrived)
		}
	}
	like(t, "GET_v1_billing_subscriptions_ID.json", w.want(200, "", "GET", "/v1/billing/subscriptions/"+sub, ""), "shipping_address", "next_billing_time")
	like(t, "GET_v1_billing_subscriptions_ID_transactions.json", w.want(200, "", "GET",
		"/v1/billing/subscriptions/"+sub+"/transactions?start_time=2025-01-01T00:00:00Z&end_time=2027-01-01T00:00:00Z", ""))
	report := w.want(200, "", "GET", "/v1/reporting/transactions?page_size=10&start_date=2026-01-05T00:00:00Z&end_date=2026-01-29T00:00:00Z", "")
	if n := len(report["transaction_details"].([]any)); n != 10 {
		t.Errorf("report: %d rows on the first page, want 10", n)
	}
	for _, e := range events {
		if e.Type == "PAYMENT.CAPTURE.COMPLETED" && e.Bad == "" {
			if o := w.want(200, "", "GET", "/v2/checkout/orders/"+e.Root, ""); o["status"] != "COMPLETED" {
				t.Errorf("order %s is %v after its capture", e.Root, o["status"])
			}
			break
		}
	}
	if code, o := w.call("GET", "/_simulator/status", ""); code != 200 || o["outstanding"] != json.Number("0") || o["events"] != json.Number(fmt.Sprint(len(events))) {
		t.Errorf("status: %v", o)
	}
}

func TestTroubleOnDemand(t *testing.T) {
	w := newTwin(t, nil)
	w.want(204, "", "POST", "/_simulator/fail", `{"path":"/v1/notifications","status":429,"retry_after":"7"}`)
	resp, err := w.client.Get(w.url + "/v1/notifications/webhooks")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "7" {
		t.Errorf("got %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	w.s.Fail(Failure{Path: "/v1/notifications", Status: 429})
	w.want(429, "RATE_LIMIT_REACHED", "GET", "/v1/notifications/webhooks", "")
	w.s.Fail(Failure{Path: "/v1/notifications", Method: "GET", Status: 503, Count: 2})
	w.want(503, "SERVICE_UNAVAILABLE", "GET", "/v1/notifications/webhooks", "")
	w.want(503, "SERVICE_UNAVAILABLE", "GET", "/v1/notifications/webhooks", "")
	w.want(200, "", "GET", "/v1/notifications/webhooks", "")
	w.s.Fail(Failure{Path: "/v1/", Cut: true})
	req, _ := http.NewRequest("POST", w.url+"/v1/notifications/webhooks", strings.NewReader("{}"))
	if resp, err := w.client.Do(req); err == nil {
		resp.Body.Close()
		t.Error("a cut connection gave an answer")
	}
	w.want(404, "RESOURCE_NOT_FOUND", "GET", "/v9/nothing", "")
}

func TestEmitByHTTPAndItsBounds(t *testing.T) {
	w := newTwin(t, func(o *Options) { o.RetrySchedule = []time.Duration{time.Hour} })
	body, err := json.Marshal(map[string]any{"account": "shop", "body": sample(t, "WH-A").Body})
	if err != nil {
		t.Fatal(err)
	}
	w.want(204, "", "POST", "/_simulator/emit", string(body))
	w.want(400, "", "POST", "/_simulator/emit", `{"account":"nobody","id":"x","type":"y","body":""}`)
	if err := w.s.Emit(t.Context(), "shop", Event{Body: []byte("{}")}); err == nil {
		t.Error("an event without id was taken")
	}
	sent := w.s.Sent()
	if len(sent) != 1 || sent[0].EventID != "WH-A" || sent[0].Attempts != 0 || !sent[0].FirstAccepted.IsZero() {
		t.Errorf("sent: %+v", sent)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := newReceiver(t, 500)
	w.subscribe(r, "*")
	w.emit(sample(t, "WH-B"))
	if err := w.s.Wait(ctx); err == nil {
		t.Error("waited for nothing though a delivery is outstanding")
	}
}

// TestScaledScheduleEndsWithinTwoMinutes holds the default to what Options says of it.
func TestScaledScheduleEndsWithinTwoMinutes(t *testing.T) {
	list := scaledSchedule()
	sum := time.Duration(0)
	for i, d := range list {
		if sum += d; i > 0 && d <= list[i-1] {
			t.Errorf("wait %d does not grow: %v", i, d)
		}
	}
	if len(list) != RetriesMax || sum > 2*time.Minute || sum < 90*time.Second {
		t.Errorf("got %d waits, %v together", len(list), sum)
	}
}

func BenchmarkDeliveries(b *testing.B) {
	s, err := New(Options{Accounts: []Account{{Name: "shop", ClientID: "x"}}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	defer server.Close()
	s.accounts["shop"].webhooks = []*webhook{{id: "H", url: server.URL, types: []string{"*"}}}
	events := story.New(story.Options{Orders: 200, Accounts: []string{"shop"}, Start: time.Now()}).Events()
	n := 0
	start := time.Now()
	for b.Loop() {
		e := events[n%len(events)]
		n++
		if err := s.Emit(b.Context(), "shop", Event{ID: fmt.Sprint(n), Type: e.Type, Body: e.Body, CreateTime: e.Time}); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Wait(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(n)/time.Since(start).Seconds(), "delivered/s")
}
