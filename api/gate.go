package api

import (
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// gate decides who gets to a route.
type gate struct {
	board *Board
	cross *http.CrossOriginProtection
	once  *once
}

func newGate(b *Board) *gate {
	return &gate{b, http.NewCrossOriginProtection(), &once{now: func() time.Time { return b.now() }, kept: map[onceKey]*given{}}}
}

// admit refuses what may not reach the route. The request that it returns knows who asks.
func (g *gate) admit(r *http.Request, route Route) (*http.Request, *Problem) {
	r, refused := g.allow(r, route)
	if refused == nil && route.changes() {
		refused = g.meant(r)
	}
	if refused != nil {
		if who := asker(r); who.Name != "" && recorded(r, route) {
			g.end(r, route, refused)
		}
		return r, refused
	}
	if recorded(r, route) {
		return g.begin(r)
	}
	return r, nil
}

// meant refuses what a page of another origin could have sent.
func (g *gate) meant(r *http.Request) *Problem {
	if err := g.cross.Check(r); err != nil {
		return Refuse(CodeCrossOrigin, "%s", err.Error())
	}
	if r.Header.Get(ActionHeader) == "" {
		return Refuse(CodeNoAction, "the header %s is missing: it shows that no web page sent this", ActionHeader)
	}
	if r.ContentLength != 0 || r.Header.Get("Content-Type") != "" {
		if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
			return Refuse(CodeNotJSON, "the body is not sent as application/json")
		}
	}
	return nil
}

// hosted refuses every request under a name that is none of the process: one that somebody made point here. An address
// that is written as a number cannot be made to point elsewhere.
func (b *Board) hosted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := b.checkHost(r); p != nil {
			refuse(w, r, p)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (b *Board) checkHost(r *http.Request) *Problem {
	host := strings.ToLower(r.Host)
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	b.mu.Lock()
	hosts := b.hosts
	b.mu.Unlock()
	if host == "localhost" || slices.Contains(hosts, host) {
		return nil
	}
	if ip := net.ParseIP(host); ip != nil {
		local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
		if !ok || !local.IP.IsLoopback() || ip.IsLoopback() {
			return nil
		}
	}
	return Refuse(CodeHost, "the host %.100q is none of this process", r.Host)
}
