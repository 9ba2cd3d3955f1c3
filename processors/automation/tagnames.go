package automation

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/processors/tags"
	"github.com/tillstream/tillstream/processors/workflows"
)

// writtenTag is a tag that a file names, and where.
type writtenTag struct{ tag, folder, file, field string }

// tagNames checks the tags that the files name against what their destinations can keep: a name that one cannot have,
// and two of ours that would be one there.
func tagNames(files Files, set workflows.Set, name map[string]func(string) string) []Problem {
	written := map[string][]writtenTag{}
	for _, file := range slices.Sorted(maps.Keys(files.Mappings)) {
		f := files.Mappings[file]
		add := func(field string, list []string) {
			for i, t := range list {
				if clean, err := tags.Clean(t); err == nil && !strings.Contains(t, "{{") {
					written[f.Destination] = append(written[f.Destination], writtenTag{clean, FolderMappings, file, fmt.Sprintf("%s[%d]", field, i)})
				}
			}
		}
		add("tags.add", f.Tags.Add)
		add("tags.remove", f.Tags.Remove)
		for i, r := range f.Tags.Rules {
			add(fmt.Sprintf("tags.rules[%d].add", i), r.Add)
			add(fmt.Sprintf("tags.rules[%d].remove", i), r.Remove)
		}
	}
	for _, p := range set.List() {
		for i := range p.Steps {
			if a := p.Steps[i].Action; a != nil && a.Kind == workflows.Tags {
				for _, t := range slices.Concat(a.Add, a.Remove) {
					written[p.Steps[i].Destination] = append(written[p.Steps[i].Destination], writtenTag{t, FolderWorkflows, p.Name, p.Steps[i].Field})
				}
			}
		}
	}
	var problems []Problem
	for _, destination := range slices.Sorted(maps.Keys(written)) {
		if canonical := name[destination]; canonical != nil {
			problems = append(problems, collisions(destination, written[destination], canonical)...)
		}
	}
	return problems
}

var errNoName = errors.New("it can have no such name")

func collisions(destination string, written []writtenTag, canonical func(string) string) []Problem {
	all := make([]string, len(written))
	for i, w := range written {
		all[i] = w.tag
	}
	found, unusable := tags.Collisions(all, func(tag string) (string, error) {
		if as := canonical(tag); as != "" {
			return as, nil
		}
		return "", errNoName
	})
	var problems []Problem
	for _, w := range written {
		if unusable[w.tag] != nil {
			problems = append(problems, Problem{w.folder, w.file, w.field, fmt.Sprintf("%s can keep no tag %q", destination, w.tag), "use letters, digits and underscores"})
		}
		for _, c := range found {
			if i := slices.Index(c.Tags, w.tag); i > 0 { // the first of them may stay
				problems = append(problems, Problem{
					w.folder, w.file, w.field, fmt.Sprintf("%q and %q are one tag at %s, %q", c.Tags[0], w.tag, destination, c.As), "rename one of the two",
				})
			}
		}
	}
	return problems
}
