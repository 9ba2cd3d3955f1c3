package paypal

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/connectorstest"
	"github.com/tillstream/tillstream/schemas"
)

// answers makes an account that answers a path with a body, and everything else as before.
func answers(byPath map[string]string) *account {
	a := newAccount()
	a.override = func(r *http.Request, _ string) *http.Response {
		if r.URL.Query().Has("move_to") {
			return answerOf(200, `{"events":[],"count":0,"links":[]}`)
		}
		if body, ok := byPath[r.URL.Path]; ok {
			return answerOf(200, body)
		}
		return nil
	}
	return a
}

func all(t *testing.T, s *source, q connectors.Query) []connectors.Found {
	t.Helper()
	var out []connectors.Found
	for range 1000 {
		page, err := s.Poll(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, page.Found...)
		if q.Cursor = page.Next; q.Cursor == "" {
			return out
		}
	}
	t.Fatal("the pages have no end")
	return nil
}

func recordsOf(t *testing.T, found ...connectors.Found) []schemas.OrderEvent {
	t.Helper()
	var out []schemas.OrderEvent
	for _, f := range found {
		events, err := normalize(f.Delivery)
		if err != nil {
			t.Fatalf("%s: %v", f.Body, err)
		}
		out = append(out, events...)
	}
	return out
}

// TestAPIGolden: each sample answer of PayPal's APIs, read in the way that the connection reads it, gives the records
// beside it.
func TestAPIGolden(t *testing.T) {
	fetched := func(path string, e schemas.OrderEvent) func(*testing.T, string) []schemas.OrderEvent {
		return func(t *testing.T, body string) []schemas.OrderEvent {
			s, _, _ := connected(t, answers(map[string]string{path: body}), &Config{})
			d, err := s.Fetch(t.Context(), &e)
			if err != nil {
				t.Fatal(err)
			}
			return recordsOf(t, connectors.Found{Delivery: d})
		}
	}
	polled := func(feed, path string, now time.Time) func(*testing.T, string) []schemas.OrderEvent {
		return func(t *testing.T, body string) []schemas.OrderEvent {
			s, at, _ := connected(t, answers(map[string]string{path: body}), &Config{})
			at.t = now
			return recordsOf(t, all(t, s, connectors.Query{Feed: feed, From: now.Add(-time.Hour), To: now, Full: true})...)
		}
	}
	read := func(t *testing.T, body string) []schemas.OrderEvent {
		d := delivery(body)
		d.Origin, d.ID = schemas.OriginPoll, ""
		return recordsOf(t, connectors.Found{Delivery: d})
	}
	tests := map[string]func(*testing.T, string) []schemas.OrderEvent{
		"GET_v1_billing_subscriptions_ID":          fetched(subscriptionsPath+"/I-BW452GLLEP1G", schemas.OrderEvent{Kind: schemas.KindSubscription, EntityID: "I-BW452GLLEP1G"}),
		"GET_v1_notifications_webhooks-events":     polled(feedEvents, eventsPath, start),
		"GET_v1_reporting_transactions":            polled(feedTransactions, transactionsPath, time.Date(2017, 1, 2, 7, 0, 0, 0, time.UTC)),
		"GET_v2_checkout_orders_ID--pui-completed": fetched(ordersPath+"/7G289749AM0704615", schemas.OrderEvent{Kind: schemas.KindOrder, EntityID: "7G289749AM0704615"}),
		"GET_v2_payments_refunds_ID":               read,
		"POST_v2_checkout_orders_ID_capture":       read,
		"GET_v1_billing_subscriptions_ID_transactions": func(t *testing.T, body string) []schemas.OrderEvent {
			a := answers(map[string]string{
				subscriptionsPath:                                  `{"subscriptions":[{"id":"I-BW452GLLEP1G","plan_id":"P","status":"ACTIVE","update_time":"2019-04-09T10:27:27Z"}]}`,
				subscriptionsPath + "/I-BW452GLLEP1G":              string(file(t, "testdata/api/GET_v1_billing_subscriptions_ID.json")),
				subscriptionsPath + "/I-BW452GLLEP1G/transactions": body,
			})
			a.scopes = scopeSubscriptions
			s, _, _ := connected(t, a, &Config{})
			return recordsOf(t, all(t, s, connectors.Query{Feed: feedSubscriptions, From: start.Add(-time.Hour), To: start, Full: true})[1:]...)
		},
	}
	for name, run := range tests {
		t.Run(name, func(t *testing.T) {
			got := connectorstest.JSON(t, filledRecords(t, run(t, string(file(t, filepath.Join("testdata/api", name+".json"))))))
			connectorstest.GoldenFile(t, filepath.Join("testdata/api", name+".golden"), got)
		})
	}
	t.Run("every sample is used", func(t *testing.T) {
		used := map[string]bool{ // read by the tests below
			"POST_v1_oauth2_token": true, "GET_v1_notifications_webhooks": true, "GET_v1_notifications_webhooks-event-types": true,
		}
		for name := range tests {
			used[name] = true
		}
		files, _ := filepath.Glob("testdata/api/*.json")
		for _, f := range files {
			if name := strings.TrimSuffix(filepath.Base(f), ".json"); !used[name] {
				t.Errorf("%s is used by no test", name)
			}
		}
	})
}

// TestAPISamples: the answers that become no record are understood as well.
func TestAPISamples(t *testing.T) {
	sample := func(name string) string { return string(file(t, filepath.Join("testdata/api", name+".json"))) }
	s, _, _ := connected(t, answers(map[string]string{tokenPath: sample("POST_v1_oauth2_token")}), &Config{})
	tok, err := s.api.token(t.Context())
	if err != nil || tok.value.Reveal() != "A21AA-example-not-a-real-token" || !tok.has("openid") || !tok.until.Equal(start.Add(28800*time.Second)) {
		t.Errorf("token: got scope %q until %s, %v", tok.scope, tok.until, err)
	}
	s, _, _ = connected(t, answers(map[string]string{webhooksPath: sample("GET_v1_notifications_webhooks")}), &Config{})
	s.env.PublicURL = "https://example.com/another_example_webhook"
	list, err := s.webhooks(t.Context())
	if w := s.mine(list); err != nil || w == nil || w.ID != "0EH40505U7160970P" || hosts(list) != "example.com" {
		t.Errorf("webhooks: got %+v %v", w, err)
	}
	var w webhook
	if err := json.Unmarshal([]byte(sample("GET_v1_notifications_webhooks-event-types")), &w); err != nil || len(w.EventTypes) != 3 || len(w.disabled()) != 0 {
		t.Errorf("event types: got %+v %v", w, err)
	}
}
