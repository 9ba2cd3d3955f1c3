package deliver

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A line is a list, however it keeps it.
func TestLineIsAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l line
		var want []*queue
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			q := &queue{}
			switch step := rapid.IntRange(0, 9).Draw(t, "step"); {
			case step < 4:
				l.push(q)
				want = append(want, q)
			case step < 6:
				l.pushFirst(q)
				want = slices.Insert(want, 0, q)
			case len(want) == 0:
			case step < 9:
				if got := l.pop(); got != want[0] {
					t.Fatalf("popped %p, want %p", got, want[0])
				}
				want = want[1:]
			default:
				i := rapid.IntRange(0, len(want)-1).Draw(t, "leaves")
				l.leave(want[i])
				want = slices.Delete(want, i, i+1)
			}
			if !slices.Equal(l.all(), want) || l.len() != len(want) {
				t.Fatalf("got %d in line, want %d, or in another order", l.len(), len(want))
			}
		}
	})
}
