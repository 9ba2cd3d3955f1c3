package getresponse

import "github.com/tillstream/tillstream/connectors"

// ResourceOrders is the one resource; eventType is what its events are called, since GetResponse has no name for them.
const (
	ResourceOrders = "orders"
	eventType      = "order"
)

var resources = []connectors.Resource{{ID: ResourceOrders, Title: "Shop orders", EventTypes: []string{eventType}}}

// Field types of the catalogue.
const (
	typeText   = "text"
	typeMoney  = "money"
	typeDate   = "date"
	typePhone  = "phone"
	typeNumber = "number"
)

// catalogue lists what a mapping may use. Names of the first block are read from the record's own members, for every
// provider alike; those of the second from OrderEvent.Fields. An order names its products by variant id only.
var catalogue = []connectors.Field{
	{Name: "event.id", Label: "Event id", Type: typeText, Sample: "order:fOh:2018-01-15T13:30:42+0000:6f1d0c7a9b2e4d58"},
	{Name: "event.type", Label: "Event type", Type: typeText, Sample: "order"},
	{Name: "event.time", Label: "Time at which the change was seen", Type: typeDate, Sample: "2024-07-18T14:20:42Z"},
	{Name: "event.status", Label: "Billing status as the shop writes it", Type: typeText, Sample: "processing"},
	{Name: "order.id", Label: "Order id at GetResponse", Type: typeText, Sample: "fOh"},
	{Name: "order.amount", Label: "Amount", Type: typeMoney, Sample: "716"},
	{Name: "order.currency", Label: "Currency", Type: typeText, Sample: "PLN"},
	{Name: "order.status", Label: "Payment status", Type: typeText, Sample: "PAID"},
	{Name: "order.paid", Label: "Paid so far", Type: typeMoney, Sample: "716"},
	{Name: "order.refunded", Label: "Refunded so far", Type: typeMoney, Sample: "0"},
	{Name: "payer.email", Label: "E-mail", Type: typeText, Sample: "john.doe@example.com"},
	{Name: "payer.given_name", Label: "First name", Type: typeText, Sample: "John"},
	{Name: "payer.surname", Label: "Last name", Type: typeText, Sample: "Doe"},
	{Name: "payer.full_name", Label: "Full name", Type: typeText, Sample: "John Doe"},
	{Name: "payer.phone", Label: "Phone", Type: typePhone, Sample: "+48585550143"},
	{Name: "payer.payer_id", Label: "Contact id", Type: typeText, Sample: "pV3r"},
	{Name: "payer.address.line1", Label: "Address line 1", Type: typeText, Sample: "Arkonska 6"},
	{Name: "payer.address.line2", Label: "Address line 2", Type: typeText, Sample: "A4"},
	{Name: "payer.address.city", Label: "City", Type: typeText, Sample: "Gdansk"},
	{Name: "payer.address.state", Label: "State or province", Type: typeText, Sample: "pomorskie"},
	{Name: "payer.address.postal_code", Label: "Postal code", Type: typeText, Sample: "80-387"},
	{Name: "payer.address.country", Label: "Country", Type: typeText, Sample: "PL"},
	{Name: "custom_id", Label: "The shop's own order id", Type: typeText, Sample: "DH71239"},
	{Name: "invoice_id", Label: "Invoice number (none here)", Type: typeText, Sample: "INV-2024-17"},

	{Name: "order.fulfilment", Label: "Order status as the shop writes it", Type: typeText, Sample: "COMPLETED"},
	{Name: "order.billing_status", Label: "Billing status as the shop writes it", Type: typeText, Sample: "PAID"},
	{Name: "order.external_id", Label: "The shop's own order id", Type: typeText, Sample: "DH71239"},
	{Name: "order.url", Label: "Link to the order", Type: typeText, Sample: "https://shop.example.com/orders/446"},
	{Name: "order.cart_id", Label: "Cart id", Type: typeText, Sample: "QBNgBR"},
	{Name: "order.description", Label: "Description", Type: typeText, Sample: "More information about order."},
	{Name: "order.create_time", Label: "Order made", Type: typeDate, Sample: "2018-01-15T13:30:42Z"},
	{Name: "order.shipping", Label: "Shipping cost", Type: typeMoney, Sample: "23"},
	{Name: "order.total_with_tax", Label: "Total price with tax, as the shop states it", Type: typeMoney, Sample: "880.68"},
	{Name: "order.item_quantity", Label: "Number of items", Type: typeNumber, Sample: "2"},
	{Name: "order.items.1.variant_id", Label: "First item (variant id)", Type: typeText, Sample: "VTB"},
	{Name: "order.items.2.variant_id", Label: "Second item (variant id)", Type: typeText, Sample: "p"},
	{Name: "order.items.3.variant_id", Label: "Third item (variant id)", Type: typeText, Sample: "q"},
	{Name: "order.items.1.category", Label: "Category of the first item", Type: typeText, Sample: "Headwear"},
	{Name: "order.items.2.category", Label: "Category of the second item", Type: typeText, Sample: "Belts"},
	{Name: "order.items.3.category", Label: "Category of the third item", Type: typeText, Sample: "Gifts"},
	{Name: "order.meta", Label: "Further fields in one line", Type: typeText, Sample: "Shoe size=11"},
	{Name: "shipping.full_name", Label: "Name on the parcel", Type: typeText, Sample: "John Doe"},
	{Name: "shipping.company", Label: "Company on the parcel", Type: typeText, Sample: "Example Ltd"},
	{Name: "shipping.city", Label: "City of the delivery", Type: typeText, Sample: "Gdansk"},
	{Name: "shipping.country", Label: "Country of the delivery", Type: typeText, Sample: "PL"},
	{Name: "billing.company", Label: "Company on the bill", Type: typeText, Sample: "Example Ltd"},
	{Name: "contact.id", Label: "Contact id", Type: typeText, Sample: "pV3r"},
	{Name: "contact.list", Label: "List of the contact", Type: typeText, Sample: "Promo campaign"},
	{Name: "contact.origin", Label: "How the contact came", Type: typeText, Sample: "api"},
}
