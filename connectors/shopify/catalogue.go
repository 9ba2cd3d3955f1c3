package shopify

import "github.com/tillstream/tillstream/connectors"

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
	{Name: "event.id", Label: "Event id", Type: typeText, Sample: "orders/paid:450789469:2026-03-01T12:00:00Z:9f86d081884c7d65"},
	{Name: "event.type", Label: "Event type", Type: typeText, Sample: "orders/paid"},
	{Name: "event.time", Label: "Time of the change", Type: typeDate, Sample: "2026-03-01T12:00:00Z"},
	{Name: "event.status", Label: "Shopify's own status", Type: typeText, Sample: "paid"},
	{Name: "order.id", Label: "Order id", Type: typeText, Sample: "450789469"},
	{Name: "order.amount", Label: "Order total", Type: typeMoney, Sample: "598.94"},
	{Name: "order.currency", Label: "Currency", Type: typeText, Sample: "USD"},
	{Name: "order.status", Label: "Payment status", Type: typeText, Sample: "PAID"},
	{Name: "order.paid", Label: "Paid so far", Type: typeMoney, Sample: "598.94"},
	{Name: "order.refunded", Label: "Refunded so far", Type: typeMoney, Sample: "0"},
	{Name: "payer.email", Label: "E-mail", Type: typeText, Sample: "bob@example.com"},
	{Name: "payer.given_name", Label: "First name", Type: typeText, Sample: "Bob"},
	{Name: "payer.surname", Label: "Last name", Type: typeText, Sample: "Norman"},
	{Name: "payer.full_name", Label: "Full name", Type: typeText, Sample: "Bob Norman"},
	{Name: "payer.phone", Label: "Phone", Type: typePhone, Sample: "+15024592181"},
	{Name: "payer.payer_id", Label: "Shopify customer id", Type: typeText, Sample: "207119551"},
	{Name: "payer.address.line1", Label: "Address line 1", Type: typeText, Sample: "Chestnut Street 92"},
	{Name: "payer.address.line2", Label: "Address line 2", Type: typeText, Sample: "Apartment 4"},
	{Name: "payer.address.city", Label: "City", Type: typeText, Sample: "Louisville"},
	{Name: "payer.address.state", Label: "State or province", Type: typeText, Sample: "KY"},
	{Name: "payer.address.postal_code", Label: "Postal code", Type: typeText, Sample: "40202"},
	{Name: "payer.address.country", Label: "Country", Type: typeText, Sample: "US"},
	{Name: "custom_id", Label: "Purchase order number", Type: typeText, Sample: "ABC123"},
	{Name: "invoice_id", Label: "Order number as people see it", Type: typeText, Sample: "#1001"},

	{Name: "order.name", Label: "Order name", Type: typeText, Sample: "#1001"},
	{Name: "order.create_time", Label: "Order created", Type: typeDate, Sample: "2026-03-01T11:58:20Z"},
	{Name: "order.processed_time", Label: "Order processed", Type: typeDate, Sample: "2026-03-01T11:58:20Z"},
	{Name: "order.closed_time", Label: "Order closed", Type: typeDate, Sample: "2026-03-05T09:00:00Z"},
	{Name: "order.cancelled", Label: "Cancelled", Type: typeText, Sample: "true"},
	{Name: "order.cancelled_time", Label: "Order cancelled", Type: typeDate, Sample: "2026-03-02T10:00:00Z"},
	{Name: "order.cancel_reason", Label: "Why cancelled", Type: typeText, Sample: "customer"},
	{Name: "order.fulfillment_status", Label: "Fulfilment", Type: typeText, Sample: "fulfilled"},
	{Name: "order.item_total", Label: "Total of items", Type: typeMoney, Sample: "597.00"},
	{Name: "order.tax_total", Label: "Tax", Type: typeMoney, Sample: "11.94"},
	{Name: "order.discount", Label: "Discount", Type: typeMoney, Sample: "10.00"},
	{Name: "order.shipping", Label: "Shipping cost", Type: typeMoney, Sample: "4.90"},
	{Name: "order.current_total", Label: "Total after edits and returns", Type: typeMoney, Sample: "199.65"},
	{Name: "order.outstanding", Label: "Still to be paid", Type: typeMoney, Sample: "0.00"},
	{Name: "order.presentment_currency", Label: "Currency shown to the customer", Type: typeText, Sample: "CAD"},
	{Name: "order.item_names", Label: "Item names", Type: typeText, Sample: "IPod Nano - 8gb - green, IPod Nano - 8gb - red"},
	{Name: "order.item_skus", Label: "Item SKUs", Type: typeText, Sample: "IPOD2008GREEN, IPOD2008RED"},
	{Name: "order.item_quantity", Label: "Number of items", Type: typeNumber, Sample: "2"},
	{Name: "order.items.1.name", Label: "First item", Type: typeText, Sample: "IPod Nano - 8gb - green"},
	{Name: "order.items.2.name", Label: "Second item", Type: typeText, Sample: "IPod Nano - 8gb - red"},
	{Name: "order.items.3.name", Label: "Third item", Type: typeText, Sample: "IPod Nano - 8gb - black"},
	{Name: "order.coupon", Label: "Discount codes", Type: typeText, Sample: "TENOFF"},
	{Name: "order.attributes", Label: "Additional details", Type: typeText, Sample: "colour: green"},
	{Name: "order.note", Label: "Note", Type: typeText, Sample: "Please leave it with the neighbour"},
	{Name: "order.tags", Label: "Order tags", Type: typeText, Sample: "wholesale, express"},
	{Name: "order.source", Label: "Where the order came from", Type: typeText, Sample: "web"},
	{Name: "order.status_url", Label: "Customer's own page of the order", Type: typeText, Sample: "https://shop.example.com/orders/1"},
	{Name: "customer.locale", Label: "Customer's language", Type: typeText, Sample: "en-US"},
	{Name: "customer.accepts_marketing", Label: "Customer accepts marketing", Type: typeText, Sample: "true"},
	{Name: "customer.company", Label: "Company", Type: typeText, Sample: "Example Ltd"},
	{Name: "shipping.full_name", Label: "Name on the parcel", Type: typeText, Sample: "Bob Norman"},
	{Name: "shipping.phone", Label: "Phone for the delivery", Type: typePhone, Sample: "+15024592181"},
	{Name: "shipping.line1", Label: "Shipping address line 1", Type: typeText, Sample: "Chestnut Street 92"},
	{Name: "shipping.line2", Label: "Shipping address line 2", Type: typeText, Sample: "Apartment 4"},
	{Name: "shipping.city", Label: "Shipping city", Type: typeText, Sample: "Louisville"},
	{Name: "shipping.state", Label: "Shipping state or province", Type: typeText, Sample: "KY"},
	{Name: "shipping.postal_code", Label: "Shipping postal code", Type: typeText, Sample: "40202"},
	{Name: "shipping.country", Label: "Shipping country", Type: typeText, Sample: "US"},
	{Name: "shipping.method", Label: "Shipping method", Type: typeText, Sample: "Free Shipping"},
	{Name: "payment.method", Label: "Paid with", Type: typeText, Sample: "shopify_payments"},
	{Name: "payment.id", Label: "Transaction id", Type: typeText, Sample: "389404469"},
	{Name: "payment.kind", Label: "Kind of transaction", Type: typeText, Sample: "sale"},
	{Name: "payment.reason", Label: "Why it failed", Type: typeText, Sample: "card_declined"},
	{Name: "payment.message", Label: "The gateway's message", Type: typeText, Sample: "Transaction approved"},
	{Name: "refund.id", Label: "Refund id", Type: typeText, Sample: "929361472"},
	{Name: "refund.note", Label: "Refund note", Type: typeText, Sample: "wrong size"},
	{Name: "dispute.id", Label: "Dispute id", Type: typeText, Sample: "285332461850802050"},
	{Name: "dispute.type", Label: "Dispute type", Type: typeText, Sample: "chargeback"},
	{Name: "dispute.reason", Label: "Dispute reason", Type: typeText, Sample: "fraudulent"},
	{Name: "dispute.seller_response_due", Label: "Your answer is due", Type: typeDate, Sample: "2026-03-20T19:00:00Z"},
}
