// Package scenario reads and runs scenarios: events at times, and what is expected of them, in plain text that a person
// without a programming language can read and write. docs/scenarios.md is the language's description.
//
// A scenario runs through the real stages under virtual time. It is pure: where configurations come from, the caller
// says by a World.
package scenario

import (
	"fmt"
	"strings"
	"time"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/schemas"
)

// File is one parsed scenario file.
type File struct {
	Name string
	// Preamble comes before every scenario of the file.
	Preamble  []Statement
	Scenarios []Scenario
}

// Scenario is one case of a file.
type Scenario struct {
	Name       string
	Line       int
	Statements []Statement
}

// Statement is one line that was understood.
type Statement struct {
	Line int
	Text string // without comment
	do   any    // one of the types in statements.go
}

// Problem is a line that could not be understood.
type Problem struct {
	File    string
	Line    int // from 1
	Message string
	Hint    string
}

// Error is "file:line: message; hint".
func (p *Problem) Error() string {
	text := fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
	if p.Hint != "" {
		text += "; " + p.Hint
	}
	return text
}

// Problems is all that is wrong with a file.
type Problems []*Problem

// Error lists the problems, a line each.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// World is what one scenario runs in. It is used by one run, in one goroutine.
type World interface {
	// Configure compiles the configuration of that name (empty: the default), with files over it, by path; a file
	// without text is not there. The error says what is wrong with it, a line each.
	Configure(name string, files map[string]string) (version string, err error)
	// Orders and Automation are fresh stages. The second follows, at each input, the version that the input names, of
	// those that were configured.
	Orders() processors.Stage[orders.State]
	Automation() processors.Stage[automation.State]
	// Connection is what the configuration of the last Configure says of a connection.
	Connection(name string) (Connection, bool)
}

// Connection is where events come from.
type Connection struct {
	Name        string
	Provider    string // connector type
	Environment schemas.Environment
	Topic       string
	// Resource is the id of the resource that takes an event type; empty: none.
	Resource func(eventType string) string
}

// Mode is how a scenario is run. All modes must give the same result.
type Mode string

// The modes.
const (
	Plain   Mode = "plain"
	Checked Mode = "checked" // every state goes through bytes, at each step
	Doubled Mode = "doubled" // what comes from outside comes twice
)

// Modes lists all.
func Modes() []Mode { return []Mode{Plain, Checked, Doubled} }

// Failure is an expectation that did not hold, or something that nobody expected.
type Failure struct {
	Line      int    `json:"line"`
	Statement string `json:"statement"`
	Message   string `json:"message"` // several lines: what was expected, what came
	Mode      Mode   `json:"mode"`
}

// Result is what one scenario came to.
type Result struct {
	File     string    `json:"file"`
	Name     string    `json:"name"`
	Line     int       `json:"line"`
	Passed   bool      `json:"passed"`
	Failures []Failure `json:"failures,omitempty"`
	// Reached are the steps of workflows that runs came to, as "WORKFLOW#STEP KIND", sorted.
	Reached []string `json:"reached,omitempty"`
}

// Run runs one scenario of a file in each of the modes and stops at the first mode that fails.
func Run(f *File, s *Scenario, world func() World, modes ...Mode) Result {
	res := Result{File: f.Name, Name: s.Name, Line: s.Line}
	for _, m := range modes {
		r := newRun(world(), m)
		r.all(f.Preamble, s)
		if res.Reached == nil {
			res.Reached = r.reachedSteps()
		}
		if len(r.failures) > 0 {
			res.Failures = r.failures
			return res
		}
	}
	res.Passed = true
	return res
}

// start is when a scenario begins that does not say so.
var start = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
