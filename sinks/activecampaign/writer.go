package activecampaign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sort"
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
	starts             *starts
	destination        string

	secrets []string
	log     zerolog.Logger
}

// Close implements sinks.Writer; idle connections belong to the client's maker.
func (w *writer) Close() error { return nil }

// Write implements sinks.Writer.
func (w *writer) Write(ctx context.Context, batch []schemas.Command) []sinks.Outcome {
	out := make([]sinks.Outcome, len(batch))
	for i := range batch {
		if err := ctx.Err(); err != nil {
			out[i] = sinks.Outcome{Kind: sinks.Retryable, Err: fmt.Errorf("not tried: %w", err)}
			continue
		}
		out[i] = w.one(ctx, &batch[i])
		if out[i].Account {
			// What the account refuses to this command, it refuses to the rest.
			for j := i + 1; j < len(batch); j++ {
				out[j] = out[i]
				out[j].Exchanges = nil
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
		_, fail = w.contact(ctx, &cmd.Contact)
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

// contact brings the contact into the desired state and returns its id. All its requests may be repeated.
func (w *writer) contact(ctx context.Context, c *schemas.Contact) (string, *failure) {
	if strings.TrimSpace(c.Email) == "" {
		return "", noAddress()
	}
	values, fail := w.values(ctx, c.Fields)
	if fail != nil {
		return "", fail
	}
	id, fail := w.sync(ctx, c, values)
	if fail != nil {
		return "", fail
	}
	for _, name := range c.Tags {
		if fail := w.addTag(ctx, id, name); fail != nil {
			return id, fail
		}
	}
	return id, w.removeTags(ctx, id, c.NoTags)
}

type fieldValue struct {
	Field string `json:"field"`
	Value string `json:"value"`
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
		out = append(out, fieldValue{f.id, value})
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

// sync is the upsert by address: fields that it does not name stay, an empty value clears one.
func (w *writer) sync(ctx context.Context, c *schemas.Contact, values []fieldValue) (string, *failure) {
	var body syncBody
	body.Contact.Email = strings.TrimSpace(c.Email)
	body.Contact.FirstName, body.Contact.LastName, body.Contact.Phone = c.FirstName, c.LastName, c.Phone
	body.Contact.FieldValues = values
	r := w.api.call(ctx, http.MethodPost, "/contact/sync", nil, body)
	var answer struct {
		Contact struct {
			ID flexible `json:"id"`
		} `json:"contact"`
	}
	if r.ok(&answer) && answer.Contact.ID != "" {
		return string(answer.Contact.ID), nil
	}
	fail := classify(r)
	if fail.kind == failReject && fail.code == "related_missing" && strings.HasPrefix(fail.pointer, "field") {
		// A field went away after the catalogue was read: the next try names it.
		fail.kind, fail.retryAfter = failRetry, w.catalogue.forget()
		fail.cause += " (a field was deleted in activecampaign)"
	}
	return "", fail
}

func (w *writer) addTag(ctx context.Context, contactID, name string) *failure {
	tagID, fail := w.catalogue.tag(ctx, name, true)
	if fail != nil {
		return fail
	}
	if has, known := w.contacts.tag(contactID, tagID); has && known {
		return nil
	}
	// 201 for a new link and 200 for one that was there.
	r := w.api.call(ctx, http.MethodPost, "/contactTags", nil, map[string]any{
		"contactTag": map[string]string{"contact": contactID, "tag": tagID},
	})
	if r.ok(nil) {
		w.contacts.note(contactID, tagID, true)
		return nil
	}
	fail = classify(r)
	if fail.status == http.StatusNotFound || fail.code == "related_missing" {
		// The tag or the contact was deleted after we learnt its id: the next try makes it again.
		w.catalogue.forgetTag(name)
		w.contacts.forget(contactID)
		fail.kind, fail.retryAfter = failRetry, 0
	}
	return fail
}

// removeTags deletes links by the link's id, which only the contact's own list tells.
func (w *writer) removeTags(ctx context.Context, contactID string, names []string) *failure {
	var unwanted []string
	for _, name := range names {
		tagID, fail := w.catalogue.tag(ctx, name, false)
		if fail != nil {
			return fail
		}
		if has, known := w.contacts.tag(contactID, tagID); tagID == "" || known && !has {
			continue
		}
		unwanted = append(unwanted, tagID)
	}
	if len(unwanted) == 0 {
		return nil
	}
	var links [][2]string // link id, tag id
	fail := w.api.pages(ctx, "/contacts/"+contactID+"/contactTags", nil, func(body []byte) (int, error) {
		var page struct {
			ContactTags []struct {
				ID  flexible `json:"id"`
				Tag flexible `json:"tag"`
			} `json:"contactTags"`
		}
		err := json.Unmarshal(body, &page)
		for _, l := range page.ContactTags {
			links = append(links, [2]string{string(l.ID), string(l.Tag)})
		}
		return len(page.ContactTags), err
	})
	if fail != nil {
		return fail
	}
	for _, l := range links {
		if !slices.Contains(unwanted, l[1]) {
			continue
		}
		r := w.api.call(ctx, http.MethodDelete, "/contactTags/"+l[0], nil, nil)
		if fail := classifyUnless(r, http.StatusNotFound); fail != nil {
			return fail
		}
	}
	for _, tagID := range unwanted {
		w.contacts.note(contactID, tagID, false)
	}
	return nil
}

// classifyUnless is nil for a success, and for one status that is as good as one.
func classifyUnless(r reply, good int) *failure {
	if r.ok(nil) || r.status() == good {
		return nil
	}
	return classify(r)
}

var errNoTracking = errors.New("event tracking is not configured for this destination")
