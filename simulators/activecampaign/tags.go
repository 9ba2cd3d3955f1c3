package activecampaign

import (
	"net/http"
	"sort"
	"strings"
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
	t := &tag{id: c.a.next("tag"), name: in.Tag.Tag, kind: in.Tag.TagType, description: in.Tag.Description, created: c.now}
	if t.kind == "" {
		t.kind = "contact"
	}
	c.a.tags = append(c.a.tags, t)
	return http.StatusCreated, object{"tag": t.row()}, nil
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
	if c.a.tagByID(int(in.ContactTag.Tag)) == nil {
		return 0, nil, notFound("Tag not found")
	}
	if l := to.tags[int(in.ContactTag.Tag)]; l != nil {
		return http.StatusOK, object{"contactTag": l.row()}, nil
	}
	l := &contactTag{id: c.a.next("contactTag"), contact: to.id, tag: int(in.ContactTag.Tag), created: c.now}
	to.tags[l.tag] = l
	c.a.links[l.id] = l
	to.updated = c.now
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
