package getresponse

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// confirmPause is how often someone who has to confirm is looked for.
const confirmPause = time.Hour

// contact brings the contact into the desired state. All its requests may be repeated.
func (w *writer) contact(ctx context.Context, c *schemas.Contact) *failure {
	email, fail := address(c)
	if fail != nil {
		return fail
	}
	d, fail := w.desire(ctx, c, true)
	if fail != nil {
		return fail
	}
	// Twice at most: a contact can vanish between the list and its details, and what is remembered can be old.
	for range 2 {
		id, fail := w.find(ctx, email, d)
		if fail != nil {
			return fail
		}
		have, fail := w.read(ctx, id, email)
		if fail != nil {
			return fail
		}
		if have != nil {
			return w.converge(ctx, d, have)
		}
		w.people.forget(email)
	}
	return &failure{kind: failRetry, cause: "the contact vanished while it was read", remedy: remedyAgain, retryAfter: queueSteps[0]}
}

// address is the contact's e-mail address, as far as it can be one.
func address(c *schemas.Contact) (string, *failure) {
	email := strings.TrimSpace(c.Email)
	if local, domain, ok := strings.Cut(email, "@"); !ok || local == "" || domain == "" || strings.ContainsAny(email, " \t\r\n") {
		return "", reject("map an e-mail address, or correct it, and replay", "the contact has no e-mail address, which getresponse needs")
	}
	return email, nil
}

// details are what the API shows of one contact.
type details struct {
	ID       string          `json:"contactId"`
	Email    string          `json:"email"`
	Name     string          `json:"name"`
	Campaign campaign        `json:"campaign"`
	Tags     []tagRef        `json:"tags"`
	Values   []held          `json:"customFieldValues"`
	Scoring  json.RawMessage `json:"scoring"` // null: none
}

// held is a value that a contact has; both forms are documented.
type held struct {
	ID     string   `json:"customFieldId"`
	Value  []string `json:"value"`
	Values []string `json:"values"`
}

// find returns the id of the address's contact, who is created as desired where there is none. d nil: it is asked for
// by name only, and not created.
func (w *writer) find(ctx context.Context, email string, d *desired) (string, *failure) {
	known := w.people.get(email)
	if known.id != "" {
		return known.id, nil
	}
	id, fail := w.search(ctx, email)
	if fail == nil && id == "" && d != nil {
		if fail = w.absent(ctx, d, known.created); fail == nil {
			// The queue can be quick.
			id, fail = w.search(ctx, email)
		}
		if fail == nil && id == "" {
			fail = w.waiting(queueSteps[0])
		}
	}
	if fail == nil && id != "" {
		w.people.is(email, id)
	}
	return id, fail
}

func (w *writer) waiting(wait time.Duration) *failure {
	return &failure{
		kind: failRetry, cause: "getresponse has accepted the new contact and does not show it yet", retryAfter: wait,
		remedy: "nothing: GetResponse creates contacts through a queue; it is looked for again",
	}
}

// read returns the contact's details; nil where the id is gone or belongs to another address now.
func (w *writer) read(ctx context.Context, id, email string) (*details, *failure) {
	r := w.api.call(ctx, http.MethodGet, "/contacts/"+url.PathEscape(id), nil, nil)
	var have details
	if !r.ok(&have) {
		if fail := classify(r); fail.code != codeNotFound {
			return nil, fail
		}
		return nil, nil
	}
	if have.ID != id || !strings.EqualFold(have.Email, email) {
		return nil, nil
	}
	return &have, nil
}

// search returns the id of the address's contact: on the configured list, or else the oldest on another one; "" where
// there is none to be seen.
func (w *writer) search(ctx context.Context, email string) (string, *failure) {
	found, fail := w.rows(ctx, email)
	if fail != nil || len(found) == 0 {
		return "", fail
	}
	best := slices.MinFunc(found, func(a, b row) int {
		switch onA, onB := a.Campaign.ID == w.list, b.Campaign.ID == w.list; {
		case onA != onB && onA:
			return -1
		case onA != onB:
			return 1
		}
		if by := strings.Compare(a.Created, b.Created); by != 0 { // one form, in one zone
			return by
		}
		return strings.Compare(a.ID, b.ID)
	})
	return best.ID, nil
}

// row is one contact of a list: a person on one list.
type row struct {
	ID       string   `json:"contactId"`
	Email    string   `json:"email"`
	Created  string   `json:"createdOn"`
	Campaign campaign `json:"campaign"`
}

type campaign struct {
	ID string `json:"campaignId"`
}

// rows are the address's contacts that lists show, one for each list.
func (w *writer) rows(ctx context.Context, email string) (found []row, fail *failure) {
	query := url.Values{"query[email]": {email}, "additionalFlags": {"exactMatch"}}
	fail = w.api.pages(ctx, "/contacts", query, rowsPerPage, func(body []byte) (int, error) {
		var page []row
		err := json.Unmarshal(body, &page)
		for _, x := range page {
			// Without the flag the filter is a pattern.
			if strings.EqualFold(x.Email, email) {
				found = append(found, x)
			}
		}
		return len(page), err
	})
	return found, fail
}

// absent deals with an address that no list shows. nil: it was created just now. created is when that was asked for
// before; zero: never.
func (w *writer) absent(ctx context.Context, d *desired, created time.Time) *failure {
	switch state, fail := w.standing(ctx, d.email, w.list); {
	case fail != nil:
		if fail.code == codeRelated {
			return w.relatedMissing(ctx, fail)
		}
		return fail
	case state == unconfirmed:
		return unconfirmedFailure()
	case state != "":
		w.people.forget(d.email)
		return left(state)
	case created.IsZero():
		return w.create(ctx, d)
	case w.now().Sub(created) < queuePatience:
		return w.waiting(w.people.looked(d.email))
	}
	w.people.forget(d.email)
	return reject("look for the address in GetResponse: it can be on a blocklist or be refused as invalid; correct it and replay",
		"getresponse accepted the new contact and did not create it within %s", queuePatience)
}

func unconfirmedFailure() *failure {
	return &failure{
		kind: failRetry, cause: "the contact has not confirmed yet to be on the list", retryAfter: confirmPause,
		remedy: "the person has to confirm; or switch double opt-in for the API off in the list's settings in GetResponse",
	}
}

func left(state string) *failure {
	return reject(remedyLeft, "the contact is not on the list any more (%s) and is not subscribed again", state)
}

// unconfirmed is the standing of someone who was asked to confirm; removed begins that of someone who left.
const (
	unconfirmed = "unconfirmed"
	removed     = "removed"
)

// standing tells why an address is not shown on a list: unconfirmed, or that it left (removed, with the reason); "": it
// never was there, or is in the queue. Of several lists, one where the person has to confirm counts first, then the last.
func (w *writer) standing(ctx context.Context, email string, lists ...string) (string, *failure) {
	section := map[string]any{
		"campaignIdsList": lists, "logicOperator": "and", "subscriptionDate": "all_time",
		"subscriberCycle": []string{"receiving_autoresponder", "not_receiving_autoresponder"},
		"conditions": []map[string]string{
			{"conditionType": "email", "operatorType": "string_operator", "operator": "is", "value": email},
		},
	}
	r := w.api.call(ctx, http.MethodPost, "/search-contacts/contacts", nil, map[string]any{
		"subscribersType": []string{"undelivered", "removed", "unconfirmed"}, "sectionLogicOperator": "and", "section": []any{section},
	})
	var rows []struct {
		Email   string `json:"email"`
		Reason  string `json:"reason"`
		Deleted string `json:"deletedOn"`
	}
	if !r.ok(&rows) {
		return "", classify(r)
	}
	state := ""
	for _, x := range rows {
		switch {
		case !strings.EqualFold(x.Email, email):
		case x.Reason == "" && x.Deleted == "":
			// Who left and signed up again by themselves has to confirm, no more.
			return unconfirmed, nil
		default:
			state = strings.TrimSpace(removed + " " + shorten(x.Reason))
		}
	}
	return state, nil
}

// newContact is the body that creates one.
type newContact struct {
	Email    string       `json:"email"`
	Name     string       `json:"name,omitempty"`
	Campaign campaign     `json:"campaign"`
	Score    json.Number  `json:"scoring,omitempty"`
	Tags     []tagRef     `json:"tags,omitempty"`
	Values   []fieldValue `json:"customFieldValues,omitempty"`
}

// create asks for a contact with all that is desired. It is in a queue then, and has no id yet.
func (w *writer) create(ctx context.Context, d *desired) *failure {
	r := w.api.call(ctx, http.MethodPost, "/contacts", nil, newContact{
		Email: d.email, Name: d.name, Campaign: campaign{w.list}, Score: d.score, Tags: refs(d.add), Values: d.values,
	})
	if r.ok(nil) {
		w.people.queued(d.email)
		return nil
	}
	fail := classify(r)
	switch {
	case fail.code == codeTaken || fail.status == http.StatusConflict:
		// It is on the list already, and the lists do not show it yet.
		return w.waiting(w.people.queued(d.email))
	case fail.code == codeRelated:
		return w.relatedMissing(ctx, fail)
	case fail.kind == failUnknown:
		// Perhaps in the queue: it is looked for before it is asked for again, and an address is on a list once.
		fail.retryAfter = queueSteps[0]
	}
	return fail
}

// relatedMissing finds out which of the things that a request named is gone.
func (w *writer) relatedMissing(ctx context.Context, fail *failure) *failure {
	if r := w.api.call(ctx, http.MethodGet, "/campaigns/"+url.PathEscape(w.list), nil, nil); !r.ok(nil) {
		if about := classify(r); about.code != codeNotFound {
			return about
		}
		return &failure{kind: failAccount, cause: "the list " + w.list + " does not exist in getresponse", remedy: "correct list in the destination's settings"}
	}
	old, cut := w.catalogue.forget(ctx)
	switch {
	case cut != nil:
		return cut
	case old:
		// A field or tag went away after its id was read: the next try names it or makes it.
		fail.kind, fail.retryAfter = failRetry, 0
		fail.cause += " (a custom field or tag was deleted in getresponse)"
	}
	return fail
}

func refs(ids []string) []tagRef {
	var out []tagRef
	for _, id := range ids {
		out = append(out, tagRef{id})
	}
	return out
}

// converge writes what the contact lacks, and nothing where it lacks nothing.
func (w *writer) converge(ctx context.Context, d *desired, have *details) *failure {
	path := "/contacts/" + url.PathEscape(have.ID)
	whole, fail := replacement(d, have)
	if fail != nil {
		return fail
	}
	if len(whole) > 0 {
		if fail := w.post(ctx, d, path, whole); fail != nil {
			return fail
		}
	}
	if values := d.changed(have); len(values) > 0 && whole["customFieldValues"] == nil {
		if fail := w.post(ctx, d, path+"/custom-fields", map[string]any{"customFieldValues": values}); fail != nil {
			return fail
		}
	}
	if add := d.missingTags(have); len(add) > 0 && whole["tags"] == nil {
		return w.post(ctx, d, path+"/tags", map[string]any{"tags": refs(add)})
	}
	return nil
}

// replacement is the part of the change that only updating the contact can make. It replaces all tags when it names any,
// and all values: so the ones that are nobody's business here are repeated from what was read just before.
func replacement(d *desired, have *details) (map[string]any, *failure) {
	body := map[string]any{}
	if d.name != "" && d.name != have.Name {
		body["name"] = d.name
	}
	if d.scored && !d.sameScore(have) {
		body["scoring"] = nil
		if d.score != "" {
			body["scoring"] = d.score
		}
	}
	var rest []string
	removes := false
	for _, t := range have.Tags {
		if slices.Contains(d.remove, t.ID) {
			removes = true
			continue
		}
		rest = append(rest, t.ID)
	}
	if removes {
		if len(have.Tags) >= tagsOfContact {
			return nil, reject("remove tags of the contact in GetResponse and replay",
				"the contact has %d tags or more: removing one through the API would lose those that it does not show", tagsOfContact)
		}
		body["tags"] = append([]tagRef{}, refs(append(rest, d.missingTags(have)...))...)
	}
	values := append([]fieldValue{}, d.values...)
	empties := false
	for _, v := range have.Values {
		_, named := d.fields[v.ID]
		empties = empties || named && slices.Contains(d.empty, v.ID) && len(v.all()) > 0
		if !named && len(v.all()) > 0 {
			values = append(values, fieldValue{v.ID, v.all()})
		}
	}
	if empties {
		body["customFieldValues"] = values
	}
	return body, nil
}

func (v held) all() []string {
	if v.Value != nil {
		return v.Value
	}
	return v.Values
}

// changed are the desired values that the contact does not have.
func (d *desired) changed(have *details) []fieldValue {
	var out []fieldValue
	for _, want := range d.values {
		i := slices.IndexFunc(have.Values, func(v held) bool { return v.ID == want.ID })
		if i < 0 || !d.fields[want.ID].same(have.Values[i].all(), want.Value) {
			out = append(out, want)
		}
	}
	return out
}

// missingTags are the desired tags that the contact does not have.
func (d *desired) missingTags(have *details) []string {
	var out []string
	for _, id := range d.add {
		if !slices.ContainsFunc(have.Tags, func(t tagRef) bool { return t.ID == id }) {
			out = append(out, id)
		}
	}
	return out
}

// post writes one part of the contact.
func (w *writer) post(ctx context.Context, d *desired, path string, body any) *failure {
	r := w.api.call(ctx, http.MethodPost, path, nil, body)
	if r.ok(nil) {
		return nil
	}
	fail := classify(r)
	switch fail.code {
	case codeNotFound:
		// Gone since it was read: the next try looks for the address.
		w.people.forget(d.email)
		fail.kind, fail.retryAfter = failRetry, queueSteps[0]
	case codeRelated:
		return w.relatedMissing(ctx, fail)
	}
	return fail
}
