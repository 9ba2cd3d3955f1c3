package getresponse

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators"
)

const key = "kfj29dkd02kdls92kd92kd9s"

type fixture struct {
	*Server
	now time.Time
}

func start(t *testing.T, o Options) *fixture {
	t.Helper()
	f := &fixture{now: time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)}
	o.APIKey, o.Now, o.Log = key, func() time.Time { return f.now }, zerolog.Nop()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	f.Server = s
	return f
}

// call makes a request with the key.
func (f *fixture) call(t *testing.T, method, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set("X-Auth-Token", "api-key "+key)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	f.Handler().ServeHTTP(rec, req)
	res := rec.Result()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func (f *fixture) place(t *testing.T, email string) string {
	t.Helper()
	id, err := f.Place(t.Context(), simulators.Order{Email: email, GivenName: "Jo", Surname: "Roe", Total: "10.00", Currency: "PLN", Product: "Cap"})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestErrors: as the original's, by code.
func TestErrors(t *testing.T) {
	f, max := start(t, Options{}), start(t, Options{Domain: "example.com"})
	f.place(t, "jo@example.com")
	contact := ""
	for id := range f.contacts {
		contact = id
	}
	order := `{"contactId":"` + contact + `","totalPrice":1,"currency":"PLN","selectedVariants":[]`
	for _, c := range []struct {
		name, method, path, body string
		f                        *fixture
		header                   []string
		status, code             int
	}{
		{"fine", "GET", "/v3/shops", "", f, nil, 200, 0},
		{"no key", "GET", "/v3/shops", "", f, []string{"X-Auth-Token", ""}, 401, 1014},
		{"the key without its word", "GET", "/v3/shops", "", f, []string{"X-Auth-Token", key}, 401, 1014},
		{"a domain too much", "GET", "/v3/shops", "", f, []string{"X-Domain", "example.com"}, 404, 1024},
		{"no domain", "GET", "/v3/shops", "", max, nil, 400, 1021},
		{"the domain", "GET", "/v3/shops", "", max, []string{"X-Domain", "example.com"}, 200, 0},
		{"no such shop", "GET", "/v3/shops/zz", "", f, nil, 404, 1013},
		{"no such order", "GET", "/v3/shops/pf3/orders/zz", "", f, nil, 404, 1013},
		{"no such contact", "GET", "/v3/contacts/zz", "", f, nil, 404, 1013},
		{"a filter by change, which there is not", "GET", "/v3/shops/pf3/orders?query%5BupdatedOn%5D%5Bfrom%5D=2026", "", f, nil, 400, 1000},
		{"a sort by change, which there is not", "GET", "/v3/shops/pf3/orders?sort%5BupdatedOn%5D=ASC", "", f, nil, 400, 1000},
		{"a sort that is none", "GET", "/v3/shops/pf3/orders?sort%5BcreatedOn%5D=UP", "", f, nil, 400, 1000},
		{"a page too large", "GET", "/v3/shops/pf3/orders?perPage=1001", "", f, nil, 400, 1000},
		{"an order", "POST", "/v3/shops/pf3/orders", order + `}`, f, nil, 201, 0},
		{"an order without variants", "POST", "/v3/shops/pf3/orders", `{"contactId":"` + contact + `","totalPrice":1,"currency":"PLN"}`, f, nil, 400, 1000},
		{"an order of nobody", "POST", "/v3/shops/pf3/orders", strings.Replace(order, contact, "zz", 1) + `}`, f, nil, 400, 1001},
		{"a status too long", "POST", "/v3/shops/pf3/orders", order + `,"billingStatus":"` + strings.Repeat("x", 65) + `"}`, f, nil, 400, 1007},
		{"a price that is a text", "POST", "/v3/shops/pf3/orders", order + `,"shippingPrice":"1"}`, f, nil, 400, 1000},
		{"a member that is none", "POST", "/v3/shops/pf3/orders", order + `,"paymentStatus":"PAID"}`, f, nil, 400, 1000},
		{"no JSON", "POST", "/v3/shops/pf3/orders", "x", f, nil, 400, 1000},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, text := c.f.call(t, c.method, c.path, c.body, c.header...)
			var e struct {
				Code, HTTPStatus int
				UUID             string
			}
			_ = json.Unmarshal([]byte(text), &e) // lists have none of it
			if res.StatusCode != c.status || e.Code != c.code || c.code != 0 && (e.HTTPStatus != c.status || e.UUID == "") {
				t.Errorf("got %d %s, want %d with code %d", res.StatusCode, text, c.status, c.code)
			}
		})
	}
}

// TestLimits: three of them, each in its own way, and the window's numbers on every answer.
func TestLimits(t *testing.T) {
	f := start(t, Options{WindowMax: 5, SecondMax: 3})
	headers := func() string {
		res, _ := f.call(t, "GET", "/v3/shops", "")
		h := res.Header
		return fmt.Sprintf("%d %s %s %s retry %q", res.StatusCode, h.Get("X-RateLimit-Limit"), h.Get("X-RateLimit-Remaining"), h.Get("X-RateLimit-Reset"), h.Get("Retry-After"))
	}
	for i, want := range []string{
		`200 5 4 600 seconds retry ""`, `200 5 3 600 seconds retry ""`, `200 5 2 600 seconds retry ""`, `429 3 0 1 seconds retry "1"`,
	} {
		if got := headers(); got != want {
			t.Errorf("request %d: got %s, want %s", i, got, want)
		}
	}
	f.now = f.now.Add(2 * time.Second)
	for i, want := range []string{`200 5 0 598 seconds retry ""`, `429 5 0 598 seconds retry ""`} {
		if got := headers(); got != want {
			t.Errorf("later request %d: got %s, want %s", i, got, want)
		}
	}
	f.now = f.now.Add(Window)
	if got, want := headers(), `200 5 4 600 seconds retry ""`; got != want {
		t.Errorf("in the next window: got %s, want %s", got, want)
	}
	crowded := start(t, Options{ParallelMax: 1})
	done, err := crowded.enter(http.Header{})
	if res, _ := crowded.call(t, "GET", "/v3/shops", ""); err != nil || res.StatusCode != 429 {
		t.Errorf("the second at a time: got %d, %v, want 429", res.StatusCode, err)
	}
	done()
}

// TestLists: pages with their counts, sorted by making, without the variants; past the end is an empty list.
func TestLists(t *testing.T) {
	f := start(t, Options{})
	var ids []string
	for n := range 5 {
		ids = append(ids, f.place(t, fmt.Sprintf("jo%d@example.com", n)))
		f.now = f.now.Add(time.Hour)
	}
	shown := func(query string) string {
		t.Helper()
		res, text := f.call(t, "GET", "/v3/shops/pf3/orders?"+query, "")
		var list []map[string]any
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		out := ""
		for _, o := range list {
			for i, id := range ids {
				if o["orderId"] == id {
					out += fmt.Sprint(i)
				}
			}
			if o["selectedVariants"] != nil {
				t.Error("a list shows variants")
			}
		}
		return out + " of " + res.Header.Get("TotalCount") + " on " + res.Header.Get("CurrentPage") + "/" + res.Header.Get("TotalPages")
	}
	for query, want := range map[string]string{
		"":                                   "01234 of 5 on 1/1",
		"perPage=2&page=2":                   "23 of 5 on 2/3",
		"perPage=2&sort%5BcreatedOn%5D=DESC": "43 of 5 on 1/3",
		"perPage=2&page=9":                   " of 5 on 9/3",
		"query%5BexternalId%5D=1003":         "2 of 1 on 1/1",
		"query%5BprocessedAt%5D%5Bfrom%5D=2026-11-02T12:00:00%2B0000": "234 of 3 on 1/1",
		"query%5Bdescription%5D=nothing":                              " of 0 on 1/1",
	} {
		if got := shown(query); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
	if _, text := f.call(t, "GET", "/v3/shops/pf3/orders/"+ids[0], ""); !strings.Contains(text, `"selectedVariants":[{`) || !strings.Contains(text, `"totalPrice":10}`) || !strings.Contains(text, `"processedAt":"2026-11-02T10:00:00+0000"`) {
		t.Errorf("got %s, want the whole order", text)
	}
	if _, text := f.call(t, "GET", "/v3/contacts?query%5Bemail%5D=example", ""); strings.Count(text, "contactId") != 5 {
		t.Errorf("a filter is a pattern: got %s", text)
	}
	if _, text := f.call(t, "GET", "/v3/contacts?query%5Bemail%5D=jo1@example.com&additionalFlags=exactMatch", ""); strings.Count(text, `"contactId"`) != 1 {
		t.Errorf("an exact match: got %s", text)
	}
	if res, _ := f.call(t, "DELETE", "/v3/shops/pf3/orders/"+ids[0], ""); res.StatusCode != 204 || shown("") != "1234 of 4 on 1/1" {
		t.Errorf("deleted: got %d, %s", res.StatusCode, shown(""))
	}
}

// TestUpdateChangesWhatItNames, and each change of a billing status is told.
func TestUpdateChangesWhatItNames(t *testing.T) {
	f := start(t, Options{})
	id := f.place(t, "jo@example.com")
	for _, body := range []string{`{"billingStatus":"PAID","status":"SENT"}`, `{"billingStatus":"PAID"}`, `{"description":"x"}`} {
		if res, text := f.call(t, "POST", "/v3/shops/pf3/orders/"+id, body); res.StatusCode != 200 || !strings.Contains(text, `"billingStatus":"PAID"`) || !strings.Contains(text, `"externalId":"1001"`) {
			t.Errorf("%s: got %d %s", body, res.StatusCode, text)
		}
	}
	if c := f.Changes(); len(c) != 1 || c[0].From != "PENDING" || c[0].To != "PAID" || c[0].OrderID != id {
		t.Errorf("got %+v, want one change", c)
	}
}

// TestTruth: where each step leaves an order, in each plugin's words.
func TestTruth(t *testing.T) {
	pay := func(f *fixture, id string) error { return f.Pay(t.Context(), id) }
	fail := func(f *fixture, id string) error { return f.Fail(t.Context(), id) }
	cancel := func(f *fixture, id string) error { return f.Cancel(t.Context(), id) }
	refund := func(amount string) func(*fixture, string) error {
		return func(f *fixture, id string) error { return f.Refund(t.Context(), id, amount) }
	}
	type steps []func(*fixture, string) error
	for _, c := range []struct {
		name   string
		plugin Plugin
		steps  steps
		fine   bool
		want   string
	}{
		{"placed", Canonical, nil, true, "PENDING PENDING 0"},
		{"paid", Canonical, steps{pay}, true, "PAID PAID 0"},
		{"paid twice", Canonical, steps{pay, pay}, false, "PAID PAID 0"},
		{"paid, cancelled", Canonical, steps{pay, cancel}, false, "PAID PAID 0"},
		{"refunded in part", Canonical, steps{pay, refund("4")}, true, "PARTIALLY_REFUNDED PARTIALLY_REFUNDED 0"},
		{"refunded", Canonical, steps{pay, refund("4"), refund("6")}, true, "REFUNDED REFUNDED 10.00"},
		{"refunded too much", Canonical, steps{pay, refund("11")}, false, "PAID PAID 0"},
		{"refunded nothing", Canonical, steps{pay, refund("0")}, false, "PAID PAID 0"},
		{"failed", WooCommerce, steps{fail}, true, "failed FAILED 0"},
		{"failed, paid", WooCommerce, steps{fail, pay}, true, "processing PAID 0"},
		{"a part that is not told of", WooCommerce, steps{pay, refund("4")}, true, "processing PAID 0"},
		{"and the rest that is", WooCommerce, steps{pay, refund("4"), refund("6")}, true, "refunded REFUNDED 10.00"},
		{"cancelled", Magento, steps{cancel}, true, "canceled CANCELLED 0"},
		{"credited", Magento, steps{pay, refund("10")}, true, "closed REFUNDED 10.00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := start(t, Options{Plugin: c.plugin})
			id := f.place(t, "jo@example.com")
			var err error
			for _, step := range c.steps {
				err = step(f, id)
			}
			o := f.Orders()[0]
			if got := fmt.Sprint(o.RawStatus, " ", o.Status, " ", o.Refunded); (err == nil) != c.fine || got != c.want || o.ID != id {
				t.Errorf("got %v and %s, want %s", err, got, c.want)
			}
		})
	}
	f := start(t, Options{})
	if err := f.Pay(t.Context(), "zz"); err == nil {
		t.Error("an order that is none: no error")
	}
	if err := f.SetStatus(f.place(t, "jo@example.com"), "packed", schemas.StatusUnknown); err != nil || f.Orders()[0].RawStatus != "packed" {
		t.Errorf("got %v and %+v", err, f.Orders())
	}
}

// TestRun: the whole simulator answers on an address of its own, and stops.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done, up := make(chan error, 1), make(chan string, 1)
	go func() {
		done <- Run(ctx, Options{APIKey: key, Log: zerolog.Nop()}, "127.0.0.1:0", func(url string) { up <- url })
	}()
	res, err := http.Get(<-up + "/_simulator/status")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	cancel()
	if err := <-done; err != nil || res.StatusCode != 200 {
		t.Errorf("got %d and %v, want 200 and a quiet end", res.StatusCode, err)
	}
	if _, err := New(Options{}); err == nil {
		t.Error("without a key: no error")
	}
}
