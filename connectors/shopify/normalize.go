package shopify

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

type object = strictjson.Object

// Headers that a stored delivery keeps, under these names whichever family Shopify sent.
const (
	headerTopic     = "X-Shopify-Topic"
	headerTriggered = "X-Shopify-Triggered-At"
	headerVersion   = "X-Shopify-Api-Version"
)

// Topics with a meaning of their own.
const (
	topicUpdated     = "orders/updated"
	topicDelete      = "orders/delete"
	topicRefund      = "refunds/create"
	topicTransaction = "order_transactions/create"
	topicUninstalled = "app/uninstalled"
)

// sequenceOrder lets an order's own word win over its transactions, refunds and disputes of the same second: Shopify
// stamps all of them in whole seconds, and the order is what was computed from the others.
const sequenceOrder = 1

// transactionsMax bounds the transactions read of one order or refund; Shopify takes at most 100 payments of an order.
const transactionsMax = 100

var topicForm = regexp.MustCompile(`^[a-z_]{1,40}(/[a-z_]{1,60}){1,2}$`)

// normalize turns a webhook's body, a listed order or a listed transaction into records.
func normalize(d connectors.Delivery) ([]schemas.OrderEvent, error) {
	topic := d.Headers[headerTopic]
	if !topicForm.MatchString(topic) {
		return nil, fmt.Errorf("%s: %.60q is no topic", headerTopic, topic)
	}
	v, err := strictjson.Parse(d.Body)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("body: not a JSON object")
	}
	if len(m) == 0 {
		return nil, errors.New("body: an empty object")
	}
	r := reader{d: d, topic: topic, body: m, canonical: strictjson.AppendCanonical(nil, v)}
	return r.read()
}

// reader carries one delivery while it is read.
type reader struct {
	d         connectors.Delivery
	topic     string
	body      object
	canonical []byte
}

// read goes by what the body is: the topic is not signed, and only names which of the possible bodies it could be.
func (r *reader) read() ([]schemas.OrderEvent, error) {
	switch {
	case strings.HasPrefix(r.body.Text("id"), gidOrder):
		return r.node()
	case strings.HasPrefix(r.topic, "orders/") && isOrder(r.body):
		return alone(r.order(r.body))
	case r.topic == topicDelete:
		return r.removed()
	case r.topic == topicRefund:
		return r.refund()
	case r.topic == topicTransaction:
		return alone(r.transaction(r.body, r.canonical))
	case r.topic == "disputes/create" || r.topic == "disputes/update":
		return r.dispute()
	case r.topic == topicUpdated || r.topic == "orders/create" || r.topic == "orders/paid" || r.topic == "orders/cancelled":
		return nil, errors.New("financial_status: missing: the body is no order")
	}
	return r.other()
}

func alone(rec schemas.OrderEvent, err error) ([]schemas.OrderEvent, error) {
	if err != nil {
		return nil, err
	}
	return []schemas.OrderEvent{rec}, nil
}

// isOrder: only orders have this member, which is null until Shopify knows.
func isOrder(o object) bool {
	_, ok := o["financial_status"]
	return ok
}

// record is what is the same for every record of a delivery. canonical is the content that it is about.
func (r *reader) record(kind schemas.EventKind, entity string, at time.Time, canonical []byte) schemas.OrderEvent {
	body, content := sha256.Sum256(r.d.Body), sha256.Sum256(canonical)
	stamp := ""
	if at.IsZero() {
		at = r.triggered()
	}
	if at.IsZero() {
		at = r.d.ReceivedAt.UTC().Truncate(time.Millisecond)
	} else {
		stamp = at.Format(time.RFC3339)
	}
	rec := schemas.OrderEvent{
		EventID: r.topic + ":" + entity + ":" + stamp + ":" + hex.EncodeToString(content[:8]),
		Kind:    kind, Provider: Type, Environment: r.d.Environment, Connection: r.d.Connection, Resource: resourceOf(r.topic),
		RootID: entity, EntityID: entity, Links: []schemas.Link{}, EventType: r.topic, Status: schemas.StatusUnknown,
		ProviderTime: at, ReceivedAt: r.d.ReceivedAt, DeliveryIDs: []string{}, Origin: r.d.Origin, Body: r.d.Body,
		BodyHash: hex.EncodeToString(body[:]), Fingerprint: hex.EncodeToString(content[:]), Test: r.d.Test,
		Headers: maps.Clone(r.d.Headers),
	}
	if r.d.ID != "" {
		rec.DeliveryIDs = []string{r.d.ID}
	}
	return rec
}

// triggered is when Shopify says that it happened, for bodies without a time of their own. It is the same in each retry.
func (r *reader) triggered() time.Time {
	t, err := parseTime(r.d.Headers[headerTriggered])
	if err != nil {
		return time.Time{}
	}
	return t
}

// order reads a whole order, a snapshot. o is the body, or what a GraphQL node means in its words.
func (r *reader) order(o object) (schemas.OrderEvent, error) {
	id, err := idOf(o, "id")
	if err != nil {
		return schemas.OrderEvent{}, err
	}
	at, err := firstTime(o, "updated_at")
	if err != nil {
		return schemas.OrderEvent{}, err
	}
	rec := r.record(schemas.KindOrder, id, at, r.canonical)
	rec.Sequence = sequenceOrder
	cancelled, err := firstTime(o, "cancelled_at")
	if err != nil {
		return rec, err
	}
	rec.ProviderStatus = o.Text("financial_status")
	rec.Status = orderStatus(rec.ProviderStatus, !cancelled.IsZero())
	if rec.Amount, err = amountOf(o, "total_price", o.Text("currency")); err != nil {
		return rec, err
	}
	if rec.RefundedTotal, err = refundedOf(o, rec.Amount); err != nil {
		return rec, err
	}
	rec.Payer = payerOf(o)
	rec.InvoiceID, rec.CustomID = connectors.Cut(o.Text("name"), textBytesMax), connectors.Cut(o.Text("po_number"), textBytesMax)
	f := fieldSet{connectors.FieldSet{Values: map[string]string{}}}
	if err := f.order(o, cancelled); err != nil {
		return rec, err
	}
	rec.Fields = f.Values
	return rec, nil
}

// removed is an order that the merchant deleted. Its body names nothing but the id.
func (r *reader) removed() ([]schemas.OrderEvent, error) {
	id, err := idOf(r.body, "id")
	if err != nil {
		return nil, err
	}
	rec := r.record(schemas.KindOrder, id, time.Time{}, r.canonical)
	rec.Sequence, rec.Deleted, rec.Fields = sequenceOrder, true, map[string]string{}
	return []schemas.OrderEvent{rec}, nil
}

// refund reads a refund by its transactions: each is told a second time as an order_transactions event, and the
// transaction's id makes the two one. A refund that moved no money (goods were only put back) has no effect.
func (r *reader) refund() ([]schemas.OrderEvent, error) {
	id, err := idOf(r.body, "id")
	if err != nil {
		return nil, err
	}
	order, err := idOf(r.body, "order_id")
	if err != nil {
		return nil, err
	}
	at, err := firstTime(r.body, "processed_at", "created_at")
	if err != nil {
		return nil, err
	}
	moves := r.body.Objects("transactions")
	if len(moves) > transactionsMax {
		return nil, fmt.Errorf("transactions: more than %d", transactionsMax)
	}
	var out []schemas.OrderEvent
	for i, tx := range moves {
		with := maps.Clone(tx)
		with["order_id"] = strictjson.Number(order)
		if !at.IsZero() && !tx.Has("processed_at") && !tx.Has("created_at") {
			with["processed_at"] = at.Format(time.RFC3339Nano)
		}
		rec, err := r.transaction(with, r.canonical)
		if err != nil {
			return nil, fmt.Errorf("transactions[%d].%w", i, err)
		}
		rec.Fields["refund.id"] = id
		if note := connectors.Cut(strings.TrimSpace(r.body.Text("note")), connectors.FieldBytesMax); note != "" {
			rec.Fields["refund.note"] = note
		}
		if i > 0 {
			rec.DeliveryIDs = []string{} // one delivery's id stands for one record
		}
		out = append(out, rec)
	}
	if len(out) == 0 {
		rec := r.record(schemas.KindOther, id, at, r.canonical)
		rec.RootID, rec.Fields = order, map[string]string{"refund.id": id}
		rec.Links = []schemas.Link{{Relation: schemas.LinkOrder, ID: order}}
		out = append(out, rec)
	}
	return out, nil
}

// transaction reads one movement of money, by itself alone: it is the same whether it came by a webhook or was listed.
func (r *reader) transaction(tx object, canonical []byte) (schemas.OrderEvent, error) {
	id, err := idOf(tx, "id")
	if err != nil {
		return schemas.OrderEvent{}, err
	}
	order, err := idOf(tx, "order_id")
	if err != nil {
		return schemas.OrderEvent{}, err
	}
	at, err := firstTime(tx, "processed_at", "created_at")
	if err != nil {
		return schemas.OrderEvent{}, err
	}
	kind := strings.ToLower(tx.Text("kind"))
	if kind == "" {
		return schemas.OrderEvent{}, errors.New("kind: missing")
	}
	rec := r.record(schemas.KindPayment, id, at, canonical)
	rec.RootID, rec.Links = order, []schemas.Link{{Relation: schemas.LinkOrder, ID: order}}
	parent := schemas.LinkAuthorization
	if kind == "refund" {
		rec.Kind, parent = schemas.KindRefund, schemas.LinkCapture
	}
	if tx.Has("parent_id") {
		of, err := idOf(tx, "parent_id")
		if err != nil {
			return rec, err
		}
		rec.Links = append(rec.Links, schemas.Link{Relation: parent, ID: of})
	}
	part := false
	if kind == "capture" {
		if part, err = unsettled(tx); err != nil {
			return rec, err
		}
	}
	rec.ProviderStatus = tx.Text("status")
	rec.Status = transactionStatus(kind, strings.ToLower(rec.ProviderStatus), part)
	if rec.Amount, err = amountOf(tx, "amount", tx.Text("currency")); err != nil {
		return rec, err
	}
	f := fieldSet{connectors.FieldSet{Values: map[string]string{}}}
	f.transaction(id, kind, tx)
	rec.Fields = f.Values
	return rec, nil
}

// unsettled reports whether more of the authorization can be captured.
func unsettled(tx object) (bool, error) {
	left := tx.Object("total_unsettled_set", "shop_money")
	if left == nil {
		return false, nil
	}
	a, err := amountOf(left, "amount", cmp.Or(left.Text("currency"), left.Text("currency_code")))
	if err != nil || a == nil {
		return false, prefixed("total_unsettled_set.shop_money", err)
	}
	m, err := a.Money()
	return err == nil && !m.IsZero() && !m.Negative(), err
}

// dispute has no time of its last change: the newest that it names serves.
func (r *reader) dispute() ([]schemas.OrderEvent, error) {
	id, err := idOf(r.body, "id")
	if err != nil {
		return nil, err
	}
	at := r.triggered()
	for _, name := range []string{"initiated_at", "evidence_sent_on", "finalized_on"} {
		t, err := dayOrTime(r.body, name)
		if err != nil {
			return nil, err
		}
		if t.After(at) {
			at = t
		}
	}
	rec := r.record(schemas.KindDispute, id, at, r.canonical)
	if r.body.Has("order_id") {
		order, err := idOf(r.body, "order_id")
		if err != nil {
			return nil, err
		}
		rec.RootID, rec.Links = order, []schemas.Link{{Relation: schemas.LinkOrder, ID: order}}
	}
	rec.ProviderStatus = r.body.Text("status")
	rec.Status = disputeStatus(r.topic, rec.ProviderStatus)
	if rec.Amount, err = amountOf(r.body, "amount", r.body.Text("currency")); err != nil {
		return nil, err
	}
	f := fieldSet{connectors.FieldSet{Values: map[string]string{}}}
	f.dispute(id, r.body)
	rec.Fields = f.Values
	return []schemas.OrderEvent{rec}, nil
}

// other keeps what concerns no order: an app that was removed, a request about somebody's data, a topic that a person
// subscribed to. It stays visible and has no effect.
func (r *reader) other() ([]schemas.OrderEvent, error) {
	id := r.body.Text("id")
	if !idForm.MatchString(id) {
		id = ""
	}
	rec := r.record(schemas.KindOther, id, time.Time{}, r.canonical)
	rec.RootID, rec.Fields = rec.EventID, map[string]string{}
	return []schemas.OrderEvent{rec}, nil
}
