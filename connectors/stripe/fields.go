package stripe

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// customFieldsMax bounds how many of a checkout's own questions become fields; the body keeps the rest.
const customFieldsMax = 3

// fieldSet reads Stripe's forms of dates and metadata.
type fieldSet struct{ connectors.FieldSet }

// unix writes seconds since 1970 as a date. A text that is none stays as it is: a mapping to a date says so.
func (f *fieldSet) unix(name, value string) {
	if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= unixMin && n < unixMax {
		value = time.Unix(n, 0).UTC().Format(time.RFC3339)
	}
	f.Set(name, value)
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
	f.Set("metadata", strings.Join(parts, ", "))
}

// money sets amounts by field name; member is a name of the object.
func (b *builder) money(pairs ...string) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		a, err := b.amount(pairs[i+1])
		if err != nil {
			return err
		}
		if a != nil {
			b.fields.Set(pairs[i], a.Value)
		}
	}
	return nil
}

func (b *builder) intentFields() error {
	f, o := &b.fields, b.o
	f.Set("payment.intent", b.rec.EntityID)
	f.Set("payment.id", b.rec.Linked(schemas.LinkCapture))
	f.Set("customer.id", cmp.Or(o.Text("customer"), o.Text("customer", "id")))
	f.Set("order.description", o.Text("description"))
	f.unix("order.create_time", o.Text("created"))
	f.Set("payment.capture_method", o.Text("capture_method"))
	if types, ok := o["payment_method_types"].([]any); ok && len(types) > 0 {
		if name, ok := types[0].(string); ok && len(types) == 1 {
			f.Set("payment.method", name)
		}
	}
	f.Set("payment.next_action", o.Text("next_action", "type"))
	f.unix("payment.canceled_at", o.Text("canceled_at"))
	f.Set("payment.cancellation_reason", o.Text("cancellation_reason"))
	b.failure(o.Object("last_payment_error"), "code", "decline_code", "message")
	b.delivery(o.Object("shipping"))
	f.metadata(o)
	return b.money("payment.amount_received", "amount_received", "payment.amount_capturable", "amount_capturable")
}

func (b *builder) failure(o object, code, decline, message string) {
	b.fields.Set("payment.failure_code", o.Text(code))
	b.fields.Set("payment.decline_code", o.Text(decline))
	b.fields.Set("payment.failure_message", o.Text(message))
}

func (b *builder) delivery(o object) {
	b.fields.Set("shipping.full_name", o.Text("name"))
	b.fields.Set("shipping.carrier", o.Text("carrier"))
	b.fields.Set("shipping.tracking_number", o.Text("tracking_number"))
	b.fields.Set("shipping.city", o.Text("address", "city"))
	b.fields.Set("shipping.country", o.Text("address", "country"))
}

func (b *builder) chargeFields() error {
	f, o := &b.fields, b.o
	f.Set("payment.id", b.rec.EntityID)
	f.Set("payment.intent", b.rec.Linked(schemas.LinkOrder))
	f.Set("customer.id", cmp.Or(o.Text("customer"), o.Text("customer", "id")))
	f.Set("order.description", o.Text("description"))
	f.unix("order.create_time", o.Text("created"))
	method := o.Object("payment_method_details")
	f.Set("payment.method", method.Text("type"))
	f.Set("payment.card.brand", method.Text("card", "brand"))
	f.Set("payment.card.last4", method.Text("card", "last4"))
	f.Set("payment.card.country", method.Text("card", "country"))
	f.Set("payment.card.funding", method.Text("card", "funding"))
	f.Set("payment.wallet", method.Text("card", "wallet", "type"))
	f.Set("payment.outcome", o.Text("outcome", "seller_message"))
	f.Set("payment.risk_level", o.Text("outcome", "risk_level"))
	f.Set("payment.receipt_url", o.Text("receipt_url"))
	f.Set("payment.statement", o.Text("calculated_statement_descriptor"))
	b.failure(o, "failure_code", "", "failure_message")
	b.delivery(o.Object("shipping"))
	f.metadata(o)
	return b.money("payment.amount_captured", "amount_captured")
}

func (b *builder) sessionFields() error {
	f, o := &b.fields, b.o
	f.Set("checkout.id", b.o.Text("id"))
	f.Set("payment.intent", b.rec.Linked(schemas.LinkOrder))
	f.Set("subscription.id", b.rec.Linked(schemas.LinkSubscription))
	f.Set("customer.id", cmp.Or(o.Text("customer"), o.Text("customer", "id")))
	f.Set("checkout.mode", o.Text("mode"))
	f.Set("checkout.payment_status", o.Text("payment_status"))
	f.Set("checkout.locale", o.Text("locale"))
	f.Set("checkout.payment_link", o.Text("payment_link"))
	f.unix("checkout.expires_at", o.Text("expires_at"))
	f.Set("checkout.recovery_url", o.Text("after_expiration", "recovery", "url"))
	f.Set("checkout.promotions", o.Text("consent", "promotions"))
	n := 0
	for _, c := range o.Objects("custom_fields") {
		if n++; n > customFieldsMax {
			break
		}
		kind := c.Text("type")
		f.Set("checkout.custom_fields."+strconv.Itoa(n), c.Text(kind, "value"))
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
	f.Set("subscription.id", b.rec.EntityID)
	f.Set("subscription.status", o.Text("status"))
	f.Set("customer.id", cmp.Or(o.Text("customer"), o.Text("customer", "id")))
	f.Set("subscription.description", o.Text("description"))
	f.Set("subscription.price_id", cmp.Or(item.Text("price", "id"), o.Text("plan", "id")))
	f.Set("subscription.price_name", cmp.Or(item.Text("price", "nickname"), o.Text("plan", "nickname")))
	f.Set("subscription.product_id", cmp.Or(item.Text("price", "product"), o.Text("plan", "product")))
	f.Set("subscription.interval", cmp.Or(item.Text("price", "recurring", "interval"), o.Text("plan", "interval")))
	f.Set("subscription.quantity", cmp.Or(item.Text("quantity"), o.Text("quantity")))
	f.unix("subscription.start_time", o.Text("start_date"))
	f.unix("subscription.period_end", cmp.Or(item.Text("current_period_end"), o.Text("current_period_end")))
	f.unix("subscription.trial_end", o.Text("trial_end"))
	f.unix("subscription.cancel_at", o.Text("cancel_at"))
	f.Set("subscription.cancel_at_period_end", o.Text("cancel_at_period_end"))
	f.unix("subscription.canceled_at", o.Text("canceled_at"))
	f.Set("subscription.cancel_reason", cmp.Or(o.Text("cancellation_details", "feedback"), o.Text("cancellation_details", "reason")))
	f.metadata(o)
}

func (b *builder) invoiceFields() error {
	f, o := &b.fields, b.o
	f.Set("invoice.id", o.Text("id"))
	f.Set("invoice.number", o.Text("number"))
	f.Set("invoice.status", o.Text("status"))
	f.Set("invoice.reason", o.Text("billing_reason"))
	f.Set("invoice.url", o.Text("hosted_invoice_url"))
	f.Set("invoice.attempts", o.Text("attempt_count"))
	f.unix("invoice.next_attempt", o.Text("next_payment_attempt"))
	f.Set("subscription.id", cmp.Or(o.Text("subscription"), o.Text("parent", "subscription_details", "subscription")))
	f.Set("customer.id", cmp.Or(o.Text("customer"), o.Text("customer", "id")))
	f.metadata(o)
	return b.money("invoice.amount_due", "amount_due", "invoice.amount_paid", "amount_paid")
}
