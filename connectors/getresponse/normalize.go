package getresponse

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/money"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

// object is a decoded JSON object.
type object = strictjson.Object

// normalizer reads orders as one connection wants them read.
type normalizer struct {
	words map[string]schemas.PaymentStatus // by folded word; nil: none is configured
}

const (
	// textBytesMax bounds a name, a line of an address, the shop's own key (GetResponse: 255 characters).
	textBytesMax  = 1000
	emailBytesMax = 320
	phoneBytesMax = 40
)

// normalize turns an envelope, as poll.go makes it, into a record: {"order":{...},"contact":{...}|null}, each part with
// the bytes of GetResponse's answer, and "returned":"..." where the order went back to a content that it had before.
func (n normalizer) normalize(d connectors.Delivery) ([]schemas.OrderEvent, error) {
	v, err := strictjson.Parse(d.Body)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("body: not a JSON object")
	}
	envelope := object(m)
	order, contact := envelope.Object("order"), envelope.Object("contact")
	if order == nil {
		return nil, errors.New("order: missing")
	}
	id := order.Text("orderId")
	if !idForm.MatchString(id) {
		return nil, fmt.Errorf("order.orderId: %.40q is no id", id)
	}
	total, err := amountOf(order, "totalPrice")
	if err != nil {
		return nil, err
	}
	at := d.ReceivedAt.UTC().Truncate(time.Millisecond)
	if d.ReceivedAt.IsZero() {
		return nil, errors.New("delivery: the time at which the order was read is missing")
	}
	hash, body := contentHash(envelope, order, contact), sha256.Sum256(d.Body)
	word := connectors.Cut(cmp.Or(order.Text("billingStatus"), order.Text("status")), textBytesMax)
	rec := schemas.OrderEvent{
		EventID: eventID(id, cmp.Or(envelope.Text("returned"), order.Text("processedAt")), hash),
		Kind:    schemas.KindOrder, Provider: Type, Environment: d.Environment, Connection: d.Connection, Resource: ResourceOrders,
		RootID: id, EntityID: id, Links: []schemas.Link{}, EventType: eventType, ProviderStatus: word, Status: n.statusOf(word),
		ProviderTime: at, ReceivedAt: d.ReceivedAt, DeliveryIDs: []string{}, Origin: d.Origin, Amount: total,
		Payer: payerOf(order, contact), CustomID: connectors.Cut(order.Text("externalId"), textBytesMax),
		Body: d.Body, BodyHash: hex.EncodeToString(body[:]), Fingerprint: hash, Test: d.Test, Headers: d.Headers,
	}
	if total != nil {
		switch rec.Status {
		case schemas.StatusRefunded:
			whole := *total
			rec.RefundedTotal = &whole
		case schemas.StatusPaid: // takes back a refund that was told before
			rec.RefundedTotal = &schemas.Amount{Value: "0", Currency: total.Currency}
		}
	}
	if rec.Fields, err = fieldsOf(order, contact); err != nil {
		return nil, err
	}
	return []schemas.OrderEvent{rec}, nil
}

// versionBytesMax bounds the version's text within an event id.
const versionBytesMax = 40

// eventID names a content: an order that is read again unchanged is the same event.
func eventID(order, version, hash string) string {
	return strings.Join([]string{eventType, order, connectors.Cut(version, versionBytesMax), hash[:16]}, ":")
}

// contactContent are the members of a contact that a record is made of. Scores, activities and times change with every
// message that is opened, and say nothing about an order.
var contactContent = []string{"contactId", "email", "name", "origin"}

// contentHash is the hash of what a record is made of: all of the order, and of the contact what concerns it.
func contentHash(envelope, order, contact object) string {
	who := map[string]any{"campaign": contact.Text("campaign", "name")}
	for _, name := range contactContent {
		who[name] = contact.Text(name)
	}
	sum := sha256.Sum256(strictjson.AppendCanonical(nil, map[string]any{
		"order": map[string]any(order), "contact": who, "returned": envelope.Text("returned"),
	}))
	return hex.EncodeToString(sum[:])
}

// amountOf reads a price in units of the currency; nil where there is none.
func amountOf(o object, name string) (*schemas.Amount, error) {
	value := o.Text(name)
	if value == "" && !o.Has(name) {
		return nil, nil
	}
	a := schemas.Amount{Value: value, Currency: strings.ToUpper(o.Text("currency"))}
	if err := money.Check(a.Value, a.Currency); err != nil {
		return nil, fmt.Errorf("order.%s: %w", name, err)
	}
	return &a, nil
}

// payerOf is the contact, with address, phone and the two parts of the name from the order.
func payerOf(order, contact object) *schemas.Payer {
	billing, shipping := order.Object("billingAddress"), order.Object("shippingAddress")
	given, surname := connectors.Cut(billing.Text("firstName"), textBytesMax), connectors.Cut(billing.Text("lastName"), textBytesMax)
	p := schemas.Payer{FullName: connectors.Cut(strings.TrimSpace(contact.Text("name")), textBytesMax)}
	both := strings.TrimSpace(given + " " + surname)
	if p.FullName == "" || strings.EqualFold(p.FullName, both) { // another name on the bill may be another person's
		p.GivenName, p.Surname, p.FullName = given, surname, cmp.Or(p.FullName, connectors.Cut(both, textBytesMax))
	}
	if email := strings.TrimSpace(contact.Text("email")); len(email) <= emailBytesMax {
		p.Email = email
	}
	if id := contact.Text("contactId"); p.Email != "" && idForm.MatchString(id) {
		p.PayerID = id // an id without an address would pass for a contact to whom one can write
	}
	for _, a := range []object{billing, shipping} {
		if phone := strings.TrimSpace(a.Text("phone")); p.Phone == "" && len(phone) <= phoneBytesMax {
			p.Phone = phone
		}
		if p.Address.Line1+p.Address.City+p.Address.PostalCode == "" && a != nil {
			p.Address = schemas.Address{
				Line1: connectors.Cut(a.Text("address1"), textBytesMax), Line2: connectors.Cut(a.Text("address2"), textBytesMax), City: connectors.Cut(a.Text("city"), textBytesMax),
				State: connectors.Cut(a.Text("province"), textBytesMax), PostalCode: connectors.Cut(a.Text("zip"), textBytesMax), Country: connectors.Cut(country(a.Text("countryCode")), textBytesMax),
			}
		}
	}
	if p == (schemas.Payer{}) {
		return nil
	}
	return &p
}

// Bounds of what is read into OrderEvent.Fields; the body keeps the rest.
const (
	fieldsMax     = 60
	itemsMax      = 3
	metaFieldsMax = 10
)

// fieldSet reads GetResponse's form of dates.
type fieldSet struct{ connectors.FieldSet }

// timeLayout is GetResponse's: no colon in the offset.
const timeLayout = "2006-01-02T15:04:05-0700"

// date writes a moment in one form. A text that is no date stays as it is: a mapping to a date says so.
func (f *fieldSet) date(name, value string) {
	for _, layout := range []string{timeLayout, time.RFC3339} {
		if t, err := time.Parse(layout, value); err == nil {
			value = t.UTC().Format(time.RFC3339)
			break
		}
	}
	f.Set(name, value)
}

func fieldsOf(order, contact object) (map[string]string, error) {
	f := fieldSet{connectors.FieldSet{Values: map[string]string{}, Max: fieldsMax}}
	for _, price := range [][2]string{{"order.shipping", "shippingPrice"}, {"order.total_with_tax", "totalPriceTax"}} {
		a, err := amountOf(order, price[1])
		if err != nil {
			return nil, err
		}
		if a != nil {
			f.Set(price[0], a.Value)
		}
	}
	f.Set("order.fulfilment", order.Text("status"))
	f.Set("order.billing_status", order.Text("billingStatus"))
	f.Set("order.external_id", order.Text("externalId"))
	f.Set("order.url", order.Text("orderUrl"))
	f.Set("order.cart_id", order.Text("cartId"))
	f.Set("order.description", order.Text("description"))
	f.date("order.create_time", order.Text("processedAt"))
	ship := order.Object("shippingAddress")
	f.Set("shipping.full_name", cmp.Or(strings.TrimSpace(ship.Text("firstName")+" "+ship.Text("lastName")), ship.Text("name")))
	f.Set("shipping.company", ship.Text("company"))
	f.Set("shipping.city", ship.Text("city"))
	f.Set("shipping.country", country(ship.Text("countryCode")))
	f.Set("billing.company", order.Text("billingAddress", "company"))
	f.Set("contact.id", cmp.Or(contact.Text("contactId"), order.Text("contactId")))
	f.Set("contact.list", contact.Text("campaign", "name"))
	f.Set("contact.origin", contact.Text("origin"))
	quantity := int64(0)
	for i, item := range order.Objects("selectedVariants") {
		if n, err := strconv.ParseInt(item.Text("quantity"), 10, 32); err == nil && n > 0 {
			quantity += n
		}
		if i < itemsMax {
			name := "order.items." + strconv.Itoa(i+1)
			f.Set(name+".variant_id", item.Text("variantId"))
			for _, c := range item.Objects("categories") {
				f.Set(name+".category", c.Text("name"))
				break
			}
		}
	}
	if quantity > 0 {
		f.Set("order.item_quantity", strconv.FormatInt(quantity, 10))
	}
	var meta []string
	for i, m := range order.Objects("metaFields") {
		if i < metaFieldsMax && m.Text("value") != "" {
			meta = append(meta, m.Text("name")+"="+m.Text("value"))
		}
	}
	f.Set("order.meta", strings.Join(meta, ", "))
	return f.Values, nil
}
