package paypal

import (
	"strings"

	"github.com/tillstream/tillstream/connectors"
)

// The resources that a user chooses from.
const (
	ResourceOrders  = "checkout-order-approved"
	ResourceBilling = "billing-subscription"
)

var resources = []connectors.Resource{
	{
		ID: ResourceOrders, Title: "Checkout order approved",
		EventTypes: []string{
			"CHECKOUT.ORDER.APPROVED", "CHECKOUT.ORDER.COMPLETED", "CHECKOUT.PAYMENT-APPROVAL.REVERSED",
			"PAYMENT.CAPTURE.*", "PAYMENT.AUTHORIZATION.*", "CUSTOMER.DISPUTE.*",
		},
	},
	{
		ID: ResourceBilling, Title: "Billing subscription events",
		EventTypes: []string{"BILLING.SUBSCRIPTION.*", "PAYMENT.SALE.*"},
		TagSuffix:  "Billing_Subscription_Events",
	},
}

// subscribed are the event types that a registration asks PayPal for, by name: a wildcard would bring every future type.
var subscribed = map[string][]string{
	ResourceOrders: {
		"CHECKOUT.ORDER.APPROVED", "CHECKOUT.ORDER.COMPLETED", "CHECKOUT.PAYMENT-APPROVAL.REVERSED",
		"PAYMENT.CAPTURE.COMPLETED", "PAYMENT.CAPTURE.PENDING", "PAYMENT.CAPTURE.DENIED", "PAYMENT.CAPTURE.DECLINED",
		"PAYMENT.CAPTURE.REFUNDED", "PAYMENT.CAPTURE.REVERSED",
		"PAYMENT.AUTHORIZATION.CREATED", "PAYMENT.AUTHORIZATION.VOIDED",
		"CUSTOMER.DISPUTE.CREATED", "CUSTOMER.DISPUTE.UPDATED", "CUSTOMER.DISPUTE.RESOLVED",
	},
	ResourceBilling: {
		"BILLING.SUBSCRIPTION.CREATED", "BILLING.SUBSCRIPTION.ACTIVATED", "BILLING.SUBSCRIPTION.UPDATED",
		"BILLING.SUBSCRIPTION.EXPIRED", "BILLING.SUBSCRIPTION.CANCELLED", "BILLING.SUBSCRIPTION.SUSPENDED",
		"BILLING.SUBSCRIPTION.PAYMENT.FAILED", "BILLING.SUBSCRIPTION.RE-ACTIVATED",
		"PAYMENT.SALE.COMPLETED", "PAYMENT.SALE.PENDING", "PAYMENT.SALE.DENIED", "PAYMENT.SALE.REFUNDED", "PAYMENT.SALE.REVERSED",
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
// provider alike; those of the second from OrderEvent.Fields.
var catalogue = []connectors.Field{
	{Name: "event.id", Label: "Event id", Type: typeText, Sample: "WH-4GV89724R21962040-1C819962UB8804029"},
	{Name: "event.type", Label: "Event type", Type: typeText, Sample: "CHECKOUT.ORDER.APPROVED"},
	{Name: "event.time", Label: "Time of the change", Type: typeDate, Sample: "2024-07-18T14:20:42Z"},
	{Name: "event.status", Label: "PayPal's own status", Type: typeText, Sample: "COMPLETED"},
	{Name: "order.id", Label: "Order or subscription id", Type: typeText, Sample: "8UB08260L82228933"},
	{Name: "order.amount", Label: "Amount", Type: typeMoney, Sample: "23.00"},
	{Name: "order.currency", Label: "Currency", Type: typeText, Sample: "USD"},
	{Name: "order.status", Label: "Payment status", Type: typeText, Sample: "APPROVED"},
	{Name: "order.paid", Label: "Paid so far", Type: typeMoney, Sample: "23.00"},
	{Name: "order.refunded", Label: "Refunded so far", Type: typeMoney, Sample: "0"},
	{Name: "payer.email", Label: "E-mail", Type: typeText, Sample: "customer@example.com"},
	{Name: "payer.given_name", Label: "First name", Type: typeText, Sample: "John"},
	{Name: "payer.surname", Label: "Last name", Type: typeText, Sample: "Doe"},
	{Name: "payer.full_name", Label: "Full name", Type: typeText, Sample: "John Doe"},
	{Name: "payer.phone", Label: "Phone (needs \"Contact telephone number\" switched on at PayPal)", Type: typePhone, Sample: "+496912345678"},
	{Name: "payer.payer_id", Label: "PayPal payer id", Type: typeText, Sample: "QYR5Z8XDVJNXQ"},
	{Name: "payer.address.line1", Label: "Address line 1", Type: typeText, Sample: "2211 N First Street"},
	{Name: "payer.address.line2", Label: "Address line 2", Type: typeText, Sample: "Building 17"},
	{Name: "payer.address.city", Label: "City", Type: typeText, Sample: "San Jose"},
	{Name: "payer.address.state", Label: "State or province", Type: typeText, Sample: "CA"},
	{Name: "payer.address.postal_code", Label: "Postal code", Type: typeText, Sample: "95131"},
	{Name: "payer.address.country", Label: "Country", Type: typeText, Sample: "US"},
	{Name: "custom_id", Label: "Your own reference (custom_id)", Type: typeText, Sample: "841"},
	{Name: "invoice_id", Label: "Invoice number", Type: typeText, Sample: "INV-2024-17"},

	{Name: "summary", Label: "What happened, in PayPal's words", Type: typeText, Sample: "An order has been approved by buyer"},
	{Name: "order.intent", Label: "Intent", Type: typeText, Sample: "CAPTURE"},
	{Name: "order.create_time", Label: "Order created", Type: typeDate, Sample: "2024-07-18T14:20:22Z"},
	{Name: "order.reference_id", Label: "Purchase unit reference", Type: typeText, Sample: "default"},
	{Name: "order.description", Label: "Description", Type: typeText, Sample: "Your order at Example Shop"},
	{Name: "order.item_names", Label: "Item names", Type: typeText, Sample: "Leather belt, Shipping"},
	{Name: "order.item_skus", Label: "Item SKUs", Type: typeText, Sample: "BELT-1"},
	{Name: "order.item_quantity", Label: "Number of items", Type: typeNumber, Sample: "2"},
	{Name: "order.items.1.name", Label: "First item", Type: typeText, Sample: "Leather belt"},
	{Name: "order.items.2.name", Label: "Second item", Type: typeText, Sample: "Shipping"},
	{Name: "order.items.3.name", Label: "Third item", Type: typeText, Sample: "Gift card"},
	{Name: "order.item_total", Label: "Total of items", Type: typeMoney, Sample: "33.80"},
	{Name: "order.tax_total", Label: "Tax", Type: typeMoney, Sample: "0.00"},
	{Name: "order.shipping", Label: "Shipping cost", Type: typeMoney, Sample: "3.90"},
	{Name: "order.discount", Label: "Discount", Type: typeMoney, Sample: "5.00"},
	{Name: "merchant.email", Label: "Your PayPal e-mail", Type: typeText, Sample: "merchant@example.com"},
	{Name: "merchant.id", Label: "Your merchant id", Type: typeText, Sample: "LLCK5GYWKHPE2"},
	{Name: "shipping.full_name", Label: "Name on the parcel", Type: typeText, Sample: "John Doe"},
	{Name: "shipping.method", Label: "Shipping method", Type: typeText, Sample: "United States Postal Service"},
	{Name: "payment.source", Label: "Paid with", Type: typeText, Sample: "paypal"},
	{Name: "payment.id", Label: "Payment id", Type: typeText, Sample: "98L405257W8422823"},
	{Name: "payment.reason", Label: "Why pending or declined", Type: typeText, Sample: "ECHECK"},
	{Name: "payment.mode", Label: "Payment mode", Type: typeText, Sample: "INSTANT_TRANSFER"},
	{Name: "payment.parent_id", Label: "Parent payment (old API)", Type: typeText, Sample: "PAY-5437236047802405NKRJ22UA"},
	{Name: "payment.final_capture", Label: "Final capture", Type: typeText, Sample: "true"},
	{Name: "payment.protection", Label: "Seller protection", Type: typeText, Sample: "ELIGIBLE"},
	{Name: "payment.expiration_time", Label: "Authorization valid until", Type: typeDate, Sample: "2018-09-13T19:21:11Z"},
	{Name: "payment.fee", Label: "PayPal's fee", Type: typeMoney, Sample: "0.56"},
	{Name: "payment.net", Label: "Net amount", Type: typeMoney, Sample: "1.44"},
	{Name: "refund.id", Label: "Refund id", Type: typeText, Sample: "97E25940SA3983253"},
	{Name: "refund.note", Label: "Refund note to the payer", Type: typeText, Sample: "refund from PP"},
	{Name: "refund.reason", Label: "Refund reason", Type: typeText, Sample: "REFUND"},
	{Name: "dispute.id", Label: "Dispute id", Type: typeText, Sample: "PP-000-001-341-393"},
	{Name: "dispute.reason", Label: "Dispute reason", Type: typeText, Sample: "UNAUTHORIZED"},
	{Name: "dispute.stage", Label: "Dispute stage", Type: typeText, Sample: "INQUIRY"},
	{Name: "dispute.channel", Label: "Dispute channel", Type: typeText, Sample: "INTERNAL"},
	{Name: "dispute.outcome", Label: "Dispute outcome", Type: typeText, Sample: "RESOLVED_BUYER_FAVOUR"},
	{Name: "dispute.seller_response_due", Label: "Your answer is due", Type: typeDate, Sample: "2016-07-10T20:38:52Z"},
	{Name: "subscription.id", Label: "Subscription id", Type: typeText, Sample: "I-1E2LTB0J1YGW"},
	{Name: "subscription.plan_id", Label: "Plan id", Type: typeText, Sample: "P-53G711603K123334JMK2NVKI"},
	{Name: "subscription.plan_name", Label: "Plan name", Type: typeText, Sample: "Monthly"},
	{Name: "subscription.description", Label: "Description (old API)", Type: typeText, Sample: "Monthly box"},
	{Name: "subscription.quantity", Label: "Quantity", Type: typeNumber, Sample: "1"},
	{Name: "subscription.start_time", Label: "Starts", Type: typeDate, Sample: "2022-06-24T19:41:38Z"},
	{Name: "subscription.create_time", Label: "Created", Type: typeDate, Sample: "2022-06-24T19:41:57Z"},
	{Name: "subscription.status_note", Label: "Why the status changed", Type: typeText, Sample: "Customer asked to cancel"},
	{Name: "subscription.next_billing_time", Label: "Next billing", Type: typeDate, Sample: "2022-07-24T10:00:00Z"},
	{Name: "subscription.final_payment_time", Label: "Final payment", Type: typeDate, Sample: "2023-06-24T10:00:00Z"},
	{Name: "subscription.last_payment.amount", Label: "Last payment", Type: typeMoney, Sample: "5.0"},
	{Name: "subscription.last_payment.currency", Label: "Last payment's currency", Type: typeText, Sample: "USD"},
	{Name: "subscription.last_payment.time", Label: "Time of the last payment", Type: typeDate, Sample: "2022-06-24T19:41:58Z"},
	{Name: "subscription.failed_payments", Label: "Failed payments in a row", Type: typeNumber, Sample: "0"},
	{Name: "subscription.last_failed_payment.amount", Label: "Last failed payment", Type: typeMoney, Sample: "5.0"},
	{Name: "subscription.last_failed_payment.time", Label: "Time of the last failed payment", Type: typeDate, Sample: "2022-07-24T10:00:00Z"},
	{Name: "subscription.last_failed_payment.reason", Label: "Why it failed", Type: typeText, Sample: "PAYMENT_DENIED"},
	{Name: "subscription.last_failed_payment.next_retry_time", Label: "Next try", Type: typeDate, Sample: "2022-07-29T10:00:00Z"},
	{Name: "subscription.outstanding_balance", Label: "Outstanding balance", Type: typeMoney, Sample: "0.0"},
	{Name: "subscription.shipping_amount", Label: "Shipping amount", Type: typeMoney, Sample: "0.0"},
	{Name: "subscription.cycles_completed", Label: "Billing cycles done", Type: typeNumber, Sample: "1"},
	{Name: "subscription.cycles_remaining", Label: "Billing cycles left", Type: typeNumber, Sample: "0"},
	{Name: "subscription.total_cycles", Label: "Billing cycles in all (0: endless)", Type: typeNumber, Sample: "0"},
}
