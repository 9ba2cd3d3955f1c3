package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/past"
)

// PastFilter says which dead letters, commands or deliveries are meant. Empty parts mean any.
type PastFilter struct {
	Issue, Cause, Stage, Destination, Connection string
	Environment                                  schemas.Environment
	Contact                                      string // an e-mail address or a contact key
	Order                                        string // an order's id or root key
	Item                                         string // id of a letter, or of a command
	Since, Until                                 time.Time
	Effect                                       string // its type
	Text                                         string // part of the reason or error
	// State is that of a letter (LetterOpen...), an issue (also IssueReopened) or a delivery.
	State string
}

// The states of a letter and of an issue.
const (
	LetterOpen      = "OPEN"
	LetterRetried   = "RETRIED"
	LetterDismissed = "DISMISSED"
	IssueReopened   = "REOPENED" // letters came after all earlier ones were retried or dismissed
)

// IssueStates are all of them.
var IssueStates = []string{LetterOpen, IssueReopened, LetterRetried, LetterDismissed}

// Issue is what package past tells.
type Issue = past.Issue

// Letter is what package past tells.
type Letter = past.Letter

// Bounds of pages.
const (
	IssuesMax       = 1000
	PastPageDefault = 100
	PastPageMax     = 1000
)

// where gathers conditions and their parameters.
type where struct {
	parts  []string
	params []any
	err    error
}

func (w *where) add(part string, named ...any) {
	w.parts = append(w.parts, part)
	for i := 0; i+1 < len(named); i += 2 {
		w.params = append(w.params, clickhouse.Named(named[i].(string), named[i+1]))
	}
}

func (w *where) equal(column, value string) {
	if value != "" {
		w.add(column+" = @"+column, column, value)
	}
}

func (w *where) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("%w: "+format, append([]any{ErrFilter}, args...)...)
	}
}

func (w *where) text() string { return strings.Join(append(w.parts, "1"), " AND ") }

// common adds the parts that letters, commands and deliveries have alike.
func (f PastFilter) common() *where {
	w := &where{}
	for _, text := range []string{f.Issue, f.Cause, f.Stage, f.Destination, f.Connection, f.Contact, f.Order, f.Item, f.Effect, f.Text} {
		if len(text) > idBytesMax {
			w.fail("an id, name or text is longer than %d bytes", idBytesMax)
		}
	}
	w.equal("destination", f.Destination)
	if f.Contact != "" {
		keys := contactKeys(strings.TrimSpace(f.Contact))
		if len(keys) == 0 {
			w.fail("contact %q is no e-mail address and no contact key such as live/ann@example.com", f.Contact)
		}
		w.add("contact_key IN @contacts", "contacts", set(keys))
	}
	if f.Order != "" {
		w.add("(root_key = @order OR endsWith(root_key, @ending))", "order", f.Order, "ending", "/"+f.Order)
	}
	if f.Connection != "" {
		w.add("splitByChar('/', root_key)[2] = @connection", "connection", f.Connection)
	}
	if f.Environment != "" {
		w.add("startsWith(if(root_key != '', root_key, contact_key), @environment)", "environment", string(f.Environment)+"/")
	}
	if !f.Since.IsZero() {
		w.add("at >= fromUnixTimestamp64Milli(@since)", "since", f.Since.UnixMilli())
	}
	if !f.Until.IsZero() {
		w.add("at < fromUnixTimestamp64Milli(@until)", "until", f.Until.UnixMilli())
	}
	return w
}

// letters are the conditions for v_letters.
func (f PastFilter) letters() *where {
	w := f.common()
	w.equal("issue", f.Issue)
	w.equal("cause", f.Cause)
	w.equal("stage", f.Stage)
	if f.Item != "" {
		w.add("(item = @item OR id = @item)", "item", f.Item)
	}
	if f.Effect != "" {
		w.add("topic = @commands AND stage != 'clickhouse' AND (partition, offset) IN (SELECT toInt64(_partition), _offset FROM commands WHERE effect_type = @effect)", "commands", schemas.TopicCommands, "effect", f.Effect)
	}
	if f.Text != "" {
		w.add("positionCaseInsensitiveUTF8(reason, @text) > 0", "text", f.Text)
	}
	return w
}

// Issues lists the groups of dead letters that the filter meets, those that are open first, then the newest. A part of the
// filter other than State leaves out letters, and the counts are of those that are left.
func (s *Store) Issues(ctx context.Context, f PastFilter) ([]Issue, error) {
	w := f.letters()
	if f.State != "" && !slices.Contains(IssueStates, f.State) {
		w.fail("state %q: use open, reopened, retried or dismissed", f.State)
	}
	if w.err != nil {
		return nil, w.err
	}
	having := ""
	if f.State != "" {
		having = "HAVING state = @state"
		w.params = append(w.params, clickhouse.Named("state", f.State))
	}
	ctx, cancel := context.WithTimeout(ctx, TraceTimeout)
	defer cancel()
	rows, err := s.conn.Query(ctx, fmt.Sprintf(`SELECT issue, multiIf(open = 0 AND retried = 0, 'DISMISSED', open = 0, 'RETRIED',
			open < letters AND minIf(l.at, l.state = 'OPEN') > maxIf(l.at, l.state != 'OPEN'), 'REOPENED', 'OPEN') AS state,
		any(l.stage), any(l.cause), any(l.place), any(l.pattern), count() AS letters, countIf(l.state = 'OPEN') AS open, countIf(l.state = 'RETRIED') AS retried,
		countIf(l.state = 'DISMISSED'), min(l.at), max(l.at) AS last_seen, argMax(l.reason, (l.at, l.item)), argMax(l.remedy, (l.at, l.item)), argMax(l.item, (l.state = 'OPEN', l.at, l.item))
		FROM (SELECT * FROM v_letters WHERE %s) AS l GROUP BY issue %s ORDER BY open > 0 DESC, last_seen DESC, issue LIMIT %d`, w.text(), having, IssuesMax), w.params...)
	if err != nil {
		return nil, explainJobs(err)
	}
	defer func() { _ = rows.Close() }()
	list := []Issue{}
	for rows.Next() {
		var i Issue
		if err := rows.Scan(&i.Key, &i.State, &i.Stage, &i.Cause, &i.Place, &i.Pattern, &i.Letters, &i.Open, &i.Retried, &i.Dismissed,
			&i.FirstSeen, &i.LastSeen, &i.Reason, &i.Remedy, &i.Sample); err != nil {
			return nil, fmt.Errorf("read issues: %w", err)
		}
		i.FirstSeen, i.LastSeen = i.FirstSeen.UTC(), i.LastSeen.UTC()
		list = append(list, i)
	}
	return list, explainJobs(rows.Err())
}

// Letters lists dead letters, the newest first, at most so many (0: PastPageDefault).
func (s *Store) Letters(ctx context.Context, f PastFilter, limit int) ([]Letter, error) {
	w := f.letters()
	if f.State != "" {
		w.add("state = @state", "state", f.State)
	}
	if w.err != nil {
		return nil, w.err
	}
	ctx, cancel := context.WithTimeout(ctx, TraceTimeout)
	defer cancel()
	rows, err := s.conn.Query(ctx, fmt.Sprintf(`SELECT item, issue, state, stage, cause, reason, remedy, topic, partition, offset, event_id, root_key,
		destination, contact_key, config_version, at, job_id, word, by, word_at FROM v_letters WHERE %s ORDER BY at DESC, item LIMIT %d`, w.text(), page(limit)), w.params...)
	if err != nil {
		return nil, explainJobs(err)
	}
	defer func() { _ = rows.Close() }()
	list := []Letter{}
	for rows.Next() {
		var l Letter
		if err := rows.Scan(&l.Item, &l.Issue, &l.State, &l.Stage, &l.Cause, &l.Reason, &l.Remedy, &l.Topic, &l.Partition, &l.Offset, &l.EventID, &l.RootKey,
			&l.Destination, &l.ContactKey, &l.Config, &l.At, &l.JobID, &l.Word, &l.WordBy, &l.WordAt); err != nil {
			return nil, fmt.Errorf("read dead letters: %w", err)
		}
		l.At, l.WordAt = unset(l.At), unset(l.WordAt)
		list = append(list, l)
	}
	return list, explainJobs(rows.Err())
}

func page(limit int) int {
	if limit <= 0 {
		return PastPageDefault
	}
	return min(limit, PastPageMax)
}

// LetterCount is how many dead letters of a filter stand how.
type LetterCount struct {
	Open   map[string]uint64 `json:"open"` // by cause
	Closed uint64            `json:"closed"`
}

// CountLetters counts the dead letters of a filter, whatever its State.
func (s *Store) CountLetters(ctx context.Context, f PastFilter) (LetterCount, error) {
	c := LetterCount{Open: map[string]uint64{}}
	w := f.letters()
	if w.err != nil {
		return c, w.err
	}
	ctx, cancel := context.WithTimeout(ctx, TraceTimeout)
	defer cancel()
	rows, err := s.conn.Query(ctx, "SELECT toString(cause), state = 'OPEN' AS open, count() FROM v_letters WHERE "+w.text()+" GROUP BY cause, open", w.params...)
	if err != nil {
		return c, explainJobs(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var cause string
		var open bool
		var n uint64
		if err := rows.Scan(&cause, &open, &n); err != nil {
			return c, fmt.Errorf("count dead letters: %w", err)
		}
		if open {
			c.Open[cause] = n
		} else {
			c.Closed += n
		}
	}
	return c, explainJobs(rows.Err())
}

// explainJobs says what is missing where the tables of jobs are.
func explainJobs(err error) error {
	if err == nil {
		return nil
	}
	if code(err) == codeUnknownTable || code(err) == codeUnknownIdentifier {
		return fmt.Errorf("the database does not know jobs yet: let a process of this version write to it once ('tillstream run'): %w", explain(err, "jobs"))
	}
	return explain(err, "jobs")
}
