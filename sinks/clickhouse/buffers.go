package clickhouse

import (
	"sync"
	"time"

	chcolumn "github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

// buffers keeps the memory of text columns from one insert to the next. The client would grow each from nothing every
// time, which allocates five times its size; bodies are most of what is inserted.
type buffers struct {
	now  func() time.Time
	mu   sync.Mutex
	free map[bufferKey]*buffer
	kept int // bytes
}

type bufferKey struct{ table, column string }

// A buffer is an empty column that holds memory.
type buffer struct {
	column chcolumn.String
	bytes  int       // the most it held
	fullAt time.Time // when it last held a good part of that
}

const (
	// bufferBytesKept bounds what is kept over all columns, bufferBytesLeast what is worth it.
	bufferBytesKept  = 64 << 20
	bufferBytesLeast = 4 << 10
	// bufferAge is how long a buffer is kept that is too large for its use.
	bufferAge = time.Minute
)

// lend gives the column the memory that is free for it, if any, and returns what take wants to have back. The column must
// be empty.
func (b *buffers) lend(key bufferKey, to chcolumn.Interface) *buffer {
	text, ok := to.(*chcolumn.String)
	if !ok {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	lent := b.free[key]
	if lent == nil {
		return &buffer{}
	}
	delete(b.free, key)
	b.kept -= lent.bytes
	*text = lent.column
	return lent
}

// take keeps the memory of a column that was lent, after bytes were inserted with it. Nobody may use the column any more.
func (b *buffers) take(key bufferKey, lent *buffer, from chcolumn.Interface, bytes int) {
	text, ok := from.(*chcolumn.String)
	if !ok || lent == nil {
		return
	}
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if bytes >= lent.bytes/4 {
		lent.fullAt = now
	}
	lent.bytes = max(lent.bytes, bytes)
	for k, other := range b.free {
		if now.Sub(other.fullAt) > bufferAge {
			b.kept -= other.bytes
			delete(b.free, k)
		}
	}
	if lent.bytes < bufferBytesLeast || now.Sub(lent.fullAt) > bufferAge || b.free[key] != nil || b.kept+lent.bytes > bufferBytesKept {
		return
	}
	lent.column = *text
	lent.column.Reset()
	b.free[key] = lent
	b.kept += lent.bytes
}
