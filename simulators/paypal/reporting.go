package paypal

import (
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Bounds of transaction search.
const (
	ReportWindowDays = 31
	ReportPageMax    = 500
)

// reportTime is how reporting writes dates: an offset without colon, which RFC 3339 does not allow.
const reportTime = "2006-01-02T15:04:05-0700"

// entry is one line of the account's ledger.
type entry struct {
	id, reference, referenceType, code, status string
	amount, fee, currency, custom, invoice     string
	at                                         time.Time
}

// learn folds an emitted event into the objects that the APIs show, so that what was announced can be read. Server.mu
// is held. What it does not understand it leaves.
func (a *account) learn(typ string, body []byte) {
	e, err := decode(body)
	if err != nil {
		return
	}
	r, ok := e["resource"].(object)
	id := text(object{"r": r}, "r", "id")
	if !ok || id == "" {
		return
	}
	switch kind := text(e, "resource_type"); {
	case kind == "checkout-order":
		a.orders[id] = r
	case kind == "capture":
		a.learnCapture(id, r)
	case kind == "refund":
		a.refunds[id] = r
		_, capture := linked(r, "up")
		if c := a.captures[capture]; c != nil {
			c["status"] = "REFUNDED"
			if text(r, "seller_payable_breakdown", "total_refunded_amount", "value") != text(c, "amount", "value") {
				c["status"] = "PARTIALLY_REFUNDED"
			}
		}
		a.book(entry{
			id: id, reference: capture, referenceType: "TXN", code: backCode(typ), amount: "-" + text(r, "amount", "value"),
			currency: text(r, "amount", "currency_code"), at: parseTime(text(r, "update_time")),
		})
	case kind == "sale" && text(r, "sale_id") == "":
		a.sales[id] = r
		if sub := text(r, "billing_agreement_id"); sub != "" {
			if _, known := a.booked[id]; !known {
				a.payments[sub] = append(a.payments[sub], id)
			}
		}
		a.book(entry{
			id: id, reference: text(r, "billing_agreement_id"), referenceType: "SUB", code: "T0002",
			amount: text(r, "amount", "total"), fee: text(r, "transaction_fee", "value"), currency: text(r, "amount", "currency"),
			custom: text(r, "custom"), at: parseTime(text(r, "update_time")),
		})
	case kind == "sale":
		if sale := a.sales[text(r, "sale_id")]; sale != nil {
			sale["state"] = "refunded"
		}
		a.book(entry{
			id: id, reference: text(r, "sale_id"), referenceType: "TXN", code: backCode(typ), amount: "-" + text(r, "amount", "total"),
			currency: text(r, "amount", "currency"), at: parseTime(text(r, "update_time")),
		})
	case kind == "subscription":
		a.subscriptions[id] = r
		if plan := text(r, "plan_id"); plan != "" && a.plans[plan] == nil {
			a.plans[plan] = object{
				"id": plan, "name": "Plan " + plan, "product_id": "PROD-" + strings.TrimPrefix(plan, "P-"), "status": "ACTIVE",
				"create_time": r["create_time"], "links": []object{},
			}
		}
	case kind == "plan" && strings.HasPrefix(typ, "BILLING.PLAN."):
		a.plans[id] = r
	}
}

// backCode tells money that the merchant gave back from money that PayPal took back.
func backCode(typ string) string {
	if strings.HasSuffix(typ, ".REVERSED") {
		return "T1106"
	}
	return "T1107"
}

// learnCapture books a capture and completes its order.
func (a *account) learnCapture(id string, r object) {
	order := text(r, "supplementary_data", "related_ids", "order_id")
	if kind, up := linked(r, "up"); order == "" && kind == "orders" {
		order = up
	}
	if a.captures[id] == nil && order != "" {
		a.captured[order] = append(a.captured[order], id)
	}
	a.captures[id] = r
	if o := a.orders[order]; o != nil && r["status"] == "COMPLETED" {
		o["status"] = "COMPLETED"
	}
	a.book(entry{
		id: id, reference: order, referenceType: "ODR", code: "T0006",
		status: map[string]string{"PENDING": "P", "DECLINED": "D"}[text(r, "status")], amount: text(r, "amount", "value"),
		fee: text(r, "seller_receivable_breakdown", "paypal_fee", "value"), currency: text(r, "amount", "currency_code"),
		custom: text(r, "custom_id"), invoice: text(r, "invoice_id"), at: parseTime(text(r, "update_time")),
	})
}

// book writes an entry, or the newer state of one.
func (a *account) book(e entry) {
	if e.status == "" {
		e.status = "S"
	}
	if i, ok := a.booked[e.id]; ok {
		a.ledger[i] = e
		return
	}
	a.booked[e.id] = len(a.ledger)
	a.ledger = append(a.ledger, e)
}

func parseTime(v string) time.Time {
	t, _ := time.Parse(time.RFC3339, v)
	return t
}

func minus(a, b string) string {
	x, ok1 := new(big.Rat).SetString(a)
	y, ok2 := new(big.Rat).SetString(b)
	if !ok1 || !ok2 {
		return a
	}
	return x.Sub(x, y).FloatString(2)
}

func parseReportTime(v string) (time.Time, error) {
	v = strings.ReplaceAll(v, " ", "+") // a plus that was not escaped in the query
	if t, err := time.Parse(time.RFC3339, v); err == nil {
		return t, nil
	}
	return time.Parse(reportTime, v)
}

func (s *Server) reportTransactions(a *account, r *http.Request, _ []byte) (int, any, error) {
	q := r.URL.Query()
	start, err1 := parseReportTime(q.Get("start_date"))
	end, err2 := parseReportTime(q.Get("end_date"))
	now := s.o.Now()
	switch {
	case err1 != nil:
		return 0, nil, invalidRequest("start_date", "INVALID_PARAMETER_SYNTAX", "start_date is missing or no date and time.")
	case err2 != nil || end.Before(start):
		return 0, nil, invalidRequest("end_date", "INVALID_PARAMETER_SYNTAX", "end_date is missing, no date and time, or before start_date.")
	case end.Sub(start) > ReportWindowDays*24*time.Hour:
		return 0, nil, invalidRequest("end_date", "INVALID_DATE_RANGE", "Date range is greater than 31 days")
	case start.Before(now.AddDate(-3, 0, 0)):
		return 0, nil, invalidRequest("start_date", "INVALID_DATE_RANGE", "Data is available for the last three years only.")
	case start.After(now.Add(-s.o.Faults.ReportLag)):
		return 0, nil, invalidRequest("start_date", "INVALID_DATE_RANGE", "Data for the given start date is not available.")
	}
	size, page := 100, 1
	for name, into := range map[string]*int{"page_size": &size, "page": &page} {
		if v := q.Get(name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 || name == "page_size" && n > ReportPageMax {
				return 0, nil, invalidRequest(name, "INVALID_PARAMETER_VALUE", "The value of a field is invalid.")
			}
			*into = n
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []entry
	for _, e := range a.ledger {
		if e.at.Before(start) || e.at.After(end) || e.at.After(now.Add(-s.o.Faults.ReportLag)) || !matches(e.id, q.Get("transaction_id")) || !matches(e.code, q.Get("transaction_type")) ||
			!matches(e.status, q.Get("transaction_status")) || !matches(e.currency, q.Get("transaction_currency")) {
			continue
		}
		found = append(found, e)
	}
	if len(found) > s.o.ReportItemsMax {
		return 0, nil, refuse(400, "RESULTSET_TOO_LARGE", "Result set size is greater than the maximum limit. Change the filter criteria and try again.",
			object{"issue": "RESULTSET_TOO_LARGE", "total_items": len(found), "maximum_items": s.o.ReportItemsMax})
	}
	from, to := min((page-1)*size, len(found)), min(page*size, len(found))
	details := []object{}
	for _, e := range found[from:to] {
		details = append(details, a.detail(e, orElse(q.Get("fields"), "transaction_info")))
	}
	self := func(p int) string {
		q.Set("page", strconv.Itoa(p))
		return s.publicURL + r.URL.Path + "?" + q.Encode()
	}
	links := []object{link(self(page), "self", "GET")}
	if to < len(found) {
		links = append(links, link(self(page+1), "next", "GET"))
	}
	return 200, rawJSON(encode(object{
		"transaction_details": details, "account_number": a.MerchantID, "start_date": start.Format(reportTime),
		"end_date": end.Format(reportTime), "last_refreshed_datetime": now.Add(-s.o.Faults.ReportLag).UTC().Format(reportTime), "page": page,
		"total_items": len(found), "total_pages": (len(found) + size - 1) / size, "links": links,
	})), nil
}

func matches(have, want string) bool { return want == "" || have == want }

// detail is one transaction with the parts that were asked for. s.mu is held.
func (a *account) detail(e entry, fields string) object {
	info := object{
		"transaction_id": e.id, "transaction_event_code": e.code, "transaction_initiation_date": e.at.UTC().Format(reportTime),
		"transaction_updated_date": e.at.UTC().Format(reportTime), "transaction_status": e.status,
		"transaction_amount": object{"currency_code": e.currency, "value": e.amount},
	}
	for name, v := range map[string]string{"paypal_reference_id": e.reference, "custom_field": e.custom, "invoice_id": e.invoice} {
		if v != "" {
			info[name] = v
		}
	}
	if e.reference != "" {
		info["paypal_reference_id_type"] = e.referenceType
	}
	if e.fee != "" {
		info["fee_amount"] = object{"currency_code": e.currency, "value": "-" + e.fee}
	}
	out := object{"transaction_info": info}
	all := fields == "all"
	if all || strings.Contains(fields, "payer_info") {
		payer := object{"payer_status": "Y"}
		who := nested(a.orders[e.reference], "payer")
		if who == nil {
			who = nested(a.subscriptions[e.reference], "subscriber")
		}
		if who != nil {
			given, surname := text(who, "name", "given_name"), text(who, "name", "surname")
			payer["account_id"], payer["email_address"] = text(who, "payer_id"), text(who, "email_address")
			payer["payer_name"] = object{"given_name": given, "surname": surname, "alternate_full_name": strings.TrimSpace(given + " " + surname)}
		}
		out["payer_info"] = payer
	}
	for _, part := range []string{"shipping_info", "cart_info", "store_info", "auction_info", "incentive_info"} {
		if all || strings.Contains(fields, part) {
			out[part] = object{}
		}
	}
	return out
}
