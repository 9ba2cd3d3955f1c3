//go:build synctests

package virtual

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
)

// folded is what a stage should have made of one partition.
type folded struct {
	outs    map[string][]string // by topic, key and source: the records in order
	letters []string
	states  map[string]string
	pending []timer // not due by the last record
	fired   []timer
	tally   tally
	parked  int // events that wait under a key
}

// tally counts as a stage's meta record does.
type tally struct {
	Inputs      int64 `json:"inputs"`
	Skipped     int64 `json:"skipped"`
	Ticks       int64 `json:"ticks"`
	DeadLetters int64 `json:"dead_letters"`
	Timers      int64 `json:"timers"`
}

type timer struct {
	key    string
	at     int64 // Unix milliseconds
	t      processors.Timer
	byTick bool // what made it due was a tick
}

// meta is the engine's own record of how far a transaction took a partition.
type meta struct {
	Inputs map[string]struct {
		Next int64 `json:"next"`
	} `json:"inputs"`
	StreamTime int64 `json:"stream_time"`
	Counts     tally `json:"counts"`
}

// metasOf are the meta records of a changelog's partition, in order.
func (w *world) metasOf(changelog []*kgo.Record) (list []meta) {
	for _, r := range changelog {
		if string(r.Key) != "m" {
			continue
		}
		var m meta
		if err := json.Unmarshal(r.Value, &m); err != nil {
			w.t.Fatal(err)
		}
		list = append(list, m)
	}
	return list
}

// folder applies a stage by the plainest code that can be right: a map of states, all timers looked through before each
// record, nothing kept, nothing batched.
type folder[S any] struct {
	folded
	w     *world
	stage processors.Stage[S]
	live  map[string]S
	now   int64
}

// fold reads one partition of the inputs from their start. Where there are several, the stage's transactions say how
// far each was taken, and within a transaction they are read by time; everything else is worked out anew.
func fold[S any](w *world, stage processors.Stage[S], inputs [][]*kgo.Record, metas []meta) folded {
	f := &folder[S]{w: w, stage: stage, live: map[string]S{}, folded: folded{outs: map[string][]string{}, states: map[string]string{}}}
	queues := make([][]*kgo.Record, len(inputs))
	copy(queues, inputs)
	for _, m := range metas {
		for {
			best := -1
			for i, q := range queues {
				if len(q) == 0 || q[0].Offset >= m.Inputs[q[0].Topic].Next {
					continue
				}
				if best < 0 || q[0].Timestamp.Before(queues[best][0].Timestamp) {
					best = i
				}
			}
			if best < 0 {
				break
			}
			f.record(queues[best][0])
			queues[best] = queues[best][1:]
		}
		for f.tally.Timers < m.Counts.Timers && f.fire(m.StreamTime, false, "") { // of a transaction that was cut between timers
		}
		f.now = max(f.now, m.StreamTime)
	}
	for _, q := range queues {
		if len(q) > 0 {
			w.t.Errorf("stage %s never took %d records from %s/%d@%d on", stage.Name(), len(q), q[0].Topic, q[0].Partition, q[0].Offset)
		}
	}
	for k, s := range f.live {
		b, err := stage.Encode(s)
		if err != nil {
			w.t.Fatal(err)
		}
		f.states[k] = string(b)
		for _, t := range stage.Timers(s) {
			f.pending = append(f.pending, timer{key: k, at: t.At.UnixMilli(), t: t})
		}
		if p, ok := any(s).(interface{ Pending() (int, int) }); ok {
			events, _ := p.Pending()
			f.parked += events
		}
	}
	return f.folded
}

// stampOf is when a record happened: by the broker, but no more than five minutes after its producer.
func stampOf(r *kgo.Record) int64 {
	at := r.Timestamp.UnixMilli()
	for _, h := range r.Headers {
		if h.Key == pipeline.HeaderStamp {
			if ms, err := strconv.ParseInt(string(h.Value), 10, 64); err == nil && ms > 0 {
				return min(at, ms+(5*time.Minute).Milliseconds())
			}
		}
	}
	return at
}

func (f *folder[S]) record(r *kgo.Record) {
	rec, err := f.w.codec.Decode(r.Value)
	_, tick := rec.(*schemas.Tick)
	at := max(f.now, stampOf(r))
	for f.fire(at, tick, r.Topic) {
	}
	f.now = at
	f.tally.Inputs++
	in := processors.Input{At: time.UnixMilli(at).UTC(), Key: string(r.Key), Topic: r.Topic, Record: rec}
	if err != nil {
		f.letter(r, schemas.CauseUndecodable)
		return
	}
	if tick {
		f.tally.Ticks++
		return
	}
	key, ok := f.stage.Key(in)
	if !ok {
		f.tally.Skipped++
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

// fire lets the first timer before at fire, if there is one.
func (f *folder[S]) fire(at int64, byTick bool, topic string) bool {
	var first *timer
	for k, s := range f.live {
		for _, t := range f.stage.Timers(s) {
			d := timer{key: k, at: t.At.UnixMilli(), t: t, byTick: byTick}
			if first == nil || d.at < first.at || d.at == first.at && (k < first.key || k == first.key && t.ID < first.t.ID) {
				first = &d
			}
		}
	}
	if first == nil || first.at >= at {
		return false
	}
	f.tally.Timers++
	f.fired = append(f.fired, *first)
	if err := f.step(first.key, processors.Input{At: time.UnixMilli(at).UTC(), Key: first.key, Topic: topic, Timer: &first.t}); err != nil {
		f.w.t.Fatalf("timer %s of %s: %v", first.t.ID, first.key, err)
	}
	return true
}

func (f *folder[S]) letter(r *kgo.Record, cause string) {
	f.tally.DeadLetters++
	f.letters = append(f.letters, fmt.Sprintf("%s-%d-%d %s", r.Topic, r.Partition, r.Offset, cause))
}

func (f *folder[S]) step(key string, in processors.Input) error {
	s, outs, err := f.stage.Apply(f.live[key], in)
	if err != nil {
		return err
	}
	f.live[key] = s
	if g, ok := any(s).(processors.Forgetter); ok && g.Forget() {
		delete(f.live, key)
	}
	for _, o := range outs {
		b, err := f.w.codec.Encode(o.Record)
		if err != nil {
			return err
		}
		k := groupOf(o.Topic, o.Key, o.Record)
		f.outs[k] = append(f.outs[k], describe(o.Record, b))
	}
	return nil
}

// groupOf names what one state of one stage wrote under one key: what different states write to a partition comes in any
// order.
func groupOf(topic, key string, rec schemas.Record) string {
	switch r := rec.(type) {
	case *schemas.Transition:
		return topic + " " + key + " of " + r.RootKey
	case *schemas.OrderLink:
		return topic + " " + key + " to " + r.To
	case *schemas.OrderEvent:
		return topic + " " + key + " about " + r.Linked(schemas.LinkCapture)
	case *schemas.Command:
		return topic + " " + key + " at " + r.Destination
	}
	return topic + " " + key
}

// foldStage folds every partition of a stage and compares its state, in the changelog and in Redis, its counts and its
// group's offsets.
func foldStage[S any](w *world, stage processors.Stage[S], group string, inputs []string, changelog string) (list []folded) {
	w.t.Helper()
	logs := w.read(changelog)
	var topics [][partitions][]*kgo.Record
	for _, topic := range inputs {
		topics = append(topics, w.read(topic))
	}
	for p := range int32(partitions) {
		var queues [][]*kgo.Record
		for _, t := range topics {
			queues = append(queues, t[p])
		}
		metas := w.metasOf(logs[p])
		f := fold(w, stage, queues, metas)
		list = append(list, f)
		what := fmt.Sprintf("%s partition %d", stage.Name(), p)
		images := imagesOf(logs[p])
		got := map[string]string{}
		for k, image := range images {
			_, muted, state := open(image)
			if got[k] = state; muted != 0 {
				w.t.Errorf("%s: %s has %d timers that must not fire any more", what, k, muted)
			}
		}
		if diff := cmp.Diff(f.states, got); diff != "" {
			w.t.Errorf("%s: states (-fold +changelog):\n%s", what, diff)
		}
		if len(metas) == 0 {
			continue
		}
		newest := metas[len(metas)-1]
		if diff := cmp.Diff(f.tally, newest.Counts); diff != "" {
			w.t.Errorf("%s: counts (-fold +meta):\n%s", what, diff)
		}
		w.checkRedis(fmt.Sprintf("{%s:%d}", stage.Name(), p), images, logs[p][len(logs[p])-1])
		w.checkOffsets(group, inputs, p, newest)
	}
	return list
}
