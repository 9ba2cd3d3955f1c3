package paypal

import (
	"context"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Unfinished orders vanish: six hours to approve, and as many more to capture.
const (
	approveWithin = 6 * time.Hour
	captureWithin = 6 * time.Hour
)

// wholeCurrencies have no decimals at PayPal; HUF and TWD differ from ISO 4217.
var wholeCurrencies = []string{"HUF", "JPY", "TWD"}

// announce emits an event about a change that was made through the API. s.mu is not held.
func (s *Server) announce(ctx context.Context, a *account, typ, resourceType, summary string, resource object) error {
	s.mu.Lock()
	id := "WH-" + s.id(17) + "-" + s.id(17)
	self := s.publicURL + "/v1/notifications/webhooks-events/" + id
	e := object{
		"id": id, "event_version": "1.0", "create_time": s.o.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
		"resource_type": resourceType, "event_type": typ, "summary": summary, "resource": resource,
		"links": []object{link(self, "self", "GET"), link(self+"/resend", "resend", "POST")},
	}
	if resourceType != "sale" {
		e["resource_version"] = "2.0"
	}
	body := encode(e)
	s.mu.Unlock()
	return s.Emit(ctx, a.Name, Event{ID: id, Type: typ, Body: body})
}

func (s *Server) createOrder(a *account, r *http.Request, body []byte) (int, any, error) {
	in, err := decode(body)
	if err != nil {
		return 0, nil, err
	}
	if v := text(in, "intent"); v != "CAPTURE" && v != "AUTHORIZE" {
		return 0, nil, invalidRequest("/intent", "INVALID_PARAMETER_VALUE", "The value of a field is invalid.")
	}
	units, _ := in["purchase_units"].([]any)
	if len(units) == 0 || len(units) > 10 {
		return 0, nil, invalidRequest("/purchase_units", "INVALID_ARRAY_LENGTH", "Between 1 and 10 purchase units are required.")
	}
	for _, u := range units {
		unit, _ := u.(object)
		amount, _ := unit["amount"].(object)
		if err := checkMoney(amount); err != nil {
			return 0, nil, err
		}
		if unit["reference_id"] == nil {
			unit["reference_id"] = "default"
		}
		unit["payee"] = object{"merchant_id": a.MerchantID}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return a.once(s.o.Now(), r, func() (any, error) {
		id := s.id(17)
		self := s.publicURL + "/v2/checkout/orders/" + id
		o := object{
			"id": id, "intent": in["intent"], "purchase_units": units, "create_time": s.stamp(), "status": "CREATED",
			"links": []object{
				link(self, "self", "GET"), link("https://www.paypal.com/checkoutnow?token="+id, "approve", "GET"),
				link(self, "update", "PATCH"), link(self+"/capture", "capture", "POST"),
			},
		}
		if source, ok := in["payment_source"]; ok {
			o["payment_source"], o["status"] = source, "PAYER_ACTION_REQUIRED"
			o["links"] = []object{link(self, "self", "GET"), link("https://www.paypal.com/checkoutnow?token="+id, "payer-action", "GET")}
		}
		a.orders[id] = o
		return shaped(r, o), nil
	})
}

func checkMoney(amount object) error {
	currency, value := text(amount, "currency_code"), text(amount, "value")
	if _, ok := new(big.Rat).SetString(value); !ok || len(currency) != 3 || strings.ContainsAny(value, "eE/ ") {
		return invalidRequest("/purchase_units/@reference_id=='default'/amount/value", "INVALID_PARAMETER_SYNTAX", "The value of a field does not conform to the expected format.")
	}
	if slices.Contains(wholeCurrencies, currency) && strings.Contains(value, ".") {
		return unprocessable("DECIMALS_NOT_SUPPORTED", "Currency does not support decimals.")
	}
	return nil
}

// order returns one that has not vanished. s.mu is held.
func (s *Server) order(a *account, id string) (object, error) {
	o := a.orders[id]
	if o == nil {
		return nil, notFound("INVALID_RESOURCE_ID")
	}
	limit := approveWithin
	switch o["status"] {
	case "APPROVED":
		limit += captureWithin
	case "CREATED", "PAYER_ACTION_REQUIRED", "SAVED":
	default:
		return o, nil
	}
	if made, err := time.Parse(time.RFC3339, text(o, "create_time")); err == nil && s.o.Now().Sub(made) > limit {
		return nil, notFound("INVALID_RESOURCE_ID")
	}
	return o, nil
}

func (s *Server) getOrder(a *account, r *http.Request, _ []byte) (int, any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.order(a, r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	return 200, rawJSON(encode(a.withPayments(o))), nil
}

// withPayments is the order with its captures as they are now. Server.mu is held.
func (a *account) withPayments(o object) object {
	ids := a.captured[text(o, "id")]
	units, _ := o["purchase_units"].([]any)
	if len(ids) == 0 || len(units) == 0 {
		return o
	}
	out := normal(o)
	units, _ = out["purchase_units"].([]any)
	for i, id := range ids {
		// One capture a unit, in order; what is more belongs to the last unit.
		unit, ok := units[min(i, len(units)-1)].(object)
		if !ok {
			continue
		}
		list := []any{}
		if i >= len(units) {
			list, _ = nested(unit, "payments")["captures"].([]any)
		}
		unit["payments"] = object{"captures": append(list, a.captures[id])}
	}
	return out
}

// Approve is the buyer's click: the order becomes APPROVED with that payer, and CHECKOUT.ORDER.APPROVED is sent.
func (s *Server) Approve(ctx context.Context, accountName, orderID string, payer map[string]any) error {
	s.mu.Lock()
	a := s.accounts[accountName]
	if a == nil {
		s.mu.Unlock()
		return notFound("INVALID_ACCOUNT")
	}
	o, err := s.order(a, orderID)
	if err == nil && o["status"] != "CREATED" && o["status"] != "PAYER_ACTION_REQUIRED" {
		err = unprocessable("ORDER_ALREADY_APPROVED", "The order was approved before.")
	}
	if err != nil {
		s.mu.Unlock()
		return err
	}
	o["status"], o["update_time"] = "APPROVED", s.stamp()
	if payer != nil {
		o["payer"] = payer
	}
	copied, err := decode(encode(o))
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.announce(ctx, a, "CHECKOUT.ORDER.APPROVED", "checkout-order", "An order has been approved by buyer", copied)
}

func (s *Server) captureOrder(a *account, r *http.Request, _ []byte) (int, any, error) {
	var made []object
	s.mu.Lock()
	code, out, err := a.once(s.o.Now(), r, func() (any, error) {
		o, err := s.order(a, r.PathValue("id"))
		if err != nil {
			return nil, err
		}
		switch o["status"] {
		case "APPROVED":
		case "COMPLETED":
			return nil, unprocessable("ORDER_ALREADY_CAPTURED", "Order already captured. If 'intent=CAPTURE' only one capture per order is allowed.")
		case "PAYER_ACTION_REQUIRED":
			return nil, unprocessable("PAYER_ACTION_REQUIRED", "Transaction cannot complete successfully, instruct the buyer to return to PayPal.")
		default:
			return nil, unprocessable("ORDER_NOT_APPROVED", "Payer has not yet approved the Order for payment.")
		}
		if o["intent"] != "CAPTURE" {
			return nil, unprocessable("ACTION_DOES_NOT_MATCH_INTENT", "Order was created with an intent to 'AUTHORIZE'.")
		}
		units, _ := o["purchase_units"].([]any)
		for _, u := range units {
			c := s.newCapture(text(o, "id"), u.(object))
			a.captures[text(c, "id")] = c
			a.captured[text(o, "id")] = append(a.captured[text(o, "id")], text(c, "id"))
			made = append(made, c)
		}
		o["status"], o["update_time"] = "COMPLETED", s.stamp()
		o["links"] = []object{link(s.publicURL+"/v2/checkout/orders/"+text(o, "id"), "self", "GET")}
		return rawJSON(encode(o)), nil
	})
	s.mu.Unlock()
	if err != nil {
		return 0, nil, err
	}
	for _, c := range made {
		if err := s.announce(r.Context(), a, "PAYMENT.CAPTURE.COMPLETED", "capture", "Payment completed for "+money(c), c); err != nil {
			return 0, nil, err
		}
	}
	return code, out, nil
}

// newCapture books a purchase unit and puts the capture into it. s.mu is held.
func (s *Server) newCapture(orderID string, unit object) object {
	id := s.id(17)
	amount, _ := unit["amount"].(object)
	gross := object{"currency_code": amount["currency_code"], "value": amount["value"]}
	self := s.publicURL + "/v2/payments/captures/" + id
	c := object{
		"id": id, "status": "COMPLETED", "amount": gross, "final_capture": true, "disbursement_mode": "INSTANT",
		"seller_protection":  object{"status": "ELIGIBLE", "dispute_categories": []string{"ITEM_NOT_RECEIVED", "UNAUTHORIZED_TRANSACTION"}},
		"supplementary_data": object{"related_ids": object{"order_id": orderID}},
		"seller_receivable_breakdown": object{
			"gross_amount": gross, "net_amount": gross,
			"paypal_fee": object{"currency_code": amount["currency_code"], "value": "0.00"},
		},
		"create_time": s.stamp(), "update_time": s.stamp(),
		"links": []any{
			link(self, "self", "GET"), link(self+"/refund", "refund", "POST"),
			link(s.publicURL+"/v2/checkout/orders/"+orderID, "up", "GET"),
		},
	}
	for _, k := range []string{"custom_id", "invoice_id"} {
		if unit[k] != nil {
			c[k] = unit[k]
		}
	}
	unit["payments"] = object{"captures": []any{c}}
	return c
}

func money(o object) string {
	return text(o, "amount", "value") + " " + text(o, "amount", "currency_code")
}

// lookup answers a GET from one of the account's maps.
func (s *Server) lookup(m map[string]object, r *http.Request) (int, any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := m[r.PathValue("id")]
	if o == nil {
		return 0, nil, notFound("INVALID_RESOURCE_ID")
	}
	return 200, rawJSON(encode(o)), nil
}

func (s *Server) getCapture(a *account, r *http.Request, _ []byte) (int, any, error) {
	return s.lookup(a.captures, r)
}

func (s *Server) getRefund(a *account, r *http.Request, _ []byte) (int, any, error) {
	return s.lookup(a.refunds, r)
}

func (s *Server) getSale(a *account, r *http.Request, _ []byte) (int, any, error) {
	return s.lookup(a.sales, r)
}

func (s *Server) refundCapture(a *account, r *http.Request, body []byte) (int, any, error) {
	in, err := decode(body)
	if err != nil {
		return 0, nil, err
	}
	var refund object
	s.mu.Lock()
	code, out, err := a.once(s.o.Now(), r, func() (any, error) {
		c := a.captures[r.PathValue("id")]
		if c == nil {
			return nil, notFound("INVALID_RESOURCE_ID")
		}
		refund, err = s.newRefund(a, c, in)
		if err != nil {
			return nil, err
		}
		return shaped(r, refund), nil
	})
	s.mu.Unlock()
	if err != nil {
		return 0, nil, err
	}
	if refund != nil {
		if err := s.announce(r.Context(), a, "PAYMENT.CAPTURE.REFUNDED", "refund", "A "+money(refund)+" capture payment was refunded", refund); err != nil {
			return 0, nil, err
		}
	}
	return code, out, nil
}

// newRefund takes back all that is left, or the amount asked for. s.mu is held.
func (s *Server) newRefund(a *account, c, in object) (object, error) {
	switch c["status"] {
	case "COMPLETED", "PARTIALLY_REFUNDED":
	case "REFUNDED":
		return nil, unprocessable("CAPTURE_FULLY_REFUNDED", "The capture has already been fully refunded.")
	case "PENDING":
		return nil, unprocessable("PENDING_CAPTURE", "Cannot initiate a refund as the capture is pending.")
	default:
		return nil, unprocessable("INVALID_RESOURCE_STATUS", "The capture is not in a status that can be refunded.")
	}
	currency := text(c, "amount", "currency_code")
	total, _ := new(big.Rat).SetString(text(c, "amount", "value"))
	before := new(big.Rat)
	for _, r := range a.refunds {
		if kind, id := linked(normal(r), "up"); kind == "captures" && id == c["id"] {
			if v, ok := new(big.Rat).SetString(text(r, "amount", "value")); ok {
				before.Add(before, v)
			}
		}
	}
	if total == nil {
		total = new(big.Rat)
	}
	value := new(big.Rat).Sub(total, before)
	if amount, ok := in["amount"].(object); ok {
		if err := checkMoney(amount); err != nil {
			return nil, err
		}
		value.SetString(text(amount, "value"))
	}
	after := new(big.Rat).Add(before, value)
	if after.Cmp(total) > 0 || value.Sign() <= 0 {
		return nil, unprocessable("REFUND_AMOUNT_EXCEEDED", "The refund amount must be less than or equal to the capture amount that has not yet been refunded.")
	}
	places := 2
	if slices.Contains(wholeCurrencies, currency) {
		places = 0
	}
	part := func(v *big.Rat) object { return object{"currency_code": currency, "value": v.FloatString(places)} }
	id := s.id(17)
	refund := object{
		"id": id, "status": "COMPLETED", "amount": part(value), "create_time": s.stamp(), "update_time": s.stamp(),
		"seller_payable_breakdown": object{
			"gross_amount": part(value), "paypal_fee": part(new(big.Rat)), "net_amount": part(value),
			"total_refunded_amount": part(after),
		},
		"links": []any{
			link(s.publicURL+"/v2/payments/refunds/"+id, "self", "GET"),
			link(s.publicURL+"/v2/payments/captures/"+text(c, "id"), "up", "GET"),
		},
	}
	for _, k := range []string{"note_to_payer", "invoice_id", "custom_id"} {
		if in[k] != nil {
			refund[k] = in[k]
		}
	}
	c["status"] = "PARTIALLY_REFUNDED"
	if after.Cmp(total) == 0 {
		c["status"] = "REFUNDED"
	}
	c["update_time"] = s.stamp()
	a.refunds[id] = refund
	return refund, nil
}

// normal gives objects built in code the types that decoding gives.
func normal(o object) object {
	out, err := decode(encode(o))
	if err != nil {
		return o
	}
	return out
}
