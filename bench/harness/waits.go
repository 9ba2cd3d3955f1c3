package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tillstream/tillstream/bench/workload"
	"github.com/tillstream/tillstream/pipeline/kafka"
)

const (
	waitsTopic = "bench.waits.input"
	// waitsFew is the smaller number of open waits; at the larger one the same work is measured again.
	waitsFew = 10_000
	// waitsSpan is the stream time in which every wait is armed, so that none is due before the end.
	waitsSpan = 30 * time.Minute
)

// waitsRun goes through the phases of the waits part: few open waits, the same work again with many, all of them due.
type waitsRun struct {
	h     *harness
	n     names
	redis *redisServer
	enc   *workload.Encoder
	next  int // order to be created next
	steps int // events so far
	total int // events of all phases, to spread them over waitsSpan
}

// waits measures what arming a wait costs while few and while many are open, and how fast they fire when all are due.
func (h *harness) waits(ctx context.Context) error {
	if h.o.waits < waitsFew || h.o.pairs < 1 {
		return fmt.Errorf("%d waits, %d pairs: use at least %d and 1", h.o.waits, h.o.pairs, waitsFew)
	}
	n, err := h.own(ctx, "waits")
	if err != nil {
		return err
	}
	if err := h.createTopics(ctx, false, waitsTopic); err != nil {
		return err
	}
	defer h.deleteTopics(ctx, waitsTopic, n.output, n.changelog)
	redis, err := startRedis(ctx, h.dir)
	if err != nil {
		return err
	}
	defer redis.end()
	w := &waitsRun{h: h, n: n, redis: redis, enc: workload.NewEncoder(), total: h.o.waits + 4*h.o.pairs}
	if _, err := w.phase(ctx, "few waits", func(add func(workload.Message, error)) { w.arm(waitsFew, add) }); err != nil {
		return err
	}
	few, err := w.phase(ctx, "armed and ended beside few", w.pairs)
	if err != nil {
		return err
	}
	if _, err := w.phase(ctx, "many waits", func(add func(workload.Message, error)) { w.arm(h.o.waits-waitsFew, add) }); err != nil {
		return err
	}
	many, err := w.phase(ctx, "armed and ended beside many", w.pairs)
	if err != nil {
		return err
	}
	held, err := redis.taken(ctx)
	if err != nil {
		return err
	}
	fired, err := w.phase(ctx, "all due", w.late)
	if err != nil {
		return err
	}
	if got := fired.Extra["tillstream_timers_fired_total"]; got != float64(h.o.waits) {
		return fmt.Errorf("%.0f waits fired, want %d", got, h.o.waits)
	}
	for _, f := range []struct {
		name  string
		value float64
		unit  string
	}{
		{"waits_open", float64(h.o.waits), "waits"},
		{"waits_arming_us_at_10000", few.Seconds * 1e6 / float64(few.Events), "us"},
		{"waits_arming_us_at_open", many.Seconds * 1e6 / float64(many.Events), "us"},
		{"waits_arming_ratio", many.Seconds * float64(few.Events) / (few.Seconds * float64(many.Events)), "times"},
		{"waits_fired_per_second", float64(h.o.waits) / fired.Seconds, "waits/s"},
		{"waits_redis_bytes_per_wait", float64(held.used) / float64(h.o.waits), "bytes"},
		{"waits_peak_rss_mb", max(many.PeakRSSMB, fired.PeakRSSMB), "MB"},
	} {
		if err := h.figure(f.name, f.value, f.unit); err != nil {
			return err
		}
	}
	return nil
}

// phase appends messages and runs the engine over them, in a process of its own, so that loading disturbs nothing.
func (w *waitsRun) phase(ctx context.Context, name string, messages func(add func(workload.Message, error))) (workload.Report, error) {
	l, err := w.h.newLoader(waitsTopic)
	if err != nil {
		return workload.Report{}, err
	}
	var failed error
	messages(func(m workload.Message, err error) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			failed = errors.Join(failed, err)
			return
		}
		l.add(ctx, m)
	})
	if failed = errors.Join(failed, l.close(ctx)); failed != nil {
		return workload.Report{}, failed
	}
	r, err := w.h.runEngine(ctx, waitsTopic, w.n, w.redis.address)
	if err == nil && r.Events != int64(l.count) {
		err = fmt.Errorf("%d events were read, %d appended", r.Events, l.count)
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w", name, err)
	}
	w.h.say("%s: %d events in %.2f s, %.0f waits fired, %.0f MB", name, r.Events, r.Seconds, r.Extra["tillstream_timers_fired_total"], r.PeakRSSMB)
	return r, nil
}

func (w *waitsRun) now() time.Time {
	w.steps++
	return workload.Begin.Add(waitsSpan * time.Duration(w.steps) / time.Duration(w.total))
}

// arm creates n orders.
func (w *waitsRun) arm(n int, add func(workload.Message, error)) {
	for range n {
		add(w.enc.Created(w.next, w.now()))
		w.next++
	}
}

// pairs creates orders and pays as many, each waitsFew orders after it was created: the number of waits stays.
func (w *waitsRun) pairs(add func(workload.Message, error)) {
	for range w.h.o.pairs {
		w.arm(1, add)
		add(w.enc.Captured(w.next-1-waitsFew, w.now()))
	}
}

// late brings one record to each partition, hours later.
func (w *waitsRun) late(add func(workload.Message, error)) {
	reached := map[int32]bool{}
	for order := w.next; len(reached) < workload.Partitions; order++ {
		p := kafka.Partition([]byte(workload.OrderKey(order)), workload.Partitions)
		if !reached[p] {
			reached[p] = true
			add(w.enc.Created(order, workload.Begin.Add(4*time.Hour)))
		}
	}
}
