package audit

import (
	"context"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Inside is what the pipeline itself says happened, read from ClickHouse.
type Inside struct {
	Events          []InsideEvent
	Transitions     []InsideTransition
	DeadLetters     []InsideDeadLetter
	Commands        []InsideCommand
	Desired         map[string]DesiredContact // newest desired state by e-mail
	FinalDeliveries map[string]int            // by command
	Uncertain       map[string]bool
	Rejected        map[string]bool
	Steps           []InsideStep // of runs; nil: they are held against nothing
	Tables          []Table
}

// InsideEvent is one record of a source topic.
type InsideEvent struct{ Connection, EventID, BodyHash, DeliveryKey string }

// InsideTransition is one end of an event.
type InsideTransition struct {
	RootKey, Disposition, To, EventID, Connection, BodyHash, DeliveryKey, Refunded string
	Number                                                                         int64
}

// InsideDeadLetter is one refused record.
type InsideDeadLetter struct{ Stage, Cause, EventID, DeliveryKey string }

// InsideCommand is one command. Type, Name and From (a list) are those of an effect; the list stands in the order in which
// a destination was asked.
type InsideCommand struct{ ID, Kind, Type, Name, From, Email, RunID string }

// InsideStep is one step of a run.
type InsideStep struct {
	RunID, Kind, WaitID, CommandID string
	Number                         int64
}

// DesiredContact is a desired state.
type DesiredContact struct {
	First, Last, Phone string
	Fields             map[string]string
	Tags               []string
}

// Table is one table's rows against the records of its topics. Rows counts without merging, Distinct by coordinates.
type Table struct {
	Name                    string
	Rows, Distinct, Records int
}

// Tables are the tables that are held against Kafka, with their topics.
var Tables = map[string][]string{
	"events":       {"paypal.events", "store.orders"},
	"transitions":  {"order.transitions"},
	"commands":     {"crm.commands"},
	"deliveries":   {"crm.deliveries"},
	"dead_letters": {"dead.letters"},
	"run_steps":    {"automation.runs"},
}

// Read reads everything. records tells how many committed records each topic holds.
func Read(ctx context.Context, db driver.Conn, records map[string]int) (*Inside, error) {
	in := &Inside{Desired: map[string]DesiredContact{}, FinalDeliveries: map[string]int{}, Uncertain: map[string]bool{}, Rejected: map[string]bool{}}
	for _, step := range []func(context.Context, driver.Conn) error{in.readEvents, in.readTransitions, in.readDeadLetters, in.readCommands, in.readDeliveries, in.readSteps} {
		if err := step(ctx, db); err != nil {
			return nil, err
		}
	}
	for name, topics := range Tables {
		t := Table{Name: name}
		var rows, distinct uint64
		err := db.QueryRow(ctx, fmt.Sprintf("SELECT count(), uniqExact(_topic, _partition, _offset) FROM %s", name)).Scan(&rows, &distinct)
		if err != nil {
			return nil, fmt.Errorf("count table %s: %w", name, err)
		}
		t.Rows, t.Distinct = int(rows), int(distinct)
		for _, topic := range topics {
			t.Records += records[topic]
		}
		in.Tables = append(in.Tables, t)
	}
	return in, nil
}

func (in *Inside) readEvents(ctx context.Context, db driver.Conn) error {
	return each(ctx, db, "SELECT connection, event_id, body_hash FROM events FINAL", func(rows driver.Rows) error {
		var e InsideEvent
		err := rows.Scan(&e.Connection, &e.EventID, &e.BodyHash)
		e.DeliveryKey = e.Connection + "/" + e.BodyHash
		in.Events = append(in.Events, e)
		return err
	})
}

func (in *Inside) readTransitions(ctx context.Context, db driver.Conn) error {
	return each(ctx, db, "SELECT root_key, number, disposition, to_status, event_id, connection, body_hash, ifNull(toString(refunded), '') FROM transitions FINAL", func(rows driver.Rows) error {
		var t InsideTransition
		err := rows.Scan(&t.RootKey, &t.Number, &t.Disposition, &t.To, &t.EventID, &t.Connection, &t.BodyHash, &t.Refunded)
		t.DeliveryKey = t.Connection + "/" + t.BodyHash
		in.Transitions = append(in.Transitions, t)
		return err
	})
}

// A dead letter holds the refused record's coordinates; the event's row tells which body that was.
func (in *Inside) readDeadLetters(ctx context.Context, db driver.Conn) error {
	q := `SELECT d.stage, d.cause, d.event_id, e.connection, e.body_hash FROM (SELECT * FROM dead_letters FINAL) AS d
		LEFT JOIN (SELECT connection, body_hash, _topic, _partition, _offset FROM events FINAL) AS e
		ON d.topic = e._topic AND d.partition = e._partition AND d.offset = e._offset`
	return each(ctx, db, q, func(rows driver.Rows) error {
		var d InsideDeadLetter
		var connection, bodyHash string
		err := rows.Scan(&d.Stage, &d.Cause, &d.EventID, &connection, &bodyHash)
		d.DeliveryKey = connection + "/" + bodyHash
		in.DeadLetters = append(in.DeadLetters, d)
		return err
	})
}

func (in *Inside) readCommands(ctx context.Context, db driver.Conn) error {
	versions := map[string]int64{}
	q := `SELECT command_id, toString(kind), version, contact_email, contact_first_name, contact_last_name, contact_phone,
		contact_fields, contact_tags, effect_type, effect_name, effect_arguments['from'], run_id
		FROM commands FINAL ORDER BY _partition, _offset`
	return each(ctx, db, q, func(rows driver.Rows) error {
		var c InsideCommand
		var d DesiredContact
		var version int64
		var email string
		if err := rows.Scan(&c.ID, &c.Kind, &version, &email, &d.First, &d.Last, &d.Phone, &d.Fields, &d.Tags, &c.Type, &c.Name, &c.From, &c.RunID); err != nil {
			return err
		}
		email = strings.ToLower(email)
		c.Email = email
		in.Commands = append(in.Commands, c)
		if old, ok := versions[email]; c.Kind == "CONTACT" && (!ok || version > old) {
			versions[email], in.Desired[email] = version, d
		}
		return nil
	})
}

func (in *Inside) readDeliveries(ctx context.Context, db driver.Conn) error {
	return each(ctx, db, "SELECT command_id, outcome FROM deliveries FINAL", func(rows driver.Rows) error {
		var id, outcome string
		err := rows.Scan(&id, &outcome)
		switch outcome {
		case "INTENT", "RETRYABLE":
			return err
		case "UNCERTAIN":
			in.Uncertain[id] = true
		case "REJECTED":
			in.Rejected[id] = true
		}
		in.FinalDeliveries[id]++
		return err
	})
}

func (in *Inside) readSteps(ctx context.Context, db driver.Conn) error {
	in.Steps = []InsideStep{}
	return each(ctx, db, "SELECT run_id, kind, wait_id, command_id, number FROM run_steps FINAL", func(rows driver.Rows) error {
		var s InsideStep
		err := rows.Scan(&s.RunID, &s.Kind, &s.WaitID, &s.CommandID, &s.Number)
		in.Steps = append(in.Steps, s)
		return err
	})
}

// appliedBody is the hash of the body that was applied under an event id.
func (in *Inside) appliedBody(account, eventID string) string {
	for _, t := range in.Transitions {
		if t.Connection == account && t.EventID == eventID && t.Disposition != "DUPLICATE" {
			return t.BodyHash
		}
	}
	return ""
}

func each(ctx context.Context, db driver.Conn, query string, take func(driver.Rows) error) error {
	rows, err := db.Query(ctx, query)
	if err != nil {
		return fmt.Errorf("audit %.60q: %w", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := take(rows); err != nil {
			return fmt.Errorf("audit %.60q: %w", query, err)
		}
	}
	return rows.Err()
}
