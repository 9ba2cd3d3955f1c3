package deliver

import (
	"maps"
	"slices"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

const (
	// pausePatience is how long after its end a pause may still hold something back.
	pausePatience = 500 * time.Millisecond
	// pausesRememberedMax bounds what is remembered of destinations and connections.
	pausesRememberedMax = 10_000
)

// Pauses say what people hold back.
type Pauses interface {
	// Paused returns the last pause of a destination or connection, and whether it holds. Where it does not, At is when it
	// ended, if that is known.
	Paused(subject schemas.PauseSubject, name string) (schemas.Pause, bool)
	// Changed returns a channel that is closed at the next change: after one it is another channel.
	Changed() <-chan struct{}
}

// pauseKey names what is paused.
type pauseKey struct {
	subject schemas.PauseSubject
	name    string
}

// pauseState is what was said last.
type pauseState struct {
	pause schemas.Pause
	held  bool
	// until is when a pause that is over ended; zero: there was none that is known.
	until time.Time
}

// watchPauses forgets what it knew of pauses when they changed, and has all that waits looked at again. Deliverer.mu is
// held.
func (d *Deliverer) watchPauses() {
	if d.opts.Pauses == nil {
		return
	}
	changed := d.opts.Pauses.Changed()
	if changed == d.pausesSeen {
		return
	}
	d.pausesSeen = changed
	for k, was := range d.pauses {
		d.pauses[k] = d.askPause(k, was)
	}
	for _, name := range slices.Sorted(maps.Keys(d.lanes)) {
		l := d.lanes[name]
		for _, key := range slices.Sorted(maps.Keys(l.queues)) {
			l.touch(l.queues[key])
		}
	}
}

func (d *Deliverer) askPause(k pauseKey, was pauseState) pauseState {
	p, held := d.opts.Pauses.Paused(k.subject, k.name)
	now := pauseState{pause: p, held: held, until: was.until}
	switch {
	case held:
	case was.held:
		now.until = d.now
	case p.At.After(now.until):
		now.until = p.At
	}
	return now
}

// pauseOf is what is known of a pause. Deliverer.mu is held.
func (d *Deliverer) pauseOf(subject schemas.PauseSubject, name string) pauseState {
	if d.opts.Pauses == nil || name == "" {
		return pauseState{}
	}
	k := pauseKey{subject, name}
	s, known := d.pauses[k]
	if !known {
		s = d.askPause(k, pauseState{})
		if len(d.pauses) >= pausesRememberedMax {
			clear(d.pauses)
		}
		d.pauses[k] = s
	}
	return s
}

// pausedAt reports whether a person holds back all that is for a destination. Deliverer.mu is held.
func (d *Deliverer) pausedAt(destination string) bool {
	return d.pauseOf(schemas.PauseDestination, destination).held
}

// heldBack reports whether a person holds back what a connection's events caused. Deliverer.mu is held.
func (d *Deliverer) heldBack(connection string) bool {
	return d.pauseOf(schemas.PauseConnection, connection).held
}

// since is from when on the time of e runs out: a pause begins it anew. Deliverer.mu is held.
func (d *Deliverer) since(e *entry) time.Time {
	at := e.at
	for _, s := range []pauseState{d.pauseOf(schemas.PauseDestination, e.cmd.Destination), d.pauseOf(schemas.PauseConnection, e.connection)} {
		if s.until.After(at) {
			at = s.until
		}
	}
	return at
}
