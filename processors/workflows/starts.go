package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/processors/triggers"
	"github.com/tillstream/tillstream/schemas"
)

var weekdays = []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"} // by time.Weekday

func (c *compiler) starts() {
	if len(c.f.Start) == 0 {
		c.report("start", "a workflow needs at least one start", "for example: {on: payment-status-changed, status: [PAID]}")
	}
	moved, clock := End, End
	for i, s := range c.f.Start {
		if s.On == triggers.Schedule {
			if clock == End {
				clock = i
			}
			if first := c.f.Start[clock]; first.If != s.If || first.List != s.List {
				c.report(fmt.Sprintf("start[%d]", i), fmt.Sprintf("has another if or list than start[%d]", clock), "the schedules of a file share them; make a file of each")
			}
		}
		if s.On == triggers.MovedHere {
			if moved != End {
				c.report(fmt.Sprintf("start[%d]", i), fmt.Sprintf("is a second moved-here beside start[%d]", moved), "put both conditions into one, with ||")
			}
			moved = i
		}
		c.p.Starts = append(c.p.Starts, c.start(fmt.Sprintf("start[%d]", i), s))
	}
}

// noEvents are the triggers that no transition sets off.
func noEvents() []string {
	return slices.DeleteFunc(triggers.IDs(), func(id string) bool { return slices.Contains(triggers.EventIDs(), id) })
}

func (c *compiler) start(at string, s FileStart) Start {
	out := Start{If: c.condition(at+".if", s.If), List: s.List, History: s.History}
	if s.List != "" {
		c.name(at+".list", s.List, "a list")
		c.asks(at+".list", c.f.Destination)
	}
	event, clock := false, false
	switch s.On {
	case triggers.TagAdded:
		out.Tag = c.name(at+".tag", s.Tag, "the tag")
		if c.f.Destination == "" {
			c.report(at+".tag", "whose tag?", "name the destination at the head of the file")
		}
	case triggers.MovedHere:
		out.Moved = true
	case triggers.Schedule:
		clock = true
		out.Schedule = &Schedule{Daily: c.daily(at, s.At, s.Days, s.Zone)}
	default:
		event = true
		c.oneOf(at+".on", s.On, "trigger", append(slices.Clone(c.triggers), noEvents()...))
		out.Event = c.event(at, s.event())
	}
	c.foreign(at, s.On, []key{
		{"tag", s.Tag != "", s.On == triggers.TagAdded, "tag-added"},
		{"at", s.At != "", clock, "schedule"},
		{"days", len(s.Days) > 0, clock, "schedule"},
		{"zone", s.Zone != "", clock, "schedule"},
		{"connections", len(s.Connections) > 0, event, "events"},
		{"environment", s.Environment != "", event, "events"},
		{"events", len(s.Events) > 0, event, "events"},
		{"products", len(s.Products) > 0, event, "events"},
		{"status", !event && len(s.Status) > 0, false, triggers.StatusChanged},
		{"from", !event && len(s.From) > 0, false, triggers.StatusChanged},
		{"history", s.History, event, "events"},
	})
	return out
}

// key is one key of a mapping: whether it is set, whether it may be, and what it is for.
type key struct {
	name     string
	set, may bool
	of       string
}

func (c *compiler) foreign(at, on string, keys []key) {
	for _, k := range keys {
		if k.set && !k.may {
			c.report(at+"."+k.name, fmt.Sprintf("%s has no %s", on, k.name), "it is for "+k.of+"; remove it here")
		}
	}
}

// event compiles what starts and waits share.
func (c *compiler) event(at string, f FileWaitFor) *Event {
	e := &Event{
		On: f.On, Connections: c.names(at+".connections", f.Connections, "a connection"),
		Environment: word(c, at+".environment", f.Environment, "", schemas.Live, schemas.Sandbox),
		Types:       c.names(at+".events", f.Events, "an event type"),
		Status:      c.names(at+".status", f.Status, "a status"), From: c.names(at+".from", f.From, "a status"),
		Products: c.names(at+".products", f.Products, "a product"),
	}
	for i, name := range e.Connections {
		c.oneOf(fmt.Sprintf("%s.connections[%d]", at, i), name, "connection", c.known.Connections)
	}
	for i, pattern := range e.Types {
		if strings.Contains(strings.TrimSuffix(pattern, "*"), "*") {
			c.report(fmt.Sprintf("%s.events[%d]", at, i), fmt.Sprintf("%.60q is no event type", pattern), "write an event type, or its beginning and one * at the end")
		}
	}
	for i, status := range e.From { // the status before is only known in our words
		c.oneOf(fmt.Sprintf("%s.from[%d]", at, i), status, "status", triggers.Statuses())
	}
	c.foreign(at, f.On, []key{
		{"status", len(f.Status) > 0, f.On == triggers.StatusChanged, triggers.StatusChanged},
		{"from", len(f.From) > 0, f.On == triggers.StatusChanged, triggers.StatusChanged},
	})
	return e
}

// asks checks that a destination can say who is on a list.
func (c *compiler) asks(field, destination string) {
	if destination == "" {
		c.report(field, "which destination's list?", "name the destination at the head of the file")
		return
	}
	c.destination(field, destination, AskList)
}

// daily reads a time of day on chosen weekdays.
func (c *compiler) daily(at, clock string, days []string, zone string) Daily {
	d := Daily{Days: c.days(at+".days", days), Zone: c.zone(at+".zone", zone)}
	if minutes, ok := c.clock(at+".at", clock); ok {
		d.Hour, d.Minute = minutes/60, minutes%60
	}
	return d
}

// clock reads a time of day, in minutes since midnight.
func (c *compiler) clock(field, text string) (int, bool) {
	t, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("09:00") {
		c.report(field, fmt.Sprintf("%.40q is no time of day", text), "write hours and minutes, for example 09:00 or 17:30")
		return 0, false
	}
	return t.Hour()*60 + t.Minute(), true
}

func (c *compiler) days(field string, names []string) (set [7]bool) {
	for i, n := range c.names(field, names, "a day") {
		if day := slices.Index(weekdays, n); day >= 0 {
			set[day] = true
		} else {
			c.oneOf(fmt.Sprintf("%s[%d]", field, i), n, "day of the week", weekdays)
		}
	}
	return set
}

// hours reads business hours.
func (c *compiler) hours(at string, f *FileHours) *Hours {
	h := &Hours{Days: [7]bool{time.Monday: true, time.Tuesday: true, time.Wednesday: true, time.Thursday: true, time.Friday: true}, Zone: c.zone(at+".zone", f.Zone)}
	if len(f.Days) > 0 {
		h.Days = c.days(at+".days", f.Days)
	}
	var from, to bool
	h.From, from = c.clock(at+".from", f.From)
	if h.To, to = 24*60, true; f.To != "24:00" {
		h.To, to = c.clock(at+".to", f.To)
	}
	if from && to && h.From >= h.To {
		c.report(at+".to", "the hours end before they begin", "hours over midnight are two steps: one until 24:00, one from 00:00")
	}
	return h
}
