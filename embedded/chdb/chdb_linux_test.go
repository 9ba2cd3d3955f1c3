package chdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/tillstream/tillstream/embedded/chdb"
)

// engine is shared by all tests: the library has one storage path per process.
var (
	engine  *chdb.Engine
	missing error
	dataDir string
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("CHDB_TEST_OPEN"); dir != "" {
		os.Exit(openInChild(dir))
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "chdb-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	dataDir = filepath.Join(dir, "data")
	engine, missing = chdb.Open(chdb.Options{Dir: dataDir, Connections: 3})
	var notFound *chdb.MissingError
	var unsupported *chdb.UnsupportedError
	switch {
	case missing == nil:
		defer engine.Close()
	case !errors.As(missing, &notFound) && !errors.As(missing, &unsupported):
		fmt.Fprintln(os.Stderr, missing)
		return 1
	}
	return m.Run()
}

// openInChild tries to open the directory from a second process.
func openInChild(dir string) int {
	_, err := chdb.Open(chdb.Options{Dir: dir, Connections: 1})
	var locked *chdb.LockedError
	if errors.As(err, &locked) {
		fmt.Printf("locked by %d: %v\n", locked.PID, err)
		return 0
	}
	fmt.Printf("not locked: %v\n", err)
	return 1
}

func conn(t *testing.T) *chdb.Conn {
	t.Helper()
	if missing != nil {
		if strings.Contains(os.Getenv("TILLSTREAM_REQUIRE"), "chdb") {
			t.Fatalf("TILLSTREAM_REQUIRE lists chdb: %v", missing)
		}
		t.Skip(missing)
	}
	return engine.Conns()[0]
}

func query(t *testing.T, c *chdb.Conn, sql string, params ...chdb.Param) string {
	t.Helper()
	var out bytes.Buffer
	if _, err := c.Query(&out, chdb.Statement{SQL: sql, Format: "TSV", Params: params}); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return strings.TrimRight(out.String(), "\n")
}

func TestQueryGivesTheResultInTheAskedFormat(t *testing.T) {
	c := conn(t)
	if got := query(t, c, "SELECT 1, 'a'"); got != "1\ta" {
		t.Errorf("got %q, want %q", got, "1\ta")
	}
	if got := query(t, c, "SELECT {x:String} || 'b'", chdb.Param{Name: "x", Value: "a'; DROP"}); got != `a\'; DROPb` {
		t.Errorf("a parameter was not bound as a value: got %q", got)
	}
}

func TestEngineErrorsHaveTheirCode(t *testing.T) {
	c := conn(t)
	for sql, want := range map[string]int{
		"SELECT * FROM system.nosuchtable": 60,
		"SELECT nosuchcolumn":              47,
		"SELEC 1":                          62,
	} {
		_, err := c.Query(&bytes.Buffer{}, chdb.Statement{SQL: sql, Format: "TSV"})
		var engineError *chdb.Error
		if !errors.As(err, &engineError) || engineError.Code != want {
			t.Errorf("%s: got %v, want code %d", sql, err, want)
		}
	}
}

func TestStreamEqualsQuery(t *testing.T) {
	c := conn(t)
	const sql = "SELECT number, toString(number) FROM numbers(200000)"
	for _, format := range []string{"Native", "TSV", "TSVRaw", "CSV", "JSONEachRow", "JSONCompactEachRow", "RowBinary"} {
		var whole bytes.Buffer
		var chunks countingWriter
		if _, err := c.Query(&whole, chdb.Statement{SQL: sql, Format: format}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Stream(&chunks, chdb.Statement{SQL: sql, Format: format}); err != nil {
			t.Fatal(err)
		}
		if format != "Native" && !bytes.Equal(whole.Bytes(), chunks.Bytes()) {
			t.Errorf("%s: stream of %d bytes differs from the result of %d bytes", format, chunks.Len(), whole.Len())
		}
		if chunks.writes < 2 {
			t.Errorf("%s: came in %d pieces, want several", format, chunks.writes)
		}
	}
}

type countingWriter struct {
	bytes.Buffer
	writes int
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.writes++
	return w.Buffer.Write(p)
}

type failingWriter struct{}

var errFull = errors.New("no space left")

func (failingWriter) Write([]byte) (int, error) { return 0, errFull }

func TestAWriteErrorEndsTheStreamAndLeavesTheConnectionUsable(t *testing.T) {
	c := conn(t)
	_, err := c.Stream(failingWriter{}, chdb.Statement{SQL: "SELECT * FROM numbers(10000000000)", Format: "Native"})
	if !errors.Is(err, errFull) {
		t.Fatalf("got %v, want %v", err, errFull)
	}
	if got := query(t, c, "SELECT 2"); got != "2" {
		t.Errorf("got %q after the cancelled stream", got)
	}
}

func TestAnErrorInMidStreamIsTyped(t *testing.T) {
	c := conn(t)
	var out bytes.Buffer
	_, err := c.Stream(&out, chdb.Statement{SQL: "SELECT throwIf(number = 3000000, 'boom'), number FROM numbers(5000000)", Format: "Native"})
	var engineError *chdb.Error
	if !errors.As(err, &engineError) || engineError.Code != 395 {
		t.Fatalf("got %v, want code 395", err)
	}
}

func TestInsertTakesAnyBytesInAnyChunks(t *testing.T) {
	c := conn(t)
	query(t, c, "CREATE DATABASE IF NOT EXISTS own")
	query(t, c, "CREATE OR REPLACE TABLE own.lines (id UInt64, text String) ENGINE = MergeTree ORDER BY id")
	var data bytes.Buffer
	const rows = 1000
	for i := range rows {
		fmt.Fprintf(&data, "%d\tline\\nwith break %d\n", i, i)
	}
	stats, err := c.Insert(iotest.OneByteReader(bytes.NewReader(data.Bytes())), chdb.Statement{SQL: "INSERT INTO own.lines (id, text)", Format: "TSV"})
	if err != nil {
		t.Fatal(err)
	}
	if stats.RowsWritten != rows {
		t.Errorf("got %d rows written, want %d", stats.RowsWritten, rows)
	}
	if got, want := query(t, c, "SELECT count(), countIf(position(text, '\n') > 0) FROM own.lines"), "1000\t1000"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestInsertFailuresInsertNothing(t *testing.T) {
	c := conn(t)
	query(t, c, "CREATE DATABASE IF NOT EXISTS own")
	query(t, c, "CREATE OR REPLACE TABLE own.failing (id UInt64) ENGINE = MergeTree ORDER BY id")
	if _, err := c.Insert(strings.NewReader("1\n"), chdb.Statement{SQL: "INSERT INTO own.nosuch", Format: "TSV"}); err == nil {
		t.Error("an insert into a missing table did not fail")
	}
	if _, err := c.Insert(strings.NewReader("1\nx\n"), chdb.Statement{SQL: "INSERT INTO own.failing", Format: "TSV"}); err == nil {
		t.Error("an insert of a word into a number did not fail")
	}
	cut := iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("1\n2\n")))
	if _, err := c.Insert(cut, chdb.Statement{SQL: "INSERT INTO own.failing", Format: "TSV"}); !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("got %v, want the reader's error", err)
	}
	if got := query(t, c, "SELECT count() FROM own.failing"); got != "0" {
		t.Errorf("got %s rows after failed inserts, want 0", got)
	}
}

func TestClassify(t *testing.T) {
	c := conn(t)
	for sql, want := range map[string]chdb.Analysis{
		"SELECT 1":                               {Statements: 1, Class: chdb.ClassReadOnly},
		"SELECT 1; SELECT 2":                     {Statements: 2, Class: chdb.ClassReadOnly},
		"SET readonly = 0; SELECT 1":             {Statements: 2, Class: chdb.ClassControl},
		"DROP TABLE x":                           {Statements: 1, Class: chdb.ClassMutating},
		"SELECT 1 INTO OUTFILE '/nonexistent/x'": {Statements: 1, Class: chdb.ClassControl},
		"SELECT FROM (":                          {Statements: 0, Class: chdb.ClassUnknown},
	} {
		got, err := c.Classify(sql)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s: got %+v, want %+v", sql, got, want)
		}
	}
}

func TestReconnectForgetsTheSession(t *testing.T) {
	c := conn(t)
	query(t, c, "SET max_threads = 1")
	query(t, c, "CREATE TEMPORARY TABLE mine (x UInt8)")
	if err := c.Reconnect(); err != nil {
		t.Fatal(err)
	}
	if got := query(t, c, "SELECT changed FROM system.settings WHERE name = 'max_threads'"); got != "0" {
		t.Errorf("max_threads is still changed: %q", got)
	}
	if _, err := c.Query(&bytes.Buffer{}, chdb.Statement{SQL: "SELECT * FROM mine", Format: "TSV"}); err == nil {
		t.Error("the temporary table outlived its session")
	}
}

func TestConnectionsRunSideBySide(t *testing.T) {
	conn(t)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			c := engine.Conns()[i%len(engine.Conns())]
			var out bytes.Buffer
			if _, err := c.Query(&out, chdb.Statement{SQL: "SELECT sum(number) FROM numbers(100000)", Format: "TSV"}); err != nil {
				t.Error(err)
			} else if out.String() != "4999950000\n" {
				t.Errorf("got %q", out.String())
			}
		})
	}
	wg.Wait()
}

func TestGoKeepsItsSignalHandlers(t *testing.T) {
	conn(t)
	for range 50 {
		if !recoversFromNil() {
			t.Fatal("a nil dereference was not turned into a panic")
		}
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	defer signal.Stop(signals)
	if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if got := <-signals; got != syscall.SIGUSR1 {
		t.Errorf("got signal %v", got)
	}
}

func recoversFromNil() (recovered bool) {
	defer func() { recovered = recover() != nil }()
	var p *struct{ x [64]int }
	p.x[7]++
	return false
}

func TestASecondProcessIsToldWhoHasTheDirectory(t *testing.T) {
	conn(t)
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "CHDB_TEST_OPEN="+dataDir)
	out, err := child.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := fmt.Sprintf("locked by %d: the ClickHouse directory %s is in use by the process with id %d", os.Getpid(), dataDir, os.Getpid())
	if !strings.HasPrefix(string(out), want) {
		t.Errorf("got %q, want it to begin with %q", out, want)
	}
}

func TestASecondEngineInTheProcessIsRefused(t *testing.T) {
	conn(t)
	_, err := chdb.Open(chdb.Options{Dir: t.TempDir(), Connections: 1})
	if err == nil || !strings.Contains(err.Error(), "already runs an embedded ClickHouse") {
		t.Errorf("got %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []chdb.Options{{}, {Dir: "x"}, {Dir: "x", Connections: chdb.MaxConnections + 1}, {Dir: "a\x00b", Connections: 1}} {
		if _, err := chdb.Open(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

func TestFindNamesWhatToRun(t *testing.T) {
	t.Setenv(chdb.EnvLibrary, filepath.Join(t.TempDir(), "nothing.so"))
	_, err := chdb.Find()
	var notFound *chdb.MissingError
	if !errors.As(err, &notFound) || !strings.Contains(err.Error(), "scripts/install.sh chdb") {
		t.Errorf("got %v", err)
	}
	file := filepath.Join(t.TempDir(), "libchdb.so")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(chdb.EnvLibrary, file)
	if got, err := chdb.Find(); err != nil || got != file {
		t.Errorf("got %q, %v, want %q", got, err, file)
	}
}
