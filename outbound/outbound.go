// Package outbound is careful HTTP to somebody else's API: bounded, guarded against reaching inside the network, held
// to an account's rate limit, and recorded with its secrets and personal data masked.
package outbound

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// Defaults and bounds of a client.
const (
	DefaultTimeout      = 30 * time.Second
	DefaultBodyBytesMax = 4 << 20
	HeaderBytesMax      = 64 << 10
	dialTimeout         = 10 * time.Second
	idleTimeout         = 60 * time.Second
	connsPerHostMax     = 32
)

// Options of a client. The zero value is the careful default.
type Options struct {
	// Timeout bounds a whole request with its answer, not the wait for the limiter; zero: 30 s.
	Timeout time.Duration
	// BodyBytesMax bounds an answer; reading past it fails with ErrTooLarge. Zero: 4 MiB.
	BodyBytesMax int64
	// AllowPrivate permits loopback and private addresses, and http without TLS (simulators, tests, a CRM inside the
	// network). Link-local and metadata addresses stay refused.
	AllowPrivate bool
	// RootCAs is a PEM file of further trusted roots; empty: the system's only.
	RootCAs string
	// Limiter is asked before each request; nil: no limit.
	Limiter Limiter
	// Now is the clock of the exchanges and of Retry-After dates; nil: time.Now.
	Now func() time.Time
	// Network carries the requests in place of a guarded one of the client's own, for tests whose far end is in memory.
	Network *http.Transport
}

// NewClient returns a client that follows no redirect and obeys o. It fails where RootCAs cannot be read.
func NewClient(o Options) (*http.Client, error) {
	o = withDefaults(o)
	base := o.Network
	if base == nil {
		var err error
		if base, err = guardedTransport(o); err != nil {
			return nil, err
		}
	}
	return &http.Client{
		Transport: stack(o, base),
		// A redirect would send the account's token wherever the answer says.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// stack is the way of every request, innermost first. The recorder is outside so that it also sees what was never
// sent; the limiter is outside the deadline so that waiting for one's turn is not taken for a slow provider.
func stack(o Options, base http.RoundTripper) http.RoundTripper {
	var t http.RoundTripper = &tracingTransport{allowPlain: o.AllowPrivate, next: base} // knows whether the request left
	t = &sizeTransport{bodyBytesMax: o.BodyBytesMax, next: t}                           // bounds the answer
	t = &deadlineTransport{timeout: o.Timeout, next: t}                                 // bounds the time
	t = &limitingTransport{limiter: o.Limiter, now: o.Now, next: t}                     // waits for the account's turn
	return &recordingTransport{now: o.Now, next: t}                                     // masks and keeps
}

func withDefaults(o Options) Options {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.BodyBytesMax <= 0 {
		o.BodyBytesMax = DefaultBodyBytesMax
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// guardedTransport is net/http's with our own dialer. It keeps to HTTP/1.1: whether a request left is then a plain fact.
func guardedTransport(o Options) (*http.Transport, error) {
	roots, err := rootPool(o.RootCAs)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: idleTimeout, Control: guard(o.AllowPrivate)}
	return &http.Transport{
		Proxy:                  nil, // HTTP_PROXY must not reroute a vendor's traffic
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    dialTimeout,
		IdleConnTimeout:        idleTimeout,
		MaxIdleConnsPerHost:    connsPerHostMax,
		MaxConnsPerHost:        connsPerHostMax,
		MaxResponseHeaderBytes: HeaderBytesMax,
	}, nil
}

func rootPool(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("system root certificates: %w", err)
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("root certificates: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("root certificates: %s holds no PEM certificate", file)
	}
	return pool, nil
}

// Errors of a client, found with errors.Is.
var (
	// ErrTooLarge is what reading an answer past BodyBytesMax gives.
	ErrTooLarge = errors.New("answer is larger than allowed")
	// ErrAddress says that a host resolved to an address that must not be reached.
	ErrAddress = errors.New("address is not allowed: private, loopback, link-local or metadata")
	// ErrPlain says that a URL has no TLS.
	ErrPlain = errors.New("plain http is not allowed: use https")
)
