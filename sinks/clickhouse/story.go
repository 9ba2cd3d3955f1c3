package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/schemas"
)

// Story is what is known of an order or a contact, as records, each once and in the order of time. The records hold what
// an explanation needs of them, not every field.
type Story struct {
	ID string
	// As is "order", "contact" or "run"; empty: nothing was found.
	As          string
	RootKeys    []string
	ContactKeys []string
	// Aliases are further names of the contacts: keys under which the same payer id or address was seen.
	Aliases     []Alias
	Transitions []schemas.Transition
	Steps       []schemas.RunStep
	Commands    []schemas.Command
	Deliveries  []schemas.Delivery // each command's last word
	DeadLetters []schemas.DeadLetter
	Waits       []Wait
	// Configs are the configurations that the steps and waits name, and the newest one, Current, by version.
	Configs map[string]schemas.ConfigVersion
	Current string
	// Truncated says that there was more of some kind than HopsMax, the newest of which are here.
	Truncated bool
}

// Alias says that two contact keys were seen with one payer id.
type Alias struct{ ContactKey, Other, PayerID string }

// Story collects what is known of an order (its id, or that of anything that belongs to it), a contact, or a run (its id,
// or that of a wait).
func (s *Store) Story(ctx context.Context, id string) (Story, error) {
	id = strings.TrimSpace(id)
	if id == "" || len(id) > idBytesMax {
		return Story{}, fmt.Errorf("%w: give an order, subscription or payment id, an e-mail address or a contact key", ErrFilter)
	}
	ctx, cancel := context.WithTimeout(ctx, TraceTimeout)
	defer cancel()
	t := Trace{ID: id}
	sc, err := s.locate(ctx, &t)
	if err != nil {
		return Story{}, fmt.Errorf("story: %w", err)
	}
	st := Story{ID: id, As: t.As, RootKeys: t.RootKeys, ContactKeys: t.ContactKeys}
	if st.As == "" || st.As == "event" {
		return Story{ID: id}, nil
	}
	for _, collect := range []func(context.Context, scope, *Story) error{
		s.storyTransitions, s.storySteps, s.storyCommands, s.storyDeliveries, s.storyLetters, s.storyWaits, s.storyAliases, s.storyConfigs,
	} {
		if err := collect(ctx, sc, &st); err != nil {
			return Story{}, fmt.Errorf("story: %w", err)
		}
	}
	return st, nil
}

// newest reads the newest rows of one table that meet any of the conditions, one a record, oldest first.
func (s *Store) newest(ctx context.Context, st *Story, table, columns string, where []string, sc scope, scan func(driver.Rows) error) error {
	if len(where) == 0 {
		return nil
	}
	var parts []string
	for _, w := range where {
		parts = append(parts, "SELECT "+columns+", _topic, _topic_id, _partition, _offset FROM "+table+" WHERE "+w)
	}
	sql := fmt.Sprintf(`SELECT * EXCEPT (_topic, _topic_id, _partition, _offset) FROM (
		SELECT * FROM (%s) ORDER BY at DESC, _topic DESC, _topic_id DESC, _partition DESC, _offset DESC LIMIT 1 BY _topic, _topic_id, _partition, _offset LIMIT %d)
		ORDER BY at, _topic, _topic_id, _partition, _offset`, strings.Join(parts, " UNION ALL "), HopsMax+1)
	rows, err := s.conn.Query(ctx, sql, clickhouse.Named("roots", set(sc.roots)), clickhouse.Named("contacts", set(sc.contacts)),
		clickhouse.Named("events", set(sc.events)), clickhouse.Named("runs", set(sc.runs)), clickhouse.Named("commands", set(sc.commands)))
	if err != nil {
		return explain(err, table)
	}
	defer func() { _ = rows.Close() }()
	n := 0
	for ; rows.Next(); n++ {
		if err := scan(rows); err != nil {
			return fmt.Errorf("read %s: %w", table, err)
		}
	}
	st.Truncated = st.Truncated || n > HopsMax
	return rows.Err()
}

func (s *Store) storyTransitions(ctx context.Context, sc scope, st *Story) error {
	const columns = `root_key, root_kind, number, disposition, from_status, to_status, legal, why, orphan, connection, event_id, event_type, provider_status,
		provider_time, origin, test, paid, refunded, currency, contact_key, payer_id, at`
	return s.newest(ctx, st, "transitions", columns, sc.ofOne().conditions("root_key IN @roots", "contact_key IN @contacts", ""), sc, func(rows driver.Rows) error {
		var t schemas.Transition
		var kind, disposition, from, to, origin, payer string
		var paid, refunded *decimal.Decimal
		err := rows.Scan(&t.RootKey, &kind, &t.Number, &disposition, &from, &to, &t.Legal, &t.Why, &t.Orphan, &t.Event.Connection, &t.Event.EventID, &t.Event.EventType,
			&t.Event.ProviderStatus, &t.Event.ProviderTime, &origin, &t.Event.Test, &paid, &refunded, &t.Currency, &t.ContactKey, &payer, &t.At)
		t.RootKind, t.Disposition, t.From, t.To = schemas.EventKind(kind), schemas.Disposition(disposition), schemas.PaymentStatus(from), schemas.PaymentStatus(to)
		t.Event.Origin, t.Event.ProviderTime, t.At = schemas.Origin(origin), unset(t.Event.ProviderTime), unset(t.At)
		t.Payer, t.Paid, t.Refunded = &schemas.Payer{PayerID: payer}, moneyText(paid, ""), moneyText(refunded, "")
		st.Transitions = append(st.Transitions, t)
		return err
	})
}

func (s *Store) storySteps(ctx context.Context, sc scope, st *Story) error {
	const columns = `run_id, workflow, workflow_version, config_version, contact_key, root_key, event_id, number, step, kind, detail, wait_id, deadline,
		command_id, destination, origin, test, shadow, at`
	// A run about another order of the contact belongs here whole where an event of this one moved it.
	where := sc.orRuns(sc.conditions("root_key IN @roots", "contact_key IN @contacts", "run_id IN (SELECT run_id FROM run_steps WHERE event_id IN @events)"))
	return s.newest(ctx, st, "run_steps", columns, where, sc, func(rows driver.Rows) error {
		var r schemas.RunStep
		var kind, origin string
		err := rows.Scan(&r.RunID, &r.Workflow, &r.WorkflowVersion, &r.ConfigVersion, &r.ContactKey, &r.RootKey, &r.EventID, &r.Number, &r.Step, &kind, &r.Detail,
			&r.WaitID, &r.Deadline, &r.CommandID, &r.Destination, &origin, &r.Test, &r.Shadow, &r.At)
		r.Kind, r.Origin, r.Deadline, r.At = schemas.StepWord(kind), schemas.Origin(origin), unset(r.Deadline), unset(r.At)
		st.Steps = append(st.Steps, r)
		return err
	})
}

func (s *Store) storyCommands(ctx context.Context, sc scope, st *Story) error {
	const columns = `destination, contact_key, command_id, kind, version, contact_tags, contact_no_tags, effect_type, effect_name, effect_arguments,
		config_version, root_key, event_id, trigger, issues, rule, run_id, reasons, origin, test, at`
	for _, step := range st.Steps { // a run's commands carry the order that caused them, which may be another one
		sc.runs = append(sc.runs, step.RunID)
	}
	slices.Sort(sc.runs)
	sc.runs = slices.Compact(sc.runs)
	where := sc.orRuns(sc.ofOne().conditions("root_key IN @roots", "contact_key IN @contacts", ""))
	return s.newest(ctx, st, "commands", columns, where, sc, func(rows driver.Rows) error {
		var c schemas.Command
		var e schemas.Effect
		var kind, origin string
		err := rows.Scan(&c.Destination, &c.ContactKey, &c.CommandID, &kind, &c.Version, &c.Contact.Tags, &c.Contact.NoTags, &e.Type, &e.Name, &e.Arguments,
			&c.ConfigVersion, &c.RootKey, &c.EventID, &c.Trigger, &c.Issues, &c.Rule, &c.RunID, &c.Reasons, &origin, &c.Test, &c.At)
		if c.Kind, c.Origin, c.At = schemas.CommandKind(kind), schemas.Origin(origin), unset(c.At); e.Type != "" {
			c.Effect = &e
		}
		st.Commands = append(st.Commands, c)
		return err
	})
}

func (s *Store) storyDeliveries(ctx context.Context, sc scope, st *Story) error {
	const columns = "destination, command_id, attempt, kind, outcome, response_status, error, remedy, at"
	for _, c := range st.Commands {
		sc.commands = append(sc.commands, c.CommandID)
	}
	if len(sc.commands) == 0 {
		return nil
	}
	last := map[string]int{}
	return s.newest(ctx, st, "deliveries", columns, []string{"command_id IN @commands"}, sc, func(rows driver.Rows) error {
		var d schemas.Delivery
		var kind, outcome string
		var statuses []int64
		if err := rows.Scan(&d.Destination, &d.CommandID, &d.Attempt, &kind, &outcome, &statuses, &d.Error, &d.Remedy, &d.At); err != nil {
			return err
		}
		d.Kind, d.Outcome, d.At = schemas.CommandKind(kind), schemas.OutcomeWord(outcome), unset(d.At)
		for _, status := range statuses {
			d.Requests = append(d.Requests, schemas.Exchange{Status: status})
		}
		if i, ok := last[d.CommandID]; ok {
			st.Deliveries[i] = d
			return nil
		}
		last[d.CommandID] = len(st.Deliveries)
		st.Deliveries = append(st.Deliveries, d)
		return nil
	})
}

func (s *Store) storyLetters(ctx context.Context, sc scope, st *Story) error {
	where := sc.conditions("root_key IN @roots", "contact_key IN @contacts", "event_id IN @events")
	seen := map[string]bool{} // one letter may be written more than once
	return s.newest(ctx, st, "dead_letters", "id, stage, cause, reason, remedy, event_id, root_key, destination, at", where, sc, func(rows driver.Rows) error {
		var l schemas.DeadLetter
		err := rows.Scan(&l.ID, &l.Stage, &l.Cause, &l.Reason, &l.Remedy, &l.EventID, &l.RootKey, &l.Destination, &l.At)
		if l.At = unset(l.At); !seen[l.ID] {
			seen[l.ID], st.DeadLetters = true, append(st.DeadLetters, l)
		}
		return err
	})
}

// storyWaits reads the waits of the runs that are part of the story.
func (s *Store) storyWaits(ctx context.Context, _ scope, st *Story) error {
	runs := map[string]bool{}
	for _, step := range st.Steps {
		if step.WaitID != "" {
			runs[step.RunID] = true
		}
	}
	if len(runs) == 0 {
		return nil
	}
	f := WaitFilter{runs: slices.Sorted(maps.Keys(runs)), Limit: WaitsPageMax}
	page, err := s.Waits(ctx, f)
	st.Waits, st.Truncated = page.Waits, st.Truncated || page.Next != ""
	return err
}

// storyAliases finds under which other keys the payers of these contacts were seen.
func (s *Store) storyAliases(ctx context.Context, _ scope, st *Story) error {
	contacts := map[string]bool{}
	for _, k := range st.ContactKeys {
		contacts[k] = true
	}
	for _, t := range st.Transitions {
		contacts[t.ContactKey] = true
	}
	delete(contacts, "")
	if len(contacts) == 0 {
		return nil
	}
	rows, err := s.conn.Query(ctx, fmt.Sprintf(`SELECT DISTINCT a.contact_key, b.contact_key, a.payer_id FROM
		(SELECT DISTINCT contact_key, environment, payer_id FROM transitions WHERE contact_key IN @keys AND payer_id != '') AS a
		INNER JOIN (SELECT DISTINCT contact_key, environment, payer_id FROM transitions WHERE contact_key != '' AND payer_id IN
			(SELECT payer_id FROM transitions WHERE contact_key IN @keys AND payer_id != '')) AS b USING (environment, payer_id)
		WHERE a.contact_key != b.contact_key ORDER BY ALL LIMIT %d`, TraceRootsMax), clickhouse.Named("keys", set(slices.Sorted(maps.Keys(contacts)))))
	if err != nil {
		return explain(err, "transitions")
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var a Alias
		if err := rows.Scan(&a.ContactKey, &a.Other, &a.PayerID); err != nil {
			return err
		}
		st.Aliases = append(st.Aliases, a)
	}
	return rows.Err()
}

func (s *Store) storyConfigs(ctx context.Context, _ scope, st *Story) error {
	versions := map[string]bool{}
	for _, step := range st.Steps {
		versions[step.ConfigVersion] = true
	}
	for _, w := range st.Waits {
		versions[w.ConfigVersion] = true
	}
	// Of an empty table it is "", as of no configuration.
	err := s.conn.QueryRow(ctx, "SELECT argMax(version, (_at, _offset)) FROM config_versions").Scan(&st.Current)
	if err != nil {
		return explain(err, "config_versions")
	}
	versions[st.Current] = true
	delete(versions, "")
	st.Configs, err = s.Configs(ctx, slices.Sorted(maps.Keys(versions)))
	return err
}

// Configs reads configurations by version; those that are not known are left out.
func (s *Store) Configs(ctx context.Context, versions []string) (map[string]schemas.ConfigVersion, error) {
	got := map[string]schemas.ConfigVersion{}
	if len(versions) == 0 {
		return got, nil
	}
	rows, err := s.conn.Query(ctx, "SELECT version, files, at FROM config_versions WHERE version IN @versions ORDER BY version, at LIMIT 1 BY version", clickhouse.Named("versions", set(versions)))
	if err != nil {
		return nil, explain(err, "config_versions")
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var c schemas.ConfigVersion
		var at time.Time
		if err := rows.Scan(&c.Version, &c.Files, &at); err != nil {
			return nil, err
		}
		c.At = unset(at)
		got[c.Version] = c
	}
	return got, rows.Err()
}
