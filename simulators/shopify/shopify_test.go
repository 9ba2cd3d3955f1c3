package shopify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators"
)

const token, secret = "shpat_0123456789", "test_secret_key"

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// shop is a served twin with a receiver of its webhooks.
type shop struct {
	t    *testing.T
	s    *Server
	url  string
	hook string

	mu       sync.Mutex
	at       time.Time
	status   int // of the receiver
	received []*http.Request
	bodies   []string
}

func newShop(t *testing.T, change func(*Options)) *shop {
	t.Helper()
	w := &shop{t: t, at: noon, status: 200}
	receiver := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.received, w.bodies = append(w.received, r), append(w.bodies, string(body))
		rw.Header().Set("Location", "/elsewhere")
		rw.WriteHeader(w.status)
	}))
	t.Cleanup(receiver.Close)
	w.hook = receiver.URL + "/hook"
	o := Options{
		AccessToken: token, ClientSecret: secret, ClientID: "id", LocalWebhooks: true, Seed: 3, Log: zerolog.Nop(),
		RetrySchedule: []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond},
		Now:           func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.at },
	}
	if change != nil {
		change(&o)
	}
	var err error
	if w.s, err = New(o); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(w.s.Handler())
	w.s.SetPublicURL(server.URL)
	w.url = server.URL
	t.Cleanup(func() { w.s.Close(); server.Close() })
	return w
}

func (w *shop) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

func (w *shop) answer(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status = status
}

// call returns status, headers and the decoded answer.
func (w *shop) call(method, path, body string) (int, http.Header, object) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("X-Shopify-Access-Token", token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	var out object
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		w.t.Fatalf("%s %s: %s: %v", method, path, raw, err)
	}
	return res.StatusCode, res.Header, out
}

func (w *shop) graphql(query string, variables object) object {
	w.t.Helper()
	body, err := json.Marshal(object{"query": query, "variables": variables})
	if err != nil {
		w.t.Fatal(err)
	}
	status, _, out := w.call("POST", "/admin/api/2026-07/graphql.json", string(body))
	if status != 200 {
		w.t.Fatalf("got status %d: %v", status, out)
	}
	return out
}

func (w *shop) subscribe(topic string) object {
	w.t.Helper()
	return w.graphql(`mutation($t: WebhookSubscriptionTopic!, $h: WebhookSubscriptionInput!) { webhookSubscriptionCreate(topic: $t, webhookSubscription: $h) { webhookSubscription { id } userErrors { message } } }`,
		object{"t": topic, "h": object{"uri": w.hook, "format": "JSON"}})
}

func (w *shop) place(total string) string {
	w.t.Helper()
	id, err := w.s.Place(w.t.Context(), simulators.Order{Email: "ana@example.com", GivenName: "Ana", Total: total, Currency: "EUR", Product: "Lamp"})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *shop) wait() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	if err := w.s.Wait(ctx); err != nil {
		w.t.Fatal(err)
	}
}

// code is that of the answer's first error.
func code(answer object) string {
	list, _ := answer["errors"].([]any)
	if len(list) == 0 {
		return ""
	}
	first, _ := list[0].(object)
	extensions, _ := first["extensions"].(object)
	text, _ := extensions["code"].(string)
	return text
}

// TestSignature: the vector of Shopify's own library.
func TestSignature(t *testing.T) {
	w := newShop(t, nil)
	w.s.mu.Lock()
	d := w.s.sending(&subscription{topic: "ORDERS_PAID"}, "e", "orders/paid", 1, []byte(`{"foo": "bar"}`), noon, false)
	w.s.mu.Unlock()
	if got, want := d.header.Get("X-Shopify-Hmac-Sha256"), "B23tXN681gZ0qIWNRrgtzBE9XSDo5yaUu6wfmhu3a7g="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestRetries: a redirect is a failure, each try is what the first was, and a subscription whose delivery was given up is
// deleted, but for one that was made in the admin.
func TestRetries(t *testing.T) {
	w := newShop(t, nil)
	w.s.o.AdminURL = w.hook
	w.s.hooks = append(w.s.hooks, &subscription{id: 1, topic: "ORDERS_CREATE", url: w.hook, format: "JSON", admin: true})
	w.subscribe("ORDERS_CREATE")
	w.subscribe("ORDERS_PAID")
	w.answer(302)
	w.place("10.00")
	w.wait()
	if got := w.s.Topics(w.hook); !slices.Equal(got, []string{"ORDERS_PAID"}) {
		t.Errorf("got subscriptions %v, want the failed one deleted", got)
	}
	if accepted, lost := w.s.Sent(); accepted != 0 || lost != 2 || len(w.received) != 8 {
		t.Errorf("got %d accepted, %d lost after %d tries, want 2 lost after 4 each", accepted, lost, len(w.received))
	}
	if n := w.s.Status().Subscriptions; n != 2 {
		t.Errorf("got %d subscriptions, want the admin's and the one left", n)
	}
	tries := map[string]string{}
	for i, r := range w.received {
		id := r.Header.Get("X-Shopify-Webhook-Id")
		text := w.bodies[i] + r.Header.Get("X-Shopify-Hmac-Sha256") + r.Header.Get("X-Shopify-Triggered-At")
		if old, ok := tries[id]; ok && old != text {
			t.Errorf("a retry of %s differs from its first try", id)
		}
		tries[id] = text
	}
	if len(tries) != 2 {
		t.Errorf("got %d webhook ids, want one for each subscription", len(tries))
	}
}

// TestFanOut: one change is one event with several topics, each under its own webhook id; doubles share theirs.
func TestFanOut(t *testing.T) {
	w := newShop(t, func(o *Options) { o.Faults.DuplicateRate = 1; o.Faults.DisorderDelay = time.Millisecond })
	for _, topic := range []string{"ORDERS_PAID", "ORDERS_UPDATED"} {
		w.subscribe(topic)
	}
	id := w.place("10.00")
	if err := w.s.Pay(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.wait()
	events, ids := map[string]bool{}, map[string]int{}
	for _, r := range w.received {
		events[r.Header.Get("X-Shopify-Event-Id")] = true
		ids[r.Header.Get("X-Shopify-Topic")+" "+r.Header.Get("X-Shopify-Webhook-Id")]++
	}
	if len(w.received) != 4 || len(events) != 1 || len(ids) != 2 {
		t.Errorf("got %d deliveries of %d events under %v, want 4 of one event, two under each id", len(w.received), len(events), ids)
	}
}

// TestKnobs: what is withheld counts as lost, and identical bodies may be sent once.
func TestKnobs(t *testing.T) {
	w := newShop(t, func(o *Options) { o.Faults.Debounce = true })
	w.subscribe("ORDERS_UPDATED")
	id := w.place("10.00")
	w.s.Withhold(1)
	for _, note := range []string{"lost", "a", "a", "b"} {
		if err := w.s.Annotate(t.Context(), id, note); err != nil {
			t.Fatal(err)
		}
	}
	w.wait()
	if accepted, lost := w.s.Sent(); accepted != 2 || lost != 1 {
		t.Errorf("got %d accepted, %d lost, want 2 and 1", accepted, lost)
	}
}

// TestTruth: every move is one that Shopify's own page of statuses has, and others are refused.
func TestTruth(t *testing.T) {
	w := newShop(t, nil)
	ctx := t.Context()
	pay := func(id string) error { return w.s.Pay(ctx, id) }
	cancel := func(id string) error { return w.s.Cancel(ctx, id) }
	fail := func(id string) error { return w.s.Fail(ctx, id) }
	hold := func(id string) error { return w.s.Authorize(ctx, id) }
	remove := func(id string) error { return w.s.Delete(ctx, id) }
	part := func(amount string) func(string) error {
		return func(id string) error { return w.s.PayPart(ctx, id, amount) }
	}
	refund := func(amount string) func(string) error {
		return func(id string) error { return w.s.Refund(ctx, id, amount) }
	}
	for _, c := range []struct {
		name     string
		moves    []func(string) error
		raw      string
		status   schemas.PaymentStatus
		refunded string
		refused  bool // the last move
	}{
		{"placed", nil, "pending", "PENDING", "0.00", false},
		{"paid", []func(string) error{pay}, "paid", "PAID", "0.00", false},
		{"paid twice", []func(string) error{pay, pay}, "paid", "PAID", "0.00", true},
		{"paid in part", []func(string) error{part("4")}, "partially_paid", "PARTIALLY_PAID", "0.00", false},
		{"paid in parts", []func(string) error{part("4"), part("6")}, "paid", "PAID", "0.00", false},
		{"paid too much", []func(string) error{part("4"), part("7")}, "partially_paid", "PARTIALLY_PAID", "0.00", true},
		{"held", []func(string) error{hold}, "authorized", "AUTHORIZED", "0.00", false},
		{"held and captured", []func(string) error{hold, pay}, "paid", "PAID", "0.00", false},
		{"held and cancelled", []func(string) error{hold, cancel}, "voided", "VOIDED", "0.00", false},
		{"cancelled", []func(string) error{cancel}, "voided", "VOIDED", "0.00", false},
		{"paid and cancelled", []func(string) error{pay, cancel}, "paid", "PAID", "0.00", false},
		{"failed", []func(string) error{fail}, "expired", "EXPIRED", "0.00", false},
		{"failed, then paid", []func(string) error{fail, pay}, "paid", "PAID", "0.00", false},
		{"refunded in part", []func(string) error{pay, refund("2.5")}, "partially_refunded", "PARTIALLY_REFUNDED", "2.50", false},
		{"refunded", []func(string) error{pay, refund("2.5"), refund("7.5")}, "refunded", "REFUNDED", "10.00", false},
		{"refunded too much", []func(string) error{pay, refund("11")}, "paid", "PAID", "0.00", true},
		{"removed", []func(string) error{remove}, "pending", "CANCELLED", "0.00", false},
		{"removed paid", []func(string) error{pay, remove}, "paid", "PAID", "0.00", false},
		{"removed, then paid", []func(string) error{remove, pay}, "pending", "CANCELLED", "0.00", true},
	} {
		id := w.place("10.00")
		var err error
		for _, move := range c.moves {
			err = move(id)
		}
		all := w.s.Orders()
		got := all[len(all)-1]
		want := simulators.OrderTruth{ID: id, RawStatus: c.raw, Email: "ana@example.com", Status: c.status, Total: "10.00", Refunded: c.refunded, Currency: "EUR"}
		if got != want || (err != nil) != c.refused {
			t.Errorf("%s: got %+v, %v, want %+v", c.name, got, err, want)
		}
	}
}

// TestREST: its paging, its rules and its bucket.
func TestREST(t *testing.T) {
	w := newShop(t, func(o *Options) { o.Scopes = []string{"read_orders"} })
	w.place("1.00")
	w.pass(61 * 24 * time.Hour)
	for range 5 {
		w.place("1.00")
	}
	cancelled := w.place("1.00")
	if err := w.s.Cancel(t.Context(), cancelled); err != nil {
		t.Fatal(err)
	}
	count := func(path string) (int, string) {
		t.Helper()
		status, header, out := w.call("GET", path, "")
		list, _ := out["orders"].([]any)
		if status != 200 {
			t.Fatalf("%s: got status %d: %v", path, status, out)
		}
		_, link, _ := strings.Cut(header.Get("Link"), "<"+w.url)
		link, _, _ = strings.Cut(link, ">")
		return len(list), link
	}
	const base = "/admin/api/2026-07/orders.json"
	if n, _ := count(base); n != 5 {
		t.Errorf("by default: got %d orders, want the 5 that are open and not older than 60 days", n)
	}
	n, next := count(base + "?status=any&limit=4")
	if n != 4 || next == "" {
		t.Fatalf("got %d orders and the link %q, want 4 and more", n, next)
	}
	if n, next = count(next); n != 2 || next != "" {
		t.Errorf("second page: got %d orders and the link %q, want 2 and no more", n, next)
	}
	_, next = count(base + "?status=any&limit=4")
	if status, _, out := w.call("GET", next+"&status=any", ""); status != 400 || !strings.Contains(fmt.Sprint(out), "cannot be passed when page_info is present") {
		t.Errorf("page_info with a filter: got %d %v, want 400", status, out)
	}
	if status, _, _ := w.call("GET", "/admin/api/2026-07/orders/"+cancelled+"/transactions.json", ""); status != 200 {
		t.Errorf("transactions: got status %d", status)
	}
	w.s.Drain(1, 0)
	if status, header, _ := w.call("GET", base, ""); status != 200 || header.Get("X-Shopify-Shop-Api-Call-Limit") != "40/40" {
		t.Errorf("the last call: got %d, %q", status, header.Get("X-Shopify-Shop-Api-Call-Limit"))
	}
	if status, header, _ := w.call("GET", base, ""); status != 429 || header.Get("Retry-After") != "2.0" {
		t.Errorf("one more: got %d after %q, want 429 and 2.0", status, header.Get("Retry-After"))
	}
	w.pass(time.Second)
	if status, header, _ := w.call("GET", base, ""); status != 200 || header.Get("X-Shopify-Shop-Api-Call-Limit") != "39/40" {
		t.Errorf("a second later: got %d, %q", status, header.Get("X-Shopify-Shop-Api-Call-Limit"))
	}
	if status, header, _ := w.call("GET", "/admin/api/2024-01/orders.json", ""); status != 200 || header.Get("X-Shopify-API-Version") != Versions[0] {
		t.Errorf("an ended version: got %d by %q, want the oldest that is served", status, header.Get("X-Shopify-API-Version"))
	}
}

// TestGraphQL: only what the schema has, at its cost, out of its bucket.
func TestGraphQL(t *testing.T) {
	w := newShop(t, func(o *Options) { o.Scopes = []string{"read_orders"} })
	id := w.place("10.50")
	out := w.graphql(`query($id: ID!) { mine: order(id: $id) { __typename total: totalPriceSet { shopMoney { amount } } ... on Order { name } ... on Product { title } } }`,
		object{"id": "gid://shopify/Order/" + id})
	want := `{"mine":{"__typename":"Order","name":"#1001","total":{"shopMoney":{"amount":"10.5"}}}}`
	if got, err := json.Marshal(out["data"]); err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	for _, c := range []struct{ query, code, text string }{
		{`{ shop { moon } }`, "undefinedField", "Field 'moon' doesn't exist on type 'Shop'"},
		{`{ shop }`, "selectionMismatch", "must have selections"},
		{`{ shop { name { x } } }`, "selectionMismatch", "scalars"},
		{`{ orders(first: 5, sortKey: ID) { nodes { id } } }`, "argumentLiteralsIncompatible", "UPDATED_AT"},
		{`{ orders(first: 251, sortKey: UPDATED_AT) { nodes { id } } }`, "argumentLiteralsIncompatible", "250"},
		{`{ orders(first: 250, sortKey: UPDATED_AT) { nodes { transactions(first: 10) { id } } } }`, "MAX_COST_EXCEEDED", "single query max cost"},
		{`{ shop { name }`, "", "syntax error"},
		{`{ shop(`, "", "syntax error"},
		{`mutation { webhookSubscriptionCreate(topic: DISPUTES_CREATE) { userErrors { message } } }`, "ACCESS_DENIED", "read_shopify_payments_disputes"},
		{`mutation { webhookSubscriptionCreate(topic: NO_SUCH) { userErrors { message } } }`, "INVALID_VARIABLE", "invalid value"},
	} {
		out := w.graphql(c.query, nil)
		if got := fmt.Sprint(out["errors"]); code(out) != c.code || !strings.Contains(got, c.text) {
			t.Errorf("%s: got %s, want %s with %q", c.query, got, c.code, c.text)
		}
	}
	w.subscribe("ORDERS_PAID")
	if out := w.subscribe("ORDERS_PAID"); !strings.Contains(fmt.Sprint(out), "already been taken") {
		t.Errorf("subscribed twice: got %v, want a refusal", out)
	}
	w.s.Drain(40, 0)
	if out := w.graphql(`{ shop { name } }`, nil); code(out) != "THROTTLED" || !strings.Contains(fmt.Sprint(out["extensions"]), "restoreRate:100") {
		t.Errorf("empty bucket: got %v, want THROTTLED with the bucket", out)
	}
	w.pass(time.Second)
	if out := w.graphql(`{ shop { name } }`, nil); code(out) != "" {
		t.Errorf("a second later: got %v", out)
	}
}

// TestAccess: tokens end, and end with the app.
func TestAccess(t *testing.T) {
	w := newShop(t, func(o *Options) { o.AccessToken = "another" })
	if status, _, _ := w.call("GET", "/admin/api/2026-07/orders.json", ""); status != 401 {
		t.Errorf("another token: got %d, want 401", status)
	}
	grant := func(secret string) (int, object) {
		status, _, out := w.call("POST", "/admin/oauth/access_token", `{"grant_type":"client_credentials","client_id":"id","client_secret":"`+secret+`"}`)
		return status, out
	}
	if status, out := grant("wrong"); status != 400 || out["error"] != "invalid_client" {
		t.Errorf("a wrong secret: got %d %v", status, out)
	}
	if status, out := grant(secret); status != 200 || fmt.Sprint(out["expires_in"]) != fmt.Sprint(TokenSeconds) {
		t.Errorf("got %d %v, want a token for a day", status, out)
	}
	if err := w.s.Uninstall(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, out := grant(secret); status != 400 || out["error"] != "app_not_installed" {
		t.Errorf("without the app: got %d %v", status, out)
	}
	w.s.Trouble(Failure{Path: "/admin", Status: 503, Count: 1})
	if status, _, _ := w.call("GET", "/admin/api/2026-07/orders.json", ""); status != 503 {
		t.Errorf("trouble: got %d, want 503", status)
	}
	if status, _, out := w.call("GET", "/_simulator/status", ""); status != 200 || out["outstanding"] == nil {
		t.Errorf("status: got %d %v", status, out)
	}
}

// TestRun: served on a port of its own until the context ends.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{ClientSecret: secret}, "127.0.0.1:0", func(url string) { ready <- url })
	}()
	res, err := http.Get(<-ready + "/_simulator/status")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	cancel()
	if err := <-done; err != nil || res.StatusCode != 200 {
		t.Errorf("got %d, %v, want it served and ended", res.StatusCode, err)
	}
	if _, err := New(Options{}); err == nil {
		t.Error("without a secret: got no error")
	}
}

// FuzzQuery: no document panics or runs on.
func FuzzQuery(f *testing.F) {
	f.Add(`query Q($a: Int) { orders(first: $a, sortKey: UPDATED_AT) { nodes { id } } }`)
	f.Add(`{ shop { ... on Shop { name } } }`)
	f.Add(`{ a: shop(x: "y\"z", n: 1, b: true, c: null) { name } # end`)
	s, err := New(Options{ClientSecret: secret})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	f.Fuzz(func(t *testing.T, text string) {
		kind, fields, err := parseQuery(text)
		if err != nil {
			return
		}
		x := newExecution(map[string]any{"a": 3.0})
		if kind != "query" && kind != "mutation" || x.cost(fields) < 0 {
			t.Fatalf("got %s", kind)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if raw, err := x.answer(s.query(), fields); err == nil && !json.Valid(raw) {
			t.Fatalf("got %s", raw)
		}
	})
}
