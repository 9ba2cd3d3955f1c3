package api

import (
	"bytes"
	"crypto/sha256"
	"io"
	"maps"
	"net/http"
	"sync"
	"time"
)

// KeyHeader names one attempt to start or create something: sent again with the same key it is not done again, and answered
// as the first time.
const KeyHeader = "Idempotency-Key"

// ReplayedHeader is true on an answer that was given before.
const ReplayedHeader = "Idempotency-Replayed"

// Bounds of what is kept of keys.
const (
	onceKept     = 24 * time.Hour
	onceMax      = 4096 // keys; the oldest answer goes first
	onceBytesMax = 200  // of a key
)

// once keeps the answers that were given to keys, for each user by itself. It is the memory of this process: after a restart
// a key is new. What would do harm twice is safe without it: a job has its id, a name is taken.
type once struct {
	now func() time.Time

	mu   sync.Mutex
	kept map[onceKey]*given
}

type onceKey struct{ who, key string }

// given is the answer to a key; code 0: it is not there yet.
type given struct {
	request [sha256.Size]byte
	at      time.Time
	code    int
	header  http.Header
	body    []byte
}

// claim gives the answer to a key that was given before, or nil where the request is to be done now: settle must follow.
func (o *once) claim(k onceKey, request [sha256.Size]byte) (*given, *Problem) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	maps.DeleteFunc(o.kept, func(_ onceKey, g *given) bool { return g.code != 0 && now.Sub(g.at) >= onceKept })
	switch g := o.kept[k]; {
	case g == nil:
	case g.request != request:
		return nil, Refuse(CodeKeyReused, "the %s was sent with another request in the last %v", KeyHeader, onceKept)
	case g.code == 0:
		return nil, Refuse(CodeKeyInFlight, "the first request with this %s is not answered yet", KeyHeader)
	default:
		return g, nil
	}
	if len(o.kept) >= onceMax && !o.dropOldest() {
		return nil, Refuse(CodeBusy, "%d requests with a key are not answered yet", len(o.kept))
	}
	o.kept[k] = &given{request: request, at: now}
	return nil, nil
}

// dropOldest forgets the oldest answer; false: all keys are in flight.
func (o *once) dropOldest() bool {
	var oldest onceKey
	var at time.Time
	for k, g := range o.kept {
		if g.code != 0 && (at.IsZero() || g.at.Before(at)) {
			oldest, at = k, g.at
		}
	}
	delete(o.kept, oldest)
	return !at.IsZero()
}

// settle keeps what was answered. What was refused or failed changed nothing that is answered for: its key is free again.
func (o *once) settle(k onceKey, a *answered) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if a.code < 200 || a.code > 299 {
		delete(o.kept, k)
		return
	}
	g := o.kept[k]
	g.code, g.body, g.header, g.at = a.code, a.body.Bytes(), http.Header{}, o.now()
	for _, name := range []string{"Content-Type", "ETag"} {
		if value := a.Header().Get(name); value != "" {
			g.header.Set(name, value)
		}
	}
}

// answered notes what is written.
type answered struct {
	http.ResponseWriter
	code int
	body bytes.Buffer
}

// WriteHeader implements http.ResponseWriter.
func (a *answered) WriteHeader(code int) {
	if a.code == 0 {
		a.code = code
	}
	a.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (a *answered) Write(b []byte) (int, error) {
	if a.code == 0 {
		a.code = http.StatusOK
	}
	a.body.Write(b)
	return a.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the writer.
func (a *answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// serveOnce answers a request that was admitted and has a key.
func (row *row) serveOnce(w http.ResponseWriter, r *http.Request, key string) *Problem {
	if len(key) > onceBytesMax {
		return Refuse(CodeInvalid, "the %s is longer than %d bytes", KeyHeader, onceBytesMax)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, row.bytesMax()))
	if err != nil {
		return Refuse(CodeTooLarge, "the body cannot be read, or is longer than %d bytes", row.bytesMax())
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	h := sha256.New()
	for _, part := range []string{r.Method, r.URL.RequestURI(), r.Header.Get("If-Match")} {
		h.Write([]byte(part + "\n"))
	}
	h.Write(body)
	k := onceKey{asker(r).Name, key}
	before, refused := row.gate.once.claim(k, [sha256.Size]byte(h.Sum(nil)))
	switch {
	case refused != nil:
		row.gate.end(r, row.Route, refused)
		return refused
	case before != nil:
		maps.Copy(w.Header(), before.header)
		w.Header().Set(ReplayedHeader, "true")
		w.WriteHeader(before.code)
		_, _ = w.Write(before.body) // an error here is an asker who left
		return nil
	}
	a := &answered{ResponseWriter: w}
	defer row.gate.once.settle(k, a) // after a panic, too: then nothing was answered
	return row.serve(a, r)
}
