package workflows_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/processors/triggers"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
)

const examples = "../../examples/config/workflows"

func readExamples(t *testing.T) map[string]workflows.File {
	t.Helper()
	paths, err := filepath.Glob(examples + "/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]workflows.File{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimSuffix(filepath.Base(path), ".yaml")] = parse(t, string(text))
	}
	return files
}

// shipped is what the examples' folder has beside them: one PayPal account, one CRM.
func shipped() (workflows.Known, workflows.Facts) {
	known := workflows.Known{
		Connections: []string{"paypal-eu"}, Destinations: map[string][]workflows.ActionKind{"crm": nil},
		Catalogue: mapping.CatalogueFor([]string{"subscription.*"}),
	}
	facts := workflows.Facts{
		Connections:  map[string]workflows.Source{"paypal-eu": {Provider: "paypal", Environment: schemas.Sandbox}},
		SeenStatuses: triggers.Statuses(),
		Mappings:     []workflows.MappingTags{{Name: "orders", Destination: "crm", Add: []string{"paypal-integration"}}},
	}
	return known, facts
}

// Each example compiles, and nothing is wrong with it in meaning.
func TestExamples(t *testing.T) {
	known, facts := shipped()
	files := readExamples(t)
	set, problems := workflows.CompileAll(files, known)
	if len(problems) > 0 {
		t.Fatalf("problems: %v", problems)
	}
	for _, f := range workflows.Check(set, facts) {
		t.Errorf("%s: %s: %s %s; %s", f.Workflow, f.Field, f.Severity, f.Message, f.Hint)
	}
	for _, name := range []string{"payment-successful", "payment-failed", "trial-ends", "win-back", "abandoned-payment", "vip"} {
		p := set[name]
		if p == nil {
			t.Errorf("no example %s", name)
			continue
		}
		sound(t, p)
		if files[name].Description == "" || p.Mode != workflows.Live || p.Once == "" {
			t.Errorf("%s: description %q, mode %s, once %q", name, files[name].Description, p.Mode, p.Once)
		}
	}
}
