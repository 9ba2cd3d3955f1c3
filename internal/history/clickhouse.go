package history

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// partitions is the number of partitions that a made-up topic has.
const partitions = 8

// batchRows is how many rows go into ClickHouse at once, copyRows how many one statement copies.
const (
	batchRows = 50_000
	copyRows  = 1_500_000
)

// topicIDPrefix begins the topic ids of made-up records: no broker gives such ids.
const topicIDPrefix = "made-up-"

// TopicID is what the records of a past have in the place of the id of their topic.
func TopicID(seed int64) string { return fmt.Sprint(topicIDPrefix, seed) }

// Inserter takes ranges of records, as the sink of ClickHouse does.
type Inserter interface {
	Insert(ctx context.Context, r sinks.Range, rows []sinks.Row) error
}

// Placed are records with their places: by topic, then by partition, in order of offsets.
type Placed map[string][partitions][]sinks.Row

// Place gives every record of a past its place on Kafka, and dead letters the place of what they are about as id.
func Place(records []Record) Placed {
	placed := Placed{}
	where := map[schemas.Record]schemas.DeadLetter{} // their partitions and offsets
	add := func(r Record, key string) {
		topic := placed[r.Topic]
		p := int(kafka.Partition([]byte(key), partitions))
		where[r.Rec] = schemas.DeadLetter{Topic: r.Topic, Partition: int64(p), Offset: int64(len(topic[p]))}
		topic[p] = append(topic[p], sinks.Row{Offset: int64(len(topic[p])), At: r.At, Key: []byte(r.Key), Record: r.Rec})
		placed[r.Topic] = topic
	}
	var letters []Record
	for _, r := range records {
		switch rec := r.Rec.(type) {
		case *schemas.DeadLetter:
			letters = append(letters, r)
		case *schemas.Command:
			add(r, rec.Destination)
		default:
			add(r, r.Key)
		}
	}
	for _, r := range letters {
		d := *r.Rec.(*schemas.DeadLetter)
		from := where[r.Source]
		d.Topic, d.Partition, d.Offset = from.Topic, from.Partition, from.Offset
		d.ID = fmt.Sprintf("%s-%d-%d", d.Topic, d.Partition, d.Offset)
		r.Rec, r.Key = &d, d.ID
		add(r, r.Key)
	}
	return placed
}

// Insert writes them under the topic id of the seed, each range under its token, so that a repetition stores nothing
// twice. progress gets the number of rows now and then.
func (p Placed) Insert(ctx context.Context, to Inserter, seed int64, progress func(rows int)) error {
	topics := make([]string, 0, len(p))
	for t := range p {
		topics = append(topics, t)
	}
	slices.Sort(topics)
	for _, topic := range topics {
		for i, rows := range p[topic] {
			for part := range slices.Chunk(rows, batchRows) {
				r := sinks.Range{Topic: topic, TopicID: TopicID(seed), Partition: int32(i), From: part[0].Offset, To: part[len(part)-1].Offset}
				if err := to.Insert(ctx, r, part); err != nil {
					return err
				}
				progress(len(part))
			}
		}
	}
	return nil
}

// tables are those that a past fills, with the topics of their records.
var tables = []struct {
	name   string
	topics []string
}{
	{"events", []string{schemas.TopicPayPalEvents, schemas.TopicStoreOrders}},
	{"transitions", []string{schemas.TopicTransitions}},
	{"run_steps", []string{schemas.TopicRuns}},
	{"commands", []string{schemas.TopicCommands}},
	{"deliveries", []string{schemas.TopicDeliveries}},
	{"dead_letters", []string{schemas.TopicDeadLetters}},
}

// Strangers is the number of rows in the tables that are no made-up ones.
func Strangers(ctx context.Context, conn driver.Conn) (n uint64, err error) {
	for _, t := range tables {
		var rows uint64
		if err := conn.QueryRow(ctx, "SELECT count() FROM "+t.name+" WHERE NOT startsWith(_topic_id, '"+topicIDPrefix+"')").Scan(&rows); err != nil {
			return 0, fmt.Errorf("count the rows of %s: %w", t.name, err)
		}
		n += rows
	}
	return n, nil
}

// Copy makes the inserted past happen to further people: copies times, with ids, addresses and offsets of their own, at
// the same moments. It runs inside ClickHouse, month by month.
func (p Placed) Copy(ctx context.Context, conn driver.Conn, seed int64, copies int, progress func(rows int)) error {
	for _, t := range tables {
		for _, topic := range t.topics {
			if err := p.copyTopic(ctx, conn, t.name, topic, seed, copies, progress); err != nil {
				return fmt.Errorf("copy %s: %w", t.name, err)
			}
		}
	}
	return nil
}

func (p Placed) copyTopic(ctx context.Context, conn driver.Conn, table, topic string, seed int64, copies int, progress func(int)) error {
	months := map[int]int{}
	for _, rows := range p[topic] {
		for _, r := range rows {
			at := r.At.UTC()
			months[at.Year()*100+int(at.Month())]++
		}
	}
	if len(months) == 0 {
		return nil
	}
	insert, err := p.copying(ctx, conn, table)
	if err != nil {
		return err
	}
	order := make([]int, 0, len(months))
	for m := range months {
		order = append(order, m)
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(a, b) })
	for _, m := range order {
		step := max(1, copyRows/months[m])
		for from := 1; from <= copies; from += step {
			n := min(step, copies-from+1)
			sql := fmt.Sprintf("%s FROM %s AS t CROSS JOIN (SELECT toInt64(number) + %d AS copy FROM numbers(%d)) AS c"+
				" WHERE t._topic = '%s' AND t._topic_id = '%s' AND toYYYYMM(t._at) = %d AND t._offset < [%s][t._partition + 1]",
				insert, table, from, n, topic, TopicID(seed), m, p.lengths(topic))
			if err := conn.Exec(ctx, sql); err != nil {
				return err
			}
			progress(n * months[m])
		}
	}
	return nil
}

// lengths are the numbers of records of a topic's partitions, as a list.
func (p Placed) lengths(topic string) string {
	var list []string
	for _, rows := range p[topic] {
		list = append(list, fmt.Sprint(len(rows)))
	}
	return strings.Join(list, ", ")
}

// How the copies of a column differ. A body and a text name the ids of their own row.
const (
	otherID      = "if(t.X = '', '', concat(t.X, '-', toString(c.copy)))"
	otherAddress = "if(position(t.X, '@') > 0, replaceOne(t.X, '@', concat('-', toString(c.copy), '@')), " + otherID + ")"
	otherIDs     = "arrayMap(x -> if(x = '', '', concat(x, '-', toString(c.copy))), t.X)"
	otherOffset  = "t.X + c.copy * [L][t._partition + 1]"
)

var other = map[string]string{
	"root_id": otherID, "root_key": otherID, "event_id": otherID, "entity_id": otherID, "command_id": otherID, "run_id": otherID, "wait_id": otherID,
	"payer_id": otherID, "fingerprint": otherID, "invoice_id": otherID, "link_ids": otherIDs, "delivery_ids": otherIDs,
	"contact_key": otherAddress, "payer_email": otherAddress, "contact_email": otherAddress, "_offset": otherOffset,
}

// names are the replacements in texts that hold the ids of their own row.
func renamed(text string, columns []string) string {
	for _, c := range columns {
		switch c {
		case "event_id", "root_id", "entity_id", "payer_email":
			text = fmt.Sprintf("if(t.%s = '', %s, replaceAll(%s, t.%s, %s))", c, text, text, c, strings.ReplaceAll(other[c], "X", c))
		}
	}
	return text
}

// copying is the INSERT ... SELECT of a table, up to its FROM.
func (p Placed) copying(ctx context.Context, conn driver.Conn, table string) (string, error) {
	rows, err := conn.Query(ctx, "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = ? AND default_kind NOT IN ('MATERIALIZED', 'ALIAS') ORDER BY position", table)
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }()
	var columns []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return "", err
		}
		columns = append(columns, name)
	}
	if err := rows.Err(); err != nil {
		return "", err
	}
	topic := map[string]string{}
	for _, t := range tables {
		topic[t.name] = t.topics[0]
	}
	exprs := make([]string, len(columns))
	for i, c := range columns {
		expr, known := other[c]
		switch {
		case table == "events" && c == "body":
			expr = renamed("t.body", columns)
		case table == "events" && c == "body_hash":
			expr = "lower(hex(SHA256(" + renamed("t.body", columns) + ")))"
		case table == "events" && c == "fields":
			expr = "mapApply((k, v) -> (k, " + renamed("v", columns) + "), t.fields)"
		case table == "dead_letters" && c == "offset":
			expr = "t.offset + c.copy * " + p.sourceLength()
		case table == "dead_letters" && c == "id":
			expr = "concat(t.topic, '-', toString(t.partition), '-', toString(t.offset + c.copy * " + p.sourceLength() + "))"
		case !known:
			expr = "t.X"
		}
		exprs[i] = strings.ReplaceAll(strings.ReplaceAll(expr, "X", c), "[L]", "["+p.lengths(topic[table])+"]")
	}
	return "INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") SELECT " + strings.Join(exprs, ", "), nil
}

// sourceLength is the number of records in the partition that a dead letter's source is in.
func (p Placed) sourceLength() string {
	var cases []string
	for topic := range p {
		cases = append(cases, fmt.Sprintf("t.topic = '%s', [%s][t.partition + 1]", topic, p.lengths(topic)))
	}
	slices.Sort(cases)
	return "multiIf(" + strings.Join(cases, ", ") + ", 0)"
}
