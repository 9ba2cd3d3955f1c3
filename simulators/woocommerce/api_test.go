package woocommerce

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDates: the four ways to ask for what changed after an instant, on a site three hours behind UTC. The order
// changed at 09:00 UTC, 06:00 on the shop's clock.
func TestDates(t *testing.T) {
	r := newRig(t, Options{})
	id := r.order(t)
	for _, c := range []struct {
		query string
		found bool
	}{
		{"modified_after=2026-03-01T06:00:00", false}, // strictly after, by the shop's clock
		{"modified_after=2026-03-01T05:59:59", true},
		{"modified_after=2026-03-01T08:59:59", false}, // a watermark of UTC misses the order
		{"modified_after=2026-03-01T08:59:59&dates_are_gmt=true", true},
		{"modified_after=2026-03-01T09:00:00&dates_are_gmt=true", false},
		{"modified_after=2026-03-01T08:59:59Z", true},
		{"modified_after=2026-03-01T09:00:00Z", false},
		{"modified_after=2026-03-01T11:59:59%2B03:00", true},
		{"modified_after=2026-03-01T11:59:59Z&dates_are_gmt=true", true}, // wrong by three hours
		{"modified_after=2026-03-01T12:00:00Z&dates_are_gmt=true", false},
		{"modified_before=2026-03-01T09:00:00&dates_are_gmt=true", false}, // strictly before
		{"modified_before=2026-03-01T09:00:01&dates_are_gmt=true", true},
		{"after=2026-03-01T08:59:59&dates_are_gmt=true", true},
		{"before=2026-03-01T09:00:00&dates_are_gmt=true", false},
	} {
		if got := r.listed(t, c.query); slices.Contains(got, id) != c.found {
			t.Errorf("%s: got %v, want it found: %v", c.query, got, c.found)
		}
	}
}

// TestList: order, pages, drift, filters and refusals.
func TestList(t *testing.T) {
	r := newRig(t, Options{})
	var ids []string
	for range 25 {
		ids = append(ids, r.order(t))
		r.pass(time.Second)
	}
	const asc = "orderby=modified&order=asc&"
	if got := r.listed(t, asc+"per_page=10"); !slices.Equal(got, ids[:10]) {
		t.Errorf("got %v, want the first ten", got)
	}
	if got := r.listed(t, ""); len(got) != 10 || got[0] != ids[24] {
		t.Errorf("got %v, want ten, the newest first", got)
	}
	must(t, r.Touch(t.Context(), ids[0]))
	if got := r.listed(t, asc+"per_page=10&page=2"); !slices.Equal(got, ids[11:21]) {
		t.Errorf("got %v, want page two to skip order %s, since the first one moved to the end", got, ids[10])
	}
	if got := r.listed(t, asc+"per_page=2&exclude="+ids[1]+","+ids[2]); !slices.Equal(got, ids[3:5]) {
		t.Errorf("got %v, want it without what was excluded", got)
	}
	if got := r.listed(t, "orderby=id&order=asc&offset=23&per_page=100"); !slices.Equal(got, ids[23:]) {
		t.Errorf("got %v, want the last two", got)
	}
	must(t, r.Trash(t.Context(), ids[5]), r.SetStatus(t.Context(), ids[6], "checkout-draft"), r.SetStatus(t.Context(), ids[7], "no-such-status"))
	for query, want := range map[string][]string{
		"status=trash": {ids[5]}, "status=checkout-draft": {ids[6]}, "include=" + ids[5] + "," + ids[6] + "," + ids[7]: {ids[7]},
		"include=" + ids[5] + "&status=any,trash": {ids[5]},
	} {
		if got := r.listed(t, query); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", query, got, want)
		}
	}
	res := r.ask(t, "GET", "/wp-json/wc/v3/orders?per_page=10", nil, nil)
	if res.Header.Get("X-WP-Total") != "23" || res.Header.Get("X-WP-TotalPages") != "3" {
		t.Errorf("got headers %v", res.Header)
	}
	for _, query := range []string{"per_page=101", "page=0", "orderby=status", "modified_after=yesterday"} {
		var refused struct{ Code string }
		if res := r.ask(t, "GET", "/wp-json/wc/v3/orders?"+query, nil, &refused); res.StatusCode != 400 || refused.Code != "rest_invalid_param" {
			t.Errorf("%s: got %d %s", query, res.StatusCode, refused.Code)
		}
	}
}

// TestKeys: who is let in, and with which words the others are not.
func TestKeys(t *testing.T) {
	r := newRig(t, Options{})
	strict := newRig(t, Options{Faults: Faults{TLSOnly: true, DropAuthorization: true}})
	secure := httptest.NewTLSServer(strict.Handler())
	defer secure.Close()
	call := func(client *http.Client, base, method, key, secret string, query bool) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, base+"/wp-json/wc/v3/webhooks", strings.NewReader("{}"))
		must(t, err)
		if query {
			req.URL.RawQuery = url.Values{"consumer_key": {key}, "consumer_secret": {secret}}.Encode()
		} else if key != "" {
			req.SetBasicAuth(key, secret)
		}
		res, err := client.Do(req)
		must(t, err)
		defer res.Body.Close()
		var body struct{ Code, Message string }
		_ = json.NewDecoder(res.Body).Decode(&body) // a list has neither
		return res.StatusCode, body.Code + " " + body.Message
	}
	for _, c := range []struct {
		name, base, method, key, secret string
		query                           bool
		status                          int
		says                            string
	}{
		{"good", r.api.URL, "GET", "ck", "cs", false, 200, ""},
		{"in the query", r.api.URL, "GET", "ck", "cs", true, 200, ""},
		{"none", r.api.URL, "GET", "", "", false, 401, "woocommerce_rest_cannot_view"},
		{"unknown", r.api.URL, "GET", "other", "cs", false, 401, "Consumer key is invalid"},
		{"wrong secret", r.api.URL, "GET", "ck", "other", false, 401, "Consumer secret is invalid"},
		{"reading", r.api.URL, "GET", "ck_read", "cs_read", false, 200, ""},
		{"may not write", r.api.URL, "POST", "ck_read", "cs_read", false, 401, "does not have write permissions"},
		{"no TLS", strict.api.URL, "GET", "ck", "cs", true, 401, "woocommerce_rest_cannot_view"},
		{"TLS, header dropped", secure.URL, "GET", "ck", "cs", false, 401, "woocommerce_rest_cannot_view"},
		{"TLS, in the query", secure.URL, "GET", "ck", "cs", true, 200, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if status, says := call(secure.Client(), c.base, c.method, c.key, c.secret, c.query); status != c.status || !strings.Contains(says, c.says) {
				t.Errorf("got %d %s, want %d %s", status, says, c.status, c.says)
			}
		})
	}
}

// TestWebhookAPI: made, pinged, changed and deleted; the secret is told to nobody.
func TestWebhookAPI(t *testing.T) {
	r := newRig(t, Options{})
	const path = "/wp-json/wc/v3/webhooks"
	var h map[string]any
	res := r.ask(t, "POST", path, object{"name": "Mine", "topic": updated, "delivery_url": r.endpoint.URL, "secret": "s3cret"}, &h)
	if res.StatusCode != 201 || h["status"] != "active" || h["name"] != "Mine" || strings.Contains(strings.Join(slices.Collect(maps.Keys(h)), " "), "secret") {
		t.Errorf("made: got %d %v", res.StatusCode, h)
	}
	id := r.Hooks()[0].ID
	got := r.took(t)
	if len(got) != 1 || !strings.HasPrefix(got[0].body, "webhook_id=") || got[0].header.Get("Content-Type") != "application/x-www-form-urlencoded" || got[0].header.Get("X-Wc-Webhook-Signature") != "" {
		t.Errorf("ping: got %v", got)
	}
	must(t, r.SetHook(id, "disabled"))
	one := path + "/" + jsonNumber(id)
	r.ask(t, "PUT", one, object{"status": "active", "secret": "other"}, &h)
	if r.Hooks()[0].Status != "active" {
		t.Errorf("switched on: got %v", h)
	}
	for _, c := range []struct {
		method, path string
		in           object
		status       int
		code         string
	}{
		{"POST", path, object{"topic": "order.paid", "delivery_url": "https://a.example"}, 400, "woocommerce_rest_shop_webhook_invalid_topic"},
		{"POST", path, object{"topic": updated, "delivery_url": "ftp://a.example"}, 400, "woocommerce_rest_shop_webhook_invalid_delivery_url"},
		{"POST", path, object{"topic": updated}, 400, "woocommerce_rest_shop_webhook_invalid_delivery_url"},
		{"PUT", one, object{"status": "off"}, 400, "rest_invalid_param"},
		{"PUT", path + "/0", object{}, 400, "woocommerce_rest_shop_webhook_invalid_id"},
		{"DELETE", one, nil, 501, "woocommerce_rest_trash_not_supported"},
		{"GET", "/wp-json/wc/v3/products", nil, 404, "rest_no_route"},
		{"GET", "/wp-json/wc/v3/orders/1", nil, 404, "woocommerce_rest_shop_order_invalid_id"},
	} {
		var refused struct{ Code string }
		if res := r.ask(t, c.method, c.path, c.in, &refused); res.StatusCode != c.status || refused.Code != c.code {
			t.Errorf("%s %s %v: got %d %s, want %d %s", c.method, c.path, c.in, res.StatusCode, refused.Code, c.status, c.code)
		}
	}
	if res := r.ask(t, "DELETE", one+"?force=true", nil, nil); res.StatusCode != 200 || len(r.Hooks()) != 0 {
		t.Errorf("deleted: got %d, left %v", res.StatusCode, r.Hooks())
	}
}

func jsonNumber(n int64) string {
	b, _ := json.Marshal(n)
	return string(b)
}
