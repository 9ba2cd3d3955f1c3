package poll

import (
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// Bounds of what is held for usual.
const (
	// historySpan is how far before the last webhook the usual rate looks back.
	historySpan = 28 * 24 * time.Hour
	// silenceEventsMin is how many events must have been expected since the last one: with independent events at the usual
	// rate, so long a pause is met six times in a million.
	silenceEventsMin = 12

	// weekHistoryMin and dayHistoryMin are the history that the rate of an hour of the week, and of an hour of the day,
	// is taken from. Below dayHistoryMin the overall rate counts, since a first day without webhooks says nothing of the next.
	weekHistoryMin = 21 * 24 * time.Hour
	dayHistoryMin  = 3 * 24 * time.Hour
	historyMin     = 24 * time.Hour
)

// Silence is a connection from which nothing comes although much is usual.
type Silence struct {
	Since time.Time `json:"since"` // when the last webhook was received
	// UsualPerHour is the mean over the hours since then, at those hours' usual rates.
	UsualPerHour float64 `json:"usual_per_hour"`
	// Expected is how many should have come since then.
	Expected float64 `json:"expected"`
}

// silence judges whether a connection fell silent after last. hours is what came before. Nil: it did not, or too little
// is known of it.
//
// The rule: the history is what was received in the 28 days before the last webhook, from the first hour that has any;
// with less than a day of it there is no alarm. Each hour since the last webhook, parts of an hour included, is expected to
// bring what is usual at that hour: the mean of the same hour of the week where the history is three weeks or longer,
// else the mean of the same hour of the day where it is three days or longer, else the overall mean. Twelve events
// expected and none received is silence. Hours are of UTC. The next webhook ends it. What came since the last webhook
// is no part of the history, so that a long silence does not become the usual.
func silence(hours []schemas.HourCount, last, now time.Time) *Silence {
	if last.IsZero() || !now.After(last) {
		return nil
	}
	u := usualOf(hours, last)
	if u.span < historyMin {
		return nil
	}
	s := Silence{Since: last}
	end := now
	if end.Sub(last) > historySpan {
		end = last.Add(historySpan) // further hours only repeat these
	}
	for at := last; at.Before(end); {
		next := at.Truncate(time.Hour).Add(time.Hour)
		if next.After(end) {
			next = end
		}
		s.Expected += u.perHour(at) * next.Sub(at).Hours()
		at = next
	}
	if s.Expected < silenceEventsMin {
		return nil
	}
	s.UsualPerHour = s.Expected / end.Sub(last).Hours()
	return &s
}

const hoursOfWeek = 7 * 24

// usual is what a connection usually receives.
type usual struct {
	span   time.Duration
	events [hoursOfWeek]float64 // received, by hour of the week
	seen   [hoursOfWeek]float64 // how often the history has that hour; the last in part
	all    float64
}

func usualOf(hours []schemas.HourCount, last time.Time) usual {
	var u usual
	var begin time.Time
	for _, h := range hours {
		if h.Events <= 0 || last.Sub(h.From) > historySpan || h.From.After(last) {
			continue
		}
		if begin.IsZero() || h.From.Before(begin) {
			begin = h.From.Truncate(time.Hour)
		}
		u.events[hourOfWeek(h.From)] += float64(h.Events)
		u.all += float64(h.Events)
	}
	if begin.IsZero() {
		return u
	}
	u.span = last.Sub(begin)
	for at := begin; at.Before(last); at = at.Add(time.Hour) {
		u.seen[hourOfWeek(at)] += min(last.Sub(at).Hours(), 1)
	}
	return u
}

func hourOfWeek(t time.Time) int { t = t.UTC(); return int(t.Weekday())*24 + t.Hour() }

// perHour is the usual rate at t.
func (u *usual) perHour(t time.Time) float64 {
	switch h := hourOfWeek(t); {
	case u.span >= weekHistoryMin:
		return u.events[h] / max(u.seen[h], 1)
	case u.span >= dayHistoryMin:
		var events, seen float64
		for i := h % 24; i < hoursOfWeek; i += 24 {
			events, seen = events+u.events[i], seen+u.seen[i]
		}
		return events / max(seen, 1)
	default:
		return u.all / u.span.Hours()
	}
}

// countHour adds one webhook received at t. hours is ordered; what lies before the history is dropped.
func countHour(hours []schemas.HourCount, t time.Time) []schemas.HourCount {
	from := t.Truncate(time.Hour)
	i := len(hours)
	for i > 0 && hours[i-1].From.After(from) {
		i--
	}
	if i > 0 && hours[i-1].From.Equal(from) {
		hours[i-1].Events++
		return hours
	}
	if len(hours) > 0 && hours[len(hours)-1].From.Sub(from) > historySpan {
		return hours
	}
	hours = append(hours, schemas.HourCount{})
	copy(hours[i+1:], hours[i:])
	hours[i] = schemas.HourCount{From: from, Events: 1}
	newest := hours[len(hours)-1].From
	for newest.Sub(hours[0].From) > historySpan {
		hours = hours[1:]
	}
	return hours
}
