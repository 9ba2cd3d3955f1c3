package clickhouse

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/schemas"
)

// EventFilter says which events are meant. Empty parts mean any.
type EventFilter struct {
	// Text is an id or an address, which is found as a whole, or else a part of one, of a name, or of an event type.
	Text         string
	Store        string // configured name of the connection
	Order        string // an order's or subscription's id, or its root key
	Contact      string // an address or a contact key
	Status       schemas.PaymentStatus
	Kind         schemas.EventKind
	Type         string // the provider's own event type
	Currency     string
	Environment  schemas.Environment
	Problem      bool      // only what could not be normalised
	Since, Until time.Time // by the broker's time; Until is not part of it
	ProviderTime bool      // Since and Until are about the provider's time
	After        string    // cursor of the page before
	Limit        int       // 0: EventsPageDefault
}

// Bounds of a search.
const (
	EventsPageDefault = 50
	EventsPageMax     = 500
	// SearchTimeout bounds one search.
	SearchTimeout = 15 * time.Second
)

// EventRow is one record of an event, in short.
type EventRow struct {
	Environment, Connection, Provider, RootID, EventID, EntityID string
	Kind, EventType, ProviderStatus, Status, Origin              string
	ContactKey, Name                                             string // personal data
	Amount                                                       *decimal.Decimal
	Currency, Problem                                            string
	ReceivedAt, ProviderTime, At                                 time.Time
	Test                                                         bool
	Coordinates                                                  Coordinates
}

// Record is the name of the row's record, as dead letters name theirs: topic-partition-offset.
func (r EventRow) Record() string {
	return fmt.Sprintf("%s-%d-%d", r.Coordinates.Topic, r.Coordinates.Partition, r.Coordinates.Offset)
}

// EventRows is a page of events, the newest first. Next is the cursor of the page behind it; empty: there is none.
type EventRows struct {
	Rows []EventRow
	Next string
	// SearchedTo says that a search for a part of a text took its time and went back so far only; Next goes on from there.
	// Zero: it went on until the page was full, or the events ended.
	SearchedTo time.Time
}

// eventKey is the place of an event in the order of a search.
type eventKey struct {
	at int64 // milliseconds
	c  Coordinates
}

// How a search reads: by an index, or newest first through all rows.
const (
	searchExact = "e" // Text is an id or address as a whole
	searchWords = "w" // each word of Text is one of the event's: an index leaves out where it is not
	searchPart  = "p" // Text is a part of something; also: there is no text
)

// wordsOf is the expression of the index by_words, to the letter.
const wordsOf = "lowerUTF8(concat(contact_key, ' ', payer_full_name, ' ', payer_given_name, ' ', payer_surname, ' ', invoice_id, ' ', custom_id, ' ', root_id, ' ', event_type))"

// textWordsMax bounds the words of a text that are looked for.
const textWordsMax = 8

// words are those of text as the index has them.
func words(text string) []string {
	list := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return r < utf8.RuneSelf && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	return list[:min(len(list), textWordsMax)]
}

// SearchEvents finds events. An error about the filter is ErrFilter.
func (s *Store) SearchEvents(ctx context.Context, f EventFilter) (EventRows, error) {
	f.Text, f.Order, f.Contact = strings.TrimSpace(f.Text), strings.TrimSpace(f.Order), strings.TrimSpace(f.Contact)
	if f.Limit <= 0 {
		f.Limit = EventsPageDefault
	}
	f.Limit = min(f.Limit, EventsPageMax)
	mode, after, err := eventCursorOf(f.After)
	if err != nil {
		return EventRows{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, SearchTimeout)
	defer cancel()
	modes := []string{searchExact, searchWords, searchPart}
	switch {
	case f.Text == "":
		modes = []string{searchPart}
	case mode != "":
		modes = []string{mode} // a page goes on as the first one began
	}
	var found eventKeys
	for _, mode = range modes {
		if found, err = s.eventKeys(ctx, f, mode, after); err != nil {
			return EventRows{}, err
		}
		if len(found.keys) > 0 {
			break
		}
	}
	page := EventRows{SearchedTo: found.until}
	switch {
	case len(found.keys) > f.Limit:
		found.keys = found.keys[:f.Limit]
		page.Next, page.SearchedTo = found.keys[f.Limit-1].cursor(mode), time.Time{}
	case !found.until.IsZero():
		page.Next = eventKey{at: found.until.UnixMilli()}.cursor(mode)
	}
	page.Rows, err = s.eventRows(ctx, found.keys)
	return page, err
}

// eventKeys are places of events. until is how far back they were looked for; zero: to the end.
type eventKeys struct {
	keys  []eventKey
	until time.Time
}

// eventKeys finds the places of at most f.Limit+1 events behind after.
func (s *Store) eventKeys(ctx context.Context, f EventFilter, mode string, after *eventKey) (eventKeys, error) {
	w := f.where(mode)
	if after != nil {
		w.add("_at <= fromUnixTimestamp64Milli(@afterat, 'UTC') AND (toUnixTimestamp64Milli(_at), toString(_topic), toString(_topic_id), _partition, _offset) < (@afterat, @aftertopic, @aftertopicid, @afterpartition, @afteroffset)",
			"afterat", after.at, "aftertopic", after.c.Topic, "aftertopicid", after.c.TopicID, "afterpartition", after.c.Partition, "afteroffset", after.c.Offset)
	}
	alternatives := f.alternatives(w, mode)
	if w.err != nil {
		return eventKeys{}, w.err
	}
	if len(alternatives) > 0 {
		keys, err := s.readEventKeys(ctx, w, alternatives, f.Limit+1)
		return eventKeys{keys: keys}, err
	}
	return s.newestEventKeys(ctx, w, f, mode, after)
}

const aDay = 24 * time.Hour

// How far back a search looks at first, and then, where that is not enough; behind the last one, everything, or for a part of
// a text the last one again, as long as partTime lasts.
var (
	spans     = []time.Duration{aDay, 14 * aDay, 92 * aDay}
	partSpans = []time.Duration{aDay, 7 * aDay, 31 * aDay}
)

// partTime is how long a search for a part of a text goes on, month by month.
const partTime = 250 * time.Millisecond

// newestEventKeys looks through the rows from the newest on, in spans that grow, so that what is found soon costs little.
func (s *Store) newestEventKeys(ctx context.Context, w *where, f EventFilter, mode string, after *eventKey) (eventKeys, error) {
	var oldest, newest time.Time
	if err := s.conn.QueryRow(ctx, "SELECT min(_at), max(_at) FROM events").Scan(&oldest, &newest); err != nil {
		return eventKeys{}, fmt.Errorf("search events: %w", explain(err, eventsTable.name))
	}
	end := newest.Add(time.Millisecond)
	if !f.ProviderTime && !f.Until.IsZero() && f.Until.Before(end) {
		end = f.Until
	}
	if after != nil && time.UnixMilli(after.at+1).Before(end) {
		end = time.UnixMilli(after.at + 1)
	}
	if !f.ProviderTime && f.Since.After(oldest) {
		oldest = f.Since
	}
	part := mode == searchPart && f.Text != ""
	steps, began := spans, s.now()
	if part {
		steps = partSpans
	}
	var found eventKeys
	for i := 0; len(found.keys) <= f.Limit && !end.Before(oldest); i++ {
		if part && i > 0 && s.now().Sub(began) > partTime {
			found.until = end
			break
		}
		span := &where{parts: slices.Clone(w.parts), params: slices.Clone(w.params)}
		span.add("_at < fromUnixTimestamp64Milli(@spanend, 'UTC')", "spanend", end.UnixMilli())
		switch {
		case i < len(steps):
			end = end.Add(-steps[i])
		case part:
			end = end.Add(-steps[len(steps)-1])
		default:
			end = oldest.Add(-time.Millisecond)
		}
		span.add("_at >= fromUnixTimestamp64Milli(@spanbegin, 'UTC')", "spanbegin", end.UnixMilli())
		more, err := s.readEventKeys(ctx, span, []string{""}, f.Limit+1-len(found.keys))
		if err != nil {
			return eventKeys{}, err
		}
		found.keys = append(found.keys, more...)
	}
	return found, nil
}

// readEventKeys reads the newest keys that meet the conditions and one of the alternatives, each record once. Repetitions are
// taken out here: LIMIT BY would have the server sort every row that meets them.
func (s *Store) readEventKeys(ctx context.Context, w *where, alternatives []string, limit int) ([]eventKey, error) {
	for most := limit + repeatsUsual; ; most *= 4 {
		rows, keys, err := s.eventKeysOnce(ctx, w, alternatives, most)
		if err != nil || len(keys) >= limit || rows < most {
			return keys[:min(limit, len(keys))], err
		}
	}
}

// repeatsUsual is how many repetitions of records a page is expected to have at the most.
const repeatsUsual = 20

func (s *Store) eventKeysOnce(ctx context.Context, w *where, alternatives []string, most int) (n int, keys []eventKey, err error) {
	const order = "_at DESC, toString(_topic) DESC, toString(_topic_id) DESC, _partition DESC, _offset DESC"
	parts := make([]string, len(alternatives))
	for i, a := range alternatives {
		all := w.text()
		if a != "" {
			all = a + " AND " + all
		}
		parts[i] = fmt.Sprintf("SELECT _at, _topic, _topic_id, _partition, _offset FROM events WHERE %s ORDER BY %s LIMIT %d", all, order, most)
	}
	sql := parts[0]
	if len(parts) > 1 {
		sql = fmt.Sprintf("SELECT * FROM ((%s)) ORDER BY %s LIMIT %d", strings.Join(parts, ") UNION ALL ("), order, most)
	}
	rows, err := s.conn.Query(ctx, sql, w.params...)
	if err != nil {
		return 0, nil, fmt.Errorf("search events: %w", explain(err, eventsTable.name))
	}
	defer func() { _ = rows.Close() }()
	for ; rows.Next(); n++ {
		var k eventKey
		var at time.Time
		if err := rows.Scan(&at, &k.c.Topic, &k.c.TopicID, &k.c.Partition, &k.c.Offset); err != nil {
			return n, nil, fmt.Errorf("search events: %w", err)
		}
		k.at = at.UnixMilli()
		if len(keys) == 0 || keys[len(keys)-1] != k {
			keys = append(keys, k)
		}
	}
	if err := rows.Err(); err != nil {
		return n, nil, fmt.Errorf("search events: %w", explain(err, eventsTable.name))
	}
	return n, keys, nil
}

// where are the conditions that narrow, whatever way the search reads.
func (f EventFilter) where(mode string) *where {
	w := &where{}
	for _, text := range []string{f.Text, f.Store, f.Order, f.Contact, f.Type, f.Currency, string(f.Status), string(f.Kind), string(f.Environment)} {
		if len(text) > idBytesMax {
			w.fail("an id, name or text is longer than %d bytes", idBytesMax)
		}
	}
	w.equal("connection", f.Store)
	w.equal("status", string(f.Status))
	w.equal("kind", string(f.Kind))
	w.equal("event_type", f.Type)
	w.equal("currency", f.Currency)
	w.equal("environment", string(f.Environment))
	if f.Problem {
		w.add("problem != ''")
	}
	clock := "_at"
	if f.ProviderTime {
		clock = "provider_time"
	}
	if !f.Since.IsZero() {
		w.add(clock+" >= fromUnixTimestamp64Milli(@since, 'UTC')", "since", f.Since.UnixMilli())
	}
	if !f.Until.IsZero() {
		w.add(clock+" < fromUnixTimestamp64Milli(@until, 'UTC')", "until", f.Until.UnixMilli())
	}
	switch {
	case f.Text == "":
	case mode == searchWords:
		list := words(f.Text)
		if len(list) == 0 {
			w.add("0") // nothing but punctuation
		}
		for i, word := range list {
			name := "word" + strconv.Itoa(i)
			w.add("hasToken("+wordsOf+", @"+name+")", name, word)
		}
	case mode == searchPart:
		var either []string
		for _, column := range []string{"contact_key", "entity_id", "event_id", "root_id", "payer_full_name", "payer_surname", "payer_given_name", "invoice_id", "custom_id", "event_type"} {
			either = append(either, "positionCaseInsensitiveUTF8("+column+", @text) > 0")
		}
		w.add("("+strings.Join(either, " OR ")+")", "text", f.Text)
	}
	return w
}

// alternatives are the conditions of which an event meets one, where an index finds those that do. Each becomes a SELECT of
// its own, because ClickHouse uses a skip index only where it decides the whole condition.
func (f EventFilter) alternatives(w *where, mode string) []string {
	switch {
	case f.Order != "":
		last, whole := f.Order, ""
		if env, connection, id, ok := schemas.SplitRootKey(f.Order); ok {
			last, whole = id, " AND environment = @orderenv AND connection = @orderstore"
			w.add("1", "orderenv", string(env), "orderstore", connection)
		}
		w.add("1", "orderid", last, "orderkey", f.Order)
		if mode == searchExact {
			w.exactly(f.Text)
		}
		// An event that named only its capture is stored under the capture's id, its transition under the order's.
		theirs := "root_key = @orderkey"
		if whole == "" {
			theirs = "root_id = @orderid"
		}
		return []string{
			"root_id = @orderid" + whole, "entity_id = @orderid" + whole, "has(link_ids, @orderid)" + whole,
			"event_id IN (SELECT event_id FROM transitions WHERE " + theirs + ")" + whole,
		}
	case f.Contact != "":
		keys := contactKeys(f.Contact)
		if len(keys) == 0 {
			w.fail("contact %q is no e-mail address and no contact key such as live/ann@example.com", f.Contact)
		}
		w.add("1", "contacts", set(keys))
		if mode == searchExact {
			w.exactly(f.Text)
		}
		return []string{"contact_key IN @contacts"}
	case mode == searchExact:
		w.add("1", "exact", f.Text)
		list := []string{"event_id = @exact", "entity_id = @exact", "root_id = @exact", "has(link_ids, @exact)", "has(delivery_ids, @exact)"}
		if keys := contactKeys(f.Text); len(keys) > 0 {
			w.add("1", "contacts", set(keys))
			list = append(list, "contact_key IN @contacts")
		}
		return list
	}
	return nil
}

// exactly narrows what an index found to what has text as a whole.
func (w *where) exactly(text string) {
	of := "(event_id = @exact OR entity_id = @exact OR root_id = @exact OR has(link_ids, @exact) OR has(delivery_ids, @exact)"
	w.params = append(w.params, clickhouse.Named("exact", text))
	if keys := contactKeys(text); len(keys) > 0 {
		of += " OR contact_key IN @exactcontacts"
		w.params = append(w.params, clickhouse.Named("exactcontacts", set(keys)))
	}
	w.parts = append(w.parts, of+")")
}

const eventRowColumns = `environment, connection, provider, root_id, event_id, entity_id, kind, event_type, provider_status, status, origin, contact_key,
	if(payer_full_name != '', payer_full_name, trimBoth(concat(payer_given_name, ' ', payer_surname))), amount, currency, problem, received_at, provider_time, test,
	_topic, _topic_id, _partition, _offset, _at`

// eventRows reads the rows at keys, in their order.
func (s *Store) eventRows(ctx context.Context, keys []eventKey) ([]EventRow, error) {
	list := make([]EventRow, 0, len(keys))
	if len(keys) == 0 {
		return list, nil
	}
	place := map[eventKey]int{}
	at, offsets := make([]string, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		place[k] = i
		at[i] = "fromUnixTimestamp64Milli(toInt64(" + strconv.FormatInt(k.at, 10) + "), 'UTC')"
		offsets[i] = strconv.FormatInt(k.c.Offset, 10)
	}
	rows, err := s.conn.Query(ctx, "SELECT "+eventRowColumns+" FROM events WHERE _at IN ("+strings.Join(at, ", ")+") AND _offset IN ("+strings.Join(offsets, ", ")+
		") LIMIT 1 BY _topic, _topic_id, _partition, _offset")
	if err != nil {
		return nil, fmt.Errorf("read events: %w", explain(err, eventsTable.name))
	}
	defer func() { _ = rows.Close() }()
	found := make([]*EventRow, len(keys))
	for rows.Next() {
		var r EventRow
		if err := rows.Scan(r.into()...); err != nil {
			return nil, fmt.Errorf("read events: %w", err)
		}
		r.tidy()
		if i, ok := place[eventKey{r.At.UnixMilli(), r.Coordinates}]; ok {
			found[i] = &r
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read events: %w", explain(err, eventsTable.name))
	}
	for _, r := range found {
		if r != nil { // an erasure may have moved it meanwhile
			list = append(list, *r)
		}
	}
	return list, nil
}

// into are the places of eventRowColumns.
func (r *EventRow) into() []any {
	return []any{
		&r.Environment, &r.Connection, &r.Provider, &r.RootID, &r.EventID, &r.EntityID, &r.Kind, &r.EventType, &r.ProviderStatus, &r.Status, &r.Origin, &r.ContactKey,
		&r.Name, &r.Amount, &r.Currency, &r.Problem, &r.ReceivedAt, &r.ProviderTime, &r.Test,
		&r.Coordinates.Topic, &r.Coordinates.TopicID, &r.Coordinates.Partition, &r.Coordinates.Offset, &r.At,
	}
}

func (r *EventRow) tidy() {
	r.ReceivedAt, r.ProviderTime, r.At = unset(r.ReceivedAt), unset(r.ProviderTime), unset(r.At)
}

func (k eventKey) cursor(mode string) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%s,%d,%d,%d,%s,%s", mode, k.at, k.c.Partition, k.c.Offset, k.c.TopicID, k.c.Topic))
}

func eventCursorOf(text string) (mode string, k *eventKey, err error) {
	if text == "" {
		return "", nil, nil
	}
	bad := fmt.Errorf("%w: the cursor is none that was given out; begin without one", ErrFilter)
	b, err := base64.RawURLEncoding.DecodeString(text)
	parts := strings.SplitN(string(b), ",", 6)
	if err != nil || len(text) > idBytesMax || len(parts) != 6 || parts[0] != searchExact && parts[0] != searchWords && parts[0] != searchPart {
		return "", nil, bad
	}
	at, errAt := strconv.ParseInt(parts[1], 10, 64)
	partition, errPartition := strconv.ParseInt(parts[2], 10, 32)
	offset, errOffset := strconv.ParseInt(parts[3], 10, 64)
	if errAt != nil || errPartition != nil || errOffset != nil || at < 0 || at > lastDay.UnixMilli() {
		return "", nil, bad
	}
	return parts[0], &eventKey{at, Coordinates{Topic: parts[5], TopicID: parts[4], Partition: int32(partition), Offset: offset}}, nil
}
