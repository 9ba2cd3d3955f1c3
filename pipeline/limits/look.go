package limits

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// View is how an account stands, over all processes.
type View struct {
	Account string       `json:"account"`
	Windows []WindowView `json:"windows"`
	// Parallel is how many requests may be on their way at a time, 0: any number; InParallel how many are.
	Parallel   int `json:"parallel,omitempty"`
	InParallel int `json:"in_parallel,omitempty"`
	// HoldUntil is the end of the silence that the provider asked for, and HoldWhy what it answered; zero: none is kept.
	HoldUntil time.Time `json:"hold_until,omitzero"`
	HoldWhy   string    `json:"hold_why,omitempty"`
	// Share of the configured rate that is made use of, 1 when all is well; Rate what that makes a second, 0: any.
	Share float64 `json:"share"`
	Rate  float64 `json:"rate_per_second,omitempty"`
	// Others is how many requests of the last second the provider counted that were not ours; where it tells.
	Others int       `json:"others,omitempty"`
	Uses   []UseView `json:"uses"`
}

// WindowView is one limit.
type WindowView struct {
	Name       string        `json:"name"`
	Bucket     string        `json:"bucket,omitempty"` // of these requests only
	Requests   int           `json:"requests"`
	Per        time.Duration `json:"-"`
	PerSeconds float64       `json:"per_seconds"`
	Used       int           `json:"used"`
	Left       int           `json:"left"`
	// Reset is when nothing of it is used any longer, or when the provider said that it begins anew; zero: nothing is used.
	Reset time.Time `json:"reset,omitzero"`
	// HoldUntil is that of a bucket.
	HoldUntil time.Time `json:"hold_until,omitzero"`
}

// UseView is who uses the account.
type UseView struct {
	Use     string `json:"use"`
	Waiting int    `json:"waiting"`         // requests that wait for a turn, in all processes
	Turns   int64  `json:"turns,omitempty"` // granted to this process since it started
}

// Look returns the accounts that this process knows of, by name, as Redis has them.
func (b *Book) Look(ctx context.Context) ([]View, error) {
	out := []View{}
	for _, a := range b.list() {
		v, err := a.view(ctx)
		if err != nil {
			return nil, fmt.Errorf("limits of %s: %w", a.name, err)
		}
		out = append(out, v)
	}
	return out, nil
}

// kept is what Redis has of an account.
type kept struct {
	now                      time.Time
	state, windows, waitings map[string]string
	leases                   int64
}

func (a *account) kept(ctx context.Context) (kept, error) {
	var clock *redis.TimeCmd
	var state, windows, waiting *redis.MapStringStringCmd
	var leases *redis.ZSliceCmd
	_, err := a.book.o.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		clock = p.Time(ctx)
		state, windows, waiting = p.HGetAll(ctx, a.keys[0]), p.HGetAll(ctx, a.keys[1]), p.HGetAll(ctx, a.keys[3])
		leases = p.ZRangeWithScores(ctx, a.keys[2], 0, -1)
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return kept{}, err
	}
	k := kept{now: clock.Val(), state: state.Val(), windows: windows.Val(), waitings: waiting.Val()}
	for _, l := range leases.Val() {
		if time.UnixMicro(int64(l.Score)).After(k.now) {
			k.leases++
		}
	}
	return k, nil
}

func (k kept) number(field string) int64 {
	n, _ := strconv.ParseInt(k.state[field], 10, 64)
	return n
}

// after is a time of the state that has not come yet; zero: none.
func (k kept) after(field string) time.Time {
	if at := time.UnixMicro(k.number(field)); at.After(k.now) {
		return at.UTC()
	}
	return time.Time{}
}

func (a *account) view(ctx context.Context) (View, error) {
	k, err := a.kept(ctx)
	if err != nil {
		return View{}, err
	}
	v := View{Account: a.name, InParallel: int(k.leases), HoldUntil: k.after("hold"), Others: int(k.number("others")), Share: 1}
	if !v.HoldUntil.IsZero() {
		v.HoldWhy = k.state["why"]
	}
	if s, err := strconv.ParseFloat(k.state["share"], 64); err == nil {
		v.Share = s
	}
	waiting := k.waiting()
	seen := map[string]bool{}
	for _, u := range a.list() {
		v.Uses = append(v.Uses, UseView{u.name, waiting[u.name], u.counts.turns.Load()})
		delete(waiting, u.name)
		if p := u.limits.Parallel; p > 0 && (v.Parallel == 0 || p < v.Parallel) {
			v.Parallel = p
		}
		list := u.windows
		for _, bucket := range u.limits.Buckets {
			list = append(list[:len(list):len(list)], windowsOf(bucket.Name, bucket.Windows)...)
		}
		for _, w := range list {
			if !seen[w.name] {
				seen[w.name] = true
				v.Windows = append(v.Windows, k.window(w))
			}
			if rate := v.Share * float64(w.Requests) / w.Per.Seconds(); w.Spaced() && w.bucket == "" && (v.Rate == 0 || rate < v.Rate) {
				v.Rate = rate
			}
		}
	}
	for use, n := range waiting { // of processes whose configuration names others
		v.Uses = append(v.Uses, UseView{Use: use, Waiting: n})
	}
	return v, nil
}

// waiting counts who waits, of those that asked lately.
func (k kept) waiting() map[string]int {
	out := map[string]int{}
	for who, text := range k.waitings {
		var n int
		var from, till int64
		if _, err := fmt.Sscanf(text, "%d %d %d", &n, &from, &till); err != nil || time.UnixMicro(till).Before(k.now) {
			continue
		}
		use, _, _ := strings.Cut(who, "\t")
		out[use] += n
	}
	return out
}

func (k kept) window(w window) WindowView {
	v := WindowView{Name: w.name, Bucket: w.bucket, Requests: w.Requests, Per: w.Per, PerSeconds: w.Per.Seconds()}
	length := w.slot()
	slots := int64(slotsOfWindow)
	if w.Spaced() {
		slots = slotsOfSpaced
	}
	oldest := k.now.UnixMicro()/length.Microseconds() - slots
	last := int64(-1)
	for field, text := range k.windows {
		number, ok := strings.CutPrefix(field, w.name+" ")
		slot, err := strconv.ParseInt(number, 10, 64)
		if n, _ := strconv.Atoi(text); ok && err == nil && slot >= oldest && n > 0 {
			v.Used += n
			last = max(last, slot)
		}
	}
	if last >= 0 {
		v.Reset = time.UnixMicro((last + slots + 1) * length.Microseconds()).UTC()
	}
	v.Left = max(w.Requests-v.Used, 0)
	if reset := k.after("reset " + w.name); !reset.IsZero() {
		v.Reset = reset
		if left := int(max(k.number("left "+w.name), 0)); left < v.Left {
			v.Left, v.Used = left, max(v.Used, w.Requests-left)
		}
	}
	if w.bucket != "" {
		v.HoldUntil = k.after("hold " + w.bucket)
	}
	return v
}
