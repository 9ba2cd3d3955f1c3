package archtest

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/tillstream/tillstream"

// allowed says what each folder (longest match wins) may import of ours: "x" the package, "x/..." also what is below.
// A folder without a row may import nothing of ours, so that a new folder fails until its row is written.
var allowed = map[string]string{
	"schemas":                   "schemas/money", // the vocabulary knows money and nothing else
	"schemas/money":             "",
	"schemas/codec":             "schemas schemas/money",
	"schemas/registry":          "schemas schemas/money schemas/codec",
	"schemas/strictjson":        "",
	"schemas/past":              "schemas",
	"connectors":                "connectors schemas schemas/money schemas/strictjson outbound", // never another connector
	"connectors/all":            "connectors/...",
	"connectors/connectorstest": "connectors schemas schemas/money schemas/strictjson outbound",
	"processors":                "processors/... schemas schemas/money",
	"processors/processorstest": "processors/... schemas schemas/money",
	"sinks":                     "sinks schemas schemas/money outbound",              // never another sink
	"sinks/clickhouse":          "sinks schemas schemas/money schemas/past outbound", // it looks up what is past
	"sinks/all":                 "sinks/...",
	"outbound":                  "schemas",
	"pipeline":                  "pipeline/... connectors processors sinks schemas/... outbound", // interfaces, never a leaf
	"api":                       "api pipeline/... schemas/... connectors sinks outbound",
	"embedded":                  "embedded/... pipeline/... schemas/...",
	"simulators":                "simulators schemas schemas/money schemas/strictjson outbound",
	"simulators/activecampaign": "simulators schemas schemas/money",
	"simulators/paypal":         "simulators schemas schemas/money",
	"simulators/story":          "simulators schemas schemas/money",
	"bench":                     "bench/workload pipeline/... processors schemas/... internal/e2e/parts",                                        // programs that measure
	"bench/ingest":              "connectors connectors/... pipeline/... schemas/... outbound embedded internal/e2e/parts",                      // drives every connector
	"bench/load":                "pipeline/... schemas schemas/codec sinks sinks/clickhouse embedded/chdb embedded/chserver internal/e2e/parts", // the loader, its store and an engine
	"docs":                      "",
	"web":                       "docs", // knows the API by its addresses alone
	"web/build":                 "",
	"web/webtest":               "api pipeline/access sinks/clickhouse", // the shapes of what the page reads
	"cmd":                       "...",
	"internal":                  "...",
	"examples":                  "", // the files that init writes
}

// direct must not be imported, reached not even through a library; the value is the reason.
var direct = map[string]map[string]string{"processors": {
	"os": "no I/O in a stage", "context": "a stage is never cancelled", "sync": "a stage runs in one goroutine",
	"math/rand": "deterministic", "math/rand/v2": "deterministic", "crypto/rand": "deterministic", // decimals bring math/rand: hence direct only
}}

var reached = map[string]map[string]string{"processors": {
	"net/http": "no I/O in a stage", "os/exec": "no I/O in a stage", "database/sql": "no I/O in a stage",
	"github.com/twmb/franz-go/pkg/kgo": "the engine talks to Kafka", "github.com/redis/go-redis/v9": "the engine talks to Redis",
	"github.com/rs/zerolog": "a stage reports through its outputs",
}}

// exempt are packages of a folder that hold test machinery, which may do I/O.
var exempt = map[string]bool{"processors/processorstest": true}

type pkg struct {
	ImportPath, Dir, Doc string
	Imports, Deps        []string
}

// packages lists the module's packages. Opening every source file tells go test's cache about them; go list alone
// would leave a stale "ok (cached)" after a bad import was added.
func packages(t *testing.T) []pkg {
	t.Helper()
	_ = filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") {
			_, err = os.ReadFile(path)
		}
		return err
	})
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Imports,Deps", module+"/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var list []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

func TestImportsFollowTheLattice(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, imp := range p.Imports {
			if dep, ours := strings.CutPrefix(imp, module+"/"); ours && !may(name, dep) {
				t.Errorf("%s imports %s, which the layering does not allow", name, dep)
			}
		}
		if !exempt[name] {
			report(t, name, "imports", p.Imports, direct)
			report(t, name, "reaches", p.Deps, reached)
		}
	}
}

func TestTheLatticeRefusesWhatItShould(t *testing.T) {
	for _, edge := range [][2]string{
		{"schemas", "schemas/codec"},
		{"connectors/paypal", "connectors/woocommerce"},
		{"pipeline", "connectors/paypal"},
		{"pipeline/ingest", "sinks/activecampaign"},
		{"processors/orders", "schemas/codec"},
		{"sinks/clickhouse", "pipeline"},
		{"outbound", "connectors"},
		{"unheard/of", "schemas"},
	} {
		if may(edge[0], edge[1]) {
			t.Errorf("%s may import %s", edge[0], edge[1])
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" && len(p.Imports) > 0 {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
		if base := filepath.Base(p.ImportPath); base == "util" || base == "common" || base == "helper" || base == "helpers" {
			t.Errorf("%s: name the idea, not the drawer", p.ImportPath)
		}
	}
}

func report(t *testing.T, name, verb string, deps []string, bad map[string]map[string]string) {
	for folder, reasons := range bad {
		for _, dep := range deps {
			if why := reasons[dep]; why != "" && under(name, folder) {
				t.Errorf("%s %s %s: %s", name, verb, dep, why)
			}
		}
	}
}

func may(name, dep string) bool {
	rule, best := "", -1
	for folder, r := range allowed {
		if under(name, folder) && len(folder) > best {
			rule, best = r, len(folder)
		}
	}
	if under(dep, name) && strings.Contains(rule, "...") {
		return true
	}
	for f := range strings.FieldsSeq(rule) {
		tree, whole := strings.CutSuffix(f, "...")
		if dep == f || whole && (tree == "" || under(dep, strings.TrimSuffix(tree, "/"))) {
			return true
		}
	}
	return false
}

func under(name, folder string) bool { return name == folder || strings.HasPrefix(name, folder+"/") }
