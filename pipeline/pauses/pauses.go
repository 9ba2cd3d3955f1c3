// Package pauses follows what people have paused: what is for one destination, or what the events of one connection
// caused. The topic pauses is the only truth, so that a pause holds for every process, also for one that starts later.
//
// Before the topic was read to its end everything counts as paused: a process that starts must not send what somebody
// stopped while it was away. Where Kafka cannot be read afterwards, what was known last stays.
package pauses

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// Log is Kafka as pauses are read and written. *kafka.Cluster is one.
type Log interface {
	Bounds(ctx context.Context, topic string, partition int32) (start, end int64, err error)
	Read(ctx context.Context, r kafka.Range, apply func(records []*kgo.Record, next int64) error) error
	Append(ctx context.Context, rec *kgo.Record, promise func(*kgo.Record, error))
}

var _ Log = (*kafka.Cluster)(nil)

const (
	// FollowEvery is how soon a pause holds in every process.
	FollowEvery  = time.Second
	readTimeout  = 10 * time.Second
	readPatience = 5 * time.Second // pauses are in no transaction
	writeTimeout = 10 * time.Second
	// whyBytesMax and nameBytesMax bound what a person says.
	whyBytesMax  = 500
	nameBytesMax = 100
)

// WhyUnknown is why everything is paused before the pauses were read.
const WhyUnknown = "what is paused was not read from Kafka yet"

// Options of a Follower.
type Options struct {
	Log    Log
	Decode func(b []byte) (schemas.Record, error)
	Clock  clock.Clock // default clock.System
	Lines  zerolog.Logger
}

// Follower reads the pauses and tells them. It is safe for concurrent use.
type Follower struct {
	o       Options
	reading sync.Mutex // one reader at a time

	mu      sync.Mutex
	next    int64
	known   bool
	trouble error                    // of the last reading
	words   map[string]schemas.Pause // the last about each
	changed chan struct{}
}

// New has read nothing yet.
func New(o Options) *Follower {
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	return &Follower{o: o, words: map[string]schemas.Pause{}, changed: make(chan struct{})}
}

// Paused tells whether the subject of that name is paused, and the last word about it: where it is not paused, At is when
// it was resumed, zero where it never was paused.
func (f *Follower) Paused(subject schemas.PauseSubject, name string) (schemas.Pause, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := schemas.Pause{Subject: subject, Name: name, Paused: true, Why: WhyUnknown}
	if !f.known {
		return p, true
	}
	p = f.words[p.Key()]
	return p, p.Paused
}

// Changed returns a channel that is closed at the next change.
func (f *Follower) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// List is what is paused, in the order of subject and name; empty also before it is known.
func (f *Follower) List() []schemas.Pause {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []schemas.Pause{}
	for _, key := range slices.Sorted(maps.Keys(f.words)) {
		if f.words[key].Paused {
			out = append(out, f.words[key])
		}
	}
	return out
}

// Ready is nil once the pauses are known.
func (f *Follower) Ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.known:
		return nil
	case f.trouble != nil:
		return fmt.Errorf("nothing is sent, for %s: %w", WhyUnknown, f.trouble)
	}
	return errors.New("nothing is sent, for " + WhyUnknown)
}

// CatchUp reads to the end of the topic.
func (f *Follower) CatchUp(ctx context.Context) error {
	f.reading.Lock()
	defer f.reading.Unlock()
	ctx, cancel := f.o.Clock.WithTimeout(ctx, readTimeout)
	defer cancel()
	err := f.read(ctx)
	if err != nil {
		err = fmt.Errorf("read the pauses: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trouble = err
	if err == nil && !f.known {
		f.known = true
		f.tell()
	}
	return err
}

func (f *Follower) read(ctx context.Context) error {
	start, end, err := f.o.Log.Bounds(ctx, schemas.TopicPauses, 0)
	if err != nil {
		return err
	}
	f.mu.Lock()
	if f.next > end { // the topic was made anew: what it had is gone
		f.next = 0
		clear(f.words)
		f.tell()
	}
	f.next = max(f.next, start)
	r := kafka.Range{Topic: schemas.TopicPauses, From: f.next, To: end, Patience: readPatience}
	f.mu.Unlock()
	if r.From >= r.To {
		return nil
	}
	return f.o.Log.Read(ctx, r, f.take)
}

// take notes records. One that cannot be decoded yet ends the reading: what it pauses is not to be sent.
func (f *Follower) take(records []*kgo.Record, next int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed := false
	defer func() {
		if changed {
			f.tell()
		}
	}()
	for _, rec := range records {
		if len(rec.Value) == 0 { // a tombstone: as if it had never been paused
			changed = changed || f.words[string(rec.Key)].Paused
			delete(f.words, string(rec.Key))
			continue
		}
		v, err := f.o.Decode(rec.Value)
		if errors.Is(err, codec.ErrUnavailable) {
			return err
		}
		p, ok := v.(*schemas.Pause)
		if err != nil || !ok {
			f.o.Lines.Warn().Int64("offset", rec.Offset).Msg("a record on the topic pauses is no pause, and counts for nothing")
			continue
		}
		if was := f.words[p.Key()]; was != *p {
			changed = changed || was.Paused || p.Paused
			f.words[p.Key()] = *p
		}
		f.next = rec.Offset + 1
	}
	f.next = next
	return nil
}

// tell wakes those who wait for a change. f.mu is held.
func (f *Follower) tell() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// Run follows the topic until ctx ends. What cannot be read now is read later.
func (f *Follower) Run(ctx context.Context) {
	for said := ""; ; {
		if err := f.CatchUp(ctx); ctx.Err() == nil && err != nil && err.Error() != said {
			said = err.Error()
			f.o.Lines.Warn().Err(err).Msg("a pause or resume that was said meanwhile does not hold yet")
		} else if err == nil {
			said = ""
		}
		if f.o.Clock.Sleep(ctx, FollowEvery) != nil {
			return
		}
	}
}

var pausedDesc = prometheus.NewDesc("tillstream_paused", "1 for each destination and connection that a person has paused; what is not paused has no value.", []string{"subject", "name"}, nil)

// Describe implements prometheus.Collector.
func (f *Follower) Describe(ch chan<- *prometheus.Desc) { ch <- pausedDesc }

// Collect implements prometheus.Collector.
func (f *Follower) Collect(ch chan<- prometheus.Metric) {
	for _, p := range f.List() {
		ch <- prometheus.MustNewConstMetric(pausedDesc, prometheus.GaugeValue, 1, strings.ToLower(string(p.Subject)), p.Name)
	}
}

// ErrInvalid is returned, wrapped, for a pause that cannot be.
var ErrInvalid = errors.New("pause")

// Validate says what is wrong with p.
func Validate(p schemas.Pause) error {
	switch {
	case p.Subject != schemas.PauseDestination && p.Subject != schemas.PauseConnection:
		return fmt.Errorf("%w: %q can't be paused, a destination or a connection can", ErrInvalid, p.Subject)
	case p.Name == "" || len(p.Name) > nameBytesMax:
		return fmt.Errorf("%w: the name has 1 to %d bytes", ErrInvalid, nameBytesMax)
	case p.Paused && strings.TrimSpace(p.Why) == "":
		return fmt.Errorf("%w: say why, for whoever finds it paused", ErrInvalid)
	case len(p.Why) > whyBytesMax:
		return fmt.Errorf("%w: why is said in at most %d bytes", ErrInvalid, whyBytesMax)
	case strings.TrimSpace(p.By) == "" || len(p.By) > nameBytesMax:
		return fmt.Errorf("%w: who says it is named in 1 to %d bytes", ErrInvalid, nameBytesMax)
	}
	return nil
}

// Write puts p on the log. It holds for every process within FollowEvery of the return.
func Write(ctx context.Context, log Log, encode func(schemas.Record) ([]byte, error), p schemas.Pause) error {
	if err := Validate(p); err != nil {
		return err
	}
	value, err := encode(&p)
	if err != nil {
		return fmt.Errorf("write the pause of %s: %w", p.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	done := make(chan error, 1)
	log.Append(ctx, &kgo.Record{Topic: schemas.TopicPauses, Partition: 0, Key: []byte(p.Key()), Value: value}, func(_ *kgo.Record, err error) { done <- err })
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("write the pause of %s: %w", p.Name, err)
	}
	return nil
}
