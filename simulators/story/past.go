package story

import (
	"math"
	"slices"
	"sort"
	"time"
)

// pastTail keeps the changed events, which come last, before the end of a past.
const pastTail = time.Minute

// monthlyChurn is the share of a past's subscriptions that end each month; billsMax bounds the bills of one.
const (
	monthlyChurn = 0.055
	billsMax     = 240
)

// newPast tells roots at moments drawn from o.Start to o.End until there are o.Events events, or o.Orders roots where no
// number of events is asked for. Nothing happens after the end.
func newPast(t *teller, o Options) *Story {
	t.end = o.End.UTC()
	moments := newCalendar(o.Start.UTC(), t.end)
	roots := 0
	for ; o.Events > 0 && len(t.events) < o.Events || o.Events <= 0 && roots < o.Orders; roots++ {
		first := len(t.events)
		t.root(t.accounts[o.Accounts[roots%len(o.Accounts)]], moments.draw(t.random.Float64(), t.random.Float64()), roots)
		told := t.events[first:]
		t.events = t.events[:first+len(slices.DeleteFunc(told, func(e Event) bool { return e.Time.After(t.end) }))]
	}
	slices.SortStableFunc(t.events, func(a, b Event) int { return a.Time.Compare(b.Time) })
	told := len(t.events)
	t.change((roots + badEvery - 1) / badEvery)
	for i := range t.events[told:] {
		t.events[told+i].Time = t.end.Add(-pastTail * time.Duration(len(t.events)-told-i) / time.Duration(len(t.events)-told))
	}
	slices.SortStableFunc(t.events, func(a, b Event) int { return a.Time.Compare(b.Time) })
	return &Story{t.events}
}

// bills is how many bills a subscription has beyond the first before it ends.
func (t *teller) bills() int {
	if t.end.IsZero() {
		return 2 + t.random.IntN(6)
	}
	return min(billsMax, int(math.Log(1-t.random.Float64())/math.Log(1-monthlyChurn)))
}

// leaving says how a subscription ends; a past's subscription does end after its last bill.
func (t *teller) leaving() float64 {
	p := t.random.Float64()
	if t.end.IsZero() {
		return p
	}
	return p * 0.24
}

// Weights of when people buy, in UTC as European and American shops together see it, and by how much a shop grows in a year.
var (
	hourWeights  = [24]float64{5, 4, 3, 2, 2, 2, 3, 4, 6, 8, 9, 10, 10, 9, 9, 10, 11, 12, 14, 16, 15, 13, 10, 7}
	dayWeights   = [7]float64{time.Sunday: 1.2, time.Monday: 1, time.Tuesday: 0.95, time.Wednesday: 0.95, time.Thursday: 1, time.Friday: 1.1, time.Saturday: 1.15}
	monthWeights = [13]float64{
		time.January: 0.9, time.February: 0.85, time.March: 0.95, time.April: 0.95, time.May: 1, time.June: 0.95, time.July: 0.85,
		time.August: 0.85, time.September: 1, time.October: 1.05, time.November: 1.4, time.December: 1.5,
	}
)

const yearlyGrowth = 0.35

// calendar is a span of hours with the weight of all that is before the end of each.
type calendar struct {
	begin  time.Time
	last   time.Duration // length of the last hour, which may be cut
	before []float64
}

func newCalendar(begin, end time.Time) calendar {
	c := calendar{begin: begin}
	sum := 0.0
	for at := begin; at.Before(end); at = at.Add(time.Hour) {
		c.last = min(time.Hour, end.Sub(at))
		w := hourWeights[at.Hour()] * dayWeights[at.Weekday()] * monthWeights[at.Month()]
		sum += w * math.Pow(1+yearlyGrowth, at.Sub(begin).Hours()/(365*24)) * c.last.Hours()
		c.before = append(c.before, sum)
	}
	return c
}

// draw is a moment by two numbers from 0 to 1: which hour by weight, and where in it.
func (c calendar) draw(hour, within float64) time.Time {
	i := min(sort.SearchFloat64s(c.before, hour*c.before[len(c.before)-1]), len(c.before)-1)
	length := time.Hour
	if i == len(c.before)-1 {
		length = c.last
	}
	return c.begin.Add(time.Duration(i)*time.Hour + time.Duration(within*float64(length))).Truncate(time.Millisecond)
}
