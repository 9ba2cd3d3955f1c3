package limits

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tillstream/tillstream/outbound"
)

type limitsOf = outbound.Limits

// use is one use of an account in this process.
type use struct {
	account  *account
	name     string
	limits   outbound.Limits
	windows  []window
	buckets  map[string][]window // with those of the account
	kept     bool                // it has something that a process restores
	instance string
	counts   *useCounts

	mu     sync.Mutex
	queues map[string]*queue
}

type useCounts struct {
	turns   atomic.Int64
	waiting atomic.Int64
	waited  atomic.Int64 // nanoseconds
}

// queue is who waits in this process for one bucket of one use: one of them asks Redis for all.
type queue struct {
	who     string
	windows []window
	head    chan struct{}
	waiting atomic.Int64
}

func newUse(a *account, name string, l outbound.Limits) *use {
	u := &use{
		account: a, name: name, limits: l, windows: windowsOf("", l.Windows), buckets: map[string][]window{},
		instance: a.book.o.Instance, counts: &useCounts{}, queues: map[string]*queue{},
	}
	u.kept = l.Parallel > 0 || len(l.Buckets) > 0 || slices.ContainsFunc(u.windows, func(w window) bool { return !w.Spaced() })
	for _, b := range l.Buckets {
		u.buckets[b.Name] = append(windowsOf(b.Name, b.Windows), u.windows...)
	}
	return u
}

func (u *use) queue(bucket string) *queue {
	u.mu.Lock()
	defer u.mu.Unlock()
	q := u.queues[bucket]
	if q == nil {
		q = &queue{who: u.name + "\t" + u.instance + "\t" + bucket, windows: u.windows, head: make(chan struct{}, 1)}
		if w, ok := u.buckets[bucket]; ok {
			q.windows = w
		}
		u.queues[bucket] = q
	}
	return q
}

// bucketOf is the bucket that ctx names, if there is one of that name here.
func (u *use) bucketOf(ctx context.Context) string {
	name := outbound.BucketOf(ctx)
	if _, ok := u.buckets[name]; !ok {
		return ""
	}
	return name
}

// Acquire implements outbound.Limiter.
func (u *use) Acquire(ctx context.Context) (outbound.Turn, error) {
	t := &turn{use: u, bucket: u.bucketOf(ctx)}
	if u.limits.Parallel > 0 {
		t.lease = newID()
	}
	if err := t.take(ctx); err != nil {
		t.Done(outbound.Feedback{}) // a grant that was too old may have left its lease
		return nil, err
	}
	if u.kept {
		u.account.begin()
	}
	return t, nil
}

// turn is the leave to send one request.
type turn struct {
	use     *use
	bucket  string
	lease   string        // of a request on its way; empty: these are not limited
	granted time.Duration // by Redis's clock
	done    atomic.Bool
}

// reply is what take.lua answers.
type reply struct {
	wait  time.Duration
	epoch string
	turns int64
	now   time.Duration // Redis's clock
	why   string
	lost  bool
}

// take waits for the turn, in the order of asking within the process.
func (t *turn) take(ctx context.Context) error {
	u, a := t.use, t.use.account
	q := u.queue(t.bucket)
	q.waiting.Add(1)
	u.counts.waiting.Add(1)
	began := a.book.span()
	defer func() {
		q.waiting.Add(-1)
		u.counts.waiting.Add(-1)
		u.counts.waited.Add(int64(a.book.span() - began))
	}()
	select {
	case q.head <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("rate limit of %s: %w while others wait before it", a.name, context.Cause(ctx))
	}
	defer func() { <-q.head }()
	return t.ask(ctx, q)
}

// ask asks Redis until it grants the turn, and takes none that came too late to be used.
func (t *turn) ask(ctx context.Context, q *queue) error {
	a, ageMax, pause, why := t.use.account, turnAgeMax, redisPauseMin, "redis"
	full := parallelPause
	var down error
	for discarded := 0; ; {
		r, err := t.run(ctx, q, full)
		wait := r.wait
		switch {
		case err != nil:
			wait, pause, down, why = pause, min(2*pause, redisPauseMax), err, "redis"
		case r.lost:
			wait, down = 0, a.restore(ctx, r.epoch)
			if down != nil {
				wait, pause = pause, min(2*pause, redisPauseMax)
			}
		case wait <= 0:
			t.granted = r.now
			a.count(q.windows, t.lease, r.now)
			if a.age(r.now) <= ageMax {
				t.use.counts.turns.Add(1)
				return nil
			}
			a.discard()
			// Where all are late alike, the times between them are right again.
			if discarded++; discarded <= turnAgeDoubles {
				ageMax *= 2
			}
		default:
			pause, down, why = redisPauseMin, nil, r.why
		}
		var wake chan struct{}
		if wait > 0 && why == "parallel" {
			full, wake = min(2*full, parallelMax), a.freed
		}
		if err := sleep(ctx, wait, wake); err != nil {
			return t.gaveUp(err, down, why)
		}
	}
}

func (a *account) discard() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts.discarded++
}

// reasons says in words why a turn is waited for.
var reasons = map[string]string{
	"rate": "its rate", "hold": "the silence that the provider asked for", "start": "the second after the start of its count", "bucket": "the limit of these requests",
	"window": "its longer window, which is used up", "parallel": "the requests on their way", "share": "the turns of others",
}

func (t *turn) gaveUp(err, down error, why string) error {
	if down != nil {
		return fmt.Errorf("rate limit of %s: redis does not answer: %w (%w)", t.use.account.name, err, down)
	}
	if text, ok := reasons[why]; ok {
		return fmt.Errorf("rate limit of %s: waiting for %s: %w", t.use.account.name, text, err)
	}
	return fmt.Errorf("rate limit of %s: %w", t.use.account.name, err)
}

var errAnswer = errors.New("redis gave an answer of another form")

func (t *turn) run(ctx context.Context, q *queue, full time.Duration) (reply, error) {
	u, a := t.use, t.use.account
	epoch, turns := a.seen()
	args := []any{
		epoch, turns, newID(), settle.Microseconds(), u.name, q.who, max(q.waiting.Load(), 1), t.lease, u.limits.Parallel, leaseFor.Microseconds(),
		graceOfUse.Microseconds(), lateAllowance.Microseconds(), waitMax.Microseconds(), creditTurns, t.bucket, a.heldFor().Microseconds(),
		arrivalMargin.Microseconds(), full.Microseconds(),
	}
	for _, w := range q.windows {
		args = append(args, w.args()...)
	}
	list, err := takeScript.Run(ctx, a.book.o.Redis, a.keys, args...).Slice()
	if err != nil {
		return reply{}, err
	}
	if len(list) != 5 {
		return reply{}, errAnswer
	}
	wait, ok1 := list[0].(int64)
	name, ok2 := list[1].(string)
	count, ok3 := list[2].(int64)
	now, ok4 := list[3].(int64)
	why, ok5 := list[4].(string)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
		return reply{}, errAnswer
	}
	r := reply{time.Duration(wait) * time.Microsecond, name, count, time.Duration(now) * time.Microsecond, why, wait < 0}
	a.note(r)
	return r, nil
}

// Renew implements outbound.Turn.
func (t *turn) Renew(ctx context.Context, repeated bool) error {
	if !repeated && t.use.account.age(t.granted) <= turnAgeMax {
		return nil
	}
	if !repeated {
		t.use.account.discard()
	}
	return t.take(ctx)
}

// Done implements outbound.Turn.
func (t *turn) Done(f outbound.Feedback) {
	if t.done.Swap(true) {
		return
	}
	a := t.use.account
	leased := t.lease != "" && a.end(t.lease)
	if f.Hold > 0 && t.bucket == "" {
		a.holdFor(f.Hold)
	}
	if !leased && f.Hold <= 0 && !a.due(f) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), redisTimeout)
	defer cancel()
	// Where Redis does not answer nobody gets a turn; the lease runs out by itself, and the hold is told with the next
	// question.
	_ = t.learn(ctx, f)
	if leased {
		a.wake()
	}
}

// due reports whether Redis should be told of an answer as usual: not of each.
func (a *account) due(f outbound.Feedback) bool {
	if f.Status == 0 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.book.span()
	if a.learned != 0 && now-a.learned < learnEvery {
		return false
	}
	a.learned = now
	return true
}

// sleep waits for d, or until wake gives something.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
