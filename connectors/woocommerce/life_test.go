package woocommerce

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/processors/processorstest"
	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/woocommerce"
)

// life plays the lives of several orders, a minute for each step, and returns them with everything that was sent and
// listed.
func life(t *testing.T, s *shop) (names map[string]string, events []schemas.OrderEvent) {
	t.Helper()
	from := s.clock.now()
	names = map[string]string{}
	step := func(errs ...error) {
		t.Helper()
		must(t, append(errs, s.twin.Wait(t.Context()))...)
		s.clock.pass(time.Minute)
	}
	place := func(name string) string {
		id := s.place(t, "40.00")
		names[id] = name
		step()
		return id
	}
	ctx := t.Context()
	id := place("paid, partly refunded twice")
	step(s.twin.Pay(ctx, id))
	step(s.twin.SetStatus(ctx, id, "completed"))
	step(s.twin.Refund(ctx, id, "15.00"))
	step(s.twin.Refund(ctx, id, "5.50"))
	id = place("declined, paid, refunded whole")
	step(s.twin.Fail(ctx, id))
	step(s.twin.Pay(ctx, id))
	step(s.twin.Refund(ctx, id, "10.00"))
	step(s.twin.Refund(ctx, id, "30.00"))
	step(s.twin.Cancel(ctx, place("cancelled")))
	id = place("cancelled, paid late")
	step(s.twin.Cancel(ctx, id))
	step(s.twin.Pay(ctx, id))
	id = place("paid, refunded by hand")
	step(s.twin.Pay(ctx, id))
	step(s.twin.SetStatus(ctx, id, "refunded"))
	step(s.twin.Trash(ctx, place("removed unpaid")))
	id = place("removed paid")
	step(s.twin.Pay(ctx, id))
	step(s.twin.Trash(ctx, id))
	id = place("removed unpaid and restored")
	step(s.twin.Trash(ctx, id))
	step(s.twin.Restore(ctx, id))
	id = place("removed, restored, paid")
	step(s.twin.Trash(ctx, id))
	step(s.twin.Restore(ctx, id))
	step(s.twin.Pay(ctx, id))
	step(s.twin.Touch(ctx, id))
	id = place("paid, under a plugin's status since")
	step(s.twin.Pay(ctx, id))
	step(s.twin.SetStatus(ctx, id, "pre-ordered"))
	events = s.events(t)
	for _, feed := range []string{feedOrders, feedTrash} {
		events = append(events, s.list(t, feed, from, s.clock.now())...)
	}
	return names, events
}

// facts applies the events in this order and returns what every order adds up to.
func facts(t *testing.T, events []schemas.OrderEvent) map[string]orders.Facts {
	t.Helper()
	run := processorstest.NewRunner(orders.New(orders.Options{}), automation.New(automation.Rules{}), testTime)
	for i := range events {
		must(t, run.Feed(&events[i]))
	}
	if dead := run.DeadLetters(); len(dead) > 0 {
		t.Fatalf("got dead letters: %+v", dead)
	}
	states, err := run.Orders()
	must(t, err)
	out := map[string]orders.Facts{}
	for key, state := range states {
		f, ok := state.Facts()
		if _, _, id, split := schemas.SplitRootKey(key); ok && split {
			out[id] = f
		}
	}
	return out
}

// TestLife: whatever the order in which an order's events come, and however often, from webhooks and from the list,
// the orders stage ends where the shop says that its orders are.
func TestLife(t *testing.T) {
	for _, method := range []string{"stripe", "cod", "bacs"} {
		t.Run(method, func(t *testing.T) {
			if method != "stripe" {
				s := newShop(t, twin.Options{PaymentMethod: method}, nil)
				s.register(t)
				unpaid, paid := s.place(t, "40.00"), s.place(t, "40.00")
				must(t, s.twin.Wait(t.Context()))
				s.clock.pass(time.Minute)
				must(t, s.twin.Pay(t.Context(), paid))
				compare(t, s, map[string]string{unpaid: "not paid", paid: "paid"}, facts(t, s.events(t)))
				return
			}
			s := newShop(t, twin.Options{
				PaymentMethod: method, Faults: twin.Faults{DuplicateRate: .3, DisorderRate: .3, DisorderDelay: 5 * time.Millisecond, DraftNoise: true},
			}, nil)
			s.register(t)
			names, events := life(t, s)
			compare(t, s, names, facts(t, events))
			random := rand.New(rand.NewPCG(3, 5))
			for range 40 {
				doubled := append(slices.Clone(events), events...)
				random.Shuffle(len(doubled), func(i, j int) { doubled[i], doubled[j] = doubled[j], doubled[i] })
				compare(t, s, names, facts(t, doubled))
				if t.Failed() {
					return
				}
			}
		})
	}
}

// compare holds what came out against the shop's own truth.
func compare(t *testing.T, s *shop, names map[string]string, got map[string]orders.Facts) {
	t.Helper()
	for _, o := range s.twin.Orders() {
		f, want := got[o.ID], o.Status
		if o.RawStatus == "pre-ordered" {
			want = schemas.StatusPaid // a word without a meaning leaves the status as it was
		}
		if f.Status != want {
			t.Errorf("%s: got %s, the shop says %s (%s)", names[o.ID], f.Status, want, o.RawStatus)
		}
		paid := "0"
		switch want {
		case schemas.StatusPaid, schemas.StatusPartiallyRefunded, schemas.StatusRefunded:
			paid = o.Total
		}
		if !decimal.RequireFromString(f.Paid).Equal(decimal.RequireFromString(paid)) ||
			!decimal.RequireFromString(f.Refunded).Equal(decimal.RequireFromString(o.Refunded)) || f.Currency != o.Currency {
			t.Errorf("%s: got %s paid and %s refunded %s, the shop says %s and %s %s", names[o.ID], f.Paid, f.Refunded, f.Currency, paid, o.Refunded, o.Currency)
		}
		if f.Payer == nil || f.Payer.Email != o.Email {
			t.Errorf("%s: got payer %+v, want %s", names[o.ID], f.Payer, o.Email)
		}
	}
}

// TestDraftNoise: a checkout that nobody finished yet is recorded as a draft, and is no order that waits for money.
func TestDraftNoise(t *testing.T) {
	draft := read(t, delivery(topicUpdated, order("status", `"checkout-draft"`, "date_paid_gmt", "null", "date_paid", "null")))
	got := facts(t, []schemas.OrderEvent{draft})["727"]
	if got.Status != schemas.StatusDraft || got.Paid != "0" {
		t.Errorf("got %+v, want a draft", got)
	}
	later := read(t, delivery(topicUpdated, order("status", `"pending"`, "date_modified_gmt", `"2026-03-01T08:05:00"`)))
	for _, events := range [][]schemas.OrderEvent{{draft, later}, {later, draft}} {
		if got := facts(t, events)["727"]; got.Status != schemas.StatusPending {
			t.Errorf("submitted: got %+v, want it to wait for money", got)
		}
	}
}
