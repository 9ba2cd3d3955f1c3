package reading

import (
	"strings"
	"time"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
)

// told is a record in short; false for one that a stream does not hold.
func told(at time.Time, place api.RecordPlace, r schemas.Record) (*seen, bool) {
	l := api.LiveRecord{At: at.UTC(), Place: place, Good: true}
	switch r := r.(type) {
	case *schemas.OrderEvent:
		tellEvent(&l, r)
	case *schemas.Transition:
		tellTransition(&l, r)
	case *schemas.RunStep:
		l.Kind, l.Outcome, l.Good = api.LiveRun, string(r.Kind), r.Kind != schemas.StepFailed
		l.What = "Workflow " + r.Workflow + ": " + words(string(r.Kind))
		if r.Step != "" {
			l.What += " at step " + r.Step
		}
		l.Event, l.Order, l.Contact, l.Destination = r.EventID, r.RootKey, r.ContactKey, r.Destination
	case *schemas.Command:
		l.Kind, l.Outcome = api.LiveCommand, string(r.Kind)
		l.What = "Desired contact for " + r.Destination
		if r.Effect != nil {
			l.What = words(r.Effect.Type) + " " + r.Effect.Name + " for " + r.Destination
		}
		l.Event, l.Order, l.Contact, l.Destination = r.EventID, r.RootKey, r.ContactKey, r.Destination
	case *schemas.Delivery:
		l.Kind, l.Outcome = api.LiveDelivery, string(r.Outcome)
		l.Good = r.Outcome == schemas.OutcomeDelivered || r.Outcome == schemas.OutcomeSuperseded || r.Outcome == schemas.OutcomeIntent
		l.What = words(string(r.Outcome)) + " at " + r.Destination
		if r.Error != "" {
			l.What += ": " + r.Error
		}
		l.Event, l.Order, l.Contact, l.Destination = r.EventID, r.RootKey, r.ContactKey, r.Destination
	case *schemas.DeadLetter:
		l.Kind, l.Outcome, l.Good = api.LiveDeadLetter, r.Cause, false
		l.What = "Given up at " + r.Stage + ": " + r.Reason
		l.Event, l.Order, l.Contact, l.Destination = r.EventID, r.RootKey, r.ContactKey, r.Destination
	default:
		return nil, false
	}
	locate(&l)
	l.What = cut(l.What)
	one := &seen{open: l, hidden: l, contact: l.Contact}
	one.hidden.Contact, one.hidden.What, one.hidden.Order = mask(l.Contact), outbound.Redact(l.What), outbound.Redact(l.Order)
	one.search = strings.ToLower(strings.Join([]string{l.What, l.Event, l.Order, l.Contact, l.Type, l.Status, l.Outcome, l.Store, l.Destination}, "\n"))
	return one, true
}

// locate fills in environment and store from the keys, where the record does not say them.
func locate(l *api.LiveRecord) {
	if env, store, _, ok := schemas.SplitRootKey(l.Order); ok && l.Environment == "" {
		l.Environment, l.Store = string(env), store
	}
	if env, _, ok := strings.Cut(l.Contact, "/"); ok && l.Environment == "" {
		l.Environment = env
	}
}

func tellEvent(l *api.LiveRecord, r *schemas.OrderEvent) {
	l.Kind, l.Outcome, l.What = api.LiveEventKind, "ACCEPTED", "Received "+r.EventType
	if r.Problem != "" {
		l.Outcome, l.Good, l.What = "UNREADABLE", false, "Received what cannot be read: "+r.Problem
	}
	ofEvent(l, r)
	l.Contact = schemas.ContactKey(r.Environment, r.Payer)
	l.Status = string(r.Status)
}

func ofEvent(l *api.LiveRecord, r *schemas.OrderEvent) {
	l.Environment, l.Store, l.Event, l.EventKind, l.Type = string(r.Environment), r.Connection, r.EventID, string(r.Kind), r.EventType
	if r.RootID != "" {
		l.Order = r.Key()
	}
	if r.Amount != nil {
		l.Amount = &api.MoneyText{Amount: r.Amount.Value, Currency: r.Amount.Currency}
	}
}

func tellTransition(l *api.LiveRecord, r *schemas.Transition) {
	l.Kind, l.Outcome, l.Good = api.LiveTransition, string(r.Disposition), r.Legal && !r.Orphan
	l.What = "Status stays " + string(r.To)
	if r.From != r.To {
		from := string(r.From)
		if from == "" {
			from = "none"
		}
		l.What = "Status " + from + " to " + string(r.To)
	}
	ofEvent(l, &r.Event)
	l.Order, l.Contact, l.Status = r.RootKey, r.ContactKey, string(r.To)
}

func words(code string) string { return strings.ToLower(strings.ReplaceAll(code, "_", " ")) }

// whatBytesMax bounds a sentence of a live record.
const whatBytesMax = 300

func cut(text string) string {
	if len(text) <= whatBytesMax {
		return text
	}
	return strings.ToValidUTF8(text[:whatBytesMax], "") + "…"
}
