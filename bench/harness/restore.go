package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tillstream/tillstream/bench/workload"
)

// runEngine runs the engine program over topic to its end.
func (h *harness) runEngine(ctx context.Context, topic string, n names, redis string, more ...string) (workload.Report, error) {
	path, args := h.engine(topic, n, redis, more...)
	p, err := launch(h.dir, "engine", path, args...)
	if err == nil {
		err = p.wait(ctx, runLimit)
	}
	if err != nil {
		return workload.Report{}, err
	}
	return workload.ParseReport(p.out.Bytes())
}

// own makes the topics of one part.
func (h *harness) own(ctx context.Context, part string) (names, error) {
	h.run++
	n := names{
		output: fmt.Sprintf("bench.%s.output.%d", part, h.run), changelog: fmt.Sprintf("bench.%s.changelog.%d", part, h.run),
		group: fmt.Sprintf("bench-%s-%d", part, h.run),
	}
	if err := h.createTopics(ctx, false, n.output); err != nil {
		return n, err
	}
	return n, h.createTopics(ctx, true, n.changelog)
}

// restore measures how long a partition is not served: after Redis lost everything, and after a kill.
func (h *harness) restore(ctx context.Context) error {
	if err := h.restoreEmpty(ctx); err != nil {
		return fmt.Errorf("restore into an empty Redis: %w", err)
	}
	if err := h.restoreTail(ctx); err != nil {
		return fmt.Errorf("restore after a kill: %w", err)
	}
	return nil
}

// restoreEmpty builds a changelog of orders with one event each, then starts the engine on an empty Redis.
func (h *harness) restoreEmpty(ctx context.Context) error {
	const topic = "bench.restore.input"
	n, err := h.own(ctx, "restore")
	if err != nil {
		return err
	}
	if err := h.createTopics(ctx, false, topic); err != nil {
		return err
	}
	defer h.deleteTopics(ctx, topic, n.output, n.changelog)
	l, err := h.newLoader(topic)
	if err != nil {
		return err
	}
	enc := workload.NewEncoder()
	for i := range h.o.restore {
		// All within the hour of the first, so that no wait ends.
		m, err := enc.Created(i, workload.Begin.Add(time.Duration(i)*30*time.Minute/time.Duration(h.o.restore)))
		if err != nil {
			return err
		}
		l.add(ctx, m)
	}
	if err := l.close(ctx); err != nil {
		return err
	}
	redis, err := startRedis(ctx, h.dir)
	if err != nil {
		return err
	}
	defer redis.end()
	built, err := h.runEngine(ctx, topic, n, redis.address)
	if err != nil {
		return err
	}
	full, err := h.held(ctx, redis)
	if err != nil {
		return err
	}
	if err := redis.client.FlushAll(ctx).Err(); err != nil {
		return err
	}
	r, err := h.runEngine(ctx, topic, n, redis.address)
	if err != nil {
		return err
	}
	restored, err := h.held(ctx, redis)
	if err != nil {
		return err
	}
	if built.Events != int64(h.o.restore) || r.Events != 0 || full != int64(h.o.restore) || restored != full {
		return fmt.Errorf("%d orders were written by %d events, and %d came back with %d events read again", full, built.Events, restored, r.Events)
	}
	h.say("restored %d orders in %.2f s (peak %.0f MB)", restored, r.Extra["recovery_seconds"], r.PeakRSSMB)
	if err := h.figure("restore_orders", float64(h.o.restore), "orders"); err != nil {
		return err
	}
	return h.figure("restore_empty_seconds", r.Extra["recovery_seconds"], "s")
}

// held is the number of images in Redis.
func (h *harness) held(ctx context.Context, r *redisServer) (int64, error) {
	var sum int64
	scan := r.client.Scan(ctx, 0, "*:images*", 1000).Iterator()
	for scan.Next(ctx) {
		n, err := r.client.HLen(ctx, scan.Val()).Result()
		if err != nil {
			return 0, fmt.Errorf("count the images: %w", err)
		}
		sum += n
	}
	return sum, scan.Err()
}

// restoreTail kills the engine in the middle of the plan, lets it end the work in a second life, and checks the output.
func (h *harness) restoreTail(ctx context.Context) error {
	want, err := h.plan(ctx)
	if err != nil {
		return err
	}
	n, err := h.own(ctx, "tail")
	if err != nil {
		return err
	}
	defer h.deleteTopics(ctx, n.output, n.changelog)
	redis, err := startRedis(ctx, h.dir)
	if err != nil {
		return err
	}
	defer redis.end()
	path, args := h.engine(input, n, redis.address)
	p, err := launch(h.dir, "engine-killed", path, args...)
	if err != nil {
		return err
	}
	third := int64(want.Events / 3)
	err = until(ctx, runLimit, "a third of the input is committed", func(ctx context.Context) error {
		if p.ended() {
			return fmt.Errorf("the engine ended before: %s", p.tail())
		}
		done, err := h.committed(ctx, n.group, input)
		if err == nil && done < third {
			err = errors.New("not yet")
		}
		return err
	})
	p.kill()
	if err != nil {
		return err
	}
	r, err := h.runEngine(ctx, input, n, redis.address)
	if err != nil {
		return err
	}
	if err := h.check(ctx, n.output, want); err != nil {
		return err
	}
	h.say("after a kill: running %.3f s after the recovery began, %d events left to read; output right", r.Extra["recovery_seconds"], r.Events)
	return h.figure("restore_tail_seconds", r.Extra["recovery_seconds"], "s")
}
