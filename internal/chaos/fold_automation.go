package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/schemas"
)

// heldFor is how far timers fire past the newest watermark that a tick told (pipeline/DESIGN.md), read here a second time.
const heldFor = 30 * time.Second

// sentKey is a transition that automation sent on: from the state of one name of a customer to another, about one order.
type sentKey struct{ from, to, root string }

// automation folds automation.inbox, the stage's one input, in the order of its offsets, timers between the records:
// commands, steps of runs, what goes back to the inbox, and states must be the same to the byte, stream time included.
func (c *checker) automation(images map[stageSpot]map[string][]byte) {
	stage := automation.New(c.rules)
	want := wanted{commands: map[string][]string{}, runs: map[string][]string{}}
	for s := range images {
		if s.stage != stage.Name() {
			continue
		}
		f := &fold{c: c, stage: stage, want: &want, states: map[string]automation.State{}, muted: map[string]map[timerMark]bool{}, due: map[string]int64{}}
		for _, r := range c.past.records[spot{schemas.TopicAutomationInbox, s.partition}] {
			f.record(r)
		}
		c.fired[s], c.waits.fired, c.waits.held = f.fired, c.waits.fired+int(f.fired), c.waits.held+f.held
		c.contactStates(f, s, images[s])
	}
	for _, x := range []struct {
		what, topic string
		want        map[string][]string
		line        func(schemas.Record) string
	}{{"commands", schemas.TopicCommands, want.commands, commandLine}, {"runs", schemas.TopicRuns, want.runs, stepLine}} {
		got := map[string][]string{}
		for _, r := range c.past.of(x.topic) {
			got[string(r.Key)] = append(got[string(r.Key)], x.line(c.decoded[r]))
		}
		for _, key := range sortedKeys(x.want, got) {
			c.compareSequences(x.what, key, x.want[key], got[key])
		}
	}
}

// wanted is what the fold expects on the topics that hold one contact's records in order.
type wanted struct{ commands, runs map[string][]string }

// timerMark names a timer within its state.
type timerMark struct {
	at int64 // Unix nanoseconds
	id string
}

// fold is one partition of the automation stage.
type fold struct {
	c      *checker
	stage  *automation.Stage
	want   *wanted
	states map[string]automation.State
	muted  map[string]map[timerMark]bool // timers that failed, or stayed
	due    map[string]int64              // of each state that has timers: the earliest, in Unix milliseconds

	now, watermark int64
	fired          int64
	held           int
	next           string // the state whose timer is the earliest; empty: not known
}

// record lets the timers fire that are due before r, and applies it.
func (f *fold) record(r *kgo.Record) {
	rec, at := f.c.decoded[r], max(f.now, streamTime(r))
	if t, ok := rec.(*schemas.Tick); ok && !t.Watermark.IsZero() {
		f.watermark = max(f.watermark, min(t.Watermark.UnixMilli(), at))
	}
	clock := at
	if f.watermark != 0 {
		clock = min(at, f.watermark+heldFor.Milliseconds())
	}
	for key, ok := f.earliest(); ok && f.due[key] < clock; key, ok = f.earliest() {
		if f.due[key] < f.now {
			f.held++
		}
		f.fire(key, at, r)
	}
	f.now = at
	switch rec := rec.(type) {
	case *schemas.Tick:
		return
	case *schemas.ConfigActivation:
		if rec.Version != f.c.rules.ConfigVersion {
			f.c.found.add("configuration", letterID(r), "version %s is activated, and the run has only %s", rec.Version, f.c.rules.ConfigVersion)
		}
		return
	}
	in := processors.Input{At: time.UnixMilli(at).UTC(), Key: string(r.Key), Topic: r.Topic, Record: rec, Config: f.c.rules.ConfigVersion}
	key, ok := f.stage.Key(in)
	if !ok {
		return
	}
	if t, ok := rec.(*schemas.Transition); ok {
		f.c.waits.came[key] = append(f.c.waits.came[key], moment{at, t})
	}
	next, outs, err := f.stage.Apply(f.states[key], in)
	if err != nil {
		f.c.letters[letterID(r)] = f.stage.Name() + " " + causeOf(err)
		return
	}
	f.accept(key, next)
	f.emit(key, outs)
}

func causeOf(err error) string {
	if poison := (*processors.Poison)(nil); errors.As(err, &poison) {
		return poison.Cause
	}
	return schemas.CauseStageFailed
}

// earliest is the state whose timer fires next: the earliest, and of those at one time the first by key.
func (f *fold) earliest() (string, bool) {
	if _, ok := f.due[f.next]; !ok {
		f.next = ""
		for key, at := range f.due {
			if n, ok := f.due[f.next]; !ok || at < n || at == n && key < f.next {
				f.next = key
			}
		}
	}
	_, ok := f.due[f.next]
	return f.next, ok
}

// fire lets the earliest timer of a state fire, for the record r that is stamped at.
func (f *fold) fire(key string, at int64, r *kgo.Record) {
	t := f.timers(key)[0]
	in := processors.Input{At: time.UnixMilli(at).UTC(), Key: key, Topic: r.Topic, Timer: &t, Config: f.c.rules.ConfigVersion}
	next, outs, err := f.stage.Apply(f.states[key], in)
	if err == nil {
		f.fired++
		f.states[key] = next
		f.emit(key, outs)
	}
	if err != nil || slices.ContainsFunc(f.timers(key), func(o processors.Timer) bool { return markOf(o) == markOf(t) }) {
		hash := sha256.Sum256([]byte(key))
		f.c.letters[fmt.Sprintf("%s-timer-%x-%s-%d", letterID(r), hash[:8], t.ID, t.At.UnixNano())] = f.stage.Name() + " " + schemas.CauseStageFailed
		if f.muted[key] == nil {
			f.muted[key] = map[timerMark]bool{}
		}
		f.muted[key][markOf(t)] = true
	}
	f.accept(key, f.states[key])
}

func markOf(t processors.Timer) timerMark { return timerMark{t.At.UnixNano(), t.ID} }

func deadlineOf(t processors.Timer) int64 { return max(1, t.At.UnixMilli()) }

// timers are those of a state that may fire, in their order.
func (f *fold) timers(key string) []processors.Timer {
	list := slices.DeleteFunc(f.stage.Timers(f.states[key]), func(t processors.Timer) bool { return f.muted[key][markOf(t)] })
	slices.SortFunc(list, func(a, b processors.Timer) int {
		return cmp.Or(cmp.Compare(deadlineOf(a), deadlineOf(b)), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// accept makes next the state of key.
func (f *fold) accept(key string, next automation.State) {
	f.states[key] = next
	list := f.timers(key)
	if len(list) == 0 {
		delete(f.due, key)
		return
	}
	f.due[key] = deadlineOf(list[0])
	if n, ok := f.due[f.next]; key == f.next || ok && (f.due[key] < n || f.due[key] == n && key < f.next) {
		f.next = "" // it may be another one now
	}
}

// emit takes what came of the state of key into what is expected.
func (f *fold) emit(key string, outs []processors.Output) {
	for _, o := range outs {
		rec, err := f.c.asRead(o.Record)
		if err != nil {
			f.c.found.add("outputs", mask(key), "a record for %s cannot be encoded: %v", o.Topic, err)
			continue
		}
		switch rec := rec.(type) {
		case *schemas.Command:
			f.want.commands[o.Key] = append(f.want.commands[o.Key], commandLine(rec))
		case *schemas.RunStep:
			f.want.runs[o.Key] = append(f.want.runs[o.Key], stepLine(rec))
		case *schemas.IdentityLink:
			f.c.links[o.Key+" "+digest(rec)]++
		case *schemas.Transition:
			k := sentKey{key, o.Key, rec.RootKey}
			f.c.onward[k] = append(f.c.onward[k], digest(rec))
		}
		if want := topicOf(rec); o.Topic != want {
			f.c.found.add("outputs", mask(key), "a %s goes to %q, not to %q", rec.RecordName(), o.Topic, want)
		}
	}
}

// topicOf is where automation may write a record; empty: nowhere.
func topicOf(rec schemas.Record) string {
	switch rec.(type) {
	case *schemas.Command:
		return schemas.TopicCommands
	case *schemas.RunStep:
		return schemas.TopicRuns
	case *schemas.IdentityLink, *schemas.Transition:
		return schemas.TopicAutomationInbox
	}
	return ""
}

func commandLine(rec schemas.Record) string {
	cmd, ok := rec.(*schemas.Command)
	if !ok {
		return "a " + rec.RecordName()
	}
	return fmt.Sprintf("%s %s version %d for event %s (%s)", cmd.Kind, cmd.CommandID, cmd.Version, cmd.EventID, digest(cmd))
}

func stepLine(rec schemas.Record) string {
	s, ok := rec.(*schemas.RunStep)
	if !ok {
		return "a " + rec.RecordName()
	}
	return fmt.Sprintf("run %s of %s: no. %d, %s at step %q, %s (%s)", s.RunID, s.Workflow, s.Number, s.Kind, s.Step, s.At.UTC().Format("15:04:05.000"), digest(s))
}

// contactStates holds the changelog's images against the folded states, and their deadlines against the folded timers.
func (c *checker) contactStates(f *fold, at stageSpot, images map[string][]byte) {
	want := map[string][]byte{}
	for key, state := range f.states {
		b, err := f.stage.Encode(state)
		if err != nil {
			c.found.add("state", mask(key), "cannot be encoded: %v", err)
			continue
		}
		want[key] = b
	}
	for _, key := range sortedKeys(want, images) {
		got, deadline, err := openImage(images[key])
		if err != nil && images[key] != nil {
			c.found.add("state", mask(key), "its image cannot be read: %v", err)
			continue
		}
		if !bytes.Equal(got, want[key]) {
			c.found.add("state", mask(key), "of automation/%d: the changelog holds %d bytes, the fold gives %d others", at.partition, len(got), len(want[key]))
		}
		if deadline != f.due[key] {
			c.found.add("timers", mask(key), "of automation/%d: the changelog is armed for %d, the fold for %d", at.partition, deadline, f.due[key])
		}
	}
}
