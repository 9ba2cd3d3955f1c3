// Package automation decides what a status transition means for the customer's contact: which fields and tags it should
// have at which CRM, and which events are to be tracked there.
//
// It keeps a contact's desired state per destination, and emits it as a whole whenever it changes. What no mapping
// mentions is not part of it, so that it is left alone at the CRM.
package automation

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/tags"
	"github.com/tillstream/tillstream/processors/triggers"
	"github.com/tillstream/tillstream/schemas"
)

// Stage is the automation stage: automation.inbox in, crm.commands out. It holds no state of its own and may be shared.
type Stage struct{ rules Rules }

var _ processors.Stage[State] = (*Stage)(nil)

// New returns the stage that follows these rules.
func New(r Rules) *Stage { return &Stage{r} }

// Name implements processors.Stage.
func (*Stage) Name() string { return "automation" }

// Version implements processors.Stage.
func (*Stage) Version() processors.StageVersion { return 1 }

// Key is the contact's key, for transitions; ticks concern no state.
func (*Stage) Key(in processors.Input) (string, bool) {
	t, ok := in.Record.(*schemas.Transition)
	if !ok {
		return "", false
	}
	if in.Key != "" {
		return in.Key, true
	}
	if t.ContactKey != "" {
		return t.ContactKey, true
	}
	return t.RootKey, true
}

// Timers implements processors.Stage: this version waits for nothing.
func (*Stage) Timers(State) []processors.Timer { return nil }

// Apply implements processors.Stage. Its errors are *processors.Poison.
func (st *Stage) Apply(s State, in processors.Input) (State, []processors.Output, error) {
	t, ok := in.Record.(*schemas.Transition)
	if !ok {
		return s, nil, nil
	}
	w := &work{rules: &st.rules, old: s, s: s.clone(), t: t, at: in.At.UTC().Truncate(time.Millisecond)}
	key, _ := st.Key(in)
	w.key = key
	if err := w.run(); err != nil {
		return s, nil, err
	}
	return w.s, w.out, nil
}

// work is one Apply.
type work struct {
	rules   *Rules
	old, s  State
	t       *schemas.Transition
	key     string
	at      time.Time
	created bool // t is the first event that says that its subscription exists
	out     []processors.Output
	issues  []issue
}

// issue is a value that a mapping could not make, told with the contact's next command.
type issue struct{ destination, text string }

func (w *work) run() error {
	moved := w.t.Disposition == schemas.Changed || w.t.Disposition == schemas.Recorded
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
		return w.nobody(matched[0])
	}
	for i := range w.s.Destinations {
		d := &w.s.Destinations[i]
		if len(d.Tags)+len(d.NoTags) > tagsMax || len(d.Fields) > fieldsMax {
			return &processors.Poison{
				Cause:  schemas.CauseStageFailed,
				Reason: "the contact would have more tags or fields at " + d.Name + " than are kept of one contact",
				Remedy: "look for a mapping whose tags or fields differ with every event",
			}
		}
	}
	w.contacts()
	if moved && w.t.Event.Origin != schemas.OriginBackfill && w.t.Event.Origin != schemas.OriginReplay {
		for _, m := range reached {
			w.effects(m)
		}
	}
	return nil
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
	values, issues := m.fields.Run(w.t)
	for _, i := range issues {
		w.issues = append(w.issues, issue{m.Destination, m.Name + ": " + i.To + " from " + i.From + ": " + i.Reason})
	}
	d.setFields(values)
	d.tag(m.tagsFor(w.t), nil)
	d.tag(m.addTags, m.removeTags)
	w.s.put(d)
	return true
}

// isEmail is a check against text that is plainly something else; the CRM knows better.
func isEmail(s string) bool {
	at := strings.LastIndexByte(s, '@')
	return at > 0 && at < len(s)-1 && !strings.ContainsAny(s, " \t\r\n,;<>")
}

// contacts emits the desired states that changed, by destination.
func (w *work) contacts() {
	for i := range w.s.Destinations {
		d := &w.s.Destinations[i]
		before := w.old.find(d.Name)
		if before != nil && before.equal(d) {
			continue
		}
		d.Version++
		c := w.command(schemas.CommandContact, d)
		c.CommandID = id(d.Name, w.key, number(d.Version))
		c.Contact = d.contact()
		for _, i := range w.issues {
			if i.destination == d.Name {
				c.Issues = append(c.Issues, i.text)
			}
		}
		w.emit(c)
	}
}

func (w *work) effects(m *Mapping) {
	d := w.s.find(m.Destination)
	for i := range m.triggers {
		tr := &m.triggers[i]
		if !triggers.Match(tr.when, w.t, w.created) {
			continue
		}
		c := w.command(schemas.CommandEffect, d)
		c.CommandID = id(d.Name, w.key, w.t.Event.EventID, number(w.t.Number), tr.id)
		c.Trigger = tr.id
		c.Contact = schemas.Contact{Email: d.Email}
		c.Effect = &schemas.Effect{Type: schemas.EffectTrackEvent, Name: tr.name, Data: tr.eventData(w.t, c.CommandID)}
		w.emit(c)
	}
}

func (w *work) command(kind schemas.CommandKind, d *desired) *schemas.Command {
	return &schemas.Command{
		Kind: kind, Destination: d.Name, ContactKey: w.key, Version: d.Version, ConfigVersion: w.rules.ConfigVersion,
		RootKey: w.t.RootKey, EventID: w.t.Event.EventID, Origin: w.t.Event.Origin, Test: w.t.Event.Test, At: w.at,
	}
}

func (w *work) emit(c *schemas.Command) {
	if w.out == nil {
		w.out = make([]processors.Output, 0, 2) // a contact and an event
	}
	w.out = append(w.out, processors.Output{Topic: schemas.TopicCommands, Key: c.ContactKey, PartitionKey: c.Destination, Record: c})
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
