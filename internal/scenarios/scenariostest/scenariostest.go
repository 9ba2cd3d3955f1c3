// Package scenariostest runs scenario files as Go tests.
package scenariostest

import (
	"path/filepath"
	"testing"

	connectorsall "github.com/tillstream/tillstream/connectors/all"
	"github.com/tillstream/tillstream/internal/scenarios"
	"github.com/tillstream/tillstream/processors/scenario"
	sinksall "github.com/tillstream/tillstream/sinks/all"
)

// Run makes each scenario below dir a subtest, run in every mode. It returns how many there were.
func Run(t *testing.T, dir string) (count int) {
	t.Helper()
	files, err := scenarios.Find([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	l := &scenarios.Loader{Connectors: connectorsall.Connectors(), Sinks: sinksall.Sinks()}
	for _, path := range files {
		name, err := filepath.Rel(dir, path)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			f, err := scenarios.Read(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := range f.Scenarios {
				s := &f.Scenarios[i]
				count++
				t.Run(s.Name, func(t *testing.T) {
					res := scenario.Run(f, s, func() scenario.World { return l.World(path) }, scenario.Modes()...)
					for _, fail := range res.Failures {
						t.Errorf("%s:%d: %s (%s)\n%s", path, fail.Line, fail.Statement, fail.Mode, fail.Message)
					}
				})
			}
		})
	}
	return count
}
