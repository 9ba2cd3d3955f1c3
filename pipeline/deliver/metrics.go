package deliver

import (
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of one deliverer.
type metrics struct {
	commands    *prometheus.CounterVec
	outcomes    *prometheus.CounterVec
	deadLetters *prometheus.CounterVec
	answers     *prometheus.CounterVec
	aborts      prometheus.Counter
	inFlight    *prometheus.GaugeVec
	backlog     *prometheus.GaugeVec
	oldest      *prometheus.GaugeVec
	paused      *prometheus.GaugeVec
	deferred    *prometheus.GaugeVec
	withheld    *prometheus.GaugeVec

	stalled, windowFull, windowUnfinished *prometheus.GaugeVec
	offsetAlarms                          prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	name := func(n string) string { return "tillstream_deliver_" + n }
	m := &metrics{
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name("commands_total"),
			Help: "Commands that ended, by their final outcome.",
		}, []string{"destination", "outcome"}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name("outcomes_total"),
			Help: "Answers of writers, retries included.",
		}, []string{"destination", "kind"}),
		deadLetters: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name("dead_letters_total"),
			Help: "Commands sent to the dead letters.",
		}, []string{"cause"}),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name("answers_total"),
			Help: "Questions that were answered, by the contact's standing; UNKNOWN: the destination did not say.",
		}, []string{"destination", "standing"}),
		aborts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: name("aborts_total"),
			Help: "Transactions that the client did not vouch for.",
		}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: name("in_flight"),
			Help: "Commands being written.",
		}, []string{"destination"}),
		backlog: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: name("unfinished"),
			Help: "Commands read and not finished.",
		}, []string{"destination"}),
		oldest: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: name("oldest_unfinished_seconds"),
			Help: "Age of the oldest unfinished command.",
		}, []string{"destination"}),
		paused: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: name("paused"),
			Help: "1 while a destination is paused; reason refused is an alarm.",
		}, []string{"destination", "reason"}),
		stalled: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: name("partitions_stalled"),
			Help: "1 for a partition of the commands that does not go on; an alarm.",
		}, []string{"partition", "reason"}),
		windowFull: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: name("window_full"),
			Help: "1 while no further command of a partition is read before one ends.",
		}, []string{"partition"}),
		windowUnfinished: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: name("window_unfinished"),
			Help: "Commands of a partition that were read and not finished.",
		}, []string{"partition"}),
		offsetAlarms: prometheus.NewCounter(prometheus.CounterOpts{
			Name: name("offset_alarms_total"),
			Help: "Partitions taken over whose offset pointed before the first record: commands expired unread.",
		}),
	}
	m.waiting(name)
	if r == nil {
		return m, nil
	}
	for _, c := range m.all() {
		if err := r.Register(c); err != nil {
			m.unregister(r)
			return nil, fmt.Errorf("deliver: register metrics: %w", err)
		}
	}
	return m, nil
}

// waiting makes the gauges of what waits for room, or for people.
func (m *metrics) waiting(name func(string) string) {
	m.deferred = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: name("deferred"),
		Help: "Unfinished commands that are not held in memory, but read again when their turn comes.",
	}, []string{"destination"})
	m.withheld = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: name("withheld"),
		Help: "Commands in memory that wait because a person paused their destination or the connection they came of.",
	}, []string{"destination"})
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.commands, m.outcomes, m.deadLetters, m.answers, m.aborts, m.inFlight, m.backlog, m.oldest, m.paused, m.deferred, m.withheld, m.stalled, m.windowFull, m.windowUnfinished, m.offsetAlarms}
}

// window shows one partition.
func (m *metrics) window(w *window, full bool) {
	p := strconv.Itoa(int(w.partition))
	m.windowUnfinished.WithLabelValues(p).Set(float64(w.unfinished()))
	value := 0.0
	if full {
		value = 1
	}
	m.windowFull.WithLabelValues(p).Set(value)
	m.stalled.DeletePartialMatch(prometheus.Labels{"partition": p})
	if w.stalled != nil {
		m.stalled.WithLabelValues(p, string(w.stalled.reason)).Set(1)
	}
}

// forgetWindow takes a partition off that is no longer ours.
func (m *metrics) forgetWindow(partition int32) {
	for _, g := range []*prometheus.GaugeVec{m.stalled, m.windowFull, m.windowUnfinished} {
		g.DeletePartialMatch(prometheus.Labels{"partition": strconv.Itoa(int(partition))})
	}
}

func (m *metrics) unregister(r prometheus.Registerer) {
	if r == nil {
		return
	}
	for _, c := range m.all() {
		r.Unregister(c)
	}
}
