package automation_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/trial"
	"github.com/tillstream/tillstream/schemas"
)

// everyKind has each way to wait, to ask and to start.
var everyKind = map[string]string{
	"a-failed": `
destination: crm
once: order
start: [{on: payment-status-changed, status: [FAILED]}]
steps:
  - wait_for: {status: [PAID], not_met_after: 6h, look_back: 1h, correct_within: 1d, list: news}
    met: [{add_tags: [recovered]}, {wait: 2h}, {send_message: thanks}]
    not_met: [{add_tags: [unpaid]}, {move_to_workflow: c-last}]
    corrected: [{remove_tags: [unpaid]}]
`,
	"b-tagged": `
destination: crm
once: contact
start: [{on: tag-added, tag: unpaid}]
steps:
  - on_list: news
    then: [{copy_to_list: late}]
    else: [{score: -1}]
`,
	"c-last": `
destination: crm
start: [{on: moved-here}]
steps:
  - wait_for: {status: [PAID, REFUNDED], same: contact, times: 2, window: 3h, not_met_after: never}
    met: [{send_message: welcome}]
`,
	"d-daily": `
destination: crm
start: [{on: schedule, at: "08:30", zone: Europe/Berlin, days: [monday, thursday], if: 'contact.score < 0'}]
steps: [{wait: 30m}, {add_tags: [weekly]}]
`,
	"e-shadow": `
destination: crm
mode: shadow
start: [{on: order-placed}]
steps: [{send_message: hello}, {wait_until: {business_hours: {from: "09:00", to: "17:00"}}}, {add_tags: [shadowed]}]
`,
}

// TestWaitsEndOnceWhateverComes plays what may come to a contact, in any order and at any distance, and holds what is
// promised of runs: a wait that was opened ends once at the most, and not after its run; nothing happens in a run before
// it started or after it ended; what runs once runs once; a question is answered at most once in a trace; a shadow
// sends nothing. States go through bytes at each step.
func TestWaitsEndOnceWhateverComes(t *testing.T) {
	r := rules(t, map[string]automation.MappingFile{"orders": checkout()}).WithWorkflows(workflowsOf(t, everyKind))
	rapid.Check(t, func(t *rapid.T) {
		w := &watched{open: map[string]bool{}, ended: map[string]bool{}, started: map[string]string{}, last: map[string]int64{}, once: map[string]string{}}
		lane := trial.NewLane[automation.State](automation.New(r), trial.Options{Check: true}, nil)
		l := trial.NewLine(w, noon, trial.Part{Lane: lane, Topics: []string{schemas.TopicAutomationInbox}})
		for n := range rapid.IntRange(1, 40).Draw(t, "inputs") {
			at := l.Now().Add(time.Duration(rapid.SampledFrom([]int{0, 1, 60, 3600, 6 * 3600, 6*3600 + 1, 86400, 4 * 86400}).Draw(t, "after")) * time.Second)
			if err := l.Put(processors.Input{At: at, Key: ana, Topic: schemas.TopicAutomationInbox, Record: w.draw(t, int64(n+1), at)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Advance(l.Now().Add(20 * 24 * time.Hour)); err != nil {
			t.Fatal(err)
		}
	})
}

// watched is what was seen of all runs.
type watched struct {
	open      map[string]bool   // waits
	ended     map[string]bool   // runs
	started   map[string]string // run to workflow
	last      map[string]int64  // number of the run's last step
	once      map[string]string // workflow and scope to run
	questions []*schemas.Command
	waits     []string
	commands  map[string]bool
}

func (w *watched) draw(t *rapid.T, n int64, at time.Time) schemas.Record {
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	switch {
	case kind == 0 && len(w.questions) > 0:
		q := rapid.SampledFrom(w.questions).Draw(t, "question")
		said := rapid.SampledFrom([]schemas.Standing{schemas.StandingActive, schemas.StandingAbsent, schemas.StandingUnsubscribed, schemas.StandingUnknown}).Draw(t, "said")
		return &schemas.ListAnswer{CommandID: q.CommandID, ContactKey: ana, Destination: q.Destination, List: q.Effect.Name, Standing: said, At: at}
	case kind == 1 && len(w.waits) > 0:
		return &schemas.WaitDecision{WaitID: rapid.SampledFrom(w.waits).Draw(t, "wait"), ContactKey: ana, Met: rapid.Bool().Draw(t, "met"), By: "ann", At: at}
	case kind == 2:
		return &schemas.ContactTouch{ContactKey: ana, At: at}
	}
	to := rapid.SampledFrom([]schemas.PaymentStatus{schemas.StatusFailed, schemas.StatusPaid, schemas.StatusRefunded, schemas.StatusApproved}).Draw(t, "status")
	return transition(n, to, func(tr *schemas.Transition) {
		order := rapid.SampledFrom([]string{"O1", "O2"}).Draw(t, "order")
		tr.RootKey, tr.Event.RootID, tr.Event.EntityID = "sandbox/eu/"+order, order, order
		tr.From = rapid.SampledFrom([]schemas.PaymentStatus{"", schemas.StatusPending}).Draw(t, "from")
		tr.Disposition = rapid.SampledFrom([]schemas.Disposition{schemas.Changed, schemas.Changed, schemas.Recorded, schemas.Late, schemas.Duplicate}).Draw(t, "disposition")
		tr.Event.Origin = rapid.SampledFrom([]schemas.Origin{schemas.OriginWebhook, schemas.OriginWebhook, schemas.OriginBackfill}).Draw(t, "origin")
		tr.Event.ProviderTime = at.Add(-time.Duration(rapid.IntRange(0, 10).Draw(t, "old")) * time.Hour)
	})
}

// Output implements trial.Sink.
func (w *watched) Output(_ time.Time, o processors.Output) error {
	switch r := o.Record.(type) {
	case *schemas.Command:
		return w.command(r)
	case *schemas.RunStep:
		return w.step(r)
	}
	return nil
}

func (w *watched) command(c *schemas.Command) error {
	if w.commands == nil {
		w.commands = map[string]bool{}
	}
	if w.commands[c.CommandID] {
		return fmt.Errorf("command %s was written twice: %+v", c.CommandID, c)
	}
	w.commands[c.CommandID] = true
	if c.Kind == schemas.CommandQuestion {
		w.questions = append(w.questions, c)
	}
	if c.Effect != nil && c.Effect.Name == "hello" || slices.Contains(c.Contact.Tags, "shadowed") {
		return fmt.Errorf("a shadow sent %+v", c)
	}
	return nil
}

func (w *watched) step(s *schemas.RunStep) error {
	corrected := s.Kind == schemas.StepWaitCorrected
	switch {
	case w.ended[s.RunID] && !corrected:
		return fmt.Errorf("%s after the run's end: %+v", s.Kind, s)
	case s.Number <= w.last[s.RunID]:
		return fmt.Errorf("step number %d after %d: %+v", s.Number, w.last[s.RunID], s)
	}
	if !corrected {
		w.last[s.RunID] = s.Number
	}
	switch s.Kind {
	case schemas.StepStarted:
		if w.started[s.RunID] != "" {
			return fmt.Errorf("the run %s started twice", s.RunID)
		}
		w.started[s.RunID] = s.Workflow
		scope := map[string]string{"a-failed": s.RootKey, "b-tagged": ana}[s.Workflow]
		if other := w.once[s.Workflow+scope]; scope != "" && other != "" && s.Detail == "" {
			return fmt.Errorf("%s ran twice for %s: %s and %s", s.Workflow, scope, other, s.RunID)
		}
		w.once[s.Workflow+scope] = s.RunID
	case schemas.StepWaitOpened:
		if _, seen := w.open[s.WaitID]; seen {
			return fmt.Errorf("the wait %s opened twice", s.WaitID)
		}
		w.open[s.WaitID] = true
		w.waits = append(w.waits, s.WaitID)
	case schemas.StepWaitMet, schemas.StepWaitNotMet:
		if !w.open[s.WaitID] {
			return fmt.Errorf("the wait %s ended, and was not open", s.WaitID)
		}
		w.open[s.WaitID] = false
		if s.Kind == schemas.StepWaitNotMet && s.Detail == "the time is up" && !s.At.After(s.Deadline) {
			return fmt.Errorf("not met at %s, before the deadline %s", s.At, s.Deadline)
		}
	case schemas.StepEnded, schemas.StepStopped, schemas.StepNotStarted:
		w.ended[s.RunID] = true
	}
	return nil
}

// DeadLetter implements trial.Sink.
func (w *watched) DeadLetter(d schemas.DeadLetter) error {
	return fmt.Errorf("a dead letter: %s: %s", d.Cause, d.Reason)
}
