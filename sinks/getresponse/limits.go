package getresponse

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tillstream/tillstream/outbound"
)

// BucketBatch is the bucket of POST /contacts/batch, which has limits of its own.
const BucketBatch = "contacts batch"

// The documented limits of POST /contacts/batch.
const (
	batchesPerSecond = 1
	batchesPerWindow = 80
)

// Limits is what GetResponse allows one account.
func (c *Config) Limits() outbound.Limits {
	return outbound.Limits{
		Windows:  []outbound.Window{{Requests: RatePerSecond, Per: time.Second}, {Requests: WindowMax, Per: Window}},
		Parallel: ParallelMax,
		Buckets: []outbound.Bucket{{Name: BucketBatch, Windows: []outbound.Window{
			{Requests: batchesPerSecond, Per: time.Second}, {Requests: batchesPerWindow, Per: Window},
		}}},
	}
}

// limits is the process's own guard, for a client without a limiter (a check, a single command): at most ParallelMax
// requests at a time, and none while the window is used up. Over all processes the HTTP client's limiter keeps Limits.
type limits struct {
	turns chan struct{}
	users int // writers that share it; book.mu guards it

	mu     sync.Mutex
	closed time.Time // no request before this
	// began and used count the account's own requests of this process, for a server that does not tell.
	began time.Time
	used  int
}

func newLimits() *limits { return &limits{turns: make(chan struct{}, ParallelMax)} }

// book holds the limits of the accounts in use: two destinations with one key are one account to GetResponse.
type book struct {
	mu       sync.Mutex
	accounts map[string]*limits
}

// shared is the process's book. A writer is opened with nothing that two of them could share otherwise.
var shared = &book{accounts: map[string]*limits{}}

// join returns the limits of an account, and what gives them back.
func (b *book) join(account string) (l *limits, leave func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l = b.accounts[account]
	if l == nil {
		l = newLimits()
		b.accounts[account] = l
	}
	l.users++
	return l, sync.OnceFunc(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(b.accounts, account)
		}
	})
}

// open takes one request from the window; wait is how long there is none left.
func (l *limits) open(now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := l.closed.Sub(now); d > 0 {
		return d
	}
	if now.Sub(l.began) >= Window {
		l.began, l.used = now, 0
	}
	if l.used >= WindowMax {
		return l.began.Add(Window).Sub(now)
	}
	l.used++
	return 0
}

// learn closes the window when the account's own numbers say that it is used up: other programs share it. The numbers
// beside a refusal of the second (limit 80) are not those of the window.
func (l *limits) learn(h http.Header, at time.Time) {
	limit, err1 := strconv.Atoi(strings.TrimSpace(h.Get("X-RateLimit-Limit")))
	left, err2 := strconv.Atoi(strings.TrimSpace(h.Get("X-RateLimit-Remaining")))
	wait, ok := seconds(h.Get("X-RateLimit-Reset"))
	if err1 != nil || err2 != nil || !ok || left > 0 || limit <= RatePerSecond {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = at.Add(min(wait, Window))
}
