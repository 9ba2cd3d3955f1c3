package sim

import (
	"errors"
	"fmt"
	"strings"
)

// The part of docs/reliability.md that is generated lies between these lines.
const (
	reportBegin = "<!-- tillstream simulate engine --report: generated from here -->"
	reportEnd   = "<!-- to here -->"
)

// ErrNoReport says that a document has no place for the report.
var ErrNoReport = errors.New("the document lacks the lines between which the simulator's report stands")

// Report is what a batch and the mutants showed, in Markdown.
func Report(s Summary, mutants []Summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d seeds, %.0f faults and %.0f records each, %d violations; %d seeds were run twice and gave the same history.\n\n",
		s.Seeds, s.FaultsPerSeed, s.EventsPerSeed, s.Violations, s.Repeated-len(s.Unrepeatable))
	b.WriteString("Faults met, by part:\n\n" + Table(s.Hits))
	b.WriteString("\nMistakes built in, and the first seed that finds each:\n\n| mistake | what it does | found by seed |\n|---|---|--:|\n")
	for _, m := range mutants {
		fmt.Fprintf(&b, "| %s | %s | %d |\n", m.Mutant, mutantNamed(m.Mutant).About, m.Found)
	}
	return b.String()
}

// Insert puts a report into its document.
func Insert(doc, report string) (string, error) {
	before, rest, ok := strings.Cut(doc, reportBegin)
	_, after, ok2 := strings.Cut(rest, reportEnd)
	if !ok || !ok2 {
		return "", ErrNoReport
	}
	return before + reportBegin + "\n\n" + report + "\n" + reportEnd + after, nil
}

// Inserted is the report that a document holds.
func Inserted(doc string) (string, error) {
	_, rest, ok := strings.Cut(doc, reportBegin)
	report, _, ok2 := strings.Cut(rest, reportEnd)
	if !ok || !ok2 {
		return "", ErrNoReport
	}
	return strings.TrimSpace(report) + "\n", nil
}
