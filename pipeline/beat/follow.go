package beat

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
)

// Log is Kafka as the beats are read. *kafka.Cluster is one.
type Log interface {
	Bounds(ctx context.Context, topic string, partition int32) (start, end int64, err error)
	Read(ctx context.Context, r kafka.Range, apply func(records []*kgo.Record, next int64) error) error
}

var _ Log = (*kafka.Cluster)(nil)

const (
	followEvery   = 2 * time.Second
	readTimeout   = 10 * time.Second
	readPatience  = 5 * time.Second // beats are in no transaction
	appendTimeout = 5 * time.Second
)

// Options of a Follower and of a Receiver.
type Options struct {
	Log    Log
	Decode func(b []byte) (schemas.Record, error)
	Clock  clock.Clock // default clock.System
	// Grace is how long after an outage deadlines stay where they were; zero: GraceDefault.
	Grace time.Duration
	Lines zerolog.Logger
}

func (o *Options) fill() {
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Grace == 0 {
		o.Grace = GraceDefault
	}
}

// Follower reads the beats and tells the watermark. It is safe for concurrent use.
type Follower struct {
	o Options

	mu    sync.Mutex
	board Board
	next  int64
}

// NewFollower has read nothing yet.
func NewFollower(o Options) *Follower {
	o.fill()
	return &Follower{o: o}
}

// Watermark is what is known so far; zero: no beat was read.
func (f *Follower) Watermark() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.board.Watermark(f.o.Grace)
}

// CatchUp reads to the end of the topic.
func (f *Follower) CatchUp(ctx context.Context) error {
	ctx, cancel := f.o.Clock.WithTimeout(ctx, readTimeout)
	defer cancel()
	start, end, err := f.o.Log.Bounds(ctx, schemas.TopicReceiverBeats, 0)
	if err != nil {
		return fmt.Errorf("read the receivers' beats: %w", err)
	}
	f.mu.Lock()
	if f.next < start || f.next > end { // expired, or the topic was made anew
		f.next = start
	}
	r := kafka.Range{Topic: schemas.TopicReceiverBeats, From: f.next, To: end, Patience: readPatience}
	f.mu.Unlock()
	if r.From >= r.To {
		return nil
	}
	err = f.o.Log.Read(ctx, r, func(records []*kgo.Record, next int64) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, rec := range records {
			v, err := f.o.Decode(rec.Value)
			if err != nil {
				continue // none of ours; the audit finds it
			}
			if b, ok := v.(*schemas.ReceiverBeat); ok {
				f.board.Take(*b, rec.Timestamp.UTC())
			}
		}
		f.next = next
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the receivers' beats: %w", err)
	}
	return nil
}

// Run follows the topic until ctx ends. What cannot be read now is read later; the watermark stands still meanwhile.
func (f *Follower) Run(ctx context.Context) {
	for said := ""; ; {
		if err := f.CatchUp(ctx); ctx.Err() == nil && err != nil && err.Error() != said {
			said = err.Error()
			f.o.Lines.Warn().Err(err).Msg("timers may be held until the receivers' beats can be read again")
		} else if err == nil {
			said = ""
		}
		if f.o.Clock.Sleep(ctx, followEvery) != nil {
			return
		}
	}
}

// Receiver writes the beats of one receiver.
type Receiver struct {
	o        Options
	instance string
	append   func(ctx context.Context, b *schemas.ReceiverBeat) error
	seen     *Follower
}

// NewReceiver beats for the receiver of that instance. append must be how its events are appended: a beat says that events
// could be taken.
func NewReceiver(o Options, instance string, append func(ctx context.Context, b *schemas.ReceiverBeat) error) *Receiver {
	o.fill()
	return &Receiver{o: o, instance: instance, append: append, seen: NewFollower(o)}
}

// Run beats until ctx ends, and then says that it stopped.
func (r *Receiver) Run(ctx context.Context) {
	beat, acked := schemas.ReceiverBeat{}, time.Time{}
	for {
		now, err := r.o.Clock.Now().UTC(), error(nil)
		if acked.IsZero() || now.Sub(acked) > Gap {
			beat, err = r.begin(ctx, now)
		}
		if err == nil && r.write(ctx, beat, now) == nil {
			acked = now
		}
		if r.o.Clock.Sleep(ctx, Every) != nil {
			break
		}
	}
	if !acked.IsZero() && beat.Instance != "" {
		beat.Stopped = true
		_ = r.write(context.WithoutCancel(ctx), beat, r.o.Clock.Now().UTC()) // who cannot say so is missed all the same
	}
}

// begin reads what the others wrote, and finds out whether there was an outage.
func (r *Receiver) begin(ctx context.Context, now time.Time) (schemas.ReceiverBeat, error) {
	if err := r.seen.CatchUp(ctx); err != nil {
		return schemas.ReceiverBeat{}, err
	}
	r.seen.mu.Lock()
	beat := r.seen.board.Begin(r.instance, now, r.o.Grace)
	r.seen.mu.Unlock()
	if !beat.OutageFrom.IsZero() && beat.UpSince.Equal(now) {
		r.o.Lines.Warn().Time("from", beat.OutageFrom).Dur("grace", r.o.Grace).
			Msg("no receiver was there for a while: deadlines since then wait until the grace has passed")
	}
	return beat, nil
}

func (r *Receiver) write(ctx context.Context, beat schemas.ReceiverBeat, now time.Time) error {
	ctx, cancel := r.o.Clock.WithTimeout(ctx, appendTimeout)
	defer cancel()
	beat.At = now
	return r.append(ctx, &beat)
}
