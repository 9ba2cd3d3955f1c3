package paypal

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// Bounds of what is read into OrderEvent.Fields; the body keeps the rest.
const (
	fieldItemsMax      = 20
	reasonBytesInField = 300
)

// fieldSet reads PayPal's forms of dates and money.
type fieldSet struct{ connectors.FieldSet }

func (f *fieldSet) date(name, value string) { f.SetDate(name, value, parseTime) }

// money sets the digits under name, and the currency under currencyName where one is given.
func (f *fieldSet) money(a *schemas.Amount, name, currencyName string) {
	if a == nil {
		return
	}
	f.Set(name, a.Value)
	if currencyName != "" {
		f.Set(currencyName, a.Currency)
	}
}

func (b *builder) commonFields() {
	b.fields.Set("summary", connectors.Cut(b.event.Text("summary"), reasonBytesInField))
}

func (b *builder) orderFields(units []object) error {
	f, r := &b.fields, b.resource
	f.Set("order.intent", r.Text("intent"))
	f.date("order.create_time", r.Text("create_time"))
	var names, skus []string
	quantity := 0
	for _, u := range units {
		f.Set("order.reference_id", u.Text("reference_id"))
		f.Set("order.description", u.Text("description"))
		f.Set("merchant.email", u.Text("payee", "email_address"))
		f.Set("merchant.id", u.Text("payee", "merchant_id"))
		f.Set("shipping.full_name", u.Text("shipping", "name", "full_name"))
		f.Set("shipping.method", u.Text("shipping", "method"))
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
	f.Set("order.item_names", strings.Join(names, ", "))
	f.Set("order.item_skus", strings.Join(skus, ", "))
	if quantity > 0 {
		f.Set("order.item_quantity", strconv.Itoa(quantity))
	}
	for i, name := range names[:min(len(names), 3)] {
		f.Set("order.items."+strconv.Itoa(i+1)+".name", name)
	}
	f.Set("payment.source", sourceName(r))
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
	f.Set("subscription.id", b.rec.EntityID)
	f.Set("subscription.plan_id", r.Text("plan_id"))
	f.Set("subscription.plan_name", r.Text("plan", "name"))
	f.Set("subscription.description", r.Text("description"))
	f.Set("subscription.quantity", r.Text("quantity"))
	f.date("subscription.start_time", cmp.Or(r.Text("start_time"), r.Text("start_date")))
	f.date("subscription.create_time", r.Text("create_time"))
	f.Set("subscription.status_note", r.Text("status_change_note"))
	info, legacy := r.Object("billing_info"), r.Object("agreement_details")
	f.date("subscription.next_billing_time", cmp.Or(info.Text("next_billing_time"), legacy.Text("next_billing_date")))
	f.date("subscription.final_payment_time", cmp.Or(info.Text("final_payment_time"), legacy.Text("final_payment_due_date"), legacy.Text("final_payment_date")))
	f.date("subscription.last_payment.time", cmp.Or(info.Text("last_payment", "time"), legacy.Text("last_payment_date")))
	f.Set("subscription.failed_payments", cmp.Or(info.Text("failed_payments_count"), legacy.Text("failed_payment_count")))
	f.date("subscription.last_failed_payment.time", info.Text("last_failed_payment", "time"))
	f.Set("subscription.last_failed_payment.reason", info.Text("last_failed_payment", "reason_code"))
	f.date("subscription.last_failed_payment.next_retry_time", info.Text("last_failed_payment", "next_payment_retry_time"))
	for _, cycle := range info.Objects("cycle_executions") {
		if cycle.Text("tenure_type") == "REGULAR" {
			f.Set("subscription.cycles_completed", cycle.Text("cycles_completed"))
			f.Set("subscription.cycles_remaining", cycle.Text("cycles_remaining"))
			f.Set("subscription.total_cycles", cycle.Text("total_cycles"))
		}
	}
	f.Set("subscription.cycles_completed", legacy.Text("num_cycles_completed"))
	f.Set("subscription.cycles_remaining", legacy.Text("num_cycles_remaining"))
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
	f.Set("payment.id", b.rec.EntityID)
	f.Set("subscription.id", b.rec.Linked(schemas.LinkSubscription))
	f.Set("payment.reason", cmp.Or(r.Text("status_details", "reason"), r.Text("reason_code"), r.Text("pending_reason")))
	f.Set("payment.mode", r.Text("payment_mode"))
	f.Set("payment.parent_id", r.Text("parent_payment"))
	f.Set("payment.final_capture", cmp.Or(r.Text("final_capture"), r.Text("is_final_capture")))
	f.Set("payment.protection", cmp.Or(r.Text("seller_protection", "status"), r.Text("protection_eligibility")))
	f.date("payment.expiration_time", cmp.Or(r.Text("expiration_time"), r.Text("valid_until")))
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
	f.Set("refund.id", b.rec.EntityID)
	f.Set("refund.note", cmp.Or(r.Text("note_to_payer"), r.Text("description")))
	f.Set("refund.reason", cmp.Or(r.Text("status_details", "reason"), r.Text("refund_reason_code"), r.Text("reason_code"), r.Text("reason")))
	f.Set("payment.parent_id", r.Text("parent_payment"))
}

func (b *builder) disputeFields() {
	f, r := &b.fields, b.resource
	f.Set("dispute.id", b.rec.EntityID)
	f.Set("dispute.reason", r.Text("reason"))
	f.Set("dispute.stage", r.Text("dispute_life_cycle_stage"))
	f.Set("dispute.channel", r.Text("dispute_channel"))
	f.Set("dispute.outcome", r.Text("dispute_outcome", "outcome_code"))
	f.date("dispute.seller_response_due", r.Text("seller_response_due_date"))
}
