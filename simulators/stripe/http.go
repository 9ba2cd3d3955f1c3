package stripe

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// apiError is Stripe's error object with its status.
type apiError struct {
	status          int
	typ, code, text string
}

// Error implements error.
func (e *apiError) Error() string { return e.text }

func invalid(status int, code, format string, args ...any) error {
	return &apiError{status, "invalid_request_error", code, fmt.Sprintf(format, args...)}
}

// handler answers a call with a body to encode, or an apiError.
type handler func(r *http.Request) (any, error)

// Handler serves the API, and /_simulator for tests and other processes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]struct {
		permission string
		serve      handler
	}{
		"GET /v1/events":                  {PermissionEvents, s.listEvents},
		"GET /v1/events/{id}":             {PermissionEvents, s.getEvent},
		"GET /v1/webhook_endpoints":       {PermissionWebhooks, s.listEndpoints},
		"POST /v1/webhook_endpoints":      {PermissionWebhooks, s.createEndpoint},
		"GET /v1/webhook_endpoints/{id}":  {PermissionWebhooks, s.getEndpoint},
		"POST /v1/webhook_endpoints/{id}": {PermissionWebhooks, s.updateEndpoint},
		// Deleting is what a person does in the dashboard, too.
		"DELETE /v1/webhook_endpoints/{id}": {PermissionWebhooks, s.deleteEndpoint},
		"GET /v1/payment_intents/{id}":      {PermissionPayments, s.getIntent},
	} {
		mux.HandleFunc(pattern, s.authorized(h.permission, h.serve))
	}
	mux.HandleFunc("GET /_simulator/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, s.Status()) })
	mux.HandleFunc("GET /_simulator/orders", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, s.Orders()) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, &apiError{404, "invalid_request_error", "", "Unrecognized request URL (" + r.Method + ": " + r.URL.Path + ")."})
	})
	return mux
}

// authorized applies failures that were asked for, the key with its permissions, and the rate.
func (s *Server) authorized(permission string, h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, requestBytesMax)
		s.mu.Lock()
		f, limited := s.takeFailure(r), s.overRate()
		s.mu.Unlock()
		switch err := s.allowed(r, permission); {
		case f != nil:
			if f.RetryAfter != "" {
				w.Header().Set("Retry-After", f.RetryAfter)
			}
			fail(w, &apiError{f.Status, "api_error", "", "An unknown error occurred"})
		case limited:
			w.Header().Set("Stripe-Rate-Limited-Reason", "global-rate")
			fail(w, &apiError{429, "invalid_request_error", "rate_limit", "Request rate limit exceeded. You can learn more about rate limits here https://stripe.com/docs/rate-limits."})
		case err != nil:
			fail(w, err)
		default:
			out, err := h(r)
			if err != nil {
				fail(w, err)
				return
			}
			answer(w, 200, out)
		}
	}
}

// takeFailure uses up one failure for r. s.mu is held.
func (s *Server) takeFailure(r *http.Request) *Failure {
	for i, f := range s.failures {
		if strings.HasPrefix(r.URL.Path, f.Path) {
			if f.Count--; f.Count == 0 {
				s.failures = slices.Delete(s.failures, i, i+1)
			}
			copied := *f
			return &copied
		}
	}
	return nil
}

// overRate counts a request. s.mu is held.
func (s *Server) overRate() bool {
	if now := s.o.Now().Unix(); now != s.second {
		s.second, s.inSecond = now, 0
	}
	s.inSecond++
	return s.o.RateMax > 0 && s.inSecond > s.o.RateMax
}

func (s *Server) allowed(r *http.Request, permission string) error {
	key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if user, _, basic := r.BasicAuth(); basic {
		key, ok = user, true
	}
	if !ok {
		return &apiError{401, "invalid_request_error", "", "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."}
	}
	shown := key
	if len(key) > 12 {
		shown = key[:8] + strings.Repeat("*", len(key)-12) + key[len(key)-4:]
	}
	for _, k := range s.o.Keys {
		if subtle.ConstantTimeCompare([]byte(k.Text), []byte(key)) != 1 {
			continue
		}
		if k.Permissions == nil || slices.Contains(k.Permissions, permission) {
			return nil
		}
		return invalid(403, "", "The provided key '%s' does not have the required permissions for this endpoint. Having the '%s' permission would allow this request to continue.", shown, permission)
	}
	return invalid(401, "", "Invalid API Key provided: %s", shown)
}

func fail(w http.ResponseWriter, err error) {
	e := (*apiError)(nil)
	if !errors.As(err, &e) {
		e = &apiError{500, "api_error", "", "An unknown error occurred"}
	}
	body := object{"message": e.text, "type": e.typ}
	if e.code != "" {
		body["code"] = e.code
	}
	answer(w, e.status, object{"error": body})
}

func answer(w http.ResponseWriter, status int, body any) {
	b, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		status, b = 500, []byte(`{"error":{"type":"api_error"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that is gone needs no answer.
	_, _ = w.Write(b)
}

// page cuts a list, newest first, by limit, starting_after and ending_before.
func page[T any](list []T, idOf func(T) string, q url.Values) (out []T, more bool, err error) {
	limit := 10
	if text := q.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > 100 {
			return nil, false, invalid(400, "parameter_invalid_integer", "Invalid limit: must be between 1 and 100")
		}
	}
	find := func(id string) (int, error) {
		i := slices.IndexFunc(list, func(x T) bool { return idOf(x) == id })
		if i < 0 {
			return 0, invalid(400, "resource_missing", "No such object: '%s'", id)
		}
		return i, nil
	}
	if id := q.Get("starting_after"); id != "" {
		i, err := find(id)
		if err != nil {
			return nil, false, err
		}
		list = list[i+1:]
	}
	if id := q.Get("ending_before"); id != "" {
		i, err := find(id)
		if err != nil {
			return nil, false, err
		}
		list = list[max(0, i-limit):i]
		return list, i > limit, nil
	}
	return list[:min(limit, len(list))], len(list) > limit, nil
}

func listOf(path string, data any, more bool) object {
	return object{"object": "list", "url": path, "has_more": more, "data": data}
}

// listEvents lists the events of the last 30 days, newest first.
func (s *Server) listEvents(r *http.Request) (any, error) {
	q := r.URL.Query()
	types := append(q["types[]"], q["type"]...)
	if len(q["types[]"]) > 20 {
		return nil, invalid(400, "", "Invalid array: types may hold 20 at most")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := s.o.Now().Add(-reach).Unix()
	var list []*event
	for _, e := range slices.Backward(s.events) {
		if e.created < oldest || !created(q, e.created) || len(types) > 0 && !slices.ContainsFunc(types, func(t string) bool { return matches(t, e.typ) }) {
			continue
		}
		if text := q.Get("delivery_success"); text != "" && (text == "true") != (len(e.pending) == 0 && !e.failed) {
			continue
		}
		list = append(list, e)
	}
	list, more, err := page(list, func(e *event) string { return e.id }, q)
	if err != nil {
		return nil, err
	}
	data := make([]json.RawMessage, len(list))
	for i, e := range list {
		data[i] = e.render()
	}
	return listOf("/v1/events", data, more), nil
}

func matches(pattern, typ string) bool {
	prefix, open := strings.CutSuffix(pattern, "*")
	return pattern == typ || open && strings.HasPrefix(typ, prefix)
}

// created applies created[gt], [gte], [lt] and [lte].
func created(q url.Values, at int64) bool {
	for name, holds := range map[string]func(int64) bool{
		"gt": func(n int64) bool { return at > n }, "gte": func(n int64) bool { return at >= n },
		"lt": func(n int64) bool { return at < n }, "lte": func(n int64) bool { return at <= n },
	} {
		if text := q.Get("created[" + name + "]"); text != "" {
			if n, err := strconv.ParseInt(text, 10, 64); err != nil || !holds(n) {
				return false
			}
		}
	}
	return true
}

func (s *Server) getEvent(r *http.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.id == r.PathValue("id") {
			return e.render(), nil
		}
	}
	return nil, invalid(404, "resource_missing", "No such event: '%s'", r.PathValue("id"))
}

func (s *Server) getIntent(r *http.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.payments[r.PathValue("id")]; p != nil {
		o := s.intent(p)
		if slices.Contains(r.URL.Query()["expand[]"], "customer") && p.customer != "" {
			o["customer"] = object{"id": p.customer, "object": "customer", "email": orNull(p.order.Email), "name": orNull(p.name()), "phone": orNull(p.order.Phone)}
		}
		return o, nil
	}
	return nil, invalid(404, "resource_missing", "No such payment_intent: '%s'", r.PathValue("id"))
}
