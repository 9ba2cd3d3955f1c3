package getresponse

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators"
)

// storyPart is what only the shop behind a plugin knows of an order.
type storyPart struct {
	email, total, currency string
	refunded               decimal.Decimal
	means                  schemas.PaymentStatus // what the newest word that was written means
	step                   step
}

// step is where an order stands at its shop.
type step int

const (
	placed step = iota
	paid
	failed
	cancelled
	partlyRefunded
	refunded
)

// words are what each plugin writes for a step, and what its shop's documentation says that it means. A shop without a
// word for a step writes nothing: WooCommerce and Magento do not tell that a part was refunded.
var words = map[Plugin]map[step]struct {
	word  string
	means schemas.PaymentStatus
}{
	Canonical: {
		placed: {"PENDING", schemas.StatusPending}, paid: {"PAID", schemas.StatusPaid}, failed: {"FAILED", schemas.StatusFailed},
		cancelled: {"CANCELLED", schemas.StatusCancelled}, partlyRefunded: {"PARTIALLY_REFUNDED", schemas.StatusPartiallyRefunded}, refunded: {"REFUNDED", schemas.StatusRefunded},
	},
	WooCommerce: {
		placed: {"pending", schemas.StatusPending}, paid: {"processing", schemas.StatusPaid}, failed: {"failed", schemas.StatusFailed},
		cancelled: {"cancelled", schemas.StatusCancelled}, refunded: {"refunded", schemas.StatusRefunded},
	},
	Magento: {
		placed: {"pending_payment", schemas.StatusPending}, paid: {"processing", schemas.StatusPaid}, failed: {"canceled", schemas.StatusCancelled},
		cancelled: {"canceled", schemas.StatusCancelled}, refunded: {"closed", schemas.StatusRefunded},
	},
}

// Place implements simulators.Shop. The plugin makes the contact before the order, as it has to.
func (s *Server) Place(_ context.Context, in simulators.Order) (string, error) {
	total, err := number(in.Total)
	if err != nil {
		return "", fmt.Errorf("getresponse simulator: amount %q: %w", in.Total, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.contactOf(in.Email, strings.TrimSpace(in.GivenName+" "+in.Surname))
	w := words[s.o.Plugin][placed]
	address := object{
		"countryCode": "POL", "countryName": "Poland", "name": "address", "firstName": in.GivenName, "lastName": in.Surname, "address1": "Arkonska 6",
		"address2": "", "city": "Gdansk", "zip": "80-387", "province": "pomorskie", "provinceCode": "", "phone": in.Phone, "company": "",
	}
	body := object{
		"contactId": c.id, "externalId": strconv.Itoa(1000 + len(s.truth) + 1), "orderUrl": "https://shop.example.com/orders/1", "totalPrice": total,
		"currency": in.Currency, "status": w.word, "billingStatus": w.word, "description": in.Product, "billingAddress": address, "shippingAddress": address,
		"metaFields": []object{}, "selectedVariants": []object{{"variantId": "VTB", "price": total, "priceTax": total, "quantity": 1}},
	}
	if !s.o.WithoutProcessedAt {
		body["processedAt"] = stamp(s.o.Now())
	}
	o := s.add(s.shops[0], body)
	o.story = storyPart{email: in.Email, total: in.Total, currency: in.Currency, means: w.means}
	s.truth = append(s.truth, o)
	return o.id(), nil
}

// move takes an order to a step, from one of those before.
func (s *Server) move(id string, to step, from ...step) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.told(id)
	if err != nil {
		return err
	}
	if !slices.Contains(from, o.story.step) {
		return fmt.Errorf("getresponse simulator: order %s is %s and cannot go on so", id, o.story.means)
	}
	s.write(o, to)
	return nil
}

// told is an order of the story. s.mu is held.
func (s *Server) told(id string) (*order, error) {
	for _, o := range s.truth {
		if o.id() == id {
			return o, nil
		}
	}
	return nil, fmt.Errorf("getresponse simulator: there is no order %q", id)
}

// write has the plugin update the order. s.mu is held.
func (s *Server) write(o *order, to step) {
	o.story.step = to
	if w, ok := words[s.o.Plugin][to]; ok {
		o.story.means = w.means
		s.update(s.shops[0], o, object{"status": w.word, "billingStatus": w.word}, false)
	}
}

// Pay implements simulators.Shop.
func (s *Server) Pay(_ context.Context, id string) error { return s.move(id, paid, placed, failed) }

// Fail implements simulators.Shop.
func (s *Server) Fail(_ context.Context, id string) error { return s.move(id, failed, placed) }

// Cancel implements simulators.Shop.
func (s *Server) Cancel(_ context.Context, id string) error {
	return s.move(id, cancelled, placed, failed)
}

// Refund implements simulators.Shop.
func (s *Server) Refund(_ context.Context, id, amount string) error {
	d, err := decimal.NewFromString(amount)
	if err != nil || d.Sign() <= 0 {
		return fmt.Errorf("getresponse simulator: amount %q is none", amount)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.told(id)
	if err != nil {
		return err
	}
	total := decimal.RequireFromString(o.story.total)
	sum := o.story.refunded.Add(d)
	if o.story.step != paid && o.story.step != partlyRefunded || sum.GreaterThan(total) {
		return fmt.Errorf("getresponse simulator: %s of order %s cannot be refunded", amount, id)
	}
	o.story.refunded = sum
	if sum.Equal(total) {
		s.write(o, refunded)
	} else {
		s.write(o, partlyRefunded)
	}
	return nil
}

// SetStatus writes any words, as a merchant's own statuses are; means is what they mean there.
func (s *Server) SetStatus(id, word string, means schemas.PaymentStatus) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.told(id)
	if err != nil {
		return err
	}
	o.story.means = means
	s.update(s.shops[0], o, object{"status": word, "billingStatus": word}, false)
	return nil
}

// Delete removes an order from the list, as the API's DELETE does.
func (s *Server) Delete(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.shops[0]
	x.orders = slices.DeleteFunc(x.orders, func(o *order) bool { return o.id() == id })
}

// Withhold implements simulators.Shop: nothing is ever sent, so that nothing can be withheld.
func (s *Server) Withhold(int) {}

// Wait implements simulators.Shop: nothing is ever outstanding.
func (s *Server) Wait(context.Context) error { return nil }

// Sent implements simulators.Shop: GetResponse sends nothing about orders.
func (s *Server) Sent() (accepted, lost int) { return 0, 0 }

// Orders implements simulators.Shop. Refunded is what the order's words tell: all of it, or nothing.
func (s *Server) Orders() []simulators.OrderTruth {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]simulators.OrderTruth, len(s.truth))
	for i, o := range s.truth {
		back := "0"
		if o.story.means == schemas.StatusRefunded {
			back = o.story.total
		}
		out[i] = simulators.OrderTruth{
			ID: o.id(), RawStatus: text(o.body, "billingStatus"), Email: o.story.email, Status: o.story.means,
			Total: o.story.total, Refunded: back, Currency: o.story.currency,
		}
	}
	return out
}

// Status counts what the twin holds.
type Status struct {
	Orders   int `json:"orders"`
	Contacts int `json:"contacts"`
	Changes  int `json:"changes"`  // of billing statuses
	Requests int `json:"requests"` // in the running window
}

// Status returns the counts of now.
func (s *Server) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, x := range s.shops {
		n += len(x.orders)
	}
	return Status{Orders: n, Contacts: len(s.contacts), Changes: len(s.changes), Requests: s.limits.inWindow}
}
