package outbound

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// silenceWithoutTime is kept after a 429 that names no time: limits are counted per second at the shortest.
	silenceWithoutTime = time.Second
	// refusalBytesMax is how much of a 429 is read for the time that it names.
	refusalBytesMax = 4 << 10
	// epochSecondsMin tells a point in time from a number of seconds: nobody means thirty years of silence.
	epochSecondsMin = 1_000_000_000
)

// limitingTransport waits for the account's turn, and tells the limiter what came of it.
type limitingTransport struct {
	limiter Limiter
	now     func() time.Time
	next    http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *limitingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.limiter == nil || BucketOf(req.Context()) == uncounted {
		return t.next.RoundTrip(req)
	}
	turn, err := t.limiter.Acquire(req.Context())
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, &sendError{method: req.Method, err: fmt.Errorf("waiting for the rate limit: %w", err)}
	}
	began := t.now()
	resp, end, err := t.send(req, turn)
	if err != nil {
		turn.Done(Feedback{})
		return nil, err
	}
	f := Feedback{Status: resp.StatusCode, Latency: max(t.now().Sub(began), 0), Told: told(resp.Header, t.now())}
	f.Hold = t.silence(resp)
	if f.Hold > 0 {
		turn.Done(f) // at once: nobody else is to be refused, too
	}
	// The provider counts a request as going on until its answer is out.
	resp.Body = &closingBody{ReadCloser: resp.Body, close: func() { turn.Done(f); end() }}
	return resp, nil
}

// send sends the request with its turn. end is to be called once the answer is read.
func (t *limitingTransport) send(req *http.Request, turn Turn) (resp *http.Response, end func(), err error) {
	if _, ok := turn.(Timeless); ok {
		resp, err = t.next.RoundTrip(req)
		return resp, func() {}, err
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err = t.next.RoundTrip(req.WithContext(renewing(ctx, req.Method, turn, cancel)))
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && req.Context().Err() == nil {
			err = cause
		}
		cancel(nil)
		return nil, nil, err
	}
	resp.Request = req
	return resp, func() { cancel(nil) }, nil
}

// renewing has the turn looked at once more when the request is about to be written. Between the turn and that moment
// lie a dial with its handshakes, or a machine that stood still. net/http asks for a connection again where it repeats a
// request by itself, and such a repetition is a request of its own to the provider.
func renewing(ctx context.Context, method string, turn Turn, cancel context.CancelCauseFunc) context.Context {
	var written atomic.Bool
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) {
			if err := turn.Renew(ctx, written.Swap(false)); err != nil {
				cancel(&sendError{method: method, err: fmt.Errorf("waiting for the rate limit: %w", err)})
				_ = got.Conn.Close() // so that it is not written all the same
			}
		},
		WroteHeaders: func() { written.Store(true) },
	})
}

// silence is how long the answer asks for none: 429 always does, 503 where it names a time.
func (t *limitingTransport) silence(resp *http.Response) time.Duration {
	refused := resp.StatusCode == http.StatusTooManyRequests
	if !refused && resp.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	d, named := RetryAfter(resp.Header, t.now())
	if !refused {
		return d
	}
	if !named {
		d, named = reset(resp.Header, t.now())
	}
	if !named {
		d, named = bodyReset(resp)
	}
	if !named || d <= 0 {
		d = silenceWithoutTime
	}
	return d
}

// timeToReset is where GetResponse names the time in its body: {"context":{"timeToReset":"100 seconds"}}.
var timeToReset = regexp.MustCompile(`"timeToReset"\s*:\s*"([0-9]{1,9}) seconds"`)

// bodyReset looks at the beginning of the body, and puts it back.
func bodyReset(resp *http.Response) (time.Duration, bool) {
	head, err := io.ReadAll(io.LimitReader(resp.Body, refusalBytesMax))
	rest := io.Reader(resp.Body)
	if err != nil {
		rest = failing{err}
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), rest), resp.Body}
	m := timeToReset.FindSubmatch(head)
	if m == nil {
		return 0, false
	}
	n, _ := strconv.Atoi(string(m[1])) // nine digits
	return min(time.Duration(n)*time.Second, HoldMax), true
}

type failing struct{ err error }

// Read implements io.Reader.
func (f failing) Read([]byte) (int, error) { return 0, f.err }

// told reads the provider's numbers: RateLimit-Limit and -Remaining (ActiveCampaign), the same with X- and a Reset
// (GetResponse).
func told(h http.Header, now time.Time) Told {
	limit, ok1 := count(h, "Limit")
	left, ok2 := count(h, "Remaining")
	if !ok1 || !ok2 || limit <= 0 || left < 0 {
		return Told{}
	}
	d, _ := reset(h, now)
	return Told{Limit: limit, Left: left, Reset: d}
}

func count(h http.Header, name string) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(rateHeader(h, name)), 10, 64)
	return n, err == nil
}

// reset reads "267 seconds" (GetResponse), a number of seconds, or a point in time in Unix seconds.
func reset(h http.Header, now time.Time) (time.Duration, bool) {
	digits, _, _ := strings.Cut(strings.TrimSpace(rateHeader(h, "Reset")), " ")
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case err != nil || n < 0:
		return 0, false
	case n >= epochSecondsMin:
		return min(max(time.Unix(n, 0).Sub(now), 0), HoldMax), true
	}
	return min(time.Duration(n)*time.Second, HoldMax), true
}

// rateHeader finds a header under both names.
func rateHeader(h http.Header, name string) string {
	if v := h.Get("X-RateLimit-" + name); v != "" {
		return v
	}
	return h.Get("RateLimit-" + name)
}
