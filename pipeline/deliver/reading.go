package deliver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// Bounds of reading deferred commands again.
const (
	// readPart is the part of a share, one in so many, that must be free before it is read for.
	readPart       = 4
	readRecordsMax = 5000
	readBytesMax   = 8 << 20
	readPatience   = 15 * time.Second // for a transaction that is open; what was read before is not in one
	readPause      = time.Second      // after trouble
)

var (
	errNoCommand = errors.New("the record is not a Command")
	errEnough    = errors.New("enough was read")
)

// reading is one stretch of the log that is read for what a destination has deferred.
type reading struct {
	share    *share
	from, to int64
	cancel   context.CancelFunc

	came    bool
	records []*kgo.Record
	next    int64 // up to where they reach
	err     error
}

// wanted is the share of w that has the most room for what it deferred; nil: none has enough. Deliverer.mu is held.
func (d *Deliverer) wanted(w *window) *share {
	var best *share
	most, mostBytes := d.shareMax()
	for _, s := range w.byName() {
		if s.from < 0 || s.retryAt.After(d.now) {
			continue
		}
		if s.held > 0 && (s.held+max(1, most/readPart) > most || s.bytes+mostBytes/readPart > mostBytes) {
			continue
		}
		if s.held > 0 && d.pausedAt(s.lane.name) {
			continue // there is time
		}
		if best == nil || s.held < best.held {
			best = s
		}
	}
	return best
}

// byName are the shares in the order of their destinations.
func (w *window) byName() []*share {
	out := slices.Collect(maps.Values(w.shares))
	slices.SortFunc(out, func(a, b *share) int { return strings.Compare(a.lane.name, b.lane.name) })
	return out
}

// readDeferred decides which deferred commands are to be read. Deliverer.mu is held.
func (d *Deliverer) readDeferred() {
	for _, w := range d.byPartition() {
		if w.reading != nil || w.dropped || w.held || d.closing {
			continue
		}
		s := d.wanted(w)
		if s == nil {
			continue
		}
		ctx, cancel := context.WithCancel(w.ctx)
		r := &reading{share: s, from: s.from, to: s.last + 1, cancel: cancel}
		w.reading = r
		w.flying++
		d.rereads = append(d.rereads, func() { d.read(ctx, w, r) })
	}
}

// read reads one stretch, beside the loop.
func (d *Deliverer) read(ctx context.Context, w *window, r *reading) {
	var records []*kgo.Record
	next, size := r.from, 0
	err := d.cluster.Read(ctx, kafka.Range{Topic: w.topic, Partition: w.partition, From: r.from, To: r.to, Patience: readPatience}, func(more []*kgo.Record, until int64) error {
		records, next = append(records, more...), until
		for _, rec := range more {
			size += len(rec.Value)
		}
		if len(records) >= readRecordsMax || size >= readBytesMax {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) || next > r.from {
		err = nil
	}
	r.cancel()
	d.lock()
	r.came, r.records, r.next, r.err = true, records, next, err
	w.flying--
	landed, stopPoll := w.flying == 0, d.stopPoll
	d.mu.Unlock()
	if stopPoll != nil {
		stopPoll()
	}
	if landed {
		w.landed.Notify()
	}
}

// came reports whether deferred commands wait to be taken in. Deliverer.mu is held.
func (d *Deliverer) came() bool {
	for _, w := range d.windows {
		if w.reading != nil && w.reading.came {
			return true
		}
	}
	return false
}

// readmit takes in what was read again.
func (d *Deliverer) readmit(ctx context.Context) {
	d.lock()
	var ready []*window
	for _, w := range d.byPartition() {
		if w.reading != nil && w.reading.came && !w.dropped {
			ready = append(ready, w)
		}
	}
	d.mu.Unlock()
	for _, w := range ready {
		if err := w.reading.err; err != nil {
			d.unread(ctx, w, err)
			continue
		}
		r := w.reading
		at, err := d.again(w, r)
		d.lock()
		s := r.share
		w.reading = nil
		switch {
		case w.dropped:
		case err != nil:
			s.retryAt = d.now.Add(readPause)
			fallthrough
		default:
			if s.from == r.from {
				s.from = at
			}
			s.ends()
		}
		d.mu.Unlock()
	}
}

// again gives the deferred commands among the records their turn, as long as there is room. It returns the offset from
// which on they are still deferred.
func (d *Deliverer) again(w *window, r *reading) (from int64, err error) {
	s := r.share
	for _, rec := range r.records {
		d.lock()
		e, mark := w.entries[rec.Offset], w.marks.get(rec.Offset)
		switch {
		case w.dropped || rec.Attrs.IsControl() || rec.Offset < r.from || rec.Offset > s.last || mark == finished || mark == void:
			d.mu.Unlock()
			continue
		case e != nil && !(e.aside && e.share == s):
			d.mu.Unlock()
			continue
		}
		room := d.roomFor(s, int64(len(rec.Value))) && (w.fits(rec.Offset, w.payloadMax) || w.oldest(rec.Offset))
		if room && e != nil {
			d.turnOf(s, e)
		}
		d.mu.Unlock()
		switch {
		case !room:
			return rec.Offset, nil
		case e != nil:
			continue
		}
		got, err := d.opts.Codec.Decode(rec.Value)
		cmd, ok := got.(*schemas.Command)
		switch {
		case errors.Is(err, codec.ErrUnavailable):
			return rec.Offset, err
		case err != nil || !ok || cmd.Destination != s.lane.name:
			continue // it is another's; what can't be read was not deferred
		}
		d.lock()
		if !w.dropped {
			e := w.hold(rec.Offset)
			e.take(rec)
			e.size = int64(len(e.value))
			e.know(cmd)
			s.deferred--
			d.seat(s, e)
		}
		d.mu.Unlock()
	}
	return r.next, nil
}

// ends notes when nothing is deferred any more.
func (s *share) ends() {
	if s.from > s.last {
		s.from, s.deferred, s.aside, s.oldest = -1, 0, 0, time.Time{}
	}
}

// oldest reports whether nothing before offset is unfinished: finishing it makes the marks no longer.
func (w *window) oldest(offset int64) bool {
	from, _ := w.marks.from()
	return offset == from
}

// turnOf gives a question that was held for its deadline its turn. Deliverer.mu is held.
func (d *Deliverer) turnOf(s *share, e *entry) {
	s.deferred--
	s.aside--
	e.aside, e.size = false, int64(len(e.value))
	s.held++
	s.bytes += e.size
	d.held++
	d.heldBytes += e.size
	d.enqueue(e)
}

// unread is trouble with reading again what is deferred.
func (d *Deliverer) unread(ctx context.Context, w *window, err error) {
	var start int64
	var boundsErr error
	trimmed := errors.Is(err, kafka.ErrTrimmed)
	if trimmed {
		ctx, cancel := d.clock.WithTimeout(ctx, inspectTimeout)
		start, _, boundsErr = d.cluster.Bounds(ctx, w.topic, w.partition)
		cancel()
	}
	d.lock()
	defer d.mu.Unlock()
	s := w.reading.share
	w.reading, s.retryAt = nil, d.now.Add(readPause)
	if w.dropped {
		return
	}
	w.inspectAt = d.now // the log may have lost more
	if !trimmed || boundsErr != nil || start <= s.from {
		d.opts.Log.Warn().Err(err).Int32("partition", w.partition).Str("destination", s.lane.name).Msg("deferred commands cannot be read yet")
		return
	}
	d.metrics.offsetAlarms.Inc()
	d.opts.Log.Error().Err(err).Int32("partition", w.partition).Str("destination", s.lane.name).Int64("offset", s.from).Int64("start", start).
		Msg("commands were deleted from the log before their destination could take them: raise the topic's retention")
	for o := s.from; o < start; o++ {
		if w.entries[o] == nil {
			w.marks.set(o, void)
		}
	}
	w.stale, s.from = true, start
	s.ends()
}

// readProgress reads the marks of a partition that was taken over from where its offset's metadata points. It is called
// from the loop, without Deliverer.mu. A nil stall means that they are known, or that it is to be tried again.
func (d *Deliverer) readProgress(ctx context.Context, w *window) (err error, final bool) {
	p := w.pointer
	n := w.partition % max(1, d.counts[schemas.TopicProgress])
	var found *kgo.Record
	err = d.cluster.Read(ctx, kafka.Range{Topic: schemas.TopicProgress, Partition: n, From: p.record, To: p.record + 1, Patience: inspectTimeout}, func(records []*kgo.Record, _ int64) error {
		for _, r := range records {
			if r.Offset == p.record {
				found = r
			}
		}
		return nil
	})
	lost := errors.Is(err, kafka.ErrTrimmed) || errors.Is(err, kafka.ErrTruncated)
	switch {
	case err != nil:
		return fmt.Errorf("read delivery progress: %w", err), lost
	case found == nil:
		return fmt.Errorf("topic %s holds no record at offset %d of partition %d", schemas.TopicProgress, p.record, n), true
	}
	rec, err := d.opts.Codec.Decode(found.Value)
	if err != nil {
		return fmt.Errorf("read delivery progress: %w", err), !errors.Is(err, codec.ErrUnavailable)
	}
	v, ok := rec.(*schemas.DeliveryProgress)
	if !ok || v.Group != d.opts.Group || v.Partition != int64(w.partition) {
		return fmt.Errorf("the record at offset %d of %s is not the progress of this partition", p.record, schemas.TopicProgress), true
	}
	q, err := decodeRecord(v.Progress)
	if err == nil && (q.owner != p.owner || q.seq != p.seq || q.topicID != p.topicID) {
		err = errors.New("it is of another transaction than the offset")
	}
	if err != nil {
		return fmt.Errorf("the progress at offset %d of %s: %w", p.record, schemas.TopicProgress, err), true
	}
	d.lock()
	defer d.mu.Unlock()
	w.know(q.marks)
	return nil, false
}
