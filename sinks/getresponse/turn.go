package getresponse

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// turn is held by whoever asks the account for what all need to know: one asks, and those who wait have the answer too.
// Unlike a mutex it is waited for no longer than a context lives, for a writer has to stop when it is told to.
type turn struct{ one *semaphore.Weighted }

func newTurn() turn { return turn{semaphore.NewWeighted(1)} }

// take waits for the turn. Where the context ends first nothing was tried, and the command may be repeated.
func (t turn) take(ctx context.Context) *failure {
	if err := t.one.Acquire(ctx, 1); err != nil {
		return &failure{kind: failRetry, cause: "not tried: " + err.Error(), remedy: "nothing: it is tried again"}
	}
	return nil
}

func (t turn) give() { t.one.Release(1) }
