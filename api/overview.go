package api

import "time"

// The steps of the pipeline strip, in their order.
const (
	StepReceived    = "received"    // deliveries that came in, good or not
	StepVerified    = "verified"    // of them judged good
	StepRecorded    = "recorded"    // records of events in ClickHouse
	StepTransitions = "transitions" // results of the orders stage
	StepEffects     = "effects"     // commands to destinations
	StepDelivered   = "delivered"   // commands done at the CRM
	StepDead        = "dead"        // dead letters
)

// Overview is the answer of GET /overview.
type Overview struct {
	At          time.Time `json:"at"`
	Day         time.Time `json:"day"` // begin of today, UTC
	Environment string    `json:"environment"`
	// CompleteUpTo: everything that Kafka had before it is in ClickHouse, and so in every figure here. Zero: not known yet.
	CompleteUpTo time.Time `json:"complete_up_to,omitzero"`
	// CompleteNote says why it is not known, or what holds it back; empty: nothing does.
	CompleteNote string          `json:"complete_note,omitempty"`
	Steps        []OverviewStep  `json:"steps"`
	Money        []OverviewMoney `json:"money"` // of today, one for each currency
	Attention    []Attention     `json:"attention"`
}

// OverviewStep is one step of the strip.
type OverviewStep struct {
	Step  string `json:"step"`  // one of the Step constants
	Count int64  `json:"count"` // of today
	// LagSeconds is how far the step is behind, the age of the oldest that waits before it; null: not known here.
	LagSeconds *float64 `json:"lag_seconds"`
	// Waiting is how many wait before it; null: not known here.
	Waiting *int64    `json:"waiting"`
	LastAt  time.Time `json:"last_at,omitzero"` // of its newest of today
	Link    string    `json:"link"`             // page with what is behind the count
	Note    string    `json:"note,omitempty"`
}

// OverviewMoney is today's money in one currency.
type OverviewMoney struct {
	Currency string `json:"currency"`
	Gross    string `json:"gross"`
	Refunds  string `json:"refunds"`
	Net      string `json:"net"`
	Payments int64  `json:"payments"`
	Link     string `json:"link"`
}

// Attention is something that a person should look at.
type Attention struct {
	Kind     string    `json:"kind"`     // issue, part, paused, connection, destination, wait, lag
	Severity string    `json:"severity"` // error, warning or info; the list is in this order
	What     string    `json:"what"`
	Detail   string    `json:"detail,omitempty"`
	Remedy   string    `json:"remedy,omitempty"`
	Count    int64     `json:"count,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Link     string    `json:"link"` // page
}
