package activecampaign

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/sinks"
)

var _ sinks.Cataloguer = (*writer)(nil)

// Catalogue implements sinks.Cataloguer: custom fields by personalisation tag and title, tags, lists and automations by
// name, shops by name and by their own id. The messages are the automations, too, by which alone one can be sent.
func (w *writer) Catalogue(ctx context.Context, kind sinks.EntryKind) ([]sinks.Entry, sinks.Outcome) {
	var list []sinks.Entry
	var fail *failure
	switch kind {
	case sinks.EntryField:
		list, fail = w.catalogue.fieldEntries(ctx)
	case sinks.EntryList:
		list, fail = w.entries(ctx, "/lists", "lists", "name")
	case sinks.EntryAutomation, sinks.EntryMessage:
		list, fail = w.entries(ctx, "/automations", "automations", "name")
	case sinks.EntryTag:
		list, fail = w.entries(ctx, "/tags", "tags", "tag")
	case sinks.EntryShop:
		list, fail = w.entries(ctx, "/connections", "connections", "name", "externalid")
	default:
		fail = &failure{kind: failReject, cause: fmt.Sprintf("activecampaign cannot list its %ss", kind), remedy: "look in the account whether it exists"}
	}
	if fail != nil {
		list = nil // half a list would pass for the whole
	}
	return list, fail.outcome(false)
}

// fieldEntries reads the fields anew. They stand in the order of their ids.
func (c *catalogue) fieldEntries(ctx context.Context) ([]sinks.Entry, *failure) {
	if fail := c.turn.take(ctx); fail != nil {
		return nil, fail
	}
	defer c.turn.give()
	if fail := c.readFields(ctx); fail != nil {
		return nil, fail
	}
	byID := map[string]sinks.Entry{}
	for key, f := range c.fields {
		e, ok := byID[f.id]
		if !ok {
			e = sinks.Entry{ID: f.id, Names: []string{f.name()}, Type: f.takes(), Options: f.options}
		}
		if key != fieldKey(f.name()) { // the title, where no other field has it as its tag
			e.Names = append(e.Names, f.title)
		}
		byID[f.id] = e
	}
	list := slices.Collect(maps.Values(byID))
	slices.SortFunc(list, func(a, b sinks.Entry) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// takes is the field's type in the words of all sinks.
func (f field) takes() sinks.FieldType {
	switch f.kind {
	case "number":
		return sinks.FieldNumber
	case "date":
		return sinks.FieldDate
	case "datetime":
		return sinks.FieldTime
	case "dropdown", "radio", "checkbox", "listbox":
		return sinks.FieldOptions
	}
	return sinks.FieldText
}

// entries reads every page of rows that have an id, and names in these members. Tags of templates are no contact tags.
func (w *writer) entries(ctx context.Context, path, key string, names ...string) ([]sinks.Entry, *failure) {
	list := []sinks.Entry{}
	seen := map[string]bool{}
	fail := w.api.pages(ctx, path, nil, func(body []byte) (int, error) {
		var page map[string]json.RawMessage
		if err := json.Unmarshal(body, &page); err != nil {
			return 0, err
		}
		var rows []map[string]json.RawMessage
		if raw := page[key]; raw != nil {
			if err := json.Unmarshal(raw, &rows); err != nil {
				return 0, err
			}
		}
		fresh := 0
		for _, r := range rows {
			id := member(r, "id")
			if id == "" || seen[id] {
				continue
			}
			seen[id] = true
			fresh++
			if member(r, "tagType") == "template" {
				continue
			}
			e := sinks.Entry{ID: id}
			for _, name := range names {
				if v := member(r, name); v != "" && !slices.Contains(e.Names, v) {
					e.Names = append(e.Names, v)
				}
			}
			list = append(list, e)
		}
		return fresh, nil
	})
	return list, fail
}

func member(row map[string]json.RawMessage, name string) string {
	var v flexible
	if raw := row[name]; raw == nil || json.Unmarshal(raw, &v) != nil {
		return ""
	}
	return string(v)
}
