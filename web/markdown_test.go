package web

import (
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/docs"
)

func TestADocumentBecomesNodes(t *testing.T) {
	tests := []struct{ name, source, want string }{
		{"headings have the anchors of GitHub", "# A `b` & c\n\n## Same\n\n## Same\n", `[{"e":"h1","id":"a-b--c","c":[{"t":"A "},{"e":"code","t":"b"},{"t":" \u0026 c"}]},{"e":"h2","id":"same","c":[{"t":"Same"}]},{"e":"h2","id":"same-1","c":[{"t":"Same"}]}]`},
		{"lines of a paragraph are one text", "one\ntwo **three** *four*\n", `[{"e":"p","c":[{"t":"one "},{"t":"two "},{"e":"strong","c":[{"t":"three"}]},{"t":" "},{"e":"em","c":[{"t":"four"}]}]}]`},
		{"lists within lists", "- a\n  1. b\n- c\n", `[{"e":"ul","c":[{"e":"li","c":[{"t":"a"},{"e":"ol","c":[{"e":"li","c":[{"t":"b"}]}]}]},{"e":"li","c":[{"t":"c"}]}]}]`},
		{"code is kept to the letter", "```sh\n<a> && b\n\n  c\n```\n", `[{"e":"pre","t":"\u003ca\u003e \u0026\u0026 b\n\n  c"}]`},
		{"a bar in a cell", "| a | b |\n|---|---|\n| `x\\|y` | 1 |\n", `[{"e":"table","c":[{"e":"tr","c":[{"e":"th","c":[{"t":"a"}]},{"e":"th","c":[{"t":"b"}]}]},{"e":"tr","c":[{"e":"td","c":[{"e":"code","t":"x|y"}]},{"e":"td","c":[{"t":"1"}]}]}]}]`},
		{"quotations and rules", "> said\n\n---\n", `[{"e":"blockquote","c":[{"e":"p","c":[{"t":"said"}]}]},{"e":"hr"}]`},
		{"links to pages stay here", "[a](limits.md#redis) [b](https://example.com) [c](../main.go) [d](javascript:alert(1)) [e](//evil.example)\n", `[{"e":"p","c":[{"e":"a","href":"/docs/limits#redis","c":[{"t":"a"}]},{"t":" "},{"e":"a","href":"https://example.com","c":[{"t":"b"}]},{"t":" "},{"e":"a","c":[{"t":"c"}]},{"t":" "},{"e":"a","c":[{"t":"d"}]},{"t":" "},{"e":"a","c":[{"t":"e"}]}]}]`},
		{"HTML is text", "<script>alert(1)</script>\n\nx <b>y</b>\n", `[{"e":"p","c":[{"t":"\u003cscript\u003ealert(1)\u003c/script\u003e"}]},{"e":"p","c":[{"t":"x "},{"t":"\u003cb\u003e"},{"t":"y"},{"t":"\u003c/b\u003e"}]}]`},
		{"what is escaped is itself", "\\*a\\* &amp; &#65;\n", `[{"e":"p","c":[{"t":"*a* \u0026 A"}]}]`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := json.Marshal(render([]byte(test.source)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(got), test.want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
		})
	}
}

// Every link of the manual leads to a page that there is, and to a heading that it has.
func TestLinksOfTheManualLeadSomewhere(t *testing.T) {
	names, err := fs.Glob(docs.Files, "*.md")
	if err != nil {
		t.Fatal(err)
	}
	bodies, anchors := map[string][]node{}, map[string]bool{}
	for _, file := range names {
		source, err := docs.Files.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		page := "/docs/" + strings.TrimSuffix(file, ".md")
		bodies[page], anchors[page] = render(source), true
		each(bodies[page], func(n node) {
			if n.ID != "" {
				anchors[page+"#"+n.ID] = true
			}
		})
	}
	for page, body := range bodies {
		each(body, func(n node) {
			href := n.Href
			if strings.HasPrefix(href, "#") {
				href = page + href
			}
			if strings.HasPrefix(href, "/docs/") && !anchors[href] {
				t.Errorf("%s links to %s, which is not there", page, href)
			}
		})
	}
}

func each(list []node, f func(node)) {
	for _, n := range list {
		f(n)
		each(n.Kids, f)
	}
}

func FuzzRender(f *testing.F) {
	for _, seed := range []string{"# a\n\n- b\n", "| a |\n|---|\n| `b\\|c` |\n", "[a](javascript:x)", "<script>", "> - ```\n", "***a***", "![a](b)"} {
		f.Add([]byte(seed))
	}
	known := []string{"", "p", "h1", "h2", "h3", "h4", "ul", "ol", "li", "pre", "code", "em", "strong", "a", "table", "tr", "th", "td", "blockquote", "hr"}
	f.Fuzz(func(t *testing.T, source []byte) {
		each(render(source), func(n node) {
			if !slices.Contains(known, n.Tag) {
				t.Errorf("the page does not know the element %q", n.Tag)
			}
			if n.Href != "" && !strings.HasPrefix(n.Href, "https://") && !strings.HasPrefix(n.Href, "http://") && !strings.HasPrefix(n.Href, "#") && !strings.HasPrefix(n.Href, "/docs/") {
				t.Errorf("a link leads to %q", n.Href)
			}
		})
	})
}
