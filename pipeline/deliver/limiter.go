package deliver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tillstream/tillstream/outbound"
)

// Bounds of the shared limiter.
const (
	spacingMargin = 1.08 // arrivals are less even than departures; six of them must not meet in a second
	holdMax       = time.Hour
	redisPauseMin = 50 * time.Millisecond
	redisPauseMax = 2 * time.Second
)

// takeTurn grants a request if the last one of the account is long enough ago, by Redis's own clock, and says otherwise
// how long to wait. Nothing is reserved: whoever comes when it is time goes, so a late waker cannot bunch requests up.
// KEYS: time of the next turn, end of the hold. ARGV: spacing in microseconds.
var takeTurn = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local at = tonumber(redis.call('GET', KEYS[1]) or '0')
local hold = tonumber(redis.call('GET', KEYS[2]) or '0')
if hold > at then at = hold end
if at > now then return at - now end
redis.call('SET', KEYS[1], string.format('%d', now + ARGV[1]), 'PX', 60000)
return 0
`)

// setHold moves the end of the hold, never back. KEYS: end of the hold. ARGV: microseconds from now.
var setHold = redis.NewScript(`
local t = redis.call('TIME')
local till = t[1] * 1000000 + t[2] + ARGV[1]
if till > tonumber(redis.call('GET', KEYS[1]) or '0') then
  redis.call('SET', KEYS[1], string.format('%d', till), 'PX', math.ceil(ARGV[1] / 1000) + 1000)
end
return 0
`)

type redisLimiter struct {
	client  redis.UniversalClient
	account string
	keys    []string
	spacing time.Duration

	mu   sync.Mutex
	next time.Time // what this process knows for itself, should Redis forget
	hold time.Time
}

// NewRedisLimiter holds one account to rate requests per second over all processes that share the Redis. Requests are
// spaced evenly with a small margin, so that no window of one second holds more than rate of them. While Redis does not
// answer, Wait waits; it never lets a request through unlimited. A rate of zero or less sets no spacing, but holds are
// shared all the same.
func NewRedisLimiter(client redis.UniversalClient, account string, rate float64) *redisLimiter {
	// One hash tag: a cluster must keep both keys on one node.
	prefix := "tillstream:limit:{" + account + "}:"
	l := &redisLimiter{client: client, account: account, keys: []string{prefix + "next", prefix + "hold"}}
	if rate > 0 {
		l.spacing = time.Duration(float64(time.Second) * spacingMargin / rate)
	}
	return l
}

// Wait implements outbound.Limiter.
func (l *redisLimiter) Wait(ctx context.Context) error {
	pause := redisPauseMin
	var down error
	for {
		wait := l.ownWait()
		if wait <= 0 {
			micros, err := takeTurn.Run(ctx, l.client, l.keys, l.spacing.Microseconds()).Int64()
			switch {
			case err == nil && micros <= 0 && l.take():
				return nil
			case err == nil:
				wait, pause, down = time.Duration(micros)*time.Microsecond, redisPauseMin, nil
			default:
				wait, pause, down = pause, min(2*pause, redisPauseMax), err
			}
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			if down != nil {
				return fmt.Errorf("rate limit of %s: redis does not answer: %w (%w)", l.account, ctx.Err(), down)
			}
			return fmt.Errorf("rate limit of %s: %w", l.account, ctx.Err())
		}
	}
}

// ownWait is what this process knows without Redis.
func (l *redisLimiter) ownWait() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.next
	if l.hold.After(at) {
		at = l.hold
	}
	return time.Until(at)
}

// take uses the turn that Redis granted, unless another goroutine of this process used one a moment ago, which only
// happens where Redis lost its memory in between.
func (l *redisLimiter) take() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Before(l.next) || now.Before(l.hold) {
		return false
	}
	// A little less than the spacing: Redis's clock decides, this one only guards against its forgetting.
	l.next = now.Add(l.spacing * 9 / 10)
	return true
}

// Hold implements outbound.Limiter.
func (l *redisLimiter) Hold(ctx context.Context, d time.Duration) {
	d = min(d, holdMax)
	if d <= 0 {
		return
	}
	l.mu.Lock()
	if till := time.Now().Add(d); till.After(l.hold) {
		l.hold = till
	}
	l.mu.Unlock()
	// Where Redis does not answer nobody gets a turn anyway, and this process remembers for itself.
	_ = setHold.Run(ctx, l.client, l.keys[1:], d.Microseconds()).Err()
}

// Acquire implements outbound.Limiter.
func (l *redisLimiter) Acquire(ctx context.Context) (outbound.Turn, error) {
	return spacedTurn{l}, l.Wait(ctx)
}

type spacedTurn struct{ l *redisLimiter }

// Renew implements outbound.Turn.
func (t spacedTurn) Renew(context.Context, bool) error { return nil }

// Done implements outbound.Turn.
func (t spacedTurn) Done(f outbound.Feedback) { t.l.Hold(context.Background(), f.Hold) }
