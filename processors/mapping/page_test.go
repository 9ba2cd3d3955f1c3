package mapping_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/processors/expressions"
	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/processors/tags"
	"github.com/tillstream/tillstream/processors/zones"
)

const page = "../../docs/mapping.md"

var update = flag.Bool("update", false, "write the table of sources into "+page)

// samples are the values of the table of sources, and two fields of a contact's own.
type samples map[string]string

func newSamples() samples {
	s := samples{"contact.fields.VIP points": "12.50"}
	for _, e := range mapping.Catalogue() {
		s[e.Name] = e.Sample
	}
	return s
}

func (s samples) Text(name string) string   { return s[name] }
func (s samples) List(name string) []string { return strings.Split(s[name], ", ") }

// section is what stands under a heading.
func section(t *testing.T, text, heading string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no section %s", page, heading)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	return rest
}

// rows are the cells of a section's table, without its head.
func rows(section string) [][]string {
	var all [][]string
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.ReplaceAll(line, `\|`, "\x00"), "|"), "|")
		for i, c := range cells {
			cells[i] = strings.ReplaceAll(strings.TrimSpace(c), "\x00", "|")
		}
		all = append(all, cells)
	}
	return all[min(1, len(all)):]
}

func code(cell string) string { return strings.Trim(cell, "`") }

func sourcesTable() string {
	var b strings.Builder
	for _, e := range mapping.Catalogue() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` |\n", e.Name, e.Kind, e.Label, e.Sample)
	}
	return b.String()
}

func TestMappingPage(t *testing.T) {
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	table := regexp.MustCompile("(?m)^(\\| `[a-z_.0-9*]+` \\| (text|a number|a time|a list|of any type) \\|.*\n)+").FindString(text)
	if *update {
		if err := os.WriteFile(page, []byte(strings.Replace(text, table, sourcesTable(), 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(sourcesTable(), table); diff != "" {
		t.Errorf("run go test ./processors/mapping -run MappingPage -update (-want +got):\n%s", diff)
	}
	if !strings.Contains(text, "IANA "+zones.Version) {
		t.Errorf("the page does not name the time zones of %s", zones.Version)
	}
	for _, name := range []string{"expr", "if", "from", "as", "concat", "table", "default", "when", "to"} {
		if !strings.Contains(section(t, text, "Fields"), "`"+name+"`") {
			t.Errorf("the page does not tell what %s is", name)
		}
	}
	functionsOfPage(t, section(t, text, "Functions"))
	expressionsOfPage(t, section(t, text, "Expressions"))
	examplesOfPage(t, text)
}

// functionsOfPage runs each example, and misses no function.
func functionsOfPage(t *testing.T, section string) {
	values := newSamples()
	catalogue := mapping.CatalogueFor(nil)
	told := map[string]bool{}
	for _, row := range rows(section) {
		told[strings.Fields(code(row[0]))[0]] = true
		if row[2] == "–" {
			continue
		}
		template, err := expressions.CompileTemplate(code(row[2]), catalogue, expressions.Plain)
		if err != nil {
			t.Errorf("%s: %v", row[2], err)
			continue
		}
		if got, issues := template.Fill(values); got != code(row[3]) || len(issues) > 0 {
			t.Errorf("%s: got %q, %q, the page says %s", row[2], got, issues, row[3])
		}
	}
	for _, name := range mapping.Functions() {
		if !told[name] {
			t.Errorf("the page lacks the function %s", name)
		}
		if inTemplates := slices.Contains(expressions.TemplateFunctions(), name); inTemplates == (name == "lookup") {
			t.Errorf("%s in templates: %v", name, inTemplates)
		}
	}
	if len(told) != len(mapping.Functions()) {
		t.Errorf("the page has functions that are none: %v", told)
	}
}

// expressionsOfPage runs each example, and misses no function and no operator.
func expressionsOfPage(t *testing.T, section string) {
	values := newSamples()
	catalogue := mapping.CatalogueFor(nil)
	all := ""
	for _, row := range rows(section) {
		e, err := expressions.CompileValue(code(row[0]), catalogue)
		if err != nil {
			t.Errorf("%s: %v", row[0], err)
			continue
		}
		if got, err := e.Value(values); err != nil || got != code(row[1]) {
			t.Errorf("%s: got %q, %v, the page says %s", row[0], got, err, row[1])
		}
		all += code(row[0]) + "\n"
	}
	for _, name := range expressions.FunctionNames() {
		if !strings.Contains(all, name+"(") {
			t.Errorf("the page lacks the function %s", name)
		}
	}
	for _, operator := range []string{"&&", "||", "!(", " and ", "not (", "==", "!=", " < ", "<=", " > ", ">=", " in ", "not in", "contains", "startsWith", "endsWith", "matches", " + ", " - ", " * ", " / ", "??", " ? "} {
		if operator == " < " {
			continue // as > is
		}
		if !strings.Contains(all, operator) {
			t.Errorf("the page lacks the operator %s", operator)
		}
	}
}

// examplesOfPage compiles the rules of the page's two files.
func examplesOfPage(t *testing.T, text string) {
	var fields mapping.Mapping
	for _, m := range regexp.MustCompile(`(?m)^  - \{to: (\w+), (from|expr): "?([^,"}]+)"?(?:, as: "?([^"}]+)"?)?`).FindAllStringSubmatch(section(t, text, "Fields"), -1) {
		rule := mapping.Rule{To: m[1], As: m[4]}
		if rule.From = m[3]; m[2] == "expr" {
			_, after, _ := strings.Cut(section(t, text, "Fields"), `expr: "`)
			rule.Expr, _, _ = strings.Cut(after, `"`)
			rule.From = ""
		}
		fields.Fields = append(fields.Fields, rule)
	}
	if _, problems := mapping.Compile(fields, nil); len(problems) > 0 || len(fields.Fields) != 7 {
		t.Errorf("%d rules of the page: %v", len(fields.Fields), problems)
	}
	var rules []tags.Conditional
	for _, m := range regexp.MustCompile(`(?m)^    - \{(?:if: (?:"([^"]+)"|'([^']+)'), )?(add|remove): \["?([^"\]]+)"?\]\}`).FindAllStringSubmatch(section(t, text, "Tags"), -1) {
		rule := tags.Conditional{If: m[1] + m[2], Add: []string{m[4]}}
		if m[3] == "remove" {
			rule.Add, rule.Remove = nil, rule.Add
		}
		rules = append(rules, rule)
	}
	if _, problems := tags.Compile(rules, mapping.CatalogueFor([]string{"subscription.plan_id"})); len(problems) > 0 || len(rules) != 3 {
		t.Errorf("%d rules for tags of the page: %v", len(rules), problems)
	}
}
