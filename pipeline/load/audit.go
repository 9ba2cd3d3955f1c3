package load

import (
	"context"
	"time"
)

// auditInterval is how often each partition's rows are counted again, auditTimeout how long that may take.
const (
	auditInterval = 10 * time.Minute
	auditTimeout  = 5 * time.Second
)

// tally is what was stored of a partition since its rows were last counted.
type tally struct {
	from, until int64 // offsets; the end is not part of it
	rows        int64
	dueAt       time.Time
}

// stored adds a range that was passed.
func (t *tally) stored(from, until, rows int64) {
	if t.rows == 0 && t.from == t.until {
		t.from = from
	}
	t.until, t.rows = until, t.rows+rows
}

// audit counts the rows of one partition whose turn it is, and holds them against what was acknowledged. It finds what the
// writer lost or doubled after it said that it had it. One that cannot be counted now is counted later, with more.
func (l *Loader) audit(ctx context.Context) {
	if l.o.Count == nil {
		return
	}
	now := l.o.Clock.Now()
	for _, p := range l.sorted() {
		switch t := &p.tally; {
		case t.dueAt.IsZero():
			t.dueAt = now.Add(auditInterval)
		case !t.dueAt.After(now) && t.from < t.until && p.stalled == nil:
			l.count(ctx, p)
			return
		}
	}
}

func (l *Loader) count(ctx context.Context, p *partition) {
	try, cancel := l.o.Clock.WithTimeout(ctx, auditTimeout)
	defer cancel()
	t := p.tally
	p.tally.dueAt = l.o.Clock.Now().Add(auditInterval)
	found, err := l.o.Count(try, p.topic, p.topicID, p.number, t.from, t.until)
	if err != nil {
		l.o.Log.Warn().Err(err).Str("topic", p.topic).Int32("partition", p.number).Msg("cannot count the stored rows now")
		return
	}
	l.metrics.audited.WithLabelValues(p.topic).Add(float64(t.rows))
	if found != t.rows {
		l.metrics.disagreeing.WithLabelValues(p.topic).Add(float64(max(found-t.rows, t.rows-found)))
		l.o.Log.Error().Str("topic", p.topic).Int32("partition", p.number).Int64("from", t.from).Int64("to", t.until-1).Int64("acknowledged", t.rows).Int64("stored", found).
			Msg("other rows are stored than were acknowledged: 'tillstream audit' lists them")
	}
	p.tally = tally{dueAt: p.tally.dueAt}
}
