package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/schemas"
)

const topic = "test.events"

// till is a provider whose whole signature is a header that says "good" or "doubt"; its bodies are ids, one a line.
type till struct {
	entered, release chan struct{}
	once             bool
}

// Handshake lets those in who say where they come from.
func (w till) Handshake(r *http.Request) (http.Header, bool) {
	origin := r.Header.Get("Webhook-Request-Origin")
	return http.Header{"Webhook-Allowed-Origin": {origin}}, origin != ""
}

func (w till) Verify(ctx context.Context, r *http.Request, body []byte) (connectors.Delivery, connectors.Verdict) {
	if w.entered != nil {
		w.entered <- struct{}{}
		<-w.release
	}
	switch r.Header.Get("Sig") {
	case "good":
		return connectors.Delivery{
			Connection: "shop", Environment: schemas.Live, ID: "d1", Body: body,
			ReceivedAt: time.UnixMilli(5), Origin: schemas.OriginWebhook, OnceID: w.once,
		}, connectors.Verdict{Kind: connectors.Genuine}
	case "ping":
		return connectors.Delivery{}, connectors.Verdict{Kind: connectors.Ping}
	case "doubt":
		return connectors.Delivery{}, connectors.Verdict{Kind: connectors.Unverifiable, Reason: "no certificate"}
	case "panic":
		panic("secret-canary")
	}
	return connectors.Delivery{}, connectors.Verdict{Kind: connectors.Forged, Reason: "signature does not match"}
}

var tillConnector = connectors.Connector{Type: "till", Topic: topic, Normalize: func(d connectors.Delivery) ([]schemas.OrderEvent, error) {
	switch string(d.Body) {
	case "bad":
		return nil, errors.New("amount: not a decimal")
	case "panic":
		panic("index out of range")
	}
	var out []schemas.OrderEvent
	for id := range strings.FieldsSeq(string(d.Body)) {
		out = append(out, schemas.OrderEvent{EventID: id, RootID: id, Environment: d.Environment, Connection: d.Connection, Body: d.Body})
	}
	return out, nil
}}

// shelf is an Appender in memory.
type shelf struct {
	mu     sync.Mutex
	keys   []string
	values [][]byte
	fail   func(n int) error
	calls  int
}

func (s *shelf) Append(_ context.Context, tp, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if tp != topic {
		return errors.New("wrong topic " + tp)
	}
	if s.fail != nil {
		if err := s.fail(s.calls); err != nil {
			return err
		}
	}
	s.keys, s.values = append(s.keys, key), append(s.values, value)
	return nil
}

func (s *shelf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.keys)
}

func encodeJSON(r schemas.Record) ([]byte, error) { return json.Marshal(r) }

func options(a Appender) Options {
	return Options{
		Endpoints: []Endpoint{{Connection: "shop", Token: "t0ken", Connector: tillConnector, Webhook: till{}, Environment: schemas.Live}},
		Appender:  a, Encode: encodeJSON, Log: zerolog.Nop(), BodyBytesMax: 1000,
	}
}

func handler(t testing.TB, o Options) *Handler {
	t.Helper()
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func post(h http.Handler, path, sig, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Sig", sig)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const path = "/webhooks/shop/t0ken"

// TestAnswers: each kind of request gets its status, and only the genuine ones are appended.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name, path, sig, body string
		header                []string
		status, appended      int
		retry                 bool
	}{
		{"genuine", path, "good", "A", nil, 200, 1, false},
		{"ping", path, "ping", "A", nil, 200, 0, false},
		{"a card number", path, "good", cardNote, nil, 200, 1, false},
		{"two records", path, "good", "A B", nil, 200, 2, false},
		{"forged", path, "none", "A", nil, 401, 0, false},
		{"cannot tell now", path, "doubt", "A", nil, 503, 0, true},
		{"not understood", path, "good", "bad", nil, 200, 1, false},
		{"normaliser panics", path, "good", "panic", nil, 200, 1, false},
		{"no record", path, "good", "", nil, 200, 1, false},
		{"verifier panics", path, "panic", "A", nil, 503, 0, true},
		{"oversize", path, "good", strings.Repeat("x", 1001), nil, 413, 0, false},
		{"just fits", path, "good", strings.Repeat("x", 1000), nil, 200, 1, false},
		{"gzip", path, "good", "A", []string{"Content-Encoding", "gzip"}, 415, 0, false},
		{"identity", path, "good", "A", []string{"Content-Encoding", "identity"}, 200, 1, false},
		{"other connection", "/webhooks/other/t0ken", "good", "A", nil, 404, 0, false},
		{"wrong token", "/webhooks/shop/t0kem", "good", "A", nil, 404, 0, false},
		{"no token", "/webhooks/shop", "good", "A", nil, 404, 0, false},
		{"longer path", path + "/x", "good", "A", nil, 404, 0, false},
		{"other path", "/metrics", "good", "A", nil, 404, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &shelf{}
			w := post(handler(t, options(s)), c.path, c.sig, c.body, c.header...)
			if w.Code != c.status || s.count() != c.appended {
				t.Errorf("got %d with %d appended, want %d with %d", w.Code, s.count(), c.status, c.appended)
			}
			if got := w.Header().Get("Retry-After") != ""; got != c.retry {
				t.Errorf("got Retry-After %q, want one: %t", w.Header().Get("Retry-After"), c.retry)
			}
		})
	}
	t.Run("other method", func(t *testing.T) {
		w := httptest.NewRecorder()
		handler(t, options(&shelf{})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != 405 || w.Header().Get("Allow") != "POST" {
			t.Errorf("got %d Allow %q, want 405 POST", w.Code, w.Header().Get("Allow"))
		}
	})
	t.Run("handshake", func(t *testing.T) {
		s := &shelf{}
		h := handler(t, options(s))
		for origin, want := range map[string]int{"shop.example": 200, "": 405} {
			r := httptest.NewRequest(http.MethodOptions, path, nil)
			r.Header.Set("Webhook-Request-Origin", origin)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != want || w.Header().Get("Webhook-Allowed-Origin") != origin || s.count() != 0 {
				t.Errorf("asked from %q: got %d, allowed %q, want %d", origin, w.Code, w.Header().Get("Webhook-Allowed-Origin"), want)
			}
		}
	})
	t.Run("an endpoint without a token takes no longer path", func(t *testing.T) {
		o := options(&shelf{})
		o.Endpoints[0].Token = ""
		h := handler(t, o)
		for p, want := range map[string]int{"/webhooks/shop": 200, "/webhooks/shop/": 404, "/webhooks/shop/x": 404} {
			if got := post(h, p, "good", "A").Code; got != want {
				t.Errorf("%s: got %d, want %d", p, got, want)
			}
		}
	})
}

// TestKeyAndValue: the record is the normalised event, keyed by its root.
func TestKeyAndValue(t *testing.T) {
	s := &shelf{}
	post(handler(t, options(s)), path, "good", "ORDER-1")
	var got schemas.OrderEvent
	if err := json.Unmarshal(s.values[0], &got); err != nil {
		t.Fatal(err)
	}
	if s.keys[0] != "live/shop/ORDER-1" || got.EventID != "ORDER-1" {
		t.Errorf("got key %q of event %q, want live/shop/ORDER-1 of ORDER-1", s.keys[0], got.EventID)
	}
}

// TestNotAppendedIsNotAccepted: whatever the append says but nil, the sender is asked to come again.
func TestNotAppendedIsNotAccepted(t *testing.T) {
	for _, c := range []struct {
		name string
		fail func(int) error
		sent string
	}{
		{"refused", func(int) error { return errors.New("not leader") }, "A"},
		{"unknown result", func(int) error { return ErrUnknownResult }, "A"},
		{"second of two", func(n int) error {
			if n == 2 {
				return ErrUnknownResult
			}
			return nil
		}, "A B"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := post(handler(t, options(&shelf{fail: c.fail})), path, "good", c.sent)
			if w.Code != 503 || w.Header().Get("Retry-After") == "" {
				t.Errorf("got %d Retry-After %q, want 503 with one", w.Code, w.Header().Get("Retry-After"))
			}
		})
	}
}

// TestUnencodable: a record that cannot be encoded is kept in the problem form; a registry that is down is waited for.
func TestUnencodable(t *testing.T) {
	t.Run("record", func(t *testing.T) {
		s := &shelf{}
		o := options(s)
		o.Encode = func(r schemas.Record) ([]byte, error) {
			if e := r.(*schemas.OrderEvent); e.Problem == "" {
				return nil, errors.New("field fingerprint: not a string")
			}
			return encodeJSON(r)
		}
		w := post(handler(t, o), path, "good", "A")
		if w.Code != 200 || s.count() != 1 || s.keys[0] != "live/shop/d1" || !bytes.Contains(s.values[0], []byte("not a string")) {
			t.Errorf("got %d with %q, want 200 with the problem form under the delivery's id", w.Code, s.values)
		}
	})
	t.Run("registry", func(t *testing.T) {
		s := &shelf{}
		o := options(s)
		down := 1
		o.Encode = func(r schemas.Record) ([]byte, error) {
			if down--; down >= 0 {
				return nil, errors.New("registry is down")
			}
			return encodeJSON(r)
		}
		w := post(handler(t, o), path, "good", "A")
		if w.Code != 200 || s.count() != 1 || s.keys[0] != "live/shop/A" {
			t.Errorf("got %d with keys %q, want the event itself once the registry is back", w.Code, s.keys)
		}
		down = 99
		if w := post(handler(t, o), path, "good", "A"); w.Code != 503 || s.count() != 1 {
			t.Errorf("got %d while the registry is down, want 503", w.Code)
		}
	})
}

// TestEvents: what is not understood keeps its bytes, its reason, and is the same for each sending.
func TestEvents(t *testing.T) {
	d := connectors.Delivery{Connection: "shop", Environment: schemas.Live, ID: "d1", Body: []byte("bad"), ReceivedAt: time.UnixMilli(5)}
	got := Events(tillConnector, d, nil)
	if len(got) != 1 || got[0].Kind != schemas.KindOther || got[0].RootID != "d1" || got[0].EventID != "d1" ||
		got[0].Problem != "amount: not a decimal" || string(got[0].Body) != "bad" || got[0].Provider != "till" || len(got[0].BodyHash) != 64 {
		t.Errorf("got %+v, want the problem form", got)
	}
	d.ID = ""
	if got := Events(tillConnector, d, nil); got[0].EventID != got[0].BodyHash || got[0].EventID == "" {
		t.Errorf("got event id %q without a delivery id, want the body's hash", got[0].EventID)
	}
	long := Events(tillConnector, d, errors.New(strings.Repeat("ü", 2000)+"\xff"))[0].Problem
	if len(long) > problemBytesMax || !strings.HasPrefix(long, "its records cannot be encoded: ü") || strings.ToValidUTF8(long, "") != long {
		t.Errorf("got a problem of %d bytes %.40q, want at most %d valid ones", len(long), long, problemBytesMax)
	}
}

// TestBusy: above the bound requests are asked to come again, and room is given back.
func TestBusy(t *testing.T) {
	s := &shelf{}
	o := options(s)
	w := till{entered: make(chan struct{}), release: make(chan struct{})}
	o.Endpoints[0].Webhook, o.ConcurrentMax = w, 2
	h := handler(t, o)
	codes := make(chan int, 2)
	for range 2 {
		go func() { codes <- post(h, path, "good", "A").Code }()
		<-w.entered
	}
	if got := post(h, path, "good", "B"); got.Code != 503 || got.Header().Get("Retry-After") != "1" {
		t.Errorf("got %d Retry-After %q, want 503 and 1", got.Code, got.Header().Get("Retry-After"))
	}
	close(w.release)
	for range 2 {
		if got := <-codes; got != 200 {
			t.Errorf("got %d for a request within the bound, want 200", got)
		}
	}
	go func() { <-w.entered }()
	if got := post(h, path, "good", "C").Code; got != 200 || s.count() != 3 {
		t.Errorf("got %d with %d appended after the rush, want 200 with 3", got, s.count())
	}
	if left := h.held.Load(); left != 0 {
		t.Errorf("got %d bytes still held, want 0", left)
	}
}

// TestConcurrentDuplicates: the same delivery many times at once is accepted each time and appended each time: telling
// duplicates is the stage's work, losing one would be ours.
func TestConcurrentDuplicates(t *testing.T) {
	s := &shelf{}
	h := handler(t, options(s))
	const n = 50
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			if got := post(h, path, "good", "A").Code; got != 200 {
				t.Errorf("got %d, want 200", got)
			}
		})
	}
	group.Wait()
	if s.count() != n {
		t.Errorf("got %d appended, want %d", s.count(), n)
	}
	for _, v := range s.values {
		if !bytes.Equal(v, s.values[0]) {
			t.Fatal("two sendings of one delivery differ")
		}
	}
}

// TestOneLineNoSecrets: a refusal is one line, and neither token, header nor body is in it.
func TestOneLineNoSecrets(t *testing.T) {
	for _, sig := range []string{"forged-canary", "doubt", "panic"} {
		var log bytes.Buffer
		o := options(&shelf{})
		o.Log = zerolog.New(&log)
		post(handler(t, o), path, sig, "body-canary", "Paypal-Transmission-Sig", "sig-canary")
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("%s: got %d lines, want 1: %s", sig, n, &log)
		}
		for _, secret := range []string{"canary", "t0ken"} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("%s: log holds %q: %s", sig, secret, &log)
			}
		}
	}
	t.Run("a flood of refusals is no flood of lines", func(t *testing.T) {
		var log bytes.Buffer
		o := options(&shelf{})
		o.Log, o.Clock = zerolog.New(&log), frozen{Clock: clock.System()}
		h := handler(t, o)
		for range 1000 {
			post(h, path, "doubt", "A")
		}
		if n := strings.Count(log.String(), "\n"); n != logLinesBurst {
			t.Errorf("got %d lines, want %d", n, logLinesBurst)
		}
	})
}

// TestMetrics: every request is counted once, under its connection and outcome.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	o := options(&shelf{})
	o.Registerer = reg
	h := handler(t, o)
	post(h, path, "good", "A")
	post(h, path, "good", "bad")
	post(h, path, "none", "A")
	post(h, "/webhooks/nobody", "none", "A")
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += "/" + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"tillstream_ingest_received_total/shop": 3, "tillstream_ingest_answered_total/shop/accepted": 2,
		"tillstream_ingest_answered_total/shop/forged": 1, "tillstream_ingest_answered_total//unknown_endpoint": 1,
		"tillstream_ingest_problems_total/shop": 1, "tillstream_ingest_bytes_total/shop": 5, "tillstream_ingest_seconds/shop": 3,
	} {
		if got[name] != want {
			t.Errorf("%s: got %v, want %v", name, got[name], want)
		}
	}
}

// TestOptionsRefused: a mistake in the list of endpoints is found at start.
func TestOptionsRefused(t *testing.T) {
	good := options(&shelf{}).Endpoints[0]
	for name, edit := range map[string]func(*Options){
		"no appender":     func(o *Options) { o.Appender = nil },
		"given twice":     func(o *Options) { o.Endpoints = []Endpoint{good, good} },
		"no name":         func(o *Options) { o.Endpoints[0].Connection = "" },
		"slash in name":   func(o *Options) { o.Endpoints[0].Connection = "a/b" },
		"slash in token":  func(o *Options) { o.Endpoints[0].Token = "a/b" },
		"takes none":      func(o *Options) { o.Endpoints[0].Webhook = nil },
		"knows no topic":  func(o *Options) { o.Endpoints[0].Connector.Topic = "" },
		"metrics clash":   func(o *Options) { reg := prometheus.NewRegistry(); o.Registerer = reg; _, _ = newMetrics(reg) },
		"cannot be coded": func(o *Options) { o.Encode = nil },
	} {
		o := options(&shelf{})
		edit(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// FuzzHandler: an accepted request was appended, whole and once; a refused one never.
func FuzzHandler(f *testing.F) {
	f.Add("POST", path, "good", "A", "", false)
	f.Add("POST", path, "good", "bad", "identity", true)
	f.Add("PUT", "/webhooks//", "doubt", "panic", "gzip", false)
	f.Add("POST", "/webhooks/shop/%74", "good", "A\nB C", "br", true)
	f.Fuzz(func(t *testing.T, method, target, sig, body, encoding string, failing bool) {
		s := &shelf{}
		if failing {
			s.fail = func(int) error { return ErrUnknownResult }
		}
		h := handler(t, options(s))
		r, err := http.NewRequest(method, "http://localhost/", io.NopCloser(strings.NewReader(body)))
		if err != nil {
			t.Skip()
		}
		r.URL.Path = target
		r.Header.Set("Sig", sig)
		if encoding != "" {
			r.Header.Set("Content-Encoding", encoding)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		accepted := w.Code >= 200 && w.Code < 300
		if accepted != (s.count() > 0) {
			t.Fatalf("got %d with %d appended", w.Code, s.count())
		}
		if want := max(1, len(strings.Fields(body))); accepted && body != "bad" && body != "panic" && s.count() != want {
			t.Fatalf("got %d appended of %q, want %d", s.count(), body, want)
		}
		if accepted && (sig != "good" || target != path || method != http.MethodPost) {
			t.Fatalf("accepted %s %s signed %q", method, target, sig)
		}
	})
}

// frozen is a clock that stands still; a time-out passes when the test says so.
type frozen struct {
	clock.Clock
	bounds *[]time.Duration
	pass   *context.CancelFunc
}

func (frozen) Now() time.Time { return time.UnixMilli(0) }

func (frozen) Sleep(context.Context, time.Duration) error { return nil }

func (f frozen) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if f.bounds != nil {
		*f.bounds, *f.pass = append(*f.bounds, d), cancel
	}
	return ctx, cancel
}

type appenderFunc func(context.Context) error

func (f appenderFunc) Append(ctx context.Context, _, _ string, _ []byte) error { return f(ctx) }

// A request needs nobody but its own goroutine, and no clock but the one given: a simulator can call the handler.
func TestARequestIsServedInOneGoroutineByTheGivenClock(t *testing.T) {
	var bounds []time.Duration
	var pass context.CancelFunc
	o := options(appenderFunc(func(ctx context.Context) error {
		if _, real := ctx.Deadline(); real {
			t.Error("the append has a deadline by another clock")
		}
		pass()
		return ctx.Err()
	}))
	o.Timeout, o.ConcurrentMax, o.Clock = 3*time.Second, 1, frozen{clock.System(), &bounds, &pass}
	h := handler(t, o)
	for range 3 { // a slot that was not given back would make the second one busy
		if got := post(h, "/webhooks/shop/t0ken", "good", "A").Code; got != http.StatusServiceUnavailable {
			t.Errorf("got %d after the time-out, want 503", got)
		}
	}
	if want := []time.Duration{o.Timeout, o.Timeout, o.Timeout}; !slices.Equal(bounds, want) {
		t.Errorf("time-outs %v were set, want %v", bounds, want)
	}
}
