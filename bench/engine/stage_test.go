package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/bench/workload"
	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
)

func TestCodecKnowsItsRecordsAndTheProducts(t *testing.T) {
	c := newCodec()
	m, err := workload.NewEncoder().Created(3, workload.Begin)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Decode(m.Value)
	want := &workload.Event{ID: workload.EventID(3, 0), Status: "DRAFT", Time: workload.Begin.UnixMilli()}
	if diff := cmp.Diff(got, schemas.Record(want)); err != nil || diff != "" {
		t.Error(err, diff)
	}
	tick := &schemas.Tick{Owner: "o", At: workload.Begin}
	b, err := c.Encode(tick)
	if err != nil {
		t.Fatal(err)
	}
	if got, err = c.Decode(b); err != nil || cmp.Diff(got, schemas.Record(tick)) != "" {
		t.Errorf("got %v, %v; want %v", got, err, tick)
	}
	if _, err = c.Decode([]byte("?")); err == nil {
		t.Error("rubbish was decoded")
	}
	select {
	case <-c.first:
	default:
		t.Error("the first record was not seen")
	}
}

// An order is timed out once, by its one timer.
func TestStageTimesOutOnce(t *testing.T) {
	s := stage{output: "out"}
	at := workload.Begin
	created := processors.Input{At: at, Key: "k", Record: &workload.Event{ID: "a", Status: "DRAFT", Time: at.UnixMilli()}}
	state, outs, err := s.Apply(workload.State{}, created)
	if err != nil || len(outs) != 1 {
		t.Fatalf("got %v, %v", outs, err)
	}
	timers := s.Timers(state)
	if len(timers) != 1 || !timers[0].At.Equal(at.Add(workload.PayWithin)) {
		t.Fatalf("got timers %v", timers)
	}
	state, outs, err = s.Apply(state, processors.Input{At: at.Add(2 * time.Hour), Key: "k", Timer: &timers[0]})
	if err != nil || len(outs) != 1 || outs[0].Record.(*workload.Transition).To != workload.TimedOut {
		t.Errorf("got %v, %v", outs, err)
	}
	if left := s.Timers(state); len(left) > 0 {
		t.Errorf("timers are left: %v", left)
	}
}

func TestSettingsNameTheEnginesOptions(t *testing.T) {
	var s settings
	for _, v := range []string{"CommitInterval=70ms", "BatchTimersMax=9", "Instance=x"} {
		if err := s.Set(v); err != nil {
			t.Fatal(err)
		}
	}
	var o pipeline.EngineOptions
	if err := s.apply(&o); err != nil || o.CommitInterval != 70*time.Millisecond || o.BatchTimersMax != 9 || o.Instance != "x" {
		t.Errorf("got %+v, %v", o, err)
	}
	for _, v := range []string{"Store=x", "Unheard=1", "BatchTimersMax=many", "CommitInterval=1"} {
		if err := s.Set(v); err == nil {
			t.Errorf("%s was taken", v)
		}
	}
}
