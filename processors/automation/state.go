package automation

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
)

// Bounds of one contact's state.
const (
	formatVersion    = 1
	tagsMax          = 1000 // tags wanted or unwanted at one destination
	fieldsMax        = 1000 // fields at one destination
	subscriptionsMax = 200  // subscriptions of one contact whose creation is remembered
)

// State is what is known of one contact: its desired state at each destination.
type State struct {
	Format       int       `json:"v"`
	Destinations []desired `json:"d,omitempty"` // by name
	Created      []string  `json:"c,omitempty"` // digests of the subscriptions that were seen to be created, oldest first
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
	s.Created = slices.Clone(s.Created)
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

// destination is a copy of the desired state there, empty if there is none; put takes it back.
func (s *State) destination(name string) desired {
	d := s.find(name)
	if d == nil {
		return desired{Name: name}
	}
	c := *d
	c.Fields, c.Tags, c.NoTags = slices.Clone(d.Fields), slices.Clone(d.Tags), slices.Clone(d.NoTags)
	return c
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
	d := id(rootKey)
	if slices.Contains(s.Created, d) {
		return false
	}
	s.Created = append(s.Created, d)
	if over := len(s.Created) - subscriptionsMax; over > 0 {
		s.Created = slices.Delete(s.Created, 0, over)
	}
	return true
}

func (d *desired) set(name, value string) {
	i, found := slices.BinarySearchFunc(d.Fields, name, func(f field, n string) int { return strings.Compare(f.Name, n) })
	if found {
		d.Fields[i].Value = value
		return
	}
	d.Fields = slices.Insert(d.Fields, i, field{name, value})
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
	return slices.Insert(list, i, t)
}

func without(list []string, t string) []string {
	return slices.DeleteFunc(list, func(x string) bool { return x == t })
}

// equal compares what is desired, not the version.
func (d desired) equal(o desired) bool {
	return d.Email == o.Email && d.First == o.First && d.Last == o.Last && d.Phone == o.Phone &&
		slices.Equal(d.Fields, o.Fields) && slices.Equal(d.Tags, o.Tags) && slices.Equal(d.NoTags, o.NoTags)
}

func (d *desired) contact() schemas.Contact {
	c := schemas.Contact{
		Email: d.Email, FirstName: d.First, LastName: d.Last, Phone: d.Phone,
		Tags: slices.Clone(d.Tags), NoTags: slices.Clone(d.NoTags),
	}
	if len(d.Fields) > 0 {
		c.Fields = make(map[string]string, len(d.Fields))
		for _, f := range d.Fields {
			c.Fields[f.Name] = f.Value
		}
	}
	return c
}

// id is a digest of the parts, in 32 hexadecimal digits. Each part is led by its length: no two lists run together.
func id(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(strconv.Itoa(len(p)) + ":" + p))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// Encode implements processors.Stage. The bytes are JSON without any map.
func (*Stage) Encode(s State) ([]byte, error) {
	s.Format = formatVersion
	return processors.EncodeState(s, stateName)
}

// Decode implements processors.Stage.
func (*Stage) Decode(b []byte) (State, error) {
	var s State
	if err := processors.DecodeState(b, &s, stateName); err != nil {
		return State{}, err
	}
	if s.Format != formatVersion {
		return State{}, fmt.Errorf("decode %s: format %d is not known, this program writes %d", stateName, s.Format, formatVersion)
	}
	return s, nil
}

// stateName names the state in errors.
const stateName = "the state of a contact"
