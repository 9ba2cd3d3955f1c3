package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// The checks of workflows that read nothing but the log: what they must let pass, and what not.

func after(s int64) time.Time { return epoch.Add(time.Duration(s) * time.Second) }

// step is a step of the run r1 of the workflow failed, about order o1, in transaction 1.
func step(number, at int64, kind schemas.StepWord, change func(*schemas.RunStep)) told[*schemas.RunStep] {
	s := &schemas.RunStep{
		RunID: "r1", Workflow: "failed", ContactKey: "c1", RootKey: "o1", Number: number, Kind: kind, At: after(at),
	}
	if kind == schemas.StepWaitOpened || kind == schemas.StepWaitMet || kind == schemas.StepWaitNotMet || kind == schemas.StepWaitCorrected {
		s.Step, s.WaitID, s.Deadline = "paid", "r1.1", after(10)
	}
	if change != nil {
		change(s)
	}
	return told[*schemas.RunStep]{s, 1}
}

func comes(at int64, mark int64, rec schemas.Record) arrival {
	a := arrival{rec: rec, at: after(at).UnixMilli()}
	if mark != 0 {
		a.mark = after(mark).UnixMilli()
	}
	return a
}

func paid(change func(*schemas.Transition)) *schemas.Transition {
	t := &schemas.Transition{RootKey: "o1", ContactKey: "c1", Disposition: schemas.Changed, To: schemas.StatusPaid}
	if change != nil {
		change(t)
	}
	return t
}

func TestFindingsOfTheLog(t *testing.T) {
	tick := &schemas.Tick{}
	started, opened, notMet, ended := step(1, 0, schemas.StepStarted, nil), step(2, 0, schemas.StepWaitOpened, nil), step(3, 11, schemas.StepWaitNotMet, nil), step(4, 11, schemas.StepEnded, nil)
	whole := []told[*schemas.RunStep]{started, opened, notMet, ended}
	action := step(3, 1, schemas.StepAction, func(s *schemas.RunStep) { s.CommandID = "x" })
	for _, c := range []struct {
		name string
		s    story
		want []int
	}{
		{"a wait that is not met", story{steps: whole, inbox: []arrival{comes(0, 0, tick), comes(11, 0, tick)}}, nil},
		{"a step is missing", story{steps: []told[*schemas.RunStep]{started, notMet}}, []int{2, 8}},
		{"a step after the end", story{steps: append(slices.Clone(whole), step(5, 12, schemas.StepAction, nil))}, []int{2}},
		{"a step before the start", story{steps: []told[*schemas.RunStep]{step(1, 0, schemas.StepAction, nil)}}, []int{2}},
		{"a run starts twice", story{steps: []told[*schemas.RunStep]{started, step(2, 0, schemas.StepStarted, nil)}}, []int{2, 2}},
		{"two runs for one order", story{steps: []told[*schemas.RunStep]{started, step(1, 1, schemas.StepStarted, func(s *schemas.RunStep) { s.RunID = "r2" })}}, []int{2}},
		{"two runs for two orders", story{steps: []told[*schemas.RunStep]{started, step(1, 1, schemas.StepStarted, func(s *schemas.RunStep) { s.RunID, s.RootKey = "r2", "o2" })}}, nil},
		{"a second run that is only watched", story{steps: []told[*schemas.RunStep]{started, step(1, 1, schemas.StepStarted, func(s *schemas.RunStep) { s.RunID, s.Shadow = "r2", true })}}, nil},
		{"a run that corrects", story{steps: []told[*schemas.RunStep]{started, step(1, 1, schemas.StepStarted, func(s *schemas.RunStep) { s.RunID, s.Detail = "r2", correctsRun+"r1" })}}, nil},
		{"a wait ends twice", story{steps: []told[*schemas.RunStep]{started, opened, notMet, step(4, 12, schemas.StepWaitMet, nil)}}, []int{8}},
		{"a wait opens twice", story{steps: []told[*schemas.RunStep]{started, opened, step(3, 0, schemas.StepWaitOpened, nil)}}, []int{8}},
		{"a correction", story{steps: append(slices.Clone(whole), step(1<<20, 13, schemas.StepWaitCorrected, nil))}, nil},
		{"two corrections", story{steps: append(slices.Clone(whole), step(1<<20, 13, schemas.StepWaitCorrected, nil), step(1<<20, 13, schemas.StepWaitCorrected, nil))}, []int{8}},
		{"a correction of what was met", story{steps: []told[*schemas.RunStep]{started, opened, step(3, 5, schemas.StepWaitMet, nil), step(1<<20, 13, schemas.StepWaitCorrected, nil)}}, []int{8}},
		{"not met at the very deadline", story{steps: []told[*schemas.RunStep]{started, opened, step(3, 10, schemas.StepWaitNotMet, nil)}}, []int{8}},
		{"closed by a person before it", story{steps: []told[*schemas.RunStep]{started, opened, step(3, 5, schemas.StepWaitNotMet, func(s *schemas.RunStep) { s.Detail = closedBy + "ann" })}}, nil},
		{"not met although it was paid", story{steps: whole, inbox: []arrival{comes(5, 0, paid(nil)), comes(11, 0, tick)}}, []int{8}},
		{"not met although it was paid at the very deadline", story{steps: whole, inbox: []arrival{comes(10, 0, paid(nil)), comes(11, 0, tick)}}, []int{8}},
		{"paid after the deadline", story{steps: whole, inbox: []arrival{comes(11, 0, paid(nil))}}, nil},
		{"another order is paid", story{steps: whole, inbox: []arrival{comes(5, 0, paid(func(t *schemas.Transition) { t.RootKey = "o2" })), comes(11, 0, tick)}}, nil},
		{"paid in a test", story{steps: whole, inbox: []arrival{comes(5, 0, paid(func(t *schemas.Transition) { t.Event.Test = true })), comes(11, 0, tick)}}, nil},
		{"receivers were away since long before the deadline", story{steps: whole, inbox: []arrival{comes(0, 0, tick), comes(11, -25, tick)}}, []int{8}},
		{"receivers were there shortly before it", story{steps: whole, inbox: []arrival{comes(0, 0, tick), comes(11, -15, tick)}}, nil},
		{"a command in the transaction of its step", story{steps: []told[*schemas.RunStep]{started, opened, action}, commands: []told[*schemas.Command]{{&schemas.Command{CommandID: "x"}, 1}}}, nil},
		{"a command in another transaction", story{steps: []told[*schemas.RunStep]{started, opened, action}, commands: []told[*schemas.Command]{{&schemas.Command{CommandID: "x"}, 2}}}, []int{2}},
		{"a command that is missing", story{steps: []told[*schemas.RunStep]{started, opened, action}}, []int{2}},
		{"a command twice", story{commands: []told[*schemas.Command]{{&schemas.Command{CommandID: "x"}, 1}, {&schemas.Command{CommandID: "x"}, 1}}}, []int{2}},
	} {
		if c.s.inbox == nil {
			c.s.inbox = []arrival{comes(10, 0, tick), comes(11, 0, tick)}
		}
		var got []int
		for _, f := range c.s.findings() {
			got = append(got, f.invariant)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want the invariants %v", c.name, c.s.findings(), c.want)
		}
	}
}
