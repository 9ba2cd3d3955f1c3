package poll

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tillstream/tillstream/connectors"
)

// overlap is read again beside Feed.Late: the provider's clock and ours differ.
const overlap = 2 * time.Minute

// Pauses after a failure; they double, and a provider that says when is not asked before.
const (
	retryPauseMin = 5 * time.Second
	retryPauseMax = 10 * time.Minute
	retryJitter   = 0.25 // share by which a pause varies, so that processes do not ask in step
)

// feed is one feed of a worker.
type feed struct {
	connectors.Feed
	through  time.Time
	repairs  int64
	nextAt   time.Time
	failures int
	outcome  string // of the last reading; empty: none yet
	err      string
	gap      *Span
}

// span is what to ask for now: from where it was read before, with what may have come late since, to what can be told
// missing. Nothing before complete is asked for again, so that a new connection does not reach back before its begin; only
// a feed that was not offered for a while, and so lies behind complete, is. gap is what the provider no longer lists.
func (f *feed) span(now, complete time.Time, grace time.Duration) (s Span, gap *Span) {
	s = Span{f.through.Add(-f.Late - overlap), now.Add(-grace)}
	if !complete.After(f.through) {
		s.From = later(s.From, complete.Add(-overlap))
	}
	if h := horizon(f.Feed, now); h.After(s.From) {
		s.From = h
		if h.After(f.through) {
			gap = &Span{f.through, h}
		}
	}
	return s, gap
}

// readFeed reads one feed up to now: all windows, all pages. What it could read it has kept, also where it fails.
func (w *worker) readFeed(ctx context.Context, f *feed) error {
	s, gap := f.span(w.clock.Now(), w.complete, w.grace)
	if gap != nil && (f.gap == nil || !f.gap.To.After(gap.From)) {
		w.reportGap(f, *gap)
	}
	repaired := 0
	defer func() {
		if repaired > 0 && w.c.hooked() {
			w.log.Warn().Str("feed", f.Name).Int("events", repaired).Msg("events that no webhook had brought were found and appended")
		}
	}()
	for window := range windows(s, f.WindowMax) {
		err := w.list.window(ctx, f.Name, window, false, func(page []listed) error {
			n, err := w.keepMissing(ctx, f, page)
			repaired += n
			return err
		})
		if err != nil {
			return err
		}
		w.set(func() { f.through = later(f.through, window.To) })
		w.unsaved = true
		if window.To.Before(s.To) { // a long span goes on from here, should this process end
			if err := w.saveSometimes(ctx); err != nil {
				return logError{err}
			}
		}
	}
	return nil
}

// logError marks an error as the log's, not the provider's.
type logError struct{ error }

func (e logError) Unwrap() error { return e.error }

// keepMissing appends what is not on the log. The log is read once more before, for webhooks that came meanwhile.
func (w *worker) keepMissing(ctx context.Context, f *feed, page []listed) (kept int, err error) {
	missing := w.missing(page, f.Match)
	if len(missing) == 0 {
		return 0, nil
	}
	if err := w.tail.catchUp(ctx); err != nil {
		return 0, logError{err}
	}
	for _, found := range w.missing(missing, f.Match) {
		if w.book.ledger.holds(found.events, f.Match) {
			continue // it stood in the page twice
		}
		events, err := w.o.Keeper.Keep(ctx, w.c.Connector, found.delivery)
		if err != nil {
			return kept, logError{err}
		}
		for i := range events {
			w.book.ledger.add(&events[i], w.clock.Now())
		}
		kept++
		w.set(func() { f.repairs++ })
		w.metrics.repairs.WithLabelValues(w.c.Name, f.Name).Inc()
		if w.c.hooked() && w.lines.AllowN(w.clock.Now(), 1) {
			w.log.Info().Str("feed", f.Name).Str("event", events[0].EventID).Str("type", events[0].EventType).Str("cause", found.cause).
				Msg("an event that no webhook had brought was appended")
		}
	}
	return kept, nil
}

func (w *worker) missing(page []listed, m connectors.Match) (out []listed) {
	for _, found := range page {
		if !w.book.ledger.holds(found.events, m) {
			out = append(out, found)
		}
	}
	return out
}

func (w *worker) reportGap(f *feed, gap Span) {
	w.set(func() { f.gap = &gap })
	w.metrics.gaps.WithLabelValues(w.c.Name, f.Name).Inc()
	w.log.Error().Str("feed", f.Name).Time("from", gap.From).Time("to", gap.To).
		Msg("the provider no longer lists a span that was not read in time; what no webhook brought of it is missing: run 'tillstream backfill' for it")
}

// judge takes the result of a reading: when the feed is read next, and what is told of it.
func (w *worker) judge(f *feed, err error) {
	now := w.clock.Now()
	outcome, next := outcomeRead, now.Add(f.Every)
	if err != nil {
		outcome = outcomeFailed
		pause := min(retryPauseMin<<min(f.failures, 10), retryPauseMax)
		pause += time.Duration(retryJitter * (2*w.jitter() - 1) * float64(pause))
		next = now.Add(pause)
		limited := (*limitedError)(nil)
		onLog := logError{}
		switch {
		case errors.As(err, &onLog):
			outcome, next = outcomeKafka, now // the worker pauses as long as the log is away
		case errors.As(err, &limited):
			outcome, next = outcomeLimited, later(next, limited.until)
			w.holdUntil = later(w.holdUntil, limited.until)
		}
	}
	w.metrics.polls.WithLabelValues(w.c.Name, f.Name, outcome).Inc()
	before := f.outcome
	w.set(func() {
		f.outcome, f.nextAt, f.err = outcome, next, ""
		f.failures++
		if err != nil {
			f.err = err.Error()
		} else {
			f.failures = 0
		}
	})
	switch {
	case before == outcome || before == "" && err == nil:
	case err != nil:
		w.log.Warn().Err(err).Str("feed", f.Name).Time("again_at", next).Msg("a feed could not be read; what it lists is read later, nothing is lost")
	default:
		w.log.Info().Str("feed", f.Name).Time("through", f.through).Msg("the feed is read again")
	}
}

// completeUpTo is the time before which every feed was read, with what it may have listed late. Zero: not known.
func completeUpTo(feeds []*feed) (t time.Time) {
	for _, f := range feeds {
		if f.through.IsZero() {
			return time.Time{}
		}
		if at := f.through.Add(-f.Late); t.IsZero() || at.Before(t) {
			t = at
		}
	}
	return t
}

// running are the feeds that are read while running. The error names a feed that says too little of itself.
func running(c Connection) (out []connectors.Feed, err error) {
	if c.Poller == nil {
		return nil, nil
	}
	for _, f := range c.Poller.Feeds() {
		if f.Name == "" {
			return nil, fmt.Errorf("a feed of connection %s has no name", c.Name)
		}
		if f.Every > 0 {
			f.Every = cmp.Or(c.Every, f.Every)
			out = append(out, f)
		}
	}
	return out, nil
}
