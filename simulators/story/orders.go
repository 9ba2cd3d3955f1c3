package story

import (
	"strconv"
	"time"
)

const seconds = "2006-01-02T15:04:05Z"

// order tells one order from approval to its end.
func (t *teller) order(m *merchant, who *person, at time.Time) {
	id, sum := t.letters(17), t.price(who.currency)
	custom := strconv.Itoa(1000 + t.random.IntN(9000))
	t.approved(m, who, id, custom, sum, at)
	capture := t.letters(17)
	took := at.Add(t.between(5*time.Second, 4*time.Minute))
	switch p := t.random.Float64(); {
	case p < 0.72:
		t.paid(m, id, capture, custom, sum, took)
		t.after(m, id, capture, sum, took)
	case p < 0.82:
		n := t.from("PAYMENT.CAPTURE.PENDING", "02T21492PP3782704", capture, "8PR65097T8571330M", id)
		n.set("resource.amount", sum.money())
		n.set("resource.create_time", took.Format(seconds))
		n.set("resource.update_time", took.Format(seconds))
		if t.chance(0.5) {
			n.set("resource.status_details.reason", "PENDING_REVIEW")
		}
		n.set("resource.supplementary_data", obj("related_ids", obj("order_id", id)))
		t.emit(m, id, took.Add(4*time.Second), n)
		later := took.Add(t.between(time.Hour, 72*time.Hour))
		if t.chance(0.65) {
			t.paid(m, id, capture, custom, sum, later)
		} else {
			t.refused(m, id, capture, custom, sum, later)
		}
	case p < 0.90:
		t.refused(m, id, capture, custom, sum, took)
	default:
		t.reversedApproval(m, who, id, custom, at.Add(3*time.Hour))
	}
}

// approved uses the recorded or the documented shape; the customer is in payer, in payment_source, or in both.
func (t *teller) approved(m *merchant, who *person, id, custom string, sum amount, at time.Time) {
	var n *node
	if t.chance(0.75) {
		n = t.from("CHECKOUT.ORDER.APPROVED--sandbox-2024", "8UB08260L82228933", id)
		source := obj("email_address", who.email, "account_id", who.payerID, "account_status", "VERIFIED", "name", who.name(),
			"address", obj("country_code", who.country))
		if who.phone != "" {
			source.set("phone_number", obj("national_number", who.phone))
		}
		n.set("resource.payment_source.paypal", source)
		n.set("resource.payer", who.payer())
		switch p := t.random.Float64(); {
		case p < 0.1:
			n.drop("resource.payer")
		case p < 0.2:
			n.set("resource.payment_source", obj("paypal", obj()))
		}
		n.set("resource.purchase_units.0.custom_id", custom)
	} else {
		n = t.from("CHECKOUT.ORDER.APPROVED", "5O190127TN364715T", id)
		n.set("resource.purchase_units.0.reference_id", "default")
		n.set("resource.update_time", at.Format(seconds))
		n.set("resource.payer", who.payer())
	}
	n.set("resource.create_time", at.Add(-t.between(20*time.Second, 5*time.Minute)).Format(seconds))
	n.set("resource.purchase_units.0.amount", sum.money())
	n.set("resource.purchase_units.0.payee", obj("email_address", m.email, "merchant_id", m.id))
	n.set("resource.purchase_units.0.shipping", obj("name", obj("full_name", who.given+" "+who.surname), "address", who.address()))
	if t.chance(0.1) {
		n.drop("resource.purchase_units.0.shipping")
	}
	t.emit(m, id, at, n)
}

// capture builds a completed capture from the recorded payload.
func (t *teller) capture(typ, order, id string, sum amount, at time.Time) *node {
	n := t.from(typ, "98L405257W8422823", id, "75J81273FB047774H", order)
	n.set("resource.amount", sum.money())
	n.set("resource.seller_receivable_breakdown", obj("gross_amount", sum.money(), "paypal_fee", sum.fee().money(),
		"net_amount", sum.minus(sum.fee()).money()))
	n.set("resource.create_time", at.Format(seconds))
	n.set("resource.update_time", at.Format(seconds))
	n.set("summary", "Payment completed for "+sum.short()+" "+sum.currency)
	return n
}

func (t *teller) paid(m *merchant, order, capture, custom string, sum amount, at time.Time) {
	n := t.capture("PAYMENT.CAPTURE.COMPLETED", order, capture, sum, at)
	n.set("resource.custom_id", custom)
	if t.chance(0.15) {
		n.drop("resource.supplementary_data") // older payloads: the up link alone names the order
	}
	t.emit(m, order, at.Add(t.between(2*time.Second, 9*time.Second)), n)
}

func (t *teller) refused(m *merchant, order, capture, custom string, sum amount, at time.Time) {
	var n *node
	if t.chance(0.5) {
		n = t.from("PAYMENT.CAPTURE.DENIED", "7NW873794T343360M", capture, "v2/payments/authorizations/2W543679LP5841156", "v2/checkout/orders/"+order)
		n.set("summary", "A "+sum.short()+" "+sum.currency+" capture payment was denied")
		n.set("resource.supplementary_data", obj("related_ids", obj("order_id", order)))
	} else {
		n = t.from("PAYMENT.CAPTURE.DECLINED", "7U133281TB3277326", capture, "48R416400V564864N", order,
			"v2/payments/authorizations/24B76447NN600461P", "v2/checkout/orders/"+order)
		n.drop("resource.supplementary_data.related_ids.authorization_id")
		n.drop("resource.invoice_id")
		n.set("resource.custom_id", custom)
		n.set("summary", "A payment capture for "+sum.short()+" "+sum.currency+" was declined.")
	}
	n.set("resource.amount", sum.money())
	n.set("resource.seller_receivable_breakdown", obj("gross_amount", sum.money(), "net_amount", sum.money()))
	n.set("resource.create_time", at.Format(seconds))
	n.set("resource.update_time", at.Format(seconds))
	t.emit(m, order, at.Add(t.between(2*time.Second, 9*time.Second)), n)
}

// after is what happens to some captures later: refunds, a dispute, a reversal.
func (t *teller) after(m *merchant, order, capture string, sum amount, at time.Time) {
	later := at.Add(t.between(6*time.Hour, 12*24*time.Hour))
	switch p := t.random.Float64(); {
	case p < 0.10:
		part := amount{max(1, sum.units*(10+t.random.IntN(40))/100), sum.currency}
		t.refund(m, "PAYMENT.CAPTURE.REFUNDED", order, capture, part, part, later)
		if t.chance(0.5) {
			rest := sum.minus(part)
			t.refund(m, "PAYMENT.CAPTURE.REFUNDED", order, capture, rest, sum, later.Add(t.between(time.Hour, 48*time.Hour)))
		}
	case p < 0.20:
		t.refund(m, "PAYMENT.CAPTURE.REFUNDED", order, capture, sum, sum, later)
	case p < 0.23:
		t.refund(m, "PAYMENT.CAPTURE.REVERSED", order, capture, sum, sum, later)
	case p < 0.28:
		t.dispute(m, order, capture, sum, later)
	}
}

// refund names the capture only, and dates itself in California.
func (t *teller) refund(m *merchant, typ, order, capture string, part, total amount, at time.Time) {
	id := t.letters(17)
	n := t.from(typ, "97E25940SA3983253", id, "5YH4578629195611S", capture, "09E71677NS257044M", id, "4L335234718889942", capture)
	n.set("resource.amount", part.money())
	n.set("resource.seller_payable_breakdown", obj("gross_amount", part.money(), "paypal_fee", amount{0, part.currency}.money(),
		"net_amount", part.money(), "total_refunded_amount", total.money()))
	local := at.In(time.FixedZone("", -7*3600)).Format("2006-01-02T15:04:05-07:00")
	n.set("resource.create_time", local)
	n.set("resource.update_time", local)
	n.set("summary", "A "+part.currency+" "+part.short()+" "+part.currency+" capture payment was refunded")
	t.emit(m, order, at.Add(t.between(2*time.Second, 6*time.Second)), n)
}

func (t *teller) dispute(m *merchant, order, capture string, sum amount, at time.Time) {
	id := "PP-" + t.pick("0123456789", 3) + "-" + t.pick("0123456789", 3) + "-" + t.pick("0123456789", 3) + "-" + t.pick("0123456789", 3)
	const millis = "2006-01-02T15:04:05.000Z"
	n := t.from("CUSTOMER.DISPUTE.CREATED", "PP-000-001-341-393", id, "45V487086B989905H", capture)
	n.set("resource.create_time", at.Format(millis))
	n.set("resource.update_time", at.Format(millis))
	n.set("resource.dispute_amount", sum.money())
	n.set("resource.refund_details.allowed_refund_amount", sum.money())
	n.drop("resource.messages")
	due := at.AddDate(0, 0, 20).Format("2006-01-02T15:04:05.000") // PayPal gives no zone here
	n.set("resource.buyer_response_due_date", due)
	n.set("resource.seller_response_due_date", due)
	t.emit(m, order, at.Add(time.Minute), n)
	end := at.Add(t.between(24*time.Hour, 240*time.Hour))
	n = t.from("CUSTOMER.DISPUTE.RESOLVED", "PP-000-001-341-261", id, "6C589962JJ4368547", capture, "22V23554K3057852G", t.letters(17))
	n.set("resource.create_time", at.Format(millis))
	n.set("resource.update_time", end.Format(millis))
	n.set("resource.dispute_amount", sum.money())
	if t.chance(0.5) {
		n.set("resource.dispute_outcome.outcome_code", "RESOLVED_SELLER_FAVOUR")
	}
	t.emit(m, order, end.Add(time.Minute), n)
}

func (t *teller) reversedApproval(m *merchant, who *person, order, custom string, at time.Time) {
	n := t.from("CHECKOUT.PAYMENT-APPROVAL.REVERSED", "5O190127TN364715T", order)
	n.set("resource.purchase_units.0.custom_id", custom)
	n.drop("resource.purchase_units.0.invoice_id")
	n.set("resource.payment_source", obj("paypal", obj("email_address", who.email, "account_id", who.payerID, "name", who.name())))
	t.emit(m, order, at, n)
}

// aside is an event that concerns no order: a saved payment token (a type that few know), or a plan.
func (t *teller) aside(m *merchant, who *person, at time.Time) {
	at = at.Add(time.Second)
	if t.chance(0.5) {
		p := m.plans[t.random.IntN(len(m.plans))]
		n := t.from("BILLING.PLAN.UPDATED--v1", "P-7LT50814996943336LSNDODY", p.id)
		n.set("resource.name", p.name)
		n.set("resource.update_time", at.Format(seconds))
		t.emit(m, p.id, at.Add(time.Second), n)
		return
	}
	token, event := t.pick("abcdefghijkmnpqrstuvwxyz0123456789", 12), "WH-"+t.letters(17)+"-"+t.letters(17)
	self := "https://api.sandbox.paypal.com/v1/notifications/webhooks-events/" + event
	n := obj("id", event, "event_version", "1.0", "create_time", "", "resource_type", "payment_token", "resource_version", "3.0",
		"event_type", "VAULT.PAYMENT-TOKEN.CREATED", "summary", "A payment token has been created.",
		"resource", obj("id", token, "time_created", at.Format(seconds), "customer", obj("id", who.payerID),
			"payment_source", obj("paypal", obj("payer_id", who.payerID, "email_address", who.email))),
		"links", &node{kind: '[', items: []*node{obj("href", self, "rel", "self", "method", "GET"), obj("href", self+"/resend", "rel", "resend", "method", "POST")}})
	t.emit(m, token, at.Add(time.Second), n)
}
