package automation

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/schemas"
)

// Bounds of one contact's state.
const (
	tagsMax          = 1000 // tags wanted or unwanted at one destination
	fieldsMax        = 1000 // fields at one destination
	subscriptionsMax = 200  // subscriptions of one contact whose creation is remembered
	runsMax          = 200  // open runs of one contact
	correctablesMax  = 200  // waits that were not met and may still be corrected
	doneMax          = 2000 // "run once" marks
	ordersMax        = 500  // paid orders that are told apart
	historyMax       = 64   // transitions that a look-back finds
	statusesMax      = 64   // orders whose provider's status is remembered
	standingsMax     = 64   // lists that a destination answered about
)

// State is what is known of one contact: its desired state at each destination.
//
// The names in JSON are those of states that were written as format 1; a field added since then has none ("-").
type State struct {
	Format       int       `json:"v"`           // in JSON only
	Destinations []desired `json:"d,omitempty"` // by name
	Created      []mark    `json:"c,omitempty"` // digests of the subscriptions that were seen to be created, oldest first

	Runs         []run        `json:"-"` // open, in the order of their starts
	Correctables []run        `json:"-"` // stand where a wait was not met, until nothing can correct it any more
	Done         []mark       `json:"-"` // what runs once and ran, oldest first
	Orders       []mark       `json:"-"` // paid orders, oldest first
	OrdersPaid   int64        `json:"-"` // their number, also of those no longer in Orders
	History      []happened   `json:"-"` // what a look-back may find, oldest first
	Statuses     []lastStatus `json:"-"` // the provider's status of each order, the one that changed last at the end
	Standings    []standing   `json:"-"` // what destinations answered about lists, oldest first
	Scheduled    []scheduled  `json:"-"` // by workflow
	Score        int64        `json:"-"`
	OnlyTests    bool         `json:"-"` // nothing but test events is known of the contact

	Aliases []mark   `json:"-"` // at a contact: digests of the further names announced to their own keys, oldest first
	Contact string   `json:"-"` // at a further name's key: the contact that it was first announced for
	Links   []string `json:"-"` // keys of other contacts that share a further name, sorted
}

// run is one contact's way through a workflow, suspended at a step. Times are in ms.
type run struct {
	ID, Workflow, Version string
	Root                  string // of the order or subscription that it is about; empty: none
	Event                 string // that started it
	Origin                schemas.Origin
	Test                  bool
	Steps                 int64  // traced so far
	Step                  string // the id of the step that it stands at; empty: before the first
	Waits                 int64  // opened so far
	Since                 int64  // when it came to stand here
	Deadline              int64  // when it goes on by itself; 0: never
	Seen                  []int64
	Asked                 []question
	Values                []field // by name: what the steps use, as last known
	// Used are digests of a trigger and an event that counted for it in this run: none counts twice. Kept where some
	// workflow looks back.
	Used []mark
}

// question is one that a run has put to a destination.
type question struct {
	Command string // its id
	Until   int64  // when it counts as not answered
	// Event and its Values are of the event that is to count if the answer is yes; empty at a step that only asks.
	Event  string
	At     int64 // when that event came
	Values []field
}

// happened is a transition, as far as a look-back needs it.
type happened struct {
	Root, Event, Type, Connection string
	From, To, Text                string // statuses; Text is the provider's
	Environment                   string
	Created, Changed              bool
	SameText                      bool // the order had this Text before, too
	Subscription, Test            bool
	Provider                      string
	Amount, Currency              string
	At                            int64 // ms
}

type lastStatus struct {
	Root mark
	Text string
}

type standing struct {
	Destination, List string
	Standing          schemas.Standing
	At                int64 // ms
}

type scheduled struct {
	Workflow string
	At       int64 // ms
}

// desired is the contact as it should be at one destination.
type desired struct {
	Name    string   `json:"n"`
	Version int64    `json:"v"`
	Email   string   `json:"e"`
	First   string   `json:"f,omitempty"`
	Last    string   `json:"l,omitempty"`
	Phone   string   `json:"p,omitempty"`
	Fields  []field  `json:"m,omitempty"` // by name
	Tags    []string `json:"t,omitempty"` // sorted
	NoTags  []string `json:"x,omitempty"` // sorted
}

type field struct {
	Name  string `json:"n"`
	Value string `json:"v"`
}

func (s State) clone() State {
	// What an entry points to is copied when it is changed.
	s.Destinations, s.Runs, s.Correctables = slices.Clone(s.Destinations), slices.Clone(s.Runs), slices.Clone(s.Correctables)
	s.Scheduled, s.Standings, s.Statuses = slices.Clone(s.Scheduled), slices.Clone(s.Standings), slices.Clone(s.Statuses)
	return s
}

func byName(d desired, name string) int { return strings.Compare(d.Name, name) }

func (s *State) find(name string) *desired {
	if i, found := slices.BinarySearchFunc(s.Destinations, name, byName); found {
		return &s.Destinations[i]
	}
	return nil
}

// destination is a copy of the desired state there, empty if there is none; put takes it back. The copy shares its
// lists with the state: who changes one puts a new one in its place.
func (s *State) destination(name string) desired {
	if d := s.find(name); d != nil {
		return *d
	}
	return desired{Name: name}
}

func (s *State) put(d desired) {
	i, found := slices.BinarySearchFunc(s.Destinations, d.Name, byName)
	if found {
		s.Destinations[i] = d
		return
	}
	s.Destinations = slices.Insert(s.Destinations, i, d)
}

// create remembers that a subscription exists; it reports whether that is news.
func (s *State) create(rootKey string) bool {
	return note(&s.Created, digest(rootKey), subscriptionsMax)
}

// note puts m at the end of a list that other states may share, and forgets the oldest beyond bound. It reports whether
// m is news.
func note(list *[]mark, m mark, bound int) bool {
	if slices.Contains(*list, m) {
		return false
	}
	*list = append(slices.Clip(*list), m)
	if over := len(*list) - bound; over > 0 {
		*list = slices.Delete(*list, 0, over)
	}
	return true
}

// setFields fills fields from values in the order of their names. A value is empty only where a default says so; it
// empties the field.
func (d *desired) setFields(values []mapping.Value) {
	differ, more := 0, 0
	at := 0 // both lists are in order: one walk finds each value's place
	for i := range values {
		v := &values[i]
		at += behind(d.Fields[at:], v.To)
		if at == len(d.Fields) || d.Fields[at].Name != v.To {
			more++
		} else if d.Fields[at].Value != v.Value {
			differ++
		}
	}
	if differ+more == 0 {
		return
	}
	made, from := make([]field, 0, len(d.Fields)+more), 0 // the list may be the old state's, too
	for i := range values {
		v := &values[i]
		n := behind(d.Fields[from:], v.To)
		made = append(made, d.Fields[from:from+n]...)
		if from += n; from < len(d.Fields) && d.Fields[from].Name == v.To {
			from++
		}
		made = append(made, field{v.To, v.Value})
	}
	d.Fields = append(made, d.Fields[from:]...)
}

// behind is how many fields at the beginning of a list come before name.
func behind(list []field, name string) int {
	for i := range list {
		if list[i].Name >= name {
			return i
		}
	}
	return len(list)
}

// tag wants the tags in add and not those in remove. The last word about a tag counts.
func (d *desired) tag(add, remove []string) {
	for _, t := range add {
		d.Tags, d.NoTags = with(d.Tags, t), without(d.NoTags, t)
	}
	for _, t := range remove {
		d.Tags, d.NoTags = without(d.Tags, t), with(d.NoTags, t)
	}
}

func with(list []string, t string) []string {
	i, found := slices.BinarySearch(list, t)
	if found {
		return list
	}
	return slices.Insert(slices.Clip(list), i, t)
}

func without(list []string, t string) []string {
	if !slices.Contains(list, t) {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(x string) bool { return x == t })
}

// equal compares what is desired, not the version.
func (d *desired) equal(o *desired) bool {
	return d.Email == o.Email && d.First == o.First && d.Last == o.Last && d.Phone == o.Phone &&
		slices.Equal(d.Fields, o.Fields) && slices.Equal(d.Tags, o.Tags) && slices.Equal(d.NoTags, o.NoTags)
}

func (d *desired) contact(fields []field) schemas.Contact {
	c := schemas.Contact{
		Email: d.Email, FirstName: d.First, LastName: d.Last, Phone: d.Phone,
		Tags: d.Tags, NoTags: d.NoTags, // never changed in place
	}
	if len(fields) > 0 {
		c.Fields = make(map[string]string, len(fields))
		for _, f := range fields {
			c.Fields[f.Name] = f.Value
		}
	}
	return c
}

// mark is a digest of a list of texts.
type mark [16]byte

// digest leads each part by its length: no two lists run together.
func digest(parts ...string) (m mark) {
	var room [256]byte
	b := room[:0]
	for _, p := range parts {
		b = strconv.AppendInt(b, int64(len(p)), 10)
		b = append(b, ':')
		b = append(b, p...)
	}
	h := sha256.Sum256(b)
	copy(m[:], h[:])
	return m
}

// UnmarshalText reads a mark of a state in JSON.
func (m *mark) UnmarshalText(text []byte) error {
	if n, err := hex.Decode(m[:], text[:min(len(text), hex.EncodedLen(len(m)))]); err != nil || n != len(m) || len(text) != hex.EncodedLen(n) {
		return fmt.Errorf("%.40q is no digest", text)
	}
	return nil
}

// id is a digest in 32 hexadecimal digits.
func id(parts ...string) string {
	m := digest(parts...)
	var text [2 * len(m)]byte
	hex.Encode(text[:], m[:])
	return string(text[:])
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
