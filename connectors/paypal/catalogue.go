package paypal

import (
	"strings"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
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

// catalogue lists what a mapping may use. Names of the first block are read from the record's own members, for every
// provider alike; those of the second from OrderEvent.Fields.
var catalogue = append(connectors.RecordFields(connectors.SampleRecord{
	EventID: "WH-4GV89724R21962040-1C819962UB8804029", EventType: "CHECKOUT.ORDER.APPROVED", Time: "2024-07-18T14:20:42Z",
	ProviderStatus: "COMPLETED", Status: "APPROVED",
	OrderID: "8UB08260L82228933", Amount: "23.00", Currency: "USD",
	Email: "customer@example.com", GivenName: "John", Surname: "Doe", Phone: "+496912345678",
	PayerID: "QYR5Z8XDVJNXQ",
	Address: schemas.Address{
		Line1: "2211 N First Street", Line2: "Building 17", City: "San Jose",
		State: "CA", PostalCode: "95131", Country: "US",
	},
	CustomID: "841", InvoiceID: "INV-2024-17",
}, map[string]string{
	"event.status":   "PayPal's own status",
	"payer.phone":    "Phone (needs \"Contact telephone number\" switched on at PayPal)",
	"payer.payer_id": "PayPal payer id",
	"custom_id":      "Your own reference (custom_id)",
}), []connectors.Field{
	{Name: "summary", Label: "What happened, in PayPal's words", Type: connectors.TypeText, Sample: "An order has been approved by buyer"},
	{Name: "order.intent", Label: "Intent", Type: connectors.TypeText, Sample: "CAPTURE"},
	{Name: "order.create_time", Label: "Order created", Type: connectors.TypeDate, Sample: "2024-07-18T14:20:22Z"},
	{Name: "order.reference_id", Label: "Purchase unit reference", Type: connectors.TypeText, Sample: "default"},
	{Name: "order.description", Label: "Description", Type: connectors.TypeText, Sample: "Your order at Example Shop"},
	{Name: "order.item_names", Label: "Item names", Type: connectors.TypeText, Sample: "Leather belt, Shipping"},
	{Name: "order.item_skus", Label: "Item SKUs", Type: connectors.TypeText, Sample: "BELT-1"},
	{Name: "order.item_quantity", Label: "Number of items", Type: connectors.TypeNumber, Sample: "2"},
	{Name: "order.items.1.name", Label: "First item", Type: connectors.TypeText, Sample: "Leather belt"},
	{Name: "order.items.2.name", Label: "Second item", Type: connectors.TypeText, Sample: "Shipping"},
	{Name: "order.items.3.name", Label: "Third item", Type: connectors.TypeText, Sample: "Gift card"},
	{Name: "order.item_total", Label: "Total of items", Type: connectors.TypeMoney, Sample: "33.80"},
	{Name: "order.tax_total", Label: "Tax", Type: connectors.TypeMoney, Sample: "0.00"},
	{Name: "order.shipping", Label: "Shipping cost", Type: connectors.TypeMoney, Sample: "3.90"},
	{Name: "order.discount", Label: "Discount", Type: connectors.TypeMoney, Sample: "5.00"},
	{Name: "merchant.email", Label: "Your PayPal e-mail", Type: connectors.TypeText, Sample: "merchant@example.com"},
	{Name: "merchant.id", Label: "Your merchant id", Type: connectors.TypeText, Sample: "LLCK5GYWKHPE2"},
	{Name: "shipping.full_name", Label: "Name on the parcel", Type: connectors.TypeText, Sample: "John Doe"},
	{Name: "shipping.method", Label: "Shipping method", Type: connectors.TypeText, Sample: "United States Postal Service"},
	{Name: "payment.source", Label: "Paid with", Type: connectors.TypeText, Sample: "paypal"},
	{Name: "payment.id", Label: "Payment id", Type: connectors.TypeText, Sample: "98L405257W8422823"},
	{Name: "payment.reason", Label: "Why pending or declined", Type: connectors.TypeText, Sample: "ECHECK"},
	{Name: "payment.mode", Label: "Payment mode", Type: connectors.TypeText, Sample: "INSTANT_TRANSFER"},
	{Name: "payment.parent_id", Label: "Parent payment (old API)", Type: connectors.TypeText, Sample: "PAY-5437236047802405NKRJ22UA"},
	{Name: "payment.final_capture", Label: "Final capture", Type: connectors.TypeText, Sample: "true"},
	{Name: "payment.protection", Label: "Seller protection", Type: connectors.TypeText, Sample: "ELIGIBLE"},
	{Name: "payment.expiration_time", Label: "Authorization valid until", Type: connectors.TypeDate, Sample: "2018-09-13T19:21:11Z"},
	{Name: "payment.fee", Label: "PayPal's fee", Type: connectors.TypeMoney, Sample: "0.56"},
	{Name: "payment.net", Label: "Net amount", Type: connectors.TypeMoney, Sample: "1.44"},
	{Name: "refund.id", Label: "Refund id", Type: connectors.TypeText, Sample: "97E25940SA3983253"},
	{Name: "refund.note", Label: "Refund note to the payer", Type: connectors.TypeText, Sample: "refund from PP"},
	{Name: "refund.reason", Label: "Refund reason", Type: connectors.TypeText, Sample: "REFUND"},
	{Name: "dispute.id", Label: "Dispute id", Type: connectors.TypeText, Sample: "PP-000-001-341-393"},
	{Name: "dispute.reason", Label: "Dispute reason", Type: connectors.TypeText, Sample: "UNAUTHORIZED"},
	{Name: "dispute.stage", Label: "Dispute stage", Type: connectors.TypeText, Sample: "INQUIRY"},
	{Name: "dispute.channel", Label: "Dispute channel", Type: connectors.TypeText, Sample: "INTERNAL"},
	{Name: "dispute.outcome", Label: "Dispute outcome", Type: connectors.TypeText, Sample: "RESOLVED_BUYER_FAVOUR"},
	{Name: "dispute.seller_response_due", Label: "Your answer is due", Type: connectors.TypeDate, Sample: "2016-07-10T20:38:52Z"},
	{Name: "subscription.id", Label: "Subscription id", Type: connectors.TypeText, Sample: "I-1E2LTB0J1YGW"},
	{Name: "subscription.plan_id", Label: "Plan id", Type: connectors.TypeText, Sample: "P-53G711603K123334JMK2NVKI"},
	{Name: "subscription.plan_name", Label: "Plan name", Type: connectors.TypeText, Sample: "Monthly"},
	{Name: "subscription.description", Label: "Description (old API)", Type: connectors.TypeText, Sample: "Monthly box"},
	{Name: "subscription.quantity", Label: "Quantity", Type: connectors.TypeNumber, Sample: "1"},
	{Name: "subscription.start_time", Label: "Starts", Type: connectors.TypeDate, Sample: "2022-06-24T19:41:38Z"},
	{Name: "subscription.create_time", Label: "Created", Type: connectors.TypeDate, Sample: "2022-06-24T19:41:57Z"},
	{Name: "subscription.status_note", Label: "Why the status changed", Type: connectors.TypeText, Sample: "Customer asked to cancel"},
	{Name: "subscription.next_billing_time", Label: "Next billing", Type: connectors.TypeDate, Sample: "2022-07-24T10:00:00Z"},
	{Name: "subscription.final_payment_time", Label: "Final payment", Type: connectors.TypeDate, Sample: "2023-06-24T10:00:00Z"},
	{Name: "subscription.last_payment.amount", Label: "Last payment", Type: connectors.TypeMoney, Sample: "5.0"},
	{Name: "subscription.last_payment.currency", Label: "Last payment's currency", Type: connectors.TypeText, Sample: "USD"},
	{Name: "subscription.last_payment.time", Label: "Time of the last payment", Type: connectors.TypeDate, Sample: "2022-06-24T19:41:58Z"},
	{Name: "subscription.failed_payments", Label: "Failed payments in a row", Type: connectors.TypeNumber, Sample: "0"},
	{Name: "subscription.last_failed_payment.amount", Label: "Last failed payment", Type: connectors.TypeMoney, Sample: "5.0"},
	{Name: "subscription.last_failed_payment.time", Label: "Time of the last failed payment", Type: connectors.TypeDate, Sample: "2022-07-24T10:00:00Z"},
	{Name: "subscription.last_failed_payment.reason", Label: "Why it failed", Type: connectors.TypeText, Sample: "PAYMENT_DENIED"},
	{Name: "subscription.last_failed_payment.next_retry_time", Label: "Next try", Type: connectors.TypeDate, Sample: "2022-07-29T10:00:00Z"},
	{Name: "subscription.outstanding_balance", Label: "Outstanding balance", Type: connectors.TypeMoney, Sample: "0.0"},
	{Name: "subscription.shipping_amount", Label: "Shipping amount", Type: connectors.TypeMoney, Sample: "0.0"},
	{Name: "subscription.cycles_completed", Label: "Billing cycles done", Type: connectors.TypeNumber, Sample: "1"},
	{Name: "subscription.cycles_remaining", Label: "Billing cycles left", Type: connectors.TypeNumber, Sample: "0"},
	{Name: "subscription.total_cycles", Label: "Billing cycles in all (0: endless)", Type: connectors.TypeNumber, Sample: "0"},
}...)
