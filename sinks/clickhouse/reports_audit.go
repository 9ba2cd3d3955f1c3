package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/tillstream/tillstream/schemas"
)

// Run is a row of offsets without a hole; both ends are part of it.
type Run struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// Stored is what the tables hold of one partition of a topic.
type Stored struct {
	Runs []Run // in order, apart from each other
	// Repeated counts rows beyond the first of their record. They are harmless: merges remove them and reports see one.
	Repeated uint64
	// Refused are the offsets that ClickHouse did not take and that are dead letters for it, in order.
	Refused []int64
}

// tableOfTopic names the table that holds the records of a topic.
func tableOfTopic(topic string) (string, bool) {
	switch topic {
	case schemas.TopicPayPalEvents, schemas.TopicStoreOrders:
		return eventsTable.name, true
	case schemas.TopicTransitions:
		return transitionsTable.name, true
	case schemas.TopicRuns:
		return runStepsTable.name, true
	case schemas.TopicCommands:
		return commandsTable.name, true
	case schemas.TopicDeliveries:
		return deliveriesTable.name, true
	case schemas.TopicDeadLetters:
		return deadLettersTable.name, true
	case schemas.TopicConfig:
		return configVersionsTable.name, true
	case schemas.TopicJobs:
		return jobsTable.name, true
	case schemas.TopicJobItems:
		return jobItemsTable.name, true
	}
	return "", false
}

// StoredOffsets tells which records of a partition are rows, from the first offset to before the last. The rows are those
// of the topic with that id: a topic that was deleted and made again is another one.
func (s *Store) StoredOffsets(ctx context.Context, topic, topicID string, partition int32, from, until int64) (Stored, error) {
	table, ok := tableOfTopic(topic)
	if !ok {
		return Stored{}, fmt.Errorf("topic %s has no table", topic)
	}
	named := []any{
		clickhouse.Named("topic", topic), clickhouse.Named("id", topicID), clickhouse.Named("partition", partition),
		clickhouse.Named("from", from), clickhouse.Named("until", until),
	}
	const where = ` WHERE _topic = @topic AND _topic_id = @id AND _partition = @partition AND _offset >= @from AND _offset < @until`
	var got Stored
	rows, err := s.conn.Query(ctx, `SELECT min(o) AS first, max(o) AS last, toUInt64(sum(n - 1)) AS repeated FROM
		(SELECT o, n, o - toInt64(row_number() OVER (ORDER BY o)) AS run FROM
			(SELECT _offset AS o, count() AS n FROM (SELECT _offset FROM `+table+where+` UNION ALL SELECT _offset FROM `+undecodableTable.name+where+`) GROUP BY _offset))
		GROUP BY run ORDER BY first`, named...)
	if err != nil {
		return Stored{}, fmt.Errorf("offsets of %s/%d in clickhouse: %w", topic, partition, explain(err, table))
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var r Run
		var repeated uint64
		if err := rows.Scan(&r.From, &r.To, &repeated); err != nil {
			return Stored{}, fmt.Errorf("offsets of %s/%d in clickhouse: %w", topic, partition, err)
		}
		got.Runs, got.Repeated = append(got.Runs, r), got.Repeated+repeated
	}
	if err := rows.Err(); err != nil {
		return Stored{}, fmt.Errorf("offsets of %s/%d in clickhouse: %w", topic, partition, explain(err, table))
	}
	err = s.conn.QueryRow(ctx, `SELECT groupUniqArray(offset) FROM dead_letters
		WHERE cause = @cause AND topic = @topic AND partition = @partition AND offset >= @from AND offset < @until`,
		append(named, clickhouse.Named("cause", schemas.CauseUnwritable))...).Scan(&got.Refused)
	if err != nil {
		return Stored{}, fmt.Errorf("refused offsets of %s/%d in clickhouse: %w", topic, partition, explain(err, deadLettersTable.name))
	}
	slices.Sort(got.Refused)
	return got, nil
}

// CountOffsets tells how many records of a partition are rows, from the first offset to before the last.
func (s *Store) CountOffsets(ctx context.Context, topic, topicID string, partition int32, from, until int64) (n int64, err error) {
	table, ok := tableOfTopic(topic)
	if !ok {
		return 0, fmt.Errorf("topic %s has no table", topic)
	}
	const where = ` WHERE _topic = @topic AND _topic_id = @id AND _partition = @partition AND _offset >= @from AND _offset < @until`
	err = s.conn.QueryRow(ctx, "SELECT toInt64(uniqExact(_offset)) FROM (SELECT _offset FROM "+table+where+" UNION ALL SELECT _offset FROM "+undecodableTable.name+where+")",
		clickhouse.Named("topic", topic), clickhouse.Named("id", topicID), clickhouse.Named("partition", partition), clickhouse.Named("from", from), clickhouse.Named("until", until)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count rows of %s/%d in clickhouse: %w", topic, partition, explain(err, table))
	}
	return n, nil
}

// Conservation is the balance of a span: each record that came in has exactly one end.
type Conservation struct {
	Received    uint64 `json:"received"`     // records of events
	Applied     uint64 `json:"applied"`      // changed a status
	Recorded    uint64 `json:"recorded"`     // changed something else
	Late        uint64 `json:"late"`         // older than what was applied
	Duplicates  uint64 `json:"duplicates"`   // seen before
	Ignored     uint64 `json:"ignored"`      // without effect on an order
	DeadLetters uint64 `json:"dead_letters"` // of the orders stage
	Waiting     uint64 `json:"waiting"`      // without an end so far, and young enough to wait for an order
	Commands    uint64 `json:"commands"`     // distinct
	Ended       uint64 `json:"ended"`        // commands with a final word
	Pending     uint64 `json:"pending"`      // commands without one; a CRM that is down makes them
	Lost        uint64 `json:"lost"`         // events without an end, old enough
	Doubled     uint64 `json:"doubled"`      // events with more ends than records, numbers given twice, commands delivered twice
	// Examples name some of what is lost or doubled; the counts are exact.
	Examples []string `json:"examples,omitempty"`
}

// examplesMax bounds the examples of one kind.
const examplesMax = 50

// Conserved draws up the balance of the events that were received since then. Those received before settled must have
// their end by now.
func (s *Store) Conserved(ctx context.Context, since, settled time.Time) (Conservation, error) {
	var c Conservation
	named := []any{clickhouse.Named("since", since.UnixMilli()), clickhouse.Named("settled", settled.UnixMilli()), clickhouse.Named("most", examplesMax)}
	var examples []string
	err := s.conn.QueryRow(ctx, `SELECT
			toUInt64(sum(n)), toUInt64(sum(changed)), toUInt64(sum(recorded)), toUInt64(sum(late)), toUInt64(sum(duplicate)), toUInt64(sum(ignored)), toUInt64(sum(letters)),
			toUInt64(sumIf(n - ends, n > ends AND last >= fromUnixTimestamp64Milli(@settled))),
			toUInt64(sumIf(n - ends, n > ends AND last < fromUnixTimestamp64Milli(@settled))), toUInt64(sumIf(ends - n, ends > n)),
			groupArrayIf(@most)(concat(if(n > ends, 'lost: ', 'doubled: '), 'event ', k.3, ' of ', k.1, '/', k.2, ': ', toString(n), ' records, ', toString(ends), ' ends'),
				ends > n OR n > ends AND last < fromUnixTimestamp64Milli(@settled))
		FROM (
			SELECT k, toInt64(uniqExactIf(at, part = 'event')) AS n, maxIf(received_at, part = 'event') AS last,
				toInt64(uniqExactIf(at, part = 'CHANGED')) AS changed, toInt64(uniqExactIf(at, part = 'RECORDED')) AS recorded,
				toInt64(uniqExactIf(at, part = 'LATE')) AS late, toInt64(uniqExactIf(at, part = 'DUPLICATE')) AS duplicate,
				toInt64(uniqExactIf(at, part = 'IGNORED')) AS ignored, toInt64(uniqExactIf(at, part = 'letter')) AS letters,
				changed + recorded + late + duplicate + ignored + letters AS ends
			FROM (
				SELECT (environment, connection, event_id) AS k, 'event' AS part, received_at, concat(_topic, '-', _topic_id, '-', toString(_partition), '-', toString(_offset)) AS at
				FROM events WHERE received_at >= fromUnixTimestamp64Milli(@since)
				UNION ALL
				SELECT (environment, connection, event_id), disposition, received_at, concat(_topic_id, '-', toString(_partition), '-', toString(_offset))
				FROM transitions WHERE received_at >= fromUnixTimestamp64Milli(@since)
				UNION ALL
				SELECT (splitByChar('/', root_key)[1], splitByChar('/', root_key)[2], event_id), 'letter', at, id
				FROM dead_letters WHERE stage = 'orders' AND root_key != '' AND at >= fromUnixTimestamp64Milli(@since)
			) GROUP BY k HAVING n > 0
		)`, named...).Scan(&c.Received, &c.Applied, &c.Recorded, &c.Late, &c.Duplicates, &c.Ignored,
		&c.DeadLetters, &c.Waiting, &c.Lost, &c.Doubled, &c.Examples)
	if err != nil {
		return c, fmt.Errorf("balance of the events: %w", explain(err, eventsTable.name))
	}
	var twice uint64
	err = s.conn.QueryRow(ctx, `SELECT count(), groupArray(@most)(concat('doubled: number ', toString(number), ' of ', root_key, ' was given ', toString(times), ' times')) FROM (
			SELECT root_key, number, uniqExact((_topic_id, _partition, _offset)) AS times FROM transitions
			WHERE received_at >= fromUnixTimestamp64Milli(@since) AND number > 0 GROUP BY root_key, number HAVING times > 1)`, named...).Scan(&twice, &examples)
	if err != nil {
		return c, fmt.Errorf("numbers of the transitions: %w", explain(err, transitionsTable.name))
	}
	c.Doubled, c.Examples = c.Doubled+twice, append(c.Examples, examples...)
	err = s.conn.QueryRow(ctx, `SELECT count(), countIf(finals > 0), countIf(finals = 0), countIf(delivered > 1),
			groupArrayIf(@most)(concat('doubled: command ', command_id, ' was delivered ', toString(delivered), ' times'), delivered > 1) FROM (
			SELECT c.command_id AS command_id, d.finals AS finals, d.delivered AS delivered
			FROM (SELECT DISTINCT command_id FROM commands WHERE at >= fromUnixTimestamp64Milli(@since)) AS c
			LEFT JOIN (SELECT command_id, uniqExactIf((_topic_id, _partition, _offset), outcome IN ('DELIVERED', 'SUPERSEDED', 'REJECTED', 'UNCERTAIN')) AS finals,
				uniqExactIf((_topic_id, _partition, _offset), outcome = 'DELIVERED') AS delivered FROM deliveries WHERE at >= fromUnixTimestamp64Milli(@since) GROUP BY command_id) AS d
			ON c.command_id = d.command_id)`, named...).Scan(&c.Commands, &c.Ended, &c.Pending, &twice, &examples)
	if err != nil {
		return c, fmt.Errorf("balance of the commands: %w", explain(err, commandsTable.name))
	}
	c.Doubled, c.Examples = c.Doubled+twice, append(c.Examples, examples...)
	return c, nil
}
