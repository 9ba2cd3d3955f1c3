package clickhouse_test

import (
	"fmt"
	"testing"

	"github.com/tillstream/tillstream/schemas"
)

// What waits is what has no final outcome, once however often it was stored, and of one destination or connection only.
func TestWhatAPauseHoldsBackIsCounted(t *testing.T) {
	store, _ := prepared(t)
	command := func(id, destination, root string, kind schemas.CommandKind) *schemas.Command {
		return &schemas.Command{CommandID: id, Kind: kind, Destination: destination, ContactKey: "live/" + id + "@example.com", RootKey: root}
	}
	commands := rowsOf(0,
		command("new", "crm", "live/eu/O1", schemas.CommandContact), command("intent", "crm", "live/eu/O2", schemas.CommandEffect),
		command("again", "crm", "live/us/O3", schemas.CommandContact), command("done", "crm", "live/eu/O4", schemas.CommandContact),
		command("refused", "crm", "live/eu/O5", schemas.CommandContact), command("superseded", "crm", "live/eu/O6", schemas.CommandContact),
		command("unknown", "crm", "live/eu/O7", schemas.CommandEffect), command("question", "crm", "live/eu/O8", schemas.CommandQuestion),
		command("other", "second", "live/eu/O9", schemas.CommandContact), command("sandbox", "crm", "sandbox/eu/O1", schemas.CommandContact),
		command("odd", "crm", "live/eu'--/O1", schemas.CommandContact), command("rootless", "crm", "", schemas.CommandContact),
	)
	outcome := func(id string, word schemas.OutcomeWord) *schemas.Delivery {
		c := schemas.Command{}
		for _, row := range commands {
			if one := row.Record.(*schemas.Command); one.CommandID == id {
				c = *one
			}
		}
		return &schemas.Delivery{CommandID: id, Kind: c.Kind, Destination: c.Destination, ContactKey: c.ContactKey, RootKey: c.RootKey, Outcome: word, StartedAt: epoch, At: epoch}
	}
	deliveries := rowsOf(0,
		outcome("intent", schemas.OutcomeIntent), outcome("again", schemas.OutcomeRetryable), outcome("done", schemas.OutcomeRetryable),
		outcome("done", schemas.OutcomeDelivered), outcome("refused", schemas.OutcomeRejected), outcome("superseded", schemas.OutcomeSuperseded),
		outcome("unknown", schemas.OutcomeUncertain),
	)
	for range 2 { // a repetition counts nothing twice
		insert(t, store, rangeOf(schemas.TopicCommands, commands), commands)
		insert(t, store, rangeOf(schemas.TopicDeliveries, deliveries), deliveries)
	}
	for _, tt := range []struct {
		subject schemas.PauseSubject
		name    string
		want    int64
	}{
		{schemas.PauseDestination, "crm", 6},    // new, intent, again, sandbox, odd, rootless
		{schemas.PauseDestination, "second", 1}, // other
		{schemas.PauseDestination, "nobody", 0},
		{schemas.PauseConnection, "eu", 4}, // new, intent, other, sandbox
		{schemas.PauseConnection, "us", 1},
		{schemas.PauseConnection, "eu'--", 1}, // a name is a value, never part of the query
	} {
		got, err := store.Waiting(t.Context(), tt.subject, tt.name)
		if err != nil || got != tt.want {
			t.Errorf("%s: got %d, %v, want %d", fmt.Sprintf("%s %q", tt.subject, tt.name), got, err, tt.want)
		}
	}
}
