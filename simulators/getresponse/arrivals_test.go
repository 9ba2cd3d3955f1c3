package getresponse

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestArrivalsCountEveryWindow: the counts are those of looking at all arrivals again each time.
func TestArrivalsCountEveryWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a arrivals
		var all []time.Time
		now := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
		for range rapid.IntRange(1, 600).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 20, 400, 1000, 60_000, 300_000}).Draw(t, "ms")) * time.Millisecond)
			all = append(all, now)
			inSecond, inWindow := 0, 0
			for _, at := range all {
				if now.Sub(at) < time.Second {
					inSecond++
				}
				if now.Sub(at) < Window {
					inWindow++
				}
			}
			if second, window := a.add(now); second != inSecond || window != inWindow {
				t.Fatalf("request %d: got %d and %d, want %d and %d", len(all), second, window, inSecond, inWindow)
			}
		}
	})
}

// TestArrivalsAreBounded: a million requests in ten minutes are remembered, more are not.
func TestArrivalsAreBounded(t *testing.T) {
	var a arrivals
	now := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	for range arrivalsMax + 10 {
		a.add(now)
	}
	if second, window := a.add(now.Add(time.Second)); second != 1 || window != arrivalsMax || len(a.ring) != arrivalsMax {
		t.Errorf("got %d and %d in a ring of %d, want 1 and %d", second, window, len(a.ring), arrivalsMax)
	}
}
