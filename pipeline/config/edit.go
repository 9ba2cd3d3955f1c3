package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// ErrEditText is returned where an edit cannot be brought into the text as it is written, such as through an anchor.
var ErrEditText = errors.New("the file is written in a way that only a person can edit: change it as text")

// Edit changes the text of a document of kind k so that it says what next says, which is of the type that k.New makes. Only
// the lines of what differs are written anew: comments, order, quotes and everything else stay as they are. Of an entry that
// is removed, the comment directly above it goes with it. An empty text gives a new one. The error is Problems where the text
// is not good as it is.
func Edit(k Kind, file, text string, next any) (string, error) {
	want, err := canonical(next)
	if err != nil {
		return "", err
	}
	if strings.TrimSpace(text) == "" {
		return render(want, 0)
	}
	base, err := said(k, file, text)
	if err != nil {
		return "", err
	}
	if reflect.DeepEqual(base, want) {
		return text, nil
	}
	newline := "\n"
	plain := text
	if n := strings.Count(text, "\r\n"); n > 0 && n == strings.Count(text, "\n") {
		newline, plain = "\r\n", strings.ReplaceAll(text, "\r\n", "\n")
	}
	for _, whole := range []bool{false, true} {
		edited, err := edit(plain, base, want, whole)
		if err != nil {
			continue
		}
		edited = strings.ReplaceAll(edited, "\n", newline)
		if got, err := said(k, file, edited); err == nil && reflect.DeepEqual(got, want) {
			return edited, nil
		}
	}
	return "", ErrEditText
}

// said is what a text of a kind says, in its canonical form.
func said(k Kind, file, text string) (yaml.MapSlice, error) {
	l := &loader{unseal: Options{}.unsealer(), root: texts{file: text}, cfg: &Config{Documents: map[string][]Document{}, Files: map[string]string{}}}
	if doc := l.parse(file); doc != nil {
		l.document(k, file, k.Folder, doc)
	}
	if len(l.problems) > 0 {
		return nil, l.sorted()
	}
	return canonical(l.cfg.Documents[k.Folder][0].Value)
}

// canonical is a value as maps, lists and scalars, keys in the order of its type, without what is empty.
func canonical(v any) (yaml.MapSlice, error) {
	b, err := yaml.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write the document: %w", err)
	}
	var m yaml.MapSlice
	if err := yaml.UnmarshalWithOptions(b, &m, yaml.UseOrderedMap()); err != nil {
		return nil, fmt.Errorf("read the document as written: %w", err)
	}
	return pruned(m), nil
}

// pruned leaves out mappings without keys, which say the same as none.
func pruned(m yaml.MapSlice) yaml.MapSlice {
	out := yaml.MapSlice{}
	for _, item := range m {
		if sub, ok := item.Value.(yaml.MapSlice); ok {
			if sub = pruned(sub); len(sub) == 0 {
				continue
			}
			item.Value = sub
		}
		if list, ok := item.Value.([]any); ok {
			for i, v := range list {
				if sub, ok := v.(yaml.MapSlice); ok {
					list[i] = pruned(sub)
				}
			}
		}
		out = append(out, item)
	}
	return out
}

// render writes a value as block style YAML, indented by so many columns.
func render(v any, indent int) (string, error) {
	b, err := yaml.MarshalWithOptions(v, yaml.IndentSequence(true))
	if err != nil {
		return "", fmt.Errorf("write a value: %w", err)
	}
	var out strings.Builder
	first := max(0, indentOf(string(b[:1+strings.IndexByte(string(b), '\n')]))) // a list by itself is indented
	for line := range strings.Lines(string(b)) {
		if strings.TrimSpace(line) == "" {
			out.WriteString(line)
			continue
		}
		out.WriteString(strings.Repeat(" ", indent) + line[min(first, max(0, indentOf(line))):])
	}
	return out.String(), nil
}

// editor collects replacements of whole lines of one text.
type editor struct {
	lines []string // with their ends
	cuts  []cut
	whole bool // top-level entries are replaced whole
}

// cut replaces the lines from, from+1 ... to-1, counted from 0.
type cut struct {
	from, to int
	text     string
}

func edit(text string, base, want yaml.MapSlice, whole bool) (string, error) {
	parsed, err := parser.ParseBytes([]byte(text), 0)
	if err != nil || len(parsed.Docs) != 1 {
		return "", ErrEditText
	}
	body, ok := asMapping(parsed.Docs[0].Body).(*ast.MappingNode)
	if !ok || body.IsFlowStyle || len(body.Values) == 0 {
		return "", ErrEditText
	}
	e := &editor{lines: slices.Collect(strings.Lines(text)), whole: whole}
	end := len(e.lines)
	for i, l := range e.lines { // the end of the document, if it is marked
		if strings.HasPrefix(l, "...") {
			end = i
			break
		}
	}
	if err := e.mapping(body, base, want, end); err != nil {
		return "", err
	}
	return e.result(), nil
}

func (e *editor) result() string {
	slices.SortStableFunc(e.cuts, func(a, b cut) int { return a.from - b.from })
	var out strings.Builder
	at := 0
	write := func(s string) {
		if s != "" && out.Len() > 0 && !strings.HasSuffix(out.String(), "\n") {
			out.WriteByte('\n') // the last line of the file had no end
		}
		out.WriteString(s)
	}
	for _, c := range e.cuts {
		for ; at < c.from; at++ {
			write(e.lines[at])
		}
		write(c.text)
		at = max(at, c.to)
	}
	for ; at < len(e.lines); at++ {
		write(e.lines[at])
	}
	return out.String()
}

func (e *editor) replace(from, to int, text string) { e.cuts = append(e.cuts, cut{from, to, text}) }

// mapping brings a block mapping, whose last entry ends before the line limit, from base to want.
func (e *editor) mapping(m *ast.MappingNode, base, want yaml.MapSlice, limit int) error {
	column := m.Values[0].Key.GetToken().Position.Column - 1
	ends := make([]int, len(m.Values)) // line behind each entry
	for i, kv := range m.Values {
		next := limit
		if i+1 < len(m.Values) {
			next = lineOf(m.Values[i+1].Key)
		}
		if _, anchored := kv.Value.(*ast.AnchorNode); anchored || kv.Key.GetToken().Value == "<<" {
			return ErrEditText
		}
		ends[i] = e.trimmed(lineOf(kv.Key), next, column)
	}
	for i, kv := range m.Values {
		key := kv.Key.GetToken().Value
		was, had := lookup(base, key)
		is, wanted := lookup(want, key)
		switch {
		case !had && !wanted, had && wanted && reflect.DeepEqual(was, is):
		case !wanted:
			if i == 0 && e.shares(lineOf(kv.Key), column) {
				return ErrEditText // it stands on the line of a dash, or of another key
			}
			e.replace(e.above(lineOf(kv.Key), column), ends[i], "")
		default:
			if err := e.entry(kv, was, is, column, ends[i]); err != nil {
				return err
			}
		}
	}
	return e.insert(m, want, column, ends)
}

// insert puts keys that the mapping lacks behind the key that comes before them.
func (e *editor) insert(m *ast.MappingNode, want yaml.MapSlice, column int, ends []int) error {
	at := ends[0]
	for _, item := range want {
		key := fmt.Sprint(item.Key)
		if i := slices.IndexFunc(m.Values, func(kv *ast.MappingValueNode) bool { return kv.Key.GetToken().Value == key }); i >= 0 {
			at = ends[i]
			continue
		}
		text, err := render(yaml.MapSlice{item}, column)
		if err != nil {
			return err
		}
		e.replace(at, at, text)
	}
	return nil
}

// entry brings the value of one key from base to want. end is the line behind it.
func (e *editor) entry(kv *ast.MappingValueNode, base, want any, column, end int) error {
	from := lineOf(kv.Key)
	whole := e.whole && column == 0
	switch old := asMapping(kv.Value).(type) {
	case *ast.MappingNode:
		was, ok := base.(yaml.MapSlice)
		is, same := want.(yaml.MapSlice)
		if ok && same && !whole && !old.IsFlowStyle && len(old.Values) > 0 && len(is) > 0 && lineOf(old.Values[0].Key) > from {
			return e.mapping(old, was, is, end)
		}
	case *ast.SequenceNode:
		was, ok := base.([]any)
		is, same := want.([]any)
		if ok && same && !whole && !old.IsFlowStyle && len(old.Values) == len(was) && len(old.Entries) == len(was) && len(is) > 0 && len(was) > 0 && lineOfToken(old) > from {
			return e.sequence(old, was, is, end)
		}
	}
	return e.value(kv, want, column, end)
}

// value writes the value of a key anew: on its line, where it stands on one and fits there, with the comment behind it.
func (e *editor) value(kv *ast.MappingValueNode, want any, column, end int) error {
	from := lineOf(kv.Key)
	line := strings.TrimSuffix(e.lines[from], "\n")
	start, finish, comment := e.spot(kv, line)
	short, fits := inline(want, flowing(kv.Value))
	if end == from+1 && fits && start > 0 {
		gap := line[finish:]
		e.replace(from, end, line[:start]+short+gap+"\n")
		return nil
	}
	if e.shares(from, column) || start <= 0 {
		if !e.dashed(from, column) {
			return ErrEditText
		}
	}
	text, err := render(yaml.MapSlice{{Key: kv.Key.GetToken().Value, Value: want}}, column)
	if err != nil {
		return err
	}
	text = line[:column] + text[column:] // a dash in front of the key stays
	if head, rest, _ := strings.Cut(text, "\n"); comment != "" && (rest != "" || !strings.HasSuffix(head, ":")) {
		text = head + " " + comment + "\n" + rest
	}
	e.replace(from, end, text)
	return nil
}

// spot is where on its line the value of a key begins and ends, in bytes, and the comment behind it. start is 0 where the
// line cannot be told apart.
func (e *editor) spot(kv *ast.MappingValueNode, line string) (start, finish int, comment string) {
	key := kv.Key.GetToken()
	i := byteColumn(line, key.Position.Column-1)
	raw := strings.TrimSpace(key.Origin)
	if i < 0 || !strings.HasPrefix(line[i:], raw) {
		return 0, 0, ""
	}
	i += len(raw)
	for i < len(line) && (line[i] == ' ' || line[i] == ':') {
		i++
	}
	end := valueEnd(line[i:])
	rest := line[i+end:]
	return i, i + end, strings.TrimSpace(rest)
}

// valueEnd is where the value at the begin of text ends, before spaces and a comment.
func valueEnd(text string) int {
	depth := 0
	var quote byte
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quote == '"' && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				if quote == '\'' && i+1 < len(text) && text[i+1] == '\'' {
					i++
					continue
				}
				quote = 0
			}
		case (c == '"' || c == '\'') && (i == 0 || depth > 0 && strings.IndexByte(" [{,:", text[i-1]) >= 0):
			quote = c
		case (c == '[' || c == '{') && (i == 0 || depth > 0):
			depth++
		case (c == ']' || c == '}') && depth > 0:
			depth--
		case c == '#' && (i == 0 || text[i-1] == ' ' || text[i-1] == '\t'):
			return len(strings.TrimRight(text[:i], " \t"))
		}
	}
	return len(strings.TrimRight(text, " \t"))
}

// inlineBytesMax bounds what is written on one line.
const inlineBytesMax = 200

// inline writes a value on one line, where it is a scalar, a list of scalars, or, with flow, anything short.
func inline(v any, flow bool) (string, bool) {
	options := []yaml.EncodeOption{}
	switch v := v.(type) {
	case yaml.MapSlice:
		if !flow {
			return "", false
		}
		options = append(options, yaml.Flow(true))
	case []any:
		for _, x := range v {
			switch x.(type) {
			case yaml.MapSlice, []any:
				if !flow {
					return "", false
				}
			}
		}
		options = append(options, yaml.Flow(true))
	}
	b, err := yaml.MarshalWithOptions(v, options...)
	text := strings.TrimSuffix(string(b), "\n")
	return text, err == nil && !strings.Contains(text, "\n") && (len(options) == 0 || len(text) <= inlineBytesMax)
}

// flowing reports that a node is written in braces or brackets.
func flowing(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.IsFlowStyle
	case *ast.SequenceNode:
		return n.IsFlowStyle
	}
	return false
}

func lookup(m yaml.MapSlice, key string) (any, bool) {
	for _, item := range m {
		if fmt.Sprint(item.Key) == key {
			return item.Value, true
		}
	}
	return nil, false
}
