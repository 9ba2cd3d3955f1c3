package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// ActionHeader must be sent with every request that changes something; its value is free. A page in a browser cannot set
// it for another origin without asking first, which this port never grants.
const ActionHeader = "X-Tillstream-Action"

// SetHosts gives the names, besides localhost and the machine's addresses, under which the port may be asked.
func (b *Board) SetHosts(names []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hosts = nil
	for _, name := range names {
		b.hosts = append(b.hosts, strings.ToLower(name))
	}
}

// SetPage has the port answer with page whatever is no address of a program: the page's files and the addresses of its
// screens. They are the same for everybody and hold nothing of anybody.
func (b *Board) SetPage(page http.Handler) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.page = page
}

// Handler serves every route of routes, and what SetPage gave for the rest.
func (b *Board) Handler(g prometheus.Gatherer) http.Handler {
	return named(harden(b.hosted(b.paged(b.routes(g)))))
}

// routes is every route that there is.
func (b *Board) routes(g prometheus.Gatherer) *table {
	t := &table{mux: http.NewServeMux(), gate: newGate(b)}
	b.processRoutes(t, g)
	b.connectionRoutes(t)
	b.automationRoutes(t)
	b.jobRoutes(t)
	b.pauseRoutes(t)
	b.destinationRoutes(t)
	b.limitRoutes(t)
	b.sessionRoutes(t)
	b.userRoutes(t)
	b.auditRoutes(t)
	documentRoutes(t)
	b.readingRoutes(t)
	b.configRoutes(t)
	b.mappingRoutes(t)
	b.workflowRoutes(t)
	b.backtestRoutes(t)
	return t
}

// paged lets the page have what no program asks for.
func (b *Board) paged(t *table) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		page := b.page
		b.mu.Unlock()
		_, pattern := t.mux.Handler(r)
		if page == nil || pattern != "" || r.URL.Path == "/api" || strings.HasPrefix(r.URL.Path, "/api/") || r.Method != http.MethodGet && r.Method != http.MethodHead {
			t.ServeHTTP(w, r)
			return
		}
		w.Header().Del("Cache-Control") // files with a hash in their name may be kept
		page.ServeHTTP(w, r)
	})
}

// Standing is the answer of GET /api/v1/status: all parts in full.
type Standing struct {
	Ready   bool              `json:"ready"`
	At      time.Time         `json:"at"`
	Parts   []state           `json:"parts"`
	Process map[string]string `json:"process"`
}

// Readiness is the answer of GET /readyz.
type Readiness struct {
	Ready bool    `json:"ready"`
	Parts []state `json:"parts"`
}

// processRoutes are about the process itself.
func (b *Board) processRoutes(t *table, g prometheus.Gatherer) {
	t.add(Route{Method: "GET", Path: "/metrics", Role: Viewer, early: true, NoCLI: "Prometheus reads it; 'tillstream status' tells people", Stream: true, Summary: "Metrics, as Prometheus reads them"},
		func(w http.ResponseWriter, r *http.Request, _ *query) (any, error) {
			promhttp.HandlerFor(g, promhttp.HandlerOpts{}).ServeHTTP(w, r)
			return nil, nil
		})
	t.add(Route{Method: "GET", Path: "/healthz", early: true, NoCLI: "whoever watches over the process asks it, such as Kubernetes", Stream: true, Summary: "200 while every loop turns, else 503 with those that do not"}, b.health)
	t.add(Route{
		Method: "GET", Path: "/readyz", early: true, CLI: "tillstream status", Stream: true, Answer: Readiness{}, Params: []Param{{"part", "only this part; may be repeated"}},
		Summary: "200 when every part is ready, else 503 with all reasons",
	}, b.readiness)
	status := func(http.ResponseWriter, *http.Request, *query) (any, error) {
		ready, states := b.look(true)
		return Standing{ready, b.now().UTC(), states, b.info}, nil
	}
	t.add(Route{Method: "GET", Path: "/status", Role: Viewer, early: true, CLI: "tillstream status", Answer: Standing{}, Summary: "All parts of the process in full"}, status)
	t.add(Route{Method: "GET", Path: "/api/v1/status", Role: Viewer, early: true, CLI: "tillstream status", Answer: Standing{}, Summary: "All parts of the process in full"}, status)
	t.add(Route{
		Method: "POST", Path: "/api/v1/stages/{stage}/partitions/{partition}/resume", Role: Operator, CLI: "tillstream resume", Answer: Resumption{},
		Summary: "Let a stalled partition try again",
	}, b.resume)
}

func (b *Board) health(w http.ResponseWriter, _ *http.Request, _ *query) (any, error) {
	var hanging []string
	_, states := b.look(false)
	for _, s := range states {
		if s.hangs != nil {
			hanging = append(hanging, s.Name+": "+s.hangs.Error()+"\n")
		}
	}
	if len(hanging) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(strings.Join(hanging, "")))
		return nil, nil
	}
	_, _ = w.Write([]byte("ok\n"))
	return nil, nil
}

func (b *Board) readiness(w http.ResponseWriter, r *http.Request, _ *query) (any, error) {
	names := r.URL.Query()["part"]
	ready, states := b.look(false, names...)
	for _, name := range names {
		known := false
		for _, s := range states {
			known = known || s.Name == name
		}
		if !known { // at the start the parts come one after another: absent is not ready
			ready = false
			states = append(states, state{Name: name, Reason: "this process has no such part, or has not started it yet"})
		}
	}
	code := http.StatusOK
	if !ready {
		code = http.StatusServiceUnavailable
	}
	if asker(r).Name == "" { // addresses of what is missing are not for everybody
		states = nil
	}
	answer(w, code, Readiness{ready, states})
	return nil, nil
}

// resume lets one partition try again.
func (b *Board) resume(_ http.ResponseWriter, r *http.Request, _ *query) (any, error) {
	name := r.PathValue("stage")
	number, err := strconv.ParseInt(r.PathValue("partition"), 10, 32)
	if err != nil || number < 0 {
		return nil, Refuse(CodeInvalid, "partition %q: write a number from 0", r.PathValue("partition"))
	}
	s := b.stage(name)
	if s == nil || s.Resume == nil {
		return nil, Refuse(CodeNotOwned, "this process (%s) runs no stage %q", b.info["instance"], name)
	}
	got := s.Resume(int32(number))
	switch got.Outcome {
	case NotOwned:
		return nil, Refuse(CodeNotOwned, "%s", got.Detail)
	case NotStalled:
		return nil, Refuse(CodeNotStalled, "%s", got.Detail)
	}
	return got, nil
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v)
}

// harden sets the headers that keep a browser from reading or framing an answer.
func harden(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}
