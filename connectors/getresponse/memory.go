package getresponse

import (
	"crypto/sha256"
	"slices"
	"sync"
	"time"
)

const (
	// contactsMax and contactAgeMax bound what is remembered of contacts: few change between an order and its payment.
	contactsMax   = 10_000
	contactAgeMax = time.Hour
	// ordersMax bounds the orders remembered of both feeds; a forgotten one is told again, which is the same event.
	ordersMax = 200_000
	// formerMax bounds the contents remembered that an order had before.
	formerMax = 4
)

// contactCache remembers contacts by id.
type contactCache struct {
	now func() time.Time

	mu    sync.Mutex
	known map[string]cachedContact
}

type cachedContact struct {
	raw []byte // nil: there is none
	at  time.Time
}

func newContactCache(now func() time.Time) *contactCache {
	return &contactCache{now: now, known: map[string]cachedContact{}}
}

func (c *contactCache) get(id string) (raw []byte, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.known[id]
	return k.raw, ok && c.now().Sub(k.at) < contactAgeMax
}

func (c *contactCache) put(id string, raw []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for old := range c.known {
		if len(c.known) < contactsMax {
			break
		}
		delete(c.known, old) // any one: the next order of its contact asks again
	}
	c.known[id] = cachedContact{raw, c.now()}
}

// memory knows what each order was when it was last told of, so that only news is told. After a restart it is empty, and
// every order is told again: as the same events, since an event is named by its content.
type memory struct {
	mu    sync.Mutex
	known map[string]*told
}

type told struct {
	hash   [sha256.Size]byte
	former [][8]byte // beginnings of the contents before, the oldest first
	// returned is when the order was seen to be again what it had been before; empty: it was not.
	returned string
	// to is the end of the window in which this content was told first. Only a question about a later time says that the
	// answer was kept; one about an earlier time may come because it was not.
	to time.Time
}

func newMemory() *memory { return &memory{known: map[string]*told{}} }

// look reports whether an order's content is news for a window. returned is set where the order had this content before
// and another one since: without it, the event would be the one that was told then.
func (m *memory) look(key string, hash [sha256.Size]byte, from, to, now time.Time) (returned string, news bool) {
	from, to = from.Truncate(time.Millisecond), to.Truncate(time.Millisecond) // as progress is kept
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.known[key]
	switch {
	case k == nil:
		for old := range m.known {
			if len(m.known) < ordersMax {
				break
			}
			delete(m.known, old)
		}
		k = &told{hash: hash, to: to}
		m.known[key] = k
	case k.hash != hash:
		k.change(hash, now)
		k.to = to
	case !from.Before(k.to):
		return "", false
	}
	return k.returned, true
}

func (k *told) change(hash [sha256.Size]byte, now time.Time) {
	short := func(h [sha256.Size]byte) [8]byte { return [8]byte(h[:8]) }
	before := slices.Contains(k.former, short(hash))
	k.former = append(k.former, short(k.hash))
	if len(k.former) > formerMax {
		k.former = slices.Delete(k.former, 0, 1)
	}
	k.hash, k.returned = hash, ""
	if before {
		k.returned = now.UTC().Format(time.RFC3339Nano)
	}
}
