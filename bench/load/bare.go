package main

import (
	"context"
	"fmt"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/shopspring/decimal"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// row is a record with its place.
type row[R any] struct {
	rec R
	at  *kgo.Record
}

// bare is what somebody writes in a day: poll, decode, gather, insert columns, commit. At least once: what was inserted
// before a crash and not committed is inserted again. It uses the product's decoder and its tables, and nothing else of it.
func bare(ctx context.Context, o options) error {
	conn, err := clickhouse.Open(clickhouseAt(o.clickhouse, o.database))
	if err != nil {
		return err
	}
	defer conn.Close()
	c := codec.NewLocal()
	cl, err := kgo.NewClient(kgo.SeedBrokers(o.kafka), kgo.ConsumerGroup(o.group), kgo.ConsumeTopics(o.topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxBytes(16<<20))
	if err != nil {
		return err
	}
	defer cl.Close()
	w := newWatch(o)
	if o.topic == schemas.TopicTransitions {
		return bareOf(ctx, o, cl, c, w, func(rows []row[*schemas.Transition]) error { return insertTransitions(ctx, conn, rows) })
	}
	return bareOf(ctx, o, cl, c, w, func(rows []row[*schemas.OrderEvent]) error { return insertEvents(ctx, conn, rows) })
}

func bareOf[R schemas.Record](ctx context.Context, o options, cl *kgo.Client, c *codec.Codec, w *watch, insert func([]row[R]) error) error {
	var rows []row[R]
	last := time.Now()
	for ctx.Err() == nil {
		patience, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		fetches := cl.PollRecords(patience, 10_000)
		cancel()
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			w.began()
			rec, err := c.Decode(r.Value)
			if err != nil {
				return err
			}
			rows = append(rows, row[R]{rec.(R), r})
		}
		if len(rows) < o.flushRows && (len(rows) == 0 || time.Since(last) < time.Second) {
			continue
		}
		if err := insert(rows); err != nil {
			return err
		}
		if err := cl.CommitUncommittedOffsets(ctx); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
		w.acknowledged(len(rows))
		rows, last = rows[:0], time.Now()
		select {
		case <-w.done:
			return w.tell()
		default:
		}
	}
	return ctx.Err()
}

// columns gathers the columns of one insert.
type columns struct {
	names  []string
	values []any
}

func add[R, V any](c *columns, rows []row[R], name string, get func(R) V) {
	values := make([]V, len(rows))
	for i := range rows {
		values[i] = get(rows[i].rec)
	}
	c.names, c.values = append(c.names, name), append(c.values, values)
}

func (c *columns) place(name string, n int, get func(int) any, kind any) {
	switch kind.(type) {
	case string:
		values := make([]string, n)
		for i := range values {
			values[i] = get(i).(string)
		}
		c.names, c.values = append(c.names, name), append(c.values, values)
	case int32:
		values := make([]int32, n)
		for i := range values {
			values[i] = get(i).(int32)
		}
		c.names, c.values = append(c.names, name), append(c.values, values)
	case int64:
		values := make([]int64, n)
		for i := range values {
			values[i] = get(i).(int64)
		}
		c.names, c.values = append(c.names, name), append(c.values, values)
	default:
		values := make([]time.Time, n)
		for i := range values {
			values[i] = get(i).(time.Time)
		}
		c.names, c.values = append(c.names, name), append(c.values, values)
	}
}

func places[R any](c *columns, rows []row[R]) {
	n := len(rows)
	c.place("_topic", n, func(i int) any { return rows[i].at.Topic }, "")
	c.place("_partition", n, func(i int) any { return rows[i].at.Partition }, int32(0))
	c.place("_offset", n, func(i int) any { return rows[i].at.Offset }, int64(0))
	c.place("_at", n, func(i int) any { return rows[i].at.Timestamp }, nil)
}

func (c *columns) send(ctx context.Context, conn driver.Conn, table string) error {
	text := "INSERT INTO " + table + " ("
	for i, name := range c.names {
		if i > 0 {
			text += ", "
		}
		text += name
	}
	batch, err := conn.PrepareBatch(clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0})), text+")")
	if err != nil {
		return err
	}
	defer func() { _ = batch.Close() }()
	for i, values := range c.values {
		if err := batch.Column(i).Append(values); err != nil {
			return fmt.Errorf("column %s: %w", c.names[i], err)
		}
	}
	return batch.Send()
}

func amountOf(a *schemas.Amount) *decimal.Decimal {
	if a == nil {
		return nil
	}
	return moneyOf(a.Value)
}

func moneyOf(text string) *decimal.Decimal {
	d, err := decimal.NewFromString(text)
	if err != nil {
		return nil
	}
	return &d
}

func currencyOf(a *schemas.Amount) string {
	if a == nil {
		return ""
	}
	return a.Currency
}

func payerOf(p *schemas.Payer) schemas.Payer {
	if p == nil {
		return schemas.Payer{}
	}
	return *p
}

func payers[R any](c *columns, rows []row[R], get func(R) *schemas.Payer) {
	add(c, rows, "payer_email", func(r R) string { return payerOf(get(r)).Email })
	add(c, rows, "payer_given_name", func(r R) string { return payerOf(get(r)).GivenName })
	add(c, rows, "payer_surname", func(r R) string { return payerOf(get(r)).Surname })
	add(c, rows, "payer_full_name", func(r R) string { return payerOf(get(r)).FullName })
	add(c, rows, "payer_phone", func(r R) string { return payerOf(get(r)).Phone })
	add(c, rows, "payer_id", func(r R) string { return payerOf(get(r)).PayerID })
	add(c, rows, "payer_country", func(r R) string { return payerOf(get(r)).Address.Country })
}

func insertEvents(ctx context.Context, conn driver.Conn, rows []row[*schemas.OrderEvent]) error {
	type E = *schemas.OrderEvent
	var c columns
	add(&c, rows, "environment", func(e E) string { return string(e.Environment) })
	add(&c, rows, "connection", func(e E) string { return e.Connection })
	add(&c, rows, "root_id", func(e E) string { return e.RootID })
	add(&c, rows, "event_id", func(e E) string { return e.EventID })
	add(&c, rows, "kind", func(e E) string { return string(e.Kind) })
	add(&c, rows, "provider", func(e E) string { return e.Provider })
	add(&c, rows, "resource", func(e E) string { return e.Resource })
	add(&c, rows, "entity_id", func(e E) string { return e.EntityID })
	add(&c, rows, "link_relations", func(e E) (list []string) {
		for _, l := range e.Links {
			list = append(list, string(l.Relation))
		}
		return list
	})
	add(&c, rows, "link_ids", func(e E) (list []string) {
		for _, l := range e.Links {
			list = append(list, l.ID)
		}
		return list
	})
	add(&c, rows, "event_type", func(e E) string { return e.EventType })
	add(&c, rows, "provider_status", func(e E) string { return e.ProviderStatus })
	add(&c, rows, "status", func(e E) string { return string(e.Status) })
	add(&c, rows, "provider_time", func(e E) time.Time { return e.ProviderTime })
	add(&c, rows, "sequence", func(e E) int64 { return e.Sequence })
	add(&c, rows, "received_at", func(e E) time.Time { return e.ReceivedAt })
	add(&c, rows, "delivery_ids", func(e E) []string { return e.DeliveryIDs })
	add(&c, rows, "origin", func(e E) string { return string(e.Origin) })
	add(&c, rows, "amount", func(e E) *decimal.Decimal { return amountOf(e.Amount) })
	add(&c, rows, "currency", func(e E) string { return currencyOf(e.Amount) })
	add(&c, rows, "refunded_total", func(e E) *decimal.Decimal { return amountOf(e.RefundedTotal) })
	add(&c, rows, "refunded_currency", func(e E) string { return currencyOf(e.RefundedTotal) })
	add(&c, rows, "contact_key", func(e E) string { return schemas.ContactKey(e.Environment, e.Payer) })
	add(&c, rows, "payer_line1", func(e E) string { return payerOf(e.Payer).Address.Line1 })
	add(&c, rows, "payer_line2", func(e E) string { return payerOf(e.Payer).Address.Line2 })
	add(&c, rows, "payer_city", func(e E) string { return payerOf(e.Payer).Address.City })
	add(&c, rows, "payer_state", func(e E) string { return payerOf(e.Payer).Address.State })
	add(&c, rows, "payer_postal_code", func(e E) string { return payerOf(e.Payer).Address.PostalCode })
	add(&c, rows, "custom_id", func(e E) string { return e.CustomID })
	add(&c, rows, "invoice_id", func(e E) string { return e.InvoiceID })
	add(&c, rows, "fields", func(e E) map[string]string { return e.Fields })
	add(&c, rows, "body", func(e E) []byte { return e.Body })
	add(&c, rows, "body_hash", func(e E) string { return e.BodyHash })
	add(&c, rows, "fingerprint", func(e E) string { return e.Fingerprint })
	add(&c, rows, "test", func(e E) bool { return e.Test })
	add(&c, rows, "problem", func(e E) string { return e.Problem })
	add(&c, rows, "problem_cause", func(e E) string { return e.ProblemCause })
	add(&c, rows, "headers", func(e E) map[string]string { return e.Headers })
	add(&c, rows, "versioned", func(e E) bool { return e.Versioned })
	add(&c, rows, "deleted", func(e E) bool { return e.Deleted })
	payers(&c, rows, func(e E) *schemas.Payer { return e.Payer })
	places(&c, rows)
	return c.send(ctx, conn, "events")
}

func insertTransitions(ctx context.Context, conn driver.Conn, rows []row[*schemas.Transition]) error {
	type T = *schemas.Transition
	var c columns
	add(&c, rows, "root_key", func(t T) string { return t.RootKey })
	add(&c, rows, "number", func(t T) int64 { return t.Number })
	add(&c, rows, "root_kind", func(t T) string { return string(t.RootKind) })
	add(&c, rows, "environment", func(t T) string { return string(t.Event.Environment) })
	add(&c, rows, "connection", func(t T) string { return t.Event.Connection })
	add(&c, rows, "root_id", func(t T) string {
		_, _, id, _ := schemas.SplitRootKey(t.RootKey)
		return id
	})
	add(&c, rows, "disposition", func(t T) string { return string(t.Disposition) })
	add(&c, rows, "from_status", func(t T) string { return string(t.From) })
	add(&c, rows, "to_status", func(t T) string { return string(t.To) })
	add(&c, rows, "legal", func(t T) bool { return t.Legal })
	add(&c, rows, "why", func(t T) string { return t.Why })
	add(&c, rows, "orphan", func(t T) bool { return t.Orphan })
	add(&c, rows, "provider", func(t T) string { return t.Event.Provider })
	add(&c, rows, "event_id", func(t T) string { return t.Event.EventID })
	add(&c, rows, "event_kind", func(t T) string { return string(t.Event.Kind) })
	add(&c, rows, "event_type", func(t T) string { return t.Event.EventType })
	add(&c, rows, "entity_id", func(t T) string { return t.Event.EntityID })
	add(&c, rows, "provider_status", func(t T) string { return t.Event.ProviderStatus })
	add(&c, rows, "event_status", func(t T) string { return string(t.Event.Status) })
	add(&c, rows, "provider_time", func(t T) time.Time { return t.Event.ProviderTime })
	add(&c, rows, "received_at", func(t T) time.Time { return t.Event.ReceivedAt })
	add(&c, rows, "origin", func(t T) string { return string(t.Event.Origin) })
	add(&c, rows, "delivery_ids", func(t T) []string { return t.Event.DeliveryIDs })
	add(&c, rows, "body_hash", func(t T) string { return t.Event.BodyHash })
	add(&c, rows, "amount", func(t T) *decimal.Decimal { return amountOf(t.Event.Amount) })
	add(&c, rows, "amount_currency", func(t T) string { return currencyOf(t.Event.Amount) })
	add(&c, rows, "paid", func(t T) *decimal.Decimal { return moneyOf(t.Paid) })
	add(&c, rows, "refunded", func(t T) *decimal.Decimal { return moneyOf(t.Refunded) })
	add(&c, rows, "currency", func(t T) string { return t.Currency })
	add(&c, rows, "contact_key", func(t T) string { return t.ContactKey })
	add(&c, rows, "test", func(t T) bool { return t.Event.Test })
	add(&c, rows, "at", func(t T) time.Time { return t.At })
	payers(&c, rows, func(t T) *schemas.Payer { return t.Payer })
	places(&c, rows)
	return c.send(ctx, conn, "transitions")
}
