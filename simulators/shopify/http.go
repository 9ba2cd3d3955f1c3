package shopify

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Failure is trouble on demand: the next Count requests whose path starts with Path get it in place of an answer.
type Failure struct {
	Path       string `json:"path"`
	Status     int    `json:"status"`
	RetryAfter string `json:"retry_after"` // header, as it is; empty: none
	HTML       bool   `json:"html"`        // a page in place of JSON
	Cut        bool   `json:"cut"`         // close the connection without an answer
	Count      int    `json:"count"`       // zero: once
}

// Trouble asks for failures; they are used up in order.
func (s *Server) Trouble(f Failure) {
	f.Count = max(f.Count, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, &f)
}

func (s *Server) takeFailure(path string) *Failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.failures {
		if strings.HasPrefix(path, f.Path) {
			if f.Count--; f.Count == 0 {
				s.failures = append(s.failures[:i], s.failures[i+1:]...)
			}
			copied := *f
			return &copied
		}
	}
	return nil
}

// Drain empties the buckets, as other traffic of the app would: REST's calls and GraphQL's points that are left.
func (s *Server) Drain(calls, points float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	s.rest.left(now)
	s.graphql.left(now)
	s.rest.used, s.graphql.used = s.rest.bucket.Size-calls, s.graphql.bucket.Size-points
}

// DeleteHooks removes the app's subscriptions, as Shopify does after failures, and returns how many there were.
func (s *Server) DeleteHooks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.hooks)
	s.hooks = slices.DeleteFunc(s.hooks, func(h *subscription) bool { return !h.admin })
	return before - len(s.hooks)
}

// Topics are the app's subscriptions to an address, in the API's spelling.
func (s *Server) Topics(address string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, h := range s.hooks {
		if !h.admin && h.url == address {
			out = append(out, h.topic)
		}
	}
	slices.Sort(out)
	return out
}

// Status counts deliveries and orders.
type Status struct {
	Outstanding   int `json:"outstanding"`
	Accepted      int `json:"accepted"`
	Lost          int `json:"lost"`
	Orders        int `json:"orders"`
	Subscriptions int `json:"subscriptions"`
}

// Status returns the counts of now.
func (s *Server) Status() Status {
	s.mu.Lock()
	st := Status{Orders: len(s.orders), Subscriptions: len(s.hooks)}
	s.mu.Unlock()
	n := s.sends.Counts()
	st.Outstanding, st.Accepted, st.Lost = n.Outstanding, n.Accepted, n.Lost
	return st
}

// Handler serves the shop's APIs, and /_simulator for tests and other processes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /admin/oauth/access_token", s.serveToken)
	mux.HandleFunc("POST /admin/api/{version}/graphql.json", s.authorized(s.serveGraphQL))
	mux.HandleFunc("GET /admin/api/{version}/orders.json", s.authorized(s.limited(s.serveOrders)))
	mux.HandleFunc("GET /admin/api/{version}/orders/{id}", s.authorized(s.limited(s.serveOrder)))
	mux.HandleFunc("GET /admin/api/{version}/orders/{id}/transactions.json", s.authorized(s.limited(s.serveTransactions)))
	mux.HandleFunc("GET /_simulator/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, s.Status()) })
	mux.HandleFunc("POST /_simulator/fail", func(w http.ResponseWriter, r *http.Request) {
		var f Failure
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, RequestBytesMax)).Decode(&f); err != nil {
			answer(w, 400, object{"error": err.Error()})
			return
		}
		s.Trouble(f)
		w.WriteHeader(204)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { answer(w, 404, object{"errors": "Not Found"}) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := s.takeFailure(r.URL.Path); f != nil && !strings.HasPrefix(r.URL.Path, "/_simulator/") {
			act(w, f)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func act(w http.ResponseWriter, f *Failure) {
	if f.Cut {
		panic(http.ErrAbortHandler) // net/http's own way to drop a connection
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	if f.HTML {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(f.Status)
		w.Write([]byte("<!DOCTYPE html><html><body>" + strconv.Itoa(f.Status) + "</body></html>"))
		return
	}
	answer(w, f.Status, object{"errors": http.StatusText(f.Status)})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	w.Write(encode(body))
}

// serveToken is the client credentials grant of an app of one's own.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Grant  string `json:"grant_type"`
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, RequestBytesMax)).Decode(&in); err != nil || in.Grant != "client_credentials" {
		answer(w, 400, object{"error": "invalid_request", "error_description": "grant_type is missing or unknown"})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.o.ClientID == "" || in.ID != s.o.ClientID || in.Secret != s.secret:
		answer(w, 400, object{"error": "invalid_client", "error_description": "client id or secret is wrong"})
	case s.uninstall:
		answer(w, 400, object{"error": "app_not_installed", "error_description": "the app is not installed in this shop"})
	default:
		token := "shpat_" + strings.ReplaceAll(s.uuid(), "-", "")
		s.tokens[token] = s.o.Now().Add(TokenSeconds * time.Second)
		answer(w, 200, object{"access_token": token, "scope": strings.Join(s.o.Scopes, ","), "expires_in": TokenSeconds})
	}
}

// ExpireTokens ends every token that was granted.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

type handler func(w http.ResponseWriter, r *http.Request, body []byte)

// authorized checks version and token, and reads the body.
func (s *Server) authorized(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		version := r.PathValue("version")
		if version > Versions[len(Versions)-1] || len(version) != len(Versions[0]) {
			answer(w, 404, object{"errors": "Not Found"})
			return
		}
		w.Header().Set("X-Shopify-API-Version", max(version, Versions[0])) // an expired one falls forward
		token := r.Header.Get("X-Shopify-Access-Token")
		s.mu.Lock()
		until, granted := s.tokens[token]
		ok := !s.uninstall && token != "" && (token == s.o.AccessToken || granted && s.o.Now().Before(until))
		s.mu.Unlock()
		if !ok {
			answer(w, 401, object{"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"})
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, RequestBytesMax))
		if err != nil {
			if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
				answer(w, 413, object{"errors": "Request Entity Too Large"})
			}
			return
		}
		h(w, r, body)
	}
}

// limited is REST's leaky bucket, and REST's own check of the scope.
func (s *Server) limited(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request, body []byte) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !slices.Contains(s.o.Scopes, "read_orders") {
			answer(w, 403, object{"errors": "[API] This action requires merchant approval for read_orders scope."})
			return
		}
		full := s.rest.left(s.o.Now()) < 1
		if !full {
			s.rest.used++
		}
		w.Header().Set("X-Shopify-Shop-Api-Call-Limit", fmt.Sprintf("%d/%d", int(math.Ceil(s.rest.used)), int(s.rest.bucket.Size)))
		if full {
			w.Header().Set("Retry-After", "2.0")
			answer(w, 429, object{"errors": "Exceeded 2 calls per second for api client. Reduce request rates to resume uninterrupted service."})
			return
		}
		h(w, r, body)
	}
}

// filter is what a list was asked for; page_info carries it from page to page.
type filter struct {
	Status   string `json:"s"`
	FromUnix int64  `json:"f"`
	ToUnix   int64  `json:"t"`
	After    string `json:"a"`
}

func readFilter(q url.Values) (filter, object) {
	var f filter
	if token := q.Get("page_info"); token != "" {
		for name := range q {
			if name != "page_info" && name != "limit" && name != "fields" {
				return f, object{name: name + " cannot be passed when page_info is present. See https://shopify.dev/api/usage/pagination-rest for more information."}
			}
		}
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil || json.Unmarshal(raw, &f) != nil {
			return f, object{"page_info": "Invalid value."}
		}
		return f, nil
	}
	f = filter{Status: q.Get("status"), ToUnix: math.MaxInt64}
	if f.Status == "" {
		f.Status = "open"
	}
	for name, to := range map[string]*int64{"updated_at_min": &f.FromUnix, "updated_at_max": &f.ToUnix} {
		if text := q.Get(name); text != "" {
			at, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return f, object{name: "invalid date"}
			}
			*to = at.Unix()
		}
	}
	if o := q.Get("order"); o != "" && o != "updated_at asc" {
		return f, object{"order": "this twin sorts by updated_at asc only"}
	}
	return f, nil
}

// serveOrders lists orders. s.mu is held.
func (s *Server) serveOrders(w http.ResponseWriter, r *http.Request, _ []byte) {
	q := r.URL.Query()
	f, wrong := readFilter(q)
	if wrong != nil {
		answer(w, 400, object{"errors": wrong})
		return
	}
	limit, err := strconv.Atoi(q.Get("limit"))
	if err != nil || limit < 1 {
		limit = 50
	}
	limit = min(limit, 250)
	list := []object{}
	var last string
	more := false
	for _, o := range s.sorted() {
		at := o.updated.Unix()
		switch {
		case at < f.FromUnix || at > f.ToUnix || o.place() <= f.After:
			continue
		case f.Status == "open" && !o.cancelled.IsZero():
			continue
		case len(list) == limit:
			more = true
		}
		if more {
			break
		}
		list, last = append(list, s.restOrder(o)), o.place()
	}
	if more {
		f.After = last
		next := url.Values{"limit": {strconv.Itoa(limit)}, "page_info": {base64.RawURLEncoding.EncodeToString(encode(f))}}
		w.Header().Set("Link", fmt.Sprintf("<%s%s?%s>; rel=\"next\"", s.publicURL, r.URL.Path, next.Encode()))
	}
	answer(w, 200, object{"orders": list})
}

// find is the order of the path, or nil after it answered. s.mu is held.
func (s *Server) find(w http.ResponseWriter, r *http.Request) *order {
	id, err := strconv.ParseInt(strings.TrimSuffix(r.PathValue("id"), ".json"), 10, 64)
	if o := s.byID[id]; err == nil && o != nil && s.visible(o) {
		return o
	}
	answer(w, 404, object{"errors": "Not Found"})
	return nil
}

func (s *Server) serveOrder(w http.ResponseWriter, r *http.Request, _ []byte) {
	if o := s.find(w, r); o != nil {
		answer(w, 200, object{"order": s.restOrder(o)})
	}
}

func (s *Server) serveTransactions(w http.ResponseWriter, r *http.Request, _ []byte) {
	o := s.find(w, r)
	if o == nil {
		return
	}
	list := []object{}
	for _, t := range o.transactions {
		list = append(list, s.restTransaction(o, t))
	}
	answer(w, 200, object{"transactions": list})
}
