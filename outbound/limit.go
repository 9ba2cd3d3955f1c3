package outbound

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// HoldMax bounds the silence that a provider can ask for: a broken clock over there must not stop us for years.
const HoldMax = 24 * time.Hour

// slack is added to the spacing of requests, because the provider counts arrivals and the way there is uneven.
const slack = 1.04

// windowLimiter spaces requests evenly. It hands out turns in the order of asking.
type windowLimiter struct {
	spacing time.Duration
	now     func() time.Time
	turn    chan struct{} // held by the one that waits for the clock

	mu    sync.Mutex
	next  time.Time
	quiet time.Time // no request before this
}

// NewWindowLimiter returns a limiter of one process: no window of one second holds more than rate requests (for a rate
// that is no whole number above 1, in the mean). A rate of zero or less sets no spacing; Hold is obeyed all the same.
// now has to be the clock that timers run by.
func NewWindowLimiter(rate float64, now func() time.Time) Limiter {
	l := &windowLimiter{now: now, turn: make(chan struct{}, 1)}
	if rate > 0 {
		l.spacing = time.Duration(slack / rate * float64(time.Second))
	}
	return l
}

// Wait implements Limiter.
func (l *windowLimiter) Wait(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.turn }()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		d := l.take()
		if d <= 0 {
			return nil
		}
		timer := time.NewTimer(d)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// take uses the next slot if it has come; otherwise it says how long to wait. A Hold in the meantime is seen then.
func (l *windowLimiter) take() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	at := l.next
	if l.quiet.After(at) {
		at = l.quiet
	}
	if d := at.Sub(now); d > 0 {
		return d
	}
	l.next = now.Add(l.spacing)
	return 0
}

// Hold implements Limiter.
func (l *windowLimiter) Hold(_ context.Context, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if until := l.now().Add(min(d, HoldMax)); until.After(l.quiet) {
		l.quiet = until
	}
}

// RetryAfter reads the header of that name: seconds or an HTTP date (RFC 9110, 10.2.3), capped at HoldMax. ok is false
// where there is none or it says nothing.
func RetryAfter(h http.Header, now time.Time) (d time.Duration, ok bool) {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0, false
	}
	if strings.Trim(v, "0123456789") == "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n > int64(HoldMax/time.Second) {
			return HoldMax, true
		}
		return time.Duration(n) * time.Second, true
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), HoldMax), true
}
