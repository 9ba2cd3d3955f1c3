package poll

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// gapsListedMax bounds the gaps that a report lists one by one; all are counted and repaired.
const gapsListedMax = 10_000

// Report is what the provider lists against what the log has.
type Report struct {
	Connection  string              `json:"connection"`
	Environment schemas.Environment `json:"environment"`
	Span        Span                `json:"span"`
	DryRun      bool                `json:"dry_run"`
	// LogSince is set where the log no longer reaches back to the begin that was asked for: Span begins there.
	LogSince    *time.Time   `json:"log_since,omitempty"`
	Feeds       []FeedReport `json:"feeds"`
	Hours       []HourReport `json:"hours"` // of the changes' own time, oldest first; those without any are left out
	Total       Counts       `json:"total"`
	Gaps        []Gap        `json:"gaps"` // oldest first, 10,000 at the most
	GapsLeftOut int          `json:"gaps_left_out,omitempty"`
}

// Counts count the records that a provider listed. Listed = Received + Missing.
type Counts struct {
	Listed   int64 `json:"listed"`
	Received int64 `json:"received"` // were on the log
	Missing  int64 `json:"missing"`  // were not
	Repaired int64 `json:"repaired"` // of these, found on the log afterwards
}

// FeedReport is what one feed listed. A record that another feed had listed already, and that was missing, counts
// there only.
type FeedReport struct {
	Feed string `json:"feed"`
	Counts
	// Beyond is the part of the span that the provider no longer lists in this feed.
	Beyond *Span  `json:"beyond,omitempty"`
	Error  string `json:"error,omitempty"` // why it was not read to the end
}

// HourReport is one hour.
type HourReport struct {
	From time.Time `json:"from"`
	Counts
}

// Gap is one record that was not on the log.
type Gap struct {
	Feed     string    `json:"feed"`
	EventID  string    `json:"event_id"`
	Type     string    `json:"type"`
	Entity   string    `json:"entity"`
	Status   string    `json:"status"`
	At       time.Time `json:"at"`              // of the change
	Cause    string    `json:"cause,omitempty"` // why no webhook brought it, where the provider says so
	Repaired bool      `json:"repaired"`
}

// Whole reports whether all that was listed is on the log.
func (r Report) Whole() bool { return r.Total.Missing == r.Total.Repaired }

// gap is a Gap until it is verified.
type gap struct {
	events []digest
	hour   time.Time
	feed   int
	listed int // index in Report.Gaps; -1: left out
}

// reconciliation is a Reconcile under way.
type reconciliation struct {
	*sweep
	report Report
	hours  map[time.Time]*Counts
	found  *ledger // what was missing: another feed may list it too
	gaps   []gap
}

// Reconcile asks all feeds of a connection what changed in a span, compares it with the log, appends what is missing
// (unless DryRun) and looks on the log whether it is there. It may run beside a Runner and beside webhooks. Its error
// says what could not be read or written; the report then holds what is known.
func Reconcile(ctx context.Context, o Sweep) (Report, error) {
	s, feeds, err := o.open(ctx, schemas.OriginPoll, func(connectors.Feed) bool { return true })
	if err != nil {
		return Report{}, err
	}
	logSince, err := s.logSince(ctx)
	if err != nil {
		return Report{}, err
	}
	if logSince != nil {
		s.Span.From = earlier(*logSince, s.Span.To)
	}
	r := &reconciliation{
		sweep: s, hours: map[time.Time]*Counts{}, found: newLedger(s.book.ledger.match, sweepDigestsMax),
		report: Report{Connection: s.Connection.Name, Environment: s.Connection.Environment, Span: s.Span, DryRun: s.DryRun, LogSince: logSince},
	}
	var errs []error
	for i, f := range feeds {
		span, beyond := s.reach(f)
		r.report.Feeds = append(r.report.Feeds, FeedReport{Feed: f.Name, Beyond: beyond})
		if err := r.read(ctx, i, f, span); err != nil {
			r.report.Feeds[i].Error = err.Error()
			errs = append(errs, fmt.Errorf("feed %s: %w", f.Name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	if !s.DryRun && len(r.gaps) > 0 {
		if err := r.verify(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	return r.finish(), errors.Join(errs...)
}

func (r *reconciliation) read(ctx context.Context, i int, f connectors.Feed, span Span) error {
	p := Progress{Step: "asking", Feed: f.Name, Through: span.From}
	r.Progress(p)
	return r.each(ctx, f, span, false, func(page []listed) error {
		n, err := r.compare(ctx, i, f, page)
		p.Listed, p.Kept = p.Listed+int64(len(page)), p.Kept+n
		r.Progress(p)
		return err
	}, func(window Span) error {
		p.Through = window.To
		r.Progress(p)
		return nil
	})
}

// compare counts one page, and appends what is missing.
func (r *reconciliation) compare(ctx context.Context, i int, f connectors.Feed, page []listed) (kept int64, err error) {
	missing, err := r.missing(ctx, page, f.Match)
	if err != nil {
		return 0, err
	}
	for _, found := range page {
		isMissing := len(missing) > 0 && missing[0].same(found)
		if isMissing {
			missing = missing[1:]
		}
		if r.found.holds(found.events, f.Match) {
			continue // listed before, perhaps by another feed
		}
		hour := r.hour(found.events[0].ProviderTime)
		for _, c := range []*Counts{hour, &r.report.Feeds[i].Counts, &r.report.Total} {
			c.Listed++
			if isMissing {
				c.Missing++
			} else {
				c.Received++
			}
		}
		if !isMissing {
			continue
		}
		if !r.DryRun {
			if _, err := r.Keeper.Keep(ctx, r.Connection.Connector, found.delivery); err != nil {
				r.note(i, f, found)
				return kept, err
			}
			kept++
		}
		r.note(i, f, found)
	}
	return kept, nil
}

func (r *reconciliation) hour(t time.Time) *Counts {
	from := t.UTC().Truncate(time.Hour)
	if r.hours[from] == nil {
		r.hours[from] = &Counts{}
	}
	return r.hours[from]
}

// note takes a gap down.
func (r *reconciliation) note(i int, f connectors.Feed, found listed) {
	e := &found.events[0]
	g := gap{hour: e.ProviderTime.UTC().Truncate(time.Hour), feed: i, listed: -1}
	for j := range found.events {
		r.found.add(&found.events[j], r.Clock.Now())
		g.events = append(g.events, digestsOf(&found.events[j], connectors.MatchEvent)...)
	}
	if len(r.report.Gaps) < gapsListedMax {
		g.listed = len(r.report.Gaps)
		r.report.Gaps = append(r.report.Gaps, Gap{
			Feed: f.Name, EventID: e.EventID, Type: e.EventType, Entity: e.EntityID, Status: string(e.Status), At: e.ProviderTime, Cause: found.cause,
		})
	} else {
		r.report.GapsLeftOut++
	}
	r.gaps = append(r.gaps, g)
}

// verify reads the log on and looks for what was missing: appended counts as repaired only once it was read there.
func (r *reconciliation) verify(ctx context.Context) error {
	r.Progress(Progress{Step: "checking"})
	if err := r.tail.catchUp(ctx); err != nil {
		return fmt.Errorf("check what was repaired: %w", err)
	}
	for _, g := range r.gaps {
		if !r.book.ledger.holdsAll(g.events) {
			continue
		}
		for _, c := range []*Counts{r.hours[g.hour], &r.report.Feeds[g.feed].Counts, &r.report.Total} {
			c.Repaired++
		}
		if g.listed >= 0 {
			r.report.Gaps[g.listed].Repaired = true
		}
	}
	return nil
}

func (r *reconciliation) finish() Report {
	for from, c := range r.hours {
		r.report.Hours = append(r.report.Hours, HourReport{from, *c})
	}
	slices.SortFunc(r.report.Hours, func(a, b HourReport) int { return a.From.Compare(b.From) })
	slices.SortStableFunc(r.report.Gaps, func(a, b Gap) int { return a.At.Compare(b.At) })
	return r.report
}
