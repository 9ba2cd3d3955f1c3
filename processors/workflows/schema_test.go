package workflows_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/sinks"
)

// The folder workflows/ as the configuration knows it.
func options() config.Options {
	return config.Options{
		Connectors: &connectors.Registry{}, Sinks: &sinks.Registry{},
		Kinds: []config.Kind{{Folder: "workflows", New: func() any { return &workflows.File{} }}},
	}
}

func editorSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	texts, err := config.Schemas(options())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(texts["workflows"]))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("workflows.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("workflows.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func document(t *testing.T, text string) any {
	t.Helper()
	b, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// An editor is content with what compiles, and marks the commonest slips.
func TestEditorsSchema(t *testing.T) {
	s := editorSchema(t)
	text, err := os.ReadFile("testdata/everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, good := range map[string]string{
		"everything": string(text),
		"nothing":    "start: [{on: order-placed}]",
	} {
		if err := s.Validate(document(t, good)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, bad := range map[string]string{
		"no start":               "steps: []",
		"unknown key":            "start: [{on: order-placed}]\nsteps: [{send_mesage: a}]",
		"two things":             begin + "steps: [{send_message: a, copy_to_list: b}]",
		"nothing done":           begin + "steps: [{id: a}]",
		"two things in a branch": begin + "steps: [{if: a == b, then: [{send_message: a, stop: true}]}]",
		"unknown trigger":        "start: [{on: payed}]",
		"unknown day":            "start: [{on: schedule, at: 09:00, days: [mondey]}]",
		"no time of day":         "start: [{on: schedule, at: 9am}]",
		"no duration":            begin + "steps: [{wait: 3 days}]",
		"unknown scope":          begin + "steps: [{wait_for: {same: payer}}]",
		"no list to leave":       begin + "steps: [{move_to_list: {to: a}}]",
		"mode":                   "mode: on\nstart: [{on: order-placed}]",
	} {
		if s.Validate(document(t, bad)) == nil {
			t.Errorf("%s passes:\n%s", name, bad)
		}
	}
}

// load reads a workflow file the way a process does.
func load(t *testing.T, text string) (*config.Config, error) {
	t.Helper()
	return config.Load(fstest.MapFS{
		"tillstream.yaml":     {Data: []byte("kafka: {brokers: [\"k:9092\"]}\nregistry: {url: http://r}\nredis: {address: r:6379}\n")},
		"workflows/test.yaml": {Data: []byte(text)},
	}, options())
}

// The configuration's loader reads a file as the tests here do, and says of each slip the line and the nearest word.
func TestLoadedFromTheConfiguration(t *testing.T) {
	text, err := os.ReadFile("testdata/everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := load(t, string(text))
	if err != nil {
		t.Fatal(err)
	}
	loaded := c.Documents["workflows"][0]
	if diff := cmp.Diff(parse(t, string(text)), *loaded.Value.(*workflows.File)); diff != "" {
		t.Errorf("file (-decoded here +loaded):\n%s", diff)
	}
	if got, want := loaded.Line("steps.0.wait_for.status.1"), 1+strings.Count(string(text)[:strings.Index(string(text), "status: [PAID")], "\n"); got != want {
		t.Errorf("line of a status: got %d, want %d", got, want)
	}
	for bad, want := range map[string]string{
		"start:\n  - on: order-placed\nsteps:\n  - send_mesage: a\n":               `workflows/test.yaml:4: steps.0.send_mesage: unknown key; did you mean "send_message"?`,
		"start:\n  - on: order-placed\nsteps:\n  - wait_for:\n      statuses: [A]": `workflows/test.yaml:5: steps.0.wait_for.statuses: unknown key; did you mean "status"?`,
		"start:\n  on: order-placed\n":                                             "workflows/test.yaml:1: start: must be a list",
		"start:\n  - on: order-placed\nsteps:\n  - send_message: {message: a}\n":   "workflows/test.yaml:4: steps.0.send_message: must be a single value",
		strings.Repeat("# a comment of a long file\n", 400_000):                    "is longer than 1048576 bytes",
	} {
		if _, err := load(t, bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
