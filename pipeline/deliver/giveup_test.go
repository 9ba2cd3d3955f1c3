package deliver

import (
	"fmt"
	"testing"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// hopeless is a contact of which every request fails, without a Kafka.
type hopeless struct {
	t     *testing.T
	r     *rig
	d     *Deliverer
	w     *window
	made  map[string]time.Time
	kinds map[string]schemas.CommandKind
}

func newHopeless(t *testing.T, set func(*Options)) *hopeless {
	r := newRig(t)
	o := r.options("one", newCRM(t))
	set(&o)
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.cluster.Close)
	h := &hopeless{t: t, r: r, d: d, made: map[string]time.Time{}, kinds: map[string]schemas.CommandKind{}}
	h.w = newWindow(t.Context(), schemas.TopicCommands, 0, 1, 0, progress{})
	h.w.states = true
	d.windows[0], d.now = h.w, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return h
}

func (h *hopeless) take(cmd schemas.Command) {
	cmd.At = h.d.now
	h.made[cmd.CommandID], h.kinds[cmd.CommandID] = cmd.At, cmd.Kind
	e := h.w.admit(h.w.next)
	h.d.take(decoded{e: e, rec: &cmd})
	for _, e := range h.w.ended { // as a commit does
		h.d.released(e)
	}
	h.w.ended = nil
}

// fail has the contact's next request fail, if it has one by now.
func (h *hopeless) fail() {
	q := h.d.lane("crm").queues["live/a@x.example"]
	if q == nil {
		return
	}
	if s := q.next(h.d.now, h.d.heldBack); s.send != nil {
		h.d.judge(result{entry: s.send, outcome: retryable(), started: h.d.now})
		q.remove()
	}
}

// ends are the final outcomes so far, and the dead letters' causes, by command.
func (h *hopeless) ends() (finals map[string]schemas.Delivery, letters map[string]int) {
	h.t.Helper()
	finals, letters = map[string]schemas.Delivery{}, map[string]int{}
	for _, o := range h.d.outbox {
		v, err := h.r.codec.Decode(o.record.Value)
		if err != nil {
			h.t.Fatal(err)
		}
		switch v := v.(type) {
		case *schemas.DeadLetter:
			letters[v.Cause]++
		case *schemas.Delivery:
			if v.Outcome == schemas.OutcomeRetryable {
				continue
			}
			if _, twice := finals[v.CommandID]; twice {
				h.t.Errorf("command %s ended twice", v.CommandID)
			}
			finals[v.CommandID] = *v
		}
	}
	return finals, letters
}

// States of a contact that always fails are given up in their time, and the effects that were to follow them with them,
// although newer states keep coming.
func TestHopelessContactIsGivenUp(t *testing.T) {
	const every, retryFor = 10 * time.Minute, time.Hour
	h := newHopeless(t, func(o *Options) { o.RetryFor = retryFor })
	const n = 100
	for i := range n {
		h.take(h.r.contact("a@x.example", int64(i+1)))
		h.take(h.r.effect("a@x.example"))
		for range 5 {
			h.fail()
			h.d.now = h.d.now.Add(every / 5)
		}
		if most := 2 * int(retryFor/every+3); h.w.unfinished() > most {
			t.Fatalf("after %d states %d commands are held, want %d at most", i+1, h.w.unfinished(), most)
		}
	}
	finals, letters := h.ends()
	for id, f := range finals {
		if age := f.At.Sub(h.made[id]); f.Outcome != schemas.OutcomeRejected || age <= retryFor || age > retryFor+2*every {
			t.Errorf("%s %s ended as %s after %v, want REJECTED a little after %v", h.kinds[id], id, f.Outcome, age, retryFor)
		}
	}
	if len(finals)+h.w.unfinished() != 2*n {
		t.Errorf("%d commands ended and %d are held, of %d", len(finals), h.w.unfinished(), 2*n)
	}
	if letters[schemas.CauseGaveUp] < n-10 || letters[schemas.CauseGaveUp] != letters[schemas.CauseRejected] {
		t.Errorf("dead letters: %v", letters)
	}
}

// The states of one contact do not fill the window, and are given up all the same.
func TestHopelessContactDoesNotFillTheWindow(t *testing.T) {
	const retryFor, windowMax = 10 * time.Hour, 100
	h := newHopeless(t, func(o *Options) { o.RetryFor, o.WindowMax = retryFor, windowMax })
	first := h.r.contact("a@x.example", 1)
	follows := h.r.effect("a@x.example")
	h.take(first)
	h.take(follows)
	h.d.now = h.d.now.Add(time.Minute)
	for i := range 40 * 60 {
		h.take(h.r.contact("a@x.example", int64(i+2)))
		h.fail()
		if most := windowMax/statesShare + 2; h.w.unfinished() > most {
			t.Fatalf("after %d states %d commands are held, want %d at most", i+1, h.w.unfinished(), most)
		}
		h.d.now = h.d.now.Add(time.Minute)
		if i%60 != 0 {
			continue
		}
		finals, _ := h.ends()
		if f, ended := finals[first.CommandID]; ended && (f.Outcome != schemas.OutcomeRejected || f.At.Sub(h.made[first.CommandID]) <= retryFor) {
			t.Fatalf("the state that an effect follows ended as %s after %v", f.Outcome, f.At.Sub(h.made[first.CommandID]))
		}
	}
	finals, letters := h.ends()
	count := map[schemas.OutcomeWord]int{}
	for _, f := range finals {
		count[f.Outcome]++
	}
	if count[schemas.OutcomeSuperseded] == 0 || letters[schemas.CauseGaveUp] < 3 || letters[schemas.CauseRejected] != 1 {
		t.Errorf("got %v, dead letters %v; want states superseded, one given up in each ten hours, and one effect refused", count, letters)
	}
	if f := finals[follows.CommandID]; f.Outcome != schemas.OutcomeRejected {
		t.Errorf("the effect ended as %q", f.Outcome)
	}
	if len(finals)+h.w.unfinished() != len(h.made) {
		t.Error(fmt.Sprint(len(finals), " commands ended and ", h.w.unfinished(), " are held, of ", len(h.made)))
	}
}
