package pipeline

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/store/memstore"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

func TestIdlePartitionGetsATickAndFiresOnce(t *testing.T) {
	virtual(t, 2, func(t *testing.T, w *world) {
		p := w.start("a")
		w.send(testIn, "x arm late@1h", "x arm early@30s", "y add")
		w.settle(p)
		time.Sleep(2 * time.Hour)
		w.settle(p)
		var ticks int64
		for _, s := range p.Status() {
			ticks += s.Counts.Ticks
		}
		p.stop()
		want(t, "history", w.history(), map[string][]string{"x": {"1 e1", "2 e2", "3 timer early", "4 timer late"}, "y": {"1 e3"}})
		want(t, "ticks: one for each timer, none for its own sake", ticks, int64(2))
		w.check()
	})
}

func TestRecordStampedAtTheDeadlineIsAppliedFirst(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		w.options = func(o *EngineOptions) { o.TickIdle = time.Hour }
		p := w.start("a")
		w.at = time.Now().Add(-time.Minute)
		w.send(testIn, "x arm t@10s")
		w.at = w.at.Add(10 * time.Second)
		w.send(testIn, "x add")
		w.at = w.at.Add(time.Millisecond)
		w.send(testIn, "y add")
		w.settle(p)
		p.stop()
		want(t, "history", w.history()["x"], []string{"1 e1", "2 e2", "3 timer t"})
		w.check()
	})
}

func TestTimersFireInOrderOfDeadlineKeyAndID(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		w.options = func(o *EngineOptions) { o.TickIdle = 3 * time.Hour }
		p := w.start("a")
		w.at = time.Now().Add(-time.Minute)
		w.send(testIn, "b arm t2@5s", "b arm t1@5s", "a arm z@5s", "c arm first@1s", "a arm last@9s", "a arm never@2h")
		w.settle(p)
		w.at = w.at.Add(20 * time.Second)
		w.send(testIn, "z add")
		w.settle(p)
		p.stop()
		var got []string
		for _, r := range w.read(testOut)[0] {
			rec, _ := w.codec.Decode(r.Value)
			got = append(got, string(r.Key)+" "+rec.(*schemas.Transition).Why)
		}
		want(t, "order", got, []string{
			"b e1", "b e2", "a e3", "c e4", "a e5", "a e6",
			"c timer first", "a timer z", "b timer t1", "b timer t2", "a timer last", "z e7",
		})
		w.check()
	})
}

func TestManyTimersDrainInBoundedTransactions(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		w.options = func(o *EngineOptions) { o.BatchTimersMax, o.CacheImagesMax = 7, 5 }
		p := w.start("a")
		w.send(testIn, lines("k# arm t@10s", 60)...)
		w.settle(p)
		time.Sleep(20 * time.Second)
		w.send(testIn, "z add")
		w.settle(p)
		if s := p.Status()[0]; s.Counts.Timers != 60 || s.TimersArmed != 0 {
			t.Errorf("fired %d, armed %d, want 60 and 0", s.Counts.Timers, s.TimersArmed)
		}
		p.stop()
		w.check()
	})
}

func TestWindowSmallerThanTheDeadlines(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		p := w.start("a")
		n := timerWindow/8 + 3
		for i := range n {
			w.send(testIn, fmt.Sprintf("k%d arm t@%dms", i, 10_000+(i*7919)%5000))
		}
		w.settle(p)
		p.stop()
		p = w.start("a")
		time.Sleep(time.Minute)
		w.settle(p)
		p.stop()
		w.check()
	})
}

func TestFailingTimerIsMutedWithADeadLetter(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		p := w.start("a")
		w.send(testIn, "x arm bad@5s", "x arm stuck@6s", "x arm good@7s")
		w.settle(p)
		time.Sleep(time.Minute)
		w.settle(p)
		p.stop()
		p = w.start("a")
		time.Sleep(time.Minute)
		w.send(testIn, "x add")
		w.settle(p)
		p.stop()
		want(t, "history", w.history()["x"], []string{"1 e1", "2 e2", "3 e3", "4 timer stuck", "5 timer good", "6 e4"})
		want(t, "letters", len(w.letters()), 2)
	})
}

func TestEndlessChainOfTimersIsBounded(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		w.options = func(o *EngineOptions) { o.TickIdle = 3 * time.Hour }
		p := w.start("a")
		w.send(testIn, "x arm chain@1s", "y arm ok@2s")
		w.settle(p)
		time.Sleep(time.Hour) // 3.6 million links of the chain
		w.send(testIn, "z add")
		w.settle(p)
		p.stop()
		h := w.history()
		want(t, "y", h["y"], []string{"1 e2", "2 timer ok"})
		if n := len(h["x"]); n < pastTimersMax || n > pastTimersMax+10 {
			t.Errorf("x fired %d times, want about %d", n, pastTimersMax)
		}
	})
}

func TestOneWrongClockDoesNotSpoilStreamTime(t *testing.T) {
	virtual(t, 1, func(t *testing.T, w *world) {
		w.options = func(o *EngineOptions) { o.TickIdle = 24 * time.Hour }
		p := w.start("a")
		w.send(testIn, "x arm t@10m")
		w.settle(p)
		late := strconv.AppendInt(nil, time.Now().Add(-time.Hour).UnixMilli(), 10) // the producer's clock is an hour late
		r := &kgo.Record{Topic: testIn, Key: []byte("y"), Headers: []kgo.RecordHeader{{Key: HeaderStamp, Value: late}}}
		r.Value, _ = w.codec.Encode(&schemas.OrderEvent{EventID: "y1", EventType: "add"})
		time.Sleep(time.Hour)
		if err := w.side.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		w.settle(p)
		want(t, "the timer waits for a clock that both agree on", w.history()["x"], []string{"1 e1"})
		p.stop()
		w.check()
	})
}

// With several inputs an older record of another one may come while the timers before a record are fired in several
// transactions: it must not find a time before that at which they fired.
func TestACutDrainMovesTheTime(t *testing.T) {
	e, err := NewEngine(EngineOptions{
		Cluster: &idleLog{partitions: 1}, Store: memstore.New(), Codec: codec.NewLocal(), Instance: "a", BatchTimersMax: 1,
		Topology: Topology{Stage: Bind(tally{}), Inputs: []string{testIn, testInbox}, Inbox: testInbox, Changelog: testChangelog, Group: "g"},
	})
	if err != nil {
		t.Fatal(err)
	}
	l := e.lanes[0]
	p := l.adopt(0)
	p.cache, p.slots, p.window, p.queues = newCache(), map[string]*slot{}, newWindow(timerWindow), map[string]*queue{testIn: {}, testInbox: {}}
	p.meta, p.window.horizon.At = meta{Inputs: map[string]position{}}, math.MaxInt64
	start := time.UnixMilli(1_700_000_000_000).UTC()
	for _, key := range []string{"a", "b"} {
		state, err := json.Marshal(tallyState{Timers: []tallyTimer{{At: start, ID: "t"}}})
		if err != nil {
			t.Fatal(err)
		}
		env := envelope{deadline: start.UnixMilli(), state: state}
		p.cache.put(key, env.encode())
		p.window.set(key, 0, start.UnixMilli())
	}
	e.counts[testOut] = 1
	value, err := codec.NewLocal().Encode(&schemas.OrderEvent{EventID: "e", EventType: "add"})
	if err != nil {
		t.Fatal(err)
	}
	late := start.Add(time.Hour)
	p.queues[testIn].add(&kgo.Record{Topic: testIn, Key: []byte("c"), Value: value, Timestamp: late})
	p.cache.put("c", nil)
	b := l.newBatch(p)
	if err := b.compute(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, "timers, records", []int{b.timers, b.records}, []int{1, 0})
	if got := time.UnixMilli(b.meta.StreamTime).UTC(); !got.Equal(late) {
		t.Errorf("the stream time after the cut is %v, want that of the record, %v", got, late)
	}
}
