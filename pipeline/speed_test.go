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
	m := miniredis.RunT(b)
	client := redis.NewClient(&redis.Options{Addr: m.Addr(), MaxRetries: -1})
	defer client.Close()
	w := newWorld(b, 4)
	w.options = func(o *EngineOptions) { o.Store = redisstore.New(client) }
	var rs []*kgo.Record
	for i := range b.N {
		value, err := w.codec.Encode(&schemas.OrderEvent{EventID: fmt.Sprint(i), EventType: "add"})
		if err != nil {
			b.Fatal(err)
		}
		rs = append(rs, &kgo.Record{Topic: testIn, Key: fmt.Appendf(nil, "key-%d", i%5000), Value: value})
	}
	if err := w.side.ProduceSync(b.Context(), rs...).FirstErr(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	started := time.Now()
	p := w.start("a")
	w.settle(p)
	b.ReportMetric(float64(b.N)/time.Since(started).Seconds(), "records/s")
	p.stop()
}
