package orders

import (
	"slices"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/schemas"
)

// join takes what e says into the facts. It reports whether e is another notice of a business step already known.
func (s *State) join(e *schemas.OrderEvent, at triple) (again bool) {
	switch e.Kind {
	case schemas.KindOrder:
		s.Order.join(e, at)
	case schemas.KindSubscription:
		s.Sub.join(e, at)
	case schemas.KindPayment:
		again = s.joinEntity(&s.Payments, orElse(e.EntityID, e.RootID), e.Linked(schemas.LinkAuthorization), e, at)
	case schemas.KindRefund:
		again = s.joinEntity(&s.Refunds, orElse(e.EntityID, e.EventID), paymentOf(e), e, at)
	case schemas.KindDispute:
		s.joinDispute(orElse(e.EntityID, e.EventID), e.Status, at)
	}
	if e.Payer != nil {
		s.joinPayer(*e.Payer, at)
	}
	if !again && (s.Head == nil || at.newer(*s.Head)) {
		s.Head = &at
	}
	return again
}

func (d *document) join(e *schemas.OrderEvent, at triple) {
	if says(e.Status) && (d.Claim == nil || at.newer(d.Claim.At)) {
		d.Claim = &claim{at, e.Status}
	}
	d.Amount = newerSum(d.Amount, e.Amount, at)
	d.Total = newerSum(d.Total, e.RefundedTotal, at)
}

func newerSum(old *sum, a *schemas.Amount, at triple) *sum {
	if a == nil || old != nil && !at.newer(old.At) {
		return old
	}
	return &sum{at, canonical(a), strings.ToUpper(a.Currency)}
}

func (s *State) joinEntity(list *[]entity, id, of string, e *schemas.OrderEvent, at triple) (again bool) {
	i, found := slices.BinarySearchFunc(*list, id, func(x entity, id string) int { return strings.Compare(x.ID, id) })
	if !found {
		*list = slices.Insert(*list, i, entity{ID: id})
	}
	x := &(*list)[i]
	x.Of = max(x.Of, of) // "" gives way; of two different ones any rule will do that does not depend on arrival
	n := step{At: at, Status: e.Status, Provider: orElse(e.ProviderStatus, string(e.Status)), Amount: canonical(e.Amount), Total: canonical(e.RefundedTotal)}
	if e.Amount != nil {
		n.Currency = strings.ToUpper(e.Amount.Currency)
	} else if e.RefundedTotal != nil {
		n.Currency = strings.ToUpper(e.RefundedTotal.Currency)
	}
	for j := range x.Steps {
		if x.Steps[j].same(n) {
			if x.Steps[j].At.newer(at) {
				x.Steps[j] = n
			}
			return true
		}
	}
	x.Steps = append(x.Steps, n)
	slices.SortFunc(x.Steps, func(a, b step) int { return a.At.compare(b.At) })
	return false
}

func (s *State) joinDispute(id string, status schemas.PaymentStatus, at triple) {
	i, found := slices.BinarySearchFunc(s.Disputes, id, func(x dispute, id string) int { return strings.Compare(x.ID, id) })
	n := dispute{id, at, status}
	switch {
	case !found:
		s.Disputes = slices.Insert(s.Disputes, i, n)
	case at.newer(s.Disputes[i].At):
		s.Disputes[i] = n
	}
}

// newest is the last step of x; a refund or payment always has one.
func (x entity) newest() step {
	if len(x.Steps) == 0 {
		return step{}
	}
	last := x.Steps[0]
	for _, st := range x.Steps[1:] {
		if st.At.newer(last.At) {
			last = st
		}
	}
	return last
}

// amount is the newest stated amount of x.
func (x entity) amount() (value, currency string) {
	var at triple
	for _, st := range x.Steps {
		if st.Amount != "" && (value == "" || st.At.newer(at)) {
			value, currency, at = st.Amount, st.Currency, st.At
		}
	}
	return value, currency
}

func (x entity) undone() bool {
	last := x.newest()
	switch last.Status {
	case schemas.StatusFailed, schemas.StatusCancelled, schemas.StatusVoided:
		return true
	}
	switch strings.ToUpper(last.Provider) {
	case "FAILED", "CANCELLED", "DENIED":
		return true
	}
	return false
}

// captured reports whether money was received in this status, whatever became of it later.
func captured(status schemas.PaymentStatus) bool {
	switch status {
	case schemas.StatusPaid, schemas.StatusPartiallyPaid, schemas.StatusPartiallyRefunded, schemas.StatusRefunded,
		schemas.StatusDisputed, schemas.StatusChargedBack:
		return true
	}
	return false
}

func says(status schemas.PaymentStatus) bool { return status != "" && status != schemas.StatusUnknown }

// Status is the canonical status that the facts add up to; "" while no event has said anything about it.
func (s State) Status() schemas.PaymentStatus {
	if s.Kind == schemas.KindSubscription {
		if s.Sub.Claim == nil {
			return ""
		}
		return s.Sub.Claim.Status // money never moves a subscription: a late sale revives nothing
	}
	base, refund := s.base(), s.refunding()
	m := s.money()
	switch {
	case refund.live && (base == nil || refundable(base.Status) || refund.at.newer(base.At)):
		if m.paid.IsPositive() && m.refunded.Cmp(m.paid) >= 0 {
			return schemas.StatusRefunded
		}
		return schemas.StatusPartiallyRefunded
	case base == nil:
		return ""
	case refundable(base.Status) && m.refunded.IsPositive() && m.paid.IsPositive():
		if m.refunded.Cmp(m.paid) >= 0 {
			return schemas.StatusRefunded
		}
		return schemas.StatusPartiallyRefunded
	case (base.Status == schemas.StatusPartiallyRefunded || base.Status == schemas.StatusRefunded) &&
		refund.undone && refund.at.newer(base.At):
		return schemas.StatusPaid
	}
	return base.Status
}

func refundable(status schemas.PaymentStatus) bool {
	switch status {
	case schemas.StatusPaid, schemas.StatusPartiallyPaid, schemas.StatusPartiallyRefunded, schemas.StatusRefunded:
		return true
	}
	return false
}

// base is the newest statement about the root apart from refunds.
func (s State) base() *claim {
	var best *claim
	offer := func(c *claim) {
		if c != nil && says(c.Status) && (best == nil || c.At.newer(best.At)) {
			best = c
		}
	}
	offer(s.Order.Claim)
	for _, p := range s.Payments {
		for _, st := range p.Steps {
			offer(&claim{st.At, st.Status})
		}
	}
	for _, r := range s.Refunds {
		if last := r.newest(); last.Status == schemas.StatusChargedBack {
			offer(&claim{last.At, last.Status})
		}
	}
	for _, d := range s.Disputes {
		switch d.Status {
		case schemas.StatusDisputed, schemas.StatusChargedBack, schemas.StatusRefunded:
			offer(&claim{d.At, d.Status})
		}
	}
	return best
}

// refunding tells whether a refund stands, or all were undone, and when the newest of those was said.
type refunding struct {
	live, undone bool
	at           triple
}

func (s State) refunding() refunding {
	var live, gone refunding
	for _, r := range s.Refunds {
		last := r.newest()
		switch {
		case last.Status == schemas.StatusChargedBack:
		case r.undone():
			if !gone.undone || last.At.newer(gone.at) {
				gone = refunding{undone: true, at: last.At}
			}
		default:
			if !live.live || last.At.newer(live.at) {
				live = refunding{live: true, at: last.At}
			}
		}
	}
	if live.live {
		return live
	}
	return gone
}

func canonical(a *schemas.Amount) string {
	if a == nil {
		return ""
	}
	d, err := decimal.NewFromString(a.Value)
	if err != nil {
		return "" // refused before: see check
	}
	return d.String()
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// paymentOf is the payment that a refund or dispute is about: "" means the root as a whole.
func paymentOf(e *schemas.OrderEvent) string {
	return orElse(e.Linked(schemas.LinkCapture), orElse(e.Linked(schemas.LinkSale), e.Linked(schemas.LinkAuthorization)))
}

// Facts are what a root adds up to, whatever the order in which its events came.
type Facts struct {
	Kind           schemas.EventKind
	Status         schemas.PaymentStatus // UNKNOWN while nothing is known
	Paid, Refunded string                // canonical decimals
	Currency       string
	Payer          *schemas.Payer
}

// Facts reads them off the state. ok is false where nothing was applied under this key.
func (s State) Facts() (f Facts, ok bool) {
	m := s.money()
	return Facts{s.Kind, word(s.Status()), m.paid.String(), m.refunded.String(), m.currency, s.Payer()}, s.Kind != ""
}

// Pending counts the events and transitions that still wait under this key: for a link, and for a contact.
func (s State) Pending() (events, transitions int) { return len(s.Parked), len(s.Waiting) }
