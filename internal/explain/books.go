package explain

import (
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
)

// books finds the programs that runs go by, in the files of configurations.
type books struct {
	configs  map[string]schemas.ConfigVersion
	compiled map[string]*workflows.Program // by workflow and version
	done     map[string]bool               // configurations whose files were read
}

func newBooks(configs map[string]schemas.ConfigVersion) books {
	return books{configs, map[string]*workflows.Program{}, map[string]bool{}}
}

// anything lets a file name what it will: that was checked when it was put in force.
var anything = workflows.Known{Catalogue: mapping.CatalogueFor([]string{"*"})}

const workflowsFolder = "workflows/"

// workflowName is the name of the workflow in a file; empty: the file is none.
func workflowName(file string) string {
	name, ok := strings.CutPrefix(file, workflowsFolder)
	if !ok || strings.Contains(name, "/") {
		return ""
	}
	for _, ending := range []string{".yaml", ".yml"} {
		if base, ok := strings.CutSuffix(name, ending); ok {
			return base
		}
	}
	return ""
}

// program finds a workflow's text of that version, first in the configuration named, then in any other. Nil: none holds
// it, or it does not compile here.
func (b *books) program(workflow, version, config string) *workflows.Program {
	if p := b.of(config, workflow); p != nil && p.Version == version {
		return p
	}
	for _, c := range slices.Sorted(maps.Keys(b.configs)) {
		if p := b.of(c, workflow); p != nil && p.Version == version {
			return p
		}
	}
	return nil
}

// of compiles one workflow of one configuration.
func (b *books) of(config, workflow string) *workflows.Program {
	key := config + "\x00" + workflow
	if b.done[key] {
		return b.compiled[key]
	}
	b.done[key] = true
	for file, text := range b.configs[config].Files {
		if workflowName(file) != workflow {
			continue
		}
		var f workflows.File
		if err := yaml.Unmarshal([]byte(text), &f); err != nil {
			return nil
		}
		b.compiled[key], _ = workflows.Compile(workflow, f, anything)
	}
	return b.compiled[key]
}
