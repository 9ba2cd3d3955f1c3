package getresponse

import (
	"context"
	"errors"
	"net/http"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// Remedies for what GetResponse's API does not have.
const (
	remedyStart     = "start the workflow in GetResponse with a custom event, a tag or an order's payment status, and use TRACK_EVENT, a tag or WRITE_ORDER here"
	remedyRecurring = "write each payment of the subscription with WRITE_ORDER, or tell GetResponse of it with TRACK_EVENT"
)

// effect performs one effect. What of it may be repeated is repeated; what may not is unknown after trouble.
func (w *writer) effect(ctx context.Context, cmd *schemas.Command) sinks.Outcome {
	switch cmd.Effect.Type {
	case schemas.EffectTrackEvent:
		return w.track(ctx, cmd)
	case schemas.EffectAddToList:
		return w.addToList(ctx, cmd).outcome(false)
	case schemas.EffectMoveToList:
		return w.moveToList(ctx, cmd).outcome(false)
	case schemas.EffectSendMessage:
		if w.transactional {
			return w.mail(ctx, cmd)
		}
		return w.send(ctx, cmd)
	case schemas.EffectWriteOrder:
		return w.writeOrder(ctx, cmd)
	case schemas.EffectStartAutomation:
		return reject(remedyStart, "getresponse's API cannot start a workflow for a contact").outcome(false)
	case schemas.EffectWriteRecurring:
		return reject(remedyRecurring, "getresponse has no recurring payments: it has orders").outcome(false)
	}
	return reject("change the action to one that getresponse has, such as TRACK_EVENT", "getresponse has no effect %.40q", cmd.Effect.Type).outcome(false)
}

// Reconcile implements sinks.Writer: it reads back what an effect was to bring about.
func (w *writer) Reconcile(ctx context.Context, cmd schemas.Command) sinks.Outcome {
	if cmd.Effect == nil {
		return sinks.Outcome{Kind: sinks.NotHappened} // a state: it is compared before it is written
	}
	ctx, rec := outbound.Record(ctx)
	var happened bool
	var fail *failure
	switch cmd.Effect.Type {
	case schemas.EffectTrackEvent:
		return sinks.Outcome{Kind: sinks.Unknown, Err: errNoLog, Remedy: remedyNoLog}
	case schemas.EffectAddToList, schemas.EffectMoveToList:
		happened, fail = w.joined(ctx, &cmd)
	case schemas.EffectSendMessage:
		if w.transactional {
			o := w.mailed(ctx, &cmd)
			o.Exchanges = w.scrub(rec.Exchanges())
			return o
		}
		happened, fail = w.sent(ctx, &cmd)
	case schemas.EffectWriteOrder:
		happened, fail = w.orderWritten(ctx, &cmd)
	}
	o := fail.outcome(false)
	if fail == nil && !happened {
		o.Kind = sinks.NotHappened
	}
	o.Exchanges = w.scrub(rec.Exchanges())
	return o
}

// GetResponse answers a trigger with nothing, and none of its documented calls lists what was triggered, so that a person
// has to decide.
var errNoLog = errors.New("getresponse shows no custom events that were triggered: its log of a contact's activities has messages only")

const remedyNoLog = "look in GetResponse whether the contact went through the workflow that the event starts; the event's attribute command_id names the command"

// known returns the id of the effect's contact, who is created first if need be: GetResponse wants one.
func (w *writer) known(ctx context.Context, cmd *schemas.Command, email string) (string, *failure) {
	id, fail := w.find(ctx, email, nil)
	if fail == nil && id == "" {
		var d *desired
		if d, fail = w.desire(ctx, &cmd.Contact, true); fail == nil {
			id, fail = w.find(ctx, email, d)
		}
	}
	return id, fail
}

// mayHaveHappened makes a server's failure an unknown one, for requests that must not be repeated: it failed after it had
// the request; whether before or after doing it, it does not say.
func (f *failure) mayHaveHappened() {
	if f.kind == failRetry && f.status >= 500 && f.status != http.StatusServiceUnavailable {
		f.kind = failUnknown
	}
}

// track triggers one custom event for the contact, who is created first if need be: GetResponse wants a contact's id. It
// must not be repeated unless it is known not to have happened.
func (w *writer) track(ctx context.Context, cmd *schemas.Command) sinks.Outcome {
	name, err := EventName(cmd.Effect.Name)
	if err != nil {
		return reject("rename the event in the trigger to letters, digits and underscores, and replay", "event: %s", err).outcome(false)
	}
	email, fail := address(&cmd.Contact)
	if fail != nil {
		return fail.outcome(false)
	}
	// Whatever goes wrong before the trigger, the event has not been sent.
	defined, fail := w.catalogue.event(ctx, name)
	if fail != nil {
		return fail.outcome(false)
	}
	attributes, fail := eventAttributes(cmd, name, defined)
	if fail != nil {
		return fail.outcome(false)
	}
	id, fail := w.known(ctx, cmd, email)
	if fail != nil {
		return fail.outcome(false)
	}
	return w.trigger(ctx, email, name, id, attributes).outcome(true)
}

type eventAttribute struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// eventAttributes are the command's id and the effect's value. An event that somebody else defined may lack the first;
// lacking the second, it cannot carry the value.
func eventAttributes(cmd *schemas.Command, name string, defined event) ([]eventAttribute, *failure) {
	out := []eventAttribute{}
	if defined.types[attributeID] == "string" && cmd.CommandID != "" {
		out = append(out, eventAttribute{attributeID, cut(cmd.CommandID, eventValueMax)})
	}
	if cmd.Effect.Data == "" {
		return out, nil
	}
	if defined.types[attributeData] != "string" {
		return nil, reject("add the attribute to the custom event in GetResponse, or use another event's name, and replay",
			"the custom event %s has no attribute %q of type string for the event's value", name, attributeData)
	}
	return append(out, eventAttribute{attributeData, cut(cmd.Effect.Data, eventValueMax)}), nil
}

func cut(text string, charsMax int) string {
	if r := []rune(text); len(r) > charsMax {
		return string(r[:charsMax])
	}
	return text
}

func (w *writer) trigger(ctx context.Context, email, name, contactID string, attributes []eventAttribute) *failure {
	r := w.api.call(ctx, http.MethodPost, "/custom-events/trigger", nil, map[string]any{
		"name": name, "contactId": contactID, "attributes": attributes,
	})
	if r.ok(nil) {
		return nil
	}
	fail := classify(r)
	if fail.code == codeNotFound {
		// The contact or the event's definition is gone since it was read; nothing was triggered.
		w.people.forget(email)
		w.catalogue.forgetEvent(ctx, name)
		fail.kind, fail.retryAfter = failRetry, queueSteps[0]
	}
	fail.mayHaveHappened()
	return fail
}
