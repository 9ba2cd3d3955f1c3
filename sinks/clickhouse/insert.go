package clickhouse

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/tillstream/tillstream/sinks"
)

// partitionsPerInsertMax lets one range span as many months as a topic may hold: the server's own limit of 100 is meant
// for tables partitioned by mistake.
const partitionsPerInsertMax = 10_000

// token names a range for the server's deduplication. It holds no content: of two tries with different content the
// first that was applied wins.
func token(r sinks.Range) string {
	id := r.TopicID
	if id == "" {
		id = r.Topic
	}
	return fmt.Sprintf("clickhouse/%s/%d/%d/%d/%d", id, r.Partition, r.From, r.To, r.Replay)
}

// Insert stores the rows of a range, one block per table, under the range's token. Records that have no table (ticks,
// links) are left out; rows without a record go to the table undecodable. A *sinks.RowError comes before anything of
// the range was inserted; every other error means that the same range is to be inserted again.
func (s *Store) Insert(ctx context.Context, r sinks.Range, rows []sinks.Row) error {
	t, ok := tableByTopic(r.Topic)
	if !ok {
		return fmt.Errorf("clickhouse has no table for topic %s: load only %s", r.Topic, strings.Join(Topics(), ", "))
	}
	var known, unknown []*sinks.Row
	for i := range rows {
		switch row := &rows[i]; {
		case row.Record == nil:
			unknown = append(unknown, row)
		case t.takes(row.Record):
			known = append(known, row)
		}
	}
	if err := s.insertInto(ctx, t, r, known); err != nil {
		return err
	}
	return s.insertInto(ctx, undecodableTable, r, unknown)
}

func (s *Store) insertInto(ctx context.Context, t table, r sinks.Range, rows []*sinks.Row) error {
	if len(rows) == 0 {
		return nil
	}
	b, err := t.block(r, rows)
	if err != nil {
		return err
	}
	if err := s.conceal(ctx, &b, rows); err != nil {
		return err
	}
	err = s.send(ctx, b, s.exactlyOnce(r))
	switch {
	case err == nil:
		return nil
	case blamesRow(err):
		return s.blame(ctx, t, r, rows, err)
	case blamesColumns(err):
		// Somebody changed the table under a running loader. The next try finds it mended, or what is wrong with it.
		return errors.Join(explain(err, b.table), s.checkColumns(ctx))
	}
	return explain(err, b.table)
}

// exactlyOnce are the settings of an insert that may be repeated. They outrank what the server or its user's profile has.
func (s *Store) exactlyOnce(r sinks.Range) clickhouse.Settings {
	settings := clickhouse.Settings{
		"insert_deduplication_token":      token(r),
		"insert_deduplicate":              1,
		"async_insert":                    0,
		"max_partitions_per_insert_block": partitionsPerInsertMax,
	}
	if s.place.cluster != "" {
		settings["insert_distributed_sync"] = 1 // the old name, which newer servers take too: done when the shard has it
	}
	return settings
}

// send inserts one block.
func (s *Store) send(ctx context.Context, b block, settings clickhouse.Settings) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(settings))
	batch, err := s.conn.PrepareBatch(ctx, "INSERT INTO "+b.into+" ("+strings.Join(b.columns, ", ")+")")
	if err != nil {
		return fmt.Errorf("prepare insert into %s: %w", b.into, err)
	}
	defer func() { _ = batch.Close() }() // after Send it does nothing; before, it gives the connection back
	columns := batch.Columns()
	lent, bytes := make([]*buffer, len(columns)), make([]int, len(columns))
	var memory scratch
	for i, lazy := range b.values {
		values := lazy(&memory)
		if hide := b.concealed[b.columns[i]]; hide {
			unname(b.columns[i], values, b.erased)
		}
		lent[i], bytes[i] = s.buffers.lend(bufferKey{b.table, b.columns[i]}, columns[i]), textBytes(values)
		if err := fill(batch.Column(i), values); err != nil {
			return fmt.Errorf("column %s of %s does not take our values (%w): %w", b.columns[i], b.table, errColumnType, err)
		}
	}
	if err := batch.Send(); err != nil {
		// The client may still be reading the columns.
		return fmt.Errorf("insert %d rows into %s: %w", b.rows, b.table, err)
	}
	for i, c := range columns {
		s.buffers.take(bufferKey{b.table, b.columns[i]}, lent[i], c, bytes[i])
	}
	return nil
}

// fill appends a whole column. Given bytes as a slice, the client would copy each value once more.
func fill(to driver.BatchColumn, values any) error {
	list, ok := values.([][]byte)
	if !ok {
		return to.Append(values)
	}
	for _, v := range list {
		if err := to.AppendRow(v); err != nil {
			return err
		}
	}
	return nil
}

func textBytes(values any) (n int) {
	switch list := values.(type) {
	case []string:
		for _, v := range list {
			n += len(v)
		}
	case [][]byte:
		for _, v := range list {
			n += len(v)
		}
	}
	return n
}

// blame finds the first row that the server refuses, by inserting halves into a table of the same columns and
// constraints that keeps nothing. Nothing of the range is stored by it.
func (s *Store) blame(ctx context.Context, t table, r sinks.Range, rows []*sinks.Row, cause error) error {
	whole, err := t.block(r, rows)
	if err != nil {
		return err
	}
	suffix := make([]byte, 6)
	_, _ = rand.Read(suffix) // crypto/rand.Read never fails
	probe := whole.table + "_probe_" + hex.EncodeToString(suffix)
	if err := s.conn.Exec(ctx, "CREATE TABLE "+probe+" AS "+s.place.stored(whole.table)+" ENGINE = Null"); err != nil {
		return fmt.Errorf("find the refused row of %s: %w", whole.table, explain(err, whole.table))
	}
	defer func() {
		// The probe must go even when the caller's patience has ended.
		drop, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeDropTimeout)
		defer cancel()
		if err := s.conn.Exec(drop, "DROP TABLE IF EXISTS "+probe); err != nil {
			s.log.Warn().Err(err).Str("table", probe).Msg("could not drop the probe table: drop it by hand")
		}
	}()
	var other error // an error of the search itself
	refused := cause
	n := sort.Search(len(rows), func(i int) bool {
		if other != nil {
			return true
		}
		b, err := t.block(r, rows[:i+1])
		if err == nil {
			b.into = probe
			err = s.send(ctx, b, clickhouse.Settings{"async_insert": 0})
		}
		switch {
		case err == nil:
			return false
		case blamesRow(err):
			refused = err
			return true
		}
		other = err
		return true
	})
	switch {
	case other != nil:
		return fmt.Errorf("find the refused row of %s: %w", whole.table, explain(other, whole.table))
	case n == len(rows):
		return fmt.Errorf("%s refuses rows that its own columns and constraints accept: look at the materialized views that read it: %w",
			whole.table, explain(cause, whole.table))
	}
	return &sinks.RowError{Offset: rows[n].Offset, Err: explain(refused, whole.table)}
}

// probeDropTimeout bounds the clean-up after a search for a refused row.
const probeDropTimeout = 5 * time.Second

// Codes of ClickHouse's ErrorCodes.cpp.
const (
	codeCannotParseText    = 6
	codeUnknownIdentifier  = 47
	codeTypeMismatch       = 53
	codeTableExists        = 57
	codeUnknownTable       = 60
	codeOutOfBound         = 69
	codeCannotConvertType  = 70
	codeUnknownDatabase    = 81
	codeNoSuchColumn       = 16
	codeNotFoundColumn     = 10
	codeTooManyQueries     = 202
	codeMemoryLimit        = 241
	codeNoSpace            = 243
	codeTooManyParts       = 252
	codeValueOutOfRange    = 321
	codeNullInNotNullable  = 349
	codeDecimalOverflow    = 407
	codeConstraintViolated = 469
	codeAccessDenied       = 497
	codeUnknownEnumElement = 691
	codeReadonly           = 164
	codeTooLargeString     = 131
	codeTooLargeArray      = 128
)

func code(err error) int32 {
	var e *clickhouse.Exception
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// blamesRow reports whether the server refused a value, so that trying again cannot help. Whatever is not listed is
// taken for a passing trouble: a range tried for ever is seen and loses nothing, a row given up wrongly is lost.
func blamesRow(err error) bool {
	switch code(err) {
	case codeCannotParseText, codeTypeMismatch, codeOutOfBound, codeCannotConvertType, codeValueOutOfRange,
		codeNullInNotNullable, codeDecimalOverflow, codeConstraintViolated, codeUnknownEnumElement, codeTooLargeString,
		codeTooLargeArray:
		return true
	}
	return false
}

// blamesColumns reports whether the table has other columns than the insert.
func blamesColumns(err error) bool {
	switch code(err) {
	case codeNoSuchColumn, codeNotFoundColumn, codeUnknownIdentifier:
		return true
	}
	return strings.Contains(err.Error(), columnNotPresent) || errors.Is(err, errColumnType)
}

// columnNotPresent is in clickhouse-go's own words for such an insert over HTTP.
const columnNotPresent = "is not present in the table"

// errColumnType says that a column does not take values of the type that it was made for.
var errColumnType = errors.New("was its type changed?")

// BusyError says that the server is up and wants fewer inserts.
type BusyError struct {
	Err  error
	Wait time.Duration
}

// Error implements error.
func (e *BusyError) Error() string { return e.Err.Error() }

// Unwrap implements errors.Unwrap.
func (e *BusyError) Unwrap() error { return e.Err }

// RetryAfter is how long to leave the server alone.
func (e *BusyError) RetryAfter() time.Duration { return e.Wait }

// busyWait gives background merges time to catch up.
const busyWait = 10 * time.Second

// exceptionBytesMax bounds the server's text in our errors.
const exceptionBytesMax = 300

// explain turns a server's exception into an error that says what to do, and takes values of rows out of it: they may
// be personal data.
func explain(err error, table string) error {
	var e *clickhouse.Exception
	if !errors.As(err, &e) {
		if strings.Contains(err.Error(), columnNotPresent) {
			return fmt.Errorf("%w: the table is older than this program: let it apply its migrations (Prepare), or undo the change by hand", err)
		}
		return err
	}
	text, _, _ := strings.Cut(e.Message, "Column values:")
	if len(text) > exceptionBytesMax {
		text = text[:exceptionBytesMax] + "…"
	}
	said := &ServerError{Code: e.Code, Text: strings.TrimSpace(text)}
	switch e.Code {
	case codeTooManyParts, codeMemoryLimit, codeTooManyQueries, codeNoSpace:
		return &BusyError{Err: fmt.Errorf("clickhouse asks for fewer inserts: %w", said), Wait: busyWait}
	case codeUnknownTable, codeUnknownDatabase:
		return fmt.Errorf("clickhouse table %s is missing: start with a user that may create tables, so that the migrations run: %w", table, said)
	case codeNoSuchColumn, codeNotFoundColumn, codeUnknownIdentifier:
		return fmt.Errorf("clickhouse table %s has other columns than this program writes: let the newest version apply its migrations: %w", table, said)
	case codeAccessDenied, codeReadonly:
		return fmt.Errorf("clickhouse does not allow it: grant CREATE, ALTER, INSERT and SELECT on the database: %w", said)
	}
	return said
}

// ServerError is an exception of the server, without the values of rows.
type ServerError struct {
	Code int32 // ClickHouse's own number, as in system.errors
	Text string
}

// Error implements error.
func (e *ServerError) Error() string { return fmt.Sprintf("code %d: %s", e.Code, e.Text) }
