package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// How often a contact is read back where that fails.
const (
	triesMax = 5
	jobTries = 2 // a job comes back to what it could not do
	retryMin = time.Second
	retryMax = 30 * time.Second
	askedFor = 2 * time.Minute // one contact, the wait for the account's limit included
	// failuresMax is how many contacts in a row may not be read: then it is the destination.
	failuresMax = 10
)

// ErrAccount is returned, wrapped, where the account cannot be used: no other contact could be read either.
var ErrAccount = errors.New("the account cannot be used")

// RunOptions say how contacts are compared.
type RunOptions struct {
	Verifier sinks.Verifier
	Clock    clock.Clock // default clock.System
	// PerMinute bounds the contacts; 0: only the account's own limit does.
	PerMinute int
	// Repair asks for the desired state of a contact to be sent again; nil: nothing is mended.
	Repair func(ctx context.Context, t *schemas.ContactTouch) error
	Why    string
	// Told gets each result as it comes; nil: nobody does.
	Told func(Result) error
}

// Run compares what the book has selected.
func Run(ctx context.Context, b *Book, o RunOptions) (Tally, error) {
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	t := Tally{Unfinished: b.Unfinished}
	due, failures := o.Clock.Now(), 0
	err := b.Each(ctx, func(c *schemas.Command) error {
		if wait := due.Sub(o.Clock.Now()); wait > 0 {
			if err := o.Clock.Sleep(ctx, wait); err != nil {
				return err
			}
		}
		if o.PerMinute > 0 {
			due = o.Clock.Now().Add(time.Minute / time.Duration(o.PerMinute))
		}
		r, err := Compare(ctx, b, o.Verifier, o.Clock, c, triesMax)
		if err != nil {
			return err
		}
		if r.Result != schemas.ItemFailed {
			failures = 0
		} else if failures++; failures == failuresMax {
			return fmt.Errorf("%d contacts one after the other could not be read back, the last: %s", failures, r.Detail)
		}
		if r.Mends() && o.Repair != nil {
			if err := o.Repair(ctx, Touch(c, o.Why, o.Clock.Now())); err != nil {
				return fmt.Errorf("ask for a contact to be sent again: %w", err)
			}
			r.Detail += "; its desired state is sent again"
			t.Mended++
		}
		t.Add(r)
		if o.Told != nil {
			return o.Told(r)
		}
		return nil
	})
	return t, err
}

// Compare reads one contact back, in so many tries. Where it cannot be read the result says so; an error ends the whole run.
func Compare(ctx context.Context, b *Book, v sinks.Verifier, cl clock.Clock, c *schemas.Command, tries int) (Result, error) {
	got, o, err := readBack(ctx, v, cl, c, tries)
	if err != nil {
		return Result{}, err
	}
	r := Judge(c, got, o)
	if r.Result == schemas.ItemMatches {
		return r, nil
	}
	// What was sent meanwhile makes the contact other than this state.
	newer, err := b.Newer(ctx, c)
	if err != nil {
		return Result{}, err
	}
	if newer {
		return Result{ContactKey: c.ContactKey, Result: schemas.ItemSkipped, Detail: "it got a newer state meanwhile"}, nil
	}
	return r, nil
}

func readBack(ctx context.Context, v sinks.Verifier, cl clock.Clock, c *schemas.Command, tries int) (got sinks.Comparison, o sinks.Outcome, err error) {
	for try, pause := 1, retryMin; ; try, pause = try+1, min(2*pause, retryMax) {
		asked, cancel := cl.WithTimeout(ctx, askedFor)
		got, o = safely(asked, v, c.Contact)
		cancel()
		switch {
		case ctx.Err() != nil:
			return got, o, ctx.Err()
		case o.Kind == sinks.Delivered, o.Kind == sinks.Rejected && !o.Account:
			return got, o, nil
		case o.Account && o.RetryAfter <= 0:
			return got, o, refused(o)
		case try == tries && o.Account:
			return got, o, refused(o)
		case try == tries:
			return got, o, nil
		}
		if cl.Sleep(ctx, max(pause, o.RetryAfter)) != nil {
			return got, o, ctx.Err()
		}
	}
}

func refused(o sinks.Outcome) error {
	err := ErrAccount
	if o.Err != nil {
		err = fmt.Errorf("%w: %s", ErrAccount, outbound.Redact(o.Err.Error()))
	}
	if o.Remedy != "" {
		return fmt.Errorf("%w; %s", err, o.Remedy)
	}
	return err
}

// safely turns a panic of a sink into an outcome, without its value, which could hold anything.
func safely(ctx context.Context, v sinks.Verifier, want schemas.Contact) (got sinks.Comparison, o sinks.Outcome) {
	defer func() {
		if p := recover(); p != nil {
			o = sinks.Outcome{Kind: sinks.Rejected, Err: fmt.Errorf("the sink failed with a panic of type %T", p), Remedy: "report this as a bug"}
		}
	}()
	return v.Verify(ctx, want)
}
