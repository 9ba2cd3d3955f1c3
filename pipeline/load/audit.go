package load

import (
	"context"
	"time"
)

// auditInterval is how often each partition's rows are counted again, auditTimeout how long one count may take, and oddMax how
// many ranges of a partition that did not agree are counted again and again; of the oldest beyond them the difference stays.
const (
	auditInterval = 10 * time.Minute
	auditTimeout  = 5 * time.Second
	oddMax        = 16
)

// tally is what was stored of a partition since its rows were last counted.
type tally struct {
	from, until int64 // offsets; the end is not part of it
	rows        int64
	dueAt       time.Time
	odd         []oddity
	olderOdd    int64 // rows that differed when their ranges were counted last
}

// An oddity is a range whose rows did not agree with what was acknowledged when they were last counted.
type oddity struct{ from, until, rows, found int64 }

func (o oddity) differs() int64 { return max(o.found-o.rows, o.rows-o.found) }

// stored adds a range that was passed.
func (t *tally) stored(from, until, rows int64) {
	if t.rows == 0 && t.from == t.until {
		t.from = from
	}
	t.until, t.rows = until, t.rows+rows
}

// audit counts the rows of one partition whose turn it is, and holds them against what was acknowledged. It finds what the
// writer lost or doubled after it said that it had it. One that cannot be counted now is counted later, with more; one that
// does not agree is counted again until it does.
func (l *Loader) audit(ctx context.Context) {
	if l.o.Count == nil {
		return
	}
	now := l.o.Clock.Now()
	for _, p := range l.sorted() {
		switch t := &p.tally; {
		case t.dueAt.IsZero():
			t.dueAt = now.Add(auditInterval)
		case !t.dueAt.After(now) && (t.from < t.until || len(t.odd) > 0) && p.stalled == nil:
			t.dueAt = now.Add(auditInterval)
			l.recount(ctx, p)
			l.metrics.disagree(p)
			return
		}
	}
}

// recount counts what did not agree, and what was stored since.
func (l *Loader) recount(ctx context.Context, p *partition) {
	t := &p.tally
	var still []oddity
	for _, o := range t.odd {
		if found, ok := l.count(ctx, p, o.from, o.until); ok {
			o.found = found
		}
		if o.differs() > 0 {
			still = append(still, o)
		}
	}
	t.odd = still
	if t.from == t.until {
		return
	}
	o := oddity{t.from, t.until, t.rows, 0}
	found, ok := l.count(ctx, p, o.from, o.until)
	if !ok {
		return
	}
	l.metrics.audited.WithLabelValues(p.topic).Add(float64(t.rows))
	t.from, t.until, t.rows = 0, 0, 0
	if o.found = found; o.differs() == 0 {
		return
	}
	l.o.Log.Error().Str("topic", p.topic).Int32("partition", p.number).Int64("from", o.from).Int64("to", o.until-1).Int64("acknowledged", o.rows).Int64("stored", found).
		Msg("other rows are stored than were acknowledged: 'tillstream audit' lists them")
	if len(t.odd) == oddMax {
		t.olderOdd += t.odd[0].differs()
		t.odd = t.odd[1:]
	}
	t.odd = append(t.odd, o)
}

func (l *Loader) count(ctx context.Context, p *partition, from, until int64) (int64, bool) {
	try, cancel := l.o.Clock.WithTimeout(ctx, auditTimeout)
	defer cancel()
	found, err := l.o.Count(try, p.topic, p.topicID, p.number, from, until)
	if err != nil {
		l.o.Log.Warn().Err(err).Str("topic", p.topic).Int32("partition", p.number).Msg("cannot count the stored rows now")
	}
	return found, err == nil
}
