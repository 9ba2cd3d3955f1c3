package config

import (
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Documents decodes the documents of these kinds from the files of a configuration, as a version on the config topic has
// them. It resolves no reference and looks at nothing else: every process that reads a version must find the same in it.
// The error is Problems.
func Documents(files map[string]string, kinds []Kind) (map[string][]Document, error) {
	root := texts{}
	for name, text := range files {
		if slices.ContainsFunc(kinds, func(k Kind) bool { return strings.HasPrefix(name, k.Folder+"/") }) {
			root[name] = text
		}
	}
	l := &loader{root: root, unseal: Options{}.unsealer(), cfg: &Config{Documents: map[string][]Document{}, Files: map[string]string{}}}
	l.kinds(kinds)
	if len(l.problems) > 0 {
		return nil, l.sorted()
	}
	return l.cfg.Documents, nil
}

// kinds loads the folders of documents. A reference in one would make it mean another thing in each process.
func (l *loader) kinds(kinds []Kind) {
	for _, k := range kinds {
		l.each(k.Folder, func(file, name string, doc *document) {
			if field, found := doc.reference(); found {
				l.at(doc, field, "names a variable or a file, which each process may read differently", "write the text itself; references are for secrets and addresses in the other files")
				return
			}
			l.document(k, file, name, doc)
		})
	}
}

func (l *loader) sorted() Problems {
	sort.SliceStable(l.problems, func(i, j int) bool {
		a, b := l.problems[i], l.problems[j]
		return a.File < b.File || a.File == b.File && a.Line < b.Line
	})
	return Problems(l.problems)
}

// Version is the version of a configuration of these files.
func Version(files map[string]string) string { return versionOf(files) }

// Differ lists the folders, and the files of none, in which two configurations differ, sorted.
func Differ(a, b map[string]string) []string {
	in := map[string]bool{}
	note := func(name string) {
		folder, _, _ := strings.Cut(name, "/")
		in[folder] = true
	}
	for name, text := range a {
		if other, ok := b[name]; !ok || other != text {
			note(name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			note(name)
		}
	}
	return slices.Sorted(maps.Keys(in))
}

// WithConnectionFiles is files with the connections of next in the place of its own.
func WithConnectionFiles(files, next map[string]string) map[string]string {
	theirs := func(file string) bool { return strings.HasPrefix(file, ConnectionsFolder+"/") }
	out := maps.Clone(files)
	maps.DeleteFunc(out, func(file, _ string) bool { return theirs(file) })
	for file, text := range next {
		if theirs(file) {
			out[file] = text
		}
	}
	return out
}

// reference finds a field of the document that holds a reference.
func (d *document) reference() (field string, found bool) {
	var walk func(n ast.Node, at string)
	walk = func(n ast.Node, at string) {
		switch n := asMapping(n).(type) {
		case *ast.MappingNode:
			for _, kv := range n.Values {
				walk(kv.Value, join(at, kv.Key.GetToken().Value))
			}
		case *ast.SequenceNode:
			for i, v := range n.Values {
				walk(v, join(at, strconv.Itoa(i)))
			}
		case *ast.StringNode:
			if !found && reference.MatchString(n.Value) {
				field, found = at, true
			}
		}
	}
	walk(d.body, "")
	return field, found
}
