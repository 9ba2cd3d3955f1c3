package paypal

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

const (
	// textBytesMax bounds a name, a line of an address, a merchant's own key (PayPal: 127 to 300 characters).
	textBytesMax = 1000
	// emailBytesMax: a longer text is no address, and half of one would be somebody else's.
	emailBytesMax = 320
	phoneBytesMax = 40
)

// person collects a payer from several places: the first that names a part wins.
type person struct {
	p    schemas.Payer
	ship string // the name on the parcel, which may be another person's: used last
}

func (p *person) email(texts ...string) {
	for _, t := range texts {
		if t = strings.TrimSpace(t); p.p.Email == "" && t != "" && len(t) <= emailBytesMax {
			p.p.Email = t
		}
	}
}

func (p *person) name(given, surname, full string) {
	if p.p.GivenName == "" && p.p.Surname == "" && p.p.FullName == "" {
		p.p.GivenName, p.p.Surname, p.p.FullName = connectors.Cut(given, textBytesMax), connectors.Cut(surname, textBytesMax), connectors.Cut(full, textBytesMax)
	}
}

// nameOf reads both forms of a name: an object, or (cards) one text.
func (p *person) nameOf(o object) {
	n := o.Object("name")
	p.name(cmp.Or(n.Text("given_name"), n.Text("first_name")), cmp.Or(n.Text("surname"), n.Text("last_name")),
		cmp.Or(n.Text("full_name"), o.Text("name")))
}

func (p *person) id(text string) {
	if p.p.PayerID == "" && checkID("", text) == nil {
		p.p.PayerID = text
	}
}

// phone takes {country_code, national_number}, bare or within phone_number. Without a country code the digits are
// national: the country is the address's.
func (p *person) phone(parts ...object) {
	for _, o := range parts {
		if inner := o.Object("phone_number"); inner != nil {
			o = inner
		}
		n := o.Text("national_number")
		if c := o.Text("country_code"); n != "" && c != "" {
			n = "+" + strings.TrimPrefix(c, "+") + n
		}
		p.phoneText(n)
	}
}

func (p *person) phoneText(n string) {
	if n = strings.TrimSpace(n); p.p.Phone == "" && n != "" && len(n) <= phoneBytesMax {
		p.p.Phone = n
	}
}

// address takes the first postal address; one that has only a country serves until a postal one comes.
func (p *person) address(parts ...object) {
	for _, o := range parts {
		a := schemas.Address{
			Line1:      connectors.Cut(cmp.Or(o.Text("address_line_1"), o.Text("line1")), textBytesMax),
			Line2:      connectors.Cut(cmp.Or(o.Text("address_line_2"), o.Text("line2")), textBytesMax),
			City:       connectors.Cut(cmp.Or(o.Text("admin_area_2"), o.Text("city")), textBytesMax),
			State:      connectors.Cut(cmp.Or(o.Text("admin_area_1"), o.Text("state")), textBytesMax),
			PostalCode: connectors.Cut(o.Text("postal_code"), textBytesMax),
			Country:    connectors.Cut(o.Text("country_code"), textBytesMax),
		}
		has := p.p.Address
		if has == (schemas.Address{}) || has == (schemas.Address{Country: has.Country}) && a.Line1+a.City+a.PostalCode != "" {
			p.p.Address = a
		}
	}
}

// done completes the full name and returns nil where nothing at all is known: absence erases nothing.
func (p *person) done() *schemas.Payer {
	if p.p.GivenName == "" && p.p.Surname == "" && p.p.FullName == "" {
		p.p.FullName = connectors.Cut(p.ship, textBytesMax)
	}
	if p.p.FullName == "" {
		p.p.FullName = strings.TrimSpace(p.p.GivenName + " " + p.p.Surname)
	}
	if p.p == (schemas.Payer{}) {
		return nil
	}
	return &p.p
}

// sources are the objects inside payment_source, PayPal's own first, then by name: one order on every machine.
func sources(o object) []object {
	all := o.Object("payment_source")
	var out []object
	if pp := all.Object("paypal"); pp != nil {
		out = append(out, pp)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if part := all.Object(name); name != "paypal" && part != nil {
			out = append(out, part)
		}
	}
	return out
}

// orderPayer reads the buyer of an order. The payee is the merchant and never looked at. The phone's order of trust:
// what the buyer chose for this order, the payer's, the payment source's.
func orderPayer(order object, units []object) *schemas.Payer {
	var p person
	payer := order.Object("payer")
	from := sources(order)
	p.email(payer.Text("email_address"))
	p.nameOf(payer)
	p.id(payer.Text("payer_id"))
	for _, u := range units {
		s := u.Object("shipping")
		p.phone(s.Object("phone_number"))
		p.address(s.Object("address"))
		p.ship = cmp.Or(p.ship, s.Text("name", "full_name"))
	}
	p.phone(payer.Object("phone"))
	p.address(payer.Object("address"))
	for _, s := range from {
		p.email(s.Text("email_address"), s.Text("email"))
		p.nameOf(s)
		p.id(s.Text("account_id"))
		p.phone(s.Object("phone_number"), s.Object("phone"))
		p.address(s.Object("address"), s.Object("billing_address"))
	}
	for _, u := range units {
		p.email(u.Text("shipping", "email_address"))
	}
	return p.done()
}

// subscriberPayer reads a subscription's customer, in the shape of v2 (subscriber) or of a v1 agreement (payer).
func subscriberPayer(resource object) *schemas.Payer {
	s := resource.Object("subscriber")
	if s == nil {
		return legacyPayer(resource.Object("payer"))
	}
	var p person
	ship := s.Object("shipping_address")
	p.email(s.Text("email_address"))
	p.nameOf(s)
	p.id(s.Text("payer_id"))
	p.phone(ship.Object("phone_number"), s.Object("phone"))
	p.address(ship.Object("address"))
	p.ship = ship.Text("name", "full_name")
	for _, from := range sources(s) {
		p.email(from.Text("email_address"), from.Text("email"))
		p.nameOf(from)
		p.id(from.Text("account_id"))
		p.phone(from.Object("phone_number"), from.Object("phone"))
		p.address(from.Object("address"), from.Object("billing_address"))
	}
	p.email(ship.Text("email_address"))
	return p.done()
}

// legacyPayer reads the payer of the v1 payment and agreement bodies.
func legacyPayer(payer object) *schemas.Payer {
	info := payer.Object("payer_info")
	var p person
	p.email(info.Text("email"))
	p.name(info.Text("first_name"), info.Text("last_name"), "")
	p.id(info.Text("payer_id"))
	p.phoneText(info.Text("phone"))
	p.address(info.Object("shipping_address"), info.Object("billing_address"))
	if p.p.Address.Country == "" {
		p.p.Address.Country = connectors.Cut(info.Text("country_code"), textBytesMax)
	}
	p.ship = info.Text("shipping_address", "recipient_name")
	return p.done()
}
