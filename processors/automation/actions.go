package automation

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/processors/expressions"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
)

// The arguments of a written order, by the source that fills them.
var orderArguments = []struct{ argument, source string }{
	{"amount", "order.amount"},
	{"currency", "order.currency"},
	{"event_type", "event.type"},
	{"number", "order.number"},
	{"paid", "order.paid"},
	{"provider_status", "event.status"},
	{"refunded", "order.refunded"},
	{"status", "order.status"},
	{"time", "event.time"},
}

// describing are the sources that an action without data of its own tells of.
var describing = []string{"event.type", "event.status", "event.time", "order.amount", "order.currency", "order.id", "order.number", "order.paid", "order.refunded", "order.status"}

// describes reports whether an action tells of the event in its own words.
func describes(a *workflows.Action) bool {
	switch a.Kind {
	case workflows.WriteOrder, workflows.WriteRecurringPayment:
		return true
	case workflows.TrackEvent, workflows.Notify:
		return a.Data == nil
	}
	return false
}

// desired is the contact as it should be at a destination; ok is false where no address of his is known.
func (w *work) desired(destination string) (d desired, ok bool) {
	d = w.s.destination(destination)
	if d.Email == "" {
		d.Email = w.email()
	}
	return d, d.Email != ""
}

// email is an address of the contact: of the event, of another destination, or the key's own.
func (w *work) email() string {
	if w.t != nil && w.t.Payer != nil {
		if e := schemas.NormalizeEmail(w.t.Payer.Email); isEmail(e) {
			return e
		}
	}
	for i := range w.s.Destinations {
		if e := w.s.Destinations[i].Email; e != "" {
			return e
		}
	}
	e, ok := address(w.key)
	if !ok {
		return ""
	}
	return e
}

// act does what the step says, or says why it does not. A run goes on either way.
func (w *work) act(r *run, p *workflows.Program, s *workflows.Step) {
	a := s.Action
	d, known := w.desired(s.Destination)
	if !known && a.Kind != workflows.Notify {
		w.actionStep(r, p, s, schemas.StepFailed, string(a.Kind)+": the contact has no e-mail address; map one, or load the order from its provider")
		return
	}
	if why := w.forbids(r, s); why != "" {
		w.actionStep(r, p, s, schemas.StepHeld, string(a.Kind)+" "+a.Name+": "+why)
		return
	}
	if (a.Kind == workflows.WriteOrder || a.Kind == workflows.WriteRecurringPayment) && r.Root == "" {
		w.actionStep(r, p, s, schemas.StepFailed, string(a.Kind)+": the run is about no order; start the workflow at an event of one")
		return
	}
	if w.shadow(p) {
		w.actionStep(r, p, s, schemas.StepAction, "would "+string(a.Kind)+" "+subject(a))
		return
	}
	w.notes = nil
	if known && a.Kind != workflows.Notify {
		w.s.put(d) // the CRM must know the contact before the effect, and values are of the contact as he is there
	}
	if w.change(r, p, s, &d) {
		w.s.put(d)
		w.actionStep(r, p, s, schemas.StepAction, w.done(a))
		return
	}
	c := w.effect(r, p, s, &d)
	w.effects = append(w.effects, c)
	w.actionStep(r, p, s, schemas.StepAction, w.done(a)).CommandID = c.CommandID
}

// done is what an action did, and which of its values could not be made.
func (w *work) done(a *workflows.Action) string {
	text := strings.TrimRight(string(a.Kind)+" "+subject(a), " ")
	for _, n := range w.notes {
		text += "; " + n
	}
	return text
}

func (w *work) actionStep(r *run, p *workflows.Program, s *workflows.Step, kind schemas.StepWord, detail string) *schemas.RunStep {
	step := w.trace(r, p, s.ID, kind, strings.TrimRight(detail, " "))
	step.Destination = s.Destination
	return step
}

// subject is what an action is about, in a few words.
func subject(a *workflows.Action) string {
	switch a.Kind {
	case workflows.Tags:
		var words []string
		for _, t := range a.Add {
			words = append(words, "+"+t)
		}
		for _, t := range a.Remove {
			words = append(words, "-"+t)
		}
		return strings.Join(words, " ")
	case workflows.SetField, workflows.ClearField:
		names := make([]string, len(a.Fields))
		for i, f := range a.Fields {
			names[i] = f.Name
		}
		return strings.Join(names, ", ")
	case workflows.AddScore:
		return number(a.Score)
	case workflows.MoveToList:
		if a.From != "" {
			return a.From + " -> " + a.Name
		}
	}
	return a.Name
}

// change is an action that changes the desired state; it reports false for those that are effects.
func (w *work) change(r *run, p *workflows.Program, s *workflows.Step, d *desired) bool {
	a := s.Action
	switch a.Kind {
	case workflows.Tags:
		from := *r
		w.acting = &from
		w.tag(d, ruleOf(p, s.ID), a.Add, a.Remove)
		w.acting = nil
	case workflows.SetField:
		for _, f := range a.Fields {
			if text := w.fill(r, p, s, f.Value, f.Name); text != "" {
				d.setField(f.Name, text)
			}
		}
	case workflows.ClearField:
		for _, f := range a.Fields {
			d.setField(f.Name, "")
		}
	case workflows.AddScore:
		w.s.Score += a.Score
		if a.Name != "" {
			d.setField(a.Name, number(w.s.Score))
		}
	default:
		return false
	}
	return true
}

// fill fills a template; what it could not make is told in the step's trace, and with the contact's command if he changes.
func (w *work) fill(r *run, p *workflows.Program, s *workflows.Step, t *expressions.Template, what string) string {
	text, issues := t.Fill(w.values(r, p))
	for _, i := range issues {
		w.notes = append(w.notes, what+": "+i)
		w.issues = append(w.issues, issue{s.Destination, ruleOf(p, s.ID) + ": " + what + ": " + i})
	}
	return text
}

var effectOf = map[workflows.ActionKind]string{
	workflows.SendMessage: schemas.EffectSendMessage, workflows.MoveToList: schemas.EffectMoveToList, workflows.CopyToList: schemas.EffectAddToList,
	workflows.StartAutomation: schemas.EffectStartAutomation, workflows.TrackEvent: schemas.EffectTrackEvent, workflows.Notify: schemas.EffectNotify,
	workflows.WriteOrder: schemas.EffectWriteOrder, workflows.WriteRecurringPayment: schemas.EffectWriteRecurring,
}

// effect is the command of an action that happens once.
func (w *work) effect(r *run, p *workflows.Program, s *workflows.Step, d *desired) *schemas.Command {
	a := s.Action
	c := w.command(schemas.CommandEffect, d)
	c.CommandID = id(d.Name, w.key, r.ID, s.ID, number(r.Steps))
	c.Contact = schemas.Contact{Email: d.Email}
	c.Rule, c.RunID = ruleOf(p, s.ID), r.ID
	c.Origin, c.Test = r.Origin, r.Test || c.Test
	if r.Root != "" {
		c.RootKey = r.Root
	}
	v := w.values(r, p)
	e := &schemas.Effect{Type: effectOf[a.Kind], Name: a.Name}
	c.Effect = e
	switch a.Kind {
	case workflows.MoveToList:
		if a.From != "" {
			e.Arguments = map[string]string{schemas.ArgumentFrom: a.From}
		}
	case workflows.SendMessage:
		for _, f := range a.Values {
			if e.Arguments == nil {
				e.Arguments = map[string]string{}
			}
			e.Arguments[f.Name] = w.fill(r, p, s, f.Value, f.Name)
		}
	case workflows.WriteOrder, workflows.WriteRecurringPayment:
		e.Name, e.Arguments = v.Text("order.id"), map[string]string{"shop": a.Shop}
		for _, x := range orderArguments {
			if text := v.Text(x.source); text != "" {
				e.Arguments[x.argument] = text
			}
		}
	case workflows.TrackEvent:
		e.Data = "id=" + c.CommandID[:idShown] + " "
		if a.Data != nil {
			e.Data += w.fill(r, p, s, a.Data, "data")
		} else {
			e.Data += v.described()
		}
		if text := []rune(e.Data); len(text) > dataMax {
			e.Data = string(text[:dataMax])
		}
	case workflows.Notify:
		if a.Data != nil {
			e.Data = w.fill(r, p, s, a.Data, "body")
		} else {
			e.Data = v.json(a.Name, w.key, r.ID)
		}
	}
	return c
}

// described is the order in the words of an event's usual data.
func (v values) described() string {
	text := "type=" + v.Text("event.type") + " order=" + v.Text("order.id") + " status=" + v.Text("order.status")
	if amount := v.Text("order.amount"); amount != "" {
		text += " amount=" + amount + " " + v.Text("order.currency")
	}
	return text
}

// json is what is known of the order, as a JSON object.
func (v values) json(eventType, contact, runID string) string {
	b := []byte(`{"type":`)
	b = appendJSON(b, eventType)
	b = append(b, `,"contact":`...)
	b = appendJSON(b, contact)
	b = append(b, `,"run_id":`...)
	b = appendJSON(b, runID)
	if v.r.Test {
		b = append(b, `,"test":true`...)
	}
	for _, name := range describing {
		if text := v.Text(name); text != "" {
			b = append(b, ',')
			b = appendJSON(b, strings.ReplaceAll(name, ".", "_"))
			b = append(b, ':')
			b = appendJSON(b, text)
		}
	}
	return string(append(b, '}'))
}

func appendJSON(b []byte, text string) []byte {
	quoted, err := json.Marshal(text)
	if err != nil { // no text is refused: invalid UTF-8 is replaced
		return append(b, `""`...)
	}
	return append(b, quoted...)
}

// setField writes a field, also an empty value, which clears it.
func (d *desired) setField(name, value string) {
	i, found := slices.BinarySearchFunc(d.Fields, name, byField)
	if found && d.Fields[i].Value == value {
		return
	}
	d.Fields = slices.Clone(d.Fields)
	if found {
		d.Fields[i].Value = value
		return
	}
	d.Fields = slices.Insert(d.Fields, i, field{name, value})
}
