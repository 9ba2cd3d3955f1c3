package clickhouse

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"
)

// Migrations are numbered files of statements. ClickHouse has no transactions for them, so the rules are: forward
// only; every statement may run twice and beside itself (IF NOT EXISTS, OR REPLACE); every change is additive with a
// default, so that an older process goes on writing; a released file is never edited.
//
//go:embed migrations/*.sql
var migrationFiles embed.FS

type migration struct {
	version  uint32
	name     string
	checksum string
	list     []statement
}

// migrations reads the embedded files, in order.
func migrations() ([]migration, error) {
	files, err := migrationFiles.ReadDir("migrations")
	if err != nil {
		return nil, err
	}
	var all []migration
	for _, f := range files {
		text, err := migrationFiles.ReadFile("migrations/" + f.Name())
		if err != nil {
			return nil, err
		}
		number, _, _ := strings.Cut(f.Name(), "_")
		v, err := strconv.ParseUint(number, 10, 32)
		if err != nil || len(all) > 0 && uint32(v) <= all[len(all)-1].version {
			return nil, fmt.Errorf("migration %s: give it a number of four digits that no other one has", f.Name())
		}
		list, err := statements(string(text))
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", f.Name(), err)
		}
		sum := sha256.Sum256(text)
		all = append(all, migration{uint32(v), f.Name(), hex.EncodeToString(sum[:8]), list})
	}
	return all, nil
}

const migrationsTable = `CREATE TABLE IF NOT EXISTS schema_migrations
(
    version UInt32 COMMENT 'number of the migration',
    name String COMMENT 'its file',
    checksum String COMMENT 'of its text',
    applied_at DateTime64(3, 'UTC') COMMENT 'when it was done; the last one to finish says so'
)
ENGINE = ReplacingMergeTree
ORDER BY version
COMMENT 'Which migrations of the tables were applied'`

// Prepare creates the database where it is missing, applies the migrations that are missing, and checks what exactly
// once depends on. It may run in several processes at once and while older ones write. Its error holds one finding
// per line, each with what to do.
func (s *Store) Prepare(ctx context.Context) error {
	if err := s.createDatabase(ctx); err != nil {
		return err
	}
	if err := s.checkServer(ctx); err != nil {
		return err
	}
	if err := s.run(ctx, migrationsTable); err != nil {
		return fmt.Errorf("create schema_migrations: %w", err)
	}
	done, err := s.applied(ctx)
	if err != nil {
		return err
	}
	all, err := migrations()
	if err != nil {
		return err
	}
	for _, m := range all {
		if sum, ok := done[m.version]; ok {
			if sum != m.checksum {
				return fmt.Errorf("clickhouse migration %s was applied with another text (checksum %s, here %s): two builds disagree about the tables; use one of them", m.name, sum, m.checksum)
			}
			delete(done, m.version)
			continue
		}
		if err := s.apply(ctx, m); err != nil {
			return err
		}
	}
	for v := range done {
		s.log.Warn().Uint32("version", v).Msg("clickhouse has a migration of a newer version of this program; it is additive, so writing goes on")
	}
	if err := errors.Join(s.checkTables(ctx), s.checkColumns(ctx)); err != nil {
		return err
	}
	if err := s.keepRetention(ctx); err != nil {
		return err
	}
	if err := s.maskTables(ctx); err != nil {
		return err
	}
	return s.readErased(ctx)
}

func (s *Store) apply(ctx context.Context, m migration) error {
	for i, st := range m.list {
		if err := s.run(ctx, st.text); err != nil {
			return fmt.Errorf("clickhouse migration %s, statement %d: %w", m.name, i+1, err)
		}
	}
	err := s.conn.Exec(clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0})),
		"INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (?, ?, ?, fromUnixTimestamp64Milli(?))",
		m.version, m.name, m.checksum, s.now().UnixMilli())
	if err != nil {
		return fmt.Errorf("clickhouse migration %s: note that it was applied: %w", m.name, explain(err, "schema_migrations"))
	}
	s.log.Info().Str("migration", m.name).Msg("clickhouse migration applied")
	return nil
}

// applied returns the checksum of each version that was applied.
func (s *Store) applied(ctx context.Context) (map[uint32]string, error) {
	rows, err := s.conn.Query(ctx, "SELECT version, any(checksum) FROM schema_migrations GROUP BY version")
	if err != nil {
		return nil, fmt.Errorf("read schema_migrations: %w", explain(err, "schema_migrations"))
	}
	defer func() { _ = rows.Close() }()
	done := map[uint32]string{}
	for rows.Next() {
		var v uint32
		var sum string
		if err := rows.Scan(&v, &sum); err != nil {
			return nil, fmt.Errorf("read schema_migrations: %w", err)
		}
		done[v] = sum
	}
	return done, rows.Err()
}

// Two processes that run the same statement at once may meet in mid-air; the loser tries again.
const (
	ddlTries = 8
	ddlPause = 100 * time.Millisecond
)

// codes of statements that met another one on the same object: table exists (the race of CREATE OR REPLACE, which swaps
// names), unknown table (swapped away), deadlock avoided, cannot assign alter, metadata mismatch, database lock.
var ddlRaces = []int32{codeTableExists, codeUnknownTable, 82, 473, 517, 529, 342}

// run makes a statement of the migrations happen where the tables are.
func (s *Store) run(ctx context.Context, text string) error {
	list, err := s.place.statements(text)
	if err != nil {
		return err
	}
	for _, one := range list {
		if err := s.ddl(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) ddl(ctx context.Context, text string) error {
	for try := 1; ; try++ {
		err := s.conn.Exec(ctx, text)
		if err == nil {
			return nil
		}
		if try == ddlTries || !slices.Contains(ddlRaces, code(err)) {
			return explain(err, "")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(try) * ddlPause):
		}
	}
}

// createDatabase connects without the database, because a server refuses a connection to one that it has not got.
func (s *Store) createDatabase(ctx context.Context) error {
	outside := s.client
	outside.Auth.Database = "default"
	conn, err := clickhouse.Open(&outside)
	if err != nil {
		return fmt.Errorf("clickhouse client: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if err := s.checkCluster(ctx, conn); err != nil {
		return err
	}
	err = conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+s.database+s.place.onCluster())
	if code(err) == codeAccessDenied || code(err) == codeReadonly {
		if s.conn.Ping(ctx) == nil {
			return nil // somebody made it for a user that may not
		}
	}
	if err != nil {
		return fmt.Errorf("clickhouse at %s: create database %s: %w", strings.Join(s.client.Addr, ","), s.database, explain(err, ""))
	}
	return nil
}

// What a server must know. It is asked for each by name: forks and managed services have version numbers of their own.
var features = []struct{ in, name, why string }{
	{"settings", "insert_deduplication_token", "a repeated range is known by its token"},
	{"settings", "insert_deduplicate", "a repeated range is known by its token"},
	{"settings", "async_insert", "a server that gathers inserts by itself must be told not to"},
	{"settings", "max_partitions_per_insert_block", "a range may span many months"},
	{"merge_tree_settings", "non_replicated_deduplication_window", "tables of one server remember tokens"},
	{"merge_tree_settings", "replicated_deduplication_window_seconds", "replicated tables remember tokens"},
	{"settings", "do_not_merge_across_partitions_select_final", "reports read months apart"},
	{"settings", "mutations_sync", "an erasure waits until rows are changed"},
	{"functions", "parseDateTime64BestEffort", "reports take spans as text"},
	{"functions", "mapApply", "masked views hide the values of maps"},
	{"functions", "row_number", "the audit finds holes"},
}

// leastVersion is the oldest server that the tables and views are written for.
const leastVersion = "23.8"

func (s *Store) checkServer(ctx context.Context) error {
	var version string
	if err := s.conn.QueryRow(ctx, "SELECT version()").Scan(&version); err != nil {
		return fmt.Errorf("clickhouse: ask its version: %w", explain(err, ""))
	}
	has := map[string]bool{}
	for _, in := range []string{"settings", "merge_tree_settings", "functions"} {
		var names []string
		for _, f := range features {
			if f.in == in {
				names = append(names, f.name)
			}
		}
		var known []string
		if err := s.conn.QueryRow(ctx, "SELECT groupUniqArray(toString(name)) FROM system."+in+" WHERE name IN ?", set(names)).Scan(&known); err != nil {
			return fmt.Errorf("clickhouse: read system.%s: %w", in, explain(err, "system."+in))
		}
		for _, name := range known {
			has[in+" "+name] = true
		}
	}
	return lacking(version, has)
}

// lacking says what a server does not know, and what for.
func lacking(version string, has map[string]bool) error {
	var missing []string
	for _, f := range features {
		if !has[f.in+" "+f.name] {
			missing = append(missing, f.name+" ("+f.why+")")
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("clickhouse %s lacks what exactly once and the reports need: %s: use %s or newer", version, strings.Join(missing, ", "), leastVersion)
}

// The least deduplication memory: repeated ranges are minutes old as a rule, days old after a long outage.
const (
	windowBlocksMin  = 10_000
	windowSecondsMin = 7 * 24 * 3600
)

// checkTables makes sure that the tables still have what the migrations gave them: an operator may have recreated one.
func (s *Store) checkTables(ctx context.Context) error {
	missing := make([]string, len(tableNames))
	for i, name := range tableNames {
		missing[i] = s.place.stored(name)
	}
	rows, err := s.conn.Query(ctx, "SELECT name, engine, engine_full, sorting_key FROM system.tables WHERE database = currentDatabase() AND name IN ?", set(missing))
	if err != nil {
		return fmt.Errorf("clickhouse: read system.tables: %w", explain(err, "system.tables"))
	}
	defer func() { _ = rows.Close() }()
	var findings []error
	for rows.Next() {
		var name, engine, full, key string
		if err := rows.Scan(&name, &engine, &full, &key); err != nil {
			return fmt.Errorf("clickhouse: read system.tables: %w", err)
		}
		missing = slices.DeleteFunc(missing, func(t string) bool { return t == name })
		findings = append(findings, tableFindings(name, engine, full, key)...)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("clickhouse: read system.tables: %w", explain(err, "system.tables"))
	}
	for _, t := range missing {
		findings = append(findings, fmt.Errorf("clickhouse table %s is missing although its migration was applied: restore it, or delete its row in schema_migrations", t))
	}
	return errors.Join(findings...)
}

var settingOf = regexp.MustCompile(`(\w+) = '?(\d+)'?`)

// tableFindings judges one table by what system.tables says of it.
func tableFindings(name, engine, full, key string) []error {
	var findings []error
	if !strings.HasSuffix(engine, "MergeTree") {
		return []error{fmt.Errorf("clickhouse table %s has engine %s: repeated inserts would double its rows: recreate it as the migrations do", name, engine)}
	}
	settings := map[string]int{}
	for _, m := range settingOf.FindAllStringSubmatch(full, -1) {
		settings[m[1]], _ = strconv.Atoi(m[2]) // an absurd number counts as too small
	}
	least := func(setting string, low int) {
		if got := settings[setting]; got < low {
			findings = append(findings, fmt.Errorf("clickhouse table %s: %s is %d, a repeated insert could be stored twice: ALTER TABLE %s MODIFY SETTING %s = %d",
				name, setting, got, name, setting, low))
		}
	}
	if strings.HasPrefix(engine, "Replicated") || strings.HasPrefix(engine, "Shared") {
		least("replicated_deduplication_window", windowBlocksMin)
		least("replicated_deduplication_window_seconds", windowSecondsMin)
	} else {
		least("non_replicated_deduplication_window", windowBlocksMin)
	}
	if strings.Contains(engine, "Replacing") && !strings.HasSuffix(key, "_topic, _topic_id, _partition, _offset") {
		findings = append(findings, fmt.Errorf("clickhouse table %s is ordered by (%s), which is not unique per record, so merges would drop rows: recreate it as the migrations do", name, key))
	}
	return findings
}
