package woocommerce

import (
	"strings"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
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

// catalogue lists what a mapping may use. Names of the first block are read from the record's own members, for every
// provider alike; those of the second from OrderEvent.Fields.
var catalogue = append(connectors.RecordFields(connectors.SampleRecord{
	EventID: "order.updated:727:2017-03-22T19:28:08Z:9f86d081884c7d65", EventType: "order.updated", Time: "2017-03-22T19:28:08Z",
	ProviderStatus: "processing", Status: "PAID",
	OrderID: "727", Amount: "29.35", Currency: "USD",
	Email: "john.doe@example.com", GivenName: "John", Surname: "Doe", Phone: "(555) 555-5555",
	PayerID: "shop:26",
	Address: schemas.Address{
		Line1: "969 Market", Line2: "Floor 3", City: "San Francisco",
		State: "CA", PostalCode: "94103", Country: "US",
	},
	CustomID: "pi_3KMuym2EdyGr1FMV0TtJrfac", InvoiceID: "727",
}, map[string]string{
	"event.status":   "WooCommerce's own status",
	"order.id":       "Order id",
	"payer.payer_id": "Customer, with the connection's name",
	"custom_id":      "Transaction id of the payment gateway",
	"invoice_id":     "Order number",
}), []connectors.Field{
	{Name: "order.number", Label: "Order number, as the customer sees it", Type: connectors.TypeText, Sample: "727"},
	{Name: "order.create_time", Label: "Order created", Type: connectors.TypeDate, Sample: "2017-03-22T19:28:02Z"},
	{Name: "order.paid_time", Label: "Order paid", Type: connectors.TypeDate, Sample: "2017-03-22T19:28:08Z"},
	{Name: "order.completed_time", Label: "Order completed", Type: connectors.TypeDate, Sample: "2017-03-24T09:12:00Z"},
	{Name: "order.created_via", Label: "Created via", Type: connectors.TypeText, Sample: "checkout"},
	{Name: "order.note", Label: "Customer's note", Type: connectors.TypeText, Sample: "Please ring twice"},
	{Name: "order.payment_url", Label: "Link to pay the order", Type: connectors.TypeText, Sample: "https://shop.example.com/checkout/order-pay/727/?pay_for_order=true&key=wc_order_58d2d042d1d"},
	{Name: "order.parent_id", Label: "Order that this one belongs to", Type: connectors.TypeText, Sample: "723"},
	{Name: "order.tax_total", Label: "Tax", Type: connectors.TypeMoney, Sample: "1.35"},
	{Name: "order.shipping", Label: "Shipping cost", Type: connectors.TypeMoney, Sample: "10.00"},
	{Name: "order.discount", Label: "Discount", Type: connectors.TypeMoney, Sample: "5.00"},
	{Name: "order.coupons", Label: "Coupon codes", Type: connectors.TypeText, Sample: "summer10"},
	{Name: "order.fees", Label: "Fees", Type: connectors.TypeText, Sample: "Gift wrapping"},
	{Name: "order.item_names", Label: "Item names", Type: connectors.TypeText, Sample: "Woo Single #1, Ship Your Idea"},
	{Name: "order.item_skus", Label: "Item SKUs", Type: connectors.TypeText, Sample: "Bar3"},
	{Name: "order.item_quantity", Label: "Number of items", Type: connectors.TypeNumber, Sample: "3"},
	{Name: "order.items.1.name", Label: "First item", Type: connectors.TypeText, Sample: "Woo Single #1"},
	{Name: "order.items.1.sku", Label: "First item's SKU", Type: connectors.TypeText, Sample: "Bar1"},
	{Name: "order.items.1.product_id", Label: "First item's product id", Type: connectors.TypeText, Sample: "93"},
	{Name: "order.items.1.quantity", Label: "Number of the first item", Type: connectors.TypeNumber, Sample: "2"},
	{Name: "order.items.1.total", Label: "First item's price", Type: connectors.TypeMoney, Sample: "6.00"},
	{Name: "order.items.2.name", Label: "Second item", Type: connectors.TypeText, Sample: "Ship Your Idea"},
	{Name: "order.items.2.sku", Label: "Second item's SKU", Type: connectors.TypeText, Sample: "Bar2"},
	{Name: "order.items.2.product_id", Label: "Second item's product id", Type: connectors.TypeText, Sample: "22"},
	{Name: "order.items.2.quantity", Label: "Number of the second item", Type: connectors.TypeNumber, Sample: "1"},
	{Name: "order.items.2.total", Label: "Second item's price", Type: connectors.TypeMoney, Sample: "12.00"},
	{Name: "order.items.3.name", Label: "Third item", Type: connectors.TypeText, Sample: "Gift card"},
	{Name: "order.items.3.sku", Label: "Third item's SKU", Type: connectors.TypeText, Sample: "Bar3"},
	{Name: "order.items.3.product_id", Label: "Third item's product id", Type: connectors.TypeText, Sample: "31"},
	{Name: "order.items.3.quantity", Label: "Number of the third item", Type: connectors.TypeNumber, Sample: "1"},
	{Name: "order.items.3.total", Label: "Third item's price", Type: connectors.TypeMoney, Sample: "25.00"},
	{Name: "payment.method", Label: "Payment method", Type: connectors.TypeText, Sample: "ppcp-gateway"},
	{Name: "payment.title", Label: "Payment method, as the customer sees it", Type: connectors.TypeText, Sample: "PayPal"},
	{Name: "payment.transaction_id", Label: "Transaction id of the payment gateway", Type: connectors.TypeText, Sample: "pi_3KMuym2EdyGr1FMV0TtJrfac"},
	{Name: "customer.id", Label: "Customer id in the store", Type: connectors.TypeText, Sample: "26"},
	{Name: "customer.company", Label: "Company", Type: connectors.TypeText, Sample: "Example Inc."},
	{Name: "shipping.full_name", Label: "Name on the parcel", Type: connectors.TypeText, Sample: "John Doe"},
	{Name: "shipping.company", Label: "Company on the parcel", Type: connectors.TypeText, Sample: "Example Inc."},
	{Name: "shipping.phone", Label: "Phone for the parcel", Type: connectors.TypePhone, Sample: "(555) 555-5555"},
	{Name: "shipping.address.line1", Label: "Delivery address line 1", Type: connectors.TypeText, Sample: "969 Market"},
	{Name: "shipping.address.line2", Label: "Delivery address line 2", Type: connectors.TypeText, Sample: "Floor 3"},
	{Name: "shipping.address.city", Label: "Delivery city", Type: connectors.TypeText, Sample: "San Francisco"},
	{Name: "shipping.address.state", Label: "Delivery state or province", Type: connectors.TypeText, Sample: "CA"},
	{Name: "shipping.address.postal_code", Label: "Delivery postal code", Type: connectors.TypeText, Sample: "94103"},
	{Name: "shipping.address.country", Label: "Delivery country", Type: connectors.TypeText, Sample: "US"},
	{Name: "shipping.method", Label: "Shipping method", Type: connectors.TypeText, Sample: "Flat Rate"},
	{Name: "refund.count", Label: "Number of refunds", Type: connectors.TypeNumber, Sample: "1"},
	{Name: "refund.id", Label: "Newest refund's id", Type: connectors.TypeText, Sample: "549"},
	{Name: "refund.reason", Label: "Newest refund's reason", Type: connectors.TypeText, Sample: "Sold out"},
	{Name: "attribution.source", Label: "Campaign source (utm_source)", Type: connectors.TypeText, Sample: "newsletter"},
	{Name: "attribution.medium", Label: "Campaign medium (utm_medium)", Type: connectors.TypeText, Sample: "email"},
	{Name: "attribution.campaign", Label: "Campaign (utm_campaign)", Type: connectors.TypeText, Sample: "spring"},
	{Name: "attribution.referrer", Label: "Where the customer came from", Type: connectors.TypeText, Sample: "https://www.example.com/"},
}...)
