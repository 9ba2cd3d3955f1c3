package clickhouse

import (
	"errors"
	"fmt"
	"strings"
)

// A statement is one statement of a SQL text: its source without the semicolon, and its bare words in upper case
// (keywords, names and numbers; no strings, no quoted names, no comments), in order.
type statement struct {
	text  string
	words []string
}

// errOpenQuote is returned for a text that ends inside a string, a quoted name or a comment.
var errOpenQuote = errors.New("the text ends inside a quote or comment")

// statements splits a text at the semicolons that are outside of strings, quoted names and comments, by the rules of
// ClickHouse's lexer. Empty statements are left out.
func statements(sql string) ([]statement, error) {
	var list []statement
	var words []string
	start, meat := 0, false
	finish := func(end int) {
		if meat {
			list = append(list, statement{strings.TrimSpace(sql[start:end]), words})
		}
		start, words, meat = end+1, nil, false
	}
	for i := 0; i < len(sql); {
		if sql[i] == ';' {
			finish(i)
			i++
			continue
		}
		if n := blank(sql[i:]); n != 0 {
			if n < 0 {
				return nil, fmt.Errorf("comment at byte %d: %w", i, errOpenQuote)
			}
			i += n
			continue
		}
		meat = true
		switch c := sql[i]; {
		case c == '\'' || c == '"' || c == '`':
			n := quoted(sql[i:])
			if n < 0 {
				return nil, fmt.Errorf("%c at byte %d: %w", c, i, errOpenQuote)
			}
			i += n
		case c == '$':
			i += heredoc(sql[i:])
		case wordByte(c):
			n := 1
			for i+n < len(sql) && wordByte(sql[i+n]) {
				n++
			}
			words = append(words, strings.ToUpper(sql[i:i+n]))
			i += n
		default:
			i++
		}
	}
	finish(len(sql))
	return list, nil
}

func wordByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// blank measures white space or a comment at the head of s; 0: none, -1: a comment that does not end.
func blank(s string) int {
	switch {
	case s[0] == ' ' || '\t' <= s[0] && s[0] <= '\r':
		return 1
	case strings.HasPrefix(s, "--"), strings.HasPrefix(s, "#!"), strings.HasPrefix(s, "# "):
		if n := strings.IndexByte(s, '\n'); n >= 0 {
			return n + 1
		}
		return len(s)
	case strings.HasPrefix(s, "/*"):
		if n := strings.Index(s[2:], "*/"); n >= 0 {
			return n + 4
		}
		return -1
	}
	return 0
}

// quoted measures the string or quoted name at the head of s; -1: it does not end. A quote inside is doubled or
// follows a backslash.
func quoted(s string) int {
	q := s[0]
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case q:
			if i+1 < len(s) && s[i+1] == q {
				i++
				continue
			}
			return i + 1
		}
	}
	return -1
}

// heredoc measures $tag$ ... $tag$ at the head of s, or the lone dollar.
func heredoc(s string) int {
	n := 1
	for n < len(s) && wordByte(s[n]) {
		n++
	}
	if n >= len(s) || s[n] != '$' {
		return 1
	}
	tag := s[:n+1]
	if end := strings.Index(s[n+1:], tag); end >= 0 {
		return n + 1 + end + len(tag)
	}
	return 1
}
