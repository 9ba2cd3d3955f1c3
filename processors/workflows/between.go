package workflows

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/processors/triggers"
)

// movedTo are the workflows that some reachable step moves runs to.
func (c *checker) movedTo(list []*Program) map[string]bool {
	moved := map[string]bool{}
	for _, p := range list {
		for i := range p.Steps {
			if c.views[p.Name].reached[i] && p.Steps[i].Kind == StepMoveTo {
				moved[p.Steps[i].Workflow] = true
			}
		}
	}
	return moved
}

// tagRule is one place that adds or removes a tag as soon as it starts.
type tagRule struct {
	p      *Program // nil: a mapping
	step   *Step
	name   string
	starts []Start
}

// tagFights finds what adds a tag that something else removes at the same start.
func (c *checker) tagFights(list []*Program) {
	adds, removes := map[string][]tagRule{}, map[string][]tagRule{}
	put := func(m map[string][]tagRule, destination string, tags []string, r tagRule) {
		for _, t := range tags {
			key := destination + "\x00" + strings.ToLower(t) // CRMs compare tags without regard to case
			m[key] = append(m[key], r)
		}
	}
	for _, m := range c.facts.Mappings {
		r := tagRule{name: "mapping " + m.Name, starts: []Start{{Event: &Event{Connections: m.Connections, Types: m.Events}}}}
		put(adds, m.Destination, m.Add, r)
		put(removes, m.Destination, m.Remove, r)
	}
	for _, p := range list {
		if p.Mode == Off {
			continue
		}
		for i := range p.Steps {
			s := &p.Steps[i]
			if s.Kind != StepAct || s.Action.Kind != Tags || !c.views[p.Name].instant[i] {
				continue // what comes after a wait is meant to change what was before
			}
			r := tagRule{p, s, "workflow " + p.Name, p.Starts}
			put(adds, s.Destination, s.Action.Add, r)
			put(removes, s.Destination, s.Action.Remove, r)
		}
	}
	for _, p := range list {
		for i := range p.Steps {
			s := &p.Steps[i]
			if s.Kind != StepAct || s.Action.Kind != Tags {
				continue
			}
			c.p = p
			c.fights(s, s.Action.Remove, "removes", "adds", adds, true)
			c.fights(s, s.Action.Add, "adds", "removes", removes, false)
		}
	}
}

// fights tells what theirs do against the tags of step s. Between two workflows the one that removes tells; between a
// workflow and a mapping always the workflow.
func (c *checker) fights(s *Step, tags []string, verb, opposite string, theirs map[string][]tagRule, both bool) {
	for _, tag := range tags {
		key := s.Destination + "\x00" + strings.ToLower(tag)
		if c.full() || !c.views[c.p.Name].instant[c.p.StepIndex(s.ID)] || c.p.Mode == Off {
			continue // what comes after a wait is meant to change what was before
		}
		for _, other := range theirs[key] {
			if other.p == c.p || other.p != nil && !both || !overlap(c.p.Starts, other.starts) {
				continue
			}
			where := ""
			if other.step != nil {
				where = " (" + other.step.Field + ")"
			}
			c.find(TagFight, Warning, s, s.Field, fmt.Sprintf("%s the tag %q, which %s%s %s at the same start", verb, tag, other.name, where, opposite),
				"one event sets off both, in the order of their names: keep one, or tell the starts apart")
		}
	}
}

// overlap reports whether one input may set off both.
func overlap(a, b []Start) bool {
	return slices.ContainsFunc(a, func(x Start) bool {
		return slices.ContainsFunc(b, func(y Start) bool {
			switch {
			case x.Event != nil && y.Event != nil:
				return sameEvent(x.Event, y.Event)
			case x.Schedule != nil && y.Schedule != nil:
				return x.Schedule.Daily.Hour == y.Schedule.Daily.Hour && x.Schedule.Daily.Minute == y.Schedule.Daily.Minute
			}
			return x.Tag != "" && strings.EqualFold(x.Tag, y.Tag)
		})
	})
}

// sameEvent reports whether one transition may be both. A mapping's event has no trigger: it is any.
func sameEvent(a, b *Event) bool {
	apart := func(x, y []string) bool { return len(x) > 0 && len(y) > 0 && !meet(x, y) }
	if apart(a.Connections, b.Connections) || apart(a.Status, b.Status) || apart(a.From, b.From) || apart(a.Products, b.Products) {
		return false
	}
	if a.Environment != "" && b.Environment != "" && a.Environment != b.Environment {
		return false
	}
	first := func(e *Event) bool { return e.On == triggers.RecurringCreated }
	later := func(e *Event) bool { return e.On == triggers.RecurringUpdated }
	if first(a) && later(b) || later(a) && first(b) {
		return false
	}
	return len(a.Types) == 0 || len(b.Types) == 0 || patternsMeet(a.Types, b.Types)
}

// patternsMeet reports whether one event type may fit a pattern of each.
func patternsMeet(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool {
		return slices.ContainsFunc(b, func(y string) bool {
			p, openX := strings.CutSuffix(x, "*")
			q, openY := strings.CutSuffix(y, "*")
			switch {
			case openX && openY:
				return strings.HasPrefix(p, q) || strings.HasPrefix(q, p)
			case openX:
				return strings.HasPrefix(q, p)
			case openY:
				return strings.HasPrefix(p, q)
			}
			return p == q
		})
	})
}

// link is that a run of one workflow makes a run of another.
type link struct {
	from, to *Program
	step     *Step
	by       string // "move_to_workflow", or "tag vip"
	waited   bool
}

// loops finds workflows that start each other in a circle, each shown as its path.
func (c *checker) loops(list []*Program) {
	byTag := map[string][]*Program{}
	for _, p := range list {
		for _, s := range p.Starts {
			if s.Tag != "" {
				byTag[strings.ToLower(s.Tag)] = append(byTag[strings.ToLower(s.Tag)], p)
			}
		}
	}
	links := map[*Program][]link{}
	for _, p := range list {
		for i := range p.Steps {
			if c.views[p.Name].reached[i] {
				links[p] = append(links[p], c.links(p, i, byTag)...)
			}
		}
	}
	told := map[*Program]bool{}
	for _, quick := range []bool{true, false} { // a circle without a wait is the worse finding about it
		next := map[*Program][]link{}
		for p, all := range links {
			next[p] = slices.DeleteFunc(slices.Clone(all), func(l link) bool { return quick && l.waited })
		}
		group := groups(list, next)
		for _, p := range list {
			if told[p] || c.full() {
				continue
			}
			path := circle(p, next, group)
			for _, l := range path {
				told[l.from] = true
			}
			if path != nil {
				c.loop(p, path, quick)
			}
		}
	}
}

// links are the workflows that step i of p starts. A workflow that runs once ends every circle.
func (c *checker) links(p *Program, i int, byTag map[string][]*Program) []link {
	s, waited := &p.Steps[i], !c.views[p.Name].instant[i]
	var out []link
	add := func(to *Program, by string) {
		if to != nil && to.Once == "" && to.Mode != Off {
			out = append(out, link{p, to, s, by, waited})
		}
	}
	switch {
	case s.Kind == StepMoveTo:
		add(c.set[s.Workflow], "move_to_workflow")
	case s.Kind == StepAct && s.Action.Kind == Tags:
		for _, t := range s.Action.Add {
			for _, to := range byTag[strings.ToLower(t)] {
				add(to, "tag "+t)
			}
		}
	}
	return out
}

// groups numbers the workflows that lead to each other in both directions alike (Tarjan).
func groups(list []*Program, next map[*Program][]link) map[*Program]int {
	type mark struct{ number, low int }
	marks, group := map[*Program]*mark{}, map[*Program]int{}
	var stack []*Program
	var visit func(p *Program) *mark
	visit = func(p *Program) *mark {
		m := &mark{len(marks) + 1, len(marks) + 1}
		marks[p] = m
		stack = append(stack, p)
		for _, l := range next[p] {
			if to, seen := marks[l.to]; !seen {
				m.low = min(m.low, visit(l.to).low)
			} else if _, done := group[l.to]; !done {
				m.low = min(m.low, to.number)
			}
		}
		if m.low == m.number {
			for {
				last := stack[len(stack)-1]
				stack = stack[:len(stack)-1]
				if group[last] = m.number; last == p {
					break
				}
			}
		}
		return m
	}
	for _, p := range list {
		if marks[p] == nil {
			visit(p)
		}
	}
	return group
}

// circle is the shortest way from p back to it; nil if there is none.
func circle(p *Program, next map[*Program][]link, group map[*Program]int) []link {
	came, open := map[*Program]link{}, []*Program{p}
	for len(open) > 0 {
		at := open[0]
		open = open[1:]
		for _, l := range next[at] {
			if group[l.to] != group[p] {
				continue // there is no way back from there
			}
			if l.to == p {
				path := []link{l}
				for at := l.from; at != p; at = came[at].from {
					path = append(path, came[at])
				}
				slices.Reverse(path)
				return path
			}
			if _, seen := came[l.to]; !seen {
				came[l.to] = l
				open = append(open, l.to)
			}
		}
	}
	return nil
}

func (c *checker) loop(p *Program, path []link, quick bool) {
	const shownMax = 20
	text := p.Name
	for i, l := range path {
		if i == shownMax {
			text += fmt.Sprintf(" and %d more, back to %s", len(path)-i, p.Name)
			break
		}
		text += fmt.Sprintf(" -> %s (%s, %s)", l.to.Name, l.by, l.step.Field)
	}
	c.p = p
	byTag := slices.ContainsFunc(path, func(l link) bool { return l.by != "move_to_workflow" })
	if quick && !byTag {
		c.find(Loop, Error, path[0].step, path[0].step.Field, "workflows start each other in a circle without a wait: "+text, "let one of them run once, or lead one way out of the circle")
		return
	}
	c.find(Loop, Warning, path[0].step, path[0].step.Field, "workflows start each other in a circle: "+text, "if that is not meant, let one of them run once")
}
