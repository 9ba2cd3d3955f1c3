package api

import (
	"encoding/json"
	"time"
)

// WorkflowList is the answer of GET /api/v1/workflows.
type WorkflowList struct {
	Items []WorkflowView `json:"items"` // by name
	Next  string         `json:"next,omitempty"`
}

// WorkflowView is one workflow. Text and Form are left out of the list.
type WorkflowView struct {
	Name        string   `json:"name"`
	File        string   `json:"file"`
	ETag        string   `json:"etag"` // of the file
	Description string   `json:"description"`
	Destination string   `json:"destination"`
	Mode        string   `json:"mode"`   // live, shadow or off
	Starts      []string `json:"starts"` // triggers
	Steps       int      `json:"steps"`
	InForce     bool     `json:"in_force"` // the version in force has the same text
	// Text is the file. Form is what it says, as JSON with the same keys (GET /api/v1/config/schemas/workflows describes them);
	// null where the text cannot be read.
	Text     string          `json:"text,omitempty"`
	Form     json.RawMessage `json:"form,omitempty"`
	Problems []ConfigProblem `json:"problems"` // of this file
}

// WorkflowEdit is the body of PUT /api/v1/workflows/{name}: one of the two. With form, only what differs is changed in the
// file: comments, order and spelling of the rest stay. dry_run=true writes nothing; apply=true puts the folder in force
// after it. If-Match takes the ETag of the workflow; a new one takes If-None-Match: *. The answer is a ConfigEdited.
type WorkflowEdit struct {
	Text *string         `json:"text,omitempty"`
	Form json.RawMessage `json:"form,omitempty"`
}

// WorkflowGraph is the answer of GET /api/v1/workflows/{name}/graph.
type WorkflowGraph struct {
	Workflow string      `json:"workflow"`
	Version  string      `json:"version"` // of the workflow: a short hash of what its file says
	Nodes    []GraphNode `json:"nodes"`   // starts first, then the steps in the order of the file, then the ends
	Edges    []GraphEdge `json:"edges"`
	// Counts are of the runs in the span asked for; null where ClickHouse is not reached, which Why says.
	Counts *GraphCounts `json:"counts"`
	Why    string       `json:"why,omitempty"`
}

// GraphNode is a start, a step or an end.
type GraphNode struct {
	ID   string `json:"id"`   // start.0, step:ID, end
	Kind string `json:"kind"` // start, if, on_list, business_hours, wait_for, wait, action, move_to_workflow, stop, end
	Step string `json:"step"` // the step's id, as runs and traces name it; empty: no step
	// Label is what it does in a few words; Action the kind of an action, for example send_message.
	Label  string `json:"label"`
	Action string `json:"action,omitempty"`
	Field  string `json:"field"`          // place in the file, for example steps.2.met.0
	Line   int    `json:"line,omitempty"` // from 1
}

// GraphEdge is a way from one node to another.
type GraphEdge struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Branch string `json:"branch"` // then, else, met, not_met, corrected; empty: what comes next
	Label  string `json:"label"`
	// Times, Runs and Contacts are counts of the branch; null: not counted.
	Times    *uint64 `json:"times"`
	Runs     *uint64 `json:"runs"`
	Contacts *uint64 `json:"contacts"`
}

// GraphCounts are counts of the whole workflow.
type GraphCounts struct {
	Runs       uint64 `json:"runs"`
	Open       uint64 `json:"open"`
	Ended      uint64 `json:"ended"`
	Stopped    uint64 `json:"stopped"`
	NotStarted uint64 `json:"not_started"`
	Contacts   uint64 `json:"contacts"`
}

// WorkflowTest is the body of POST /api/v1/workflows/{name}/test: events at times, in memory and under virtual time. Nothing
// is sent, and nothing else than the workflows of the configuration runs.
type WorkflowTest struct {
	// Text or Form is the workflow as it stands in the editor; without them, as it stands in its file.
	Text *string         `json:"text,omitempty"`
	Form json.RawMessage `json:"form,omitempty"`
	// Events come in their order; at least one.
	Events []TestEvent `json:"events"`
	// Lists answers questions about lists: on which the contact is. Questions about others are answered with no.
	Lists []string `json:"lists,omitempty"`
	// For is how much time passes after the last event, for example 3d. Default: until nothing is waited for, 400 days at the most.
	For string `json:"for,omitempty"`
}

// TestEvent is an event of a test.
type TestEvent struct {
	// Stored is the id of a stored event, of which this is a copy; then nothing else than After may be said.
	Stored     string            `json:"stored,omitempty"`
	After      string            `json:"after,omitempty"`      // time since the event before, for example 1d or 90m
	Connection string            `json:"connection,omitempty"` // default: the first that the configuration has
	Type       string            `json:"type,omitempty"`       // the provider's event type; default: one of the resource
	Resource   string            `json:"resource,omitempty"`
	Status     string            `json:"status,omitempty"` // of the payment: CREATED, PENDING, PAID, FAILED ...; default: PENDING
	Order      string            `json:"order,omitempty"`  // default: the same for all events of a test
	Email      string            `json:"email,omitempty"`
	Amount     string            `json:"amount,omitempty"` // default: 10.00
	Currency   string            `json:"currency,omitempty"`
	Fields     map[string]string `json:"fields,omitempty"` // further fields of the event, as mappings name them
}

// WorkflowTested is the answer to it.
type WorkflowTested struct {
	Workflow string `json:"workflow"`
	Version  string `json:"version"`
	// Began and Ended are virtual.
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
	// Started says that a run of this workflow began; Why why none did.
	Started bool   `json:"started"`
	Why     string `json:"why,omitempty"`
	// Steps are in the order of time, of this workflow and of those that it moved to.
	Steps   []TestedStep   `json:"steps"`
	Effects []TestedEffect `json:"effects"` // that would have been sent
	// Nodes and Edges are those of the graph that were come to: "FROM TO BRANCH" for an edge.
	Nodes []string     `json:"nodes"`
	Edges []string     `json:"edges"`
	Open  []TestedWait `json:"open"` // waits that are still open at the end
}

// TestedStep is one thing that a run did.
type TestedStep struct {
	At       time.Time `json:"at"`
	Workflow string    `json:"workflow"`
	Run      string    `json:"run"`
	Step     string    `json:"step"` // empty: the run as a whole
	Node     string    `json:"node"` // of the graph; empty: none of it
	Kind     string    `json:"kind"` // RUN_STARTED, BRANCH, WAIT_OPENED ...
	Branch   string    `json:"branch,omitempty"`
	Detail   string    `json:"detail,omitempty"`
}

// TestedEffect is what would have been sent.
type TestedEffect struct {
	At          time.Time `json:"at"`
	Rule        string    `json:"rule"`
	Destination string    `json:"destination"`
	Type        string    `json:"type"` // contact, message, list ...
	Name        string    `json:"name"`
	Data        string    `json:"data,omitempty"`
}

// TestedWait is a wait that is still open.
type TestedWait struct {
	Step     string    `json:"step"`
	Deadline time.Time `json:"deadline"`
	Detail   string    `json:"detail"`
}
