package chserver_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tillstream/tillstream/embedded/chserver"
)

// ask sends one request to handler and returns its answer.
func ask(handler http.Handler, method, target, body string, header ...string) (*http.Response, string) {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "127.0.0.1:8123"
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Result(), w.Body.String()
}

func query(params ...string) string {
	values := url.Values{}
	for i := 0; i+1 < len(params); i += 2 {
		values.Set(params[i], params[i+1])
	}
	return "/?" + values.Encode()
}

func TestWhatCurlSends(t *testing.T) {
	handler := needServer(t).Handler()
	for _, step := range []struct {
		name, method, target, body string
		header                     []string
		status                     int
		want                       string
	}{
		{"ping", "GET", "/ping", "", nil, 200, "Ok.\n"},
		{"root", "GET", "/", "", nil, 200, "Ok.\n"},
		{"query in the URL", "GET", query("query", "SELECT 1"), "", nil, 200, "1\n"},
		{"query in the body", "POST", "/", "SELECT 2", nil, 200, "2\n"},
		{"query in both", "POST", query("query", "SELECT 3,"), "4", nil, 200, "3\t4\n"},
		{"create", "POST", "/", "CREATE OR REPLACE TABLE curl (a UInt8, b String) ENGINE = MergeTree ORDER BY a", nil, 200, ""},
		{"insert rows of JSON", "POST", "/", "INSERT INTO curl FORMAT JSONEachRow\n{\"a\":1,\"b\":\"x;y\"}\n{\"a\":2,\"b\":\"z\"}\n", nil, 200, ""},
		{"insert CSV by both", "POST", query("query", "INSERT INTO curl FORMAT CSV"), "3,\"q\nr\"\n", nil, 200, ""},
		{"insert values", "POST", "/", "INSERT INTO curl VALUES (4, 'v;w')", nil, 200, ""},
		{"insert values with parameters", "POST", query("param_b", "it's"), "INSERT INTO curl VALUES (5, {b:String})", nil, 200, ""},
		{"insert select", "POST", "/", "INSERT INTO curl SELECT 6, 's'", nil, 200, ""},
		{"insert nothing", "POST", query("query", "INSERT INTO curl FORMAT Native"), "", nil, 200, ""},
		{"read back", "POST", "/", "SELECT a, b FROM curl ORDER BY a FORMAT CSV", nil, 200, "1,\"x;y\"\n2,\"z\"\n3,\"q\nr\"\n4,\"v;w\"\n5,\"it's\"\n6,\"s\"\n"},
		{"JSON", "GET", query("query", "SELECT a FROM curl WHERE a < {max:UInt8} FORMAT JSONCompactEachRow", "param_max", "2"), "", nil, 200, "[1]\n"},
		{"default_format", "GET", query("query", "SELECT 1 AS x", "default_format", "JSONEachRow"), "", nil, 200, "{\"x\":1}\n"},
		{"format by header", "POST", "/", "SELECT 1 AS x", []string{"X-ClickHouse-Format", "CSVWithNames"}, 200, "\"x\"\n1\n"},
		{"database default is ours", "GET", query("query", "SELECT count() FROM curl", "database", "default"), "", nil, 200, "6\n"},
		{"database", "GET", query("query", "SELECT currentDatabase()", "database", "system"), "", nil, 200, "system\n"},
		{"database by header, and back", "GET", query("query", "SELECT currentDatabase()"), "", nil, 200, "tillstream\n"},
		{"no such database", "GET", query("query", "SELECT 1", "database", "nosuch"), "", nil, 404, "Code: 81."},
		{"setting", "GET", query("query", "SELECT getSetting('max_threads')", "max_threads", "3"), "", nil, 200, "3\n"},
		{"unknown setting", "GET", query("query", "SELECT 1", "nosuch_setting", "3"), "", nil, 400, "Code: 115."},
		{"injected setting", "GET", query("query", "SELECT 1", "a = 1, b", "3"), "", nil, 400, "Code: 115."},
		{"unknown table", "GET", query("query", "SELECT * FROM nosuch"), "", nil, 404, "Code: 60."},
		{"syntax", "POST", "/", "SELEC 1", nil, 400, "Code: 62."},
		{"bare words are no query", "POST", "/", "hello", nil, 400, "Code: 62."},
		{"empty", "POST", "/", "", nil, 400, "Code: 62."},
		{"several statements", "POST", "/", "SELECT 1; DROP TABLE curl", nil, 400, "Code: 62."},
		{"GET does not write", "GET", query("query", "DROP TABLE curl"), "", nil, 403, "Code: 164."},
		{"readonly=1 and a way out of it", "POST", query("readonly", "1"), "SET readonly = DEFAULT; DROP TABLE curl", nil, 400, "Code: 62."},
		{"readonly=1", "POST", query("readonly", "1"), "INSERT INTO curl VALUES (9, '')", nil, 403, "Code: 164."},
		{"readonly is over", "POST", "/", "INSERT INTO curl VALUES (7, '')", nil, 200, ""},
		{"max_execution_time", "POST", query("max_execution_time", "1"), "SELECT count() FROM numbers(300000000000)", nil, 408, "Code: 159."},
		{"session_id", "GET", query("query", "SELECT 1", "session_id", "s"), "", nil, 501, "Code: 48."},
		{"external table", "POST", "/", "", []string{"Content-Type", "multipart/form-data; boundary=x"}, 501, "Code: 48."},
		{"method", "PATCH", "/", "", nil, 405, "Code: 48."},
		{"bad gzip", "POST", "/", "SELECT 1", []string{"Content-Encoding", "gzip"}, 400, "Code: 271."},
		{"bad blocks", "POST", query("decompress", "1"), "SELECT 1", nil, 400, "Code: 23."},
		{"a file over the socket", "POST", "/", "SELECT file('/etc/passwd')", nil, 403, "Code: 497."},
		{"an address over the socket", "POST", "/", "CREATE TABLE web (a UInt8) ENGINE = URL('http://127.0.0.1:1/', CSV)", nil, 403, "Code: 497."},
		{"foreign host", "POST", "/", "SELECT 1", []string{"Host", "evil.example:8123"}, 403, "Code: 516."},
		{"web page", "POST", "/", "SELECT 1", []string{"Origin", "http://evil.example"}, 403, "Code: 516."},
		{"web page by GET", "GET", query("query", "SELECT 1"), "", []string{"Sec-Fetch-Site", "cross-site"}, 403, "Code: 516."},
	} {
		t.Run(step.name, func(t *testing.T) {
			response, body := ask(handler, step.method, step.target, step.body, step.header...)
			if response.StatusCode != step.status || !strings.HasPrefix(body, step.want) || step.status == 200 && body != step.want {
				t.Fatalf("got %d %q, want %d %q", response.StatusCode, body, step.status, step.want)
			}
			code := strings.TrimSuffix(strings.TrimPrefix(step.want, "Code: "), ".")
			if got := response.Header.Get("X-ClickHouse-Exception-Code"); step.status != 200 && got != code {
				t.Errorf("got exception code %q, want %q", got, code)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	handler := needServer(t).Handler()
	response, _ := ask(handler, "POST", query("query_id", "mine"), "SELECT number FROM numbers(3) FORMAT JSON")
	for name, want := range map[string]string{
		"X-ClickHouse-Query-Id": "mine", "X-ClickHouse-Format": "JSON", "Content-Type": "application/json; charset=UTF-8", "X-ClickHouse-Server-Display-Name": "tillstream",
	} {
		if got := response.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := response.Header.Get("X-ClickHouse-Summary"); !strings.Contains(got, `"read_rows":"3"`) {
		t.Errorf("got summary %q", got)
	}
	ask(handler, "POST", "/", "CREATE OR REPLACE TABLE summary (a UInt8) ENGINE = MergeTree ORDER BY a")
	response, _ = ask(handler, "POST", "/", "INSERT INTO summary VALUES (1), (2)")
	if got := response.Header.Get("X-ClickHouse-Summary"); !strings.Contains(got, `"written_rows":"2"`) {
		t.Errorf("got summary %q", got)
	}
}

func TestGzipBothWays(t *testing.T) {
	var body bytes.Buffer
	zip := gzip.NewWriter(&body)
	_, _ = io.WriteString(zip, "SELECT 'zipped'")
	zip.Close()
	response, answer := ask(needServer(t).Handler(), "POST", query("enable_http_compression", "1"), body.String(), "Content-Encoding", "gzip", "Accept-Encoding", "gzip")
	if response.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("got headers %v", response.Header)
	}
	reader, err := gzip.NewReader(strings.NewReader(answer))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := io.ReadAll(reader); err != nil || string(plain) != "zipped\n" {
		t.Errorf("got %q, %v", plain, err)
	}
}

func TestReadOnlySQLReachesNothingOutside(t *testing.T) {
	s := needServer(t)
	ask(s.Handler(), "POST", "/", "CREATE OR REPLACE TABLE visible (a UInt8) ENGINE = MergeTree ORDER BY a")
	ask(s.Handler(), "POST", "/", "INSERT INTO visible VALUES (1)")
	for _, sql := range []string{
		"SELECT a FROM visible", "SHOW TABLES", "DESCRIBE visible", "EXPLAIN SELECT a FROM visible", "SELECT count() FROM system.tables",
		"WITH 1 AS x SELECT x", "SELECT * FROM numbers(2)", "SELECT a FROM visible FORMAT JSON", "SELECT table_name FROM information_schema.tables LIMIT 1",
	} {
		if response, body := ask(s.ReadOnlyHandler(), "POST", "/", sql); response.StatusCode != 200 {
			t.Errorf("%s: got %d %s", sql, response.StatusCode, body)
		}
	}
	for _, sql := range []string{
		"INSERT INTO visible VALUES (2)", "DROP TABLE visible", "SET readonly = 0", "USE system", "CREATE TEMPORARY TABLE x (a UInt8)",
		"SELECT 1; DROP TABLE visible", "SET readonly = DEFAULT; DROP TABLE visible", "SELECT 1 SETTINGS readonly = 0", "SELECT 1 SETTINGS max_execution_time = 0",
		"SELECT * FROM file('/etc/passwd', 'LineAsString')", "SELECT file('/etc/passwd')", "SELECT `file`('/etc/passwd')", "DESCRIBE TABLE file('/etc/passwd')",
		"SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')", "DESCRIBE TABLE url('http://127.0.0.1:1/')", "DESCRIBE s3('http://127.0.0.1:1/x/y')",
		"SELECT * FROM default.`/etc/passwd`", "EXISTS TABLE default.`/etc/passwd`", "SELECT * FROM '/etc/passwd'", "SELECT * FROM \"/etc/passwd\"",
		"SELECT 1 INTO OUTFILE '/nonexistent/x'", "SELECT * FROM system.stack_trace", "SELECT * FROM system.processes", "SELECT * FROM executable('cat', 'TSV', 'x String')",
		"SELECT * FROM remote('127.0.0.1', 'system.one')", "SELECT hasColumnInTable('127.0.0.1', 'a', 'b', 'c')", "SELECT * FROM eval('SELECT 1')", "KILL QUERY WHERE 1", "SYSTEM SHUTDOWN",
	} {
		if response, body := ask(s.ReadOnlyHandler(), "POST", "/", sql); response.StatusCode == 200 {
			t.Errorf("%s: was run: %s", sql, body)
		}
	}
	for _, target := range []string{query("readonly", "0"), query("readonly", "2"), query("allow_ddl", "1")} {
		if response, _ := ask(s.ReadOnlyHandler(), "POST", target, "DROP TABLE visible"); response.StatusCode == 200 {
			t.Errorf("%s lifted the limits", target)
		}
	}
	if response, body := ask(s.ReadOnlyHandler(), "POST", query("database", "system"), "SELECT * FROM stack_trace"); response.StatusCode != 403 {
		t.Errorf("another database was opened: %d %.100s", response.StatusCode, body)
	}
	if _, body := ask(s.Handler(), "POST", "/", "SELECT count() FROM visible"); body != "1\n" {
		t.Errorf("the table changed: %q", body)
	}
}

func TestSessionsDoNotLeakIntoTheNextRequest(t *testing.T) {
	handler := needServer(t).Handler()
	for range testConnections {
		ask(handler, "POST", "/", "SET max_threads = 7")
		ask(handler, "POST", "/", "USE system")
		ask(handler, "POST", "/", "CREATE TEMPORARY TABLE leaked (a UInt8)")
	}
	for range 2 * testConnections {
		if _, body := ask(handler, "POST", "/", "SELECT currentDatabase(), getSetting('max_threads') = 7"); body != "tillstream\tfalse\n" && body != "tillstream\t0\n" {
			t.Errorf("got %q", body)
		}
		if response, _ := ask(handler, "POST", "/", "SELECT * FROM leaked"); response.StatusCode != 404 {
			t.Errorf("a temporary table leaked")
		}
	}
}

func TestPassword(t *testing.T) {
	needServer(t)
	guarded := newServer(t, chserver.Options{Database: "tillstream", User: "reports", Password: "secret word"})
	for _, try := range []struct {
		name   string
		target string
		header []string
		status int
	}{
		{"none", "/", nil, 403},
		{"wrong", "/", []string{"X-ClickHouse-User", "reports", "X-ClickHouse-Key", "secret"}, 403},
		{"wrong user", "/", []string{"X-ClickHouse-User", "default", "X-ClickHouse-Key", "secret word"}, 403},
		{"headers", "/", []string{"X-ClickHouse-User", "reports", "X-ClickHouse-Key", "secret word"}, 200},
		{"basic", "/", []string{"Authorization", "Basic cmVwb3J0czpzZWNyZXQgd29yZA=="}, 200},
		{"URL", query("user", "reports", "password", "secret word"), nil, 200},
	} {
		if response, _ := ask(guarded.Handler(), "POST", try.target, "SELECT 1", try.header...); response.StatusCode != try.status {
			t.Errorf("%s: got %d, want %d", try.name, response.StatusCode, try.status)
		}
	}
}

// newServer is a second server over the same engine, for tests of options.
func newServer(t *testing.T, o chserver.Options) *chserver.Server {
	t.Helper()
	second, err := chserver.New(engine, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { second.Close() })
	return second
}

func TestMoreRequestsThanConnectionsQueue(t *testing.T) {
	handler := needServer(t).Handler()
	var wg sync.WaitGroup
	for i := range 10 * testConnections {
		wg.Go(func() {
			if _, body := ask(handler, "POST", "/", "SELECT "+strconv.Itoa(i)); body != strconv.Itoa(i)+"\n" {
				t.Errorf("request %d got %q", i, body)
			}
		})
	}
	wg.Wait()
}

func TestCloseEndsWhatRuns(t *testing.T) {
	needServer(t)
	second := newServer(t, chserver.Options{Database: "tillstream"})
	ended := make(chan string, 1)
	const endless = "SELECT count() FROM numbers(400000000000) WHERE NOT ignore(sipHash64(number))"
	go func() {
		_, body := ask(second.Handler(), "POST", "/", endless)
		ended <- body
	}()
	waitFor(t, "the query to run", func() bool {
		// The other server over the engine has the same connections, and could wait for the one that is at work.
		_, body := ask(second.Handler(), "POST", "/", "SELECT count() FROM system.processes WHERE query = '"+endless+"'")
		return body == "1\n"
	})
	second.Close()
	select {
	case body := <-ended:
		if !strings.HasPrefix(body, "Code: 394.") {
			t.Errorf("got %q, want a cancelled query", body)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Close returned with a query running")
	}
	if response, _ := ask(second.Handler(), "POST", "/", "SELECT 1"); response.StatusCode != 503 {
		t.Errorf("got %d after Close, want 503", response.StatusCode)
	}
}

func TestAnInsertWhoseClientGoesAwayInsertsNothing(t *testing.T) {
	s := needServer(t)
	ask(s.Handler(), "POST", "/", "CREATE OR REPLACE TABLE halves (a UInt64) ENGINE = MergeTree ORDER BY a")
	reader, writer := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	request, err := http.NewRequestWithContext(ctx, "POST", "http://embedded"+query("query", "INSERT INTO halves FORMAT TSV"), reader)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := s.RoundTripper().RoundTrip(request)
		failed <- err
	}()
	_, _ = io.WriteString(writer, "1\n2\n")
	cancel()
	writer.CloseWithError(context.Canceled)
	if err := <-failed; err == nil {
		t.Error("the cut insert was acknowledged")
	}
	if _, body := ask(s.Handler(), "POST", "/", "SELECT count() FROM halves"); body != "0\n" {
		t.Errorf("got %q rows", body)
	}
}

func TestNewRefusesTheDefaultDatabase(t *testing.T) {
	needServer(t)
	for _, name := range []string{"", "default"} {
		if _, err := chserver.New(engine, chserver.Options{Database: name}); err == nil {
			t.Errorf("database %q was accepted", name)
		}
	}
}
