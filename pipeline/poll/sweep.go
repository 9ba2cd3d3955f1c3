package poll

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
)

// sweepDigestsMax bounds what a sweep remembers of the log, about 40 bytes each: eight to twenty-four million events.
const sweepDigestsMax = 24 << 20

// ErrTooMany says that the span has more events than a sweep remembers.
var ErrTooMany = errors.New("too many events at a time")

// Sweep is what Reconcile and Backfill need: a connection and the log. Nothing of it is kept in memory afterwards.
type Sweep struct {
	Connection Connection // with its Poller
	// Span is what to ask for. A zero To means up to now, but for what may still be on its way.
	Span Span
	// Feeds names those to ask; none: all that serve.
	Feeds []string
	// DryRun appends nothing.
	DryRun  bool
	Log     Log
	Decoder Decoder
	Keeper  ingest.Keeper
	Clock   clock.Clock // default clock.System
	Lines   zerolog.Logger
	// Progress, where it is given, is told how far it is, from the sweep's own goroutine.
	Progress func(Progress)
}

// Progress says how far a sweep is.
type Progress struct {
	Step    string    // "reading the log", "counting", "asking", "checking"
	Feed    string    // empty while the log is read
	Through time.Time // of the feed
	Listed  int64     // records that the feed listed in this step so far
	Of      int64     // records that the count found; 0: not counted
	Kept    int64     // of them appended
}

// sweep is a Sweep under way.
type sweep struct {
	Sweep
	list *lister
	tail *tail
	book *book
}

// open checks the span and the feeds, and reads the log of the span.
func (o Sweep) open(ctx context.Context, origin schemas.Origin, serves func(connectors.Feed) bool) (*sweep, []connectors.Feed, error) {
	if o.Connection.Poller == nil {
		return nil, nil, fmt.Errorf("connection %s: its provider has no list that could be read", o.Connection.Name)
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	now := o.Clock.Now()
	if o.Span.To.IsZero() || o.Span.To.After(now) {
		o.Span.To = now
		if o.Connection.hooked() {
			o.Span.To = now.Add(-inFlight)
		}
	}
	if !o.Span.From.Before(o.Span.To) {
		return nil, nil, fmt.Errorf("nothing lies between %s and %s", o.Span.From.UTC().Format(time.RFC3339), o.Span.To.UTC().Format(time.RFC3339))
	}
	feeds, err := choose(o.Connection, o.Feeds, serves)
	if err != nil {
		return nil, nil, err
	}
	s := &sweep{Sweep: o, list: newLister(o.Connection, o.Clock, origin, nil, o.Keeper)}
	s.tail = newTail(o.Log, o.Connection.Connector.Topic, o.Decoder, o.Lines)
	s.book = newBook(o.Connection.key(), newLedger(widest(feeds), sweepDigestsMax))
	since := o.Span.From.Add(-receiptSlack)
	if s.book.ledger.match == connectors.MatchStatus {
		since = since.Add(-statusReach)
	}
	o.Progress(Progress{Step: "reading the log"})
	from, err := s.tail.since(ctx, since)
	if err != nil {
		return nil, nil, err
	}
	if err := s.tail.join(ctx, s.book, from); err != nil {
		return nil, nil, err
	}
	return s, feeds, s.roomy()
}

func (s *sweep) roomy() error {
	if s.book.ledger.full() {
		return fmt.Errorf("connection %s since %s: %w; take a shorter span", s.Connection.Name, s.Span.From.UTC().Format(time.RFC3339), ErrTooMany)
	}
	return nil
}

// logSince is when the oldest record was appended that the topic still has, where that is after the span's begin and
// older ones were removed: what was received before cannot be told from what was not.
func (s *sweep) logSince(ctx context.Context) (*time.Time, error) {
	starts, ends, err := s.tail.ends(ctx)
	if err != nil {
		return nil, err
	}
	since := s.Span.From
	for n, start := range starts {
		if start == 0 || start == ends[n] {
			continue
		}
		r := kafka.Range{Topic: s.tail.topic, Partition: n, From: start, To: start + 1, Patience: readPatience}
		err := s.Log.Read(ctx, r, func(records []*kgo.Record, _ int64) error {
			if len(records) > 0 {
				since = later(since, records[0].Timestamp)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if since.Equal(s.Span.From) {
		return nil, nil
	}
	return &since, nil
}

// choose are the feeds of these names, or all that serve.
func choose(c Connection, names []string, serves func(connectors.Feed) bool) (out []connectors.Feed, err error) {
	var known []string
	for _, f := range c.Poller.Feeds() {
		if !serves(f) {
			continue
		}
		known = append(known, f.Name)
		if len(names) == 0 || slices.Contains(names, f.Name) {
			out = append(out, f)
		}
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("connection %s has no feed %q for this; it has %s", c.Name, n, orNone(known))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("connection %s has no feed for this", c.Name)
	}
	return out, nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// reach cuts the span to what the feed can be asked for; beyond is the part that the provider no longer lists.
func (s *sweep) reach(f connectors.Feed) (span Span, beyond *Span) {
	span = s.Span
	if h := horizon(f, s.Clock.Now()); h.After(span.From) {
		beyond = &Span{span.From, earlier(h, span.To)}
		span.From = earlier(h, span.To)
	}
	return span, beyond
}

// each hands every record of a feed in span to take, once: lists repeat themselves within a window and at its edges. done
// is called after each window.
func (s *sweep) each(ctx context.Context, f connectors.Feed, span Span, full bool, take func([]listed) error, done func(Span) error) error {
	before, current := map[digest]struct{}{}, map[digest]struct{}{}
	for window := range windows(span, f.WindowMax) {
		err := s.list.window(ctx, f.Name, window, full, func(page []listed) error {
			fresh := page[:0]
			for _, found := range page {
				d := digestOf('l', identities(found.events)...)
				_, old := before[d]
				if _, twice := current[d]; old || twice {
					continue
				}
				current[d] = struct{}{}
				fresh = append(fresh, found)
			}
			return take(fresh)
		})
		if err != nil {
			return err
		}
		if err := done(window); err != nil {
			return err
		}
		before, current = current, map[digest]struct{}{}
	}
	return nil
}

func identities(events []schemas.OrderEvent) []string {
	out := make([]string, len(events))
	for i := range events {
		out[i] = events[i].EventID
	}
	return out
}

// missing are those of page that are not on the log. Where some are, the log is read on before the last word.
func (s *sweep) missing(ctx context.Context, page []listed, m connectors.Match) ([]listed, error) {
	filter := func(page []listed) (out []listed) {
		for _, found := range page {
			if !s.book.ledger.holds(found.events, m) {
				out = append(out, found)
			}
		}
		return out
	}
	first := filter(page)
	if len(first) == 0 {
		return nil, nil
	}
	if err := s.tail.catchUp(ctx); err != nil {
		return nil, err
	}
	return filter(first), s.roomy()
}
