package stripe

import (
	"strings"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// The resources that a user chooses from.
const (
	ResourcePayments      = "payments"
	ResourceSubscriptions = "subscriptions"
)

var resources = []connectors.Resource{
	{
		ID: ResourcePayments, Title: "Payments and checkouts",
		EventTypes: []string{"payment_intent.*", "charge.*", "refund.*", "checkout.session.*"},
	},
	{
		ID: ResourceSubscriptions, Title: "Subscriptions and invoices",
		EventTypes: []string{"customer.subscription.*", "invoice.*"},
	},
}

// subscribed are the event types that an endpoint needs, by name: a wildcard would bring every future type.
var subscribed = map[string][]string{
	ResourcePayments: {
		"payment_intent.created", "payment_intent.requires_action", "payment_intent.processing", "payment_intent.amount_capturable_updated",
		"payment_intent.partially_funded", "payment_intent.succeeded", "payment_intent.payment_failed", "payment_intent.canceled",
		"charge.pending", "charge.succeeded", "charge.captured", "charge.failed", "charge.expired", "charge.refunded", "charge.updated", "charge.refund.updated",
		"charge.dispute.created", "charge.dispute.updated", "charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated", "charge.dispute.closed",
		"refund.created", "refund.updated", "refund.failed",
		"checkout.session.completed", "checkout.session.async_payment_succeeded", "checkout.session.async_payment_failed", "checkout.session.expired",
	},
	ResourceSubscriptions: {
		"customer.subscription.created", "customer.subscription.updated", "customer.subscription.deleted",
		"customer.subscription.paused", "customer.subscription.resumed",
		"invoice.paid", "invoice.payment_failed", "invoice.voided",
	},
}

// resourceOf is the id of the resource that takes an event type; empty: none does.
func resourceOf(eventType string) string {
	for _, r := range resources {
		for _, pattern := range r.EventTypes {
			if prefix, open := strings.CutSuffix(pattern, "*"); eventType == pattern || open && strings.HasPrefix(eventType, prefix) {
				return r.ID
			}
		}
	}
	return ""
}

// catalogue lists what a mapping may use. Names of the first block are read from the record's own members, for every
// provider alike; those of the second from OrderEvent.Fields. Events of Stripe's do not hold the lines of an order.
var catalogue = append(connectors.RecordFields(connectors.SampleRecord{
	EventID: "evt_1NG8Du2eZvKYlo2CUI79vXWy", EventType: "payment_intent.succeeded", Time: "2024-07-18T14:20:42Z",
	ProviderStatus: "succeeded", Status: "PAID",
	OrderID: "pi_3MtwBwLkdIwHu7ix28a3tqPa", Amount: "23.00", Currency: "USD",
	Email: "customer@example.com", GivenName: "Jenny", Surname: "Rosen", Phone: "+496912345678",
	PayerID: "cus_9s6XKzkNRiz8i3",
	Address: schemas.Address{
		Line1: "510 Townsend St", Line2: "Floor 2", City: "San Francisco",
		State: "CA", PostalCode: "94103", Country: "US",
	},
	CustomID: "841", InvoiceID: "in_1MtHbELkdIwHu7ixl4OzzPMv",
}, map[string]string{
	"event.status":   "Stripe's own status",
	"order.id":       "Payment intent, charge or subscription id",
	"payer.payer_id": "Stripe customer id",
	"custom_id":      "Your own order number (reference or metadata)",
	"invoice_id":     "Stripe invoice id",
}), []connectors.Field{
	{Name: "metadata", Label: "All metadata in one line", Type: connectors.TypeText, Sample: "campaign=spring, order_id=841"},
	{Name: "customer.id", Label: "Customer id", Type: connectors.TypeText, Sample: "cus_9s6XKzkNRiz8i3"},
	{Name: "order.description", Label: "Description", Type: connectors.TypeText, Sample: "Order 841 at Example Shop"},
	{Name: "order.create_time", Label: "Payment begun", Type: connectors.TypeDate, Sample: "2024-07-18T14:20:22Z"},
	{Name: "shipping.full_name", Label: "Name on the parcel", Type: connectors.TypeText, Sample: "Jenny Rosen"},
	{Name: "shipping.carrier", Label: "Carrier", Type: connectors.TypeText, Sample: "Fedex"},
	{Name: "shipping.tracking_number", Label: "Tracking number", Type: connectors.TypeText, Sample: "794947717776"},
	{Name: "shipping.city", Label: "City of the delivery", Type: connectors.TypeText, Sample: "San Francisco"},
	{Name: "shipping.country", Label: "Country of the delivery", Type: connectors.TypeText, Sample: "US"},
	{Name: "payment.intent", Label: "Payment intent id", Type: connectors.TypeText, Sample: "pi_3MtwBwLkdIwHu7ix28a3tqPa"},
	{Name: "payment.id", Label: "Charge id", Type: connectors.TypeText, Sample: "ch_3MmlLrLkdIwHu7ix0snN0B15"},
	{Name: "payment.method", Label: "Paid with", Type: connectors.TypeText, Sample: "card"},
	{Name: "payment.card.brand", Label: "Card brand", Type: connectors.TypeText, Sample: "visa"},
	{Name: "payment.card.last4", Label: "Last four digits of the card", Type: connectors.TypeText, Sample: "4242"},
	{Name: "payment.card.country", Label: "Country of the card", Type: connectors.TypeText, Sample: "US"},
	{Name: "payment.card.funding", Label: "Credit or debit", Type: connectors.TypeText, Sample: "credit"},
	{Name: "payment.wallet", Label: "Wallet", Type: connectors.TypeText, Sample: "apple_pay"},
	{Name: "payment.capture_method", Label: "Capture method", Type: connectors.TypeText, Sample: "automatic"},
	{Name: "payment.next_action", Label: "What the payer has to do", Type: connectors.TypeText, Sample: "redirect_to_url"},
	{Name: "payment.amount_received", Label: "Amount received", Type: connectors.TypeMoney, Sample: "23.00"},
	{Name: "payment.amount_capturable", Label: "Amount that can be captured", Type: connectors.TypeMoney, Sample: "23.00"},
	{Name: "payment.amount_captured", Label: "Amount captured", Type: connectors.TypeMoney, Sample: "23.00"},
	{Name: "payment.canceled_at", Label: "Canceled at", Type: connectors.TypeDate, Sample: "2024-07-18T15:20:22Z"},
	{Name: "payment.cancellation_reason", Label: "Why canceled", Type: connectors.TypeText, Sample: "requested_by_customer"},
	{Name: "payment.failure_code", Label: "Why it failed (code)", Type: connectors.TypeText, Sample: "card_declined"},
	{Name: "payment.decline_code", Label: "Why the bank declined (code)", Type: connectors.TypeText, Sample: "insufficient_funds"},
	{Name: "payment.failure_message", Label: "Why it failed", Type: connectors.TypeText, Sample: "Your card has insufficient funds."},
	{Name: "payment.outcome", Label: "Outcome in Stripe's words", Type: connectors.TypeText, Sample: "Payment complete."},
	{Name: "payment.risk_level", Label: "Risk level", Type: connectors.TypeText, Sample: "normal"},
	{Name: "payment.receipt_url", Label: "Link to the receipt", Type: connectors.TypeText, Sample: "https://pay.stripe.com/receipts/example"},
	{Name: "payment.statement", Label: "Text on the card statement", Type: connectors.TypeText, Sample: "EXAMPLE SHOP"},
	{Name: "checkout.id", Label: "Checkout session id", Type: connectors.TypeText, Sample: "cs_test_a11YYufWQzNY63zpQ6QSNRQhkUpVph4WRmzW0zWJO2znZKdVujZ0N0S22u"},
	{Name: "checkout.mode", Label: "Checkout mode", Type: connectors.TypeText, Sample: "payment"},
	{Name: "checkout.payment_status", Label: "Checkout's payment status", Type: connectors.TypeText, Sample: "paid"},
	{Name: "checkout.subtotal", Label: "Subtotal", Type: connectors.TypeMoney, Sample: "30.00"},
	{Name: "checkout.discount", Label: "Discount", Type: connectors.TypeMoney, Sample: "5.00"},
	{Name: "checkout.shipping", Label: "Shipping cost", Type: connectors.TypeMoney, Sample: "3.90"},
	{Name: "checkout.tax", Label: "Tax", Type: connectors.TypeMoney, Sample: "0.00"},
	{Name: "checkout.locale", Label: "Language of the checkout", Type: connectors.TypeText, Sample: "de"},
	{Name: "checkout.payment_link", Label: "Payment link id", Type: connectors.TypeText, Sample: "plink_1MoC3ULkdIwHu7ixZjtGpVl2"},
	{Name: "checkout.expires_at", Label: "Checkout expires", Type: connectors.TypeDate, Sample: "2024-07-19T14:20:22Z"},
	{Name: "checkout.recovery_url", Label: "Link back to an abandoned checkout", Type: connectors.TypeText, Sample: "https://buy.stripe.com/r/example"},
	{Name: "checkout.promotions", Label: "Agreed to promotions (opt_in, opt_out)", Type: connectors.TypeText, Sample: "opt_in"},
	{Name: "checkout.custom_fields.1", Label: "First field of your own", Type: connectors.TypeText, Sample: "Gift wrap"},
	{Name: "checkout.custom_fields.2", Label: "Second field of your own", Type: connectors.TypeText, Sample: "Engraving"},
	{Name: "checkout.custom_fields.3", Label: "Third field of your own", Type: connectors.TypeText, Sample: "Friend"},
	{Name: "refund.id", Label: "Refund id", Type: connectors.TypeText, Sample: "re_1Nispe2eZvKYlo2Cd31jOCgZ"},
	{Name: "refund.reason", Label: "Refund reason", Type: connectors.TypeText, Sample: "requested_by_customer"},
	{Name: "refund.failure_reason", Label: "Why the refund failed", Type: connectors.TypeText, Sample: "expired_or_canceled_card"},
	{Name: "dispute.id", Label: "Dispute id", Type: connectors.TypeText, Sample: "du_1MtJUT2eZvKYlo2CNaw2HvEv"},
	{Name: "dispute.reason", Label: "Dispute reason", Type: connectors.TypeText, Sample: "product_not_received"},
	{Name: "dispute.response_due", Label: "Your answer is due", Type: connectors.TypeDate, Sample: "2024-07-30T23:59:59Z"},
	{Name: "subscription.id", Label: "Subscription id", Type: connectors.TypeText, Sample: "sub_1MowQVLkdIwHu7ixeRlqHVzs"},
	{Name: "subscription.status", Label: "Stripe's subscription status", Type: connectors.TypeText, Sample: "past_due"},
	{Name: "subscription.description", Label: "Description", Type: connectors.TypeText, Sample: "Monthly box"},
	{Name: "subscription.price_id", Label: "Price id", Type: connectors.TypeText, Sample: "price_1MowQULkdIwHu7ixraBm864M"},
	{Name: "subscription.price_name", Label: "Price name", Type: connectors.TypeText, Sample: "Monthly"},
	{Name: "subscription.product_id", Label: "Product id", Type: connectors.TypeText, Sample: "prod_NZKdYqrwEYx6iK"},
	{Name: "subscription.interval", Label: "Billing interval", Type: connectors.TypeText, Sample: "month"},
	{Name: "subscription.quantity", Label: "Quantity", Type: connectors.TypeNumber, Sample: "1"},
	{Name: "subscription.start_time", Label: "Started", Type: connectors.TypeDate, Sample: "2024-06-24T19:41:38Z"},
	{Name: "subscription.period_end", Label: "Current period ends", Type: connectors.TypeDate, Sample: "2024-07-24T19:41:38Z"},
	{Name: "subscription.trial_end", Label: "Trial ends", Type: connectors.TypeDate, Sample: "2024-07-01T19:41:38Z"},
	{Name: "subscription.cancel_at", Label: "Will be canceled at", Type: connectors.TypeDate, Sample: "2024-08-24T19:41:38Z"},
	{Name: "subscription.cancel_at_period_end", Label: "Ends with the period", Type: connectors.TypeText, Sample: "true"},
	{Name: "subscription.canceled_at", Label: "Canceled at", Type: connectors.TypeDate, Sample: "2024-07-20T19:41:38Z"},
	{Name: "subscription.cancel_reason", Label: "Why canceled", Type: connectors.TypeText, Sample: "too_expensive"},
	{Name: "invoice.id", Label: "Invoice id", Type: connectors.TypeText, Sample: "in_1MtHbELkdIwHu7ixl4OzzPMv"},
	{Name: "invoice.number", Label: "Invoice number", Type: connectors.TypeText, Sample: "BC3FE1B0-0001"},
	{Name: "invoice.status", Label: "Invoice status", Type: connectors.TypeText, Sample: "open"},
	{Name: "invoice.reason", Label: "Why there is an invoice", Type: connectors.TypeText, Sample: "subscription_cycle"},
	{Name: "invoice.url", Label: "Link to the invoice", Type: connectors.TypeText, Sample: "https://invoice.stripe.com/i/example"},
	{Name: "invoice.attempts", Label: "Attempts to collect", Type: connectors.TypeNumber, Sample: "2"},
	{Name: "invoice.next_attempt", Label: "Next attempt", Type: connectors.TypeDate, Sample: "2024-07-29T10:00:00Z"},
	{Name: "invoice.amount_due", Label: "Amount due", Type: connectors.TypeMoney, Sample: "20.00"},
	{Name: "invoice.amount_paid", Label: "Amount paid", Type: connectors.TypeMoney, Sample: "20.00"},
}...)
