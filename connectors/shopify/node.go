package shopify

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/money"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

// Beginnings of GraphQL's ids.
const (
	gidOrder       = "gid://shopify/Order/"
	gidTransaction = "gid://shopify/OrderTransaction/"
	gidCustomer    = "gid://shopify/Customer/"
)

// nodeListMax is how many items and transactions of an order are asked for. A list that is full may not be all.
const nodeListMax = 10

// memberRefunded is where a translated node says how much was refunded; REST has no such member.
const memberRefunded = "total_refunded"

// node reads an order as GraphQL gives it. It is translated into REST's words, so that both are read by the same rules.
// Its payments become records of their own where the order alone does not say how much was received.
func (r *reader) node() ([]schemas.OrderEvent, error) {
	o, err := translated(r.body)
	if err != nil {
		return nil, err
	}
	rec, err := r.order(o)
	if err != nil {
		return nil, err
	}
	out := []schemas.OrderEvent{rec}
	part := o.Text("financial_status") == "partially_paid"
	if !part && len(r.body.Objects("transactions")) >= nodeListMax {
		return out, nil // a sum of some of them would be wrong; the order's own amount is not
	}
	var received []object
	for _, tx := range r.body.Objects("transactions") {
		kind := tx.Text("kind")
		if tx.Text("status") == "SUCCESS" && (kind == "SALE" || kind == "CAPTURE") && len(received) < transactionsMax {
			received = append(received, tx)
		}
	}
	if len(received) == 0 || len(received) == 1 && !part {
		return out, nil
	}
	own := r.topic
	defer func() { r.topic = own }()
	r.topic = topicTransaction // what such a record is when a webhook brings it
	for i, tx := range received {
		with, err := translatedTransaction(tx, rec.RootID)
		if err == nil {
			rec, err = r.transaction(with, strictjson.AppendCanonical(nil, map[string]any(with)))
		}
		if err != nil {
			return nil, fmt.Errorf("transactions[%d].%w", i, err)
		}
		rec.DeliveryIDs = []string{}
		out = append(out, rec)
	}
	return out, nil
}

// plainNames are the members that only have another name.
var plainNames = map[string]string{
	"name": "name", "createdAt": "created_at", "updatedAt": "updated_at", "processedAt": "processed_at",
	"cancelledAt": "cancelled_at", "closedAt": "closed_at", "test": "test", "email": "email", "phone": "phone",
	"note": "note", "poNumber": "po_number", "sourceName": "source_name", "currencyCode": "currency",
	"presentmentCurrencyCode": "presentment_currency", "paymentGatewayNames": "payment_gateway_names",
	"statusPageUrl": "order_status_url", "customerLocale": "customer_locale",
}

// moneyNames are the amounts, in the shop's currency.
var moneyNames = map[string]string{
	"totalPriceSet": "total_price", "currentTotalPriceSet": "current_total_price", "totalOutstandingSet": "total_outstanding",
	"subtotalPriceSet": "subtotal_price", "totalTaxSet": "total_tax", "totalDiscountsSet": "total_discounts",
	"totalRefundedSet": memberRefunded,
}

var addressNames = map[string]string{
	"firstName": "first_name", "lastName": "last_name", "name": "name", "phone": "phone", "company": "company",
	"address1": "address1", "address2": "address2", "city": "city", "provinceCode": "province_code", "province": "province",
	"zip": "zip", "countryCodeV2": "country_code",
}

func renamed(from object, names map[string]string) map[string]any {
	if from == nil {
		return nil
	}
	to := make(map[string]any, len(names))
	for old, name := range names {
		if v, ok := from[old]; ok {
			to[name] = v
		}
	}
	return to
}

// translated is a node in REST's words.
func translated(node object) (object, error) {
	id, err := gid(node, "id", gidOrder)
	if err != nil {
		return nil, err
	}
	if _, ok := node["displayFinancialStatus"]; !ok {
		return nil, errors.New("displayFinancialStatus: missing")
	}
	o := object(renamed(node, plainNames))
	o["id"] = strictjson.Number(id)
	o["financial_status"] = strings.ToLower(node.Text("displayFinancialStatus"))
	o["cancel_reason"] = strings.ToLower(node.Text("cancelReason"))
	o["fulfillment_status"] = fulfillment(node.Text("displayFulfillmentStatus"))
	for from, to := range moneyNames {
		if err := shopMoney(node, from, o, to, node.Text("currencyCode")); err != nil {
			return nil, err
		}
	}
	if err := shopMoney(node, "totalShippingPriceSet", o, "shipping", node.Text("currencyCode")); err != nil {
		return nil, err
	}
	if o.Has("shipping") {
		o["total_shipping_price_set"] = map[string]any{"shop_money": map[string]any{"amount": o["shipping"]}}
	}
	if c := node.Object("customer"); c != nil {
		id, err := gid(c, "id", gidCustomer)
		if err != nil {
			return nil, prefixed("customer", err)
		}
		o["customer"] = map[string]any{"id": strictjson.Number(id), "first_name": c["firstName"], "last_name": c["lastName"]}
	}
	for from, to := range map[string]string{"billingAddress": "billing_address", "shippingAddress": "shipping_address"} {
		if a := node.Object(from); a != nil {
			o[to] = renamed(a, addressNames)
		}
	}
	if s := node.Object("shippingLine"); s != nil {
		o["shipping_lines"] = []any{map[string]any{"title": s["title"]}}
	}
	o["tags"] = strings.Join(texts(node, "tags"), ", ")
	var codes, attributes, items []any
	for _, code := range texts(node, "discountCodes") {
		codes = append(codes, map[string]any{"code": code})
	}
	for _, a := range node.Objects("customAttributes") {
		attributes = append(attributes, map[string]any{"name": a["key"], "value": a["value"]})
	}
	nodes := node.Objects("lineItems", "nodes")
	for _, item := range nodes {
		if len(nodes) >= nodeListMax {
			delete(item, "quantity") // a sum of some of them would be wrong
		}
		items = append(items, map[string]any(item))
	}
	o["discount_codes"], o["note_attributes"], o["line_items"] = codes, attributes, items
	return o, nil
}

func translatedTransaction(tx object, order string) (object, error) {
	id, err := gid(tx, "id", gidTransaction)
	if err != nil {
		return nil, err
	}
	o := object(renamed(tx, map[string]string{"gateway": "gateway", "createdAt": "created_at", "processedAt": "processed_at"}))
	o["id"], o["order_id"] = strictjson.Number(id), strictjson.Number(order)
	o["kind"], o["status"] = strings.ToLower(tx.Text("kind")), strings.ToLower(tx.Text("status"))
	o["error_code"] = strings.ToLower(tx.Text("errorCode"))
	o["currency"] = tx.Text("amountSet", "shopMoney", "currencyCode")
	if err := shopMoney(tx, "amountSet", o, "amount", ""); err != nil {
		return nil, err
	}
	left := object{}
	if err := shopMoney(tx, "totalUnsettledSet", left, "amount", ""); err != nil {
		return nil, err
	}
	if left.Has("amount") {
		left["currency"] = tx.Text("totalUnsettledSet", "shopMoney", "currencyCode")
		o["total_unsettled_set"] = map[string]any{"shop_money": map[string]any(left)}
	}
	if parent := tx.Object("parentTransaction"); parent != nil {
		of, err := gid(parent, "id", gidTransaction)
		if err != nil {
			return nil, prefixed("parentTransaction", err)
		}
		o["parent_id"] = strictjson.Number(of)
	}
	return o, nil
}

// gid is the number in one of GraphQL's ids.
func gid(o object, name, prefix string) (string, error) {
	text := o.Text(name)
	id, ok := strings.CutPrefix(text, prefix)
	if !ok || !idForm.MatchString(id) {
		return "", fmt.Errorf("%s: %.60q is not of the form %s123", name, text, prefix)
	}
	return id, nil
}

// shopMoney writes from's amount to o under name, with as many decimals as the currency has: GraphQL leaves zeros out.
func shopMoney(from object, member string, o object, name, currency string) error {
	m := from.Object(member, "shopMoney")
	if m == nil {
		return nil
	}
	a, err := amountOf(m, "amount", cmp.Or(m.Text("currencyCode"), currency))
	if err != nil || a == nil {
		return prefixed(member+".shopMoney", err)
	}
	exact, err := money.Parse(a.Value, a.Currency)
	if err != nil {
		return prefixed(member+".shopMoney", err)
	}
	o[name] = exact.Format(Type)
	return nil
}

// fulfillment is GraphQL's word as REST has it: null, partial, fulfilled, restocked. Others have no word there.
func fulfillment(word string) string {
	switch word {
	case "UNFULFILLED":
		return ""
	case "PARTIALLY_FULFILLED":
		return "partial"
	}
	return strings.ToLower(word)
}

func texts(o object, name string) []string {
	list, _ := o.At(name).([]any)
	out := make([]string, 0, len(list))
	for _, v := range list {
		if s, ok := v.(string); ok && strings.TrimSpace(s) != "" {
			out = append(out, s)
		}
	}
	return out
}
