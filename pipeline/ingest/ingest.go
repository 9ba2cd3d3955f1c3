// Package ingest receives webhooks over HTTP: it lets the connection's source judge each request, appends what is
// genuine to Kafka, and answers 2xx only once every replica has it. It never answers 2xx to what it did not append,
// and never refuses for good what is genuine.
//
// The answers, which docs/bad-input.md explains to operators:
//
//	200 accepted      genuine, and on every in-sync replica; also what could not be understood, as an event with a Problem
//	200 quarantined   genuine as far as can be told, kept the same way, and never applied: a delivery id seen before with
//	                  another body where the signature does not bind it, or a payment card number, which is masked
//	200 ping          the provider tries the address; nothing is kept
//	200 handshake     OPTIONS, from a provider that asks first; nothing is kept
//	400 unread        the body was cut off
//	401 forged        the signature does not hold
//	404 unknown       no such connection, or not its token
//	405 method        not POST
//	408 unread        the body came too slowly
//	413 oversize      the body is too large
//	415 encoded       the body is compressed
//	429 limited       too many failures from this address, or at this connection from unknown addresses; unread
//	503 unverifiable  it cannot be told now whether it is genuine
//	503 failed        genuine, and Kafka did not confirm it
//	503 busy          too many requests at once
//	503 panic         a fault of ours
//
// Every provider sends again after 408, 429 and 503.
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
	"net/netip"
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
	announcedBytesMax    = 64 << 10
	// readersPerSlot: this many times ConcurrentMax requests may be sending their bodies; together they may hold the
	// bytes of ConcurrentMax full ones.
	readersPerSlot = 16
	idleTimeout    = 60 * time.Second
	headerBytesMax = 16 << 10
	// discardBytesMax: a body up to here is thrown away rather than its connection.
	discardBytesMax = 16 << 10
	// Back-off that we ask for; the providers keep to their own times anyway.
	retryAfterBusySeconds = 1
	retryAfterSeconds     = 5
	// A flood of refused requests must not become a flood of lines; the metrics count them all.
	logLinesPerSecond = 20
	logLinesBurst     = 200
)

// GCPercent is the garbage collector's setting (as GOGC) for a process that only receives. Little of its memory lives
// longer than a request, so that the default collects many times a second; this costs some 50 MB and saves a quarter of
// the work (docs/performance.md).
const GCPercent = 400

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
	// Limits bound the work of requests that fail.
	Limits Limits
	// TrustedProxies are the addresses whose X-Forwarded-For is believed. None: who connects is who sends.
	TrustedProxies []netip.Prefix
	// Once remembers delivery ids for all processes. Nil: each remembers its own.
	Once Once
	// AllowCardNumbers lets bodies pass that hold a payment card number; see Keeper.
	AllowCardNumbers bool
	Clock            clock.Clock // default clock.System
	Log              zerolog.Logger
	Registerer       prometheus.Registerer // nil: not registered
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
	guard     *guard
	late      chan struct{} // answers that are held back
	claims    *claims
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
		o: o, keeper: Keeper{o.Appender, o.Encode, o.AllowCardNumbers}, metrics: m,
		guard: newGuard(o.Limits), late: make(chan struct{}, lateMax), claims: newClaims(o.Once, o.Clock, m.alone.Inc),
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

// spanOptions: the sender does not choose our traces.
var spanOptions = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), trace.WithNewRoot()}

// answer is what a request gets, and why.
type answer struct {
	status     int
	outcome    string
	reason     string // for the log; never sent
	retryAfter int    // seconds; 0: none
	header     http.Header
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := h.o.Clock.Now()
	e, found := h.endpoint(r.URL.Path)
	from := sender{e.Connection, clientAddress(r, h.o.TrustedProxies)}
	if found {
		h.metrics.received.WithLabelValues(e.Connection).Inc()
		if !h.guard.admits(from, start) { // before anything that costs: a flood must not
			h.metrics.answered.WithLabelValues(e.Connection, outcomeLimited).Inc()
			h.delay(r)
			respond(w, r, limited)
			return
		}
	}
	ctx, span := h.tracer.Start(r.Context(), "webhook", spanOptions...)
	defer span.End()
	a, late := answer{status: http.StatusNotFound, outcome: outcomeUnknown, reason: "no such endpoint"}, false
	if found {
		a = h.serve(ctx, w, r, e)
		late = h.judge(from, a)
	}
	h.metrics.answered.WithLabelValues(e.Connection, a.outcome).Inc()
	h.metrics.seconds.WithLabelValues(e.Connection).Observe(h.o.Clock.Now().Sub(start).Seconds())
	if span.IsRecording() {
		tell(span, e, a)
	}
	if a.status >= http.StatusMultipleChoices {
		h.log(e, a)
	}
	if late {
		h.delay(r)
	}
	respond(w, r, a)
}

// tell says in the span what came of the request.
func tell(span trace.Span, e Endpoint, a answer) {
	span.SetAttributes(attribute.String("tillstream.connection", e.Connection), attribute.String("tillstream.outcome", a.outcome),
		attribute.Int("http.response.status_code", a.status))
	if a.status >= http.StatusMultipleChoices {
		span.SetStatus(codes.Error, a.outcome)
	}
}

// delay holds an answer back, where not too many are held already. The request has given back all that it took.
func (h *Handler) delay(r *http.Request) {
	select {
	case h.late <- struct{}{}:
		defer func() { <-h.late }()
		_ = h.o.Clock.Sleep(r.Context(), lateBy) // who goes away has waited long enough
	default:
	}
}

// judge remembers what came of a request for those that follow it. late says that its answer is to be delayed.
func (h *Handler) judge(from sender, a answer) (late bool) {
	cost := 0.
	switch a.outcome {
	case outcomeAccepted, outcomeQuarantined, outcomeFailed:
		h.guard.delivered(from, h.o.Clock.Now())
		return false
	case outcomeForged, outcomeOversize, outcomeUnread, outcomeEncoded:
		cost = costForged
	case outcomeUnverifiable:
		cost = costUnverifiable
	default:
		return false
	}
	first, late := h.guard.failed(from, cost, h.o.Clock.Now())
	if first && h.lines.AllowN(h.o.Clock.Now(), 1) {
		h.o.Log.Warn().Str("connection", from.connection).Str("network", network(from.address)).Msg("too many failed webhooks from this network: answered late, or refused unread, for now")
	}
	return late
}

var limited = answer{status: http.StatusTooManyRequests, outcome: outcomeLimited, retryAfter: retryAfterSeconds}

// respond says no more than the status: a forger learns nothing from it.
func respond(w http.ResponseWriter, r *http.Request, a answer) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if a.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(a.retryAfter))
	}
	if a.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	switch a.outcome {
	case outcomeAccepted, outcomeQuarantined, outcomePing, outcomeHandshake, outcomeForged, outcomeUnverifiable, outcomeFailed, outcomePanic:
	default:
		// The body was not read. Without this the server would wait for it before it lets the answer out. One that is here
		// already costs less than the connection that would replace this one.
		if a.outcome != outcomeLimited || r.ContentLength < 0 || r.ContentLength > discardBytesMax {
			w.Header().Set("Connection", "close")
		}
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
			a = unavailable(outcomePanic, fmt.Sprintf("a panic of type %T", p), retryAfterSeconds)
		}
	}()
	if asked, ok := e.Webhook.(connectors.Handshaker); ok && r.Method == http.MethodOptions {
		if header, ok := asked.Handshake(r); ok {
			return answer{status: http.StatusOK, outcome: outcomeHandshake, header: header}
		}
	}
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
	return unavailable(outcomeUnverifiable, v.Reason, retryAfterSeconds)
}

var busy = unavailable(outcomeBusy, "too many requests at once", retryAfterBusySeconds)

func unavailable(outcome, reason string, retryAfter int) answer {
	return answer{status: http.StatusServiceUnavailable, outcome: outcome, reason: reason, retryAfter: retryAfter}
}

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
	body, err := readAll(held, r.ContentLength)
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

// readAll reads to the end. It makes room for what was announced, within reason: to announce costs nothing.
func readAll(from io.Reader, announced int64) ([]byte, error) {
	buf := make([]byte, 0, min(max(announced, 0), announcedBytesMax)+1) // one more, to see the end without growing
	for {
		n, err := from.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return buf, err
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
	}
}

// append keeps a delivery, and answers 2xx only then.
func (h *Handler) append(ctx context.Context, e Endpoint, d connectors.Delivery) answer {
	outcome := outcomeAccepted
	keep := h.keeper.Keep
	if d.OnceID && !h.first(ctx, d) {
		keep = h.keepApart
	}
	events, err := keep(ctx, e.Connector, d)
	if err != nil {
		return unavailable(outcomeFailed, err.Error(), retryAfterSeconds)
	}
	for i := range events {
		if events[i].Problem == "" {
			continue
		}
		line := h.o.Log.Warn().Str("connection", e.Connection).Str("body_sha256", events[i].BodyHash)
		if events[i].ProblemCause == schemas.CauseQuarantined {
			outcome = outcomeQuarantined
			line.Str("reason", events[i].Problem).Msg("webhook quarantined: it is kept, and will not be applied")
			continue
		}
		h.metrics.problems.WithLabelValues(e.Connection).Inc()
		line.Msg("webhook kept, but its body is not understood")
	}
	return answer{status: http.StatusOK, outcome: outcome}
}

// first reports whether d's body is the one that its id stands for. A body is remembered as it is kept: the hash of an
// unmasked card number would give it away.
func (h *Handler) first(ctx context.Context, d connectors.Delivery) bool {
	if !h.o.AllowCardNumbers {
		d.Body, _ = maskCardNumbers(d.Body)
	}
	return h.claims.same(ctx, d)
}

// keepApart keeps a delivery whose id came with another body before.
func (h *Handler) keepApart(ctx context.Context, c connectors.Connector, d connectors.Delivery) ([]schemas.OrderEvent, error) {
	if !h.o.AllowCardNumbers {
		d.Body, _ = maskCardNumbers(d.Body)
	}
	return h.keeper.quarantine(ctx, c, quarantined(c, d, "its delivery id came with another body before, and the signature holds for both"))
}
