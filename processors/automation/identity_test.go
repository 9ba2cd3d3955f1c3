package automation_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/schemas"
)

const (
	bo        = "sandbox/bo@example.com"
	payerKey  = "sandbox/payer:P1"
	customKey = "sandbox/custom:c42"
)

// town is the automation stage over all keys, whose own records come back to it one at a time, in an order that pick
// chooses: those of one key that wait for another are not in order, as they are not across partitions.
type town struct {
	stage  *automation.Stage
	states map[string]automation.State
	queue  []processors.Input
	pick   func(n int) int
	sent   []string // "event -> key", for each transition that was sent on
	ends   map[string][]string
}

func newTown(t testing.TB, custom bool) *town {
	r := rules(t, map[string]automation.MappingFile{"all.yaml": {Destination: "crm"}})
	r.CustomIDIsCustomer = custom
	return &town{stage: automation.New(r), states: map[string]automation.State{}, ends: map[string][]string{}}
}

func (w *town) add(list ...*schemas.Transition) {
	for _, t := range list {
		w.queue = append(w.queue, processors.Input{At: noon, Key: t.ContactKey, Topic: schemas.TopicAutomationInbox, Record: t})
	}
}

func (w *town) run(t fataler) {
	for steps := 0; len(w.queue) > 0; steps++ {
		if steps > 10_000 {
			t.Fatalf("10000 records, and %d are left: they go round", len(w.queue))
		}
		i := 0
		if w.pick != nil {
			i = w.pick(len(w.queue))
		}
		in := w.queue[i]
		w.queue = slices.Delete(w.queue, i, i+1)
		w.one(t, in)
	}
}

type fataler interface{ Fatalf(string, ...any) }

func (w *town) one(t fataler, in processors.Input) {
	key, ok := w.stage.Key(in)
	if !ok {
		t.Fatalf("%T under %s has no key", in.Record, in.Key)
	}
	next, out, err := w.stage.Apply(w.states[key], in)
	tr, transition := in.Record.(*schemas.Transition)
	var poison *processors.Poison
	switch {
	case errors.As(err, &poison):
		w.end(tr, key+" dead "+poison.Cause)
		return
	case err != nil:
		t.Fatalf("%v", err)
	}
	b, err := w.stage.Encode(next)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if w.states[key], err = w.stage.Decode(b); err != nil {
		t.Fatalf("%v", err)
	}
	on := false
	for _, o := range out {
		if o.Topic != schemas.TopicAutomationInbox {
			continue
		}
		w.queue = append(w.queue, processors.Input{At: noon, Key: o.Key, Topic: o.Topic, Record: o.Record})
		if n, is := o.Record.(*schemas.Transition); is {
			on = true
			w.sent = append(w.sent, n.Event.EventID+" -> "+o.Key)
			if n.ContactKey != o.Key || n == tr {
				t.Fatalf("sent on under %s with contact %s, the same record: %v", o.Key, n.ContactKey, n == tr)
			}
		}
	}
	if transition && !on {
		w.end(tr, key)
	}
}

func (w *town) end(t *schemas.Transition, where string) {
	w.ends[t.Event.EventID] = append(w.ends[t.Event.EventID], where)
}

// who makes a transition of a customer with these names.
func who(number int64, email, payerID, customID string) *schemas.Transition {
	t := transition(number, schemas.StatusPaid)
	t.Payer, t.Event.CustomID = &schemas.Payer{Email: email, PayerID: payerID}, customID
	t.ContactKey = schemas.ContactKey(schemas.Sandbox, t.Payer)
	if email == "" && customID != "" {
		t.ContactKey = schemas.CustomKey(schemas.Sandbox, customID)
	}
	if t.ContactKey == "" {
		t.ContactKey = t.RootKey
	}
	return t
}

func TestContactIsFoundByFurtherNames(t *testing.T) {
	const ann, boo = "ana@example.com", "bo@example.com"
	list := func(l ...*schemas.Transition) []*schemas.Transition { return l }
	testEvent := who(1, ann, "P1", "")
	testEvent.Event.Test = true
	trap := who(1, "payer:p1@example.com", "P1", "")
	for name, c := range map[string]struct {
		story  []*schemas.Transition
		custom bool
		want   []string // where each event ended
	}{
		"by payer id":                               {list(who(1, ann, "P1", ""), who(2, "", "P1", "")), false, []string{"WH-1 " + ana, "WH-2 " + ana}},
		"by the shop's own id":                      {list(who(1, ann, "", "c42"), who(2, "", "", "c42")), true, []string{"WH-1 " + ana, "WH-2 " + ana}},
		"a custom id that names orders":             {list(who(1, ann, "", "c42"), who(2, "", "", "c42")), false, []string{"WH-1 " + ana, "WH-2 " + customKey + " dead NO_CONTACT"}},
		"by payer id where the shop's id is new":    {list(who(1, ann, "P1", ""), who(2, "", "P1", "c42")), true, []string{"WH-1 " + ana, "WH-2 " + ana}},
		"nobody known: as before":                   {list(who(1, "", "P1", ""), who(2, ann, "P1", "")), false, []string{"WH-1 " + payerKey + " dead NO_CONTACT", "WH-2 " + ana}},
		"the first contact keeps the name":          {list(who(1, ann, "P1", ""), who(2, boo, "P1", ""), who(3, "", "P1", "")), false, []string{"WH-1 " + ana, "WH-2 " + bo, "WH-3 " + ana}},
		"a test teaches nobody's name":              {list(testEvent, who(2, "", "P1", "")), false, []string{"WH-1 " + ana, "WH-2 " + payerKey + " dead NO_CONTACT"}},
		"another payer id":                          {list(who(1, ann, "P1", ""), who(2, "", "P2", "")), false, []string{"WH-1 " + ana, "WH-2 sandbox/payer:P2 dead NO_CONTACT"}},
		"an address that looks like another's name": {list(trap, who(2, "", "P1", "")), false, []string{"WH-1 sandbox/payer:p1@example.com", "WH-2 " + payerKey + " dead NO_CONTACT"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, c.custom)
			for _, tr := range c.story {
				w.add(tr)
				w.run(t)
			}
			var got []string
			for _, id := range slices.Sorted(maps.Keys(w.ends)) {
				for _, end := range w.ends[id] {
					got = append(got, id+" "+end)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("ends (-want +got):\n%s", diff)
			}
		})
	}
}

// What was sent on is mapped as if it named the address itself, and teaches no further name.
func TestWhatWasSentOnIsMapped(t *testing.T) {
	w := newTown(t, true)
	w.add(who(1, "ana@example.com", "", "c42"))
	w.run(t)
	before := w.states[ana]
	given := who(2, "", "P9", "c42")
	_, out, err := w.stage.Apply(w.states[customKey], processors.Input{At: noon, Key: customKey, Record: given})
	if err != nil || len(out) != 1 {
		t.Fatalf("%d outputs, error %v; want the transition alone", len(out), err)
	}
	want := *given
	want.ContactKey = ana
	if diff := cmp.Diff(&want, out[0].Record); diff != "" || out[0].Key != ana {
		t.Errorf("sent on under %s (-want +got):\n%s", out[0].Key, diff)
	}
	next, out, err := w.stage.Apply(automation.State{}, processors.Input{At: noon, Key: ana, Record: out[0].Record})
	if err != nil || len(out) != 1 || out[0].Record.(*schemas.Command).Contact.Email != "ana@example.com" {
		t.Errorf("outputs %+v, error %v; want one command for ana@example.com", out, err)
	}
	if len(next.Aliases) != 0 || len(before.Aliases) != 1 || given.Payer.Email != "" {
		t.Errorf("%d names announced for what was found by a name, %d for what shows both, record changed to %q", len(next.Aliases), len(before.Aliases), given.Payer.Email)
	}
}

func TestLaterContactsAreLinkedNotMerged(t *testing.T) {
	w := newTown(t, false)
	for i, email := range []string{"ana@example.com", "bo@example.com", "ana@example.com", "cy@example.com"} {
		w.add(who(int64(i), email, "P1", ""))
		w.run(t)
	}
	const cy = "sandbox/cy@example.com"
	got := map[string][]string{}
	for key, s := range w.states {
		got[key] = append([]string{s.Contact}, s.Links...)
	}
	want := map[string][]string{payerKey: {ana, bo, cy}, ana: {"", bo, cy}, bo: {"", ana, cy}, cy: {"", ana, bo}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("first contact and links (-want +got):\n%s", diff)
	}
}

func TestNamesAndLinksAreBounded(t *testing.T) {
	w := newTown(t, false)
	for i := range 130 {
		w.add(who(int64(i), "ana@example.com", fmt.Sprintf("P%d", i), ""), who(int64(1000+i), fmt.Sprintf("u%03d@example.com", i), "shared", ""))
		w.run(t)
	}
	shared := w.states["sandbox/payer:shared"]
	if got := len(w.states[ana].Aliases); got != 100 {
		t.Errorf("%d names are kept of one contact, want 100", got)
	}
	if got := len(shared.Links); got != 50 {
		t.Errorf("%d contacts are linked by one name, want 50", got)
	}
	if got := len(w.states[shared.Contact].Links); got != 50 {
		t.Errorf("%d links are kept of one contact, want 50", got)
	}
	w.add(who(5000, "ana@example.com", "P0", "")) // forgotten, announced again
	w.run(t)
	if got := w.states["sandbox/payer:P0"]; got.Contact != ana || len(got.Links) > 0 {
		t.Errorf("a name announced twice: %+v", got)
	}
}

// Whatever the order in which transitions, announcements and links come, the links are the same, nothing goes round, and
// each transition has one end.
func TestArrivalNeverShowsInLinks(t *testing.T) {
	stage := newTown(t, true).stage
	rapid.Check(t, func(t *rapid.T) {
		var story []*schemas.Transition
		for i := range rapid.IntRange(1, 8).Draw(t, "transitions") {
			story = append(story, who(int64(i),
				rapid.SampledFrom([]string{"", "ana@example.com", "bo@example.com", "cy@example.com"}).Draw(t, "email"),
				rapid.SampledFrom([]string{"", "P1", "P2"}).Draw(t, "payer id"),
				rapid.SampledFrom([]string{"", "c42", "c7", "x@example.com"}).Draw(t, "custom id")))
		}
		want, wantLinks := foldNames(story)
		w := &town{stage: stage, states: map[string]automation.State{}, ends: map[string][]string{}}
		w.pick = func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "next") }
		w.add(story...)
		w.run(t)
		names, links := map[string][]string{}, map[string][]string{}
		for key, s := range w.states {
			switch {
			case s.Contact != "":
				names[key] = slices.Sorted(slices.Values(append([]string{s.Contact}, s.Links...)))
			case len(s.Links) > 0:
				links[key] = s.Links
			}
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Fatalf("contacts by name (-fold +stage):\n%s", diff)
		}
		if diff := cmp.Diff(wantLinks, links); diff != "" {
			t.Fatalf("links of contacts (-fold +stage):\n%s", diff)
		}
		for _, tr := range story {
			if ends := w.ends[tr.Event.EventID]; len(ends) != 1 {
				t.Fatalf("%s ended %v", tr.Event.EventID, ends)
			} else if tr.Payer.Email != "" && ends[0] != tr.ContactKey {
				t.Fatalf("%s names %s and ended at %s", tr.Event.EventID, tr.ContactKey, ends[0])
			}
		}
		for _, sent := range w.sent {
			if n := strings.Count(strings.Join(w.sent, "\n"), strings.Fields(sent)[0]+" "); n > 2 {
				t.Fatalf("sent on %d times: %v", n, w.sent)
			}
		}
	})
}

// foldNames works out, from all transitions at once, which contacts each further name has, and which share one.
func foldNames(story []*schemas.Transition) (names, links map[string][]string) {
	names, links = map[string][]string{}, map[string][]string{}
	put := func(m map[string][]string, key, value string) {
		if !slices.Contains(m[key], value) {
			m[key] = slices.Sorted(slices.Values(append(m[key], value)))
		}
	}
	for _, t := range story {
		if t.Payer.Email == "" {
			continue
		}
		contact := "sandbox/" + t.Payer.Email
		if t.Payer.PayerID != "" {
			put(names, "sandbox/payer:"+t.Payer.PayerID, contact)
		}
		if t.Event.CustomID != "" {
			put(names, "sandbox/custom:"+t.Event.CustomID, contact)
		}
	}
	for _, contacts := range names {
		for _, a := range contacts {
			for _, b := range contacts {
				if a != b {
					put(links, a, b)
				}
			}
		}
	}
	return names, links
}
