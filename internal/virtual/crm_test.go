//go:build synctests

package virtual

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// account is a CRM: slow, refusing at times, and losing answers before or after what was asked took effect. It knows
// what happened, so that Reconcile can tell; nothing is refused for good.
type account struct {
	t    testing.TB
	name string

	mu       sync.Mutex
	dice     *rand.Rand
	contacts map[string]*contact // by key
	happened map[string]int      // effects, by command id
	held     time.Time           // the end of the last Retry-After
	quiet    bool                // it does what it is asked
	count    counts
}

// contact is one contact as the CRM has it.
type contact struct {
	Email   string
	Fields  map[string]string
	Tags    []string
	version int64
}

// counts are what an account met.
type counts struct{ requests, limited, failed, lostBefore, lostAfter, asked int }

func newAccount(t testing.TB, name string, seed uint64) *account {
	return &account{t: t, name: name, dice: rand.New(rand.NewPCG(seed, 7)), contacts: map[string]*contact{}, happened: map[string]int{}}
}

func (a *account) roll(n int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dice.IntN(n)
}

// Write implements sinks.Writer.
func (a *account) Write(ctx context.Context, batch []schemas.Command) (out []sinks.Outcome) {
	for _, c := range batch {
		out = append(out, a.one(ctx, c))
	}
	return out
}

func (a *account) one(ctx context.Context, c schemas.Command) sinks.Outcome {
	if c.Destination != a.name {
		a.t.Errorf("account %s was given a command for %s", a.name, c.Destination)
	}
	answered := rest(ctx, time.Duration(20+a.roll(3000))*time.Millisecond)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count.requests++
	lost := sinks.Outcome{Kind: sinks.Unknown, Err: errors.New("the answer was lost")}
	fate := a.dice.IntN(40)
	switch {
	case !answered: // the process ends meanwhile: the request was under way, or was not
		if fate%2 == 0 {
			a.apply(c)
		}
		return lost
	case a.quiet:
	case time.Now().Before(a.held):
		a.count.limited++
		return sinks.Outcome{Kind: sinks.Retryable, Account: true, RetryAfter: time.Until(a.held), Err: errors.New("429")}
	case fate < 2:
		a.count.limited++
		wait := time.Duration(1+a.dice.IntN(900)) * time.Second
		a.held = time.Now().Add(wait)
		return sinks.Outcome{Kind: sinks.Retryable, Account: true, RetryAfter: wait, Err: errors.New("429")}
	case fate < 5:
		a.count.failed++
		return sinks.Outcome{Kind: sinks.Retryable, Err: errors.New("503"), Remedy: "wait"}
	case fate < 7:
		a.count.lostAfter++
		a.apply(c)
		return lost
	case fate < 8:
		a.count.lostBefore++
		return lost
	}
	a.apply(c)
	return sinks.Outcome{Kind: sinks.Delivered}
}

// apply does what the command says.
func (a *account) apply(c schemas.Command) {
	if c.Kind == schemas.CommandEffect {
		a.happened[c.CommandID]++
		return
	}
	k := a.contacts[c.ContactKey]
	if k == nil {
		k = &contact{Fields: map[string]string{}}
		a.contacts[c.ContactKey] = k
	}
	if c.Version < k.version {
		a.t.Errorf("%s: contact %s went back from version %d to %d", a.name, c.ContactKey, k.version, c.Version)
	}
	k.take(c)
}

// take lays a desired state over what is there.
func (k *contact) take(c schemas.Command) {
	k.Email, k.version = c.Contact.Email, c.Version
	maps.Copy(k.Fields, c.Contact.Fields)
	k.Tags = slices.DeleteFunc(append(slices.Clone(k.Tags), c.Contact.Tags...), func(t string) bool { return slices.Contains(c.Contact.NoTags, t) })
	slices.Sort(k.Tags)
	k.Tags = slices.Compact(k.Tags)
}

// Reconcile implements sinks.Writer. It may fail, but where it answers it is right.
func (a *account) Reconcile(ctx context.Context, c schemas.Command) sinks.Outcome {
	answered := rest(ctx, time.Second)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count.asked++
	switch {
	case !answered || !a.quiet && a.dice.IntN(5) == 0:
		return sinks.Outcome{Kind: sinks.Retryable, Err: errors.New("502"), Remedy: "wait"}
	case a.happened[c.CommandID] > 0:
		return sinks.Outcome{Kind: sinks.Delivered}
	}
	return sinks.Outcome{Kind: sinks.NotHappened}
}

// Check implements sinks.Writer.
func (a *account) Check(context.Context) []sinks.Finding { return nil }

// Close implements sinks.Writer.
func (a *account) Close() error { return nil }

func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
