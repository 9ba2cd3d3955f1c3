package workload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

// Report is what each program prints when it is done: one line of JSON.
type Report struct {
	Program string `json:"program"`
	Events  int64  `json:"events"`
	// Seconds are from the first record read to the last commit; for Kafka Streams to the last record processed.
	Seconds         float64 `json:"seconds"`
	EventsPerSecond float64 `json:"events_per_second"`
	PeakRSSMB       float64 `json:"peak_rss_mb"`
	CPUSeconds      float64 `json:"cpu_seconds"` // of the process, in these seconds
	// Extra are figures that one program alone has.
	Extra map[string]float64 `json:"extra,omitempty"`
}

// Stopwatch measures a program between its first record and its end.
type Stopwatch struct {
	began time.Time
	cpu   time.Duration
}

// Start marks the first record.
func Start() *Stopwatch { return &Stopwatch{time.Now(), cpuTime()} }

// Stop makes the report of events handled since Start.
func (w *Stopwatch) Stop(program string, events int64) Report {
	seconds := time.Since(w.began).Seconds()
	return Report{
		Program: program, Events: events, Seconds: seconds, EventsPerSecond: float64(events) / seconds,
		PeakRSSMB: PeakRSSMB(), CPUSeconds: (cpuTime() - w.cpu).Seconds(), Extra: map[string]float64{},
	}
}

// Print writes the report as a line.
func (r Report) Print(to io.Writer) error { return json.NewEncoder(to).Encode(r) }

// PeakRSSMB is the largest resident set of this process so far, VmHWM of /proc/self/status; 0 where there is none.
func PeakRSSMB() float64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(b, []byte("VmHWM:"))
	line, _, _ := bytes.Cut(rest, []byte("kB"))
	kb, err := strconv.ParseFloat(string(bytes.TrimSpace(line)), 64)
	if err != nil {
		return 0
	}
	return kb / 1024
}

// ParseReport reads the last line of a program's output.
func ParseReport(out []byte) (Report, error) {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	var r Report
	if err := json.Unmarshal(lines[len(lines)-1], &r); err != nil {
		return r, fmt.Errorf("the last line %q is no report: %w", lines[len(lines)-1], err)
	}
	return r, nil
}
