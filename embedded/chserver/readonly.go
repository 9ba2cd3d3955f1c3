package chserver

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/embedded/chdb"
)

// The engine's readonly=1 stops reading through file(), url() and their like,
// but not the scalar function file(), which returns any file of the machine, nor
// DESCRIBE of a table function (it opens the file or the connection to learn its
// columns), nor EXISTS on the default database's file names. So the tokens are
// looked at too.

// harmlessTableFunctions make rows out of their arguments alone.
var harmlessTableFunctions = map[string]bool{
	"numbers": true, "numbers_mt": true, "zeros": true, "zeros_mt": true, "generateseries": true, "generate_series": true,
	"primes": true, "values": true, "sqlstandardvalues": true, "null": true, "view": true, "format": true, "generaterandom": true,
}

// reachingFunctions are the scalar functions that reach files, the network, the
// process or other tables by a text.
var reachingFunctions = []string{
	"file", "catboostevaluate", "hascolumnintable", "joinget", "joingetornull", "showcertificate", "logtrace", "getmacro",
	"aiclassify", "aiembed", "aiextract", "aigenerate", "aitranslate", "addresstoline", "addresstolinewithinlines",
	"addresstosymbol", "demangle", "getclienthttpheader", "sleep", "sleepeachrow", "evalmlmethod",
}

// reachingEngines are the table and database engines and dictionary sources, beside
// those named like a table function, that reach files or the network.
var reachingEngines = []string{
	"http", "executablepool", "executable_pool", "materializedpostgresql", "kafka", "rabbitmq", "nats", "s3queue", "azurequeue",
	"datalakecatalog", "backup", "keepermap", "distributed", "filelog", "overlay", "clickhouse", "cassandra", "mongo",
}

// openSystemTables are what tools and people need to know the data by. Others
// stay closed: system.stack_trace signals every thread of this process, some
// show other users' queries or the machine.
var openSystemTables = map[string]bool{
	"one": true, "numbers": true, "numbers_mt": true, "zeros": true, "databases": true, "tables": true, "columns": true,
	"parts": true, "parts_columns": true, "data_skipping_indices": true, "projections": true, "functions": true, "formats": true,
	"settings": true, "data_type_families": true, "time_zones": true, "table_engines": true, "keywords": true, "dictionaries": true,
	"view_refreshes": true, "mutations": true, "constraints": true, "collations": true, "completions": true,
}

// deniedFunctions asks the engine for its table functions, so that a newer
// library's are refused too.
func deniedFunctions(conn *chdb.Conn) (map[string]bool, error) {
	var names strings.Builder
	if _, err := conn.Query(&names, chdb.Statement{SQL: "SELECT lower(name) FROM system.table_functions", Format: "TSV"}); err != nil {
		return nil, fmt.Errorf("ask the embedded ClickHouse for its table functions: %w", err)
	}
	denied := map[string]bool{}
	for _, name := range slices.Concat(strings.Fields(names.String()), reachingFunctions, reachingEngines) {
		if !harmlessTableFunctions[name] {
			denied[name] = true
		}
	}
	return denied, nil
}

// refuseReaching refuses a text that names something outside of the data: see
// the lists above. Untrusted texts may not look into this process either.
func refuseReaching(text string, denied map[string]bool, untrusted bool) error {
	tokens, _ := tokenize(text)
	forbid := func(what string) error {
		return refusal(http.StatusForbidden, codeAccessDenied, what+" cannot be used here, it reaches outside of the data")
	}
	at := func(i int) token {
		if i >= 0 && i < len(tokens) {
			return tokens[i]
		}
		return token{kind: tokenSign}
	}
	for i, t := range tokens {
		name, plain := t.name()
		called := at(i+1).is("(") || at(i-1).is("=") && at(i-2).is("ENGINE")
		switch {
		case !plain:
			return forbid("a quoted name with a backslash")
		case name == "":
		case called && denied[strings.ToLower(name)]:
			return forbid(name + "()")
		case t.is("INFILE"), t.is("OUTFILE"), i == 0 && t.is("ATTACH"):
			return forbid(strings.ToUpper(name))
		case at(i+1).is(".") && strings.EqualFold(name, "default"):
			return forbid("the database default")
		case untrusted && at(i+1).is(".") && strings.EqualFold(name, "system"):
			if table, _ := at(i + 2).name(); !openSystemTables[table] {
				return forbid(fmt.Sprintf("the table system.%.40s", table))
			}
		case strings.EqualFold(name, "Identifier") && at(i-1).is(":"):
			return forbid("a parameter of type Identifier")
		}
	}
	return nil
}

// name is what an identifier token names, "" for others. False means a quoted
// name with an escape, which could spell anything.
func (t token) name() (string, bool) {
	switch {
	case t.kind == tokenWord:
		return t.text, true
	case t.kind == tokenQuoted && (t.text[0] == '`' || t.text[0] == '"'):
		return strings.Trim(t.text, t.text[:1]), !strings.Contains(t.text, `\`)
	default:
		return "", true
	}
}

// allowReadOnly asks the engine's own parser and then the lists; readonly=1
// forbids writes and the rest at run time.
func (s *Server) allowReadOnly(sess *session, st statement) error {
	if st.kind == kindInsert || st.session {
		return errNotReadOnly()
	}
	analysis, err := sess.conn.Classify(st.head)
	if err != nil {
		return err
	}
	switch {
	case analysis.Statements == 0:
		return refusal(http.StatusBadRequest, codeSyntax, "the text is no SQL statement that ClickHouse understands")
	case analysis.Statements > 1:
		return refusal(http.StatusBadRequest, codeSyntax, errMultiple.Error())
	case analysis.Class != chdb.ClassReadOnly:
		return errNotReadOnly()
	}
	return refuseReaching(st.head, s.denied, true)
}

func errNotReadOnly() error {
	return refusal(http.StatusForbidden, codeReadOnly, "only SELECT, SHOW, DESCRIBE and EXPLAIN can be run here")
}
