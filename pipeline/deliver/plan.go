package deliver

import (
	"fmt"
	"slices"

	"github.com/tillstream/tillstream/pipeline/kafka"
)

// plan is what one transaction commits for each partition.
type plan struct{ rows []planRow }

type planRow struct {
	win      *window
	offset   int64
	metadata string
}

// stamp is how the row looks when it is fetched back.
func (r planRow) stamp() string { return fmt.Sprint(r.offset, "/", r.metadata) }

// stampOf is how an offset looks that was fetched.
func stampOf(o kafka.Offset) string { return fmt.Sprint(o.At, "/", o.Metadata) }

// plan takes the outbox and the progress that it makes. Deliverer.mu is held.
func (d *Deliverer) plan() ([]output, *plan, error) {
	if d.broken != nil {
		// The command whose record could not be encoded counts as finished: its progress must not be written.
		return nil, nil, d.broken
	}
	p := &plan{}
	// Progress counts every finished command, so the whole outbox has to go into the transaction that says so.
	batch := d.outbox
	d.outbox = nil
	for _, w := range d.byPartition() {
		if w.dropped || !w.proven {
			continue
		}
		offset, known, ok := w.progress()
		if !ok {
			continue
		}
		metadata, err := known.encode()
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", w, err)
		}
		p.rows = append(p.rows, planRow{w, offset, metadata})
	}
	return batch, p, nil
}

// offsets is what the transaction commits. It names every partition that is not stalled, so that each transaction is checked against the
// group's generation.
func (p *plan) offsets() []kafka.Offset {
	var out []kafka.Offset
	for _, row := range p.rows {
		out = append(out, kafka.Offset{Topic: row.win.topic, Partition: row.win.partition, TopicID: row.win.topicID, At: row.offset, Metadata: row.metadata})
	}
	return out
}

// applied says that the transaction is committed. Deliverer.mu is held.
func (d *Deliverer) applied(batch []output, p *plan) {
	for _, row := range p.rows {
		row.win.seq++
		row.win.before, row.win.floor = row.stamp(), row.offset
	}
	for _, o := range slices.Backward(batch) {
		if !o.intent {
			continue
		}
		l := d.lane(o.entry.cmd.Destination)
		l.intents--
		if o.win.dropped {
			continue
		}
		o.entry.intent = intentCommitted
		if q := l.queues[contactKey(o.entry)]; q != nil {
			l.touchFirst(q)
		}
	}
}
