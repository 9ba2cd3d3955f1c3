package clickhouse

import (
	"strings"
	"testing"
	"time"

	chcolumn "github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

func textColumn(t *testing.T) *chcolumn.String {
	t.Helper()
	c, err := chcolumn.Type("String").Column("body", nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*chcolumn.String)
}

// A second insert allocates nothing for what the first had room for.
func TestMemoryOfTextColumnsIsUsedAgain(t *testing.T) {
	now := time.Unix(0, 0)
	b := buffers{now: func() time.Time { return now }, free: map[bufferKey]*buffer{}}
	key := bufferKey{"events", "body"}
	value := []byte(strings.Repeat("x", 1<<20))
	insert := func(values int) {
		c := textColumn(t)
		lent := b.lend(key, c)
		if c.Rows() != 0 {
			t.Fatalf("a column with %d rows was lent", c.Rows())
		}
		for range values {
			if err := c.AppendRow(value); err != nil {
				t.Fatal(err)
			}
		}
		b.take(key, lent, c, values*len(value))
	}
	insert(8)
	if got := testing.AllocsPerRun(1, func() { insert(8) }); got > 12 {
		t.Errorf("an insert into a column that was lent its memory allocates %.0f times", got)
	}
	if want := 8 << 20; b.kept != want {
		t.Errorf("%d bytes are kept, want %d", b.kept, want)
	}
	now = now.Add(bufferAge + time.Second)
	insert(1)
	if b.kept != 0 || len(b.free) != 0 {
		t.Errorf("%d bytes in %d buffers are kept a minute after they were needed", b.kept, len(b.free))
	}
	insert(8)
	now = now.Add(bufferAge + time.Second)
	other := bufferKey{"deliveries", "response_body"}
	c := textColumn(t)
	b.take(other, b.lend(other, c), c, 0)
	if b.kept != 0 || len(b.free) != 0 {
		t.Errorf("%d bytes in %d buffers are kept of a table that nobody inserts into any more", b.kept, len(b.free))
	}
}

func TestMemoryKeptIsBounded(t *testing.T) {
	b := buffers{now: func() time.Time { return time.Unix(0, 0) }, free: map[bufferKey]*buffer{}}
	for _, name := range []string{"a", "b", "c"} {
		c := textColumn(t)
		key := bufferKey{"t", name}
		b.take(key, b.lend(key, c), c, bufferBytesKept/2-1)
	}
	if len(b.free) != 2 || b.kept > bufferBytesKept {
		t.Errorf("%d buffers with %d bytes are kept, want 2 with at most %d", len(b.free), b.kept, bufferBytesKept)
	}
	c := textColumn(t)
	tiny := bufferKey{"t", "tiny"}
	b.take(tiny, b.lend(tiny, c), c, 1)
	if b.free[tiny] != nil {
		t.Error("a buffer of a byte is kept")
	}
}
