package expressions

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Escape says what values are made safe for. The template's own text is never changed.
type Escape int

// The escapes.
const (
	Plain Escape = iota
	HTML         // text and attribute values in quotes
	JSON         // inside a JSON string
	URL          // one value of a query
)

func (e Escape) apply(v string) string {
	switch e {
	case HTML:
		return html.EscapeString(v)
	case JSON:
		b, err := json.Marshal(v)
		if err != nil || len(b) < 2 {
			return ""
		}
		return string(b[1 : len(b)-1])
	case URL:
		return url.QueryEscape(v)
	}
	return v
}

// Template is one checked text with {{ source | function }} in it. It may be shared.
type Template struct {
	text    string
	parts   []part
	escape  Escape
	sources []string
}

// part is a text, or a placeholder where name is set.
type part struct {
	text  string // also of a placeholder: {{ "{{" }} writes a constant
	name  string
	list  bool
	chain *Chain
}

// String is the template as written.
func (t *Template) String() string { return t.text }

// Sources are the names that it reads, with those that its functions read, sorted. The slice must not be changed.
func (t *Template) Sources() []string { return t.sources }

// Constant reports whether the template is always the same text.
func (t *Template) Constant() bool { return len(t.sources) == 0 }

const (
	valueBytesMax = 16 << 10 // of one value in a template

	opening = "{{"
	closing = "}}"
)

// CompileTemplate checks a text with placeholders: {{ order.amount | money }}, {{ payer.given_name | default "friend" }}.
// The error is one line with the place and what is wrong there.
func CompileTemplate(text string, c Catalogue, e Escape) (*Template, error) {
	if len(text) > TemplateBytesMax {
		return nil, fmt.Errorf("a template of %d bytes is longer than the %d that one may have", len(text), TemplateBytesMax)
	}
	if !utf8.ValidString(text) {
		return nil, errors.New("the template is no valid UTF-8")
	}
	t := &Template{text: text, escape: e}
	placeholders := 0
	for rest := text; rest != ""; {
		before, behind, found := strings.Cut(rest, opening)
		if before != "" {
			t.parts = append(t.parts, part{text: before})
		}
		if !found {
			break
		}
		at := utf8.RuneCountInString(text[:len(text)-len(behind)-len(opening)])
		inner, after, ok := untilClosing(behind)
		if !ok {
			return nil, fmt.Errorf("%s: the {{ is not closed; write }} behind it", place(text, at))
		}
		if placeholders++; placeholders > placeholdersMax {
			return nil, fmt.Errorf("%s: there are more than %d placeholders", place(text, at), placeholdersMax)
		}
		p, err := t.placeholder(inner, c)
		if err != nil {
			return nil, fmt.Errorf("%s: %s", place(text, at), oneLine(err.Error()))
		}
		t.parts = append(t.parts, p)
		rest = after
	}
	slices.Sort(t.sources)
	t.sources = slices.Compact(t.sources)
	return t, nil
}

// untilClosing cuts at the first }} outside quotes.
func untilClosing(text string) (inner, rest string, ok bool) {
	var quote byte
	for i := range len(text) {
		switch c := text[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case opens(text, i):
			quote = c
		case strings.HasPrefix(text[i:], closing):
			return text[:i], text[i+len(closing):], true
		}
	}
	return "", "", false
}

func (t *Template) placeholder(inner string, c Catalogue) (part, error) {
	head, functions := strings.TrimSpace(inner), ""
	if pieces := splitOutside(inner, '|'); len(pieces) > 1 {
		head = strings.TrimSpace(pieces[0])
		functions = inner[len(pieces[0])+1:]
		if strings.TrimSpace(functions) == "" {
			return part{}, errors.New("a function is missing behind |; write for example: trim | lower")
		}
	}
	if head == "" {
		return part{}, errors.New("the placeholder is empty; write for example {{ order.amount | money }}")
	}
	chain, err := ParseChain(functions, nil)
	if err != nil {
		return part{}, err
	}
	if words, ok := wordsOf(head); ok && len(words) == 1 && opens(head, 0) {
		if functions != "" {
			return part{}, errors.New("a text in quotes takes no functions; write it as it is to be")
		}
		return part{text: words[0]}, nil
	}
	kind, known := c.Kind(head)
	if !known {
		return part{}, fmt.Errorf("%.100s is no known name; %s", head, nearest(head, c))
	}
	if len(chain.steps) > 0 {
		from := kind
		if kind == List {
			from = Text // its elements with commas between them
		}
		if got, function, ok := chain.Fits(from); !ok {
			return part{}, fmt.Errorf("%s makes no sense of %s, which is %s", function, head, got)
		}
	}
	t.sources = append(t.sources, head)
	t.sources = append(t.sources, chain.Needs()...)
	return part{name: head, list: kind == List, chain: chain}, nil
}

// Fill writes the template with v. An absent value is an empty text; issues name the sources whose values a function
// could not use, and why, and hold no value. A template without placeholders allocates nothing.
func (t *Template) Fill(v Values) (text string, issues []string) {
	text, _, issues = t.FillAll(v)
	return text, issues
}

// FillAll is Fill; whole is false where a placeholder came out empty, so that the text has a hole.
func (t *Template) FillAll(v Values) (text string, whole bool, issues []string) {
	switch {
	case len(t.parts) == 0:
		return "", true, nil
	case len(t.parts) == 1 && t.parts[0].name == "":
		return t.parts[0].text, true, nil
	case len(t.parts) == 1:
		value := t.value(&t.parts[0], v, &issues)
		return t.escape.apply(value), value != "", issues
	}
	var b strings.Builder
	whole = true
	for i := range t.parts {
		p := &t.parts[i]
		if p.name == "" {
			b.WriteString(p.text)
			continue
		}
		value := t.value(p, v, &issues)
		whole = whole && value != ""
		b.WriteString(t.escape.apply(value))
	}
	return b.String(), whole, issues
}

const listSeparator = ", "

func (t *Template) value(p *part, v Values, issues *[]string) string {
	var value string
	if p.list {
		value = strings.Join(v.List(p.name), listSeparator)
	} else {
		value = v.Text(p.name)
	}
	value, reason := p.chain.Run(value, v)
	if len(value) > valueBytesMax {
		value, reason = "", "the value is too long for a template"
	}
	if reason != "" {
		*issues = append(*issues, p.name+": "+reason)
	}
	return value
}
