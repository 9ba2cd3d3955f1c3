package activecampaign

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// names are the lists, or the automations, of the account by name. They are read whole, over all pages, on first use and
// again when a name is missing.
type names struct {
	api  *client
	now  func() time.Time
	path string // of the collection, and with its first letter off the member that holds the rows
	what string // one of them, in words

	turn   turn // what is below is read and written in turn
	byName map[string][]string
	ids    map[string]bool
	readAt time.Time
}

// id returns the id of what is called name, whatever the case, or has name for its id.
func (n *names) id(ctx context.Context, name string) (string, *failure) {
	key := strings.ToLower(strings.TrimSpace(name))
	if key == "" {
		return "", &failure{kind: failReject, cause: "the action names no " + n.what, remedy: "name one in the workflow and replay"}
	}
	if fail := n.turn.take(ctx); fail != nil {
		return "", fail
	}
	defer n.turn.give()
	fresh := false
	if n.byName != nil && n.now().Sub(n.readAt) >= catalogueFor {
		if fail := n.read(ctx); fail != nil {
			n.readAt = n.now().Add(refreshEvery - catalogueFor) // what is known serves on
		} else {
			fresh = true
		}
	}
	if id, fail := n.find(key); id != "" || fail != nil {
		return id, fail
	}
	if age := n.now().Sub(n.readAt); n.byName != nil && age < refreshEvery && !fresh {
		// It may have been made since; asking for each miss would use up the account's limit.
		return "", &failure{
			kind: failRetry, retryAfter: refreshEvery - age, remedy: n.remedy(),
			cause: fmt.Sprintf("no %s in activecampaign is called %.80q, as of %s ago", n.what, name, age.Round(time.Second)),
		}
	}
	if !fresh {
		if fail := n.read(ctx); fail != nil {
			return "", fail
		}
	}
	id, fail := n.find(key)
	if id == "" && fail == nil {
		fail = &failure{kind: failReject, cause: fmt.Sprintf("no %s in activecampaign is called %.80q", n.what, name), remedy: n.remedy()}
	}
	return id, fail
}

func (n *names) remedy() string {
	return "create the " + n.what + " in ActiveCampaign or correct its name in the workflow, and replay"
}

func (n *names) find(key string) (string, *failure) {
	switch found := n.byName[key]; {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", &failure{
			kind: failReject, cause: fmt.Sprintf("%d %ss in activecampaign are called %.80q", len(found), n.what, key),
			remedy: "name the one that is meant by its id (" + strings.Join(found, ", ") + ") in the workflow, and replay",
		}
	case n.ids[key]:
		return key, nil
	}
	return "", nil
}

func (n *names) read(ctx context.Context) *failure {
	byName, ids := map[string][]string{}, map[string]bool{}
	fail := n.api.pages(ctx, n.path, nil, func(body []byte) (int, error) {
		var page map[string]json.RawMessage
		if err := json.Unmarshal(body, &page); err != nil {
			return 0, err
		}
		var rows []struct {
			ID   flexible `json:"id"`
			Name string   `json:"name"`
		}
		if err := json.Unmarshal(page[n.path[1:]], &rows); err != nil {
			return 0, err
		}
		fresh := 0
		for _, r := range rows {
			if id := string(r.ID); id != "" && !ids[id] {
				ids[id] = true
				key := strings.ToLower(strings.TrimSpace(r.Name))
				byName[key] = append(byName[key], id)
				fresh++
			}
		}
		return fresh, nil
	})
	if fail != nil {
		return fail
	}
	n.byName, n.ids, n.readAt = byName, ids, n.now()
	return nil
}

// gone makes the next lookup read again: the account does not know an id any more that it gave.
func (n *names) gone(ctx context.Context) {
	if n.turn.take(ctx) != nil {
		return
	}
	defer n.turn.give()
	n.byName, n.ids, n.readAt = nil, nil, time.Time{}
}
