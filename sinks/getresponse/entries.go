package getresponse

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/sinks"
)

var _ sinks.Cataloguer = (*writer)(nil)

// Catalogue implements sinks.Cataloguer: custom fields and lists by name. GetResponse starts no automation for a contact,
// so that there is none to name.
func (w *writer) Catalogue(ctx context.Context, kind sinks.EntryKind) ([]sinks.Entry, sinks.Outcome) {
	var list []sinks.Entry
	var fail *failure
	switch kind {
	case sinks.EntryField:
		list, fail = w.catalogue.fieldEntries(ctx)
	case sinks.EntryList:
		list, fail = w.listEntries(ctx)
	default:
		fail = reject("look in the account whether it exists", "getresponse cannot list its %ss", kind)
	}
	return list, fail.outcome(false)
}

// fieldEntries reads the fields anew.
func (c *catalogue) fieldEntries(ctx context.Context) ([]sinks.Entry, *failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if fail := c.readFields(ctx); fail != nil {
		return nil, fail
	}
	list := make([]sinks.Entry, 0, len(c.fields))
	for _, f := range c.fields {
		list = append(list, sinks.Entry{ID: f.id, Names: []string{f.name}, Type: f.takes(), Options: f.options})
	}
	slices.SortFunc(list, func(a, b sinks.Entry) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// takes is the field's type in the words of all sinks.
func (f field) takes() sinks.FieldType {
	if f.options != nil {
		return sinks.FieldOptions
	}
	switch f.kind {
	case "number":
		return sinks.FieldNumber
	case "date":
		return sinks.FieldDate
	case "datetime":
		return sinks.FieldTime
	case "phone":
		return sinks.FieldPhone
	case "currency":
		return sinks.FieldCurrency
	case "country", "gender", "ip", "url":
		return sinks.FieldOptions // a closed set of values, which the API does not list
	}
	return sinks.FieldText
}

func (w *writer) listEntries(ctx context.Context) ([]sinks.Entry, *failure) {
	list := []sinks.Entry{}
	fail := w.api.pages(ctx, "/campaigns", nil, fieldsPerPage, func(body []byte) (int, error) {
		var page []struct {
			ID   string `json:"campaignId"`
			Name string `json:"name"`
		}
		err := json.Unmarshal(body, &page)
		for _, x := range page {
			list = append(list, sinks.Entry{ID: x.ID, Names: []string{x.Name}})
		}
		return len(page), err
	})
	return list, fail
}
