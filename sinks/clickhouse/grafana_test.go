package clickhouse_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/sinks/clickhouse"
)

// dashboard is what the tests read of a dashboard's JSON.
type dashboard struct {
	UID, Title string
	Templating struct{ List []variable }
	Panels     []struct {
		ID         int
		Title      string
		Type       string
		Datasource source
		GridPos    struct{ X, Y, W, H int }
		Targets    []struct {
			Datasource source
			RawSQL     string
			Format     int
		}
	}
}

type variable struct {
	Name, Type string
	Query      any
	Datasource source
}

type source struct{ Type, UID string }

func dashboards(t *testing.T) (list []dashboard) {
	t.Helper()
	files, err := filepath.Glob("../../deploy/grafana/dashboards/*.json")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d dashboards, %v", len(files), err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		if d.UID == "" || d.Title == "" || len(d.Panels) == 0 {
			t.Errorf("%s: no uid, title or panels", f)
		}
		list = append(list, d)
	}
	return list
}

// macros of the ClickHouse data source of Grafana, as its documentation says what they become.
var macros = []struct {
	name *regexp.Regexp
	as   func(from, to time.Time, column string) string
}{
	{regexp.MustCompile(`\$__timeFilter\(([^)]*)\)`), func(from, to time.Time, column string) string {
		return fmt.Sprintf("%[1]s >= toDateTime(%[2]d) AND %[1]s <= toDateTime(%[3]d)", column, from.Unix(), to.Unix())
	}},
	{regexp.MustCompile(`\$__timeInterval\(([^)]*)\)`), func(_, _ time.Time, column string) string {
		return fmt.Sprintf("toStartOfInterval(toDateTime(%s), INTERVAL 60 second)", column)
	}},
	{regexp.MustCompile(`\$__fromTime()`), func(from, _ time.Time, _ string) string { return fmt.Sprintf("toDateTime(%d)", from.Unix()) }},
	{regexp.MustCompile(`\$__toTime()`), func(_, to time.Time, _ string) string { return fmt.Sprintf("toDateTime(%d)", to.Unix()) }},
	{regexp.MustCompile(`\$\{__from:date:iso\}()`), func(from, _ time.Time, _ string) string { return from.Format("2006-01-02T15:04:05.000Z") }},
	{regexp.MustCompile(`\$\{__to:date:iso\}()`), func(_, to time.Time, _ string) string { return to.Format("2006-01-02T15:04:05.000Z") }},
}

func substituted(sql string, from, to time.Time, values map[string]string) string {
	for _, m := range macros {
		sql = m.name.ReplaceAllStringFunc(sql, func(found string) string { return m.as(from, to, m.name.FindStringSubmatch(found)[1]) })
	}
	for name, value := range values {
		sql = strings.ReplaceAll(sql, "${"+name+"}", value)
	}
	return sql
}

// Every query of every panel and variable runs, read only, as Grafana sends it; and of a past with something of everything
// no panel is empty.
func TestEveryQueryOfTheDashboardsRuns(t *testing.T) {
	store, conn := prepared(t)
	insertPast(t, store, conn)
	from, to := moment("01-01 00:00"), moment("12-31 00:00")
	values := map[string]string{"environment": "live", "store": "", "currency": "EUR"}
	run := func(what, sql string) int {
		t.Helper()
		sql = substituted(sql, from, to, values)
		if strings.Contains(sql, "$") {
			t.Errorf("%s: something is left to substitute: %s", what, sql)
			return 1
		}
		res, err := store.Query(context.Background(), sql, clickhouse.Limits{Time: time.Minute})
		if err != nil {
			t.Errorf("%s: %v\n%s", what, err, sql)
			return 1
		}
		return len(res.Rows)
	}
	for _, d := range dashboards(t) {
		for _, v := range d.Templating.List {
			if v.Type != "query" {
				continue
			}
			if sql, _ := v.Query.(string); run(d.UID+" variable "+v.Name, sql) == 0 {
				t.Errorf("%s: the variable %s has no values", d.UID, v.Name)
			}
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				if run(d.UID+" panel "+p.Title, target.RawSQL) == 0 {
					t.Errorf("%s: the panel %q is empty", d.UID, p.Title)
				}
				if timed := strings.Contains(target.RawSQL, " AS time"); timed != (p.Type == "timeseries") || timed != (target.Format == 0) {
					t.Errorf("%s: the panel %q is a %s in format %d, its query is timed: %v", d.UID, p.Title, p.Type, target.Format, timed)
				}
			}
		}
	}
}

// Grafana shows one panel where two have one id or one place, and nothing where the data source is not the provisioned one.
func TestDashboardsAreWellFormed(t *testing.T) {
	provisioned, err := os.ReadFile("../../deploy/grafana/provisioning/datasources/tillstream.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dashboards(t) {
		var ids []int
		taken := map[[2]int]string{}
		sources := []source{}
		for _, p := range d.Panels {
			if slices.Contains(ids, p.ID) {
				t.Errorf("%s: two panels have the id %d", d.UID, p.ID)
			}
			ids = append(ids, p.ID)
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if other, ok := taken[[2]int{x, y}]; ok || x >= 24 {
						t.Fatalf("%s: the panel %q lies over %q, or beyond the edge", d.UID, p.Title, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
			sources = append(sources, p.Datasource)
			for _, target := range p.Targets {
				sources = append(sources, target.Datasource)
				if strings.Contains(target.RawSQL, "${currency}") && !strings.Contains(target.RawSQL, "WHERE currency = '${currency}'") {
					t.Errorf("%s: the panel %q does not keep to one currency", d.UID, p.Title)
				}
			}
		}
		for _, v := range d.Templating.List {
			if v.Type == "query" {
				sources = append(sources, v.Datasource)
			}
		}
		for _, s := range sources {
			if !strings.Contains(string(provisioned), "uid: "+s.UID+"\n") || !strings.Contains(string(provisioned), "type: "+s.Type+"\n") {
				t.Errorf("%s: the data source %+v is not provisioned", d.UID, s)
			}
		}
	}
}
