package automation

import (
	"cmp"
	"slices"
	"time"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/triggers"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
)

const (
	// answerWithin is how long a destination may take to answer; the question itself gives up before.
	answerWithin = time.Hour
	// askedMax bounds the questions that one wait has open.
	askedMax = 8
	// seenMax bounds the events that are remembered of one wait which takes several.
	seenMax = 200
)

// The kinds of timer, which their ids begin with.
const (
	timerRun         = "run/"
	timerCorrectable = "correctable/"
	timerSchedule    = "schedule/"
)

// Timers implements processors.Stage: the deadlines of open runs, the ends of corrections, and schedules.
func (*Stage) Timers(s State) []processors.Timer {
	n := len(s.Runs) + len(s.Correctables) + len(s.Scheduled)
	if n == 0 {
		return nil
	}
	list := make([]processors.Timer, 0, n)
	for i := range s.Runs {
		if at := s.Runs[i].due(); at > 0 {
			list = append(list, processors.Timer{At: time.UnixMilli(at).UTC(), ID: s.Runs[i].timerID()})
		}
	}
	for i := range s.Correctables {
		list = append(list, processors.Timer{At: time.UnixMilli(s.Correctables[i].Deadline).UTC(), ID: timerCorrectable + s.Correctables[i].waitID()})
	}
	for _, x := range s.Scheduled {
		list = append(list, processors.Timer{At: time.UnixMilli(x.At).UTC(), ID: timerSchedule + x.Workflow})
	}
	return list
}

// due is when a run goes on by itself. While an answer is out, the deadline waits for it.
func (r *run) due() int64 {
	if len(r.Asked) == 0 {
		return r.Deadline
	}
	first := r.Asked[0].Until
	for _, q := range r.Asked {
		first = min(first, q.Until)
	}
	return first
}

// timerID puts the timers of one moment in order: the wait that began first, then the workflow whose name comes first.
// Times in ms have 13 digits from 2001 to 2286.
func (r *run) timerID() string {
	return timerRun + number(r.Since) + "/" + r.Workflow + "/" + r.waitID()
}

func (r *run) waitID() string { return r.ID + "." + number(r.Waits) }

// opens counts a wait and tells of it.
func (w *work) opens(r *run, p *workflows.Program, s *workflows.Step, detail string) {
	r.Waits++
	step := w.trace(r, p, s.ID, schemas.StepWaitOpened, detail)
	step.WaitID = r.waitID()
	if r.Deadline > 0 {
		step.Deadline = time.UnixMilli(r.Deadline).UTC()
	}
}

// closes tells that the run's wait ended, or that it moved to another version.
func (w *work) closes(r *run, p *workflows.Program, kind schemas.StepWord, detail string) {
	step := w.trace(r, p, r.Step, kind, detail)
	step.WaitID = r.waitID()
	if r.Deadline > 0 {
		step.Deadline = time.UnixMilli(r.Deadline).UTC()
	}
}

// open begins to wait for an event. It reports true where one that came just before counts already.
func (w *work) open(r *run, p *workflows.Program, s *workflows.Step) bool {
	wf := s.WaitFor
	if wf.NotMetAfter > 0 {
		r.Deadline = w.at.Add(wf.NotMetAfter).UnixMilli()
	}
	w.opens(r, p, s, "")
	if wf.LookBack <= 0 {
		return false
	}
	return w.lookBack(r, p, s)
}

// lookBack counts what came just before a wait opened, the event at hand included. What counted for the same trigger in
// this run already does not again: it has not happened twice.
func (w *work) lookBack(r *run, p *workflows.Program, s *workflows.Step) bool {
	wf := s.WaitFor
	since := w.at.Add(-wf.LookBack).UnixMilli()
	count := func(t *schemas.Transition, created bool, before string, at int64) bool {
		if !w.counts(wf, r, t.RootKey, t.Event.Test) || r.used(wf.Event.On, t.Event.EventID) || !match(&wf.Event, t, created, before) {
			return false
		}
		if wf.List != "" && wf.Times == 1 && len(r.Asked) > 0 {
			return false // the list is asked about now, whichever event it was
		}
		v := w.values(r, p)
		v.t = t
		return w.meets(r, p, s, v, at)
	}
	for i := range w.s.History {
		h := &w.s.History[i]
		if h.At < since || w.t != nil && h.Event == w.t.Event.EventID {
			continue
		}
		if count(h.transition(), h.Created, h.before(), h.At) {
			return true
		}
	}
	if w.t == nil || past(w.t.Event.Origin) || w.t.Disposition != schemas.Changed && w.t.Disposition != schemas.Recorded {
		return false
	}
	return count(w.t, w.created, w.before, w.at.UnixMilli())
}

func (r *run) used(on, event string) bool { return slices.Contains(r.Used, digest(on, event)) }

// use notes that an event counted for a trigger in this run.
func (w *work) use(r *run, on, event string) {
	if w.rules.indexed.lookBack > 0 {
		note(&r.Used, digest(on, event), historyMax)
	}
}

// enough counts an event at that time; it reports whether that makes as many as the wait takes.
func (r *run) enough(wf *workflows.WaitFor, at int64) bool {
	if wf.Times <= 1 {
		return true
	}
	seen := append(slices.Clone(r.Seen), at)
	slices.Sort(seen) // answers and corrections may come in any order
	window := wf.Window.Milliseconds()
	for i := wf.Times - 1; i < len(seen); i++ {
		if window == 0 || seen[i]-seen[i-wf.Times+1] <= window {
			return true
		}
	}
	// One that comes late can still lie beside those that a later one has left behind.
	oldest := seen[len(seen)-1] - window - wf.CorrectWithin.Milliseconds()
	r.Seen = slices.DeleteFunc(seen, func(at int64) bool { return window > 0 && at < oldest })
	if over := len(r.Seen) - seenMax; over > 0 {
		r.Seen = slices.Delete(r.Seen, 0, over)
	}
	return false
}

// counts reports whether events of this root are among those that a wait is for. A test is nothing that happened to a
// run that is none.
func (w *work) counts(wf *workflows.WaitFor, r *run, root string, test bool) bool {
	return (wf.Same == workflows.ScopeContact || r.Root == "" || root == r.Root) && (r.Test || !test)
}

// meets takes an event that matches a wait. It reports whether the wait is met now; where the contact's list has to be
// known first, it asks.
func (w *work) meets(r *run, p *workflows.Program, s *workflows.Step, v values, at int64) bool {
	wf := s.WaitFor
	if wf.If != nil {
		v.judged = true
		if ok, err := wf.If.Holds(v); err != nil || !ok {
			w.trace(r, p, s.ID, schemas.StepCondition, because("an event came that does not count: "+wf.If.String(), err))
			return false
		}
	}
	if w.ran(p, s.ID, wf.Once, r) {
		w.trace(r, p, s.ID, schemas.StepCondition, "an event came that does not count: the condition was met once before for this "+string(wf.Once))
		return false
	}
	if wf.List != "" {
		if len(r.Asked) >= askedMax {
			w.trace(r, p, s.ID, schemas.StepCondition, "an event came that does not count: "+number(askedMax)+" questions about the list are open")
			return false
		}
		w.ask(r, p, wf.Destination, wf.List, v.t.Event.EventID)
		q := &r.Asked[len(r.Asked)-1]
		q.At, q.Values = at, v.event(fieldNames(r.Values))
		return false
	}
	w.use(r, wf.Event.On, v.t.Event.EventID)
	if !r.enough(wf, at) {
		return false
	}
	r.Values = merged(r.Values, v.event(fieldNames(r.Values)))
	w.met(r, p, s, statusText(v.t))
	return true
}

func statusText(t *schemas.Transition) string {
	text := t.Event.EventType + " of " + t.Event.RootID + ": " + string(t.To)
	if t.Event.ProviderStatus != "" && t.Event.ProviderStatus != string(t.To) {
		text += " (" + t.Event.ProviderStatus + ")"
	}
	return text
}

// met ends the run's wait as met. The caller goes on with the branch.
func (w *work) met(r *run, p *workflows.Program, s *workflows.Step, detail string) {
	w.runs(p, s.ID, s.WaitFor.Once, r)
	w.closes(r, p, schemas.StepWaitMet, detail)
}

// progress shows the transition to the runs that wait.
func (w *work) progress() {
	for _, r := range slices.Clone(w.s.Runs) {
		if w.find(r.ID) < 0 {
			continue // ended by a run before it
		}
		p := w.program(&r)
		if p == nil {
			continue
		}
		if r.Root == w.t.RootKey {
			r.Values = w.values(&r, p).kept(fieldNames(r.Values), &r)
			w.keep(&r, p)
		}
		i := p.StepIndex(r.Step)
		if i == workflows.End || p.Steps[i].Kind != workflows.StepWaitFor {
			continue
		}
		s := &p.Steps[i]
		if !w.counts(s.WaitFor, &r, w.t.RootKey, w.t.Event.Test) || !w.matches(&s.WaitFor.Event) {
			continue
		}
		if r.Deadline > 0 && w.at.UnixMilli() > r.Deadline && w.t.Event.ProviderTime.UnixMilli() > r.Deadline {
			continue // the timer is held back by an outage of ours, and the event lies behind the deadline
		}
		if w.meets(&r, p, s, w.values(&r, p), w.at.UnixMilli()) {
			w.advance(&r, p, s.WaitFor.Met)
			continue
		}
		w.keep(&r, p)
	}
	w.correct()
}

// correct tells of waits that were not met although the event happened in time: it came late.
func (w *work) correct() {
	for _, r := range slices.Clone(w.s.Correctables) {
		if w.rules.Workflow(r.Workflow) == nil { // the file was removed: nothing of it runs any more
			w.settled(&r)
			continue
		}
		p := w.book.Program(r.Workflow, r.Version)
		if p == nil {
			continue
		}
		i := p.StepIndex(r.Step)
		if i == workflows.End || p.Steps[i].WaitFor == nil {
			continue
		}
		if s := &p.Steps[i]; w.corrects(&r, p, s) {
			w.corrected(&r, p, s)
		}
	}
}

// corrects reports whether the transition, with what came before it, would have ended the wait in time.
func (w *work) corrects(r *run, p *workflows.Program, s *workflows.Step) bool {
	wf := s.WaitFor
	happened := w.t.Event.ProviderTime.UnixMilli()
	if !w.counts(wf, r, w.t.RootKey, w.t.Event.Test) || !w.matches(&wf.Event) || happened > uncorrected(r, wf) {
		return false
	}
	if wf.If != nil {
		v := w.values(r, p)
		v.judged = true
		if ok, err := wf.If.Holds(v); err != nil || !ok {
			return false
		}
	}
	if w.ran(p, s.ID, wf.Once, r) {
		return false
	}
	if r.enough(wf, happened) {
		return true
	}
	if i := w.correctable(r); i >= 0 {
		w.s.Correctables[i] = *r
	}
	return false
}

// uncorrected is the deadline of a wait that can still be corrected, in ms.
func uncorrected(r *run, wf *workflows.WaitFor) int64 {
	return r.Deadline - wf.CorrectWithin.Milliseconds()
}

func (w *work) correctable(r *run) int {
	return slices.IndexFunc(w.s.Correctables, func(o run) bool { return o.waitID() == r.waitID() })
}

// settled forgets a wait that could still be corrected.
func (w *work) settled(r *run) {
	if i := w.correctable(r); i >= 0 {
		w.s.Correctables = slices.Delete(w.s.Correctables, i, i+1)
	}
}

// corrected tells of a correction, and runs its branch. Where the contact had to be on a list, only what is known of that
// counts: nobody can be asked how it was then.
func (w *work) corrected(r *run, p *workflows.Program, s *workflows.Step) {
	wf, v := s.WaitFor, w.values(r, p)
	v.judged = true
	w.settled(r)
	w.runs(p, s.ID, wf.Once, r)
	on := wf.List == "" || w.isOn(wf.Destination, wf.List)
	detail := "it happened in time and came after the deadline: " + statusText(w.t)
	if !on {
		detail += "; the contact is not known to be on the list " + wf.List + ", so that nothing is done"
	}
	r.Steps = correction + r.Waits - 1
	step := w.trace(r, p, s.ID, schemas.StepWaitCorrected, detail)
	step.WaitID, step.Deadline = r.waitID(), time.UnixMilli(uncorrected(r, wf)).UTC()
	if wf.Corrected == workflows.End || !on {
		return
	}
	again := run{
		ID: id(r.ID, "corrected", number(r.Waits)), Workflow: r.Workflow, Version: r.Version, Root: r.Root, Event: r.Event, Origin: r.Origin, Test: r.Test, Used: r.Used,
		Values: merged(v.kept(fieldNames(r.Values), r), v.event(fieldNames(r.Values))),
	}
	w.trace(&again, p, "", schemas.StepStarted, "corrects the run "+r.ID)
	w.advance(&again, p, wf.Corrected)
}

// fire lets a deadline pass.
func (w *work) fire(t *processors.Timer) {
	kind, rest := t.ID, ""
	for _, k := range []string{timerRun, timerCorrectable, timerSchedule} {
		if len(t.ID) > len(k) && t.ID[:len(k)] == k {
			kind, rest = k, t.ID[len(k):]
		}
	}
	switch kind {
	case timerRun:
		if i := slices.IndexFunc(w.s.Runs, func(r run) bool { return r.timerID() == t.ID }); i >= 0 {
			w.lapse(w.s.Runs[i], t.At.UnixMilli())
		}
	case timerCorrectable:
		w.s.Correctables = slices.DeleteFunc(w.s.Correctables, func(r run) bool { return r.waitID() == rest })
	case timerSchedule:
		w.scheduledStart(rest)
	}
}

// lapse ends what a run waits for without it having come by the time that a timer was set for: an answer, or its deadline.
// A deadline later than that has a timer of its own, which may be held although the clock is past it.
func (w *work) lapse(r run, due int64) {
	w.cause = cause{r.Root, r.Event, r.Origin, r.Test}
	p := w.program(&r)
	if p == nil {
		return
	}
	now := w.at.UnixMilli()
	for _, q := range slices.Clone(r.Asked) {
		if q.Until < now {
			w.settle(r.ID, q.Command, schemas.StandingUnknown, "the destination did not answer in time")
		}
	}
	i := w.find(r.ID)
	if i < 0 || len(w.s.Runs[i].Asked) > 0 {
		return
	}
	if r = w.s.Runs[i]; r.Deadline > 0 && r.Deadline <= due {
		w.notMet(&r, p, "")
	}
}

// notMet ends a wait whose time is up. What comes later and belongs before the deadline can correct it for a while.
func (w *work) notMet(r *run, p *workflows.Program, why string) {
	i := p.StepIndex(r.Step)
	if i == workflows.End {
		w.end(r, p, schemas.StepStopped, "the workflow has no step "+r.Step+" any more")
		return
	}
	s := &p.Steps[i]
	if s.Kind == workflows.StepWait {
		w.closes(r, p, schemas.StepWaitMet, cmp.Or(why, "the time has come"))
		w.advance(r, p, s.Next)
		return
	}
	if s.Kind != workflows.StepWaitFor {
		w.advance(r, p, s.Else) // on_list without an answer
		return
	}
	w.closes(r, p, schemas.StepWaitNotMet, cmp.Or(why, "the time is up"))
	if wf := s.WaitFor; wf.CorrectWithin > 0 && r.Deadline > 0 {
		c := *r
		c.Asked = nil
		// Closed by hand, it ended then: what comes later is another matter.
		c.Deadline = min(r.Deadline, w.at.UnixMilli()) + wf.CorrectWithin.Milliseconds()
		if c.Deadline >= w.at.UnixMilli() {
			w.s.Correctables = append(w.s.Correctables, c)
			if over := len(w.s.Correctables) - correctablesMax; over > 0 {
				w.s.Correctables = slices.Delete(w.s.Correctables, 0, over)
			}
		}
	}
	w.advance(r, p, s.WaitFor.NotMet)
}

// decide is a person's word about an open wait. One that is not open any more is left alone: it ended before, and what its
// run may ask of a destination by now is another matter.
func (w *work) decide(d *schemas.WaitDecision) {
	i := slices.IndexFunc(w.s.Runs, func(r run) bool { return r.waitID() == d.WaitID })
	if i < 0 {
		return
	}
	r := w.s.Runs[i]
	w.cause = cause{r.Root, r.Event, r.Origin, r.Test}
	p := w.program(&r)
	if p == nil {
		return
	}
	at := p.StepIndex(r.Step)
	if at == workflows.End || p.Steps[at].Kind != workflows.StepWaitFor && p.Steps[at].Kind != workflows.StepWait {
		return
	}
	r.Asked = nil
	by := "closed by " + d.By
	if d.Met && p.Steps[at].Kind == workflows.StepWaitFor {
		w.met(&r, p, &p.Steps[at], by)
		w.advance(&r, p, p.Steps[at].WaitFor.Met)
		return
	}
	w.notMet(&r, p, by)
}

// match reports whether a transition is one of those meant. before is the provider's status that its root had.
func match(e *workflows.Event, t *schemas.Transition, created bool, before string) bool {
	ev := &t.Event
	if len(e.Connections) > 0 && !slices.Contains(e.Connections, ev.Connection) || e.Environment != "" && e.Environment != ev.Environment {
		return false
	}
	changed := t.Disposition == schemas.Changed
	text := ev.ProviderStatus != "" && ev.ProviderStatus != before && slices.Contains(e.Status, ev.ProviderStatus)
	if e.On == triggers.StatusChanged {
		if !changed && !text || len(e.Types) > 0 && !triggers.AnyOf(e.Types, ev.EventType) {
			return false
		}
	} else if !triggers.Match(triggers.When{ID: e.On, Events: e.Types}, t, created) {
		return false
	}
	if len(e.From) > 0 && (!changed || !slices.Contains(e.From, string(t.From))) {
		return false
	}
	if len(e.Status) > 0 && !text && (!changed && e.On == triggers.StatusChanged || !slices.Contains(e.Status, string(t.To))) {
		return false
	}
	return len(e.Products) == 0 || sells(ev, e.Products)
}

func (w *work) matches(e *workflows.Event) bool { return match(e, w.t, w.created, w.before) }
