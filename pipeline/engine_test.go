package pipeline

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

func TestEventsOfAKeyAreAppliedOnceInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 4)
		p := w.start("a")
		w.send(testIn, "x add", "y add", "x add", "x again e1", "y forget", "y add")
		w.settle(p)
		p.stop()
		want := map[string][]string{"x": {"1 e1", "2 e3"}, "y": {"1 e2", "2 e5", "1 e6"}}
		if diff := cmp.Diff(want, w.history()); diff != "" {
			t.Errorf("history (-want +got):\n%s", diff)
		}
		w.check()
	})
}
