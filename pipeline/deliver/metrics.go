package deliver

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of one deliverer.
type metrics struct {
	commands    *prometheus.CounterVec
	outcomes    *prometheus.CounterVec
	deadLetters *prometheus.CounterVec
	aborts      prometheus.Counter
	inFlight    *prometheus.GaugeVec
	backlog     *prometheus.GaugeVec
	oldest      *prometheus.GaugeVec
	paused      *prometheus.GaugeVec
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
	}
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

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.commands, m.outcomes, m.deadLetters, m.aborts, m.inFlight, m.backlog, m.oldest, m.paused}
}

func (m *metrics) unregister(r prometheus.Registerer) {
	if r == nil {
		return
	}
	for _, c := range m.all() {
		r.Unregister(c)
	}
}
