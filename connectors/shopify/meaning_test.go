package shopify

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

func one(t *testing.T, topic, body string) schemas.OrderEvent {
	t.Helper()
	events, err := Connector.Normalize(delivery(topic, body))
	if err != nil || len(events) != 1 {
		t.Fatalf("%s: got %d records, %v, want one", body, len(events), err)
	}
	return events[0]
}

func order(members string) string {
	return `{"id":450789469,"updated_at":"2026-03-01T07:00:00-05:00","currency":"EUR","total_price":"10.00",` + members + `}`
}

func transaction(kind, status, more string) string {
	return fmt.Sprintf(`{"id":389404469,"order_id":450789469,"kind":%q,"status":%q,"amount":"4.00","currency":"EUR","processed_at":"2026-03-01T07:00:00-05:00"%s}`, kind, status, more)
}

// TestStatus is the mapping, row by row.
func TestStatus(t *testing.T) {
	const cancelled = `"cancelled_at":"2026-03-01T07:00:00-05:00","financial_status":`
	left := `,"total_unsettled_set":{"shop_money":{"amount":"6.0","currency":"EUR"}}`
	dispute := func(status string) string {
		return fmt.Sprintf(`{"id":1,"order_id":450789469,"amount":"10.00","currency":"EUR","status":%s,"initiated_at":"2026-03-01T07:00:00-05:00"}`, status)
	}
	for _, c := range []struct {
		name, topic, body string
		kind              schemas.EventKind
		status            schemas.PaymentStatus
		raw               string
	}{
		{"pending", topicUpdated, order(`"financial_status":"pending"`), "ORDER", "PENDING", "pending"},
		{"authorized", topicUpdated, order(`"financial_status":"authorized"`), "ORDER", "AUTHORIZED", "authorized"},
		{"partially paid", topicUpdated, order(`"financial_status":"partially_paid"`), "ORDER", "PARTIALLY_PAID", "partially_paid"},
		{"paid", "orders/paid", order(`"financial_status":"paid"`), "ORDER", "PAID", "paid"},
		{"partially refunded", topicUpdated, order(`"financial_status":"partially_refunded"`), "ORDER", "PARTIALLY_REFUNDED", "partially_refunded"},
		{"refunded", topicUpdated, order(`"financial_status":"refunded"`), "ORDER", "REFUNDED", "refunded"},
		{"voided", topicUpdated, order(`"financial_status":"voided"`), "ORDER", "VOIDED", "voided"},
		{"expired", topicUpdated, order(`"financial_status":"expired"`), "ORDER", "EXPIRED", "expired"},
		{"null", "orders/create", order(`"financial_status":null`), "ORDER", "UNKNOWN", ""},
		{"a new word", topicUpdated, order(`"financial_status":"barter"`), "ORDER", "UNKNOWN", "barter"},
		{"fulfilment says nothing of money", "orders/fulfilled", order(`"financial_status":"pending","fulfillment_status":"fulfilled"`), "ORDER", "PENDING", "pending"},

		{"pending, cancelled", "orders/cancelled", order(cancelled + `"pending"`), "ORDER", "CANCELLED", "pending"},
		{"authorized, cancelled", "orders/cancelled", order(cancelled + `"authorized"`), "ORDER", "CANCELLED", "authorized"},
		{"expired, cancelled", "orders/cancelled", order(cancelled + `"expired"`), "ORDER", "CANCELLED", "expired"},
		{"paid, cancelled", "orders/cancelled", order(cancelled + `"paid"`), "ORDER", "PAID", "paid"},
		{"partially paid, cancelled", "orders/cancelled", order(cancelled + `"partially_paid"`), "ORDER", "PARTIALLY_PAID", "partially_paid"},
		{"voided, cancelled", "orders/cancelled", order(cancelled + `"voided"`), "ORDER", "VOIDED", "voided"},
		{"refunded, cancelled", "orders/cancelled", order(cancelled + `"refunded"`), "ORDER", "REFUNDED", "refunded"},
		{"unknown, cancelled", "orders/cancelled", order(cancelled + `null`), "ORDER", "UNKNOWN", ""},

		{"authorization", topicTransaction, transaction("authorization", "success", left), "PAYMENT", "AUTHORIZED", "success"},
		{"sale", topicTransaction, transaction("sale", "success", ""), "PAYMENT", "PAID", "success"},
		{"capture of all", topicTransaction, transaction("capture", "success", `,"total_unsettled_set":{"shop_money":{"amount":"0.00","currency":"EUR"}}`), "PAYMENT", "PAID", "success"},
		{"capture of a part", topicTransaction, transaction("capture", "success", left), "PAYMENT", "PARTIALLY_PAID", "success"},
		{"void", topicTransaction, transaction("void", "success", ""), "PAYMENT", "VOIDED", "success"},
		{"refund", topicTransaction, transaction("refund", "success", left), "REFUND", "REFUNDED", "success"},
		{"failure", topicTransaction, transaction("sale", "failure", ""), "PAYMENT", "FAILED", "failure"},
		{"error", topicTransaction, transaction("capture", "error", ""), "PAYMENT", "FAILED", "error"},
		{"refund that failed", topicTransaction, transaction("refund", "failure", ""), "REFUND", "FAILED", "failure"},
		{"pending payment", topicTransaction, transaction("sale", "pending", ""), "PAYMENT", "PENDING", "pending"},
		{"a new kind", topicTransaction, transaction("barter", "success", ""), "PAYMENT", "UNKNOWN", "success"},
		{"a new transaction status", topicTransaction, transaction("sale", "maybe", ""), "PAYMENT", "UNKNOWN", "maybe"},

		{"dispute opened", "disputes/create", dispute(`"needs_response"`), "DISPUTE", "DISPUTED", "needs_response"},
		{"dispute opened without a word", "disputes/create", dispute(`null`), "DISPUTE", "DISPUTED", ""},
		{"under review", "disputes/update", dispute(`"under_review"`), "DISPUTE", "DISPUTED", "under_review"},
		{"won: as it was before", "disputes/update", dispute(`"won"`), "DISPUTE", "UNKNOWN", "won"},
		{"lost", "disputes/update", dispute(`"lost"`), "DISPUTE", "CHARGED_BACK", "lost"},
		{"accepted", "disputes/update", dispute(`"accepted"`), "DISPUTE", "CHARGED_BACK", "accepted"},
		{"refunded to end it", "disputes/update", dispute(`"charge_refunded"`), "DISPUTE", "REFUNDED", "charge_refunded"},
		{"a new dispute status", "disputes/update", dispute(`"pondering"`), "DISPUTE", "UNKNOWN", "pondering"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := one(t, c.topic, c.body)
			if e.Kind != c.kind || e.Status != c.status || e.ProviderStatus != c.raw || e.RootID != "450789469" {
				t.Errorf("got %s %s %q under %s, want %s %s %q under the order", e.Kind, e.Status, e.ProviderStatus, e.RootID, c.kind, c.status, c.raw)
			}
		})
	}
}

// TestTimes: the version is the body's own time in UTC; only without one it is Shopify's, and only then ours.
func TestTimes(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, topic, body, triggered string
		want                         time.Time
	}{
		{"shop's zone", topicUpdated, order(`"financial_status":"paid"`), "", noon},
		{"negative zero", topicUpdated, `{"id":1,"updated_at":"2026-03-01T12:00:00-00:00","financial_status":"paid"}`, "", noon},
		{"UTC with fractions", topicUpdated, `{"id":1,"updated_at":"2026-03-01T12:00:00.1234Z","financial_status":"paid"}`, "", noon.Add(123 * time.Millisecond)},
		{"body before header", topicUpdated, order(`"financial_status":"paid"`), "2026-03-05T00:00:00Z", noon},
		{"no time in the body", topicUpdated, `{"id":1,"financial_status":"paid"}`, "2026-03-01T12:00:00.000000Z", noon},
		{"no time at all", topicUpdated, `{"id":1,"financial_status":"paid"}`, "", received},
		{"deletion", topicDelete, `{"id":1}`, "2026-03-01T12:00:00Z", noon},
		{"transaction without processed_at", topicTransaction, `{"id":1,"order_id":2,"kind":"sale","status":"success","processed_at":null,"created_at":"2026-03-01T12:00:00Z"}`, "", noon},
		{"dispute's days", "disputes/update", `{"id":1,"status":"won","initiated_at":"2026-02-01T12:00:00Z","evidence_sent_on":"2026-02-20","finalized_on":"2026-02-28"}`, "2026-03-01T12:00:00Z", noon},
		{"a day alone", "disputes/update", `{"id":1,"status":"won","initiated_at":"2026-02-01T12:00:00Z","finalized_on":"2026-03-01"}`, "", noon.Add(-12 * time.Hour)},
		{"dispute's newest", "disputes/update", `{"id":1,"status":"won","initiated_at":"2026-02-01T12:00:00Z","finalized_on":"2026-03-01T12:00:00Z"}`, "2026-02-20T12:00:00Z", noon},
	} {
		d := delivery(c.topic, c.body)
		if c.triggered != "" {
			d.Headers[headerTriggered] = c.triggered
		}
		events, err := normalize(d)
		if err != nil || len(events) != 1 || !events[0].ProviderTime.Equal(c.want) || events[0].ProviderTime.Location() != time.UTC {
			t.Errorf("%s: got %v, %v, want %s", c.name, events, err, c.want)
		}
	}
}

// TestOneVersionOneEvent: a webhook, its retry and the same version listed are one event, whatever the order of members;
// another version or topic is another.
func TestOneVersionOneEvent(t *testing.T) {
	a := one(t, topicUpdated, `{"id":820982911946154508,"updated_at":"2026-03-01T12:00:00Z","financial_status":"paid","tags":"\u0061"}`)
	b := one(t, topicUpdated, `{ "tags": "a", "financial_status": "paid", "updated_at": "2026-03-01T12:00:00Z", "id": 820982911946154508 }`)
	if a.EventID != b.EventID || a.Fingerprint != b.Fingerprint || a.BodyHash == b.BodyHash {
		t.Errorf("got %s and %s, want one event of two texts", a.EventID, b.EventID)
	}
	if a.RootID != "820982911946154508" {
		t.Errorf("got root %s, want the digits of the body", a.RootID)
	}
	d := delivery(topicUpdated, string(a.Body))
	d.ID, d.ReceivedAt, d.Origin = "", received.Add(time.Hour), schemas.OriginPoll
	events, err := normalize(d)
	if err != nil || events[0].EventID != a.EventID || events[0].Fingerprint != a.Fingerprint || len(events[0].DeliveryIDs) != 0 {
		t.Errorf("listed: got %+v, %v, want the same event without a delivery id", events, err)
	}
	for _, other := range []schemas.OrderEvent{
		one(t, "orders/paid", string(a.Body)),
		one(t, topicUpdated, `{"id":820982911946154508,"updated_at":"2026-03-01T12:00:00Z","financial_status":"paid","tags":"b"}`),
		one(t, topicUpdated, `{"id":820982911946154509,"updated_at":"2026-03-01T12:00:00Z","financial_status":"paid","tags":"a"}`),
	} {
		if other.EventID == a.EventID {
			t.Errorf("got %s for another event too", other.EventID)
		}
	}
}

// TestRefunds: a refund is told by its transactions, each under its own id, so that the notice of the transaction and
// that of the refund are one.
func TestRefunds(t *testing.T) {
	refund := func(transactions string) string {
		return `{"id":7,"order_id":450789469,"created_at":"2026-03-01T12:00:00Z","processed_at":"2026-03-01T12:00:01Z","note":"torn","transactions":[` + transactions + `]}`
	}
	const first, second = `{"id":8,"order_id":450789469,"kind":"refund","status":"success","amount":"4.00","currency":"EUR","parent_id":5}`, `{"id":9,"kind":"refund","status":"pending","amount":"1.00","currency":"EUR","parent_id":6,"processed_at":"2026-03-02T12:00:00Z"}`
	events, err := normalize(delivery(topicRefund, refund(first+","+second)))
	if err != nil || len(events) != 2 {
		t.Fatalf("got %d records, %v, want one for each transaction", len(events), err)
	}
	for i, want := range []schemas.OrderEvent{
		{
			Kind: "REFUND", EntityID: "8", Status: "REFUNDED", ProviderTime: time.Date(2026, 3, 1, 12, 0, 1, 0, time.UTC),
			Amount: &schemas.Amount{Value: "4.00", Currency: "EUR"}, DeliveryIDs: []string{delivery(topicRefund, "").ID},
			Links: []schemas.Link{{Relation: "ORDER", ID: "450789469"}, {Relation: "CAPTURE", ID: "5"}},
		},
		{
			Kind: "REFUND", EntityID: "9", Status: "PENDING", ProviderTime: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC),
			Amount: &schemas.Amount{Value: "1.00", Currency: "EUR"}, DeliveryIDs: []string{},
			Links: []schemas.Link{{Relation: "ORDER", ID: "450789469"}, {Relation: "CAPTURE", ID: "6"}},
		},
	} {
		e := events[i]
		got := schemas.OrderEvent{Kind: e.Kind, EntityID: e.EntityID, Status: e.Status, ProviderTime: e.ProviderTime, Amount: e.Amount, DeliveryIDs: e.DeliveryIDs, Links: e.Links}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("transaction %d, -got +want:\n%s", i, diff)
		}
		if e.RootID != "450789469" || e.Fields["refund.id"] != "7" || e.Fields["refund.note"] != "torn" {
			t.Errorf("transaction %d: got root %s, fields %v", i, e.RootID, e.Fields)
		}
	}
	if events[0].EventID == events[1].EventID {
		t.Error("both transactions have one event id")
	}
	if e := one(t, topicRefund, refund("")); e.Kind != schemas.KindOther || e.RootID != "450789469" || e.Amount != nil {
		t.Errorf("goods put back: got %s %s %v, want an event without effect", e.Kind, e.RootID, e.Amount)
	}
}

// TestRefundedTotal: what the order itself says was given back.
func TestRefundedTotal(t *testing.T) {
	part := func(kind, status, amount, currency string) string {
		return fmt.Sprintf(`{"transactions":[{"id":1,"kind":%q,"status":%q,"amount":%q,"currency":%q}]}`, kind, status, amount, currency)
	}
	for _, c := range []struct{ name, members, want string }{
		{"refunds are left out of the body", `"financial_status":"paid"`, "-"},
		{"none", `"financial_status":"paid","refunds":[]`, "0.00"},
		{"two", `"financial_status":"partially_refunded","refunds":[` + part("refund", "success", "0.1", "EUR") + `,` + part("refund", "success", "0.20", "EUR") + `]`, "0.30"},
		{"failed and pending ones are none", `"financial_status":"paid","refunds":[` + part("refund", "failure", "4", "EUR") + `,` + part("refund", "pending", "4", "EUR") + `]`, "0.00"},
		{"a void is none", `"financial_status":"voided","refunds":[` + part("void", "success", "4", "EUR") + `]`, "0.00"},
		{"a part in the customer's currency", `"financial_status":"partially_refunded","refunds":[` + part("refund", "success", "4", "CAD") + `]`, "-"},
		{"all in the customer's currency", `"financial_status":"refunded","refunds":[` + part("refund", "success", "15.1", "CAD") + `]`, "10.00"},
	} {
		got := "-"
		if a := one(t, topicUpdated, order(c.members)).RefundedTotal; a != nil {
			got = a.Value
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	yen := one(t, topicUpdated, `{"id":1,"updated_at":"2026-03-01T12:00:00Z","financial_status":"refunded","currency":"JPY","total_price":"500","refunds":[`+part("refund", "success", "500", "JPY")+`]}`)
	if yen.RefundedTotal.Value != "500" || yen.Amount.Value != "500" {
		t.Errorf("got %v of %v yen, want no decimals", yen.RefundedTotal, yen.Amount)
	}
}

// TestNotUnderstood: what is no order, refund, transaction or dispute is refused with the member's name.
func TestNotUnderstood(t *testing.T) {
	for _, c := range []struct{ topic, body, want string }{
		{topicUpdated, `{"id":1}`, "financial_status: missing"},
		{topicUpdated, `{"financial_status":"paid"}`, "id: missing"},
		{topicUpdated, `{"id":8.2e17,"financial_status":"paid"}`, "id: "},
		{topicUpdated, `{"id":-1,"financial_status":"paid"}`, "id: "},
		{topicUpdated, `{"id":1,"financial_status":"paid","updated_at":"yesterday"}`, "updated_at: "},
		{topicUpdated, `{"id":1,"financial_status":"paid","updated_at":5}`, "updated_at: "},
		{topicUpdated, `{"id":1,"financial_status":"paid","total_price":"ten","currency":"EUR"}`, "total_price: "},
		{topicUpdated, `{"id":1,"financial_status":"paid","total_price":"1e3","currency":"EUR"}`, "total_price: "},
		{topicUpdated, `{"id":1,"financial_status":"paid","total_price":"10.00"}`, "total_price: "},
		{topicUpdated, `{"id":1,"financial_status":"paid","total_price":"10","currency":"EUR","total_tax":{}}`, "total_tax: "},
		{topicUpdated, `{"id":1,"id":2,"financial_status":"paid"}`, "repeated"},
		{topicUpdated, `[]`, "not a JSON object"},
		{topicDelete, `{}`, "empty"},
		{topicDelete, `{"id":"x"}`, "id: "},
		{topicRefund, `{"id":1}`, "order_id: missing"},
		{topicRefund, `{"id":1,"order_id":2,"transactions":[{"id":3,"kind":"refund","amount":"x","currency":"EUR"}]}`, "transactions[0].amount: "},
		{topicTransaction, `{"id":1,"order_id":2}`, "kind: missing"},
		{topicTransaction, `{"id":1,"kind":"sale"}`, "order_id: missing"},
		{"disputes/create", `{"order_id":1}`, "id: missing"},
		{"disputes/create", `{"id":1,"finalized_on":"soon"}`, "finalized_on: "},
		{"", `{"id":1}`, headerTopic},
		{"orders/../x", `{"id":1}`, headerTopic},
		{topicUpdated, `{"id":"gid://shopify/Order/1"}`, "displayFinancialStatus: missing"},
		{topicUpdated, `{"id":"gid://shopify/Order/x","displayFinancialStatus":"PAID"}`, "id: "},
	} {
		if events, err := normalize(delivery(c.topic, c.body)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: got %d records, %v, want an error with %q", c.topic, c.body, len(events), err, c.want)
		}
	}
}

// TestTopicIsNotSigned: whoever replays an order's body under another topic makes neither a deletion nor a removed app.
func TestTopicIsNotSigned(t *testing.T) {
	body := order(`"financial_status":"paid"`)
	if e := one(t, topicDelete, body); e.Deleted || e.Status != schemas.StatusPaid {
		t.Errorf("got deleted %t, %s, want the order that it is", e.Deleted, e.Status)
	}
	if e := one(t, topicUninstalled, body); e.Kind != schemas.KindOther {
		t.Errorf("got %s, want an event without effect", e.Kind)
	}
}

// TestFieldsInCatalogue: whatever a body says, its fields are in the catalogue and bounded.
func TestFieldsInCatalogue(t *testing.T) {
	known := map[string]bool{}
	for _, f := range catalogue {
		known[f.Name] = true
	}
	files, _ := filepath.Glob("testdata/*.txtar")
	seen := map[string]bool{}
	for _, file := range files {
		d := golden(t, file)
		events, _ := normalize(d)
		for _, e := range events {
			for name, value := range e.Fields {
				seen[name] = true
				if !known[name] || len(value) > connectors.FieldBytesMax {
					t.Errorf("%s: field %s of %d bytes is unknown or too long", file, name, len(value))
				}
			}
		}
	}
	if len(seen) < 40 {
		t.Errorf("samples fill %d fields, want at least 40: %v", len(seen), slices.Sorted(maps.Keys(seen)))
	}
	long := strings.Repeat("ä", 4000)
	e := one(t, topicUpdated, order(`"financial_status":"paid","note":"`+long+`","tags":"`+long+`","email":"`+long+`","line_items":[`+strings.Repeat(`{"name":"`+long+`","sku":"`+long+`","quantity":1},`, 50)+`{}]`))
	size := 0
	for name, value := range e.Fields {
		size += len(name) + len(value)
		if len(value) > connectors.FieldBytesMax || !known[name] {
			t.Errorf("field %s has %d bytes", name, len(value))
		}
	}
	if size > connectors.FieldsBytesTotal || e.Payer != nil {
		t.Errorf("got %d bytes of fields, payer %v, want at most %d and no half of an address", size, e.Payer, connectors.FieldsBytesTotal)
	}
}

// TestNodeIsOrder: the same version of a whole order, as GraphQL and as REST has it, is the same record but for what
// GraphQL was not asked for.
func TestNodeIsOrder(t *testing.T) {
	rest := golden(t, "testdata/order-partially-refunded.txtar")
	node := golden(t, "testdata/node-partially-refunded.txtar")
	want := one(t, topicUpdated, string(rest.Body))
	got := one(t, topicUpdated, string(node.Body))
	got.EventID, got.Fingerprint, got.Body, got.BodyHash = want.EventID, want.Fingerprint, want.Body, want.BodyHash
	delete(want.Fields, "customer.accepts_marketing")
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("-GraphQL +REST:\n%s", diff)
	}
}

// TestNodePayments: what was received is told with the order where the order alone does not say how much, and nowhere else.
func TestNodePayments(t *testing.T) {
	tx := func(id int, kind, status, amount string) string {
		return fmt.Sprintf(`{"id":"gid://shopify/OrderTransaction/%d","kind":%q,"status":%q,"processedAt":"2026-03-01T12:00:00Z","amountSet":{"shopMoney":{"amount":%q,"currencyCode":"EUR"}}}`, id, kind, status, amount)
	}
	for _, c := range []struct {
		name, status string
		transactions []string
		want         []string
	}{
		{"paid at once", "PAID", []string{tx(1, "SALE", "SUCCESS", "10.0")}, nil},
		{"paid after a failure", "PAID", []string{tx(1, "SALE", "FAILURE", "10.0"), tx(2, "SALE", "SUCCESS", "10.0")}, nil},
		{"paid in two parts", "PAID", []string{tx(1, "SALE", "SUCCESS", "4.0"), tx(2, "SALE", "SUCCESS", "6.0")}, []string{"1 PAID 4.00", "2 PAID 6.00"}},
		{"paid in part", "PARTIALLY_PAID", []string{tx(1, "SALE", "SUCCESS", "4.0")}, []string{"1 PAID 4.00"}},
		{"captured in part", "PARTIALLY_PAID", []string{tx(1, "AUTHORIZATION", "SUCCESS", "10.0"), strings.Replace(tx(2, "CAPTURE", "SUCCESS", "4.0"), "{", `{"totalUnsettledSet":{"shopMoney":{"amount":"6.0","currencyCode":"EUR"}},`, 1)}, []string{"2 PARTIALLY_PAID 4.00"}},
		{"refunded", "REFUNDED", []string{tx(1, "SALE", "SUCCESS", "10.0"), tx(2, "REFUND", "SUCCESS", "10.0")}, nil},
		{"more than are listed", "PAID", slices.Repeat([]string{tx(1, "SALE", "SUCCESS", "1.0")}, nodeListMax), nil},
	} {
		body := fmt.Sprintf(`{"id":"gid://shopify/Order/450789469","displayFinancialStatus":%q,"updatedAt":"2026-03-01T12:00:00Z","currencyCode":"EUR","transactions":[%s]}`, c.status, strings.Join(c.transactions, ","))
		events, err := normalize(delivery(topicUpdated, body))
		if err != nil || len(events) == 0 || events[0].Kind != schemas.KindOrder {
			t.Errorf("%s: got %d records, %v, want the order first", c.name, len(events), err)
			continue
		}
		var got []string
		for _, e := range events[1:] {
			got = append(got, fmt.Sprint(e.EntityID, " ", e.Status, " ", e.Amount.Value))
			if e.Kind != schemas.KindPayment || e.RootID != "450789469" || e.EventType != topicTransaction || len(e.DeliveryIDs) > 0 {
				t.Errorf("%s: got %s %s under %s, want a payment of the order", c.name, e.Kind, e.EventType, e.RootID)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// TestNodeItems: what is listed in part is not counted.
func TestNodeItems(t *testing.T) {
	for n, want := range map[int]string{1: "2", nodeListMax - 1: "18", nodeListMax: ""} {
		items := strings.Join(slices.Repeat([]string{`{"name":"Lamp","quantity":2}`}, n), ",")
		e := one(t, topicUpdated, `{"id":"gid://shopify/Order/1","displayFinancialStatus":"PAID","updatedAt":"2026-03-01T12:00:00Z","lineItems":{"nodes":[`+items+`]}}`)
		if got := e.Fields["order.item_quantity"]; got != want || e.Fields["order.items.1.name"] != "Lamp" {
			t.Errorf("%d items listed: got quantity %q, fields %v, want %q", n, got, e.Fields, want)
		}
	}
}
