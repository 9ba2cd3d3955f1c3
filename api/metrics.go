package api

import "github.com/prometheus/client_golang/prometheus"

var (
	readyDesc = prometheus.NewDesc("tillstream_part_ready", "1 while a part of the process does its work, 0 while it does not; /readyz says why.", []string{"part"}, nil)
	aliveDesc = prometheus.NewDesc("tillstream_part_alive", "1 while the loops of a part turn, 0 once one hangs; /healthz says which.", []string{"part"}, nil)
)

// Describe implements prometheus.Collector.
func (b *Board) Describe(ch chan<- *prometheus.Desc) { ch <- readyDesc; ch <- aliveDesc }

// Collect implements prometheus.Collector: health and readiness as gauges, asked at each scrape.
func (b *Board) Collect(ch chan<- prometheus.Metric) {
	_, states := b.look(false)
	for _, s := range states {
		ready, alive := 0.0, 1.0
		if s.Ready {
			ready = 1
		}
		if s.hangs != nil {
			alive = 0
		}
		ch <- prometheus.MustNewConstMetric(readyDesc, prometheus.GaugeValue, ready, s.Name)
		ch <- prometheus.MustNewConstMetric(aliveDesc, prometheus.GaugeValue, alive, s.Name)
	}
}
