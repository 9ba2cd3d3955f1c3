package activecampaign

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Faults are what goes wrong on demand. Each rate is the share of requests, 0 to 1, drawn with the account's seed; they
// are tried in the order of the fields and at most one strikes a request.
type Faults struct {
	TooMany          float64 `json:"too_many"`           // 429 with Retry-After
	ServerError      float64 `json:"server_error"`       // 500 with an HTML body, not applied
	ServerErrorAfter float64 `json:"server_error_after"` // the same, applied
	Unavailable      float64 `json:"unavailable"`        // 503 with Retry-After, not applied
	Gateway          float64 `json:"gateway"`            // 520 (applied), 521, 525 or 526 (not applied) by turns, as Cloudflare answers
	TimeoutBefore    float64 `json:"timeout_before"`     // no answer, not applied
	TimeoutAfter     float64 `json:"timeout_after"`      // applied, no answer
	Cut              float64 `json:"cut"`                // applied, connection closed in place of an answer
	Half             float64 `json:"half"`               // applied, half of the answer
	Drip             float64 `json:"drip"`               // applied, an answer of which a byte comes now and then
	HTML             float64 `json:"html"`               // 200 with a page for people, not applied
	Huge             float64 `json:"huge"`               // applied, 200 with an answer that does not end soon
	// Tracking lets the faults strike the tracking endpoint too.
	Tracking bool `json:"tracking"`
	// RetryAfterSeconds is what 429 and 503 on demand ask for; default 1.
	RetryAfterSeconds int `json:"retry_after_seconds"`
	// HangMillis bounds a time-out, and an answer that drips, for clients that never give up; default 60,000.
	HangMillis int `json:"hang_millis"`
	// HugeBytes is the size of a huge answer; default 64 MiB.
	HugeBytes int64 `json:"huge_bytes"`
	// Reject lists e-mail addresses that are refused as invalid (422).
	Reject []string `json:"reject"`
	// Schedule are other faults that hold in place of these for a while; the first span that has begun and not ended.
	Schedule []Span `json:"schedule"`
}

// Span is what goes wrong from one time to another, both from when the faults were set.
type Span struct {
	FromMillis int64  `json:"from_ms"`
	ToMillis   int64  `json:"to_ms"`
	Faults     Faults `json:"faults"` // its own schedule is not looked at
}

// fault names what strikes a request.
type fault int

const (
	none fault = iota
	tooMany
	serverError
	serverErrorAfter
	unavailable
	gateway
	timeoutBefore
	timeoutAfter
	cut
	half
	drip
	html
	huge
)

// dripMillis is between two bytes of an answer that drips.
const dripMillis = 200

// gatewayCodes come by turns. With the first the request may have been applied.
var gatewayCodes = []int{520, 521, 525, 526}

// inForce is what goes wrong now. Server.mu is held.
func (s *Server) inForce() Faults {
	if len(s.faults.Schedule) == 0 {
		return s.faults
	}
	ms := s.opts.Now().Sub(s.since).Milliseconds()
	for _, span := range s.faults.Schedule {
		if ms >= span.FromMillis && ms < span.ToMillis {
			return span.Faults
		}
	}
	return s.faults
}

// draw picks the fault of one request, and its turn among the requests struck so far.
func (s *Server) draw(tracking bool) (fault, Faults, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.inForce()
	if tracking && !f.Tracking {
		return none, f, 0
	}
	x := s.rand.Float64()
	for i, rate := range [...]float64{
		f.TooMany, f.ServerError, f.ServerErrorAfter, f.Unavailable, f.Gateway, f.TimeoutBefore, f.TimeoutAfter, f.Cut, f.Half, f.Drip, f.HTML, f.Huge,
	} {
		if x < rate {
			s.stats.Faults++
			return fault(i + 1), f, int(s.stats.Faults)
		}
		x -= rate
	}
	return none, f, 0
}

// faulty puts the faults in front of next.
func (s *Server) faulty(tracking bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, f, turn := s.draw(tracking)
		switch kind {
		case none:
			next.ServeHTTP(w, r)
		case tooMany, unavailable:
			w.Header().Set("Retry-After", strconv.Itoa(max(1, f.RetryAfterSeconds)))
			code := http.StatusTooManyRequests
			if kind == unavailable {
				code = http.StatusServiceUnavailable
			}
			answer(w, code, object{"message": http.StatusText(code)})
		case serverError:
			page(w, http.StatusInternalServerError)
		case gateway:
			code := gatewayCodes[turn%len(gatewayCodes)]
			if code == gatewayCodes[0] {
				next.ServeHTTP(&nowhere{header: http.Header{}}, r)
			}
			page(w, code)
		case html:
			page(w, http.StatusOK)
		case timeoutBefore:
			hang(r.Context(), f)
			panic(http.ErrAbortHandler)
		default:
			kept := &nowhere{header: http.Header{}}
			next.ServeHTTP(kept, r)
			kept.spoil(kind, w, r, f)
		}
	})
}

// spoil gives the client something else than the answer of a request that was applied.
func (n *nowhere) spoil(kind fault, w http.ResponseWriter, r *http.Request, f Faults) {
	switch kind {
	case serverErrorAfter:
		page(w, http.StatusInternalServerError)
		return
	case huge:
		endless(w, f.HugeBytes)
		return
	case timeoutAfter:
		hang(r.Context(), f)
	case half, drip:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(n.body)))
		w.WriteHeader(max(n.code, http.StatusOK))
		if kind == drip {
			trickle(r.Context(), w, n.body, f)
			return
		}
		_, _ = w.Write(n.body[:len(n.body)/2])
		if flush, ok := w.(http.Flusher); ok {
			flush.Flush()
		}
	}
	panic(http.ErrAbortHandler)
}

func trickle(ctx context.Context, w http.ResponseWriter, body []byte, f Faults) {
	ctx, cancel := context.WithTimeout(ctx, f.patience())
	defer cancel()
	tick := time.NewTicker(dripMillis * time.Millisecond)
	defer tick.Stop()
	flush, _ := w.(http.Flusher)
	for i := range body {
		if _, err := w.Write(body[i : i+1]); err != nil {
			return
		}
		if flush != nil {
			flush.Flush()
		}
		select {
		case <-ctx.Done():
			panic(http.ErrAbortHandler)
		case <-tick.C:
		}
	}
}

func page(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte("<!DOCTYPE html><html><head><title>ActiveCampaign</title></head><body>Something went wrong</body></html>"))
}

func (f Faults) patience() time.Duration {
	if f.HangMillis > 0 {
		return time.Duration(f.HangMillis) * time.Millisecond
	}
	return time.Minute
}

func hang(ctx context.Context, f Faults) {
	t := time.NewTimer(f.patience())
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func endless(w http.ResponseWriter, size int64) {
	if size <= 0 {
		size = 64 << 20
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"contact":{"filler":"`))
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	for sent := int64(0); sent < size; sent += int64(len(chunk)) {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
	_, _ = w.Write([]byte(`"}}`))
}

// nowhere takes an answer that the client is not to get.
type nowhere struct {
	header http.Header
	code   int
	body   []byte
}

func (n *nowhere) Header() http.Header { return n.header }

func (n *nowhere) Write(p []byte) (int, error) {
	n.body = append(n.body, p...)
	return len(p), nil
}

func (n *nowhere) WriteHeader(code int) { n.code = code }

// rejected reports whether the address is on the list of refused ones.
func (f Faults) rejected(email string) bool {
	return slices.ContainsFunc(f.Reject, func(r string) bool { return strings.EqualFold(r, email) })
}
