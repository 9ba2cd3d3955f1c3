package shopify_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/shopify"
	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/shopify"
)

// TestConnectAndReceive: check, register, receive; a restart finds what is there.
func TestConnectAndReceive(t *testing.T) {
	for _, headers := range []string{twin.Classic, twin.Events, twin.Both} {
		t.Run(headers, func(t *testing.T) {
			w := newWorld(t, func(o *twin.Options, _ *shopify.Config, _ *connectors.Env) { o.Headers = headers })
			if got := w.src.Check(t.Context()); len(bad(got)) > 0 || len(got) == 0 {
				t.Fatalf("got findings %+v, want none that is bad", got)
			}
			reg := w.register()
			if !strings.HasPrefix(reg.Changed, "created ") || reg.Used != 8 || reg.ID == "" {
				t.Errorf("got %+v, want 8 subscriptions created", reg)
			}
			if again := w.register(); again.Changed != "" || again.ID != reg.ID {
				t.Errorf("a second time: got %+v, want the same and nothing changed", again)
			}
			w.open()
			if again := w.register(); again.Changed != "" || again.ID != reg.ID {
				t.Errorf("after a restart: got %+v, want the same and nothing changed", again)
			}
			id := w.place("10.00")
			w.clock.pass(time.Minute)
			w.must(w.sim.Pay(t.Context(), id))
			w.wait()
			var topics []string
			for _, d := range w.deliveries() {
				topics = append(topics, d.Headers["X-Shopify-Topic"])
			}
			slices.Sort(topics)
			if want := []string{"order_transactions/create", "orders/create", "orders/paid", "orders/updated"}; !slices.Equal(topics, want) || len(w.forged) > 0 {
				t.Errorf("got topics %v, refused %v, want %v", topics, w.forged, want)
			}
			if got := facts(t, w.normalize(w.deliveries()))[id]; got.Status != schemas.StatusPaid || got.Paid != "10" || got.Payer.Email != "ana@example.com" {
				t.Errorf("got %+v, want an order paid by Ana", got)
			}
			w.must(w.src.(connectors.Registrar).Unregister(t.Context()))
			if left := w.sim.Topics(w.hook); len(left) > 0 {
				t.Errorf("after Unregister: %v are left", left)
			}
		})
	}
}

// TestMendsItself: subscriptions that Shopify deleted are made anew, those that nobody wants any more are removed, and
// what was missed is found by polling.
func TestMendsItself(t *testing.T) {
	for _, api := range []string{shopify.APIGraphQL, shopify.APIREST} {
		t.Run(api, func(t *testing.T) {
			w := newWorld(t, func(_ *twin.Options, c *shopify.Config, _ *connectors.Env) { c.API = api })
			w.register()
			start := w.clock.now()
			w.setRefuse(true)
			lost := w.place("10.00")
			w.wait()
			if got := w.sim.Topics(w.hook); slices.Contains(got, "ORDERS_CREATE") {
				t.Fatalf("after failed deliveries Shopify still has %v", got)
			}
			w.setRefuse(false)
			w.clock.pass(time.Minute)
			if reg := w.register(); !strings.Contains(reg.Changed, "made anew") || !strings.Contains(reg.Changed, "ORDERS_CREATE") {
				t.Errorf("got %+v, want ORDERS_CREATE made anew", reg)
			}
			if found := w.src.(connectors.Watcher).Watch(); len(found) != 1 || found[0].Level != connectors.Warn || found[0].Hint == "" {
				t.Errorf("got %+v, want a warning that subscriptions had been deleted", found)
			}
			w.sim.Withhold(2)
			withheld := w.place("20.00")
			w.wait()
			w.clock.pass(time.Minute)
			found := facts(t, w.normalize(w.poll(start, w.clock.now(), false)))
			for _, id := range []string{lost, withheld} {
				if found[id].Status != schemas.StatusPending {
					t.Errorf("order %s: got %+v, want it found as pending", id, found[id])
				}
			}
			if n := w.sim.DeleteHooks(); n != 8 {
				t.Fatalf("got %d subscriptions to delete, want 8", n)
			}
			w.env.Resources = []string{shopify.ResourceOrders}
			w.open()
			w.register()
			w.env.Resources = []string{shopify.ResourcePayments}
			w.open()
			if reg := w.register(); !strings.Contains(reg.Changed, "removed") || reg.Used != 2 {
				t.Errorf("other resources: got %+v, want two topics and the others removed", reg)
			}
		})
	}
}

// TestLists: both APIs page through a window without a gap while orders change, and say the same as the webhooks did.
func TestLists(t *testing.T) {
	for _, api := range []string{shopify.APIGraphQL, shopify.APIREST} {
		t.Run(api, func(t *testing.T) {
			w := newWorld(t, func(o *twin.Options, c *shopify.Config, _ *connectors.Env) {
				c.API, o.GraphQL, o.REST = api, twin.Bucket{Size: 1e6}, twin.Bucket{Size: 1e3} // limits are another test's matter
			})
			before := w.place("1.00")
			w.clock.pass(time.Minute)
			from := w.clock.now()
			var ids []string
			for i := range 120 {
				ids = append(ids, w.place(fmt.Sprintf("%d.00", i+1)))
				if i%3 == 0 {
					w.clock.pass(time.Second) // some share their second
				}
			}
			w.clock.pass(time.Second)
			to := w.clock.now()
			after := w.place("1.00")
			q := connectors.Query{Feed: "orders", From: from, To: to}
			seen := map[string]int{}
			for pages := 0; ; pages++ {
				page, err := w.src.(connectors.Poller).Poll(t.Context(), q)
				w.must(err)
				for _, f := range page.Found {
					e := w.normalize([]connectors.Delivery{f.Delivery})[0]
					seen[e.RootID]++
					if f.Origin != schemas.OriginPoll || f.ID != "" || e.EventType != "orders/updated" {
						t.Fatalf("got %s %q %s, want a listed order", f.Origin, f.ID, e.EventType)
					}
				}
				if page.Next == "" {
					if pages < 2 {
						t.Fatalf("got %d pages, want several", pages+1)
					}
					break
				}
				q.Cursor = page.Next
				w.clock.pass(time.Second)
				w.must(w.sim.Annotate(t.Context(), ids[0], fmt.Sprint(pages))) // moves to the end
				w.must(w.sim.Annotate(t.Context(), ids[60+pages], "moved"))
			}
			moved := map[string]bool{}
			for _, e := range w.normalize(w.poll(to, w.clock.now().Add(time.Second), false)) {
				moved[e.RootID] = true
			}
			for _, id := range ids {
				if seen[id] == 0 && !moved[id] {
					t.Errorf("order %s is in neither window", id)
				}
				if seen[id] > 1 {
					t.Errorf("order %s came %d times", id, seen[id])
				}
			}
			if seen[before] > 0 || !moved[after] {
				t.Errorf("the window's edges: before %d, after %t", seen[before], moved[after])
			}
		})
	}
}

// TestListedIsWebhook: an order that is listed by REST is the webhook's own event; by GraphQL it is the same record as
// far as the data goes.
func TestListedIsWebhook(t *testing.T) {
	for _, api := range []string{shopify.APIGraphQL, shopify.APIREST} {
		t.Run(api, func(t *testing.T) {
			w := newWorld(t, func(_ *twin.Options, c *shopify.Config, _ *connectors.Env) { c.API = api })
			w.register()
			from := w.clock.now()
			steps := []func(id string) error{
				func(string) error { return nil },
				func(id string) error { return w.sim.Pay(t.Context(), id) },
				func(id string) error {
					w.must(w.sim.Pay(t.Context(), id))
					return w.sim.Refund(t.Context(), id, "2.50")
				},
				func(id string) error {
					w.must(w.sim.Pay(t.Context(), id))
					return w.sim.Refund(t.Context(), id, "10.10")
				},
				func(id string) error { return w.sim.Cancel(t.Context(), id) },
				func(id string) error { return w.sim.Fail(t.Context(), id) },
				func(id string) error { return w.sim.Authorize(t.Context(), id) },
			}
			for _, step := range steps {
				id := w.place("10.10")
				w.clock.pass(time.Second)
				w.must(w.sim.Annotate(t.Context(), id, "a note"))
				w.must(step(id))
			}
			w.wait()
			newest := map[string]*schemas.OrderEvent{}
			for _, e := range w.normalize(w.deliveries()) {
				if e.EventType == "orders/updated" && (newest[e.RootID] == nil || !e.ProviderTime.Before(newest[e.RootID].ProviderTime) && e.Status.Rank() >= newest[e.RootID].Status.Rank()) {
					newest[e.RootID] = e
				}
			}
			w.clock.pass(time.Second)
			listed := w.normalize(w.poll(from, w.clock.now(), false))
			if len(listed) != len(steps) {
				t.Fatalf("got %d listed records, want one for each of %d orders", len(listed), len(steps))
			}
			for _, got := range listed {
				want := newest[got.RootID]
				got.Origin, got.DeliveryIDs, got.ReceivedAt = want.Origin, want.DeliveryIDs, want.ReceivedAt
				got.Headers = want.Headers
				if api == shopify.APIGraphQL {
					got.EventID, got.Fingerprint, got.Body, got.BodyHash = want.EventID, want.Fingerprint, want.Body, want.BodyHash
				}
				if diff := cmp.Diff(got, want); diff != "" {
					t.Errorf("order %s %s, -listed +webhook:\n%s", got.RootID, want.ProviderStatus, diff)
				}
			}
		})
	}
}

// TestListedMatches: whatever is listed of an order that is paid in parts was told by a webhook before, and is known by
// entity, time and status, so that nothing counts as missed.
func TestListedMatches(t *testing.T) {
	for _, api := range []string{shopify.APIGraphQL, shopify.APIREST} {
		t.Run(api, func(t *testing.T) {
			w := newWorld(t, func(_ *twin.Options, c *shopify.Config, _ *connectors.Env) { c.API = api })
			w.register()
			from := w.clock.now()
			deposit, held := w.place("10.00"), w.place("10.00")
			w.must(w.sim.Authorize(t.Context(), held))
			check := func(when string, least int) {
				t.Helper()
				w.wait()
				w.clock.pass(time.Second)
				version := func(e *schemas.OrderEvent) string {
					return e.EntityID + " " + e.ProviderTime.String() + " " + string(e.Status)
				}
				told := map[string]bool{}
				for _, e := range w.normalize(w.deliveries()) {
					told[version(e)] = true
				}
				listed := w.normalize(w.poll(from, w.clock.now(), true))
				for _, e := range listed {
					if !told[version(e)] {
						t.Errorf("%s: %s %s was told by no webhook", when, e.EventType, version(e))
					}
				}
				if len(listed) < least {
					t.Errorf("%s: got %d records listed, want at least %d", when, len(listed), least)
				}
			}
			check("placed", 2)
			w.must(w.sim.PayPart(t.Context(), deposit, "4.00"))
			w.must(w.sim.PayPart(t.Context(), held, "4.00"))
			check("paid in part", 4)
			w.must(w.sim.Pay(t.Context(), deposit))
			check("the deposit's rest is paid", 3)
		})
	}
}

// TestOneLife: whatever is doubled, late or out of order, what an order adds up to is the same, and no money counts twice.
func TestOneLife(t *testing.T) {
	type life struct {
		name           string
		steps          func(w *world, id string)
		status         schemas.PaymentStatus
		paid, refunded string
		unlisted       bool // the list does not tell it
	}
	pass := func(w *world) { w.clock.pass(time.Second) }
	pay := func(w *world, id string) { w.must(w.sim.Pay(w.t.Context(), id)) }
	part := func(w *world, id, amount string) { w.must(w.sim.PayPart(w.t.Context(), id, amount)) }
	refund := func(w *world, id, amount string) { w.must(w.sim.Refund(w.t.Context(), id, amount)) }
	cancel := func(w *world, id string) { w.must(w.sim.Cancel(w.t.Context(), id)) }
	for _, l := range []life{
		{"paid at once", func(w *world, id string) { pay(w, id) }, "PAID", "10", "0", false},
		{"paid later", func(w *world, id string) { pass(w); pay(w, id) }, "PAID", "10", "0", false},
		{"paid in parts", func(w *world, id string) { part(w, id, "4.00"); pass(w); pay(w, id) }, "PAID", "10", "0", false},
		{"part of it", func(w *world, id string) { part(w, id, "4.00") }, "PARTIALLY_PAID", "4", "0", false},
		{"part of it, later touched", func(w *world, id string) {
			part(w, id, "4.00")
			pass(w)
			w.must(w.sim.Annotate(w.t.Context(), id, "x"))
		}, "PARTIALLY_PAID", "4", "0", false},
		{"authorised and captured", func(w *world, id string) { w.must(w.sim.Authorize(w.t.Context(), id)); pass(w); pay(w, id) }, "PAID", "10", "0", false},
		{"authorised and voided", func(w *world, id string) { w.must(w.sim.Authorize(w.t.Context(), id)); pass(w); cancel(w, id) }, "VOIDED", "0", "0", false},
		{"refunded in part", func(w *world, id string) { pay(w, id); pass(w); refund(w, id, "2.50") }, "PARTIALLY_REFUNDED", "10", "2.5", false},
		{"refunded in two parts", func(w *world, id string) { pay(w, id); refund(w, id, "2.50"); refund(w, id, "7.50") }, "REFUNDED", "10", "10", false},
		{"refunded and touched", func(w *world, id string) {
			pay(w, id)
			refund(w, id, "10.00")
			pass(w)
			w.must(w.sim.Annotate(w.t.Context(), id, "x"))
		}, "REFUNDED", "10", "10", false},
		{"cancelled unpaid", func(w *world, id string) { pass(w); cancel(w, id) }, "VOIDED", "0", "0", false},
		{"cancelled paid", func(w *world, id string) { pay(w, id); pass(w); cancel(w, id) }, "PAID", "10", "0", false},
		{"cancelled paid, then refunded", func(w *world, id string) { pay(w, id); pass(w); cancel(w, id); pass(w); refund(w, id, "10.00") }, "REFUNDED", "10", "10", false},
		{"failed", func(w *world, id string) { pass(w); w.must(w.sim.Fail(w.t.Context(), id)) }, "EXPIRED", "0", "0", false},
		{"failed, then paid", func(w *world, id string) { w.must(w.sim.Fail(w.t.Context(), id)); pass(w); pay(w, id) }, "PAID", "10", "0", false},
		{"removed unpaid", func(w *world, id string) { pass(w); w.must(w.sim.Delete(w.t.Context(), id)) }, "CANCELLED", "0", "0", true},
		{"removed paid", func(w *world, id string) { pay(w, id); pass(w); w.must(w.sim.Delete(w.t.Context(), id)) }, "PAID", "10", "0", true},
		{"disputed", func(w *world, id string) {
			pay(w, id)
			pass(w)
			w.must(w.sim.Dispute(w.t.Context(), id, "disputes/create", "needs_response"))
		}, "DISPUTED", "10", "0", true},
		{"disputed and won", func(w *world, id string) {
			pay(w, id)
			pass(w)
			w.must(w.sim.Dispute(w.t.Context(), id, "disputes/create", "needs_response"))
			pass(w)
			w.must(w.sim.Dispute(w.t.Context(), id, "disputes/update", "won"))
		}, "PAID", "10", "0", false},
		{"disputed and lost", func(w *world, id string) {
			pay(w, id)
			pass(w)
			w.must(w.sim.Dispute(w.t.Context(), id, "disputes/create", "needs_response"))
			pass(w)
			w.must(w.sim.Dispute(w.t.Context(), id, "disputes/update", "lost"))
		}, "CHARGED_BACK", "10", "0", true},
	} {
		t.Run(l.name, func(t *testing.T) {
			w := newWorld(t, func(o *twin.Options, _ *shopify.Config, env *connectors.Env) {
				o.Scopes = []string{"read_orders", "read_all_orders", "read_shopify_payments_disputes"}
				env.Resources = []string{shopify.ResourceOrders, shopify.ResourcePayments, shopify.ResourceDisputes}
			})
			w.register()
			from := w.clock.now()
			id := w.place("10.00")
			l.steps(w, id)
			w.wait()
			w.clock.pass(time.Second)
			all := w.deliveries()
			all = append(all, all...)
			for _, api := range []string{shopify.APIGraphQL, shopify.APIREST} {
				w.config.API = api
				w.open()
				listed := w.poll(from, w.clock.now(), true)
				if got := facts(t, w.normalize(listed))[id]; !l.unlisted && (got.Status != l.status || got.Paid != l.paid || got.Refunded != l.refunded) {
					t.Errorf("by %s alone: got %s, paid %s, refunded %s, want %s, %s, %s", api, got.Status, got.Paid, got.Refunded, l.status, l.paid, l.refunded)
				}
				all = append(all, listed...)
			}
			events := w.normalize(all)
			random := rand.New(rand.NewPCG(1, 2))
			for range 30 {
				got := facts(t, events)[id]
				if got.Status != l.status || got.Paid != l.paid || got.Refunded != l.refunded || got.Currency != "EUR" {
					t.Fatalf("got %s, paid %s, refunded %s %s, want %s, %s, %s", got.Status, got.Paid, got.Refunded, got.Currency, l.status, l.paid, l.refunded)
				}
				random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
			}
			if truth := w.sim.Orders()[0]; truth.Status != l.status && l.status != schemas.StatusDisputed && l.status != schemas.StatusChargedBack {
				t.Errorf("the twin's own truth is %s", truth.Status)
			}
		})
	}
}
