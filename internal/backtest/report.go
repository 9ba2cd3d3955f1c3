package backtest

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// Report is what a backtest found. Everything in it has a fixed order.
type Report struct {
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until"`
	Current string    `json:"current"` // version of the configuration
	New     string    `json:"new"`
	Events  int       `json:"events"` // read, from the begin of the log
	// Groups are the effects by rule, kind and destination; those that the new configuration does not change, too.
	Groups []Group `json:"groups"`
	// Workflows are the runs, by workflow.
	Workflows []Workflow `json:"workflows,omitempty"`
	// Contacts and Money are what all differences together concern.
	Contacts int               `json:"contacts"`
	Money    map[string]string `json:"money,omitempty"`
	// DeadLetters and Unanswered are counted for the current and the new configuration.
	DeadLetters [2]int `json:"dead_letters"`
	Unanswered  [2]int `json:"unanswered"`
	// Elsewhere counts the effects in which the current configuration's run differs from what really happened.
	Elsewhere int `json:"elsewhere"`
}

// Group is one kind of effect.
type Group struct {
	Rule        string `json:"rule"` // "mappings/NAME", "workflows/NAME"; "contact" for what a contact should be
	Effect      string `json:"effect"`
	Destination string `json:"destination"`
	// Really is how often it happened, Current and New how often each configuration does it.
	Really  int `json:"really"`
	Current int `json:"current"`
	New     int `json:"new"`
	// Added, Removed and Changed are the new configuration against the current one.
	Added   int `json:"added"`
	Removed int `json:"removed"`
	Changed int `json:"changed"`
	// Elsewhere is how many differ between the current configuration's run and what really happened.
	Elsewhere int               `json:"elsewhere"`
	Contacts  int               `json:"contacts"` // of those added, removed or changed
	Money     map[string]string `json:"money,omitempty"`
	Samples   []Sample          `json:"samples,omitempty"`
}

// Sample is one difference.
type Sample struct {
	Kind    string    `json:"kind"` // added, removed, changed
	Order   string    `json:"order"`
	Event   string    `json:"event"`
	Contact string    `json:"contact"` // masked
	At      time.Time `json:"at"`
	Was     string    `json:"was,omitempty"` // of a contact's part
	Becomes string    `json:"becomes,omitempty"`
}

// Workflow is what becomes of one workflow's runs under each configuration.
type Workflow struct {
	Name    string    `json:"name"`
	Current RunCounts `json:"current"`
	New     RunCounts `json:"new"`
}

// samplesMax bounds the samples of one group and kind.
const samplesMax = 3

// tally is a group while it is counted.
type tally struct {
	Group
	contacts, roots map[string]bool
	samples         []Sample
}

type comparison struct {
	groups   map[groupKey]*tally
	contacts map[string]bool
	roots    map[string]bool
}

func (c *comparison) of(k groupKey) *tally {
	t := c.groups[k]
	if t == nil {
		t = &tally{Group: Group{Rule: k.rule, Effect: k.what, Destination: k.destination}, contacts: map[string]bool{}, roots: map[string]bool{}}
		c.groups[k] = t
	}
	return t
}

// differs notes one difference.
func (c *comparison) differs(k groupKey, root, contact string, s Sample) {
	t := c.of(k)
	t.contacts[contact], c.contacts[contact] = true, true
	if root != "" {
		t.roots[root], c.roots[root] = true, true
	}
	switch s.Kind {
	case "added":
		t.Added++
	case "removed":
		t.Removed++
	default:
		t.Changed++
	}
	if _, _, id, ok := schemas.SplitRootKey(root); ok {
		s.Order = id
	}
	s.Contact = mask(contact)
	t.samples = append(t.samples, s)
}

func report(o Options, events int, real *collector, current, next *world) *Report {
	c := &comparison{groups: map[groupKey]*tally{}, contacts: map[string]bool{}, roots: map[string]bool{}}
	c.effects(real, current.got, next.got)
	c.desired(real, current.got, next.got)
	r := &Report{
		Since: o.Since.UTC(), Until: o.Until.UTC(), Current: o.Current.Version, New: o.New.Version, Events: events,
		Contacts: len(c.contacts), Money: next.money.sum(c.roots), DeadLetters: [2]int{current.dead, next.dead},
		Unanswered: [2]int{current.unanswered, next.unanswered},
	}
	for _, t := range c.groups {
		t.Contacts, t.Money, t.Samples = len(t.contacts), next.money.sum(t.roots), pick(t.samples)
		r.Elsewhere += t.Elsewhere
		r.Groups = append(r.Groups, t.Group)
	}
	slices.SortFunc(r.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Effect, b.Effect), cmp.Compare(a.Destination, b.Destination))
	})
	names := map[string]bool{}
	for n := range current.got.workflows {
		names[n] = true
	}
	for n := range next.got.workflows {
		names[n] = true
	}
	for n := range names {
		r.Workflows = append(r.Workflows, Workflow{n, countsOf(current.got, n), countsOf(next.got, n)})
	}
	slices.SortFunc(r.Workflows, func(a, b Workflow) int { return cmp.Compare(a.Name, b.Name) })
	return r
}

func countsOf(c *collector, workflow string) RunCounts {
	if n := c.workflows[workflow]; n != nil {
		return *n
	}
	return RunCounts{}
}

func (c *comparison) effects(real, current, next *collector) {
	for _, e := range real.effects {
		c.of(e.group).Really++
	}
	for key, e := range current.effects {
		t := c.of(e.group)
		t.Current++
		if r, ok := real.effects[key]; !ok || r.value != e.value {
			t.Elsewhere++
		}
		switch n, ok := next.effects[key]; {
		case !ok:
			c.differs(e.group, e.root, e.email, Sample{Kind: "removed", Event: e.event, At: time.UnixMilli(e.at).UTC()})
		case n.value != e.value:
			c.differs(e.group, e.root, e.email, Sample{Kind: "changed", Event: e.event, At: time.UnixMilli(e.at).UTC()})
		}
	}
	for key, e := range next.effects {
		c.of(e.group).New++
		if _, ok := current.effects[key]; !ok {
			c.differs(e.group, e.root, e.email, Sample{Kind: "added", Event: e.event, At: time.UnixMilli(e.at).UTC()})
		}
	}
	for key, e := range real.effects {
		if _, ok := current.effects[key]; !ok {
			c.of(e.group).Elsewhere++
		}
	}
}

// desired compares what contacts should be at the end of the span, of those to whom anything was sent in it.
func (c *comparison) desired(real, current, next *collector) {
	keys := map[contactAt]bool{}
	for _, from := range []*collector{current, next} {
		for k, v := range from.contacts {
			if v.sent {
				keys[k] = true
			}
		}
	}
	for k := range keys {
		a, b := orNobody(current.contacts[k]), orNobody(next.contacts[k])
		newer := b
		if a.at > b.at {
			newer = a
		}
		for _, d := range differences(&a.state, &b.state) {
			s := Sample{Kind: kindOf(d), Event: newer.event, At: time.UnixMilli(newer.at).UTC(), Was: d[1], Becomes: d[2]}
			if personal(d[0]) {
				s.Was, s.Becomes = "", ""
			}
			c.differs(groupKey{"contact", d[0], k.destination}, newer.root, k.key, s)
		}
		if r := real.contacts[k]; r != nil || a.sent {
			for _, d := range differences(&orNobody(r).state, &a.state) {
				c.of(groupKey{"contact", d[0], k.destination}).Elsewhere++
			}
		}
	}
	c.held(real, current, next)
}

// held counts how many contacts have each part that differs somewhere.
func (c *comparison) held(real, current, next *collector) {
	for k, t := range c.groups {
		if k.rule != "contact" {
			continue
		}
		count := func(from *collector) (n int) {
			for at, v := range from.contacts {
				if at.destination == k.destination && has(&v.state, k.what) {
					n++
				}
			}
			return n
		}
		t.Really, t.Current, t.New = count(real), count(current), count(next)
	}
}

func has(s *schemas.Contact, what string) bool {
	if t, ok := strings.CutPrefix(what, "no tag "); ok {
		return slices.Contains(s.NoTags, t)
	}
	if t, ok := strings.CutPrefix(what, "tag "); ok {
		return slices.Contains(s.Tags, t)
	}
	if f, ok := strings.CutPrefix(what, "field "); ok {
		return s.Fields[f] != ""
	}
	return map[string]string{"e-mail": s.Email, "first name": s.FirstName, "last name": s.LastName, "phone": s.Phone}[what] != ""
}

var nobody contact

func orNobody(c *contact) *contact {
	if c == nil {
		return &nobody
	}
	return c
}

func kindOf(d [3]string) string {
	switch {
	case d[1] == "":
		return "added"
	case d[2] == "":
		return "removed"
	}
	return "changed"
}

// personal reports whether a part may hold what identifies a person: a field's value may be anything.
func personal(what string) bool { return !strings.Contains(what, "tag ") }

// pick takes a few samples of each kind, the oldest first.
func pick(all []Sample) (out []Sample) {
	slices.SortFunc(all, func(a, b Sample) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), a.At.Compare(b.At), cmp.Compare(a.Order, b.Order), cmp.Compare(a.Event, b.Event), cmp.Compare(a.Contact, b.Contact))
	})
	n := map[string]int{}
	for _, s := range all {
		if n[s.Kind]++; n[s.Kind] <= samplesMax {
			out = append(out, s)
		}
	}
	return out
}

// mask shows enough of a contact's key to tell two apart.
func mask(key string) string {
	_, email, ok := strings.Cut(key, "/")
	if !ok {
		email = key
	}
	name, host, ok := strings.Cut(email, "@")
	if !ok || len(name) < 2 {
		return "***"
	}
	return name[:1] + "***" + name[len(name)-1:] + "@" + host
}
