package automation_test

import (
	"testing"

	"github.com/tillstream/tillstream/internal/scenarios/scenariostest"
)

// The specification: every scenario holds, also where states go through bytes and where everything comes twice.
func TestScenarios(t *testing.T) {
	if n := scenariostest.Run(t, "testdata/scenarios"); n == 0 {
		t.Error("there are no scenarios")
	}
}
