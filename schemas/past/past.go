// Package past is what is told of what happened: runs and their waits, deliveries, dead letters by their cause, and jobs. Who
// looks it up and who shows it have these shapes in common.
package past

import (
	"slices"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// WaitState is how a wait stands.
type WaitState string

// Wait is one wait of a run. A zero time means that there is none.
type Wait struct {
	ID              string         `json:"id"`
	RunID           string         `json:"run_id"`
	Workflow        string         `json:"workflow"`
	WorkflowVersion string         `json:"workflow_version"`
	ConfigVersion   string         `json:"config_version"` // whose files hold that version
	Step            string         `json:"step"`
	ContactKey      string         `json:"contact"` // personal data
	RootKey         string         `json:"order,omitempty"`
	Origin          schemas.Origin `json:"origin"`
	Test            bool           `json:"test,omitempty"`
	Shadow          bool           `json:"shadow,omitempty"` // its workflow is only watched
	State           WaitState      `json:"state"`
	OpenedAt        time.Time      `json:"opened_at"`
	OpenedDetail    string         `json:"opened_detail,omitempty"`
	Deadline        time.Time      `json:"deadline,omitzero"` // zero: it waits without end
	ClosedAt        time.Time      `json:"closed_at,omitzero"`
	DecidedBy       string         `json:"decided_by,omitempty"` // event, deadline or person
	DecidedEvent    string         `json:"decided_event,omitempty"`
	DecidedDetail   string         `json:"decided_detail,omitempty"` // personal data
	CorrectedAt     time.Time      `json:"corrected_at,omitzero"`
}

// WaitPage is a part of a list, what is due first standing first and what waits without end last. Next is the cursor of
// the page behind it; empty: there is none.
type WaitPage struct {
	Waits []Wait `json:"waits"`
	Next  string `json:"next,omitempty"`
}

// WorkflowRuns counts the runs of one workflow.
type WorkflowRuns struct {
	Workflow   string        `json:"workflow"`
	Shadow     bool          `json:"shadow,omitempty"` // the workflow is only watched
	Runs       uint64        `json:"runs"`
	Open       uint64        `json:"open"`
	Ended      uint64        `json:"ended"`
	Stopped    uint64        `json:"stopped"`
	NotStarted uint64        `json:"not_started"` // held back by a rule; no part of Runs
	Contacts   uint64        `json:"contacts"`
	LastAt     time.Time     `json:"last_at"`
	Branches   []BranchCount `json:"branches"`
}

// BranchCount is how often a branch of a step was taken; v_branches says which there are.
type BranchCount struct {
	Step     string `json:"step"`
	Branch   string `json:"branch"`
	Times    uint64 `json:"times"`
	Runs     uint64 `json:"runs"`
	Contacts uint64 `json:"contacts"`
}

// Delivery is what became of a command so far.
type Delivery struct {
	CommandID   string    `json:"command"`
	Kind        string    `json:"kind"`
	Destination string    `json:"destination"`
	ContactKey  string    `json:"contact"` // personal data
	RootKey     string    `json:"order,omitempty"`
	EventID     string    `json:"event,omitempty"`
	Effect      string    `json:"effect,omitempty"`
	EffectName  string    `json:"effect_name,omitempty"` // personal data
	State       string    `json:"state"`
	Attempts    int64     `json:"attempts"`
	Status      int64     `json:"status,omitempty"` // of the last answer
	Error       string    `json:"error,omitempty"`  // personal data
	Remedy      string    `json:"remedy,omitempty"`
	FirstAt     time.Time `json:"first_at"`
	At          time.Time `json:"at"`
}

// Try is one record about a command: a try, or the last word.
type Try struct {
	Outcome  string             `json:"outcome"`
	Attempt  int64              `json:"attempt"`
	Error    string             `json:"error,omitempty"`
	Remedy   string             `json:"remedy,omitempty"`
	At       time.Time          `json:"at"`
	Requests []schemas.Exchange `json:"requests"` // redacted before they were kept; personal data
}

// Job is how a job stands.
type Job struct {
	ID        string            `json:"job"`
	Kind      string            `json:"kind"`
	State     string            `json:"state"`
	Filter    map[string]string `json:"filter"` // personal data
	PerMinute int64             `json:"per_minute,omitempty"`
	Count     int64             `json:"count"` // -1: not counted yet
	Done      int64             `json:"done"`
	Skipped   int64             `json:"skipped"`
	Failed    int64             `json:"failed"`
	Detail    string            `json:"detail,omitempty"`
	Why       string            `json:"why,omitempty"`
	By        string            `json:"by"`
	AskedAt   time.Time         `json:"asked_at"`
	At        time.Time         `json:"at"`
}

// Ended reports that the job is over.
func (j Job) Ended() bool {
	return slices.Contains([]string{string(schemas.JobDone), string(schemas.JobCancelled), string(schemas.JobFailed)}, j.State)
}

// Item is what a job made of one item.
type Item struct {
	Number      int64     `json:"number"`
	Item        string    `json:"item"` // personal data
	Result      string    `json:"result"`
	Detail      string    `json:"detail,omitempty"`
	Destination string    `json:"destination,omitempty"`
	ContactKey  string    `json:"contact,omitempty"` // personal data
	At          time.Time `json:"at"`
}

// Issue is a group of dead letters with one cause.
type Issue struct {
	Key       string    `json:"issue"`
	State     string    `json:"state"`
	Stage     string    `json:"stage"`
	Cause     string    `json:"cause"`
	Place     string    `json:"place"`   // destination, else environment and connection, else topic
	Pattern   string    `json:"pattern"` // the reason without what differs
	Letters   uint64    `json:"letters"`
	Open      uint64    `json:"open"`
	Retried   uint64    `json:"retried"`
	Dismissed uint64    `json:"dismissed"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	Reason    string    `json:"reason"` // of the newest letter; personal data
	Remedy    string    `json:"remedy"`
	Sample    string    `json:"sample"` // item of a letter, an open one where there is one
}

// Letter is a dead letter and what became of it.
type Letter struct {
	Item        string    `json:"item"`
	Issue       string    `json:"issue"`
	State       string    `json:"state"`
	Stage       string    `json:"stage"`
	Cause       string    `json:"cause"`
	Reason      string    `json:"reason"` // personal data
	Remedy      string    `json:"remedy"`
	Topic       string    `json:"topic"`
	Partition   int64     `json:"partition"`
	Offset      int64     `json:"offset"`
	EventID     string    `json:"event,omitempty"`
	RootKey     string    `json:"order,omitempty"`
	Destination string    `json:"destination,omitempty"`
	ContactKey  string    `json:"contact,omitempty"` // personal data
	Config      string    `json:"config_version,omitempty"`
	At          time.Time `json:"at"`
	JobID       string    `json:"job,omitempty"`  // that retried or dismissed it, or could not
	Word        string    `json:"word,omitempty"` // what it said
	WordBy      string    `json:"by,omitempty"`
	WordAt      time.Time `json:"word_at,omitzero"`
}
