package shopify

import (
	"strconv"
	"strings"
	"time"
)

// Bounds of OrderEvent.Fields. What does not fit is left out; the body keeps it.
const (
	fieldsMax        = 100
	fieldBytesMax    = 1024
	fieldsBytesTotal = 8 << 10
	fieldItemsMax    = 20
	itemsNamed       = 3 // items with a field of their own
	quantityMax      = 1_000_000
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

// date writes a moment in UTC. A text that is no date stays as it is: a mapping to a date says so, and the event's effect
// does not hang on it.
func (f *fieldSet) date(name, value string) {
	if t, err := parseTime(value); err == nil {
		value = t.Format(time.RFC3339)
	}
	f.set(name, value)
}

func (f *fieldSet) order(o object, cancelled time.Time) error {
	f.set("order.name", o.Text("name"))
	f.date("order.create_time", o.Text("created_at"))
	f.date("order.processed_time", o.Text("processed_at"))
	f.date("order.closed_time", o.Text("closed_at"))
	if !cancelled.IsZero() {
		f.set("order.cancelled", "true")
		f.set("order.cancelled_time", cancelled.Format(time.RFC3339))
		f.set("order.cancel_reason", o.Text("cancel_reason"))
	}
	f.set("order.fulfillment_status", o.Text("fulfillment_status"))
	for _, m := range [][2]string{
		{"subtotal_price", "order.item_total"},
		{"total_tax", "order.tax_total"},
		{"total_discounts", "order.discount"},
		{"current_total_price", "order.current_total"},
		{"total_outstanding", "order.outstanding"},
	} {
		a, err := amountOf(o, m[0], o.Text("currency"))
		if err != nil {
			return err
		}
		if a != nil {
			f.set(m[1], a.Value)
		}
	}
	f.set("order.shipping", o.Text("total_shipping_price_set", "shop_money", "amount"))
	f.set("order.presentment_currency", o.Text("presentment_currency"))
	f.items(o.Objects("line_items"))
	var codes, attributes []string
	for _, c := range o.Objects("discount_codes") {
		codes = appendText(codes, c.Text("code"))
	}
	for _, a := range o.Objects("note_attributes") {
		if name := strings.TrimSpace(a.Text("name")); name != "" {
			attributes = append(attributes, name+": "+a.Text("value"))
		}
	}
	f.set("order.coupon", strings.Join(codes, ", "))
	f.set("order.attributes", strings.Join(attributes, "; "))
	f.set("order.note", o.Text("note"))
	f.set("order.tags", o.Text("tags"))
	f.set("order.source", o.Text("source_name"))
	f.set("order.status_url", o.Text("order_status_url"))
	f.set("payment.method", strings.Join(texts(o, "payment_gateway_names"), ", "))
	f.set("customer.locale", o.Text("customer_locale"))
	f.set("customer.accepts_marketing", o.Text("buyer_accepts_marketing"))
	f.set("customer.company", o.Text("billing_address", "company"))
	ship := o.Object("shipping_address")
	f.set("shipping.full_name", firstOf(ship.Text("name"), strings.TrimSpace(ship.Text("first_name")+" "+ship.Text("last_name"))))
	f.set("shipping.phone", ship.Text("phone"))
	f.set("shipping.line1", ship.Text("address1"))
	f.set("shipping.line2", ship.Text("address2"))
	f.set("shipping.city", ship.Text("city"))
	f.set("shipping.state", firstOf(ship.Text("province_code"), ship.Text("province")))
	f.set("shipping.postal_code", ship.Text("zip"))
	f.set("shipping.country", ship.Text("country_code"))
	for _, l := range o.Objects("shipping_lines") {
		f.set("shipping.method", l.Text("title"))
	}
	return nil
}

func (f *fieldSet) items(list []object) {
	var names, skus []string
	quantity := 0
	for _, item := range list {
		if n, err := strconv.Atoi(item.Text("quantity")); err == nil && n > 0 && n < quantityMax {
			quantity += n
		}
		if len(names) < fieldItemsMax {
			names = appendText(names, firstOf(item.Text("name"), item.Text("title")))
			skus = appendText(skus, item.Text("sku"))
		}
	}
	f.set("order.item_names", strings.Join(names, ", "))
	f.set("order.item_skus", strings.Join(skus, ", "))
	if quantity > 0 {
		f.set("order.item_quantity", strconv.Itoa(quantity))
	}
	for i, name := range names[:min(len(names), itemsNamed)] {
		f.set("order.items."+strconv.Itoa(i+1)+".name", name)
	}
}

func appendText(list []string, text string) []string {
	if text = strings.TrimSpace(text); text == "" {
		return list
	}
	return append(list, text)
}

func (f *fieldSet) transaction(id, kind string, tx object) {
	f.set("payment.id", id)
	f.set("payment.kind", kind)
	f.set("payment.method", tx.Text("gateway"))
	f.set("payment.reason", tx.Text("error_code"))
	f.set("payment.message", tx.Text("message"))
}

func (f *fieldSet) dispute(id string, o object) {
	f.set("dispute.id", id)
	f.set("dispute.type", o.Text("type"))
	f.set("dispute.reason", o.Text("reason"))
	f.date("dispute.seller_response_due", o.Text("evidence_due_by"))
}
