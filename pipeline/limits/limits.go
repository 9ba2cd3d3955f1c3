// Package limits holds accounts at providers to their limits, over all processes that share a Redis.
//
// # What holds, and what cannot
//
// A turn is granted by Redis's own clock, one script at a time. Turns of a window of a second are spaced: any Requests+1
// of them span at least the window and 60 ms (arrivalMargin less lateAllowance), so no second holds more than the
// limit as long as requests are on their way for times that differ by less. That margin costs 7 % of the rate. A longer
// window is counted in sixty slots, each of which counts until all of it is out; requests on their way make no
// difference there.
//
// A turn that is used late would break a second's limit: the process was stopped in between, or dialled for long. Its age is
// looked at right before the request is written (outbound.Turn), and one that is older than turnAgeMax beyond what is
// usual between Redis and this process is thrown away for another. What stays possible is a stop between that look and
// the kernel's sending, and a network that delays one request by 60 ms more than others; the provider then says 429,
// which holds the account and lowers its rate for a while.
//
// While Redis does not answer nobody gets a turn. A Redis that comes back empty or with older data is noticed (the epoch
// or the number of turns is not what a process saw), and lets a second pass, in which each process restores what it
// itself used of the longer windows, the requests that it has on their way, and its hold. An account without limits
// never waits for Redis: its processes tell each other of holds through it, and that is all.
package limits

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tillstream/tillstream/outbound"
)

// Bounds of granting turns.
const (
	arrivalMargin  = 80 * time.Millisecond // a spaced window is taken to be longer by this
	lateAllowance  = 20 * time.Millisecond // how much a late turn is made up for by the next
	turnAgeMax     = 40 * time.Millisecond // between the grant and the writing, beyond what is usual
	turnAgeDoubles = 6                     // turns thrown away in a row double turnAgeMax, so often: a slow machine goes on
	settle         = time.Second + arrivalMargin
	graceOfUse     = 30 * time.Millisecond // a turn is kept so long for the use whose it is
	parallelPause  = 10 * time.Millisecond // before a request looks whether one of another process ended; it doubles
	parallelMax    = 80 * time.Millisecond
	waitMax        = 5 * time.Second        // asked again at the latest: what changed meanwhile is seen
	creditTurns    = 4                      // what a use that did not wait may have saved
	leaseFor       = 5 * time.Second        // a dead process's requests count so long
	leaseBeat      = 500 * time.Millisecond // half of settle: what a process knows is restored before others leave
	requestMax     = 2 * time.Minute        // a request that nobody ended counts no longer
	redisPauseMin  = 50 * time.Millisecond
	redisPauseMax  = 2 * time.Second
	redisTimeout   = 2 * time.Second // of what is told to Redis beside the requests
	learnEvery     = 200 * time.Millisecond
	sharedHoldFor  = 250 * time.Millisecond // how old an unlimited account's knowledge of holds may be
	slotsOfWindow  = 60
	slotsOfSpaced  = 20
)

// Bounds of the adaptive rate, as shares of the configured one.
const (
	shareMin    = 0.2
	cutRefused  = 0.8  // after a 429
	cutOthers   = 0.9  // towards the room that other programs leave
	cutSlow     = 0.85 // while answers take slowTimes of the usual, and at least slowLeast
	raise       = 0.02 // in a second of answers as usual
	changePause = time.Second
	slowPause   = 5 * time.Second
	slowTimes   = 5
	slowLeast   = 2 * time.Second
)

var (
	//go:embed take.lua
	takeText string
	//go:embed learn.lua
	learnText string
	//go:embed restore.lua
	restoreText string

	takeScript    = redis.NewScript(takeText)
	learnScript   = redis.NewScript(learnText)
	restoreScript = redis.NewScript(restoreText)
)

// Options of a Book.
type Options struct {
	Redis redis.UniversalClient
	// Instance tells this process from others on the Redis.
	Instance string
	// Now has to be the clock that timers run by.
	Now func() time.Time
}

// Book is one process's view of the accounts. Accounts of one name are one account, in all processes.
type Book struct {
	o     Options
	start time.Time

	mu       sync.Mutex
	accounts map[string]*account
	closed   chan struct{}
	close    func()
}

// New returns a book. It asks Redis nothing yet.
func New(o Options) *Book {
	o.Instance += " " + newID() // a name that two processes have by mistake must not make them one
	b := &Book{o: o, start: o.Now(), accounts: map[string]*account{}, closed: make(chan struct{})}
	b.close = sync.OnceFunc(func() { close(b.closed) })
	return b
}

// Close ends what the book does beside requests. Requests that are still on their way count until their leases run out.
func (b *Book) Close() { b.close() }

// Use returns the limiter of one use of an account, such as a destination. Uses that wait get equal shares. Limits may
// differ between uses; each is held to its own, and requests of all count in all. A use named twice is one.
func (b *Book) Use(accountName, use string, l outbound.Limits) outbound.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[accountName]
	if a == nil {
		a = newAccount(b, accountName)
		b.accounts[accountName] = a
	}
	if l.None() {
		return &free{account: a, use: a.add(use, l)}
	}
	return a.add(use, l)
}

// Keep forgets the uses whose names begin with kind and a space and are not among names: they are shown no longer. A
// limiter that is still held goes on working.
func (b *Book) Keep(kind string, names []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, a := range b.accounts {
		if a.keep(kind+" ", names) == 0 {
			delete(b.accounts, key)
		}
	}
}

// list returns the accounts by name.
func (b *Book) list() []*account {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]*account, 0, len(b.accounts))
	for _, a := range b.accounts {
		out = append(out, a)
	}
	slices.SortFunc(out, func(x, y *account) int { return strings.Compare(x.name, y.name) })
	return out
}

// span is how long ago the book was opened, by a clock that is not set back.
func (b *Book) span() time.Duration { return b.o.Now().Sub(b.start) }

// window is one limit as Redis keeps it.
type window struct {
	outbound.Window
	name   string
	bucket string
}

func windowsOf(bucket string, list []outbound.Window) []window {
	var out []window
	for _, w := range list {
		if w.Requests < 1 || w.Per < time.Millisecond {
			continue // none: it would let nothing through, or everything
		}
		name := fmt.Sprintf("%d per %s", w.Requests, w.Per)
		if bucket != "" {
			name = bucket + ": " + name
		}
		out = append(out, window{w, name, bucket})
	}
	return out
}

// slot is the length of what the window is counted in.
func (w window) slot() time.Duration {
	n := int64(slotsOfWindow)
	if w.Spaced() {
		n = slotsOfSpaced
	}
	return time.Duration(w.Per.Microseconds()/n) * time.Microsecond
}

func (w window) args() []any {
	return []any{w.name, w.Requests, w.Per.Microseconds(), flag(w.Spaced()), flag(w.bucket != "")}
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
