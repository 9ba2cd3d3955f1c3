package clickhouse

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/tillstream/tillstream/schemas"
)

// Erasure asks for a person to be erased from the tables.
type Erasure struct {
	Email string
	By    string // who asks, for the receipt
	// Settle is how long to wait between saying who is erased and changing rows. It must be longer than running loaders go
	// by what they read before, and take for an insert: see SettleDefault. Zero: nothing loads.
	Settle time.Duration
	// Wait waits; nil waits by the clock.
	Wait func(context.Context, time.Duration) error
	// DryRun counts and changes nothing.
	DryRun bool
}

// SettleDefault is long enough for loaders with their default options.
const SettleDefault = erasedAge + 35*time.Second

// Receipt tells what an erasure did. No address is in it.
type Receipt struct {
	ErasureID    string            `json:"erasure_id"`
	Subject      string            `json:"subject"` // keyed hash of the address; empty: dry run
	Pseudonym    string            `json:"pseudonym"`
	By           string            `json:"by"`
	At           time.Time         `json:"at"`
	DoneAt       time.Time         `json:"done_at"`
	DryRun       bool              `json:"dry_run"`
	Lifted       bool              `json:"lifted"`
	Orders       int               `json:"orders"`       // orders and subscriptions of the person
	Contacts     int               `json:"contacts"`     // contact keys
	Tables       map[string]uint64 `json:"tables"`       // table to rows that lost what named the person
	Destinations []string          `json:"destinations"` // that were sent the contact
	Remaining    []string          `json:"remaining"`    // where the person is still known, and until when
}

// remaining is what no statement to ClickHouse reaches.
var remaining = []string{
	"Kafka: records stay on their topics until the topics' retention ends; what is replayed from them is stored here without the person",
	"Redis and the stages' changelogs: the states of his orders and of his contact, until they are forgotten (stages.forget_after)",
	"backups of ClickHouse, Kafka and Redis: until they are overwritten; after a restore, erase again",
	"the payment provider and the shop: ask there",
}

// ErrNoEmail is returned for what is no address.
var ErrNoEmail = errors.New("not an e-mail address")

const (
	ordersMax = 10_000 // of one person
	// erasePasses bounds how often rows are looked for again that came between.
	erasePasses = 3
)

// whoever is a person as the rows know him.
type whoever struct {
	email           string
	contacts, roots []string
	pseudonym       string
}

// Erase takes what names a person out of every row of every table. Rows and money stay, under a pseudonym, so that books and
// counts still agree; what the rows are known by is kept as keyed hashes, so that rows that are stored again, whenever and
// from wherever, lose the same. Calling it again, also after a crash in its midst, goes on where rows are left.
func (s *Store) Erase(ctx context.Context, e Erasure) (Receipt, error) {
	email := schemas.NormalizeEmail(e.Email)
	if local, domain, ok := strings.Cut(email, "@"); !ok || local == "" || domain == "" || strings.ContainsAny(email, " \t/'\"\\") {
		return Receipt{}, fmt.Errorf("erase: %w", ErrNoEmail)
	}
	r := Receipt{By: e.By, At: s.now().UTC(), DryRun: e.DryRun, Tables: map[string]uint64{}}
	r.Remaining = append(r.Remaining, remaining...)
	who, err := s.find(ctx, email)
	if err != nil {
		return Receipt{}, err
	}
	r.Orders, r.Contacts = len(who.roots), len(who.contacts)
	if r.Destinations, err = s.destinationsOf(ctx, who); err != nil {
		return Receipt{}, err
	}
	for _, d := range r.Destinations {
		r.Remaining = append(r.Remaining, "the CRM of destination "+d+": delete the contact there")
	}
	tables, err := s.described(ctx)
	if err != nil {
		return Receipt{}, err
	}
	if e.DryRun {
		for _, table := range tableNames {
			if r.Tables[table], err = s.rowsOf(ctx, table, tables[table], who); err != nil {
				return Receipt{}, err
			}
		}
		return r, nil
	}
	if err := s.announce(ctx, &r, &who); err != nil {
		return Receipt{}, err
	}
	if err := e.settle(ctx); err != nil {
		return Receipt{}, fmt.Errorf("erase: wait for the loaders: %w", err)
	}
	for _, table := range tableNames {
		if r.Tables[table], err = s.eraseFrom(ctx, table, tables[table], who); err != nil {
			return Receipt{}, err
		}
	}
	r.DoneAt = s.now().UTC()
	if err := s.keepReceipt(ctx, r); err != nil {
		return Receipt{}, err
	}
	return r, s.readErased(ctx)
}

func (e Erasure) settle(ctx context.Context) error {
	switch {
	case e.Settle <= 0:
		return nil
	case e.Wait != nil:
		return e.Wait(ctx, e.Settle)
	}
	select {
	case <-time.After(e.Settle):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Lift ends an erasure for what comes from now on: the person is a customer again. Rows of before stay as they are, and so
// do further ones of the orders of before.
func (s *Store) Lift(ctx context.Context, email, by string) (Receipt, error) {
	known, err := s.suppressedNow(ctx)
	if err != nil {
		return Receipt{}, err
	}
	email = schemas.NormalizeEmail(email)
	pseudonym, ok := watch{known, map[string]string{}}.is(subjectAddress, email)
	if !ok {
		return Receipt{}, fmt.Errorf("lift: %w: nobody of this address is erased", ErrNoEmail)
	}
	r := Receipt{By: by, At: s.now().UTC(), DoneAt: s.now().UTC(), Lifted: true, Pseudonym: pseudonym, ErasureID: drawn(6), Tables: map[string]uint64{}}
	err = s.conn.Exec(plainly(ctx), `INSERT INTO erased_subjects SELECT kind, subject, argMax(pseudonym, at), ?, 1, greatest(fromUnixTimestamp64Micro(?), max(at) + toIntervalMicrosecond(1))
		FROM erased_subjects WHERE kind != ? GROUP BY kind, subject HAVING argMax(pseudonym, at) = ?`, r.ErasureID, r.At.UnixMicro(), subjectRoot, pseudonym)
	if err != nil {
		return Receipt{}, fmt.Errorf("lift: %w", explain(err, "erased_subjects"))
	}
	for _, key := range known.keys {
		if subject := hash(key, subjectAddress, email); known.subjects[subjectAddress+subject] != "" {
			r.Subject = subject
		}
	}
	if err := s.keepReceipt(ctx, r); err != nil {
		return Receipt{}, err
	}
	return r, s.readErased(ctx)
}

func (s *Store) suppressedNow(ctx context.Context) (*suppression, error) {
	if err := s.readErased(ctx); err != nil {
		return nil, err
	}
	return s.suppressed(ctx)
}

// plainly inserts without the deduplication of equal blocks: what is written again is meant.
func plainly(ctx context.Context) context.Context {
	return clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"async_insert": 0, "insert_deduplicate": 0, "mutations_sync": 2, "max_partitions_per_insert_block": partitionsPerInsertMax,
	}))
}

func drawn(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // crypto/rand.Read never fails
	return hex.EncodeToString(b)
}

// find collects the contact keys and the orders of an address.
func (s *Store) find(ctx context.Context, email string) (whoever, error) {
	who := whoever{email: email}
	named := []any{clickhouse.Named("email", email)}
	const of = "lower(payer_email) = @email OR endsWith(contact_key, concat('/', @email))"
	err := s.conn.QueryRow(ctx, `SELECT arrayDistinct(arrayConcat(groupUniqArray(contact_key), groupUniqArrayIf(concat(environment, '/payer:', payer_id), payer_id != ''))) FROM
		(SELECT environment, contact_key, payer_id FROM events WHERE `+of+` UNION ALL SELECT environment, contact_key, payer_id FROM transitions WHERE `+of+`)
		WHERE contact_key != '' OR payer_id != ''`, named...).Scan(&who.contacts)
	if err != nil {
		return who, fmt.Errorf("erase: find the contact keys: %w", explain(err, eventsTable.name))
	}
	for _, env := range []schemas.Environment{schemas.Live, schemas.Sandbox} {
		who.contacts = append(who.contacts, schemas.ContactKey(env, &schemas.Payer{Email: email}))
	}
	named = append(named, clickhouse.Named("keys", set(who.contacts)))
	err = s.conn.QueryRow(ctx, `SELECT groupUniqArray(root) FROM (
		SELECT concat(environment, '/', connection, '/', root_id) AS root FROM events WHERE root_id != '' AND (contact_key IN @keys OR lower(payer_email) = @email)
		UNION ALL SELECT root_key FROM transitions WHERE contact_key IN @keys OR lower(payer_email) = @email
		UNION ALL SELECT root_key FROM commands WHERE contact_key IN @keys OR lower(contact_email) = @email
		UNION ALL SELECT root_key FROM run_steps WHERE contact_key IN @keys) WHERE root != '' AND NOT endsWith(root, '/')`, named...).Scan(&who.roots)
	if err != nil {
		return who, fmt.Errorf("erase: find the orders: %w", explain(err, transitionsTable.name))
	}
	if len(who.roots) > ordersMax {
		return who, fmt.Errorf("erase: the address has %d orders, more than the %d of one person: is it a test's, or the shop's own?", len(who.roots), ordersMax)
	}
	return who, nil
}

func (s *Store) destinationsOf(ctx context.Context, who whoever) (list []string, err error) {
	err = s.conn.QueryRow(ctx, "SELECT arraySort(groupUniqArray(toString(destination))) FROM commands WHERE contact_key IN @keys", clickhouse.Named("keys", set(who.contacts))).Scan(&list)
	if err != nil {
		return nil, fmt.Errorf("erase: find the destinations: %w", explain(err, commandsTable.name))
	}
	return list, nil
}

// announce writes down who is erased, before any row is changed: loaders that store his rows from then on leave him out.
func (s *Store) announce(ctx context.Context, r *Receipt, who *whoever) error {
	known, err := s.suppressedNow(ctx)
	if err != nil {
		return err
	}
	if len(known.keys) == 0 {
		if err := s.conn.Exec(plainly(ctx), "INSERT INTO erasure_keys VALUES (?, now64(3))", drawn(32)); err != nil {
			return fmt.Errorf("erase: draw a key: %w", explain(err, "erasure_keys"))
		}
		if known, err = s.suppressedNow(ctx); err != nil {
			return err
		}
	}
	key := known.keys[0]
	r.ErasureID, r.Subject = drawn(6), hash(key, subjectAddress, who.email)
	who.pseudonym = erasedMark + r.Subject[:12]
	r.Pseudonym = who.pseudonym
	var before []string // of an erasure that did not come to its end
	var last time.Time
	err = s.conn.QueryRow(ctx, "SELECT groupUniqArrayIf(subject, kind = ?), max(at) FROM erased_subjects WHERE pseudonym = ?", subjectRoot, who.pseudonym).Scan(&before, &last)
	if err != nil {
		return fmt.Errorf("erase: read what an earlier erasure found: %w", explain(err, "erased_subjects"))
	}
	who.roots = append(who.roots, before...)
	batch, err := s.conn.PrepareBatch(plainly(ctx), "INSERT INTO erased_subjects (kind, subject, pseudonym, erasure_id, lifted, at)")
	if err != nil {
		return fmt.Errorf("erase: %w", explain(err, "erased_subjects"))
	}
	defer func() { _ = batch.Close() }()
	now := s.now().UTC()
	if !last.Before(now) { // the last row of a subject counts, whatever the clocks of those who write say
		now = last.Add(time.Microsecond)
	}
	add := func(kind, subject string) {
		if err == nil {
			err = batch.Append(kind, subject, who.pseudonym, r.ErasureID, false, now)
		}
	}
	add(subjectAddress, r.Subject)
	for _, c := range who.contacts {
		add(subjectContact, hash(key, subjectContact, c))
	}
	for _, root := range who.roots {
		add(subjectRoot, root)
	}
	if err == nil {
		err = batch.Send()
	}
	if err != nil {
		return fmt.Errorf("erase: write down who is erased: %w", explain(err, "erased_subjects"))
	}
	return s.readErased(ctx)
}

// erasedMark opens a pseudonym.
const erasedMark = "erased-"

// named are the conditions' values.
func (w whoever) named() []any {
	roots := w.roots
	if len(roots) == 0 {
		roots = []string{"/"} // no root has this key
	}
	address := strings.Replace(regexp.QuoteMeta(w.email), "@", `(@|%40|\\u0040)`, 1)
	return []any{
		clickhouse.Named("keys", set(w.contacts)), clickhouse.Named("roots", set(roots)), clickhouse.Named("email", w.email),
		clickhouse.Named("pattern", `(?i)(^|[^\pL\pN_+-])`+address+`([^\pL\pN_.+-]|[.-]+([^\pL\pN]|$)|$)`),
	}
}

// about is the condition of rows that are about the person and still name him.
func about(columns []columnInfo) string {
	var his, open []string
	for _, c := range columns {
		switch c.name {
		case "root_key":
			his = append(his, "root_key IN @roots")
		case "root_id":
			his = append(his, "root_id != '' AND concat(environment, '/', connection, '/', root_id) IN @roots")
		case "contact_key":
			his = append(his, "contact_key IN @keys")
		}
		if !c.pii {
			continue
		}
		switch {
		case c.name == "contact_key":
			open = append(open, "contact_key != '' AND position(contact_key, '"+erasedMark+"') = 0")
		case strings.HasPrefix(c.kind, "Array("):
			open = append(open, "arrayExists(x -> x != '', "+c.name+")")
			his = append(his, "arrayExists(x -> match(x, @pattern), "+c.name+")")
		case strings.HasPrefix(c.kind, "Map("):
			open = append(open, "notEmpty("+c.name+")")
			his = append(his, "arrayExists(x -> match(x, @pattern), mapValues("+c.name+"))")
		case c.name == "key", c.name == "value":
			open = append(open, c.name+" != ''")
			his = append(his, "positionCaseInsensitive("+c.name+", @email) > 0")
		default:
			open = append(open, c.name+" != ''")
			his = append(his, "match("+c.name+", @pattern)")
		}
	}
	if len(open) == 0 {
		return ""
	}
	return "(" + strings.Join(his, " OR ") + ") AND (" + strings.Join(open, " OR ") + ")"
}

func (s *Store) rowsOf(ctx context.Context, table string, columns []columnInfo, who whoever) (n uint64, err error) {
	where := about(columns)
	if where == "" {
		return 0, nil
	}
	err = s.conn.QueryRow(ctx, "SELECT uniqExact(_topic, _topic_id, _partition, _offset) FROM "+table+" WHERE "+where, who.named()...).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("erase: find rows of %s: %w", table, explain(err, table))
	}
	return n, nil
}

// eraseFrom writes each row of the person again without what names him, and then deletes the rows that do name him. Rows
// cannot be changed in place, because contact keys order some tables. A crash between leaves both: done again, the first
// step repeats records that merges reduce to one, and the second is then done.
func (s *Store) eraseFrom(ctx context.Context, table string, columns []columnInfo, who whoever) (uint64, error) {
	var total uint64
	for range erasePasses {
		n, err := s.rowsOf(ctx, table, columns, who)
		if err != nil || n == 0 {
			return total, err
		}
		total += n
		where := about(columns)
		names, values := make([]string, len(columns)), make([]string, len(columns))
		for i, c := range columns {
			names[i], values[i] = c.name, c.erased(who.pseudonym)
		}
		settings := plainly(ctx)
		err = s.conn.Exec(settings, "INSERT INTO "+table+" ("+strings.Join(names, ", ")+") SELECT "+strings.Join(values, ", ")+" FROM "+table+" WHERE "+where, who.named()...)
		if err != nil {
			return total, fmt.Errorf("erase: write rows of %s without the person: %w", table, explain(err, table))
		}
		if err := s.conn.Exec(settings, "ALTER TABLE "+s.place.altered(table)+" DELETE WHERE "+where, who.named()...); err != nil {
			return total, fmt.Errorf("erase: delete rows of %s that name the person: %w", table, explain(err, table))
		}
	}
	n, err := s.rowsOf(ctx, table, columns, who)
	if err == nil && n > 0 {
		err = fmt.Errorf("erase: %d rows of %s still name the person: an older program may be loading: stop it, and erase again", n, table)
	}
	return total, err
}

// erased is the expression of a column in a row that names nobody.
func (c columnInfo) erased(pseudonym string) string {
	switch {
	case !c.pii:
		return c.name
	case c.name == "contact_key":
		return "if(contact_key = '', '', concat(splitByChar('/', contact_key)[1], '/" + pseudonym + "'))"
	case strings.HasPrefix(c.kind, "Array("):
		return "arrayMap(x -> '', " + c.name + ")"
	case strings.HasPrefix(c.kind, "Map("):
		return "mapFilter((k, v) -> 0, " + c.name + ")"
	}
	return "''"
}

func (s *Store) keepReceipt(ctx context.Context, r Receipt) error {
	batch, err := s.conn.PrepareBatch(plainly(ctx), "INSERT INTO erasures (erasure_id, subject, asked_by, lifted, tables, at, done_at)")
	if err != nil {
		return fmt.Errorf("erase: keep the receipt: %w", explain(err, "erasures"))
	}
	defer func() { _ = batch.Close() }()
	if err = batch.Append(r.ErasureID, r.Subject, r.By, r.Lifted, r.Tables, r.At, r.DoneAt); err == nil {
		err = batch.Send()
	}
	if err != nil {
		return fmt.Errorf("erase: keep the receipt: %w", explain(err, "erasures"))
	}
	return nil
}
