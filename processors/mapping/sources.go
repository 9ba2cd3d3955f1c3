package mapping

import (
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// Source types, in the words of a problem.
const (
	typeText  = "text"
	typeTime  = "a time"
	typeMoney = "an amount"
	typeAny   = "of any type" // a provider's own field
)

type source struct {
	name string
	kind string
	get  func(t *schemas.Transition) string
}

var sources = []source{
	{"event.id", typeText, func(t *schemas.Transition) string { return t.Event.EventID }},
	{"event.type", typeText, func(t *schemas.Transition) string { return t.Event.EventType }},
	{"event.time", typeTime, func(t *schemas.Transition) string { return timeText(t.Event.ProviderTime) }},
	{"event.status", typeText, func(t *schemas.Transition) string { return t.Event.ProviderStatus }},
	{"event.connection", typeText, func(t *schemas.Transition) string { return t.Event.Connection }},
	{"event.environment", typeText, func(t *schemas.Transition) string { return string(t.Event.Environment) }},
	{"order.id", typeText, func(t *schemas.Transition) string { return t.Event.RootID }},
	{"order.status", typeText, func(t *schemas.Transition) string { return string(t.To) }},
	{"order.amount", typeMoney, func(t *schemas.Transition) string {
		if t.Event.Amount == nil {
			return ""
		}
		return t.Event.Amount.Value
	}},
	{"order.currency", typeText, currency},
	{"order.paid", typeMoney, func(t *schemas.Transition) string { return t.Paid }},
	{"order.refunded", typeMoney, func(t *schemas.Transition) string { return t.Refunded }},
	{"order.number", typeText, func(t *schemas.Transition) string {
		if n := t.Event.Fields["order.number"]; n != "" {
			return n
		}
		return t.Event.InvoiceID // the merchant's own number, where the provider has no field for it
	}},
	{"payer.email", typeText, payer(func(p *schemas.Payer) string { return p.Email })},
	{"payer.given_name", typeText, payer(func(p *schemas.Payer) string { return p.GivenName })},
	{"payer.surname", typeText, payer(func(p *schemas.Payer) string { return p.Surname })},
	{"payer.full_name", typeText, payer(fullName)},
	{"payer.phone", typeText, payer(func(p *schemas.Payer) string { return p.Phone })},
	{"payer.payer_id", typeText, payer(func(p *schemas.Payer) string { return p.PayerID })},
	{"payer.address.line1", typeText, payer(func(p *schemas.Payer) string { return p.Address.Line1 })},
	{"payer.address.line2", typeText, payer(func(p *schemas.Payer) string { return p.Address.Line2 })},
	{"payer.address.city", typeText, payer(func(p *schemas.Payer) string { return p.Address.City })},
	{"payer.address.state", typeText, payer(func(p *schemas.Payer) string { return p.Address.State })},
	{"payer.address.postal_code", typeText, payer(func(p *schemas.Payer) string { return p.Address.PostalCode })},
	{"payer.address.country", typeText, payer(func(p *schemas.Payer) string { return p.Address.Country })},
	{"custom_id", typeText, func(t *schemas.Transition) string { return t.Event.CustomID }},
	{"invoice_id", typeText, func(t *schemas.Transition) string { return t.Event.InvoiceID }},
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
	for i := range sources {
		if sources[i].name == name {
			return Source{name, sources[i].get}
		}
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

func typeOf(name string) string {
	for _, s := range sources {
		if s.name == name {
			return s.kind
		}
	}
	return typeAny
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

// nearestMax is the number of wrong letters up to which a name counts as mistyped rather than unknown.
const nearestMax = 3

// Nearest is the known name that differs least from name, or "" where none is near. The first of equals wins.
func Nearest(name string, known []string) string {
	best, distance := "", min(nearestMax, len(name)/2)+1
	for _, k := range known {
		if d := edits(strings.ToLower(name), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	if best == "" { // a part of a longer name: "email" for payer.email
		for _, k := range known {
			if strings.HasSuffix(k, "."+strings.ToLower(name)) {
				return k
			}
		}
	}
	return best
}

// edits counts the insertions, deletions and replacements that turn a into b (Levenshtein).
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
