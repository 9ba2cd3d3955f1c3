package deliver

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// mostPerSecond is the largest number of times within any second.
func mostPerSecond(times []time.Time) int {
	most := 0
	for i := range times {
		n := 0
		for j := i; j < len(times) && times[j].Sub(times[i]) < time.Second; j++ {
			n++
		}
		most = max(most, n)
	}
	return most
}

func TestLimiterHoldsAllProcessesToOneRate(t *testing.T) {
	m := miniredis.RunT(t)
	const rate = 20
	var mu sync.Mutex
	var times []time.Time
	var wg sync.WaitGroup
	for range 3 { // processes
		client := redis.NewClient(&redis.Options{Addr: m.Addr()})
		defer client.Close()
		l := NewRedisLimiter(client, "crm", rate)
		for range 2 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for range 6 {
					if err := l.Wait(t.Context()); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					times = append(times, time.Now())
					mu.Unlock()
				}
			}()
		}
	}
	wg.Wait()
	if got := mostPerSecond(times); got > rate {
		t.Errorf("got %d within a second, want at most %d", got, rate)
	}
	// A limit that stands still would pass the check above.
	if span := times[len(times)-1].Sub(times[0]); span > 2*time.Duration(len(times))*time.Second/rate {
		t.Errorf("%d turns took %s", len(times), span)
	}
}

func TestHoldIsShared(t *testing.T) {
	m := miniredis.RunT(t)
	a := NewRedisLimiter(redis.NewClient(&redis.Options{Addr: m.Addr()}), "crm", 0)
	b := NewRedisLimiter(redis.NewClient(&redis.Options{Addr: m.Addr()}), "crm", 0)
	other := NewRedisLimiter(redis.NewClient(&redis.Options{Addr: m.Addr()}), "crm-2", 0)
	start := time.Now()
	a.Hold(t.Context(), 150*time.Millisecond)
	if err := b.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 140*time.Millisecond {
		t.Errorf("another process went after %s, want 150 ms of silence", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a.Hold(ctx, holdMax)
	if err := other.Wait(ctx); err != nil {
		t.Errorf("another account is held too: %v", err)
	}
}

func TestLimiterWaitsForRedis(t *testing.T) {
	m := miniredis.RunT(t)
	l := NewRedisLimiter(redis.NewClient(&redis.Options{Addr: m.Addr(), MaxRetries: -1}), "crm", 100)
	m.SetError("LOADING")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := l.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without redis: got %v, want a wait until the deadline", err)
	}
	m.SetError("")
	if err := l.Wait(t.Context()); err != nil {
		t.Errorf("redis is back: %v", err)
	}
}

// A Redis that forgets its keys lets nobody burst.
func TestLimiterSurvivesAForgetfulRedis(t *testing.T) {
	m := miniredis.RunT(t)
	l := NewRedisLimiter(redis.NewClient(&redis.Options{Addr: m.Addr()}), "crm", 20)
	var times []time.Time
	for range 25 {
		if err := l.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		times = append(times, time.Now())
		m.FlushAll()
	}
	if got := mostPerSecond(times); got > 22 {
		t.Errorf("got %d within a second, want about 20", got)
	}
}
