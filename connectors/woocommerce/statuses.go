package woocommerce

import (
	"strings"

	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/schemas"
)

// statusTrash is a removed order; it says nothing about payment.
const statusTrash = "trash"

// methodCashOnDelivery reaches a paid status before any money came.
const methodCashOnDelivery = "cod"

// statuses are WooCommerce's own words, as the API writes them. Plugins add others.
var statuses = map[string]schemas.PaymentStatus{
	"checkout-draft": schemas.StatusDraft, "auto-draft": schemas.StatusDraft, "draft": schemas.StatusDraft, "new": schemas.StatusDraft,
	"pending": schemas.StatusPending, "on-hold": schemas.StatusPending,
	"processing": schemas.StatusPaid, "completed": schemas.StatusPaid,
	"refunded": schemas.StatusRefunded, "failed": schemas.StatusFailed, "cancelled": schemas.StatusCancelled,
}

// meanings are what a plugin's status may be said to mean.
var meanings = []schemas.PaymentStatus{
	schemas.StatusUnknown, schemas.StatusDraft, schemas.StatusPending, schemas.StatusApproved, schemas.StatusFailed,
	schemas.StatusAuthorized, schemas.StatusPartiallyPaid, schemas.StatusPaid, schemas.StatusPartiallyRefunded,
	schemas.StatusDisputed, schemas.StatusExpired, schemas.StatusCancelled, schemas.StatusVoided, schemas.StatusRefunded,
	schemas.StatusChargedBack,
}

// plainWord is a status as the API writes it: the database puts wc- before it, and people capitals.
func plainWord(word string) string {
	return strings.TrimPrefix(strings.ToLower(strings.TrimSpace(word)), "wc-")
}

// balance is what an order says about its money.
type balance struct {
	total, refunded decimal.Decimal
	method          string
	paidTime        bool // a time of payment is stated
}

// canonical says what the order's word means; the money decides between paid, unpaid and partly refunded.
func (r reader) canonical(word string, m balance) schemas.PaymentStatus {
	word = plainWord(word)
	status, known := statuses[word]
	if !known {
		status, known = r.words[word]
	}
	switch {
	case !known:
		return schemas.StatusUnknown
	case status != schemas.StatusPaid:
		return status
	case m.method == methodCashOnDelivery && !m.paidTime && m.total.IsPositive():
		return schemas.StatusPending
	case m.refunded.IsPositive() && m.refunded.LessThan(m.total):
		return schemas.StatusPartiallyRefunded
	}
	return status
}
