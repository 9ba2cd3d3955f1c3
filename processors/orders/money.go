package orders

import (
	"cmp"
	"slices"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/schemas"
)

// balance is the money of a root in one currency. Amounts in another currency are not added: they have no rate here.
type balance struct {
	currency       string
	paid, refunded decimal.Decimal
}

// money adds up the facts.
func (s State) money() balance {
	b := balance{currency: s.currency()}
	auths := map[string]bool{} // asked by id only, never iterated
	for _, p := range s.Payments {
		auths[p.Of] = p.Of != ""
	}
	var captures bool
	for _, p := range s.Payments {
		if auths[p.ID] || !p.everCaptured() {
			continue // an authorization's own notices repeat the money of its captures
		}
		if value, currency := p.amount(); value != "" && currency == b.currency {
			captures = true
			b.paid = b.paid.Add(parsed(value))
		}
	}
	if o := s.Order; !captures && o.Claim != nil && captured(o.Claim.Status) && o.Claim.Status != schemas.StatusPartiallyPaid &&
		o.Amount != nil && o.Amount.Currency == b.currency {
		b.paid = parsed(o.Amount.Value)
	}
	for _, of := range s.refundGroups() {
		b.refunded = b.refunded.Add(s.refundedOf(of, b))
	}
	for _, st := range s.Settled {
		if st.Currency == b.currency {
			b.paid, b.refunded = b.paid.Add(parsed(st.Paid)), b.refunded.Add(parsed(st.Refunded))
		}
	}
	return b
}

func (x entity) everCaptured() bool {
	for _, st := range x.Steps {
		if captured(st.Status) {
			return true
		}
	}
	return false
}

// currency of the root: the order's own, else that of its first payment or refund by id.
func (s State) currency() string {
	if s.Order.Amount != nil {
		return s.Order.Amount.Currency
	}
	for _, list := range [][]entity{s.Payments, s.Refunds} {
		for _, x := range list {
			if _, currency := x.amount(); currency != "" {
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

// refundGroups lists the payments that may have refunds, and "" for refunds of the root as a whole.
func (s State) refundGroups() []string {
	groups := []string{""}
	for _, p := range s.Payments {
		groups = append(groups, p.ID)
	}
	for _, r := range s.Refunds {
		groups = append(groups, r.Of)
	}
	slices.Sort(groups)
	return slices.Compact(groups)
}

// refundedOf is what was refunded of one payment: the sum of its refunds, or the provider's own running total where
// that is more, because a notice is missing. Refunds undone since the total was stated are taken off it.
func (s State) refundedOf(of string, b balance) decimal.Decimal {
	var live decimal.Decimal
	total := s.totalOf(of, b)
	var stated decimal.Decimal
	if total != nil {
		stated = parsed(total.Value)
	}
	for _, r := range s.Refunds {
		value, currency := r.amount()
		if r.Of != of || currency != b.currency {
			continue
		}
		amount := parsed(value).Abs()
		switch {
		case !r.undone():
			live = live.Add(amount)
		case total != nil && r.newest().At.newer(total.At):
			stated = stated.Sub(amount)
		}
	}
	return decimal.Max(live, stated)
}

// totalOf is the newest statement of how much of a payment is refunded in all.
func (s State) totalOf(of string, b balance) *sum {
	var best *sum
	offer := func(at triple, value, currency string) {
		if value != "" && currency == b.currency && (best == nil || at.newer(best.At)) {
			best = &sum{at, value, currency}
		}
	}
	if of == "" && s.Order.Total != nil {
		offer(s.Order.Total.At, s.Order.Total.Value, s.Order.Total.Currency)
	}
	for _, p := range s.Payments {
		if p.ID != of {
			continue
		}
		for _, st := range p.Steps {
			offer(st.At, st.Total, st.Currency)
		}
		if last := p.newest(); last.Status == schemas.StatusRefunded && last.Total == "" {
			value, currency := p.amount()
			offer(last.At, value, currency)
		}
	}
	for _, r := range s.Refunds {
		if r.Of != of {
			continue
		}
		for _, st := range r.Steps {
			offer(st.At, st.Total, st.Currency)
		}
	}
	return best
}

// parsed reads a decimal that was canonical when it was stored.
func parsed(value string) decimal.Decimal {
	d, err := decimal.NewFromString(value)
	if err != nil {
		return decimal.Zero
	}
	return d
}

// settle sums up the oldest payments once a root has more than are kept apart. What is summed up is no longer
// compared with new notices: after paymentsMax later payments no sender repeats it.
func (s *State) settle() {
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
			s.addSettled(currency, parsed(value), s.refundedOf(p.ID, balance{currency: currency}))
		}
		s.Payments = slices.Delete(s.Payments, oldest, oldest+1)
		s.Refunds = slices.DeleteFunc(s.Refunds, func(r entity) bool { return r.Of == p.ID })
	}
}

func (s *State) addSettled(currency string, paid, refunded decimal.Decimal) {
	i, found := slices.BinarySearchFunc(s.Settled, currency, func(x settled, c string) int { return cmp.Compare(x.Currency, c) })
	if !found {
		s.Settled = slices.Insert(s.Settled, i, settled{Currency: currency})
	}
	old := s.Settled[i]
	s.Settled[i] = settled{currency, parsed(old.Paid).Add(paid).String(), parsed(old.Refunded).Add(refunded).String()}
}

// joinPayer keeps, of each part of the payer, the newest that is not empty. An address is taken as a whole: parts of
// two addresses make none. The country alone (PayPal gives no more in payer.address) never replaces a whole one.
func (s *State) joinPayer(p schemas.Payer, at triple) {
	p = trimmed(p)
	s.Payers = append(s.Payers, payerAt{at, p})
	slices.SortStableFunc(s.Payers, func(a, b payerAt) int { return b.At.compare(a.At) })
	var known schemas.Payer
	kept := s.Payers[:0]
	for _, v := range s.Payers {
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
	for _, t := range []*string{
		&p.Email, &p.GivenName, &p.Surname, &p.FullName, &p.Phone, &p.PayerID,
		&a.Line1, &a.Line2, &a.City, &a.State, &a.PostalCode, &a.Country,
	} {
		*t = strings.TrimSpace(*t)
	}
	p.Address = a
	return p
}

// Payer is the customer as known so far; nil where nothing is.
func (s State) Payer() *schemas.Payer {
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

func parts(k, o *schemas.Payer) []part {
	return []part{
		{&k.Email, &o.Email},
		{&k.GivenName, &o.GivenName},
		{&k.Surname, &o.Surname},
		{&k.FullName, &o.FullName},
		{&k.Phone, &o.Phone},
		{&k.PayerID, &o.PayerID},
	}
}
