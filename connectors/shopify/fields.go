package shopify

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
)

// Bounds of what is read into OrderEvent.Fields; the body keeps the rest.
const (
	fieldItemsMax = 20
	itemsNamed    = 3 // items with a field of their own
	quantityMax   = 1_000_000
)

// fieldSet reads Shopify's objects.
type fieldSet struct{ connectors.FieldSet }

func (f *fieldSet) date(name, value string) { f.SetDate(name, value, parseTime) }

func (f *fieldSet) order(o object, cancelled time.Time) error {
	f.Set("order.name", o.Text("name"))
	f.date("order.create_time", o.Text("created_at"))
	f.date("order.processed_time", o.Text("processed_at"))
	f.date("order.closed_time", o.Text("closed_at"))
	if !cancelled.IsZero() {
		f.Set("order.cancelled", "true")
		f.Set("order.cancelled_time", cancelled.Format(time.RFC3339))
		f.Set("order.cancel_reason", o.Text("cancel_reason"))
	}
	f.Set("order.fulfillment_status", o.Text("fulfillment_status"))
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
			f.Set(m[1], a.Value)
		}
	}
	f.Set("order.shipping", o.Text("total_shipping_price_set", "shop_money", "amount"))
	f.Set("order.presentment_currency", o.Text("presentment_currency"))
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
	f.Set("order.coupon", strings.Join(codes, ", "))
	f.Set("order.attributes", strings.Join(attributes, "; "))
	f.Set("order.note", o.Text("note"))
	f.Set("order.tags", o.Text("tags"))
	f.Set("order.source", o.Text("source_name"))
	f.Set("order.status_url", o.Text("order_status_url"))
	f.Set("payment.method", strings.Join(texts(o, "payment_gateway_names"), ", "))
	f.Set("customer.locale", o.Text("customer_locale"))
	f.Set("customer.accepts_marketing", o.Text("buyer_accepts_marketing"))
	f.Set("customer.company", o.Text("billing_address", "company"))
	ship := o.Object("shipping_address")
	f.Set("shipping.full_name", cmp.Or(ship.Text("name"), strings.TrimSpace(ship.Text("first_name")+" "+ship.Text("last_name"))))
	f.Set("shipping.phone", ship.Text("phone"))
	f.Set("shipping.line1", ship.Text("address1"))
	f.Set("shipping.line2", ship.Text("address2"))
	f.Set("shipping.city", ship.Text("city"))
	f.Set("shipping.state", cmp.Or(ship.Text("province_code"), ship.Text("province")))
	f.Set("shipping.postal_code", ship.Text("zip"))
	f.Set("shipping.country", ship.Text("country_code"))
	for _, l := range o.Objects("shipping_lines") {
		f.Set("shipping.method", l.Text("title"))
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
			names = appendText(names, cmp.Or(item.Text("name"), item.Text("title")))
			skus = appendText(skus, item.Text("sku"))
		}
	}
	f.Set("order.item_names", strings.Join(names, ", "))
	f.Set("order.item_skus", strings.Join(skus, ", "))
	if quantity > 0 {
		f.Set("order.item_quantity", strconv.Itoa(quantity))
	}
	for i, name := range names[:min(len(names), itemsNamed)] {
		f.Set("order.items."+strconv.Itoa(i+1)+".name", name)
	}
}

func appendText(list []string, text string) []string {
	if text = strings.TrimSpace(text); text == "" {
		return list
	}
	return append(list, text)
}

func (f *fieldSet) transaction(id, kind string, tx object) {
	f.Set("payment.id", id)
	f.Set("payment.kind", kind)
	f.Set("payment.method", tx.Text("gateway"))
	f.Set("payment.reason", tx.Text("error_code"))
	f.Set("payment.message", tx.Text("message"))
}

func (f *fieldSet) dispute(id string, o object) {
	f.Set("dispute.id", id)
	f.Set("dispute.type", o.Text("type"))
	f.Set("dispute.reason", o.Text("reason"))
	f.date("dispute.seller_response_due", o.Text("evidence_due_by"))
}
