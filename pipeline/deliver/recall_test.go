package deliver

import (
	"slices"
	"sync"
	"testing"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// forgetful is a CRM whose writers know their effects by what they made themselves.
type forgetful struct {
	*crm
	mu       sync.Mutex
	recalled []*schemas.Delivery
}

func (f *forgetful) Recall(list []*schemas.Delivery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recalled = append(f.recalled, list...)
}

// An owner that died took along what it knew of its effects. Before the next one asks whether an effect happened, its
// writer hears what others were delivered to the contact at the account: not what went to other contacts, or elsewhere.
func TestANewOwnerRecallsWhatTheFormerOneMade(t *testing.T) {
	r, c := newRig(t), newCRM(t)
	first, other, last := r.effect("a@x.example"), r.effect("b@x.example"), r.effect("a@x.example")
	elsewhere := r.effect("a@x.example")
	elsewhere.Destination = "elsewhere"
	hangs := make(chan struct{})
	reached := make(chan struct{})
	var once sync.Once
	c.answer = func(cmd schemas.Command, try int) (sinks.Outcome, bool) {
		if cmd.CommandID == last.CommandID && try == 1 {
			once.Do(func() { close(reached) })
			<-hangs
			return sinks.Outcome{Kind: sinks.Unknown}, false
		}
		return sinks.Outcome{}, false
	}
	options := func(instance string, w sinks.Writer) Options {
		o := r.options(instance, w)
		o.Writers["elsewhere"] = newCRM(t)
		return o
	}
	r.produce(first, other, elsewhere, last)
	one := r.start(options("one", c))
	<-reached
	r.ended(first, other, elsewhere)
	one.kill()
	close(hangs)

	next := &forgetful{crm: c}
	r.start(options("two", next))
	r.ended(first, other, elsewhere, last)
	var delivered []string
	for _, d := range next.recalled {
		if d.Outcome == schemas.OutcomeDelivered {
			delivered = append(delivered, d.CommandID)
		}
	}
	if !slices.Equal(delivered, []string{first.CommandID}) {
		t.Errorf("recalled were the deliveries of %v, want that of %s alone", delivered, first.CommandID)
	}
	if c.effects[last.CommandID] != 1 {
		t.Errorf("the effect happened %d times", c.effects[last.CommandID])
	}
}
