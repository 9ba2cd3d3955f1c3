package limits

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrapeTimeout bounds what a scrape may wait for Redis.
const scrapeTimeout = time.Second

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tillstream_limit_"+name, help, append([]string{"account"}, labels...), nil)
}

// The metrics. What all processes share is the same at each of them: take the maximum, not the sum.
var (
	requestsDesc  = desc("requests", "Requests that a window of the account allows.", "window")
	usedDesc      = desc("used", "Requests used of a window, over all processes.", "window")
	leftDesc      = desc("left", "Requests left of a window, over all processes.", "window")
	resetDesc     = desc("reset_seconds", "Until nothing of a window is used any longer, or the provider begins it anew.", "window")
	parallelDesc  = desc("parallel", "Requests on their way, over all processes.")
	parallelMost  = desc("parallel_max", "Requests that may be on their way at a time.")
	holdDesc      = desc("hold_seconds", "Rest of the silence that the provider asked for.")
	shareDesc     = desc("share", "Share of the configured rate that is made use of; below 1 after refusals, beside other programs or at slow answers.")
	waitingDesc   = desc("waiting", "Requests that wait for a turn, over all processes.", "use")
	turnsDesc     = desc("turns_total", "Turns granted to this process.", "use")
	waitedDesc    = desc("waited_seconds_total", "Time that requests of this process waited for their turns.", "use")
	refusedDesc   = desc("refused_total", "Answers 429 to this process.")
	discardedDesc = desc("turns_discarded_total", "Turns that came too late to this process to be used.")
	restoredDesc  = desc("restored_total", "How often this process found that Redis had lost its memory.")
	unknownDesc   = prometheus.NewDesc("tillstream_limit_unknown", "1 while Redis does not say how the accounts stand.", nil, nil)
)

// Describe implements prometheus.Collector.
func (b *Book) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		requestsDesc, usedDesc, leftDesc, resetDesc, parallelDesc, parallelMost, holdDesc, shareDesc, waitingDesc,
		turnsDesc, waitedDesc, refusedDesc, discardedDesc, restoredDesc, unknownDesc,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (b *Book) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	for _, a := range b.list() {
		a.mu.Lock()
		c := a.counts
		a.mu.Unlock()
		counter(refusedDesc, float64(c.refused), a.name)
		counter(discardedDesc, float64(c.discarded), a.name)
		counter(restoredDesc, float64(c.restored), a.name)
		for _, u := range a.list() {
			counter(turnsDesc, float64(u.counts.turns.Load()), a.name, u.name)
			counter(waitedDesc, time.Duration(u.counts.waited.Load()).Seconds(), a.name, u.name)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	views, err := b.Look(ctx)
	if err != nil {
		gauge(unknownDesc, 1)
		return
	}
	gauge(unknownDesc, 0)
	now := b.o.Now()
	left := func(t time.Time) float64 {
		if t.IsZero() {
			return 0
		}
		return max(t.Sub(now).Seconds(), 0)
	}
	for _, v := range views {
		for _, w := range v.Windows {
			gauge(requestsDesc, float64(w.Requests), v.Account, w.Name)
			gauge(usedDesc, float64(w.Used), v.Account, w.Name)
			gauge(leftDesc, float64(w.Left), v.Account, w.Name)
			gauge(resetDesc, left(w.Reset), v.Account, w.Name)
		}
		if v.Parallel > 0 {
			gauge(parallelDesc, float64(v.InParallel), v.Account)
			gauge(parallelMost, float64(v.Parallel), v.Account)
		}
		gauge(holdDesc, left(v.HoldUntil), v.Account)
		gauge(shareDesc, v.Share, v.Account)
		for _, u := range v.Uses {
			gauge(waitingDesc, float64(u.Waiting), v.Account, u.Use)
		}
	}
}
