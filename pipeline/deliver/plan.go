package deliver

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
)

// progressBytesPerSecond is how much progress is written at most: each transaction that says how far a partition is says
// all of it.
const progressBytesPerSecond = 4 << 20

// plan is what one transaction commits for each partition.
type plan struct {
	rows  []planRow
	ended []*entry
	pause time.Duration // until the next one
}

type planRow struct {
	win      *window
	offset   int64
	metadata string
	// record holds the progress where it is too long for metadata, which known then makes once the record's offset is
	// known.
	record *kgo.Record
	known  progress
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
		row := planRow{win: w, offset: offset, known: known}
		if err := d.express(&row); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", w, err)
		}
		if row.record != nil {
			p.pause += time.Duration(len(row.record.Value)) * time.Second / progressBytesPerSecond
		}
		p.rows = append(p.rows, row)
		p.ended = append(p.ended, w.ended...)
		w.ended = nil
	}
	return batch, p, nil
}

// express writes a row's progress as metadata, or as a record where that is too long.
func (d *Deliverer) express(row *planRow) (err error) {
	n := d.counts[schemas.TopicProgress]
	if n > 0 && base64.RawURLEncoding.EncodedLen(row.win.payload) > textBytesMax {
		value, err := row.known.encodeRecord()
		if err != nil {
			return err
		}
		if base64.RawURLEncoding.EncodedLen(len(value)) > textBytesMax {
			w := row.win
			value, err = d.opts.Codec.Encode(&schemas.DeliveryProgress{Group: d.opts.Group, Partition: int64(w.partition), Progress: value})
			row.record = &kgo.Record{
				Topic: schemas.TopicProgress, Partition: w.partition % n, Key: fmt.Appendf(nil, "%s/%d", d.opts.Group, w.partition), Value: value,
			}
			return err
		}
	}
	row.metadata, err = row.known.encode()
	return err
}

// recorded makes the metadata of the rows whose progress is a record by now.
func (p *plan) recorded() error {
	for i := range p.rows {
		row := &p.rows[i]
		if row.record == nil {
			continue
		}
		known := progress{topicID: row.known.topicID, owner: row.known.owner, seq: row.known.seq, recorded: true, record: row.record.Offset}
		var err error
		if row.metadata, err = known.encode(); err != nil {
			return err
		}
	}
	return nil
}

// offsets is what the transaction commits. It names every partition that is not stalled, so that each transaction is
// checked against the group's generation.
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
	for _, e := range p.ended {
		if !e.win.dropped {
			d.released(e)
		}
	}
	d.commitAt = d.now.Add(p.pause)
	for i := len(batch) - 1; i >= 0; i-- {
		d.intentCommitted(batch[i])
	}
}

// intentCommitted lets the effect go whose intent was in the transaction. Deliverer.mu is held.
func (d *Deliverer) intentCommitted(o output) {
	if !o.intent {
		return
	}
	l := d.lane(o.entry.cmd.Destination)
	l.intents--
	if o.win.dropped {
		return
	}
	o.entry.intent = intentCommitted
	if q := l.queues[contactKey(o.entry)]; q != nil {
		l.touchFirst(q)
	}
}
