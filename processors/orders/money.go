package orders

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/schemas"
)

// balance is the money of a root in one currency. Amounts in another currency are not added: they have no rate here.
type balance struct {
	currency       string
	paid, refunded exact
}

// fewPayments is the number of payments up to which looking through them all is cheaper than an index.
const fewPayments = 8

// authorizations tells which payments others were captured from. It is asked by id only, never iterated.
func (s *State) authorizations() func(id string) bool {
	if len(s.Payments) > fewPayments {
		known := make(map[string]bool, len(s.Payments))
		for i := range s.Payments {
			known[s.Payments[i].Of] = s.Payments[i].Of != ""
		}
		return func(id string) bool { return known[id] }
	}
	return func(id string) bool {
		for i := range s.Payments {
			if s.Payments[i].Of == id && id != "" {
				return true
			}
		}
		return false
	}
}

// money adds up the facts.
func (s *State) money() balance {
	b := balance{currency: s.currency()}
	isAuthorization := s.authorizations()
	for i := range s.Payments {
		p := &s.Payments[i]
		if !p.everCaptured() || isAuthorization(p.ID) {
			continue // an authorization's own notices repeat the money of its captures
		}
		if value, currency := p.amount(); value != "" && currency == b.currency {
			b.paid = b.paid.add(parsed(value))
		}
	}
	if own := s.Order.paid(); own != nil && own.Currency == b.currency {
		if whole := parsed(own.Value); whole.compare(b.paid) > 0 {
			b.paid = whole // a payment's notice is missing
		}
	}
	b.refunded = s.refunded(b.currency)
	for _, st := range s.Settled {
		if st.Currency == b.currency {
			b.paid, b.refunded = b.paid.add(parsed(st.Paid)), b.refunded.add(parsed(st.Refunded))
		}
	}
	return b
}

// paid is the amount that an order says was paid; nil: nothing, or it does not say how much. An order that was
// cancelled after it was paid keeps the money until a refund is told.
func (d *document) paid() *sum {
	switch {
	case d.Claim == nil:
		return nil
	case wholly(d.Claim.Status):
		return d.Amount
	case d.Claim.Status == schemas.StatusCancelled:
		return d.Paid
	}
	return nil
}

// wholly reports a status in which the whole amount was received, whatever became of it later.
func wholly(status schemas.PaymentStatus) bool {
	return captured(status) && status != schemas.StatusPartiallyPaid
}

func (x *entity) everCaptured() bool {
	for i := range x.Steps {
		if captured(x.Steps[i].Status) {
			return true
		}
	}
	return false
}

// currency of the root: the order's own, else that of its first payment or refund by id.
func (s *State) currency() string {
	if s.Order.Amount != nil {
		return s.Order.Amount.Currency
	}
	for _, list := range [2][]entity{s.Payments, s.Refunds} {
		for i := range list {
			if _, currency := list[i].amount(); currency != "" {
				return currency
			}
		}
	}
	if len(s.Settled) > 0 {
		return s.Settled[0].Currency
	}
	if s.Sub.Amount != nil {
		return s.Sub.Amount.Currency
	}
	return ""
}

// payment is the one with this id, or nil.
func (s *State) payment(id string) *entity {
	if i, found := slices.BinarySearchFunc(s.Payments, id, byID); found {
		return &s.Payments[i]
	}
	return nil
}

func byID(x entity, id string) int { return strings.Compare(x.ID, id) }

// refunded is the sum of what was refunded of each payment, or the order's own running total where that is more,
// because a notice is missing.
func (s *State) refunded(currency string) exact {
	sum := s.refundedInAll(currency)
	total := s.Order.Total
	if total == nil || total.Currency != currency {
		return sum
	}
	stated := parsed(total.Value)
	for i := range s.Refunds {
		r := &s.Refunds[i]
		if value, in := r.amount(); in == currency && r.undone() && r.newest().At.newer(total.At) {
			stated = stated.sub(parsed(value).abs())
		}
	}
	if stated.compare(sum) > 0 {
		return stated
	}
	return sum
}

// refundedInAll adds up the refunds of all payments that may have some, and, under "", of the root as a whole.
func (s *State) refundedInAll(currency string) exact {
	sum := s.refundedOf("", currency)
	for i := range s.Payments {
		if id := s.Payments[i].ID; id != "" {
			sum = sum.add(s.refundedOf(id, currency))
		}
	}
	for i := range s.Refunds {
		of := s.Refunds[i].Of
		counted := of == "" || s.payment(of) != nil
		for j := 0; j < i && !counted; j++ {
			counted = s.Refunds[j].Of == of
		}
		if !counted {
			sum = sum.add(s.refundedOf(of, currency))
		}
	}
	return sum
}

// refundedOf is what was refunded of one payment: the sum of its refunds, or the provider's own running total where
// that is more, because a notice is missing. Refunds undone since the total was stated are taken off it.
func (s *State) refundedOf(of, currency string) exact {
	var live, stated exact
	total, known := s.totalOf(of, currency)
	if known {
		stated = parsed(total.Value)
	}
	for i := range s.Refunds {
		r := &s.Refunds[i]
		if r.Of != of {
			continue
		}
		value, in := r.amount()
		if in != currency {
			continue
		}
		amount := parsed(value).abs()
		switch {
		case !r.undone():
			live = live.add(amount)
		case known && r.newest().At.newer(total.At):
			stated = stated.sub(amount)
		}
	}
	if stated.compare(live) > 0 {
		return stated
	}
	return live
}

// totalOf is the newest statement of how much of a payment is refunded in all.
func (s *State) totalOf(of, currency string) (best sum, known bool) {
	offer := func(at *triple, value, in string) {
		if value != "" && in == currency && (!known || at.newer(best.At)) {
			best, known = sum{*at, value, in}, true
		}
	}
	if p := s.payment(of); p != nil {
		for i := range p.Steps {
			offer(&p.Steps[i].At, p.Steps[i].Total, p.Steps[i].Currency)
		}
		if last := p.newest(); last.Status == schemas.StatusRefunded && last.Total == "" {
			value, in := p.amount()
			offer(&last.At, value, in)
		}
	}
	for i := range s.Refunds {
		if r := &s.Refunds[i]; r.Of == of {
			for j := range r.Steps {
				offer(&r.Steps[j].At, r.Steps[j].Total, r.Steps[j].Currency)
			}
		}
	}
	return best, known
}

// settle sums up the oldest payments once a root has more than are kept apart. What is summed up is no longer
// compared with new notices: after paymentsMax later payments no sender repeats it.
func (s *State) settle() {
	if len(s.Payments) > paymentsMax {
		s.Payments, s.Refunds = slices.Clone(s.Payments), slices.Clone(s.Refunds)
	}
	for len(s.Payments) > paymentsMax {
		oldest := 0
		for i := range s.Payments {
			if s.Payments[oldest].newest().At.newer(s.Payments[i].newest().At) {
				oldest = i
			}
		}
		p := s.Payments[oldest]
		value, currency := p.amount()
		if p.everCaptured() && currency != "" {
			s.addSettled(currency, parsed(value), s.refundedOf(p.ID, currency))
		}
		s.Payments = slices.Delete(s.Payments, oldest, oldest+1)
		s.Refunds = slices.DeleteFunc(s.Refunds, func(r entity) bool { return r.Of == p.ID })
	}
}

func (s *State) addSettled(currency string, paid, refunded exact) {
	s.Settled = slices.Clone(s.Settled)
	i, found := slices.BinarySearchFunc(s.Settled, currency, func(x settled, c string) int { return cmp.Compare(x.Currency, c) })
	if !found {
		s.Settled = slices.Insert(s.Settled, i, settled{Currency: currency})
	}
	old := s.Settled[i]
	s.Settled[i] = settled{currency, parsed(old.Paid).add(paid).String(), parsed(old.Refunded).add(refunded).String()}
}

// joinPayer keeps, of p with its texts trimmed and of each part of the payer, the newest that is not empty. An address is taken as a whole: parts of
// two addresses make none. The country alone (PayPal gives no more in payer.address) never replaces a whole one.
func (s *State) joinPayer(p schemas.Payer, at triple) {
	all := make([]payerAt, 0, len(s.Payers)+1)
	all = append(append(all, s.Payers...), payerAt{at, p})
	slices.SortStableFunc(all, func(a, b payerAt) int { return b.At.compare(a.At) })
	var known schemas.Payer
	kept := all[:0]
	for _, v := range all {
		v.Payer = news(known, v.Payer)
		if v.Payer == (schemas.Payer{}) {
			continue
		}
		known = filled(known, v.Payer)
		kept = append(kept, v)
	}
	s.Payers = kept
}

func trimmed(p schemas.Payer) schemas.Payer {
	a := p.Address
	for _, t := range [...]*string{
		&p.Email, &p.GivenName, &p.Surname, &p.FullName, &p.Phone, &p.PayerID,
		&a.Line1, &a.Line2, &a.City, &a.State, &a.PostalCode, &a.Country,
	} {
		*t = strings.TrimSpace(*t)
	}
	p.Address = a
	return p
}

// Payer is the customer as known so far; nil where nothing is.
func (s State) Payer() *schemas.Payer { return s.payer() }

func (s *State) payer() *schemas.Payer {
	if len(s.Payers) == 0 {
		return nil
	}
	var p schemas.Payer
	for _, v := range s.Payers {
		p = filled(p, v.Payer)
	}
	return &p
}

func whole(a schemas.Address) bool { return a.Line1 != "" || a.PostalCode != "" || a.City != "" }

// news is what p says beyond known.
func news(known, p schemas.Payer) schemas.Payer {
	for _, f := range parts(&known, &p) {
		if *f.known != "" {
			*f.other = ""
		}
	}
	switch {
	case whole(known.Address):
		p.Address = schemas.Address{}
	case !whole(p.Address) && known.Address.Country != "":
		p.Address = schemas.Address{}
	}
	return p
}

// filled is known with what p, an older one, adds.
func filled(known, p schemas.Payer) schemas.Payer {
	for _, f := range parts(&known, &p) {
		if *f.known == "" {
			*f.known = *f.other
		}
	}
	if !whole(known.Address) && (whole(p.Address) || known.Address.Country == "") {
		known.Address = p.Address
	}
	return known
}

type part struct{ known, other *string }

func parts(k, o *schemas.Payer) [6]part {
	return [...]part{
		{&k.Email, &o.Email},
		{&k.GivenName, &o.GivenName},
		{&k.Surname, &o.Surname},
		{&k.FullName, &o.FullName},
		{&k.Phone, &o.Phone},
		{&k.PayerID, &o.PayerID},
	}
}
