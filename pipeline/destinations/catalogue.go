package destinations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/sinks"
)

// Bounds of what is kept of an account.
const (
	// RefreshEvery is how old a catalogue becomes in a process that delivers.
	RefreshEvery    = time.Hour
	entriesMax      = 20_000 // of one kind
	valueBytesMax   = 8 << 20
	goneMax         = 1_000
	keptFor         = 30 * 24 * time.Hour // of a destination that nobody looks at any more
	goneFor         = 30 * 24 * time.Hour // how long it is remembered that something vanished
	claimFor        = 5 * time.Minute     // how long one process has the word to refresh
	refreshTimeout  = 3 * time.Minute     // of all kinds of a destination: some hundred pages at five requests a second
	catalogueFormat = 1
)

// Snapshot is what a destination had of one kind at a moment.
type Snapshot struct {
	Destination string          `json:"destination"`
	Kind        sinks.EntryKind `json:"kind"`
	At          time.Time       `json:"at"`
	Entries     []Entry         `json:"entries"`
	// Truncated: the account has more, and nothing can be said of what is not here.
	Truncated bool `json:"truncated,omitempty"`
	// Gone are entries that were there at an earlier look.
	Gone []GoneEntry `json:"gone,omitempty"`
}

// Entry is one thing of an account.
type Entry struct {
	ID      string          `json:"id"`
	Names   []string        `json:"names"`
	Type    sinks.FieldType `json:"type,omitempty"`
	Options []string        `json:"options,omitempty"`
}

// GoneEntry is one that a look found no more.
type GoneEntry struct {
	Entry
	SeenLast time.Time `json:"seen_last"`
}

// Sinks are the entries as a sink lists them.
func (s Snapshot) Sinks() []sinks.Entry { return entriesOf(s.Entries) }

func entriesOf(list []Entry) []sinks.Entry {
	out := make([]sinks.Entry, len(list))
	for i, e := range list {
		out[i] = sinks.Entry(e)
	}
	return out
}

// Catalogues keeps what accounts have, in Redis: every process and command reads the same, it outlives a restart, and it
// may be wiped at any moment, for it can be read again. A topic would keep what nobody asks for; a file would be another
// one on each machine.
type Catalogues struct {
	Redis redis.UniversalClient
	Now   func() time.Time
}

// kept is a snapshot as it lies in Redis.
type kept struct {
	Format  int    `json:"format"`
	Account string `json:"account"` // another key may open another account: what that one had does not count
	Snapshot
}

func (c *Catalogues) key(destination string, kind sinks.EntryKind) string {
	return "tillstream:catalogue:" + destination + ":" + string(kind)
}

// Get is what was kept of one kind; ok is false where nothing was.
func (c *Catalogues) Get(ctx context.Context, d config.Destination, kind sinks.EntryKind) (s Snapshot, ok bool, err error) {
	b, err := c.Redis.Get(ctx, c.key(d.Name, kind)).Bytes()
	if errors.Is(err, redis.Nil) {
		return s, false, nil
	}
	if err != nil {
		return s, false, fmt.Errorf("the catalogue of %s cannot be read from redis: %w", d.Name, err)
	}
	var k kept
	if err := json.Unmarshal(b, &k); err != nil || k.Format != catalogueFormat || k.Account != AccountOf(d) {
		return s, false, nil // of another version, or of another account
	}
	return k.Snapshot, true, nil
}

func (c *Catalogues) put(ctx context.Context, d config.Destination, s Snapshot) error {
	b, err := json.Marshal(kept{catalogueFormat, AccountOf(d), s})
	if err != nil {
		return fmt.Errorf("keep the catalogue of %s: %w", d.Name, err)
	}
	if len(b) > valueBytesMax {
		return fmt.Errorf("the %ss of %s are not kept: they take more than %d bytes", s.Kind, d.Name, valueBytesMax)
	}
	if err := c.Redis.Set(ctx, c.key(d.Name, s.Kind), b, keptFor).Err(); err != nil {
		return fmt.Errorf("the catalogue of %s cannot be kept in redis: %w", d.Name, err)
	}
	return nil
}

// claim lets one of several processes refresh a destination.
func (c *Catalogues) claim(ctx context.Context, destination string) bool {
	got, err := c.Redis.SetNX(ctx, "tillstream:catalogue:"+destination+":claim", 1, claimFor).Result()
	return err == nil && got
}

// release lets go of a claim whose work failed, so that the next try is anybody's.
func (c *Catalogues) release(ctx context.Context, destination string) {
	_ = c.Redis.Del(ctx, "tillstream:catalogue:"+destination+":claim").Err()
}

// Refresh reads these kinds from the account and keeps them. What a destination has not of a kind is left out. It returns
// what was read also where another kind could not be, or where Redis does not keep it; err says which and why.
func (c *Catalogues) Refresh(ctx context.Context, d config.Destination, w sinks.Writer, kinds []sinks.EntryKind) (out []Snapshot, err error) {
	reader, ok := w.(sinks.Cataloguer)
	if !ok {
		return nil, nil
	}
	for _, kind := range kinds {
		entries, o := list(ctx, reader, kind)
		switch o.Kind {
		case sinks.Delivered:
		case sinks.Rejected:
			continue
		default:
			return out, errors.Join(err, fmt.Errorf("the %ss of %s cannot be read: %w", kind, d.Name, why(o)))
		}
		had, _, problem := c.Get(ctx, d, kind)
		s := next(had, d.Name, kind, entries, c.Now().UTC())
		if problem == nil {
			problem = c.put(ctx, d, s)
		}
		err = errors.Join(err, problem)
		out = append(out, s)
	}
	return out, err
}

// next is what is kept after a look, given what was kept before.
func next(had Snapshot, destination string, kind sinks.EntryKind, entries []sinks.Entry, now time.Time) Snapshot {
	s := Snapshot{Destination: destination, Kind: kind, At: now, Entries: []Entry{}}
	if len(entries) > entriesMax {
		entries, s.Truncated = entries[:entriesMax], true
	}
	for _, e := range entries {
		s.Entries = append(s.Entries, Entry(e))
	}
	if s.Truncated || had.Truncated {
		return s
	}
	are := map[string]Entry{}
	for _, e := range s.Entries {
		are[e.ID] = e
	}
	before := slices.Clone(had.Gone)
	for _, e := range had.Entries {
		before = append(before, GoneEntry{e, had.At})
	}
	for _, g := range before {
		var gone bool
		if g.Entry, gone = lost(g.Entry, are); gone && now.Sub(g.SeenLast) < goneFor && len(s.Gone) < goneMax {
			s.Gone = append(s.Gone, g)
		}
	}
	return s
}

// lost is what is no more of an entry: all of it, or the names that it had before it was renamed.
func lost(e Entry, are map[string]Entry) (Entry, bool) {
	is, there := are[e.ID]
	if !there {
		return e, true
	}
	old := slices.DeleteFunc(slices.Clone(e.Names), func(name string) bool {
		return slices.ContainsFunc(is.Names, func(n string) bool { return strings.EqualFold(n, name) })
	})
	return Entry{ID: e.ID, Names: old, Type: e.Type, Options: e.Options}, len(old) > 0
}

// Mention is a name of something at a destination, as a mapping or a workflow writes it.
type Mention struct {
	File        string // of the configuration
	Field       string // dotted path in it
	Destination string
	Kind        sinks.EntryKind
	Word        string
}

// vanished says of each mention of what s had once and has no more where it stands and when it was there last.
func vanished(s Snapshot, mentions []Mention) (out []string) {
	if s.Truncated {
		return nil
	}
	are := s.Sinks()
	for _, m := range mentions {
		if m.Destination != s.Destination || m.Kind != s.Kind {
			continue
		}
		if _, there := sinks.FindEntry(are, m.Word); there {
			continue
		}
		i := slices.IndexFunc(s.Gone, func(g GoneEntry) bool {
			_, was := sinks.FindEntry([]sinks.Entry{sinks.Entry(g.Entry)}, m.Word)
			return was
		})
		if i >= 0 {
			out = append(out, fmt.Sprintf("the %s %q, which %s names (%s), is gone; it was there last at %s", s.Kind, m.Word, m.File, m.Field, s.Gone[i].SeenLast.UTC().Format(time.RFC3339)))
		}
	}
	return out
}

// Search are the entries whose id, a name or an option holds the text, in any case of letters.
func Search(list []Entry, text string) []Entry {
	text = strings.ToLower(strings.TrimSpace(text))
	out := []Entry{}
	for _, e := range list {
		hit := text == "" || strings.Contains(strings.ToLower(e.ID), text)
		for _, name := range slices.Concat(e.Names, e.Options) {
			hit = hit || strings.Contains(strings.ToLower(name), text)
		}
		if hit {
			out = append(out, e)
		}
	}
	return out
}
