package outbound

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestWindowLimiterHoldsEverySecond(t *testing.T) {
	for _, rate := range []float64{1, 2, 5, 10, 20} {
		synctest.Test(t, func(t *testing.T) {
			l := NewWindowLimiter(rate, time.Now)
			start := time.Now()
			var mu sync.Mutex
			var left []time.Time
			var wg sync.WaitGroup
			const n = 60
			for range n {
				wg.Go(func() {
					if err := l.Wait(context.Background()); err != nil {
						t.Error(err)
					}
					mu.Lock()
					left = append(left, time.Now())
					mu.Unlock()
				})
			}
			wg.Wait()
			slices.SortFunc(left, time.Time.Compare)
			for i := range left {
				j := i
				for j < n && left[j].Sub(left[i]) <= time.Second {
					j++
				}
				if float64(j-i) > rate {
					t.Fatalf("rate %v: %d requests within a second of %v", rate, j-i, left[i].Sub(start))
				}
			}
			want := time.Duration((n - 1) * slack / rate * float64(time.Second))
			if got := left[n-1].Sub(start); got < want-time.Millisecond || got > want+time.Millisecond {
				t.Errorf("rate %v: %d requests took %v, want %v", rate, n, got, want)
			}
		})
	}
}

func TestWindowLimiterHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		l := NewWindowLimiter(0, time.Now)
		start := time.Now()
		l.Hold(ctx, 3*time.Second)
		l.Hold(ctx, time.Second) // a shorter one takes nothing back
		go func() {
			time.Sleep(2 * time.Second)
			l.Hold(ctx, 10*time.Second) // reaches also those that wait already
		}()
		if err := l.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		if got, want := time.Since(start), 12*time.Second; got != want {
			t.Errorf("got %v, want %v", got, want)
		}
		l.Hold(ctx, 10*365*24*time.Hour)
		start = time.Now()
		if err := l.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start); got != HoldMax {
			t.Errorf("ten years: got %v, want %v", got, HoldMax)
		}
		l.Hold(ctx, time.Hour)
		short, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if err := l.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
	})
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

// held notes what it is told.
type held struct {
	waits int
	holds []time.Duration
}

func (h *held) Wait(context.Context) error              { h.waits++; return nil }
func (h *held) Hold(_ context.Context, d time.Duration) { h.holds = append(h.holds, d) }

func TestClientTellsTheLimiter(t *testing.T) {
	answers := []func(w http.ResponseWriter){
		func(w http.ResponseWriter) { w.WriteHeader(200) },
		func(w http.ResponseWriter) { w.Header().Set("Retry-After", "7"); w.WriteHeader(429) },
		func(w http.ResponseWriter) { w.WriteHeader(429) },
		func(w http.ResponseWriter) { w.Header().Set("Retry-After", "9"); w.WriteHeader(503) },
		func(w http.ResponseWriter) { w.WriteHeader(503) },
	}
	i := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answers[i](w); i++ }))
	defer server.Close()
	h := &held{}
	client := newTestClient(t, Options{Limiter: h})
	for range answers {
		resp, err := client.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	want := []time.Duration{7 * time.Second, time.Second, 9 * time.Second}
	if h.waits != len(answers) || !slices.Equal(h.holds, want) {
		t.Errorf("got %d waits and holds %v, want %d and %v", h.waits, h.holds, len(answers), want)
	}
}
