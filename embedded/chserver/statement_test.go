package chserver

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]statement{
		"SELECT 1":                         {kind: kindSelect, head: "SELECT 1"},
		"  select 1 ; -- done":             {kind: kindSelect, head: "  select 1"},
		"(SELECT 1)":                       {kind: kindSelect, head: "(SELECT 1)"},
		"WITH 1 AS x SELECT x format JSON": {kind: kindSelect, head: "WITH 1 AS x SELECT x format JSON", format: "JSON"},
		"SELECT ';' /* ; */ FORMAT CSV SETTINGS a=1":                       {kind: kindSelect, head: "SELECT ';' /* ; */ FORMAT CSV SETTINGS a=1", format: "CSV"},
		"SELECT format('{}', 1), t.format FROM t":                          {kind: kindSelect, head: "SELECT format('{}', 1), t.format FROM t"},
		"SELECT $x$ FORMAT A; $x$":                                         {kind: kindSelect, head: "SELECT $x$ FORMAT A; $x$"},
		"DESCRIBE t":                                                       {head: "DESCRIBE t"},
		"SET a = 1":                                                        {head: "SET a = 1", session: true},
		"CREATE TEMPORARY TABLE x (y UInt8)":                               {head: "CREATE TEMPORARY TABLE x (y UInt8)", session: true},
		"INSERT INTO t SELECT 1 FORMAT CSV":                                {head: "INSERT INTO t SELECT 1 FORMAT CSV", format: "CSV"},
		"INSERT INTO t FROM INFILE 'x' FORMAT CSV":                         {head: "INSERT INTO t FROM INFILE 'x' FORMAT CSV", format: "CSV"},
		"INSERT INTO t FORMAT CSV\n1;2\n":                                  {kind: kindInsert, head: "INSERT INTO t ", format: "CSV", data: "1;2\n"},
		"INSERT INTO t FORMAT CSV":                                         {kind: kindInsert, head: "INSERT INTO t ", format: "CSV"},
		"insert into db.t (a, values) settings x=1 format Native \r\n\x00": {kind: kindInsert, head: "insert into db.t (a, values) settings x=1 ", format: "Native", data: "\x00"},
		"INSERT INTO format VALUES (1), (';')":                             {kind: kindInsert, head: "INSERT INTO format ", format: "Values", data: " (1), (';')"},
		"INSERT INTO TABLE `a`.`b` (c)":                                    {kind: kindInsert, head: "INSERT INTO TABLE `a`.`b` (c)"},
	} {
		got, err := parse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if diff := cmp.Diff(want, got, cmp.AllowUnexported(statement{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
	for text, want := range map[string]error{
		"": errEmpty, " -- nothing": errEmpty, ";": errEmpty,
		"SELECT 1; SELECT 2": errMultiple, "SET readonly = DEFAULT; SELECT 1": errMultiple, "SELECT 1;;": errMultiple,
	} {
		if _, err := parse(text); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", text, err, want)
		}
	}
}

func TestRefuseReaching(t *testing.T) {
	denied := map[string]bool{"file": true, "url": true}
	for text, refused := range map[string]bool{
		"SELECT file('/etc/passwd')":                  true,
		"SELECT FILE ('/etc/passwd')":                 true,
		"SELECT `file`('/etc/passwd')":                true,
		"SELECT \"file\" /* x */ ('/etc/passwd')":     true,
		"SELECT `fi\\x6ce`('/etc/passwd')":            true,
		"DESCRIBE TABLE url('http://127.0.0.1')":      true,
		"EXISTS TABLE default.`/etc/passwd`":          true,
		"EXISTS TABLE `default` . x":                  true,
		"SELECT * FROM system.stack_trace":            true,
		"SELECT * FROM system.`processes`":            true,
		"SELECT * FROM {d:Identifier}.x":              true,
		"CREATE TABLE t (a UInt8) ENGINE = File(CSV)": true,
		"CREATE DATABASE d ENGINE = File":             true,
		"INSERT INTO t FROM INFILE 'x'":               true,
		"ATTACH TABLE t FROM '/etc'":                  true,
		"SELECT * FROM system.tables":                 false,
		"SELECT file, url FROM t":                     false,
		"SELECT 'file(1)' -- file(":                   false,
		"SELECT count() FROM t WHERE a = {a:String}":  false,
		`SELECT 'a\'b'`:                               false,
	} {
		if err := refuseReaching(text, denied, true); (err != nil) != refused {
			t.Errorf("%s: got %v, want refused %t", text, err, refused)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"SELECT 1", "SELECT 1; SELECT 2", "INSERT INTO t FORMAT CSV\n1", "INSERT INTO t (a) VALUES ('x\\'y')", "$a$;$a$", "/* ; ", "'", "`a``b`", "--", "INSERT INTO", "((((",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tokens, end := tokenize(text)
		last := 0
		for _, token := range tokens {
			if token.start < last || token.end <= token.start || token.text != text[token.start:token.end] {
				t.Fatalf("token %+v after byte %d of %q", token, last, text)
			}
			last = token.end
		}
		if end != last {
			t.Fatalf("tokens end at %d, not %d", last, end)
		}
		s, err := parse(text)
		if err != nil {
			return
		}
		if !strings.HasPrefix(text, s.head) || !strings.HasSuffix(text, s.data) || len(s.head)+len(s.data) > len(text) {
			t.Fatalf("%q was taken apart into %+v", text, s)
		}
		if s.kind != kindInsert && s.data != "" {
			t.Fatalf("%q has data but is no insert: %+v", text, s)
		}
		if s.kind == kindInsert {
			return
		}
		// What goes to the engine whole is one statement.
		again, err := parse(s.head)
		if err != nil || again.head != s.head {
			t.Fatalf("%q does not parse to itself: %+v, %v", s.head, again, err)
		}
	})
}

func FuzzContentTypeAndNames(f *testing.F) {
	f.Add("JSONEachRow", "it's")
	f.Fuzz(func(t *testing.T, format, name string) {
		if contentType(format) == "" {
			t.Fatal("no content type")
		}
		for _, quoted := range []string{quoteString(name), quoteName(name)} {
			if n := quotedLen(quoted); n != len(quoted) {
				t.Fatalf("%q ends after %d bytes of its quoting %q", name, n, quoted)
			}
		}
		if tokens, _ := tokenize(format); isName(format) && (len(tokens) != 1 || tokens[0].text != format) {
			t.Fatalf("%q counts as a name but is %d tokens", format, len(tokens))
		}
	})
}
