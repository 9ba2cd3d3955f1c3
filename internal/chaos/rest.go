package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tillstream/tillstream/internal/chaos/proxy"
	"github.com/tillstream/tillstream/schemas"
)

const (
	restPause  = 500 * time.Millisecond
	restTold   = 15 * time.Second
	restLook   = 30 * time.Second
	stableRuns = 3 // looks without anything new that mean rest
)

// rest waits, with all faults off, until every record has come to its end, and stops the processes in order.
func (w *world) rest(ctx context.Context) error {
	began := time.Now()
	for _, k := range w.workers {
		w.faults.SetShape(k.name, proxy.Shape{})
	}
	w.load.setRate(loadBurst)
	if err := w.load.finish(ctx); err != nil {
		return err
	}
	w.r.Records = len(w.load.sends)
	for _, b := range w.cluster.brokers {
		if how, ended := b.ended(); ended {
			return fmt.Errorf("broker %d ended by itself, which is no fault of the plan: %s", b.id, how)
		}
	}
	if err := w.awaitReady(ctx); err != nil {
		return err
	}
	h, err := newHistory(w.cluster.direct())
	if err != nil {
		return err
	}
	w.past = h
	if err := w.awaitRest(ctx, began); err != nil {
		return err
	}
	w.r.DrainSeconds = time.Since(began).Seconds()
	w.say("everything has come to its end within %.1f s of the last fault", w.r.DrainSeconds)
	w.owners(ctx)
	for _, k := range w.workers {
		if err := k.leave(); err != nil {
			return err
		}
	}
	look, cancel := context.WithTimeout(ctx, restLook)
	defer cancel()
	_, err = h.catchUp(look)
	return err
}

// awaitRest looks until no group has a record before it and nothing new comes.
func (w *world) awaitRest(ctx context.Context, began time.Time) error {
	told := time.Now()
	for stable := 0; ; {
		look, cancel := context.WithTimeout(ctx, restLook)
		fresh, err := w.past.catchUp(look)
		total, where := 0, ""
		if err == nil {
			total, where, err = w.past.lag(look)
		}
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && total == 0 && fresh == 0 {
			total, err = w.openWaits()
			where = " open waits"
		}
		if err == nil && total == 0 && fresh == 0 {
			if stable++; stable == stableRuns {
				return nil
			}
		} else {
			stable = 0
		}
		if time.Since(told) > restTold {
			told = time.Now()
			w.say("%d records before the groups, %d fresh, %v:%s", total, fresh, err, where)
			w.keepStatuses(ctx)
		}
		if time.Since(began) > w.o.Drain {
			w.found.add("liveness", "lag", "%d records are left %v after the last fault:%s (%v)\n%s", total, w.o.Drain, where, err, w.statuses(ctx))
			return fmt.Errorf("%w: no rest: seed %d\n%s", errViolations, w.o.Seed, w.found)
		}
		if err := pause(ctx, restPause); err != nil {
			return err
		}
	}
}

// openWaits is how many waits of runs have not ended yet: their deadlines are seconds away.
func (w *world) openWaits() (n int, err error) {
	for _, r := range w.past.of(schemas.TopicRuns) {
		rec, err := w.codec.Decode(r.Value)
		if err != nil {
			return 0, err
		}
		if s, ok := rec.(*schemas.RunStep); ok {
			switch s.Kind {
			case schemas.StepWaitOpened:
				n++
			case schemas.StepWaitMet, schemas.StepWaitNotMet:
				n--
			}
		}
	}
	return n, nil
}

// keepStatuses puts what every process says of itself into the run's folder, where somebody may look later.
func (w *world) keepStatuses(ctx context.Context) {
	path := filepath.Join(w.dir, "statuses.txt")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		w.say("%v", err)
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "%.1f\n%s\n", time.Since(w.began).Seconds(), w.statuses(ctx))
}
