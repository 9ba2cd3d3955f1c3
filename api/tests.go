package api

import (
	"encoding/json"
	"time"
)

// BacktestRequest is the body of POST /api/v1/backtests: the recorded events of a span, run in memory with the configuration
// in force and with another one in its place. Nothing is sent.
type BacktestRequest struct {
	// Files, Whole and Version say which configuration is tried, as in a ConfigTry; without any, the folder as it stands.
	Files   map[string]*string `json:"files,omitempty"`
	Whole   bool               `json:"whole,omitempty"`
	Version string             `json:"version,omitempty"`
	// Against is the version to compare with. Default: the one in force.
	Against string    `json:"against,omitempty"`
	Since   time.Time `json:"since,omitzero"` // default: 30 days before until
	Until   time.Time `json:"until,omitzero"` // default: now
}

// BacktestState says how far a backtest is.
type BacktestState string

// The states of a backtest.
const (
	BacktestQueued    BacktestState = "queued"
	BacktestRunning   BacktestState = "running"
	BacktestDone      BacktestState = "done"
	BacktestFailed    BacktestState = "failed"
	BacktestCancelled BacktestState = "cancelled"
)

// Backtest is the answer of POST /api/v1/backtests (202) and GET /api/v1/backtests/{id}. It lives in this process: a restart
// forgets it.
type Backtest struct {
	ID       string        `json:"id"`
	State    BacktestState `json:"state"`
	Error    string        `json:"error,omitempty"`
	Since    time.Time     `json:"since"`
	Until    time.Time     `json:"until"`
	New      string        `json:"new"`         // version that is tried
	Current  string        `json:"current"`     // version that it is compared with
	Events   int           `json:"events"`      // read so far
	At       time.Time     `json:"at,omitzero"` // time that was come to
	Progress float64       `json:"progress"`    // 0 to 1
	Began    time.Time     `json:"began"`
	Ended    time.Time     `json:"ended,omitzero"`
	// Report is there when it is done.
	Report *BacktestReport `json:"report,omitempty"`
}

// BacktestList is the answer of GET /api/v1/backtests: newest first.
type BacktestList struct {
	Items []Backtest `json:"items"` // without their reports
	Next  string     `json:"next,omitempty"`
}

// BacktestReport is what a backtest found: the diff of the effects.
type BacktestReport struct {
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until"`
	Current string    `json:"current"`
	New     string    `json:"new"`
	Events  int       `json:"events"`
	// Groups are the effects by rule, kind and destination; those that do not change, too.
	Groups    []BacktestGroup    `json:"groups"`
	Workflows []BacktestWorkflow `json:"workflows,omitempty"`
	// Contacts and Money (by currency) are what all differences together concern.
	Contacts int               `json:"contacts"`
	Money    map[string]string `json:"money,omitempty"`
	// DeadLetters and Unanswered are counted for the current and the new configuration.
	DeadLetters [2]int `json:"dead_letters"`
	Unanswered  [2]int `json:"unanswered"`
	Elsewhere   int    `json:"elsewhere"` // the current configuration, run again, differs from what really happened
}

// BacktestGroup is one kind of effect.
type BacktestGroup struct {
	Rule        string            `json:"rule"` // mappings/NAME, workflows/NAME, or contact
	Effect      string            `json:"effect"`
	Destination string            `json:"destination"`
	Really      int               `json:"really"`
	Current     int               `json:"current"`
	New         int               `json:"new"`
	Added       int               `json:"added"`
	Removed     int               `json:"removed"`
	Changed     int               `json:"changed"`
	Elsewhere   int               `json:"elsewhere"`
	Contacts    int               `json:"contacts"`
	Money       map[string]string `json:"money,omitempty"`
	Samples     []BacktestSample  `json:"samples,omitempty"`
}

// BacktestSample is one difference.
type BacktestSample struct {
	Kind    string    `json:"kind"` // added, removed, changed
	Order   string    `json:"order"`
	Event   string    `json:"event"`
	Contact string    `json:"contact"` // masked
	At      time.Time `json:"at"`
	Was     string    `json:"was,omitempty"`
	Becomes string    `json:"becomes,omitempty"`
}

// BacktestWorkflow is what becomes of one workflow's runs under each configuration.
type BacktestWorkflow struct {
	Name    string       `json:"name"`
	Current BacktestRuns `json:"current"`
	New     BacktestRuns `json:"new"`
}

// BacktestRuns are counts of runs.
type BacktestRuns struct {
	Started    int `json:"started"`
	NotStarted int `json:"not_started"`
	Met        int `json:"met"`
	NotMet     int `json:"not_met"`
	Corrected  int `json:"corrected"`
	Held       int `json:"held"`
	Failed     int `json:"failed"`
	Ended      int `json:"ended"`
}

// TestEventRequest is the body of POST /api/v1/test-events: an event marked as a test, which goes the whole way from the log
// to the CRM's door. No report counts it, and no wait of a real order ends by it.
type TestEventRequest struct {
	TestEvent
	// Send lets what it causes through to the CRM. Default: it is shown and not sent, and nothing is put on the log.
	Send bool `json:"send,omitempty"`
}

// TestEventTaken is the answer to it.
type TestEventTaken struct {
	EventID string `json:"event_id"` // for GET /api/v1/events/{id} and the timeline, where it was sent
	Order   string `json:"order"`
	Test    bool   `json:"test"` // always
	Sent    bool   `json:"sent"` // it is on the log, and its effects go to the CRM
	// Event is it as the log has it.
	Event json.RawMessage `json:"event"`
	// Steps and Effects are what the configuration of the folder makes of it by itself, in memory.
	Steps   []TestedStep   `json:"steps"`
	Effects []TestedEffect `json:"effects"`
}
