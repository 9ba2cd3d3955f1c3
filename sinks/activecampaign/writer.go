package activecampaign

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"strings"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// writer writes to one account. It is safe for use by several goroutines.
type writer struct {
	api       *client
	catalogue *catalogue
	contacts  *contactCache
	tracking  EventTracking

	lists, automations *names
	connections        *connections
	created            dates
	starts             *starts
	halfway            *halfway
	imports            *imports
	destination        string

	secrets []string
	log     zerolog.Logger
}

// Close implements sinks.Writer; idle connections belong to the client's maker.
func (w *writer) Close() error { return nil }

// Write implements sinks.Writer. Where enough desired states of the past are among the commands they go together.
func (w *writer) Write(ctx context.Context, batch []schemas.Command) []sinks.Outcome {
	out := make([]sinks.Outcome, len(batch))
	w.lookAtImports(ctx)
	w.together(ctx, batch, out)
	for i := range batch {
		if out[i].Kind != 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			out[i] = sinks.Outcome{Kind: sinks.Retryable, Err: fmt.Errorf("not tried: %w", err)}
			continue
		}
		out[i] = w.one(ctx, &batch[i])
		if out[i].Account {
			// What the account refuses to this command, it refuses to the rest.
			for j := i + 1; j < len(batch); j++ {
				if out[j].Kind == 0 {
					out[j] = out[i]
					out[j].Exchanges = nil
				}
			}
			break
		}
	}
	return out
}

func (w *writer) one(ctx context.Context, cmd *schemas.Command) sinks.Outcome {
	ctx, rec := outbound.Record(ctx)
	var fail *failure
	act, known := action{}, false
	if cmd.Kind == schemas.CommandEffect && cmd.Effect != nil {
		act, known = actions[cmd.Effect.Type]
	}
	switch {
	case cmd.Kind == schemas.CommandContact:
		fail = w.contact(ctx, cmd)
	case !known:
		fail = &failure{
			kind: failReject, cause: fmt.Sprintf("activecampaign has no command of kind %.40q with this effect", cmd.Kind),
			remedy: "change the action to one that activecampaign has: " + strings.Join(Sink.Effects, ", "),
		}
	case strings.TrimSpace(cmd.Contact.Email) == "":
		fail = noAddress()
	default:
		fail = act.perform(w, ctx, cmd)
	}
	o := fail.outcome(known && !act.repeatable)
	o.Exchanges = w.scrub(rec.Exchanges())
	w.receipt(cmd.CommandID, o.Exchanges)
	return o
}

// outcome of a command whose last request failed like this; nil: all went well.
func (f *failure) outcome(effect bool) sinks.Outcome {
	if f == nil {
		return sinks.Outcome{Kind: sinks.Delivered}
	}
	o := sinks.Outcome{Kind: sinks.Retryable, Err: f, Remedy: f.remedy, RetryAfter: f.retryAfter}
	switch f.kind {
	case failReject:
		o.Kind = sinks.Rejected
	case failUnknown:
		// Everything that sets a state can be repeated; an effect can not.
		if effect {
			o.Kind = sinks.Unknown
		}
	case failAccount:
		o.Account = true
	}
	return o
}

// scrub takes our own keys out of recorded exchanges, should an answer repeat one in a form that nobody foresaw.
func (w *writer) scrub(list []schemas.Exchange) []schemas.Exchange {
	for i := range list {
		for _, secret := range w.secrets {
			if secret == "" {
				continue
			}
			for _, text := range []*string{&list[i].URL, &list[i].Request, &list[i].Response, &list[i].Error} {
				*text = strings.ReplaceAll(*text, secret, "***")
			}
		}
	}
	return list
}

// contact brings the contact into the desired state. All its requests may be repeated. The contact is found by its
// address each time, by the request that writes it: one that was deleted in the account is made again, and one that was
// merged into another, or has another address now, is not written under an id of the past. Only where that request went
// well and one about tags did not, the next try goes on with the tags, of the contact that has the rest.
func (w *writer) contact(ctx context.Context, cmd *schemas.Command) *failure {
	c := &cmd.Contact
	if strings.TrimSpace(c.Email) == "" {
		return noAddress()
	}
	if w.imports.holds(strings.ToLower(strings.TrimSpace(c.Email))) {
		return &failure{
			kind: failRetry, retryAfter: importRetry, remedy: "nothing: it is tried again",
			cause: "an import with an older state of the contact is not finished in activecampaign",
		}
	}
	at, ok := w.halfway.take(cmd.CommandID)
	if !ok {
		values, fail := w.values(ctx, c.Fields)
		if fail != nil {
			return fail
		}
		at.since = w.api.now()
		if at.contactID, at.made, fail = w.sync(ctx, c, values); fail != nil {
			return fail
		}
		if cmd.Origin == schemas.OriginReplay {
			w.contacts.forget(at.contactID) // somebody wants it to be right, whatever we believe
		}
		w.contacts.writes(at.contactID, cmd.Version)
	}
	fail := w.tags(ctx, at.contactID, at.made, c)
	if fail != nil && (fail.status == 0 || fail.status == http.StatusTooManyRequests || fail.status >= 500) {
		w.halfway.note(cmd.CommandID, at)
	}
	return fail
}

type fieldValue struct {
	Field string `json:"field"`
	Value string `json:"value"`
	name  string // for people
}

// values looks every field up. A field that does not exist refuses the command: leaving it out would drop data that
// somebody asked for.
func (w *writer) values(ctx context.Context, fields map[string]string) ([]fieldValue, *failure) {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	sort.Strings(names)
	out := make([]fieldValue, 0, len(names))
	var missing, wrong []string
	for _, name := range names {
		f, ok, fail := w.catalogue.find(ctx, name)
		if fail != nil {
			return nil, fail
		}
		if !ok {
			missing = append(missing, name)
			continue
		}
		value, err := f.format(fields[name])
		if err != nil {
			wrong = append(wrong, err.Error())
			continue
		}
		out = append(out, fieldValue{f.id, value, f.name()})
	}
	switch {
	case len(missing) > 0:
		return nil, &failure{
			kind: failReject, cause: "no such field in activecampaign: " + shorten(strings.Join(missing, ", ")),
			remedy: "create the field in ActiveCampaign or change the mapping, and replay",
		}
	case len(wrong) > 0:
		return nil, &failure{
			kind: failReject, cause: shorten(strings.Join(wrong, "; ")),
			remedy: "change the mapping or the field's type or options in ActiveCampaign, and replay",
		}
	}
	return out, nil
}

type syncBody struct {
	Contact struct {
		Email       string       `json:"email"`
		FirstName   string       `json:"firstName,omitempty"`
		LastName    string       `json:"lastName,omitempty"`
		Phone       string       `json:"phone,omitempty"`
		FieldValues []fieldValue `json:"fieldValues,omitempty"`
	} `json:"contact"`
}

// sync is the upsert by address: fields that it does not name stay, an empty value clears one. made is true for a contact
// that seems to have been made by it: a hint, since the account's clock counts whole seconds.
func (w *writer) sync(ctx context.Context, c *schemas.Contact, values []fieldValue) (id string, made bool, fail *failure) {
	var body syncBody
	body.Contact.Email = strings.TrimSpace(c.Email)
	body.Contact.FirstName, body.Contact.LastName, body.Contact.Phone = c.FirstName, c.LastName, c.Phone
	body.Contact.FieldValues = values
	r := w.api.call(ctx, http.MethodPost, "/contact/sync", nil, body)
	var answer struct {
		Contact struct {
			ID      flexible `json:"id"`
			Created string   `json:"cdate"`
			Updated string   `json:"udate"`
		} `json:"contact"`
	}
	if r.ok(&answer) && answer.Contact.ID != "" {
		made := r.status() == http.StatusCreated && answer.Contact.Created == answer.Contact.Updated
		return string(answer.Contact.ID), made, nil
	}
	fail = classify(r)
	switch {
	case fail.kind != failReject:
	case fail.code == "related_missing" && strings.HasPrefix(fail.pointer, "field"):
		// A field went away after the catalogue was read: the next try names it.
		fail.kind, fail.retryAfter = failRetry, w.catalogue.forget(ctx)
		fail.cause += " (a field was deleted in activecampaign)"
	default:
		if f, ok := pointedAt(fail.pointer, values); ok {
			fail.cause = fmt.Sprintf("field %s: %s", f.name, fail.cause)
			fail.remedy = "shorten or correct the value of " + f.name + " in the mapping and replay"
		}
	}
	return "", false, fail
}

// pointedAt is the value that a pointer such as "fieldValues/3/value" means.
func pointedAt(pointer string, values []fieldValue) (fieldValue, bool) {
	rest, ok := strings.CutPrefix(pointer, "fieldValues")
	if !ok {
		return fieldValue{}, false
	}
	digits := strings.TrimLeft(rest, "/.[")
	if end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		digits = digits[:end]
	}
	if i, err := strconv.Atoi(digits); err == nil && i < len(values) {
		return values[i], true
	}
	return fieldValue{}, false
}

var errNoTracking = errors.New("event tracking is not configured for this destination")
