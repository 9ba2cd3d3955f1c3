package stripe

import (
	"encoding/json"
	"maps"
	"strconv"
	"strings"
)

// object is a JSON object of the API.
type object = map[string]any

func lower(currency string) string { return strings.ToLower(currency) }

// name is the shopper's, as cards have it.
func (p *payment) name() string { return strings.TrimSpace(p.order.GivenName + " " + p.order.Surname) }

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// shown is what events say of the shopper; nothing where they name the customer only.
func (p *payment) shown(text string) any {
	if p.customer != "" {
		return nil
	}
	return orNull(text)
}

func (p *payment) metadata() object { return object{"order_id": strconv.Itoa(1000 + p.number)} }

// intent is the payment intent as it stands. s.mu is held.
func (s *Server) intent(p *payment) object {
	o := object{
		"id": p.id, "object": "payment_intent", "amount": p.amount, "amount_capturable": 0, "amount_received": p.received,
		"canceled_at": nil, "cancellation_reason": orNull(p.reason), "capture_method": "automatic", "client_secret": p.id + "_secret_0",
		"created": p.created, "currency": lower(p.order.Currency), "customer": orNull(p.customer), "description": p.order.Product, "invoice": nil,
		"last_payment_error": nil, "latest_charge": orNull(p.charge), "livemode": s.o.Live, "metadata": p.metadata(), "next_action": nil,
		"payment_method_types": []string{"card"}, "receipt_email": p.shown(p.order.Email), "shipping": nil, "status": p.status,
	}
	if s.o.CaptureManually {
		o["capture_method"] = "manual"
	}
	if p.held {
		o["amount_capturable"] = p.amount
	}
	if p.status == "canceled" {
		o["canceled_at"] = s.o.Now().Unix()
	}
	if p.failed > 0 && p.received == 0 && !p.held {
		o["last_payment_error"] = object{"code": "card_declined", "decline_code": "insufficient_funds", "message": "Your card has insufficient funds.", "type": "card_error"}
	}
	return o
}

// chargeOf is the newest charge with that status. s.mu is held.
func (s *Server) chargeOf(p *payment, status string) object {
	o := object{
		"id": p.charge, "object": "charge", "amount": p.amount, "amount_captured": p.received, "amount_refunded": p.refunded,
		"billing_details": object{
			"address": object{"city": nil, "country": nil, "line1": nil, "line2": nil, "postal_code": nil, "state": nil},
			"email":   p.shown(p.order.Email), "name": p.shown(p.name()), "phone": p.shown(p.order.Phone),
		},
		"captured": p.received > 0, "created": s.o.Now().Unix(), "currency": lower(p.order.Currency), "customer": orNull(p.customer),
		"description": p.order.Product, "disputed": p.dispute != "", "failure_code": nil, "failure_message": nil, "invoice": nil,
		"livemode": s.o.Live, "metadata": p.metadata(),
		"outcome":        object{"network_status": "approved_by_network", "risk_level": "normal", "seller_message": "Payment complete.", "type": "authorized"},
		"paid":           status == "succeeded",
		"payment_intent": p.id,
		"payment_method_details": object{
			"card": object{"brand": "visa", "country": "US", "funding": "credit", "last4": "4242", "wallet": nil}, "type": "card",
		},
		"receipt_email": nil, "refunded": p.received > 0 && p.refunded == p.received, "shipping": nil, "status": status,
	}
	if status == "failed" {
		o["failure_code"], o["failure_message"] = "card_declined", "Your card has insufficient funds."
	}
	return o
}

// sessionOf is the Checkout session in that state. s.mu is held.
func (s *Server) sessionOf(p *payment, status string) object {
	paid := "unpaid"
	if p.received > 0 || p.held {
		paid = "paid"
	}
	return object{
		"id": p.session, "object": "checkout.session", "amount_subtotal": p.amount, "amount_total": p.amount,
		"client_reference_id": strconv.Itoa(1000 + p.number), "currency": lower(p.order.Currency), "customer": orNull(p.customer),
		"customer_details": object{"email": p.shown(p.order.Email), "name": p.shown(p.name()), "phone": p.shown(p.order.Phone), "tax_exempt": "none"},
		"expires_at":       p.created + 86400, "livemode": s.o.Live, "locale": nil, "metadata": object{}, "mode": "payment", "payment_intent": p.id,
		"payment_status": paid, "status": status, "subscription": nil, "total_details": object{"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
	}
}

// event is one event. Server.mu guards it.
type event struct {
	id, typ string
	created int64
	body    object
	pending map[*endpoint]bool // still to be delivered there
	failed  bool               // given up at one endpoint
}

// emit makes an event of a snapshot. s.mu is held.
func (s *Server) emit(typ string, snapshot, before object) *event {
	e := &event{id: s.id("evt_", 24), typ: typ, created: s.o.Now().Unix(), pending: map[*endpoint]bool{}}
	data := object{"object": snapshot}
	if before != nil {
		data["previous_attributes"] = before
	}
	e.body = object{
		"id": e.id, "object": "event", "api_version": "2024-06-20", "created": e.created, "data": data, "livemode": s.o.Live,
		"request": object{"id": s.id("req_", 14), "idempotency_key": nil}, "type": typ,
	}
	s.events = append(s.events, e)
	return e
}

// render is the event's body as it is sent and listed now: pending_webhooks counts down. s.mu is held.
func (e *event) render() json.RawMessage {
	body := maps.Clone(e.body)
	body["pending_webhooks"] = len(e.pending)
	b, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		panic("event of the stripe simulator: " + err.Error()) // a mistake in this file
	}
	return b
}
