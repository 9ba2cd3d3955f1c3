package mapping

import (
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/processors/expressions"
	"github.com/tillstream/tillstream/processors/spelling"
	"github.com/tillstream/tillstream/schemas"
)

type source struct {
	name   string
	kind   expressions.Kind
	label  string
	sample string
	get    func(t *schemas.Transition) string
}

var sources = []source{
	{"event.id", expressions.Text, "Event id", "WH-58D329510W468432D-8HN650336L201105X", func(t *schemas.Transition) string { return t.Event.EventID }},
	{"event.type", expressions.Text, "Event type", "PAYMENT.CAPTURE.COMPLETED", func(t *schemas.Transition) string { return t.Event.EventType }},
	{"event.time", expressions.Time, "Time of the change, as the provider gives it", "2026-03-01T23:30:00Z", func(t *schemas.Transition) string { return timeText(t.Event.ProviderTime) }},
	{"event.status", expressions.Text, "Status in the provider's own words", "COMPLETED", func(t *schemas.Transition) string { return t.Event.ProviderStatus }},
	{"event.provider", expressions.Text, "Provider", "paypal", func(t *schemas.Transition) string { return t.Event.Provider }},
	{"event.connection", expressions.Text, "Account or store, as configured", "paypal-live", func(t *schemas.Transition) string { return t.Event.Connection }},
	{"event.environment", expressions.Text, "Environment", "live", func(t *schemas.Transition) string { return string(t.Event.Environment) }},
	{"order.id", expressions.Text, "Order or subscription id", "5O190127TN364715T", func(t *schemas.Transition) string { return t.Event.RootID }},
	{"order.status", expressions.Text, "Payment status", "PAID", func(t *schemas.Transition) string { return string(t.To) }},
	{"order.previous_status", expressions.Text, "Payment status before the event", "APPROVED", func(t *schemas.Transition) string { return string(t.From) }},
	{"order.amount", expressions.Number, "Amount of the event", "49.99", eventAmount},
	{"order.currency", expressions.Text, "Currency", "EUR", currency},
	{"order.paid", expressions.Number, "Paid so far", "49.99", func(t *schemas.Transition) string { return t.Paid }},
	{"order.refunded", expressions.Number, "Refunded so far", "0", func(t *schemas.Transition) string { return t.Refunded }},
	{"order.number", expressions.Text, "Order or invoice number of the shop", "2026-0017", orderNumber},
	{"payer.email", expressions.Text, "E-mail", "ana@example.com", payer(func(p *schemas.Payer) string { return p.Email })},
	{"payer.given_name", expressions.Text, "First name", "Ana", payer(func(p *schemas.Payer) string { return p.GivenName })},
	{"payer.surname", expressions.Text, "Last name", "de la Cruz", payer(func(p *schemas.Payer) string { return p.Surname })},
	{"payer.full_name", expressions.Text, "Full name", "Ana de la Cruz", payer(fullName)},
	{"payer.phone", expressions.Text, "Phone, where the merchant asks for it", "030 901820", payer(func(p *schemas.Payer) string { return p.Phone })},
	{"payer.payer_id", expressions.Text, "Payer id", "QYR5Z8XDVJNXQ", payer(func(p *schemas.Payer) string { return p.PayerID })},
	{"payer.address.line1", expressions.Text, "Street", "Hauptstrasse 1", payer(func(p *schemas.Payer) string { return p.Address.Line1 })},
	{"payer.address.line2", expressions.Text, "Address, second line", "2nd floor", payer(func(p *schemas.Payer) string { return p.Address.Line2 })},
	{"payer.address.city", expressions.Text, "City", "Bonn", payer(func(p *schemas.Payer) string { return p.Address.City })},
	{"payer.address.state", expressions.Text, "State or province", "NRW", payer(func(p *schemas.Payer) string { return p.Address.State })},
	{"payer.address.postal_code", expressions.Text, "Postal code", "53111", payer(func(p *schemas.Payer) string { return p.Address.PostalCode })},
	{"payer.address.country", expressions.Text, "Country code", "DE", payer(func(p *schemas.Payer) string { return p.Address.Country })},
	{"custom_id", expressions.Text, "Custom id, as the shop gave it", "customer-4711", func(t *schemas.Transition) string { return t.Event.CustomID }},
	{"invoice_id", expressions.Text, "Invoice id", "2026-0017", func(t *schemas.Transition) string { return t.Event.InvoiceID }},
}

// contactSources are what is known of the contact at the destination. Only expressions and templates have them.
var contactSources = []source{
	{name: "contact.key", kind: expressions.Text, label: "Key of the contact", sample: "live/ana@example.com"},
	{name: "contact.email", kind: expressions.Text, label: "E-mail", sample: "ana@example.com"},
	{name: "contact.first_name", kind: expressions.Text, label: "First name", sample: "Ana"},
	{name: "contact.last_name", kind: expressions.Text, label: "Last name", sample: "de la Cruz"},
	{name: "contact.phone", kind: expressions.Text, label: "Phone", sample: "+4930901820"},
	{name: "contact.tags", kind: expressions.List, label: "Tags", sample: "paypal-integration, vip"},
	{name: "contact.score", kind: expressions.Number, label: "Score", sample: "25"},
	{name: "contact.orders", kind: expressions.Number, label: "Paid orders so far", sample: "3"},
	{name: contactPrefix + "fields.*", kind: expressions.Any, label: "A field of the contact, by its name: contact.fields.VIP", sample: "yes"},
}

const contactPrefix = "contact."

var byName = func() map[string]*source {
	m := make(map[string]*source, len(sources))
	for i := range sources {
		m[sources[i].name] = &sources[i]
	}
	return m
}()

// Entry describes a source to a person.
type Entry struct {
	Name   string
	Kind   expressions.Kind
	Label  string
	Sample string
	// Condition: it is for expressions and templates only, not for from, concat and when.
	Condition bool
}

// Catalogue describes the sources that every event has, and those of its contact. The fields of a provider are its
// connector's.
func Catalogue() []Entry {
	var entries []Entry
	for _, s := range sources {
		entries = append(entries, Entry{Name: s.name, Kind: s.kind, Label: s.label, Sample: s.sample})
	}
	for _, s := range contactSources {
		entries = append(entries, Entry{Name: s.name, Kind: s.kind, Label: s.label, Sample: s.sample, Condition: true})
	}
	return entries
}

// CatalogueFor are the names that expressions and templates may use: those of Catalogue, and the provider's fields.
// A field that ends with * stands for every name that goes on from there.
func CatalogueFor(fields []string) expressions.Catalogue {
	c := make(expressions.Catalogue, len(sources)+len(contactSources)+len(fields))
	for _, name := range fields {
		c[name] = expressions.Any
	}
	for _, e := range Catalogue() {
		c[e.Name] = e.Kind
	}
	return c
}

// Sources lists the names that every event has, whatever its provider. Each call returns a new slice.
func Sources() []string {
	names := make([]string, len(sources))
	for i, s := range sources {
		names[i] = s.name
	}
	return names
}

// Lookup is the text of a source; "" where the event does not have it. A name that is none of Sources is looked up in
// the event's own fields.
func Lookup(t schemas.Transition, name string) string { return NewSource(name).Get(&t) }

// Source is a source that was looked up once.
type Source struct {
	name string
	get  func(t *schemas.Transition) string // nil: one of the event's own fields
}

// NewSource finds the source with this name, as Lookup does.
func NewSource(name string) Source {
	if s := byName[name]; s != nil {
		return Source{name, s.get}
	}
	return Source{name: name}
}

// Get is the text of the source; "" where t does not have it.
func (s Source) Get(t *schemas.Transition) string {
	if s.get != nil {
		return s.get(t)
	}
	return t.Event.Fields[s.name]
}

func kindOf(name string) expressions.Kind {
	if s := byName[name]; s != nil {
		return s.kind
	}
	return expressions.Any
}

// ValuesOf gives expressions and templates the values of t, and those of contact, which is asked for the names that
// begin with contact. and may be nil: they are then absent.
func ValuesOf(t *schemas.Transition, contact expressions.Values) expressions.Values {
	return &view{t, contact}
}

type view struct {
	t       *schemas.Transition
	contact expressions.Values
}

// Text implements expressions.Values.
func (v *view) Text(name string) string {
	if s := byName[name]; s != nil {
		return s.get(v.t)
	}
	if v.contact != nil && strings.HasPrefix(name, contactPrefix) {
		if text := v.contact.Text(name); text != "" {
			return text
		} // else it may be a provider's own field of that name
	}
	return v.t.Event.Fields[name]
}

// List implements expressions.Values.
func (v *view) List(name string) []string {
	if v.contact == nil {
		return nil
	}
	return v.contact.List(name)
}

func eventAmount(t *schemas.Transition) string {
	if t.Event.Amount == nil {
		return ""
	}
	return t.Event.Amount.Value
}

func orderNumber(t *schemas.Transition) string {
	if n := t.Event.Fields["order.number"]; n != "" {
		return n
	}
	return t.Event.InvoiceID // the merchant's own number, where the provider has no field for it
}

func payer(get func(*schemas.Payer) string) func(*schemas.Transition) string {
	return func(t *schemas.Transition) string {
		if t.Payer == nil {
			return ""
		}
		return get(t.Payer)
	}
}

func fullName(p *schemas.Payer) string {
	if p.FullName != "" {
		return p.FullName
	}
	return strings.TrimSpace(p.GivenName + " " + p.Surname)
}

func currency(t *schemas.Transition) string {
	if t.Event.Amount != nil && t.Event.Amount.Currency != "" {
		return t.Event.Amount.Currency
	}
	return t.Currency
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// Known reports whether name is one of known; an entry that ends in * stands for every name that goes on from there.
func Known(name string, known []string) bool {
	return slices.ContainsFunc(known, func(k string) bool {
		prefix, open := strings.CutSuffix(k, "*")
		return k == name || open && len(name) > len(prefix) && strings.HasPrefix(name, prefix)
	})
}

// Nearest is spelling.Nearest: the known name that differs least from name, or "".
func Nearest(name string, known []string) string { return spelling.Nearest(name, known) }
