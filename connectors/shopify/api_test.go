package shopify

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
)

// script answers one request after the other, and keeps what was asked and how long was waited.
type script struct {
	answers []*http.Response
	asked   []string
	waits   []time.Duration
}

// RoundTrip implements http.RoundTripper.
func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	s.asked = append(s.asked, r.URL.RequestURI()+" "+string(body))
	if len(s.answers) == 0 {
		return nil, errors.New("nothing more was expected")
	}
	a := s.answers[0]
	s.answers = s.answers[1:]
	a.Request = r
	return a, nil
}

func says(status int, body string, headers ...string) *http.Response {
	a := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
	for i := 0; i < len(headers); i += 2 {
		a.Header.Set(headers[i], headers[i+1])
	}
	return a
}

func scripted(t *testing.T, change func(*Config), answers ...*http.Response) (*source, *script) {
	t.Helper()
	s := &script{answers: answers}
	cfg := working()
	if change != nil {
		change(cfg)
	}
	src, err := open(cfg, connectors.Env{
		Connection: "shop", Environment: schemas.Sandbox, Log: zerolog.Nop(), HTTP: &http.Client{Transport: s},
		Now: func() time.Time { return received }, PublicURL: "https://hooks.example.com/webhooks/shop",
	})
	if err != nil {
		t.Fatal(err)
	}
	src.api.sleep = func(_ context.Context, d time.Duration) error { s.waits = append(s.waits, d); return nil }
	return src, s
}

const (
	throttled = `{"errors":[{"message":"Throttled","extensions":{"code":"THROTTLED"}}],"extensions":{"cost":{"requestedQueryCost":700,"actualQueryCost":null,"throttleStatus":{"maximumAvailable":2000.0,"currentlyAvailable":450,"restoreRate":100.0}}}}`
	noOrders  = `{"data":{"orders":{"nodes":[],"pageInfo":{"hasNextPage":false,"endCursor":null}}},"extensions":{"cost":{"requestedQueryCost":700,"throttleStatus":{"maximumAvailable":2000.0,"currentlyAvailable":1300,"restoreRate":100.0}}}}`
	tooCostly = `{"errors":[{"message":"Query cost is 2001, which exceeds the single query max cost limit (1000).","extensions":{"code":"MAX_COST_EXCEEDED"}}]}`
)

func window() connectors.Query {
	return connectors.Query{Feed: feedOrders, From: received.Add(-time.Hour + 300*time.Millisecond), To: received.Add(300 * time.Millisecond)}
}

// TestThrottled: an empty cost bucket, inside a 200, is waited for until it holds what the query costs.
func TestThrottled(t *testing.T) {
	src, s := scripted(t, nil, says(200, throttled), says(200, noOrders))
	if _, err := src.Poll(t.Context(), window()); err != nil {
		t.Fatal(err)
	}
	if want := []time.Duration{2500 * time.Millisecond}; !slices.Equal(s.waits, want) {
		t.Errorf("got waits %v, want %v", s.waits, want)
	}
	if b := src.Budget(); b.Limit != 2000 || b.Left != 1300 || b.HoldUntil != received.Add(2500*time.Millisecond) {
		t.Errorf("got budget %+v", b)
	}
	src, s = scripted(t, nil, says(200, throttled), says(200, throttled), says(200, throttled), says(200, throttled), says(200, throttled), says(200, throttled))
	if _, err := src.Poll(t.Context(), window()); !is(err, codeThrottled) || len(s.asked) != throttledTriesMax {
		t.Errorf("got %v after %d tries, want it given up after %d", err, len(s.asked), throttledTriesMax)
	}
}

// TestRetryAfter: REST writes its seconds with a decimal point.
func TestRetryAfter(t *testing.T) {
	src, s := scripted(t, func(c *Config) { c.API = APIREST },
		says(429, `{"errors":"Exceeded 2 calls per second"}`, "Retry-After", "2.0", headerCallLimit, "40/40"),
		says(429, `{"errors":"Exceeded 2 calls per second"}`, "Retry-After", "4.2", headerCallLimit, "40/40"),
		says(200, `{"orders":[]}`, headerCallLimit, "39/40"))
	if _, err := src.Poll(t.Context(), window()); err != nil {
		t.Fatal(err)
	}
	if want := []time.Duration{2 * time.Second, 5 * time.Second}; !slices.Equal(s.waits, want) {
		t.Errorf("got waits %v, want %v", s.waits, want)
	}
	if b := src.Budget(); b.Limit != 40 || b.Left != 1 || b.Refused != 2 {
		t.Errorf("got budget %+v, want 1 of 40 left and 2 refused", b)
	}
}

// TestPageSize: a page that is too costly, or too large for an answer, is asked for in halves, down to one order.
func TestPageSize(t *testing.T) {
	src, s := scripted(t, nil, says(200, tooCostly), says(200, tooCostly), says(200, noOrders), says(200, noOrders))
	for range 2 {
		if _, err := src.Poll(t.Context(), window()); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []string{`"first":10`, `"first":5`, `"first":2`, `"first":2`} {
		if !strings.Contains(s.asked[i], want) {
			t.Errorf("question %d: got %s, want %s", i, s.asked[i], want)
		}
	}
	src, _ = scripted(t, nil, says(200, tooCostly), says(200, tooCostly), says(200, tooCostly), says(200, tooCostly))
	if _, err := src.Poll(t.Context(), window()); !is(err, codeTooCostly) {
		t.Errorf("got %v, want one order that is too costly to be an error", err)
	}

	large := says(200, "")
	large.Body = io.NopCloser(io.MultiReader(bytes.NewReader([]byte(`{"orders":[`)), failing{outbound.ErrTooLarge}))
	src, s = scripted(t, func(c *Config) { c.API = APIREST }, large, says(200, `{"orders":[]}`))
	if _, err := src.Poll(t.Context(), window()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(s.asked[0], "limit=50") || !strings.Contains(s.asked[1], "limit=25") {
		t.Errorf("got %v, want half a page after one that was too large", s.asked)
	}
}

type failing struct{ err error }

// Read implements io.Reader.
func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestQuestions: a window is asked for in whole seconds around it, closed orders too; with page_info nothing but the limit.
func TestQuestions(t *testing.T) {
	src, s := scripted(t, nil, says(200, noOrders))
	if _, err := src.Poll(t.Context(), window()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`updated_at:\u003e='2026-11-02T09:00:00Z'`, `updated_at:\u003c'2026-11-02T10:00:01Z'`, "sortKey: UPDATED_AT"} {
		if !strings.Contains(s.asked[0], want) {
			t.Errorf("got %s, want %s", s.asked[0], want)
		}
	}
	const link = `<https://twin.myshopify.com/admin/api/2026-07/orders.json?limit=50&page_info=before>; rel="previous", <https://twin.myshopify.com/admin/api/2026-07/orders.json?limit=50&page_info=abc%3D>; rel="next"`
	src, s = scripted(t, func(c *Config) { c.API = APIREST }, says(200, `{"orders":[]}`, "Link", link), says(200, `{"orders":[]}`))
	page, err := src.Poll(t.Context(), window())
	if err != nil || page.Next != "abc=" {
		t.Fatalf("got %+v, %v, want the next page's info", page, err)
	}
	q := window()
	q.Cursor = page.Next
	if page, err = src.Poll(t.Context(), q); err != nil || page.Next != "" {
		t.Fatalf("got %+v, %v, want the last page", page, err)
	}
	for i, want := range []string{
		"/admin/api/2026-07/orders.json?limit=50&order=updated_at+asc&status=any&updated_at_max=2026-11-02T10%3A00%3A01Z&updated_at_min=2026-11-02T09%3A00%3A00Z ",
		"/admin/api/2026-07/orders.json?limit=50&page_info=abc%3D ",
	} {
		if s.asked[i] != want {
			t.Errorf("question %d: got %s, want %s", i, s.asked[i], want)
		}
	}
}

// TestOddAnswers: what is no answer is an error, never an empty page.
func TestOddAnswers(t *testing.T) {
	for _, c := range []struct {
		api, body string
		header    []string
		want      string
	}{
		{APIGraphQL, `{}`, nil, "without data"},
		{APIGraphQL, `{"data":null}`, nil, "without data"},
		{APIGraphQL, `{"errors":"Not Found"}`, nil, "Not Found"},
		{APIGraphQL, `{"data":{"orders":7}}`, nil, "not understood"},
		{APIGraphQL, `<html>`, nil, "not understood"},
		{APIGraphQL, `{"errors":[{"message":"Access denied for orders field.","extensions":{"code":"ACCESS_DENIED"}}]}`, nil, "scope"},
		{APIGraphQL, `{"data":{"orders":null},"errors":[{"message":"Access denied","path":["orders"],"extensions":{"code":"ACCESS_DENIED"}}]}`, nil, "Access denied"},
		{APIGraphQL, `{"data":{"orders":{"nodes":[{"customer":null,"transactions":null}]}},"errors":[{"message":"No customer","path":["orders","nodes",0,"customer"],"extensions":{"code":"ACCESS_DENIED"}},{"message":"No money","path":["orders","nodes",0,"transactions"],"extensions":{"code":"ACCESS_DENIED"}}]}`, nil, "No money"},
		{APIGraphQL, `{"data":null,"errors":[{"message":"No customer","path":["orders","nodes",0,"customer"],"extensions":{"code":"ACCESS_DENIED"}}]}`, nil, "No customer"},
		{APIGraphQL, `{"data":{"orders":{"nodes":[],"pageInfo":{"hasNextPage":true,"endCursor":""}}}}`, nil, "no cursor"},
		{APIREST, `{"orders":[]}`, []string{"Link", `<https://x/?limit=5>; rel="next"`}, "page_info"},
	} {
		src, _ := scripted(t, func(cfg *Config) { cfg.API = c.api }, says(200, c.body, c.header...))
		if page, err := src.Poll(t.Context(), window()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: got %+v, %v, want an error with %q", c.api, c.body, page, err, c.want)
		}
	}
	src, _ := scripted(t, nil)
	if _, err := src.Poll(t.Context(), connectors.Query{Feed: "carts"}); err == nil {
		t.Error("another feed: got no error")
	}
}

// TestTwoInstances: where another process made or removed a subscription meanwhile, all is well.
func TestTwoInstances(t *testing.T) {
	const none = `{"data":{"webhookSubscriptions":{"nodes":[],"pageInfo":{"hasNextPage":false}}}}`
	const taken = `{"data":{"webhookSubscriptionCreate":{"webhookSubscription":null,"userErrors":[{"field":["webhookSubscription","uri"],"message":"Address for this topic has already been taken"}]}}}`
	src, s := scripted(t, nil, says(200, none), says(200, taken), says(200, taken), says(200, taken), says(200, taken), says(200, taken), says(200, taken), says(200, taken), says(200, taken))
	if _, err := src.Register(t.Context()); err != nil || len(s.answers) > 0 {
		t.Errorf("got %v with %d answers left, want all topics asked for", err, len(s.answers))
	}
	const mine = `{"data":{"webhookSubscriptions":{"nodes":[{"id":"gid://shopify/WebhookSubscription/1","topic":"ORDERS_PAID","uri":"https://hooks.example.com/webhooks/shop","format":"JSON"},{"id":"gid://shopify/WebhookSubscription/2","topic":"ORDERS_PAID","uri":"https://elsewhere.example.com/","format":"JSON"}],"pageInfo":{"hasNextPage":false}}}}`
	src, s = scripted(t, nil, says(200, mine), says(200, `{"data":{"webhookSubscriptionDelete":{"deletedWebhookSubscriptionId":null,"userErrors":[{"field":["id"],"message":"Webhook subscription does not exist"}]}}}`))
	if err := src.Unregister(t.Context()); err != nil || len(s.asked) != 2 || !strings.Contains(s.asked[1], "WebhookSubscription/1") {
		t.Errorf("got %v after %v, want only our own removed", err, s.asked)
	}
	src, _ = scripted(t, nil, says(200, none), says(200, `{"data":{"webhookSubscriptionCreate":{"webhookSubscription":null,"userErrors":[{"field":["uri"],"message":"Address is invalid"}]}}}`))
	if _, err := src.Register(t.Context()); err == nil || !strings.Contains(err.Error(), "Address is invalid") {
		t.Errorf("got %v, want Shopify's reason", err)
	}
}
