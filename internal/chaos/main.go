package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options of a run.
type options struct {
	Seed    uint64
	Kills   int
	Records int // appended to the input, duplicates included
	// QuietKills of the kills come while nothing else is wrong: they measure the takeover.
	QuietKills int
	PauseMax   time.Duration // of a SIGSTOP
	Gap        time.Duration // mean time between two faults
	Drain      time.Duration // how long the end may take to come to rest
	// TakeoverMax is the longest takeover of a quiet kill that is no violation; the promise is the session timeout and 2 s,
	// on a machine that has time.
	TakeoverMax time.Duration
	Dir         string // parent of the run's folder; empty: the system's
	Binary      string // the program; empty: it is built
	Keep        bool   // the folder stays, whatever the outcome
	Log         io.Writer
}

func (o *options) fill() {
	if o.Seed == 0 {
		o.Seed = rand.Uint64N(1 << 53)
	}
	if o.QuietKills < 0 {
		o.QuietKills = max(1, min(10, o.Kills/10))
	}
	o.QuietKills = min(o.QuietKills, o.Kills)
	if o.TakeoverMax == 0 {
		o.TakeoverMax = takeoverPromise
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
}

func main() {
	var o options
	flag.Uint64Var(&o.Seed, "seed", 0, "seed of the plan and of the load; 0: any")
	flag.IntVar(&o.Kills, "kills", 100, "SIGKILLs of processes")
	flag.IntVar(&o.QuietKills, "quiet-kills", -1, "of them while nothing else is wrong; -1: a tenth")
	flag.IntVar(&o.Records, "records", 40_000, "records appended to the input")
	flag.DurationVar(&o.PauseMax, "pause-max", 60*time.Second, "longest SIGSTOP")
	flag.DurationVar(&o.Gap, "gap", 6*time.Second, "mean time between two faults; at much less the groups do nothing but rebalance")
	flag.DurationVar(&o.Drain, "drain", 10*time.Minute, "time to come to rest after the last fault")
	flag.DurationVar(&o.TakeoverMax, "takeover-max", takeoverPromise, "longest takeover while nothing else is wrong")
	flag.StringVar(&o.Dir, "dir", "", "parent of the run's folder")
	flag.StringVar(&o.Binary, "binary", "", "the program; built if left out")
	flag.BoolVar(&o.Keep, "keep", false, "keep the run's folder")
	flag.Parse()
	o.Log = os.Stderr
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	r, err := run(ctx, o)
	stop()
	if line, jerr := json.Marshal(r); jerr == nil {
		fmt.Println(string(line))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// errViolations ends a run that found some.
var errViolations = errors.New("the run found violations")

// result is the JSON line of a run.
type result struct {
	Bench          string  `json:"bench"`
	Seed           uint64  `json:"seed"`
	Kills          int     `json:"kills"`
	Pauses         int     `json:"pauses"`
	RedisRollbacks int     `json:"redis_rollbacks"`
	RedisWipes     int     `json:"redis_wipes"`
	BrokerKills    int     `json:"broker_kills"`
	Cuts           int     `json:"cuts"`
	CutsCommitted  int     `json:"cuts_committed"` // commits that happened although nobody was told
	HalfOpens      int     `json:"half_opens"`
	Slowdowns      int     `json:"slowdowns"`
	Rebalances     int     `json:"rebalances"`
	Records        int     `json:"records"`
	UnderFaults    int     `json:"records_under_faults"` // of the stages' inputs, offsets committed before the last fault's end
	RecordsChecked int     `json:"records_checked"`      // over all topics
	Keys           int     `json:"keys"`
	Commands       int     `json:"commands"`
	DeadLetters    int     `json:"dead_letters"`
	Runs           int     `json:"runs"` // of workflows
	WaitsMet       int     `json:"waits_met"`
	WaitsNotMet    int     `json:"waits_not_met"`
	WaitsCorrected int     `json:"waits_corrected"`
	TimersFired    int     `json:"timers_fired"`
	TimersHeld     int     `json:"timers_held"` // fired later than their time came, because no receiver was there
	Answers        int     `json:"answers"`     // to questions
	Uncertain      int     `json:"uncertain"`
	Unknown        int     `json:"unknown_outcomes"` // told by the processes
	Sessions       int     `json:"delivery_sessions"`
	Violations     int     `json:"violations"`
	Seconds        float64 `json:"seconds"`
	DrainSeconds   float64 `json:"drain_seconds"`
	// Takeovers: of each partition of a killed owner, from the kill to its next commit.
	TakeoverP99  float64 `json:"takeover_p99_seconds"` // while nothing else was wrong
	Takeovers    int     `json:"takeovers"`
	TakeoverAny  float64 `json:"takeover_any_p99_seconds"` // under all other faults too
	TakeoversAny int     `json:"takeovers_any"`
	RestoreTail  float64 `json:"restore_tail_p99_seconds"`
	RestoreWhole float64 `json:"restore_rebuild_max_seconds"`
	Restores     int     `json:"restores"`
	Rebuilds     int     `json:"rebuilds"`
	StopSeconds  float64 `json:"stop_max_seconds"`
	Folder       string  `json:"folder,omitempty"`
}

// run is one whole run. The result is there also where the error is not nil.
func run(ctx context.Context, o options) (*result, error) {
	o.fill()
	started := time.Now()
	r := &result{Bench: "chaos", Seed: o.Seed}
	w, err := newWorld(ctx, o, r)
	if err != nil {
		return r, err
	}
	err = w.play(ctx)
	w.close()
	r.Seconds = time.Since(started).Seconds()
	r.Violations = w.found.count()
	if err == nil && r.Violations > 0 {
		err = fmt.Errorf("%w: seed %d\n%s", errViolations, o.Seed, w.found)
	}
	if err == nil && !o.Keep {
		return r, os.RemoveAll(w.dir)
	}
	r.Folder = w.dir
	if err != nil {
		w.writeFindings(err)
		err = fmt.Errorf("%w\nseed %d; the folder %s is kept", err, o.Seed, w.dir)
	}
	return r, err
}

// play is the run itself: it starts everything, does harm, lets it come to rest, and checks.
func (w *world) play(ctx context.Context) error {
	if err := w.start(ctx); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if err := w.harm(ctx); err != nil {
		return fmt.Errorf("while doing harm: %w", err)
	}
	if err := w.rest(ctx); err != nil {
		return fmt.Errorf("coming to rest: %w", err)
	}
	return w.check(ctx)
}
