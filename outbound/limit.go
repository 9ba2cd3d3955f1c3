package outbound

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// HoldMax bounds the silence that a provider can ask for: a broken clock over there must not stop us for years.
const HoldMax = 24 * time.Hour

// A Limiter holds one account to its limits over all processes.
type Limiter interface {
	// Acquire returns when the next request may leave, or with ctx's error. What InBucket says of ctx counts as well.
	Acquire(ctx context.Context) (Turn, error)
}

// A Turn is the leave to send one request.
type Turn interface {
	// Renew is called right before the request is written, each time that it is: repeated says that it was written before,
	// on a connection that broke. A turn that became too old in between, or was used, is exchanged for another, which may
	// take as long as Acquire did.
	Renew(ctx context.Context, repeated bool) error
	// Done ends the turn: the request was answered, or is given up. Calls after the first do nothing.
	Done(Feedback)
}

// A Timeless turn does not age, however late it is used, and a request may be repeated with it: it is never renewed.
type Timeless interface {
	Turn
	Timeless()
}

// Feedback is what a limiter learns of a request.
type Feedback struct {
	Status  int           // of the answer; 0: none came
	Latency time.Duration // until the answer began
	Hold    time.Duration // the silence that the answer asks for; 0: none
	Told    Told
}

// Told is a provider's own count on an answer. The zero value: it tells none.
type Told struct {
	Limit, Left int64
	Reset       time.Duration // until the window begins anew; 0: it does not say
}

// A Window is a number of requests in any span of a length.
type Window struct {
	Requests int
	Per      time.Duration
}

// Spaced reports whether the window's requests are sent evenly. Those of a longer window may come in a bunch.
func (w Window) Spaced() bool { return w.Per <= time.Second || w.Requests == 1 }

// Limits are what a provider allows one account. The zero value is no limit.
type Limits struct {
	Windows  []Window
	Parallel int // requests at a time; 0: any number
	// Buckets are further limits, of certain requests only. These count in the account's windows, too.
	Buckets []Bucket
}

// A Bucket is a limit of certain requests: those of a context that InBucket named it in.
type Bucket struct {
	Name    string
	Windows []Window
}

// None reports whether nothing is limited.
func (l Limits) None() bool { return len(l.Windows) == 0 && l.Parallel == 0 && len(l.Buckets) == 0 }

// Bucket returns the windows of that bucket; none where there is no such bucket.
func (l Limits) Bucket(name string) []Window {
	for _, b := range l.Buckets {
		if b.Name == name {
			return b.Windows
		}
	}
	return nil
}

// WithRate returns l with another number of requests a second in place of its window of one second: what an operator
// chose. Negative: no limits at all. Zero: l.
func (l Limits) WithRate(perSecond float64) Limits {
	switch {
	case perSecond < 0:
		return Limits{}
	case perSecond == 0:
		return l
	}
	rate := Window{Requests: int(perSecond), Per: time.Second}
	if perSecond != float64(rate.Requests) {
		rate = Window{Requests: 1, Per: time.Duration(float64(time.Second) / perSecond)}
	}
	out := Limits{Windows: []Window{rate}, Parallel: l.Parallel, Buckets: l.Buckets}
	for _, w := range l.Windows {
		if !w.Spaced() {
			out.Windows = append(out.Windows, w)
		}
	}
	return out
}

type bucketKey struct{}

const uncounted = "\x00"

// InBucket returns a context whose requests count in that bucket of the account's limits, too.
func InBucket(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, bucketKey{}, name)
}

// Uncounted returns a context whose requests the account's limits do not concern: they go to another service.
func Uncounted(ctx context.Context) context.Context { return InBucket(ctx, uncounted) }

// BucketOf returns the bucket that ctx names; empty: none.
func BucketOf(ctx context.Context) string {
	name, _ := ctx.Value(bucketKey{}).(string)
	return name
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
