// Package expressions evaluates conditions and fills templates that users write, over the values of an event, its order
// and its contact. They have no loops, no access to the host, and limits of size, steps and memory.
package expressions

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
)

// Catalogue says which sources there are, and of which kind. A name that ends with .* stands for every name below it.
type Catalogue map[string]Kind

// Values are what sources hold. An absent one is "" or nil.
type Values interface {
	Text(name string) string
	List(name string) []string
}

// Expression is one checked condition or value. It may be shared.
type Expression struct{ text string }

// String is the expression as written.
func (e *Expression) String() string { return e.text }

// Template is one checked text with {{ source | function }} in it. It may be shared.
type Template struct{ text string }

// String is the template as written.
func (t *Template) String() string { return t.text }
