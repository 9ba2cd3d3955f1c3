// Package api is the one way in for operators: the page, and what it and the command line ask of a running process. It runs
// on a port of its own, never on the webhook port. Every operation is a Route: who may ask for it, and the document of the
// API, are made from the same value.
package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// ErrRemote is returned for an address other than loopback that is neither protected nor asked for.
var ErrRemote = errors.New("it would be reachable from other machines without protection: set management.tls (cert and key) and make a user with 'tillstream users add', or use a loopback address, or set management.allow_remote where the network is closed")

// Loopback reports whether an address of the form host:port is this machine's alone.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// Listen opens the management port. An address that is not loopback needs allowRemote.
func Listen(address string, allowRemote bool) (net.Listener, error) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("management.listen %q: %w; write host:port", address, err)
	}
	if !allowRemote && !Loopback(address) {
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
