package poll

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/schemas"
)

// Bounds of asking one provider.
const (
	// pollTimeout bounds one page, its connector's own tries included.
	pollTimeout = 5 * time.Minute
	// pagesMax bounds the pages of one window: a list that is longer most likely never ends.
	pagesMax = 20_000
	// pagesPerSecond and pagesBurst are our own politeness, beside what the provider says.
	pagesPerSecond = 4
	pagesBurst     = 20
	// budgetShare: below this share of the provider's own budget, polling goes slowly and leaves the rest to others.
	budgetShare = 10
	budgetPause = 5 * time.Second
	// holdMax is how long a page waits for a provider that wants to be left alone; longer is for the caller's schedule.
	holdMax = 2 * time.Minute
	// windowDefault is the span of one question where the provider takes any: progress is kept after each.
	windowDefault = 24 * time.Hour
	// reachMargin keeps questions off the very edge of what a provider remembers.
	reachMargin = time.Minute
	// inFlight is how long the webhook of a change may be on its way: what is newer is not missing yet.
	inFlight = time.Minute
)

// Errors of a provider's list.
var (
	errEndless = errors.New("the provider's list does not end")
	errPanic   = errors.New("the connector failed")
)

// limitedError says that the provider wants to be left alone until then.
type limitedError struct {
	until time.Time
	err   error
}

func (e *limitedError) Error() string { return e.err.Error() }
func (e *limitedError) Unwrap() error { return e.err }

// lister asks one connection's provider, politely, and normalises what it lists.
type lister struct {
	c       Connection
	clock   clock.Clock
	origin  schemas.Origin
	limiter *rate.Limiter
	slots   chan struct{} // questions of all connections at a time; nil: no bound
	keeper  ingest.Keeper
}

func newLister(c Connection, k clock.Clock, o schemas.Origin, slots chan struct{}, keeper ingest.Keeper) *lister {
	return &lister{c: c, clock: k, origin: o, keeper: keeper, limiter: rate.NewLimiter(pagesPerSecond, pagesBurst), slots: slots}
}

// listed is one record of a provider's list, and its events as they would be appended.
type listed struct {
	delivery connectors.Delivery
	cause    string
	events   []schemas.OrderEvent
}

// same reports whether l and m are one record of one page.
func (l listed) same(m listed) bool {
	return l.delivery.ID == m.delivery.ID && slices.EqualFunc(l.events, m.events, func(x, y schemas.OrderEvent) bool { return x.EventID == y.EventID })
}

// windows cuts a span into questions of at most width, oldest first.
func windows(s Span, width time.Duration) iter.Seq[Span] {
	if width <= 0 {
		width = windowDefault
	}
	return func(yield func(Span) bool) {
		for from := s.From; from.Before(s.To); from = from.Add(width) {
			if !yield(Span{from, earlier(from.Add(width), s.To)}) {
				return
			}
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// horizon is the oldest time that the feed can be asked for; zero: any.
func horizon(f connectors.Feed, now time.Time) time.Time {
	if f.Reach <= 0 {
		return time.Time{}
	}
	return now.Add(-f.Reach).Add(reachMargin)
}

// window reads every page of one window of a feed, and hands each to take.
func (l *lister) window(ctx context.Context, feed string, s Span, full bool, take func([]listed) error) error {
	q := connectors.Query{Feed: feed, From: s.From, To: s.To, Full: full}
	for range pagesMax {
		page, err := l.page(ctx, q)
		if err != nil {
			return err
		}
		if len(page.Found) > 0 {
			if err := take(l.prepare(page.Found)); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		if page.Next == q.Cursor {
			break
		}
		q.Cursor = page.Next
	}
	return fmt.Errorf("feed %s from %s to %s: %w", feed, s.From.UTC().Format(time.RFC3339), s.To.UTC().Format(time.RFC3339), errEndless)
}

// page asks one question. Waiting for the provider's sake takes no slot from others.
func (l *lister) page(ctx context.Context, q connectors.Query) (page connectors.Page, err error) {
	if err := l.pace(ctx); err != nil {
		return page, err
	}
	if l.slots != nil {
		select {
		case l.slots <- struct{}{}:
			defer func() { <-l.slots }()
		case <-ctx.Done():
			return page, ctx.Err()
		}
	}
	ask, cancel := l.clock.WithTimeout(ctx, pollTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil { // without the value: it could hold parts of an answer
			page, err = connectors.Page{}, fmt.Errorf("feed %s: %w: a panic of type %T", q.Feed, errPanic, p)
		}
	}()
	page, err = l.c.Poller.Poll(ask, q)
	return page, l.limited(err)
}

// limited marks an error with which the provider asks to be left alone.
func (l *lister) limited(err error) error {
	if err == nil {
		return nil
	}
	now := l.clock.Now()
	refused := (*outbound.StatusError)(nil)
	if errors.As(err, &refused) && (refused.Status == http.StatusTooManyRequests || refused.RetryAfter > 0) {
		return &limitedError{now.Add(refused.RetryAfter), err}
	}
	if w, ok := l.c.Poller.(connectors.Watcher); ok {
		if hold := w.Budget().HoldUntil; hold.After(now) {
			return &limitedError{hold, err}
		}
	}
	return err
}

// pace waits until the provider may be asked again.
func (l *lister) pace(ctx context.Context) error {
	now := l.clock.Now()
	wait := l.limiter.ReserveN(now, 1).DelayFrom(now)
	if w, ok := l.c.Poller.(connectors.Watcher); ok {
		b := w.Budget()
		if hold := b.HoldUntil.Sub(now); hold > holdMax {
			return &limitedError{b.HoldUntil, fmt.Errorf("the provider wants no requests until %s", b.HoldUntil.UTC().Format(time.RFC3339))}
		} else if hold > wait {
			wait = hold
		}
		if b.Limit > 0 && b.Left < b.Limit/budgetShare {
			wait = max(wait, budgetPause)
		}
	}
	if wait <= 0 {
		return ctx.Err()
	}
	return l.clock.Sleep(ctx, wait)
}

func (l *lister) prepare(found []connectors.Found) []listed {
	out := make([]listed, len(found))
	for i, f := range found {
		d := f.Delivery
		d.Connection, d.Environment, d.Origin = l.c.Name, l.c.Environment, l.origin
		if d.ReceivedAt.IsZero() {
			d.ReceivedAt = l.clock.Now()
		}
		out[i] = listed{d, f.Cause, l.keeper.Events(l.c.Connector, d)}
	}
	return out
}
