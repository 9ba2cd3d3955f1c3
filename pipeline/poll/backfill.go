package poll

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// BackfillReport is what a backfill did.
type BackfillReport struct {
	Connection  string              `json:"connection"`
	Environment schemas.Environment `json:"environment"`
	Span        Span                `json:"span"`
	DryRun      bool                `json:"dry_run"`
	Live        bool                `json:"live"`
	Feeds       []BackfillFeed      `json:"feeds"`
}

// BackfillFeed is what came of one feed.
type BackfillFeed struct {
	Feed     string `json:"feed"`
	Listed   int64  `json:"listed"`
	OnLog    int64  `json:"on_log"` // of these, on the log already
	Appended int64  `json:"appended"`
	// Resumed is how far an earlier run had come, where this one went on.
	Resumed *time.Time `json:"resumed,omitempty"`
	// Beyond is the part of the span that the provider does not list in this feed.
	Beyond *Span `json:"beyond,omitempty"`
}

// Backfill loads history: it asks the connection's history feeds for all that the span has, counts it first, and
// appends what is not on the log, marked as backfill. Such events bring contacts' data up to date and reports their past,
// and send no message and change no list, unless live asks for that.
//
// One that was broken off goes on where it was when it is run again with the same begin, feeds and live: how far it came
// is on source.progress under a key of its own, and is removed at its end. Its error says what could not be read or written.
func Backfill(ctx context.Context, o Sweep, live bool) (BackfillReport, error) {
	origin := schemas.OriginBackfill
	if live {
		origin = schemas.OriginPoll
	}
	report := BackfillReport{Connection: o.Connection.Name, Environment: o.Connection.Environment, DryRun: o.DryRun, Live: live}
	s, feeds, err := o.open(ctx, origin, func(f connectors.Feed) bool { return f.History })
	if err != nil {
		return report, err
	}
	report.Span = s.Span
	b := &backfill{sweep: s, report: &report, progress: schemas.SourceProgress{
		Environment: s.Connection.Environment, Connection: s.Connection.Name + "/backfill/" + backfillID(s.Span.From, feeds, live),
	}}
	if err := b.resume(ctx); err != nil {
		return report, err
	}
	spans := make([]Span, len(feeds))
	for i, f := range feeds {
		var beyond *Span
		spans[i], beyond = s.reach(f)
		report.Feeds = append(report.Feeds, BackfillFeed{Feed: f.Name, Beyond: beyond})
		if at := b.through(f.Name); at.After(spans[i].From) {
			report.Feeds[i].Resumed = &at
			spans[i].From = earlier(later(at.Add(-overlap), spans[i].From), spans[i].To)
		}
		if err := b.count(ctx, i, f, spans[i]); err != nil {
			return report, fmt.Errorf("feed %s: %w", f.Name, err)
		}
	}
	if s.DryRun {
		return report, nil
	}
	for i, f := range feeds {
		if err := b.load(ctx, i, f, spans[i]); err != nil {
			return report, fmt.Errorf("feed %s: %w; run the same again to go on from here", f.Name, err)
		}
	}
	return report, b.end(ctx)
}

// backfill is a Backfill under way.
type backfill struct {
	*sweep
	report   *BackfillReport
	progress schemas.SourceProgress
}

// backfillID names what is the same backfill when it is run again.
func backfillID(from time.Time, feeds []connectors.Feed, live bool) string {
	names := make([]string, len(feeds))
	for i, f := range feeds {
		names[i] = f.Name
	}
	slices.Sort(names)
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %t %s", from.UnixMilli(), live, strings.Join(names, "\n")))
	return hex.EncodeToString(sum[:6])
}

func (b *backfill) key() string {
	return schemas.SourceKey(b.progress.Environment, b.progress.Connection)
}

func (b *backfill) resume(ctx context.Context) error {
	p, err := readProgress(ctx, b.Log, b.Decoder, b.key())
	if err == nil && p != nil {
		b.progress.Feeds = p.Feeds
	}
	return err
}

func (b *backfill) through(feed string) time.Time {
	for _, f := range b.progress.Feeds {
		if f.Feed == feed {
			return f.Through
		}
	}
	return time.Time{}
}

// count asks for no more than is needed to count.
func (b *backfill) count(ctx context.Context, i int, f connectors.Feed, span Span) error {
	r, p := &b.report.Feeds[i], Progress{Step: "counting", Feed: f.Name, Through: span.From}
	return b.each(ctx, f, span, false, func(page []listed) error {
		missing, err := b.missing(ctx, page, f.Match)
		r.Listed += int64(len(page))
		r.OnLog += int64(len(page) - len(missing))
		p.Listed = r.Listed
		b.Progress(p)
		return err
	}, func(window Span) error {
		p.Through = window.To
		b.Progress(p)
		return nil
	})
}

// load asks for everything, and appends what is not on the log.
func (b *backfill) load(ctx context.Context, i int, f connectors.Feed, span Span) error {
	r, p := &b.report.Feeds[i], Progress{Step: "asking", Feed: f.Name, Through: span.From, Of: b.report.Feeds[i].Listed}
	return b.each(ctx, f, span, true, func(page []listed) error {
		missing, err := b.missing(ctx, page, f.Match)
		if err != nil {
			return err
		}
		for _, found := range missing {
			events, err := b.Keeper.Keep(ctx, b.Connection.Connector, found.delivery)
			if err != nil {
				return err
			}
			for j := range events { // another feed may list it too
				b.book.ledger.add(&events[j], b.Clock.Now())
			}
			r.Appended++
		}
		p.Listed, p.Kept = p.Listed+int64(len(page)), r.Appended
		b.Progress(p)
		return nil
	}, func(window Span) error {
		p.Through = window.To
		b.Progress(p)
		return b.save(ctx, f.Name, window.To, r.Appended)
	})
}

// save notes how far a feed was loaded.
func (b *backfill) save(ctx context.Context, feed string, through time.Time, appended int64) error {
	b.progress.At = b.Clock.Now()
	b.progress.Feeds = slices.DeleteFunc(b.progress.Feeds, func(f schemas.FeedProgress) bool { return f.Feed == feed })
	b.progress.Feeds = append(b.progress.Feeds, schemas.FeedProgress{Feed: feed, Through: through, Repairs: appended})
	return writeProgress(ctx, b.Keeper, &b.progress)
}

// end removes the note: the same backfill, run again, begins anew.
func (b *backfill) end(ctx context.Context) error {
	return b.Keeper.Appender.Append(ctx, schemas.TopicSourceProgress, b.key(), nil)
}
