package clickhouse

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// MaskedPrefix opens the names of the masked views: masked_events is events for those who may not see persons.
const MaskedPrefix = "masked_"

// piiMark opens the comment of each column that names or finds a person.
const piiMark = "PII"

// A columnInfo is a column as the server describes it.
type columnInfo struct {
	name, kind string
	pii        bool
}

// described lists the columns of the tables of records, in their order.
func (s *Store) described(ctx context.Context) (map[string][]columnInfo, error) {
	stored := map[string]string{}
	var names []string
	for _, t := range tableNames {
		stored[s.place.stored(t)] = t
		names = append(names, s.place.stored(t))
	}
	rows, err := s.conn.Query(ctx, "SELECT table, name, type, startsWith(comment, ?) FROM system.columns WHERE database = currentDatabase() AND table IN ? ORDER BY table, position", piiMark, set(names))
	if err != nil {
		return nil, fmt.Errorf("clickhouse: read system.columns: %w", explain(err, "system.columns"))
	}
	defer func() { _ = rows.Close() }()
	tables := map[string][]columnInfo{}
	for rows.Next() {
		var table string
		var c columnInfo
		var pii uint8
		if err := rows.Scan(&table, &c.name, &c.kind, &pii); err != nil {
			return nil, fmt.Errorf("clickhouse: read system.columns: %w", err)
		}
		c.pii = pii != 0
		tables[stored[table]] = append(tables[stored[table]], c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("clickhouse: read system.columns: %w", explain(err, "system.columns"))
	}
	return tables, nil
}

// masked is the expression of a column for those who may not see persons: an address keeps its first letter and its domain,
// everything else that names a person becomes three stars. What is empty stays so.
func (c columnInfo) masked() string {
	switch {
	case !c.pii:
		return "t." + c.name
	case strings.HasPrefix(c.kind, "Array("):
		return "arrayMap(x -> if(x = '', '', '***'), t." + c.name + ") AS " + c.name
	case strings.HasPrefix(c.kind, "Map("):
		return "mapApply((k, v) -> (k, if(v = '', '', '***')), t." + c.name + ") AS " + c.name
	case c.name == "contact_key" || strings.HasSuffix(c.name, "_email"):
		return `if(position(t.` + c.name + `, '@') > 0, replaceRegexpOne(t.` + c.name + `, '^([a-z]+/)?(.)[^@]*@', '\\1\\2***@'), if(t.` + c.name + ` = '', '', '***')) AS ` + c.name
	}
	return "if(t." + c.name + " = '', '', '***') AS " + c.name
}

// maskedView is the text of a table's masked view. definer gives it the rights of who made it, so that a viewer needs no
// right on the table.
func (p place) maskedView(table string, columns []columnInfo, definer bool) string {
	expressions := make([]string, len(columns))
	for i, c := range columns {
		expressions[i] = "\n    " + c.masked()
	}
	rights := ""
	if definer {
		rights = " DEFINER = CURRENT_USER SQL SECURITY DEFINER"
	}
	query := "SELECT" + strings.Join(expressions, ",") + "\nFROM " + p.database + "." + table + " AS t"
	sum := sha256.Sum256([]byte(rights + query))
	return "CREATE OR REPLACE VIEW " + p.database + "." + MaskedPrefix + table + p.onCluster() + rights + "\nAS " + query +
		"\nCOMMENT '" + table + " without what names a person " + hex.EncodeToString(sum[:6]) + "'"
}

// maskTables makes or renews the masked view of each table that has changed since. Views follow the columns that there
// are, so that a column of a newer version is masked too.
func (s *Store) maskTables(ctx context.Context) error {
	tables, err := s.described(ctx)
	if err != nil {
		return err
	}
	var definer uint64
	var views []string
	err = s.conn.QueryRow(ctx, "SELECT (SELECT count() FROM system.settings WHERE name = 'default_normal_view_sql_security'), "+
		"(SELECT groupArray(comment) FROM system.tables WHERE database = currentDatabase() AND startsWith(name, ?))", MaskedPrefix).Scan(&definer, &views)
	if err != nil {
		return fmt.Errorf("clickhouse: read the masked views: %w", explain(err, "system.tables"))
	}
	for _, table := range tableNames {
		text := s.place.maskedView(table, tables[table], definer > 0)
		_, comment, _ := strings.Cut(text, "\nCOMMENT '")
		if slices.Contains(views, strings.TrimSuffix(comment, "'")) {
			continue
		}
		if err := s.ddl(ctx, text); err != nil {
			return fmt.Errorf("clickhouse: make the masked view of %s: %w", table, err)
		}
	}
	return nil
}

// Grants are the statements that let a role see the masked views and nothing else. A server that cannot give views the
// rights of their maker (before 24.2) also needs a right on the columns that name nobody.
func Grants(database, role string) []string {
	list := []string{"CREATE ROLE IF NOT EXISTS " + role}
	for _, table := range tableNames {
		list = append(list, "GRANT SELECT ON "+database+"."+MaskedPrefix+table+" TO "+role)
	}
	return list
}
