package chserver

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// roundTripper calls a handler in this process as if over a connection: the
// answer streams, closing its body ends the request.
type roundTripper struct{ serve http.HandlerFunc }

// RoundTrip implements http.RoundTripper.
func (t roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	inner := r.Clone(ctx)
	if inner.Body == nil {
		inner.Body = http.NoBody
	}
	inner.Host = firstOf(r.Host, r.URL.Host)
	if user := r.URL.User; user != nil && inner.Header.Get("Authorization") == "" {
		password, _ := user.Password()
		inner.SetBasicAuth(user.Username(), password)
	}
	reader, writer := io.Pipe()
	w := &pipeResponse{header: http.Header{}, body: writer, started: make(chan struct{})}
	go func() {
		defer inner.Body.Close()
		defer w.end()
		t.serve(w, inner)
	}()
	select {
	case <-w.started:
	case <-ctx.Done():
		reader.CloseWithError(ctx.Err())
		cancel()
		return nil, r.Context().Err()
	}
	length := int64(-1)
	if w.sent.Get("Content-Length") == "0" {
		length = 0
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: &cancelBody{reader, cancel}, ContentLength: length, Request: r,
	}, nil
}

// cancelBody ends the handler when the caller has enough of the answer.
type cancelBody struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (b *cancelBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}

// pipeResponse is an http.ResponseWriter over a pipe. A write returns when the
// reader has taken all of it, so the caller's buffer is free afterwards.
type pipeResponse struct {
	header http.Header
	body   *io.PipeWriter

	once    sync.Once
	started chan struct{}
	status  int
	// sent is the header as it was when the response started.
	sent http.Header
}

func (w *pipeResponse) Header() http.Header { return w.header }

func (w *pipeResponse) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.started)
	})
}

func (w *pipeResponse) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// end closes the answer. A panic of the handler becomes an error of this one
// request, as with net/http's server.
func (w *pipeResponse) end() {
	if cause := recover(); cause != nil {
		w.WriteHeader(http.StatusInternalServerError)
		w.body.CloseWithError(fmt.Errorf("the embedded ClickHouse's handler panicked: %v", cause))
		return
	}
	w.WriteHeader(http.StatusOK)
	w.body.Close()
}
