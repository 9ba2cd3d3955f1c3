package explain

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
)

// runs tells of each run, step by step.
func (t *teller) runs() (lines []api.ExplanationLine) {
	byRun := map[string][]*schemas.RunStep{}
	var order []string
	for i := range t.Steps {
		s := &t.Steps[i]
		if byRun[s.RunID] == nil {
			order = append(order, s.RunID)
		}
		byRun[s.RunID] = append(byRun[s.RunID], s)
	}
	for _, id := range order {
		steps := byRun[id]
		slices.SortStableFunc(steps, func(a, b *schemas.RunStep) int { return cmp.Compare(a.Number, b.Number) })
		first := steps[0]
		lines = append(lines, api.ExplanationLine{At: first.At, RunID: id, Rule: "workflows/" + first.Workflow, ConfigVersion: first.ConfigVersion, EventID: first.EventID, Text: runText(steps)})
		for _, s := range steps {
			rule := "workflows/" + s.Workflow
			if s.Step != "" {
				rule += "#" + s.Step
			}
			lines = append(lines, api.ExplanationLine{At: s.At, Depth: 1, Text: t.stepText(s), Rule: rule, ConfigVersion: s.ConfigVersion, EventID: s.EventID, RunID: id, WaitID: s.WaitID, CommandID: s.CommandID})
		}
	}
	return lines
}

// runText says what the run is and how it stands.
func runText(steps []*schemas.RunStep) string {
	first, state := steps[0], "is under way"
	for _, s := range steps {
		switch s.Kind {
		case schemas.StepEnded:
			state = "ended"
		case schemas.StepStopped:
			state = "was stopped"
		case schemas.StepNotStarted:
			state = "was not started"
		}
	}
	text := fmt.Sprintf("The workflow %s (version %s, configuration %s) %s", first.Workflow, orDash(first.WorkflowVersion), orDash(first.ConfigVersion), state)
	if first.RootKey != "" {
		text += "; it is about " + first.RootKey
	}
	if from := originText(first.Origin, first.Test); from != "" && first.Origin != schemas.OriginPoll {
		text += "; what began it was " + from
	}
	if first.Shadow {
		text += "; it is only watched: its actions are written down, and nothing is sent"
	}
	return text + "."
}

// stepText is one step as a sentence.
func (t *teller) stepText(s *schemas.RunStep) string {
	at := ""
	if s.Step != "" {
		at = "Step " + s.Step + ": "
	}
	detail := strings.TrimSuffix(s.Detail, ".")
	with := func(text string) string {
		if detail != "" {
			text += ": " + detail
		}
		if at == "" {
			text = strings.ToUpper(text[:1]) + text[1:]
		}
		return at + strings.TrimSuffix(text, "?") + "."
	}
	switch s.Kind {
	case schemas.StepStarted:
		if s.EventID != "" {
			return with("it started at the event " + s.EventID)
		}
		return with("it started")
	case schemas.StepNotStarted:
		return with("it matched and was not started")
	case schemas.StepCondition:
		return t.branchText(s, at, detail)
	case schemas.StepAsked:
		return with("it asked " + orDash(s.Destination))
	case schemas.StepWaitOpened:
		text := "it began to wait"
		if !s.Deadline.IsZero() {
			text += " until " + stamp(s.Deadline)
		}
		return with(text)
	case schemas.StepWaitMet:
		return with("the wait was met")
	case schemas.StepWaitNotMet:
		return with("the wait was not met")
	case schemas.StepWaitCorrected:
		return with("a correction")
	case schemas.StepAction:
		return with("it did")
	case schemas.StepHeld:
		return with("it was held back, nothing was sent")
	case schemas.StepFailed:
		return with("it could not be done")
	case schemas.StepMigrated:
		return with("it moved to another version, " + orDash(s.WorkflowVersion))
	case schemas.StepEnded:
		return with("it ended")
	case schemas.StepStopped:
		return with("it was stopped")
	}
	return with(string(s.Kind))
}

// branchText says which branch a condition chose, and what that branch begins with where the workflow's text is known.
func (t *teller) branchText(s *schemas.RunStep, at, detail string) string {
	text := at + orDash(detail)
	p := t.books.program(s.Workflow, s.WorkflowVersion, s.ConfigVersion)
	if p == nil {
		return text + "."
	}
	i := p.StepIndex(s.Step)
	if i == workflows.End {
		return text + "."
	}
	step := &p.Steps[i]
	yes := strings.HasPrefix(detail, "yes:") || detail == "the contact is on the list"
	switch {
	case step.Kind != workflows.StepIf && step.Kind != workflows.StepOnList:
	case yes:
		text += "; so " + next(p, step.Then)
	default:
		text += "; so " + next(p, step.Else)
	}
	return text + "."
}

// idle tells of workflows of the newest configuration that have no run here: what they wait for to start.
func (t *teller) idle() (lines []api.ExplanationLine) {
	newest, ok := t.Configs[t.Current]
	if !ok || t.As != "contact" && t.As != "order" {
		return nil
	}
	ran := map[string]bool{}
	for i := range t.Steps {
		ran[t.Steps[i].Workflow] = true
	}
	for _, file := range slices.Sorted(maps.Keys(newest.Files)) {
		name := workflowName(file)
		if name == "" || ran[name] {
			continue
		}
		p := t.books.of(t.Current, name)
		if p == nil {
			continue
		}
		line := api.ExplanationLine{Rule: "workflows/" + name, ConfigVersion: t.Current}
		if p.Mode == workflows.Off {
			line.Text = fmt.Sprintf("The workflow %s is off.", name)
			lines = append(lines, line)
			continue
		}
		var starts []string
		for i := range p.Starts {
			starts = append(starts, startText(&p.Starts[i]))
		}
		line.Text = fmt.Sprintf("The workflow %s was not set off; it starts when %s.", name, strings.Join(starts, ", or when "))
		lines = append(lines, line)
	}
	return lines
}

func startText(s *workflows.Start) string {
	var text string
	switch {
	case s.Event != nil:
		text = eventText(s.Event)
	case s.Tag != "":
		text = "the tag " + s.Tag + " is added"
	case s.Moved:
		text = "another workflow moves its run there"
	default:
		text = "its schedule says so"
	}
	if s.If != nil {
		text += ", while " + s.If.String()
	}
	if s.List != "" {
		text += fmt.Sprintf(", and the contact is on the list %q then", s.List)
	}
	return text
}
