package main

import (
	"testing"
	"time"

	"github.com/tillstream/tillstream/bench/workload"
)

func TestRoundKeepsFourDigits(t *testing.T) {
	for in, want := range map[float64]float64{0: 0, 123456.7: 123457, 1234.5: 1235, 12.3456: 12.35, 0.00123456: 0.001235, -0.5: -0.5} {
		if got := round(in); got != want {
			t.Errorf("round(%v): got %v, want %v", in, got, want)
		}
	}
}

func TestQuantile(t *testing.T) {
	var d []time.Duration
	for i := range 200 {
		d = append(d, time.Duration(i))
	}
	for q, want := range map[float64]time.Duration{0: 0, 0.5: 100, 0.99: 198, 1: 199} {
		if got := quantile(d, q); got != want {
			t.Errorf("quantile %v: got %v, want %v", q, got, want)
		}
	}
}

// The pairs of the waits part leave as many waits open as there were, and no wait is due before the last phase.
func TestWaitsStayAsMany(t *testing.T) {
	h := &harness{o: options{waits: waitsFew + 500, pairs: 300}}
	w := &waitsRun{h: h, enc: workload.NewEncoder(), total: h.o.waits + 4*h.o.pairs}
	open, last := map[int]bool{}, time.Time{}
	var late int
	add := func(m workload.Message, err error) {
		var e workload.Event
		if err == nil {
			err = workload.DecodeEvent(m.Value, &e)
		}
		if err != nil || m.Time.Before(last) {
			t.Fatal(err, m.Time, last)
		}
		last = m.Time
		switch {
		case m.Time.Sub(workload.Begin) > waitsSpan:
			late++
		case e.Status == workload.Paid:
			if !open[m.Order] {
				t.Fatalf("order %d is paid and was not open", m.Order)
			}
			delete(open, m.Order)
		default:
			open[m.Order] = true
		}
	}
	w.arm(waitsFew, add)
	w.pairs(add)
	if len(open) != waitsFew {
		t.Errorf("got %d open waits, want %d", len(open), waitsFew)
	}
	w.arm(h.o.waits-waitsFew, add)
	w.pairs(add)
	if len(open) != h.o.waits {
		t.Errorf("got %d open waits, want %d", len(open), h.o.waits)
	}
	w.late(add)
	if late != workload.Partitions || last.Sub(workload.Begin) < waitsSpan+workload.PayWithin {
		t.Errorf("got %d late records at %v", late, last)
	}
}

func TestEveryProgramCanBeStarted(t *testing.T) {
	h := &harness{dir: "d", root: "r", brokers: "b", o: options{memory: memorySettings, rocks: rocksSettings}}
	for _, p := range []string{"engine", "floor", "floor_redis", "kafka_streams_memory", "kafka_streams_rocksdb"} {
		if path, args, err := h.program(p, names{"o", "c", "g"}, "r"); err != nil || path == "" || len(args) < 5 {
			t.Errorf("%s: %s %v %v", p, path, args, err)
		}
	}
	if _, _, err := h.program("other", names{}, ""); err == nil {
		t.Error("an unknown program was started")
	}
}
