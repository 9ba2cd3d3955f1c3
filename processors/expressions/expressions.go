// Package expressions evaluates conditions and fills templates that users write, over the values of an event, its order
// and its contact. They have no loops, no access to the host, and limits of size, steps and memory.
//
// The syntax is that of github.com/expr-lang/expr, whose parser reads it. What a text may use of that language is
// listed here and nothing else is: everything is checked against the catalogue and turned into typed functions when it
// is compiled, so an evaluation visits each part at most once.
//
//	&& || !              also and, or, not
//	== != < <= > >=      of numbers, times and spans; texts have no order, only == and !=
//	in, not in           a text in a list, a value in ["EUR", "USD"]
//	contains, startsWith, endsWith, matches    of texts; matches takes an RE2 pattern in quotes
//	+ - * /              of numbers; time - time, time + duration("3d"); text + text joins
//	a ?? b               b where a is absent
//	c ? a : b
//	lower upper trim text number round date duration len
//
// Numbers are exact decimals, never binary fractions. Names are dotted (order.amount, order.items.1.name); what is no
// plain word goes into brackets: contact.fields["VIP since"].
//
// An absent value, and one that is no number or no time where one is needed, has these rules: it equals "", a number or
// time that is absent makes every comparison false (!= too), an absent text is the empty text, a computation with an
// absent part is absent, a division by zero is absent.
package expressions

import (
	"fmt"
	"slices"
	"strings"
)

// Limits of what a user may write and of what its evaluation may do.
const (
	TextBytesMax     = 4 << 10  // of one expression
	TemplateBytesMax = 64 << 10 // of one template
	placeholdersMax  = 200      // of one template
	nameBytesMax     = 256      // of one source
	nodesMax         = 500      // parts of one expression
	depthMax         = 64       // parts within each other
	resultBytesMax   = 64 << 10 // of a text that an evaluation makes
	workMax          = 1 << 20  // bytes of text that one evaluation may look at
	patternBytesMax  = 200      // of matches
	patternStatesMax = 200      // of its automaton
	numberBitsMax    = 1024     // of a computed number
	numberScaleMax   = 300      // decimals of a computed number
	quotientDecimals = 20       // decimals of a division that does not end
)

// Kind is the type of a source.
type Kind int

// The kinds of source. Any is a provider's own field, of which only the text is known: it compares as what it is
// compared with.
const (
	Text Kind = iota + 1
	Number
	Time
	List
	Any
	// Date and Phone are kinds of results only: a day without a time, and a phone number.
	Date
	Phone

	truth // a condition's result
	span  // a duration
)

// String is the kind in the words of an error.
func (k Kind) String() string {
	switch k {
	case Text:
		return "text"
	case Number:
		return "a number"
	case Time:
		return "a time"
	case List:
		return "a list"
	case Any:
		return "of any type"
	case Date:
		return "a date"
	case Phone:
		return "a phone number"
	case truth:
		return "a condition"
	case span:
		return "a duration"
	}
	return fmt.Sprintf("kind %d", int(k))
}

// Catalogue says which sources there are, and of which kind. A name that ends with * stands for every name that goes on
// from there: contact.fields.*
type Catalogue map[string]Kind

// Kind finds a name; false: there is none.
func (c Catalogue) Kind(name string) (Kind, bool) {
	if kind, ok := c[name]; ok && !strings.HasSuffix(name, "*") {
		return kind, true
	}
	if len(name) > nameBytesMax {
		return 0, false
	}
	for i := len(name) - 1; i >= 0; i-- {
		if kind, ok := c[name[:i]+"*"]; ok {
			return kind, true
		}
	}
	return 0, false
}

func (c Catalogue) names() []string {
	names := make([]string, 0, len(c))
	for name := range c {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Values are what sources hold. An absent one is "" or nil. Numbers are plain decimals ("10.50"), times RFC 3339.
type Values interface {
	Text(name string) string
	List(name string) []string
}

// Expression is one checked condition or value. It may be shared.
type Expression struct {
	text    string
	root    *node
	sources []string
}

// String is the expression as written.
func (e *Expression) String() string { return e.text }

// Sources are the names that it reads, sorted. The slice must not be changed.
func (e *Expression) Sources() []string { return e.sources }

// Kind is what Value gives: Text (of conditions, too), Number, Time or Any.
func (e *Expression) Kind() Kind {
	if e.root.kind == truth {
		return Text
	}
	return e.root.kind
}

// Compile checks a condition: an expression that holds or does not. The error is one line with the column, what is
// wrong, and the nearest name where one is unknown.
func Compile(text string, c Catalogue) (*Expression, error) {
	e, err := compile(text, c)
	if err != nil {
		return nil, err
	}
	if e.root.kind != truth {
		return nil, fmt.Errorf("column 1: %s is no condition; compare it, for example with == or >", e.root.kind)
	}
	return e, nil
}

// CompileValue checks an expression that gives a text, a number, a time, or true or false.
func CompileValue(text string, c Catalogue) (*Expression, error) {
	e, err := compile(text, c)
	if err != nil {
		return nil, err
	}
	switch e.root.kind {
	case List:
		return nil, fmt.Errorf("column 1: a list is no value; write for example len(contact.tags)")
	case span:
		return nil, fmt.Errorf("column 1: a duration is no value; compare it, or add it to a time")
	}
	return e, nil
}

// Holds evaluates a condition. The error says that it took more than the limits allow; it holds none of the values.
func (e *Expression) Holds(v Values) (holds bool, err error) {
	defer recovered(&err)
	r := run{values: v}
	holds = e.root.truth(&r)
	if r.err != nil {
		return false, r.err
	}
	return holds, nil
}

// Value evaluates to a text: of a number the exact decimal, of a time RFC 3339, of a condition true or false. It is ""
// where the value is absent. The error is that of Holds.
func (e *Expression) Value(v Values) (value string, err error) {
	defer recovered(&err)
	r := run{values: v}
	value = e.root.asText(&r)
	if r.err != nil {
		return "", r.err
	}
	return value, nil
}

// recovered turns a panic of the library, or of ours, into an error: one rule must not stop a partition.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the expression could not be evaluated: %.100v", p)
	}
}
