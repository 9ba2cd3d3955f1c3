package stripe

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators"
)

// inbox is a receiver that keeps what it is sent.
type inbox struct {
	mu     sync.Mutex
	status func(n int) int
	tries  int
	bodies [][]byte
	signed []string
}

func (b *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tries++
	b.bodies, b.signed = append(b.bodies, body), append(b.signed, r.Header.Get("Stripe-Signature"))
	if b.status != nil {
		w.WriteHeader(b.status(b.tries))
	}
}

type fixture struct {
	*Server
	inbox *inbox
	api   *httptest.Server
	ctx   context.Context
	hook  string
}

func start(t *testing.T, o Options) *fixture {
	t.Helper()
	f := &fixture{inbox: &inbox{}}
	receiver := httptest.NewServer(f.inbox)
	t.Cleanup(receiver.Close)
	f.hook = receiver.URL
	o.Keys = append(o.Keys, Key{Text: "sk_test_1"})
	o.WebhookURL, o.WebhookSecret, o.Log = f.hook, "whsec_1", zerolog.Nop()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	f.Server, f.api = s, httptest.NewServer(s.Handler())
	t.Cleanup(f.api.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	f.ctx = ctx
	return f
}

// call makes an API request and returns its status and body.
func (f *fixture) call(t *testing.T, key, method, path string, form url.Values) (int, object) {
	t.Helper()
	req, err := http.NewRequestWithContext(f.ctx, method, f.api.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := f.api.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var out object
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, out
}

func (f *fixture) paid(t *testing.T) string {
	t.Helper()
	id, err := f.Place(f.ctx, simulators.Order{Email: "a@example.com", Total: "10.00", Currency: "EUR"})
	if err == nil {
		err = f.Pay(f.ctx, id)
	}
	if err == nil {
		err = f.Wait(f.ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestSign is Stripe's own vector.
func TestSign(t *testing.T) {
	got := Sign([]string{"whsec_test_secret"}, time.Unix(1492774577, 0), []byte(`{"id":"evt_test_webhook","object":"event"}`))
	if want := "t=1492774577,v1=88a022085c6bdb887b02cb26ff76dd681234d9675c0f22844059f55552a8883a,v0="; !strings.HasPrefix(got, want) {
		t.Errorf("got %s, want %s...", got, want)
	}
}

// TestRetries: a try that fails is made again, signed anew, with the same event, until the schedule ends.
func TestRetries(t *testing.T) {
	f := start(t, Options{RetrySchedule: []time.Duration{time.Millisecond, time.Millisecond}, NoSessions: true})
	f.inbox.status = func(n int) int { return map[bool]int{true: 500, false: 200}[n <= 2] }
	if _, err := f.Place(f.ctx, simulators.Order{Total: "1", Currency: "JPY"}); err != nil {
		t.Fatal(err)
	}
	if err := f.Wait(f.ctx); err != nil {
		t.Fatal(err)
	}
	if accepted, lost := f.Sent(); accepted != 1 || lost != 0 || f.inbox.tries != 3 || !bytes.Equal(f.inbox.bodies[0], f.inbox.bodies[2]) {
		t.Errorf("got %d accepted, %d lost in %d tries, want 1, 0 in 3 of one body", accepted, lost, f.inbox.tries)
	}
	f.inbox.status = func(int) int { return 302 }
	if _, err := f.Place(f.ctx, simulators.Order{Total: "1", Currency: "JPY"}); err != nil {
		t.Fatal(err)
	}
	if err := f.Wait(f.ctx); err != nil {
		t.Fatal(err)
	}
	if _, lost := f.Sent(); lost != 1 || f.inbox.tries != 6 {
		t.Errorf("a redirect: got %d lost in %d tries, want 1 in 6", lost, f.inbox.tries)
	}
}

// TestDisables: an endpoint that fails is switched off and sent nothing; its events stay in the list as undelivered.
func TestDisables(t *testing.T) {
	f := start(t, Options{RetrySchedule: []time.Duration{}, DisableAfter: 2, NoSessions: true, Parallel: 1})
	f.inbox.status = func(int) int { return 500 }
	f.paid(t)
	before := f.inbox.tries
	f.paid(t)
	if f.inbox.tries != before || before > 2 {
		t.Errorf("got %d tries, then %d, want 2 and none more", before, f.inbox.tries)
	}
	_, list := f.call(t, "sk_test_1", "GET", "/v1/events?delivery_success=false&limit=100", nil)
	if n := len(list["data"].([]any)); n != 3 { // made while it was on
		t.Errorf("got %d undelivered events, want 3", n)
	}
	_, hooks := f.call(t, "sk_test_1", "GET", "/v1/webhook_endpoints", nil)
	if hook := hooks["data"].([]any)[0].(object); hook["status"] != "disabled" || hook["secret"] != nil {
		t.Errorf("got %v, want it disabled, without its secret", hook)
	}
}

// TestFaults: doubled deliveries are the same event; what is withheld never comes.
func TestFaults(t *testing.T) {
	f := start(t, Options{Faults: Faults{DuplicateRate: 1, DisorderRate: 1, DisorderDelay: time.Millisecond}})
	f.Withhold(1)
	f.paid(t)
	ids := map[string]int{}
	for _, b := range f.inbox.bodies {
		var e struct{ ID string }
		if err := json.Unmarshal(b, &e); err != nil {
			t.Fatal(err)
		}
		ids[e.ID]++
	}
	if accepted, lost := f.Sent(); len(ids) != 3 || accepted != 6 || lost != 1 {
		t.Errorf("got %v, %d accepted and %d lost, want three events twice and one withheld", ids, accepted, lost)
	}
}

// TestAPI: keys, permissions, limits, pages and errors as Stripe's.
func TestAPI(t *testing.T) {
	now := time.Unix(1700000000, 0)
	f := start(t, Options{
		Now: func() time.Time { return now }, RateMax: 11, Keys: []Key{{Text: "rk_test_events", Permissions: []string{PermissionEvents}}},
	})
	id := f.paid(t)
	for _, c := range []struct {
		key, method, path string
		status            int
		message           string
	}{
		{"", "GET", "/v1/events", 401, "You did not provide an API key"},
		{"sk_test_wrongwrong", "GET", "/v1/events", 401, "Invalid API Key provided: sk_test_******rong"},
		{"rk_test_events", "GET", "/v1/webhook_endpoints", 403, "Having the 'rak_webhook_write' permission"},
		{"rk_test_events", "GET", "/v1/events?limit=101", 400, "Invalid limit"},
		{"rk_test_events", "GET", "/v1/events?starting_after=evt_0", 400, "No such object"},
		{"sk_test_1", "GET", "/v1/payment_intents/pi_0", 404, "No such payment_intent"},
		{"sk_test_1", "POST", "/v1/webhook_endpoints", 400, "Invalid URL"},
		{"sk_test_1", "GET", "/v1/nothing", 404, "Unrecognized request URL"},
	} {
		status, body := f.call(t, c.key, c.method, c.path, nil)
		if text := fmt.Sprint(body["error"]); status != c.status || !strings.Contains(text, c.message) {
			t.Errorf("%s %s: got %d %s, want %d %s", c.method, c.path, status, text, c.status, c.message)
		}
	}
	if _, o := f.call(t, "sk_test_1", "GET", "/v1/payment_intents/"+id, nil); o["status"] != "succeeded" {
		t.Errorf("got %v, want it succeeded", o["status"])
	}
	_, first := f.call(t, "sk_test_1", "GET", "/v1/events?limit=3&types[]=charge.*&types[]=payment_intent.*", nil)
	if data := first["data"].([]any); len(data) != 3 || first["has_more"] != false || data[0].(object)["type"] != "payment_intent.succeeded" {
		t.Errorf("got %v, want three events, the newest first", first)
	}
	f.call(t, "sk_test_1", "GET", "/v1/events", nil)
	f.call(t, "sk_test_1", "GET", "/v1/events", nil)
	if status, _ := f.call(t, "sk_test_1", "GET", "/v1/events", nil); status != 429 {
		t.Errorf("the 12th request of a second: got %d, want 429", status)
	}
	now = now.Add(31 * 24 * time.Hour)
	if _, list := f.call(t, "sk_test_1", "GET", "/v1/events", nil); len(list["data"].([]any)) != 0 {
		t.Errorf("after 31 days: got %v, want none", list["data"])
	}
}

// TestEndpoints: made by API, an endpoint shows its secret once; there are 16 at most.
func TestEndpoints(t *testing.T) {
	f := start(t, Options{})
	form := url.Values{"url": {f.hook + "/second"}, "enabled_events[]": {"charge.succeeded"}}
	_, made := f.call(t, "sk_test_1", "POST", "/v1/webhook_endpoints", form)
	path := "/v1/webhook_endpoints/" + fmt.Sprint(made["id"])
	_, read := f.call(t, "sk_test_1", "GET", path, nil)
	if !strings.HasPrefix(fmt.Sprint(made["secret"]), "whsec_") || read["secret"] != nil || read["status"] != "enabled" {
		t.Errorf("got %v, then %v", made, read)
	}
	_, changed := f.call(t, "sk_test_1", "POST", path, url.Values{"disabled": {"true"}, "enabled_events[0]": {"*"}})
	if changed["status"] != "disabled" || fmt.Sprint(changed["enabled_events"]) != "[*]" {
		t.Errorf("got %v, want it changed", changed)
	}
	for range EndpointsMax {
		f.call(t, "sk_test_1", "POST", "/v1/webhook_endpoints", form)
	}
	if status, body := f.call(t, "sk_test_1", "POST", "/v1/webhook_endpoints", form); status != 400 || !strings.Contains(fmt.Sprint(body), "maximum") {
		t.Errorf("the 17th: got %d %v", status, body)
	}
	if status, _ := f.call(t, "sk_test_1", "DELETE", path, nil); status != 200 {
		t.Errorf("delete: got %d", status)
	}
	if status, _ := f.call(t, "sk_test_1", "GET", path, nil); status != 404 {
		t.Errorf("after delete: got %d, want 404", status)
	}
}

// TestTruth: where each step leaves an order, and which steps are refused.
func TestTruth(t *testing.T) {
	f := start(t, Options{})
	id := f.paid(t)
	state := func() string {
		o := f.Orders()
		return fmt.Sprint(o[len(o)-1].Status, " ", o[len(o)-1].Refunded)
	}
	for _, c := range []struct {
		name string
		do   func() error
		fine bool
		want string
	}{
		{"pay again", func() error { return f.Pay(f.ctx, id) }, false, "PAID 0.00"},
		{"cancel what is paid", func() error { return f.Cancel(f.ctx, id) }, false, "PAID 0.00"},
		{"refund a part", func() error { return f.Refund(f.ctx, id, "2.50") }, true, "PARTIALLY_REFUNDED 2.50"},
		{"refund too much", func() error { return f.Refund(f.ctx, id, "8.00") }, false, "PARTIALLY_REFUNDED 2.50"},
		{"refund a fraction of a cent", func() error { return f.Refund(f.ctx, id, "0.001") }, false, "PARTIALLY_REFUNDED 2.50"},
		{"the refund fails", func() error { return f.FailRefund(f.ctx, id) }, true, "PAID 0.00"},
		{"refund it all", func() error { return f.Refund(f.ctx, id, "10") }, true, "REFUNDED 10.00"},
		{"an order that is none", func() error { return f.Pay(f.ctx, "pi_0") }, false, "REFUNDED 10.00"},
	} {
		if err := c.do(); (err == nil) != c.fine || state() != c.want {
			t.Errorf("%s: got %v and %s, want %s", c.name, err, state(), c.want)
		}
	}
	if o := f.Orders(); o[0].Status != schemas.StatusRefunded || o[0].Email != "a@example.com" {
		t.Errorf("got %+v", o[0])
	}
}

// TestRun: the whole simulator answers on an address of its own, and stops.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	up := make(chan string, 1)
	go func() { done <- Run(ctx, Options{Log: zerolog.Nop()}, "127.0.0.1:0", func(url string) { up <- url }) }()
	res, err := http.Get(<-up + "/_simulator/status")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	cancel()
	if err := <-done; err != nil || res.StatusCode != 200 {
		t.Errorf("got %d and %v, want 200 and a quiet end", res.StatusCode, err)
	}
	if _, err := New(Options{WebhookURL: "http://localhost"}); err == nil {
		t.Error("an endpoint without a secret: no error")
	}
	if got := scaledSchedule(LiveRetries); !slices.IsSorted(got) || len(got) != LiveRetries {
		t.Errorf("got schedule %v", got)
	}
}
