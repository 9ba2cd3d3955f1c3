package automation

import (
	"slices"
	"time"

	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
)

// ask puts the question whether the contact is on a list. event is the one that counts if he is; empty: none.
func (w *work) ask(r *run, p *workflows.Program, destination, list, event string) {
	d, ok := w.desired(destination)
	c := w.command(schemas.CommandQuestion, &d)
	c.CommandID = id(destination, w.key, r.ID, r.Step, "ask", number(r.Steps))
	c.Contact = schemas.Contact{Email: d.Email}
	c.Effect = &schemas.Effect{Type: schemas.QuestionOnList, Name: list}
	c.Rule, c.RunID = ruleOf(p, r.Step), r.ID
	r.Asked = append(slices.Clip(r.Asked), question{Command: c.CommandID, Until: w.at.Add(answerWithin).UnixMilli(), Event: event})
	step := w.trace(r, p, r.Step, schemas.StepAsked, "is the contact on the list "+list+"?")
	step.CommandID, step.Destination = c.CommandID, destination
	if ok {
		w.effects = append(w.effects, c)
		return
	}
	// Nobody can be asked about someone without an address; the question ends like any without an answer.
	r.Asked[len(r.Asked)-1].Until = w.at.UnixMilli()
}

// answer takes what a destination says about a list.
func (w *work) answer(a *schemas.ListAnswer) {
	w.stand(standing{a.Destination, a.List, a.Standing, w.at.UnixMilli()})
	for i := range w.s.Runs {
		r := &w.s.Runs[i]
		if slices.ContainsFunc(r.Asked, func(q question) bool { return q.Command == a.CommandID }) {
			w.cause = cause{r.Root, r.Event, r.Origin, r.Test}
			w.settle(r.ID, a.CommandID, a.Standing, a.Error)
			return
		}
	}
}

// stand remembers the newest standing on each list. A destination that cannot say changes nothing: who left is known to
// have left. Where room is wanting, what forbids nothing is forgotten first.
func (w *work) stand(n standing) {
	if n.Standing == schemas.StandingUnknown {
		return
	}
	w.s.Standings = slices.DeleteFunc(w.s.Standings, func(o standing) bool { return o.Destination == n.Destination && o.List == n.List })
	if len(w.s.Standings) >= standingsMax {
		i := max(0, slices.IndexFunc(w.s.Standings, func(o standing) bool { return !o.left() }))
		w.s.Standings = slices.Delete(w.s.Standings, i, i+1)
	}
	w.s.Standings = append(w.s.Standings, n)
}

// left reports whether the standing forbids messages.
func (s *standing) left() bool {
	return s.Standing == schemas.StandingUnsubscribed || s.Standing == schemas.StandingBounced
}

// isOn reports whether the contact is known to be on the list.
func (w *work) isOn(destination, list string) bool {
	return slices.ContainsFunc(w.s.Standings, func(s standing) bool {
		return s.Destination == destination && s.List == list && s.Standing == schemas.StandingActive
	})
}

// settle ends one question of a run.
func (w *work) settle(runID, command string, said schemas.Standing, why string) {
	i := w.find(runID)
	if i < 0 {
		return
	}
	r := w.s.Runs[i]
	p := w.program(&r)
	if p == nil {
		return
	}
	at := slices.IndexFunc(r.Asked, func(q question) bool { return q.Command == command })
	if at < 0 {
		return
	}
	q := r.Asked[at]
	r.Asked = slices.Delete(slices.Clone(r.Asked), at, at+1)
	detail := "the contact is " + inWords(said)
	if why != "" {
		detail += ": " + why
	}
	on := said == schemas.StandingActive
	if r.Step == "" {
		w.settleStart(&r, p, on, detail)
		return
	}
	n := p.StepIndex(r.Step)
	if n == workflows.End {
		w.end(&r, p, schemas.StepStopped, "the workflow has no step "+r.Step+" any more")
		return
	}
	s := &p.Steps[n]
	step := w.trace(&r, p, s.ID, schemas.StepCondition, detail)
	step.CommandID = command
	switch {
	case s.Kind == workflows.StepOnList && on:
		w.advance(&r, p, s.Then)
	case s.Kind == workflows.StepOnList:
		w.advance(&r, p, s.Else)
	case s.Kind == workflows.StepWaitFor && on && w.enough(&r, s, &q):
		r.Asked = nil // what else is asked decides nothing any more
		r.Values = merged(r.Values, q.Values)
		w.met(&r, p, s, "event "+q.Event)
		w.advance(&r, p, s.WaitFor.Met)
	default: // a deadline that has passed meanwhile is its timer's to tell, which an outage of ours may hold
		w.keep(&r, p)
	}
}

// enough counts the event that a question was about.
func (w *work) enough(r *run, s *workflows.Step, q *question) bool {
	w.use(r, s.WaitFor.Event.On, q.Event)
	return r.enough(s.WaitFor, q.At)
}

func (w *work) settleStart(r *run, p *workflows.Program, on bool, detail string) {
	w.s.Runs = slices.DeleteFunc(w.s.Runs, func(o run) bool { return o.ID == r.ID })
	switch {
	case !on:
		w.trace(r, p, "", schemas.StepNotStarted, detail)
	case w.ran(p, "", p.Once, r): // another one came first while the answer was out
		w.trace(r, p, "", schemas.StepNotStarted, "it ran before, and runs once for each "+string(p.Once))
	default:
		w.begin(r, p)
	}
}

// inWords is what a person is told of a standing.
func inWords(s schemas.Standing) string {
	switch s {
	case schemas.StandingActive:
		return "on the list"
	case schemas.StandingUnconfirmed:
		return "not on the list: not confirmed yet"
	case schemas.StandingUnsubscribed:
		return "not on the list: unsubscribed"
	case schemas.StandingBounced:
		return "not on the list: bounced"
	case schemas.StandingAbsent:
		return "not on the list"
	}
	return "taken as not on the list: not known"
}

// forbids is the one rule in front of all that reaches or moves a contact: why the action must not be; empty: it may.
func (w *work) forbids(r *run, step *workflows.Step) string {
	a := step.Action
	var lists []string // that the action is about
	switch a.Kind {
	case workflows.MoveToList, workflows.CopyToList:
		lists = []string{a.Name, a.From}
	case workflows.TrackEvent: // an automation of the CRM may start on it
		if past(r.Origin) {
			return "events of the past track no event, on which an automation could start"
		}
		return ""
	case workflows.SendMessage, workflows.StartAutomation:
	default:
		return ""
	}
	switch {
	case past(r.Origin):
		return "events of the past send no message and change no list"
	case r.Test:
		return "test events send no message and change no list"
	}
	active, left := false, ""
	for _, s := range w.s.Standings {
		if s.Destination != step.Destination {
			continue
		}
		switch s.Standing {
		case schemas.StandingBounced:
			return "messages to the contact bounced, as the list " + s.List + " says"
		case schemas.StandingUnsubscribed:
			if left = s.List; slices.Contains(lists, left) {
				return "the contact unsubscribed from the list " + left
			}
		case schemas.StandingActive:
			active = true
		}
	}
	if left != "" && !active {
		return "the contact unsubscribed from the list " + left
	}
	return ""
}

func ruleOf(p *workflows.Program, step string) string {
	if step == "" {
		return "workflows/" + p.Name
	}
	return "workflows/" + p.Name + "#" + step
}

// wait makes the run wait for time. It reports false where that time is now or past.
func (w *work) wait(r *run, p *workflows.Program, s *workflows.Step) bool {
	at, detail := w.untilWhen(r, p, s.Until)
	if !at.After(w.at) {
		w.trace(r, p, s.ID, schemas.StepCondition, "no wait: "+detail)
		return false
	}
	r.Deadline = at.UnixMilli()
	w.opens(r, p, s, detail)
	return true
}

func (w *work) untilWhen(r *run, p *workflows.Program, u *workflows.Until) (time.Time, string) {
	switch {
	case u.After > 0:
		return w.at.Add(u.After), "for " + u.After.String()
	case u.Daily != nil:
		return next(u.Daily, w.at), "until a time of day"
	case u.Open != nil:
		return opening(u.Open, w.at), "until business hours"
	case u.Date == nil:
		return w.at, "no time is given"
	}
	text, issues := u.Date.Fill(w.values(r, p))
	at, ok := parseTime(text, u.Zone)
	if !ok || len(issues) > 0 {
		return w.at, u.Date.String() + " gives no date"
	}
	if at = at.Add(u.Shift); at.After(w.at.Add(aheadMax)) {
		return w.at, u.Date.String() + " lies more than ten years ahead"
	}
	return at, "until the date"
}
