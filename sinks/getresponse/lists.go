package getresponse

import (
	"context"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// on returns the id of the address's contact on a list; "" where the list does not show one.
func (w *writer) on(ctx context.Context, email, list string) (string, *failure) {
	rows, fail := w.rows(ctx, email)
	if i := slices.IndexFunc(rows, func(x row) bool { return x.Campaign.ID == list }); fail == nil && i >= 0 {
		return rows[i].ID, nil
	}
	return "", fail
}

// joinKey names a person on one list in writer.joins, which do not tell the case of letters apart; ids of lists do.
func joinKey(list, email string) string { return hex.EncodeToString([]byte(list)) + " " + email }

// addToList puts the contact on a list, where others stay as they are. An address is on a list once, so that all of it
// may be repeated.
func (w *writer) addToList(ctx context.Context, cmd *schemas.Command) *failure {
	email, fail := address(&cmd.Contact)
	if fail != nil {
		return fail
	}
	to, fail := w.catalogue.list(ctx, cmd.Effect.Name)
	if fail != nil {
		return fail
	}
	id, fail := w.on(ctx, email, to.id)
	switch {
	case fail != nil:
		return fail
	case id != "":
		w.joins.forget(joinKey(to.id, email))
		return nil
	}
	return w.join(ctx, cmd, email, to)
}

// join puts someone on a list who is not to be seen there. Who left it stays away. Who has to confirm has been asked, and
// the rest is theirs.
func (w *writer) join(ctx context.Context, cmd *schemas.Command, email string, to named) *failure {
	key := joinKey(to.id, email)
	state, fail := w.standing(ctx, email, to.id)
	switch {
	case fail != nil:
		return w.related(ctx, to, fail)
	case state != "":
		w.joins.forget(key)
		if state == unconfirmed {
			return nil
		}
		return left(state)
	}
	switch asked := w.joins.get(key).created; {
	case asked.IsZero():
		if fail := w.copyTo(ctx, cmd, email, to); fail != nil {
			return fail
		}
		// The queue can be quick.
		if id, fail := w.on(ctx, email, to.id); fail != nil || id != "" {
			w.joins.forget(key)
			return fail
		}
		return w.waiting(queueSteps[0])
	case w.now().Sub(asked) < queuePatience:
		return w.waiting(w.joins.looked(key))
	}
	w.joins.forget(key)
	return reject("look for the address in GetResponse: it can be on a blocklist or be refused as invalid; correct it and replay",
		"getresponse accepted the contact for the list and did not put it there within %s", queuePatience)
}

// copyTo creates the contact on the list: with the name and the fields of the one on another list, if there is one, and
// with what the command names. GetResponse has no call that copies.
func (w *writer) copyTo(ctx context.Context, cmd *schemas.Command, email string, to named) *failure {
	d, fail := w.desire(ctx, &cmd.Contact, true)
	if fail != nil {
		return fail
	}
	from, fail := w.person(ctx, email)
	if fail != nil {
		return fail
	}
	body := newContact{Email: d.email, Name: d.name, Campaign: campaign{to.id}, Score: d.score, Tags: refs(d.add), Values: d.values}
	if from != nil {
		if body.Name == "" {
			body.Name = from.Name
		}
		for _, v := range from.Values {
			if _, named := d.fields[v.ID]; !named && len(v.all()) > 0 {
				body.Values = append(body.Values, fieldValue{v.ID, v.all()})
			}
		}
	}
	r := w.api.call(ctx, http.MethodPost, "/contacts", nil, body)
	if r.ok(nil) {
		w.joins.queued(joinKey(to.id, email))
		return nil
	}
	fail = classify(r)
	switch {
	case fail.code == codeTaken || fail.status == http.StatusConflict:
		// It is on the list already, and the list does not show it yet.
		return w.waiting(w.joins.queued(joinKey(to.id, email)))
	case fail.kind == failUnknown:
		// Perhaps in the queue: it is looked for before it is asked for again.
		fail.retryAfter = queueSteps[0]
	}
	return w.related(ctx, to, fail)
}

// person returns the details of the address's contact, on whichever list; nil where there is none to be seen.
func (w *writer) person(ctx context.Context, email string) (*details, *failure) {
	// Twice at most: what is remembered can be old.
	for range 2 {
		id, fail := w.find(ctx, email, nil)
		if fail != nil || id == "" {
			return nil, fail
		}
		if have, fail := w.read(ctx, id, email); have != nil || fail != nil {
			return have, fail
		}
		w.people.forget(email)
	}
	return nil, nil
}

// related finds out which of the things that a request about a list named is gone.
func (w *writer) related(ctx context.Context, list named, fail *failure) *failure {
	if fail.code != codeRelated {
		return fail
	}
	if gone := w.listGone(ctx, list); gone != nil {
		return gone
	}
	old, cut := w.catalogue.forget(ctx)
	switch {
	case cut != nil:
		return cut
	case old:
		fail.kind, fail.retryAfter = failRetry, 0
		fail.cause += " (a custom field or tag was deleted in getresponse)"
	}
	return fail
}

// moveToList takes the contact from one list to another, with its history. All of it may be repeated: each look shows how
// far it came.
func (w *writer) moveToList(ctx context.Context, cmd *schemas.Command) *failure {
	email, fail := address(&cmd.Contact)
	if fail != nil {
		return fail
	}
	to, fail := w.catalogue.list(ctx, cmd.Effect.Name)
	if fail != nil {
		return fail
	}
	from, fail := w.catalogue.list(ctx, cmd.Effect.Arguments[schemas.ArgumentFrom])
	if fail != nil {
		return fail
	}
	there, fail := w.on(ctx, email, to.id)
	if fail != nil {
		return fail
	}
	here, fail := w.on(ctx, email, from.id)
	switch {
	case fail != nil:
		return fail
	case there != "" && (here == "" || from.id == to.id):
		w.joins.forget(joinKey(to.id, email))
		return nil
	case here == "":
		return w.joinFrom(ctx, cmd, email, from, to)
	case there != "":
		return w.takeOff(ctx, email, here)
	}
	switch state, fail := w.standing(ctx, email, to.id); {
	case fail != nil:
		return w.related(ctx, to, fail)
	case state == unconfirmed:
		return unconfirmedFailure() // then he is on both, and is taken off the first
	case state != "":
		return left(state)
	}
	return w.move(ctx, email, here, to)
}

// joinFrom puts someone on a list who is on neither, unless they left the one to be moved from: that was not us, for a
// move ends on the other list.
func (w *writer) joinFrom(ctx context.Context, cmd *schemas.Command, email string, from, to named) *failure {
	switch state, fail := w.standing(ctx, email, from.id); {
	case fail != nil:
		return w.related(ctx, from, fail)
	case state != "" && state != unconfirmed:
		return left(state)
	}
	return w.join(ctx, cmd, email, to)
}

func (w *writer) move(ctx context.Context, email, id string, to named) *failure {
	r := w.api.call(ctx, http.MethodPost, "/contacts/"+url.PathEscape(id), nil, map[string]any{"campaign": campaign{to.id}})
	w.people.forget(email)
	if r.ok(nil) {
		return nil
	}
	fail := classify(r)
	if fail.code == codeTaken || fail.status == http.StatusConflict || fail.code == codeNotFound {
		// On the other list already, or gone from this one, since both were looked at.
		fail.kind, fail.retryAfter, fail.remedy = failRetry, queueSteps[0], remedyAgain
	}
	return w.related(ctx, to, fail)
}

// takeOff removes the contact of one list, who is on the other one already: GetResponse moves nobody onto a list that has
// the address.
func (w *writer) takeOff(ctx context.Context, email, id string) *failure {
	r := w.api.call(ctx, http.MethodDelete, "/contacts/"+url.PathEscape(id), nil, nil)
	w.people.forget(email)
	if r.ok(nil) {
		return nil
	}
	if fail := classify(r); fail.code != codeNotFound {
		return fail
	}
	return nil
}

// Standing implements sinks.ListReader. Someone whose creation is still in GetResponse's queue is not on the list yet.
func (w *writer) Standing(ctx context.Context, email, list string) (schemas.Standing, sinks.Outcome) {
	ctx, rec := outbound.Record(ctx)
	standing, fail := w.asked(ctx, email, list)
	o := fail.outcome(false)
	o.Exchanges = w.scrub(rec.Exchanges())
	return standing, o
}

func (w *writer) asked(ctx context.Context, email, list string) (schemas.Standing, *failure) {
	email, fail := address(&schemas.Contact{Email: email})
	if fail != nil {
		return schemas.StandingUnknown, fail
	}
	of, fail := w.catalogue.list(ctx, list)
	if fail != nil {
		return schemas.StandingUnknown, fail
	}
	id, fail := w.on(ctx, email, of.id)
	if fail != nil {
		return schemas.StandingUnknown, fail
	}
	if id != "" {
		return schemas.StandingActive, nil
	}
	state, fail := w.standing(ctx, email, of.id)
	switch {
	case fail != nil:
		return schemas.StandingUnknown, w.related(ctx, of, fail)
	case state == "":
		return schemas.StandingAbsent, nil
	case state == unconfirmed:
		return schemas.StandingUnconfirmed, nil
	case bounced(state):
		return schemas.StandingBounced, nil
	}
	return schemas.StandingUnsubscribed, nil
}

// joined is Reconcile for both list actions: whether the contact is where it was to come.
func (w *writer) joined(ctx context.Context, cmd *schemas.Command) (bool, *failure) {
	standing, fail := w.asked(ctx, cmd.Contact.Email, cmd.Effect.Name)
	good := standing == schemas.StandingActive
	if fail != nil || cmd.Effect.Type == schemas.EffectAddToList {
		return good || standing == schemas.StandingUnconfirmed, fail
	}
	from, fail := w.catalogue.list(ctx, cmd.Effect.Arguments[schemas.ArgumentFrom])
	if fail != nil || !good {
		return false, fail
	}
	to, fail := w.catalogue.list(ctx, cmd.Effect.Name)
	if fail != nil || from.id == to.id {
		return fail == nil, fail
	}
	here, fail := w.on(ctx, strings.TrimSpace(cmd.Contact.Email), from.id)
	return here == "", fail
}
