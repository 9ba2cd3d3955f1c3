package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// slow takes decisions, each once it is let go.
type slow struct {
	clerk
	mu    sync.Mutex
	taken int
	begun chan struct{}
	goOn  chan struct{}
}

func (s *slow) Decide(ctx context.Context, id string, d Decision) (Decided, error) {
	s.mu.Lock()
	s.taken++
	n := s.taken
	s.mu.Unlock()
	if id == "slow" {
		s.begun <- struct{}{}
		<-s.goOn
	}
	if id == "broken" && n == 1 {
		return s.clerk.Decide(ctx, id, d)
	}
	return Decided{WaitID: id, Then: strings.Repeat("x", n)}, nil // each answer is another
}

func keyed(key string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(KeyHeader, key) }
}

func onceServer(t *testing.T) (*httptest.Server, *slow, *time.Time) {
	t.Helper()
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	b, s := NewBoard(nil), &slow{begun: make(chan struct{}), goOn: make(chan struct{})}
	b.now = func() time.Time { return now }
	b.SetAutomation(s)
	srv := httptest.NewServer(b.Handler(prometheus.NewRegistry()))
	t.Cleanup(srv.Close)
	return srv, s, &now
}

func TestAKeyIsAnsweredOnce(t *testing.T) {
	srv, s, now := onceServer(t)
	const at, body, other = "/api/v1/waits/w1/decision", `{"met":true,"by":"ann"}`, `{"met":false,"by":"ann"}`
	code, first := asking(t, srv, "POST", at, body, keyed("k"))
	if code != 202 {
		t.Fatalf("got %d %s", code, first)
	}
	if code, again := asking(t, srv, "POST", at, body, keyed("k")); code != 202 || again != first || s.taken != 1 {
		t.Errorf("the same again: got %d %s after %s, %d decisions", code, again, first, s.taken)
	}
	if code, got := asking(t, srv, "POST", at, other, keyed("k")); code != 422 || !strings.Contains(got, string(CodeKeyReused)) {
		t.Errorf("another body: got %d %s", code, got)
	}
	if code, got := asking(t, srv, "POST", "/api/v1/waits/w2/decision", body, keyed("k")); code != 422 {
		t.Errorf("another address: got %d %s", code, got)
	}
	if code, got := asking(t, srv, "POST", at, body, keyed("k2")); code != 202 || got == first {
		t.Errorf("another key: got %d %s", code, got)
	}
	if code, got := asking(t, srv, "POST", at, body, keyed(strings.Repeat("k", onceBytesMax+1))); code != 400 {
		t.Errorf("a long key: got %d %s", code, got)
	}
	*now = now.Add(onceKept)
	if code, got := asking(t, srv, "POST", at, body, keyed("k")); code != 202 || got == first || s.taken != 3 {
		t.Errorf("a day later: got %d %s, %d decisions", code, got, s.taken)
	}
}

func TestAReplayIsSaid(t *testing.T) {
	srv, _, _ := onceServer(t)
	for _, want := range []string{"", "true"} {
		req, err := http.NewRequest("POST", srv.URL+"/api/v1/waits/w1/decision", strings.NewReader(`{"met":true,"by":"ann"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{ActionHeader: {"test"}, "Content-Type": {"application/json"}, KeyHeader: {"k"}}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.Header.Get(ReplayedHeader) != want || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
			t.Errorf("want replayed %q, got %v", want, resp.Header)
		}
	}
}

// What failed is done when it is sent again; what is not answered yet is not begun twice.
func TestAKeyThatFailedOrIsInFlight(t *testing.T) {
	srv, s, _ := onceServer(t)
	const body = `{"met":true,"by":"ann"}`
	for _, want := range []int{500, 202} {
		if code, got := asking(t, srv, "POST", "/api/v1/waits/broken/decision", body, keyed("b")); code != want {
			t.Errorf("got %d %s, want %d", code, got, want)
		}
	}
	done := make(chan int, 1)
	go func() {
		code, _ := asking(t, srv, "POST", "/api/v1/waits/slow/decision", body, keyed("s"))
		done <- code
	}()
	<-s.begun
	if code, got := asking(t, srv, "POST", "/api/v1/waits/slow/decision", body, keyed("s")); code != 409 || !strings.Contains(got, string(CodeKeyInFlight)) {
		t.Errorf("in flight: got %d %s", code, got)
	}
	close(s.goOn)
	if code := <-done; code != 202 {
		t.Errorf("the first: got %d", code)
	}
}

// Keys are each user's own, and the oldest answers make room.
func TestKeysAreBoundedAndOnesOwn(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	o := &once{now: func() time.Time { return now }, kept: map[onceKey]*given{}}
	for i := range onceMax {
		k := onceKey{"ann", strings.Repeat("k", i+1)}
		if g, p := o.claim(k, [32]byte{1}); g != nil || p != nil {
			t.Fatal(g, p)
		}
		if i%2 == 0 {
			now = now.Add(time.Millisecond)
			o.settle(k, &answered{ResponseWriter: httptest.NewRecorder(), code: 200})
		}
	}
	if g, p := o.claim(onceKey{"bob", "k"}, [32]byte{2}); g != nil || p != nil {
		t.Errorf("ann's key is bob's: %v %v", g, p)
	}
	if len(o.kept) != onceMax || o.kept[onceKey{"ann", "k"}] != nil || o.kept[onceKey{"ann", "kk"}] == nil {
		t.Errorf("%d are kept, and not the oldest answer went", len(o.kept))
	}
}
