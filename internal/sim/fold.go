package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/sim/broker"
	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
)

// folded is what one partition should have come to.
type folded struct {
	outs        map[string][]string // "topic key" to encoded records
	letters     []string            // "id cause"
	states      map[string]string
	pending     map[string]int64 // earliest deadline by key, Unix milliseconds
	inputs      int64
	skipped     int64
	ticks       int64
	activations int64
	timers      int64
	failures    []string
}

// slack is the two-clock rule: a broker's stamp counts no more than this ahead of its producer's.
const slack = 5 * 60 * 1000

// lease is how far timers fire past the watermark, in milliseconds.
const lease = 30 * 1000

// stampOf is when a record happened.
func stampOf(r *kgo.Record) int64 {
	at := r.Timestamp.UnixMilli()
	for _, h := range r.Headers {
		if h.Key == pipeline.HeaderStamp {
			if ms, err := strconv.ParseInt(string(h.Value), 10, 64); err == nil && ms > 0 {
				at = min(at, ms+slack)
			}
			break
		}
	}
	return at
}

// foldWith reads a partition's inputs from their start by the plainest code that can be right: a map of states, and
// all timers looked through before each record.
func foldWith[S any](stage processors.Stage[S]) func(*world, *stageUse, int32) *folded {
	return func(w *world, u *stageUse, n int32) *folded {
		f := &folder[S]{w: w, stage: stage, config: versionFirst, live: map[string]S{}, folded: &folded{outs: map[string][]string{}, states: map[string]string{}, pending: map[string]int64{}}}
		for _, step := range w.order(u, n) {
			for _, r := range step.records {
				f.record(r)
			}
			f.mark = max(f.mark, step.mark)
			if step.merged { // the transaction may have been cut between timers that fire for its next record
				f.fire(step.at, step.timers, "")
			}
		}
		for k, s := range f.live {
			b, err := stage.Encode(s)
			if err != nil {
				f.failures = append(f.failures, err.Error())
			}
			f.states[k] = string(b)
		}
		if t := f.next(); t != nil && (f.mark == 0 || t.at < f.mark+lease || w.receivers.released(t.at)) { // any other is held
			f.pending[t.key] = t.at
		}
		return f.folded
	}
}

type folder[S any] struct {
	*folded
	w      *world
	stage  processors.Stage[S]
	config string // the version that the partition follows
	live   map[string]S
	now    int64
	mark   int64 // the watermark that ticks have told, Unix milliseconds; 0: none
}

type dueTimer struct {
	key string
	at  int64
	t   processors.Timer
}

// next is the timer that fires first.
func (f *folder[S]) next() (first *dueTimer) {
	for k, s := range f.live {
		for _, t := range f.stage.Timers(s) {
			d := dueTimer{k, t.At.UnixMilli(), t}
			if first == nil || d.at < first.at || d.at == first.at && (k < first.key || k == first.key && t.ID < first.t.ID) {
				first = &d
			}
		}
	}
	return first
}

func (f *folder[S]) record(r *kgo.Record) {
	rec, err := shared.Decode(r.Value)
	at := max(f.now, stampOf(r))
	if tick, ok := rec.(*schemas.Tick); ok && err == nil && !tick.Watermark.IsZero() {
		f.mark = max(f.mark, min(tick.Watermark.UnixMilli(), at))
	}
	f.fire(at, math.MaxInt64, r.Topic)
	f.inputs++
	if err != nil {
		f.letter(r, schemas.CauseUndecodable)
		return
	}
	if _, tick := rec.(*schemas.Tick); tick {
		f.ticks++
		return
	}
	if a, ok := rec.(*schemas.ConfigActivation); ok {
		if f.activations++; a.Version != versionBad {
			f.config = a.Version
		}
		return
	}
	in := processors.Input{At: time.UnixMilli(at).UTC(), Key: string(r.Key), Topic: r.Topic, Record: rec, Config: f.config}
	key, ok := f.stage.Key(in)
	if !ok {
		f.skipped++
		return
	}
	if err := f.step(key, in); err != nil {
		cause := schemas.CauseStageFailed
		if p := (*processors.Poison)(nil); errors.As(err, &p) {
			cause = p.Cause
		}
		f.letter(r, cause)
	}
}

// fire moves time to at, past all timers before it, the first most of them.
func (f *folder[S]) fire(at, most int64, topic string) {
	for f.timers < most {
		d := f.next()
		if d == nil || d.at >= at || f.mark > 0 && d.at >= f.mark+lease {
			break
		}
		f.timers++
		if err := f.step(d.key, processors.Input{At: time.UnixMilli(at).UTC(), Key: d.key, Topic: topic, Timer: &d.t, Config: f.config}); err != nil {
			f.failures = append(f.failures, fmt.Sprintf("timer %s of %s: %v", d.t.ID, d.key, err))
			return
		}
	}
	f.now = at
}

func (f *folder[S]) letter(r *kgo.Record, cause string) {
	f.letters = append(f.letters, fmt.Sprintf("%s-%d-%d %s", r.Topic, r.Partition, r.Offset, cause))
}

// step applies one input. A panic of the stage is a finding about the input, as an error is.
func (f *folder[S]) step(key string, in processors.Input) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	s, outs, err := f.stage.Apply(f.live[key], in)
	if err != nil {
		return err
	}
	f.live[key] = s
	if g, ok := any(s).(processors.Forgetter); ok && g.Forget() {
		delete(f.live, key)
	}
	for _, o := range outs {
		b, err := shared.Encode(o.Record)
		if err != nil {
			return err
		}
		k := o.Topic + " " + o.Key
		f.outs[k] = append(f.outs[k], string(b))
	}
	return nil
}

// taken is what one transaction took, or, of a single input, all of it.
type taken struct {
	records []*kgo.Record
	merged  bool
	timers  int64 // fired up to its end
	at      int64 // stream time at its end
	mark    int64 // watermark at its end
}

// order is the inputs of a partition in the order in which the stage took them. One input is its own order. Of several,
// the committed transactions say how far each was taken, and within one transaction they are merged by time.
func (w *world) order(u *stageUse, n int32) (steps []taken) {
	queues := make([][]*kgo.Record, len(u.topology.Inputs))
	for i, topic := range u.topology.Inputs {
		queues[i] = w.input(u, topic, n)
	}
	if len(queues) == 1 {
		return []taken{{records: queues[0]}}
	}
	h := w.history[historyKey(u.topology.Changelog, n)]
	if h == nil {
		return nil
	}
	for _, m := range h.metas {
		step := taken{merged: true, timers: m.Counts.Timers, at: m.StreamTime, mark: m.Watermark}
		for {
			best := -1
			for i, topic := range u.topology.Inputs {
				if len(queues[i]) == 0 || queues[i][0].Offset >= m.Inputs[topic].Next {
					continue
				}
				if best < 0 || queues[i][0].Timestamp.Before(queues[best][0].Timestamp) {
					best = i
				}
			}
			if best < 0 {
				break
			}
			step.records = append(step.records, queues[best][0])
			queues[best] = queues[best][1:]
		}
		steps = append(steps, step)
	}
	for _, q := range queues { // not taken: it shows as a loss
		steps = append(steps, taken{records: q})
	}
	return steps
}

// input is what a stage had to read of one topic: all that is committed, but for ticks of processes that ended before
// anybody read them.
func (w *world) input(u *stageUse, topic string, n int32) (records []*kgo.Record) {
	next := w.meta(u, n).Inputs[topic].Next
	for _, e := range w.b.Topic(topic).Parts[n].All {
		if e.Marker || e.Txn != nil && e.Txn.State != broker.Committed {
			continue
		}
		if tick := e.By != "" && e.Txn == nil; !tick || e.Record.Offset < next {
			records = append(records, e.Record)
		}
	}
	return records
}

// envelopeState is the state inside an image: a version, the earliest deadline, the muted timers, the state.
func envelopeState(image []byte) (string, error) {
	if len(image) == 0 || image[0] != 1 {
		return "", errors.New("unknown version")
	}
	b := image[1:]
	_, n := binary.Varint(b)
	if n <= 0 {
		return "", errors.New("no deadline")
	}
	b = b[n:]
	count, n := binary.Uvarint(b)
	if n <= 0 {
		return "", errors.New("no count")
	}
	b = b[n:]
	for range count {
		_, n := binary.Varint(b)
		b = b[n:]
		size, n := binary.Uvarint(b)
		b = b[n+int(size):]
	}
	return string(b), nil
}

func historyKey(changelog string, n int32) string { return changelog + "/" + strconv.Itoa(int(n)) }

// partitionOf is the partition of a key, as every producer chooses it.
func partitionOf(key string, n int) int32 { return kafka.Partition([]byte(key), int32(n)) }

func sorted(m map[string][]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
