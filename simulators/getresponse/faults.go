package getresponse

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
	TooMany       float64 `json:"too_many"`       // 429 of the second, with Retry-After
	Quota         float64 `json:"quota"`          // 429 of the window, with context.timeToReset only
	ServerError   float64 `json:"server_error"`   // 500 with code 1, not applied
	Unavailable   float64 `json:"unavailable"`    // 503 with code 1019 and Retry-After, not applied
	TimeoutBefore float64 `json:"timeout_before"` // no answer, not applied
	TimeoutAfter  float64 `json:"timeout_after"`  // applied, no answer
	Cut           float64 `json:"cut"`            // applied, connection closed in place of an answer
	HTML          float64 `json:"html"`           // 200 with a page for people, not applied
	Huge          float64 `json:"huge"`           // applied, 200 with an answer that does not end soon
	// RetryAfterSeconds is what 429 and 503 on demand ask for; default 1.
	RetryAfterSeconds int `json:"retry_after_seconds"`
	// HangMillis bounds a time-out for clients that never give up; default 60,000.
	HangMillis int `json:"hang_millis"`
	// HugeBytes is the size of a huge answer; default 64 MiB.
	HugeBytes int64 `json:"huge_bytes"`
	// Reject lists addresses that are on the account's blocklist: 400 with code 1002.
	Reject []string `json:"reject"`
	// Drop lists addresses whose creation is accepted and then silently dropped.
	Drop []string `json:"drop"`
	// DropRate is the share of creations that are accepted and then silently dropped.
	DropRate float64 `json:"drop_rate"`
	// ContactsMax is how many contacts the plan has room for; further ones get 400 with code 1027. Zero: any number.
	ContactsMax int `json:"contacts_max"`
}

// SetFaults replaces the faults from now on.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// fault names what strikes a request.
type fault int

const (
	none fault = iota
	tooMany
	quota
	serverError
	unavailable
	timeoutBefore
	timeoutAfter
	cut
	html
	huge
)

// draw picks the fault of one request.
func (s *Server) draw() (fault, Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.inForce()
	x := s.chance.Float64()
	for i, rate := range []float64{
		f.TooMany, f.Quota, f.ServerError, f.Unavailable, f.TimeoutBefore, f.TimeoutAfter, f.Cut, f.HTML, f.Huge,
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
func (s *Server) faulty(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		kind, f := s.draw()
		seconds := max(1, f.RetryAfterSeconds)
		switch kind {
		case none:
			next(w, r)
		case tooMany:
			w.Header().Set("Retry-After", strconv.Itoa(seconds))
			s.fail(w, throttled(s.o.WindowMax, time.Duration(seconds)*time.Second))
		case quota:
			s.fail(w, throttled(s.o.WindowMax, time.Duration(seconds)*time.Second))
		case serverError:
			s.fail(w, refuse(500, 1, "Internal error", "Internal error", nil))
		case unavailable:
			w.Header().Set("Retry-After", strconv.Itoa(seconds))
			s.fail(w, refuse(503, 1019, "API is temporarily unavailable", "The API is in maintenance", nil))
		case html:
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write([]byte("<!DOCTYPE html><html><head><title>GetResponse</title></head><body>Something went wrong</body></html>"))
		case timeoutBefore:
			hang(r.Context(), f)
			panic(http.ErrAbortHandler)
		case timeoutAfter, cut:
			next(&nowhere{header: http.Header{}}, r)
			if kind == timeoutAfter {
				hang(r.Context(), f)
			}
			panic(http.ErrAbortHandler)
		case huge:
			next(&nowhere{header: http.Header{}}, r)
			endless(w, f.HugeBytes)
		}
	}
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
	_, _ = w.Write([]byte(`{"filler":"`))
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	for sent := int64(0); sent < size; sent += int64(len(chunk)) {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
	_, _ = w.Write([]byte(`"}`))
}

// nowhere takes an answer that the client is not to get.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) WriteHeader(int)             {}

// among reports whether the address is on a list of addresses.
func among(list []string, email string) bool {
	return slices.ContainsFunc(list, func(x string) bool { return strings.EqualFold(x, email) })
}
