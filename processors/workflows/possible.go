package workflows

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/processors/triggers"
	"github.com/tillstream/tillstream/schemas"
)

// view is what of a program can be reached, and how.
type view struct {
	reached []bool // from the first step
	instant []bool // without time passing
	follows []bool // some step, reached or not, leads there
	noOrder bool   // only the clock starts it, so that its runs are about no order
}

// edge is a way from one step to another.
type edge struct {
	to     int
	waited bool // time has passed
}

func (c *checker) look(p *Program) *view {
	n := len(p.Steps)
	v := &view{reached: make([]bool, n), instant: make([]bool, n), follows: make([]bool, n)}
	v.noOrder = len(p.Starts) > 0 && !slices.ContainsFunc(p.Starts, func(s Start) bool { return s.Schedule == nil })
	c.p, c.views[p.Name] = p, v
	if n > 0 {
		v.reached[0], v.instant[0] = true, true
	}
	for i := range p.Steps { // every way leads on in the order of steps
		for _, e := range c.edges(&p.Steps[i]) {
			if e.to == End {
				continue
			}
			v.follows[e.to] = true
			v.reached[e.to] = v.reached[e.to] || v.reached[i]
			v.instant[e.to] = v.instant[e.to] || v.instant[i] && !e.waited
		}
	}
	return v
}

// edges are the ways that a run may take from s.
func (c *checker) edges(s *Step) []edge {
	switch s.Kind {
	case StepIf:
		if always, constant := constantly(s.If); constant && always {
			return []edge{{s.Then, false}}
		} else if constant {
			return []edge{{s.Else, false}}
		}
		return []edge{{s.Then, false}, {s.Else, false}}
	case StepOnList, StepHours:
		return []edge{{s.Then, false}, {s.Else, false}}
	case StepWaitFor:
		w := s.WaitFor
		var out []edge
		meetable := c.unmeetable(w) == ""
		if meetable {
			out = append(out, edge{w.Met, w.LookBack == 0})
		}
		if w.NotMetAfter > 0 {
			out = append(out, edge{w.NotMet, true})
			if meetable && w.CorrectWithin > 0 {
				out = append(out, edge{w.Corrected, true})
			}
		}
		return out
	case StepWait:
		return []edge{{s.Next, true}}
	case StepMoveTo, StepStop:
		return nil
	}
	return []edge{{s.Next, false}}
}

// unmeetable says why no event can end a wait of c.p; empty: one can.
func (c *checker) unmeetable(w *WaitFor) string {
	if always, constant := constantly(w.If); constant && !always {
		return "its condition never holds"
	}
	if why := c.impossible(&w.Event); why != "" {
		return why
	}
	return c.ended(w)
}

// impossible says why no connection can bring the event; empty: one can, or it is not known.
func (c *checker) impossible(e *Event) string {
	if !legal(e) {
		return "no order goes from " + strings.Join(e.From, " or ") + " to " + strings.Join(e.Status, " or ")
	}
	if c.facts.Connections == nil {
		return ""
	}
	why := "there is no connection"
	for _, name := range slices.Sorted(maps.Keys(c.facts.Connections)) {
		s := c.facts.Connections[name]
		switch {
		case len(e.Connections) > 0 && !slices.Contains(e.Connections, name):
		case e.Environment != "" && s.Environment != "" && s.Environment != e.Environment:
			why = fmt.Sprintf("%s is of the %s environment", name, s.Environment)
		case e.On == triggers.EventReceived && s.Provider != "paypal":
			why = fmt.Sprintf("%s is no PayPal account", name)
		case len(e.Status) > 0 && s.Statuses != nil && !meet(e.Status, s.Statuses):
			why = fmt.Sprintf("%s knows no status %s", name, strings.Join(e.Status, " or "))
		default:
			return ""
		}
	}
	return why
}

// legal reports whether an order or a subscription may take one of the steps that e names, as far as they are ours.
func legal(e *Event) bool {
	if len(e.From) == 0 || len(e.Status) == 0 {
		return true
	}
	for _, from := range e.From {
		for _, to := range e.Status {
			if !ours(to) || canFollow(from, to) {
				return true
			}
		}
	}
	return false
}

func ours(status string) bool { return slices.Contains(triggers.Statuses(), status) }

// kinds are the two tables of statuses. A status that a table does not have is nothing that such an entity can be in.
var kinds = map[schemas.EventKind][]schemas.PaymentStatus{
	schemas.KindOrder: nil,
	schemas.KindSubscription: {
		schemas.StatusPending, schemas.StatusApproved, schemas.StatusActive, schemas.StatusSuspended,
		schemas.StatusCancelled, schemas.StatusExpired,
	},
}

func knows(kind schemas.EventKind, status string) bool {
	if kind == schemas.KindSubscription {
		return slices.Contains(kinds[kind], schemas.PaymentStatus(status))
	}
	return status != string(schemas.StatusActive) && status != string(schemas.StatusSuspended)
}

// canFollow reports whether to may come straight after from, for an order or a subscription.
func canFollow(from, to string) bool {
	for kind := range kinds {
		if from != to && knows(kind, from) && knows(kind, to) && schemas.Legal(kind, schemas.PaymentStatus(from), schemas.PaymentStatus(to)) {
			return true
		}
	}
	return false
}

// ended says that the wait is for statuses of the run's own order which, at the status that started the run, has no
// way left to any of them.
func (c *checker) ended(w *WaitFor) string {
	if w.Same == ScopeContact || w.LookBack > 0 || len(w.Event.Status) == 0 || len(c.p.Starts) == 0 {
		return ""
	}
	for i := range c.p.Starts {
		s := &c.p.Starts[i]
		if s.Event == nil || len(s.Event.Status) == 0 || !all(s.Event.Status, ours) {
			return ""
		}
		for _, from := range s.Event.Status {
			for _, to := range w.Event.Status {
				if !ours(to) || leads(from, to) {
					return ""
				}
			}
		}
	}
	return "an order that is " + strings.Join(c.p.Starts[0].Event.Status, " or ") + " never becomes " + strings.Join(w.Event.Status, " or ")
}

// leads reports whether some sequence of legal steps goes from one status to the other.
func leads(from, to string) bool {
	for kind := range kinds {
		if !knows(kind, from) || !knows(kind, to) {
			continue
		}
		seen, open := map[string]bool{}, []string{from}
		for len(open) > 0 {
			at := open[0]
			open = open[1:]
			for _, next := range triggers.Statuses() {
				if next == at || seen[next] || !knows(kind, next) || !schemas.Legal(kind, schemas.PaymentStatus(at), schemas.PaymentStatus(next)) {
					continue
				}
				if next == to {
					return true
				}
				seen[next] = true
				open = append(open, next)
			}
		}
	}
	return false
}

func all(list []string, holds func(string) bool) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !holds(s) })
}

func meet(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}
