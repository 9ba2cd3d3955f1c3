package ingest

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Outcomes of a request, as the label of the counter.
const (
	outcomeAccepted     = "accepted"
	outcomePing         = "ping"        // the provider tried the address
	outcomeHandshake    = "handshake"   // the provider asked whether it may send
	outcomeQuarantined  = "quarantined" // appended, and never applied
	outcomeLimited      = "limited"     // its address or connection failed too often
	outcomeForged       = "forged"
	outcomeUnverifiable = "unverifiable"
	outcomeFailed       = "failed" // genuine, and not appended
	outcomeOversize     = "oversize"
	outcomeUnread       = "unread" // the body did not come, or too slowly
	outcomeEncoded      = "encoded"
	outcomeBusy         = "busy"
	outcomeMethod       = "method"
	outcomeUnknown      = "unknown_endpoint"
	outcomePanic        = "panic"
)

type metrics struct {
	received *prometheus.CounterVec
	answered *prometheus.CounterVec
	problems *prometheus.CounterVec
	alone    prometheus.Counter
	bytes    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "tillstream", Subsystem: "ingest", Name: name, Help: help}, labels)
	}
	m := &metrics{
		received: counter("received_total", "Webhook requests that arrived.", "connection"),
		answered: counter("answered_total", "Webhook requests by what became of them; accepted means appended to Kafka.", "connection", "outcome"),
		problems: counter("problems_total", "Genuine deliveries whose body was not understood; they are kept.", "connection"),
		alone: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "tillstream", Subsystem: "ingest", Name: "delivery_ids_unshared_total",
			Help: "Delivery ids that this process alone remembers, since Redis did not answer.",
		}),
		bytes: counter("bytes_total", "Bytes of the bodies read.", "connection"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "tillstream", Subsystem: "ingest", Name: "seconds", Help: "Seconds from a request's headers to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"connection"}),
	}
	if reg == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.received, m.answered, m.problems, m.alone, m.bytes, m.seconds} {
		errs = append(errs, reg.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("register ingest metrics: %w", err)
	}
	return m, nil
}
