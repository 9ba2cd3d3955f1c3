// Package processors says what a stage is: a pure function from a state and an input to the next state and outputs.
// The engine in package pipeline gives it exactly-once, storage, restore, timers and rebalancing.
package processors

import (
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// A Stage turns the state kept under one key and one input into the next state and outputs.
// Apply depends on s and in only, gives the same bytes on every machine, keeps no reference to in, changes nothing
// that s points to in place, and never iterates a map into an output. An output may point into in, and two outputs may
// share a record: nobody changes a record once it was handed over. The next state may hold texts of in; who keeps
// states for long keeps them encoded. An error is a finding about in (it becomes a
// dead letter); it never means "try again".
type Stage[S any] interface {
	Name() string
	// Version grows when the same history would give other results.
	Version() StageVersion
	// Key is the state that in concerns; false: in is not for this stage. For a timer the engine knows the key itself.
	Key(in Input) (string, bool)
	// Apply computes the next state. The zero S is the state of a key never seen; returning S with Forget true
	// (see Forgetter) removes it.
	Apply(s S, in Input) (S, []Output, error)
	// Timers are derived from the state, never stored beside it. Order does not matter.
	Timers(s S) []Timer
	// Encode gives the same bytes for equal states; Decode undoes it, also for the bytes of older versions.
	Encode(s S) ([]byte, error)
	Decode(b []byte) (S, error)
}

// Forgetter is implemented by states that can end: a state that says so is removed.
type Forgetter interface{ Forget() bool }

// StageVersion is the version of a stage's rules.
type StageVersion int

// Input is one record, or one due timer, in log order.
type Input struct {
	At     time.Time // stream time: of the record, or of the record that made the timer due
	Key    string    // the record's Kafka key
	Topic  string
	Record schemas.Record
	Timer  *Timer
	// Config is the version of the configuration that the partition follows at this record; empty: none was activated.
	Config string
}

// Timer is a moment at which a state wants to be asked again. It fires once stream time is past At: an input stamped
// exactly At is applied first. Several due timers fire in the order (At, state key, ID).
//
// While no receiver is there to take events, timers are held, and for a while after one is back. Records go on meanwhile:
// one stamped after At may then be applied before the timer fires. So a state that waits judges an event by the event's own
// time against At, never by whether the timer has fired.
type Timer struct {
	At time.Time
	ID string
}

// Output is one record to write in the same transaction.
type Output struct {
	Topic  string
	Key    string
	Record schemas.Record
	// PartitionKey chooses the partition where it is not Key's.
	PartitionKey string
}

// Poison is the finding of a stage about one record that can never be applied. The engine writes it as a
// schemas.DeadLetter with these words and leaves the state as it was.
type Poison struct {
	Cause  string // one of the schemas.Cause codes
	Reason string // one sentence: what happened to what
	Remedy string // one sentence: what to do
}

// Error implements error.
func (p *Poison) Error() string { return p.Cause + ": " + p.Reason + "; " + p.Remedy }
