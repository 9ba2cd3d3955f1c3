package automation

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/processors/mapping"
)

// Fields filled in one walk are those that filling one after the other gives, and the state before keeps its own.
func TestFieldsAreFilled(t *testing.T) {
	drawn := rapid.MapOf(rapid.StringMatching(`[A-D][0-2]?`), rapid.SampledFrom([]string{"x", "y"}))
	rapid.Check(t, func(t *rapid.T) {
		have, news := drawn.Draw(t, "have"), drawn.Draw(t, "news")
		want, d := maps.Clone(have), desired{}
		for _, name := range slices.Sorted(maps.Keys(have)) {
			d.Fields = append(d.Fields, field{name, have[name]})
		}
		var values []mapping.Value
		for _, name := range slices.Sorted(maps.Keys(news)) {
			values = append(values, mapping.Value{To: name, Value: news[name]})
			want[name] = news[name]
		}
		before := d.Fields
		d.setFields(values)
		names := fieldNames(d.Fields)
		if !slices.Equal(names, slices.Sorted(maps.Keys(want))) {
			t.Fatalf("fields are %v, want those of %v, in order", names, want)
		}
		for _, f := range d.Fields {
			if f.Value != want[f.Name] {
				t.Fatalf("field %s is %q, want %q", f.Name, f.Value, want[f.Name])
			}
		}
		for _, f := range before {
			if f.Value != have[f.Name] {
				t.Fatalf("the state before had %s changed from %q to %q", f.Name, have[f.Name], f.Value)
			}
		}
	})
}
