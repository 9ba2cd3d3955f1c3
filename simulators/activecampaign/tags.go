package activecampaign

import (
	"net/http"
	"slices"
	"sort"
	"strings"
	"time"
)

func listTags(c *call) (int, any, *refusal) {
	var rows []*tag
	for _, t := range c.a.tags {
		if v := c.q.Get("search"); v != "" && !strings.Contains(strings.ToLower(t.name), strings.ToLower(v)) {
			continue
		}
		if v := c.q.Get("filters[search][eq]"); v != "" && !strings.EqualFold(t.name, v) {
			continue
		}
		rows = append(rows, t)
	}
	var out []object
	for _, t := range paged(rows, c.q) {
		out = append(out, t.row())
	}
	return http.StatusOK, collection("tags", out, len(rows), nil), nil
}

// createTag refuses a name that exists in any case; the code of that refusal is not documented.
func createTag(c *call) (int, any, *refusal) {
	var in struct {
		Tag *struct{ Tag, TagType, Description string }
	}
	if no := c.read(&in); no != nil {
		return 0, nil, no
	}
	if in.Tag == nil || in.Tag.Tag == "" {
		return 0, nil, missingAttribute("tag")
	}
	if c.a.tagByName(in.Tag.Tag) != nil {
		return 0, nil, invalid("There is already a tag with this name", "", "duplicate", "tag")
	}
	if len([]rune(in.Tag.Tag)) > c.s.opts.TagCharsMax {
		// Neither the bound nor the answer is documented.
		return 0, nil, invalid("The tag name is too long.", "", "field_invalid", "tag")
	}
	t := c.a.addTag(in.Tag.Tag, in.Tag.TagType, in.Tag.Description, c.now)
	return http.StatusCreated, object{"tag": t.row()}, nil
}

func (a *account) addTag(name, kind, description string, now time.Time) *tag {
	t := &tag{id: a.next("tag"), name: name, kind: firstOf(kind, "contact"), description: description, created: now}
	a.tags = append(a.tags, t)
	a.tagNames[lower(name)] = t
	return t
}

// deleteTag takes the tag from the account and from its contacts.
func deleteTag(c *call) (int, any, *refusal) {
	t := c.a.tagByID(c.id("id"))
	if t == nil {
		return 0, nil, noResult(http.StatusNotFound, "Tag", c.path("id"))
	}
	c.a.tags = slices.DeleteFunc(c.a.tags, func(other *tag) bool { return other == t })
	delete(c.a.tagNames, lower(t.name))
	for id, l := range c.a.links {
		if l.tag == t.id {
			delete(c.a.links, id)
			delete(c.a.contacts[l.contact].tags, t.id)
		}
	}
	return http.StatusOK, object{}, nil
}

// link puts the tag on the contact, which starts what waits for it where it was not there.
func (a *account) link(to *contact, t *tag, now time.Time) (l *contactTag, fresh bool) {
	if l := to.tags[t.id]; l != nil {
		return l, false
	}
	l = &contactTag{id: a.next("contactTag"), contact: to.id, tag: t.id, created: now}
	to.tags[t.id] = l
	a.links[l.id] = l
	to.updated = now
	a.fire(to, "tag:"+t.name, now)
	return l, true
}

// addContactTag answers 201 for a new link and 200 where the contact has the tag.
func addContactTag(c *call) (int, any, *refusal) {
	var in struct {
		ContactTag *struct {
			Contact number `json:"contact"`
			Tag     number `json:"tag"`
		} `json:"contactTag"`
	}
	if no := c.read(&in); no != nil {
		return 0, nil, no
	}
	if in.ContactTag == nil || in.ContactTag.Contact == 0 {
		return 0, nil, missingAttribute("contact")
	}
	if in.ContactTag.Tag == 0 {
		return 0, nil, missingAttribute("tag")
	}
	to := c.a.contacts[int(in.ContactTag.Contact)]
	if to == nil {
		return 0, nil, notFound("Contact not found")
	}
	t := c.a.tagByID(int(in.ContactTag.Tag))
	if t == nil {
		return 0, nil, notFound("Tag not found")
	}
	l, fresh := c.a.link(to, t, c.now)
	if !fresh {
		return http.StatusOK, object{"contactTag": l.row()}, nil
	}
	return http.StatusCreated, object{"contactTag": l.row()}, nil
}

// deleteContactTag takes the id of the link, not of the tag.
func deleteContactTag(c *call) (int, any, *refusal) {
	l := c.a.links[c.id("id")]
	if l == nil {
		return 0, nil, noResult(http.StatusNotFound, "SubscriberTag", c.path("id"))
	}
	delete(c.a.links, l.id)
	delete(c.a.contacts[l.contact].tags, l.tag)
	return http.StatusOK, object{}, nil
}

func contactTags(c *call) (int, any, *refusal) {
	to, no := c.contact()
	if no != nil {
		return 0, nil, no
	}
	var links []*contactTag
	for _, l := range to.tags {
		links = append(links, l)
	}
	sort.Slice(links, func(i, j int) bool { return links[i].id < links[j].id })
	var rows []object
	tags := []object{}
	for _, l := range paged(links, c.q) {
		rows = append(rows, l.row())
		tags = append(tags, c.a.tagByID(l.tag).row())
	}
	more := object{}
	if c.q.Get("include") == "tag" {
		more["tags"] = tags
	}
	return http.StatusOK, collection("contactTags", rows, len(links), more), nil
}
