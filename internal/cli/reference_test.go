package cli

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tillstream/tillstream/api"
	connectorsall "github.com/tillstream/tillstream/connectors/all"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/kafka"
	sinksall "github.com/tillstream/tillstream/sinks/all"
)

const docsFolder = "../../docs"

// generatedFrom is the heading of each page from which on it is made from the program, down to its end. What stands above is
// written by hand.
var generatedFrom = map[string]string{"cli.md": "## Exit codes\n", "configuration.md": "## tillstream.yaml\n", "topics.md": "## Topics\n"}

// TestReferencePages holds the pages that are made from the program to it; with -update it writes them:
//
//	go test ./internal/cli -run 'TestReferencePages|TestErrorsPage' -update
func TestReferencePages(t *testing.T) {
	for name, write := range map[string]func(*testing.T, *strings.Builder){"cli.md": cliPage, "configuration.md": configurationPage, "topics.md": topicsPage} {
		path := filepath.Join(docsFolder, name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before, _, found := strings.Cut(string(text), generatedFrom[name])
		if !found {
			t.Errorf("%s lacks the heading %q", name, generatedFrom[name])
			continue
		}
		var made strings.Builder
		write(t, &made)
		want := before + strings.TrimSpace(made.String()) + "\n"
		if updating() {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if diff := cmp.Diff(string(text), want); diff != "" {
			t.Errorf("%s is not as the program is; write it with -update (-page +program):\n%.3000s", name, diff)
		}
	}
}

func updating() bool { return flag.Lookup("update").Value.String() == "true" }

// TestErrorsPage: each code of the API has its section, whose first line says the same as the answer does, and no section is
// about a code that there is not.
func TestErrorsPage(t *testing.T) {
	path := filepath.Join(docsFolder, "errors.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(text), "\n## ")
	seen := map[string]bool{}
	for i, section := range sections[1:] {
		head, body, _ := strings.Cut(section, "\n\n")
		code := strings.Trim(head, "`")
		said, known := api.Codes[api.Code(code)]
		if !known {
			t.Errorf("%s has a section %s, which is no code", path, head)
			continue
		}
		seen[code] = true
		want := fmt.Sprintf("Status %d: %s. What to do: %s.", said.Status, said.Title, said.Remedy)
		first, rest, _ := strings.Cut(body, "\n\n")
		if strings.TrimSpace(rest) == "" {
			t.Errorf("%s does not say what %s comes of", path, code)
		}
		if first != want && !updating() {
			t.Errorf("%s says of %s\n%s\nand the program\n%s", path, code, first, want)
		}
		sections[i+1] = head + "\n\n" + want + "\n\n" + rest
	}
	for code := range api.Codes {
		if !seen[string(code)] {
			t.Errorf("%s has no section ## %s", path, code)
		}
	}
	if updating() {
		if err := os.WriteFile(path, []byte(strings.Join(sections, "\n## ")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// program is the command tree that users have.
func program() (Process, *cobra.Command) {
	p := Process{Connectors: connectorsall.Connectors(), Sinks: sinksall.Sinks(), Now: time.Now}
	root := p.root()
	root.InitDefaultCompletionCmd()
	return p, root
}

// below lists the commands that do something, and those that hold others, in the order of their paths.
func below(c *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			all = append(all, sub)
			all = append(all, below(sub)...)
		}
	}
	return all
}

// tableCell is text as it can stand in a table.
func tableCell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(strings.TrimSpace(text))
}

func cliPage(_ *testing.T, b *strings.Builder) {
	_, root := program()
	commands := below(root)
	b.WriteString("## Exit codes\n\nThese hold for every command:\n\n| code | when |\n|--:|---|\n")
	for _, e := range commonExits {
		fmt.Fprintf(b, "| %d | %s |\n", e.code, tableCell(e.when))
	}
	b.WriteString("\nThese commands have further ones, or mean something more exact:\n\n| command | code | when |\n|---|--:|---|\n")
	for _, c := range commands {
		for _, e := range exits[pathOf(c)] {
			fmt.Fprintf(b, "| `%s` | %d | %s |\n", pathOf(c), e.code, tableCell(e.when))
		}
	}
	b.WriteString("\n## Commands\n\n| command | what it does |\n|---|---|\n")
	for _, c := range commands {
		fmt.Fprintf(b, "| [`%s`](#%s) | %s |\n", pathOf(c), slug("tillstream "+pathOf(c)), tableCell(c.Short))
	}
	for _, c := range commands {
		fmt.Fprintf(b, "\n### tillstream %s\n\n", pathOf(c))
		fmt.Fprintf(b, "```text\n%s\n```\n\n", c.UseLine())
		said := c.Long
		if said == "" {
			said = c.Short + "."
		}
		fmt.Fprintf(b, "```text\n%s\n```\n", strings.TrimSpace(said))
		if c.HasExample() {
			fmt.Fprintf(b, "\n```sh\n%s\n```\n", unindented(c.Example))
		}
		flags := c.NonInheritedFlags()
		if !flags.HasAvailableFlags() {
			continue
		}
		b.WriteString("\n| flag | what it says | left out |\n|---|---|---|\n")
		flags.VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" {
				return
			}
			kind, meaning := pflag.UnquoteUsage(f)
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", strings.TrimSpace("--"+f.Name+" "+kind), tableCell(meaning), tableCell(quoted(defaultOf(f))))
		})
	}
}

func quoted(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

func unindented(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(l, "  ")
	}
	return strings.Join(lines, "\n")
}

// slug is the anchor that a heading gets.
func slug(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.ReplaceAll(heading, "`", "")) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 127:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// schemaOf is the part of a JSON Schema that the page tells.
type schemaOf struct {
	Type        string               `json:"type"`
	Const       any                  `json:"const"`
	Ref         string               `json:"$ref"`
	Description string               `json:"description"`
	Pattern     string               `json:"pattern"`
	Enum        []any                `json:"enum"`
	Required    []string             `json:"required"`
	Items       *schemaOf            `json:"items"`
	Properties  json.RawMessage      `json:"properties"`
	OneOf       []*schemaOf          `json:"oneOf"`
	AnyOf       []*schemaOf          `json:"anyOf"`
	Defs        map[string]*schemaOf `json:"$defs"`
}

// keys are the properties in the order of the file.
func (s *schemaOf) keys(t *testing.T) (names []string, of map[string]*schemaOf) {
	if len(s.Properties) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(s.Properties, &of); err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(s.Properties))
	_, _ = d.Token()
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name.(string))
		var skipped json.RawMessage
		if err := d.Decode(&skipped); err != nil {
			t.Fatal(err)
		}
	}
	return names, of
}

// kind says in a word or two what a value is.
func (s *schemaOf) kind() string {
	switch {
	case len(s.Enum) > 0:
		list := make([]string, len(s.Enum))
		for i, e := range s.Enum {
			list[i] = fmt.Sprintf("`%v`", e)
		}
		return strings.Join(list, ", ")
	case s.Const != nil:
		return fmt.Sprintf("`%v`", s.Const)
	case s.Ref != "":
		name := s.Ref[strings.LastIndex(s.Ref, "/")+1:]
		return "[" + name + "](#" + slug(name) + ")"
	case s.Items != nil:
		return "list of " + s.Items.kind()
	case strings.Contains(s.Pattern, "(env|file)"):
		return "secret"
	case strings.Contains(s.Pattern, "ns|us|ms"):
		return "duration"
	case len(s.AnyOf) > 0 || len(s.OneOf) > 0:
		var list []string
		for _, one := range append(slices.Clone(s.AnyOf), s.OneOf...) {
			if k := one.kind(); !slices.Contains(list, k) {
				list = append(list, k)
			}
		}
		return strings.Join(list, " or ")
	}
	return map[string]string{"string": "text", "integer": "number", "boolean": "`true` or `false`", "object": "keys"}[s.Type] + map[bool]string{true: "number"}[s.Type == "number"]
}

// rows writes a row for each key, and for the keys within it.
func (s *schemaOf) rows(t *testing.T, b *strings.Builder, prefix string) {
	names, of := s.keys(t)
	for _, name := range names {
		one := of[name]
		kind := one.kind()
		if slices.Contains(s.Required, name) {
			kind += ", needed"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", prefix+name, tableCell(kind), tableCell(one.Description))
		one.rows(t, b, prefix+name+".")
		if one.Items != nil {
			one.Items.rows(t, b, prefix+name+"[].")
		}
	}
}

const keysHead = "| key | kind | meaning |\n|---|---|---|\n"

func configurationPage(t *testing.T, b *strings.Builder) {
	p, _ := program()
	all, err := config.Schemas(config.Options{Connectors: p.Connectors, Sinks: p.Sinks, Kinds: app.Kinds()})
	if err != nil {
		t.Fatal(err)
	}
	kinds := []string{"tillstream", "connections", "destinations"}
	for k := range all {
		if !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	slices.Sort(kinds[3:])
	for _, kind := range kinds {
		var s schemaOf
		if err := json.Unmarshal(all[kind], &s); err != nil {
			t.Fatal(err)
		}
		title := kind + "/NAME.yaml"
		if kind == "tillstream" {
			title = "tillstream.yaml"
		}
		fmt.Fprintf(b, "\n## %s\n", title)
		for _, form := range s.OneOf {
			_, of := form.keys(t)
			for _, told := range []string{"connector", "sink"} {
				if c := of[told]; c != nil {
					fmt.Fprintf(b, "\n### %s: %v\n", told, c.Const)
				}
			}
			b.WriteString("\n" + keysHead)
			form.rows(t, b, "")
		}
		if len(s.OneOf) == 0 {
			b.WriteString("\n" + keysHead)
			s.rows(t, b, "")
		}
		names := make([]string, 0, len(s.Defs))
		for name := range s.Defs {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			fmt.Fprintf(b, "\n### %s\n", name)
			if d := s.Defs[name]; len(d.Properties) > 0 {
				fmt.Fprintf(b, "\n%s\n\n%s", d.Description, keysHead)
				d.rows(t, b, "")
			} else {
				fmt.Fprintf(b, "\n%s %s\n", d.Description, d.kind())
			}
		}
	}
}

// topicWords are what schemas/topics.go says of each topic: its records and its key.
func topicWords(t *testing.T) map[string]string {
	f, err := parser.ParseFile(token.NewFileSet(), "../../schemas/topics.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 && v.Comment != nil {
			name, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			said[name] = strings.TrimSpace(v.Comment.Text())
		}
		return true
	})
	return said
}

type avroRecord struct {
	Name   string `json:"name"`
	Doc    string `json:"doc"`
	Fields []struct {
		Name    string `json:"name"`
		Type    any    `json:"type"`
		Default any    `json:"default"`
		Doc     string `json:"doc"`
	} `json:"fields"`
}

func topicsPage(t *testing.T, b *strings.Builder) {
	words := topicWords(t)
	b.WriteString("## Topics\n\n| topic | records and key | kept |\n|---|---|---|\n")
	for _, topic := range kafka.Topics(kafka.Options{}) {
		kept := fmt.Sprintf("at least %d days", int(topic.Retention/(24*time.Hour)))
		if topic.Compacted {
			kept = "the last record of each key"
		}
		if topic.Partitions == 1 {
			kept += "; one partition"
		}
		if words[topic.Name] == "" {
			t.Errorf("schemas/topics.go says nothing of %s", topic.Name)
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", topic.Name, tableCell(words[topic.Name]), kept)
	}
	files, _ := filepath.Glob("../../schemas/*.avsc")
	for _, internal := range []bool{false, true} {
		b.WriteString(map[bool]string{false: "\n## Records\n", true: "\n## Internal records\n\nThese can change with any release: do not build on them.\n"}[internal])
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var r avroRecord
			if err := json.Unmarshal(text, &r); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if strings.Contains(r.Doc, "Internal") != internal {
				continue
			}
			fmt.Fprintf(b, "\n### %s\n\n%s\n\n| field | type | meaning |\n|---|---|---|\n", r.Name, r.Doc)
			for _, f := range r.Fields {
				fmt.Fprintf(b, "| `%s` | %s | %s |\n", f.Name, tableCell(avroKind(f.Type)), tableCell(f.Doc))
			}
		}
	}
}

// avroKind names a type of a field.
func avroKind(t any) string {
	switch t := t.(type) {
	case string:
		return strings.TrimPrefix(t, "tillstream.")
	case []any:
		var list []string
		for _, one := range t {
			list = append(list, avroKind(one))
		}
		return strings.Join(list, " or ")
	case map[string]any:
		switch t["type"] {
		case "array":
			return "list of " + avroKind(t["items"])
		case "map":
			return "map of " + avroKind(t["values"])
		case "record":
			return fmt.Sprint(t["name"])
		}
		if l, ok := t["logicalType"]; ok {
			return fmt.Sprint(l)
		}
		return avroKind(t["type"])
	}
	return fmt.Sprint(t)
}

// TestExitCodesAreTabled: a help text that tells exit codes has its row in the table that the page and the manual show.
func TestExitCodesAreTabled(t *testing.T) {
	_, root := program()
	known := map[string]bool{}
	for _, c := range below(root) {
		path := pathOf(c)
		known[path] = true
		said := c.Long + c.Short
		if strings.Contains(strings.ToLower(said), "exit code") && exits[path] == nil {
			t.Errorf("the help of %s tells exit codes, and the table in exits.go has no row for it", path)
		}
	}
	for path := range exits {
		if !known[path] {
			t.Errorf("exits.go has a row for %q, which is no command", path)
		}
	}
}

// withoutJSON are the commands whose answer is no data: they run until they are stopped, write files, print text that is
// meant to be kept as it is, or lead a person through steps and end with a code.
var withoutJSON = []string{
	"completion bash",
	"completion fish",
	"completion powershell",
	"completion zsh",
	"config schema",
	"dev",
	"generate",
	"init",
	"man",
	"run",
	"simulator activecampaign",
	"simulator getresponse",
	"simulator own-shop",
	"simulator paypal",
	"simulator shopify",
	"simulator stripe",
	"simulator webhook",
	"simulator woocommerce",
}

// onlyHolds reports whether c holds other commands and does nothing by itself.
func onlyHolds(c *cobra.Command) bool {
	return c.HasAvailableSubCommands() && !slices.Contains([]string{"connections", "destinations", "deliveries", "issues", "resume", "waits", "mappings", "workflows"}, pathOf(c))
}

// TestCommandsPrintJSON: what prints data prints it for programs, too. --format json is as good.
func TestCommandsPrintJSON(t *testing.T) {
	_, root := program()
	var without []string
	for _, c := range below(root) {
		if onlyHolds(c) {
			continue
		}
		if c.Flag("json") == nil && c.Flag("format") == nil {
			without = append(without, pathOf(c))
		}
	}
	if diff := cmp.Diff(without, withoutJSON); diff != "" {
		t.Errorf("give the command --json, or say here that it prints no data (-without it, +listed):\n%s", diff)
	}
}

// TestCompletionsAreOfCommands: a command or flag that was renamed would lose what shells offer for it.
func TestCompletionsAreOfCommands(t *testing.T) {
	_, root := program()
	paths, flags := map[string]bool{}, map[string]bool{}
	for _, c := range below(root) {
		paths[pathOf(c)] = true
		visit := func(f *pflag.Flag) { flags[f.Name], flags[pathOf(c)+" --"+f.Name] = true, true }
		c.LocalFlags().VisitAll(visit)
	}
	for path := range offeredArgs {
		if !paths[path] {
			t.Errorf("offeredArgs has %q, which is no command", path)
		}
	}
	for name := range offeredFlags {
		if !flags[name] {
			t.Errorf("offeredFlags has %q, which is no flag", name)
		}
	}
}
