package main

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/schemas"
)

// automation folds automation.inbox, the stage's one input, in the order of its offsets: commands and state must be
// the same to the byte, stream time included.
func (c *checker) automation(images map[stageSpot]map[string][]byte) {
	stage := automation.New(c.rules)
	want := map[string][]string{}
	for s := range images {
		if s.stage != stage.Name() {
			continue
		}
		states := map[string]automation.State{}
		now := int64(0)
		for _, r := range c.past.records[spot{schemas.TopicAutomationInbox, s.partition}] {
			now = max(now, streamTime(r))
			in := processors.Input{At: time.UnixMilli(now).UTC(), Key: string(r.Key), Topic: r.Topic, Record: c.decoded[r]}
			key, ok := stage.Key(in)
			if !ok {
				continue
			}
			next, outs, err := stage.Apply(states[key], in)
			if err != nil {
				cause := schemas.CauseStageFailed
				if poison := (*processors.Poison)(nil); errors.As(err, &poison) {
					cause = poison.Cause
				}
				c.letters[letterID(r)] = stage.Name() + " " + cause
				continue
			}
			states[key] = next
			for _, o := range outs {
				rec, err := c.asRead(o.Record)
				if err != nil {
					c.found.add("commands", mask(key), "a command cannot be encoded: %v", err)
					continue
				}
				want[o.Key] = append(want[o.Key], commandLine(rec))
			}
		}
		c.contactStates(stage, s, states, images[s])
	}
	got := map[string][]string{}
	for _, r := range c.past.of(schemas.TopicCommands) {
		got[string(r.Key)] = append(got[string(r.Key)], commandLine(c.decoded[r]))
	}
	for _, key := range sortedKeys(want, got) {
		c.compareSequences("commands", key, want[key], got[key])
	}
}

func commandLine(rec schemas.Record) string {
	cmd, ok := rec.(*schemas.Command)
	if !ok {
		return "a " + rec.RecordName()
	}
	return fmt.Sprintf("%s %s version %d for event %s (%s)", cmd.Kind, cmd.CommandID, cmd.Version, cmd.EventID, digest(cmd))
}

// contactStates holds the changelog's images against the folded states.
func (c *checker) contactStates(stage *automation.Stage, at stageSpot, states map[string]automation.State, images map[string][]byte) {
	want := map[string][]byte{}
	for key, state := range states {
		b, err := stage.Encode(state)
		if err != nil {
			c.found.add("state", mask(key), "cannot be encoded: %v", err)
			continue
		}
		want[key] = b
	}
	for _, key := range sortedKeys(want, images) {
		got, _, err := openImage(images[key])
		if err != nil && images[key] != nil {
			c.found.add("state", mask(key), "its image cannot be read: %v", err)
			continue
		}
		if !bytes.Equal(got, want[key]) {
			c.found.add("state", mask(key), "of automation/%d: the changelog holds %d bytes, the fold gives %d others", at.partition, len(got), len(want[key]))
		}
	}
}

// inboxes: what the orders stage sent on is what the folds say, once, and in order for each contact and order.
func (c *checker) inboxes() {
	got := map[pairKey][]string{}
	for _, r := range c.past.of(schemas.TopicAutomationInbox) {
		if t, ok := c.decoded[r].(*schemas.Transition); ok {
			p := pairKey{string(r.Key), t.RootKey}
			got[p] = append(got[p], digest(t))
		}
	}
	seen := map[pairKey]bool{}
	for _, m := range []map[pairKey][]string{c.autos, got} {
		for p := range m {
			if !seen[p] {
				seen[p] = true
				c.compareSequences("automation.inbox", p.root+" for "+mask(p.contact), c.autos[p], got[p])
			}
		}
	}
	sent := map[string]int{}
	for _, r := range c.past.of(schemas.TopicOrdersInbox) {
		if _, tick := c.decoded[r].(*schemas.Tick); !tick {
			sent[string(r.Key)+" "+digest(c.decoded[r])]++
		}
	}
	c.compareCounts("orders.inbox", c.inbox, sent)
}
