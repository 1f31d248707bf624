package reaper

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// Reasons and actions of the events that the reaper writes about a pod.
const (
	stoppedEvent      = "EssentialContainerCompleted"
	stopRepeatedEvent = "StopRepeated"
	deletedEvent      = "EssentialContainerCompletedDeleted"

	stoppingAction = "Stopping"
	deletingAction = "Deleting"
)

// reporter tells people and Prometheus what was done, after it was done.
type reporter struct {
	events  events.EventRecorder
	metrics *metrics
}

// done reports a decision that was carried out.
func (r *reporter) done(ctx context.Context, pod *corev1.Pod, d Decision) {
	logger := log.FromContext(ctx)
	switch d.Action {
	case Stop:
		r.metrics.stopped.Inc()
		r.events.Eventf(pod, nil, corev1.EventTypeNormal, stoppedEvent, stoppingAction,
			"%s; stopping the pod's other containers, the pod is deleted once they have ended", d.Because)
		logger.Info("Stopped pod", "because", d.Because)
	case StopAgain:
		r.metrics.repeated.Inc()
		if d.Warn {
			r.events.Eventf(pod, nil, corev1.EventTypeWarning, stopRepeatedEvent, stoppingAction,
				"The pod was stopped, but %s; stopping it again", d.Because)
		}
		logger.Info("Stopped pod again", "because", d.Because)
	case Delete:
		r.metrics.deleted.Inc()
		if d.Because != "" { // plain deletion: no stop has told why
			r.events.Eventf(pod, nil, corev1.EventTypeNormal, deletedEvent, deletingAction,
				"%s; deleting the pod (stop strategy %s)", d.Because, DeleteOnly)
		}
		logger.Info("Deleted pod")
	}
}

// failed counts a decision that could not be carried out; the error itself is
// the caller's.
func (r *reporter) failed(d Decision) {
	r.metrics.failed.WithLabelValues(d.Action.String()).Inc()
}
