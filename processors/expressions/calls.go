package expressions

import (
	"maps"
	"regexp"
	patterns "regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
)

// calls are the functions of expressions. Each makes a node from its checked arguments.
var calls = map[string]struct {
	arguments string // for an error
	min, max  int
	make      func(at ast.Node, args []*node) (*node, error)
}{
	"lower":    {"a text", 1, 1, ofText(strings.ToLower)},
	"upper":    {"a text", 1, 1, ofText(strings.ToUpper)},
	"trim":     {"a text", 1, 1, ofText(strings.TrimSpace)},
	"text":     {"a value", 1, 1, asText},
	"number":   {"a text", 1, 1, asNumber},
	"round":    {"a number and how many decimals", 2, 2, rounded},
	"date":     {"a text such as 2026-03-01", 1, 1, asTime},
	"duration": {"a text such as 3d or 36h", 1, 1, asSpan},
	"len":      {"a text or a list", 1, 1, length},
}

func functionNames() []string { return slices.Sorted(maps.Keys(calls)) }

// FunctionNames lists the functions that expressions may call, sorted.
func FunctionNames() []string { return functionNames() }

func (k *checker) call(n *ast.CallNode) (*node, error) {
	callee, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		return nil, wrong(n, "a value cannot be called; functions are %s", strings.Join(functionNames(), ", "))
	}
	f, ok := calls[callee.Value]
	if !ok {
		return nil, wrong(n, "%.60s is no known function; %s", callee.Value, hint(callee.Value, functionNames()))
	}
	if len(n.Arguments) < f.min || len(n.Arguments) > f.max {
		return nil, wrong(n, "%s takes %s", callee.Value, f.arguments)
	}
	args := make([]*node, len(n.Arguments))
	for i, a := range n.Arguments {
		x, err := k.check(a)
		if err != nil {
			return nil, err
		}
		args[i] = x
	}
	return f.make(n, args)
}

// letterWork is the work of one letter that is looked at by itself; compared as a whole, four take as long.
const letterWork = 4

func ofText(do func(string) string) func(ast.Node, []*node) (*node, error) {
	return func(at ast.Node, args []*node) (*node, error) {
		x := args[0]
		if !x.textual() {
			return nil, wrong(x.at, "this function takes a text, and this is %s", x.kind)
		}
		return &node{kind: Text, at: at, text: func(r *run) string {
			v := x.text(r)
			if !r.spend(letterWork * len(v)) {
				return ""
			}
			return do(v)
		}}, nil
	}
}

func asText(at ast.Node, args []*node) (*node, error) {
	x := args[0]
	if x.kind == List || x.kind == span {
		return nil, wrong(x.at, "%s has no text", x.kind)
	}
	return &node{kind: Text, at: at, text: x.asText}, nil
}

func asNumber(at ast.Node, args []*node) (*node, error) {
	x := args[0]
	switch {
	case x.kind == Number:
		return x, nil
	case !x.textual():
		return nil, wrong(x.at, "number reads a text, and this is %s", x.kind)
	case x.constant != nil:
		if _, ok := parseNumber(strings.TrimSpace(*x.constant)); !ok {
			return nil, wrong(x.at, "%.50q is no plain decimal number", *x.constant)
		}
	}
	return &node{kind: Number, at: at, number: readNumber(x.text)}, nil
}

// roundMax is the most decimals that round may keep.
const roundMax = 20

// rounded rounds half away from zero, as invoices do.
func rounded(at ast.Node, args []*node) (*node, error) {
	x, digits := args[0], args[1]
	if x.kind != Number && x.kind != Any {
		return nil, wrong(x.at, "round takes a number, and this is %s", x.kind)
	}
	places := -1
	if digits.constant != nil && digits.kind == Number {
		if v, err := strconv.Atoi(*digits.constant); err == nil && v <= roundMax {
			places = v
		}
	}
	if places < 0 {
		return nil, wrong(digits.at, "round takes how many decimals to keep, 0 to %d", roundMax)
	}
	decimals := int32(places) //nolint:gosec // at most roundMax
	return &node{
		kind: Number, at: at,
		number: func(r *run) (number, bool) {
			v, ok := x.number(r)
			if !ok {
				return number{}, false
			}
			return v.round(decimals), true
		},
		text: func(r *run) string {
			v, ok := x.number(r)
			if !ok {
				return ""
			}
			return v.round(decimals).decimal().StringFixed(decimals)
		},
	}, nil
}

func asTime(at ast.Node, args []*node) (*node, error) {
	x := args[0]
	switch {
	case x.kind == Time:
		return x, nil
	case !x.textual():
		return nil, wrong(x.at, "date reads a text, and this is %s", x.kind)
	case x.constant == nil:
		return &node{kind: Time, at: at, time: readTime(x.text)}, nil
	}
	value, ok := parseTime(*x.constant)
	if !ok {
		return nil, wrong(x.at, "%.50q is no time; write 2026-03-01, or 2026-03-01T10:00:00Z", *x.constant)
	}
	return &node{kind: Time, at: at, time: func(*run) (time.Time, bool) { return value, true }}, nil
}

func asSpan(at ast.Node, args []*node) (*node, error) {
	x := args[0]
	if x.kind != Text || x.constant == nil {
		return nil, wrong(x.at, "duration takes a text in quotes, such as 3d or 36h")
	}
	value, ok := parseSpan(*x.constant)
	if !ok {
		return nil, wrong(x.at, "%.50q is no duration; write for example 90m, 36h, 3d or 2w", *x.constant)
	}
	return &node{kind: span, at: at, span: func(*run) (time.Duration, bool) { return value, true }}, nil
}

// spanMax is the longest duration: some hundred years.
const spanMax = 100 * 366 * 24 * time.Hour

// parseSpan reads Go's durations, and whole days and weeks of 24 hours before them: 1w2d12h.
func parseSpan(text string) (time.Duration, bool) {
	text = strings.TrimSpace(text)
	var sum time.Duration
	for _, unit := range []struct {
		letter string
		length time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		count, rest, ok := strings.Cut(text, unit.letter)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(count, 10, 16)
		if err != nil {
			return 0, false
		}
		sum += time.Duration(n) * unit.length
		if text = rest; text == "" {
			return sum, sum <= spanMax
		}
	}
	rest, err := time.ParseDuration(text)
	if err != nil || rest < 0 || rest > spanMax {
		return 0, false
	}
	return sum + rest, sum+rest <= spanMax
}

// length is the number of a list's elements, or of a text's characters.
func length(at ast.Node, args []*node) (*node, error) {
	x := args[0]
	switch {
	case x.kind == List:
		return &node{kind: Number, at: at, number: func(r *run) (number, bool) {
			return number{coefficient: int64(len(x.list(r)))}, true
		}}, nil
	case x.textual():
		return &node{kind: Number, at: at, number: func(r *run) (number, bool) {
			v := x.text(r)
			return number{coefficient: int64(strings.Count(v, "") - 1)}, r.spend(len(v))
		}}, nil
	}
	return nil, wrong(x.at, "len takes a text or a list, and this is %s", x.kind)
}

// pattern compiles a matches. Its work is the text's length times the automaton's size, which both are bounded.
func pattern(n *ast.BinaryNode, a, b *node) (*node, error) {
	if !a.textual() {
		return nil, wrong(a.at, "matches looks into texts, and this is %s", a.kind)
	}
	if b.kind != Text || b.constant == nil {
		return nil, wrong(b.at, "matches takes a pattern in quotes")
	}
	text := *b.constant
	if len(text) > patternBytesMax {
		return nil, wrong(b.at, "the pattern is longer than %d bytes", patternBytesMax)
	}
	tree, err := patterns.Parse(text, patterns.Perl)
	if err != nil {
		return nil, wrong(b.at, "the pattern cannot be read: %.100s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	states := size(tree)
	if states > patternStatesMax {
		return nil, wrong(b.at, "the pattern is too large: it repeats too much")
	}
	compiled, err := regexp.Compile(text)
	if err != nil {
		return nil, wrong(b.at, "the pattern cannot be read")
	}
	return &node{kind: truth, at: n, truth: func(r *run) bool {
		v := a.text(r)
		return r.spend(letterWork*len(v)*max(states, 1)) && compiled.MatchString(v)
	}}, nil
}

// size is about how many states a pattern's automaton has, counted before the repetitions are written out.
func size(re *patterns.Regexp) int {
	sum := 1
	if re.Op == patterns.OpLiteral {
		sum = len(re.Rune)
	}
	for _, sub := range re.Sub {
		sum += size(sub)
	}
	if re.Op == patterns.OpRepeat {
		times := re.Max
		if times < 0 {
			times = re.Min + 1
		}
		sum *= max(times, 1)
	}
	return min(sum, 1<<20)
}
