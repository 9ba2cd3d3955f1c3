package processorstest

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/tillstream/tillstream/processors"
)

// Determinism applies a history of one key twice, the second time from states that were encoded and decoded after each
// step, and fails tb unless outputs, errors and states are the same bytes.
func Determinism[S any](tb testing.TB, stage processors.Stage[S], history []processors.Input) {
	tb.Helper()
	first, second := run(tb, stage, history, false), run(tb, stage, history, true)
	if len(first) != len(second) {
		tb.Errorf("stage %s gave %d results for a history, then %d for the same", stage.Name(), len(first), len(second))
	}
	for i := range min(len(first), len(second)) {
		if first[i] != second[i] {
			tb.Errorf("stage %s gave other results for the same history:\nfirst  %s\nsecond %s", stage.Name(), first[i], second[i])
		}
	}
}

func run[S any](tb testing.TB, stage processors.Stage[S], history []processors.Input, restart bool) []string {
	tb.Helper()
	var s S
	var lines []string
	for i, in := range history {
		next, out, err := stage.Apply(s, in)
		if err != nil {
			lines = append(lines, fmt.Sprintf("%d error %v", i, err))
			continue
		}
		image, err := stage.Encode(next)
		if err != nil {
			tb.Fatalf("encode after step %d: %v", i, err)
		}
		lines = append(lines, fmt.Sprintf("%d state %s timers %v", i, image, stage.Timers(next)))
		for _, o := range out {
			b, err := json.Marshal(o)
			if err != nil {
				tb.Fatalf("step %d: %v", i, err)
			}
			lines = append(lines, fmt.Sprintf("%d output %s", i, b))
		}
		s = next
		if restart {
			if s, err = stage.Decode(image); err != nil {
				tb.Fatalf("decode after step %d: %v", i, err)
			}
		}
	}
	return lines
}
