//go:build synctests

package virtual

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// happening is one record that comes in, at its time after the beginning.
type happening struct {
	at      time.Duration
	topic   string
	event   *schemas.OrderEvent // nil: garbage
	garbage []byte
	flush   bool // nothing comes in: Redis is emptied
}

// story is what happens to the shop in some days: orders that are paid at once, later or never, refunds after more than
// a day, events whose order never comes, subscriptions, repetitions hours later. Between its waves nothing comes in for
// hours.
type story struct {
	dice    *rand.Rand
	end     time.Duration
	n       int
	records []happening
	// orphans are the events that wait for what never comes: their timer is to fire once.
	orphans map[string]bool
	// ghosts are the roots that nobody but their refund knows.
	ghosts map[string]bool
	// shared are contacts with several orders, whose last word depends on which order was worked on last.
	shared map[string]bool
}

const (
	waveLength    = 40 * time.Minute
	ordersPerWave = 8
	// tailMin is how long before the end the last record comes in.
	tailMin = 20 * time.Minute
)

var waves = []time.Duration{7 * time.Hour, 12 * time.Hour, 19 * time.Hour}

func newStory(seed uint64, days int) *story {
	s := &story{
		dice: rand.New(rand.NewPCG(seed, 1)), end: time.Duration(days) * 24 * time.Hour,
		orphans: map[string]bool{}, ghosts: map[string]bool{}, shared: map[string]bool{},
	}
	for day := range days {
		midnight := time.Duration(day) * 24 * time.Hour
		for _, wave := range waves {
			s.wave(midnight + wave)
		}
		s.subscription(midnight+waves[0]+s.within(waveLength), days-day)
		s.records = append(s.records,
			happening{at: midnight + waves[1] + s.within(waveLength), topic: schemas.TopicPayPalEvents, garbage: []byte("garbage")},
			// In the middle of a wave: what comes next finds the owner at work on what is gone.
			happening{at: midnight + waves[s.dice.IntN(len(waves))] + waveLength/4 + s.within(waveLength/2), flush: true})
	}
	s.records = slices.DeleteFunc(s.records, func(h happening) bool { return h.at > s.end-tailMin })
	slices.SortStableFunc(s.records, func(a, b happening) int { return int(a.at - b.at) })
	return s
}

func (s *story) within(d time.Duration) time.Duration { return time.Duration(s.dice.Int64N(int64(d))) }

// between draws a time from a to b.
func (s *story) between(a, b time.Duration) time.Duration { return a + s.within(b-a) }

// add notes an event, and at times its repetitions.
func (s *story) add(at time.Duration, topic string, e schemas.OrderEvent) *schemas.OrderEvent {
	s.n++
	e.EventID = fmt.Sprintf("WH-%04d", s.n)
	if e.Provider == "" {
		e.Provider, e.Connection = "paypal", "eu"
	}
	e.Environment, e.Origin = schemas.Live, schemas.OriginWebhook
	e.ProviderTime = epoch.Add(at).Truncate(time.Millisecond)
	e.ReceivedAt = e.ProviderTime.Add(time.Second)
	e.DeliveryIDs = []string{fmt.Sprintf("T-%04d", s.n)}
	e.Fingerprint, e.Body = fmt.Sprintf("F-%04d", s.n), []byte("{}")
	s.records = append(s.records, happening{at: at, topic: topic, event: &e})
	switch s.dice.IntN(8) {
	case 0: // hours later
		s.again(at+s.between(time.Hour, 9*time.Hour), topic, e)
	case 1: // at once, and once more
		s.again(at, topic, e)
		s.again(at+s.within(time.Minute), topic, e)
	}
	return &e
}

func (s *story) again(at time.Duration, topic string, e schemas.OrderEvent) {
	s.n++
	e.DeliveryIDs = []string{fmt.Sprintf("T-%04d", s.n)}
	s.records = append(s.records, happening{at: at, topic: topic, event: &e})
}

// epoch is when a bubble's clock begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (s *story) payer(id string) *schemas.Payer {
	name := "c-" + id
	if s.dice.IntN(6) == 0 {
		name = fmt.Sprintf("household-%d", s.dice.IntN(3))
		s.shared[name+"@example.com"] = true
	}
	return &schemas.Payer{Email: name + "@example.com", GivenName: "Ana", Surname: "Cruz"}
}

func eur(value string) *schemas.Amount { return &schemas.Amount{Value: value, Currency: "EUR"} }

func (s *story) wave(begin time.Duration) {
	for range ordersPerWave {
		s.order(begin + s.within(waveLength))
	}
	if s.dice.IntN(2) == 0 {
		s.ghost(begin + s.within(waveLength))
	}
}

func (s *story) order(at time.Duration) {
	id := fmt.Sprintf("O%04d", s.n)
	payer := s.payer(id)
	switch x := s.dice.IntN(20); {
	case x < 9: // paid at once
		s.approved(at, id, payer)
		s.paid(at+s.between(3*time.Second, time.Minute), id, nil)
	case x < 13: // paid hours later
		s.approved(at, id, payer)
		s.capture(at+time.Minute, id, "PENDING", schemas.StatusPending, nil)
		s.paid(at+s.between(2*time.Hour, 5*time.Hour), id, nil)
	case x < 14: // never paid
		s.approved(at, id, payer)
	case x < 16: // never paid, by nobody known
		e := s.approved(at, id, nil)
		s.orphans[e.EventID] = true
	case x < 18: // who pays is known only with the payment, before anybody gives up
		s.approved(at, id, nil)
		s.paid(at+s.between(10*time.Minute, 2*time.Hour), id, payer)
	default: // from a shop, which has a topic of its own
		e := schemas.OrderEvent{
			Kind: schemas.KindOrder, Provider: "shop", Connection: "store", Resource: "store-order", EventType: "order.created",
			RootID: id, EntityID: id, ProviderStatus: "pending", Status: schemas.StatusPending, Amount: eur("20.00"), Payer: payer,
		}
		s.add(at, schemas.TopicStoreOrders, e)
		e.EventType, e.ProviderStatus, e.Status = "order.updated", "processing", schemas.StatusPaid
		s.add(at+s.between(time.Minute, 3*time.Hour), schemas.TopicStoreOrders, e)
	}
}

func (s *story) approved(at time.Duration, id string, payer *schemas.Payer) *schemas.OrderEvent {
	return s.add(at, schemas.TopicPayPalEvents, schemas.OrderEvent{
		Kind: schemas.KindOrder, Resource: "checkout-order-approved", EventType: "CHECKOUT.ORDER.APPROVED", RootID: id, EntityID: id,
		ProviderStatus: "APPROVED", Status: schemas.StatusApproved, Amount: eur("30.00"), Payer: payer,
	})
}

func (s *story) capture(at time.Duration, order, word string, status schemas.PaymentStatus, payer *schemas.Payer) {
	s.add(at, schemas.TopicPayPalEvents, schemas.OrderEvent{
		Kind: schemas.KindPayment, Resource: "payments-captures", EventType: "PAYMENT.CAPTURE." + word, RootID: order, EntityID: order + "-C",
		ProviderStatus: word, Status: status, Amount: eur("30.00"), Payer: payer, Links: []schemas.Link{{Relation: schemas.LinkOrder, ID: order}},
	})
}

// paid captures an order, and refunds a third of them when more than a day has passed.
func (s *story) paid(at time.Duration, order string, payer *schemas.Payer) {
	s.capture(at, order, "COMPLETED", schemas.StatusPaid, payer)
	if s.dice.IntN(3) == 0 {
		s.refund(at+s.between(25*time.Hour, 31*time.Hour), order+"-C", eur([]string{"30.00", "12.50"}[s.dice.IntN(2)]))
	}
}

func (s *story) refund(at time.Duration, capture string, amount *schemas.Amount) *schemas.OrderEvent {
	return s.add(at, schemas.TopicPayPalEvents, schemas.OrderEvent{
		Kind: schemas.KindRefund, Resource: "payments-captures", EventType: "PAYMENT.CAPTURE.REFUNDED", RootID: capture, EntityID: capture + "-R",
		ProviderStatus: "COMPLETED", Status: schemas.StatusRefunded, Amount: amount, Links: []schemas.Link{{Relation: schemas.LinkCapture, ID: capture}},
	})
}

// ghost refunds what nobody has heard of.
func (s *story) ghost(at time.Duration) {
	e := s.refund(at, fmt.Sprintf("G%04d-C", s.n), eur("5.00"))
	s.orphans[e.EventID], s.ghosts[e.Key()] = true, true
}

// subscription is one that renews every day.
func (s *story) subscription(at time.Duration, days int) {
	id := fmt.Sprintf("I-%04d", s.n)
	s.add(at, schemas.TopicPayPalEvents, schemas.OrderEvent{
		Kind: schemas.KindSubscription, Resource: "billing", EventType: "BILLING.SUBSCRIPTION.ACTIVATED", RootID: id, EntityID: id,
		ProviderStatus: "ACTIVE", Status: schemas.StatusActive, Payer: s.payer(id),
	})
	for day := range days {
		s.add(at+time.Duration(day)*24*time.Hour+time.Minute, schemas.TopicPayPalEvents, schemas.OrderEvent{
			Kind: schemas.KindPayment, Resource: "payments-sales", EventType: "PAYMENT.SALE.COMPLETED", RootID: id, EntityID: fmt.Sprintf("%s-X%d", id, day),
			ProviderStatus: "COMPLETED", Status: schemas.StatusPaid, Amount: eur("4.99"), Links: []schemas.Link{{Relation: schemas.LinkSubscription, ID: id}},
		})
	}
}
