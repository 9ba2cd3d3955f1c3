// Package mapping turns the fields of an event into values of CRM fields, by rules that a user writes.
//
// Rules are checked once, by Compile; Apply then never fails as a whole: a rule whose source is missing leaves its
// field alone, and one whose value makes no sense says so in an Issue.
package mapping

import (
	"fmt"
	"slices"
	"strings"

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
	// As is what to make of it: functions with their arguments, joined by "|", for example "trim | lower | hash".
	// Empty means text. Functions lists them.
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
}

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
type Program struct{ rules []compiled }

type compiled struct {
	Rule
	from      Source
	concat    []Source
	separator string
	steps     []function
	when      []condition
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
	c := compiler{known: append(Sources(), catalogue...)}
	if len(m.Fields) > RulesMax {
		c.report("fields", fmt.Sprintf("%d rules are more than the %d that one mapping may have", len(m.Fields), RulesMax), "split the mapping into two")
	}
	p := &Program{}
	first := map[string]int{}
	for i, r := range m.Fields {
		at := fmt.Sprintf("fields[%d]", i)
		if j, twice := first[r.To]; twice && !layers && len(r.When) == 0 && len(m.Fields[j].When) == 0 {
			c.report(at+".to", fmt.Sprintf("%q is filled by fields[%d] too", r.To, j), "remove one of the two, or give each its own when")
		}
		first[r.To] = i
		p.rules = append(p.rules, c.rule(at, r))
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	return p, nil
}

type compiler struct {
	known    []string
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
	if r.From == "" && r.Default == nil {
		c.report(at+".from", "a rule needs a source or a default", "give from, for example payer.email")
	}
	if r.From != "" {
		c.source(at+".from", r.From)
	}
	for i, s := range r.Concat {
		c.source(fmt.Sprintf("%s.concat[%d]", at, i), s)
		out.concat = append(out.concat, NewSource(s))
	}
	steps, err := parseAs(r)
	if err != nil {
		c.report(at+".as", err.message, err.hint)
	}
	out.steps = steps
	if len(steps) > 0 && r.From != "" && !steps[0].takes(typeOf(r.From)) {
		c.report(at+".as", fmt.Sprintf("%s makes no sense of %s, which is %s", steps[0].name, r.From, typeOf(r.From)), "use text, or another source")
	}
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

// Apply makes the values for t, sorted by field. A rule that comes later wins over an earlier one for the same field.
func (p *Program) Apply(t schemas.Transition) ([]Value, []Issue) { return p.Run(&t) }

// Run is Apply without a copy of t, which it does not change.
func (p *Program) Run(t *schemas.Transition) ([]Value, []Issue) {
	var issues []Issue
	values := make([]Value, 0, len(p.rules))
	for i := range p.rules {
		r := &p.rules[i]
		if !r.holds(t) {
			continue
		}
		value, ok, reason := r.value(t)
		if reason != "" {
			issues = append(issues, Issue{r.To, r.From, reason})
		}
		if !ok && r.Default != nil {
			value, ok = *r.Default, true
		}
		if ok {
			values = set(values, Value{r.To, value})
		}
	}
	if len(values) == 0 {
		values = nil
	}
	return values, issues
}

func set(values []Value, v Value) []Value {
	i, found := slices.BinarySearchFunc(values, v, func(a, b Value) int { return strings.Compare(a.To, b.To) })
	if found {
		values[i] = v
		return values
	}
	return slices.Insert(values, i, v)
}

func (r *compiled) holds(t *schemas.Transition) bool {
	for i := range r.when {
		if c := &r.when[i]; !slices.Contains(c.values, c.source.Get(t)) {
			return false
		}
	}
	return true
}

// value runs the rule's functions. ok is false where the source is missing; reason says why a present one is no use.
func (r *compiled) value(t *schemas.Transition) (value string, ok bool, reason string) {
	value = r.from.Get(t)
	for _, s := range r.concat {
		v := s.Get(t)
		switch {
		case v == "":
		case value == "":
			value = v
		default:
			value += r.separator + v
		}
	}
	for _, step := range r.steps {
		if value == "" {
			break
		}
		if value, reason = step.run(value, t); reason != "" {
			return "", false, reason
		}
	}
	return value, value != "", ""
}
