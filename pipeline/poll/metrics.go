package poll

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Outcomes of reading a feed, as the label of the counter.
const (
	outcomeRead    = "read"    // up to now
	outcomeFailed  = "failed"  // the provider did not answer, or refused
	outcomeLimited = "limited" // the provider asked to wait
	outcomeKafka   = "log"     // what was found, or the progress, could not be appended
)

type metrics struct {
	complete *prometheus.GaugeVec
	last     *prometheus.GaugeVec
	silent   *prometheus.GaugeVec
	polls    *prometheus.CounterVec
	repairs  *prometheus.CounterVec
	gaps     *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "tillstream", Subsystem: "source", Name: name, Help: help}, []string{"connection"})
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "tillstream", Subsystem: "source", Name: name, Help: help}, labels)
	}
	m := &metrics{
		complete: gauge("complete_up_to_seconds", "Unix time before which everything that changed at the provider is on the log."),
		last:     gauge("last_event_seconds", "Unix time at which the last webhook was received."),
		silent:   gauge("silent", "1 where nothing comes although much is usual, else 0."),
		polls:    counter("polls_total", "Readings of a feed by what became of them.", "connection", "feed", "outcome"),
		repairs:  counter("repairs_total", "Events found at the provider that no webhook had brought.", "connection", "feed"),
		gaps:     counter("gaps_total", "Spans that the provider no longer listed when it was asked again.", "connection", "feed"),
	}
	if reg == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.complete, m.last, m.silent, m.polls, m.repairs, m.gaps} {
		errs = append(errs, reg.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("register polling metrics: %w", err)
	}
	return m, nil
}

// show tells a connection's times. What is not known has no value.
func (m *metrics) show(connection string, complete, last time.Time, silent bool) {
	for _, g := range []struct {
		vec *prometheus.GaugeVec
		at  time.Time
	}{{m.complete, complete}, {m.last, last}} {
		if !g.at.IsZero() {
			g.vec.WithLabelValues(connection).Set(float64(g.at.UnixMilli()) / 1000)
		}
	}
	v := 0.0
	if silent {
		v = 1
	}
	m.silent.WithLabelValues(connection).Set(v)
}

// forget removes the gauges of a connection that another process polls now: an old value would be a wrong one.
func (m *metrics) forget(connection string) {
	for _, g := range []*prometheus.GaugeVec{m.complete, m.last, m.silent} {
		g.DeleteLabelValues(connection)
	}
}
