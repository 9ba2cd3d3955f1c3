package pipeline

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of one engine. Partition numbers are labels of gauges only, and are removed with the partition.
type metrics struct {
	records, timers, deadLetters, pastTimers   prometheus.Counter
	outputs                                    *prometheus.CounterVec
	transactions, unknown, renewals            prometheus.Counter
	recoveries, offsetAlarms                   *prometheus.CounterVec
	fetchErrors, ticks                         prometheus.Counter
	stalled, lag, streamTime, armed, remaining *prometheus.GaugeVec
	watermark, timersHeld, config              *prometheus.GaugeVec
	configRefused                              prometheus.Counter
	storeSeconds                               *prometheus.HistogramVec
	transactionSeconds, recoverySeconds        prometheus.Histogram
	read, apply                                prometheus.Observer // of storeSeconds
}

func newMetrics(stage string, reg prometheus.Registerer) (*metrics, error) {
	labels := prometheus.Labels{"stage": stage}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "tillstream", Name: name, Help: help, ConstLabels: labels})
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "tillstream", Name: name, Help: help, ConstLabels: labels}, []string{label})
	}
	gauge := func(name, help string, label ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "tillstream", Name: name, Help: help, ConstLabels: labels}, label)
	}
	seconds := func(name, help string) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Namespace: "tillstream", Name: name, Help: help, ConstLabels: labels, Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12)}
	}
	m := &metrics{
		records:            counter("records_total", "Input records of committed transactions."),
		timers:             counter("timers_fired_total", "Timers fired in committed transactions."),
		deadLetters:        counter("dead_letters_total", "Dead letters written by the engine in committed transactions."),
		pastTimers:         counter("timers_set_into_the_past_total", "Timers that a stage set before the stream time."),
		outputs:            counters("outputs_total", "Records written in committed transactions.", "topic"),
		transactions:       counter("transactions_total", "Transactions known to be committed."),
		unknown:            counter("transactions_not_committed_total", "Transactions that were aborted or whose outcome was unknown; a recovery follows each."),
		renewals:           counter("sessions_renewed_total", "Kafka sessions opened anew after an error."),
		recoveries:         counters("recoveries_total", "Recoveries of a partition, by what was done (tail, rebuild) and by what caused them.", "kind"),
		offsetAlarms:       counters("offset_alarms_total", "Inputs whose offset, state and log disagreed in a way that was survived.", "topic"),
		fetchErrors:        counter("fetch_errors_total", "Errors while polling."),
		ticks:              counter("ticks_total", "Ticks appended for due timers of idle partitions, and to tell the watermark."),
		stalled:            gauge("partitions_stalled", "Partitions that do not go on.", "partition", "reason"),
		lag:                gauge("lag_seconds", "Age of the oldest polled record that is not committed.", "partition"),
		streamTime:         gauge("stream_time_seconds", "Stream time, Unix seconds.", "partition"),
		armed:              gauge("timers_armed", "States with an armed timer.", "partition"),
		remaining:          gauge("restore_remaining", "Changelog offsets left to restore.", "partition"),
		watermark:          gauge("watermark_seconds", "Up to when receivers were there to take events, Unix seconds; timers fire 30 s past it at the most. 0: not known, nothing is held.", "partition"),
		timersHeld:         gauge("timers_held", "1 while a timer is due and held, since no receiver was there to take what could have ended it, else 0.", "partition"),
		config:             gauge("config_followed", "Offset of the inbox since which the partition follows this version of the configuration.", "partition", "version"),
		configRefused:      counter("config_activations_refused_total", "Activations of a configuration that this process cannot follow; the partition stays with the one before."),
		storeSeconds:       prometheus.NewHistogramVec(seconds("store_seconds", "Duration of calls to the store."), []string{"call"}),
		transactionSeconds: prometheus.NewHistogram(seconds("transaction_seconds", "Duration of transactions.")),
		recoverySeconds:    prometheus.NewHistogram(seconds("recovery_seconds", "Duration of recoveries.")),
	}
	m.read, m.apply = m.storeSeconds.WithLabelValues("read"), m.storeSeconds.WithLabelValues("apply")
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.records, m.timers, m.deadLetters, m.pastTimers, m.outputs, m.transactions, m.unknown, m.renewals, m.recoveries, m.offsetAlarms,
		m.fetchErrors, m.ticks, m.stalled, m.lag, m.streamTime, m.armed, m.remaining, m.watermark, m.timersHeld, m.config, m.configRefused, m.storeSeconds, m.transactionSeconds, m.recoverySeconds,
	} {
		if err := reg.Register(c); err != nil {
			if errors.As(err, &prometheus.AlreadyRegisteredError{}) {
				return nil, fmt.Errorf("metrics of stage %s: two engines of one stage need registries of their own: %w", stage, err)
			}
			return nil, fmt.Errorf("metrics of stage %s: %w", stage, err)
		}
	}
	return m, nil
}

// count adds a committed batch.
func (l *lane) count(s *share) {
	l.e.m.records.Add(float64(s.records))
	l.e.m.timers.Add(float64(s.timers))
	l.e.m.deadLetters.Add(float64(s.letters))
	l.e.m.pastTimers.Add(float64(s.past))
	l.e.m.configRefused.Add(float64(s.refusals))
	for _, c := range s.written {
		l.e.m.outputs.WithLabelValues(c.topic).Add(float64(c.n))
	}
}

// gauges sets what a lane's partitions show. lane.mu is held.
func (m *metrics) gauges(l *lane) {
	live := map[string]bool{}
	for _, p := range l.parts {
		n := strconv.Itoa(int(p.number))
		live[n] = true
		m.lag.WithLabelValues(n).Set(p.shown.Lag.Seconds())
		m.streamTime.WithLabelValues(n).Set(float64(p.shown.StreamTime.UnixMilli()) / 1000)
		m.armed.WithLabelValues(n).Set(float64(p.shown.TimersArmed))
		m.remaining.WithLabelValues(n).Set(float64(max(0, p.target.Load()-p.position.Load())))
		m.watermark.WithLabelValues(n).Set(unixSeconds(p.shown.Watermark))
		m.timersHeld.WithLabelValues(n).Set(boolean(p.shown.TimersHeld))
		m.config.DeletePartialMatch(prometheus.Labels{"partition": n})
		if p.shown.Config != "" {
			m.config.WithLabelValues(n, p.shown.Config).Set(float64(p.shown.ConfigFrom))
		}
		m.stalled.DeletePartialMatch(prometheus.Labels{"partition": n})
		if p.state != stateRunning && p.stalled != nil { // also while it tries again
			m.stalled.WithLabelValues(n, string(p.stalled.reason)).Set(1)
		}
	}
	for n := range l.gauged {
		if !live[n] {
			for _, g := range []*prometheus.GaugeVec{m.lag, m.streamTime, m.armed, m.remaining, m.watermark, m.timersHeld, m.config, m.stalled} {
				g.DeletePartialMatch(prometheus.Labels{"partition": n})
			}
		}
	}
	l.gauged = live
}

func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
