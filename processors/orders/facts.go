package orders

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/schemas"
)

// join takes what e says into the facts. It reports whether e is another notice of a business step already known.
func (s *State) join(e *schemas.OrderEvent, at triple) (again bool) {
	switch e.Kind {
	case schemas.KindOrder:
		s.Order.join(e, at)
		if e.Deleted && (s.Removed == nil || at.newer(*s.Removed)) {
			s.Removed = &at
		}
	case schemas.KindSubscription:
		s.Sub.join(e, at)
	case schemas.KindPayment:
		again = s.joinEntity(&s.Payments, cmp.Or(e.EntityID, e.RootID), e.Linked(schemas.LinkAuthorization), e, at)
	case schemas.KindRefund:
		again = s.joinEntity(&s.Refunds, cmp.Or(e.EntityID, e.EventID), paymentOf(e), e, at)
	case schemas.KindDispute:
		s.joinDispute(cmp.Or(e.EntityID, e.EventID), e.Status, at)
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
	if wholly(e.Status) {
		d.Paid = newerSum(d.Paid, e.Amount, at)
	}
	d.Total = newerSum(d.Total, e.RefundedTotal, at)
}

func newerSum(old *sum, a *schemas.Amount, at triple) *sum {
	if a == nil || old != nil && !at.newer(old.At) {
		return old
	}
	return &sum{at, canonical(a), strings.ToUpper(a.Currency)}
}

// joinEntity never changes what an earlier state points to: it puts a new list in the place of the old one.
func (s *State) joinEntity(list *[]entity, id, of string, e *schemas.OrderEvent, at triple) (again bool) {
	i, found := slices.BinarySearchFunc(*list, id, byID)
	if !found {
		*list = slices.Insert(slices.Clip(*list), i, entity{ID: id})
	}
	x := (*list)[i]
	x.Of = max(x.Of, of) // "" gives way; of two different ones any rule will do that does not depend on arrival
	n := step{At: at, Status: e.Status, Provider: cmp.Or(e.ProviderStatus, string(e.Status)), Amount: canonical(e.Amount), Total: canonical(e.RefundedTotal)}
	if e.Amount != nil {
		n.Currency = strings.ToUpper(e.Amount.Currency)
	} else if e.RefundedTotal != nil {
		n.Currency = strings.ToUpper(e.RefundedTotal.Currency)
	}
	j := slices.IndexFunc(x.Steps, n.same)
	switch {
	case j < 0:
		x.Steps = append(slices.Clip(x.Steps), n)
		slices.SortFunc(x.Steps, func(a, b step) int { return a.At.compare(b.At) })
	case x.Steps[j].At.newer(at):
		x.Steps = slices.Clone(x.Steps)
		x.Steps[j] = n
	case x.Of == (*list)[i].Of:
		return true
	}
	if found {
		*list = slices.Clone(*list)
	}
	(*list)[i] = x
	return j >= 0
}

func (s *State) joinDispute(id string, status schemas.PaymentStatus, at triple) {
	i, found := slices.BinarySearchFunc(s.Disputes, id, func(x dispute, id string) int { return strings.Compare(x.ID, id) })
	n := dispute{id, at, status}
	switch {
	case !found:
		s.Disputes = slices.Insert(slices.Clip(s.Disputes), i, n)
	case at.newer(s.Disputes[i].At):
		s.Disputes = slices.Clone(s.Disputes)
		s.Disputes[i] = n
	}
}

// newest is the last step of x; a refund or payment always has one.
func (x *entity) newest() *step {
	if len(x.Steps) == 0 {
		return &step{}
	}
	last := &x.Steps[0]
	for i := 1; i < len(x.Steps); i++ {
		if x.Steps[i].At.newer(last.At) {
			last = &x.Steps[i]
		}
	}
	return last
}

// amount is the newest stated amount of x.
func (x *entity) amount() (value, currency string) {
	var at triple
	for i := range x.Steps {
		if st := &x.Steps[i]; st.Amount != "" && (value == "" || st.At.newer(at)) {
			value, currency, at = st.Amount, st.Currency, st.At
		}
	}
	return value, currency
}

func (x *entity) undone() bool {
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

// open reports whether an order of this status may still be paid, so that removing it cancels it.
func open(status schemas.PaymentStatus) bool {
	switch status {
	case schemas.StatusDraft, schemas.StatusPending, schemas.StatusApproved, schemas.StatusFailed, schemas.StatusAuthorized:
		return true
	}
	return false
}

func says(status schemas.PaymentStatus) bool { return status != "" && status != schemas.StatusUnknown }

// Status is the canonical status that the facts add up to; "" while no event has said anything about it.
func (s State) Status() schemas.PaymentStatus { return s.status(nil) }

// status takes the money from m, where the caller knows it.
func (s *State) status(m *balance) schemas.PaymentStatus {
	if s.Kind == schemas.KindSubscription {
		if s.Sub.Claim == nil {
			return ""
		}
		return s.Sub.Claim.Status // money never moves a subscription: a late sale revives nothing
	}
	base, known := s.base()
	if s.Removed != nil && (!known || s.Removed.newer(base.At) && open(base.Status)) {
		return schemas.StatusCancelled
	}
	refund := s.refunding()
	standing := refund.live && (!known || refundable(base.Status) || refund.at.newer(base.At))
	if m == nil && (standing || known && refundable(base.Status)) {
		sums := s.money()
		m = &sums
	}
	switch {
	case known && base.Status == schemas.StatusRefunded && s.Order.Claim != nil && s.Order.Claim.At == base.At && !refund.at.newer(base.At):
		return base.Status // the order's own newest word, although a payment or refund may be unknown here
	case standing:
		if m.paid.positive() && m.refunded.compare(m.paid) >= 0 {
			return schemas.StatusRefunded
		}
		return schemas.StatusPartiallyRefunded
	case !known:
		return ""
	case refundable(base.Status) && m.refunded.positive() && m.paid.positive():
		if m.refunded.compare(m.paid) >= 0 {
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

// base is the newest statement about the root apart from refunds. While a dispute is open, nobody else's word that
// the order is paid ends it; and a payment that failed says nothing of an order that another one has paid.
func (s *State) base() (best claim, known bool) {
	disputed := slices.ContainsFunc(s.Disputes, func(d dispute) bool { return d.Status == schemas.StatusDisputed })
	offer := func(at *triple, status schemas.PaymentStatus) {
		if disputed && (status == schemas.StatusPaid || status == schemas.StatusPartiallyPaid) {
			return
		}
		if says(status) && (!known || at.newer(best.At)) {
			best, known = claim{*at, status}, true
		}
	}
	if c := s.Order.Claim; c != nil {
		offer(&c.At, c.Status)
	}
	for i := range s.Payments {
		steps := s.Payments[i].Steps
		for j := range steps {
			if steps[j].Status != schemas.StatusFailed || !s.paidBesides(i) {
				offer(&steps[j].At, steps[j].Status)
			}
		}
	}
	for i := range s.Refunds {
		if last := s.Refunds[i].newest(); last.Status == schemas.StatusChargedBack {
			offer(&last.At, last.Status)
		}
	}
	for i := range s.Disputes {
		switch d := &s.Disputes[i]; d.Status {
		case schemas.StatusDisputed, schemas.StatusChargedBack, schemas.StatusRefunded:
			offer(&d.At, d.Status)
		}
	}
	return best, known
}

// paidBesides reports whether money was received by another payment than number i, or the order says so.
func (s *State) paidBesides(i int) bool {
	if c := s.Order.Claim; c != nil && captured(c.Status) {
		return true
	}
	for j := range s.Payments {
		if j != i && captured(s.Payments[j].newest().Status) {
			return true
		}
	}
	return false
}

// refunding tells whether a refund stands, or all were undone, and when the newest of those was said.
type refunding struct {
	live, undone bool
	at           triple
}

func (s *State) refunding() refunding {
	var live, gone refunding
	for i := range s.Refunds {
		r := &s.Refunds[i]
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
	text, _ := canonicalText(a.Value) // what is none was refused before: see check
	return text
}

// paymentOf is the payment that a refund or dispute is about: "" means the root as a whole.
func paymentOf(e *schemas.OrderEvent) string {
	return cmp.Or(e.Linked(schemas.LinkCapture), e.Linked(schemas.LinkSale), e.Linked(schemas.LinkAuthorization))
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
	return Facts{s.Kind, word(s.status(&m)), m.paid.String(), m.refunded.String(), m.currency, s.Payer()}, s.Kind != ""
}

// Pending counts the events and transitions that still wait under this key: for a link, and for a contact.
func (s State) Pending() (events, transitions int) { return len(s.Parked), len(s.Waiting) }
