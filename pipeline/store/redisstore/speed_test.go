package redisstore_test

import (
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tillstream/tillstream/pipeline/store"
	"github.com/tillstream/tillstream/pipeline/store/redisstore"
)

// BenchmarkApply writes images of 200 bytes, every other with a deadline, a thousand at a time, into a real Redis.
func BenchmarkApply(b *testing.B) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		b.Skip("no redis-server on this machine")
	}
	client := redis.NewClient(&redis.Options{Addr: startRedis(b, binary), Protocol: 2})
	defer client.Close()
	p := redisstore.New(client).Partition(store.ID{Stage: "bench"})
	if _, err := p.Claim(b.Context(), "o"); err != nil {
		b.Fatal(err)
	}
	f, err := p.Rebuild(b.Context(), store.Fence{Owner: "o"}, "chg", 0)
	if err == nil {
		f, err = p.Switch(b.Context(), f)
	}
	if err != nil {
		b.Fatal(err)
	}
	images := make([]store.Image, store.MaxImages)
	value := make([]byte, 200)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		for i := range images {
			images[i] = store.Image{Key: fmt.Sprintf("LIVE/shop/order-%010d", n), Value: value}
			if n%2 == 0 {
				images[i].Deadline = 1_700_000_000_000 + int64(n)
			}
			n++
		}
		if f, err = p.Apply(b.Context(), f, store.Batch{To: f.Applied + 1, Images: images, Meta: []byte("{}"), At: time.UnixMilli(1)}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/image")
}
