package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/internal/scenarios"
	"github.com/tillstream/tillstream/processors/scenario"
)

// testAsked is what tillstream test is told.
type testAsked struct {
	config              string
	only                string
	json, coverage, all bool
}

func (p Process) testCommand() *cobra.Command {
	var t testAsked
	c := &cobra.Command{
		Use:   "test PATH...",
		Short: "Run scenario files against a configuration: events at times, and what is expected of them",
		Long: `Runs every scenario of the files, and of the folders with all below them (` + "*" + scenarios.Ending + `), through the same stages as 'run', under
virtual time, in memory. Nothing is sent, and nothing else needs to run. docs/scenarios.md describes the language.

The configuration is that of --config; without it, the folder above the scenario file that has a tillstream.yaml; without that,
a PayPal account "paypal-eu", a shop "shop", and the CRMs "crm" and "gr". A scenario may bring files of its own.

Each scenario runs three times: plainly, with every state through its bytes, and with everything from outside delivered twice.

Exit codes: 0 all hold, 1 some do not, 2 a file could not be understood.`,
		Args: usage(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return p.test(c.OutOrStdout(), t, args) },
	}
	f := c.Flags()
	f.StringVar(&t.config, "config", "", "folder of the configuration")
	f.StringVar(&t.only, "run", "", "only scenarios whose title has this text")
	f.BoolVar(&t.json, "json", false, "one JSON object a line: each scenario, then the sum")
	f.BoolVar(&t.coverage, "coverage", false, "list the steps of workflows that no scenario came to")
	f.BoolVarP(&t.all, "verbose", "v", false, "a line for each scenario, not only for those that fail")
	return c
}

// testSum is the last line of --json.
type testSum struct {
	Passed    int              `json:"passed"`
	Failed    int              `json:"failed"`
	Files     int              `json:"files"`
	Seconds   float64          `json:"seconds"`
	Unreached []scenarios.Step `json:"unreached,omitempty"`
}

func (p Process) test(w io.Writer, t testAsked, paths []string) error {
	began := p.Now()
	files, err := p.parseScenarios(paths)
	if err != nil {
		return err
	}
	if t.config != "" {
		if info, err := os.Stat(t.config); err != nil || !info.IsDir() {
			return &codedError{ExitUsage, fmt.Errorf("--config %s: no such folder", t.config)}
		}
	}
	l := &scenarios.Loader{Connectors: p.Connectors, Sinks: p.Sinks, Getenv: local.Environment(t.config, p.Getenv), Dir: t.config}
	sum := testSum{Files: len(files)}
	var reached []string
	for _, f := range files {
		passed, failed := 0, 0
		start := p.Now()
		for i := range f.Scenarios {
			s := &f.Scenarios[i]
			if !strings.Contains(s.Name, t.only) {
				continue
			}
			res := scenario.Run(f, s, func() scenario.World { return l.World(f.Name) }, scenario.Modes()...)
			reached = append(reached, res.Reached...)
			if res.Passed {
				passed++
			} else {
				failed++
			}
			if err := t.print(w, res); err != nil {
				return err
			}
		}
		sum.Passed, sum.Failed = sum.Passed+passed, sum.Failed+failed
		if !t.json && passed+failed > 0 {
			word := "ok  "
			if failed > 0 {
				word = "FAIL"
			}
			fmt.Fprintf(w, "%s  %s  %s  %s\n", word, harmless(f.Name), numbered(passed+failed, "scenario"), p.Now().Sub(start).Round(time.Millisecond))
		}
	}
	sum.Seconds = p.Now().Sub(began).Seconds()
	if t.coverage {
		sum.Unreached = scenarios.Unreached(l.Workflows(), reached)
	}
	return t.end(w, sum)
}

// parseScenarios reads all files before any runs, so that all that is wrong is told at once.
func (p Process) parseScenarios(paths []string) (files []*scenario.File, err error) {
	found, err := scenarios.Find(paths)
	if err != nil {
		return nil, &codedError{ExitUsage, err}
	}
	if len(found) == 0 {
		return nil, &codedError{ExitUsage, fmt.Errorf("there is no *%s in %s", scenarios.Ending, strings.Join(paths, ", "))}
	}
	var problems scenario.Problems
	for _, path := range found {
		f, err := scenarios.Read(path)
		var bad scenario.Problems
		switch {
		case errors.As(err, &bad):
			problems = append(problems, bad...)
		case err != nil:
			return nil, &codedError{ExitUsage, err}
		default:
			files = append(files, f)
		}
	}
	if len(problems) > 0 {
		return nil, &codedError{ExitUsage, fmt.Errorf("%s not understood:\n%w", numbered(len(problems), "line"), problems)}
	}
	return files, nil
}

// numbered is a number and its noun.
func numbered(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func (t testAsked) print(w io.Writer, r scenario.Result) error {
	switch {
	case t.json:
		return json.NewEncoder(w).Encode(r)
	case !r.Passed:
		fmt.Fprintf(w, "--- FAIL: %s:%d: %s\n", harmless(r.File), r.Line, harmless(r.Name))
		for _, f := range r.Failures {
			mode := ""
			switch f.Mode {
			case scenario.Checked:
				mode = " (only where states go through bytes)"
			case scenario.Doubled:
				mode = " (only where everything comes twice)"
			}
			fmt.Fprintf(w, "    %s:%d: %s%s\n", harmless(r.File), f.Line, harmless(f.Statement), mode)
			for line := range strings.SplitSeq(f.Message, "\n") {
				fmt.Fprintf(w, "        %s\n", harmless(line))
			}
		}
	case t.all:
		fmt.Fprintf(w, "--- ok: %s:%d: %s\n", harmless(r.File), r.Line, harmless(r.Name))
	}
	return nil
}

func (t testAsked) end(w io.Writer, sum testSum) error {
	var err error
	switch {
	case t.json:
		err = json.NewEncoder(w).Encode(sum)
	case t.coverage && len(sum.Unreached) == 0:
		_, err = fmt.Fprintln(w, "every step of every workflow was reached")
	case t.coverage:
		slices.SortFunc(sum.Unreached, func(a, b scenarios.Step) int { return strings.Compare(a.Workflow, b.Workflow) })
		fmt.Fprintln(w, "no scenario came to:")
		for _, s := range sum.Unreached {
			fmt.Fprintf(w, "  %s  step %s (%s)  %s\n", s.Workflow, s.Step, s.Kind, s.Missing)
		}
	}
	if err != nil {
		return err
	}
	switch {
	case sum.Failed > 0:
		return &codedError{ExitFailed, fmt.Errorf("%d of %s failed", sum.Failed, numbered(sum.Passed+sum.Failed, "scenario"))}
	case sum.Passed == 0:
		return &codedError{ExitUsage, fmt.Errorf("no scenario has %q in its title", t.only)}
	case !t.json:
		_, err = fmt.Fprintf(w, "%s hold\n", numbered(sum.Passed, "scenario"))
	}
	return err
}
