package clickhouse

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/schemas"
)

// hops reads rows of one table that meet any of the conditions, each record once however often it was inserted, and
// adds what scan makes of them. columns must not hold the coordinates, which every row ends with.
func (s *Store) hops(ctx context.Context, t *Trace, table, columns string, where []string, sc scope,
	scan func(rows driver.Rows, coordinates ...any) (Hop, error),
) error {
	if len(where) == 0 {
		return nil
	}
	const ends = ", _topic, _topic_id, _partition, _offset, _at"
	var parts []string
	for _, w := range where {
		parts = append(parts, "SELECT "+columns+ends+" FROM "+table+" WHERE "+w)
	}
	sql := fmt.Sprintf("SELECT * FROM (%s) ORDER BY _at, _topic, _topic_id, _partition, _offset LIMIT 1 BY _topic, _topic_id, _partition, _offset LIMIT %d",
		strings.Join(parts, " UNION ALL "), HopsMax+1)
	rows, err := s.conn.Query(ctx, sql, clickhouse.Named("roots", set(sc.roots)), clickhouse.Named("rootids", set(lastParts(sc.roots))),
		clickhouse.Named("contacts", set(sc.contacts)), clickhouse.Named("events", set(sc.events)),
		clickhouse.Named("runs", set(sc.runs)), clickhouse.Named("commands", set(sc.commands)), clickhouse.Named("id", t.ID))
	if err != nil {
		return explain(err, table)
	}
	defer func() { _ = rows.Close() }()
	for n := 0; rows.Next(); n++ {
		if n == HopsMax {
			t.Truncated = true
			break
		}
		var c Coordinates
		var at time.Time
		h, err := scan(rows, &c.Topic, &c.TopicID, &c.Partition, &c.Offset, &at)
		if err != nil {
			return fmt.Errorf("read %s: %w", table, err)
		}
		h.Coordinates = c
		t.Hops = append(t.Hops, h)
	}
	return rows.Err()
}

// lastParts are the ids in root keys: events are sorted by them.
func lastParts(roots []string) []string {
	var ids []string
	for _, key := range roots {
		if _, _, id, ok := schemas.SplitRootKey(key); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// conditions are those of a scope's parts that are not empty.
func (sc scope) conditions(root, contact, event string) []string {
	var where []string
	if len(sc.roots) > 0 && root != "" {
		where = append(where, root)
	}
	if len(sc.contacts) > 0 && contact != "" {
		where = append(where, contact)
	}
	if len(sc.events) > 0 && event != "" {
		where = append(where, event)
	}
	return where
}

// orRuns adds the condition of single runs.
func (sc scope) orRuns(where []string) []string {
	if len(sc.runs) > 0 {
		where = append(where, "run_id IN @runs")
	}
	return where
}

// ofOne leaves the roots and contacts in and takes single events only where nothing wider is asked for: a root's own
// commands, deliveries and dead letters carry its key.
func (sc scope) ofOne() scope {
	if len(sc.roots) > 0 || len(sc.contacts) > 0 {
		sc.events = nil
	}
	return sc
}

func (s *Store) received(ctx context.Context, sc scope, t *Trace) error {
	const columns = `environment, connection, root_id, event_id, event_type, provider_status, status, entity_id, provider_time, received_at,
		delivery_ids, origin, amount, currency, contact_key, length(body) AS body_bytes, body_hash, test, problem`
	where := sc.conditions("root_id IN @rootids AND concat(environment, '/', connection, '/', root_id) IN @roots",
		"contact_key IN @contacts", "event_id IN @events")
	return s.hops(ctx, t, "events", columns, where, sc, func(rows driver.Rows, coordinates ...any) (Hop, error) {
		var environment, connection, root, event, typ, providerStatus, status, entity, origin, currency, contact, hash, problem string
		var providerTime, received time.Time
		var deliveries []string
		var amount *decimal.Decimal
		var bytes uint64
		var test bool
		err := rows.Scan(append([]any{
			&environment, &connection, &root, &event, &typ, &providerStatus, &status, &entity, &providerTime, &received,
			&deliveries, &origin, &amount, &currency, &contact, &bytes, &hash, &test, &problem,
		}, coordinates...)...)
		return Hop{At: received, Kind: HopReceived, Title: "Received " + typ, Detail: details(
			"event", event, "order", environment+"/"+connection+"/"+root, "entity", entity, "provider status", providerStatus, "status", status,
			"provider time", stamp(providerTime), "origin", origin, "deliveries", strings.Join(deliveries, ", "), "amount", moneyText(amount, currency),
			"contact", contact, "body bytes", strconv.FormatUint(bytes, 10), "body hash", hash, "test", flag(test), "problem", problem)}, err
	})
}

func (s *Store) transitions(ctx context.Context, sc scope, t *Trace) error {
	const columns = "root_key, number, disposition, from_status, to_status, legal, why, orphan, event_id, event_type, paid, refunded, currency, contact_key, at"
	where := sc.ofOne().conditions("root_key IN @roots", "contact_key IN @contacts", "event_id IN @events")
	return s.hops(ctx, t, "transitions", columns, where, sc, func(rows driver.Rows, coordinates ...any) (Hop, error) {
		var root, disposition, from, to, why, event, typ, currency, contact string
		var number int64
		var legal, orphan bool
		var paid, refunded *decimal.Decimal
		var at time.Time
		err := rows.Scan(append([]any{&root, &number, &disposition, &from, &to, &legal, &why, &orphan, &event, &typ, &paid, &refunded, &currency, &contact, &at},
			coordinates...)...)
		title := "Status stays " + to
		if from != to {
			title = "Status " + or(from, "none") + " to " + to
		}
		return Hop{At: at, Kind: HopTransition, Title: title, Detail: details(
			"disposition", disposition, "why", why, "number", strconv.FormatInt(number, 10), "order", root, "from", from, "to", to, "legal", yesNo(legal),
			"orphan", flag(orphan), "event", event, "event type", typ, "paid", moneyText(paid, currency), "refunded", moneyText(refunded, currency),
			"contact", contact)}, err
	})
}

func (s *Store) commands(ctx context.Context, sc scope, t *Trace) error {
	const columns = `destination, contact_key, command_id, kind, version, contact_email, contact_first_name, contact_last_name, contact_phone,
		contact_fields, contact_tags, contact_no_tags, effect_type, effect_name, effect_data, effect_arguments, config_version, root_key, event_id, trigger,
		issues, rule, run_id, reasons, at`
	where := sc.orRuns(sc.ofOne().conditions("root_key IN @roots", "contact_key IN @contacts", "event_id IN @events"))
	return s.hops(ctx, t, "commands", columns, where, sc, func(rows driver.Rows, coordinates ...any) (Hop, error) {
		var destination, contact, id, kind, email, first, last, phone, effectType, effectName, effectData, config, root, event, trigger, rule, run string
		var version int64
		var fields, arguments map[string]string
		var tags, noTags, issues, reasons []string
		var at time.Time
		err := rows.Scan(append([]any{
			&destination, &contact, &id, &kind, &version, &email, &first, &last, &phone, &fields, &tags, &noTags,
			&effectType, &effectName, &effectData, &arguments, &config, &root, &event, &trigger, &issues, &rule, &run, &reasons, &at,
		}, coordinates...)...)
		title := "Desired contact version " + strconv.FormatInt(version, 10) + " for " + destination
		if effectType != "" {
			title = "Effect " + effectType + " " + effectName + " for " + destination
		}
		if kind == string(schemas.CommandQuestion) {
			title = "Question " + effectType + " " + effectName + " to " + destination
		}
		d := details("command", id, "config version", config, "contact", contact, "order", root, "event", event, "trigger", trigger,
			"rule", rule, "run", run, "email", email, "first name", first, "last name", last, "phone", phone)
		for _, name := range sortedKeys(fields) {
			d = append(d, Pair{"field " + name, fields[name]})
		}
		for _, name := range sortedKeys(arguments) {
			d = append(d, Pair{"argument " + name, arguments[name]})
		}
		return Hop{At: at, Kind: HopCommand, Title: title, Detail: append(d, details("tags", strings.Join(tags, ", "),
			"tags removed", strings.Join(noTags, ", "), "reasons", strings.Join(reasons, "; "), "not mapped", strings.Join(issues, "; "), "effect", effectType, "effect name", effectName, "effect data", effectData)...)}, err
	})
}

func (s *Store) deliveries(ctx context.Context, sc scope, t *Trace) error {
	const columns = `destination, command_id, attempt, kind, contact_key, version, outcome, request_method, request_url, request_body,
		response_status, response_body, request_error, request_millis, error, remedy, config_version, root_key, event_id, started_at, at`
	where := sc.ofOne().conditions("root_key IN @roots", "contact_key IN @contacts", "event_id IN @events")
	if len(sc.commands) > 0 {
		where = append(where, "command_id IN @commands")
	}
	return s.hops(ctx, t, "deliveries", columns, where, sc, func(rows driver.Rows, coordinates ...any) (Hop, error) {
		var destination, command, kind, contact, outcome, failure, remedy, config, root, event string
		var attempt, version int64
		var method, url, request, response, requestError []string
		var status, millis []int64
		var started, at time.Time
		err := rows.Scan(append([]any{
			&destination, &command, &attempt, &kind, &contact, &version, &outcome, &method, &url, &request, &status, &response,
			&requestError, &millis, &failure, &remedy, &config, &root, &event, &started, &at,
		}, coordinates...)...)
		d := details("command", command, "attempt", strconv.FormatInt(attempt, 10), "contact", contact, "order", root, "event", event,
			"config version", config, "started", stamp(started), "error", failure, "remedy", remedy)
		for i := range method {
			n := strconv.Itoa(i + 1)
			answer := strconv.FormatInt(status[i], 10) + " in " + strconv.FormatInt(millis[i], 10) + " ms"
			if status[i] == 0 {
				answer = "no answer"
			}
			d = append(d, details("request "+n, method[i]+" "+url[i], "request "+n+" body", request[i], "answer "+n, answer,
				"answer "+n+" body", response[i], "error "+n, requestError[i])...)
		}
		return Hop{At: at, Kind: HopDelivery, Title: outcome + " at " + destination, Detail: d}, err
	})
}

func (s *Store) deadLetters(ctx context.Context, sc scope, t *Trace) error {
	const columns = "id, stage, cause, reason, remedy, topic, partition, offset, length(value) AS value_bytes, event_id, root_key, destination, contact_key, config_version, at"
	where := append(sc.conditions("root_key IN @roots", "contact_key IN @contacts", "event_id IN @events"), "id = @id")
	return s.hops(ctx, t, "dead_letters", columns, where, sc, func(rows driver.Rows, coordinates ...any) (Hop, error) {
		var id, stage, cause, reason, remedy, topic, event, root, destination, contact, config string
		var partition, offset int64
		var bytes uint64
		var at time.Time
		err := rows.Scan(append([]any{&id, &stage, &cause, &reason, &remedy, &topic, &partition, &offset, &bytes, &event, &root, &destination, &contact, &config, &at},
			coordinates...)...)
		source := ""
		if topic != "" {
			source = fmt.Sprintf("%s/%d/%d", topic, partition, offset)
		}
		return Hop{At: at, Kind: HopDeadLetter, Title: "Dead letter " + cause, Detail: details("id", id, "stage", stage, "reason", reason, "remedy", remedy,
			"source", source, "value bytes", strconv.FormatUint(bytes, 10), "event", event, "order", root, "destination", destination, "contact", contact,
			"config version", config)}, err
	})
}
