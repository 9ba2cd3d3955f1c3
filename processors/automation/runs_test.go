package automation_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/processors/trial"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
)

// workflowsOf compiles workflow files by name.
func workflowsOf(t testing.TB, files map[string]string) []*workflows.Program {
	t.Helper()
	decoded := map[string]workflows.File{}
	for name, text := range files {
		var f workflows.File
		if err := yaml.UnmarshalWithOptions([]byte(text), &f, yaml.Strict()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		decoded[name] = f
	}
	set, problems := workflows.CompileAll(decoded, workflows.Known{Catalogue: mapping.CatalogueFor([]string{"subscription.plan_id", "subscription.next_billing_time"})})
	if len(problems) > 0 {
		t.Fatalf("workflows: %v", problems)
	}
	return set.List()
}

// line runs the stage for one contact, as a story: what happens, and what came of it.
type line struct {
	t      testing.TB
	line   *trial.Line
	steps  []string // traces, in a few words
	traces []*schemas.RunStep
	sent   []*schemas.Command
}

// Output implements trial.Sink.
func (l *line) Output(_ time.Time, o processors.Output) error {
	switch r := o.Record.(type) {
	case *schemas.RunStep:
		text := string(r.Kind)
		if r.Step != "" {
			text += " " + r.Step
		}
		l.steps, l.traces = append(l.steps, text), append(l.traces, r)
	case *schemas.Command:
		l.sent = append(l.sent, r)
	}
	return nil
}

// DeadLetter implements trial.Sink.
func (l *line) DeadLetter(d schemas.DeadLetter) error {
	return fmt.Errorf("a dead letter: %s: %s", d.Cause, d.Reason)
}

func story(t testing.TB, r automation.Rules) *line {
	t.Helper()
	l := &line{t: t}
	lane := trial.NewLane[automation.State](automation.New(r), trial.Options{Check: true}, nil)
	l.line = trial.NewLine(l, noon, trial.Part{Lane: lane, Topics: []string{schemas.TopicAutomationInbox}})
	return l
}

// put applies a record after some time and returns what was traced.
func (l *line) put(after time.Duration, rec schemas.Record) []string {
	l.t.Helper()
	l.steps, l.sent = nil, nil
	at := l.line.Now().Add(after)
	if tr, ok := rec.(*schemas.Transition); ok {
		tr.Event.ProviderTime = at
	}
	if err := l.line.Put(processors.Input{At: at, Key: ana, Topic: schemas.TopicAutomationInbox, Record: rec}); err != nil {
		l.t.Fatal(err)
	}
	return l.steps
}

// pass lets time go by.
func (l *line) pass(d time.Duration) []string {
	l.t.Helper()
	l.steps, l.sent = nil, nil
	if err := l.line.Advance(l.line.Now().Add(d)); err != nil {
		l.t.Fatal(err)
	}
	return l.steps
}

func (l *line) want(got []string, want ...string) {
	l.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		l.t.Errorf("steps (-want +got):\n%s", diff)
	}
}

// effects are the effects and questions that were sent, in a few words.
func (l *line) effects() []string {
	var list []string
	for _, c := range l.sent {
		if c.Effect != nil {
			list = append(list, strings.TrimSpace(c.Effect.Type+" "+c.Effect.Name))
		}
	}
	return list
}

const paymentFailed = `
destination: crm
once: order
start: [{on: payment-status-changed, status: [FAILED]}]
steps:
  - send_message: payment-problem
  - wait_for: {status: [PAID], not_met_after: 1d, look_back: 10m, correct_within: 3d}
    met: [{add_tags: [recovered]}]
    not_met: [{move_to_list: {from: trial, to: unpaid}}]
    corrected: [{copy_to_list: customers}]
`

func failed(t testing.TB) *line {
	return story(t, rules(t, map[string]automation.MappingFile{"orders": checkout()}).WithWorkflows(workflowsOf(t, map[string]string{"payment-failed": paymentFailed})))
}

func TestAPaymentInTimeEndsTheWaitAsMet(t *testing.T) {
	for name, after := range map[string]time.Duration{"soon": time.Hour, "exactly at the deadline": 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			l := failed(t)
			l.want(l.put(0, transition(1, schemas.StatusFailed)), "STARTED", "ACTION 0", "WAIT_OPENED 1")
			if diff := cmp.Diff([]string{"SEND_MESSAGE payment-problem"}, l.effects()); diff != "" {
				t.Error(diff)
			}
			l.want(l.put(after, transition(2, schemas.StatusPaid)), "WAIT_MET 1", "ACTION 1.met.0", "ENDED")
			if c := l.sent[0]; len(c.Reasons) == 0 || c.Reasons[len(c.Reasons)-1] != "+recovered by workflows/payment-failed#1.met.0" {
				t.Errorf("reasons %q", c.Reasons)
			}
			l.want(l.pass(100 * 24 * time.Hour))
		})
	}
}

func TestNoPaymentInTimeTakesTheOtherBranchOnce(t *testing.T) {
	l := failed(t)
	l.put(0, transition(1, schemas.StatusFailed))
	l.want(l.pass(24 * time.Hour))
	l.want(l.pass(time.Second), "WAIT_NOT_MET 1", "ACTION 1.not_met.0", "ENDED")
	c := l.sent[0]
	if diff := cmp.Diff([]string{"MOVE_TO_LIST unpaid"}, l.effects()); diff != "" || c.Effect.Arguments["from"] != "trial" || c.Rule != "workflows/payment-failed#1.not_met.0" || c.RunID == "" {
		t.Errorf("command %+v %+v %s", c, c.Effect, diff)
	}
	l.want(l.pass(50 * time.Hour))
	late := transition(2, schemas.StatusPaid)
	l.want(l.put(time.Hour, late)) // happened after the deadline: no correction
	l.want(l.put(time.Hour, transition(3, schemas.StatusFailed)), "NOT_STARTED")
}

func TestAnEventOfBeforeTheDeadlineThatComesLateCorrects(t *testing.T) {
	l := failed(t)
	l.put(0, transition(1, schemas.StatusFailed))
	l.pass(30 * time.Hour)
	in := transition(2, schemas.StatusPaid)
	l.steps = nil
	in.Event.ProviderTime = noon.Add(23 * time.Hour)
	if err := l.line.Put(processors.Input{At: l.line.Now(), Key: ana, Topic: schemas.TopicAutomationInbox, Record: in}); err != nil {
		t.Fatal(err)
	}
	l.want(l.steps, "WAIT_CORRECTED 1", "STARTED", "ACTION 1.corrected.0", "ENDED")
	l.want(l.put(time.Hour, transition(3, schemas.StatusPaid))) // once
}

func TestAPersonEndsAWait(t *testing.T) {
	for met, want := range map[bool][]string{true: {"WAIT_MET 1", "ACTION 1.met.0", "ENDED"}, false: {"WAIT_NOT_MET 1", "ACTION 1.not_met.0", "ENDED"}} {
		l := failed(t)
		var wait string
		l.put(0, transition(1, schemas.StatusFailed))
		for _, s := range l.traces {
			if s.WaitID != "" {
				wait = s.WaitID
			}
		}
		l.want(l.put(time.Minute, &schemas.WaitDecision{WaitID: wait, ContactKey: ana, Met: met, By: "ann"}), want...)
		l.want(l.put(time.Minute, &schemas.WaitDecision{WaitID: wait, ContactKey: ana, Met: !met, By: "ann"}))
	}
}

// versions is a book of several configurations.
type versions map[string]*automation.Rules

func (b versions) Rules(version string) *automation.Rules { return b[version] }

func (b versions) Program(workflow, version string) *workflows.Program {
	for _, r := range b {
		if p := r.Workflow(workflow); p != nil && p.Version == version {
			return p
		}
	}
	return nil
}

func TestAnOpenRunKeepsItsVersionUnlessToldToMove(t *testing.T) {
	mappings := map[string]automation.MappingFile{"orders": checkout()}
	rulesFor := func(files map[string]string) *automation.Rules {
		r := rules(t, mappings).WithWorkflows(workflowsOf(t, files))
		return &r
	}
	slower := strings.Replace(paymentFailed, "not_met_after: 1d", "not_met_after: 5d", 1)
	book := versions{
		"1":      rulesFor(map[string]string{"payment-failed": paymentFailed}),
		"edited": rulesFor(map[string]string{"payment-failed": slower}),
		"moved":  rulesFor(map[string]string{"payment-failed": "open_runs: move\n" + slower}),
		"none":   rulesFor(nil),
	}
	for name, tt := range map[string]struct {
		touched, after25h []string
		deadline          time.Duration
	}{
		"edited": {nil, []string{"WAIT_NOT_MET 1", "ACTION 1.not_met.0", "ENDED"}, 0},
		"moved":  {[]string{"MIGRATED 1"}, nil, 5 * 24 * time.Hour},
		"none":   {[]string{"STOPPED"}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := &line{t: t}
			lane := trial.NewLane[automation.State](automation.NewFollowing(book), trial.Options{Check: true}, nil)
			l.line = trial.NewLine(l, noon, trial.Part{Lane: lane, Topics: []string{schemas.TopicAutomationInbox}})
			activate := func(version string) {
				if err := l.line.Put(processors.Input{At: l.line.Now(), Topic: schemas.TopicAutomationInbox, Record: &schemas.ConfigActivation{Version: version}}); err != nil {
					t.Fatal(err)
				}
			}
			activate("1")
			l.want(l.put(0, transition(1, schemas.StatusFailed)), "STARTED", "ACTION 0", "WAIT_OPENED 1")
			activate(name)
			l.want(l.put(0, &schemas.ContactTouch{ContactKey: ana}), tt.touched...)
			if tt.deadline > 0 {
				if last := l.traces[len(l.traces)-1]; last.WaitID == "" || !last.Deadline.Equal(noon.Add(tt.deadline)) {
					t.Errorf("moved with wait %q and deadline %s", last.WaitID, last.Deadline)
				}
			}
			l.want(l.pass(25*time.Hour), tt.after25h...)
		})
	}
}
