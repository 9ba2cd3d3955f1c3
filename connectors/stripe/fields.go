package stripe

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// Bounds of OrderEvent.Fields. What does not fit is left out; the body keeps it.
const (
	fieldsMax        = 100
	fieldBytesMax    = 1024
	fieldsBytesTotal = 8 << 10
	customFieldsMax  = 3
)

// fieldSet collects values by catalogue name, in the order of the calls, until a bound is met.
type fieldSet struct {
	values map[string]string
	bytes  int
}

func (f *fieldSet) set(name, value string) {
	value = cut(strings.TrimSpace(value), fieldBytesMax)
	if value == "" || len(f.values) == fieldsMax || f.bytes+len(name)+len(value) > fieldsBytesTotal {
		return
	}
	if _, taken := f.values[name]; taken {
		return
	}
	f.values[name] = value
	f.bytes += len(name) + len(value)
}

// unix writes seconds since 1970 as a date. A text that is none stays as it is: a mapping to a date says so.
func (f *fieldSet) unix(name, value string) {
	if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= unixMin && n < unixMax {
		value = time.Unix(n, 0).UTC().Format(time.RFC3339)
	}
	f.set(name, value)
}

// metadata is all of the object's metadata in one line, for a note; the shop's order number is in custom_id.
func (f *fieldSet) metadata(o object) {
	m := o.Object("metadata")
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if v := m.Text(k); v != "" {
			parts = append(parts, k+"="+v)
		}
	}
	f.set("metadata", strings.Join(parts, ", "))
}

// money sets amounts by field name; member is a name of the object.
func (b *builder) money(pairs ...string) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		a, err := b.amount(pairs[i+1])
		if err != nil {
			return err
		}
		if a != nil {
			b.fields.set(pairs[i], a.Value)
		}
	}
	return nil
}

func (b *builder) intentFields() error {
	f, o := &b.fields, b.o
	f.set("payment.intent", b.rec.EntityID)
	f.set("payment.id", b.rec.Linked(schemas.LinkCapture))
	f.set("customer.id", firstOf(o.Text("customer"), o.Text("customer", "id")))
	f.set("order.description", o.Text("description"))
	f.unix("order.create_time", o.Text("created"))
	f.set("payment.capture_method", o.Text("capture_method"))
	if types, ok := o["payment_method_types"].([]any); ok && len(types) > 0 {
		if name, ok := types[0].(string); ok && len(types) == 1 {
			f.set("payment.method", name)
		}
	}
	f.set("payment.next_action", o.Text("next_action", "type"))
	f.unix("payment.canceled_at", o.Text("canceled_at"))
	f.set("payment.cancellation_reason", o.Text("cancellation_reason"))
	b.failure(o.Object("last_payment_error"), "code", "decline_code", "message")
	b.delivery(o.Object("shipping"))
	f.metadata(o)
	return b.money("payment.amount_received", "amount_received", "payment.amount_capturable", "amount_capturable")
}

func (b *builder) failure(o object, code, decline, message string) {
	b.fields.set("payment.failure_code", o.Text(code))
	b.fields.set("payment.decline_code", o.Text(decline))
	b.fields.set("payment.failure_message", o.Text(message))
}

func (b *builder) delivery(o object) {
	b.fields.set("shipping.full_name", o.Text("name"))
	b.fields.set("shipping.carrier", o.Text("carrier"))
	b.fields.set("shipping.tracking_number", o.Text("tracking_number"))
	b.fields.set("shipping.city", o.Text("address", "city"))
	b.fields.set("shipping.country", o.Text("address", "country"))
}

func (b *builder) chargeFields() error {
	f, o := &b.fields, b.o
	f.set("payment.id", b.rec.EntityID)
	f.set("payment.intent", b.rec.Linked(schemas.LinkOrder))
	f.set("customer.id", firstOf(o.Text("customer"), o.Text("customer", "id")))
	f.set("order.description", o.Text("description"))
	f.unix("order.create_time", o.Text("created"))
	method := o.Object("payment_method_details")
	f.set("payment.method", method.Text("type"))
	f.set("payment.card.brand", method.Text("card", "brand"))
	f.set("payment.card.last4", method.Text("card", "last4"))
	f.set("payment.card.country", method.Text("card", "country"))
	f.set("payment.card.funding", method.Text("card", "funding"))
	f.set("payment.wallet", method.Text("card", "wallet", "type"))
	f.set("payment.outcome", o.Text("outcome", "seller_message"))
	f.set("payment.risk_level", o.Text("outcome", "risk_level"))
	f.set("payment.receipt_url", o.Text("receipt_url"))
	f.set("payment.statement", o.Text("calculated_statement_descriptor"))
	b.failure(o, "failure_code", "", "failure_message")
	b.delivery(o.Object("shipping"))
	f.metadata(o)
	return b.money("payment.amount_captured", "amount_captured")
}

func (b *builder) sessionFields() error {
	f, o := &b.fields, b.o
	f.set("checkout.id", b.o.Text("id"))
	f.set("payment.intent", b.rec.Linked(schemas.LinkOrder))
	f.set("subscription.id", b.rec.Linked(schemas.LinkSubscription))
	f.set("customer.id", firstOf(o.Text("customer"), o.Text("customer", "id")))
	f.set("checkout.mode", o.Text("mode"))
	f.set("checkout.payment_status", o.Text("payment_status"))
	f.set("checkout.locale", o.Text("locale"))
	f.set("checkout.payment_link", o.Text("payment_link"))
	f.unix("checkout.expires_at", o.Text("expires_at"))
	f.set("checkout.recovery_url", o.Text("after_expiration", "recovery", "url"))
	f.set("checkout.promotions", o.Text("consent", "promotions"))
	n := 0
	for _, c := range o.Objects("custom_fields") {
		if n++; n > customFieldsMax {
			break
		}
		kind := c.Text("type")
		f.set("checkout.custom_fields."+strconv.Itoa(n), c.Text(kind, "value"))
	}
	for _, d := range []object{o.Object("shipping_details"), o.Object("collected_information", "shipping_details"), o.Object("shipping")} {
		b.delivery(d)
	}
	f.metadata(o)
	if err := b.money("checkout.subtotal", "amount_subtotal"); err != nil {
		return err
	}
	total := builder{o: object{"currency": o["currency"]}, fields: b.fields}
	for k, v := range o.Object("total_details") {
		total.o[k] = v
	}
	err := total.money("checkout.discount", "amount_discount", "checkout.shipping", "amount_shipping", "checkout.tax", "amount_tax")
	b.fields = total.fields
	return err
}

func (b *builder) subscriptionFields() {
	f, o := &b.fields, b.o
	item := object{}
	if items := o.Objects("items", "data"); len(items) > 0 {
		item = items[0]
	}
	f.set("subscription.id", b.rec.EntityID)
	f.set("subscription.status", o.Text("status"))
	f.set("customer.id", firstOf(o.Text("customer"), o.Text("customer", "id")))
	f.set("subscription.description", o.Text("description"))
	f.set("subscription.price_id", firstOf(item.Text("price", "id"), o.Text("plan", "id")))
	f.set("subscription.price_name", firstOf(item.Text("price", "nickname"), o.Text("plan", "nickname")))
	f.set("subscription.product_id", firstOf(item.Text("price", "product"), o.Text("plan", "product")))
	f.set("subscription.interval", firstOf(item.Text("price", "recurring", "interval"), o.Text("plan", "interval")))
	f.set("subscription.quantity", firstOf(item.Text("quantity"), o.Text("quantity")))
	f.unix("subscription.start_time", o.Text("start_date"))
	f.unix("subscription.period_end", firstOf(item.Text("current_period_end"), o.Text("current_period_end")))
	f.unix("subscription.trial_end", o.Text("trial_end"))
	f.unix("subscription.cancel_at", o.Text("cancel_at"))
	f.set("subscription.cancel_at_period_end", o.Text("cancel_at_period_end"))
	f.unix("subscription.canceled_at", o.Text("canceled_at"))
	f.set("subscription.cancel_reason", firstOf(o.Text("cancellation_details", "feedback"), o.Text("cancellation_details", "reason")))
	f.metadata(o)
}

func (b *builder) invoiceFields() error {
	f, o := &b.fields, b.o
	f.set("invoice.id", o.Text("id"))
	f.set("invoice.number", o.Text("number"))
	f.set("invoice.status", o.Text("status"))
	f.set("invoice.reason", o.Text("billing_reason"))
	f.set("invoice.url", o.Text("hosted_invoice_url"))
	f.set("invoice.attempts", o.Text("attempt_count"))
	f.unix("invoice.next_attempt", o.Text("next_payment_attempt"))
	f.set("subscription.id", firstOf(o.Text("subscription"), o.Text("parent", "subscription_details", "subscription")))
	f.set("customer.id", firstOf(o.Text("customer"), o.Text("customer", "id")))
	f.metadata(o)
	return b.money("invoice.amount_due", "amount_due", "invoice.amount_paid", "amount_paid")
}
