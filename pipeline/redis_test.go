package pipeline

import (
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tillstream/tillstream/pipeline/store"
	"github.com/tillstream/tillstream/pipeline/store/redisstore"
)

// The whole engine on Redis, wiped in mid-run and restarted empty, in real time.
func TestOnRedis(t *testing.T) {
	m := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: m.Addr(), MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	w := newWorld(t, 3)
	w.options = func(o *EngineOptions) { o.Store, o.CacheImagesMax = redisstore.New(client), 10 }
	p := w.start("a")
	for round := range 4 {
		w.send(testIn, lines("k# add", 40)...)
		w.send(testIn, "k1 forget", "k2 arm t@1h")
		w.settle(p)
		switch round {
		case 0:
			m.FlushAll()
		case 1:
			m.Close()
			w.send(testIn, "k3 add")
			if err := m.Restart(); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.stop()
	history, states := w.fold()
	want(t, "history", w.history(), history)
	got := map[string]string{}
	for n := range int32(3) {
		id := store.ID{Stage: "tally", Partition: n}
		part := redisstore.New(client).Partition(id)
		c, err := part.Claim(t.Context(), "auditor")
		if err != nil {
			t.Fatal(err)
		}
		for key := range states {
			values, err := part.Read(t.Context(), c.Fence, []string{key})
			if err != nil {
				t.Fatal(err)
			}
			if values[0] != nil {
				env, err := decodeEnvelope(values[0])
				if err != nil {
					t.Fatal(err)
				}
				got[key] = string(env.state)
			}
		}
	}
	want(t, "states in redis", got, states)
}
