package load

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tillstream/tillstream/sinks"
)

type metrics struct {
	rows, inserts, bytes, retries, rowErrors *prometheus.CounterVec
	audited                                  *prometheus.CounterVec
	seconds                                  *prometheus.HistogramVec
	lagRecords, lagSeconds, stalled          *prometheus.GaugeVec
	disagreeing                              *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "tillstream", Subsystem: "load", Name: name, Help: help}, []string{"topic"})
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "tillstream", Subsystem: "load", Name: name, Help: help}, []string{"topic", "partition"})
	}
	stalled := prometheus.GaugeOpts{Namespace: "tillstream", Subsystem: "load", Name: "partitions_stalled", Help: "Partitions of this member that are not stored any further, and why."}
	m := &metrics{
		rows:        counter("rows_total", "Rows of inserts that were acknowledged, repetitions included."),
		inserts:     counter("inserts_total", "Inserts that were acknowledged."),
		bytes:       counter("bytes_total", "Bytes of keys and values of acknowledged inserts."),
		retries:     counter("retries_total", "Tries (plan, decode, insert or commit) that failed and are repeated."),
		rowErrors:   counter("row_errors_total", "Rows that the writer refused and that became dead letters."),
		audited:     counter("audited_rows_total", "Acknowledged rows that were counted again."),
		disagreeing: gauge("audit_disagreeing_rows", "Acknowledged rows that were not there when they were last counted, and rows that nobody acknowledged; 0 again once they agree."),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "tillstream", Subsystem: "load", Name: "insert_seconds",
			Help: "Seconds of an acknowledged insert.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 14),
		}, []string{"topic"}),
		lagRecords: gauge("lag_records", "Offsets that are stable on Kafka and not stored."),
		lagSeconds: gauge("lag_seconds", "Age in seconds of the oldest row that was fetched and is not stored."),
		stalled:    prometheus.NewGaugeVec(stalled, []string{"topic", "reason"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.rows, m.inserts, m.bytes, m.retries, m.rowErrors, m.audited, m.disagreeing, m.seconds, m.lagRecords, m.lagSeconds, m.stalled} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) inserted(topic string, rows []sinks.Row, took time.Duration) {
	bytes := 0
	for _, r := range rows {
		bytes += len(r.Key) + len(r.Value)
	}
	m.rows.WithLabelValues(topic).Add(float64(len(rows)))
	m.inserts.WithLabelValues(topic).Inc()
	m.bytes.WithLabelValues(topic).Add(float64(bytes))
	m.seconds.WithLabelValues(topic).Observe(took.Seconds())
}

func (m *metrics) forget(topic string, number int32) {
	n := strconv.Itoa(int(number))
	m.lagRecords.DeleteLabelValues(topic, n)
	m.lagSeconds.DeleteLabelValues(topic, n)
	m.disagreeing.DeleteLabelValues(topic, n)
}

// disagree shows how many rows of a partition do not agree now.
func (m *metrics) disagree(p *partition) {
	sum := p.tally.olderOdd
	for _, o := range p.tally.odd {
		sum += o.differs()
	}
	m.disagreeing.WithLabelValues(p.topic, strconv.Itoa(int(p.number))).Set(float64(sum))
}

// show sets the gauges of all partitions and what Status and Ready tell.
func (l *Loader) show() {
	now := l.o.Clock.Now()
	l.metrics.stalled.Reset()
	for k, p := range l.partitions {
		n := strconv.Itoa(int(k.Partition))
		l.metrics.lagRecords.WithLabelValues(k.Topic, n).Set(float64(p.lagRecords()))
		l.metrics.lagSeconds.WithLabelValues(k.Topic, n).Set(p.lag(now).Seconds())
		if p.stalled != nil {
			l.metrics.stalled.WithLabelValues(k.Topic, string(p.stalled.reason)).Inc()
		}
	}
	l.view.Store(l.look(now))
}
