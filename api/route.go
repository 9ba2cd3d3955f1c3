package api

import (
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Role is what somebody may do. Each may do what those below it may.
type Role uint8

// Roles, from the lowest.
const (
	Anyone   Role = iota // also who is not signed in
	Viewer               // reads
	Operator             // repairs and changes what runs
	Admin                // manages users and tokens, erases people
)

var roleNames = []string{"anyone", "viewer", "operator", "admin"}

// String is the role's name in lower case.
func (r Role) String() string { return roleNames[min(int(r), len(roleNames)-1)] }

// Param is a parameter of an address.
type Param struct{ Name, Doc string }

// Route is one operation. What is served, who may ask for it and the OpenAPI document are made from the same value: what
// has no Route is not served.
type Route struct {
	Method, Path string // "GET", "/api/v1/events/{id}"
	Role         Role
	Summary      string  // one line
	CLI          string  // the command with the same power: "tillstream events"
	NoCLI        string  // why there is none: what has no meaning in a shell
	Params       []Param // of the query; every other is refused
	Body, Answer any     // zero values of the types; nil: none, or of no fixed type
	Code         int     // of success; 0: 200
	Stream       bool    // the handler writes by itself (server-sent events, CSV, an archive) and is not cut off in time
	// Audit has a GET leave a record in the audit log, too, as every changing request does: an export.
	Audit bool
	// BodyBytesMax bounds the body; 0: 64 KiB.
	BodyBytesMax int64

	// Once has the route take an Idempotency-Key: it starts or creates something, and its answer holds no secret.
	Once bool

	early bool // answered on loopback before it is known who may do what: nothing in it is anybody's
}

func (r Route) code() int {
	if r.Code == 0 {
		return http.StatusOK
	}
	return r.Code
}

func (r Route) bytesMax() int64 {
	if r.BodyBytesMax == 0 {
		return draftBytesMax
	}
	return r.BodyBytesMax
}

// changes reports whether the route may change something.
func (r Route) changes() bool { return r.Method != http.MethodGet }

// handlerFunc answers a request whose role, headers and parameters are good. What it returns is the answer's body; with
// an error nothing may have been written.
type handlerFunc func(w http.ResponseWriter, r *http.Request, q *query) (any, error)

// table is every route of the port.
type table struct {
	mux  *http.ServeMux
	list []Route
	gate *gate
}

// row is one route with what answers it.
type row struct {
	Route
	gate   *gate
	handle handlerFunc
}

// add puts a route into the table. It panics where two rows mean the same, as http.ServeMux does.
func (t *table) add(r Route, f handlerFunc) {
	t.list = append(t.list, r)
	t.mux.Handle(r.Method+" "+r.Path, &row{Route: r, gate: t.gate, handle: f})
}

// served binds routes to a part of the process: of gives it, and says false before the part is there or where the process
// has none; missing says then what is not there.
type served[T any] struct {
	of      func() (T, bool)
	missing string
}

// route puts r into the table, answered by f with the part.
func (s served[T]) route(t *table, r Route, f func(T, *http.Request, *query) (any, error)) {
	s.stream(t, r, func(part T, _ http.ResponseWriter, r *http.Request, q *query) (any, error) { return f(part, r, q) })
}

// stream is route for an f that writes by itself: r.Stream is set. An error is answered only if f has written nothing.
func (s served[T]) stream(t *table, r Route, f func(T, http.ResponseWriter, *http.Request, *query) (any, error)) {
	t.add(r, func(w http.ResponseWriter, req *http.Request, q *query) (any, error) {
		part, ok := s.of()
		if !ok {
			return nil, Refuse(CodeNotHere, "%s", s.missing)
		}
		return f(part, w, req, q)
	})
}

// tagged is an answer with an ETag.
type tagged struct {
	value any
	etag  string
}

// withETag is an answer whose state has a name: an edit sends it back as If-Match. tag is without quotes.
func withETag(value any, tag string) any { return tagged{value, `"` + tag + `"`} }

// ifMatch is the state that an edit was made on, without quotes; "" where the request does not say one.
func ifMatch(r *http.Request) string { return strings.Trim(r.Header.Get("If-Match"), `"`) }

// ServeHTTP implements http.Handler: the gate first, then the parameters, then the handler within its time.
func (row *row) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, refused := row.gate.admit(r, row.Route)
	if refused != nil {
		refuse(w, r, refused)
		return
	}
	serve := row.serve
	if key := r.Header.Get(KeyHeader); row.Once && key != "" {
		serve = func(w http.ResponseWriter, r *http.Request) *Problem { return row.serveOnce(w, r, key) }
	}
	if p := serve(w, r); p != nil {
		refuse(w, r, p)
	}
}

// serve answers a request that was admitted, and records it; the problem is one that nothing was written of yet.
func (row *row) serve(w http.ResponseWriter, r *http.Request) (refused *Problem) {
	names := make([]string, 0, len(row.Params))
	for _, p := range row.Params {
		names = append(names, p.Name)
	}
	q := readQuery(r, names)
	out, asked := &noted{ResponseWriter: w}, r
	var got any
	err := q.err
	if err == nil {
		if row.Stream {
			// The server's own limits are for answers of one piece.
			c := http.NewResponseController(w)
			_, _ = c.SetWriteDeadline(time.Time{}), c.SetReadDeadline(time.Time{})
		} else {
			ctx, cancel := context.WithTimeout(r.Context(), deskTimeout)
			defer cancel()
			r = r.WithContext(ctx)
		}
		r.Body = http.MaxBytesReader(w, r.Body, row.bytesMax())
		if got, err = row.handle(out, r, q); err == nil {
			err = q.err
		}
	}
	if err != nil {
		refused = problemOf(err)
	}
	if recorded(r, row.Route) {
		row.gate.end(asked, row.Route, refused)
	}
	switch {
	case out.written, row.Stream && err == nil:
		return nil
	case refused != nil:
		return refused
	}
	if t, ok := got.(tagged); ok {
		out.Header().Set("ETag", t.etag)
		got = t.value
	}
	answer(out, row.code(), got)
	return nil
}

// noted is a ResponseWriter that remembers whether, and with which status, something was written.
type noted struct {
	http.ResponseWriter
	written bool
	status  int
}

// WriteHeader implements http.ResponseWriter.
func (n *noted) WriteHeader(code int) {
	if !n.written {
		n.written, n.status = true, code
	}
	n.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (n *noted) Write(b []byte) (int, error) {
	if !n.written {
		n.written, n.status = true, http.StatusOK
	}
	return n.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController flush.
func (n *noted) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// ServeHTTP looks a request up in the table; what has no row is a problem of its own.
func (t *table) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h, pattern := t.mux.Handler(r); pattern != "" {
		if _, ours := h.(*row); ours || r.Method == http.MethodGet {
			t.mux.ServeHTTP(w, r)
			return
		}
	}
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := &http.Request{Method: method, URL: r.URL, Host: r.Host}
		if h, _ := t.mux.Handler(other); h != nil {
			if _, ours := h.(*row); ours {
				allowed = append(allowed, method)
			}
		}
	}
	if len(allowed) > 0 && !slices.Contains(allowed, r.Method) {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		refuse(w, r, Refuse(CodeMethod, "%s %s takes %s", r.Method, r.URL.Path, strings.Join(allowed, ", ")))
		return
	}
	refuse(w, r, Refuse(CodeNoRoute, "there is nothing at %.200s", r.URL.Path))
}

type requestIDKey struct{}

// RequestIDHeader names each answer, so that a person and a line of the log can speak of the same.
const RequestIDHeader = "X-Request-Id"

// requestID is the name of a request; empty for one that did not come through the port.
func requestID(r *http.Request) string {
	id, _ := r.Context().Value(requestIDKey{}).(string)
	return id
}

// named gives each request its name.
func named(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := rand.Text()
		w.Header().Set(RequestIDHeader, id)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id)))
	})
}

// Routes lists every route that the port serves, in the order of path and method.
func Routes() []Route {
	list := NewBoard(nil).routes(nil).list
	slices.SortFunc(list, func(a, b Route) int {
		if a.Path != b.Path {
			return strings.Compare(a.Path, b.Path)
		}
		return strings.Compare(a.Method, b.Method)
	})
	return list
}
