package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/tillstream/tillstream/pipeline/connections"
)

// served is a route of what a part of the process answers: of answers to it, which is nil before the part is there or where
// the process has none; missing says then what is not there. keys are the parameters that it knows. An error of f that is a
// *connections.Refusal is the asker's, every other ours; each answer of an error is a RefusedRequest.
type served[T any] struct {
	of      func() (T, bool)
	missing string
	admit   func(*http.Request) error
	code    int
	keys    []string
	f       func(T, *http.Request, *query) (any, error)
}

// ServeHTTP implements http.Handler.
func (s served[T]) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := s.admit(r); err != nil {
		answer(w, http.StatusForbidden, RefusedRequest{Outcome: "refused", Detail: err.Error()})
		return
	}
	part, ok := s.of()
	if !ok {
		answer(w, http.StatusNotFound, RefusedRequest{Outcome: string(connections.NotFound), Detail: s.missing})
		return
	}
	q := readQuery(r, s.keys)
	if q.err != nil {
		status, said := refusal(q.err)
		answer(w, status, said)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), deskTimeout)
	defer cancel()
	r.Body = http.MaxBytesReader(w, r.Body, draftBytesMax)
	got, err := s.f(part, r.WithContext(ctx), q)
	if err == nil {
		err = q.err
	}
	if err != nil {
		status, said := refusal(err)
		answer(w, status, said)
		return
	}
	answer(w, s.code, got)
}

// readQuery reads the parameters of a request, of which only keys are known, each once.
func readQuery(r *http.Request, keys []string) *query {
	values, err := url.ParseQuery(r.URL.RawQuery)
	q := &query{values: values}
	if err != nil {
		q.fail("the parameters of the address cannot be read")
	}
	for key, list := range values {
		if !slices.Contains(keys, key) {
			q.fail("there is no parameter %.40q here", key)
		}
		if len(list) > 1 {
			q.fail("%s is there twice", key)
		}
	}
	return q
}
