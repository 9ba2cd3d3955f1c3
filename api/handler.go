package api

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// ActionHeader must be sent with every request that changes something; its value is free. A page in a browser cannot set
// it for another origin without asking first, which this port never grants.
const ActionHeader = "X-Tillstream-Action"

// Handler serves
//
//	GET  /metrics  Prometheus
//	GET  /healthz  200 while every loop turns, else 503 with those that do not
//	GET  /readyz   200 when every part is ready, else 503 with all reasons; ?part=NAME asks for some parts only
//	GET  /status   all parts in full
//	POST /stages/{stage}/partitions/{partition}/resume   lets a stalled partition try again; needs ActionHeader
//
// and what connections.go, automation.go, pauses.go and destinations.go list.
func (b *Board) Handler(g prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(g, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", b.health)
	mux.HandleFunc("GET /readyz", b.readiness)
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		ready, states := b.look(true)
		answer(w, http.StatusOK, map[string]any{"ready": ready, "at": b.now().UTC(), "parts": states, "process": b.info})
	})
	mux.HandleFunc("POST /stages/{stage}/partitions/{partition}/resume", b.resume)
	b.connectionRoutes(mux)
	b.automationRoutes(mux)
	b.jobRoutes(mux)
	b.pauseRoutes(mux)
	b.destinationRoutes(mux)
	b.limitRoutes(mux)
	return harden(mux)
}

func (b *Board) health(w http.ResponseWriter, _ *http.Request) {
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
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

func (b *Board) readiness(w http.ResponseWriter, r *http.Request) {
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
	answer(w, code, map[string]any{"ready": ready, "parts": states})
}

// resume lets one partition try again. Each answer is a Resumption.
func (b *Board) resume(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("stage")
	if err := asked(r); err != nil {
		answer(w, http.StatusForbidden, Resumption{Outcome: "refused", Detail: err.Error()})
		return
	}
	number, err := strconv.ParseInt(r.PathValue("partition"), 10, 32)
	if err != nil || number < 0 {
		answer(w, http.StatusBadRequest, Resumption{Outcome: "refused", Detail: fmt.Sprintf("partition %q: write a number from 0", r.PathValue("partition"))})
		return
	}
	s := b.stage(name)
	if s == nil || s.Resume == nil {
		answer(w, http.StatusNotFound, Resumption{Outcome: NotOwned, Detail: fmt.Sprintf("this process (%s) runs no stage %q", b.info["instance"], name)})
		return
	}
	got := s.Resume(int32(number))
	code := http.StatusOK
	switch got.Outcome {
	case NotOwned:
		code = http.StatusNotFound
	case NotStalled:
		code = http.StatusConflict
	}
	answer(w, code, got)
}

// asked refuses what a page in somebody's browser could have sent: without the header, or under a foreign name.
func asked(r *http.Request) error {
	if r.Header.Get(ActionHeader) == "" {
		return fmt.Errorf("the header %s is missing: it shows that no web page sent this", ActionHeader)
	}
	return ownHost(r)
}

// ownHost refuses, on a loopback address, a name that was made to point there.
func ownHost(r *http.Request) error {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !local.IP.IsLoopback() {
		return nil
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if ip := net.ParseIP(strings.Trim(host, "[]")); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("the host %q is not this machine's loopback: ask by 127.0.0.1 or localhost", host)
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
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		next.ServeHTTP(w, r)
	})
}
