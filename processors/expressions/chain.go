package expressions

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Chain is a row of functions, each of which takes what the one before it made: "trim | lower | hash". It is what
// mapping rules and templates have in common. It may be shared.
type Chain struct{ steps []step }

// step is one function with its arguments.
type step struct {
	name string
	from []Kind // what it takes; none: all
	to   Kind   // what it gives; zero: what it took
	// absent lets it run where there is no value.
	absent bool
	needs  []string // further sources
	run    func(value string, v Values) (result, reason string)
}

func (s *step) takes(kind Kind) bool {
	return len(s.from) == 0 || kind == Any || slices.Contains(s.from, kind)
}

// A ChainError says what is wrong with a row of functions, and what to do.
type ChainError struct{ Message, Hint string }

// Error implements error.
func (e *ChainError) Error() string { return e.Message + "; " + e.Hint }

// builder makes a step from its arguments. table is for lookup.
type builder func(args []string, table map[string]string) (step, *ChainError)

var builders = map[string]builder{
	"text":    plain("text", Text, func(v string) string { return v }),
	"trim":    plain("trim", 0, strings.TrimSpace),
	"lower":   plain("lower", Text, strings.ToLower),
	"upper":   plain("upper", Text, strings.ToUpper),
	"digits":  plain("digits", Text, digits),
	"hash":    plain("hash", Text, hash),
	"name":    buildName,
	"date":    buildDate,
	"money":   buildMoney,
	"number":  buildNumber,
	"phone":   buildPhone,
	"country": buildCountry,
	"default": buildDefault,
	lookup:    buildLookup,
}

const (
	lookup   = "lookup"
	stepsMax = 20
)

// Functions lists the names that a chain may hold, sorted.
func Functions() []string { return slices.Sorted(maps.Keys(builders)) }

// TemplateFunctions lists those that a template may hold: all but lookup, whose table has no place there.
func TemplateFunctions() []string {
	return slices.DeleteFunc(Functions(), func(name string) bool { return name == lookup })
}

// ParseChain checks functions with their arguments, joined by |. An argument with spaces or | stands in quotes. An
// empty text is an empty chain. table is for lookup, and nil where there is none. The error is a *ChainError.
func ParseChain(text string, table map[string]string) (*Chain, error) {
	if strings.TrimSpace(text) == "" {
		return &Chain{}, nil
	}
	c := &Chain{}
	for _, part := range splitOutside(text, '|') {
		words, ok := wordsOf(part)
		if !ok {
			return nil, &ChainError{"a quote is not closed", "close it, or write the argument without quotes"}
		}
		if len(words) == 0 {
			return nil, &ChainError{"a function is missing beside |", "write for example: trim | lower"}
		}
		if len(c.steps) == stepsMax {
			return nil, &ChainError{fmt.Sprintf("there are more than %d functions", stepsMax), "a value needs a few only"}
		}
		build, ok := builders[words[0]]
		if !ok {
			return nil, &ChainError{fmt.Sprintf("%.60q is no known function", words[0]), chainHint(words[0])}
		}
		s, err := build(words[1:], table)
		if err != nil {
			return nil, err
		}
		c.steps = append(c.steps, s)
	}
	return c, nil
}

func chainHint(name string) string {
	if near := hint(name, Functions()); strings.HasPrefix(near, "did you") {
		return near
	}
	return "the functions are " + strings.Join(Functions(), ", ")
}

// Fits follows the kinds along the chain. Where a function makes no sense of what comes to it, it is named, with that
// kind, and ok is false; else result is the kind of the chain's values.
func (c *Chain) Fits(from Kind) (result Kind, function string, ok bool) {
	kind := from
	for i := range c.steps {
		s := &c.steps[i]
		if !s.takes(kind) {
			return kind, s.name, false
		}
		if s.to != 0 {
			kind = s.to
		}
	}
	return kind, "", true
}

// Needs are the sources that the functions read beside the value, such as an amount's currency.
func (c *Chain) Needs() []string {
	var names []string
	for i := range c.steps {
		names = append(names, c.steps[i].needs...)
	}
	return names
}

// Run makes the value. An absent one ("") stays absent, but for default. reason says why a present one is no use, and
// holds nothing of it; the result is then what default gives, or "".
func (c *Chain) Run(value string, v Values) (result, reason string) {
	for i := range c.steps {
		s := &c.steps[i]
		if value == "" && !s.absent {
			continue
		}
		made, why := s.run(value, v)
		if why != "" && reason == "" {
			reason = why
		}
		value = made
	}
	return value, reason
}

// splitOutside splits at separators that stand outside quotes.
func splitOutside(text string, separator byte) []string {
	var parts []string
	from := 0
	var quote byte
	for i := range len(text) {
		switch c := text[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case opens(text, i):
			quote = c
		case c == separator:
			parts = append(parts, text[from:i])
			from = i + 1
		}
	}
	return append(parts, text[from:])
}

// opens reports whether a quote begins at i: one inside a word, as in O'Neil, does not.
func opens(text string, i int) bool {
	return (text[i] == '"' || text[i] == '\'') && (i == 0 || strings.IndexByte(" \t\r\n|", text[i-1]) >= 0)
}

// wordsOf splits at spaces outside quotes and takes the quotes off; ok is false where one is not closed.
func wordsOf(text string) (words []string, ok bool) {
	for i := 0; i < len(text); {
		if strings.IndexByte(" \t\r\n", text[i]) >= 0 {
			i++
			continue
		}
		if opens(text, i) {
			end := strings.IndexByte(text[i+1:], text[i])
			if end < 0 {
				return nil, false
			}
			words = append(words, text[i+1:i+1+end])
			i += end + 2
			continue
		}
		end := strings.IndexAny(text[i:], " \t\r\n")
		if end < 0 {
			end = len(text) - i
		}
		words = append(words, text[i:i+end])
		i += end
	}
	return words, true
}
