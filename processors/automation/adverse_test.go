package automation_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/trial"
	"github.com/tillstream/tillstream/schemas"
)

// following is a story whose configurations come one after the other; activate puts one in force.
func following(t *testing.T, files map[string]map[string]string) (l *line, activate func(version string)) {
	t.Helper()
	book := versions{}
	for version, list := range files {
		r := rules(t, map[string]automation.MappingFile{"orders": checkout()}).WithWorkflows(workflowsOf(t, list))
		book[version] = &r
	}
	l = &line{t: t}
	lane := trial.NewLane[automation.State](automation.NewFollowing(book), trial.Options{Check: true}, nil)
	l.line = trial.NewLine(l, noon, trial.Part{Lane: lane, Topics: []string{schemas.TopicAutomationInbox}})
	return l, func(version string) {
		t.Helper()
		if err := l.line.Put(processors.Input{At: l.line.Now(), Topic: schemas.TopicAutomationInbox, Record: &schemas.ConfigActivation{Version: version}}); err != nil {
			t.Fatal(err)
		}
	}
}

func of(t *testing.T, files map[string]string) *line {
	t.Helper()
	return story(t, rules(t, map[string]automation.MappingFile{"orders": checkout()}).WithWorkflows(workflowsOf(t, files)))
}

// arrive applies a transition that happened at another time than it comes.
func (l *line) arrive(after time.Duration, happened time.Time, tr *schemas.Transition) []string {
	l.t.Helper()
	l.steps, l.sent = nil, nil
	tr.Event.ProviderTime = happened
	if err := l.line.Put(processors.Input{At: l.line.Now().Add(after), Key: ana, Topic: schemas.TopicAutomationInbox, Record: tr}); err != nil {
		l.t.Fatal(err)
	}
	return l.steps
}

func (l *line) sends(want ...string) {
	l.t.Helper()
	if diff := cmp.Diff(want, l.effects()); diff != "" {
		l.t.Errorf("effects (-want +got):\n%s", diff)
	}
}

func (l *line) lastQuestion() string {
	for i := len(l.sent) - 1; i >= 0; i-- {
		if l.sent[i].Kind == schemas.CommandQuestion {
			return l.sent[i].CommandID
		}
	}
	l.t.Fatal("nothing was asked")
	return ""
}

func TestWhoLeftIsKnownToHaveLeftAlsoWhenADestinationCannotSay(t *testing.T) {
	l := of(t, map[string]string{"w": `
destination: crm
start: [{on: payment-status-changed, status: [PAID]}]
steps:
  - on_list: news
    else: [{send_message: hello}]
`})
	l.put(0, transition(1, schemas.StatusPaid))
	l.put(time.Minute, &schemas.ListAnswer{CommandID: l.lastQuestion(), ContactKey: ana, Destination: "crm", List: "news", Standing: schemas.StandingUnsubscribed})
	l.sends()
	l.put(time.Minute, transition(2, schemas.StatusRefunded))
	l.put(time.Minute, transition(3, schemas.StatusPaid))
	l.want(l.put(time.Minute, &schemas.ListAnswer{CommandID: l.lastQuestion(), ContactKey: ana, Destination: "crm", List: "news", Standing: schemas.StandingUnknown, Error: "down"}),
		"CONDITION 0", "HELD 0.else.0", "ENDED")
	l.sends()
}

func TestAMerchantsOwnIDIsNoAddressToWriteTo(t *testing.T) {
	l := of(t, map[string]string{"w": `
destination: gr
start: [{on: payment-status-changed, status: [FAILED]}]
steps: [{send_message: hello}]
`})
	key := schemas.CustomKey(schemas.Live, "ann@example.com")
	tr := transition(1, schemas.StatusFailed, noEmail)
	tr.ContactKey, tr.Event.CustomID, tr.Event.Resource = key, "ann@example.com", "none"
	if err := l.line.Put(processors.Input{At: noon, Key: key, Topic: schemas.TopicAutomationInbox, Record: tr}); err != nil {
		t.Fatal(err)
	}
	for _, c := range l.sent {
		t.Errorf("%s %s to %q", c.Kind, c.Destination, c.Contact.Email)
	}
}

const weekly = `
destination: crm
start: [{on: schedule, at: "14:00"}]
steps: [{send_message: weekly}]
`

func TestAScheduleWritesToNobodyWhoIsKnownFromTestsOnly(t *testing.T) {
	l := of(t, map[string]string{"w": weekly})
	l.put(0, transition(1, schemas.StatusPaid, test))
	l.want(l.pass(24*time.Hour), "STARTED", "HELD 0", "ENDED")
	l.sends()
	l.put(time.Hour, transition(2, schemas.StatusRefunded))
	l.pass(24 * time.Hour)
	l.sends("SEND_MESSAGE weekly")
}

func TestAnEventAtTheVeryTimeOfAScheduleDoesNotPutItOff(t *testing.T) {
	l := of(t, map[string]string{"w": weekly})
	l.put(0, transition(1, schemas.StatusPaid))
	at := time.Date(noon.Year(), noon.Month(), noon.Day(), 14, 0, 0, 0, time.UTC)
	if !at.After(noon) {
		t.Fatal("the story begins later")
	}
	l.put(at.Sub(noon), transition(2, schemas.StatusRefunded))
	l.pass(time.Minute)
	l.sends("SEND_MESSAGE weekly")
}

func TestAShadowThatMovesSetsNothingOffThatActs(t *testing.T) {
	files := map[string]string{"watched": `
destination: crm
mode: shadow
start: [{on: payment-status-changed, status: [PAID]}]
steps: [{move_to_workflow: real}]
`, "real": `
destination: crm
start: [{on: moved-here}]
steps: [{send_message: hello}]
`}
	l := of(t, files)
	l.want(l.put(0, transition(1, schemas.StatusPaid)), "STARTED", "ENDED")
	l.sends("TRACK_EVENT paid") // the mapping's
}

func TestWhatOnlyAShadowDidIsStillToBeDoneOnce(t *testing.T) {
	once := `
destination: crm
once: order
start: [{on: payment-status-changed, status: [FAILED]}]
steps: [{send_message: hello}]
`
	l, activate := following(t, map[string]map[string]string{"1": {"w": "mode: shadow\n" + once}, "2": {"w": once}})
	activate("1")
	l.want(l.put(0, transition(1, schemas.StatusFailed)), "STARTED", "ACTION 0", "ENDED")
	l.want(l.put(time.Minute, transition(2, schemas.StatusPaid)))
	l.want(l.put(time.Minute, transition(3, schemas.StatusFailed)), "NOT_STARTED")
	activate("2")
	l.put(time.Minute, transition(4, schemas.StatusPaid))
	l.want(l.put(time.Minute, transition(5, schemas.StatusFailed)), "STARTED", "ACTION 0", "ENDED")
	l.sends("SEND_MESSAGE hello")
}

func TestARunMovesOnlyToAStepThatWaitsAsItsOwnDid(t *testing.T) {
	before := `
destination: crm
start: [{on: payment-status-changed, status: [FAILED]}]
steps:
  - wait_for: {status: [PAID], not_met_after: 1d}
    not_met: [{send_message: hello}]
`
	after := `
destination: crm
open_runs: move
start: [{on: payment-status-changed, status: [FAILED]}]
steps:
  - add_tags: [failed]
  - wait_for: {status: [PAID], not_met_after: 1d}
    not_met: [{send_message: hello}]
`
	l, activate := following(t, map[string]map[string]string{"1": {"w": before}, "2": {"w": after}})
	activate("1")
	l.want(l.put(0, transition(1, schemas.StatusFailed)), "STARTED", "WAIT_OPENED 0")
	activate("2")
	l.want(l.put(0, &schemas.ContactTouch{ContactKey: ana}))
	l.want(l.pass(25*time.Hour), "WAIT_NOT_MET 0", "ACTION 0.not_met.0", "ENDED")
	l.sends("SEND_MESSAGE hello")
}

func TestOneLateEventOfTwoCorrectsNothing(t *testing.T) {
	l := of(t, map[string]string{"w": `
destination: crm
start: [{on: order-placed}]
steps:
  - wait_for: {on: paypal-event-received, events: [PAYMENT.CAPTURE.*], times: 2, window: 2h, not_met_after: 1d}
    corrected: [{add_tags: [twice]}]
`})
	capture := func(n int64) *schemas.Transition {
		tr := transition(n, schemas.StatusPaid)
		tr.From, tr.Event.EventType, tr.Event.Provider = schemas.StatusPending, "PAYMENT.CAPTURE.COMPLETED", "paypal"
		return tr
	}
	placed := transition(1, schemas.StatusPending)
	placed.From = ""
	l.want(l.put(0, placed), "STARTED", "WAIT_OPENED 0")
	l.want(l.pass(25*time.Hour), "WAIT_NOT_MET 0", "ENDED")
	l.want(l.arrive(time.Hour, noon.Add(10*time.Hour), capture(2)))
	l.want(l.arrive(time.Hour, noon.Add(20*time.Hour), capture(3))) // not within the window
	l.want(l.arrive(time.Hour, noon.Add(19*time.Hour), capture(4)), "WAIT_CORRECTED 0", "STARTED", "ACTION 0.corrected.0", "ENDED")
	l.want(l.arrive(time.Hour, noon.Add(19*time.Hour), capture(5)))
}

func TestAnEventOfBeforeTheDeadlineCountsForATwoEventsCorrection(t *testing.T) {
	l := of(t, map[string]string{"w": `
destination: crm
start: [{on: order-placed}]
steps:
  - wait_for: {on: paypal-event-received, events: [PAYMENT.CAPTURE.*], times: 2, not_met_after: 1d}
`})
	capture := func(n int64) *schemas.Transition {
		tr := transition(n, schemas.StatusPaid)
		tr.From, tr.Event.EventType, tr.Event.Provider = schemas.StatusPending, "PAYMENT.CAPTURE.COMPLETED", "paypal"
		return tr
	}
	placed := transition(1, schemas.StatusPending)
	placed.From = ""
	l.put(0, placed)
	l.put(time.Hour, capture(2))
	l.want(l.pass(25*time.Hour), "WAIT_NOT_MET 0", "ENDED")
	l.want(l.arrive(time.Hour, noon.Add(10*time.Hour), capture(3)), "WAIT_CORRECTED 0")
}

func TestACorrectionIsMetOnceWhereTheConditionIs(t *testing.T) {
	l := of(t, map[string]string{"w": `
destination: crm
start: [{on: payment-status-changed, status: [FAILED]}]
steps:
  - wait_for: {status: [PAID], once: order, not_met_after: 1d}
    corrected: [{copy_to_list: customers}]
`})
	l.put(0, transition(1, schemas.StatusFailed))
	l.put(time.Minute, transition(2, schemas.StatusPending))
	l.put(time.Minute, transition(3, schemas.StatusFailed)) // a second run with the same condition
	l.pass(30 * time.Hour)
	l.want(l.arrive(0, noon.Add(time.Hour), transition(4, schemas.StatusPaid)), "WAIT_CORRECTED 0", "STARTED", "ACTION 0.corrected.0", "ENDED")
}

func TestACorrectionNeedsTheListToo(t *testing.T) {
	file := `
destination: crm
start: [{on: payment-status-changed, status: [FAILED]}]
steps:
  - wait_for: {status: [PAID], list: customers, not_met_after: 1d}
    corrected: [{send_message: sorry}]
`
	for standing, want := range map[schemas.Standing][]string{
		"":                        {"WAIT_CORRECTED 0"},
		schemas.StandingAbsent:    {"WAIT_CORRECTED 0"},
		schemas.StandingActive:    {"WAIT_CORRECTED 0", "STARTED", "ACTION 0.corrected.0", "ENDED"},
		schemas.StandingUnknown:   {"WAIT_CORRECTED 0"},
		schemas.StandingBounced:   {"WAIT_CORRECTED 0"},
		"some word of the future": {"WAIT_CORRECTED 0"},
	} {
		t.Run(string(standing), func(t *testing.T) {
			l := of(t, map[string]string{"w": file})
			l.put(0, transition(1, schemas.StatusFailed))
			if standing != "" {
				l.put(time.Minute, &schemas.ListAnswer{CommandID: "another", ContactKey: ana, Destination: "crm", List: "customers", Standing: standing})
			}
			l.pass(30 * time.Hour)
			l.want(l.arrive(0, noon.Add(time.Hour), transition(4, schemas.StatusPaid)), want...)
		})
	}
}

func TestAPersonsSecondWordAboutAWaitAnswersNoQuestion(t *testing.T) {
	l := of(t, map[string]string{"w": `
destination: crm
start: [{on: payment-status-changed, status: [FAILED]}]
steps:
  - wait_for: {status: [PAID], not_met_after: 1d}
  - on_list: news
    then: [{send_message: hello}]
`})
	l.put(0, transition(1, schemas.StatusFailed))
	wait := l.traces[len(l.traces)-1].WaitID
	word := &schemas.WaitDecision{WaitID: wait, ContactKey: ana, Met: true, By: "ann"}
	l.want(l.put(time.Minute, word), "WAIT_MET 0", "ASKED 1")
	l.want(l.put(time.Second, word)) // the same click again
	l.sends()
}

func TestATestEndsNoWaitOfARealRun(t *testing.T) {
	l := of(t, map[string]string{"w": `
destination: crm
start: [{on: payment-status-changed, status: [FAILED]}]
steps:
  - wait_for: {status: [PAID], same: contact, look_back: 1h, not_met_after: 1d}
    met: [{send_message: thanks}]
`})
	l.put(0, transition(1, schemas.StatusPaid, test)) // just before
	l.want(l.put(time.Minute, transition(2, schemas.StatusFailed)), "STARTED", "WAIT_OPENED 0")
	l.want(l.put(time.Minute, transition(3, schemas.StatusPaid, test)))
	l.sends("TRACK_EVENT paid") // the mapping's
	l.want(l.pass(25*time.Hour), "WAIT_NOT_MET 0", "ENDED")
	l.want(l.arrive(time.Hour, noon.Add(time.Hour), transition(4, schemas.StatusPaid, test)))
}

func TestARunOfAnOlderTextHasTheValuesOfItsOwnEvents(t *testing.T) {
	before := `
destination: crm
start: [{on: payment-status-changed, status: [FAILED]}]
steps:
  - wait_for: {status: [PAID], not_met_after: 1d}
  - wait: 1h
  - track_event: {name: told, data: "{{ event.type }}"}
`
	l, activate := following(t, map[string]map[string]string{"1": {"w": before}, "2": {"w": `
destination: crm
start: [{on: payment-status-changed, status: [FAILED]}]
steps: [{send_message: hello}]
`}})
	activate("1")
	l.put(0, transition(1, schemas.StatusFailed))
	activate("2")
	paid := transition(2, schemas.StatusPaid)
	paid.Event.EventType = "THE.SECOND"
	l.want(l.put(time.Minute, paid), "WAIT_MET 0", "WAIT_OPENED 1")
	l.pass(2 * time.Hour)
	for _, c := range l.sent {
		if c.Effect != nil && c.Effect.Data[16:] != "THE.SECOND" {
			t.Errorf("data %q", c.Effect.Data)
		}
	}
	l.sends("TRACK_EVENT told")
}

func TestARunThatMovedLearnsWhatTheNewTextAsksFor(t *testing.T) {
	before := `
destination: crm
start: [{on: payment-status-changed, status: [FAILED]}]
steps:
  - {id: paid, wait_for: {status: [PAID], not_met_after: 1d}}
`
	after := `
destination: crm
open_runs: move
start: [{on: payment-status-changed, status: [FAILED]}]
steps:
  - {id: paid, wait_for: {status: [PAID], not_met_after: 1d}}
  - wait: 1h
  - track_event: {name: told, data: "{{ event.type }} {{ order.status }}"}
`
	l, activate := following(t, map[string]map[string]string{"1": {"w": before}, "2": {"w": after}})
	activate("1")
	l.put(0, transition(1, schemas.StatusFailed))
	activate("2")
	paid := transition(2, schemas.StatusPaid)
	paid.Event.EventType = "THE.SECOND"
	l.want(l.put(time.Minute, paid), "MIGRATED paid", "WAIT_MET paid", "WAIT_OPENED 1")
	l.pass(2 * time.Hour)
	l.sends("TRACK_EVENT told")
	for _, c := range l.sent {
		if c.Effect != nil && c.Effect.Data[16:] != "THE.SECOND PAID" {
			t.Errorf("data %q", c.Effect.Data)
		}
	}
}

func TestADateThatStandsForNeverIsNotWaitedFor(t *testing.T) {
	for date, want := range map[string][]string{
		"9999-12-31":           {"STARTED", "CONDITION 0", "ENDED"},
		"9999-12-31T23:59:59Z": {"STARTED", "CONDITION 0", "ENDED"},
		"0001-01-01":           {"STARTED", "CONDITION 0", "ENDED"},
		"2030-01-01":           {"STARTED", "WAIT_OPENED 0"},
	} {
		t.Run(date, func(t *testing.T) {
			l := of(t, map[string]string{"w": `
destination: crm
start: [{on: payment-status-changed, status: [FAILED]}]
steps: [{wait_until: {date: "{{ subscription.next_billing_time }}"}}]
`})
			tr := transition(1, schemas.StatusFailed)
			tr.Event.Fields = map[string]string{"subscription.next_billing_time": date}
			l.want(l.put(0, tr), want...)
		})
	}
}

func TestARunThatMovesToADateLongAgoGoesOn(t *testing.T) {
	text := `
destination: crm
open_runs: move
start: [{on: payment-status-changed, status: [FAILED]}]
steps: [{id: rest, %s}, {track_event: {name: on}}]
`
	l, activate := following(t, map[string]map[string]string{
		"1": {"w": fmt.Sprintf(text, "wait: 400d")}, "2": {"w": fmt.Sprintf(text, `wait_until: {date: "1960-01-01"}`)},
	})
	activate("1")
	l.want(l.put(0, transition(1, schemas.StatusFailed)), "STARTED", "WAIT_OPENED rest")
	activate("2")
	l.put(0, &schemas.ContactTouch{ContactKey: ana})
	l.want(l.pass(time.Hour), "WAIT_MET rest", "ACTION 1", "ENDED")
}

func TestWhoIsNotifiedOfATestIsToldSo(t *testing.T) {
	for name, mods := range map[string][]mod{"a test": {test}, "no test": nil} {
		l := of(t, map[string]string{"w": `
start: [{on: payment-status-changed, status: [FAILED]}]
steps: [{notify: {to: warehouse, event: order.failed}}]
`})
		l.put(0, transition(1, schemas.StatusFailed, mods...))
		for _, c := range l.sent {
			if c.Effect == nil || c.Effect.Type != schemas.EffectNotify {
				continue
			}
			var body struct {
				Test bool `json:"test"`
			}
			if err := json.Unmarshal([]byte(c.Effect.Data), &body); err != nil || body.Test != (mods != nil) {
				t.Errorf("%s: %v in %s", name, err, c.Effect.Data)
			}
		}
		l.want(l.steps, "STARTED", "ACTION 0", "ENDED")
	}
}

func TestAnAnswerAboutOneListDecidesNothingAboutAnother(t *testing.T) {
	text := `
destination: crm
open_runs: move
start: [{on: payment-status-changed, status: [FAILED]}]
steps: [{id: on, on_list: %s, then: [{track_event: {name: "on %[1]s"}}]}]
`
	l, activate := following(t, map[string]map[string]string{"1": {"w": fmt.Sprintf(text, "news")}, "2": {"w": fmt.Sprintf(text, "offers")}})
	activate("1")
	l.put(0, transition(1, schemas.StatusFailed))
	question := l.lastQuestion()
	activate("2")
	l.put(0, &schemas.ContactTouch{ContactKey: ana})
	l.put(0, &schemas.ListAnswer{CommandID: question, ContactKey: ana, Destination: "crm", List: "news", Standing: schemas.StandingActive})
	l.sends("TRACK_EVENT on news")
}

func TestADesiredStateIsSentAgainWhereThatIsAskedFor(t *testing.T) {
	l := of(t, map[string]string{"w": `
destination: crm
start: [{on: payment-status-changed, status: [FAILED]}]
steps: [{add_tags: [late]}, {track_event: {name: on}}]
`})
	l.put(0, transition(1, schemas.StatusFailed))
	last := l.sent[0]
	for _, touch := range []schemas.ContactTouch{{}, {Resend: true, Destination: "elsewhere"}} {
		touch.ContactKey = ana
		if l.put(0, &touch); len(l.sent) != 0 {
			t.Fatalf("%+v sent %d commands, which it does not ask for", touch, len(l.sent))
		}
	}
	for _, destination := range []string{"crm", ""} {
		l.put(0, &schemas.ContactTouch{ContactKey: ana, Resend: true, Destination: destination})
		if len(l.sent) != 1 || l.sent[0].Kind != schemas.CommandContact {
			t.Fatalf("sent %d commands, want the desired state alone: no effect happens again", len(l.sent))
		}
		again := l.sent[0]
		if again.Version != last.Version+1 || again.CommandID == last.CommandID || again.Origin != schemas.OriginReplay {
			t.Errorf("sent again as version %d, origin %s; want %d, %s", again.Version, again.Origin, last.Version+1, schemas.OriginReplay)
		}
		if diff := cmp.Diff(last.Contact, again.Contact); diff != "" {
			t.Errorf("sent again (-first +again):\n%s", diff)
		}
		last = again
	}
}
