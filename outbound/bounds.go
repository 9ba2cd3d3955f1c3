package outbound

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// deadlineTransport bounds a request with its answer. http.Client.Timeout would do so too, but it replaces the error
// and with it the knowledge whether the request had left.
type deadlineTransport struct {
	timeout time.Duration
	next    http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *deadlineTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), t.timeout)
	resp, err := t.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Request = req
	resp.Body = &closingBody{ReadCloser: resp.Body, close: cancel}
	return resp, nil
}

type closingBody struct {
	io.ReadCloser
	close context.CancelFunc
}

// Close implements io.Closer.
func (b *closingBody) Close() error {
	err := b.ReadCloser.Close()
	b.close()
	return err
}

// sizeTransport bounds the answer's body after decompression, so that neither a lie in Content-Length nor a
// compressed bomb gets past it. The answer's status stays readable: it tells whether the request was applied.
type sizeTransport struct {
	bodyBytesMax int64
	next         http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *sizeTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &cappedBody{ReadCloser: resp.Body, left: t.bodyBytesMax, bytesMax: t.bodyBytesMax}
	return resp, nil
}

type cappedBody struct {
	io.ReadCloser
	left, bytesMax int64
}

// Read implements io.Reader. It reads one byte further than allowed, to tell "just full" from "too large".
func (b *cappedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, b.err()
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, b.err()
	}
	return n, err
}

func (b *cappedBody) err() error {
	return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, b.bytesMax)
}

// tracingTransport marks an error that came after the request had (perhaps partly) left.
type tracingTransport struct {
	allowPlain bool
	next       http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *tracingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !t.allowPlain {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, &sendError{method: req.Method, err: ErrPlain}
	}
	var left atomic.Bool
	trace := &httptrace.ClientTrace{
		// net/http tries again by itself only where nothing was written, and then on another connection.
		GotConn:      func(httptrace.GotConnInfo) { left.Store(false) },
		WroteHeaders: func() { left.Store(true) },
	}
	resp, err := t.next.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil {
		return nil, &sendError{method: req.Method, left: left.Load(), err: err}
	}
	return resp, nil
}

// sendError is a failed request that knows whether it had left.
type sendError struct {
	method string
	left   bool
	err    error
}

// Error implements error.
func (e *sendError) Error() string {
	if e.left {
		return fmt.Sprintf("no answer to a request that was sent: %v", e.err)
	}
	return fmt.Sprintf("request was not sent: %v", e.err)
}

// Unwrap implements errors.Unwrap.
func (e *sendError) Unwrap() error { return e.err }

// capture keeps the first bytes of a body as it is read, for the recorder.
type capture struct {
	mu        sync.Mutex
	bytes     []byte
	truncated bool
}

func (c *capture) add(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if room := captureBytesMax - len(c.bytes); len(p) > room {
		p, c.truncated = p[:room], true
	}
	c.bytes = append(c.bytes, p...)
}

func (c *capture) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return excerpt(string(c.bytes), c.truncated)
}
