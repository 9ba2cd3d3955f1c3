package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/past"
)

// States of a delivery beside the outcomes.
const (
	DeliverySettled = "SETTLED" // it was uncertain, and a person says that it happened
	DeliveryResent  = "RESENT"  // it was uncertain, and is on its way again
)

// DeliveryStates are those of Delivery.State.
var DeliveryStates = []string{
	string(schemas.OutcomeIntent), string(schemas.OutcomeDelivered), string(schemas.OutcomeSuperseded), string(schemas.OutcomeRejected),
	string(schemas.OutcomeRetryable), string(schemas.OutcomeUncertain), DeliverySettled, DeliveryResent,
}

// Delivery is what package past tells.
type Delivery = past.Delivery

// Try is what package past tells.
type Try = past.Try

// outcomes reads the last word about each command of a filter.
const outcomes = `SELECT c.command_id AS command_id, c.one_kind AS kind, c.one_destination AS destination, c.one_contact AS contact_key, c.one_root AS root_key, c.one_event AS event_id,
	multiIf(c.last = 'UNCERTAIN' AND w.word_at >= c.said AND w.word = 'SETTLED', 'SETTLED', c.last = 'UNCERTAIN' AND w.word_at >= c.said AND w.word = 'SENT', 'RESENT', c.last) AS state,
	c.attempts AS attempts, c.status AS status, c.last_error AS error, c.last_remedy AS remedy, c.first_at AS first_at, c.last_at AS last_at
	FROM (SELECT command_id, toString(any(kind)) AS one_kind, toString(any(destination)) AS one_destination, any(contact_key) AS one_contact, any(root_key) AS one_root,
		any(event_id) AS one_event, toString(argMax(outcome, (_at, _offset))) AS last, max(attempt) AS attempts,
		argMax(if(empty(response_status), 0, response_status[-1]), (_at, _offset)) AS status, argMax(error, (_at, _offset)) AS last_error,
		argMax(remedy, (_at, _offset)) AS last_remedy, min(started_at) AS first_at, max(at) AS last_at, max(_at) AS said
		FROM deliveries WHERE %s GROUP BY command_id) AS c
	LEFT JOIN (SELECT item, argMax(toString(result), (_at, _offset)) AS word, max(_at) AS word_at FROM job_items
		WHERE kind IN ('RETRY', 'SETTLE') AND result IN ('SENT', 'SETTLED') GROUP BY item) AS w ON w.item = c.command_id`

// deliveries are the conditions for the table of deliveries.
func (f PastFilter) deliveries() *where {
	w := f.common()
	if f.Item != "" {
		w.add("command_id = @item", "item", f.Item)
	}
	if f.Effect != "" {
		w.add("command_id IN (SELECT command_id FROM commands WHERE effect_type = @effect)", "effect", f.Effect)
	}
	if f.Text != "" {
		w.add("positionCaseInsensitiveUTF8(error, @text) > 0", "text", f.Text)
	}
	if f.State != "" && !slices.Contains(DeliveryStates, f.State) {
		w.fail("outcome %q: use delivered, superseded, rejected, retryable, uncertain, settled, resent or intent", f.State)
	}
	return w
}

// Deliveries lists commands by what became of them, the newest first, at most so many (0: PastPageDefault).
func (s *Store) Deliveries(ctx context.Context, f PastFilter, limit int) ([]Delivery, error) {
	w := f.deliveries()
	if w.err != nil {
		return nil, w.err
	}
	state := "1"
	if f.State != "" {
		state = "state = @state"
		w.params = append(w.params, clickhouse.Named("state", f.State))
	}
	ctx, cancel := context.WithTimeout(ctx, TraceTimeout)
	defer cancel()
	rows, err := s.conn.Query(ctx, fmt.Sprintf(`SELECT d.*, e.effect_type, e.effect_name FROM (SELECT * FROM (`+outcomes+`) WHERE %s ORDER BY last_at DESC, command_id LIMIT %d) AS d
		LEFT JOIN (SELECT command_id, any(toString(effect_type)) AS effect_type, any(toString(effect_name)) AS effect_name FROM commands GROUP BY command_id) AS e ON e.command_id = d.command_id
		ORDER BY d.last_at DESC, d.command_id`, w.text(), state, page(limit)), w.params...)
	if err != nil {
		return nil, explainJobs(err)
	}
	defer func() { _ = rows.Close() }()
	list := []Delivery{}
	for rows.Next() {
		var d Delivery
		if err := rows.Scan(&d.CommandID, &d.Kind, &d.Destination, &d.ContactKey, &d.RootKey, &d.EventID, &d.State, &d.Attempts, &d.Status, &d.Error, &d.Remedy,
			&d.FirstAt, &d.At, &d.Effect, &d.EffectName); err != nil {
			return nil, fmt.Errorf("read deliveries: %w", err)
		}
		d.FirstAt, d.At = unset(d.FirstAt), unset(d.At)
		list = append(list, d)
	}
	return list, explainJobs(rows.Err())
}

// CountDeliveries counts the commands of a filter.
func (s *Store) CountDeliveries(ctx context.Context, f PastFilter) (n uint64, err error) {
	w := f.deliveries()
	if w.err != nil {
		return 0, w.err
	}
	state := "1"
	if f.State != "" {
		state = "state = @state"
		w.params = append(w.params, clickhouse.Named("state", f.State))
	}
	ctx, cancel := context.WithTimeout(ctx, TraceTimeout)
	defer cancel()
	err = s.conn.QueryRow(ctx, fmt.Sprintf("SELECT count() FROM ("+outcomes+") WHERE %s", w.text(), state), w.params...).Scan(&n)
	return n, explainJobs(err)
}

// TriesMax bounds what is told of one command.
const TriesMax = 200

// Tries tells all that is known of one command's delivery, in order.
func (s *Store) Tries(ctx context.Context, command string) ([]Try, error) {
	ctx, cancel := context.WithTimeout(ctx, TraceTimeout)
	defer cancel()
	rows, err := s.conn.Query(ctx, fmt.Sprintf(`SELECT toString(outcome), attempt, error, remedy, at, request_at, request_method, request_url, request_body, response_status, response_body, request_error, request_millis
		FROM deliveries WHERE command_id = @command ORDER BY _at, _topic_id, _partition, _offset LIMIT 1 BY _topic_id, _partition, _offset LIMIT %d`, TriesMax), clickhouse.Named("command", command))
	if err != nil {
		return nil, explainJobs(err)
	}
	defer func() { _ = rows.Close() }()
	list := []Try{}
	for rows.Next() {
		var t Try
		var at []time.Time
		var methods, urls, bodies, answers, errs []string
		var statuses, millis []int64
		if err := rows.Scan(&t.Outcome, &t.Attempt, &t.Error, &t.Remedy, &t.At, &at, &methods, &urls, &bodies, &statuses, &answers, &errs, &millis); err != nil {
			return nil, fmt.Errorf("read deliveries: %w", err)
		}
		t.At, t.Requests = unset(t.At), []schemas.Exchange{}
		for i := range methods {
			t.Requests = append(t.Requests, schemas.Exchange{
				Method: methods[i], URL: urls[i], Request: bodies[i], Status: statuses[i], Response: answers[i], Error: errs[i], At: unset(at[i]), Millis: millis[i],
			})
		}
		list = append(list, t)
	}
	return list, explainJobs(rows.Err())
}

// Replayed is what a replay of a filter is about.
type Replayed struct {
	Contacts uint64   `json:"contacts"` // once for each destination
	Effects  uint64   `json:"effects"`
	Sample   []string `json:"sample"` // destinations and contacts; personal data
}

// CountReplay counts what a replay would send again.
func (s *Store) CountReplay(ctx context.Context, f PastFilter) (r Replayed, err error) {
	w := f.common()
	w.equal("effect_type", f.Effect)
	if f.Item != "" {
		w.add("command_id = @item", "item", f.Item)
	}
	if w.err != nil {
		return r, w.err
	}
	ctx, cancel := context.WithTimeout(ctx, TraceTimeout)
	defer cancel()
	err = s.conn.QueryRow(ctx, `SELECT uniqExactIf((destination, contact_key), kind = 'CONTACT'), uniqExactIf(command_id, kind = 'EFFECT' AND origin != 'REPLAY'),
		arraySort(groupUniqArrayIf(5)(concat(destination, ' ', contact_key), kind = 'CONTACT')) FROM commands WHERE `+w.text(), w.params...).Scan(&r.Contacts, &r.Effects, &r.Sample)
	return r, explainJobs(err)
}

// Job is what package past tells.
type Job = past.Job

// Jobs lists jobs, the newest first, at most so many; id, where it is given, is the only one.
func (s *Store) Jobs(ctx context.Context, id string, limit int) ([]Job, error) {
	w := &where{}
	w.equal("job_id", id)
	ctx, cancel := context.WithTimeout(ctx, TraceTimeout)
	defer cancel()
	rows, err := s.conn.Query(ctx, fmt.Sprintf(`SELECT job_id, toString(kind), toString(state), filter, per_minute, count, done, skipped, failed, detail, why, by, asked_at, at
		FROM v_jobs WHERE %s ORDER BY asked_at DESC, job_id LIMIT %d`, w.text(), page(limit)), w.params...)
	if err != nil {
		return nil, explainJobs(err)
	}
	defer func() { _ = rows.Close() }()
	list := []Job{}
	for rows.Next() {
		var j Job
		if err := rows.Scan(&j.ID, &j.Kind, &j.State, &j.Filter, &j.PerMinute, &j.Count, &j.Done, &j.Skipped, &j.Failed, &j.Detail, &j.Why, &j.By, &j.AskedAt, &j.At); err != nil {
			return nil, fmt.Errorf("read jobs: %w", err)
		}
		j.AskedAt, j.At = unset(j.AskedAt), unset(j.At)
		list = append(list, j)
	}
	return list, explainJobs(rows.Err())
}

// Item is what package past tells.
type Item = past.Item

// Items lists what a job made of its items, in order, behind a number; result, where it is given, is the only one.
func (s *Store) Items(ctx context.Context, job, result string, after int64, limit int) ([]Item, error) {
	w := &where{}
	w.add("job_id = @job AND number > @after", "job", job, "after", after)
	w.equal("result", result)
	ctx, cancel := context.WithTimeout(ctx, TraceTimeout)
	defer cancel()
	rows, err := s.conn.Query(ctx, fmt.Sprintf(`SELECT number, item, toString(result), detail, toString(destination), contact_key, at FROM job_items
		WHERE %s ORDER BY number LIMIT 1 BY number LIMIT %d`, w.text(), page(limit)), w.params...)
	if err != nil {
		return nil, explainJobs(err)
	}
	defer func() { _ = rows.Close() }()
	list := []Item{}
	for rows.Next() {
		var i Item
		if err := rows.Scan(&i.Number, &i.Item, &i.Result, &i.Detail, &i.Destination, &i.ContactKey, &i.At); err != nil {
			return nil, fmt.Errorf("read items: %w", err)
		}
		i.At = unset(i.At)
		list = append(list, i)
	}
	return list, explainJobs(rows.Err())
}
