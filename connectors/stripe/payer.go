package stripe

import (
	"cmp"
	"strings"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

const (
	// emailBytesMax: a longer text is no address, and half of one would be somebody else's.
	emailBytesMax = 320
	phoneBytesMax = 40
)

// person collects a payer from several places: the first that names a part wins.
type person struct {
	p    schemas.Payer
	ship string // the name on the parcel, which may be another person's: used last
}

func (p *person) email(text string) {
	if text = strings.TrimSpace(text); p.p.Email == "" && text != "" && len(text) <= emailBytesMax {
		p.p.Email = text
	}
}

func (p *person) phone(text string) {
	if text = strings.TrimSpace(text); p.p.Phone == "" && text != "" && len(text) <= phoneBytesMax {
		p.p.Phone = text
	}
}

func (p *person) name(text string) {
	if p.p.FullName == "" {
		p.p.FullName = connectors.Cut(strings.TrimSpace(text), textBytesMax)
	}
}

// details reads billing_details and customer_details, which have one shape.
func (p *person) details(o object) {
	p.email(o.Text("email"))
	p.name(o.Text("name"))
	p.phone(o.Text("phone"))
	p.address(o.Object("address"))
}

// customer takes the id, or the object where the endpoint's version expands it.
func (p *person) customer(o object) {
	whole := o.Object("customer")
	if id := cmp.Or(o.Text("customer"), whole.Text("id")); p.p.PayerID == "" && checkID("", id) == nil {
		p.p.PayerID = id
	}
	p.details(whole)
}

// shipping gives the address and the phone of the delivery where nothing nearer to the payer is known.
func (p *person) shipping(o object) {
	p.address(o.Object("address"))
	p.phone(o.Text("phone"))
	p.ship = cmp.Or(p.ship, o.Text("name"))
}

// address takes the first postal address; one that has only a country (and a code: cards) serves until a postal one comes.
func (p *person) address(o object) {
	a := schemas.Address{
		Line1: connectors.Cut(o.Text("line1"), textBytesMax), Line2: connectors.Cut(o.Text("line2"), textBytesMax), City: connectors.Cut(o.Text("city"), textBytesMax),
		State: connectors.Cut(o.Text("state"), textBytesMax), PostalCode: connectors.Cut(o.Text("postal_code"), textBytesMax), Country: connectors.Cut(o.Text("country"), textBytesMax),
	}
	if has := p.p.Address; has == (schemas.Address{}) || has.Line1+has.City == "" && a.Line1+a.City != "" {
		p.p.Address = a
	}
}

// done returns nil where nothing at all is known: absence erases nothing. An id without an address is left out, or it
// would pass for a contact to whom one can write; it is in the field customer.id, and Fetch finds the address by it.
func (p *person) done() *schemas.Payer {
	p.name(p.ship)
	if p.p.Email == "" {
		p.p.PayerID = ""
	}
	if p.p == (schemas.Payer{}) {
		return nil
	}
	return &p.p
}
