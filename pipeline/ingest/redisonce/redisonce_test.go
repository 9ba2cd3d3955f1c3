package redisonce

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tillstream/tillstream/internal/e2e/parts"
)

func hash(body string) [32]byte { return sha256.Sum256([]byte(body)) }

// servers are the Redis that tests run on, and the one that users do.
func servers(t *testing.T, f func(t *testing.T, address string)) {
	t.Run("embedded", func(t *testing.T) { f(t, miniredis.RunT(t).Addr()) })
	t.Run("real", func(t *testing.T) { f(t, parts.StartRedis(t).Address) })
}

func client(t testing.TB, address string) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: address, Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestClaim: the first body stands for the id, for every process, and only for its connection.
func TestClaim(t *testing.T) {
	servers(t, func(t *testing.T, address string) {
		one, two := New(client(t, address), 0), New(client(t, address), 0)
		for i, c := range []struct {
			o              *Once
			connection, id string
			body           string
			want           bool
		}{
			{one, "shop", "d1", "A", true},
			{one, "shop", "d1", "A", true},
			{two, "shop", "d1", "A", true},
			{two, "shop", "d1", "B", false},
			{one, "shop", "d1", "B", false},
			{one, "shop", "d1", "A", true},
			{one, "other", "d1", "B", true},
			{one, "shop", "d2", "B", true},
			{one, "shop\x00d", "1", "B", true},
			{one, "shop", strings.Repeat("ü\n", 1000), "", true},
		} {
			if got, err := c.o.Claim(t.Context(), c.connection, c.id, hash(c.body)); got != c.want || err != nil {
				t.Errorf("claim %d: got %t, %v, want %t", i, got, err, c.want)
			}
		}
		ctx := t.Context()
		keys, err := client(t, address).Keys(ctx, "*").Result()
		if err != nil || len(keys) != 5 {
			t.Fatalf("got keys %q, %v", keys, err)
		}
		for _, k := range keys {
			ttl, err := client(t, address).TTL(ctx, k).Result()
			if err != nil || ttl <= KeepDefault-time.Minute || ttl > KeepDefault || len(k) > 64 {
				t.Errorf("key %q lives for %v, %v, want %v", k, ttl, err, KeepDefault)
			}
		}
	})
}

// TestOneIsFirst: of many bodies at once under each id one is the first, and few round trips are made.
func TestOneIsFirst(t *testing.T) {
	servers(t, func(t *testing.T, address string) {
		processes := []*Once{New(client(t, address), 0), New(client(t, address), 0)}
		const ids, bodies = 50, 8
		var first [ids]atomic.Int64
		var group sync.WaitGroup
		for i := range ids {
			for b := range bodies {
				group.Go(func() {
					same, err := processes[b%2].Claim(context.Background(), "shop", fmt.Sprint(i), hash(fmt.Sprint(b)))
					if err != nil {
						t.Error(err)
					}
					if same {
						first[i].Add(1)
					}
				})
			}
		}
		group.Wait()
		for i := range first {
			if n := first[i].Load(); n != 1 {
				t.Errorf("id %d has %d first bodies, want 1", i, n)
			}
		}
	})
}

// TestRedisAway: an error, at the end of the caller's patience at the latest, and work again once it is back.
func TestRedisAway(t *testing.T) {
	server := miniredis.RunT(t)
	o := New(client(t, server.Addr()), 0)
	server.SetError("LOADING")
	if _, err := o.Claim(t.Context(), "shop", "d1", hash("A")); err == nil {
		t.Error("got no error from a redis that fails")
	}
	server.SetError("")
	if same, err := o.Claim(t.Context(), "shop", "d1", hash("A")); !same || err != nil {
		t.Errorf("got %t, %v once it is back, want true", same, err)
	}
	server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := o.Claim(ctx, "shop", "d1", hash("A")); err == nil {
		t.Error("got no error from a redis that is away")
	}
}

func BenchmarkClaim(b *testing.B) {
	server, err := miniredis.Run()
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	o := New(client(b, server.Addr()), 0)
	var n atomic.Int64
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := o.Claim(context.Background(), "shop", fmt.Sprint(n.Add(1)), hash("A")); err != nil {
				b.Fatal(err)
			}
		}
	})
}
