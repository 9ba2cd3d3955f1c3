package woocommerce

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators"
)

// rig is a store with its clock in the test's hand, and an endpoint that takes its webhooks.
type rig struct {
	*Server
	api, endpoint *httptest.Server

	mu     sync.Mutex
	at     time.Time
	answer int           // of the endpoint; 0: 200
	gate   chan struct{} // the endpoint answers once it is closed; nil: at once
	got    []received
}

type received struct {
	header http.Header
	body   string
}

func newRig(t *testing.T, o Options) *rig {
	t.Helper()
	r := &rig{at: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)}
	o.Keys, o.Log = []Key{{"ck", "cs", ""}, {"ck_read", "cs_read", "read"}}, zerolog.Nop()
	o.Now = func() time.Time { r.mu.Lock(); defer r.mu.Unlock(); return r.at }
	var err error
	if r.Server, err = New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	r.api = httptest.NewServer(r.Handler())
	t.Cleanup(r.api.Close)
	r.SetPublicURL(r.api.URL)
	r.endpoint = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		r.mu.Lock()
		gate := r.gate
		r.mu.Unlock()
		if gate != nil {
			<-gate
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if err == nil {
			r.got = append(r.got, received{q.Header, string(body)})
		}
		if r.answer != 0 {
			w.WriteHeader(r.answer)
		}
	}))
	t.Cleanup(r.endpoint.Close)
	return r
}

func (r *rig) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = r.at.Add(d)
}

// took waits for the deliveries and returns and forgets them.
func (r *rig) took(t *testing.T) []received {
	t.Helper()
	must(t, r.Wait(t.Context()))
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

func (r *rig) answers(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = status
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (r *rig) order(t *testing.T) string {
	t.Helper()
	id, err := r.Place(t.Context(), simulators.Order{Email: "a@example.com", GivenName: "Zoë", Surname: "Żak/🫖", Total: "40.00", Currency: "EUR", Product: "Tee"})
	must(t, err)
	return id
}

func (r *rig) hook(t *testing.T, topic, secret string) int64 {
	t.Helper()
	id, err := r.AddHook(topic, r.endpoint.URL, secret)
	must(t, err)
	r.took(t) // its ping
	return id
}

// ask calls the API with the good key and decodes the answer.
func (r *rig) ask(t *testing.T, method, path string, in, out any) *http.Response {
	t.Helper()
	body, err := json.Marshal(in)
	must(t, err)
	req, err := http.NewRequestWithContext(t.Context(), method, r.api.URL+path, bytes.NewReader(body))
	must(t, err)
	req.SetBasicAuth("ck", "cs")
	res, err := http.DefaultClient.Do(req)
	must(t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	must(t, err)
	if out != nil {
		if err := json.Unmarshal(data, out); err != nil {
			t.Fatalf("%s %s: status %d: %v in %.300s", method, path, res.StatusCode, err, data)
		}
	}
	return res
}

func (r *rig) listed(t *testing.T, query string) []string {
	t.Helper()
	var list []struct{ ID json.Number }
	if res := r.ask(t, "GET", "/wp-json/wc/v3/orders?"+query, nil, &list); res.StatusCode != 200 {
		t.Fatalf("%s: status %d", query, res.StatusCode)
	}
	out := []string{}
	for _, o := range list {
		out = append(out, o.ID.String())
	}
	return out
}

// TestDelivery: a webhook as WooCommerce sends it, signed over the bytes, with PHP's escapes.
func TestDelivery(t *testing.T) {
	r := newRig(t, Options{Parallel: 1})
	const secret = "a secret with &amp; in it"
	r.hook(t, updated, secret)
	id := r.order(t)
	got := r.took(t)
	if len(got) != 1 {
		t.Fatalf("got %d deliveries, want 1", len(got))
	}
	h, body := got[0].header, got[0].body
	mac := hmac.New(sha256.New, []byte("a secret with & in it"))
	io.WriteString(mac, body)
	want := map[string]string{
		"Content-Type": "application/json", "X-Wc-Webhook-Topic": "order.updated", "X-Wc-Webhook-Resource": "order", "X-Wc-Webhook-Event": "updated",
		"X-Wc-Webhook-Source": r.api.URL + "/", "X-Wc-Webhook-Signature": base64.StdEncoding.EncodeToString(mac.Sum(nil)), "User-Agent": userAgent,
	}
	for name, value := range want {
		if h.Get(name) != value {
			t.Errorf("%s: got %q, want %q", name, h.Get(name), value)
		}
	}
	if len(h.Get("X-Wc-Webhook-Delivery-Id")) != 32 || h.Get("X-Wc-Webhook-Id") == "" {
		t.Errorf("got headers %v", h)
	}
	if !strings.Contains(body, `Zo\u00eb`) || !strings.Contains(body, `\u017bak\/\ud83e\uded6`) || strings.ContainsFunc(body, func(c rune) bool { return c > 0x7e }) {
		t.Errorf("got body %s, want PHP's escapes", body)
	}
	var o map[string]any
	must(t, json.Unmarshal([]byte(body), &o))
	if o["status"] != "pending" || o["date_modified"] != "2026-03-01T06:00:00" || o["date_modified_gmt"] != "2026-03-01T09:00:00" || o["date_paid_gmt"] != nil || o["number"] != id {
		t.Errorf("got %v", o)
	}
}

// TestMembers: what the twin writes has the members that recorded stores wrote, of the same JSON type.
func TestMembers(t *testing.T) {
	r := newRig(t, Options{})
	id := r.order(t)
	must(t, r.Pay(t.Context(), id), r.Refund(t.Context(), id, "5.00"))
	r.hook(t, updated, "secret")
	for sample, path := range map[string]string{
		"testdata/order-324-partially-refunded.json": "/wp-json/wc/v3/orders/" + id,
		"testdata/refunds-list.json":                 "/wp-json/wc/v3/orders/" + id + "/refunds",
		"testdata/webhook-resource.json":             "/wp-json/wc/v3/webhooks",
	} {
		data, err := os.ReadFile(sample)
		must(t, err)
		var recorded, written any
		must(t, json.Unmarshal(data, &recorded))
		r.ask(t, "GET", path, nil, &written)
		a, b := first(recorded), first(written)
		for name, value := range b {
			if old, known := a[name]; known && old != nil && value != nil && kind(old) != kind(value) {
				t.Errorf("%s: %s is %s, recorded as %s", path, name, kind(value), kind(old))
			}
			newer := []string{"payment_url", "is_editable", "needs_payment", "needs_processing"}
			if _, known := a[name]; !known && !slices.Contains(newer, name) {
				t.Errorf("%s: nobody recorded a member %s", path, name)
			}
		}
	}
}

func first(v any) map[string]any {
	if list, ok := v.([]any); ok && len(list) > 0 {
		v = list[0]
	}
	m, _ := v.(map[string]any)
	return m
}

func kind(v any) string {
	switch v.(type) {
	case string:
		return "a text"
	case float64:
		return "a number"
	case bool:
		return "a truth value"
	case []any:
		return "a list"
	}
	return "an object"
}

// TestSnapshot: a body is made when it is sent, a change that waits already is not queued again, and two orders sent by
// one webhook within a second share a delivery id.
func TestSnapshot(t *testing.T) {
	r := newRig(t, Options{Parallel: 1})
	r.hook(t, updated, "secret")
	gate := make(chan struct{})
	r.gate = gate
	r.order(t) // keeps the only worker busy
	a, b := r.order(t), r.order(t)
	must(t, r.Pay(t.Context(), a), r.SetStatus(t.Context(), a, "completed"))
	close(gate)
	got := r.took(t)
	if len(got) != 3 {
		t.Fatalf("got %d deliveries, want one for each order", len(got))
	}
	got = got[1:]
	for _, d := range got {
		var o struct {
			ID     json.Number
			Status string
		}
		must(t, json.Unmarshal([]byte(d.body), &o))
		if want := map[string]string{a: "completed", b: "pending"}[o.ID.String()]; o.Status != want {
			t.Errorf("order %s: got %s, want what it is when it is sent: %s", o.ID, o.Status, want)
		}
	}
	if x, y := got[0].header.Get("X-Wc-Webhook-Delivery-Id"), got[1].header.Get("X-Wc-Webhook-Delivery-Id"); x != y || x == "" {
		t.Errorf("got delivery ids %s and %s, want one", x, y)
	}
}

// TestNoRetry: nothing is sent again; the seventh failure in a row switches the webhook off; 2xx to 302 is success.
func TestNoRetry(t *testing.T) {
	r := newRig(t, Options{Parallel: 1})
	r.hook(t, updated, "secret")
	id := r.order(t)
	touch := func() int { must(t, r.Touch(t.Context(), id)); return len(r.took(t)) }
	r.took(t)
	status := func() string { return r.Hooks()[0].Status }
	for _, c := range []struct {
		answer, times int
		status        string
	}{
		{500, 6, "active"},
		{302, 1, "active"}, // a redirect counts as delivered and is not followed; the failures are forgotten
		{404, 6, "active"},
		{303, 1, "disabled"},
	} {
		r.answers(c.answer)
		for range c.times {
			if n := touch(); n != 1 {
				t.Fatalf("%d: got %d requests for one change, want 1", c.answer, n)
			}
		}
		if status() != c.status {
			t.Errorf("after %d times %d: got %s, want %s", c.times, c.answer, status(), c.status)
		}
	}
	r.answers(0)
	if n := touch(); n != 0 {
		t.Errorf("got %d requests of a webhook that is off", n)
	}
	if accepted, lost := r.Sent(); accepted != 2 || lost != 13 {
		t.Errorf("got %d accepted and %d lost, want 2 and 13", accepted, lost)
	}
}

// TestTopics: what an order's life announces.
func TestTopics(t *testing.T) {
	r := newRig(t, Options{Parallel: 1, Faults: Faults{DraftNoise: true}})
	for _, topic := range []string{created, updated, deleted, restored} {
		r.hook(t, topic, "secret")
	}
	topics := func() string {
		var list []string
		for _, d := range r.took(t) {
			list = append(list, d.header.Get("X-Wc-Webhook-Event"))
		}
		slices.Sort(list)
		return strings.Join(slices.Compact(list), " ")
	}
	id := r.order(t)
	if got := topics(); got != "created updated" {
		t.Errorf("placed: got %s", got)
	}
	for _, c := range []struct {
		name string
		do   func(context.Context, string) error
		want string
	}{
		{"failed", r.Fail, "updated"},
		{"paid", r.Pay, "updated"},
		{"refunded", func(ctx context.Context, id string) error { return r.Refund(ctx, id, "1") }, "updated"},
		{"trashed", r.Trash, "deleted"},
		{"restored", r.Restore, "restored"},
	} {
		must(t, c.do(t.Context(), id))
		if got := topics(); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	must(t, r.Trash(t.Context(), id), r.Wait(t.Context()))
	if got := r.took(t); len(got) != 1 || got[0].body != `{"id":`+id+`}` {
		t.Errorf("trashed: got %v, want the id alone", got)
	}
	for name, err := range map[string]error{
		"trashed twice": r.Trash(t.Context(), id), "refund too large": r.Refund(t.Context(), id, "100"), "no order": r.Pay(t.Context(), "1"),
	} {
		if err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// TestTruth: what the store says of its orders.
func TestTruth(t *testing.T) {
	r := newRig(t, Options{PaymentMethod: "cod"})
	ctx := t.Context()
	unpaid, paid, gone := r.order(t), r.order(t), r.order(t)
	must(t, r.Pay(ctx, paid), r.Refund(ctx, paid, "10.00"), r.Trash(ctx, gone))
	var got []schemas.PaymentStatus
	for _, o := range r.Orders() {
		got = append(got, o.Status)
	}
	if diff := cmp.Diff(got, []schemas.PaymentStatus{schemas.StatusPending, schemas.StatusPartiallyRefunded, schemas.StatusCancelled}); diff != "" {
		t.Errorf("%s, %s, %s: -got +want:\n%s", unpaid, paid, gone, diff)
	}
	var status Status
	res := r.ask(t, "GET", "/_simulator/status", nil, &status)
	if res.StatusCode != 200 || status.Orders != 3 || status.Outstanding != 0 {
		t.Errorf("got %+v", status)
	}
}

// TestUnreadable: the webhook's owner lost his rights: bodies are errors, signed all the same.
func TestUnreadable(t *testing.T) {
	r := newRig(t, Options{Faults: Faults{Unreadable: true}})
	r.hook(t, created, "secret")
	r.order(t)
	if got := r.took(t); len(got) != 1 || !strings.Contains(got[0].body, "woocommerce_rest_cannot_view") || got[0].header.Get("X-Wc-Webhook-Signature") == "" {
		t.Errorf("got %v", got)
	}
}

// TestWithhold: what is held back is never sent, and counts as lost.
func TestWithhold(t *testing.T) {
	r := newRig(t, Options{Parallel: 1})
	r.hook(t, created, "secret")
	r.Withhold(2)
	for range 3 {
		r.order(t)
	}
	if got := r.took(t); len(got) != 1 {
		t.Errorf("got %d deliveries, want the third", len(got))
	}
	if accepted, lost := r.Sent(); accepted != 1 || lost != 2 {
		t.Errorf("got %d accepted and %d lost", accepted, lost)
	}
}

// TestTrouble: failures on demand, through Go and over HTTP, used up in order.
func TestTrouble(t *testing.T) {
	r := newRig(t, Options{})
	r.Trouble(Failure{Path: "/wp-json", Status: 429, RetryAfter: "7"})
	if res := r.ask(t, "POST", "/_simulator/fail", Failure{Path: "/wp-json", Status: 503}, nil); res.StatusCode != 204 {
		t.Errorf("asked for: got %d", res.StatusCode)
	}
	for _, want := range []int{429, 503, 200} {
		res := r.ask(t, "GET", "/wp-json/", nil, nil)
		if res.StatusCode != want || want == 429 && res.Header.Get("Retry-After") != "7" {
			t.Errorf("got %d %v, want %d", res.StatusCode, res.Header, want)
		}
	}
}

// TestRun: the whole simulator, served until its context ends.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready := make(chan string, 1)
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{Keys: []Key{{"ck", "cs", ""}}, Log: zerolog.Nop()}, "127.0.0.1:0", func(url string) { ready <- url })
	}()
	select {
	case base := <-ready:
		res, err := http.Get(base + "/wp-json/")
		must(t, err)
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("got %d", res.StatusCode)
		}
	case err := <-done:
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, o := range []Options{{}, {Keys: []Key{{"ck", "", ""}}}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v: got no error", o)
		}
	}
}
