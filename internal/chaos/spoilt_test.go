package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// Each spoils a faultless history in one way that a broken engine could, and names the check that must see it.
func TestEverySpoiltHistoryIsFound(t *testing.T) {
	drop := func(topic string) func(*told) {
		return func(w *told) {
			s := w.longest(topic)
			w.past.records[s] = slices.Delete(slices.Clone(w.past.records[s]), 5, 6)
		}
	}
	double := func(topic string) func(*told) {
		return func(w *told) {
			s := w.longest(topic)
			again := *w.past.records[s][5]
			again.Offset = w.past.records[s][len(w.past.records[s])-1].Offset + 1
			w.past.records[s] = append(slices.Clone(w.past.records[s]), &again)
		}
	}
	swap := func(topic string) func(*told) {
		return func(w *told) {
			s := w.longest(topic)
			list := slices.Clone(w.past.records[s])
			for i := range list {
				for j := i + 1; j < len(list); j++ {
					if string(list[i].Key) == string(list[j].Key) && string(list[i].Value) != string(list[j].Value) {
						a, b := *list[i], *list[j]
						a.Value, b.Value = b.Value, a.Value
						list[i], list[j] = &a, &b
						w.past.records[s] = list
						return
					}
				}
			}
			w.t.Fatalf("no key is twice on %s", topic)
		}
	}
	for name, c := range map[string]struct {
		spoil func(*told)
		kind  string
	}{
		"an input is lost":                     {drop(schemas.TopicPayPalEvents), "input:"},
		"an input is there twice":              {double(schemas.TopicPayPalEvents), "input:"},
		"a transition is lost":                 {drop(schemas.TopicTransitions), "orders:"},
		"a transition is there twice":          {double(schemas.TopicTransitions), "orders:"},
		"two transitions changed places":       {swap(schemas.TopicTransitions), "transition:"},
		"a record for automation is lost":      {drop(schemas.TopicAutomationInbox), "automation.inbox:"},
		"a record for automation is doubled":   {double(schemas.TopicAutomationInbox), "automation.inbox:"},
		"a link or an event sent on is lost":   {drop(schemas.TopicOrdersInbox), "conservation:"},
		"a command is lost":                    {drop(schemas.TopicCommands), "commands:"},
		"a command is there twice":             {double(schemas.TopicCommands), "commands:"},
		"two commands changed places":          {swap(schemas.TopicCommands), "commands:"},
		"a dead letter is lost":                {dropLetter, "dead letter:"},
		"a dead letter that nobody expects":    {strangeLetter, "dead letter:"},
		"the newest image of an order is lost": {loseImage(schemas.TopicOrdersChangelog), "orders:"},
		"the newest image of a contact is old": {loseImage(schemas.TopicAutomationLog), "state:"},
		"the meta record went back":            {metaBack, "changelog:"},
		"a step of a run is lost":              {drop(schemas.TopicRuns), "runs:"},
		"a step of a run is there twice":       {double(schemas.TopicRuns), "runs:"},
		"two steps of runs changed places":     {swap(schemas.TopicRuns), "runs:"},
		"an answer is lost":                    {lose[*schemas.ListAnswer](schemas.TopicAutomationInbox), "answers:"},
		"a name of a contact is lost":          {lose[*schemas.IdentityLink](schemas.TopicAutomationInbox), "links:"},
		"a tick is lost":                       {lose[*schemas.Tick](schemas.TopicAutomationInbox), "conservation:"},
		"a deadline passed too early": {everyStep(func(s *schemas.RunStep) bool {
			s.At = s.Deadline
			return s.Kind == schemas.StepWaitNotMet
		}), "waits:"},
		"a deadline passed although the event had come": {everyStep(func(s *schemas.RunStep) bool {
			met := s.Kind == schemas.StepWaitMet && s.Step == "paid" && strings.Contains(s.ContactKey, "@")
			s.Kind, s.At = schemas.StepWaitNotMet, s.Deadline.Add(time.Millisecond)
			return met
		}), "waits: "},
		"a wait ended twice": {everyStep(func(s *schemas.RunStep) bool {
			opened := s.Kind == schemas.StepWaitOpened && s.Step == "paid-late"
			s.Kind = schemas.StepWaitMet
			return opened
		}), "waits:"},
		"an effect of a run is lost": {lose[*schemas.Command](schemas.TopicCommands), "commands"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTold(t)
			c.spoil(w)
			checked, _ := w.check()
			if !slices.ContainsFunc(checked.found.kept, func(f string) bool { return strings.HasPrefix(f, c.kind) }) {
				t.Errorf("no finding %q among %d:\n%s", c.kind, checked.found.count(), checked.found)
			}
		})
	}
}

// lose drops a record of a kind.
func lose[R schemas.Record](topic string) func(*told) {
	return func(w *told) {
		for s, list := range w.past.records {
			for i, r := range list {
				rec, err := w.codec.Decode(r.Value)
				if _, is := rec.(R); s.topic == topic && err == nil && is && i > 5 {
					w.past.records[s] = slices.Delete(slices.Clone(list), i, i+1)
					return
				}
			}
		}
		w.t.Fatalf("no such record is on %s", topic)
	}
}

// everyStep changes every step of a run that change says is one to be changed.
func everyStep(change func(*schemas.RunStep) bool) func(*told) {
	return func(w *told) {
		changed := 0
		for s, list := range w.past.records {
			for i, r := range list {
				if s.topic != schemas.TopicRuns {
					continue
				}
				rec, err := w.codec.Decode(r.Value)
				if err != nil {
					w.t.Fatal(err)
				}
				if !change(rec.(*schemas.RunStep)) {
					continue
				}
				another := *r
				if another.Value, err = w.codec.Encode(rec); err != nil {
					w.t.Fatal(err)
				}
				list[i] = &another
				changed++
			}
		}
		if changed == 0 {
			w.t.Fatal("there is no such step")
		}
	}
}

// longest is the partition of a topic with the most records.
func (w *told) longest(topic string) spot {
	best := spot{topic, 0}
	for p := range int32(testPartitions) {
		if s := (spot{topic, p}); len(w.past.records[s]) > len(w.past.records[best]) {
			best = s
		}
	}
	if len(w.past.records[best]) < 7 {
		w.t.Fatalf("%s has %d records", best, len(w.past.records[best]))
	}
	return best
}

func dropLetter(w *told) {
	for p := range int32(testPartitions) {
		s := spot{schemas.TopicDeadLetters, p}
		if len(w.past.records[s]) > 0 {
			w.past.records[s] = w.past.records[s][1:]
			return
		}
	}
}

func strangeLetter(w *told) {
	id := letterID(w.past.of(schemas.TopicPayPalEvents)[9])
	w.append(schemas.TopicDeadLetters, id, id, &schemas.DeadLetter{ID: id, Stage: "orders", Cause: schemas.CauseStageFailed, Reason: "r", Remedy: "r"})
}

// loseImage drops the last after-image of a key that has several.
func loseImage(topic string) func(*told) {
	return func(w *told) {
		s := w.longest(topic)
		list := slices.Clone(w.past.records[s])
		seen := map[string]int{}
		for i, r := range list {
			if before, ok := seen[string(r.Key)]; ok && string(r.Key) != metaKey && string(list[before].Value) != string(r.Value) {
				last := i
				for j := i; j < len(list); j++ {
					if string(list[j].Key) == string(r.Key) {
						last = j
					}
				}
				older := *list[last]
				older.Value = list[before].Value
				list[last] = &older
				w.past.records[s] = list
				return
			}
			seen[string(r.Key)] = i
		}
		w.t.Fatalf("no key is twice on %s", topic)
	}
}

func metaBack(w *told) {
	s := w.longest(schemas.TopicOrdersChangelog)
	for _, r := range w.past.records[s] {
		if string(r.Key) == metaKey {
			w.put(s.topic, s.partition, metaKey, r.Value)
			return
		}
	}
}
