package paypal

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// controlBytesMax bounds a body sent to /_simulator.
const controlBytesMax = 8 << 20

// Failure is trouble on demand: the next Count requests whose path starts with Path get it in place of an answer.
type Failure struct {
	Method     string        `json:"method"` // empty: any
	Path       string        `json:"path"`
	Status     int           `json:"status"`      // zero: only Delay
	RetryAfter string        `json:"retry_after"` // header, as it is; empty: none
	Delay      time.Duration `json:"delay"`       // nanoseconds, before anything else
	HTML       bool          `json:"html"`        // a page in place of JSON
	Cut        bool          `json:"cut"`         // close the connection without an answer
	Count      int           `json:"count"`       // zero: once
}

// Fail asks for trouble; failures are used up in order.
func (s *Server) Fail(f Failure) {
	f.Count = max(f.Count, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, &f)
}

// takeFailure uses up one failure for r. s.mu is held.
func (s *Server) takeFailure(r *http.Request) *Failure {
	if strings.HasPrefix(r.URL.Path, "/_simulator/") {
		return nil
	}
	for i, f := range s.failures {
		if strings.HasPrefix(r.URL.Path, f.Path) && (f.Method == "" || f.Method == r.Method) {
			if f.Count--; f.Count == 0 {
				s.failures = append(s.failures[:i], s.failures[i+1:]...)
			}
			copied := *f
			return &copied
		}
	}
	return nil
}

// act does what f says; it returns false where the request is to be answered all the same.
func (s *Server) act(w http.ResponseWriter, r *http.Request, f *Failure) bool {
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return true
		}
	}
	if f.Cut {
		panic(http.ErrAbortHandler) // net/http's own way to drop a connection
	}
	if f.Status == 0 {
		return false
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	if f.HTML {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(f.Status)
		w.Write([]byte("<!DOCTYPE html><html><body>" + strconv.Itoa(f.Status) + "</body></html>"))
		return true
	}
	name, message := "INTERNAL_SERVER_ERROR", "An internal server error occurred."
	switch f.Status {
	case 401:
		name, message = "AUTHENTICATION_FAILURE", "Authentication failed due to missing authorization header, or invalid authentication credentials."
	case 403:
		name, message = "NOT_AUTHORIZED", "Authorization failed due to insufficient permissions."
	case 409:
		name, message = "RESOURCE_CONFLICT", "The server has detected a conflict while processing this request."
	case 429:
		name, message = "RATE_LIMIT_REACHED", "Too many requests. Blocked due to rate limiting."
	case 503:
		name, message = "SERVICE_UNAVAILABLE", "Service Unavailable."
	}
	s.fail(w, f.Status, name, message)
	return true
}

// control serves what no PayPal has: the truth of what was sent, and the buyer's hand.
func (s *Server) control(mux *http.ServeMux) {
	mux.HandleFunc("GET /_simulator/status", func(w http.ResponseWriter, _ *http.Request) { s.answer(w, 200, s.Status()) })
	mux.HandleFunc("GET /_simulator/sent", func(w http.ResponseWriter, _ *http.Request) { s.answer(w, 200, s.Sent()) })
	mux.HandleFunc("GET /_simulator/trust.pem", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-pem-file")
		w.Write(s.TrustPEM())
	})
	mux.HandleFunc("POST /_simulator/rotate", func(w http.ResponseWriter, _ *http.Request) { s.Rotate(); w.WriteHeader(204) })
	mux.HandleFunc("POST /_simulator/expire-tokens", func(w http.ResponseWriter, _ *http.Request) { s.ExpireTokens(); w.WriteHeader(204) })
	mux.HandleFunc("POST /_simulator/fail", s.controlled(func(_ *http.Request, d *json.Decoder) error {
		var f Failure
		if err := d.Decode(&f); err != nil {
			return err
		}
		s.Fail(f)
		return nil
	}))
	mux.HandleFunc("POST /_simulator/withhold", s.controlled(func(_ *http.Request, d *json.Decoder) error {
		var in struct {
			Count int `json:"count"`
		}
		if err := d.Decode(&in); err != nil {
			return err
		}
		s.Withhold(in.Count)
		return nil
	}))
	mux.HandleFunc("POST /_simulator/emit", s.controlled(func(r *http.Request, d *json.Decoder) error {
		var in struct {
			Account string `json:"account"`
			Event
		}
		if err := d.Decode(&in); err != nil {
			return err
		}
		return s.Emit(r.Context(), in.Account, in.Event)
	}))
	mux.HandleFunc("POST /_simulator/orders/{id}/approve", s.controlled(func(r *http.Request, d *json.Decoder) error {
		var in struct {
			Account string         `json:"account"`
			Payer   map[string]any `json:"payer"`
		}
		if err := d.Decode(&in); err != nil {
			return err
		}
		return s.Approve(r.Context(), in.Account, r.PathValue("id"), in.Payer)
	}))
	mux.HandleFunc("POST /_simulator/subscriptions/{id}/activate", s.controlled(func(r *http.Request, d *json.Decoder) error {
		var in struct {
			Account    string         `json:"account"`
			Subscriber map[string]any `json:"subscriber"`
		}
		if err := d.Decode(&in); err != nil {
			return err
		}
		return s.Activate(r, in.Account, r.PathValue("id"), in.Subscriber)
	}))
}

// controlled answers 204, or the error as JSON.
func (s *Server) controlled(f func(*http.Request, *json.Decoder) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := f(r, json.NewDecoder(http.MaxBytesReader(w, r.Body, controlBytesMax)))
		var refused *apiError
		switch {
		case errors.As(err, &refused):
			s.fail(w, refused.status, refused.name, refused.message, refused.details...)
		case err != nil:
			s.answer(w, 400, object{"error": err.Error()})
		default:
			w.WriteHeader(204)
		}
	}
}
