package generic

import (
	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// The resources that a user chooses from.
const (
	ResourceOrders        = "orders"
	ResourceSubscriptions = "subscriptions"
)

var resources = []connectors.Resource{
	{ID: ResourceOrders, Title: "Orders", EventTypes: []string{"*"}},
	{ID: ResourceSubscriptions, Title: "Subscriptions", EventTypes: []string{"subscription.*"}},
}

// catalogue lists what a mapping may use. Names of the first block are read from the record's own members, for every
// provider alike; those of the second from OrderEvent.Fields. The last stands for all fields of the shop's own JSON.
var catalogue = append(connectors.RecordFields(connectors.SampleRecord{
	EventID: "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", EventType: "order.status_changed", Time: "2026-11-02T10:00:00Z",
	ProviderStatus: "paid", Status: "PAID",
	OrderID: "20017", Amount: "49.99", Currency: "EUR",
	Email: "customer@example.com", GivenName: "Ada", Surname: "Example", Phone: "+496912345678",
	PayerID: "C-1001",
	Address: schemas.Address{
		Line1: "1 Example Street", Line2: "Second floor", City: "Exampleton",
		State: "HE", PostalCode: "60311", Country: "DE",
	},
	CustomID: "campaign-7", InvoiceID: "INV-2026-17",
}, map[string]string{
	"event.status":   "The shop's own status",
	"payer.payer_id": "The shop's customer id",
}), []connectors.Field{
	{Name: "order.number", Label: "Order number", Type: connectors.TypeText, Sample: "#1017"},
	{Name: "order.previous_status", Label: "Status before", Type: connectors.TypeText, Sample: "pending"},
	{Name: "order.create_time", Label: "Order created", Type: connectors.TypeDate, Sample: "2026-11-02T09:58:00Z"},
	{Name: "order.amount_paid", Label: "Paid, as the shop says", Type: connectors.TypeMoney, Sample: "49.99"},
	{Name: "order.shipping", Label: "Shipping cost", Type: connectors.TypeMoney, Sample: "3.90"},
	{Name: "order.tax_total", Label: "Tax", Type: connectors.TypeMoney, Sample: "7.98"},
	{Name: "order.discount", Label: "Discount", Type: connectors.TypeMoney, Sample: "5.00"},
	{Name: "order.coupon", Label: "Coupon", Type: connectors.TypeText, Sample: "WELCOME5"},
	{Name: "order.note", Label: "Note", Type: connectors.TypeText, Sample: "Please ring twice"},
	{Name: "order.item_names", Label: "Item names", Type: connectors.TypeText, Sample: "Leather belt, Gift card"},
	{Name: "order.item_skus", Label: "Item SKUs", Type: connectors.TypeText, Sample: "BELT-1, GIFT"},
	{Name: "order.item_quantity", Label: "Number of items", Type: connectors.TypeNumber, Sample: "2"},
	{Name: "order.items.1.name", Label: "First item", Type: connectors.TypeText, Sample: "Leather belt"},
	{Name: "order.items.1.sku", Label: "First item's SKU", Type: connectors.TypeText, Sample: "BELT-1"},
	{Name: "order.items.1.quantity", Label: "First item's quantity", Type: connectors.TypeNumber, Sample: "1"},
	{Name: "order.items.1.price", Label: "First item's price", Type: connectors.TypeMoney, Sample: "39.99"},
	{Name: "order.items.2.name", Label: "Second item", Type: connectors.TypeText, Sample: "Gift card"},
	{Name: "order.items.2.sku", Label: "Second item's SKU", Type: connectors.TypeText, Sample: "GIFT"},
	{Name: "order.items.2.quantity", Label: "Second item's quantity", Type: connectors.TypeNumber, Sample: "1"},
	{Name: "order.items.2.price", Label: "Second item's price", Type: connectors.TypeMoney, Sample: "10.00"},
	{Name: "order.items.3.name", Label: "Third item", Type: connectors.TypeText, Sample: "Gift wrap"},
	{Name: "order.items.3.sku", Label: "Third item's SKU", Type: connectors.TypeText, Sample: "WRAP"},
	{Name: "order.items.3.quantity", Label: "Third item's quantity", Type: connectors.TypeNumber, Sample: "1"},
	{Name: "order.items.3.price", Label: "Third item's price", Type: connectors.TypeMoney, Sample: "2.00"},
	{Name: "shipping.method", Label: "Shipping method", Type: connectors.TypeText, Sample: "Parcel"},
	{Name: "payment.method", Label: "Paid with", Type: connectors.TypeText, Sample: "card"},
	{Name: "payment.id", Label: "Payment id", Type: connectors.TypeText, Sample: "tx_8812"},
	{Name: "subscription.id", Label: "Subscription id", Type: connectors.TypeText, Sample: "S-77"},
	{Name: "subscription.plan_name", Label: "Plan", Type: connectors.TypeText, Sample: "Monthly"},
	{Name: "subscription.next_billing_time", Label: "Next billing", Type: connectors.TypeDate, Sample: "2026-12-02T10:00:00Z"},
	{Name: OwnFields + "*", Label: "Any other field of the shop's JSON, by its path (data.loyalty.tier; data.tags.1 for the first of a list)", Type: connectors.TypeText, Sample: "gold"},
}...)
