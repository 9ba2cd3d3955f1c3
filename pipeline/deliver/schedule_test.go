package deliver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// A partition that is full, goes, and comes back to the same process must be read again: the client keeps a pause over
// the partition's absence.
func TestFullPartitionThatComesBackIsRead(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	var open atomic.Bool
	c.answer = func(cmd schemas.Command, _ int) (sinks.Outcome, bool) {
		if !open.Load() {
			return retryable(), false
		}
		return sinks.Outcome{}, true
	}
	options := func(instance string) Options {
		o := r.options(instance, c)
		o.WindowMax, o.Parallel = 5, 100
		return o
	}
	first := r.start(options("one"))
	var all []schemas.Command
	for i := range 40 {
		for p := range int32(2) {
			cmd := r.contact(fmt.Sprintf("p%d-%d@x.example", p, i), 1)
			r.produceTo(p, cmd)
			all = append(all, cmd)
		}
	}
	eventually(t, "both windows full", func() bool {
		first.mu.Lock()
		defer first.mu.Unlock()
		return len(first.windows) == 2 && first.windows[0].deferred() == 35 && first.windows[1].deferred() == 35
	})
	second := r.start(options("two"))
	eventually(t, "one each", func() bool { return len(first.Status().Partitions) == 1 && len(second.Status().Partitions) == 1 })
	second.stop()
	eventually(t, "both back", func() bool { return len(first.Status().Partitions) == 2 })
	open.Store(true)
	r.ended(all...)
}

// An idle deliverer is told of every revocation: one that kept a window it lost would send again what the next owner did.
func TestIdleDelivererLosesPartitionAgainAndAgain(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	run := r.start(r.options("one", c))
	eventually(t, "both", func() bool { return len(run.Status().Partitions) == 2 })
	for i := range 3 {
		second := r.start(r.options("two", c))
		eventually(t, fmt.Sprintf("one each, time %d", i), func() bool {
			return len(run.Status().Partitions) == 1 && len(second.Status().Partitions) == 1
		})
		second.stop()
		eventually(t, "both back", func() bool { return len(run.Status().Partitions) == 2 })
	}
}

// A receipt that cannot be written must not be counted as written, whenever the judgement falls.
func TestBrokenReceiptIsNotCommitted(t *testing.T) {
	r := newRig(t)
	d, err := New(r.options("one", newCRM(t)))
	if err != nil {
		t.Fatal(err)
	}
	w := newWindow(t.Context(), schemas.TopicCommands, 0, 1, 0, progress{})
	d.windows[0] = w
	e := w.admit(0)
	w.finish(e)
	d.broken = errors.New("encode: no")
	if batch, plan, err := d.plan(); err == nil {
		t.Errorf("got %d records and progress %+v for a command without a receipt, want an error", len(batch), plan.rows)
	}
}

// A process that Kafka no longer hears starts nothing once another one may have its partitions.
func TestCutOffProcessStartsNothingNew(t *testing.T) {
	for _, fails := range []bool{false, true} {
		t.Run(fmt.Sprint("failing=", fails), func(t *testing.T) {
			r, c := newRig(t), newCRM(t)
			c.answer = func(schemas.Command, int) (sinks.Outcome, bool) {
				time.Sleep(15 * time.Millisecond) // a request's time
				if fails {
					return retryable(), false
				}
				return sinks.Outcome{}, true
			}
			o := r.options("one", c)
			n := 5000
			if fails {
				n, o.Parallel = 30, 200 // so many that the destination does not count as down
			}
			run := r.start(o)
			var all []schemas.Command
			for i := range n {
				all = append(all, r.contact(fmt.Sprintf("c%d@x.example", i), 1))
			}
			r.produce(all...)
			eventually(t, "requests", func() bool { return c.total() > 60 })
			run.killed = true
			run.link.freeze()
			time.Sleep(o.session) // the group's patience
			before := c.total()
			time.Sleep(o.session / 3)
			if after := c.total(); after > before {
				t.Errorf("%d requests were started after the group had given the process up", after-before)
			}
		})
	}
}

// A process that was paused between its decision and its request sends nothing that its partition's next owner may have
// sent, and nothing newer, by now.
func TestPausedProcessDoesNotSendWhatItDecided(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	d, err := New(r.options("one", c))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.cluster.Close)
	cmd := r.contact("a@x.example", 1)
	r.produce(cmd)
	d.notAsked = map[string]time.Time{}
	d.assign(t.Context(), []kafka.Offset{{Topic: schemas.TopicCommands, At: 0}})
	d.inspect(t.Context())
	value, err := r.codec.Encode(&cmd)
	if err != nil {
		t.Fatal(err)
	}
	d.lock()
	d.admit(fetched(kgo.FetchPartition{Records: []*kgo.Record{{Topic: schemas.TopicCommands, Value: value}}}))
	d.mu.Unlock()
	d.decodeWaiting()
	round := func() (flights int) {
		d.lock()
		defer d.mu.Unlock()
		d.collect()
		d.catchUp()
		d.dispatch()
		return len(d.starts)
	}
	d.hear()
	if got := round(); got != 1 {
		t.Fatalf("%d requests are to leave, want 1", got)
	}
	d.heard.Store(0) // a long pause
	d.launch()
	d.flights.Wait()
	if n := c.triesOf(cmd); n != 0 {
		t.Errorf("sent %d times without a lease", n)
	}
	d.hear()
	if got := round(); got != 1 {
		t.Fatalf("%d requests are to leave after the lease was renewed, want 1", got)
	}
	d.launch()
	d.flights.Wait()
	if n := c.triesOf(cmd); n != 1 {
		t.Errorf("sent %d times, want once", n)
	}
}

// A crash leaves only a few effects that the destination must be asked about.
func TestIntentsAreNotFarAhead(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	gate := make(chan struct{})
	c.answer = func(schemas.Command, int) (sinks.Outcome, bool) {
		<-gate
		return sinks.Outcome{}, true
	}
	o := r.options("one", c)
	o.Parallel = 4
	run := r.start(o)
	var all []schemas.Command
	for i := range 200 {
		all = append(all, r.effect(fmt.Sprintf("c%d@x.example", i)))
	}
	r.produce(all...)
	eventually(t, "requests under way", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.now == o.Parallel })
	run.mu.Lock()
	intents := 0
	for _, w := range run.windows {
		for _, e := range w.entries {
			if e.intent != noIntent {
				intents++
			}
		}
	}
	run.mu.Unlock()
	if intents > 3*o.Parallel {
		t.Errorf("%d intents are ahead of %d requests", intents, o.Parallel)
	}
	close(gate)
	r.ended(all...)
}

// An effect that is tried again is not overtaken by a later one of the same contact.
func TestEffectsOfAContactKeepTheirOrder(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	first, second := r.effect("a@x.example"), r.effect("a@x.example")
	third := r.effect("a@x.example")
	var early atomic.Bool
	c.answer = func(cmd schemas.Command, try int) (sinks.Outcome, bool) {
		switch {
		case cmd.CommandID == first.CommandID && try < 4:
			return retryable(), false
		case cmd.CommandID == second.CommandID && try == 1:
			return sinks.Outcome{Kind: sinks.Unknown, Err: errors.New("cut")}, false
		case cmd.CommandID == third.CommandID && (c.triesOf(second) < 2 || c.triesOf(first) < 4),
			cmd.CommandID == second.CommandID && c.triesOf(first) < 4:
			early.Store(true)
		}
		return sinks.Outcome{}, true
	}
	r.start(r.options("one", c))
	r.produce(first, second, third)
	got := r.ended(first, second, third)
	if early.Load() {
		t.Error("an effect was sent before an older one of its contact was done")
	}
	for id, word := range got {
		if word != schemas.OutcomeDelivered {
			t.Errorf("command %s: got %s", id, word)
		}
	}
}

// An answer without a kind says nothing: an effect is asked about, not repeated.
func TestOutcomeWithoutKind(t *testing.T) {
	got := guard(func() []sinks.Outcome { return []sinks.Outcome{{}} }, make([]*entry, 1), sinks.Unknown)
	if len(got) != 1 || got[0].Kind != sinks.Unknown {
		t.Errorf("got %+v, want unknown", got)
	}
}

func (c *crm) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, tries := range c.tries {
		n += tries
	}
	return n
}

// The end of the process waits neither for a destination nor for a broker that does not answer.
func TestStopsInTime(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	for _, cut := range []bool{false, true} {
		t.Run(fmt.Sprint("kafka away=", cut), func(t *testing.T) {
			t.Parallel()
			r, c := newRig(t), newCRM(t)
			o := r.options("one", hanging{c})
			o.Parallel = 40
			run := r.start(o)
			for i := range 40 {
				r.produceTo(int32(i%2), r.contact(fmt.Sprintf("c%d@x.example", i), 1))
			}
			eventually(t, "requests under way", func() bool { s := run.Status(); return len(s.Destinations) > 0 && s.Destinations[0].InFlight == 40 })
			if cut {
				run.link.freeze()
			}
			began := time.Now()
			run.stop()
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the end took %s, want at most 10 s", took)
			}
		})
	}
}

// hanging is a destination that answers nothing.
type hanging struct{ *crm }

func (h hanging) Write(ctx context.Context, batch []schemas.Command) []sinks.Outcome {
	<-ctx.Done()
	return []sinks.Outcome{{Kind: sinks.Unknown, Err: ctx.Err()}}
}

// Processes come and go, transactions are cut, and answers are random. In the end every command has
// ended once, no effect happened twice, and every contact has its newest state.
func TestSchedulesOfFailuresAndRebalances(t *testing.T) {
	if testing.Short() {
		t.Skip("takes several seconds")
	}
	r, c := newRig(t), newCRM(t)
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(uint64(seed), 1))
	var mu sync.Mutex
	roll := func(n int) int { mu.Lock(); defer mu.Unlock(); return dice.IntN(n) }
	var calm atomic.Bool
	c.answer = func(schemas.Command, int) (sinks.Outcome, bool) {
		if calm.Load() {
			return sinks.Outcome{}, true
		}
		time.Sleep(time.Duration(roll(4)) * time.Millisecond)
		switch roll(14) {
		case 0:
			return retryable(), false
		case 1:
			return sinks.Outcome{Kind: sinks.Unknown, Err: errors.New("cut")}, true
		case 2:
			return sinks.Outcome{Kind: sinks.Unknown, Err: errors.New("cut")}, false
		case 3:
			return sinks.Outcome{Kind: sinks.Retryable, Account: true, RetryAfter: 3 * time.Millisecond, Err: errors.New("429")}, false
		}
		return sinks.Outcome{}, true
	}
	r.cluster.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		if calm.Load() || roll(6) > 0 {
			return nil, nil, false
		}
		if roll(2) == 0 {
			return nil, errors.New("connection is cut"), true
		}
		resp := req.ResponseKind().(*kmsg.EndTxnResponse)
		resp.ErrorCode = kerr.ConcurrentTransactions.Code
		return resp, nil, true
	})
	r.cluster.ControlKey(int16(kmsg.TxnOffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		if calm.Load() || roll(9) > 0 {
			return nil, nil, false
		}
		return nil, errors.New("connection is cut"), true
	})
	start := func(name string) *running {
		o := r.options(name, c)
		o.Writers["crm-1"] = c
		o.Settle = 20 * time.Millisecond
		// The simulated group waits this long for a leader that died while it was to assign.
		o.Kafka.Extra = append(o.Kafka.Extra, kgo.RebalanceTimeout(2*time.Second))
		return r.start(o)
	}
	runs := []*running{start("a"), start("b")}
	var all []schemas.Command
	for round := range 12 {
		for range 60 {
			who := fmt.Sprintf("c%d@x.example", len(all)%40)
			p := int32(len(all) % 40 / 20)
			cmds := []schemas.Command{r.contact(who, int64(len(all)+1)), r.effect(who)}
			for i := range cmds {
				if p == 1 {
					cmds[i].Destination = "crm-1"
				}
			}
			r.produceTo(p, cmds...)
			all = append(all, cmds...)
		}
		i := round % 2
		if roll(2) == 0 {
			runs[i].stop()
			runs[i] = start(fmt.Sprintf("%c", 'a'+i))
		}
		time.Sleep(time.Duration(roll(400)) * time.Millisecond)
	}
	calm.Store(true)
	defer func() {
		if t.Failed() {
			for _, run := range runs {
				t.Logf("%s: ready: %v, status: %+v", run.opts.Instance, run.Ready(), run.Status())
			}
		}
	}()
	got := r.ended(all...)
	for _, cmd := range all {
		switch word := got[cmd.CommandID]; {
		case cmd.Kind == schemas.CommandEffect && (c.effects[cmd.CommandID] != 1 || word != schemas.OutcomeDelivered):
			t.Errorf("effect %s: happened %d times, outcome %s", cmd.CommandID, c.effects[cmd.CommandID], word)
		case cmd.Kind == schemas.CommandContact && word != schemas.OutcomeDelivered && word != schemas.OutcomeSuperseded:
			t.Errorf("contact command %s: outcome %s", cmd.CommandID, word)
		}
	}
	newest := map[string]int64{}
	for _, cmd := range all {
		if cmd.Kind == schemas.CommandContact {
			newest[cmd.ContactKey] = cmd.Version
		}
	}
	if d := cmp.Diff(c.versions, newest); d != "" {
		t.Errorf("states in the end, got - want:\n%s", d)
	}
}
