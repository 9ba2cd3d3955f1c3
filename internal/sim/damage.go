package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/tillstream/tillstream/pipeline"
)

// kindDamage is the ledger's world in which, once all is calm, committed data is lost or a topic is made anew. The
// partitions that had got anywhere must stop and say why; the others go on.
const kindDamage = "damage"

// damage is one way to lose what no engine can bring back.
type damage struct {
	name    string
	fault   Fault
	reasons []pipeline.Reason
	do      func(w *world, n int32)
}

var damages = []damage{
	{"the input is cut short", Rollback, []pipeline.Reason{pipeline.ReasonInputTruncated}, func(w *world, n int32) {
		w.b.Topic(topicIn).Parts[n].Truncate(0)
	}},
	{"the input is deleted and created again", Wipe, []pipeline.Reason{pipeline.ReasonInputRecreated}, func(w *world, n int32) {
		if n == 0 {
			w.b.Create(topicIn, int32(w.cfg.Partitions), false)
		}
	}},
	{"the changelog is cut short", Rollback, []pipeline.Reason{pipeline.ReasonChangelogLost, pipeline.ReasonChangelogTruncated}, func(w *world, n int32) {
		w.b.Topic(topicChangelog).Parts[n].Truncate(0)
	}},
	{"the changelog is deleted and created again", Wipe, []pipeline.Reason{pipeline.ReasonChangelogLost}, func(w *world, n int32) {
		if n == 0 {
			w.b.Create(topicChangelog, int32(w.cfg.Partitions), true)
		}
	}},
	{"the changelog comes back with fewer partitions", Wipe, []pipeline.Reason{pipeline.ReasonPartitionsChanged, pipeline.ReasonChangelogLost}, func(w *world, n int32) {
		if n == 0 {
			w.b.Create(topicChangelog, max(1, int32(w.cfg.Partitions)-1), true)
		}
	}},
}

// damageAll does it to every partition, starts every process anew, and looks.
func (w *world) damageAll() {
	d := damages[w.r.IntN(len(damages))]
	w.hit(d.fault, PartLog)
	w.trace("damage: %s", d.name)
	var hurt []int32
	for n := range int32(w.cfg.Partitions) {
		if w.meta(w.stages[0], n).Inputs[topicIn].Next > 0 {
			hurt = append(hurt, n)
		}
	}
	for n := range int32(w.cfg.Partitions) {
		if slices.Contains(hurt, n) || d.fault == Wipe {
			d.do(w, n)
		}
	}
	commits := w.commits
	for _, s := range w.slots {
		if s.proc != nil {
			w.kill(s, "to look at what is left")
		}
		w.start(s)
	}
	began := w.s.Elapsed()
	var look func()
	look = func() {
		why := w.stoppedLoudly(d, hurt)
		switch {
		case w.commits != commits:
			w.violate(16, "%s, and something was committed since", d.name)
		case why == "":
			w.over = true
		case w.s.Elapsed()-began > settleMax:
			w.violate(16, "%s: after %v %s", d.name, settleMax, why)
		default:
			w.s.After(500*time.Millisecond, look)
		}
	}
	w.s.After(500*time.Millisecond, look)
}

// stoppedLoudly tells what is not as it should be; empty: nothing.
func (w *world) stoppedLoudly(d damage, hurt []int32) string {
	reasons := map[int32]pipeline.Reason{}
	for _, s := range w.slots {
		for _, e := range s.engines {
			for _, p := range e.Status() {
				if p.State == "stalled" && p.Remedy != "" {
					reasons[p.Partition] = p.Reason
				}
			}
		}
	}
	for _, n := range hurt {
		if !slices.Contains(d.reasons, reasons[n]) {
			return fmt.Sprintf("partition %d is stalled for %q, want one of %v", n, reasons[n], d.reasons)
		}
	}
	return ""
}
