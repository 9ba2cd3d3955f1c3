package sim

import (
	"flag"
	"os"
	"testing"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run this seed only, and print its history")
	seedsFlag = flag.Int("seeds", 100, "how many seeds to run")
	kindFlag  = flag.String("kind", "", "the kind of world")
)

func TestSeeds(t *testing.T) {
	if *seedFlag != 0 {
		r := Run(Options{Seed: *seedFlag, Kind: *kindFlag, Trace: os.Stdout})
		t.Logf("%+v", r)
		if len(r.Violations) > 0 {
			t.Error(r.Violations)
		}
		return
	}
	faults, steps, events, commits := 0, 0, 0, 0
	for seed := uint64(1); seed <= uint64(*seedsFlag); seed++ {
		r := Run(Options{Seed: seed, Kind: *kindFlag})
		faults, steps, events, commits = faults+r.Faults, steps+r.Steps, events+r.Events, commits+r.Commits
		if len(r.Violations) > 0 {
			t.Errorf("seed %d: %s\n%s", seed, r.Violations[0], r.Config)
		}
	}
	n := *seedsFlag
	t.Logf("%d seeds: %d faults, %d steps, %d events, %d commits each", n, faults/n, steps/n, events/n, commits/n)
}

var mutantsFlag = flag.Int("mutant-seeds", 300, "in how many seeds each mutant must show")

func TestMutants(t *testing.T) {
	for _, m := range Mutants() {
		t.Run(m.Name, func(t *testing.T) {
			for seed := uint64(1); seed <= uint64(*mutantsFlag); seed++ {
				if r := Run(Options{Seed: seed, Mutant: m.Name}); len(r.Violations) > 0 {
					if base := Run(Options{Seed: seed, Kind: m.Kind}); len(base.Violations) > 0 {
						continue
					}
					t.Logf("seed %d: %s", seed, r.Violations[0])
					return
				}
			}
			t.Errorf("not found in %d seeds", *mutantsFlag)
		})
	}
}
