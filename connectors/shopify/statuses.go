package shopify

import (
	"strings"

	"github.com/tillstream/tillstream/schemas"
)

// financialStatuses are the words of an order, as REST and webhooks write them; GraphQL writes them in upper case.
var financialStatuses = map[string]schemas.PaymentStatus{
	"pending": schemas.StatusPending, "authorized": schemas.StatusAuthorized, "partially_paid": schemas.StatusPartiallyPaid,
	"paid": schemas.StatusPaid, "partially_refunded": schemas.StatusPartiallyRefunded, "refunded": schemas.StatusRefunded,
	"voided": schemas.StatusVoided, "expired": schemas.StatusExpired,
}

// orderStatus is what an order says of its payment. Cancelling an order is separate from its money: what was not paid is
// cancelled, what was stays as it is until it is refunded.
func orderStatus(word string, cancelled bool) schemas.PaymentStatus {
	status, ok := financialStatuses[word]
	if !ok {
		return schemas.StatusUnknown
	}
	if cancelled {
		switch status {
		case schemas.StatusPending, schemas.StatusAuthorized, schemas.StatusExpired:
			return schemas.StatusCancelled
		}
	}
	return status
}

// transactionStatus is what one transaction says. part: not everything that was asked for is captured yet.
func transactionStatus(kind, status string, part bool) schemas.PaymentStatus {
	switch status {
	case "failure", "error":
		return schemas.StatusFailed
	case "pending":
		return schemas.StatusPending
	case "success":
	default:
		return schemas.StatusUnknown
	}
	switch kind {
	case "authorization":
		return schemas.StatusAuthorized
	case "sale", "capture":
		if part {
			return schemas.StatusPartiallyPaid
		}
		return schemas.StatusPaid
	case "void":
		return schemas.StatusVoided
	case "refund":
		return schemas.StatusRefunded
	}
	return schemas.StatusUnknown
}

// disputeStatuses are the words of Shopify Payments. A dispute that was won says nothing: the order is as it was before.
var disputeStatuses = map[string]schemas.PaymentStatus{
	"needs_response": schemas.StatusDisputed, "under_review": schemas.StatusDisputed,
	"lost": schemas.StatusChargedBack, "accepted": schemas.StatusChargedBack, "charge_refunded": schemas.StatusRefunded,
}

func disputeStatus(topic, word string) schemas.PaymentStatus {
	if status, ok := disputeStatuses[strings.ToLower(word)]; ok {
		return status
	}
	if word == "" && topic == "disputes/create" {
		return schemas.StatusDisputed
	}
	return schemas.StatusUnknown
}
