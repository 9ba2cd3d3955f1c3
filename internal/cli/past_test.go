package cli_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/pipeline/jobs"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// pastLetters fills the tables with letters of reasons in many forms, and a job.
func pastLetters(t *testing.T, store *chsink.Store) {
	t.Helper()
	var letters []sinks.Row
	for i, reason := range []string{
		`past0@example.com: field "LAST, \"NAME\"" is not there`, "the list 17 is gone, see https://crm.example/help?a=b#c d", "Größe \"ü\" größer als 300 Zeichen: élan-42 (x)",
		"ends in a quote \"", strings.Repeat("long words ", 50) + "17", "key live/shop/5O19012 of a.b+c@d.example", escape + " 7",
	} {
		d := &schemas.DeadLetter{
			ID: fmt.Sprint("past-", i), Stage: "deliver", Cause: schemas.CauseRejected, Reason: reason, Remedy: "mend it", Topic: schemas.TopicCommands, Partition: 97, Offset: int64(i),
			RootKey: fmt.Sprint("live/past/O", i), ContactKey: fmt.Sprintf("live/past%d@example.com", i), At: reportDay,
		}
		if i%2 == 0 {
			d.Destination = "past"
		}
		if i == 3 {
			d.RootKey, d.ContactKey = "", ""
		}
		letters = append(letters, sinks.Row{Offset: int64(i), At: reportDay, Record: d})
	}
	items := []sinks.Row{{At: reportDay.Add(time.Hour), Record: &schemas.JobItem{JobID: "past-job", Kind: schemas.JobRetry, Item: "past-1", Number: 1, Result: schemas.ItemFailed, Detail: "not yet: past1@example.com", At: reportDay}}}
	job := []sinks.Row{{At: reportDay, Record: &schemas.Job{JobID: "past-job", Kind: schemas.JobRetry, Filter: map[string]string{"contact": "past1@example.com"}, State: schemas.JobDone, Count: 1, Failed: 1, By: "ann", AskedAt: reportDay, At: reportDay}}}
	for topic, rows := range map[string][]sinks.Row{schemas.TopicDeadLetters: letters, schemas.TopicJobItems: items, schemas.TopicJobs: job} {
		r := sinks.Range{Topic: topic, TopicID: "past", Partition: 97, From: 0, To: rows[len(rows)-1].Offset}
		if err := store.Insert(context.Background(), r, rows); err != nil {
			t.Fatal(err)
		}
	}
	list, err := store.Letters(t.Context(), chsink.PastFilter{Stage: "deliver", Text: ""}, 0)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, l := range list {
		for _, row := range letters {
			if d := row.Record.(*schemas.DeadLetter); d.ID == l.Item {
				if compared++; l.Issue != jobs.IssueKey(d) {
					t.Errorf("clickhouse and the runner of jobs name the issue of %q differently: %s and %s (%q)", d.Reason, l.Issue, jobs.IssueKey(d), jobs.ReasonPattern(d.Reason))
				}
			}
		}
	}
	if compared != len(letters) {
		t.Errorf("compared %d issues of %d", compared, len(letters))
	}
}

func thePastIsShown(t *testing.T, address string) {
	for _, c := range []struct {
		args []string
		code int
		want []string // all of it, in stdout and stderr
		none string   // must not be there
	}{
		{[]string{"issues", "--destination", "past"}, 0, []string{"REJECTED", "open", "is not there"}, "past0@"},
		{[]string{"issues", "list", "--connection", "past", "--state", "open"}, 0, []string{"the list * is gone"}, "past1@"},
		{[]string{"issues", "--state", "shut"}, 2, []string{"use open"}, "REJECTED"},
		{[]string{"issues", "--cause", "odd"}, 2, []string{"--cause"}, "REJECTED"},
		{[]string{"issues", "show", "none"}, 1, []string{"there is no issue"}, "REJECTED"},
		{[]string{"issues", "shut"}, 2, []string{"unknown command"}, "REJECTED"},
		{[]string{"retry", "--contact", "past1@example.com", "--dry-run"}, 0, []string{"1 dead letters are meant", "1 REJECTED", "past-1"}, "past1@"},
		{[]string{"retry", "--contact", "past1@example.com", "--dry-run", "--show-personal-data"}, 0, []string{"past1@example.com"}, "nothing is changed"},
		{[]string{"retry", "--contact", "past1@example.com"}, 2, []string{"nothing is changed", "--yes"}, "on its way"},
		{[]string{"retry", "--contact", "past1@example.com", "--yes"}, 2, []string{"--clickhouse alone"}, "on its way"},
		{[]string{"retry"}, 2, []string{"leaves nothing out"}, "meant"},
		{[]string{"retry", "--since", "soon", "--yes"}, 2, []string{"--since"}, "meant"},
		{[]string{"retry", "--uncertain", "--cause", "rejected"}, 2, []string{"uncertain"}, "meant"},
		{[]string{"replay", "--contact", "nobody-at-all@example.com", "--dry-run"}, 0, []string{"nothing to do: no contacts and effects match"}, "nobody-at"},
		{[]string{"deliveries", "--outcome", "odd"}, 2, []string{"use delivered"}, "COMMAND"},
		{[]string{"deliveries", "show", "none"}, 1, []string{"no delivery"}, "try"},
		{[]string{"jobs", "list"}, 0, []string{"past-job", "retry", "done"}, "past1@"},
		{[]string{"jobs", "show", "past-job", "--result", "failed"}, 0, []string{"job past-job: retry, done", "1 of 1, 1 failed", "past-1", "not yet"}, "past1@"},
		{[]string{"jobs", "show", "none"}, 1, []string{"there is no job"}, "retry"},
	} {
		code, out, errs := tillstream(t, append(c.args, "--clickhouse", address)...)
		if code != c.code {
			t.Errorf("%v: got code %d, want %d: %s%s", c.args, code, c.code, out, errs)
		}
		for _, want := range c.want {
			if !strings.Contains(out+errs, want) {
				t.Errorf("%v: got %s%s, want %q in it", c.args, out, errs, want)
			}
		}
		if strings.Contains(out, c.none) || strings.Contains(out+errs, escape) {
			t.Errorf("%v: %q, or a control sequence, is in it:\n%s", c.args, c.none, out)
		}
	}
}
