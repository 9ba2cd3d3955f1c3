package stripe

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

// object is a decoded JSON object.
type object = strictjson.Object

// normalizer reads events as one connection wants them read.
type normalizer struct {
	orderKeys []string // metadata keys of the shop's own order number
}

var defaultOrderKeys = []string{"order_id", "order_number", "orderId"}

// thinPrefix is how the object of an event of API v2 begins: it names what changed and does not hold it.
const thinPrefix = "v2."

// normalize turns one event, sent or read from the list of events, into its record.
func (n normalizer) normalize(d connectors.Delivery) ([]schemas.OrderEvent, error) {
	v, err := strictjson.Parse(d.Body)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("body: not a JSON object")
	}
	event := object(m)
	switch kind := event.Text("object"); {
	case readable[kind] != "":
		return n.read(d, event)
	case strings.HasPrefix(kind, thinPrefix):
		return nil, fmt.Errorf("object: %.40q is a thin event, which does not hold what changed; let the endpoint send snapshot events", kind)
	case kind != "event":
		return nil, fmt.Errorf("object: %.40q is no event", kind)
	}
	for _, field := range []string{"id", "type"} {
		if err := checkID(field, event.Text(field)); err != nil {
			return nil, err
		}
	}
	if err := checkMode(event, d.Environment); err != nil {
		return nil, err
	}
	created, err := unixOf(event, "created", "created")
	if err != nil {
		return nil, err
	}
	if created.IsZero() {
		return nil, errors.New("created: missing")
	}
	o := event.Object("data", "object")
	if o == nil {
		return nil, errors.New("data.object: missing")
	}
	b := builder{n: n, event: event, o: o, fields: fieldSet{connectors.FieldSet{Values: map[string]string{}}}}
	b.rec = base(d, event, created)
	if err := b.build(); err != nil {
		return nil, err
	}
	b.rec.Fields = b.fields.Values
	return []schemas.OrderEvent{b.rec}, nil
}

// readable are the objects that Fetch reads, with their path at the API.
var readable = map[string]string{"payment_intent": "/v1/payment_intents/", "charge": "/v1/charges/", "subscription": "/v1/subscriptions/"}

// read takes an object that Fetch read: it says who paid and what belongs together. Its state is left to the events: it
// has no time of its last change, and does not say what became of a failed attempt.
func (n normalizer) read(d connectors.Delivery, o object) ([]schemas.OrderEvent, error) {
	if err := checkMode(o, d.Environment); err != nil {
		return nil, err
	}
	created, err := unixOf(o, "created", "created")
	if err != nil {
		return nil, err
	}
	if created.IsZero() {
		return nil, errors.New("created: missing")
	}
	b := builder{n: n, event: object{"type": o.Text("object") + readSuffix}, o: o, fields: fieldSet{connectors.FieldSet{Values: map[string]string{}}}}
	b.rec = base(d, b.event, created)
	if err := b.build(); err != nil {
		return nil, err
	}
	b.rec.Fingerprint = fingerprint(o)
	b.rec.EventID = b.rec.EventType + ":" + b.rec.EntityID + ":" + b.rec.Fingerprint[:16]
	b.rec.Status, b.rec.Amount, b.rec.RefundedTotal, b.rec.Fields = schemas.StatusUnknown, nil, nil, b.fields.Values
	return []schemas.OrderEvent{b.rec}, nil
}

// readSuffix makes an event type of an object that was read.
const readSuffix = ".read"

// checkMode keeps the two worlds apart: a live endpoint of a platform is sent the test events of its accounts, too.
func checkMode(event object, env schemas.Environment) error {
	live, ok := event["livemode"].(bool)
	switch {
	case !ok:
		return errors.New("livemode: missing")
	case live && env != schemas.Live:
		return fmt.Errorf("livemode: a live event at a connection of the %s environment", env)
	case !live && env == schemas.Live:
		return errors.New("livemode: an event of test mode at a live connection")
	}
	return nil
}

// base fills what is the same for every object.
func base(d connectors.Delivery, event object, created time.Time) schemas.OrderEvent {
	sum := sha256.Sum256(d.Body)
	typ := event.Text("type")
	return schemas.OrderEvent{
		EventID: event.Text("id"), Kind: schemas.KindOther, Provider: Type, Environment: d.Environment, Connection: d.Connection,
		Resource: resourceOf(typ), EventType: typ, Status: schemas.StatusUnknown, ProviderTime: created, ReceivedAt: d.ReceivedAt,
		Origin: d.Origin, Links: []schemas.Link{}, DeliveryIDs: []string{}, Body: d.Body, BodyHash: hex.EncodeToString(sum[:]),
		Fingerprint: fingerprint(event), Test: d.Test, Headers: d.Headers,
	}
}

// fingerprint is the hash of the event's content. How many endpoints still wait for it, and the version that it is
// rendered in, are none.
func fingerprint(event object) string {
	content := make(map[string]any, len(event))
	for name, v := range event {
		switch name {
		case "pending_webhooks", "api_version", "request":
		default:
			content[name] = v
		}
	}
	sum := sha256.Sum256(strictjson.AppendCanonical(nil, content))
	return hex.EncodeToString(sum[:])
}

// builder carries one event while it is read.
type builder struct {
	n        normalizer
	event, o object
	rec      schemas.OrderEvent
	fields   fieldSet
}

func (b *builder) build() error {
	switch b.o.Text("object") {
	case "payment_intent":
		return b.intent()
	case "charge":
		return b.charge()
	case "refund":
		return b.refund()
	case "dispute":
		return b.dispute()
	case "checkout.session":
		return b.session()
	case "subscription":
		return b.subscription()
	}
	return b.other()
}

// other keeps an event that moves no order: it stays visible and has no effect.
func (b *builder) other() error {
	b.rec.Kind, b.rec.RootID = schemas.KindOther, b.rec.EventID
	b.rec.ProviderStatus = connectors.Cut(b.o.Text("status"), statusBytesMax)
	if id := b.o.Text("id"); checkID("", id) == nil {
		b.rec.EntityID = id
	}
	if b.o.Text("object") == "invoice" {
		return b.invoiceFields()
	}
	return nil
}

// identify sets what the event is about; root is what its whole story is kept under.
func (b *builder) identify(kind schemas.EventKind) error {
	id := b.o.Text("id")
	if err := checkID("data.object.id", id); err != nil {
		return err
	}
	b.rec.Kind, b.rec.EntityID, b.rec.RootID = kind, id, id
	return nil
}

// reference is an id, or the object of that id where the endpoint's version expands it.
func (b *builder) reference(name string) (string, error) {
	id := b.o.Text(name)
	if id == "" {
		id = b.o.Object(name).Text("id")
	}
	if id == "" {
		return "", nil
	}
	return id, checkID("data.object."+name, id)
}

// linksMax bounds the links of one event.
const linksMax = 20

func (b *builder) link(rel schemas.LinkRelation, id string) {
	l := schemas.Link{Relation: rel, ID: id}
	for _, has := range b.rec.Links {
		if has == l {
			return
		}
	}
	if id != "" && len(b.rec.Links) < linksMax {
		b.rec.Links = append(b.rec.Links, l)
	}
}

// belong moves what a payment caused under its payment intent. A charge made without one is its own root, and a
// refund or dispute of it is under the charge.
func (b *builder) belong() error {
	intent, err := b.reference("payment_intent")
	if err != nil {
		return err
	}
	charge := ""
	if b.rec.Kind != schemas.KindPayment {
		if charge, err = b.reference("charge"); err != nil {
			return err
		}
	}
	b.link(schemas.LinkOrder, intent)
	b.link(schemas.LinkCapture, charge)
	if root := cmp.Or(intent, charge); root != "" {
		b.rec.RootID = root
	}
	return nil
}

func (b *builder) status(table map[string]schemas.PaymentStatus) {
	b.rec.ProviderStatus = connectors.Cut(b.o.Text("status"), statusBytesMax)
	b.rec.Status = canonical(table, b.rec.ProviderStatus)
}

// customID is the shop's own order number: the reference of the session, else the metadata under the configured keys.
func (b *builder) customID() {
	id := b.o.Text("client_reference_id")
	for _, key := range b.n.orderKeys {
		id = cmp.Or(id, b.o.Text("metadata", key))
	}
	b.rec.CustomID = connectors.Cut(id, textBytesMax)
}
