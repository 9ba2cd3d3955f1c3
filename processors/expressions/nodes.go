package expressions

import (
	"errors"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
)

// run is one evaluation.
type run struct {
	values Values
	work   int
	err    error
}

func (r *run) fail(why string) {
	if r.err == nil {
		r.err = errors.New(why)
	}
}

// spend takes n bytes of work; false: no more may be done.
func (r *run) spend(n int) bool {
	if r.err != nil {
		return false
	}
	if r.work += n; r.work > workMax {
		r.fail("it takes more work than one expression may")
		return false
	}
	return true
}

// node is one checked part. Of the functions those are set that its kind needs: Any and sources have text, number and
// time. A second result of false means absent.
type node struct {
	kind Kind
	at   ast.Node
	// constant is the text of a literal.
	constant *string
	source   string

	text   func(*run) string
	number func(*run) (number, bool)
	time   func(*run) (time.Time, bool)
	span   func(*run) (time.Duration, bool)
	list   func(*run) []string
	truth  func(*run) bool
}

// asText is the value as text; "" where it is absent.
func (n *node) asText(r *run) string {
	if n.text != nil {
		return n.text(r)
	}
	switch n.kind {
	case Number:
		if v, ok := n.number(r); ok {
			return v.String()
		}
	case Time:
		if v, ok := n.time(r); ok {
			return v.UTC().Format(time.RFC3339Nano)
		}
	case truth:
		if n.truth(r) {
			return "true"
		}
		return "false"
	}
	return ""
}

// absent reports whether the value is missing, or is not of its kind.
func (n *node) absent(r *run) bool {
	switch n.kind {
	case Number:
		_, ok := n.number(r)
		return !ok
	case Time:
		_, ok := n.time(r)
		return !ok
	case span:
		_, ok := n.span(r)
		return !ok
	case List:
		return len(n.list(r)) == 0
	case truth:
		return false
	}
	return n.text(r) == ""
}

func literal(at ast.Node, text string) *node {
	return &node{kind: Text, at: at, constant: &text, text: func(*run) string { return text }}
}

// sourceNode reads a value by its name.
func sourceNode(at ast.Node, name string, kind Kind) *node {
	n := &node{kind: kind, at: at, source: name}
	switch kind {
	case List:
		n.list = func(r *run) []string { return r.values.List(name) }
		return n
	case Date:
		n.kind = Time
	case Phone:
		n.kind = Text
	}
	n.text = func(r *run) string { return r.values.Text(name) }
	n.number, n.time = readNumber(n.text), readTime(n.text)
	return n
}

// readNumber and readTime read a text as something else.
func readNumber(text func(*run) string) func(*run) (number, bool) {
	return func(r *run) (number, bool) { return parseNumber(strings.TrimSpace(text(r))) }
}

func readTime(text func(*run) string) func(*run) (time.Time, bool) {
	return func(r *run) (time.Time, bool) { return parseTime(text(r)) }
}

// timeLayouts are the forms in which PayPal and the stores write times; the last three name no zone and mean UTC.
var timeLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999-0700", "2006-01-02T15:04:05.999999999", time.DateTime, time.DateOnly}

const timeBytesMax = 64

func parseTime(text string) (time.Time, bool) {
	text = strings.TrimSpace(text)
	if len(text) < len(time.DateOnly) || len(text) > timeBytesMax {
		return time.Time{}, false
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
