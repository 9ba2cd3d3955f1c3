package orders_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/processors/processorstest"
	"github.com/tillstream/tillstream/schemas"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var customer = &schemas.Payer{Email: "Ana@Example.com", GivenName: "Ana"}

type mod func(*schemas.OrderEvent)

// event is an event of entity at minute after noon. Its id tells entity, status and minute.
func event(kind schemas.EventKind, root, entity string, status schemas.PaymentStatus, minute int, mods ...mod) *schemas.OrderEvent {
	e := &schemas.OrderEvent{
		EventID: fmt.Sprintf("WH-%s-%s-%d", entity, status, minute), Kind: kind, Provider: "paypal", Environment: schemas.Sandbox,
		Connection: "eu", RootID: root, EntityID: entity, EventType: string(kind) + "." + string(status),
		ProviderStatus: string(status), Status: status, ProviderTime: noon.Add(time.Duration(minute) * time.Minute),
		ReceivedAt: noon.Add(24 * time.Hour), Origin: schemas.OriginWebhook, Body: []byte(`{"id":"` + entity + `"}`),
	}
	e.DeliveryIDs = []string{"T-" + e.EventID}
	e.Fingerprint = "F-" + e.EventID
	for _, m := range mods {
		m(e)
	}
	return e
}

func order(status schemas.PaymentStatus, minute int, mods ...mod) *schemas.OrderEvent {
	return event(schemas.KindOrder, "O1", "O1", status, minute, append([]mod{payer(customer)}, mods...)...)
}

func capture(status schemas.PaymentStatus, minute int, mods ...mod) *schemas.OrderEvent {
	return event(schemas.KindPayment, "O1", "C1", status, minute, append([]mod{amount("10.00"), link(schemas.LinkOrder, "O1")}, mods...)...)
}

func refund(id, value string, status schemas.PaymentStatus, minute int, mods ...mod) *schemas.OrderEvent {
	return event(schemas.KindRefund, "C1", id, status, minute, append([]mod{amount(value), link(schemas.LinkCapture, "C1")}, mods...)...)
}

func subscription(status schemas.PaymentStatus, minute int, mods ...mod) *schemas.OrderEvent {
	return event(schemas.KindSubscription, "I-1", "I-1", status, minute, append([]mod{payer(customer)}, mods...)...)
}

func sale(id string, status schemas.PaymentStatus, minute int, mods ...mod) *schemas.OrderEvent {
	return event(schemas.KindPayment, "I-1", id, status, minute, append([]mod{amount("4.99"), link(schemas.LinkSubscription, "I-1")}, mods...)...)
}

func amount(v string) mod {
	return func(e *schemas.OrderEvent) { e.Amount = &schemas.Amount{Value: v, Currency: "EUR"} }
}
func noAmount(e *schemas.OrderEvent) { e.Amount = nil }
func payer(p *schemas.Payer) mod     { return func(e *schemas.OrderEvent) { e.Payer = p } }
func id(v string) mod                { return func(e *schemas.OrderEvent) { e.EventID = v } }
func fingerprint(v string) mod       { return func(e *schemas.OrderEvent) { e.Fingerprint = v } }
func delivery(v string) mod          { return func(e *schemas.OrderEvent) { e.DeliveryIDs = []string{v} } }

func version(n int64) mod {
	return func(e *schemas.OrderEvent) { e.Sequence, e.Versioned = n, true }
}

func refundedTotal(v string) mod {
	return func(e *schemas.OrderEvent) { e.RefundedTotal = &schemas.Amount{Value: v, Currency: "EUR"} }
}

// second is another payment of the order.
func second(status schemas.PaymentStatus, minute int, value string) *schemas.OrderEvent {
	return event(schemas.KindPayment, "O1", "C2", status, minute, amount(value), link(schemas.LinkOrder, "O1"))
}

// removed says at minute that the order is gone at the provider.
func removed(minute int) *schemas.OrderEvent {
	return order(schemas.StatusUnknown, minute, payer(nil), func(e *schemas.OrderEvent) { e.Deleted = true })
}
func received(t time.Time) mod { return func(e *schemas.OrderEvent) { e.ReceivedAt = t } }
func link(r schemas.LinkRelation, v string) mod {
	return func(e *schemas.OrderEvent) { e.Links = append(e.Links, schemas.Link{Relation: r, ID: v}) }
}

// later lets stream time pass in a story.
type later time.Duration

// tell runs a story of events and pauses, and returns the runner at its end.
func tell(t *testing.T, opt orders.Options, story ...any) *processorstest.Runner {
	t.Helper()
	r := processorstest.NewRunner(orders.New(opt), automation.New(automation.Rules{}), noon)
	for _, s := range story {
		var err error
		switch s := s.(type) {
		case *schemas.OrderEvent:
			err = r.Feed(s)
		case later:
			err = r.Advance(r.Now().Add(time.Duration(s)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// lines are the ends of all events: "O1 CHANGED APPROVED>PAID 10/0", with ! for an illegal move and ~ for an orphan.
func lines(r *processorstest.Runner) []string {
	var got []string
	for _, t := range r.Transitions() {
		_, _, root, _ := schemas.SplitRootKey(t.RootKey)
		flags := ""
		if !t.Legal {
			flags += "!"
		}
		if t.Orphan {
			flags += "~"
		}
		got = append(got, fmt.Sprintf("%s %s%s %s>%s %s/%s", root, t.Disposition, flags, t.From, t.To, t.Paid, t.Refunded))
	}
	for _, d := range r.DeadLetters() {
		if d.Stage == "orders" {
			got = append(got, "dead "+d.Cause)
		}
	}
	return got
}

const (
	approved = schemas.StatusApproved
	paid     = schemas.StatusPaid
	failed   = schemas.StatusFailed
	refunded = schemas.StatusRefunded
	active   = schemas.StatusActive
)

func TestSemantics(t *testing.T) {
	lone := event(schemas.KindPayment, "L1", "L1", paid, 1, amount("5"))
	underAuth := event(schemas.KindPayment, "A1", "C1", paid, 3, amount("10"), link(schemas.LinkAuthorization, "A1"))
	auth := event(schemas.KindPayment, "O1", "A1", schemas.StatusAuthorized, 2, amount("10"), link(schemas.LinkOrder, "O1"))
	for name, c := range map[string]struct {
		opt   orders.Options
		story []any
		want  []string
	}{
		"approved is not paid": {story: []any{order(approved, 0)}, want: []string{"O1 CHANGED >APPROVED 0/0"}},
		"approved, then captured": {
			story: []any{order(approved, 0), capture(paid, 1)},
			want:  []string{"O1 CHANGED >APPROVED 0/0", "O1 CHANGED APPROVED>PAID 10/0"},
		},
		"capture before approval": {
			story: []any{capture(paid, 1), order(approved, 0)},
			want:  []string{"O1 CHANGED >PAID 10/0", "O1 LATE PAID>PAID 10/0"},
		},
		"equal times: the rank decides": {
			story: []any{capture(paid, 1), order(approved, 1)},
			want:  []string{"O1 CHANGED >PAID 10/0", "O1 LATE PAID>PAID 10/0"},
		},
		"refund before capture waits for it": {
			story: []any{refund("R1", "10.0", refunded, 5), order(approved, 0), capture(paid, 1)},
			want:  []string{"O1 CHANGED >APPROVED 0/0", "O1 CHANGED APPROVED>PAID 10/0", "O1 CHANGED PAID>REFUNDED 10/10"},
		},
		"two partial refunds": {
			story: []any{capture(paid, 1), refund("R1", "4", refunded, 2), refund("R2", "6", refunded, 3)},
			want:  []string{"O1 CHANGED >PAID 10/0", "O1 CHANGED PAID>PARTIALLY_REFUNDED 10/4", "O1 CHANGED PARTIALLY_REFUNDED>REFUNDED 10/10"},
		},
		"a running total makes up for a refund never told": {story: []any{capture(paid, 1), refund("R2", "6", refunded, 3, func(e *schemas.OrderEvent) {
			e.RefundedTotal = &schemas.Amount{Value: "10.00", Currency: "EUR"}
		})}, want: []string{"O1 CHANGED >PAID 10/0", "O1 CHANGED PAID>REFUNDED 10/10"}},
		"a refund that fails is undone": {
			story: []any{capture(paid, 1), refund("R1", "10", schemas.StatusPending, 2), refund("R1", "10", failed, 3)},
			want:  []string{"O1 CHANGED >PAID 10/0", "O1 CHANGED PAID>REFUNDED 10/10", "O1 CHANGED REFUNDED>PAID 10/0"},
		},
		"the capture's amount comes late": {
			story: []any{capture(paid, 1, noAmount), refund("R1", "10", refunded, 2), capture(paid, 1, id("again"), delivery("x"))},
			want:  []string{"O1 CHANGED >PAID 0/0", "O1 CHANGED PAID>PARTIALLY_REFUNDED 0/10", "O1 CHANGED PARTIALLY_REFUNDED>REFUNDED 10/10"},
		},
		"denied, then paid": {
			story: []any{order(approved, 0), capture(failed, 1), capture(paid, 2)},
			want:  []string{"O1 CHANGED >APPROVED 0/0", "O1 CHANGED APPROVED>FAILED 0/0", "O1 CHANGED FAILED>PAID 10/0"},
		},
		"cancelled subscription is not revived by a late sale": {
			story: []any{subscription(active, 0), subscription(schemas.StatusCancelled, 5), sale("S1", paid, 9)},
			want:  []string{"I-1 CHANGED >ACTIVE 0/0", "I-1 CHANGED ACTIVE>CANCELLED 0/0", "I-1 RECORDED CANCELLED>CANCELLED 4.99/0"},
		},
		"sale before its subscription": {
			story: []any{sale("S1", paid, 1), subscription(active, 0)},
			want:  []string{"I-1 RECORDED >UNKNOWN 4.99/0", "I-1 CHANGED >ACTIVE 4.99/0"},
		},
		"a refund finds its subscription through the sale": {
			story: []any{subscription(active, 0), event(schemas.KindRefund, "S1", "R1", refunded, 3, amount("4.99"), link(schemas.LinkSale, "S1")), sale("S1", paid, 1)},
			want:  []string{"I-1 CHANGED >ACTIVE 0/0", "I-1 RECORDED ACTIVE>ACTIVE 4.99/0", "I-1 RECORDED ACTIVE>ACTIVE 4.99/4.99"},
		},
		"duplicate 70 ms apart": {
			story: []any{order(approved, 0), order(approved, 0)},
			want:  []string{"O1 CHANGED >APPROVED 0/0", "O1 DUPLICATE APPROVED>APPROVED 0/0"},
		},
		"two notices of one capture": {
			story: []any{capture(paid, 1), capture(paid, 2, id("other"), delivery("other"), fingerprint("other"))},
			want:  []string{"O1 CHANGED >PAID 10/0", "O1 DUPLICATE PAID>PAID 10/0"},
		},
		"same id, other body": {
			story: []any{order(approved, 0), order(approved, 0, fingerprint("changed"))},
			want:  []string{"O1 CHANGED >APPROVED 0/0", "dead QUARANTINED"},
		},
		"same delivery, other body": {
			story: []any{order(approved, 0), order(paid, 3, delivery("T-WH-O1-APPROVED-0"))},
			want:  []string{"O1 CHANGED >APPROVED 0/0", "dead QUARANTINED"},
		},
		"illegal move is applied and flagged": {
			story: []any{capture(schemas.StatusVoided, 1), capture(paid, 2)},
			want:  []string{"O1 CHANGED >VOIDED 0/0", "O1 CHANGED! VOIDED>PAID 10/0"},
		},
		"two hops: refund, capture, authorization, order": {
			story: []any{refund("R1", "10", refunded, 4), underAuth, order(approved, 0), auth},
			want:  []string{"O1 CHANGED >APPROVED 0/0", "O1 CHANGED APPROVED>AUTHORIZED 0/0", "O1 CHANGED AUTHORIZED>PAID 10/0", "O1 CHANGED PAID>REFUNDED 10/10"},
		},
		"orphan after an hour": {
			story: []any{refund("R1", "10", refunded, 4), later(time.Hour), later(time.Second)},
			want:  []string{"C1 CHANGED~ >PARTIALLY_REFUNDED 0/10"},
		},
		"no orphan at the hour itself": {story: []any{refund("R1", "10", refunded, 4), later(time.Hour)}},
		"a lone sale is its own root":  {story: []any{lone, event(schemas.KindRefund, "L1", "R1", refunded, 2, amount("5"), link(schemas.LinkSale, "L1"))}, want: []string{"L1 CHANGED >PAID 5/0", "L1 CHANGED PAID>REFUNDED 5/5"}},
		"dispute won, as before": {
			story: []any{capture(paid, 1), dispute(schemas.StatusDisputed, 2), dispute(schemas.StatusUnknown, 3)},
			want:  []string{"O1 CHANGED >PAID 10/0", "O1 CHANGED PAID>DISPUTED 10/0", "O1 CHANGED DISPUTED>PAID 10/0"},
		},
		"dispute lost": {
			story: []any{capture(paid, 1), dispute(schemas.StatusDisputed, 2), dispute(schemas.StatusChargedBack, 3)},
			want:  []string{"O1 CHANGED >PAID 10/0", "O1 CHANGED PAID>DISPUTED 10/0", "O1 CHANGED DISPUTED>CHARGED_BACK 10/0"},
		},
		"unknown event type is kept without effect": {
			story: []any{order(approved, 0), event(schemas.KindOther, "O1", "X1", schemas.StatusUnknown, 1)},
			want:  []string{"O1 CHANGED >APPROVED 0/0", "O1 IGNORED APPROVED>APPROVED 0/0"},
		},
		"a clock in the far future is clamped": {
			story: []any{order(approved, 60*24*365, received(noon)), capture(paid, 1)},
			want:  []string{"O1 CHANGED >APPROVED 0/0", "O1 CHANGED APPROVED>PAID 10/0"},
		},
		"a clock ahead by less than the operator allows is believed": {
			opt:   orders.Options{ClockSkew: 366 * 24 * time.Hour},
			story: []any{order(approved, 60*24*365, received(noon)), capture(paid, 1)},
			want:  []string{"O1 CHANGED >APPROVED 0/0", "O1 LATE APPROVED>APPROVED 10/0"},
		},
		"money that is no decimal": {story: []any{order(approved, 0, amount("1e3"))}, want: []string{"dead UNPARSEABLE"}},
		"a body that the connector could not read": {
			story: []any{order(approved, 0, func(e *schemas.OrderEvent) { e.Problem = "no JSON" })},
			want:  []string{"dead UNPARSEABLE"},
		},
		"more events wait than are kept": {
			opt: orders.Options{ParkedMax: 1}, story: []any{refund("R1", "1", refunded, 1), refund("R2", "1", refunded, 2)},
			want: []string{"dead PARK_OVERFLOW"},
		},
		"a parked event that comes twice": {
			story: []any{refund("R1", "10", refunded, 4), refund("R1", "10", refunded, 4), capture(paid, 1)},
			want:  []string{"C1 DUPLICATE >UNKNOWN 0/0", "O1 CHANGED >PAID 10/0", "O1 CHANGED PAID>REFUNDED 10/10"},
		},
		"an order removed before it was paid is cancelled": {
			story: []any{order(schemas.StatusPending, 0), removed(3)},
			want:  []string{"O1 CHANGED >PENDING 0/0", "O1 CHANGED PENDING>CANCELLED 0/0"},
		},
		"a paid order stays paid when it is removed": {
			story: []any{order(paid, 1, amount("10")), removed(3)},
			want:  []string{"O1 CHANGED >PAID 10/0", "O1 RECORDED PAID>PAID 10/0"},
		},
		"a removed order comes back": {
			story: []any{order(schemas.StatusPending, 0), removed(3), order(paid, 5, amount("10"))},
			want:  []string{"O1 CHANGED >PENDING 0/0", "O1 CHANGED PENDING>CANCELLED 0/0", "O1 CHANGED CANCELLED>PAID 10/0"},
		},
		"a removal that comes late changes nothing": {
			story: []any{order(schemas.StatusPending, 5), removed(3)},
			want:  []string{"O1 CHANGED >PENDING 0/0", "O1 LATE PENDING>PENDING 0/0"},
		},
		"a version orders events whatever their times say": {
			story: []any{order(paid, 1, amount("10"), version(2)), order(schemas.StatusPending, 9, version(1)), order(schemas.StatusCancelled, 0, version(3))},
			want:  []string{"O1 CHANGED >PAID 10/0", "O1 LATE PAID>PAID 10/0", "O1 CHANGED PAID>CANCELLED 10/0"},
		},
		"the order's own total and the refund's notice are one refund": {
			story: []any{order(paid, 1, amount("10")), capture(paid, 2), order(schemas.StatusPartiallyRefunded, 5, amount("10"), refundedTotal("4")), refund("R1", "4", refunded, 5)},
			want:  []string{"O1 CHANGED >PAID 10/0", "O1 RECORDED PAID>PAID 10/0", "O1 CHANGED PAID>PARTIALLY_REFUNDED 10/4", "O1 RECORDED PARTIALLY_REFUNDED>PARTIALLY_REFUNDED 10/4"},
		},
		"a refund without its notice is in the order's own total": {
			story: []any{order(paid, 1, amount("10")), capture(paid, 2), refund("R1", "4", refunded, 5), order(schemas.StatusPartiallyRefunded, 6, amount("10"), refundedTotal("7"))},
			want:  []string{"O1 CHANGED >PAID 10/0", "O1 RECORDED PAID>PAID 10/0", "O1 CHANGED PAID>PARTIALLY_REFUNDED 10/4", "O1 RECORDED PARTIALLY_REFUNDED>PARTIALLY_REFUNDED 10/7"},
		},
		"a payment that fails beside one that was captured says nothing": {
			story: []any{order(schemas.StatusPartiallyPaid, 1, amount("20")), capture(paid, 1), second(failed, 5, "10")},
			want:  []string{"O1 CHANGED >PARTIALLY_PAID 0/0", "O1 CHANGED PARTIALLY_PAID>PAID 10/0", "O1 RECORDED PAID>PAID 10/0"},
		},
		"an open dispute stands while the order is only touched": {
			story: []any{order(paid, 1, amount("10")), capture(paid, 1), dispute(schemas.StatusDisputed, 2), order(paid, 5, amount("10")), dispute(schemas.StatusUnknown, 9)},
			want: []string{
				"O1 CHANGED >PAID 10/0", "O1 LATE PAID>PAID 10/0", "O1 CHANGED PAID>DISPUTED 10/0",
				"O1 RECORDED DISPUTED>DISPUTED 10/0", "O1 CHANGED DISPUTED>PAID 10/0",
			},
		},
		"the order's own word that all went back stands, although a refund is unknown": {
			story: []any{order(paid, 1, amount("10")), capture(paid, 2), refund("R1", "4", refunded, 5), order(refunded, 6, amount("10"))},
			want: []string{
				"O1 CHANGED >PAID 10/0", "O1 RECORDED PAID>PAID 10/0", "O1 CHANGED PAID>PARTIALLY_REFUNDED 10/4", "O1 CHANGED PARTIALLY_REFUNDED>REFUNDED 10/4",
			},
		},
		"an order paid by two payments of which one is unknown": {
			story: []any{order(paid, 3, amount("20")), capture(paid, 1), refund("R1", "10", refunded, 5)},
			want:  []string{"O1 CHANGED >PAID 20/0", "O1 LATE PAID>PAID 20/0", "O1 CHANGED PAID>PARTIALLY_REFUNDED 20/10"},
		},
		"a quarantined delivery ends with its cause": {
			story: []any{order(approved, 0, func(e *schemas.OrderEvent) {
				e.Problem, e.ProblemCause = "its delivery id was seen with another body", schemas.CauseQuarantined
			})},
			want: []string{"dead QUARANTINED"},
		},
		"forgotten after 400 days": {
			story: []any{order(approved, 0), later(401 * 24 * time.Hour), order(approved, 0)},
			want:  []string{"O1 CHANGED >APPROVED 0/0", "O1 CHANGED >APPROVED 0/0"},
		},
		"a living subscription is never forgotten": {
			story: []any{subscription(active, 0), later(800 * 24 * time.Hour), subscription(active, 0)},
			want:  []string{"I-1 CHANGED >ACTIVE 0/0", "I-1 DUPLICATE ACTIVE>ACTIVE 0/0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, lines(tell(t, c.opt, c.story...))); diff != "" {
				t.Errorf("ends (-want +got):\n%s", diff)
			}
		})
	}
}

func dispute(status schemas.PaymentStatus, minute int) *schemas.OrderEvent {
	return event(schemas.KindDispute, "C1", "D1", status, minute, link(schemas.LinkCapture, "C1"))
}

// inbox tells what goes on to automation: "key number disposition", with ~ for an orphan.
func inbox(r *processorstest.Runner) []string {
	var got []string
	for _, o := range r.Outputs() {
		if t, ok := o.Record.(*schemas.Transition); ok && o.Topic == schemas.TopicAutomationInbox {
			flag := ""
			if t.Orphan {
				flag = "~"
			}
			got = append(got, fmt.Sprintf("%s %d %s%s", o.Key, t.Number, t.Disposition, flag))
		}
	}
	return got
}

func TestWhatGoesToTheContact(t *testing.T) {
	const ana = "sandbox/ana@example.com"
	for name, c := range map[string]struct {
		story []any
		want  []string
	}{
		"at once where it is known": {[]any{order(approved, 0), capture(paid, 1)}, []string{ana + " 1 CHANGED", ana + " 2 CHANGED"}},
		"contact comes late, all go out in order": {
			[]any{capture(schemas.StatusPending, 1), capture(paid, 2), order(approved, 0)},
			[]string{ana + " 1 CHANGED", ana + " 2 CHANGED", ana + " 3 LATE"},
		},
		"a late event with a known contact stays": {[]any{order(approved, 5), order(schemas.StatusPending, 1)}, []string{ana + " 1 CHANGED"}},
		"repetitions and unknown types stay":      {[]any{order(approved, 0), order(approved, 0), event(schemas.KindOther, "O1", "X", "", 1)}, []string{ana + " 1 CHANGED"}},
		"no contact within the hour":              {[]any{capture(paid, 1), later(time.Hour + time.Second)}, []string{"sandbox/eu/O1 1 CHANGED~"}},
		"an orphan waits no second hour":          {[]any{refund("R1", "1", refunded, 1), later(time.Hour + time.Second)}, []string{"sandbox/eu/C1 1 CHANGED~"}},
		"the created event names nobody, the activated one does": {
			[]any{subscription(approved, 0, payer(nil)), subscription(active, 1)},
			[]string{ana + " 1 CHANGED", ana + " 2 CHANGED"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, inbox(tell(t, orders.Options{}, c.story...))); diff != "" {
				t.Errorf("automation.inbox (-want +got):\n%s", diff)
			}
		})
	}
}

func TestForwardedEventsKeepTheirBytes(t *testing.T) {
	r := tell(t, orders.Options{}, refund("R1", "1", refunded, 2), capture(paid, 1))
	var links, events int
	for _, o := range r.Outputs() {
		switch rec := o.Record.(type) {
		case *schemas.OrderLink:
			links++
			if got, want := *rec, (schemas.OrderLink{From: "sandbox/eu/C1", To: "sandbox/eu/O1"}); got != want || o.Key != want.From {
				t.Errorf("link %+v under %s, want %+v under its From", got, o.Key, want)
			}
		case *schemas.OrderEvent:
			events++
			want := refund("R1", "1", refunded, 2)
			want.RootID = "O1"
			if diff := cmp.Diff(want, rec); diff != "" || o.Key != "sandbox/eu/O1" {
				t.Errorf("forwarded under %s (-want +got):\n%s", o.Key, diff)
			}
		case *schemas.Transition:
			if len(rec.Event.Body) > 0 {
				t.Errorf("transition %d carries the body", rec.Number)
			}
		}
	}
	if links != 1 || events != 1 {
		t.Errorf("%d links and %d forwarded events, want one each", links, events)
	}
}

func TestPayerIsMergedAndNeverErased(t *testing.T) {
	r := tell(t, orders.Options{},
		order(approved, 0, payer(&schemas.Payer{Email: "ana@example.com", Phone: "030 1", Address: schemas.Address{Line1: "Weg 1", City: "Bonn", Country: "DE"}})),
		order(approved, 2, payer(&schemas.Payer{Surname: "Cruz", Address: schemas.Address{Country: "FR"}})),
		order(schemas.StatusPending, 1, payer(&schemas.Payer{Phone: "030 2", Surname: "Old"})))
	all := r.Transitions()
	want := &schemas.Payer{Email: "ana@example.com", Surname: "Cruz", Phone: "030 2", Address: schemas.Address{Line1: "Weg 1", City: "Bonn", Country: "DE"}}
	if diff := cmp.Diff(want, all[len(all)-1].Payer); diff != "" {
		t.Errorf("payer (-want +got):\n%s", diff)
	}
}

func TestEventIDsAreKeptFor35Days(t *testing.T) {
	story := []any{subscription(active, 0)}
	for i := range 10 {
		story = append(story, later(5*24*time.Hour), sale(fmt.Sprintf("S%d", i), paid, i))
	}
	r := tell(t, orders.Options{SeenMax: 4}, append(story, sale("S4", paid, 4), subscription(active, 0))...)
	states, err := r.Orders()
	if err != nil {
		t.Fatal(err)
	}
	if got := len(states["sandbox/eu/I-1"].Seen); got < 8 || got > 10 {
		t.Errorf("%d events are remembered, want those of 35 days", got)
	}
	got := lines(r)
	if last := got[len(got)-2]; !strings.Contains(last, "DUPLICATE") {
		t.Errorf("a repetition after 25 days ends as %s", last)
	}
}

func TestLongSubscriptionStaysSmallAndKeepsItsSums(t *testing.T) {
	story := []any{subscription(active, 0)}
	for i := range 500 {
		story = append(story, later(36*24*time.Hour), sale(fmt.Sprintf("S%d", i), paid, i, amount("0.10")))
	}
	r := tell(t, orders.Options{}, story...)
	states, err := r.Orders()
	if err != nil {
		t.Fatal(err)
	}
	s := states["sandbox/eu/I-1"]
	if f, _ := s.Facts(); f.Paid != "50" {
		t.Errorf("paid %s after 500 sales of 0.10, want 50", f.Paid)
	}
	image, err := orders.New(orders.Options{}).Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	if len(image) > 64<<10 {
		t.Errorf("the state has %d bytes, want at most 64 KiB", len(image))
	}
}
