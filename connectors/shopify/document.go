package shopify

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/money"
)

// idForm: Shopify's ids are whole numbers beyond what a float holds, and are kept as text.
var idForm = regexp.MustCompile(`^[1-9][0-9]{0,19}$`)

func idOf(o object, name string) (string, error) {
	id := o.Text(name)
	if id == "" {
		return "", fmt.Errorf("%s: missing", name)
	}
	if !idForm.MatchString(id) {
		return "", fmt.Errorf("%s: %.40q is no id", name, id)
	}
	return id, nil
}

// Years outside are typing errors, and no store behind us could hold them.
const yearMin, yearMax = 1970, 2299

// parseTime reads RFC 3339, in any zone and with the offset -00:00, which Shopify writes too.
func parseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%.60q is no date and time", text)
	}
	t = t.UTC().Truncate(time.Millisecond)
	if t.Year() < yearMin || t.Year() > yearMax {
		return time.Time{}, fmt.Errorf("%.60q is no possible date and time", text)
	}
	return t, nil
}

// firstTime is the first of these members that is there; zero where none is, an error naming one that is impossible.
func firstTime(o object, names ...string) (time.Time, error) {
	for _, name := range names {
		if !o.Has(name) || o[name] == "" {
			continue
		}
		text, ok := o[name].(string)
		if !ok {
			return time.Time{}, fmt.Errorf("%s: not a date and time", name)
		}
		t, err := parseTime(text)
		if err != nil {
			return time.Time{}, fmt.Errorf("%s: %w", name, err)
		}
		return t, nil
	}
	return time.Time{}, nil
}

// dayOrTime reads a member that may be a day without a time, as those of disputes are: its begin in UTC.
func dayOrTime(o object, name string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, o.Text(name)); err == nil {
		return parseTime(t.Format(time.RFC3339))
	}
	return firstTime(o, name)
}

// amountOf reads money; nil where there is none. A text that is no decimal is an error naming the member.
func amountOf(o object, name, currency string) (*schemas.Amount, error) {
	if !o.Has(name) {
		return nil, nil
	}
	switch o[name].(type) {
	case map[string]any, []any, bool:
		return nil, fmt.Errorf("%s: not an amount of money", name)
	}
	a := schemas.Amount{Value: o.Text(name), Currency: strings.ToUpper(currency)}
	if _, err := a.Money(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &a, nil
}

// refundedOf is how much of an order went back so far. The order says so by its refunds' transactions, which are in the
// customer's currency: where that is another than the order's, only a whole refund is known.
func refundedOf(o object, total *schemas.Amount) (*schemas.Amount, error) {
	if total == nil {
		return nil, nil
	}
	if o.Has(memberRefunded) {
		return amountOf(o, memberRefunded, total.Currency)
	}
	if !o.Has("refunds") {
		return nil, nil
	}
	sum := money.Zero(money.Currency(total.Currency))
	for i, refund := range o.Objects("refunds") {
		for j, tx := range refund.Objects("transactions") {
			if tx.Text("kind") != "refund" || tx.Text("status") != "success" {
				continue
			}
			if in := tx.Text("currency"); in != "" && !strings.EqualFold(in, total.Currency) {
				if o.Text("financial_status") == "refunded" {
					return &schemas.Amount{Value: total.Value, Currency: total.Currency}, nil
				}
				return nil, nil
			}
			a, err := amountOf(tx, "amount", total.Currency)
			if err != nil {
				return nil, fmt.Errorf("refunds[%d].transactions[%d].%w", i, j, err)
			}
			if a == nil {
				continue
			}
			m, err := a.Money()
			if err == nil {
				sum, err = sum.Add(m)
			}
			if err != nil {
				return nil, fmt.Errorf("refunds[%d].transactions[%d].amount: %w", i, j, err)
			}
		}
	}
	return &schemas.Amount{Value: sum.Format(Type), Currency: total.Currency}, nil
}

func prefixed(where string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s.%w", where, err)
}

const (
	// textBytesMax bounds a name, a line of an address, a number for people.
	textBytesMax = 1000
	// emailBytesMax: a longer text is no address, and half of one would be somebody else's.
	emailBytesMax = 320
	phoneBytesMax = 40
)

// payerOf collects the customer from every place that names him, the order's own words first; nil where none does.
func payerOf(o object) *schemas.Payer {
	customer, billing, shipping := o.Object("customer"), o.Object("billing_address"), o.Object("shipping_address")
	var p schemas.Payer
	for _, email := range []string{o.Text("email"), o.Text("contact_email"), customer.Text("email")} {
		if email = strings.TrimSpace(email); p.Email == "" && len(email) <= emailBytesMax {
			p.Email = email
		}
	}
	for _, phone := range []string{o.Text("phone"), customer.Text("phone"), billing.Text("phone"), shipping.Text("phone")} {
		if phone = strings.TrimSpace(phone); p.Phone == "" && len(phone) <= phoneBytesMax {
			p.Phone = phone
		}
	}
	for _, named := range []object{customer, billing, shipping} {
		if p.GivenName == "" && p.Surname == "" {
			p.GivenName, p.Surname = line(named.Text("first_name")), line(named.Text("last_name"))
		}
	}
	p.FullName = cmp.Or(strings.TrimSpace(p.GivenName+" "+p.Surname), line(billing.Text("name")), line(shipping.Text("name")))
	if id := customer.Text("id"); idForm.MatchString(id) {
		p.PayerID = id
	}
	for _, a := range []object{billing, shipping, customer.Object("default_address")} {
		if p.Address == (schemas.Address{}) {
			p.Address = addressOf(a)
		}
	}
	if p == (schemas.Payer{}) {
		return nil
	}
	return &p
}

func addressOf(a object) schemas.Address {
	return schemas.Address{
		Line1: line(a.Text("address1")), Line2: line(a.Text("address2")), City: line(a.Text("city")),
		State:      line(cmp.Or(a.Text("province_code"), a.Text("province"))),
		PostalCode: line(a.Text("zip")), Country: line(a.Text("country_code")),
	}
}

func line(text string) string { return connectors.Cut(strings.TrimSpace(text), textBytesMax) }
