package sim

import (
	"math/rand/v2"
	"time"

	"github.com/tillstream/tillstream/pipeline/beat"
)

// receivers beat as package beat's do, and are away at times. Their board is what every process knows; it may know it
// late, as a topic is read.
type receivers struct {
	w     *world
	r     *rand.Rand
	board beat.Board
	grace time.Duration
	up    bool
	life  int         // counts the outages that ended a receiver
	known []time.Time // the watermark after each of the last beats, oldest first

	calmAt time.Duration
	told   time.Time // a watermark that every owner must have told
}

const (
	// lateBeats is how many beats late a process knows the watermark.
	lateBeats = 2
	keptBeats = lateBeats + 4
	// toldWithin is how soon every owner has told the watermark when there are no faults.
	toldWithin = 12 * time.Second
)

// newReceivers draws whether there are any: in half of the worlds with stages.
func newReceivers(w *world, r *rand.Rand) *receivers {
	if w.role != nil || r.IntN(2) == 0 {
		return nil
	}
	return &receivers{w: w, r: r, grace: time.Duration(r.IntN(20)) * time.Second}
}

func (x *receivers) begin() {
	if x == nil {
		return
	}
	x.w.s.After(time.Duration(x.r.IntN(3000))*time.Millisecond, x.comes)
}

// comes begins to beat, for a while.
func (x *receivers) comes() {
	if x.up || x.w.over {
		return
	}
	x.up = true
	b := x.board.Begin("receiver", x.w.s.Now(), x.grace)
	if !b.OutageFrom.IsZero() {
		x.w.hit(Crash, PartIngest)
	}
	x.w.trace("a receiver is there; outage from %v", b.OutageFrom)
	life := x.life
	until := x.w.s.Elapsed() + time.Duration(10+x.r.IntN(60))*time.Second
	last := x.w.s.Now()
	var next func()
	next = func() {
		if x.w.over || x.life != life {
			return
		}
		if now := x.w.s.Now(); now.Sub(last) > beat.Gap { // the machines stood still
			b = x.board.Begin("receiver", now, x.grace)
		}
		last = x.w.s.Now()
		if !x.w.calm && x.w.s.Elapsed() > until {
			x.up = false
			x.w.trace("no receiver is there")
			x.w.s.After(time.Duration(5+x.r.IntN(80))*time.Second, x.comes)
			return
		}
		x.board.Take(b, x.w.s.Now())
		x.known = append(x.known, x.board.Watermark(x.grace))
		x.known = x.known[max(0, len(x.known)-keptBeats):]
		x.w.s.After(beat.Every, next)
	}
	next()
}

// outage lets time pass in which no receiver is there, and then some until one comes back: the processes are at work
// again before it.
func (x *receivers) outage(d, more time.Duration) {
	if x == nil || !x.up {
		return
	}
	x.w.hit(Crash, PartIngest)
	x.w.trace("no receiver is there for %v, and %v more", d, more)
	x.up = false
	x.life++
	for _, s := range x.w.slots {
		if s.proc != nil {
			s.proc.Pause(d + x.w.nemesis.between(0, 5*time.Second))
		}
	}
	x.w.s.Skip(d)
	x.w.s.After(more, x.comes)
}

// calm has a receiver come back.
func (x *receivers) calm() {
	if x != nil {
		x.calmAt = x.w.s.Elapsed()
		x.comes()
	}
}

// watermark is what a process knows of it.
func (x *receivers) watermark() time.Time {
	if x == nil || len(x.known) == 0 {
		return time.Time{}
	}
	return x.known[max(0, len(x.known)-lateBeats)]
}

// stops notes what must have been told by now, when the processes are asked to end: what they knew keptBeats before, if
// the faults ended long enough ago for every owner to have told it.
func (x *receivers) stops() {
	if x != nil && x.w.s.Elapsed()-x.calmAt >= toldWithin && len(x.known) == keptBeats {
		x.told = x.known[0]
	}
}

// released reports whether a deadline, in Unix milliseconds, is one that no process may have held to the end.
func (x *receivers) released(deadline int64) bool {
	return x != nil && !x.told.IsZero() && deadline < x.told.UnixMilli()+lease
}
