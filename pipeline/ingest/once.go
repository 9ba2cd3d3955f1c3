package ingest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/clock"
)

// Once remembers which content first came under a delivery id, for signatures that do not bind it
// (connectors.Delivery.OnceID).
type Once interface {
	// Claim reports whether bodyHash, which covers the body and the headers that are kept with it, is what connection's delivery id stands for: it was claimed with it before, or never.
	// Of several at once, in whatever process, one is the first. An error means that it cannot be told now.
	Claim(ctx context.Context, connection, id string, bodyHash [sha256.Size]byte) (same bool, err error)
}

const (
	// claimTimeout is what a webhook waits for the shared memory of ids; claimPause is how long it is then left alone.
	claimTimeout = 250 * time.Millisecond
	claimPause   = time.Second
	// localIDsMax bounds the ids that one process remembers, the newest: about 100 bytes each.
	localIDsMax = 65_536
)

// claims asks the memory that all processes share, and this process's own where that one is away: an outage refuses no
// delivery. What was claimed meanwhile is known to this process only.
type claims struct {
	shared Once // nil: none
	local  *recent[digest, digest]
	mu     sync.Mutex // of local
	clock  clock.Clock
	asleep atomic.Int64 // unix nanoseconds until which shared is not asked
	away   func()       // counts the claims that shared did not answer
}

// digest is half a SHA-256: nobody finds another text for a given one.
type digest [sha256.Size / 2]byte

func newClaims(shared Once, c clock.Clock, away func()) *claims {
	return &claims{shared: shared, local: newRecent[digest, digest](localIDsMax), clock: c, away: away}
}

// same reports whether d has the body that its id was first seen with.
func (c *claims) same(ctx context.Context, d connectors.Delivery) bool {
	body := contentHash(d)
	if c.shared == nil {
		return c.alone(d, body)
	}
	if c.clock.Now().UnixNano() < c.asleep.Load() {
		c.away()
		return c.alone(d, body)
	}
	asking, cancel := c.clock.WithTimeout(ctx, claimTimeout)
	same, err := c.shared.Claim(asking, d.Connection, d.ID, body)
	cancel()
	if err != nil {
		c.asleep.Store(c.clock.Now().Add(claimPause).UnixNano())
		c.away()
		return c.alone(d, body)
	}
	// What is refused leaves no trace here: it would stand against the genuine one.
	return same && c.alone(d, body)
}

// contentHash covers all that decides what d means: where headers do, they are no more bound by the signature than the
// body is.
func contentHash(d connectors.Delivery) [sha256.Size]byte {
	if len(d.Headers) == 0 {
		return sha256.Sum256(d.Body)
	}
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(d.Headers)) {
		fmt.Fprintf(h, "%d %s %d %s\n", len(name), name, len(d.Headers[name]), d.Headers[name])
	}
	h.Write(d.Body)
	return [sha256.Size]byte(h.Sum(nil))
}

// alone claims in this process.
func (c *claims) alone(d connectors.Delivery, body [sha256.Size]byte) bool {
	id := sha256.Sum256([]byte(d.Connection + "\x00" + d.ID))
	c.mu.Lock()
	defer c.mu.Unlock()
	if first, known := c.local.get(digest(id[:len(digest{})])); known {
		return first == digest(body[:len(digest{})])
	}
	c.local.put(digest(id[:len(digest{})]), digest(body[:len(digest{})]))
	return true
}

// recent is a map of at most max entries that forgets what was not used for longest, by halves: no entry is
// forgotten before half of max others were used after it.
type recent[K comparable, V any] struct {
	half       int
	young, old map[K]V
}

func newRecent[K comparable, V any](most int) *recent[K, V] {
	return &recent[K, V]{half: most / 2, young: map[K]V{}, old: map[K]V{}}
}

func (r *recent[K, V]) get(k K) (V, bool) {
	if v, ok := r.young[k]; ok {
		return v, true
	}
	v, ok := r.old[k]
	if ok {
		r.put(k, v)
	}
	return v, ok
}

func (r *recent[K, V]) put(k K, v V) {
	if _, ok := r.young[k]; !ok && len(r.young) >= r.half {
		r.old, r.young = r.young, r.old
		clear(r.young)
	}
	r.young[k] = v
}
