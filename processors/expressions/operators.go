package expressions

import (
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
)

func (k *checker) unary(n *ast.UnaryNode) (*node, error) {
	x, err := k.check(n.Node)
	if err != nil {
		return nil, err
	}
	switch n.Operator {
	case "!", "not":
		if x.kind != truth {
			return nil, wrong(n, "%s needs a condition, and this is %s", n.Operator, x.kind)
		}
		return &node{kind: truth, at: n, truth: func(r *run) bool { return !x.truth(r) }}, nil
	case "-", "+":
		if x.kind != Number {
			return nil, wrong(n, "%s needs a number, and this is %s", n.Operator, x.kind)
		}
		if n.Operator == "+" {
			return x, nil
		}
		return &node{kind: Number, at: n, number: func(r *run) (number, bool) {
			v, ok := x.number(r)
			if !ok {
				return number{}, false
			}
			return bounded(r, v.decimal().Neg())
		}}, nil
	}
	return nil, wrong(n, "the operator %s is not available", n.Operator)
}

func (k *checker) binary(n *ast.BinaryNode) (*node, error) {
	if n.Operator == "in" {
		return k.in(n)
	}
	a, err := k.check(n.Left)
	if err != nil {
		return nil, err
	}
	b, err := k.check(n.Right)
	if err != nil {
		return nil, err
	}
	switch n.Operator {
	case "&&", "and", "||", "or":
		return logical(n, a, b)
	case "==", "!=", "<", "<=", ">", ">=":
		return comparison(n, a, b)
	case "contains", "startsWith", "endsWith":
		return textTest(n, a, b)
	case "matches":
		return pattern(n, a, b)
	case "+", "-", "*", "/":
		return arithmetic(n, a, b)
	case "??":
		return otherwise(n, a, b)
	}
	return nil, wrong(n, "the operator %s is not available", n.Operator)
}

func logical(n *ast.BinaryNode, a, b *node) (*node, error) {
	for _, x := range []*node{a, b} {
		if x.kind != truth {
			return nil, wrong(x.at, "%s joins conditions, and this is %s", n.Operator, x.kind)
		}
	}
	if n.Operator == "&&" || n.Operator == "and" {
		return &node{kind: truth, at: n, truth: func(r *run) bool { return a.truth(r) && b.truth(r) }}, nil
	}
	return &node{kind: truth, at: n, truth: func(r *run) bool { return a.truth(r) || b.truth(r) }}, nil
}

// comparison compares two of one kind; Any takes the kind of the other side. The empty text stands for what is absent.
func comparison(n *ast.BinaryNode, a, b *node) (*node, error) {
	equality := n.Operator == "==" || n.Operator == "!="
	if equality {
		for _, pair := range [][2]*node{{a, b}, {b, a}} {
			if c := pair[1].constant; c != nil && *c == "" && pair[1].kind == Text {
				x, want := pair[0], n.Operator == "=="
				return &node{kind: truth, at: n, truth: func(r *run) bool { return x.absent(r) == want }}, nil
			}
		}
	}
	kind, err := common(n, a, b)
	if err != nil {
		return nil, err
	}
	if !equality && (kind == Text || kind == Any || kind == truth) {
		if kind == Any {
			return nil, wrong(n, "it is not known whether %s and %s are numbers or times; write number(%s) or date(%s)", a.source, b.source, a.source, a.source)
		}
		return nil, wrong(n, "%s has no order; %s compares numbers and times", kind, n.Operator)
	}
	fits := order(n.Operator)
	out := &node{kind: truth, at: n}
	switch kind {
	case Text, Any:
		equal := n.Operator == "=="
		out.truth = func(r *run) bool { return (a.asText(r) == b.asText(r)) == equal }
	case truth:
		equal := n.Operator == "=="
		out.truth = func(r *run) bool { return (a.asText(r) == b.asText(r)) == equal }
	case Number:
		out.truth = func(r *run) bool {
			x, okX := a.number(r)
			y, okY := b.number(r)
			return okX && okY && fits(compare(x, y))
		}
	case Time:
		out.truth = func(r *run) bool {
			x, okX := a.time(r)
			y, okY := b.time(r)
			return okX && okY && fits(x.Compare(y))
		}
	case span:
		out.truth = func(r *run) bool {
			x, okX := a.span(r)
			y, okY := b.span(r)
			return okX && okY && fits(int(min(max(x-y, -1), 1)))
		}
	default:
		return nil, wrong(n, "%s cannot be compared; use in, or len", kind)
	}
	return out, nil
}

// order says which outcomes of a comparison an operator accepts.
func order(operator string) func(int) bool {
	switch operator {
	case "==":
		return func(c int) bool { return c == 0 }
	case "!=":
		return func(c int) bool { return c != 0 }
	case "<":
		return func(c int) bool { return c < 0 }
	case "<=":
		return func(c int) bool { return c <= 0 }
	case ">":
		return func(c int) bool { return c > 0 }
	}
	return func(c int) bool { return c >= 0 }
}

// common is the kind under which two values meet.
func common(at ast.Node, a, b *node) (Kind, error) {
	kind := a.kind
	switch {
	case a.kind == b.kind:
	case a.kind == Any:
		kind = b.kind
	case b.kind != Any:
		return 0, wrong(at, "%s and %s cannot be compared%s", a.kind, b.kind, remedy(a, b))
	}
	if (a.kind == Any || b.kind == Any) && (kind == List || kind == span) {
		return 0, wrong(at, "%s and %s cannot be compared", a.kind, b.kind)
	}
	return kind, nil
}

// remedy tells what usually mends two kinds that do not fit.
func remedy(a, b *node) string {
	if b.kind != Text && a.kind == Text {
		a, b = b, a
	}
	if b.kind != Text {
		return ""
	}
	switch {
	case a.kind == Number && b.constant != nil:
		if _, ok := parseNumber(*b.constant); ok {
			return "; write " + *b.constant + " without quotes"
		}
	case a.kind == Number:
		return "; write number(" + name(b) + ")"
	case a.kind == Time && b.constant != nil:
		if _, ok := parseTime(*b.constant); ok {
			return `; write date("` + *b.constant + `")`
		}
	case a.kind == Time:
		return "; write date(" + name(b) + ")"
	case a.kind == List:
		return "; write in"
	}
	return ""
}

func name(n *node) string {
	if n.source != "" {
		return n.source
	}
	return "..."
}

func (n *node) textual() bool { return n.kind == Text || n.kind == Any }

func textTest(n *ast.BinaryNode, a, b *node) (*node, error) {
	if a.kind == List && n.Operator == "contains" && b.textual() {
		return membership(n, b, a.list), nil
	}
	for _, x := range []*node{a, b} {
		if !x.textual() {
			return nil, wrong(x.at, "%s looks into texts, and this is %s", n.Operator, x.kind)
		}
	}
	test := strings.Contains
	switch n.Operator {
	case "startsWith":
		test = strings.HasPrefix
	case "endsWith":
		test = strings.HasSuffix
	}
	return &node{kind: truth, at: n, truth: func(r *run) bool {
		x, y := a.text(r), b.text(r)
		return r.spend(len(x)) && test(x, y)
	}}, nil
}

func (k *checker) in(n *ast.BinaryNode) (*node, error) {
	x, err := k.check(n.Left)
	if err != nil {
		return nil, err
	}
	if array, ok := n.Right.(*ast.ArrayNode); ok {
		return k.oneOf(n, x, array)
	}
	list, err := k.check(n.Right)
	if err != nil {
		return nil, err
	}
	switch {
	case list.kind != List:
		return nil, wrong(list.at, "in needs a list, and this is %s; write contains to look into a text", list.kind)
	case !x.textual():
		return nil, wrong(x.at, "a list holds texts, and this is %s", x.kind)
	}
	return membership(n, x, list.list), nil
}

// membership costs as much work as the list has elements.
func membership(at ast.Node, x *node, list func(*run) []string) *node {
	return &node{kind: truth, at: at, truth: func(r *run) bool {
		all := list(r)
		return r.spend(len(all)) && slices.Contains(all, x.text(r))
	}}
}

// oneOf is x in [a, b, c], which compares with each.
func (k *checker) oneOf(n *ast.BinaryNode, x *node, array *ast.ArrayNode) (*node, error) {
	if len(array.Nodes) == 0 {
		return nil, wrong(array, "the list is empty")
	}
	var tests []*node
	for _, e := range array.Nodes {
		element, err := k.check(e)
		if err != nil {
			return nil, err
		}
		equal := &ast.BinaryNode{Operator: "=="}
		equal.SetLocation(e.Location())
		test, err := comparison(equal, x, element)
		if err != nil {
			return nil, err
		}
		tests = append(tests, test)
	}
	return &node{kind: truth, at: n, truth: func(r *run) bool {
		return slices.ContainsFunc(tests, func(t *node) bool { return t.truth(r) })
	}}, nil
}

// otherwise is a ?? b.
func otherwise(n *ast.BinaryNode, a, b *node) (*node, error) {
	kind, err := common(n, a, b)
	if err != nil {
		return nil, err
	}
	return choice(n, kind, func(r *run) bool { return !a.absent(r) }, a, b)
}

func (k *checker) conditional(n *ast.ConditionalNode) (*node, error) {
	c, err := k.check(n.Cond)
	if err != nil {
		return nil, err
	}
	if c.kind != truth {
		return nil, wrong(c.at, "a condition must stand before ?, and this is %s", c.kind)
	}
	a, err := k.check(n.Exp1)
	if err != nil {
		return nil, err
	}
	b, err := k.check(n.Exp2)
	if err != nil {
		return nil, err
	}
	kind, err := common(b.at, a, b)
	if err != nil {
		return nil, err
	}
	return choice(n, kind, c.truth, a, b)
}

// choice is one of two nodes of a common kind.
func choice(at ast.Node, kind Kind, first func(*run) bool, a, b *node) (*node, error) {
	pick := func(r *run) *node {
		if first(r) {
			return a
		}
		return b
	}
	out := &node{kind: kind, at: at}
	switch kind {
	case Text:
		out.text = func(r *run) string { return pick(r).asText(r) }
	case Any:
		out.text = func(r *run) string { return pick(r).asText(r) }
		out.number, out.time = readNumber(out.text), readTime(out.text)
	case Number:
		out.number = func(r *run) (number, bool) { return pick(r).number(r) }
	case Time:
		out.time = func(r *run) (time.Time, bool) { return pick(r).time(r) }
	case span:
		out.span = func(r *run) (time.Duration, bool) { return pick(r).span(r) }
	case truth:
		if a.kind != truth || b.kind != truth {
			return nil, wrong(at, "both values must be conditions")
		}
		out.truth = func(r *run) bool { return pick(r).truth(r) }
	default:
		return nil, wrong(at, "%s cannot be chosen here", kind)
	}
	return out, nil
}
