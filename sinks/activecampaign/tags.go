package activecampaign

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/schemas"
)

// lookFrom is how many tags that may be on a contact make it cheaper to read its tags than to send each.
const lookFrom = 3

// tags brings the contact's tags into the desired state with as few requests as that takes: none for what is known, one
// for each that is missing, and one that reads them all where one is to go or many may be there already.
func (w *writer) tags(ctx context.Context, contactID string, made bool, c *schemas.Contact) *failure {
	wanted, fail := w.tagIDs(ctx, c.Tags, true)
	if fail != nil {
		return fail
	}
	unwanted, fail := w.tagIDs(ctx, c.NoTags, false)
	if fail != nil {
		return fail
	}
	open := func(ids []tagged) (n int) {
		for _, t := range ids {
			if _, _, known := w.contacts.tag(contactID, t.id); !known {
				n++
			}
		}
		return n
	}
	if open(unwanted) > 0 || !made && open(wanted) >= lookFrom {
		if fail := w.look(ctx, contactID); fail != nil {
			return fail
		}
	}
	for _, t := range wanted {
		if fail := w.addTag(ctx, contactID, t); fail != nil {
			return fail
		}
	}
	for _, t := range unwanted {
		if fail := w.removeTag(ctx, contactID, t); fail != nil {
			return fail
		}
	}
	return nil
}

// tagged is a tag as a command names it, with its id.
type tagged struct{ name, id string }

// tagIDs finds the tags, or makes them. What is not to be made and is not there is left out.
func (w *writer) tagIDs(ctx context.Context, names []string, create bool) (out []tagged, fail *failure) {
	for _, name := range names {
		if strings.TrimSpace(name) == "" {
			continue
		}
		id, fail := w.catalogue.tag(ctx, name, create)
		if fail != nil {
			return nil, fail
		}
		if id != "" && !slices.ContainsFunc(out, func(t tagged) bool { return t.id == id }) {
			out = append(out, tagged{name, id})
		}
	}
	return out, nil
}

// look reads the contact's tags.
func (w *writer) look(ctx context.Context, contactID string) *failure {
	links, fail := w.links(ctx, contactID)
	if fail == nil {
		w.contacts.all(contactID, links)
	}
	return fail
}

// links are the rows that join the contact with its tags, by the tag's id. Only they can be deleted.
func (w *writer) links(ctx context.Context, contactID string) (map[string]string, *failure) {
	links := map[string]string{}
	fail := w.api.pages(ctx, "/contacts/"+contactID+"/contactTags", nil, func(body []byte) (int, error) {
		var page struct {
			ContactTags []struct {
				ID  flexible `json:"id"`
				Tag flexible `json:"tag"`
			} `json:"contactTags"`
		}
		err := json.Unmarshal(body, &page)
		before := len(links)
		for _, l := range page.ContactTags {
			links[string(l.Tag)] = string(l.ID)
		}
		return len(links) - before, err
	})
	if fail != nil && fail.kind == failReject && fail.status == http.StatusNotFound {
		fail.kind = failRetry // deleted since its id was given, a moment ago: the next try makes it again
	}
	return links, fail
}

func (w *writer) addTag(ctx context.Context, contactID string, t tagged) *failure {
	if _, has, known := w.contacts.tag(contactID, t.id); has && known {
		return nil
	}
	// 201 for a new link and 200 for one that was there.
	r := w.api.call(ctx, http.MethodPost, "/contactTags", nil, map[string]any{
		"contactTag": map[string]string{"contact": contactID, "tag": t.id},
	})
	var answer struct {
		ContactTag struct {
			ID flexible `json:"id"`
		} `json:"contactTag"`
	}
	if r.ok(&answer) {
		w.contacts.note(contactID, t.id, string(answer.ContactTag.ID), true)
		return nil
	}
	fail := classify(r)
	switch {
	case fail.kind == failReject && (fail.status == http.StatusNotFound || fail.code == "related_missing"):
		// The tag or the contact was deleted after we learnt its id: the next try makes it again.
		w.catalogue.forgetTag(ctx, t.name)
		w.contacts.forget(contactID)
		fail.kind = failRetry
	case fail.kind == failReject:
		fail.cause = fmt.Sprintf("tag %.80q: %s", t.name, fail.cause)
	}
	return fail
}

// removeTag deletes the link, by its own id.
func (w *writer) removeTag(ctx context.Context, contactID string, t tagged) *failure {
	link, has, known := w.contacts.tag(contactID, t.id)
	if known && !has {
		return nil
	}
	if link == "" { // more tags than are remembered, or an answer that did not name it
		links, fail := w.links(ctx, contactID)
		if fail != nil {
			return fail
		}
		if link = links[t.id]; link == "" {
			w.contacts.note(contactID, t.id, "", false)
			return nil
		}
	}
	r := w.api.call(ctx, http.MethodDelete, "/contactTags/"+link, nil, nil)
	switch {
	case r.ok(nil):
		w.contacts.note(contactID, t.id, "", false)
		return nil
	case r.status() != http.StatusNotFound:
		return classify(r)
	}
	// Removed by somebody else, and perhaps put there again since, by another link.
	w.contacts.forget(contactID)
	links, fail := w.links(ctx, contactID)
	if fail != nil {
		return fail
	}
	w.contacts.all(contactID, links)
	if links[t.id] == "" {
		return nil
	}
	if links[t.id] == link {
		fail = classify(r)
		fail.kind = failRetry // shown, and not there: it will be either
		return fail
	}
	if r := w.api.call(ctx, http.MethodDelete, "/contactTags/"+links[t.id], nil, nil); !r.ok(nil) && r.status() != http.StatusNotFound {
		return classify(r)
	}
	w.contacts.note(contactID, t.id, "", false)
	return nil
}
