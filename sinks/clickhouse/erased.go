package clickhouse

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// erased is what inserts know of erased persons: whatever brings their records again, from the log of years or out of
// another stage's memory, the rows are stored without what names them. Records are counted as before.
type erased struct {
	mu     sync.Mutex
	readAt time.Time
	known  *suppression
}

// erasedAge is how long an insert may go by what it read of erased persons.
const erasedAge = 10 * time.Second

// A suppression is the list of those who are not to be named.
type suppression struct {
	keys     []string
	subjects map[string]string // kind and subject to pseudonym
	pii      map[string]map[string]bool
}

// The kinds of subjects.
const (
	subjectAddress = "ADDRESS"
	subjectContact = "CONTACT"
	subjectRoot    = "ROOT"
)

// hash is the keyed hash of an address or a contact key.
func hash(key, kind, text string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(kind + "\x00" + text))
	return hex.EncodeToString(mac.Sum(nil))
}

// readErased reads the list anew.
func (s *Store) readErased(ctx context.Context) error {
	known := &suppression{subjects: map[string]string{}, pii: map[string]map[string]bool{}}
	rows, err := s.conn.Query(ctx, `SELECT 'key', key, '' FROM erasure_keys FINAL UNION ALL
		SELECT kind, subject, argMax(pseudonym, at) FROM erased_subjects GROUP BY kind, subject HAVING NOT argMax(lifted, at)`)
	if err != nil {
		return fmt.Errorf("clickhouse: read who was erased: %w", explain(err, "erased_subjects"))
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var kind, subject, pseudonym string
		if err := rows.Scan(&kind, &subject, &pseudonym); err != nil {
			return fmt.Errorf("clickhouse: read who was erased: %w", err)
		}
		if kind == "key" {
			known.keys = append(known.keys, subject)
			continue
		}
		known.subjects[kind+subject] = pseudonym
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("clickhouse: read who was erased: %w", explain(err, "erased_subjects"))
	}
	if len(known.subjects) > 0 {
		tables, err := s.described(ctx)
		if err != nil {
			return err
		}
		for table, columns := range tables {
			known.pii[table] = map[string]bool{}
			for _, c := range columns {
				known.pii[table][c.name] = c.pii
			}
		}
	}
	s.erased.mu.Lock()
	defer s.erased.mu.Unlock()
	s.erased.known, s.erased.readAt = known, s.now()
	return nil
}

// suppressed is the list, not older than erasedAge.
func (s *Store) suppressed(ctx context.Context) (*suppression, error) {
	s.erased.mu.Lock()
	known, at := s.erased.known, s.erased.readAt
	s.erased.mu.Unlock()
	if known != nil && s.now().Sub(at) < erasedAge {
		return known, nil
	}
	if err := s.readErased(ctx); err != nil {
		return nil, err // inserting all the same could bring a person back
	}
	s.erased.mu.Lock()
	defer s.erased.mu.Unlock()
	return s.erased.known, nil
}

// conceal finds the rows of a block that are about erased persons, by their order, their contact, or an address anywhere in
// the columns that name persons.
func (s *Store) conceal(ctx context.Context, b *block, rows []*sinks.Row) error {
	known, err := s.suppressed(ctx)
	if err != nil || len(known.subjects) == 0 {
		return err
	}
	w := watch{suppression: known, met: map[string]string{}}
	found := map[int]string{}
	for i, row := range rows {
		if root := rootOf(row.Record); root != "" {
			if pseudonym, ok := known.subjects[subjectRoot+root]; ok {
				found[i] = pseudonym
			}
		}
	}
	var memory scratch
	for c, column := range b.columns {
		if !known.pii[b.table][column] {
			continue
		}
		texts := textsOf(b.values[c](&memory))
		raw := column == "key" || column == "value" // records in Avro, where lengths stand before texts
		for i := range rows {
			if _, done := found[i]; done {
				continue
			}
			texts(i, func(text string) {
				if pseudonym, ok := w.names(column, text, raw); ok {
					found[i] = pseudonym
				}
			})
		}
	}
	if len(found) > 0 {
		b.concealed, b.erased = known.pii[b.table], found
	}
	return nil
}

// rootOf is the order that a record is about.
func rootOf(rec schemas.Record) string {
	switch r := rec.(type) {
	case *schemas.OrderEvent:
		return r.Key()
	case *schemas.Transition:
		return r.RootKey
	case *schemas.RunStep:
		return r.RootKey
	case *schemas.Command:
		return r.RootKey
	case *schemas.Delivery:
		return r.RootKey
	case *schemas.DeadLetter:
		return r.RootKey
	}
	return ""
}

// textsOf reads a column of any type that a column with names may have, row by row.
func textsOf(values any) func(row int, each func(string)) {
	switch list := values.(type) {
	case []string:
		return func(i int, each func(string)) { each(list[i]) }
	case [][]byte:
		return func(i int, each func(string)) { each(string(list[i])) }
	case [][]string:
		return func(i int, each func(string)) {
			for _, text := range list[i] {
				each(text)
			}
		}
	case []map[string]string:
		return func(i int, each func(string)) {
			for _, text := range list[i] {
				each(text)
			}
		}
	}
	return func(int, func(string)) {}
}

// unname takes out of the erased rows of a column what names a person. Parallel arrays keep their length, maps their keys go.
func unname(column string, values any, erased map[int]string) {
	for i, pseudonym := range erased {
		switch list := values.(type) {
		case []string:
			if column == "contact_key" && list[i] != "" {
				list[i] = pseudonymous(list[i], pseudonym)
				continue
			}
			list[i] = ""
		case [][]byte:
			list[i] = nil
		case [][]string:
			list[i] = make([]string, len(list[i]))
		case []map[string]string:
			list[i] = nil
		}
	}
}

// pseudonymous is a contact key that names nobody and stays in its environment.
func pseudonymous(contactKey, pseudonym string) string {
	environment, _, ok := strings.Cut(contactKey, "/")
	if !ok {
		return pseudonym
	}
	return environment + "/" + pseudonym
}

// A watch asks for many texts; what it met once it knows.
type watch struct {
	*suppression
	met map[string]string // address or key to pseudonym; empty: nobody
}

func (w watch) is(kind, text string) (string, bool) {
	at := kind + text
	if pseudonym, ok := w.met[at]; ok {
		return pseudonym, pseudonym != ""
	}
	pseudonym := ""
	for _, key := range w.keys {
		if p, ok := w.subjects[kind+hash(key, kind, text)]; ok {
			pseudonym = p
		}
	}
	if len(w.met) < metMax {
		w.met[at] = pseudonym
	}
	return pseudonym, pseudonym != ""
}

// metMax bounds what one block remembers.
const metMax = 100_000

// names reports whether a text holds the address of an erased person, or is his contact key.
func (w watch) names(column, text string, raw bool) (pseudonym string, ok bool) {
	if column == "contact_key" && text != "" {
		if pseudonym, ok = w.is(subjectContact, text); ok {
			return pseudonym, true
		}
	}
	addresses(text, raw, func(address string) bool {
		pseudonym, ok = w.is(subjectAddress, address)
		return !ok
	})
	return pseudonym, ok
}

const (
	addressBytesMax = 254 // RFC 5321
	localBytesMax   = 64
	// rawAddressesMax bounds the @ looked at in one raw record; each may stand for many addresses.
	rawAddressesMax = 16
)

// addresses tells every address in a text, normalised, until yield says false. In a raw record the bytes beside an address
// may look like part of it: then every cut of them is told.
func addresses(text string, raw bool, yield func(string) bool) {
	for at, seen := 0, 0; at < len(text); {
		i, sign := nextAt(text[at:])
		if i < 0 {
			return
		}
		i += at
		from, to := i, i+sign
		for from > 0 && i-from < localBytesMax && addressByte(text[from-1]) {
			from--
		}
		for to < len(text) && to-i < addressBytesMax && addressByte(text[to]) {
			to++
		}
		local, domain := text[from:i], text[i+sign:to]
		at = i + sign
		if local == "" || domain == "" {
			continue
		}
		if !raw {
			if !yield(schemas.NormalizeEmail(strings.TrimLeft(local, ".") + "@" + strings.TrimRight(domain, ".-"))) {
				return
			}
			continue
		}
		if seen++; seen > rawAddressesMax {
			return
		}
		for l := range local {
			for d := len(domain); d > 0; d-- {
				if !yield(schemas.NormalizeEmail(local[l:] + "@" + domain[:d])) {
					return
				}
			}
		}
	}
}

// nextAt finds the next @, as it is or as addresses of the web and JSON write it, and its length.
func nextAt(text string) (at, length int) {
	at = -1
	for _, sign := range []string{"@", "%40", `\u0040`} {
		if i := strings.Index(text, sign); i >= 0 && (at < 0 || i < at) {
			at, length = i, len(sign)
		}
	}
	return at, length
}

func addressByte(c byte) bool {
	return c >= 0x80 || c == '.' || c == '_' || c == '+' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
