package shopify

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A small GraphQL: one operation with variables, fields with arguments, aliases and inline fragments; it answers with
// exactly what was asked for, and refuses fields that a type does not have.

// field is one selected field.
type field struct {
	name, alias, on string // on: an inline fragment's type; then fields alone count
	args            map[string]any
	fields          []field
}

// variable is a reference inside arguments.
type variable string

// node is an object of the schema: values, nodes, lists of nodes, or a func of the field's arguments.
type node = map[string]any

type graphError struct{ code, message string }

// Error implements error.
func (e *graphError) Error() string { return e.message }

// codeField marks the refusal of one field that may be null: the rest of the answer stands.
const codeField = "field"

func undefined(format string, args ...any) error {
	return &graphError{"undefinedField", fmt.Sprintf(format, args...)}
}

const (
	queryDepthMax  = 16
	queryFieldsMax = 500
)

// parser reads a document of one operation.
type parser struct {
	tokens []string
	at     int
	count  int
}

func parseQuery(text string) (kind string, fields []field, err error) {
	p := &parser{tokens: tokens(text)}
	kind = "query"
	if t := p.peek(); t == "query" || t == "mutation" {
		kind = p.next()
		if p.peek() != "(" && p.peek() != "{" {
			p.next() // its name
		}
		if p.peek() == "(" {
			for p.peek() != ")" && p.peek() != "" {
				p.next()
			}
			p.next()
		}
	}
	fields, err = p.selection(0)
	if err == nil && p.peek() != "" {
		err = fmt.Errorf("syntax error, unexpected %q after the operation", p.peek())
	}
	return kind, fields, err
}

// tokens splits a document. Strings keep their opening quote.
func tokens(text string) []string {
	var out []string
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == ',':
			i++
		case c == '#':
			for i < len(text) && text[i] != '\n' {
				i++
			}
		case c == '"':
			j := i + 1
			for j < len(text) && text[j] != '"' {
				if text[j] == '\\' {
					j++
				}
				j++
			}
			out = append(out, text[i:min(j, len(text))])
			i = j + 1
		case strings.HasPrefix(text[i:], "..."):
			out, i = append(out, "..."), i+3
		case strings.ContainsRune("{}()[]:$!=@", rune(c)):
			out, i = append(out, string(c)), i+1
		default:
			j := i
			for j < len(text) && !strings.ContainsRune(" \n\t\r,#\"{}()[]:$!=@", rune(text[j])) {
				j++
			}
			out, i = append(out, text[i:j]), j
		}
	}
	return out
}

func (p *parser) peek() string {
	if p.at == len(p.tokens) {
		return ""
	}
	return p.tokens[p.at]
}

func (p *parser) next() string {
	t := p.peek()
	if p.at < len(p.tokens) {
		p.at++
	}
	return t
}

func (p *parser) want(t string) error {
	if got := p.next(); got != t {
		return fmt.Errorf("syntax error, unexpected %q, expecting %q", got, t)
	}
	return nil
}

func (p *parser) selection(depth int) ([]field, error) {
	if depth == queryDepthMax {
		return nil, fmt.Errorf("query has a depth of more than %d", queryDepthMax)
	}
	if err := p.want("{"); err != nil {
		return nil, err
	}
	var out []field
	for p.peek() != "}" {
		if p.count++; p.count > queryFieldsMax {
			return nil, fmt.Errorf("query has more than %d fields", queryFieldsMax)
		}
		f := field{name: p.next()}
		var err error
		switch {
		case f.name == "...":
			if err = p.want("on"); err == nil {
				f.on = p.next()
			}
		case f.name == "" || !isName(f.name):
			err = fmt.Errorf("syntax error, unexpected %q", f.name)
		default:
			f.alias = f.name
			if p.peek() == ":" {
				p.next()
				f.name = p.next()
			}
			if p.peek() == "(" {
				f.args, err = p.arguments()
			}
		}
		if err == nil && (f.on != "" || p.peek() == "{") {
			f.fields, err = p.selection(depth + 1)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	p.next()
	return out, nil
}

func isName(t string) bool {
	for i, r := range t {
		if !(r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || i > 0 && r >= '0' && r <= '9') {
			return false
		}
	}
	return true
}

func (p *parser) arguments() (map[string]any, error) {
	p.next()
	out := map[string]any{}
	for p.peek() != ")" {
		name := p.next()
		if !isName(name) || name == "" {
			return nil, fmt.Errorf("syntax error, unexpected %q in arguments", name)
		}
		if err := p.want(":"); err != nil {
			return nil, err
		}
		switch v := p.next(); {
		case v == "$":
			out[name] = variable(p.next())
		case strings.HasPrefix(v, `"`):
			s, err := strconv.Unquote(v + `"`)
			if err != nil {
				return nil, fmt.Errorf("syntax error in string %s", v)
			}
			out[name] = s
		case v == "true" || v == "false":
			out[name] = v == "true"
		case v == "null":
			out[name] = nil
		case isName(v):
			out[name] = v // an enum
		default:
			n, err := strconv.Atoi(v)
			if err != nil {
				return nil, fmt.Errorf("syntax error, unexpected %q as an argument", v)
			}
			out[name] = float64(n)
		}
	}
	p.next()
	return out, nil
}

// execution runs one operation.
type execution struct {
	variables map[string]any
	objects   float64 // answered so far: what a query costs in the end
	path      []any
	denied    []object // errors of single fields, which are null in the answer
}

func newExecution(variables map[string]any) *execution { return &execution{variables: variables} }

func (x *execution) arguments(f field) map[string]any {
	out := make(map[string]any, len(f.args))
	for k, v := range f.args {
		if name, ok := v.(variable); ok {
			v = x.variables[string(name)]
		}
		out[k] = v
	}
	return out
}

// answer selects fields of n, in the order in which they were asked for.
func (x *execution) answer(n node, fields []field) (json.RawMessage, error) {
	var members []string
	for _, f := range fields {
		if f.on != "" {
			if n["__typename"] != f.on {
				continue
			}
			inner, err := x.answer(n, f.fields)
			if err != nil {
				return nil, err
			}
			if text := strings.TrimSuffix(strings.TrimPrefix(string(inner), "{"), "}"); text != "" {
				members = append(members, text)
			}
			continue
		}
		v, ok := n[f.name]
		if !ok {
			return nil, undefined("Field '%s' doesn't exist on type '%v'", f.name, n["__typename"])
		}
		if resolve, ok := v.(func(map[string]any) (any, error)); ok {
			var err error
			v, err = resolve(x.arguments(f))
			if e := (*graphError)(nil); errors.As(err, &e) && e.code == codeField {
				x.denied = append(x.denied, object{"message": e.message, "path": append(slices.Clone(x.path), f.alias), "extensions": object{"code": "ACCESS_DENIED"}})
				v, err = nil, nil
			}
			if err != nil {
				return nil, err
			}
		}
		x.path = append(x.path, f.alias)
		raw, err := x.value(v, f)
		x.path = x.path[:len(x.path)-1]
		if err != nil {
			return nil, err
		}
		members = append(members, strconv.Quote(f.alias)+":"+string(raw))
	}
	return json.RawMessage("{" + strings.Join(members, ",") + "}"), nil
}

func (x *execution) value(v any, f field) (json.RawMessage, error) {
	switch v := v.(type) {
	case node:
		if v == nil {
			return json.RawMessage("null"), nil
		}
		if len(f.fields) == 0 {
			return nil, &graphError{"selectionMismatch", fmt.Sprintf("Field must have selections (field '%s' returns %v)", f.name, v["__typename"])}
		}
		x.objects++
		return x.answer(v, f.fields)
	case []node:
		list := make([]string, len(v))
		for i, n := range v {
			x.path = append(x.path, i)
			raw, err := x.value(n, f)
			x.path = x.path[:len(x.path)-1]
			if err != nil {
				return nil, err
			}
			list[i] = string(raw)
		}
		return json.RawMessage("[" + strings.Join(list, ",") + "]"), nil
	}
	if len(f.fields) > 0 && v != nil {
		return nil, &graphError{"selectionMismatch", fmt.Sprintf("Selections can't be made on scalars (field '%s')", f.name)}
	}
	return encode(v), nil
}

// cost is what a query may cost: an object 1, a connection 2 and its nodes, a mutation 10; a scalar nothing.
func (x *execution) cost(fields []field) float64 {
	sum := 0.0
	for _, f := range fields {
		if len(f.fields) == 0 {
			continue
		}
		inner := x.cost(f.fields)
		if first, ok := x.arguments(f)["first"].(float64); ok {
			sum += 2 + first*math.Max(inner, 1)
			continue
		}
		switch f.name {
		case "nodes", "pageInfo", "userErrors":
			// the connection and the mutation count them; a node itself is an object
			if f.name == "nodes" {
				inner++
			}
			sum += inner
		case "webhookSubscriptionCreate", "webhookSubscriptionDelete":
			sum += 10
		default:
			sum += 1 + inner
		}
	}
	return sum
}

// page cuts a sorted list to what first and after ask for. key names a place in it.
func page(list []node, key func(i int) string, args map[string]any) (node, error) {
	first, ok := args["first"].(float64)
	if !ok || first < 1 || first > 250 {
		return nil, &graphError{"argumentLiteralsIncompatible", "you must provide one of first or last, between 1 and 250"}
	}
	from := 0
	if after, _ := args["after"].(string); after != "" {
		from = len(list)
		if i := slices.IndexFunc(indexes(len(list)), func(i int) bool { return key(i) > after }); i >= 0 {
			from = i
		}
	}
	to := min(from+int(first), len(list))
	info := node{"__typename": "PageInfo", "hasNextPage": to < len(list), "endCursor": nil}
	if to > from {
		info["endCursor"] = key(to - 1)
	}
	return node{"__typename": "Connection", "nodes": list[from:to], "pageInfo": info}, nil
}

func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
