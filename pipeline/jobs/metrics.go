package jobs

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of one runner.
type metrics struct {
	running *prometheus.GaugeVec
	items   *prometheus.CounterVec
	ended   *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tillstream_jobs_running", Help: "Jobs that have not ended, at the process that does them.",
		}, []string{"kind", "state"}),
		items: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tillstream_jobs_items_total", Help: "Items that jobs worked on.",
		}, []string{"kind", "result"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tillstream_jobs_ended_total", Help: "Jobs that ended.",
		}, []string{"kind", "state"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.running, m.items, m.ended} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register: %w", err)
		}
	}
	return m, nil
}
