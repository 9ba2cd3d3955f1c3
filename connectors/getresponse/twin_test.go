package getresponse_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/getresponse"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/processors/processorstest"
	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/getresponse"
)

// lives are the ways of an order at each plugin; a question is asked after each step that says so.
var lives = []struct {
	name   string
	plugin twin.Plugin
	steps  []func(w *world, id string) error
	paid   string
}{
	{"placed", twin.Canonical, nil, "0"},
	{"paid", twin.WooCommerce, steps(pay), "10"},
	{"declined, then paid", twin.WooCommerce, steps(fail, pay), "10"},
	{"cancelled", twin.Magento, steps(cancel), "0"},
	{"refunded", twin.Magento, steps(pay, refund("10")), "10"},
	{"refunded in two parts", twin.Canonical, steps(pay, refund("2.50"), refund("7.50")), "10"},
	{"refunded in part", twin.Canonical, steps(pay, refund("2.50")), "10"},
	{"refunded in part, of which WooCommerce tells nothing", twin.WooCommerce, steps(pay, refund("2.50")), "10"},
	{"paid by mistake, and again", twin.Canonical, steps(
		pay, set("PENDING", schemas.StatusPending), set("PAID", schemas.StatusPaid), set("PENDING", schemas.StatusPending)), "0"},
	{"refunded by mistake", twin.Canonical, steps(pay, refund("10"), set("PAID", schemas.StatusPaid)), "10"},
	{"a word that nobody knows changes nothing", twin.Canonical, steps(pay, set("packed", schemas.StatusPaid)), "10"},
}

type step = func(w *world, id string) error

func steps(list ...step) []step { return list }

func pay(w *world, id string) error    { return w.sim.Pay(context.Background(), id) }
func fail(w *world, id string) error   { return w.sim.Fail(context.Background(), id) }
func cancel(w *world, id string) error { return w.sim.Cancel(context.Background(), id) }

func refund(amount string) step {
	return func(w *world, id string) error { return w.sim.Refund(context.Background(), id, amount) }
}

func set(word string, means schemas.PaymentStatus) step {
	return func(w *world, id string) error { return w.sim.SetStatus(id, word, means) }
}

// TestLives: polled step by step, over both feeds, with repetitions and in any order of arrival, an order ends where its
// shop says it is, with the same money, under the shopper's address.
func TestLives(t *testing.T) {
	for _, life := range lives {
		t.Run(life.name, func(t *testing.T) {
			w := newWorld(t, twin.Options{Plugin: life.plugin})
			id := w.place(t, 1, "10")
			from := w.clock()
			var events []schemas.OrderEvent
			ask := func() {
				to := w.pass(time.Minute)
				for _, feed := range []string{getresponse.FeedRecent, getresponse.FeedAll} {
					events = append(events, poll(t, w.src, connectors.Query{Feed: feed, From: from, To: to}, nil)...)
				}
				from = to
			}
			ask()
			for _, step := range life.steps {
				must(t, step(w, id))
				ask()
			}
			truth := w.sim.Orders()[0]
			random := rand.New(rand.NewPCG(1, 2))
			slices.SortStableFunc(events, func(a, b schemas.OrderEvent) int { return cmp.Compare(a.EventID, b.EventID) })
			for n := range 20 {
				if n > 0 {
					random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
				}
				facts := apply(t, events, id)
				if facts.Status != truth.Status || facts.Paid != life.paid || !decimal.RequireFromString(facts.Refunded).Equal(decimal.RequireFromString(truth.Refunded)) {
					t.Fatalf("arrival %d: got %s, paid %s, refunded %s, want %s, %s, %s", n, facts.Status, facts.Paid, facts.Refunded, truth.Status, life.paid, truth.Refunded)
				}
				if facts.Payer == nil || facts.Payer.Email != "jo1@example.com" {
					t.Fatalf("arrival %d: got payer %+v", n, facts.Payer)
				}
			}
		})
	}
}

// apply runs events through the orders stage and returns what the root adds up to.
func apply(t *testing.T, events []schemas.OrderEvent, root string) orders.Facts {
	t.Helper()
	runner := processorstest.NewRunner(orders.New(orders.Options{}), automation.New(automation.Rules{}), time.Now())
	for _, e := range events {
		must(t, runner.Feed(&e))
	}
	if dead := runner.DeadLetters(); len(dead) > 0 {
		t.Fatalf("got dead letters: %+v", dead)
	}
	states, err := runner.Orders()
	must(t, err)
	facts, ok := states[schemas.RootKey(schemas.Live, "shop", root)].Facts()
	if !ok {
		t.Fatalf("nothing under %s", root)
	}
	return facts
}
