package app

import (
	"fmt"
	"strings"

	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/destinations"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/sinks"
)

// Mentions are what the mappings and workflows among these documents name at destinations, in the order of the files.
// Documents that are not good name nothing.
func Mentions(docs map[string][]config.Document) (out []destinations.Mention) {
	for _, d := range docs[MappingsFolder] {
		f, ok := d.Value.(*automation.MappingFile)
		if !ok {
			continue
		}
		for i, r := range f.Fields {
			out = append(out, destinations.Mention{File: d.File, Field: fmt.Sprintf("fields.%d.to", i), Destination: f.Destination, Kind: sinks.EntryField, Word: r.To})
		}
	}
	files := map[string]workflows.File{}
	at := map[string]config.Document{}
	for _, d := range docs[WorkflowsFolder] {
		if f, ok := d.Value.(*workflows.File); ok {
			files[d.Name], at[d.Name] = *f, d
		}
	}
	set, _ := workflows.CompileAll(files, workflows.Known{})
	for _, p := range set.List() {
		out = append(out, MentionedBy(at[p.Name], p)...)
	}
	return out
}

// MentionedBy is what one workflow names at its destinations. What is only known when it runs is no name.
func MentionedBy(d config.Document, p *workflows.Program) (out []destinations.Mention) {
	add := func(field, destination string, kind sinks.EntryKind, word string) {
		if word != "" && !strings.Contains(word, "{{") {
			out = append(out, destinations.Mention{File: d.File, Field: dotted.Replace(field), Destination: destination, Kind: kind, Word: word})
		}
	}
	for i, s := range p.Starts {
		add(fmt.Sprintf("start[%d].list", i), p.Destination, sinks.EntryList, s.List)
	}
	for i := range p.Steps {
		s := &p.Steps[i]
		add(s.Field+".on_list", s.Destination, sinks.EntryList, s.List)
		if s.WaitFor != nil {
			add(s.Field+".wait_for.list", s.WaitFor.Destination, sinks.EntryList, s.WaitFor.List)
		}
		if a := s.Action; a != nil {
			at := s.Field + "." + string(a.Kind)
			switch a.Kind {
			case workflows.SendMessage:
				add(at, s.Destination, sinks.EntryMessage, a.Name)
			case workflows.MoveToList:
				add(at+".to", s.Destination, sinks.EntryList, a.Name)
				add(at+".from", s.Destination, sinks.EntryList, a.From)
			case workflows.CopyToList:
				add(at, s.Destination, sinks.EntryList, a.Name)
			case workflows.StartAutomation:
				add(at, s.Destination, sinks.EntryAutomation, a.Name)
			case workflows.SetField, workflows.ClearField:
				for _, f := range a.Fields {
					add(at, s.Destination, sinks.EntryField, f.Name)
				}
			case workflows.AddScore:
				add(at, s.Destination, sinks.EntryField, a.Name)
			}
		}
	}
	return out
}
