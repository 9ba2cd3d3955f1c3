package processorstest_test

import (
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/schemas"
)

// epoch is the time at which drawn histories begin.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// history draws the events of a few orders, subscriptions and lone payments, with repetitions, in random order of
// arrival. Times are few, so that ties are common. Every payment's home can be found from the events.
func history() *rapid.Generator[[]*schemas.OrderEvent] {
	return rapid.Custom(func(t *rapid.T) []*schemas.OrderEvent {
		w := world{t: t}
		for i := range rapid.IntRange(1, 2).Draw(t, "orders") {
			w.order(fmt.Sprintf("O%d", i))
		}
		for i := range rapid.IntRange(0, 1).Draw(t, "subscriptions") {
			w.subscription(fmt.Sprintf("I-S%d", i))
		}
		for i := range rapid.IntRange(0, 1).Draw(t, "lone payments") {
			w.lone(fmt.Sprintf("L%d", i))
		}
		w.repetitions()
		return rapid.Permutation(w.events).Draw(t, "arrival")
	})
}

type world struct {
	t      *rapid.T
	events []*schemas.OrderEvent
}

func (w *world) add(e schemas.OrderEvent) *schemas.OrderEvent {
	n := len(w.events)
	e.EventID = fmt.Sprintf("WH-%03d", n)
	e.Provider, e.Environment, e.Connection = "paypal", schemas.Sandbox, "eu"
	e.EventType = string(e.Kind) + "." + e.ProviderStatus
	e.ProviderTime = epoch.Add(time.Duration(rapid.IntRange(0, 6).Draw(w.t, "seconds")) * time.Second)
	e.ReceivedAt = epoch.Add(time.Hour)
	e.DeliveryIDs = []string{fmt.Sprintf("T-%03d", n)}
	e.Origin, e.Fingerprint, e.Body = schemas.OriginWebhook, fmt.Sprintf("F-%03d", n), []byte("{}")
	w.events = append(w.events, &e)
	return &e
}

func (w *world) pick(label string, list ...schemas.PaymentStatus) schemas.PaymentStatus {
	return rapid.SampledFrom(list).Draw(w.t, label)
}

func eur(value string) *schemas.Amount { return &schemas.Amount{Value: value, Currency: "EUR"} }

func (w *world) amount(values ...string) *schemas.Amount {
	v := rapid.SampledFrom(values).Draw(w.t, "amount")
	if v == "" {
		return nil
	}
	return eur(v)
}

func (w *world) payer() *schemas.Payer {
	switch rapid.IntRange(0, 3).Draw(w.t, "payer") {
	case 0:
		return nil
	case 1:
		return &schemas.Payer{Email: rapid.SampledFrom([]string{"ana@example.com", "bo@example.com", "0b1c@dcc.paypal.com"}).Draw(w.t, "email"), PayerID: "P1"}
	case 2:
		return &schemas.Payer{GivenName: "Ana", Address: schemas.Address{Country: rapid.SampledFrom([]string{"DE", "FR"}).Draw(w.t, "country")}}
	}
	return &schemas.Payer{Surname: "Cruz", Phone: "123", Address: schemas.Address{Line1: "Weg 1", City: rapid.SampledFrom([]string{"Bonn", "Kiel"}).Draw(w.t, "city")}}
}

func (w *world) order(id string) {
	for range rapid.IntRange(0, 3).Draw(w.t, "order events") {
		s := w.pick("order status", schemas.StatusPending, schemas.StatusApproved, schemas.StatusPaid, schemas.StatusPartiallyPaid,
			schemas.StatusCancelled, schemas.StatusUnknown, schemas.StatusRefunded)
		w.add(schemas.OrderEvent{Kind: schemas.KindOrder, RootID: id, EntityID: id, Status: s, ProviderStatus: string(s), Amount: w.amount("", "30.00", "40.0"), Payer: w.payer()})
	}
	for i := range rapid.IntRange(0, 2).Draw(w.t, "captures") {
		w.payment(fmt.Sprintf("%s-C%d", id, i), id, schemas.LinkOrder, schemas.LinkCapture)
	}
	if rapid.Bool().Draw(w.t, "authorized") {
		auth := id + "-A"
		s := w.pick("authorization status", schemas.StatusAuthorized, schemas.StatusVoided, schemas.StatusPaid)
		w.add(schemas.OrderEvent{
			Kind: schemas.KindPayment, RootID: id, EntityID: auth, Status: s, ProviderStatus: string(s), Amount: eur("30"),
			Links: []schemas.Link{{Relation: schemas.LinkOrder, ID: id}},
		})
		w.payment(auth+"C", auth, schemas.LinkAuthorization, schemas.LinkCapture)
	}
}

func (w *world) subscription(id string) {
	for range rapid.IntRange(0, 3).Draw(w.t, "subscription events") {
		s := w.pick("subscription status", schemas.StatusPending, schemas.StatusActive, schemas.StatusSuspended, schemas.StatusCancelled, schemas.StatusUnknown)
		w.add(schemas.OrderEvent{Kind: schemas.KindSubscription, RootID: id, EntityID: id, Status: s, ProviderStatus: string(s), Payer: w.payer()})
	}
	for i := range rapid.IntRange(1, 2).Draw(w.t, "sales") {
		w.payment(fmt.Sprintf("%s-X%d", id, i), id, schemas.LinkSubscription, schemas.LinkSale)
	}
}

// payment adds one that names its root, and then what names the payment only.
func (w *world) payment(id, root string, rel, self schemas.LinkRelation) {
	for range rapid.IntRange(1, 3).Draw(w.t, "notices") {
		s := w.pick("payment status", schemas.StatusPending, schemas.StatusPaid, schemas.StatusPartiallyPaid, schemas.StatusFailed, schemas.StatusPartiallyRefunded, schemas.StatusRefunded)
		w.add(schemas.OrderEvent{
			Kind: schemas.KindPayment, RootID: root, EntityID: id, Status: s, ProviderStatus: string(s),
			Amount: w.amount("", "10.00", "10.0", "20"), Links: []schemas.Link{{Relation: rel, ID: root}},
		})
	}
	w.followers(id, self)
}

func (w *world) lone(id string) {
	s := w.pick("lone status", schemas.StatusPending, schemas.StatusPaid, schemas.StatusFailed)
	w.add(schemas.OrderEvent{Kind: schemas.KindPayment, RootID: id, EntityID: id, Status: s, ProviderStatus: string(s), Amount: eur("5.50")})
	w.followers(id, schemas.LinkSale)
}

// followers adds refunds and disputes, which name the payment alone.
func (w *world) followers(id string, self schemas.LinkRelation) {
	links := []schemas.Link{{Relation: self, ID: id}}
	for i := range rapid.IntRange(0, 2).Draw(w.t, "refunds") {
		for range rapid.IntRange(1, 2).Draw(w.t, "refund notices") {
			s := w.pick("refund status", schemas.StatusPending, schemas.StatusRefunded, schemas.StatusFailed, schemas.StatusChargedBack)
			e := w.add(schemas.OrderEvent{
				Kind: schemas.KindRefund, RootID: id, EntityID: fmt.Sprintf("%s-R%d", id, i), Status: s, ProviderStatus: string(s), Links: links,
				Amount: w.amount("5", "10.00", "2.5"),
			})
			if rapid.Bool().Draw(w.t, "running total") {
				e.RefundedTotal = eur(rapid.SampledFrom([]string{"5.0", "10", "7.5"}).Draw(w.t, "total"))
			}
		}
	}
	if rapid.IntRange(0, 3).Draw(w.t, "disputed") == 0 {
		for range rapid.IntRange(1, 2).Draw(w.t, "dispute notices") {
			s := w.pick("dispute status", schemas.StatusDisputed, schemas.StatusChargedBack, schemas.StatusUnknown, schemas.StatusPaid)
			w.add(schemas.OrderEvent{Kind: schemas.KindDispute, RootID: id, EntityID: id + "-D", Status: s, ProviderStatus: string(s), Links: links})
		}
	}
}

// repetitions sends some events twice: as they are, as another sending of the same, or as another event about the same step.
func (w *world) repetitions() {
	for _, e := range append([]*schemas.OrderEvent(nil), w.events...) {
		switch rapid.IntRange(0, 7).Draw(w.t, "again") {
		case 0:
			w.events = append(w.events, e)
		case 1:
			c := *e
			c.DeliveryIDs = []string{e.DeliveryIDs[0] + "b"}
			c.Origin = schemas.OriginPoll
			w.events = append(w.events, &c)
		case 2:
			w.add(*e)
		}
	}
}
