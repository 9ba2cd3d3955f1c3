package paypal

import (
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// Bounds of OrderEvent.Fields. What does not fit is left out; the body keeps it.
const (
	fieldsMax          = 100
	fieldBytesMax      = 1024
	fieldsBytesTotal   = 8 << 10
	fieldItemsMax      = 20
	reasonBytesInField = 300
)

// fieldSet collects values by catalogue name, in the order of the calls, until a bound is met.
type fieldSet struct {
	values map[string]string
	bytes  int
}

func (f *fieldSet) set(name, value string) {
	value = cut(strings.TrimSpace(value), fieldBytesMax)
	if value == "" || len(f.values) == fieldsMax || f.bytes+len(name)+len(value) > fieldsBytesTotal {
		return
	}
	if _, taken := f.values[name]; taken {
		return
	}
	f.values[name] = value
	f.bytes += len(name) + len(value)
}

// date writes a moment in one form. A text that is no date stays as it is: a mapping to a date says so, and the event's
// effect does not hang on it.
func (f *fieldSet) date(name, value string) {
	if t, err := parseTime(value); err == nil {
		value = t.Format(time.RFC3339)
	}
	f.set(name, value)
}

// money sets the digits under name, and the currency under currencyName where one is given.
func (f *fieldSet) money(a *schemas.Amount, name, currencyName string) {
	if a == nil {
		return
	}
	f.set(name, a.Value)
	if currencyName != "" {
		f.set(currencyName, a.Currency)
	}
}

func (b *builder) commonFields() {
	b.fields.set("summary", cut(b.event.Text("summary"), reasonBytesInField))
}

func (b *builder) orderFields(units []object) error {
	f, r := &b.fields, b.resource
	f.set("order.intent", r.Text("intent"))
	f.date("order.create_time", r.Text("create_time"))
	var names, skus []string
	quantity := 0
	for _, u := range units {
		f.set("order.reference_id", u.Text("reference_id"))
		f.set("order.description", u.Text("description"))
		f.set("merchant.email", u.Text("payee", "email_address"))
		f.set("merchant.id", u.Text("payee", "merchant_id"))
		f.set("shipping.full_name", u.Text("shipping", "name", "full_name"))
		f.set("shipping.method", u.Text("shipping", "method"))
		for _, item := range u.Objects("items") {
			if n, err := strconv.Atoi(item.Text("quantity")); err == nil && n > 0 && n < 1_000_000 {
				quantity += n
			}
			if len(names) < fieldItemsMax {
				names = appendText(names, item.Text("name"))
				skus = appendText(skus, item.Text("sku"))
			}
		}
	}
	if len(units) == 1 {
		for _, part := range []string{"item_total", "tax_total", "shipping", "discount"} {
			a, err := amountOf(units[0], "resource.purchase_units.amount.breakdown."+part, "", "amount", "breakdown", part)
			if err != nil {
				return err
			}
			f.money(a, "order."+part, "")
		}
	}
	f.set("order.item_names", strings.Join(names, ", "))
	f.set("order.item_skus", strings.Join(skus, ", "))
	if quantity > 0 {
		f.set("order.item_quantity", strconv.Itoa(quantity))
	}
	for i, name := range names[:min(len(names), 3)] {
		f.set("order.items."+strconv.Itoa(i+1)+".name", name)
	}
	f.set("payment.source", sourceName(r))
	return nil
}

func appendText(list []string, text string) []string {
	if text = strings.TrimSpace(text); text == "" {
		return list
	}
	return append(list, text)
}

// sourceName is how the buyer paid: the first name inside payment_source, PayPal's own before others.
func sourceName(resource object) string {
	all := resource.Object("payment_source")
	if all.Has("paypal") {
		return "paypal"
	}
	name := ""
	for k := range all {
		if name == "" || k < name {
			name = k
		}
	}
	return name
}

func (b *builder) subscriptionFields() error {
	f, r := &b.fields, b.resource
	currency := r.Text("plan", "curr_code") // v1 agreements write amounts without currency
	f.set("subscription.id", b.rec.EntityID)
	f.set("subscription.plan_id", r.Text("plan_id"))
	f.set("subscription.plan_name", r.Text("plan", "name"))
	f.set("subscription.description", r.Text("description"))
	f.set("subscription.quantity", r.Text("quantity"))
	f.date("subscription.start_time", firstOf(r.Text("start_time"), r.Text("start_date")))
	f.date("subscription.create_time", r.Text("create_time"))
	f.set("subscription.status_note", r.Text("status_change_note"))
	info, legacy := r.Object("billing_info"), r.Object("agreement_details")
	f.date("subscription.next_billing_time", firstOf(info.Text("next_billing_time"), legacy.Text("next_billing_date")))
	f.date("subscription.final_payment_time", firstOf(info.Text("final_payment_time"), legacy.Text("final_payment_due_date"), legacy.Text("final_payment_date")))
	f.date("subscription.last_payment.time", firstOf(info.Text("last_payment", "time"), legacy.Text("last_payment_date")))
	f.set("subscription.failed_payments", firstOf(info.Text("failed_payments_count"), legacy.Text("failed_payment_count")))
	f.date("subscription.last_failed_payment.time", info.Text("last_failed_payment", "time"))
	f.set("subscription.last_failed_payment.reason", info.Text("last_failed_payment", "reason_code"))
	f.date("subscription.last_failed_payment.next_retry_time", info.Text("last_failed_payment", "next_payment_retry_time"))
	for _, cycle := range info.Objects("cycle_executions") {
		if cycle.Text("tenure_type") == "REGULAR" {
			f.set("subscription.cycles_completed", cycle.Text("cycles_completed"))
			f.set("subscription.cycles_remaining", cycle.Text("cycles_remaining"))
			f.set("subscription.total_cycles", cycle.Text("total_cycles"))
		}
	}
	f.set("subscription.cycles_completed", legacy.Text("num_cycles_completed"))
	f.set("subscription.cycles_remaining", legacy.Text("num_cycles_remaining"))
	for _, m := range []struct {
		of        object
		in        string
		part      string
		name, cur string
	}{
		{info, "billing_info", "last_payment.amount", "subscription.last_payment.amount", "subscription.last_payment.currency"},
		{legacy, "agreement_details", "last_payment_amount", "subscription.last_payment.amount", "subscription.last_payment.currency"},
		{info, "billing_info", "last_failed_payment.amount", "subscription.last_failed_payment.amount", ""},
		{info, "billing_info", "outstanding_balance", "subscription.outstanding_balance", ""},
		{legacy, "agreement_details", "outstanding_balance", "subscription.outstanding_balance", ""},
		{r, "", "shipping_amount", "subscription.shipping_amount", ""},
	} {
		a, err := amountOf(m.of, strings.TrimSuffix("resource."+m.in, ".")+"."+m.part, currency, strings.Split(m.part, ".")...)
		if err != nil {
			return err
		}
		f.money(a, m.name, m.cur)
	}
	return nil
}

func (b *builder) paymentFields() error {
	f, r := &b.fields, b.resource
	f.set("payment.id", b.rec.EntityID)
	f.set("subscription.id", b.rec.Linked(schemas.LinkSubscription))
	f.set("payment.reason", firstOf(r.Text("status_details", "reason"), r.Text("reason_code"), r.Text("pending_reason")))
	f.set("payment.mode", r.Text("payment_mode"))
	f.set("payment.parent_id", r.Text("parent_payment"))
	f.set("payment.final_capture", firstOf(r.Text("final_capture"), r.Text("is_final_capture")))
	f.set("payment.protection", firstOf(r.Text("seller_protection", "status"), r.Text("protection_eligibility")))
	f.date("payment.expiration_time", firstOf(r.Text("expiration_time"), r.Text("valid_until")))
	for _, m := range []struct {
		path []string
		name string
	}{
		{[]string{"seller_receivable_breakdown", "paypal_fee"}, "payment.fee"},
		{[]string{"transaction_fee"}, "payment.fee"},
		{[]string{"seller_receivable_breakdown", "net_amount"}, "payment.net"},
	} {
		a, err := amountOf(r, "resource."+strings.Join(m.path, "."), "", m.path...)
		if err != nil {
			return err
		}
		f.money(a, m.name, "")
	}
	return nil
}

func (b *builder) refundFields() {
	f, r := &b.fields, b.resource
	f.set("refund.id", b.rec.EntityID)
	f.set("refund.note", firstOf(r.Text("note_to_payer"), r.Text("description")))
	f.set("refund.reason", firstOf(r.Text("status_details", "reason"), r.Text("refund_reason_code"), r.Text("reason_code"), r.Text("reason")))
	f.set("payment.parent_id", r.Text("parent_payment"))
}

func (b *builder) disputeFields() {
	f, r := &b.fields, b.resource
	f.set("dispute.id", b.rec.EntityID)
	f.set("dispute.reason", r.Text("reason"))
	f.set("dispute.stage", r.Text("dispute_life_cycle_stage"))
	f.set("dispute.channel", r.Text("dispute_channel"))
	f.set("dispute.outcome", r.Text("dispute_outcome", "outcome_code"))
	f.date("dispute.seller_response_due", r.Text("seller_response_due_date"))
}
