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
	b.fields.set("summary", cut(b.event.text("summary"), reasonBytesInField))
}

func (b *builder) orderFields(units []object) error {
	f, r := &b.fields, b.resource
	f.set("order.intent", r.text("intent"))
	f.date("order.create_time", r.text("create_time"))
	var names, skus []string
	quantity := 0
	for _, u := range units {
		f.set("order.reference_id", u.text("reference_id"))
		f.set("order.description", u.text("description"))
		f.set("merchant.email", u.text("payee", "email_address"))
		f.set("merchant.id", u.text("payee", "merchant_id"))
		f.set("shipping.full_name", u.text("shipping", "name", "full_name"))
		f.set("shipping.method", u.text("shipping", "method"))
		for _, item := range u.objects("items") {
			if n, err := strconv.Atoi(item.text("quantity")); err == nil && n > 0 && n < 1_000_000 {
				quantity += n
			}
			if len(names) < fieldItemsMax {
				names = appendText(names, item.text("name"))
				skus = appendText(skus, item.text("sku"))
			}
		}
	}
	if len(units) == 1 {
		for _, part := range []string{"item_total", "tax_total", "shipping", "discount"} {
			a, err := units[0].amount("resource.purchase_units.amount.breakdown."+part, "", "amount", "breakdown", part)
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
	all := resource.object("payment_source")
	if all.has("paypal") {
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
	currency := r.text("plan", "curr_code") // v1 agreements write amounts without currency
	f.set("subscription.id", b.rec.EntityID)
	f.set("subscription.plan_id", r.text("plan_id"))
	f.set("subscription.plan_name", r.text("plan", "name"))
	f.set("subscription.description", r.text("description"))
	f.set("subscription.quantity", r.text("quantity"))
	f.date("subscription.start_time", firstOf(r.text("start_time"), r.text("start_date")))
	f.date("subscription.create_time", r.text("create_time"))
	f.set("subscription.status_note", r.text("status_change_note"))
	info, legacy := r.object("billing_info"), r.object("agreement_details")
	f.date("subscription.next_billing_time", firstOf(info.text("next_billing_time"), legacy.text("next_billing_date")))
	f.date("subscription.final_payment_time", firstOf(info.text("final_payment_time"), legacy.text("final_payment_due_date"), legacy.text("final_payment_date")))
	f.date("subscription.last_payment.time", firstOf(info.text("last_payment", "time"), legacy.text("last_payment_date")))
	f.set("subscription.failed_payments", firstOf(info.text("failed_payments_count"), legacy.text("failed_payment_count")))
	f.date("subscription.last_failed_payment.time", info.text("last_failed_payment", "time"))
	f.set("subscription.last_failed_payment.reason", info.text("last_failed_payment", "reason_code"))
	f.date("subscription.last_failed_payment.next_retry_time", info.text("last_failed_payment", "next_payment_retry_time"))
	for _, cycle := range info.objects("cycle_executions") {
		if cycle.text("tenure_type") == "REGULAR" {
			f.set("subscription.cycles_completed", cycle.text("cycles_completed"))
			f.set("subscription.cycles_remaining", cycle.text("cycles_remaining"))
			f.set("subscription.total_cycles", cycle.text("total_cycles"))
		}
	}
	f.set("subscription.cycles_completed", legacy.text("num_cycles_completed"))
	f.set("subscription.cycles_remaining", legacy.text("num_cycles_remaining"))
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
		a, err := m.of.amount(strings.TrimSuffix("resource."+m.in, ".")+"."+m.part, currency, strings.Split(m.part, ".")...)
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
	f.set("payment.reason", firstOf(r.text("status_details", "reason"), r.text("reason_code"), r.text("pending_reason")))
	f.set("payment.mode", r.text("payment_mode"))
	f.set("payment.parent_id", r.text("parent_payment"))
	f.set("payment.final_capture", firstOf(r.text("final_capture"), r.text("is_final_capture")))
	f.set("payment.protection", firstOf(r.text("seller_protection", "status"), r.text("protection_eligibility")))
	f.date("payment.expiration_time", firstOf(r.text("expiration_time"), r.text("valid_until")))
	for _, m := range []struct {
		path []string
		name string
	}{
		{[]string{"seller_receivable_breakdown", "paypal_fee"}, "payment.fee"},
		{[]string{"transaction_fee"}, "payment.fee"},
		{[]string{"seller_receivable_breakdown", "net_amount"}, "payment.net"},
	} {
		a, err := r.amount("resource."+strings.Join(m.path, "."), "", m.path...)
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
	f.set("refund.note", firstOf(r.text("note_to_payer"), r.text("description")))
	f.set("refund.reason", firstOf(r.text("status_details", "reason"), r.text("refund_reason_code"), r.text("reason_code"), r.text("reason")))
	f.set("payment.parent_id", r.text("parent_payment"))
}

func (b *builder) disputeFields() {
	f, r := &b.fields, b.resource
	f.set("dispute.id", b.rec.EntityID)
	f.set("dispute.reason", r.text("reason"))
	f.set("dispute.stage", r.text("dispute_life_cycle_stage"))
	f.set("dispute.channel", r.text("dispute_channel"))
	f.set("dispute.outcome", r.text("dispute_outcome", "outcome_code"))
	f.date("dispute.seller_response_due", r.text("seller_response_due_date"))
}
