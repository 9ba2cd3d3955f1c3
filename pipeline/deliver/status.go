package deliver

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/schemas"
)

// Status is a snapshot for people.
type Status struct {
	Partitions   []int32             `json:"partitions"`
	Windows      []WindowStatus      `json:"windows"`
	Destinations []DestinationStatus `json:"destinations"`
	// Connections that people have paused and of which commands wait.
	Connections []ConnectionStatus `json:"connections,omitempty"`
}

// WindowStatus says how one partition of the commands does.
type WindowStatus struct {
	Partition int32 `json:"partition"`
	// State is "checking" until its offsets are known to mean what they say, "catching up" while contact states wait
	// until all is read that an earlier owner may have sent, "running", "full" (no further command is read before one
	// ends: its progress would be too long to write), or "stalled".
	State string `json:"state"`
	// Reason, Detail and Remedy say why it does not go on, or why commands wait to be decoded.
	Reason pipeline.Reason `json:"reason,omitempty"`
	Detail string          `json:"detail,omitempty"`
	Remedy string          `json:"remedy,omitempty"`
	// Unfinished commands are those read and not ended. Of each destination UnfinishedMax of them at most are in memory;
	// Deferred are read again when their turn comes.
	Unfinished    int `json:"unfinished"`
	UnfinishedMax int `json:"unfinished_max"`
	Deferred      int `json:"deferred,omitempty"`
	// Undecoded are those among them whose schema the registry could not be asked for.
	Undecoded int `json:"undecoded,omitempty"`
	// Next is the offset of the next command to be read; -1: not known yet.
	Next int64 `json:"next"`
}

// DestinationStatus says how one destination does.
type DestinationStatus struct {
	Name       string `json:"name"`
	Unfinished int    `json:"unfinished"` // of them Deferred are read again when their turn comes
	Deferred   int    `json:"deferred,omitempty"`
	InFlight   int    `json:"in_flight"`
	// Oldest is when the oldest unfinished command was made; zero: none.
	Oldest time.Time `json:"oldest,omitzero"`
	// Paused says why nothing is sent: "refused" (credentials, an alarm), "asked" (Retry-After), "failing" (the
	// destination is down), or "".
	Paused string    `json:"paused,omitempty"`
	Until  time.Time `json:"until,omitzero"`
	// Detail is what it answered last while it is paused so, Remedy what a person does about it.
	Detail string `json:"detail,omitempty"`
	Remedy string `json:"remedy,omitempty"`
	// HeldBack is set where a person paused the destination: nothing is sent, and Unfinished wait.
	HeldBack *HeldBack `json:"held_back,omitempty"`
}

// ConnectionStatus says what waits because a person paused a connection.
type ConnectionStatus struct {
	Name     string    `json:"name"`
	HeldBack *HeldBack `json:"held_back"`
	// Waiting commands that its events caused are in memory, at all destinations together; deferred ones are not counted.
	Waiting int `json:"waiting"`
}

// HeldBack is a person's pause.
type HeldBack struct {
	By    string    `json:"by"`
	Why   string    `json:"why"`
	Since time.Time `json:"since"`
}

// Status returns what is unfinished and what is held.
func (d *Deliverer) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	var s Status
	for _, w := range d.byPartition() {
		s.Partitions = append(s.Partitions, w.partition)
		s.Windows = append(s.Windows, d.windowStatus(w))
	}
	for _, l := range d.lanes {
		ds := DestinationStatus{Name: l.name, InFlight: l.flying, Paused: l.reason, Until: l.hold}
		if l.reason != "" {
			ds.Detail, ds.Remedy = l.detail, l.remedy
		}
		ds.Unfinished, ds.Oldest = l.unfinished()
		n, oldest := d.deferredOf(l)
		if ds.Deferred, ds.Unfinished = n, ds.Unfinished+n; n > 0 && (ds.Oldest.IsZero() || oldest.Before(ds.Oldest)) {
			ds.Oldest = oldest
		}
		ds.HeldBack = d.pauseOf(schemas.PauseDestination, l.name).person()
		s.Destinations = append(s.Destinations, ds)
	}
	slices.SortFunc(s.Destinations, func(a, b DestinationStatus) int { return strings.Compare(a.Name, b.Name) })
	waiting := map[string]int{}
	if d.opts.Pauses != nil {
		for _, l := range d.lanes {
			l.waitingOf(d.heldBack, waiting)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(waiting)) {
		s.Connections = append(s.Connections, ConnectionStatus{name, d.pauseOf(schemas.PauseConnection, name).person(), waiting[name]})
	}
	return s
}

// person is a pause that holds, for people; nil: there is none.
func (s pauseState) person() *HeldBack {
	if !s.held {
		return nil
	}
	return &HeldBack{By: s.pause.By, Why: s.pause.Why, Since: s.pause.At}
}

// waitingOf counts by connection what a person holds back.
func (l *lane) waitingOf(heldBack func(string) bool, count map[string]int) {
	for _, q := range l.queues {
		for _, e := range q.entries {
			if !e.done && !e.win.dropped && heldBack(e.connection) {
				count[e.connection]++
			}
		}
	}
}

// deferredOf counts what of a destination is deferred, and says when the oldest of it was made. Deliverer.mu is held.
func (d *Deliverer) deferredOf(l *lane) (n int, oldest time.Time) {
	for _, w := range d.windows {
		if s := w.shares[l]; s != nil && s.from >= 0 {
			if n += s.deferred; oldest.IsZero() || s.oldest.Before(oldest) {
				oldest = s.oldest
			}
		}
	}
	return n, oldest
}

// unfinished counts what is read and not ended.
func (w *window) unfinished() int {
	n := len(w.entries) + w.deferred()
	for _, s := range w.shares {
		n -= s.aside // they are both
	}
	return n
}

// deferred counts what is read again later.
func (w *window) deferred() (n int) {
	for _, s := range w.shares {
		if s.from >= 0 {
			n += s.deferred
		}
	}
	return n
}

const stateCatchingUp = "catching up"

// windowStatus is w for people. Deliverer.mu is held.
func (d *Deliverer) windowStatus(w *window) WindowStatus {
	ws := WindowStatus{
		Partition: w.partition, State: "running", Unfinished: w.unfinished(), Deferred: w.deferred(), UnfinishedMax: d.opts.WindowMax,
		Undecoded: w.undecoded(), Next: w.next,
	}
	switch {
	case w.stalled != nil:
		ws.State, ws.Reason, ws.Detail, ws.Remedy = "stalled", w.stalled.reason, w.stalled.err.Error(), w.stalled.remedy
	case w.held:
		ws.State = "checking"
	case w.full():
		ws.State = "full"
	case !w.caughtUp:
		ws.State = stateCatchingUp
	}
	if ws.Undecoded > 0 && w.stalled == nil {
		ws.Reason, ws.Remedy = pipeline.ReasonRegistry, "check the schema registry; the commands are delivered when it answers"
		ws.Detail = fmt.Sprintf("%d commands were written with schemas that only the registry knows, and it cannot be asked", ws.Undecoded)
	}
	return ws
}

// unfinished counts what is to be done, and says when the oldest of it was made; zero: nothing is.
func (l *lane) unfinished() (n int, oldest time.Time) {
	for _, q := range l.queues {
		for _, e := range q.entries {
			if e.done || e.win.dropped {
				continue
			}
			n++
			if oldest.IsZero() || e.at.Before(oldest) {
				oldest = e.at
			}
		}
	}
	return n, oldest
}

// measureWithheld shows what waits for people. Deliverer.mu is held.
func (d *Deliverer) measureWithheld(l *lane) {
	if d.opts.Pauses == nil {
		return
	}
	n, by := 0, map[string]int{}
	if d.pausedAt(l.name) {
		n, _ = l.unfinished()
	} else {
		l.waitingOf(d.heldBack, by)
		for _, c := range by {
			n += c
		}
	}
	d.metrics.withheld.WithLabelValues(l.name).Set(float64(n))
}

// measure refreshes the gauges. Deliverer.mu is held.
func (d *Deliverer) measure() {
	if d.now.Sub(d.measured) < time.Second {
		return
	}
	d.measured = d.now
	for _, l := range d.lanes {
		n, oldest := l.unfinished()
		deferred, first := d.deferredOf(l)
		if n += deferred; deferred > 0 && (oldest.IsZero() || first.Before(oldest)) {
			oldest = first
		}
		d.metrics.backlog.WithLabelValues(l.name).Set(float64(n))
		d.metrics.deferred.WithLabelValues(l.name).Set(float64(deferred))
		d.measureWithheld(l)
		age := 0.0
		if n > 0 {
			age = d.now.Sub(oldest).Seconds()
		}
		d.metrics.oldest.WithLabelValues(l.name).Set(age)
	}
	for _, w := range d.windows {
		d.metrics.window(w, w.full())
	}
}
