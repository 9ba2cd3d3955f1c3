package woocommerce

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf16"
)

// object is a JSON object of the API whose members may stand in any order.
type object = map[string]any

// wallForm is how WooCommerce writes a time, always without a zone.
const wallForm = "2006-01-02T15:04:05"

// document is an order as the REST API v3 writes it, members in its order.
type document struct {
	ID               int64   `json:"id"`
	ParentID         int64   `json:"parent_id"`
	Status           string  `json:"status"`
	Currency         string  `json:"currency"`
	Version          string  `json:"version"`
	DateCreated      any     `json:"date_created"`
	DateModified     any     `json:"date_modified"`
	DiscountTotal    string  `json:"discount_total"`
	ShippingTotal    string  `json:"shipping_total"`
	Total            string  `json:"total"`
	TotalTax         string  `json:"total_tax"`
	CustomerID       int64   `json:"customer_id"`
	OrderKey         string  `json:"order_key"`
	Billing          object  `json:"billing"`
	Shipping         object  `json:"shipping"`
	PaymentMethod    string  `json:"payment_method"`
	PaymentTitle     string  `json:"payment_method_title"`
	TransactionID    string  `json:"transaction_id"`
	CreatedVia       string  `json:"created_via"`
	CustomerNote     string  `json:"customer_note"`
	DateCompleted    any     `json:"date_completed"`
	DatePaid         any     `json:"date_paid"`
	Number           string  `json:"number"`
	MetaData         []any   `json:"meta_data"`
	LineItems        []any   `json:"line_items"`
	TaxLines         []any   `json:"tax_lines"`
	ShippingLines    []any   `json:"shipping_lines"`
	FeeLines         []any   `json:"fee_lines"`
	CouponLines      []any   `json:"coupon_lines"`
	Refunds          []any   `json:"refunds"`
	PaymentURL       string  `json:"payment_url"`
	IsEditable       bool    `json:"is_editable"`
	NeedsPayment     bool    `json:"needs_payment"`
	NeedsProcessing  bool    `json:"needs_processing"`
	DateCreatedGMT   any     `json:"date_created_gmt"`
	DateModifiedGMT  any     `json:"date_modified_gmt"`
	DateCompletedGMT any     `json:"date_completed_gmt"`
	DatePaidGMT      any     `json:"date_paid_gmt"`
	CurrencySymbol   string  `json:"currency_symbol"`
	Links            *object `json:"_links,omitempty"`
}

var methodTitles = map[string]string{"stripe": "Credit card / debit card", "ppcp-gateway": "PayPal", "bacs": "Direct Bank Transfer", "cod": "Cash on delivery"}

// render writes an order as it stands. s.mu is held.
func (s *Server) render(o *order) []byte {
	b := o.buyer
	person := object{
		"first_name": b.GivenName, "last_name": b.Surname, "company": "", "address_1": "969 Market", "address_2": "",
		"city": "San Francisco", "state": "CA", "postcode": "94103", "country": "US", "phone": b.Phone,
	}
	billing := object{"email": b.Email}
	for k, v := range person {
		billing[k] = v
	}
	id, total := strconv.FormatInt(o.id, 10), o.total.StringFixed(2)
	key := fmt.Sprintf("wc_order_%013x", o.id*2654435761%(1<<52))
	needs := (o.status == "pending" || o.status == "failed") && o.total.IsPositive()
	refunds := make([]any, len(o.refunds))
	for i, r := range o.refunds {
		refunds[i] = object{"id": r.id, "reason": r.reason, "total": r.amount.Neg().StringFixed(2)}
	}
	d := document{
		ID: o.id, Status: o.status, Currency: b.Currency, Version: "9.4.2",
		DateCreated: s.wall(o.created), DateModified: s.wall(o.modified), DiscountTotal: "0.00", ShippingTotal: "0.00", Total: total, TotalTax: "0.00",
		OrderKey: key, Billing: billing, Shipping: person, PaymentMethod: o.method, PaymentTitle: methodTitles[o.method], TransactionID: o.transaction,
		CreatedVia: "checkout", DateCompleted: s.wall(o.complete), DatePaid: s.wall(o.paid), Number: id,
		MetaData: []any{object{"id": o.id * 10, "key": "_wc_order_attribution_utm_source", "value": "newsletter"}},
		LineItems: []any{object{
			"id": o.id*10 + 1, "name": b.Product, "product_id": 93, "variation_id": 0, "quantity": 1, "subtotal": total, "total": total,
			"total_tax": "0.00", "taxes": []any{}, "meta_data": []any{}, "sku": "BAR-93", "price": json.Number(o.total.String()),
		}},
		TaxLines: []any{}, ShippingLines: []any{}, FeeLines: []any{}, CouponLines: []any{}, Refunds: refunds,
		PaymentURL: s.publicURL + "/checkout/order-pay/" + id + "/?pay_for_order=true&key=" + key, IsEditable: o.status == "pending" || o.status == "on-hold",
		NeedsPayment: needs, NeedsProcessing: true,
		DateCreatedGMT: gmt(o.created), DateModifiedGMT: gmt(o.modified), DateCompletedGMT: gmt(o.complete), DatePaidGMT: gmt(o.paid), CurrencySymbol: "$",
		Links: &object{"self": []any{object{"href": s.publicURL + "/wp-json/wc/v3/orders/" + id}}},
	}
	return encode(d)
}

// wall is a time in the site's zone, null where there is none.
func (s *Server) wall(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.In(s.o.Zone).Format(wallForm)
}

func gmt(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(wallForm)
}

// encode writes JSON as PHP does: slashes and everything outside ASCII escaped.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err)) // nothing is encoded but what was made here
	}
	out := make([]byte, 0, b.Len())
	for _, r := range string(bytes.TrimRight(b.Bytes(), "\n")) {
		switch {
		case r == '/':
			out = append(out, '\\', '/')
		case r < 0x80:
			out = append(out, byte(r))
		default:
			for _, unit := range utf16.Encode([]rune{r}) {
				out = fmt.Appendf(out, "\\u%04x", unit)
			}
		}
	}
	return out
}
