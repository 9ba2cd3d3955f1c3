package manage

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/sinks"
)

// mention is a name of something at a destination, as a mapping or workflow writes it.
type mention struct {
	at          spot
	destination string
	kind        sinks.EntryKind
	word        string
	// filled is what a field is filled with, one of mapping's kinds; "": not known.
	filled string
	// constants are the only values that a field is filled with, where they are known.
	constants []string
}

// mentions lists what mappings and workflows name, in the order of the files.
func (k *checker) mentions(set workflows.Set) []mention {
	var all []mention
	for _, d := range k.cfg.Documents[app.MappingsFolder] {
		if f, ok := d.Value.(*automation.MappingFile); ok {
			all = append(all, k.mapped(d, f)...)
		}
	}
	for _, p := range set.List() {
		all = append(all, named(k.document(app.WorkflowsFolder, p.Name), p)...)
	}
	return all
}

// mapped lists the fields of one mapping. A field that several rules fill is told once.
func (k *checker) mapped(d config.Document, f *automation.MappingFile) []mention {
	var kinds map[string]string
	if program, problems := mapping.Compile(mapping.Mapping{Fields: f.Fields}, fieldNames(k.cfg)); len(problems) == 0 {
		kinds = program.Kinds()
	}
	var list []mention
	seen := map[string]int{}
	for i, r := range f.Fields {
		constants := constantsOf(r)
		if j, again := seen[r.To]; again {
			if constants == nil {
				list[j].constants = nil
			} else if list[j].constants != nil {
				list[j].constants = append(list[j].constants, constants...)
			}
			continue
		}
		seen[r.To] = len(list)
		list = append(list, mention{spot{d, fmt.Sprintf("fields.%d.to", i)}, f.Destination, sinks.EntryField, r.To, kinds[r.To], constants})
	}
	return list
}

// constantsOf are the values that a rule can write, where it writes no others: its default alone.
func constantsOf(r mapping.Rule) []string {
	if r.Default != nil && r.From == "" && len(r.Concat) == 0 && r.As == "" && *r.Default != "" {
		return []string{*r.Default}
	}
	return nil
}

// named lists what a workflow names at its destinations.
func named(d config.Document, p *workflows.Program) []mention {
	var all []mention
	for _, m := range app.MentionedBy(d, p) {
		all = append(all, mention{at: spot{d, m.Field}, destination: m.Destination, kind: m.Kind, word: m.Word})
	}
	return all
}

var dotted = strings.NewReplacer("[", ".", "]", "")

// dottedField is a path as the configuration has it: steps.2.met.0 for steps[2].met[0].
func dottedField(path string) string { return dotted.Replace(path) }

func (k *checker) document(folder, name string) config.Document {
	list := k.cfg.Documents[folder]
	if i := slices.IndexFunc(list, func(d config.Document) bool { return d.Name == name }); i >= 0 {
		return list[i]
	}
	return config.Document{Name: name, File: folder + "/" + name + ".yaml"}
}

// compare finds what a mention and the account disagree about.
func (k *checker) compare(d config.Destination, m mention, entries []sinks.Entry) {
	e, ok := sinks.FindEntry(entries, m.word)
	if !ok {
		hint := fmt.Sprintf("correct the name, or make the %s in %s", m.kind, d.Sink.Title)
		if near := nearNames(m.word, entries); near != "" {
			hint = "did you mean " + near + "?"
		}
		k.find(m.at, workflows.Error, "missing-"+string(m.kind), fmt.Sprintf("%s at %s has no %s %q", d.Sink.Title, d.Name, m.kind, m.word), hint)
		return
	}
	if m.kind != sinks.EntryField {
		return
	}
	for _, value := range m.constants {
		if e.Type == sinks.FieldOptions && e.Options != nil && !slices.ContainsFunc(e.Options, func(o string) bool { return strings.EqualFold(strings.TrimSpace(o), strings.TrimSpace(value)) }) {
			k.find(m.at, workflows.Error, "no-such-option", fmt.Sprintf("field %s at %s does not offer %q", e.Names[0], d.Name, value), "it offers "+shorten(strings.Join(e.Options, ", "), 200))
		}
	}
	if m.constants != nil {
		return
	}
	switch severity := fit(m.filled, e.Type); severity {
	case workflows.Error:
		k.find(m.at, severity, "type-mismatch", fmt.Sprintf("field %s at %s takes %s, and is filled with %s", e.Names[0], d.Name, e.Type, m.filled),
			"give as a function that makes "+string(e.Type)+" of it, or fill another field")
	case workflows.Warning:
		k.find(m.at, severity, "type-mismatch", fmt.Sprintf("field %s at %s takes %s, and is filled with text: a text that is none is refused", e.Names[0], d.Name, e.Type),
			"give as, for example as: "+example(e.Type))
	}
}

// fit says how sure it is that a field refuses what it is filled with; "": it takes it, or nothing is known.
func fit(filled string, takes sinks.FieldType) workflows.Severity {
	if filled == "" || filled == mapping.KindAny || takes == sinks.FieldText || takes == "" {
		return ""
	}
	var good []string
	switch takes {
	case sinks.FieldNumber:
		good = []string{mapping.KindNumber}
	case sinks.FieldDate, sinks.FieldTime:
		good = []string{mapping.KindDate, mapping.KindDateTime}
	case sinks.FieldPhone:
		good = []string{mapping.KindPhone}
	case sinks.FieldOptions, sinks.FieldCurrency:
		good = []string{mapping.KindText}
	}
	switch {
	case slices.Contains(good, filled):
		return ""
	case filled == mapping.KindText, takes == sinks.FieldOptions && filled == mapping.KindNumber:
		return workflows.Warning
	}
	return workflows.Error
}

func example(takes sinks.FieldType) string {
	switch takes {
	case sinks.FieldNumber:
		return "number"
	case sinks.FieldPhone:
		return "phone"
	case sinks.FieldOptions:
		return "lookup, with a table"
	}
	return "date"
}

// nearNames are the names that differ least from word.
func nearNames(word string, entries []sinks.Entry) string {
	var known, found []string
	for _, e := range entries {
		known = append(known, e.Names...)
	}
	for range namesSuggestedMax {
		near := mapping.Nearest(word, known)
		if near == "" {
			break
		}
		found = append(found, near)
		known = slices.DeleteFunc(known, func(n string) bool { return n == near })
	}
	return strings.Join(found, " or ")
}
