package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tillstream/tillstream/pipeline/store"
	"github.com/tillstream/tillstream/pipeline/store/redisstore"
	"github.com/tillstream/tillstream/pipeline/store/storetest"
)

func TestMiniredis(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		m := miniredis.RunT(t)
		h := harness(t, m.Addr())
		h.Down = func(down bool) {
			if down {
				m.SetError("LOADING the dataset")
			} else {
				m.SetError("")
			}
		}
		return h
	})
}

func TestRealRedis(t *testing.T) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("no redis-server on this machine (Debian package redis-server): only the embedded Redis was tested")
	}
	addr := startRedis(t, binary)
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		h := harness(t, addr)
		h.Wipe()
		return h
	})
}

// Redis that evicts, or a hand that deletes, may take one of a partition's keys and leave the others.
func TestLossOfASingleKeyIsSeen(t *testing.T) {
	for _, lost := range []string{"images", "timers"} {
		t.Run(lost, func(t *testing.T) {
			m := miniredis.RunT(t)
			client := redis.NewClient(&redis.Options{Addr: m.Addr(), MaxRetries: -1})
			t.Cleanup(func() { client.Close() })
			p := redisstore.New(client).Partition(store.ID{Stage: "s"})
			if _, err := p.Claim(t.Context(), "o"); err != nil {
				t.Fatal(err)
			}
			f, err := p.Rebuild(t.Context(), store.Fence{Owner: "o"}, "chg", 0)
			if err == nil {
				f, err = p.Apply(t.Context(), f, store.Batch{To: 2, Images: []store.Image{{Key: "a", Value: []byte("1"), Deadline: 5}, {Key: "b", Value: []byte("1")}}, At: time.Now()})
			}
			if err == nil {
				f, err = p.Switch(t.Context(), f)
			}
			if err == nil {
				f, err = p.Apply(t.Context(), f, store.Batch{To: 4, Images: []store.Image{{Key: "b"}}, At: time.Now()})
			}
			if err == nil {
				_, err = p.Read(t.Context(), f, []string{"a"})
			}
			if err != nil {
				t.Fatal(err)
			}
			if n, err := client.Del(t.Context(), fmt.Sprintf("{s:0}:g%d:%s", f.Generation, lost)).Result(); n != 1 || err != nil {
				t.Fatalf("DEL: %d, %v", n, err)
			}
			if _, err := p.Read(t.Context(), f, []string{"a"}); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("Read: got %v, want ErrCorrupt", err)
			}
			if _, err := p.Apply(t.Context(), f, store.Batch{To: 6, At: time.Now()}); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("Apply: got %v, want ErrCorrupt", err)
			}
			if f, err = p.Rebuild(t.Context(), f, "chg", 0); err == nil {
				_, err = p.Apply(t.Context(), f, store.Batch{To: 2, Images: []store.Image{{Key: "a", Value: []byte("1")}}, At: time.Now()})
			}
			if err != nil {
				t.Errorf("the rebuild: %v", err)
			}
		})
	}
}

func startRedis(t testing.TB, binary string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	cmd := exec.Command(binary, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	c := redis.NewClient(&redis.Options{Addr: addr})
	defer c.Close()
	for deadline := time.Now().Add(20 * time.Second); c.Ping(t.Context()).Err() != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("redis-server did not answer within 20 s")
		}
	}
	return addr
}

func harness(t *testing.T, addr string) storetest.Harness {
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	return storetest.Harness{
		Open: func() store.Store {
			c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
			t.Cleanup(func() { c.Close() })
			return redisstore.New(c)
		},
		Wipe:     func() { must(t, client.FlushAll(t.Context()).Err()) },
		Snapshot: func() func() { return snapshot(t, client) },
		Spoil: func(id store.ID) {
			for _, k := range client.Keys(t.Context(), "*").Val() {
				if strings.HasSuffix(k, ":images") {
					must(t, client.Del(t.Context(), k).Err())
					must(t, client.Set(t.Context(), k, "spoilt", 0).Err())
				}
			}
		},
	}
}

// snapshot copies hashes and sorted sets by their own commands, which every Redis has.
func snapshot(t *testing.T, c *redis.Client) (restore func()) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	hashes, sets := map[string]map[string]string{}, map[string][]redis.Z{}
	for _, k := range c.Keys(ctx, "*").Val() {
		if c.Type(ctx, k).Val() == "hash" {
			hashes[k] = c.HGetAll(ctx, k).Val()
		} else {
			sets[k] = c.ZRangeWithScores(ctx, k, 0, -1).Val()
		}
	}
	return func() {
		must(t, c.FlushAll(ctx).Err())
		for k, h := range hashes {
			must(t, c.HSet(ctx, k, h).Err())
		}
		for k, z := range sets {
			must(t, c.ZAdd(ctx, k, z...).Err())
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A Redis without memory, or one that became a replica, takes nothing and loses nothing; when that is over, the same call
// succeeds.
func TestFullOrReadOnlyRedisTakesNothing(t *testing.T) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("no redis-server on this machine (Debian package redis-server)")
	}
	client := redis.NewClient(&redis.Options{Addr: startRedis(t, binary), MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	p := redisstore.New(client).Partition(store.ID{Stage: "s"})
	if _, err := p.Claim(t.Context(), "o"); err != nil {
		t.Fatal(err)
	}
	f, err := p.Rebuild(t.Context(), store.Fence{Owner: "o"}, "chg", 0)
	if err == nil {
		f, err = p.Switch(t.Context(), f)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, trouble := range []struct {
		word        string
		begin, over func() error
	}{
		{
			"OOM", func() error { return client.ConfigSet(t.Context(), "maxmemory", "1").Err() },
			func() error { return client.ConfigSet(t.Context(), "maxmemory", "0").Err() },
		},
		{
			"READONLY", func() error { return client.ReplicaOf(t.Context(), "127.0.0.1", "1").Err() },
			func() error { return client.ReplicaOf(t.Context(), "NO", "ONE").Err() },
		},
	} {
		must(t, trouble.begin())
		b := store.Batch{To: f.Applied + 1, Images: []store.Image{{Key: trouble.word, Value: []byte("v"), Deadline: 7}}, At: time.UnixMilli(1)}
		if _, err := p.Apply(t.Context(), f, b); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), trouble.word) {
			t.Errorf("%s: Apply: got %v, want ErrUnavailable with Redis's own word", trouble.word, err)
		}
		must(t, trouble.over())
		if got, err := p.Read(t.Context(), f, []string{trouble.word}); err != nil || got[0] != nil {
			t.Errorf("%s: afterwards Read: got %q, %v; want no trace of the refused batch", trouble.word, got, err)
		}
		if f, err = p.Apply(t.Context(), f, b); err != nil {
			t.Fatalf("%s: the same batch afterwards: %v", trouble.word, err)
		}
	}
}
