package clickhouse_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/sinks/clickhouse"
)

// Everything by which SQL reaches out of the tables: files, other servers, programs, other statements, secrets of the
// server. Whatever the engine answers (read only, unknown, not allowed), nothing may be read or written, and soon.
func TestQueryReachesNothingOutsideOfTheTables(t *testing.T) {
	store, conn := prepared(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret.txt")
	const text = "a-secret-of-the-host"
	if err := os.WriteFile(secret, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(dir, "out.txt")
	for _, sql := range []string{
		"SELECT * FROM file('{secret}', 'LineAsString')", "SELECT * FROM `file`('{secret}', 'LineAsString')", "SELECT * FROM File('{secret}', 'LineAsString')",
		"SELECT (SELECT line FROM file('{secret}', 'LineAsString', 'line String'))", "WITH x AS (SELECT * FROM file('{secret}', 'LineAsString')) SELECT * FROM x",
		"SELECT * FROM events WHERE event_id IN (SELECT line FROM file('{secret}', 'LineAsString', 'line String'))",
		"SELECT * FROM /* comment */ file /* comment */ ('{secret}', 'LineAsString')", "DESCRIBE TABLE file('{secret}', 'LineAsString')", "EXPLAIN SELECT * FROM file('{secret}', 'LineAsString')",
		"SELECT file('{secret}')", "SELECT FILE('{secret}')", "SELECT `file`('{secret}')", "SELECT `fi\\x6ce`('{secret}')", "SELECT * APPLY(file) FROM (SELECT '{secret}')", "SELECT * APPLY file FROM (SELECT '{secret}')",
		"SELECT arrayMap(file, ['{secret}'])", "SELECT arrayMap(x -> file(x), ['{secret}'])", "SELECT * FROM (SELECT * FROM file('{secret}', 'LineAsString') SETTINGS readonly = 0)", "SELECT/**/file/**/('{secret}')", "SELECT * FROM fileCluster('default', '{secret}', 'LineAsString')", "SELECT * FROM `{secret}`", "SELECT * FROM \"default\".\"{secret}\"",
		"SELECT * FROM filesystem('{dir}')", "SELECT * FROM view(SELECT * FROM file('{secret}', 'LineAsString'))",
		"SELECT * FROM merge('system', '.*') AS m, file('{secret}', 'LineAsString')",
		"SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')", "SELECT * FROM urlCluster('default', 'http://127.0.0.1:1/', 'LineAsString')",
		"SELECT * FROM s3('http://127.0.0.1:1/bucket/key', 'LineAsString')", "SELECT * FROM gcs('http://127.0.0.1:1/bucket/key', 'LineAsString')",
		"SELECT * FROM remote('127.0.0.1:1', 'system.one')", "SELECT * FROM remoteSecure('127.0.0.1:1', 'system.one')", "SELECT * FROM cluster('default', 'system.one')",
		"SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')", "SELECT * FROM postgresql('127.0.0.1:1', 'd', 't', 'u', 'p')", "SELECT * FROM mongodb('127.0.0.1:1', 'd', 't', 'u', 'p', 'a Int8')",
		"SELECT * FROM redis('127.0.0.1:1', 'k', 'k String')", "SELECT * FROM sqlite('{dir}/x.db', 't')", "SELECT * FROM jdbc('jdbc:x', 'd', 't')", "SELECT * FROM odbc('DSN=x', 'd', 't')",
		"SELECT * FROM hdfs('hdfs://127.0.0.1:1/x', 'LineAsString')", "SELECT * FROM executable('cat {secret}', 'LineAsString', 'line String')", "SELECT * FROM input('line String')",
		"SELECT * FROM azureBlobStorage('http://127.0.0.1:1/', 'c', 'p')", "SELECT * FROM iceberg('http://127.0.0.1:1/')", "SELECT * FROM deltaLake('http://127.0.0.1:1/')", "SELECT * FROM hudi('http://127.0.0.1:1/')",
		"SELECT * FROM python('x')", "SELECT * FROM dictionary('nothing')", "SELECT dictGet('nothing', 'a', 1)", "SELECT joinGet('nothing', 'a', 1)",
		"SELECT 1 INTO OUTFILE '{target}'", "SELECT 1 into/**/outfile '{target}'", "SELECT 1 INTO OUTFILE '{target}' TRUNCATE FORMAT CSV",
		"SELECT 1 SETTINGS readonly = 0", "SELECT 1 SETTINGS max_memory_usage = 0", "SELECT * FROM (SELECT 1 SETTINGS readonly = 0)", "SELECT sleepEachRow(3) FROM numbers(100)",
		"SET readonly = 0", "SELECT 1;SET readonly=0", "SELECT 1 -- \n; DROP TABLE events", "SELECT 'a\\'; DROP TABLE events --'; DROP TABLE events",
		"EXPLAIN SELECT 1; DROP TABLE events", "WITH 1 AS x INSERT INTO events (event_id) VALUES ('x')", "EXPLAIN SYNTAX CREATE TABLE x (a Int8) ENGINE = Memory; DROP TABLE events",
		"INSERT INTO FUNCTION file('{target}', 'LineAsString', 'line String') SELECT 'x'", "CREATE TEMPORARY TABLE x (a String) ENGINE = File(LineAsString)",
		"BACKUP DATABASE tillstream TO File('{target}')", "ATTACH TABLE x FROM '{dir}' (a Int8) ENGINE = MergeTree ORDER BY a", "CREATE FUNCTION f AS x -> x",
		"SYSTEM SHUTDOWN", "KILL QUERY WHERE 1", "DETACH TABLE events", "EXCHANGE TABLES events AND transitions", "OPTIMIZE TABLE events FINAL", "USE system", "GRANT ALL ON *.* TO default",
		"SELECT * FROM system.\x00tables", "SELECT 1\x00; DROP TABLE events",
	} {
		sql = strings.NewReplacer("{secret}", secret, "{target}", target, "{dir}", dir).Replace(sql)
		began := time.Now()
		res, err := store.Query(context.Background(), sql, clickhouse.Limits{Time: 5 * time.Second})
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("%q took %v", sql, took)
		}
		if err == nil {
			t.Errorf("%q was run and gave %v", sql, res.Rows)
		} else if strings.Contains(err.Error(), text) {
			t.Errorf("%q: the error tells the file's content: %v", sql, err)
		}
	}
	// What the engine has and nobody judged yet would come through unseen.
	tables := []string{
		"format", "fuzzJSON", "fuzzQuery", "generateRandom", "generateSeries", "generate_series", "loop", "merge", "null", "numbers", "numbers_mt", "primes", "values", "view", "viewExplain", "viewIfPermitted", "zeros", "zeros_mt",
		"mergeTreeAnalyzeIndexes", "mergeTreeAnalyzeIndexesUUID", "mergeTreeTextIndex", "SQLStandardValues",
	}
	res, err := store.Query(context.Background(), "SELECT name FROM system.table_functions ORDER BY name", clickhouse.Limits{})
	if err != nil || len(res.Rows) < 20 {
		t.Fatalf("%d table functions, %v", len(res.Rows), err)
	}
	for _, row := range res.Rows {
		name := row[0].(string)
		_, err := store.Query(context.Background(), "EXPLAIN AST SELECT * FROM "+name+"()", clickhouse.Limits{})
		if refused := errors.Is(err, clickhouse.ErrRefused) && !strings.Contains(err.Error(), "read-only mode"); refused == slices.Contains(tables, name) {
			t.Errorf("the engine's table function %s: refused %v; judge whether it reaches outside", name, refused)
		}
	}
	if _, err := os.Stat(target); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a query wrote a file: %v", err)
	}
	if got := count(t, conn, "SELECT count() FROM events"); got != 0 {
		t.Errorf("a query wrote %d rows", got)
	}
}

func TestQueryOfATypeThatTheClientCannotReadIsAnError(t *testing.T) {
	store, _ := prepared(t)
	if res, err := store.Query(context.Background(), "SELECT map('a', toInt128(1)) AS m", clickhouse.Limits{}); err == nil {
		t.Logf("the client reads it: %v", res.Rows)
	} else if !strings.Contains(err.Error(), "toString") {
		t.Errorf("got %v, want what to do about it", err)
	}
	if _, err := store.Query(context.Background(), "SELECT 1", clickhouse.Limits{}); err != nil {
		t.Errorf("the query after it: %v", err)
	}
}
