package stripe

import (
	"strings"

	"github.com/tillstream/tillstream/connectors"
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

// Field types of the catalogue.
const (
	typeText   = "text"
	typeMoney  = "money"
	typeDate   = "date"
	typePhone  = "phone"
	typeNumber = "number"
)

// catalogue lists what a mapping may use. Names of the first block are read from the record's own members, for every
// provider alike; those of the second from OrderEvent.Fields. Events of Stripe's do not hold the lines of an order.
var catalogue = []connectors.Field{
	{Name: "event.id", Label: "Event id", Type: typeText, Sample: "evt_1NG8Du2eZvKYlo2CUI79vXWy"},
	{Name: "event.type", Label: "Event type", Type: typeText, Sample: "payment_intent.succeeded"},
	{Name: "event.time", Label: "Time of the change", Type: typeDate, Sample: "2024-07-18T14:20:42Z"},
	{Name: "event.status", Label: "Stripe's own status", Type: typeText, Sample: "succeeded"},
	{Name: "order.id", Label: "Payment intent, charge or subscription id", Type: typeText, Sample: "pi_3MtwBwLkdIwHu7ix28a3tqPa"},
	{Name: "order.amount", Label: "Amount", Type: typeMoney, Sample: "23.00"},
	{Name: "order.currency", Label: "Currency", Type: typeText, Sample: "USD"},
	{Name: "order.status", Label: "Payment status", Type: typeText, Sample: "PAID"},
	{Name: "order.paid", Label: "Paid so far", Type: typeMoney, Sample: "23.00"},
	{Name: "order.refunded", Label: "Refunded so far", Type: typeMoney, Sample: "0"},
	{Name: "payer.email", Label: "E-mail", Type: typeText, Sample: "customer@example.com"},
	{Name: "payer.given_name", Label: "First name", Type: typeText, Sample: "Jenny"},
	{Name: "payer.surname", Label: "Last name", Type: typeText, Sample: "Rosen"},
	{Name: "payer.full_name", Label: "Full name", Type: typeText, Sample: "Jenny Rosen"},
	{Name: "payer.phone", Label: "Phone", Type: typePhone, Sample: "+496912345678"},
	{Name: "payer.payer_id", Label: "Stripe customer id", Type: typeText, Sample: "cus_9s6XKzkNRiz8i3"},
	{Name: "payer.address.line1", Label: "Address line 1", Type: typeText, Sample: "510 Townsend St"},
	{Name: "payer.address.line2", Label: "Address line 2", Type: typeText, Sample: "Floor 2"},
	{Name: "payer.address.city", Label: "City", Type: typeText, Sample: "San Francisco"},
	{Name: "payer.address.state", Label: "State or province", Type: typeText, Sample: "CA"},
	{Name: "payer.address.postal_code", Label: "Postal code", Type: typeText, Sample: "94103"},
	{Name: "payer.address.country", Label: "Country", Type: typeText, Sample: "US"},
	{Name: "custom_id", Label: "Your own order number (reference or metadata)", Type: typeText, Sample: "841"},
	{Name: "invoice_id", Label: "Stripe invoice id", Type: typeText, Sample: "in_1MtHbELkdIwHu7ixl4OzzPMv"},

	{Name: "metadata", Label: "All metadata in one line", Type: typeText, Sample: "campaign=spring, order_id=841"},
	{Name: "customer.id", Label: "Customer id", Type: typeText, Sample: "cus_9s6XKzkNRiz8i3"},
	{Name: "order.description", Label: "Description", Type: typeText, Sample: "Order 841 at Example Shop"},
	{Name: "order.create_time", Label: "Payment begun", Type: typeDate, Sample: "2024-07-18T14:20:22Z"},
	{Name: "shipping.full_name", Label: "Name on the parcel", Type: typeText, Sample: "Jenny Rosen"},
	{Name: "shipping.carrier", Label: "Carrier", Type: typeText, Sample: "Fedex"},
	{Name: "shipping.tracking_number", Label: "Tracking number", Type: typeText, Sample: "794947717776"},
	{Name: "shipping.city", Label: "City of the delivery", Type: typeText, Sample: "San Francisco"},
	{Name: "shipping.country", Label: "Country of the delivery", Type: typeText, Sample: "US"},
	{Name: "payment.intent", Label: "Payment intent id", Type: typeText, Sample: "pi_3MtwBwLkdIwHu7ix28a3tqPa"},
	{Name: "payment.id", Label: "Charge id", Type: typeText, Sample: "ch_3MmlLrLkdIwHu7ix0snN0B15"},
	{Name: "payment.method", Label: "Paid with", Type: typeText, Sample: "card"},
	{Name: "payment.card.brand", Label: "Card brand", Type: typeText, Sample: "visa"},
	{Name: "payment.card.last4", Label: "Last four digits of the card", Type: typeText, Sample: "4242"},
	{Name: "payment.card.country", Label: "Country of the card", Type: typeText, Sample: "US"},
	{Name: "payment.card.funding", Label: "Credit or debit", Type: typeText, Sample: "credit"},
	{Name: "payment.wallet", Label: "Wallet", Type: typeText, Sample: "apple_pay"},
	{Name: "payment.capture_method", Label: "Capture method", Type: typeText, Sample: "automatic"},
	{Name: "payment.next_action", Label: "What the payer has to do", Type: typeText, Sample: "redirect_to_url"},
	{Name: "payment.amount_received", Label: "Amount received", Type: typeMoney, Sample: "23.00"},
	{Name: "payment.amount_capturable", Label: "Amount that can be captured", Type: typeMoney, Sample: "23.00"},
	{Name: "payment.amount_captured", Label: "Amount captured", Type: typeMoney, Sample: "23.00"},
	{Name: "payment.canceled_at", Label: "Canceled at", Type: typeDate, Sample: "2024-07-18T15:20:22Z"},
	{Name: "payment.cancellation_reason", Label: "Why canceled", Type: typeText, Sample: "requested_by_customer"},
	{Name: "payment.failure_code", Label: "Why it failed (code)", Type: typeText, Sample: "card_declined"},
	{Name: "payment.decline_code", Label: "Why the bank declined (code)", Type: typeText, Sample: "insufficient_funds"},
	{Name: "payment.failure_message", Label: "Why it failed", Type: typeText, Sample: "Your card has insufficient funds."},
	{Name: "payment.outcome", Label: "Outcome in Stripe's words", Type: typeText, Sample: "Payment complete."},
	{Name: "payment.risk_level", Label: "Risk level", Type: typeText, Sample: "normal"},
	{Name: "payment.receipt_url", Label: "Link to the receipt", Type: typeText, Sample: "https://pay.stripe.com/receipts/example"},
	{Name: "payment.statement", Label: "Text on the card statement", Type: typeText, Sample: "EXAMPLE SHOP"},
	{Name: "checkout.id", Label: "Checkout session id", Type: typeText, Sample: "cs_test_a11YYufWQzNY63zpQ6QSNRQhkUpVph4WRmzW0zWJO2znZKdVujZ0N0S22u"},
	{Name: "checkout.mode", Label: "Checkout mode", Type: typeText, Sample: "payment"},
	{Name: "checkout.payment_status", Label: "Checkout's payment status", Type: typeText, Sample: "paid"},
	{Name: "checkout.subtotal", Label: "Subtotal", Type: typeMoney, Sample: "30.00"},
	{Name: "checkout.discount", Label: "Discount", Type: typeMoney, Sample: "5.00"},
	{Name: "checkout.shipping", Label: "Shipping cost", Type: typeMoney, Sample: "3.90"},
	{Name: "checkout.tax", Label: "Tax", Type: typeMoney, Sample: "0.00"},
	{Name: "checkout.locale", Label: "Language of the checkout", Type: typeText, Sample: "de"},
	{Name: "checkout.payment_link", Label: "Payment link id", Type: typeText, Sample: "plink_1MoC3ULkdIwHu7ixZjtGpVl2"},
	{Name: "checkout.expires_at", Label: "Checkout expires", Type: typeDate, Sample: "2024-07-19T14:20:22Z"},
	{Name: "checkout.recovery_url", Label: "Link back to an abandoned checkout", Type: typeText, Sample: "https://buy.stripe.com/r/example"},
	{Name: "checkout.promotions", Label: "Agreed to promotions (opt_in, opt_out)", Type: typeText, Sample: "opt_in"},
	{Name: "checkout.custom_fields.1", Label: "First field of your own", Type: typeText, Sample: "Gift wrap"},
	{Name: "checkout.custom_fields.2", Label: "Second field of your own", Type: typeText, Sample: "Engraving"},
	{Name: "checkout.custom_fields.3", Label: "Third field of your own", Type: typeText, Sample: "Friend"},
	{Name: "refund.id", Label: "Refund id", Type: typeText, Sample: "re_1Nispe2eZvKYlo2Cd31jOCgZ"},
	{Name: "refund.reason", Label: "Refund reason", Type: typeText, Sample: "requested_by_customer"},
	{Name: "refund.failure_reason", Label: "Why the refund failed", Type: typeText, Sample: "expired_or_canceled_card"},
	{Name: "dispute.id", Label: "Dispute id", Type: typeText, Sample: "du_1MtJUT2eZvKYlo2CNaw2HvEv"},
	{Name: "dispute.reason", Label: "Dispute reason", Type: typeText, Sample: "product_not_received"},
	{Name: "dispute.response_due", Label: "Your answer is due", Type: typeDate, Sample: "2024-07-30T23:59:59Z"},
	{Name: "subscription.id", Label: "Subscription id", Type: typeText, Sample: "sub_1MowQVLkdIwHu7ixeRlqHVzs"},
	{Name: "subscription.status", Label: "Stripe's subscription status", Type: typeText, Sample: "past_due"},
	{Name: "subscription.description", Label: "Description", Type: typeText, Sample: "Monthly box"},
	{Name: "subscription.price_id", Label: "Price id", Type: typeText, Sample: "price_1MowQULkdIwHu7ixraBm864M"},
	{Name: "subscription.price_name", Label: "Price name", Type: typeText, Sample: "Monthly"},
	{Name: "subscription.product_id", Label: "Product id", Type: typeText, Sample: "prod_NZKdYqrwEYx6iK"},
	{Name: "subscription.interval", Label: "Billing interval", Type: typeText, Sample: "month"},
	{Name: "subscription.quantity", Label: "Quantity", Type: typeNumber, Sample: "1"},
	{Name: "subscription.start_time", Label: "Started", Type: typeDate, Sample: "2024-06-24T19:41:38Z"},
	{Name: "subscription.period_end", Label: "Current period ends", Type: typeDate, Sample: "2024-07-24T19:41:38Z"},
	{Name: "subscription.trial_end", Label: "Trial ends", Type: typeDate, Sample: "2024-07-01T19:41:38Z"},
	{Name: "subscription.cancel_at", Label: "Will be canceled at", Type: typeDate, Sample: "2024-08-24T19:41:38Z"},
	{Name: "subscription.cancel_at_period_end", Label: "Ends with the period", Type: typeText, Sample: "true"},
	{Name: "subscription.canceled_at", Label: "Canceled at", Type: typeDate, Sample: "2024-07-20T19:41:38Z"},
	{Name: "subscription.cancel_reason", Label: "Why canceled", Type: typeText, Sample: "too_expensive"},
	{Name: "invoice.id", Label: "Invoice id", Type: typeText, Sample: "in_1MtHbELkdIwHu7ixl4OzzPMv"},
	{Name: "invoice.number", Label: "Invoice number", Type: typeText, Sample: "BC3FE1B0-0001"},
	{Name: "invoice.status", Label: "Invoice status", Type: typeText, Sample: "open"},
	{Name: "invoice.reason", Label: "Why there is an invoice", Type: typeText, Sample: "subscription_cycle"},
	{Name: "invoice.url", Label: "Link to the invoice", Type: typeText, Sample: "https://invoice.stripe.com/i/example"},
	{Name: "invoice.attempts", Label: "Attempts to collect", Type: typeNumber, Sample: "2"},
	{Name: "invoice.next_attempt", Label: "Next attempt", Type: typeDate, Sample: "2024-07-29T10:00:00Z"},
	{Name: "invoice.amount_due", Label: "Amount due", Type: typeMoney, Sample: "20.00"},
	{Name: "invoice.amount_paid", Label: "Amount paid", Type: typeMoney, Sample: "20.00"},
}
