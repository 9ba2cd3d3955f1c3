package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/internal/sim"
)

func (p Process) simulateCommand() *cobra.Command {
	c := &cobra.Command{Use: "simulate", Short: "Run the product's own parts in virtual time, under faults that a seed draws, and check whole histories"}
	c.AddCommand(p.simulateEngine())
	return group(c)
}

// simulateFlags are the flags of simulate engine.
type simulateFlags struct {
	batch              sim.Batch
	seed               uint64
	json, list, trace  bool
	report             string
	printViolationsMax int
	table              bool
}

func (p Process) simulateEngine() *cobra.Command {
	f := simulateFlags{printViolationsMax: 20}
	c := &cobra.Command{
		Use: "engine", Short: "Engine, delivery, loading and ingest on models of Kafka, Redis, a CRM and ClickHouse", Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			out := c.OutOrStdout()
			switch {
			case f.list:
				for _, m := range sim.Mutants() {
					fmt.Fprintf(out, "%-24s %s\n", m.Name, m.About)
				}
				return nil
			case f.batch.Mutant != "" && !sim.HasMutant(f.batch.Mutant):
				return &codedError{ExitUsage, fmt.Errorf("unknown mutant %q; see --list-mutants", f.batch.Mutant)}
			case c.Flags().Changed("seed"):
				return f.replay(out)
			}
			return f.run(out, p.Stderr)
		},
	}
	fs := c.Flags()
	fs.Uint64Var(&f.batch.Seeds, "seeds", 1000, "how many seeds to run")
	fs.Uint64Var(&f.batch.From, "from", 1, "the first of them")
	fs.Uint64Var(&f.seed, "seed", 0, "run this seed only, exactly as it ran before")
	fs.StringVar(&f.batch.Mutant, "mutant", "", "run with this mistake built in, until it is found")
	fs.BoolVar(&f.list, "list-mutants", false, "list the mistakes that can be built in")
	fs.StringVar(&f.batch.Kind, "kind", "", "run only this kind of world: "+sim.Kinds())
	fs.IntVar(&f.batch.Workers, "workers", runtime.NumCPU(), "seeds that run at once")
	fs.BoolVar(&f.trace, "trace", false, "with --seed: print the history")
	fs.BoolVar(&f.json, "json", false, "print one line of JSON")
	fs.StringVar(&f.report, "report", "", "write the tables of faults and mutants into this document (docs/reliability.md)")
	fs.BoolVar(&f.table, "table", false, "print the table of faults by part")
	return c
}

var errViolation = errors.New("an invariant was violated")

// replay runs one seed twice: what it shows, and that it shows the same again.
func (f *simulateFlags) replay(out io.Writer) error {
	o := sim.Options{Seed: f.seed, Mutant: f.batch.Mutant, Kind: f.batch.Kind}
	again := sim.Run(o)
	if f.trace {
		o.Trace = out
	}
	r := sim.Run(o)
	if r.Hash != again.Hash {
		r.Violations = append(r.Violations, fmt.Sprintf("the seed is not repeatable: history %016x, then %016x", again.Hash, r.Hash))
	}
	if f.json {
		if err := json.NewEncoder(out).Encode(r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "seed %d: %s\n%d faults, %d records in, %d transactions, %d steps, %v of virtual time, history %016x\n",
			r.Seed, r.Config, r.Faults, r.Events, r.Commits, r.Steps, r.Virtual, r.Hash)
		for _, v := range r.Violations {
			fmt.Fprintln(out, "VIOLATION", v)
		}
	}
	if (len(r.Violations) > 0) != (f.batch.Mutant != "") {
		return errViolation
	}
	return nil
}

func (f *simulateFlags) run(out, progress io.Writer) error {
	if f.report != "" {
		return f.write(out)
	}
	f.batch.Progress = func(done uint64) { fmt.Fprintf(progress, "%d seeds\n", done) }
	s := f.batch.Run()
	if f.json {
		if err := json.NewEncoder(out).Encode(s); err != nil {
			return err
		}
	} else {
		f.print(out, s)
	}
	switch {
	case f.batch.Mutant != "" && s.Found == 0:
		return fmt.Errorf("mutant %s was not found in %d seeds", f.batch.Mutant, s.Seeds)
	case f.batch.Mutant == "" && len(s.Failed) > 0:
		return errViolation
	case f.batch.Seeds >= coverageSeedsMin && len(s.Missing) > 0:
		return fmt.Errorf("%d cells of the table of faults were not met by any seed", len(s.Missing))
	}
	return nil
}

// coverageSeedsMin is how many seeds must meet every fault.
const coverageSeedsMin = 5000

// write runs the seeds and all mutants, and puts what they show into the document.
func (f *simulateFlags) write(out io.Writer) error {
	s := f.batch.Run()
	f.print(out, s)
	var mutants []sim.Summary
	for _, m := range sim.Mutants() {
		b := f.batch
		b.Mutant = m.Name
		found := b.Run()
		if found.Found == 0 {
			return fmt.Errorf("mutant %s was not found in %d seeds", m.Name, found.Seeds)
		}
		mutants = append(mutants, found)
	}
	doc, err := os.ReadFile(f.report)
	if err != nil {
		return err
	}
	text, err := sim.Insert(string(doc), sim.Report(s, mutants))
	if err != nil {
		return fmt.Errorf("%s: %w", f.report, err)
	}
	return os.WriteFile(f.report, []byte(text), 0o644)
}

func (f *simulateFlags) print(out io.Writer, s sim.Summary) {
	fmt.Fprintf(out, "%d seeds in %.1f s: %.0f seeds/s, %.1f faults and %.1f records a seed, %.0f s of virtual time; %d seeds run twice, %d with another history\n",
		s.Seeds, s.Seconds, s.SeedsPerSecond, s.FaultsPerSeed, s.EventsPerSeed, s.VirtualSeconds, s.Repeated, len(s.Unrepeatable))
	if f.table {
		fmt.Fprintln(out, sim.Table(s.Hits))
	}
	for _, m := range s.Missing {
		fmt.Fprintf(out, "not met by any seed: %s at %s\n", m.Fault, m.Part)
	}
	if f.batch.Mutant != "" {
		if s.Found > 0 {
			fmt.Fprintf(out, "mutant %s: found with seed %d: %s\n", f.batch.Mutant, s.Found, s.Failed[0].Violations[0])
		}
		return
	}
	for i, r := range s.Failed {
		if i == f.printViolationsMax {
			fmt.Fprintf(out, "and %d more seeds\n", len(s.Failed)-i)
			break
		}
		fmt.Fprintf(out, "seed %d: %s\n  options: %s\n  replay:  %s simulate engine --seed %d --trace%s\n", r.Seed, r.Violations[0], r.Config, os.Args[0], r.Seed, f.kindFlag())
	}
	fmt.Fprintf(out, "%d violations\n", len(s.Failed))
}

func (f *simulateFlags) kindFlag() string {
	if f.batch.Kind == "" {
		return ""
	}
	return " --kind " + f.batch.Kind
}
