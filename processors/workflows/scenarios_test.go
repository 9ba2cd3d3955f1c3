package workflows_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tillstream/tillstream/internal/scenarios/scenariostest"
)

// The ready workflows do what they say, run by the real stages: alone, without the accounts that stand beside them.
func TestExamplesAtWork(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "workflows"), os.DirFS(examples)); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS("testdata/scenarios")); err != nil {
		t.Fatal(err)
	}
	if n := scenariostest.Run(t, dir); n == 0 {
		t.Error("there are no scenarios")
	}
}
