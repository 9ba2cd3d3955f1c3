package workflows

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/processors/expressions"
	"github.com/tillstream/tillstream/processors/spelling"
	"github.com/tillstream/tillstream/processors/triggers"
	"github.com/tillstream/tillstream/schemas"
)

// FindingsMax bounds what Check tells.
const FindingsMax = 1_000

// Severity says how bad a finding is.
type Severity string

// The severities. An error is a workflow that can't do what it says; a warning one that probably should not.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Rule names what Check looks for.
type Rule string

// The rules.
const (
	Unreachable       Rule = "unreachable-step"
	EndlessWait       Rule = "endless-wait"       // nothing can end it and nothing times it out
	FutileWait        Rule = "futile-wait"        // nothing but the deadline can end it
	FutileStart       Rule = "futile-start"       // nothing can set it off
	StatusUnseen      Rule = "status-never-seen"  // nor one of ours
	TagFight          Rule = "tag-fight"          // one rule adds what another removes
	Loop              Rule = "loop"               // between workflows
	NotMovable        Rule = "no-moved-here"      // moved to, without such a start
	NobodyMoves       Rule = "nobody-moves-here"  // such a start, without a move
	MovesToOff        Rule = "moves-to-off"       // to a workflow that starts no run
	HeldForHistory    Rule = "held-for-history"   // messages and lists of runs that history starts
	NoOrder           Rule = "no-order"           // something of an order, in a run that has none
	ConstantCondition Rule = "constant-condition" // it holds always, or never
	DoesNothing       Rule = "does-nothing"       // no action is reached
)

// Finding is something about a workflow that is well-formed and yet wrong in meaning.
type Finding struct {
	Workflow string   `json:"workflow"`
	Step     string   `json:"step,omitempty"` // its id; empty for the workflow or a start
	Field    string   `json:"field"`          // the place in the file: steps[1].wait_for.status[0]
	Rule     Rule     `json:"rule"`
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"`
}

// Facts are what is known beside the workflows. What is nil is not looked at.
type Facts struct {
	Connections map[string]Source
	// SeenStatuses are all that came so far, ours and the providers' texts.
	SeenStatuses []string
	Mappings     []MappingTags
}

// Source is what one connection can bring.
type Source struct {
	Provider    string // paypal, woocommerce, ...
	Environment schemas.Environment
	Statuses    []string // ours and the provider's texts; nil: not known
}

// MappingTags are the tags that a mapping file puts on contacts.
type MappingTags struct {
	Name, Destination   string
	Connections, Events []string // empty: all
	Add, Remove         []string
}

// Check finds what is wrong in meaning, in the order of workflows and steps. It changes nothing.
func Check(set Set, f Facts) []Finding {
	c := checker{set: set, facts: f, views: map[string]*view{}}
	list := set.List()
	for _, p := range list {
		c.views[p.Name] = c.look(p)
	}
	moved := c.movedTo(list)
	for _, p := range list {
		c.p = p
		c.starts(moved[p.Name])
		c.steps()
	}
	c.loops(list) // before what may be many
	c.tagFights(list)
	slices.SortStableFunc(c.findings, func(a, b placed) int {
		return cmp.Or(strings.Compare(a.Workflow, b.Workflow), cmp.Compare(a.place, b.place))
	})
	out := make([]Finding, len(c.findings))
	for i := range c.findings {
		out[i] = c.findings[i].Finding
	}
	return out
}

type checker struct {
	set      Set
	facts    Facts
	views    map[string]*view
	p        *Program // looked at now
	findings []placed
}

type placed struct {
	Finding
	place int // of its step, from 1
}

func (c *checker) full() bool { return len(c.findings) >= FindingsMax }

// find adds a finding about a step of p, or about something else of it if step is nil.
func (c *checker) find(r Rule, s Severity, step *Step, field, message, hint string) {
	if c.full() {
		return
	}
	f := placed{Finding: Finding{Workflow: c.p.Name, Field: field, Rule: r, Severity: s, Message: message, Hint: hint}}
	if step != nil {
		f.Step, f.place = step.ID, c.p.StepIndex(step.ID)+1
	}
	c.findings = append(c.findings, f)
}

// starts looks at the ways into c.p. moved says that another workflow moves runs here.
func (c *checker) starts(moved bool) {
	for i := range c.p.Starts {
		s, at := &c.p.Starts[i], fmt.Sprintf("start[%d]", i)
		if always, constant := constantly(s.If); constant {
			c.constant(nil, at+".if", always, "nothing starts here")
		}
		switch {
		case s.Event != nil:
			c.statuses(nil, at, s.Event)
			if why := c.impossible(s.Event); why != "" {
				c.find(FutileStart, Error, nil, at, "nothing can set this off: "+why, "mend it, or remove it")
			}
		case s.Moved && !moved:
			c.find(NobodyMoves, Warning, nil, at, "no workflow moves its runs here", "add move_to_workflow: "+c.p.Name+" to one, or remove this start")
		case s.Schedule != nil && c.p.Once != "" && c.p.Once != ScopeContact:
			c.find(NoOrder, Warning, nil, "once", fmt.Sprintf("a run that a schedule starts (%s) has no %s: it runs once for each contact", at, c.p.Once), "write once: contact, or remove it")
		}
	}
}

// constantly reports whether e never depends on a value, and what it gives then.
func constantly(e *expressions.Expression) (always, constant bool) {
	if e == nil || len(e.Sources()) > 0 {
		return false, false
	}
	always, err := e.Holds(nothing{})
	return always, err == nil
}

// nothing has no values.
type nothing struct{}

func (nothing) Text(string) string   { return "" }
func (nothing) List(string) []string { return nil }

func (c *checker) constant(step *Step, field string, always bool, else_ string) {
	message := "holds always: it asks for no value"
	if !always {
		message = "never holds, whatever the values: " + else_
	}
	c.find(ConstantCondition, Warning, step, field, message, "name a value, for example order.amount >= 100")
}

// steps looks at the steps of c.p one by one.
func (c *checker) steps() {
	v := c.views[c.p.Name]
	acts := false
	for i := range c.p.Steps {
		s := &c.p.Steps[i]
		if !v.reached[i] {
			if !v.follows[i] { // what follows an unreachable step needs no word of its own
				c.find(Unreachable, Error, s, s.Field, "is never reached"+c.why(i), "remove it, or mend what stands before it")
			}
			continue
		}
		acts = acts || s.Kind == StepAct || s.Kind == StepMoveTo
		c.step(s)
	}
	if !acts {
		c.find(DoesNothing, Warning, nil, "steps", "no action is ever reached: runs leave no trace but their own", "add an action, or remove the workflow")
	}
	c.valuesOfNoEvent()
}

func (c *checker) step(s *Step) {
	switch s.Kind {
	case StepIf:
		if always, constant := constantly(s.If); constant {
			c.constant(s, s.Field+".if", always, "then is never taken")
		}
	case StepWaitFor:
		c.wait(s)
	case StepMoveTo:
		c.move(s)
	case StepAct:
		c.act(s)
	}
}

// why says what keeps step i from being reached, for the steps of a wait that is never met.
func (c *checker) why(i int) string {
	field := c.p.Steps[i].Field
	for j := range c.p.Steps[:i] {
		s := &c.p.Steps[j]
		if s.Kind != StepWaitFor || !strings.HasPrefix(field, s.Field+".") {
			continue
		}
		switch branch, _, _ := strings.Cut(strings.TrimPrefix(field, s.Field+"."), "["); {
		case s.WaitFor.NotMetAfter == 0 && branch != "met":
			return ": not_met_after of " + s.Field + " is never"
		case branch == "corrected" && s.WaitFor.CorrectWithin == 0:
			return ": correct_within of " + s.Field + " is 0"
		}
	}
	return ""
}

func (c *checker) wait(s *Step) {
	w, at := s.WaitFor, s.Field+".wait_for"
	c.statuses(s, at, &w.Event)
	if always, constant := constantly(w.If); constant {
		c.constant(s, at+".if", always, "no event ends the wait")
	}
	if why := c.unmeetable(w); why != "" {
		if w.NotMetAfter == 0 {
			c.find(EndlessWait, Error, s, at, "waits for ever: no event can end it ("+why+"), and not_met_after is never", "mend the condition, or give it a not_met_after")
		} else {
			c.find(FutileWait, Warning, s, at, "can only end as not met: "+why, "mend the condition")
		}
	}
	if w.Same != ScopeContact && c.views[c.p.Name].noOrder {
		c.find(NoOrder, Warning, s, at+".same", fmt.Sprintf("a run that a schedule starts has no %s: events of all the contact's orders count", w.Same), "write same: contact")
	}
}

func (c *checker) move(s *Step) {
	at, to := s.Field+".move_to_workflow", c.set[s.Workflow]
	switch {
	case to == nil: // Compile has told
	case !slices.ContainsFunc(to.Starts, func(s Start) bool { return s.Moved }):
		c.find(NotMovable, Error, s, at, s.Workflow+" can't be moved to", "add a start {on: moved-here} there")
	case to.Mode == Off:
		c.find(MovesToOff, Warning, s, at, s.Workflow+" is off: the run ends here", "switch it on (mode), or remove the step")
	}
}

func (c *checker) act(s *Step) {
	switch s.Action.Kind {
	case SendMessage, MoveToList, CopyToList, StartAutomation:
		for i := range c.p.Starts {
			if c.p.Starts[i].History {
				c.find(HeldForHistory, Warning, s, s.Field, fmt.Sprintf("%s is held back for runs that history starts (start[%d].history)", s.Action.Kind, i), "history is for tags, fields and orders; give messages a workflow of their own")
				return
			}
		}
	case WriteOrder, WriteRecurringPayment:
		if c.views[c.p.Name].noOrder {
			c.find(NoOrder, Error, s, s.Field, fmt.Sprintf("a run that a schedule starts has no order for %s", s.Action.Kind), "start the workflow with an event")
		}
	}
}

// valuesOfNoEvent finds values of an event in a workflow that only the clock starts.
func (c *checker) valuesOfNoEvent() {
	if !c.views[c.p.Name].noOrder {
		return
	}
	var names []string
	for _, n := range c.p.Sources {
		if !strings.HasPrefix(n, "contact.") {
			names = append(names, n)
		}
	}
	if len(names) > 0 {
		c.find(NoOrder, Warning, nil, "steps", "use "+strings.Join(names, ", ")+", which a run that a schedule starts does not have", "use values of the contact")
	}
}

// statuses finds words that nobody ever used: the likeliest reason is a slip of the pen.
func (c *checker) statuses(step *Step, at string, e *Event) {
	known, complete := c.words(e)
	for i, status := range e.Status {
		field := fmt.Sprintf("%s.status[%d]", at, i)
		ours := slices.Contains(triggers.Statuses(), status)
		switch {
		case c.facts.SeenStatuses != nil && !slices.Contains(c.facts.SeenStatuses, status):
			c.find(StatusUnseen, Warning, step, field, fmt.Sprintf("%.60q was never seen", status), meant(status, append(triggers.Statuses(), c.facts.SeenStatuses...), ours))
		case c.facts.SeenStatuses == nil && !ours && !slices.Contains(known, status) && (complete || spelling.Nearest(status, triggers.Statuses()) != ""):
			c.find(StatusUnseen, Warning, step, field, fmt.Sprintf("%.60q is none of our statuses, and no provider is known to send it", status), meant(status, append(triggers.Statuses(), known...), false))
		}
	}
}

func meant(status string, known []string, ours bool) string {
	if !ours {
		if near := spelling.Nearest(status, known); near != "" && near != status {
			return "did you mean " + near + "?"
		}
	}
	return "it must be written exactly as the provider does, or as one of ours: " + strings.Join(triggers.Statuses(), ", ")
}

// words are the statuses that the followed connections are known to send; complete says that they send no others.
func (c *checker) words(e *Event) (words []string, complete bool) {
	complete = c.facts.Connections != nil
	for name, s := range c.facts.Connections {
		if len(e.Connections) == 0 || slices.Contains(e.Connections, name) {
			words, complete = append(words, s.Statuses...), complete && s.Statuses != nil
		}
	}
	slices.Sort(words) // the order of a map is chance, and hints must not be
	return slices.Compact(words), complete
}
