// Package triggers is the catalogue of what can start an automation.
package triggers

import (
	"slices"
	"strings"

	"github.com/tillstream/tillstream/schemas"
)

// The ids of the triggers, as written in configuration.
const (
	EventReceived    = "paypal-event-received"
	RecurringCreated = "recurring-payment-created"
	RecurringUpdated = "recurring-payment-updated"
	StatusChanged    = "payment-status-changed"
	OrderPlaced      = "order-placed"
	TagAdded         = "tag-added"
	MovedHere        = "moved-here"
	Schedule         = "schedule"
)

// Trigger describes one entry of the catalogue to a person.
type Trigger struct {
	ID          string
	Title       string
	Description string
	// Fields are the sources that its event data always has; more may be there.
	Fields []string
	// Sample is the event data of a typical case.
	Sample string
}

// Catalogue lists the triggers in the order in which a person is shown them.
func Catalogue() []Trigger {
	return []Trigger{
		{
			EventReceived, "PayPal event received",
			"Starts at every PayPal event that was applied: of all types, or of those chosen.",
			[]string{"event.id", "event.type", "event.time", "order.id", "order.status"},
			"id=3f1c0a9b7d52 type=CHECKOUT.ORDER.APPROVED order=5O190127TN364715T status=APPROVED amount=100.00 USD",
		},
		{
			RecurringCreated, "Recurring payment created",
			"Starts once for each subscription, at the first event that says it was created or activated.",
			[]string{"event.id", "event.type", "event.time", "order.id", "order.status"},
			"id=9a04e2c771b8 type=BILLING.SUBSCRIPTION.ACTIVATED order=I-BW452GLLEP1G status=ACTIVE",
		},
		{
			RecurringUpdated, "Recurring payment updated",
			"Starts at every other event of a subscription that changed or recorded something: renewals, failed payments, suspension, cancellation.",
			[]string{"event.id", "event.type", "event.time", "order.id", "order.status", "order.paid"},
			"id=c2d95f10ab63 type=PAYMENT.SALE.COMPLETED order=I-BW452GLLEP1G status=ACTIVE amount=4.99 USD",
		},
		{
			StatusChanged, "Payment status changed",
			"Starts when the status of an order or subscription changes, whichever event brought it; optionally from or to chosen statuses only.",
			[]string{"event.id", "event.type", "event.time", "order.id", "order.status", "order.paid", "order.refunded"},
			"id=77be01d4f3a9 type=PAYMENT.CAPTURE.COMPLETED order=5O190127TN364715T status=PAID amount=100.00 USD",
		},
		{
			OrderPlaced, "Order placed",
			"Starts once for each order, at the first event that tells of it, whatever its status is then. Subscriptions have triggers of their own.",
			[]string{"event.id", "event.type", "event.time", "order.id", "order.status", "order.amount", "order.currency"},
			"id=10c7f24be8aa type=order.created order=1042 status=PENDING amount=59.90 EUR",
		},
		{
			TagAdded, "Tag added",
			"Starts when a mapping or another workflow adds the tag to the contact. Tags that people add in the CRM are not seen.",
			[]string{"contact.email", "contact.tags"},
			"contact.tags=paypal-integration, vip",
		},
		{
			MovedHere, "Moved here by another workflow",
			"Starts when another workflow moves its run here; what that run knew of its order goes with it.",
			[]string{"order.id", "order.status", "contact.email"},
			"order=5O190127TN364715T status=FAILED",
		},
		{
			Schedule, "Schedule",
			"Starts for every contact that a destination knows, at a time of day on the chosen weekdays.",
			[]string{"contact.email", "contact.tags", "contact.orders"},
			"contact.tags=paypal-integration",
		},
	}
}

// EventIDs lists the triggers that a transition can set off, in the catalogue's order.
func EventIDs() []string {
	return []string{EventReceived, RecurringCreated, RecurringUpdated, StatusChanged, OrderPlaced}
}

// IDs lists the ids of the catalogue in its order.
func IDs() []string {
	var ids []string
	for _, t := range Catalogue() {
		ids = append(ids, t.ID)
	}
	return ids
}

// When narrows a trigger down.
type When struct {
	ID string
	// Events are event types; empty means all. A * at the end stands for any rest.
	Events []string
	// From and To are statuses, for payment-status-changed; empty means any.
	From, To []schemas.PaymentStatus
}

// Creates reports whether t is an event that may say for the first time that a subscription exists. RE-ACTIVATED is
// none: that subscription existed before.
func Creates(t *schemas.Transition) bool {
	if t.RootKind != schemas.KindSubscription || t.Event.Kind != schemas.KindSubscription {
		return false
	}
	return t.Event.EventType == "BILLING.SUBSCRIPTION.CREATED" || t.Event.EventType == "BILLING.SUBSCRIPTION.ACTIVATED"
}

// Match reports whether t sets the trigger off. created says that t is the first event of its subscription for which
// Creates holds. Only transitions that changed or recorded something set anything off.
func Match(w When, t *schemas.Transition, created bool) bool {
	if t.Disposition != schemas.Changed && t.Disposition != schemas.Recorded {
		return false
	}
	if len(w.Events) > 0 && !AnyOf(w.Events, t.Event.EventType) {
		return false
	}
	switch w.ID {
	case EventReceived:
		return t.Event.Provider == "paypal"
	case RecurringCreated:
		return created
	case RecurringUpdated:
		return t.RootKind == schemas.KindSubscription && !created
	case StatusChanged:
		return t.Disposition == schemas.Changed && oneOf(w.From, t.From) && oneOf(w.To, t.To)
	case OrderPlaced:
		return t.From == "" && t.RootKind != schemas.KindSubscription
	}
	return false
}

func oneOf(list []schemas.PaymentStatus, s schemas.PaymentStatus) bool {
	return len(list) == 0 || slices.Contains(list, s)
}

// AnyOf reports whether eventType is one of the patterns; a * at the end of a pattern stands for any rest.
func AnyOf(patterns []string, eventType string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if rest, ok := strings.CutSuffix(p, "*"); ok {
			return strings.HasPrefix(eventType, rest)
		}
		return p == eventType
	})
}

// Statuses lists the words that From and To may hold.
func Statuses() []string {
	list := []schemas.PaymentStatus{
		schemas.StatusDraft, schemas.StatusPending, schemas.StatusApproved, schemas.StatusFailed, schemas.StatusAuthorized,
		schemas.StatusPartiallyPaid, schemas.StatusPaid, schemas.StatusPartiallyRefunded, schemas.StatusDisputed,
		schemas.StatusExpired, schemas.StatusCancelled, schemas.StatusVoided, schemas.StatusRefunded,
		schemas.StatusChargedBack, schemas.StatusActive, schemas.StatusSuspended,
	}
	words := make([]string, len(list))
	for i, s := range list {
		words[i] = string(s)
	}
	return words
}
