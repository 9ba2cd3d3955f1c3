package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tillstream/tillstream/internal/e2e/parts"
)

// TestTablesNameRealTests keeps the documents from promising tests that are not there.
func TestTablesNameRealTests(t *testing.T) {
	root, err := parts.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bad-input.md", "sources.md"} {
		t.Run(name, func(t *testing.T) { namesRealTests(t, root, name) })
	}
}

func namesRealTests(t *testing.T, root, document string) {
	table, err := os.ReadFile(filepath.Join(root, "docs", document))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z/0-9]+)\\.(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(string(table), -1)
	if len(named) == 0 {
		t.Fatal("the table names no test")
	}
	for _, m := range named {
		files, err := filepath.Glob(filepath.Join(root, m[1], "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			found = found || strings.Contains(string(text), "\nfunc "+m[2]+"(")
		}
		if !found {
			t.Errorf("package %s has no %s", m[1], m[2])
		}
	}
}
