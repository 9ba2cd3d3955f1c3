package woocommerce

import (
	"cmp"
	"html"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/money"
)

// Bounds of what is taken over from an order; the body keeps the rest.
const (
	itemsNamedMax = 20
	itemsApartMax = 3
	metaReadMax   = 500
	quantityMax   = 1_000_000

	textBytesMax  = 1000
	idBytesMax    = 128
	emailBytesMax = 320 // a longer text is no address, and half of one would be somebody else's
	phoneBytesMax = 40
)

// payerOf is the customer: billing first, shipping for what billing leaves out. Nil where the order names nobody.
func payerOf(connection string, o object) *schemas.Payer {
	billing, shipping := o.Object("billing"), o.Object("shipping")
	p := schemas.Payer{Email: strings.TrimSpace(billing.Text("email")), Phone: strings.TrimSpace(cmp.Or(billing.Text("phone"), shipping.Text("phone")))}
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
	p.GivenName, p.Surname = connectors.Cut(named.Text("first_name"), textBytesMax), connectors.Cut(named.Text("last_name"), textBytesMax)
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
	text := func(name string) string { return connectors.Cut(strings.TrimSpace(o.Text(name)), textBytesMax) }
	return schemas.Address{
		Line1: text("address_1"), Line2: text("address_2"), City: text("city"), State: text("state"),
		PostalCode: text("postcode"), Country: text("country"),
	}
}

// fieldSet reads the parts of an order.
type fieldSet struct{ connectors.FieldSet }

// date writes a moment of UTC in one form; what is no date is left out.
func (f *fieldSet) date(name, value string) {
	if t, err := parseTime(value); err == nil {
		f.Set(name, t.Format(time.RFC3339))
	}
}

// money keeps the digits; what is no amount is left out, since nothing but a mapping hangs on it.
func (f *fieldSet) money(name, value, currency string) {
	if money.Check(value, strings.ToUpper(currency)) == nil {
		f.Set(name, value)
	}
}

// fieldsOf reads what a mapping may use besides the record's own members.
func fieldsOf(o object) map[string]string {
	f, currency := fieldSet{connectors.FieldSet{Values: map[string]string{}}}, o.Text("currency")
	f.Set("order.number", o.Text("number"))
	f.date("order.create_time", o.Text("date_created_gmt"))
	f.date("order.paid_time", o.Text("date_paid_gmt"))
	f.date("order.completed_time", o.Text("date_completed_gmt"))
	f.Set("order.created_via", o.Text("created_via"))
	f.Set("order.note", o.Text("customer_note"))
	f.Set("order.payment_url", o.Text("payment_url"))
	if parent := o.Text("parent_id"); parent != "0" {
		f.Set("order.parent_id", parent)
	}
	f.money("order.tax_total", o.Text("total_tax"), currency)
	f.money("order.shipping", o.Text("shipping_total"), currency)
	f.money("order.discount", o.Text("discount_total"), currency)
	f.Set("payment.method", o.Text("payment_method"))
	f.Set("payment.title", plainText(o.Text("payment_method_title")))
	f.Set("payment.transaction_id", o.Text("transaction_id"))
	if id := o.Text("customer_id"); id != "0" {
		f.Set("customer.id", id)
	}
	f.Set("customer.company", o.Text("billing", "company"))
	f.items(o.Objects("line_items"), currency)
	f.Set("order.coupons", joined(o.Objects("coupon_lines"), "code"))
	f.Set("order.fees", joined(o.Objects("fee_lines"), "name"))
	f.shipping(o)
	if refunds := o.Objects("refunds"); len(refunds) > 0 {
		f.Set("refund.count", strconv.Itoa(len(refunds)))
		f.Set("refund.id", refunds[0].Text("id")) // the newest stands first
		f.Set("refund.reason", refunds[0].Text("reason"))
	}
	f.attribution(o.Objects("meta_data"))
	return f.Values
}

func (f *fieldSet) items(lines []object, currency string) {
	quantity := 0
	for _, l := range lines {
		if n, err := strconv.Atoi(l.Text("quantity")); err == nil && n > 0 && n < quantityMax && quantity < quantityMax {
			quantity += n
		}
	}
	if quantity > 0 {
		f.Set("order.item_quantity", strconv.Itoa(quantity))
	}
	for i, l := range lines[:min(len(lines), itemsApartMax)] {
		at := "order.items." + strconv.Itoa(i+1) + "."
		f.Set(at+"name", plainText(l.Text("name")))
		f.Set(at+"sku", l.Text("sku"))
		f.Set(at+"product_id", l.Text("product_id"))
		f.Set(at+"quantity", l.Text("quantity"))
		f.money(at+"total", l.Text("total"), currency)
	}
	f.Set("order.item_names", joined(lines, "name"))
	f.Set("order.item_skus", joined(lines, "sku"))
}

func (f *fieldSet) shipping(o object) {
	to := o.Object("shipping")
	f.Set("shipping.full_name", strings.TrimSpace(to.Text("first_name")+" "+to.Text("last_name")))
	f.Set("shipping.company", to.Text("company"))
	f.Set("shipping.phone", to.Text("phone"))
	a := addressOf(to)
	f.Set("shipping.address.line1", a.Line1)
	f.Set("shipping.address.line2", a.Line2)
	f.Set("shipping.address.city", a.City)
	f.Set("shipping.address.state", a.State)
	f.Set("shipping.address.postal_code", a.PostalCode)
	f.Set("shipping.address.country", a.Country)
	f.Set("shipping.method", joined(o.Objects("shipping_lines"), "method_title"))
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
			f.Set(name, m.Text("value"))
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
