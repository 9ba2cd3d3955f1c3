package woocommerce

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Failure is trouble on demand: the next Count requests whose path starts with Path get it in place of an answer.
type Failure struct {
	Method     string        `json:"method"` // empty: any
	Path       string        `json:"path"`
	Status     int           `json:"status"`      // zero: only Delay
	RetryAfter string        `json:"retry_after"` // header, as it is; empty: none
	Location   string        `json:"location"`    // header of a redirect; empty: none
	Delay      time.Duration `json:"delay"`       // nanoseconds, before anything else
	Cut        bool          `json:"cut"`         // close the connection without an answer
	Count      int           `json:"count"`       // zero: once
}

// Trouble asks for failures, which are used up in order. Their answers are pages, as of a server before WordPress.
func (s *Server) Trouble(f Failure) {
	f.Count = max(f.Count, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, &f)
}

func (s *Server) controlFail(w http.ResponseWriter, r *http.Request) {
	var f Failure
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, RequestBytesMax)).Decode(&f); err != nil {
		answer(w, 400, object{"error": err.Error()})
		return
	}
	s.Trouble(f)
	w.WriteHeader(http.StatusNoContent)
}

// take uses up one failure for r; nil where none is meant for it.
func (s *Server) take(r *http.Request) *Failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.HasPrefix(r.URL.Path, "/_simulator/") {
		return nil
	}
	for i, f := range s.failures {
		if !strings.HasPrefix(r.URL.Path, f.Path) || f.Method != "" && f.Method != r.Method {
			continue
		}
		if f.Count--; f.Count == 0 {
			s.failures = slices.Delete(s.failures, i, i+1)
		}
		return f
	}
	return nil
}

// troubled dates answers by the store's clock and applies the failures that were asked for.
func (s *Server) troubled(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", s.now().Format(http.TimeFormat))
		f := s.take(r)
		if f == nil {
			next.ServeHTTP(w, r)
			return
		}
		if f.Delay > 0 {
			timer := time.NewTimer(f.Delay)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-r.Context().Done():
				return
			}
		}
		switch {
		case f.Cut:
			panic(http.ErrAbortHandler) // net/http's own way to drop a connection
		case f.Status == 0:
			next.ServeHTTP(w, r)
			return
		}
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		if f.Location != "" {
			w.Header().Set("Location", f.Location)
		}
		page(w, f.Status)
	})
}
