package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/beat"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
)

// waiting is a stage that waits for a payment: an event "open" opens the wait, "paid" ends it if the payment's own time is
// not after the deadline. What it says names the configuration that it was told.
type waiting struct{}

type waitState struct {
	Deadline time.Time `json:"deadline,omitzero"`
	Ended    string    `json:"ended,omitempty"`
}

const waitTime = time.Hour

func (waiting) Name() string                           { return "waiting" }
func (waiting) Version() processors.StageVersion       { return 1 }
func (waiting) Encode(s waitState) ([]byte, error)     { return json.Marshal(s) }
func (waiting) Decode(b []byte) (s waitState, _ error) { return s, json.Unmarshal(b, &s) }
func (waiting) Key(in processors.Input) (string, bool) {
	_, ok := in.Record.(*schemas.OrderEvent)
	return in.Key, ok
}

func (waiting) Timers(s waitState) []processors.Timer {
	if s.Deadline.IsZero() || s.Ended != "" {
		return nil
	}
	return []processors.Timer{{At: s.Deadline, ID: "deadline"}}
}

func (waiting) Apply(s waitState, in processors.Input) (waitState, []processors.Output, error) {
	why := ""
	switch ev, _ := in.Record.(*schemas.OrderEvent); {
	case in.Timer != nil:
		s.Ended = "not met"
		why = "not met"
	case ev.EventType == "open":
		s.Deadline, why = in.At.Add(waitTime), "open"
	case ev.EventType == "paid" && s.Ended == "" && !ev.ProviderTime.After(s.Deadline):
		s.Ended = "met"
		why = "met"
	default:
		why = "late"
	}
	out := &schemas.Transition{RootKey: in.Key, Why: why + " under " + in.Config, At: in.At}
	return s, []processors.Output{{Topic: testOut, Key: in.Key, Record: out}}, nil
}

// said is what the stage said of a key, in order.
func (w *world) said(key string) (out []string) {
	w.t.Helper()
	for _, rs := range w.read(testOut) {
		for _, r := range rs {
			rec, err := w.codec.Decode(r.Value)
			if err != nil {
				w.t.Fatal(err)
			}
			if string(r.Key) == key {
				out = append(out, rec.(*schemas.Transition).Why)
			}
		}
	}
	return out
}

// receiver beats into a board for as long as it is up, as package beat's does.
type receiver struct {
	mu    sync.Mutex
	board beat.Board
	up    bool
	beat  schemas.ReceiverBeat
}

func (r *receiver) set(up bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.up = up; up {
		r.beat = r.board.Begin("a", time.Now(), beat.GraceDefault)
	}
}

func (r *receiver) run(ctx context.Context) {
	for ctx.Err() == nil {
		r.mu.Lock()
		if r.up {
			r.board.Take(r.beat, time.Now())
		}
		r.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(beat.Every):
		}
	}
}

func (r *receiver) watermark() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.board.Watermark(beat.GraceDefault)
}

func (w *world) waits(r *receiver) {
	w.options = func(o *EngineOptions) {
		o.Topology.Stage = Bind(waiting{})
		if r != nil {
			o.Watermark = r.watermark
		}
	}
}

func (w *world) event(typ, key string, at time.Time) {
	w.t.Helper()
	w.n++
	b, err := w.codec.Encode(&schemas.OrderEvent{EventID: fmt.Sprint("e", w.n), EventType: typ, ProviderTime: at})
	if err != nil {
		w.t.Fatal(err)
	}
	w.append(testIn, key, b)
}

// Two customers have an hour to pay. Twenty minutes later every receiver is gone, for two hours. One pays in time, which
// the provider delivers by a retry three minutes after a receiver is back; the other never does. A third's hour began
// within the outage, by what was on its way; and the engine is killed and taken over in its midst.
func TestAnOutageOfTheReceiversEndsNoWait(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		r := &receiver{}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go r.run(ctx)
		r.set(true)
		w.waits(r)
		p := w.start("a")
		w.event("open", "pays", time.Now())
		w.event("open", "never", time.Now())
		w.settle(p)
		time.Sleep(20 * time.Minute)
		r.set(false)
		time.Sleep(20 * time.Minute)
		w.event("open", "within", time.Now())
		time.Sleep(40 * time.Minute) // the deadline of the first two has passed
		p.kill()
		p = w.start("b")
		w.settle(p)
		if s := p.Status()[0]; !s.TimersHeld || s.Counts.Timers != 0 {
			t.Errorf("in the outage: held %v, fired %d, want true, 0", s.TimersHeld, s.Counts.Timers)
		}
		ticks := p.Status()[0].Counts.Ticks
		time.Sleep(40 * time.Minute)
		w.settle(p)
		if n := p.Status()[0].Counts.Ticks - ticks; n > 40*6+10 {
			t.Errorf("%d ticks in 40 minutes of an outage, want one each 10 s", n)
		}
		want(t, "nobody's hour ended in the outage", [][]string{w.said("pays"), w.said("never"), w.said("within")},
			[][]string{{"open under "}, {"open under "}, {"open under "}})
		r.set(true)
		time.Sleep(3 * time.Minute)
		w.event("paid", "pays", time.Now().Add(-100*time.Minute)) // 43 minutes into its hour
		w.event("paid", "within", time.Now())                     // too late by its own time
		w.settle(p)
		time.Sleep(11 * time.Minute)
		want(t, "met by the retry", w.said("pays"), []string{"open under ", "met under "})
		want(t, "within the grace it may still come", w.said("never"), []string{"open under "})
		time.Sleep(3 * time.Minute)
		w.settle(p)
		want(t, "after the grace it is not met", w.said("never"), []string{"open under ", "not met under "})
		want(t, "a payment after the deadline ends no wait that is held", w.said("within"), []string{"open under ", "late under ", "not met under "})
		want(t, "held after the grace", p.Status()[0].TimersHeld, false)
		p.stop()
	})
}

// With receivers that are there, deadlines end when they always did: within a second of an idle partition.
func TestAWatermarkThatMovesDelaysNothing(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		r := &receiver{}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go r.run(ctx)
		r.set(true)
		w.waits(r)
		p := w.start("a")
		w.event("open", "x", time.Now())
		w.settle(p)
		time.Sleep(waitTime - 5*time.Second)
		want(t, "before", w.said("x"), []string{"open under "})
		time.Sleep(7 * time.Second)
		want(t, "after", w.said("x"), []string{"open under ", "not met under "})
		p.stop()
	})
}

// A stage that never heard of receivers holds nothing, and ticks of a release that told no watermark lift nothing.
func TestTicksWithoutWatermarkHoldNothingAndLiftNothing(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		w.waits(nil)
		p := w.start("a")
		w.event("open", "x", time.Now())
		time.Sleep(waitTime + 3*time.Second)
		w.settle(p)
		want(t, "no watermark: the stream time decides", w.said("x"), []string{"open under ", "not met under "})

		w.tick(time.Now())
		w.event("open", "y", time.Now())
		time.Sleep(2 * waitTime)
		w.tick(time.Time{})
		w.settle(p)
		want(t, "an empty tick lifts nothing", w.said("y"), []string{"open under "})
		w.tick(time.Now().Add(-3 * time.Hour))
		w.settle(p)
		want(t, "the watermark never goes back", p.Status()[0].Watermark.After(time.Now().Add(-2*waitTime-time.Minute)), true)
		w.tick(time.Now().Add(100 * time.Hour)) // a clock that is wrong
		w.settle(p)
		want(t, "a later one does", w.said("y"), []string{"open under ", "not met under "})
		want(t, "and it is never ahead of the stream", p.Status()[0].Watermark.After(time.Now()), false)
		p.stop()
	})
}

func (w *world) tick(watermark time.Time) {
	w.t.Helper()
	b, err := w.codec.Encode(&schemas.Tick{Owner: "test", At: time.Now(), Watermark: watermark})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.side.ProduceSync(context.Background(), &kgo.Record{Topic: testIn, Value: b}).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// activate appends an activation and returns its offset.
func (w *world) activate(version string) int64 {
	w.t.Helper()
	b, err := w.codec.Encode(&schemas.ConfigActivation{Version: version, By: "test", At: time.Now()})
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := w.side.ProduceSync(context.Background(), &kgo.Record{Topic: testIn, Value: b}).First()
	if err != nil {
		w.t.Fatal(err)
	}
	return r.Offset
}

// versions is what EngineOptions.Config knows.
type versions struct {
	mu    sync.Mutex
	known map[string]error
}

var errUnknownVersion = errors.New("it is not on the topic")

func (v *versions) set(version string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.known[version] = err
}

func (v *versions) config(_ context.Context, version string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	err, ok := v.known[version]
	if !ok {
		return errUnknownVersion
	}
	return err
}

func TestAPartitionFollowsAVersionFromItsActivationOn(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		v := &versions{known: map[string]error{"v1": nil, "v2": nil}}
		initial := "v1"
		w.options = func(o *EngineOptions) {
			o.Topology.Stage, o.ConfigVersion, o.Config = Bind(waiting{}), initial, v.config
		}
		p := w.start("a")
		w.event("open", "x", time.Now())
		at := w.activate("v2")
		w.event("paid", "x", time.Now())
		w.event("open", "y", time.Now())
		w.settle(p)
		s := p.Status()[0]
		want(t, "followed since", fmt.Sprint(s.Config, " ", s.ConfigFrom, " ", s.Counts.Activations), fmt.Sprint("v2 ", at, " 1"))
		w.activate("v2")
		w.settle(p)
		want(t, "the same again changes nothing", p.Status()[0].ConfigFrom, at)
		p.kill()

		initial = "v9" // only for partitions that follow none
		p = w.start("b")
		w.event("paid", "z", time.Now())
		time.Sleep(waitTime + time.Minute)
		w.settle(p)
		want(t, "x", w.said("x"), []string{"open under v1", "met under v2"})
		want(t, "after a takeover", w.said("z"), []string{"late under v2"})
		want(t, "timers too", w.said("y"), []string{"open under v2", "not met under v2"})
		p.stop()
	})
}

func TestAVersionThatIsNotThereIsWaitedForAndOneThatIsBadIsNotFollowed(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		v := &versions{known: map[string]error{"v1": nil, "bad": fmt.Errorf("%w: line 3", ErrConfigRefused)}}
		w.options = func(o *EngineOptions) {
			o.Topology.Stage, o.ConfigVersion, o.Config = Bind(waiting{}), "v1", v.config
		}
		p := w.start("a")
		w.event("open", "x", time.Now())
		w.activate("bad")
		w.event("paid", "x", time.Now())
		w.settle(p)
		want(t, "a version that cannot be followed", w.said("x"), []string{"open under v1", "met under v1"})

		w.event("open", "y", time.Now())
		w.activate("v2")
		w.event("paid", "y", time.Now())
		time.Sleep(time.Minute)
		s := p.Status()[0]
		want(t, "reason", fmt.Sprint(s.State, " ", s.Reason, " ", s.Retried), "stalled CONFIG_UNAVAILABLE true")
		want(t, "what came before it is done", w.said("y"), []string{"open under v1"})
		v.set("v2", nil)
		w.settle(p)
		want(t, "it goes on by itself", w.said("y"), []string{"open under v1", "met under v2"})
		want(t, "activations, each counted once however often it was read", p.Status()[0].Counts.Activations, int64(2))
		p.kill()

		v.set("v2", errUnknownVersion)
		p = w.start("b")
		w.event("open", "z", time.Now())
		time.Sleep(time.Minute)
		want(t, "a new owner that lacks it waits, too", p.Status()[0].Reason, ReasonConfigUnavailable)
		v.set("v2", nil)
		w.settle(p)
		want(t, "z", w.said("z"), []string{"open under v2"})
		p.stop()
	})
}
