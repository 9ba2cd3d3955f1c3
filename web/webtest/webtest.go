// Package webtest is an API for tests of the page: it answers what the real one answers, in the real one's types, from
// what the test says. It knows no Kafka and no ClickHouse.
package webtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tillstream/tillstream/api"
)

// Answer is what a route answers; a function is asked with the request.
type Answer any

// Server is a page with an API behind it. Its methods may be called from several goroutines.
type Server struct {
	URL string

	mu      sync.Mutex
	answers map[string]Answer // "GET /api/v1/events"; the longest match of the path counts
	asked   []Asked
	streams map[chan string]bool
}

// Asked is one request to the API.
type Asked struct {
	Method, Path, Query string
	Header              http.Header
	Body                map[string]any
}

// Problem is an answer of an error.
type Problem api.Problem

// New serves page with an API that answers nothing yet but the session of an admin who need not sign in.
func New(t testing.TB, page func(api http.Handler) http.Handler) *Server {
	t.Helper()
	s := &Server{answers: map[string]Answer{}, streams: map[chan string]bool{}}
	s.Set("GET /api/v1/session", Session(false, "", ""))
	srv := httptest.NewServer(page(http.HandlerFunc(s.serve)))
	t.Cleanup(srv.Close)
	s.URL = srv.URL
	return s
}

// Session is who is signed in, as GET /api/v1/session says it.
func Session(required bool, name, role string) Answer {
	var user any
	if name != "" {
		user = map[string]string{"name": name, "role": role}
	}
	return map[string]any{"user": user, "sign_in_required": required, "version": "test", "environments": []string{"live", "sandbox"}}
}

// Set has a route, such as "GET /api/v1/events", and what is below it answer so.
func (s *Server) Set(route string, a Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[route] = a
}

// Fail has every route but the session answer a problem.
func (s *Server) Fail(status int, detail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for route := range s.answers {
		if !strings.HasSuffix(route, "/session") {
			s.answers[route] = Refusal(status, detail)
		}
	}
}

// Refusal is a problem as the API says it.
func Refusal(status int, detail string) Problem {
	return Problem{Type: "/docs/errors#internal", Title: "it failed here", Status: status, Code: api.CodeInternal, Detail: detail, Remedy: "try again", RequestID: "REQ-1234"}
}

// Asked lists the requests to the API so far whose method and path begin so.
func (s *Server) Asked(prefix string) []Asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Asked
	for _, a := range s.asked {
		if strings.HasPrefix(a.Method+" "+a.Path, prefix) {
			list = append(list, a)
		}
	}
	return list
}

// Tell sends an event to every open stream, and says to how many.
func (s *Server) Tell(event string, data any) int {
	b, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.streams {
		c <- fmt.Sprintf("event: %s\ndata: %s\n\n", event, b)
	}
	return len(s.streams)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	a := Asked{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Header: r.Header}
	_ = json.NewDecoder(r.Body).Decode(&a.Body) // none is none
	s.mu.Lock()
	s.asked = append(s.asked, a)
	s.mu.Unlock()
	if r.URL.Path == "/api/v1/events/live" {
		s.stream(w, r)
		return
	}
	answer, ok := s.find(r.Method + " " + r.URL.Path)
	if f, isFunc := answer.(func(Asked) Answer); isFunc {
		answer = f(a)
	}
	if !ok {
		answer = Refusal(http.StatusNotFound, "the test has no answer to "+r.Method+" "+r.URL.Path)
	}
	w.Header().Set("X-Request-Id", "REQ-1234")
	if p, isProblem := answer.(Problem); isProblem {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(p.Status)
	} else {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (s *Server) find(route string) (Answer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	best := ""
	for known := range s.answers {
		if (route == known || strings.HasPrefix(route, known+"/")) && len(known) > len(best) {
			best = known
		}
	}
	return s.answers[best], best != ""
}

const streamedMax = 1000 // messages that a stream holds back

func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	c := make(chan string, streamedMax)
	flush := func() { _ = http.NewResponseController(w).Flush() }
	flush()
	s.mu.Lock()
	s.streams[c] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.streams, c)
		s.mu.Unlock()
	}()
	for {
		select {
		case text := <-c:
			_, _ = w.Write([]byte(text))
			flush()
		case <-r.Context().Done():
			return
		}
	}
}

// jsonText is text as it stands between the quotes of a JSON string.
func jsonText(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(b[1 : len(b)-1])
}
