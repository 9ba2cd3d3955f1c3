package scenarios

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	connectorsall "github.com/tillstream/tillstream/connectors/all"
	"github.com/tillstream/tillstream/processors/workflows"
	sinksall "github.com/tillstream/tillstream/sinks/all"
)

const settings = "kafka: {brokers: [b]}\nregistry: {url: http://r}\nredis: {address: a:1}\n"

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func loader() *Loader {
	return &Loader{Connectors: connectorsall.Connectors(), Sinks: sinksall.Sinks()}
}

func TestFilesAreFoundOnceAndInOrder(t *testing.T) {
	dir := folder(t, map[string]string{"b/two.scenario": "", "a/one.scenario": "", "a/note.txt": ""})
	got, err := Find([]string{dir, filepath.Join(dir, "a", "one.scenario")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{filepath.Join(dir, "a/one.scenario"), filepath.Join(dir, "b/two.scenario")}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhichConfigurationAScenarioRunsUnder(t *testing.T) {
	dir := folder(t, map[string]string{
		"whole/tillstream.yaml": settings, "whole/connections/acme.yaml": "connector: paypal\nenvironment: live\nsettings: {client_id: a, client_secret: \"${file:secrets/gone}\"}\n",
		"whole/tests/x.scenario": "", "alone/x.scenario": "", "alone/part/mappings/m.yaml": "destination: crm\n",
	})
	for name, c := range map[string]struct{ file, config, has, lacks string }{
		"that of the folder above":                  {"whole/tests/x.scenario", "", "acme", "shop"},
		"the base, where there is none":             {"alone/x.scenario", "", "shop", "acme"},
		"a folder of mappings alone, with the base": {"alone/x.scenario", "part", "shop", "acme"},
	} {
		t.Run(name, func(t *testing.T) {
			w := loader().World(filepath.Join(dir, c.file))
			if _, err := w.Configure(c.config, nil); err != nil {
				t.Fatal(err)
			}
			if _, ok := w.Connection(c.has); !ok {
				t.Errorf("there is no connection %s", c.has)
			}
			if _, ok := w.Connection(c.lacks); ok {
				t.Errorf("there is a connection %s", c.lacks)
			}
		})
	}
	if _, err := loader().World(filepath.Join(dir, "alone/x.scenario")).Configure("nosuch", nil); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("got %v, want that there is no such folder", err)
	}
}

func TestFilesOfAScenarioComeOverTheFolders(t *testing.T) {
	dir := folder(t, map[string]string{"x.scenario": ""})
	w := loader().World(filepath.Join(dir, "x.scenario"))
	first, err := w.Configure("", map[string]string{"mappings/m.yaml": "destination: crm\n"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.Configure("", map[string]string{"mappings/m.yaml": "destination: crm\ntags: {add: [x]}\n"})
	if err != nil || first == second {
		t.Errorf("versions %s and %s (%v), want two", first, second, err)
	}
	_, err = w.Configure("", map[string]string{"mappings/m.yaml": "destination: crn\n"})
	if err == nil || !strings.Contains(err.Error(), "mappings/m.yaml:1: destination") {
		t.Errorf("got %v, want the place of what is wrong", err)
	}
}

func TestWhatNoScenarioCameTo(t *testing.T) {
	p := &workflows.Program{Name: "w", Steps: []workflows.Step{
		{ID: "a", Kind: workflows.StepIf},
		{ID: "b", Kind: workflows.StepAct},
		{ID: "c", Kind: workflows.StepWaitFor, WaitFor: &workflows.WaitFor{NotMetAfter: 1}},
		{ID: "d", Kind: workflows.StepWaitFor, WaitFor: &workflows.WaitFor{}},
	}}
	got := Unreached([]*workflows.Program{p}, []string{"w#a CONDITION", "w#c WAIT_OPENED", "w#c WAIT_MET", "w#d WAIT_MET", "v#b ACTION"})
	want := []Step{{"w", "b", "act", "never reached"}, {"w", "c", "wait_for", "wait_not_met"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
