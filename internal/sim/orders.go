package sim

import (
	"fmt"
	"time"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/schemas"
)

// oneInput lets the orders stage read events and what it sends itself from one topic: an event that came by a link is
// keyed by another root than its own.
type oneInput struct{ *orders.Stage }

// Apply implements processors.Stage.
func (o oneInput) Apply(s orders.State, in processors.Input) (orders.State, []processors.Output, error) {
	if ev, ok := in.Record.(*schemas.OrderEvent); ok && ev.Key() == in.Key {
		in.Topic = schemas.TopicPayPalEvents
	}
	return o.Stage.Apply(s, in)
}

func pick[T any](k *work, list ...T) T { return list[k.r.IntN(len(list))] }

// orderEvents draws the events of a few roots with what belongs to them, and repetitions of some. They arrive in any
// order.
func (k *work) orderEvents() (list []schemas.OrderEvent) {
	add := func(e schemas.OrderEvent) {
		k.n++
		e.EventID = fmt.Sprintf("WH-%03d", k.n)
		e.Provider, e.Environment, e.Connection = "paypal", schemas.Sandbox, "eu"
		e.EventType = string(e.Kind) + "." + e.ProviderStatus
		e.ProviderTime = epoch.Add(time.Duration(k.r.IntN(8)) * time.Second)
		e.ReceivedAt = epoch.Add(time.Hour)
		e.DeliveryIDs = []string{fmt.Sprintf("T-%03d", k.n)}
		e.Origin, e.Fingerprint, e.Body = schemas.OriginWebhook, fmt.Sprintf("F-%03d", k.n), []byte("{}")
		list = append(list, e)
	}
	for i := range 2 + k.w.cfg.Keys {
		k.order(add, fmt.Sprintf("O%d", i))
	}
	for i := range k.r.IntN(3) {
		id := fmt.Sprintf("I-S%d", i)
		for range 1 + k.r.IntN(3) {
			s := pick(k, schemas.StatusPending, schemas.StatusActive, schemas.StatusSuspended, schemas.StatusCancelled)
			add(schemas.OrderEvent{Kind: schemas.KindSubscription, RootID: id, EntityID: id, Status: s, ProviderStatus: string(s), Payer: k.payer()})
		}
		k.payment(add, id+"-X", id, schemas.LinkSubscription, schemas.LinkSale)
	}
	for range len(list) / 6 {
		k.w.hit(Duplicate, PartIngest)
		e := list[k.r.IntN(len(list))]
		if k.r.IntN(3) == 0 { // the same event, sent anew
			k.n++
			e.DeliveryIDs = []string{fmt.Sprintf("T-%03d", k.n)}
		}
		list = append(list, e)
	}
	k.w.hit(Reorder, PartIngest)
	if len(list) > k.w.cfg.Events {
		list = list[:k.w.cfg.Events]
	}
	return list
}

func (k *work) order(add func(schemas.OrderEvent), id string) {
	for range 1 + k.r.IntN(3) {
		s := pick(k, schemas.StatusPending, schemas.StatusApproved, schemas.StatusPaid, schemas.StatusCancelled, schemas.StatusRefunded)
		add(schemas.OrderEvent{
			Kind: schemas.KindOrder, RootID: id, EntityID: id, Status: s, ProviderStatus: string(s),
			Amount: &schemas.Amount{Value: pick(k, "30.00", "40.0"), Currency: "EUR"}, Payer: k.payer(),
		})
	}
	for i := range k.r.IntN(3) {
		k.payment(add, fmt.Sprintf("%s-C%d", id, i), id, schemas.LinkOrder, schemas.LinkCapture)
	}
}

// payment adds one that names its root, and then refunds that name the payment only.
func (k *work) payment(add func(schemas.OrderEvent), id, root string, rel, self schemas.LinkRelation) {
	for range 1 + k.r.IntN(2) {
		s := pick(k, schemas.StatusPending, schemas.StatusPaid, schemas.StatusFailed, schemas.StatusRefunded)
		add(schemas.OrderEvent{
			Kind: schemas.KindPayment, RootID: root, EntityID: id, Status: s, ProviderStatus: string(s),
			Amount: &schemas.Amount{Value: "10.00", Currency: "EUR"}, Links: []schemas.Link{{Relation: rel, ID: root}},
		})
	}
	for i := range k.r.IntN(2) {
		refund := fmt.Sprintf("%s-R%d", id, i)
		add(schemas.OrderEvent{
			Kind: schemas.KindRefund, RootID: id, EntityID: refund, Status: schemas.StatusRefunded, ProviderStatus: "COMPLETED",
			Amount: &schemas.Amount{Value: "4.00", Currency: "EUR"}, Links: []schemas.Link{{Relation: self, ID: id}},
		})
	}
}

func (k *work) payer() *schemas.Payer {
	if k.r.IntN(4) == 0 {
		return nil
	}
	email := fmt.Sprintf("canary%d@example.com", k.r.IntN(4))
	k.w.secret(email)
	return &schemas.Payer{Email: email, GivenName: "Ana", PayerID: "P1"}
}

// checkPaths is invariant 10: the transitions of each root are one path, each step of which is legal by the table or
// flagged. (That the last status does not depend on the order of arrival is a property of the pure stage, tested on it.)
func (w *world) checkPaths() {
	last := map[string]*schemas.Transition{}
	for _, p := range w.b.Topic(schemas.TopicTransitions).Parts {
		for _, r := range p.Committed() {
			rec, err := shared.Decode(r.Value)
			if err != nil {
				w.violate(10, "a transition cannot be read: %v", err)
				continue
			}
			t := rec.(*schemas.Transition)
			before := last[string(r.Key)]
			last[string(r.Key)] = t
			switch {
			case before == nil && t.Number != 1, before != nil && t.Number != before.Number+1 && t.Number != 1:
				w.violate(10, "transition %d of %s follows %+v", t.Number, r.Key, before)
			case before != nil && t.Number > 1 && !(t.From == before.To || t.From == "" && before.To == schemas.StatusUnknown):
				w.violate(10, "transition %d of %s begins at %s, and the one before ended at %s", t.Number, r.Key, t.From, before.To)
			case t.Legal && !schemas.Legal(t.RootKind, t.From, t.To):
				w.violate(10, "transition %d of %s goes from %s to %s and is not flagged", t.Number, r.Key, t.From, t.To)
			}
		}
	}
}
