package orders

import (
	"github.com/tillstream/tillstream/schemas"
)

// State is what is known under one key: of a root (order, subscription, lone payment), or of a payment, where the
// root is elsewhere. It is a value: Apply never changes what an earlier State points to.
//
// The names in JSON are those of states that were written as format 1; a field added since then has none ("-").
type State struct {
	Format   int               `json:"v"`            // in JSON only
	Kind     schemas.EventKind `json:"k,omitempty"`  // "": nothing was applied here yet
	Own      bool              `json:"ow,omitempty"` // a lone payment that is its own root
	Number   int64             `json:"n,omitempty"`  // transitions so far
	Head     *triple           `json:"h,omitempty"`  // greatest triple applied
	Order    document          `json:"o,omitzero"`   // what ORDER events said
	Sub      document          `json:"u,omitzero"`   // what SUBSCRIPTION events said
	Payments []entity          `json:"p,omitempty"`  // by id
	Refunds  []entity          `json:"r,omitempty"`  // by id
	Disputes []dispute         `json:"d,omitempty"`  // by id
	Settled  []settled         `json:"st,omitempty"` // payments no longer kept apart, by currency
	Payers   []payerAt         `json:"py,omitempty"` // newest first, without what a newer one says
	Seen     []seen            `json:"i,omitempty"`  // in order of arrival
	Linked   []string          `json:"l,omitempty"`  // payments whose link was written
	Link     string            `json:"t,omitempty"`  // the root's key, where this key is a payment's
	Parked   []parked          `json:"w,omitempty"`  // events that wait for Link
	Waiting  []waiting         `json:"c,omitempty"`  // transitions that wait for a contact
	Touched  int64             `json:"a,omitempty"`  // stream time of the last record, in ms
	Removed  *triple           `json:"-"`            // newest deletion of the order at the provider
	Customer *customerAt       `json:"-"`            // newest custom id, where that names customers
	Gone     bool              `json:"-"`
}

// triple orders the events of a root: provider time in ms (or the version, where that alone orders them), sequence, rank
// of the status, event id.
type triple struct {
	T int64  `json:"t"`
	S int64  `json:"s,omitempty"`
	R int    `json:"r,omitempty"`
	E string `json:"e,omitempty"`
}

// claim says that the root has had this status from a moment on.
type claim struct {
	At     triple                `json:"a"`
	Status schemas.PaymentStatus `json:"s"`
}

// sum is an amount with the moment of its statement. Value is a canonical decimal.
type sum struct {
	At       triple `json:"a"`
	Value    string `json:"v"`
	Currency string `json:"c"`
}

// document is what is known from the events about the root itself.
type document struct {
	Claim  *claim `json:"c,omitempty"`
	Amount *sum   `json:"m,omitempty"`
	Total  *sum   `json:"r,omitempty"` // refunded
	Paid   *sum   `json:"-"`           // amount of the newest statement that it was paid
}

// step is one business step of a payment or refund. Notices of the same step share it, and its moment is the earliest
// that any of them names: a repeated notice makes nothing newer.
type step struct {
	At       triple                `json:"a"`
	Status   schemas.PaymentStatus `json:"s,omitempty"`
	Provider string                `json:"p,omitempty"`
	Amount   string                `json:"m,omitempty"`
	Total    string                `json:"r,omitempty"`
	Currency string                `json:"c,omitempty"`
}

func (a step) same(b step) bool {
	return a.Provider == b.Provider && a.Amount == b.Amount && a.Total == b.Total && a.Currency == b.Currency
}

// entity is a payment (Of: its authorization) or a refund (Of: its payment).
type entity struct {
	ID    string `json:"i"`
	Of    string `json:"o,omitempty"`
	Steps []step `json:"s,omitempty"`
}

type dispute struct {
	ID     string                `json:"i"`
	At     triple                `json:"a"`
	Status schemas.PaymentStatus `json:"s"`
}

// settled sums up what was taken out of Payments and Refunds.
type settled struct {
	Currency string `json:"c"`
	Paid     string `json:"p"`
	Refunded string `json:"r"`
}

type payerAt struct {
	At    triple        `json:"a"`
	Payer schemas.Payer `json:"p"`
}

// customerAt is the merchant's own id of the customer.
type customerAt struct {
	At triple `json:"-"`
	ID string `json:"-"`
}

// Forget implements processors.Forgetter.
func (s State) Forget() bool { return s.Gone }

// waitsSince is the stream time in ms since which the oldest parked event or waiting transition has been waiting.
func (s *State) waitsSince() (ms int64, ok bool) {
	for i := range s.Parked {
		if since := s.Parked[i].Since; !ok || since < ms {
			ms, ok = since, true
		}
	}
	for i := range s.Waiting {
		if at := s.Waiting[i].At; !ok || at < ms {
			ms, ok = at, true
		}
	}
	return ms, ok
}

// living reports a subscription that has not ended.
func (s *State) living() bool {
	return s.Kind == schemas.KindSubscription && !s.status(nil).Hard(schemas.KindSubscription)
}

// root reports whether the key is known to be that of an order or subscription.
func (s *State) root() bool { return kindRank(s.Kind) >= kindRank(schemas.KindOrder) }

func kindRank(k schemas.EventKind) int {
	switch k {
	case schemas.KindSubscription:
		return 3
	case schemas.KindOrder:
		return 2
	case schemas.KindPayment:
		return 1
	}
	return 0
}

func (a triple) compare(b triple) int {
	switch {
	case a.T != b.T:
		return cmpInt(a.T, b.T)
	case a.S != b.S:
		return cmpInt(a.S, b.S)
	case a.R != b.R:
		return cmpInt(int64(a.R), int64(b.R))
	case a.E != b.E:
		if a.E < b.E {
			return -1
		}
		return 1
	}
	return 0
}

func cmpInt(a, b int64) int {
	if a < b {
		return -1
	}
	return 1
}

func (a triple) newer(b triple) bool { return a.compare(b) > 0 }
