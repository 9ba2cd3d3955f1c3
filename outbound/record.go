package outbound

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/tillstream/tillstream/schemas"
)

// Bounds of what is recorded.
const (
	// ExcerptBytesMax is what an Exchange keeps of a body.
	ExcerptBytesMax = 2048
	// ExchangesMax is how many exchanges a Recorder keeps; the oldest go first.
	ExchangesMax = 64
	// captureBytesMax is what is read for an excerpt: more, because masking comes before cutting.
	captureBytesMax = 8192
	// edgeBytes at the end of a cut capture may hold half a secret that no longer looks like one.
	edgeBytes = 512
)

// A Recorder collects the exchanges of one context.
type Recorder struct {
	mu   sync.Mutex
	list []*recording
}

type recording struct {
	mu       sync.Mutex
	exchange schemas.Exchange
	request  capture
	response capture
}

type recorderKey struct{}

// Record returns a context whose requests, made through a client of this package, are recorded.
func Record(ctx context.Context) (context.Context, *Recorder) {
	r := &Recorder{}
	return context.WithValue(ctx, recorderKey{}, r), r
}

// Exchanges returns what was sent and answered so far, in order, masked and cut. Headers are never part of it. The
// body of an answer is there as far as the caller read it.
func (r *Recorder) Exchanges() []schemas.Exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]schemas.Exchange, 0, len(r.list))
	for _, rec := range r.list {
		rec.mu.Lock()
		e := rec.exchange
		rec.mu.Unlock()
		e.Request, e.Response = rec.request.text(), rec.response.text()
		out = append(out, e)
	}
	return out
}

func (r *Recorder) start(req *http.Request, at time.Time) *recording {
	u := *req.URL
	u.User = nil
	rec := &recording{exchange: schemas.Exchange{Method: req.Method, URL: excerpt(u.String(), false), At: at}}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) == ExchangesMax {
		r.list = append(r.list[:0], r.list[1:]...)
	}
	r.list = append(r.list, rec)
	return rec
}

func (rec *recording) finish(status int, err error, took time.Duration) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.exchange.Millis = took.Milliseconds()
	if status != 0 {
		rec.exchange.Status = int64(status)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		rec.exchange.Error = excerpt(err.Error(), false)
	}
}

// excerpt masks first and cuts afterwards, at a character's border.
func excerpt(text string, truncated bool) string {
	out := Redact(text)
	if truncated && len(out) <= ExcerptBytesMax {
		out = out[:max(0, len(out)-edgeBytes)]
	}
	if len(out) > ExcerptBytesMax {
		out = out[:ExcerptBytesMax]
	}
	for len(out) > 0 {
		if r, size := utf8.DecodeLastRuneInString(out); r != utf8.RuneError || size != 1 {
			break
		}
		out = out[:len(out)-1]
	}
	return out
}

// recordingTransport fills the Recorder of the request's context, if there is one.
type recordingTransport struct {
	now  func() time.Time
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *recordingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	r, ok := req.Context().Value(recorderKey{}).(*Recorder)
	if !ok {
		return t.next.RoundTrip(req)
	}
	start := t.now()
	rec := r.start(req, start)
	if req.Body != nil && req.Body != http.NoBody {
		clone := req.Clone(req.Context())
		clone.Body = &capturedBody{ReadCloser: req.Body, into: &rec.request}
		if again := req.GetBody; again != nil {
			clone.GetBody = func() (io.ReadCloser, error) {
				// The body is sent again from its start on another connection; what it holds was captured or is captured now.
				body, err := again()
				if err != nil {
					return nil, err
				}
				rec.request.reset()
				return &capturedBody{ReadCloser: body, into: &rec.request}, nil
			}
		}
		req = clone
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		rec.finish(0, err, t.now().Sub(start))
		return nil, err
	}
	rec.finish(resp.StatusCode, nil, t.now().Sub(start))
	resp.Body = &capturedBody{ReadCloser: resp.Body, into: &rec.response, done: func(err error) {
		rec.finish(resp.StatusCode, err, t.now().Sub(start))
	}}
	return resp, nil
}

func (c *capture) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes, c.truncated = nil, false
}

// capturedBody hands on what it reads.
type capturedBody struct {
	io.ReadCloser
	into *capture
	done func(error)
}

// Read implements io.Reader.
func (b *capturedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.into.add(p[:n])
	if err != nil && b.done != nil {
		b.done(err)
	}
	return n, err
}
