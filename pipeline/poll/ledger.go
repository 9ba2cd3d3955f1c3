package poll

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// digestsMax bounds what a running connection remembers of the log, about 40 bytes each. What falls out costs at most a
// duplicate, which the orders stage recognises.
const digestsMax = 1 << 20

// digest stands for what identifies an event on the log. 128 bits of SHA-256: a collision would hide a missing event,
// and some of what goes in is chosen by customers.
type digest [16]byte

// digestOf hashes the parts under their kind, each with its length.
func digestOf(kind byte, parts ...string) digest {
	var room [256]byte
	b := append(room[:0], kind)
	for _, p := range parts {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	sum := sha256.Sum256(b)
	return digest(sum[:16])
}

// digestsOf are those of one event, for the ways to match up to m. An event that names no entity matches by its id only.
func digestsOf(e *schemas.OrderEvent, m connectors.Match) []digest {
	out := []digest{digestOf('e', e.EventID)}
	if m < connectors.MatchVersion || e.EntityID == "" {
		return out
	}
	status := string(e.Status)
	if e.Deleted {
		status += " deleted"
	}
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], uint64(e.ProviderTime.UnixMilli()))
	out = append(out, digestOf('v', e.EntityID, string(at[:]), status))
	if m >= connectors.MatchStatus {
		out = append(out, digestOf('s', e.EntityID, status))
	}
	return out
}

// ledger remembers which events of one connection are on the log. It is safe for concurrent use.
type ledger struct {
	match connectors.Match // the widest that any feed needs
	max   int              // of digests

	mu      sync.Mutex
	seen    map[digest]int32 // to the hour of the append
	since   int32            // the hour before which all was forgotten
	dropped bool             // some fell out for want of room
}

func newLedger(match connectors.Match, most int) *ledger {
	return &ledger{match: match, max: most, seen: map[digest]int32{}}
}

// widest is the widest way to match of these feeds.
func widest(feeds []connectors.Feed) connectors.Match {
	m := connectors.MatchEvent
	for _, f := range feeds {
		m = max(m, f.Match)
	}
	return m
}

func hourNumber(t time.Time) int32 { return int32(t.Unix() / 3600) }

// add remembers an event that was appended at that time.
func (l *ledger) add(e *schemas.OrderEvent, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	hour := hourNumber(at)
	for _, d := range digestsOf(e, l.match) {
		if old, ok := l.seen[d]; !ok || old < hour {
			l.seen[d] = hour
		}
	}
	if len(l.seen) > l.max {
		l.makeRoom()
	}
}

// makeRoom drops the oldest hours until a quarter is free.
func (l *ledger) makeRoom() {
	l.dropped = true
	perHour := map[int32]int{}
	oldest := int32(1<<31 - 1)
	for _, h := range l.seen {
		perHour[h]++
		oldest = min(oldest, h)
	}
	for left := len(l.seen); left > l.max-l.max/4 && len(perHour) > 1; oldest++ {
		left -= perHour[oldest]
		delete(perHour, oldest)
	}
	for d, h := range l.seen {
		if h < oldest {
			delete(l.seen, d)
		}
	}
	for d := range l.seen { // one hour alone is too much
		if len(l.seen) <= l.max-l.max/4 {
			break
		}
		delete(l.seen, d)
	}
}

// forget drops what was appended before t.
func (l *ledger) forget(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := hourNumber(t)
	if before <= l.since {
		return
	}
	l.since = before
	for d, h := range l.seen {
		if h < before {
			delete(l.seen, d)
		}
	}
}

// holds reports whether every one of events is on the log, matched as m says.
func (l *ledger) holds(events []schemas.OrderEvent, m connectors.Match) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range events {
		if !l.has(&events[i], m) {
			return false
		}
	}
	return true
}

func (l *ledger) has(e *schemas.OrderEvent, m connectors.Match) bool {
	for _, d := range digestsOf(e, min(m, l.match)) {
		if _, ok := l.seen[d]; ok {
			return true
		}
	}
	return false
}

// holdsAll reports whether all of these are on the log.
func (l *ledger) holdsAll(list []digest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range list {
		if _, ok := l.seen[d]; !ok {
			return false
		}
	}
	return true
}

// full reports whether something fell out for want of room.
func (l *ledger) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}
