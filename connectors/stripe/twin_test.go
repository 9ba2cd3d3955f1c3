package stripe_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/stripe"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/processors/processorstest"
	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/stripe"
)

// lives are the ways of a payment at Stripe, by name, with where they end.
var lives = []struct {
	name   string
	manual bool
	steps  func(ctx context.Context, s *twin.Server, id string, tick func() error) error // tick lets a second pass
	paid   string
}{
	{"abandoned", false, func(context.Context, *twin.Server, string, func() error) error { return nil }, "0"},
	{"paid", false, func(ctx context.Context, s *twin.Server, id string, tick func() error) error { return s.Pay(ctx, id) }, "10"},
	{"declined", false, func(ctx context.Context, s *twin.Server, id string, tick func() error) error { return s.Fail(ctx, id) }, "0"},
	{"declined, then paid", false, func(ctx context.Context, s *twin.Server, id string, tick func() error) error {
		return each(s.Fail(ctx, id), tick(), s.Fail(ctx, id), tick(), s.Pay(ctx, id))
	}, "10"},
	{"canceled", false, func(ctx context.Context, s *twin.Server, id string, tick func() error) error {
		return s.Cancel(ctx, id)
	}, "0"},
	{"refunded in two parts", false, func(ctx context.Context, s *twin.Server, id string, tick func() error) error {
		return each(s.Pay(ctx, id), tick(), s.Refund(ctx, id, "2.50"), tick(), s.Refund(ctx, id, "7.50"))
	}, "10"},
	{"refunded in part", false, func(ctx context.Context, s *twin.Server, id string, tick func() error) error {
		return each(s.Pay(ctx, id), tick(), s.Refund(ctx, id, "2.50"))
	}, "10"},
	{"refund that failed", false, func(ctx context.Context, s *twin.Server, id string, tick func() error) error {
		return each(s.Pay(ctx, id), tick(), s.Refund(ctx, id, "2.50"), tick(), s.FailRefund(ctx, id))
	}, "10"},
	{"disputed", false, func(ctx context.Context, s *twin.Server, id string, tick func() error) error {
		return each(s.Pay(ctx, id), tick(), s.Dispute(ctx, id, "needs_response"))
	}, "10"},
	{"inquiry", false, func(ctx context.Context, s *twin.Server, id string, tick func() error) error {
		return each(s.Pay(ctx, id), tick(), s.Dispute(ctx, id, "warning_needs_response"), tick(), s.Dispute(ctx, id, "warning_closed"))
	}, "10"},
	{"dispute won", false, func(ctx context.Context, s *twin.Server, id string, tick func() error) error {
		return each(s.Pay(ctx, id), tick(), s.Dispute(ctx, id, "needs_response"), tick(), s.Dispute(ctx, id, "won"))
	}, "10"},
	{"dispute lost", false, func(ctx context.Context, s *twin.Server, id string, tick func() error) error {
		return each(s.Pay(ctx, id), tick(), s.Dispute(ctx, id, "needs_response"), tick(), s.Dispute(ctx, id, "lost"))
	}, "10"},
	{"held", true, func(ctx context.Context, s *twin.Server, id string, tick func() error) error { return s.Pay(ctx, id) }, "0"},
	{"held and captured", true, func(ctx context.Context, s *twin.Server, id string, tick func() error) error {
		return each(s.Pay(ctx, id), tick(), s.Capture(ctx, id, ""))
	}, "10"},
	{"held and let go", true, func(ctx context.Context, s *twin.Server, id string, tick func() error) error {
		return each(s.Pay(ctx, id), tick(), s.Cancel(ctx, id))
	}, "0"},
}

func each(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestLives: whatever the order in which a payment's events come, and however often, it ends where Stripe says it is,
// with the same money, under the shopper's address.
func TestLives(t *testing.T) {
	for _, life := range lives {
		t.Run(life.name, func(t *testing.T) {
			ctx := deadline(t)
			var mu sync.Mutex
			now := time.Now().Truncate(time.Second)
			tick := func() error { mu.Lock(); defer mu.Unlock(); now = now.Add(time.Second); return nil }
			w := newWorld(t, twin.Options{
				CaptureManually: life.manual, NoSessions: life.manual, Faults: twin.Faults{DuplicateRate: .5}, Seed: 7,
				Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now },
			})
			id, err := w.sim.Place(ctx, order(1, "10.00"))
			must(t, err)
			must(t, each(tick(), life.steps(ctx, w.sim, id, tick)))
			must(t, w.sim.Wait(ctx))
			events := slices.SortedFunc(maps.Values(w.received()), func(a, b schemas.OrderEvent) int { return cmp.Compare(a.EventID, b.EventID) })
			truth := w.sim.Orders()[0]
			random := rand.New(rand.NewPCG(1, 2))
			for n := range 20 {
				if n > 0 {
					random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
				}
				facts := apply(t, events, n%3 == 1, id)
				if facts.Status != truth.Status || facts.Paid != life.paid || !sameMoney(facts.Refunded, truth.Refunded) {
					t.Fatalf("arrival %d: got %s, paid %s, refunded %s, want %s, %s, %s\n%s", n, facts.Status, facts.Paid, facts.Refunded, truth.Status, life.paid, truth.Refunded, listed(events))
				}
				if (len(events) > 1) && (facts.Payer == nil || facts.Payer.Email != "jenny1@example.com") {
					t.Fatalf("arrival %d: got payer %+v", n, facts.Payer)
				}
			}
		})
	}
}

func listed(events []schemas.OrderEvent) string {
	text := ""
	for _, e := range events {
		text += fmt.Sprintf("%s %s %s %s/%s at %s\n", e.EventType, e.Kind, e.EntityID, e.ProviderStatus, e.Status, e.ProviderTime.Format("05"))
	}
	return text
}

func sameMoney(a, b string) bool {
	return decimal.RequireFromString(a).Equal(decimal.RequireFromString(b))
}

// apply runs events through the orders stage, each twice where doubled, and returns what the root adds up to.
func apply(t *testing.T, events []schemas.OrderEvent, doubled bool, root string) orders.Facts {
	t.Helper()
	runner := processorstest.NewRunner(orders.New(orders.Options{}), automation.New(automation.Rules{}), time.Now())
	for _, e := range events {
		must(t, runner.Feed(&e))
		if doubled {
			must(t, runner.Feed(&e))
		}
	}
	if dead := runner.DeadLetters(); len(dead) > 0 {
		t.Fatalf("got dead letters: %+v", dead)
	}
	states, err := runner.Orders()
	must(t, err)
	facts, ok := states[schemas.RootKey(schemas.Sandbox, "shop", root)].Facts()
	if !ok {
		t.Fatalf("nothing under %s", root)
	}
	return facts
}

// TestFetch: where events name the customer by id only, what is read has the address, under the same root.
func TestFetch(t *testing.T) {
	ctx := deadline(t)
	w := newWorld(t, twin.Options{CustomersOnly: true, NoSessions: true})
	id, err := w.sim.Place(ctx, order(1, "10.00"))
	must(t, err)
	must(t, each(w.sim.Pay(ctx, id), w.sim.Refund(ctx, id, "1.00"), w.sim.Wait(ctx)))
	var events []schemas.OrderEvent
	for _, e := range w.received() {
		events = append(events, e)
		if e.Payer != nil {
			t.Fatalf("%s: got payer %+v, want none", e.EventType, e.Payer)
		}
		d, err := w.src.(connectors.Fetcher).Fetch(ctx, &e)
		must(t, err)
		read, err := stripe.Connector.Normalize(d)
		must(t, err)
		events = append(events, read...)
		if read[0].RootID != id || read[0].Payer == nil || read[0].Payer.Email != "jenny1@example.com" {
			t.Errorf("%s: got %+v", e.EventType, read[0])
		}
	}
	if f := apply(t, events, false, id); f.Payer == nil || f.Payer.Email != "jenny1@example.com" || f.Status != schemas.StatusPartiallyRefunded || f.Paid != "10" || f.Refunded != "1" {
		t.Errorf("got %+v of %+v", f, f.Payer)
	}
	fetch := func(src connectors.Source, e schemas.OrderEvent) error {
		_, err := src.(connectors.Fetcher).Fetch(ctx, &e)
		return err
	}
	for name, e := range map[string]schemas.OrderEvent{
		"an intent that is gone":      {Kind: schemas.KindOrder, EntityID: "pi_0"},
		"a session without one":       {Kind: schemas.KindOrder, EntityID: "cs", Fields: map[string]string{"checkout.id": "cs"}},
		"an id that is a path":        {Kind: schemas.KindOrder, EntityID: "a b"},
		"a charge that is gone":       {Kind: schemas.KindRefund, EntityID: "re", Links: []schemas.Link{{Relation: schemas.LinkCapture, ID: "ch_0"}}},
		"a subscription that is":      {Kind: schemas.KindSubscription, RootID: "sub_0"},
		"an event of nothing":         {Kind: schemas.KindOther, EntityID: "x"},
		"a session of a subscription": {Kind: schemas.KindSubscription, RootID: "sub_0", EntityID: "cs"},
	} {
		if err := fetch(w.src, e); !errors.Is(err, connectors.ErrNotThere) {
			t.Errorf("%s: got %v, want that it is not there", name, err)
		}
	}
	intent := schemas.OrderEvent{Kind: schemas.KindOrder, EntityID: id}
	if err := fetch(w.connect(t, "", schemas.Sandbox), intent); !errors.Is(err, connectors.ErrNotThere) {
		t.Errorf("without a key: got %v", err)
	}
	if err := fetch(w.connect(t, eventsOnly, schemas.Sandbox), intent); err == nil || errors.Is(err, connectors.ErrNotThere) || !strings.Contains(err.Error(), "PaymentIntents") {
		t.Errorf("without the permission: got %v, want it named", err)
	}
}
