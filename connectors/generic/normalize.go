package generic

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/money"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

// Bounds of what is read.
const (
	batchEventsMax    = 1000
	idBytesMax        = 128
	typeBytesMax      = 128
	attributeBytesMax = 1024
	statusBytesMax    = 200
	problemBytesMax   = 500
	shortHash         = 16 // hex digits of a hash inside an id
)

// normalize turns one delivery into its records: one, or one for each event of a batch. An event of a batch that is not
// understood becomes a record with a Problem; the others are not held up by it.
func (d *dialect) normalize(in connectors.Delivery) ([]schemas.OrderEvent, error) {
	var e *envelope
	var err error
	switch modeOf(in.Headers) {
	case batch:
		return d.batch(in)
	case structured:
		if media := mediaType(in.Headers); media != mediaStructured {
			return nil, fmt.Errorf("content-type: %.60q; only the JSON form of CloudEvents is read", media)
		}
		e, err = readStructured(in.Body)
	case binary:
		e, err = readBinary(in)
	default:
		if media := mediaType(in.Headers); !isJSON(media) {
			return nil, fmt.Errorf("content-type: %.60q is not JSON", media)
		}
		e, err = readPlain(in)
	}
	if err != nil {
		return nil, err
	}
	if mediaType(in.Headers) == OrderMediaType {
		d = d.proposed
	}
	rec, err := d.record(in, e)
	if err != nil {
		return nil, err
	}
	return []schemas.OrderEvent{rec}, nil
}

func (d *dialect) batch(in connectors.Delivery) ([]schemas.OrderEvent, error) {
	items, err := splitBatch(in.Body)
	if err != nil {
		return nil, err
	}
	out := make([]schemas.OrderEvent, 0, len(items))
	for i, item := range items {
		one := in
		// The record's bytes and headers read by themselves later, without the rest of the batch.
		one.Body, one.Headers = item, map[string]string{headerType: mediaStructured}
		if in.ID != "" { // two events of one order are not one delivery with two contents
			one.ID = in.ID + "#" + strconv.Itoa(i+1)
		}
		var rec schemas.OrderEvent
		e, err := readStructured(item)
		if err == nil {
			rec, err = d.record(one, e)
		}
		if err != nil {
			rec = unreadable(one, fmt.Errorf("event %d of the batch: %w", i+1, err))
		}
		out = append(out, rec)
	}
	return out, nil
}

// unreadable keeps one event of a batch with the reason why it has no meaning.
func unreadable(d connectors.Delivery, err error) schemas.OrderEvent {
	sum := hash(d.Body)
	rec := base(d)
	rec.EventID, rec.RootID, rec.Fingerprint, rec.Kind, rec.Fields = sum, sum, sum, schemas.KindOther, map[string]string{}
	rec.ProviderTime, rec.Problem = d.ReceivedAt, connectors.Cut(strings.ToValidUTF8(err.Error(), "\uFFFD"), problemBytesMax)
	return rec
}

// base fills what does not hang on the body's meaning.
func base(d connectors.Delivery) schemas.OrderEvent {
	rec := schemas.OrderEvent{
		Provider: Type, Environment: d.Environment, Connection: d.Connection, Status: schemas.StatusUnknown, ReceivedAt: d.ReceivedAt,
		Origin: d.Origin, Links: []schemas.Link{}, DeliveryIDs: []string{}, Body: d.Body, BodyHash: hash(d.Body), Test: d.Test,
		Headers: d.Headers,
	}
	if d.ID != "" {
		rec.DeliveryIDs = []string{d.ID}
	}
	return rec
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// record reads one event.
func (d *dialect) record(in connectors.Delivery, e *envelope) (schemas.OrderEvent, error) {
	rec := base(in)
	if err := d.identify(&rec, e); err != nil {
		return rec, err
	}
	version, err := d.order(&rec, e)
	if err != nil {
		return rec, err
	}
	if err := d.state(&rec, e); err != nil {
		return rec, err
	}
	if err := d.money(&rec, e); err != nil {
		return rec, err
	}
	rec.Payer = d.payer(e)
	rec.InvoiceID, rec.CustomID = connectors.Cut(d.text(e, "invoice_id"), textBytesMax), connectors.Cut(d.text(e, "reference"), textBytesMax)
	rec.Fields, err = d.fields(&rec, e)
	if err != nil {
		return rec, err
	}
	rec.Fingerprint = hash(strictjson.AppendCanonical(make([]byte, 0, len(in.Body)), e.content))
	if rec.EventID = e.eventID; rec.EventID == "" {
		rec.EventID = rec.EventType + ":" + rec.EntityID + ":" + version + ":" + rec.Fingerprint[:shortHash]
	}
	return rec, nil
}

// identify says what the event is about.
func (d *dialect) identify(rec *schemas.OrderEvent, e *envelope) error {
	typ := d.text(e, "type")
	if len(typ) > typeBytesMax || hasControl(typ) {
		return fmt.Errorf("%s: too long, or with a control character", d.where("type"))
	}
	kind := d.text(e, "kind")
	if kind != "" && !strings.EqualFold(kind, string(schemas.KindOrder)) && !strings.EqualFold(kind, string(schemas.KindSubscription)) {
		return fmt.Errorf("%s: %.40q is neither order nor subscription", d.where("kind"), kind)
	}
	rec.Kind, rec.Resource = schemas.KindOrder, ResourceOrders
	name := "order_id"
	if d.subscription(typ, kind) {
		rec.Kind, rec.Resource = schemas.KindSubscription, ResourceSubscriptions
		if d.text(e, "subscription_id") != "" {
			name = "subscription_id"
		}
	}
	if typ == "" {
		typ = strings.ToLower(string(rec.Kind)) + ".status_changed"
	}
	rec.EventType, rec.EntityID = typ, d.text(e, name)
	if err := checkID(rec.EntityID); err != nil {
		return fmt.Errorf("%s: %w", d.where(name), err)
	}
	rec.RootID = rec.EntityID
	return nil
}

// order says where the event stands among those of its root. version is that as text.
func (d *dialect) order(rec *schemas.OrderEvent, e *envelope) (version string, err error) {
	v, _ := d.at(e, "occurred_at")
	if v == nil {
		return "", fmt.Errorf("%s: missing", d.where("occurred_at"))
	}
	if rec.ProviderTime, err = parseTime(v); err != nil {
		return "", fmt.Errorf("%s: %w", d.where("occurred_at"), err)
	}
	version = rec.ProviderTime.Format(time.RFC3339Nano)
	if text := d.text(e, "version"); text != "" {
		if rec.Sequence, err = count(text); err != nil {
			return "", fmt.Errorf("%s: %w", d.where("version"), err)
		}
	}
	switch d.ordering {
	case OrderingVersion:
		if d.text(e, "version") == "" {
			return "", fmt.Errorf("%s: missing; this connection orders events by it", d.where("version"))
		}
	case OrderingSequence:
		if rec.Sequence, err = sequence(d.text(e, "sequence"), e.attributes.Text("sequencetype")); err != nil {
			return "", fmt.Errorf("%s: %w", d.where("sequence"), err)
		}
	default:
		return version, nil
	}
	rec.Versioned = true
	return strconv.FormatInt(rec.Sequence, 10), nil
}

// count reads a whole number that is not negative.
func count(text string) (int64, error) {
	if strings.ContainsFunc(text, func(r rune) bool { return r < '0' || r > '9' }) {
		return 0, fmt.Errorf("%.40q is no whole number", text)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%.40q is larger than %d digits hold", text, sequenceDigitsMax)
	}
	return n, nil
}

const (
	sequenceDigitsMax = 18
	// sequenceDigitsSteady: a number this long that counts up (milliseconds since 1970, for example) keeps its length.
	sequenceDigitsSteady = 13
)

// sequence maps the CloudEvents extension to a number. It is compared as text: only digits that were padded to one
// length come out in the same order as their number. Sequencetype Integer says that they are numbers.
func sequence(text, sequenceType string) (int64, error) {
	switch {
	case text == "":
		return 0, errors.New("missing; this connection orders events by it")
	case strings.ContainsFunc(text, func(r rune) bool { return r < '0' || r > '9' }):
		return 0, fmt.Errorf("%.40q is not made of digits; number the events, zero-padded, or order by time", text)
	case len(text) > sequenceDigitsMax:
		return 0, fmt.Errorf("%.40q has more than %d digits", text, sequenceDigitsMax)
	case text[0] != '0' && len(text) < sequenceDigitsSteady && !strings.EqualFold(sequenceType, "Integer"):
		return 0, fmt.Errorf("%.40q is not padded with zeros: as text, 9 comes after 10; pad it, or send sequencetype Integer", text)
	}
	return strconv.ParseInt(text, 10, 64)
}

// state reads the status. A removal claims none: whether it cancels anything is for the order's own story to say.
func (d *dialect) state(rec *schemas.OrderEvent, e *envelope) error {
	word, raw := d.text(e, "status"), d.text(e, "raw_status")
	if len(word) > statusBytesMax || len(raw) > statusBytesMax {
		return fmt.Errorf("%s: longer than %d bytes", d.where("status"), statusBytesMax)
	}
	rec.ProviderStatus = cmp.Or(raw, word)
	if deleted := d.text(e, "deleted"); deleted == "true" || deleted == "1" || strings.HasSuffix(rec.EventType, ".deleted") {
		rec.Deleted = true
		return nil
	}
	if word == "" && raw == "" {
		return fmt.Errorf("%s: missing", d.where("status"))
	}
	rec.Status = d.status(rec.Kind, word, raw)
	return nil
}

func (d *dialect) money(rec *schemas.OrderEvent, e *envelope) (err error) {
	if rec.Amount, err = d.amount(e, "amount"); err != nil {
		return err
	}
	rec.RefundedTotal, err = d.amount(e, "amount_refunded")
	if rec.RefundedTotal != nil { // some shops write what they gave back as a negative number
		rec.RefundedTotal.Value = strings.TrimPrefix(rec.RefundedTotal.Value, "-")
	}
	return err
}

// amount reads money in the connection's way of writing it; nil where there is none.
func (d *dialect) amount(e *envelope, name string) (*schemas.Amount, error) {
	v, _ := d.at(e, name)
	if v == nil {
		return nil, nil
	}
	text := textOf(v)
	if _, truth := v.(bool); truth || text == "" {
		return nil, fmt.Errorf("%s: not an amount of money", d.where(name))
	}
	code := d.text(e, "currency")
	if code == "" {
		return nil, fmt.Errorf("%s: missing, and %s is given", d.where("currency"), name)
	}
	currency, err := money.ParseCurrency(code)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.where("currency"), err)
	}
	if d.minor {
		units, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %.40q is no whole number of the currency's smallest unit", d.where(name), text)
		}
		text = money.FromMinor(Type, units, currency).Format(Type)
	}
	if err := money.Check(text, string(currency)); err != nil {
		return nil, fmt.Errorf("%s: %w", d.where(name), err)
	}
	return &schemas.Amount{Value: text, Currency: string(currency)}, nil
}

// Years outside are typing errors, and no store behind us could hold them.
const yearMin, yearMax = 1970, 2299

// unixSecondsMax tells seconds from milliseconds since 1970: it is the year 5138 in seconds, and March 1973 in the other.
const unixSecondsMax = 100_000_000_000

// parseTime reads RFC 3339, or a number of seconds or milliseconds since 1970. Millisecond precision.
func parseTime(v any) (time.Time, error) {
	var t time.Time
	switch v := v.(type) {
	case strictjson.Number:
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil {
			return time.Time{}, fmt.Errorf("%.60q is no whole number of seconds or milliseconds", string(v))
		}
		if t = time.UnixMilli(n); n > -unixSecondsMax && n < unixSecondsMax {
			t = time.Unix(n, 0)
		}
	case string:
		var err error
		if t, err = time.Parse(time.RFC3339, strings.TrimSpace(v)); err != nil {
			return time.Time{}, fmt.Errorf("%.60q is no date and time with its zone (2026-11-02T10:00:00Z)", v)
		}
	default:
		return time.Time{}, errors.New("not a date and time")
	}
	t = t.UTC().Truncate(time.Millisecond)
	if t.Year() < yearMin || t.Year() > yearMax {
		return time.Time{}, errors.New("not between 1970 and 2299")
	}
	return t, nil
}

func checkID(id string) error {
	if id == "" {
		return errors.New("missing")
	}
	if len(id) > idBytesMax || strings.ContainsFunc(id, unicode.IsSpace) || hasControl(id) {
		return fmt.Errorf("%.40q is no id: at most %d bytes, without spaces", id, idBytesMax)
	}
	return nil
}

func hasControl(text string) bool { return strings.ContainsFunc(text, unicode.IsControl) }
