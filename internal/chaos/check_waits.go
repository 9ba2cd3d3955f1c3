package main

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/internal/audit"
	"github.com/tillstream/tillstream/schemas"
)

// correctionsFrom: the steps of corrections are counted from here on, beside those of their run.
const correctionsFrom = 1 << 20

// ends says which statuses end a wait of the run's workflows, by workflow and step: the configuration, read a second time
// on purpose. A step that only waits for time has none.
var ends = map[string][]schemas.PaymentStatus{
	"unpaid#paid":      {schemas.StatusPaid, schemas.StatusPartiallyPaid},
	"unpaid#paid-late": {schemas.StatusPaid, schemas.StatusPartiallyPaid},
	"paid#pause":       nil,
	"paid#refunded":    {schemas.StatusRefunded, schemas.StatusPartiallyRefunded},
}

// moment is a transition as it came to a contact: at is stream time.
type moment struct {
	at int64
	t  *schemas.Transition
}

// waitsSeen is what the folds and the topics tell of waits.
type waitsSeen struct {
	came                         map[string][]moment // by contact
	runs, met, notMet, corrected int
	open, fired, held, answers   int
}

// wait is one wait, as its steps tell.
type wait struct {
	opened, ended, corrected []*schemas.RunStep
}

// runs holds the steps of runs against rules of their own, whatever the stage would say: each step is there once and
// without gap, each wait ends once at the most and within its time, no deadline passed that an earlier record had
// ended, and each command of a run is there once, with the step that made it.
func (c *checker) runs() {
	waits, numbers := map[string]*wait{}, map[string]map[int64]bool{}
	commands := map[string]int{}
	for _, r := range c.past.of(schemas.TopicRuns) {
		s, ok := c.decoded[r].(*schemas.RunStep)
		if !ok {
			c.found.add("runs", letterID(r), "it is a %s", c.decoded[r].RecordName())
			continue
		}
		if numbers[s.RunID] == nil {
			numbers[s.RunID] = map[int64]bool{}
		}
		if numbers[s.RunID][s.Number] {
			c.found.add("runs", s.RunID, "step no. %d is there twice", s.Number)
		}
		numbers[s.RunID][s.Number] = true
		if s.CommandID != "" && (s.Kind == schemas.StepAction || s.Kind == schemas.StepAsked) {
			commands[s.CommandID]++
		}
		if s.WaitID == "" {
			continue
		}
		if waits[s.WaitID] == nil {
			waits[s.WaitID] = &wait{}
		}
		switch x := waits[s.WaitID]; s.Kind {
		case schemas.StepWaitOpened:
			x.opened = append(x.opened, s)
		case schemas.StepWaitMet, schemas.StepWaitNotMet:
			x.ended = append(x.ended, s)
		case schemas.StepWaitCorrected:
			x.corrected = append(x.corrected, s)
		}
	}
	for id, seen := range numbers {
		last := int64(0)
		for n := range seen {
			if n < correctionsFrom {
				last = max(last, n)
			}
		}
		for n := int64(1); n < last; n++ {
			if !seen[n] {
				c.found.add("runs", id, "step no. %d of %d is missing", n, last)
			}
		}
	}
	c.waits.runs = len(numbers)
	for _, id := range slices.Sorted(maps.Keys(waits)) {
		c.wait(id, waits[id])
	}
	c.madeOnce(commands)
}

// wait checks one wait.
func (c *checker) wait(id string, x *wait) {
	bad := func(format string, args ...any) { c.found.add("waits", id, format, args...) }
	if len(x.opened) != 1 || len(x.ended) > 1 || len(x.corrected) > 1 {
		bad("it was opened %d times, ended %d times, and corrected %d times", len(x.opened), len(x.ended), len(x.corrected))
		return
	}
	opened := x.opened[0]
	statuses, known := ends[opened.Workflow+"#"+opened.Step]
	if !known || opened.Deadline.IsZero() {
		bad("the checker knows no wait %s#%s until %v", opened.Workflow, opened.Step, opened.Deadline)
		return
	}
	if len(x.corrected) == 1 {
		c.waits.corrected++
	}
	if len(x.ended) == 0 {
		if c.waits.open++; len(x.corrected) > 0 {
			bad("it was corrected and never ended")
		}
		return
	}
	e := x.ended[0]
	late := e.At.After(opened.Deadline)
	if e.Number <= opened.Number || e.At.Before(opened.At) || !e.Deadline.Equal(opened.Deadline) {
		bad("opened as no. %d at %v until %v, it ended as no. %d at %v, until %v", opened.Number, opened.At, opened.Deadline, e.Number, e.At, e.Deadline)
	}
	if e.Kind == schemas.StepWaitNotMet {
		c.waits.notMet++
	} else {
		c.waits.met++
	}
	if byTime := statuses == nil || e.Kind == schemas.StepWaitNotMet; byTime && !late {
		bad("its time was up at %v, before its deadline %v", e.At, opened.Deadline)
	} else if byTime && e.Kind == schemas.StepWaitNotMet {
		if m, ok := c.missed(opened, statuses); ok {
			bad("its time was up at %v, and before its deadline %v, at %v, %s of its order had become %s",
				e.At, opened.Deadline, time.UnixMilli(m.at).UTC(), m.t.Event.EventID, m.t.To)
		}
	}
	if len(x.corrected) == 1 && e.Kind != schemas.StepWaitNotMet {
		bad("it was met, and corrected")
	}
}

// missed looks for a change of the run's order that came after the wait was opened and no later than its deadline. One
// stamped as the opening itself may have come before it, and what comes under a further name of the contact goes on to him.
func (c *checker) missed(opened *schemas.RunStep, statuses []schemas.PaymentStatus) (moment, bool) {
	if !strings.Contains(opened.ContactKey, "@") {
		return moment{}, false
	}
	for _, m := range c.waits.came[opened.ContactKey] {
		in := m.at > opened.At.UnixMilli() && m.at <= opened.Deadline.UnixMilli()
		if in && m.t.RootKey == opened.RootKey && m.t.Disposition == schemas.Changed && slices.Contains(statuses, m.t.To) {
			return m, true
		}
	}
	return moment{}, false
}

// madeOnce: each effect and each question is written once, and each of a run has one step that made it.
func (c *checker) madeOnce(made map[string]int) {
	want, got, all := map[string]int{}, map[string]int{}, map[string]int{}
	for id, n := range made {
		want[id] = n
	}
	for _, r := range c.past.of(schemas.TopicCommands) {
		cmd, ok := c.decoded[r].(*schemas.Command)
		if !ok {
			continue
		}
		if all[cmd.CommandID]++; all[cmd.CommandID] == 2 {
			c.found.add("commands", cmd.CommandID, "a %s is written twice", cmd.Kind)
		}
		if cmd.RunID != "" && cmd.Kind != schemas.CommandContact {
			got[cmd.CommandID]++
		}
	}
	c.compareCounts("commands of runs", want, got)
}

// waitsInto takes what was seen of waits into the result. That a deadline has passed which nobody acted on is a violation.
func (c *checker) waitsInto(r *result) {
	s := &c.waits
	r.Runs, r.WaitsMet, r.WaitsNotMet, r.WaitsCorrected = s.runs, s.met, s.notMet, s.corrected
	r.TimersFired, r.TimersHeld, r.Answers = s.fired, s.held, s.answers
	if s.open > 0 {
		c.found.add("waits", "at rest", "%d waits are open, although the time of each was up long ago", s.open)
	}
}

// stepsInto gives the steps of runs to the audit.
func (c *checker) stepsInto(in *audit.Inside) {
	for _, r := range c.past.of(schemas.TopicRuns) {
		if s, ok := c.decoded[r].(*schemas.RunStep); ok {
			in.Steps = append(in.Steps, audit.InsideStep{RunID: s.RunID, Kind: string(s.Kind), WaitID: s.WaitID, CommandID: s.CommandID, Number: s.Number})
		}
	}
}
