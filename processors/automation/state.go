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
)

// State is what is known of one contact: its desired state at each destination.
//
// The names in JSON are those of states that were written as format 1; a field added since then has none ("-").
type State struct {
	Format       int       `json:"v"`           // in JSON only
	Destinations []desired `json:"d,omitempty"` // by name
	Created      []mark    `json:"c,omitempty"` // digests of the subscriptions that were seen to be created, oldest first

	Aliases []mark   `json:"-"` // at a contact: digests of the further names announced to their own keys, oldest first
	Contact string   `json:"-"` // at a further name's key: the contact that it was first announced for
	Links   []string `json:"-"` // keys of other contacts that share a further name, sorted
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
	s.Destinations = slices.Clone(s.Destinations) // what a destination points to is copied when it is changed
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
	d := digest(rootKey)
	if slices.Contains(s.Created, d) {
		return false
	}
	s.Created = append(slices.Clip(s.Created), d)
	if over := len(s.Created) - subscriptionsMax; over > 0 {
		s.Created = slices.Delete(s.Created, 0, over)
	}
	return true
}

// setFields fills fields; an empty value leaves its field alone.
func (d *desired) setFields(values []mapping.Value) {
	own := false // the list is no longer the old state's
	for _, v := range values {
		i, found := slices.BinarySearchFunc(d.Fields, v.To, func(f field, n string) int { return strings.Compare(f.Name, n) })
		if v.Value == "" || found && d.Fields[i].Value == v.Value {
			continue
		}
		if !own {
			d.Fields, own = append(make([]field, 0, len(d.Fields)+len(values)), d.Fields...), true
		}
		if found {
			d.Fields[i].Value = v.Value
		} else {
			d.Fields = slices.Insert(d.Fields, i, field{v.To, v.Value})
		}
	}
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

func (d *desired) contact() schemas.Contact {
	c := schemas.Contact{
		Email: d.Email, FirstName: d.First, LastName: d.Last, Phone: d.Phone,
		Tags: d.Tags, NoTags: d.NoTags, // never changed in place
	}
	if len(d.Fields) > 0 {
		c.Fields = make(map[string]string, len(d.Fields))
		for _, f := range d.Fields {
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
	return hex.EncodeToString(m[:])
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
