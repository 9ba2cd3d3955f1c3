package sinks

import (
	"context"
	"slices"
	"strings"
)

// A Cataloguer is a Writer that can tell what its account has for mappings and workflows to name.
type Cataloguer interface {
	// Catalogue lists the account's things of one kind, every page of them. It changes nothing and may be repeated.
	// Rejected: the destination has nothing of that kind that could be listed.
	Catalogue(ctx context.Context, kind EntryKind) ([]Entry, Outcome)
}

// EntryKind is what files name at a destination.
type EntryKind string

// The kinds of entry.
const (
	EntryField      EntryKind = "field"
	EntryList       EntryKind = "list"
	EntryMessage    EntryKind = "message"
	EntryAutomation EntryKind = "automation"
	EntryTag        EntryKind = "tag"
	EntryShop       EntryKind = "shop"
)

// Entry is one thing of an account.
type Entry struct {
	ID    string
	Names []string  // by which it can be named, in any case of letters, besides its id; the first is for people
	Type  FieldType // of a field
	// Options are the values that a field takes; nil: any of its type.
	Options []string
}

// FieldType is what values a field takes.
type FieldType string

// The types of field. What is none of the others is text.
const (
	FieldText     FieldType = "text"
	FieldNumber   FieldType = "number"
	FieldDate     FieldType = "date"
	FieldTime     FieldType = "datetime"
	FieldPhone    FieldType = "phone"
	FieldCurrency FieldType = "currency"
	FieldOptions  FieldType = "options"
)

// FindEntry returns the entry that a word of a file names. Surrounding blanks and the % of a personalisation tag are
// left aside.
func FindEntry(list []Entry, word string) (Entry, bool) {
	word = strings.Trim(strings.TrimSpace(word), "%")
	i := slices.IndexFunc(list, func(e Entry) bool {
		return e.ID == word && e.Type == "" || slices.ContainsFunc(e.Names, func(n string) bool { return strings.EqualFold(strings.TrimSpace(n), word) })
	})
	if i < 0 {
		return Entry{}, false
	}
	return list[i], true
}
