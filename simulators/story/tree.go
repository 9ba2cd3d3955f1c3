package story

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// templates are PayPal's payloads as published or recorded.
//
//go:embed templates/*.json
var templates embed.FS

// node is JSON that keeps the order of its members and the digits of its numbers.
type node struct {
	kind    byte   // { [ " or r (number, true, false, null)
	text    string // of " the value, of r the literal
	members []member
	items   []*node
}

type member struct {
	name  string
	value *node
}

// load parses a template. The templates are part of the program: a broken one is a mistake in it.
func load(name string) *node {
	raw, err := templates.ReadFile("templates/" + name + ".json")
	if err != nil {
		panic(err)
	}
	n, err := parse(raw)
	if err != nil {
		panic(fmt.Sprintf("template %s: %v", name, err))
	}
	return n
}

func parse(raw []byte) (*node, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	n, err := parseValue(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("more than one value")
	}
	return n, nil
}

func parseValue(d *json.Decoder) (*node, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch v := t.(type) {
	case string:
		return str(v), nil
	case json.Number:
		return literal(v.String()), nil
	case bool:
		return literal(strconv.FormatBool(v)), nil
	case nil:
		return literal("null"), nil
	}
	n := &node{kind: byte(t.(json.Delim))}
	for d.More() {
		name := ""
		if n.kind == '{' {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			name = key.(string)
		}
		v, err := parseValue(d)
		if err != nil {
			return nil, err
		}
		if n.kind == '{' {
			n.members = append(n.members, member{name, v})
		} else {
			n.items = append(n.items, v)
		}
	}
	_, err = d.Token()
	return n, err
}

func str(v string) *node     { return &node{kind: '"', text: v} }
func literal(v string) *node { return &node{kind: 'r', text: v} }

// obj builds an object of names and values: strings, ints or nodes.
func obj(pairs ...any) *node {
	n := &node{kind: '{'}
	for i := 0; i+1 < len(pairs); i += 2 {
		n.members = append(n.members, member{pairs[i].(string), value(pairs[i+1])})
	}
	return n
}

func value(v any) *node {
	switch v := v.(type) {
	case string:
		return str(v)
	case int:
		return literal(strconv.Itoa(v))
	case bool:
		return literal(strconv.FormatBool(v))
	case *node:
		return v
	}
	panic(fmt.Sprintf("no JSON value: %T", v))
}

// copyWith copies the tree and replaces in each string what r says.
func (n *node) copyWith(r *strings.Replacer) *node {
	out := &node{kind: n.kind, text: n.text}
	if n.kind == '"' {
		out.text = r.Replace(n.text)
	}
	if n.members != nil {
		out.members = make([]member, len(n.members))
		for i, m := range n.members {
			out.members[i] = member{m.name, m.value.copyWith(r)}
		}
	}
	for _, item := range n.items {
		out.items = append(out.items, item.copyWith(r))
	}
	return out
}

// get walks a path such as resource.purchase_units.0.amount; nil where it ends early.
func (n *node) get(path string) *node {
	for part := range strings.SplitSeq(path, ".") {
		if n == nil {
			return nil
		}
		n = n.child(part)
	}
	return n
}

func (n *node) child(name string) *node {
	if n.kind == '[' {
		if i, err := strconv.Atoi(name); err == nil && i < len(n.items) {
			return n.items[i]
		}
		return nil
	}
	for _, m := range n.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

func (n *node) string(path string) string {
	if v := n.get(path); v != nil {
		return v.text
	}
	return ""
}

// set replaces the value at path, or adds it as last member. What holds it has to be there.
func (n *node) set(path string, v any) {
	holder, name := n, path
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		holder, name = n.get(path[:i]), path[i+1:]
	}
	if holder == nil || holder.kind != '{' {
		panic("nothing holds " + path)
	}
	for i, m := range holder.members {
		if m.name == name {
			holder.members[i].value = value(v)
			return
		}
	}
	holder.members = append(holder.members, member{name, value(v)})
}

// drop removes the member at path, if there.
func (n *node) drop(path string) {
	holder, name := n, path
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		holder, name = n.get(path[:i]), path[i+1:]
	}
	if holder == nil {
		return
	}
	for i, m := range holder.members {
		if m.name == name {
			holder.members = append(holder.members[:i:i], holder.members[i+1:]...)
			return
		}
	}
}

// compact prints the tree as PayPal sends it: no spaces, UTF-8 as it is.
func (n *node) compact(b []byte) []byte {
	switch n.kind {
	case '"':
		return quote(b, n.text)
	case 'r':
		return append(b, n.text...)
	case '[':
		b = append(b, '[')
		for i, item := range n.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.compact(b)
		}
		return append(b, ']')
	}
	b = append(b, '{')
	for i, m := range n.members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(quote(b, m.name), ':')
		b = m.value.compact(b)
	}
	return append(b, '}')
}

func quote(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
