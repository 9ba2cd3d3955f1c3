// Package workload is the job that every program of the engine's benchmark does, and its data.
//
// The job: read order events, drop duplicates by event id, drop events older than what the order knows, keep the
// order's status, write a transition at each change of it, and write a TIMED_OUT transition, once, for an order that
// was not paid within an hour of stream time after its first event. Stream time is the running maximum of the record
// timestamps of a partition. A wait is over when stream time is past its deadline; it ends before the event that
// brought that time is applied.
package workload

import (
	_ "embed"
	"fmt"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

const (
	// Partitions of the input, of the output and of every changelog.
	Partitions = 8
	// PayWithin is how long an order may stay unpaid, in stream time.
	PayWithin = time.Hour
	// SeenMax bounds the event ids kept with an order; the oldest goes first.
	SeenMax = 16
	// TimedOut is the status of an order that was not paid in time. It is none of the product's.
	TimedOut = "TIMED_OUT"
	// Paid is the status that ends the wait.
	Paid = string(schemas.StatusPaid)
)

// Schema ids of the wire header. Those of the product's records are what codec.NewLocal gives them.
const (
	OrderEventID = 1
	TransitionID = 1001
)

// TransitionSchema is the Avro schema of Transition.
//
//go:embed Transition.avsc
var TransitionSchema string

// statuses are the words that an order of this workload can have; states and counts use the place in the list.
var statuses = []string{"", string(schemas.StatusDraft), string(schemas.StatusApproved), Paid, TimedOut}

// intern returns the constant equal to b, so that no status is allocated.
func intern(b []byte) string {
	for _, s := range statuses {
		if string(b) == s {
			return s
		}
	}
	return string(b)
}

// Event is what the job needs of an OrderEvent.
type Event struct {
	ID     string
	Status string
	Time   int64 // the provider's, Unix milliseconds
}

// RecordName implements schemas.Record.
func (*Event) RecordName() string { return "OrderEvent" }

// Transition is one change of an order's status.
type Transition struct {
	Key      string
	From, To string
	EventID  string // empty for TIMED_OUT
	Time     int64  // of the event by the provider's clock, or the deadline; Unix milliseconds
}

// RecordName implements schemas.Record.
func (*Transition) RecordName() string { return "BenchTransition" }

// Topic settings that every program's topics share: event times lie in the past, and a retention by time would eat
// the records during the run.
func TopicConfig(compacted bool) map[string]*string {
	c := map[string]string{
		"message.timestamp.type": "CreateTime", "max.message.bytes": "8388608", "retention.ms": "-1", "cleanup.policy": "delete",
	}
	if compacted {
		c["cleanup.policy"] = "compact"
	}
	out := make(map[string]*string, len(c))
	for k, v := range c {
		out[k] = &v
	}
	return out
}

// Counts are the transitions by the status that they lead to.
type Counts map[string]int

// Diff says how c differs from want; empty where it does not.
func (c Counts) Diff(want Counts) string {
	out := ""
	for _, s := range statuses[1:] {
		if c[s] != want[s] {
			out += fmt.Sprintf(" %s: got %d, want %d;", s, c[s], want[s])
		}
	}
	return out
}
