// Package strictjson reads and writes JSON as every component of Tillstream does: what two readers could understand
// differently is refused, numbers keep their digits, and limits hold.
package strictjson

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits of one text.
const (
	DepthMax  = 64
	KeysMax   = 10_000
	ValuesMax = 100_000
)

// Number is a JSON number as its own digits: turning it into a float would change money.
type Number string

// Parse decodes JSON into nil, bool, Number, string, []any and map[string]any. Unlike encoding/json it refuses
// what two readers could understand differently: a repeated key, invalid UTF-8, a lone surrogate; and it holds the limits.
// The strings share one copy of the text: who keeps a few of them for long clones them.
func Parse(body []byte) (any, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("json: invalid UTF-8")
	}
	s := scanner{text: string(body), members: make([]member, 0, openMembers), items: make([]any, 0, openItems)}
	v, err := s.value(0)
	if err != nil {
		return nil, fmt.Errorf("json at byte %d: %w", s.at, err)
	}
	if s.space(); s.at != len(s.text) {
		return nil, fmt.Errorf("json at byte %d: text after the value", s.at)
	}
	return v, nil
}

// Room for what a usual text holds open at a time, so that it is read without growing.
const (
	openMembers = 64
	openItems   = 32
)

type scanner struct {
	text         string
	at           int
	keys, values int
	// What was read of the objects and arrays that are still open, the innermost last: their size is known when they
	// are made.
	members []member
	items   []any
}

type member struct {
	key   string
	at    int // behind the key
	value any
}

var errCut = errors.New("unexpected end")

func (s *scanner) space() {
	for s.at < len(s.text) {
		if c := s.text[s.at]; c > ' ' || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return
		}
		s.at++
	}
}

// peek skips white space and returns the next byte, 0 at the end (a NUL byte is refused as a value either way).
func (s *scanner) peek() byte {
	s.space()
	if s.at == len(s.text) {
		return 0
	}
	return s.text[s.at]
}

func (s *scanner) value(depth int) (any, error) {
	if s.values++; s.values > ValuesMax {
		return nil, fmt.Errorf("more than %d values", ValuesMax)
	}
	switch c := s.peek(); {
	case c == '{' || c == '[':
		if depth == DepthMax {
			return nil, fmt.Errorf("nested deeper than %d", DepthMax)
		}
		s.at++
		if c == '{' {
			return s.object(depth + 1)
		}
		return s.array(depth + 1)
	case c == '"':
		s.at++
		return s.str()
	case c == 't':
		return true, s.word("true")
	case c == 'f':
		return false, s.word("false")
	case c == 'n':
		return nil, s.word("null")
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	case s.at == len(s.text):
		return nil, errCut
	default:
		return nil, fmt.Errorf("unexpected %q", c)
	}
}

func (s *scanner) word(w string) error {
	if len(s.text)-s.at < len(w) || s.text[s.at:s.at+len(w)] != w {
		return fmt.Errorf("expected %s", w)
	}
	s.at += len(w)
	return nil
}

func (s *scanner) object(depth int) (any, error) {
	first := len(s.members)
	if s.peek() == '}' {
		s.at++
		return map[string]any{}, nil
	}
	for {
		if s.peek() != '"' {
			return nil, errors.New("expected a key")
		}
		s.at++
		key, err := s.str()
		if err != nil {
			return nil, err
		}
		if s.keys++; s.keys > KeysMax {
			return nil, fmt.Errorf("more than %d keys", KeysMax)
		}
		behind := s.at
		if s.peek() != ':' {
			return nil, errors.New("expected a colon")
		}
		s.at++
		v, err := s.value(depth)
		if err != nil {
			return nil, err
		}
		s.members = append(s.members, member{key, behind, v})
		switch s.peek() {
		case ',':
			s.at++
		case '}':
			s.at++
			return s.close(first)
		default:
			return nil, errors.New("expected , or }")
		}
	}
}

// close makes the object of the members from first on.
func (s *scanner) close(first int) (any, error) {
	read := s.members[first:]
	m := make(map[string]any, len(read))
	for i := range read {
		if m[read[i].key] = read[i].value; len(m) != i+1 {
			s.at = read[i].at
			return nil, fmt.Errorf("key %.60q repeated", read[i].key)
		}
	}
	s.members = s.members[:first]
	return m, nil
}

func (s *scanner) array(depth int) (any, error) {
	first := len(s.items)
	if s.peek() == ']' {
		s.at++
		return []any{}, nil
	}
	for {
		v, err := s.value(depth)
		if err != nil {
			return nil, err
		}
		s.items = append(s.items, v)
		switch s.peek() {
		case ',':
			s.at++
		case ']':
			s.at++
			list := append(make([]any, 0, len(s.items)-first), s.items[first:]...)
			s.items = s.items[:first]
			return list, nil
		default:
			return nil, errors.New("expected , or ]")
		}
	}
}

// plainText are the bytes that stand for themselves in a string.
var plainText = func() (t [256]bool) {
	for c := ' '; c < 256; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// str reads the rest of a string whose opening quote was read.
func (s *scanner) str() (string, error) {
	start, at := s.at, s.at
	for at < len(s.text) && plainText[s.text[at]] {
		at++
	}
	if s.at = at; at == len(s.text) {
		return "", errCut
	}
	switch s.text[at] {
	case '"':
		s.at++
		return s.text[start:at], nil
	case '\\':
		return s.escaped(append(make([]byte, 0, 2*(at-start)+16), s.text[start:at]...))
	}
	return "", errors.New("control character in a string")
}

var simpleEscapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (s *scanner) escaped(out []byte) (string, error) {
	for s.at < len(s.text) {
		c := s.text[s.at]
		s.at++
		switch {
		case c == '"':
			return string(out), nil
		case c < 0x20:
			return "", errors.New("control character in a string")
		case c != '\\':
			out = append(out, c)
			continue
		}
		if s.at == len(s.text) {
			break
		}
		e := s.text[s.at]
		s.at++
		if plain, ok := simpleEscapes[e]; ok {
			out = append(out, plain)
			continue
		}
		if e != 'u' {
			return "", fmt.Errorf("unknown escape \\%c", e)
		}
		r, err := s.unicode()
		if err != nil {
			return "", err
		}
		out = utf8.AppendRune(out, r)
	}
	return "", errCut
}

// unicode reads the four digits after \u, and the second half of a pair.
func (s *scanner) unicode() (rune, error) {
	r, err := s.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if s.at+2 <= len(s.text) && s.text[s.at] == '\\' && s.text[s.at+1] == 'u' {
		s.at += 2
		low, err := s.hex4()
		if err != nil {
			return 0, err
		}
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, nil
		}
	}
	return 0, errors.New("lone surrogate")
}

func (s *scanner) hex4() (rune, error) {
	if len(s.text)-s.at < 4 {
		return 0, errCut
	}
	n := rune(0)
	for _, c := range s.text[s.at : s.at+4] {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			n = n<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, errors.New("bad \\u escape")
		}
	}
	s.at += 4
	return n, nil
}

func (s *scanner) number() (any, error) {
	start := s.at
	if s.text[s.at] == '-' {
		s.at++
	}
	if s.at < len(s.text) && s.text[s.at] == '0' {
		s.at++
	} else if s.digits() == 0 {
		return nil, errors.New("bad number")
	}
	if s.at < len(s.text) && s.text[s.at] == '.' {
		s.at++
		if s.digits() == 0 {
			return nil, errors.New("bad number")
		}
	}
	if s.at < len(s.text) && s.text[s.at]|0x20 == 'e' {
		s.at++
		if s.at < len(s.text) && (s.text[s.at] == '+' || s.text[s.at] == '-') {
			s.at++
		}
		if s.digits() == 0 {
			return nil, errors.New("bad number")
		}
	}
	return Number(s.text[start:s.at]), nil
}

func (s *scanner) digits() int {
	start := s.at
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		s.at++
	}
	return s.at - start
}

// AppendCanonical appends v, as Parse returns it, with sorted keys, no white space and one way of escaping, so that equal content gives equal bytes.
func AppendCanonical(to []byte, v any) []byte {
	w := canonical{out: to, keys: make([]string, 0, openMembers)}
	w.value(v)
	return w.out
}

// canonical writes; keys are those of the objects that are still open, the innermost last.
type canonical struct {
	out  []byte
	keys []string
}

func (w *canonical) value(v any) {
	switch v := v.(type) {
	case nil:
		w.out = append(w.out, "null"...)
	case bool:
		w.out = strconv.AppendBool(w.out, v)
	case Number:
		w.out = append(w.out, v...)
	case string:
		w.text(v)
	case []any:
		w.out = append(w.out, '[')
		for i, e := range v {
			if i > 0 {
				w.out = append(w.out, ',')
			}
			w.value(e)
		}
		w.out = append(w.out, ']')
	case map[string]any:
		w.object(v)
	default:
		panic(fmt.Sprintf("canonical json of %T", v))
	}
}

func (w *canonical) object(m map[string]any) {
	first := len(w.keys)
	for k := range m {
		w.keys = append(w.keys, k)
	}
	last := len(w.keys)
	slices.Sort(w.keys[first:])
	w.out = append(w.out, '{')
	for i := first; i < last; i++ {
		if i > first {
			w.out = append(w.out, ',')
		}
		k := w.keys[i]
		w.text(k)
		w.out = append(w.out, ':')
		w.value(m[k])
	}
	w.out = append(w.out, '}')
	w.keys = w.keys[:first]
}

func (w *canonical) text(s string) {
	w.out = append(w.out, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if plainText[c] {
			continue
		}
		w.out = append(w.out, s[from:i]...)
		from = i + 1
		if c == '"' || c == '\\' {
			w.out = append(w.out, '\\', c)
		} else {
			w.out = fmt.Appendf(w.out, "\\u%04x", c)
		}
	}
	w.out = append(append(w.out, s[from:]...), '"')
}
