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
	return strings.Join([]string{kindLedger, kindOrders, kindInputs, kindDeliver, kindLoad, kindIngest, kindDamage}, ", ")
}

// HasMutant reports whether there is a mutant of that name.
func HasMutant(name string) bool { return mutantNamed(name) != nil }

// Run runs the seeds, several at a time, each in a goroutine of its own.
func (b Batch) Run() Summary {
	// Worlds are small and short-lived: collecting less often is worth a fifth of the time.
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	began := time.Now()
	s := Summary{Hits: map[Cell]int{}, Mutant: b.Mutant}
	var (
		mu                   sync.Mutex
		wg                   sync.WaitGroup
		next                 = max(b.From, 1)
		end                  = next + b.Seeds
		faults, events, done int64
		virtual              time.Duration
	)
	take := func() (seed uint64, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if next >= end || s.Found > 0 && next > s.Found {
			return 0, false
		}
		next++
		return next - 1, true
	}
	add := func(r Result, repeated, same bool) {
		mu.Lock()
		defer mu.Unlock()
		done++
		faults, events, virtual = faults+int64(r.Faults), events+int64(r.Events), virtual+r.Virtual
		for c, n := range r.Hits {
			s.Hits[c] += n
		}
		if repeated {
			s.Repeated++
		}
		if !same {
			s.Unrepeatable = append(s.Unrepeatable, r.Seed)
			r.Violations = append(r.Violations, "the seed is not repeatable")
		}
		if len(r.Violations) > 0 {
			s.Violations++
			if b.Mutant != "" && (s.Found == 0 || r.Seed < s.Found) {
				s.Found = r.Seed
			}
			if len(s.Failed) < failuresMax {
				s.Failed = append(s.Failed, r)
			}
		}
		if b.Progress != nil && done%2000 == 0 {
			b.Progress(uint64(done))
		}
	}
	for range max(1, b.Workers) {
		wg.Go(func() {
			for seed, ok := take(); ok; seed, ok = take() {
				o := Options{Seed: seed, Mutant: b.Mutant, Kind: b.Kind}
				r := Run(o)
				if b.Mutant != "" && len(r.Violations) > 0 && len(Run(Options{Seed: seed, Kind: r.Kind}).Violations) > 0 {
					r.Violations = nil // the product itself fails there: that finds nothing
				}
				repeated := seed%repeatEvery == 0
				add(r, repeated, !repeated || Run(o).Hash == r.Hash)
			}
		})
	}
	wg.Wait()
	slices.SortFunc(s.Failed, func(a, b Result) int { return int(a.Seed) - int(b.Seed) })
	s.Seeds, s.Seconds = uint64(done), time.Since(began).Seconds()
	if n := float64(max(1, done)); true {
		s.SeedsPerSecond, s.FaultsPerSeed, s.EventsPerSeed = n/s.Seconds, float64(faults)/n, float64(events)/n
	}
	s.VirtualSeconds = virtual.Seconds()
	if b.Mutant == "" && b.Kind == "" {
		s.Missing = Missing(s.Hits)
	}
	return s
}
