package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/all"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// shelf is an Appender in memory.
type shelf struct {
	topics []string
	values [][]byte
}

func (s *shelf) Append(_ context.Context, topic, _ string, value []byte) error {
	s.topics, s.values = append(s.topics, topic), append(s.values, value)
	return nil
}

// nowhere is an Appender that keeps nothing.
type nowhere struct{}

func (nowhere) Append(context.Context, string, string, []byte) error { return nil }

// receiver is Tillstream's handler for s, with the real source.
func receiver(t testing.TB, s source, given setup, to ingest.Appender) http.Handler {
	t.Helper()
	cfg := s.config(given)
	if v, ok := cfg.(connectors.Validator); ok {
		for _, f := range v.Validate() {
			t.Fatalf("the driver's configuration: %+v", f)
		}
	}
	c, err := s.connectorOf(cfg)
	if err != nil {
		t.Fatal(err)
	}
	client, err := outbound.NewClient(outbound.Options{AllowPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	src, err := c.Open(t.Context(), cfg, connectors.Env{
		Connection: connection, Environment: schemas.Sandbox, Now: time.Now, Log: zerolog.Nop(), HTTP: client, PublicURL: "https://hooks.example.com" + webhookPath,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	h, err := ingest.New(ingest.Options{
		Endpoints: []ingest.Endpoint{{Connection: connection, Connector: c, Webhook: src.(connectors.Webhooker), Environment: schemas.Sandbox}},
		Appender:  to, Encode: codec.NewLocal().Encode, Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func prepared(t testing.TB, s source) setup {
	t.Helper()
	given, end, err := s.prepare(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	return given
}

func request(t testing.TB, s source, given setup, n int) (http.Header, []byte) {
	t.Helper()
	body := s.body(n)
	h, err := s.sign(given, body, n, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	return h, body
}

func send(h http.Handler, method string, header http.Header, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, webhookPath, bytes.NewReader(body))
	r.Header = header.Clone()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestEveryConnectorHasADriver: none is left out of the bench.
func TestEveryConnectorHasADriver(t *testing.T) {
	got, err := chosen("")
	if err != nil {
		t.Fatal(err)
	}
	if want := len(all.Connectors().All()); len(got) > want || len(got) < want-len(pollOnly) {
		t.Errorf("got %d drivers for %d connectors", len(got), want)
	}
	for _, name := range pollOnly {
		if _, ok := find(name); ok {
			t.Errorf("%s receives nothing and has a driver", name)
		}
	}
}

// TestAnswersOfEverySource holds each source, behind the real handler, to the answers of package ingest.
func TestAnswersOfEverySource(t *testing.T) {
	list, err := chosen("")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		t.Run(s.connector, func(t *testing.T) {
			given, kept := prepared(t, s), &shelf{}
			h := receiver(t, s, given, kept)
			c, _ := all.Connectors().Get(s.connector)
			header, body := request(t, s, given, 1)
			if got := send(h, http.MethodPost, header, body); got.Code != 200 || len(kept.values) == 0 {
				t.Fatalf("genuine: got %d with %d kept, want 200", got.Code, len(kept.values))
			}
			for i, v := range kept.values {
				rec, err := codec.NewLocal().Decode(v)
				if err != nil {
					t.Fatal(err)
				}
				e := rec.(*schemas.OrderEvent)
				if !bytes.Contains(body, e.Body) || len(e.Body) == 0 || e.Problem != "" || e.Provider != s.connector || kept.topics[i] != c.Topic || e.Status == schemas.StatusUnknown {
					t.Errorf("got %s of %s, status %s, problem %q, body kept %t, on %s", e.EventID, e.Provider, e.Status, e.Problem, bytes.Contains(body, e.Body), kept.topics[i])
				}
			}
			n := len(kept.values)
			if got := send(h, http.MethodPost, header, body); got.Code != 200 || !bytes.Equal(kept.values[0], kept.values[n]) && s.connector == "" {
				t.Errorf("sent again: got %d, want 200", got.Code)
			}
			kept.values = nil
			refused(t, h, header, body)
			if len(kept.values) != 0 {
				t.Errorf("%d records of what was refused", len(kept.values))
			}
		})
	}
}

// refused sends what must not be kept.
func refused(t *testing.T, h http.Handler, header http.Header, body []byte) {
	t.Helper()
	changed := bytes.Clone(body)
	at := bytes.LastIndexAny(changed, "0123456789")
	changed[at] = '0' + (changed[at]-'0'+1)%10
	with := func(name, value string) http.Header {
		h := header.Clone()
		h.Set(name, value)
		return h
	}
	for _, c := range []struct {
		what   string
		method string
		header http.Header
		body   []byte
		want   []int
	}{
		{"a changed digit", http.MethodPost, header, changed, []int{401}},
		{"no headers", http.MethodPost, http.Header{}, body, []int{401}},
		{"no body", http.MethodPost, header, nil, []int{401}},
		{"compressed", http.MethodPost, with("Content-Encoding", "gzip"), body, []int{415}},
		{"too large", http.MethodPost, header, bytes.Repeat([]byte(" "), 2<<20), []int{413}},
		{"GET", http.MethodGet, header, body, []int{405}},
		{"OPTIONS without an origin", http.MethodOptions, http.Header{}, nil, []int{405}},
	} {
		if got := send(h, c.method, c.header, c.body).Code; !slices.Contains(c.want, got) {
			t.Errorf("%s: got %d, want %v", c.what, got, c.want)
		}
	}
}

// TestBareChecks: the bare program lets the genuine in and no other: else the bench would compare with nothing.
func TestBareChecks(t *testing.T) {
	list, err := chosen("")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		given := prepared(t, s)
		check, err := s.check(given)
		if err != nil {
			t.Fatal(err)
		}
		header, body := request(t, s, given, 7)
		if len(body) < bodyBytes*9/10 || len(body) > bodyBytes*11/10 {
			t.Errorf("%s: bodies of %d bytes, want about %d", s.name, len(body), bodyBytes)
		}
		other := bytes.Clone(body)
		other[len(other)/2] ^= 1
		if !check(header, body) || check(header, other) || check(http.Header{}, body) {
			t.Errorf("%s: the bare check lets in %t, and forged ones %t %t", s.name, check(header, body), check(header, other), check(http.Header{}, body))
		}
		if again := s.body(8); bytes.Equal(again, body) || strings.Contains(string(body), "{PAD}") {
			t.Errorf("%s: webhooks 7 and 8 are the same, or the template is not filled", s.name)
		}
	}
}

// BenchmarkReceiver is one webhook through the handler, without network and Kafka.
func BenchmarkReceiver(b *testing.B) {
	list, err := chosen("")
	if err != nil {
		b.Fatal(err)
	}
	for _, s := range list {
		given := prepared(b, s)
		h := receiver(b, s, given, nowhere{})
		header, body := request(b, s, given, 1)
		r := httptest.NewRequest(http.MethodPost, webhookPath, nil)
		r.Header, r.ContentLength = header, int64(len(body))
		b.Run(s.connector, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Body = io.NopCloser(bytes.NewReader(body))
				w := httptest.NewRecorder()
				if h.ServeHTTP(w, r); w.Code != 200 {
					b.Fatal(w.Code)
				}
			}
		})
	}
}
