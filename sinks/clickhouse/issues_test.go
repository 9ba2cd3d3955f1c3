package clickhouse_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/clickhouse"
)

// letterAt is a dead letter about a refused command, so many minutes after the epoch.
func letterAt(minute, offset int, reason string) *schemas.DeadLetter {
	return &schemas.DeadLetter{
		ID: fmt.Sprintf("crm.commands-0-%d", offset), Stage: "deliver", Cause: schemas.CauseRejected, Reason: reason, Remedy: "make the field",
		Topic: schemas.TopicCommands, Offset: int64(offset), RootKey: fmt.Sprintf("live/shop/O%d", offset), Destination: "crm",
		ContactKey: fmt.Sprintf("live/c%d@example.com", offset), At: epoch.Add(time.Duration(minute) * time.Minute),
	}
}

func wordAt(minute, number int, item string, kind schemas.JobKind, result schemas.ItemResult) sinks.Row {
	at := epoch.Add(time.Duration(minute) * time.Minute)
	return sinks.Row{Offset: int64(number), At: at, Key: []byte(item), Record: &schemas.JobItem{
		JobID: "job-" + string(kind), Kind: kind, Item: item, Number: int64(number), Result: result, By: "ann", At: at,
	}}
}

func TestIssuesGroupLettersByCauseAndSayHowTheyStand(t *testing.T) {
	store, _ := prepared(t)
	letters := rowsOf(0,
		letterAt(1, 1, `contact c1@example.com: field "CITY" is not there`), letterAt(2, 2, `contact c2@example.com: field "TOWN" is not there`), // retried, then again
		letterAt(3, 3, "the list 17 is gone"), letterAt(4, 4, "the list 18 is gone"), // one of two retried
		letterAt(5, 5, "suspended until tomorrow"),  // dismissed
		letterAt(6, 6, "name too long: 300 bytes"),  // retried
		letterAt(7, 7, "a retry could not be made"), // failed: open
		letterAt(60, 8, `contact c8@example.com: field "CITY" is not there`),
	)
	for range 2 { // a repetition shows nothing twice
		insert(t, store, sinks.Range{Topic: schemas.TopicDeadLetters, TopicID: "id", From: 0, To: 7}, letters)
	}
	words := []sinks.Row{
		wordAt(10, 1, "crm.commands-0-1", schemas.JobRetry, schemas.ItemSent), wordAt(10, 2, "crm.commands-0-2", schemas.JobRetry, schemas.ItemSent),
		wordAt(10, 3, "crm.commands-0-4", schemas.JobRetry, schemas.ItemSent), wordAt(10, 4, "crm.commands-0-5", schemas.JobDismiss, schemas.ItemDismissed),
		wordAt(10, 5, "crm.commands-0-6", schemas.JobRetry, schemas.ItemSent), wordAt(11, 6, "crm.commands-0-6", schemas.JobRetry, schemas.ItemSkipped),
		wordAt(10, 7, "crm.commands-0-7", schemas.JobRetry, schemas.ItemFailed), wordAt(12, 8, "crm.commands-0-7", schemas.JobReplay, schemas.ItemSent),
	}
	insert(t, store, sinks.Range{Topic: schemas.TopicJobItems, TopicID: "id", From: 1, To: 8}, words)

	list, err := store.Issues(t.Context(), clickhouse.PastFilter{})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, i := range list {
		got = append(got, fmt.Sprintf("%s %d/%d/%d/%d %s..%s %s [%s] %s", i.State, i.Letters, i.Open, i.Retried, i.Dismissed,
			i.FirstSeen.Format("15:04"), i.LastSeen.Format("15:04"), i.Pattern, i.Sample, i.Place))
	}
	want := []string{
		"REOPENED 3/1/2/0 10:01..11:00 contact * field * is not there [crm.commands-0-8] crm",
		"OPEN 1/1/0/0 10:07..10:07 a retry could not be made [crm.commands-0-7] crm",
		"OPEN 2/1/1/0 10:03..10:04 the list * is gone [crm.commands-0-3] crm",
		"RETRIED 1/0/1/0 10:06..10:06 name too long: * bytes [crm.commands-0-6] crm",
		"DISMISSED 1/0/0/1 10:05..10:05 suspended until tomorrow [crm.commands-0-5] crm",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("issues (-want +got):\n%s", diff)
	}
	for _, c := range []struct {
		name string
		f    clickhouse.PastFilter
		want int
	}{
		{"state", clickhouse.PastFilter{State: clickhouse.IssueReopened}, 1},
		{"issue", clickhouse.PastFilter{Issue: list[2].Key}, 1},
		{"contact", clickhouse.PastFilter{Contact: "C3@example.com"}, 1},
		{"order", clickhouse.PastFilter{Order: "O5"}, 1},
		{"connection of another", clickhouse.PastFilter{Connection: "other"}, 0},
		{"text", clickhouse.PastFilter{Text: "IS GONE"}, 1},
		{"since", clickhouse.PastFilter{Since: epoch.Add(time.Hour)}, 1},
		{"until", clickhouse.PastFilter{Until: epoch.Add(5 * time.Minute)}, 2},
		{"environment", clickhouse.PastFilter{Environment: schemas.Sandbox}, 0},
		{"item", clickhouse.PastFilter{Item: "crm.commands-0-6"}, 1},
		{"effect", clickhouse.PastFilter{Effect: schemas.EffectSendMessage}, 0},
	} {
		list, err := store.Issues(t.Context(), c.f)
		if err != nil || len(list) != c.want {
			t.Errorf("%s: got %d issues, want %d (%v)", c.name, len(list), c.want, err)
		}
	}
	counted, err := store.CountLetters(t.Context(), clickhouse.PastFilter{Cause: schemas.CauseRejected})
	if diff := cmp.Diff(clickhouse.LetterCount{Open: map[string]uint64{schemas.CauseRejected: 3}, Closed: 5}, counted); diff != "" || err != nil {
		t.Errorf("counts (-want +got):\n%s %v", diff, err)
	}
	open, err := store.Letters(t.Context(), clickhouse.PastFilter{State: clickhouse.LetterOpen}, 2)
	if err != nil || len(open) != 2 || open[0].Item != "crm.commands-0-8" || open[1].JobID != "job-RETRY" {
		t.Errorf("got open letters %+v, %v", open, err)
	}
	if _, err := store.Issues(t.Context(), clickhouse.PastFilter{State: "ABSURD"}); !errors.Is(err, clickhouse.ErrFilter) {
		t.Errorf("an unknown state: got %v, want ErrFilter", err)
	}
}

// A letter about a row that ClickHouse refused has the id of the letter of the stage that refused the same record.
func TestLettersOfTheLoaderAreTheirOwn(t *testing.T) {
	store, _ := prepared(t)
	one, other := letterAt(1, 1, "a"), letterAt(2, 1, "b")
	one.Topic, other.Topic, one.ID, other.ID = schemas.TopicPayPalEvents, schemas.TopicPayPalEvents, "paypal.events-0-1", "paypal.events-0-1"
	other.Stage, other.Cause, other.Destination = "clickhouse", schemas.CauseUnwritable, ""
	rows := rowsOf(0, one, other)
	insert(t, store, rangeOf(schemas.TopicDeadLetters, rows), rows)
	got, err := store.Letters(t.Context(), clickhouse.PastFilter{}, 0)
	if err != nil || len(got) != 2 || got[0].Item != "clickhouse/paypal.events-0-1" || got[1].Item != "paypal.events-0-1" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestDeliveriesTellTheLastWordAboutEachCommand(t *testing.T) {
	store, _ := prepared(t)
	say := func(id string, minute int, word schemas.OutcomeWord, attempt int64) *schemas.Delivery {
		return &schemas.Delivery{
			CommandID: id, Kind: schemas.CommandEffect, Destination: "crm", ContactKey: "live/" + id + "@example.com", RootKey: "live/shop/" + id,
			Outcome: word, Attempt: attempt, StartedAt: epoch, At: epoch.Add(time.Duration(minute) * time.Minute),
			Requests: []schemas.Exchange{{Method: "POST", URL: "https://crm/api", Status: 200 + attempt, At: epoch}},
		}
	}
	rows := rowsOf(0, say("c1", 1, schemas.OutcomeRetryable, 1), say("c1", 2, schemas.OutcomeDelivered, 2), say("c2", 3, schemas.OutcomeUncertain, 1),
		say("c3", 4, schemas.OutcomeUncertain, 1), say("c4", 5, schemas.OutcomeUncertain, 1))
	insert(t, store, rangeOf(schemas.TopicDeliveries, rows), rows)
	insert(t, store, sinks.Range{Topic: schemas.TopicJobItems, TopicID: "id", From: 1, To: 2}, []sinks.Row{
		wordAt(10, 1, "c3", schemas.JobSettle, schemas.ItemSettled), wordAt(10, 2, "c4", schemas.JobRetry, schemas.ItemSent),
	})
	commands := rowsOf(0, &schemas.Command{CommandID: "c2", Kind: schemas.CommandEffect, Destination: "crm", ContactKey: "live/c2@example.com", Effect: &schemas.Effect{Type: schemas.EffectSendMessage, Name: "Thanks"}},
		&schemas.Command{CommandID: "s1", Kind: schemas.CommandContact, Destination: "crm", ContactKey: "live/c2@example.com"},
		&schemas.Command{CommandID: "s2", Kind: schemas.CommandContact, Destination: "crm", ContactKey: "live/c2@example.com"})
	insert(t, store, rangeOf(schemas.TopicCommands, commands), commands)
	list, err := store.Deliveries(t.Context(), clickhouse.PastFilter{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, d := range list {
		got = append(got, fmt.Sprint(d.CommandID, " ", d.State, " ", d.Attempts, " ", d.Status, " ", d.Effect, " ", d.EffectName))
	}
	if diff := cmp.Diff([]string{"c4 RESENT 1 201  ", "c3 SETTLED 1 201  ", "c2 UNCERTAIN 1 201 SEND_MESSAGE Thanks", "c1 DELIVERED 2 202  "}, got); diff != "" {
		t.Errorf("deliveries (-want +got):\n%s", diff)
	}
	if n, err := store.CountDeliveries(t.Context(), clickhouse.PastFilter{State: "UNCERTAIN", Effect: schemas.EffectSendMessage}); n != 1 || err != nil {
		t.Errorf("got %d uncertain messages, want 1 (%v)", n, err)
	}
	tries, err := store.Tries(t.Context(), "c1")
	if err != nil || len(tries) != 2 || tries[1].Outcome != "DELIVERED" || tries[1].Requests[0].Status != 202 {
		t.Errorf("got tries %+v, %v", tries, err)
	}
	replay, err := store.CountReplay(t.Context(), clickhouse.PastFilter{Contact: "c2@example.com"})
	if diff := cmp.Diff(clickhouse.Replayed{Contacts: 1, Effects: 1, Sample: []string{"crm live/c2@example.com"}}, replay); diff != "" || err != nil {
		t.Errorf("replay (-want +got):\n%s %v", diff, err)
	}
}

func TestJobsStandAsTheirLastRecordSays(t *testing.T) {
	store, _ := prepared(t)
	state := func(s schemas.JobState, done int64) *schemas.Job {
		return &schemas.Job{JobID: "j1", Kind: schemas.JobRetry, Filter: map[string]string{"cause": "REJECTED"}, State: s, Count: 3, Done: done, By: "ann", AskedAt: epoch, At: epoch}
	}
	rows := rowsOf(0, state(schemas.JobCounting, 0), state(schemas.JobRunning, 2), state(schemas.JobDone, 3))
	insert(t, store, rangeOf(schemas.TopicJobs, rows), rows)
	items := []sinks.Row{wordAt(1, 1, "a", schemas.JobRetry, schemas.ItemSent), wordAt(1, 2, "b", schemas.JobRetry, schemas.ItemFailed), wordAt(1, 3, "c", schemas.JobRetry, schemas.ItemSent)}
	insert(t, store, sinks.Range{Topic: schemas.TopicJobItems, TopicID: "id", From: 1, To: 3}, items)
	list, err := store.Jobs(t.Context(), "", 0)
	want := []clickhouse.Job{{ID: "j1", Kind: "RETRY", State: "DONE", Filter: map[string]string{"cause": "REJECTED"}, Count: 3, Done: 3, By: "ann", AskedAt: epoch, At: epoch}}
	if diff := cmp.Diff(want, list); diff != "" || err != nil {
		t.Errorf("jobs (-want +got):\n%s %v", diff, err)
	}
	if !list[0].Ended() {
		t.Error("a job that is done has not ended")
	}
	all, err := store.Items(t.Context(), "job-RETRY", "", 1, 0)
	if err != nil || len(all) != 2 || all[0].Item != "b" {
		t.Errorf("got items behind the first %+v, %v", all, err)
	}
	bad, err := store.Items(t.Context(), "job-RETRY", "FAILED", 0, 0)
	if err != nil || len(bad) != 1 || bad[0].Item != "b" {
		t.Errorf("got failed items %+v, %v", bad, err)
	}
}
