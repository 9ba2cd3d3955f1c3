package outbound

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		header string
		want   time.Duration
		ok     bool
	}{
		{"", 0, false},
		{"soon", 0, false},
		{"-1", 0, false},
		{"1.5", 0, false},
		{"0", 0, true},
		{"30", 30 * time.Second, true},
		{" 7 ", 7 * time.Second, true},
		{"315360000", HoldMax, true},
		{"99999999999999999999999", HoldMax, true},
		{"Sun, 01 Mar 2026 12:00:45 GMT", 45 * time.Second, true},
		{"Sun, 01 Mar 2026 11:00:00 GMT", 0, true},
		{"Sun, 01 Mar 2036 12:00:00 GMT", HoldMax, true},
	}
	for _, tt := range tests {
		got, ok := RetryAfter(http.Header{"Retry-After": {tt.header}}, now)
		if got != tt.want || ok != tt.ok {
			t.Errorf("%q: got %v, %t; want %v, %t", tt.header, got, ok, tt.want, tt.ok)
		}
	}
}

func TestLimitsWithAnotherRate(t *testing.T) {
	bulk := []Bucket{{Name: "bulk", Windows: []Window{{100, time.Minute}}}}
	shop := Limits{Windows: []Window{{80, time.Second}, {30_000, 10 * time.Minute}}, Parallel: 10, Buckets: bulk}
	tests := []struct {
		name string
		rate float64
		want Limits
	}{
		{"none chosen", 0, shop},
		{"lifted", -1, Limits{}},
		{"lower", 20, Limits{[]Window{{20, time.Second}, {30_000, 10 * time.Minute}}, 10, bulk}},
		{"one in four seconds", 0.25, Limits{[]Window{{1, 4 * time.Second}, {30_000, 10 * time.Minute}}, 10, bulk}},
		{"five in two seconds", 2.5, Limits{[]Window{{1, 400 * time.Millisecond}, {30_000, 10 * time.Minute}}, 10, bulk}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, shop.WithRate(tt.rate)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

// teller notes what it is told.
type teller struct {
	mu       sync.Mutex
	acquired []string // the bucket of each
	renewed  []bool
	told     []Feedback
	renewErr error
}

func (l *teller) Acquire(ctx context.Context) (Turn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acquired = append(l.acquired, BucketOf(ctx))
	return &told1{l: l}, ctx.Err()
}

type told1 struct {
	l    *teller
	done bool
}

func (t *told1) Renew(_ context.Context, repeated bool) error {
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	t.l.renewed = append(t.l.renewed, repeated)
	return t.l.renewErr
}

func (t *told1) Done(f Feedback) {
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	if !t.done {
		f.Latency = 0
		t.l.told = append(t.l.told, f)
	}
	t.done = true
}

// Each form in which a provider says how long to keep silence, and its own count.
func TestClientTellsTheLimiter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name   string
		status int
		body   string
		header []string
		want   Feedback
	}{
		{"a plain answer", 200, "", nil, Feedback{Status: 200}},
		{"seconds", 429, "", []string{"Retry-After", "7"}, Feedback{Status: 429, Hold: 7 * time.Second}},
		{"a date", 429, "", []string{"Retry-After", "Sun, 01 Mar 2026 12:00:45 GMT"}, Feedback{Status: 429, Hold: 45 * time.Second}},
		{"no time at all", 429, "", nil, Feedback{Status: 429, Hold: time.Second}},
		{"no waiting at all", 429, "", []string{"Retry-After", "0"}, Feedback{Status: 429, Hold: time.Second}},
		{"seconds before the window", 429, `{"context":{"timeToReset":"100 seconds"}}`, []string{"Retry-After", "7", "X-RateLimit-Reset", "9 seconds"}, Feedback{Status: 429, Hold: 7 * time.Second}},
		{
			"the window's end", 429, `{"context":{"timeToReset":"100 seconds"}}`,
			[]string{"X-RateLimit-Limit", "30000", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "267 seconds"},
			Feedback{Status: 429, Hold: 267 * time.Second, Told: Told{30_000, 0, 267 * time.Second}},
		},
		{"the window's end in the body", 429, `{"code":1015,"context":{"currentLimit":30000,"timeToReset":"100 seconds"}}`, nil, Feedback{Status: 429, Hold: 100 * time.Second}},
		{"a point in time", 429, "", []string{"X-RateLimit-Reset", "1772366430"}, Feedback{Status: 429, Hold: 30 * time.Second}},
		{"ten years", 429, "", []string{"X-RateLimit-Reset", "315360000 seconds"}, Feedback{Status: 429, Hold: HoldMax}},
		{"nonsense", 429, `{"context":{"timeToReset":"-3 seconds"}}`, []string{"Retry-After", "soon", "X-RateLimit-Reset", "x"}, Feedback{Status: 429, Hold: time.Second}},
		{"maintenance", 503, "", []string{"Retry-After", "9"}, Feedback{Status: 503, Hold: 9 * time.Second}},
		{"trouble", 503, "", nil, Feedback{Status: 503}},
		{"an account's count", 200, "", []string{"RateLimit-Limit", "5", "RateLimit-Remaining", "3"}, Feedback{Status: 200, Told: Told{Limit: 5, Left: 3}}},
		{"a window's count", 200, "", []string{"X-RateLimit-Limit", "30000", "X-RateLimit-Remaining", "29000", "X-RateLimit-Reset", "267 seconds"}, Feedback{Status: 200, Told: Told{30_000, 29_000, 267 * time.Second}}},
		{"a count that is none", 200, "", []string{"X-RateLimit-Limit", "many", "X-RateLimit-Remaining", "-4"}, Feedback{Status: 200}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for i := 0; i < len(tt.header); i += 2 {
					w.Header().Set(tt.header[i], tt.header[i+1])
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer server.Close()
			l := &teller{}
			client := newTestClient(t, Options{Limiter: l, Now: func() time.Time { return now }})
			resp, err := client.Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			if ended := len(l.told) == 1; ended != (tt.want.Hold > 0) {
				t.Errorf("told before the body was read: %t, want only what holds all", ended)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || string(body) != tt.body {
				t.Errorf("got body %q, %v; want it whole: %q", body, err, tt.body)
			}
			if diff := cmp.Diff([]Feedback{tt.want}, l.told); diff != "" {
				t.Error(diff)
			}
			if len(l.acquired) != 1 || !slices.Equal(l.renewed, []bool{false}) {
				t.Errorf("got %d turns, renewed %v; want one, looked at once before it was written", len(l.acquired), l.renewed)
			}
		})
	}
}

func TestBucketsReachTheLimiter(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	l := &teller{}
	client := newTestClient(t, Options{Limiter: l})
	for _, ctx := range []context.Context{t.Context(), InBucket(t.Context(), "bulk"), Uncounted(t.Context())} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if want := []string{"", "bulk"}; !slices.Equal(l.acquired, want) || len(l.told) != 2 {
		t.Errorf("got turns in %q and %d ends, want %q and both", l.acquired, len(l.told), want)
	}
}

// A turn that cannot be renewed is not used: nothing arrives.
func TestWhatCannotBeRenewedIsNotSent(t *testing.T) {
	var arrived atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived.Add(1) }))
	defer server.Close()
	gone := errors.New("redis is gone")
	l := &teller{renewErr: gone}
	client := newTestClient(t, Options{Limiter: l})
	_, err := client.Post(server.URL, "text/plain", strings.NewReader("x"))
	if !errors.Is(err, gone) || Classify(nil, err) != Retryable {
		t.Errorf("got %v, of kind %s; want the limiter's error, which may be tried again", err, Classify(nil, err))
	}
	if n := arrived.Load(); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
	if len(l.told) != 1 {
		t.Errorf("the turn ended %d times", len(l.told))
	}
}

// net/http repeats a GET by itself on a connection that the server has closed meanwhile. To the provider these may be two.
func TestARepetitionTakesATurnOfItsOwn(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for first := true; ; first = false {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4<<10)
			_, _ = conn.Read(buf)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			if first {
				_, _ = conn.Read(buf) // the second request comes in, and is never answered
				_ = conn.Close()
			}
		}
	}()
	l := &teller{}
	client := newTestClient(t, Options{Limiter: l})
	for range 2 {
		resp, err := client.Get("http://" + listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if want := []bool{false, false, true}; !slices.Equal(l.renewed, want) {
		t.Errorf("renewed %v, want %v: the repetition says that it is one", l.renewed, want)
	}
}

// A turn that does not age is not renewed, and told of the answer like any other.
func TestTimelessTurn(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }))
	defer srv.Close()
	l := &timeless{}
	c, err := NewClient(Options{AllowPrivate: true, Limiter: l})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if _, err := c.Get("http://127.0.0.1:1"); err == nil {
		t.Error("nobody listens there, and it answered")
	}
	if diff := cmp.Diff([]Feedback{{Status: 429, Hold: time.Second}, {}}, l.told); diff != "" || len(l.renewed) > 0 {
		t.Errorf("renewed %v, told (-want +got):\n%s", l.renewed, diff)
	}
}

type timeless struct{ teller }

// Acquire implements Limiter.
func (l *timeless) Acquire(context.Context) (Turn, error) {
	return timelessTurn{&told1{l: &l.teller}}, nil
}

type timelessTurn struct{ *told1 }

// Timeless implements Timeless.
func (timelessTurn) Timeless() {}
