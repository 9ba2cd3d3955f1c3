package automation

import (
	"slices"
	"strings"

	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
)

// productFields are the fields of an event that name what was bought, as lists with commas.
var productFields = []string{"order.item_names", "order.item_skus", "subscription.plan_id", "subscription.plan_name", "subscription.product_id"}

// sells reports whether the event is about one of the products.
func sells(e *schemas.OrderEvent, products []string) bool {
	for _, f := range productFields {
		for name := range strings.SplitSeq(e.Fields[f], ",") {
			if name = strings.TrimSpace(name); name != "" && slices.Contains(products, name) {
				return true
			}
		}
	}
	return false
}

// ofContact reports whether a source is read from the contact's state, and not from an event.
func ofContact(source string) bool { return strings.HasPrefix(source, "contact.") }

// ofEvent reports whether a source belongs to the one event, and not to its order.
func ofEvent(source string) bool { return strings.HasPrefix(source, "event.") }

// values is what expressions and templates of a run see: of the contact as it is now, of the run's order as last known,
// of the event at hand.
type values struct {
	w           *work
	r           *run
	destination string
	t           *schemas.Transition // the event at hand; nil: none
	// judged: the event at hand is what a condition is about, also where it is of another order than the run's.
	judged bool
}

func (w *work) values(r *run, p *workflows.Program) values {
	return values{w: w, r: r, destination: p.Destination, t: w.t}
}

// Text implements expressions.Values.
func (v values) Text(name string) string {
	if ofContact(name) {
		return v.contact(name)
	}
	if v.judged && v.r.Root != v.t.RootKey {
		return v.w.rules.source(name).Get(v.t)
	}
	if v.t != nil && (ofEvent(name) || v.r.Root == v.t.RootKey) {
		if text := v.w.rules.source(name).Get(v.t); text != "" || ofEvent(name) {
			return text
		}
	}
	return fieldValue(v.r.Values, name)
}

// List implements expressions.Values.
func (v values) List(name string) []string {
	if d := v.desired(); d != nil && name == "contact.tags" {
		return d.Tags
	}
	return nil
}

// desired is the contact as he should be at the destination of the workflow or mapping; of a workflow that names none at
// its head, at the first that knows the contact. Nil: none does.
func (v values) desired() *desired {
	if v.destination == "" && len(v.w.s.Destinations) > 0 {
		return &v.w.s.Destinations[0]
	}
	return v.w.s.find(v.destination)
}

func (v values) contact(name string) string {
	switch name {
	case "contact.key":
		return v.w.key
	case "contact.score":
		return number(v.w.s.Score)
	case "contact.orders":
		return number(v.w.s.OrdersPaid)
	}
	d := v.desired()
	if name == "contact.email" && (d == nil || d.Email == "") {
		return v.w.email() // no destination was told of the contact so far
	}
	if d == nil {
		return ""
	}
	switch name {
	case "contact.email":
		return d.Email
	case "contact.first_name":
		return d.First
	case "contact.last_name":
		return d.Last
	case "contact.phone":
		return d.Phone
	case "contact.tags":
		return strings.Join(d.Tags, ", ")
	}
	if field, ok := strings.CutPrefix(name, "contact.fields."); ok {
		return fieldValue(d.Fields, field)
	}
	return ""
}

// kept is what a run keeps of these names: what is known now, else what it or the run before it knew.
func (v values) kept(names []string, before *run) []field {
	if len(names) == 0 {
		return nil
	}
	list := make([]field, 0, len(names))
	for _, n := range names {
		text := ""
		if v.t != nil && v.r.Root == v.t.RootKey && (before == nil || before != v.r || !ofEvent(n)) {
			text = v.w.rules.source(n).Get(v.t)
		}
		if text == "" && before != nil {
			text = fieldValue(before.Values, n)
		}
		list = append(list, field{n, text})
	}
	return list
}

// event is what the event at hand says of itself, of these names.
func (v values) event(names []string) []field {
	var list []field
	for _, n := range names {
		if ofEvent(n) {
			list = append(list, field{n, v.w.rules.source(n).Get(v.t)})
		}
	}
	return list
}

// merged is list with the values of news, both by name.
func merged(list, news []field) []field {
	if len(news) == 0 {
		return list
	}
	out := slices.Clone(list)
	for _, n := range news {
		if i, found := slices.BinarySearchFunc(out, n.Name, byField); found {
			out[i] = n
		}
	}
	return out
}

func byField(f field, name string) int { return strings.Compare(f.Name, name) }

func fieldValue(list []field, name string) string {
	if i, found := slices.BinarySearchFunc(list, name, byField); found {
		return list[i].Value
	}
	return ""
}

func fieldNames(list []field) []string {
	names := make([]string, len(list))
	for i, f := range list {
		names[i] = f.Name
	}
	return names
}
