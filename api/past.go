package api

import (
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/past"
)

// WaitView is a wait with what would end it.
type WaitView struct {
	past.Wait
	Ending *Ending `json:"ending,omitempty"` // of an open wait
}

// RunList is the answer of GET /api/v1/runs.
type RunList struct {
	Workflows []past.WorkflowRuns `json:"workflows"`
}

// Ending says what would end a wait, and what comes then.
type Ending struct {
	Met      string `json:"met"`     // what it takes
	NotMet   string `json:"not_met"` // when the time is up
	ThenMet  string `json:"then_met"`
	ThenNot  string `json:"then_not_met"`
	Program  bool   `json:"known"`      // the text of the workflow's version is known here
	Corrects string `json:"correction"` // what a late event does; empty: nothing
}

// Explanation is the answer about one order or contact.
type Explanation struct {
	ID        string               `json:"id"`
	As        string               `json:"as"` // order, contact or run
	At        time.Time            `json:"at"` // what relative times are relative to
	Contacts  []string             `json:"contacts"`
	Orders    []string             `json:"orders"`
	Sections  []ExplanationSection `json:"sections"`
	Truncated bool                 `json:"truncated,omitempty"` // there was more; the newest is told
}

// ExplanationSection is one question with its sentences.
type ExplanationSection struct {
	ID    string            `json:"id"` // way, identity, tags, runs, waits, idle, crm or given_up
	Title string            `json:"title"`
	Lines []ExplanationLine `json:"lines"`
}

// ExplanationLine is one sentence, and what it can be looked up by.
type ExplanationLine struct {
	At            time.Time `json:"at,omitzero"`
	Depth         int       `json:"depth,omitempty"` // lines of a greater depth belong to the one above
	Text          string    `json:"text"`
	Rule          string    `json:"rule,omitempty"`
	ConfigVersion string    `json:"config_version,omitempty"`
	EventID       string    `json:"event,omitempty"`
	RunID         string    `json:"run,omitempty"`
	WaitID        string    `json:"wait,omitempty"`
	CommandID     string    `json:"command,omitempty"`
}

// IssueList is the answer of GET /api/v1/issues.
type IssueList struct {
	Issues []past.Issue `json:"issues"`
}

// LetterList is the answer of GET /api/v1/dead-letters.
type LetterList struct {
	Letters []past.Letter `json:"dead_letters"`
}

// DeliveryList is the answer of GET /api/v1/deliveries.
type DeliveryList struct {
	Deliveries []past.Delivery `json:"deliveries"`
}

// DeliveryView is one command with all that was tried.
type DeliveryView struct {
	past.Delivery
	Tries []past.Try `json:"tries"`
}

// JobList is the answer of GET /api/v1/jobs.
type JobList struct {
	Jobs []past.Job `json:"jobs"`
}

// JobView is a job with some of its items; Next is the number to go on after, 0: there are no more.
type JobView struct {
	past.Job
	Items []past.Item `json:"items"`
	Next  int64       `json:"next,omitempty"`
}

// JobPreview is what a job would be about, as ClickHouse knows it, which is seconds behind.
type JobPreview struct {
	JobID    string            `json:"job_id,omitempty"` // of the job that was asked for
	Kind     schemas.JobKind   `json:"kind"`
	Filter   map[string]string `json:"filter"` // as a job has it; empty: everything
	Count    uint64            `json:"count"`
	ByCause  map[string]uint64 `json:"by_cause,omitempty"` // of letters
	Closed   uint64            `json:"closed,omitempty"`   // letters that were retried or dismissed before
	Contacts uint64            `json:"contacts,omitempty"` // of a replay, once for each destination
	Effects  uint64            `json:"effects,omitempty"`  // of a replay that sends them, too
	Sample   []string          `json:"sample,omitempty"`
}
