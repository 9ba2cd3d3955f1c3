package poll

import (
	"slices"
	"sync"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// book is what was read of the log for one connection: the events to match with, and the count of its webhooks. Its
// count is always that of the offsets beside it, so that whoever goes on from both counts each webhook once.
type book struct {
	key    string // SourceKey
	ledger *ledger

	mu      sync.Mutex
	hours   []schemas.HourCount
	last    time.Time       // when the last webhook was received
	first   time.Time       // append time of the oldest event read
	offsets map[int32]int64 // counted up to
	changes int             // of the count
}

func newBook(key string, l *ledger) *book {
	return &book{key: key, ledger: l, offsets: map[int32]int64{}}
}

// restore takes the count of a written progress. Offsets beyond the end, of a topic that was made anew, count from its
// start again.
func (b *book) restore(p *schemas.SourceProgress, ends map[int32]int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hours, b.last = slices.Clone(p.Hours), p.LastEventAt
	for _, o := range p.Offsets {
		if end, ok := ends[int32(o.Partition)]; ok && o.Offset <= end {
			b.offsets[int32(o.Partition)] = o.Offset
		}
	}
}

// take notes one record of the connection.
func (b *book) take(partition int32, offset int64, at time.Time, e *schemas.OrderEvent) {
	b.ledger.add(e, at)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.first.IsZero() || at.Before(b.first) {
		b.first = at
	}
	if offset < b.offsets[partition] {
		return
	}
	b.offsets[partition] = offset + 1 // reading may break off within a batch
	if e.Origin != schemas.OriginWebhook {
		return
	}
	b.changes++
	if e.ReceivedAt.After(b.last) {
		b.last = e.ReceivedAt
	}
	if !e.Test {
		b.hours = countHour(b.hours, e.ReceivedAt)
	}
}

// passed notes that a partition was read up to next.
func (b *book) passed(partition int32, next int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.offsets[partition] = max(b.offsets[partition], next)
}

// rewind counts a partition from start again: it was made anew.
func (b *book) rewind(partition int32, start int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.offsets[partition] = start
}

// fill writes the count into p.
func (b *book) fill(p *schemas.SourceProgress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p.Hours, p.LastEventAt = slices.Clone(b.hours), b.last
	p.Offsets = nil
	for n, at := range b.offsets {
		p.Offsets = append(p.Offsets, schemas.PartitionOffset{Partition: int64(n), Offset: at})
	}
	slices.SortFunc(p.Offsets, func(a, c schemas.PartitionOffset) int { return int(a.Partition - c.Partition) })
}

// count is a copy of the count, and how often it changed.
func (b *book) count() (hours []schemas.HourCount, last time.Time, changes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.hours), b.last, b.changes
}

// begun is when the oldest event that was read was appended; zero: none was read.
func (b *book) begun() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.first
}
