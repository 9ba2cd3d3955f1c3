package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sort"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// root is what the sent bodies say of one order or subscription.
type root struct {
	subscription bool
	claims       []claim // everything but refunds and disputes
	disputes     map[string]claim
	refunds      map[string]refund
	captured     map[string]decimal.Decimal
	email        string // of the customer; empty: no event told it
}

type claim struct {
	at     time.Time
	status string
	id     string
}

type refund struct {
	claim
	amount, total decimal.Decimal
	payment       string
}

// ranks order two statements of the same second: the later step of a payment wins.
var ranks = map[string]int{
	"PENDING": 2, "APPROVED": 3, "FAILED": 4, "AUTHORIZED": 5, "PARTIALLY_PAID": 6, "PAID": 7, "ACTIVE": 7, "PARTIALLY_REFUNDED": 8,
	"SUSPENDED": 8, "DISPUTED": 9, "EXPIRED": 10, "CANCELLED": 11, "VOIDED": 12, "REFUNDED": 13, "CHARGED_BACK": 14,
}

func (c claim) after(d claim) bool {
	if !c.at.Equal(d.at) {
		return c.at.After(d.at)
	}
	if ranks[c.status] != ranks[d.status] {
		return ranks[c.status] > ranks[d.status]
	}
	return c.id > d.id
}

// status is the newest statement, seen together with the sums of the refunds.
func (r *root) status() string {
	var base, back claim
	claims := r.claims
	for _, d := range r.disputes {
		if d.status != "" {
			claims = append(claims[:len(claims):len(claims)], d)
		}
	}
	for _, c := range claims {
		if base.status == "" || c.after(base) {
			base = c
		}
	}
	if r.subscription {
		return base.status
	}
	var paid, returned decimal.Decimal
	for _, a := range r.captured {
		paid = paid.Add(a)
	}
	perPayment := map[string]refund{} // sums and running totals by payment
	for _, f := range r.refunds {
		if back.status == "" || f.after(back) {
			back = f.claim
		}
		sum := perPayment[f.payment]
		sum.amount = sum.amount.Add(f.amount)
		sum.total = decimal.Max(sum.total, f.total)
		perPayment[f.payment] = sum
	}
	for _, sum := range perPayment {
		returned = returned.Add(decimal.Max(sum.amount, sum.total))
	}
	settled := map[string]bool{"": true, "PAID": true, "PARTIALLY_PAID": true, "PARTIALLY_REFUNDED": true, "REFUNDED": true}
	if len(r.refunds) > 0 && (settled[base.status] || back.after(base)) {
		if paid.IsPositive() && returned.GreaterThanOrEqual(paid) {
			return "REFUNDED"
		}
		return "PARTIALLY_REFUNDED"
	}
	return base.status
}

// was holds every status that a statement about the order names, its final one included.
func (r *root) was() map[string]bool {
	out := map[string]bool{r.status(): true}
	for _, c := range r.claims {
		out[c.status] = true
	}
	return out
}

// body is a parsed event.
type body map[string]any

func (b body) at(path ...string) any {
	var v any = map[string]any(b)
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}

func (b body) text(path ...string) string { s, _ := b.at(path...).(string); return s }

// up is the last part of the resource's link of that relation.
func (b body) up(rel string) (collection, id string) {
	links, _ := b.at("resource", "links").([]any)
	for _, l := range links {
		m, _ := l.(map[string]any)
		if m["rel"] == rel {
			parts := strings.Split(m["href"].(string), "/")
			return parts[len(parts)-2], parts[len(parts)-1]
		}
	}
	return "", ""
}

// fold groups the good events by root and gives the customers' addresses. Of two bodies under one event id only the
// one that was applied counts; the other is in the dead letters.
func fold(sent []Sent, appliedBody func(account, eventID string) string) (map[string]*root, map[string]bool) {
	type parsed struct {
		Sent
		b body
	}
	var events []parsed
	bodies := map[string]map[string]bool{}
	for _, s := range sent {
		id := s.Account + "/" + s.EventID
		if bodies[id] == nil {
			bodies[id] = map[string]bool{}
		}
		bodies[id][hash(s.Body)] = true
	}
	owner := map[string]string{} // payment -> order or subscription
	for _, s := range sent {
		if len(bodies[s.Account+"/"+s.EventID]) > 1 && appliedBody(s.Account, s.EventID) != hash(s.Body) {
			continue
		}
		var b body
		if json.Unmarshal(s.Body, &b) != nil || !understood(b) {
			continue // ends in the dead letters
		}
		events = append(events, parsed{s, b})
		id := b.text("resource", "id")
		for _, to := range ownersOf(s.Type, b) {
			if to != "" && to != id {
				owner[id] = to
			}
		}
	}
	sort.SliceStable(events, func(i, j int) bool { return events[i].EventID < events[j].EventID })
	roots, emails := map[string]*root{}, map[string]bool{}
	for _, e := range events {
		collect(roots, e.Account, e.Type, e.b, owner)
		if email := customer(e.Type, e.b); email != "" {
			emails[email] = true
		}
	}
	return roots, emails
}

// understood: amounts are decimals and times exist.
func understood(b body) bool {
	for _, path := range [][]string{{"resource", "amount", "value"}, {"resource", "amount", "total"}} {
		if s, ok := b.at(path...).(string); ok {
			if _, err := decimal.NewFromString(s); err != nil || strings.ContainsAny(s, "eE") {
				return false
			}
		}
	}
	units, _ := b.at("resource", "purchase_units").([]any)
	for _, u := range units {
		m, _ := u.(map[string]any)
		if s := body(m).text("amount", "value"); s != "" {
			if _, err := decimal.NewFromString(s); err != nil {
				return false
			}
		}
	}
	for _, path := range [][]string{{"create_time"}, {"resource", "create_time"}, {"resource", "update_time"}, {"resource", "status_update_time"}} {
		if s := b.text(path...); s != "" {
			if _, err := time.Parse(time.RFC3339, s); err != nil {
				return false
			}
		}
	}
	return true
}

// ownersOf names what the event's resource belongs to.
func ownersOf(typ string, b body) []string {
	owners := []string{b.text("resource", "supplementary_data", "related_ids", "order_id"), b.text("resource", "billing_agreement_id"), b.text("resource", "sale_id")}
	if strings.HasPrefix(typ, "PAYMENT.") {
		_, up := b.up("up")
		owners = append([]string{up}, owners...) // the explicit ids win over the link
	}
	return owners
}

func when(b body) time.Time {
	for _, path := range [][]string{{"resource", "status_update_time"}, {"resource", "update_time"}, {"create_time"}} {
		if t, err := time.Parse(time.RFC3339, b.text(path...)); err == nil {
			return t.Truncate(time.Millisecond)
		}
	}
	return time.Time{}
}

func collect(roots map[string]*root, account, typ string, b body, owner map[string]string) {
	id := b.text("resource", "id")
	status := strings.ToUpper(b.text("resource", "status") + b.text("resource", "state"))
	key, sub := id, strings.HasPrefix(typ, "BILLING.SUBSCRIPTION.")
	kind := ""
	switch {
	case strings.HasPrefix(typ, "CHECKOUT.ORDER."):
		kind = "order"
	case typ == "CHECKOUT.PAYMENT-APPROVAL.REVERSED":
		kind, key = "order", b.text("resource", "order_id")
		status = "REVERSED"
	case sub:
		kind = "subscription"
	case strings.HasSuffix(typ, ".REFUNDED") || strings.HasSuffix(typ, ".REVERSED"):
		kind = "refund"
	case strings.HasPrefix(typ, "PAYMENT.CAPTURE.") || strings.HasPrefix(typ, "PAYMENT.SALE.") || strings.HasPrefix(typ, "PAYMENT.AUTHORIZATION."):
		kind = "payment"
	case strings.HasPrefix(typ, "CUSTOMER.DISPUTE."):
		kind = "dispute"
		id = b.text("resource", "dispute_id")
		txs, _ := b.at("resource", "disputed_transactions").([]any)
		if len(txs) > 0 {
			m, _ := txs[0].(map[string]any)
			key = body(m).text("seller_transaction_id")
		}
	default:
		return
	}
	for range 4 { // payment -> authorization -> order at the most
		if to, ok := owner[key]; ok && to != key {
			key = to
		}
	}
	full := "sandbox/" + account + "/" + key
	r := roots[full]
	if r == nil {
		r = &root{disputes: map[string]claim{}, refunds: map[string]refund{}, captured: map[string]decimal.Decimal{}}
		roots[full] = r
	}
	if email := customer(typ, b); email != "" {
		r.email = email
	}
	r.subscription = r.subscription || sub || strings.HasPrefix(key, "I-")
	r.take(kind, typ, id, status, b)
}

func (r *root) take(kind, typ, id, status string, b body) {
	c := claim{at: when(b), id: b.text("id")}
	amount := decimalOr(b.text("resource", "amount", "value") + b.text("resource", "amount", "total"))
	switch kind {
	case "order":
		c.status = map[string]string{"CREATED": "PENDING", "APPROVED": "APPROVED", "VOIDED": "VOIDED", "COMPLETED": "PAID", "REVERSED": "CANCELLED"}[status]
	case "subscription":
		c.status = map[string]string{"APPROVAL_PENDING": "PENDING", "APPROVED": "APPROVED", "ACTIVE": "ACTIVE", "SUSPENDED": "SUSPENDED", "CANCELLED": "CANCELLED", "EXPIRED": "EXPIRED"}[status]
	case "payment":
		if r.subscription {
			return // money never moves a subscription
		}
		words := map[string]string{"PENDING": "PENDING", "COMPLETED": "PAID", "DECLINED": "FAILED", "DENIED": "FAILED", "REFUNDED": "REFUNDED", "PARTIALLY_REFUNDED": "PARTIALLY_REFUNDED"}
		if strings.HasPrefix(typ, "PAYMENT.AUTHORIZATION.") {
			words = map[string]string{"CREATED": "AUTHORIZED", "AUTHORIZED": "AUTHORIZED", "VOIDED": "VOIDED", "CAPTURED": "PAID", "DENIED": "FAILED"}
		}
		c.status = words[status]
		if c.status == "PAID" && strings.HasPrefix(typ, "PAYMENT.CAPTURE.") || c.status == "PAID" && strings.HasPrefix(typ, "PAYMENT.SALE.") {
			r.captured[id] = amount
		}
	case "refund":
		if r.subscription {
			return
		}
		c.status = "REFUNDED"
		if strings.HasSuffix(typ, ".REVERSED") {
			c.status = "CHARGED_BACK"
			break
		}
		_, payment := b.up("up")
		if payment == "" {
			payment = b.text("resource", "sale_id")
		}
		r.refunds[id] = refund{
			claim: c, amount: amount, payment: payment,
			total: decimalOr(b.text("resource", "seller_payable_breakdown", "total_refunded_amount", "value") + b.text("resource", "total_refunded_amount", "total")),
		}
		return
	case "dispute":
		if r.subscription {
			return
		}
		c.status = "DISPUTED"
		if status == "RESOLVED" {
			c.status = disputeEnd(b.text("resource", "dispute_outcome", "outcome_code"))
		}
		// The newest word of one dispute stands for all of them; a won one leaves the order as it was.
		if old, ok := r.disputes[id]; !ok || c.after(old) {
			r.disputes[id] = c
		}
		return
	}
	if c.status != "" {
		r.claims = append(r.claims, c)
	}
}

func disputeEnd(outcome string) string {
	switch outcome {
	case "RESOLVED_BUYER_FAVOUR", "ACCEPTED":
		return "CHARGED_BACK"
	}
	return ""
}

func decimalOr(s string) decimal.Decimal {
	d, _ := decimal.NewFromString(s)
	return d
}

// customer is the address of the person who pays, where the event tells it and a mapping takes the event.
func customer(typ string, b body) string {
	email := ""
	switch {
	case strings.HasPrefix(typ, "CHECKOUT.ORDER."):
		if email = b.text("resource", "payer", "email_address"); email == "" {
			email = b.text("resource", "payment_source", "paypal", "email_address")
		}
	case strings.HasPrefix(typ, "BILLING.SUBSCRIPTION."):
		email = b.text("resource", "subscriber", "email_address")
	}
	return strings.ToLower(strings.TrimSpace(email))
}
