package chserver_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/tillstream/tillstream/embedded/chdb"
	"github.com/tillstream/tillstream/embedded/chserver"
)

const testConnections = 4

// server is shared by all tests: the library has one storage path per process.
var (
	engine  *chdb.Engine
	server  *chserver.Server
	missing error
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "chserver-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	engine, err = chdb.Open(chdb.Options{Dir: filepath.Join(dir, "data"), Connections: testConnections})
	var notFound *chdb.MissingError
	var unsupported *chdb.UnsupportedError
	switch {
	case err == nil:
		defer engine.Close()
		if server, err = chserver.New(engine, chserver.Options{Database: "tillstream"}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer server.Close()
	case errors.As(err, &notFound), errors.As(err, &unsupported):
		missing = err
	default:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func needServer(t *testing.T) *chserver.Server {
	t.Helper()
	if missing != nil {
		if strings.Contains(os.Getenv("TILLSTREAM_REQUIRE"), "chdb") {
			t.Fatalf("TILLSTREAM_REQUIRE lists chdb: %v", missing)
		}
		t.Skip(missing)
	}
	return server
}

func open(t *testing.T, change func(*clickhouse.Options)) driver.Conn {
	t.Helper()
	options := needServer(t).Options("")
	if change != nil {
		change(options)
	}
	client, err := clickhouse.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func exec(t *testing.T, client driver.Conn, sql string, args ...any) {
	t.Helper()
	if err := client.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func scalar[T any](t *testing.T, client driver.Conn, sql string, args ...any) (value T) {
	t.Helper()
	if err := client.QueryRow(context.Background(), sql, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}
