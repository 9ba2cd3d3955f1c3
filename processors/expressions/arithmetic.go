package expressions

import (
	"time"

	"github.com/expr-lang/expr/ast"
)

func arithmetic(n *ast.BinaryNode, a, b *node) (*node, error) {
	if n.Operator == "+" && (a.kind == Text || b.kind == Text) {
		return joined(n, a, b)
	}
	switch {
	case a.kind == Time || b.kind == Time:
		return moments(n, a, b)
	case a.kind == span && b.kind == span:
		return spans(n, a, b)
	case a.kind == Any && b.kind == Any:
		return nil, wrong(n, "it is not known whether %s and %s are numbers or texts; write number(%s), or text(%s)", name(a), name(b), name(a), name(a))
	}
	for _, x := range []*node{a, b} {
		if x.kind != Number && x.kind != Any {
			return nil, wrong(x.at, "%s computes with numbers, and this is %s", n.Operator, x.kind)
		}
	}
	return &node{kind: Number, at: n, number: func(r *run) (number, bool) {
		x, okX := a.number(r)
		y, okY := b.number(r)
		if !okX || !okY || n.Operator == "/" && y.zero() || !r.spend(1) {
			return number{}, false
		}
		return compute(r, n.Operator, x, y)
	}}, nil
}

// compute takes the short way where all fits into an int64.
func compute(r *run, operator string, x, y number) (number, bool) {
	if operator == "-" && y.big == nil {
		operator, y.coefficient = "+", -y.coefficient
	}
	switch operator {
	case "+":
		if sum, ok := smallSum(x, y); ok {
			return sum, true
		}
		return bounded(r, x.decimal().Add(y.decimal()))
	case "-":
		return bounded(r, x.decimal().Sub(y.decimal()))
	case "*":
		if product, ok := smallProduct(x, y); ok {
			return product, true
		}
		return bounded(r, x.decimal().Mul(y.decimal()))
	}
	return bounded(r, x.decimal().DivRound(y.decimal(), quotientDecimals))
}

// joined puts texts behind each other. Two absent parts give an absent text.
func joined(n *ast.BinaryNode, a, b *node) (*node, error) {
	for _, x := range []*node{a, b} {
		if x.kind == List || x.kind == span || x.kind == truth {
			return nil, wrong(x.at, "%s cannot be joined to a text", x.kind)
		}
	}
	return &node{kind: Text, at: n, text: func(r *run) string {
		x, y := a.asText(r), b.asText(r)
		if len(x)+len(y) > resultBytesMax {
			r.fail("the text gets too long")
		}
		if !r.spend(len(x) + len(y)) {
			return ""
		}
		return x + y
	}}, nil
}

// moments computes with times: time - time is a span, time + span and time - span are times.
func moments(n *ast.BinaryNode, a, b *node) (*node, error) {
	isTime := func(x *node) bool { return x.kind == Time || x.kind == Any }
	switch {
	case n.Operator == "-" && isTime(a) && isTime(b):
		return &node{kind: span, at: n, span: func(r *run) (time.Duration, bool) {
			x, okX := a.time(r)
			y, okY := b.time(r)
			return x.Sub(y), okX && okY
		}}, nil
	case n.Operator == "+" && a.kind == span && b.kind == Time:
		a, b = b, a
	case (n.Operator == "+" || n.Operator == "-") && a.kind == Time && b.kind == span:
	default:
		return nil, wrong(n, "%s %s %s makes no sense; write for example event.time - date(\"2026-03-01\"), or event.time + duration(\"3d\")", a.kind, n.Operator, b.kind)
	}
	return &node{kind: Time, at: n, time: func(r *run) (time.Time, bool) {
		x, okX := a.time(r)
		d, okD := b.span(r)
		if n.Operator == "-" {
			d = -d
		}
		return x.Add(d), okX && okD
	}}, nil
}

func spans(n *ast.BinaryNode, a, b *node) (*node, error) {
	if n.Operator != "+" && n.Operator != "-" {
		return nil, wrong(n, "durations can be added and subtracted only")
	}
	return &node{kind: span, at: n, span: func(r *run) (time.Duration, bool) {
		x, okX := a.span(r)
		y, okY := b.span(r)
		if n.Operator == "-" {
			y = -y
		}
		if sum := x + y; okX && okY && (sum > x) == (y > 0) {
			return sum, true
		}
		return 0, false // absent, or beyond all durations
	}}, nil
}
