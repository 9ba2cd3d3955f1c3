package sim

import (
	"slices"

	"github.com/tillstream/tillstream/internal/sim/broker"
	"github.com/tillstream/tillstream/schemas"
)

// deadLetters are the committed dead letters of a stage.
func (w *world) deadLetters(stage string) (out []*schemas.DeadLetter) {
	for _, r := range w.b.Topic(schemas.TopicDeadLetters).Parts[0].Committed() {
		rec, err := shared.Decode(r.Value)
		if err != nil {
			w.violate(13, "a dead letter cannot be read: %v", err)
			continue
		}
		if d, ok := rec.(*schemas.DeadLetter); ok && d.Stage == stage {
			out = append(out, d)
		}
	}
	return out
}

// checkLetters is invariant 13 by id: every record that the stage refuses has one dead letter, and nothing else has.
func (w *world) checkLetters(u *stageUse, want []string) {
	var got []string
	for _, d := range w.deadLetters(u.topology.Stage.Name()) {
		got = append(got, d.ID+" "+d.Cause)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.violate(13, "dead letters of %s: %v, want %v", u.topology.Stage.Name(), got, want)
	}
}

// decidedElsewhere is told of transactions that are no stage's.
func (w *world) decidedElsewhere(*broker.Txn) {}

// checkElsewhere checks what is no stage's.
func (w *world) checkElsewhere() {
	if w.role != nil {
		w.role.check()
	}
	if w.cfg.Kind == kindOrders || w.cfg.Kind == kindInputs {
		w.checkPaths()
	}
}
