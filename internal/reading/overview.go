package reading

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// GroupProgress is how far a consumer group is.
type GroupProgress struct {
	Waiting int64     // records that it has not taken
	Oldest  time.Time // broker's time of the oldest of them; zero: there is none, or it is not known
}

// Progress is how far the groups are, by the step that they do, and At what time that was so.
type Progress struct {
	At    time.Time
	Steps map[string]GroupProgress
}

// How long parts of the overview are given again. Twenty people who look at it cost what one does.
const (
	overviewAge = 2 * time.Second
	moneyAge    = 30 * time.Second
)

// overviews are the answers of a moment ago, by environment.
type overviews struct {
	mu    sync.Mutex
	whole map[schemas.Environment]*kept[api.Overview]
	money map[schemas.Environment]*kept[[]api.OverviewMoney]
	// What was refused before today began.
	refusedDay  time.Time
	refusedBase int64
}

func (o *overviews) of(e schemas.Environment) (*kept[api.Overview], *kept[[]api.OverviewMoney]) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.whole == nil {
		o.whole, o.money = map[schemas.Environment]*kept[api.Overview]{}, map[schemas.Environment]*kept[[]api.OverviewMoney]{}
	}
	if o.whole[e] == nil {
		o.whole[e], o.money[e] = &kept[api.Overview]{}, &kept[[]api.OverviewMoney]{}
	}
	return o.whole[e], o.money[e]
}

// refusedToday is how much of a counter of this process came since the day began, as far as it was looked at then.
func (o *overviews) refusedToday(day time.Time, counter int64) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refusedDay.IsZero() {
		o.refusedDay = day
	}
	if !o.refusedDay.Equal(day) || counter < o.refusedBase {
		o.refusedDay, o.refusedBase = day, counter
	}
	return counter - o.refusedBase
}

// Overview implements api.Reading. Its Attention holds the open issues; what parts of the process know is not in it.
func (d *Desk) Overview(ctx context.Context, environment schemas.Environment) (api.Overview, error) {
	whole, money := d.overview.of(environment)
	got, err := whole.get(d.Now(), overviewAge, func() (api.Overview, error) { return d.look(ctx, environment, money) })
	got.Steps, got.Money, got.Attention = slices.Clone(got.Steps), slices.Clone(got.Money), slices.Clone(got.Attention)
	return got, err
}

func (d *Desk) look(ctx context.Context, environment schemas.Environment, money *kept[[]api.OverviewMoney]) (api.Overview, error) {
	now := d.Now().UTC()
	day := now.Truncate(24 * time.Hour)
	o := api.Overview{At: now, Day: day, Environment: string(environment)}
	today, err := d.Store.Today(ctx, environment, day)
	if err != nil {
		return o, err
	}
	o.Money, err = money.get(now, moneyAge, func() ([]api.OverviewMoney, error) { return d.moneyOf(ctx, environment, day) })
	if err != nil {
		return o, err
	}
	if o.Attention, err = d.issues(ctx, environment); err != nil {
		return o, err
	}
	var progress Progress
	if d.Progress == nil {
		o.CompleteNote = "this process does not ask Kafka how far everything is"
	} else if progress, err = d.Progress(ctx); err != nil {
		o.CompleteNote = "Kafka does not say how far everything is: " + outbound.Redact(err.Error())
	}
	o.Steps = d.steps(today, progress, environment, day)
	if recorded, ok := progress.Steps[api.StepRecorded]; ok {
		o.CompleteUpTo = progress.At.UTC()
		if recorded.Waiting > 0 {
			o.CompleteUpTo, o.CompleteNote = recorded.Oldest.UTC(), fmt.Sprintf("%d records on Kafka are not in ClickHouse yet", recorded.Waiting)
		}
	}
	return o, nil
}

func (d *Desk) steps(today chsink.Day, p Progress, environment schemas.Environment, day time.Time) []api.OverviewStep {
	events := "/events?environment=" + string(environment) + "&since=" + day.Format(time.RFC3339)
	var refusedHere int64
	if d.Refused != nil {
		refusedHere = d.overview.refusedToday(day, d.Refused())
	}
	steps := []api.OverviewStep{
		{Step: api.StepReceived, Count: int64(today.Events.Count) + refusedHere, LastAt: today.Events.LastAt, Link: events},
		{Step: api.StepVerified, Count: int64(today.Events.Count), LastAt: today.Events.LastAt, Link: events},
		{Step: api.StepRecorded, Count: int64(today.Events.Count), LastAt: today.Events.LastAt, Link: events},
		{Step: api.StepTransitions, Count: int64(today.Transitions.Count), LastAt: today.Transitions.LastAt, Link: events},
		{Step: api.StepEffects, Count: int64(today.Commands.Count), LastAt: today.Commands.LastAt, Link: "/workflows"},
		{Step: api.StepDelivered, Count: int64(today.Delivered.Count), LastAt: today.Delivered.LastAt, Link: "/reports/delivery?environment=" + string(environment)},
		{Step: api.StepDead, Count: int64(today.Dead.Count), LastAt: today.Dead.LastAt, Link: "/issues"},
	}
	if refusedHere > 0 {
		steps[0].Note = fmt.Sprintf("%d webhooks were refused today at this process, of both environments", refusedHere)
	}
	if today.Problems > 0 {
		steps[2].Note = fmt.Sprintf("%d could not be read; they are dead letters", today.Problems)
	}
	for i := range steps {
		g, ok := p.Steps[steps[i].Step]
		if !ok {
			continue
		}
		lag := 0.0
		if g.Waiting > 0 && !g.Oldest.IsZero() {
			lag = max(0, p.At.Sub(g.Oldest).Seconds())
		}
		waiting := g.Waiting
		steps[i].LagSeconds, steps[i].Waiting = &lag, &waiting
	}
	return steps
}

// issuesShown bounds the issues of an overview.
const issuesShown = 20

func (d *Desk) issues(ctx context.Context, environment schemas.Environment) ([]api.Attention, error) {
	list, err := d.Store.Issues(ctx, chsink.PastFilter{Environment: environment})
	if err != nil {
		return nil, err
	}
	shown := []api.Attention{}
	for _, i := range list {
		if i.Open == 0 || len(shown) == issuesShown {
			break // those that are open stand first
		}
		shown = append(shown, api.Attention{
			Kind: "issue", Severity: api.SeverityError, What: i.Cause + " at " + i.Place, Detail: outbound.Redact(i.Pattern), Remedy: outbound.Redact(i.Remedy),
			Count: int64(i.Open), Since: i.FirstSeen, Link: "/issues/" + url.PathEscape(i.Key),
		})
	}
	return shown, nil
}

// moneyOf is the money of a day, by currency.
func (d *Desk) moneyOf(ctx context.Context, environment schemas.Environment, day time.Time) ([]api.OverviewMoney, error) {
	known, err := chsink.Reports()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(known, func(r chsink.Report) bool { return r.Name == "revenue" })
	res, err := d.Store.Report(ctx, known[i], chsink.ReportFilter{Environment: environment, Since: day})
	if err != nil {
		return nil, err
	}
	column := map[string]int{}
	for i, c := range res.Columns {
		column[c.Name] = i
	}
	type sums struct {
		gross, refunds decimal.Decimal
		payments       int64
	}
	by := map[string]*sums{}
	list := []api.OverviewMoney{}
	for _, row := range res.Rows {
		currency, _ := row[column["currency"]].(string)
		if by[currency] == nil {
			by[currency] = &sums{}
			list = append(list, api.OverviewMoney{Currency: currency})
		}
		gross, _ := row[column["gross"]].(decimal.Decimal)
		refunds, _ := row[column["refunds"]].(decimal.Decimal)
		payments, _ := row[column["captures"]].(uint64)
		s := by[currency]
		s.gross, s.refunds, s.payments = s.gross.Add(gross), s.refunds.Add(refunds), s.payments+int64(payments)
	}
	for i := range list {
		m, s := &list[i], by[list[i].Currency]
		m.Gross, m.Refunds, m.Net, m.Payments = amount(s.gross), amount(s.refunds), amount(s.gross.Sub(s.refunds)), s.payments
		m.Link = "/events?currency=" + m.Currency + "&environment=" + string(environment) + "&since=" + day.Format(time.RFC3339) + "&time=provider"
	}
	slices.SortFunc(list, func(a, b api.OverviewMoney) int {
		if a.Currency < b.Currency {
			return -1
		}
		return 1
	})
	return list, nil
}
