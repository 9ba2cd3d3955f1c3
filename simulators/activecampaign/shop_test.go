package activecampaign

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseMutation(t *testing.T) {
	variables := map[string]any{"orders": []any{map[string]any{"storeOrderId": "1"}}}
	for _, c := range []struct {
		name, query string
		want        any // the argument "a"; nil: refused
	}{
		{
			"inlined", `mutation { f(a: [{id: "1", n: 4, x: 20.00, s: ACTIVE, t: true, none: null, in: {l: [1, -2]}}]) { recordId } }`,
			[]any{map[string]any{"id": "1", "n": 4.0, "x": 20.0, "s": enum("ACTIVE"), "t": true, "none": nil, "in": map[string]any{"l": []any{1.0, -2.0}}}},
		},
		{"variables", `mutation f($orders: [OrderInput]) { f(a: $orders) { recordId } }`, variables["orders"]},
		{"escapes", `mutation { f(a: "q\" \\ \u00e4\n}])") { recordId } }`, "q\" \\ \u00e4\n}])"},
		{"commas are blanks", `mutation{f(a:[1 2,3]){recordId}}`, []any{1.0, 2.0, 3.0}},
		{"a query", `query { f(a: 1) { recordId } }`, nil},
		{"a variable that is not given", `mutation { f(a: $x) { recordId } }`, nil},
		{"a string without end", `mutation { f(a: "1) { recordId } }`, nil},
		{"a list without end", `mutation { f(a: [1`, nil},
		{"no selection", `mutation { f(a: 1) }`, nil},
		{"something after it", `mutation { f(a: 1) { recordId } } x`, nil},
		{"a word that is no enum", `mutation { f(a: active) { recordId } }`, nil},
		{"too deep", `mutation { f(a: ` + strings.Repeat("[", 30) + strings.Repeat("]", 30) + `) { recordId } }`, nil},
		{"nothing", ``, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := parseMutation(c.query, variables)
			if (err == nil) != (c.want != nil) {
				t.Fatalf("got %v, %v", m, err)
			}
			if d := cmp.Diff(m.arguments["a"], c.want); err == nil && (d != "" || m.field != "f") {
				t.Errorf("field %q, argument, got - want:\n%s", m.field, d)
			}
		})
	}
}

func FuzzParseMutation(f *testing.F) {
	f.Add(`mutation { f(a: [{id: "1", n: 4.5, s: ACTIVE}]) { recordId } }`)
	f.Add(`mutation f($orders: [OrderInput]) { f(a: $orders) { recordId } }`)
	f.Fuzz(func(t *testing.T, query string) {
		if m, err := parseMutation(query, nil); err == nil && m.arguments == nil {
			t.Error("neither an error nor arguments")
		}
	})
}

const shop = `{"connection":{"service":"s","externalid":"shop","name":"Shop","logoUrl":"https://x.example/l","linkUrl":"https://x.example"}}`

// write sends one mutation and returns what it says of failures.
func write(t *testing.T, h http.Handler, query string) string {
	t.Helper()
	body, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		t.Fatal(err)
	}
	code, _, out := ask(t, h, "POST", "/api/3/ecom/graphql", string(body))
	if code != http.StatusOK {
		t.Fatalf("got %d %v", code, out)
	}
	if out["errors"] == nil {
		return ""
	}
	b, err := json.Marshal(out["errors"])
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const goodOrder = `legacyConnectionId: 1, storeOrderId: "A", email: "a@x.example", orderNumber: "1", creationSource: REAL_TIME, finalAmount: 20.00, currency: "usd", storeCreatedDate: "2026-01-31T10:00:00Z"`

func TestShop(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	s := New(Options{Key: key, OrderCopyAfter: 3 * time.Second, Now: func() time.Time { return now }})
	h := s.Handler()
	for _, want := range []int{http.StatusOK, http.StatusUnprocessableEntity} { // the second is one too many
		if code, _, out := ask(t, h, "POST", "/api/3/connections", shop); code != want {
			t.Fatalf("got %d %v, want %d", code, out, want)
		}
	}
	if _, _, out := ask(t, h, "GET", "/api/3/connections?filters[service]=s&filters[externalid]=shop", ""); len(out["connections"].([]any)) != 1 {
		t.Errorf("got %v, want one connection", out)
	}
	upsert := func(fields string) string {
		return `mutation { bulkUpsertOrdersAsync(orders: [{` + fields + `}]) { recordId } }`
	}
	for _, c := range []struct{ from, to, want string }{
		{"legacyConnectionId: 1", "legacyConnectionId: 9", "names no connection"},
		{`storeOrderId: "A"`, `storeOrderId: ""`, "storeOrderId is required"},
		{"a@x.example", "a", "email is not valid"},
		{"finalAmount: 20.00, ", "", "finalAmount is required"},
		{"REAL_TIME", "NOW", "creationSource is required"},
		{`storeCreatedDate: "2026-01-31T10:00:00Z"`, `storeCreatedDate: "today"`, "storeCreatedDate is required"},
		{`orderNumber: "1", `, "", "orderNumber and currency are required"},
		{`currency: "usd"`, `currency: "usd", normalizedStatus: PAID`, "normalizedStatus is unknown"},
	} {
		if got := write(t, h, upsert(strings.Replace(goodOrder, c.from, c.to, 1))); !strings.Contains(got, "Validation errors") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %s, want %s", c.to, got, c.want)
		}
	}
	if got := write(t, h, `mutation { deleteOrders(orders: [1]) { recordId } }`); !strings.Contains(got, "Cannot query field") {
		t.Errorf("got %s", got)
	}
	if len(s.Orders()) != 0 || len(s.Contacts()) > 1 {
		t.Fatalf("what was refused was written: %v", s.Orders())
	}
	if got := write(t, h, upsert(goodOrder)); got != "" {
		t.Fatal(got)
	}
	copied := func() int {
		_, _, out := ask(t, h, "GET", "/api/3/ecomOrders?filters[connectionid]=1&filters[externalid]=A", "")
		return len(out["ecomOrders"].([]any))
	}
	if n := copied(); n != 0 {
		t.Errorf("got %d orders in the copy at once, want it to follow", n)
	}
	now = now.Add(3 * time.Second)
	if n := copied(); n != 1 {
		t.Errorf("got %d orders in the copy, want 1", n)
	}
	// One good record among bad ones is written all the same.
	if got := write(t, h, `mutation { bulkUpsertRecurringPayments(recurringPayments: [{legacyConnectionId: 1, storeRecurringPaymentId: "I", email: "a@x.example", paymentAmount: 9, suppressAutomations: true}, {legacyConnectionId: 1}]) { recordId } }`); !strings.Contains(got, "recurringPayment-storeRecurringPaymentId-") {
		t.Errorf("got %s", got)
	}
	want := []RecurringPayment{{Shop: "shop", ID: "I", Email: "a@x.example", Amount: 9, Silent: true, Writes: 1}}
	if d := cmp.Diff(s.RecurringPayments(), want); d != "" {
		t.Errorf("recurring payments, got - want:\n%s", d)
	}
}

func TestAutomationsSendMessages(t *testing.T) {
	s := New(Options{Key: key, Automations: 25, Lists: 25})
	h := s.Handler()
	ask(t, h, "POST", "/api/3/contact/sync", `{"contact":{"email":"a@x.example","fieldValues":[{"field":"66","value":"P"}]}}`)
	for _, automation := range []string{"3", "4", "3"} {
		if code, _, _ := ask(t, h, "POST", "/api/3/contactAutomations", `{"contactAutomation":{"contact":1,"automation":`+automation+`}}`); code != 201 {
			t.Errorf("automation %s: got %d", automation, code)
		}
	}
	if got := s.Messages(); len(got) != 2 || got[0].Subject != "Your payment is open" || got[0].Fields["ORDER_STATUS"] != "P" {
		t.Errorf("got %+v, want two messages with the contact's fields", got)
	}
	if got := s.Enrolments(); len(got) != 3 || got[1].Automation != "Score up" || got[1].Email != "a@x.example" {
		t.Errorf("got %+v", got)
	}
	_, _, counts := ask(t, h, "GET", "/api/3/contacts/1/automationEntryCounts", "")
	if b, _ := json.Marshal(counts); !strings.Contains(string(b), `"contactEntryCount":"2"`) {
		t.Errorf("got %s", b)
	}
	for _, path := range []string{"automations", "lists"} {
		if _, _, page := ask(t, h, "GET", "/api/3/"+path, ""); len(page[path].([]any)) != 20 || page["meta"].(map[string]any)["total"] != "25" {
			t.Errorf("%s: got a page of %d and %v", path, len(page[path].([]any)), page["meta"])
		}
	}
}

// Somebody who bounced is not made active by a subscription either.
func TestSubscriptionKeepsLeavers(t *testing.T) {
	for status := range 4 {
		s := New(Options{Key: key})
		s.Subscribe("a@x.example", "newsletter", status)
		ask(t, s.Handler(), "POST", "/api/3/contactLists", `{"contactList":{"list":2,"contact":1,"status":1}}`)
		want := 1
		if status >= 2 {
			want = status
		}
		if got := s.Contacts()[0].Lists["Newsletter"]; got != want {
			t.Errorf("status %d became %d, want %d", status, got, want)
		}
	}
}
