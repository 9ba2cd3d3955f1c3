package app

import (
	"slices"
	"sort"
	"strings"

	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/workflows"
)

// Folders of the configuration that say what is done with events. What they hold is taken over while running.
const (
	// MappingsFolder holds the mappings: which event fields go to which CRM fields, which tags, which triggers.
	MappingsFolder = automation.FolderMappings
	// WorkflowsFolder holds the workflows: what is done when, and what is waited for.
	WorkflowsFolder = automation.FolderWorkflows
)

// Kinds are the folders of configuration that the stages own.
func Kinds() []config.Kind {
	return []config.Kind{
		{Folder: MappingsFolder, New: func() any { return &automation.MappingFile{} }},
		{Folder: WorkflowsFolder, New: func() any { return &workflows.File{} }},
	}
}

type rulesSet = automation.Rules

// dotted turns the stage's path of a field, "fields[2].from", into the configuration's, "fields.2.from".
var dotted = strings.NewReplacer("[", ".", "]", "")

// knownTo is what the documents of a whole configuration may name.
func knownTo(c *config.Config) automation.Known {
	known := automation.Known{Connections: slices.Clone(c.Disconnected), Performs: map[string][]workflows.ActionKind{}, TagName: map[string]func(string) string{}} // a mapping stays good while its account is disconnected
	for _, conn := range c.Connections {
		known.Connections = append(known.Connections, conn.Name)
	}
	for _, connector := range c.Connectors {
		for _, r := range connector.Resources {
			known.Resources = append(known.Resources, r.ID)
		}
		for _, f := range connector.Fields {
			known.FieldCatalogue = append(known.FieldCatalogue, f.Name)
		}
	}
	for _, d := range c.Destinations {
		known.Destinations = append(known.Destinations, d.Name)
		known.Performs[d.Name] = workflows.Performs(d.Sink.Effects, !d.Sink.NoContacts)
		if d.Sink.TagName != nil {
			known.TagName[d.Name] = d.Sink.TagName
		}
	}
	return known
}

// compileDocuments turns the documents into the automation stage's rules. The error is config.Problems, with places.
func compileDocuments(docs map[string][]config.Document, known automation.Known) (rulesSet, error) {
	files := automation.Files{Mappings: map[string]automation.MappingFile{}, Workflows: map[string]workflows.File{}}
	for _, d := range docs[MappingsFolder] {
		files.Mappings[d.Name] = *d.Value.(*automation.MappingFile)
	}
	for _, d := range docs[WorkflowsFolder] {
		files.Workflows[d.Name] = *d.Value.(*workflows.File)
	}
	rules, found := automation.CompileAll(files, known)
	if len(found) == 0 {
		return rules, nil
	}
	var problems config.Problems
	for _, f := range found {
		problems = append(problems, placed(docs[f.Folder], f.File, f.Field, f.Message, f.Hint))
	}
	sort.SliceStable(problems, func(i, j int) bool { return problems[i].File < problems[j].File })
	return rulesSet{}, problems
}

// placed is a finding about the document of that name.
func placed(docs []config.Document, name, field, message, hint string) config.Problem {
	p := config.Problem{File: name, Field: dotted.Replace(field), Message: message, Hint: hint}
	if i := slices.IndexFunc(docs, func(d config.Document) bool { return d.Name == name }); i >= 0 {
		p.File = docs[i].File
		if docs[i].Line != nil {
			p.Line = docs[i].Line(p.Field)
		}
	}
	return p
}

// compileRules turns a whole configuration into the automation stage's rules, and knows what it may name. The error is
// config.Problems, with places.
func compileRules(c *config.Config) (rulesSet, error) {
	rules, err := compileDocuments(c.Documents, knownTo(c))
	if err != nil {
		return rulesSet{}, err
	}
	rules.ConfigVersion = c.Version
	rules.CustomIDIsCustomer = c.Settings.Stages.CustomID == config.CustomIDCustomer
	return rules, nil
}

// Check reports what is wrong with a loaded configuration in meaning.
func Check(c *config.Config) error { _, err := compileRules(c); return err }

// Rules are the automation stage's rules of a loaded configuration, for commands that run the stage outside of a process.
// The error is config.Problems, with places.
func Rules(c *config.Config) (automation.Rules, error) { return compileRules(c) }
