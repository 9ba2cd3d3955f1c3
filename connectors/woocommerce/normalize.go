package woocommerce

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

	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/money"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

// Headers that a record keeps. Neither is covered by the signature.
const (
	headerTopic = "X-Wc-Webhook-Topic"
	// headerDelivery tells two removals of one order apart, whose bodies are equal. It is no id: it is shared by all
	// deliveries of a webhook in one second.
	headerDelivery = "X-Wc-Webhook-Delivery-Id"
)

// Topics of orders.
const (
	topicCreated  = "order.created"
	topicUpdated  = "order.updated"
	topicDeleted  = "order.deleted"
	topicRestored = "order.restored"
)

// object is a decoded JSON object. Older stores leave members out, and some plugins turn numbers into texts.
type object = strictjson.Object

// reader is the pure half of a connection.
type reader struct {
	words map[string]schemas.PaymentStatus // statuses of plugins, as configured
}

// normalize turns one webhook, or one listed order, into its record.
func (r reader) normalize(d connectors.Delivery) ([]schemas.OrderEvent, error) {
	v, err := strictjson.Parse(d.Body)
	if err != nil {
		return nil, err
	}
	body, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("body: not a JSON object")
	}
	o, topic := object(body), d.Headers[headerTopic]
	if topic == "" && o.Has("status") {
		topic = topicUpdated // an order that came without its headers
	}
	if !topicForm.MatchString(topic) {
		return nil, fmt.Errorf("%s: %.40q is no topic", headerTopic, topic)
	}
	rec := base(d, topic, o)
	switch {
	case !strings.HasPrefix(topic, "order."):
		err = other(&rec, o)
	case topic == topicDeleted:
		err = r.deleted(&rec, o)
	default:
		err = r.order(&rec, o)
	}
	if err != nil {
		return nil, err
	}
	return []schemas.OrderEvent{rec}, nil
}

var topicForm = regexp.MustCompile(`^[a-z0-9_.-]{1,100}$`)

// base fills what is the same for every topic. EventID holds the content's hash until identify completes it.
func base(d connectors.Delivery, topic string, o object) schemas.OrderEvent {
	raw := sha256.Sum256(d.Body)
	return schemas.OrderEvent{
		Kind: schemas.KindOther, Provider: Type, Environment: d.Environment, Connection: d.Connection, Resource: resourceOf(topic),
		EventType: topic, Status: schemas.StatusUnknown, ReceivedAt: d.ReceivedAt, Origin: d.Origin, Links: []schemas.Link{},
		DeliveryIDs: []string{}, Body: d.Body, BodyHash: hex.EncodeToString(raw[:]), Fingerprint: fingerprint(o), Test: d.Test,
		Headers: maps.Clone(d.Headers),
	}
}

// fingerprint is the hash of the content. Links say how the API was reached, and are none.
func fingerprint(o object) string {
	content := maps.Clone(map[string]any(o))
	delete(content, "_links")
	sum := sha256.Sum256(strictjson.AppendCanonical(nil, content))
	return hex.EncodeToString(sum[:])
}

// hashDigitsInID is how much of the content's hash an event id holds, in hexadecimal digits.
const hashDigitsInID = 16

// identify names the event after its content: whoever brings it, and however often, it is the same one.
func identify(rec *schemas.OrderEvent, kind schemas.EventKind, id, version string) {
	rec.Kind, rec.EntityID, rec.RootID = kind, id, id
	rec.EventID = rec.EventType + ":" + id + ":" + version + ":" + rec.Fingerprint[:hashDigitsInID]
}

var idForm = regexp.MustCompile(`^[1-9][0-9]{0,18}$`)

// orderID reads the id, which is never a float: the digits stay.
func orderID(o object) (string, error) {
	id := o.Text("id")
	switch {
	case idForm.MatchString(id):
		return id, nil
	case id == "" && o.Has("code"):
		return "", fmt.Errorf("id: missing; the store sent the error %.60q in place of the order: the user who owns the webhook may not read orders", o.Text("code"))
	case id == "":
		return "", errors.New("id: missing")
	}
	return "", fmt.Errorf("id: %.40q is no order id", id)
}

// order reads an order object of REST API v3.
func (r reader) order(rec *schemas.OrderEvent, o object) error {
	id, err := orderID(o)
	if err != nil {
		return err
	}
	version, err := versionTime(o)
	if err != nil {
		return err
	}
	identify(rec, schemas.KindOrder, id, version.Format(time.RFC3339))
	rec.ProviderTime = version
	word := o.Text("status")
	if word == "" {
		return errors.New("status: missing")
	}
	rec.ProviderStatus = connectors.Cut(word, textBytesMax)
	m, err := amounts(rec, o)
	if err != nil {
		return err
	}
	rec.Status = r.canonical(word, m)
	switch {
	case plainWord(word) == statusTrash:
		rec.Deleted = true // and a status of UNKNOWN: the word says nothing about payment
	case rec.EventType == topicRestored:
		rec.ProviderTime = rec.ReceivedAt // a removal has no time of its own, nor has what undoes it
	case rec.Status == schemas.StatusRefunded && rec.Amount != nil && m.refunded.LessThan(m.total):
		whole := *rec.Amount
		rec.RefundedTotal = &whole // older stores list no refunds; the word says that all went back
	}
	rec.Payer = payerOf(rec.Connection, o)
	rec.InvoiceID = connectors.Cut(o.Text("number"), textBytesMax)
	rec.CustomID = connectors.Cut(o.Text("transaction_id"), textBytesMax)
	rec.Fields = fieldsOf(o)
	return nil
}

// deleted reads the notice of a removal, which is the id alone. The topic is not signed: a whole order under this
// topic is only believed if it is in the trash itself.
func (r reader) deleted(rec *schemas.OrderEvent, o object) error {
	if o.Has("status") {
		if plainWord(o.Text("status")) != statusTrash {
			return fmt.Errorf("status: an order that is %.40q was announced as deleted", o.Text("status"))
		}
		return r.order(rec, o)
	}
	id, err := orderID(o)
	if err != nil {
		return err
	}
	identify(rec, schemas.KindOrder, id, connectors.Cut(rec.Headers[headerDelivery], hashDigitsInID))
	rec.ProviderTime, rec.ProviderStatus, rec.Deleted = rec.ReceivedAt, statusTrash, true
	rec.Fields = map[string]string{}
	return nil
}

// other keeps what concerns no order: another object of the store, or a custom action. Its root is never an order's.
func other(rec *schemas.OrderEvent, o object) error {
	what, _, _ := strings.Cut(rec.EventType, ".")
	id := o.Text("id")
	if id == "" && !o.Has("action") {
		return errors.New("id: missing")
	}
	identify(rec, schemas.KindOther, what+":"+connectors.Cut(id, idBytesMax), "")
	rec.EntityID = connectors.Cut(id, idBytesMax)
	rec.ProviderTime = rec.ReceivedAt
	if t, err := versionTime(o); err == nil {
		rec.ProviderTime = t
	}
	rec.Fields = map[string]string{}
	return nil
}

// versionTime is when the order was changed last, by UTC: the plain members are in the shop's own zone.
func versionTime(o object) (time.Time, error) {
	for _, name := range []string{"date_modified_gmt", "date_created_gmt"} {
		text := o.Text(name)
		if text == "" {
			continue
		}
		t, err := parseTime(text)
		if err != nil {
			return time.Time{}, fmt.Errorf("%s: %w", name, err)
		}
		return t, nil
	}
	return time.Time{}, errors.New("date_modified_gmt: missing")
}

// Years outside are typing errors, and no store behind us could hold them.
const yearMin, yearMax = 1970, 2299

// parseTime reads WooCommerce's form, which has no zone and means UTC in the _gmt members; one with a zone is taken too.
func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02T15:04:05", time.RFC3339} {
		t, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		if t = t.UTC().Truncate(time.Millisecond); t.Year() < yearMin || t.Year() > yearMax {
			break
		}
		return t, nil
	}
	return time.Time{}, fmt.Errorf("%.60q is no possible date and time", text)
}

// amounts reads the order's money. Refunds are negative texts in a list; the list says all that was given back.
func amounts(rec *schemas.OrderEvent, o object) (m balance, err error) {
	currency := strings.ToUpper(strings.TrimSpace(o.Text("currency")))
	m.method = o.Text("payment_method")
	_, err = parseTime(cmp.Or(o.Text("date_paid_gmt"), o.Text("date_paid")))
	m.paidTime = err == nil
	if rec.Amount, err = amountOf("total", o.Text("total"), currency); err != nil || rec.Amount == nil {
		return m, err
	}
	m.total = decimal.RequireFromString(rec.Amount.Value)
	if _, listed := o["refunds"].([]any); !listed {
		return m, nil
	}
	for i, refund := range o.Objects("refunds") {
		a, err := amountOf(fmt.Sprintf("refunds[%d].total", i), cmp.Or(refund.Text("total"), refund.Text("amount")), currency)
		if err != nil {
			return m, err
		}
		if a != nil {
			m.refunded = m.refunded.Add(decimal.RequireFromString(a.Value).Abs())
		}
	}
	rec.RefundedTotal = &schemas.Amount{Value: money.Amount{Decimal: m.refunded}.Text(), Currency: currency}
	return m, nil
}

// amountOf keeps the digits as they are; nil where there is none.
func amountOf(field, text, currency string) (*schemas.Amount, error) {
	if text == "" {
		return nil, nil
	}
	if err := money.Check(text, currency); err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	return &schemas.Amount{Value: text, Currency: currency}, nil
}
