package limits

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tillstream/tillstream/outbound"
)

// crm is the limit of a CRM of 5 a second.
var crm = outbound.Limits{Windows: []outbound.Window{{Requests: 5, Per: time.Second}}}

// bubble runs f by virtual time. Redis stands outside, and is told the time with each command.
func bubble(t *testing.T, f func(t *testing.T, m *miniredis.Miniredis)) {
	t.Helper()
	m := miniredis.RunT(t)
	synctest.Test(t, func(t *testing.T) { f(t, m) })
}

// process opens the book of a process of its own, with a connection of its own.
func process(t *testing.T, m *miniredis.Miniredis, name string) *Book {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: m.Addr(), MaxRetries: -1, DisableIdentity: true, Protocol: 2})
	client.AddHook(telling{m})
	t.Cleanup(func() { _ = client.Close() })
	b := New(Options{Redis: client, Instance: name, Now: time.Now})
	t.Cleanup(b.Close)
	return b
}

// telling sets Redis's clock.
type telling struct{ m *miniredis.Miniredis }

func (h telling) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h telling) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.m.SetTime(time.Now())
		return next(ctx, cmd)
	}
}

func (h telling) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.m.SetTime(time.Now())
		return next(ctx, cmds)
	}
}

// provider counts arrivals.
type provider struct {
	mu       sync.Mutex
	arrived  []time.Time
	by       map[string]int
	now, top int // at a time
}

func (p *provider) arrive(who string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.by == nil {
		p.by = map[string]int{}
	}
	p.by[who]++
	p.arrived = append(p.arrived, time.Now())
	p.now++
	p.top = max(p.top, p.now)
}

func (p *provider) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now--
}

// most is the largest number of arrivals in any span of that length.
func (p *provider) most(span time.Duration) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.SortFunc(p.arrived, time.Time.Compare)
	most, j := 0, 0
	for i := range p.arrived {
		for p.arrived[i].Sub(p.arrived[j]) >= span {
			j++
		}
		most = max(most, i-j+1)
	}
	return most
}

func (p *provider) count(who string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.by[who]
}

// work sends one request after another until ctx ends: after its turn comes the way there, then the answer.
func (p *provider) work(ctx context.Context, t *testing.T, l outbound.Limiter, who string, way, latency time.Duration) {
	for {
		turn, err := l.Acquire(ctx)
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("%s: %v", who, err)
			}
			return
		}
		if err := turn.Renew(ctx, false); err != nil {
			return
		}
		time.Sleep(way)
		p.arrive(who)
		time.Sleep(latency)
		p.leave()
		turn.Done(outbound.Feedback{Status: 200, Latency: way + latency})
	}
}

func workers(n int, f func(i int)) *sync.WaitGroup {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	return &wg
}

func name(i int) string { return fmt.Sprintf("p%d", i) }
