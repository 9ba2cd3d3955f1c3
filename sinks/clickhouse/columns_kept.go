package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var columnLine = regexp.MustCompile(`(?m)^    (?:ADD COLUMN IF NOT EXISTS )?([a-z_]\w*) ((?:Array|Map|Nullable|LowCardinality|Decimal|DateTime64)\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)|[A-Z]\w*)(.*?)(?: AFTER \w+)?,?$`)

// definitions reads the migrations: table to column to its definition (type, comment, codec).
func definitions() (map[string]map[string]string, error) {
	all, err := migrations()
	if err != nil {
		return nil, err
	}
	tables := map[string]map[string]string{}
	for _, m := range all {
		for _, st := range m.list {
			text := st.text[len(leadingComments.FindString(st.text)):]
			head := createTable.FindStringSubmatch(text)
			if head == nil {
				head = alterTable.FindStringSubmatch(text)
			}
			if head == nil {
				continue
			}
			if tables[head[1]] == nil {
				tables[head[1]] = map[string]string{}
			}
			for _, c := range columnLine.FindAllStringSubmatch(text, -1) {
				tables[head[1]][c[1]] = c[2] + strings.TrimSuffix(strings.TrimSuffix(c[3], ";"), ",")
			}
		}
	}
	return tables, nil
}

// typeOf is the type that a definition begins with.
func typeOf(definition string) string {
	for _, end := range []string{" COMMENT ", " CODEC(", " DEFAULT "} {
		definition, _, _ = strings.Cut(definition, end)
	}
	return strings.TrimSpace(definition)
}

// checkColumns holds the columns of the tables against what the migrations gave them. One that somebody dropped is made
// again, empty for the rows of before; one whose type was changed is a finding, because values may have been lost by it.
func (s *Store) checkColumns(ctx context.Context) error {
	wanted, err := definitions()
	if err != nil {
		return err
	}
	found := map[string]map[string]string{}
	rows, err := s.conn.Query(ctx, "SELECT table, name, type FROM system.columns WHERE database = currentDatabase()")
	if err != nil {
		return fmt.Errorf("clickhouse: read system.columns: %w", explain(err, "system.columns"))
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var table, name, kind string
		if err := rows.Scan(&table, &name, &kind); err != nil {
			return fmt.Errorf("clickhouse: read system.columns: %w", err)
		}
		if found[table] == nil {
			found[table] = map[string]string{}
		}
		found[table][name] = kind
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("clickhouse: read system.columns: %w", explain(err, "system.columns"))
	}
	var findings []error
	for _, table := range tableNames {
		for _, stored := range slices.Compact([]string{s.place.stored(table), table}) {
			if found[stored] == nil {
				continue // checkTables says so
			}
			for _, name := range slices.Sorted(maps.Keys(wanted[table])) {
				findings = append(findings, s.checkColumn(ctx, stored, name, wanted[table][name], found[stored][name]))
			}
		}
	}
	return errors.Join(findings...)
}

func (s *Store) checkColumn(ctx context.Context, table, name, definition, found string) error {
	switch {
	case found == typeOf(definition):
		return nil
	case found != "":
		return fmt.Errorf("clickhouse table %s: column %s is %s, and the migrations made it %s: ALTER TABLE %s MODIFY COLUMN %s %s",
			table, name, found, typeOf(definition), table, name, typeOf(definition))
	}
	at := table
	if s.place.cluster != "" {
		at = s.place.database + "." + table + s.place.onCluster()
	}
	if err := s.ddl(ctx, "ALTER TABLE "+at+" ADD COLUMN IF NOT EXISTS "+name+" "+definition); err != nil {
		return fmt.Errorf("clickhouse table %s lacks the column %s, and it cannot be made again: %w", table, name, err)
	}
	s.log.Warn().Str("table", table).Str("column", name).Msg("somebody dropped a column: it is there again, empty for the rows of before; load them again to fill it")
	return nil
}
