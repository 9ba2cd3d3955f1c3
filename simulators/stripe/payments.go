package stripe

import (
	"context"
	"fmt"

	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators"
)

// payment is one payment intent with all that belongs to it. Server.mu guards it.
type payment struct {
	order               simulators.Order
	id, charge, session string
	customer            string // empty: a guest
	number              int
	created             int64
	amount              int64 // in the smallest unit
	received, refunded  int64
	status, reason      string
	held                bool // authorized, not captured
	failed              int
	dispute, disputed   string // id, and its status
	refunds             []object
}

// exponents are the currencies whose smallest unit is not a hundredth.
var exponents = map[string]int32{"JPY": 0, "KRW": 0, "CLP": 0, "VND": 0, "XAF": 0, "MGA": 0, "KWD": 3, "BHD": 3, "TND": 3}

func exponentOf(currency string) int32 {
	if e, ok := exponents[currency]; ok {
		return e
	}
	return 2
}

func minor(text, currency string) (int64, error) {
	d, err := decimal.NewFromString(text)
	if err != nil {
		return 0, fmt.Errorf("stripe simulator: amount %q: %w", text, err)
	}
	if d = d.Shift(exponentOf(currency)); !d.IsInteger() || d.Sign() < 0 {
		return 0, fmt.Errorf("stripe simulator: amount %q %s is no whole number of the smallest unit", text, currency)
	}
	return d.IntPart(), nil
}

func major(units int64, currency string) string {
	return decimal.New(units, -exponentOf(currency)).StringFixed(exponentOf(currency))
}

// change runs f on a payment and sends the events that it makes.
func (s *Server) change(ctx context.Context, id string, f func(p *payment) error) error {
	s.mu.Lock()
	p := s.payments[id]
	if p == nil {
		s.mu.Unlock()
		return fmt.Errorf("stripe simulator: there is no payment intent %q", id)
	}
	before := len(s.events)
	err := f(p)
	list := s.plan(s.events[before:])
	s.mu.Unlock()
	for _, d := range list {
		if full := s.sends.Add(ctx, d, d.due); full != nil {
			return full
		}
	}
	return err
}

func refuse(p *payment, what string) error {
	return fmt.Errorf("stripe simulator: payment intent %s is %s and cannot be %s", p.id, p.status, what)
}

// Place implements simulators.Shop: the shopper opens the checkout.
func (s *Server) Place(ctx context.Context, o simulators.Order) (string, error) {
	amount, err := minor(o.Total, o.Currency)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	p := &payment{order: o, amount: amount, status: "requires_payment_method", created: s.o.Now().Unix(), number: len(s.order) + 1}
	p.id = s.id("pi_", 24)
	if s.o.CustomersOnly {
		p.customer = s.id("cus_", 14)
	}
	if !s.o.NoSessions {
		p.session = s.id("cs_test_", 58)
	}
	s.payments[p.id] = p
	s.order = append(s.order, p)
	s.mu.Unlock()
	return p.id, s.change(ctx, p.id, func(p *payment) error { s.emit("payment_intent.created", s.intent(p), nil); return nil })
}

// Pay implements simulators.Shop: the card is charged. With CaptureManually the money is held until Capture.
func (s *Server) Pay(ctx context.Context, id string) error {
	return s.change(ctx, id, func(p *payment) error {
		if p.status != "requires_payment_method" {
			return refuse(p, "paid")
		}
		p.charge = s.id("ch_", 24)
		before := object{"status": p.status}
		if s.o.CaptureManually {
			p.held, p.status = true, "requires_capture"
			s.emit("charge.succeeded", s.chargeOf(p, "succeeded"), nil)
			s.emit("payment_intent.amount_capturable_updated", s.intent(p), before)
		} else {
			p.status, p.received = "succeeded", p.amount
			s.emit("charge.succeeded", s.chargeOf(p, "succeeded"), nil)
			s.emit("payment_intent.succeeded", s.intent(p), nil)
		}
		if p.session != "" {
			s.emit("checkout.session.completed", s.sessionOf(p, "complete"), nil)
		}
		return nil
	})
}

// Capture takes held money; the rest of it is let go. amount is a decimal text; empty: all.
func (s *Server) Capture(ctx context.Context, id, amount string) error {
	return s.change(ctx, id, func(p *payment) error {
		if !p.held {
			return refuse(p, "captured")
		}
		units := p.amount
		if amount != "" {
			var err error
			if units, err = minor(amount, p.order.Currency); err != nil {
				return err
			}
		}
		p.held, p.status, p.received = false, "succeeded", min(units, p.amount)
		s.emit("charge.captured", s.chargeOf(p, "succeeded"), object{"captured": false, "amount_captured": 0})
		s.emit("payment_intent.succeeded", s.intent(p), nil)
		return nil
	})
}

// Fail implements simulators.Shop: the card is declined, and the shopper may try another.
func (s *Server) Fail(ctx context.Context, id string) error {
	return s.change(ctx, id, func(p *payment) error {
		if p.status != "requires_payment_method" {
			return refuse(p, "declined")
		}
		p.failed++
		p.charge = s.id("ch_", 24)
		s.emit("charge.failed", s.chargeOf(p, "failed"), nil)
		s.emit("payment_intent.payment_failed", s.intent(p), nil)
		return nil
	})
}

// Cancel implements simulators.Shop. What was held is let go; what was paid has to be refunded instead.
func (s *Server) Cancel(ctx context.Context, id string) error {
	return s.change(ctx, id, func(p *payment) error {
		if p.status == "succeeded" || p.status == "canceled" {
			return refuse(p, "canceled")
		}
		held := p.held
		p.status, p.reason, p.held = "canceled", "requested_by_customer", false
		if held {
			c := s.chargeOf(p, "succeeded")
			c["captured"], c["amount_captured"], c["amount_refunded"], c["refunded"] = false, 0, p.amount, true
			s.emit("charge.refunded", c, object{"amount_refunded": 0, "refunded": false})
		}
		s.emit("payment_intent.canceled", s.intent(p), nil)
		if p.session != "" && !held {
			s.emit("checkout.session.expired", s.sessionOf(p, "expired"), nil)
		}
		return nil
	})
}

// Refund implements simulators.Shop: it is told of as the charge's running total and as a refund.
func (s *Server) Refund(ctx context.Context, id, amount string) error {
	return s.change(ctx, id, func(p *payment) error {
		units, err := minor(amount, p.order.Currency)
		if err != nil {
			return err
		}
		if p.status != "succeeded" || units == 0 || p.refunded+units > p.received {
			return refuse(p, "refunded by "+amount)
		}
		before := object{"amount_refunded": p.refunded}
		p.refunded += units
		r := object{
			"id": s.id("re_", 24), "object": "refund", "amount": units, "balance_transaction": s.id("txn_", 24), "charge": p.charge,
			"created": s.o.Now().Unix(), "currency": lower(p.order.Currency), "metadata": object{}, "payment_intent": p.id,
			"reason": "requested_by_customer", "receipt_number": nil, "status": "succeeded",
		}
		p.refunds = append(p.refunds, r)
		s.emit("charge.refunded", s.chargeOf(p, "succeeded"), before)
		s.emit("refund.created", r, nil)
		return nil
	})
}

// FailRefund makes the newest refund fail, as banks do days later: its money is the shop's again.
func (s *Server) FailRefund(ctx context.Context, id string) error {
	return s.change(ctx, id, func(p *payment) error {
		if len(p.refunds) == 0 {
			return refuse(p, "told of a failed refund")
		}
		r := object{}
		for k, v := range p.refunds[len(p.refunds)-1] {
			r[k] = v
		}
		p.refunds = p.refunds[:len(p.refunds)-1]
		p.refunded -= r["amount"].(int64)
		r["status"], r["failure_reason"] = "failed", "expired_or_canceled_card"
		s.emit("refund.failed", r, object{"status": "succeeded"})
		s.emit("charge.refund.updated", r, object{"status": "succeeded"})
		return nil
	})
}

// Dispute opens a dispute of the whole payment; status is Stripe's word, such as needs_response.
func (s *Server) Dispute(ctx context.Context, id, status string) error {
	return s.change(ctx, id, func(p *payment) error {
		if p.status != "succeeded" {
			return refuse(p, "disputed")
		}
		typ := "charge.dispute.updated"
		if p.dispute == "" {
			p.dispute, typ = s.id("du_", 24), "charge.dispute.created"
		}
		if status == "won" || status == "lost" || status == "warning_closed" {
			typ = "charge.dispute.closed"
		}
		p.disputed = status
		s.emit(typ, object{
			"id": p.dispute, "object": "dispute", "amount": p.received, "charge": p.charge, "created": s.o.Now().Unix(),
			"currency": lower(p.order.Currency), "evidence_details": object{"due_by": s.o.Now().Unix() + 14*86400}, "livemode": s.o.Live,
			"metadata": object{}, "payment_intent": p.id, "reason": "product_not_received", "status": status,
		}, nil)
		return nil
	})
}

// Orders implements simulators.Shop.
func (s *Server) Orders() []simulators.OrderTruth {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]simulators.OrderTruth, len(s.order))
	for i, p := range s.order {
		out[i] = simulators.OrderTruth{
			ID: p.id, RawStatus: p.status, Email: p.order.Email, Status: p.truth(),
			Total: p.order.Total, Refunded: major(p.refunded, p.order.Currency), Currency: p.order.Currency,
		}
	}
	return out
}

// truth is where the money is.
func (p *payment) truth() schemas.PaymentStatus {
	switch {
	case p.disputed == "lost":
		return schemas.StatusChargedBack
	case p.disputed == "needs_response" || p.disputed == "under_review":
		return schemas.StatusDisputed
	case p.refunded > 0 && p.refunded == p.received:
		return schemas.StatusRefunded
	case p.refunded > 0:
		return schemas.StatusPartiallyRefunded
	case p.received > 0 && p.received < p.amount:
		return schemas.StatusPartiallyPaid
	case p.received > 0 || p.status == "succeeded":
		return schemas.StatusPaid
	case p.held:
		return schemas.StatusAuthorized
	case p.status == "canceled" && p.charge != "" && p.failed == 0:
		return schemas.StatusVoided
	case p.status == "canceled":
		return schemas.StatusCancelled
	case p.failed > 0:
		return schemas.StatusFailed
	}
	return schemas.StatusPending
}
