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
func Parse(body []byte) (any, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("json: invalid UTF-8")
	}
	s := scanner{text: body}
	v, err := s.value(0)
	if err != nil {
		return nil, fmt.Errorf("json at byte %d: %w", s.at, err)
	}
	if s.space(); s.at != len(body) {
		return nil, fmt.Errorf("json at byte %d: text after the value", s.at)
	}
	return v, nil
}

type scanner struct {
	text         []byte
	at           int
	keys, values int
}

var errCut = errors.New("unexpected end")

func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
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
	if len(s.text)-s.at < len(w) || string(s.text[s.at:s.at+len(w)]) != w {
		return fmt.Errorf("expected %s", w)
	}
	s.at += len(w)
	return nil
}

func (s *scanner) object(depth int) (any, error) {
	m := map[string]any{}
	if s.peek() == '}' {
		s.at++
		return m, nil
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
		if _, twice := m[key]; twice {
			return nil, fmt.Errorf("key %.60q repeated", key)
		}
		if s.peek() != ':' {
			return nil, errors.New("expected a colon")
		}
		s.at++
		if m[key], err = s.value(depth); err != nil {
			return nil, err
		}
		switch s.peek() {
		case ',':
			s.at++
		case '}':
			s.at++
			return m, nil
		default:
			return nil, errors.New("expected , or }")
		}
	}
}

func (s *scanner) array(depth int) (any, error) {
	list := []any{}
	if s.peek() == ']' {
		s.at++
		return list, nil
	}
	for {
		v, err := s.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		switch s.peek() {
		case ',':
			s.at++
		case ']':
			s.at++
			return list, nil
		default:
			return nil, errors.New("expected , or ]")
		}
	}
}

// str reads the rest of a string whose opening quote was read.
func (s *scanner) str() (string, error) {
	start := s.at
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return string(s.text[start : s.at-1]), nil
		case c == '\\':
			return s.escaped(append([]byte(nil), s.text[start:s.at]...))
		case c < 0x20:
			return "", errors.New("control character in a string")
		}
		s.at++
	}
	return "", errCut
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
	switch v := v.(type) {
	case nil:
		return append(to, "null"...)
	case bool:
		return strconv.AppendBool(to, v)
	case Number:
		return append(to, v...)
	case string:
		return appendString(to, v)
	case []any:
		to = append(to, '[')
		for i, e := range v {
			if i > 0 {
				to = append(to, ',')
			}
			to = AppendCanonical(to, e)
		}
		return append(to, ']')
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		to = append(to, '{')
		for i, k := range keys {
			if i > 0 {
				to = append(to, ',')
			}
			to = append(appendString(to, k), ':')
			to = AppendCanonical(to, v[k])
		}
		return append(to, '}')
	}
	panic(fmt.Sprintf("canonical json of %T", v))
}

func appendString(to []byte, s string) []byte {
	to = append(to, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			to = append(to, '\\', c)
		case c < 0x20:
			to = fmt.Appendf(to, "\\u%04x", c)
		default:
			to = append(to, c)
		}
	}
	return append(to, '"')
}
