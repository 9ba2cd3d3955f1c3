// Package mapping turns the fields of an event into values of CRM fields, by rules that a user writes.
//
// Rules are checked once, by Compile; Apply then never fails as a whole: a rule whose source is missing leaves its
// field alone, and one whose value makes no sense says so in an Issue.
package mapping

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/processors/expressions"
	"github.com/tillstream/tillstream/schemas"
)

// RulesMax bounds the rules of one mapping.
const RulesMax = 500

// Mapping is the list of rules of one mapping, as configured.
type Mapping struct {
	Fields []Rule `yaml:"fields" json:"fields"`
}

// Rule fills one CRM field.
type Rule struct {
	// To is the CRM field: its personalisation tag or title. It must exist at the CRM; none is created.
	To string `yaml:"to" json:"to"`
	// From is the source, for example "payer.email". Empty: the rule writes Default.
	From string `yaml:"from,omitempty" json:"from,omitempty"`
	// Expr computes the value instead of From, for example "order.paid - order.refunded". See package expressions.
	Expr string `yaml:"expr,omitempty" json:"expr,omitempty"`
	// As is what to make of it: functions with their arguments, joined by "|", for example "trim | lower | hash".
	// Empty means the value as it is. Functions lists them.
	As string `yaml:"as,omitempty" json:"as,omitempty"`
	// Concat names further sources that are put behind From, with Separator (default one space) between those present.
	Concat    []string `yaml:"concat,omitempty" json:"concat,omitempty"`
	Separator *string  `yaml:"separator,omitempty" json:"separator,omitempty"`
	// Table is for the function lookup: what to write for which value. A value that it lacks counts as missing.
	Table map[string]string `yaml:"table,omitempty" json:"table,omitempty"`
	// Default is written where the source is missing. Without it such a field is left alone.
	Default *string `yaml:"default,omitempty" json:"default,omitempty"`
	// When limits the rule to events whose sources have one of the listed values; all entries must hold.
	When map[string][]string `yaml:"when,omitempty" json:"when,omitempty"`
	// If limits the rule to events for which this expression holds; When must hold, too.
	If string `yaml:"if,omitempty" json:"if,omitempty"`
}

// Functions lists the names that Rule.As may hold.
func Functions() []string { return expressions.Functions() }

// Problem is a finding of Compile about one rule. A mapping with a problem is not used.
type Problem struct {
	Field   string // where, for example "fields[2].from"
	Message string
	Hint    string
}

// Issue is a value that a rule could not make. The field is left alone, or gets its default.
type Issue struct {
	To     string
	From   string
	Reason string // never holds the value: it may be personal
}

// Value is what one CRM field is to hold.
type Value struct{ To, Value string }

// Program is a checked mapping. It may be shared.
type Program struct {
	rules []compiled
	to    []string // the fields, sorted
}

type compiled struct {
	Rule
	place     int // of its field in Program.to
	from      Source
	expr      *expressions.Expression // nil: from
	concat    []Source
	separator string
	chain     *expressions.Chain
	kind      expressions.Kind // of the value; zero: of a constant
	when      []condition
	condition *expressions.Expression // nil: always
}

type condition struct {
	source Source
	values []string
}

// Compile checks m. catalogue lists the provider's further field names (OrderEvent.Fields); Sources are always known.
// The program is nil if there is any problem.
func Compile(m Mapping, catalogue []string) (*Program, []Problem) {
	return compile(m, catalogue, false)
}

// CompileLayers is Compile for rules of which later ones are meant to win over earlier ones for the same field.
func CompileLayers(m Mapping, catalogue []string) (*Program, []Problem) {
	return compile(m, catalogue, true)
}

func compile(m Mapping, catalogue []string, layers bool) (*Program, []Problem) {
	c := compiler{known: append(Sources(), catalogue...), names: CatalogueFor(catalogue)}
	if len(m.Fields) > RulesMax {
		c.report("fields", fmt.Sprintf("%d rules are more than the %d that one mapping may have", len(m.Fields), RulesMax), "split the mapping into two")
	}
	p := &Program{}
	first := map[string]int{}
	for i, r := range m.Fields {
		at := fmt.Sprintf("fields[%d]", i)
		if j, twice := first[r.To]; twice && !layers && r.always() && m.Fields[j].always() {
			c.report(at+".to", fmt.Sprintf("%q is filled by fields[%d] too", r.To, j), "remove one of the two, or give each its own when or if")
		}
		first[r.To] = i
		p.rules = append(p.rules, c.rule(at, r))
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	p.to = slices.Sorted(maps.Keys(first))
	for i := range p.rules {
		p.rules[i].place, _ = slices.BinarySearch(p.to, p.rules[i].To)
	}
	return p, nil
}

// always reports whether the rule has no condition.
func (r *Rule) always() bool { return len(r.When) == 0 && r.If == "" }

type compiler struct {
	known    []string
	names    expressions.Catalogue
	problems []Problem
}

func (c *compiler) report(field, message, hint string) {
	c.problems = append(c.problems, Problem{field, message, hint})
}

func (c *compiler) rule(at string, r Rule) compiled {
	out := compiled{Rule: r, from: NewSource(r.From), separator: " "}
	if r.Separator != nil {
		out.separator = *r.Separator
	}
	if strings.TrimSpace(r.To) == "" {
		c.report(at+".to", "a rule must say which CRM field it fills", "give the field's personalisation tag, for example PAYPAL_STATUS")
	}
	switch {
	case r.From == "" && r.Expr == "" && r.Default == nil:
		c.report(at+".from", "a rule needs a source or a default", "give from, for example payer.email")
	case r.From != "" && r.Expr != "":
		c.report(at+".expr", "a rule has one source, and from is given too", "remove from, or expr")
	case r.From != "":
		c.source(at+".from", r.From)
	}
	for i, s := range r.Concat {
		c.source(fmt.Sprintf("%s.concat[%d]", at, i), s)
		out.concat = append(out.concat, NewSource(s))
	}
	if r.Expr != "" {
		out.expr = c.expression(at+".expr", r.Expr, expressions.CompileValue)
	}
	if r.If != "" {
		out.condition = c.expression(at+".if", r.If, expressions.Compile)
	}
	c.chain(at+".as", &out)
	names := make([]string, 0, len(r.When))
	for s := range r.When {
		names = append(names, s)
	}
	slices.Sort(names)
	for _, s := range names {
		c.source(at+".when", s)
		out.when = append(out.when, condition{NewSource(s), slices.Clone(r.When[s])})
	}
	return out
}

func (c *compiler) expression(at, text string, compile func(string, expressions.Catalogue) (*expressions.Expression, error)) *expressions.Expression {
	e, err := compile(text, c.names)
	if err != nil {
		message, hint, ok := strings.Cut(err.Error(), "; ")
		if !ok {
			hint = "see expressions in the documentation of mapping"
		}
		c.report(at, message, hint)
	}
	return e
}

// chain compiles the functions, and finds out the kind of what they make.
func (c *compiler) chain(at string, r *compiled) {
	as := r.As
	if strings.TrimSpace(as) == "" && len(r.Table) > 0 {
		as = "lookup"
	}
	chain, err := expressions.ParseChain(as, r.Table)
	if err != nil {
		message, hint, _ := strings.Cut(err.Error(), "; ")
		c.report(at, message, hint)
		chain = &expressions.Chain{}
	}
	r.chain = chain
	what := r.From
	switch {
	case r.expr != nil:
		r.kind, what = r.expr.Kind(), "the expression"
	case r.Expr != "" || r.From == "" && len(r.Concat) == 0:
		return
	case len(r.Concat) > 0:
		r.kind = expressions.Text
	default:
		r.kind = kindOf(r.From)
	}
	result, function, ok := chain.Fits(r.kind)
	if !ok {
		c.report(at, fmt.Sprintf("%s makes no sense of %s, which is %s", function, what, result), "use text, or another source")
	}
	r.kind = result
}

func (c *compiler) source(at, name string) {
	if Known(name, c.known) {
		return
	}
	hint := "the sources are listed in the documentation of mapping"
	if near := Nearest(name, c.known); near != "" {
		hint = "did you mean " + near + "?"
	}
	c.report(at, fmt.Sprintf("%q is no known source", name), hint)
}

// The words of Kinds.
const (
	KindText     = "text"
	KindNumber   = "number"
	KindDate     = "date"     // YYYY-MM-DD
	KindDateTime = "datetime" // RFC 3339
	KindPhone    = "phone"
	KindAny      = "any" // of a provider's own field, whose kind is not known
)

// Kinds says what each field is filled with, in the words above, to be compared with the field's type at the CRM. A
// field of several rules that differ is any; one of constants only is text.
func (p *Program) Kinds() map[string]string {
	kinds := map[string]string{}
	constant := map[string]bool{}
	for i := range p.rules {
		r := &p.rules[i]
		word := kindWord(r.kind)
		known, seen := kinds[r.To]
		switch {
		case r.kind == 0 && !seen:
			kinds[r.To], constant[r.To] = KindText, true
		case r.kind == 0:
		case !seen || constant[r.To] || known == word:
			kinds[r.To], constant[r.To] = word, false
		default:
			kinds[r.To] = KindAny
		}
	}
	return kinds
}

func kindWord(k expressions.Kind) string {
	switch k {
	case expressions.Number:
		return KindNumber
	case expressions.Date:
		return KindDate
	case expressions.Time:
		return KindDateTime
	case expressions.Phone:
		return KindPhone
	case expressions.Any:
		return KindAny
	}
	return KindText
}

// Apply makes the values for t, sorted by field. A rule that comes later wins over an earlier one for the same field.
func (p *Program) Apply(t schemas.Transition) ([]Value, []Issue) { return p.Run(&t) }

// Run is Apply without a copy of t, which it does not change. To its expressions the contact's own values are absent.
func (p *Program) Run(t *schemas.Transition) ([]Value, []Issue) { return p.RunWith(t, nil) }

// RunWith is Run with the contact's values: contact is asked for the names that begin with contact.
func (p *Program) RunWith(t *schemas.Transition, contact expressions.Values) ([]Value, []Issue) {
	var issues []Issue
	values := make([]Value, len(p.to)) // by place; one without a name was not made
	v := &view{t, contact}
	for i := range p.rules {
		r := &p.rules[i]
		holds, reason := r.holds(v)
		if reason != "" {
			issues = append(issues, Issue{r.To, "if", reason})
		}
		if !holds {
			continue
		}
		value, ok, reason := r.value(v)
		if reason != "" {
			issues = append(issues, Issue{r.To, r.origin(), reason})
		}
		if !ok && r.Default != nil {
			value, ok = *r.Default, true
		}
		if ok {
			values[r.place] = Value{r.To, value}
		}
	}
	values = slices.DeleteFunc(values, func(v Value) bool { return v.To == "" })
	if len(values) == 0 {
		values = nil
	}
	return values, issues
}

// origin names where the value comes from, for an issue.
func (r *compiled) origin() string {
	if r.expr != nil {
		return "expr"
	}
	return r.From
}

func (r *compiled) holds(v *view) (holds bool, reason string) {
	for i := range r.when {
		if c := &r.when[i]; !slices.Contains(c.values, c.source.Get(v.t)) {
			return false, ""
		}
	}
	if r.condition == nil {
		return true, ""
	}
	holds, err := r.condition.Holds(v)
	if err != nil {
		return false, err.Error()
	}
	return holds, ""
}

// value runs the rule's functions. ok is false where the source is missing; reason says why a present one is no use.
func (r *compiled) value(v *view) (value string, ok bool, reason string) {
	if r.expr != nil {
		computed, err := r.expr.Value(v)
		if err != nil {
			return "", false, err.Error()
		}
		value = computed
	} else {
		value = r.from.Get(v.t)
	}
	for _, s := range r.concat {
		switch part := s.Get(v.t); {
		case part == "":
		case value == "":
			value = part
		default:
			value += r.separator + part
		}
	}
	value, reason = r.chain.Run(value, v)
	return value, value != "", reason
}
