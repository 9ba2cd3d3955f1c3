package connectors_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/all"
)

// TestCatalogues: each begins with the names of every record, has no name twice, and tells of each what a person needs.
func TestCatalogues(t *testing.T) {
	var shared []string
	for _, f := range connectors.RecordFields(connectors.SampleRecord{}, nil) {
		shared = append(shared, f.Name+" "+f.Type)
	}
	types := map[string]bool{
		connectors.TypeText: true, connectors.TypeMoney: true, connectors.TypeDate: true, connectors.TypePhone: true, connectors.TypeNumber: true,
	}
	for _, c := range all.Connectors().All() {
		t.Run(c.Type, func(t *testing.T) {
			var first []string
			seen := map[string]bool{}
			for i, f := range c.Fields {
				if i < len(shared) {
					first = append(first, f.Name+" "+f.Type)
				}
				if seen[f.Name] || f.Label == "" || strings.TrimSpace(f.Sample) == "" || !types[f.Type] {
					t.Errorf("got %+v, want a new name with label, type and sample", f)
				}
				seen[f.Name] = true
			}
			if diff := cmp.Diff(first, shared); diff != "" {
				t.Errorf("first block: -got +want:\n%s", diff)
			}
		})
	}
}

func TestRecordFieldsLabels(t *testing.T) {
	for _, f := range connectors.RecordFields(connectors.SampleRecord{Amount: "5", GivenName: "A", Surname: "B"}, map[string]string{"order.id": "Number"}) {
		switch {
		case f.Name == "order.id" && f.Label != "Number", f.Name == "order.amount" && f.Label != "Amount",
			f.Name == "order.paid" && f.Sample != "5", f.Name == "payer.full_name" && f.Sample != "A B":
			t.Errorf("got %+v", f)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a label for a name of no record: got no panic")
		}
	}()
	connectors.RecordFields(connectors.SampleRecord{}, map[string]string{"order.nubmer": "Number"})
}

func TestFieldSet(t *testing.T) {
	f := connectors.FieldSet{Values: map[string]string{}, Max: 4}
	f.Set("a", "  first ")
	f.Set("a", "second")
	f.Set("empty", " \n")
	f.Set("long", strings.Repeat("ä", connectors.FieldBytesMax))
	day := func(string) (time.Time, error) {
		return time.Date(2026, 11, 2, 10, 0, 0, 0, time.FixedZone("", 3600)), nil
	}
	f.SetDate("day", "today", day)
	f.SetDate("none", "soon", func(string) (time.Time, error) { return time.Time{}, errors.New("no date") })
	f.Set("fifth", "does not fit")
	want := map[string]string{
		"a": "first", "long": strings.Repeat("ä", connectors.FieldBytesMax/2), "day": "2026-11-02T09:00:00Z", "none": "soon",
	}
	if diff := cmp.Diff(f.Values, want); diff != "" || !f.Full() {
		t.Errorf("full %t, -got +want:\n%s", f.Full(), diff)
	}
}

// TestFieldSetBounds: whatever is set, each bound holds, and what was set first is what stays.
func TestFieldSetBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := connectors.FieldSet{Values: map[string]string{}}
		repeats := rapid.IntRange(1, 300).Draw(t, "repeats")
		for i := range rapid.IntRange(0, 2*connectors.FieldsMax).Draw(t, "values") {
			f.Set("n"+strconv.Itoa(i), strings.Repeat(rapid.StringN(1, 5, -1).Draw(t, "text"), repeats))
		}
		size := 0
		for name, value := range f.Values {
			size += len(name) + len(value)
			if value == "" || len(value) > connectors.FieldBytesMax || !utf8.ValidString(value) {
				t.Errorf("%s: got %d bytes %.20q", name, len(value), value)
			}
		}
		if len(f.Values) > connectors.FieldsMax || size > connectors.FieldsBytesTotal {
			t.Errorf("got %d values of %d bytes", len(f.Values), size)
		}
	})
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		text string
		max  int
		want string
	}{
		{"abc", 3, "abc"},
		{"abc", 2, "ab"},
		{"aä", 2, "a"},
		{"ä", 1, ""},
		{"a€b", 4, "a€"},
		{"\x80\x80", 1, ""},
		{"", 0, ""},
	} {
		if got := connectors.Cut(c.text, c.max); got != c.want {
			t.Errorf("%q to %d bytes: got %q, want %q", c.text, c.max, got, c.want)
		}
	}
}
