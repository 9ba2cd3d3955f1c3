package automation

import (
	"slices"
	"strconv"
	"time"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/triggers"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
)

// stepsMax bounds the steps that one input sets in motion: workflows that start each other would never end.
const stepsMax = 1000

var tooManySteps = "more than " + strconv.Itoa(stepsMax) + " steps at one event: do workflows start each other?"

// correction is what the number of a trace begins with that tells of a wait after its run went on.
const correction = 1 << 20

// eventTriggers are the triggers that a transition can set off, in their fixed order.
var eventTriggers = triggers.EventIDs()

// tagged is a tag that is new on the contact; from is the run that added it, nil: a mapping did.
type tagged struct {
	destination, tag string
	from             *run
}

// start lets the transition start workflows. One transition starts a workflow once at the most; where the conditions of
// several of its starts fail, the first is told.
func (w *work) start() {
	var entered []*workflows.Program
	var failed []attempt
	for _, on := range eventTriggers {
		for _, e := range w.rules.indexed.events[on] {
			p := e.program
			if p.Mode == workflows.Off || slices.Contains(entered, p) || !w.matches(e.start.Event) || past(w.t.Event.Origin) && !e.start.History {
				continue
			}
			r := run{ID: id(p.Name, w.key, w.t.RootKey, w.t.Event.EventID, number(w.t.Number)), Root: w.t.RootKey}
			w.use(&r, on, w.t.Event.EventID)
			w.prepare(&r, p, nil)
			if why := w.unmet(&r, e); why != "" {
				if !slices.ContainsFunc(failed, func(f attempt) bool { return f.program == p }) {
					failed = append(failed, attempt{p, r, why})
				}
				continue
			}
			entered = append(entered, p)
			w.enter(e, r)
		}
	}
	for i := range failed {
		if f := &failed[i]; !slices.Contains(entered, f.program) {
			w.trace(&f.run, f.program, "", schemas.StepNotStarted, f.why)
		}
	}
}

// attempt is a run that did not start, and why.
type attempt struct {
	program *workflows.Program
	run     run
	why     string
}

// startTagged lets workflows start on the tags that came, also on those that these workflows add.
func (w *work) startTagged() {
	for i := 0; i < len(w.tagged); i++ {
		g := w.tagged[i]
		for _, e := range w.rules.indexed.tags[g.tag] {
			origin := w.cause.origin
			if g.from != nil {
				origin = g.from.Origin // history may end a wait of a run that acts
			}
			if e.program.Mode == workflows.Off || e.program.Destination != g.destination || past(origin) && !e.start.History {
				continue
			}
			r := run{ID: id(e.program.Name, w.key, w.cause.root, w.cause.event, g.destination, g.tag, number(w.at.UnixMilli()), number(int64(i))), Root: w.cause.root}
			if w.executed >= stepsMax {
				w.prepare(&r, e.program, g.from)
				w.trace(&r, e.program, "", schemas.StepNotStarted, tooManySteps)
				continue
			}
			w.try(e, r, g.from)
		}
	}
}

// try starts a run, if the condition of the start holds. from is the run that moves here or added the tag.
func (w *work) try(e entrance, r run, from *run) {
	w.prepare(&r, e.program, from)
	if why := w.unmet(&r, e); why != "" {
		w.trace(&r, e.program, "", schemas.StepNotStarted, why)
		return
	}
	w.enter(e, r)
}

// prepare gives a run that may start what it knows.
func (w *work) prepare(r *run, p *workflows.Program, from *run) {
	r.Workflow, r.Version, r.Since = p.Name, p.Version, w.at.UnixMilli()
	r.Event, r.Origin, r.Test = w.cause.event, w.cause.origin, w.cause.test
	if from != nil {
		r.Event, r.Origin, r.Test = from.Event, from.Origin, from.Test
	}
	r.Values = w.values(r, p).kept(w.rules.indexed.keep[p.Name], from)
}

// unmet says why the condition of a start does not hold; empty: it does, or there is none.
func (w *work) unmet(r *run, e entrance) string {
	if e.start.If == nil {
		return ""
	}
	if ok, err := e.start.If.Holds(w.values(r, e.program)); err != nil || !ok {
		return because("its condition does not hold: "+e.start.If.String(), err)
	}
	return ""
}

// enter starts a run, unless it runs once and did, or the contact has to be on a list first.
func (w *work) enter(e entrance, r run) {
	p := e.program
	if w.ran(p, "", p.Once, &r) {
		w.trace(&r, p, "", schemas.StepNotStarted, "it ran before, and runs once for each "+string(p.Once))
		return
	}
	if e.start.List != "" {
		w.ask(&r, p, p.Destination, e.start.List, "")
		w.keep(&r, p)
		return
	}
	w.begin(&r, p)
}

// begin takes the first step.
func (w *work) begin(r *run, p *workflows.Program) {
	w.runs(p, "", p.Once, r)
	w.trace(r, p, "", schemas.StepStarted, "")
	first := 0
	if len(p.Steps) == 0 {
		first = workflows.End
	}
	w.advance(r, p, first)
}

// scope is what a "run once" counts for; empty: nothing is counted.
func (w *work) scope(s workflows.Scope, r *run) string {
	switch {
	case s == "":
		return ""
	case s == workflows.ScopeContact || r.Root == "":
		return "contact"
	}
	return r.Root // of an order or, for its events, the subscription
}

func (w *work) ran(p *workflows.Program, step string, s workflows.Scope, r *run) bool {
	scope := w.scope(s, r)
	return scope != "" && slices.Contains(w.s.Done, w.once(p, step, scope))
}

// once is the mark of what ran. What was only watched does not count when the workflow acts.
func (w *work) once(p *workflows.Program, step, scope string) mark {
	if w.shadow(p) {
		return digest(p.Name, step, scope, string(workflows.Shadow))
	}
	return digest(p.Name, step, scope)
}

// runs notes that what runs once did.
func (w *work) runs(p *workflows.Program, step string, s workflows.Scope, r *run) {
	if scope := w.scope(s, r); scope != "" {
		note(&w.s.Done, w.once(p, step, scope), doneMax)
	}
}

// advance takes steps from index at, until the run waits or ends.
func (w *work) advance(r *run, p *workflows.Program, at int) {
	for at != workflows.End {
		if w.executed++; w.executed > stepsMax {
			w.end(r, p, schemas.StepStopped, tooManySteps)
			return
		}
		s := &p.Steps[at]
		r.Step, r.Since, r.Deadline, r.Seen, r.Asked = s.ID, w.at.UnixMilli(), 0, nil, nil
		switch s.Kind {
		case workflows.StepIf:
			at = w.branch(r, p, s)
		case workflows.StepHours:
			at = w.hours(r, p, s)
		case workflows.StepOnList:
			w.ask(r, p, s.Destination, s.List, "")
			w.keep(r, p)
			return
		case workflows.StepWait:
			if w.wait(r, p, s) {
				w.keep(r, p)
				return
			}
			at = s.Next
		case workflows.StepWaitFor:
			if !w.open(r, p, s) {
				w.keep(r, p)
				return
			}
			at = s.WaitFor.Met
		case workflows.StepAct:
			w.act(r, p, s)
			at = s.Next
		case workflows.StepMoveTo:
			w.move(r, p, s)
			return
		default:
			w.end(r, p, schemas.StepEnded, "")
			return
		}
	}
	w.end(r, p, schemas.StepEnded, "")
}

func (w *work) branch(r *run, p *workflows.Program, s *workflows.Step) int {
	ok, err := s.If.Holds(w.values(r, p))
	if err != nil || !ok {
		w.trace(r, p, s.ID, schemas.StepCondition, because("no: "+s.If.String(), err))
		return s.Else
	}
	w.trace(r, p, s.ID, schemas.StepCondition, "yes: "+s.If.String())
	return s.Then
}

func (w *work) hours(r *run, p *workflows.Program, s *workflows.Step) int {
	if opening(s.Hours, w.at).Equal(w.at) {
		w.trace(r, p, s.ID, schemas.StepCondition, "yes: within business hours")
		return s.Then
	}
	w.trace(r, p, s.ID, schemas.StepCondition, "no: outside business hours")
	return s.Else
}

func because(text string, err error) string {
	if err != nil {
		return text + " (" + err.Error() + ")"
	}
	return text
}

func (w *work) move(r *run, p *workflows.Program, s *workflows.Step) {
	to := w.rules.Workflow(s.Workflow)
	if to == nil || to.Mode == workflows.Off {
		w.end(r, p, schemas.StepStopped, "the workflow "+s.Workflow+" is not there, or off")
		return
	}
	if w.shadow(p) {
		w.end(r, p, schemas.StepEnded, "would move to "+s.Workflow)
		return
	}
	w.end(r, p, schemas.StepEnded, "moved to "+s.Workflow)
	for i := range to.Starts {
		if to.Starts[i].Moved {
			w.try(entrance{to, &to.Starts[i]}, run{ID: id(to.Name, r.ID, number(r.Steps)), Root: r.Root, Used: r.Used}, r)
			return
		}
	}
}

// keep puts a run that waits back among the open ones.
func (w *work) keep(r *run, p *workflows.Program) {
	if i := w.find(r.ID); i >= 0 {
		w.s.Runs[i] = *r
		return
	}
	if len(w.s.Runs) >= runsMax {
		w.end(r, p, schemas.StepStopped, "the contact has "+strconv.Itoa(runsMax)+" open runs, and no more are kept")
		return
	}
	w.s.Runs = append(w.s.Runs, *r)
}

func (w *work) find(runID string) int {
	return slices.IndexFunc(w.s.Runs, func(r run) bool { return r.ID == runID })
}

func (w *work) end(r *run, p *workflows.Program, kind schemas.StepWord, detail string) {
	if i := w.find(r.ID); i >= 0 {
		w.s.Runs = slices.Delete(w.s.Runs, i, i+1)
	}
	w.trace(r, p, "", kind, detail)
}

// program finds the program that an open run goes by: its own version, or the newest where that says so. Nil: there is
// none, and the run was ended.
func (w *work) program(r *run) *workflows.Program {
	newest := w.rules.Workflow(r.Workflow)
	if newest == nil {
		w.end(r, nil, schemas.StepStopped, "the workflow was removed")
		return nil
	}
	if newest.Version == r.Version {
		return newest
	}
	own := w.book.Program(r.Workflow, r.Version)
	if own != nil && newest.OpenRuns != workflows.Move {
		return own
	}
	i := workflows.End
	if r.Step != "" {
		switch i = sameStep(own, newest, r.Step); {
		case i == workflows.End && own != nil:
			return own
		case i == workflows.End:
			w.end(r, newest, schemas.StepStopped, "its version is not known any more, and the newest does not wait at a step "+r.Step)
			return nil
		}
	}
	before := *r
	r.Version = newest.Version
	r.Values = w.values(&before, newest).kept(w.rules.indexed.keep[newest.Name], &before)
	if i != workflows.End {
		w.reset(r, newest, &newest.Steps[i])
	}
	w.closes(r, newest, schemas.StepMigrated, "it goes on under the newest version")
	w.keep(r, newest)
	return newest
}

// sameStep is where a run that waits can wait on in the newest version: at the step of the same id, if that waits in the
// same way. End: nowhere. own is the version that it started under; nil: not known any more.
func sameStep(own, newest *workflows.Program, id string) int {
	i := newest.StepIndex(id)
	if i == workflows.End {
		return i
	}
	kind := newest.Steps[i].Kind
	waits := kind == workflows.StepWait || kind == workflows.StepWaitFor || kind == workflows.StepOnList
	if !waits {
		return workflows.End
	}
	if own != nil {
		was := own.StepIndex(id)
		if was == workflows.End {
			return i
		}
		o, n := &own.Steps[was], &newest.Steps[i]
		if o.Kind != kind || kind == workflows.StepOnList && (o.List != n.List || o.Destination != n.Destination) {
			return workflows.End // the answer that is on its way is about another list
		}
	}
	return i
}

// reset gives a run that moved to another version that version's deadline, counted from when it came to stand here.
func (w *work) reset(r *run, p *workflows.Program, s *workflows.Step) {
	switch {
	case s.Kind == workflows.StepWaitFor && s.WaitFor.NotMetAfter > 0:
		r.Deadline = r.Since + s.WaitFor.NotMetAfter.Milliseconds()
	case s.Kind == workflows.StepWaitFor:
		r.Deadline = 0
	case s.Kind == workflows.StepWait:
		now := w.at
		w.at = time.UnixMilli(r.Since).UTC()
		at, _ := w.untilWhen(r, p, s.Until)
		r.Deadline, w.at = max(r.Since, at.UnixMilli()), now // what is past is due, and not without a deadline
	}
}

// migrate resolves the program of every open run, which moves those whose workflow says so and ends those whose
// workflow is gone.
func (w *work) migrate() {
	current := true
	for i := range w.s.Runs {
		r := &w.s.Runs[i]
		newest := w.rules.Workflow(r.Workflow)
		current = current && newest != nil && newest.Version == r.Version
	}
	if current {
		return
	}
	for _, r := range slices.Clone(w.s.Runs) {
		w.program(&r)
	}
}

// touch looks at the contact again, and has its desired states sent again where that is asked for.
func (w *work) touch(t *schemas.ContactTouch) {
	w.again = t
	w.migrate()
}

// resends reports whether the desired state is to be sent although nothing in it changed.
func (w *work) resends(d *desired) bool {
	return w.again != nil && w.again.Resend && (w.again.Destination == "" || w.again.Destination == d.Name)
}

// shadow reports whether the run is only watched: it started so, or its workflow is so by now.
func (w *work) shadow(p *workflows.Program) bool {
	if p == nil || p.Mode == workflows.Shadow {
		return p != nil
	}
	if w.watched.program != p { // one program's steps follow each other
		newest := w.rules.Workflow(p.Name)
		w.watched = watched{p, newest != nil && newest.Mode == workflows.Shadow}
	}
	return w.watched.only
}

// watched says of one program whether its runs are only watched.
type watched struct {
	program *workflows.Program
	only    bool
}

// Traces are made in such numbers at once, the first ones of an input and those that follow.
const (
	tracesFirst = 4
	tracesMore  = 16
)

// newStep is room for a trace.
func (w *work) newStep() *schemas.RunStep {
	if len(w.room) == 0 {
		n := tracesMore
		if w.room == nil {
			n = tracesFirst
		}
		w.room = make([]schemas.RunStep, n)
	}
	s := &w.room[0]
	w.room = w.room[1:]
	return s
}

// trace tells a step of a run.
func (w *work) trace(r *run, p *workflows.Program, step string, kind schemas.StepWord, detail string) *schemas.RunStep {
	r.Steps++
	event := ""
	if w.t != nil {
		event = w.t.Event.EventID
	}
	s := w.newStep()
	*s = schemas.RunStep{
		RunID: r.ID, Workflow: r.Workflow, WorkflowVersion: r.Version, ConfigVersion: w.rules.ConfigVersion, ContactKey: w.key,
		RootKey: r.Root, EventID: event, Number: r.Steps, Step: step, Kind: kind, Detail: detail,
		Origin: r.Origin, Test: r.Test, Shadow: w.shadow(p), At: w.at,
	}
	w.put(processors.Output{Topic: schemas.TopicRuns, Key: w.key, Record: s})
	return s
}
