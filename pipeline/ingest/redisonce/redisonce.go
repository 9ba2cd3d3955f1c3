// Package redisonce keeps the delivery ids that were seen in Redis 7, for all processes that receive webhooks.
package redisonce

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tillstream/tillstream/pipeline/ingest"
)

const (
	// KeepDefault is longer than PayPal's signatures are taken for (35 days): an id that was forgotten while its signature
	// still counts could be used for another body. It costs Redis about 120 bytes a delivery.
	KeepDefault = 36 * 24 * time.Hour

	keyPrefix    = "tillstream:delivery:"
	digestBytes  = 16   // of a SHA-256, in keys and values
	claimsMax    = 1024 // that wait for Redis at once
	batchMax     = 256  // to one round trip
	roundTripMax = time.Second
)

// Once is an ingest.Once in Redis.
type Once struct {
	client redis.UniversalClient
	keep   time.Duration

	mu      sync.Mutex
	waiting []*claim
	running bool // a goroutine takes what waits
}

var _ ingest.Once = (*Once)(nil)

// New returns a memory of ids on client, each kept for keep; zero: KeepDefault.
func New(client redis.UniversalClient, keep time.Duration) *Once {
	if keep <= 0 {
		keep = KeepDefault
	}
	return &Once{client: client, keep: keep}
}

type claim struct {
	key, body string
	same      bool
	err       error
	done      chan struct{}
}

var errFull = errors.New("too many delivery ids wait for redis")

// Claim implements ingest.Once. Claims that come while Redis is asked go to it together, in one round trip.
func (o *Once) Claim(ctx context.Context, connection, id string, bodyHash [sha256.Size]byte) (bool, error) {
	sum := sha256.Sum256([]byte(connection + "\x00" + id))
	c := &claim{
		key: keyPrefix + base64.RawURLEncoding.EncodeToString(sum[:digestBytes]), body: string(bodyHash[:digestBytes]), done: make(chan struct{}),
	}
	o.mu.Lock()
	if len(o.waiting) == claimsMax {
		o.mu.Unlock()
		return false, errFull
	}
	o.waiting = append(o.waiting, c)
	if !o.running {
		o.running = true
		go o.run()
	}
	o.mu.Unlock()
	select {
	case <-c.done:
		return c.same, c.err
	case <-ctx.Done():
		return false, fmt.Errorf("claim a delivery id in redis: %w", ctx.Err())
	}
}

// run asks for what waits until nothing does.
func (o *Once) run() {
	for {
		o.mu.Lock()
		n := min(len(o.waiting), batchMax)
		if n == 0 {
			o.running = false
			o.mu.Unlock()
			return
		}
		batch := append([]*claim(nil), o.waiting[:n]...)
		o.waiting = append(o.waiting[:0], o.waiting[n:]...)
		o.mu.Unlock()
		o.ask(batch)
	}
}

// ask takes each id that is free and reads the body of each that is taken, in one command (SET NX GET, Redis 7).
func (o *Once) ask(batch []*claim) {
	ctx, cancel := context.WithTimeout(context.Background(), roundTripMax)
	defer cancel()
	pipe := o.client.Pipeline()
	answers := make([]*redis.StatusCmd, len(batch))
	for i, c := range batch {
		answers[i] = pipe.SetArgs(ctx, c.key, c.body, redis.SetArgs{Mode: "NX", Get: true, TTL: o.keep})
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for i, c := range batch {
		switch first, err := answers[i].Result(); {
		case errors.Is(err, redis.Nil):
			c.same = true // it was free
		case err != nil:
			c.err = fmt.Errorf("claim a delivery id in redis: %w", err)
		default:
			c.same = first == c.body
		}
		close(c.done)
	}
}
