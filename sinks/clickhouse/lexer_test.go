package clickhouse

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStatementsSplitOutsideOfQuotes(t *testing.T) {
	for _, c := range []struct {
		sql   string
		texts []string
		words [][]string
	}{
		{"", nil, nil},
		{" ;; -- a;b\n /* c;d */ ;", nil, nil},
		{"select 1", []string{"select 1"}, [][]string{{"SELECT", "1"}}},
		{"a;b;", []string{"a", "b"}, [][]string{{"A"}, {"B"}}},
		{"SELECT 'x;''y;\\';z'", []string{"SELECT 'x;''y;\\';z'"}, [][]string{{"SELECT"}}},
		{"SELECT `a;b`, \"c;d\" # e;f\n, 1", []string{"SELECT `a;b`, \"c;d\" # e;f\n, 1"}, [][]string{{"SELECT", "1"}}},
		{"SELECT $t$;$t$", []string{"SELECT $t$;$t$"}, [][]string{{"SELECT"}}},
		{"SELECT $t$; 1", []string{"SELECT $t$", "1"}, [][]string{{"SELECT", "T"}, {"1"}}},
		{"/* x */ SELECT 1 -- y", []string{"/* x */ SELECT 1 -- y"}, [][]string{{"SELECT", "1"}}},
		{"''", []string{"''"}, [][]string{nil}},
	} {
		list, err := statements(c.sql)
		if err != nil {
			t.Errorf("%q: %v", c.sql, err)
		}
		var texts []string
		var words [][]string
		for _, s := range list {
			texts, words = append(texts, s.text), append(words, s.words)
		}
		if diff := cmp.Diff([]any{c.texts, c.words}, []any{texts, words}); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.sql, diff)
		}
	}
	for _, open := range []string{"'", "\"a", "`a\\`", "/* a", "SELECT 'a\\'"} {
		if _, err := statements(open); !errors.Is(err, errOpenQuote) {
			t.Errorf("%q: got %v, want errOpenQuote", open, err)
		}
	}
}

// Whatever the text, a semicolon outside of quotes never gets through as part of one statement.
func FuzzReadOnly(f *testing.F) {
	for _, s := range []string{"SELECT 1", "SELECT 1; SELECT 2", "SELECT ';'", "SELECT $a$;$a$", "/*;*/SELECT 1--;", "SELECT `\\`;`", "WITH x AS (SELECT 1) SELECT * FROM x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		text, err := readOnly(sql)
		if err != nil {
			if !errors.Is(err, ErrRefused) {
				t.Errorf("error %v is not ErrRefused", err)
			}
			return
		}
		if again, err := readOnly(text); err != nil || again != text {
			t.Errorf("%q was accepted as %q, which gives %q, %v", sql, text, again, err)
		}
		if _, err := readOnly(text + "; DROP TABLE events"); err == nil && !strings.Contains(lastLine(text), "--") && !strings.Contains(lastLine(text), "#") {
			t.Errorf("%q takes a second statement", text)
		}
	})
}

func lastLine(s string) string { return s[strings.LastIndexByte(s, '\n')+1:] }

func TestMigrationsAreNumberedAndAdditive(t *testing.T) {
	all, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		for _, st := range m.list {
			head := strings.Join(st.words[:min(6, len(st.words))], " ")
			repeatable := strings.HasPrefix(head, "CREATE TABLE IF NOT EXISTS") || strings.HasPrefix(head, "CREATE OR REPLACE VIEW") ||
				strings.HasPrefix(head, "ALTER TABLE") && strings.Contains(strings.Join(st.words, " "), "IF NOT EXISTS")
			if !repeatable {
				t.Errorf("%s: %q may not run twice or beside itself", m.name, head)
			}
		}
	}
}
