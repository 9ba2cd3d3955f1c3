package activecampaign

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// clocked is an account whose clock the test moves.
func clocked(o Options) (s *Server, forward func(time.Duration)) {
	now := noon
	o.Key, o.Now = key, func() time.Time { return now }
	return New(o), func(d time.Duration) { now = now.Add(d) }
}

func synced(t *testing.T, s *Server, email, order string) {
	t.Helper()
	body := fmt.Sprintf(`{"contact":{"email":%q,"fieldValues":[{"field":"65","value":%q}]}}`, email, order)
	if code, _, out := ask(t, s.Handler(), "POST", "/api/3/contact/sync", body); code >= 300 {
		t.Fatalf("got %d: %v", code, out)
	}
}

func TestBulkImport(t *testing.T) {
	s, forward := clocked(Options{ImportAfter: time.Minute, Triggers: map[string]string{"On vip": "tag:VIP"}})
	synced(t, s, "b@x.example", "old")
	body := func(quiet bool) string {
		return fmt.Sprintf(`{"contacts":[
			{"email":"a@x.example","first_name":"A","tags":["vip"],"fields":[{"id":65,"value":"P"}],"subscribe":[{"listid":"1"}],"exclude_automations":%v},
			{"email":"B@x.example","last_name":"B","fields":[{"id":65,"value":"new"}]},
			{"email":"no good@x"}]}`, quiet)
	}
	code, _, out := ask(t, s.Handler(), "POST", "/api/3/import/bulk_import", body(true))
	if code != 200 || out["Success"] != 1.0 || out["queued_contacts"] != 3.0 {
		t.Fatalf("got %d %v", code, out)
	}
	info := func() map[string]any {
		_, _, in := ask(t, s.Handler(), "GET", "/api/3/import/info?batchId="+out["batchId"].(string), "")
		return in
	}
	if in := info(); in["status"] != "waiting" || len(s.Contacts()) != 1 {
		t.Errorf("at once: got %v and %d contacts", in, len(s.Contacts()))
	}
	_, _, days := ask(t, s.Handler(), "GET", "/api/3/import/bulk_import", "")
	if d := cmp.Diff(days["outstanding"], []any{map[string]any{"forDate": "2026-01-31", "batches": "1", "contacts": "3"}}); d != "" {
		t.Errorf("outstanding, got - want:\n%s", d)
	}
	forward(time.Minute)
	want := map[string]any{"status": "completed", "success": []any{"2", "1"}, "failure": []any{"no good@x"}}
	if d := cmp.Diff(info(), want); d != "" {
		t.Errorf("after a minute, got - want:\n%s", d)
	}
	a, _ := s.Contact("A@x.example")
	b, _ := s.Contact("b@x.example")
	if a.FirstName != "A" || a.Fields["ORDER_ID"] != "P" || len(a.Tags) != 1 || a.Lists["Customers"] != 1 || b.Fields["ORDER_ID"] != "new" || len(b.Versions) != 2 {
		t.Errorf("got %+v and %+v", a, b)
	}
	if len(s.Enrolments()) > 0 {
		t.Errorf("automations were started: %v", s.Enrolments())
	}
	if err := s.Do(Act{Do: "untag", Email: "a@x.example", Name: "vip"}); err != nil {
		t.Fatal(err)
	}
	ask(t, s.Handler(), "POST", "/api/3/import/bulk_import", body(false))
	forward(time.Minute)
	if s.settle(); len(s.Enrolments()) != 1 || s.Enrolments()[0].By != "tag:vip" {
		t.Errorf("got starts %v, want one by the tag", s.Enrolments())
	}
}

func TestBulkImportRefusals(t *testing.T) {
	row := `{"email":"a@x.example"}`
	rows := func(n int) string {
		return `{"contacts":[` + strings.TrimSuffix(strings.Repeat(row+",", n), ",") + `]}`
	}
	for name, c := range map[string]struct{ body, says string }{
		"no contacts": {`{}`, "did not pass validation"},
		"251":         {rows(251), "up to 250"},
		"400,000":     {`{"contacts":[{"email":"a@x.example","first_name":"` + strings.Repeat("x", 400_000) + `"}]}`, "up to 250 contacts"},
		"no address":  {`{"contacts":[` + row + `,{"email":"a"}]}`, "incorrect format"},
	} {
		s, _ := clocked(Options{})
		if code, _, out := ask(t, s.Handler(), "POST", "/api/3/import/bulk_import", c.body); code != 400 || !strings.Contains(fmt.Sprint(out), c.says) {
			t.Errorf("%s: got %d %v, want %q", name, code, out, c.says)
		}
	}
	s, forward := clocked(Options{RatePerSecond: 1000})
	refused := func(n int) bool {
		code, _, out := ask(t, s.Handler(), "POST", "/api/3/import/bulk_import", rows(n))
		if code != 200 && (code != 400 || out["message"] != "Rate limit exceeded.") {
			t.Fatalf("got %d %v", code, out)
		}
		return code != 200
	}
	for n, max := range map[int]int{1: 20, 2: 100} {
		for i := range max {
			if refused(n) {
				t.Fatalf("import %d of %d contacts was refused", i+1, n)
			}
		}
		if !refused(n) {
			t.Errorf("import %d of %d contacts within a minute was taken", max+1, n)
		}
	}
	forward(time.Minute)
	if refused(1) || refused(2) {
		t.Error("a minute later: refused")
	}
	if code, _, _ := ask(t, s.Handler(), "GET", "/api/3/import/info", ""); code != 400 {
		t.Errorf("info without a batch: got %d", code)
	}
}

func TestImportCallsBack(t *testing.T) {
	got := make(chan string, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.Method + " " + r.Header.Get("X-Mine") + " " + string(body)
	}))
	defer srv.Close()
	s := New(Options{Key: key, ImportAfter: time.Millisecond})
	ask(t, s.Handler(), "POST", "/api/3/import/bulk_import", fmt.Sprintf(`{"contacts":[{"email":"a@x.example"},{"email":"@"}],
		"callback":{"url":%q,"requestType":"POST","detailed_results":"true","params":[{"key":"job","value":"7"}],"headers":[{"key":"X-Mine","value":"yes"}]}}`, srv.URL))
	select {
	case text := <-got:
		if !strings.HasPrefix(text, "POST yes ") || !strings.Contains(text, `"success":1`) || !strings.Contains(text, `"failure":1`) || !strings.Contains(text, `"job":"7"`) {
			t.Errorf("got %s", text)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no callback")
	}
}

// What starts automations besides the API.
func TestTriggers(t *testing.T) {
	s := New(Options{Key: key, Triggers: map[string]string{
		"T": "tag:vip", "F": "field:ORDER_ID", "E": "event:paid", "O": "order:COMPLETED", "R": "recurring:ACTIVE",
	}})
	h := s.Handler()
	synced(t, s, "a@x.example", "1")
	synced(t, s, "a@x.example", "1") // the same value starts nothing
	ask(t, h, "POST", "/api/3/tags", `{"tag":{"tag":"VIP"}}`)
	for range 2 { // the second time he has it
		ask(t, h, "POST", "/api/3/contactTags", `{"contactTag":{"contact":1,"tag":1}}`)
	}
	s.account.record("a@x.example", "paid", "", noon)
	ask(t, h, "POST", "/api/3/connections", `{"connection":{"service":"s","externalid":"e","name":"n","logoUrl":"l","linkUrl":"u"}}`)
	for _, source := range []string{"HISTORICAL", "REAL_TIME"} {
		order := `legacyConnectionId: 1, storeOrderId: "1", email: "a@x.example", orderNumber: "1", normalizedStatus: COMPLETED, creationSource: ` + source +
			`, finalAmount: 1.0, currency: "eur", storeCreatedDate: "2026-01-31T10:00:00Z"`
		query, _ := json.Marshal(map[string]string{"query": "mutation { bulkUpsertOrders(orders: [{" + order + "}]) { recordId } }"})
		ask(t, h, "POST", "/api/3/ecom/graphql", string(query))
	}
	for _, silent := range []string{"true", "false"} {
		payment := `legacyConnectionId: 1, storeRecurringPaymentId: "1", email: "a@x.example", normalizedStatus: ACTIVE, paymentAmount: 1, suppressAutomations: ` + silent
		query, _ := json.Marshal(map[string]string{"query": "mutation { bulkUpsertRecurringPayments(recurringPayments: [{" + payment + "}]) { recordId } }"})
		ask(t, h, "POST", "/api/3/ecom/graphql", string(query))
	}
	var got []string
	for _, e := range s.Enrolments() {
		got = append(got, e.Automation+" "+e.By)
	}
	want := []string{"F field:ORDER_ID", "T tag:VIP", "E event:paid", "O order:COMPLETED", "R recurring:ACTIVE"}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("got - want:\n%s", d)
	}
}

// One mutation may hold good and bad records: the bad ones are named, and spoil nothing else.
func TestPartialValidationErrors(t *testing.T) {
	s := New(Options{Key: key})
	ask(t, s.Handler(), "POST", "/api/3/connections", `{"connection":{"service":"s","externalid":"e","name":"n","logoUrl":"l","linkUrl":"u"}}`)
	row := func(id, email string) string {
		return fmt.Sprintf(`{legacyConnectionId: 1, storeRecurringPaymentId: %q, email: %q, paymentAmount: 1}`, id, email)
	}
	query, _ := json.Marshal(map[string]string{"query": "mutation { bulkUpsertRecurringPayments(recurringPayments: [" + row("1", "a@x.example") + row("2", "nobody") + "]) { recordId } }"})
	_, _, out := ask(t, s.Handler(), "POST", "/api/3/ecom/graphql", string(query))
	want := map[string]any{"errors": []any{map[string]any{
		"message": "Validation errors", "extensions": map[string]any{"recurringPayment-storeRecurringPaymentId-2": "email is not valid"},
	}}}
	if d := cmp.Diff(out, want); d != "" || len(s.RecurringPayments()) != 1 {
		t.Errorf("got %d payments; got - want:\n%s", len(s.RecurringPayments()), d)
	}
}

// Faults come and go by the clock.
func TestScheduleOfFaults(t *testing.T) {
	s, forward := clocked(Options{})
	s.SetFaults(Faults{Schedule: []Span{
		{FromMillis: 1000, ToMillis: 3000, Faults: Faults{ServerError: 1}}, {FromMillis: 2000, ToMillis: 4000, Faults: Faults{TooMany: 1}},
	}})
	var got []int
	for range 5 {
		code, _, _ := ask(t, s.Handler(), "GET", "/api/3/lists", "")
		got = append(got, code)
		forward(time.Second)
	}
	if d := cmp.Diff(got, []int{200, 500, 500, 429, 200}); d != "" {
		t.Errorf("got - want:\n%s", d)
	}
}

// Which faults applied the request, and what the client gets.
func TestFaultsByWhatTheyDo(t *testing.T) {
	for name, c := range map[string]struct {
		faults  Faults
		code    int // 0: no whole answer
		applied bool
	}{
		"server error":       {Faults{ServerError: 1}, 500, false},
		"server error after": {Faults{ServerErrorAfter: 1}, 500, true},
		"unavailable":        {Faults{Unavailable: 1}, 503, false},
		"html":               {Faults{HTML: 1}, 200, false},
		"cut":                {Faults{Cut: 1}, 0, true},
		"half":               {Faults{Half: 1}, 0, true},
		"drip":               {Faults{Drip: 1, HangMillis: 50}, 0, true},
		"timeout before":     {Faults{TimeoutBefore: 1, HangMillis: 50}, 0, false},
		"timeout after":      {Faults{TimeoutAfter: 1, HangMillis: 50}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Options{Key: key, Faults: c.faults})
			srv := httptest.NewServer(s.Handler())
			defer srv.Close()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/api/3/contact/sync", strings.NewReader(`{"contact":{"email":"a@x.example"}}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Api-Token", key)
			code := 0
			if resp, err := http.DefaultClient.Do(req); err == nil {
				if _, err = io.Copy(io.Discard, resp.Body); err == nil {
					code = resp.StatusCode
				}
				resp.Body.Close()
			}
			if _, there := s.Contact("a@x.example"); code != c.code || there != c.applied {
				t.Errorf("got %d, applied %v; want %d, %v", code, there, c.code, c.applied)
			}
		})
	}
	var codes []int
	s := New(Options{Key: key, Faults: Faults{Gateway: 1}})
	for range 8 {
		code, _, _ := ask(t, s.Handler(), "POST", "/api/3/contact/sync", fmt.Sprintf(`{"contact":{"email":"c%d@x.example"}}`, len(codes)))
		codes = append(codes, code)
	}
	if n := len(s.Contacts()); n != 2 || !slices.Contains(codes, 526) {
		t.Errorf("gateway: got %v and %d contacts, want the two of the 520s", codes, n)
	}
}

func TestStateOfTheAccount(t *testing.T) {
	s, forward := clocked(Options{Denied: []string{"deep_data"}})
	if code, _, out := ask(t, s.Handler(), "GET", "/api/3/connections", ""); code != 403 || !strings.Contains(fmt.Sprint(out), "do not have permission to view deep data") {
		t.Errorf("denied: got %d %v", code, out)
	}
	s.SetState(State{MaintenanceUntil: noon.Add(90 * time.Second)})
	if code, h, _ := ask(t, s.Handler(), "GET", "/api/3/lists", ""); code != 503 || h.Get("Retry-After") != "90" {
		t.Errorf("maintenance: got %d, Retry-After %q", code, h.Get("Retry-After"))
	}
	if forward(90 * time.Second); func() int { code, _, _ := ask(t, s.Handler(), "GET", "/api/3/lists", ""); return code }() != 200 {
		t.Error("after the maintenance: refused")
	}
	s.SetState(State{Suspended: true})
	if code, _, _ := ask(t, s.Handler(), "GET", "/api/3/lists", ""); code != 403 {
		t.Errorf("suspended: got %d", code)
	}
}

func TestDeletedFieldsAndTags(t *testing.T) {
	s := New(Options{Key: key})
	synced(t, s, "a@x.example", "1")
	if err := s.Do(Act{Do: "tag", Email: "a@x.example", Name: "vip"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path, body string
		code               int
	}{
		{"DELETE", "/api/3/tags/1", "", 200},
		{"DELETE", "/api/3/tags/1", "", 404},
		{"DELETE", "/api/3/fields/65", "", 200},
		{"DELETE", "/api/3/fields/65", "", 404},
		{"POST", "/api/3/contact/sync", `{"contact":{"email":"a@x.example","fieldValues":[{"field":"65","value":"x"}]}}`, 422},
		{"POST", "/api/3/contactTags", `{"contactTag":{"contact":1,"tag":1}}`, 404},
		{"POST", "/api/3/contact/sync", `{"contact":{"email":"a@x.example","fieldValues":[{"field":"66","value":"x"}]}}`, 200},
	} {
		if code, _, out := ask(t, s.Handler(), c.method, c.path, c.body); code != c.code {
			t.Errorf("%s %s: got %d %v, want %d", c.method, c.path, code, out, c.code)
		}
	}
	if got, _ := s.Contact("a@x.example"); len(got.Tags) > 0 || len(got.Fields) != 1 {
		t.Errorf("got %+v", got)
	}
}

// Versions are whole states in the order of writing, whatever was dropped before them.
func TestVersionsAreWholeStates(t *testing.T) {
	s := New(Options{Key: key})
	ask(t, s.Handler(), "POST", "/api/3/contact/sync", `{"contact":{"email":"a@x.example","fieldValues":[{"field":"66","value":"kept"}]}}`)
	for n := range 70 {
		synced(t, s, "a@x.example", fmt.Sprint(n))
	}
	got, _ := s.Contact("a@x.example")
	if len(got.Versions) != versionsMax {
		t.Fatalf("got %d versions, want the last %d", len(got.Versions), versionsMax)
	}
	for i, v := range got.Versions {
		if v.Fields["ORDER_ID"] != fmt.Sprint(20+i) || v.Fields["ORDER_STATUS"] != "kept" {
			t.Fatalf("version %d: got %v", i, v.Fields)
		}
	}
}

// What people do is asked for over HTTP too, and refused where it cannot be done.
func TestPeopleOverHTTP(t *testing.T) {
	s := New(Options{Key: key})
	s.Subscribe("a@x.example", "Newsletter", 1)
	s.Subscribe("b@x.example", "Gold", 1)
	for _, c := range []struct {
		act  string
		code int
		want func() bool
	}{
		{`{"do":"unsubscribe","email":"a@x.example","name":"newsletter"}`, 200, func() bool { c, _ := s.Contact("a@x.example"); return c.Lists["Newsletter"] == 2 }},
		{`{"do":"tag","email":"a@x.example","name":"vip"}`, 200, func() bool { c, _ := s.Contact("a@x.example"); return len(c.Tags) == 1 }},
		{`{"do":"set","email":"a@x.example","name":"city","value":"Rome"}`, 200, func() bool { c, _ := s.Contact("a@x.example"); return c.Fields["CITY"] == "Rome" }},
		{`{"do":"merge","email":"a@x.example","into":"b@x.example"}`, 200, func() bool {
			c, _ := s.Contact("b@x.example")
			return len(s.Contacts()) == 1 && len(c.Tags) == 1 && c.Fields["CITY"] == "Rome" && len(c.Lists) == 2
		}},
		{`{"do":"rename","email":"b@x.example","into":"c@x.example"}`, 200, func() bool { _, there := s.Contact("c@x.example"); return there }},
		{`{"do":"bounce","email":"c@x.example"}`, 200, func() bool { c, _ := s.Contact("c@x.example"); return c.Bounced && c.Lists["Gold"] == 3 }},
		{`{"do":"delete","email":"c@x.example"}`, 200, func() bool { return len(s.Contacts()) == 0 }},
		{`{"do":"delete","email":"c@x.example"}`, 422, nil},
		{`{"do":"dance","email":"c@x.example"}`, 422, nil},
		{`{"done":"x"}`, 400, nil},
	} {
		if code, _, out := ask(t, s.Handler(), "POST", "/_simulator/people", c.act); code != c.code || c.want != nil && !c.want() {
			t.Errorf("%s: got %d %v", c.act, code, out)
		}
	}
}

// The window counts what a plain list of times would.
func TestWindowCountsASecond(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(0, 8).Draw(t, "limit")
		w := window{limit: limit}
		now, most := noon, 0
		var arrived, accepted []time.Time
		within := func(list []time.Time) (n int) {
			for _, at := range list {
				if at.After(now.Add(-time.Second)) {
					n++
				}
			}
			return n
		}
		for range rapid.IntRange(1, 60).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.IntRange(0, 400).Draw(t, "ms")) * time.Millisecond)
			want := limit == 0 || within(accepted) < limit
			arrived = append(arrived, now)
			most = max(most, within(arrived))
			left, wait, ok := w.take(now)
			if ok != want || w.max != most {
				t.Fatalf("at %s: got %v and a most of %d, want %v and %d", now, ok, w.max, want, most)
			}
			if ok {
				accepted = append(accepted, now)
			}
			if limit > 0 && ok && left != limit-within(accepted) || !ok && (wait <= 0 || wait > time.Second) {
				t.Fatalf("got %d left and a wait of %s", left, wait)
			}
		}
	})
}

// A client that leaves while an answer drips ends it.
func TestDripEndsWithItsClient(t *testing.T) {
	s := New(Options{Key: key, Faults: Faults{Drip: 1}})
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/api/3/fields", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Api-Token", key)
	if resp, err := http.DefaultClient.Do(req); err == nil {
		if _, err = io.Copy(io.Discard, resp.Body); err == nil {
			t.Error("the answer came whole")
		}
		resp.Body.Close()
	}
}
