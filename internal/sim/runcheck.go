package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/tillstream/tillstream/internal/sim/broker"
	"github.com/tillstream/tillstream/schemas"
)

// The checks of workflows here read the log only, and know nothing of the stage's code: what the fold computes with that
// code would be wrong where the code is.

// told is one record of a log with the transaction that wrote it; 0: none.
type told[R any] struct {
	rec R
	txn int
}

// arrival is one record of a partition of the inbox, in its order, with the stream time at which it was applied and what
// ticks had told of the watermark by then (0: nothing).
type arrival struct {
	rec      schemas.Record
	at, mark int64 // Unix milliseconds
}

// story is what the log says of the contacts of one partition.
type story struct {
	inbox    []arrival
	steps    []told[*schemas.RunStep]
	commands []told[*schemas.Command]
}

// finding is a broken invariant, by the number of testing.md.
type finding struct {
	invariant int
	text      string
}

// spec is what the checks know of the world's workflows.
var spec = struct {
	once     map[string]bool // one run for each order; the value: for each contact
	deadline map[string]schemas.PaymentStatus
}{
	once: map[string]bool{"failed": false, "moved": true},
	// A wait for this status of the run's order, whatever else is known.
	deadline: map[string]schemas.PaymentStatus{"failed#paid": schemas.StatusPaid},
}

// findings lists what is wrong with a story.
func (s *story) findings() (out []finding) {
	report := func(invariant int, format string, args ...any) {
		out = append(out, finding{invariant, fmt.Sprintf(format, args...)})
	}
	s.checkRuns(report)
	s.checkOnce(report)
	s.checkWaits(report)
	s.checkCommands(report)
	return out
}

type reporter func(invariant int, format string, args ...any)

// checkRuns: the steps of a run are numbered, begin with its start, and end with its end.
func (s *story) checkRuns(report reporter) {
	last, started, over := map[string]int64{}, map[string]bool{}, map[string]schemas.StepWord{}
	for _, t := range s.steps {
		r := t.rec
		if r.Kind == schemas.StepWaitCorrected {
			continue // tells of a wait after its run went on
		}
		if r.Number != last[r.RunID]+1 {
			report(2, "step %d of run %s of %s follows step %d", r.Number, r.RunID, r.Workflow, last[r.RunID])
		}
		if word := over[r.RunID]; word != "" {
			report(2, "run %s of %s is %s and then has a step %s", r.RunID, r.Workflow, word, r.Kind)
		}
		last[r.RunID] = r.Number
		switch r.Kind {
		case schemas.StepStarted:
			if started[r.RunID] {
				report(2, "run %s of %s starts twice", r.RunID, r.Workflow)
			}
			started[r.RunID] = true
		case schemas.StepNotStarted, schemas.StepEnded, schemas.StepStopped:
			over[r.RunID] = r.Kind
		case schemas.StepAsked, schemas.StepMigrated: // may come before the start
		default:
			if !started[r.RunID] {
				report(2, "run %s of %s has a step %s before it starts", r.RunID, r.Workflow, r.Kind)
			}
		}
	}
}

const correctsRun = "corrects the run "

// checkOnce: what runs once does, whatever was repeated.
func (s *story) checkOnce(report reporter) {
	ran := map[string]string{}
	for _, t := range s.steps {
		r := t.rec
		contact, once := spec.once[r.Workflow]
		if !once || r.Kind != schemas.StepStarted || r.Shadow || strings.HasPrefix(r.Detail, correctsRun) {
			continue
		}
		scope := r.Workflow + " " + r.ContactKey
		if !contact {
			scope += " " + r.RootKey
		}
		if other := ran[scope]; other != "" {
			report(2, "%s runs once, and does as %s and %s", scope, other, r.RunID)
		}
		ran[scope] = r.RunID
	}
}

const closedBy = "closed by "

// openWait is one that was opened and has not ended.
type openWait struct {
	step     *schemas.RunStep
	deadline int64 // Unix milliseconds; 0: never
}

// checkWaits: each wait ends once, at its deadline only if nothing that came before ends it, and not because nobody was
// there to take what would have.
func (s *story) checkWaits(report reporter) {
	open, ended, corrected := map[string]*openWait{}, map[string]schemas.StepWord{}, map[string]bool{}
	for _, t := range s.steps {
		r := t.rec
		w := open[r.WaitID]
		switch r.Kind {
		case schemas.StepWaitOpened:
			if w != nil || ended[r.WaitID] != "" {
				report(8, "wait %s of %s is opened twice", r.WaitID, r.Workflow)
			}
			open[r.WaitID] = &openWait{r, millis(r.Deadline)}
		case schemas.StepMigrated:
			if w != nil {
				w.deadline = millis(r.Deadline)
			}
		case schemas.StepWaitMet, schemas.StepWaitNotMet:
			if w == nil {
				report(8, "wait %s of %s ends as %s; before, it was %q", r.WaitID, r.Workflow, r.Kind, ended[r.WaitID])
				continue
			}
			delete(open, r.WaitID)
			ended[r.WaitID] = r.Kind
			s.checkEnd(report, w, r)
		case schemas.StepWaitCorrected:
			if ended[r.WaitID] != schemas.StepWaitNotMet || corrected[r.WaitID] {
				report(8, "wait %s of %s is corrected; it was %q, corrected before: %v", r.WaitID, r.Workflow, ended[r.WaitID], corrected[r.WaitID])
			}
			corrected[r.WaitID] = true
		}
	}
}

// byTime reports whether the wait ended because its time had come.
func byTime(r *schemas.RunStep) bool {
	return !strings.HasPrefix(r.Detail, closedBy) && (r.Kind == schemas.StepWaitNotMet || r.Detail == "the time has come")
}

// checkEnd looks at the end of one wait.
func (s *story) checkEnd(report reporter, w *openWait, end *schemas.RunStep) {
	at := end.At.UnixMilli()
	if !byTime(end) {
		return
	}
	if w.deadline == 0 || at <= w.deadline {
		report(8, "wait %s of %s ends by time at %d; its deadline is %d", end.WaitID, end.Workflow, at, w.deadline)
	}
	status, known := spec.deadline[end.Workflow+"#"+end.Step]
	held, mark := true, int64(0)
	for _, a := range s.inbox {
		if a.at > at {
			break
		}
		if mark = a.mark; a.at == at && (mark == 0 || w.deadline < mark+lease) {
			held = false // one of the records at that time may fire it
		}
		t, ok := a.rec.(*schemas.Transition)
		if !known || !ok || a.at <= w.step.At.UnixMilli() || a.at > w.deadline || t.Event.Test && !end.Test {
			continue
		}
		if t.RootKey == end.RootKey && t.ContactKey == end.ContactKey && t.Disposition == schemas.Changed && t.To == status {
			report(8, "wait %s of %s ends as not met at %d, and event %s of %d lies before it in the log", end.WaitID, end.Workflow, at, t.Event.EventID, a.at)
		}
	}
	if held {
		report(8, "wait %s of %s ends by time for a deadline at %d, and receivers were there until %d", end.WaitID, end.Workflow, w.deadline, mark)
	}
}

// checkCommands: no id stands twice, and what a step says it did is in its transaction.
func (s *story) checkCommands(report reporter) {
	txn := map[string]int{}
	for _, t := range s.commands {
		if _, twice := txn[t.rec.CommandID]; twice {
			report(2, "command %s (%s of %s) is there twice", t.rec.CommandID, t.rec.Kind, t.rec.Rule)
		}
		txn[t.rec.CommandID] = t.txn
	}
	for _, t := range s.steps {
		if id := t.rec.CommandID; id != "" && (t.rec.Kind == schemas.StepAction || t.rec.Kind == schemas.StepAsked) {
			if at, ok := txn[id]; !ok && t.rec.Kind == schemas.StepAction || ok && at != t.txn {
				report(2, "a step of %s is in transaction %d, and its command %s in %d (there: %v)", t.rec.Workflow, t.txn, id, at, ok)
			}
		}
	}
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// checkFlows reads the log of each partition and checks it.
func (w *world) checkFlows(u *stageUse) {
	stories := make([]*story, w.cfg.Partitions)
	for n := range stories {
		stories[n] = &story{inbox: w.arrivals(u, int32(n))}
	}
	of := func(contact string) *story { return stories[partitionOf(contact, w.cfg.Partitions)] }
	for _, topic := range []string{schemas.TopicRuns, schemas.TopicCommands} {
		for _, p := range w.b.Topic(topic).Parts {
			for _, e := range p.All {
				if e.Marker || e.Txn == nil || e.Txn.State != broker.Committed {
					continue
				}
				switch rec := decoded(w, e).(type) {
				case *schemas.RunStep:
					s := of(rec.ContactKey)
					s.steps = append(s.steps, told[*schemas.RunStep]{rec, e.Txn.Number})
				case *schemas.Command:
					s := of(rec.ContactKey)
					s.commands = append(s.commands, told[*schemas.Command]{rec, e.Txn.Number})
				}
			}
		}
	}
	for _, s := range stories {
		for _, f := range s.findings() {
			w.violate(f.invariant, "%s", f.text)
		}
	}
}

func decoded(w *world, e *broker.Entry) schemas.Record {
	rec, err := shared.Decode(e.Record.Value)
	if err != nil {
		w.violate(2, "an output to %s cannot be read: %v", e.Record.Topic, err)
	}
	return rec
}

// arrivals is what a partition of the inbox brought, as far as it can be read.
func (w *world) arrivals(u *stageUse, n int32) (list []arrival) {
	var at, mark int64
	for _, r := range w.input(u, u.topology.Inbox, n) {
		at = max(at, stampOf(r))
		rec, err := shared.Decode(r.Value)
		if err != nil {
			rec = nil
		}
		if t, ok := rec.(*schemas.Tick); ok && !t.Watermark.IsZero() {
			mark = max(mark, min(t.Watermark.UnixMilli(), at))
		}
		list = append(list, arrival{rec, at, mark})
	}
	return list
}
