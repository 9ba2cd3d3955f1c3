package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// retentionMin keeps a table from forgetting what a repeated range could still bring, and a report's last days.
const retentionMin = 7 * day

// checkRetention refuses what is no whole number of days, or of no table.
func checkRetention(kept map[string]time.Duration) error {
	var wrong []error
	for _, table := range slices.Sorted(maps.Keys(kept)) {
		switch d := kept[table]; {
		case !slices.Contains(tableNames, table):
			wrong = append(wrong, fmt.Errorf("clickhouse.retention: there is no table %q: use one of %s", table, strings.Join(tableNames, ", ")))
		case d != 0 && (d < retentionMin || d%day != 0):
			wrong = append(wrong, fmt.Errorf("clickhouse.retention.%s is %s: use whole days (24h) from %s on, or 0s for ever", table, d, retentionMin))
		}
	}
	return errors.Join(wrong...)
}

// ttlOf finds our own form of a TTL in what system.tables says of a table. The parts of a DateTime64 beyond seconds are
// left out, because servers before 24 take no DateTime64 there.
var ttlOf = regexp.MustCompile(`\bTTL toDateTime\(_at\) \+ toIntervalDay\((\d+)\)`)

// keepRetention gives tables the TTL that the options name. Tables that they do not name keep what they have, also what an
// operator set by hand. The server then deletes in the background, whole months at once where it can.
func (s *Store) keepRetention(ctx context.Context) error {
	for _, table := range slices.Sorted(maps.Keys(s.retention)) {
		var full string
		err := s.conn.QueryRow(ctx, "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = ?", s.place.stored(table)).Scan(&full)
		if err != nil {
			return fmt.Errorf("clickhouse: read the retention of %s: %w", table, explain(err, table))
		}
		want, got := int(s.retention[table]/day), 0
		if m := ttlOf.FindStringSubmatch(full); m != nil {
			got, _ = strconv.Atoi(m[1]) // an absurd number is another one
		}
		change := ""
		switch {
		case want == 0 && strings.Contains(full, " TTL "):
			change = "REMOVE TTL"
		case want != got:
			change = fmt.Sprintf("MODIFY TTL toDateTime(_at) + INTERVAL %d DAY", want)
		default:
			continue
		}
		if err := s.ddl(ctx, "ALTER TABLE "+s.place.altered(table)+" "+change); err != nil {
			return fmt.Errorf("clickhouse: change the retention of %s: %w", table, err)
		}
		s.log.Info().Str("table", table).Int("days", want).Msg("clickhouse keeps rows of the table this many days from now on; 0: for ever")
	}
	return nil
}

// KeptSince is the least time whose rows a table still has to have: rows of before may have gone by its TTL. Zero: all.
func (s *Store) KeptSince(ctx context.Context, topic string) (time.Time, error) {
	table, ok := tableOfTopic(topic)
	if !ok {
		return time.Time{}, fmt.Errorf("topic %s has no table", topic)
	}
	var full string
	err := s.conn.QueryRow(ctx, "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = ?", s.place.stored(table)).Scan(&full)
	if err != nil {
		return time.Time{}, fmt.Errorf("clickhouse: read the retention of %s: %w", table, explain(err, table))
	}
	m := ttlOf.FindStringSubmatch(full)
	if m == nil {
		return time.Time{}, nil
	}
	days, err := strconv.Atoi(m[1])
	if err != nil {
		return time.Time{}, fmt.Errorf("clickhouse: retention of %s: %w", table, err)
	}
	return s.now().Add(-time.Duration(days) * day), nil
}
