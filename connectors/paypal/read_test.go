package paypal

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

func readAs(origin schemas.Origin, body string) connectors.Delivery {
	d := delivery(body)
	d.ID, d.Origin = "", origin
	return d
}

// TestReadObjects: an object without an event around it is told by its shape, and is given the type of the event that
// tells of its status.
func TestReadObjects(t *testing.T) {
	self := func(path, id string) string {
		return fmt.Sprintf(`"links":[{"rel":"self","href":"https://api.paypal.com/%s/%s"},{"rel":"up","href":"https://api.paypal.com/v2/payments/captures/C"}]`, path, id)
	}
	const at = `"update_time":"2026-11-02T08:00:00Z"`
	transaction := func(code, status, amount, rest string) string {
		return fmt.Sprintf(`{"transaction_info":{"transaction_id":"T","transaction_event_code":%q,"transaction_status":%q,"transaction_initiation_date":"2026-11-02T08:00:00+0000","transaction_amount":{"currency_code":"EUR","value":%q}%s}}`, code, status, amount, rest)
	}
	reference := func(id, typ string) string {
		return fmt.Sprintf(`,"paypal_reference_id":%q,"paypal_reference_id_type":%q`, id, typ)
	}
	for _, c := range []struct{ name, body, want string }{
		{"order approved", `{"id":"O","status":"APPROVED","purchase_units":[],` + at + `}`, "ORDER CHECKOUT.ORDER.APPROVED APPROVED O checkout-order-approved"},
		{"order that no event tells of", `{"id":"O","status":"CREATED","purchase_units":[],` + at + `}`, "ORDER CHECKOUT.ORDER.CREATED PENDING O checkout-order-approved"},
		{"subscription", `{"id":"I-1","plan_id":"P","status":"ACTIVE",` + at + `}`, "SUBSCRIPTION BILLING.SUBSCRIPTION.ACTIVATED ACTIVE I-1 billing-subscription"},
		{"subscription not approved", `{"id":"I-1","plan_id":"P","status":"APPROVAL_PENDING",` + at + `}`, "SUBSCRIPTION BILLING.SUBSCRIPTION.CREATED PENDING I-1 billing-subscription"},
		{"subscription cancelled, by its link", `{"id":"I-1","status":"CANCELLED",` + at + `,` + self("v1/billing/subscriptions", "I-1") + `}`, "SUBSCRIPTION BILLING.SUBSCRIPTION.CANCELLED CANCELLED I-1 billing-subscription"},
		{"capture by its link", `{"id":"X","status":"PENDING",` + at + `,` + self("v2/payments/captures", "X") + `}`, "PAYMENT PAYMENT.CAPTURE.PENDING PENDING C checkout-order-approved"},
		{"capture by its members", `{"id":"X","status":"REFUNDED","final_capture":true,` + at + `}`, "PAYMENT PAYMENT.CAPTURE.COMPLETED REFUNDED X checkout-order-approved"},
		{"authorization", `{"id":"X","status":"VOIDED",` + at + `,` + self("v2/payments/authorizations", "X") + `}`, "PAYMENT PAYMENT.AUTHORIZATION.VOIDED VOIDED C checkout-order-approved"},
		{"refund by its link", `{"id":"X","status":"COMPLETED",` + at + `,` + self("v2/payments/refunds", "X") + `}`, "REFUND PAYMENT.CAPTURE.REFUNDED REFUNDED C checkout-order-approved"},
		{"refund by its members", `{"id":"X","status":"COMPLETED","seller_payable_breakdown":{},` + at + `}`, "REFUND PAYMENT.CAPTURE.REFUNDED REFUNDED X checkout-order-approved"},
		{"refund of the old API", `{"id":"X","state":"completed","sale_id":"S",` + at + `}`, "REFUND PAYMENT.SALE.REFUNDED REFUNDED S billing-subscription"},
		{"sale", `{"id":"S","state":"completed","parent_payment":"PAY-1","payment_mode":"INSTANT_TRANSFER","billing_agreement_id":"I-1",` + at + `}`, "PAYMENT PAYMENT.SALE.COMPLETED PAID I-1 billing-subscription"},
		{"sale refunded in part, by its link", `{"id":"S","state":"partially_refunded",` + at + `,"links":[{"rel":"self","href":"https://api.paypal.com/v1/payments/sale/S"}]}`, "PAYMENT PAYMENT.SALE.COMPLETED PARTIALLY_REFUNDED S billing-subscription"},
		{"dispute", `{"dispute_id":"PP-1","status":"UNDER_REVIEW","disputed_transactions":[{"seller_transaction_id":"C"}],` + at + `}`, "DISPUTE CUSTOMER.DISPUTE.UPDATED DISPUTED C checkout-order-approved"},

		{"checkout", transaction("T0006", "S", "5.00", reference("O", "ODR")), "PAYMENT PAYMENT.CAPTURE.COMPLETED PAID O checkout-order-approved"},
		{"checkout pending", transaction("T0006", "P", "5.00", ""), "PAYMENT PAYMENT.CAPTURE.PENDING PENDING T checkout-order-approved"},
		{"card denied", transaction("T0005", "D", "5.00", ""), "PAYMENT PAYMENT.CAPTURE.DENIED FAILED T checkout-order-approved"},
		{"reversed", transaction("T0006", "V", "5.00", ""), "PAYMENT PAYMENT.CAPTURE.COMPLETED REFUNDED T checkout-order-approved"},
		{"a status of tomorrow", transaction("T0006", "Q", "5.00", ""), "PAYMENT PAYMENT.CAPTURE.PENDING UNKNOWN T checkout-order-approved"},
		{"subscription payment", transaction("T0002", "S", "5.0", reference("I-1", "SUB")), "PAYMENT PAYMENT.SALE.COMPLETED PAID I-1 billing-subscription"},
		{"subscription payment, preapproved", transaction("T0003", "S", "5.0", reference("I-1", "PAP")), "PAYMENT PAYMENT.SALE.COMPLETED PAID I-1 billing-subscription"},
		{"agreement of the old kind", transaction("T0003", "S", "5.0", reference("B-1", "PAP")), "PAYMENT PAYMENT.CAPTURE.COMPLETED PAID T checkout-order-approved"},
		{"capture of an authorization", transaction("T0006", "S", "5.0", reference("A", "TXN")), "PAYMENT PAYMENT.CAPTURE.COMPLETED PAID A checkout-order-approved"},
		{"refund", transaction("T1107", "S", "-5.00", reference("C", "TXN")), "REFUND PAYMENT.CAPTURE.REFUNDED REFUNDED C checkout-order-approved"},
		{"refund of a subscription's payment", transaction("T1107", "S", "-5.00", reference("I-1", "SUB")), "REFUND PAYMENT.SALE.REFUNDED REFUNDED I-1 billing-subscription"},
		{"refund pending", transaction("T1107", "P", "-5.00", reference("C", "TXN")), "REFUND PAYMENT.CAPTURE.REFUNDED PENDING C checkout-order-approved"},
		{"taken back by PayPal", transaction("T1106", "S", "-5.00", reference("C", "TXN")), "REFUND PAYMENT.CAPTURE.REVERSED CHARGED_BACK C checkout-order-approved"},
		{"taken back by the bank", transaction("T1201", "S", "-5.00", reference("C", "TXN")), "REFUND PAYMENT.CAPTURE.REVERSED CHARGED_BACK C checkout-order-approved"},
		{"withdrawal", transaction("T0400", "S", "-500.00", ""), "OTHER T0400 UNKNOWN T "},
		{"authorization in the list", transaction("T1300", "P", "5.00", ""), "OTHER T1300 UNKNOWN T "},
		{"money sent", transaction("T0000", "S", "-5.00", ""), "OTHER T0000 UNKNOWN T "},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, origin := range []schemas.Origin{schemas.OriginPoll, schemas.OriginBackfill, schemas.OriginReplay} {
				events, err := normalize(readAs(origin, c.body))
				if err != nil {
					t.Fatal(err)
				}
				e := events[0]
				if got := strings.Join([]string{string(e.Kind), e.EventType, string(e.Status), e.RootID, e.Resource}, " "); got != c.want {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
				if !strings.HasPrefix(e.EventID, e.EntityID+":") || e.Amount != nil && strings.HasPrefix(e.Amount.Value, "-") && e.Kind != schemas.KindOther {
					t.Errorf("got id %s, amount %+v", e.EventID, e.Amount)
				}
			}
			// A webhook brings events and nothing else: the id of an object is as easily changed as its content.
			if events, err := normalize(readAs(schemas.OriginWebhook, c.body)); err == nil {
				t.Errorf("by webhook: got %+v, want an error", events)
			}
		})
	}
}

// TestReadLinks: an id that a transaction refers to is linked as what it is said to be.
func TestReadLinks(t *testing.T) {
	for _, c := range []struct{ code, typ, want string }{
		{"T0006", "ODR", "ORDER X"},
		{"T0006", "TXN", "AUTHORIZATION X"},
		{"T1107", "TXN", "CAPTURE X"},
		{"T0002", "SUB", "SUBSCRIPTION X"},
		{"T0003", "PAP", ""},
		{"T0006", "", ""},
		{"T0006", "NEW", ""},
	} {
		events, err := normalize(readAs(schemas.OriginPoll, fmt.Sprintf(`{"transaction_info":{"transaction_id":"T","transaction_event_code":%q,"transaction_status":"S",
			"transaction_updated_date":"2026-11-02T08:00:00+0000","paypal_reference_id":"X","paypal_reference_id_type":%q}}`, c.code, c.typ)))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, l := range events[0].Links {
			got += string(l.Relation) + " " + l.ID
		}
		if got != c.want {
			t.Errorf("%s with %s: got %q, want %q", c.code, c.typ, got, c.want)
		}
	}
}

// TestReadID: what did not change is one event however often it is read; what changed is another.
func TestReadID(t *testing.T) {
	read := func(body string) schemas.OrderEvent {
		events, err := normalize(readAs(schemas.OriginPoll, body))
		if err != nil {
			t.Fatal(err)
		}
		return events[0]
	}
	first := read(`{"id":"I-1","plan_id":"P","status":"ACTIVE","update_time":"2026-11-02T08:00:00Z"}`)
	again := read(`{ "status":"ACTIVE", "id":"I-1","update_time":"2026-11-02T08:00:00Z", "plan_id":"P" }`)
	other := read(`{"id":"I-1","plan_id":"P","status":"SUSPENDED","update_time":"2026-11-02T08:00:00Z"}`)
	if first.EventID != again.EventID || first.Fingerprint != again.Fingerprint || first.EventID == other.EventID || first.Fingerprint == other.Fingerprint {
		t.Errorf("got %s, %s and %s", first.EventID, again.EventID, other.EventID)
	}
}

// TestReadRefused: an object that is none of PayPal's, or lacks what it cannot do without, is refused by the name of the field.
func TestReadRefused(t *testing.T) {
	for body, want := range map[string]string{
		`{"id":"X","status":"COMPLETED"}`:                                                                          "event_type: missing",
		`{"transaction_info":{"transaction_event_code":"T0006"}}`:                                                  "transaction_info.transaction_id: missing",
		`{"transaction_info":{"transaction_id":"T","transaction_event_code":"T0006"}}`:                             "create_time: missing",
		`{"transaction_info":{"transaction_id":"T","transaction_amount":{"value":"1e5"}}}`:                         "transaction_info.transaction_amount: ",
		`{"transaction_info":{"transaction_id":"T","transaction_updated_date":"now"}}`:                             "transaction_info.transaction_updated_date: ",
		`{"transaction_info":{"transaction_id":"T","paypal_reference_id_type":"ODR","paypal_reference_id":"a b"}}`: "order id",
		`{"purchase_units":[]}`:           "resource.id: missing",
		`{"id":"..","purchase_units":[]}`: "resource.id: ",
		`{"id":"O","purchase_units":[]}`:  "create_time: missing",
	} {
		if _, err := normalize(readAs(schemas.OriginPoll, body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", body, err, want)
		}
	}
	d := readAs(schemas.OriginPoll, `{"id":"S","status":"COMPLETED","amount_with_breakdown":{}}`)
	if _, err := normalize(d); err == nil {
		t.Error("a payment without its subscription's id: got no error")
	}
	d.Headers = map[string]string{headerSubscription: "a b"}
	if _, err := normalize(d); err == nil {
		t.Error("a payment with an id that is none: got no error")
	}
}

// TestFetch: the order or subscription is read, by way of the payment where the event names no other; what is gone is
// told from what could not be read.
func TestFetch(t *testing.T) {
	const at = `"update_time":"2026-11-02T08:00:00Z"`
	up := func(path string) string { return `"links":[{"rel":"up","href":"https://api.paypal.com` + path + `"}]` }
	byPath := map[string]string{
		"/v2/checkout/orders/O":              `{"id":"O","status":"COMPLETED","purchase_units":[{"payments":{"captures":[{"id":"C"},{"id":"X"}],"authorizations":[{"id":"A"}]}}],` + at + `}`,
		"/v2/payments/captures/C":            `{"id":"C","status":"COMPLETED","final_capture":true,` + at + `,` + up("/v2/checkout/orders/O") + `}`,
		"/v2/payments/captures/LONE":         `{"id":"LONE","status":"COMPLETED","final_capture":true,` + at + `}`,
		"/v2/payments/captures/GONE":         `{"id":"GONE","status":"COMPLETED","final_capture":true,` + at + `,` + up("/v2/checkout/orders/EXPIRED") + `}`,
		"/v2/payments/captures/STRAY":        `{"id":"STRAY","status":"COMPLETED","final_capture":true,` + at + `,` + up("/v2/checkout/orders/O") + `}`,
		"/v2/payments/authorizations/A":      `{"id":"A","status":"CREATED",` + at + `,"links":[{"rel":"self","href":"https://x/v2/payments/authorizations/A"},{"rel":"up","href":"https://x/v2/checkout/orders/O"}]}`,
		"/v1/payments/sale/S":                `{"id":"S","state":"completed","parent_payment":"P","billing_agreement_id":"I-1",` + at + `}`,
		"/v1/billing/subscriptions/I-1":      `{"id":"I-1","plan_id":"P","status":"ACTIVE",` + at + `}`,
		"/v2/checkout/orders/..%2Fcaptures":  `{}`,
		"/v2/payments/captures/EMPTY-ANSWER": ``,
	}
	link := func(rel schemas.LinkRelation, id string) []schemas.Link {
		return []schemas.Link{{Relation: rel, ID: id}}
	}
	for _, c := range []struct {
		name  string
		event schemas.OrderEvent
		want  string // what is read; empty: it is not there
		calls int    // besides the token
	}{
		{"order", schemas.OrderEvent{Kind: schemas.KindOrder, EntityID: "O"}, "O", 1},
		{"order that expired", schemas.OrderEvent{Kind: schemas.KindOrder, EntityID: "EXPIRED"}, "", 1},
		{"order with an id that is none", schemas.OrderEvent{Kind: schemas.KindOrder, EntityID: ".."}, "", 0},
		{"subscription", schemas.OrderEvent{Kind: schemas.KindSubscription, EntityID: "I-1"}, "I-1", 1},
		{"capture that names its order", schemas.OrderEvent{Kind: schemas.KindPayment, EntityID: "C", Links: link(schemas.LinkOrder, "O")}, "O", 1},
		{"capture", schemas.OrderEvent{Kind: schemas.KindPayment, EntityID: "C"}, "O", 2},
		{"capture without an order", schemas.OrderEvent{Kind: schemas.KindPayment, EntityID: "LONE"}, "LONE", 1},
		{"capture whose order is gone", schemas.OrderEvent{Kind: schemas.KindPayment, EntityID: "GONE"}, "GONE", 2},
		{"capture that its order does not hold", schemas.OrderEvent{Kind: schemas.KindPayment, EntityID: "STRAY"}, "STRAY", 2},
		{"capture of an authorization", schemas.OrderEvent{Kind: schemas.KindPayment, EntityID: "X", Links: link(schemas.LinkAuthorization, "A")}, "O", 2},
		{"sale", schemas.OrderEvent{Kind: schemas.KindPayment, EntityID: "S", EventType: "PAYMENT.SALE.COMPLETED"}, "S", 1},
		{"sale of a subscription", schemas.OrderEvent{Kind: schemas.KindPayment, EntityID: "S", Links: link(schemas.LinkSubscription, "I-1")}, "I-1", 1},
		{"listed payment that is a sale", schemas.OrderEvent{Kind: schemas.KindPayment, EntityID: "S"}, "S", 2},
		{"refund of a capture", schemas.OrderEvent{Kind: schemas.KindRefund, EntityID: "R", Links: link(schemas.LinkCapture, "C")}, "O", 2},
		{"refund of a sale", schemas.OrderEvent{Kind: schemas.KindRefund, EntityID: "R", Links: link(schemas.LinkSale, "S")}, "S", 1},
		{"dispute about a capture", schemas.OrderEvent{Kind: schemas.KindDispute, EntityID: "PP", Links: link(schemas.LinkCapture, "C")}, "O", 2},
		{"dispute about a sale", schemas.OrderEvent{Kind: schemas.KindDispute, EntityID: "PP", Links: link(schemas.LinkCapture, "S")}, "S", 2},
		{"dispute about nothing known", schemas.OrderEvent{Kind: schemas.KindDispute, EntityID: "PP", Links: link(schemas.LinkCapture, "N")}, "", 2},
		{"a plan", schemas.OrderEvent{Kind: schemas.KindOther, EntityID: "P-1"}, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := answers(byPath)
			s, _, _ := connected(t, a, &Config{})
			d, err := s.Fetch(t.Context(), &c.event)
			if got := a.calls("GET"); got != c.calls {
				t.Errorf("got %d requests, want %d: %v", got, c.calls, a.log)
			}
			if c.want == "" {
				if !isNotThere(err) {
					t.Errorf("got %v, want ErrNotThere", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			events, err := normalize(d)
			if err != nil || events[0].EntityID != c.want || d.Origin != schemas.OriginPoll || d.ID != "" || d.Connection != "shop" {
				t.Errorf("got %+v %v, want %s", events, err, c.want)
			}
		})
	}
	t.Run("the bytes are PayPal's", func(t *testing.T) {
		const odd = `{"id": "O" , "status":"\u0041PPROVED","purchase_units":[ ],"x":1.50}`
		s, _, _ := connected(t, answers(map[string]string{"/v2/checkout/orders/O": odd}), &Config{})
		d, err := s.Fetch(t.Context(), &schemas.OrderEvent{Kind: schemas.KindOrder, EntityID: "O"})
		if diff := cmp.Diff(string(d.Body), odd); err != nil || diff != "" {
			t.Errorf("%v -got +want:\n%s", err, diff)
		}
	})
	t.Run("what cannot be read now is not gone", func(t *testing.T) {
		for _, status := range []int{400, 403, 500} {
			a := newAccount()
			a.override = func(r *http.Request, _ string) *http.Response {
				if r.URL.Path == tokenPath {
					return nil
				}
				return answerOf(status, `{"name":"X"}`)
			}
			s, _, _ := connected(t, a, &Config{})
			if _, err := s.Fetch(t.Context(), &schemas.OrderEvent{Kind: schemas.KindOrder, EntityID: "O"}); err == nil || isNotThere(err) {
				t.Errorf("status %d: got %v, want an error that is not ErrNotThere", status, err)
			}
		}
		s, _, _ := connected(t, answers(byPath), &Config{})
		if _, err := s.Fetch(t.Context(), &schemas.OrderEvent{Kind: schemas.KindPayment, EntityID: "EMPTY-ANSWER"}); err == nil || isNotThere(err) {
			t.Errorf("an empty answer: got %v", err)
		}
	})
}

func isNotThere(err error) bool { return errors.Is(err, connectors.ErrNotThere) }
