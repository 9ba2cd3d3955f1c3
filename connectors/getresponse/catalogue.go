package getresponse

import (
	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// ResourceOrders is the one resource; eventType is what its events are called, since GetResponse has no name for them.
const (
	ResourceOrders = "orders"
	eventType      = "order"
)

var resources = []connectors.Resource{{ID: ResourceOrders, Title: "Shop orders", EventTypes: []string{eventType}}}

// catalogue lists what a mapping may use. Names of the first block are read from the record's own members, for every
// provider alike; those of the second from OrderEvent.Fields. An order names its products by variant id only.
var catalogue = append(connectors.RecordFields(connectors.SampleRecord{
	EventID: "order:fOh:2018-01-15T13:30:42+0000:6f1d0c7a9b2e4d58", EventType: "order", Time: "2024-07-18T14:20:42Z",
	ProviderStatus: "processing", Status: "PAID",
	OrderID: "fOh", Amount: "716", Currency: "PLN",
	Email: "john.doe@example.com", GivenName: "John", Surname: "Doe", Phone: "+48585550143",
	PayerID: "pV3r",
	Address: schemas.Address{
		Line1: "Arkonska 6", Line2: "A4", City: "Gdansk",
		State: "pomorskie", PostalCode: "80-387", Country: "PL",
	},
	CustomID: "DH71239", InvoiceID: "INV-2024-17",
}, map[string]string{
	"event.time":     "Time at which the change was seen",
	"event.status":   "Billing status as the shop writes it",
	"order.id":       "Order id at GetResponse",
	"payer.payer_id": "Contact id",
	"custom_id":      "The shop's own order id",
	"invoice_id":     "Invoice number (none here)",
}), []connectors.Field{
	{Name: "order.fulfilment", Label: "Order status as the shop writes it", Type: connectors.TypeText, Sample: "COMPLETED"},
	{Name: "order.billing_status", Label: "Billing status as the shop writes it", Type: connectors.TypeText, Sample: "PAID"},
	{Name: "order.external_id", Label: "The shop's own order id", Type: connectors.TypeText, Sample: "DH71239"},
	{Name: "order.url", Label: "Link to the order", Type: connectors.TypeText, Sample: "https://shop.example.com/orders/446"},
	{Name: "order.cart_id", Label: "Cart id", Type: connectors.TypeText, Sample: "QBNgBR"},
	{Name: "order.description", Label: "Description", Type: connectors.TypeText, Sample: "More information about order."},
	{Name: "order.create_time", Label: "Order made", Type: connectors.TypeDate, Sample: "2018-01-15T13:30:42Z"},
	{Name: "order.shipping", Label: "Shipping cost", Type: connectors.TypeMoney, Sample: "23"},
	{Name: "order.total_with_tax", Label: "Total price with tax, as the shop states it", Type: connectors.TypeMoney, Sample: "880.68"},
	{Name: "order.item_quantity", Label: "Number of items", Type: connectors.TypeNumber, Sample: "2"},
	{Name: "order.items.1.variant_id", Label: "First item (variant id)", Type: connectors.TypeText, Sample: "VTB"},
	{Name: "order.items.2.variant_id", Label: "Second item (variant id)", Type: connectors.TypeText, Sample: "p"},
	{Name: "order.items.3.variant_id", Label: "Third item (variant id)", Type: connectors.TypeText, Sample: "q"},
	{Name: "order.items.1.category", Label: "Category of the first item", Type: connectors.TypeText, Sample: "Headwear"},
	{Name: "order.items.2.category", Label: "Category of the second item", Type: connectors.TypeText, Sample: "Belts"},
	{Name: "order.items.3.category", Label: "Category of the third item", Type: connectors.TypeText, Sample: "Gifts"},
	{Name: "order.meta", Label: "Further fields in one line", Type: connectors.TypeText, Sample: "Shoe size=11"},
	{Name: "shipping.full_name", Label: "Name on the parcel", Type: connectors.TypeText, Sample: "John Doe"},
	{Name: "shipping.company", Label: "Company on the parcel", Type: connectors.TypeText, Sample: "Example Ltd"},
	{Name: "shipping.city", Label: "City of the delivery", Type: connectors.TypeText, Sample: "Gdansk"},
	{Name: "shipping.country", Label: "Country of the delivery", Type: connectors.TypeText, Sample: "PL"},
	{Name: "billing.company", Label: "Company on the bill", Type: connectors.TypeText, Sample: "Example Ltd"},
	{Name: "contact.id", Label: "Contact id", Type: connectors.TypeText, Sample: "pV3r"},
	{Name: "contact.list", Label: "List of the contact", Type: connectors.TypeText, Sample: "Promo campaign"},
	{Name: "contact.origin", Label: "How the contact came", Type: connectors.TypeText, Sample: "api"},
}...)
