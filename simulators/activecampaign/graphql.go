package activecampaign

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// mutation is one GraphQL request as far as the shop endpoint takes it: one field with arguments.
type mutation struct {
	field     string
	arguments map[string]any
}

// enum is a name in place of a value, which JSON does not have.
type enum string

// nestingMax bounds lists and objects in each other.
const nestingMax = 20

// parseMutation reads `mutation [name][($v: Type)] { field(argument: value) { part } }`. Variables come from the request.
func parseMutation(query string, variables map[string]any) (mutation, error) {
	p := &graphql{text: query, variables: variables}
	p.next()
	if p.token != "mutation" {
		return mutation{}, fmt.Errorf("expected mutation, found %.20q", p.token)
	}
	p.next()
	if p.token != "{" && p.token != "(" {
		p.next()
	}
	if p.token == "(" { // the variables' types are not looked at
		for p.token != ")" && p.token != "" {
			p.next()
		}
		p.next()
	}
	p.expect("{")
	m := mutation{field: p.token, arguments: map[string]any{}}
	p.next()
	p.expect("(")
	for p.token != ")" && p.err == nil {
		name := p.token
		p.next()
		p.expect(":")
		m.arguments[name] = p.value(0)
	}
	p.expect(")")
	p.expect("{")
	for p.token != "}" && p.err == nil {
		if p.token == "" {
			p.fail("the selection does not end")
		}
		p.next()
	}
	p.expect("}")
	p.expect("}")
	if p.token != "" {
		p.fail("something follows the end")
	}
	return m, p.err
}

// graphql reads one text token by token; "" is its end. After an error it stands still.
type graphql struct {
	text      string
	variables map[string]any
	token     string
	quoted    bool // token is a string's content
	err       error
}

func (p *graphql) fail(format string, arguments ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("Syntax Error: "+format, arguments...) //nolint:staticcheck // as the provider's server words it
	}
	p.token, p.quoted, p.text = "", false, ""
}

func (p *graphql) expect(token string) {
	if p.err == nil && (p.token != token || p.quoted) {
		p.fail("expected %s, found %.20q", token, p.token)
	}
	p.next()
}

func (p *graphql) next() {
	p.text = strings.TrimLeft(p.text, " \t\r\n,")
	p.quoted = false
	if p.text == "" {
		p.token = ""
		return
	}
	if p.text[0] == '"' {
		p.str()
		return
	}
	n := strings.IndexFunc(p.text, func(r rune) bool {
		return !strings.ContainsRune("_.+-$", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	switch {
	case n < 0:
		n = len(p.text)
	case n == 0:
		_, n = utf8.DecodeRuneInString(p.text)
	}
	p.token, p.text = p.text[:n], p.text[n:]
}

// str reads a string, whose escapes are those of JSON.
func (p *graphql) str() {
	for i := 1; i < len(p.text); i++ {
		switch p.text[i] {
		case '\\':
			i++
		case '"':
			var s string
			if err := json.Unmarshal([]byte(p.text[:i+1]), &s); err != nil {
				p.fail("a string is malformed")
				return
			}
			p.token, p.quoted, p.text = s, true, p.text[i+1:]
			return
		}
	}
	p.fail("a string does not end")
}

func (p *graphql) value(depth int) any {
	if depth > nestingMax {
		p.fail("too deep")
		return nil
	}
	token, quoted := p.token, p.quoted
	p.next()
	switch {
	case quoted:
		return token
	case token == "[":
		list := []any{}
		for p.token != "]" && p.err == nil {
			if p.token == "" {
				p.fail("a list does not end")
			}
			list = append(list, p.value(depth+1))
		}
		p.expect("]")
		return list
	case token == "{":
		out := map[string]any{}
		for p.token != "}" && p.err == nil {
			name := p.token
			p.next()
			p.expect(":")
			out[name] = p.value(depth + 1)
		}
		p.expect("}")
		return out
	case strings.HasPrefix(token, "$"):
		v, ok := p.variables[token[1:]]
		if !ok {
			p.fail("variable %.20s is not defined", token)
		}
		return v
	case token == "true", token == "false":
		return token == "true"
	case token == "null":
		return nil
	}
	if f, err := strconv.ParseFloat(token, 64); err == nil {
		return f
	}
	if token == "" || strings.Trim(token, "_ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		p.fail("unexpected %.20q", token)
	}
	return enum(token)
}
