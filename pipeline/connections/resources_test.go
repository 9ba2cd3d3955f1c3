package connections

import (
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

func TestResourcesAreEditedInPlace(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
		get  string
	}{
		"in brackets": {
			"# one\nconnector: x # two\nresources: [a, b]   # three\nsettings: {}\n",
			[]string{"a"},
			"# one\nconnector: x # two\nresources: [a]   # three\nsettings: {}\n",
		},
		"in brackets over lines": {
			"connector: x\nresources: [a,\n  b] # end\nsettings: {}\n",
			[]string{"a", "c"},
			"connector: x\nresources: [a, c] # end\nsettings: {}\n",
		},
		"with dashes, one removed": {
			"connector: x\nresources:\n  # the first\n  - a # it\n  - b # the other\nsettings: {}\n",
			[]string{"a"},
			"connector: x\nresources:\n  # the first\n  - a # it\nsettings: {}\n",
		},
		"with dashes, one added": {
			"connector: x\nresources:\n- \"a\" # it\n\n# the rest\nsettings: {}\n",
			[]string{"a", "b"},
			"connector: x\nresources:\n- \"a\" # it\n- b\n\n# the rest\nsettings: {}\n",
		},
		"with dashes, one for another": {
			"resources:\n  - a\n  - b\nconnector: x\n",
			[]string{"a", "c"},
			"resources:\n  - a\n  - c\nconnector: x\n",
		},
		"at the end without a line's end": {
			"connector: x\nresources:\n  - a",
			[]string{"a", "b"},
			"connector: x\nresources:\n  - a\n  - b\n",
		},
		"not there": {
			"connector: x\nenvironment: live # really\n\n# keys\nsettings: {}\n",
			[]string{"a"},
			"connector: x\nenvironment: live # really\nresources: [a]\n\n# keys\nsettings: {}\n",
		},
		"not there, at the end": {"connector: x", []string{"a"}, "connector: x\nresources: [a]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := withResources(c.text, c.want)
			if diff := cmp.Diff(c.get, got); diff != "" || err != nil {
				t.Errorf("error %v (-want +got):\n%s", err, diff)
			}
		})
	}
	for name, text := range map[string]string{
		"no list": "connector: x\nresources: all\n", "an anchor": "connector: x\nresources: &r [a]\n", "not YAML": "connector: [", "a list": "- a\n", "empty": "",
		"two documents": "connector: x\n---\nconnector: y\n", "one item a key": "connector: x\nresources:\n  - - a\n",
	} {
		if got, err := withResources(text, []string{"a"}); err == nil {
			t.Errorf("%s: got %q, want a refusal", name, got)
		}
	}
}

// Whatever the file: either the edit is refused, or the list is as it should be and no other key is touched.
func FuzzResourcesAreEditedInPlace(f *testing.F) {
	f.Add("connector: x\nresources: [a, b]\nsettings: {k: v}\n", true)
	f.Add("connector: x\nresources:\n  - a # c\n  - b\n", false)
	f.Add("connector: x\n", true)
	f.Add("resources: ['a', \"b\"]\nconnector: x", true)
	f.Fuzz(func(t *testing.T, text string, add bool) {
		var before map[string]any
		if yaml.Unmarshal([]byte(text), &before) != nil || strings.ContainsAny(text, "&*!|>\r\t\"'") {
			return // what the loader shows to be changed is refused by the desk; here it is about the usual forms
		}
		var had []string
		if list, ok := before["resources"].([]any); ok {
			for _, one := range list {
				name, ok := one.(string)
				if !ok || !nameForm.MatchString(name) {
					return
				}
				had = append(had, name)
			}
		}
		want := slices.Clone(had)
		if add || len(want) < 2 {
			want = append(want, "new-one")
		} else {
			want = want[1:]
		}
		if len(slices.Compact(slices.Sorted(slices.Values(want)))) != len(want) {
			return
		}
		got, err := withResources(text, want)
		if err != nil {
			return
		}
		var after map[string]any
		if err := yaml.Unmarshal([]byte(got), &after); err != nil {
			t.Fatalf("%q became %q, which is no YAML: %v", text, got, err)
		}
		var have []string
		for _, one := range after["resources"].([]any) {
			have = append(have, one.(string))
		}
		slices.Sort(have)
		slices.Sort(want)
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%q became %q:\n%s", text, got, diff)
		}
		delete(before, "resources")
		delete(after, "resources")
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("other keys of %q:\n%s", text, diff)
		}
	})
}
