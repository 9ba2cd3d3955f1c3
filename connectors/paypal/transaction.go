package paypal

import (
	"cmp"
	"strings"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// Event codes of the transaction search. Of the first group (payments) those below are made by checkouts and
// subscriptions of an app; the rest are donations, buttons, terminals and the like.
const (
	codePayments     = "T00"
	codeReversals    = "T11"
	codeSubscription = "T0002"
	codePreapproved  = "T0003"
	codeDirect       = "T0005"
	codeCheckout     = "T0006"
	codeReversed     = "T1106"
	codeRefunded     = "T1107"
	codeReview       = "T1116"
	codeChargeback   = "T1201"
)

// ofApp reports whether webhooks of an app tell of transactions with this code.
func ofApp(code string) bool {
	switch code {
	case codeSubscription, codePreapproved, codeDirect, codeCheckout:
		return true
	}
	return strings.HasPrefix(code, codeReversals) || code == codeChargeback
}

// transactionKind says by code: money that came in, and money that went back. Fees, withdrawals, holds, authorizations and what
// the account itself paid concern no order.
func transactionKind(code string, negative bool) schemas.EventKind {
	switch code {
	case codeReversed, codeRefunded, codeReview, codeChargeback:
		return schemas.KindRefund
	}
	if strings.HasPrefix(code, codePayments) && !negative {
		return schemas.KindPayment
	}
	return schemas.KindOther
}

var (
	transactionStatuses = map[string]schemas.PaymentStatus{
		"S": schemas.StatusPaid, "P": schemas.StatusPending, "D": schemas.StatusFailed, "V": schemas.StatusRefunded,
	}
	refundTransactionStatuses = map[string]schemas.PaymentStatus{
		"S": schemas.StatusRefunded, "P": schemas.StatusPending, "D": schemas.StatusFailed, "V": schemas.StatusCancelled,
	}
	transactionSteps = map[string]string{"S": "COMPLETED", "P": "PENDING", "D": "DENIED", "V": "COMPLETED"}
)

// transaction reads a line of the transaction search: a capture, sale or refund under its own id, with its payer.
func (b *builder) transaction() error {
	info := b.resource.Object("transaction_info")
	const field = "transaction_info."
	code, word := info.Text("transaction_event_code"), info.Text("transaction_status")
	amount, err := amountOf(info, field+"transaction_amount", "", "transaction_amount")
	if err != nil {
		return err
	}
	kind := transactionKind(code, amount != nil && strings.HasPrefix(amount.Value, "-"))
	if err := b.identify(kind, field+"transaction_id", info.Text("transaction_id")); err != nil {
		return err
	}
	b.rec.Amount, b.rec.ProviderStatus = amount, word
	if err := b.reference(info.Text("paypal_reference_id"), info.Text("paypal_reference_id_type")); err != nil {
		return err
	}
	family := "PAYMENT.CAPTURE."
	if code == codeSubscription || b.rec.Linked(schemas.LinkSubscription) != "" {
		family = "PAYMENT.SALE."
	}
	switch kind {
	case schemas.KindPayment:
		b.rec.Status, b.rec.EventType = canonical(transactionStatuses, word), family+cmp.Or(transactionSteps[word], "PENDING")
	case schemas.KindRefund:
		b.rec.Status, b.rec.EventType = canonical(refundTransactionStatuses, word), family+"REFUNDED"
		if code == codeReversed || code == codeChargeback {
			b.rec.EventType = family + "REVERSED"
			if b.rec.Status == schemas.StatusRefunded {
				b.rec.Status = schemas.StatusChargedBack
			}
		}
		if amount != nil {
			amount.Value = strings.TrimPrefix(amount.Value, "-")
		}
	default:
		b.rec.EventType = code
	}
	b.rec.Resource = resourceOf(b.rec.EventType)
	b.rec.Payer = transactionPayer(b.resource)
	b.rec.CustomID = connectors.Cut(info.Text("custom_field"), textBytesMax)
	b.rec.InvoiceID = connectors.Cut(info.Text("invoice_id"), textBytesMax)
	if err := b.transactionFields(info); err != nil {
		return err
	}
	return b.transactionTime(info)
}

// headerSubscription is kept with a payment of a subscription's list, which does not name the subscription itself.
const headerSubscription = "Subscription-Id"

// charge reads a line of a subscription's payments: the sale under its own id, with the customer.
func (b *builder) charge() error {
	if err := b.identify(schemas.KindPayment, "id", b.resource.Text("id")); err != nil {
		return err
	}
	subscription := b.rec.Headers[headerSubscription]
	if err := b.link(schemas.LinkSubscription, subscription); err != nil {
		return err
	}
	b.rec.RootID = subscription
	b.status(saleStatuses)
	if b.rec.ProviderStatus == "DECLINED" {
		b.rec.Status = schemas.StatusFailed
	}
	const field = "amount_with_breakdown."
	var err error
	if b.rec.Amount, err = amountOf(b.resource, field+"gross_amount", "", "amount_with_breakdown", "gross_amount"); err != nil {
		return err
	}
	for part, name := range map[string]string{"fee_amount": "payment.fee", "net_amount": "payment.net"} {
		a, err := amountOf(b.resource, field+part, "", "amount_with_breakdown", part)
		if err != nil {
			return err
		}
		b.fields.money(a, name, "")
	}
	var p person
	p.email(b.resource.Text("payer_email"))
	name := b.resource.Object("payer_name")
	p.name(name.Text("given_name"), name.Text("surname"), name.Text("full_name"))
	b.rec.Payer = p.done()
	b.fields.Set("payment.id", b.rec.EntityID)
	b.fields.Set("subscription.id", subscription)
	if b.rec.ProviderTime, err = timeOf(b.resource, "time", "time"); err == nil && b.rec.ProviderTime.IsZero() {
		err = errNoTime
	}
	return err
}

// reference links what the transaction belongs to, by the kind of id that PayPal says it is.
func (b *builder) reference(id, typ string) error {
	var rel schemas.LinkRelation
	switch typ {
	case "ODR":
		rel = schemas.LinkOrder
	case "SUB":
		rel = schemas.LinkSubscription
	case "PAP":
		// A billing agreement of the old kind is no subscription.
		if rel = schemas.LinkSubscription; !strings.HasPrefix(id, "I-") {
			return nil
		}
	case "TXN":
		// A refund names its payment, without a word whether it is a capture or a sale: both are found by their id.
		if rel = schemas.LinkCapture; b.rec.Kind == schemas.KindPayment {
			rel = schemas.LinkAuthorization
		}
	default:
		return nil
	}
	if id == "" || id == b.rec.EntityID {
		return nil
	}
	if err := b.link(rel, id); err != nil {
		return err
	}
	b.rec.RootID = id
	return nil
}

func (b *builder) transactionTime(info object) error {
	for _, name := range []string{"transaction_updated_date", "transaction_initiation_date"} {
		t, err := timeOf(info, "transaction_info."+name, name)
		if err != nil {
			return err
		}
		if !t.IsZero() {
			b.rec.ProviderTime = t
			return nil
		}
	}
	return errNoTime
}

func (b *builder) transactionFields(info object) error {
	f := &b.fields
	f.Set("summary", connectors.Cut(info.Text("transaction_subject"), reasonBytesInField))
	f.Set("subscription.id", b.rec.Linked(schemas.LinkSubscription))
	if b.rec.Kind == schemas.KindRefund {
		f.Set("refund.id", b.rec.EntityID)
		f.Set("refund.note", info.Text("transaction_note"))
	} else {
		f.Set("payment.id", b.rec.EntityID)
	}
	fee, err := amountOf(info, "transaction_info.fee_amount", "", "fee_amount")
	if err != nil {
		return err
	}
	if fee != nil {
		fee.Value = strings.TrimPrefix(fee.Value, "-")
	}
	f.money(fee, "payment.fee", "")
	f.Set("shipping.full_name", b.resource.Text("shipping_info", "name"))
	f.Set("shipping.method", b.resource.Text("shipping_info", "method"))
	var names []string
	for _, item := range b.resource.Objects("cart_info", "item_details") {
		if len(names) < fieldItemsMax {
			names = appendText(names, item.Text("item_name"))
		}
	}
	f.Set("order.item_names", strings.Join(names, ", "))
	return nil
}

// transactionPayer reads the customer of a transaction: his address is in the shape of the old API.
func transactionPayer(detail object) *schemas.Payer {
	info := detail.Object("payer_info")
	var p person
	p.email(info.Text("email_address"))
	p.name(info.Text("payer_name", "given_name"), info.Text("payer_name", "surname"), info.Text("payer_name", "alternate_full_name"))
	p.id(info.Text("account_id"))
	p.phone(info.Object("phone_number"))
	p.phoneText(info.Text("phone_number"))
	p.address(info.Object("address"), detail.Object("shipping_info", "address"))
	if p.p.Address.Country == "" {
		p.p.Address.Country = connectors.Cut(info.Text("country_code"), textBytesMax)
	}
	p.ship = detail.Text("shipping_info", "name")
	return p.done()
}
