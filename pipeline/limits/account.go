package limits

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// account is what one process knows of an account.
type account struct {
	book *Book
	name string
	keys []string // state, windows, leases, waiting, uses

	mu   sync.Mutex
	uses map[string]*use

	// What was seen of Redis last, and what this process would restore.
	epoch  string
	turns  int64
	hold   time.Duration // until then, in time of the book
	used   map[slotOf]int
	leases map[string]time.Duration // by when they began
	beats  bool
	// keepUntil is when the last use of a longer window counts no longer.
	keepUntil time.Duration

	// The least difference between the book's time and Redis's, now and of the span before.
	offset, offsetBefore time.Duration
	offsetSince          time.Duration
	offsetKnown          bool

	learned time.Duration // when Redis was told of an answer last
	freed   chan struct{} // a request of this process ended

	restoring sync.Mutex
	shared    sharedHold
	counts    counts
}

// counts are this process's own, for its metrics.
type counts struct {
	refused   int64
	discarded int64
	restored  int64
}

type slotOf struct {
	window string
	length time.Duration
	slot   int64
}

func newAccount(b *Book, name string) *account {
	// One hash tag: a cluster has to keep all keys on one node.
	prefix := "tillstream:limit:{" + name + "}:"
	a := &account{book: b, name: name, uses: map[string]*use{}, used: map[slotOf]int{}, leases: map[string]time.Duration{}, freed: make(chan struct{}, 1)}
	for _, k := range []string{"state", "windows", "leases", "waiting", "uses"} {
		a.keys = append(a.keys, prefix+k)
	}
	return a
}

// holdFor keeps silence in this process, and has it told to Redis with whatever is asked there next.
func (a *account) holdFor(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hold = max(a.hold, a.book.span()+d)
}

// heldFor is the rest of the hold that this process knows of.
func (a *account) heldFor() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return max(a.hold-a.book.span(), 0)
}

// seen is the memory of Redis that this process relies on.
func (a *account) seen() (epoch string, turns int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.epoch, a.turns
}

// note takes in what a script answered.
func (a *account) note(r reply) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.epoch == "" {
		a.epoch = r.epoch
	}
	if a.epoch == r.epoch {
		a.turns = max(a.turns, r.turns)
	}
	difference := a.book.span() - r.now
	switch now := a.book.span(); {
	case !a.offsetKnown:
		a.offset, a.offsetBefore, a.offsetSince, a.offsetKnown = difference, difference, now, true
	case now-a.offsetSince > offsetSpan: // clocks drift: what was the least a minute ago counts no longer
		a.offsetBefore, a.offset, a.offsetSince = a.offset, difference, now
	default:
		a.offset = min(a.offset, difference)
	}
}

const offsetSpan = 30 * time.Second

// age is how old a grant of Redis is, beyond the least time that an answer of Redis takes.
func (a *account) age(granted time.Duration) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.book.span() - granted - min(a.offset, a.offsetBefore)
}

// count remembers a turn, should Redis forget it.
func (a *account) count(list []window, lease string, granted time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range list {
		length := w.slot()
		a.used[slotOf{w.name, length, int64(granted / length)}]++
		if !w.Spaced() {
			a.keepUntil = max(a.keepUntil, a.book.span()+w.Per)
		}
	}
	maps.DeleteFunc(a.used, func(s slotOf, _ int) bool { return time.Duration(s.slot+slotsOfWindow+1)*s.length < granted })
	if lease != "" {
		a.leases[lease] = a.book.span()
	}
}

// begin has the beat go on while there is something to keep.
func (a *account) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.beats {
		a.beats = true
		go a.beat()
	}
}

// beat keeps the leases of requests on their way, and finds out soon when Redis has lost what this process used of longer
// windows, even where the process asks for nothing at the time. A process that dies keeps nothing.
func (a *account) beat() {
	t := time.NewTicker(leaseBeat)
	defer t.Stop()
	for a.keeping() {
		select {
		case <-t.C:
		case <-a.book.closed:
			return
		}
		epoch, _ := a.seen()
		ctx, cancel := context.WithTimeout(context.Background(), redisTimeout)
		if kept, err := a.tell(ctx, epoch, false); err == nil && !kept {
			a.meet(ctx)
		}
		cancel()
	}
}

// keeping reports whether there is anything to keep. Where there is not, the beat is over.
func (a *account) keeping() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.book.span()
	maps.DeleteFunc(a.leases, func(_ string, began time.Duration) bool { return now-began > requestMax })
	a.beats = len(a.leases) > 0 || now < a.keepUntil
	return a.beats
}

// end gives up a lease; it reports whether there was one.
func (a *account) end(lease string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, had := a.leases[lease]
	delete(a.leases, lease)
	return had
}

// wake tells one that waits for requests to end that one did.
func (a *account) wake() {
	select {
	case a.freed <- struct{}{}:
	default:
	}
}

// meet restores what this process knows to the epoch that Redis is in, where it is another one than before.
func (a *account) meet(ctx context.Context) {
	epoch, err := a.book.o.Redis.HGet(ctx, a.keys[0], "epoch").Result()
	if err == nil {
		_ = a.restore(ctx, epoch) // whoever asks for a turn next finds out and tries again
	}
}

// restore tells Redis, in a new epoch, what this process knows. Once is enough for all that wait.
func (a *account) restore(ctx context.Context, epoch string) error {
	a.restoring.Lock()
	defer a.restoring.Unlock()
	if seen, _ := a.seen(); seen == epoch || began(epoch) < began(seen) {
		return nil // an older one has come back: whoever asks for a turn next begins another
	}
	kept, err := a.tell(ctx, epoch, true)
	if err != nil || !kept {
		return err // of yet another epoch the next answer tells
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.epoch, a.turns = epoch, 0
	a.counts.restored++
	return nil
}

// began is when an epoch began, by Redis's clock.
func began(epoch string) int64 {
	at, _, _ := strings.Cut(epoch, " ")
	n, _ := strconv.ParseInt(at, 10, 64)
	return n
}

// tell keeps leases and hold, and, with all, adds the counts of the windows.
func (a *account) tell(ctx context.Context, epoch string, all bool) (kept bool, err error) {
	a.mu.Lock()
	args := []any{epoch, max(a.hold-a.book.span(), 0).Microseconds(), leaseFor.Microseconds(), len(a.leases)}
	for _, lease := range slices.Sorted(maps.Keys(a.leases)) {
		args = append(args, lease)
	}
	if all {
		for s, n := range a.used {
			args = append(args, s.window, s.length.Microseconds(), s.slot, n)
		}
	}
	a.mu.Unlock()
	n, err := restoreScript.Run(ctx, a.book.o.Redis, a.keys[:3], args...).Int()
	if err != nil {
		return false, fmt.Errorf("restore limits of %s: %w", a.name, err)
	}
	return n == 1, nil
}

// add returns the use of that name, made new where its limits are others.
func (a *account) add(name string, l limitsOf) *use {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := newUse(a, strings.ReplaceAll(name, "\t", " "), l)
	if old := a.uses[u.name]; old != nil {
		u.counts = old.counts
	}
	a.uses[u.name] = u
	return u
}

// keep forgets uses, and returns how many are left.
func (a *account) keep(kind string, names []string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.uses, func(name string, _ *use) bool {
		name, ok := strings.CutPrefix(name, kind)
		return ok && !slices.Contains(names, name)
	})
	return len(a.uses)
}

func (a *account) list() []*use {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]*use, 0, len(a.uses))
	for _, name := range slices.Sorted(maps.Keys(a.uses)) {
		out = append(out, a.uses[name])
	}
	return out
}

func newID() string { return rand.Text() }
