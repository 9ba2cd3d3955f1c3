package main

import (
	"sync/atomic"
	"time"

	"github.com/tillstream/tillstream/bench/workload"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// stage is the benchmark's job as a stage of the product.
type stage struct{ output string }

// Name implements processors.Stage.
func (stage) Name() string { return "bench" }

// Version implements processors.Stage.
func (stage) Version() processors.StageVersion { return 1 }

// Key implements processors.Stage: the record's own key.
func (stage) Key(in processors.Input) (string, bool) {
	_, ok := in.Record.(*workload.Event)
	return in.Key, ok
}

// Apply implements processors.Stage.
func (s stage) Apply(state workload.State, in processors.Input) (workload.State, []processors.Output, error) {
	var t workload.Transition
	if in.Timer != nil {
		t = state.TimeOutOf(in.Key)
		return state.TimeOut(), s.outputs(in.Key, &t), nil
	}
	e := in.Record.(*workload.Event)
	next, changed := state.Apply(e, in.At.UnixMilli())
	if !changed {
		return next, nil, nil
	}
	t = workload.Transition{Key: in.Key, From: state.Status, To: next.Status, EventID: e.ID, Time: e.Time}
	return next, s.outputs(in.Key, &t), nil
}

func (s stage) outputs(key string, t *workload.Transition) []processors.Output {
	return []processors.Output{{Topic: s.output, Key: key, Record: t}}
}

// Timers implements processors.Stage.
func (stage) Timers(s workload.State) []processors.Timer {
	if s.Deadline == 0 {
		return nil
	}
	return []processors.Timer{{At: time.UnixMilli(s.Deadline), ID: "pay"}}
}

// Encode implements processors.Stage.
func (stage) Encode(s workload.State) ([]byte, error) { return s.Encode(), nil }

// Decode implements processors.Stage.
func (stage) Decode(b []byte) (workload.State, error) { return workload.DecodeState(b) }

// benchCodec reads of an order event what the job needs, and leaves ticks and dead letters to the product's codec.
type benchCodec struct {
	others  *codec.Codec
	decoded atomic.Bool
	first   chan struct{} // closed at the first record
}

func newCodec() *benchCodec { return &benchCodec{others: codec.NewLocal(), first: make(chan struct{})} }

// Encode implements pipeline.Codec.
func (c *benchCodec) Encode(rec schemas.Record) ([]byte, error) {
	if t, ok := rec.(*workload.Transition); ok {
		const headerAndNumbers = 32
		return workload.AppendTransition(make([]byte, 0, headerAndNumbers+len(t.Key)+len(t.From)+len(t.To)+len(t.EventID)), t), nil
	}
	return c.others.Encode(rec)
}

// Decode implements pipeline.Codec.
func (c *benchCodec) Decode(b []byte) (schemas.Record, error) {
	if !c.decoded.Swap(true) {
		close(c.first)
	}
	if id, ok := workload.SchemaID(b); !ok || id != workload.OrderEventID {
		return c.others.Decode(b)
	}
	e := new(workload.Event)
	if err := workload.DecodeEvent(b, e); err != nil {
		return nil, err
	}
	return e, nil
}
