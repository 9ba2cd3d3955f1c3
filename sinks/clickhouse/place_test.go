package clickhouse

import (
	"context"
	goflag "flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"
)

var update = goflag.Bool("update", false, "write the golden files anew")

// golden holds got against a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); with -update it is written anew:\n%s", path, diff)
	}
}

// clusterStatements are all statements that a cluster gets.
func clusterStatements(t *testing.T, versions ...uint32) (list []string) {
	t.Helper()
	p := place{"shop", "main"}
	all, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{migrationsTable}
	for _, m := range all {
		if len(versions) > 0 && !slices.Contains(versions, m.version) {
			continue
		}
		for _, st := range m.list {
			texts = append(texts, st.text)
		}
	}
	for _, text := range texts {
		one, err := p.statements(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, one...)
	}
	return list
}

// The tables of a cluster are made from the definitions of one server. The golden file shows one migration of each sort, and
// of its views only that they are there: only their heads change.
func TestStatementsOfACluster(t *testing.T) {
	for _, text := range clusterStatements(t) {
		if head, _, _ := strings.Cut(text, "\n"); !strings.Contains(head, " ON CLUSTER 'main'") {
			t.Errorf("%q is run on one server only", head)
		}
	}
	var tables []string
	for _, text := range clusterStatements(t, 1, 4, 6) {
		head, _, _ := strings.Cut(text, "\n")
		if strings.HasPrefix(text, "CREATE OR REPLACE VIEW") {
			text = head + " ..."
		}
		if engine := engineOf.FindString(text); strings.HasPrefix(text, "CREATE TABLE") && engine != "" {
			text = head + " ... " + engine
		}
		tables = append(tables, text)
	}
	golden(t, "cluster.sql", strings.Join(tables, ";\n")+";\n")
}

func TestOneServerGetsTheMigrationsAsTheyAre(t *testing.T) {
	all, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range all[0].list {
		if list, err := (place{"shop", ""}).statements(st.text); err != nil || len(list) != 1 || list[0] != st.text {
			t.Errorf("got %v, %v, want the statement itself", list, err)
		}
	}
	if got := (place{"shop", ""}).stored("events"); got != "events" {
		t.Errorf("rows are stored in %s", got)
	}
}

func TestAViewThatSeesInsertsReadsTheTablesOfItsShard(t *testing.T) {
	got, err := (place{"shop", "main"}).statements("-- why\nCREATE MATERIALIZED VIEW IF NOT EXISTS fill TO orders_latest AS SELECT argMax(a, b) FROM transitions AS t GROUP BY c")
	want := []string{"CREATE MATERIALIZED VIEW IF NOT EXISTS shop.fill ON CLUSTER 'main' TO shop.orders_latest_local AS SELECT argMax(a, b) FROM shop.transitions_local AS t GROUP BY c"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestWhatHasNoFormForAClusterIsRefused(t *testing.T) {
	for _, text := range []string{
		"INSERT INTO events SELECT * FROM other", "CREATE TABLE IF NOT EXISTS x (a Int64) ENGINE = Log",
		"ALTER TABLE events ADD COLUMN IF NOT EXISTS a Int64, ADD INDEX IF NOT EXISTS b a TYPE minmax",
	} {
		if got, err := (place{"shop", "main"}).statements(text); err == nil {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestRetentionOptions(t *testing.T) {
	for _, c := range []struct {
		name string
		kept map[string]time.Duration
		want string
	}{
		{"good", map[string]time.Duration{"events": 400 * day, "deliveries": 0}, ""},
		{"no table", map[string]time.Duration{"event": 400 * day}, `no table "event"`},
		{"too short", map[string]time.Duration{"events": day}, "use whole days"},
		{"no whole day", map[string]time.Duration{"events": 10*day + time.Hour}, "use whole days"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(context.Background(), Options{Client: &clickhouse.Options{Addr: []string{"127.0.0.1:1"}}, Retention: c.kept, Now: time.Now})
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestAClusterNameIsChecked(t *testing.T) {
	if _, err := Open(context.Background(), Options{Client: &clickhouse.Options{Addr: []string{"127.0.0.1:1"}}, Cluster: "a'b", Now: time.Now}); err == nil {
		t.Error("a quote was accepted")
	}
}

func TestWhatAnOldServerLacksIsNamed(t *testing.T) {
	has := map[string]bool{}
	for _, f := range features {
		has[f.in+" "+f.name] = true
	}
	if err := lacking("26.7", has); err != nil {
		t.Error(err)
	}
	delete(has, "settings insert_deduplication_token")
	if err := lacking("21.8", has); err == nil || !strings.Contains(err.Error(), "clickhouse 21.8 lacks") || !strings.Contains(err.Error(), "insert_deduplication_token (a repeated range") ||
		!strings.Contains(err.Error(), "use 23.8 or newer") {
		t.Errorf("got %v, want what it lacks, what for, and what to use", err)
	}
}

// ClusterStatements lets the tests with an engine parse what a cluster gets.
func ClusterStatements(t *testing.T) []string { return clusterStatements(t) }
