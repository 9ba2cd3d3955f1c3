package getresponse

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Ages of what is known of the account.
const (
	refreshEvery = time.Minute      // how often a name that is not known may make a list be read again
	catalogueAge = 10 * time.Minute // how old a list may be
	eventsMax    = 10_000           // known custom events
)

// catalogue holds the account's custom fields, tags, custom events, lists and stores. It is read on first use, when it is old, and
// when a name is missing.
type catalogue struct {
	api *client
	now func() time.Time

	turn     turn // what is below is read and written in turn
	fields   map[string]field
	fieldsAt time.Time
	tags     map[string]string // lower-case name to id
	tagsAt   time.Time
	events   map[string]event // by name
	lists    roster
	shops    roster
	variants map[string]variant // what orders are of, by id of the store
	from     sender             // the account's default one
	fromAt   time.Time
}

func newCatalogue(api *client, now func() time.Time) *catalogue {
	return &catalogue{
		api: api, now: now, turn: newTurn(), lists: roster{what: "list", path: "/campaigns"}, shops: roster{what: "store", path: "/shops"},
	}
}

// event is a defined custom event.
type event struct {
	at    time.Time         // when it was read
	types map[string]string // type by name of the attribute
}

// stale reports whether a list has to be read again: it was never read, is old, or misses a name and is not of just now.
func (c *catalogue) stale(at time.Time, missing bool) bool {
	age := c.now().Sub(at)
	return at.IsZero() || age >= catalogueAge || missing && age >= refreshEvery
}

// find returns a field by its name, whatever the case. ok is false where there is none even after a refresh.
func (c *catalogue) find(ctx context.Context, name string) (f field, ok bool, fail *failure) {
	if fail = c.turn.take(ctx); fail != nil {
		return field{}, false, fail
	}
	defer c.turn.give()
	key := strings.ToLower(strings.TrimSpace(name))
	f, ok = c.fields[key]
	if c.stale(c.fieldsAt, !ok) {
		if fail = c.readFields(ctx); fail != nil {
			return field{}, false, fail
		}
		f, ok = c.fields[key]
	}
	return f, ok, nil
}

func (c *catalogue) readFields(ctx context.Context) *failure {
	fields := map[string]field{}
	fail := c.api.pages(ctx, "/custom-fields", nil, fieldsPerPage, func(body []byte) (int, error) {
		var page []struct {
			ID        string   `json:"customFieldId"`
			Name      string   `json:"name"`
			Type      string   `json:"type"`
			ValueType string   `json:"valueType"`
			Format    string   `json:"format"`
			FieldType string   `json:"fieldType"`
			Values    []string `json:"values"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return 0, err
		}
		for _, f := range page {
			fields[strings.ToLower(f.Name)] = newField(f.ID, f.Name, f.Type, f.ValueType, f.Format, f.FieldType, f.Values)
		}
		return len(page), nil
	})
	if fail != nil {
		return fail
	}
	c.fields, c.fieldsAt = fields, c.now()
	return nil
}

// tag returns the id of a tag, whatever the case of its name; "" where there is none. With create it is made.
func (c *catalogue) tag(ctx context.Context, name string, create bool) (string, *failure) {
	if fail := c.turn.take(ctx); fail != nil {
		return "", fail
	}
	defer c.turn.give()
	key := strings.ToLower(name)
	id := c.tags[key]
	if c.stale(c.tagsAt, id == "") {
		tags := map[string]string{}
		if fail := c.readTags(ctx, nil, tags); fail != nil {
			return "", fail
		}
		c.tags, c.tagsAt = tags, c.now()
		id = tags[key]
	}
	if id != "" || !create {
		return id, nil
	}
	return c.createTag(ctx, name, key)
}

func (c *catalogue) readTags(ctx context.Context, query url.Values, into map[string]string) *failure {
	return c.api.pages(ctx, "/tags", query, rowsPerPage, func(body []byte) (int, error) {
		var page []struct {
			ID   string `json:"tagId"`
			Name string `json:"name"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return 0, err
		}
		for _, t := range page {
			into[strings.ToLower(t.Name)] = t.ID
		}
		return len(page), nil
	})
}

// createTag makes the tag; should somebody have made it in the meantime, theirs is used.
func (c *catalogue) createTag(ctx context.Context, name, key string) (string, *failure) {
	r := c.api.call(ctx, http.MethodPost, "/tags", nil, map[string]string{"name": name})
	var made struct {
		ID string `json:"tagId"`
	}
	if r.ok(&made) && made.ID != "" {
		c.tags[key] = made.ID
		return made.ID, nil
	}
	fail := classify(r)
	if fail.code != codeTaken && fail.kind != failUnknown {
		return "", fail
	}
	found := map[string]string{}
	if f := c.readTags(ctx, url.Values{"query[name]": {name}}, found); f != nil {
		return "", f
	}
	if id := found[key]; id != "" {
		c.tags[key] = id
		return id, nil
	}
	if fail.kind == failReject {
		// Taken, and not to be seen: the list lags behind.
		fail.kind, fail.remedy = failRetry, remedyAgain
	}
	return "", fail
}

// forget makes the next lookups read fields and tags again, for an id that the account no longer has. It reports
// whether they were old enough to be the reason.
func (c *catalogue) forget(ctx context.Context) (bool, *failure) {
	if fail := c.turn.take(ctx); fail != nil {
		return false, fail
	}
	defer c.turn.give()
	old := c.now().Sub(c.fieldsAt) >= refreshEvery || c.now().Sub(c.tagsAt) >= refreshEvery
	if old {
		c.fieldsAt, c.tagsAt = time.Time{}, time.Time{}
	}
	return old, nil
}

// The attributes that a custom event has when this sink defines it.
const (
	attributeID   = "command_id"
	attributeData = "data"
)

// event returns a custom event, which is defined where it is missing.
func (c *catalogue) event(ctx context.Context, name string) (event, *failure) {
	if fail := c.turn.take(ctx); fail != nil {
		return event{}, fail
	}
	defer c.turn.give()
	if e, ok := c.events[name]; ok && c.now().Sub(e.at) < catalogueAge {
		return e, nil
	}
	e, ok, fail := c.readEvent(ctx, name)
	if fail != nil || ok {
		return e, fail
	}
	attributes := []map[string]string{{"name": attributeID, "type": "string"}, {"name": attributeData, "type": "string"}}
	r := c.api.call(ctx, http.MethodPost, "/custom-events", nil, map[string]any{"name": name, "attributes": attributes})
	if !r.ok(nil) {
		fail = classify(r)
	}
	if fail != nil && fail.code != codeTaken && fail.kind != failUnknown {
		return event{}, fail
	}
	if e, ok, again := c.readEvent(ctx, name); again != nil || ok {
		return e, again
	}
	// Made, or made by another, and not yet to be seen.
	return event{}, &failure{kind: failRetry, cause: "the custom event " + name + " is not to be seen yet", remedy: remedyAgain, retryAfter: queueSteps[0]}
}

// definition is a custom event as the API shows it.
type definition struct {
	Name       string `json:"name"`
	Attributes []struct {
		Name string `json:"name"`
		Type string `json:"type"`
	} `json:"attributes"`
}

// readEvent looks an event up; the filter is a pattern, so that others come too.
func (c *catalogue) readEvent(ctx context.Context, name string) (found event, ok bool, fail *failure) {
	fail = c.api.pages(ctx, "/custom-events", url.Values{"query[name]": {name}}, rowsPerPage, func(body []byte) (int, error) {
		var page []definition
		if err := json.Unmarshal(body, &page); err != nil {
			return 0, err
		}
		for _, d := range page {
			if d.Name != name {
				continue
			}
			found, ok = event{at: c.now(), types: map[string]string{}}, true
			for _, a := range d.Attributes {
				found.types[a.Name] = a.Type
			}
		}
		return len(page), nil
	})
	if fail != nil || !ok {
		return event{}, false, fail
	}
	if c.events == nil || len(c.events) >= eventsMax {
		c.events = map[string]event{}
	}
	c.events[name] = found
	return found, true, nil
}

// forgetEvent drops an event that the account no longer has.
func (c *catalogue) forgetEvent(ctx context.Context, name string) {
	if c.turn.take(ctx) != nil {
		return
	}
	defer c.turn.give()
	delete(c.events, name)
}

// counts returns how many fields and tags there are, after reading them anew.
func (c *catalogue) counts(ctx context.Context) (fields, tags int, fail *failure) {
	if fail = c.turn.take(ctx); fail != nil {
		return 0, 0, fail
	}
	defer c.turn.give()
	if fail = c.readFields(ctx); fail != nil {
		return 0, 0, fail
	}
	found := map[string]string{}
	if fail = c.readTags(ctx, nil, found); fail != nil {
		return 0, 0, fail
	}
	c.tags, c.tagsAt = found, c.now()
	return len(c.fields), len(found), nil
}
