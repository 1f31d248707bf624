package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// outcome says how a request ended; it is the value of the result label.
type outcome string

const (
	tracked   outcome = "tracked"
	untracked outcome = "untracked"
	denied    outcome = "denied"
	malformed outcome = "malformed"
	failed    outcome = "failed"
)

type metrics struct {
	requests *prometheus.CounterVec
	duration prometheus.Histogram
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "essential_containers_admission_requests_total",
			Help: "Admission requests by result: tracked (pod admitted with the tracking annotation), " +
				"untracked (admitted without), denied (the label is wrong), " +
				"malformed (no readable review of a pod: HTTP 4xx), failed (a fault of the webhook: HTTP 500).",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "essential_containers_admission_duration_seconds",
			Help:    "Time to read, judge and answer one admission request, in seconds, whatever its result.",
			Buckets: prometheus.ExponentialBuckets(0.00005, 4, 9), // 50 µs to 3.3 s; the API server waits 5 s
		}),
	}
	registerer.MustRegister(m.requests, m.duration)
	// A rate over a series that has yet to appear is no data rather than zero.
	for _, o := range []outcome{tracked, untracked, denied, malformed, failed} {
		m.requests.WithLabelValues(string(o))
	}
	return m
}

func (m *metrics) observe(o outcome, took time.Duration) {
	m.requests.WithLabelValues(string(o)).Inc()
	m.duration.Observe(took.Seconds())
}
