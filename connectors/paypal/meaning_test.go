package paypal

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/connectorstest"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

// event is a body with the parts that a case is about.
func event(eventType, resourceType, resource string) string {
	kind := ""
	if resourceType != "" {
		kind = fmt.Sprintf(`"resource_type":%q,`, resourceType)
	}
	return fmt.Sprintf(`{"id":"WH-1","event_type":%q,%s"create_time":"2022-08-30T12:53:22.362Z","resource":%s}`, eventType, kind, resource)
}

func one(t *testing.T, body string) schemas.OrderEvent {
	t.Helper()
	events, err := Connector.Normalize(delivery(body))
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return events[0]
}

// TestStatusAndRoot: the body decides the kind, the status and under what the event is kept; its type is a hint.
func TestStatusAndRoot(t *testing.T) {
	up := func(path string) string {
		return fmt.Sprintf(`"links":[{"rel":"self","href":"https://api.paypal.com/v2/payments/captures/SELF"},{"rel":"up","href":"https://api.paypal.com%s"}]`, path)
	}
	order := func(status, payments string) string {
		return fmt.Sprintf(`{"id":"O","status":%q,"purchase_units":[{"amount":{"currency_code":"EUR","value":"10.00"},"payments":{%s}}]}`, status, payments)
	}
	capture := func(status, value string) string {
		return fmt.Sprintf(`{"id":"C%s","status":%q,"amount":{"currency_code":"EUR","value":%q}}`, value, status, value)
	}
	for _, c := range []struct {
		name, body string
		kind       schemas.EventKind
		status     schemas.PaymentStatus
		root       string
	}{
		{"approved", event("CHECKOUT.ORDER.APPROVED", "checkout-order", order("APPROVED", "")), "ORDER", "APPROVED", "O"},
		{"approved that is completed inside", event("CHECKOUT.ORDER.APPROVED", "checkout-order", order("COMPLETED", `"captures":[`+capture("COMPLETED", "10.00")+`]`)), "ORDER", "PAID", "O"},
		{"completed without payments", event("CHECKOUT.ORDER.COMPLETED", "checkout-order", order("COMPLETED", "")), "ORDER", "UNKNOWN", "O"},
		{"completed, declined", event("CHECKOUT.ORDER.COMPLETED", "checkout-order", order("COMPLETED", `"captures":[`+capture("DECLINED", "10.00")+`]`)), "ORDER", "FAILED", "O"},
		{"completed, pending", event("CHECKOUT.ORDER.COMPLETED", "checkout-order", order("COMPLETED", `"captures":[`+capture("DECLINED", "9")+`,`+capture("PENDING", "10.00")+`]`)), "ORDER", "PENDING", "O"},
		{"completed in part", event("CHECKOUT.ORDER.COMPLETED", "checkout-order", order("COMPLETED", `"captures":[`+capture("COMPLETED", "4.00")+`]`)), "ORDER", "PARTIALLY_PAID", "O"},
		{"completed in two parts", event("CHECKOUT.ORDER.COMPLETED", "checkout-order", order("COMPLETED", `"captures":[`+capture("COMPLETED", "4")+`,`+capture("COMPLETED", "6.0")+`]`)), "ORDER", "PAID", "O"},
		{"completed, refunded", event("CHECKOUT.ORDER.COMPLETED", "checkout-order", order("COMPLETED", `"captures":[`+capture("REFUNDED", "10")+`]`)), "ORDER", "REFUNDED", "O"},
		{"completed, half refunded", event("CHECKOUT.ORDER.COMPLETED", "checkout-order", order("COMPLETED", `"captures":[`+capture("REFUNDED", "5")+`,`+capture("COMPLETED", "5.0")+`]`)), "ORDER", "PARTIALLY_REFUNDED", "O"},
		{"completed, authorized only", event("CHECKOUT.ORDER.COMPLETED", "checkout-order", order("COMPLETED", `"authorizations":[{"id":"A","status":"CREATED"}]`)), "ORDER", "AUTHORIZED", "O"},
		{"payer must act", event("CHECKOUT.ORDER.SAVED", "checkout-order", order("PAYER_ACTION_REQUIRED", "")), "ORDER", "PENDING", "O"},
		{"a word of tomorrow", event("CHECKOUT.ORDER.APPROVED", "checkout-order", order("TELEPORTED", "")), "ORDER", "UNKNOWN", "O"},
		{"approval reversed", event("CHECKOUT.PAYMENT-APPROVAL.REVERSED", "", `{"order_id":"O"}`), "ORDER", "CANCELLED", "O"},
		{"capture by related ids", event("PAYMENT.CAPTURE.COMPLETED", "capture", `{"id":"C","status":"COMPLETED","supplementary_data":{"related_ids":{"order_id":"O","authorization_id":"A"}},`+up("/v2/checkout/orders/WRONG")+`}`), "PAYMENT", "PAID", "O"},
		{"capture by link", event("PAYMENT.CAPTURE.COMPLETED", "capture", `{"id":"C","status":"COMPLETED",`+up("/v2/checkout/orders/O")+`}`), "PAYMENT", "PAID", "O"},
		{"capture of an authorization", event("PAYMENT.CAPTURE.DENIED", "capture", `{"id":"C","status":"DECLINED",`+up("/v2/payments/authorizations/A")+`}`), "PAYMENT", "FAILED", "A"},
		{"capture that names nothing", event("PAYMENT.CAPTURE.PENDING", "capture", `{"id":"C","status":"PENDING"}`), "PAYMENT", "PENDING", "C"},
		{"capture with an action link", event("PAYMENT.CAPTURE.PENDING", "capture", `{"id":"C","status":"PENDING","links":[{"rel":"capture","href":"https://x/v2/checkout/orders/O/capture"}]}`), "PAYMENT", "PENDING", "C"},
		{"v1 capture", event("PAYMENT.CAPTURE.COMPLETED", "capture", `{"id":"C","state":"partially_refunded","amount":{"total":"1.00","currency":"usd"},"links":[{"rel":"authorization","href":"https://x/v1/payments/authorization/A"}]}`), "PAYMENT", "PARTIALLY_REFUNDED", "A"},
		{"authorization", event("PAYMENT.AUTHORIZATION.CREATED", "authorization", `{"id":"A","status":"CREATED",`+up("/v2/checkout/orders/O")+`}`), "PAYMENT", "AUTHORIZED", "O"},
		{"authorization partly captured", event("PAYMENT.AUTHORIZATION.CREATED", "authorization", `{"id":"A","status":"PARTIALLY_CAPTURED"}`), "PAYMENT", "PARTIALLY_PAID", "A"},
		{"v1 authorization expired", event("PAYMENT.AUTHORIZATION.VOIDED", "authorization", `{"id":"A","state":"expired"}`), "PAYMENT", "EXPIRED", "A"},
		{"sale of a subscription", event("PAYMENT.SALE.COMPLETED", "sale", `{"id":"S","state":"completed","billing_agreement_id":"I-1"}`), "PAYMENT", "PAID", "I-1"},
		{"sale alone", event("PAYMENT.SALE.DENIED", "sale", `{"id":"S","state":"denied"}`), "PAYMENT", "FAILED", "S"},
		{"v1 refund called a sale", event("PAYMENT.SALE.REFUNDED", "sale", `{"id":"R","state":"completed","sale_id":"S"}`), "REFUND", "REFUNDED", "S"},
		{"reversal in the shape of a paid sale", event("PAYMENT.SALE.REVERSED", "sale", `{"id":"S","state":"completed","amount":{"total":"-0.49","currency":"USD"}}`), "REFUND", "CHARGED_BACK", "S"},
		{"refund", event("PAYMENT.CAPTURE.REFUNDED", "refund", `{"id":"R","status":"COMPLETED",`+up("/v2/payments/captures/C")+`}`), "REFUND", "REFUNDED", "C"},
		{"refund pending", event("PAYMENT.CAPTURE.REFUNDED", "refund", `{"id":"R","status":"PENDING",`+up("/v2/payments/captures/C")+`}`), "REFUND", "PENDING", "C"},
		{"refund failed", event("PAYMENT.REFUND.FAILED", "", `{"id":"R","status":"FAILED",`+up("/v2/payments/captures/C")+`}`), "REFUND", "FAILED", "C"},
		{"reversal", event("PAYMENT.CAPTURE.REVERSED", "refund", `{"id":"R","status":"COMPLETED",`+up("/v2/payments/captures/C")+`}`), "REFUND", "CHARGED_BACK", "C"},
		{"subscription created", event("BILLING.SUBSCRIPTION.CREATED", "subscription", `{"id":"I-1","status":"APPROVAL_PENDING"}`), "SUBSCRIPTION", "PENDING", "I-1"},
		{"subscription with an old status", event("BILLING.SUBSCRIPTION.UPDATED", "subscription", `{"id":"I-1","status":"ACTIVE"}`), "SUBSCRIPTION", "ACTIVE", "I-1"},
		{"subscription without a status", event("BILLING.SUBSCRIPTION.RE-ACTIVATED", "Agreement", `{"id":"I-1"}`), "SUBSCRIPTION", "ACTIVE", "I-1"},
		{"payment of a subscription failed", event("BILLING.SUBSCRIPTION.PAYMENT.FAILED", "subscription", `{"id":"I-1"}`), "SUBSCRIPTION", "UNKNOWN", "I-1"},
		{"agreement", event("BILLING.SUBSCRIPTION.CANCELLED", "Agreement", `{"id":"I-1","state":"Cancelled"}`), "SUBSCRIPTION", "CANCELLED", "I-1"},
		{"dispute", event("CUSTOMER.DISPUTE.UPDATED", "dispute", `{"dispute_id":"PP-1","status":"WAITING_FOR_SELLER_RESPONSE","disputed_transactions":[{"seller_transaction_id":"C"}]}`), "DISPUTE", "DISPUTED", "C"},
		{"dispute lost", event("CUSTOMER.DISPUTE.RESOLVED", "dispute", `{"dispute_id":"PP-1","status":"RESOLVED","dispute_outcome":{"outcome_code":"RESOLVED_BUYER_FAVOUR"}}`), "DISPUTE", "CHARGED_BACK", "PP-1"},
		{"dispute won", event("CUSTOMER.DISPUTE.RESOLVED", "dispute", `{"dispute_id":"PP-1","status":"RESOLVED","dispute_outcome":{"outcome_code":"RESOLVED_SELLER_FAVOUR"}}`), "DISPUTE", "PAID", "PP-1"},
		{"unknown type", event("VAULT.PAYMENT-TOKEN.CREATED", "payment_token", `{"id":"T"}`), "OTHER", "UNKNOWN", "WH-1"},
		{"no resource", `{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED","create_time":"2022-08-30T12:53:22Z"}`, "OTHER", "UNKNOWN", "WH-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := one(t, c.body)
			if e.Kind != c.kind || e.Status != c.status || e.RootID != c.root {
				t.Errorf("got %s %s under %s, want %s %s under %s", e.Kind, e.Status, e.RootID, c.kind, c.status, c.root)
			}
		})
	}
}

// TestRefused: what cannot be understood is refused by the name of the field.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ name, body, err string }{
		{"no JSON", `PAYMENT`, "json at byte 0"},
		{"no object", `[]`, "body: not a JSON object"},
		{"no id", `{"event_type":"X"}`, "id: missing"},
		{"no type", `{"id":"WH-1"}`, "event_type: missing"},
		{"an id with spaces", `{"id":"W 1","event_type":"X"}`, "id: "},
		{"no order id", event("CHECKOUT.ORDER.APPROVED", "checkout-order", `{}`), "resource.id: missing"},
		{"no dispute id", event("CUSTOMER.DISPUTE.CREATED", "dispute", `{}`), "resource.dispute_id: missing"},
		{"money is a word", event("PAYMENT.CAPTURE.COMPLETED", "capture", `{"id":"C","amount":{"currency_code":"USD","value":"ten"}}`), "resource.amount: amount \"ten\": not a decimal"},
		{"money is empty", event("PAYMENT.CAPTURE.COMPLETED", "capture", `{"id":"C","amount":{"currency_code":"USD","value":""}}`), "resource.amount"},
		{"money has an exponent", event("PAYMENT.SALE.COMPLETED", "sale", `{"id":"S","amount":{"currency":"USD","total":"1e3"}}`), "resource.amount"},
		{"money has a comma", event("PAYMENT.SALE.COMPLETED", "sale", `{"id":"S","amount":{"currency":"USD","total":"1,00"}}`), "resource.amount"},
		{"money without currency", event("PAYMENT.SALE.COMPLETED", "sale", `{"id":"S","amount":{"total":"1.00"}}`), "resource.amount"},
		{"money is no object", event("PAYMENT.SALE.COMPLETED", "sale", `{"id":"S","amount":"1.00 USD"}`), "resource.amount: not an amount"},
		{"money of a unit", event("CHECKOUT.ORDER.APPROVED", "checkout-order", `{"id":"O","purchase_units":[{"amount":{"currency_code":"USD","value":"x"}}]}`), "resource.purchase_units.amount"},
		{"the thirteenth month", event("PAYMENT.CAPTURE.COMPLETED", "capture", `{"id":"C","update_time":"2018-19-12T22:20:32.000Z"}`), "resource.update_time"},
		{"the thirtieth of February", event("BILLING.SUBSCRIPTION.UPDATED", "subscription", `{"id":"I","status_update_time":"2022-02-30T00:00:00Z"}`), "resource.status_update_time"},
		{"a time that is a number", event("BILLING.SUBSCRIPTION.UPDATED", "subscription", `{"id":"I","update_time":1656099718}`), "resource.update_time: not a date"},
		{"the year 9999", event("PAYMENT.CAPTURE.COMPLETED", "capture", `{"id":"C","update_time":"9999-01-01T00:00:00Z"}`), "resource.update_time"},
		{"of an unknown event", `{"id":"WH-1","event_type":"X","create_time":"2018-19-12T22:20:32.000Z"}`, "create_time"},
		{"no time at all", `{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED","resource":{"id":"C"}}`, "create_time: missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Connector.Normalize(delivery(c.body)); err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v, want one with %q", err, c.err)
			}
		})
	}
}

// TestTimes: every form that PayPal writes is one moment.
func TestTimes(t *testing.T) {
	want := time.Date(2022, 9, 26, 13, 7, 12, 0, time.UTC)
	for text, at := range map[string]time.Time{
		"2022-09-26T13:07:12Z": want, "2022-09-26T06:07:12-07:00": want, "2022-09-26T13:07:12+0000": want, "2022-09-26T13:07:12": want,
		"2022-09-26T13:07:12.920Z": want.Add(920 * time.Millisecond), "2022-09-26T13:07:12.9209Z": want.Add(920 * time.Millisecond),
		"2022-09-26T06:07:12.5-0700": want.Add(500 * time.Millisecond),
	} {
		if got, err := parseTime(text); err != nil || !got.Equal(at) || got.Location() != time.UTC {
			t.Errorf("%s: got %v %v, want %v", text, got, err, at)
		}
	}
}

// TestProviderTime: a snapshot's time is its newest change, payments inside included; an approval without one is as old
// as its order, so that it never looks newer than the capture that followed.
func TestProviderTime(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"newest of both", event("BILLING.SUBSCRIPTION.UPDATED", "subscription", `{"id":"I","create_time":"2022-01-01T00:00:00Z","update_time":"2022-01-03T00:00:00Z","status_update_time":"2022-01-02T00:00:00Z"}`), "2022-01-03T00:00:00Z"},
		{"capture inside", event("CHECKOUT.ORDER.COMPLETED", "checkout-order", `{"id":"O","update_time":"2022-01-03T00:00:00Z","purchase_units":[{"payments":{"captures":[{"id":"C","update_time":"2022-01-04T00:00:00Z"}]}}]}`), "2022-01-04T00:00:00Z"},
		{"order without update", event("CHECKOUT.ORDER.APPROVED", "checkout-order", `{"id":"O","create_time":"2022-01-01T00:00:00Z"}`), "2022-01-01T00:00:00Z"},
		{"nothing but the event's", event("CHECKOUT.PAYMENT-APPROVAL.REVERSED", "", `{"order_id":"O"}`), "2022-08-30T12:53:22.362Z"},
	} {
		if got := one(t, c.body).ProviderTime.Format(time.RFC3339Nano); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// TestPayer: the customer's parts come from the most trusted place that has them; the payee is the merchant.
func TestPayer(t *testing.T) {
	order := func(members string) string {
		return event("CHECKOUT.ORDER.APPROVED", "checkout-order", `{"id":"O","status":"APPROVED",`+members+`}`)
	}
	for _, c := range []struct {
		name, body string
		want       *schemas.Payer
	}{
		{"nobody but the payee", order(`"purchase_units":[{"payee":{"email_address":"shop@example.com","merchant_id":"M"}}],"payment_source":{"paypal":{}}`), nil},
		{
			"shipping's phone first", order(`"payer":{"email_address":"a@example.com","phone":{"phone_number":{"national_number":"111"}}},"payment_source":{"paypal":{"phone_number":{"national_number":"222"}}},"purchase_units":[{"shipping":{"phone_number":{"country_code":"49","national_number":"333"}}}]`),
			&schemas.Payer{Email: "a@example.com", Phone: "+49333"},
		},
		{
			"payer's phone next", order(`"payer":{"phone":{"phone_number":{"national_number":"111"}}},"payment_source":{"paypal":{"email_address":"b@example.com","phone_number":{"national_number":"222"}}}`),
			&schemas.Payer{Email: "b@example.com", Phone: "111"},
		},
		{
			"card with one name", order(`"payment_source":{"card":{"name":"Jo Doe","billing_address":{"postal_code":"1","country_code":"FR"}}}`),
			&schemas.Payer{FullName: "Jo Doe", Address: schemas.Address{PostalCode: "1", Country: "FR"}},
		},
		{
			"postal address over a country", order(`"payer":{"name":{"given_name":"Jo"},"payer_id":"P","address":{"country_code":"US"}},"payment_source":{"card":{"billing_address":{"address_line_1":"x","admin_area_2":"y","country_code":"DE"}}}`),
			&schemas.Payer{GivenName: "Jo", FullName: "Jo", PayerID: "P", Address: schemas.Address{Line1: "x", City: "y", Country: "DE"}},
		},
		{"a text too long for an address", order(`"payer":{"payer_id":"P","email_address":"` + strings.Repeat("a", 400) + `@example.com"}`), &schemas.Payer{PayerID: "P"}},
		{
			"subscriber", event("BILLING.SUBSCRIPTION.ACTIVATED", "subscription", `{"id":"I","subscriber":{"email_address":"s@example.com","phone":{"phone_number":{"national_number":"5"}},"shipping_address":{"name":{"full_name":"Sam Doe"}}}}`),
			&schemas.Payer{Email: "s@example.com", Phone: "5", FullName: "Sam Doe"},
		},
		{"sale", event("PAYMENT.SALE.COMPLETED", "sale", `{"id":"S","payee":{"email":"shop@example.com"}}`), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(one(t, c.body).Payer, c.want); diff != "" {
				t.Errorf("-got +want:\n%s", diff)
			}
		})
	}
}

// TestMoney: several units are summed exactly, and a refund has no sign.
func TestMoney(t *testing.T) {
	unit := func(value, currency string) string {
		return fmt.Sprintf(`{"amount":{"currency_code":%q,"value":%q}}`, currency, value)
	}
	for _, c := range []struct {
		name, body string
		want       *schemas.Amount
	}{
		{"one unit keeps its digits", event("CHECKOUT.ORDER.APPROVED", "checkout-order", `{"id":"O","purchase_units":[`+unit("5.0", "EUR")+`]}`), &schemas.Amount{Value: "5.0", Currency: "EUR"}},
		{"sum", event("CHECKOUT.ORDER.APPROVED", "checkout-order", `{"id":"O","purchase_units":[`+unit("0.10", "EUR")+`,`+unit("0.2", "EUR")+`,`+unit("7", "EUR")+`]}`), &schemas.Amount{Value: "7.30", Currency: "EUR"}},
		{"two currencies", event("CHECKOUT.ORDER.APPROVED", "checkout-order", `{"id":"O","purchase_units":[`+unit("1", "EUR")+`,`+unit("1", "USD")+`]}`), nil},
		{"refund", event("PAYMENT.SALE.REVERSED", "sale", `{"id":"S","amount":{"total":"-0.49","currency":"usd"}}`), &schemas.Amount{Value: "0.49", Currency: "USD"}},
		{"subscription", event("BILLING.SUBSCRIPTION.ACTIVATED", "subscription", `{"id":"I","billing_info":{"last_payment":{"amount":{"currency_code":"USD","value":"5.0"}}}}`), nil},
	} {
		if diff := cmp.Diff(one(t, c.body).Amount, c.want); diff != "" {
			t.Errorf("%s: -got +want:\n%s", c.name, diff)
		}
	}
}

// TestFingerprint: the same event has one, whichever way it was read; another content has another.
func TestFingerprint(t *testing.T) {
	listed := string(connectorstest.GoldenBody(t, "testdata/PAYMENT.SALE.COMPLETED--from-events-api.txtar"))
	parsed, err := strictjson.Parse([]byte(listed))
	if err != nil {
		t.Fatal(err)
	}
	sent := maps.Clone(parsed.(map[string]any))
	delete(sent, "status")
	delete(sent, "transmissions")
	for _, l := range append(object(sent).Objects("links"), object(sent).Object("resource").Objects("links")...) {
		delete(l, "encType")
	}
	want := one(t, listed).Fingerprint
	if got := one(t, string(strictjson.AppendCanonical(nil, sent))).Fingerprint; got != want {
		t.Errorf("as delivered: got %s, want %s", got, want)
	}
	for from, to := range map[string]string{
		`"4.99"`: `"9.99"`, `"completed"`: `"pending"`, `"I-W0Y05RHBK9VG"`: `"I-W0Y05RHBK9VX"`, `sale/7D51924877811803R/refund`: `sale/X/refund`,
		`"PAYMENT.SALE.COMPLETED"`: `"PAYMENT.SALE.PENDING"`,
	} {
		changed := strings.Replace(listed, from, to, 1)
		if changed == listed || one(t, changed).Fingerprint == want {
			t.Errorf("%s changed to %s: got the same fingerprint", from, to)
		}
	}
}

// TestMockID: the simulator's one id for all its events is made different by type.
func TestMockID(t *testing.T) {
	d := delivery(event("CHECKOUT.ORDER.APPROVED", "checkout-order", `{"id":"O","status":"APPROVED"}`))
	d.Test = true
	events, err := Connector.Normalize(d)
	if err != nil || events[0].EventID != "WH-1:CHECKOUT.ORDER.APPROVED" || !events[0].Test {
		t.Errorf("got %v %v, want the id with the type, marked as test", events, err)
	}
}

// TestFieldsAreInTheCatalogue: a field under a name that no user can choose, or one read from the record itself, is a mistake.
func TestFieldsAreInTheCatalogue(t *testing.T) {
	const recordFields = 24 // the catalogue begins with the names that are members of the record
	known := map[string]bool{}
	for _, f := range catalogue[recordFields:] {
		known[f.Name] = true
	}
	if last := catalogue[recordFields-1].Name; last != "invoice_id" {
		t.Fatalf("record fields end with %s, want invoice_id", last)
	}
	for _, file := range connectorstest.GoldenFiles(t, 1) {
		events, err := Connector.Normalize(delivery(string(connectorstest.GoldenBody(t, file))))
		if err != nil {
			continue
		}
		for name := range events[0].Fields {
			if !known[name] {
				t.Errorf("%s: field %s is not in the catalogue", file, name)
			}
		}
	}
}

// TestFieldsAreBounded: a body cannot blow up the record's fields.
func TestFieldsAreBounded(t *testing.T) {
	item := `{"name":"` + strings.Repeat("ü", 2000) + `","quantity":"1"}`
	e := one(t, event("CHECKOUT.ORDER.APPROVED", "checkout-order", `{"id":"O","purchase_units":[{"description":"`+strings.Repeat("d", 5000)+`","items":[`+strings.Repeat(item+",", 500)+item+`]}]}`))
	size := 0
	for k, v := range e.Fields {
		size += len(k) + len(v)
		if len(v) > connectors.FieldBytesMax || strings.ToValidUTF8(v, "") != v {
			t.Errorf("%s: got %d bytes, want at most %d whole characters", k, len(v), connectors.FieldBytesMax)
		}
	}
	if size > connectors.FieldsBytesTotal || e.Fields["order.item_quantity"] != "501" {
		t.Errorf("got %d bytes and quantity %s, want at most %d and 501", size, e.Fields["order.item_quantity"], connectors.FieldsBytesTotal)
	}
}

// TestResourceOf: every type that a registration asks for belongs to the resource that asks for it.
func TestResourceOf(t *testing.T) {
	for id, names := range subscribed {
		for _, name := range names {
			if got := resourceOf(name); got != id {
				t.Errorf("%s: got %q, want %s", name, got, id)
			}
		}
	}
	for _, name := range []string{"BILLING.PLAN.UPDATED", "PAYMENT.CAPTURES", "CHECKOUT.ORDER.APPROVED.X", ""} {
		if got := resourceOf(name); got != "" {
			t.Errorf("%s: got %q, want none", name, got)
		}
	}
	if slices.Contains(subscribed[ResourceOrders], "*") {
		t.Error("a wildcard is subscribed to")
	}
}
