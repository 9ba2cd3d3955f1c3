package orders

import (
	"fmt"
	"strings"
	"time"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/money"
)

// event takes one event to its end here, sends it on under a link, or parks it. forwarded: it came by a link already.
func (w *work) event(e *schemas.OrderEvent, forwarded bool) error {
	if err := check(e); err != nil {
		return err
	}
	n := seenOf(e, w.at.UnixMilli())
	why, err := w.repetition(n, e)
	if err != nil {
		return err
	}
	if why != "" {
		w.touch()
		w.publish(w.unmoved(e, schemas.Duplicate, why))
		return nil
	}
	if e.Kind == schemas.KindOther {
		w.touch()
		w.markSeen(n)
		w.publish(w.unmoved(e, schemas.Ignored, "Events of type "+e.EventType+" have no effect on an order."))
		return nil
	}
	if !forwarded && !w.s.root() && namesPayment(e) {
		switch {
		case w.s.Link != "":
			w.touch()
			return w.forward(e)
		case !lone(e) && !w.s.Own:
			return w.park(e)
		}
	}
	w.touch()
	w.apply(e, n, forwarded, false)
	w.release()
	return nil
}

// check refuses what no rule could make sense of.
func check(e *schemas.OrderEvent) error {
	reason := ""
	switch {
	case e.Problem != "":
		reason = e.Problem
	case e.EventID == "":
		reason = "an event without an id"
	case e.RootID == "":
		reason = "event " + e.EventID + " names no order, subscription or payment"
	}
	for _, a := range [...]*schemas.Amount{e.Amount, e.RefundedTotal} {
		if a == nil || reason != "" {
			continue
		}
		if err := money.Check(a.Value, a.Currency); err != nil {
			reason = "event " + e.EventID + ": " + err.Error()
		}
	}
	if reason == "" {
		return nil
	}
	if e.ProblemCause != "" && e.Problem != "" {
		return &processors.Poison{Cause: e.ProblemCause, Reason: reason, Remedy: "compare its bytes, kept here, with what the provider shows; replay them only if they are right"}
	}
	return &processors.Poison{
		Cause: schemas.CauseUnparseable, Reason: reason,
		Remedy: "the bytes are kept here; replay them once the connector understands them",
	}
}

// moment is where e stands in the order of its root's events.
func (w *work) moment(e *schemas.OrderEvent) triple {
	if e.Versioned {
		return triple{T: e.Sequence, R: e.Status.Rank(), E: e.EventID}
	}
	t := e.ProviderTime
	if !e.ReceivedAt.IsZero() && (t.IsZero() || t.After(e.ReceivedAt.Add(w.st.opt.ClockSkew))) {
		t = e.ReceivedAt
	}
	return triple{T: toMillis(t), S: e.Sequence, R: e.Status.Rank(), E: e.EventID}
}

// kindOf is what e says about the kind of its root.
func kindOf(e *schemas.OrderEvent, forwarded bool) schemas.EventKind {
	switch {
	case e.Kind == schemas.KindSubscription || links(e, schemas.LinkSubscription):
		return schemas.KindSubscription
	case e.Kind == schemas.KindOrder || links(e, schemas.LinkOrder):
		return schemas.KindOrder
	case forwarded || !namesPayment(e) && !lone(e):
		return schemas.KindOrder
	}
	return schemas.KindPayment
}

// links reports whether e says that its root stands in the relation.
func links(e *schemas.OrderEvent, rel schemas.LinkRelation) bool {
	for _, l := range e.Links {
		if l.Relation == rel && l.ID == e.RootID {
			return true
		}
	}
	return false
}

// apply takes e's facts in and publishes what became of it. n is what is remembered of e.
func (w *work) apply(e *schemas.OrderEvent, n seen, forwarded, orphan bool) {
	s := &w.s
	kind := kindOf(e, forwarded)
	if kindRank(kind) > kindRank(s.Kind) {
		s.Kind = kind
	}
	if s.Kind == schemas.KindPayment && !orphan {
		s.Own = true
	}
	from, known := s.status(nil), s.contactKnown()
	at := w.moment(e)
	late := s.late(e, at)
	again := s.join(e, at)
	w.who(e, at)
	w.markSeen(n)
	s.settle()
	sums := s.money()
	to := s.status(&sums)
	t := w.transition(e, &sums)
	t.From, t.To, t.Orphan = from, word(to), orphan
	t.Legal = schemas.Legal(s.Kind, from, t.To)
	switch {
	case to != "" && to != from:
		t.Disposition, t.Why = schemas.Changed, changedWhy(e, from, to, t.Legal)
	case again:
		t.Disposition, t.Why = schemas.Duplicate, "Another notice of the same step: "+strings.ToLower(string(e.Kind))+" "+e.EntityID+" is "+e.ProviderStatus+"."
	case late:
		t.Disposition, t.Why = schemas.Late, "A newer event was applied before; this one is "+e.ProviderTime.Format(time.RFC3339)+"."
	default:
		t.Disposition, t.Why = schemas.Recorded, w.recordedWhy(e)
	}
	w.publish(t)
	w.leaveLinks(e, t.RootKey)
	w.sendOn(t, known)
}

func word(status schemas.PaymentStatus) schemas.PaymentStatus {
	if status == "" {
		return schemas.StatusUnknown
	}
	return status
}

// late reports whether something newer was applied before. At a subscription only its own events compete: a sale is
// late only against the same sale.
func (s *State) late(e *schemas.OrderEvent, at triple) bool {
	if s.Kind != schemas.KindSubscription {
		return s.Head != nil && s.Head.newer(at)
	}
	if e.Kind == schemas.KindSubscription {
		return s.Sub.Claim != nil && s.Sub.Claim.At.newer(at)
	}
	for _, list := range [2][]entity{s.Payments, s.Refunds} {
		for i := range list {
			if list[i].ID == e.EntityID && list[i].newest().At.newer(at) {
				return true
			}
		}
	}
	return false
}

func changedWhy(e *schemas.OrderEvent, from, to schemas.PaymentStatus, legal bool) string {
	what := e.EventType
	if what == "" {
		what = string(e.Kind)
	}
	switch {
	case from == "":
		return what + ": the first status known is " + string(to) + "."
	case !legal:
		return what + ": " + string(from) + " to " + string(to) + " is no expected step; it was applied because it is newer."
	}
	return what + ": " + string(from) + " to " + string(to) + "."
}

func (w *work) recordedWhy(e *schemas.OrderEvent) string {
	switch {
	case w.s.Kind == schemas.KindSubscription && e.Kind != schemas.KindSubscription:
		return "Recorded as a payment of the subscription, whose status only its own events change."
	case e.Deleted:
		return "The provider removed the order; its status stays."
	case !says(e.Status):
		return fmt.Sprintf("The provider's status %q says nothing about payment.", e.ProviderStatus)
	}
	return "Recorded; the status stays."
}

// transition is the record about e as the state, whose money is m, stands now.
func (w *work) transition(e *schemas.OrderEvent, m *balance) *schemas.Transition {
	kind := w.s.Kind
	if kind == "" {
		kind = kindOf(e, false)
	}
	t := &schemas.Transition{
		RootKey: e.Key(), RootKind: kind, Legal: true, Event: *e, At: w.at,
		Paid: m.paid.String(), Refunded: m.refunded.String(), Currency: m.currency,
	}
	w.s.name(t)
	t.Event.Body, t.Event.Headers = nil, nil
	return t
}

// unmoved is a transition that changed nothing.
func (w *work) unmoved(e *schemas.OrderEvent, d schemas.Disposition, why string) *schemas.Transition {
	sums := w.s.money()
	t := w.transition(e, &sums)
	t.From = w.s.status(&sums)
	t.To, t.Disposition, t.Why = word(t.From), d, why
	return t
}

// publish numbers t and puts it on order.transitions.
func (w *work) publish(t *schemas.Transition) {
	w.s.Number++
	t.Number = w.s.Number
	w.emit(schemas.TopicTransitions, t.RootKey, t)
}
