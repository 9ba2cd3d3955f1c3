package getresponse

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A named thing of the account: a list, a store.
type named struct{ id, name, created string }

// roster are the things of one kind that the account has.
type roster struct {
	what, path string // for people and for the API
	at         time.Time
	rows       []named // oldest first
}

// read reads the roster anew.
func (c *catalogue) read(ctx context.Context, r *roster) *failure {
	var rows []named
	fail := c.api.pages(ctx, r.path, nil, fieldsPerPage, func(body []byte) (int, error) {
		var page []struct {
			CampaignID string `json:"campaignId"`
			ShopID     string `json:"shopId"`
			Name       string `json:"name"`
			Created    string `json:"createdOn"`
		}
		err := json.Unmarshal(body, &page)
		for _, x := range page {
			if id := x.CampaignID + x.ShopID; id != "" { // one of the two is empty
				rows = append(rows, named{id, x.Name, x.Created})
			}
		}
		return len(page), err
	})
	if fail != nil {
		return fail
	}
	slices.SortStableFunc(rows, func(a, b named) int { return strings.Compare(a.created, b.created) })
	r.rows, r.at = rows, c.now()
	return nil
}

// find returns what a word names: an id, or a name in any case of letters. Of several with one name it takes the one in
// the word's own case, and else the oldest, so that all processes take the same. clash: the word is one thing's id and
// another's name.
func (r *roster) find(word string) (found named, ok, clash bool) {
	var byName []named
	for _, x := range r.rows {
		if x.id == word {
			found, ok = x, true
		}
		if strings.EqualFold(strings.TrimSpace(x.name), word) {
			byName = append(byName, x)
		}
	}
	if len(byName) == 0 {
		return found, ok, false
	}
	if ok {
		return found, true, !slices.Contains(byName, found)
	}
	if i := slices.IndexFunc(byName, func(x named) bool { return strings.TrimSpace(x.name) == word }); i > 0 {
		return byName[i], true, false
	}
	return byName[0], true, false
}

// pick finds what a word names, after reading the roster again where it is old or misses the word. The caller has the turn.
func (c *catalogue) pick(ctx context.Context, r *roster, word string) (found named, ok bool, fail *failure) {
	found, ok, clash := r.find(word)
	if c.stale(r.at, !ok) {
		if fail = c.read(ctx, r); fail != nil {
			return named{}, false, fail
		}
		found, ok, clash = r.find(word)
	}
	if clash {
		return named{}, false, reject("name the "+r.what+" by its other word, or rename the other one in GetResponse, and replay",
			"%s is one %s's id and another one's name in getresponse", quoted(word), r.what)
	}
	return found, ok, nil
}

// listIDs are the ids of all lists.
func (c *catalogue) listIDs(ctx context.Context) ([]string, *failure) {
	if fail := c.turn.take(ctx); fail != nil {
		return nil, fail
	}
	defer c.turn.give()
	if c.stale(c.lists.at, false) {
		if fail := c.read(ctx, &c.lists); fail != nil {
			return nil, fail
		}
	}
	ids := make([]string, len(c.lists.rows))
	for i, l := range c.lists.rows {
		ids[i] = l.id
	}
	return ids, nil
}

// names are the first names of the roster with their ids, for people.
func (r *roster) names() string {
	var out []string
	for _, x := range r.rows[:min(len(r.rows), listsNamedMax)] {
		out = append(out, fmt.Sprintf("%s (%s)", shorten(x.name), x.id))
	}
	return strings.Join(out, ", ")
}

// list returns the list that a word names.
func (c *catalogue) list(ctx context.Context, word string) (named, *failure) {
	word = strings.TrimSpace(word)
	if word == "" {
		return named{}, reject("name the list in the action and replay", "the action names no list")
	}
	if fail := c.turn.take(ctx); fail != nil {
		return named{}, fail
	}
	defer c.turn.give()
	found, ok, fail := c.pick(ctx, &c.lists, word)
	if fail == nil && !ok {
		fail = reject("name one of the account's lists, and replay: "+c.lists.names(), "there is no list %s in getresponse", quoted(word))
	}
	return found, fail
}

// listGone judges a request that was refused because something that it names does not exist, after the list was looked
// up: nil where the list is still there.
func (w *writer) listGone(ctx context.Context, list named) *failure {
	r := w.api.call(ctx, "GET", "/campaigns/"+url.PathEscape(list.id), nil, nil)
	if r.ok(nil) {
		return nil
	}
	fail := classify(r)
	if fail.code == codeNotFound {
		w.catalogue.forgetLists(ctx)
		return reject("name another list in the action, and replay", "the list %s was deleted in getresponse", quoted(list.name))
	}
	return fail
}

func (c *catalogue) forgetLists(ctx context.Context) {
	if c.turn.take(ctx) != nil {
		return
	}
	defer c.turn.give()
	c.lists.at = time.Time{}
}
