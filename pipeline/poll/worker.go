package poll

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/schemas"
)

const (
	// countEvery is how often webhooks are counted where no feed is read sooner.
	countEvery = time.Minute
	// saveEvery is how often progress is written at the most, so that its topic stays small between compactions. What was
	// read since is read again by whoever goes on, and found on the log.
	saveEvery = 5 * time.Minute
	// firstReach is how far back the first reading of a connection goes that received webhooks before it was polled.
	firstReach = 24 * time.Hour
	// receiptSlack is how much before a change, by the provider's clock, its webhook may have been appended by ours.
	receiptSlack = time.Hour
	// statusReach is how far back the log is read for feeds that match by status whenever.
	statusReach = 24 * time.Hour
	// remembered is how long an event is remembered beyond what any feed asks for again.
	remembered = 7 * 24 * time.Hour

	logPause       = time.Second // after the log could not be read or written; it doubles
	logPauseMax    = 30 * time.Second
	linesPerSecond = 5
	linesBurst     = 100
)

// worker polls one connection.
type worker struct {
	c       Connection
	o       Options
	source  Log
	decode  Decoder
	clock   clock.Clock
	tail    *tail
	book    *book
	list    *lister
	metrics *metrics
	log     zerolog.Logger
	lines   *rate.Limiter
	jitter  func() float64 // in [0, 1)
	grace   time.Duration
	stop    context.CancelFunc

	// Of the worker's goroutine alone.
	complete  time.Time
	holdUntil time.Time // the provider wants no questions before
	countedAt time.Time
	savedAt   time.Time
	counted   int  // book's changes when progress was written
	unsaved   bool // a feed was read since

	mu     sync.Mutex // guards what Status shows: feeds' fields, and these
	feeds  []*feed
	parked []*feed // known, and not to be asked for now
	shown  Status
	ending bool
}

// set changes what Status shows.
func (w *worker) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// run polls until ctx ends. What fails is tried again; nothing of it is an error of the process.
func (w *worker) run(ctx context.Context) {
	defer func() {
		if w.book != nil {
			w.tail.leave(w.book)
		}
	}()
	pause, adopted := logPause, false
	for ctx.Err() == nil {
		var err error
		if !adopted {
			err = w.adopt(ctx)
			adopted = err == nil
		} else {
			err = w.turn(ctx)
		}
		w.tell(err)
		if err == nil {
			pause = logPause
			_ = w.clock.Sleep(ctx, w.nextAt().Sub(w.clock.Now())) // its error is ctx's
			continue
		}
		_ = w.clock.Sleep(ctx, pause)
		pause = min(2*pause, logPauseMax)
	}
}

// tell shows and logs whether the log can be reached, a line for each change.
func (w *worker) tell(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	before := w.shown.LastError
	w.set(func() { w.shown.LastError = text })
	switch {
	case before == "" && err != nil:
		w.log.Warn().Err(err).Msg("the connection is not polled: its log cannot be read or written")
	case before != "" && err == nil:
		w.log.Info().Msg("the connection is polled again")
	}
}

// adopt takes the connection over: its progress, and what the log has of the span that will be asked for.
func (w *worker) adopt(ctx context.Context) error {
	feeds, err := running(w.c)
	if err != nil {
		return err
	}
	p, err := readProgress(ctx, w.source, w.decode, w.c.key())
	if err != nil {
		return err
	}
	starts, ends, err := w.tail.ends(ctx)
	if err != nil {
		return err
	}
	now := w.clock.Now()
	b := newBook(w.c.key(), newLedger(widest(feeds), digestsMax))
	since := now.Add(-historySpan) // never counted before: all that may tell what is usual
	if p != nil {
		b.restore(p, ends)
		w.complete = p.CompleteUpTo
		since = w.restore(feeds, p, now)
	} else {
		w.arrange(feeds, nil)
	}
	from, err := w.tail.since(ctx, since)
	if err != nil {
		return err
	}
	for n, at := range b.offsets {
		from[n] = min(from[n], max(at, starts[n]))
	}
	if err := w.tail.join(ctx, b, from); err != nil {
		return err
	}
	w.book = b
	w.begin(now)
	// Written before anything is asked, so that a connection's begin is where it was first polled, whoever goes on.
	return w.save(ctx)
}

// arrange makes the worker's feeds those of list. What is known of a feed stays, also while the connection does not offer
// it, for want of a permission.
func (w *worker) arrange(list []connectors.Feed, known []*feed) {
	var feeds, parked []*feed
	for _, f := range list {
		at := slices.IndexFunc(known, func(k *feed) bool { return k.Name == f.Name })
		if at < 0 {
			feeds = append(feeds, &feed{Feed: f})
			continue
		}
		known[at].Feed = f
		feeds = append(feeds, known[at])
	}
	for _, k := range known {
		if !slices.Contains(feeds, k) {
			parked = append(parked, k)
		}
	}
	w.set(func() { w.feeds, w.parked = feeds, parked })
}

// restore sets the feeds to where p has them, and returns from when on the log has to be known.
func (w *worker) restore(feeds []connectors.Feed, p *schemas.SourceProgress, now time.Time) time.Time {
	var known []*feed
	for _, f := range p.Feeds {
		known = append(known, &feed{Feed: connectors.Feed{Name: f.Feed}, through: f.Through, repairs: f.Repairs})
	}
	w.arrange(feeds, known)
	since := now.Add(-firstReach)
	for _, f := range w.feeds {
		if !f.through.IsZero() {
			s, _ := f.span(now, p.CompleteUpTo, w.grace)
			since = earlier(since, s.From.Add(-receiptSlack))
		}
		if f.Match == connectors.MatchStatus {
			since = earlier(since, now.Add(-statusReach))
		}
	}
	return since
}

// refresh takes over a change of what the connection offers.
func (w *worker) refresh() error {
	list, err := running(w.c)
	if err != nil {
		return err
	}
	if slices.EqualFunc(list, w.feeds, func(l connectors.Feed, f *feed) bool { return l == f.Feed }) {
		return nil
	}
	w.arrange(list, append(slices.Clone(w.feeds), w.parked...))
	w.begin(w.clock.Now())
	return nil
}

// begin sets where feeds start that were never read. A connection is made whole from its first event on the log, a day
// back at the most: webhooks that were missed since then are. Before that it was none of ours: a new connection starts
// now, and its past is a backfill's, which sends no message.
func (w *worker) begin(now time.Time) {
	w.set(func() {
		for _, f := range w.feeds {
			if !f.through.IsZero() {
				continue
			}
			f.nextAt = now
			f.through = now.Add(-w.grace)
			if first := w.book.begun(); !first.IsZero() {
				f.through = earlier(f.through, later(first, now.Add(-firstReach)))
			}
			f.through = later(f.through, horizon(f.Feed, now))
		}
		if w.complete.IsZero() {
			for i, f := range w.feeds {
				if i == 0 || f.through.Before(w.complete) {
					w.complete = f.through
				}
			}
		}
	})
}

// turn reads the log on, then the feeds that are due. Its error is the log's; those of feeds are judged here.
func (w *worker) turn(ctx context.Context) error {
	if err := w.tail.catchUp(ctx); err != nil {
		return err
	}
	w.countedAt = w.clock.Now()
	w.watch()
	if err := w.refresh(); err != nil {
		return err
	}
	if err := w.saveSometimes(ctx); err != nil {
		return err
	}
	for _, f := range w.feeds {
		now := w.clock.Now()
		if now.Before(f.nextAt) || now.Before(w.holdUntil) {
			continue
		}
		err := w.readFeed(ctx, f)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w.judge(f, err)
		if onLog := (logError{}); errors.As(err, &onLog) {
			return onLog.error
		}
		w.unsaved = true
		w.complete = later(w.complete, completeUpTo(w.feeds))
	}
	w.watch()
	w.book.ledger.forget(w.oldest().Add(-remembered))
	return w.saveSometimes(ctx)
}

// saveSometimes writes the progress if there is any and the last time is long enough ago.
func (w *worker) saveSometimes(ctx context.Context) error {
	_, _, changes := w.book.count()
	if !w.unsaved && changes == w.counted || w.clock.Now().Sub(w.savedAt) < saveEvery {
		return nil
	}
	return w.save(ctx)
}

// oldest is the begin of the oldest span that will be asked for.
func (w *worker) oldest() time.Time {
	t := w.clock.Now()
	for _, f := range w.feeds {
		s, _ := f.span(w.clock.Now(), w.complete, w.grace)
		t = earlier(t, s.From)
	}
	return t
}

// nextAt is when there is something to do.
func (w *worker) nextAt() time.Time {
	t := w.countedAt.Add(countEvery)
	for _, f := range w.feeds {
		t = earlier(t, later(f.nextAt, w.holdUntil))
	}
	return t
}

// watch judges whether the connection is silent, and shows its times.
func (w *worker) watch() {
	hours, last, _ := w.book.count()
	s := silence(hours, last, w.clock.Now())
	before := w.shown.Silent
	w.set(func() { w.shown.LastEventAt, w.shown.Silent, w.shown.CompleteUpTo = last, s, w.shownComplete() })
	w.mu.Lock()
	if !w.ending {
		w.metrics.show(w.c.Name, w.shown.CompleteUpTo, last, s != nil)
	}
	w.mu.Unlock()
	switch {
	case before == nil && s != nil:
		w.log.Error().Time("since", s.Since).Float64("usual_per_hour", s.UsualPerHour).Float64("expected", s.Expected).
			Msg("no webhook came for a long time although many are usual: see whether the provider still has this connection's webhook, and reaches its address")
	case before != nil && s == nil:
		w.log.Info().Time("at", last).Msg("webhooks come again")
	}
}

// shownComplete is CompleteUpTo of a connection that is polled; one that is not has none.
func (w *worker) shownComplete() time.Time {
	if len(w.feeds) == 0 {
		return time.Time{}
	}
	return w.complete
}

// save writes the progress. What it says was done before: every feed's events up to through are on the log.
func (w *worker) save(ctx context.Context) error {
	_, _, changes := w.book.count()
	p := schemas.SourceProgress{
		Environment: w.c.Environment, Connection: w.c.Name, CompleteUpTo: w.shownComplete(), At: w.clock.Now(),
	}
	for _, f := range append(slices.Clone(w.feeds), w.parked...) {
		p.Feeds = append(p.Feeds, schemas.FeedProgress{Feed: f.Name, Through: f.through, Repairs: f.repairs})
	}
	w.book.fill(&p)
	if err := writeProgress(ctx, w.o.Keeper, &p); err != nil {
		return err
	}
	w.savedAt, w.counted, w.unsaved = w.clock.Now(), changes, false
	return nil
}

// status is a copy for others.
func (w *worker) status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.shown
	s.Connection, s.Environment, s.Owned = w.c.Name, w.c.Environment, true
	s.Feeds = make([]FeedStatus, 0, len(w.feeds))
	for _, f := range w.feeds {
		s.Feeds = append(s.Feeds, FeedStatus{Name: f.Name, Through: f.through, Repairs: f.repairs, LastError: f.err, NextAt: f.nextAt, Gap: f.gap})
	}
	return s
}
