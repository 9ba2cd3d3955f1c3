package web

import "strings"

// inline reads what stands in a line: code spans first, because nothing else is read in them.
func inline(text string) []node {
	var out []node
	var said strings.Builder
	flush := func() {
		if said.Len() > 0 {
			out = append(out, node{Text: said.String()})
			said.Reset()
		}
	}
	for i := 0; i < len(text); {
		if n, length := span(text[i:], i > 0 && wordy(text[i-1])); length > 0 {
			flush()
			out = append(out, n)
			i += length
			continue
		}
		if text[i] == '\\' && i+1 < len(text) && strings.IndexByte("\\`*_[]|<>#-", text[i+1]) >= 0 {
			i++
		}
		said.WriteByte(text[i])
		i++
	}
	flush()
	return out
}

func wordy(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_' || c >= 0x80
}

// span reads a code span, an emphasis or a link at the beginning of text, and says how long it is; 0: none is there.
func span(text string, inWord bool) (node, int) {
	switch {
	case strings.HasPrefix(text, "`"):
		fence := "`"
		if strings.HasPrefix(text, "``") {
			fence = "``"
		}
		if end := strings.Index(text[len(fence):], fence); end > 0 {
			return node{Tag: "code", Text: strings.TrimSpace(text[len(fence) : len(fence)+end])}, end + 2*len(fence)
		}
	case strings.HasPrefix(text, "**"):
		if end := strings.Index(text[2:], "**"); end > 0 {
			return node{Tag: "strong", Kids: inline(text[2 : 2+end])}, end + 4
		}
	case strings.HasPrefix(text, "*"), strings.HasPrefix(text, "_") && !inWord:
		end := strings.IndexByte(text[1:], text[0])
		closes := end > 0 && text[1] != ' ' && text[end] != ' ' && (text[0] == '*' || len(text) <= end+2 || !wordy(text[end+2]))
		if closes {
			return node{Tag: "em", Kids: inline(text[1 : 1+end])}, end + 2
		}
	case strings.HasPrefix(text, "["):
		label, rest, ok := strings.Cut(text[1:], "](")
		href, _, closed := strings.Cut(rest, ")")
		if ok && closed && !strings.ContainsAny(label, "\n[") {
			return node{Tag: "a", Href: address(href), Kids: inline(label)}, len(label) + len(href) + 4
		}
	}
	return node{}, 0
}

// address is where a link of the manual leads on the page: another document stays here, the web is the web, and every
// other scheme leads nowhere.
func address(href string) string {
	href = strings.TrimSpace(href)
	switch {
	case strings.HasPrefix(href, "https://"), strings.HasPrefix(href, "http://"), strings.HasPrefix(href, "#"):
		return href
	case unsafe.MatchString(href), strings.HasPrefix(href, "//"):
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
