//go:build synctests

package deliver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// history is what a property test does to delivery.
type history struct {
	Seed                uint64
	WindowMax, Parallel int
	Steps               []historyStep
}

// historyStep is one thing that happens, and how long it is quiet after.
type historyStep struct {
	What  string
	N     int
	Quiet time.Duration
}

const (
	historyContacts = 8
	historyCalm     = 12 * time.Hour // until everything has ended
)

var (
	historyDestinations = []string{"crm", "other"}
	historyConnections  = []string{"shop", "paypal"}
	historyMoods        = []string{"", "down", "cut", "refuses", "asks", "dull"}
)

func drawHistory(t *rapid.T) history {
	h := history{
		Seed: rapid.Uint64().Draw(t, "seed"), WindowMax: rapid.IntRange(2, 50).Draw(t, "window"), Parallel: rapid.IntRange(1, 8).Draw(t, "parallel"),
	}
	h.Steps = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) historyStep {
		return historyStep{
			What:  rapid.SampledFrom([]string{"load", "load", "load", "start", "start", "stop", "die", "die", "pause destination", "pause connection", "resume", "mood", "mood"}).Draw(t, "what"),
			N:     rapid.IntRange(0, 59).Draw(t, "n"),
			Quiet: time.Duration(rapid.SampledFrom([]int{0, 1, 3, 20, 100, 600}).Draw(t, "quiet")) * time.Second,
		}
	}), 3, 25).Draw(t, "steps")
	return h
}

// Whatever stops, dies, is paused or in trouble, in whatever order, and however small the shares: every command
// ends once, no effect happens more often than once and the times that nobody could tell, no contact's state goes back,
// and in the end each has its newest.
func TestRestartsAtAnyMoment(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := drawHistory(rt)
		var wrong []string
		synctest.Test(t, func(t *testing.T) { wrong = newPast(t, h).run() })
		if len(wrong) > 0 {
			rt.Fatalf("%d are wrong, first: %q", len(wrong), wrong[:min(len(wrong), 10)])
		}
	})
}

// past is a history as it happens.
type past struct {
	t       *testing.T
	h       history
	r       *rig
	dice    *rand.Rand
	pauses  *pauses
	moody   map[string]*moody
	procs   [2]*running
	version int64
	all     []schemas.Command
	ends    [2]int64

	mu    sync.Mutex
	wrong []string
}

func newPast(t *testing.T, h history) *past {
	p := &past{t: t, h: h, r: virtualRig(t), dice: rand.New(rand.NewPCG(h.Seed, 1)), pauses: &pauses{}, moody: map[string]*moody{}}
	p.pauses.changed = make(chan struct{})
	for i, name := range historyDestinations {
		p.moody[name] = &moody{past: p, dice: rand.New(rand.NewPCG(h.Seed, uint64(2+i))), applied: map[string]int64{}, flying: map[string]bool{}, happened: map[string]int{}, unknown: map[string]int{}}
	}
	return p
}

func (p *past) fault(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wrong = append(p.wrong, fmt.Sprintf(format, args...))
}

func (p *past) start(i int) {
	if p.procs[i] != nil {
		return
	}
	o := p.r.options(fmt.Sprintf("%c", 'a'+i), p.moody["crm"])
	o.Writers["other"] = p.moody["other"]
	o.Settle, o.RetryBase, o.RetryMax, o.RetryFor = DefaultSettle, time.Second, 5*time.Minute, 1000*time.Hour
	o.WindowMax, o.Parallel, o.Pauses = p.h.WindowMax, p.h.Parallel, p.pauses
	o.session, o.inspect = daySession, time.Minute
	o.Kafka.Extra = append(o.Kafka.Extra, kgo.FetchMaxWait(30*time.Second), kgo.DisableClientMetrics())
	p.procs[i] = p.r.start(o)
}

// die ends a process without a farewell.
func die(r *running) {
	r.kill()
	cancel := r.cancel
	r.cancel = nil
	cancel()
	<-r.done
}

func (p *past) run() []string {
	p.start(0)
	for _, s := range p.h.Steps {
		p.step(s)
		time.Sleep(s.Quiet)
	}
	for _, name := range historyDestinations {
		p.moody[name].set("")
		p.pauses.set(schemas.PauseDestination, name, false)
	}
	for _, name := range historyConnections {
		p.pauses.set(schemas.PauseConnection, name, false)
	}
	p.start(0)
	calm := p.calm()
	for _, r := range p.procs {
		if r != nil {
			r.stop()
		}
	}
	if calm {
		p.check()
	}
	return p.wrong
}

func (p *past) step(s historyStep) {
	i := s.N % 2
	switch s.What {
	case "load":
		p.load(1 + s.N)
	case "start":
		p.start(i)
	case "pause destination":
		p.pauses.set(schemas.PauseDestination, historyDestinations[i], true)
	case "pause connection":
		p.pauses.set(schemas.PauseConnection, historyConnections[i], true)
	case "resume":
		p.pauses.set(schemas.PauseDestination, historyDestinations[i], false)
		p.pauses.set(schemas.PauseConnection, historyConnections[i], false)
	case "mood":
		p.moody[historyDestinations[i]].set(historyMoods[s.N/2%len(historyMoods)])
	default:
		if p.procs[i] == nil {
			return
		}
		switch s.What {
		case "stop":
			p.procs[i].stop()
		case "die":
			die(p.procs[i])
		}
		p.procs[i] = nil
	}
}

// load appends commands of some contacts, each contact in its partition.
func (p *past) load(n int) {
	var cmds [2][]schemas.Command
	for range n {
		who := p.dice.IntN(historyContacts)
		part := who % 2
		p.version++
		c := p.r.contact(fmt.Sprintf("c%d@x.example", who), p.version)
		if p.dice.IntN(5) < 2 {
			c = p.r.effect(fmt.Sprintf("c%d@x.example", who))
		}
		c.Destination = historyDestinations[p.dice.IntN(2)]
		c.RootKey = schemas.RootKey("live", historyConnections[p.dice.IntN(2)], fmt.Sprint(p.version))
		cmds[part] = append(cmds[part], c)
	}
	for part, list := range cmds {
		if len(list) > 0 {
			p.r.produceTo(int32(part), list...)
			p.ends[part] += int64(len(list))
			p.all = append(p.all, list...)
		}
	}
}

// calm waits until nothing is unfinished.
func (p *past) calm() bool {
	for limit := time.Now().Add(historyCalm); time.Now().Before(limit); time.Sleep(time.Minute) {
		ended := 0
		for _, r := range p.procs {
			if r == nil {
				continue
			}
			for _, w := range r.Status().Windows {
				if w.Next >= p.ends[w.Partition] && w.Unfinished == 0 || p.ends[w.Partition] == 0 {
					ended++
				}
			}
		}
		if ended == len(p.ends) {
			return true
		}
	}
	groups, err := kadm.NewClient(p.r.client).DescribeGroups(p.t.Context(), "deliver")
	p.fault("the group has %d members (%v): %+v", len(groups["deliver"].Members), err, groups["deliver"].Members)
	for i, r := range p.procs {
		if r != nil {
			p.fault("not ended within %v: process %d: %+v", historyCalm, i, r.Status())
		}
	}
	return false
}

// check compares what happened with what is on the log of it.
func (p *past) check() {
	ended := map[string]schemas.OutcomeWord{}
	list := p.r.receipts(func(l []schemas.Delivery) bool {
		ids := map[string]bool{}
		for _, d := range l {
			if d.Outcome != schemas.OutcomeIntent && d.Outcome != schemas.OutcomeRetryable {
				ids[d.CommandID] = true
			}
		}
		return len(ids) >= len(p.all)
	})
	for _, d := range list {
		if d.Outcome == schemas.OutcomeIntent || d.Outcome == schemas.OutcomeRetryable {
			continue
		}
		if was, twice := ended[d.CommandID]; twice {
			p.fault("command %s ended twice: %s and %s", d.CommandID, was, d.Outcome)
		}
		ended[d.CommandID] = d.Outcome
	}
	newest := map[[2]string]int64{}
	for _, c := range p.all {
		m, word := p.moody[c.Destination], ended[c.CommandID]
		switch {
		case c.Kind == schemas.CommandContact:
			newest[[2]string{c.Destination, c.ContactKey}] = c.Version
			if word != schemas.OutcomeDelivered && word != schemas.OutcomeSuperseded {
				p.fault("state %s is %s", c.CommandID, word)
			}
		case word == schemas.OutcomeUncertain && m.unsure(c.CommandID):
		case word != schemas.OutcomeDelivered:
			p.fault("effect %s is %s", c.CommandID, word)
		case m.happened[c.CommandID] == 0:
			p.fault("effect %s is %s and did not happen", c.CommandID, word)
		}
		if most := 1 + m.unknown[c.CommandID]; m.happened[c.CommandID] > most {
			p.fault("effect %s happened %d times, want %d at most", c.CommandID, m.happened[c.CommandID], most)
		}
		if m.happened[c.CommandID] > 1 {
			p.fault("effect %s happened %d times, although the destination can tell", c.CommandID, m.happened[c.CommandID])
		}
	}
	for k, want := range newest {
		if got := p.moody[k[0]].applied[k[1]]; got != want {
			p.fault("%s has version %d of %s, want %d", k[0], got, k[1], want)
		}
	}
}

// moody is a destination in changing moods.
type moody struct {
	past *past

	mu       sync.Mutex
	dice     *rand.Rand
	mood     string
	applied  map[string]int64
	flying   map[string]bool
	happened map[string]int
	unknown  map[string]int  // times that nobody could tell
	dull     map[string]bool // effects of which it could not tell what became
}

func (m *moody) set(mood string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mood = mood
}

// unsure reports whether the destination was asked about an effect and could not tell.
func (m *moody) unsure(id string) bool { return m.dull[id] }

func (m *moody) roll(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dice.IntN(n)
}

func (m *moody) Write(ctx context.Context, batch []schemas.Command) (out []sinks.Outcome) {
	for _, c := range batch {
		m.mu.Lock()
		if m.flying[c.ContactKey] {
			m.past.fault("two requests in flight for %s", c.ContactKey)
		}
		m.flying[c.ContactKey] = true
		m.mu.Unlock()
		out = append(out, m.one(ctx, c))
		m.mu.Lock()
		m.flying[c.ContactKey] = false
		m.mu.Unlock()
	}
	return out
}

func (m *moody) one(ctx context.Context, c schemas.Command) sinks.Outcome {
	ended := sleep(ctx, time.Duration(1+m.roll(3000))*time.Millisecond)
	apply := m.roll(2) == 0
	m.mu.Lock()
	defer m.mu.Unlock()
	cut := m.mood == "cut" && m.dice.IntN(2) == 0 || !ended
	switch {
	case cut && !apply:
		m.unknown[c.CommandID]++
		return sinks.Outcome{Kind: sinks.Unknown, Err: errors.New("cut")}
	case cut:
	case m.mood == "down":
		return sinks.Outcome{Kind: sinks.Retryable, Err: errors.New("503"), Remedy: "wait"}
	case m.mood == "refuses":
		return sinks.Outcome{Kind: sinks.Retryable, Account: true, Err: errors.New("401"), Remedy: "correct the key"}
	case m.mood == "asks":
		return sinks.Outcome{Kind: sinks.Retryable, Account: true, RetryAfter: time.Duration(1+m.dice.IntN(100)) * time.Second, Err: errors.New("429")}
	}
	if c.Kind == schemas.CommandEffect {
		m.happened[c.CommandID]++
	} else {
		if was := m.applied[c.ContactKey]; c.Version < was {
			m.past.fault("%s of %s went back from version %d to %d", c.ContactKey, c.Destination, was, c.Version)
		}
		m.applied[c.ContactKey] = c.Version
	}
	if cut {
		m.unknown[c.CommandID]++
		return sinks.Outcome{Kind: sinks.Unknown, Err: errors.New("cut")}
	}
	return sinks.Outcome{Kind: sinks.Delivered}
}

func (m *moody) Reconcile(ctx context.Context, c schemas.Command) sinks.Outcome {
	if !sleep(ctx, time.Second) {
		return sinks.Outcome{Kind: sinks.Retryable, Err: ctx.Err()}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.mood == "dull":
		if m.dull == nil {
			m.dull = map[string]bool{}
		}
		m.dull[c.CommandID] = true
		return sinks.Outcome{Kind: sinks.Unknown}
	case m.mood == "down":
		return sinks.Outcome{Kind: sinks.Retryable, Err: errors.New("503"), Remedy: "wait"}
	case m.happened[c.CommandID] > 0:
		return sinks.Outcome{Kind: sinks.Delivered}
	}
	return sinks.Outcome{Kind: sinks.NotHappened}
}

func (m *moody) Check(context.Context) []sinks.Finding { return nil }
func (m *moody) Close() error                          { return nil }

// The group gives a partition to another as soon as its revocation returns. One that comes while the end of the session
// drops the same partition waits for what is in flight too: a batch that goes on would send older states after the next
// owner's.
func TestRevocationWaitsForWhatTheEndOfTheSessionLands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := virtualRig(t)
		d, err := New(r.options("one", newCRM(t)))
		if err != nil {
			t.Fatal(err)
		}
		defer d.cluster.Close()
		w := newWindow(t.Context(), schemas.TopicCommands, 0, 1, 0, progress{})
		w.landed, w.flying = d.clock.NewSignal(), 1
		d.windows[0] = w
		var ended, revoked bool
		go func() { d.dropAll(); ended = true }()
		synctest.Wait()
		go func() { d.drop([]int32{0}); revoked = true }()
		synctest.Wait()
		if ended || revoked {
			t.Errorf("with a request in flight: session ended %v, partition given away %v", ended, revoked)
		}
		d.mu.Lock()
		w.flying = 0
		d.mu.Unlock()
		w.landed.Notify()
		synctest.Wait()
		if !ended || !revoked || len(d.landing) > 0 {
			t.Errorf("after the request: session ended %v, partition given away %v, %d windows are still landing", ended, revoked, len(d.landing))
		}
	})
}
