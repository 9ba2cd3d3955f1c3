package woocommerce

import (
	"html"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/money"
)

// Bounds of what is taken over from an order; the body keeps the rest.
const (
	fieldsMax        = 100
	fieldBytesMax    = 1024
	fieldsBytesTotal = 8 << 10
	itemsNamedMax    = 20
	itemsApartMax    = 3
	metaReadMax      = 500
	quantityMax      = 1_000_000

	textBytesMax  = 1000
	idBytesMax    = 128
	emailBytesMax = 320 // a longer text is no address, and half of one would be somebody else's
	phoneBytesMax = 40
)

// payerOf is the customer: billing first, shipping for what billing leaves out. Nil where the order names nobody.
func payerOf(connection string, o object) *schemas.Payer {
	billing, shipping := o.Object("billing"), o.Object("shipping")
	p := schemas.Payer{Email: strings.TrimSpace(billing.Text("email")), Phone: strings.TrimSpace(firstOf(billing.Text("phone"), shipping.Text("phone")))}
	if len(p.Email) > emailBytesMax {
		p.Email = ""
	}
	if len(p.Phone) > phoneBytesMax {
		p.Phone = ""
	}
	named := billing
	if billing.Text("first_name") == "" && billing.Text("last_name") == "" {
		named = shipping
	}
	p.GivenName, p.Surname = cut(named.Text("first_name"), textBytesMax), cut(named.Text("last_name"), textBytesMax)
	// A customer's number counts within one store; as a person's key it has to say which.
	if id := o.Text("customer_id"); id != "0" && idForm.MatchString(id) {
		p.PayerID = connection + ":" + id
	}
	if p.Address = addressOf(billing); p.Address == (schemas.Address{Country: p.Address.Country}) {
		if whole := addressOf(shipping); whole != (schemas.Address{}) {
			p.Address = whole
		}
	}
	if p.Address.Country == "" {
		p.Address.Country = addressOf(shipping).Country
	}
	if p == (schemas.Payer{}) {
		return nil
	}
	return &p
}

func addressOf(o object) schemas.Address {
	text := func(name string) string { return cut(strings.TrimSpace(o.Text(name)), textBytesMax) }
	return schemas.Address{
		Line1: text("address_1"), Line2: text("address_2"), City: text("city"), State: text("state"),
		PostalCode: text("postcode"), Country: text("country"),
	}
}

// fieldSet collects values by catalogue name, in the order of the calls, until a bound is met.
type fieldSet struct {
	values map[string]string
	bytes  int
}

func (f *fieldSet) set(name, value string) {
	value = cut(strings.TrimSpace(value), fieldBytesMax)
	if _, taken := f.values[name]; taken || value == "" || len(f.values) == fieldsMax || f.bytes+len(name)+len(value) > fieldsBytesTotal {
		return
	}
	f.values[name] = value
	f.bytes += len(name) + len(value)
}

// date writes a moment of UTC in one form; what is no date is left out.
func (f *fieldSet) date(name, value string) {
	if t, err := parseTime(value); err == nil {
		f.set(name, t.Format(time.RFC3339))
	}
}

// money keeps the digits; what is no amount is left out, since nothing but a mapping hangs on it.
func (f *fieldSet) money(name, value, currency string) {
	if money.Check(value, strings.ToUpper(currency)) == nil {
		f.set(name, value)
	}
}

// fieldsOf reads what a mapping may use besides the record's own members.
func fieldsOf(o object) map[string]string {
	f, currency := fieldSet{values: map[string]string{}}, o.Text("currency")
	f.set("order.number", o.Text("number"))
	f.date("order.create_time", o.Text("date_created_gmt"))
	f.date("order.paid_time", o.Text("date_paid_gmt"))
	f.date("order.completed_time", o.Text("date_completed_gmt"))
	f.set("order.created_via", o.Text("created_via"))
	f.set("order.note", o.Text("customer_note"))
	f.set("order.payment_url", o.Text("payment_url"))
	if parent := o.Text("parent_id"); parent != "0" {
		f.set("order.parent_id", parent)
	}
	f.money("order.tax_total", o.Text("total_tax"), currency)
	f.money("order.shipping", o.Text("shipping_total"), currency)
	f.money("order.discount", o.Text("discount_total"), currency)
	f.set("payment.method", o.Text("payment_method"))
	f.set("payment.title", plainText(o.Text("payment_method_title")))
	f.set("payment.transaction_id", o.Text("transaction_id"))
	if id := o.Text("customer_id"); id != "0" {
		f.set("customer.id", id)
	}
	f.set("customer.company", o.Text("billing", "company"))
	f.items(o.Objects("line_items"), currency)
	f.set("order.coupons", joined(o.Objects("coupon_lines"), "code"))
	f.set("order.fees", joined(o.Objects("fee_lines"), "name"))
	f.shipping(o)
	if refunds := o.Objects("refunds"); len(refunds) > 0 {
		f.set("refund.count", strconv.Itoa(len(refunds)))
		f.set("refund.id", refunds[0].Text("id")) // the newest stands first
		f.set("refund.reason", refunds[0].Text("reason"))
	}
	f.attribution(o.Objects("meta_data"))
	return f.values
}

func (f *fieldSet) items(lines []object, currency string) {
	quantity := 0
	for _, l := range lines {
		if n, err := strconv.Atoi(l.Text("quantity")); err == nil && n > 0 && n < quantityMax && quantity < quantityMax {
			quantity += n
		}
	}
	if quantity > 0 {
		f.set("order.item_quantity", strconv.Itoa(quantity))
	}
	for i, l := range lines[:min(len(lines), itemsApartMax)] {
		at := "order.items." + strconv.Itoa(i+1) + "."
		f.set(at+"name", plainText(l.Text("name")))
		f.set(at+"sku", l.Text("sku"))
		f.set(at+"product_id", l.Text("product_id"))
		f.set(at+"quantity", l.Text("quantity"))
		f.money(at+"total", l.Text("total"), currency)
	}
	f.set("order.item_names", joined(lines, "name"))
	f.set("order.item_skus", joined(lines, "sku"))
}

func (f *fieldSet) shipping(o object) {
	to := o.Object("shipping")
	f.set("shipping.full_name", strings.TrimSpace(to.Text("first_name")+" "+to.Text("last_name")))
	f.set("shipping.company", to.Text("company"))
	f.set("shipping.phone", to.Text("phone"))
	a := addressOf(to)
	f.set("shipping.address.line1", a.Line1)
	f.set("shipping.address.line2", a.Line2)
	f.set("shipping.address.city", a.City)
	f.set("shipping.address.state", a.State)
	f.set("shipping.address.postal_code", a.PostalCode)
	f.set("shipping.address.country", a.Country)
	f.set("shipping.method", joined(o.Objects("shipping_lines"), "method_title"))
}

// attributed are the places where WooCommerce itself keeps how the customer came.
var attributed = map[string]string{
	"_wc_order_attribution_utm_source":   "attribution.source",
	"_wc_order_attribution_utm_medium":   "attribution.medium",
	"_wc_order_attribution_utm_campaign": "attribution.campaign",
	"_wc_order_attribution_referrer":     "attribution.referrer",
}

func (f *fieldSet) attribution(meta []object) {
	for _, m := range meta[:min(len(meta), metaReadMax)] {
		if name, ok := attributed[m.Text("key")]; ok {
			f.set(name, m.Text("value"))
		}
	}
}

// joined lists one member of several lines, as a person would.
func joined(lines []object, member string) string {
	var texts []string
	for _, l := range lines {
		if t := strings.TrimSpace(plainText(l.Text(member))); t != "" && len(texts) < itemsNamedMax {
			texts = append(texts, t)
		}
	}
	return strings.Join(texts, ", ")
}

// plainText undoes the HTML entities that WordPress keeps in titles.
func plainText(text string) string { return html.UnescapeString(text) }
