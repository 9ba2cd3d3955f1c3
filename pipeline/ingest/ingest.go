// Package ingest receives webhooks over HTTP: it lets the connection's source judge each request, appends what is
// genuine to Kafka, and answers 2xx only once every replica has it. It never answers 2xx to what it did not append,
// and never refuses for good what is genuine.
package ingest

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/schemas"
)

// Endpoint is one connection's address.
type Endpoint struct {
	Connection string
	// Token makes the path unguessable: /webhooks/CONNECTION/TOKEN. Empty: /webhooks/CONNECTION.
	Token       string
	Connector   connectors.Connector
	Webhook     connectors.Webhooker
	Environment schemas.Environment
}

// Path is where the endpoint listens.
func (e Endpoint) Path() string {
	if e.Token == "" {
		return pathPrefix + e.Connection
	}
	return pathPrefix + e.Connection + "/" + e.Token
}

const pathPrefix = "/webhooks/"

// Defaults and fixed bounds.
const (
	bodyBytesMaxDefault  = 1 << 20
	concurrentMaxDefault = 256
	timeoutDefault       = 10 * time.Second
	readTimeoutDefault   = 10 * time.Second
	headerTimeoutMax     = 5 * time.Second
	// readersPerSlot: this many times ConcurrentMax requests may be sending their bodies; together they may hold the
	// bytes of ConcurrentMax full ones.
	readersPerSlot = 16
	idleTimeout    = 60 * time.Second
	headerBytesMax = 16 << 10
	// Back-off that we ask for; the providers keep to their own times anyway.
	retryAfterBusySeconds = 1
	retryAfterSeconds     = 5
	// A flood of refused requests must not become a flood of lines; the metrics count them all.
	logLinesPerSecond = 20
	logLinesBurst     = 200
)

// Options of a Handler.
type Options struct {
	Endpoints []Endpoint
	Appender  Appender
	// Encode turns a record into the value to append.
	Encode func(schemas.Record) ([]byte, error)
	// BodyBytesMax bounds a body; zero: 1 MiB.
	BodyBytesMax int64
	// ConcurrentMax bounds the requests in work, and with BodyBytesMax the memory of all bodies; zero: 256. More are
	// answered 503.
	ConcurrentMax int
	// Timeout bounds verifying and appending; zero: 10 s.
	Timeout time.Duration
	// ReadTimeout bounds the arrival of a whole request; zero: 10 s. A slower sender is cut.
	ReadTimeout time.Duration
	Clock       clock.Clock // default clock.System
	Log         zerolog.Logger
	Registerer  prometheus.Registerer // nil: not registered
}

// Handler answers POST /webhooks/{connection}[/{token}].
type Handler struct {
	o         Options
	endpoints atomic.Pointer[map[string]Endpoint] // by connection
	readers   chan struct{}                       // requests whose body is coming in
	slots     chan struct{}                       // requests in work
	held      atomic.Int64                        // bytes of bodies in memory
	keeper    Keeper
	metrics   *metrics
	tracer    trace.Tracer
	lines     *rate.Limiter
}

// New checks the options. The error names the endpoint that is wrong.
func New(o Options) (*Handler, error) {
	if o.Appender == nil || o.Encode == nil {
		return nil, errors.New("ingest needs an Appender and Encode")
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	o.BodyBytesMax = orDefault(o.BodyBytesMax, bodyBytesMaxDefault)
	o.ConcurrentMax = orDefault(o.ConcurrentMax, concurrentMaxDefault)
	o.Timeout = orDefault(o.Timeout, timeoutDefault)
	o.ReadTimeout = orDefault(o.ReadTimeout, readTimeoutDefault)
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	h := &Handler{
		o: o, keeper: Keeper{o.Appender, o.Encode}, metrics: m,
		slots: make(chan struct{}, o.ConcurrentMax), readers: make(chan struct{}, readersPerSlot*o.ConcurrentMax),
		tracer: otel.Tracer("github.com/tillstream/tillstream/pipeline/ingest"), lines: rate.NewLimiter(logLinesPerSecond, logLinesBurst),
	}
	if err := h.SetEndpoints(o.Endpoints); err != nil {
		return nil, err
	}
	return h, nil
}

// SetEndpoints replaces the endpoints; requests in work end with the former ones. The error names the endpoint that is
// wrong, and then nothing is changed.
func (h *Handler) SetEndpoints(list []Endpoint) error {
	endpoints := make(map[string]Endpoint, len(list))
	for _, e := range list {
		switch _, twice := endpoints[e.Connection]; {
		case e.Connection == "" || strings.ContainsRune(e.Connection, '/'):
			return fmt.Errorf("webhook endpoint %q: no usable connection name", e.Connection)
		case twice:
			return fmt.Errorf("webhook endpoint %s: given twice", e.Connection)
		case e.Webhook == nil || e.Connector.Normalize == nil || e.Connector.Topic == "":
			return fmt.Errorf("webhook endpoint %s: its connector takes no webhooks", e.Connection)
		case strings.ContainsRune(e.Token, '/'):
			return fmt.Errorf("webhook endpoint %s: its token holds a slash", e.Connection)
		}
		endpoints[e.Connection] = e
	}
	h.endpoints.Store(&endpoints)
	return nil
}

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Server returns a server for addr that cuts senders who are slow with headers, body, or reading the answer.
func (h *Handler) Server(addr string) *http.Server {
	return &http.Server{
		Addr: addr, Handler: h,
		ReadHeaderTimeout: min(headerTimeoutMax, h.o.ReadTimeout), ReadTimeout: h.o.ReadTimeout,
		WriteTimeout: h.o.ReadTimeout + h.o.Timeout + 5*time.Second, IdleTimeout: idleTimeout, MaxHeaderBytes: headerBytesMax,
	}
}

// answer is what a request gets, and why.
type answer struct {
	status     int
	outcome    string
	reason     string // for the log; never sent
	retryAfter int    // seconds; 0: none
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := h.o.Clock.Now()
	ctx, span := h.tracer.Start(r.Context(), "webhook", trace.WithSpanKind(trace.SpanKindServer), trace.WithNewRoot())
	defer span.End()
	e, found := h.endpoint(r.URL.Path)
	a := answer{status: http.StatusNotFound, outcome: outcomeUnknown, reason: "no such endpoint"}
	if found {
		h.metrics.received.WithLabelValues(e.Connection).Inc()
		a = h.serve(ctx, w, r, e)
	}
	h.metrics.answered.WithLabelValues(e.Connection, a.outcome).Inc()
	h.metrics.seconds.WithLabelValues(e.Connection).Observe(h.o.Clock.Now().Sub(start).Seconds())
	span.SetAttributes(attribute.String("tillstream.connection", e.Connection), attribute.String("tillstream.outcome", a.outcome),
		attribute.Int("http.response.status_code", a.status))
	if a.status >= http.StatusMultipleChoices {
		span.SetStatus(codes.Error, a.outcome)
		h.log(e, a)
	}
	respond(w, a)
}

// respond says no more than the status: a forger learns nothing from it.
func respond(w http.ResponseWriter, a answer) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if a.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(a.retryAfter))
	}
	if a.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	switch a.outcome {
	case outcomeAccepted, outcomePing, outcomeForged, outcomeUnverifiable, outcomeFailed, outcomePanic:
	default:
		// The body was not read. Without this the server would wait for it before it lets the answer out.
		w.Header().Set("Connection", "close")
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, http.StatusText(a.status)+"\n") // whoever does not read it sends again
}

func (h *Handler) log(e Endpoint, a answer) {
	if !h.lines.AllowN(h.o.Clock.Now(), 1) {
		return
	}
	line := h.o.Log.Warn()
	if a.outcome == outcomeFailed || a.outcome == outcomePanic {
		line = h.o.Log.Error()
	}
	line.Str("connection", e.Connection).Str("outcome", a.outcome).Int("status", a.status).Str("reason", a.reason).Msg("webhook refused")
}

// endpoint finds the connection by path. A wrong token looks like an unknown connection, and takes as long to refuse.
func (h *Handler) endpoint(path string) (Endpoint, bool) {
	rest, ok := strings.CutPrefix(path, pathPrefix)
	if !ok {
		return Endpoint{}, false
	}
	name, token, _ := strings.Cut(rest, "/")
	e, known := (*h.endpoints.Load())[name]
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(e.Token))
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || !known {
		return Endpoint{}, false
	}
	if e.Token == "" && rest != name {
		return Endpoint{}, false // a slash too many
	}
	return e, true
}

// serve handles one request of a known endpoint. A panic is this request's alone.
func (h *Handler) serve(ctx context.Context, w http.ResponseWriter, r *http.Request, e Endpoint) (a answer) {
	defer func() {
		if p := recover(); p != nil {
			// Without the value: it could hold parts of the request.
			a = answer{http.StatusServiceUnavailable, outcomePanic, fmt.Sprintf("a panic of type %T", p), retryAfterSeconds}
		}
	}()
	if r.Method != http.MethodPost {
		return answer{status: http.StatusMethodNotAllowed, outcome: outcomeMethod, reason: "method is not POST"}
	}
	if enc := r.Header.Values("Content-Encoding"); len(enc) > 1 || len(enc) == 1 && !strings.EqualFold(enc[0], "identity") && enc[0] != "" {
		return answer{status: http.StatusUnsupportedMediaType, outcome: outcomeEncoded, reason: "body has a content encoding"}
	}
	if r.ContentLength > h.o.BodyBytesMax {
		return answer{status: http.StatusRequestEntityTooLarge, outcome: outcomeOversize, reason: "body is too large"}
	}
	held := &heldBytes{of: &h.held, max: int64(h.o.ConcurrentMax) * h.o.BodyBytesMax}
	defer held.release()
	body, refused := h.read(w, r, held)
	h.metrics.bytes.WithLabelValues(e.Connection).Add(float64(len(body)))
	if refused.status != 0 {
		return refused
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		return busy
	}
	// A sender who goes away does not undo what is on its way into Kafka.
	ctx, cancel := h.o.Clock.WithTimeout(context.WithoutCancel(ctx), h.o.Timeout)
	defer cancel()
	d, v := e.Webhook.Verify(ctx, r.WithContext(ctx), body)
	switch v.Kind {
	case connectors.Genuine:
		return h.append(ctx, e, d)
	case connectors.Forged:
		return answer{status: http.StatusUnauthorized, outcome: outcomeForged, reason: v.Reason}
	case connectors.Ping:
		return answer{status: http.StatusOK, outcome: outcomePing, reason: v.Reason}
	}
	return answer{http.StatusServiceUnavailable, outcomeUnverifiable, v.Reason, retryAfterSeconds}
}

var busy = answer{http.StatusServiceUnavailable, outcomeBusy, "too many requests at once", retryAfterBusySeconds}

// heldBytes counts what one request's body takes of the memory that all may take together. Senders are bounded by what
// they have sent, not by being there: many slow ones leave room for the others.
type heldBytes struct {
	of   *atomic.Int64
	max  int64
	mine int64
	from io.Reader
}

var errBusy = errors.New("too many bytes held")

func (b *heldBytes) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	b.mine += int64(n)
	if b.of.Add(int64(n)) > b.max {
		return n, errBusy
	}
	return n, err
}

func (b *heldBytes) release() { b.of.Add(-b.mine) }

// read takes the whole body within its bound.
func (h *Handler) read(w http.ResponseWriter, r *http.Request, held *heldBytes) ([]byte, answer) {
	select {
	case h.readers <- struct{}{}:
		defer func() { <-h.readers }()
	default:
		return nil, busy
	}
	held.from = http.MaxBytesReader(w, r.Body, h.o.BodyBytesMax)
	body, err := io.ReadAll(held)
	if err == nil {
		return body, answer{}
	}
	if errors.Is(err, errBusy) {
		return body, busy
	}
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		return body, answer{status: http.StatusRequestEntityTooLarge, outcome: outcomeOversize, reason: "body is too large"}
	}
	if slow := net.Error(nil); errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &slow) && slow.Timeout() {
		return body, answer{status: http.StatusRequestTimeout, outcome: outcomeUnread, reason: "body came too slowly"}
	}
	return body, answer{status: http.StatusBadRequest, outcome: outcomeUnread, reason: "body was cut off"}
}

// append keeps a delivery, and answers 2xx only then.
func (h *Handler) append(ctx context.Context, e Endpoint, d connectors.Delivery) answer {
	events, err := h.keeper.Keep(ctx, e.Connector, d)
	if err != nil {
		return answer{http.StatusServiceUnavailable, outcomeFailed, err.Error(), retryAfterSeconds}
	}
	for i := range events {
		if events[i].Problem != "" {
			h.metrics.problems.WithLabelValues(e.Connection).Inc()
			h.o.Log.Warn().Str("connection", e.Connection).Str("body_sha256", events[i].BodyHash).Msg("webhook kept, but its body is not understood")
		}
	}
	return answer{status: http.StatusOK, outcome: outcomeAccepted}
}
