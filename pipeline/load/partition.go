package load

import (
	"slices"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/sinks"
)

// A plan is a range that is, or was, to be inserted.
type plan struct {
	from, to int64 // inclusive; to < from: nothing to insert, only offsets to pass
	after    int64 // the offset to commit when it is done
	id       string
	// committed: the plan is on Kafka and may be inserted. inserted: only the last commit is missing.
	committed, inserted bool
}

// A partition is what the loader knows of one that it owns. It does no I/O.
type partition struct {
	tally  tally
	topic  string
	number int32
	replay int64 // replay generation, from the group's metadata

	next  int64       // first offset that is not stored; -1: not known before the first record
	seen  int64       // last offset that was fetched
	rows  []sinks.Row // fetched and not stored, in order
	bytes int
	since time.Time // when the oldest row that is not stored was fetched; without rows, the oldest offset
	end   int64     // last stable offset of the partition, as far as known

	plan *plan
	// refused are offsets at and after next that the writer refuses and that are dead letters. No plan spans one: a
	// repetition of such a range would meet the row again.
	refused []int64

	tries   int
	retryAt time.Time
	err     error // of the last try
	paused  bool

	topicID    string // of the topic that the rows are of; empty: not known yet
	unchecked  bool   // not compared with its topic yet: nothing is fetched
	checkAt    time.Time
	checkTries int    // comparisons that failed in a row
	checkErr   error  // why the last one failed
	lostTo     *int64 // where the client found that the log had been cut
	stalled    *stall
}

func newPartition(topic string, number int32, committed int64, m metadata) *partition {
	p := &partition{topic: topic, number: number, replay: m.Replay, topicID: m.Topic, next: committed, seen: committed - 1}
	if committed >= 0 && m.Plan != "" && m.To >= committed {
		p.plan = &plan{from: committed, to: m.To, after: m.To + 1, id: m.Plan, committed: true}
	}
	return p
}

// add takes a fetched record. Control records only move the position.
func (p *partition) add(r *kgo.Record, now time.Time) {
	if p.next < 0 {
		p.next, p.seen = r.Offset, r.Offset-1
	}
	if r.Offset <= p.seen {
		return // fetched again, after a pause
	}
	if p.seen < p.next {
		p.since = now
	}
	p.seen = r.Offset
	if r.Attrs.IsControl() {
		return
	}
	if len(p.rows) == 0 && p.plan == nil {
		p.since = now // a marker before it has hurried nobody
	}
	p.rows = append(p.rows, sinks.Row{Offset: r.Offset, At: r.Timestamp, Key: r.Key, Value: r.Value})
	p.bytes += size(p.rows[len(p.rows)-1])
}

// rowBytes is about what a row costs beside its key and value.
const rowBytes = 100

func size(r sinks.Row) int { return len(r.Key) + len(r.Value) + rowBytes }

// filled reports whether all of the plan's range was fetched. Its last record may be gone by compaction or retention: any
// later one says as much.
func (p *partition) filled() bool { return p.seen >= p.plan.to }

func (p *partition) full(o *Options) bool {
	return len(p.rows) >= o.FlushRows || p.bytes >= o.FlushBytes
}

// dueAt is when the partition is to be worked on; false: when more records came.
func (p *partition) dueAt(o *Options) (time.Time, bool) {
	switch {
	case p.unchecked, p.stalled != nil, p.plan != nil && !p.filled(), p.plan == nil && p.seen < p.next, p.next < 0:
		return time.Time{}, false
	case p.tries > 0:
		return p.retryAt, true
	case p.plan != nil, p.full(o):
		return p.since, true
	}
	return p.since.Add(o.FlushInterval), true
}

// makePlan cuts the next range: as much as was fetched, within the limits of a flush, up to a refused row.
func (p *partition) makePlan(o *Options) {
	to, bytes := p.seen, 0
	for i, r := range p.rows {
		if bytes += size(r); i == o.FlushRows || i > 0 && bytes > o.FlushBytes {
			to = p.rows[i-1].Offset
			break
		}
	}
	after := to + 1
	for _, offset := range p.refused {
		if offset <= to {
			to, after = offset-1, offset+1
			break
		}
	}
	p.plan = &plan{from: p.next, to: to, after: after}
	if len(p.planned()) == 0 {
		p.plan.committed, p.plan.inserted = true, true
	}
}

// planned are the rows of the plan.
func (p *partition) planned() []sinks.Row {
	return p.rows[:sort.Search(len(p.rows), func(i int) bool { return p.rows[i].Offset > p.plan.to })]
}

// refuse takes a row out that the writer will not have. The plan goes with it: the rest is cut anew.
func (p *partition) refuse(offset int64) {
	p.drop(func(r sinks.Row) bool { return r.Offset == offset })
	p.refused = append(p.refused, offset)
	slices.Sort(p.refused)
	p.plan = nil
}

// finish passes the plan.
func (p *partition) finish() {
	after := p.plan.after
	p.tally.stored(p.plan.from, after, int64(len(p.planned())))
	p.drop(func(r sinks.Row) bool { return r.Offset < after })
	p.refused = slices.DeleteFunc(p.refused, func(o int64) bool { return o < after })
	p.next, p.plan = after, nil
	p.seen = max(p.seen, after-1)
	p.tries, p.err, p.retryAt = 0, nil, time.Time{}
}

func (p *partition) drop(gone func(sinks.Row) bool) {
	p.rows = slices.DeleteFunc(p.rows, gone)
	p.bytes = 0
	for _, r := range p.rows {
		p.bytes += size(r)
	}
}
