package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"

	"github.com/prometheus/client_golang/prometheus"
)

func startProfile(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return pprof.StartCPUProfile(f)
}

func writeHeap(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	runtime.GC()
	return pprof.Lookup("allocs").WriteTo(f, 0)
}

// addMetrics adds the engine's own sums to the report: transactions, timers, calls to the store and their seconds.
func addMetrics(to map[string]float64, from prometheus.Gatherer) error {
	families, err := from.Gather()
	if err != nil {
		return fmt.Errorf("the engine's metrics: %w", err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				if l.GetName() != "stage" {
					name += "_" + l.GetValue()
				}
			}
			switch {
			case m.GetCounter() != nil:
				to[name] = m.GetCounter().GetValue()
			case m.GetHistogram() != nil:
				to[name+"_count"] = float64(m.GetHistogram().GetSampleCount())
				to[name+"_sum"] = m.GetHistogram().GetSampleSum()
			}
		}
	}
	return nil
}
