package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/sinks"
)

// Bounds of asking Redis before a command asks a provider.
const (
	besideTimeout  = time.Second     // where the command goes on without it
	reachedTimeout = 5 * time.Second // where it does not
)

// Beside holds a command that makes a few readings, such as the check of a key, to the limits of the accounts that it
// asks: those that all processes share where Redis answers, so that such a command takes no turn from delivery. Where
// Redis does not answer, as before anything was started, it keeps the account's rate by itself: nobody else sends then,
// for who delivers waits for Redis. It may be used by several goroutines.
type Beside struct {
	load func() (*config.Config, error)
	now  func() time.Time

	mu       sync.Mutex
	asked    bool
	accounts *accounts // nil: Redis does not answer
	own      map[string]*pace
}

// NewBeside asks nobody yet. load gives the configuration that names Redis and the accounts; it is called once, and its
// error is taken for a Redis that does not answer.
func NewBeside(load func() (*config.Config, error), now func() time.Time) *Beside {
	return &Beside{load: load, now: now, own: map[string]*pace{}}
}

// Close ends what was begun.
func (b *Beside) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.accounts != nil {
		b.accounts.close()
	}
}

// shared are the limits in Redis; nil: it does not answer.
func (b *Beside) shared(ctx context.Context) *accounts {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asked {
		return b.accounts
	}
	b.asked = true
	c, err := b.load()
	if err != nil {
		return nil // whoever loads it for its own sake says so
	}
	a := openAccounts(c, b.now)
	ctx, cancel := context.WithTimeout(ctx, besideTimeout)
	defer cancel()
	if a.redis.Ping(ctx).Err() != nil {
		a.close()
		return nil
	}
	b.accounts = &a
	return b.accounts
}

// Open opens a destination for a few readings.
func (b *Beside) Open(ctx context.Context, d config.Destination) (sinks.Writer, error) {
	if a := b.shared(ctx); a != nil {
		return OpenDestination(ctx, d, b.now, a.destination(d))
	}
	return OpenDestination(ctx, d, b.now, b.alone(accountOf(d), limitsOf(d)))
}

// Connection is the limiter of requests to a connection's provider; nil where nothing is known of its limits.
func (b *Beside) Connection(c config.Connection) outbound.Limiter {
	l, ok := c.Settings.(limited)
	if !ok {
		return nil
	}
	if a := b.shared(context.Background()); a != nil {
		return a.connection(c)
	}
	return b.alone(c.Connector.Type+":"+l.Account(), l.Limits())
}

func (b *Beside) alone(account string, l outbound.Limits) outbound.Limiter {
	var every time.Duration
	for _, w := range l.Windows {
		if w.Requests > 0 {
			every = max(every, w.Per/time.Duration(w.Requests))
		}
	}
	if every == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.own[account] == nil {
		b.own[account] = &pace{every: every, now: b.now, head: make(chan struct{}, 1)}
	}
	return b.own[account]
}

// pace lets requests leave one after the other, at the same distance.
type pace struct {
	every time.Duration
	now   func() time.Time
	head  chan struct{} // held by who waits for the next

	mu   sync.Mutex
	next time.Time
}

// Acquire implements outbound.Limiter.
func (p *pace) Acquire(ctx context.Context) (outbound.Turn, error) {
	if err := p.wait(ctx); err != nil {
		return nil, err
	}
	return paced{p}, nil
}

func (p *pace) wait(ctx context.Context) error {
	select {
	case p.head <- struct{}{}:
		defer func() { <-p.head }()
	case <-ctx.Done():
		return fmt.Errorf("rate limit: %w", context.Cause(ctx))
	}
	for {
		left := p.take()
		if left <= 0 {
			return nil
		}
		t := time.NewTimer(left)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("rate limit: %w", context.Cause(ctx))
		}
	}
}

// take takes the turn if it has come, and says how long it is away.
func (p *pace) take() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if left := p.next.Sub(now); left > 0 {
		return left
	}
	p.next = now.Add(p.every)
	return 0
}

type paced struct{ p *pace }

// Renew implements outbound.Turn.
func (t paced) Renew(ctx context.Context, repeated bool) error {
	if !repeated {
		return nil
	}
	return t.p.wait(ctx)
}

// Done implements outbound.Turn.
func (t paced) Done(f outbound.Feedback) {
	if f.Hold <= 0 {
		return
	}
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	if until := t.p.now().Add(f.Hold); until.After(t.p.next) {
		t.p.next = until
	}
}

// reached says, before a command waits for turns, that nobody will give it any.
func (a accounts) reached(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reachedTimeout)
	defer cancel()
	if err := a.redis.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("redis at %s does not answer, and the limits of accounts are kept there: start it, or correct redis.address (%w)", a.redis.Options().Addr, err)
	}
	return nil
}
