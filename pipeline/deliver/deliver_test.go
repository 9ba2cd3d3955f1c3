package deliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

func TestEveryCommandEndsOnce(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	a, e, b := r.contact("a@x.example", 1), r.effect("a@x.example"), r.contact("b@x.example", 1)
	r.start(r.options("one", c))
	r.produce(a, e, b)
	got := r.ended(a, e, b)
	want := map[string]schemas.OutcomeWord{
		a.CommandID: schemas.OutcomeDelivered, e.CommandID: schemas.OutcomeDelivered, b.CommandID: schemas.OutcomeDelivered,
	}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("outcomes, got - want:\n%s", d)
	}
	list := r.receipts(func(l []schemas.Delivery) bool { return len(l) >= 4 })
	intent := slices.IndexFunc(list, func(d schemas.Delivery) bool { return d.Outcome == schemas.OutcomeIntent })
	done := slices.IndexFunc(list, func(d schemas.Delivery) bool {
		return d.CommandID == e.CommandID && d.Outcome == schemas.OutcomeDelivered
	})
	if intent < 0 || intent > done {
		t.Errorf("got intent at %d and receipt at %d, want an intent first", intent, done)
	}
}

func TestRestartDeliversNothingAgain(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	run := r.start(r.options("one", c))
	var first []schemas.Command
	for i := range 30 {
		first = append(first, r.contact(fmt.Sprintf("c%d@x.example", i), 1), r.effect(fmt.Sprintf("c%d@x.example", i)))
	}
	r.produce(first...)
	r.ended(first...)
	run.stop()
	last := r.contact("z@x.example", 1)
	r.produce(last)
	r.start(r.options("one", c))
	r.ended(append(first, last)...)
	for _, cmd := range first {
		if n := c.triesOf(cmd); n != 1 {
			t.Errorf("command %s was sent %d times, want once", cmd.CommandID, n)
		}
	}
}

func TestRejectedHoldsUpNobody(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	bad := r.contact("bad@x.example", 1)
	dependent, good := r.effect("bad@x.example"), r.contact("good@x.example", 1)
	c.answer = func(cmd schemas.Command, _ int) (sinks.Outcome, bool) {
		if cmd.CommandID == bad.CommandID {
			return sinks.Outcome{Kind: sinks.Rejected, Err: errors.New("no such field: X"), Remedy: "create it"}, false
		}
		return sinks.Outcome{}, true
	}
	r.start(r.options("one", c))
	r.produce(bad, dependent, good)
	got := r.ended(bad, dependent, good)
	want := map[string]schemas.OutcomeWord{
		bad.CommandID: schemas.OutcomeRejected, dependent.CommandID: schemas.OutcomeRejected, good.CommandID: schemas.OutcomeDelivered,
	}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("outcomes, got - want:\n%s", d)
	}
	letters := r.deadLetters(2)
	dl := letters[0]
	if dl.Cause != schemas.CauseRejected || dl.Reason != "no such field: X" || dl.Remedy != "create it" || len(dl.Value) == 0 || dl.ID != "crm.commands-0-0" {
		t.Errorf("got dead letter %+v", dl)
	}
	if c.triesOf(dependent) != 0 {
		t.Error("an effect went although the state that it follows was refused")
	}
}

func TestUndecodableIsADeadLetter(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	r.start(r.options("one", c))
	if err := r.client.ProduceSync(context.Background(), &kgo.Record{Topic: schemas.TopicCommands, Value: []byte("no avro")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	good := r.contact("a@x.example", 1)
	r.produce(good)
	r.ended(good)
	dl := r.deadLetters(1)[0]
	if dl.Cause != schemas.CauseUndecodable || string(dl.Value) != "no avro" {
		t.Errorf("got %+v", dl)
	}
}

func TestFailureIsTriedAgainWhileOthersGo(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	slow := r.contact("slow@x.example", 1)
	var open atomic.Bool
	c.answer = func(cmd schemas.Command, _ int) (sinks.Outcome, bool) {
		if cmd.CommandID == slow.CommandID && !open.Load() {
			return retryable(), false
		}
		return sinks.Outcome{}, true
	}
	r.start(r.options("one", c))
	r.produce(slow)
	var rest []schemas.Command
	for i := range 20 {
		rest = append(rest, r.contact(fmt.Sprintf("c%d@x.example", i), 1))
	}
	r.produce(rest...)
	r.ended(rest...)
	eventually(t, "12 tries", func() bool { return c.triesOf(slow) >= 12 })
	open.Store(true)
	r.ended(slow)
	list := r.receipts(func(l []schemas.Delivery) bool {
		return slices.ContainsFunc(l, func(d schemas.Delivery) bool {
			return d.CommandID == slow.CommandID && d.Outcome == schemas.OutcomeDelivered
		})
	})
	var visible []int64
	for _, d := range list {
		if d.Outcome == schemas.OutcomeRetryable {
			visible = append(visible, d.Attempt)
		}
	}
	if len(visible) < 2 || visible[0] != 1 || visible[1] != 10 {
		t.Errorf("visible retries: got %v, want the first and each tenth", visible)
	}
}

func TestGivesUpAfterItsTime(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	c.answer = func(schemas.Command, int) (sinks.Outcome, bool) { return retryable(), false }
	o := r.options("one", c)
	o.RetryFor = time.Millisecond
	r.start(o)
	cmd := r.contact("a@x.example", 1)
	r.produce(cmd)
	if got := r.ended(cmd)[cmd.CommandID]; got != schemas.OutcomeRejected {
		t.Errorf("got %s, want REJECTED", got)
	}
	if dl := r.deadLetters(1)[0]; dl.Cause != schemas.CauseGaveUp {
		t.Errorf("got cause %s, want GAVE_UP", dl.Cause)
	}
}

func TestNewestStateStandsForOlderOnes(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	gate := make(chan struct{})
	c.answer = func(cmd schemas.Command, _ int) (sinks.Outcome, bool) {
		if cmd.Version == 1 {
			<-gate
		}
		return sinks.Outcome{}, true
	}
	run := r.start(r.options("one", c))
	v := []schemas.Command{r.contact("a@x.example", 1), r.contact("a@x.example", 2), r.contact("a@x.example", 3), r.contact("a@x.example", 4)}
	r.produce(v[0])
	eventually(t, "the first under way", func() bool { return c.triesOf(v[0]) == 1 })
	r.produce(v[1:]...)
	eventually(t, "all four read", func() bool {
		s := run.Status()
		return len(s.Destinations) == 1 && s.Destinations[0].Unfinished == 2 && run.window(0).Next == 4
	})
	close(gate)
	got := r.ended(v...)
	want := map[string]schemas.OutcomeWord{
		v[0].CommandID: schemas.OutcomeDelivered, v[1].CommandID: schemas.OutcomeSuperseded,
		v[2].CommandID: schemas.OutcomeSuperseded, v[3].CommandID: schemas.OutcomeDelivered,
	}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("outcomes, got - want:\n%s", d)
	}
	// One that comes late changes nothing.
	old := r.contact("a@x.example", 2)
	r.produce(old)
	if got := r.ended(old)[old.CommandID]; got != schemas.OutcomeSuperseded {
		t.Errorf("late old version: got %s, want SUPERSEDED", got)
	}
	if d := cmp.Diff(c.sent["live/a@x.example"], []int64{1, 4}); d != "" {
		t.Errorf("versions sent, got - want:\n%s", d)
	}
}

func TestOrderPerContactUnderTrouble(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	var n atomic.Int64
	c.answer = func(schemas.Command, int) (sinks.Outcome, bool) {
		switch n.Add(1) % 7 {
		case 1, 4:
			return retryable(), false
		case 2:
			return sinks.Outcome{Kind: sinks.Unknown, Err: errors.New("cut")}, true
		}
		return sinks.Outcome{}, true
	}
	r.start(r.options("one", c))
	var all []schemas.Command
	for v := range int64(12) {
		for i := range 5 {
			who := fmt.Sprintf("c%d@x.example", i)
			all = append(all, r.contact(who, v+1), r.effect(who))
		}
		r.produce(all[len(all)-10:]...)
	}
	got := r.ended(all...)
	for key, sent := range c.sent {
		if !slices.IsSorted(sent) {
			t.Errorf("%s: an older version after a newer one: %v", key, sent)
		}
		if c.versions[key] != 12 {
			t.Errorf("%s: got version %d in the end, want 12", key, c.versions[key])
		}
	}
	for _, cmd := range all {
		if cmd.Kind == schemas.CommandEffect && (c.effects[cmd.CommandID] != 1 || got[cmd.CommandID] != schemas.OutcomeDelivered) {
			t.Errorf("effect %s: happened %d times, outcome %s", cmd.CommandID, c.effects[cmd.CommandID], got[cmd.CommandID])
		}
	}
	if c.reconciled == 0 {
		t.Error("no unknown effect was asked about")
	}
}

func TestUncertainEffectIsNotRepeated(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	c.mute = true
	c.answer = func(schemas.Command, int) (sinks.Outcome, bool) {
		return sinks.Outcome{Kind: sinks.Unknown, Err: errors.New("cut")}, true
	}
	r.start(r.options("one", c))
	e := r.effect("a@x.example")
	r.produce(e)
	if got := r.ended(e)[e.CommandID]; got != schemas.OutcomeUncertain {
		t.Errorf("got %s, want UNCERTAIN", got)
	}
	if c.effects[e.CommandID] != 1 {
		t.Errorf("happened %d times, want once", c.effects[e.CommandID])
	}
}

func TestFullWindowWaits(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	var open atomic.Bool
	c.answer = func(cmd schemas.Command, _ int) (sinks.Outcome, bool) {
		if cmd.Version == 1 && !open.Load() {
			return retryable(), false
		}
		return sinks.Outcome{}, true
	}
	o := r.options("one", c)
	o.WindowMax, o.Parallel = 5, 100 // so many that the destination does not count as down
	r.start(o)
	var stuck, rest []schemas.Command
	for i := range 5 {
		stuck = append(stuck, r.contact(fmt.Sprintf("s%d@x.example", i), 1))
	}
	for i := range 50 {
		rest = append(rest, r.contact(fmt.Sprintf("r%d@x.example", i), 2))
	}
	r.produce(append(stuck, rest...)...)
	eventually(t, "stuck ones tried", func() bool { return c.triesOf(stuck[4]) >= 5 })
	if n := c.triesOf(rest[0]); n != 0 {
		t.Errorf("a command beyond the window was sent %d times", n)
	}
	open.Store(true)
	r.ended(append(stuck, rest...)...)
}

func TestAccountFailurePausesOnlyItsDestination(t *testing.T) {
	r, c, other := newRig(t), newCRM(t), newCRM(t)
	var open atomic.Bool
	c.answer = func(schemas.Command, int) (sinks.Outcome, bool) {
		if open.Load() {
			return sinks.Outcome{}, true
		}
		return sinks.Outcome{Kind: sinks.Retryable, Account: true, RetryAfter: 20 * time.Millisecond, Err: errors.New("429")}, false
	}
	o := r.options("one", c)
	o.RetryFor = time.Nanosecond // not the command's fault: never given up
	o.Writers["other"] = other
	run := r.start(o)
	var held, free []schemas.Command
	for i := range 20 {
		held = append(held, r.contact(fmt.Sprintf("h%d@x.example", i), 1))
		f := r.contact(fmt.Sprintf("f%d@x.example", i), 1)
		f.Destination = "other"
		free = append(free, f)
		r.produce(held[i], free[i])
	}
	r.ended(free...)
	eventually(t, "several tries", func() bool { return c.triesOf(held[0]) >= 5 })
	if s := run.Status(); s.Destinations[0].Paused != "asked" || s.Destinations[0].Unfinished != 20 {
		t.Errorf("got %+v", s.Destinations[0])
	}
	open.Store(true)
	for id, word := range r.ended(held...) {
		if word != schemas.OutcomeDelivered {
			t.Errorf("command %s: got %s, want DELIVERED", id, word)
		}
	}
}

func TestRefusedAccountAlarmsAndKeepsEverything(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	c.answer = func(schemas.Command, int) (sinks.Outcome, bool) {
		return sinks.Outcome{Kind: sinks.Retryable, Account: true, Err: errors.New("403 for ann@x.example"), Remedy: "check the key"}, false
	}
	o := r.options("one", c)
	o.RetryFor = time.Nanosecond
	run := r.start(o)
	r.produce(r.contact("a@x.example", 1), r.contact("b@x.example", 1))
	eventually(t, "pause", func() bool {
		s := run.Status().Destinations[0]
		return s.Paused == "refused" && s.Until.After(time.Now()) && s.Unfinished == 2 &&
			strings.HasPrefix(s.Detail, "403") && !strings.Contains(s.Detail, "ann@") && s.Remedy == "check the key"
	})
}

// A process that dies between the request and its receipt: the effect happened once and is known afterwards.
func TestCrashAfterIntent(t *testing.T) {
	for _, happened := range []bool{true, false} {
		t.Run(fmt.Sprint("happened=", happened), func(t *testing.T) {
			r, c := newRig(t), newCRM(t)
			e := r.effect("a@x.example")
			hit, gate := make(chan struct{}), make(chan struct{})
			c.answer = func(_ schemas.Command, try int) (sinks.Outcome, bool) {
				if try > 1 {
					return sinks.Outcome{}, true
				}
				if happened {
					c.mu.Lock()
					c.effects[e.CommandID]++
					c.mu.Unlock()
				}
				close(hit)
				<-gate
				return sinks.Outcome{Kind: sinks.Unknown, Err: errors.New("dead")}, false
			}
			first := r.start(r.options("one", c))
			r.produce(e)
			<-hit
			first.kill()
			close(gate)
			r.start(r.options("one", c))
			if got := r.ended(e)[e.CommandID]; got != schemas.OutcomeDelivered {
				t.Errorf("got %s, want DELIVERED", got)
			}
			if n := c.effects[e.CommandID]; n != 1 {
				t.Errorf("happened %d times, want once", n)
			}
			if c.reconciled == 0 {
				t.Error("the destination was not asked")
			}
		})
	}
}

// A desired state that was sent and not committed is sent again: it changes nothing.
func TestCrashAfterContactRequest(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	cmd := r.contact("a@x.example", 7)
	hit, gate := make(chan struct{}), make(chan struct{})
	c.answer = func(_ schemas.Command, try int) (sinks.Outcome, bool) {
		if try == 1 {
			close(hit)
			<-gate
		}
		return sinks.Outcome{}, true
	}
	first := r.start(r.options("one", c))
	r.produce(cmd)
	<-hit
	first.kill()
	close(gate)
	eventually(t, "first request over", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.flying[cmd.ContactKey] == 0 })
	r.start(r.options("two", c))
	if got := r.ended(cmd)[cmd.CommandID]; got != schemas.OutcomeDelivered {
		t.Errorf("got %s, want DELIVERED", got)
	}
	if c.versions[cmd.ContactKey] != 7 || c.triesOf(cmd) != 2 {
		t.Errorf("got version %d after %d tries", c.versions[cmd.ContactKey], c.triesOf(cmd))
	}
}

// Two processes share the partitions; one comes and goes while commands flow.
func TestRebalance(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	var n atomic.Int64
	c.answer = func(schemas.Command, int) (sinks.Outcome, bool) {
		if n.Add(1)%11 == 0 {
			return retryable(), false
		}
		return sinks.Outcome{}, true
	}
	a, b := r.options("a", c), r.options("b", c)
	a.Writers["crm-1"], b.Writers["crm-1"] = c, c
	r.start(a)
	var all []schemas.Command
	feed := func(n int) {
		for range n {
			who := fmt.Sprintf("c%d@x.example", len(all)%40)
			p := int32(len(all) % 40 % 2)
			cmds := []schemas.Command{r.contact(who, int64(len(all)+1)), r.effect(who)}
			for i := range cmds {
				if p == 1 {
					cmds[i].Destination = "crm-1"
				}
			}
			r.produceTo(p, cmds...)
			all = append(all, cmds...)
		}
	}
	feed(60)
	second := r.start(b)
	feed(60)
	eventually(t, "both own one", func() bool { return len(second.Status().Partitions) == 1 })
	feed(60)
	second.stop()
	feed(60)
	got := r.ended(all...)
	for _, cmd := range all {
		if cmd.Kind == schemas.CommandEffect && (c.effects[cmd.CommandID] != 1 || got[cmd.CommandID] != schemas.OutcomeDelivered) {
			t.Errorf("effect %s: happened %d times, outcome %s", cmd.CommandID, c.effects[cmd.CommandID], got[cmd.CommandID])
		}
	}
	for key, sent := range c.sent {
		if !slices.IsSorted(sent) {
			t.Errorf("%s: an older version after a newer one: %v", key, sent)
		}
	}
}
