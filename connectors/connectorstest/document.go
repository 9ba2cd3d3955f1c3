package connectorstest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// document is a JSON text that can be written in other ways and with other values.
type document struct{ root any }

// parse reads a JSON object or array; ok is false for any other text.
func parse(text []byte) (d document, ok bool) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&d.root); err != nil || dec.More() {
		return d, false
	}
	switch d.root.(type) {
	case map[string]any, []any:
		return d, true
	}
	return d, false
}

// reordered is the same content with the members of every object from Z to A and more white space.
func (d document) reordered() []byte {
	var w writer
	w.value(d.root)
	return w.out.Bytes()
}

// leaves counts the strings, numbers and truth values.
func (d document) leaves() int {
	w := writer{at: -1}
	w.value(d.root)
	return w.seen
}

// leaf is the path and text of a value.
func (d document) leaf(n int) (path, text string) {
	w := writer{at: n}
	w.value(d.root)
	return w.where, w.old
}

// changed writes the document with leaf n changed into another value of its kind.
func (d document) changed(n int) (path string, text []byte) {
	w := writer{at: n, edit: func(v any) any {
		switch v := v.(type) {
		case json.Number:
			return json.Number(otherText(string(v)))
		case bool:
			return !v
		case string:
			return otherText(v)
		}
		return "now text"
	}}
	w.value(d.root)
	return w.where, w.out.Bytes()
}

// replaced writes the document with leaf n holding text, in quotes where it was a string.
func (d document) replaced(n int, value string) (path string, text []byte) {
	w := writer{at: n, edit: func(v any) any {
		if _, number := v.(json.Number); number {
			return json.Number(value)
		}
		return value
	}}
	w.value(d.root)
	return w.where, w.out.Bytes()
}

// otherText changes one digit, or else one letter, so that amounts, times and ids stay what they are.
func otherText(s string) string {
	b := []byte(s)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] >= '0' && b[i] <= '9' {
			b[i] = '0' + (b[i]-'0'+1)%10
			return string(b)
		}
	}
	return s + "x"
}

// writer writes JSON, counts leaves, and edits one of them.
type writer struct {
	out        bytes.Buffer
	at, seen   int // the leaf to edit; those written so far
	edit       func(any) any
	path       []string
	where, old string
}

func (w *writer) value(v any) {
	switch v := v.(type) {
	case map[string]any:
		w.object(v)
	case []any:
		w.out.WriteString("[ ")
		for i, e := range v {
			if i > 0 {
				w.out.WriteString(" ,\n")
			}
			w.path = append(w.path, strconv.Itoa(i))
			w.value(e)
			w.path = w.path[:len(w.path)-1]
		}
		w.out.WriteString("]")
	default:
		if w.seen == w.at {
			w.where, w.old = strings.Join(w.path, "."), fmt.Sprint(v)
			if w.edit != nil {
				v = w.edit(v)
			}
		}
		w.seen++
		w.scalar(v)
	}
}

func (w *writer) object(v map[string]any) {
	names := make([]string, 0, len(v))
	for name := range v {
		names = append(names, name)
	}
	slices.Sort(names)
	slices.Reverse(names)
	w.out.WriteString("{ ")
	for i, name := range names {
		if i > 0 {
			w.out.WriteString(" ,\n")
		}
		w.scalar(name)
		w.out.WriteString(" : ")
		w.path = append(w.path, name)
		w.value(v[name])
		w.path = w.path[:len(w.path)-1]
	}
	w.out.WriteString("}")
}

// scalar writes what came out of a JSON text, which json.Marshal cannot refuse, or a number with its digits as they are.
func (w *writer) scalar(v any) {
	if n, ok := v.(json.Number); ok {
		w.out.WriteString(string(n))
		return
	}
	enc := json.NewEncoder(&w.out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	w.out.Truncate(w.out.Len() - 1)
}
