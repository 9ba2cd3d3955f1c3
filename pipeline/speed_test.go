package pipeline

import (
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/store/redisstore"
	"github.com/tillstream/tillstream/schemas"
)

// BenchmarkEngine is a backlog of records of 5,000 keys, on kfake and miniredis in this process.
func BenchmarkEngine(b *testing.B) {
	const backlog = 50_000 // records, so that the start of the engine does not count
	var working time.Duration
	for range b.N {
		m := miniredis.RunT(b)
		client := redis.NewClient(&redis.Options{Addr: m.Addr(), MaxRetries: -1})
		w := newWorld(b, 4)
		w.options = func(o *EngineOptions) { o.Store = redisstore.New(client) }
		rs := make([]*kgo.Record, backlog)
		for i := range rs {
			value, err := w.codec.Encode(&schemas.OrderEvent{EventID: fmt.Sprint(i), EventType: "add"})
			if err != nil {
				b.Fatal(err)
			}
			rs[i] = &kgo.Record{Topic: testIn, Key: fmt.Appendf(nil, "key-%d", i%5000), Value: value}
		}
		if err := w.side.ProduceSync(b.Context(), rs...).FirstErr(); err != nil {
			b.Fatal(err)
		}
		started := time.Now()
		p := w.start("a")
		w.settle(p)
		working += time.Since(started)
		p.stop()
		client.Close()
	}
	b.ReportMetric(float64(backlog)*float64(b.N)/working.Seconds(), "records/s")
}
