package config_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/pipeline/config"
)

var update = flag.Bool("update", false, "write the golden files anew")

// recipe is a document with what mappings and workflows have: scalars, lists, lists of mappings, steps within steps.
type recipe struct {
	Title  string            `yaml:"title,omitempty"`
	Serves int               `yaml:"serves,omitempty"`
	Tags   []string          `yaml:"tags,omitempty"`
	Words  map[string]string `yaml:"words,omitempty"`
	Cook   cook              `yaml:"cook,omitempty"`
	Steps  []step            `yaml:"steps,omitempty"`
}

type cook struct {
	Name string `yaml:"name,omitempty"`
	City string `yaml:"city,omitempty"`
}

type step struct {
	ID   string   `yaml:"id,omitempty"`
	Do   string   `yaml:"do,omitempty"`
	With []string `yaml:"with,omitempty"`
	Then []step   `yaml:"then,omitempty"`
}

var recipes = config.Kind{Folder: "recipes", New: func() any { return &recipe{} }}

// parse reads a text as it is.
func parse(t interface{ Fatal(...any) }, text string) recipe {
	docs, err := config.Documents(map[string]string{"recipes/a.yaml": text}, []config.Kind{recipes})
	if err != nil {
		t.Fatal(err)
	}
	return *docs["recipes"][0].Value.(*recipe)
}

const commented = `# Soup, as grandmother made it.

title: "Soup"   # with care
serves: 4

# What it is.
tags: [hot, 'cheap']  # two words

words:
  # the key is what guests say
  bon: bien
  "ä ö": umlauts # kept
cook:
  name: Ana
  # where she lives
  city: Roma

# How it is done.
steps:
  # first the water
  - id: water   # cold
    do: boil
    with:
      - pot     # a big one
      - salt
  # then what goes in
  - id: cut
    do: |
      cut it
      # not a comment
      small
    then:
      - do: taste  # with a spoon
      # and again
      - {id: again, do: taste}
  - {id: serve, do: serve, with: [bread]} # hot
# The end.
`

func TestAnEditLeavesAllElseAsItIs(t *testing.T) {
	for name, change := range map[string]func(*recipe){
		"nothing":              func(*recipe) {},
		"a-quoted-scalar":      func(r *recipe) { r.Title = "Soup: the second # try" },
		"a-number":             func(r *recipe) { r.Serves = 6 },
		"a-flow-list":          func(r *recipe) { r.Tags = append(r.Tags, "green, and so") },
		"a-list-gone":          func(r *recipe) { r.Tags = nil },
		"a-map-entry-changed":  func(r *recipe) { r.Words["ä ö"] = "more" },
		"a-map-entry-added":    func(r *recipe) { r.Words["ça"] = "va" },
		"a-map-entry-removed":  func(r *recipe) { delete(r.Words, "bon") },
		"a-nested-scalar":      func(r *recipe) { r.Cook.City = "Milano" },
		"a-nested-key-removed": func(r *recipe) { r.Cook.City = "" },
		"an-item-of-a-list":    func(r *recipe) { r.Steps[0].With[0] = "pan" },
		"a-step-changed":       func(r *recipe) { r.Steps[0].Do = "heat" },
		"a-block-text-changed": func(r *recipe) { r.Steps[1].Do = "cut it\n# small\n" },
		"a-deep-step-added":    func(r *recipe) { r.Steps[1].Then = append(r.Steps[1].Then, step{ID: "last", Do: "salt"}) },
		"a-flow-step-changed":  func(r *recipe) { r.Steps[2].With = []string{"bread", "butter"} },
		"a-step-removed":       func(r *recipe) { r.Steps = slices.Delete(r.Steps, 0, 1) },
		"a-step-inserted-first": func(r *recipe) {
			r.Steps = slices.Insert(r.Steps, 0, step{ID: "shop", Do: "buy", With: []string{"leek"}})
		},
		"steps-swapped":  func(r *recipe) { r.Steps[0], r.Steps[1] = r.Steps[1], r.Steps[0] },
		"all-steps-gone": func(r *recipe) { r.Steps = nil },
		"the-cook-gone":  func(r *recipe) { r.Cook = cook{} },
	} {
		t.Run(name, func(t *testing.T) {
			next := parse(t, commented)
			change(&next)
			got, err := config.Edit(recipes, "recipes/a.yaml", commented, &next)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(next, parse(t, got), cmp.Transformer("empty", func(s []string) string { return strings.Join(s, "\x00") })); diff != "" {
				t.Errorf("it says (-want +got):\n%s\n%s", diff, got)
			}
			golden := filepath.Join("testdata/edits", name+".yaml")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			windows, err := config.Edit(recipes, "recipes/a.yaml", strings.ReplaceAll(commented, "\n", "\r\n"), &next)
			if name != "a-block-text-changed" && (err != nil || windows != strings.ReplaceAll(got, "\n", "\r\n")) {
				t.Errorf("with the line ends of Windows it is another edit: %v\n%s", err, windows)
			}
		})
	}
}

func TestAnEditOfNothingMakesANewText(t *testing.T) {
	got, err := config.Edit(recipes, "recipes/a.yaml", " \n", &recipe{Title: "Soup", Steps: []step{{Do: "boil"}}})
	if want := "title: Soup\nsteps:\n  - do: boil\n"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestAnEditOfWhatIsWrittenOtherwiseIsRefusedOrRight(t *testing.T) {
	for name, text := range map[string]string{
		"in one line":      "{title: Soup, serves: 4}\n",
		"an anchor":        "title: &t Soup\ncook: {name: *t}\n",
		"no end of line":   "title: Soup",
		"a document mark":  "---\n# x\ntitle: Soup\n...\n",
		"a folded text":    "title: >-\n  Soup\n  of leek\nserves: 4\n",
		"a quoted key":     "\"title\": Soup\n",
		"list at the left": "title: Soup\nsteps:\n- do: a\n# b\n- do: b\n",
	} {
		next := parse(t, text)
		next.Title, next.Serves = "Stew", 9
		if len(next.Steps) > 0 {
			next.Steps = append(next.Steps, step{Do: "c"})
		}
		got, err := config.Edit(recipes, "recipes/a.yaml", text, &next)
		if errors.Is(err, config.ErrEditText) && (name == "in one line" || name == "an anchor") {
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(next, parse(t, got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s\n%s", name, diff, got)
		}
		if strings.Contains(text, "#") && !strings.Contains(got, "#") {
			t.Errorf("%s: a comment is lost:\n%s", name, got)
		}
	}
}

func TestAnEditOfABrokenTextTellsTheLine(t *testing.T) {
	var problems config.Problems
	_, err := config.Edit(recipes, "recipes/a.yaml", "title: Soup\nsteps:\n  - doo: x\n", &recipe{Title: "x"})
	if !errors.As(err, &problems) || problems[0].Line != 3 || problems[0].File != "recipes/a.yaml" {
		t.Errorf("got %v, want a problem on line 3", err)
	}
}

// words are texts that YAML could take for something else.
var words = rapid.SampledFrom([]string{"a", "b c", "1", "true", "null", "~", "x: y", "# x", "x # y", "- x", "'", `"`, `\`, "[a]", "{a: b}", "*a", "&a", "!x", "%x", "@x", "`x", "a\nb", "a\n\nb\n", " x", "x ", "é", "1e3", "0x1", "2026-01-01", "yes", ":", "?", "|", ">"})

func drawRecipe(t *rapid.T, label string) recipe {
	list := rapid.SliceOfN(words, 0, 4)
	var steps func(depth int) []step
	n := 0
	steps = func(depth int) []step {
		var out []step
		for range rapid.IntRange(0, 3).Draw(t, "steps") {
			n++
			s := step{Do: words.Draw(t, "do"), With: list.Draw(t, "with")}
			if rapid.Bool().Draw(t, "named") {
				s.ID = fmt.Sprintf("s%d", rapid.IntRange(1, 5).Draw(t, "id"))
			}
			if depth < 2 {
				s.Then = steps(depth + 1)
			}
			out = append(out, s)
		}
		return out
	}
	return recipe{
		Title: words.Draw(t, label), Serves: rapid.IntRange(0, 9).Draw(t, "serves"), Tags: list.Draw(t, "tags"),
		Words: rapid.MapOfN(words, words, 0, 3).Draw(t, "words"), Cook: cook{Name: rapid.SampledFrom([]string{"", "Ana"}).Draw(t, "name"), City: words.Draw(t, "city")}, Steps: steps(0),
	}
}

func TestAnyEditSaysWhatWasAskedFor(t *testing.T) {
	refused, all := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		was, next := drawRecipe(t, "was"), drawRecipe(t, "next")
		b, err := yaml.MarshalWithOptions(was, yaml.IndentSequence(rapid.Bool().Draw(t, "indented")))
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		if strings.Contains(text, "|") || strings.Contains(text, "\n\n") { // where a comment could stand within a text
			text = "# head\n" + text
		} else {
			text = "# head\n" + strings.ReplaceAll(text, "steps:", "# above the steps\nsteps:")
		}
		all++
		got, err := config.Edit(recipes, "recipes/a.yaml", text, &next)
		if err != nil {
			refused++
			return
		}
		want, _ := config.Edit(recipes, "recipes/a.yaml", "", &next)
		if diff := cmp.Diff(parse(t, want), parse(t, got)); diff != "" {
			t.Fatalf("(-want +got):\n%s\n%s", diff, got)
		}
		if !strings.HasPrefix(got, "# head\n") {
			t.Fatalf("the head is lost:\n%s", got)
		}
		again, err := config.Edit(recipes, "recipes/a.yaml", got, &next)
		if err != nil || again != got {
			t.Fatalf("the same edit again changes the text: %v\n%s", err, again)
		}
	})
	if refused*4 > all { // texts over several lines and the like, which no edit can place
		t.Errorf("%d of %d edits were refused", refused, all)
	}
}
