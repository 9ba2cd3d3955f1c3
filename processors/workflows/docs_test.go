package workflows_test

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/processors/triggers"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
)

func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/workflows.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// section is the page from a heading to the next of its rank, or a higher one.
func section(t *testing.T, heading string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page(t), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("the page has no %s", heading)
	}
	rank := strings.Repeat("#", strings.IndexByte(heading, ' '))
	for r := rank; r != "#"; r = r[1:] {
		rest, _, _ = strings.Cut(rest, "\n"+r+" ")
	}
	return rest
}

var (
	code = regexp.MustCompile("`([a-z_]+)`")
	rows = regexp.MustCompile(`(?m)^\| ([^|]*) \|`)
)

// told are the words of the first column of a section's tables.
func told(text string) []string {
	var words []string
	for _, row := range rows.FindAllStringSubmatch(text, -1) {
		for _, w := range code.FindAllStringSubmatch(row[1], -1) {
			words = append(words, w[1])
		}
	}
	return words
}

// keys are the keys of a mapping in a file.
func keys(v any) []string {
	var names []string
	for f := range reflect.TypeOf(v).Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		names = append(names, name)
	}
	return names
}

// The page tells of every key, and of none that there is not.
func TestPageTellsEveryKey(t *testing.T) {
	steps := section(t, "## Steps")
	actions, _, _ := strings.Cut(steps, "\n### ")
	for _, test := range []struct {
		name  string
		told  []string
		keys  []string
		apart []string // told in the text or beside, not in the first column
	}{
		{"file", told(section(t, "## The file")), keys(workflows.File{}), nil},
		{"start", told(section(t, "## Starts")), keys(workflows.FileStart{}), nil},
		{"step", told(actions), keys(workflows.FileStep{}), []string{"id", "then", "else", "met", "not_met", "corrected", "values", "field", "destination"}},
		{"wait_for", told(section(t, "### wait_for")), keys(workflows.FileWaitFor{}), nil},
		{"wait_until", told(section(t, "### wait_until and business_hours")), append(keys(workflows.FileUntil{}), keys(workflows.FileHours{})...), nil},
	} {
		for _, k := range test.keys {
			if !slices.Contains(test.told, k) && !slices.Contains(test.apart, k) {
				t.Errorf("%s: the page does not tell of %s", test.name, k)
			}
		}
		for _, k := range test.told {
			if !slices.Contains(test.keys, k) && !slices.Contains(triggers.IDs(), k) {
				t.Errorf("%s: the page tells of %s, which there is not", test.name, k)
			}
		}
		for _, k := range test.apart {
			if !strings.Contains(steps, "`"+k+"`") {
				t.Errorf("%s: the page does not tell of %s", test.name, k)
			}
		}
	}
}

// The keys of small mappings stand in their step's row.
func TestPageTellsTheKeysOfSteps(t *testing.T) {
	for does, v := range map[string]any{
		"move_to_list": workflows.FileMove{}, "track_event": workflows.FileTrack{}, "write_order": workflows.FileShop{},
		"write_recurring_payment": workflows.FileShop{}, "notify": workflows.FileNotify{},
	} {
		row := regexp.MustCompile("(?m)^\\| `" + does + "` .*$").FindString(page(t))
		for _, k := range keys(v) {
			if !strings.Contains(row, k+":") {
				t.Errorf("the row of %s does not tell of %s", does, k)
			}
		}
	}
}

func TestPageTellsTriggersStatusesRulesAndBounds(t *testing.T) {
	starts := section(t, "## Starts")
	for _, id := range triggers.IDs() {
		if !strings.Contains(starts, "\n| `"+id+"` |") {
			t.Errorf("no row for the trigger %s", id)
		}
	}
	for _, status := range triggers.Statuses() {
		if !strings.Contains(starts, status) {
			t.Errorf("no word of the status %s", status)
		}
	}
	check := section(t, "## What the check finds")
	for _, r := range []workflows.Rule{
		workflows.Unreachable, workflows.EndlessWait, workflows.FutileWait, workflows.FutileStart, workflows.StatusUnseen, workflows.TagFight, workflows.Loop,
		workflows.NotMovable, workflows.NobodyMoves, workflows.MovesToOff, workflows.HeldForHistory, workflows.NoOrder, workflows.ConstantCondition, workflows.DoesNothing,
	} {
		if !strings.Contains(check, "\n| `"+string(r)+"` |") {
			t.Errorf("no row for the rule %s", r)
		}
	}
	limits := section(t, "## Limits")
	for what, row := range map[string]bool{
		"| 5,000 |": workflows.FilesMax == 5_000, "| 256 KiB |": workflows.FileBytesMax == 256<<10, "together | 500 |": workflows.StepsMax == 500,
		"within branches | 10 |": workflows.DepthMax == 10, "`start` | 50 |": workflows.StartsMax == 50, "one list | 200 |": workflows.EntriesMax == 200,
		"one workflow | 1,000 |": workflows.TemplatesMax == 1_000, "| 1 second to 400 days |": workflows.SpanSecondsMin == 1 && workflows.SpanDaysMax == 400,
	} {
		if !row || !strings.Contains(limits, what) {
			t.Errorf("limits: %s is not what holds", what)
		}
	}
}

var block = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// Every workflow of the page compiles, and the check finds nothing wrong with it.
func TestPageExamples(t *testing.T) {
	known := workflows.Known{
		Connections: []string{"shop"}, Catalogue: mapping.CatalogueFor([]string{"subscription.*"}),
		Destinations: map[string][]workflows.ActionKind{"crm": nil, "warehouse": workflows.Performs([]string{schemas.EffectNotify}, false)},
	}
	blocks := block.FindAllStringSubmatch(page(t), -1)
	if len(blocks) < 5 {
		t.Fatalf("the page has %d examples", len(blocks))
	}
	for _, b := range blocks {
		set, problems := workflows.CompileAll(map[string]workflows.File{"example": parse(t, b[1])}, known)
		if len(problems) > 0 {
			t.Errorf("%v\n%s", problems, b[1])
			continue
		}
		facts := workflows.Facts{SeenStatuses: append(triggers.Statuses(), "on-hold")}
		if found := workflows.Check(set, facts); len(found) > 0 {
			t.Errorf("%v\n%s", found, b[1])
		}
	}
	for name := range readExamples(t) {
		if !strings.Contains(page(t), "("+"../examples/config/workflows/"+name+".yaml)") {
			t.Errorf("the cookbook lacks %s", name)
		}
	}
}
