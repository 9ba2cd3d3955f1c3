package clickhouse

import (
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// A block is what goes into one table in one insert, column by column.
type block struct {
	table   string // whose columns they are
	into    string // the table, or one like it
	columns []string
	values  []lazy
	rows    int
	// concealed are the columns that lose what names an erased person, erased the pseudonyms by row.
	concealed map[string]bool
	erased    map[int]string
}

// A table knows which records are its rows, and their columns.
type table interface {
	// takes reports whether the table holds records of this type.
	takes(schemas.Record) bool
	// block makes the insert for rows that the table takes. Its error is a *sinks.RowError.
	block(r sinks.Range, rows []*sinks.Row) (block, error)
}

type tableOf[R any] struct {
	name    string
	columns []column[R]
}

func (t tableOf[R]) takes(rec schemas.Record) bool {
	_, ok := rec.(R)
	return ok
}

func (t tableOf[R]) block(r sinks.Range, rows []*sinks.Row) (block, error) {
	cells := make([]cell[R], len(rows))
	for i, row := range rows {
		rec, _ := row.Record.(R) // of an undecodable row: none
		cells[i] = cell[R]{row, r, rec}
	}
	b := block{table: t.name, into: t.name, rows: len(rows)}
	for _, col := range t.columns {
		values, err := col.values(cells)
		if err != nil {
			return block{}, err
		}
		b.columns = append(b.columns, col.name)
		b.values = append(b.values, values)
	}
	return b, nil
}

// tableByTopic decides by topic, not by type alone: internal topics repeat records of the public ones.
func tableByTopic(topic string) (table, bool) {
	switch topic {
	case schemas.TopicPayPalEvents, schemas.TopicStoreOrders:
		return eventsTable, true
	case schemas.TopicTransitions:
		return transitionsTable, true
	case schemas.TopicRuns:
		return runStepsTable, true
	case schemas.TopicCommands:
		return commandsTable, true
	case schemas.TopicDeliveries:
		return deliveriesTable, true
	case schemas.TopicDeadLetters:
		return deadLettersTable, true
	case schemas.TopicConfig:
		return configVersionsTable, true
	case schemas.TopicJobs:
		return jobsTable, true
	case schemas.TopicJobItems:
		return jobItemsTable, true
	}
	return nil, false
}

// tableNames lists the tables of records, for the check of their settings.
var tableNames = []string{
	eventsTable.name, transitionsTable.name, runStepsTable.name, commandsTable.name, deliveriesTable.name,
	deadLettersTable.name, configVersionsTable.name, jobsTable.name, jobItemsTable.name, undecodableTable.name,
}

type event = *schemas.OrderEvent

var eventsTable = tableOf[event]{"events", slices.Concat([]column[event]{
	of("environment", func(c cell[event]) string { return string(c.rec.Environment) }),
	of("connection", func(c cell[event]) string { return c.rec.Connection }),
	of("root_id", func(c cell[event]) string { return c.rec.RootID }),
	of("event_id", func(c cell[event]) string { return c.rec.EventID }),
	of("kind", func(c cell[event]) string { return string(c.rec.Kind) }),
	of("provider", func(c cell[event]) string { return c.rec.Provider }),
	of("resource", func(c cell[event]) string { return c.rec.Resource }),
	of("entity_id", func(c cell[event]) string { return c.rec.EntityID }),
	of("link_relations", func(c cell[event]) []string {
		return each(c.rec.Links, func(l schemas.Link) string { return string(l.Relation) })
	}),
	of("link_ids", func(c cell[event]) []string { return each(c.rec.Links, func(l schemas.Link) string { return l.ID }) }),
	of("event_type", func(c cell[event]) string { return c.rec.EventType }),
	of("provider_status", func(c cell[event]) string { return c.rec.ProviderStatus }),
	of("status", func(c cell[event]) string { return string(c.rec.Status) }),
	instant("provider_time", func(c cell[event]) time.Time { return c.rec.ProviderTime }),
	of("sequence", func(c cell[event]) int64 { return c.rec.Sequence }),
	instant("received_at", func(c cell[event]) time.Time { return c.rec.ReceivedAt }),
	of("delivery_ids", func(c cell[event]) []string { return c.rec.DeliveryIDs }),
	of("origin", func(c cell[event]) string { return string(c.rec.Origin) }),
	checked("amount", func(c cell[event]) (*decimal.Decimal, error) { return exactAmount(c.rec.Amount) }),
	of("currency", func(c cell[event]) string { return currencyOf(c.rec.Amount) }),
	checked("refunded_total", func(c cell[event]) (*decimal.Decimal, error) { return exactAmount(c.rec.RefundedTotal) }),
	of("refunded_currency", func(c cell[event]) string { return currencyOf(c.rec.RefundedTotal) }),
	of("contact_key", func(c cell[event]) string { return schemas.ContactKey(c.rec.Environment, c.rec.Payer) }),
	of("payer_line1", func(c cell[event]) string { return address(c.rec.Payer).Line1 }),
	of("payer_line2", func(c cell[event]) string { return address(c.rec.Payer).Line2 }),
	of("payer_city", func(c cell[event]) string { return address(c.rec.Payer).City }),
	of("payer_state", func(c cell[event]) string { return address(c.rec.Payer).State }),
	of("payer_postal_code", func(c cell[event]) string { return address(c.rec.Payer).PostalCode }),
	of("custom_id", func(c cell[event]) string { return c.rec.CustomID }),
	of("invoice_id", func(c cell[event]) string { return c.rec.InvoiceID }),
	of("fields", func(c cell[event]) map[string]string { return c.rec.Fields }),
	of("body", func(c cell[event]) []byte { return c.rec.Body }),
	of("body_hash", func(c cell[event]) string { return c.rec.BodyHash }),
	of("fingerprint", func(c cell[event]) string { return c.rec.Fingerprint }),
	of("test", func(c cell[event]) bool { return c.rec.Test }),
	of("problem", func(c cell[event]) string { return c.rec.Problem }),
	of("problem_cause", func(c cell[event]) string { return c.rec.ProblemCause }),
	of("headers", func(c cell[event]) map[string]string { return c.rec.Headers }),
	of("versioned", func(c cell[event]) bool { return c.rec.Versioned }),
	of("deleted", func(c cell[event]) bool { return c.rec.Deleted }),
}, payerColumns(func(e event) *schemas.Payer { return e.Payer }), coordinates[event]())}

type transition = *schemas.Transition

var transitionsTable = tableOf[transition]{"transitions", slices.Concat([]column[transition]{
	of("root_key", func(c cell[transition]) string { return c.rec.RootKey }),
	of("number", func(c cell[transition]) int64 { return c.rec.Number }),
	of("root_kind", func(c cell[transition]) string { return string(c.rec.RootKind) }),
	of("environment", func(c cell[transition]) string { return string(c.rec.Event.Environment) }),
	of("connection", func(c cell[transition]) string { return c.rec.Event.Connection }),
	of("root_id", func(c cell[transition]) string {
		_, _, id, ok := schemas.SplitRootKey(c.rec.RootKey)
		if !ok {
			return c.rec.Event.RootID
		}
		return id
	}),
	of("disposition", func(c cell[transition]) string { return string(c.rec.Disposition) }),
	of("from_status", func(c cell[transition]) string { return string(c.rec.From) }),
	of("to_status", func(c cell[transition]) string { return string(c.rec.To) }),
	of("legal", func(c cell[transition]) bool { return c.rec.Legal }),
	of("why", func(c cell[transition]) string { return c.rec.Why }),
	of("orphan", func(c cell[transition]) bool { return c.rec.Orphan }),
	of("provider", func(c cell[transition]) string { return c.rec.Event.Provider }),
	of("event_id", func(c cell[transition]) string { return c.rec.Event.EventID }),
	of("event_kind", func(c cell[transition]) string { return string(c.rec.Event.Kind) }),
	of("event_type", func(c cell[transition]) string { return c.rec.Event.EventType }),
	of("entity_id", func(c cell[transition]) string { return c.rec.Event.EntityID }),
	of("provider_status", func(c cell[transition]) string { return c.rec.Event.ProviderStatus }),
	of("event_status", func(c cell[transition]) string { return string(c.rec.Event.Status) }),
	instant("provider_time", func(c cell[transition]) time.Time { return c.rec.Event.ProviderTime }),
	instant("received_at", func(c cell[transition]) time.Time { return c.rec.Event.ReceivedAt }),
	of("origin", func(c cell[transition]) string { return string(c.rec.Event.Origin) }),
	of("delivery_ids", func(c cell[transition]) []string { return c.rec.Event.DeliveryIDs }),
	of("body_hash", func(c cell[transition]) string { return c.rec.Event.BodyHash }),
	checked("amount", func(c cell[transition]) (*decimal.Decimal, error) { return exactAmount(c.rec.Event.Amount) }),
	of("amount_currency", func(c cell[transition]) string { return currencyOf(c.rec.Event.Amount) }),
	checked("paid", func(c cell[transition]) (*decimal.Decimal, error) { return exact(c.rec.Paid, c.rec.Currency) }),
	checked("refunded", func(c cell[transition]) (*decimal.Decimal, error) { return exact(c.rec.Refunded, c.rec.Currency) }),
	of("currency", func(c cell[transition]) string { return c.rec.Currency }),
	of("contact_key", func(c cell[transition]) string { return c.rec.ContactKey }),
	of("test", func(c cell[transition]) bool { return c.rec.Event.Test }),
	instant("at", func(c cell[transition]) time.Time { return c.rec.At }),
}, payerColumns(func(t transition) *schemas.Payer { return t.Payer }), coordinates[transition]())}

type command = *schemas.Command

var commandsTable = tableOf[command]{"commands", slices.Concat([]column[command]{
	of("destination", func(c cell[command]) string { return c.rec.Destination }),
	of("contact_key", func(c cell[command]) string { return c.rec.ContactKey }),
	of("command_id", func(c cell[command]) string { return c.rec.CommandID }),
	of("kind", func(c cell[command]) string { return string(c.rec.Kind) }),
	of("version", func(c cell[command]) int64 { return c.rec.Version }),
	of("contact_email", func(c cell[command]) string { return c.rec.Contact.Email }),
	of("contact_first_name", func(c cell[command]) string { return c.rec.Contact.FirstName }),
	of("contact_last_name", func(c cell[command]) string { return c.rec.Contact.LastName }),
	of("contact_phone", func(c cell[command]) string { return c.rec.Contact.Phone }),
	of("contact_fields", func(c cell[command]) map[string]string { return c.rec.Contact.Fields }),
	of("contact_tags", func(c cell[command]) []string { return c.rec.Contact.Tags }),
	of("contact_no_tags", func(c cell[command]) []string { return c.rec.Contact.NoTags }),
	of("effect_type", func(c cell[command]) string { return effect(c.rec).Type }),
	of("effect_name", func(c cell[command]) string { return effect(c.rec).Name }),
	of("effect_data", func(c cell[command]) string { return effect(c.rec).Data }),
	of("effect_arguments", func(c cell[command]) map[string]string { return effect(c.rec).Arguments }),
	of("config_version", func(c cell[command]) string { return c.rec.ConfigVersion }),
	of("root_key", func(c cell[command]) string { return c.rec.RootKey }),
	of("event_id", func(c cell[command]) string { return c.rec.EventID }),
	of("trigger", func(c cell[command]) string { return c.rec.Trigger }),
	of("issues", func(c cell[command]) []string { return c.rec.Issues }),
	of("rule", func(c cell[command]) string { return c.rec.Rule }),
	of("run_id", func(c cell[command]) string { return c.rec.RunID }),
	of("reasons", func(c cell[command]) []string { return c.rec.Reasons }),
	of("origin", func(c cell[command]) string { return string(c.rec.Origin) }),
	of("test", func(c cell[command]) bool { return c.rec.Test }),
	instant("at", func(c cell[command]) time.Time { return c.rec.At }),
}, coordinates[command]())}

type delivery = *schemas.Delivery

var deliveriesTable = tableOf[delivery]{"deliveries", slices.Concat([]column[delivery]{
	of("destination", func(c cell[delivery]) string { return c.rec.Destination }),
	of("command_id", func(c cell[delivery]) string { return c.rec.CommandID }),
	of("attempt", func(c cell[delivery]) int64 { return c.rec.Attempt }),
	of("kind", func(c cell[delivery]) string { return string(c.rec.Kind) }),
	of("contact_key", func(c cell[delivery]) string { return c.rec.ContactKey }),
	of("version", func(c cell[delivery]) int64 { return c.rec.Version }),
	of("outcome", func(c cell[delivery]) string { return string(c.rec.Outcome) }),
	checked("request_at", func(c cell[delivery]) ([]time.Time, error) {
		times := make([]time.Time, len(c.rec.Requests))
		for i, x := range c.rec.Requests {
			t, err := storable(x.At)
			if err != nil {
				return nil, err
			}
			times[i] = t
		}
		return times, nil
	}),
	exchange("request_method", func(x schemas.Exchange) string { return x.Method }),
	exchange("request_url", func(x schemas.Exchange) string { return x.URL }),
	exchange("request_body", func(x schemas.Exchange) string { return x.Request }),
	exchange("response_status", func(x schemas.Exchange) int64 { return x.Status }),
	exchange("response_body", func(x schemas.Exchange) string { return x.Response }),
	exchange("request_error", func(x schemas.Exchange) string { return x.Error }),
	exchange("request_millis", func(x schemas.Exchange) int64 { return x.Millis }),
	of("error", func(c cell[delivery]) string { return c.rec.Error }),
	of("remedy", func(c cell[delivery]) string { return c.rec.Remedy }),
	of("config_version", func(c cell[delivery]) string { return c.rec.ConfigVersion }),
	of("root_key", func(c cell[delivery]) string { return c.rec.RootKey }),
	of("event_id", func(c cell[delivery]) string { return c.rec.EventID }),
	of("origin", func(c cell[delivery]) string { return string(c.rec.Origin) }),
	of("test", func(c cell[delivery]) bool { return c.rec.Test }),
	instant("started_at", func(c cell[delivery]) time.Time { return c.rec.StartedAt }),
	instant("at", func(c cell[delivery]) time.Time { return c.rec.At }),
}, coordinates[delivery]())}

type deadLetter = *schemas.DeadLetter

// A dead letter is never refused: what cannot be stored as it is would come back as a dead letter about itself.
var deadLettersTable = tableOf[deadLetter]{"dead_letters", slices.Concat([]column[deadLetter]{
	of("id", func(c cell[deadLetter]) string { return c.rec.ID }),
	of("stage", func(c cell[deadLetter]) string { return c.rec.Stage }),
	of("cause", func(c cell[deadLetter]) string { return c.rec.Cause }),
	of("reason", func(c cell[deadLetter]) string { return c.rec.Reason }),
	of("remedy", func(c cell[deadLetter]) string { return c.rec.Remedy }),
	of("topic", func(c cell[deadLetter]) string { return c.rec.Topic }),
	of("partition", func(c cell[deadLetter]) int64 { return c.rec.Partition }),
	of("offset", func(c cell[deadLetter]) int64 { return c.rec.Offset }),
	of("key", func(c cell[deadLetter]) []byte { return c.rec.Key }),
	of("value", func(c cell[deadLetter]) []byte { return c.rec.Value }),
	of("event_id", func(c cell[deadLetter]) string { return c.rec.EventID }),
	of("root_key", func(c cell[deadLetter]) string { return c.rec.RootKey }),
	of("destination", func(c cell[deadLetter]) string { return c.rec.Destination }),
	of("contact_key", func(c cell[deadLetter]) string { return c.rec.ContactKey }),
	of("config_version", func(c cell[deadLetter]) string { return c.rec.ConfigVersion }),
	of("at", func(c cell[deadLetter]) time.Time { return nearest(c.rec.At) }),
}, totalCoordinates[deadLetter]())}

type configVersion = *schemas.ConfigVersion

var configVersionsTable = tableOf[configVersion]{"config_versions", slices.Concat([]column[configVersion]{
	of("version", func(c cell[configVersion]) string { return c.rec.Version }),
	of("files", func(c cell[configVersion]) map[string]string { return c.rec.Files }),
	instant("at", func(c cell[configVersion]) time.Time { return c.rec.At }),
}, coordinates[configVersion]())}

type noRecord struct{}

// An undecodable record is never refused either: it is inserted after the others of its range.
var undecodableTable = tableOf[noRecord]{"undecodable", slices.Concat([]column[noRecord]{
	of("key", func(c cell[noRecord]) []byte { return c.Key }),
	of("value", func(c cell[noRecord]) []byte { return c.Value }),
}, totalCoordinates[noRecord]())}

// totalCoordinates are coordinates that refuse nothing: a broker's timestamp out of range becomes the epoch.
func totalCoordinates[R any]() []column[R] {
	cols := coordinates[R]()
	cols[len(cols)-1] = of("_at", func(c cell[R]) time.Time { return nearest(c.At) })
	return cols
}

func nearest(t time.Time) time.Time {
	if ok, err := storable(t); err == nil {
		return ok
	}
	return time.UnixMilli(0).UTC()
}

func exchange[V any](name string, get func(schemas.Exchange) V) column[delivery] {
	return of(name, func(c cell[delivery]) []V { return each(c.rec.Requests, get) })
}

func each[T, V any](list []T, get func(T) V) []V {
	values := make([]V, len(list))
	for i, x := range list {
		values[i] = get(x)
	}
	return values
}

func address(p *schemas.Payer) schemas.Address {
	if p == nil {
		return schemas.Address{}
	}
	return p.Address
}

func effect(c *schemas.Command) schemas.Effect {
	if c.Effect == nil {
		return schemas.Effect{}
	}
	return *c.Effect
}
