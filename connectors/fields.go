package connectors

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tillstream/tillstream/schemas"
)

// The types of a Field.
const (
	TypeText   = "text"
	TypeMoney  = "money"
	TypeDate   = "date"
	TypePhone  = "phone"
	TypeNumber = "number"
)

// SampleRecord is what RecordFields shows of a provider: an order of its, paid in full, with nothing given back.
type SampleRecord struct {
	EventID, EventType, Time         string
	ProviderStatus, Status           string
	OrderID, Amount, Currency        string
	Email, GivenName, Surname, Phone string
	PayerID                          string
	Address                          schemas.Address
	CustomID, InvoiceID              string
}

// RecordFields returns the first block of every catalogue: the names that a mapping reads from the record's own members,
// the same for each provider and in the same order. labels replaces, by name, the labels that say too little for this
// provider; it panics on a name that is none of these, which is a mistake in the catalogue.
func RecordFields(s SampleRecord, labels map[string]string) []Field {
	list := []Field{
		{"event.id", "Event id", TypeText, s.EventID},
		{"event.type", "Event type", TypeText, s.EventType},
		{"event.time", "Time of the change", TypeDate, s.Time},
		{"event.status", "The provider's own status", TypeText, s.ProviderStatus},
		{"order.id", "Order or subscription id", TypeText, s.OrderID},
		{"order.amount", "Amount", TypeMoney, s.Amount},
		{"order.currency", "Currency", TypeText, s.Currency},
		{"order.status", "Payment status", TypeText, s.Status},
		{"order.paid", "Paid so far", TypeMoney, s.Amount},
		{"order.refunded", "Refunded so far", TypeMoney, "0"},
		{"payer.email", "E-mail", TypeText, s.Email},
		{"payer.given_name", "First name", TypeText, s.GivenName},
		{"payer.surname", "Last name", TypeText, s.Surname},
		{"payer.full_name", "Full name", TypeText, s.GivenName + " " + s.Surname},
		{"payer.phone", "Phone", TypePhone, s.Phone},
		{"payer.payer_id", "Customer id", TypeText, s.PayerID},
		{"payer.address.line1", "Address line 1", TypeText, s.Address.Line1},
		{"payer.address.line2", "Address line 2", TypeText, s.Address.Line2},
		{"payer.address.city", "City", TypeText, s.Address.City},
		{"payer.address.state", "State or province", TypeText, s.Address.State},
		{"payer.address.postal_code", "Postal code", TypeText, s.Address.PostalCode},
		{"payer.address.country", "Country", TypeText, s.Address.Country},
		{"custom_id", "Your own reference", TypeText, s.CustomID},
		{"invoice_id", "Invoice number", TypeText, s.InvoiceID},
	}
	used := 0
	for i, f := range list {
		if label, ok := labels[f.Name]; ok {
			list[i].Label = label
			used++
		}
	}
	if used != len(labels) {
		panic(fmt.Sprintf("label for a name that no record has: %v", labels))
	}
	return list
}

// Bounds of OrderEvent.Fields.
const (
	FieldsMax        = 100
	FieldBytesMax    = 1024    // of one value; the rest of it is cut off
	FieldsBytesTotal = 8 << 10 // of all names and values
)

// FieldSet collects OrderEvent.Fields by catalogue name, in the order of the calls, until a bound is met. What does not
// fit is left out; the body keeps it.
type FieldSet struct {
	Values map[string]string // not nil
	Max    int               // of values; zero: FieldsMax
	bytes  int
}

// Full reports whether no further name is taken.
func (f *FieldSet) Full() bool {
	if f.Max == 0 {
		return len(f.Values) >= FieldsMax
	}
	return len(f.Values) >= f.Max
}

// Set keeps value, without the white space around it, under name. The first value of a name stays, and an empty one is
// none.
func (f *FieldSet) Set(name, value string) {
	value = Cut(strings.TrimSpace(value), FieldBytesMax)
	if value == "" || f.Full() || f.bytes+len(name)+len(value) > FieldsBytesTotal {
		return
	}
	if _, taken := f.Values[name]; taken {
		return
	}
	f.Values[name] = value
	f.bytes += len(name) + len(value)
}

// SetDate keeps the moment that parse reads from value, in UTC as RFC 3339. A text that is no date stays as it is: a
// mapping to a date says so, and the event's effect does not hang on it.
func (f *FieldSet) SetDate(name, value string, parse func(string) (time.Time, error)) {
	if t, err := parse(value); err == nil {
		value = t.UTC().Format(time.RFC3339)
	}
	f.Set(name, value)
}

// Cut shortens text to at most bytesMax bytes, never within a character.
func Cut(text string, bytesMax int) string {
	if len(text) <= bytesMax {
		return text
	}
	for bytesMax > 0 && !utf8.RuneStart(text[bytesMax]) {
		bytesMax--
	}
	return text[:bytesMax]
}
