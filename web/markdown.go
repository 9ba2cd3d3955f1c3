package web

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/docs"
)

// node is a piece of a document: text, or an element with its children. The page makes text nodes and elements of it, so
// that nothing in a document can be markup.
type node struct {
	Tag  string `json:"e,omitempty"`    // p, h1 to h4, ul, ol, li, pre, code, em, strong, a, table, tr, th, td, blockquote, hr; empty: text
	Text string `json:"t,omitempty"`    // of a text, or of pre and code
	ID   string `json:"id,omitempty"`   // of a heading: its anchor
	Href string `json:"href,omitempty"` // of a link
	Kids []node `json:"c,omitempty"`
}

// document is one page of the manual.
type document struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Body  []node `json:"body,omitempty"`
}

// documents renders the manual: each page by its name, and "index" with the list of them.
func documents() (map[string][]byte, error) {
	names, err := fs.Glob(docs.Files, "*.md")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	pages, list := map[string][]byte{}, []document{}
	for _, file := range names {
		text, err := docs.Files.ReadFile(file)
		if err != nil {
			return nil, err
		}
		d := document{Name: strings.TrimSuffix(file, ".md"), Body: render(string(text))}
		d.Title = d.Name
		if len(d.Body) > 0 && d.Body[0].Tag == "h1" {
			d.Title = plain(d.Body[0].Kids)
		}
		if pages[d.Name], err = json.Marshal(d); err != nil {
			return nil, fmt.Errorf("document %s: %w", file, err)
		}
		list = append(list, document{Name: d.Name, Title: d.Title})
	}
	pages["index"], err = json.Marshal(list)
	return pages, err
}

var (
	heading = regexp.MustCompile(`^(#{1,4})\s+(.*?)\s*#*$`)
	bullet  = regexp.MustCompile(`^(\s*)[-*]\s+(.*)$`)
	ordered = regexp.MustCompile(`^(\s*)\d+[.)]\s+(.*)$`)
	rule    = regexp.MustCompile(`^(-{3,}|\*{3,})$`)
	dashes  = regexp.MustCompile(`^\|?\s*:?-{3,}`)
	anchor  = regexp.MustCompile(`[^\p{L}\p{N}_ -]+`)
	unsafe  = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*:`)
	named   = regexp.MustCompile(`^<a (?:id|name)="([A-Za-z0-9_.-]+)"></a>\s*`)
)

// blocks reads a document line by line.
type blocks struct {
	lines []string
	at    int
	used  map[string]int // anchors
	next  string         // an anchor that was written out, for the heading or paragraph that follows
}

// render makes nodes of the part of Markdown that the manual uses: headings, paragraphs, lists, tables, code, quotations,
// emphasis, code spans and links. HTML is text, except an anchor.
func render(text string) []node {
	b := &blocks{lines: strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n"), used: map[string]int{}}
	var out []node
	for b.at < len(b.lines) {
		if n, ok := b.block(); ok {
			out = append(out, n)
		}
	}
	return out
}

func (b *blocks) block() (node, bool) {
	line := b.lines[b.at]
	trimmed := strings.TrimSpace(line)
	if m := named.FindStringSubmatch(trimmed); m != nil {
		b.next = m[1]
		b.lines[b.at] = strings.TrimPrefix(trimmed, m[0])
		trimmed = b.lines[b.at]
		line = trimmed
	}
	switch {
	case trimmed == "":
		b.at++
		return node{}, false
	case strings.HasPrefix(trimmed, "```"):
		return b.fence(), true
	case heading.MatchString(trimmed):
		m := heading.FindStringSubmatch(trimmed)
		b.at++
		kids := inline(m[2])
		return node{Tag: fmt.Sprintf("h%d", len(m[1])), ID: b.anchor(plain(kids)), Kids: kids}, true
	case rule.MatchString(trimmed):
		b.at++
		return node{Tag: "hr"}, true
	case strings.HasPrefix(trimmed, "|") && b.at+1 < len(b.lines) && dashes.MatchString(strings.TrimSpace(b.lines[b.at+1])):
		return b.table(), true
	case strings.HasPrefix(trimmed, ">"):
		return b.quote(), true
	case bullet.MatchString(line) || ordered.MatchString(line):
		return b.list(indent(line)), true
	}
	return b.paragraph(), true
}

// anchor is what GitHub makes of a heading, so that one link works there and here.
func (b *blocks) anchor(text string) string {
	if b.next != "" {
		id := b.next
		b.next = ""
		return id
	}
	id := strings.ReplaceAll(strings.ToLower(anchor.ReplaceAllString(text, "")), " ", "-")
	n := b.used[id]
	b.used[id]++
	if n > 0 {
		return fmt.Sprintf("%s-%d", id, n)
	}
	return id
}

func (b *blocks) fence() node {
	b.at++
	var code []string
	for ; b.at < len(b.lines); b.at++ {
		if strings.HasPrefix(strings.TrimSpace(b.lines[b.at]), "```") {
			b.at++
			break
		}
		code = append(code, b.lines[b.at])
	}
	return node{Tag: "pre", Text: strings.Join(code, "\n")}
}

func (b *blocks) quote() node {
	var inner []string
	for ; b.at < len(b.lines) && strings.HasPrefix(strings.TrimSpace(b.lines[b.at]), ">"); b.at++ {
		inner = append(inner, strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(b.lines[b.at]), ">"), " "))
	}
	return node{Tag: "blockquote", Kids: render(strings.Join(inner, "\n"))}
}

func (b *blocks) paragraph() node {
	var text []string
	for ; b.at < len(b.lines); b.at++ {
		line := b.lines[b.at]
		t := strings.TrimSpace(line)
		if t == "" || len(text) > 0 && (strings.HasPrefix(t, "```") || heading.MatchString(t) || bullet.MatchString(line) || strings.HasPrefix(t, "|")) {
			break
		}
		text = append(text, t)
	}
	n := node{Tag: "p", ID: b.next, Kids: inline(strings.Join(text, " "))}
	b.next = ""
	return n
}

// list reads the items that begin at depth; deeper ones are lists of their item.
func (b *blocks) list(depth int) node {
	out := node{Tag: "ul"}
	if ordered.MatchString(b.lines[b.at]) {
		out.Tag = "ol"
	}
	for b.at < len(b.lines) {
		line := b.lines[b.at]
		m := bullet.FindStringSubmatch(line)
		if m == nil {
			m = ordered.FindStringSubmatch(line)
		}
		if m == nil || indent(line) < depth {
			return out
		}
		if indent(line) > depth && len(out.Kids) > 0 {
			last := &out.Kids[len(out.Kids)-1]
			last.Kids = append(last.Kids, b.list(indent(line)))
			continue
		}
		b.at++
		text := m[2]
		for ; b.at < len(b.lines); b.at++ { // lines that go on with the item
			next := b.lines[b.at]
			t := strings.TrimSpace(next)
			if t == "" || indent(next) <= depth || bullet.MatchString(next) || ordered.MatchString(next) || strings.HasPrefix(t, "```") {
				break
			}
			text += " " + t
		}
		item := node{Tag: "li", Kids: inline(text)}
		if b.at < len(b.lines) && strings.HasPrefix(strings.TrimSpace(b.lines[b.at]), "```") && indent(b.lines[b.at]) > depth {
			item.Kids = append(item.Kids, b.fence())
		}
		out.Kids = append(out.Kids, item)
	}
	return out
}

func (b *blocks) table() node {
	out := node{Tag: "table"}
	for first := true; b.at < len(b.lines) && strings.HasPrefix(strings.TrimSpace(b.lines[b.at]), "|"); b.at++ {
		line := strings.TrimSpace(b.lines[b.at])
		if dashes.MatchString(line) {
			continue
		}
		row, tag := node{Tag: "tr"}, "td"
		if first {
			tag = "th"
		}
		for _, cell := range cells(line) {
			row.Kids = append(row.Kids, node{Tag: tag, Kids: inline(cell)})
		}
		out.Kids = append(out.Kids, row)
		first = false
	}
	return out
}

// cells splits a row at its bars; one in a code span or after a backslash is text.
func cells(line string) []string {
	line = strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|")
	var list []string
	var cell strings.Builder
	code := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line) && line[i+1] == '|':
			cell.WriteByte('|')
			i++
		case c == '|' && !code:
			list = append(list, strings.TrimSpace(cell.String()))
			cell.Reset()
		default:
			code = code != (c == '`')
			cell.WriteByte(c)
		}
	}
	return append(list, strings.TrimSpace(cell.String()))
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

func plain(list []node) string {
	var b strings.Builder
	for _, n := range list {
		b.WriteString(n.Text)
		b.WriteString(plain(n.Kids))
	}
	return b.String()
}
