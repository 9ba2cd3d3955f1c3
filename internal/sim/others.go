package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/sim/broker"
	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/schemas"
)

// others are who answers questions, closes waits and changes the configuration while workflows run.
type others struct {
	w *world
	r *rand.Rand
	// away: until then no process gets a version of the configuration.
	away time.Duration
	// opened are waits that somebody may close, the last ones.
	opened []*schemas.RunStep
}

const openedMax = 32

func newOthers(w *world, r *rand.Rand) *others { return &others{w: w, r: r} }

func (x *others) within(d time.Duration) time.Duration { return time.Duration(x.r.Int64N(int64(d))) }

// begin plans the versions that come into force, and touches of contacts.
func (x *others) begin(span time.Duration) {
	for range x.r.IntN(4) {
		version := []string{versionMoves, versionMoves, versionRemoves, versionFirst, versionBad}[x.r.IntN(5)]
		at := x.within(span)
		for n := range int32(x.w.cfg.Partitions) { // one after the other, as a writer does that is cut off between two
			x.w.s.After(at+x.within(4*time.Second), func() { x.activate(n, version) })
		}
	}
	for range x.r.IntN(4) {
		x.w.s.After(x.within(span), func() {
			key := fmt.Sprintf("sandbox/canary%d@example.com", x.r.IntN(x.w.cfg.Keys))
			x.send(key, &schemas.ContactTouch{ContactKey: key, Why: "a test", At: x.w.s.Now()})
		})
	}
}

func (x *others) activate(n int32, version string) {
	if version == versionBad {
		x.w.hit(Garbage, PartConfig)
	}
	value, err := shared.Encode(&schemas.ConfigActivation{Version: version, By: "world", At: x.w.s.Now()})
	if err != nil {
		panic(err)
	}
	x.w.trace("version %s for partition %d", version, n)
	x.w.events++
	x.w.b.Put(schemas.TopicAutomationInbox, n, &kgo.Record{Value: value})
}

func (x *others) send(key string, rec schemas.Record) {
	if x.w.stopping {
		return
	}
	value, err := shared.Encode(rec)
	if err != nil {
		panic(err)
	}
	x.w.events++
	x.w.b.Put(schemas.TopicAutomationInbox, partitionOf(key, x.w.cfg.Partitions), &kgo.Record{Key: []byte(key), Value: value})
}

// follow is what a process asks before it follows a version.
func (x *others) follow(_ context.Context, version string) error {
	if x == nil {
		return nil
	}
	if x.w.nemesis.chance("config-away") {
		x.w.hit([]Fault{Crash, Partition}[x.r.IntN(2)], PartConfig)
		x.away = x.w.s.Elapsed() + x.within(8*time.Second)
	}
	switch {
	case version == versionBad:
		return fmt.Errorf("%w: it does not compile", pipeline.ErrConfigRefused)
	case x.w.s.Elapsed() < x.away && !x.w.calm:
		return errors.New("the topic cannot be read")
	}
	return nil
}

// see is told of each transaction that was committed.
func (x *others) see(t *broker.Txn) {
	for _, e := range t.Records {
		if e.Record.Topic != schemas.TopicCommands && e.Record.Topic != schemas.TopicRuns {
			continue
		}
		rec, err := shared.Decode(e.Record.Value)
		if err != nil {
			x.w.violate(2, "an output to %s cannot be read: %v", e.Record.Topic, err)
			continue
		}
		switch v := rec.(type) {
		case *schemas.Command:
			if v.Kind == schemas.CommandQuestion {
				x.asked(v)
			}
		case *schemas.RunStep:
			if v.Kind == schemas.StepWaitOpened {
				x.open(v)
			}
		}
	}
}

var standings = []schemas.Standing{
	schemas.StandingActive, schemas.StandingActive, schemas.StandingActive, schemas.StandingAbsent, schemas.StandingUnconfirmed,
	schemas.StandingUnsubscribed, schemas.StandingBounced, schemas.StandingUnknown,
}

// asked answers a question: soon, late, twice and differently, or never.
func (x *others) asked(c *schemas.Command) {
	times, within := 1, 3*time.Second
	switch x.r.IntN(8) {
	case 0:
		within = time.Minute
		x.w.hit(Slow, PartCRM)
	case 1:
		times = 2
		x.w.hit(Duplicate, PartCRM)
	case 2:
		times = 0
		x.w.hit(Partition, PartCRM)
	}
	for range times {
		s := standings[x.r.IntN(len(standings))]
		x.w.s.After(x.within(within), func() {
			x.send(c.ContactKey, &schemas.ListAnswer{
				CommandID: c.CommandID, ContactKey: c.ContactKey, Destination: c.Destination, List: c.Effect.Name, Standing: s, AsOf: x.w.s.Now(), At: x.w.s.Now(),
			})
		})
	}
}

// open may have a person close the wait, or one that was opened before and perhaps ended since; or that person is told of
// another wait than there is.
func (x *others) open(s *schemas.RunStep) {
	x.opened = append(x.opened, s)
	x.opened = x.opened[max(0, len(x.opened)-openedMax):]
	if x.r.IntN(8) > 0 {
		return
	}
	s = x.opened[x.r.IntN(len(x.opened))]
	d := &schemas.WaitDecision{WaitID: s.WaitID, ContactKey: s.ContactKey, Met: x.r.IntN(2) == 0, By: "world"}
	if x.r.IntN(10) == 0 {
		d.WaitID += "0"
	}
	x.w.s.After(x.within(8*time.Second), func() {
		d.At = x.w.s.Now()
		x.send(d.ContactKey, d)
	})
}
