package story

import (
	"time"
)

// subscription is what its events have in common.
type subscription struct {
	id, custom string
	plan       plan
	who        *person
	created    time.Time
	cycles     int
	failed     int
	lastPaid   time.Time
}

// subscription tells one from its creation to where the story leaves it.
func (t *teller) subscription(m *merchant, who *person, at time.Time) {
	s := &subscription{id: "I-" + t.letters(12), plan: m.plans[t.random.IntN(len(m.plans))], who: who, created: at, custom: t.pick("123456789", 2)}
	n := t.from("BILLING.SUBSCRIPTION.CREATED", "I-1E2LTB0J1YGW", s.id, "P-53G711603K123334JMK2NVKI", s.plan.id, "BA-9BT474281C717751V", "BA-"+t.letters(17))
	n.set("resource.start_time", at.Format(seconds))
	n.set("resource.create_time", at.Format(seconds))
	n.set("resource.custom_id", s.custom)
	t.emit(m, s.id, at.Add(time.Second), n)
	if t.chance(0.08) {
		return // never approved: PayPal says nothing more
	}
	active := at.Add(t.between(20*time.Second, 5*time.Minute))
	s.cycles, s.lastPaid = 1, active
	t.emit(m, s.id, active.Add(7*time.Second), t.subscriptionEvent("BILLING.SUBSCRIPTION.ACTIVATED", "BILLING.SUBSCRIPTION.ACTIVATED", "ACTIVE", s, active))
	wait := t.between(8*time.Second, 40*time.Second)
	if t.chance(0.1) {
		wait = t.between(time.Second, 6*time.Second) // told before the activation
	}
	sale := t.sale(m, s, active, active.Add(wait))
	due := time.Date(active.Year(), active.Month()+1, active.Day(), 10, 0, 0, 0, time.UTC) // bills fall at 10:00 UTC
	for range t.bills() {
		if !t.end.IsZero() && due.After(t.end) {
			return
		}
		if t.chance(0.08) {
			s.failed++
			t.emit(m, s.id, due.Add(time.Minute), t.failedPayment(s, due))
			due = due.AddDate(0, 0, 5) // tried again after five days
			if t.chance(0.4) {
				t.told(m, s, "SUSPENDED", due)
				return
			}
		}
		s.cycles, s.failed, s.lastPaid = s.cycles+1, 0, due
		sale = t.sale(m, s, due, due.Add(t.between(30*time.Second, 20*time.Minute)))
		due = time.Date(due.Year(), due.Month()+1, due.Day(), 10, 0, 0, 0, time.UTC)
	}
	end := s.lastPaid.Add(t.between(24*time.Hour, 20*24*time.Hour))
	switch p := t.leaving(); {
	case p < 0.12:
		t.told(m, s, "CANCELLED", end)
		if t.chance(0.4) {
			t.sale(m, s, end.Add(-time.Minute), end.Add(2*time.Hour)) // a payment told after the cancellation
		}
	case p < 0.18:
		t.told(m, s, "EXPIRED", end)
	case p < 0.24:
		t.told(m, s, "SUSPENDED", end)
		if t.chance(0.5) {
			t.told(m, s, "CANCELLED", end.Add(t.between(time.Hour, 48*time.Hour)))
		}
	case p < 0.36:
		t.saleRefund(m, s, sale, end)
	}
}

// subscriptionEvent builds an event of the v2 shape with that status.
func (t *teller) subscriptionEvent(template, typ, status string, s *subscription, at time.Time) *node {
	n := t.from(template, "I-1E2LTB0J1YGW", s.id, "P-53G711603K123334JMK2NVKI", s.plan.id)
	sum := amount{s.plan.price, s.plan.currency}
	money := func(a amount) *node { return obj("currency_code", a.currency, "value", a.short()) }
	zero := obj("currency_code", s.plan.currency, "value", "0.0")
	n.set("event_type", typ)
	n.set("resource.status", status)
	n.set("resource.status_update_time", at.Format(seconds))
	n.set("resource.update_time", at.Format(seconds))
	n.set("resource.create_time", s.created.Format(seconds))
	n.set("resource.start_time", s.created.Format(seconds))
	n.set("resource.custom_id", s.custom)
	n.set("resource.shipping_amount", zero)
	subscriber := obj("email_address", s.who.email, "payer_id", s.who.payerID, "name", s.who.name(),
		"shipping_address", obj("name", obj("full_name", s.who.given+" "+s.who.surname), "address", s.who.address()))
	if t.chance(0.3) {
		subscriber.drop("shipping_address")
	}
	if s.who.phone != "" {
		subscriber.set("phone", obj("phone_type", "MOBILE", "phone_number", obj("national_number", s.who.phone)))
	}
	n.set("resource.subscriber", subscriber)
	n.set("resource.billing_info.outstanding_balance", zero)
	n.set("resource.billing_info.cycle_executions.0.cycles_completed", s.cycles)
	n.set("resource.billing_info.last_payment", obj("amount", money(sum), "time", s.lastPaid.Format(seconds)))
	n.set("resource.billing_info.failed_payments_count", s.failed)
	if n.get("resource.billing_info.next_billing_time") != nil {
		next := time.Date(at.Year(), at.Month()+1, at.Day(), 10, 0, 0, 0, time.UTC)
		n.set("resource.billing_info.next_billing_time", next.Format(seconds))
	}
	if s.lastPaid.IsZero() {
		n.drop("resource.billing_info.last_payment")
	}
	return n
}

// told emits a change of status.
func (t *teller) told(m *merchant, s *subscription, status string, at time.Time) {
	template := "BILLING.SUBSCRIPTION.CANCELLED"
	if status == "SUSPENDED" {
		template = "BILLING.SUBSCRIPTION.ACTIVATED"
	}
	n := t.subscriptionEvent(template, "BILLING.SUBSCRIPTION."+status, status, s, at)
	summary := map[string]string{"CANCELLED": "Subscription cancelled", "EXPIRED": "Subscription expired", "SUSPENDED": "Subscription suspended"}
	n.set("summary", summary[status])
	if status == "SUSPENDED" {
		n.set("resource.status_change_note", "Payment failed too often")
	}
	t.emit(m, s.id, at.Add(t.between(2*time.Second, 40*time.Second)), n)
}

func (t *teller) failedPayment(s *subscription, at time.Time) *node {
	n := t.subscriptionEvent("BILLING.SUBSCRIPTION.ACTIVATED", "BILLING.SUBSCRIPTION.PAYMENT.FAILED", "ACTIVE", s, at)
	n.set("summary", "Payment failed for subscription")
	sum := amount{s.plan.price, s.plan.currency}
	n.set("resource.status_update_time", s.created.Format(seconds))
	n.set("resource.billing_info.last_failed_payment", obj("amount", obj("currency_code", sum.currency, "value", sum.short()),
		"time", at.Format(seconds), "reason_code", "PAYMENT_DENIED", "next_payment_retry_time", at.AddDate(0, 0, 5).Format(seconds)))
	return n
}

// sale is a payment of the subscription, in PayPal's old shape; it returns the sale's id.
func (t *teller) sale(m *merchant, s *subscription, at, told time.Time) string {
	id := t.letters(17)
	sum := amount{s.plan.price, s.plan.currency}
	n := t.from("PAYMENT.SALE.COMPLETED", "6GR1339578830245H", id, "I-E8W6NNUG630J", s.id)
	n.set("resource.amount", obj("total", sum.String(), "currency", sum.currency, "details", obj("subtotal", sum.String())))
	n.set("resource.transaction_fee", obj("currency", sum.currency, "value", sum.fee().String()))
	n.set("resource.custom", s.custom)
	n.set("resource.create_time", at.Format(seconds))
	n.set("resource.update_time", at.Format(seconds))
	n.set("summary", "Payment completed for "+sum.short()+" "+sum.currency)
	t.emit(m, s.id, told, n)
	return id
}

func (t *teller) saleRefund(m *merchant, s *subscription, sale string, at time.Time) {
	id, payment := t.letters(17), "PAY-"+t.letters(24)
	sum := amount{s.plan.price, s.plan.currency}
	money := func(a amount) *node { return obj("total", a.String(), "currency", a.currency) }
	n := t.from("PAYMENT.SALE.REFUNDED", "6YX43824R4443062K", id, "9T0916710M1105906", sale, "PAY-5437236047802405NKRJ22UA", payment)
	n.set("resource.amount", money(sum))
	n.set("resource.refund_from_received_amount", money(sum.minus(sum.fee())))
	n.set("resource.refund_from_transaction_fee", money(sum.fee()))
	n.set("resource.refund_to_payer", money(sum))
	n.set("resource.total_refunded_amount", money(sum))
	n.set("resource.create_time", at.Format(seconds))
	n.set("resource.update_time", at.Format(seconds))
	n.set("summary", "A "+sum.String()+" "+sum.currency+" sale payment was refunded")
	t.emit(m, s.id, at.Add(t.between(2*time.Second, 20*time.Second)), n)
}
