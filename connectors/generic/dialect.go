package generic

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

// defaultPaths is the form of data that Tillstream proposes: where each of our fields is, where the configuration does
// not say. Several paths: the first that holds something.
var defaultPaths = map[string][]string{
	"type": {"$.type"}, "kind": {"kind"}, "deleted": {"deleted"},
	"order_id": {"order_id"}, "order_number": {"order_number"}, "subscription_id": {"subscription_id"},
	"status": {"status"}, "raw_status": {"raw_status"}, "previous_status": {"previous_status"},
	// A sender that follows Standard Webhooks or CloudEvents says in the envelope when it happened.
	"occurred_at": {"occurred_at", "$.timestamp", "$.time"}, "version": {"version"}, "sequence": {"$.sequence"},
	"amount": {"amount"}, "amount_paid": {"amount_paid"}, "amount_refunded": {"amount_refunded"}, "currency": {"currency"},
	"customer.email": {"customer.email"}, "customer.first_name": {"customer.first_name"}, "customer.last_name": {"customer.last_name"},
	"customer.full_name": {"customer.full_name", "customer.name"}, "customer.phone": {"customer.phone"},
	"customer.external_id": {"customer.external_id"}, "customer.address.line1": {"customer.address.line1"},
	"customer.address.line2": {"customer.address.line2"}, "customer.address.city": {"customer.address.city"},
	"customer.address.state": {"customer.address.state"}, "customer.address.postal_code": {"customer.address.postal_code"},
	"customer.address.country": {"customer.address.country"},
	"payment_method":           {"payment_method"}, "transaction_id": {"transaction_id"}, "invoice_id": {"invoice_id"},
	"reference": {"reference"}, "coupon": {"coupon"}, "note": {"note"}, "created_at": {"created_at"},
	"shipping_method": {"shipping_method"}, "shipping_total": {"shipping_total"}, "tax_total": {"tax_total"}, "discount_total": {"discount_total"},
	"plan": {"plan"}, "next_billing_at": {"next_billing_at"},
	// The last four are members of each entry of items.
	"items": {"items"}, "items.name": {"name", "title"}, "items.sku": {"sku"}, "items.quantity": {"quantity"}, "items.price": {"price"},
}

// Names are the fields that a configuration, or a column of an import, may map; sorted.
func Names() []string { return slices.Sorted(maps.Keys(defaultPaths)) }

// path leads to a value. Top: from the envelope's attributes, not from its data.
type path struct {
	text  string
	top   bool
	steps []string
}

const pathStepsMax = 16

func parsePath(text string) (path, error) {
	p := path{text: strings.TrimSpace(text)}
	rest, top := strings.CutPrefix(p.text, "$.")
	p.top, p.steps = top, strings.Split(rest, ".")
	if len(p.steps) > pathStepsMax {
		return path{}, fmt.Errorf("has more than %d steps", pathStepsMax)
	}
	if slices.Contains(p.steps, "") {
		return path{}, errors.New("has an empty step")
	}
	return p, nil
}

// lookup goes from v along steps. Entries of a list are counted from 1.
func lookup(v any, steps []string) any {
	for _, step := range steps {
		switch in := v.(type) {
		case map[string]any:
			v = in[step]
		case []any:
			n, err := strconv.Atoi(step)
			if err != nil || n < 1 || n > len(in) {
				return nil
			}
			v = in[n-1]
		default:
			return nil
		}
	}
	return v
}

// dialect is how one shop writes: its paths, words and ordering.
type dialect struct {
	paths             map[string][]path
	statuses          map[string]schemas.PaymentStatus // by folded word
	ordering          string
	minor             bool
	subscriptionTypes []string
	known             map[string]bool // paths of data that have a name of ours
	// proposed is the same shop, writing in the proposed form.
	proposed *dialect
}

// standard is a shop that writes as Tillstream proposes.
var standard = newDialect(&Config{})

func newDialect(c *Config) *dialect {
	d := &dialect{
		paths: map[string][]path{}, statuses: map[string]schemas.PaymentStatus{}, ordering: c.Ordering, minor: c.Amounts == AmountsMinor,
		subscriptionTypes: c.SubscriptionTypes,
	}
	if d.ordering == "" {
		d.ordering = OrderingTime
	}
	if len(d.subscriptionTypes) == 0 {
		d.subscriptionTypes = []string{"subscription.*"}
	}
	for raw, status := range c.Statuses {
		d.statuses[fold(raw)] = canonical(string(status))
	}
	for name, texts := range defaultPaths {
		if own, ok := c.Fields[name]; ok {
			texts = []string{own}
		}
		for _, text := range texts {
			if p, err := parsePath(text); err == nil { // Validate refused others
				d.paths[name] = append(d.paths[name], p)
			}
		}
	}
	d.known = d.knownPaths()
	d.proposed = d
	if len(c.Fields) > 0 || d.minor {
		plain := *c
		plain.Fields, plain.Amounts = nil, ""
		d.proposed = newDialect(&plain)
	}
	return d
}

// knownPaths are the paths of data that have a name of ours, so that they are not told twice.
func (d *dialect) knownPaths() map[string]bool {
	known := map[string]bool{}
	for name, paths := range d.paths {
		for _, p := range paths {
			if !p.top && !strings.HasPrefix(name, itemMember) {
				known[p.text] = true
			}
			for _, items := range d.paths["items"] {
				for i := 0; strings.HasPrefix(name, itemMember) && i < ownEntriesMax; i++ {
					known[items.text+"."+strconv.Itoa(i+1)+"."+p.text] = true
				}
			}
		}
	}
	return known
}

// itemMember is in front of the names of what an entry of items holds.
const itemMember = "items."

// fold makes words comparable: case and the space around them say nothing.
func fold(word string) string { return strings.ToLower(strings.TrimSpace(word)) }

// statuses that a shop may write without a mapping.
var canonicalList = []schemas.PaymentStatus{
	schemas.StatusUnknown, schemas.StatusDraft, schemas.StatusPending, schemas.StatusApproved, schemas.StatusFailed, schemas.StatusAuthorized,
	schemas.StatusPartiallyPaid, schemas.StatusPaid, schemas.StatusPartiallyRefunded, schemas.StatusDisputed, schemas.StatusExpired,
	schemas.StatusCancelled, schemas.StatusVoided, schemas.StatusRefunded, schemas.StatusChargedBack, schemas.StatusActive, schemas.StatusSuspended,
}

// canonical is the canonical status of that name in any case, else UNKNOWN.
func canonical(word string) schemas.PaymentStatus {
	if s := schemas.PaymentStatus(strings.ToUpper(strings.TrimSpace(word))); slices.Contains(canonicalList, s) {
		return s
	}
	return schemas.StatusUnknown
}

func canonicalStatus(s schemas.PaymentStatus) bool {
	return canonical(string(s)) != schemas.StatusUnknown || strings.EqualFold(strings.TrimSpace(string(s)), string(schemas.StatusUnknown))
}

func canonicalNames() string {
	names := make([]string, len(canonicalList))
	for i, s := range canonicalList {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

// status is what one of the words means, the first that means something: the shop's own map before the canonical names.
// A status that this kind of root cannot have means nothing.
func (d *dialect) status(kind schemas.EventKind, words ...string) schemas.PaymentStatus {
	for _, word := range words {
		if word == "" {
			continue
		}
		s, mapped := d.statuses[fold(word)]
		if !mapped {
			s = canonical(word)
		}
		if s != schemas.StatusUnknown && possible(kind, s) {
			return s
		}
	}
	return schemas.StatusUnknown
}

// possible reports whether a root of this kind can have the status at all.
func possible(kind schemas.EventKind, s schemas.PaymentStatus) bool {
	switch s {
	case schemas.StatusActive, schemas.StatusSuspended:
		return kind == schemas.KindSubscription
	case schemas.StatusPending, schemas.StatusApproved, schemas.StatusExpired, schemas.StatusCancelled:
		return true
	}
	return kind != schemas.KindSubscription
}

// subscription reports whether the event's type, or the kind that the body names, is about a subscription.
func (d *dialect) subscription(typ, kind string) bool {
	if kind != "" {
		return strings.EqualFold(kind, string(schemas.KindSubscription))
	}
	for _, pattern := range d.subscriptionTypes {
		if prefix, open := strings.CutSuffix(pattern, "*"); typ == pattern || open && strings.HasPrefix(typ, prefix) {
			return true
		}
	}
	return false
}

// at is the first value of a field, with the path on which it was found.
func (d *dialect) at(e *envelope, name string) (v any, found path) {
	for _, p := range d.paths[name] {
		from := any(map[string]any(e.data))
		if p.top {
			from = map[string]any(e.attributes)
		}
		if v := lookup(from, p.steps); v != nil && v != "" {
			return v, p
		}
	}
	return nil, path{}
}

// text is the field's value where it is one: a string, digits, or a truth value.
func (d *dialect) text(e *envelope, name string) string {
	v, _ := d.at(e, name)
	return textOf(v)
}

func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return strings.TrimSpace(v)
	case strictjson.Number:
		return string(v)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// where names a field for a person: our name, and the shop's path if it is another.
func (d *dialect) where(name string) string {
	p := d.paths[name][0]
	if p.top || p.text == name {
		return strings.TrimPrefix(p.text, "$.")
	}
	return name + " (" + p.text + ")"
}
