package woocommerce

import (
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// order is a small body; members given replace its own, and one that is "-" is left out.
func order(members ...string) string {
	all := map[string]string{
		"id": `727`, "status": `"processing"`, "currency": `"EUR"`, "total": `"20.00"`, "payment_method": `"stripe"`, "refunds": `[]`,
		"date_created_gmt": `"2026-03-01T08:00:00"`, "date_modified_gmt": `"2026-03-01T08:00:07"`, "date_modified": `"2026-03-01T05:00:07"`,
		"date_paid_gmt": `"2026-03-01T08:00:07"`, "date_paid": `"2026-03-01T05:00:07"`,
	}
	for i := 0; i < len(members); i += 2 {
		all[members[i]] = members[i+1]
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name] != "-" {
			fmt.Fprintf(&b, ",%q:%s", name, all[name])
		}
	}
	return "{" + b.String()[1:] + "}"
}

// read normalises one delivery that is understood.
func read(t *testing.T, d connectors.Delivery) schemas.OrderEvent {
	t.Helper()
	events, err := Connector.Normalize(d)
	if err != nil || len(events) != 1 {
		t.Fatalf("%s: got %d records, %v", d.Body, len(events), err)
	}
	return events[0]
}

// TestStatus: every word of WooCommerce's, and how the money decides among them.
func TestStatus(t *testing.T) {
	custom := &Config{Statuses: map[string]schemas.PaymentStatus{"pre-ordered": schemas.StatusPending, "wc-Shipped": schemas.StatusPaid}}
	for _, c := range []struct {
		name    string
		members []string
		want    schemas.PaymentStatus
	}{
		{"checkout-draft", []string{"status", `"checkout-draft"`}, schemas.StatusDraft},
		{"auto-draft", []string{"status", `"auto-draft"`}, schemas.StatusDraft},
		{"draft", []string{"status", `"draft"`}, schemas.StatusDraft},
		{"new", []string{"status", `"new"`}, schemas.StatusDraft},
		{"pending", []string{"status", `"pending"`}, schemas.StatusPending},
		{"on-hold", []string{"status", `"on-hold"`}, schemas.StatusPending},
		{"processing", []string{"status", `"processing"`}, schemas.StatusPaid},
		{"completed", []string{"status", `"completed"`}, schemas.StatusPaid},
		{"with the prefix of the database", []string{"status", `"wc-completed"`}, schemas.StatusPaid},
		{"paid by hand, without a time of payment", []string{"date_paid_gmt", "null", "date_paid", "null"}, schemas.StatusPaid},
		{"cash on delivery, not paid", []string{"payment_method", `"cod"`, "date_paid_gmt", "null", "date_paid", "null"}, schemas.StatusPending},
		{"cash on delivery, no time of payment named", []string{"payment_method", `"cod"`, "date_paid_gmt", "-", "date_paid", "-"}, schemas.StatusPending},
		{"cash on delivery, completed, not paid", []string{"status", `"completed"`, "payment_method", `"cod"`, "date_paid_gmt", "null", "date_paid", "null"}, schemas.StatusPending},
		{"cash on delivery, paid", []string{"status", `"completed"`, "payment_method", `"cod"`}, schemas.StatusPaid},
		{"cash on delivery, paid, by an older store", []string{"payment_method", `"cod"`, "date_paid_gmt", "-"}, schemas.StatusPaid},
		{"cash on delivery, nothing to pay", []string{"payment_method", `"cod"`, "date_paid_gmt", "null", "date_paid", "null", "total", `"0.00"`}, schemas.StatusPaid},
		{"partly refunded", []string{"refunds", `[{"id":1,"total":"-5.00"},{"id":2,"total":"-2.50"}]`}, schemas.StatusPartiallyRefunded},
		{"completed, partly refunded", []string{"status", `"completed"`, "refunds", `[{"id":1,"total":"-19.99"}]`}, schemas.StatusPartiallyRefunded},
		{"refunds as numbers", []string{"refunds", `[{"id":1,"total":-5.00}]`}, schemas.StatusPartiallyRefunded},
		{"refunded to the last cent, word not yet changed", []string{"refunds", `[{"id":1,"total":"-20.00"}]`}, schemas.StatusPaid},
		{"refunds of an order that is no longer paid", []string{"status", `"cancelled"`, "refunds", `[{"id":1,"total":"-5.00"}]`}, schemas.StatusCancelled},
		{"refunded", []string{"status", `"refunded"`, "refunds", `[{"id":1,"total":"-20.00"}]`}, schemas.StatusRefunded},
		{"failed", []string{"status", `"failed"`}, schemas.StatusFailed},
		{"cancelled", []string{"status", `"cancelled"`}, schemas.StatusCancelled},
		{"trash", []string{"status", `"trash"`}, schemas.StatusUnknown},
		{"a plugin's, not configured", []string{"status", `"awaiting-pickup"`}, schemas.StatusUnknown},
		{"a plugin's, configured", []string{"status", `"pre-ordered"`}, schemas.StatusPending},
		{"a plugin's, configured as paid", []string{"status", `"shipped"`}, schemas.StatusPaid},
		{"a plugin's, configured as paid, partly refunded", []string{"status", `"shipped"`, "refunds", `[{"id":1,"total":"-5.00"}]`}, schemas.StatusPartiallyRefunded},
		{"one l is another word", []string{"status", `"canceled"`}, schemas.StatusUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			events, err := Connector.For(custom).Normalize(delivery(topicUpdated, order(c.members...)))
			if err != nil {
				t.Fatal(err)
			}
			if got := events[0].Status; got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if c.members[0] == "status" && `"`+events[0].ProviderStatus+`"` != c.members[1] {
				t.Errorf("got provider status %q, want it as it was sent: %s", events[0].ProviderStatus, c.members[1])
			}
			if deleted := c.name == "trash"; events[0].Deleted != deleted {
				t.Errorf("got deleted %v", events[0].Deleted)
			}
		})
	}
	if got := read(t, delivery(topicUpdated, order("status", `"pre-ordered"`))).Status; got != schemas.StatusUnknown {
		t.Errorf("a connection without the word: got %s", got)
	}
}

// TestMoney: decimal texts, however a plugin writes them; refunds are added up without their sign.
func TestMoney(t *testing.T) {
	amount := func(v string) *schemas.Amount { return &schemas.Amount{Value: v, Currency: "EUR"} }
	for _, c := range []struct {
		name            string
		members         []string
		total, refunded *schemas.Amount
	}{
		{"no refund", nil, amount("20.00"), amount("0")},
		{"a number in place of a text", []string{"total", "20.5", "currency", `"eur"`}, amount("20.5"), amount("0")},
		{"long", []string{"total", `"123456789012345678901.123456"`}, amount("123456789012345678901.123456"), amount("0")},
		{"two refunds", []string{"refunds", `[{"total":"-16.20"},{"total":"-1.8"}]`}, amount("20.00"), amount("18.00")},
		{"a plugin's positive refund", []string{"refunds", `[{"amount":"3"}]`}, amount("20.00"), amount("3")},
		{"older store, no list of refunds", []string{"refunds", "-"}, amount("20.00"), nil},
		{"older store, refunded", []string{"refunds", "-", "status", `"refunded"`}, amount("20.00"), amount("20.00")},
		{"refunded by hand, list not complete yet", []string{"refunds", `[{"total":"-5.00"}]`, "status", `"refunded"`}, amount("20.00"), amount("20.00")},
		{"no total", []string{"total", "-"}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := read(t, delivery(topicUpdated, order(c.members...)))
			if diff := cmp.Diff([]*schemas.Amount{e.Amount, e.RefundedTotal}, []*schemas.Amount{c.total, c.refunded}); diff != "" {
				t.Errorf("-got +want:\n%s", diff)
			}
		})
	}
}

// TestRefused: what is not understood is named.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ name, topic, body, err string }{
		{"no JSON", topicUpdated, `<html>`, "json at byte 0"},
		{"a list", topicUpdated, `[]`, "not a JSON object"},
		{"member repeated", topicUpdated, `{"id":1,"id":2}`, `key "id" repeated`},
		{"no topic, no order", "", `{"id":1}`, headerTopic},
		{"topic with a space", "order updated", `{"id":1}`, headerTopic},
		{"no id", topicUpdated, order("id", "-"), "id: missing"},
		{"error of the owner", topicUpdated, `{"code":"woocommerce_rest_cannot_view","message":"x"}`, "may not read orders"},
		{"error of the owner, as deleted", topicDeleted, `{"code":"woocommerce_rest_cannot_view","message":"x"}`, "may not read orders"},
		{"id is no number", topicUpdated, order("id", `"7a"`), "id: "},
		{"id is a fraction", topicUpdated, order("id", `7.5`), "id: "},
		{"id is negative", topicUpdated, order("id", `-7`), "id: "},
		{"id 0", topicUpdated, order("id", `0`), "id: "},
		{"no status", topicUpdated, order("status", "-"), "status: missing"},
		{"no time", topicUpdated, order("date_modified_gmt", "null", "date_created_gmt", "-"), "date_modified_gmt: missing"},
		{"time that is none", topicUpdated, order("date_modified_gmt", `"-0001-11-30T00:00:00"`), "date_modified_gmt: "},
		{"time before time", topicUpdated, order("date_modified_gmt", `"0001-01-01T00:00:00"`), "date_modified_gmt: "},
		{"total with a comma", topicUpdated, order("total", `"20,00"`), "total: "},
		{"total as an exponent", topicUpdated, order("total", `2e1`), "total: "},
		{"no currency", topicUpdated, order("currency", "-"), "total: "},
		{"refund that is no money", topicUpdated, order("refunds", `[{"total":"-1"},{"total":"x"}]`), "refunds[1].total: "},
		{"a live order under the topic of removals", topicDeleted, order(), "status: "},
		{"an object of the store without an id", "coupon.updated", `{"code":"x"}`, "id: missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			events, err := Connector.Normalize(delivery(c.topic, c.body))
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v, %v, want an error with %q", events, err, c.err)
			}
		})
	}
}

// TestLenient: numbers as texts, members left out, ids beyond what a float holds.
func TestLenient(t *testing.T) {
	e := read(t, delivery(topicUpdated, order("id", `"9007199254740993"`, "customer_id", `"26"`, "number", `1001`, "billing", `[]`, "line_items", `null`)))
	if e.RootID != "9007199254740993" || e.EntityID != e.RootID || e.InvoiceID != "1001" || e.Payer.PayerID != "shop:26" || e.Fields["customer.id"] != "26" {
		t.Errorf("got root %s, entity %s, number %s, payer %+v, fields %v", e.RootID, e.EntityID, e.InvoiceID, e.Payer, e.Fields)
	}
	bare := read(t, delivery(topicUpdated, `{"id":9007199254740993,"status":"pending","date_created_gmt":"2026-03-01T08:00:00"}`))
	if bare.RootID != e.RootID || bare.Payer != nil || bare.Amount != nil || !bare.ProviderTime.Equal(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)) {
		t.Errorf("got %+v", bare)
	}
}

// TestTime: only the _gmt members count, and they mean UTC.
func TestTime(t *testing.T) {
	want := time.Date(2026, 3, 1, 8, 0, 7, 0, time.UTC)
	for _, text := range []string{"2026-03-01T08:00:07", "2026-03-01T08:00:07Z", "2026-03-01T09:00:07+01:00"} {
		if got := read(t, delivery(topicUpdated, order("date_modified_gmt", `"`+text+`"`))).ProviderTime; !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

// TestSameEvent: a webhook, its repetition and the same version in a list are one event, whatever the order of members
// and white space; another change, another topic or another order is another one.
func TestSameEvent(t *testing.T) {
	body := order("meta_data", `[{"key":"a","value":"\u00e9\/"}]`, "_links", `{"self":[{"href":"https://shop.example.com/wp-json/wc/v3/orders/727"}]}`)
	first := read(t, delivery(topicUpdated, body))
	other := strings.ReplaceAll(strings.Replace(order("meta_data", `[{"value":"é/","key":"a"}]`, "_links", `{}`), `,"id":727`, "", 1), `"status":"processing"`, `"status": "processing" , "id" : 727`)
	listed := delivery(topicUpdated, other)
	listed.ID, listed.Origin, listed.ReceivedAt = "", schemas.OriginPoll, listed.ReceivedAt.Add(time.Hour)
	again := read(t, listed)
	if again.EventID != first.EventID || again.Fingerprint != first.Fingerprint || !again.ProviderTime.Equal(first.ProviderTime) {
		t.Errorf("listed: got %s %s, want %s %s", again.EventID, again.Fingerprint, first.EventID, first.Fingerprint)
	}
	if want := "order.updated:727:2026-03-01T08:00:07Z:" + first.Fingerprint[:16]; first.EventID != want {
		t.Errorf("got id %s, want %s", first.EventID, want)
	}
	if len(first.DeliveryIDs) != 0 {
		t.Errorf("got delivery ids %v: WooCommerce's repeat within a second", first.DeliveryIDs)
	}
	for name, d := range map[string]connectors.Delivery{
		"another topic": delivery(topicCreated, body), "another order": delivery(topicUpdated, order("id", "728")),
		"another second":  delivery(topicUpdated, order("date_modified_gmt", `"2026-03-01T08:00:08"`)),
		"another content": delivery(topicUpdated, order("customer_note", `"ring twice"`)),
	} {
		if e := read(t, d); e.EventID == first.EventID {
			t.Errorf("%s: got the same event id %s", name, e.EventID)
		}
	}
}

// TestRemoval: the notice has an id alone; it claims no status. Two removals of one order are two events, although
// their bodies are equal, and two orders removed in one second, which share a delivery id, are two as well.
func TestRemoval(t *testing.T) {
	first := read(t, delivery(topicDeleted, `{"id":727}`))
	if !first.Deleted || first.Status != schemas.StatusUnknown || first.ProviderStatus != "trash" || first.Kind != schemas.KindOrder ||
		first.RootID != "727" || !first.ProviderTime.Equal(first.ReceivedAt) {
		t.Errorf("got %+v", first)
	}
	again := delivery(topicDeleted, `{"id":727}`)
	again.Headers[headerDelivery] = "0123456789abcdef0123456789abcdef"
	neighbour := read(t, delivery(topicDeleted, `{"id":728}`))
	if second := read(t, again); second.EventID == first.EventID || neighbour.EventID == first.EventID {
		t.Errorf("got %s, %s and %s, want three events", first.EventID, second.EventID, neighbour.EventID)
	}
	listed := read(t, delivery(topicDeleted, order("status", `"trash"`)))
	if !listed.Deleted || listed.Status != schemas.StatusUnknown || listed.EventType != topicDeleted || listed.ProviderStatus != "trash" ||
		listed.ProviderTime.Equal(listed.ReceivedAt) || listed.Amount == nil {
		t.Errorf("listed in the trash: got %+v", listed)
	}
}

// TestRestored: what undoes a removal has no time of its own either, but its content names it.
func TestRestored(t *testing.T) {
	d := delivery(topicRestored, order())
	e := read(t, d)
	d.ReceivedAt = d.ReceivedAt.Add(time.Minute)
	later := read(t, d)
	if !e.ProviderTime.Equal(e.ReceivedAt) || !later.ProviderTime.Equal(later.ReceivedAt) || later.EventID != e.EventID || e.Status != schemas.StatusPaid {
		t.Errorf("got %s at %s, then %s at %s", e.EventID, e.ProviderTime, later.EventID, later.ProviderTime)
	}
}

// TestReplay: body and headers as stored give the same record.
func TestReplay(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, file := range files {
		list := goldens(t, file)
		for _, d := range list {
			events, err := Connector.Normalize(d)
			if err != nil {
				continue
			}
			e := events[0]
			again := read(t, connectors.Delivery{
				Connection: e.Connection, Environment: e.Environment, Body: e.Body, Headers: e.Headers, ReceivedAt: e.ReceivedAt, Origin: e.Origin, Test: e.Test,
			})
			if !reflect.DeepEqual(again, e) {
				t.Errorf("%s: -got +want:\n%s", file, cmp.Diff(again, e))
			}
			e.Headers["X-Other"] = "1"
			if _, shared := d.Headers["X-Other"]; shared {
				t.Errorf("%s: the record shares its headers with the delivery", file)
			}
		}
	}
}

// TestOther: what concerns no order is kept, never under an order's root.
func TestOther(t *testing.T) {
	for topic, body := range map[string]string{
		"coupon.updated": `{"id":727}`, "action.woocommerce_add_to_cart": `{"action":"woocommerce_add_to_cart","arg":{"id":727}}`,
	} {
		if e := read(t, delivery(topic, body)); e.Kind != schemas.KindOther || e.RootID == "727" || e.RootID == "" || e.Resource != "" || e.Status != schemas.StatusUnknown {
			t.Errorf("%s: got %+v", topic, e)
		}
	}
}

// TestPayer: billing first; the parcel's name and address only where billing has none.
func TestPayer(t *testing.T) {
	const shipping = `{"first_name":"Ann","last_name":"Other","address_1":"2 Side St","city":"Rome","postcode":"00100","country":"IT","phone":"+39 06 1"}`
	whole := schemas.Address{Line1: "1 Main St", City: "Berlin", PostalCode: "10115", Country: "DE"}
	side := schemas.Address{Line1: "2 Side St", City: "Rome", PostalCode: "00100", Country: "IT"}
	for _, c := range []struct {
		name, billing string
		want          schemas.Payer
	}{
		{
			"billing is whole", `{"first_name":"Bo","last_name":"Doe","email":" bo@example.com ","phone":"1","address_1":"1 Main St","city":"Berlin","postcode":"10115","country":"DE"}`,
			schemas.Payer{Email: "bo@example.com", GivenName: "Bo", Surname: "Doe", Phone: "1", Address: whole},
		},
		{"billing has the e-mail alone", `{"email":"bo@example.com","country":"DE"}`, schemas.Payer{Email: "bo@example.com", GivenName: "Ann", Surname: "Other", Phone: "+39 06 1", Address: side}},
		{"no billing", `null`, schemas.Payer{GivenName: "Ann", Surname: "Other", Phone: "+39 06 1", Address: side}},
		{"an address that cannot be one", `{"email":"` + strings.Repeat("x", 400) + `@example.com","first_name":"Bo"}`, schemas.Payer{GivenName: "Bo", Phone: "+39 06 1", Address: side}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := read(t, delivery(topicUpdated, order("billing", c.billing, "shipping", shipping, "customer_id", "0")))
			if diff := cmp.Diff(e.Payer, &c.want); diff != "" {
				t.Errorf("-got +want:\n%s", diff)
			}
		})
	}
}

// TestFields: every field of every sample is in the catalogue and bounded, and a hostile order stays within the bounds.
func TestFields(t *testing.T) {
	known := map[string]bool{}
	for _, f := range Connector.Fields {
		known[f.Name] = true
	}
	long := `"` + strings.Repeat("é", 5000) + `"`
	line := `{"name":` + long + `,"sku":` + long + `,"product_id":` + long + `,"quantity":99999999999,"total":"1"}`
	address := `{"first_name":` + long + `,"last_name":` + long + `,"company":` + long + `,"address_1":` + long + `,"address_2":` + long + `,"city":` + long + `,"state":` + long + `,"postcode":` + long + `,"country":` + long + `,"phone":` + long + `}`
	hostile := order("line_items", "["+strings.Repeat(line+",", 200)+line+"]", "customer_note", long, "shipping", address, "billing", address, "number", long,
		"coupon_lines", `[{"code":`+long+`}]`, "payment_method_title", long, "transaction_id", long, "status", long)
	seen := map[string]bool{}
	check := func(where string, e schemas.OrderEvent) {
		size := 0
		for name, v := range e.Fields {
			size += len(name) + len(v)
			if seen[name] = true; !known[name] || v == "" || len(v) > connectors.FieldBytesMax {
				t.Errorf("%s: field %s of %d bytes, in the catalogue: %v", where, name, len(v), known[name])
			}
		}
		if len(e.Fields) > connectors.FieldsMax || size > connectors.FieldsBytesTotal {
			t.Errorf("%s: got %d fields of %d bytes", where, len(e.Fields), size)
		}
		for _, text := range []string{e.InvoiceID, e.CustomID, e.ProviderStatus, e.RootID, e.EventID} {
			if len(text) > textBytesMax {
				t.Errorf("%s: got a text of %d bytes", where, len(text))
			}
		}
	}
	check("hostile", read(t, delivery(topicUpdated, hostile)))
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, file := range files {
		list := goldens(t, file)
		for _, d := range list {
			if events, err := Connector.Normalize(d); err == nil {
				check(file, events[0])
			}
		}
	}
	e := read(t, delivery(topicUpdated, order("transaction_id", `"pi_1"`, "payment_method", `"stripe"`, "number", `"R-727"`, "parent_id", "12", "total_tax", `"1,9"`,
		"meta_data", `[{"key":"_wc_order_attribution_utm_source","value":"newsletter"},{"key":"x","value":{"a":1}},{"key":"_wc_order_attribution_utm_medium","value":["a"]}]`,
		"line_items", `[{"name":"Tea &amp; Co","sku":"T","quantity":2,"total":"6.00"},{"name":"Cup","quantity":1}]`, "coupon_lines", `[{"code":"a"},{"code":"b"}]`)))
	want := map[string]string{
		"order.number": "R-727", "order.create_time": "2026-03-01T08:00:00Z", "order.paid_time": "2026-03-01T08:00:07Z", "order.parent_id": "12",
		"payment.method": "stripe", "payment.transaction_id": "pi_1", "order.item_quantity": "3", "order.item_names": "Tea & Co, Cup", "order.item_skus": "T",
		"order.items.1.name": "Tea & Co", "order.items.1.sku": "T", "order.items.1.quantity": "2", "order.items.1.total": "6.00",
		"order.items.2.name": "Cup", "order.items.2.quantity": "1", "order.coupons": "a, b", "attribution.source": "newsletter",
	}
	if diff := cmp.Diff(e.Fields, want); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
	if e.InvoiceID != "R-727" || e.CustomID != "pi_1" {
		t.Errorf("got invoice %s and custom id %s", e.InvoiceID, e.CustomID)
	}
}
