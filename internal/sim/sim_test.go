package sim

import (
	"flag"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run this seed only, and print its history")
	seedsFlag = flag.Uint64("seeds", 150, "how many seeds to run")
	kindFlag  = flag.String("kind", "", "the kind of world")
	// mutantSeedsMax is how many seeds a mutant may take; most take fewer than a hundred.
	mutantSeedsMax = flag.Uint64("mutant-seeds", 20_000, "in how many seeds each mutant must show")
)

func TestSeeds(t *testing.T) {
	if *seedFlag != 0 {
		r := Run(Options{Seed: *seedFlag, Kind: *kindFlag, Trace: os.Stdout})
		for _, v := range r.Violations {
			t.Error(v)
		}
		return
	}
	s := Batch{Seeds: *seedsFlag, Workers: runtime.NumCPU(), Kind: *kindFlag}.Run()
	for _, r := range s.Failed {
		t.Errorf("seed %d: %s\noptions: %s\nagain: go test ./internal/sim -run TestSeeds -seed %d", r.Seed, r.Violations[0], r.Config, r.Seed)
	}
	if s.FaultsPerSeed < 25 && *kindFlag == "" {
		t.Errorf("%.1f faults a seed, want at least 25", s.FaultsPerSeed)
	}
	t.Logf("%d seeds, %.0f/s, %.1f faults and %.1f records each", s.Seeds, s.SeedsPerSecond, s.FaultsPerSeed, s.EventsPerSeed)
}

// TestSameSeedSameHistory runs one seed of each kind of world twice.
func TestSameSeedSameHistory(t *testing.T) {
	for kind := range strings.SplitSeq(Kinds(), ", ") {
		a, b := Run(Options{Seed: 7, Kind: kind}), Run(Options{Seed: 7, Kind: kind})
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("%s (-first +second):\n%s", kind, diff)
		}
		if c := Run(Options{Seed: 8, Kind: kind}); c.Hash == a.Hash {
			t.Errorf("%s: seeds 7 and 8 have one history", kind)
		}
	}
}

// TestMutants builds each mistake in: a simulator that does not find it would not find ours.
func TestMutants(t *testing.T) {
	for _, m := range Mutants() {
		t.Run(m.Name, func(t *testing.T) {
			s := Batch{Seeds: *mutantSeedsMax, Workers: runtime.NumCPU(), Mutant: m.Name}.Run()
			if s.Found == 0 {
				t.Fatalf("not found in %d seeds", s.Seeds)
			}
			t.Logf("seed %d: %s", s.Found, s.Failed[0].Violations[0])
		})
	}
}

// TestReliabilityPage: the generated part has the form that the generator gives it now, every sensible cell was met,
// and every mutant found.
func TestReliabilityPage(t *testing.T) {
	doc, err := os.ReadFile("../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	report, err := Inserted(string(doc))
	if err != nil {
		t.Fatal(err)
	}
	hits, found := map[Cell]int{}, map[string]uint64{}
	for line := range strings.SplitSeq(report, "\n") {
		cells := strings.Split(strings.Trim(line, "| "), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) == len(partColumns)+1 {
			for i, p := range partColumns {
				if n, err := strconv.Atoi(cells[i+1]); err == nil {
					hits[Cell{Fault(cells[0]), p}] = n
				}
			}
		}
		if len(cells) == 3 && HasMutant(cells[0]) {
			found[cells[0]], _ = strconv.ParseUint(cells[2], 10, 64)
		}
	}
	for _, c := range Missing(hits) {
		t.Errorf("no seed met %s at %s", c.Fault, c.Part)
	}
	var mutants []Summary
	for _, m := range Mutants() {
		if found[m.Name] == 0 {
			t.Errorf("mutant %s is not in the table", m.Name)
		}
		mutants = append(mutants, Summary{Mutant: m.Name, Found: found[m.Name]})
	}
	// The first line holds figures of the run; the rest follows from the tables' numbers.
	first := regexp.MustCompile(`^.*\n`)
	want := first.ReplaceAllString(Report(Summary{Hits: hits}, mutants), "")
	if diff := cmp.Diff(want, first.ReplaceAllString(report, "")); diff != "" {
		t.Errorf("run 'tillstream simulate engine --seeds 20000 --report docs/reliability.md' (-want +got):\n%s", diff)
	}
}
