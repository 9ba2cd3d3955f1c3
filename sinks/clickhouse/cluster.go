package clickhouse

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// A place says where the tables are: on one server, or spread over a cluster. On a cluster each table of records is two:
// NAME_local, replicated, on each shard, and NAME, which reads and writes all of them. Its rows are spread by Kafka
// partition, so that a range, which is of one partition, goes to one shard in one block, and its token is known there.
type place struct {
	database string
	cluster  string // empty: one server
}

// clusterName keeps the cluster's name, which is put into statements as text, to what needs no quoting.
var clusterName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,127}$`)

// everywhere are the tables that every server of a cluster holds whole: they are small, and each statement asks them.
var everywhere = []string{"schema_migrations", "erasure_keys", "erased_subjects", "erasures"}

const localSuffix = "_local"

// stored names the table that holds a table's rows.
func (p place) stored(table string) string {
	if p.cluster == "" || slices.Contains(everywhere, table) {
		return table
	}
	return table + localSuffix
}

// altered is how ALTER names the table that holds a table's rows, everywhere.
func (p place) altered(table string) string {
	if p.cluster == "" {
		return table
	}
	return p.database + "." + p.stored(table) + p.onCluster()
}

func (p place) onCluster() string {
	if p.cluster == "" {
		return ""
	}
	return " ON CLUSTER '" + p.cluster + "'"
}

var (
	leadingComments = regexp.MustCompile(`^(?:\s+|--[^\n]*(?:\n|$))*`)
	createTable     = regexp.MustCompile(`^CREATE TABLE IF NOT EXISTS (\w+)`)
	createView      = regexp.MustCompile(`^(CREATE (?:OR REPLACE VIEW|MATERIALIZED VIEW IF NOT EXISTS)) (\w+)`)
	alterTable      = regexp.MustCompile(`^ALTER TABLE (\w+)`)
	engineOf        = regexp.MustCompile(`(?m)^ENGINE = (\w*MergeTree)(?:\(([^)]*)\))?`)
	sourceOf        = regexp.MustCompile(`\b(FROM|JOIN|TO) ([a-z]\w*)\b`)
)

// statements turns one statement of the migrations into those that have its effect in this place.
func (p place) statements(text string) ([]string, error) {
	if p.cluster == "" {
		return []string{text}, nil
	}
	text = text[len(leadingComments.FindString(text)):]
	switch {
	case createTable.MatchString(text):
		return p.tables(text)
	case createView.MatchString(text):
		m := createView.FindStringSubmatch(text)
		rest := text[len(m[0]):]
		if strings.HasPrefix(m[1], "CREATE MATERIALIZED") { // it sees what is inserted into the table of its own server
			rest = sourceOf.ReplaceAllStringFunc(rest, func(s string) string {
				verb, table, _ := strings.Cut(s, " ")
				return verb + " " + p.database + "." + p.stored(table)
			})
		}
		return []string{m[1] + " " + p.database + "." + m[2] + p.onCluster() + rest}, nil
	case alterTable.MatchString(text):
		m := alterTable.FindStringSubmatch(text)
		list := []string{"ALTER TABLE " + p.altered(m[1]) + text[len(m[0]):]}
		if p.stored(m[1]) != m[1] && strings.Contains(text, "COLUMN") {
			if strings.Contains(text, "ADD INDEX") || strings.Contains(text, "ADD PROJECTION") {
				return nil, fmt.Errorf("one statement changes columns and indexes of %s, and a Distributed table has no indexes: make two", m[1])
			}
			list = append(list, "ALTER TABLE "+p.database+"."+m[1]+p.onCluster()+text[len(m[0]):])
		}
		return list, nil
	}
	return nil, fmt.Errorf("no form for a cluster is known of %.60q", text)
}

// tables makes the replicated table, and the one over all shards.
func (p place) tables(text string) ([]string, error) {
	m := createTable.FindStringSubmatch(text)
	name := m[1]
	stored := p.stored(name)
	engine := engineOf.FindStringSubmatch(text)
	if engine == nil {
		return nil, fmt.Errorf("table %s has no engine of the MergeTree family", name)
	}
	path, replica := "{shard}/"+p.database+"/"+stored, "{replica}"
	if stored == name {
		path, replica = "all/"+p.database+"/"+stored, "{shard}-{replica}"
	}
	arguments := "'/clickhouse/tables/" + path + "', '" + replica + "'"
	if engine[2] != "" {
		arguments += ", " + engine[2]
	}
	text = strings.Replace(text, engine[0], "ENGINE = Replicated"+engine[1]+"("+arguments+")", 1)
	list := []string{"CREATE TABLE IF NOT EXISTS " + p.database + "." + stored + p.onCluster() + text[len(m[0]):]}
	if stored == name {
		return list, nil
	}
	spread := "rand()" // written by views on each shard, never from outside
	if strings.Contains(text, "\n    _partition ") {
		spread = "_partition"
	}
	return append(list, "CREATE TABLE IF NOT EXISTS "+p.database+"."+name+p.onCluster()+" AS "+p.database+"."+stored+
		" ENGINE = Distributed('"+p.cluster+"', '"+p.database+"', '"+stored+"', "+spread+")"), nil
}

// checkCluster makes sure that the server knows the cluster and what replicated tables need.
func (s *Store) checkCluster(ctx context.Context, conn driver.Conn) error {
	if s.place.cluster == "" {
		return nil
	}
	var known, macros []string
	err := conn.QueryRow(ctx, "SELECT (SELECT groupUniqArray(cluster) FROM system.clusters), (SELECT groupUniqArray(macro) FROM system.macros)").Scan(&known, &macros)
	if err != nil {
		return fmt.Errorf("clickhouse: read system.clusters and system.macros: %w", explain(err, "system.clusters"))
	}
	slices.Sort(known)
	if !slices.Contains(known, s.place.cluster) {
		return fmt.Errorf("clickhouse knows no cluster %q, only [%s]: correct clickhouse.cluster, or name it under remote_servers on every server", s.place.cluster, strings.Join(known, ", "))
	}
	for _, macro := range []string{"shard", "replica"} {
		if !slices.Contains(macros, macro) {
			return fmt.Errorf("clickhouse has no macro {%s}, which replicated tables are told apart by: define it under macros on every server of the cluster", macro)
		}
	}
	var keeper uint64
	if err := conn.QueryRow(ctx, "SELECT count() FROM system.zookeeper WHERE path = '/'").Scan(&keeper); err != nil {
		return fmt.Errorf("clickhouse has no Keeper, which replicated tables and ON CLUSTER need: configure keeper or zookeeper on every server: %w", explain(err, "system.zookeeper"))
	}
	return nil
}
