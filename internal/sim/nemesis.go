package sim

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/tillstream/tillstream/internal/sim/broker"
	"github.com/tillstream/tillstream/internal/sim/sched"
	"github.com/tillstream/tillstream/pipeline/kafka"
)

// nemesis is what goes wrong: at calls, and by itself.
type nemesis struct {
	w     *world
	r     *rand.Rand
	heals []func()
}

var _ broker.Nemesis = (*nemesis)(nil)

// chance says yes n times in a thousand.
func (n *nemesis) chance(name string) bool {
	rate := n.w.cfg.Rate[name]
	return rate > 0 && !n.w.calm && n.r.Float64()*1000 < rate
}

func (n *nemesis) between(a, b time.Duration) time.Duration {
	return a + time.Duration(n.r.Int64N(int64(b-a)+1))
}

// partOf is the part of the matrix that a request concerns.
func partOf(call string) Part {
	switch {
	case strings.HasPrefix(call, "store-"):
		return PartRedis
	case strings.HasPrefix(call, "crm-"):
		return PartCRM
	case strings.HasPrefix(call, "rows-"):
		return PartClickHouse
	}
	switch call {
	case "join", "sync", "heartbeat", "leave", "offset-fetch", "offset-commit":
		return PartGroup
	case "init-producer", "end-commit", "end-abort", "txn-offset-commit":
		return PartTxn
	}
	return PartLog
}

// mark counts a fault of a request: at the part that it concerns, and at ingest where that is who asked.
func (n *nemesis) mark(f Fault, part Part) {
	n.w.hit(f, part)
	if n.w.cfg.Kind == kindIngest && f != Slow {
		n.w.hit(f, PartIngest)
	}
}

// Fate implements broker.Nemesis.
func (n *nemesis) Fate(p *sched.Proc, call string) broker.Fate {
	var f broker.Fate
	if n.r.IntN(3) > 0 {
		f.Request = n.between(0, 2*time.Millisecond)
	}
	if n.w.calm {
		return f
	}
	part := partOf(call)
	n.strike(p, call, &f)
	switch {
	case call == "end-commit" && n.chance("end-lose"):
		n.mark(Unknown, PartTxn)
		f.LoseAnswer, f.Final = n.r.IntN(3) > 0, n.r.IntN(4) > 0
		f.LoseRequest = !f.LoseAnswer
		if f.Refuse = n.r.IntN(3) == 0; f.Refuse {
			n.mark(Garbage, PartTxn) // UNKNOWN_SERVER_ERROR, whatever happened
			f.LoseRequest = false
		}
	case strings.HasPrefix(call, "produce") && n.chance("log-full"):
		n.mark(DiskFull, PartLog)
		f.LoseRequest, f.Final = true, true
	case n.chance("call-lose"):
		n.mark(Unknown, part)
		f.LoseAnswer = n.r.IntN(2) == 0
		f.LoseRequest, f.Final = !f.LoseAnswer, n.r.IntN(3) == 0
	case n.chance("call-slow"):
		n.mark(Slow, part)
		if f.Answer = n.between(0, 4*time.Second); n.r.IntN(2) == 0 {
			f.Request, f.Answer = f.Answer, 0
			n.mark(Reorder, part) // requests that leave later come before it
		}
	}
	if f.LoseAnswer && !f.Final {
		n.mark(Duplicate, part) // it is sent again
	}
	return f
}

// strike kills or pauses the process that sends a request, before or while it is on its way.
func (n *nemesis) strike(p *sched.Proc, call string, f *broker.Fate) {
	s := n.w.slotOf(p)
	if s == nil {
		return
	}
	part := n.w.partOfProcess()
	switch {
	case (call == "fetch" || call == "store-apply" && s.recovering) && n.w.tombstones() && n.chance("freeze-read"):
		n.freeze(kafka.TombstoneRetention)
	case n.chance("call-kill"), call == "end-commit" && n.chance("end-strike") && n.r.IntN(3) == 0:
		n.w.hit(Crash, part)
		f.LoseRequest = n.r.IntN(2) == 0
		n.w.kill(s, "at "+call)
	case n.chance("call-pause"):
		n.w.hit(Pause, part)
		n.pause(s)
	}
}

// Effect implements broker.Nemesis.
func (n *nemesis) Effect(p *sched.Proc, call string) {
	s := n.w.slotOf(p)
	if s == nil || n.w.calm {
		return
	}
	strike := call == "end-commit" && n.chance("end-strike") || strings.HasPrefix(call, "store-apply") && n.chance("store-strike")
	if !strike && n.r.IntN(4) > 0 {
		return
	}
	switch {
	case strike && n.r.IntN(2) == 0, !strike && n.chance("call-kill"):
		n.w.hit(Crash, n.w.partOfProcess())
		n.w.kill(s, "after "+call)
	case strike, n.chance("call-pause"):
		n.w.hit(Pause, n.w.partOfProcess())
		n.pause(s)
	}
}

// Marker implements broker.Nemesis.
func (n *nemesis) Marker() time.Duration {
	if n.chance("marker-late") {
		n.w.hit(Slow, PartTxn)
		n.w.hit(Reorder, PartTxn)
		return n.between(0, 6*time.Second)
	}
	return n.between(0, 3*time.Millisecond)
}

// pause stops a process for a moment, or for longer than the group waits.
func (n *nemesis) pause(s *slot) {
	d := n.between(10*time.Millisecond, 3*time.Second)
	if n.r.IntN(5) == 0 {
		d = n.between(8*time.Second, 40*time.Second)
		if d > 15*time.Second && len(n.w.slots) > 1 {
			n.w.hit(Duplicate, PartProcessor) // it comes back to what another one has taken over
		}
	}
	n.w.trace("pause %s for %v", s.name, d)
	s.proc.Pause(d)
}

// freeze lets days pass in which no process runs and the brokers compact: the time in which tombstones go.
func (n *nemesis) freeze(least time.Duration) {
	w := n.w
	if w.frozen >= 3 {
		return
	}
	w.frozen++
	d := least + n.between(time.Hour, 300*time.Hour)
	w.hit(Pause, w.partOfProcess())
	w.trace("freeze for %v", d)
	w.compact()
	for _, s := range w.slots {
		if s.proc != nil {
			s.proc.Pause(d + n.between(0, 20*time.Second))
		}
	}
	w.s.Skip(d)
	w.compact()
	if n.w.cfg.Rate["store-rollback"] > 0 && n.r.IntN(3) == 0 {
		w.store.rollback(n.r)
	}
}

// events are the faults that come by themselves.
var events = []struct {
	name   string
	stages bool // only where there are stages
	do     func(n *nemesis)
}{
	{"kill", false, func(n *nemesis) {
		if s := n.anyone(); s != nil {
			n.w.hit(Crash, n.w.partOfProcess())
			n.w.kill(s, "")
		}
	}},
	{"stop", false, func(n *nemesis) {
		if s := n.anyone(); s != nil {
			n.w.trace("stop %s", s.name)
			s.cancel()
		}
	}},
	{"pause", false, func(n *nemesis) {
		if s := n.anyone(); s != nil {
			n.w.hit(Pause, n.w.partOfProcess())
			n.pause(s)
		}
	}},
	{"cut", false, func(n *nemesis) {
		if s := n.anyone(); s != nil {
			for _, part := range []Part{n.w.partOfProcess(), PartLog, PartGroup, PartTxn} {
				n.w.hit(Partition, part)
			}
			p, d := s.proc, n.between(time.Second, 40*time.Second)
			n.w.trace("cut %s for %v", s.name, d)
			n.w.b.Cut(p, true)
			n.undo(d, func() { n.w.b.Cut(p, false) })
		}
	}},
	{"down", false, func(n *nemesis) {
		d := n.between(time.Second, 15*time.Second)
		n.w.hit(Crash, PartLog)
		n.w.hit(Crash, PartTxn)
		n.w.trace("brokers down for %v", d)
		n.w.b.SetDown(true)
		n.undo(d, func() { n.w.b.SetDown(false) })
	}},
	{"leader", false, func(n *nemesis) {
		n.w.hit(Clock, PartLog)
		d := n.between(-90*time.Second, 90*time.Second)
		if n.r.IntN(5) == 0 {
			d = n.between(-time.Hour, time.Hour)
		}
		n.w.trace("the leaders' clock is %v off", d)
		n.w.b.StepClock(d)
	}},
	{"kick", false, func(n *nemesis) {
		n.w.hit(Crash, PartGroup)
		n.w.trace("rebalance")
		for _, g := range n.w.groups() {
			n.w.b.Rebalance(g)
		}
	}},
	{"store-rollback", true, func(n *nemesis) { n.w.store.rollback(n.r) }},
	{"store-wipe", true, func(n *nemesis) { n.w.store.wipe() }},
	{"store-down", true, func(n *nemesis) {
		n.w.hit([]Fault{Crash, Partition}[n.r.IntN(2)], PartRedis)
		n.w.trace("store down")
		n.w.store.down = true
		n.undo(n.between(200*time.Millisecond, 12*time.Second), func() { n.w.store.down = false })
	}},
	{"store-spoil", true, func(n *nemesis) { n.w.store.spoil(n.r) }},
	{"compact", true, func(n *nemesis) { n.w.compact() }},
	{"freeze", true, func(n *nemesis) { n.freeze(kafka.TombstoneRetention / 2) }},
	{"skew", false, func(n *nemesis) {
		if s := n.anyone(); s != nil && n.w.cfg.Skew > 0 {
			n.w.hit(Clock, n.w.partOfProcess())
			s.proc.Skew(s.skew + n.between(-time.Second, time.Second))
		}
	}},
	{"outage", true, func(n *nemesis) {
		if n.w.cfg.hasFlows() && n.w.frozen < 3 {
			n.w.frozen++
			n.w.receivers.outage(2*time.Hour+n.between(0, time.Hour), n.between(time.Second, 25*time.Second))
		}
	}},
	{"rewind", true, func(n *nemesis) { n.w.rewind(n.r) }},
	{"rows-down", false, func(n *nemesis) {
		if l, ok := n.w.role.(*loading); ok {
			n.w.hit([]Fault{Crash, Partition}[n.r.IntN(2)], PartClickHouse)
			l.ch.down = n.w.s.Elapsed() + n.between(time.Second, 20*time.Second)
		}
	}},
	{"crm-down", false, func(n *nemesis) {
		if d, ok := n.w.role.(*delivering); ok {
			n.w.hit([]Fault{Crash, Partition}[n.r.IntN(2)], PartCRM)
			a := d.accounts[n.r.IntN(len(d.accounts))]
			a.down = n.w.s.Elapsed() + n.between(time.Second, 20*time.Second)
		}
	}},
}

// begin plans the faults that come by themselves.
func (n *nemesis) begin() {
	for _, e := range events {
		rate := n.w.cfg.Rate[e.name]
		if rate <= 0 || e.stages && n.w.role != nil {
			continue
		}
		var next func()
		next = func() {
			n.w.s.After(time.Duration(n.r.ExpFloat64()/rate*float64(100*time.Second)), func() {
				if !n.w.calm {
					e.do(n)
					next()
				}
			})
		}
		next()
	}
}

func (n *nemesis) anyone() *slot {
	s := n.w.slots[n.r.IntN(len(n.w.slots))]
	if s.proc == nil {
		return nil
	}
	return s
}

// undo ends a fault after d, or when the world calms down.
func (n *nemesis) undo(d time.Duration, f func()) {
	cancel := n.w.s.After(d, f)
	n.heals = append(n.heals, func() {
		cancel()
		f()
	})
}

// heal ends all that is under way.
func (n *nemesis) heal() {
	for _, f := range n.heals {
		f()
	}
	n.heals = nil
	n.w.b.StepClock(0)
	for _, s := range n.w.slots {
		if s.proc != nil {
			s.proc.Continue()
		}
	}
}
