package certs

import (
	"github.com/prometheus/client_golang/prometheus"
)

// newMetrics registers the Source's metrics and returns the one it counts:
// failed loads.
func newMetrics(registerer prometheus.Registerer, current func() *state) (failures prometheus.Counter) {
	failures = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "essential_containers_certificate_load_failures_total",
		Help: "Readings of the serving certificate's files that gave no usable pair. They are read every second " +
			"until a first pair loads, then every 10 seconds: it grows as long as the files are broken.",
	})
	registerer.MustRegister(failures, expiry{current: current, desc: prometheus.NewDesc(
		"essential_containers_certificate_expiration_timestamp_seconds",
		"Unix time at which the certificate being served expires; absent as long as none is loaded.",
		nil, nil)})
	return failures
}

// expiry is the metric of the notAfter of the certificate being served. It is
// a collector rather than a gauge so that it is absent, not 0 or NaN, as long
// as nothing is served: absent() finds that, and no comparison is true for it.
type expiry struct {
	desc    *prometheus.Desc
	current func() *state
}

func (e expiry) Describe(ch chan<- *prometheus.Desc) { ch <- e.desc }

func (e expiry) Collect(ch chan<- prometheus.Metric) {
	if serving := e.current().serving; serving != nil {
		ch <- prometheus.MustNewConstMetric(e.desc, prometheus.GaugeValue, float64(serving.Leaf.NotAfter.Unix()))
	}
}
