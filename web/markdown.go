package web

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	tables "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

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
		source, err := docs.Files.ReadFile(file)
		if err != nil {
			return nil, err
		}
		d := document{Name: strings.TrimSuffix(file, ".md"), Body: render(source)}
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
	markdown = goldmark.New(goldmark.WithExtensions(extension.Table))
	anchor   = regexp.MustCompile(`[^\p{L}\p{N}_ -]+`)
	scheme   = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*:`)
)

// render makes nodes of a document: headings, paragraphs, lists, tables, code, quotations, emphasis and links. HTML is text.
func render(source []byte) []node {
	r := renderer{source: source, used: map[string]int{}}
	return r.kids(markdown.Parser().Parse(text.NewReader(source)))
}

type renderer struct {
	source []byte
	used   map[string]int // anchors
}

func (r *renderer) kids(n ast.Node) (list []node) {
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		list = append(list, r.node(c)...)
	}
	return list
}

func (r *renderer) node(n ast.Node) []node {
	one := func(tag string) []node { return []node{{Tag: tag, Kids: r.kids(n)}} }
	switch n := n.(type) {
	case *ast.Heading:
		kids := r.kids(n)
		return []node{{Tag: fmt.Sprintf("h%d", min(n.Level, 4)), ID: r.anchor(plain(kids)), Kids: kids}}
	case *ast.Paragraph:
		return one("p")
	case *ast.List:
		if n.IsOrdered() {
			return one("ol")
		}
		return one("ul")
	case *ast.ListItem:
		return one("li")
	case *ast.Blockquote:
		return one("blockquote")
	case *ast.ThematicBreak:
		return one("hr")
	case *ast.FencedCodeBlock, *ast.CodeBlock:
		return []node{{Tag: "pre", Text: strings.TrimSuffix(r.lines(n), "\n")}}
	case *ast.HTMLBlock:
		return []node{{Tag: "p", Kids: []node{{Text: strings.TrimSpace(r.lines(n))}}}}
	case *tables.Table:
		return one("table")
	case *tables.TableHeader, *tables.TableRow:
		return one("tr")
	case *tables.TableCell:
		if _, head := n.Parent().(*tables.TableHeader); head {
			return one("th")
		}
		return one("td")
	}
	return r.inline(n)
}

// inline is what stands in a line. What is not known here, such as a block without an element, is its children.
func (r *renderer) inline(n ast.Node) []node {
	switch n := n.(type) {
	case *ast.Text:
		said := n.Segment.Value(r.source)
		if !n.IsRaw() {
			said = util.ResolveEntityNames(util.ResolveNumericReferences(util.UnescapePunctuations(said)))
		}
		if n.SoftLineBreak() || n.HardLineBreak() {
			said = append(slices.Clone(said), ' ')
		}
		return []node{{Text: string(said)}}
	case *ast.String:
		return []node{{Text: string(n.Value)}}
	case *ast.RawHTML:
		return []node{{Text: string(n.Segments.Value(r.source))}}
	case *ast.CodeSpan:
		return []node{{Tag: "code", Text: strings.TrimSpace(plain(r.kids(n)))}}
	case *ast.Emphasis:
		tag := "em"
		if n.Level == 2 {
			tag = "strong"
		}
		return []node{{Tag: tag, Kids: r.kids(n)}}
	case *ast.Link:
		return []node{{Tag: "a", Href: address(string(n.Destination)), Kids: r.kids(n)}}
	case *ast.AutoLink:
		return []node{{Tag: "a", Href: address(string(n.URL(r.source))), Kids: []node{{Text: string(n.Label(r.source))}}}}
	}
	return r.kids(n)
}

func (r *renderer) lines(n ast.Node) string {
	var b strings.Builder
	for i := range n.Lines().Len() {
		line := n.Lines().At(i)
		b.Write(line.Value(r.source))
	}
	return b.String()
}

// anchor is what GitHub makes of a heading, so that one link works there and here.
func (r *renderer) anchor(heading string) string {
	id := strings.ReplaceAll(strings.ToLower(anchor.ReplaceAllString(heading, "")), " ", "-")
	n := r.used[id]
	r.used[id]++
	if n > 0 {
		return fmt.Sprintf("%s-%d", id, n)
	}
	return id
}

// address is where a link of the manual leads on the page: another document stays here, the web is the web, and every
// other scheme leads nowhere.
func address(href string) string {
	href = strings.TrimSpace(href)
	switch {
	case strings.HasPrefix(href, "https://"), strings.HasPrefix(href, "http://"), strings.HasPrefix(href, "#"):
		return href
	case scheme.MatchString(href), strings.HasPrefix(href, "//"):
		return ""
	}
	file, fragment, _ := strings.Cut(href, "#")
	file = strings.TrimPrefix(strings.TrimPrefix(file, "./"), "docs/")
	name, isPage := strings.CutSuffix(file, ".md")
	if !isPage || strings.Contains(name, "/") { // a file of the repository, which the program does not have
		return ""
	}
	to := "/docs/" + name
	if fragment != "" {
		to += "#" + fragment
	}
	return to
}

func plain(list []node) string {
	var b strings.Builder
	for _, n := range list {
		b.WriteString(n.Text)
		b.WriteString(plain(n.Kids))
	}
	return b.String()
}
