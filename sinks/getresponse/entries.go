package getresponse

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/sinks"
)

var _ sinks.Cataloguer = (*writer)(nil)

// Catalogue implements sinks.Cataloguer. Automations are the account's workflows: to be seen, not to be started, for the
// API starts none for a contact.
func (w *writer) Catalogue(ctx context.Context, kind sinks.EntryKind) ([]sinks.Entry, sinks.Outcome) {
	var list []sinks.Entry
	var fail *failure
	switch kind {
	case sinks.EntryField:
		list, fail = w.catalogue.fieldEntries(ctx)
	case sinks.EntryTag:
		list, fail = w.entries(ctx, "/tags", rowsPerPage, func(r entryRow) (string, string) { return r.TagID, r.Name })
	case sinks.EntryList:
		list, fail = w.entries(ctx, "/campaigns", fieldsPerPage, func(r entryRow) (string, string) { return r.CampaignID, r.Name })
	case sinks.EntryShop:
		list, fail = w.entries(ctx, "/shops", fieldsPerPage, func(r entryRow) (string, string) { return r.ShopID, r.Name })
	case sinks.EntryAutomation:
		list, fail = w.entries(ctx, "/workflow", fieldsPerPage, func(r entryRow) (string, string) { return r.WorkflowID, r.Name })
	case sinks.EntryMessage:
		list, fail = w.messageEntries(ctx)
	default:
		fail = reject("look in the account whether it exists", "getresponse cannot list its %ss", kind)
	}
	if fail != nil {
		list = nil // half a catalogue would be taken for a whole one
	}
	return list, fail.outcome(false)
}

// entryRow is one thing of any kind that has a name.
type entryRow struct {
	CampaignID   string `json:"campaignId"`
	ShopID       string `json:"shopId"`
	WorkflowID   string `json:"workflowId"`
	NewsletterID string `json:"newsletterId"`
	TagID        string `json:"tagId"`
	Name         string `json:"name"`
}

// entries reads every page of a list. A row without an id is left out.
func (w *writer) entries(ctx context.Context, path string, perPage int, of func(entryRow) (id, name string)) ([]sinks.Entry, *failure) {
	list := []sinks.Entry{}
	fail := w.api.pages(ctx, path, nil, perPage, func(body []byte) (int, error) {
		var page []entryRow
		err := json.Unmarshal(body, &page)
		for _, row := range page {
			if id, name := of(row); id != "" {
				list = append(list, sinks.Entry{ID: id, Names: []string{name}})
			}
		}
		return len(page), err
	})
	return list, fail
}

// messageEntries are what SEND_MESSAGE can name. The newsletters that it made itself are left out.
func (w *writer) messageEntries(ctx context.Context) ([]sinks.Entry, *failure) {
	list := []sinks.Entry{}
	if w.transactional {
		if fail := w.templates(ctx, func(id, subject string) {
			list = append(list, sinks.Entry{ID: id, Names: []string{subject}})
		}); fail != nil {
			return nil, fail
		}
	}
	letters, fail := w.entries(ctx, "/newsletters", rowsPerPage, func(r entryRow) (string, string) { return r.NewsletterID, r.Name })
	return append(list, slices.DeleteFunc(letters, func(e sinks.Entry) bool { return strings.Contains(e.Names[0], " "+markerPrefix) })...), fail
}

// fieldEntries reads the fields anew. The contact's own score stands beside them.
func (c *catalogue) fieldEntries(ctx context.Context) ([]sinks.Entry, *failure) {
	if fail := c.turn.take(ctx); fail != nil {
		return nil, fail
	}
	defer c.turn.give()
	if fail := c.readFields(ctx); fail != nil {
		return nil, fail
	}
	list := make([]sinks.Entry, 0, len(c.fields)+1)
	for _, f := range c.fields {
		list = append(list, sinks.Entry{ID: f.id, Names: []string{f.name}, Type: f.takes(), Options: f.options})
	}
	if _, own := c.fields[scoreField]; !own {
		list = append(list, sinks.Entry{ID: scoreField, Names: []string{scoreField}, Type: sinks.FieldNumber})
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
