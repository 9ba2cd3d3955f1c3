package orders

import (
	"slices"
	"strings"

	"github.com/tillstream/tillstream/schemas"
)

// DefaultAliasDomains are the domains whose addresses a payment provider makes up for one payment: PayPal names a guest
// who paid by card 32 hexadecimal digits @dcc.paypal.com, which nobody reads. Apple's privaterelay.appleid.com is none
// of them: its addresses are forwarded to the customer, who keeps one for each shop, so that they are contacts.
func DefaultAliasDomains() []string { return []string{"dcc.paypal.com"} }

// customIDMax is the length in bytes of the longest custom id that names a customer: PayPal's own limit.
const customIDMax = 255

// aliasDomains makes the list comparable: lower case, without the @ or *. that people write in front.
func aliasDomains(list []string) []string {
	if list == nil {
		list = DefaultAliasDomains()
	}
	var kept []string
	for _, d := range list {
		d = strings.TrimLeft(strings.ToLower(strings.TrimSpace(d)), "@*.")
		if d = strings.TrimRight(d, "."); d != "" {
			kept = append(kept, d)
		}
	}
	return kept
}

// alias reports whether email is of an alias domain or of a part of one.
func (st *Stage) alias(email string) bool {
	if email == "" {
		return false
	}
	domain := strings.TrimRight(strings.ToLower(email[strings.LastIndexByte(email, '@')+1:]), ".")
	return slices.ContainsFunc(st.opt.AliasDomains, func(d string) bool {
		rest, ends := strings.CutSuffix(domain, d)
		return ends && (rest == "" || strings.HasSuffix(rest, "."))
	})
}

// who takes in what e says about the customer. An address of an alias domain says nothing; it stays to be seen in the
// event.
func (w *work) who(e *schemas.OrderEvent, at triple) {
	if e.Payer != nil {
		p := trimmed(*e.Payer)
		if w.st.alias(p.Email) {
			p.Email = ""
		}
		w.s.joinPayer(p, at)
	}
	if id := strings.TrimSpace(e.CustomID); w.st.opt.CustomIDIsCustomer && id != "" && len(id) <= customIDMax {
		if c := w.s.Customer; c == nil || at.newer(c.At) {
			w.s.Customer = &customerAt{at, id}
		}
	}
}

// contactKey is the key of the customer: by e-mail, else by the merchant's own id of him, else by the payer id.
func (s *State) contactKey(env schemas.Environment, p *schemas.Payer) string {
	if s.Customer != nil && (p == nil || p.Email == "") {
		return schemas.CustomKey(env, s.Customer.ID)
	}
	return schemas.ContactKey(env, p)
}

// name puts the customer as known so far into t. Where the merchant's custom id names customers, an event without one
// carries its order's.
func (s *State) name(t *schemas.Transition) {
	t.Payer = s.payer()
	t.ContactKey = s.contactKey(t.Event.Environment, t.Payer)
	if s.Customer != nil && strings.TrimSpace(t.Event.CustomID) == "" {
		t.Event.CustomID = s.Customer.ID
	}
}

// contactKnown reports whether contactKey has a key. Texts of payers are kept trimmed.
func (s *State) contactKnown() bool {
	return s.Customer != nil || slices.ContainsFunc(s.Payers, func(p payerAt) bool { return p.Payer.Email != "" || p.Payer.PayerID != "" })
}
