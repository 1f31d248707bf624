package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/essential-containers/essential-containers/internal/admission"
)

// Values of the label result that package admission does not have.
const (
	untracked admission.Result = "untracked"
	unchanged admission.Result = "unchanged"
	allowed   admission.Result = "allowed"
	denied    admission.Result = "denied"
	malformed admission.Result = "malformed"
	failed    admission.Result = "failed"
)

type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "essential_containers_admission_requests_total",
			Help: "Admission requests by resource (pods, pods/status or workloads) and result: " +
				"tracked (pod admitted with the tracking annotation), native (the same, in mode Native), " +
				"fallback (the same, in mode Reap although the operator's default is Native), untracked (pod admitted without), " +
				"succeeded (Failed pod whose essential containers had completed: its phase became Succeeded), " +
				"explained (pod stopped as Failed: its reason names the container), kept (the kubelet repeated its Failed), " +
				"unchanged (other Failed pod), " +
				"allowed (workload admitted), denied (the label or a policy annotation is wrong, or the kubelet reports Failed with statuses of running containers), " +
				"malformed (no readable review of such an object: HTTP 4xx), failed (a fault of the webhook, or too many large reviews at a time: HTTP 5xx).",
		}, []string{"resource", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "essential_containers_admission_duration_seconds",
			Help: "Time to read, judge and answer one admission request, in seconds, whatever its result, " +
				"by resource (pods, pods/status or workloads).",
			Buckets: prometheus.ExponentialBuckets(0.00005, 4, 9), // 50 µs to 3.3 s; the API server waits 5 s
		}, []string{"resource"}),
	}
	registerer.MustRegister(m.requests, m.duration)
	return m
}

// start lets the series of a resource begin at zero: a rate over a series that
// has yet to appear is no data rather than zero.
func (m *metrics) start(resource string, results []admission.Result) {
	for _, result := range results {
		m.requests.WithLabelValues(resource, string(result))
	}
	m.duration.WithLabelValues(resource)
}

func (m *metrics) observe(resource string, result admission.Result, took time.Duration) {
	m.requests.WithLabelValues(resource, string(result)).Inc()
	m.duration.WithLabelValues(resource).Observe(took.Seconds())
}
