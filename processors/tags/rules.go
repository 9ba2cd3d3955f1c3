package tags

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tillstream/tillstream/processors/expressions"
)

// Limits of what a user may write.
const (
	RulesMax    = 200 // of one mapping
	PerRuleMax  = 50  // tags that one rule adds, and that it removes
	TagCharsMax = 255
)

// Conditional adds and removes tags where a condition holds. A tag may have placeholders, as in
// plan-{{ subscription.plan_id }}.
type Conditional struct {
	// If is an expression; empty: always.
	If     string   `yaml:"if,omitempty" json:"if,omitempty"`
	Add    []string `yaml:"add,omitempty" json:"add,omitempty"`
	Remove []string `yaml:"remove,omitempty" json:"remove,omitempty"`
}

// Problem is a finding of Compile. Rules with a problem are not used.
type Problem struct {
	Field   string // where, for example "rules[2].add[0]"
	Message string
	Hint    string
}

// Program are checked rules. It may be shared; nil has no rules.
type Program struct{ rules []conditional }

type conditional struct {
	holds       *expressions.Expression // nil: always
	add, remove []*expressions.Template
}

// Compile checks rules. The program is nil if there is any problem.
func Compile(rules []Conditional, catalogue expressions.Catalogue) (*Program, []Problem) {
	c := compiler{catalogue: catalogue}
	if len(rules) > RulesMax {
		c.report("rules", fmt.Sprintf("%d rules are more than the %d that one mapping may have", len(rules), RulesMax), "split the mapping into two")
		return nil, c.problems
	}
	p := &Program{}
	for i, r := range rules {
		p.rules = append(p.rules, c.rule(fmt.Sprintf("rules[%d]", i), r))
	}
	c.fights(rules)
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	return p, nil
}

type compiler struct {
	catalogue expressions.Catalogue
	problems  []Problem
}

func (c *compiler) report(field, message, hint string) {
	c.problems = append(c.problems, Problem{field, message, hint})
}

// reportError splits "what is wrong; what to do".
func (c *compiler) reportError(field string, err error, hint string) {
	message, better, ok := strings.Cut(err.Error(), "; ")
	if ok {
		hint = better
	}
	c.report(field, message, hint)
}

func (c *compiler) rule(at string, r Conditional) conditional {
	var out conditional
	if r.If != "" {
		e, err := expressions.Compile(r.If, c.catalogue)
		if err != nil {
			c.reportError(at+".if", err, "see expressions in the documentation of mapping")
		}
		out.holds = e
	}
	if len(r.Add) == 0 && len(r.Remove) == 0 {
		c.report(at, "the rule neither adds nor removes a tag", "give add or remove")
	}
	out.add, out.remove = c.templates(at+".add", r.Add), c.templates(at+".remove", r.Remove)
	for i, t := range r.Remove {
		if slices.ContainsFunc(r.Add, func(a string) bool { return same(a, t) }) {
			c.report(fmt.Sprintf("%s.remove[%d]", at, i), fmt.Sprintf("%.80q is added and removed", t), "keep one of the two")
		}
	}
	return out
}

func (c *compiler) templates(at string, texts []string) []*expressions.Template {
	if len(texts) > PerRuleMax {
		c.report(at, fmt.Sprintf("%d tags are more than the %d that one rule may have", len(texts), PerRuleMax), "split the rule into two")
		return nil
	}
	var list []*expressions.Template
	for i, text := range texts {
		field := fmt.Sprintf("%s[%d]", at, i)
		if !strings.Contains(text, "{{") {
			if _, err := Clean(text); err != nil {
				c.reportError(field, err, "remove the line")
				continue
			}
		}
		t, err := expressions.CompileTemplate(text, c.catalogue, expressions.Plain)
		if err != nil {
			c.reportError(field, err, "write for example plan-{{ order.currency }}")
			continue
		}
		list = append(list, t)
	}
	return list
}

// fights finds two rules without a condition of which one takes away what the other gives.
func (c *compiler) fights(rules []Conditional) {
	for i, r := range rules {
		if r.If != "" {
			continue
		}
		for j, later := range rules[i+1:] {
			if later.If != "" {
				continue
			}
			for k, t := range later.Remove {
				c.fight(fmt.Sprintf("rules[%d].remove[%d]", i+1+j, k), t, "adds", i, r.Add)
			}
			for k, t := range later.Add {
				c.fight(fmt.Sprintf("rules[%d].add[%d]", i+1+j, k), t, "removes", i, r.Remove)
			}
		}
	}
}

func (c *compiler) fight(field, tag, verb string, other int, tags []string) {
	if slices.ContainsFunc(tags, func(t string) bool { return same(t, tag) }) {
		c.report(field, fmt.Sprintf("rules[%d] always %s %.80q", other, verb, tag), "give one of the two a condition, or remove it")
	}
}

// same compares as the CRMs do: without regard to case.
func same(a, b string) bool { return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b)) }

// Changes are what rules make of one event. No tag is in both.
type Changes struct {
	Add, Remove []string // sorted
	// Issues say which tag could not be made and why, without the values.
	Issues []string
}

// Run evaluates the rules in their order; the last word about a tag counts. A tag with a placeholder that comes out
// empty is left out and told.
func (p *Program) Run(v expressions.Values) Changes {
	var out Changes
	if p == nil || len(p.rules) == 0 {
		return out
	}
	wanted := map[string]bool{}
	for i := range p.rules {
		r := &p.rules[i]
		if r.holds != nil {
			holds, err := r.holds.Holds(v)
			if err != nil {
				out.Issues = append(out.Issues, fmt.Sprintf("rules[%d].if: %s", i, err))
			}
			if !holds {
				continue
			}
		}
		out.Issues = fill(out.Issues, r.add, v, wanted, true)
		out.Issues = fill(out.Issues, r.remove, v, wanted, false)
	}
	for _, tag := range slices.Sorted(maps.Keys(wanted)) {
		if wanted[tag] {
			out.Add = append(out.Add, tag)
		} else {
			out.Remove = append(out.Remove, tag)
		}
	}
	return out
}

func fill(issues []string, templates []*expressions.Template, v expressions.Values, wanted map[string]bool, want bool) []string {
	for _, t := range templates {
		text, whole, why := t.FillAll(v)
		for _, w := range why {
			issues = append(issues, "tag "+t.String()+": "+w)
		}
		if !whole {
			if len(why) == 0 {
				issues = append(issues, "tag "+t.String()+": the event lacks a value of it")
			}
			continue
		}
		tag, err := Clean(text)
		if err != nil {
			issues = append(issues, "tag "+t.String()+": "+err.Error())
			continue
		}
		wanted[tag] = want
	}
	return issues
}

// Sources are the names that the rules read, sorted.
func (p *Program) Sources() []string {
	names := map[string]bool{}
	for _, r := range p.all() {
		if r.holds != nil {
			for _, s := range r.holds.Sources() {
				names[s] = true
			}
		}
		for _, t := range slices.Concat(r.add, r.remove) {
			for _, s := range t.Sources() {
				names[s] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// Constants are the tags of the rules that have no placeholder, sorted: what Collisions can look at beforehand.
func (p *Program) Constants() []string {
	names := map[string]bool{}
	for _, r := range p.all() {
		for _, t := range slices.Concat(r.add, r.remove) {
			if !t.Constant() {
				continue
			}
			if tag, err := Clean(t.String()); err == nil {
				names[tag] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func (p *Program) all() []conditional {
	if p == nil {
		return nil
	}
	return p.rules
}

// Clean makes a tag of a text: control characters and runs of spaces become one space, and none stays at an end. What
// is then empty or too long is refused. What a CRM with narrower names makes of it is the CRM's own matter: Collisions.
func Clean(text string) (string, error) {
	tag := text
	if !tidy(tag) {
		tag = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, ""), func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	}
	switch {
	case tag == "":
		return "", errors.New("a tag must not be empty")
	case utf8.RuneCountInString(tag) > TagCharsMax:
		return "", fmt.Errorf("a tag must not have more than %d characters", TagCharsMax)
	}
	return tag, nil
}

// tidy reports whether there is nothing to clean.
func tidy(text string) bool {
	gap := true // a space at the beginning is one too many
	for _, r := range text {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.IsSpace(r) && (gap || r != ' ') {
			return false
		}
		gap = r == ' '
	}
	return !gap
}

// Canonical is a destination's own name for a tag of ours. The error says why it can have none.
type Canonical func(tag string) (string, error)

// Collision are tags of ours that a destination cannot tell apart.
type Collision struct {
	As   string   // their one name there
	Tags []string // sorted
}

// Collisions finds the tags that become one at a destination, which compares without regard to case. Tags that
// are one to us as well (VIP and vip) are no collision. unusable are those that can have no name there, with the reason.
func Collisions(all []string, canonical Canonical) (collisions []Collision, unusable map[string]error) {
	named := map[string][]string{} // lower-case name there to ours
	as := map[string]string{}
	unusable = map[string]error{}
	for _, tag := range slices.Sorted(slices.Values(all)) {
		name, err := canonical(tag)
		if err != nil {
			unusable[tag] = err
			continue
		}
		key := strings.ToLower(name)
		if slices.ContainsFunc(named[key], func(o string) bool { return same(o, tag) }) {
			continue
		}
		named[key] = append(named[key], tag)
		if as[key] == "" {
			as[key] = name
		}
	}
	for _, key := range slices.Sorted(maps.Keys(named)) {
		if len(named[key]) > 1 {
			collisions = append(collisions, Collision{as[key], named[key]})
		}
	}
	return collisions, unusable
}
