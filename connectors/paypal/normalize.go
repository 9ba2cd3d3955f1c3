package paypal

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

// normalize turns one delivery into its record: a webhook's event, an event read through the events API, or an object
// that was read or listed at PayPal.
func normalize(d connectors.Delivery) ([]schemas.OrderEvent, error) {
	v, err := strictjson.Parse(d.Body)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("body: not a JSON object")
	}
	if s := readShape(m, d); s != shapeOther {
		return normalizeRead(d, m, s)
	}
	event := object(m)
	for _, name := range []string{"id", "event_type"} {
		if err := checkID(name, event.Text(name)); err != nil {
			return nil, err
		}
	}
	b := builder{event: event, resource: event.Object("resource"), fields: fieldSet{connectors.FieldSet{Values: map[string]string{}}}}
	b.rec = base(d, event.Text("id"), event.Text("event_type"))
	b.rec.Fingerprint = fingerprint(event)
	if d.Test {
		b.rec.EventID += ":" + b.rec.EventType // PayPal's simulator gives one id to events of several types
	}
	if err := b.build(shapeOf(b.event, b.resource)); err != nil {
		return nil, err
	}
	b.rec.Fields = b.fields.Values
	return []schemas.OrderEvent{b.rec}, nil
}

// normalizeRead serves an object that comes without an event around it. It is given the type that the event about it
// has, so that a rule for an event holds for what was found without one, too; its id follows from its content, so that
// what was read twice and did not change is one event.
func normalizeRead(d connectors.Delivery, o object, s shape) ([]schemas.OrderEvent, error) {
	b := builder{event: object{}, resource: o, fields: fieldSet{connectors.FieldSet{Values: map[string]string{}}}}
	b.rec = base(d, "", typeOf(s, o))
	b.rec.Fingerprint = hexOf(strictjson.AppendCanonical(make([]byte, 0, canonicalBytesUsual), map[string]any(o)))
	b.rec.Headers = d.Headers
	if err := b.build(s); err != nil {
		return nil, err
	}
	if b.rec.Resource == "" && b.rec.Kind == schemas.KindOrder {
		b.rec.Resource = ResourceOrders // no event tells of an order before it is approved
	}
	b.rec.EventID = b.rec.EntityID + ":" + b.rec.Fingerprint[:readIDDigits]
	b.rec.Fields = b.fields.Values
	return []schemas.OrderEvent{b.rec}, nil
}

// readIDDigits of the content's hash, in hex, make the id of an event that PayPal gave none.
const readIDDigits = 32

// base fills what is the same for every shape.
func base(d connectors.Delivery, id, typ string) schemas.OrderEvent {
	rec := schemas.OrderEvent{
		EventID: id, Kind: schemas.KindOther, Provider: Type, Environment: d.Environment, Connection: d.Connection,
		Resource: resourceOf(typ), EventType: typ, Status: schemas.StatusUnknown, ReceivedAt: d.ReceivedAt, Origin: d.Origin,
		Links: []schemas.Link{}, DeliveryIDs: []string{}, Body: d.Body, BodyHash: hexOf(d.Body), Test: d.Test,
	}
	if d.ID != "" {
		rec.DeliveryIDs = []string{d.ID}
	}
	return rec
}

// fingerprint is the hash of the event's content. Reading the event through the events API adds status, transmissions
// and link encodings; none of these is content.
func fingerprint(event object) string {
	names := make([]string, 0, 16)
	for name := range event {
		switch name {
		case "status", "transmissions", "links":
		default:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	text := make([]byte, 0, canonicalBytesUsual)
	for i, name := range names {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		text = append(strictjson.AppendCanonical(append(text, sep), name), ':')
		v := event[name]
		if name == "resource" {
			v = withoutEncodings(v)
		}
		text = strictjson.AppendCanonical(text, v)
	}
	return hexOf(append(text, '}'))
}

// canonicalBytesUsual is room for what most events have.
const canonicalBytesUsual = 4 << 10

func hexOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// withoutEncodings is the resource without its links' encType. The links themselves stay: they name the order.
func withoutEncodings(v any) any {
	resource, ok := v.(map[string]any)
	if !ok {
		return v
	}
	links, ok := resource["links"].([]any)
	if !ok || !slices.ContainsFunc(links, encoded) {
		return v
	}
	plain := slices.Clone(links)
	for i, l := range links {
		if encoded(l) {
			kept := maps.Clone(l.(map[string]any))
			delete(kept, "encType")
			plain[i] = kept
		}
	}
	out := maps.Clone(resource)
	out["links"] = plain
	return out
}

func encoded(link any) bool {
	m, ok := link.(map[string]any)
	if ok {
		_, ok = m["encType"]
	}
	return ok
}

// builder carries one event while it is read.
type builder struct {
	event, resource object
	rec             schemas.OrderEvent
	fields          fieldSet
}

func (b *builder) build(s shape) error {
	b.commonFields()
	switch s {
	case shapeOrder:
		return b.order()
	case shapeReversedApproval:
		return b.reversedApproval()
	case shapeSubscription:
		return b.subscription()
	case shapeCapture, shapeAuthorization, shapeSale:
		return b.payment(s)
	case shapeRefund:
		return b.refund()
	case shapeDispute:
		return b.dispute()
	case shapeTransaction:
		return b.transaction()
	case shapeCharge:
		return b.charge()
	}
	return b.other()
}

// other keeps an event that concerns no order: it stays visible and has no effect.
func (b *builder) other() error {
	b.rec.Kind, b.rec.RootID = schemas.KindOther, b.rec.EventID
	b.rec.ProviderStatus = cmp.Or(b.resource.Text("status"), b.resource.Text("state"))
	if b.rec.EntityID = b.resource.Text("id"); checkID("", b.rec.EntityID) != nil {
		b.rec.EntityID = ""
	}
	at, err := timeOf(b.event, "create_time", "create_time")
	if err != nil {
		return err
	}
	if at.IsZero() {
		at = b.rec.ReceivedAt
	}
	b.rec.ProviderTime = at
	return nil
}

// identify sets what the event is about; root is what its whole story is kept under.
func (b *builder) identify(kind schemas.EventKind, field, id string) error {
	if err := checkID(field, id); err != nil {
		return err
	}
	b.rec.Kind, b.rec.EntityID, b.rec.RootID = kind, id, id
	return nil
}

func (b *builder) link(rel schemas.LinkRelation, id string) error {
	if id == "" {
		return nil
	}
	if err := checkID(strings.ToLower(string(rel))+" id", id); err != nil {
		return err
	}
	if b.rec.Linked(rel) == "" {
		b.rec.Links = append(b.rec.Links, schemas.Link{Relation: rel, ID: id})
	}
	return nil
}

// nestedLinksMax bounds the payments of one order that are linked; PayPal allows 10 units.
const nestedLinksMax = 50

// linkNested names the payments inside an order, so that their refunds, which name only them, find the order.
func (b *builder) linkNested(rel schemas.LinkRelation, payments []object) {
	for _, p := range payments {
		l := schemas.Link{Relation: rel, ID: p.Text("id")}
		if checkID("", l.ID) == nil && !slices.Contains(b.rec.Links, l) && len(b.rec.Links) < nestedLinksMax {
			b.rec.Links = append(b.rec.Links, l)
		}
	}
}

// linkParents adds the ids that the resource names, the explicit ones before those read from links, and moves the
// event under the best of them: its order, else its subscription, else the payment that it belongs to.
func (b *builder) linkParents() error {
	ids := b.resource.Object("supplementary_data", "related_ids")
	explicit := []schemas.Link{
		{Relation: schemas.LinkOrder, ID: ids.Text("order_id")},
		{Relation: schemas.LinkSubscription, ID: b.resource.Text("billing_agreement_id")},
		{Relation: schemas.LinkAuthorization, ID: ids.Text("authorization_id")},
		{Relation: schemas.LinkCapture, ID: cmp.Or(ids.Text("capture_id"), b.resource.Text("capture_id"))},
		{Relation: schemas.LinkSale, ID: b.resource.Text("sale_id")},
	}
	for _, l := range append(explicit, parentsOf(b.resource)...) {
		if l.ID == b.rec.EntityID {
			continue
		}
		if err := b.link(l.Relation, l.ID); err != nil {
			return err
		}
	}
	for _, rel := range []schemas.LinkRelation{
		schemas.LinkOrder, schemas.LinkSubscription, schemas.LinkCapture, schemas.LinkSale, schemas.LinkAuthorization,
	} {
		if id := b.rec.Linked(rel); id != "" {
			b.rec.RootID = id
			break
		}
	}
	return nil
}

// providerTime is the newest change that the snapshot itself names, nested payments included. Without one it is the
// entity's creation, and only then the event's: events are created seconds after the change, so that an approval
// stamped with the event's time would look newer than the capture that followed it.
func (b *builder) providerTime(nested ...object) error {
	sent, err := timeOf(b.event, "create_time", "create_time")
	if err != nil {
		return err
	}
	created, err := timeOf(b.resource, "resource.create_time", "create_time")
	if err != nil {
		return err
	}
	var newest time.Time
	for i, part := range append([]object{b.resource}, nested...) {
		where := "resource."
		if i > 0 {
			where = "resource.purchase_units.payments."
		}
		for _, name := range []string{"update_time", "status_update_time"} {
			t, err := timeOf(part, where+name, name)
			if err != nil {
				return err
			}
			if t.After(newest) {
				newest = t
			}
		}
	}
	for _, t := range []time.Time{newest, created, sent} {
		if !t.IsZero() {
			b.rec.ProviderTime = t
			return nil
		}
	}
	return errNoTime
}

func (b *builder) status(table map[string]schemas.PaymentStatus) {
	b.rec.ProviderStatus = cmp.Or(b.resource.Text("status"), b.resource.Text("state"))
	b.rec.Status = canonical(table, b.rec.ProviderStatus)
}

func (b *builder) order() error {
	if err := b.identify(schemas.KindOrder, "resource.id", b.resource.Text("id")); err != nil {
		return err
	}
	units := b.resource.Objects("purchase_units")
	captures, authorizations := unitPayments(units)
	b.linkNested(schemas.LinkCapture, captures)
	b.linkNested(schemas.LinkAuthorization, authorizations)
	b.status(orderStatuses)
	if b.rec.ProviderStatus == "" && strings.HasSuffix(b.rec.EventType, ".APPROVED") {
		b.rec.Status = schemas.StatusApproved
	}
	total, err := sumUnits(units)
	if err != nil {
		return err
	}
	b.rec.Amount = total
	if b.rec.ProviderStatus == "COMPLETED" {
		if b.rec.Status, err = completedStatus(total, captures, authorizations); err != nil {
			return err
		}
	}
	b.rec.Payer = orderPayer(b.resource, units)
	b.customIDs(units...)
	if err := b.orderFields(units); err != nil {
		return err
	}
	return b.providerTime(append(captures, authorizations...)...)
}

func (b *builder) reversedApproval() error {
	if err := b.identify(schemas.KindOrder, "resource.order_id", b.resource.Text("order_id")); err != nil {
		return err
	}
	b.rec.ProviderStatus, b.rec.Status = b.resource.Text("status"), schemas.StatusCancelled
	units := b.resource.Objects("purchase_units")
	b.rec.Payer = orderPayer(b.resource, units)
	b.customIDs(units...)
	var err error
	if b.rec.Amount, err = sumUnits(units); err != nil {
		return err
	}
	return b.providerTime()
}

func (b *builder) subscription() error {
	if err := b.identify(schemas.KindSubscription, "resource.id", b.resource.Text("id")); err != nil {
		return err
	}
	b.status(subscriptionStatuses)
	if b.rec.ProviderStatus == "" {
		b.rec.Status = subscriptionByEvent[b.rec.EventType[strings.LastIndexByte(b.rec.EventType, '.')+1:]]
		if b.rec.Status == "" {
			b.rec.Status = schemas.StatusUnknown
		}
	}
	b.rec.Payer = subscriberPayer(b.resource)
	b.customIDs(b.resource)
	if err := b.subscriptionFields(); err != nil {
		return err
	}
	return b.providerTime()
}

func (b *builder) payment(s shape) error {
	if err := b.identify(schemas.KindPayment, "resource.id", b.resource.Text("id")); err != nil {
		return err
	}
	if err := b.linkParents(); err != nil {
		return err
	}
	table := captureStatuses
	switch s {
	case shapeAuthorization:
		table = authorizationStatuses
	case shapeSale:
		table = saleStatuses
	}
	b.status(table)
	var err error
	if b.rec.Amount, err = amountOf(b.resource, "resource.amount", "", "amount"); err != nil {
		return err
	}
	b.rec.Payer = legacyPayer(b.resource.Object("payer"))
	b.customIDs(b.resource)
	if err := b.paymentFields(); err != nil {
		return err
	}
	return b.providerTime()
}

// refund covers refunds and reversals of v1 and v2. The amount is what went back, without sign.
func (b *builder) refund() error {
	if err := b.identify(schemas.KindRefund, "resource.id", b.resource.Text("id")); err != nil {
		return err
	}
	if err := b.linkParents(); err != nil {
		return err
	}
	b.status(refundStatuses)
	if strings.HasSuffix(b.rec.EventType, ".REVERSED") && b.rec.Status == schemas.StatusRefunded {
		b.rec.Status = schemas.StatusChargedBack
	}
	var err error
	if b.rec.Amount, err = amountOf(b.resource, "resource.amount", "", "amount"); err != nil {
		return err
	}
	if b.rec.Amount != nil {
		b.rec.Amount.Value = strings.TrimPrefix(b.rec.Amount.Value, "-")
	}
	for _, path := range [][]string{{"seller_payable_breakdown", "total_refunded_amount"}, {"total_refunded_amount"}} {
		total, err := amountOf(b.resource, "resource."+strings.Join(path, "."), "", path...)
		if err != nil {
			return err
		}
		if total != nil {
			b.rec.RefundedTotal = total
			break
		}
	}
	b.customIDs(b.resource)
	b.refundFields()
	return b.providerTime()
}

func (b *builder) dispute() error {
	if err := b.identify(schemas.KindDispute, "resource.dispute_id", cmp.Or(b.resource.Text("dispute_id"), b.resource.Text("id"))); err != nil {
		return err
	}
	for i, tx := range b.resource.Objects("disputed_transactions") {
		id := tx.Text("seller_transaction_id")
		if id == "" {
			continue
		}
		field := fmt.Sprintf("resource.disputed_transactions[%d].seller_transaction_id", i)
		if err := checkID(field, id); err != nil {
			return err
		}
		if len(b.rec.Links) == 0 {
			b.rec.RootID = id
		}
		// The event does not say whether it is a capture or a sale; both are found by their id.
		b.rec.Links = append(b.rec.Links, schemas.Link{Relation: schemas.LinkCapture, ID: id})
	}
	b.status(disputeStatuses)
	if b.rec.ProviderStatus == "RESOLVED" {
		b.rec.Status = canonical(disputeOutcomes, b.resource.Text("dispute_outcome", "outcome_code"))
	}
	var err error
	if b.rec.Amount, err = amountOf(b.resource, "resource.dispute_amount", "", "dispute_amount"); err != nil {
		return err
	}
	b.disputeFields()
	return b.providerTime()
}

// customIDs takes the merchant's own keys from the first part that has them.
func (b *builder) customIDs(parts ...object) {
	for _, p := range parts {
		b.rec.CustomID = connectors.Cut(cmp.Or(b.rec.CustomID, p.Text("custom_id"), p.Text("custom")), textBytesMax)
		b.rec.InvoiceID = connectors.Cut(cmp.Or(b.rec.InvoiceID, p.Text("invoice_id"), p.Text("invoice_number")), textBytesMax)
	}
}

var errNoTime = errors.New("create_time: missing")
