package limits

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tillstream/tillstream/outbound"
)

// BenchmarkUnlimited compares a client without a limiter with one of an account without limits: holds are heard of beside
// the requests, so the two should be alike.
func BenchmarkUnlimited(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }))
	defer srv.Close()
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(b).Addr()})
	defer client.Close()
	book := New(Options{Redis: client, Instance: "one", Now: time.Now})
	for _, tt := range []struct {
		name    string
		limiter outbound.Limiter
	}{{"without", nil}, {"holds only", book.Use("crm", "destination one", outbound.Limits{})}} {
		b.Run(tt.name, func(b *testing.B) {
			hc, err := outbound.NewClient(outbound.Options{AllowPrivate: true, Limiter: tt.limiter})
			if err != nil {
				b.Fatal(err)
			}
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					resp, err := hc.Get(srv.URL)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

// BenchmarkTurn is what a turn costs that is granted at once: of an account without limits, and of one with.
func BenchmarkTurn(b *testing.B) {
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(b).Addr()})
	defer client.Close()
	book := New(Options{Redis: client, Instance: "one", Now: time.Now})
	for name, l := range map[string]outbound.Limits{"holds only": {}, "limited": {Windows: []outbound.Window{{Requests: 1_000_000_000, Per: time.Second}}}} {
		b.Run(name, func(b *testing.B) {
			limiter := book.Use(name, "destination one", l)
			turn := func() {
				turn, err := limiter.Acquire(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				turn.Done(outbound.Feedback{Status: 200, Latency: time.Millisecond})
			}
			turn() // a second passes before the first
			for b.Loop() {
				turn()
			}
		})
	}
}
