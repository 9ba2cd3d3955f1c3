package expressions

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"github.com/tillstream/tillstream/processors/spelling"
)

// checker turns the parser's tree into typed functions.
type checker struct {
	text      string
	catalogue Catalogue
	sources   []string
	nodes     int
	depth     int
}

// problem is a finding at a place in the text.
type problem struct {
	at      int // in characters from 0
	message string
}

func (p *problem) Error() string { return p.message }

func compile(text string, c Catalogue) (e *Expression, err error) {
	defer recovered(&err)
	switch {
	case len(text) > TextBytesMax:
		return nil, fmt.Errorf("an expression of %d bytes is longer than the %d that one may have", len(text), TextBytesMax)
	case strings.TrimSpace(text) == "":
		return nil, errors.New("the expression is empty; write for example order.amount >= 100")
	case !utf8.ValidString(text):
		return nil, errors.New("the expression is no valid UTF-8")
	}
	tree, err := parser.ParseWithConfig(hideDigits(text), syntax())
	if err != nil {
		return nil, syntaxError(text, err)
	}
	k := checker{text: text, catalogue: c}
	root, err := k.check(tree.Node)
	if err != nil {
		var p *problem
		if errors.As(err, &p) {
			return nil, fmt.Errorf("%s: %s", place(text, p.at), oneLine(p.message))
		}
		return nil, err
	}
	slices.Sort(k.sources)
	return &Expression{text: text, root: root, sources: slices.Compact(k.sources)}, nil
}

// syntax is the parser's configuration: none of the library's functions are left.
func syntax() *conf.Config {
	return &conf.Config{MaxNodes: nodesMax, DisableIfOperator: true, Disabled: disabled}
}

var disabled = func() map[string]bool {
	all := map[string]bool{}
	for _, f := range builtin.Builtins {
		all[f.Name] = true
	}
	return all
}()

// syntaxError is the parser's finding in one line.
func syntaxError(text string, err error) error {
	var f *file.Error
	if !errors.As(err, &f) {
		return fmt.Errorf("the expression cannot be read: %.200s", oneLine(err.Error()))
	}
	message := showDigits(f.Message)
	switch {
	case strings.Contains(message, "maximum allowed nodes"):
		return fmt.Errorf("the expression has more than the %d parts that one may have", nodesMax)
	case strings.Contains(message, "unexpected token EOF"):
		message = "the expression ends too early"
	case strings.Contains(message, "Operator(\"=\")"):
		message = "a single = compares nothing; write =="
	default:
		message = strings.ToLower(message[:min(1, len(message))]) + message[min(1, len(message)):]
	}
	return fmt.Errorf("%s: %.200s", place(text, f.From), oneLine(message))
}

// oneLine is a message in which what a user wrote cannot begin a new line.
func oneLine(message string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, message)
}

// place is where character at is, from 1.
func place(text string, at int) string {
	line, column := 1, 1
	for i, r := range []rune(text) {
		if i >= at {
			break
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
	}
	if strings.Contains(text, "\n") {
		return fmt.Sprintf("line %d, column %d", line, column)
	}
	return fmt.Sprintf("column %d", column)
}

func wrong(at ast.Node, format string, args ...any) error {
	return &problem{at.Location().From, fmt.Sprintf(format, args...)}
}

func (k *checker) check(n ast.Node) (*node, error) {
	if k.nodes++; k.nodes > nodesMax {
		return nil, wrong(n, "the expression has more than the %d parts that one may have", nodesMax)
	}
	if k.depth++; k.depth > depthMax {
		return nil, wrong(n, "more than %d parts lie within each other", depthMax)
	}
	defer func() { k.depth-- }()
	switch n := n.(type) {
	case *ast.StringNode:
		return literal(n, n.Value), nil
	case *ast.BoolNode:
		text := strconv.FormatBool(n.Value)
		return &node{kind: truth, at: n, constant: &text, truth: func(*run) bool { return n.Value }}, nil
	case *ast.IntegerNode, *ast.FloatNode:
		return k.number(n)
	case *ast.IdentifierNode, *ast.MemberNode:
		return k.name(n)
	case *ast.UnaryNode:
		return k.unary(n)
	case *ast.BinaryNode:
		return k.binary(n)
	case *ast.ConditionalNode:
		return k.conditional(n)
	case *ast.CallNode:
		return k.call(n)
	case *ast.ArrayNode:
		return nil, wrong(n, "a list in brackets may stand behind in only")
	case *ast.NilNode:
		return nil, wrong(n, `nil is not known; compare with "" to find out whether a value is there`)
	case *ast.BuiltinNode:
		return nil, wrong(n, "%s is no known function; %s", n.Name, hint(n.Name, functionNames()))
	}
	return nil, wrong(n, "this kind of expression is not available; conditions have no variables, loops, maps or slices")
}

// number reads the literal from the text itself: what the parser made of it may have been rounded.
func (k *checker) number(at ast.Node) (*node, error) {
	runes := []rune(k.text)
	from, to := at.Location().From, at.Location().To
	if from < 0 || to > len(runes) || from >= to {
		return nil, wrong(at, "the number cannot be read")
	}
	text := strings.ReplaceAll(string(runes[from:to]), "_", "")
	text = strings.TrimSuffix(text, ".")
	value, ok := parseNumber(text)
	if !ok {
		return nil, wrong(at, "%.50s is no plain decimal number; write for example 100.10", text)
	}
	return &node{kind: Number, at: at, constant: &text, number: func(*run) (number, bool) { return value, true }}, nil
}

// name is a dotted name: the catalogue's, not the language's objects.
func (k *checker) name(at ast.Node) (*node, error) {
	name, ok := dotted(at)
	if !ok {
		return nil, wrong(at, "only names have parts, for example order.amount or contact.fields[\"VIP since\"]")
	}
	first := at
	for m, ok := first.(*ast.MemberNode); ok; m, ok = first.(*ast.MemberNode) {
		first = m.Node
	}
	kind, known := k.catalogue.Kind(name)
	if !known {
		return nil, wrong(first, "%.100s is no known name; %s", name, k.nearest(name))
	}
	k.sources = append(k.sources, name)
	return sourceNode(first, name, kind), nil
}

func dotted(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return n.Value, true
	case *ast.MemberNode:
		if n.Method || n.Optional {
			return "", false
		}
		left, ok := dotted(n.Node)
		if !ok {
			return "", false
		}
		switch p := n.Property.(type) {
		case *ast.StringNode:
			return left + "." + showDigits(p.Value), true
		case *ast.IntegerNode:
			return left + "." + strconv.Itoa(p.Value), true
		}
	}
	return "", false
}

// nearest is what an unknown name may have been meant to be.
func (k *checker) nearest(name string) string { return nearest(name, k.catalogue) }

func nearest(name string, c Catalogue) string {
	if _, open := c[name+".*"]; open {
		return "write which one, for example " + name + ".NAME"
	}
	names := c.names()
	for _, n := range names {
		if strings.HasPrefix(n, name+".") {
			return "it is the beginning of names such as " + n
		}
	}
	return hint(name, slices.DeleteFunc(names, func(n string) bool { return strings.HasSuffix(n, "*") }))
}

func hint(name string, known []string) string {
	if near := spelling.Nearest(name, known); near != "" {
		return "did you mean " + near + "?"
	}
	if len(known) == 0 {
		return "there are none here"
	}
	if len(known) <= shortListMax {
		return "known are " + strings.Join(known, ", ")
	}
	return "the names are listed in the documentation of mapping"
}

// shortListMax is up to how many names an error lists.
const shortListMax = 20
