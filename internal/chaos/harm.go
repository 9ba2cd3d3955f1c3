package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/tillstream/tillstream/internal/chaos/proxy"
)

const (
	survivorsMin  = 1                // processes that run while others are killed or stopped
	choiceLimit   = 2 * time.Minute  // to wait for somebody who can be hit
	wholeLimit    = 2 * time.Minute  // for the replicas to be in sync again
	cutLimit      = 20 * time.Second // for a transaction that can be cut
	takeoverLimit = 90 * time.Second
	snapshotEvery = 8 * time.Second
	stopLimit     = 20 * time.Second
	faultSeconds  = 1.6  // of a plan that a fault takes beside its gap, for the pace of the load
	quietSeconds  = 22.0 // that a quiet kill takes
)

// harm is the part of a run in which the plan is carried out, and in its first part only quiet kills.
type harm struct {
	w    *world
	ctx  context.Context
	wg   sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

// harm starts the load, measures takeovers in peace, carries out the plan, and ends every fault.
func (w *world) harm(ctx context.Context) error {
	steps := plan(w.o)
	seconds := quietSeconds*float64(w.o.QuietKills) + float64(len(steps))*(w.o.Gap.Seconds()+faultSeconds)
	w.load.setRate(int(float64(len(w.load.sends)) / seconds))
	w.load.start(ctx)
	w.say("%d records at %d a second, %d quiet kills, %d faults", len(w.load.sends), w.load.rate.Load(), w.o.QuietKills, len(steps))
	during, cancel := context.WithCancel(ctx)
	defer cancel()
	h := &harm{w: w, ctx: during}
	h.wg.Go(h.snapshots)
	h.wg.Go(h.people)
	err := h.quiet()
	for i, s := range steps {
		if err != nil {
			break
		}
		if err = pause(ctx, s.Gap); err == nil {
			err = h.do(s)
		}
		if err != nil {
			err = fmt.Errorf("fault %d of %d, %s: %w", i+1, len(steps), s.Fault, err)
		}
	}
	cancel()
	h.wg.Wait()
	w.faults.Clear()
	w.here.stay()
	w.r.UnderFaults = w.committed(ctx)
	w.say("the faults are over; %d offsets were committed under them", w.r.UnderFaults)
	return errors.Join(append(h.errs, err)...)
}

// committed is how far the stages' groups have come, over all of their inputs.
func (w *world) committed(ctx context.Context) (total int) {
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	for _, group := range stageGroups {
		offsets, err := w.cluster.admin.FetchOffsets(ctx, group)
		if err != nil {
			w.say("offsets of %s: %v", group, err)
			continue
		}
		offsets.Each(func(o kadm.OffsetResponse) { total += int(max(0, o.At)) })
	}
	return total
}

// fail keeps the error of something that runs beside the plan.
func (h *harm) fail(err error) {
	if err == nil || h.ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errs = append(h.errs, err)
}

// later runs undo after d, or at the end of the faults, whichever comes first.
func (h *harm) later(d time.Duration, undo func() error) {
	h.wg.Go(func() {
		_ = pause(h.ctx, d)
		h.fail(undo())
	})
}

// snapshots keeps older copies of the data of redis at hand.
func (h *harm) snapshots() {
	for pause(h.ctx, snapshotEvery) == nil {
		h.fail(h.w.redis.snapshot())
	}
}

// quiet kills one owner at a time, with nothing else wrong, and waits until each of its partitions commits again.
func (h *harm) quiet() error {
	w := h.w
	for i := range w.o.QuietKills {
		if err := pause(h.ctx, w.o.Gap); err != nil {
			return err
		}
		k := w.workers[i%workerCount]
		t := w.watch.expect(k.name, true)
		k.kill()
		w.r.Kills++
		w.say("kill %s, %d partitions, nothing else is wrong", k.name, len(t.slots))
		limit, cancel := context.WithTimeout(h.ctx, takeoverLimit)
		select {
		case <-t.done:
		case <-limit.Done():
		}
		cancel()
		for s, took := range t.took {
			if took > w.o.TakeoverMax {
				w.found.add("takeover", s.String(), "%.1f s after the kill of %s, with nothing else wrong; at most %v are promised", took.Seconds(), k.name, w.o.TakeoverMax)
			}
		}
		for _, s := range w.watch.missing(t) {
			w.found.add("takeover", s, "no commit within %v of the kill of %s, with nothing else wrong\n%s", takeoverLimit, k.name, w.statuses(h.ctx))
		}
		if err := k.start(); err != nil {
			return err
		}
		if err := w.awaitReady(h.ctx); err != nil {
			return err
		}
	}
	return nil
}

// do carries out one step.
func (h *harm) do(s step) error {
	switch s.Fault {
	case faultKill:
		return h.kill(s)
	case faultPause:
		return h.pause(s)
	case faultRollback, faultWipe:
		return h.replaceRedis(s)
	case faultFlush:
		h.w.say("flushall")
		h.w.r.RedisWipes++
		return h.w.redis.flush(h.ctx)
	case faultBroker:
		return h.killBroker(s)
	case faultCut:
		return h.cut(s)
	case faultHalfOpen, faultSlow:
		return h.spoilNetwork(s)
	case faultRebalance:
		return h.rebalance(s)
	}
	return fmt.Errorf("no such fault: %s", s.Fault)
}

// victim waits until so many processes run that one can be hit, and chooses it.
func (h *harm) victim(s step) (k *worker, err error) {
	err = await(h.ctx, choiceLimit, "enough processes run", func(context.Context) error {
		var list []*worker
		for _, k := range h.w.workers {
			if k.running() {
				list = append(list, k)
			}
		}
		if len(list) <= survivorsMin {
			return fmt.Errorf("%d run", len(list))
		}
		k = list[s.Who%uint64(len(list))]
		return nil
	})
	return k, err
}

func (h *harm) kill(s step) error {
	k, err := h.victim(s)
	if err != nil {
		return err
	}
	h.w.say("kill %s for %v", k.name, s.For.Round(time.Millisecond))
	h.w.watch.expect(k.name, false)
	k.kill()
	h.w.r.Kills++
	if k == h.w.workers[workerCount] {
		return nil // the one that comes and goes comes with the next rebalance
	}
	h.later(s.For, k.start)
	return nil
}

func (h *harm) pause(s step) error {
	k, err := h.victim(s)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.process == nil || k.process.Ended() {
		return nil
	}
	h.w.say("stop %s for %v", k.name, s.For.Round(time.Millisecond))
	p := k.process
	if err := p.Send(syscall.SIGSTOP); err != nil {
		return err
	}
	k.paused = true
	h.w.r.Pauses++
	h.later(s.For, func() error {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.process == p {
			k.paused = false
		}
		return p.Send(syscall.SIGCONT)
	})
	return nil
}

func (h *harm) replaceRedis(s step) error {
	empty := s.Fault == faultWipe
	back, err := h.w.redis.replace(h.ctx, empty, s.How, s.For)
	if err != nil {
		return err
	}
	if back == 0 {
		h.w.say("redis was replaced by an empty one")
		h.w.r.RedisWipes++
		return nil
	}
	h.w.say("redis was replaced by a copy, %d back", back)
	h.w.r.RedisRollbacks++
	return nil
}

// killBroker kills one broker once the others have everything; with more than one away nothing would be taken.
func (h *harm) killBroker(s step) error {
	c := h.w.cluster
	if err := await(h.ctx, wholeLimit, "all replicas are in sync", c.whole); err != nil {
		return err
	}
	b := c.brokers[s.Who%brokerCount]
	h.w.say("kill broker %d for %v", b.id, s.For.Round(time.Millisecond))
	b.kill()
	h.w.r.BrokerKills++
	h.later(s.For, b.start)
	return nil
}

// cut ends the connection of the next commit, at one of three moments.
func (h *harm) cut(s step) error {
	when := []proxy.When{proxy.AfterForward, proxy.AfterAnswer, proxy.AfterForward, proxy.BeforeForward}[s.How%4]
	k := &proxy.Cut{When: when, Match: func(r proxy.Request) bool { return r.Key == proxy.EndTxn && r.Commit }}
	h.w.faults.Arm(k)
	t := time.NewTimer(cutLimit)
	defer t.Stop()
	select {
	case <-k.Settled():
	case <-h.ctx.Done():
		return h.ctx.Err()
	case <-t.C:
		if h.w.faults.Disarm(k) {
			h.w.say("no transaction to cut within %v", cutLimit)
			return nil
		}
		<-k.Settled()
	}
	got := k.Result()
	h.w.say("cut the commit of %s %s: answered %v with code %d", got.Request.Transactional, when, got.Answered, got.Code)
	h.w.r.Cuts++
	if got.Answered && got.Code == 0 {
		h.w.r.CutsCommitted++
	}
	return nil
}

func (h *harm) spoilNetwork(s step) error {
	k, err := h.victim(s)
	if err != nil {
		return err
	}
	shape := proxy.Shape{Swallow: true}
	what := "half-open"
	if s.Fault == faultSlow {
		shape, what = proxy.Shape{Delay: time.Duration(10+s.Much*190) * time.Millisecond}, "delayed"
		if s.How%2 == 0 {
			shape, what = proxy.Shape{BytesPerSecond: 20_000 + int(s.Much*200_000)}, "throttled"
		}
		h.w.r.Slowdowns++
	} else {
		h.w.r.HalfOpens++
	}
	h.w.say("the network of %s is %s for %v", k.name, what, s.For.Round(time.Millisecond))
	h.w.faults.SetShape(k.name, shape)
	h.later(s.For, func() error {
		h.w.faults.SetShape(k.name, proxy.Shape{})
		return nil
	})
	return nil
}

// rebalance lets a fourth process come, and go in order.
func (h *harm) rebalance(s step) error {
	k := h.w.workers[workerCount]
	k.mu.Lock()
	there := k.wanted
	k.mu.Unlock()
	if there {
		return nil
	}
	h.w.say("%s comes for %v", k.name, s.For.Round(time.Millisecond))
	h.w.r.Rebalances++
	if err := k.start(); err != nil {
		return err
	}
	h.later(s.For, func() error { return k.leave() })
	return nil
}

// leave ends a process in order. A process that was killed meanwhile has left already.
func (k *worker) leave() error {
	k.mu.Lock()
	if !k.wanted {
		k.mu.Unlock()
		return nil
	}
	k.wanted = false
	p := k.process
	k.mu.Unlock()
	if err := p.Send(syscall.SIGCONT); err != nil { // one that is stopped cannot leave
		return err
	}
	began := time.Now()
	if err := p.Send(syscall.SIGTERM); err != nil {
		return err
	}
	code, err := p.Wait(stopLimit)
	took := time.Since(began)
	if err != nil {
		k.w.found.add("stop", k.name, "no end within %v of SIGTERM", stopLimit)
		p.Kill()
		return nil
	}
	k.w.stopped(took)
	switch {
	case code == 0:
		k.w.say("%s left within %v", k.name, took.Round(time.Millisecond))
	case code > 0:
		k.w.found.add("stop", k.name, "exit code %d after SIGTERM: %s", code, p.Tail())
	}
	return nil
}

// stopped notes how long an orderly end took.
func (w *world) stopped(took time.Duration) {
	w.logMu.Lock()
	defer w.logMu.Unlock()
	w.r.StopSeconds = max(w.r.StopSeconds, took.Seconds())
}
