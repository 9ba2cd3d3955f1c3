package web_test

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// call is a request that a source makes.
type call struct {
	at           string // file:line
	method, path string // a value in the path is *
	query        []string
	keyed        bool // it gives a key of the attempt
}

// sources are the files of the page. They are read as text, by what the page's code is written like: a call's first
// argument is followed through templates, constants, parameters and attributes to the addresses that it can be.
type sources map[string]string

var methodsOf = map[string]string{"get": "GET", "read": "GET", "post": "POST", "put": "PUT", "patch": "PATCH", "del": "DELETE"}

var (
	callsAPI  = regexp.MustCompile(`\bapi\.(get|read|post|put|patch|del)\b`)
	fromBase  = regexp.MustCompile(`\bbase \+ |\$\{base\}`)
	functions = regexp.MustCompile(`\bfunction (\w+)`)
	union     = regexp.MustCompile(`^(?:"\w+" \| )+"\w+"`)
	word      = regexp.MustCompile(`^\w+$`)
)

// readCalls is every request of the sources, each once per address that it can have.
func readCalls(from fs.FS) ([]call, error) {
	files, err := sourcesOf(from)
	if err != nil {
		return nil, err
	}
	s, calls := sources(files), []call{}
	for name, text := range s {
		add := func(method, expression string, keyed bool, offset int) {
			at := s.place(name, offset)
			found := s.addresses(name, expression, offset, 0)
			if len(found) == 0 && err == nil {
				err = fmt.Errorf("%s: %s cannot be followed to an address of the API", at, expression)
			}
			for _, a := range found {
				address, query, _ := strings.Cut(a.text, "?")
				calls = append(calls, call{first(a.at, at), method, address, names(query), keyed})
			}
		}
		for _, m := range callsAPI.FindAllStringSubmatchIndex(text, -1) {
			if arguments, ok := argumentsAt(text, afterGenerics(text, m[1])); ok {
				add(methodsOf[text[m[2]:m[3]]], arguments[0], strings.Contains(strings.Join(arguments[1:], ","), "key: "), m[0])
			}
		}
		if name == "api/index.ts" { // it is what sends all of them
			continue
		}
		for _, m := range fromBase.FindAllStringIndex(text, -1) {
			rest := text[m[1]:]
			if text[m[0]] == '$' {
				rest = "`" + rest
			}
			add("GET", strings.TrimSpace(rest[:end(rest, ",;)}\n")]), false, m[0])
		}
	}
	return calls, err
}

// address is one that an expression can be; at is where it was given, where that is not where the request is made.
type address struct{ text, at string }

// place is a line of a file.
func (s sources) place(file string, offset int) string {
	return fmt.Sprintf("%s:%d", file, 1+strings.Count(s[file][:offset], "\n"))
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func texts(list ...string) (out []address) {
	for _, text := range list {
		out = append(out, address{text: text})
	}
	return out
}

// from says of addresses where they were given.
func from(at string, list []address) []address {
	for i := range list {
		list[i].at = first(list[i].at, at)
	}
	return list
}

// addresses are what an expression at offset of a file can be: none where it cannot be followed, nothing asked is left out.
func (s sources) addresses(file, e string, offset, depth int) []address {
	e = strings.TrimSpace(e)
	if depth > 8 || e == "" {
		return nil
	}
	next := func(e string) []address { return s.addresses(file, e, offset, depth+1) }
	if question := end(e, "?"); question < len(e) && !strings.HasPrefix(e[question:], "?.") && !strings.HasPrefix(e[question:], "??") {
		rest := e[question+1:]
		colon := end(rest, ":")
		if colon == len(rest) {
			return nil
		}
		var out []address
		for _, branch := range []string{strings.TrimSpace(rest[:colon]), strings.TrimSpace(rest[colon+1:])} {
			if found := next(branch); len(found) > 0 {
				out = append(out, found...)
			} else if branch != "null" { // then nothing is asked
				out = append(out, address{text: "*"})
			}
		}
		return out
	}
	if plus := end(e, "+"); plus < len(e) {
		return product(next(e[:plus]), next(e[plus+1:]))
	}
	switch {
	case e[0] == '"' && e[len(e)-1] == '"':
		return texts(e[1 : len(e)-1])
	case e[0] == '`' && e[len(e)-1] == '`':
		return s.template(file, e[1:len(e)-1], offset, depth)
	case strings.HasPrefix(e, "link("):
		if arguments, ok := argumentsAt(e, len("link")); ok && len(arguments) == 2 {
			return product(next(arguments[0]), texts(s.linked(file, arguments[1])))
		}
	case word.MatchString(e):
		return s.named(file, e, offset, depth)
	}
	return nil
}

// template are the texts of a template; a value in it that is not known is *.
func (s sources) template(file, text string, offset, depth int) []address {
	out := texts("")
	for text != "" {
		begin := strings.Index(text, "${")
		if begin < 0 {
			begin = len(text)
		}
		out = product(out, texts(text[:begin]))
		if text = text[begin:]; text == "" {
			break
		}
		close := end(text[2:], "}") + 2
		values := s.addresses(file, text[2:close], offset, depth+1)
		if len(values) == 0 {
			values = texts("*")
		}
		out, text = product(out, values), text[close+1:]
	}
	return out
}

// named are the addresses of a name: a constant of the file, or what the function that it is a parameter of is given.
func (s sources) named(file, name string, offset, depth int) []address {
	text := s[file]
	scope := 0
	if declared := functions.FindAllStringIndex(text[:offset], -1); len(declared) > 0 {
		scope = declared[len(declared)-1][0]
	}
	if begin := strings.LastIndex(text[:offset], "const "+name+" = "); begin >= scope {
		rest := text[begin+len("const "+name+" = "):]
		return s.addresses(file, rest[:end(rest, ";")], begin, depth+1)
	}
	if begin := strings.LastIndex(text[:offset], "("+name+": "); begin >= 0 {
		if kinds := union.FindString(text[begin+len(name)+3:]); kinds != "" {
			return texts(strings.Split(strings.ReplaceAll(kinds, `"`, ""), " | ")...)
		}
	}
	declared := functions.FindAllStringSubmatchIndex(text[:offset], -1)
	if len(declared) == 0 {
		return nil
	}
	last := declared[len(declared)-1]
	function := text[last[2]:last[3]]
	parameters, ok := argumentsAt(text, afterGenerics(text, last[3]))
	if !ok {
		return nil
	}
	var out []address
	for i, p := range parameters {
		switch {
		case strings.HasPrefix(p, "{"):
			if regexp.MustCompile(`[{,]\s*` + name + `\b[^:]*[,}]`).MatchString(p) {
				out = append(out, s.attributes(function, name, depth)...)
			}
		case regexp.MustCompile(`^` + name + `\b`).MatchString(p):
			out = append(out, s.given(function, i, depth)...)
		}
	}
	return out
}

// attributes are what components named function are given as name.
func (s sources) attributes(function, name string, depth int) (out []address) {
	for file, text := range s {
		for _, m := range regexp.MustCompile(`<`+function+`\b`).FindAllStringIndex(text, -1) {
			tag := text[m[1]:]
			tag = tag[:end(tag, ">")]
			if begin := strings.Index(tag, " "+name+`="`); begin >= 0 {
				value := tag[begin+len(name)+3:]
				out = append(out, address{value[:strings.Index(value, `"`)], s.place(file, m[0])})
			}
			if begin := strings.Index(tag, " "+name+"={"); begin >= 0 {
				value := tag[begin+len(name)+3:]
				out = append(out, from(s.place(file, m[0]), s.addresses(file, value[:end(value, "}")], m[0], depth+1))...)
			}
		}
	}
	return out
}

// given are what calls of function give as the argument of that number.
func (s sources) given(function string, number, depth int) (out []address) {
	for file, text := range s {
		for _, m := range regexp.MustCompile(`\b`+function+`\b`).FindAllStringIndex(text, -1) {
			arguments, ok := argumentsAt(text, afterGenerics(text, m[1]))
			if !ok || len(arguments) <= number || strings.HasSuffix(text[:m[0]], "function ") {
				continue
			}
			found := s.addresses(file, arguments[number], m[0], depth+1)
			if len(found) == 0 { // no address is like it, so it is told
				found = texts(arguments[number])
			}
			out = append(out, from(s.place(file, m[0]), found)...)
		}
	}
	return out
}

// names are those of the parameters of a query.
func names(query string) (list []string) {
	for pair := range strings.SplitSeq(query, "&") {
		if name, _, _ := strings.Cut(pair, "="); name != "" && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// linked is the query that link makes of its second argument: the keys of an object, or the names that a filter has.
func (s sources) linked(file, e string) string {
	var b strings.Builder
	b.WriteByte('?')
	parts := []string{"..." + e}
	if strings.HasPrefix(e, "{") {
		parts, _ = argumentsAt("("+strings.TrimSuffix(e[1:], "}")+")", 0)
	}
	for _, part := range parts {
		if spread, ok := strings.CutPrefix(part, "..."); ok {
			for _, name := range s.filtered(file, spread) {
				b.WriteString(name + "=*&")
			}
			continue
		}
		if key, _, _ := strings.Cut(part, ":"); !strings.HasPrefix(key, "[") {
			b.WriteString(strings.Trim(strings.TrimSpace(key), `"`) + "=*&")
		}
	}
	return strings.TrimSuffix(b.String(), "&")
}

var helper = regexp.MustCompile(`^(\w+)\((\w*)\)$`)

// filtered are the names that a screen's filter can have: those of the list that it is given, or of filterNames.
func (s sources) filtered(file, e string) (list []string) {
	if m := regexp.MustCompile(`\bconst ` + regexp.QuoteMeta(e) + ` = (\w+\(\w*\));`).FindStringSubmatch(s[file]); m != nil {
		e = m[1]
	}
	m := helper.FindStringSubmatch(e)
	if m == nil {
		return nil
	}
	if from := regexp.MustCompile(`import \{[^}]*\b` + m[1] + `\b[^}]*\} from "(\.[^"]*)"`).FindStringSubmatch(s[file]); from != nil {
		file = path.Join(path.Dir(file), from[1]) + ".tsx"
	}
	_, body, found := strings.Cut(s[file], "function "+m[1]+"(")
	written := regexp.MustCompile(`const ` + first(m[2], "filterNames") + ` = \[([^\]]*)\]`).FindStringSubmatch(s[file])
	if !found || written == nil {
		return nil
	}
	renamed := regexp.MustCompile(`name === "(\w+)" \? "(\w+)" : name`).FindStringSubmatch(body[:strings.Index(body, "\n}")])
	for name := range strings.SplitSeq(written[1], ",") {
		if name = strings.Trim(strings.TrimSpace(name), `"`); renamed != nil && name == renamed[1] {
			name = renamed[2]
		}
		list = append(list, name)
	}
	return list
}

func product(a, b []address) (out []address) {
	for _, x := range a {
		for _, y := range b {
			out = append(out, address{x.text + y.text, first(x.at, y.at)})
		}
	}
	return out
}

// end is where, outside of brackets, texts and templates, one of the characters stands first; the length where none does.
func end(text, characters string) int {
	var open []byte
	for i := 0; i < len(text); i++ {
		c := text[i]
		if n := len(open); n > 0 && (open[n-1] == '"' || open[n-1] == '`') {
			switch {
			case c == '\\':
				i++
			case c == open[n-1]:
				open = open[:n-1]
			case c == '{' && open[n-1] == '`' && text[i-1] == '$':
				open = append(open, '}')
			}
			continue
		}
		arrow := c == '>' && i > 0 && text[i-1] == '='
		switch {
		case len(open) == 0 && strings.IndexByte(characters, c) >= 0 && !arrow:
			return i
		case c == '"' || c == '`':
			open = append(open, c)
		case c == '(':
			open = append(open, ')')
		case c == '[':
			open = append(open, ']')
		case c == '{':
			open = append(open, '}')
		case len(open) > 0 && c == open[len(open)-1]:
			open = open[:len(open)-1]
		}
	}
	return len(text)
}

// afterGenerics is where the types in <> after a name end.
func afterGenerics(text string, at int) int {
	if at >= len(text) || text[at] != '<' {
		return at
	}
	depth := 0
	for i := at; i < len(text); i++ {
		switch {
		case text[i] == '<':
			depth++
		case text[i] == '>' && text[i-1] != '=':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return at
}

// argumentsAt are the arguments, or parameters, in the brackets that open at that place.
func argumentsAt(text string, at int) ([]string, bool) {
	if at >= len(text) || text[at] != '(' {
		return nil, false
	}
	rest := text[at+1:]
	rest = rest[:end(rest, ")")]
	var out []string
	for rest != "" {
		comma := end(rest, ",")
		out = append(out, strings.TrimSpace(rest[:comma]))
		rest = rest[min(comma+1, len(rest)):]
	}
	return slices.DeleteFunc(out, func(a string) bool { return a == "" }), len(out) > 0
}
