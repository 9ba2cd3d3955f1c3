package workflows

import (
	"slices"

	"github.com/invopop/jsonschema"

	"github.com/tillstream/tillstream/processors/triggers"
)

// JSONSchema describes workflow files to editors. Branches hold steps again, hence references; and a step has exactly
// one of the keys that say what it does, which no tag of a struct can tell.
func (File) JSONSchema() *jsonschema.Schema {
	type plain File // without this method
	r := &jsonschema.Reflector{FieldNameTag: "yaml", Anonymous: true, ExpandedStruct: true, RequiredFromJSONSchemaTags: true}
	s := r.Reflect(&plain{})
	s.Version = ""
	delete(s.Definitions, "plain")

	step := s.Definitions["FileStep"]
	step.Description = "One step: one key says what it does, and the keys that belong to that one say how."
	for _, w := range stepWords() {
		one := &jsonschema.Schema{Title: w, Required: []string{w}}
		if w == "remove_tags" { // may stand beside add_tags, which then is the one
			one.Not = &jsonschema.Schema{Required: []string{"add_tags"}}
		}
		step.OneOf = append(step.OneOf, one)
	}
	words := func(list ...string) []any {
		out := make([]any, len(list))
		for i := range list {
			out[i] = list[i]
		}
		return out
	}
	set := func(def, property string, change func(p *jsonschema.Schema)) {
		if p, ok := s.Definitions[def].Properties.Get(property); ok {
			change(p)
		}
	}
	set("FileStart", "on", func(p *jsonschema.Schema) { p.Enum = words(triggers.IDs()...) })
	set("FileWaitFor", "on", func(p *jsonschema.Schema) { p.Enum = words(triggers.EventIDs()...) })
	for _, def := range []string{"FileStart", "FileWaitFor"} {
		set(def, "from", func(p *jsonschema.Schema) { p.Items.Enum = words(triggers.Statuses()...) })
		set(def, "status", func(p *jsonschema.Schema) { p.Items.Examples = words(triggers.Statuses()...) })
	}
	week := words(append(slices.Clone(weekdays[1:]), weekdays[0])...)
	for _, def := range []string{"FileStart", "FileUntil", "FileHours"} {
		set(def, "days", func(p *jsonschema.Schema) { p.Items.Enum = week })
	}
	clock := func(p *jsonschema.Schema) { p.Pattern = `^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$` }
	set("FileStart", "at", clock)
	set("FileUntil", "at", clock)
	set("FileHours", "from", clock)
	set("FileHours", "to", clock)
	for _, property := range []string{"if", "wait"} {
		set("FileStep", property, func(p *jsonschema.Schema) { p.MinLength = new(uint64(1)) })
	}
	set("FileStep", "stop", func(p *jsonschema.Schema) { p.Const = true })
	return s
}

// JSONSchema implements the interface of the same name: what Parse takes.
func (Duration) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Description: "A time span: 90m, 1h, 3d, 2w.",
		AnyOf:       []*jsonschema.Schema{{Type: "string", Pattern: `^(never|-?([0-9]+[smhdw])+|0)$`}, {Const: 0}}, // 0 needs no quotes
	}
}
