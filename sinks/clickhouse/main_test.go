package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/embedded/chdb"
	"github.com/tillstream/tillstream/embedded/chserver"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/clickhouse"
)

// engine is one real ClickHouse for all tests (the library has one storage path per process); each test gets a database.
var (
	engine  *chserver.Server
	missing error
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "clickhouse-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	lib, err := chdb.Open(chdb.Options{Dir: filepath.Join(dir, "data"), Connections: 4})
	var notFound *chdb.MissingError
	var unsupported *chdb.UnsupportedError
	switch {
	case errors.As(err, &notFound), errors.As(err, &unsupported):
		missing = err
		return m.Run()
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer lib.Close()
	if engine, err = chserver.New(lib, chserver.Options{Database: "tillstream"}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer engine.Close()
	return m.Run()
}

func needEngine(t testing.TB) {
	t.Helper()
	if missing == nil {
		return
	}
	if strings.Contains(os.Getenv("TILLSTREAM_REQUIRE"), "chdb") {
		t.Fatalf("TILLSTREAM_REQUIRE lists chdb: %v", missing)
	}
	t.Skip(missing)
}

var databases atomic.Int64

var epoch = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

func newDatabase() string { return fmt.Sprintf("t%d", databases.Add(1)) }

func openStore(t testing.TB, database string) *clickhouse.Store {
	t.Helper()
	return openStoreAt(t, database, func() time.Time { return epoch })
}

func openStoreAt(t testing.TB, database string, now func() time.Time) *clickhouse.Store {
	t.Helper()
	needEngine(t)
	client := engine.Options("")
	client.Auth.Database = database
	store, err := clickhouse.Open(context.Background(), clickhouse.Options{Client: client, Log: zerolog.Nop(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// prepared is a store with tables in a database of its own, and a client beside it.
func prepared(t testing.TB) (*clickhouse.Store, driver.Conn) {
	t.Helper()
	database := newDatabase()
	store := openStore(t, database)
	if err := store.Prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	return store, client(t, database)
}

func client(t testing.TB, database string) driver.Conn {
	t.Helper()
	options := engine.Options("")
	options.Auth.Database = database
	conn, err := ch.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func exec(t testing.TB, conn driver.Conn, sql string) {
	t.Helper()
	if err := conn.Exec(context.Background(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func count(t testing.TB, conn driver.Conn, sql string) uint64 {
	t.Helper()
	var n uint64
	if err := conn.QueryRow(context.Background(), sql).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func insert(t testing.TB, store *clickhouse.Store, r sinks.Range, rows []sinks.Row) {
	t.Helper()
	if err := store.Insert(context.Background(), r, rows); err != nil {
		t.Fatalf("insert %s %d-%d: %v", r.Topic, r.From, r.To, err)
	}
}

// rowsOf numbers records from an offset, a second apart by the broker's clock.
func rowsOf[R schemas.Record](from int64, records ...R) []sinks.Row {
	rows := make([]sinks.Row, len(records))
	for i, rec := range records {
		offset := from + int64(i)
		rows[i] = sinks.Row{Offset: offset, At: epoch.Add(time.Duration(offset) * time.Second), Key: []byte("k"), Value: []byte("v"), Record: rec}
	}
	return rows
}

func rangeOf(topic string, rows []sinks.Row) sinks.Range {
	return sinks.Range{Topic: topic, TopicID: "id-of-" + topic, Partition: 3, From: rows[0].Offset, To: rows[len(rows)-1].Offset}
}
