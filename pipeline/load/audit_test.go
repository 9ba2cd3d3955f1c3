package load

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/pipeline/clock"
)

// pastClock stands still unless it is moved.
type pastClock struct {
	clock.Clock
	now time.Time
}

func (c *pastClock) Now() time.Time { return c.now }

func TestStoredRowsAreCountedAgain(t *testing.T) {
	at := &pastClock{clock.System(), time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	var asked [][2]int64
	found, fails := int64(7), error(nil)
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &Loader{metrics: m, partitions: map[key]*partition{}, o: Options{
		Clock: at, Random: io.LimitReader(nil, 0), Log: zerolog.Nop(),
		Count: func(_ context.Context, _, _ string, _ int32, from, until int64) (int64, error) {
			asked = append(asked, [2]int64{from, until})
			return found, fails
		},
	}}
	p := newPartition("events", 1, 100, metadata{})
	l.partitions[p.key()] = p
	turn := func(later time.Duration) {
		at.now = at.now.Add(later)
		l.audit(context.Background())
	}
	r := prometheus.NewRegistry()
	r.MustRegister(m.disagreeing)
	disagreeing := func() (sum float64) {
		t.Helper()
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, one := range f.GetMetric() {
				sum += one.GetGauge().GetValue()
			}
		}
		return sum
	}
	turn(0)
	turn(time.Hour) // nothing was stored
	p.tally.stored(100, 105, 4)
	p.tally.stored(105, 110, 3)
	turn(0)
	if len(asked) != 1 || asked[0] != [2]int64{100, 110} || disagreeing() != 0 {
		t.Fatalf("asked %v, %v rows disagree; want once, for 100 to 110, and none", asked, disagreeing())
	}
	p.tally.stored(110, 120, 9)
	turn(auditInterval - time.Second)
	if len(asked) != 1 {
		t.Errorf("asked %v before its turn", asked)
	}
	fails = errors.New("away")
	turn(time.Second)
	p.tally.stored(120, 121, 1)
	fails, found = nil, 8
	turn(auditInterval)
	if len(asked) != 3 || asked[2] != [2]int64{110, 121} || disagreeing() != 2 {
		t.Errorf("asked %v, %v rows disagree; want 110 to 121 in the end, and 2 of 10 missing", asked, disagreeing())
	}
	// What did not agree is counted again, beside what came since, until it agrees.
	p.tally.stored(121, 130, 8)
	turn(auditInterval)
	if len(asked) != 5 || asked[3] != [2]int64{110, 121} || asked[4] != [2]int64{121, 130} || disagreeing() != 2 {
		t.Errorf("asked %v, %v rows disagree; want 110 to 121 again and 121 to 130, and still 2 missing", asked, disagreeing())
	}
	found = 10 // somebody set the offsets back
	turn(auditInterval)
	turn(auditInterval)
	if len(asked) != 6 || disagreeing() != 0 {
		t.Errorf("asked %v, %v rows disagree; want 110 to 121 once more, and none", asked, disagreeing())
	}
	// However many ranges disagree, few are kept, and no row is forgotten.
	for i := range int64(3 * oddMax) {
		found = 0
		p.tally.stored(200+i, 201+i, 1)
		turn(auditInterval)
	}
	if len(p.tally.odd) != oddMax || disagreeing() != 3*oddMax {
		t.Errorf("%d ranges are kept, %v rows disagree; want %d of all %d rows", len(p.tally.odd), disagreeing(), oddMax, 3*oddMax)
	}
}
