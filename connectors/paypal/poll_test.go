package paypal

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

func names(feeds []connectors.Feed) []string {
	var out []string
	for _, f := range feeds {
		out = append(out, f.Name)
	}
	return out
}

// TestFeeds: only the lists of the chosen resources, only those that the app may read, and those of the whole account
// not by the clock where other apps share it.
func TestFeeds(t *testing.T) {
	for _, c := range []struct {
		name      string
		resources []string
		scopes    []string
		shared    bool
		want      []string
	}{
		{"both resources", nil, nil, false, []string{feedEvents, feedSubscriptions, feedTransactions}},
		{"orders", []string{ResourceOrders}, nil, false, []string{feedEvents, feedTransactions}},
		{"billing", []string{ResourceBilling}, nil, false, []string{feedEvents, feedSubscriptions, feedTransactions}},
		{"no transaction search", nil, []string{scopeWebhooks, scopeSubscriptions}, false, []string{feedEvents, feedSubscriptions}},
		{"no webhooks", nil, []string{scopeSubscriptions, scopeReporting}, false, []string{feedSubscriptions, feedTransactions}},
		{"nothing allowed", nil, []string{"openid"}, false, nil},
		{"a shared account", nil, nil, true, []string{feedEvents, feedSubscriptions, feedTransactions}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAccount()
			if c.scopes != nil {
				a.scopes = strings.Join(c.scopes, " ")
			}
			s, _, _ := connected(t, a, &Config{SharedAccount: c.shared})
			if c.resources != nil {
				s.resources = c.resources
			}
			before := names(s.Feeds())
			if _, err := s.api.token(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := s.Feeds()
			if diff := cmp.Diff(names(got), c.want); diff != "" {
				t.Errorf("-got +want:\n%s", diff)
			}
			if c.scopes != nil && len(before) != 3 {
				t.Errorf("before anything is known: got %v, want all", before)
			}
			for _, f := range got {
				if clocked := f.Every > 0; clocked == (c.shared && f.Name != feedEvents) {
					t.Errorf("%s: read every %s", f.Name, f.Every)
				}
			}
			missing := 0
			for _, f := range s.Watch() {
				if f.Level == connectors.Warn && strings.Contains(f.Message, "is not read, since the app lacks the permission") && f.Hint != "" {
					missing++
				}
			}
			if missing != len(before)-len(got) {
				t.Errorf("got %d findings about lists that are not read, want %d: %+v", missing, len(before)-len(got), s.Watch())
			}
		})
	}
}

// TestFeedDenied: a permission that the token names and PayPal refuses all the same counts as missing until the next token.
func TestFeedDenied(t *testing.T) {
	a := newAccount()
	a.override = func(r *http.Request, _ string) *http.Response {
		if r.URL.Path == transactionsPath {
			return answerOf(403, `{"name":"NOT_AUTHORIZED","message":"Authorization failed due to insufficient permissions."}`)
		}
		return nil
	}
	s, at, _ := connected(t, a, &Config{})
	q := connectors.Query{Feed: feedTransactions, From: start.Add(-time.Hour), To: start}
	_, err := s.Poll(t.Context(), q)
	if err == nil || !strings.Contains(err.Error(), scopeReporting) || slices.Contains(names(s.Feeds()), feedTransactions) {
		t.Errorf("got %v with feeds %v, want the permission named and the feed gone", err, names(s.Feeds()))
	}
	at.add(10 * time.Hour)
	if _, err := s.webhooks(t.Context()); err != nil || !slices.Contains(names(s.Feeds()), feedTransactions) {
		t.Errorf("after the next token: got %v with feeds %v, want the feed again", err, names(s.Feeds()))
	}
}

const listed = `{"id":"WH-%s","event_type":%q,"create_time":"2026-11-02T09:30:00Z","resource_type":"capture","resource":{"id":"C","status":"COMPLETED"}%s}`

// TestPollEvents: the window as PayPal takes it, the pages by the query of its links, and only what was chosen.
func TestPollEvents(t *testing.T) {
	var asked []string
	a := newAccount()
	a.override = func(r *http.Request, _ string) *http.Response {
		if r.URL.Path != eventsPath {
			return nil
		}
		asked = append(asked, r.URL.RawQuery)
		if r.URL.Host != a.host {
			t.Errorf("asked %s", r.URL.Host)
		}
		if !r.URL.Query().Has("move_to") {
			return answerOf(200, `{"events":[`+fmt.Sprintf(listed, "1", "PAYMENT.CAPTURE.COMPLETED", "")+`],"count":1,
				"links":[{"rel":"next","href":"https://evil.example/v1/notifications/webhooks-events/?page_size=1&amp;move_to=next&amp;index_id=WH-1"}]}`)
		}
		return answerOf(200, `{"events":[`+fmt.Sprintf(listed, "2", "CATALOG.PRODUCT.CREATED", "")+`,`+fmt.Sprintf(listed, "3", "PAYMENT.SALE.COMPLETED", "")+`,{"id":"WH-4"}],"count":3}`)
	}
	s, _, _ := connected(t, a, &Config{})
	from := start.Add(-time.Hour + 300*time.Millisecond)
	found := all(t, s, connectors.Query{Feed: feedEvents, From: from, To: start.Add(-time.Minute + time.Millisecond)})
	want := []string{
		"end_time=2026-11-02T09%3A59%3A01Z&page_size=50&start_time=2026-11-02T09%3A00%3A00Z",
		"page_size=1&move_to=next&index_id=WH-1",
	}
	if diff := cmp.Diff(asked, want); diff != "" {
		t.Errorf("questions -got +want:\n%s", diff)
	}
	var ids []string
	for _, f := range found {
		var head struct{ ID string }
		if err := json.Unmarshal(f.Body, &head); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, head.ID)
		if f.Origin != schemas.OriginPoll || f.Connection != "shop" || f.Environment != schemas.Sandbox || !f.ReceivedAt.Equal(start) || f.OnceID {
			t.Errorf("got %+v", f.Delivery)
		}
	}
	// What is not understood is shown, not dropped.
	if want := []string{"WH-1", "WH-3", "WH-4"}; !slices.Equal(ids, want) {
		t.Errorf("got %v, want %v", ids, want)
	}
	t.Run("only one resource", func(t *testing.T) {
		s, _, _ := connected(t, a, &Config{})
		s.resources = []string{ResourceBilling}
		if got := all(t, s, connectors.Query{Feed: feedEvents, From: from, To: start}); len(got) != 2 {
			t.Errorf("got %d, want the sale and what is not understood", len(got))
		}
	})
	t.Run("not further back than PayPal shows", func(t *testing.T) {
		asked = nil
		s, _, _ := connected(t, a, &Config{})
		all(t, s, connectors.Query{Feed: feedEvents, From: start.AddDate(-1, 0, 0), To: start})
		if want := "start_time=" + strings.ReplaceAll(start.Add(-eventsReach+reachMargin).Format(time.RFC3339), ":", "%3A"); !strings.Contains(asked[0], want) {
			t.Errorf("got %s, want %s", asked[0], want)
		}
		asked = nil
		if all(t, s, connectors.Query{Feed: feedEvents, From: start.AddDate(-1, 0, 0), To: start.AddDate(0, -2, 0)}); len(asked) != 0 {
			t.Errorf("got %v, want no question about what PayPal forgot", asked)
		}
	})
	t.Run("a page size that PayPal refuses", func(t *testing.T) {
		a := newAccount()
		a.override = func(r *http.Request, _ string) *http.Response {
			if r.URL.Path == eventsPath && r.URL.Query().Get("page_size") != "10" {
				return answerOf(400, `{"name":"VALIDATION_ERROR","details":[{"field":"page_size","issue":"Invalid data provided"}]}`)
			} else if r.URL.Path == eventsPath {
				return answerOf(200, `{"events":[]}`)
			}
			return nil
		}
		s, _, _ := connected(t, a, &Config{})
		for range 2 {
			all(t, s, connectors.Query{Feed: feedEvents, From: from, To: start})
		}
		if got := a.calls("GET " + eventsPath); got != 3 {
			t.Errorf("got %d requests, want 3: the default is remembered", got)
		}
	})
	t.Run("junk", func(t *testing.T) {
		for name, answer := range map[string]string{
			"a link without a query": `{"links":[{"rel":"next","href":"https://x/"}]}`, "a long link": `{"links":[{"rel":"next","href":"https://x/?` + strings.Repeat("a", cursorBytesMax) + `a"}]}`,
			"a page of HTML": `<html>`, "events of another type": `{"events":{}}`,
		} {
			s, _, _ := connected(t, answers(map[string]string{eventsPath: answer}), &Config{})
			if _, err := s.Poll(t.Context(), connectors.Query{Feed: feedEvents, From: from, To: start}); err == nil || !strings.Contains(err.Error(), "poll events") {
				t.Errorf("%s: got %v, want an error", name, err)
			}
		}
		if _, err := s.Poll(t.Context(), connectors.Query{Feed: "everything"}); err == nil {
			t.Error("an unknown feed: got no error")
		}
	})
}

// TestCause: why no webhook brought an event, in a sentence from what PayPal notes about its deliveries.
func TestCause(t *testing.T) {
	const url = "https://hooks.example.com/webhooks/shop"
	send := func(address, status, code, at string) string {
		return fmt.Sprintf(`{"webhook_url":%q,"status":%q,"http_status":%s,"timestamp":%q,"transmission_id":"X","response_headers":{"Set-Cookie":"canary"}}`, address, status, code, at)
	}
	for _, c := range []struct{ name, transmissions, want string }{
		{"none", `[]`, "PayPal names no delivery of it to this address"},
		{"not said", `null`, "PayPal names no delivery of it to this address"},
		{"to another address", `[` + send("https://else", "FAILED", "500", "2026-11-02T09:00:00Z") + `]`, "PayPal names no delivery of it to this address"},
		{"given up", `[` + send(url, "FAILED", "503", "2026-11-02T09:00:00Z") + `]`, "the endpoint answered 503, first at 2026-11-02T09:00:00Z; PayPal gave up"},
		{"still trying", `[` + send(url, "PENDING", "401", "2026-11-02T09:00:00Z") + `]`, "the endpoint answered 401, first at 2026-11-02T09:00:00Z; PayPal tries again"},
		{"not reached", `[` + send(url, "FAILED", "0", "2026-11-02T09:00:00Z") + `]`, "the endpoint was not reached, first at 2026-11-02T09:00:00Z; PayPal gave up"},
		{"a code as text", `[` + send(url, "FAILED", `"500"`, "") + `]`, "the endpoint answered 500; PayPal gave up"},
		{"delivered, it says", `[` + send(url, "SUCCESS", "200", "2026-11-02T09:00:00Z") + `]`, "PayPal says that it was delivered, first at 2026-11-02T09:00:00Z; the endpoint answered 200"},
		{"the newest counts", `[` + send(url, "FAILED", "500", "2026-11-02T09:00:00Z") + `,` + send(url, "PENDING", "503", "2026-11-02T11:00:00Z") + `]`, "the endpoint answered 503, first at 2026-11-02T11:00:00Z; PayPal tries again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			event := fmt.Sprintf(listed, "1", "PAYMENT.CAPTURE.COMPLETED", `,"transmissions":`+c.transmissions)
			s, _, _ := connected(t, answers(map[string]string{eventsPath: `{"events":[` + event + `]}`}), &Config{})
			found := all(t, s, connectors.Query{Feed: feedEvents, From: start.Add(-time.Hour), To: start})
			if len(found) != 1 || found[0].Cause != c.want || strings.HasSuffix(found[0].Cause, ".") {
				t.Errorf("got %+v, want %q", found, c.want)
			}
		})
	}
}

// lister answers a list with the items whose time is in the span that is asked for, at most so many a page.
type lister struct {
	times    []time.Time
	size     int
	max      int // more in a span are too many; zero: any number
	requests int
}

func (l *lister) subscriptions(r *http.Request, _ string) *http.Response {
	q := r.URL.Query()
	if r.URL.Path != subscriptionsPath {
		return nil
	}
	after, err1 := time.Parse(time.RFC3339, q.Get("status_updated_after"))
	before, err2 := time.Parse(time.RFC3339, q.Get("status_updated_before"))
	page, err3 := strconv.Atoi(q.Get("page"))
	if err1 != nil || err2 != nil || err3 != nil || q.Get("page_size") != strconv.Itoa(subscriptionsPageSize) {
		return answerOf(400, `{"name":"INVALID_REQUEST"}`)
	}
	l.requests++
	var in []string
	for i, at := range l.times {
		if at.After(after) && at.Before(before) {
			in = append(in, fmt.Sprintf(`{"id":"I-%d","plan_id":"P","status":"ACTIVE","status_update_time":%q}`, i, at.Format(time.RFC3339Nano)))
		}
	}
	from := min((page-1)*subscriptionsPageSize, len(in))
	return answerOf(200, `{"subscriptions":[`+strings.Join(in[from:min(from+subscriptionsPageSize, len(in))], ",")+`]}`)
}

func (l *lister) transactions(r *http.Request, _ string) *http.Response {
	q := r.URL.Query()
	if r.URL.Path != transactionsPath {
		return nil
	}
	from, err1 := time.Parse(reportTime, q.Get("start_date"))
	to, err2 := time.Parse(reportTime, q.Get("end_date"))
	page, err3 := strconv.Atoi(q.Get("page"))
	if err1 != nil || err2 != nil || err3 != nil || to.Before(from) || to.Sub(from) > 31*24*time.Hour {
		return answerOf(400, `{"name":"INVALID_REQUEST","details":[{"issue":"INVALID_PARAMETER_SYNTAX"}]}`)
	}
	l.requests++
	var in []string
	for i, at := range l.times {
		if !at.Truncate(time.Second).Before(from) && !at.Truncate(time.Second).After(to) {
			in = append(in, fmt.Sprintf(`{"transaction_info":{"transaction_id":"T%d","transaction_event_code":"T0006","transaction_status":"S","transaction_updated_date":%q,"transaction_amount":{"currency_code":"EUR","value":"1"}}}`, i, at.Format(reportTime)))
		}
	}
	if l.max > 0 && len(in) > l.max {
		return answerOf(400, fmt.Sprintf(`{"name":"RESULTSET_TOO_LARGE","total_items":%d,"maximum_items":%d}`, len(in), l.max))
	}
	pages := (len(in) + l.size - 1) / l.size
	begin := min((page-1)*l.size, len(in))
	return answerOf(200, fmt.Sprintf(`{"transaction_details":[%s],"page":%d,"total_pages":%d,"last_refreshed_datetime":%q}`,
		strings.Join(in[begin:min(begin+l.size, len(in))], ","), page, pages, start.Format(reportTime)))
}

// TestListsLoseNothing: whatever the spread over time, each item of the span is found, with a bounded number of requests.
func TestListsLoseNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		span := time.Duration(rapid.Int64Range(int64(time.Second), int64(90*24*time.Hour)).Draw(rt, "span"))
		from, to := start.Add(-span), start
		l := &lister{size: 7, max: rapid.SampledFrom([]int{0, 20, 50}).Draw(rt, "max")}
		for range rapid.IntRange(0, 150).Draw(rt, "items") {
			at := from.Add(time.Duration(rapid.Int64Range(0, int64(span)-1).Draw(rt, "at")))
			l.times = append(l.times, at)
		}
		// Many in one second: no span is short enough for these, so that pages are turned. Transaction search has no such way.
		feed := rapid.SampledFrom([]string{feedSubscriptions, feedTransactions}).Draw(rt, "feed")
		if feed == feedSubscriptions {
			for range rapid.SampledFrom([]int{0, 20, 45}).Draw(rt, "at once") {
				l.times = append(l.times, from.Add(span/2))
			}
		}
		a := newAccount()
		a.override = l.subscriptions
		if feed == feedTransactions {
			a.override = l.transactions
			l.times = spread(l.times, l.max)
		}
		s, _, _ := connected(t, a, &Config{})
		got := map[string]bool{}
		for _, f := range all(t, s, connectors.Query{Feed: feed, From: from, To: to}) {
			e := recordsOf(t, f)[0]
			got[e.EntityID] = true
		}
		if len(got) != len(l.times) {
			rt.Fatalf("got %d of %d after %d requests", len(got), len(l.times), l.requests)
		}
		if limit := 80 + 6*len(l.times); l.requests > limit {
			rt.Fatalf("got %d requests for %d items, want at most %d", l.requests, len(l.times), limit)
		}
	})
}

// TestListThatMoves: subscriptions leave the span while it is read, since their status changes again; whoever turned pages
// would miss what moves up in their place.
func TestListThatMoves(t *testing.T) {
	from, to := start.Add(-time.Hour), start
	l := &lister{}
	for i := range 100 {
		l.times = append(l.times, from.Add(time.Duration(i)*30*time.Second))
	}
	left := 0
	a := newAccount()
	a.override = func(r *http.Request, body string) *http.Response {
		answer := l.subscriptions(r, body)
		if answer != nil {
			l.times[left] = to.Add(time.Minute)
			left++
		}
		return answer
	}
	s, _, _ := connected(t, a, &Config{})
	got := map[string]bool{}
	for _, e := range recordsOf(t, all(t, s, connectors.Query{Feed: feedSubscriptions, From: from, To: to})...) {
		got[e.EntityID] = true
	}
	for i := left; i < len(l.times); i++ {
		if !got[fmt.Sprint("I-", i)] {
			t.Errorf("I-%d, which stayed, was missed", i)
		}
	}
	if left >= len(l.times)/2 {
		t.Fatalf("%d left: nothing was shown", left)
	}
}

// spread keeps so many items a shortest span that the provider answers at all.
func spread(times []time.Time, most int) []time.Time {
	if most == 0 {
		return times
	}
	count := map[int64]int{}
	var out []time.Time
	for _, at := range times {
		k := at.Unix() / 4
		if count[k]++; count[k] <= most/4 {
			out = append(out, at)
		}
	}
	return out
}

// TestPollTransactions: what PayPal's books do not hold yet is not taken for nothing.
func TestPollTransactions(t *testing.T) {
	q := connectors.Query{Feed: feedTransactions, From: start.Add(-6 * time.Hour), To: start}
	detail := func(code, status, amount, reference string) string {
		return fmt.Sprintf(`{"transaction_info":{"transaction_id":"T","transaction_event_code":%q,"transaction_status":%q,"transaction_updated_date":"2026-11-02T08:00:00+0000","transaction_amount":{"currency_code":"EUR","value":%q}%s}}`, code, status, amount, reference)
	}
	t.Run("behind", func(t *testing.T) {
		s, _, _ := connected(t, answers(map[string]string{transactionsPath: `{"transaction_details":[],"last_refreshed_datetime":"2026-11-02T06:00:00+0000"}`}), &Config{})
		if _, err := s.Poll(t.Context(), q); err == nil || !strings.Contains(err.Error(), "complete only up to 2026-11-02T06:00:00Z") {
			t.Errorf("got %v, want an error that says how far", err)
		}
	})
	t.Run("the newest span begins after the last refresh", func(t *testing.T) {
		a := newAccount()
		a.override = func(r *http.Request, _ string) *http.Response {
			if r.URL.Path == transactionsPath {
				return answerOf(400, `{"name":"INVALID_REQUEST","details":[{"field":"start_date","issue":"INVALID_DATE_RANGE","description":"Data for the given start date is not available."}]}`)
			}
			return nil
		}
		s, _, _ := connected(t, a, &Config{})
		late := q
		late.From = start.Add(-time.Hour)
		if found := all(t, s, late); len(found) != 0 {
			t.Errorf("got %v", found)
		}
		if _, err := s.Poll(t.Context(), q); err == nil {
			t.Error("six hours ago: got no error, want one: that much has to be there")
		}
	})
	t.Run("not further back than three years", func(t *testing.T) {
		first := ""
		a := newAccount()
		a.override = func(r *http.Request, _ string) *http.Response {
			if r.URL.Path == transactionsPath && first == "" {
				first = r.URL.Query().Get("start_date")
			}
			return (&lister{size: 1}).transactions(r, "")
		}
		s, _, _ := connected(t, a, &Config{})
		all(t, s, connectors.Query{Feed: feedTransactions, From: start.AddDate(-5, 0, 0), To: start})
		if want := start.Add(reachMargin - transactionsReach).Format(reportTime); first != want {
			t.Errorf("began at %s, want %s", first, want)
		}
	})
	for _, c := range []struct {
		name      string
		detail    string
		full      bool
		resources []string
		kept      bool
	}{
		{"a checkout", detail("T0006", "S", "5", ""), false, nil, true},
		{"a donation", detail("T0013", "S", "5", ""), false, nil, false},
		{"a donation, for a backfill", detail("T0013", "S", "5", ""), true, nil, true},
		{"a withdrawal", detail("T0400", "S", "-5", ""), true, nil, false},
		{"what the account paid", detail("T0006", "S", "-5", ""), true, nil, false},
		{"a fee", detail("T0106", "S", "-5", ""), true, nil, false},
		{"a refund", detail("T1107", "S", "-5", ""), false, nil, true},
		{"a subscription's payment without that resource", detail("T0002", "S", "5", `,"paypal_reference_id":"I-1","paypal_reference_id_type":"SUB"`), true, []string{ResourceOrders}, false},
		{"an order's payment without that resource", detail("T0006", "S", "5", ""), true, []string{ResourceBilling}, false},
		{"not understood", detail("T0006", "S", "five", ""), false, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _, _ := connected(t, answers(map[string]string{transactionsPath: `{"transaction_details":[` + c.detail + `],"total_pages":1}`}), &Config{})
			if c.resources != nil {
				s.resources = c.resources
			}
			q := q
			q.Full = c.full
			if got := all(t, s, q); (len(got) == 1) != c.kept {
				t.Errorf("got %d, want it kept: %t", len(got), c.kept)
			}
		})
	}
}

// TestCursors: a cursor that is none is an error, never a loop.
func TestCursors(t *testing.T) {
	s, _, _ := connected(t, newAccount(), &Config{})
	for _, feed := range []string{feedSubscriptions, feedTransactions} {
		for _, cursor := range []string{"x", "x y z", "2026-11-02T09:00:00Z 1h 0", "2026-11-02T09:00:00Z -1h 1", "2026-11-02T09:00:00Z 1h 99999999", "2026-11-02T09:00:00Z 1h"} {
			if _, err := s.Poll(t.Context(), connectors.Query{Feed: feed, From: start.Add(-time.Hour), To: start, Cursor: cursor}); err == nil || !strings.Contains(err.Error(), "is none") {
				t.Errorf("%s %q: got %v", feed, cursor, err)
			}
		}
	}
}

// TestSubscriptionsInFull: a backfill reads each subscription, and its payments where it may not search transactions.
func TestSubscriptionsInFull(t *testing.T) {
	paths := map[string]string{
		subscriptionsPath:                       `{"subscriptions":[{"id":"I-1","plan_id":"P","status":"ACTIVE","update_time":"2026-11-02T09:00:00Z"},{"id":"I-2","plan_id":"P","status":"CANCELLED","update_time":"2026-11-02T09:00:00Z"}]}`,
		subscriptionsPath + "/I-1":              `{"id":"I-1","plan_id":"P","status":"ACTIVE","update_time":"2026-11-02T09:00:00Z","plan":{"name":"Monthly"}}`,
		subscriptionsPath + "/I-1/transactions": `{"transactions":[{"id":"S1","status":"COMPLETED","time":"2026-10-02T10:00:00Z","payer_email":"a@example.com","amount_with_breakdown":{"gross_amount":{"currency_code":"EUR","value":"5.0"}}},{"id":"S2","status":"DECLINED","time":"2026-11-02T10:00:00Z","amount_with_breakdown":{"gross_amount":{"currency_code":"EUR","value":"5.0"}}}],"total_pages":1}`,
	}
	for _, c := range []struct {
		name   string
		scopes string
		full   bool
		want   string
	}{
		{"by the clock", scopeSubscriptions, false, "I-1 ACTIVE, I-2 CANCELLED"},
		{"in full", scopeSubscriptions + " " + scopeReporting, true, "I-1 ACTIVE Monthly, I-2 CANCELLED"},
		{"in full without transaction search", scopeSubscriptions, true, "I-1 ACTIVE Monthly, S1 PAID of I-1, S2 FAILED of I-1, I-2 CANCELLED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := answers(paths)
			a.scopes = c.scopes
			s, _, _ := connected(t, a, &Config{})
			var got []string
			for _, e := range recordsOf(t, all(t, s, connectors.Query{Feed: feedSubscriptions, From: start.Add(-time.Hour), To: start, Full: c.full})...) {
				text := e.EntityID + " " + string(e.Status)
				if plan := e.Fields["subscription.plan_name"]; plan != "" {
					text += " " + plan
				}
				if e.Kind == schemas.KindPayment {
					text += " of " + e.RootID
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(strings.Join(got, ", "), c.want); diff != "" {
				t.Errorf("-got +want:\n%s", diff)
			}
		})
	}
}
