package reaper

import (
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
)

// metrics are the reaper's own, next to those of controller-runtime.
type metrics struct {
	stopped          *prometheus.CounterVec
	deleted, adopted prometheus.Counter
	failed           *prometheus.CounterVec
	eventsDropped    prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer, notices *notices) *metrics {
	m := &metrics{
		stopped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "essential_containers_pods_stopped_total",
			Help: "Pods that were stopped; phase is Succeeded (their essential containers had completed) " +
				"or Failed (one had failed for good).",
		}, []string{"phase"}),
		deleted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "essential_containers_pods_deleted_total",
			Help: "Pods that were deleted.",
		}),
		adopted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "essential_containers_pods_adopted_total",
			Help: "Pods that had missed admission and that the reaper tracks since.",
		}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "essential_containers_writes_failed_total",
			Help: "Writes that the API server refused or did not answer, and that are tried again; " +
				"action is Adopt, Delay, Stop or Delete.",
		}, []string{"action"}),
		eventsDropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "essential_containers_events_dropped_total",
			Help: "Events that were not sent: the API server refused them or could not be reached for a minute, or too many waited.",
		}),
	}
	// Every series exists from the start: a rate over a missing series is no data.
	for _, phase := range []corev1.PodPhase{corev1.PodSucceeded, corev1.PodFailed} {
		m.stopped.WithLabelValues(string(phase))
	}
	for _, action := range []Action{Adopt, Delay, Stop, Delete} {
		m.failed.WithLabelValues(action.String())
	}
	registerer.MustRegister(m.stopped, m.deleted, m.adopted, m.failed, m.eventsDropped)
	registerer.MustRegister(warned(notices, "essential_containers_pods_untracked",
		"Labelled pods in namespaces that opted in that missed admission and are not reaped; on the leader only.",
		untrackedReason, invalidLabelReason))
	registerer.MustRegister(warned(notices, "essential_containers_pods_overdue",
		"Pods that were stopped and have not ended after their grace period; on the leader only.", overdueReason))
	return m
}

// warned is a gauge of the pods that have a warning with one of the reasons.
func warned(notices *notices, name, help string, reasons ...string) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() (count float64) {
		for _, reason := range reasons {
			count += float64(notices.count(reason))
		}
		return count
	})
}
