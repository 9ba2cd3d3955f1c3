// Package simulators is the folder of twins of the providers and CRMs that Tillstream talks to: real HTTP servers with
// the real limits, errors and bad habits, built from what is documented of the originals. The demo, the tests and a
// developer's machine use them; nothing else imports them.
//
// A twin keeps its own truth (what it sent, what it was told) and hands it out, so that an auditor can fold it without
// trusting the code under test.
package simulators

import (
	"context"

	"github.com/tillstream/tillstream/schemas"
)

// A Shop is the twin of a store: a story places orders in it and moves them on, and it sends and lists what the real
// one would.
type Shop interface {
	// Place makes an order in the shop's own first status and returns its id, as events and lists name it.
	Place(ctx context.Context, o Order) (id string, err error)
	// Pay, Fail, Cancel and Refund move an order on. Refund gives back part of the total, or all of it.
	Pay(ctx context.Context, id string) error
	Fail(ctx context.Context, id string) error
	Cancel(ctx context.Context, id string) error
	Refund(ctx context.Context, id, amount string) error
	// Withhold keeps the next n deliveries from being sent at all.
	Withhold(n int)
	// Wait returns when every delivery got its answer or was given up.
	Wait(ctx context.Context) error
	// Orders are all orders as they stand, in the order of their making.
	Orders() []OrderTruth
	// Sent counts the deliveries that were answered 2xx, repetitions included, and those that were given up or withheld.
	Sent() (accepted, lost int)
}

// Order is what a story orders.
type Order struct {
	Email, GivenName, Surname, Phone string
	Total, Currency                  string // decimal text
	Product                          string
}

// OrderTruth is an order as its shop knows it. Status is what the shop's documentation says it means, found without
// the connector's code.
type OrderTruth struct {
	ID, RawStatus, Email      string
	Status                    schemas.PaymentStatus
	Total, Refunded, Currency string
}
