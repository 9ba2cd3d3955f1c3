package automation

import (
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/processors/zones"
	"github.com/tillstream/tillstream/schemas"
)

// daysAhead is how far the next day of a weekly plan can be, with a day to spare for a change of the clocks.
const daysAhead = 9

// next is the first time of the plan after t. A time of day that a change of the clocks leaves out moves with it.
func next(d *workflows.Daily, t time.Time) time.Time {
	local := t.In(d.Zone)
	for i := range daysAhead {
		day := time.Date(local.Year(), local.Month(), local.Day()+i, 0, 0, 0, 0, time.UTC)
		at := zones.At(day.Year(), day.Month(), day.Day(), d.Hour, d.Minute, d.Zone)
		if at.After(t) && on(d.Days, day.Weekday()) {
			return at.UTC()
		}
	}
	return t
}

// on reports whether a day is among the chosen ones; none chosen means all.
func on(days [7]bool, day time.Weekday) bool { return days[day] || days == [7]bool{} }

// opening is t within business hours, else when they begin next.
func opening(h *workflows.Hours, t time.Time) time.Time {
	local := t.In(h.Zone)
	for i := range daysAhead {
		day := time.Date(local.Year(), local.Month(), local.Day()+i, 0, 0, 0, 0, time.UTC)
		from := zones.At(day.Year(), day.Month(), day.Day(), h.From/60, h.From%60, h.Zone)
		to := zones.At(day.Year(), day.Month(), day.Day(), h.To/60, h.To%60, h.Zone)
		if !on(h.Days, day.Weekday()) || !t.Before(to) {
			continue
		}
		if t.Before(from) {
			return from.UTC()
		}
		return t
	}
	return t
}

// aheadMax is how far ahead a date is waited for. What lies behind it is a provider's word for "never", such as the year
// 9999.
const aheadMax = 10 * 366 * 24 * time.Hour

// localLayouts are the forms of a date without a zone that a wait understands.
var localLayouts = []string{"2006-01-02T15:04:05", time.DateTime, time.DateOnly}

// parseTime reads a date or time; without a zone of its own it is one of zone.
func parseTime(text string, zone *time.Location) (time.Time, bool) {
	text = strings.TrimSpace(text)
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, true
	}
	for _, layout := range localLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			at := zones.At(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), zone)
			return at.Add(time.Duration(t.Second())*time.Second + time.Duration(t.Nanosecond())), true
		}
	}
	return time.Time{}, false
}

// schedule derives when each scheduled workflow starts next for this contact. A contact that no destination knows yet
// has no schedule.
func (w *work) schedule() {
	list := w.rules.indexed.scheduled
	if len(list) == 0 && len(w.s.Scheduled) == 0 || len(w.s.Destinations) == 0 {
		return
	}
	now := w.at.UnixMilli()
	var plan []scheduled
	for _, e := range list {
		if e.program.Mode == workflows.Off {
			continue
		}
		at := next(&e.start.Schedule.Daily, w.at).UnixMilli()
		for _, o := range w.s.Scheduled {
			if o.Workflow == e.program.Name && o.At <= now {
				at = o.At // it is due and has not fired yet
			}
		}
		if i := slices.IndexFunc(plan, func(o scheduled) bool { return o.Workflow == e.program.Name }); i >= 0 {
			plan[i].At = min(plan[i].At, at)
			continue
		}
		plan = append(plan, scheduled{e.program.Name, at})
	}
	w.s.Scheduled = plan
}

// scheduledStart starts the workflow whose time has come.
func (w *work) scheduledStart(workflow string) {
	i := slices.IndexFunc(w.s.Scheduled, func(o scheduled) bool { return o.Workflow == workflow })
	if i < 0 {
		return
	}
	due := w.s.Scheduled[i].At
	w.s.Scheduled = slices.Delete(w.s.Scheduled, i, i+1)
	w.cause.test = w.s.OnlyTests
	for _, e := range w.rules.indexed.scheduled {
		if e.program.Name == workflow && e.program.Mode != workflows.Off {
			w.try(e, run{ID: id(workflow, w.key, timerSchedule, number(due))}, nil)
			return
		}
	}
}

// count counts paid orders, each once. Test events buy nothing.
func (w *work) count() {
	if !w.t.Event.Test && w.t.To == schemas.StatusPaid && w.t.RootKind != schemas.KindSubscription && note(&w.s.Orders, digest(w.t.RootKey), ordersMax) {
		w.s.OrdersPaid++
	}
}

// remember keeps what a look-back or a status in the provider's words needs of the transition. It comes last: a
// transition is not its own past.
func (w *work) remember() {
	x := &w.rules.indexed
	e := &w.t.Event
	if x.texts && e.ProviderStatus != "" {
		root := digest(w.t.RootKey)
		w.s.Statuses = slices.DeleteFunc(w.s.Statuses, func(s lastStatus) bool { return s.Root == root })
		if len(w.s.Statuses) >= statusesMax {
			w.s.Statuses = slices.Delete(w.s.Statuses, 0, 1)
		}
		w.s.Statuses = append(w.s.Statuses, lastStatus{root, strings.Clone(e.ProviderStatus)})
	}
	if x.lookBack <= 0 || past(e.Origin) {
		return
	}
	h := happened{
		Root: w.t.RootKey, Event: e.EventID, Type: e.EventType, Connection: e.Connection, From: string(w.t.From), To: string(w.t.To),
		Text: e.ProviderStatus, Environment: string(e.Environment), Created: w.created, Changed: w.t.Disposition == schemas.Changed,
		SameText: e.ProviderStatus != "" && e.ProviderStatus == w.before, Subscription: w.t.RootKind == schemas.KindSubscription,
		Test: e.Test, Provider: e.Provider, At: w.at.UnixMilli(),
	}
	if e.Amount != nil {
		h.Amount, h.Currency = e.Amount.Value, e.Amount.Currency
	}
	oldest := w.at.Add(-x.lookBack).UnixMilli()
	kept := make([]happened, 0, len(w.s.History)+1)
	for i := range w.s.History {
		if w.s.History[i].At >= oldest {
			kept = append(kept, w.s.History[i])
		}
	}
	if over := len(kept) + 1 - historyMax; over > 0 {
		kept = slices.Delete(kept, 0, over)
	}
	w.s.History = append(kept, h)
}

// statusBefore is the provider's status that a root had, as far as it is known.
func (s *State) statusBefore(root string) string {
	if len(s.Statuses) == 0 {
		return ""
	}
	d := digest(root)
	for i := range s.Statuses {
		if s.Statuses[i].Root == d {
			return s.Statuses[i].Text
		}
	}
	return ""
}

// before is the provider's status that the root had, as far as a match needs it.
func (h *happened) before() string {
	if h.SameText {
		return h.Text
	}
	return ""
}

// transition is as much of what happened as is known.
func (h *happened) transition() *schemas.Transition {
	t := &schemas.Transition{
		RootKey: h.Root, RootKind: schemas.KindOrder, Disposition: schemas.Recorded, From: schemas.PaymentStatus(h.From), To: schemas.PaymentStatus(h.To),
		Event: schemas.OrderEvent{
			EventID: h.Event, EventType: h.Type, Connection: h.Connection, Environment: schemas.Environment(h.Environment), Provider: h.Provider,
			ProviderStatus: h.Text, Status: schemas.PaymentStatus(h.To), Test: h.Test,
		},
	}
	if h.Changed {
		t.Disposition = schemas.Changed
	}
	if h.Subscription {
		t.RootKind = schemas.KindSubscription
	}
	if _, _, root, ok := schemas.SplitRootKey(h.Root); ok {
		t.Event.RootID = root
	}
	if h.Amount != "" {
		t.Event.Amount = &schemas.Amount{Value: h.Amount, Currency: h.Currency}
	}
	return t
}
