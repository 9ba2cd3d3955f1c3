package automation_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/trial"
	"github.com/tillstream/tillstream/processors/zones"
	"github.com/tillstream/tillstream/schemas"
)

// year notes when things happened.
type year struct {
	line
	scheduled, told []time.Time // runs of the schedule; ends of the waits until a date
}

// Output implements trial.Sink.
func (y *year) Output(at time.Time, o processors.Output) error {
	if s, ok := o.Record.(*schemas.RunStep); ok {
		switch {
		case s.Workflow == "daily" && s.Kind == schemas.StepStarted:
			y.scheduled = append(y.scheduled, s.At)
		case s.Workflow == "monthly" && s.Kind == schemas.StepWaitMet:
			y.told = append(y.told, s.At)
		}
	}
	return y.line.Output(at, o)
}

// TestFourHundredDays: a schedule at 09:00 in Berlin fires once a day at the right moment, through both changes of the
// clocks, a leap day and the turn of the year; a wait of a month's length from each month's last day ends once.
func TestFourHundredDays(t *testing.T) {
	const days = 400
	berlin, err := zones.Load("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2027, 10, 1, 0, 0, 0, 0, time.UTC) // before the clocks go back, and a leap year follows
	r := rules(t, map[string]automation.MappingFile{"orders": checkout()}).WithWorkflows(workflowsOf(t, map[string]string{
		"daily": `
destination: crm
start: [{on: schedule, at: "09:00", zone: Europe/Berlin}]
steps: [{score: 1}]
`,
		"monthly": `
destination: crm
start: [{on: payment-status-changed, status: [PAID]}]
steps: [{wait: 31d}, {score: 1}]
`,
	}))
	y := &year{line: line{t: t}}
	lane := trial.NewLane[automation.State](automation.New(r), trial.Options{Check: true}, nil)
	l := trial.NewLine(y, start, trial.Part{Lane: lane, Topics: []string{schemas.TopicAutomationInbox}})
	put := func(at time.Time, n int64) {
		paid := transition(n, schemas.StatusPaid)
		paid.Event.ProviderTime = at
		if err := l.Put(processors.Input{At: at, Key: ana, Topic: schemas.TopicAutomationInbox, Record: paid}); err != nil {
			t.Fatal(err)
		}
	}
	put(start, 1)
	wantTold := []time.Time{start.AddDate(0, 0, 31)}
	var wantScheduled []time.Time
	for day := range days {
		date := start.AddDate(0, 0, day)
		if date.AddDate(0, 0, 1).Day() == 1 { // a month's last day
			at := time.Date(date.Year(), date.Month(), date.Day(), 23, 59, 59, 0, time.UTC)
			put(at, int64(day+2))
			wantTold = append(wantTold, at.Add(31*24*time.Hour))
		}
		wantScheduled = append(wantScheduled, time.Date(date.Year(), date.Month(), date.Day(), 9, 0, 0, 0, berlin).UTC())
	}
	end := start.AddDate(0, 0, days)
	if err := l.Advance(end); err != nil {
		t.Fatal(err)
	}
	compare := func(what string, got, want []time.Time) {
		want = slices.DeleteFunc(want, func(at time.Time) bool { return !at.Before(end) })
		if len(got) != len(want) {
			t.Errorf("%s: %d times, want %d", what, len(got), len(want))
			return
		}
		for i := range want {
			if late := got[i].Sub(want[i]); late <= 0 || late > time.Second {
				t.Errorf("%s: at %s, want just after %s", what, got[i], want[i])
			}
		}
	}
	compare("the schedule", y.scheduled, wantScheduled)
	compare("a wait of 31 days", y.told, wantTold)
	hours := map[int]bool{}
	for _, at := range y.scheduled {
		hours[at.Hour()] = true
	}
	if len(hours) != 2 {
		t.Errorf("hours of the day in UTC: %v, want winter's and summer's", hours)
	}
}
