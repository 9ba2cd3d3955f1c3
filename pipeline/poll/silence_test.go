package poll

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/schemas"
)

// monday is the begin of a week.
var monday = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// received counts perHour(t) webhooks in each hour from begin to end.
func received(begin, end time.Time, perHour func(time.Time) int64) (hours []schemas.HourCount) {
	for at := begin; at.Before(end); at = at.Add(time.Hour) {
		if n := perHour(at); n > 0 {
			hours = append(hours, schemas.HourCount{From: at, Events: n})
		}
	}
	return hours
}

func steady(n int64) func(time.Time) int64 { return func(time.Time) int64 { return n } }

// office is 10 an hour from 8 to 18 on working days.
func office(t time.Time) int64 {
	if t.Weekday() == time.Saturday || t.Weekday() == time.Sunday || t.Hour() < 8 || t.Hour() >= 18 {
		return 0
	}
	return 10
}

func TestSilence(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		name    string
		history time.Duration // before the last webhook
		perHour func(time.Time) int64
		last    time.Time
		quiet   time.Duration
		want    float64 // events expected; 0: no alarm
	}{
		{"40 are usual in 6 h", 28 * day, steady(7), monday, 6 * time.Hour, 42},
		{"not yet", 28 * day, steady(7), monday, time.Hour, 0},
		{"just", 28 * day, steady(12), monday, time.Hour, 12},
		{"two a day, quiet for five", 28 * day, func(t time.Time) int64 {
			if t.Hour()%12 == 3 {
				return 1
			}
			return 0
		}, monday, 5 * day, 0},
		{"two a day, quiet for a week", 28 * day, func(t time.Time) int64 {
			if t.Hour()%12 == 3 {
				return 1
			}
			return 0
		}, monday, 7 * day, 14},
		{"a usual night", 28 * day, office, monday.Add(18*time.Hour - time.Minute), 14 * time.Hour, 0},
		{"a usual weekend", 28 * day, office, monday.Add(4*day + 18*time.Hour - time.Minute), 2*day + 14*time.Hour, 0},
		{"a morning without any", 28 * day, office, monday.Add(18 * time.Hour), 16 * time.Hour, 20},
		{"a night in the first week", 5 * day, func(t time.Time) int64 { return office(monday.Add(time.Duration(t.Hour()) * time.Hour)) }, monday.Add(18 * time.Hour), 14 * time.Hour, 0},
		{"a morning in the first week", 5 * day, func(t time.Time) int64 { return office(monday.Add(time.Duration(t.Hour()) * time.Hour)) }, monday.Add(18 * time.Hour), 16 * time.Hour, 20},
		{"the second day", 30 * time.Hour, steady(3), monday, 8 * time.Hour, 24},
		{"a few hours of history", 10 * time.Hour, steady(100), monday, 10 * time.Hour, 0},
		{"no history", 0, steady(0), monday, 100 * time.Hour, 0},
		{"silent for 40 days", 28 * day, steady(1), monday, 40 * day, 28 * 24},
	} {
		t.Run(c.name, func(t *testing.T) {
			hours := received(c.last.Add(-c.history).Truncate(time.Hour), c.last, c.perHour)
			got := silence(hours, c.last, c.last.Add(c.quiet))
			if c.want == 0 {
				if got != nil {
					t.Fatalf("got %+v, want no alarm", got)
				}
				return
			}
			if got == nil || math.Abs(got.Expected-c.want) > c.want/10 || !got.Since.Equal(c.last) {
				t.Fatalf("got %+v, want %.0f expected since %v", got, c.want, c.last)
			}
		})
	}
	if got := silence(received(monday.Add(-28*day), monday, steady(9)), time.Time{}, monday); got != nil {
		t.Errorf("got %+v where no webhook ever came, want no alarm", got)
	}
}

// TestSilenceGrows: a silence never ends by itself, and the expected number only grows while it lasts.
func TestSilenceGrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 20)
		var hours []schemas.HourCount
		for at := monday.Add(-time.Duration(rapid.IntRange(0, 40*24).Draw(t, "hours")) * time.Hour); at.Before(monday); at = at.Add(time.Hour) {
			for range n.Draw(t, "n") {
				hours = countHour(hours, at.Add(time.Minute))
			}
		}
		before := 0.0
		for quiet := time.Duration(0); quiet < 40*24*time.Hour; quiet += time.Duration(rapid.IntRange(1, 100).Draw(t, "step")) * time.Hour {
			s := silence(hours, monday, monday.Add(quiet))
			if s == nil {
				if before > 0 {
					t.Fatalf("the silence ended by itself after %v", quiet)
				}
				continue
			}
			if s.Expected < before-1e-6 {
				t.Fatalf("expected %v after %v, less than %v before", s.Expected, quiet, before)
			}
			before = s.Expected
		}
	})
}

// TestCountHour: whatever the order of arrival, hours are ascending, each once, at most 28 days of them, and none of
// the span is lost.
func TestCountHour(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var hours []schemas.HourCount
		count := map[time.Time]int64{}
		newest := time.Time{}
		for _, minute := range rapid.SliceOfN(rapid.IntRange(0, 50*24*60), 1, 200).Draw(t, "minutes") {
			at := monday.Add(time.Duration(minute) * time.Minute)
			hours = countHour(hours, at)
			if from := at.Truncate(time.Hour); from.After(newest) {
				newest = from
			}
			count[at.Truncate(time.Hour)]++
		}
		for i, h := range hours {
			if i > 0 && !h.From.After(hours[i-1].From) || newest.Sub(h.From) > historySpan || h.Events < 1 || h.Events > count[h.From] {
				t.Fatalf("got %v", hours)
			}
		}
		if last := hours[len(hours)-1]; !last.From.Equal(newest) || last.Events != count[newest] {
			t.Fatalf("got %v for the newest hour, want %d at %v", last, count[newest], newest)
		}
	})
}

// TestSilenceIsToldAndEnds: over a restart the history stays; the alarm is logged once, shown, and ended by the next
// webhook. The connection is not polled at all.
func TestSilenceIsToldAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.connection()
		c.Poller = nil
		_, stop := w.start(t, c)
		i := 0
		for range 2 * 24 * 3 {
			pass(20 * time.Minute)
			i++
			w.webhook(t, order(i, w.clock.Now()))
		}
		last := w.clock.Now()
		pass(2 * time.Minute)
		stop()
		wk, stop := w.start(t, c)
		defer stop()
		pass(3*time.Hour - time.Minute)
		if s := wk.status(); s.Silent != nil {
			t.Fatalf("got %+v after 3 h where 9 are usual", s.Silent)
		}
		pass(2 * time.Hour)
		s := wk.status()
		if s.Silent == nil || !s.Silent.Since.Equal(last) || s.Silent.UsualPerHour < 2.8 || s.Silent.UsualPerHour > 3.1 || !s.CompleteUpTo.IsZero() {
			t.Fatalf("got %+v (%+v) after 5 h where 15 are usual", s, s.Silent)
		}
		w.webhook(t, order(i+1, w.clock.Now()))
		pass(2 * time.Minute)
		if s := wk.status(); s.Silent != nil {
			t.Errorf("got %+v although a webhook came", s.Silent)
		}
		for _, line := range []string{"no webhook came for a long time", "webhooks come again"} {
			if n := strings.Count(w.logged.String(), line); n != 1 {
				t.Errorf("got %d lines %q, want 1", n, line)
			}
		}
	})
}
