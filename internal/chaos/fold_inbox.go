package main

import (
	"slices"

	"github.com/tillstream/tillstream/schemas"
)

// inboxes: what the stages sent on is what the folds say, once. Transitions for one contact about one order are in the
// order in which each sender sent them; between two senders there is none.
func (c *checker) inboxes() {
	got, byAutomation := map[pairKey][]string{}, map[pairKey]map[string]bool{}
	links := map[string]int{}
	for _, r := range c.past.of(schemas.TopicAutomationInbox) {
		switch rec := c.decoded[r].(type) {
		case *schemas.Transition:
			p := pairKey{string(r.Key), rec.RootKey}
			got[p] = append(got[p], digest(rec))
		case *schemas.IdentityLink:
			links[string(r.Key)+" "+digest(rec)]++
		case *schemas.Tick, *schemas.ConfigActivation, *schemas.ListAnswer:
		default:
			c.found.add("automation.inbox", letterID(r), "a %s, which nobody should have sent here", rec.RecordName())
		}
	}
	for k, list := range c.onward {
		p := pairKey{k.to, k.root}
		if byAutomation[p] == nil {
			byAutomation[p] = map[string]bool{}
		}
		of := map[string]bool{}
		for _, d := range list {
			of[d], byAutomation[p][d] = true, true
		}
		c.compareSequences("automation.inbox", k.root+" sent on from "+mask(k.from)+" to "+mask(k.to), list, only(got[p], of, true))
	}
	seen := map[pairKey]bool{}
	for _, m := range []map[pairKey][]string{c.autos, got} {
		for p := range m {
			if !seen[p] {
				seen[p] = true
				c.compareSequences("automation.inbox", p.root+" for "+mask(p.contact), c.autos[p], only(got[p], byAutomation[p], false))
			}
		}
	}
	c.compareCounts("links", c.links, links)
	sent := map[string]int{}
	for _, r := range c.past.of(schemas.TopicOrdersInbox) {
		if _, tick := c.decoded[r].(*schemas.Tick); !tick {
			sent[string(r.Key)+" "+digest(c.decoded[r])]++
		}
	}
	c.compareCounts("orders.inbox", c.inbox, sent)
}

// only are the texts of list that are in set, or those that are not.
func only(list []string, set map[string]bool, in bool) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return set[s] != in })
}

// answers: every question has one answer, for the contact that it was asked about, and no answer is without a question.
func (c *checker) answers() {
	asked := map[string]*schemas.Command{}
	want, got := map[string]int{}, map[string]int{}
	for _, r := range c.past.of(schemas.TopicCommands) {
		if cmd, ok := c.decoded[r].(*schemas.Command); ok && cmd.Kind == schemas.CommandQuestion {
			asked[cmd.CommandID] = cmd
			want[cmd.CommandID]++
		}
	}
	for _, r := range c.past.of(schemas.TopicAutomationInbox) {
		a, ok := c.decoded[r].(*schemas.ListAnswer)
		if !ok {
			continue
		}
		c.waits.answers++
		got[a.CommandID]++
		q := asked[a.CommandID]
		if q != nil && (q.ContactKey != a.ContactKey || string(r.Key) != a.ContactKey || q.Destination != a.Destination || q.Effect.Name != a.List) {
			c.found.add("answers", a.CommandID, "it is about %s at %s, list %q; asked was %s at %s, list %q",
				mask(a.ContactKey), a.Destination, a.List, mask(q.ContactKey), q.Destination, q.Effect.Name)
		}
	}
	c.compareCounts("answers", want, got)
}

// beats: signs of life of a receiver never go back, and none is there twice.
func (c *checker) beats() {
	last := map[string]*schemas.ReceiverBeat{}
	for _, r := range c.past.of(schemas.TopicReceiverBeats) {
		b, ok := c.decoded[r].(*schemas.ReceiverBeat)
		if !ok || b.Instance != string(r.Key) {
			c.found.add("beats", letterID(r), "it is no beat of %q", r.Key)
			continue
		}
		if was := last[b.Instance]; was != nil && (b.At.Before(was.At) || b.UpSince.Before(was.UpSince) || b.At.Equal(was.At) && b.Stopped == was.Stopped) {
			c.found.add("beats", letterID(r), "%v, up since %v, follows %v, up since %v", b.At, b.UpSince, was.At, was.UpSince)
		}
		last[b.Instance] = b
	}
}
