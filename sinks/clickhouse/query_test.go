package clickhouse_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/sinks/clickhouse"
)

func TestQueryAnswers(t *testing.T) {
	store, _ := prepared(t)
	res, err := store.Query(context.Background(), "SELECT number AS n, 'a;b' AS s, NULL AS nothing, toDecimal64(1.5, 2) AS d, [1, 2] AS list -- ; no end\nFROM numbers(3);", clickhouse.Limits{Rows: 2})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Rows) != 2 || !res.Truncated {
		t.Errorf("got %d rows, truncated %v; want 2 of more", len(res.Rows), res.Truncated)
	}
	if res.Columns[0] != (clickhouse.Column{Name: "n", Type: "UInt64"}) || res.Rows[1][0] != uint64(1) || res.Rows[0][1] != "a;b" || res.Rows[0][2] != nil {
		t.Errorf("got %+v", res)
	}
	for _, sql := range []string{"SHOW TABLES", "DESCRIBE TABLE events", "EXPLAIN SELECT 1", "EXISTS TABLE events", "WITH 1 AS x SELECT x"} {
		if _, err := store.Query(context.Background(), sql, clickhouse.Limits{}); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// What is refused leaves no trace in the tables, and the next query of the same connections still works.
func TestQueryRefuses(t *testing.T) {
	store, conn := prepared(t)
	for _, sql := range []string{
		"", " -- nothing", ";", "SELECT 1; DROP TABLE events", "SELECT 1; SET readonly = 0", "INSERT INTO events (event_id) VALUES ('x')", "DROP TABLE events",
		"ALTER TABLE events DELETE WHERE 1", "SET max_memory_usage = 0", "SELECT 1 SETTINGS readonly = 0", "SELECT * FROM file('/etc/passwd', 'LineAsString')",
		"SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')", "SELECT 1 INTO OUTFILE '/tmp/x'", "SELECT 1 FORMAT CSV", "EXPLAIN AST DROP TABLE events; SELECT 1",
		"WITH x AS (SELECT 1) INSERT INTO events (event_id) SELECT 'x'", "SELECT 'open", "SELECT /* open", "TRUNCATE TABLE events", "CREATE TABLE x (a Int8) ENGINE = Memory",
		"SYSTEM STOP MERGES", "KILL QUERY WHERE 1", "SELECT 1 \\; DROP TABLE events",
	} {
		if res, err := store.Query(context.Background(), sql, clickhouse.Limits{}); err == nil {
			t.Errorf("%q was run and gave %v", sql, res)
		}
		if _, err := store.Query(context.Background(), "SELECT count() FROM events", clickhouse.Limits{}); err != nil {
			t.Errorf("after %q: %v", sql, err)
		}
	}
	if got := count(t, conn, "SELECT count() FROM events"); got != 0 {
		t.Errorf("a refused query wrote %d rows", got)
	}
}

func TestQueryIsBoundedInTime(t *testing.T) {
	store, _ := prepared(t)
	_, err := store.Query(context.Background(), "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1", clickhouse.Limits{Time: time.Second})
	if err == nil {
		t.Fatal("an endless query ended")
	}
	if errors.Is(err, clickhouse.ErrRefused) {
		t.Errorf("got %v, want the server's time limit", err)
	}
}

func TestQueryErrorsAreTheServersOwn(t *testing.T) {
	store, _ := prepared(t)
	_, err := store.Query(context.Background(), "SELECT nonsense FROM events", clickhouse.Limits{})
	var said *clickhouse.ServerError
	if !errors.As(err, &said) || said.Code != 47 || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("got %v, want code 47 about the column", err)
	}
}
