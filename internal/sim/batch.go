package sim

import (
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// Batch is a run of many seeds.
type Batch struct {
	From, Seeds uint64
	Workers     int
	Mutant      string // ends with the first seed that finds it
	Kind        string
	// Progress is told now and then how many seeds are done; nil: nobody is.
	Progress func(done uint64)
}

// repeatEvery is the share of seeds that run twice, to see that they show the same history.
const repeatEvery = 100

const gcPercent = 600

// failuresMax bounds the failed seeds that are kept.
const failuresMax = 200

// Summary is what a batch showed.
type Summary struct {
	Seeds          uint64       `json:"seeds"`
	Seconds        float64      `json:"seconds"`
	SeedsPerSecond float64      `json:"seeds_per_second"`
	FaultsPerSeed  float64      `json:"faults_per_seed"`
	EventsPerSeed  float64      `json:"records_per_seed"`
	VirtualSeconds float64      `json:"virtual_seconds"`
	Violations     int          `json:"violations"`
	Failed         []Result     `json:"failed,omitempty"`
	Repeated       int          `json:"repeated"`
	Unrepeatable   []uint64     `json:"unrepeatable,omitempty"`
	Mutant         string       `json:"mutant,omitempty"`
	Found          uint64       `json:"found,omitempty"` // the first seed that found the mutant
	Hits           map[Cell]int `json:"-"`
	Missing        []Cell       `json:"missing,omitempty"`
}

// Kinds lists the kinds of world.
func Kinds() string {
	return strings.Join([]string{kindLedger, kindOrders, kindInputs, kindDeliver, kindLoad, kindIngest, kindJobs, kindDamage, kindFlows}, ", ")
}

// HasMutant reports whether there is a mutant of that name.
func HasMutant(name string) bool { return mutantNamed(name) != nil }

// Run runs the seeds, several at a time, each in a goroutine of its own.
func (b Batch) Run() Summary {
	// Worlds are small and short-lived: collecting less often is worth a fifth of the time.
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	began := time.Now()
	t := tally{b: b, s: Summary{Hits: map[Cell]int{}, Mutant: b.Mutant}, next: max(b.From, 1)}
	t.end = t.next + b.Seeds
	var workers sync.WaitGroup
	for range max(1, b.Workers) {
		workers.Go(t.work)
	}
	workers.Wait()
	s := t.s
	slices.SortFunc(s.Failed, func(a, b Result) int { return int(a.Seed) - int(b.Seed) })
	s.Seeds, s.Seconds = uint64(t.done), time.Since(began).Seconds()
	n := float64(max(1, t.done))
	s.SeedsPerSecond, s.FaultsPerSeed, s.EventsPerSeed = n/s.Seconds, float64(t.faults)/n, float64(t.events)/n
	s.VirtualSeconds = t.virtual.Seconds()
	if b.Mutant == "" && b.Kind == "" {
		s.Missing = Missing(s.Hits)
	}
	return s
}

// tally is a batch at work: its workers take seeds from it and add what came of them.
type tally struct {
	b Batch

	mu                   sync.Mutex
	s                    Summary
	next, end            uint64 // seeds
	faults, events, done int64
	virtual              time.Duration
}

func (t *tally) work() {
	for seed, ok := t.take(); ok; seed, ok = t.take() {
		o := Options{Seed: seed, Mutant: t.b.Mutant, Kind: t.b.Kind}
		r := Run(o)
		if t.b.Mutant != "" && len(r.Violations) > 0 && len(Run(Options{Seed: seed, Kind: r.Kind}).Violations) > 0 {
			r.Violations = nil // the product itself fails there: that finds nothing
		}
		repeated := seed%repeatEvery == 0
		t.add(r, repeated, !repeated || Run(o).Hash == r.Hash)
	}
}

func (t *tally) take() (seed uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next >= t.end || t.s.Found > 0 && t.next > t.s.Found {
		return 0, false
	}
	t.next++
	return t.next - 1, true
}

func (t *tally) add(r Result, repeated, same bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done++
	t.faults, t.events, t.virtual = t.faults+int64(r.Faults), t.events+int64(r.Events), t.virtual+r.Virtual
	for c, n := range r.Hits {
		t.s.Hits[c] += n
	}
	if repeated {
		t.s.Repeated++
	}
	if !same {
		t.s.Unrepeatable = append(t.s.Unrepeatable, r.Seed)
		r.Violations = append(r.Violations, "the seed is not repeatable")
	}
	if len(r.Violations) > 0 {
		t.s.Violations++
		if t.b.Mutant != "" && (t.s.Found == 0 || r.Seed < t.s.Found) {
			t.s.Found = r.Seed
		}
		if len(t.s.Failed) < failuresMax {
			t.s.Failed = append(t.s.Failed, r)
		}
	}
	if t.b.Progress != nil && t.done%2000 == 0 {
		t.b.Progress(uint64(t.done))
	}
}
