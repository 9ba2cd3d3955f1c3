package orders

import (
	"slices"

	"github.com/tillstream/tillstream/schemas"
)

// sendOn gives t to automation once the contact is known. Repetitions and events without effect end before; a late
// event goes on only if it brought the first contact. known: the contact was known before the event.
func (w *work) sendOn(t *schemas.Transition, known bool) {
	first := !known && t.ContactKey != ""
	if first {
		for i := range w.s.Waiting {
			w.toContact(w.revive(&w.s.Waiting[i]))
		}
		w.s.Waiting = nil
	}
	switch {
	case t.Disposition == schemas.Changed, t.Disposition == schemas.Recorded, t.Disposition == schemas.Late && first:
	default:
		return
	}
	switch {
	case t.ContactKey != "":
		w.toContact(t)
	case t.Orphan: // it has waited once; without its root no contact will come
		w.toContact(t)
	default:
		w.hold(t)
	}
}

func (w *work) toContact(t *schemas.Transition) {
	key := t.ContactKey
	if key == "" {
		key = t.RootKey
	}
	w.emit(schemas.TopicAutomationInbox, key, t)
}

// hold keeps t until the contact is known. One more than are kept lets the oldest go without.
func (w *work) hold(t *schemas.Transition) {
	if len(w.s.Waiting) >= waitingMax {
		w.giveUp()
	}
	w.s.Waiting = append(slices.Clip(w.s.Waiting), waiting{
		At: w.at.UnixMilli(), Number: t.Number, Changed: t.Disposition, From: t.From, To: t.To, Legal: t.Legal, Why: t.Why,
		Orphan: t.Orphan, Paid: t.Paid, Refunded: t.Refunded, Currency: t.Currency, Event: imageOf(&t.Event),
	})
}

// revive makes the transition again, with the contact as known now.
func (w *work) revive(h *waiting) *schemas.Transition {
	e := h.Event.event()
	t := &schemas.Transition{
		RootKey: e.Key(), RootKind: w.s.Kind, Number: h.Number, Disposition: h.Changed, From: h.From, To: h.To,
		Legal: h.Legal, Why: h.Why, Orphan: h.Orphan, Event: e, Paid: h.Paid, Refunded: h.Refunded, Currency: h.Currency,
		At: fromMillis(h.At),
	}
	w.s.name(t)
	return t
}

// giveUp lets the transition that waits longest go on without a contact.
func (w *work) giveUp() {
	t := w.revive(&w.s.Waiting[0])
	t.Orphan = true
	w.s.Waiting = slices.Clone(w.s.Waiting[1:])
	w.toContact(t)
}
