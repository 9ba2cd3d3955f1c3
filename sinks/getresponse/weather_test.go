package getresponse_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/getresponse"
	"github.com/tillstream/tillstream/sinks"
)

// triesMax is how often one command may need both its sending and its looking up in bad weather.
const triesMax = 500

// perform does with a command what the deliverer does: it is tried again while it may be, and looked up where it may have
// happened.
func (b *bench) perform(t *testing.T, cmd schemas.Command) {
	t.Helper()
	unsure := false
	for range triesMax {
		var o sinks.Outcome
		if unsure {
			o = b.w.Reconcile(t.Context(), cmd)
		} else {
			o = b.write(t.Context(), cmd)
		}
		switch o.Kind {
		case sinks.Delivered:
			return
		case sinks.NotHappened:
			unsure = false
			continue
		case sinks.Unknown:
			unsure = true
		case sinks.Rejected:
			t.Fatalf("%s: rejected: %v", cmd.Effect.Type, o.Err)
		}
		b.wait(max(o.RetryAfter, 30*time.Second))
	}
	t.Fatalf("%s: not done after %d tries", cmd.Effect.Type, triesMax)
}

// TestOnceInBadWeather: with every fault of the twin at work, each effect that can be looked up has happened once in the
// end, and the contact is where the last list action puts it.
func TestOnceInBadWeather(t *testing.T) {
	const each = 0.04
	for seed := range int64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			b := open(t, twin.Options{Seed: seed, SecondMax: 1_000_000, CreateDelay: 40 * time.Second})
			b.AddDraft(twin.Draft{Name: "Hello", Subject: "Hi %%name%%", Plain: "x"})
			b.AddWorkflow(twin.Workflow{Name: "thanks", Status: "PAID", Many: true})
			b.subscribe(t, "C")
			b.SetFaults(twin.Faults{
				TooMany: each, Quota: each, ServerError: each, Unavailable: each, TimeoutBefore: each, TimeoutAfter: each, Cut: each, HTML: each, Huge: each / 4,
				HangMillis: 1, HugeBytes: 5 << 20,
			})
			cmds := []schemas.Command{
				action(schemas.EffectAddToList, "Newsletter"), order("PAID"), action(schemas.EffectSendMessage, "Hello", "name", "Ada"),
				action(schemas.EffectMoveToList, "Newsletter", schemas.ArgumentFrom, "Promo campaign"), order("REFUNDED"),
				action(schemas.EffectSendMessage, "Hello", "name", "Ada"),
			}
			for i, cmd := range cmds {
				cmd.CommandID = fmt.Sprintf("%04d-%d", seed, i)
				b.perform(t, cmd)
			}
			b.SetFaults(twin.Faults{})
			b.wait(time.Hour)
			got := map[string]int{"on Newsletter only": 0, "orders": 0, "messages": len(b.Messages()), "workflows": len(b.WorkflowRuns())}
			for _, o := range b.PlacedOrders() {
				if o.BillingStatus == "REFUNDED" {
					got["orders"]++
				}
			}
			if b.where() == "V" {
				got["on Newsletter only"] = 1
			}
			if d := cmp.Diff(got, map[string]int{"on Newsletter only": 1, "orders": 1, "messages": 2, "workflows": 1}); d != "" {
				t.Errorf("got - want:\n%s\n%+v", d, b.PlacedOrders())
			}
			if n := len(b.PlacedOrders()); n != 1 {
				t.Errorf("got %d orders, want 1", n)
			}
			if s := b.Stats(); s.Faults == 0 {
				t.Error("the weather was fine")
			}
		})
	}
}
