package automation

import (
	"slices"

	"github.com/tillstream/tillstream/processors/workflows"
)

// fillsOf are the fields that mappings and workflows fill, by destination and in order.
func fillsOf(r *Rules) map[string][]string {
	all := map[string][]string{}
	for i := range r.Mappings {
		m := &r.Mappings[i]
		for name := range m.fields.Kinds() {
			all[m.Destination] = append(all[m.Destination], name)
		}
	}
	for _, p := range r.workflows {
		fillsOfProgram(p, func(destination, name string) { all[destination] = append(all[destination], name) })
	}
	for destination, names := range all {
		slices.Sort(names)
		all[destination] = slices.Compact(names)
	}
	return all
}

// fillsOfProgram tells f of each field that the program fills, and where.
func fillsOfProgram(p *workflows.Program, f func(destination, name string)) {
	for i := range p.Steps {
		s := &p.Steps[i]
		if s.Action == nil {
			continue
		}
		switch s.Action.Kind {
		case workflows.SetField, workflows.ClearField:
			for _, v := range s.Action.Fields {
				f(s.Destination, v.Name)
			}
		case workflows.AddScore:
			f(s.Destination, s.Action.Name)
		}
	}
}

// filled are the fields of a desired state without those that nothing fills any more: the rules in force do not, no version
// that a run of the contact keeps does, and this input did not. The CRM keeps what it has in them, and the state does; but a
// field that was taken out of a mapping because the CRM has it no more must not have the contact refused for ever.
func (w *work) filled(d, before *desired) []field {
	if w.rules.fills == nil {
		return d.Fields
	}
	known, at := w.rules.fills[d.Name], 0
	for i := range d.Fields {
		for at < len(known) && known[at] < d.Fields[i].Name {
			at++
		}
		if at == len(known) || known[at] != d.Fields[i].Name {
			return slices.DeleteFunc(slices.Clone(d.Fields), func(f field) bool { return !w.fills(d.Name, before, f) })
		}
	}
	return d.Fields
}

func (w *work) fills(destination string, before *desired, f field) bool {
	if _, known := slices.BinarySearch(w.rules.fills[destination], f.Name); known {
		return true
	}
	if before == nil || !slices.Contains(before.Fields, f) {
		return true
	}
	kept := false
	for i := range w.s.Runs {
		r := &w.s.Runs[i]
		if p := w.book.Program(r.Workflow, r.Version); p != nil {
			fillsOfProgram(p, func(at, name string) { kept = kept || at == destination && name == f.Name })
		}
	}
	return kept
}
