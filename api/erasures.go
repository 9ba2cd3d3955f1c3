package api

import "time"

// ErasureRequest is the body of POST /erasures. What is erased does not come back: count first.
type ErasureRequest struct {
	Email  string `json:"email"`
	By     string `json:"by,omitempty"` // who asks, for the receipt; who is signed in counts before it
	DryRun bool   `json:"dry_run,omitempty"`
	Lift   bool   `json:"lift,omitempty"`    // the person is a customer again: what comes from now on is stored whole
	Sure   bool   `json:"confirm,omitempty"` // must be said, but for a dry run
}

// The states of an erasure.
const (
	ErasureRunning = "running" // loaders are being told, or rows changed
	ErasureDone    = "done"
	ErasureFailed  = "failed" // ask again: it goes on where it stopped
)

// Erasure is an erasure and its receipt. No address is in it.
type Erasure struct {
	ID           string            `json:"id"` // empty: a dry run
	State        string            `json:"state"`
	Problem      string            `json:"problem,omitempty"` // of a failed one
	DryRun       bool              `json:"dry_run,omitempty"`
	Lifted       bool              `json:"lifted,omitempty"`
	Subject      string            `json:"subject,omitempty"` // keyed hash of the address
	Pseudonym    string            `json:"pseudonym,omitempty"`
	By           string            `json:"by"`
	At           time.Time         `json:"at"`
	DoneAt       time.Time         `json:"done_at,omitzero"`
	Orders       int               `json:"orders"`
	Contacts     int               `json:"contacts"`
	Tables       map[string]uint64 `json:"tables"` // table to rows that lost what named the person
	Destinations []string          `json:"destinations,omitempty"`
	Remaining    []string          `json:"remaining,omitempty"` // where the person is still known, and until when
}

// ErasureList is the answer of GET /erasures, the newest first.
type ErasureList struct {
	Items []Erasure `json:"items"`
}
