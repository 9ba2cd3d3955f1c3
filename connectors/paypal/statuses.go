package paypal

import (
	"strings"

	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/schemas"
)

// PayPal's words by entity. v1 writes its states in lower case; a word that is missing here is a new one.
var (
	orderStatuses = map[string]schemas.PaymentStatus{
		"CREATED": schemas.StatusPending, "SAVED": schemas.StatusPending, "PAYER_ACTION_REQUIRED": schemas.StatusPending,
		"APPROVED": schemas.StatusApproved, "VOIDED": schemas.StatusVoided,
		// COMPLETED is decided by the payments inside.
	}
	authorizationStatuses = map[string]schemas.PaymentStatus{
		"CREATED": schemas.StatusAuthorized, "AUTHORIZED": schemas.StatusAuthorized, "PENDING": schemas.StatusPending,
		"PARTIALLY_CAPTURED": schemas.StatusPartiallyPaid, "CAPTURED": schemas.StatusPaid, "DENIED": schemas.StatusFailed,
		"VOIDED": schemas.StatusVoided, "EXPIRED": schemas.StatusExpired,
	}
	captureStatuses = map[string]schemas.PaymentStatus{
		"PENDING": schemas.StatusPending, "COMPLETED": schemas.StatusPaid, "DECLINED": schemas.StatusFailed,
		"DENIED": schemas.StatusFailed, "FAILED": schemas.StatusFailed,
		"PARTIALLY_REFUNDED": schemas.StatusPartiallyRefunded, "REFUNDED": schemas.StatusRefunded,
	}
	saleStatuses = map[string]schemas.PaymentStatus{
		"PENDING": schemas.StatusPending, "COMPLETED": schemas.StatusPaid, "DENIED": schemas.StatusFailed,
		"PARTIALLY_REFUNDED": schemas.StatusPartiallyRefunded, "REFUNDED": schemas.StatusRefunded,
		"REVERSED": schemas.StatusChargedBack,
	}
	// A refund's status is its own; how far its payment is refunded follows from the sums.
	refundStatuses = map[string]schemas.PaymentStatus{
		"PENDING": schemas.StatusPending, "COMPLETED": schemas.StatusRefunded, "FAILED": schemas.StatusFailed,
		"CANCELLED": schemas.StatusCancelled, "REFUNDED": schemas.StatusRefunded,
		"PARTIALLY_REFUNDED": schemas.StatusRefunded, "REVERSED": schemas.StatusRefunded,
	}
	subscriptionStatuses = map[string]schemas.PaymentStatus{
		"APPROVAL_PENDING": schemas.StatusPending, "PENDING": schemas.StatusPending, "APPROVED": schemas.StatusApproved,
		"ACTIVE": schemas.StatusActive, "REACTIVATED": schemas.StatusActive, "SUSPENDED": schemas.StatusSuspended,
		"CANCELLED": schemas.StatusCancelled, "CANCELED": schemas.StatusCancelled, "EXPIRED": schemas.StatusExpired,
	}
	// subscriptionByEvent serves bodies that carry no status.
	subscriptionByEvent = map[string]schemas.PaymentStatus{
		"CREATED": schemas.StatusPending, "ACTIVATED": schemas.StatusActive, "RE-ACTIVATED": schemas.StatusActive,
		"SUSPENDED": schemas.StatusSuspended, "CANCELLED": schemas.StatusCancelled, "EXPIRED": schemas.StatusExpired,
	}
	disputeStatuses = map[string]schemas.PaymentStatus{
		"OPEN": schemas.StatusDisputed, "WAITING_FOR_BUYER_RESPONSE": schemas.StatusDisputed,
		"WAITING_FOR_SELLER_RESPONSE": schemas.StatusDisputed, "UNDER_REVIEW": schemas.StatusDisputed,
	}
	// Where the seller keeps the money, PAID stands for "as it was before": the orders stage knows what that is.
	disputeOutcomes = map[string]schemas.PaymentStatus{
		"RESOLVED_BUYER_FAVOUR": schemas.StatusChargedBack, "ACCEPTED": schemas.StatusChargedBack,
		"RESOLVED_SELLER_FAVOUR": schemas.StatusPaid, "RESOLVED_WITH_PAYOUT": schemas.StatusPaid,
		"CANCELED_BY_BUYER": schemas.StatusPaid, "DENIED": schemas.StatusPaid,
	}
)

func canonical(table map[string]schemas.PaymentStatus, word string) schemas.PaymentStatus {
	if s, ok := table[strings.ToUpper(word)]; ok {
		return s
	}
	return schemas.StatusUnknown
}

// unitPayments are the captures and authorizations inside an order.
func unitPayments(units []object) (captures, authorizations []object) {
	for _, u := range units {
		captures = append(captures, u.Objects("payments", "captures")...)
		authorizations = append(authorizations, u.Objects("payments", "authorizations")...)
	}
	return captures, authorizations
}

// sumUnits adds the purchase units' amounts; one unit's digits stay as they are. PayPal allows one currency per order.
func sumUnits(units []object) (*schemas.Amount, error) {
	var sum *schemas.Amount
	for _, u := range units {
		a, err := amountOf(u, "resource.purchase_units.amount", "", "amount")
		if err != nil || a == nil {
			if err != nil {
				return nil, err
			}
			continue
		}
		switch {
		case sum == nil:
			sum = a
		case sum.Currency != a.Currency:
			return nil, nil
		default:
			sum.Value = add(sum.Value, a.Value)
		}
	}
	return sum, nil
}

// add sums two texts that are known to be decimals, keeping the longer fraction.
func add(a, b string) string {
	x, y := decimal.RequireFromString(a), decimal.RequireFromString(b)
	return x.Add(y).StringFixed(-min(x.Exponent(), y.Exponent(), 0))
}

// completedStatus says what a COMPLETED order really is. The word alone proves no money: it also covers orders that
// are authorized only, and declined payments.
func completedStatus(total *schemas.Amount, captures, authorizations []object) (schemas.PaymentStatus, error) {
	if len(captures) == 0 {
		return bestOf(authorizations, authorizationStatuses), nil
	}
	var received decimal.Decimal
	seen := map[schemas.PaymentStatus]int{}
	for _, c := range captures {
		a, err := amountOf(c, "resource.purchase_units.payments.captures.amount", "", "amount")
		if err != nil {
			return "", err
		}
		s := canonical(captureStatuses, c.Text("status"))
		seen[s]++
		switch s {
		case schemas.StatusPaid, schemas.StatusPartiallyRefunded, schemas.StatusRefunded:
			if a != nil {
				received = received.Add(decimal.RequireFromString(a.Value))
			}
		}
	}
	switch refunded, partly := seen[schemas.StatusRefunded], seen[schemas.StatusPartiallyRefunded]; {
	case refunded > 0 && partly+seen[schemas.StatusPaid] == 0:
		return schemas.StatusRefunded, nil
	case refunded+partly > 0:
		return schemas.StatusPartiallyRefunded, nil
	case seen[schemas.StatusPaid] > 0:
		if total != nil && received.LessThan(decimal.RequireFromString(total.Value)) {
			return schemas.StatusPartiallyPaid, nil
		}
		return schemas.StatusPaid, nil
	}
	return bestOf(captures, captureStatuses), nil
}

// bestOf is the status of several payments of which none brought money: waiting before failed, held before waiting.
func bestOf(payments []object, table map[string]schemas.PaymentStatus) schemas.PaymentStatus {
	for _, want := range []schemas.PaymentStatus{
		schemas.StatusPaid, schemas.StatusPartiallyPaid, schemas.StatusAuthorized, schemas.StatusPending,
		schemas.StatusExpired, schemas.StatusVoided, schemas.StatusFailed,
	} {
		for _, p := range payments {
			if canonical(table, p.Text("status")) == want {
				return want
			}
		}
	}
	return schemas.StatusUnknown
}
