package connections

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// errByHand is returned for a file that is written in a way that no edit is known for.
var errByHand = errors.New("its list of resources is written in an unusual way: edit it by hand")

// withResources is a connection's file with these resources. Every other byte, comments above all, stays.
func withResources(text string, want []string) (string, error) {
	file, err := parser.ParseBytes([]byte(text), 0)
	if err != nil || len(file.Docs) != 1 {
		return "", errByHand
	}
	root, ok := file.Docs[0].Body.(*ast.MappingNode)
	if !ok {
		return "", errByHand
	}
	lines := strings.SplitAfter(text, "\n")
	var list *ast.MappingValueNode
	after := 0 // the line that a new key follows
	for _, kv := range root.Values {
		switch key := kv.Key.GetToken(); key.Value {
		case "resources":
			list = kv
		case "connector", "environment":
			after = max(after, key.Position.Line)
		}
	}
	if list == nil {
		if after == 0 || after > len(lines) {
			return "", errByHand
		}
		if !strings.HasSuffix(lines[after-1], "\n") {
			lines[after-1] += "\n"
		}
		return strings.Join(slices.Insert(lines, after, "resources: "+flow(want)+"\n"), ""), nil
	}
	seq, ok := list.Value.(*ast.SequenceNode)
	switch {
	case !ok:
		return "", errByHand
	case seq.IsFlowStyle:
		return replaceFlow(lines, seq, want)
	}
	return replaceBlock(lines, seq, want)
}

func flow(want []string) string { return "[" + strings.Join(want, ", ") + "]" }

// replaceFlow writes the brackets anew.
func replaceFlow(lines []string, seq *ast.SequenceNode, want []string) (string, error) {
	if seq.Start == nil || seq.End == nil {
		return "", errByHand
	}
	from, to := seq.Start.Position, seq.End.Position
	if from.Line > to.Line || to.Line > len(lines) {
		return "", errByHand
	}
	head := []rune(lines[from.Line-1])
	tail := []rune(lines[to.Line-1])
	if from.Column > len(head) || to.Column > len(tail) || head[from.Column-1] != '[' || tail[to.Column-1] != ']' {
		return "", errByHand
	}
	line := string(head[:from.Column-1]) + flow(want) + string(tail[to.Column:])
	return strings.Join(slices.Replace(lines, from.Line-1, to.Line, line), ""), nil
}

// replaceBlock removes and adds lines with a dash.
func replaceBlock(lines []string, seq *ast.SequenceNode, want []string) (string, error) {
	had := map[string]bool{}
	gone := map[int]bool{}
	last, dash := 0, ""
	for _, item := range seq.Values {
		tk := item.GetToken()
		n := tk.Position.Line
		before, _, ok := strings.Cut(lines[n-1], tk.Value)
		if !ok || strings.TrimSpace(strings.Trim(before, `"'`)) != "-" {
			return "", errByHand
		}
		had[tk.Value], gone[n] = true, !slices.Contains(want, tk.Value)
		last, dash = max(last, n), strings.TrimRight(before, `"'`)
	}
	if last == 0 {
		return "", errByHand
	}
	var out strings.Builder
	for i, line := range lines {
		if !gone[i+1] {
			out.WriteString(line)
		}
		if i+1 != last {
			continue
		}
		if !strings.HasSuffix(line, "\n") && !gone[last] {
			out.WriteString("\n")
		}
		for _, w := range want {
			if !had[w] {
				fmt.Fprintf(&out, "%s%s\n", dash, w)
			}
		}
	}
	return out.String(), nil
}
