package explain_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/tillstream/tillstream/api"

	"github.com/tillstream/tillstream/internal/explain"
	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

var update = flag.Bool("update", false, "write the golden files anew")

const recoveryFile = `description: win failed payments back
destination: crm
start:
  - {on: payment-status-changed, status: [FAILED]}
steps:
  - id: pay
    wait_for: {status: [PAID, Completed], from: [FAILED], list: News, if: order.amount > 10, not_met_after: 1d, times: 2, window: 3d}
    met:
      - id: big
        if: order.amount > 100
        then:
          - {id: gift, send_message: gift}
    not_met:
      - {id: sorry, send_message: sorry}
    corrected:
      - {id: undo, remove_tags: [unpaid]}
`

const idleFile = `destination: crm
start:
  - {on: tag-added, tag: vip}
  - {on: order-placed, connections: [shop], if: order.amount > 500, list: News}
`

const pauseFile = `destination: crm
start:
  - on: moved-here
steps:
  - {id: rest, wait: 3d}
  - {id: tell, send_message: hello}
`

// everyFile has each kind of step behind a wait.
const everyFile = `destination: crm
start:
  - on: moved-here
steps:
  - {id: w0, wait: 1h}
  - id: open
    business_hours: {from: "09:00", to: "17:00"}
    then:
      - {id: w1, wait: 1h}
      - {id: list, on_list: News, then: [{id: w2, wait: 1h}, {id: tags, add_tags: [a], remove_tags: [b]}, {id: w3, wait: 1h}, {id: fields, set_field: {A: b}}]}
      - {id: w4, wait: 1h}
      - {id: until, wait_until: {at: "09:00"}}
      - {id: score, score: 5}
    else:
      - {id: w5, wait: 1h}
      - {id: move, move_to_workflow: pause}
  - {id: w6, wait: 1h}
  - {id: stop, stop: true}
`

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func nowFunc() time.Time { return now }

func at(minutes int) time.Time { return now.Add(time.Duration(minutes) * time.Minute) }

func versionOf(t testing.TB, name, text string) string {
	t.Helper()
	var f workflows.File
	if err := yaml.Unmarshal([]byte(text), &f); err != nil {
		t.Fatal(err)
	}
	p, problems := workflows.Compile(name, f, workflows.Known{Catalogue: mapping.CatalogueFor(nil)})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return p.Version
}

func configs(text map[string]string) map[string]schemas.ConfigVersion {
	return map[string]schemas.ConfigVersion{"cfg1": {Version: "cfg1", Files: text, At: at(-5000)}}
}

const contact, root = "live/ann@example.com", "live/shop/O1"

// story is one of each: a failed payment that is waited for, held and done actions, questions, tags of two rules, a
// correction, dead letters, an alias.
func story(t testing.TB) chsink.Story {
	v := versionOf(t, "recovery", recoveryFile)
	step := func(run string, number int64, minutes int, kind schemas.StepWord, id, detail string) schemas.RunStep {
		return schemas.RunStep{
			RunID: run, Workflow: "recovery", WorkflowVersion: v, ConfigVersion: "cfg1", ContactKey: contact, RootKey: root, Number: number,
			Step: id, Kind: kind, Detail: detail, Origin: schemas.OriginWebhook, At: at(minutes),
		}
	}
	started := step("R1", 1, -60, schemas.StepStarted, "", "")
	started.EventID = "E2"
	opened := step("R1", 2, -60, schemas.StepWaitOpened, "pay", "")
	opened.WaitID, opened.Deadline = "R1.1", at(1380)
	asked := step("R1", 3, -30, schemas.StepAsked, "pay", "is the contact on the list News?")
	asked.Destination, asked.CommandID = "crm", "Q1"
	held := step("R0", 2, -3000, schemas.StepHeld, "sorry", "send_message sorry: the contact unsubscribed from the list News")
	held.Destination = "crm"
	corrected := step("R0", 1<<20, -2900, schemas.StepWaitCorrected, "pay", "it happened in time and came after the deadline: CAPTURE of O1: PAID")
	transition := func(number int64, minutes int, d schemas.Disposition, from, to schemas.PaymentStatus, typ, why string) schemas.Transition {
		return schemas.Transition{
			RootKey: root, RootKind: schemas.KindOrder, Number: number, Disposition: d, From: from, To: to, Legal: true, Why: why, Paid: "0", Refunded: "0", Currency: "EUR",
			ContactKey: contact, Event: schemas.OrderEvent{EventID: fmt.Sprint("E", number), EventType: typ, Origin: schemas.OriginWebhook}, At: at(minutes),
		}
	}
	return chsink.Story{
		ID: "O1", As: "order", RootKeys: []string{root},
		Aliases: []chsink.Alias{{ContactKey: contact, Other: "live/payer:P1", PayerID: "P1"}},
		Transitions: []schemas.Transition{
			transition(1, -70, schemas.Changed, "", schemas.StatusApproved, "CHECKOUT.ORDER.APPROVED", "the first event of this order"),
			transition(2, -60, schemas.Changed, schemas.StatusApproved, schemas.StatusFailed, "PAYMENT.CAPTURE.DENIED", ""),
			transition(3, -59, schemas.Duplicate, schemas.StatusFailed, schemas.StatusFailed, "PAYMENT.CAPTURE.DENIED", "seen before"),
			transition(4, -50, schemas.Late, schemas.StatusFailed, schemas.StatusFailed, "CHECKOUT.ORDER.APPROVED", "older than what was applied"),
		},
		Steps: []schemas.RunStep{
			step("R0", 1, -3000, schemas.StepCondition, "big", "no: order.amount > 100"), held, corrected,
			started, opened, asked,
			step("R2", 1, -10, schemas.StepNotStarted, "", "it ran before, and runs once for each contact"),
		},
		Commands: []schemas.Command{
			{
				CommandID: "C1", Kind: schemas.CommandContact, Destination: "crm", ContactKey: contact, Version: 1, Contact: schemas.Contact{Tags: []string{"paypal-integration", "unpaid"}},
				ConfigVersion: "cfg0", EventID: "E1", RootKey: root, Reasons: []string{"+paypal-integration by mappings/orders", "+unpaid by workflows/recovery#pay"}, At: at(-70),
			},
			{
				CommandID: "C2", Kind: schemas.CommandContact, Destination: "crm", ContactKey: contact, Version: 2, Contact: schemas.Contact{Tags: []string{"old", "paypal-integration"}, NoTags: []string{"unpaid"}},
				ConfigVersion: "cfg1", EventID: "E2", RootKey: root, Reasons: []string{"-unpaid by workflows/recovery#undo"}, Issues: []string{"PHONE: 12 is no telephone number"}, At: at(-60),
			},
			{
				CommandID: "Q1", Kind: schemas.CommandQuestion, Destination: "crm", ContactKey: contact, ConfigVersion: "cfg1", Rule: "workflows/recovery#pay", RunID: "R1",
				Effect: &schemas.Effect{Type: schemas.QuestionOnList, Name: "News"}, At: at(-30),
			},
			{
				CommandID: "M1", Kind: schemas.CommandEffect, Destination: "crm", ContactKey: contact, ConfigVersion: "cfg1", Rule: "mappings/orders",
				Effect: &schemas.Effect{Type: schemas.EffectSendMessage, Name: "hello"}, At: at(-20),
			},
		},
		Deliveries: []schemas.Delivery{
			{CommandID: "C2", Outcome: schemas.OutcomeDelivered, Requests: []schemas.Exchange{{Status: 201}}},
			{CommandID: "M1", Outcome: schemas.OutcomeRejected, Requests: []schemas.Exchange{{Status: 422}}, Error: "there is no message hello", Remedy: "create it, or correct the name"},
		},
		DeadLetters: []schemas.DeadLetter{{ID: "x", Stage: "deliver", Cause: schemas.CauseRejected, Reason: "crm refused ann@example.com", Remedy: "correct it", EventID: "E9", At: at(-5)}},
		Waits: []chsink.Wait{{
			ID: "R1.1", RunID: "R1", Workflow: "recovery", WorkflowVersion: v, ConfigVersion: "cfg1", Step: "pay", ContactKey: contact, RootKey: root,
			State: chsink.WaitOpen, OpenedAt: at(-60), Deadline: at(1380),
		}},
		Configs: configs(map[string]string{"workflows/recovery.yaml": recoveryFile, "workflows/vip.yaml": idleFile, "workflows/gone.yaml": "mode: off\nstart: [{on: moved-here}]\n", "workflows/bad.yaml": "{", "tillstream.yaml": "x: 1"}),
		Current: "cfg1",
	}
}

func render(e api.Explanation) string {
	var b strings.Builder
	explain.Print(&b, e)
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, string(want)); diff != "" {
		t.Errorf("%s (-got +want):\n%s", name, diff)
	}
}

func TestAnOrderIsExplained(t *testing.T) {
	golden(t, "order", render(explain.Explain(story(t), explain.Options{Now: now, PersonalData: true})))
}

func TestPersonalDataIsMaskedUnlessAskedFor(t *testing.T) {
	got := render(explain.Explain(story(t), explain.Options{Now: now}))
	if strings.Contains(got, "ann@") {
		t.Errorf("an address is told:\n%s", got)
	}
	if !strings.Contains(got, "live/a***@example.com") {
		t.Errorf("the contact is not to be recognised:\n%s", got)
	}
	for _, kept := range []string{"live/shop/O1", "R1.1", "E2", "order.amount > 100", "2026-03-02 11:00:00 UTC"} {
		if !strings.Contains(got, kept) {
			t.Errorf("%q is masked, too:\n%s", kept, got)
		}
	}
}

func TestAContactWithManyOrdersIsToldAnOrderALine(t *testing.T) {
	st := story(t)
	st.As, st.ContactKeys = "contact", []string{contact}
	one := st.Transitions[:2]
	st.Transitions = nil
	for i := range 5 {
		for _, tr := range one {
			tr.RootKey = fmt.Sprint("live/shop/N", i)
			st.Transitions = append(st.Transitions, tr)
		}
	}
	e := explain.Explain(st, explain.Options{Now: now})
	if got := len(e.Sections[0].Lines); got != 5 {
		t.Errorf("got %d lines of the orders, want one each: %+v", got, e.Sections[0].Lines)
	}
}

func TestAStoryOfNothingHasNoSections(t *testing.T) {
	if e := explain.Explain(chsink.Story{ID: "x", As: "order"}, explain.Options{Now: now}); len(e.Sections) != 0 {
		t.Errorf("got %+v", e.Sections)
	}
}

func TestWhatEndsAWait(t *testing.T) {
	recovery, pause := versionOf(t, "recovery", recoveryFile), versionOf(t, "pause", pauseFile)
	files := configs(map[string]string{"workflows/recovery.yaml": recoveryFile, "workflows/pause.yml": pauseFile})
	wait := chsink.Wait{ID: "R.1", Workflow: "recovery", WorkflowVersion: recovery, ConfigVersion: "cfg1", Step: "pay", RootKey: root, State: chsink.WaitOpen, Deadline: at(90)}
	change := func(f func(*chsink.Wait)) chsink.Wait { w := wait; f(&w); return w }
	for name, c := range map[string]struct {
		wait             chsink.Wait
		met, notMet      string
		thenMet, thenNot string
	}{
		"an event": {
			wait,
			`2 times: the payment status changes from FAILED to PAID or Completed, within 3 d, for live/shop/O1, while order.amount > 10, and the contact is on the list "News" at crm then`,
			"after 2026-03-01 13:30:00 UTC, in 1 h 30 min, it counts as not met; an event stamped exactly then still counts", "step big: if order.amount > 100", `step sorry: send message "sorry" at crm`,
		},
		"no deadline":     {change(func(w *chsink.Wait) { w.Deadline = time.Time{} }), "2 times", "never: it has no deadline", "step big", "step sorry"},
		"overdue":         {change(func(w *chsink.Wait) { w.Deadline = at(-5) }), "2 times", "passed 5 min ago", "step big", "step sorry"},
		"at the deadline": {change(func(w *chsink.Wait) { w.Deadline = now }), "2 times", "in less than 1 s, it counts", "step big", "step sorry"},
		"of the contact":  {change(func(w *chsink.Wait) { w.RootKey = "" }), "for any order of the same contact", "after", "step big", "step sorry"},
		"time alone": {
			change(func(w *chsink.Wait) { w.Workflow, w.WorkflowVersion, w.Step = "pause", pause, "rest" }), "nothing but time",
			"in 1 h 30 min, it goes on; an event", `step tell: send message "hello" at crm`, "",
		},
		"another version":                          {change(func(w *chsink.Wait) { w.WorkflowVersion = "0000" }), "its text is not known here", "after", "", ""},
		"another workflow":                         {change(func(w *chsink.Wait) { w.Workflow = "../../etc/passwd" }), "its text is not known here", "after", "", ""},
		"a step that is gone":                      {change(func(w *chsink.Wait) { w.Step = "x" }), "its text is not known here", "after", "", ""},
		"a version found in another configuration": {change(func(w *chsink.Wait) { w.ConfigVersion = "cfg0" }), "2 times", "after", "step big", "step sorry"},
	} {
		e := explain.EndingOf(c.wait, files, now)
		for what, pair := range map[string][2]string{"met": {e.Met, c.met}, "not met": {e.NotMet, c.notMet}, "then": {e.ThenMet, c.thenMet}, "if not": {e.ThenNot, c.thenNot}} {
			if !strings.Contains(pair[0], pair[1]) || pair[1] == "" && pair[0] != "" {
				t.Errorf("%s: %s: got %q, want %q in it", name, what, pair[0], pair[1])
			}
		}
	}
}

func TestWhatComesThenIsToldOfEachKindOfStep(t *testing.T) {
	version := versionOf(t, "every", everyFile)
	files := configs(map[string]string{"workflows/every.yaml": everyFile})
	for step, want := range map[string]string{
		"w0": "step open: whether it is within business hours",
		"w1": `step list: asks crm whether the contact is on the list "News"`,
		"w2": "step tags: tags +a -b at crm",
		"w3": "step fields: set field A at crm",
		"w4": "step until: waits for time",
		"w5": "step move: moves to the workflow pause",
		"w6": "step stop: the run ends",
	} {
		w := chsink.Wait{Workflow: "every", WorkflowVersion: version, ConfigVersion: "cfg1", Step: step, State: chsink.WaitOpen, Deadline: at(90)}
		if got := explain.EndingOf(w, files, now).ThenMet; got != want {
			t.Errorf("behind %s: got %q, want %q", step, got, want)
		}
	}
}

func TestCountdown(t *testing.T) {
	for want, deadline := range map[string]time.Time{
		"never": {}, "in 2 d 3 h": now.Add(51*time.Hour + 20*time.Minute), "in 1 d": now.Add(24*time.Hour + 20*time.Second), "in 59 s": now.Add(59 * time.Second),
		"overdue by 1 min 1 s": now.Add(-61 * time.Second), "in less than 1 s": now,
	} {
		if got := explain.Countdown(deadline, now); got != want {
			t.Errorf("%v: got %q, want %q", deadline, got, want)
		}
	}
}
