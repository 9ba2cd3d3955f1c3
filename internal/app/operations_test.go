package app

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/pipeline/deliver"
	"github.com/tillstream/tillstream/pipeline/enrich"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/load"
	"github.com/tillstream/tillstream/pipeline/pauses"
	"github.com/tillstream/tillstream/pipeline/poll"
	"github.com/tillstream/tillstream/pipeline/store/redisstore"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

const root = "../.."

// TestOperationsPage holds docs/operations.md and examples/alerts.yaml against the program: every reason has a row and a
// rule, every metric a row, and neither file speaks of one that is not there.
func TestOperationsPage(t *testing.T) {
	page, alerts := read(t, "docs/operations.md"), alertRules(t)
	metrics := metricsOfAProcess(t)

	stage := reasons(t, "pipeline")
	if len(stage) < 13 {
		t.Errorf("only %d reasons found: %v", len(stage), stage)
	}
	_, section, _ := strings.Cut(page, "\n## Reasons of a stalled partition\n")
	section, rest, _ := strings.Cut(section, "\n## ")
	if diff := cmp.Diff(stage, firstCells(section)); diff != "" {
		t.Errorf("reasons with a row (-the program's +the page's):\n%s", diff)
	}
	for _, sink := range []string{"load", "deliver"} {
		_, after, ok := strings.Cut(section, "tillstream_"+sink+"_partitions_stalled")
		for _, reason := range reasons(t, "pipeline/"+sink) {
			if !ok || !strings.Contains(after, "`"+reason+"`") {
				t.Errorf("the reason %s of %s is not explained beside its metric", reason, sink)
			}
		}
	}
	var ruled []string
	for _, a := range alerts {
		for _, m := range regexp.MustCompile(`tillstream_partitions_stalled\{reason="([A-Z_]+)"\}`).FindAllStringSubmatch(a.Expr, -1) {
			ruled = append(ruled, m[1])
		}
	}
	slices.Sort(ruled)
	if diff := cmp.Diff(stage, ruled); diff != "" {
		t.Errorf("reasons with an alert rule (-the program's +the rules'):\n%s", diff)
	}

	_, table, _ := strings.Cut(rest, "## Metrics\n")
	if diff := cmp.Diff(metrics, firstCells(table)); diff != "" {
		t.Errorf("metrics (-the program's +the page's):\n%s", diff)
	}
	for file, text := range map[string]string{"docs/operations.md": page, "examples/alerts.yaml": read(t, "examples/alerts.yaml")} {
		for _, name := range regexp.MustCompile(`\btillstream_[a-z_]+`).FindAllString(text, -1) {
			base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
			if !slices.Contains(metrics, name) && !slices.Contains(metrics, base) {
				t.Errorf("%s names %s, which the program does not have", file, name)
			}
		}
	}
}

// The gauge of stalled partitions carries the reason as a label, so that a rule can tell one from another.
func TestStallsAreShownByReason(t *testing.T) {
	found := false
	for _, d := range describe(t) {
		if strings.Contains(d, `fqName: "tillstream_partitions_stalled"`) {
			found = strings.Contains(d, "partition") && strings.Contains(d, "reason") && strings.Contains(d, `stage="orders"`)
		}
	}
	if !found {
		t.Error("tillstream_partitions_stalled has no labels stage, partition and reason")
	}
}

func TestEachAlertSaysWhatToDo(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range alertRules(t) {
		if seen[a.Alert] || !regexp.MustCompile(`^Tillstream[A-Za-z]+$`).MatchString(a.Alert) {
			t.Errorf("alert %q: names are unique and begin with Tillstream", a.Alert)
		}
		seen[a.Alert] = true
		if a.Annotations["summary"] == "" || a.Annotations["action"] == "" {
			t.Errorf("%s: summary and action are missing: %v", a.Alert, a.Annotations)
		}
		if s := a.Labels["severity"]; s != "warning" && s != "critical" {
			t.Errorf("%s: severity %q", a.Alert, s)
		}
		if !regexp.MustCompile(`^\d+m$`).MatchString(a.For) || strings.Count(a.Expr, "(") != strings.Count(a.Expr, ")") || strings.Count(a.Expr, "{") != strings.Count(a.Expr, "}") {
			t.Errorf("%s: for %q, expr %q", a.Alert, a.For, a.Expr)
		}
	}
	if len(seen) < 25 {
		t.Errorf("only %d alerts", len(seen))
	}
}

// Every test that the page names is there.
func TestThePageNamesRealTests(t *testing.T) {
	for _, m := range regexp.MustCompile("`((?:[a-z0-9]+/)*[a-z0-9]+)\\.(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(read(t, "docs/operations.md"), -1) {
		files, _ := filepath.Glob(filepath.Join(root, m[1], "*_test.go"))
		if !slices.ContainsFunc(files, func(f string) bool {
			text, err := os.ReadFile(f)
			return err == nil && strings.Contains(string(text), "func "+m[2]+"(")
		}) {
			t.Errorf("there is no test %s in %s", m[2], m[1])
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func alertRules(t *testing.T) (out []rule) {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.UnmarshalWithOptions([]byte(read(t, "examples/alerts.yaml")), &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		out = append(out, g.Rules...)
	}
	return out
}

// firstCells are the names in the first column of a table whose other cells are filled, sorted.
func firstCells(section string) (out []string) {
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 4 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		if slices.ContainsFunc(cells[2:len(cells)-1], func(c string) bool { return strings.TrimSpace(c) == "" }) {
			continue
		}
		out = append(out, strings.Trim(cells[1], " `"))
	}
	slices.Sort(out)
	return out
}

// reasons are the values of a package's constants of type Reason, sorted.
func reasons(t *testing.T, dir string) (out []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || len(v.Values) != 1 {
				return true
			}
			kind, _ := v.Type.(*ast.Ident)
			if sel, ok := v.Type.(*ast.SelectorExpr); ok { // another package's
				kind = sel.Sel
			}
			value, lit := v.Values[0].(*ast.BasicLit)
			if lit && kind != nil && kind.Name == "Reason" {
				out = append(out, strings.Trim(value.Value, `"`))
			}
			return true
		})
	}
	slices.Sort(out)
	return out
}

// noIDs gives every record the same id: nothing is encoded here.
type noIDs struct{}

func (noIDs) ID(string) (int, error)        { return 1, nil }
func (noIDs) Schema(id int) (string, error) { return "", codec.ErrUnknownSchema }

// describe is what the metrics of a process with every role say of themselves. Nothing is connected.
func describe(t *testing.T) (out []string) {
	t.Helper()
	reg := prometheus.NewRegistry()
	ids, err := codec.New(noIDs{})
	if err != nil {
		t.Fatal(err)
	}
	brokers := kafka.Options{Brokers: []string{"127.0.0.1:1"}}
	_, err = pipeline.NewEngine(pipeline.EngineOptions{
		Kafka: brokers, Store: redisstore.New(nil), Codec: ids, Instance: "one", Registerer: reg,
		Topology: pipeline.Topology{Stage: pipeline.Bind(orders.New(orders.Options{})), Inputs: []string{"in"}, Inbox: "in", Changelog: "log", Group: "g"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := deliver.New(deliver.Options{Kafka: brokers, Codec: ids, Group: "g", Instance: "one", Registerer: reg}); err != nil {
		t.Fatal(err)
	}
	if _, err := load.New(load.Options{
		Kafka: brokers, Codec: ids, Writer: &chsink.Store{}, Topics: chsink.Topics(), Registerer: reg,
		DeadLetters: func(context.Context, schemas.DeadLetter) error { return nil },
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := ingest.New(ingest.Options{Appender: &gate{}, Encode: ids.Encode, Registerer: reg}); err != nil {
		t.Fatal(err)
	}
	keeper := ingest.Keeper{Appender: &gate{}, Encode: ids.Encode}
	if _, err := poll.New(poll.Options{Kafka: brokers, Codec: ids, Keeper: keeper, Group: "g", Registerer: reg}); err != nil {
		t.Fatal(err)
	}
	if _, err := enrich.New(enrich.Options{Kafka: brokers, Decode: ids.Decode, Keeper: keeper, Group: "g", Registerer: reg}); err != nil {
		t.Fatal(err)
	}
	reg.MustRegister(api.NewBoard(nil), newGroups(), &connections.Manager{}, &follower{}, &pauses.Follower{})
	ch := make(chan *prometheus.Desc)
	go func() { reg.Describe(ch); close(ch) }()
	for d := range ch {
		out = append(out, d.String())
	}
	return out
}

var fqName = regexp.MustCompile(`fqName: "([a-z_]+)"`)

func metricsOfAProcess(t *testing.T) (out []string) {
	t.Helper()
	for _, d := range describe(t) {
		if m := fqName.FindStringSubmatch(d); m != nil && strings.HasPrefix(m[1], "tillstream_") {
			out = append(out, m[1])
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Every kind of alarm has a row and a rule.
func TestEveryAlarmIsExplained(t *testing.T) {
	_, section, _ := strings.Cut(read(t, "docs/operations.md"), "\n## Connections while running\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if diff := cmp.Diff(connections.AlarmKinds(), firstCells(section)); diff != "" {
		t.Errorf("alarms with a row (-the program's +the page's):\n%s", diff)
	}
	var ruled []string
	for _, a := range alertRules(t) {
		for _, m := range regexp.MustCompile(`tillstream_connection_alarm\{alarm="([a-z]+)"\}`).FindAllStringSubmatch(a.Expr, -1) {
			ruled = append(ruled, m[1])
		}
	}
	slices.Sort(ruled)
	if diff := cmp.Diff(connections.AlarmKinds(), ruled); diff != "" {
		t.Errorf("alarms with a rule (-the program's +the rules'):\n%s", diff)
	}
}
