package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/clickhouse"
)

// runOf writes the steps of one run as the automation stage would.
type runOf struct {
	id, workflow, contact, root string
	shadow, test                bool
	steps                       []*schemas.RunStep
	waits                       int
}

func (r *runOf) add(at string, kind schemas.StepWord, step, detail string, change ...func(*schemas.RunStep)) *runOf {
	s := &schemas.RunStep{
		RunID: r.id, Workflow: r.workflow, WorkflowVersion: "v1", ConfigVersion: "cfg1", ContactKey: r.contact, RootKey: r.root, Number: int64(len(r.steps) + 1),
		Step: step, Kind: kind, Detail: detail, Origin: schemas.OriginWebhook, Test: r.test, Shadow: r.shadow, At: moment(at),
	}
	switch kind {
	case schemas.StepWaitOpened:
		r.waits++
		s.WaitID = fmt.Sprint(r.id, ".", r.waits)
	case schemas.StepWaitMet, schemas.StepWaitNotMet:
		s.WaitID = fmt.Sprint(r.id, ".", r.waits)
	case schemas.StepWaitCorrected:
		s.WaitID, s.Number = fmt.Sprint(r.id, ".", r.waits), int64(1<<20+r.waits)
	}
	for _, c := range change {
		c(s)
	}
	r.steps = append(r.steps, s)
	return r
}

func by(event string) func(*schemas.RunStep) { return func(s *schemas.RunStep) { s.EventID = event } }

func until(deadline string) func(*schemas.RunStep) {
	return func(s *schemas.RunStep) { s.Deadline = moment(deadline) }
}

func far(s *schemas.RunStep) { s.Deadline = time.Date(2250, 1, 1, 0, 0, 0, 0, time.UTC) }

// pastRuns are nine runs: waits that were met by an event and by a person, not met, corrected, stopped, open, overdue; one
// that waits for time alone, one that is only watched, one that was held back, and what no report may count.
func pastRuns() (all []*schemas.RunStep) {
	start := func(n int, root string) *runOf {
		r := &runOf{id: fmt.Sprint("R", n), workflow: "recover", contact: fmt.Sprintf("live/c%d@example.com", n), root: "live/shop/" + root}
		return r
	}
	wait := func(r *runOf, at string, deadline func(*schemas.RunStep)) *runOf {
		return r.add(at, schemas.StepStarted, "", "", by("E-"+r.id)).add(at, schemas.StepWaitOpened, "pay", "", by("E-"+r.id), deadline)
	}
	const day1, day2 = "03-01 10:00", "03-02 10:00"
	ends := func(r *runOf, at string) { all = append(all, r.add(at, schemas.StepEnded, "", "").steps...) }
	ends(wait(start(1, "O1"), day1, until(day2)).add("03-01 12:00", schemas.StepWaitMet, "pay", "CAPTURE of O1: PAID", by("E-paid-1"), until(day2)), "03-01 12:00")
	ends(wait(start(2, "O2"), day1, until(day2)).add("03-02 06:00", schemas.StepWaitMet, "pay", "closed by ann", until(day2)), "03-02 06:00")
	ends(wait(start(3, "O3"), day1, until(day2)).add(day2, schemas.StepWaitNotMet, "pay", "the time is up", until(day2)).
		add(day2, schemas.StepHeld, "mail", "send_message sorry: the contact unsubscribed from the list News", func(s *schemas.RunStep) { s.Destination = "crm" }), day2)
	late := wait(start(4, "O4"), day1, until(day2)).add(day2, schemas.StepWaitNotMet, "pay", "the time is up", until(day2)).add(day2, schemas.StepEnded, "", "")
	all = append(all, late.add("03-02 11:00", schemas.StepWaitCorrected, "pay", "it happened in time and came after the deadline: CAPTURE of O4: PAID", by("E-late-4"), until(day2)).steps...)
	gone := wait(start(5, "O5"), day1, func(*schemas.RunStep) {}).add("03-01 13:00", schemas.StepStopped, "", "the workflow was removed")
	all = append(all, gone.steps...)
	ends(start(6, "O6").add(day1, schemas.StepStarted, "", "").add(day1, schemas.StepCondition, "big", "yes: order.amount > 10").
		add(day1, schemas.StepAction, "thank", "send_message thanks", func(s *schemas.RunStep) { s.CommandID, s.Destination = "CMD6", "crm" }), day1)
	two := start(6, "O6b") // the same contact again, a new run
	two.id = "R6b"
	all = append(all, two.add(day1, schemas.StepNotStarted, "", "it ran before, and runs once for each contact").steps...)
	no := &runOf{id: "R7", workflow: "recover", contact: "live/c6@example.com", root: "live/shop/O7"}
	no.add(day1, schemas.StepStarted, "", "").add(day1, schemas.StepCondition, "big", "no: order.amount > 10").add(day2, schemas.StepWaitOpened, "pay", "", until("03-03 10:00"))
	all = append(all, no.steps...)
	all = append(all, wait(start(8, "O8"), day2, far).steps...)
	pause := start(9, "O9")
	pause.workflow = "pause"
	ends(pause.add(day1, schemas.StepStarted, "", "").add(day1, schemas.StepWaitOpened, "1", "for 1h0m0s", until("03-01 11:00")).
		add("03-01 11:00", schemas.StepWaitMet, "1", "the time has come", until("03-01 11:00")), "03-01 11:00")
	watched := start(10, "O10")
	watched.shadow = true
	ends(wait(watched, day1, until(day2)).add(day2, schemas.StepWaitNotMet, "pay", "the time is up", until(day2)), day2)
	tested := start(11, "O11")
	tested.test = true
	all = append(all, wait(tested, day1, until(day2)).steps...)
	sand := &runOf{id: "R12", workflow: "recover", contact: "sandbox/c12@example.com", root: "sandbox/shop/O12"}
	return append(all, wait(sand, day1, until(day2)).steps...)
}

func TestWaitsAreListedByWhatIsDueFirst(t *testing.T) {
	store, conn := prepared(t)
	withoutMerges(t, conn)
	insertPast(t, store, conn)
	for name, c := range map[string]struct {
		filter clickhouse.WaitFilter
		want   []string
	}{
		"all": {clickhouse.WaitFilter{}, []string{
			"R9.1 MET deadline", "R1.1 MET event", "R10.1 NOT_MET deadline", "R11.1 OPEN ", "R12.1 OPEN ", "R2.1 MET person", "R3.1 NOT_MET deadline", "R4.1 CORRECTED deadline",
			"R7.1 OPEN ", "R8.1 OPEN ", "R5.1 STOPPED ",
		}},
		"open":                     {clickhouse.WaitFilter{State: clickhouse.WaitOpen}, []string{"R11.1 OPEN ", "R12.1 OPEN ", "R7.1 OPEN ", "R8.1 OPEN "}},
		"one":                      {clickhouse.WaitFilter{ID: "R2.1"}, []string{"R2.1 MET person"}},
		"due":                      {clickhouse.WaitFilter{State: clickhouse.WaitOpen, DueBefore: moment("03-03 10:00")}, []string{"R11.1 OPEN ", "R12.1 OPEN "}},
		"without end is due never": {clickhouse.WaitFilter{State: clickhouse.WaitStopped, DueBefore: time.Date(2290, 1, 1, 0, 0, 0, 0, time.UTC)}, nil},
		"a person":                 {clickhouse.WaitFilter{Contact: " C6@example.com"}, []string{"R7.1 OPEN "}},
		"a person elsewhere":       {clickhouse.WaitFilter{Contact: "sandbox/c6@example.com"}, nil},
		"an order":                 {clickhouse.WaitFilter{Order: "O3"}, []string{"R3.1 NOT_MET deadline"}},
		"an order by key":          {clickhouse.WaitFilter{Order: "live/shop/O3"}, []string{"R3.1 NOT_MET deadline"}},
		"a workflow":               {clickhouse.WaitFilter{Workflow: "pause"}, []string{"R9.1 MET deadline"}},
	} {
		page, err := store.Waits(context.Background(), c.filter)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, w := range page.Waits {
			got = append(got, w.ID+" "+string(w.State)+" "+w.DecidedBy)
		}
		if diff := cmp.Diff(got, c.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", name, diff)
		}
		if n, err := store.CountWaits(context.Background(), c.filter); err != nil || int(n) != len(c.want) {
			t.Errorf("%s: counted %d (%v), want %d", name, n, err, len(c.want))
		}
	}
}

// Pages put together are the list, whatever their size.
func TestPagesOfWaits(t *testing.T) {
	store, conn := prepared(t)
	insertPast(t, store, conn)
	whole, err := store.Waits(context.Background(), clickhouse.WaitFilter{})
	if err != nil || whole.Next != "" {
		t.Fatalf("%v, next %q", err, whole.Next)
	}
	for size := 1; size <= len(whole.Waits)+1; size++ {
		var got []clickhouse.Wait
		for after, pages := "", 0; ; pages++ {
			page, err := store.Waits(context.Background(), clickhouse.WaitFilter{Limit: size, After: after})
			if err != nil || pages > len(whole.Waits) {
				t.Fatalf("size %d: %v after %d pages", size, err, pages)
			}
			got = append(got, page.Waits...)
			if after = page.Next; after == "" {
				break
			}
		}
		if diff := cmp.Diff(got, whole.Waits); diff != "" {
			t.Errorf("pages of %d (-got +want):\n%s", size, diff)
		}
	}
}

func TestOneWaitInFull(t *testing.T) {
	store, conn := prepared(t)
	insertPast(t, store, conn)
	page, err := store.Waits(context.Background(), clickhouse.WaitFilter{ID: "R4.1"})
	if err != nil || len(page.Waits) != 1 {
		t.Fatalf("%d waits, %v", len(page.Waits), err)
	}
	want := clickhouse.Wait{
		ID: "R4.1", RunID: "R4", Workflow: "recover", WorkflowVersion: "v1", ConfigVersion: "cfg1", Step: "pay", ContactKey: "live/c4@example.com", RootKey: "live/shop/O4",
		Origin: schemas.OriginWebhook, State: clickhouse.WaitCorrect, OpenedAt: moment("03-01 10:00"), Deadline: moment("03-02 10:00"), ClosedAt: moment("03-02 10:00"),
		DecidedBy: "deadline", DecidedDetail: "the time is up", CorrectedAt: moment("03-02 11:00"),
	}
	if diff := cmp.Diff(page.Waits[0], want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// A run that moved to another version waits with that version's deadline.
func TestAMovedWaitHasItsNewDeadline(t *testing.T) {
	store, _ := prepared(t)
	r := &runOf{id: "M", workflow: "recover", contact: "live/m@example.com", root: "live/shop/M"}
	r.add("03-01 10:00", schemas.StepWaitOpened, "pay", "", until("03-02 10:00"))
	r.add("03-01 11:00", schemas.StepMigrated, "pay", "it goes on under the newest version", until("03-05 10:00"), func(s *schemas.RunStep) { s.WaitID, s.WorkflowVersion, s.ConfigVersion = "M.1", "v2", "cfg2" })
	rows := rowsOf(0, r.steps...)
	insert(t, store, rangeOf(schemas.TopicRuns, rows), rows)
	page, err := store.Waits(context.Background(), clickhouse.WaitFilter{ID: "M.1"})
	if err != nil || len(page.Waits) != 1 {
		t.Fatalf("%d waits, %v", len(page.Waits), err)
	}
	w := page.Waits[0]
	if got, want := fmt.Sprint(w.State, w.Deadline, w.WorkflowVersion, w.ConfigVersion, w.OpenedAt), fmt.Sprint("OPEN", moment("03-05 10:00"), "v2", "cfg2", moment("03-01 10:00")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFiltersOfWaitsAreValues(t *testing.T) {
	store, conn := prepared(t)
	insertPast(t, store, conn)
	for _, text := range []string{`'`, `\`, `x' OR 1=1 --`, `'); DROP TABLE run_steps; --`, "a\x00b", "@wait", "${1}", "?", "{store:String}", "日本", "%", "_"} {
		for _, f := range []clickhouse.WaitFilter{{ID: text}, {Workflow: text}, {Order: text}, {Contact: text + "@x"}} {
			if page, err := store.Waits(context.Background(), f); err != nil || len(page.Waits) != 0 {
				t.Errorf("%+v: %d waits, %v; want none", f, len(page.Waits), err)
			}
		}
		if runs, err := store.Runs(context.Background(), clickhouse.RunsFilter{Workflow: text}); err != nil || len(runs) != 0 {
			t.Errorf("%q: %v, %v", text, runs, err)
		}
	}
	for _, f := range []clickhouse.WaitFilter{{State: "x"}, {After: "%%%"}, {After: "eA"}, {Contact: "nobody"}, {ID: strings.Repeat("x", 2000)}} {
		if _, err := store.Waits(context.Background(), f); !errors.Is(err, clickhouse.ErrFilter) {
			t.Errorf("%+v: got %v, want a finding about the filter", f, err)
		}
	}
	if count(t, conn, "SELECT count() FROM run_steps") == 0 {
		t.Error("the steps are gone")
	}
}

func TestRunsByWorkflowWithTheirBranches(t *testing.T) {
	store, conn := prepared(t)
	withoutMerges(t, conn)
	insertPast(t, store, conn)
	list, err := store.Runs(context.Background(), clickhouse.RunsFilter{Workflow: "recover"})
	if err != nil || len(list) != 2 {
		t.Fatalf("%d workflows, %v", len(list), err)
	}
	got := list[0]
	got.LastAt, got.Contacts = time.Time{}, 0
	want := clickhouse.WorkflowRuns{Workflow: "recover", Runs: 8, Open: 2, Ended: 5, Stopped: 1, NotStarted: 1, Branches: []clickhouse.BranchCount{
		{Step: "big", Branch: "else", Times: 1, Runs: 1, Contacts: 1}, {Step: "big", Branch: "then", Times: 1, Runs: 1, Contacts: 1}, {Step: "pay", Branch: "corrected", Times: 1, Runs: 1, Contacts: 1}, {Step: "pay", Branch: "met", Times: 2, Runs: 2, Contacts: 2}, {Step: "pay", Branch: "not_met", Times: 2, Runs: 2, Contacts: 2},
	}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if !list[1].Shadow || list[1].Runs != 1 {
		t.Errorf("the watched runs are told as %+v", list[1])
	}
}

func TestADatabaseWithoutRunsSaysWhatToDo(t *testing.T) {
	store, conn := prepared(t)
	exec(t, conn, "DROP VIEW v_waits")
	exec(t, conn, "DROP VIEW v_workflow_runs")
	if _, err := store.Waits(context.Background(), clickhouse.WaitFilter{}); !errors.Is(err, clickhouse.ErrNoRuns) {
		t.Errorf("got %v", err)
	}
	if _, err := store.Runs(context.Background(), clickhouse.RunsFilter{}); !errors.Is(err, clickhouse.ErrNoRuns) {
		t.Errorf("got %v", err)
	}
}

func TestTraceShowsRunsBetweenTransitionsAndCommands(t *testing.T) {
	store, conn := prepared(t)
	insertPast(t, store, conn)
	for id, c := range map[string]struct{ as, first string }{
		"R3":                  {"run", "Workflow recover: started"},
		"R3.1":                {"run", "Workflow recover: started"},
		"E-paid-1":            {"event", "Workflow recover: wait met at step pay"},
		"live/c3@example.com": {"contact", "Workflow recover: started"},
	} {
		tr, err := store.Trace(context.Background(), id)
		if err != nil || tr.As != c.as || len(tr.Hops) == 0 || tr.Hops[0].Title != c.first {
			t.Errorf("%s: as %q with %d hops (%v): %+v", id, tr.As, len(tr.Hops), err, tr.Hops)
		}
	}
	at := moment("05-01 10:00")
	one := step(schemas.Live, "Z", 1, 0, schemas.Changed, "", schemas.StatusFailed, "0", "0")
	one.At = at
	run := (&runOf{id: "RZ", workflow: "recover", contact: "live/ann@example.com", root: one.RootKey}).add("05-01 10:00", schemas.StepStarted, "", "", by(one.Event.EventID))
	command := &schemas.Command{
		CommandID: "CZ", Kind: schemas.CommandQuestion, Destination: "crm", ContactKey: run.contact, RootKey: one.RootKey, RunID: "RZ", Rule: "workflows/recover#1",
		Reasons: []string{"tag a: added by b"}, Effect: &schemas.Effect{Type: schemas.QuestionOnList, Name: "News", Arguments: map[string]string{"k": "v"}}, At: at,
	}
	d := &schemas.Delivery{CommandID: "CZ", Destination: "crm", Outcome: schemas.OutcomeDelivered, At: at}
	for topic, rec := range map[string]schemas.Record{schemas.TopicTransitions: one, schemas.TopicRuns: run.steps[0], schemas.TopicCommands: command, schemas.TopicDeliveries: d} {
		rows := rowsOf(9000, rec)
		insert(t, store, rangeOf(topic, rows), rows)
	}
	tr, err := store.Trace(context.Background(), "Z")
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, h := range tr.Hops {
		kinds = append(kinds, h.Kind+": "+h.Title)
	}
	want := []string{"transition: Status none to FAILED", "run: Workflow recover: started", "command: Question ON_LIST News to crm"}
	if diff := cmp.Diff(kinds, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if got := tr.Hops[2].Get("reasons") + "|" + tr.Hops[2].Get("rule") + "|" + tr.Hops[2].Get("argument k"); got != "tag a: added by b|workflows/recover#1|v" {
		t.Errorf("the command is told as %q", got)
	}
	if tr, err = store.Trace(context.Background(), "RZ"); err != nil || len(tr.Hops) != 3 || tr.Hops[2].Kind != clickhouse.HopDelivery {
		t.Errorf("the run's trace: %v, %+v", err, tr.Hops)
	}
}

func TestAStoryHoldsWhatAnExplanationNeeds(t *testing.T) {
	store, conn := prepared(t)
	withoutMerges(t, conn)
	insertStory(t, store, conn)
	alias := step(schemas.Live, "P", 1, 2, schemas.Changed, "", schemas.StatusPaid, "5", "0")
	alias.ContactKey, alias.Payer = "live/payer:P1", &schemas.Payer{PayerID: "P1"}
	ann := step(schemas.Live, "Q", 1, 3, schemas.Changed, "", schemas.StatusPaid, "5", "0")
	ann.Payer = &schemas.Payer{Email: "ann@example.com", PayerID: "P1"}
	run := (&runOf{id: "RA", workflow: "recover", contact: "live/ann@example.com", root: "live/shop/A"}).
		add("03-01 10:00", schemas.StepStarted, "", "", by("E-A-1")).add("03-01 10:00", schemas.StepWaitOpened, "pay", "", until("03-09 10:00"))
	command := &schemas.Command{
		CommandID: "CR", Kind: schemas.CommandEffect, Destination: "crm", ContactKey: run.contact, RunID: "RA", Rule: "workflows/recover#mail", Origin: schemas.OriginWebhook,
		Effect: &schemas.Effect{Type: schemas.EffectSendMessage, Name: "sorry"}, Reasons: []string{"why"}, At: epoch.Add(time.Hour),
	}
	for topic, rows := range map[string][]sinks.Row{
		schemas.TopicTransitions: rowsOf(5000, alias, ann), schemas.TopicRuns: rowsOf(0, run.steps...), schemas.TopicCommands: rowsOf(5000, command),
		schemas.TopicConfig: rowsOf(0, &schemas.ConfigVersion{Version: "cfg1", Files: map[string]string{"workflows/recover.yaml": "start: []"}, At: epoch}),
	} {
		for replay := range 3 {
			r := rangeOf(topic, rows)
			r.Replay = int64(replay)
			insert(t, store, r, rows)
		}
	}
	of := func(id string) string {
		t.Helper()
		st, err := store.Story(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		var commands, words []string
		for _, c := range st.Commands {
			commands = append(commands, c.CommandID)
		}
		for _, d := range st.Deliveries {
			words = append(words, d.CommandID+" "+string(d.Outcome))
		}
		return fmt.Sprintf("%s: %d transitions, %d steps, commands %v, last words %v, %d letters, %d waits, %d configs, aliases %v",
			st.As, len(st.Transitions), len(st.Steps), commands, words, len(st.DeadLetters), len(st.Waits), len(st.Configs), st.Aliases)
	}
	for id, want := range map[string]string{
		"A":                       "order: 6 transitions, 2 steps, commands [C1 C2 CR], last words [C1 DELIVERED], 0 letters, 1 waits, 1 configs, aliases [{live/ann@example.com live/payer:P1 P1}]",
		"B":                       "order: 2 transitions, 0 steps, commands [], last words [], 1 letters, 0 waits, 1 configs, aliases [{live/ann@example.com live/payer:P1 P1}]",
		"RA.1":                    "run: 0 transitions, 2 steps, commands [CR], last words [], 0 letters, 1 waits, 1 configs, aliases []",
		"sandbox/ann@example.com": "contact: 1 transitions, 0 steps, commands [], last words [], 0 letters, 0 waits, 1 configs, aliases []",
		"nobody@example.com":      ": 0 transitions, 0 steps, commands [], last words [], 0 letters, 0 waits, 0 configs, aliases []",
		"x' OR '1'='1":            ": 0 transitions, 0 steps, commands [], last words [], 0 letters, 0 waits, 0 configs, aliases []",
	} {
		if got := of(id); got != want {
			t.Errorf("%s:\n got %s\nwant %s", id, got, want)
		}
	}
	if _, err := store.Story(context.Background(), strings.Repeat("x", 2000)); err == nil {
		t.Error("an id without end is looked for")
	}
}
