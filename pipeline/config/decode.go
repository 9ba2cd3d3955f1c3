package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/tillstream/tillstream/schemas"
)

// document is one parsed file.
type document struct {
	file  string
	body  ast.Node
	lines map[string]int // dotted path to line
}

func (d *document) line(field string) int {
	for field != "" {
		if n, ok := d.lines[field]; ok {
			return n
		}
		cut := strings.LastIndexByte(field, '.')
		if cut < 0 {
			break
		}
		field = field[:cut] // a missing key is told at the mapping that lacks it
	}
	return 0
}

// child returns the value of a top-level key, or nil.
func (d *document) child(key string) ast.Node {
	m, ok := d.body.(*ast.MappingNode)
	if !ok {
		return nil
	}
	for _, v := range m.Values {
		if v.Key.GetToken().Value == key {
			return v.Value
		}
	}
	return nil
}

// parse reads one file; nil after a problem was added.
func (l *loader) parse(file string) *document {
	f, err := l.root.Open(file)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			l.add(Problem{File: file, Message: "is missing", Hint: "every configuration folder needs it"})
		} else {
			l.add(Problem{File: file, Message: err.Error()})
		}
		return nil
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, fileBytesMax+1))
	if err != nil {
		l.add(Problem{File: file, Message: err.Error()})
		return nil
	}
	if len(text) > fileBytesMax {
		l.add(Problem{File: file, Message: fmt.Sprintf("is longer than %d bytes", fileBytesMax), Hint: "split it"})
		return nil
	}
	l.cfg.Files[file] = string(text)
	parsed, err := parser.ParseBytes(text, 0)
	if err != nil {
		l.add(yamlProblem(file, err))
		return nil
	}
	if len(parsed.Docs) > 1 {
		l.add(Problem{File: file, Message: "holds several documents", Hint: "one file is one document: remove the --- line"})
		return nil
	}
	d := &document{file: file, lines: map[string]int{}}
	if len(parsed.Docs) == 1 {
		d.body = asMapping(parsed.Docs[0].Body)
	}
	if d.body == nil {
		d.body = &ast.MappingNode{BaseNode: &ast.BaseNode{}}
	}
	d.index(d.body, "")
	return d
}

// asMapping gives a one-key mapping the same type as a longer one.
func asMapping(n ast.Node) ast.Node {
	if kv, ok := n.(*ast.MappingValueNode); ok {
		return &ast.MappingNode{BaseNode: &ast.BaseNode{}, Start: kv.GetToken(), Values: []*ast.MappingValueNode{kv}}
	}
	return n
}

func (d *document) index(n ast.Node, at string) {
	if n == nil {
		return
	}
	switch n := asMapping(n).(type) {
	case *ast.MappingNode:
		for _, kv := range n.Values {
			field := join(at, kv.Key.GetToken().Value)
			d.lines[field] = kv.Key.GetToken().Position.Line
			d.index(kv.Value, field)
		}
	case *ast.SequenceNode:
		for i, v := range n.Values {
			field := join(at, fmt.Sprint(i))
			d.lines[field] = v.GetToken().Position.Line
			d.index(v, field)
		}
	}
}

func join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}

// decode fills v (a pointer to a struct) from n. Keys in skip belong to somebody else. Unknown keys are problems with
// the nearest known key; references are resolved; a secret in clear text is refused.
// It reports whether v holds what the file says.
func (l *loader) decode(doc *document, n ast.Node, at string, v any, skip ...string) bool {
	if n == nil {
		return true
	}
	n = asMapping(n)
	if m, ok := n.(*ast.MappingNode); ok && len(skip) > 0 {
		kept := &ast.MappingNode{BaseNode: m.BaseNode, Start: m.Start, End: m.End}
		for _, kv := range m.Values {
			if !slices.Contains(skip, kv.Key.GetToken().Value) {
				kept.Values = append(kept.Values, kv)
			}
		}
		n = kept
	}
	before := len(l.problems)
	l.walk(doc, n, at, reflect.TypeOf(v).Elem())
	if len(l.problems) > before {
		return false
	}
	secret := yaml.CustomUnmarshaler(func(s *schemas.Secret, b []byte) error {
		var text string
		if err := yaml.Unmarshal(b, &text); err != nil {
			return err
		}
		// The decoder hands over the text as written: the walk has shown that its references resolve.
		text, err := l.secret(text)
		*s = schemas.NewSecret(text)
		return err
	})
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) == 0 {
		return true
	}
	if err := yaml.NodeToValue(n, v, secret); err != nil {
		p := yamlProblem(doc.file, err)
		for field, line := range doc.lines { // name the innermost field of that line
			if line == p.Line && len(field) > len(p.Field) {
				p.Field = field
			}
		}
		l.add(p)
		return false
	}
	return true
}

var (
	secretType   = reflect.TypeOf(schemas.Secret{})
	durationType = reflect.TypeOf(time.Duration(0))
)

// walk checks n against t: keys, forms, references. It says the place of each problem, which a decoder that stops at
// the first cannot.
func (l *loader) walk(doc *document, n ast.Node, at string, t reflect.Type) {
	n = asMapping(n)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if _, null := n.(*ast.NullNode); null {
		return
	}
	switch {
	case t == secretType || t.Kind() == reflect.String || t == durationType:
		l.scalar(doc, n, at, t)
	case t.Kind() == reflect.Struct:
		l.mapping(doc, n, at, t)
	case t.Kind() == reflect.Slice:
		seq, ok := n.(*ast.SequenceNode)
		if !ok {
			l.at(doc, at, "must be a list", "write each item on a line of its own with a dash")
			return
		}
		for i, item := range seq.Values {
			l.walk(doc, item, join(at, fmt.Sprint(i)), t.Elem())
		}
	case t.Kind() == reflect.Map:
		m, ok := n.(*ast.MappingNode)
		if !ok {
			l.at(doc, at, "must be a list of key: value", "")
			return
		}
		for _, kv := range m.Values {
			l.walk(doc, kv.Value, join(at, kv.Key.GetToken().Value), t.Elem())
		}
	}
}

func (l *loader) mapping(doc *document, n ast.Node, at string, t reflect.Type) {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		l.at(doc, at, "must have keys of its own", "see the configuration reference")
		return
	}
	known := map[string]reflect.Type{}
	var names []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		known[name] = t.Field(i).Type
		names = append(names, name)
	}
	for _, kv := range m.Values {
		key := kv.Key.GetToken().Value
		field := join(at, key)
		ft, ok := known[key]
		if !ok {
			l.add(Problem{File: doc.file, Line: kv.Key.GetToken().Position.Line, Field: field, Message: "unknown key", Hint: hintFor(key, names)})
			continue
		}
		l.walk(doc, kv.Value, field, ft)
	}
}

var reference = regexp.MustCompile(`\$\{(env|file):([^}]*)\}`)

// scalar resolves references in place, and insists on one for a secret.
func (l *loader) scalar(doc *document, n ast.Node, at string, t reflect.Type) {
	s, ok := n.(*ast.StringNode)
	if !ok {
		if t == secretType {
			l.clearSecret(doc, at)
		}
		if _, isMap := n.(*ast.MappingNode); isMap {
			l.at(doc, at, "must be a single value", "a text with a colon needs quotes here")
		}
		return
	}
	if t == secretType && s.Value != "" && !Sealed(s.Value) && !reference.MatchString(s.Value) {
		l.clearSecret(doc, at)
		return
	}
	open := l.expand
	if t == secretType {
		open = l.secret
	}
	text, err := open(s.Value)
	if err != nil {
		l.at(doc, at, err.Error(), "")
		return
	}
	if t != secretType { // a secret stays a reference in the tree, so that no decoding error can print its value
		s.Value, s.Token.Value = text, text
	}
}

// expand replaces every reference in text by its value.
func (l *loader) expand(text string) (string, error) {
	var failed error
	text = reference.ReplaceAllStringFunc(text, func(ref string) string {
		m := reference.FindStringSubmatch(ref)
		value, err := l.resolve(m[1], m[2])
		if err != nil {
			failed = err
		}
		return value
	})
	return text, failed
}

// secret is the value of a secret, which is sealed or a reference.
func (l *loader) secret(text string) (string, error) {
	if Sealed(text) {
		return l.unseal(text)
	}
	return l.expand(text)
}

func (l *loader) clearSecret(doc *document, at string) {
	l.add(Problem{
		File: doc.file, Line: doc.line(at), Field: at, Message: "is a secret in clear text",
		Hint: "write ${env:NAME} or ${file:PATH} and keep the value there, or encrypt it with 'tillstream secrets encrypt'",
	})
}

func (l *loader) resolve(kind, name string) (string, error) {
	if kind == "env" {
		if l.o.Getenv != nil {
			if text, ok := l.o.Getenv(name); ok && text != "" {
				return text, nil
			}
		}
		return "", fmt.Errorf("the environment variable %s is not set", name)
	}
	read := l.o.ReadSecret
	if read == nil {
		read = os.ReadFile
	}
	b, err := read(name)
	if err != nil {
		return "", fmt.Errorf("the file %s can't be read: %w", name, err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// yamlProblem takes the place out of a YAML error and keeps its first line.
func yamlProblem(file string, err error) Problem {
	p := Problem{File: file, Message: err.Error()}
	var ye yaml.Error
	if errors.As(err, &ye) {
		p.Message = ye.GetMessage()
		if tk := ye.GetToken(); tk != nil && tk.Position != nil {
			p.Line = tk.Position.Line
		}
	}
	p.Message, _, _ = strings.Cut(p.Message, "\n")
	return p
}

// hintFor names the nearest known word, or all of them where none is near.
func hintFor(word string, known []string) string {
	best, distance := "", len(word)/2+1
	for _, k := range known {
		if d := editDistance(word, k); d < distance || d == distance && best == "" {
			best, distance = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	sorted := append([]string(nil), known...)
	sort.Strings(sorted)
	return "known are " + strings.Join(sorted, ", ")
}

// editDistance counts insertions, deletions and replacements (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := prev
			if a[i] != b[j] {
				cost = 1 + min(prev, row[j], row[j+1])
			}
			prev, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
