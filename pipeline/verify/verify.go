// Package verify reads contacts back from a destination and compares them with what Tillstream means them to be: the
// newest desired state of each contact on the log.
//
// A contact whose newest state is not finished is left out, for it is still on its way; so is one that gets a newer state
// while it is compared. Nothing is written to the destination here: to mend a contact, the automation stage is asked to
// send its desired state again.
package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/sinks"
)

// Log is Kafka as states are read. *kafka.Cluster is one.
type Log interface {
	Describe(ctx context.Context, topic string) (kafka.TopicInfo, error)
	Bounds(ctx context.Context, topic string, partition int32) (start, end int64, err error)
	Read(ctx context.Context, r kafka.Range, apply func(records []*kgo.Record, next int64) error) error
}

var _ Log = (*kafka.Cluster)(nil)

// Bounds.
const (
	// ContactsMax bounds the contacts of one destination that are kept in mind, of some hundred bytes each.
	ContactsMax  = 2_000_000
	readPatience = 30 * time.Second
)

// ErrTooMany is returned, wrapped, where there are more contacts than ContactsMax.
var ErrTooMany = errors.New("too many contacts")

// Asked says which contacts are meant.
type Asked struct {
	Destination string
	Contact     string    // an e-mail address, or a contact key; "": all
	Since       time.Time // whose newest state was made since then
	// Sample is how many of them at most, drawn by Seed; 0: all.
	Sample int
	Seed   string
}

// place is where a record lies on crm.commands.
type place struct {
	partition int32
	offset    int64
}

// newest is the newest desired state of one contact.
type newest struct {
	place
	version  int64
	id       string // of the command; "" once it is known to be finished
	selected bool
}

// Book knows where the newest desired state of each contact lies, and goes on as the log does. One goroutine may use it.
type Book struct {
	log    Log
	decode func([]byte) (schemas.Record, error)
	asked  Asked

	contacts map[string]*newest
	read     map[int32]int64 // the next offset of each partition of the commands
	// Unfinished is how many contacts are left out since their newest state is on its way.
	Unfinished int
}

// Open reads the log to its end, and draws the sample.
func Open(ctx context.Context, log Log, decode func([]byte) (schemas.Record, error), asked Asked) (*Book, error) {
	b := &Book{log: log, decode: decode, asked: asked, contacts: map[string]*newest{}, read: map[int32]int64{}}
	if err := b.CatchUp(ctx); err != nil {
		return nil, err
	}
	if err := b.finished(ctx); err != nil {
		return nil, err
	}
	b.draw()
	return b, nil
}

// Selected is how many contacts are to be compared.
func (b *Book) Selected() int {
	n := 0
	for _, c := range b.contacts {
		if c.selected {
			n++
		}
	}
	return n
}

// CatchUp reads the commands that came since.
func (b *Book) CatchUp(ctx context.Context) error {
	info, err := b.log.Describe(ctx, schemas.TopicCommands)
	if err != nil {
		return fmt.Errorf("read the commands: %w", err)
	}
	for p := range info.Count {
		start, end, err := b.log.Bounds(ctx, schemas.TopicCommands, p)
		if err != nil {
			return fmt.Errorf("read the commands: %w", err)
		}
		from := max(start, b.read[p])
		if from >= end {
			continue
		}
		err = b.log.Read(ctx, kafka.Range{Topic: schemas.TopicCommands, Partition: p, From: from, To: end, Patience: readPatience}, func(records []*kgo.Record, next int64) error {
			for _, rec := range records {
				if err := b.take(rec); err != nil {
					return err
				}
			}
			b.read[p] = next
			return nil
		})
		if err != nil {
			return fmt.Errorf("read the commands of partition %d: %w", p, err)
		}
	}
	return nil
}

// take notes one command.
func (b *Book) take(rec *kgo.Record) error {
	c, err := b.command(rec)
	if err != nil || c == nil {
		return err
	}
	had := b.contacts[c.ContactKey]
	if had != nil && c.Version < had.version {
		return nil
	}
	if had == nil && len(b.contacts) >= ContactsMax {
		return fmt.Errorf("%w: destination %s has more than %d: name one contact", ErrTooMany, b.asked.Destination, ContactsMax)
	}
	n := newest{place: place{rec.Partition, rec.Offset}, version: c.Version, id: strings.Clone(c.CommandID)}
	n.selected = !c.At.Before(b.asked.Since)
	if had != nil {
		*had = n
		return nil
	}
	b.contacts[strings.Clone(c.ContactKey)] = &n
	return nil
}

// command is the desired state in a record, if it is one that was asked for; nil: it is not.
func (b *Book) command(rec *kgo.Record) (*schemas.Command, error) {
	if rec.Value == nil || !sameContact(b.asked.Contact, string(rec.Key)) {
		return nil, nil
	}
	v, err := b.decode(rec.Value)
	if errors.Is(err, codec.ErrUnavailable) {
		return nil, err
	}
	c, ok := v.(*schemas.Command)
	if err != nil || !ok || c.Kind != schemas.CommandContact || c.Destination != b.asked.Destination || c.Contact.Email == "" {
		return nil, nil // none of ours; the audit finds what cannot be decoded
	}
	return c, nil
}

// sameContact compares what was asked for, a contact key or an e-mail address of either environment, with a key.
func sameContact(asked, key string) bool {
	if asked == "" || asked == key {
		return true
	}
	_, name, _ := strings.Cut(key, "/")
	return name != "" && name == schemas.NormalizeEmail(asked)
}

// finished reads what became of the newest states, and leaves those out that are not finished.
func (b *Book) finished(ctx context.Context) error {
	info, err := b.log.Describe(ctx, schemas.TopicDeliveries)
	if err != nil {
		return fmt.Errorf("read the deliveries: %w", err)
	}
	for p := range info.Count {
		start, end, err := b.log.Bounds(ctx, schemas.TopicDeliveries, p)
		if err != nil {
			return fmt.Errorf("read the deliveries: %w", err)
		}
		if start >= end {
			continue
		}
		err = b.log.Read(ctx, kafka.Range{Topic: schemas.TopicDeliveries, Partition: p, From: start, To: end, Patience: readPatience}, func(records []*kgo.Record, _ int64) error {
			for _, rec := range records {
				if err := b.receipt(rec); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read the deliveries of partition %d: %w", p, err)
		}
	}
	for _, c := range b.contacts {
		if c.selected && c.id != "" {
			c.selected = false
			b.Unfinished++
		}
	}
	return nil
}

func (b *Book) receipt(rec *kgo.Record) error {
	n := b.contacts[string(rec.Key)]
	if n == nil || n.id == "" {
		return nil
	}
	v, err := b.decode(rec.Value)
	if errors.Is(err, codec.ErrUnavailable) {
		return err
	}
	d, ok := v.(*schemas.Delivery)
	if err == nil && ok && d.CommandID == n.id && d.Outcome != schemas.OutcomeRetryable && d.Outcome != schemas.OutcomeIntent {
		n.id = ""
	}
	return nil
}

// draw leaves Sample contacts, those whose hashes with the seed are the least: the same ones after a restart.
func (b *Book) draw() {
	if b.asked.Sample <= 0 {
		return
	}
	type drawn struct {
		hash uint64
		c    *newest
	}
	var list []drawn
	for key, c := range b.contacts {
		if c.selected {
			h := fnv.New64a()
			_, _ = h.Write([]byte(b.asked.Seed + "\x00" + key))
			list = append(list, drawn{h.Sum64(), c})
		}
	}
	slices.SortFunc(list, func(x, y drawn) int {
		return cmp.Or(cmp.Compare(x.hash, y.hash), cmp.Compare(x.c.partition, y.c.partition), cmp.Compare(x.c.offset, y.c.offset))
	})
	for _, d := range list[min(b.asked.Sample, len(list)):] {
		d.c.selected = false
	}
}

// Command is the desired state in a record of crm.commands, where it is the newest of a contact that is to be compared.
func (b *Book) Command(rec *kgo.Record) (*schemas.Command, bool) {
	n := b.contacts[string(rec.Key)]
	if n == nil || !n.selected || n.place != (place{rec.Partition, rec.Offset}) {
		return nil, false
	}
	c, err := b.command(rec)
	return c, err == nil && c != nil
}

// Newer reads on, and reports whether the contact has a state that came after c.
func (b *Book) Newer(ctx context.Context, c *schemas.Command) (bool, error) {
	if err := b.CatchUp(ctx); err != nil {
		return false, err
	}
	n := b.contacts[c.ContactKey]
	return n != nil && n.version > c.Version, nil
}

// eachMax is how many states are read before they are handed over: reading never waits for whom they are handed to.
const eachMax = 500

// errEnough ends a reading that has what it wants.
var errEnough = errors.New("enough")

// Each hands the states that are to be compared to f, in the order of the log. An error of f ends it.
func (b *Book) Each(ctx context.Context, f func(*schemas.Command) error) error {
	ends := maps.Clone(b.read)
	for _, p := range slices.Sorted(maps.Keys(ends)) {
		next := b.first(p, ends[p])
		for next < ends[p] {
			var batch []*schemas.Command
			var err error
			if batch, next, err = b.batch(ctx, p, next, ends[p]); err != nil {
				return fmt.Errorf("read the commands of partition %d: %w", p, err)
			}
			for _, c := range batch {
				if err := f(c); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// first is the offset of the first state of a partition that is to be compared; end: there is none.
func (b *Book) first(p int32, end int64) int64 {
	for _, c := range b.contacts {
		if c.selected && c.partition == p {
			end = min(end, c.offset)
		}
	}
	return end
}

// batch reads some states, and says from which offset on the others lie.
func (b *Book) batch(ctx context.Context, p int32, from, end int64) (out []*schemas.Command, next int64, err error) {
	next = from
	err = b.log.Read(ctx, kafka.Range{Topic: schemas.TopicCommands, Partition: p, From: from, To: end, Patience: readPatience}, func(records []*kgo.Record, upTo int64) error {
		for _, rec := range records {
			if c, ok := b.Command(rec); ok {
				out = append(out, c)
			}
		}
		if next = upTo; len(out) >= eachMax {
			return errEnough
		}
		return nil
	})
	if err == nil {
		next = end
	} else if errors.Is(err, errEnough) {
		err = nil
	}
	return out, next, err
}

// Result is how one contact stands at the destination.
type Result struct {
	ContactKey string             `json:"contact"` // personal data
	Result     schemas.ItemResult `json:"result"`
	Absent     bool               `json:"absent,omitempty"`   // the destination does not know the person
	Standing   schemas.Standing   `json:"standing,omitempty"` // where the person has left, or mail bounces
	// Differences hold personal data.
	Differences []Difference `json:"differences,omitempty"`
	Detail      string       `json:"detail"` // one sentence, without personal data
}

// Difference is one thing that is other than meant.
type Difference struct {
	Part string `json:"part"`
	Want string `json:"want"`
	Got  string `json:"got"`
}

// Masked is r without personal data.
func (r Result) Masked(mask func(string) string) Result {
	r.ContactKey = mask(r.ContactKey)
	list := make([]Difference, len(r.Differences))
	for i, d := range r.Differences {
		list[i] = Difference{d.Part, hidden(d.Want), hidden(d.Got)}
	}
	r.Differences = list
	return r
}

func hidden(value string) string {
	if value == "" {
		return ""
	}
	return "***"
}

// Judge makes a result of a comparison. Unless the outcome is Delivered it says nothing of the contact.
func Judge(c *schemas.Command, got sinks.Comparison, o sinks.Outcome) Result {
	r := Result{ContactKey: c.ContactKey, Result: schemas.ItemMatches, Detail: "it has what is meant"}
	switch {
	case o.Kind != sinks.Delivered:
		r.Result, r.Detail = schemas.ItemFailed, "it could not be read back"
		if o.Err != nil {
			r.Detail += ": " + o.Err.Error()
		}
		return r
	case got.Absent:
		r.Result, r.Absent, r.Detail = schemas.ItemDrifted, true, "the destination does not know the person"
		return r
	}
	if got.Standing != "" && got.Standing != schemas.StandingActive {
		r.Standing = got.Standing
		r.Detail = "it has what is meant, and the person is " + strings.ToLower(string(got.Standing))
	}
	if len(got.Differences) == 0 {
		return r
	}
	var parts []string
	for _, d := range got.Differences {
		r.Differences = append(r.Differences, Difference(d))
		parts = append(parts, d.Part)
	}
	r.Result, r.Detail = schemas.ItemDrifted, "other than meant: "+strings.Join(parts, ", ")
	if r.Standing != "" {
		r.Detail += "; the person is " + strings.ToLower(string(r.Standing))
	}
	return r
}

// Mends reports whether a state that is sent again is the remedy. One whom the destination does not know is not made again
// unasked: a person may have had the contact erased.
func (r Result) Mends() bool { return r.Result == schemas.ItemDrifted && !r.Absent }

// Touch asks the automation stage to send the contact's desired state to the destination again.
func Touch(c *schemas.Command, why string, at time.Time) *schemas.ContactTouch {
	return &schemas.ContactTouch{ContactKey: c.ContactKey, Why: why, Resend: true, Destination: c.Destination, At: at.UTC()}
}

// Tally counts results.
type Tally struct {
	Compared     int `json:"compared"`
	Matches      int `json:"matches"`
	Drifted      int `json:"drifted"` // known to the destination, and other than meant
	Absent       int `json:"absent"`
	Unsubscribed int `json:"unsubscribed"` // or bounced; counted besides
	Failed       int `json:"failed"`       // could not be read back
	Changed      int `json:"changed"`      // got a newer state meanwhile
	Unfinished   int `json:"unfinished"`   // left out: the newest state is on its way
	Mended       int `json:"mended"`       // asked to be sent again
}

// Add counts r.
func (t *Tally) Add(r Result) {
	if r.Result == schemas.ItemSkipped {
		t.Changed++
		return
	}
	t.Compared++
	switch {
	case r.Result == schemas.ItemFailed:
		t.Failed++
	case r.Absent:
		t.Absent++
	case r.Result == schemas.ItemDrifted:
		t.Drifted++
	default:
		t.Matches++
	}
	if r.Standing != "" {
		t.Unsubscribed++
	}
}
