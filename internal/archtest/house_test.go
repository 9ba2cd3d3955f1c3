package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	fileLinesMax     = 600
	functionLinesMax = 70
)

// longFunctions are those that are longer on purpose, with the reason.
var longFunctions = map[string]string{}

// clocks says where the clock may be read: at the edges. Everywhere else time is handed in.
var clocks = []string{"cmd/", "internal/", "embedded/", "simulators/", "outbound/", "pipeline/", "sinks/", "connectors/", "api/", "schemas/registry/"}

func sources(t *testing.T, visit func(path string, file *ast.File, set *token.FileSet)) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(path, "../../")
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2 || d.Name() == "testdata" || rel == "bench") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		visit(rel, f, set)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFilesAndFunctionsFitAScreen(t *testing.T) {
	sources(t, func(path string, f *ast.File, set *token.FileSet) {
		if strings.HasSuffix(path, "_test.go") || ast.IsGenerated(f) {
			return
		}
		if n := set.Position(f.End()).Line; n > fileLinesMax {
			t.Errorf("%s has %d lines (at most %d): is it still one idea?", path, n, fileLinesMax)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1
			if n > functionLinesMax && longFunctions[path+":"+fn.Name.Name] == "" {
				t.Errorf("%s: %s has %d lines (at most %d)", path, fn.Name.Name, n, functionLinesMax)
			}
		}
	})
}

func TestStagesReadNoClock(t *testing.T) {
	sources(t, func(path string, f *ast.File, set *token.FileSet) {
		for _, edge := range clocks {
			if strings.HasPrefix(path, edge) {
				return
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && (sel.Sel.Name == "Now" || sel.Sel.Name == "Sleep" || sel.Sel.Name == "Since") {
				t.Errorf("%s: time.%s: time is handed in here", set.Position(sel.Pos()), sel.Sel.Name)
			}
			return true
		})
	})
}

// scheduled are the packages that the simulator runs: what happens when is decided by their clock alone.
var (
	scheduled = []string{"pipeline", "pipeline/deliver", "pipeline/load"}
	unseamed  = map[string]string{
		"time": "Now Sleep Since Until After AfterFunc NewTimer NewTicker Tick", "context": "WithTimeout WithDeadline AfterFunc", "sync": "WaitGroup Cond NewCond",
	}
)

func TestTheSimulatedHaveNoClockOfTheirOwn(t *testing.T) {
	sources(t, func(path string, f *ast.File, set *token.FileSet) {
		if !slices.Contains(scheduled, filepath.ToSlash(filepath.Dir(path))) || strings.HasSuffix(path, "_test.go") {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt, *ast.SelectStmt:
				t.Errorf("%s: goroutines and waits are the clock's (package clock)", set.Position(n.Pos()))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && slices.Contains(strings.Fields(unseamed[x.Name]), n.Sel.Name) {
					t.Errorf("%s: %s.%s: ask the clock (package clock)", set.Position(n.Pos()), x.Name, n.Sel.Name)
				}
			}
			return true
		})
	})
}

// leftovers are words that a finished tree does not hold.
var leftovers = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME)\b|XX` + `X:`)

func TestNothingIsLeftUnfinished(t *testing.T) {
	sources(t, func(path string, f *ast.File, set *token.FileSet) {
		b, err := os.ReadFile(filepath.Join("../..", path))
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(b), "\n") {
			if leftovers.MatchString(line) {
				t.Errorf("%s:%d: %s", path, i+1, strings.TrimSpace(line))
			}
		}
	})
}

// TestFoldersAreListed: a connector or sink that is a folder is in the list, and the other way round.
func TestFoldersAreListed(t *testing.T) {
	for _, c := range []struct{ root, list string }{{"connectors", "all/all.go"}, {"sinks", "all/all.go"}} {
		b, err := os.ReadFile(filepath.Join("../..", c.root, c.list))
		if err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(filepath.Join("../..", c.root))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			name := e.Name()
			// The ClickHouse sink takes every topic, not commands, so it is no member of the CRM sinks' list.
			if !e.IsDir() || name == "all" || strings.HasSuffix(name, "test") || name == "clickhouse" {
				continue
			}
			if !strings.Contains(string(b), module+"/"+c.root+"/"+name+`"`) {
				t.Errorf("%s/%s is a folder, and not in %s/%s", c.root, name, c.root, c.list)
			}
		}
	}
}
