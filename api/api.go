// Package api is the one way in for operators: metrics, health, readiness and status of a running process. It runs on
// a port of its own, never on the webhook port, and on loopback unless it is told otherwise.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sort"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Part is one role or service that says how it is.
type Part struct {
	Name string
	// Ready is nil when the part does its work now, else why not. It must not block.
	Ready func() error
	// Status is anything that JSON can show; may be nil.
	Status func() any
}

// Board collects the parts of a process. Its methods may be called from several goroutines.
type Board struct {
	mu    sync.Mutex
	parts []Part
	info  map[string]string
}

// NewBoard returns a board that shows info (version, instance) beside the parts.
func NewBoard(info map[string]string) *Board { return &Board{info: info} }

// Add puts a part on the board; a part of the same name is replaced.
func (b *Board) Add(p Part) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.parts {
		if b.parts[i].Name == p.Name {
			b.parts[i] = p
			return
		}
	}
	b.parts = append(b.parts, p)
	sort.Slice(b.parts, func(i, j int) bool { return b.parts[i].Name < b.parts[j].Name })
}

// state is one part as shown.
type state struct {
	Name   string `json:"name"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
	Status any    `json:"status,omitempty"`
}

// look asks every part; a process without parts is not ready.
func (b *Board) look(withStatus bool) (ready bool, states []state) {
	b.mu.Lock()
	parts := append([]Part(nil), b.parts...)
	b.mu.Unlock()
	ready = len(parts) > 0
	for _, p := range parts {
		s := state{Name: p.Name, Ready: true}
		if p.Ready != nil {
			if err := p.Ready(); err != nil {
				s.Ready, s.Reason, ready = false, err.Error(), false
			}
		}
		if withStatus && p.Status != nil {
			s.Status = p.Status()
		}
		states = append(states, s)
	}
	return ready, states
}

// Handler serves
//
//	/metrics  Prometheus
//	/healthz  200 while the process answers
//	/readyz   200 when every part is ready, else 503 with the parts that are not and why
//	/status   all parts in full
func (b *Board) Handler(g prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(g, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		ready, states := b.look(false)
		code := http.StatusOK
		if !ready {
			code = http.StatusServiceUnavailable
		}
		answer(w, code, map[string]any{"ready": ready, "parts": states})
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		ready, states := b.look(true)
		answer(w, http.StatusOK, map[string]any{"ready": ready, "parts": states, "process": b.info})
	})
	return harden(mux)
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

// ErrRemote is returned for an address other than loopback that was not asked for.
var ErrRemote = errors.New("management has no sign-in and would be reachable from other machines; use a loopback address, or set management.allow_remote where the network is closed")

// Listen opens the management port. An address that is not loopback needs allowRemote.
func Listen(address string, allowRemote bool) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("management.listen %q: %w; write host:port", address, err)
	}
	if ip := net.ParseIP(host); !allowRemote && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("management.listen %q: %w", address, ErrRemote)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("management.listen %q: %w; free the port or choose another", address, err)
	}
	return l, nil
}

// Serve answers on l until ctx ends, then lets running requests finish for two seconds.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() {
		c, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = srv.Shutdown(c)
	})
	defer stop()
	if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("management on %s: %w", l.Addr(), err)
	}
	return nil
}
