package manage

import (
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/workflows"
)

// programs are the workflows of the configuration, which is known to be valid.
func (k *checker) programs() workflows.Set {
	files := map[string]workflows.File{}
	for _, d := range k.cfg.Documents[app.WorkflowsFolder] {
		if f, ok := d.Value.(*workflows.File); ok {
			files[d.Name] = *f
		}
	}
	set, problems := workflows.CompileAll(files, workflows.Known{})
	for _, q := range problems { // loading has looked at more than this: none is expected
		k.notChecked("workflow %s: %s: %s", q.File, q.Field, q.Message)
	}
	return set
}

// meaning tells what workflows do not do although they say so.
func (k *checker) meaning(set workflows.Set, seen []string) {
	facts := workflows.Facts{Connections: map[string]workflows.Source{}, SeenStatuses: seen}
	for _, c := range k.cfg.Connections {
		facts.Connections[c.Name] = workflows.Source{Provider: c.Connector.Type, Environment: c.Environment}
	}
	for _, d := range k.cfg.Documents[app.MappingsFolder] {
		if f, ok := d.Value.(*automation.MappingFile); ok {
			facts.Mappings = append(facts.Mappings, workflows.MappingTags{
				Name: d.Name, Destination: f.Destination, Connections: f.Connections, Events: f.Events, Add: f.Tags.Add, Remove: f.Tags.Remove,
			})
		}
	}
	for _, f := range workflows.Check(set, facts) {
		k.find(spot{k.document(app.WorkflowsFolder, f.Workflow), dottedField(f.Field)}, f.Severity, string(f.Rule), f.Message, f.Hint)
	}
}
