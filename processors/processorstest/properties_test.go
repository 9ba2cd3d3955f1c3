package processorstest_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/processors/processorstest"
	"github.com/tillstream/tillstream/schemas"
)

func newRunner(t *rapid.T) *processorstest.Runner {
	rules, problems := automation.Compile(map[string]automation.MappingFile{
		"all.yaml": {Destination: "crm", Triggers: []automation.TriggerOptions{{On: "paypal-event-received", TrackEvent: "paypal"}}},
	}, automation.Known{})
	if len(problems) > 0 {
		t.Fatalf("rules: %v", problems)
	}
	return processorstest.NewRunner(orders.New(orders.Options{}), automation.New(rules), epoch)
}

func drain(t *rapid.T, r *processorstest.Runner, events []*schemas.OrderEvent) {
	for _, e := range events {
		r.Append(e)
		if rapid.Bool().Draw(t, "at once") {
			if err := r.Drain(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.Drain(); err != nil {
		t.Fatal(err)
	}
}

func factsOf(t *rapid.T, r *processorstest.Runner) map[string]orders.Facts {
	states, err := r.Orders()
	if err != nil {
		t.Fatal(err)
	}
	facts := map[string]orders.Facts{}
	for key, s := range states {
		if f, ok := s.Facts(); ok {
			facts[key] = f
		}
	}
	return facts
}

// Whatever the order of arrival and of partitions, every root ends with the status and the facts of the naive fold.
func TestArrivalOrderNeverShows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := history().Draw(t, "history")
		r := newRunner(t)
		r.Pick = func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "partition") }
		drain(t, r, events)
		if diff := cmp.Diff(processorstest.Fold(events), factsOf(t, r)); diff != "" {
			t.Fatalf("facts differ from the fold (-fold +stage):\n%s\nin order of arrival:\n%s", diff, dump(events))
		}
	})
}

// received = transitions + dead letters, event by event (conservation).
func TestEveryInputHasExactlyOneEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := history().Draw(t, "history")
		for i, e := range events {
			switch rapid.IntRange(0, 11).Draw(t, "damage") {
			case 0:
				c := *e
				c.Fingerprint = "changed"
				events[i] = &c
			case 1:
				c := *e
				c.Problem = "no JSON"
				events[i] = &c
			case 2:
				c := *e
				c.Kind = schemas.KindOther
				events[i] = &c
			}
		}
		r := newRunner(t)
		drain(t, r, events)
		if err := r.Advance(epoch.Add(10 * orders.DefaultOrphanAfter)); err != nil {
			t.Fatal(err)
		}
		got, want := map[string]int{}, map[string]int{}
		for _, e := range events {
			want[e.EventID]++
		}
		for _, tr := range r.Transitions() {
			got[tr.Event.EventID]++
		}
		for _, d := range r.DeadLetters() {
			if d.Stage == "orders" {
				got[d.EventID]++
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("ends of events (-received +ended):\n%s", diff)
		}
		states, err := r.Orders()
		if err != nil {
			t.Fatal(err)
		}
		for key, s := range states {
			if events, transitions := s.Pending(); events+transitions > 0 {
				t.Fatalf("%s: %d events and %d transitions still wait", key, events, transitions)
			}
		}
	})
}

// The statuses of a root are one path without gaps, and each flag agrees with the table of legal moves.
func TestTransitionsAreOnePath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRunner(t)
		drain(t, r, history().Draw(t, "history"))
		last := map[string]*schemas.Transition{}
		for _, tr := range r.Transitions() {
			from := schemas.PaymentStatus("")
			number := int64(1)
			if p := last[tr.RootKey]; p != nil {
				number = p.Number + 1
				if from = p.To; from == schemas.StatusUnknown {
					from = ""
				}
			}
			if tr.From != from || tr.Number != number {
				t.Fatalf("%s no. %d starts at %q, want no. %d from %q", tr.RootKey, tr.Number, tr.From, number, from)
			}
			if tr.Legal != schemas.Legal(tr.RootKind, tr.From, tr.To) {
				t.Fatalf("%s: %s to %s flagged legal=%v", tr.RootKey, tr.From, tr.To, tr.Legal)
			}
			if moved := tr.To != tr.From && tr.To != schemas.StatusUnknown; moved != (tr.Disposition == schemas.Changed) {
				t.Fatalf("%s: %q to %q is %s", tr.RootKey, tr.From, tr.To, tr.Disposition)
			}
			last[tr.RootKey] = tr
		}
	})
}

// The whole history a second time changes nothing and sends nothing.
func TestReplayOfEverythingIsWithoutEffect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := history().Draw(t, "history")
		r := newRunner(t)
		drain(t, r, events)
		facts, commands := factsOf(t, r), len(r.Commands())
		transitions := len(r.Transitions())
		drain(t, r, events)
		if diff := cmp.Diff(facts, factsOf(t, r)); diff != "" {
			t.Fatalf("facts after the replay (-before +after):\n%s", diff)
		}
		if got := len(r.Commands()); got != commands {
			t.Fatalf("%d commands after the replay, %d before", got, commands)
		}
		for _, tr := range r.Transitions()[transitions:] {
			if tr.Disposition != schemas.Duplicate {
				t.Fatalf("%s of %s is %s in the replay, want DUPLICATE", tr.Event.EventID, tr.RootKey, tr.Disposition)
			}
		}
	})
}

// The same history gives the same bytes.
func TestRunsAreEqualToTheByte(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := history().Draw(t, "history")
		var images [2][]string
		var outputs [2]any
		for i := range 2 {
			r := newRunner(t)
			for _, e := range events {
				if err := r.Feed(e); err != nil {
					t.Fatal(err)
				}
			}
			images[i], outputs[i] = r.Images(), r.Outputs()
		}
		if diff := cmp.Diff(images[0], images[1]); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(outputs[0], outputs[1]); diff != "" {
			t.Fatal(diff)
		}
	})
}
