package stripe

import (
	"strings"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// Stripe's words by object. A word that is missing here is a new one.
var (
	// succeeded is decided by the money received, canceled by what was held, and requires_payment_method, which is also
	// where an intent goes back to when a payment failed, by the event.
	intentStatuses = map[string]schemas.PaymentStatus{
		"requires_payment_method": schemas.StatusPending, "requires_confirmation": schemas.StatusPending,
		"requires_action": schemas.StatusPending, "processing": schemas.StatusPending, "requires_capture": schemas.StatusAuthorized,
		"succeeded": schemas.StatusPaid, "canceled": schemas.StatusCancelled,
	}
	// What succeeded means hangs on captured and refunded.
	chargeStatuses = map[string]schemas.PaymentStatus{
		"pending": schemas.StatusPending, "succeeded": schemas.StatusPaid, "failed": schemas.StatusFailed,
	}
	// A refund's status is its own; how far its payment is refunded follows from the sums.
	refundStatuses = map[string]schemas.PaymentStatus{
		"pending": schemas.StatusPending, "requires_action": schemas.StatusPending, "succeeded": schemas.StatusRefunded,
		"failed": schemas.StatusFailed, "canceled": schemas.StatusCancelled,
	}
	// An inquiry (warning_...) and a dispute that was prevented change nothing. PAID stands for "as it was before": the
	// orders stage knows what that is.
	disputeStatuses = map[string]schemas.PaymentStatus{
		"needs_response": schemas.StatusDisputed, "under_review": schemas.StatusDisputed,
		"won": schemas.StatusPaid, "lost": schemas.StatusChargedBack,
	}
	// past_due still runs: Stripe goes on trying to collect. unpaid and paused do not.
	subscriptionStatuses = map[string]schemas.PaymentStatus{
		"incomplete": schemas.StatusPending, "incomplete_expired": schemas.StatusExpired, "trialing": schemas.StatusActive,
		"active": schemas.StatusActive, "past_due": schemas.StatusActive, "unpaid": schemas.StatusSuspended,
		"paused": schemas.StatusSuspended, "canceled": schemas.StatusCancelled,
	}
)

func canonical(table map[string]schemas.PaymentStatus, word string) schemas.PaymentStatus {
	if s, ok := table[word]; ok {
		return s
	}
	return schemas.StatusUnknown
}

// sessionStatus is a Checkout session's word, both of its parts where they say more together, and what it means.
// complete and unpaid waits for a slow method of payment.
func sessionStatus(o object, eventType string) (string, schemas.PaymentStatus) {
	status, payment := connectors.Cut(o.Text("status"), statusBytesMax), connectors.Cut(o.Text("payment_status"), statusBytesMax)
	if status == "" { // versions before 2021-11 say it by the event's type
		status = map[string]string{"completed": "complete", "async_payment_succeeded": "complete", "async_payment_failed": "complete", "expired": "expired"}[eventType[strings.LastIndexByte(eventType, '.')+1:]]
	}
	switch {
	case strings.HasSuffix(eventType, ".async_payment_failed"):
		return status + "/" + payment, schemas.StatusFailed
	case status == "open":
		return status, schemas.StatusPending
	case status == "expired":
		return status, schemas.StatusExpired
	case status != "complete":
		return status, schemas.StatusUnknown
	case payment == "paid" || payment == "no_payment_required":
		return status + "/" + payment, schemas.StatusPaid
	case payment == "unpaid":
		return status + "/" + payment, schemas.StatusPending
	}
	return status + "/" + payment, schemas.StatusUnknown
}

// startOf is what a session says of the subscription that it starts.
func startOf(paid schemas.PaymentStatus) schemas.PaymentStatus {
	switch paid {
	case schemas.StatusPaid:
		return schemas.StatusActive
	case schemas.StatusPending:
		return schemas.StatusPending
	}
	return schemas.StatusUnknown
}
