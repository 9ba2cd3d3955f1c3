package activecampaign

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Faults are what goes wrong on demand. Each rate is the share of requests, 0 to 1, drawn with the account's seed; they
// are tried in the order of the fields and at most one strikes a request.
type Faults struct {
	TooMany       float64 `json:"too_many"`       // 429 with Retry-After
	ServerError   float64 `json:"server_error"`   // 500 with an HTML body, not applied
	Unavailable   float64 `json:"unavailable"`    // 503 with Retry-After, not applied
	TimeoutBefore float64 `json:"timeout_before"` // no answer, not applied
	TimeoutAfter  float64 `json:"timeout_after"`  // applied, no answer
	Cut           float64 `json:"cut"`            // applied, connection closed in place of an answer
	HTML          float64 `json:"html"`           // 200 with a page for people, not applied
	Huge          float64 `json:"huge"`           // applied, 200 with an answer that does not end soon
	// Tracking lets the faults strike the tracking endpoint too.
	Tracking bool `json:"tracking"`
	// RetryAfterSeconds is what 429 and 503 on demand ask for; default 1.
	RetryAfterSeconds int `json:"retry_after_seconds"`
	// HangMillis bounds a time-out for clients that never give up; default 60,000.
	HangMillis int `json:"hang_millis"`
	// HugeBytes is the size of a huge answer; default 64 MiB.
	HugeBytes int64 `json:"huge_bytes"`
	// Reject lists e-mail addresses that are refused as invalid (422).
	Reject []string `json:"reject"`
}

// fault names what strikes a request.
type fault int

const (
	none fault = iota
	tooMany
	serverError
	unavailable
	timeoutBefore
	timeoutAfter
	cut
	html
	huge
)

// draw picks the fault of one request.
func (s *Server) draw(tracking bool) (fault, Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.faults
	if tracking && !f.Tracking {
		return none, f
	}
	x := s.rand.Float64()
	for i, rate := range []float64{
		f.TooMany, f.ServerError, f.Unavailable, f.TimeoutBefore, f.TimeoutAfter, f.Cut, f.HTML, f.Huge,
	} {
		if x < rate {
			s.stats.Faults++
			return fault(i + 1), f
		}
		x -= rate
	}
	return none, f
}

// faulty puts the faults in front of next.
func (s *Server) faulty(tracking bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, f := s.draw(tracking)
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
		case html:
			page(w, http.StatusOK)
		case timeoutBefore:
			hang(r.Context(), f)
			panic(http.ErrAbortHandler)
		case timeoutAfter, cut:
			next.ServeHTTP(&nowhere{header: http.Header{}}, r)
			if kind == timeoutAfter {
				hang(r.Context(), f)
			}
			panic(http.ErrAbortHandler)
		case huge:
			next.ServeHTTP(&nowhere{header: http.Header{}}, r)
			endless(w, f.HugeBytes)
		}
	})
}

func page(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte("<!DOCTYPE html><html><head><title>ActiveCampaign</title></head><body>Something went wrong</body></html>"))
}

func hang(ctx context.Context, f Faults) {
	d := time.Duration(f.HangMillis) * time.Millisecond
	if d <= 0 {
		d = time.Minute
	}
	t := time.NewTimer(d)
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
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) WriteHeader(int)             {}

// rejected reports whether the address is on the list of refused ones.
func (f Faults) rejected(email string) bool {
	for _, r := range f.Reject {
		if strings.EqualFold(r, email) {
			return true
		}
	}
	return false
}
