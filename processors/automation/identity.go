package automation

import (
	"slices"
	"strings"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
)

// Bounds of what is known of one contact's names.
const (
	aliasesMax = 100 // further names that are known to be announced; an older one is announced again, without effect
	linksMax   = 50  // other contacts that share a name; further ones are not linked
)

// forward finds the contact of a transition. It reports whether t was sent on to another key, so that there is nothing
// to do here. It is to be called before anything else is made of t.
//
// A customer has up to three names, and his transitions go from the weaker to the stronger only, so that none can go
// round: the merchant's own id, the payer id, the e-mail address. What comes under a name whose contact is not known
// goes on under the next name that it has, or is handled here.
func (w *work) forward() bool {
	t := w.t
	if t.Payer != nil && schemas.NormalizeEmail(t.Payer.Email) != "" {
		w.identify()
		return false
	}
	var names []string
	if id := strings.TrimSpace(t.Event.CustomID); id != "" {
		names = append(names, schemas.CustomKey(t.Event.Environment, id))
	}
	if t.Payer != nil && t.Payer.PayerID != "" {
		names = append(names, schemas.PayerKey(t.Event.Environment, t.Payer.PayerID))
	}
	i := slices.Index(names, w.key)
	switch {
	case i >= 0 && w.s.Contact != "":
		w.sendOn(w.s.Contact)
		return true
	case i >= 0 && i < len(names)-1:
		w.sendOn(names[i+1])
		return true
	case i < 0:
		w.adopt()
	}
	return false
}

func (w *work) sendOn(key string) {
	sent := *w.t
	sent.ContactKey = key
	w.out = append(w.out, processors.Output{Topic: schemas.TopicAutomationInbox, Key: key, Record: &sent})
}

// adopt gives a transition that was sent on here the address of the contact. What mappings and workflows make of it is
// what they would make of one that names him itself.
func (w *work) adopt() {
	email, ok := address(w.key)
	if !ok || w.key != w.t.ContactKey {
		return
	}
	found, payer := *w.t, schemas.Payer{}
	if found.Payer != nil {
		payer = *found.Payer
	}
	payer.Email = email
	found.Payer = &payer
	w.t = &found
}

// identify announces the contact's further names, which t shows beside his address, to their own keys, each once. What
// a test shows is nobody's name.
func (w *work) identify() {
	t := w.t
	if _, ok := address(w.key); !ok || t.Event.Test || w.key != schemas.ContactKey(t.Event.Environment, t.Payer) {
		return
	}
	if t.Payer.PayerID != "" {
		w.announce(schemas.PayerKey(t.Event.Environment, t.Payer.PayerID))
	}
	if id := strings.TrimSpace(t.Event.CustomID); w.rules.CustomIDIsCustomer && id != "" {
		w.announce(schemas.CustomKey(t.Event.Environment, id))
	}
}

func (w *work) announce(alias string) {
	m := digest(alias)
	if slices.Contains(w.s.Aliases, m) {
		return
	}
	w.s.Aliases = append(slices.Clip(w.s.Aliases), m)
	if over := len(w.s.Aliases) - aliasesMax; over > 0 {
		w.s.Aliases = slices.Delete(w.s.Aliases, 0, over)
	}
	w.tell(alias, &schemas.IdentityLink{AliasKey: alias, ContactKey: w.key, EventID: w.t.Event.EventID, At: w.at})
}

// link takes in, at a further name's key, whose name it is, and at a contact's, who else has had one of his names. The
// first contact of a name keeps it; each later one is linked with all before it, and nobody's state is merged.
func (w *work) link(l *schemas.IdentityLink) {
	if l.OtherKey != "" {
		if _, ok := address(w.key); ok && l.OtherKey != w.key {
			w.s.Links = linked(w.s.Links, l.OtherKey)
		}
		return
	}
	if _, ok := address(l.ContactKey); !ok || w.key != l.AliasKey {
		return
	}
	if w.s.Contact == "" {
		w.s.Contact = l.ContactKey
		return
	}
	if l.ContactKey == w.s.Contact || slices.Contains(w.s.Links, l.ContactKey) || len(w.s.Links) >= linksMax {
		return
	}
	for _, other := range append([]string{w.s.Contact}, w.s.Links...) {
		w.tell(other, &schemas.IdentityLink{AliasKey: l.AliasKey, ContactKey: other, OtherKey: l.ContactKey, EventID: l.EventID, At: w.at})
		w.tell(l.ContactKey, &schemas.IdentityLink{AliasKey: l.AliasKey, ContactKey: l.ContactKey, OtherKey: other, EventID: l.EventID, At: w.at})
	}
	w.s.Links = linked(w.s.Links, l.ContactKey)
}

func (w *work) tell(key string, l *schemas.IdentityLink) {
	w.out = append(w.out, processors.Output{Topic: schemas.TopicAutomationInbox, Key: key, Record: l})
}

// linked is list, which is sorted, with key in it, as far as there is room.
func linked(list []string, key string) []string {
	if len(list) >= linksMax {
		return list
	}
	return with(list, key)
}

// address is the e-mail address that a contact key holds; ok is false for the key of a further name, or of an order. No
// address of today has a colon, so that none is taken for a further name, or the other way round.
func address(key string) (email string, ok bool) {
	_, email, ok = strings.Cut(key, "/")
	return email, ok && isEmail(email) && !strings.ContainsAny(email, ":/")
}
