package getresponse

import (
	"context"
	"errors"
	"net/http"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

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
	id, fail := w.find(ctx, email, nil)
	if fail == nil && id == "" {
		var d *desired
		if d, fail = w.desire(ctx, &cmd.Contact); fail == nil {
			id, fail = w.find(ctx, email, d)
		}
	}
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
	switch {
	case fail.code == codeNotFound:
		// The contact or the event's definition is gone since it was read; nothing was triggered.
		w.people.forget(email)
		w.catalogue.forgetEvent(name)
		fail.kind, fail.retryAfter = failRetry, queueSteps[0]
	case fail.kind == failRetry && fail.status >= 500 && fail.status != http.StatusServiceUnavailable:
		// The server failed after it had the request; whether before or after triggering it, it does not say.
		fail.kind = failUnknown
	}
	return fail
}

var errNoLog = errors.New("getresponse shows no custom events that were triggered: its log of a contact's activities has messages only")

// Reconcile implements sinks.Writer. GetResponse answers a trigger with nothing, and none of its documented calls lists
// what was triggered, so that a person has to decide.
func (w *writer) Reconcile(context.Context, schemas.Command) sinks.Outcome {
	return sinks.Outcome{
		Kind: sinks.Unknown, Err: errNoLog,
		Remedy: "look in GetResponse whether the contact went through the workflow that the event starts; the event's attribute command_id names the command",
	}
}
