package chserver

import (
	"errors"
	"strings"
)

// kind says how a statement's text is sent to the engine.
type kind int

const (
	// kindOther is run as a whole and its result materialised.
	kindOther kind = iota
	// kindSelect is a SELECT or WITH query, which can be streamed.
	kindSelect
	// kindInsert is an INSERT whose data follows in Format.
	kindInsert
)

// statement is what the handler must know of one text; everything else is left
// to the engine's parser.
type statement struct {
	kind kind
	// head is the text for the engine: all of it, or an insert up to FORMAT or
	// VALUES.
	head string
	// format is the one that the text names, or "".
	format string
	// data is what followed the insert's head in the same text.
	data string
	// session says that the text changes the session (SET, USE, a temporary
	// table), which must not leak into the next request.
	session bool
}

var (
	errEmpty    = errors.New("the query is empty")
	errMultiple = errors.New("the text holds several statements, one request runs one")
)

// parse looks at the tokens of text. It returns errEmpty, or errMultiple for
// text after a semicolon (as a ClickHouse server does over HTTP); an insert's
// data is not looked at.
func parse(text string) (statement, error) {
	tokens, end := tokenize(text)
	if len(tokens) == 0 {
		return statement{}, errEmpty
	}
	if tokens[0].is("INSERT") {
		if s, ok := parseInsert(text, tokens); ok {
			return s, nil
		}
	}
	for i, t := range tokens {
		if t.is(";") && i+1 < len(tokens) {
			return statement{}, errMultiple
		}
	}
	if tokens[0].is(";") {
		return statement{}, errEmpty
	}
	// What follows the last semicolon can be only comments.
	if last := tokens[len(tokens)-1]; last.is(";") {
		tokens = tokens[:len(tokens)-1]
		end = tokens[len(tokens)-1].end
	}
	s := statement{head: text[:end], format: outputFormat(tokens), session: changesSession(tokens)}
	first := 0
	for tokens[first].is("(") && first+1 < len(tokens) {
		first++
	}
	if tokens[first].is("SELECT") || tokens[first].is("WITH") {
		s.kind = kindSelect
	}
	return s, nil
}

// parseInsert finds where the data of an insert begins. False means that the
// insert carries no data (INSERT SELECT, FROM INFILE) or does not parse.
func parseInsert(text string, tokens []token) (statement, bool) {
	at := 1
	next := func(word string) bool {
		if at < len(tokens) && tokens[at].is(word) {
			at++
			return true
		}
		return false
	}
	if !next("INTO") {
		return statement{}, false
	}
	next("TABLE")
	if next("FUNCTION") {
		return statement{}, false
	}
	// The target may have any name, also one that is a keyword.
	at++
	for next(".") {
		at++
	}
	depth := 0
	for ; at < len(tokens); at++ {
		t := tokens[at]
		switch {
		case t.is("("), t.is("["), t.is("{"):
			depth++
		case t.is(")"), t.is("]"), t.is("}"):
			depth--
		case depth > 0:
		case t.is("SELECT"), t.is("WITH"), t.is("FROM"), t.is("WATCH"):
			return statement{}, false
		case t.is(";"):
			// INSERT INTO t; has its data elsewhere.
			if at+1 < len(tokens) {
				return statement{}, false
			}
			return statement{kind: kindInsert, head: text[:t.start]}, true
		case t.is("VALUES"):
			return statement{kind: kindInsert, head: text[:t.start], format: "Values", data: text[t.end:]}, true
		case t.is("FORMAT"):
			if at+1 >= len(tokens) || tokens[at+1].kind != tokenWord {
				return statement{}, false
			}
			name := tokens[at+1]
			return statement{kind: kindInsert, head: text[:t.start], format: text[name.start:name.end], data: insertData(text[name.end:])}, true
		}
	}
	if depth != 0 || at == 2 {
		return statement{}, false
	}
	return statement{kind: kindInsert, head: text}, true
}

// insertData drops what stands between the format's name and the data: blanks
// or a semicolon up to and with the first line break.
func insertData(rest string) string {
	rest = strings.TrimLeft(rest, " \t\f")
	if after, found := strings.CutPrefix(rest, ";"); found {
		rest = strings.TrimLeft(after, " \t\f")
	}
	rest = strings.TrimPrefix(rest, "\r")
	return strings.TrimPrefix(rest, "\n")
}

// outputFormat is the name after the last FORMAT outside of parentheses.
func outputFormat(tokens []token) string {
	depth, format := 0, ""
	for i, t := range tokens {
		switch {
		case t.is("("), t.is("["), t.is("{"):
			depth++
		case t.is(")"), t.is("]"), t.is("}"):
			depth--
		case depth == 0 && i > 0 && t.is("FORMAT") && !tokens[i-1].is(".") && i+1 < len(tokens) && tokens[i+1].kind == tokenWord:
			format = tokens[i+1].text
		}
	}
	return format
}

func changesSession(tokens []token) bool {
	if tokens[0].is("SET") || tokens[0].is("USE") {
		return true
	}
	for _, t := range tokens {
		if t.is("TEMPORARY") || t.is("TEMP") {
			return true
		}
	}
	return false
}

type tokenKind int

const (
	tokenWord tokenKind = iota
	tokenQuoted
	tokenSign
)

type token struct {
	kind       tokenKind
	start, end int
	text       string
}

// is compares a bare word, in any case, or a sign.
func (t token) is(word string) bool {
	return t.kind != tokenQuoted && strings.EqualFold(t.text, word)
}

// tokenize splits text as ClickHouse's lexer does as far as matters here:
// words, quoted pieces (quotes, backticks, heredocs) and single signs; comments
// and blanks are dropped. An unclosed quote or comment runs to the end. The
// second result is where the last token ends.
func tokenize(text string) (tokens []token, end int) {
	for at := 0; at < len(text); {
		rest := text[at:]
		if n := blankLen(rest); n > 0 {
			at += n
			continue
		}
		t := token{kind: tokenSign, start: at, end: at + 1}
		if n := quotedLen(rest); n > 0 {
			t.kind, t.end = tokenQuoted, at+n
		} else if n := wordLen(rest); n > 0 {
			t.kind, t.end = tokenWord, at+n
		}
		t.text = text[t.start:t.end]
		tokens = append(tokens, t)
		at, end = t.end, t.end
	}
	return tokens, end
}

// blankLen is the length of the white space or comment that s begins with.
func blankLen(s string) int {
	switch {
	case strings.ContainsRune(" \t\r\n\f\v\x00", rune(s[0])):
		return 1
	case strings.HasPrefix(s, "--"), strings.HasPrefix(s, "# "), strings.HasPrefix(s, "#!"):
		if i := strings.IndexByte(s, '\n'); i >= 0 {
			return i + 1
		}
		return len(s)
	case strings.HasPrefix(s, "/*"):
		if i := strings.Index(s[2:], "*/"); i >= 0 {
			return i + 4
		}
		return len(s)
	}
	return 0
}

// quotedLen is the length of the quoted piece that s begins with.
func quotedLen(s string) int {
	switch quote := s[0]; quote {
	case '\'', '"', '`':
		for i := 1; i < len(s); i++ {
			if s[i] == '\\' {
				i++
			} else if s[i] == quote {
				// A doubled quote begins the next piece; the sum is the same.
				return i + 1
			}
		}
		return len(s)
	case '$':
		tag := 1
		for tag < len(s) && isWordByte(s[tag]) && s[tag] != '$' {
			tag++
		}
		if tag == len(s) || s[tag] != '$' {
			return 0
		}
		tag++
		if i := strings.Index(s[tag:], s[:tag]); i >= 0 {
			return tag + i + tag
		}
	}
	return 0
}

func wordLen(s string) int {
	n := 0
	for n < len(s) && isWordByte(s[n]) {
		n++
	}
	return n
}

func isWordByte(b byte) bool {
	return b == '_' || b == '$' || b >= 0x80 || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

// streamable formats have neither head nor tail, so that their blocks, written
// one after the other, are the whole result.
var streamable = map[string]bool{
	"native": true, "tsv": true, "tabseparated": true, "tsvraw": true, "tabseparatedraw": true, "csv": true,
	"jsoneachrow": true, "jsoncompacteachrow": true, "rowbinary": true,
}

func canStream(format string) bool { return streamable[strings.ToLower(format)] }

// contentType is the media type of an output format, as a ClickHouse server
// names it.
func contentType(format string) string {
	lower := strings.ToLower(format)
	switch {
	case strings.HasSuffix(lower, "eachrow") && strings.HasPrefix(lower, "json"):
		return "application/x-ndjson; charset=UTF-8"
	case strings.HasPrefix(lower, "json"):
		return "application/json; charset=UTF-8"
	case strings.HasPrefix(lower, "csv"):
		return "text/csv; charset=UTF-8; header=" + map[bool]string{true: "present", false: "absent"}[strings.Contains(lower, "withnames")]
	case strings.HasPrefix(lower, "tsv"), strings.HasPrefix(lower, "tabseparated"):
		return "text/tab-separated-values; charset=UTF-8"
	case lower == "native", lower == "rowbinary", lower == "parquet", strings.HasPrefix(lower, "arrow"):
		return "application/octet-stream"
	case lower == "xml":
		return "application/xml; charset=UTF-8"
	default:
		return "text/plain; charset=UTF-8"
	}
}

// quoteString is s as an SQL string literal.
func quoteString(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// quoteName is s as a quoted SQL identifier.
func quoteName(s string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(s) + "`"
}

// isName says whether s may stand bare as the name of a setting.
func isName(s string) bool {
	if s == "" || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	for i := range len(s) {
		if !isWordByte(s[i]) || s[i] == '$' || s[i] >= 0x80 {
			return false
		}
	}
	return true
}
