package intake

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// InputBytesMax bounds an input that is read as a whole. Longer ones come as lines.
const InputBytesMax = 64 << 20

var reasonLine = []byte(`{"` + OwnColumns + `line":`)

var byteOrderMark = []byte("\xef\xbb\xbf")

// Lines reads one JSON record a line, of an input of any length. Left out are empty lines, and those with the reason that
// a file of rejected records has before each. headers, where it is given,
// says for a body what goes with it.
type Lines struct {
	in      *bufio.Reader
	line    int
	headers func(body []byte) map[string]string
}

// NewLines reads r.
func NewLines(r io.Reader, headers func(body []byte) map[string]string) *Lines {
	return &Lines{in: bufio.NewReaderSize(r, 64<<10), headers: headers}
}

// Read implements Reader.
func (l *Lines) Read() (Item, error) {
	for {
		text, long, err := l.next()
		if err != nil && (len(text) == 0 || !errors.Is(err, io.EOF)) {
			return Item{}, err
		}
		l.line++
		if l.line == 1 {
			text = bytes.TrimPrefix(text, byteOrderMark)
		}
		text = bytes.TrimSpace(text)
		switch {
		case long:
			return Item{Line: l.line, Raw: text, Err: fmt.Errorf("longer than %d bytes", BodyBytesMax)}, nil
		case len(text) > 0 && !bytes.HasPrefix(text, reasonLine):
			return item(l.line, text, l.headers), nil
		case err != nil:
			return Item{}, err
		}
	}
}

// next is the next line; of one that is too long, its beginning.
func (l *Lines) next() (text []byte, long bool, err error) {
	for {
		part, err := l.in.ReadSlice('\n')
		if room := BodyBytesMax + 2 - len(text); len(part) > room { // a line end is no part of the body
			text, long = append(text, part[:room]...), true
		} else {
			text = append(text, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return text, long, err
		}
	}
}

func item(line int, body []byte, headers func([]byte) map[string]string) Item {
	i := Item{Line: line, Raw: body, Body: body}
	if headers != nil {
		i.Headers = headers(body)
	}
	return i
}

// Items are records that were read as a whole.
type Items struct{ list []Item }

// Len is how many are left.
func (s *Items) Len() int { return len(s.list) }

// Read implements Reader.
func (s *Items) Read() (Item, error) {
	if len(s.list) == 0 {
		return Item{}, io.EOF
	}
	first := s.list[0]
	s.list = s.list[1:]
	return first, nil
}

// ReadJSON reads one object, an array, or a record a line, at most InputBytesMax. The error says what the input is not.
func ReadJSON(r io.Reader, headers func(body []byte) map[string]string) (*Items, error) {
	text, err := io.ReadAll(io.LimitReader(r, InputBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("read the input: %w", err)
	}
	if len(text) > InputBytesMax {
		return nil, fmt.Errorf("the input is longer than %d bytes; split it, or import it", InputBytesMax)
	}
	text = bytes.TrimPrefix(text, byteOrderMark)
	whole := bytes.TrimSpace(text)
	if len(whole) == 0 {
		return nil, errors.New("the input is empty")
	}
	if whole[0] == '[' {
		return readArray(text, headers)
	}
	first, _, more := bytes.Cut(whole, []byte("\n"))
	if more && json.Valid(first) || !json.Valid(whole) && !spansLines(whole) {
		out := &Items{}
		for lines := NewLines(bytes.NewReader(text), headers); ; {
			i, err := lines.Read()
			if errors.Is(err, io.EOF) {
				return out, nil
			}
			if err != nil {
				return nil, err
			}
			out.list = append(out.list, i)
		}
	}
	line := 1 + bytes.Count(text[:bytes.Index(text, whole)], []byte("\n"))
	return &Items{[]Item{item(line, whole, headers)}}, nil
}

// spansLines guesses of an input that is not valid whether it was meant as one object over several lines: its first line
// then is hardly more than a brace.
func spansLines(text []byte) bool {
	first, _, more := bytes.Cut(text, []byte("\n"))
	return more && len(bytes.TrimSpace(first)) <= 1
}

func readArray(text []byte, headers func([]byte) map[string]string) (*Items, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("the array: %w", err)
	}
	out := &Items{}
	line, counted := 1, 0
	for dec.More() {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			at := int(dec.InputOffset())
			if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
				at = min(max(at, int(syntax.Offset)), len(text))
			}
			return nil, fmt.Errorf("line %d: the array cannot be read: %w", line+bytes.Count(text[counted:at], []byte("\n")), err)
		}
		start := int(dec.InputOffset()) - len(raw)
		line += bytes.Count(text[counted:start], []byte("\n"))
		counted = start
		out.list = append(out.list, item(line, raw, headers))
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("the array has no end: %w", err)
	}
	if rest := bytes.TrimSpace(text[dec.InputOffset():]); len(rest) > 0 {
		return nil, errors.New("there is text after the array")
	}
	return out, nil
}
