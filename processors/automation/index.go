package automation

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/processors/triggers"
	"github.com/tillstream/tillstream/processors/workflows"
)

// index is what all workflows together need, found once.
type index struct {
	programs  map[string]*workflows.Program // by name
	events    map[string][]entrance         // by trigger
	tags      map[string][]entrance
	scheduled []entrance
	sources   map[string]mapping.Source // of every name that a step uses
	keep      map[string][]string       // what a run of this workflow keeps: its own names and those of what it may start
	lookBack  time.Duration             // the longest
	texts     bool                      // some status is a provider's own text
}

// entrance is one start of one workflow.
type entrance struct {
	program *workflows.Program
	start   *workflows.Start
}

// WithWorkflows returns r with these workflows in the place of its own.
func (r Rules) WithWorkflows(list []*workflows.Program) Rules {
	r.workflows = slices.SortedFunc(slices.Values(list), func(a, b *workflows.Program) int { return strings.Compare(a.Name, b.Name) })
	x := index{
		programs: make(map[string]*workflows.Program, len(r.workflows)),
		events:   map[string][]entrance{}, tags: map[string][]entrance{}, sources: map[string]mapping.Source{}, keep: map[string][]string{},
	}
	r.indexed.programs = x.programs
	for _, p := range r.workflows {
		x.programs[p.Name] = p
		for i := range p.Starts {
			x.enter(p, &p.Starts[i])
		}
		for i := range p.Steps {
			if wf := p.Steps[i].WaitFor; wf != nil {
				x.lookBack = max(x.lookBack, wf.LookBack)
				x.texts = x.texts || hasText(&wf.Event)
			}
		}
	}
	for _, p := range r.workflows {
		x.keep[p.Name] = x.kept(&r, p)
		for _, name := range slices.Concat(p.Sources, x.keep[p.Name]) {
			x.sources[name] = mapping.NewSource(name)
		}
	}
	r.indexed, r.fills = x, fillsOf(&r)
	return r
}

func (x *index) enter(p *workflows.Program, s *workflows.Start) {
	e := entrance{p, s}
	switch {
	case s.Event != nil:
		x.events[s.Event.On] = append(x.events[s.Event.On], e)
		x.texts = x.texts || hasText(s.Event)
	case s.Tag != "":
		x.tags[s.Tag] = append(x.tags[s.Tag], e)
	case s.Schedule != nil:
		x.scheduled = append(x.scheduled, e)
	}
}

// hasText reports whether a status is none of ours, and so a provider's.
func hasText(e *workflows.Event) bool {
	return slices.ContainsFunc(e.Status, func(s string) bool { return !slices.Contains(triggers.Statuses(), s) })
}

// kept is the union of the sources of p and of every workflow that its runs may move to or start by a tag.
func (x *index) kept(r *Rules, p *workflows.Program) []string {
	names, seen := map[string]bool{}, map[string]bool{}
	var visit func(p *workflows.Program)
	visit = func(p *workflows.Program) {
		if p == nil || seen[p.Name] {
			return
		}
		seen[p.Name] = true
		for _, n := range p.Sources {
			if !ofContact(n) {
				names[n] = true
			}
		}
		for i := range p.Steps {
			if a := p.Steps[i].Action; a != nil {
				if describes(a) {
					for _, n := range describing {
						names[n] = true
					}
				}
				for _, t := range a.Add {
					for _, e := range x.tags[t] {
						if e.program.Destination == p.Steps[i].Destination {
							visit(e.program)
						}
					}
				}
			}
			if to := p.Steps[i].Workflow; to != "" {
				visit(r.Workflow(to))
			}
		}
	}
	visit(p)
	return slices.Sorted(maps.Keys(names))
}

// Workflow is the program of that name; nil if there is none.
func (r *Rules) Workflow(name string) *workflows.Program {
	return r.indexed.programs[name]
}

// Workflows are the programs, by name.
func (r *Rules) Workflows() []*workflows.Program { return slices.Clone(r.workflows) }

// source finds a source that some step uses.
func (r *Rules) source(name string) mapping.Source {
	if s, ok := r.indexed.sources[name]; ok {
		return s
	}
	return mapping.NewSource(name)
}
