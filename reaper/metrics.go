package reaper

import "github.com/prometheus/client_golang/prometheus"

// metrics are the reaper's own, beside those of controller-runtime.
type metrics struct {
	stopped, repeated, deleted prometheus.Counter
	failed                     *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	m := &metrics{
		stopped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "essential_containers_pods_stopped_total",
			Help: "Pods that were given their terminal phase since their essential container had completed.",
		}),
		repeated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "essential_containers_stops_repeated_total",
			Help: "Stops that had to be repeated: the phase did not stay, or containers ran past their grace period.",
		}),
		deleted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "essential_containers_pods_deleted_total",
			Help: "Pods that were deleted.",
		}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "essential_containers_writes_failed_total",
			Help: "Writes that the API server refused or did not answer, and that are tried again; action is Stop, StopAgain or Delete.",
		}, []string{"action"}),
	}
	for _, action := range []Action{Stop, StopAgain, Delete} {
		m.failed.WithLabelValues(action.String()) // a series that is there before its first failure
	}
	registerer.MustRegister(m.stopped, m.repeated, m.deleted, m.failed)
	return m
}
