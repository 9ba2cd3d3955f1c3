// Package sim runs the product's own engine, stages, delivery, loading and ingest against models of Kafka, the store,
// a CRM and ClickHouse, in virtual time and one goroutine, under faults that a seed draws; and checks whole histories.
//
// A seed draws which faults there are and how often (a swarm: most seeds lack some kinds, so that each kind also meets
// the system undisturbed by the others), how many processes, partitions and lanes, and a workload. In the safety phase
// faults and work come together; in the liveness phase faults are off, and all lag must go within a minute.
package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/tillstream/tillstream/internal/sim/sched"
	"github.com/tillstream/tillstream/schemas/codec"
)

// Limits of one seed.
const (
	stepsMax = 400_000
	// settleMax is how long the liveness phase may take until nothing lags.
	settleMax = 60 * time.Second
	// stopMax is how long a process may take to end when it is told to.
	stopMax = 10 * time.Second
	// coroutinesMax bounds what one process may have running at once.
	coroutinesMax = 200
	violationsMax = 5
)

// Options of a run of one seed.
type Options struct {
	Seed   uint64
	Mutant string // empty: the product as it is
	// Kind forces the kind of world; empty: the seed draws it.
	Kind  string
	Trace io.Writer // gets the history, line by line; nil: nobody
}

// Result is what one seed showed.
type Result struct {
	Seed       uint64        `json:"seed"`
	Kind       string        `json:"kind"`
	Config     string        `json:"options"`
	Hash       uint64        `json:"history"`
	Faults     int           `json:"faults"`
	Hits       map[Cell]int  `json:"-"`
	Events     int           `json:"records"` // records or requests that came in
	Commits    int           `json:"transactions"`
	Steps      int           `json:"steps"`
	Virtual    time.Duration `json:"virtual_ns"`
	Violations []string      `json:"violations,omitempty"`
}

var (
	epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	// shared holds no state that a seed could see; making it is dear.
	shared = codec.NewLocal()
)

// Run runs one seed.
func Run(o Options) Result {
	w := newWorld(o)
	defer w.close()
	w.run()
	return w.result()
}

func (w *world) result() Result {
	n := 0
	for _, k := range w.hits {
		n += k
	}
	return Result{
		Seed: w.o.Seed, Kind: w.cfg.Kind, Config: w.cfg.String(), Hash: w.hash.Sum64(), Faults: n, Hits: w.hits, Events: w.events, Commits: w.commits,
		Steps: w.s.Steps(), Virtual: w.s.Elapsed(), Violations: w.violations,
	}
}

// violate notes a finding. The run goes on: the first one is the one to look at.
func (w *world) violate(invariant int, format string, args ...any) {
	text := fmt.Sprintf("invariant %d at %v: %s", invariant, w.s.Elapsed().Round(time.Millisecond), fmt.Sprintf(format, args...))
	w.trace("VIOLATION %s", text)
	if len(w.violations) < violationsMax {
		w.violations = append(w.violations, text)
	}
}

func (w *world) trace(format string, args ...any) {
	if w.o.Trace != nil {
		fmt.Fprintf(w.o.Trace, "%12v %s\n", w.s.Elapsed().Round(time.Microsecond), fmt.Sprintf(format, args...))
	}
}

func rng(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

// run is the two phases and the checks.
func (w *world) run() {
	w.begin()
	err := w.s.Run(stepsMax, func() bool { return w.over || len(w.violations) > 0 })
	if err != nil {
		w.violateRun(err)
	}
	if len(w.violations) == 0 && w.cfg.Kind != kindDamage {
		w.checkAtRest()
	}
}

func (w *world) violateRun(err error) {
	text := err.Error()
	if i := strings.Index(text, "\n\n"); i > 0 && w.o.Trace == nil {
		text = text[:min(len(text), 2500)]
	}
	w.violate(16, "%s", text)
}

// begin starts the processes, the work and the faults, and plans the calm after them.
func (w *world) begin() {
	for i := range w.slots {
		w.s.After(time.Duration(w.r.IntN(2000))*time.Millisecond, func() { w.start(w.slots[i]) })
	}
	w.work.begin()
	w.nemesis.begin()
	w.receivers.begin()
	w.s.After(w.cfg.Safety, w.calmDown)
}

// calmDown ends the safety phase: what is broken is mended, who is dead is started.
func (w *world) calmDown() {
	w.trace("calm")
	w.calm = true
	w.nemesis.heal()
	w.receivers.calm()
	if w.role != nil {
		w.role.calm()
	}
	for _, s := range w.slots {
		if s.proc == nil {
			w.start(s)
		}
	}
	// A store that lost data under an idle partition is noticed with the next record.
	w.s.After(time.Duration(w.r.IntN(3000))*time.Millisecond, w.work.touch)
	began := w.s.Elapsed()
	quiet := 0
	var look func()
	look = func() {
		why := w.behind()
		switch {
		case why != "" && w.s.Elapsed()-began > w.patience():
			w.violate(16, "still behind after %v without faults: %s", w.patience(), why)
			return
		case why != "" || !w.work.touched:
			quiet = 0
		default:
			quiet++
		}
		if quiet < 3 {
			w.s.After(500*time.Millisecond, look)
			return
		}
		w.trace("settled after %v", w.s.Elapsed()-began)
		if w.cfg.Kind == kindDamage {
			w.damageAll()
			return
		}
		w.s.After(w.cfg.Rest, func() {
			if w.behind() != "" { // a request of the dead, still on its way, can upset a group once more
				quiet = 0
				look()
				return
			}
			w.stopAll()
		})
	}
	w.s.After(500*time.Millisecond, look)
}

// patience is how long the liveness phase may take. An account that refused our credentials is left alone for up to
// five and a half minutes (deliver.pauseMax, with what it adds), one that failed for one.
func (w *world) patience() time.Duration {
	switch {
	case w.cfg.Kind == kindJobs: // a job that met trouble rests for a minute at most
		return 5 * settleMax
	case w.cfg.Kind != kindDeliver:
		return settleMax
	case w.hits[Cell{DiskFull, PartCRM}] > 0:
		return 7 * settleMax
	}
	return 2 * settleMax
}

// stopAll tells every process to end, and ends the world when they have.
func (w *world) stopAll() {
	w.stopped, w.stopping = w.s.Now(), true
	w.receivers.stops()
	for _, s := range w.slots {
		if s.proc != nil {
			s.cancel()
		}
	}
	began := w.s.Elapsed()
	var look func()
	look = func() {
		for _, s := range w.slots {
			if s.proc != nil && !s.ended {
				if w.s.Elapsed()-began > stopMax {
					w.violate(16, "process %s was told to end and runs after %v", s.name, stopMax)
					return
				}
				w.s.After(100*time.Millisecond, look)
				return
			}
		}
		w.s.After(10*time.Second, func() { w.over = true }) // the last markers
	}
	look()
}

func (w *world) close() {
	var procs []*sched.Proc
	for _, s := range w.slots {
		if s.proc != nil {
			procs = append(procs, s.proc)
		}
	}
	w.s.End(procs...)
}
