package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/bench/workload"
)

const (
	latencyTopic = "bench.latency.input"
	// latencyRateDefault is a tenth of a modest engine.
	latencyRateDefault = 5000
	// latencyWarm passes before what is measured: the group forms, caches and the JIT of the broker warm up.
	latencyWarm = 5 * time.Second
	// paceEvery is the pause between two handfuls of events.
	paceEvery = 2 * time.Millisecond
	// arrivalLimit is how long the last output may take.
	arrivalLimit = 30 * time.Second
)

// latency offers a tenth of the full rate and measures from the call that appends an event, without lingering, until
// its transition is read by a read_committed consumer. The append itself and that consumer's fetch are in it.
func (h *harness) latency(ctx context.Context) error {
	rate := h.o.latencyRate
	if rate == 0 {
		rate = h.engineBest / 10
	}
	if rate == 0 {
		rate = latencyRateDefault
	}
	n, err := h.own(ctx, "latency")
	if err != nil {
		return err
	}
	if err := h.createTopics(ctx, false, latencyTopic); err != nil {
		return err
	}
	defer h.deleteTopics(ctx, latencyTopic, n.output, n.changelog)
	redis, err := startRedis(ctx, h.dir)
	if err != nil {
		return err
	}
	defer redis.end()
	path, args := h.engine(latencyTopic, n, redis.address, "-forever")
	p, err := launch(h.dir, "engine", path, args...)
	if err != nil {
		return err
	}
	defer p.kill()
	took, err := h.offer(ctx, n.output, rate)
	if err != nil {
		return fmt.Errorf("latency at %.0f events/s: %w", rate, err)
	}
	if err := p.stop(ctx); err != nil {
		return err
	}
	r, err := workload.ParseReport(p.out.Bytes())
	if err != nil {
		return err
	}
	interval := r.Seconds * 1000 * r.Extra["lanes"] / r.Extra["tillstream_transactions_total"]
	p99 := quantile(took, 0.99)
	h.say("latency of %d events at %.0f/s: p50 %v, p99 %v; a lane committed each %.1f ms", len(took), rate, quantile(took, 0.5), p99, interval)
	for _, f := range []struct {
		name  string
		value float64
		unit  string
	}{
		{"latency_events_per_second", rate, "events/s"},
		{"latency_p50_ms", milliseconds(quantile(took, 0.5)), "ms"},
		{"latency_p99_ms", milliseconds(p99), "ms"},
		{"latency_commit_interval_ms", interval, "ms"},
		{"latency_p99_in_commit_intervals", milliseconds(p99) / interval, "times"},
	} {
		if err := h.figure(f.name, f.value, f.unit); err != nil {
			return err
		}
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }

func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// arrivals are the orders whose transition was seen.
type arrivals struct {
	sent []atomic.Int64 // by order, nanoseconds since began
	took []time.Duration
	skip int // orders of the warm-up
	seen int
}

// offer appends events at rate and returns the latencies after the warm-up, sorted.
func (h *harness) offer(ctx context.Context, output string, rate float64) ([]time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	length := latencyWarm + time.Duration(h.o.latencySeconds)*time.Second
	count := int(rate * length.Seconds())
	a := &arrivals{sent: make([]atomic.Int64, count), skip: int(rate * latencyWarm.Seconds())}
	began := time.Now()
	out, err := h.kafkaClient(kgo.ConsumeTopics(output), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMinBytes(1))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := a.read(ctx, out, began); err != nil {
			cancel(err)
		}
	})
	l, err := h.newLoader(latencyTopic, kgo.ProducerLinger(0))
	if err != nil {
		return nil, err
	}
	enc := workload.NewEncoder()
	pace := time.NewTicker(paceEvery)
	defer pace.Stop()
	for next := 0; next < count && ctx.Err() == nil; <-pace.C {
		for due := min(count, int(time.Since(began).Seconds()*rate)); next < due; next++ {
			m, err := enc.Created(next, time.Now())
			if err != nil {
				return nil, err
			}
			a.sent[next].Store(int64(time.Since(began)))
			l.add(ctx, m)
		}
	}
	if err := l.close(ctx); err != nil {
		return nil, errors.Join(err, context.Cause(ctx))
	}
	late := time.AfterFunc(arrivalLimit, func() { cancel(fmt.Errorf("not every output came within %v", arrivalLimit)) })
	defer late.Stop()
	wg.Wait()
	if a.seen < count {
		return nil, fmt.Errorf("%d of %d outputs were seen: %w", a.seen, count, context.Cause(ctx))
	}
	slices.Sort(a.took)
	return a.took, nil
}

// read takes the time of each order's first transition, until all were seen.
func (a *arrivals) read(ctx context.Context, out *kgo.Client, began time.Time) error {
	twice := make([]bool, len(a.sent))
	for a.seen < len(a.sent) {
		fetches := out.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read the output: %w", err)
		}
		now := time.Since(began)
		var failed error
		fetches.EachRecord(func(r *kgo.Record) {
			order, err := workload.OrderOf(r.Key)
			if err == nil && (order >= len(a.sent) || twice[order]) {
				err = fmt.Errorf("order %d has one transition too many", order)
			}
			if err != nil {
				failed = err
				return
			}
			twice[order] = true
			if a.seen++; order >= a.skip {
				a.took = append(a.took, now-time.Duration(a.sent[order].Load()))
			}
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}
