package generic

import "github.com/tillstream/tillstream/connectors"

// The resources that a user chooses from.
const (
	ResourceOrders        = "orders"
	ResourceSubscriptions = "subscriptions"
)

var resources = []connectors.Resource{
	{ID: ResourceOrders, Title: "Orders", EventTypes: []string{"*"}},
	{ID: ResourceSubscriptions, Title: "Subscriptions", EventTypes: []string{"subscription.*"}},
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
// provider alike; those of the second from OrderEvent.Fields. The last stands for all fields of the shop's own JSON.
var catalogue = []connectors.Field{
	{Name: "event.id", Label: "Event id", Type: typeText, Sample: "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"},
	{Name: "event.type", Label: "Event type", Type: typeText, Sample: "order.status_changed"},
	{Name: "event.time", Label: "Time of the change", Type: typeDate, Sample: "2026-11-02T10:00:00Z"},
	{Name: "event.status", Label: "The shop's own status", Type: typeText, Sample: "paid"},
	{Name: "order.id", Label: "Order or subscription id", Type: typeText, Sample: "20017"},
	{Name: "order.amount", Label: "Amount", Type: typeMoney, Sample: "49.99"},
	{Name: "order.currency", Label: "Currency", Type: typeText, Sample: "EUR"},
	{Name: "order.status", Label: "Payment status", Type: typeText, Sample: "PAID"},
	{Name: "order.paid", Label: "Paid so far", Type: typeMoney, Sample: "49.99"},
	{Name: "order.refunded", Label: "Refunded so far", Type: typeMoney, Sample: "0"},
	{Name: "payer.email", Label: "E-mail", Type: typeText, Sample: "customer@example.com"},
	{Name: "payer.given_name", Label: "First name", Type: typeText, Sample: "Ada"},
	{Name: "payer.surname", Label: "Last name", Type: typeText, Sample: "Example"},
	{Name: "payer.full_name", Label: "Full name", Type: typeText, Sample: "Ada Example"},
	{Name: "payer.phone", Label: "Phone", Type: typePhone, Sample: "+496912345678"},
	{Name: "payer.payer_id", Label: "The shop's customer id", Type: typeText, Sample: "C-1001"},
	{Name: "payer.address.line1", Label: "Address line 1", Type: typeText, Sample: "1 Example Street"},
	{Name: "payer.address.line2", Label: "Address line 2", Type: typeText, Sample: "Second floor"},
	{Name: "payer.address.city", Label: "City", Type: typeText, Sample: "Exampleton"},
	{Name: "payer.address.state", Label: "State or province", Type: typeText, Sample: "HE"},
	{Name: "payer.address.postal_code", Label: "Postal code", Type: typeText, Sample: "60311"},
	{Name: "payer.address.country", Label: "Country", Type: typeText, Sample: "DE"},
	{Name: "custom_id", Label: "Your own reference", Type: typeText, Sample: "campaign-7"},
	{Name: "invoice_id", Label: "Invoice number", Type: typeText, Sample: "INV-2026-17"},

	{Name: "order.number", Label: "Order number", Type: typeText, Sample: "#1017"},
	{Name: "order.previous_status", Label: "Status before", Type: typeText, Sample: "pending"},
	{Name: "order.create_time", Label: "Order created", Type: typeDate, Sample: "2026-11-02T09:58:00Z"},
	{Name: "order.amount_paid", Label: "Paid, as the shop says", Type: typeMoney, Sample: "49.99"},
	{Name: "order.shipping", Label: "Shipping cost", Type: typeMoney, Sample: "3.90"},
	{Name: "order.tax_total", Label: "Tax", Type: typeMoney, Sample: "7.98"},
	{Name: "order.discount", Label: "Discount", Type: typeMoney, Sample: "5.00"},
	{Name: "order.coupon", Label: "Coupon", Type: typeText, Sample: "WELCOME5"},
	{Name: "order.note", Label: "Note", Type: typeText, Sample: "Please ring twice"},
	{Name: "order.item_names", Label: "Item names", Type: typeText, Sample: "Leather belt, Gift card"},
	{Name: "order.item_skus", Label: "Item SKUs", Type: typeText, Sample: "BELT-1, GIFT"},
	{Name: "order.item_quantity", Label: "Number of items", Type: typeNumber, Sample: "2"},
	{Name: "order.items.1.name", Label: "First item", Type: typeText, Sample: "Leather belt"},
	{Name: "order.items.1.sku", Label: "First item's SKU", Type: typeText, Sample: "BELT-1"},
	{Name: "order.items.1.quantity", Label: "First item's quantity", Type: typeNumber, Sample: "1"},
	{Name: "order.items.1.price", Label: "First item's price", Type: typeMoney, Sample: "39.99"},
	{Name: "order.items.2.name", Label: "Second item", Type: typeText, Sample: "Gift card"},
	{Name: "order.items.2.sku", Label: "Second item's SKU", Type: typeText, Sample: "GIFT"},
	{Name: "order.items.2.quantity", Label: "Second item's quantity", Type: typeNumber, Sample: "1"},
	{Name: "order.items.2.price", Label: "Second item's price", Type: typeMoney, Sample: "10.00"},
	{Name: "order.items.3.name", Label: "Third item", Type: typeText, Sample: "Gift wrap"},
	{Name: "order.items.3.sku", Label: "Third item's SKU", Type: typeText, Sample: "WRAP"},
	{Name: "order.items.3.quantity", Label: "Third item's quantity", Type: typeNumber, Sample: "1"},
	{Name: "order.items.3.price", Label: "Third item's price", Type: typeMoney, Sample: "2.00"},
	{Name: "shipping.method", Label: "Shipping method", Type: typeText, Sample: "Parcel"},
	{Name: "payment.method", Label: "Paid with", Type: typeText, Sample: "card"},
	{Name: "payment.id", Label: "Payment id", Type: typeText, Sample: "tx_8812"},
	{Name: "subscription.id", Label: "Subscription id", Type: typeText, Sample: "S-77"},
	{Name: "subscription.plan_name", Label: "Plan", Type: typeText, Sample: "Monthly"},
	{Name: "subscription.next_billing_time", Label: "Next billing", Type: typeDate, Sample: "2026-12-02T10:00:00Z"},
	{Name: OwnFields + "*", Label: "Any other field of the shop's JSON, by its path (data.loyalty.tier; data.tags.1 for the first of a list)", Type: typeText, Sample: "gold"},
}
