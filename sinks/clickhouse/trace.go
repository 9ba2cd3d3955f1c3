package clickhouse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/tillstream/tillstream/schemas"
)

// Kinds of hop, in the order in which they follow from each other at equal times.
const (
	HopReceived   = "received"
	HopTransition = "transition"
	HopRun        = "run"
	HopCommand    = "command"
	HopDelivery   = "delivery"
	HopDeadLetter = "dead letter"
)

var hopOrder = []string{HopReceived, HopTransition, HopRun, HopCommand, HopDelivery, HopDeadLetter}

// Trace is the whole way of an order, a contact or an event, in time order.
type Trace struct {
	ID string
	// As says what the id was found to be: "order", "contact", "event", "run"; empty: nothing was found.
	As string
	// RootKeys are the orders, subscriptions or payments on the way, ContactKeys the people (personal data).
	RootKeys    []string
	ContactKeys []string
	Hops        []Hop
	// Truncated says that there was more of some kind than HopsMax, the oldest of which are shown.
	Truncated bool
}

// Hop is one step.
type Hop struct {
	At          time.Time
	Kind        string
	Title       string
	Detail      []Pair // in the order to show; empty values are left out
	Coordinates Coordinates
}

// Pair is one named detail.
type Pair struct{ Name, Value string }

// Coordinates name the Kafka record that says so.
type Coordinates struct {
	Topic     string
	TopicID   string
	Partition int32
	Offset    int64
}

// Get returns the detail of that name, or "".
func (h Hop) Get(name string) string {
	for _, p := range h.Detail {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// Bounds of a trace.
const (
	// HopsMax bounds the hops of each kind.
	HopsMax = 1000
	// TraceRootsMax bounds the orders of one contact that are followed; the newest are.
	TraceRootsMax = 100
	// TraceTimeout bounds the whole trace.
	TraceTimeout = 20 * time.Second
	idBytesMax   = 1024
)

// Trace finds everything about an id: of an order, subscription, capture or other entity, a root key, an event or
// delivery, a run or wait, an e-mail address or a contact key. An order's or contact's trace is its whole story, an event's only what
// that event did. An id that is nowhere gives a Trace without hops.
func (s *Store) Trace(ctx context.Context, id string) (Trace, error) { return s.TraceOf(ctx, "", id) }

// TraceOf is Trace of an id that is known to be of a kind: as is what Trace.As would say, or "" for any. An id that is nothing
// of that kind gives a Trace without hops.
func (s *Store) TraceOf(ctx context.Context, as, id string) (Trace, error) {
	id = strings.TrimSpace(id)
	if id == "" || len(id) > idBytesMax {
		return Trace{}, errors.New("trace: give an order, subscription, capture or event id, an e-mail address or a contact key")
	}
	ctx, cancel := context.WithTimeout(ctx, TraceTimeout)
	defer cancel()
	t := Trace{ID: id}
	var found scope
	var err error
	if as == "event" {
		found, err = s.locateEvent(ctx, &t)
	} else {
		found, err = s.locate(ctx, &t)
	}
	if err != nil {
		return Trace{}, fmt.Errorf("trace: %w", err)
	}
	if t.As == "" || as != "" && t.As != as {
		return Trace{ID: id}, nil
	}
	for _, collect := range []func(context.Context, scope, *Trace) error{s.received, s.transitions, s.runSteps, s.commands, s.deliveries, s.deadLetters} {
		if err := collect(ctx, found, &t); err != nil {
			return Trace{}, fmt.Errorf("trace: %w", err)
		}
	}
	slices.SortStableFunc(t.Hops, func(a, b Hop) int {
		return cmp.Or(a.At.Compare(b.At), slices.Index(hopOrder, a.Kind)-slices.Index(hopOrder, b.Kind),
			cmp.Compare(a.Coordinates.Offset, b.Coordinates.Offset))
	})
	return t, nil
}

// A scope is what to collect: everything of some roots and contacts, or of single events.
type scope struct {
	roots    []string // root keys
	contacts []string // contact keys, all of whose records are wanted
	events   []string // event ids
	runs     []string // run ids
	commands []string // command ids, of those runs
}

// locate finds out what the id is. Each condition is a SELECT of its own, because ClickHouse uses a skip index only
// where the whole condition can be decided by it.
func (s *Store) locate(ctx context.Context, t *Trace) (scope, error) {
	if keys := contactKeys(t.ID); len(keys) > 0 {
		found, err := s.locateContact(ctx, t, keys)
		if err != nil || t.As != "" {
			return found, err
		}
	}
	key := "concat(environment, '/', connection, '/', root_id)"
	last := t.ID
	if _, _, id, ok := schemas.SplitRootKey(t.ID); ok {
		last = id
	}
	roots, err := s.keys(ctx, TraceRootsMax,
		pick("root_key", "transitions", "root_key = @id"), pick("root_key", "transitions", "root_id = @id"),
		pick("root_key", "transitions", "entity_id = @id"),
		pick(key, "events", "root_id = @last AND (root_id = @id OR "+key+" = @id)"),
		pick(key, "events", "entity_id = @id"), pick(key, "events", "has(link_ids, @id)"),
		clickhouse.Named("id", t.ID), clickhouse.Named("last", last))
	if err != nil {
		return scope{}, err
	}
	if len(roots) > 0 {
		t.As, t.RootKeys = "order", roots
		// An event that named only its capture is stored under the capture's key, its transition under the order's.
		events, err := s.keys(ctx, HopsMax, pick("event_id", "transitions", "root_key IN @roots"), clickhouse.Named("roots", set(roots)))
		return scope{roots: roots, events: events}, err
	}
	runs, err := s.keys(ctx, TraceRootsMax,
		pick("run_id", "run_steps", "run_id = @id"), pick("run_id", "run_steps", "wait_id = @id"), clickhouse.Named("id", t.ID))
	if err != nil {
		return scope{}, err
	}
	if len(runs) > 0 {
		t.As = "run"
		commands, err := s.keys(ctx, HopsMax, pick("command_id", "commands", "run_id IN @runs"), clickhouse.Named("runs", set(runs)))
		return scope{runs: runs, commands: commands}, err
	}
	return s.locateEvent(ctx, t)
}

func (s *Store) locateEvent(ctx context.Context, t *Trace) (scope, error) {
	events, err := s.keys(ctx, TraceRootsMax,
		pick("event_id", "events", "event_id = @id"), pick("event_id", "events", "has(delivery_ids, @id)"),
		pick("event_id", "transitions", "event_id = @id"), pick("event_id", "transitions", "has(delivery_ids, @id)"),
		pick("event_id", "run_steps", "event_id = @id"),
		pick("event_id", "commands", "command_id = @id"), pick("event_id", "commands", "event_id = @id"),
		pick("event_id", "dead_letters", "event_id = @id"), pick("event_id", "dead_letters", "id = @id"),
		clickhouse.Named("id", t.ID))
	if err != nil {
		return scope{}, err
	}
	if len(events) > 0 {
		t.As = "event"
	}
	return scope{events: slices.DeleteFunc(events, func(e string) bool { return e == "" })}, nil
}

// contactKeys are the keys that an id may stand for, none if it is no address and no contact key.
func contactKeys(id string) []string {
	bare, environments := id, []schemas.Environment{schemas.Live, schemas.Sandbox}
	for _, env := range environments {
		if rest, ok := strings.CutPrefix(id, string(env)+"/"); ok {
			bare, environments = rest, []schemas.Environment{env}
			break
		}
	}
	var payer schemas.Payer
	if payerID, ok := strings.CutPrefix(bare, "payer:"); ok {
		payer.PayerID = payerID
	} else if strings.Contains(bare, "@") {
		payer.Email = bare
	} else {
		return nil
	}
	var keys []string
	for _, env := range environments {
		if key := schemas.ContactKey(env, &payer); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

func (s *Store) locateContact(ctx context.Context, t *Trace, keys []string) (scope, error) {
	of := "contact_key IN @keys"
	seen, err := s.keys(ctx, len(keys), pick("contact_key", "events", of), pick("contact_key", "transitions", of),
		pick("contact_key", "run_steps", of), pick("contact_key", "commands", of), pick("contact_key", "deliveries", of), pick("contact_key", "dead_letters", of),
		clickhouse.Named("keys", set(keys)))
	if err != nil || len(seen) == 0 {
		return scope{}, err
	}
	roots, err := s.keys(ctx, TraceRootsMax, pick("root_key", "transitions", of), clickhouse.Named("keys", set(keys)))
	t.As, t.ContactKeys, t.RootKeys = "contact", seen, roots
	return scope{roots: roots, contacts: seen}, err
}

// set renders a list as ('a', 'b'), for IN. An empty list becomes (”): no key is empty.
func set(list []string) clickhouse.GroupSet {
	if len(list) == 0 {
		list = []string{""}
	}
	values := make([]any, len(list))
	for i, v := range list {
		values[i] = v
	}
	return clickhouse.GroupSet{Value: values}
}

// pick selects distinct keys, the newest first.
func pick(key, table, where string) string {
	return "SELECT " + key + " AS k, max(_at) AS newest FROM " + table + " WHERE " + where + " GROUP BY k"
}

// keys runs picks (the strings) with parameters (the rest) and returns at most limit keys, the newest first.
func (s *Store) keys(ctx context.Context, limit int, parts ...any) ([]string, error) {
	var picks []string
	var params []any
	for _, p := range parts {
		if text, ok := p.(string); ok {
			picks = append(picks, text)
		} else {
			params = append(params, p)
		}
	}
	sql := fmt.Sprintf("SELECT k FROM (%s) GROUP BY k ORDER BY max(newest) DESC, k LIMIT %d", strings.Join(picks, " UNION ALL "), limit)
	rows, err := s.conn.Query(ctx, sql, params...)
	if err != nil {
		return nil, explain(err, "of the trace")
	}
	defer func() { _ = rows.Close() }()
	var keys []string
	for rows.Next() {
		var k string
		if err := rows.Scan(&k); err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, rows.Err()
}
