package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Limits bound a query. Zero means the default.
type Limits struct {
	Rows   int           // default RowsDefault; further rows are cut off and the result says so
	Time   time.Duration // default TimeDefault
	Memory int64         // bytes, default MemoryDefault
}

// The defaults of Limits.
const (
	RowsDefault   = 10_000
	TimeDefault   = 30 * time.Second
	MemoryDefault = 1 << 30
)

// Column is one column of a result.
type Column struct{ Name, Type string }

// Result is the answer to a query. A value is of the Go type that clickhouse-go has for the column's type; nil is NULL.
type Result struct {
	Columns []Column
	Rows    [][]any
	// Truncated says that there are more rows than the limit.
	Truncated bool
}

// ErrRefused is returned for a text that is not one reading statement. Its message says why.
var ErrRefused = errors.New("query refused")

// readers are the first words of statements that only read.
var readers = []string{"SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS"}

// Query runs one reading statement in the server's read-only mode: no writing, no settings, no files, no other servers.
func (s *Store) Query(ctx context.Context, sql string, limits Limits) (Result, error) {
	text, err := readOnly(sql)
	if err != nil {
		return Result{}, err
	}
	if limits.Rows <= 0 {
		limits.Rows = RowsDefault
	}
	if limits.Time <= 0 {
		limits.Time = TimeDefault
	}
	if limits.Memory <= 0 {
		limits.Memory = MemoryDefault
	}
	ctx, cancel := context.WithTimeout(ctx, limits.Time+time.Second) // the server is to give up first, with its reason
	defer cancel()
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"max_execution_time":   max(1, int(limits.Time/time.Second)),
		"max_result_rows":      limits.Rows + 1,
		"result_overflow_mode": "break",
		"max_memory_usage":     limits.Memory,
		// 1: nothing may be changed, settings included. It goes last in force: ClickHouse checks all of a request's settings
		// before it applies any.
		"readonly": 1,
	}))
	rows, err := s.conn.Query(ctx, text)
	if err != nil {
		return Result{}, fmt.Errorf("query: %w", explainQuery(err))
	}
	defer func() { _ = rows.Close() }() // rows.Err below says what there is to say
	var res Result
	types := rows.ColumnTypes()
	for _, t := range types {
		res.Columns = append(res.Columns, Column{t.Name(), t.DatabaseTypeName()})
	}
	for rows.Next() {
		if len(res.Rows) == limits.Rows {
			res.Truncated = true
			break
		}
		dest := make([]any, len(types))
		for i, t := range types {
			dest[i] = reflect.New(t.ScanType()).Interface()
		}
		if err := scanned(rows, dest); err != nil {
			return Result{}, fmt.Errorf("query: read row %d: %w", len(res.Rows)+1, err)
		}
		for i := range dest {
			dest[i] = plain(reflect.ValueOf(dest[i]).Elem())
		}
		res.Rows = append(res.Rows, dest)
	}
	if err := rows.Err(); err != nil {
		return Result{}, fmt.Errorf("query: %w", explainQuery(err))
	}
	return res, nil
}

// scanned reads a row. The client panics at some types that it cannot hold, such as maps of 128-bit numbers.
func scanned(rows driver.Rows, dest []any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a value is of a type that the client cannot read; convert it with toString: %v", p)
		}
	}()
	return rows.Scan(dest...)
}

// plain follows pointers; a nil one is NULL.
func plain(v reflect.Value) any {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	return v.Interface()
}

// readOnly returns the text of the one statement in sql, or ErrRefused. It is not the wall (the server's read-only mode
// is), it keeps out what gets round it: a second statement could lift the mode.
func readOnly(sql string) (string, error) {
	list, err := statements(sql)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrRefused, err)
	case len(list) == 0:
		return "", fmt.Errorf("%w: the text is empty", ErrRefused)
	case len(list) > 1:
		return "", fmt.Errorf("%w: %d statements: send one at a time", ErrRefused, len(list))
	}
	st := list[0]
	if len(st.words) == 0 || !slices.Contains(readers, st.words[0]) {
		return "", fmt.Errorf("%w: only %s are run", ErrRefused, strings.Join(readers, ", "))
	}
	for i, w := range st.words {
		next := ""
		if i+1 < len(st.words) {
			next = st.words[i+1]
		}
		switch {
		case w == "INTO" && next == "OUTFILE":
			return "", fmt.Errorf("%w: INTO OUTFILE writes a file: redirect the output instead", ErrRefused)
		case w == "SETTINGS" && (i == 0 || st.words[i-1] != "SYSTEM"):
			return "", fmt.Errorf("%w: leave SETTINGS out: limits are options of the command", ErrRefused)
		case reachesOut(w):
			return "", fmt.Errorf("%w: %s reaches outside of the tables; where it is only a name, take another", ErrRefused, strings.ToLower(w))
		case w == "FORMAT" && i > 0 && i+1 == len(st.words)-1:
			return "", fmt.Errorf("%w: leave FORMAT %s out: the output format is an option of the command", ErrRefused, next)
		}
	}
	for _, name := range quotedNames(st.text) {
		if reachesOut(strings.ToUpper(name)) || strings.ContainsRune(name, '\\') {
			return "", fmt.Errorf("%w: the quoted name %q may be that of something outside of the tables", ErrRefused, name)
		}
	}
	return st.text, nil
}

// outside are functions that read or write files, ask other servers, or run programs, in upper case. The server's
// read-only mode stops most of them, not all: the function file, unlike the table function, reads whatever the server's
// process may where it is embedded. They are refused as names anywhere, because a function can be named without a call.
var outside = []string{
	"AICLASSIFY", "AIEMBED", "AIEXTRACT", "AIGENERATE", "AITRANSLATE", "ARROWFLIGHT", "AZUREBLOBSTORAGE", "BIGLAKE", "CATBOOSTEVALUATE", "CLUSTER", "CLUSTERALLREPLICAS", "COSN", "DATALAKE", "DELTALAKE", "DELTALAKEAZURE",
	"DELTALAKELOCAL", "DELTALAKES3", "DICTIONARY", "EXECUTABLE", "EXECUTABLEPOOL", "FILE", "FILESYSTEM", "GCS", "GETSECRET", "GLUE", "HDFS", "HIVE", "HUDI", "ICEBERG",
	"ICEBERGAZURE", "ICEBERGHDFS", "ICEBERGLOCAL", "ICEBERGS3", "INPUT", "JDBC", "KAFKA", "LOADLIBRARY", "MERGETREEINDEX", "MERGETREEPROJECTION", "MONGODB", "MYSQL",
	"NATS", "ODBC", "OSS", "PAIMON", "PAIMONAZURE", "PAIMONHDFS", "PAIMONLOCAL", "PAIMONS3", "POSTGRESQL", "PROMETHEUSQUERY", "PROMETHEUSQUERYRANGE", "PYTHON", "RABBITMQ", "REDIS",
	"REMOTE", "REMOTESECURE", "S3", "SQLITE", "TIMESERIESDATA", "TIMESERIESSAMPLES", "EVAL", "ARROWSTREAM", "TIMESERIESMETRICS", "TIMESERIESTAGS", "TIMESERIESSELECTOR", "URL", "YTSAURUS", "ADDRESSTOLINE", "ADDRESSTOLINEWITHINLINES",
}

// reachesOut judges a name in upper case. Variants for clusters bear the name of the original with a suffix.
func reachesOut(name string) bool {
	return slices.Contains(outside, strings.TrimSuffix(name, "CLUSTER")) || slices.Contains(outside, name)
}

// quotedNames are the names in double quotes and backticks, as they stand between them.
func quotedNames(sql string) (names []string) {
	for i := 0; i < len(sql); {
		n := blank(sql[i:])
		switch c := sql[i]; {
		case n != 0:
		case c == '\'' || c == '"' || c == '`':
			if n = quoted(sql[i:]); n > 0 && c != '\'' {
				names = append(names, sql[i+1:i+n-1])
			}
		case c == '$':
			n = heredoc(sql[i:])
		default:
			n = 1
		}
		i += max(1, n)
	}
	return names
}

// explainQuery keeps the server's words about the user's own statement whole.
func explainQuery(err error) error {
	var e *clickhouse.Exception
	if !errors.As(err, &e) {
		return err
	}
	if e.Code == codeReadonly || e.Code == codeAccessDenied {
		return fmt.Errorf("%w: the server is in read-only mode: code %d: %s", ErrRefused, e.Code, e.Message)
	}
	return &ServerError{Code: e.Code, Text: e.Message}
}
