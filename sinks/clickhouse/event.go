package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/shopspring/decimal"
)

// EventWhole is one record of an event with all that is stored of it. Most of it is personal data.
type EventWhole struct {
	EventRow
	Resource, CustomID, InvoiceID, Fingerprint      string
	Sequence                                        int64
	RefundedTotal                                   *decimal.Decimal
	RefundedCurrency                                string
	Relations, Links, DeliveryIDs                   []string // Relations are those of Links, by position
	Email, GivenName, Surname, Phone, PayerID       string
	Line1, Line2, City, Region, PostalCode, Country string
	Fields, Headers                                 map[string]string
	Body                                            string
	BodyHash                                        string
	// Records are all of the event, the oldest first, at most EventsPageMax.
	Records []EventRow
}

// ErrNoEvent is returned for an id that no stored event has.
var ErrNoEvent = errors.New("no such event")

// Event finds one event by the provider's id of it, which gives its oldest record, or by the name of a record.
func (s *Store) Event(ctx context.Context, id string) (EventWhole, error) {
	id = strings.TrimSpace(id)
	if id == "" || len(id) > idBytesMax {
		return EventWhole{}, fmt.Errorf("%w: give the id of an event, or the name of its record, such as paypal.events-3-1042", ErrFilter)
	}
	ctx, cancel := context.WithTimeout(ctx, SearchTimeout)
	defer cancel()
	e, found, err := s.event(ctx, "event_id = @id", clickhouse.Named("id", id))
	if err != nil {
		return EventWhole{}, err
	}
	if topic, partition, offset, ok := splitRecord(id); !found && ok {
		e, found, err = s.event(ctx, "_offset = @offset AND _partition = @partition AND _topic = @topic",
			clickhouse.Named("topic", topic), clickhouse.Named("partition", partition), clickhouse.Named("offset", offset))
		if err != nil {
			return EventWhole{}, err
		}
	}
	if !found {
		return EventWhole{}, ErrNoEvent
	}
	e.Records = []EventRow{e.EventRow}
	if e.EventID != "" {
		e.Records, err = s.records(ctx, e.EventRow)
	}
	return e, err
}

// splitRecord undoes EventRow.Record.
func splitRecord(name string) (topic string, partition int32, offset int64, ok bool) {
	rest, last, _ := cutLast(name)
	topic, middle, _ := cutLast(rest)
	number, err := strconv.ParseInt(middle, 10, 32)
	offset, errOffset := strconv.ParseInt(last, 10, 64)
	return topic, int32(number), offset, topic != "" && err == nil && errOffset == nil
}

func cutLast(text string) (before, after string, ok bool) {
	i := strings.LastIndexByte(text, '-')
	if i < 0 {
		return "", "", false
	}
	return text[:i], text[i+1:], true
}

func (s *Store) event(ctx context.Context, where string, params ...any) (e EventWhole, found bool, err error) {
	rows, err := s.conn.Query(ctx, "SELECT "+eventRowColumns+`, resource, custom_id, invoice_id, fingerprint, sequence, refunded_total, refunded_currency, link_relations, link_ids,
		delivery_ids, payer_email, payer_given_name, payer_surname, payer_phone, payer_id, payer_line1, payer_line2, payer_city, payer_state, payer_postal_code, payer_country,
		fields, headers, body, body_hash FROM events WHERE `+where+" ORDER BY _at, _topic, _topic_id, _partition, _offset LIMIT 1", params...)
	if err != nil {
		return e, false, fmt.Errorf("read the event: %w", explain(err, eventsTable.name))
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		found = true
		err := rows.Scan(append(e.into(), &e.Resource, &e.CustomID, &e.InvoiceID, &e.Fingerprint, &e.Sequence, &e.RefundedTotal, &e.RefundedCurrency, &e.Relations, &e.Links,
			&e.DeliveryIDs, &e.Email, &e.GivenName, &e.Surname, &e.Phone, &e.PayerID, &e.Line1, &e.Line2, &e.City, &e.Region, &e.PostalCode, &e.Country,
			&e.Fields, &e.Headers, &e.Body, &e.BodyHash)...)
		if err != nil {
			return e, false, fmt.Errorf("read the event: %w", err)
		}
		e.tidy()
	}
	if err := rows.Err(); err != nil {
		return e, false, fmt.Errorf("read the event: %w", explain(err, eventsTable.name))
	}
	return e, found, nil
}

// records are those of the event that one of them is of.
func (s *Store) records(ctx context.Context, of EventRow) ([]EventRow, error) {
	rows, err := s.conn.Query(ctx, "SELECT "+eventRowColumns+fmt.Sprintf(` FROM events WHERE event_id = @id AND environment = @environment AND connection = @connection
		ORDER BY _at, _topic, _topic_id, _partition, _offset LIMIT 1 BY _topic, _topic_id, _partition, _offset LIMIT %d`, EventsPageMax),
		clickhouse.Named("id", of.EventID), clickhouse.Named("environment", of.Environment), clickhouse.Named("connection", of.Connection))
	if err != nil {
		return nil, fmt.Errorf("read the event's records: %w", explain(err, eventsTable.name))
	}
	defer func() { _ = rows.Close() }()
	var list []EventRow
	for rows.Next() {
		var r EventRow
		if err := rows.Scan(r.into()...); err != nil {
			return nil, fmt.Errorf("read the event's records: %w", err)
		}
		r.tidy()
		list = append(list, r)
	}
	return list, rows.Err()
}
