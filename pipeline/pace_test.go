package pipeline

import (
	"testing"
	"time"
)

func TestPaceFollowsTheLoad(t *testing.T) {
	o := &EngineOptions{CommitInterval: 10 * time.Millisecond, CommitIntervalMax: 100 * time.Millisecond}
	var p pace
	want(t, "at first", p.interval(o), 10*time.Millisecond)
	for _, step := range []struct {
		name   string
		took   time.Duration
		behind bool
		times  int
		want   time.Duration
	}{
		{"nothing waits, transactions are short", 2 * time.Millisecond, false, 20, 10 * time.Millisecond},
		{"records wait", 2 * time.Millisecond, true, 1, 20 * time.Millisecond},
		{"and go on to", 2 * time.Millisecond, true, 10, 100 * time.Millisecond},
		{"they were caught up with", 2 * time.Millisecond, false, 1, 50 * time.Millisecond},
		{"and stay so", 2 * time.Millisecond, false, 10, 10 * time.Millisecond},
		{"transactions take long: as long again is left between them", 30 * time.Millisecond, false, 100, 60 * time.Millisecond},
		{"up to the bound", time.Second, false, 100, 100 * time.Millisecond},
	} {
		for range step.times {
			p.ended(o, step.took, step.behind)
		}
		if got := p.interval(o).Round(time.Millisecond); got != step.want {
			t.Errorf("%s: the interval is %v, want %v", step.name, got, step.want)
		}
	}
}
