// Package api is the one way in for operators: metrics, health, readiness and status of a running process, and the one
// thing that they may ask of it, to resume a partition. It runs on a port of its own, never on the webhook port, and on
// loopback unless it is told otherwise.
package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

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
