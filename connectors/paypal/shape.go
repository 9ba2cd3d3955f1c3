package paypal

import (
	"cmp"
	"strings"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// shape is the form of a resource. PayPal sends several forms under one event type, and one form under several.
type shape int

const (
	shapeOther shape = iota
	shapeOrder
	shapeReversedApproval
	shapeSubscription
	shapeCapture
	shapeAuthorization
	shapeSale
	shapeRefund
	shapeDispute
	shapeTransaction // a line of the transaction search
	shapeCharge      // a line of a subscription's payments
)

// shapeOf looks at what the resource is. The event's type decides only where the body does not say.
func shapeOf(event, resource object) shape {
	if resource == nil {
		return shapeOther
	}
	typ := event.Text("event_type")
	if resource.Has("sale_id") || resource.Has("capture_id") {
		return shapeRefund // v1: announced as resource_type sale
	}
	kind := strings.ToLower(event.Text("resource_type"))
	if kind == "" {
		kind = kindByEvent(typ, resource)
	}
	switch kind {
	case "checkout-order":
		return shapeOrder
	case "reversed-approval":
		return shapeReversedApproval
	case "subscription", "agreement":
		return shapeSubscription
	case "refund":
		return shapeRefund
	case "dispute":
		return shapeDispute
	case "capture", "authorization", "sale":
		// A reversal is a movement of its own. Its body can read like a completed payment, which it is not.
		if strings.HasSuffix(typ, ".REVERSED") || strings.HasSuffix(typ, ".REFUNDED") {
			return shapeRefund
		}
		return map[string]shape{"capture": shapeCapture, "authorization": shapeAuthorization, "sale": shapeSale}[kind]
	}
	return shapeOther
}

func kindByEvent(typ string, resource object) string {
	switch {
	case typ == "CHECKOUT.PAYMENT-APPROVAL.REVERSED" && resource.Has("order_id"):
		return "reversed-approval"
	case strings.HasPrefix(typ, "CHECKOUT.ORDER."):
		return "checkout-order"
	case strings.HasPrefix(typ, "BILLING.SUBSCRIPTION."):
		return "subscription"
	case strings.HasPrefix(typ, "CUSTOMER.DISPUTE."):
		return "dispute"
	case strings.HasPrefix(typ, "PAYMENT.SALE."):
		return "sale"
	case strings.HasPrefix(typ, "PAYMENT.AUTHORIZATION."):
		return "authorization"
	case strings.HasPrefix(typ, "PAYMENT.CAPTURE."):
		return "capture"
	case strings.HasPrefix(typ, "PAYMENT.REFUND."):
		return "refund"
	}
	return ""
}

// readShape tells what an object is that was read at PayPal; shapeOther: nothing known, or an event. What a webhook brings
// is an event and nothing else: an object's id follows from its content, so that whoever could forge a body could make
// as many as he likes.
func readShape(o object, d connectors.Delivery) shape {
	switch {
	case d.Origin == schemas.OriginWebhook || o.Has("event_type") || o.Has("resource"):
		return shapeOther
	case o.Object("transaction_info") != nil:
		return shapeTransaction
	case o.Has("amount_with_breakdown") && d.Headers[headerSubscription] != "":
		return shapeCharge
	case o.Has("purchase_units"):
		return shapeOrder
	case o.Has("disputed_transactions"):
		return shapeDispute
	case o.Has("sale_id") || o.Has("capture_id"):
		return shapeRefund
	case o.Has("plan_id"):
		return shapeSubscription
	}
	for _, l := range o.Objects("links") {
		if rel, id, ok := relationOf(pathOf(l.Text("href"))); ok && l.Text("rel") == "self" && id == o.Text("id") {
			return shapeByRelation[rel]
		}
	}
	switch {
	case o.Has("seller_payable_breakdown"):
		return shapeRefund
	case o.Has("seller_receivable_breakdown") || o.Has("final_capture"):
		return shapeCapture
	case o.Has("state") && o.Has("parent_payment") && (o.Has("payment_mode") || o.Has("billing_agreement_id")):
		return shapeSale
	}
	return shapeOther
}

var shapeByRelation = map[schemas.LinkRelation]shape{
	schemas.LinkOrder: shapeOrder, schemas.LinkSubscription: shapeSubscription, schemas.LinkCapture: shapeCapture,
	schemas.LinkAuthorization: shapeAuthorization, schemas.LinkSale: shapeSale, linkRefund: shapeRefund,
}

// lastStep is the end of the type of the event that tells of a status; one that is missing has its own name.
var lastStep = map[shape]map[string]string{
	shapeSubscription: {"APPROVAL_PENDING": "CREATED", "APPROVED": "CREATED", "ACTIVE": "ACTIVATED"},
	shapeDispute:      {"OPEN": "CREATED", "WAITING_FOR_BUYER_RESPONSE": "UPDATED", "WAITING_FOR_SELLER_RESPONSE": "UPDATED", "UNDER_REVIEW": "UPDATED"},
	// What was refunded was paid before; of the refund tells an event of its own.
	shapeCapture:       {"PARTIALLY_REFUNDED": "COMPLETED", "REFUNDED": "COMPLETED", "FAILED": "DENIED"},
	shapeSale:          {"PARTIALLY_REFUNDED": "COMPLETED", "REFUNDED": "COMPLETED", "REVERSED": "COMPLETED"},
	shapeCharge:        {"PARTIALLY_REFUNDED": "COMPLETED", "REFUNDED": "COMPLETED", "DECLINED": "DENIED"},
	shapeAuthorization: {"AUTHORIZED": "CREATED", "PENDING": "CREATED", "PARTIALLY_CAPTURED": "CREATED", "CAPTURED": "CREATED"},
}

// typeOf is the type of the event that PayPal sends about an object in this status.
func typeOf(s shape, o object) string {
	status := strings.ToUpper(cmp.Or(o.Text("status"), o.Text("state")))
	if status == "" || len(status) > idBytesMax || checkID("", status) != nil {
		status = "UPDATED"
	}
	if step, ok := lastStep[s][status]; ok {
		status = step
	}
	switch s {
	case shapeOrder:
		return "CHECKOUT.ORDER." + status
	case shapeSubscription:
		return "BILLING.SUBSCRIPTION." + status
	case shapeCapture:
		return "PAYMENT.CAPTURE." + status
	case shapeSale, shapeCharge:
		return "PAYMENT.SALE." + status
	case shapeAuthorization:
		return "PAYMENT.AUTHORIZATION." + status
	case shapeDispute:
		return "CUSTOMER.DISPUTE." + status
	case shapeRefund:
		if o.Has("sale_id") {
			return "PAYMENT.SALE.REFUNDED"
		}
		return "PAYMENT.CAPTURE.REFUNDED"
	}
	return "" // a transaction says what it is by its code
}
