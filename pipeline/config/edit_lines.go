package config

import (
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// lineOf is the line of a node, from 0.
func lineOf(n ast.Node) int { return n.GetToken().Position.Line - 1 }

func lineOfToken(s *ast.SequenceNode) int { return s.Entries[0].Start.Position.Line - 1 }

// byteColumn is where the column (in characters, from 0) of a line begins; -1: behind its end.
func byteColumn(line string, column int) int {
	i := 0
	for range column {
		if i >= len(line) {
			return -1
		}
		_, size := utf8.DecodeRuneInString(line[i:])
		i += size
	}
	return i
}

// indentOf is how far a line is indented; -1: it is empty.
func indentOf(line string) int {
	text := strings.TrimRight(line, " \t\r\n")
	if text == "" {
		return -1
	}
	return len(text) - len(strings.TrimLeft(text, " "))
}

func isComment(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, " \t"), "#") }

// trimmed is the line behind an entry that begins at from and ends before limit: blank lines and comments at its end that are
// not indented deeper than it belong to what follows.
func (e *editor) trimmed(from, limit, column int) int {
	for limit > from+1 {
		line := e.lines[limit-1]
		if in := indentOf(line); in >= 0 && !(isComment(line) && in <= column) {
			break
		}
		limit--
	}
	return limit
}

// above is the first line of the comment that stands directly above a line, at the same indentation; the line itself where
// there is none.
func (e *editor) above(line, column int) int {
	for line > 0 && isComment(e.lines[line-1]) && indentOf(e.lines[line-1]) == column && !e.claimed(line-1) {
		line--
	}
	return line
}

// claimed reports that a line is the first of the file's, whose comment is about the file.
func (e *editor) claimed(line int) bool {
	for i := range line {
		if indentOf(e.lines[i]) >= 0 && !isComment(e.lines[i]) {
			return false
		}
	}
	return true
}

// shares reports that something else stands in front of a column of a line.
func (e *editor) shares(line, column int) bool { return indentOf(e.lines[line]) != column }

// dashed reports that nothing but dashes stands in front of a column of a line.
func (e *editor) dashed(line, column int) bool {
	text := e.lines[line]
	return column <= len(text) && strings.Trim(text[:column], " -") == ""
}

// sequence brings a block sequence from base to want. end is the line behind it.
func (e *editor) sequence(s *ast.SequenceNode, base, want []any, end int) error {
	column := s.Entries[0].Start.Position.Column - 1
	starts, ends := make([]int, len(base)), make([]int, len(base))
	for i, entry := range s.Entries {
		starts[i] = entry.Start.Position.Line - 1
		if e.shares(starts[i], column) {
			return ErrEditText // a list within a list, on one line
		}
	}
	for i := range starts {
		next := end
		if i+1 < len(starts) {
			next = starts[i+1]
		}
		ends[i] = e.trimmed(starts[i], next, column)
	}
	pairs := paired(base, want)
	at := e.above(starts[0], column) // behind which the next new item goes
	if pairs[0] == 0 {
		at = starts[0]
	}
	used := map[int]bool{}
	for _, i := range pairs {
		used[i] = i >= 0
	}
	for j, i := range pairs {
		if i < 0 {
			text, err := e.item(s, base, want[j], used, starts, ends)
			if err != nil {
				return err
			}
			e.replace(at, at, text)
			continue
		}
		if err := e.itemValue(s.Values[i], base[i], want[j], starts[i], ends[i], column); err != nil {
			return err
		}
		at = ends[i]
	}
	for i := range base {
		if !used[i] {
			e.replace(e.above(starts[i], column), ends[i], "")
		}
	}
	return nil
}

// item is the text of a new item: that of one which is only moved, with the comment above it.
func (e *editor) item(s *ast.SequenceNode, base []any, want any, used map[int]bool, starts, ends []int) (string, error) {
	column := s.Entries[0].Start.Position.Column - 1
	for i := range base {
		if !used[i] && reflect.DeepEqual(base[i], want) {
			return ended(strings.Join(e.lines[e.above(starts[i], column):ends[i]], "")), nil
		}
	}
	if text, fits := inline(want, true); fits && flowing(s.Values[len(s.Values)-1]) {
		return strings.Repeat(" ", column) + "- " + text + "\n", nil
	}
	return render([]any{want}, column)
}

func ended(text string) string {
	if strings.HasSuffix(text, "\n") {
		return text
	}
	return text + "\n"
}

func (e *editor) itemValue(n ast.Node, base, want any, start, end, column int) error {
	if reflect.DeepEqual(base, want) {
		return nil
	}
	m, ok := asMapping(n).(*ast.MappingNode)
	was, wasMap := base.(yaml.MapSlice)
	is, isMap := want.(yaml.MapSlice)
	if ok && wasMap && isMap && !m.IsFlowStyle && len(m.Values) > 0 && len(is) > 0 {
		before := len(e.cuts)
		if err := e.mapping(m, was, is, end); err == nil {
			return nil
		}
		e.cuts = e.cuts[:before]
	}
	line := strings.TrimSuffix(e.lines[start], "\n")
	if text, fits := inline(want, flowing(n)); fits && end == start+1 && column+2 <= len(line) && line[column:column+2] == "- " {
		at := column + 2
		e.replace(start, end, line[:at]+text+line[at+valueEnd(line[at:]):]+"\n")
		return nil
	}
	text, err := render([]any{want}, column)
	if err != nil {
		return err
	}
	e.replace(start, end, text)
	return nil
}

// paired says of each wanted item which item of base it comes from, in rising order; -1: it is new.
func paired(base, want []any) []int {
	out := make([]int, len(want))
	longest := common(base, want)
	b, w := 0, 0
	gap := func(toB, toW int) {
		for ; w < toW; w++ {
			out[w] = -1
			for i := b; i < toB; i++ {
				if alike(base[i], want[w], toB-b == toW-w) {
					out[w], b = i, i+1
					break
				}
			}
		}
		b = toB
	}
	for _, p := range longest {
		gap(p[0], p[1])
		out[p[1]] = p[0]
		b, w = p[0]+1, p[1]+1
	}
	gap(len(base), len(want))
	return out
}

// alike reports that an item is another version of one: it has the same name, or the place of it.
func alike(base, want any, samePlaces bool) bool {
	a, ok := base.(yaml.MapSlice)
	b, same := want.(yaml.MapSlice)
	if !ok || !same {
		return ok == same && samePlaces
	}
	for _, name := range []string{"id", "to", "track_event"} {
		x, has := lookup(a, name)
		y, too := lookup(b, name)
		if has || too {
			return has && too && reflect.DeepEqual(x, y) || samePlaces && has == too
		}
	}
	return samePlaces
}

// common is the longest common subsequence, as pairs of indexes.
func common(a, b []any) (out [][2]int) {
	n := make([][]int, len(a)+1)
	for i := range n {
		n[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if reflect.DeepEqual(a[i], b[j]) {
				n[i][j] = n[i+1][j+1] + 1
			} else {
				n[i][j] = max(n[i+1][j], n[i][j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case reflect.DeepEqual(a[i], b[j]):
			out = append(out, [2]int{i, j})
			i, j = i+1, j+1
		case n[i+1][j] >= n[i][j+1]:
			i++
		default:
			j++
		}
	}
	return out
}
