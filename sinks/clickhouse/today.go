package clickhouse

import (
	"context"
	"fmt"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/tillstream/tillstream/schemas"
)

// DayStep is how much one step of the pipeline did on a day.
type DayStep struct {
	Count  uint64
	LastAt time.Time // broker's time of the newest; zero: none
}

// Day is what the steps did on a day, each by the broker's time of its records, records and not rows.
type Day struct {
	Events, Transitions, Commands, Delivered, Dead DayStep
	// Problems are those of Events that could not be normalised.
	Problems uint64
}

// Today counts what was recorded since the begin of a day in an environment. Test events are part of it: they move, too.
func (s *Store) Today(ctx context.Context, environment schemas.Environment, day time.Time) (Day, error) {
	ctx, cancel := context.WithTimeout(ctx, TraceTimeout)
	defer cancel()
	var d Day
	const records, since = "uniqExact(_topic, _topic_id, _partition, _offset), max(_at)", " WHERE _at >= fromUnixTimestamp64Milli(@since, 'UTC') AND "
	of := "startsWith(if(root_key != '', root_key, contact_key), @prefix)"
	for _, one := range []struct {
		sql  string
		into []any
	}{
		{"SELECT " + records + ", uniqExactIf((_topic, _topic_id, _partition, _offset), problem != '') FROM events" + since + "environment = @environment", []any{&d.Events.Count, &d.Events.LastAt, &d.Problems}},
		{"SELECT " + records + " FROM transitions" + since + "environment = @environment", []any{&d.Transitions.Count, &d.Transitions.LastAt}},
		{"SELECT " + records + " FROM commands" + since + "kind != 'QUESTION' AND " + of, []any{&d.Commands.Count, &d.Commands.LastAt}},
		{"SELECT " + records + " FROM deliveries" + since + "outcome IN ('DELIVERED', 'SUPERSEDED') AND " + of, []any{&d.Delivered.Count, &d.Delivered.LastAt}},
		{"SELECT " + records + " FROM dead_letters" + since + "(" + of + " OR root_key = '' AND contact_key = '')", []any{&d.Dead.Count, &d.Dead.LastAt}},
	} {
		err := s.conn.QueryRow(ctx, one.sql, clickhouse.Named("since", day.UnixMilli()), clickhouse.Named("environment", string(environment)),
			clickhouse.Named("prefix", string(environment)+"/")).Scan(one.into...)
		if err != nil {
			return Day{}, fmt.Errorf("count what was done today: %w", explain(err, eventsTable.name))
		}
	}
	for _, step := range []*DayStep{&d.Events, &d.Transitions, &d.Commands, &d.Delivered, &d.Dead} {
		step.LastAt = unset(step.LastAt)
	}
	return d, nil
}

// Receipts lists the receipts of erasures, the newest first, at most so many.
func (s *Store) Receipts(ctx context.Context, limit int) ([]Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, TraceTimeout)
	defer cancel()
	rows, err := s.conn.Query(ctx, fmt.Sprintf("SELECT erasure_id, subject, asked_by, lifted, tables, at, done_at FROM erasures ORDER BY at DESC, erasure_id LIMIT 1 BY erasure_id LIMIT %d", limit))
	if err != nil {
		return nil, fmt.Errorf("read the receipts of erasures: %w", explain(err, "erasures"))
	}
	defer func() { _ = rows.Close() }()
	list := []Receipt{}
	for rows.Next() {
		var r Receipt
		if err := rows.Scan(&r.ErasureID, &r.Subject, &r.By, &r.Lifted, &r.Tables, &r.At, &r.DoneAt); err != nil {
			return nil, fmt.Errorf("read the receipts of erasures: %w", err)
		}
		r.At, r.DoneAt = unset(r.At), unset(r.DoneAt)
		list = append(list, r)
	}
	return list, rows.Err()
}
