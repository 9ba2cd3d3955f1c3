package stripe

import (
	"strings"

	"github.com/tillstream/tillstream/schemas"
)

// intent reads a payment intent: the order of this provider. Whatever one purchase causes names it, and it lives from
// the first attempt to pay until the money is there.
func (b *builder) intent() error {
	if err := b.identify(schemas.KindOrder); err != nil {
		return err
	}
	b.status(intentStatuses)
	amount, err := b.amount("amount")
	if err != nil {
		return err
	}
	received, err := b.units("amount_received")
	if err != nil {
		return err
	}
	total, err := b.units("amount")
	if err != nil {
		return err
	}
	b.rec.Amount = amount
	charges := b.o.Objects("charges", "data")
	switch word := b.rec.ProviderStatus; {
	case word == "requires_payment_method" && strings.HasSuffix(b.rec.EventType, ".payment_failed"):
		b.rec.Status = schemas.StatusFailed
	case word == "succeeded" && received != nil && total != nil && *received < *total:
		b.rec.Status = schemas.StatusPartiallyPaid
	case word == "canceled":
		b.rec.Status = b.canceled(charges)
	}
	latest, err := b.reference("latest_charge")
	if err != nil {
		return err
	}
	b.link(schemas.LinkCapture, latest)
	for _, c := range charges {
		if id := c.Text("id"); checkID("", id) == nil {
			b.link(schemas.LinkCapture, id)
		}
	}
	if b.rec.InvoiceID, err = b.reference("invoice"); err != nil {
		return err
	}
	b.customID()
	var p person
	p.email(b.o.Text("receipt_email"))
	p.customer(b.o)
	for _, c := range append(charges, b.o.Object("latest_charge")) {
		p.details(c.Object("billing_details"))
		p.email(c.Text("receipt_email"))
	}
	p.shipping(b.o.Object("shipping"))
	b.rec.Payer = p.done()
	return b.intentFields()
}

// canceled says what became of a canceled payment intent: held money was let go, its time ran out, or somebody ended it.
func (b *builder) canceled(charges []object) schemas.PaymentStatus {
	before := b.event.Object("data", "previous_attributes")
	held := before.Text("status") == "requires_capture" || positive(before.Text("amount_capturable"))
	for _, c := range charges {
		held = held || c.Text("status") == "succeeded" && c.Text("captured") == "false"
	}
	// Newer versions name the charge only. One that was declined leaves an error on the intent.
	held = held || b.o.Text("capture_method") == "manual" && b.o.Has("latest_charge") && !b.o.Has("last_payment_error")
	switch reason := b.o.Text("cancellation_reason"); {
	case held:
		return schemas.StatusVoided
	case reason == "expired" || reason == "automatic":
		return schemas.StatusExpired
	}
	return schemas.StatusCancelled
}

// charge reads one attempt to take money. Its money is what was captured of it.
func (b *builder) charge() error {
	if err := b.identify(schemas.KindPayment); err != nil {
		return err
	}
	if err := b.belong(); err != nil {
		return err
	}
	b.status(chargeStatuses)
	whole, err := b.units("amount")
	if err != nil {
		return err
	}
	refunded, err := b.units("amount_refunded")
	if err != nil {
		return err
	}
	captured, err := b.units("amount_captured")
	if err != nil {
		return err
	}
	field, taken := "amount", b.o.Text("captured") != "false" && b.rec.ProviderStatus == "succeeded"
	if taken && captured != nil { // versions before 2020-08 have no such member
		field = "amount_captured"
	}
	if b.rec.Amount, err = b.amount(field); err != nil {
		return err
	}
	switch {
	case b.rec.EventType == "charge.expired":
		b.rec.Status = schemas.StatusExpired
	case b.rec.ProviderStatus == "succeeded" && !taken && b.o.Text("refunded") == "true":
		b.rec.Status = schemas.StatusVoided // what was held was let go: no money came, and none went back
	case b.rec.ProviderStatus == "succeeded" && !taken:
		b.rec.Status = schemas.StatusAuthorized
	case taken && b.o.Text("refunded") == "true":
		b.rec.Status = schemas.StatusRefunded
	case taken && refunded != nil && *refunded > 0:
		b.rec.Status = schemas.StatusPartiallyRefunded
	case taken && whole != nil && captured != nil && *captured < *whole:
		b.rec.Status = schemas.StatusPartiallyPaid
	}
	if taken {
		if b.rec.RefundedTotal, err = b.amount("amount_refunded"); err != nil {
			return err
		}
	}
	if b.rec.InvoiceID, err = b.reference("invoice"); err != nil {
		return err
	}
	b.customID()
	var p person
	p.details(b.o.Object("billing_details"))
	p.email(b.o.Text("receipt_email"))
	p.customer(b.o)
	p.shipping(b.o.Object("shipping"))
	b.rec.Payer = p.done()
	return b.chargeFields()
}

// refund reads one refund. charge.refunded tells of the same money as the charge's running total: the orders stage
// takes the larger of the sum of refunds and the total, and never both.
func (b *builder) refund() error {
	if err := b.identify(schemas.KindRefund); err != nil {
		return err
	}
	if err := b.belong(); err != nil {
		return err
	}
	b.status(refundStatuses)
	var err error
	if b.rec.Amount, err = b.amount("amount"); err != nil {
		return err
	}
	b.customID()
	f := &b.fields
	f.Set("refund.id", b.rec.EntityID)
	f.Set("refund.reason", b.o.Text("reason"))
	f.Set("refund.failure_reason", b.o.Text("failure_reason"))
	f.Set("payment.id", b.rec.Linked(schemas.LinkCapture))
	f.metadata(b.o)
	return nil
}

func (b *builder) dispute() error {
	if err := b.identify(schemas.KindDispute); err != nil {
		return err
	}
	if err := b.belong(); err != nil {
		return err
	}
	b.status(disputeStatuses)
	var err error
	if b.rec.Amount, err = b.amount("amount"); err != nil {
		return err
	}
	f := &b.fields
	f.Set("dispute.id", b.rec.EntityID)
	f.Set("dispute.reason", b.o.Text("reason"))
	f.unix("dispute.response_due", b.o.Text("evidence_details", "due_by"))
	f.Set("payment.id", b.rec.Linked(schemas.LinkCapture))
	f.metadata(b.o)
	return nil
}

// session reads a Checkout session. One that pays goes under its payment intent; one that was left before anybody tried
// to pay has none, and is a root of its own. One that starts a subscription goes under that.
func (b *builder) session() error {
	if b.o.Text("mode") == "setup" {
		return b.other() // saves a card, and asks for no money
	}
	if err := b.identify(schemas.KindOrder); err != nil {
		return err
	}
	intent, err := b.reference("payment_intent")
	if err != nil {
		return err
	}
	subscription, err := b.reference("subscription")
	if err != nil {
		return err
	}
	b.rec.ProviderStatus, b.rec.Status = sessionStatus(b.o, b.rec.EventType)
	switch {
	case intent != "":
		b.link(schemas.LinkOrder, intent)
		b.rec.RootID = intent
	case subscription != "":
		b.link(schemas.LinkSubscription, subscription)
		b.rec.Kind, b.rec.RootID = schemas.KindSubscription, subscription
		b.rec.Status = startOf(b.rec.Status)
	}
	if b.rec.Amount, err = b.amount("amount_total"); err != nil {
		return err
	}
	if b.rec.InvoiceID, err = b.reference("invoice"); err != nil {
		return err
	}
	b.customID()
	var p person
	p.details(b.o.Object("customer_details"))
	p.email(b.o.Text("customer_email"))
	p.customer(b.o)
	p.shipping(b.o.Object("shipping_details"))
	p.shipping(b.o.Object("collected_information", "shipping_details"))
	p.shipping(b.o.Object("shipping"))
	b.rec.Payer = p.done()
	return b.sessionFields()
}

func (b *builder) subscription() error {
	if err := b.identify(schemas.KindSubscription); err != nil {
		return err
	}
	b.status(subscriptionStatuses)
	b.customID()
	var p person
	p.customer(b.o)
	b.rec.Payer = p.done()
	b.subscriptionFields()
	return nil
}
