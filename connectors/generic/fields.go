package generic

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// Bounds of what is read into OrderEvent.Fields and Payer; the body keeps the rest.
const (
	fieldsUsual   = 32
	fieldNameMax  = 100
	fieldItemsMax = 20
	ownDepthMax   = 6 // of a shop's own field
	ownEntriesMax = 3 // of a list, each by its number
	textBytesMax  = 1000
	emailBytesMax = 320 // a longer text is no address, and half of one would be somebody else's
	phoneBytesMax = 40
)

// OwnFields is in front of the names of a shop's fields that Tillstream does not know: data.loyalty.tier.
const OwnFields = "data."

func (d *dialect) payer(e *envelope) *schemas.Payer {
	whole := func(name string, max int) string {
		if t := d.text(e, name); len(t) <= max {
			return t
		}
		return ""
	}
	text := func(name string) string { return connectors.Cut(d.text(e, name), textBytesMax) }
	p := schemas.Payer{
		Email: whole("customer.email", emailBytesMax), Phone: whole("customer.phone", phoneBytesMax), PayerID: whole("customer.external_id", idBytesMax),
		GivenName: text("customer.first_name"), Surname: text("customer.last_name"), FullName: text("customer.full_name"),
		Address: schemas.Address{
			Line1: text("customer.address.line1"), Line2: text("customer.address.line2"), City: text("customer.address.city"),
			State: text("customer.address.state"), PostalCode: text("customer.address.postal_code"), Country: text("customer.address.country"),
		},
	}
	if p.FullName == "" {
		p.FullName = strings.TrimSpace(p.GivenName + " " + p.Surname)
	}
	if p == (schemas.Payer{}) {
		return nil // absence erases nothing
	}
	return &p
}

// named are the fields that go to the catalogue's names as they are.
var named = []struct{ from, to string }{
	{"order_number", "order.number"},
	{"previous_status", "order.previous_status"},
	{"payment_method", "payment.method"},
	{"transaction_id", "payment.id"},
	{"coupon", "order.coupon"},
	{"note", "order.note"},
	{"shipping_method", "shipping.method"},
	{"subscription_id", "subscription.id"},
	{"plan", "subscription.plan_name"},
}

func (d *dialect) fields(rec *schemas.OrderEvent, e *envelope) (map[string]string, error) {
	f := &connectors.FieldSet{Values: make(map[string]string, fieldsUsual)}
	for _, n := range named {
		f.Set(n.to, d.text(e, n.from))
	}
	if rec.Kind == schemas.KindSubscription {
		f.Set("subscription.id", rec.EntityID)
	}
	for _, n := range []struct{ from, to string }{
		{"amount_paid", "order.amount_paid"}, {"shipping_total", "order.shipping"}, {"tax_total", "order.tax_total"}, {"discount_total", "order.discount"},
	} {
		a, err := d.amount(e, n.from)
		if err != nil {
			return nil, err
		}
		if a != nil {
			f.Set(n.to, a.Value)
		}
	}
	for _, n := range []struct{ from, to string }{{"created_at", "order.create_time"}, {"next_billing_at", "subscription.next_billing_time"}} {
		v, _ := d.at(e, n.from)
		text := textOf(v)
		// A text that is no date stays as it is: the event's effect does not hang on it.
		if t, err := parseTime(v); err == nil {
			text = t.Format(time.RFC3339)
		}
		f.Set(n.to, text)
	}
	d.items(f, e)
	d.own(f, e)
	return f.Values, nil
}

// items reads what was bought.
func (d *dialect) items(f *connectors.FieldSet, e *envelope) {
	v, _ := d.at(e, "items")
	list, _ := v.([]any)
	var names, skus []string
	quantity := int64(0)
	member := func(item any, name string) string {
		for _, p := range d.paths[name] {
			if t := textOf(lookup(item, p.steps)); t != "" {
				return t
			}
		}
		return ""
	}
	for i, item := range list {
		if n, err := strconv.ParseInt(member(item, "items.quantity"), 10, 32); err == nil && n > 0 {
			quantity += n
		}
		if i >= fieldItemsMax {
			continue
		}
		name, sku := member(item, "items.name"), member(item, "items.sku")
		if name != "" {
			names = append(names, name)
		}
		if sku != "" {
			skus = append(skus, sku)
		}
		if i < ownEntriesMax {
			at := fmt.Sprintf("order.items.%d.", i+1)
			f.Set(at+"name", name)
			f.Set(at+"sku", sku)
			f.Set(at+"quantity", member(item, "items.quantity"))
			f.Set(at+"price", member(item, "items.price"))
		}
	}
	f.Set("order.item_names", strings.Join(names, ", "))
	f.Set("order.item_skus", strings.Join(skus, ", "))
	if quantity > 0 {
		f.Set("order.item_quantity", strconv.FormatInt(quantity, 10))
	}
}

// own adds the shop's further fields by their path. What has a name of ours already is not told twice.
func (d *dialect) own(f *connectors.FieldSet, e *envelope) {
	w := walker{d: d, f: f, at: make([]byte, 0, fieldNameMax)}
	w.at = append(w.at, OwnFields...)
	w.value(map[string]any(e.data), 0)
}

// walker goes through data, members in the order of their names so that a bound cuts the same on every machine.
type walker struct {
	d  *dialect
	f  *connectors.FieldSet
	at []byte // the name so far
}

func (w *walker) value(v any, depth int) {
	if depth > ownDepthMax || w.f.Full() {
		return
	}
	before := len(w.at)
	step := func(name string, v any) {
		if before > len(OwnFields) {
			w.at = append(w.at, '.')
		}
		w.at = append(w.at, name...)
		w.value(v, depth+1)
		w.at = w.at[:before]
	}
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for key := range v {
			if key != "" && len(key) <= fieldNameMax && !strings.Contains(key, ".") && !hasControl(key) {
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		for _, key := range keys {
			step(key, v[key])
		}
	case []any:
		for i, entry := range v[:min(len(v), ownEntriesMax)] {
			step(strconv.Itoa(i+1), entry)
		}
	default:
		if len(w.at) <= fieldNameMax && !w.d.known[string(w.at[len(OwnFields):])] {
			w.f.Set(string(w.at), textOf(v))
		}
	}
}
