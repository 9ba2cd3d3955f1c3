package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
)

// An offset means something only in the log that it was taken in. Before a partition is read, and now and then after,
// its topic's id and its end are compared with what the group's offset says. Where they differ, the partition stops: to
// go on would skip commands, or take new ones for old.

// ReasonProgressUnreadable: a later version wrote how far the partition is, or the record that says so is gone. The other reasons are package pipeline's.
const ReasonProgressUnreadable pipeline.Reason = "PROGRESS_UNREADABLE"

const (
	inspectEvery   = 10 * time.Second
	inspectPause   = time.Second // until it is tried again
	inspectTimeout = 5 * time.Second
	// truncationPatience is how long a log may seem to end too early: a new leader learns the high watermark only from
	// its followers' next fetches.
	truncationPatience = 10 * time.Second
)

// stall is why a partition does not go on.
type stall struct {
	reason pipeline.Reason
	remedy string
	err    error
	final  bool // it does not pass by itself
}

// refusal is a stall that was found while the partition was read, and what the group's offset was then: it holds until
// somebody changes that.
type refusal struct {
	before string
	stall  stall
}

// stall stops w. What of it is in flight may end, but nothing of it is committed any more. Deliverer.mu is held.
func (d *Deliverer) stall(w *window, s stall) {
	if w.stalled == nil || w.stalled.reason != s.reason || w.stalled.final != s.final {
		d.opts.Log.Error().Err(s.err).Int32("partition", w.partition).Str("reason", string(s.reason)).Str("remedy", s.remedy).
			Bool("passes", !s.final).Msg("partition of the commands is stalled")
	}
	w.stalled = &s
	if s.final {
		d.refusals[w.partition] = refusal{w.before, s}
		d.leave(w)
		d.forget()
	}
	d.metrics.window(w, false)
}

// stalls is nil where every partition goes on. Deliverer.mu is held.
func (d *Deliverer) stalls() error {
	var errs []error
	for _, w := range d.byPartition() {
		if s := w.stalled; s != nil {
			errs = append(errs, fmt.Errorf("deliver: partition %d is stalled: %s: %w: %s", w.partition, s.reason, s.err, s.remedy))
		}
	}
	return errors.Join(errs...)
}

// place is what Kafka says about a partition.
type place struct {
	id         [16]byte
	start, end int64
}

// inspect asks about the partitions whose time has come.
func (d *Deliverer) inspect(ctx context.Context) {
	d.lock()
	var due []*window
	for _, w := range d.byPartition() {
		if !w.dropped && !d.now.Before(w.inspectAt) {
			due = append(due, w)
		}
	}
	d.mu.Unlock()
	if len(due) == 0 {
		return
	}
	ctx, cancel := d.clock.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	info, infoErr := d.cluster.Describe(ctx, schemas.TopicCommands)
	for _, w := range due {
		p, err := place{id: info.ID}, infoErr
		if err == nil {
			p.start, p.end, err = d.cluster.Bounds(ctx, w.topic, w.partition)
		}
		unreadable := false
		if err == nil && w.pointer != nil && (p.id == w.topicID || w.topicID == [topicIDBytes]byte{}) {
			err, unreadable = d.readProgress(ctx, w)
		}
		d.lock()
		switch {
		case w.dropped, ctx.Err() != nil && errors.Is(err, context.Canceled):
		case unreadable:
			d.stall(w, stall{
				reason: ReasonProgressUnreadable, err: err, final: true,
				remedy: "topic " + schemas.TopicProgress + " lost what says which commands are finished: stop every deliverer, set the group's offset to where to go on " +
					"(kafka-consumer-groups.sh --reset-offsets), and start again; commands from there on are delivered, even those that had been",
			})
		case err != nil:
			d.unasked(w, err)
		default:
			d.compare(w, p)
		}
		d.mu.Unlock()
	}
}

// unasked: a partition that was proven once goes on meanwhile. Deliverer.mu is held.
func (d *Deliverer) unasked(w *window, err error) {
	w.inspectAt = d.now.Add(inspectPause)
	w.readAt = d.now // while nothing can be read, nothing is missed
	if w.held && w.suspect.IsZero() {
		d.stall(w, stall{reason: pipeline.ReasonKafkaUnavailable, err: err, remedy: "check the Kafka brokers; the partition goes on by itself when they answer"})
	}
}

// compare judges a partition's place. Deliverer.mu is held.
func (d *Deliverer) compare(w *window, p place) {
	none := [16]byte{}
	switch reach := w.reach(); {
	case w.topicID != none && p.id != none && w.topicID != p.id:
		d.stall(w, stall{
			reason: pipeline.ReasonInputRecreated, final: true,
			err:    fmt.Errorf("topic %s was deleted and created again since offset %d of this group", w.topic, w.floor),
			remedy: "offsets of the old topic mean nothing in the new one: stop every deliverer, delete the group's offsets of the topic (kafka-consumer-groups.sh --delete-offsets), and start again; the new topic is then delivered from its first command on",
		})
	case reach > p.end:
		d.short(w, p, reach)
	default:
		if w.stalled != nil {
			d.opts.Log.Info().Int32("partition", w.partition).Msg("partition of the commands goes on")
		}
		if !w.proven && w.floor >= 0 && w.floor < p.start {
			d.metrics.offsetAlarms.Inc()
			d.opts.Log.Error().Int32("partition", w.partition).Int64("offset", w.floor).Int64("start", p.start).
				Msg("commands between the group's offset and the first record were deleted before they were read: raise the topic's retention")
		}
		if !w.proven {
			w.readTo, w.readAt, w.mark = w.next, d.now, p.end
			if p.start >= p.end {
				w.mark = -1
			}
		}
		w.stalled, w.suspect, w.held, w.proven = nil, time.Time{}, false, true
		if p.id != none {
			w.topicID = p.id
		}
		w.inspectAt = d.now.Add(d.opts.inspect)
		d.catchUp() // there may be nothing to read
	}
}

// short: the log ends before what was read of it. Deliverer.mu is held.
func (d *Deliverer) short(w *window, p place, reach int64) {
	if w.suspect.IsZero() {
		w.suspect = d.now
	}
	w.held, w.inspectAt = true, d.now.Add(inspectPause)
	s := truncated(fmt.Errorf("topic %s ends at %d, but was read up to %d: %w", w.topic, p.end, reach, kafka.ErrTruncated))
	s.final = d.now.Sub(w.suspect) >= d.opts.truncated
	d.stall(w, s)
}

func truncated(err error) stall {
	return stall{
		reason: pipeline.ReasonInputTruncated, err: err, final: true,
		remedy: "the topic lost commands that had been read (unclean election, lost disks), and new ones reuse their offsets: stop every deliverer, " +
			"set the group's offset to where to go on (kafka-consumer-groups.sh --reset-offsets), and start again; commands from there on are delivered, even those that had been",
	}
}

// rewound: the client was sent back before the group's offset, which only a log that lost data makes it do.
// Deliverer.mu is held.
func (d *Deliverer) rewound(w *window, to int64) {
	d.stall(w, truncated(fmt.Errorf("topic %s was read up to %d, and is now read from %d on: %w", w.topic, w.next, to, kafka.ErrTruncated)))
}

// fetchErrors returns what ends the session. What only says that a partition is not what it was stalls that one.
func (d *Deliverer) fetchErrors(ctx context.Context, fetches kgo.Fetches) error {
	type failure struct {
		topic     string
		partition int32
		err       error
	}
	var failed []failure
	fetches.EachError(func(topic string, p int32, err error) {
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			failed = append(failed, failure{topic, p, err})
		}
	})
	if len(failed) == 0 {
		return nil
	}
	d.lock()
	for _, f := range failed {
		w := d.windows[f.partition]
		if w == nil || w.dropped {
			continue
		}
		w.inspectAt = d.now
		var loss *kgo.ErrDataLoss
		if errors.As(f.err, &loss) {
			d.stall(w, truncated(fmt.Errorf("%w: %w", f.err, kafka.ErrTruncated)))
		}
	}
	d.mu.Unlock()
	d.inspect(ctx)
	d.mu.Lock()
	running := false
	for _, w := range d.windows {
		running = running || !w.dropped
	}
	var fatal error
	for _, f := range failed {
		if w := d.windows[f.partition]; w != nil && w.dropped || w == nil && len(d.windows) > 0 && !running {
			continue // it is stalled, and says so
		}
		fatal = fmt.Errorf("read %s-%d: %w", f.topic, f.partition, f.err)
	}
	d.mu.Unlock()
	if fatal == nil && !running {
		_ = d.clock.Sleep(ctx, inspectPause) // the client may repeat its error at once
	}
	return fatal
}
