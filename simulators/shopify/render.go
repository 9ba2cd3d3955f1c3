package shopify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/shopspring/decimal"
)

// object is a JSON object of the API.
type object = map[string]any

// zone is the shop's: Shopify writes times with its offset.
var zone = time.FixedZone("", -5*3600)

func stamp(t time.Time) string { return t.In(zone).Format(time.RFC3339) }

func stampOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return stamp(t)
}

// encode writes JSON as Shopify does: on one line, without escaping < and >.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err)) // only objects made here are encoded
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// decimals of an amount in the currency of o.
func (o *order) money(d decimal.Decimal) string {
	switch o.in.Currency {
	case "JPY", "KRW", "CLP", "VND", "ISK":
		return d.StringFixed(0)
	case "KWD", "BHD", "TND", "JOD", "OMR":
		return d.StringFixed(3)
	}
	return d.StringFixed(2)
}

func (o *order) set(d decimal.Decimal) object {
	m := object{"amount": o.money(d), "currency_code": o.in.Currency}
	return object{"shop_money": m, "presentment_money": m}
}

// restOrder is the order as REST and webhooks have it. s.mu is held.
func (s *Server) restOrder(o *order) object {
	address := object{
		"first_name": orNull(o.in.GivenName), "last_name": orNull(o.in.Surname), "name": orNull(o.fullName()), "phone": orNull(o.in.Phone),
		"address1": "Chestnut Street 92", "address2": "", "company": nil, "city": "Louisville", "zip": "40202",
		"province": "Kentucky", "province_code": "KY", "country": "United States", "country_code": "US",
	}
	refunds := []object{}
	for _, r := range o.refunds {
		refunds = append(refunds, s.restRefund(o, r))
	}
	var gateways []string
	for _, t := range o.transactions {
		if t.status == "success" && len(gateways) == 0 {
			gateways = append(gateways, "bogus")
		}
	}
	left := o.total.Sub(o.captured())
	return object{
		"id": o.id, "admin_graphql_api_id": fmt.Sprintf("gid://shopify/Order/%d", o.id), "name": fmt.Sprintf("#%d", o.number),
		"number": o.number - 1000, "order_number": o.number, "created_at": stamp(o.created), "updated_at": stamp(o.updated),
		"processed_at": stamp(o.created), "cancelled_at": stampOrNull(o.cancelled), "cancel_reason": orNull(o.reason), "closed_at": nil,
		"financial_status": o.financial, "fulfillment_status": nil, "currency": o.in.Currency, "presentment_currency": o.in.Currency,
		"total_price": o.money(o.total), "current_total_price": o.money(o.total.Sub(o.refunded())), "subtotal_price": o.money(o.total),
		"total_outstanding": o.money(left), "total_tax": o.money(decimal.Zero), "total_discounts": o.money(decimal.Zero),
		"total_shipping_price_set": o.set(decimal.Zero), "total_price_set": o.set(o.total),
		"email": o.in.Email, "contact_email": orNull(o.in.Email), "phone": orNull(o.in.Phone), "note": orNull(o.note), "tags": "",
		"note_attributes": []object{}, "discount_codes": []object{}, "payment_gateway_names": gateways, "source_name": "web", "test": false,
		"po_number": nil, "customer_locale": "en", "order_status_url": nil,
		"customer": object{
			"id": o.customer, "email": o.in.Email, "first_name": orNull(o.in.GivenName), "last_name": orNull(o.in.Surname), "phone": nil,
		},
		"billing_address": address, "shipping_address": address, "shipping_lines": []object{{"title": "Free Shipping", "price": o.money(decimal.Zero)}},
		"line_items": []object{{
			"id": o.id + 7, "name": o.in.Product, "title": o.in.Product, "sku": nil, "quantity": 1, "price": o.money(o.total),
		}},
		"refunds": refunds,
	}
}

func (o *order) fullName() string {
	switch {
	case o.in.GivenName == "":
		return o.in.Surname
	case o.in.Surname == "":
		return o.in.GivenName
	}
	return o.in.GivenName + " " + o.in.Surname
}

// unsettled is what of an authorization can still be captured.
func (o *order) unsettled() decimal.Decimal {
	held := decimal.Zero
	for _, t := range o.transactions {
		if t.status != "success" {
			continue
		}
		switch t.kind {
		case "authorization":
			held = held.Add(t.amount)
		case "capture", "void":
			held = held.Sub(t.amount)
		}
	}
	return decimal.Max(held, decimal.Zero)
}

func (s *Server) restTransaction(o *order, t *transaction) object {
	var parent any
	if t.parent != 0 {
		parent = t.parent
	}
	left := object{"amount": o.money(o.unsettled()), "currency": o.in.Currency}
	var code any
	if t.status == "failure" {
		code = "card_declined"
	}
	return object{
		"id": t.id, "order_id": o.id, "kind": t.kind, "status": t.status, "gateway": "bogus", "message": nil, "created_at": stamp(t.at),
		"processed_at": stamp(t.at), "test": false, "parent_id": parent, "amount": o.money(t.amount), "currency": o.in.Currency,
		"error_code": code, "payment_id": fmt.Sprintf("#%d.%d", o.number, t.id%100), "admin_graphql_api_id": fmt.Sprintf("gid://shopify/OrderTransaction/%d", t.id),
		"total_unsettled_set": object{"shop_money": left, "presentment_money": left},
	}
}

func (s *Server) restRefund(o *order, r *refund) object {
	parts := []object{}
	for _, t := range r.parts {
		parts = append(parts, s.restTransaction(o, t))
	}
	return object{
		"id": r.id, "order_id": o.id, "created_at": stamp(r.at), "processed_at": stamp(r.at), "note": orNull(r.note), "restock": false,
		"refund_line_items": []object{}, "order_adjustments": []object{}, "transactions": parts,
	}
}

// graphMoney writes amounts as GraphQL does: without the last zeros, but never without a decimal.
func (o *order) graphMoney(d decimal.Decimal) node {
	text := d.String()
	if d.IsInteger() {
		text = d.StringFixed(1)
	}
	m := node{"__typename": "MoneyV2", "amount": text, "currencyCode": o.in.Currency}
	return node{"__typename": "MoneyBag", "shopMoney": m, "presentmentMoney": m}
}

func utc(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}
