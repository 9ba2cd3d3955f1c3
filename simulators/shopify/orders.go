package shopify

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators"
)

// order is one order of the shop. Server.mu guards it.
type order struct {
	id, customer                int64
	number                      int
	in                          simulators.Order
	total                       decimal.Decimal
	created, updated, cancelled time.Time
	reason, note                string
	financial                   string
	transactions                []*transaction
	refunds                     []*refund
	deleted                     bool
}

// transaction is one movement of money, or the try of one.
type transaction struct {
	id, parent   int64
	kind, status string
	amount       decimal.Decimal
	at           time.Time
}

type refund struct {
	id     int64
	at     time.Time
	note   string
	parts  []*transaction
	amount decimal.Decimal
}

// moment is when something happens to o: whole seconds, and never before what happened last.
func (s *Server) moment(o *order) time.Time {
	now := s.o.Now().UTC().Truncate(time.Second)
	if now.Before(o.updated) {
		return o.updated
	}
	return now
}

func (o *order) captured() decimal.Decimal {
	sum := decimal.Zero
	for _, t := range o.transactions {
		if t.status == "success" && (t.kind == "sale" || t.kind == "capture") {
			sum = sum.Add(t.amount)
		}
	}
	return sum
}

func (o *order) refunded() decimal.Decimal {
	sum := decimal.Zero
	for _, t := range o.transactions {
		if t.status == "success" && t.kind == "refund" {
			sum = sum.Add(t.amount)
		}
	}
	return sum
}

func (o *order) settle() {
	paid, back := o.captured(), o.refunded()
	switch {
	case back.IsPositive() && back.Cmp(paid) >= 0:
		o.financial = "refunded"
	case back.IsPositive():
		o.financial = "partially_refunded"
	case paid.IsPositive() && paid.Cmp(o.total) >= 0:
		o.financial = "paid"
	case paid.IsPositive():
		o.financial = "partially_paid"
	}
}

// open are the statuses in which money may still come.
func (o *order) open() bool {
	switch o.financial {
	case "pending", "authorized", "partially_paid", "expired":
		return true
	}
	return false
}

// Place implements simulators.Shop: an order to be paid later.
func (s *Server) Place(ctx context.Context, in simulators.Order) (string, error) {
	total, err := decimal.NewFromString(in.Total)
	if err != nil || total.IsNegative() {
		return "", fmt.Errorf("shopify simulator: total %q is no amount", in.Total)
	}
	s.mu.Lock()
	o := &order{id: s.nextID(), customer: s.nextID(), number: 1001 + len(s.orders), in: in, total: total, financial: "pending"}
	o.created = s.moment(o)
	o.updated = o.created
	s.orders = append(s.orders, o)
	s.byID[o.id] = o
	list := s.emit("orders/create", "ORDERS_CREATE", o.id, encode(s.restOrder(o)), o.updated)
	s.mu.Unlock()
	return strconv.FormatInt(o.id, 10), s.send(ctx, list)
}

// change applies f to one order and sends what it caused; topics come beside orders/updated.
func (s *Server) change(ctx context.Context, id string, f func(o *order, at time.Time) ([]sending, error)) error {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return fmt.Errorf("shopify simulator: order %q: %w", id, err)
	}
	s.mu.Lock()
	o := s.byID[n]
	if o == nil || o.deleted {
		s.mu.Unlock()
		return fmt.Errorf("shopify simulator: there is no order %s", id)
	}
	list, err := f(o, s.moment(o))
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("shopify simulator: order %s, %s: %w", id, o.financial, err)
	}
	return s.send(ctx, list)
}

// changed stamps o and emits the order's own topics, all with one event id. s.mu is held.
func (s *Server) changed(o *order, at time.Time, topics ...string) []sending {
	o.updated = at
	body := encode(s.restOrder(o))
	event := s.uuid()
	var list []sending
	for _, topic := range append(topics, "orders/updated") {
		list = append(list, s.emitAs(event, topic, enum(topic), o.id, body, at)...)
	}
	return list
}

// enum is the API's spelling of a topic.
func enum(topic string) string { return strings.ToUpper(strings.ReplaceAll(topic, "/", "_")) }

// move adds a transaction and emits it. s.mu is held.
func (s *Server) move(o *order, kind, status string, amount decimal.Decimal, parent int64, at time.Time) (*transaction, []sending) {
	t := &transaction{id: s.nextID(), parent: parent, kind: kind, status: status, amount: amount, at: at}
	o.transactions = append(o.transactions, t)
	return t, s.emit("order_transactions/create", "ORDER_TRANSACTIONS_CREATE", o.id, encode(s.restTransaction(o, t)), at)
}

// Pay implements simulators.Shop: what is still owed is paid, or captured where it was authorised.
func (s *Server) Pay(ctx context.Context, id string) error {
	return s.change(ctx, id, func(o *order, at time.Time) ([]sending, error) {
		return s.pay(o, at, o.total.Sub(o.captured()))
	})
}

// PayPart pays amount of what is owed.
func (s *Server) PayPart(ctx context.Context, id, amount string) error {
	return s.change(ctx, id, func(o *order, at time.Time) ([]sending, error) {
		d, err := decimal.NewFromString(amount)
		if err != nil || !d.IsPositive() || o.captured().Add(d).Cmp(o.total) > 0 {
			return nil, fmt.Errorf("%q cannot be paid", amount)
		}
		return s.pay(o, at, d)
	})
}

func (s *Server) pay(o *order, at time.Time, amount decimal.Decimal) ([]sending, error) {
	if !o.open() {
		return nil, fmt.Errorf("it cannot be paid")
	}
	kind, parent := "sale", int64(0)
	if o.financial == "authorized" {
		kind, parent = "capture", o.transactions[len(o.transactions)-1].id
	}
	_, list := s.move(o, kind, "success", amount, parent, at)
	o.settle()
	if o.financial == "paid" {
		return append(list, s.changed(o, at, "orders/paid")...), nil
	}
	return append(list, s.changed(o, at)...), nil
}

// Authorize holds the whole amount.
func (s *Server) Authorize(ctx context.Context, id string) error {
	return s.change(ctx, id, func(o *order, at time.Time) ([]sending, error) {
		if o.financial != "pending" {
			return nil, fmt.Errorf("it cannot be authorized")
		}
		_, list := s.move(o, "authorization", "success", o.total, 0, at)
		o.financial = "authorized"
		return append(list, s.changed(o, at)...), nil
	})
}

// Fail implements simulators.Shop: the payment fails and its provider gives up.
func (s *Server) Fail(ctx context.Context, id string) error {
	return s.change(ctx, id, func(o *order, at time.Time) ([]sending, error) {
		if o.financial != "pending" {
			return nil, fmt.Errorf("its payment cannot fail")
		}
		_, list := s.move(o, "sale", "failure", o.total, 0, at)
		o.financial = "expired"
		return append(list, s.changed(o, at)...), nil
	})
}

// Cancel implements simulators.Shop: an unpaid order is voided, a paid one keeps its money until it is refunded.
func (s *Server) Cancel(ctx context.Context, id string) error {
	return s.change(ctx, id, func(o *order, at time.Time) ([]sending, error) {
		if !o.cancelled.IsZero() {
			return nil, fmt.Errorf("it is cancelled already")
		}
		var list []sending
		if o.financial == "authorized" {
			_, list = s.move(o, "void", "success", o.total, o.transactions[len(o.transactions)-1].id, at)
		}
		if o.open() && o.captured().IsZero() {
			o.financial = "voided"
		}
		o.cancelled, o.reason = at, "customer"
		return append(list, s.changed(o, at, "orders/cancelled")...), nil
	})
}

// Refund implements simulators.Shop.
func (s *Server) Refund(ctx context.Context, id, amount string) error {
	return s.change(ctx, id, func(o *order, at time.Time) ([]sending, error) {
		d, err := decimal.NewFromString(amount)
		if left := o.captured().Sub(o.refunded()); err != nil || !d.IsPositive() || d.Cmp(left) > 0 {
			return nil, fmt.Errorf("%q of %s cannot be refunded", amount, left)
		}
		parent := int64(0)
		for _, t := range o.transactions {
			if t.status == "success" && (t.kind == "sale" || t.kind == "capture") {
				parent = t.id
			}
		}
		t, list := s.move(o, "refund", "success", d, parent, at)
		r := &refund{id: s.nextID(), at: at, note: "returned", parts: []*transaction{t}, amount: d}
		o.refunds = append(o.refunds, r)
		o.settle()
		list = append(list, s.emit("refunds/create", "REFUNDS_CREATE", o.id, encode(s.restRefund(o, r)), at)...)
		return append(list, s.changed(o, at)...), nil
	})
}

// Annotate changes what has nothing to do with money, which makes orders/updated all the same.
func (s *Server) Annotate(ctx context.Context, id, note string) error {
	return s.change(ctx, id, func(o *order, at time.Time) ([]sending, error) {
		o.note = note
		return s.changed(o, at), nil
	})
}

// Delete removes an order for good.
func (s *Server) Delete(ctx context.Context, id string) error {
	return s.change(ctx, id, func(o *order, at time.Time) ([]sending, error) {
		o.deleted, o.updated = true, at
		return s.emit("orders/delete", "ORDERS_DELETE", o.id, encode(object{"id": o.id}), at), nil
	})
}

// Dispute opens or moves on a chargeback of the whole order; status is Shopify Payments' word.
func (s *Server) Dispute(ctx context.Context, id, topic, status string) error {
	return s.change(ctx, id, func(o *order, at time.Time) ([]sending, error) {
		body := object{
			"id": o.id + 1_000_000_000, "order_id": o.id, "type": "chargeback", "amount": o.total.StringFixed(2), "currency": o.in.Currency,
			"reason": "fraudulent", "status": status, "initiated_at": stamp(o.created), "finalized_on": nil,
		}
		return s.emit(topic, enum(topic), o.id, encode(body), at), nil
	})
}

// TestOrderID is the order of the admin's test notification: beyond what a float holds.
const TestOrderID int64 = 820982911946154508

// TestNotification is what "send test notification" in the admin sends for a topic.
func (s *Server) TestNotification(ctx context.Context, topic string) error {
	s.mu.Lock()
	now := s.o.Now().UTC().Truncate(time.Second)
	o := &order{
		id: TestOrderID, customer: 115310627314723954, number: 1234, total: decimal.RequireFromString("388.00"), created: now, updated: now, financial: "voided",
		in: simulators.Order{Email: "jon@example.com", GivenName: "John", Surname: "Smith", Currency: "USD", Product: "IPod Nano - 8GB"},
	}
	var list []sending
	for _, h := range s.hooks {
		if h.admin && h.topic == enum(topic) {
			list = append(list, s.sending(h, s.uuid(), topic, o.id, encode(s.restOrder(o)), now, true))
		}
	}
	s.mu.Unlock()
	return s.send(ctx, list)
}

// Orders implements simulators.Shop.
func (s *Server) Orders() []simulators.OrderTruth {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]simulators.OrderTruth, len(s.orders))
	for i, o := range s.orders {
		out[i] = simulators.OrderTruth{
			ID: strconv.FormatInt(o.id, 10), RawStatus: o.financial, Email: o.in.Email, Status: o.means(),
			Total: o.total.StringFixed(2), Refunded: o.refunded().StringFixed(2), Currency: o.in.Currency,
		}
	}
	return out
}

// means is what Shopify's documentation says of the order's payment.
func (o *order) means() schemas.PaymentStatus {
	unpaid := o.financial == "pending" || o.financial == "authorized" || o.financial == "expired"
	switch {
	case unpaid && (o.deleted && o.financial != "expired" || !o.cancelled.IsZero()):
		return schemas.StatusCancelled
	case o.financial == "pending":
		return schemas.StatusPending
	case o.financial == "authorized":
		return schemas.StatusAuthorized
	case o.financial == "partially_paid":
		return schemas.StatusPartiallyPaid
	case o.financial == "paid":
		return schemas.StatusPaid
	case o.financial == "partially_refunded":
		return schemas.StatusPartiallyRefunded
	case o.financial == "refunded":
		return schemas.StatusRefunded
	case o.financial == "voided":
		return schemas.StatusVoided
	}
	return schemas.StatusExpired
}
