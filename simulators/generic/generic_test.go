package generic

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// post is one attempt as a receiver saw it.
type post struct {
	id, timestamp, signature, contentType string
	header                                http.Header
	body                                  []byte
}

// receiver answers with what next says, and 200 after that.
type receiver struct {
	mu    sync.Mutex
	next  []func(http.ResponseWriter)
	posts []post
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.posts = append(r.posts, post{
		req.Header.Get("webhook-id"), req.Header.Get("webhook-timestamp"), req.Header.Get("webhook-signature"), req.Header.Get("Content-Type"), req.Header, body,
	})
	if len(r.next) > 0 {
		r.next[0](w)
		r.next = r.next[1:]
	}
}

func status(code int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { w.WriteHeader(code) }
}

func shop(t *testing.T, o Options, answers ...func(http.ResponseWriter)) (*Server, *receiver) {
	t.Helper()
	r := &receiver{next: answers}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	o.WebhookURL, o.Log, o.Seed = server.URL, zerolog.Nop(), 1
	if o.Secrets == nil {
		o.Secrets = []string{secret}
	}
	if o.Scale == 0 {
		o.Scale = 1e6
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, r
}

func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func place(ctx context.Context, t *testing.T, s *Server) string {
	t.Helper()
	id, err := s.Place(ctx, simulators.Order{Email: "a@example.com", Total: "10.00", Currency: "EUR", Product: "Belt"})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func settled(ctx context.Context, t *testing.T, s *Server, accepted, lost int) {
	t.Helper()
	if err := s.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if a, l := s.Sent(); a != accepted || l != lost {
		t.Errorf("got %d accepted and %d lost, want %d and %d", a, l, accepted, lost)
	}
}

// TestASendingAgainKeepsIDAndBody and renews the time: the signature is another one.
func TestASendingAgainKeepsIDAndBody(t *testing.T) {
	ctx, now := limited(t), time.Unix(1_700_000_000, 0)
	var mu sync.Mutex
	s, r := shop(t, Options{Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Second)
		return now
	}}, status(500), status(302))
	place(ctx, t, s)
	settled(ctx, t, s, 1, 0)
	if len(r.posts) != 3 {
		t.Fatalf("got %d attempts, want 3", len(r.posts))
	}
	for i, p := range r.posts[1:] {
		first := r.posts[0]
		if p.id != first.id || !bytes.Equal(p.body, first.body) || p.timestamp == r.posts[i].timestamp || p.signature == r.posts[i].signature {
			t.Errorf("attempt %d: got %s at %s, want the id and body of the first with a time of its own", i+2, p.id, p.timestamp)
		}
	}
}

// TestGivingUp after the whole schedule.
func TestGivingUp(t *testing.T) {
	ctx := limited(t)
	var bad []func(http.ResponseWriter)
	for range schedule {
		bad = append(bad, status(503))
	}
	s, r := shop(t, Options{Scale: 1e9}, bad...)
	place(ctx, t, s)
	settled(ctx, t, s, 0, 1)
	if len(r.posts) != len(schedule) {
		t.Errorf("got %d attempts, want %d", len(r.posts), len(schedule))
	}
}

// TestGone switches everything off until the address is set again.
func TestGone(t *testing.T) {
	ctx := limited(t)
	s, r := shop(t, Options{Parallel: 1}, status(410))
	id := place(ctx, t, s)
	settled(ctx, t, s, 0, 1)
	if err := s.Pay(ctx, id); err != nil {
		t.Fatal(err)
	}
	settled(ctx, t, s, 0, 2)
	if !s.Status().Disabled || len(r.posts) != 1 {
		t.Errorf("got %+v after %d attempts, want it switched off after one", s.Status(), len(r.posts))
	}
	s.SetWebhook(s.Status().Webhook)
	if err := s.Refund(ctx, id, "1"); err != nil {
		t.Fatal(err)
	}
	settled(ctx, t, s, 1, 2)
}

// TestSlowingDown: what the receiver asks for holds for every message.
func TestSlowingDown(t *testing.T) {
	ctx := limited(t)
	s, r := shop(t, Options{Parallel: 1, Scale: 10_000}, func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", "3000")
		w.WriteHeader(429)
	})
	began := time.Now()
	place(ctx, t, s)
	place(ctx, t, s)
	settled(ctx, t, s, 2, 0)
	// The first attempt is answered at once; both messages are then left alone for 3000 s, which are 0.3 s here.
	if took := time.Since(began); took < 290*time.Millisecond || len(r.posts) != 3 {
		t.Errorf("got %d attempts within %v, want 3 after a rest", len(r.posts), took)
	}
}

func TestEnvelopes(t *testing.T) {
	for envelope, c := range map[Envelope]struct{ contentType, path string }{
		Plain:      {"application/json", "data.order_id"},
		Structured: {"application/cloudevents+json; charset=utf-8", "data.order_id"},
		Batch:      {"application/cloudevents-batch+json", "0.data.order_id"},
		Binary:     {"application/json", "order_id"},
	} {
		t.Run(string(envelope), func(t *testing.T) {
			ctx := limited(t)
			s, r := shop(t, Options{Envelope: envelope})
			id := place(ctx, t, s)
			if err := s.Wait(ctx); err != nil {
				t.Fatal(err)
			}
			got := r.posts[0]
			if got.contentType != c.contentType || strings.ContainsRune(got.id, '.') {
				t.Errorf("got %q under id %q, want %q", got.contentType, got.id, c.contentType)
			}
			var v any
			if err := json.Unmarshal(got.body, &v); err != nil {
				t.Fatal(err)
			}
			for step := range strings.SplitSeq(c.path, ".") {
				if n, err := strconv.Atoi(step); err == nil {
					v = v.([]any)[n]
				} else {
					v = v.(map[string]any)[step]
				}
			}
			if v != id {
				t.Errorf("got order %v, want %s", v, id)
			}
			if binary := got.header.Get("ce-id") != ""; binary != (envelope == Binary) {
				t.Errorf("got ce-id %q", got.header.Get("ce-id"))
			}
		})
	}
}

// TestBatchesFill: a batch goes when it is full, and what is left when nobody adds to it.
func TestBatchesFill(t *testing.T) {
	ctx := limited(t)
	s, r := shop(t, Options{Envelope: Batch, BatchEvents: 2})
	for range 5 {
		place(ctx, t, s)
	}
	settled(ctx, t, s, 3, 0)
	events := 0
	for _, p := range r.posts {
		var list []any
		if err := json.Unmarshal(p.body, &list); err != nil || len(list) > 2 {
			t.Errorf("got %d events in a batch, %v", len(list), err)
		}
		events += len(list)
	}
	if events != 5 {
		t.Errorf("got %d events, want 5", events)
	}
}

func TestFaults(t *testing.T) {
	ctx := limited(t)
	s, r := shop(t, Options{Faults: Faults{DuplicateRate: 1, DisorderRate: .5}})
	for range 10 {
		place(ctx, t, s)
	}
	settled(ctx, t, s, 20, 0)
	ids := map[string]int{}
	for _, p := range r.posts {
		ids[p.id]++
	}
	for id, n := range ids {
		if n != 2 {
			t.Errorf("%s: sent %d times, want 2", id, n)
		}
	}
	s.Withhold(1)
	place(ctx, t, s)
	settled(ctx, t, s, 20, 1)
}

// TestHandshakeRefused: nothing is sent to a receiver that does not answer the question.
func TestHandshakeRefused(t *testing.T) {
	ctx := limited(t)
	s, r := shop(t, Options{Handshake: true, Scale: 1e9})
	place(ctx, t, s)
	settled(ctx, t, s, 0, 1)
	for _, p := range r.posts {
		if p.id != "" {
			t.Errorf("%s was sent without permission", p.id)
		}
	}
}

func TestSteps(t *testing.T) {
	ctx := limited(t)
	s, _ := shop(t, Options{})
	id := place(ctx, t, s)
	for _, c := range []struct {
		what string
		err  error
		bad  bool
		want schemas.PaymentStatus
	}{
		{"refund before payment", s.Refund(ctx, id, "1"), true, ""},
		{"fail", s.Fail(ctx, id), false, ""},
		{"fail again", s.Fail(ctx, id), true, ""},
		{"pay", s.Pay(ctx, id), false, ""},
		{"cancel what is paid", s.Cancel(ctx, id), true, ""},
		{"refund a part", s.Refund(ctx, id, "4.00"), false, ""},
		{"refund too much", s.Refund(ctx, id, "6.01"), true, ""},
		{"refund no money", s.Refund(ctx, id, "x"), true, ""},
		{"refund the rest", s.Refund(ctx, id, "6"), false, ""},
		{"pay nobody's", s.Pay(ctx, "1"), true, ""},
	} {
		if (c.err != nil) != c.bad {
			t.Errorf("%s: got %v", c.what, c.err)
		}
	}
	if got := s.Orders()[0]; got.Status != schemas.StatusRefunded || got.RawStatus != "refunded" || got.Refunded != "10.00" {
		t.Errorf("got %+v", got)
	}
	settled(ctx, t, s, 5, 0)
}

// TestTill plays over HTTP.
func TestTill(t *testing.T) {
	ctx := limited(t)
	s, _ := shop(t, Options{OwnWords: true})
	till := httptest.NewServer(s.Handler())
	defer till.Close()
	call := func(method, path, body string, want int) string {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, method, till.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != want {
			t.Fatalf("%s %s: got %d %s, want %d", method, path, resp.StatusCode, text, want)
		}
		return string(text)
	}
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(call("POST", "/_simulator/orders", `{"email":"a@example.com","total":"5","currency":"EUR"}`, 201)), &made); err != nil {
		t.Fatal(err)
	}
	call("POST", "/_simulator/orders", `{"total":"five"}`, 422)
	call("POST", "/_simulator/orders", `{`, 400)
	call("POST", fmt.Sprintf("/_simulator/orders/%s/pay", made.ID), "", 200)
	call("POST", fmt.Sprintf("/_simulator/orders/%s/pay", made.ID), "", 422)
	call("POST", fmt.Sprintf("/_simulator/orders/%s/eat", made.ID), "", 404)
	call("POST", fmt.Sprintf("/_simulator/orders/%s/refund", made.ID), `{"amount":"2"}`, 200)
	settled(ctx, t, s, 3, 0)
	if got := call("GET", "/_simulator/orders", "", 200); !strings.Contains(got, `"RawStatus":"teilweise erstattet"`) {
		t.Errorf("got %s", got)
	}
	call("PUT", "/_simulator/webhook", `{"url":"http://127.0.0.1:1/x"}`, 200)
	if got := call("GET", "/_simulator/status", "", 200); !strings.Contains(got, `"webhook":"http://127.0.0.1:1/x"`) || !strings.Contains(got, `"accepted":3`) {
		t.Errorf("got %s", got)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, o := range []Options{{}, {Secrets: []string{"whsec_?"}}, {Secrets: []string{secret}, Envelope: "xml"}} {
		if s, err := New(o); err == nil {
			s.Close()
			t.Errorf("%+v: accepted", o)
		}
	}
}

// TestRun serves until its context ends.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(limited(t))
	ended := make(chan error, 1)
	ready := make(chan string, 1)
	go func() {
		ended <- Run(ctx, Options{Secrets: []string{secret}, Log: zerolog.Nop()}, "127.0.0.1:0", func(url string) { ready <- url })
	}()
	resp, err := http.Get(<-ready + "/_simulator/status")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	cancel()
	if err := <-ended; err != nil || resp.StatusCode != 200 {
		t.Errorf("got %d, then %v", resp.StatusCode, err)
	}
}
