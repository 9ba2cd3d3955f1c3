package manage

import (
	"fmt"
	"slices"
	"strings"
)

// contextLines stand around each difference.
const contextLines = 3

// cellsMax bounds the table that finds the smallest difference; a larger one is told as a whole.
const cellsMax = 4 << 20

// unified is the difference of two texts as patch shows it; nil is a file that is not there. Empty: there is none.
func unified(file string, was, is *string) string {
	if was != nil && is != nil && *was == *is || was == nil && is == nil {
		return ""
	}
	from, to := "a/"+file, "b/"+file
	var a, b []string
	if was == nil {
		from = "/dev/null"
	} else {
		a = slices.Collect(strings.Lines(*was))
	}
	if is == nil {
		to = "/dev/null"
	} else {
		b = slices.Collect(strings.Lines(*is))
	}
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", from, to)
	ops := operations(a, b)
	for start := 0; start < len(ops); {
		if ops[start].mark == ' ' {
			start++
			continue
		}
		begin := max(0, start-contextLines)
		end, quiet := start, 0
		for i := start; i < len(ops) && quiet <= 2*contextLines; i++ {
			if ops[i].mark == ' ' {
				quiet++
				continue
			}
			quiet, end = 0, i
		}
		end = min(len(ops), end+1+contextLines)
		hunk(&out, ops[begin:end])
		start = end
	}
	return out.String()
}

// operation is one line of a difference: ' ' stays, '-' goes, '+' comes. a and b are the lines before it in each text.
type operation struct {
	mark byte
	line string
	a, b int
}

func hunk(out *strings.Builder, ops []operation) {
	gone, come := 0, 0
	for _, o := range ops {
		if o.mark != '+' {
			gone++
		}
		if o.mark != '-' {
			come++
		}
	}
	at := func(before, n int) int {
		if n == 0 {
			return before
		}
		return before + 1
	}
	fmt.Fprintf(out, "@@ -%d,%d +%d,%d @@\n", at(ops[0].a, gone), gone, at(ops[0].b, come), come)
	for _, o := range ops {
		out.WriteByte(o.mark)
		out.WriteString(o.line)
		if !strings.HasSuffix(o.line, "\n") {
			out.WriteString("\n\\ No newline at end of file\n")
		}
	}
}

// operations turn a into b with the fewest lines gone and come.
func operations(a, b []string) (ops []operation) {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	i, j := 0, 0
	step := func(mark byte) {
		o := operation{mark: mark, a: i, b: j}
		if mark == '+' {
			o.line = b[j]
		} else {
			o.line = a[i]
		}
		if mark != '+' {
			i++
		}
		if mark != '-' {
			j++
		}
		ops = append(ops, o)
	}
	for i < head {
		step(' ')
	}
	endA, endB := len(a)-tail, len(b)-tail
	if n := (endA - head) * (endB - head); n > 0 && n <= cellsMax {
		longest := common(a[head:endA], b[head:endB])
		for i < endA && j < endB {
			switch at := longest[i-head]; {
			case a[i] == b[j]:
				step(' ')
			case at[j-head] == longest[i-head+1][j-head]:
				step('-')
			default:
				step('+')
			}
		}
	}
	for i < endA {
		step('-')
	}
	for j < endB {
		step('+')
	}
	for i < len(a) {
		step(' ')
	}
	return ops
}

// common is the length of the longest common subsequence of what is left behind each pair of lines.
func common(a, b []string) [][]int32 {
	n := make([][]int32, len(a)+1)
	for i := range n {
		n[i] = make([]int32, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				n[i][j] = n[i+1][j+1] + 1
			} else {
				n[i][j] = max(n[i+1][j], n[i][j+1])
			}
		}
	}
	return n
}
