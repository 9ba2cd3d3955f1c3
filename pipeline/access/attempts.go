package access

import (
	"fmt"
	"sync"
	"time"
)

// Bounds of failed attempts to sign in within attemptsWindow: of a name from one address, of an address whatever the name,
// and of a name from wherever. The last is wide, so that a stranger cannot keep somebody out easily.
const (
	attemptsWindow     = 15 * time.Minute
	attemptsPairMax    = 5
	attemptsAddressMax = 20
	attemptsNameMax    = 100
	attemptsKeysMax    = 10_000
)

// TooMany is the error of an attempt that is not looked at.
type TooMany struct {
	Wait time.Duration // until the next one may be
}

func (t *TooMany) Error() string {
	return fmt.Sprintf("too many attempts to sign in: wait %v", t.Wait.Round(time.Second))
}

// attempts counts failures. It is safe for concurrent use.
type attempts struct {
	mu   sync.Mutex
	keys map[string]*tally
}

type tally struct {
	since time.Time
	count int
}

func newAttempts() *attempts { return &attempts{keys: map[string]*tally{}} }

type attemptKey struct {
	name string
	max  int
}

func attemptKeys(name, address string) []attemptKey {
	return []attemptKey{
		{"pair " + name + " " + address, attemptsPairMax}, {"address " + address, attemptsAddressMax}, {"name " + name, attemptsNameMax},
	}
}

// begin counts an attempt as failed, before its password is looked at: many at the same time get no more tries.
func (a *attempts) begin(name, address string, now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	keys := attemptKeys(name, address)
	for _, k := range keys {
		if t := a.keys[k.name]; t != nil && now.Sub(t.since) < attemptsWindow && t.count >= k.max {
			return &TooMany{t.since.Add(attemptsWindow).Sub(now)}
		}
	}
	for _, k := range keys {
		t := a.keys[k.name]
		if t == nil || now.Sub(t.since) >= attemptsWindow {
			a.room(now)
			t = &tally{since: now}
			a.keys[k.name] = t
		}
		t.count++
	}
	return nil
}

// succeed takes the attempt back, and forgets the failures of the name from there.
func (a *attempts) succeed(name, address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, k := range attemptKeys(name, address) {
		if t := a.keys[k.name]; t != nil {
			if t.count--; i == 0 || t.count <= 0 {
				delete(a.keys, k.name)
			}
		}
	}
}

// room drops what has passed, else the oldest, where the table is full.
func (a *attempts) room(now time.Time) {
	if len(a.keys) < attemptsKeysMax {
		return
	}
	oldest, since := "", now
	for name, t := range a.keys {
		if now.Sub(t.since) >= attemptsWindow {
			delete(a.keys, name)
		} else if !t.since.After(since) {
			oldest, since = name, t.since
		}
	}
	if len(a.keys) >= attemptsKeysMax {
		delete(a.keys, oldest)
	}
}
