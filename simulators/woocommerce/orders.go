package woocommerce

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators"
)

// Topics of orders.
const (
	created  = "order.created"
	updated  = "order.updated"
	deleted  = "order.deleted"
	restored = "order.restored"
)

// order is one order. Times are UTC, to the second. Server.mu guards it.
type order struct {
	id             int64
	status         string
	beforeTrash    string
	buyer          simulators.Order
	total          decimal.Decimal
	method         string
	transaction    string
	refunds        []refund // newest first, as the API lists them
	created        time.Time
	modified       time.Time
	paid, complete time.Time // zero: not
	tie            uint64    // where it stands among orders of the same second: a database promises no order
}

type refund struct {
	id     int64
	reason string
	amount decimal.Decimal
	at     time.Time
}

func (o *order) refunded() decimal.Decimal {
	var sum decimal.Decimal
	for _, r := range o.refunds {
		sum = sum.Add(r.amount)
	}
	return sum
}

// paidStatus: WooCommerce counts these two as paid.
func paidStatus(status string) bool { return status == "processing" || status == "completed" }

// registered are the statuses that the store knows; to an unknown one it sets pending.
var registered = []string{"pending", "processing", "on-hold", "completed", "cancelled", "refunded", "failed", "checkout-draft", "pre-ordered"}

// Place implements simulators.Shop: a shopper submits the checkout.
func (s *Server) Place(ctx context.Context, in simulators.Order) (string, error) {
	total, err := decimal.NewFromString(in.Total)
	if err != nil || total.IsNegative() || len(in.Currency) != 3 {
		return "", fmt.Errorf("woocommerce simulator: %.20q %.10q is no total", in.Total, in.Currency)
	}
	s.mu.Lock()
	now := s.now()
	o := &order{
		id: s.nextID(), status: "pending", buyer: in, total: total, method: s.o.PaymentMethod, created: now, modified: now, tie: s.random.Uint64(),
	}
	id := strconv.FormatInt(o.id, 10)
	s.orders, s.byID[id] = append(s.orders, o), o
	draft := s.o.Faults.DraftNoise
	switch {
	case draft:
		o.status = "checkout-draft"
	case o.method == "cod":
		o.status = "processing" // the money comes with the parcel
	case o.method == "bacs":
		o.status = "on-hold"
	}
	s.mu.Unlock()
	if draft {
		if err := s.fire(ctx, updated, o); err != nil {
			return "", err
		}
		s.mu.Lock()
		o.status, o.modified = "pending", s.now()
		s.mu.Unlock()
	}
	return id, s.fire(ctx, created, o, updated)
}

// find returns the order of that id, nil where there is none. s.mu is held.
func (s *Server) find(id string) *order { return s.byID[id] }

// edit alters the order of that id and announces it as updated.
func (s *Server) edit(ctx context.Context, id string, alter func(*order) error) error {
	s.mu.Lock()
	o := s.find(id)
	if o == nil || o.status == "trash" {
		s.mu.Unlock()
		return fmt.Errorf("woocommerce simulator: there is no order %s", id)
	}
	err := alter(o)
	if err == nil {
		o.modified = s.now()
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.fire(ctx, updated, o)
}

// become sets a status as WooCommerce does: it asks for no order of steps, and dates the first payment. s.mu is held.
func (s *Server) become(o *order, status string) {
	if !slices.Contains(registered, status) {
		status = "pending"
	}
	o.status = status
	now := s.now()
	if paidStatus(status) && o.paid.IsZero() && (o.method != "cod" || status == "completed") {
		o.paid = now
	}
	if status == "completed" && o.complete.IsZero() {
		o.complete = now
	}
	if rest := o.total.Sub(o.refunded()); status == "refunded" && rest.IsPositive() {
		o.refunds = slices.Insert(o.refunds, 0, refund{s.nextID(), "Order fully refunded.", rest, now})
	}
}

// SetStatus is an administrator's hand: any status may follow any other.
func (s *Server) SetStatus(ctx context.Context, id, status string) error {
	return s.edit(ctx, id, func(o *order) error { s.become(o, strings.TrimPrefix(status, "wc-")); return nil })
}

// Pay implements simulators.Shop: the gateway reports the payment, or the parcel was paid at the door.
func (s *Server) Pay(ctx context.Context, id string) error {
	return s.edit(ctx, id, func(o *order) error {
		switch {
		case o.method == "cod" && o.status == "processing":
			s.become(o, "completed")
			return nil
		case o.status == "pending" || o.status == "on-hold" || o.status == "failed" || o.status == "cancelled":
			s.become(o, "processing")
			o.transaction = s.transaction(o)
			return nil
		}
		return fmt.Errorf("woocommerce simulator: order %s is %s and takes no payment", id, o.status)
	})
}

// transaction is the gateway's own id. s.mu is held.
func (s *Server) transaction(o *order) string {
	switch o.method {
	case "stripe":
		return fmt.Sprintf("pi_3%020d", s.random.Uint64())
	case "ppcp-gateway":
		return strings.ToUpper(fmt.Sprintf("%017s", strconv.FormatUint(s.random.Uint64(), 36)))[:17]
	}
	return ""
}

// Fail implements simulators.Shop: the gateway declined.
func (s *Server) Fail(ctx context.Context, id string) error {
	return s.edit(ctx, id, func(o *order) error {
		if o.status != "pending" && o.status != "on-hold" {
			return fmt.Errorf("woocommerce simulator: order %s is %s and has no payment to decline", id, o.status)
		}
		s.become(o, "failed")
		return nil
	})
}

// Cancel implements simulators.Shop.
func (s *Server) Cancel(ctx context.Context, id string) error {
	return s.edit(ctx, id, func(o *order) error { s.become(o, "cancelled"); return nil })
}

// Refund implements simulators.Shop. What is refunded in part has no status of its own.
func (s *Server) Refund(ctx context.Context, id, amount string) error {
	sum, err := decimal.NewFromString(amount)
	if err != nil || !sum.IsPositive() {
		return fmt.Errorf("woocommerce simulator: %.20q is no amount to refund", amount)
	}
	return s.edit(ctx, id, func(o *order) error {
		if o.paid.IsZero() || sum.GreaterThan(o.total.Sub(o.refunded())) {
			return fmt.Errorf("woocommerce simulator: order %s has no %s to refund", id, amount)
		}
		o.refunds = slices.Insert(o.refunds, 0, refund{s.nextID(), "Sold out", sum, s.now()})
		if o.refunded().Equal(o.total) {
			s.become(o, "refunded")
		}
		return nil
	})
}

// Touch opens an order in the admin pages, which on some versions dates it anew and announces it unchanged.
func (s *Server) Touch(ctx context.Context, id string) error {
	return s.edit(ctx, id, func(*order) error { return nil })
}

// Trash moves an order to the trash.
func (s *Server) Trash(ctx context.Context, id string) error {
	return s.move(ctx, id, deleted, func(o *order) bool {
		if o.status == "trash" {
			return false
		}
		o.beforeTrash, o.status = o.status, "trash"
		return true
	})
}

// Restore takes an order out of the trash.
func (s *Server) Restore(ctx context.Context, id string) error {
	return s.move(ctx, id, restored, func(o *order) bool {
		if o.status != "trash" {
			return false
		}
		o.beforeTrash, o.status = "", o.beforeTrash
		return true
	})
}

func (s *Server) move(ctx context.Context, id, topic string, how func(*order) bool) error {
	s.mu.Lock()
	o := s.find(id)
	moved := o != nil && how(o)
	if moved {
		o.modified = s.now()
	}
	s.mu.Unlock()
	if !moved {
		return fmt.Errorf("woocommerce simulator: order %s cannot be moved", id)
	}
	return s.fire(ctx, topic, o)
}

// Orders implements simulators.Shop.
func (s *Server) Orders() []simulators.OrderTruth {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]simulators.OrderTruth, len(s.orders))
	for i, o := range s.orders {
		out[i] = simulators.OrderTruth{
			ID: strconv.FormatInt(o.id, 10), RawStatus: o.status, Email: o.buyer.Email, Status: o.meaning(),
			Total: o.buyer.Total, Refunded: o.refunded().String(), Currency: o.buyer.Currency,
		}
	}
	return out
}

// meaning is what the documentation says of the order's status.
func (o *order) meaning() schemas.PaymentStatus {
	status := o.status
	if status == "trash" {
		status = o.beforeTrash
	}
	back := o.refunded()
	switch status {
	case "checkout-draft":
		return o.unlessTrashed(schemas.StatusDraft)
	case "pending", "on-hold":
		return o.unlessTrashed(schemas.StatusPending)
	case "failed":
		return o.unlessTrashed(schemas.StatusFailed)
	case "cancelled":
		return schemas.StatusCancelled
	case "refunded":
		return schemas.StatusRefunded
	case "processing", "completed":
		switch {
		case o.method == "cod" && o.paid.IsZero() && o.total.IsPositive():
			return o.unlessTrashed(schemas.StatusPending)
		case back.IsPositive() && back.LessThan(o.total):
			return schemas.StatusPartiallyRefunded
		}
		return schemas.StatusPaid
	}
	return schemas.StatusUnknown
}

// unlessTrashed: the trash cancels what was not paid.
func (o *order) unlessTrashed(s schemas.PaymentStatus) schemas.PaymentStatus {
	if o.status == "trash" {
		return schemas.StatusCancelled
	}
	return s
}
