package stripe

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/connectorstest"
	"github.com/tillstream/tillstream/schemas"
)

// event is a body with the parts that a case is about.
func event(typ, object string) string {
	return fmt.Sprintf(`{"id":"evt_1","object":"event","created":1700000000,"livemode":false,"type":%q,"data":{"object":%s}}`, typ, object)
}

func one(t *testing.T, body string) schemas.OrderEvent {
	t.Helper()
	events, err := Connector.Normalize(delivery(body))
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return events[0]
}

// TestStatusAndRoot: every word of every object, what it means, and under what the event is kept.
func TestStatusAndRoot(t *testing.T) {
	intent := func(typ, rest string) string {
		return event("payment_intent."+typ, `{"id":"pi","object":"payment_intent","amount":1000,"currency":"eur",`+rest+`}`)
	}
	charge := func(typ, rest string) string {
		return event("charge."+typ, `{"id":"ch","object":"charge","payment_intent":"pi","amount":1000,"currency":"eur",`+rest+`}`)
	}
	session := func(typ, rest string) string {
		return event("checkout.session."+typ, `{"id":"cs","object":"checkout.session","mode":"payment",`+rest+`}`)
	}
	refund := func(typ, status string) string {
		return event(typ, `{"id":"re","object":"refund","charge":"ch","payment_intent":"pi","amount":5,"currency":"eur","status":"`+status+`"}`)
	}
	dispute := func(status string) string {
		return event("charge.dispute.updated", `{"id":"du","object":"dispute","charge":"ch","payment_intent":"pi","amount":5,"currency":"eur","status":"`+status+`"}`)
	}
	subscription := func(status string) string {
		return event("customer.subscription.updated", `{"id":"sub","object":"subscription","status":"`+status+`"}`)
	}
	for _, c := range []struct {
		name, body string
		kind       schemas.EventKind
		status     schemas.PaymentStatus
		root       string
	}{
		{"no payment method yet", intent("created", `"status":"requires_payment_method"`), "ORDER", "PENDING", "pi"},
		{"payment failed", intent("payment_failed", `"status":"requires_payment_method"`), "ORDER", "FAILED", "pi"},
		{"to be confirmed", intent("created", `"status":"requires_confirmation"`), "ORDER", "PENDING", "pi"},
		{"the payer must act", intent("requires_action", `"status":"requires_action"`), "ORDER", "PENDING", "pi"},
		{"processing", intent("processing", `"status":"processing"`), "ORDER", "PENDING", "pi"},
		{"to be captured", intent("amount_capturable_updated", `"status":"requires_capture"`), "ORDER", "AUTHORIZED", "pi"},
		{"succeeded", intent("succeeded", `"status":"succeeded","amount_received":1000`), "ORDER", "PAID", "pi"},
		{"succeeded, without the sum", intent("succeeded", `"status":"succeeded"`), "ORDER", "PAID", "pi"},
		{"succeeded in part", intent("succeeded", `"status":"succeeded","amount_received":999`), "ORDER", "PARTIALLY_PAID", "pi"},
		{"canceled", intent("canceled", `"status":"canceled","cancellation_reason":"abandoned"`), "ORDER", "CANCELLED", "pi"},
		{"canceled as expired", intent("canceled", `"status":"canceled","cancellation_reason":"expired"`), "ORDER", "EXPIRED", "pi"},
		{"canceled by itself", intent("canceled", `"status":"canceled","cancellation_reason":"automatic"`), "ORDER", "EXPIRED", "pi"},
		{"canceled, its charge held", intent("canceled", `"status":"canceled","cancellation_reason":"automatic","charges":{"data":[{"id":"ch","status":"succeeded","captured":false}]}`), "ORDER", "VOIDED", "pi"},
		{"canceled, held by its version", intent("canceled", `"status":"canceled","capture_method":"manual","latest_charge":"ch"`), "ORDER", "VOIDED", "pi"},
		{"canceled, declined before", intent("canceled", `"status":"canceled","capture_method":"manual","latest_charge":"ch","last_payment_error":{"code":"x"}`), "ORDER", "CANCELLED", "pi"},
		{"canceled, by what it was", `{"id":"evt_1","object":"event","created":1700000000,"livemode":false,"type":"payment_intent.canceled","data":{"object":{"id":"pi","object":"payment_intent","status":"canceled"},"previous_attributes":{"status":"requires_capture"}}}`, "ORDER", "VOIDED", "pi"},
		{"a word of tomorrow", intent("created", `"status":"teleported"`), "ORDER", "UNKNOWN", "pi"},

		{"charge pending", charge("pending", `"status":"pending","captured":true`), "PAYMENT", "PENDING", "pi"},
		{"charge held", charge("succeeded", `"status":"succeeded","captured":false,"amount_captured":0`), "PAYMENT", "AUTHORIZED", "pi"},
		{"charge paid", charge("succeeded", `"status":"succeeded","captured":true,"amount_captured":1000,"amount_refunded":0`), "PAYMENT", "PAID", "pi"},
		{"charge captured in part", charge("captured", `"status":"succeeded","captured":true,"amount_captured":600,"amount_refunded":0`), "PAYMENT", "PARTIALLY_PAID", "pi"},
		{"charge failed", charge("failed", `"status":"failed","captured":false`), "PAYMENT", "FAILED", "pi"},
		{"charge expired", charge("expired", `"status":"succeeded","captured":false,"refunded":true,"amount_refunded":1000`), "PAYMENT", "EXPIRED", "pi"},
		{"charge refunded in part", charge("refunded", `"status":"succeeded","captured":true,"amount_refunded":1`), "PAYMENT", "PARTIALLY_REFUNDED", "pi"},
		{"charge refunded", charge("refunded", `"status":"succeeded","captured":true,"amount_refunded":1000,"refunded":true`), "PAYMENT", "REFUNDED", "pi"},
		{"charge let go", charge("refunded", `"status":"succeeded","captured":false,"amount_refunded":1000,"refunded":true`), "PAYMENT", "VOIDED", "pi"},
		{"charge of tomorrow", charge("updated", `"status":"melted"`), "PAYMENT", "UNKNOWN", "pi"},
		{"charge alone", event("charge.succeeded", `{"id":"ch","object":"charge","payment_intent":null,"amount":1,"currency":"eur","status":"succeeded"}`), "PAYMENT", "PAID", "ch"},

		{"refund pending", refund("refund.created", "pending"), "REFUND", "PENDING", "pi"},
		{"refund waits for the payer", refund("refund.updated", "requires_action"), "REFUND", "PENDING", "pi"},
		{"refund done", refund("charge.refund.updated", "succeeded"), "REFUND", "REFUNDED", "pi"},
		{"refund failed", refund("refund.failed", "failed"), "REFUND", "FAILED", "pi"},
		{"refund canceled", refund("refund.updated", "canceled"), "REFUND", "CANCELLED", "pi"},
		{"refund of a charge alone", event("refund.created", `{"id":"re","object":"refund","charge":"ch","amount":5,"currency":"eur","status":"succeeded"}`), "REFUND", "REFUNDED", "ch"},

		{"dispute to be answered", dispute("needs_response"), "DISPUTE", "DISPUTED", "pi"},
		{"dispute under review", dispute("under_review"), "DISPUTE", "DISPUTED", "pi"},
		{"inquiry to be answered", dispute("warning_needs_response"), "DISPUTE", "UNKNOWN", "pi"},
		{"inquiry under review", dispute("warning_under_review"), "DISPUTE", "UNKNOWN", "pi"},
		{"inquiry closed", dispute("warning_closed"), "DISPUTE", "UNKNOWN", "pi"},
		{"dispute prevented", dispute("prevented"), "DISPUTE", "UNKNOWN", "pi"},
		{"dispute won: as before", dispute("won"), "DISPUTE", "PAID", "pi"},
		{"dispute lost", dispute("lost"), "DISPUTE", "CHARGED_BACK", "pi"},

		{"session open", session("completed", `"status":"open","payment_status":"unpaid","payment_intent":"pi"`), "ORDER", "PENDING", "pi"},
		{"session paid", session("completed", `"status":"complete","payment_status":"paid","payment_intent":"pi"`), "ORDER", "PAID", "pi"},
		{"session of nothing", session("completed", `"status":"complete","payment_status":"no_payment_required"`), "ORDER", "PAID", "cs"},
		{"session that waits", session("completed", `"status":"complete","payment_status":"unpaid","payment_intent":"pi"`), "ORDER", "PENDING", "pi"},
		{"session paid later", session("async_payment_succeeded", `"status":"complete","payment_status":"paid","payment_intent":"pi"`), "ORDER", "PAID", "pi"},
		{"session not paid later", session("async_payment_failed", `"status":"complete","payment_status":"unpaid","payment_intent":"pi"`), "ORDER", "FAILED", "pi"},
		{"session expired", session("expired", `"status":"expired","payment_status":"unpaid","payment_intent":null`), "ORDER", "EXPIRED", "cs"},
		{"session of an old version", session("completed", `"payment_status":"paid","payment_intent":"pi"`), "ORDER", "PAID", "pi"},
		{"session of tomorrow", session("completed", `"status":"complete","payment_status":"bartered"`), "ORDER", "UNKNOWN", "cs"},
		{"session that saves a card", event("checkout.session.completed", `{"id":"cs","object":"checkout.session","mode":"setup","status":"complete","payment_status":"no_payment_required"}`), "OTHER", "UNKNOWN", "evt_1"},
		{"session of a subscription", event("checkout.session.completed", `{"id":"cs","object":"checkout.session","mode":"subscription","status":"complete","payment_status":"paid","subscription":"sub"}`), "SUBSCRIPTION", "ACTIVE", "sub"},
		{"session of an unpaid subscription", event("checkout.session.completed", `{"id":"cs","object":"checkout.session","mode":"subscription","status":"complete","payment_status":"unpaid","subscription":"sub"}`), "SUBSCRIPTION", "PENDING", "sub"},

		{"subscription incomplete", subscription("incomplete"), "SUBSCRIPTION", "PENDING", "sub"},
		{"subscription never paid", subscription("incomplete_expired"), "SUBSCRIPTION", "EXPIRED", "sub"},
		{"subscription on trial", subscription("trialing"), "SUBSCRIPTION", "ACTIVE", "sub"},
		{"subscription active", subscription("active"), "SUBSCRIPTION", "ACTIVE", "sub"},
		{"subscription overdue", subscription("past_due"), "SUBSCRIPTION", "ACTIVE", "sub"},
		{"subscription given up", subscription("unpaid"), "SUBSCRIPTION", "SUSPENDED", "sub"},
		{"subscription paused", subscription("paused"), "SUBSCRIPTION", "SUSPENDED", "sub"},
		{"subscription canceled", subscription("canceled"), "SUBSCRIPTION", "CANCELLED", "sub"},
		{"subscription of tomorrow", subscription("gifted"), "SUBSCRIPTION", "UNKNOWN", "sub"},

		{"an invoice has no effect", event("invoice.paid", `{"id":"in","object":"invoice","status":"paid"}`), "OTHER", "UNKNOWN", "evt_1"},
		{"nor has what is not known", event("customer.created", `{"id":"cus","object":"customer"}`), "OTHER", "UNKNOWN", "evt_1"},
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
		{"not an event", `{"object":"balance"}`, `object: "balance" is no event`},
		{"an object without a mode", `{"object":"charge"}`, "livemode: missing"},
		{"an object without a time", `{"object":"charge","livemode":false}`, "created: missing"},
		{"an object without an id", `{"object":"charge","livemode":false,"created":1}`, "data.object.id: missing"},
		{"a thin event", `{"id":"evt","object":"v2.core.event"}`, "thin event"},
		{"no id", `{"object":"event","type":"x"}`, "id: missing"},
		{"no type", `{"object":"event","id":"evt"}`, "type: missing"},
		{"no mode", `{"object":"event","id":"evt","type":"x"}`, "livemode: missing"},
		{"a live event in the sandbox", `{"object":"event","id":"evt","type":"x","livemode":true}`, "livemode: a live event"},
		{"no time", `{"object":"event","id":"evt","type":"x","livemode":false}`, "created: missing"},
		{"a time that is a text", `{"object":"event","id":"evt","type":"x","livemode":false,"created":"1700000000"}`, "created: "},
		{"a time with a fraction", `{"object":"event","id":"evt","type":"x","livemode":false,"created":1.5}`, "created: "},
		{"the year 5138", `{"object":"event","id":"evt","type":"x","livemode":false,"created":100000000000}`, "created: "},
		{"nothing in it", `{"object":"event","id":"evt","type":"x","livemode":false,"created":1}`, "data.object: missing"},
		{"no id inside", event("charge.succeeded", `{"object":"charge"}`), "data.object.id: missing"},
		{"half a cent", event("charge.succeeded", `{"id":"ch","object":"charge","amount":10.5,"currency":"eur"}`), "data.object.amount"},
		{"an exponent", event("charge.succeeded", `{"id":"ch","object":"charge","amount":1e3,"currency":"eur"}`), "data.object.amount"},
		{"money as text", event("charge.succeeded", `{"id":"ch","object":"charge","amount":"1000","currency":"eur"}`), "data.object.amount"},
		{"more than there is", event("charge.succeeded", `{"id":"ch","object":"charge","amount":9223372036854775808,"currency":"eur"}`), "data.object.amount"},
		{"no currency", event("charge.succeeded", `{"id":"ch","object":"charge","amount":1000}`), "data.object.currency of amount"},
		{"a reference that is none", event("charge.succeeded", `{"id":"ch","object":"charge","payment_intent":"p i"}`), "data.object.payment_intent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Connector.Normalize(delivery(c.body)); err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v, want one with %q", err, c.err)
			}
		})
	}
	live := delivery(event("charge.succeeded", `{"id":"ch","object":"charge"}`))
	live.Environment = schemas.Live
	if _, err := Connector.Normalize(live); err == nil || !strings.Contains(err.Error(), "test mode at a live connection") {
		t.Errorf("a test event at a live connection: got %v, want it refused", err)
	}
}

// TestMinorUnits: the count is of the currency's smallest unit, which is not everywhere a hundredth.
func TestMinorUnits(t *testing.T) {
	for _, c := range []struct{ currency, units, want string }{
		{"usd", "2050", "20.50 USD"},
		{"usd", "5", "0.05 USD"},
		{"usd", "0", "0.00 USD"},
		{"jpy", "500", "500 JPY"},
		{"krw", "1", "1 KRW"},
		{"kwd", "1500", "1.500 KWD"},
		{"kwd", "1", "0.001 KWD"},
		{"isk", "50000", "500.00 ISK"},
		{"ugx", "50000", "500.00 UGX"},
		{"mga", "500", "500 MGA"},
		{"huf", "50000", "500.00 HUF"},
		{"usd", "9223372036854775807", "92233720368547758.07 USD"},
	} {
		e := one(t, event("refund.created", fmt.Sprintf(`{"id":"re","object":"refund","amount":%s,"currency":%q}`, c.units, c.currency)))
		if got := e.Amount.Value + " " + e.Amount.Currency; got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.units, c.currency, got, c.want)
		}
	}
}

// TestLinks: what hangs together finds together.
func TestLinks(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       []schemas.Link
	}{
		{"an intent and its charges", event("payment_intent.succeeded", `{"id":"pi","object":"payment_intent","latest_charge":"ch2","charges":{"data":[{"id":"ch2"},{"id":"ch1"}]}}`), []schemas.Link{{Relation: "CAPTURE", ID: "ch2"}, {Relation: "CAPTURE", ID: "ch1"}}},
		{"an intent with its charge expanded", event("payment_intent.succeeded", `{"id":"pi","object":"payment_intent","latest_charge":{"id":"ch"}}`), []schemas.Link{{Relation: "CAPTURE", ID: "ch"}}},
		{"a charge", event("charge.succeeded", `{"id":"ch","object":"charge","payment_intent":"pi"}`), []schemas.Link{{Relation: "ORDER", ID: "pi"}}},
		{"a refund", event("refund.created", `{"id":"re","object":"refund","charge":"ch","payment_intent":"pi"}`), []schemas.Link{{Relation: "ORDER", ID: "pi"}, {Relation: "CAPTURE", ID: "ch"}}},
		{"a session", event("checkout.session.completed", `{"id":"cs","object":"checkout.session","payment_intent":"pi"}`), []schemas.Link{{Relation: "ORDER", ID: "pi"}}},
	} {
		if diff := cmp.Diff(one(t, c.body).Links, c.want); diff != "" {
			t.Errorf("%s: -got +want\n%s", c.name, diff)
		}
	}
}

// TestMoneyOfCharges: money is what was captured, and what was let go was never here.
func TestMoneyOfCharges(t *testing.T) {
	for _, c := range []struct{ name, rest, amount, refunded string }{
		{"paid", `"status":"succeeded","captured":true,"amount_captured":1000,"amount_refunded":0`, "10.00", "0.00"},
		{"refunded in part", `"status":"succeeded","captured":true,"amount_captured":1000,"amount_refunded":250`, "10.00", "2.50"},
		{"captured in part", `"status":"succeeded","captured":true,"amount_captured":600,"amount_refunded":0`, "6.00", "0.00"},
		{"an old version", `"status":"succeeded","captured":true,"amount_refunded":250`, "10.00", "2.50"},
		{"held", `"status":"succeeded","captured":false,"amount_captured":0,"amount_refunded":0`, "10.00", ""},
		{"let go", `"status":"succeeded","captured":false,"amount_captured":0,"amount_refunded":1000,"refunded":true`, "10.00", ""},
		{"declined", `"status":"failed","captured":false,"amount_captured":0`, "10.00", ""},
	} {
		e := one(t, event("charge.updated", `{"id":"ch","object":"charge","amount":1000,"currency":"eur",`+c.rest+`}`))
		refunded := ""
		if e.RefundedTotal != nil {
			refunded = e.RefundedTotal.Value
		}
		if e.Amount.Value != c.amount || refunded != c.refunded {
			t.Errorf("%s: got %s, refunded %q, want %s, %q", c.name, e.Amount.Value, refunded, c.amount, c.refunded)
		}
	}
}

// TestPayer: the nearest to the payer first; the parcel's name may be another person's.
func TestPayer(t *testing.T) {
	shipping := `"shipping":{"name":"Grandma","phone":"+1","address":{"line1":"510 Townsend St","city":"San Francisco","country":"US"}}`
	for _, c := range []struct {
		name, body string
		want       *schemas.Payer
	}{
		{
			"a charge", event("charge.succeeded", `{"id":"ch","object":"charge","customer":"cus","receipt_email":"r@example.com","billing_details":{"email":"b@example.com","name":"Jenny Rosen","phone":"+49","address":{"country":"US","postal_code":"94103"}},`+shipping+`}`),
			&schemas.Payer{Email: "b@example.com", FullName: "Jenny Rosen", Phone: "+49", PayerID: "cus", Address: schemas.Address{Line1: "510 Townsend St", City: "San Francisco", Country: "US"}},
		},
		{
			"an intent with a parcel only", event("payment_intent.succeeded", `{"id":"pi","object":"payment_intent","receipt_email":"r@example.com",`+shipping+`}`),
			&schemas.Payer{Email: "r@example.com", FullName: "Grandma", Phone: "+1", Address: schemas.Address{Line1: "510 Townsend St", City: "San Francisco", Country: "US"}},
		},
		{"an intent with its customer expanded", event("payment_intent.succeeded", `{"id":"pi","object":"payment_intent","customer":{"id":"cus","email":"c@example.com"}}`), &schemas.Payer{Email: "c@example.com", PayerID: "cus"}},
		{"a session", event("checkout.session.completed", `{"id":"cs","object":"checkout.session","customer_email":"typed@example.com","customer_details":{"email":"d@example.com"},"collected_information":{"shipping_details":{"name":"Jo"}}}`), &schemas.Payer{Email: "d@example.com", FullName: "Jo"}},
		{"an id that nobody can write to", event("payment_intent.created", `{"id":"pi","object":"payment_intent","customer":"cus"}`), nil},
		{"nobody", event("payment_intent.created", `{"id":"pi","object":"payment_intent","customer":null}`), nil},
	} {
		if diff := cmp.Diff(one(t, c.body).Payer, c.want); diff != "" {
			t.Errorf("%s: -got +want\n%s", c.name, diff)
		}
	}
}

// TestReadObjects: what was read says who and what belongs together, and leaves state and money to the events.
func TestReadObjects(t *testing.T) {
	for _, c := range []struct {
		name, body string
		kind       schemas.EventKind
		root       string
	}{
		{"an intent", `{"id":"pi","object":"payment_intent","created":1700000000,"livemode":false,"amount":1000,"amount_received":1000,"currency":"eur","status":"succeeded","customer":{"id":"cus","email":"c@example.com"}}`, "ORDER", "pi"},
		{"an intent by its charge", `{"id":"pi","object":"payment_intent","created":1700000000,"livemode":false,"status":"requires_payment_method","latest_charge":{"id":"ch","billing_details":{"email":"c@example.com"}}}`, "ORDER", "pi"},
		{"a charge", `{"id":"ch","object":"charge","created":1700000000,"livemode":false,"amount":1000,"currency":"eur","status":"succeeded","captured":true,"amount_refunded":5,"billing_details":{"email":"c@example.com"}}`, "PAYMENT", "ch"},
		{"a subscription", `{"id":"sub","object":"subscription","created":1700000000,"livemode":false,"status":"active","customer":{"id":"cus","email":"c@example.com"}}`, "SUBSCRIPTION", "sub"},
	} {
		e := one(t, c.body)
		if e.Kind != c.kind || e.RootID != c.root || e.Status != schemas.StatusUnknown || e.Amount != nil || e.RefundedTotal != nil || e.Payer == nil || e.Payer.Email != "c@example.com" {
			t.Errorf("%s: got %+v", c.name, e)
		}
		if again := one(t, c.body); again.EventID != e.EventID || !strings.Contains(e.EventID, ".read:"+c.root+":") {
			t.Errorf("%s: got event ids %s and %s", c.name, e.EventID, again.EventID)
		}
	}
}

// TestOrderNumber: the shop's own number stands where the shop put it.
func TestOrderNumber(t *testing.T) {
	body := event("payment_intent.created", `{"id":"pi","object":"payment_intent","metadata":{"order_id":"1","ref":"2"}}`)
	if e := one(t, body); e.CustomID != "1" {
		t.Errorf("got %q, want the default key's", e.CustomID)
	}
	bound := Connector.For(&Config{OrderMetadata: []string{"nope", "ref"}})
	if events, err := bound.Normalize(delivery(body)); err != nil || events[0].CustomID != "2" {
		t.Errorf("got %v %v, want the configured key's", events, err)
	}
	if e := one(t, event("checkout.session.completed", `{"id":"cs","object":"checkout.session","client_reference_id":"3","metadata":{"order_id":"1"}}`)); e.CustomID != "3" {
		t.Errorf("got %q, want the session's reference", e.CustomID)
	}
}

// TestSameEvent: an event is the same however often it is sent or listed, and another one when what it says is.
func TestSameEvent(t *testing.T) {
	first := `{"id":"evt_1","object":"event","api_version":"2020-08-27","created":1700000000,"livemode":false,"pending_webhooks":2,"type":"charge.succeeded","data":{"object":{"id":"ch","object":"charge","amount":5,"currency":"eur","status":"succeeded"}}}`
	listed := `{"type":"charge.succeeded", "pending_webhooks":0,"data":{"object":{"status":"succeeded","currency":"eur","amount":5,"object":"charge","id":"ch"}},"livemode":false,"created":1700000000,"api_version":"2025-03-31.basil","object":"event","id":"evt_1"}`
	a, b := one(t, first), one(t, listed)
	if a.EventID != b.EventID || a.Fingerprint != b.Fingerprint {
		t.Errorf("got %s %s and %s %s, want one event", a.EventID, a.Fingerprint, b.EventID, b.Fingerprint)
	}
	for _, change := range [][2]string{{`"amount":5`, `"amount":6`}, {`"currency"`, `"description":"x","currency"`}, {`"eur"`, `"usd"`}, {`"succeeded"`, `"failed"`}, {`"id":"ch"`, `"id":"ci"`}, {`1700000000`, `1700000001`}} {
		if c := one(t, strings.Replace(first, change[0], change[1], 1)); c.Fingerprint == a.Fingerprint {
			t.Errorf("%s for %s: the same fingerprint", change[1], change[0])
		}
	}
	if len(a.DeliveryIDs) != 0 {
		t.Errorf("got delivery ids %v: Stripe gives a sending none", a.DeliveryIDs)
	}
}

// TestCatalogue: what is emitted is in the catalogue, and the first block is everybody's.
func TestCatalogue(t *testing.T) {
	var names []string
	for _, f := range catalogue {
		names = append(names, f.Name)
	}
	seen := 0
	for _, file := range connectorstest.GoldenFiles(t, 1) {
		events, err := Connector.Normalize(delivery(string(connectorstest.GoldenBody(t, file))))
		if err != nil {
			continue
		}
		for name, value := range events[0].Fields {
			seen++
			if !slices.Contains(names, name) || len(value) > connectors.FieldBytesMax {
				t.Errorf("%s: field %s is not in the catalogue, or too long", file, name)
			}
		}
	}
	if seen < 60 {
		t.Errorf("got %d fields over all samples, want more", seen)
	}
}

// TestBounds: what a payload holds too much of is cut, and stays in the body.
func TestBounds(t *testing.T) {
	long := strings.Repeat("ż", 5000)
	e := one(t, event("charge.succeeded", fmt.Sprintf(`{"id":"ch","object":"charge","description":%q,"status":%q,"billing_details":{"name":%q,"email":%q},"metadata":{"order_id":%q}}`, long, long, long, long, long)))
	if len(e.CustomID) > textBytesMax || len(e.Payer.FullName) > textBytesMax || e.Payer.Email != "" || len(e.ProviderStatus) > statusBytesMax || len(e.Fields["order.description"]) > connectors.FieldBytesMax {
		t.Errorf("got custom id of %d, name of %d, e-mail of %d, status of %d bytes", len(e.CustomID), len(e.Payer.FullName), len(e.Payer.Email), len(e.ProviderStatus))
	}
}
