package getresponse

import (
	"strings"

	"github.com/tillstream/tillstream/schemas"
)

// canonicalNames are the canonical statuses of an order by folded name.
var canonicalNames = func() map[string]schemas.PaymentStatus {
	out := map[string]schemas.PaymentStatus{}
	for _, s := range []schemas.PaymentStatus{
		schemas.StatusUnknown, schemas.StatusDraft, schemas.StatusPending, schemas.StatusApproved, schemas.StatusFailed, schemas.StatusAuthorized,
		schemas.StatusPartiallyPaid, schemas.StatusPaid, schemas.StatusPartiallyRefunded, schemas.StatusDisputed, schemas.StatusExpired,
		schemas.StatusCancelled, schemas.StatusVoided, schemas.StatusRefunded, schemas.StatusChargedBack,
	} {
		out[fold(string(s))] = s
	}
	return out
}()

// usualWords are what the official plugins send, which is the shop's own status: WooCommerce's slugs, Magento's statuses,
// and new, which they send where there is none yet. The billing status is free text at GetResponse.
var usualWords = map[string]schemas.PaymentStatus{
	"new": schemas.StatusPending, "awaiting": schemas.StatusPending,
	// WooCommerce.
	"checkout-draft": schemas.StatusDraft, "auto-draft": schemas.StatusDraft, "on-hold": schemas.StatusPending,
	"processing": schemas.StatusPaid, "completed": schemas.StatusPaid, "trash": schemas.StatusCancelled,
	// Magento. closed is fully credited; complete is invoiced and shipped.
	"pending-payment": schemas.StatusPending, "payment-review": schemas.StatusPending, "holded": schemas.StatusPending, "fraud": schemas.StatusPending,
	"pending-paypal": schemas.StatusPending, "complete": schemas.StatusPaid, "closed": schemas.StatusRefunded, "canceled": schemas.StatusCancelled,
	// The form that the CRM's own recommendation has beside the canonical names.
	"denied": schemas.StatusFailed,
}

// fold is the form in which words are compared: upper or lower case, spaces, hyphens and underscores are alike.
func fold(word string) string {
	return strings.NewReplacer(" ", "-", "_", "-").Replace(strings.ToLower(strings.TrimSpace(word)))
}

// statusOf is what a word means: as configured, else its canonical name, else as the plugins use it.
func (n normalizer) statusOf(word string) schemas.PaymentStatus {
	folded := fold(word)
	for _, table := range []map[string]schemas.PaymentStatus{n.words, canonicalNames, usualWords} {
		if s, ok := table[folded]; ok {
			return s
		}
	}
	return schemas.StatusUnknown
}
