package scenarios

import (
	"strings"

	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
)

// Step is a step of a workflow that no scenario came to, or one whose branches were not all taken.
type Step struct {
	Workflow string `json:"workflow"`
	Step     string `json:"step"`
	Kind     string `json:"kind"`
	Missing  string `json:"missing"` // what was not seen
}

// Unreached holds the steps of workflows against what runs came to, as scenario.Result.Reached tells it. A branch without
// steps of its own counts by the outcome of its wait.
func Unreached(programs []*workflows.Program, reached []string) (list []Step) {
	came := map[string]bool{}
	for _, r := range reached {
		came[r] = true
		at, _, _ := strings.Cut(r, " ")
		came[at] = true
	}
	told := map[string]bool{}
	for _, p := range programs {
		for i := range p.Steps {
			s := &p.Steps[i]
			at := p.Name + "#" + s.ID
			var missing []string
			switch {
			case !came[at]:
				missing = append(missing, "never reached")
			case s.Kind == workflows.StepWaitFor:
				outcomes := []schemas.StepWord{schemas.StepWaitMet}
				if s.WaitFor.NotMetAfter > 0 {
					outcomes = append(outcomes, schemas.StepWaitNotMet)
				}
				for _, word := range outcomes {
					if !came[at+" "+string(word)] {
						missing = append(missing, strings.ToLower(string(word)))
					}
				}
			}
			if len(missing) > 0 && !told[at] {
				told[at] = true
				list = append(list, Step{p.Name, s.ID, string(s.Kind), strings.Join(missing, ", ")})
			}
		}
	}
	return list
}
