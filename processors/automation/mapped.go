package automation

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/expressions"
	"github.com/tillstream/tillstream/processors/tags"
	"github.com/tillstream/tillstream/processors/triggers"
	"github.com/tillstream/tillstream/schemas"
)

// mappings takes what the mappings make of the transition into the desired states. It returns those that reached the
// contact; where there are any and none did, that is the error.
func (w *work) mappings(moved bool) ([]*Mapping, error) {
	if moved && w.t.ContactKey != "" && triggers.Creates(w.t) {
		w.created = w.s.create(w.t.RootKey)
	}
	var matched, reached []*Mapping
	for i := range w.rules.Mappings {
		m := &w.rules.Mappings[i]
		if !m.matches(w.t) {
			continue
		}
		matched = append(matched, m)
		if w.merge(m) {
			reached = append(reached, m)
		}
	}
	if len(matched) > 0 && len(reached) == 0 {
		return nil, w.nobody(matched[0])
	}
	return reached, nil
}

func (w *work) nobody(m *Mapping) error {
	reason := "event " + w.t.Event.EventID + " of " + w.t.Event.RootID + " has no e-mail address to write to"
	remedy := "check contact.email of mapping " + m.Name
	if w.t.Orphan {
		reason += ", and its order or customer did not come in time"
		remedy = "load the order from the provider (backfill), then replay this event"
	}
	return &processors.Poison{Cause: schemas.CauseNoContact, Reason: reason, Remedy: remedy}
}

// merge takes what m makes of the transition into the desired state at its destination. It reports false, and changes
// nothing, where there is no e-mail address.
func (w *work) merge(m *Mapping) bool {
	who, _ := m.contact.Run(w.t)
	got := func(part string) string {
		for _, v := range who {
			if v.To == part {
				return v.Value
			}
		}
		return ""
	}
	d := w.s.destination(m.Destination)
	if email := schemas.NormalizeEmail(got(partEmail)); isEmail(email) {
		d.Email = email
	}
	if d.Email == "" {
		return false
	}
	for _, p := range []struct {
		to   *string
		part string
	}{{&d.First, partFirst}, {&d.Last, partLast}, {&d.Phone, partPhone}} {
		if v := got(p.part); v != "" {
			*p.to = v
		}
	}
	var seen expressions.Values
	if m.seesContact || m.tagProgram != nil {
		seen = values{w: w, r: &run{Root: w.t.RootKey}, destination: m.Destination, t: w.t}
	}
	values, issues := m.fields.RunWith(w.t, seen)
	for _, i := range issues {
		w.issues = append(w.issues, issue{m.Destination, m.Name + ": " + i.To + " from " + i.From + ": " + i.Reason})
	}
	d.setFields(values)
	w.tag(&d, m.rule, m.tagsFor(w.t), nil)
	w.tag(&d, m.rule, m.addTags, m.removeTags)
	if m.tagProgram != nil {
		c := m.tagProgram.Run(seen)
		w.tag(&d, m.rule, c.Add, c.Remove)
		for _, i := range c.Issues {
			w.issues = append(w.issues, issue{m.Destination, m.Name + ": " + i})
		}
	}
	w.s.put(d)
	return true
}

// isEmail is a check against text that is plainly something else; the CRM knows better.
func isEmail(s string) bool {
	at := strings.LastIndexByte(s, '@')
	return at > 0 && at < len(s)-1 && !strings.ContainsAny(s, " \t\r\n,;<>")
}

// track makes the events that a mapping tracks at its destination.
func (w *work) track(m *Mapping) {
	d := w.s.find(m.Destination)
	for i := range m.triggers {
		tr := &m.triggers[i]
		if !triggers.Match(tr.when, w.t, w.created) {
			continue
		}
		c := w.command(schemas.CommandEffect, d)
		c.CommandID = id(d.Name, w.key, w.t.Event.EventID, number(w.t.Number), tr.id)
		c.Trigger = tr.id
		c.Rule = m.rule
		c.Contact = schemas.Contact{Email: d.Email}
		c.Effect = &schemas.Effect{Type: schemas.EffectTrackEvent, Name: tr.name, Data: tr.eventData(w.t, c.CommandID)}
		w.emit(c)
	}
}

// matches reports whether the mapping is about this transition.
func (m *Mapping) matches(t *schemas.Transition) bool {
	e := &t.Event
	return (len(m.connections) == 0 || slices.Contains(m.connections, e.Connection)) &&
		(m.resource == "" || m.resource == e.Resource) &&
		(len(m.events) == 0 || triggers.AnyOf(m.events, e.EventType))
}

func (m *Mapping) tagsFor(t *schemas.Transition) []string {
	if m.noTags {
		return nil
	}
	return tags.For(m.tagRules, t.Event.Resource, t.Event.EventType)
}

// dataMax is the number of characters of an event's data that ActiveCampaign keeps.
const dataMax = 250

// idShown is how much of the command id leads the data, so that a read-back of the contact's activities finds it.
const idShown = 12

func (tr *trigger) eventData(t *schemas.Transition, commandID string) string {
	var b strings.Builder
	b.Grow(dataMax)
	b.WriteString("id=")
	b.WriteString(commandID[:idShown])
	switch {
	case tr.fromSource:
		if v := tr.source.Get(t); v != "" {
			b.WriteString(" " + v)
		}
	case tr.text != "":
		b.WriteString(" " + tr.text)
	default:
		b.WriteString(" type=" + t.Event.EventType + " order=" + t.Event.RootID + " status=" + string(t.To))
		if a := t.Event.Amount; a != nil {
			b.WriteString(" amount=" + a.Value + " " + a.Currency)
		}
	}
	if b.Len() <= dataMax && utf8.ValidString(b.String()) {
		return b.String()
	}
	text := []rune(b.String())
	return string(text[:min(len(text), dataMax)])
}
