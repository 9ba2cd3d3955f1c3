package woocommerce

import (
	"strings"

	"github.com/tillstream/tillstream/connectors"
)

// ResourceOrders is the one resource of a store: its orders.
const ResourceOrders = "orders"

var resources = []connectors.Resource{{ID: ResourceOrders, Title: "Orders", EventTypes: []string{"order.*"}}}

// topics are what a registration asks for: WooCommerce takes one topic per webhook.
var topics = []string{topicCreated, topicUpdated, topicDeleted, topicRestored}

// resourceOf is the id of the resource that takes a topic; empty: none does.
func resourceOf(topic string) string {
	if strings.HasPrefix(topic, "order.") {
		return ResourceOrders
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
	{Name: "event.id", Label: "Event id", Type: typeText, Sample: "order.updated:727:2017-03-22T19:28:08Z:9f86d081884c7d65"},
	{Name: "event.type", Label: "Event type", Type: typeText, Sample: "order.updated"},
	{Name: "event.time", Label: "Time of the change", Type: typeDate, Sample: "2017-03-22T19:28:08Z"},
	{Name: "event.status", Label: "WooCommerce's own status", Type: typeText, Sample: "processing"},
	{Name: "order.id", Label: "Order id", Type: typeText, Sample: "727"},
	{Name: "order.amount", Label: "Amount", Type: typeMoney, Sample: "29.35"},
	{Name: "order.currency", Label: "Currency", Type: typeText, Sample: "USD"},
	{Name: "order.status", Label: "Payment status", Type: typeText, Sample: "PAID"},
	{Name: "order.paid", Label: "Paid so far", Type: typeMoney, Sample: "29.35"},
	{Name: "order.refunded", Label: "Refunded so far", Type: typeMoney, Sample: "0"},
	{Name: "payer.email", Label: "E-mail", Type: typeText, Sample: "john.doe@example.com"},
	{Name: "payer.given_name", Label: "First name", Type: typeText, Sample: "John"},
	{Name: "payer.surname", Label: "Last name", Type: typeText, Sample: "Doe"},
	{Name: "payer.full_name", Label: "Full name", Type: typeText, Sample: "John Doe"},
	{Name: "payer.phone", Label: "Phone", Type: typePhone, Sample: "(555) 555-5555"},
	{Name: "payer.payer_id", Label: "Customer, with the connection's name", Type: typeText, Sample: "shop:26"},
	{Name: "payer.address.line1", Label: "Address line 1", Type: typeText, Sample: "969 Market"},
	{Name: "payer.address.line2", Label: "Address line 2", Type: typeText, Sample: "Floor 3"},
	{Name: "payer.address.city", Label: "City", Type: typeText, Sample: "San Francisco"},
	{Name: "payer.address.state", Label: "State or province", Type: typeText, Sample: "CA"},
	{Name: "payer.address.postal_code", Label: "Postal code", Type: typeText, Sample: "94103"},
	{Name: "payer.address.country", Label: "Country", Type: typeText, Sample: "US"},
	{Name: "custom_id", Label: "Transaction id of the payment gateway", Type: typeText, Sample: "pi_3KMuym2EdyGr1FMV0TtJrfac"},
	{Name: "invoice_id", Label: "Order number", Type: typeText, Sample: "727"},

	{Name: "order.number", Label: "Order number, as the customer sees it", Type: typeText, Sample: "727"},
	{Name: "order.create_time", Label: "Order created", Type: typeDate, Sample: "2017-03-22T19:28:02Z"},
	{Name: "order.paid_time", Label: "Order paid", Type: typeDate, Sample: "2017-03-22T19:28:08Z"},
	{Name: "order.completed_time", Label: "Order completed", Type: typeDate, Sample: "2017-03-24T09:12:00Z"},
	{Name: "order.created_via", Label: "Created via", Type: typeText, Sample: "checkout"},
	{Name: "order.note", Label: "Customer's note", Type: typeText, Sample: "Please ring twice"},
	{Name: "order.payment_url", Label: "Link to pay the order", Type: typeText, Sample: "https://shop.example.com/checkout/order-pay/727/?pay_for_order=true&key=wc_order_58d2d042d1d"},
	{Name: "order.parent_id", Label: "Order that this one belongs to", Type: typeText, Sample: "723"},
	{Name: "order.tax_total", Label: "Tax", Type: typeMoney, Sample: "1.35"},
	{Name: "order.shipping", Label: "Shipping cost", Type: typeMoney, Sample: "10.00"},
	{Name: "order.discount", Label: "Discount", Type: typeMoney, Sample: "5.00"},
	{Name: "order.coupons", Label: "Coupon codes", Type: typeText, Sample: "summer10"},
	{Name: "order.fees", Label: "Fees", Type: typeText, Sample: "Gift wrapping"},
	{Name: "order.item_names", Label: "Item names", Type: typeText, Sample: "Woo Single #1, Ship Your Idea"},
	{Name: "order.item_skus", Label: "Item SKUs", Type: typeText, Sample: "Bar3"},
	{Name: "order.item_quantity", Label: "Number of items", Type: typeNumber, Sample: "3"},
	{Name: "order.items.1.name", Label: "First item", Type: typeText, Sample: "Woo Single #1"},
	{Name: "order.items.1.sku", Label: "First item's SKU", Type: typeText, Sample: "Bar1"},
	{Name: "order.items.1.product_id", Label: "First item's product id", Type: typeText, Sample: "93"},
	{Name: "order.items.1.quantity", Label: "Number of the first item", Type: typeNumber, Sample: "2"},
	{Name: "order.items.1.total", Label: "First item's price", Type: typeMoney, Sample: "6.00"},
	{Name: "order.items.2.name", Label: "Second item", Type: typeText, Sample: "Ship Your Idea"},
	{Name: "order.items.2.sku", Label: "Second item's SKU", Type: typeText, Sample: "Bar2"},
	{Name: "order.items.2.product_id", Label: "Second item's product id", Type: typeText, Sample: "22"},
	{Name: "order.items.2.quantity", Label: "Number of the second item", Type: typeNumber, Sample: "1"},
	{Name: "order.items.2.total", Label: "Second item's price", Type: typeMoney, Sample: "12.00"},
	{Name: "order.items.3.name", Label: "Third item", Type: typeText, Sample: "Gift card"},
	{Name: "order.items.3.sku", Label: "Third item's SKU", Type: typeText, Sample: "Bar3"},
	{Name: "order.items.3.product_id", Label: "Third item's product id", Type: typeText, Sample: "31"},
	{Name: "order.items.3.quantity", Label: "Number of the third item", Type: typeNumber, Sample: "1"},
	{Name: "order.items.3.total", Label: "Third item's price", Type: typeMoney, Sample: "25.00"},
	{Name: "payment.method", Label: "Payment method", Type: typeText, Sample: "ppcp-gateway"},
	{Name: "payment.title", Label: "Payment method, as the customer sees it", Type: typeText, Sample: "PayPal"},
	{Name: "payment.transaction_id", Label: "Transaction id of the payment gateway", Type: typeText, Sample: "pi_3KMuym2EdyGr1FMV0TtJrfac"},
	{Name: "customer.id", Label: "Customer id in the store", Type: typeText, Sample: "26"},
	{Name: "customer.company", Label: "Company", Type: typeText, Sample: "Example Inc."},
	{Name: "shipping.full_name", Label: "Name on the parcel", Type: typeText, Sample: "John Doe"},
	{Name: "shipping.company", Label: "Company on the parcel", Type: typeText, Sample: "Example Inc."},
	{Name: "shipping.phone", Label: "Phone for the parcel", Type: typePhone, Sample: "(555) 555-5555"},
	{Name: "shipping.address.line1", Label: "Delivery address line 1", Type: typeText, Sample: "969 Market"},
	{Name: "shipping.address.line2", Label: "Delivery address line 2", Type: typeText, Sample: "Floor 3"},
	{Name: "shipping.address.city", Label: "Delivery city", Type: typeText, Sample: "San Francisco"},
	{Name: "shipping.address.state", Label: "Delivery state or province", Type: typeText, Sample: "CA"},
	{Name: "shipping.address.postal_code", Label: "Delivery postal code", Type: typeText, Sample: "94103"},
	{Name: "shipping.address.country", Label: "Delivery country", Type: typeText, Sample: "US"},
	{Name: "shipping.method", Label: "Shipping method", Type: typeText, Sample: "Flat Rate"},
	{Name: "refund.count", Label: "Number of refunds", Type: typeNumber, Sample: "1"},
	{Name: "refund.id", Label: "Newest refund's id", Type: typeText, Sample: "549"},
	{Name: "refund.reason", Label: "Newest refund's reason", Type: typeText, Sample: "Sold out"},
	{Name: "attribution.source", Label: "Campaign source (utm_source)", Type: typeText, Sample: "newsletter"},
	{Name: "attribution.medium", Label: "Campaign medium (utm_medium)", Type: typeText, Sample: "email"},
	{Name: "attribution.campaign", Label: "Campaign (utm_campaign)", Type: typeText, Sample: "spring"},
	{Name: "attribution.referrer", Label: "Where the customer came from", Type: typeText, Sample: "https://www.example.com/"},
}
