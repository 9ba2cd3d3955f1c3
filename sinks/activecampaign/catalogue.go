package activecampaign

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// refreshEvery is how often a name that is not known may make the catalogue be read again.
const refreshEvery = time.Minute

// catalogueFor is how old what is known of the account's fields, tags, lists and automations becomes before it is read
// again: a field may have got other options, a tag another name.
const catalogueFor = time.Hour

// field is one custom field of the account.
type field struct {
	id, title, perstag, kind string
	// options are the allowed values, in the account's spelling; nil: not limited or not known.
	options []string
}

// catalogue holds the account's fields and tags. It is read on first use and again when a name is missing.
type catalogue struct {
	api *client
	now func() time.Time

	turn     turn // what is below is read and written in turn
	fields   map[string]field
	fieldsAt time.Time
	tags     map[string]string // lower-case name to id
	tagsAt   time.Time
}

// find returns the field by personalisation tag or title, whatever the case. ok is false where there is none even after
// a refresh, which happens at most once a minute.
func (c *catalogue) find(ctx context.Context, name string) (f field, ok bool, fail *failure) {
	if fail = c.turn.take(ctx); fail != nil {
		return field{}, false, fail
	}
	defer c.turn.give()
	key := fieldKey(name)
	if c.fields != nil && c.now().Sub(c.fieldsAt) >= catalogueFor {
		// What is known serves on while it cannot be read.
		if fail := c.readFields(ctx); fail != nil {
			c.fieldsAt = c.now().Add(refreshEvery - catalogueFor)
		}
	}
	if f, ok = c.fields[key]; ok {
		return f, true, nil
	}
	if c.fields == nil || c.now().Sub(c.fieldsAt) >= refreshEvery {
		if fail = c.readFields(ctx); fail != nil {
			return field{}, false, fail
		}
	}
	f, ok = c.fields[key]
	return f, ok, nil
}

// forget makes the next lookups read the fields again, for an id that the account no longer has. It returns how long to
// wait where they were read less than a minute ago.
func (c *catalogue) forget(ctx context.Context) time.Duration {
	if c.turn.take(ctx) != nil {
		return 0
	}
	defer c.turn.give()
	if age := c.now().Sub(c.fieldsAt); age < refreshEvery {
		return refreshEvery - age
	}
	c.fields = nil
	return 0
}

// fieldKey accepts %TAG%, as messages write it, too.
func fieldKey(name string) string { return strings.ToLower(strings.Trim(strings.TrimSpace(name), "%")) }

// readFields reads every page. A personalisation tag wins over another field's title.
func (c *catalogue) readFields(ctx context.Context) *failure {
	var all []field
	options := map[string][]string{}
	announced := map[string]int{}
	fail := c.api.pages(ctx, "/fields", nil, func(body []byte) (int, error) {
		var page struct {
			Fields []struct {
				ID      flexible          `json:"id"`
				Title   string            `json:"title"`
				Perstag string            `json:"perstag"`
				Type    string            `json:"type"`
				Options []json.RawMessage `json:"options"`
			} `json:"fields"`
			FieldOptions []struct {
				Field flexible `json:"field"`
				Value string   `json:"value"`
			} `json:"fieldOptions"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return 0, err
		}
		for _, f := range page.Fields {
			all = append(all, field{id: string(f.ID), title: f.Title, perstag: f.Perstag, kind: strings.ToLower(f.Type)})
			announced[string(f.ID)] = len(f.Options)
		}
		for _, o := range page.FieldOptions {
			options[string(o.Field)] = append(options[string(o.Field)], o.Value)
		}
		return len(page.Fields), nil
	})
	if fail != nil {
		return fail
	}
	c.fields = make(map[string]field, 2*len(all))
	for _, byTitle := range []bool{true, false} {
		for _, f := range all {
			// Half a list of options would refuse good values.
			if o := options[f.id]; len(o) > 0 && len(o) >= announced[f.id] {
				f.options = o
			}
			name := f.perstag
			if byTitle {
				name = f.title
			}
			if name != "" {
				c.fields[fieldKey(name)] = f
			}
		}
	}
	c.fieldsAt = c.now()
	return nil
}

// tag returns the id of a tag, whatever the case of its name; "" where there is none. With create it is made.
func (c *catalogue) tag(ctx context.Context, name string, create bool) (string, *failure) {
	if fail := c.turn.take(ctx); fail != nil {
		return "", fail
	}
	defer c.turn.give()
	key := strings.ToLower(strings.TrimSpace(name))
	if c.tags != nil && c.now().Sub(c.tagsAt) >= catalogueFor {
		if fail := c.readTags(ctx); fail != nil {
			c.tagsAt = c.now().Add(refreshEvery - catalogueFor)
		}
	}
	if id := c.tags[key]; id != "" {
		return id, nil
	}
	if c.tags == nil || c.now().Sub(c.tagsAt) >= refreshEvery {
		if fail := c.readTags(ctx); fail != nil {
			return "", fail
		}
		if id := c.tags[key]; id != "" {
			return id, nil
		}
	}
	if !create {
		return "", nil
	}
	return c.createTag(ctx, strings.TrimSpace(name), key)
}

func (c *catalogue) readTags(ctx context.Context) *failure {
	tags := map[string]string{}
	if fail := c.api.pages(ctx, "/tags", nil, func(body []byte) (int, error) { return takeTags(tags, body) }); fail != nil {
		return fail
	}
	c.tags, c.tagsAt = tags, c.now()
	return nil
}

// takeTags reads one page. Template tags have names of their own and are no contact tags.
func takeTags(into map[string]string, body []byte) (int, error) {
	var page struct {
		Tags []struct {
			ID      flexible `json:"id"`
			Tag     string   `json:"tag"`
			TagType string   `json:"tagType"`
		} `json:"tags"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return 0, err
	}
	for _, t := range page.Tags {
		if t.TagType != "template" {
			into[strings.ToLower(strings.TrimSpace(t.Tag))] = string(t.ID)
		}
	}
	return len(page.Tags), nil
}

// createTag makes the tag; should somebody have made it in the meantime, theirs is used.
func (c *catalogue) createTag(ctx context.Context, name, key string) (string, *failure) {
	r := c.api.call(ctx, http.MethodPost, "/tags", nil, map[string]any{
		"tag": map[string]string{"tag": name, "tagType": "contact", "description": "made by tillstream"},
	})
	var made struct {
		Tag struct {
			ID flexible `json:"id"`
		} `json:"tag"`
	}
	if r.ok(&made) && made.Tag.ID != "" {
		c.tags[key] = string(made.Tag.ID)
		return string(made.Tag.ID), nil
	}
	fail := classify(r)
	if fail.status != http.StatusUnprocessableEntity && fail.kind != failUnknown {
		return "", fail
	}
	found := map[string]string{}
	query := url.Values{"filters[search][eq]": {name}}
	if f := c.api.pages(ctx, "/tags", query, func(body []byte) (int, error) { return takeTags(found, body) }); f != nil {
		return "", f
	}
	if id := found[key]; id != "" {
		c.tags[key] = id
		return id, nil
	}
	if fail.kind == failReject {
		fail.cause = fmt.Sprintf("tag %.80q cannot be made: %s", name, fail.cause)
		fail.remedy = "change the tag's name in the mapping, or make the tag in ActiveCampaign, and replay"
	}
	return "", fail
}

// forgetTag drops an id that the account no longer has.
func (c *catalogue) forgetTag(ctx context.Context, name string) {
	if c.turn.take(ctx) != nil {
		return
	}
	defer c.turn.give()
	delete(c.tags, strings.ToLower(strings.TrimSpace(name)))
	c.tagsAt = time.Time{}
}

// counts returns how many fields and tags are known, after reading them anew.
func (c *catalogue) counts(ctx context.Context) (fields, tags int, fail *failure) {
	if fail = c.turn.take(ctx); fail != nil {
		return 0, 0, fail
	}
	defer c.turn.give()
	if fail = c.readFields(ctx); fail != nil {
		return 0, 0, fail
	}
	if fail = c.readTags(ctx); fail != nil {
		return 0, 0, fail
	}
	ids := map[string]bool{}
	for _, f := range c.fields {
		ids[f.id] = true
	}
	return len(ids), len(c.tags), nil
}
