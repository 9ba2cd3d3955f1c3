package orders

import (
	"fmt"
	"slices"
	"time"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
)

var paymentLinks = []schemas.LinkRelation{schemas.LinkCapture, schemas.LinkSale, schemas.LinkAuthorization}

// namesPayment reports whether e is keyed by a payment because it does not name its order or subscription.
func namesPayment(e *schemas.OrderEvent) bool {
	if links(e, schemas.LinkOrder) || links(e, schemas.LinkSubscription) {
		return false
	}
	switch e.Kind {
	case schemas.KindPayment:
		return lone(e) || slices.ContainsFunc(paymentLinks, func(rel schemas.LinkRelation) bool { return links(e, rel) })
	case schemas.KindRefund, schemas.KindDispute:
		return true
	}
	return false
}

// lone reports an event about nothing but its own entity: it need not wait for anybody.
func lone(e *schemas.OrderEvent) bool {
	return e.EntityID == e.RootID || e.EntityID == "" && e.Kind == schemas.KindPayment
}

// link takes in where the root of this key's payment is, and sends on what waited for it.
func (w *work) link(l *schemas.OrderLink) error {
	_, _, id, ok := schemas.SplitRootKey(l.To)
	if !ok || id == "" {
		return &processors.Poison{
			Cause:  schemas.CauseStageFailed,
			Reason: fmt.Sprintf("a link to %q, which is no key of an order", l.To),
			Remedy: "report it: only the orders stage writes links",
		}
	}
	w.touch()
	if l.From == l.To || w.s.root() || w.s.Link != "" {
		return nil
	}
	w.s.Link = l.To
	for i := range w.s.Parked {
		e := w.s.Parked[i].Event.event()
		if err := w.forward(&e); err != nil {
			return err
		}
	}
	w.s.Parked = nil
	return nil
}

// forward sends e to its root. It ends there.
func (w *work) forward(e *schemas.OrderEvent) error {
	_, _, id, _ := schemas.SplitRootKey(w.s.Link)
	sent := *e
	sent.RootID = id
	w.emit(schemas.TopicOrdersInbox, w.s.Link, &sent)
	return nil
}

func (w *work) park(e *schemas.OrderEvent) error {
	size := len(e.Body)
	for i := range w.s.Parked {
		size += len(w.s.Parked[i].Event.Body)
	}
	if len(w.s.Parked) >= w.st.opt.ParkedMax || size > parkedBytesMax {
		return &processors.Poison{
			Cause:  schemas.CauseParkOverflow,
			Reason: fmt.Sprintf("event %s waits for the order of payment %s, and so do %d others already", e.EventID, e.RootID, len(w.s.Parked)),
			Remedy: "find out why the payment's own event did not come, then replay this one",
		}
	}
	w.touch()
	w.s.Parked = append(slices.Clip(w.s.Parked), parked{w.at.UnixMilli(), imageOf(e)})
	return nil
}

// release applies what waited here once this key has turned out to be a root itself.
func (w *work) release() {
	if !w.s.root() && !w.s.Own {
		return
	}
	waited := w.s.Parked
	w.s.Parked = nil
	for _, p := range waited {
		e := p.Event.event()
		w.apply(&e, seenOf(&e, w.at.UnixMilli()), w.s.root(), false)
	}
}

// orphans lets go what has waited long enough by now: events under their own key, transitions without a contact.
func (w *work) orphans(now time.Time) {
	limit := now.UnixMilli() - w.st.opt.OrphanAfter.Milliseconds()
	waited := w.s.Parked
	w.s.Parked = nil
	var due []image
	for _, p := range waited {
		if p.Since <= limit {
			due = append(due, p.Event)
		} else {
			w.s.Parked = append(w.s.Parked, p)
		}
	}
	for len(w.s.Waiting) > 0 && w.s.Waiting[0].At <= limit {
		w.giveUp()
	}
	for _, im := range due {
		e := im.event()
		w.touch()
		w.apply(&e, seenOf(&e, w.at.UnixMilli()), false, true)
	}
}

// leaveLinks tells the payments that e names which root they belong to, each once.
func (w *work) leaveLinks(e *schemas.OrderEvent, rootKey string) {
	if !w.s.root() {
		return
	}
	if e.Kind == schemas.KindPayment {
		w.leaveLink(e, e.EntityID, rootKey)
	}
	for _, l := range e.Links {
		if slices.Contains(paymentLinks, l.Relation) {
			w.leaveLink(e, l.ID, rootKey)
		}
	}
	if over := len(w.s.Linked) - linkedMax; over > 0 {
		w.s.Linked = slices.Clone(w.s.Linked[over:])
	}
}

func (w *work) leaveLink(e *schemas.OrderEvent, id, rootKey string) {
	if id == "" || id == e.RootID || slices.Contains(w.s.Linked, id) {
		return
	}
	w.s.Linked = append(slices.Clip(w.s.Linked), id)
	from := schemas.RootKey(e.Environment, e.Connection, id)
	w.emit(schemas.TopicOrdersInbox, from, &schemas.OrderLink{From: from, To: rootKey})
}
