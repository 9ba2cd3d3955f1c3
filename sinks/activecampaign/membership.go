package activecampaign

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// statuses of a contact on a list, in the API's numbers.
var statuses = map[string]schemas.Standing{
	"0": schemas.StandingUnconfirmed, "1": schemas.StandingActive, "2": schemas.StandingUnsubscribed, "3": schemas.StandingBounced,
}

const (
	statusSubscribe   = "1"
	statusUnsubscribe = "2"
)

// left reports whether somebody must not be put on the list (again): status 1 over 2 would bring back someone who left.
func left(s schemas.Standing) bool {
	return s == schemas.StandingUnsubscribed || s == schemas.StandingBounced
}

// find returns the id of the contact with this address; "" where there is none.
func (w *writer) find(ctx context.Context, email string) (string, *failure) {
	var found struct {
		Contacts []struct {
			ID flexible `json:"id"`
		} `json:"contacts"`
	}
	r := w.api.call(ctx, http.MethodGet, "/contacts", url.Values{"email": {strings.TrimSpace(email)}}, nil)
	if !r.ok(&found) {
		return "", classify(r)
	}
	if len(found.Contacts) == 0 {
		return "", nil
	}
	return string(found.Contacts[0].ID), nil
}

// made is find, and makes the contact where there is none, with its address and name only.
func (w *writer) made(ctx context.Context, c *schemas.Contact) (string, *failure) {
	id, fail := w.find(ctx, c.Email)
	if id != "" || fail != nil {
		return id, fail
	}
	id, _, fail = w.sync(ctx, c, nil)
	return id, fail
}

// standings returns what the contact is to each list, by the list's id.
func (w *writer) standings(ctx context.Context, contactID string) (map[string]schemas.Standing, *failure) {
	out := map[string]schemas.Standing{}
	fail := w.api.pages(ctx, "/contacts/"+url.PathEscape(contactID)+"/contactLists", nil, func(body []byte) (int, error) {
		var page struct {
			ContactLists []struct {
				List   flexible `json:"list"`
				Status flexible `json:"status"`
			} `json:"contactLists"`
		}
		err := json.Unmarshal(body, &page)
		before := len(out)
		for _, m := range page.ContactLists {
			standing, known := statuses[string(m.Status)]
			if !known {
				standing = schemas.StandingUnknown
			}
			out[string(m.List)] = standing
		}
		return len(out) - before, err
	})
	return out, fail
}

// subscribe puts the contact on the list, unless it is there, or left.
func (w *writer) subscribe(ctx context.Context, contactID, listID, listName string, now schemas.Standing) *failure {
	switch {
	case now == schemas.StandingActive:
		return nil
	case left(now):
		return refusedFor(now, listName)
	}
	after, fail := w.setStatus(ctx, contactID, listID, statusSubscribe)
	if fail != nil {
		return fail
	}
	if left(after) {
		// He left between the reading and the writing, and the account kept that.
		return refusedFor(after, listName)
	}
	return nil
}

func refusedFor(s schemas.Standing, listName string) *failure {
	if s == schemas.StandingBounced {
		return &failure{
			kind: failReject, cause: fmt.Sprintf("messages to the contact bounced on the list %.80q, so it is not put there again", listName),
			remedy: "correct the contact's e-mail address",
		}
	}
	return &failure{
		kind: failReject, cause: fmt.Sprintf("the contact is unsubscribed from the list %.80q, so it is not put there again", listName),
		remedy: "nothing, if the contact left; where an earlier move took it off, use a tag in place of moving back, or subscribe it by hand in ActiveCampaign",
	}
}

// setStatus writes one membership and returns what the account made of it; empty where it did not say.
func (w *writer) setStatus(ctx context.Context, contactID, listID, status string) (schemas.Standing, *failure) {
	var answer struct {
		ContactList struct {
			Status flexible `json:"status"`
		} `json:"contactList"`
	}
	r := w.api.call(ctx, http.MethodPost, "/contactLists", nil, map[string]any{
		"contactList": map[string]string{"list": listID, "contact": contactID, "status": status},
	})
	if r.ok(&answer) {
		return statuses[string(answer.ContactList.Status)], nil
	}
	fail := classify(r)
	if fail.code == "related_missing" || fail.status == http.StatusNotFound && fail.kind == failReject {
		// The list or the contact was deleted after we learnt its id: the next try looks again.
		w.lists.gone(ctx)
		fail.kind = failRetry
	}
	return "", fail
}

// addToList is EffectAddToList.
func (w *writer) addToList(ctx context.Context, cmd *schemas.Command) *failure {
	listID, fail := w.lists.id(ctx, cmd.Effect.Name)
	if fail != nil {
		return fail
	}
	contactID, fail := w.made(ctx, &cmd.Contact)
	if fail != nil {
		return fail
	}
	now, fail := w.standings(ctx, contactID)
	if fail != nil {
		return fail
	}
	return w.subscribe(ctx, contactID, listID, cmd.Effect.Name, now[listID])
}

// moveToList is EffectMoveToList: onto the new list first, so that a failure in between leaves the contact on both and
// not on none. The API has no other way off a list than to unsubscribe.
func (w *writer) moveToList(ctx context.Context, cmd *schemas.Command) *failure {
	to, from, fail := w.moveLists(ctx, cmd)
	if fail != nil {
		return fail
	}
	contactID, fail := w.made(ctx, &cmd.Contact)
	if fail != nil {
		return fail
	}
	now, fail := w.standings(ctx, contactID)
	if fail != nil {
		return fail
	}
	if moved(now, to, from) {
		return nil
	}
	if left(now[from]) {
		return refusedFor(now[from], cmd.Effect.Arguments[schemas.ArgumentFrom])
	}
	if fail := w.subscribe(ctx, contactID, to, cmd.Effect.Name, now[to]); fail != nil {
		return fail
	}
	if was := now[from]; to == from || was == "" {
		return nil
	}
	_, fail = w.setStatus(ctx, contactID, from, statusUnsubscribe)
	return fail
}

func (w *writer) moveLists(ctx context.Context, cmd *schemas.Command) (to, from string, fail *failure) {
	if to, fail = w.lists.id(ctx, cmd.Effect.Name); fail != nil {
		return "", "", fail
	}
	from, fail = w.lists.id(ctx, cmd.Effect.Arguments[schemas.ArgumentFrom])
	return to, from, fail
}

// moved reports whether a move is done: on the one, and not, or not any more, on the other.
func moved(now map[string]schemas.Standing, to, from string) bool {
	was := now[from]
	return now[to] == schemas.StandingActive && (to == from || was == "" || left(was))
}

// Standing implements sinks.ListReader.
func (w *writer) Standing(ctx context.Context, email, list string) (schemas.Standing, sinks.Outcome) {
	ctx, rec := outbound.Record(ctx)
	standing, fail := w.standing(ctx, email, list)
	o := fail.outcome(false)
	o.Exchanges = w.scrub(rec.Exchanges())
	return standing, o
}

func (w *writer) standing(ctx context.Context, email, list string) (schemas.Standing, *failure) {
	if strings.TrimSpace(email) == "" {
		return schemas.StandingUnknown, noAddress()
	}
	listID, fail := w.lists.id(ctx, list)
	if fail != nil {
		return schemas.StandingUnknown, fail
	}
	contactID, fail := w.find(ctx, email)
	if fail != nil {
		return schemas.StandingUnknown, fail
	}
	if contactID == "" {
		return schemas.StandingAbsent, nil
	}
	now, fail := w.standings(ctx, contactID)
	if fail != nil && fail.status == http.StatusNotFound && fail.kind == failReject { // deleted meanwhile
		return schemas.StandingAbsent, nil
	}
	if fail != nil {
		return schemas.StandingUnknown, fail
	}
	standing := now[listID]
	switch standing {
	case "":
		return schemas.StandingAbsent, nil
	case schemas.StandingUnknown:
		return standing, &failure{
			kind: failReject, cause: "activecampaign gives the contact a status on the list that is not documented",
			remedy: "look at the contact in ActiveCampaign",
		}
	}
	return standing, nil
}

func noAddress() *failure {
	return &failure{
		kind: failReject, cause: "the contact has no e-mail address, which activecampaign needs",
		remedy: "map an e-mail address, or add it to the order, and replay",
	}
}
