package processorstest

import (
	"cmp"
	"math/big"
	"slices"
	"sort"
	"strings"

	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/schemas"
)

// Fold works out what every root adds up to, from all events at once and in the plainest way: it knows every link
// before it starts, and reads each root's events sorted by time. It shares nothing with the stage but its words.
// It is for events without problems, of one currency a root, all of whose links can be found.
func Fold(events []*schemas.OrderEvent) map[string]orders.Facts {
	byID := map[string]bool{}
	var unique []*schemas.OrderEvent
	for _, e := range events {
		if !byID[e.EventID] && e.Kind != schemas.KindOther {
			byID[e.EventID] = true
			unique = append(unique, e)
		}
	}
	home := homes(unique)
	roots := map[string][]*schemas.OrderEvent{}
	for _, e := range unique {
		key := e.Key()
		if to, ok := home[key]; ok {
			key = to
		}
		roots[key] = append(roots[key], e)
	}
	facts := map[string]orders.Facts{}
	for key, list := range roots {
		facts[key] = foldRoot(key, list)
	}
	return facts
}

// homes finds the root of every payment; a payment known by its authorization only goes where that one goes.
func homes(events []*schemas.OrderEvent) map[string]string {
	home := map[string]string{}
	for range 3 {
		for _, e := range events {
			named := false
			for _, l := range e.Links {
				if l.ID == e.RootID && (l.Relation == schemas.LinkOrder || l.Relation == schemas.LinkSubscription) {
					named = true
				}
			}
			key := e.Key()
			if to, ok := home[key]; ok && !named {
				key, named = to, true
			}
			if own := schemas.RootKey(e.Environment, e.Connection, e.EntityID); e.Kind == schemas.KindPayment && named && own != key {
				home[own] = key
			}
		}
	}
	return home
}

// line is one business step, at its place in time.
type line struct {
	e  *schemas.OrderEvent
	at int
}

// book is one root, read line by line.
type book struct {
	facts                        orders.Facts
	payer                        schemas.Payer
	steps                        map[string]bool
	payments, refunds, disputes  map[string]line
	total                        map[string]line // who last stated the whole sum refunded, by payment
	everPaid, authorization      map[string]bool
	amount                       map[string]string
	base, subscription, document *line
	claims                       []line // every step of a payment, in the order of time
	whole                        string // amount of the newest order event that says it was paid in full
	orderTotal                   *line  // the order's own newest sum refunded
}

func foldRoot(key string, list []*schemas.OrderEvent) orders.Facts {
	sort.SliceStable(list, func(i, j int) bool { return before(list[i], list[j]) })
	b := book{
		facts: orders.Facts{Kind: schemas.KindPayment, Status: schemas.StatusUnknown}, steps: map[string]bool{},
		payments: map[string]line{}, refunds: map[string]line{}, disputes: map[string]line{}, total: map[string]line{},
		everPaid: map[string]bool{}, authorization: map[string]bool{}, amount: map[string]string{},
	}
	for i, e := range list {
		if e.Payer != nil {
			p := *e.Payer
			if made := strings.ToLower(p.Email); strings.HasSuffix(made, "@dcc.paypal.com") || strings.HasSuffix(made, ".dcc.paypal.com") {
				p.Email = "" // nobody's
			}
			overlay(&b.payer, p)
		}
		raise(&b.facts, key, e)
		b.read(line{e, i})
	}
	return b.close()
}

// payment of a refund.
func paymentOf(e *schemas.OrderEvent) string {
	return e.Linked(schemas.LinkCapture) + e.Linked(schemas.LinkSale)
}

func (b *book) read(l line) {
	e := l.e
	if e.Kind == schemas.KindPayment || e.Kind == schemas.KindRefund {
		step := e.EntityID + "|" + e.ProviderStatus + "|" + text(e.Amount) + "|" + text(e.RefundedTotal)
		if b.steps[step] {
			return
		}
		b.steps[step] = true
		if e.Amount != nil {
			b.amount[e.EntityID] = e.Amount.Value
		}
	}
	says := e.Status != schemas.StatusUnknown && e.Status != ""
	switch e.Kind {
	case schemas.KindSubscription:
		if says {
			b.subscription = &l
		}
	case schemas.KindOrder:
		if says {
			b.document = &l
		}
		if e.Amount != nil {
			b.amount[""] = e.Amount.Value
			if money(e.Status) && e.Status != schemas.StatusPartiallyPaid {
				b.whole = e.Amount.Value
			}
		}
		if e.RefundedTotal != nil {
			b.orderTotal = &l
		}
	case schemas.KindPayment:
		b.payments[e.EntityID] = l
		if says {
			b.claims = append(b.claims, l)
		}
		b.everPaid[e.EntityID] = b.everPaid[e.EntityID] || money(e.Status)
		b.authorization[e.Linked(schemas.LinkAuthorization)] = true
		if e.RefundedTotal != nil {
			b.total[e.EntityID] = l
		}
	case schemas.KindRefund:
		b.refunds[e.EntityID] = l
		if e.RefundedTotal != nil {
			b.total[paymentOf(e)] = l
		}
	case schemas.KindDispute:
		b.disputes[e.EntityID] = l
	}
}

// say finds the newest word about the root apart from refunds: the order's, or a payment's, unless that failed while
// something else was paid. An open dispute makes words of payment count for nothing.
func (b *book) say() {
	disputed := false
	for _, d := range b.disputes {
		disputed = disputed || d.e.Status == schemas.StatusDisputed
	}
	claims := slices.Clone(b.claims)
	if b.document != nil {
		claims = append(claims, *b.document)
	}
	for _, c := range claims {
		s := c.e.Status
		switch {
		case disputed && (s == schemas.StatusPaid || s == schemas.StatusPartiallyPaid):
		case s == schemas.StatusFailed && c.e.Kind == schemas.KindPayment && b.paidBesides(c.e.EntityID):
		case b.base == nil || c.at > b.base.at:
			b.base = &c
		}
	}
}

func (b *book) paidBesides(payment string) bool {
	if b.document != nil && money(b.document.e.Status) {
		return true
	}
	for id, l := range b.payments {
		if id != payment && money(l.e.Status) {
			return true
		}
	}
	return false
}

func (b *book) close() orders.Facts {
	b.say()
	for _, list := range []map[string]line{b.disputes, b.refunds} {
		for _, l := range list {
			s := l.e.Status
			claims := s == schemas.StatusChargedBack || s == schemas.StatusDisputed && l.e.Kind == schemas.KindDispute
			if claims && (b.base == nil || l.at > b.base.at) {
				b.base = &l
			}
		}
	}
	paid := new(big.Rat)
	for id, ever := range b.everPaid {
		if ever && !b.authorization[id] {
			paid.Add(paid, rat(b.amount[id]))
		}
	}
	if b.document != nil { // the order's own word, where it says more
		own := new(big.Rat)
		switch s := b.document.e.Status; {
		case money(s) && s != schemas.StatusPartiallyPaid:
			own = rat(b.amount[""])
		case s == schemas.StatusCancelled:
			own = rat(b.whole)
		}
		if own.Cmp(paid) > 0 {
			paid = own
		}
	}
	refunded, live, gone := b.refunded()
	if b.orderTotal != nil {
		stated := rat(b.orderTotal.e.RefundedTotal.Value)
		for id, r := range b.refunds {
			if undone(r.e) && r.at > b.orderTotal.at {
				stated.Sub(stated, rat(b.amount[id]))
			}
		}
		if stated.Cmp(refunded) > 0 {
			refunded = stated
		}
	}
	b.facts.Paid, b.facts.Refunded = short(paid), short(refunded)
	if b.payer != (schemas.Payer{}) {
		b.facts.Payer = &b.payer
	}
	switch {
	case b.facts.Kind != schemas.KindSubscription:
		b.facts.Status = settle(b.base, live, gone, paid, refunded)
		if last := cmp.Or(live, gone); b.base != nil && b.document != nil && b.base.at == b.document.at && b.base.e.Status == schemas.StatusRefunded && (last == nil || last.at < b.base.at) {
			b.facts.Status = schemas.StatusRefunded // the order's own newest word
		}
	case b.subscription != nil:
		b.facts.Status = b.subscription.e.Status
	}
	return b.facts
}

// refunded adds up the refunds, payment by payment, and finds the newest that stands and the newest that was undone.
func (b *book) refunded() (sum *big.Rat, live, gone *line) {
	groups := map[string]*big.Rat{}
	for id, r := range b.refunds {
		of := paymentOf(r.e)
		if groups[of] == nil {
			groups[of] = new(big.Rat)
		}
		switch {
		case undone(r.e):
			if gone == nil || r.at > gone.at {
				gone = &r
			}
			continue
		case r.e.Status != schemas.StatusChargedBack && (live == nil || r.at > live.at):
			live = &r
		}
		groups[of].Add(groups[of], rat(b.amount[id]))
	}
	for id, p := range b.payments {
		if t, ok := b.total[id]; p.e.Status == schemas.StatusRefunded && p.e.RefundedTotal == nil && b.amount[id] != "" && (!ok || p.at > t.at) {
			whole := *p.e
			whole.RefundedTotal = &schemas.Amount{Value: b.amount[id]}
			b.total[id] = line{&whole, p.at}
		}
	}
	for of, l := range b.total {
		stated := rat(l.e.RefundedTotal.Value)
		for id, r := range b.refunds {
			if undone(r.e) && r.at > l.at && of == paymentOf(r.e) {
				stated.Sub(stated, rat(b.amount[id]))
			}
		}
		if groups[of] == nil || groups[of].Cmp(stated) < 0 {
			groups[of] = stated
		}
	}
	sum = new(big.Rat)
	for _, g := range groups {
		if g.Sign() > 0 {
			sum.Add(sum, g)
		}
	}
	return sum, live, gone
}

// settle decides between what was last said of the order and what its refunds say.
func settle(base, live, gone *line, paid, refunded *big.Rat) schemas.PaymentStatus {
	full := schemas.StatusPartiallyRefunded
	if paid.Sign() > 0 && refunded.Cmp(paid) >= 0 {
		full = schemas.StatusRefunded
	}
	if base == nil {
		if live != nil {
			return full
		}
		return schemas.StatusUnknown
	}
	status := base.e.Status
	soft := slices.Contains([]schemas.PaymentStatus{schemas.StatusPaid, schemas.StatusPartiallyPaid, schemas.StatusPartiallyRefunded, schemas.StatusRefunded}, status)
	switch {
	case live != nil && (soft || live.at > base.at):
		return full
	case soft && refunded.Sign() > 0 && paid.Sign() > 0:
		return full
	case live == nil && gone != nil && gone.at > base.at && (status == schemas.StatusPartiallyRefunded || status == schemas.StatusRefunded):
		return schemas.StatusPaid
	}
	return status
}

func before(a, b *schemas.OrderEvent) bool {
	if !a.ProviderTime.Equal(b.ProviderTime) {
		return a.ProviderTime.Before(b.ProviderTime)
	}
	if a.Sequence != b.Sequence {
		return a.Sequence < b.Sequence
	}
	if a.Status.Rank() != b.Status.Rank() {
		return a.Status.Rank() < b.Status.Rank()
	}
	return a.EventID < b.EventID
}

func raise(f *orders.Facts, key string, e *schemas.OrderEvent) {
	_, _, root, _ := schemas.SplitRootKey(key)
	sub, order := e.Kind == schemas.KindSubscription, e.Kind == schemas.KindOrder
	for _, l := range e.Links {
		sub = sub || l.Relation == schemas.LinkSubscription && l.ID == root
		order = order || l.Relation == schemas.LinkOrder && l.ID == root
	}
	switch {
	case sub:
		f.Kind = schemas.KindSubscription
	case order && f.Kind == schemas.KindPayment:
		f.Kind = schemas.KindOrder
	}
	if f.Currency == "" && e.Amount != nil {
		f.Currency = e.Amount.Currency
	}
}

// overlay lets the newer payer win wherever it says something.
func overlay(p *schemas.Payer, n schemas.Payer) {
	for _, f := range []struct {
		to   *string
		from string
	}{{&p.Email, n.Email}, {&p.GivenName, n.GivenName}, {&p.Surname, n.Surname}, {&p.FullName, n.FullName}, {&p.Phone, n.Phone}, {&p.PayerID, n.PayerID}} {
		if f.from != "" {
			*f.to = f.from
		}
	}
	full := func(a schemas.Address) bool { return a.Line1 != "" || a.City != "" || a.PostalCode != "" }
	if full(n.Address) || !full(p.Address) && n.Address.Country != "" {
		p.Address = n.Address
	}
}

func money(s schemas.PaymentStatus) bool {
	switch s {
	case schemas.StatusPaid, schemas.StatusPartiallyPaid, schemas.StatusPartiallyRefunded, schemas.StatusRefunded, schemas.StatusDisputed, schemas.StatusChargedBack:
		return true
	}
	return false
}

func undone(e *schemas.OrderEvent) bool {
	return e.Status == schemas.StatusFailed || e.Status == schemas.StatusCancelled || e.ProviderStatus == "FAILED" || e.ProviderStatus == "CANCELLED"
}

func text(a *schemas.Amount) string {
	if a == nil {
		return ""
	}
	return short(rat(a.Value)) + a.Currency
}

func rat(s string) *big.Rat {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return new(big.Rat)
	}
	return r
}

// short writes a rational whose decimals end without the zeros behind them.
func short(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	for digits := 1; ; digits++ {
		s := r.FloatString(digits)
		if rat(s).Cmp(r) == 0 {
			return s
		}
	}
}
