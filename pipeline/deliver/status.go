package deliver

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/pipeline"
)

// Status is a snapshot for people.
type Status struct {
	Partitions   []int32             `json:"partitions"`
	Windows      []WindowStatus      `json:"windows"`
	Destinations []DestinationStatus `json:"destinations"`
}

// WindowStatus says how one partition of the commands does.
type WindowStatus struct {
	Partition int32 `json:"partition"`
	// State is "checking" until its offsets are known to mean what they say, "catching up" while contact states wait
	// until all is read that an earlier owner may have sent, "running", "full" (no further command is read before one
	// ends), or "stalled".
	State string `json:"state"`
	// Reason, Detail and Remedy say why it does not go on, or why commands wait to be decoded.
	Reason pipeline.Reason `json:"reason,omitempty"`
	Detail string          `json:"detail,omitempty"`
	Remedy string          `json:"remedy,omitempty"`
	// Unfinished commands are held, of UnfinishedMax at most; long gaps between them, or large ones, leave room for fewer.
	Unfinished    int `json:"unfinished"`
	UnfinishedMax int `json:"unfinished_max"`
	// Undecoded are those among them whose schema the registry could not be asked for.
	Undecoded int `json:"undecoded,omitempty"`
	// Next is the offset of the next command to be read; -1: not known yet.
	Next int64 `json:"next"`
}

// DestinationStatus says how one destination does.
type DestinationStatus struct {
	Name       string `json:"name"`
	Unfinished int    `json:"unfinished"`
	InFlight   int    `json:"in_flight"`
	// Oldest is when the oldest unfinished command was made; zero: none.
	Oldest time.Time `json:"oldest,omitzero"`
	// Paused says why nothing is sent: "refused" (credentials, an alarm), "asked" (Retry-After), "failing" (the
	// destination is down), or "".
	Paused string    `json:"paused,omitempty"`
	Until  time.Time `json:"until,omitzero"`
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
		ds.Unfinished, ds.Oldest = l.unfinished()
		s.Destinations = append(s.Destinations, ds)
	}
	slices.SortFunc(s.Destinations, func(a, b DestinationStatus) int { return strings.Compare(a.Name, b.Name) })
	return s
}

const stateCatchingUp = "catching up"

// windowStatus is w for people. Deliverer.mu is held.
func (d *Deliverer) windowStatus(w *window) WindowStatus {
	ws := WindowStatus{
		Partition: w.partition, State: "running", Unfinished: w.open, UnfinishedMax: d.opts.WindowMax,
		Undecoded: w.undecoded(), Next: w.next,
	}
	switch {
	case w.stalled != nil:
		ws.State, ws.Reason, ws.Detail, ws.Remedy = "stalled", w.stalled.reason, w.stalled.err.Error(), w.stalled.remedy
	case w.held:
		ws.State = "checking"
	case w.full(d.opts.WindowMax):
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

// measure refreshes the gauges. Deliverer.mu is held.
func (d *Deliverer) measure() {
	if d.now.Sub(d.measured) < time.Second {
		return
	}
	d.measured = d.now
	for _, l := range d.lanes {
		n, oldest := l.unfinished()
		d.metrics.backlog.WithLabelValues(l.name).Set(float64(n))
		age := 0.0
		if n > 0 {
			age = d.now.Sub(oldest).Seconds()
		}
		d.metrics.oldest.WithLabelValues(l.name).Set(age)
	}
	for _, w := range d.windows {
		d.metrics.window(w, w.full(d.opts.WindowMax))
	}
}
