package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/schemas"
)

// searchStepsMax bounds the tries to explain one key's history.
const searchStepsMax = 200_000

func sum(b []byte) []byte {
	h := sha256.Sum256(b)
	return h[:12]
}

// entry is one input of a key.
type entry struct {
	r   *kgo.Record
	rec schemas.Record
}

// orderKey is one key of the orders stage: what came in on either topic, and what is said to have come of it.
type orderKey struct {
	key     string
	events  []entry // of paypal.events, in order
	inbox   []entry // of orders.inbox, in order
	said    []*schemas.Transition
	digests []string
	image   []byte
}

// orders explains every key of the stage: there must be one way to merge the key's two inputs, each in its own order,
// such that the pure stage gives exactly the transitions that were committed, in their order, and the state that the
// changelog holds. The merge itself is the engine's choice; everything else is not. It returns the number of keys.
func (c *checker) orders(images map[stageSpot]map[string][]byte) int {
	keys := map[string]*orderKey{}
	at := func(key string) *orderKey {
		if keys[key] == nil {
			keys[key] = &orderKey{key: key}
		}
		return keys[key]
	}
	for _, r := range c.past.of(schemas.TopicPayPalEvents) {
		k := at(string(r.Key))
		k.events = append(k.events, entry{r, c.decoded[r]})
	}
	for _, r := range c.past.of(schemas.TopicOrdersInbox) {
		if _, tick := c.decoded[r].(*schemas.Tick); !tick {
			k := at(string(r.Key))
			k.inbox = append(k.inbox, entry{r, c.decoded[r]})
		}
	}
	lastAt := map[int32]time.Time{}
	for _, r := range c.past.of(schemas.TopicTransitions) {
		t, ok := c.decoded[r].(*schemas.Transition)
		if !ok {
			c.found.add("transition", letterID(r), "it is a %s", c.decoded[r].RecordName())
			continue
		}
		if t.At.Before(lastAt[r.Partition]) {
			c.found.add("stream time", letterID(r), "goes back from %v to %v", lastAt[r.Partition], t.At)
		}
		lastAt[r.Partition] = t.At
		k := at(string(r.Key))
		k.said, k.digests = append(k.said, t), append(k.digests, digest(t))
		if n := int64(len(k.said)); t.Number != n {
			c.found.add("transition", k.key, "no. %d stands at place %d", t.Number, n)
		}
	}
	for s, list := range images {
		if s.stage == "orders" {
			for key, image := range list {
				at(key).image = image
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		c.explain(keys[key])
	}
	return len(keys)
}

// explain finds the merge, and takes what else comes of it into the expectations.
func (c *checker) explain(k *orderKey) {
	s := &search{c: c, k: k, stage: orders.New(orders.Options{})}
	if k.image != nil {
		state, _, err := openImage(k.image)
		if err == nil {
			var st orders.State
			if st, err = s.stage.Decode(state); err == nil {
				s.want, err = s.timeless(st)
			}
		}
		if err != nil {
			c.found.add("state", k.key, "its image cannot be read: %v", err)
			return
		}
	}
	if !s.from(orders.State{}, 0, 0, 0) {
		c.found.add("orders", k.key, "no order of its inputs explains its history (%d tries)\n%s", s.steps, s.story())
		return
	}
	for _, o := range s.side {
		o.take(c)
	}
}

// side is what an input brings about beside transitions.
type side struct {
	pair   *pairKey // automation.inbox
	digest string
	letter [2]string // id, and stage and cause
}

func (o side) take(c *checker) {
	switch {
	case o.letter[0] != "":
		c.letters[o.letter[0]] = o.letter[1]
	case o.pair != nil:
		c.autos[*o.pair] = append(c.autos[*o.pair], o.digest)
	default:
		c.inbox[o.digest]++
	}
}

// search looks for the merge of one key's inputs, depth first, the older record first.
type search struct {
	c     *checker
	k     *orderKey
	stage *orders.Stage
	want  []byte // the final state, without the times that no record tells
	side  []side
	steps int
	best  int // transitions explained by the best try
}

// from goes on with i events and j records of the inbox read, and n transitions explained.
func (s *search) from(state orders.State, i, j, n int) bool {
	s.best = max(s.best, n)
	if s.steps++; s.steps > searchStepsMax {
		return false
	}
	if i == len(s.k.events) && j == len(s.k.inbox) {
		got, err := s.timeless(state)
		return err == nil && n == len(s.k.said) && (bytes.Equal(got, s.want) || s.want == nil && s.untouched(got))
	}
	tries := make([]bool, 0, 2) // whether the next one is an event
	switch {
	case j == len(s.k.inbox):
		tries = append(tries, true)
	case i == len(s.k.events):
		tries = append(tries, false)
	default:
		first := !s.k.inbox[j].r.Timestamp.Before(s.k.events[i].r.Timestamp)
		tries = append(tries, first, !first)
	}
	for _, event := range tries {
		e, ni, nj := entry{}, i, j
		if event {
			e, ni = s.k.events[i], i+1
		} else {
			e, nj = s.k.inbox[j], j+1
		}
		mark := len(s.side)
		if next, told, ok := s.apply(state, e, n); ok && s.from(next, ni, nj, n+told) {
			return true
		}
		s.side = s.side[:mark]
	}
	return false
}

// untouched reports a state that was never written.
func (s *search) untouched(got []byte) bool {
	zero, err := s.timeless(orders.State{})
	return err == nil && bytes.Equal(got, zero)
}

// apply gives one input to the stage. ok is false where what comes out is not what was committed next.
func (s *search) apply(state orders.State, e entry, n int) (next orders.State, told int, ok bool) {
	at := time.UnixMilli(streamTime(e.r)).UTC()
	if n < len(s.k.said) {
		if said := s.k.said[n].At; said.After(at) {
			at = said
		}
	}
	next, outs, err := s.stage.Apply(state, processors.Input{At: at, Key: string(e.r.Key), Topic: e.r.Topic, Record: e.rec})
	if err != nil {
		cause := schemas.CauseStageFailed
		if poison := (*processors.Poison)(nil); errors.As(err, &poison) {
			cause = poison.Cause
		}
		s.side = append(s.side, side{letter: [2]string{letterID(e.r), s.stage.Name() + " " + cause}})
		return state, 0, true
	}
	for _, o := range outs {
		rec, err := s.c.asRead(o.Record)
		if err != nil {
			return next, told, false
		}
		switch o.Topic {
		case schemas.TopicTransitions:
			if n+told >= len(s.k.said) || o.Key != s.k.key || digest(rec) != s.k.digests[n+told] {
				return next, told, false
			}
			told++
		case schemas.TopicAutomationInbox:
			t, ok := rec.(*schemas.Transition)
			if !ok {
				return next, told, false
			}
			s.side = append(s.side, side{pair: &pairKey{o.Key, t.RootKey}, digest: digest(rec)})
		case schemas.TopicOrdersInbox:
			s.side = append(s.side, side{digest: o.Key + " " + digest(rec)})
		default:
			return next, told, false
		}
	}
	return next, told, true
}

// timeless is a state without the times of silent inputs, which no output tells: stream time is the engine's merge.
func (s *search) timeless(state orders.State) ([]byte, error) {
	state.Touched = 0
	state.Parked = slices.Clone(state.Parked)
	for i := range state.Parked {
		state.Parked[i].Since = 0
	}
	return s.stage.Encode(state)
}

// story is both histories of a key: what came in, and what is said to have come of it.
func (s *search) story() string {
	var b strings.Builder
	for _, list := range [][]entry{s.k.events, s.k.inbox} {
		for _, e := range list {
			fmt.Fprintf(&b, "  in   %s %s %s\n", letterID(e.r), e.r.Timestamp.UTC().Format("15:04:05.000"), brief(e.rec))
		}
	}
	for i, t := range s.k.said {
		note := ""
		if i == s.best {
			note = "   <- not explained"
		}
		fmt.Fprintf(&b, "  out  #%d %s %s -> %s, %s at %s%s\n", t.Number, t.Disposition, t.From, t.To, brief(&t.Event), t.At.Format("15:04:05.000"), note)
	}
	fmt.Fprintf(&b, "  the changelog has an image: %v", s.k.image != nil)
	return b.String()
}

// brief is a record in a few words, without a person in it.
func brief(rec schemas.Record) string {
	switch r := rec.(type) {
	case *schemas.OrderEvent:
		return r.EventType + " " + r.EventID
	case *schemas.OrderLink:
		return "link " + r.From + " to " + r.To
	}
	return rec.RecordName()
}
