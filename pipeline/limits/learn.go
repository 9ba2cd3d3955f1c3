package limits

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/tillstream/tillstream/outbound"
)

// learn tells Redis what came of a request.
func (t *turn) learn(ctx context.Context, f outbound.Feedback) error {
	a, second := t.use.account, window{}
	var counted *window
	for i, w := range t.use.windows {
		if w.Spaced() {
			second = w
		} else if counted == nil {
			counted = &t.use.windows[i]
		}
	}
	// The provider's count is that of a longer window where it names a later reset, or a number beyond the second's.
	told, left, reset := "", int64(0), time.Duration(0)
	limitOfSecond, leftOfSecond := int64(0), int64(-1)
	switch {
	case f.Told.Limit <= 0:
	case counted != nil && f.Told.Limit > int64(second.Requests) && f.Told.Reset > 0:
		told, left, reset = counted.name, f.Told.Left, f.Told.Reset
	case second.Requests > 0 && f.Told.Reset <= second.Per && f.Latency > 0:
		limitOfSecond, leftOfSecond = f.Told.Limit, f.Told.Left
	}
	// A longer window that is used up, or a bucket, says nothing about the rate.
	refused := f.Status == http.StatusTooManyRequests && t.bucket == "" && (told == "" || left > 0)
	if f.Status == http.StatusTooManyRequests {
		a.mu.Lock()
		a.counts.refused++
		a.mu.Unlock()
	}
	latency := f.Latency.Microseconds()
	if f.Status == 0 || f.Hold > 0 {
		latency = 0 // a refusal is quick, and tells nothing about the usual
	}
	err := learnScript.Run(ctx, a.book.o.Redis, a.keys[:3],
		t.lease, t.bucket, f.Hold.Microseconds(), fmt.Sprintf("status %d", f.Status), latency, flag(refused),
		told, left, reset.Microseconds(), second.name, second.Per.Microseconds(), second.Requests, limitOfSecond, leftOfSecond,
		settle.Microseconds(), shareMin, cutRefused, cutOthers, cutSlow, raise, changePause.Microseconds(), slowPause.Microseconds(),
		slowTimes, slowLeast.Microseconds()).Err()
	if err != nil {
		return fmt.Errorf("tell redis of an answer: %w", err)
	}
	return nil
}
