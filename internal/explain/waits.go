package explain

import (
	"fmt"
	"strings"
	"time"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/processors/triggers"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// EndingOf explains a wait by the configurations in which its workflow may stand.
func EndingOf(w chsink.Wait, configs map[string]schemas.ConfigVersion, now time.Time) api.Ending {
	b := newBooks(configs)
	return b.ending(w, now)
}

func (b *books) ending(w chsink.Wait, now time.Time) api.Ending {
	e := api.Ending{NotMet: deadlineText(w.Deadline, now)}
	p := b.program(w.Workflow, w.WorkflowVersion, w.ConfigVersion)
	i := workflows.End
	if p != nil {
		i = p.StepIndex(w.Step)
	}
	if i == workflows.End {
		e.Met = "what step " + w.Step + " of version " + w.WorkflowVersion + " of the workflow says; its text is not known here"
		return e
	}
	e.Program = true
	s := &p.Steps[i]
	if s.Kind != workflows.StepWaitFor {
		e.Met, e.ThenMet = "nothing but time", next(p, s.Next)
		e.NotMet = strings.Replace(e.NotMet, "it counts as not met", "it goes on", 1)
		return e
	}
	wf := s.WaitFor
	e.Met, e.ThenMet, e.ThenNot = waitText(wf, w), next(p, wf.Met), next(p, wf.NotMet)
	if wf.CorrectWithin > 0 && !w.Deadline.IsZero() {
		e.Corrects = "one that happened in time and comes up to " + span(wf.CorrectWithin) + " late is told as a correction"
		if wf.Corrected != workflows.End {
			e.Corrects += ", and then: " + next(p, wf.Corrected)
		}
	}
	return e
}

// waitText is what a wait for an event takes.
func waitText(wf *workflows.WaitFor, w chsink.Wait) string {
	text := eventText(&wf.Event)
	if wf.Times > 1 {
		text = fmt.Sprintf("%d times: %s", wf.Times, text)
		if wf.Window > 0 {
			text += ", within " + span(wf.Window)
		}
	}
	switch {
	case wf.Same == workflows.ScopeContact || w.RootKey == "":
		text += ", for any order of the same contact"
	default:
		text += ", for " + w.RootKey
	}
	if wf.If != nil {
		text += ", while " + wf.If.String()
	}
	if wf.List != "" {
		text += fmt.Sprintf(", and the contact is on the list %q at %s then", wf.List, wf.Destination)
	}
	if wf.Once != "" {
		text += ", unless it was met before for this " + string(wf.Once)
	}
	return text
}

// eventText is what kind of event is meant.
func eventText(e *workflows.Event) string {
	text := "an event that sets off " + e.On
	if e.On == triggers.StatusChanged {
		text = "the payment status changes"
		if len(e.From) > 0 {
			text += " from " + list(e.From)
		}
		if len(e.Status) > 0 {
			text += " to " + list(e.Status)
		}
	}
	if len(e.Types) > 0 {
		text += " by " + list(e.Types)
	}
	if len(e.Connections) > 0 {
		text += " at " + list(e.Connections)
	}
	if e.Environment != "" {
		text += " in " + string(e.Environment)
	}
	if len(e.Products) > 0 {
		text += " with the product " + list(e.Products)
	}
	return text
}

func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// next is what the step at an index does.
func next(p *workflows.Program, i int) string {
	if i == workflows.End {
		return "the run ends"
	}
	s := &p.Steps[i]
	return "step " + s.ID + ": " + stepText(p, s)
}

func stepText(p *workflows.Program, s *workflows.Step) string {
	switch s.Kind {
	case workflows.StepIf:
		return "if " + s.If.String()
	case workflows.StepOnList:
		return fmt.Sprintf("asks %s whether the contact is on the list %q", s.Destination, s.List)
	case workflows.StepHours:
		return "whether it is within business hours"
	case workflows.StepWait:
		return "waits for time"
	case workflows.StepWaitFor:
		return "waits until " + eventText(&s.WaitFor.Event)
	case workflows.StepMoveTo:
		return "moves to the workflow " + s.Workflow
	case workflows.StepStop:
		return "the run ends"
	}
	a := s.Action
	if a == nil {
		return string(s.Kind)
	}
	text := strings.ReplaceAll(string(a.Kind), "_", " ")
	if a.Name != "" {
		text += fmt.Sprintf(" %q", a.Name)
	}
	for _, f := range a.Fields {
		text += " " + f.Name
	}
	for _, tag := range a.Add {
		text += " +" + tag
	}
	for _, tag := range a.Remove {
		text += " -" + tag
	}
	if s.Destination != "" {
		text += " at " + s.Destination
	}
	if p.Mode == workflows.Shadow {
		text += " (only watched: nothing is sent)"
	}
	return text
}

func deadlineText(deadline, now time.Time) string {
	if deadline.IsZero() {
		return "never: it has no deadline"
	}
	if deadline.Before(now) {
		return fmt.Sprintf("the deadline %s passed %s ago; it counts as not met as soon as stream time is past it", stamp(deadline), span(now.Sub(deadline)))
	}
	return fmt.Sprintf("after %s, in %s, it counts as not met; an event stamped exactly then still counts", stamp(deadline), span(deadline.Sub(now)))
}

func stamp(t time.Time) string {
	if t.Nanosecond() != 0 {
		return t.UTC().Format("2006-01-02 15:04:05.000 UTC")
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// Countdown is how far a deadline lies from now: "in 3 h 20 min", "overdue by 5 min", or "never".
func Countdown(deadline, now time.Time) string {
	switch {
	case deadline.IsZero():
		return "never"
	case deadline.Before(now):
		return "overdue by " + span(now.Sub(deadline))
	}
	return "in " + span(deadline.Sub(now))
}

// span is a duration by its two greatest units.
func span(d time.Duration) string {
	if d < time.Second {
		return "less than 1 s"
	}
	var parts []string
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}} {
		if n := d / u.unit; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, u.name))
			d -= n * u.unit
		} else if len(parts) > 0 {
			break
		}
		if len(parts) == 2 {
			break
		}
	}
	return strings.Join(parts, " ")
}

// waits tells of every open wait: what would end it, and when.
func (t *teller) waits() (lines []api.ExplanationLine) {
	for _, w := range t.Story.Waits {
		if w.State != chsink.WaitOpen {
			continue
		}
		e := t.books.ending(w, t.Now)
		add := func(depth int, text string) {
			lines = append(lines, api.ExplanationLine{Depth: depth, Text: text, RunID: w.RunID, WaitID: w.ID, Rule: "workflows/" + w.Workflow + "#" + w.Step, ConfigVersion: w.ConfigVersion})
		}
		text := fmt.Sprintf("The workflow %s (version %s) waits at step %s since %s; wait %s.", w.Workflow, w.WorkflowVersion, w.Step, stamp(w.OpenedAt), w.ID)
		if w.Shadow {
			text += " It is only watched."
		}
		add(0, text)
		add(1, "It ends when: "+e.Met+".")
		add(1, "Time: "+e.NotMet+".")
		if e.ThenMet != "" {
			add(1, "Then: "+e.ThenMet+".")
		}
		if e.ThenNot != "" {
			add(1, "If not: "+e.ThenNot+".")
		}
		if e.Corrects != "" {
			add(1, "Afterwards: "+e.Corrects+".")
		}
	}
	return lines
}
